/* test_change.c - local changes: versions, positions, shadows, links, counts, keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/digest.h"
#include "change_kit.h"

static int links_shown(struct node *n, const char *id, const char *source, const char *target)
{
    struct links links;
    int found = 0;
    node_begin(n);
    assert_int_equal(n->tx->v->links_of(n->tx, id, &n->arena, &links), 0);
    node_abort(n);
    for (size_t i = 0; i < links.count; i++)
        found += strcmp(links.item[i].source_id, source) == 0 && strcmp(links.item[i].target_id, target) == 0;
    return found;
}

static void a_life_begins_with_its_own_stream(void **state)
{
    (void)state;
    struct node n;
    node_open(&n, 1);
    uint64_t node = n.c.origin.node, stream = n.c.origin.stream;
    assert_int_not_equal(node, 0);
    assert_true(stream < UINT64_C(1) << 63);
    assert_int_equal(stream >> 20, n.now_us / 1000);
    node_store(&n, "a", "t", "x");
    node_restart(&n);
    assert_int_equal(n.c.origin.node, node);
    assert_int_not_equal(n.c.origin.stream, stream);
    assert_int_equal(n.c.origin.seq, 0);
    assert_int_equal(node_pos(&n, stream), 1);
    node_close(&n);
}

static void a_new_row_is_stamped_and_logged(void **state)
{
    (void)state;
    struct node n;
    struct log_op *op;
    struct stream_pos pos;
    size_t count;
    char text[TIME_TEXT];
    node_open(&n, 1);
    struct row r = node_store(&n, "a", "t", "x");
    assert_int_equal(r.stamp.stream, n.c.origin.stream);
    assert_int_equal(r.stamp.seq, 1);
    time_print(text, stamp_us(r.stamp.ver));
    assert_string_equal(r.m.updated_at, text);
    assert_int_equal(n.c.made_count, 1);
    node_begin(&n);
    assert_int_equal(n.tx->v->op_page(n.tx, n.c.origin.stream, 1, 9, 1u << 20, &n.arena, &op, &count), 0);
    assert_int_equal(n.tx->v->stream_get(n.tx, n.c.origin.stream, &pos), 0);
    node_abort(&n);
    assert_int_equal(count, 1);
    assert_int_equal(op->chain, chain_next(0, op->body, op->body_len));
    assert_int_equal(pos.pos, 1);
    assert_int_equal(pos.chain, op->chain);
    node_close(&n);
}

static void an_edit_beats_the_row_whatever_the_clock_says(void **state)
{
    (void)state;
    struct node n;
    node_open(&n, 1);
    struct row first = node_store(&n, "a", "t", "x");
    n.now_us -= 3600000000;
    node_restart(&n);
    struct row second = node_store(&n, "a", "t", "y");
    assert_true(second.stamp.ver > first.stamp.ver);
    assert_int_equal(second.own.base_ver, first.stamp.ver);
    assert_string_equal(second.m.content, "y");
    node_close(&n);
}

static void a_title_is_taken_once(void **state)
{
    (void)state;
    struct node n;
    struct row row;
    struct memory m = kit_memory("b", "t", "y");
    node_open(&n, 1);
    node_store(&n, "a", "t", "x");
    node_begin(&n);
    assert_int_equal(change_memory(&n.c, &m, NULL, &row), E_CONFLICT);
    node_abort(&n);
    assert_false(node_find(&n, "b", &row));
    assert_int_equal(n.c.origin.seq, 1);
    node_close(&n);
}

static void an_undone_item_leaves_no_trace(void **state)
{
    (void)state;
    struct node n;
    struct err err = { 0 };
    struct row row;
    struct memory a = kit_memory("a", "t", "x"), b = kit_memory("b", "u", "y"), d = kit_memory("d", "v", "z");
    node_open(&n, 1);
    node_begin(&n);
    assert_int_equal(change_memory(&n.c, &a, NULL, NULL), 0);
    assert_int_equal(change_savepoint_end(&n.c, true, &err), 0);
    assert_int_equal(change_savepoint(&n.c, &err), 0);
    assert_int_equal(change_memory(&n.c, &b, NULL, NULL), 0);
    assert_int_equal(change_memory(&n.c, &d, NULL, NULL), 0);
    assert_int_equal(change_position(&n.c).seq, 3);
    assert_int_equal(change_savepoint_end(&n.c, false, &err), 0);
    assert_int_equal(change_savepoint(&n.c, &err), 0);
    assert_int_equal(change_position(&n.c).seq, 0);
    assert_int_equal(change_memory(&n.c, &d, NULL, NULL), 0);
    assert_int_equal(change_position(&n.c).seq, 2);
    node_commit(&n);
    assert_int_equal(n.c.made_count, 2);
    assert_true(node_get(&n, "a", &row));
    assert_false(node_find(&n, "b", &row));
    assert_true(node_get(&n, "d", &row));
    assert_int_equal(row.stamp.seq, 2);
    struct node other;
    node_open(&other, 2);
    node_sync(&other, &n); /* the chain of what is logged holds */
    assert_true(node_get(&other, "d", &row));
    node_close(&other);
    node_close(&n);
}

