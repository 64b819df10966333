/* lane.c - group commit. The loop owns the queues; the pool owns one batch (its items, the connection, struct change)
 * from uv_queue_work until the after-callback. Nothing else is shared, so nothing is locked. */
#include "store/lane.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"

#define LANE_MAGIC 0x4c414e45u
#define BUSY_MS 5000       /* wait for another process's transaction */
#define LOST_MAX 3         /* transactions lost under a batch before all of it fails */
#define CAREFUL_BATCHES 64 /* with savepoints, after one in which an item failed */
#define IDLE_FIRST_MS 50   /* upkeep when nothing was queued for so long */
#define IDLE_REPEAT_MS 5000
#define WATCH_MS 1000

enum lane_job { JOB_BATCH, JOB_UPKEEP, JOB_CLOSE };

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
    unsigned turn;            /* class that is asked first next time */
    struct lane_item **batch; /* owned: the items on the pool */
    size_t batch_count;
    enum lane_job job;
    bool running, calling; /* a job is on the pool; callbacks are being told */
    bool upkeep_due;       /* a batch was committed since upkeep was asked last */
    unsigned careful;      /* batches yet to run with savepoints */
    bool closing, broken;
    int status;              /* the job's */
    bool committed, fsynced; /* the job came to its commit; it asked for an fsync */
    bool looks, foreign;     /* it looks for commits of other processes; it found one */
    int64_t looked_ms;
    void (*watch)(void *data);
    void *watch_data;
    int64_t took_us;
    uv_work_t work;
    uv_timer_t idle;
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

/* ---- the batch (pool) ------------------------------------------------------------------------------------------ */

/* Errors after which the store may have dropped the transaction under us. */
static bool loses_transaction(int rc)
{
    return rc == E_IO || rc == E_DISK_FULL || rc == E_CORRUPT || rc == E_BUSY || rc == E_LOCKED || rc == E_READ_ONLY;
}

/* One batch on its way through the pool. */
struct batch {
    struct change *c;
    const struct store_backend *b;
    struct store_conn *writer;
    struct lane_item **items;
    size_t count;
    int64_t now_us;
    bool bold;      /* items run without savepoints: when one fails, all run again with them */
    bool lost;      /* the transaction is gone, and with it what the items did */
    bool durable;   /* some kept item wants its fsync */
    bool committed; /* commit was called */
    struct err err;
};

static int begin_patiently(struct batch *t, struct store_tx **tx)
{
    int64_t until = clock_mono_ms() + BUSY_MS;
    unsigned pause_ms = 1;
    for (;;) {
        t->err = (struct err){ 0 };
        int rc = t->b->begin(t->writer, tx, &t->err);
        if ((rc != E_BUSY && rc != E_LOCKED) || clock_mono_ms() >= until) return rc;
        uv_sleep(pause_ms);
        if (pause_ms < 50) pause_ms *= 2;
    }
}

static void item_fail(struct lane_item *item, int rc, const struct err *err)
{
    item->status = rc;
    item->pos = (struct stamp){ 0 };
    if (err != NULL && err->code != 0)
        item->err = *err;
    else if (item->err.code == 0)
        err_set(&item->err, rc, "%s", err_text(rc));
}

/* One item inside its savepoint. */
static void item_run(struct batch *t, struct lane_item *item)
{
    struct change *c = t->c;
    item->err = (struct err){ 0 };
    if (t->bold)
        change_savepoint_none(c);
    else
        item->status = change_savepoint(c, &item->err);
    if (item->status != 0) {
        t->lost = true;
        item_fail(item, item->status, NULL);
        return;
    }
    int rc = item->run(item, c, &item->err);
    bool keep = rc == 0 || rc == E_AGAIN;
    int end = change_savepoint_end(c, keep, keep ? &item->err : NULL);
    if (keep && end != 0) {
        /* what could not be released is still there: undo it */
        t->lost = change_savepoint_end(c, false, NULL) != 0 || loses_transaction(end);
        rc = end;
    } else if (!keep) {
        t->lost = end != 0 || loses_transaction(rc);
    }
    item->status = rc;
    item->pos = change_position(c);
    if (rc != 0 && rc != E_AGAIN) item_fail(item, rc, NULL);
}

static bool standing(const struct lane_item *item)
{
    return item->status == 0 || item->status == E_AGAIN;
}

/* Runs the items that have not failed yet. Returns how many were kept. */
static size_t items_run(struct batch *t)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->count && !t->lost; i++) {
        if (!standing(t->items[i])) continue;
        item_run(t, t->items[i]);
        if (!standing(t->items[i])) continue;
        kept++;
        if (!t->items[i]->no_fsync) t->durable = true;
    }
    return kept;
}

