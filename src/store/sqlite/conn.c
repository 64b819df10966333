/* conn.c - one connection: opening, the statement cache, transactions, errors.
 *
 * SQLite's own sync at commit only writes the frames out (wal.c); a durable commit syncs the log right afterwards
 * through the same file object. So one transaction can be durable and the next one not, which a pragma cannot do inside
 * a transaction, and nobody waits for the disk inside the turnstile. */
#include "store/sqlite/sq.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"

#define READER_CACHE_KIB 2048
#define WRITER_CACHE_KIB 4096 /* SQLite walks all of it at each commit; the system's cache is one call away */
#define WIDE_CACHE_KIB 16384  /* after a transaction whose pages did not fit: one like it comes next (a snapshot) */
#define WIDE_PAGES 512        /* a transaction of more goes on needing it */
#define WIDE_CALM 256         /* smaller ones until it is given back */
#define PROGRESS_STEPS 2000

static const char *const statement_sql[SQ_STATEMENT_COUNT] = {
#define X(name, sql) [SQ_##name] = sql,
    SQ_STATEMENTS(X) SQ_STATEMENTS_BESIDE(X)
#undef X
};

struct store_conn *sq_of(struct store_tx *tx)
{
    return container_of(tx, struct store_conn, tx);
}

int sq_map(int sqlite_code, int system_errno)
{
    switch (sqlite_code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return 0;
    case SQLITE_FULL: return E_DISK_FULL;
    case SQLITE_READONLY: return E_READ_ONLY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return E_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return E_BUSY;
    case SQLITE_CONSTRAINT: return E_CONFLICT;
    case SQLITE_TOOBIG: return E_TOO_LARGE;
    case SQLITE_INTERRUPT: return E_CANCELLED;
    case SQLITE_PERM:
    case SQLITE_AUTH: return E_READ_ONLY;
    case SQLITE_CANTOPEN: return E_IO;
    case SQLITE_IOERR:
        if (sqlite_code == SQLITE_IOERR_FSYNC || sqlite_code == SQLITE_IOERR_DIR_FSYNC) return E_IO;
        if (system_errno == ENOSPC || system_errno == EDQUOT || system_errno == EFBIG) return E_DISK_FULL;
        return sqlite_code == SQLITE_IOERR_SHMSIZE ? E_DISK_FULL : E_IO;
    default: return E_INTERNAL;
    }
}

/* Why the system refused: SQLite tells ENOSPC itself, a quota or a limit must be asked for at the log. */
static int system_errno(sqlite3 *db)
{
    int why = sqlite3_system_errno(db);
    if (why != 0 || sqlite3_extended_errcode(db) != SQLITE_IOERR_WRITE) return why;
    sqlite3_file *wal = sq_wal(db);
    if (wal) wal->pMethods->xFileControl(wal, SQLITE_FCNTL_LAST_ERRNO, &why);
    return why;
}

int sq_fail_db(sqlite3 *db, const char *path, const char *what, struct err *err)
{
    int rc = sqlite3_extended_errcode(db);
    int code = sq_map(rc, system_errno(db));
    return err_set(err, code ? code : E_INTERNAL, "%s: %s: %s", path, what, sqlite3_errmsg(db));
}

int sq_fail(struct store_conn *c, const char *what)
{
    int code;
    if (c->stopped && (sqlite3_errcode(c->db) & 0xff) == SQLITE_INTERRUPT) {
        code = err_set(c->tx.err, c->stopped, "%s", err_text(c->stopped));
    } else {
        code = sq_fail_db(c->db, c->file->path, what, c->tx.err);
        /* files put in the place of ours look like damage */
        if ((code == E_IO || code == E_CORRUPT) && sq_files_check(c, SQ_FILES, c->tx.err) != 0) code = E_MOVED;
    }
    if (c->in_tx && sqlite3_get_autocommit(c->db)) c->lost = code;
    return code;
}