static void a_group_is_one_op_and_the_key_is_in_it(void **state)
{
    (void)state;
    struct node n, other;
    uint8_t print[40] = { 7, [39] = 9 }; /* a fingerprint, and an answer */
    struct stamp pos;
    struct idem_row got;
    struct memory a = kit_memory("a", "t", "x"), b = kit_memory("b", "u", "y");
    node_open(&n, 1);
    node_open(&other, 2);
    node_begin(&n);
    change_group_begin(&n.c);
    assert_int_equal(change_memory(&n.c, &a, NULL, NULL), 0);
    assert_int_equal(change_memory(&n.c, &b, NULL, NULL), 0);
    assert_int_equal(change_group_end(&n.c), 0);
    assert_int_equal(change_idem(&n.c, "key", print, sizeof(print)), 0);
    pos = change_position(&n.c);
    assert_int_equal(change_side(&n.c, KIND_MEMBER, "p", "body", 4), 0);
    node_commit(&n);
    assert_int_equal(n.c.made_count, 2); /* what follows the group is an op of its own */
    assert_int_equal(pos.seq, 1);
    node_sync(&other, &n);
    node_begin(&other);
    assert_int_equal(other.tx->v->idem_get(other.tx, "key", &other.arena, &got), 0);
    node_abort(&other);
    assert_int_equal(got.body_len, sizeof(print));
    assert_memory_equal(got.body, print, sizeof(print));
    assert_int_equal(got.stamp.stream, pos.stream);
    assert_int_equal(got.stamp.seq, 1);
    assert_true(got.expires_us >= KIT_START + INT64_C(86400000000));
    node_close(&other);
    node_close(&n);
}

static void the_lesser_of_two_titles_rests(void **state)
{
    (void)state;
    struct node a, b;
    struct row row;
    struct rows shadows;
    node_open(&a, 1);
    node_open(&b, 2);
    b.now_us += 1000000;
    node_store(&a, "a", "t", "from a");
    node_store(&b, "b", "t", "from b");
    node_sync(&a, &b);
    node_sync(&b, &a);
    for (struct node *n = &a; n != NULL; n = n == &a ? &b : NULL) {
        assert_true(node_find(n, "a", &row));
        assert_string_equal(row.m.id, "b");
        node_begin(n);
        assert_int_equal(change_shadows(n->tx, NULL, 9, &n->arena, &shadows), 0);
        node_abort(n);
        assert_int_equal(shadows.count, 1);
        assert_string_equal(shadows.item[0].m.content, "from a");
    }
    node_delete(&a, "a"); /* by the shadow's id: both end */
    node_sync(&b, &a);
    assert_false(node_find(&b, "a", &row));
    assert_false(node_find(&b, "b", &row));
    node_close(&a);
    node_close(&b);
}

static void a_shadow_surfaces_when_the_winner_left_where_it_was_unknown(void **state)
{
    (void)state;
    struct node a, b;
    struct row row;
    node_open(&a, 1);
    node_open(&b, 2);
    b.now_us += 1000000;
    node_store(&a, "a", "t", "from a");
    node_store(&b, "b", "t", "from b");
    node_store(&b, "b", "elsewhere", "from b"); /* b knows nothing of a */
    node_sync(&a, &b);
    assert_true(node_get(&a, "a", &row));
    assert_true(node_get(&a, "b", &row));
    assert_string_equal(row.m.title, "elsewhere");
    node_close(&a);
    node_close(&b);
}

