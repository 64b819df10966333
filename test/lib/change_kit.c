/* change_kit.c - nodes without a lane: every helper is one transaction with one item. */
#include "change_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"

uint64_t kit_pick(uint64_t *rng, uint64_t bound)
{
    *rng += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t z = *rng;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return bound == 0 ? z : z % bound;
}

static uint64_t draw(void *data)
{
    return kit_pick(data, 0);
}

void node_open_on(struct node *n, struct store *store, uint64_t seed)
{
    struct err err = { 0 };
    *n = (struct node){ .store = store, .rng = seed };
    n->now_us = KIT_START + (int64_t)(seed & 7) * 1000; /* or two streams might be one */
    lifetimes_default(&n->lifetimes);
    arena_init(&n->arena, 256u << 20);
    assert_int_equal(store->b->conn_open(store, true, &n->conn, &err), 0);
    n->c = (struct change){ .lifetimes = &n->lifetimes, .random = draw, .random_data = &n->rng };
    assert_int_equal(change_open(&n->c, store->b, n->conn, n->now_us, &err), 0);
}

void node_open(struct node *n, uint64_t seed)
{
    node_open_on(n, memstore_open(false), seed);
}

void node_close(struct node *n)
{
    change_close(&n->c);
    n->store->b->conn_close(n->conn);
    n->store->b->close(n->store);
    arena_release(&n->arena);
}

void node_restart(struct node *n)
{
    struct err err = { 0 };
    change_close(&n->c);
    n->c = (struct change){ .lifetimes = &n->lifetimes, .random = draw, .random_data = &n->rng };
    assert_int_equal(change_open(&n->c, n->store->b, n->conn, n->now_us, &err), 0);
}

void node_begin(struct node *n)
{
    struct err err = { 0 };
    assert_int_equal(n->store->b->begin(n->conn, &n->tx, &err), 0);
    change_begin(&n->c, n->tx, n->now_us);
    assert_int_equal(change_savepoint(&n->c, &err), 0);
}

void node_commit(struct node *n)
{
    struct err err = { 0 };
    assert_int_equal(change_savepoint_end(&n->c, true, &err), 0);
    assert_int_equal(change_finish(&n->c), 0);
    assert_int_equal(n->store->b->commit(n->conn, true, &err), 0);
}

void node_abort(struct node *n)
{
    (void)change_savepoint_end(&n->c, false, NULL);
    change_rollback(&n->c);
    n->store->b->rollback(n->conn);
}

struct memory kit_memory(const char *id, const char *title, const char *content)
{
    return (struct memory){ .id = id,
                            .ns = "n",
                            .title = title,
                            .content = content,
                            .tags = "[]",
                            .source = "api",
                            .metadata = "{}",
                            .tier = TIER_MID,
                            .priority = 5,
                            .confidence = 1.0,
                            .created_at = "2023-11-14T22:13:20+00:00",
                            .expires_at = "2023-11-21T22:13:20+00:00" };
}

struct row node_store(struct node *n, const char *id, const char *title, const char *content)
{
    struct row before, after;
    struct memory m = kit_memory(id, title, content);
    node_begin(n);
    int rc = n->tx->v->get(n->tx, id, &n->arena, &before);
    if (rc == 0) {
        m = before.m;
        m.title = title;
        m.content = content;
    }
    assert_int_equal(change_memory(&n->c, &m, rc == 0 ? &before : NULL, &after), 0);
    node_commit(n);
    assert_true(node_get(n, id, &after));
    return after;
}

void node_delete(struct node *n, const char *id)
{
    struct row row;
    node_begin(n);
    assert_int_equal(change_find(n->tx, id, false, &n->arena, &row, NULL), 0);
    assert_int_equal(change_delete(&n->c, &row), 0);
    node_commit(n);
}

void node_touch(struct node *n, const char *id, int times, bool flush)
{
    bool more;
    node_begin(n);
    assert_int_equal(change_touch(&n->c, id, n->now_us, times), 0);
    if (flush) assert_int_equal(change_touch_flush(&n->c, &more), 0);
    node_commit(n);
}

void node_link(struct node *n, const char *source, const char *target)
{
    struct link l = { .source_id = source, .target_id = target, .relation = "related_to" };
    node_begin(n);
    assert_int_equal(change_link(&n->c, &l), 0);
    node_commit(n);
}

bool node_find(struct node *n, const char *id, struct row *ret)
{
    struct store_conn *conn;
    struct store_tx *tx;
    const struct store_backend *b = n->store->b;
    assert_int_equal(b->conn_open(n->store, false, &conn, NULL), 0);
    assert_int_equal(b->begin(conn, &tx, NULL), 0);
    int rc = change_find(tx, id, false, &n->arena, ret, NULL);
    assert_true(rc == 0 || rc == E_NOT_FOUND);
    b->rollback(conn);
    b->conn_close(conn);
    return rc == 0;
}

bool node_get(struct node *n, const char *id, struct row *ret)
{
    return node_find(n, id, ret) && strcmp(ret->m.id, id) == 0;
}

char *node_dump(struct node *n, bool shown)
{
    struct buf b;
    buf_init(&b, 64u << 20);
    memstore_dump(n->store, shown, &b);
    assert_false(b.failed);
    return buf_take(&b, NULL);
}

uint64_t node_pos(struct node *n, uint64_t stream)
{
    struct stream_pos pos = { 0 };
    node_begin(n);
    int rc = n->tx->v->stream_get(n->tx, stream, &pos);
    assert_true(rc == 0 || rc == E_NOT_FOUND);
    node_abort(n);
    return pos.pos;
}

enum foreign_result node_pull(struct node *to, struct node *from, uint64_t stream, uint64_t first, size_t count)
{
    struct foreign_batch f = { .stream = stream };
    struct stream_pos pos;
    struct log_op *op;
    enum foreign_result result;
    f.first_seq = first != 0 ? first : node_pos(to, stream) + 1;
    node_begin(from);
    assert_int_equal(from->tx->v->stream_get(from->tx, stream, &pos), 0);
    f.node = pos.node;
    assert_int_equal(
        from->tx->v->op_page(from->tx, stream, f.first_seq, count, OP_BYTES_MAX, &from->arena, &op, &f.count), 0);
    assert_int_equal(from->tx->v->op_chain(from->tx, stream, f.first_seq - 1, &f.chain_before), 0);
    node_abort(from);
    f.op = op;
    node_begin(to);
    assert_int_equal(change_foreign(&to->c, &f, &result, &pos), 0);
    node_commit(to);
    return result;
}

void node_sync(struct node *to, struct node *from)
{
    struct stream_pos *pos;
    size_t count;
    node_begin(from);
    assert_int_equal(from->tx->v->streams(from->tx, &from->arena, &pos, &count), 0);
    node_abort(from);
    for (size_t i = 0; i < count; i++) {
        if (pos[i].stream == to->c.origin.stream) continue;
        while (node_pos(to, pos[i].stream) < pos[i].pos)
            assert_int_equal(node_pull(to, from, pos[i].stream, 0, 64), FOREIGN_APPLIED);
    }
}
