/* Messages between nodes: what is written is read back; whatever is torn or altered is refused whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/digest.h"
#include "cluster/cluster.h"
#include "cluster/ring.h"
#include "cluster/wire.h"

static const struct wire_head head = { .name = "home", .node = 7, .stream = 99 };

static void put_batch(struct buf *b, size_t count)
{
    static char body[8][40];
    struct log_op op[8];
    struct wire_ops o = {
        .stream = 99, .node = 7, .first_seq = 5, .chain_before = 42, .op = op, .count = count, .more = true
    };
    uint64_t chain = 42;
    for (size_t i = 0; i < count; i++) {
        memset(body[i], 'a' + (int)i, sizeof body[i]);
        chain = chain_next(chain, body[i], sizeof body[i]);
        op[i] = (struct log_op){
            .seq = 5 + i, .ver = 1000 + i, .chain = chain, .body = body[i], .body_len = sizeof body[i]
        };
    }
    o.chain_after = chain;
    buf_init(b, 1 << 20);
    wire_put_ops(b, &head, &o);
}

static void batch_round_trip(void **state)
{
    (void)state;
    struct buf b;
    struct arena a;
    struct wire_message m;
    struct err err = { 0 };
    put_batch(&b, 8);
    arena_init(&a, 1 << 20);
    assert_int_equal(wire_read(b.data, b.len, &a, &m, &err), 0);
    assert_int_equal(m.head.kind, WIRE_OPS);
    assert_string_equal(m.head.name, "home");
    assert_int_equal(m.ops.count, 8);
    assert_int_equal(m.ops.op[7].seq, 12);
    assert_int_equal(m.ops.op[7].ver, 1007);
    assert_int_equal(m.ops.op[7].chain, m.ops.chain_after);
    assert_true(m.ops.more);
    arena_release(&a);
    buf_release(&b);
}

static void the_head_tells_who_does_not_sync(void **state)
{
    (void)state;
    for (int relaxed = 0; relaxed < 2; relaxed++) {
        struct wire_head h = head;
        struct wire_message m;
        struct arena a;
        struct buf b;
        h.relaxed = relaxed;
        buf_init(&b, 1 << 20);
        wire_put_vector(&b, &h, NULL, 0, true);
        arena_init(&a, 1 << 20);
        assert_int_equal(wire_read(b.data, b.len, &a, &m, NULL), 0);
        assert_int_equal(m.head.kind, WIRE_VECTOR);
        assert_int_equal(m.head.relaxed, relaxed);
        arena_release(&a);
        buf_release(&b);
    }
}

static void all_flips_are_refused(struct buf *b)
{
    struct arena a;
    struct wire_message m;
    arena_init(&a, 1 << 20);
    for (size_t at = 0; at < 8 * b->len; at++) {
        struct err err = { 0 };
        b->data[at / 8] ^= (char)(1 << at % 8);
        assert_int_equal(wire_read(b->data, b->len, &a, &m, &err), E_PROTOCOL);
        b->data[at / 8] ^= (char)(1 << at % 8);
        arena_release(&a);
    }
}

static void every_cut_and_every_flip_is_refused(void **state)
{
    (void)state;
    struct buf b;
    struct arena a;
    struct wire_message m;
    put_batch(&b, 3);
    arena_init(&a, 1 << 20);
    for (size_t len = 0; len < b.len; len++) {
        struct err err = { 0 };
        assert_int_equal(wire_read(b.data, len, &a, &m, &err), E_PROTOCOL);
        arena_release(&a);
    }
    all_flips_are_refused(&b);
    buf_release(&b);
}

static void vector_round_trip_and_bounds(void **state)
{
    (void)state;
    struct repl_entry v[2] = { { .stream = 1, .node = 2, .pos = 3, .chain = 4, .ended = true },
                               { .stream = 9, .node = 8 } };
    struct buf b;
    struct arena a;
    struct wire_message m;
    struct wire_pos p = { .stream = 99, .pos = 17, .chain = 5 };
    struct err err = { 0 };
    buf_init(&b, 1 << 20);
    arena_init(&a, 1 << 20);
    wire_put_answer_hello(&b, &head, &p, v, 2);
    assert_int_equal(wire_read(b.data, b.len, &a, &m, &err), 0);
    assert_int_equal(m.pos.pos, 17);
    assert_int_equal(m.vector.count, 2);
    assert_true(m.vector.entry[0].ended);
    all_flips_are_refused(&b);
    buf_clear(&b);
    v[1].stream = UINT64_MAX;
    wire_put_vector(&b, &head, v, 2, true);
    assert_int_equal(wire_read(b.data, b.len, &a, &m, &err), E_PROTOCOL);
    arena_release(&a);
    buf_release(&b);
}

static void all_cuts_are_refused(struct buf *b)
{
    struct arena a;
    struct wire_message m;
    arena_init(&a, 1 << 20);
    for (size_t len = 0; len < b->len; len++) {
        struct err err = { 0 };
        assert_int_equal(wire_read(b->data, len, &a, &m, &err), E_PROTOCOL);
        arena_release(&a);
    }
}

static void snapshots_round_trip_and_bounds(void **state)
{
    (void)state;
    struct stream_pos v[2] = { { .stream = 5, .node = 2, .pos = 30, .chain = 4, .trimmed = 7, .ended = true },
                               { .stream = 9, .node = 8, .pos = 1 } };
    struct stamp held = { .stream = 5, .seq = 11 };
    struct wire_snapshot s = { v, 2, &held, 1, true };
    struct buf b;
    struct arena a;
    struct wire_message m;
    struct err err = { 0 };
    buf_init(&b, 1 << 20);
    arena_init(&a, 1 << 20);
    wire_put_snapshot(&b, &head, &s);
    assert_int_equal(wire_read(b.data, b.len, &a, &m, &err), 0);
    assert_int_equal(m.snapshot.count, 2);
    assert_int_equal(m.snapshot.v[0].trimmed, 7);
    assert_true(m.snapshot.v[0].ended);
    assert_int_equal(m.snapshot.held_count, 1);
    assert_true(m.snapshot.ahead);
    assert_int_equal(m.snapshot.held[0].seq, 11);
    all_cuts_are_refused(&b);
    buf_clear(&b);
    v[1].stream = 5; /* not ascending */
    wire_put_snapshot(&b, &head, &s);
    assert_int_equal(wire_read(b.data, b.len, &a, &m, &err), E_PROTOCOL);
    buf_clear(&b);
    v[1].stream = 9;
    v[0].trimmed = 31; /* beyond its end */
    wire_put_snapshot(&b, &head, &s);
    assert_int_equal(wire_read(b.data, b.len, &a, &m, &err), E_PROTOCOL);
    arena_release(&a);
    buf_release(&b);
}