int sq_exec(struct store_conn *c, const char *sql)
{
    return sqlite3_exec(c->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : sq_fail(c, "statement failed");
}

/* ---- statements */
sqlite3_stmt *sq_stmt(struct store_conn *c, enum sq_stmt which, int *ret_code)
{
    if (c->lost) {
        *ret_code = err_set(c->tx.err, c->lost, "%s: the transaction was undone: %s", c->file->path, err_text(c->lost));
        return NULL;
    }
    if (c->stmt[which] == NULL) {
        int rc = sqlite3_prepare_v3(c->db, statement_sql[which], -1, SQLITE_PREPARE_PERSISTENT, &c->stmt[which], NULL);
        if (rc != SQLITE_OK) {
            *ret_code = sq_fail(c, "cannot prepare");
            return NULL;
        }
    }
    *ret_code = 0;
    return c->stmt[which];
}

int sq_step(struct store_conn *c, sqlite3_stmt *s)
{
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) return 1;
    int code = rc == SQLITE_DONE ? 0 : sq_fail(c, "query failed");
    sqlite3_reset(s);
    return code;
}

int sq_run(struct store_conn *c, sqlite3_stmt *s)
{
    int rc;
    do rc = sq_step(c, s);
    while (rc == 1);
    return rc;
}

void sq_done(sqlite3_stmt *s)
{
    sqlite3_reset(s);
}

