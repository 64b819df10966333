/* lane.c - group commit, pipelined: while the disk syncs one batch, the next one runs.
 *
 * The loop owns the queues. The pool owns the running slot (its items), the connection and struct change from
 * uv_queue_work until the after-callback, or until ran_early says that only the sync is left to it; a sync job owns
 * nothing but the right to call the backend's sync. What a batch made is taken out of struct change before the next one
 * may begin. Nothing is shared, so nothing is locked. */
#include "store/lane.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "store/lane_batch.h"

#define LANE_MAGIC 0x4c414e45u
#define ALONE_BYTES 8192   /* a batch as small as this is synced where it ran, and runs beside no sync */
#define CAREFUL_BATCHES 64 /* with savepoints, after one in which an item failed */
#define IDLE_FIRST_MS 50   /* upkeep when nothing was queued for so long */
#define IDLE_REPEAT_MS 5000
#define WATCH_MS 1000

enum lane_job { JOB_BATCH, JOB_UPKEEP, JOB_CLOSE };

/* A batch in hand. */
struct slot {
    struct lane_item **items; /* owned */
    size_t count, bytes;
    int status;              /* the transaction's */
    struct err err;          /* its text */
    bool committed, durable; /* it came to its commit; and wants to be synced */
    bool alone, synced;      /* small and by itself: it is synced where it runs; it was */
    bool early, seen;        /* that it is committed is told before its fsync; was told */
    struct change_made made;
    int64_t began_us;
};

struct lane {
    uint32_t magic;
    uv_loop_t *loop;
    struct store *store;     /* borrowed */
    struct store_conn *conn; /* owned */
    struct change *c;        /* borrowed; its life is ours */
    struct lane_limits limits;
    lane_commit_cb cb;
    void *data;
    struct list queue[LANE_CLASSES];
    size_t items[LANE_CLASSES], bytes[LANE_CLASSES];
    unsigned turn; /* class that is asked first next time */
    struct slot slot[2];
    struct slot *run;     /* the one that is filled and runs */
    struct slot *syncing; /* the one before it, on its way to the disk; or NULL */
    enum lane_job job;
    bool running, ran;     /* a job is on the pool; its batch ran and waits for the one before it */
    bool calling;          /* callbacks are being told */
    bool early;            /* commits are told before their fsync */
    atomic_bool ran_early; /* the batch is committed and is synced where it ran: the loop may tell so meanwhile */
    bool upkeep_due;       /* the log is long: before the next batch, with nothing on its way to the disk */
    unsigned careful;      /* batches yet to run with savepoints */
    bool closing;
    struct err why; /* it is broken; code 0: it is not */
    int sync_status, upkeep_status;
    struct err sync_err, upkeep_err;
    bool looks, foreign; /* it looks for commits of other processes; it found one */
    int64_t looked_ms;
    void (*watch)(void *data);
    void *watch_data;
    uv_work_t work, sync;
    uv_timer_t idle;
    uv_async_t ran_async;
    unsigned handles; /* to be closed */
    void (*closed)(void *data);
    void *closed_data;
    struct lane_figures figures;
};

void lane_limits_default(struct lane_limits *l)
{
    *l = (struct lane_limits){ .batch_items_max = 256, .batch_bytes_max = 4u << 20 };
    for (int i = 0; i < LANE_CLASSES; i++) {
        l->items_max[i] = i == LANE_UPKEEP ? 256 : 4096;
        l->bytes_max[i] = 32u << 20;
    }
}

/* Without savepoints as long as nothing fails. What is done without an op (upkeep) cannot be seen to be undone:
 * with. */
static bool may_be_bold(struct lane *l)
{
    if (l->careful > 0) {
        l->careful--;
        return false;
    }
    for (size_t i = 0; i < l->run->count; i++)
        if (l->run->items[i]->class == LANE_UPKEEP) return false;
    return true;
}