static void items_fail(struct batch *t, int rc)
{
    for (size_t i = 0; i < t->count; i++) {
        struct lane_item *item = t->items[i];
        if (!standing(item)) continue;
        struct stamp pos = item->pos;
        item_fail(item, rc, &t->err);
        if (rc == E_IO && t->committed) item->pos = pos;
    }
}

static int batch_once(struct batch *t)
{
    struct store_tx *tx = NULL;
    t->lost = t->durable = t->committed = false;
    int rc = begin_patiently(t, &tx);
    if (rc != 0) return rc;
    change_begin(t->c, tx, t->now_us);
    size_t kept = items_run(t);
    if (t->lost || kept == 0) {
        change_rollback(t->c);
        t->b->rollback(t->writer);
        return 0;
    }
    rc = change_finish(t->c);
    if (rc != 0) {
        err_set(&t->err, rc, "%s", tx->err != NULL && tx->err->code == rc ? tx->err->msg : err_text(rc));
        change_rollback(t->c);
        t->b->rollback(t->writer);
        return rc;
    }
    t->committed = true;
    rc = t->b->commit(t->writer, t->durable, &t->err);
    if (rc != 0) change_rollback(t->c);
    return rc;
}

static void items_reset(struct batch *t)
{
    for (size_t i = 0; i < t->count; i++) {
        t->items[i]->status = 0;
        t->items[i]->pos = (struct stamp){ 0 };
    }
}

static int batch_run(struct batch *t)
{
    int rc = 0;
    items_reset(t);
    for (int tries = t->bold ? -1 : 0; tries < LOST_MAX; tries++) {
        rc = batch_once(t);
        if (!t->lost && !(rc == E_BUSY && t->committed)) break;
        /* the item that lost the transaction has its error, the others run again without it; or all, with savepoints */
        if (t->bold) items_reset(t);
        t->bold = false;
    }
    if (rc == 0 && t->lost) rc = err_set(&t->err, E_BUSY, "the transaction was lost %d times", LOST_MAX);
    if (rc != 0) items_fail(t, rc);
    return rc;
}

int lane_run_batch(struct change *c, const struct store_backend *b, struct store_conn *writer, struct lane_item **items,
                   size_t count, int64_t now_us)
{
    struct batch t = { .c = c, .b = b, .writer = writer, .items = items, .count = count, .now_us = now_us };
    return batch_run(&t);
}

/* Without savepoints as long as nothing fails. What is done without an op (upkeep) cannot be seen to be undone:
 * with. */
static bool may_be_bold(struct lane *l)
{
    if (l->careful > 0) {
        l->careful--;
        return false;
    }
    for (size_t i = 0; i < l->batch_count; i++)
        if (l->batch[i]->class == LANE_UPKEEP) return false;
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

static void lane_work(uv_work_t *work)
{
    struct lane *l = container_of(work, struct lane, work);
    const struct store_backend *b = l->store->b;
    int64_t start = clock_mono_us();
    l->status = 0;
    if (l->looks) (void)b->foreign(l->conn, &l->foreign);
    /* upkeep comes before a batch, not after it: nobody's answer waits for the upkeep his own write made due */
    if (l->job != JOB_CLOSE && l->upkeep_due) (void)b->upkeep(l->conn, l->job == JOB_UPKEEP, false, NULL);
    if (l->job == JOB_BATCH) {
        struct batch t = { .c = l->c, .b = b, .writer = l->conn, .items = l->batch, .count = l->batch_count };
        t.now_us = clock_wall_us(l->c->clock);
        t.bold = may_be_bold(l);
        bool bold = t.bold;
        l->status = batch_run(&t);
        if (bold && !t.bold) l->careful = CAREFUL_BATCHES;
        l->committed = t.committed;
        l->fsynced = t.durable;
    } else if (l->job == JOB_CLOSE) {
        if (!l->broken) {
            rest(l->c, b, l->conn);
            (void)b->upkeep(l->conn, false, true, NULL);
        }
        change_close(l->c);
        b->conn_close(l->conn);
        l->conn = NULL;
    }
    l->took_us = clock_mono_us() - start;
}

/* ---- queues (loop) --------------------------------------------------------------------------------------------- */

static void lane_after(uv_work_t *work, int status);

/* Takes from the classes by turns, replication first, so that none starves while the batch's limits bind. */
static void batch_take(struct lane *l)
{
    size_t bytes = 0;
    unsigned empty = 0;
    l->batch_count = 0;
    while (empty < LANE_CLASSES && l->batch_count < l->limits.batch_items_max) {
        unsigned k = l->turn;
        if (list_empty(&l->queue[k])) {
            empty++;
            l->turn = (l->turn + 1) % LANE_CLASSES;
            continue;
        }
        struct lane_item *item = container_of(l->queue[k].next, struct lane_item, link);
        if (l->batch_count > 0 && bytes + item->bytes > l->limits.batch_bytes_max) break;
        empty = 0;
        l->turn = (l->turn + 1) % LANE_CLASSES;
        list_remove(&item->link);
        l->items[k]--;
        l->bytes[k] -= item->bytes;
        bytes += item->bytes;
        l->batch[l->batch_count++] = item;
    }
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

static void tell(struct lane *l)
{
    l->calling = true;
    if (l->status == 0 && l->committed) {
        struct lane_commit commit = { .stream = l->c->origin.stream,
                                      .made = l->c->made,
                                      .made_count = l->c->made_count,
                                      .bodies = buf_str(l->c->bodies),
                                      .c = l->c,
                                      .took_us = l->took_us,
                                      .items = l->batch_count };
        if (l->cb != NULL) l->cb(l->data, &commit);
    }
    for (size_t i = 0; i < l->batch_count; i++) {
        struct lane_item *item = l->batch[i];
        if (item->status == E_AGAIN && !l->broken) {
            item->sliced = true;
            enqueue(l, item);
        } else {
            item->done(item, item->status);
        }
    }
    l->batch_count = 0;
    l->calling = false;
}

static void job_start(struct lane *l, enum lane_job job)
{
    CHECK(!l->running);
    l->job = job;
    l->running = true;
    int64_t now_ms = clock_mono_ms();
    l->looks = l->watch != NULL && job != JOB_CLOSE && now_ms - l->looked_ms >= WATCH_MS;
    if (l->looks) l->looked_ms = now_ms;
    (void)uv_timer_stop(&l->idle);
    CHECK(uv_queue_work(l->loop, &l->work, lane_work, lane_after) == 0);
}

static void idle_cb(uv_timer_t *timer)
{
    struct lane *l = timer->data;
    if (l->running || l->broken || l->closing) return;
    l->upkeep_due = true;
    job_start(l, JOB_UPKEEP);
}

static void idle_closed(uv_handle_t *handle)
{
    struct lane *l = handle->data;
    void (*closed)(void *) = l->closed;
    void *data = l->closed_data;
    l->magic = 0;
    mem_free(l->batch);
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
            item_fail(item, E_IO, NULL);
            item->done(item, E_IO);
        }
    }
    l->calling = false;
}

