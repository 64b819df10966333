/* upgrade.c - brings a file to the present schema: creates a fresh one, climbs the original's ladder by looking what
 * is missing, takes the original's text index away and builds ours. One transaction; before the first one the file
 * is copied. */
#include "store/sqlite/sq.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct look { /* what is in the file */
    int64_t objects, version, format, words_format;
    bool memories, traces, columns, indexes, first_log;
};

/* First number of a query; `missing` when it has no row or cannot be prepared (no such table). Errors of the file
 * count. */
static int number(struct store_conn *c, const char *sql, int64_t missing, int64_t *ret)
{
    sqlite3_stmt *s = NULL;
    *ret = missing;
    int rc = sqlite3_prepare_v2(c->db, sql, -1, &s, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(s);
        if (rc == SQLITE_ROW && sqlite3_column_type(s, 0) != SQLITE_NULL) *ret = sqlite3_column_int64(s, 0);
    }
    int code = rc == SQLITE_ROW || rc == SQLITE_DONE || rc == SQLITE_ERROR ? 0 : sq_fail(c, "cannot read the schema");
    sqlite3_finalize(s);
    return code;
}

static int look_at(struct store_conn *c, struct look *l)
{
    int64_t memories, traces, columns, indexes, first_log;
    const struct {
        const char *sql;
        int64_t missing, *to;
    } asks[] = {
        { "SELECT count(*) FROM sqlite_master", 0, &l->objects },
        { "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'memories'", 0, &memories },
        { "SELECT count(*) FROM sqlite_master WHERE name IN ('memories_fts', 'memories_ai', 'memories_ad', "
          "'memories_au')",
          0, &traces },
        { "SELECT max(version) FROM schema_version", 0, &l->version },
        { "SELECT CAST(value AS INTEGER) FROM repl_local WHERE key = 'store.format'", 0, &l->format },
        { "SELECT format FROM recall_stat", 0, &l->words_format },
        { "SELECT count(*) FROM pragma_table_xinfo('memories') WHERE name IN ('ver', 'stream', 'seq', 'titled')", 0,
          &columns },
        { "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND name IN ('repl_memories_page', "
          "'repl_memories_space', 'repl_memories_due')",
          0, &indexes },
        { "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'repl_op'", 0, &first_log },
    };
    for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
        int rc = number(c, asks[i].sql, asks[i].missing, asks[i].to);
        if (rc != 0) return rc;
    }
    l->memories = memories > 0;
    l->traces = traces > 0;
    l->columns = columns == 4;
    l->indexes = indexes == 3;
    l->first_log = first_log > 0;
    return 0;
}

static bool is_current(const struct look *l)
{
    return l->memories && l->columns && l->indexes && !l->traces && l->version >= SQ_SCHEMA && l->format == SQ_FORMAT &&
           l->words_format == SQ_WORDS_FORMAT;
}

static int refuse_unknown(struct store_conn *c, const struct look *l)
{
    const char *path = c->file->path;
    if (l->objects > 0 && !l->memories)
        return err_set(c->tx.err, E_CORRUPT, "%s: a database, but of another program: it has no memories", path);
    if (l->version > SQ_SCHEMA_MAX || l->format > SQ_FORMAT)
        return err_set(c->tx.err, E_INVALID, "%s: written by a later program (schema %lld, format %lld)", path,
                       (long long)l->version, (long long)l->format);
    return 0;
}

/* ---- the copy taken before the first upgrade */
static int sync_path(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) return -1;
    int rc = fsync(fd);
    close(fd);
    return rc;
}