/* A life that ends in order leaves the clock as it is, not its bound. Best effort: the bound is right too. */
static void rest(struct change *c, const struct store_backend *b, struct store_conn *writer)
{
    struct store_tx *tx = NULL;
    if (b->begin(writer, &tx, NULL) != 0) return;
    change_begin(c, tx, clock_wall_us(c->clock));
    if (change_rest(c) != 0 || b->commit(writer, false, NULL) != 0) b->rollback(writer);
}

static bool wants_sync(const struct slot *s)
{
    return s->status == 0 && s->committed && s->durable;
}

static void run_batch(struct lane *l)
{
    struct slot *s = l->run;
    struct lane_batch t = { .c = l->c, .b = l->store->b, .writer = l->conn, .items = s->items, .count = s->count };
    t.now_us = clock_wall_us(l->c->clock);
    t.sync_later = true;
    t.bold = may_be_bold(l);
    bool bold = t.bold;
    s->status = lane_batch_run(&t);
    if (bold && !t.bold) l->careful = CAREFUL_BATCHES;
    s->committed = t.committed;
    if (s->status != 0) s->err = t.err;
    change_take(l->c, &s->made);
    s->durable = t.durable || s->made.count > 0; /* an op counts as ours only from the disk, whoever made it */
    l->upkeep_due = l->store->b->upkeep_due(l->conn);
    s->synced = s->alone && wants_sync(s);
    if (!s->synced) return;
    if (s->early && s->made.count > 0) {
        atomic_store(&l->ran_early, true);
        CHECK(uv_async_send(&l->ran_async) == 0);
    }
    l->sync_status = l->store->b->sync(l->conn, &l->sync_err);
}

static void close_conn(struct lane *l)
{
    const struct store_backend *b = l->store->b;
    if (!lane_broken(l)) rest(l->c, b, l->conn);
    /* after E_IO nothing is done with the log; of files that are gone it may be saved */
    if (l->why.code != E_IO) (void)b->upkeep(l->conn, false, true, NULL);
    change_close(l->c);
    b->conn_close(l->conn);
    l->conn = NULL;
}

static void lane_work(uv_work_t *work)
{
    struct lane *l = container_of(work, struct lane, work);
    const struct store_backend *b = l->store->b;
    if (l->looks) (void)b->foreign(l->conn, &l->foreign);
    if (l->job == JOB_UPKEEP || (l->job == JOB_BATCH && l->upkeep_due))
        l->upkeep_status = b->upkeep(l->conn, l->job == JOB_UPKEEP, false, &l->upkeep_err);
    l->upkeep_due = false;
    if (l->job == JOB_BATCH) run_batch(l);
    if (l->job == JOB_CLOSE) close_conn(l);
}

static void sync_work(uv_work_t *work)
{
    struct lane *l = container_of(work, struct lane, sync);
    l->sync_status = l->store->b->sync(l->conn, &l->sync_err);
}

/* ---- queues (loop) --------------------------------------------------------------------------------------------- */

static void lane_after(uv_work_t *work, int status);
static void sync_after(uv_work_t *work, int status);

/* Takes from the classes by turns, replication first, so that none starves while the batch's limits bind. */
static void batch_take(struct lane *l)
{
    struct slot *s = l->run;
    size_t bytes = 0;
    unsigned empty = 0;
    s->count = 0;
    while (empty < LANE_CLASSES && s->count < l->limits.batch_items_max) {
        unsigned k = l->turn;
        if (list_empty(&l->queue[k])) {
            empty++;
            l->turn = (l->turn + 1) % LANE_CLASSES;
            continue;
        }
        struct lane_item *item = container_of(l->queue[k].next, struct lane_item, link);
        if (s->count > 0 && bytes + item->bytes > l->limits.batch_bytes_max) break;
        empty = 0;
        l->turn = (l->turn + 1) % LANE_CLASSES;
        list_remove(&item->link);
        l->items[k]--;
        l->bytes[k] -= item->bytes;
        bytes += item->bytes;
        s->items[s->count++] = item;
        if (item->begun != NULL && !item->sliced) item->begun(item);
    }
    s->bytes = bytes;
    s->early = l->early;
    s->alone = bytes <= ALONE_BYTES && l->syncing == NULL;
    if (list_empty(&l->queue[LANE_REPLICATION]) && list_empty(&l->queue[LANE_CLIENT]) &&
        list_empty(&l->queue[LANE_UPKEEP]))
        l->turn = LANE_REPLICATION;
}

