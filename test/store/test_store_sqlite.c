/* The SQLite backend alone: full disks, other processes, its connections, its words. */
#include "store_kit.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "repl/hlc.h"
#include "store/sqlite/sq.h"

/* The limit on file sizes plays the full disk. */
static void a_full_disk_is_survived(void **state)
{
    struct kit *k = *state;
    struct rlimit before, small;
    char *text = arena_alloc(&k->arena, 60001);
    int i = 0, rc = 0;
    struct store_tx *tx;
    memset(text, 'x', 60000);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){ 2u << 20, before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (; i < 100 && rc == 0; i++) {
        char id[16];
        snprintf(id, sizeof id, "r%d", i);
        struct row r = kit_row(&k->arena, id, "ns", id, text, kit_ver(i));
        kit_ok(k->store->b->begin(k->writer, &tx, &k->err), &k->err);
        rc = tx->v->savepoint(tx, &k->err);
        if (rc == 0) rc = tx->v->put(tx, &r, NULL);
        if (rc == 0) rc = tx->v->savepoint_end(tx, true, &k->err);
        if (rc == 0)
            rc = k->store->b->commit(k->writer, true, &k->err);
        else
            k->store->b->rollback(k->writer);
    }
    setrlimit(RLIMIT_FSIZE, &before);
    if (rc != E_DISK_FULL) print_error("%s %s\n", k->err.msg, tx->err->msg);
    assert_int_equal(rc, E_DISK_FULL);
    assert_true(i > 5 && i < 100);
    int64_t n;
    tx = kit_read(k);
    kit_ok(tx->v->count(tx, &(struct filter){ 0 }, &n), tx->err);
    assert_int_equal(n, i - 1); /* all that was told to be there, and no more */
    kit_read_end(k);
    struct row r = kit_row(&k->arena, "after", "ns", "after", text, kit_ver(i));
    kit_put(k, &r, NULL); /* room again: it goes on without a restart */
    kit_reopen(k);
    tx = kit_read(k);
    kit_ok(tx->v->count(tx, &(struct filter){ 0 }, &n), tx->err);
    assert_int_equal(n, i);
    kit_read_end(k);
}

static long write_calls(void)
{
    char line[64];
    long n = -1;
    FILE *f = fopen("/proc/self/io", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, "syscw: ", 7) == 0) n = strtol(line + 7, NULL, 10);
    }
    fclose(f);
    assert_true(n >= 0);
    return n;
}

