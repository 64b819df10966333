/* test_change_foreign.c - other streams: prefix rule, chain, what is held; rows of the original; faults at every store
 * call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/digest.h"
#include "change_kit.h"
#include "store/change_private.h"

/* One op of a made-up stream, as a peer would send it. */
static enum foreign_result push(struct node *n, uint64_t stream, uint64_t first, uint64_t chain, struct buf *body,
                                size_t count, struct stream_pos *pos)
{
    struct log_op op[8];
    enum foreign_result result;
    struct foreign_batch f = {
        .stream = stream, .node = 77, .first_seq = first, .chain_before = chain, .op = op, .count = count
    };
    for (size_t i = 0; i < count; i++)
        op[i] = (struct log_op){ .seq = first + i, .ver = 1, .body = body[i].data, .body_len = body[i].len };
    node_begin(n);
    assert_int_equal(change_foreign(&n->c, &f, &result, pos), 0);
    node_commit(n);
    return result;
}

static void body_of(struct buf *b, const struct version *v, size_t count)
{
    buf_init(b, OP_BYTES_MAX);
    assert_int_equal(op_encode(b, v, count), 0);
}

static struct version memory_version(uint64_t ver, const char *id, const char *title, const char *content)
{
    struct version v = {
        .kind = KIND_MEMORY, .raw_kind = KIND_MEMORY, .ver = ver, .m = kit_memory(id, title, content)
    };
    v.m.updated_at = "2023-11-14T22:13:20+00:00";
    own_of(&v.m, &v.own);
    return v;
}

static bool is_held(struct node *n, size_t expected)
{
    struct side_row *side;
    size_t count;
    node_begin(n);
    assert_int_equal(n->tx->v->side_scan(n->tx, SIDE_HELD, NULL, NULL, 99, &n->arena, &side, &count), 0);
    node_abort(n);
    return count == expected;
}

static void what_is_here_is_skipped_and_a_gap_rewinds(void **state)
{
    (void)state;
    struct node a, b;
    struct row row;
    node_open(&a, 1);
    node_open(&b, 2);
    for (int i = 0; i < 6; i++) node_store(&a, "a", "t", i % 2 ? "x" : "y");
    uint64_t stream = a.c.origin.stream;
    assert_int_equal(node_pull(&b, &a, stream, 3, 2), FOREIGN_REWIND);
    assert_int_equal(node_pos(&b, stream), 0);
    assert_int_equal(node_pull(&b, &a, stream, 1, 3), FOREIGN_APPLIED);
    assert_int_equal(node_pos(&b, stream), 3);
    assert_int_equal(node_pull(&b, &a, stream, 2, 4), FOREIGN_APPLIED); /* two of four are new */
    assert_int_equal(node_pos(&b, stream), 5);
    assert_int_equal(node_pull(&b, &a, stream, 1, 2), FOREIGN_APPLIED); /* nothing new */
    assert_int_equal(node_pos(&b, stream), 5);
    assert_int_equal(node_pull(&b, &a, stream, 6, 9), FOREIGN_APPLIED);
    assert_true(node_get(&b, "a", &row));
    assert_string_equal(row.m.content, "x");
    assert_int_equal(row.stamp.seq, 6);
    struct node c;
    node_open(&c, 3);
    node_sync(&c, &b); /* a survivor passes the stream on, chain and all */
    assert_int_equal(node_pos(&c, stream), 6);
    node_close(&a);
    node_close(&b);
    node_close(&c);
}

static void two_chains_at_one_position_are_a_fork(void **state)
{
    (void)state;
    struct node n;
    struct stream_pos pos;
    struct row row;
    struct buf b[3];
    struct version v1 = memory_version(1000, "a", "t", "x"), v2 = memory_version(2000, "a", "t", "y");
    struct version v3 = memory_version(2000, "b", "u", "z");
    body_of(&b[0], &v1, 1);
    body_of(&b[1], &v2, 1);
    body_of(&b[2], &v3, 1);
    node_open(&n, 1);
    assert_int_equal(push(&n, 5, 1, 0, b, 2, &pos), FOREIGN_APPLIED);
    assert_int_equal(pos.pos, 2);
    uint64_t chain = chain_next(0, b[0].data, b[0].len);
    struct buf other[2] = { b[2], b[0] };
    assert_int_equal(push(&n, 5, 2, chain, other, 2, &pos), FOREIGN_FORK); /* another second op */
    assert_int_equal(push(&n, 5, 1, 0, other, 1, &pos), FOREIGN_FORK);     /* another first op, none beyond */
    assert_int_equal(push(&n, 5, 3, 12345, other, 1, &pos), FOREIGN_FORK); /* other ops before it */
    assert_int_equal(pos.pos, 2);
    assert_false(node_find(&n, "b", &row));
    for (int i = 0; i < 3; i++) buf_release(&b[i]);
    node_close(&n);
}