static void enqueue(struct lane *l, struct lane_item *item)
{
    list_add_tail(&l->queue[item->class], &item->link);
    l->items[item->class]++;
    l->bytes[item->class] += item->bytes;
}

static void tell_commit(struct lane *l, const struct slot *s, bool durable)
{
    const struct change_made *m = &s->made;
    struct lane_commit commit = { .durable = durable,
                                  .stream = m->stream,
                                  .made = m->op,
                                  .made_count = m->count,
                                  .bodies = m->bodies.data,
                                  .left = m->left,
                                  .left_count = m->left_count,
                                  .far_future = m->far_future,
                                  .unseen = m->unseen,
                                  .clock = m->clock };
    if (l->cb != NULL) l->cb(l->data, &commit);
}

/* The batch is committed: those hear of it who do not wait for the disk. */
static void tell_seen(struct lane *l, struct slot *s)
{
    if (s->seen || s->status != 0 || !s->committed) return;
    s->seen = true;
    l->calling = true;
    if (s->early && s->made.count > 0) tell_commit(l, s, false);
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i]->seen != NULL && s->items[i]->status == 0) s->items[i]->seen(s->items[i]);
    l->calling = false;
}

/* The batch is over: everybody hears of it, the cluster first. Its slot is free then. */
static void tell(struct lane *l, struct slot *s)
{
    l->figures.batches++;
    l->figures.items += s->count;
    l->figures.last_took_us = clock_mono_us() - s->began_us;
    l->calling = true;
    if (s->status == 0 && s->committed) tell_commit(l, s, true);
    for (size_t i = 0; i < s->count; i++) {
        struct lane_item *item = s->items[i];
        if (item->status == E_AGAIN) {
            item->sliced = true;
            enqueue(l, item);
        } else {
            item->done(item, item->status);
        }
    }
    s->count = 0;
    s->seen = false;
    l->calling = false;
}

static void break_down(struct lane *l, int code, const struct err *err)
{
    if (lane_broken(l)) return;
    l->why = *err;
    if (err->code != code) err_set(&l->why, code, "%s", err_text(code));
}

/* What could not be synced, or followed what could not be: nobody may rely on it. */
static void slot_break(struct lane *l, struct slot *s)
{
    struct lane_batch t = { .items = s->items, .count = s->count, .committed = s->committed, .err = l->why };
    if (s->status == 0) lane_batch_fail(&t, l->why.code);
    s->status = l->why.code;
}

static void sync_over(struct lane *l, struct slot *s)
{
    if (l->sync_status != 0) {
        break_down(l, l->sync_status, &l->sync_err);
        slot_break(l, s);
    } else {
        l->figures.fsyncs++;
    }
    tell(l, s);
}

/* A batch that ran, with nothing before it: to the disk, or over. */
static void settle(struct lane *l)
{
    struct slot *s = l->run;
    l->ran = false;
    if (s->status == E_MOVED || (s->status == E_IO && s->committed)) break_down(l, s->status, &s->err);
    if (lane_broken(l)) slot_break(l, s);
    if (s->synced) {
        sync_over(l, s);
    } else if (wants_sync(s)) {
        l->syncing = s;
        l->run = s == &l->slot[0] ? &l->slot[1] : &l->slot[0];
        CHECK(uv_queue_work(l->loop, &l->sync, sync_work, sync_after) == 0);
    } else {
        tell(l, s);
    }
}

static void job_start(struct lane *l, enum lane_job job)
{
    CHECK(!l->running && !l->ran);
    l->job = job;
    l->running = true;
    l->run->began_us = clock_mono_us();
    int64_t now_ms = clock_mono_ms();
    l->looks = l->watch != NULL && job != JOB_CLOSE && now_ms - l->looked_ms >= WATCH_MS;
    if (l->looks) l->looked_ms = now_ms;
    (void)uv_timer_stop(&l->idle);
    CHECK(uv_queue_work(l->loop, &l->work, lane_work, lane_after) == 0);
}

