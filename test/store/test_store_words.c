/* What is found does not depend on where a row's words are: in the index, or in the tail that is not in it yet. A model
 * of the rows says what each query must find, and in which order. */
#include "store_kit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "store/sqlite/words.h"

#define ROWS 900

/* ---- the model */
static const char *const vocabulary[] = { "salt", "Water,", "gate", "gateway", "größe", "ops-1", "日本語", "Ärger" };
enum { SALT = 1, WATER = 2, GATE = 4, GATEWAY = 8, GROSS = 16, OPS1 = 32, NIHON = 64, ANGER = 128 };
static const int word_count[] = { 1, 1, 1, 1, 1, 2, 2, 1 };
static const char *const spaces[] = { "a", "a/b", "c" };

struct model_row {
    bool there;
    int64_t rowid;
    unsigned words;
    int ns;
};
struct model {
    struct model_row row[ROWS];
};

struct term {
    const char *word;
    unsigned any; /* of these */
    bool prefix;
};
static const struct question {
    struct term term[3];
    unsigned ns; /* 0: all */
} questions[] = {
    { { { "salt", SALT, false } }, 0 },
    { { { "salt", SALT, false }, { "water", WATER, false } }, 0 },
    { { { "salt", SALT, false } }, 1 | 2 },
    { { { "water", WATER, false }, { "gate", GATE | GATEWAY, true } }, 4 },
    { { { "gate", GATE, false } }, 0 },
    { { { "gate", GATE | GATEWAY, true } }, 0 },
    { { { "日本", NIHON, false }, { "本語", NIHON, false } }, 0 },
    { { { "日", 0, false } }, 0 },
    { { { "日", NIHON, true } }, 0 },
    { { { "große", GROSS, false } }, 0 },
    { { { "größe", GROSS, false } }, 0 }, /* the index folds what it is asked for */
    { { { "arger", ANGER, false } }, 0 },
    { { { "ops", OPS1, false }, { "1", OPS1, false } }, 0 },
    { { { "ops-1", 0, false } }, 0 }, /* a phrase is in no row */
    { { { "salt", SALT, false }, { "ops-1", 0, false } }, 0 },
    { { { "***", 0, false }, { "salt", SALT, false } }, 0 }, /* no word at all */
    { { { "a\"b", 0, false } }, 0 },
    { { { "nowhere", 0, false } }, 0 },
    { { { NULL, 0, false } }, 1 }, /* all of a namespace */
    { { { NULL, 0, false } }, 0 },
};

static bool fits(const struct question *q, const struct model_row *r)
{
    if (!r->there || (q->ns && !(q->ns >> r->ns & 1))) return false;
    for (size_t i = 0; i < 3 && q->term[i].word; i++)
        if (!(r->words & q->term[i].any)) return false;
    return q->ns || q->term[0].word;
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (y > x) - (y < x);
}

static size_t expected(const struct model *m, const struct question *q, int64_t *ids)
{
    size_t n = 0;
    for (int i = 0; i < ROWS; i++)
        if (fits(q, &m->row[i])) ids[n++] = m->row[i].rowid;
    qsort(ids, n, sizeof *ids, newest_first);
    return n;
}

struct list {
    int64_t id[ROWS + 1];
    size_t count, stop_at;
};

static int collect(void *data, int64_t rowid)
{
    struct list *l = data;
    assert_true(l->count < ROWS);
    l->id[l->count++] = rowid;
    return l->count == l->stop_at;
}

