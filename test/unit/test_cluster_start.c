/* A node begins to tell what it has once that is on its disk; where it is not known to be, it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "cluster/cluster.h"
#include "memstore.h"
#include "store/lane.h"
#include "store/readers.h"

static struct {
    uv_loop_t loop;
    struct store *store;
    struct change change;
    struct lifetimes lifetimes;
    struct lane *lane;
    struct readers *readers;
    struct metrics *metrics;
    struct cluster_plan plan;
    struct cluster *cluster;
    bool ready, failed, done;
    struct err err;
} rig;

static void on_ready(void *data)
{
    (void)data;
    rig.ready = rig.done = true;
}

static void on_failed(void *data, const struct err *err)
{
    assert_ptr_equal(data, &rig);
    assert_false(rig.failed);
    rig.err = *err;
    rig.failed = rig.done = true;
}

static void set_flag(void *data)
{
    *(bool *)data = true;
}

static void run_until(const bool *flag)
{
    int64_t until = clock_mono_ms() + 60000;
    while (!*flag && clock_mono_ms() < until) (void)uv_run(&rig.loop, UV_RUN_ONCE);
    assert_true(*flag);
}

static int set_up(void **state)
{
    struct cluster_options o = { .failed = on_failed, .renew_data = &rig, .start_ms = 1 };
    struct err err;
    (void)state;
    memset(&rig, 0, sizeof(rig));
    assert_int_equal(uv_loop_init(&rig.loop), 0);
    rig.store = memstore_open(true);
    lifetimes_default(&rig.lifetimes);
    rig.change.lifetimes = &rig.lifetimes;
    assert_int_equal(lane_open(&rig.lane, &rig.loop, rig.store, &rig.change, NULL, NULL, NULL, &err), 0);
    assert_int_equal(readers_open(&rig.readers, &rig.loop, rig.store, 1, 64, &err), 0);
    assert_int_equal(cluster_plan(&o, &rig.plan, &err), 0);
    rig.metrics = metrics_new(NULL, 0);
    rig.cluster = cluster_new(&rig.loop, &o, &rig.plan, rig.lane, rig.readers, rig.metrics);
    return 0;
}

static int tear_down(void **state)
{
    bool closed = false, lane_done = false, readers_done = false;
    (void)state;
    memstore_fail(rig.store, 0, 0);
    memstore_fail_commits(rig.store, 0);
    cluster_close(rig.cluster, set_flag, &closed);
    run_until(&closed);
    readers_close(rig.readers, set_flag, &readers_done);
    run_until(&readers_done);
    lane_close(rig.lane, set_flag, &lane_done);
    run_until(&lane_done);
    (void)uv_run(&rig.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&rig.loop), 0);
    cluster_plan_release(&rig.plan);
    metrics_free(rig.metrics);
    rig.store->b->close(rig.store);
    return 0;
}

static void begin(void)
{
    struct err err;
    assert_int_equal(cluster_start(rig.cluster, on_ready, NULL, &err), 0);
    run_until(&rig.done);
}

static bool told(void)
{
    json_t *status = cluster_status(rig.cluster);
    bool any = json_object_size(json_object_get(status, "vector")) > 0 ||
               json_array_size(json_object_get(status, "vector")) > 0;
    json_decref(status);
    return any;
}

static void what_is_on_the_disk_is_told(void **state)
{
    (void)state;
    begin();
    assert_true(rig.ready);
    assert_true(told());
    assert_false(rig.failed);
}

static void what_may_not_be_on_the_disk_is_not_told(void **state)
{
    (void)state;
    memstore_fail_commits(rig.store, E_DISK_FULL);
    begin();
    assert_true(rig.failed);
    assert_int_equal(rig.err.code, E_DISK_FULL);
    assert_non_null(strstr(rig.err.msg, "replication cannot start"));
    assert_false(told());
    memstore_fail_commits(rig.store, 0);
    (void)uv_run(&rig.loop, UV_RUN_NOWAIT);
    assert_false(rig.ready);
}

static void what_cannot_be_read_is_not_told(void **state)
{
    (void)state;
    memstore_fail(rig.store, 2, E_CORRUPT); /* the reader's first question */
    begin();
    assert_true(rig.failed);
    assert_int_equal(rig.err.code, E_CORRUPT);
    assert_false(rig.ready);
}

static void another_process_is_waited_for_so_long(void **state)
{
    (void)state;
    memstore_fail_commits(rig.store, E_LOCKED);
    begin();
    assert_true(rig.failed);
    assert_int_equal(rig.err.code, E_BUSY);
    assert_non_null(strstr(rig.err.msg, "another process holds the database"));
    assert_false(rig.ready);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_on_the_disk_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_may_not_be_on_the_disk_is_not_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_is_not_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_process_is_waited_for_so_long, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
