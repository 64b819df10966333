/* What a scrub makes of rows laid side by side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/scrub.h"

#define STREAM 5

struct table {
    struct stream_pos v;
    struct scrub_row row[8];
    struct wire_rows rows;
};

static bool none_left(const void *data, uint64_t stream, uint64_t seq)
{
    (void)seq;
    return data != NULL && stream == *(const uint64_t *)data;
}

/* A node that has the stream up to pos. */
static void start(struct table *t, uint64_t pos)
{
    memset(t, 0, sizeof *t);
    t->v = (struct stream_pos){ .stream = STREAM, .node = 1, .pos = pos };
    t->rows = (struct wire_rows){ &t->v, 1, t->row, 0 };
}

static struct scrub_row *add(struct table *t, const char *key, uint64_t seq, uint64_t sum)
{
    struct scrub_row *r = &t->row[t->rows.rows++];
    *r = (struct scrub_row){ .key = key, .stamp = { 100 + seq, STREAM, seq }, .sum = sum };
    return r;
}

static struct arena keys;

static struct findings judge(struct table *t, unsigned count, bool all)
{
    struct findings f;
    struct scrub_sides s = { .count = count, .left = none_left, .all = all };
    for (unsigned i = 0; i < count; i++) s.side[i] = &t[i].rows;
    scrub_judge(&s, &keys, &f);
    return f;
}

static void expect(struct table *t, unsigned count, bool all, size_t found, unsigned from, bool tie)
{
    struct findings f = judge(t, count, all);
    assert_int_equal(f.count, found);
    if (found > 0) assert_int_equal(f.item[0].from, from);
    if (found > 0) assert_int_equal(f.item[0].tie, tie);
    mem_free(f.item);
}

static void a_row_the_other_had_and_lost_counts(void **state)
{
    struct table t[2];
    (void)state;
    start(&t[0], 9);
    start(&t[1], 9);
    add(&t[0], "a", 3, 1);
    add(&t[1], "a", 3, 1);
    expect(t, 2, true, 0, 0, false);
    add(&t[1], "b", 4, 1);
    expect(t, 2, true, 1, 1, false);
    add(&t[0], "b", 5, 1); /* ours is newer: it is wrong there */
    expect(t, 2, true, 1, 0, false);
}

static void what_the_positions_explain_does_not_count(void **state)
{
    struct table t[2];
    (void)state;
    start(&t[0], 9);
    start(&t[1], 3);
    add(&t[0], "a", 4, 1);
    expect(t, 2, true, 0, 0, false);
    start(&t[0], 3);
    start(&t[1], 9);
    add(&t[1], "a", 4, 1);
    expect(t, 2, true, 0, 0, false);
    add(&t[0], "dead", 2, 1)->dead = true; /* a deletion the other forgot, and the other way about */
    add(&t[1], "gone", 2, 1)->dead = true;
    expect(t, 2, true, 0, 0, false);
    add(&t[1], "made by the original", 0, 1);
    expect(t, 2, true, 0, 0, false);
}

static void of_two_contents_the_one_of_most_nodes_stands(void **state)
{
    struct table t[3];
    (void)state;
    for (int i = 0; i < 3; i++) start(&t[i], 9);
    add(&t[0], "a", 3, 77);
    add(&t[1], "a", 3, 5);
    add(&t[2], "a", 3, 5);
    expect(t, 3, true, 1, 1, true);
    t[2].row[0].sum = 77; /* ours is what most have: the other one is wrong */
    expect(t, 3, true, 1, 0, false);
    t[2].row[0].sum = 6; /* each its own: the greatest everywhere */
    expect(t, 3, true, 1, 0, false);
    t[2].row[0].sum = 99;
    expect(t, 3, true, 1, 2, true);
    expect(t, 2, false, 1, 0, false); /* one against one, and somebody is missing: nobody yields */
    t[0].row[0].sum = 1;
    expect(t, 2, false, 1, 0, false);
    expect(t, 2, true, 1, 1, true);
}

static void the_newest_of_all_is_fetched(void **state)
{
    struct table t[3];
    (void)state;
    for (int i = 0; i < 3; i++) start(&t[i], 9);
    add(&t[0], "a", 3, 1);
    add(&t[1], "a", 4, 1);
    add(&t[2], "a", 5, 1);
    expect(t, 3, true, 1, 2, false);
}

static void it_must_be_seen_twice(void **state)
{
    struct table t[2];
    (void)state;
    start(&t[0], 9);
    start(&t[1], 9);
    add(&t[1], "b", 4, 1);
    add(&t[1], "a", 4, 1);
    struct findings one = judge(t, 2, true);
    assert_string_equal(t[1].row[0].key, "a");
    t[1].row[0].stamp.ver++;
    add(&t[1], "c", 4, 1);
    struct findings two = judge(t, 2, true);
    assert_int_equal(one.count, 2);
    assert_int_equal(two.count, 3);
    scrub_seen_twice(&two, &one);
    assert_int_equal(two.count, 1);
    assert_string_equal(two.item[0].key, "b");
    mem_free(one.item);
    mem_free(two.item);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_the_other_had_and_lost_counts),
        cmocka_unit_test(what_the_positions_explain_does_not_count),
        cmocka_unit_test(of_two_contents_the_one_of_most_nodes_stands),
        cmocka_unit_test(the_newest_of_all_is_fetched),
        cmocka_unit_test(it_must_be_seen_twice),
    };
    arena_init(&keys, 1u << 20);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    arena_release(&keys);
    return rc;
}