static void ask(struct store_tx *tx, const struct question *q, int64_t limit, struct list *l)
{
    const char *words[4] = { NULL }, *ns[4] = { NULL };
    bool prefix = false;
    for (size_t i = 0; i < 3 && q->term[i].word; i++) {
        words[i] = q->term[i].word;
        prefix = q->term[i].prefix;
    }
    for (size_t i = 0, n = 0; i < 3; i++)
        if (q->ns >> i & 1) ns[n++] = spaces[i];
    l->count = 0;
    kit_ok(tx->v->words_scan(tx, words, q->ns ? ns : NULL, prefix, limit, collect, l), tx->err);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void check_question(struct store_tx *tx, const struct model *m, const struct question *q)
{
    static const int64_t limits[] = { 0, 1, 7, 300 };
    static struct list l;
    int64_t want[ROWS], df, last;
    size_t n = expected(m, q, want);
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        l.stop_at = 0;
        ask(tx, q, limits[i], &l);
        assert_int_equal(l.count, limits[i] ? least(n, (size_t)limits[i]) : n);
        assert_memory_equal(l.id, want, l.count * sizeof *want);
    }
    l.stop_at = 3; /* the one who asks has enough */
    ask(tx, q, 0, &l);
    assert_int_equal(l.count, least(n, 3));
    if (q->ns || q->term[0].word == NULL || q->term[1].word) return;
    kit_ok(tx->v->words_df(tx, q->term[0].word, q->term[0].prefix, 50, &df, &last), tx->err);
    assert_int_equal(df, least(n, 50));
    assert_int_equal(last, n ? want[least(n, 50) - 1] : 0);
}

static void check(struct store_tx *tx, const struct model *m)
{
    int64_t rows = 0, words = 0, got_rows, got_words, top;
    for (size_t i = 0; i < ARRAY_LEN(questions); i++) check_question(tx, m, &questions[i]);
    for (int i = 0; i < ROWS; i++) {
        if (!m->row[i].there) continue;
        rows++;
        words++; /* the title */
        for (size_t w = 0; w < ARRAY_LEN(vocabulary); w++) words += m->row[i].words >> w & 1 ? word_count[w] : 0;
    }
    kit_ok(tx->v->words_stat(tx, &got_rows, &got_words, &top), tx->err);
    assert_int_equal(got_rows, rows);
    assert_int_equal(got_words, words);
}

static void check_read(struct kit *k, const struct model *m)
{
    check(kit_read(k), m);
    kit_read_end(k);
}

/* ---- rows */
static void put(struct kit *k, struct store_tx *tx, struct model *m, int i, unsigned words)
{
    char id[16], text[200] = "";
    struct row got;
    struct model_row *r = &m->row[i];
    snprintf(id, sizeof id, "row%d", i);
    for (size_t w = 0; w < ARRAY_LEN(vocabulary); w++) {
        if (words >> w & 1) strcat(strcat(text, vocabulary[w]), " ");
    }
    r->ns = i % 3;
    r->words = words;
    struct row next = kit_row(&k->arena, id, spaces[r->ns], id, text, kit_ver(1));
    if (r->there) kit_ok(tx->v->get(tx, id, &k->arena, &got), tx->err);
    kit_ok(tx->v->put(tx, &next, r->there ? &got : NULL), tx->err);
    kit_ok(tx->v->get(tx, id, &k->arena, &got), tx->err);
    if (r->there) assert_int_equal(got.rowid, r->rowid);
    r->rowid = got.rowid;
    r->there = true;
}

static void drop(struct kit *k, struct store_tx *tx, struct model *m, int i)
{
    char id[16];
    struct row got;
    snprintf(id, sizeof id, "row%d", i);
    kit_ok(tx->v->get(tx, id, &k->arena, &got), tx->err);
    kit_ok(tx->v->remove(tx, &got), tx->err);
    m->row[i].there = false;
}

static void put_many(struct kit *k, struct model *m, int from, int to)
{
    struct store_tx *tx = kit_begin(k);
    for (int i = from; i < to; i++) put(k, tx, m, i, (unsigned)(i * 37 % 255 + 1));
    kit_commit(k);
}

static void rest(struct kit *k)
{
    kit_ok(k->store->b->upkeep(k->writer, true, false, &k->err), &k->err);
}

static int64_t tail_rows(struct kit *k)
{
    return kit_raw(kit_path(k, "memory.db"),
                   "SELECT count(*) FROM memories WHERE rowid > (SELECT mark FROM recall_stat)");
}