static void pages_round_trip_and_flips_are_refused(void **state)
{
    (void)state;
    static const char records[] = "records of some kind";
    struct wire_page p = { { 3, "id\x1f with anything" }, records, sizeof records };
    struct buf b;
    struct arena a;
    struct wire_message m;
    struct err err = { 0 };
    buf_init(&b, 1 << 20);
    arena_init(&a, 1 << 20);
    wire_put_page(&b, &head, &p);
    assert_int_equal(wire_read(b.data, b.len, &a, &m, &err), 0);
    assert_int_equal(m.page.at.section, 3);
    assert_string_equal(m.page.at.after, p.at.after);
    assert_int_equal(m.page.len, sizeof records);
    assert_memory_equal(m.page.records, records, sizeof records);
    all_cuts_are_refused(&b);
    all_flips_are_refused(&b);
    arena_release(&a);
    buf_release(&b);
}

static void sums_and_rows_round_trip_and_bounds(void **state)
{
    (void)state;
    static struct wire_sums sums;
    struct stream_pos v = { .stream = 5, .node = 2, .pos = 30 };
    struct scrub_row row = { .family = 2, .bucket = 4095, .dead = true, .key = "k", .stamp = { 7, 5, 3 }, .sum = 99 };
    struct wire_rows rows = { &v, 1, &row, 1 };
    struct buf b;
    struct arena a;
    struct wire_message m;
    struct err err = { 0 };
    buf_init(&b, 1 << 20);
    arena_init(&a, 1 << 20);
    sums = (struct wire_sums){ .before = 77 };
    sums.sum[4095] = 12345;
    wire_put_sums(&b, &head, &sums);
    assert_int_equal(wire_read(b.data, b.len, &a, &m, &err), 0);
    assert_int_equal(m.sums->before, 77);
    assert_int_equal(m.sums->sum[4095], 12345);
    assert_int_equal(wire_sender(b.data, b.len), 7);
    assert_int_equal(wire_sender(b.data, 12), 0);
    assert_int_equal(wire_read(b.data, b.len - 1, &a, &m, &err), E_PROTOCOL);
    buf_clear(&b);
    wire_put_rows(&b, &head, &rows);
    assert_int_equal(wire_read(b.data, b.len, &a, &m, &err), 0);
    assert_int_equal(m.rows.rows, 1);
    assert_string_equal(m.rows.row[0].key, "k");
    assert_int_equal(m.rows.row[0].stamp.seq, 3);
    assert_true(m.rows.row[0].dead);
    all_cuts_are_refused(&b);
    buf_clear(&b);
    row.bucket = SCRUB_BUCKETS;
    wire_put_rows(&b, &head, &rows);
    assert_int_equal(wire_read(b.data, b.len, &a, &m, &err), E_PROTOCOL);
    arena_release(&a);
    buf_release(&b);
}

