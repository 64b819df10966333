/* engine.c - see engine.h. Each callback stores what came and goes on with the state drawn there; engine_finish is
 * the one place that answers. */
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/id.h"
#include "ops/engine_private.h"

static struct call_private *of_read(struct read_item *item)
{
    return container_of(item, struct call_private, read);
}
static struct call_private *of_item(struct lane_item *item)
{
    return container_of(item, struct call_private, item);
}

static bool writes(const struct call_private *p)
{
    return p->call->op->effect == OP_WRITE || p->call->op->effect == OP_LOCAL;
}

/* ---- answering --------------------------------------------------------------------------------------------------- */
void engine_settled(struct engine *e)
{
    if (!e->draining || e->count > 0 || !touch_idle(e) || e->drained == NULL) return;
    void (*drained)(void *data) = e->drained;
    e->drained = NULL;
    drained(e->drained_data);
}

/* What a failed write left behind. Before a commit was tried: nothing. A failed fsync may have reached the disk, a
 * file that was renamed has it. */
static const char *outcome_of(const struct call_private *p, int status)
{
    if (p->committed_some || status == E_QUORUM) return "pending";
    if (p->run_ok && (status == E_IO || status == E_MOVED)) return "pending";
    return "not_applied";
}

void engine_finish(struct call_private *p, int status)
{
    struct engine *e = p->engine;
    struct call *c = p->call;
    CHECK(p->magic == CALL_MAGIC && p->state != CALL_DONE);
    p->state = CALL_DONE;
    c->status = status;
    if (status != 0 && c->err.code != status) err_set(&c->err, status, "%s", err_text(status));
    if (status != 0 && writes(p) && c->outcome == NULL && (err_status(status) >= 500 || p->run_ok))
        c->outcome = outcome_of(p, status);
    if (status != 0 && writes(p) && c->needed == 0) c->needed = quorum_need(p);
    list_remove(&p->wait);
    list_remove(&p->all);
    e->count--;
    e->bytes -= p->bytes;
    if (writes(p)) e->writes--;
    c->done(c);
    engine_settled(e);
}

static void on_idle(uv_idle_t *idle);

/* Answers from the loop's next turn. */
static void finish_soon(struct call_private *p, int status)
{
    struct engine *e = p->engine;
    p->call->status = status;
    list_add_tail(&e->soon, &p->wait);
    CHECK(uv_idle_start(&e->idle, on_idle) == 0);
}

static void fail_soon(struct call_private *p, int status, const char *text)
{
    err_set(&p->call->err, status, "%s", text ? text : err_text(status));
    finish_soon(p, status);
}

static void on_timer(uv_timer_t *timer);

void engine_arm(struct engine *e)
{
    if (!uv_is_active((uv_handle_t *)&e->timer)) CHECK(uv_timer_start(&e->timer, on_timer, TICK_MS, TICK_MS) == 0);
}

/* ---- what an operation sees -------------------------------------------------------------------------------------- */
static void context(struct call_private *p, struct store_tx *tx, struct change *change, int64_t now_us, struct err *err,
                    struct op_ctx *ret)
{
    struct call *c = p->call;
    *ret = (struct op_ctx){
        .tx = tx,
        .change = change,
        .caller = &c->caller,
        .now_us = now_us,
        .ids = &p->ids,
        .env = p->engine->env,
        .arena = &c->arena,
        .touches = &p->touches,
        .progress = &p->progress,
        .carry = &p->carry,
        .need_row = &p->need_row,
        .given = p->given,
        .err = err,
    };
}

static void forget_reply(struct call *c)
{
    json_decref(c->reply.doc);
    c->reply = (struct reply){ 0 };
}

/* Operations say more in err; the store's text is the next best. */
static int said(int rc, struct op_ctx *ctx)
{
    if (rc == 0 || rc == E_AGAIN || rc == E_NEED || ctx->err->code == rc) return rc;
    const struct err *store = ctx->tx->err;
    if (store && store->code == rc)
        *ctx->err = *store;
    else
        err_set(ctx->err, rc, "%s", err_text(rc));
    return rc;
}

