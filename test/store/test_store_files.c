/* Files the SQLite backend is given: of the original, of other ages, damaged, sealed. */
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

/* ---- files of the original */
static json_t *recorded(struct kit *k, const char *command)
{
    struct buf b;
    kit_read_file(arena_printf(&k->arena, "%s/full.json", GOLDEN_DB), &b);
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
    other_open(&o, kit_golden(k, "full.db"), false);
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
    for (i = 0; i < ARRAY_LEN(words); i++) assert_true(kit_df(o.tx, words[i].word) >= words[i].rows - 1);
    assert_int_equal(kit_df(o.tx, "noodles"), 1);
    assert_int_equal(kit_df(o.tx, "本語"), 1);
    const char *id, *parent;
    kit_ok(o.tx->v->standard_of(o.tx, "gov/any", &k->arena, &id, &parent), &o.err);
    assert_string_equal(id, "00000000-0000-4000-8000-000000000101");
    kit_ok(o.tx->v->unstamped(o.tx, 1000, &k->arena, &rows), &o.err);
    assert_int_equal(rows.count, 73); /* expired ones too: nobody stamped them yet */
    other_commit(&o);
    other_close(&o);
    assert_int_equal(kit_raw(kit_path(k, "full.db"), "SELECT count(*) FROM memories WHERE embedding IS NOT NULL"), 3);
    assert_int_equal(kit_raw(kit_path(k, "full.db"), "SELECT count(*) FROM archived_memories"), 6);
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
        char *path = kit_golden(k, files[i].name), *copy = arena_printf(&k->arena, "%s.before-upgrade", path);
        int64_t before = kit_raw(path, "SELECT count(*) FROM memories"), count;
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
            assert_true(kit_df(o.tx, "gateway") >= 1);
            assert_int_equal(kit_df(o.tx, "große"), 1);
        }
        other_commit(&o);
        other_close(&o);
        assert_int_equal(kit_raw(path, "SELECT max(version) FROM schema_version"), 13);
        assert_int_equal(kit_raw(path, "SELECT count(*) FROM schema_version"), 1);
        assert_int_equal(
            kit_raw(path, "SELECT count(*) FROM archived_memories WHERE archive_reason = 'duplicate_title'"),
            files[i].archived);
        assert_int_equal(kit_raw(path, "SELECT count(*) FROM memories WHERE scope_idx IS NULL"), 0);
        assert_int_equal(
            kit_raw(path, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'memories_%' AND name <> 'memories'"), 0);
        assert_int_equal(kit_raw(copy, "SELECT count(*) FROM memories"), before); /* the copy is the file as it was */
        assert_int_equal(kit_raw(copy, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'repl_%'"), 0);
        other_open(&o, path, true);
        other_close(&o);
        assert_int_equal(access(arena_printf(&k->arena, "%s.2", copy), F_OK), -1); /* one copy, once */
    }
}

static void a_fresh_file_has_the_original_names(void **state)
{
    struct kit *k = *state;
    char *fresh = kit_path(k, "memory.db"), *theirs = kit_golden(k, "full.db");
    const char *const tables[] = { "memories",        "memory_links", "archived_memories", "namespace_meta",
                                   "pending_actions", "sync_state",   "subscriptions",     "schema_version" };
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        char *sql = arena_printf(
            &k->arena,
            "ATTACH '%s' AS t; SELECT count(*) FROM (SELECT name, type, \"notnull\", dflt_value, pk, hidden"
            " FROM pragma_table_xinfo('%s', 't') EXCEPT SELECT name, type, \"notnull\", dflt_value, pk, hidden"
            " FROM pragma_table_xinfo('%s', 'main'))",
            theirs, tables[i], tables[i]);
        assert_int_equal(kit_raw(fresh, sql), 0);
    }
    assert_int_equal(kit_raw(fresh, "SELECT version FROM schema_version"), 13);
}

static void a_later_file_keeps_its_version_and_columns(void **state)
{
    struct kit *k = *state;
    char *path = kit_golden(k, "full.db");
    kit_raw(path, "UPDATE schema_version SET version = 19; ALTER TABLE memories ADD COLUMN embedding_dim INTEGER;"
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
    assert_int_equal(kit_raw(path, "SELECT version FROM schema_version"), 19);
    assert_int_equal(kit_raw(path, "SELECT count(*) FROM memories WHERE embedding_dim = 384"), 73);
    assert_int_equal(kit_raw(path, "SELECT count(*) FROM memory_links WHERE observed_by = 'x'"), 8);
    kit_raw(path, "UPDATE schema_version SET version = 43");
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
    kit_raw(kit_path(k, "memory.db"), original_came);
    kit_ok(k->store->b->foreign(k->writer, &changed), NULL);
    assert_true(changed);
    kit_ok(k->store->b->foreign(k->writer, &changed), NULL);
    assert_false(changed);
    tx = kit_begin(k);
    assert_int_equal(kit_df(tx, "alpha"), 0);
    assert_int_equal(kit_df(tx, "beta"), 0);
    assert_int_equal(kit_df(tx, "elsewhere"), 2);
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
    char *path = kit_path(k, "memory.db");
    assert_int_equal(kit_raw(path, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'memories_%'"), 0);
    assert_int_equal(kit_raw(path, "SELECT count(*) FROM sqlite_master WHERE name = 'idx_memories_tier'"), 0);
}

static void bad_rows_fail_no_query(void **state)
{
    struct kit *k = *state;
    kit_raw(kit_path(k, "memory.db"),
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
    char *path = kit_path(k, "x.db");
    kit_write_file(path, "This is a text, and a long one at that, but no database of any kind. Really not: a text.\n",
                   90);
    assert_int_equal(open_code(path, &err), E_CORRUPT);
    assert_non_null(strstr(err.msg, path));
    kit_read_file(arena_printf(&k->arena, "%s/full.db", GOLDEN_DB), &whole);
    kit_write_file(path, whole.data, whole.len / 2);
    assert_int_equal(open_code(path, &err), E_CORRUPT);
    kit_write_file(path, whole.data, whole.len);
    kit_raw(path, "SELECT 1");
    memset(whole.data + 100, 0xa5, 900); /* the schema's page */
    kit_write_file(path, whole.data, whole.len);
    assert_int_equal(open_code(path, &err), E_CORRUPT);
    buf_release(&whole);
    kit_write_file(path, "", 0);
    kit_ok(open_code(path, &err), &err); /* an empty file is a fresh one */
    char *other = kit_path(k, "other.db");
    kit_raw(other, "CREATE TABLE songs (title TEXT)");
    assert_int_equal(open_code(other, &err), E_CORRUPT);
    assert_int_equal(kit_raw(other, "SELECT count(*) FROM sqlite_master"), 1); /* and nothing was done to it */
    assert_int_equal(open_code(k->dir, &err), E_IO);
    assert_int_equal(open_code(kit_path(k, "none/such.db"), &err), E_IO);
    assert_non_null(strstr(err.msg, "no directory"));
}

/* Random damage anywhere: any answer but a crash. */
static void random_damage_never_crashes(void **state)
{
    struct kit *k = *state;
    struct buf whole;
    char *path = kit_path(k, "y.db");
    unsigned seed = 1;
    for (int i = 0; i < 40; i++) {
        char id[16];
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
        kit_read_file(kit_path(k, "memory.db"), &whole);
        for (int i = 0; i < 200; i++) whole.data[200 + (size_t)rand_r(&seed) % (whole.len - 200)] = (char)rand_r(&seed);
        kit_write_file(path, whole.data, whole.len);
        buf_release(&whole);
        unlink(kit_path(k, "y.db-wal"));
        unlink(kit_path(k, "y.db-shm"));
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

static void a_file_of_two_names(void **state)
{
    struct kit *k = *state;
    char *path = kit_path(k, "memory.db"), *other = kit_path(k, "other.db");
    struct err err;
    struct store *s;
    assert_int_equal(link(path, other), 0);
    assert_int_equal(open_code(other, &err), E_LOCKED);
    assert_non_null(strstr(err.msg, "hard links"));
    assert_int_equal(open_code(path, &err), E_LOCKED); /* somebody may have the other one open */
    assert_int_equal(sqlite_store_open(other, &(struct sqlite_options){ .read_only = true }, &s, &err), E_LOCKED);
    assert_int_equal(unlink(other), 0);
    assert_int_equal(open_code(path, &err), 0);
}

static void a_file_without_permission(void **state)
{
    struct kit *k = *state;
    if (geteuid() != 0) skip();
    kit_ok(k->store->b->upkeep(k->writer, false, true, &k->err), &k->err);
    char *path = kit_path(k, "memory.db"), *sealed = kit_path(k, "sealed"), *inside = kit_path(k, "sealed/memory.db");
    struct buf b;
    kit_read_file(path, &b);
    assert_int_equal(mkdir(sealed, 0755), 0);
    kit_write_file(inside, b.data, b.len);
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
        if (open_code(kit_path(k, "sealed/fresh.db"), &err) != E_READ_ONLY) _exit(12);
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

static const struct CMUnitTest tests[] = {
    KIT_TEST(the_original_file_reads_as_it_was),
    KIT_TEST(older_files_are_upgraded),
    KIT_TEST(a_fresh_file_has_the_original_names),
    KIT_TEST(a_later_file_keeps_its_version_and_columns),
    KIT_TEST(traces_of_the_original_are_cleared),
    KIT_TEST(bad_rows_fail_no_query),
    KIT_TEST(damaged_files_are_refused),
    KIT_TEST(random_damage_never_crashes),
    KIT_TEST(a_file_of_two_names),
    KIT_TEST(a_file_without_permission),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
