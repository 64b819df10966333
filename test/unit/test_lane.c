/* test_lane.c - the writer lane on a uv loop over the in-memory store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/check.h"
#include "memstore.h"
#include "store/lane.h"

#define ITEMS 64
#define LARGE (64 << 10) /* not synced where it runs */

struct item {
    struct lane_item item;
    struct rig *rig;
    char id[24];
    int result;      /* what run answers after its write */
    int slices;      /* E_AGAIN that many times */
    int runs, dones; /* runs: pool, read after done */
    int status;
    struct stamp pos;
    void (*then)(struct item *it);
};

struct rig {
    uv_loop_t loop;
    struct store *store;
    struct lifetimes lifetimes;
    struct change change;
    struct lane *lane;
    struct item item[ITEMS];
    char order[1024]; /* ids as their done came, each with a comma */
    int commits, commits_before_done;
    size_t made, early; /* ops told as durable; before that */
    bool closed;
};

static struct memory memory_of(const char *id)
{
    return (struct memory){
        .id = id, .ns = "n", .title = id, .content = "x", .tier = TIER_LONG, .priority = 5, .confidence = 1
    };
}

static int run_write(struct lane_item *li, struct change *c, struct err *err)
{
    struct item *it = container_of(li, struct item, item);
    struct memory m = memory_of(it->id);
    struct row before;
    it->runs++;
    int rc = c->tx->v->get(c->tx, it->id, c->scratch, &before);
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    rc = change_memory(c, &m, rc == 0 ? &before : NULL, NULL);
    if (rc == 0 && it->slices > 0) {
        it->slices--;
        return E_AGAIN;
    }
    return rc == 0 && it->result != 0 ? err_set(err, it->result, "asked for") : rc;
}

static void done(struct lane_item *li, int status)
{
    struct item *it = container_of(li, struct item, item);
    size_t len = strlen(it->rig->order);
    it->dones++;
    it->status = status;
    it->pos = li->pos;
    snprintf(it->rig->order + len, sizeof(it->rig->order) - len, "%s,", it->id);
    if (it->then != NULL) it->then(it);
}

static void committed(void *data, const struct lane_commit *c)
{
    struct rig *r = data;
    if (!c->durable) {
        r->early += c->made_count;
        assert_true(r->early > r->made);
        return;
    }
    r->commits++;
    r->made += c->made_count;
    for (size_t i = 0; i < c->made_count; i++) assert_true(c->bodies[c->made[i].offset] == 1); /* an op body's format */
    if (r->order[0] == '\0') r->commits_before_done++;
}

static void closed(void *data)
{
    ((struct rig *)data)->closed = true;
}

static void rig_open(struct rig *r, const struct lane_limits *limits)
{
    struct err err = { 0 };
    *r = (struct rig){ 0 };
    assert_int_equal(uv_loop_init(&r->loop), 0);
    r->store = memstore_open(true);
    lifetimes_default(&r->lifetimes);
    r->change.lifetimes = &r->lifetimes;
    assert_int_equal(lane_open(&r->lane, &r->loop, r->store, &r->change, limits, committed, r, &err), 0);
    for (int i = 0; i < ITEMS; i++) {
        r->item[i] = (struct item){ .rig = r };
        r->item[i].item = (struct lane_item){ .run = run_write, .done = done, .class = LANE_CLIENT, .bytes = 100 };
        snprintf(r->item[i].id, sizeof(r->item[i].id), "m%d", i);
    }
}

static void rig_close(struct rig *r)
{
    if (r->lane != NULL) lane_close(r->lane, closed, r);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_true(r->closed);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    r->store->b->close(r->store);
}

static void submit(struct rig *r, int first, int count)
{
    for (int i = first; i < first + count; i++) assert_int_equal(lane_submit(r->lane, &r->item[i].item), 0);
}

static void wait_for(struct rig *r, int first, int count)
{
    for (int i = first; i < first + count; i++)
        while (r->item[i].dones == 0) assert_true(uv_run(&r->loop, UV_RUN_ONCE) != 0 || r->item[i].dones > 0);
}