/* ---- reads ------------------------------------------------------------------------------------------------------- */
static int read_here(const struct call_private *p, struct store_tx *tx)
{
    struct stream_pos pos;
    if (p->call->wait_stream == 0) return 0;
    int rc = tx->v->stream_get(tx, p->call->wait_stream, &pos);
    if (rc == 0 && pos.pos >= p->call->wait_seq) return 0;
    return rc == 0 || rc == E_NOT_FOUND ? E_AGAIN : rc;
}

static int read_run(struct read_item *item, struct store_tx *tx, struct err *err)
{
    struct call_private *p = of_read(item);
    struct call *c = p->call;
    struct op_ctx ctx;
    int rc = 0;
    if (c->decode && !p->ran) rc = c->decode(c);
    p->ran = true;
    if (rc) {
        *err = c->err;
        return rc;
    }
    if (p->engine->cluster == NULL) rc = read_here(p, tx);
    if (rc) return rc;
    forget_reply(c);
    p->touches.count = 0;
    context(p, tx, NULL, clock_wall_us(p->engine->env->clock), err, &ctx);
    rc = said(c->op->run(&ctx, c->args, &c->reply), &ctx);
    return rc == 0 && c->render ? c->render(c) : rc;
}

static int read_start(struct call_private *p);

static void asked(void *data, int status, const json_t *rows, const char *reason)
{
    struct call_private *p = data;
    struct call *c = p->call;
    c->got = 1 + (unsigned)json_array_size(rows);
    c->reason = reason;
    p->given = status == 0 ? json_deep_copy(rows) : NULL;
    if (status == 0) status = p->gone ? E_CANCELLED : read_start(p);
    if (status) engine_finish(p, status);
}

/* Alone, this node is all there are. */
static void ask_nodes(struct call_private *p)
{
    struct engine *e = p->engine;
    struct call *c = p->call;
    if (p->gone) {
        engine_finish(p, E_CANCELLED);
        return;
    }
    int64_t deadline = clock_mono_ms() + e->limits.quorum_timeout_ms;
    c->got = c->needed = e->cluster ? cluster_reads(e->cluster) : 1;
    p->state = CALL_ASKING;
    json_t *none = json_array();
    int rc = 0;
    if (c->needed < 2)
        asked(p, 0, none, NULL);
    else
        rc = cluster_ask(e->cluster, p->need_row, c->needed - 1, deadline, asked, p);
    if (rc == E_UNREACHABLE)
        asked(p, E_QUORUM, none, "unreachable");
    else if (rc)
        engine_finish(p, rc);
    json_decref(none);
}

static void read_done(struct read_item *item, int status)
{
    struct call_private *p = of_read(item);
    struct call *c = p->call;
    if (status == E_AGAIN && !p->gone) { /* its position has not come yet */
        p->state = CALL_WAIT_POS;
        list_add_tail(&p->engine->polling, &p->wait);
        engine_arm(p->engine);
        return;
    }
    if (status == E_NEED) {
        ask_nodes(p);
        return;
    }
    if (status) c->err = item->err;
    if (status == 0 && c->op->effect == OP_TOUCH && !c->no_touch && !p->gone) touch_note(p->engine, p);
    engine_finish(p, status);
}

/* 0, or why it cannot be read now. */
static int read_start(struct call_private *p)
{
    p->read = (struct read_item){ .run = read_run, .done = read_done, .deadline_mono_ms = p->deadline_ms };
    p->state = CALL_READING;
    return readers_submit(p->engine->readers, &p->read);
}

void engine_read(struct call_private *p)
{
    int status = p->gone ? E_CANCELLED : read_start(p);
    if (status) engine_finish(p, status);
}

/* After the touches of answers that went out already. */
static int read_begin(struct call_private *p)
{
    return touch_await(p->engine, p) ? 0 : read_start(p);
}