static void equal_clocks_are_decided_by_the_stream(void **state)
{
    (void)state;
    struct stream_pos pos;
    struct row row;
    struct buf a, z;
    struct version v = memory_version(1000, "z", "t", "of five"), w = memory_version(1000, "a", "t", "of six");
    body_of(&z, &v, 1);
    body_of(&a, &w, 1);
    for (int order = 0; order < 2; order++) {
        struct node n;
        node_open(&n, 1);
        for (int i = 0; i < 2; i++) {
            bool six = (i == order);
            assert_int_equal(push(&n, six ? 6 : 5, 1, 0, six ? &a : &z, 1, &pos), FOREIGN_APPLIED);
        }
        assert_true(node_find(&n, "z", &row));
        assert_string_equal(row.m.content, "of six");
        node_close(&n);
    }
    buf_release(&a);
    buf_release(&z);
}

static void nobody_is_ahead_of_the_writer(void **state)
{
    (void)state;
    struct node a, b;
    struct stream_pos pos;
    struct buf body;
    struct version v = memory_version(1000, "z", "z", "x");
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "a", "t", "x");
    node_sync(&b, &a);
    assert_int_equal(node_pull(&a, &b, a.c.origin.stream, 1, 1), FOREIGN_APPLIED); /* our own op coming home */
    body_of(&body, &v, 1);
    assert_int_equal(push(&a, a.c.origin.stream, 2, a.c.origin.chain, &body, 1, &pos), FOREIGN_FORK);
    assert_int_equal(a.c.origin.seq, 1);
    buf_release(&body);
    node_close(&a);
    node_close(&b);
}

static void what_is_not_understood_is_held_and_passed_on(void **state)
{
    (void)state;
    struct node n, other;
    struct stream_pos pos;
    struct row row;
    struct buf body[3];
    struct version v[2] = { memory_version(1000, "a", "t", "x"),
                            { .raw_kind = 99, .ver = 7, .body = "\1\2\3\4\5\6\7\0new", .body_len = 11 } };
    struct version later = memory_version(3000, "b", "u", "y");
    body_of(&body[0], v, 2);
    buf_init(&body[1], 100);
    buf_puts(&body[1], "no op at all");
    body_of(&body[2], &later, 1);
    node_open(&n, 1);
    node_open(&other, 2);
    assert_int_equal(push(&n, 5, 1, 0, body, 3, &pos), FOREIGN_APPLIED);
    assert_int_equal(pos.pos, 3);
    assert_int_equal(n.c.held, 2);
    assert_true(is_held(&n, 2));
    assert_true(node_get(&n, "a", &row)); /* what was understood of it counts */
    assert_true(node_get(&n, "b", &row));
    node_sync(&other, &n);
    assert_int_equal(node_pos(&other, 5), 3);
    node_begin(&n);
    const char *last;
    assert_int_equal(change_held_retry(&n.c, NULL, 9, &last), 0);
    assert_null(last);
    node_commit(&n);
    assert_true(is_held(&n, 2));
    for (int i = 0; i < 3; i++) buf_release(&body[i]);
    node_close(&n);
    node_close(&other);
}

/* Takes these versions for what a peer holds of op 5:1; returns how many are held of it then. */
static size_t take_held(struct node *n, const struct version *v, size_t count)
{
    const struct stamp at = { .stream = 5, .seq = 1 };
    struct version *there;
    struct side_row *side;
    struct buf body;
    size_t rows, held;
    body_of(&body, v, count);
    node_begin(n);
    assert_int_equal(held_take(&n->c, &at, body.data, body.len), 0);
    node_commit(n);
    buf_release(&body);
    node_begin(n);
    assert_int_equal(n->tx->v->side_scan(n->tx, SIDE_HELD, NULL, NULL, 9, &n->arena, &side, &rows), 0);
    assert_int_equal(rows, 1);
    assert_int_equal(op_decode(side->body, side->body_len, &n->arena, &there, &held), 0);
    node_abort(n);
    return held;
}

