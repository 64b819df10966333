/* engine_rig.h - the engine on a loop, over the store in memory, with a cluster whose answers the test decides. */
#ifndef AIM_TEST_ENGINE_RIG_H
#define AIM_TEST_ENGINE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/ascii_tokenizer.h"
#include "../lib/memstore.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "cluster/cluster.h"
#include "ops/engine.h"
#include "ops/table.h"

/* ---- a cluster of the test's ------------------------------------------------------------------------------------- */
static struct {
    unsigned writes, nodes, asked;
    bool lags;
    enum repl_result result;
    unsigned got, disks;
    bool all;
    struct stamp pos;
    struct cluster_wait *waiting;
    uv_timer_t timer;
    struct stamp waits[64]; /* every position that was waited for, the first 64 */
    bool holds;             /* what cluster_holds says */
} fake;

static inline void fake_answer(uv_timer_t *timer)
{
    struct cluster_wait *w = fake.waiting;
    (void)timer;
    fake.waiting = NULL;
    w->result = fake.result;
    w->got = fake.got;
    w->disks = fake.disks;
    w->all = fake.all;
    w->cb(w);
}

unsigned cluster_writes(const struct cluster *c)
{
    (void)c;
    return fake.writes;
}
bool cluster_admits(struct cluster *c, size_t waiting)
{
    (void)c;
    assert_true(waiting > 0);
    return !fake.lags;
}
unsigned cluster_nodes(const struct cluster *c)
{
    (void)c;
    return fake.nodes;
}

int cluster_wait_for(struct cluster *c, struct cluster_wait *w, const struct stamp *pos, unsigned need,
                     int64_t deadline_mono_ms)
{
    (void)c;
    assert_true(deadline_mono_ms > clock_mono_ms() - 5000);
    assert_null(fake.waiting);
    w->needed = need;
    if (fake.asked < ARRAY_LEN(fake.waits)) fake.waits[fake.asked] = *pos;
    fake.asked++;
    fake.pos = *pos;
    fake.waiting = w;
    return uv_timer_start(&fake.timer, fake_answer, 1, 0);
}

bool cluster_holds(const struct cluster *c, const struct stamp *pos, unsigned need)
{
    (void)c;
    assert_true(pos->stream != 0 && need > 1);
    return fake.holds;
}

int cluster_wait_pos(struct cluster *c, uint64_t stream, uint64_t seq, int64_t deadline_mono_ms,
                     void (*cb)(void *data, int status), void *data)
{
    (void)c, (void)stream, (void)seq, (void)deadline_mono_ms, (void)cb, (void)data;
    return E_BUSY;
}

/* ---- the rig ----------------------------------------------------------------------------------------------------- */
static struct {
    uv_loop_t loop;
    struct store *store;
    struct change change;
    struct lifetimes lifetimes;
    struct lane *lane;
    struct readers *readers;
    struct tokenizer tokenizer;
    struct op_env env;
    struct engine *engine;
    bool submitting, flag;
    unsigned done;
} rig;

static inline struct engine *new_engine(bool clustered, const struct engine_limits *limits)
{
    return engine_new(&rig.loop, &rig.env, rig.store, rig.lane, rig.readers, clustered ? (struct cluster *)&fake : NULL,
                      limits);
}

static inline int open_rig(void **state)
{
    struct err err;
    (void)state;
    memset(&rig, 0, sizeof(rig));
    memset(&fake, 0, sizeof(fake));
    assert_int_equal(uv_loop_init(&rig.loop), 0);
    assert_int_equal(uv_timer_init(&rig.loop, &fake.timer), 0);
    rig.store = memstore_open(true);
    lifetimes_default(&rig.lifetimes);
    rig.change.lifetimes = &rig.lifetimes;
    assert_int_equal(lane_open(&rig.lane, &rig.loop, rig.store, &rig.change, NULL, NULL, NULL, &err), 0);
    assert_int_equal(readers_open(&rig.readers, &rig.loop, rig.store, 1, 64, &err), 0);
    rig.tokenizer.each = ascii_each;
    rig.env = (struct op_env){ .tokenizer = &rig.tokenizer,
                               .limits = { .lifetimes = rig.lifetimes, .page_bytes_max = 1 << 20 } };
    rig.engine = new_engine(false, NULL);
    return 0;
}

static inline void raise_flag(void *data)
{
    *(bool *)data = true;
}

static inline void run_until(const bool *flag)
{
    int64_t until = clock_mono_ms() + 20000;
    while (!*flag && clock_mono_ms() < until) (void)uv_run(&rig.loop, UV_RUN_ONCE);
    assert_true(*flag);
}

static inline void drop_engine(void)
{
    bool drained = false;
    engine_drain(rig.engine, raise_flag, &drained);
    run_until(&drained);
    engine_free(rig.engine);
}

static inline int close_rig(void **state)
{
    bool closed = false;
    (void)state;
    memstore_fail(rig.store, 0, 0);
    memstore_fail_commits(rig.store, 0);
    drop_engine();
    lane_close(rig.lane, raise_flag, &closed);
    run_until(&closed);
    closed = false;
    readers_close(rig.readers, raise_flag, &closed);
    run_until(&closed);
    uv_close((uv_handle_t *)&fake.timer, NULL);
    (void)uv_run(&rig.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&rig.loop), 0);
    rig.store->b->close(rig.store);
    return 0;
}

static inline void cluster_of(unsigned writes, unsigned nodes)
{
    static const struct engine_limits limits = { .calls_max = 4096, .bytes_max = 32 << 20, .quorum_timeout_ms = 2000 };
    drop_engine();
    fake.writes = writes;
    fake.nodes = nodes;
    rig.engine = new_engine(true, &limits);
}

static inline void on_done(struct call *c)
{
    assert_false(rig.submitting);
    rig.done++;
    *(bool *)c->data = true;
}

struct asked {
    struct call *c;
    bool over;
};

static inline struct call *make(const struct op *op, const char *json)
{
    struct call *c = call_new(op);
    struct err err;
    c->caller =
        (struct caller){ .door = DOOR_HTTP, .agent_id = "alice", .default_ns = "global", .quorum_on = fake.writes > 0 };
    c->body = json_parse(json, strlen(json), NULL, 0, &err);
    assert_non_null(c->body);
    if (op->args[0].name && !(op->args[0].flags & ARG_PATH))
        assert_int_equal(args_from_json(op->args, DOOR_HTTP, c->body, &c->arena, c->args, &c->err), 0);
    else if (op->args[0].name) {
        const char *id = json_string_value(json_object_get(c->body, "id"));
        assert_int_equal(args_from_text(op->args, 0, DOOR_HTTP, id, strlen(id), &c->arena, c->args, &c->err), 0);
    }
    assert_int_equal(args_check(op->args, DOOR_HTTP, clock_wall_us(NULL), &c->arena, c->args, &c->err), 0);
    return c;
}

static inline void submit(struct asked *a, struct call *c)
{
    *a = (struct asked){ .c = c };
    c->done = on_done;
    c->data = &a->over;
    rig.submitting = true;
    engine_submit(rig.engine, c);
    rig.submitting = false;
    assert_false(a->over);
}

static inline struct call *run(struct call *c)
{
    struct asked a;
    submit(&a, c);
    run_until(&a.over);
    return c;
}

#endif