static void position_cb(void *data, int status)
{
    struct call_private *p = data;
    if (status == 0 && p->gone) status = E_CANCELLED;
    if (status == 0) status = read_begin(p);
    if (status) {
        err_set(&p->call->err, status, "%s", status == E_TIMEOUT ? "the position has not arrived" : err_text(status));
        engine_finish(p, status);
    }
}

static int read_submit(struct call_private *p, int64_t now_ms)
{
    struct call *c = p->call;
    if (c->text_len > 0 && p->engine->bytes > p->engine->limits.bytes_max)
        return err_set(&c->err, E_BUSY, "too many large requests are waiting");
    p->deadline_ms = c->deadline_mono_ms ? c->deadline_mono_ms : now_ms + READ_DEFAULT_MS;
    p->until_ms = c->wait_ms > 0 && now_ms + c->wait_ms < p->deadline_ms ? now_ms + c->wait_ms : p->deadline_ms;
    if (c->op->effect == OP_TOUCH) {
        p->touches.id = arena_alloc(&c->arena, TOUCHES_MAX * sizeof(*p->touches.id));
        if (p->touches.id == NULL) return E_TOO_LARGE;
    }
    if (c->wait_stream && p->engine->cluster) {
        p->state = CALL_WAIT_POS;
        int rc = cluster_wait_pos(p->engine->cluster, c->wait_stream, c->wait_seq, p->until_ms, position_cb, p);
        if (rc <= 0) return rc;
    }
    return read_begin(p);
}

/* ---- writes: in the lane ----------------------------------------------------------------------------------------- */
/* Is what the run before made still there? It is not when its transaction was lost. */
static bool slice_stands(const struct call_private *p, const struct change *ch)
{
    return p->sliced && (p->made_seq == 0 || ch->origin.seq >= p->made_seq);
}

static void slice_begin(struct call_private *p, const struct change *ch)
{
    if (p->ran && !slice_stands(p, ch)) {
        p->progress = p->progress_before;
        json_decref(p->carry);
        p->carry = json_deep_copy(p->carry_before);
    } else {
        p->committed_some = p->committed_some || (p->sliced && p->made_seq != 0);
        p->progress_before = p->progress;
        json_decref(p->carry_before);
        p->carry_before = json_deep_copy(p->carry);
    }
    p->ran = true;
    p->sliced = p->run_ok = p->late = false;
    p->ids.used = 0;
}

static int write_run(struct lane_item *item, struct change *ch, struct err *err)
{
    struct call_private *p = of_item(item);
    struct call *c = p->call;
    struct op_ctx ctx;
    slice_begin(p, ch);
    forget_reply(c);
    if (p->deadline_ms && !p->committed_some && clock_mono_ms() > p->deadline_ms) {
        p->late = true;
        return err_set(err, E_TIMEOUT, "deadline passed before the write began");
    }
    context(p, ch->tx, ch, ch->now_us, err, &ctx);
    int rc = p->committed_some ? 0 : keys_known(c, &ctx);
    bool replay = rc > 0 && c->reply.doc != NULL;
    if (rc >= 0) rc = replay ? 0 : c->op->run(&ctx, c->args, &c->reply);
    bool did = change_position(ch).seq != 0;
    if (rc == 0) rc = quorum_stand(p, &ctx, did);
    if (rc == 0 && !replay) rc = keys_bind(p, &ctx, did);
    struct stamp made = change_position(ch);
    p->sliced = rc == E_AGAIN;
    p->run_ok = rc == 0 || rc == E_AGAIN;
    p->made_seq = p->run_ok ? made.seq : 0;
    p->saw = (struct stamp){ .stream = ch->origin.stream, .seq = ch->origin.seq };
    if (c->reply.afterwards) p->afterwards = *ctx.err;
    return said(rc, &ctx);
}