static void a_rename_takes_the_shadows_along(void **state)
{
    (void)state;
    struct node a, b, c;
    struct row row;
    struct rows shadows;
    node_open(&a, 1);
    node_open(&b, 2);
    node_open(&c, 3);
    b.now_us += 1000000;
    node_store(&a, "a", "t", "from a");
    node_store(&b, "b", "t", "from b");
    node_sync(&b, &a);
    node_store(&b, "b", "new", "from b");
    assert_int_equal(b.c.origin.seq, 2); /* one op */
    node_sync(&c, &b);                   /* has not seen them under the old title */
    node_sync(&a, &b);
    node_sync(&c, &a);
    for (struct node *n = &a; n != NULL; n = n == &a ? &b : n == &b ? &c : NULL) {
        assert_true(node_find(n, "a", &row));
        assert_string_equal(row.m.id, "b");
        assert_string_equal(row.m.title, "new");
        node_begin(n);
        assert_int_equal(n->tx->v->by_title(n->tx, "t", "n", &n->arena, &row), E_NOT_FOUND);
        assert_int_equal(change_shadows(n->tx, NULL, 9, &n->arena, &shadows), 0);
        node_abort(n);
        assert_int_equal(shadows.count, 1);
        assert_string_equal(shadows.item[0].m.content, "from a");
        assert_string_equal(shadows.item[0].m.title, "new");
    }
    node_delete(&c, "a");
    node_sync(&a, &c);
    assert_false(node_find(&a, "a", &row));
    assert_false(node_find(&a, "b", &row));
    node_close(&a);
    node_close(&b);
    node_close(&c);
}

static void links_follow_what_is_visible(void **state)
{
    (void)state;
    struct node a, b;
    node_open(&a, 1);
    node_open(&b, 2);
    b.now_us += 1000000;
    node_store(&a, "a", "t", "from a");
    node_store(&a, "x", "x", "x");
    node_link(&a, "a", "x");
    assert_int_equal(links_shown(&a, "x", "a", "x"), 1);
    node_store(&b, "b", "t", "from b");
    node_sync(&a, &b); /* a is a shadow now: its link is the winner's */
    assert_int_equal(links_shown(&a, "x", "b", "x"), 1);
    assert_int_equal(links_shown(&a, "x", "a", "x"), 0);
    node_store(&b, "b", "elsewhere", "from b");
    node_sync(&a, &b);
    assert_int_equal(links_shown(&a, "x", "a", "x"), 1);
    assert_int_equal(links_shown(&a, "x", "b", "x"), 0);
    node_delete(&a, "x");
    assert_int_equal(links_shown(&a, "a", "a", "x"), 0);
    node_store(&a, "x", "x", "again");
    assert_int_equal(links_shown(&a, "a", "a", "x"), 1);
    struct link l = { .source_id = "a", .target_id = "x", .relation = "related_to" };
    node_begin(&a);
    assert_int_equal(change_unlink(&a.c, &l), 0);
    node_commit(&a);
    assert_int_equal(links_shown(&a, "a", "a", "x"), 0);
    node_begin(&a);
    assert_int_equal(change_unlink(&a.c, &l), E_NOT_FOUND);
    assert_int_equal(change_position(&a.c).seq, 0);
    node_commit(&a);
    node_close(&a);
    node_close(&b);
}

static void linking_twice_is_one_op(void **state)
{
    (void)state;
    struct node n;
    node_open(&n, 1);
    node_store(&n, "a", "t", "x");
    node_store(&n, "b", "u", "y");
    node_link(&n, "a", "b");
    node_link(&n, "a", "b");
    assert_int_equal(n.c.origin.seq, 3);
    struct link l = { .source_id = "a", .target_id = "nobody", .relation = "related_to" };
    node_begin(&n);
    assert_int_equal(change_link(&n.c, &l), E_NOT_FOUND);
    assert_string_equal(n.tx->err->arg, "nobody");
    node_abort(&n);
    node_close(&n);
}

static void standards_are_shown_while_their_memory_is(void **state)
{
    (void)state;
    struct node n;
    struct row row;
    const char *id, *parent;
    node_open(&n, 1);
    node_store(&n, "a", "t", "x");
    node_begin(&n);
    assert_int_equal(change_standard(&n.c, "n", "a", "p"), 0);
    assert_int_equal(n.tx->v->standard_of(n.tx, "n", &n.arena, &id, &parent), 0);
    assert_string_equal(id, "a");
    assert_string_equal(parent, "p");
    node_commit(&n);
    node_delete(&n, "a");
    node_begin(&n);
    assert_int_equal(n.tx->v->standard_of(n.tx, "n", &n.arena, &id, &parent), E_NOT_FOUND);
    node_abort(&n);
    row = node_store(&n, "a", "t", "again");
    assert_string_equal(row.m.content, "again");
    node_begin(&n);
    assert_int_equal(n.tx->v->standard_of(n.tx, "n", &n.arena, &id, &parent), 0);
    node_abort(&n);
    node_close(&n);
}