/* ---- tests */
static void a_row_is_found_wherever_its_words_are(void **state)
{
    struct kit *k = *state;
    static struct model m;
    m = (struct model){ 0 };
    put_many(k, &m, 0, 60);
    assert_int_equal(tail_rows(k), 60);
    check_read(k, &m);
    rest(k);
    assert_int_equal(tail_rows(k), 0);
    check_read(k, &m);
    put_many(k, &m, 60, 90); /* the border lies between */
    put_many(k, &m, 90, 120);
    assert_int_equal(tail_rows(k), 60);
    check_read(k, &m);
    struct store_tx *tx = kit_begin(k);
    for (int i = 0; i < 120; i += 5) put(k, tx, &m, i, (unsigned)(i * 11 % 255));
    for (int i = 2; i < 120; i += 5) drop(k, tx, &m, i);
    check(tx, &m);
    kit_commit(k);
    assert_int_equal(tail_rows(k), 48);
    check_read(k, &m);
    kit_ok(sqlite_rebuild_words(k->writer, &k->err), &k->err);
    assert_int_equal(tail_rows(k), 0);
    check_read(k, &m);
    put_many(k, &m, 120, 130);
    kit_reopen(k); /* at rest a file has no tail */
    assert_int_equal(tail_rows(k), 0);
    check_read(k, &m);
}

/* What a connection has read of a tail, and then other rows are there. */
static void what_was_read_of_the_tail_is_not_kept_too_long(void **state)
{
    struct kit *k = *state;
    static struct model m, before;
    m = (struct model){ 0 };
    put_many(k, &m, 0, 20);
    check_read(k, &m);
    put_many(k, &m, 5, 6); /* one of them is edited */
    struct store_tx *tx = kit_begin(k);
    put(k, tx, &m, 5, NIHON | SALT);
    kit_commit(k);
    check_read(k, &m);
    tx = kit_begin(k); /* the greatest rowid is used again */
    int64_t rowid = m.row[19].rowid;
    drop(k, tx, &m, 19);
    put(k, tx, &m, 20, WATER);
    assert_int_equal(m.row[20].rowid, rowid);
    kit_commit(k);
    check_read(k, &m);
    before = m;
    tx = kit_begin(k); /* what the writer has read is undone */
    put(k, tx, &m, 21, GATE);
    check(tx, &m);
    k->store->b->rollback(k->writer);
    m = before;
    tx = kit_begin(k);
    put(k, tx, &m, 22, OPS1);
    assert_int_equal(m.row[22].rowid, rowid + 1);
    check(tx, &m);
    before = m;
    kit_ok(tx->v->savepoint(tx, &k->err), &k->err);
    put(k, tx, &m, 23, ANGER);
    check(tx, &m);
    kit_ok(tx->v->savepoint_end(tx, false, &k->err), &k->err);
    m = before;
    put(k, tx, &m, 24, SALT);
    check(tx, &m);
    kit_commit(k);
    check_read(k, &m);
    rest(k);
    tx = kit_begin(k); /* the same, with a rowid the index had */
    rowid = m.row[24].rowid;
    drop(k, tx, &m, 24);
    put(k, tx, &m, 25, GROSS);
    assert_int_equal(m.row[25].rowid, rowid);
    kit_commit(k);
    assert_int_equal(tail_rows(k), 0);
    check_read(k, &m);
}

