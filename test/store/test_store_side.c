/* What every backend of the storage port does alike: links, side tables, rows of ours, the log. */
#include "store_kit.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/digest.h"

/* ---- links and the original's side tables */
static void links_show_both_ends(void **state)
{
    struct kit *k = *state;
    for (int i = 0; i < 3; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", i);
        struct row r = kit_row(&k->arena, id, "ns", id, "x", kit_ver(i));
        kit_put(k, &r, NULL);
    }
    const struct link list[] = { { "m0", "m1", "related_to", "2025-01-02T00:00:00Z" },
                                 { "m2", "m0", "supersedes",
                                   "2025-01-02T01:00:00+02:00" }, /* 01-01 23:00 UTC: the older one */
                                 { "m1", "m2", "related_to", "2025-01-01T00:00:00Z" } };
    struct links got;
    struct store_tx *tx = kit_begin(k);
    for (size_t i = 0; i < ARRAY_LEN(list); i++) kit_ok(tx->v->link_show(tx, &list[i]), tx->err);
    kit_ok(tx->v->link_show(tx, &list[0]), tx->err);
    kit_ok(tx->v->links_of(tx, "m0", &k->arena, &got), tx->err);
    assert_int_equal(got.count, 2);
    assert_string_equal(got.item[0].source_id, "m2");
    assert_string_equal(got.item[1].target_id, "m1");
    assert_string_equal(got.item[1].created_at, "2025-01-02T00:00:00Z");
    const char *created;
    kit_ok(tx->v->link_get(tx, &list[0], &k->arena, &created), tx->err);
    assert_string_equal(created, "2025-01-02T00:00:00Z");
    kit_ok(tx->v->link_hide(tx, &list[0]), tx->err);
    kit_ok(tx->v->link_hide(tx, &list[0]), tx->err);
    assert_int_equal(tx->v->link_get(tx, &list[0], &k->arena, &created), E_NOT_FOUND);
    kit_ok(tx->v->links_of(tx, "m0", &k->arena, &got), tx->err);
    assert_int_equal(got.count, 1);
    kit_commit(k);
}

static void standards_and_sync_times(void **state)
{
    struct kit *k = *state;
    const char *id, *parent, **times;
    struct count_by *peers;
    size_t count;
    struct row r = kit_row(&k->arena, "m", "ns", "M", "x", kit_ver(1));
    kit_put(k, &r, NULL);
    struct store_tx *tx = kit_begin(k);
    assert_int_equal(tx->v->standard_of(tx, "a", &k->arena, &id, &parent), E_NOT_FOUND);
    kit_ok(tx->v->standard_set(tx, "a", "m", "p", "2025-01-01T00:00:00Z"), tx->err);
    kit_ok(tx->v->standard_set(tx, "a", "m", NULL, "2025-01-01T00:00:00Z"), tx->err);
    kit_ok(tx->v->standard_of(tx, "a", &k->arena, &id, &parent), tx->err);
    assert_string_equal(id, "m");
    assert_null(parent);
    kit_ok(tx->v->standard_set(tx, "a", NULL, NULL, "2025-01-01T00:00:00Z"), tx->err);
    assert_int_equal(tx->v->standard_of(tx, "a", &k->arena, &id, &parent), E_NOT_FOUND);
    kit_ok(tx->v->sync_seen(tx, "me", "p2", "2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z"), tx->err);
    kit_ok(tx->v->sync_seen(tx, "me", "p1", "2025-01-01T05:00:00Z", "2025-01-01T00:00:00Z"), tx->err);
    kit_ok(tx->v->sync_seen(tx, "me", "p1", "2025-01-01T06:00:00+02:00", "2025-01-01T00:00:00Z"), tx->err);
    kit_ok(tx->v->sync_seen(tx, "you", "p3", "2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z"), tx->err);
    kit_ok(tx->v->sync_clock(tx, "me", &k->arena, &peers, &times, &count), tx->err);
    assert_int_equal(count, 2);
    assert_string_equal(peers[0].name, "p1");
    assert_string_equal(times[0], "2025-01-01T05:00:00Z");
    kit_ok(tx->v->archive_put(tx, &r, "2025-01-01T00:00:00Z", "forget"), tx->err);
    kit_ok(tx->v->archive_put(tx, &r, "2025-01-02T00:00:00Z", "forget"), tx->err);
    kit_commit(k);
}

