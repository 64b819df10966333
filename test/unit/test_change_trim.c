/* test_change_trim.c - streams end and leave; the log is trimmed; deletions are forgotten, nothing else with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "repl/hlc.h"
#include "snapshot_rig.h"

static void streams_end_and_leave(void **state)
{
    (void)state;
    struct node a, b, late;
    node_open(&a, 1);
    node_open(&b, 2);
    node_open(&late, 3);
    node_store(&a, "a", "t", "by a command");
    uint64_t stream = a.c.origin.stream;
    node_restart(&a);
    node_store(&a, "b", "u", "x");
    node_sync(&late, &a);
    say(&a, stream, STREAM_LEFT); /* not before it ended */
    assert_false(stream_of(&a, stream).left);
    say(&a, stream, STREAM_ENDED);
    assert_true(stream_of(&a, stream).ended);
    uint64_t pos = a.c.origin.seq;
    say(&a, stream, STREAM_ENDED);
    assert_int_equal(a.c.origin.seq, pos); /* said once */
    /* whichever comes first, the stream or its end */
    assert_int_equal(node_pull(&b, &a, a.c.origin.stream, 0, 64), FOREIGN_APPLIED);
    assert_false(stream_of(&b, stream).ended);
    assert_int_equal(node_pull(&b, &a, stream, 0, 64), FOREIGN_APPLIED);
    assert_true(stream_of(&b, stream).ended);
    say(&a, stream, STREAM_LEFT);
    node_sync(&b, &a);
    assert_true(stream_of(&b, stream).left);
    assert_false(lacks(&b));
    assert_same(&a, &b);
    node_close(&a);
    node_close(&b);
    node_close(&late);
}

static void who_lacks_a_stream_that_left_knows_it(void **state)
{
    (void)state;
    struct node a, b;
    struct row row;
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "a", "t", "by a command");
    uint64_t stream = a.c.origin.stream;
    node_restart(&a);
    node_store(&a, "b", "u", "x");
    say(&a, stream, STREAM_ENDED);
    say(&a, stream, STREAM_LEFT);
    node_sync(&b, &a);
    assert_false(node_get(&b, "a", &row));
    assert_true(lacks(&b));
    snapshot(&b, &a, 5);
    assert_true(node_get(&b, "a", &row));
    assert_false(lacks(&b));
    assert_same(&a, &b);
    node_close(&a);
    node_close(&b);
}

static void ops_beyond_an_end_go_on(void **state)
{
    (void)state;
    struct node a, b, twin;
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "a", "t", "1");
    uint64_t stream = a.c.origin.stream;
    node_sync(&b, &a);
    /* another says too early that it ended */
    node_open(&twin, 9);
    node_sync(&twin, &a);
    say(&twin, stream, STREAM_ENDED);
    node_sync(&b, &twin);
    node_sync(&a, &twin);
    assert_true(stream_of(&b, stream).ended);
    node_store(&a, "a", "t", "2");
    node_sync(&b, &a);
    assert_int_equal(node_pos(&b, stream), 2);
    assert_false(stream_of(&b, stream).ended);
    say(&twin, stream, STREAM_LEFT);
    node_sync(&b, &twin);
    assert_false(stream_of(&b, stream).left);
    node_sync(&a, &twin);
    assert_same(&a, &b);
    node_close(&a);
    node_close(&b);
    node_close(&twin);
}

/* A life on a copy of the file that is older than the end of the stream. */
static void an_end_said_again_undoes_no_leave(void **state)
{
    (void)state;
    struct node a, b, again;
    node_open(&a, 1);
    node_open(&b, 2);
    node_open(&again, 3);
    node_store(&a, "a", "t", "1");
    uint64_t stream = a.c.origin.stream;
    assert_int_equal(node_pull(&again, &a, stream, 0, 1), FOREIGN_APPLIED);
    node_restart(&a);
    say(&a, stream, STREAM_ENDED);
    node_sync(&b, &a);
    say(&a, stream, STREAM_LEFT);
    node_sync(&b, &a);
    again.now_us += 1000000;
    say(&again, stream, STREAM_ENDED);
    assert_int_equal(streams_left(&again), 0);
    node_sync(&a, &again);
    node_sync(&b, &again);
    node_sync(&again, &a);
    assert_int_equal(streams_left(&a), 1);
    assert_int_equal(streams_left(&b), 1);
    assert_int_equal(streams_left(&again), 1);
    assert_true(stream_of(&again, stream).left);
    assert_same(&a, &again);
    assert_same(&b, &again);
    node_close(&a);
    node_close(&b);
    node_close(&again);
}

/* ---- trimming -------------------------------------------------------------------------------------------------- */