/* ---- writes: quorum and hints ------------------------------------------------------------------------------------ */
void engine_settle(struct call_private *p)
{
    struct call *c = p->call;
    if (p->wait_quorum || p->wait_aside) return;
    int status = c->status;
    if (status == 0 && c->op->tells_acks && c->caller.quorum_on && c->reply.doc && c->reply.status != 202)
        json_object_set_new(c->reply.doc, "quorum_acks", json_integer(c->got));
    if (status == 0 && c->render) status = c->render(c);
    engine_finish(p, status);
}

static int aside_run(struct read_item *item, struct store_tx *tx, struct err *err)
{
    struct call_private *p = of_read(item);
    struct op_ctx ctx;
    int64_t begun = clock_mono_us();
    context(p, tx, NULL, clock_wall_us(p->engine->env->clock), err, &ctx);
    int rc = p->call->op->aside(&ctx, p->call->args, &p->call->reply);
    p->aside_us = clock_mono_us() - begun;
    return rc;
}

static void aside_done(struct read_item *item, int status)
{
    struct call_private *p = of_read(item);
    (void)status; /* hints that could not be found are left out */
    p->wait_aside = false;
    p->engine->aside_left_us -= p->aside_us;
    engine_settle(p);
}

/* Hints may take a share of one core's time, saved up to ASIDE_SAVED_US: a person or an agent always gets them, a
 * flood of writes does not pay for them. */
static bool aside_allowed(struct engine *e)
{
    int64_t now = clock_mono_us();
    e->aside_left_us += e->aside_at_us == 0 ? ASIDE_SAVED_US : (now - e->aside_at_us) / ASIDE_SHARE;
    if (e->aside_left_us > ASIDE_SAVED_US) e->aside_left_us = ASIDE_SAVED_US;
    e->aside_at_us = now;
    return e->aside_left_us > 0;
}

static void aside_start(struct call_private *p)
{
    struct call *c = p->call;
    if (c->op->aside == NULL || c->reply.doc == NULL || p->engine->readers == NULL) return;
    if (!aside_allowed(p->engine)) return;
    p->aside_us = 0;
    p->read =
        (struct read_item){ .run = aside_run, .done = aside_done, .deadline_mono_ms = clock_mono_ms() + ASIDE_MS };
    p->wait_aside = readers_submit(p->engine->readers, &p->read) == 0;
}

static void write_done(struct lane_item *item, int status)
{
    struct call_private *p = of_item(item);
    struct call *c = p->call;
    if (status) {
        /* its batch may have failed before it ran again */
        p->committed_some = p->committed_some || (item->sliced && p->sliced && p->made_seq != 0);
        if (item->pos.seq == 0 && c->op->effect == OP_WRITE) p->run_ok = false; /* undone, before any commit */
        c->err = item->err;
        c->pos = (struct stamp){ 0 };
        if (p->late && p->engine->cluster && cluster_writes(p->engine->cluster) > 0) {
            status = E_QUORUM;
            c->reason = "timeout";
            c->outcome = p->committed_some ? "pending" : "not_applied";
            c->got = 0;
            c->needed = c->write_quorum ? c->write_quorum : cluster_writes(p->engine->cluster);
        }
        engine_finish(p, status);
        return;
    }
    if (c->reply.afterwards && quorum_stands(p)) { /* long done: no retry of what is on its way */
        p->run_ok = false;
        c->err = p->afterwards;
        engine_finish(p, c->reply.afterwards);
        return;
    }
    c->pos = item->pos;
    p->state = CALL_SETTLING;
    aside_start(p); /* neither calls back before this returns */
    quorum_start(p);
    engine_settle(p);
}

static int lane_start(struct call_private *p)
{
    p->item = (struct lane_item){ .run = write_run,
                                  .done = write_done,
                                  .class = p->call->op->effect == OP_LOCAL ? LANE_UPKEEP : LANE_CLIENT,
                                  .bytes = p->bytes - p->call->weight };
    p->state = CALL_QUEUED;
    struct lane *lane = p->engine->lane;
    if (lane == NULL) return E_READ_ONLY;
    if (lane_broken(lane)) p->call->err = *lane_broken(lane);
    return lane_submit(lane, &p->item);
}

