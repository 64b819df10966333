/* test_change_ahead.c - rows that came with a snapshot whose donor was lost before its ops were: said anew, they reach
 * everybody, and all nodes hold the same; while the ops may still come, nothing is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "change_kit.h"
#include "store/change_private.h"

/* All pages of `from`, for a head that knows nothing; no end. */
static void pages(struct node *to, struct node *from)
{
    struct page_at at = { 0, NULL };
    while (at.section != PAGE_END) {
        struct buf b;
        struct page_span span = { .from = at };
        buf_init(&b, 64u << 20);
        node_begin(from);
        assert_int_equal(change_page(from->tx, &at, 3, 1u << 20, &from->arena, &b), 0);
        span.to = at;
        node_begin(to);
        assert_int_equal(change_snapshot_page(&to->c, b.data, b.len, &span), 0);
        node_commit(to);
        node_abort(from);
        buf_release(&b);
    }
    node_begin(to);
    change_snapshot_stop(&to->c);
    node_commit(to);
}

static bool ahead(struct node *n)
{
    bool ret;
    node_begin(n);
    assert_int_equal(change_ahead(n->tx, &n->arena, &ret), 0);
    node_abort(n);
    return ret;
}

static size_t say_anew(struct node *n)
{
    size_t all = 0, said;
    bool more = true;
    while (more) {
        node_begin(n);
        assert_int_equal(change_ahead_say(&n->c, &said, &more), 0);
        node_commit(n);
        all += said;
    }
    return all;
}

static void assert_same(struct node *a, struct node *b)
{
    char *x = node_dump(a, true), *y = node_dump(b, true);
    assert_string_equal(x, y);
    mem_free(x);
    mem_free(y);
}

/* One of everything that is replicated, some of it over what the others have. */
static void work(struct node *n)
{
    static const uint8_t print[32] = { 9 };
    struct row row, before;
    n->now_us += 1000000;
    node_store(n, "old", "old", "edited by the lost one");
    node_delete(n, "deleted");
    node_store(n, "new", "new", "of the lost one");
    node_store(n, "brief", "brief", "x");
    node_touch(n, "brief", 7, true);
    node_delete(n, "brief");
    node_touch(n, "old", 4, true);
    node_link(n, "new", "old");
    node_begin(n);
    struct link gone = { .source_id = "old", .target_id = "kept", .relation = "related_to" };
    assert_int_equal(change_unlink(&n->c, &gone), 0);
    assert_int_equal(change_standard(&n->c, "n", "new", NULL), 0);
    row = (struct row){ .m = kit_memory("away", "away", "x") };
    row.m.created_at = row.m.updated_at = "2024-01-01T00:00:00+00:00";
    assert_int_equal(change_archive(&n->c, &row, "2024-01-02T00:00:00+00:00", "forget"), 0);
    struct member m = { .node = 77, .state = MEMBER_ACTIVE, .url = "http://x" };
    assert_int_equal(change_member(&n->c, &m), 0);
    assert_int_equal(n->tx->v->get(n->tx, "new", &n->arena, &before), 0);
    assert_int_equal(change_memory(&n->c, &before.m, &before, NULL), 0);
    assert_int_equal(change_idem(&n->c, "key", print, sizeof(print)), 0);
    node_commit(n);
}

static void a_lost_donors_rows_reach_everybody(void **state)
{
    (void)state;
    struct node lost, one, two;
    struct row row;
    struct idem_row key;
    node_open(&lost, 1);
    node_open(&one, 2);
    node_open(&two, 3);
    node_store(&two, "old", "old", "first");
    node_store(&two, "kept", "kept", "x");
    node_store(&two, "deleted", "deleted", "x");
    node_touch(&two, "deleted", 6, true);
    node_link(&two, "old", "kept");
    node_sync(&lost, &two);
    node_sync(&one, &two);
    work(&lost);
    assert_false(ahead(&one));
    pages(&one, &lost);
    assert_true(ahead(&one));
    uint64_t stream = lost.c.origin.stream;
    assert_int_equal(node_pos(&one, stream), 0);
    assert_true(say_anew(&one) >= 10);
    assert_false(ahead(&one));
    node_sync(&two, &one);
    assert_same(&one, &two);
    assert_true(node_get(&two, "old", &row));
    assert_string_equal(row.m.content, "edited by the lost one");
    assert_int_equal(row.m.access_count, 4);
    assert_false(node_find(&two, "deleted", &row));
    assert_true(node_get(&two, "new", &row));
    assert_true(row.stamp.stream == one.c.origin.stream);
    node_begin(&two);
    assert_int_equal(two.tx->v->idem_get(two.tx, "key", &two.arena, &key), 0);
    assert_true(key.stamp.stream == one.c.origin.stream && key.stamp.seq > 0);
    node_abort(&two);
    /* found again, it has nothing to add but its stamps */
    node_sync(&one, &lost);
    node_sync(&two, &lost);
    node_sync(&lost, &one);
    assert_same(&one, &two);
    assert_same(&one, &lost);
    node_close(&lost);
    node_close(&one);
    node_close(&two);
}