/* Its writer's file was set back, and what others had heard of it before comes late. */
static void a_stream_that_left_goes_on_wherever_more_of_it_comes(void **state)
{
    (void)state;
    struct node a, twin, heard, left, other;
    struct node *all[] = { &a, &twin, &heard, &left, &other };
    for (unsigned i = 0; i < 5; i++) node_open(all[i], i + 1);
    node_store(&a, "a", "t", "1");
    uint64_t stream = a.c.origin.stream;
    for (unsigned i = 1; i < 5; i++) node_sync(all[i], &a);
    say(&twin, stream, STREAM_ENDED);
    say(&twin, stream, STREAM_LEFT);
    for (unsigned i = 2; i < 5; i++) node_sync(all[i], &twin);
    assert_true(stream_of(&heard, stream).left);
    node_store(&a, "b", "u", "late words");
    assert_int_equal(node_pull(&heard, &a, stream, 0, 64), FOREIGN_APPLIED);
    assert_false(stream_of(&heard, stream).left);
    assert_int_equal(streams_left(&heard), 0);
    assert_int_equal(streams_left(&left), 1);
    snapshot(&heard, &left, 5); /* which knows less of it */
    assert_false(stream_of(&heard, stream).left);
    assert_int_equal(node_pos(&heard, stream), 2);
    snapshot(&left, &heard, 5);
    assert_int_equal(node_pos(&left, stream), 2);
    assert_int_equal(streams_left(&left), 0);
    assert_same(&heard, &left);
    assert_int_equal(node_pull(&other, &heard, stream, 0, 64), FOREIGN_APPLIED);
    assert_same(&heard, &other);
    for (unsigned i = 0; i < 5; i++) node_close(all[i]);
}

static void the_log_is_trimmed_to_where_all_have_it(void **state)
{
    (void)state;
    struct node a, b, late;
    struct log_op *op;
    size_t count;
    bool more;
    node_open(&a, 1);
    node_open(&b, 2);
    node_open(&late, 3);
    for (int i = 0; i < 9; i++) node_store(&a, "a", "t", i % 2 ? "x" : "y");
    uint64_t stream = a.c.origin.stream;
    node_begin(&a);
    assert_int_equal(change_trim_log(&a.c, stream, 6, &more), 0);
    assert_false(more);
    node_commit(&a);
    node_store(&a, "a", "t", "z"); /* the position and the trimmed part move on by themselves */
    assert_int_equal(stream_of(&a, stream).trimmed, 6);
    assert_int_equal(stream_of(&a, stream).pos, 10);
    node_begin(&a);
    assert_int_equal(a.tx->v->op_page(a.tx, stream, 1, 99, 1u << 20, &a.arena, &op, &count), 0);
    assert_int_equal(count, 4);
    assert_int_equal(op->seq, 7);
    assert_int_equal(change_trim_log(&a.c, stream, 99, &more), 0); /* never beyond its end */
    node_commit(&a);
    assert_int_equal(stream_of(&a, stream).trimmed, 10);
    node_store(&a, "b", "u", "after");
    assert_int_equal(node_pull(&b, &a, stream, 11, 9), FOREIGN_REWIND);
    snapshot(&b, &a, 4);
    assert_same(&a, &b);
    node_close(&a);
    node_close(&b);
    node_close(&late);
}

static size_t forget(struct node *n, uint16_t kind, uint64_t before, const struct cover *member, size_t count)
{
    struct trim_gone t = { .kind = kind, .before = before, .member = member, .count = count };
    const char *last;
    size_t gone;
    node_begin(n);
    assert_int_equal(change_trim_gone(&n->c, &t, NULL, 99, &last, &gone), 0);
    assert_null(last);
    node_commit(n);
    return gone;
}