/* A peer in the middle of a snapshot of its own has part of what is held of an op. */
static void what_is_held_of_an_op_in_parts_comes_together(void **state)
{
    (void)state;
    struct node n;
    const struct version v[] = { { .raw_kind = 99, .ver = 7, .body = "\7\0\0\0\0\0\0\0one", .body_len = 11 },
                                 { .raw_kind = 99, .ver = 8, .body = "\10\0\0\0\0\0\0\0two", .body_len = 11 } };
    node_open(&n, 1);
    assert_int_equal(take_held(&n, &v[1], 1), 1);
    assert_int_equal(take_held(&n, &v[0], 1), 2);
    assert_int_equal(take_held(&n, &v[1], 1), 2);
    assert_int_equal(take_held(&n, v, 2), 2);
    /* what a peer says it holds of it may be anything: the next is taken, whatever there is */
    const size_t len = 9u << 20;
    char *much = mem_alloc(len);
    memset(much, 'm', len);
    struct version big = { .raw_kind = 99, .ver = 7, .body = much, .body_len = len };
    assert_int_equal(take_held(&n, &big, 1), 3);
    much[0] = 'n';
    assert_int_equal(take_held(&n, &big, 1), 1);
    mem_free(much);
    node_close(&n);
}

static void an_op_that_cannot_be_applied_is_undone_whole(void **state)
{
    (void)state;
    struct node n;
    struct stream_pos pos;
    struct row row;
    struct buf body[2];
    struct version v[2] = {
        memory_version(1000, "a", "t", "x"), /* a standard whose body is none */
        { .kind = KIND_STANDARD, .raw_kind = KIND_STANDARD, .ver = 1001, .key = "n", .body = "?", .body_len = 1 }
    };
    struct version next = memory_version(2000, "b", "u", "y");
    body_of(&body[0], v, 2);
    body_of(&body[1], &next, 1);
    node_open(&n, 1);
    assert_int_equal(push(&n, 5, 1, 0, body, 2, &pos), FOREIGN_APPLIED);
    assert_int_equal(pos.pos, 2);
    assert_int_equal(n.c.held, 1);
    assert_true(is_held(&n, 1));
    assert_false(node_find(&n, "a", &row)); /* no op is seen by half */
    assert_true(node_get(&n, "b", &row));
    buf_release(&body[0]);
    buf_release(&body[1]);
    node_close(&n);
}

static void the_far_future_pulls_the_clock_a_minute_at_most(void **state)
{
    (void)state;
    struct node n;
    struct stream_pos pos;
    struct row row;
    struct buf body;
    struct version v = memory_version(hlc_of_us(KIT_START + INT64_C(86400000000)), "a", "t", "x");
    body_of(&body, &v, 1);
    node_open(&n, 1);
    assert_int_equal(push(&n, 5, 1, 0, &body, 1, &pos), FOREIGN_APPLIED);
    assert_int_equal(n.c.far_future, 1);
    assert_int_equal(hlc_us(n.c.hlc.last), n.now_us + 60000000);
    row = node_store(&n, "a", "t", "mine"); /* who saw it beats it */
    assert_string_equal(row.m.content, "mine");
    assert_true(row.stamp.ver > v.ver);
    buf_release(&body);
    node_close(&n);
}

/* It could neither win nor be handed on: better refused than answered with success. */
static void what_has_the_last_version_is_not_changed_in_vain(void **state)
{
    (void)state;
    struct node n;
    struct stream_pos pos;
    struct row row;
    struct buf body;
    struct memory m = kit_memory("a", "t", "mine");
    struct version v = memory_version(HLC_MAX, "a", "t", "x");
    body_of(&body, &v, 1);
    node_open(&n, 1);
    assert_int_equal(push(&n, 5, 1, 0, &body, 1, &pos), FOREIGN_APPLIED);
    assert_true(node_get(&n, "a", &row));
    for (int i = 0; i < 3; i++) {
        node_begin(&n);
        assert_int_equal(i == 0   ? change_delete(&n.c, &row)
                         : i == 1 ? change_memory(&n.c, &m, &row, NULL)
                                  : change_memory_quietly(&n.c, &m, &row, NULL),
                         E_CONFLICT);
        node_abort(&n);
    }
    assert_true(node_get(&n, "a", &row));
    assert_string_equal(row.m.content, "x");
    buf_release(&body);
    node_close(&n);
}

