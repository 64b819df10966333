/* The op log in the file: numbers of streams, and files of format 1, which had an index beside the log. */
#include "store_kit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/digest.h"
#include "store/sqlite/sq.h"

/* What made the file of format 1 that one of format 2 came from. */
static const char format_1[] =
    "CREATE TABLE repl_op (stream INTEGER NOT NULL, seq INTEGER NOT NULL, ver INTEGER NOT NULL,"
    " chain INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (stream, seq));"
    "INSERT INTO repl_op SELECT s.stream, o.at & 1099511627775, o.ver, o.chain, o.body"
    " FROM repl_log o JOIN repl_stream s ON s.number = o.at >> 40 ORDER BY o.at & 1099511627775, s.stream;"
    "UPDATE repl_stream SET (pos, chain) = (SELECT seq, chain FROM repl_op o WHERE o.stream = repl_stream.stream"
    " ORDER BY seq DESC LIMIT 1) WHERE stream IN (SELECT stream FROM repl_op);"
    "INSERT INTO repl_op SELECT stream, pos, 1, chain, 'last' FROM repl_stream WHERE ended = 2;"
    "DROP TABLE repl_log; DROP INDEX repl_stream_number; ALTER TABLE repl_stream DROP COLUMN number;"
    "DROP INDEX repl_memories_page; DROP INDEX repl_memories_space;"
    "CREATE INDEX repl_memories_page ON memories (priority DESC, ver DESC, tier);"
    "CREATE INDEX repl_memories_space ON memories (namespace, priority DESC, ver DESC, tier);"
    "UPDATE repl_local SET value = '1' WHERE key = 'store.format';";

static void append(struct store_tx *tx, uint64_t stream, uint64_t from, uint64_t count)
{
    struct stream_pos pos = { .chain = 0 };
    char body[600];
    int rc = tx->v->stream_get(tx, stream, &pos);
    assert_true(rc == 0 || rc == E_NOT_FOUND);
    for (uint64_t seq = from; seq < from + count; seq++) {
        memset(body, (int)('a' + (seq + stream) % 26), sizeof body);
        struct log_op op = { .seq = seq, .ver = seq * 3, .body = body, .body_len = 20 + seq % 580 };
        pos.chain = op.chain = chain_next(pos.chain, op.body, op.body_len);
        kit_ok(tx->v->op_append(tx, stream, &op), tx->err);
    }
}

/* One stream whose log is whole, one trimmed, one where a snapshot put it, one that left. */
static void fill(struct kit *k, uint64_t many)
{
    struct store_tx *tx = kit_begin(k);
    const struct stream_pos first[] = { { .stream = 20, .node = 1 }, { .stream = 3, .node = 2 } },
                            put = { .stream = 40, .node = 3, .pos = 50, .chain = 777, .trimmed = 50 };
    for (size_t i = 0; i < 2; i++) kit_ok(tx->v->stream_put(tx, &first[i]), tx->err);
    for (uint64_t seq = 1; seq <= many; seq += 10) {
        append(tx, 20, seq, 10);
        append(tx, 3, seq, 10);
    }
    append(tx, 30, 1, 4);
    struct stream_pos pos;
    kit_ok(tx->v->stream_get(tx, 3, &pos), tx->err);
    pos.trimmed = many / 2;
    kit_ok(tx->v->stream_put(tx, &pos), tx->err);
    kit_ok(tx->v->stream_put(tx, &put), tx->err);
    kit_ok(tx->v->stream_get(tx, 30, &pos), tx->err);
    pos.ended = pos.left = true;
    pos.trimmed = pos.pos;
    kit_ok(tx->v->stream_put(tx, &pos), tx->err);
    struct row row = kit_row(&k->arena, "a", "ns", "A", "alpha", kit_ver(1));
    kit_commit(k);
    kit_put(k, &row, NULL);
}

/* All that the verbs say of these streams. */
static char *said(struct store_tx *tx, struct arena *a)
{
    static const uint64_t streams[] = { 3, 20, 30, 40 };
    struct buf b;
    buf_init(&b, 64 << 20);
    for (size_t i = 0; i < 4; i++) {
        struct stream_pos p;
        struct log_op *op;
        uint64_t chain = 0;
        size_t count;
        kit_ok(tx->v->stream_get(tx, streams[i], &p), tx->err);
        int rc = tx->v->op_chain(tx, streams[i], p.trimmed, &chain);
        buf_printf(&b, "%d node %d pos %d chain %llx trimmed %d %d %d, there %d %llx\n", (int)p.stream, (int)p.node,
                   (int)p.pos, (unsigned long long)p.chain, (int)p.trimmed, p.ended, p.left, rc,
                   (unsigned long long)chain);
        kit_ok(tx->v->op_page(tx, streams[i], 1, SIZE_MAX, 0, a, &op, &count), tx->err);
        for (size_t j = 0; j < count; j++)
            buf_printf(&b, "%d %d %llx %.*s\n", (int)op[j].seq, (int)op[j].ver, (unsigned long long)op[j].chain,
                       (int)op[j].body_len, (const char *)op[j].body);
    }
    char *ret = arena_strndup(a, b.data, b.len);
    buf_release(&b);
    return ret;
}

