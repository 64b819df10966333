/* snapshot_rig.h - one node's state into another's, page by page; ends of streams. */
#ifndef AIM_TEST_SNAPSHOT_RIG_H
#define AIM_TEST_SNAPSHOT_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/buf.h"
#include "change_kit.h"
#include "store/change_private.h"

#define STREAMS_MAX 64

struct vector {
    struct stream_pos pos[STREAMS_MAX];
    size_t count;
};

/* With the streams that left it: whoever has rows of them has nothing newer. */
static inline void vector_of(struct node *n, struct vector *ret)
{
    struct stream_pos *pos, *left;
    const char *last;
    size_t lefts;
    node_begin(n);
    assert_int_equal(n->tx->v->streams(n->tx, &n->arena, &pos, &ret->count), 0);
    assert_int_equal(change_streams_left(n->tx, NULL, &n->arena, &left, &lefts, &last), 0);
    assert_true(ret->count + lefts <= STREAMS_MAX);
    memcpy(ret->pos, pos, ret->count * sizeof(*pos));
    memcpy(ret->pos + ret->count, left, lefts * sizeof(*left));
    ret->count += lefts;
    node_abort(n);
}

static inline size_t streams_left(struct node *n)
{
    struct vector v;
    size_t count = 0;
    vector_of(n, &v);
    for (size_t i = 0; i < v.count; i++) count += v.pos[i].left;
    return count;
}

/* One page, read and merged in transactions of their own. False: the end. */
static inline bool page(struct node *to, struct node *from, struct page_at *at, size_t count, const struct vector *v)
{
    struct buf b;
    struct page_span span = { .from = *at, .v = v->pos, .count = v->count };
    buf_init(&b, 64u << 20);
    node_begin(from);
    assert_int_equal(change_page(from->tx, at, count, 1u << 20, &from->arena, &b), 0);
    node_abort(from);
    span.to = *at;
    node_begin(to);
    assert_int_equal(change_snapshot_page(&to->c, b.data, b.len, &span), 0);
    node_commit(to);
    buf_release(&b);
    return at->section != PAGE_END;
}

static inline void end(struct node *to, const struct vector *v)
{
    node_begin(to);
    assert_int_equal(change_snapshot_end(&to->c, v->pos, v->count), 0);
    node_commit(to);
}

static inline void snapshot(struct node *to, struct node *from, size_t count)
{
    struct page_at at = { 0, NULL };
    struct vector v;
    vector_of(from, &v);
    while (page(to, from, &at, count, &v)) continue;
    end(to, &v);
}

static inline void assert_same(struct node *a, struct node *b)
{
    char *x = node_dump(a, true), *y = node_dump(b, true);
    assert_string_equal(x, y);
    mem_free(x);
    mem_free(y);
}

static inline struct stream_pos stream_of(struct node *n, uint64_t stream)
{
    struct stream_pos pos = { 0 };
    node_begin(n);
    int rc = n->tx->v->stream_get(n->tx, stream, &pos);
    assert_true(rc == 0 || rc == E_NOT_FOUND);
    node_abort(n);
    return pos;
}

static inline void say(struct node *n, uint64_t stream, enum stream_end what)
{
    node_begin(n);
    assert_int_equal(change_streams_end(&n->c, &stream, 1, what), 0);
    node_commit(n);
}

static inline bool lacks(struct node *n)
{
    bool ret;
    node_begin(n);
    assert_int_equal(change_lacks(n->tx, &n->arena, &ret), 0);
    node_abort(n);
    return ret;
}

/* All of one stream that the other has; what it answers. */
static inline enum foreign_result push(struct node *to, struct node *from, uint64_t stream)
{
    return node_pull(to, from, stream, node_pos(to, stream), 64);
}

#endif