static void deletions_go_when_old_and_covered_by_every_member(void **state)
{
    (void)state;
    struct node a, b;
    struct side_row side;
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "x", "t", "1");
    node_store(&a, "y", "u", "1");
    node_link(&a, "x", "y");
    node_touch(&a, "x", 3, true);
    struct link l = { .source_id = "x", .target_id = "y", .relation = "related_to" };
    node_begin(&a);
    assert_int_equal(change_unlink(&a.c, &l), 0);
    node_commit(&a);
    node_delete(&a, "x");
    uint64_t stream = a.c.origin.stream, seq = a.c.origin.seq;
    struct stream_pos all = { .stream = stream, .pos = seq }, less = { .stream = stream, .pos = seq - 1 };
    struct cover two[2] = { { &all, 1 }, { &less, 1 } };
    assert_int_equal(forget(&a, SIDE_TOMBSTONE, HLC_MAX, two, 2), 0);          /* one lacks it */
    assert_int_equal(forget(&a, SIDE_TOMBSTONE, a.c.hlc.last - 1, two, 1), 0); /* too young */
    assert_int_equal(forget(&a, SIDE_TOMBSTONE, HLC_MAX, (struct cover[]){ { NULL, 0 } }, 1), 0);
    assert_int_equal(forget(&a, SIDE_LINK_GONE, HLC_MAX, two, 2), 1); /* that came before */
    two[1] = two[0];
    assert_int_equal(forget(&a, SIDE_TOMBSTONE, HLC_MAX, two, 2), 1);
    node_begin(&a);
    assert_int_equal(a.tx->v->side_get(a.tx, SIDE_TOMBSTONE, "x", &a.arena, &side), E_NOT_FOUND);
    size_t count;
    struct side_row *rows;
    assert_int_equal(a.tx->v->side_scan(a.tx, SIDE_TOUCH, NULL, NULL, 9, &a.arena, &rows, &count), 0);
    assert_int_equal(count, 0);
    node_abort(&a);
    /* of a stream that left, every member had all */
    node_delete(&a, "y");
    node_restart(&a);
    assert_int_equal(forget(&a, SIDE_TOMBSTONE, HLC_MAX, &(struct cover){ NULL, 0 }, 1), 0);
    say(&a, stream, STREAM_ENDED);
    say(&a, stream, STREAM_LEFT);
    assert_int_equal(forget(&a, SIDE_TOMBSTONE, HLC_MAX, &(struct cover){ NULL, 0 }, 1), 1);
    node_close(&a);
    node_close(&b);
}

/* Made by a clock far ahead, it did not drag ours along; forgotten, nothing else reminds us of it. */
static void an_edit_after_trimming_beats_what_was_trimmed(void **state)
{
    (void)state;
    struct node a, b;
    struct row row;
    const int64_t hour = INT64_C(3600000000);
    node_open(&a, 1);
    node_open(&b, 2);
    b.now_us += hour;
    node_store(&b, "x", "t", "1");
    node_delete(&b, "x");
    node_sync(&a, &b);
    uint64_t gone = b.c.hlc.last;
    assert_true(a.c.hlc.last < gone);
    struct stream_pos all = { .stream = b.c.origin.stream, .pos = b.c.origin.seq };
    a.now_us += 2 * hour;
    assert_int_equal(forget(&a, SIDE_TOMBSTONE, hlc_of_us(a.now_us), &(struct cover){ &all, 1 }, 1), 1);
    a.now_us -= 2 * hour;
    node_store(&a, "x", "t", "2");
    node_sync(&b, &a);
    assert_true(node_get(&b, "x", &row));
    assert_true(row.stamp.ver > gone);
    node_close(&a);
    node_close(&b);
}

/* Edits without the clock (what nobody asked for; shadows that a rename takes along) by a node that has just come and
 * has one writer's rows, but not yet the other's deletions, which all others have forgotten. */
static void what_a_joiner_has_not_heard_of_is_not_older_than_what_others_forgot(void **state)
{
    (void)state;
    struct node a, b, other, late;
    struct row row;
    const int64_t day = INT64_C(86400000000);
    node_open(&a, 1);
    node_open(&b, 2);
    node_open(&other, 3);
    node_open(&late, 4);
    node_store(&a, "x", "t", "1");
    node_store(&a, "y", "u", "1");
    node_sync(&b, &a);
    b.now_us += 1000000;
    node_delete(&b, "x");
    node_delete(&b, "y");
    other.now_us += 1000000;
    node_store(&other, "z", "u", "beside y");
    node_sync(&a, &other);
    node_sync(&a, &b);
    struct stream_pos all = { .stream = b.c.origin.stream, .pos = b.c.origin.seq };
    a.now_us += 2 * day;
    assert_int_equal(forget(&a, SIDE_TOMBSTONE, hlc_of_us(a.now_us - day), &(struct cover){ &all, 1 }, 1), 2);
    late.now_us = a.now_us - day / 4; /* clocks differ */
    node_sync(&late, &other);
    assert_int_equal(node_pull(&late, &a, a.c.origin.stream, 0, 64), FOREIGN_APPLIED);
    assert_true(node_get(&late, "x", &row));
    struct memory m = row.m;
    m.content = "quietly";
    node_begin(&late);
    assert_int_equal(change_memory_quietly(&late.c, &m, &row, NULL), 0);
    node_commit(&late);
    assert_true(node_get(&late, "z", &row));
    m = row.m;
    m.title = "renamed";
    node_begin(&late);
    assert_int_equal(change_memory(&late.c, &m, &row, NULL), 0);
    node_commit(&late);
    node_sync(&a, &late);
    node_sync(&late, &b);
    assert_same(&a, &late);
    assert_true(node_get(&late, "x", &row));
    assert_string_equal(row.m.content, "quietly");
    node_close(&a);
    node_close(&b);
    node_close(&other);
    node_close(&late);
}