static char *said_now(struct kit *k)
{
    char *ret = said(kit_begin(k), &k->arena);
    kit_commit(k);
    return ret;
}

/* A file of format 1 beside the kit's own. */
static char *old_file(struct kit *k)
{
    struct buf b;
    char *path = kit_path(k, "old.db");
    kit_ok(k->store->b->upkeep(k->writer, false, true, &k->err), &k->err);
    kit_read_file(kit_path(k, "memory.db"), &b);
    kit_write_file(path, b.data, b.len);
    buf_release(&b);
    kit_raw(path, format_1);
    assert_int_equal(kit_raw(path, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'sqlite_autoindex_repl_op%'"),
                     1);
    return path;
}

static void expect_upgraded(struct kit *k, const char *path, const char *expected)
{
    struct other o;
    int64_t count;
    other_open(&o, path, true);
    other_begin(&o);
    assert_string_equal(said(o.tx, &k->arena), expected);
    kit_ok(o.tx->v->count(o.tx, &(struct filter){ 0 }, &count), &o.err);
    assert_int_equal(count, 1);
    other_commit(&o);
    other_close(&o);
    assert_int_equal(kit_raw(path, "SELECT CAST(value AS INTEGER) FROM repl_local WHERE key = 'store.format'"), 2);
    assert_int_equal(kit_raw(path, "SELECT count(*) FROM sqlite_master WHERE name LIKE '%repl_op%'"), 0);
    assert_int_equal(kit_raw(path, "SELECT count(*) FROM sqlite_master WHERE sql LIKE '%ver DESC%'"), 0);
    assert_int_equal(kit_raw(path, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'repl_memories_%'"), 4);
    assert_int_equal(kit_raw(path, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
}

static void a_file_of_format_1_is_upgraded(void **state)
{
    struct kit *k = *state;
    fill(k, 300);
    char *expected = said_now(k), *path = old_file(k);
    expect_upgraded(k, path, expected);
    struct other o;
    other_open(&o, path, true);
    other_begin(&o);
    append(o.tx, 20, 301, 20);
    append(o.tx, 40, 51, 20);
    append(o.tx, 30, 5, 20); /* that was not its end */
    struct stream_pos pos;
    kit_ok(o.tx->v->stream_get(o.tx, 30, &pos), &o.err);
    assert_int_equal(pos.pos, 24);
    kit_ok(o.tx->v->stream_get(o.tx, 40, &pos), &o.err);
    assert_int_equal(pos.pos, 70);
    other_commit(&o);
    other_close(&o);
    assert_int_equal(access(arena_printf(&k->arena, "%s.before-upgrade", path), F_OK), -1);
}

/* Opens the file in a process that is killed after so long; whether it came to its end. */
static bool open_killed(const char *path, int64_t us)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct itimerval in = { .it_value = { .tv_sec = us / 1000000, .tv_usec = us % 1000000 } };
        struct err err;
        struct store *s = NULL;
        signal(SIGALRM, SIG_DFL);
        setitimer(ITIMER_REAL, &in, NULL);
        _exit(sqlite_store_open(path, &(struct sqlite_options){ .serving = true }, &s, &err) != 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return !WIFSIGNALED(status);
}

static void a_killed_upgrade_begins_again(void **state)
{
    struct kit *k = *state;
    fill(k, 3000);
    char *expected = said_now(k), *path = old_file(k);
    int64_t us = 2000;
    int kills = 0;
    while (!open_killed(path, us)) {
        kills++;
        us += us / 4;
        const char tables[] = "SELECT count(*) FROM sqlite_master WHERE name IN ('repl_op', 'repl_log')";
        assert_int_equal(kit_raw(path, tables), 1); /* one or the other */
    }
    assert_true(kills > 0);
    expect_upgraded(k, path, expected);
}

static void no_upgrade_beside_a_server(void **state)
{
    struct kit *k = *state;
    struct store *s;
    int fd;
    fill(k, 20);
    char *expected = said_now(k), *path = old_file(k);
    kit_ok(sq_locks_open(path, true, &fd, &k->err), &k->err);
    kit_ok(sq_lock_try(fd, 0), NULL);
    assert_int_equal(sqlite_store_open(path, &(struct sqlite_options){ .busy_ms = 100 }, &s, &k->err), E_LOCKED);
    assert_non_null(strstr(k->err.msg, "earlier program"));
    assert_int_equal(kit_raw(path, "SELECT count(*) FROM sqlite_master WHERE name = 'repl_op'"), 1);
    sq_locks_close(fd);
    expect_upgraded(k, path, expected);
}

static void numbers_are_given_free_and_taken_again(void **state)
{
    struct kit *k = *state;
    char *path = kit_path(k, "memory.db");
    struct store_tx *tx = kit_begin(k);
    struct stream_pos pos = { .stream = 5, .node = 1 };
    kit_ok(tx->v->stream_put(tx, &pos), tx->err);
    kit_commit(k);
    assert_int_equal(kit_raw(path, "SELECT count(number) FROM repl_stream"), 0); /* not before there are ops */
    tx = kit_begin(k);
    append(tx, 5, 1, 3);
    append(tx, 6, 1, 3);
    append(tx, 7, 1, 3);
    kit_commit(k);
    assert_int_equal(kit_raw(path, "SELECT number FROM repl_stream WHERE stream = 7"), 3);
    tx = kit_begin(k);
    kit_ok(tx->v->stream_get(tx, 6, &pos), tx->err);
    pos.left = pos.ended = true;
    pos.trimmed = pos.pos;
    kit_ok(tx->v->stream_put(tx, &pos), tx->err);
    kit_commit(k);
    assert_int_equal(kit_raw(path, "SELECT count(*) FROM repl_log WHERE at >> 40 = 2"), 0);
    kit_raw(path, "INSERT INTO repl_stream (stream, node, pos, chain, trimmed, ended, number)"
                  " VALUES (100, 1, 0, 0, 0, 0, 4194303)");
    tx = kit_begin(k);
    append(tx, 8, 1, 3); /* behind the last there is none */
    append(tx, 9, 1, 3);
    append(tx, 6, 4, 3);
    kit_ok(tx->v->stream_get(tx, 6, &pos), tx->err);
    assert_int_equal(pos.pos, 6);
    kit_commit(k);
    assert_int_equal(kit_raw(path, "SELECT number FROM repl_stream WHERE stream = 8"), 2);
    assert_int_equal(kit_raw(path, "SELECT number FROM repl_stream WHERE stream = 9"), 4);
    tx = kit_begin(k);
    struct log_op op = { .seq = 1ull << 40, .body = "x", .body_len = 1 };
    assert_int_equal(tx->v->op_append(tx, 8, &op), E_INVALID); /* it would be another stream's */
    size_t count;
    struct log_op *ops;
    kit_ok(tx->v->op_page(tx, 8, 1ull << 40, 10, 0, &k->arena, &ops, &count), tx->err);
    assert_int_equal(count, 0);
    assert_int_equal(tx->v->op_chain(tx, 8, 1ull << 40, &(uint64_t){ 0 }), E_NOT_FOUND);
    kit_commit(k);
}

/* What gave a stream its number may be undone, or take it away, within the transaction. */
static void a_number_is_not_remembered_too_long(void **state)
{
    struct kit *k = *state;
    struct stream_pos pos;
    struct store_tx *tx = kit_begin(k);
    append(tx, 5, 1, 3);
    kit_ok(tx->v->savepoint(tx, NULL), tx->err);
    append(tx, 6, 1, 3);
    kit_ok(tx->v->savepoint_end(tx, false, NULL), tx->err);
    append(tx, 7, 1, 3);
    append(tx, 6, 1, 3);
    kit_ok(tx->v->stream_get(tx, 6, &pos), tx->err);
    pos.left = pos.ended = true;
    pos.trimmed = pos.pos;
    kit_ok(tx->v->stream_put(tx, &pos), tx->err);
    append(tx, 6, 4, 2);
    kit_ok(tx->v->stream_get(tx, 6, &pos), tx->err);
    assert_int_equal(pos.pos, 5);
    kit_commit(k);
    tx = kit_begin(k);
    append(tx, 8, 1, 1);
    k->store->b->rollback(k->writer);
    tx = kit_begin(k);
    append(tx, 9, 1, 1);
    append(tx, 8, 1, 1);
    for (uint64_t stream = 5; stream < 10; stream++) {
        kit_ok(tx->v->stream_get(tx, stream, &pos), tx->err);
        assert_int_equal(pos.pos, stream < 6 ? 3 : stream < 7 ? 5 : stream < 8 ? 3 : 1);
    }
    kit_commit(k);
    assert_int_equal(kit_raw(kit_path(k, "memory.db"), "SELECT count(DISTINCT at >> 40) FROM repl_log"), 5);
}

static const struct CMUnitTest tests[] = {
    KIT_TEST(a_file_of_format_1_is_upgraded),      KIT_TEST(a_killed_upgrade_begins_again),
    KIT_TEST(no_upgrade_beside_a_server),          KIT_TEST(numbers_are_given_free_and_taken_again),
    KIT_TEST(a_number_is_not_remembered_too_long),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