static void decode_work(uv_work_t *work)
{
    struct call_private *p = container_of(work, struct call_private, decode);
    p->call->status = p->call->decode(p->call);
}

static void decode_after(uv_work_t *work, int cancelled)
{
    struct call_private *p = container_of(work, struct call_private, decode);
    struct call *c = p->call;
    struct engine *e = p->engine;
    int status = cancelled ? E_CANCELLED : c->status;
    c->status = 0;
    p->bytes += c->weight;
    e->bytes += c->weight;
    if (status == 0 && e->bytes > BODIES_SHARE * e->limits.bytes_max)
        status = err_set(&c->err, E_BUSY, "too many writes are waiting");
    if (status == 0) status = lane_start(p);
    if (status) engine_finish(p, status);
}

/* A fresh id, or the one its key stands for: a retry at another node that has not heard of the first attempt makes
 * the same row. */
static void draw_id(struct call_private *p)
{
    struct call *c = p->call;
    uint8_t hash[32];
    if (c->idempotency_key == NULL) {
        uuid_v4(p->ids.id[0]);
        return;
    }
    size_t len = strlen(c->idempotency_key);
    char *bytes = arena_alloc(&c->arena, len + sizeof(c->fingerprint));
    CHECK(bytes != NULL);
    memcpy(bytes, c->idempotency_key, len);
    memcpy(bytes + len, c->fingerprint, sizeof(c->fingerprint));
    sha256(bytes, len + sizeof(c->fingerprint), hash);
    uuid_from_hash(p->ids.id[0], hash);
}

static int write_submit(struct call_private *p, int64_t now_ms)
{
    struct engine *e = p->engine;
    struct call *c = p->call;
    unsigned nodes = e->cluster ? cluster_nodes(e->cluster) : 1;
    if (c->write_quorum > nodes)
        return err_set(&c->err, E_INVALID, "a write quorum of %u needs as many nodes; there are %u", c->write_quorum,
                       nodes);
    if (e->writes > e->limits.calls_max || e->bytes > e->limits.bytes_max)
        return err_set(&c->err, E_BUSY, "too many writes are waiting");
    bool waits =
        e->cluster && c->op->effect != OP_LOCAL && (c->write_quorum ? c->write_quorum : cluster_writes(e->cluster)) > 1;
    if (waits && !cluster_admits(e->cluster, e->writes))
        return err_set(&c->err, E_BUSY, "the other nodes lag behind: fewer writes are let in");
    bool quorum = e->cluster && (c->write_quorum ? c->write_quorum : cluster_writes(e->cluster)) > 0;
    p->deadline_ms = c->deadline_mono_ms ? c->deadline_mono_ms : quorum ? now_ms + e->limits.quorum_timeout_ms : 0;
    draw_id(p);
    if (c->decode == NULL) return lane_start(p);
    p->state = CALL_DECODING;
    CHECK(uv_queue_work(e->loop, &p->decode, decode_work, decode_after) == 0);
    return 0;
}

/* ---- the engine -------------------------------------------------------------------------------------------------- */
void engine_submit(struct engine *e, struct call *c)
{
    struct call_private *p = c->priv;
    CHECK(e->magic == ENGINE_MAGIC && p->magic == CALL_MAGIC && p->state == CALL_NEW && c->done != NULL);
    p->engine = e;
    p->bytes = sizeof(*c) + c->arena.used + c->text_len + c->weight;
    list_add_tail(&e->calls, &p->all);
    e->count++;
    e->bytes += p->bytes;
    if (writes(p)) e->writes++;
    if (e->draining) {
        fail_soon(p, E_STOPPING, NULL);
        return;
    }
    int64_t now_ms = clock_mono_ms();
    int rc = writes(p) ? write_submit(p, now_ms) : read_submit(p, now_ms);
    if (rc) fail_soon(p, rc, c->err.code == rc ? c->err.msg : NULL);
}