static void idle_cb(uv_timer_t *timer)
{
    struct lane *l = timer->data;
    if (l->running || l->syncing != NULL || lane_broken(l) || l->closing) return;
    job_start(l, JOB_UPKEEP);
}

static void handle_closed(uv_handle_t *handle)
{
    struct lane *l = handle->data;
    if (--l->handles > 0) return;
    void (*closed)(void *) = l->closed;
    void *data = l->closed_data;
    l->magic = 0;
    for (int i = 0; i < 2; i++) {
        change_made_free(&l->slot[i].made);
        mem_free(l->slot[i].items);
    }
    mem_free(l);
    if (closed != NULL) closed(data);
}

/* A broken lane answers all that is queued; callbacks may queue nothing more (submit refuses). */
static void fail_queued(struct lane *l)
{
    l->calling = true;
    for (int k = 0; k < LANE_CLASSES; k++) {
        struct list *node;
        while ((node = list_pop_head(&l->queue[k])) != NULL) {
            struct lane_item *item = container_of(node, struct lane_item, link);
            l->items[k]--;
            l->bytes[k] -= item->bytes;
            lane_item_fail(item, l->why.code, &l->why);
            item->done(item, l->why.code);
        }
    }
    l->calling = false;
}

/* Whether a batch may begin now: beside a sync only one that is worth it, a small one gathers more meanwhile. */
static bool may_run(const struct lane *l)
{
    size_t bytes = 0;
    if (l->running || l->ran) return false;
    if (l->syncing == NULL) return true;
    for (int k = 0; k < LANE_CLASSES; k++) bytes += l->bytes[k];
    return bytes > ALONE_BYTES && !lane_broken(l) && !l->upkeep_due;
}

/* What comes next, whenever something ended or came. */
static void pump(struct lane *l)
{
    if (l->calling) return;
    while (l->ran && l->syncing == NULL) settle(l);
    if (!may_run(l)) return;
    if (lane_broken(l)) fail_queued(l);
    batch_take(l);
    if (l->run->count > 0)
        job_start(l, JOB_BATCH);
    else if (l->closing && l->syncing == NULL)
        job_start(l, JOB_CLOSE);
}

static void rest_timer(struct lane *l, bool batch)
{
    uint64_t repeat_ms = l->watch != NULL ? WATCH_MS : IDLE_REPEAT_MS;
    if (l->running || l->syncing != NULL || lane_broken(l)) return;
    CHECK(uv_timer_start(&l->idle, idle_cb, batch ? IDLE_FIRST_MS : repeat_ms, 0) == 0);
}

/* The pool is at the fsync of this very batch. */
static void ran_cb(uv_async_t *async)
{
    struct lane *l = async->data;
    if (atomic_exchange(&l->ran_early, false)) tell_seen(l, l->run);
}

static void lane_after(uv_work_t *work, int status)
{
    (void)status; /* never cancelled */
    struct lane *l = container_of(work, struct lane, work);
    CHECK(l->magic == LANE_MAGIC && l->running);
    l->running = false;
    atomic_store(&l->ran_early, false);
    if (l->job == JOB_CLOSE) {
        uv_close((uv_handle_t *)&l->idle, handle_closed);
        uv_close((uv_handle_t *)&l->ran_async, handle_closed);
        return;
    }
    bool foreign = l->foreign;
    l->ran = l->job == JOB_BATCH;
    l->foreign = false;
    if (l->ran) tell_seen(l, l->run);
    if (l->upkeep_status == E_MOVED) break_down(l, E_MOVED, &l->upkeep_err);
    pump(l);
    if (foreign && !l->closing) l->watch(l->watch_data);
    rest_timer(l, l->job == JOB_BATCH);
}