/* Counts beyond all bounds, one of them in our own name, and a file that claims as many again. */
static void counts_stay_numbers(void **state)
{
    (void)state;
    struct node n;
    struct stream_pos pos;
    struct row row;
    struct buf body;
    bool more;
    struct version v[3] = { memory_version(1000, "a", "t", "x") };
    struct memory m = kit_memory("a", "t", "from a file");
    v[0].own.count_base = v[0].own.count_seen = INT64_MAX;
    node_open(&n, 1);
    for (uint64_t i = 1; i < 3; i++)
        v[i] = (struct version){ .kind = KIND_TOUCH,
                                 .ver = 1000 + i,
                                 .touch = { .id = "a", .node = i == 1 ? n.c.origin.node : 99, .count = INT64_MAX } };
    body_of(&body, v, 3);
    assert_int_equal(push(&n, 5, 1, 0, &body, 1, &pos), FOREIGN_APPLIED);
    node_touch(&n, "a", 3, true);
    row = node_store(&n, "a", "t", "mine");
    assert_int_equal(row.m.access_count, 1000000);
    m.updated_at = "2023-11-16T10:00:00+00:00";
    m.access_count = INT64_MAX;
    memstore_original(n.store, &m);
    node_begin(&n);
    assert_int_equal(change_adopt(&n.c, 10, &more), 0);
    node_commit(&n);
    assert_true(node_get(&n, "a", &row));
    assert_int_equal(row.m.access_count, 1000000);
    buf_release(&body);
    node_close(&n);
}

static void a_new_row_beats_one_swept_under_its_title(void **state)
{
    (void)state;
    struct node n;
    struct stream_pos pos;
    struct row row;
    struct buf body;
    struct version v = memory_version(hlc_of_us(KIT_START + INT64_C(9999) * 86400000000), "a", "t", "from the future");
    body_of(&body, &v, 1);
    node_open(&n, 1);
    n.now_us += INT64_C(8) * 86400000000; /* it has expired */
    assert_int_equal(push(&n, 5, 1, 0, &body, 1, &pos), FOREIGN_APPLIED);
    assert_true(node_get(&n, "a", &row));
    node_begin(&n);
    assert_int_equal(change_sweep(&n.c, &row), 0);
    node_commit(&n);
    row = node_store(&n, "b", "t", "mine");
    assert_string_equal(row.m.content, "mine");
    assert_true(node_find(&n, "a", &row));
    assert_string_equal(row.m.id, "b");
    buf_release(&body);
    node_close(&n);
}

static void an_unseen_text_is_kept(void **state)
{
    (void)state;
    struct node a, b;
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "a", "t", "first");
    node_sync(&b, &a);
    a.now_us += 1000000;
    b.now_us += 2000000;
    node_store(&a, "a", "t", "of a");
    node_store(&b, "a", "t", "of b");
    node_sync(&a, &b);
    node_sync(&b, &a);
    assert_int_equal(a.c.unseen, 1);
    assert_int_equal(b.c.unseen, 1);
    char *one = memstore_archive_dump(a.store, true), *two = memstore_archive_dump(b.store, true);
    assert_string_equal(one, two);
    assert_non_null(strstr(one, "merge_loser"));
    assert_non_null(strstr(one, "of a"));
    assert_null(strstr(one, "of b"));
    assert_null(strstr(one, "first"));
    mem_free(one);
    mem_free(two);
    node_close(&a);
    node_close(&b);
}