static bool stored(struct rig *r, const char *id)
{
    struct store_conn *conn;
    struct store_tx *tx;
    struct arena a;
    struct row row;
    arena_init(&a, 1u << 20);
    assert_int_equal(r->store->b->conn_open(r->store, false, &conn, NULL), 0);
    assert_int_equal(r->store->b->begin(conn, &tx, NULL), 0);
    int rc = tx->v->get(tx, id, &a, &row);
    r->store->b->conn_close(conn);
    arena_release(&a);
    return rc == 0;
}

static void what_queues_is_one_batch(void **state)
{
    (void)state;
    struct rig r;
    struct lane_figures f;
    rig_open(&r, NULL);
    submit(&r, 0, 10);
    wait_for(&r, 0, 10);
    lane_figures(r.lane, &f);
    assert_int_equal(f.batches, 2); /* the first alone, the rest together */
    assert_int_equal(f.fsyncs, 2);
    assert_int_equal(f.items, 10);
    assert_int_equal(r.made, 10);
    assert_int_equal(r.commits_before_done, 1); /* the cluster hears of a commit before its client does */
    assert_string_equal(r.order, "m0,m1,m2,m3,m4,m5,m6,m7,m8,m9,");
    for (int i = 0; i < 10; i++) {
        assert_int_equal(r.item[i].status, 0);
        assert_int_equal(r.item[i].pos.seq, i + 1);
        assert_int_equal(r.item[i].dones, 1);
    }
    rig_close(&r);
}

static void a_bad_item_fails_alone(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, NULL);
    r.item[2].result = E_DENIED;
    submit(&r, 0, 5);
    wait_for(&r, 0, 5);
    assert_int_equal(r.item[2].status, E_DENIED);
    assert_string_equal(r.item[2].item.err.msg, "asked for");
    assert_int_equal(r.item[2].pos.seq, 0);
    assert_int_equal(r.item[3].status, 0);
    assert_int_equal(r.item[3].pos.seq, 3); /* positions are dense */
    assert_int_equal(r.made, 4);
    assert_false(stored(&r, "m2"));
    assert_true(stored(&r, "m3"));
    rig_close(&r);
}

/* Items run without savepoints until one fails; then all of its batch run again, with them. */
static void a_failure_brings_savepoints_back(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, NULL);
    submit(&r, 0, 4);
    wait_for(&r, 0, 4);
    r.item[5].result = E_DENIED;
    submit(&r, 4, 4);
    wait_for(&r, 4, 4);
    assert_int_equal(r.item[1].runs, 1);
    assert_int_equal(r.item[5].runs, 2);
    assert_int_equal(r.item[5].status, E_DENIED);
    assert_int_equal(r.item[7].pos.seq, 7);
    r.item[9].result = E_DENIED;
    submit(&r, 8, 4);
    wait_for(&r, 8, 4);
    assert_int_equal(r.item[9].runs, 1);
    assert_int_equal(r.item[11].pos.seq, 10);
    assert_int_equal(r.made, 10);
    rig_close(&r);
}

static void a_failed_commit_fails_all(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, NULL);
    memstore_fail_commits(r.store, E_DISK_FULL);
    submit(&r, 0, 3);
    wait_for(&r, 0, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(r.item[i].status, E_DISK_FULL);
        assert_int_equal(r.item[i].pos.seq, 0);
    }
    assert_int_equal(r.commits, 0);
    assert_null(lane_broken(r.lane));
    memstore_fail_commits(r.store, 0);
    submit(&r, 3, 2);
    wait_for(&r, 3, 2);
    assert_int_equal(r.item[3].status, 0);
    assert_int_equal(r.item[3].pos.seq, 1); /* nothing of the failed ones was counted */
    rig_close(&r);
}

