/* Texts replaced by edits that had not seen them: whoever is left finds them, each node alone. */
#include <stdio.h>

#include "snapshot_rig.h"

/* What the archive has of texts that lost, one id; "" for none. */
static void lost_text(struct node *n, char id[64], char text[64])
{
    const char **ids;
    size_t count;
    struct archived kept;
    id[0] = text[0] = '\0';
    node_begin(n);
    assert_int_equal(n->tx->v->archive_older(n->tx, INT64_MAX, 9, &n->arena, &ids, &count), 0);
    assert_true(count <= 1);
    if (count == 1) {
        assert_int_equal(n->tx->v->archive_get(n->tx, ids[0], &n->arena, &kept), 0);
        assert_string_equal(kept.reason, "merge_loser");
        snprintf(id, 64, "%s", ids[0]);
        snprintf(text, 64, "%s", kept.row.m.content);
    }
    node_abort(n);
}

static void settle(struct node *n, int64_t later_us)
{
    const char *last = NULL;
    bool more;
    n->now_us += later_us;
    node_begin(n);
    do {
        assert_int_equal(change_doubts(&n->c, last, 1, &last), 0);
    } while (last != NULL);
    assert_int_equal(change_losers(&n->c, 9, &more), 0);
    assert_false(more);
    node_commit(n);
}

static size_t doubts(struct node *n)
{
    struct side_row *side;
    size_t count;
    node_begin(n);
    assert_int_equal(n->tx->v->side_scan(n->tx, SIDE_DOUBT, NULL, NULL, 9, &n->arena, &side, &count), 0);
    node_abort(n);
    return count;
}

static void expect_lost(struct node *n, const char *text)
{
    char id[64], found[64];
    lost_text(n, id, found);
    assert_string_equal(found, text);
}

/* `a` edits alone what b edits later, and c after b, who saw that. */
static void cut_off(struct node *a, struct node *b, struct node *c)
{
    node_open(a, 1);
    node_open(b, 2);
    node_open(c, 3);
    node_store(a, "m", "t", "first");
    node_sync(b, a);
    node_sync(c, a);
    node_store(a, "m", "t", "cut off");
    b->now_us += 1000000;
    c->now_us += 2000000;
    node_store(b, "m", "t", "replaces it");
    node_sync(c, b);
    node_store(c, "m", "t", "and that");
}

static void close_all(struct node *a, struct node *b, struct node *c)
{
    node_close(a);
    node_close(b);
    node_close(c);
}

/* Its maker is gone before it hears of anything: who met the later edits first finds the text all the same. */
static void the_maker_of_what_was_lost_is_gone(void **state)
{
    (void)state;
    struct node a, b, c;
    char id_b[64], id_c[64], text[64];
    cut_off(&a, &b, &c);
    node_sync(&c, &a);
    assert_int_equal(c.c.unseen, 0); /* what stands was made from a later one: it may have been seen */
    settle(&c, 1000000);
    expect_lost(&c, "");
    settle(&c, LOST_SETTLE_US);
    lost_text(&c, id_c, text);
    assert_string_equal(text, "cut off");
    assert_int_equal(c.c.unseen, 1);
    assert_int_equal(c.c.origin.seq, 2); /* told */
    assert_int_equal(doubts(&c), 0);
    settle(&c, LOST_SETTLE_US);
    assert_int_equal(c.c.origin.seq, 2); /* once */
    /* who has the text when the last edit comes finds it, too, under the same id; who was told has nothing to tell */
    node_pull(&b, &a, a.c.origin.stream, 0, 9);
    node_pull(&b, &c, c.c.origin.stream, 0, 1);
    settle(&b, LOST_SETTLE_US);
    lost_text(&b, id_b, text);
    assert_string_equal(id_b, id_c);
    assert_int_equal(b.c.origin.seq, 2);
    node_sync(&a, &c);
    settle(&a, LOST_SETTLE_US);
    assert_int_equal(a.c.origin.seq, 2);
    node_sync(&b, &a);
    node_sync(&b, &c);
    node_sync(&a, &b);
    node_sync(&c, &b);
    char *one = memstore_archive_dump(a.store, true), *two = memstore_archive_dump(b.store, true),
         *three = memstore_archive_dump(c.store, true);
    assert_string_equal(one, two);
    assert_string_equal(one, three);
    mem_free(one);
    mem_free(two);
    mem_free(three);
    close_all(&a, &b, &c);
}