static void put(struct node *n, const struct memory *m)
{
    struct row before;
    bool there = node_get(n, m->id, &before);
    n->now_us += 1000000;
    node_begin(n);
    assert_int_equal(change_memory(&n->c, m, there ? &before : NULL, NULL), 0);
    node_commit(n);
}

/* Edits of the lost one that lost to others here left their tier and last access behind. */
static void what_merges_by_itself_is_said_with_its_row(void **state)
{
    (void)state;
    struct node lost, one, two;
    struct row row;
    struct memory m = kit_memory("x", "x", "of the lost one");
    node_open(&lost, 1);
    node_open(&one, 2);
    node_open(&two, 3);
    node_store(&two, "x", "x", "first");
    node_store(&two, "gone", "gone", "first");
    node_sync(&lost, &two);
    m.tier = TIER_LONG;
    m.expires_at = NULL;
    m.last_accessed_at = "2023-11-15T00:00:00.123456789+00:00";
    put(&lost, &m);
    m.id = m.title = "gone";
    put(&lost, &m);
    two.now_us = lost.now_us + 1000000;
    node_store(&two, "x", "x", "later");
    node_delete(&two, "gone");
    node_sync(&lost, &two);
    node_sync(&one, &two);
    pages(&one, &lost);
    assert_true(node_get(&one, "x", &row));
    assert_int_equal(row.m.tier, TIER_LONG);
    assert_true(row.stamp.stream == two.c.origin.stream);
    assert_int_equal(say_anew(&one), 2);
    node_sync(&two, &one);
    assert_same(&one, &two);
    assert_true(node_get(&two, "x", &row));
    assert_string_equal(row.m.content, "later");
    assert_int_equal(row.m.tier, TIER_LONG);
    assert_string_equal(row.m.last_accessed_at, "2023-11-15T00:00:00.123456789+00:00");
    assert_false(node_find(&two, "gone", &row));
    node_store(&two, "gone", "gone", "made again");
    assert_true(node_get(&two, "gone", &row));
    assert_int_equal(row.m.tier, TIER_LONG);
    node_close(&lost);
    node_close(&one);
    node_close(&two);
}

static size_t held(struct node *n, struct side_row **ret)
{
    size_t count;
    node_begin(n);
    assert_int_equal(n->tx->v->side_scan(n->tx, SIDE_HELD, NULL, NULL, 9, &n->arena, ret, &count), 0);
    node_abort(n);
    return count;
}

/* What no program here understands, a later one may: the op goes on under a stamp of ours. Bytes that are no op stay.
 */
static void held_ops_are_said_with_the_same_bytes(void **state)
{
    (void)state;
    struct node lost, one, two;
    struct version v = { .raw_kind = 99, .ver = 7, .body = "\7\0\0\0\0\0\0\0new", .body_len = 11 };
    struct side_row *side;
    struct buf body;
    struct stream_pos pos;
    enum foreign_result result;
    buf_init(&body, 4096);
    assert_int_equal(op_encode(&body, &v, 1), 0);
    struct log_op op[] = { { .seq = 1, .body = body.data, .body_len = body.len },
                           { .seq = 2, .body = "none", .body_len = 4 } };
    struct foreign_batch f = { .stream = 77, .node = 9, .first_seq = 1, .op = op, .count = 2 };
    node_open(&lost, 1);
    node_open(&one, 2);
    node_open(&two, 3);
    node_begin(&lost);
    assert_int_equal(change_foreign(&lost.c, &f, &result, &pos), 0);
    node_commit(&lost);
    node_store(&lost, "a", "a", "x");
    pages(&one, &lost);
    assert_int_equal(held(&one, &side), 2);
    assert_int_equal(say_anew(&one), 2);
    node_sync(&two, &one);
    assert_int_equal(held(&two, &side), 1);
    assert_true(side->stamp.stream == one.c.origin.stream);
    assert_int_equal(side->body_len, body.len);
    assert_memory_equal(side->body, body.data, body.len);
    assert_int_equal(held(&one, &side), 2);
    for (int i = 0; i < 2; i++) assert_true(side[i].stamp.stream == one.c.origin.stream || side[i].body_len == 4);
    assert_same(&one, &two);
    buf_release(&body);
    node_close(&lost);
    node_close(&one);
    node_close(&two);
}