/* ---- rows of ours */
static void side_rows(void **state)
{
    struct kit *k = *state;
    struct side_row got, *list;
    size_t count;
    struct store_tx *tx = kit_begin(k);
    for (uint64_t i = 0; i < 5; i++) {
        char id[16];
        snprintf(id, sizeof id, "%c%c", 'a' + (int)(i / 3), 'x' + (int)(i % 3));
        struct side_row r = { .kind = SIDE_SHADOW,
                              .id = id,
                              .stamp = { i + 1, i + 2, i + 3 },
                              .key = i % 2 ? UINT64_MAX - 5 : 0,
                              .body = "a\0b",
                              .body_len = i };
        kit_ok(tx->v->side_put(tx, &r), tx->err);
        r.kind = SIDE_TOUCH;
        kit_ok(tx->v->side_put(tx, &r), tx->err);
    }
    kit_ok(tx->v->side_get(tx, SIDE_SHADOW, "ay", &k->arena, &got), tx->err);
    assert_int_equal(got.stamp.ver, 2);
    assert_int_equal(got.stamp.stream, 3);
    assert_int_equal(got.stamp.seq, 4);
    assert_true(got.key == UINT64_MAX - 5);
    assert_int_equal(got.body_len, 1);
    kit_ok(tx->v->side_by_key(tx, SIDE_SHADOW, UINT64_MAX - 5, &k->arena, &list, &count), tx->err);
    assert_int_equal(count, 2);
    kit_ok(tx->v->side_by_key(tx, SIDE_LINK, UINT64_MAX - 5, &k->arena, &list, &count), tx->err);
    assert_int_equal(count, 0);
    kit_ok(tx->v->side_scan(tx, SIDE_SHADOW, NULL, NULL, 3, &k->arena, &list, &count), tx->err);
    assert_int_equal(count, 3);
    assert_string_equal(list[2].id, "az");
    kit_ok(tx->v->side_scan(tx, SIDE_SHADOW, NULL, "az", 9, &k->arena, &list, &count), tx->err);
    assert_int_equal(count, 2);
    assert_int_equal(list[0].body_len, 3);
    assert_memory_equal(list[0].body, "a\0b", 3);
    kit_ok(tx->v->side_scan(tx, SIDE_SHADOW, "a", "ax", 9, &k->arena, &list, &count), tx->err);
    assert_int_equal(count, 2);
    kit_ok(tx->v->side_remove(tx, SIDE_SHADOW, "ay"), tx->err);
    assert_int_equal(tx->v->side_get(tx, SIDE_SHADOW, "ay", &k->arena, &got), E_NOT_FOUND);
    kit_ok(tx->v->side_get(tx, SIDE_TOUCH, "ay", &k->arena, &got), tx->err);
    kit_commit(k);
}