void engine_gone(struct engine *e, struct call *c)
{
    struct call_private *p = c->priv;
    CHECK(p->magic == CALL_MAGIC && p->engine == e);
    p->gone = true;
    if (p->state == CALL_READING) atomic_store(&p->read.stop, true);
}

static void on_idle(uv_idle_t *idle)
{
    struct engine *e = container_of(idle, struct engine, idle);
    struct list now;
    struct list *node;
    list_init(&now);
    list_splice_tail(&now, &e->soon);
    while ((node = list_pop_head(&now)) != NULL) {
        struct call_private *p = container_of(node, struct call_private, wait);
        engine_finish(p, p->call->status);
    }
    if (list_empty(&e->soon)) CHECK(uv_idle_stop(&e->idle) == 0);
}

/* Reads whose position was not here look again. */
static void poll_positions(struct engine *e, int64_t now_ms)
{
    struct list now;
    struct list *node;
    list_init(&now);
    list_splice_tail(&now, &e->polling);
    while ((node = list_pop_head(&now)) != NULL) {
        struct call_private *p = container_of(node, struct call_private, wait);
        position_cb(p, now_ms >= p->until_ms ? E_TIMEOUT : 0);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct engine *e = container_of(timer, struct engine, timer);
    int64_t now_ms = clock_mono_ms();
    poll_positions(e, now_ms);
    touch_tick(e, now_ms);
    engine_settled(e);
    bool needed = !list_empty(&e->polling) || touch_timed(e) || (e->draining && e->drained);
    if (!needed) CHECK(uv_timer_stop(&e->timer) == 0);
}

struct engine *engine_new(uv_loop_t *loop, const struct op_env *env, struct store *store, struct lane *lane,
                          struct readers *readers, struct cluster *cluster, const struct engine_limits *l)
{
    struct engine *e = mem_alloc(sizeof(*e));
    *e = (struct engine){ .magic = ENGINE_MAGIC,
                          .loop = loop,
                          .env = env,
                          .store = store,
                          .lane = lane,
                          .readers = readers,
                          .cluster = cluster };
    e->limits = l ? *l : (struct engine_limits){ .calls_max = 4096, .bytes_max = 32u << 20, .quorum_timeout_ms = 2000 };
    list_init(&e->calls);
    list_init(&e->soon);
    list_init(&e->polling);
    CHECK(uv_idle_init(loop, &e->idle) == 0 && uv_timer_init(loop, &e->timer) == 0);
    touch_init(e);
    return e;
}

void engine_drain(struct engine *e, void (*drained)(void *data), void *data)
{
    CHECK(e->magic == ENGINE_MAGIC && !e->draining);
    e->draining = true;
    e->drained = drained;
    e->drained_data = data;
    engine_arm(e);
}

static void on_closed(uv_handle_t *handle)
{
    struct engine *e = handle->data;
    if (--e->closing == 0) mem_free(e);
}

void engine_free(struct engine *e)
{
    if (e == NULL) return;
    CHECK(e->magic == ENGINE_MAGIC && e->count == 0 && touch_idle(e));
    e->magic = 0;
    touch_release(e);
    e->closing = 2;
    e->idle.data = e->timer.data = e;
    uv_close((uv_handle_t *)&e->idle, on_closed);
    uv_close((uv_handle_t *)&e->timer, on_closed);
}

size_t engine_calls(const struct engine *e)
{
    return e->count;
}

static void run_done(struct call *c)
{
    *(bool *)c->data = true;
}

int engine_run(struct engine *e, uv_loop_t *loop, struct call *c)
{
    bool over = false;
    void *data = c->data;
    c->done = run_done;
    c->data = &over;
    engine_submit(e, c);
    while (!over) (void)uv_run(loop, UV_RUN_ONCE);
    c->data = data;
    return c->status;
}
