/* test_change_snapshot.c - the state of one store merged into another: equal to having replayed its ops; nothing of the
 * receiver's own is lost; what was deleted and forgotten long ago goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/digest.h"
#include "snapshot_rig.h"

/* Random work on a few titles, so that rows collide, rest, surface, end. */
static void work(struct node *n, uint64_t *rng, int steps)
{
    for (int i = 0; i < steps; i++) {
        char id[16], title[16], text[16];
        struct row row, other;
        snprintf(id, sizeof(id), "%c%d", 'a' + (int)(n->c.origin.node % 3), (int)kit_pick(rng, 6));
        snprintf(title, sizeof(title), "title %d", (int)kit_pick(rng, 5));
        snprintf(text, sizeof(text), "text %d", (int)kit_pick(rng, 1000));
        bool there = node_get(n, id, &row);
        n->now_us += 1000 + (int64_t)kit_pick(rng, 5000000);
        switch (kit_pick(rng, 6)) {
        case 0:
            if (there) node_delete(n, id);
            break;
        case 1:
            if (there) node_touch(n, id, 1 + (int)kit_pick(rng, 9), true);
            break;
        case 2:
            if (there && node_find(n, "b1", &other) && strcmp(other.m.id, id) != 0) node_link(n, id, "b1");
            break;
        default:
            node_begin(n);
            bool taken = n->tx->v->by_title(n->tx, title, "n", &n->arena, &other) == 0 && strcmp(other.m.id, id) != 0;
            node_abort(n);
            if (!taken) node_store(n, id, title, text);
        }
    }
}

static void trio(struct node n[3], uint64_t seed)
{
    for (uint64_t i = 0; i < 3; i++) node_open(&n[i], seed * 3 + i);
}

static void trio_close(struct node n[3])
{
    for (int i = 0; i < 3; i++) node_close(&n[i]);
}

static void a_snapshot_equals_the_ops_replayed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct node n[3], replayed, merged;
        uint64_t rng = seed;
        trio(n, seed);
        for (int round = 0; round < 4; round++) {
            for (int i = 0; i < 3; i++) work(&n[i], &rng, 12);
            node_sync(&n[kit_pick(&rng, 3)], &n[kit_pick(&rng, 3)]);
        }
        for (int i = 0; i < 3; i++) node_sync(&n[0], &n[i]);
        node_open(&replayed, 500);
        node_open(&merged, 501);
        replayed.now_us = merged.now_us = n[0].now_us;
        node_sync(&replayed, &n[0]);
        snapshot(&merged, &n[0], 1 + kit_pick(&rng, 9));
        assert_same(&replayed, &merged);
        assert_same(&merged, &n[0]);
        /* and again: nothing changes; the rest by ops: there is none */
        snapshot(&merged, &n[0], 7);
        assert_same(&merged, &n[0]);
        work(&n[0], &rng, 10);
        node_sync(&merged, &n[0]);
        assert_same(&merged, &n[0]);
        node_close(&replayed);
        node_close(&merged);
        trio_close(n);
    }
}

static void pages_of_a_store_that_moves_on_miss_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct node n[3], joiner;
        struct page_at at = { 0, NULL };
        struct vector v;
        uint64_t rng = seed;
        trio(n, seed);
        for (int i = 0; i < 3; i++) work(&n[i], &rng, 20);
        for (int i = 0; i < 3; i++) node_sync(&n[0], &n[i]);
        node_open(&joiner, 700);
        joiner.now_us = n[0].now_us;
        vector_of(&n[0], &v);
        do {
            work(&n[0], &rng, 2);
            work(&n[1], &rng, 2);
            node_sync(&n[0], &n[1]);
            if (kit_pick(&rng, 3) == 0) work(&joiner, &rng, 1);
        } while (page(&joiner, &n[0], &at, 1 + kit_pick(&rng, 4), &v));
        end(&joiner, &v);
        for (int i = 0; i < 2; i++) node_sync(&joiner, &n[i]);
        node_sync(&n[0], &joiner);
        node_sync(&n[0], &n[1]);
        node_sync(&joiner, &n[0]);
        assert_same(&joiner, &n[0]);
        node_close(&joiner);
        trio_close(n);
    }
}