static void no_commit_leaves_a_long_tail(void **state)
{
    struct kit *k = *state;
    static struct model m;
    struct other o;
    static char text[20001];
    m = (struct model){ 0 };
    for (int at = 0, many = 1; at + many < ROWS; at += many, many = many * 2 % 300 + 1) {
        put_many(k, &m, at, at + many);
        assert_true(tail_rows(k) < SQ_TAIL_ROWS);
        check_read(k, &m);
    }
    rest(k);
    for (size_t i = 0; i < sizeof text - 1; i++) text[i] = i % 9 ? (char)('a' + i % 7) : ' ';
    other_open(&o, kit_path(k, "memory.db"), false);
    int64_t longest = 0;
    for (int i = 0; i < 60; i++) { /* by turns: neither has seen all of the text */
        char id[16];
        snprintf(id, sizeof id, "long%d", i);
        struct row r = kit_row(&k->arena, id, "long", id, text, kit_ver(2));
        if (i % 2) {
            kit_put(k, &r, NULL);
        } else {
            other_begin(&o);
            kit_ok(o.tx->v->put(o.tx, &r, NULL), o.tx->err);
            other_commit(&o);
        }
        int64_t rows = tail_rows(k);
        if (rows > longest) longest = rows;
    }
    assert_int_equal(longest, SQ_TAIL_BYTES / 20000);
    other_close(&o);
}

/* Its rows go into the index while it goes on: those, and what becomes of them, are found like all others. */
static void one_transaction_is_longer_than_a_tail(void **state)
{
    struct kit *k = *state;
    static struct model m, before;
    m = (struct model){ 0 };
    put_many(k, &m, 0, 100);
    for (int round = 0; round < 2; round++) {
        before = m;
        struct store_tx *tx = kit_begin(k);
        for (int i = 100; i < 600; i++) put(k, tx, &m, i, (unsigned)(i * 37 % 255 + 1));
        for (int i = 0; i < 600; i += 7) put(k, tx, &m, i, (unsigned)(i * 11 % 255));
        for (int i = 3; i < 600; i += 7) drop(k, tx, &m, i);
        check(tx, &m);
        static struct model point;
        point = m;
        kit_ok(tx->v->savepoint(tx, &k->err), &k->err);
        for (int i = 600; i < 700; i++) put(k, tx, &m, i, (unsigned)(i * 37 % 255 + 1));
        for (int i = 1; i < 600; i += 7) drop(k, tx, &m, i);
        kit_ok(tx->v->savepoint_end(tx, false, &k->err), &k->err);
        m = point;
        for (int i = 600; i < ROWS; i++) put(k, tx, &m, i, (unsigned)(i * 37 % 255 + 1));
        if (round == 0) {
            k->store->b->rollback(k->writer);
            m = before;
            assert_int_equal(tail_rows(k), 100);
        } else {
            kit_commit(k);
            assert_int_equal(tail_rows(k), 0);
        }
        check_read(k, &m);
    }
}

/* Two processes at one file, by turns, on each other's rows. */
static void processes_know_of_each_others_tails(void **state)
{
    struct kit *k = *state;
    static struct model m;
    struct other o;
    m = (struct model){ 0 };
    other_open(&o, kit_path(k, "memory.db"), false);
    for (int round = 0; round < 20; round++) {
        put_many(k, &m, round * 30, round * 30 + 15);
        other_begin(&o);
        check(o.tx, &m);
        for (int i = 0; i < 15; i++) put(k, o.tx, &m, round * 30 + 15 + i, (unsigned)(i * 29 + round) & 255);
        put(k, o.tx, &m, round * 30 + 3, (unsigned)round);
        if (round > 0) drop(k, o.tx, &m, round * 30 - 2);
        other_commit(&o);
        check_read(k, &m);
        struct store_tx *tx = kit_begin(k);
        drop(k, tx, &m, round * 30 + 20); /* a row the other one put */
        put(k, tx, &m, round * 30 + 21, SALT | GATE);
        check(tx, &m);
        kit_commit(k);
    }
    rest(k);
    other_begin(&o);
    check(o.tx, &m);
    put(k, o.tx, &m, 0, WATER); /* the index has it since */
    other_commit(&o);
    assert_int_equal(tail_rows(k), 0);
    check_read(k, &m);
    other_close(&o);
}

