/* test_readers.c - readers on the pool beside a writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "memstore.h"
#include "store/lane.h"
#include "store/readers.h"

#define READS 200

struct gate {
    uv_mutex_t lock;
    uv_cond_t moved;
    bool open;
    unsigned inside, most;
};

struct read {
    struct read_item item;
    struct rig *rig;
    bool gated;
    int result, status, dones, runs;
    int64_t rows;
};

struct rig {
    uv_loop_t loop;
    struct store *store;
    struct readers *readers;
    struct read read[READS];
    struct gate gate;
    int done;
    bool closed;
};

/* Stays on the pool until the gate opens; notes how many did at once. */
static void gate_pass(struct gate *g, bool wait)
{
    uv_mutex_lock(&g->lock);
    g->inside++;
    if (g->inside > g->most) g->most = g->inside;
    uv_cond_broadcast(&g->moved);
    while (wait && !g->open) uv_cond_wait(&g->moved, &g->lock);
    g->inside--;
    uv_mutex_unlock(&g->lock);
}

static void gate_open(struct gate *g)
{
    uv_mutex_lock(&g->lock);
    g->open = true;
    uv_cond_broadcast(&g->moved);
    uv_mutex_unlock(&g->lock);
}

static void gate_wait_inside(struct gate *g, unsigned count)
{
    uv_mutex_lock(&g->lock);
    while (g->inside < count) assert_int_equal(uv_cond_timedwait(&g->moved, &g->lock, UINT64_C(10000000000)), 0);
    uv_mutex_unlock(&g->lock);
}

static int run_read(struct read_item *ri, struct store_tx *tx, struct err *err)
{
    struct read *r = container_of(ri, struct read, item);
    struct filter f = { .now_us = 0 };
    int64_t before;
    r->runs++;
    int rc = tx->v->count(tx, &f, &before);
    gate_pass(&r->rig->gate, r->gated);
    if (rc == 0) rc = tx->v->count(tx, &f, &r->rows);
    if (rc == 0) CHECK(before == r->rows); /* one snapshot */
    return rc == 0 && r->result != 0 ? err_set(err, r->result, "asked for") : rc;
}

static void done(struct read_item *ri, int status)
{
    struct read *r = container_of(ri, struct read, item);
    r->dones++;
    r->status = status;
    r->rig->done++;
}

static void closed(void *data)
{
    ((struct rig *)data)->closed = true;
}

static void rig_open(struct rig *r, unsigned count, size_t queue_max)
{
    struct err err = { 0 };
    memset(r, 0, sizeof(*r));
    assert_int_equal(uv_loop_init(&r->loop), 0);
    uv_mutex_init(&r->gate.lock);
    uv_cond_init(&r->gate.moved);
    r->store = memstore_open(true);
    assert_int_equal(readers_open(&r->readers, &r->loop, r->store, count, queue_max, &err), 0);
    for (int i = 0; i < READS; i++) {
        r->read[i].rig = r;
        r->read[i].item.run = run_read;
        r->read[i].item.done = done;
    }
}

static void rig_close(struct rig *r)
{
    if (r->readers != NULL) readers_close(r->readers, closed, r);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_true(r->closed);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    r->store->b->close(r->store);
    uv_mutex_destroy(&r->gate.lock);
    uv_cond_destroy(&r->gate.moved);
}

static void wait_done(struct rig *r, int count)
{
    while (r->done < count) uv_run(&r->loop, UV_RUN_ONCE);
}

static void no_more_than_count_run(void **state)
{
    (void)state;
    static struct rig r;
    rig_open(&r, 2, READS);
    for (int i = 0; i < 10; i++) {
        r.read[i].gated = i < 2;
        assert_int_equal(readers_submit(r.readers, &r.read[i].item), 0);
    }
    gate_wait_inside(&r.gate, 2);
    assert_int_equal(readers_in_flight(r.readers), 2);
    gate_open(&r.gate);
    wait_done(&r, 10);
    assert_int_equal(r.gate.most, 2);
    assert_int_equal(readers_in_flight(r.readers), 0);
    for (int i = 0; i < 10; i++) assert_int_equal(r.read[i].status, 0);
    rig_close(&r);
}

static void the_queue_has_a_limit(void **state)
{
    (void)state;
    static struct rig r;
    rig_open(&r, 1, 2);
    r.read[0].gated = true;
    for (int i = 0; i < 3; i++) assert_int_equal(readers_submit(r.readers, &r.read[i].item), 0);
    assert_int_equal(readers_submit(r.readers, &r.read[3].item), E_BUSY);
    gate_open(&r.gate);
    wait_done(&r, 3);
    assert_int_equal(r.read[3].dones, 0);
    assert_int_equal(readers_submit(r.readers, &r.read[3].item), 0);
    wait_done(&r, 4);
    rig_close(&r);
}