static void what_only_the_receiver_has_survives(void **state)
{
    (void)state;
    struct node a, b;
    struct row row;
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "a1", "of a", "x");
    node_store(&b, "b1", "of b", "y");
    node_link(&b, "b1", "b1");
    snapshot(&b, &a, 8);
    assert_true(node_get(&b, "a1", &row));
    assert_true(node_get(&b, "b1", &row));
    assert_string_equal(row.m.content, "y");
    node_close(&a);
    node_close(&b);
}

/* The donor's tombstones were trimmed: what it has seen and lacks goes, with its links; and only that. */
static void what_was_deleted_long_ago_goes(void **state)
{
    (void)state;
    struct node a, b;
    struct row row;
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "gone", "gone", "x");
    node_store(&a, "kept", "kept", "x");
    node_store(&b, "own", "own", "of b alone");
    node_link(&a, "gone", "kept");
    node_link(&a, "kept", "gone");
    node_sync(&b, &a);
    node_delete(&a, "gone");
    node_begin(&a);
    assert_int_equal(a.tx->v->side_remove(a.tx, SIDE_TOMBSTONE, "gone"), 0);
    node_commit(&a);
    snapshot(&b, &a, 1);
    assert_false(node_find(&b, "gone", &row));
    assert_true(node_get(&b, "kept", &row));
    assert_true(node_get(&b, "own", &row));
    node_close(&a);
    node_close(&b);
}

/* The same the other way round: who deleted it and forgot that merges the state of one who never heard of it. What the
 * other made since comes. */
static void what_was_deleted_here_long_ago_stays_out(void **state)
{
    (void)state;
    struct node a, b;
    struct row row;
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "gone", "gone", "x");
    node_store(&a, "kept", "kept", "x");
    node_link(&a, "gone", "kept");
    node_sync(&b, &a);
    node_delete(&a, "gone");
    node_store(&b, "own", "own", "of b alone");
    node_begin(&a);
    assert_int_equal(a.tx->v->side_remove(a.tx, SIDE_TOMBSTONE, "gone"), 0);
    node_commit(&a);
    snapshot(&a, &b, 1);
    assert_false(node_find(&a, "gone", &row));
    assert_true(node_get(&a, "kept", &row));
    assert_true(node_get(&a, "own", &row));
    node_close(&a);
    node_close(&b);
}

/* Between the pages and the end a third node offers the old op of a row which the donor deleted and forgot. */
static void an_old_op_waits_for_the_end(void **state)
{
    (void)state;
    struct node a, b, late;
    struct page_at at = { 0, NULL };
    struct vector v;
    struct row row;
    node_open(&a, 1);
    node_open(&b, 2);
    node_open(&late, 3);
    node_store(&a, "gone", "gone", "x");
    node_store(&late, "l1", "of the late one", "x");
    node_sync(&b, &a);
    node_store(&b, "b0", "of b", "x");
    node_sync(&b, &late);
    node_delete(&b, "gone");
    node_begin(&b);
    assert_int_equal(b.tx->v->side_remove(b.tx, SIDE_TOMBSTONE, "gone"), 0);
    node_commit(&b);
    vector_of(&b, &v);
    assert_true(page(&late, &b, &at, 1, &v));
    assert_int_equal(push(&late, &a, a.c.origin.stream), FOREIGN_REWIND);
    assert_int_equal(node_pos(&late, a.c.origin.stream), 0);
    assert_false(node_find(&late, "gone", &row));
    while (page(&late, &b, &at, 2, &v)) continue;
    /* what the donor does not have yet is taken */
    node_store(&b, "b1", "beyond the head", "x");
    assert_int_equal(push(&late, &b, b.c.origin.stream), FOREIGN_REWIND);
    assert_int_equal(push(&late, &a, a.c.origin.stream), FOREIGN_REWIND);
    end(&late, &v);
    assert_int_equal(push(&late, &b, b.c.origin.stream), FOREIGN_APPLIED);
    assert_false(node_find(&late, "gone", &row));
    assert_true(node_find(&late, "b1", &row));
    /* whose stream is here as far as at the donor goes on all the while */
    at = (struct page_at){ 0, NULL };
    vector_of(&b, &v);
    assert_true(page(&late, &b, &at, 1, &v));
    node_store(&a, "a2", "more of a", "x");
    assert_int_equal(push(&late, &a, a.c.origin.stream), FOREIGN_APPLIED);
    assert_true(node_find(&late, "a2", &row));
    node_close(&a);
    node_close(&b);
    node_close(&late);
}