/* Rows stay where they are when their writer is killed: as the rows are, so are their words. */
static void a_killed_writer_leaves_rows_and_words_alike(void **state)
{
    struct kit *k = *state;
    char *path = kit_path(k, "memory.db");
    for (int life = 0; life < 6; life++) {
        int pipe_fd[2], status;
        char byte;
        assert_int_equal(pipe(pipe_fd), 0);
        pid_t pid = fork();
        if (pid == 0) {
            struct other o;
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            other_open(&o, path, false);
            for (int i = 0;; i++) {
                other_begin(&o);
                for (int j = 0; j < 10; j++) {
                    char id[32];
                    snprintf(id, sizeof id, "life%d-%d-%d", life, i, j);
                    struct row r = kit_row(&k->arena, id, "a", id, "salt water", kit_ver(1));
                    if (o.tx->v->put(o.tx, &r, NULL) != 0) _exit(1);
                }
                if (i % 3 == 0) (void)kit_df(o.tx, "salt");
                if (write(pipe_fd[1], "x", 1) != 1) _exit(1);
                other_commit(&o);
            }
        }
        for (int i = 0; i < 8 + 9 * life; i++) assert_int_equal(read(pipe_fd[0], &byte, 1), 1);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        close(pipe_fd[0]);
        close(pipe_fd[1]);
        int64_t rows = kit_raw(path, "SELECT count(*) FROM memories"), df, last;
        assert_true(rows > 0 && tail_rows(k) < SQ_TAIL_ROWS);
        struct store_tx *tx = kit_read(k);
        kit_ok(tx->v->words_df(tx, "water", false, 1 << 20, &df, &last), tx->err);
        assert_int_equal(df, rows);
        kit_read_end(k);
    }
    int64_t rows = kit_raw(path, "SELECT count(*) FROM memories"), df, last;
    assert_true(tail_rows(k) > 0);
    rest(k); /* this life wrote nothing itself */
    assert_int_equal(tail_rows(k), 0);
    kit_reopen(k);
    struct store_tx *tx = kit_read(k);
    kit_ok(tx->v->words_df(tx, "water", false, 1 << 20, &df, &last), tx->err);
    assert_int_equal(df, rows);
    kit_read_end(k);
}

/* Another program left more than we ever do. */
static void a_long_tail_is_indexed_step_by_step(void **state)
{
    struct kit *k = *state;
    kit_raw(
        kit_path(k, "memory.db"),
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)"
        "INSERT INTO memories (id, tier, namespace, title, content, tags, priority, confidence, source, access_count,"
        " created_at, updated_at, metadata)"
        " SELECT 'o' || i, 'mid', 'a', 'o' || i, 'salt', '[]', 5, 1.0, 'api', 0, '2024-01-01T00:00:00Z',"
        " '2024-01-01T00:00:00Z', '{}' FROM n;");
    int64_t left = tail_rows(k);
    assert_int_equal(left, 2500);
    for (int i = 0; left > 0 && i < 9; i++) {
        rest(k);
        int64_t now = tail_rows(k);
        assert_true(now < left && left - now <= 4 * SQ_TAIL_ROWS);
        left = now;
    }
    assert_int_equal(left, 0);
}

/* A file of before there was a tail. */
static void an_index_without_a_mark_is_taken_over(void **state)
{
    struct kit *k = *state;
    static struct model m;
    m = (struct model){ 0 };
    put_many(k, &m, 0, 40);
    rest(k);
    kit_raw(kit_path(k, "memory.db"), "ALTER TABLE recall_stat DROP COLUMN mark;"
                                      "ALTER TABLE recall_stat DROP COLUMN edits;"
                                      "UPDATE recall_stat SET format = 1;");
    kit_reopen(k);
    assert_int_equal(tail_rows(k), 0);
    check_read(k, &m);
    put_many(k, &m, 30, 50);
    assert_int_equal(tail_rows(k), 10);
    check_read(k, &m);
}