void sq_text(sqlite3_stmt *s, int at, const char *text)
{
    sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

void sq_int(sqlite3_stmt *s, int at, int64_t n)
{
    sqlite3_bind_int64(s, at, n);
}

void sq_blob(sqlite3_stmt *s, int at, const void *data, size_t len)
{
    sqlite3_bind_blob64(s, at, len ? data : "", len, SQLITE_STATIC);
}

int sq_too_large(struct store_conn *c)
{
    return err_set(c->tx.err, E_TOO_LARGE, "the result does not fit the memory set aside for it");
}

int sq_copy(struct store_conn *c, sqlite3_stmt *s, int col, struct arena *a, const char **ret)
{
    const void *text = sqlite3_column_text(s, col);
    *ret = NULL;
    if (text == NULL) return 0;
    *ret = arena_strndup(a, text, (size_t)sqlite3_column_bytes(s, col));
    return *ret ? 0 : sq_too_large(c);
}

int sq_copy_blob(struct store_conn *c, sqlite3_stmt *s, int col, struct arena *a, const void **ret, size_t *ret_len)
{
    const void *data = sqlite3_column_blob(s, col);
    *ret_len = data ? (size_t)sqlite3_column_bytes(s, col) : 0;
    *ret = arena_strndup(a, data ? data : "", *ret_len);
    return *ret ? 0 : sq_too_large(c);
}

void *sq_grow(struct arena *a, void *old, size_t count, size_t *cap, size_t size)
{
    if (count < *cap) return old;
    size_t more = *cap ? *cap * 2 : 16;
    void *p = arena_alloc(a, more * size);
    if (p == NULL) return NULL;
    if (count > 0) memcpy(p, old, count * size);
    *cap = more;
    return p;
}

/* ---- opening and closing */
static int wal_grew(void *data, sqlite3 *db, const char *name, int pages)
{
    (void)db;
    (void)name;
    struct store_conn *c = data;
    if (pages < c->wal_pages) c->wal_done = 0; /* the log began anew from its start */
    c->wal_pages = pages;
    c->unsynced = true;
    return SQLITE_OK;
}

static int progress(void *data)
{
    struct store_conn *c = data;
    if (c->stop && atomic_load_explicit(c->stop, memory_order_relaxed))
        c->stopped = E_CANCELLED;
    else if (c->deadline_mono_ms && clock_mono_ms() >= c->deadline_mono_ms)
        c->stopped = E_TIMEOUT;
    return c->stopped != 0;
}

void sq_watch(struct store_conn *c, bool on)
{
    sqlite3_progress_handler(c->db, on ? PROGRESS_STEPS : 0, on ? progress : NULL, c);
}

static int open_handle(struct store_conn *c, struct err *err)
{
    struct sq_file *f = c->file;
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    flags |= c->writer && !f->o.read_only ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    int rc;
    if (f->immutable) {
        char *uri = sqlite3_mprintf("file:%s?immutable=1", f->path);
        rc = sqlite3_open_v2(uri, &c->db, flags | SQLITE_OPEN_URI, NULL);
        sqlite3_free(uri);
    } else {
        rc = sqlite3_open_v2(f->path, &c->db, flags, c->writer ? SQ_VFS : NULL);
    }
    if (rc != SQLITE_OK) return sq_fail_db(c->db, f->path, "cannot open the database", err);
    sqlite3_busy_timeout(c->db, f->o.busy_ms);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (sq_functions(c->db)) return sq_fail_db(c->db, f->path, "cannot register functions", err);
    return 0;
}

int sq_conn_new(struct sq_file *f, bool writer, struct store_conn **ret, struct err *err)
{
    struct store_conn *c = mem_alloc(sizeof *c);
    c->file = f;
    c->writer = writer;
    c->turn_fd = -1;
    c->chores_due = writer && f->o.serving; /* what the last life left */
    c->tx.store = &f->base;
    c->tx.err = &c->err;
    c->seen_begin = c->seen_foreign = -1;
    buf_init(&c->words.todo, 64u << 20);
    int rc = open_handle(c, err);
    if (rc == 0) {
        char pragmas[320];
        sqlite3_snprintf(sizeof pragmas, pragmas,
                         "PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                         "PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0; PRAGMA secure_delete = FAST;"
                         "PRAGMA cache_size = %d;",
                         writer ? -WRITER_CACHE_KIB : -READER_CACHE_KIB);
        if (sqlite3_exec(c->db, pragmas, NULL, NULL, NULL) != SQLITE_OK)
            rc = sq_fail_db(c->db, f->path, "cannot open the database", err);
    }
    if (rc == 0 && writer && !f->o.read_only) {
        sqlite3_wal_hook(c->db, wal_grew, c);
        rc = sq_locks_open(f->path, true, &c->turn_fd, err);
    }
    if (rc != 0) {
        sq_conn_free(c);
        return rc;
    }
    *ret = c;
    return 0;
}

void sq_conn_free(struct store_conn *c)
{
    if (c == NULL) return;
    if (c->in_tx) sq_rollback(c);
    for (int i = 0; i < SQ_STATEMENT_COUNT; i++) sqlite3_finalize(c->stmt[i]);
    if (c->db) CHECK(sqlite3_close(c->db) == SQLITE_OK);
    if (c->turn_fd >= 0) sq_locks_close(c->turn_fd);
    buf_release(&c->words.todo);
    sq_tail_free(c->words.tail);
    sq_files_forget(c);
    mem_free(c);
}

/* ---- transactions */
static int run_plain(struct store_conn *c, enum sq_stmt which)
{
    int rc;
    sqlite3_stmt *s = sq_stmt(c, which, &rc);
    return s ? sq_run(c, s) : rc;
}

int sq_begin_write(struct store_conn *c, struct err *err)
{
    CHECK(!c->in_tx);
    c->tx.err = err;
    c->lost = c->stopped = c->depth = 0;
    c->numbered[0] = 0;
    int rc = sq_files_check(c, SQ_DATABASE + 1, err);
    if (rc == 0) rc = sq_turn_take(c, err);
    if (rc == 0) {
        rc = run_plain(c, SQ_BEGIN_WRITE);
        if (rc != 0) sq_turn_give(c);
    }
    c->in_tx = rc == 0;
    c->tx.err = &c->err;
    return rc;
}

int sq_sync(struct store_conn *c, struct err *err)
{
    int rc = SQLITE_OK;
    if (c->file->o.durability == SQLITE_DURABLE_FULL && atomic_exchange(&c->unsynced, false))
        rc = c->wal ? sq_wal_sync(c->wal) : SQLITE_IOERR_FSYNC;
    if (rc != SQLITE_OK)
        return err_set(err, E_IO, "%s: the log could not be synced: %s", c->file->path, strerror(errno));
    return sq_files_look(c, SQ_LOG + 1, err);
}

static void set_cache(struct store_conn *c, bool wide)
{
    char pragma[64];
    sqlite3_snprintf(sizeof pragma, pragma, "PRAGMA cache_size = %d", wide ? -WIDE_CACHE_KIB : -WRITER_CACHE_KIB);
    if (sqlite3_exec(c->db, pragma, NULL, NULL, NULL) == SQLITE_OK) c->wide = wide;
    c->calm = 0;
}

void sq_cache_rest(struct store_conn *c)
{
    if (c->wide) set_cache(c, false);
}

/* After a commit that wrote so many pages. */
static void fit_cache(struct store_conn *c, int pages)
{
    int spilled = 0, high = 0;
    if (!c->wide) {
        if (pages <= WIDE_PAGES) return;
        (void)sqlite3_db_status(c->db, SQLITE_DBSTATUS_CACHE_SPILL, &spilled, &high, 1);
        if (spilled > 0) set_cache(c, true);
    } else if (pages > WIDE_PAGES) {
        c->calm = 0;
    } else if (++c->calm == WIDE_CALM) {
        set_cache(c, false);
    }
}

int sq_commit(struct store_conn *c, bool durable, struct err *err)
{
    CHECK(c->in_tx);
    c->tx.err = err;
    int before = c->wal_pages;
    int rc =
        c->lost ? err_set(err, c->lost, "%s: the transaction was undone: %s", c->file->path, err_text(c->lost)) : 0;
    if (rc == 0 && c->writer) rc = sq_words_finish(c);
    if (rc == 0) {
        if (c->writer) sq_wal_gather(c->db, true);
        rc = run_plain(c, SQ_COMMIT);
        if (c->writer) sq_wal_gather(c->db, false);
    }
    c->tx.err = &c->err;
    if (rc != 0) {
        sq_rollback(c);
        return rc;
    }
    c->in_tx = c->cleared = false;
    sq_words_forget(c);
    sq_turn_give(c);
    if (c->wal == NULL) c->wal = sq_wal(c->db);
    if (c->writer) fit_cache(c, c->wal_pages >= before ? c->wal_pages - before : c->wal_pages);
    return durable ? sq_sync(c, err) : 0;
}

void sq_rollback(struct store_conn *c)
{
    if (!c->in_tx) return;
    if (!sqlite3_get_autocommit(c->db)) sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
    c->in_tx = false;
    if (c->cleared) c->seen_begin = -1; /* it is all there again */
    c->cleared = false;
    c->lost = c->depth = 0;
    sq_words_undone(c);
    sq_words_forget(c);
    sq_turn_give(c);
    c->tx.err = &c->err;
}

int sq_savepoint(struct store_tx *tx, struct err *err)
{
    struct store_conn *c = sq_of(tx);
    CHECK(c->depth < SQ_SAVEPOINTS_MAX);
    int rc = run_plain(c, SQ_SAVEPOINT);
    if (rc != 0) {
        if (err && err != tx->err && tx->err) *err = *tx->err;
        return rc;
    }
    c->mark[c->depth++] =
        (struct sq_mark){ c->words.todo.len, c->words.applied, c->words.totals, c->words.loaded, c->words.changed };
    return 0;
}

int sq_savepoint_end(struct store_tx *tx, bool keep, struct err *err)
{
    struct store_conn *c = sq_of(tx);
    CHECK(c->depth > 0);
    const struct sq_mark *m = &c->mark[--c->depth];
    int rc = keep ? 0 : run_plain(c, SQ_ROLLBACK_TO);
    if (rc == 0) rc = run_plain(c, SQ_RELEASE);
    if (rc != 0) {
        if (err && err != tx->err && tx->err) *err = *tx->err;
        return rc;
    }
    if (!keep) {
        sq_words_undone(c);
        c->numbered[0] = 0;
        /* What was in the index already when the savepoint began is there still; all since was undone with it. */
        c->words.todo.len = m->len;
        if (c->words.applied > m->applied) c->words.applied = m->applied;
        c->words.totals = m->totals;
        c->words.loaded = m->loaded;
        c->words.changed = m->changed;
    }
    return 0;
}