/* A replay of all ops in another store comes to the same: nothing depends on who said it first. */
static void rows_that_share_titles_are_said_anew(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct node lost, one, two;
        uint64_t rng = seed;
        node_open(&lost, seed * 3);
        node_open(&one, seed * 3 + 1);
        node_open(&two, seed * 3 + 2);
        for (int round = 0; round < 4; round++) {
            struct node *by[] = { &two, &lost };
            for (int i = 0; i < 2; i++) {
                for (int k = 0; k < 6; k++) {
                    char id[16], title[16], text[16];
                    struct row row, other;
                    snprintf(id, sizeof(id), "%c%d", "pq"[i], (int)kit_pick(&rng, 4));
                    snprintf(title, sizeof(title), "title %d", (int)kit_pick(&rng, 3));
                    snprintf(text, sizeof(text), "text %d", (int)kit_pick(&rng, 100));
                    bool there = node_get(by[i], id, &row);
                    if (kit_pick(&rng, 4) > 0) by[i]->now_us += 1000; /* else versions tie */
                    node_begin(by[i]);
                    bool taken = by[i]->tx->v->by_title(by[i]->tx, title, "n", &by[i]->arena, &other) == 0 &&
                                 strcmp(other.m.id, id) != 0;
                    node_abort(by[i]);
                    if (there && kit_pick(&rng, 4) == 0)
                        node_delete(by[i], id);
                    else if (!taken)
                        node_store(by[i], id, title, text);
                }
            }
            if (round == 0) node_sync(&lost, &two);
        }
        node_sync(&one, &two);
        pages(&one, &lost);
        say_anew(&one);
        node_sync(&two, &one);
        assert_same(&one, &two);
        node_sync(&one, &lost);
        node_sync(&two, &lost);
        assert_same(&one, &two);
        node_close(&lost);
        node_close(&one);
        node_close(&two);
    }
}

static void what_came_with_ops_is_not_said(void **state)
{
    (void)state;
    struct node a, b;
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "x", "t", "1");
    node_store(&b, "own", "own", "1");
    pages(&b, &a);
    node_sync(&b, &a);
    uint64_t seq = b.c.origin.seq;
    assert_int_equal(say_anew(&b), 0);
    assert_int_equal(b.c.origin.seq, seq);
    pages(&b, &a);
    node_begin(&b);
    assert_int_equal(change_ahead_over(&b.c), 0);
    node_commit(&b);
    assert_false(ahead(&b));
    node_close(&a);
    node_close(&b);
}

/* It goes on where it was, in the next life, too; another snapshot begins it anew. */
static void it_survives_a_restart(void **state)
{
    (void)state;
    struct node a, b;
    char id[16];
    size_t said;
    bool more;
    node_open(&a, 1);
    node_open(&b, 2);
    for (int i = 0; i < 300; i++) {
        snprintf(id, sizeof(id), "id %03d", i);
        node_store(&a, id, id, "x");
    }
    pages(&b, &a);
    node_begin(&b);
    assert_int_equal(change_ahead_say(&b.c, &said, &more), 0);
    node_commit(&b);
    assert_true(more && said > 0 && said < 300);
    node_restart(&b);
    assert_true(ahead(&b));
    assert_int_equal(said + say_anew(&b), 300);
    assert_false(ahead(&b));
    node_close(&a);
    node_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_donors_rows_reach_everybody),
        cmocka_unit_test(what_merges_by_itself_is_said_with_its_row),
        cmocka_unit_test(held_ops_are_said_with_the_same_bytes),
        cmocka_unit_test(rows_that_share_titles_are_said_anew),
        cmocka_unit_test(what_came_with_ops_is_not_said),
        cmocka_unit_test(it_survives_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