static void an_fsync_that_fails_breaks_the_lane(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, NULL);
    memstore_fail_commits(r.store, E_IO);
    submit(&r, 0, 4);
    wait_for(&r, 0, 4);
    for (int i = 0; i < 4; i++) assert_int_equal(r.item[i].status, E_IO);
    assert_int_equal(r.item[0].pos.seq, 1); /* it may be durable all the same */
    assert_int_equal(r.item[3].pos.seq, 0);
    assert_int_equal(r.item[3].runs, 0);
    assert_non_null(lane_broken(r.lane));
    memstore_fail_commits(r.store, 0);
    assert_int_equal(lane_submit(r.lane, &r.item[5].item), E_IO);
    rig_close(&r);
}

/* Runs the loop until the row can be read, told or not. */
static void wait_for_row(struct rig *r, const char *id)
{
    for (int i = 0; i < 20000 && !stored(r, id); i++) {
        (void)uv_run(&r->loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    assert_true(stored(r, id));
}

static void the_next_batch_runs_while_one_is_synced(void **state)
{
    (void)state;
    struct rig r;
    struct lane_figures f;
    rig_open(&r, NULL);
    for (int i = 0; i < ITEMS; i++) r.item[i].item.bytes = LARGE;
    memstore_hold_syncs(r.store, true);
    submit(&r, 0, 1);
    wait_for_row(&r, "m0");
    submit(&r, 1, 2);
    wait_for_row(&r, "m1");
    assert_string_equal(r.order, ""); /* seen, and not acknowledged */
    assert_int_equal(r.commits, 0);
    submit(&r, 3, 1);
    memstore_hold_syncs(r.store, false);
    wait_for(&r, 0, 4);
    assert_string_equal(r.order, "m0,m1,m2,m3,");
    assert_int_equal(r.made, 4);
    assert_int_equal(r.item[3].pos.seq, 4);
    lane_figures(r.lane, &f);
    assert_int_equal(f.batches, 3);
    assert_int_equal(f.fsyncs, 3);
    rig_close(&r);
}

static void a_small_batch_gathers_while_one_is_synced(void **state)
{
    (void)state;
    struct rig r;
    struct lane_figures f;
    rig_open(&r, NULL);
    r.item[0].item.bytes = LARGE;
    memstore_hold_syncs(r.store, true);
    submit(&r, 0, 1);
    wait_for_row(&r, "m0");
    submit(&r, 1, 9);
    for (int i = 0; i < 50; i++) { /* time enough for a batch to begin */
        (void)uv_run(&r.loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    assert_int_equal(r.item[1].runs, 0);
    memstore_hold_syncs(r.store, false);
    wait_for(&r, 0, 10);
    lane_figures(r.lane, &f);
    assert_int_equal(f.batches, 2);
    rig_close(&r);
}

static void a_sync_that_fails_takes_the_batch_behind_it_along(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, NULL);
    for (int i = 0; i < ITEMS; i++) r.item[i].item.bytes = LARGE;
    memstore_hold_syncs(r.store, true);
    submit(&r, 0, 1);
    wait_for_row(&r, "m0");
    submit(&r, 1, 1);
    wait_for_row(&r, "m1");
    submit(&r, 2, 1); /* never begins */
    memstore_fail_syncs(r.store, E_IO);
    memstore_hold_syncs(r.store, false);
    wait_for(&r, 0, 3);
    for (int i = 0; i < 3; i++) assert_int_equal(r.item[i].status, E_IO);
    assert_int_equal(r.item[0].pos.seq, 1); /* they may be durable all the same */
    assert_int_equal(r.item[1].pos.seq, 2);
    assert_int_equal(r.item[2].pos.seq, 0);
    assert_int_equal(r.commits, 0);
    assert_non_null(lane_broken(r.lane));
    rig_close(&r);
}

static void a_small_batch_alone_is_synced_where_it_runs(void **state)
{
    (void)state;
    struct rig r;
    struct lane_figures f;
    rig_open(&r, NULL);
    submit(&r, 0, 1);
    wait_for(&r, 0, 1);
    lane_figures(r.lane, &f);
    assert_int_equal(f.fsyncs, 1);
    memstore_fail_syncs(r.store, E_IO);
    submit(&r, 1, 1);
    wait_for(&r, 1, 1);
    assert_int_equal(r.item[1].status, E_IO);
    assert_int_equal(r.item[1].pos.seq, 2);
    assert_int_equal(r.commits, 1);
    assert_true(lane_broken(r.lane));
    rig_close(&r);
}

static void wait_for_early(struct rig *r, size_t ops)
{
    for (int i = 0; i < 20000 && r->early < ops; i++) {
        (void)uv_run(&r->loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    assert_int_equal(r->early, ops);
}

static void who_asks_hears_of_a_commit_before_its_sync(void **state)
{
    (void)state;
    for (size_t bytes = 100; bytes <= LARGE; bytes += LARGE - 100) {
        struct rig r;
        rig_open(&r, NULL);
        lane_tell_early(r.lane);
        for (int i = 0; i < ITEMS; i++) r.item[i].item.bytes = bytes;
        memstore_hold_syncs(r.store, true);
        submit(&r, 0, 1);
        wait_for_early(&r, 1);
        submit(&r, 1, 2);
        if (bytes == LARGE) wait_for_early(&r, 2); /* two batches, one behind the other */
        assert_string_equal(r.order, "");
        assert_int_equal(r.commits, 0);
        memstore_hold_syncs(r.store, false);
        wait_for(&r, 0, 3);
        assert_int_equal(r.early, 3);
        assert_int_equal(r.made, 3);
        assert_int_equal(r.commits, bytes == LARGE ? 3 : 2);
        memstore_fail_syncs(r.store, E_IO);
        submit(&r, 3, 1);
        wait_for(&r, 3, 1);
        assert_int_equal(r.item[3].status, E_IO);
        assert_int_equal(r.early, 4);
        assert_int_equal(r.made, 3); /* sent perhaps, but never durable here */
        rig_close(&r);
    }
}

/* A checkpoint syncs the log, too, and would hide from the batch's own sync that the disk failed. */
static void upkeep_never_runs_beside_a_sync(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, NULL);
    for (int i = 0; i < ITEMS; i++) r.item[i].item.bytes = LARGE;
    memstore_want_upkeep(r.store, true);
    memstore_hold_syncs(r.store, true);
    submit(&r, 0, 1);
    wait_for_row(&r, "m0");
    submit(&r, 1, 1);
    for (int i = 0; i < 50; i++) { /* time enough for upkeep to begin, which the store does not forgive */
        (void)uv_run(&r.loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    assert_int_equal(memstore_upkeeps(r.store), 0);
    memstore_hold_syncs(r.store, false);
    wait_for(&r, 0, 2);
    assert_int_equal(memstore_upkeeps(r.store), 1);
    rig_close(&r);
}

static void a_file_that_is_gone_breaks_the_lane(void **state)
{
    (void)state;
    for (int at_commit = 0; at_commit < 2; at_commit++) {
        struct rig r;
        rig_open(&r, NULL);
        if (at_commit)
            memstore_fail_commits(r.store, E_MOVED);
        else
            memstore_fail(r.store, 1, E_MOVED);
        submit(&r, 0, 4);
        wait_for(&r, 0, 4);
        for (int i = 0; i < 4; i++) assert_int_equal(r.item[i].status, E_MOVED);
        assert_int_equal(r.item[0].pos.seq, at_commit); /* a renamed file may be put back */
        assert_int_equal(r.item[0].runs, at_commit);
        assert_non_null(lane_broken(r.lane));
        assert_int_equal(lane_broken(r.lane)->code, E_MOVED);
        memstore_fail_commits(r.store, 0);
        assert_int_equal(lane_submit(r.lane, &r.item[5].item), E_MOVED);
        rig_close(&r);
    }
}

static void slices_go_to_the_end_of_the_queue(void **state)
{
    (void)state;
    struct rig r;
    struct lane_limits l;
    lane_limits_default(&l);
    l.batch_items_max = 2;
    rig_open(&r, &l);
    r.item[0].slices = 3;
    submit(&r, 0, 6);
    wait_for(&r, 0, 6);
    assert_int_equal(r.item[0].runs, 4);
    assert_string_equal(r.order, "m1,m2,m3,m4,m5,m0,");
    assert_int_equal(r.item[0].status, 0);
    rig_close(&r);
}

static void another_process_is_waited_for(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, NULL);
    memstore_busy(r.store, 4);
    submit(&r, 0, 1);
    wait_for(&r, 0, 1);
    assert_int_equal(r.item[0].status, 0);
    rig_close(&r);
}

static void a_lost_transaction_runs_the_others_again(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, NULL);
    r.item[6].result = E_DENIED;
    submit(&r, 6, 1); /* from now on with savepoints */
    wait_for(&r, 6, 1);
    r.item[3].result = E_DISK_FULL;
    submit(&r, 0, 6);
    wait_for(&r, 0, 6);
    assert_int_equal(r.item[3].status, E_DISK_FULL);
    assert_int_equal(r.item[3].runs, 1);
    assert_int_equal(r.item[1].runs, 2);
    assert_int_equal(r.item[1].status, 0);
    assert_int_equal(r.item[5].status, 0);
    assert_int_equal(r.item[5].pos.seq, 5);
    assert_int_equal(r.made, 5);
    rig_close(&r);
}

static int run_nothing(struct lane_item *li, struct change *c, struct err *err)
{
    (void)c;
    (void)err;
    container_of(li, struct item, item)->runs++;
    return 0;
}

static void touches_alone_are_not_synced(void **state)
{
    (void)state;
    struct rig r;
    struct lane_figures f;
    rig_open(&r, NULL);
    for (int i = 0; i < 6; i++) r.item[i].item.no_fsync = i != 4;
    for (int i = 0; i < 4; i++) r.item[i].item.run = run_nothing;
    submit(&r, 0, 1);
    wait_for(&r, 0, 1);
    lane_figures(r.lane, &f);
    assert_int_equal(f.fsyncs, 0);
    submit(&r, 1, 1); /* alone, unsynced */
    submit(&r, 2, 3); /* with one that wants to be */
    wait_for(&r, 1, 4);
    lane_figures(r.lane, &f);
    assert_int_equal(f.fsyncs, 1);
    assert_int_equal(f.batches, 3);
    submit(&r, 5, 1); /* it makes an op, whatever it says */
    wait_for(&r, 5, 1);
    lane_figures(r.lane, &f);
    assert_int_equal(f.fsyncs, 2);
    rig_close(&r);
}

static void queues_have_limits(void **state)
{
    (void)state;
    struct rig r;
    struct lane_figures f;
    struct lane_limits l;
    lane_limits_default(&l);
    l.items_max[LANE_CLIENT] = 3;
    l.bytes_max[LANE_REPLICATION] = 250;
    rig_open(&r, &l);
    submit(&r, 0, 4); /* one runs, three wait */
    assert_int_equal(lane_submit(r.lane, &r.item[4].item), E_BUSY);
    for (int i = 5; i < 8; i++) r.item[i].item.class = LANE_REPLICATION;
    submit(&r, 5, 2);
    assert_int_equal(lane_submit(r.lane, &r.item[7].item), E_BUSY);
    wait_for(&r, 0, 4);
    wait_for(&r, 5, 2);
    lane_figures(r.lane, &f);
    assert_int_equal(f.busy_refused, 2);
    assert_int_equal(f.queued, 0);
    assert_int_equal(r.item[4].dones, 0);
    submit(&r, 4, 1);
    wait_for(&r, 4, 1);
    rig_close(&r);
}

static void no_class_starves(void **state)
{
    (void)state;
    struct rig r;
    struct lane_limits l;
    lane_limits_default(&l);
    l.batch_items_max = 3;
    rig_open(&r, &l);
    for (int i = 1; i < 13; i++) r.item[i].item.class = i < 5 ? LANE_REPLICATION : i < 9 ? LANE_CLIENT : LANE_UPKEEP;
    submit(&r, 0, 13);
    wait_for(&r, 0, 13);
    assert_string_equal(r.order, "m0,m1,m5,m9,m2,m6,m10,m3,m7,m11,m4,m8,m12,");
    rig_close(&r);
}

static void close_runs_what_is_queued(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, NULL);
    submit(&r, 0, 20);
    lane_close(r.lane, closed, &r);
    assert_int_equal(lane_submit(r.lane, &r.item[30].item), E_STOPPING);
    r.lane = NULL;
    uv_run(&r.loop, UV_RUN_DEFAULT);
    for (int i = 0; i < 20; i++) assert_int_equal(r.item[i].status, 0);
    assert_true(stored(&r, "m19"));
    rig_close(&r);
}

static void submit_next(struct item *it)
{
    if (it + 1 < it->rig->item + ITEMS - 1) {
        it[1].then = submit_next;
        assert_int_equal(lane_submit(it->rig->lane, &it[1].item), 0);
    } else if (it->rig->lane != NULL) {
        lane_close(it->rig->lane, closed, it->rig); /* from a callback of the lane itself */
        it->rig->lane = NULL;
    }
}

static void callbacks_may_submit_and_close(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, NULL);
    r.item[0].then = submit_next;
    submit(&r, 0, 1);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_true(r.closed);
    assert_true(stored(&r, "m62"));
    rig_close(&r);
}

static void the_batch_runs_without_a_loop(void **state)
{
    (void)state;
    struct item it[2] = { { .id = "a" }, { .id = "b", .slices = 1 } };
    struct lane_item *items[2] = { &it[0].item, &it[1].item };
    struct store *s = memstore_open(false);
    struct store_conn *conn;
    struct lifetimes lifetimes;
    struct change c = { .lifetimes = &lifetimes };
    struct err err = { 0 };
    lifetimes_default(&lifetimes);
    for (int i = 0; i < 2; i++) it[i].item.run = run_write;
    assert_int_equal(s->b->conn_open(s, true, &conn, &err), 0);
    assert_int_equal(change_open(&c, s->b, conn, 1700000000000000, &err), 0);
    assert_int_equal(lane_run_batch(&c, s->b, conn, items, 2, 1700000000000000), 0);
    assert_int_equal(it[0].item.status, 0);
    assert_int_equal(it[1].item.status, E_AGAIN);
    assert_int_equal(it[1].item.pos.seq, 2);
    memstore_fail(s, 1, E_IO); /* at begin: nothing was asked of the disk */
    assert_int_equal(lane_run_batch(&c, s->b, conn, items, 1, 1700000000000000), E_IO);
    assert_int_equal(it[0].item.pos.seq, 0);
    change_close(&c);
    s->b->conn_close(conn);
    s->b->close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_queues_is_one_batch),
        cmocka_unit_test(a_bad_item_fails_alone),
        cmocka_unit_test(a_failure_brings_savepoints_back),
        cmocka_unit_test(a_failed_commit_fails_all),
        cmocka_unit_test(an_fsync_that_fails_breaks_the_lane),
        cmocka_unit_test(a_file_that_is_gone_breaks_the_lane),
        cmocka_unit_test(the_next_batch_runs_while_one_is_synced),
        cmocka_unit_test(a_small_batch_gathers_while_one_is_synced),
        cmocka_unit_test(a_sync_that_fails_takes_the_batch_behind_it_along),
        cmocka_unit_test(a_small_batch_alone_is_synced_where_it_runs),
        cmocka_unit_test(who_asks_hears_of_a_commit_before_its_sync),
        cmocka_unit_test(upkeep_never_runs_beside_a_sync),
        cmocka_unit_test(slices_go_to_the_end_of_the_queue),
        cmocka_unit_test(another_process_is_waited_for),
        cmocka_unit_test(a_lost_transaction_runs_the_others_again),
        cmocka_unit_test(touches_alone_are_not_synced),
        cmocka_unit_test(queues_have_limits),
        cmocka_unit_test(no_class_starves),
        cmocka_unit_test(close_runs_what_is_queued),
        cmocka_unit_test(callbacks_may_submit_and_close),
        cmocka_unit_test(the_batch_runs_without_a_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
