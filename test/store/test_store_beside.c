/* What every backend of the storage port does alike: the archive, pending actions, rows in the order of their
 * making. */
#include "store_kit.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"

static void archive(struct kit *k, struct store_tx *tx, const char *id, const char *ns, const char *at,
                    const char *reason)
{
    struct row r = kit_row(&k->arena, id, ns, id, "kept", kit_ver(1));
    r.m.tags = "[\"t\"]";
    r.m.metadata = "{\"agent_id\":\"alice\"}";
    r.m.access_count = 3;
    r.m.expires_at = "2024-01-01T00:00:00Z";
    kit_ok(tx->v->archive_put(tx, &r, at, reason), tx->err);
}

static void what_is_archived_comes_back_newest_first(void **state)
{
    struct kit *k = *state;
    struct archived got;
    struct archive_rows rows;
    struct counts by_ns;
    int64_t total;
    struct store_tx *tx = kit_begin(k);
    archive(k, tx, "a", "x", "2025-01-01T00:00:00Z", "ttl_expired");
    archive(k, tx, "b", "x", "2025-01-03T00:00:00Z", "forget");
    archive(k, tx, "c", "y", "2025-01-02T20:00:00-05:00", "forget"); /* 01-03 01:00 UTC: the newest */
    archive(k, tx, "a", "x", "2025-01-02T00:00:00Z", "ttl_expired");
    kit_commit(k);
    if (kit_backend->lasts) kit_reopen(k);
    tx = kit_read(k);
    kit_ok(tx->v->archive_get(tx, "a", &k->arena, &got), tx->err);
    assert_string_equal(got.archived_at, "2025-01-02T00:00:00Z");
    assert_string_equal(got.reason, "ttl_expired");
    assert_string_equal(got.row.m.metadata, "{\"agent_id\":\"alice\"}");
    assert_string_equal(got.row.m.expires_at, "2024-01-01T00:00:00Z");
    assert_int_equal(got.row.m.access_count, 3);
    assert_null(got.row.m.last_accessed_at);
    assert_int_equal(tx->v->archive_get(tx, "A", &k->arena, &got), E_NOT_FOUND);
    kit_ok(tx->v->archive_list(tx, NULL, 0, 2, 0, &k->arena, &rows), tx->err);
    assert_int_equal(rows.count, 2);
    assert_true(rows.more);
    assert_string_equal(rows.item[0].row.m.id, "c");
    assert_string_equal(rows.item[1].row.m.id, "b");
    kit_ok(tx->v->archive_list(tx, NULL, 2, 9, 0, &k->arena, &rows), tx->err);
    assert_int_equal(rows.count, 1);
    assert_false(rows.more);
    kit_ok(tx->v->archive_list(tx, "x", 0, 9, 0, &k->arena, &rows), tx->err);
    assert_int_equal(rows.count, 2);
    kit_ok(tx->v->archive_list(tx, NULL, 0, 9, 1, &k->arena, &rows), tx->err);
    assert_int_equal(rows.count, 1);
    assert_true(rows.more);
    kit_ok(tx->v->archive_stats(tx, &k->arena, &total, &by_ns), tx->err);
    assert_int_equal(total, 3);
    assert_string_equal(by_ns.item[0].name, "x");
    assert_int_equal(by_ns.item[0].count, 2);
    kit_read_end(k);
}

static void rows_leave_the_archive(void **state)
{
    struct kit *k = *state;
    struct archived got;
    const char **ids;
    size_t count;
    int64_t day;
    struct store_tx *tx = kit_begin(k);
    archive(k, tx, "a", "x", "2025-01-01T00:00:00Z", "ttl_expired");
    archive(k, tx, "b", "x", "2025-01-03T00:00:00Z", "forget");
    assert_int_equal(time_parse("2025-01-02T00:00:00Z", 20, &day), 0);
    kit_ok(tx->v->archive_older(tx, day, 9, &k->arena, &ids, &count), tx->err);
    assert_int_equal(count, 1);
    assert_string_equal(ids[0], "a");
    kit_ok(tx->v->archive_older(tx, INT64_MAX, 1, &k->arena, &ids, &count), tx->err);
    assert_int_equal(count, 1);
    kit_ok(tx->v->archive_remove(tx, "b", "ttl_expired"), tx->err);
    kit_ok(tx->v->archive_get(tx, "b", &k->arena, &got), tx->err);
    kit_ok(tx->v->archive_remove(tx, "b", NULL), tx->err);
    assert_int_equal(tx->v->archive_get(tx, "b", &k->arena, &got), E_NOT_FOUND);
    kit_ok(tx->v->archive_remove(tx, "b", NULL), tx->err);
    kit_commit(k);
}