/* A hundred pages and more: some calls, not two a page; and all is there for others. */
static void a_commit_is_written_in_large_pieces(void **state)
{
    struct kit *k = *state;
    struct store_tx *tx = kit_begin(k);
    char *text = arena_alloc(&k->arena, 20001);
    int64_t n;
    memset(text, 'x', 20000);
    for (int i = 0; i < 30; i++) {
        char id[16];
        snprintf(id, sizeof id, "r%d", i);
        struct row r = kit_row(&k->arena, id, "ns", id, text, kit_ver(i));
        kit_ok(tx->v->put(tx, &r, NULL), tx->err);
    }
    long before = write_calls();
    kit_commit(k);
    assert_in_range(write_calls() - before, 1, 20);
    tx = kit_read(k);
    kit_ok(tx->v->count(tx, &(struct filter){ 0 }, &n), tx->err);
    assert_int_equal(n, 30);
    kit_read_end(k);
    assert_int_equal(kit_raw(kit_path(k, "memory.db"), "SELECT count(*) FROM memories WHERE length(content) = 20000"),
                     30);
    assert_int_equal(kit_raw(kit_path(k, "memory.db"), "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
}

/* ---- other processes */
static void one_server_per_file(void **state)
{
    struct kit *k = *state;
    struct store *s;
    struct err err;
    char *path = kit_path(k, "memory.db");
    assert_int_equal(sqlite_store_open(path, &(struct sqlite_options){ .serving = true }, &s, &err), E_LOCKED);
    assert_non_null(strstr(err.msg, "another server"));
    struct other o;
    other_open(&o, path, false); /* a command may come beside it */
    kit_ok(sqlite_life_hold(o.store, 77, &err), &err);
    assert_true(sqlite_life_held(k->store, 77));
    assert_int_equal(sqlite_life_hold(k->store, 77, &err), E_LOCKED);
    assert_false(sqlite_life_held(k->store, 78));
    other_close(&o);
    assert_false(sqlite_life_held(k->store, 77));
}

/* Adds one to a number of the file, `times` transactions. */
static int count_up(const char *path, int times)
{
    struct store *s;
    struct store_conn *c;
    struct store_tx *tx;
    struct err err;
    struct arena a;
    arena_init(&a, 1u << 20);
    int rc = sqlite_store_open(path, &(struct sqlite_options){ .busy_ms = 10000 }, &s, &err);
    if (rc == 0) rc = s->b->conn_open(s, true, &c, &err);
    for (int i = 0; i < times && rc == 0; i++) {
        struct local_value v;
        int64_t n = 0;
        rc = s->b->begin(c, &tx, &err);
        if (rc != 0) break;
        if (tx->v->local_get(tx, "n", &a, &v) == 0) memcpy(&n, v.data, sizeof n);
        n++;
        rc = tx->v->local_put(tx, "n", &n, sizeof n);
        if (rc == 0) rc = s->b->commit(c, i % 8 == 0, &err);
        arena_release(&a);
    }
    if (rc != 0) fprintf(stderr, "%s\n", err.msg);
    s->b->conn_close(c);
    s->b->close(s);
    return rc;
}

static void processes_write_in_turn(void **state)
{
    struct kit *k = *state;
    char *path = kit_path(k, "memory.db");
    pid_t pid[3];
    for (int i = 0; i < 3; i++) {
        pid[i] = fork();
        if (pid[i] == 0) _exit(count_up(path, 200) ? 1 : 0);
    }
    for (int i = 0; i < 200; i++) { /* the server in between */
        struct store_tx *tx = kit_begin(k);
        kit_ok(tx->v->local_put(tx, "server", &i, sizeof i), tx->err);
        kit_commit(k);
    }
    for (int i = 0; i < 3; i++) {
        int status;
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_int_equal(status, 0);
    }
    struct local_value v;
    int64_t n;
    struct store_tx *tx = kit_read(k);
    kit_ok(tx->v->local_get(tx, "n", &k->arena, &v), tx->err);
    memcpy(&n, v.data, sizeof n);
    assert_int_equal(n, 600);
    kit_read_end(k);
}

static void a_writer_that_dies_leaves_nothing_behind(void **state)
{
    struct kit *k = *state;
    char *path = kit_path(k, "memory.db");
    struct row r = kit_row(&k->arena, "x", "ns", "X", "half", kit_ver(1)), got;
    int pipe_fd[2], status;
    char byte;
    assert_int_equal(pipe(pipe_fd), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct other o;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        other_open(&o, path, false);
        other_begin(&o);
        if (o.tx->v->put(o.tx, &r, NULL) != 0 || write(pipe_fd[1], "x", 1) != 1) _exit(1);
        for (;;) pause();
    }
    assert_int_equal(read(pipe_fd[0], &byte, 1), 1);
    struct store_tx *tx;
    struct other o = { 0 };
    kit_ok(sqlite_store_open(path, &(struct sqlite_options){ .busy_ms = 30 }, &o.store, &o.err), &o.err);
    kit_ok(o.store->b->conn_open(o.store, true, &o.conn, &o.err), &o.err);
    assert_int_equal(o.store->b->begin(o.conn, &tx, &o.err), E_BUSY);
    char who[100], its[20];
    snprintf(its, sizeof its, "%d (", (int)pid);
    assert_true(sqlite_writer_find(o.store, who, sizeof who));
    assert_memory_equal(who, its, strlen(its));
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_false(sqlite_writer_find(o.store, who, sizeof who));
    other_begin(&o);
    assert_int_equal(o.tx->v->get(o.tx, "x", &k->arena, &got), E_NOT_FOUND);
    kit_ok(o.tx->v->put(o.tx, &r, NULL), o.tx->err);
    other_commit(&o);
    other_close(&o);
    close(pipe_fd[0]);
    close(pipe_fd[1]);
}

/* ---- connections */
static void statements_are_prepared_once(void **state)
{
    struct kit *k = *state;
    struct row r = kit_row(&k->arena, "a", "ns", "A", "x", kit_ver(1)), got;
    kit_put(k, &r, NULL);
    sqlite3_stmt *first = NULL;
    for (int i = 0; i < 3; i++) {
        struct store_tx *tx = kit_read(k);
        kit_ok(tx->v->get(tx, "a", &k->arena, &got), tx->err);
        if (i == 0) first = k->reader->stmt[SQ_GET];
        assert_ptr_equal(k->reader->stmt[SQ_GET], first);
        kit_read_end(k);
    }
    assert_int_equal(sqlite3_stmt_status(first, SQLITE_STMTSTATUS_RUN, 0), 3);
    assert_int_equal(sqlite3_stmt_status(first, SQLITE_STMTSTATUS_FULLSCAN_STEP, 0), 0);
}

static void pages_come_from_an_index(void **state)
{
    struct kit *k = *state;
    struct rows rows;
    struct store_tx *tx = kit_begin(k);
    for (int i = 0; i < 500; i++) {
        char id[16];
        snprintf(id, sizeof id, "r%d", i);
        struct row r = kit_row(&k->arena, id, i % 2 ? "odd" : "even", id, "x", kit_ver(i));
        kit_ok(tx->v->put(tx, &r, NULL), tx->err);
    }
    kit_commit(k);
    const struct {
        const char *ns;
        enum sq_stmt which;
    } table[] = { { NULL, SQ_LIST }, { "odd", SQ_LIST_NS } };
    struct cursor far = { 5, kit_ver(20), "r20" };
    tx = kit_read(k);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct list_query q = { .f = { .ns = table[i].ns }, .limit = 5, .after = &far };
        kit_ok(tx->v->list(tx, &q, &k->arena, &rows), tx->err);
        assert_int_equal(rows.count, 5);
        sqlite3_stmt *s = k->reader->stmt[table[i].which];
        assert_int_equal(sqlite3_stmt_status(s, SQLITE_STMTSTATUS_FULLSCAN_STEP, 0), 0);
        assert_true(sqlite3_stmt_status(s, SQLITE_STMTSTATUS_VM_STEP, 0) < 3000); /* not the 480 rows before */
    }
    kit_read_end(k);
}

static void late_and_unwanted_reads_stop(void **state)
{
    struct kit *k = *state;
    const struct store_backend *b = k->store->b;
    struct store_tx *tx = kit_begin(k);
    atomic_bool stop;
    int64_t n;
    const struct filter f = { .now_us = 1, .tier_word = "mid" }; /* looks at each row */
    for (int i = 0; i < 2000; i++) {
        char id[16];
        snprintf(id, sizeof id, "r%d", i);
        struct row r = kit_row(&k->arena, id, "ns", id, "x", kit_ver(i));
        kit_ok(tx->v->put(tx, &r, NULL), tx->err);
    }
    kit_commit(k);
    atomic_init(&stop, false);
    b->stop_flag(k->reader, &stop, clock_mono_ms() + 60000);
    tx = kit_read(k);
    kit_ok(tx->v->count(tx, &f, &n), tx->err);
    atomic_store(&stop, true);
    assert_int_equal(tx->v->count(tx, &f, &n), E_CANCELLED);
    kit_read_end(k);
    b->stop_flag(k->reader, NULL, 1);
    tx = kit_read(k);
    assert_int_equal(tx->v->count(tx, &f, &n), E_TIMEOUT);
    kit_read_end(k);
    b->stop_flag(k->reader, NULL, 0);
    tx = kit_read(k);
    kit_ok(tx->v->count(tx, &f, &n), tx->err);
    assert_int_equal(n, 2000);
    kit_read_end(k);
}

static int steps(struct kit *k, enum sq_stmt which)
{
    return sqlite3_stmt_status(k->reader->stmt[which], SQLITE_STMTSTATUS_VM_STEP, 1);
}

/* What happens with every request must not cost more when there are more rows. */
static void few_rows_are_looked_at(void **state)
{
    struct kit *k = *state;
    struct store_tx *tx = kit_begin(k);
    struct side_row *side;
    struct rows rows;
    size_t count;
    int64_t n;
    for (int i = 0; i < 1000; i++) {
        char id[16];
        snprintf(id, sizeof id, "r%03d", i);
        struct row r = kit_row(&k->arena, id, "ns", id, "x", kit_ver(i));
        r.m.expires_at = i < 3 ? "2020-01-01T00:00:00+00:00" : "2040-01-01T00:00:00+00:00";
        kit_ok(tx->v->put(tx, &r, NULL), tx->err);
        struct side_row one = { .kind = SIDE_TOUCH, .id = id, .body = "", .body_len = 0 };
        kit_ok(tx->v->side_put(tx, &one), tx->err);
    }
    kit_commit(k);
    tx = kit_read(k);
    kit_ok(tx->v->side_scan(tx, SIDE_TOUCH, "r99", NULL, 64, &k->arena, &side, &count), tx->err);
    assert_int_equal(count, 10);
    kit_ok(tx->v->side_scan(tx, SIDE_TOUCH, "r99", "r998", 64, &k->arena, &side, &count), tx->err);
    assert_int_equal(count, 1);
    assert_in_range(steps(k, SQ_SIDE_SCAN_PREFIX), 1, 500);
    kit_ok(tx->v->expired(tx, KIT_T0, NULL, 64, &k->arena, &rows), tx->err);
    assert_int_equal(rows.count, 3);
    assert_in_range(steps(k, SQ_EXPIRED), 1, 500);
    kit_ok(tx->v->count(tx, &(struct filter){ .now_us = KIT_T0 }, &n), tx->err);
    assert_int_equal(n, 997);
    assert_in_range(steps(k, SQ_COUNT_ALL) + steps(k, SQ_COUNT_EXPIRED), 1, 500);
    kit_read_end(k);
}

/* Somebody wrote a tier of his own: it is told by its name and treated as mid. */
static void a_tier_nobody_knows(void **state)
{
    struct kit *k = *state;
    struct store_tx *tx = kit_begin(k);
    struct store_stats stats;
    const enum tier mid = TIER_MID;
    int64_t n;
    for (int i = 0; i < 5; i++) {
        struct row r = kit_row(&k->arena, arena_printf(&k->arena, "r%d", i), "ns", "t", "x", kit_ver(i));
        r.m.title = r.m.id;
        r.m.tier = i < 3 ? TIER_MID : TIER_LONG;
        kit_ok(tx->v->put(tx, &r, NULL), tx->err);
    }
    kit_commit(k);
    assert_int_equal(sqlite3_exec(k->writer->db, "UPDATE memories SET tier = 'dear' WHERE id = 'r4'", 0, 0, 0), 0);
    tx = kit_read(k);
    kit_ok(tx->v->stats(tx, KIT_T0, &k->arena, &stats), tx->err);
    assert_int_equal(stats.total, 5);
    assert_int_equal(stats.by_tier.count, 3);
    assert_string_equal(stats.by_tier.item[0].name, "mid");
    assert_int_equal(stats.by_tier.item[0].count, 3);
    assert_string_equal(stats.by_tier.item[1].name, "dear");
    assert_string_equal(stats.by_tier.item[2].name, "long");
    kit_ok(tx->v->count(tx, &(struct filter){ .tier = &mid }, &n), tx->err);
    assert_int_equal(n, 4);
    kit_read_end(k);
}

/* However an expiry is written, the index and a look at each row agree. */
static void times_to_expire(void **state)
{
    static const char *const text[] = {
        NULL,
        "2026-01-01T00:00:00+00:00",
        "2026-01-01T00:00:00.000001Z",
        "2026-01-01T00:00:00.999999999+00:00",
        "2026-01-01T05:30:00+05:30",
        "2025-12-31T14:00:01-10:00",
        "2026-01-01t00:00:02z",
        "2025-12-31T23:59:60Z",
        "2026-01-01 00:00:03Z",
        "1969-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "never",
        "",
        "12",
    };
    struct kit *k = *state;
    struct store_tx *tx = kit_begin(k);
    int64_t t0, fast, slow;
    assert_int_equal(time_parse(text[1], strlen(text[1]), &t0), 0);
    for (size_t i = 0; i < ARRAY_LEN(text); i++) {
        struct row r =
            kit_row(&k->arena, arena_printf(&k->arena, "r%zu", i), i % 2 ? "odd" : "even", "t", "x", kit_ver(9));
        r.m.title = r.m.id;
        r.m.expires_at = text[i];
        r.m.tier = i % 4 == 3 ? TIER_LONG : TIER_MID;
        r.m.priority = (int)(4 + i % 5);
        kit_ok(tx->v->put(tx, &r, NULL), tx->err);
    }
    kit_commit(k);
    tx = kit_read(k);
    for (int64_t now = t0 - 4000000; now < t0 + 5000000; now += 499999) {
        struct counts by_ns;
        struct rows gone, listed;
        int64_t total = 0;
        for (int i = 0; i < 27; i++) {
            const enum tier tier = i / 3 % 3 == 1 ? TIER_MID : TIER_LONG;
            const int64_t ever = INT64_MIN;
            const int least = i / 9 == 1 ? 5 : 8;
            struct filter f = { .ns = i % 3 == 0 ? NULL : i % 3 == 1 ? "odd" : "even", .now_us = now };
            if (i / 3 % 3 > 0) f.tier = &tier;
            if (i / 9 > 0) f.min_priority = &least;
            kit_ok(tx->v->count(tx, &f, &fast), tx->err);
            f.since_us = &ever; /* looks at each row */
            kit_ok(tx->v->count(tx, &f, &slow), tx->err);
            assert_int_equal(fast, slow);
            if (i == 0) total = fast;
            f.since_us = NULL;
            struct list_query q = { .f = f, .limit = 100 };
            kit_ok(tx->v->list(tx, &q, &k->arena, &listed), tx->err);
            assert_int_equal(listed.count, fast);
        }
        kit_ok(tx->v->namespaces(tx, now, &k->arena, &by_ns), tx->err);
        assert_int_equal(by_ns.count, 2);
        assert_int_equal(by_ns.item[0].count + by_ns.item[1].count, total);
        assert_true(by_ns.item[0].count >= by_ns.item[1].count);
        kit_ok(tx->v->expired(tx, now, NULL, 100, &k->arena, &gone), tx->err);
        assert_int_equal(gone.count, (int64_t)ARRAY_LEN(text) - total);
    }
    kit_read_end(k);
}

static void upkeep_empties_the_log(void **state)
{
    struct kit *k = *state;
    char *text = arena_alloc(&k->arena, 50001), *wal = kit_path(k, "memory.db-wal");
    struct stat st;
    off_t biggest = 0;
    memset(text, 'y', 50000);
    for (int i = 0; i < 900; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        struct store_tx *tx = kit_begin(k);
        kit_ok(tx->v->local_put(tx, key, text, 50000), tx->err);
        kit_ok(k->store->b->commit(k->writer, false, &k->err), &k->err);
        kit_ok(k->store->b->upkeep(k->writer, false, false, &k->err), &k->err);
        assert_int_equal(stat(wal, &st), 0);
        if (st.st_size > biggest) biggest = st.st_size;
    }
    assert_true(biggest > 31 << 20); /* 45 MB went through a log of 32 */
    assert_true(biggest < 40 << 20);
    kit_ok(k->store->b->upkeep(k->writer, false, true, &k->err), &k->err);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(st.st_size, 0);
}

/* The writer's cache is large while transactions need it, and until it rests, or had many small ones. */
static void a_large_transaction_finds_room(void **state)
{
    struct kit *k = *state;
    static char text[20001];
    memset(text, 'x', sizeof text - 1);
    for (int round = 0; round < 2; round++) {
        assert_false(k->writer->wide);
        struct store_tx *tx = kit_begin(k);
        for (int i = 0; i < 600; i++) {
            char id[32];
            snprintf(id, sizeof id, "large%d-%d", round, i);
            struct row r = kit_row(&k->arena, id, "n", id, text, kit_ver(1));
            kit_ok(tx->v->put(tx, &r, NULL), tx->err);
        }
        kit_commit(k);
        assert_true(k->writer->wide);
        for (int i = 0; i < 300 && round == 1; i++) {
            char id[32];
            snprintf(id, sizeof id, "small%d", i);
            struct row r = kit_row(&k->arena, id, "n", id, "x", kit_ver(1));
            kit_put(k, &r, NULL);
        }
        if (round == 0) kit_ok(k->store->b->upkeep(k->writer, true, false, &k->err), &k->err);
        assert_false(k->writer->wide);
    }
}

static void the_index_stays_whole(void **state)
{
    struct kit *k = *state;
    unsigned seed = 3;
    const char *const words[] = { "salt", "water", "gate", "日本語", "größe", "ops-1", "x" };
    for (int round = 0; round < 40; round++) {
        struct store_tx *tx = kit_begin(k);
        for (int i = 0; i < 20; i++) {
            char id[16], text[200] = "";
            struct row got;
            snprintf(id, sizeof id, "r%d", rand_r(&seed) % 60);
            for (int w = 0; w < 5; w++) {
                strcat(text, words[(size_t)rand_r(&seed) % ARRAY_LEN(words)]);
                strcat(text, " ");
            }
            struct row next = kit_row(&k->arena, id, rand_r(&seed) % 2 ? "a" : "b", id, text, kit_ver(round));
            bool there = tx->v->get(tx, id, &k->arena, &got) == 0;
            kit_ok(tx->v->savepoint(tx, &k->err), &k->err);
            if (there && rand_r(&seed) % 4 == 0)
                kit_ok(tx->v->remove(tx, &got), tx->err);
            else
                kit_ok(tx->v->put(tx, &next, there ? &got : NULL), tx->err);
            kit_ok(tx->v->savepoint_end(tx, rand_r(&seed) % 5 != 0, &k->err), &k->err);
        }
        if (round % 7 == 0)
            k->store->b->rollback(k->writer);
        else
            kit_commit(k);
        if (round % 3 == 0) kit_ok(k->store->b->upkeep(k->writer, true, false, &k->err), &k->err);
    }
    int64_t count[2][ARRAY_LEN(words)], totals[2][3];
    for (int pass = 0; pass < 2; pass++) {
        struct store_tx *tx = kit_read(k);
        for (size_t w = 0; w < ARRAY_LEN(words); w++)
            count[pass][w] = kit_df(tx, strcmp(words[w], "日本語") ? words[w] : "日本");
        kit_ok(tx->v->words_stat(tx, &totals[pass][0], &totals[pass][1], &totals[pass][2]), tx->err);
        kit_read_end(k);
        kit_ok(sqlite_rebuild_words(k->writer, &k->err), &k->err); /* built anew it says the same */
    }
    assert_memory_equal(count[0], count[1], sizeof count[0]);
    assert_memory_equal(totals[0], totals[1], sizeof totals[0]);
    assert_true(count[0][0] > 0 && totals[0][0] > 10);
}

/* ---- words */
struct words {
    char text[8][80];
    size_t count;
};

static int note_word(void *data, const char *word, size_t len, uint32_t position)
{
    struct words *w = data;
    (void)position;
    assert_true(w->count < 8 && len < 80);
    memcpy(w->text[w->count], word, len);
    w->text[w->count++][len] = 0;
    return 0;
}

static size_t put_utf8(char *p, uint32_t cp)
{
    if (cp < 0x80) return (void)(p[0] = (char)cp), 1;
    if (cp < 0x800) return (void)(p[0] = (char)(0xc0 | cp >> 6)), (void)(p[1] = (char)(0x80 | (cp & 63))), 2;
    if (cp < 0x10000) {
        p[0] = (char)(0xe0 | cp >> 12);
        p[1] = (char)(0x80 | (cp >> 6 & 63));
        p[2] = (char)(0x80 | (cp & 63));
        return 3;
    }
    p[0] = (char)(0xf0 | cp >> 18);
    p[1] = (char)(0x80 | (cp >> 12 & 63));
    p[2] = (char)(0x80 | (cp >> 6 & 63));
    p[3] = (char)(0x80 | (cp & 63));
    return 4;
}

/* The index cuts what it is fed once more: a word must come out of that as it went in. */
static void words_are_stable(void **state)
{
    (void)state;
    const struct tokenizer *t = sqlite_tokenizer();
    for (uint32_t cp = 1; cp < 0x20000; cp++) {
        char text[12] = "a";
        struct words first = { .count = 0 };
        if (cp >= 0xd800 && cp < 0xe000) continue;
        size_t n = 1 + put_utf8(text + 1, cp);
        text[n++] = 'b';
        assert_int_equal(text_words(t, text, n, note_word, &first), 0);
        for (size_t i = 0; i < first.count; i++) {
            struct words again = { .count = 0 };
            text_words(t, first.text[i], strlen(first.text[i]), note_word, &again);
            if (again.count != 1 || strcmp(again.text[0], first.text[i]) != 0)
                fail_msg("U+%04X: %s", cp, first.text[i]);
        }
    }
}

static int stop_at_second(void *data, const char *word, size_t len, size_t start, size_t end)
{
    int *n = data;
    assert_true(end - start >= 1 && len >= 1 && word != NULL);
    return ++*n == 2 ? 7 : 0;
}

static void the_tokenizer_folds_and_stops(void **state)
{
    (void)state;
    const struct tokenizer *t = sqlite_tokenizer();
    struct words w = { .count = 0 };
    const char *text = "Größe, Žižkov_ai-memory: MAIN.c \xff\xfe x";
    text_words(t, text, strlen(text), note_word, &w);
    const char *const expect[] = { "große", "zizkov", "ai", "memory", "main", "c" };
    for (size_t i = 0; i < ARRAY_LEN(expect); i++) assert_string_equal(w.text[i], expect[i]);
    int n = 0;
    assert_int_equal(t->each(t, "one two three", 13, stop_at_second, &n), 7);
    assert_int_equal(n, 2);
}

static int note_raw(void *data, const char *word, size_t len, size_t start, size_t end)
{
    struct buf *b = data;
    assert_true(end > start);
    if (b->len > 0) buf_putc(b, ' ');
    buf_put(b, word, len < WORD_BYTES_MAX ? len : WORD_BYTES_MAX);
    return 0;
}

/* Text of ASCII signs takes a way of its own: the words are those of unicode61. */
static void ascii_is_no_exception(void **state)
{
    (void)state;
    const struct tokenizer *t = sqlite_tokenizer();
    uint64_t random = 88172645463325252u;
    struct buf raw, plain;
    buf_init(&raw, 1 << 16);
    buf_init(&plain, 1 << 16);
    for (int round = 0; round < 4000; round++) {
        char text[420];
        size_t n = 1 + (size_t)(random >> 32) % (round % 10 == 0 ? 400 : 60);
        for (size_t i = 0; i < n; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            static const char letter[] = "_-abcdefghzABCDEFGHZ0189"; /* in some rounds words of any length */
            bool any = round % 5 != 0 && random % 4 == 0;
            size_t least = round % 20 == 0 ? 2 : 0;
            text[i] = any ? (char)(random >> 12 & 127) : letter[least + (random >> 8) % (sizeof letter - 1 - least)];
        }
        buf_clear(&raw);
        buf_clear(&plain);
        assert_int_equal(t->each(t, text, n, note_raw, &raw), 0);
        text_words_line(t, text, n, &plain);
        assert_string_equal(buf_str(&plain), buf_str(&raw));
    }
    buf_release(&raw);
    buf_release(&plain);
}

static void *tokenise_much(void *data)
{
    const struct tokenizer *t = sqlite_tokenizer();
    for (int i = 0; i < 3000; i++) {
        struct words w = { .count = 0 };
        text_words(t, "ÄPFEL und Öl", strlen("ÄPFEL und Öl"), note_word, &w);
        if (w.count != 3 || strcmp(w.text[0], "apfel") != 0 || strcmp(w.text[2], "ol") != 0) *(int *)data = 1;
    }
    return NULL;
}

static void threads_share_the_tokenizer(void **state)
{
    (void)state;
    pthread_t thread[20];
    int bad[20] = { 0 };
    for (int i = 0; i < 20; i++) assert_int_equal(pthread_create(&thread[i], NULL, tokenise_much, &bad[i]), 0);
    for (int i = 0; i < 20; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(bad[i], 0);
    }
}

/* ---- titles */
static void expect_title(struct kit *k, const char *title, const char *id)
{
    struct row got;
    struct store_tx *tx = kit_read(k);
    int rc = tx->v->by_title(tx, title, "ns", &k->arena, &got);
    kit_read_end(k);
    assert_int_equal(rc, id ? 0 : E_NOT_FOUND);
    if (id) assert_string_equal(got.m.id, id);
}

static void fill(struct kit *k, int rows)
{
    struct store_tx *tx = kit_begin(k);
    for (int i = 0; i < rows; i++) {
        char id[16];
        snprintf(id, sizeof id, "r%d", i);
        struct row r = kit_row(&k->arena, id, "ns", id, "x", kit_ver(i));
        kit_ok(tx->v->put(tx, &r, NULL), tx->err);
    }
    kit_commit(k);
}

static void titles_are_found_by_ids(void **state)
{
    enum { ROWS = 300 };
    struct kit *k = *state;
    char titled[UUID_TEXT] = "01234567-89ab-4000-8000-000000000001";
    text_title_id(titled, "The title", "ns");
    titled[TITLE_ID_BYTES - 1] = '-';
    struct row mine = kit_row(&k->arena, titled, "ns", "The title", "x", kit_ver(1)),
               other = kit_row(&k->arena, "other", "ns", "Another", "x", kit_ver(2)), moved = mine;
    char *path = kit_path(k, "memory.db");
    const char indexed[] = "SELECT count(*) FROM memories WHERE titled = 0";
    fill(k, ROWS);
    kit_put(k, &mine, NULL);
    kit_put(k, &other, NULL);
    assert_int_equal(kit_raw(path, indexed), ROWS + 1); /* all but the one whose id tells */
    expect_title(k, "The title", titled);
    expect_title(k, "Another", "other");
    expect_title(k, "Neither", NULL);
    sqlite3_stmt *s = k->reader->stmt[SQ_BY_TITLE];
    assert_int_equal(sqlite3_stmt_status(s, SQLITE_STMTSTATUS_FULLSCAN_STEP, 0), 0);
    assert_true(sqlite3_stmt_status(s, SQLITE_STMTSTATUS_VM_STEP, 0) < ROWS); /* of three looks */
    moved.m.title = "Renamed";
    moved.stamp.ver = kit_ver(3);
    struct store_tx *tx = kit_read(k);
    kit_ok(tx->v->get(tx, titled, &k->arena, &mine), tx->err);
    kit_read_end(k);
    kit_put(k, &moved, &mine);
    assert_int_equal(kit_raw(path, indexed), ROWS + 2);
    expect_title(k, "Renamed", titled);
    expect_title(k, "The title", NULL);
    /* the original's program gives it its title back and the other one another; we find them once we saw its traces */
    kit_raw(path, "UPDATE memories SET title = 'The title' WHERE title = 'Renamed';"
                  "UPDATE memories SET title = 'Renamed' WHERE title = 'Another';"
                  "CREATE UNIQUE INDEX idx_memories_title_ns ON memories(title, namespace);"
                  "CREATE VIRTUAL TABLE memories_fts USING fts5(title, content, tags);");
    (void)kit_begin(k);
    kit_commit(k);
    assert_int_equal(kit_raw(path, indexed), ROWS + 1);
    assert_int_equal(kit_raw(path, "SELECT count(*) FROM sqlite_master WHERE name = 'idx_memories_title_ns'"), 0);
    expect_title(k, "The title", titled);
    expect_title(k, "Renamed", "other");
}

/* A process that committed may still wait for its own sync, or die before it: what we tell of it later is durable. */
static void commits_of_others_are_synced_with_ours(void **state)
{
    struct kit *k = *state;
    struct store_conn *other;
    struct store_tx *tx;
    (void)kit_begin(k);
    kit_commit(k);
    assert_false(k->writer->unsynced);
    kit_ok(k->store->b->conn_open(k->store, true, &other, &k->err), &k->err);
    kit_ok(k->store->b->begin(other, &tx, &k->err), &k->err);
    kit_ok(tx->v->local_put(tx, "theirs", "x", 1), tx->err);
    kit_ok(k->store->b->commit(other, false, &k->err), &k->err);
    (void)kit_begin(k); /* and nothing of our own */
    kit_ok(k->store->b->commit(k->writer, false, &k->err), &k->err);
    assert_true(k->writer->unsynced);
    kit_ok(k->store->b->sync(k->writer, &k->err), &k->err);
    assert_false(k->writer->unsynced);
    k->store->b->conn_close(other);
}

static const struct CMUnitTest tests[] = {
    KIT_TEST(a_full_disk_is_survived),
    KIT_TEST(titles_are_found_by_ids),
    KIT_TEST(a_commit_is_written_in_large_pieces),
    KIT_TEST(one_server_per_file),
    KIT_TEST(commits_of_others_are_synced_with_ours),
    KIT_TEST(processes_write_in_turn),
    KIT_TEST(a_writer_that_dies_leaves_nothing_behind),
    KIT_TEST(statements_are_prepared_once),
    KIT_TEST(pages_come_from_an_index),
    KIT_TEST(late_and_unwanted_reads_stop),
    KIT_TEST(few_rows_are_looked_at),
    KIT_TEST(a_tier_nobody_knows),
    KIT_TEST(times_to_expire),
    KIT_TEST(upkeep_empties_the_log),
    KIT_TEST(the_index_stays_whole),
    KIT_TEST(a_large_transaction_finds_room),
    KIT_TEST(words_are_stable),
    KIT_TEST(the_tokenizer_folds_and_stops),
    KIT_TEST(ascii_is_no_exception),
    KIT_TEST(threads_share_the_tokenizer),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
