/* A forked stream: what its writer logged is said again in a new one, the stream itself comes back from the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "change_kit.h"
#include "store/change_snapshot.h"

static void assert_same(struct node *a, struct node *b)
{
    char *x = node_dump(a, true), *y = node_dump(b, true);
    assert_string_equal(x, y);
    mem_free(x);
    mem_free(y);
}

/* The next life of a node whose stream forked. Returns the stream. */
static uint64_t fork_and_repeat(struct node *n, size_t limit)
{
    uint64_t stream = n->c.origin.stream, after = 0, last;
    n->now_us += 5000;
    node_restart(n);
    assert_true(n->c.origin.stream > stream);
    do {
        node_begin(n);
        assert_int_equal(change_repeat(&n->c, stream, after, limit, &last), 0);
        if (last == 0) assert_int_equal(change_stream_forget(&n->c, stream), 0);
        node_commit(n);
        after = last;
    } while (last != 0);
    return stream;
}

static void nothing_that_was_logged_is_lost(void **state)
{
    (void)state;
    for (size_t limit = 1; limit <= 64; limit *= 8) {
        struct node a, b, c;
        struct row row;
        node_open(&a, 1);
        node_open(&b, 2);
        node_open(&c, 3);
        node_store(&a, "a", "t", "x");
        node_store(&a, "b", "u", "x");
        uint64_t stream = a.c.origin.stream;
        node_sync(&b, &a);
        node_store(&a, "c", "v", "only a has it");
        node_store(&a, "a", "t", "edited");
        node_link(&a, "a", "c");
        node_delete(&a, "b");
        node_touch(&a, "c", 3, true);
        assert_int_equal(fork_and_repeat(&a, limit), stream);
        assert_int_equal(node_pos(&a, stream), 0);
        assert_true(node_get(&a, "c", &row));
        assert_int_equal(row.stamp.stream, a.c.origin.stream);
        for (int i = 0; i < 2; i++) {
            node_sync(&b, &a);
            node_sync(&a, &b);
            node_sync(&c, &a);
        }
        assert_int_equal(node_pos(&a, stream), 2);
        assert_true(node_get(&b, "c", &row));
        assert_true(node_get(&b, "a", &row));
        assert_string_equal(row.m.content, "edited");
        assert_false(node_get(&b, "b", &row));
        assert_same(&a, &b);
        assert_same(&a, &c);
        node_close(&a);
        node_close(&b);
        node_close(&c);
    }
}

static void who_had_more_of_it_gives_it_back(void **state)
{
    struct node a, b;
    struct row row;
    (void)state;
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "a", "t", "x");
    node_store(&a, "b", "u", "x");
    node_sync(&b, &a);
    uint64_t stream = fork_and_repeat(&a, 64);
    node_store(&a, "c", "v", "after");
    node_sync(&a, &b);
    assert_int_equal(node_pos(&a, stream), 2);
    node_sync(&b, &a);
    assert_true(node_get(&b, "c", &row));
    assert_same(&a, &b);
    node_close(&a);
    node_close(&b);
}

static void a_forgotten_stream_is_nobodys_to_end(void **state)
{
    struct node a;
    struct stream_pos pos;
    (void)state;
    node_open(&a, 1);
    node_store(&a, "a", "t", "x");
    uint64_t stream = fork_and_repeat(&a, 64);
    node_begin(&a);
    assert_int_equal(a.tx->v->stream_get(a.tx, stream, &pos), 0);
    node_abort(&a);
    assert_int_equal(pos.node, 0);
    assert_false(pos.ended || pos.left);
    node_close(&a);
}

static void equal_ends_of_two_histories_become_one(void **state)
{
    struct node a;
    struct stream_pos v = { .stream = 77, .node = 9, .pos = 3, .chain = 5 }, pos;
    (void)state;
    node_open(&a, 1);
    for (uint64_t chain = 5; chain < 8; chain += 2) {
        v.chain = chain;
        node_begin(&a);
        assert_int_equal(change_snapshot_end(&a.c, &v, 1), 0);
        node_commit(&a);
    }
    v.chain = 6; /* less: ours stays, and the other side takes it */
    node_begin(&a);
    assert_int_equal(change_snapshot_end(&a.c, &v, 1), 0);
    assert_int_equal(a.tx->v->stream_get(a.tx, 77, &pos), 0);
    node_commit(&a);
    assert_int_equal(pos.chain, 7);
    assert_int_equal(pos.pos, 3);
    node_close(&a);
}

static void a_copied_file_gets_an_id_of_its_own(void **state)
{
    struct node a;
    struct row row;
    struct stream_pos pos;
    struct err err = { 0 };
    (void)state;
    node_open(&a, 1);
    node_store(&a, "a", "t", "x");
    uint64_t node = a.c.origin.node, stream = a.c.origin.stream;
    change_close(&a.c);
    a.c = (struct change){ .lifetimes = &a.lifetimes, .new_node = true };
    assert_int_equal(change_open(&a.c, a.store->b, a.conn, a.now_us + 5000, &err), 0);
    uint64_t second = a.c.origin.node;
    assert_int_not_equal(second, node);
    assert_int_not_equal(a.c.origin.stream, stream);
    assert_true(node_get(&a, "a", &row));
    node_begin(&a);
    assert_int_equal(a.tx->v->stream_get(a.tx, stream, &pos), 0);
    node_abort(&a);
    assert_int_equal(pos.node, node); /* what was written before is the other one's */
    node_restart(&a);
    assert_int_equal(a.c.origin.node, second);
    node_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_that_was_logged_is_lost),
        cmocka_unit_test(who_had_more_of_it_gives_it_back),
        cmocka_unit_test(a_forgotten_stream_is_nobodys_to_end),
        cmocka_unit_test(equal_ends_of_two_histories_become_one),
        cmocka_unit_test(a_copied_file_gets_an_id_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