/* The donor is lost: ops are taken again. A page that is undone has not begun anything. */
static void a_torn_snapshot_is_stopped(void **state)
{
    (void)state;
    struct node a, b, late;
    struct page_at at = { 0, NULL };
    struct page_span span = { .to = { 0, "z" } };
    struct vector v;
    struct row row;
    node_open(&a, 1);
    node_open(&b, 2);
    node_open(&late, 3);
    node_store(&a, "a1", "one", "x");
    node_sync(&b, &a);
    vector_of(&b, &v);
    span.v = v.pos;
    span.count = v.count;
    node_begin(&late);
    assert_int_equal(change_snapshot_page(&late.c, "", 0, &span), 0);
    node_abort(&late);
    assert_int_equal(push(&late, &a, a.c.origin.stream), FOREIGN_APPLIED);
    node_store(&a, "a2", "two", "x");
    node_sync(&b, &a);
    vector_of(&b, &v);
    assert_true(page(&late, &b, &at, 1, &v));
    assert_int_equal(push(&late, &a, a.c.origin.stream), FOREIGN_REWIND);
    node_begin(&late);
    change_snapshot_stop(&late.c);
    node_commit(&late);
    assert_int_equal(push(&late, &a, a.c.origin.stream), FOREIGN_APPLIED);
    assert_true(node_find(&late, "a2", &row));
    node_close(&a);
    node_close(&b);
    node_close(&late);
}

/* Of a stream that leaves meanwhile, the snapshot has what its head covers and not more. */
static void a_stream_that_leaves_meanwhile(void **state)
{
    (void)state;
    for (int covered = 0; covered < 2; covered++) {
        struct node a, late;
        struct page_at at = { 0, NULL };
        struct vector v;
        node_open(&a, 1);
        node_open(&late, 2);
        node_store(&a, "a", "t", "by a command");
        uint64_t stream = a.c.origin.stream;
        if (!covered) vector_of(&a, &v);
        node_store(&a, "b", "u", "by the same");
        node_restart(&a);
        if (covered) vector_of(&a, &v);
        assert_true(page(&late, &a, &at, 1, &v));
        node_store(&a, "c", "w", "x");
        say(&a, stream, STREAM_ENDED);
        say(&a, stream, STREAM_LEFT);
        assert_int_equal(push(&late, &a, a.c.origin.stream), FOREIGN_APPLIED);
        assert_true(lacks(&late));
        end(&late, &v);
        assert_int_equal(lacks(&late), !covered);
        node_close(&a);
        node_close(&late);
    }
}