static void gone_clients_and_late_reads_give_up(void **state)
{
    (void)state;
    static struct rig r;
    rig_open(&r, 1, READS);
    r.read[0].gated = true;
    r.read[2].item.deadline_mono_ms = clock_mono_ms() - 1;
    r.read[3].result = E_INVALID;
    for (int i = 0; i < 5; i++) assert_int_equal(readers_submit(r.readers, &r.read[i].item), 0);
    gate_wait_inside(&r.gate, 1);
    atomic_store(&r.read[0].item.stop, true); /* in the middle of it */
    atomic_store(&r.read[1].item.stop, true); /* before it began */
    gate_open(&r.gate);
    wait_done(&r, 5);
    assert_int_equal(r.read[0].status, E_CANCELLED);
    assert_int_equal(r.read[1].status, E_CANCELLED);
    assert_int_equal(r.read[1].runs, 0);
    assert_int_equal(r.read[2].status, E_TIMEOUT);
    assert_int_equal(r.read[2].runs, 0);
    assert_int_equal(r.read[3].status, E_INVALID);
    assert_string_equal(r.read[3].item.err.msg, "asked for");
    assert_int_equal(r.read[4].status, 0); /* the connection is fit for the next */
    rig_close(&r);
}

static void close_runs_what_is_queued(void **state)
{
    (void)state;
    static struct rig r;
    rig_open(&r, 2, READS);
    for (int i = 0; i < 50; i++) assert_int_equal(readers_submit(r.readers, &r.read[i].item), 0);
    readers_close(r.readers, closed, &r);
    assert_int_equal(readers_submit(r.readers, &r.read[60].item), E_STOPPING);
    r.readers = NULL;
    uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_int_equal(r.done, 50);
    rig_close(&r);
}

struct write {
    struct lane_item item;
    struct write_rig *rig;
    int n;
};
struct write_rig {
    struct write write[READS];
    int done;
};

static int run_write(struct lane_item *li, struct change *c, struct err *err)
{
    struct write *w = container_of(li, struct write, item);
    char id[24];
    (void)err;
    snprintf(id, sizeof(id), "m%d", w->n);
    struct memory m = {
        .id = id, .ns = "n", .title = id, .content = "x", .tier = TIER_LONG, .priority = 5, .confidence = 1
    };
    return change_memory(c, &m, NULL, NULL);
}

static void write_done(struct lane_item *li, int status)
{
    struct write *w = container_of(li, struct write, item);
    assert_int_equal(status, 0);
    w->rig->done++;
}

static void lane_closed(void *data)
{
    *(bool *)data = true;
}

static void reads_beside_writes_see_one_snapshot(void **state)
{
    (void)state;
    static struct rig r;
    static struct write_rig w;
    struct lifetimes lifetimes;
    struct change c = { .lifetimes = &lifetimes };
    struct err err = { 0 };
    struct lane *lane;
    bool lane_is_closed = false;
    w = (struct write_rig){ .done = 0 };
    lifetimes_default(&lifetimes);
    rig_open(&r, 3, READS);
    assert_int_equal(lane_open(&lane, &r.loop, r.store, &c, NULL, NULL, NULL, &err), 0);
    for (int i = 0; i < READS; i++) {
        w.write[i] = (struct write){ .rig = &w, .n = i };
        w.write[i].item = (struct lane_item){ .run = run_write, .done = write_done, .class = LANE_CLIENT };
        assert_int_equal(lane_submit(lane, &w.write[i].item), 0);
        assert_int_equal(readers_submit(r.readers, &r.read[i].item), 0);
        uv_run(&r.loop, UV_RUN_NOWAIT);
    }
    while (r.done < READS || w.done < READS) uv_run(&r.loop, UV_RUN_ONCE);
    for (int i = 0; i < READS; i++) assert_int_equal(r.read[i].status, 0);
    lane_close(lane, lane_closed, &lane_is_closed);
    rig_close(&r);
    assert_true(lane_is_closed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_more_than_count_run),
        cmocka_unit_test(the_queue_has_a_limit),
        cmocka_unit_test(gone_clients_and_late_reads_give_up),
        cmocka_unit_test(close_runs_what_is_queued),
        cmocka_unit_test(reads_beside_writes_see_one_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