/* Another program writes past the index; until the writer notices, a reader looks at a bounded part of it. */
static void a_strangers_rows_are_read_with_a_bound(void **state)
{
    struct kit *k = *state;
    static struct model m;
    int64_t df, last;
    m = (struct model){ 0 };
    put_many(k, &m, 0, 10);
    check_read(k, &m);
    kit_raw(kit_path(k, "memory.db"),
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
            " INSERT INTO memories (id, tier, namespace, title, content, tags, priority, created_at, updated_at)"
            " SELECT 'x' || i, 'mid', 'x', 'x' || i, 'stranger', '[]', 5, '2026-01-01T00:00:00+00:00',"
            " '2026-01-01T00:00:00+00:00' FROM n;");
    struct store_tx *tx = kit_read(k);
    kit_ok(tx->v->words_df(tx, "stranger", false, 1 << 20, &df, &last), tx->err);
    assert_in_range(df, 1, 2 * SQ_TAIL_ROWS);
    for (size_t i = 0; i < ARRAY_LEN(questions); i++) check_question(tx, &m, &questions[i]);
    kit_read_end(k);
    (void)kit_begin(k); /* he notices */
    kit_commit(k);
    assert_int_equal(tail_rows(k), 0);
    tx = kit_read(k);
    kit_ok(tx->v->words_df(tx, "stranger", false, 1 << 20, &df, &last), tx->err);
    assert_int_equal(df, 5000);
    kit_read_end(k);
}

static void walk_step(struct kit *k, struct store_tx *tx, struct model *m, unsigned *seed)
{
    static struct model before;
    int i = rand_r(seed) % ROWS;
    bool point = rand_r(seed) % 3 == 0;
    if (point) {
        before = *m;
        kit_ok(tx->v->savepoint(tx, &k->err), &k->err);
    }
    for (int n = rand_r(seed) % 4; n >= 0; n--, i = (i + 1) % ROWS) {
        if (m->row[i].there && rand_r(seed) % 5 == 0)
            drop(k, tx, m, i);
        else
            put(k, tx, m, i, (unsigned)rand_r(seed) & 255);
    }
    if (rand_r(seed) % 60 == 0) check(tx, m);
    if (!point) return;
    bool keep = rand_r(seed) % 3 != 0;
    kit_ok(tx->v->savepoint_end(tx, keep, &k->err), &k->err);
    if (!keep) *m = before;
}

static void any_order_of_things_is_found(void **state)
{
    struct kit *k = *state;
    static struct model m, before;
    unsigned seed = 11;
    m = (struct model){ 0 };
    for (int round = 0; round < 90; round++) {
        before = m;
        struct store_tx *tx = kit_begin(k);
        for (int n = rand_r(&seed) % (round % 10 ? 12 : 160); n >= 0; n--) walk_step(k, tx, &m, &seed);
        if (rand_r(&seed) % 6 == 0) {
            k->store->b->rollback(k->writer);
            m = before;
        } else {
            kit_commit(k);
        }
        assert_true(tail_rows(k) < SQ_TAIL_ROWS);
        check_read(k, &m);
        if (rand_r(&seed) % 12 == 0) rest(k);
        if (rand_r(&seed) % 25 == 0) kit_reopen(k);
    }
    kit_ok(sqlite_rebuild_words(k->writer, &k->err), &k->err);
    check_read(k, &m);
}

static const struct CMUnitTest tests[] = {
    KIT_TEST(a_row_is_found_wherever_its_words_are),  KIT_TEST(what_was_read_of_the_tail_is_not_kept_too_long),
    KIT_TEST(no_commit_leaves_a_long_tail),           KIT_TEST(one_transaction_is_longer_than_a_tail),
    KIT_TEST(processes_know_of_each_others_tails),    KIT_TEST(a_killed_writer_leaves_rows_and_words_alike),
    KIT_TEST(a_long_tail_is_indexed_step_by_step),    KIT_TEST(an_index_without_a_mark_is_taken_over),
    KIT_TEST(a_strangers_rows_are_read_with_a_bound), KIT_TEST(any_order_of_things_is_found),
};

int main(int argc, char **argv)
{
    return kit_run(argc, argv, tests, ARRAY_LEN(tests));
}