static void ring_keeps_the_newest(void **state)
{
    (void)state;
    struct ring *r = ring_new(4096);
    char bodies[300];
    struct log_op op[16];
    uint64_t chain;
    memset(bodies, 'x', sizeof bodies);
    for (uint64_t seq = 1; seq <= 100; seq += 2) {
        struct made_op made[2] = {
            { .seq = seq, .ver = seq, .chain = seq * 10, .offset = 0, .len = 100 },
            { .seq = seq + 1, .ver = seq + 1, .chain = seq * 10 + 10, .offset = 100, .len = 150 }
        };
        ring_add(r, made, 2, bodies);
    }
    assert_int_equal(ring_get(r, 1, 16, 1 << 20, op), 0);
    assert_int_equal(ring_get(r, 98, 16, 1 << 20, op), 3);
    assert_int_equal(op[0].seq, 98);
    assert_int_equal(op[2].chain, 1000);
    assert_int_equal(ring_get(r, 98, 16, 10, op), 1);
    assert_int_equal(ring_get(r, 101, 16, 1 << 20, op), 0);
    assert_true(ring_chain(r, 99, &chain));
    assert_int_equal(chain, 990);
    struct made_op gap = { .seq = 200, .len = 10 };
    ring_add(r, &gap, 1, bodies);
    assert_int_equal(ring_get(r, 100, 16, 1 << 20, op), 0);
    assert_int_equal(ring_get(r, 200, 16, 1 << 20, op), 1);
    ring_free(r);
}

static void plan_folds_and_cuts(void **state)
{
    (void)state;
    const char *peers[] = { "http://127.0.0.1:9001/", "http://127.0.0.1:9001", "http://127.0.0.1:9002", "" };
    struct cluster_options o = { .writes = 5, .peers = peers, .peers_count = 4 };
    struct cluster_plan p;
    struct err err = { 0 };
    assert_int_equal(cluster_plan(&o, &p, &err), 0);
    assert_int_equal(p.urls, 2);
    assert_int_equal(p.nodes, 3);
    assert_int_equal(p.writes, 3);
    assert_int_equal(json_array_size(p.warnings), 2);
    cluster_plan_release(&p);
    o = (struct cluster_options){ .writes = 2 };
    assert_int_equal(cluster_plan(&o, &p, &err), 0);
    assert_int_equal(p.writes, 0);
    assert_int_equal(json_array_size(p.warnings), 1);
    cluster_plan_release(&p);
    peers[0] = "ftp://x";
    o = (struct cluster_options){ .writes = 2, .peers = peers, .peers_count = 1 };
    assert_int_not_equal(cluster_plan(&o, &p, &err), 0);
    assert_non_null(strstr(err.msg, "ftp://x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batch_round_trip),
        cmocka_unit_test(the_head_tells_who_does_not_sync),
        cmocka_unit_test(every_cut_and_every_flip_is_refused),
        cmocka_unit_test(vector_round_trip_and_bounds),
        cmocka_unit_test(snapshots_round_trip_and_bounds),
        cmocka_unit_test(pages_round_trip_and_flips_are_refused),
        cmocka_unit_test(sums_and_rows_round_trip_and_bounds),
        cmocka_unit_test(ring_keeps_the_newest),
        cmocka_unit_test(plan_folds_and_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