static void pending_actions(void **state)
{
    struct kit *k = *state;
    struct pending got;
    struct pending_rows rows;
    struct pending one = { "p1",      "store", NULL, "ns", "{\"k\":1}", "bob", "2025-01-01T00:00:00Z",
                           "pending", NULL,    NULL, "[]" };
    struct pending two = { "p2",      "delete", "m1", "ns", "{}", "bob", "2025-01-01T01:00:00+05:00",
                           "pending", NULL,     NULL, "[]" };
    struct store_tx *tx = kit_begin(k);
    kit_ok(tx->v->pending_put(tx, &one), tx->err);
    kit_ok(tx->v->pending_put(tx, &two), tx->err);
    two.status = "approved";
    two.decided_by = "ann";
    two.decided_at = "2025-01-02T00:00:00Z";
    kit_ok(tx->v->pending_put(tx, &two), tx->err);
    kit_commit(k);
    if (kit_backend->lasts) kit_reopen(k);
    tx = kit_read(k);
    assert_int_equal(tx->v->pending_get(tx, "p", &k->arena, &got), E_NOT_FOUND);
    kit_ok(tx->v->pending_get(tx, "p2", &k->arena, &got), tx->err);
    assert_string_equal(got.memory_id, "m1");
    assert_string_equal(got.decided_by, "ann");
    kit_ok(tx->v->pending_list(tx, NULL, 9, 0, &k->arena, &rows), tx->err);
    assert_int_equal(rows.count, 2);
    assert_string_equal(rows.item[0].id, "p1"); /* asked later */
    assert_null(rows.item[0].memory_id);
    assert_string_equal(rows.item[0].payload, "{\"k\":1}");
    kit_ok(tx->v->pending_list(tx, "approved", 9, 0, &k->arena, &rows), tx->err);
    assert_int_equal(rows.count, 1);
    kit_ok(tx->v->pending_list(tx, NULL, 1, 0, &k->arena, &rows), tx->err);
    assert_int_equal(rows.count, 1);
    assert_true(rows.more);
    kit_read_end(k);
}

static void rows_in_the_order_of_their_making(void **state)
{
    struct kit *k = *state;
    static const char *const id[] = { "d", "c", "b", "a" };
    static const char *const created[] = { "2025-01-01T00:00:00Z", "2025-01-01T02:00:00+05:00", "2025-01-02T00:00:00Z",
                                           "2025-01-02T00:00:00Z" };
    struct rows rows;
    int64_t after;
    for (size_t i = 0; i < ARRAY_LEN(id); i++) {
        struct row r = kit_row(&k->arena, id[i], "ns", id[i], "x", kit_ver((int64_t)i));
        r.m.created_at = created[i];
        kit_put(k, &r, NULL);
    }
    struct row old = kit_row(&k->arena, "old", "ns", "old", "x", kit_ver(1));
    old.m.expires_at = "2024-01-01T00:00:00Z";
    kit_put(k, &old, NULL);
    struct store_tx *tx = kit_read(k);
    kit_ok(tx->v->by_created(tx, INT64_MIN, NULL, KIT_T0, 3, 0, &k->arena, &rows), tx->err);
    assert_int_equal(rows.count, 3);
    assert_true(rows.more);
    assert_string_equal(rows.item[0].m.id, "c"); /* 12-31 21:00 UTC */
    assert_string_equal(rows.item[1].m.id, "d");
    assert_string_equal(rows.item[2].m.id, "a");
    assert_int_equal(time_parse(created[3], strlen(created[3]), &after), 0);
    kit_ok(tx->v->by_created(tx, after, "a", KIT_T0, 3, 0, &k->arena, &rows), tx->err);
    assert_int_equal(rows.count, 1);
    assert_string_equal(rows.item[0].m.id, "b");
    assert_false(rows.more);
    kit_read_end(k);
}

static const struct CMUnitTest tests[] = {
    KIT_TEST(what_is_archived_comes_back_newest_first),
    KIT_TEST(rows_leave_the_archive),
    KIT_TEST(pending_actions),
    KIT_TEST(rows_in_the_order_of_their_making),
};

int main(int argc, char **argv)
{
    return kit_run(argc, argv, tests, ARRAY_LEN(tests));
}