static void rows_of_the_original_get_ops(void **state)
{
    (void)state;
    struct node n, other;
    struct row row;
    bool more;
    struct memory m = kit_memory("a", "t", "x");
    node_open(&n, 1);
    node_open(&other, 2);
    m.updated_at = "2023-11-14T10:00:00.123456789+00:00";
    m.access_count = 12;
    memstore_original(n.store, &m);
    m = kit_memory("b", "u", "y");
    m.updated_at = "not a time";
    memstore_original(n.store, &m);
    struct row mine = node_store(&n, "c", "v", "mine");
    const struct link l = {
        .source_id = "a", .target_id = "b", .relation = "supersedes", .created_at = "2023-11-14T11:00:00Z"
    };
    node_begin(&n);
    assert_int_equal(n.tx->v->link_show(n.tx, &l), 0);
    assert_int_equal(n.tx->v->standard_set(n.tx, "n", "b", NULL, "2023-11-14T11:00:00Z"), 0);
    node_commit(&n);
    node_begin(&n);
    assert_int_equal(change_adopt(&n.c, 10, &more), 0);
    assert_true(more);
    node_commit(&n);
    assert_true(node_get(&n, "a", &row));
    assert_int_equal(row.stamp.ver, hlc_of_us(INT64_C(1699956000123456)));
    assert_string_equal(row.m.updated_at, "2023-11-14T10:00:00.123456789+00:00");
    assert_int_equal(row.m.access_count, 12);
    assert_int_equal(n.c.origin.seq, 3);
    /* its program edits a row of ours in the file */
    m = mine.m;
    m.content = "edited there";
    m.updated_at = "2023-11-15T10:00:00+00:00";
    memstore_original(n.store, &m);
    n.now_us += INT64_C(86400000000);
    node_begin(&n);
    assert_int_equal(change_adopt(&n.c, 10, &more), 0);
    node_commit(&n);
    assert_int_equal(n.c.origin.seq, 4);
    node_begin(&n);
    assert_int_equal(change_adopt(&n.c, 10, &more), 0);
    assert_false(more);
    assert_int_equal(change_position(&n.c).seq, 0);
    node_commit(&n);
    node_sync(&other, &n);
    char *one = node_dump(&n, true), *two = node_dump(&other, true);
    assert_string_equal(one, two);
    assert_non_null(strstr(one, "edited there"));
    assert_non_null(strstr(two, "a\\1fb\\1fsupersedes 2023-11-14T11:00:00Z"));
    node_begin(&other);
    const char *standard, *parent;
    assert_int_equal(other.tx->v->standard_of(other.tx, "n", &other.arena, &standard, &parent), 0);
    assert_string_equal(standard, "b");
    node_abort(&other);
    mem_free(one);
    mem_free(two);
    node_close(&n);
    node_close(&other);
}

static int original(struct node *n, const struct memory *m)
{
    int applied;
    struct row row;
    node_begin(n);
    assert_int_equal(change_original(&n->c, m, &applied, &row), 0);
    node_commit(n);
    return applied;
}

static void pushes_of_the_original_merge(void **state)
{
    (void)state;
    struct node n;
    struct row row;
    node_open(&n, 1);
    struct memory m = kit_memory("a", "t", "x");
    m.updated_at = "2023-11-14T22:00:00.5+00:00";
    m.access_count = 3;
    assert_int_equal(original(&n, &m), 1);
    assert_int_equal(original(&n, &m), 0); /* an echo */
    m.updated_at = "2023-11-14T21:00:00+00:00";
    m.content = "older";
    assert_int_equal(original(&n, &m), 0);
    /* the same title under its own id: ours stands for both */
    m = kit_memory("b", "t", "newer");
    m.updated_at = "2023-11-14T22:10:00+00:00";
    assert_int_equal(original(&n, &m), 1);
    assert_false(node_find(&n, "b", &row));
    assert_true(node_get(&n, "a", &row));
    assert_string_equal(row.m.content, "newer");
    assert_int_equal(row.m.access_count, 3);
    /* what we write and get back changes nothing */
    row = node_store(&n, "a", "t", "ours");
    m = row.m;
    assert_int_equal(original(&n, &m), 0);
    node_delete(&n, "a");
    assert_int_equal(original(&n, &m), 0); /* a deleted row offered again stays deleted */
    m.updated_at = "2033-01-01T00:00:00+00:00";
    assert_int_equal(original(&n, &m), 1); /* a minute ahead at most */
    assert_true(node_get(&n, "a", &row));
    assert_true(stamp_us(row.stamp.ver) <= n.now_us + 60000000);
    assert_int_equal(n.c.far_future, 1);
    n.now_us += 5000000;
    assert_int_equal(original(&n, &m), 0); /* the same again, though its time would be later now */
    m.content = "other";
    assert_int_equal(original(&n, &m), 1);
    m = kit_memory("c", "ancient", "x"); /* before all versions: the first there is */
    m.updated_at = "0001-01-01T00:00:00Z";
    assert_int_equal(original(&n, &m), 1);
    assert_true(node_get(&n, "c", &row));
    assert_int_equal(row.stamp.ver, 1);
    assert_int_equal(original(&n, &m), 0);
    row = node_store(&n, "c", "ancient", "edited");
    assert_string_equal(row.m.content, "edited");
    node_close(&n);
}