static void sync_after(uv_work_t *work, int status)
{
    (void)status; /* never cancelled */
    struct lane *l = container_of(work, struct lane, sync);
    struct slot *s = l->syncing;
    CHECK(l->magic == LANE_MAGIC && s != NULL);
    l->syncing = NULL;
    sync_over(l, s);
    pump(l);
    rest_timer(l, true);
}

int lane_open(struct lane **ret, uv_loop_t *loop, struct store *store, struct change *c, const struct lane_limits *l,
              lane_commit_cb cb, void *data, struct err *err)
{
    *ret = NULL;
    struct store_conn *conn = NULL;
    int rc = store->b->conn_open(store, true, &conn, err);
    if (rc != 0) return rc;
    rc = change_open(c, store->b, conn, clock_wall_us(c->clock), err);
    if (rc != 0) {
        store->b->conn_close(conn);
        return rc;
    }
    struct lane *lane = mem_alloc(sizeof(*lane));
    lane->magic = LANE_MAGIC;
    lane->loop = loop;
    lane->store = store;
    lane->conn = conn;
    lane->c = c;
    lane->cb = cb;
    lane->data = data;
    if (l != NULL)
        lane->limits = *l;
    else
        lane_limits_default(&lane->limits);
    CHECK(lane->limits.batch_items_max > 0);
    lane->run = &lane->slot[0];
    for (int i = 0; i < 2; i++) {
        lane->slot[i].items = mem_alloc(lane->limits.batch_items_max * sizeof(struct lane_item *));
        change_made_init(&lane->slot[i].made);
    }
    for (int i = 0; i < LANE_CLASSES; i++) list_init(&lane->queue[i]);
    CHECK(uv_timer_init(loop, &lane->idle) == 0 && uv_async_init(loop, &lane->ran_async, ran_cb) == 0);
    lane->handles = 2;
    lane->idle.data = lane->ran_async.data = lane;
    uv_unref((uv_handle_t *)&lane->idle); /* upkeep alone keeps no loop alive */
    uv_unref((uv_handle_t *)&lane->ran_async);
    *ret = lane;
    return 0;
}

int lane_submit(struct lane *l, struct lane_item *item)
{
    CHECK(l->magic == LANE_MAGIC && item->class < LANE_CLASSES && item->run != NULL && item->done != NULL);
    if (lane_broken(l)) return l->why.code;
    if (l->closing) return E_STOPPING;
    size_t held = l->bytes[item->class];
    if (l->items[item->class] >= l->limits.items_max[item->class] ||
        (held > 0 && held + item->bytes > l->limits.bytes_max[item->class])) {
        l->figures.busy_refused++;
        return E_BUSY;
    }
    item->lane = l;
    item->status = 0;
    item->sliced = false;
    item->pos = (struct stamp){ 0 };
    item->err = (struct err){ 0 };
    item->queued_us = clock_mono_us();
    enqueue(l, item);
    pump(l);
    return 0;
}

void lane_watch(struct lane *l, void (*cb)(void *data), void *data)
{
    CHECK(l->magic == LANE_MAGIC && l->watch == NULL);
    l->watch = cb;
    l->watch_data = data;
    if (!l->running) CHECK(uv_timer_start(&l->idle, idle_cb, WATCH_MS, 0) == 0);
}

void lane_close(struct lane *l, void (*closed)(void *data), void *data)
{
    CHECK(l->magic == LANE_MAGIC && !l->closing);
    l->closing = true;
    l->closed = closed;
    l->closed_data = data;
    pump(l);
}

void lane_tell_early(struct lane *l)
{
    CHECK(l->magic == LANE_MAGIC);
    l->early = true;
}

const struct origin *lane_origin(const struct lane *l)
{
    CHECK(!l->running);
    return &l->c->origin;
}

const struct err *lane_broken(const struct lane *l)
{
    return l->why.code != 0 ? &l->why : NULL;
}

void lane_figures(const struct lane *l, struct lane_figures *ret)
{
    *ret = l->figures;
    ret->queued = 0;
    for (int i = 0; i < LANE_CLASSES; i++) ret->queued += l->items[i];
}
