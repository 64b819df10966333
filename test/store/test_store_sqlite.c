/* The SQLite backend alone: files of the original, damaged files, full disks, other processes, words. */
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
#include "base/json.h"
#include "repl/hlc.h"
#include "store/sqlite/sq.h"

#define NOW_2027 1800000000000000LL

static int open_file(const char *dir, struct store **ret, struct err *err)
{
    char path[128];
    snprintf(path, sizeof path, "%s/memory.db", dir);
    return sqlite_store_open(path, &(struct sqlite_options){ .serving = true, .busy_ms = 2000 }, ret, err);
}
static const struct kit_backend sqlite = { "sqlite", true, true, open_file };

static int set_up(void **state)
{
    static struct kit k;
    kit_open(&k, &sqlite);
    *state = &k;
    return 0;
}

static int tear_down(void **state)
{
    kit_close(*state);
    return 0;
}

/* ---- files */
static char *path_in(struct kit *k, const char *name)
{
    return arena_printf(&k->arena, "%s/%s", k->dir, name);
}

static void read_file(const char *path, struct buf *ret)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    buf_init(ret, 64u << 20);
    char part[65536];
    size_t n;
    while ((n = fread(part, 1, sizeof part, f)) > 0) buf_put(ret, part, n);
    fclose(f);
}