static enum original_kind look(struct node *n, const struct memory *m)
{
    enum original_kind kind;
    node_begin(n);
    assert_int_equal(change_original_look(n->tx, m, n->now_us, &n->arena, &kind), 0);
    node_abort(n);
    return kind;
}

static void what_was_deleted_here_is_gone_for_the_original(void **state)
{
    (void)state;
    struct node n;
    node_open(&n, 1);
    struct memory m = kit_memory("a", "t", "x"), twin = kit_memory("its own", "t", "x");
    twin.updated_at = m.updated_at = "2023-11-14T22:00:00+00:00";
    assert_int_equal(look(&n, &m), ORIGINAL_NEWS);
    assert_int_equal(original(&n, &m), 1);
    assert_int_equal(look(&n, &m), ORIGINAL_ECHO);
    assert_int_equal(look(&n, &twin), ORIGINAL_ECHO);
    node_delete(&n, "a");
    assert_int_equal(look(&n, &m), ORIGINAL_GONE);
    assert_int_equal(look(&n, &twin), ORIGINAL_GONE); /* the same title by the id it has there */
    assert_int_equal(original(&n, &twin), 0);
    twin.ns = "elsewhere";
    assert_int_equal(look(&n, &twin), ORIGINAL_NEWS);
    twin.ns = "n";
    twin.updated_at = "2023-11-14T22:14:00+00:00"; /* made after the delete */
    assert_int_equal(look(&n, &twin), ORIGINAL_NEWS);
    twin.updated_at = "some day";
    node_begin(&n);
    enum original_kind kind;
    assert_int_equal(change_original_look(n.tx, &twin, n.now_us, &n.arena, &kind), E_INVALID);
    node_abort(&n);
    node_close(&n);
}

/* A story with every kind of change in one item; rc of the first that fails. */
static int story(struct node *n)
{
    struct change *c = &n->c;
    struct row a, b;
    bool more;
    uint8_t print[32] = { 1 };
    struct memory ma = kit_memory("a2", "t2", "x"), mb = kit_memory("b2", "u2", "y");
    struct link l = { .source_id = "a2", .target_id = "b2", .relation = "related_to" };
    int rc = change_memory(c, &ma, NULL, &a);
    if (rc == 0) rc = change_memory(c, &mb, NULL, &b);
    if (rc == 0) rc = change_link(c, &l);
    if (rc == 0) rc = change_standard(c, "n", "a2", NULL);
    if (rc == 0) rc = change_touch(c, "a2", n->now_us, 2);
    if (rc == 0) rc = change_touch_flush(c, &more);
    if (rc == 0) rc = change_archive(c, &b, "2023-11-14T22:13:20+00:00", "forget");
    if (rc == 0) rc = change_delete(c, &b);
    if (rc == 0) rc = n->tx->v->get(n->tx, "s", c->scratch, &a);
    if (rc == 0) {
        ma = a.m;
        ma.title = "renamed";
        rc = change_memory(c, &ma, &a, NULL);
    }
    if (rc == 0) rc = change_idem(c, "key", print, sizeof(print));
    return rc;
}