static int copy_file(struct store_conn *c, const char *to)
{
    sqlite3 *from = NULL, *dest = NULL;
    const char *path = c->file->path;
    int code = 0;
    if (sqlite3_open_v2(path, &from, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        code = sq_fail_db(from, path, "cannot read the database", c->tx.err);
    if (code == 0 &&
        (sqlite3_open_v2(to, &dest, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
             SQLITE_OK ||
         sqlite3_exec(dest, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF", NULL, NULL, NULL) != SQLITE_OK))
        code = sq_fail_db(dest, to, "cannot write the copy", c->tx.err);
    if (code == 0) {
        sqlite3_db_config(from, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        sqlite3_busy_timeout(from, c->file->o.busy_ms);
        sqlite3_backup *b = sqlite3_backup_init(dest, "main", from, "main");
        if (b) sqlite3_backup_step(b, -1);
        if (b == NULL || sqlite3_backup_finish(b) != SQLITE_OK)
            code = sq_fail_db(dest, to, "cannot write the copy", c->tx.err);
    }
    sqlite3_close(dest);
    sqlite3_close(from);
    return code;
}

/* Copies to "<file>.before-upgrade"; an older copy of that name is kept (".2" and so on). */
static int copy_before(struct store_conn *c)
{
    const char *path = c->file->path;
    char *part = sqlite3_mprintf("%s.before-upgrade.part", path);
    char *name = sqlite3_mprintf("%s.before-upgrade", path);
    char *dir = sqlite3_mprintf("%s", path);
    char *slash = strrchr(dir, '/');
    if (slash) slash[slash == dir] = 0;
    for (int i = 2; i < 100 && access(name, F_OK) == 0; i++) {
        sqlite3_free(name);
        name = sqlite3_mprintf("%s.before-upgrade.%d", path, i);
    }
    unlink(part);
    int code = copy_file(c, part);
    if (code == 0 &&
        (sync_path(part, O_RDWR) != 0 || rename(part, name) != 0 || sync_path(slash ? dir : ".", O_RDONLY) != 0))
        code = err_set(c->tx.err, E_IO, "%s: cannot keep a copy before the upgrade: %s", name, strerror(errno));
    if (code != 0) unlink(part);
    sqlite3_free(part);
    sqlite3_free(name);
    sqlite3_free(dir);
    return code;
}

/* ---- the ladder */
static int add_column(struct store_conn *c, const char *table, const char *column, const char *definition)
{
    char *ask = sqlite3_mprintf("SELECT count(*) FROM pragma_table_xinfo(%Q) WHERE name = %Q", table, column);
    char *add = sqlite3_mprintf("ALTER TABLE %s ADD COLUMN %s %s", table, column, definition);
    int64_t there;
    int rc = number(c, ask, 0, &there);
    if (rc == 0 && !there) rc = sq_exec(c, add);
    sqlite3_free(ask);
    sqlite3_free(add);
    return rc;
}

static int add_columns(struct store_conn *c)
{
    static const char *const columns[][3] = {
        { "memories", "confidence", "REAL NOT NULL DEFAULT 1.0" },
        { "memories", "source", "TEXT NOT NULL DEFAULT 'api'" },
        { "memories", "metadata", "TEXT NOT NULL DEFAULT '{}'" },
        { "memories", "embedding", "BLOB" },
        { "memories", "scope_idx",
          "TEXT GENERATED ALWAYS AS (CASE WHEN json_valid(metadata) THEN COALESCE(json_extract(metadata, '$.scope'), "
          "'private')"
          " ELSE 'private' END) VIRTUAL" },
        { "memories", "ver", "INTEGER DEFAULT 0" },
        { "memories", "stream", "INTEGER DEFAULT 0" },
        { "memories", "seq", "INTEGER DEFAULT 0" },
        { "memories", "titled", "INTEGER DEFAULT 0" },
        { "archived_memories", "metadata", "TEXT NOT NULL DEFAULT '{}'" },
        { "namespace_meta", "parent_namespace", "TEXT" },
        { "pending_actions", "approvals", "TEXT NOT NULL DEFAULT '[]'" },
        { "sync_state", "last_pushed_at", "TEXT" },
    };
    int rc = 0;
    for (size_t i = 0; i < sizeof columns / sizeof columns[0] && rc == 0; i++)
        rc = add_column(c, columns[i][0], columns[i][1], columns[i][2]);
    return rc;
}

/* Of rows with one (title, namespace) the newest stays; the others go to the archive, and what pointed at them
 * points at it. */
static int part_duplicates(struct store_conn *c)
{
    int64_t unique;
    int rc = number(c,
                    "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND name IN"
                    " ('idx_memories_title_ns', 'repl_memories_title')",
                    0, &unique);
    if (rc != 0 || unique) return rc;
    return sq_exec(
        c, "CREATE TEMP TABLE twice AS SELECT id AS loser, first_value(id) OVER (PARTITION BY title, namespace"
           " ORDER BY coalesce(aim_us(updated_at), -1) DESC, rowid DESC) AS keeper FROM memories;"
           "DELETE FROM twice WHERE loser = keeper;"
           "INSERT OR REPLACE INTO archived_memories (id, tier, namespace, title, content, tags, priority, confidence, "
           "source,"
           " access_count, created_at, updated_at, last_accessed_at, expires_at, metadata, archived_at, archive_reason)"
           " SELECT id, tier, namespace, title, content, tags, priority, confidence, source, access_count, created_at,"
           " updated_at, last_accessed_at, expires_at, metadata, strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now'),"
           " 'duplicate_title' FROM memories WHERE id IN (SELECT loser FROM twice);"
           "UPDATE OR IGNORE memory_links SET source_id = (SELECT keeper FROM twice WHERE loser = source_id)"
           " WHERE source_id IN (SELECT loser FROM twice);"
           "UPDATE OR IGNORE memory_links SET target_id = (SELECT keeper FROM twice WHERE loser = target_id)"
           " WHERE target_id IN (SELECT loser FROM twice);"
           "DELETE FROM memory_links WHERE source_id = target_id;"
           "UPDATE namespace_meta SET standard_id = (SELECT keeper FROM twice WHERE loser = standard_id)"
           " WHERE standard_id IN (SELECT loser FROM twice);"
           "DELETE FROM memories WHERE id IN (SELECT loser FROM twice);"
           "DROP TABLE twice;");
}

/* From format 1: an index beside the log, and pages that grew at their beginnings. */
static const char format_2[] =
    "UPDATE repl_stream SET number = n FROM (SELECT stream AS s, row_number() OVER (ORDER BY stream) AS n"
    " FROM (SELECT DISTINCT stream FROM repl_op)) WHERE stream = s AND ended < 2;"
    "INSERT INTO repl_log (at, ver, chain, body) SELECT s.number << 40 | o.seq, o.ver, o.chain, o.body"
    " FROM repl_stream s CROSS JOIN repl_op o ON o.stream = s.stream WHERE s.number IS NOT NULL"
    " ORDER BY s.number, o.seq;"
    "DROP TABLE repl_op;"
    "DROP INDEX IF EXISTS repl_memories_page;"
    "DROP INDEX IF EXISTS repl_memories_space;";

/* Of the words, from format 1; they are built anew. */
static int add_mark(struct store_conn *c)
{
    int rc = add_column(c, "recall_stat", "mark", "INTEGER NOT NULL DEFAULT 0");
    return rc ? rc : add_column(c, "recall_stat", "edits", "INTEGER NOT NULL DEFAULT 0");
}

static int climb(struct store_conn *c, const struct look *l)
{
    char numbers[320];
    sqlite3_snprintf(sizeof numbers, numbers,
                     "INSERT INTO repl_local (key, value) VALUES ('store.format', '%d')"
                     " ON CONFLICT (key) DO UPDATE SET value = excluded.value;"
                     "INSERT OR IGNORE INTO repl_local (key, value) SELECT 'store.adopt', '1' WHERE %d;",
                     SQ_FORMAT, l->objects > 0);
    int rc = sq_exec(c, sq_ddl_original);
    if (rc == 0) rc = add_columns(c);
    if (rc == 0) rc = part_duplicates(c);
    if (rc == 0) rc = sq_exec(c, sq_ddl_drop);
    if (rc == 0) rc = sq_exec(c, sq_ddl_original_indexes);
    if (rc == 0 && l->first_log) rc = sq_exec(c, "ALTER TABLE repl_stream ADD COLUMN number INTEGER");
    if (rc == 0) rc = sq_exec(c, sq_ddl_ours);
    if (rc == 0 && l->first_log) rc = sq_exec(c, format_2);
    if (rc == 0) rc = add_mark(c);
    /* the original may have given a row another title */
    if (rc == 0)
        rc = sq_exec(c, "UPDATE memories SET titled = aim_titled(id, title, namespace)"
                        " WHERE titled <> aim_titled(id, title, namespace)");
    if (rc == 0) rc = sq_exec(c, sq_ddl_indexes);
    if (rc == 0) rc = sq_exec(c, numbers);
    if (rc == 0 && l->version < SQ_SCHEMA)
        rc = sq_exec(c, "DELETE FROM schema_version; INSERT INTO schema_version (version) VALUES (13);");
    return rc ? rc : sq_words_rebuild(c);
}

/* A server of an earlier program could not go on writing. */
static int refuse_beside_server(struct store_conn *c, const struct look *l)
{
    if (l->format == 0 || l->format == SQ_FORMAT || c->file->o.serving || !sq_lock_held(c->turn_fd, 0)) return 0;
    return err_set(c->tx.err, E_LOCKED, "%s: must be upgraded, but the server of an earlier program has it open",
                   c->file->path);
}

static int upgrade(struct store_conn *c, struct err *err)
{
    struct look l = { 0 };
    int rc = sq_begin_write(c, err);
    if (rc != 0) return rc;
    c->tx.err = err;
    rc = look_at(c, &l); /* again: another process may have done it meanwhile */
    if (rc == 0) rc = refuse_unknown(c, &l);
    if (rc == 0 && !is_current(&l)) {
        rc = refuse_beside_server(c, &l);
        if (rc == 0 && l.objects > 0 && l.format == 0) rc = copy_before(c);
        if (rc == 0) rc = climb(c, &l);
    }
    if (rc != 0) {
        sq_rollback(c);
        return rc;
    }
    return sq_commit(c, true, err);
}

static int journal_mode(struct store_conn *c, const char *ask, bool *ret_wal)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(c->db, ask, -1, &s, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(s);
    *ret_wal = rc == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(s, 0), "wal") == 0;
    int code = rc == SQLITE_ROW ? 0 : sq_fail(c, "cannot open the database");
    sqlite3_finalize(s);
    return code;
}

/* Backups carry another journal mode. */
static int use_wal(struct store_conn *c)
{
    bool wal;
    int rc = journal_mode(c, "PRAGMA journal_mode", &wal);
    if (rc != 0 || wal) return rc;
    rc = sq_turn_take(c, c->tx.err);
    if (rc == 0) rc = journal_mode(c, "PRAGMA journal_mode = WAL", &wal);
    sq_turn_give(c);
    if (rc != 0 || wal) return rc;
    return err_set(c->tx.err, E_IO, "%s: this file system cannot hold a write-ahead log", c->file->path);
}

int sq_schema_prepare(struct store_conn *c, struct err *err)
{
    struct look l = { 0 };
    bool read_only = c->file->o.read_only;
    c->tx.err = err;
    int rc = look_at(c, &l);
    if (rc == 0) rc = refuse_unknown(c, &l);
    if (rc == 0 && read_only && !is_current(&l))
        rc = err_set(err, E_READ_ONLY, "%s: must be upgraded: open it for writing once", c->file->path);
    if (rc == 0 && !read_only && sqlite3_db_readonly(c->db, "main") == 1)
        rc = err_set(err, E_READ_ONLY, "%s: no permission to write", c->file->path);
    if (rc == 0 && !read_only) rc = use_wal(c);
    if (rc == 0 && !is_current(&l)) rc = upgrade(c, err);
    c->tx.err = &c->err;
    return rc;
}

/* ---- the original's program came by while we have the file open */
int sq_traces_clear(struct store_conn *c)
{
    struct look l = { 0 };
    int rc = look_at(c, &l);
    return rc ? rc : climb(c, &l);
}