static void touches_extend_promote_and_raise(void **state)
{
    (void)state;
    struct node n, other;
    struct row row;
    char text[TIME_TEXT];
    bool more;
    node_open(&n, 1);
    node_open(&other, 2);
    struct row before = node_store(&n, "a", "t", "x");
    n.now_us += INT64_C(3600) * 1000000;
    node_touch(&n, "a", 1, false);
    assert_true(node_get(&n, "a", &row));
    assert_int_equal(row.m.access_count, 1);
    assert_string_equal(row.m.expires_at, before.m.expires_at); /* never shorter */
    assert_int_equal(row.stamp.ver, before.stamp.ver);
    time_print(text, n.now_us);
    assert_string_equal(row.m.last_accessed_at, text);
    n.now_us += INT64_C(561600) * 1000000;
    node_touch(&n, "a", 1, false);
    assert_true(node_get(&n, "a", &row));
    time_print(text, n.now_us + INT64_C(86400) * 1000000);
    assert_string_equal(row.m.expires_at, text);
    node_touch(&n, "a", 3, false);
    assert_true(node_get(&n, "a", &row));
    assert_int_equal(row.m.tier, TIER_LONG);
    assert_null(row.m.expires_at);
    node_touch(&n, "a", 5, true);
    assert_true(node_get(&n, "a", &row));
    assert_int_equal(row.m.priority, 6);
    assert_int_equal(n.c.origin.seq, 2); /* the row, one op of touches */
    node_begin(&n);
    assert_int_equal(change_touch_flush(&n.c, &more), 0);
    assert_int_equal(change_position(&n.c).seq, 0);
    assert_false(more);
    node_commit(&n);
    node_sync(&other, &n);
    char *one = node_dump(&n, true), *two = node_dump(&other, true);
    assert_string_equal(one, two);
    mem_free(one);
    mem_free(two);
    node_close(&other);
    node_close(&n);
}

static void counts_of_two_nodes_add_up(void **state)
{
    (void)state;
    struct node a, b;
    struct row row;
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "a", "t", "x");
    node_sync(&b, &a);
    node_touch(&a, "a", 2, true);
    node_touch(&b, "a", 3, true);
    node_sync(&a, &b);
    node_sync(&b, &a);
    assert_true(node_get(&a, "a", &row));
    assert_int_equal(row.m.access_count, 5);
    assert_true(node_get(&b, "a", &row));
    assert_int_equal(row.m.access_count, 5);
    node_store(&b, "a", "t", "edited");
    assert_true(node_get(&b, "a", &row));
    assert_int_equal(row.m.access_count, 5);
    node_close(&a);
    node_close(&b);
}

static void swept_rows_come_back(void **state)
{
    (void)state;
    struct node n;
    struct row row;
    node_open(&n, 1);
    node_store(&n, "a", "t", "x");
    node_store(&n, "b", "u", "y");
    node_link(&n, "a", "b");
    n.now_us += INT64_C(691200) * 1000000;
    char *before = node_dump(&n, false);
    node_begin(&n);
    assert_int_equal(n.tx->v->get(n.tx, "a", &n.arena, &row), 0);
    assert_int_equal(change_sweep(&n.c, &row), 0);
    assert_int_equal(change_position(&n.c).seq, 0);
    node_commit(&n);
    char *after = node_dump(&n, false);
    assert_string_equal(before, after);
    assert_false(node_find(&n, "a", &row));
    /* a new row takes the title over and is greater */
    struct row next = node_store(&n, "c", "t", "z");
    assert_true(node_find(&n, "a", &row));
    assert_string_equal(row.m.id, "c");
    assert_int_equal(links_shown(&n, "b", "c", "b"), 1);
    assert_true(next.stamp.seq == 4);
    mem_free(before);
    mem_free(after);
    node_close(&n);
}