/* Every store call of the story fails once: nothing may stay, and the next try must come to the same. */
static void a_failure_at_any_call_leaves_no_trace(void **state)
{
    (void)state;
    struct node n, other;
    uint64_t at = 1;
    struct err err;
    node_open(&n, 1);
    node_open(&other, 2);
    other.now_us += 1000000;
    node_store(&n, "r", "s", "rests");
    node_store(&other, "s", "s", "shows");
    node_sync(&n, &other);
    char *before = node_dump(&n, true);
    for (bool failed = true; failed; at++) {
        struct origin origin = n.c.origin;
        assert_int_equal(n.store->b->begin(n.conn, &n.tx, &err), 0);
        change_begin(&n.c, n.tx, n.now_us);
        memstore_fail(n.store, at, E_DISK_FULL);
        int rc = change_savepoint(&n.c, &err);
        if (rc == 0) rc = story(&n);
        if (rc == 0) rc = change_savepoint_end(&n.c, true, &err);
        if (rc == 0) rc = change_finish(&n.c);
        if (rc == 0) rc = n.store->b->commit(n.conn, true, &err);
        failed = rc != 0;
        memstore_fail(n.store, 0, 0);
        if (!failed) break;
        assert_int_equal(rc, E_DISK_FULL);
        change_rollback(&n.c);
        n.store->b->rollback(n.conn);
        char *after = node_dump(&n, true);
        assert_string_equal(before, after);
        assert_memory_equal(&origin, &n.c.origin, sizeof(origin));
        mem_free(after);
    }
    assert_true(at > 50);
    node_sync(&other, &n);
    char *one = node_dump(&n, true), *two = node_dump(&other, true);
    assert_string_equal(one, two);
    mem_free(before);
    mem_free(one);
    mem_free(two);
    node_close(&n);
    node_close(&other);
}

/* The same for a peer's batch: an error of the store refuses the batch, it never holds an op. */
static void a_failure_while_applying_holds_nothing(void **state)
{
    (void)state;
    struct node from, to;
    uint64_t at = 1;
    struct err err;
    struct log_op *op;
    enum foreign_result result;
    struct stream_pos pos;
    node_open(&from, 1);
    node_open(&to, 2);
    node_store(&from, "s", "s", "shows");
    node_begin(&from);
    assert_int_equal(story(&from), 0);
    node_commit(&from);
    struct foreign_batch f = { .stream = from.c.origin.stream, .node = from.c.origin.node, .first_seq = 1 };
    node_begin(&from);
    assert_int_equal(from.tx->v->op_page(from.tx, f.stream, 1, 99, 1u << 20, &from.arena, &op, &f.count), 0);
    node_abort(&from);
    f.op = op;
    for (bool failed = true; failed; at++) {
        assert_int_equal(to.store->b->begin(to.conn, &to.tx, &err), 0);
        change_begin(&to.c, to.tx, to.now_us);
        memstore_fail(to.store, at, E_DISK_FULL);
        int rc = change_savepoint(&to.c, &err);
        if (rc == 0) rc = change_foreign(&to.c, &f, &result, &pos);
        if (rc == 0) rc = change_savepoint_end(&to.c, true, &err);
        if (rc == 0) rc = change_finish(&to.c);
        if (rc == 0) rc = to.store->b->commit(to.conn, true, &err);
        failed = rc != 0;
        memstore_fail(to.store, 0, 0);
        if (!failed) break;
        assert_int_equal(rc, E_DISK_FULL);
        change_rollback(&to.c);
        to.store->b->rollback(to.conn);
        assert_int_equal(node_pos(&to, f.stream), 0);
    }
    assert_true(is_held(&to, 0));
    assert_int_equal(pos.pos, f.count);
    char *one = node_dump(&from, true), *two = node_dump(&to, true);
    assert_string_equal(one, two);
    mem_free(one);
    mem_free(two);
    node_close(&from);
    node_close(&to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_here_is_skipped_and_a_gap_rewinds),
        cmocka_unit_test(two_chains_at_one_position_are_a_fork),
        cmocka_unit_test(equal_clocks_are_decided_by_the_stream),
        cmocka_unit_test(nobody_is_ahead_of_the_writer),
        cmocka_unit_test(what_is_not_understood_is_held_and_passed_on),
        cmocka_unit_test(what_is_held_of_an_op_in_parts_comes_together),
        cmocka_unit_test(an_op_that_cannot_be_applied_is_undone_whole),
        cmocka_unit_test(the_far_future_pulls_the_clock_a_minute_at_most),
        cmocka_unit_test(what_has_the_last_version_is_not_changed_in_vain),
        cmocka_unit_test(counts_stay_numbers),
        cmocka_unit_test(a_new_row_beats_one_swept_under_its_title),
        cmocka_unit_test(an_unseen_text_is_kept),
        cmocka_unit_test(rows_of_the_original_get_ops),
        cmocka_unit_test(pushes_of_the_original_merge),
        cmocka_unit_test(what_was_deleted_here_is_gone_for_the_original),
        cmocka_unit_test(a_failure_at_any_call_leaves_no_trace),
        cmocka_unit_test(a_failure_while_applying_holds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