static void write_file(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* Copies a file of the original into the scratch directory. */
static char *golden(struct kit *k, const char *name)
{
    struct buf b;
    read_file(arena_printf(&k->arena, "%s/%s", GOLDEN_DB, name), &b);
    char *path = path_in(k, name);
    write_file(path, b.data, b.len);
    buf_release(&b);
    return path;
}

/* Runs SQL on a file behind the store's back, as another program would; the first number of the result. */
static int64_t raw(const char *path, const char *sql)
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

/* A second store on any file. */
struct other {
    struct store *store;
    struct store_conn *conn;
    struct store_tx *tx;
    struct err err;
};

static void other_open(struct other *o, const char *path, bool serving)
{
    kit_ok(sqlite_store_open(path, &(struct sqlite_options){ .serving = serving }, &o->store, &o->err), &o->err);
    kit_ok(o->store->b->conn_open(o->store, true, &o->conn, &o->err), &o->err);
}

static void other_begin(struct other *o)
{
    kit_ok(o->store->b->begin(o->conn, &o->tx, &o->err), &o->err);
}

static void other_commit(struct other *o)
{
    kit_ok(o->store->b->commit(o->conn, true, &o->err), &o->err);
}

static void other_close(struct other *o)
{
    kit_ok(o->store->b->upkeep(o->conn, false, true, &o->err), &o->err);
    o->store->b->conn_close(o->conn);
    o->store->b->close(o->store);
}

static int64_t df(struct store_tx *tx, const char *word)
{
    int64_t n, last;
    kit_ok(tx->v->words_df(tx, word, false, 1000, &n, &last), tx->err);
    return n;
}

/* ---- files of the original */
static json_t *recorded(struct kit *k, const char *command)
{
    struct buf b;
    read_file(arena_printf(&k->arena, "%s/full.json", GOLDEN_DB), &b);
    json_t *all = json_parse(b.data, b.len, NULL, 0, &k->err), *entry, *found = NULL;
    size_t i;
    assert_non_null(all);
    json_array_foreach (json_object_get(all, "commands"), i, entry) {
        const char *verb = json_string_value(json_array_get(json_object_get(entry, "argv"), 1));
        if (strcmp(verb, command) == 0 && !found) found = json_incref(json_object_get(entry, "stdout"));
    }
    json_decref(all);
    buf_release(&b);
    assert_non_null(found);
    return found;
}

static void assert_json_text(const json_t *expected, const char *text)
{
    json_t *v = json_parse(text, strlen(text), NULL, 0, NULL);
    assert_true(json_equal(v, expected));
    json_decref(v);
}

static void assert_member(const json_t *o, const char *key, const char *text)
{
    const char *expected = json_string_value(json_object_get(o, key));
    if (expected == NULL)
        assert_null(text);
    else
        assert_string_equal(text, expected);
}

static void assert_memory(const json_t *o, const struct memory *m)
{
    assert_member(o, "title", m->title);
    assert_member(o, "content", m->content);
    assert_member(o, "namespace", m->ns);
    assert_member(o, "source", m->source);
    assert_member(o, "tier", tier_name(m->tier));
    assert_member(o, "created_at", m->created_at);
    assert_member(o, "updated_at", m->updated_at);
    assert_member(o, "expires_at", m->expires_at);
    assert_member(o, "last_accessed_at", m->last_accessed_at);
    assert_int_equal(json_integer_value(json_object_get(o, "priority")), m->priority);
    assert_int_equal(json_integer_value(json_object_get(o, "access_count")), m->access_count);
    assert_json_text(json_object_get(o, "tags"), m->tags);
    assert_json_text(json_object_get(o, "metadata"), m->metadata);
}

static void the_original_file_reads_as_it_was(void **state)
{
    struct kit *k = *state;
    struct other o;
    struct rows rows;
    struct store_stats stats;
    struct row row;
    json_t *list = recorded(k, "list"), *figures = recorded(k, "stats"), *item;
    size_t i;
    other_open(&o, golden(k, "full.db"), false);
    other_begin(&o);
    kit_ok(o.tx->v->list(o.tx, &(struct list_query){ .f = { .now_us = NOW_2027 }, .limit = 1000 }, &k->arena, &rows),
           &o.err);
    assert_int_equal(rows.count, json_integer_value(json_object_get(list, "count")));
    json_array_foreach (json_object_get(list, "memories"), i, item) {
        kit_ok(o.tx->v->get(o.tx, json_string_value(json_object_get(item, "id")), &k->arena, &row), &o.err);
        assert_memory(item, &row.m);
    }
    kit_ok(o.tx->v->stats(o.tx, NOW_2027, &k->arena, &stats), &o.err);
    assert_int_equal(stats.total, json_integer_value(json_object_get(figures, "total")));
    assert_int_equal(stats.links, json_integer_value(json_object_get(figures, "links_count")));
    json_array_foreach (json_object_get(figures, "by_tier"), i, item) {
        assert_string_equal(stats.by_tier.item[i].name, json_string_value(json_object_get(item, "tier")));
        assert_int_equal(stats.by_tier.item[i].count, json_integer_value(json_object_get(item, "count")));
    }
    assert_int_equal(stats.by_ns.count, json_array_size(json_object_get(figures, "by_namespace")));
    const struct {
        const char *word;
        int64_t rows;
    } words[] = { { "gateway", 4 }, { "entry", 12 },       { "große", 1 },
                  { "noodles", 1 }, { "architecture", 2 }, { "本語", 1 } };
    for (i = 0; i < ARRAY_LEN(words); i++) assert_true(df(o.tx, words[i].word) >= words[i].rows - 1);
    assert_int_equal(df(o.tx, "noodles"), 1);
    assert_int_equal(df(o.tx, "本語"), 1);
    const char *id, *parent;
    kit_ok(o.tx->v->standard_of(o.tx, "gov/any", &k->arena, &id, &parent), &o.err);
    assert_string_equal(id, "00000000-0000-4000-8000-000000000101");
    kit_ok(o.tx->v->unstamped(o.tx, 1000, &k->arena, &rows), &o.err);
    assert_int_equal(rows.count, 73); /* expired ones too: nobody stamped them yet */
    other_commit(&o);
    other_close(&o);
    assert_int_equal(raw(path_in(k, "full.db"), "SELECT count(*) FROM memories WHERE embedding IS NOT NULL"), 3);
    assert_int_equal(raw(path_in(k, "full.db"), "SELECT count(*) FROM archived_memories"), 6);
    json_decref(list);
    json_decref(figures);
}

static void older_files_are_upgraded(void **state)
{
    struct kit *k = *state;
    const struct {
        const char *name;
        int64_t rows, archived;
    } files[] = {
        { "old-v1.db", 4, 0 },          { "old-v5.db", 4, 0 },         { "old-v9.db", 4, 0 },
        { "old-unversioned.db", 4, 0 }, { "old-duplicates.db", 4, 1 }, { "governed.db", -1, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char *path = golden(k, files[i].name), *copy = arena_printf(&k->arena, "%s.before-upgrade", path);
        int64_t before = raw(path, "SELECT count(*) FROM memories"), count;
        struct other o;
        struct row row;
        other_open(&o, path, true);
        other_begin(&o);
        kit_ok(o.tx->v->count(o.tx, &(struct filter){ 0 }, &count), &o.err);
        assert_int_equal(count, files[i].rows < 0 ? before : files[i].rows);
        if (files[i].rows > 0) {
            kit_ok(o.tx->v->by_title(o.tx, "Gateway timeout", "notes", &k->arena, &row), &o.err);
            assert_string_equal(row.m.id, "00000000-0000-4000-8000-000000000001"); /* the newest of two */
            assert_string_equal(row.m.metadata, "{}");
            assert_true(df(o.tx, "gateway") >= 1);
            assert_int_equal(df(o.tx, "große"), 1);
        }
        other_commit(&o);
        other_close(&o);
        assert_int_equal(raw(path, "SELECT max(version) FROM schema_version"), 13);
        assert_int_equal(raw(path, "SELECT count(*) FROM schema_version"), 1);
        assert_int_equal(raw(path, "SELECT count(*) FROM archived_memories WHERE archive_reason = 'duplicate_title'"),
                         files[i].archived);
        assert_int_equal(raw(path, "SELECT count(*) FROM memories WHERE scope_idx IS NULL"), 0);
        assert_int_equal(
            raw(path, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'memories_%' AND name <> 'memories'"), 0);
        assert_int_equal(raw(copy, "SELECT count(*) FROM memories"), before); /* the copy is the file as it was */
        assert_int_equal(raw(copy, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'repl_%'"), 0);
        other_open(&o, path, true);
        other_close(&o);
        assert_int_equal(access(arena_printf(&k->arena, "%s.2", copy), F_OK), -1); /* one copy, once */
    }
}

static void a_fresh_file_has_the_original_names(void **state)
{
    struct kit *k = *state;
    char *fresh = path_in(k, "memory.db"), *theirs = golden(k, "full.db");
    const char *const tables[] = { "memories",        "memory_links", "archived_memories", "namespace_meta",
                                   "pending_actions", "sync_state",   "subscriptions",     "schema_version" };
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        char *sql = arena_printf(
            &k->arena,
            "ATTACH '%s' AS t; SELECT count(*) FROM (SELECT name, type, \"notnull\", dflt_value, pk, hidden"
            " FROM pragma_table_xinfo('%s', 't') EXCEPT SELECT name, type, \"notnull\", dflt_value, pk, hidden"
            " FROM pragma_table_xinfo('%s', 'main'))",
            theirs, tables[i], tables[i]);
        assert_int_equal(raw(fresh, sql), 0);
    }
    assert_int_equal(raw(fresh, "SELECT version FROM schema_version"), 13);
}

static void a_later_file_keeps_its_version_and_columns(void **state)
{
    struct kit *k = *state;
    char *path = golden(k, "full.db");
    raw(path, "UPDATE schema_version SET version = 19; ALTER TABLE memories ADD COLUMN embedding_dim INTEGER;"
              "ALTER TABLE memory_links ADD COLUMN observed_by TEXT; UPDATE memories SET embedding_dim = 384;"
              "UPDATE memory_links SET observed_by = 'x'");
    struct other o;
    struct row row, next;
    other_open(&o, path, false);
    other_begin(&o);
    kit_ok(o.tx->v->get(o.tx, "plain-id_1", &k->arena, &row), &o.err);
    next = row;
    next.m.content = "changed";
    next.stamp = (struct stamp){ kit_ver(1), 7, 1 };
    kit_ok(o.tx->v->put(o.tx, &next, &row), &o.err);
    kit_ok(o.tx->v->link_show(o.tx, &(struct link){ "plain-id_1", "00000000-0000-4000-8000-00000000000e", "related_to",
                                                    "2025-01-01T00:00:00Z" }),
           &o.err);
    other_commit(&o);
    other_close(&o);
    assert_int_equal(raw(path, "SELECT version FROM schema_version"), 19);
    assert_int_equal(raw(path, "SELECT count(*) FROM memories WHERE embedding_dim = 384"), 73);
    assert_int_equal(raw(path, "SELECT count(*) FROM memory_links WHERE observed_by = 'x'"), 8);
    raw(path, "UPDATE schema_version SET version = 43");
    assert_int_equal(sqlite_store_open(path, &(struct sqlite_options){ 0 }, &o.store, &o.err), E_INVALID);
    assert_non_null(strstr(o.err.msg, path));
}

/* What the original's program does to a file of ours: its index and triggers are back, its writes have no stamp. */
static const char original_came[] =
    "CREATE VIRTUAL TABLE memories_fts USING fts5(title, content, tags, content=memories, content_rowid=rowid);"
    "CREATE TRIGGER memories_ai AFTER INSERT ON memories BEGIN INSERT INTO memories_fts(rowid, title, content, tags)"
    " VALUES (new.rowid, new.title, new.content, new.tags); END;"
    "CREATE TRIGGER memories_ad AFTER DELETE ON memories BEGIN SELECT 1; END;"
    "CREATE INDEX idx_memories_tier ON memories(tier);"
    "INSERT INTO memories (id, tier, title, content, created_at, updated_at, tags, metadata)"
    " VALUES ('theirs', 'mid', 'Foreign', 'written elsewhere', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z', 'no "
    "json', '{bad');"
    "UPDATE memories SET content = 'edited elsewhere', updated_at = '2026-01-02T00:00:00.123456789+00:00' WHERE id = "
    "'a';"
    "DELETE FROM memories WHERE id = 'b';";

static void traces_of_the_original_are_cleared(void **state)
{
    struct kit *k = *state;
    struct row a = kit_row(&k->arena, "a", "ns", "A", "alpha", kit_ver(1)),
               b = kit_row(&k->arena, "b", "ns", "B", "beta", kit_ver(2)), got;
    struct rows rows;
    struct store_tx *tx;
    bool changed;
    int64_t count, words, max;
    kit_put(k, &a, NULL);
    kit_put(k, &b, NULL);
    tx = kit_begin(k);
    kit_ok(tx->v->unstamped(tx, 10, &k->arena, &rows), tx->err);
    assert_int_equal(rows.count, 0);
    kit_commit(k);
    kit_ok(k->store->b->foreign(k->writer, &changed), NULL);
    assert_false(changed);
    raw(path_in(k, "memory.db"), original_came);
    kit_ok(k->store->b->foreign(k->writer, &changed), NULL);
    assert_true(changed);
    kit_ok(k->store->b->foreign(k->writer, &changed), NULL);
    assert_false(changed);
    tx = kit_begin(k);
    assert_int_equal(df(tx, "alpha"), 0);
    assert_int_equal(df(tx, "beta"), 0);
    assert_int_equal(df(tx, "elsewhere"), 2);
    kit_ok(tx->v->words_stat(tx, &count, &words, &max), tx->err);
    assert_int_equal(count, 2);
    assert_int_equal(words, 6);
    kit_ok(tx->v->unstamped(tx, 1, &k->arena, &rows), tx->err);
    assert_int_equal(rows.count, 1);
    assert_true(rows.more);
    kit_ok(tx->v->unstamped(tx, 10, &k->arena, &rows), tx->err);
    assert_int_equal(rows.count, 2);
    for (size_t i = 0; i < 2; i++) {
        struct row next = rows.item[i];
        int64_t us;
        kit_ok(time_parse(next.m.updated_at, strlen(next.m.updated_at), &us), NULL);
        next.stamp = (struct stamp){ hlc_of_us(us), 7, 3 };
        kit_ok(tx->v->put(tx, &next, &rows.item[i]), tx->err);
    }
    kit_ok(tx->v->get(tx, "theirs", &k->arena, &got), tx->err);
    assert_string_equal(got.m.tags, "[]");
    assert_string_equal(got.m.metadata, "{}");
    kit_ok(tx->v->unstamped(tx, 10, &k->arena, &rows), tx->err);
    assert_int_equal(rows.count, 0);
    kit_commit(k);
    char *path = path_in(k, "memory.db");
    assert_int_equal(raw(path, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'memories_%'"), 0);
    assert_int_equal(raw(path, "SELECT count(*) FROM sqlite_master WHERE name = 'idx_memories_tier'"), 0);
}

static void bad_rows_fail_no_query(void **state)
{
    struct kit *k = *state;
    raw(path_in(k, "memory.db"),
        "INSERT INTO memories (id, tier, title, content, created_at, updated_at, tags, metadata, expires_at, "
        "confidence, namespace)"
        " VALUES ('bad', 'odd', x'41ff42', 'x', 'yesterday', 'never', '{\"a\":1}', '[1]', 'soon', 'much', 'ns');");
    struct row row;
    struct rows rows;
    const char *const tag[] = { "a" };
    int64_t since = 1, n;
    struct viewer viewer = { .p1 = "ns" };
    struct store_tx *tx = kit_read(k);
    kit_ok(tx->v->get(tx, "bad", &k->arena, &row), tx->err);
    assert_string_equal(row.m.tags, "[]");
    assert_string_equal(row.m.metadata, "{}");
    assert_string_equal(row.m.title, "A?B");
    assert_int_equal(row.m.tier, TIER_MID);
    const struct {
        struct filter f;
        int64_t expect;
    } table[] = {
        { { .tags = tag, .tags_count = 1 }, 0 }, { { .agent_id = "a" }, 0 },   { { .since_us = &since }, 0 },
        { { .now_us = NOW_2027 }, 1 },           { { .viewer = &viewer }, 1 }, { { .tier_word = "mid" }, 1 },
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        kit_ok(tx->v->count(tx, &table[i].f, &n), tx->err);
        assert_int_equal(n, table[i].expect);
    }
    kit_ok(tx->v->since(tx, -2, "", false, NOW_2027, 10, &k->arena, &rows), tx->err);
    assert_int_equal(rows.count, 1);
    kit_read_end(k);
}

/* ---- damage */
static int open_code(const char *path, struct err *err)
{
    struct store *s = NULL;
    int rc = sqlite_store_open(path, &(struct sqlite_options){ .busy_ms = 200 }, &s, err);
    if (rc == 0) s->b->close(s);
    return rc;
}

static void damaged_files_are_refused(void **state)
{
    struct kit *k = *state;
    struct err err;
    struct buf whole;
    char *path = path_in(k, "x.db");
    write_file(path, "This is a text, and a long one at that, but no database of any kind. Really not: a text.\n", 90);
    assert_int_equal(open_code(path, &err), E_CORRUPT);
    assert_non_null(strstr(err.msg, path));
    read_file(arena_printf(&k->arena, "%s/full.db", GOLDEN_DB), &whole);
    write_file(path, whole.data, whole.len / 2);
    assert_int_equal(open_code(path, &err), E_CORRUPT);
    write_file(path, whole.data, whole.len);
    raw(path, "SELECT 1");
    memset(whole.data + 100, 0xa5, 900); /* the schema's page */
    write_file(path, whole.data, whole.len);
    assert_int_equal(open_code(path, &err), E_CORRUPT);
    buf_release(&whole);
    write_file(path, "", 0);
    kit_ok(open_code(path, &err), &err); /* an empty file is a fresh one */
    char *other = path_in(k, "other.db");
    raw(other, "CREATE TABLE songs (title TEXT)");
    assert_int_equal(open_code(other, &err), E_CORRUPT);
    assert_int_equal(raw(other, "SELECT count(*) FROM sqlite_master"), 1); /* and nothing was done to it */
    assert_int_equal(open_code(k->dir, &err), E_IO);
    assert_int_equal(open_code(path_in(k, "none/such.db"), &err), E_IO);
    assert_non_null(strstr(err.msg, "no directory"));
}

/* Random damage anywhere: any answer but a crash. */
static void random_damage_never_crashes(void **state)
{
    struct kit *k = *state;
    struct buf whole;
    char *path = path_in(k, "y.db");
    unsigned seed = 1;
    for (int i = 0; i < 40; i++) {
        char id[8];
        snprintf(id, sizeof id, "r%d", i);
        struct row r = kit_row(&k->arena, id, "ns", id, "some words to be found", kit_ver(i));
        kit_put(k, &r, NULL);
    }
    kit_ok(k->store->b->upkeep(k->writer, false, true, &k->err), &k->err);
    for (int round = 0; round < 60; round++) {
        struct store *s;
        struct store_conn *c;
        struct store_tx *tx;
        struct err err;
        struct rows rows;
        int64_t n, last;
        read_file(path_in(k, "memory.db"), &whole);
        for (int i = 0; i < 200; i++) whole.data[200 + (size_t)rand_r(&seed) % (whole.len - 200)] = (char)rand_r(&seed);
        write_file(path, whole.data, whole.len);
        buf_release(&whole);
        unlink(path_in(k, "y.db-wal"));
        unlink(path_in(k, "y.db-shm"));
        if (sqlite_store_open(path, &(struct sqlite_options){ .busy_ms = 50 }, &s, &err) != 0) continue;
        if (s->b->conn_open(s, true, &c, &err) == 0) {
            if (s->b->begin(c, &tx, &err) == 0) {
                struct row row, r = kit_row(&k->arena, "new", "ns", "new", "some words", kit_ver(99));
                (void)tx->v->list(tx, &(struct list_query){ .limit = 100 }, &k->arena, &rows);
                (void)tx->v->words_df(tx, "words", false, 100, &n, &last);
                if (tx->v->get(tx, "r7", &k->arena, &row) == 0) (void)tx->v->remove(tx, &row);
                (void)tx->v->put(tx, &r, NULL);
                (void)s->b->commit(c, true, &err);
            }
            (void)s->b->upkeep(c, true, true, &err);
            s->b->conn_close(c);
        }
        s->b->close(s);
    }
}

static void a_file_without_permission(void **state)
{
    struct kit *k = *state;
    if (geteuid() != 0) skip();
    kit_ok(k->store->b->upkeep(k->writer, false, true, &k->err), &k->err);
    char *path = path_in(k, "memory.db"), *sealed = path_in(k, "sealed"), *inside = path_in(k, "sealed/memory.db");
    struct buf b;
    read_file(path, &b);
    assert_int_equal(mkdir(sealed, 0755), 0);
    write_file(inside, b.data, b.len);
    buf_release(&b);
    assert_int_equal(chmod(k->dir, 0755), 0);
    assert_int_equal(chmod(inside, 0444), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct err err;
        struct store *s;
        struct store_conn *c;
        struct store_tx *tx;
        int64_t n;
        if (setuid(65534) != 0) _exit(10);
        if (open_code(inside, &err) != E_READ_ONLY) _exit(11);
        if (open_code(path_in(k, "sealed/fresh.db"), &err) != E_READ_ONLY) _exit(12);
        if (sqlite_store_open(inside, &(struct sqlite_options){ .read_only = true }, &s, &err) != 0) {
            fprintf(stderr, "%s\n", err.msg);
            _exit(13);
        }
        if (s->b->conn_open(s, true, &c, &err) != E_READ_ONLY) _exit(14);
        if (s->b->conn_open(s, false, &c, &err) != 0) _exit(15);
        if (s->b->begin(c, &tx, &err) != 0 || tx->v->count(tx, &(struct filter){ 0 }, &n) != 0) _exit(16);
        if (tx->v->local_put(tx, "x", "y", 1) != E_READ_ONLY) _exit(17);
        s->b->rollback(c);
        s->b->conn_close(c);
        s->b->close(s);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
}

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

/* ---- other processes */
static void one_server_per_file(void **state)
{
    struct kit *k = *state;
    struct store *s;
    struct err err;
    char *path = path_in(k, "memory.db");
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
    char *path = path_in(k, "memory.db");
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
    char *path = path_in(k, "memory.db");
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
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
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
    kit_ok(tx->v->count(tx, &(struct filter){ .now_us = 1 }, &n), tx->err);
    atomic_store(&stop, true);
    assert_int_equal(tx->v->count(tx, &(struct filter){ .now_us = 1 }, &n), E_CANCELLED);
    kit_read_end(k);
    b->stop_flag(k->reader, NULL, 1);
    tx = kit_read(k);
    assert_int_equal(tx->v->count(tx, &(struct filter){ .now_us = 1 }, &n), E_TIMEOUT);
    kit_read_end(k);
    b->stop_flag(k->reader, NULL, 0);
    tx = kit_read(k);
    kit_ok(tx->v->count(tx, &(struct filter){ .now_us = 1 }, &n), tx->err);
    assert_int_equal(n, 2000);
    kit_read_end(k);
}

static void upkeep_empties_the_log(void **state)
{
    struct kit *k = *state;
    char *text = arena_alloc(&k->arena, 50001), *wal = path_in(k, "memory.db-wal");
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
    assert_true(biggest > 15 << 20); /* 45 MB went through a log of 16 */
    assert_true(biggest < 24 << 20);
    kit_ok(k->store->b->upkeep(k->writer, false, true, &k->err), &k->err);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(st.st_size, 0);
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
            count[pass][w] = df(tx, strcmp(words[w], "日本語") ? words[w] : "日本");
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_original_file_reads_as_it_was),
        TEST(older_files_are_upgraded),
        TEST(a_fresh_file_has_the_original_names),
        TEST(a_later_file_keeps_its_version_and_columns),
        TEST(traces_of_the_original_are_cleared),
        TEST(bad_rows_fail_no_query),
        TEST(damaged_files_are_refused),
        TEST(random_damage_never_crashes),
        TEST(a_file_without_permission),
        TEST(a_full_disk_is_survived),
        TEST(one_server_per_file),
        TEST(processes_write_in_turn),
        TEST(a_writer_that_dies_leaves_nothing_behind),
        TEST(statements_are_prepared_once),
        TEST(pages_come_from_an_index),
        TEST(late_and_unwanted_reads_stop),
        TEST(upkeep_empties_the_log),
        TEST(the_index_stays_whole),
        cmocka_unit_test(words_are_stable),
        cmocka_unit_test(the_tokenizer_folds_and_stops),
        cmocka_unit_test(threads_share_the_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