static void the_log_pages_and_trims(void **state)
{
    struct kit *k = *state;
    const uint64_t stream = (1ull << 62) + 5;
    struct log_op *ops;
    struct stream_pos pos = { .stream = stream, .node = (1ull << 62) + 1 }, got;
    uint64_t chain = 0, at;
    size_t count;
    struct store_tx *tx = kit_begin(k);
    for (uint64_t seq = 1; seq <= 10; seq++) {
        char body[1000] = { (char)seq };
        chain = chain_next(chain, body, 100 * seq);
        kit_ok(tx->v->op_append(tx, stream, &(struct log_op){ seq, seq * 10, chain, body, 100 * seq }), tx->err);
    }
    pos.pos = 10;
    pos.chain = chain;
    kit_ok(tx->v->stream_put(tx, &pos), tx->err);
    kit_commit(k);
    if (kit_backend->lasts) kit_reopen(k);
    tx = kit_begin(k);
    kit_ok(tx->v->stream_get(tx, stream, &got), tx->err);
    assert_int_equal(got.node, pos.node);
    assert_int_equal(got.chain, chain);
    assert_int_equal(got.pos, 10);
    kit_ok(tx->v->op_page(tx, stream, 3, 4, 1 << 20, &k->arena, &ops, &count), tx->err);
    assert_int_equal(count, 4);
    assert_int_equal(ops[0].seq, 3);
    assert_int_equal(ops[3].body_len, 600);
    assert_int_equal(((const char *)ops[3].body)[0], 6);
    kit_ok(tx->v->op_page(tx, stream, 3, 100, 700, &k->arena, &ops, &count), tx->err);
    assert_int_equal(count, 2);
    kit_ok(tx->v->op_page(tx, stream, 9, 100, 1, &k->arena, &ops, &count), tx->err);
    assert_int_equal(count, 1);
    kit_ok(tx->v->op_page(tx, stream, 11, 100, 1 << 20, &k->arena, &ops, &count), tx->err);
    assert_int_equal(count, 0);
    kit_ok(tx->v->op_chain(tx, stream, 0, &at), tx->err);
    assert_int_equal(at, 0);
    kit_ok(tx->v->op_chain(tx, stream, 10, &at), tx->err);
    assert_int_equal(at, chain);
    assert_int_equal(tx->v->op_chain(tx, stream, 11, &at), E_NOT_FOUND);
    pos.trimmed = 6;
    pos.ended = true;
    kit_ok(tx->v->stream_put(tx, &pos), tx->err);
    kit_ok(tx->v->op_page(tx, stream, 1, 100, 1 << 20, &k->arena, &ops, &count), tx->err);
    assert_int_equal(count, 4);
    assert_int_equal(ops[0].seq, 7);
    kit_ok(tx->v->op_chain(tx, stream, 6, &at), tx->err); /* where the rest begins */
    assert_int_equal(chain_next(at, ops[0].body, ops[0].body_len), ops[0].chain);
    assert_int_equal(tx->v->op_chain(tx, stream, 5, &at), E_NOT_FOUND);
    /* a position without ops, as a snapshot leaves it */
    kit_ok(
        tx->v->stream_put(tx, &(struct stream_pos){ .stream = 9, .node = 2, .pos = 50, .chain = 1234, .trimmed = 50 }),
        tx->err);
    kit_ok(tx->v->op_chain(tx, 9, 50, &at), tx->err);
    assert_int_equal(at, 1234);
    struct stream_pos *all;
    kit_ok(tx->v->streams(tx, &k->arena, &all, &count), tx->err);
    assert_int_equal(count, 2);
    assert_int_equal(all[0].stream, 9);
    assert_true(all[1].ended);
    assert_int_equal(tx->v->stream_get(tx, 10, &got), E_NOT_FOUND);
    all[0].ended = all[0].left = true;
    kit_ok(tx->v->stream_put(tx, &all[0]), tx->err);
    kit_ok(tx->v->streams(tx, &k->arena, &all, &count), tx->err);
    assert_int_equal(count, 1);
    kit_ok(tx->v->stream_get(tx, 9, &got), tx->err);
    assert_true(got.left && got.ended);
    kit_commit(k);
}

static void a_stream_stands_where_its_log_ends(void **state)
{
    struct kit *k = *state;
    struct stream_pos got;
    struct store_tx *tx = kit_begin(k);
    for (uint64_t seq = 1; seq <= 3; seq++)
        kit_ok(tx->v->op_append(tx, 77, &(struct log_op){ seq, seq * 10, seq * 5, "x", 1 }), tx->err);
    kit_ok(tx->v->stream_get(tx, 77, &got), tx->err);
    assert_int_equal(got.node, 0);
    assert_int_equal(got.pos, 3);
    assert_int_equal(got.chain, 15);
    kit_ok(tx->v->savepoint(tx, NULL), tx->err);
    kit_ok(tx->v->op_append(tx, 77, &(struct log_op){ 4, 40, 20, "x", 1 }), tx->err);
    kit_ok(tx->v->op_append(tx, 78, &(struct log_op){ 1, 40, 20, "x", 1 }), tx->err);
    kit_ok(tx->v->savepoint_end(tx, false, NULL), tx->err);
    kit_ok(tx->v->stream_get(tx, 77, &got), tx->err);
    assert_int_equal(got.pos, 3);
    assert_int_equal(tx->v->stream_get(tx, 78, &got), E_NOT_FOUND);
    /* a snapshot put it beyond, and it goes on from there */
    kit_ok(tx->v->stream_put(tx, &(struct stream_pos){ .stream = 77, .pos = 50, .chain = 9, .trimmed = 50 }), tx->err);
    kit_ok(tx->v->stream_get(tx, 77, &got), tx->err);
    assert_int_equal(got.pos, 50);
    assert_int_equal(got.chain, 9);
    kit_ok(tx->v->op_append(tx, 77, &(struct log_op){ 51, 60, 30, "x", 1 }), tx->err);
    kit_ok(tx->v->stream_get(tx, 77, &got), tx->err);
    assert_int_equal(got.pos, 51);
    assert_int_equal(got.chain, 30);
    assert_int_equal(got.trimmed, 50);
    kit_commit(k);
}