/* Edits that were seen, by streams in the wrong order. */
static void what_was_seen_is_not_kept(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        struct node a, b, c;
        node_open(&a, 1);
        node_open(&b, 2);
        node_open(&c, 3);
        node_store(&a, "m", "t", "one");
        node_sync(&b, &a);
        node_store(&b, "m", "t", "two");
        node_sync(&a, &b);
        node_store(&a, "m", "t", "three");
        node_sync(&b, &a);
        node_store(&b, "m", "t", "four");
        if (order == 0) node_pull(&c, &a, a.c.origin.stream, 0, 1);
        node_pull(&c, &b, b.c.origin.stream, 0, 9);
        assert_true(doubts(&c) > 0);
        node_pull(&c, &a, a.c.origin.stream, 0, 9);
        settle(&c, LOST_SETTLE_US);
        expect_lost(&c, "");
        assert_int_equal(c.c.unseen, 0);
        assert_int_equal(doubts(&c), 0);
        close_all(&a, &b, &c);
    }
}

/* Two edits beside another one: the first of them was seen by the second, which comes later. */
static void what_turns_out_to_be_seen_goes_again(void **state)
{
    (void)state;
    struct node a, b, c;
    cut_off(&a, &b, &c);
    node_sync(&b, &a);
    expect_lost(&b, "cut off"); /* at once: b's own was made from less */
    assert_int_equal(b.c.unseen, 1);
    node_store(&a, "m", "t", "cut off still");
    node_pull(&b, &a, a.c.origin.stream, 0, 9);
    expect_lost(&b, "cut off still");
    settle(&b, LOST_SETTLE_US);
    expect_lost(&b, "cut off still");
    assert_int_equal(doubts(&b), 0);
    close_all(&a, &b, &c);
}

/* The edits between have no ops any more: what the other has seen tells. */
static void what_a_snapshot_replaces(void **state)
{
    (void)state;
    struct node a, b, c;
    cut_off(&a, &b, &c);
    snapshot(&a, &c, 3);
    settle(&a, LOST_SETTLE_US);
    expect_lost(&a, "cut off");
    close_all(&a, &b, &c);

    cut_off(&a, &b, &c); /* into the store that has the later one */
    snapshot(&c, &a, 3);
    settle(&c, LOST_SETTLE_US);
    expect_lost(&c, "cut off");
    close_all(&a, &b, &c);

    cut_off(&a, &b, &c); /* the other had it, and judged it there */
    node_sync(&b, &c);
    node_store(&b, "m", "t", "last");
    settle(&b, LOST_SETTLE_US);
    struct node d;
    node_open(&d, 4);
    node_pull(&d, &b, b.c.origin.stream, 0, 1);
    snapshot(&d, &b, 3);
    settle(&d, LOST_SETTLE_US);
    expect_lost(&d, "");
    node_close(&d);
    close_all(&a, &b, &c);
}

/* The text comes with a snapshot, and the giver is gone before it told. */
static void who_was_given_the_text_tells(void **state)
{
    (void)state;
    struct node a, b, c;
    char id[64], text[64];
    cut_off(&a, &b, &c);
    node_sync(&a, &b);
    assert_int_equal(a.c.unseen, 1);
    snapshot(&c, &a, 3);
    uint64_t before = c.c.origin.seq;
    expect_lost(&c, "cut off");
    settle(&c, LOST_SETTLE_US);
    assert_int_equal(c.c.origin.seq, before + 1);
    node_pull(&b, &c, c.c.origin.stream, 0, 9);
    lost_text(&b, id, text);
    assert_string_equal(text, "cut off");
    close_all(&a, &b, &c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_maker_of_what_was_lost_is_gone),   cmocka_unit_test(what_was_seen_is_not_kept),
        cmocka_unit_test(what_turns_out_to_be_seen_goes_again), cmocka_unit_test(what_a_snapshot_replaces),
        cmocka_unit_test(who_was_given_the_text_tells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
