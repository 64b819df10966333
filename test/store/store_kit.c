#include "store_kit.h"

#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "repl/hlc.h"

#include "memstore.h"

void kit_ok(int rc, const struct err *err)
{
    if (rc != 0) print_error("%s: %s\n", err_name(rc), err ? err->msg : "");
    assert_int_equal(rc, 0);
}

void kit_dir(char dir[64])
{
    snprintf(dir, 64, "/tmp/aim-store-XXXXXX");
    assert_non_null(mkdtemp(dir));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

void kit_remove(const char *dir)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void connect_all(struct kit *k)
{
    kit_ok(k->backend->open(k->dir, &k->store, &k->err), &k->err);
    kit_ok(k->store->b->conn_open(k->store, true, &k->writer, &k->err), &k->err);
    kit_ok(k->store->b->conn_open(k->store, false, &k->reader, &k->err), &k->err);
}

static void disconnect(struct kit *k)
{
    const struct store_backend *b = k->store->b;
    b->conn_close(k->reader);
    int rc = b->upkeep(k->writer, false, true, &k->err);
    b->conn_close(k->writer);
    b->close(k->store);
    kit_ok(rc == E_MOVED ? 0 : rc, &k->err); /* some tests take the files away */
}

void kit_open(struct kit *k, const struct kit_backend *b)
{
    *k = (struct kit){ .backend = b };
    kit_dir(k->dir);
    arena_init(&k->arena, 64u << 20);
    connect_all(k);
}

void kit_close(struct kit *k)
{
    disconnect(k);
    arena_release(&k->arena);
    kit_remove(k->dir);
}

void kit_reopen(struct kit *k)
{
    disconnect(k);
    connect_all(k);
}

struct store_tx *kit_begin(struct kit *k)
{
    kit_ok(k->store->b->begin(k->writer, &k->tx, &k->err), &k->err);
    return k->tx;
}

void kit_commit(struct kit *k)
{
    kit_ok(k->store->b->commit(k->writer, true, &k->err), &k->err);
    k->tx = NULL;
}

struct store_tx *kit_read(struct kit *k)
{
    struct store_tx *tx;
    kit_ok(k->store->b->begin(k->reader, &tx, &k->err), &k->err);
    return tx;
}

void kit_read_end(struct kit *k)
{
    k->store->b->rollback(k->reader);
}

uint64_t kit_ver(int64_t seconds)
{
    return hlc_of_us(KIT_T0 + seconds * 1000000);
}

struct row kit_row(struct arena *a, const char *id, const char *ns, const char *title, const char *content,
                   uint64_t ver)
{
    char *when = arena_alloc(a, TIME_TEXT);
    time_print(when, ver ? hlc_us(ver) : KIT_T0);
    struct row r = { .m = { .id = arena_strdup(a, id),
                            .ns = arena_strdup(a, ns),
                            .title = arena_strdup(a, title),
                            .content = arena_strdup(a, content),
                            .tags = "[]",
                            .source = "api",
                            .metadata = "{}",
                            .tier = TIER_MID,
                            .priority = 5,
                            .confidence = 1.0,
                            .created_at = when,
                            .updated_at = when },
                     .stamp = { ver, ver ? 7 : 0, ver ? 1 : 0 } };
    r.own = (struct own){ .tier = TIER_MID, .priority = 5 };
    return r;
}

void kit_put(struct kit *k, const struct row *next, const struct row *before)
{
    struct store_tx *tx = kit_begin(k);
    kit_ok(tx->v->put(tx, next, before), tx->err);
    kit_commit(k);
}

/* ---- backends */
static int open_sqlite(const char *dir, struct store **ret, struct err *err)
{
    char path[128];
    snprintf(path, sizeof path, "%s/memory.db", dir);
    return sqlite_store_open(path, &(struct sqlite_options){ .serving = true, .busy_ms = 2000 }, ret, err);
}

static int open_memory(const char *dir, struct store **ret, struct err *err)
{
    (void)dir;
    (void)err;
    *ret = memstore_open(true);
    return 0;
}

static const struct kit_backend backends[] = { { "sqlite", true, true, open_sqlite },
                                               { "memory", false, false, open_memory } };
const struct kit_backend *kit_backend = &backends[0];

int kit_set_up(void **state)
{
    static struct kit k;
    kit_open(&k, kit_backend);
    *state = &k;
    return 0;
}

int kit_tear_down(void **state)
{
    kit_close(*state);
    return 0;
}

int kit_run(int argc, char **argv, const struct CMUnitTest *tests, size_t count)
{
    const char *name = argc > 1 ? argv[1] : "sqlite";
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
        if (strcmp(backends[i].name, name) != 0) continue;
        kit_backend = &backends[i];
        return _cmocka_run_group_tests(name, tests, count, NULL, NULL);
    }
    fprintf(stderr, "no backend %s\n", name);
    return 2;
}

/* ---- files */
char *kit_path(struct kit *k, const char *name)
{
    return arena_printf(&k->arena, "%s/%s", k->dir, name);
}

void kit_read_file(const char *path, struct buf *ret)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    buf_init(ret, 64u << 20);
    char part[65536];
    size_t n;
    while ((n = fread(part, 1, sizeof part, f)) > 0) buf_put(ret, part, n);
    fclose(f);
}

void kit_write_file(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

char *kit_golden(struct kit *k, const char *name)
{
    struct buf b;
    kit_read_file(arena_printf(&k->arena, "%s/%s", GOLDEN_DB, name), &b);
    char *path = kit_path(k, name);
    kit_write_file(path, b.data, b.len);
    buf_release(&b);
    return path;
}

int64_t kit_raw(const char *path, const char *sql)
{
    sqlite3 *db;
    int64_t number = -1;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    while (*sql) {
        sqlite3_stmt *s;
        if (sqlite3_prepare_v2(db, sql, -1, &s, &sql) != SQLITE_OK) fail_msg("%s", sqlite3_errmsg(db));
        int rc;
        while ((rc = sqlite3_step(s)) == SQLITE_ROW) number = sqlite3_column_int64(s, 0);
        if (s && rc != SQLITE_DONE) fail_msg("%s", sqlite3_errmsg(db));
        sqlite3_finalize(s);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return number;
}

void other_open(struct other *o, const char *path, bool serving)
{
    kit_ok(sqlite_store_open(path, &(struct sqlite_options){ .serving = serving }, &o->store, &o->err), &o->err);
    kit_ok(o->store->b->conn_open(o->store, true, &o->conn, &o->err), &o->err);
}

void other_begin(struct other *o)
{
    kit_ok(o->store->b->begin(o->conn, &o->tx, &o->err), &o->err);
}

void other_commit(struct other *o)
{
    kit_ok(o->store->b->commit(o->conn, true, &o->err), &o->err);
}

void other_close(struct other *o)
{
    kit_ok(o->store->b->upkeep(o->conn, false, true, &o->err), &o->err);
    o->store->b->conn_close(o->conn);
    o->store->b->close(o->store);
}

int64_t kit_df(struct store_tx *tx, const char *word)
{
    int64_t n, last;
    kit_ok(tx->v->words_df(tx, word, false, 1000, &n, &last), tx->err);
    return n;
}
