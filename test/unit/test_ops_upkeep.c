/* What a server does for its file by itself: the half-hourly sweep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "memory/text.h"
#include "ops/node.h"
#include "store/sqlite/sqlite.h"

#define DAY_US INT64_C(86400000000)
#define OLD 150 /* more than two slices of the sweep */

struct rig {
    char dir[64], path[96];
    struct arena arena;
    uv_loop_t loop;
    uv_timer_t pulse; /* wakes the loop, so that the deadline is seen */
    struct node node;
    bool closed;
};

static struct row row_of(struct rig *r, const char *kind, int number, int64_t expires_us)
{
    char *when = arena_alloc(&r->arena, TIME_TEXT), *expires = NULL;
    time_print(when, clock_wall_us(NULL) - 90 * DAY_US);
    if (expires_us != 0) {
        expires = arena_alloc(&r->arena, TIME_TEXT);
        time_print(expires, expires_us);
    }
    char *id = arena_printf(&r->arena, "%s-%d", kind, number);
    struct row row = { .m = { .id = id,
                              .ns = "n",
                              .title = id,
                              .content = "text",
                              .tags = "[]",
                              .source = "api",
                              .metadata = "{}",
                              .tier = TIER_MID,
                              .priority = 5,
                              .confidence = 1,
                              .created_at = when,
                              .updated_at = when,
                              .expires_at = expires } };
    row.own = (struct own){ .tier = TIER_MID, .priority = 5 };
    return row;
}

static void archive(struct rig *r, struct store_tx *tx, const char *kind, int count, int64_t days_ago)
{
    char at[TIME_TEXT];
    time_print(at, clock_wall_us(NULL) - days_ago * DAY_US);
    for (int i = 0; i < count; i++) {
        struct row row = row_of(r, kind, i, 0);
        assert_int_equal(tx->v->archive_put(tx, &row, at, "forget"), 0);
    }
}

/* In the archive: OLD rows of ten days ago, three of yesterday. In the memories: one that has expired, one that has
 * not. */
static void fill(struct rig *r)
{
    struct err err = { 0 };
    struct store *s;
    struct store_conn *c;
    struct store_tx *tx;
    assert_int_equal(sqlite_store_open(r->path, &(struct sqlite_options){ .busy_ms = 1000 }, &s, &err), 0);
    assert_int_equal(s->b->conn_open(s, true, &c, &err), 0);
    assert_int_equal(s->b->begin(c, &tx, &err), 0);
    archive(r, tx, "old", OLD, 10);
    archive(r, tx, "new", 3, 1);
    int64_t now = clock_wall_us(NULL);
    struct row over = row_of(r, "over", 0, now - DAY_US), live = row_of(r, "live", 0, now + DAY_US);
    assert_int_equal(tx->v->put(tx, &over, NULL), 0);
    assert_int_equal(tx->v->put(tx, &live, NULL), 0);
    assert_int_equal(s->b->commit(c, true, &err), 0);
    s->b->conn_close(c);
    s->b->close(s);
}

static void wake(uv_timer_t *t)
{
    (void)t;
}

static void open_node(struct rig *r, int64_t archive_days, bool archive_on_gc)
{
    struct err err = { 0 };
    struct node_options o = { .path = r->path, .serving = true, .relaxed = true, .readers = 1, .readers_queue = 8 };
    *r = (struct rig){ .dir = "/tmp/ops-upkeep-XXXXXX" };
    assert_non_null(mkdtemp(r->dir));
    snprintf(r->path, sizeof(r->path), "%s/test.db", r->dir);
    arena_init(&r->arena, 16u << 20);
    fill(r);
    lifetimes_default(&o.limits.lifetimes);
    o.limits.archive_days = archive_days;
    o.limits.archive_on_gc = archive_on_gc;
    assert_int_equal(uv_loop_init(&r->loop), 0);
    assert_int_equal(node_open(&r->node, &r->loop, &o, &err), 0);
    uv_timer_init(&r->loop, &r->pulse);
    uv_timer_start(&r->pulse, wake, 10, 10);
    node_upkeep(&r->node);
}

static void closed(void *data)
{
    ((struct rig *)data)->closed = true;
}

static void close_node(struct rig *r)
{
    char command[128];
    uv_close((uv_handle_t *)&r->pulse, NULL);
    node_close(&r->node, closed, r);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_true(r->closed);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    arena_release(&r->arena);
    snprintf(command, sizeof(command), "rm -rf %s", r->dir);
    assert_int_equal(system(command), 0);
}

/* Rows in the archive and rows that are visible, expired or not. */
static void count(struct rig *r, int64_t *archived, int64_t *memories)
{
    struct store *s = r->node.store;
    struct store_conn *c;
    struct store_tx *tx;
    struct err err = { 0 };
    struct counts by;
    assert_int_equal(s->b->conn_open(s, false, &c, &err), 0);
    assert_int_equal(s->b->begin(c, &tx, &err), 0);
    assert_int_equal(tx->v->archive_stats(tx, &r->arena, archived, &by), 0);
    assert_int_equal(tx->v->count(tx, &(struct filter){ 0 }, memories), 0);
    s->b->rollback(c);
    s->b->conn_close(c);
}

/* Until the sweep that was begun is over. */
static void swept(struct rig *r, int64_t *archived, int64_t *memories)
{
    int64_t until = clock_mono_ms() + 20000;
    node_sweep(&r->node);
    *memories = 2;
    while (*memories == 2) { /* what has expired goes in its first slice */
        assert_true(clock_mono_ms() < until);
        uv_run(&r->loop, UV_RUN_ONCE);
        count(r, archived, memories);
    }
    for (int64_t before = -1; before != *archived;) {
        before = *archived;
        node_sweep(&r->node); /* nothing while one is under way */
        for (int i = 0; i < 20; i++) uv_run(&r->loop, UV_RUN_ONCE);
        count(r, archived, memories);
    }
}

static void what_lay_in_the_archive_too_long_leaves_it(void **state)
{
    (void)state;
    struct rig r;
    int64_t archived, memories;
    open_node(&r, 7, true);
    swept(&r, &archived, &memories);
    assert_int_equal(memories, 1);
    assert_int_equal(archived, 3 + 1); /* and the row that has just expired */
    close_node(&r);
}

static void without_an_age_it_stays(void **state)
{
    (void)state;
    struct rig r;
    int64_t archived, memories;
    open_node(&r, 0, false);
    swept(&r, &archived, &memories);
    assert_int_equal(memories, 1);
    assert_int_equal(archived, OLD + 3);
    close_node(&r);
}

static void an_age_beyond_all_time_removes_nothing(void **state)
{
    (void)state;
    struct rig r;
    int64_t archived, memories;
    open_node(&r, INT64_MAX, true);
    swept(&r, &archived, &memories);
    assert_int_equal(archived, OLD + 3 + 1);
    close_node(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_lay_in_the_archive_too_long_leaves_it),
        cmocka_unit_test(without_an_age_it_stays),
        cmocka_unit_test(an_age_beyond_all_time_removes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