static void pump(struct lane *l)
{
    if (l->running || l->calling) return;
    if (l->broken) fail_queued(l);
    batch_take(l);
    if (l->batch_count > 0)
        job_start(l, JOB_BATCH);
    else if (l->closing)
        job_start(l, JOB_CLOSE);
}

static void lane_after(uv_work_t *work, int status)
{
    (void)status; /* never cancelled */
    struct lane *l = container_of(work, struct lane, work);
    CHECK(l->magic == LANE_MAGIC && l->running);
    l->running = false;
    if (l->job == JOB_CLOSE) {
        uv_close((uv_handle_t *)&l->idle, idle_closed);
        return;
    }
    bool batch = l->job == JOB_BATCH;
    l->upkeep_due = batch;
    if (batch) {
        l->figures.batches++;
        l->figures.items += l->batch_count;
        l->figures.fsyncs += l->status == 0 && l->committed && l->fsynced;
        l->figures.last_took_us = l->took_us;
        if (l->status == E_IO && l->committed) l->broken = true;
        tell(l);
    }
    bool foreign = l->foreign;
    l->foreign = false;
    if (foreign && !l->closing) l->watch(l->watch_data);
    pump(l);
    uint64_t repeat_ms = l->watch != NULL ? WATCH_MS : IDLE_REPEAT_MS;
    if (!l->running && !l->broken) CHECK(uv_timer_start(&l->idle, idle_cb, batch ? IDLE_FIRST_MS : repeat_ms, 0) == 0);
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
    lane->batch = mem_alloc(lane->limits.batch_items_max * sizeof(struct lane_item *));
    for (int i = 0; i < LANE_CLASSES; i++) list_init(&lane->queue[i]);
    CHECK(uv_timer_init(loop, &lane->idle) == 0);
    lane->idle.data = lane;
    uv_unref((uv_handle_t *)&lane->idle); /* upkeep alone keeps no loop alive */
    *ret = lane;
    return 0;
}

int lane_submit(struct lane *l, struct lane_item *item)
{
    CHECK(l->magic == LANE_MAGIC && item->class < LANE_CLASSES && item->run != NULL && item->done != NULL);
    if (l->broken) return E_IO;
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

const struct origin *lane_origin(const struct lane *l)
{
    CHECK(!l->running);
    return &l->c->origin;
}

bool lane_broken(const struct lane *l)
{
    return l->broken;
}

void lane_figures(const struct lane *l, struct lane_figures *ret)
{
    *ret = l->figures;
    ret->queued = 0;
    for (int i = 0; i < LANE_CLASSES; i++) ret->queued += l->items[i];
}