/* A row made anew under an id that was forgotten is found by what spoke of it all the while. */
static void links_and_standards_wait_behind_what_is_forgotten(void **state)
{
    (void)state;
    struct node a;
    struct links links;
    const char *standard, *parent;
    node_open(&a, 1);
    node_store(&a, "x", "t", "1");
    node_store(&a, "y", "u", "1");
    node_link(&a, "x", "y");
    node_delete(&a, "x");
    node_begin(&a);
    assert_int_equal(change_standard(&a.c, "n", "x", NULL), 0);
    node_commit(&a);
    struct stream_pos all = { .stream = a.c.origin.stream, .pos = a.c.origin.seq };
    assert_int_equal(forget(&a, SIDE_TOMBSTONE, HLC_MAX, &(struct cover){ &all, 1 }, 1), 1);
    node_store(&a, "x", "t", "2");
    node_begin(&a);
    assert_int_equal(a.tx->v->links_of(a.tx, "x", &a.arena, &links), 0);
    assert_int_equal(links.count, 1);
    assert_int_equal(a.tx->v->standard_of(a.tx, "n", &a.arena, &standard, &parent), 0);
    assert_string_equal(standard, "x");
    node_abort(&a);
    node_close(&a);
}

static void put_away(struct node *n, const char *id, bool away)
{
    node_begin(n);
    struct row row = { .m = kit_memory(id, id, "put away") };
    row.m.created_at = row.m.updated_at = "2024-01-01T00:00:00+00:00";
    int rc = away ? change_archive(&n->c, &row, "2024-01-02T00:00:00+00:00", "forget") : change_unarchive(&n->c, id);
    assert_int_equal(rc, 0);
    node_commit(n);
}

static size_t in_archive(struct node *n, bool records)
{
    struct side_row *side;
    struct archive_rows rows;
    size_t count;
    node_begin(n);
    assert_int_equal(n->tx->v->side_scan(n->tx, SIDE_ARCHIVE, NULL, NULL, 9, &n->arena, &side, &count), 0);
    assert_int_equal(n->tx->v->archive_list(n->tx, NULL, 0, 9, 1u << 20, &n->arena, &rows), 0);
    node_abort(n);
    return records ? count : rows.count;
}

/* What was taken out of the archive is forgotten like any deletion, and goes with a snapshot from who forgot it. */
static void purged_archive_rows_are_forgotten(void **state)
{
    (void)state;
    struct node a, late;
    node_open(&a, 1);
    node_open(&late, 2);
    put_away(&a, "kept", true);
    put_away(&a, "purged", true);
    node_sync(&late, &a);
    put_away(&a, "purged", false);
    assert_int_equal(in_archive(&a, true), 2);
    struct stream_pos all = { .stream = a.c.origin.stream, .pos = a.c.origin.seq };
    assert_int_equal(forget(&a, SIDE_ARCHIVE, HLC_MAX, &(struct cover){ NULL, 0 }, 1), 0);
    assert_int_equal(forget(&a, SIDE_ARCHIVE, HLC_MAX, &(struct cover){ &all, 1 }, 1), 1);
    assert_int_equal(in_archive(&a, true), 1);
    put_away(&late, "of the late one", true);
    assert_int_equal(in_archive(&late, false), 3);
    snapshot(&late, &a, 1);
    assert_int_equal(in_archive(&late, false), 2);
    assert_int_equal(in_archive(&late, true), 2);
    node_close(&a);
    node_close(&late);
}

static void a_life_that_wrote_nothing_leaves_without_a_word(void **state)
{
    (void)state;
    struct node a;
    node_open(&a, 1);
    uint64_t stream = a.c.origin.stream;
    node_restart(&a);
    say(&a, stream, STREAM_ENDED);
    assert_true(stream_of(&a, stream).left);
    assert_int_equal(a.c.origin.seq, 0);
    node_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_end_and_leave),
        cmocka_unit_test(who_lacks_a_stream_that_left_knows_it),
        cmocka_unit_test(ops_beyond_an_end_go_on),
        cmocka_unit_test(a_stream_that_left_goes_on_wherever_more_of_it_comes),
        cmocka_unit_test(an_end_said_again_undoes_no_leave),
        cmocka_unit_test(the_log_is_trimmed_to_where_all_have_it),
        cmocka_unit_test(deletions_go_when_old_and_covered_by_every_member),
        cmocka_unit_test(an_edit_after_trimming_beats_what_was_trimmed),
        cmocka_unit_test(what_a_joiner_has_not_heard_of_is_not_older_than_what_others_forgot),
        cmocka_unit_test(links_and_standards_wait_behind_what_is_forgotten),
        cmocka_unit_test(purged_archive_rows_are_forgotten),
        cmocka_unit_test(a_life_that_wrote_nothing_leaves_without_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