static void prefixes_find_rows_and_shadows(void **state)
{
    (void)state;
    struct node a, b;
    struct row row;
    struct err err = { 0 };
    node_open(&a, 1);
    node_open(&b, 2);
    b.now_us += 1000000;
    node_store(&a, "aa-1", "t", "x");
    node_store(&a, "ab-1", "u", "y");
    node_store(&b, "bb-1", "t", "z");
    node_sync(&a, &b);
    node_begin(&a);
    assert_int_equal(change_find(a.tx, "aa", true, &a.arena, &row, &err), 0);
    assert_string_equal(row.m.id, "bb-1");
    assert_int_equal(change_find(a.tx, "BB", true, &a.arena, &row, &err), 0);
    assert_int_equal(change_find(a.tx, "a", true, &a.arena, &row, &err), E_AMBIGUOUS);
    assert_string_equal(err.msg, "ambiguous ID prefix 'a': 2 matches\nab-1\nbb-1");
    assert_int_equal(change_find(a.tx, "zz", true, &a.arena, &row, &err), E_NOT_FOUND);
    assert_int_equal(change_find(a.tx, "ab", false, &a.arena, &row, &err), E_NOT_FOUND);
    node_abort(&a);
    node_close(&a);
    node_close(&b);
}

static void quiet_edits_lose_to_what_they_did_not_see(void **state)
{
    (void)state;
    struct node a, b;
    struct row row;
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "a", "t", "x");
    node_sync(&b, &a);
    a.now_us += 1000000;
    node_store(&a, "a", "t", "an edit");
    b.now_us += 60000000;
    node_begin(&b);
    assert_int_equal(b.tx->v->get(b.tx, "a", &b.arena, &row), 0);
    row.m.tags = "[\"tag\"]";
    assert_int_equal(change_memory_quietly(&b.c, &row.m, &row, NULL), 0);
    node_commit(&b);
    node_sync(&b, &a);
    assert_true(node_get(&b, "a", &row));
    assert_string_equal(row.m.content, "an edit");
    node_close(&a);
    node_close(&b);
}

static void the_clock_survives_a_crash(void **state)
{
    (void)state;
    struct node n;
    uint64_t last = 0;
    node_open(&n, 1);
    for (int i = 0; i < 20; i++) {
        n.now_us += 100000;
        last = node_store(&n, "a", "t", i % 2 ? "x" : "y").stamp.ver;
    }
    uint64_t ahead = n.c.hlc.last;
    n.now_us -= INT64_C(3600) * 1000000;
    node_restart(&n);
    assert_true(n.c.hlc.last >= ahead);
    assert_true(node_store(&n, "b", "u", "z").stamp.ver > last);
    /* short lives do not push the clock ahead of time */
    n.now_us += INT64_C(7200) * 1000000;
    for (int i = 0; i < 50; i++) {
        node_restart(&n);
        n.now_us += 1000;
        struct row r = node_store(&n, "b", "u", i % 2 ? "x" : "y");
        assert_int_equal(stamp_us(r.stamp.ver), n.now_us);
    }
    node_close(&n);
}

/* What a command beside a busy server writes shows its time: not one that has yet to come. */
static void a_life_beside_a_busy_one_begins_at_most_a_moment_ahead(void **state)
{
    (void)state;
    struct node n;
    node_open(&n, 1);
    for (int i = 0; i < 3000; i++) {
        n.now_us += 1000;
        node_store(&n, "a", "t", i % 2 ? "x" : "y");
    }
    node_restart(&n);
    struct row r = node_store(&n, "b", "u", "z");
    assert_true(stamp_us(r.stamp.ver) <= n.now_us + 250000);
    node_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_life_begins_with_its_own_stream),
        cmocka_unit_test(a_new_row_is_stamped_and_logged),
        cmocka_unit_test(an_edit_beats_the_row_whatever_the_clock_says),
        cmocka_unit_test(a_title_is_taken_once),
        cmocka_unit_test(an_undone_item_leaves_no_trace),
        cmocka_unit_test(a_group_is_one_op_and_the_key_is_in_it),
        cmocka_unit_test(the_lesser_of_two_titles_rests),
        cmocka_unit_test(a_shadow_surfaces_when_the_winner_left_where_it_was_unknown),
        cmocka_unit_test(a_rename_takes_the_shadows_along),
        cmocka_unit_test(links_follow_what_is_visible),
        cmocka_unit_test(linking_twice_is_one_op),
        cmocka_unit_test(standards_are_shown_while_their_memory_is),
        cmocka_unit_test(touches_extend_promote_and_raise),
        cmocka_unit_test(counts_of_two_nodes_add_up),
        cmocka_unit_test(swept_rows_come_back),
        cmocka_unit_test(prefixes_find_rows_and_shadows),
        cmocka_unit_test(quiet_edits_lose_to_what_they_did_not_see),
        cmocka_unit_test(the_clock_survives_a_crash),
        cmocka_unit_test(a_life_beside_a_busy_one_begins_at_most_a_moment_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