static void keys_of_whole_tables(void **state)
{
    struct kit *k = *state;
    static const uint8_t print[32];
    static const char *const expected[] = { "Z", "a", "b", "c", "d" };
    const char **key, *after = NULL;
    size_t count;
    struct row a = kit_row(&k->arena, "a", "n", "A", "x", kit_ver(1)),
               d = kit_row(&k->arena, "d", "n", "D", "x", kit_ver(2));
    struct store_tx *tx = kit_begin(k);
    kit_ok(tx->v->put(tx, &a, NULL), tx->err);
    kit_ok(tx->v->put(tx, &d, NULL), tx->err);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        uint16_t kind = i % 2 ? SIDE_TOMBSTONE : SIDE_SHADOW;
        kit_ok(tx->v->side_put(tx, &(struct side_row){ .kind = kind, .id = expected[i], .body = "" }), tx->err);
        kit_ok(tx->v->side_put(tx, &(struct side_row){ .kind = SIDE_OWN + 1, .id = "other", .body = "" }), tx->err);
    }
    struct idem_row idem = { print, sizeof(print), { 1, 1, 1 }, KIT_T0 };
    kit_ok(tx->v->idem_put(tx, "k1", &idem), tx->err);
    kit_ok(tx->v->idem_put(tx, "k2", &idem), tx->err);
    kit_ok(tx->v->archive_put(tx, &a, "2026-01-01T00:00:00Z", "test"), tx->err);
    kit_commit(k);
    tx = kit_read(k);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        kit_ok(tx->v->ids_after(tx, after, 1, &k->arena, &key, &count), tx->err);
        assert_int_equal(count, 1);
        assert_string_equal(key[0], expected[i]);
        after = key[0];
    }
    kit_ok(tx->v->ids_after(tx, after, 1, &k->arena, &key, &count), tx->err);
    assert_int_equal(count, 0);
    kit_ok(tx->v->ids_after(tx, NULL, 99, &k->arena, &key, &count), tx->err);
    assert_int_equal(count, ARRAY_LEN(expected));
    kit_ok(tx->v->idem_after(tx, "k1", 9, &k->arena, &key, &count), tx->err);
    assert_int_equal(count, 1);
    assert_string_equal(key[0], "k2");
    kit_ok(tx->v->archive_after(tx, NULL, 9, &k->arena, &key, &count), tx->err);
    assert_int_equal(count, 1);
    assert_string_equal(key[0], "a");
    kit_ok(tx->v->archive_after(tx, "a", 9, &k->arena, &key, &count), tx->err);
    assert_int_equal(count, 0);
    kit_read_end(k);
}

static void local_values_and_keys(void **state)
{
    struct kit *k = *state;
    struct local_value v;
    uint8_t print[50];
    struct idem_row put = { print, IDEM_PRINT, { 5, (1ull << 62) + 9, 7 }, KIT_T0 }, got;
    memset(print, 0xab, sizeof print);
    struct store_tx *tx = kit_begin(k);
    assert_int_equal(tx->v->local_get(tx, "k", &k->arena, &v), E_NOT_FOUND);
    kit_ok(tx->v->local_put(tx, "k", "one", 3), tx->err);
    kit_ok(tx->v->local_put(tx, "k", "\0two", 4), tx->err);
    kit_ok(tx->v->local_put(tx, "empty", NULL, 0), tx->err);
    assert_int_equal(tx->v->idem_get(tx, "key", &k->arena, &got), E_NOT_FOUND);
    kit_ok(tx->v->idem_put(tx, "key", &put), tx->err);
    put.body_len = sizeof(print); /* the key again, with an answer */
    kit_ok(tx->v->idem_put(tx, "key", &put), tx->err);
    kit_commit(k);
    if (kit_backend->lasts) kit_reopen(k);
    tx = kit_read(k);
    kit_ok(tx->v->local_get(tx, "k", &k->arena, &v), tx->err);
    assert_int_equal(v.len, 4);
    assert_memory_equal(v.data, "\0two", 4);
    kit_ok(tx->v->local_get(tx, "empty", &k->arena, &v), tx->err);
    assert_int_equal(v.len, 0);
    kit_ok(tx->v->idem_get(tx, "key", &k->arena, &got), tx->err);
    assert_int_equal(got.body_len, sizeof(print));
    assert_memory_equal(got.body, print, sizeof(print));
    assert_true(got.stamp.stream == put.stamp.stream && got.stamp.seq == 7 && got.expires_us == KIT_T0);
    kit_read_end(k);
}

static const struct CMUnitTest tests[] = {
    KIT_TEST(links_show_both_ends),    KIT_TEST(standards_and_sync_times),           KIT_TEST(side_rows),
    KIT_TEST(the_log_pages_and_trims), KIT_TEST(a_stream_stands_where_its_log_ends), KIT_TEST(local_values_and_keys),
    KIT_TEST(keys_of_whole_tables),
};

int main(int argc, char **argv)
{
    return kit_run(argc, argv, tests, ARRAY_LEN(tests));
}