static void the_log_begins_behind_a_snapshot(void **state)
{
    (void)state;
    struct node a, b, c;
    struct log_op *op;
    size_t count;
    uint64_t chain = 0;
    node_open(&a, 1);
    node_open(&b, 2);
    node_open(&c, 3);
    for (int i = 0; i < 5; i++) node_store(&a, "a", "t", i % 2 ? "x" : "y");
    uint64_t stream = a.c.origin.stream;
    snapshot(&b, &a, 8);
    assert_int_equal(node_pos(&b, stream), 5);
    node_store(&a, "a", "t", "z");
    node_sync(&b, &a);
    assert_int_equal(node_pos(&b, stream), 6);
    node_begin(&b);
    assert_int_equal(b.tx->v->op_page(b.tx, stream, 1, 9, 1u << 20, &b.arena, &op, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(op->seq, 6);
    assert_int_equal(b.tx->v->op_chain(b.tx, stream, 5, &chain), 0);
    assert_int_equal(op->chain, chain_next(chain, op->body, op->body_len));
    assert_int_equal(b.tx->v->op_chain(b.tx, stream, 4, &chain), E_NOT_FOUND);
    node_abort(&b);
    snapshot(&c, &b, 3);
    assert_int_equal(node_pos(&c, stream), 6);
    assert_same(&b, &c);
    node_close(&a);
    node_close(&b);
    node_close(&c);
}

static void keys_held_ops_and_replaced_texts_travel(void **state)
{
    (void)state;
    static const uint8_t print[40] = { 7, [39] = 9 };
    struct node a, b, c;
    struct idem_row got;
    node_open(&a, 1);
    node_open(&b, 2);
    node_open(&c, 3);
    struct row row = node_store(&a, "k", "kept", "x");
    node_begin(&a);
    assert_int_equal(change_memory(&a.c, &row.m, &row, NULL), 0);
    assert_int_equal(change_idem(&a.c, "key 1", print, sizeof(print)), 0);
    node_commit(&a);
    node_sync(&b, &a);
    node_store(&a, "k", "kept", "edited here");
    b.now_us += 5000;
    node_store(&b, "k", "kept", "edited there");
    node_sync(&a, &b);
    /* an op of a later program */
    struct buf body;
    struct version v = { .raw_kind = 999, .ver = 5, .body = "abc", .body_len = 3 };
    buf_init(&body, 4096);
    assert_int_equal(op_encode(&body, &v, 1), 0);
    struct log_op op = { .seq = 1, .body = body.data, .body_len = body.len };
    struct foreign_batch f = { .stream = 77, .node = 9, .first_seq = 1, .op = &op, .count = 1 };
    enum foreign_result result;
    struct stream_pos pos;
    node_begin(&a);
    assert_int_equal(change_foreign(&a.c, &f, &result, &pos), 0);
    node_commit(&a);
    snapshot(&c, &a, 2);
    node_begin(&c);
    assert_int_equal(c.tx->v->idem_get(c.tx, "key 1", &c.arena, &got), 0);
    assert_int_equal(got.body_len, sizeof(print));
    assert_memory_equal(got.body, print, sizeof(print));
    struct side_row *side;
    size_t count;
    assert_int_equal(c.tx->v->side_scan(c.tx, SIDE_HELD, NULL, NULL, 9, &c.arena, &side, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(side->body_len, body.len);
    assert_memory_equal(side->body, body.data, body.len);
    node_abort(&c);
    char *x = memstore_archive_dump(a.store, true), *y = memstore_archive_dump(c.store, true);
    assert_non_null(strstr(x, "edited here"));
    assert_non_null(strstr(y, "merge_loser"));
    assert_non_null(strstr(y, "edited here"));
    mem_free(x);
    mem_free(y);
    buf_release(&body);
    node_close(&a);
    node_close(&b);
    node_close(&c);
}

static void every_cut_of_a_page_is_refused(void **state)
{
    (void)state;
    struct node a, b;
    struct page_at at = { 0, NULL };
    struct buf bytes;
    struct page_span span = { .to = { .section = PAGE_END } };
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "a", "t", "x");
    node_store(&a, "b", "u", "x");
    node_link(&a, "a", "b");
    buf_init(&bytes, 1u << 20);
    node_begin(&a);
    assert_int_equal(change_page(a.tx, &at, 100, 1u << 20, &a.arena, &bytes), 0);
    node_abort(&a);
    assert_int_equal(at.section, PAGE_END);
    size_t refused = 0;
    for (size_t len = 1; len < bytes.len; len++) {
        node_begin(&b);
        int rc = change_snapshot_page(&b.c, bytes.data, len, &span);
        node_abort(&b);
        assert_true(rc == 0 || rc == E_PROTOCOL);
        refused += rc != 0;
    }
    assert_true(refused >= bytes.len - 10);
    buf_release(&bytes);
    node_close(&a);
    node_close(&b);
}

/* What lies in a page's span is looked at once, before; an id that comes again, or out of order, is here by then. */
static void a_page_in_disorder_is_merged_all_the_same(void **state)
{
    (void)state;
    struct node a, b;
    struct row row;
    struct buf bytes;
    node_open(&a, 1);
    node_open(&b, 2);
    buf_init(&bytes, 1u << 20);
    for (int round = 0; round < 2; round++) { /* the second brings a newer "a", and lacks nothing */
        struct page_at at = { 0, NULL };
        struct page_span span = { .to = { .section = PAGE_END } };
        node_store(&a, "a", "t", round == 0 ? "x" : "later");
        node_store(&a, round == 0 ? "b" : "c", round == 0 ? "u" : "v", "x");
        node_begin(&a);
        assert_int_equal(change_page(a.tx, &at, 100, 1u << 20, &a.arena, &bytes), 0);
        node_abort(&a);
        size_t once = bytes.len;
        char *copy = mem_alloc(once);
        memcpy(copy, bytes.data, once);
        buf_put(&bytes, copy, once);
        node_begin(&b);
        assert_int_equal(change_snapshot_page(&b.c, bytes.data, bytes.len, &span), 0);
        node_commit(&b);
        mem_free(copy);
        buf_clear(&bytes);
    }
    assert_true(node_get(&b, "a", &row));
    assert_string_equal(row.m.content, "later");
    assert_true(node_get(&b, "b", &row));
    assert_true(node_get(&b, "c", &row));
    assert_same(&a, &b);
    buf_release(&bytes);
    node_close(&a);
    node_close(&b);
}

/* ---- scrubbing ------------------------------------------------------------------------------------------------- */

struct listing {
    struct buf text; /* live rows, a line each */
    uint8_t buckets[SCRUB_BUCKETS / 8];
};

static void list_row(void *data, const struct scrub_row *r)
{
    struct listing *l = data;
    if (r->dead) return;
    buf_printf(&l->text, "%u %s %llx %llx %llx\n", r->family, r->key, (unsigned long long)r->stamp.ver,
               (unsigned long long)r->stamp.stream, (unsigned long long)r->sum);
    l->buckets[r->bucket / 8] |= (uint8_t)(1u << r->bucket % 8);
}

static void list(struct node *n, struct listing *l)
{
    memset(l, 0, sizeof(*l));
    buf_init(&l->text, 1u << 24);
    node_begin(n);
    assert_int_equal(change_scrub(n->tx, list_row, l), 0);
    node_abort(n);
}

static void who_has_the_same_ops_sums_up_the_same(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct node n[3];
        struct listing l[3];
        uint64_t rng = seed;
        trio(n, seed);
        for (int round = 0; round < 5; round++) {
            for (int i = 0; i < 3; i++) work(&n[i], &rng, 10);
            node_sync(&n[kit_pick(&rng, 3)], &n[kit_pick(&rng, 3)]);
        }
        for (int i = 0; i < 9; i++) node_sync(&n[i % 3], &n[(i + 1) % 3]);
        for (int i = 0; i < 3; i++) list(&n[i], &l[i]);
        assert_true(l[0].text.len > 0);
        assert_string_equal(buf_str(&l[0].text), buf_str(&l[1].text));
        assert_string_equal(buf_str(&l[0].text), buf_str(&l[2].text));
        for (int i = 0; i < 3; i++) buf_release(&l[i].text);
        trio_close(n);
    }
}

static void records_of_buckets_mend_what_was_lost(void **state)
{
    (void)state;
    struct node a, b;
    struct listing all;
    struct buf records;
    struct row row;
    const char *const force[] = { "b" };
    struct page_span span = { .repair = true, .force = force, .force_count = 1 };
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "a", "t", "kept");
    node_store(&a, "b", "u", "as it was written");
    node_store(&a, "c", "v", "x");
    node_link(&a, "a", "c");
    node_sync(&b, &a);
    assert_true(node_get(&b, "a", &row));
    node_begin(&b);
    assert_int_equal(b.tx->v->remove(b.tx, &row), 0);
    node_commit(&b);
    assert_true(node_get(&b, "b", &row));
    struct row other = row;
    other.m.content = "zz: a text nobody wrote";
    node_begin(&b);
    assert_int_equal(b.tx->v->put(b.tx, &other, &row), 0);
    node_commit(&b);
    list(&a, &all);
    buf_init(&records, 1u << 20);
    node_begin(&a);
    assert_int_equal(change_scrub_records(a.tx, all.buckets, &records), 0);
    node_abort(&a);
    node_begin(&b);
    assert_int_equal(change_snapshot_page(&b.c, records.data, records.len, &span), 0);
    node_commit(&b);
    buf_release(&records);
    buf_release(&all.text);
    assert_true(node_get(&b, "b", &row));
    assert_string_equal(row.m.content, "as it was written");
    assert_true(node_get(&b, "a", &row));
    assert_string_equal(row.m.content, "kept");
    assert_same(&a, &b);
    node_close(&a);
    node_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_equals_the_ops_replayed),
        cmocka_unit_test(pages_of_a_store_that_moves_on_miss_nothing),
        cmocka_unit_test(what_only_the_receiver_has_survives),
        cmocka_unit_test(what_was_deleted_long_ago_goes),
        cmocka_unit_test(what_was_deleted_here_long_ago_stays_out),
        cmocka_unit_test(an_old_op_waits_for_the_end),
        cmocka_unit_test(a_torn_snapshot_is_stopped),
        cmocka_unit_test(a_stream_that_leaves_meanwhile),
        cmocka_unit_test(the_log_begins_behind_a_snapshot),
        cmocka_unit_test(keys_held_ops_and_replaced_texts_travel),
        cmocka_unit_test(every_cut_of_a_page_is_refused),
        cmocka_unit_test(a_page_in_disorder_is_merged_all_the_same),
        cmocka_unit_test(who_has_the_same_ops_sums_up_the_same),
        cmocka_unit_test(records_of_buckets_mend_what_was_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
