/* sq.h - inside of the SQLite backend: prefix sq_, seen by this folder only. A connection belongs to one thread at a
 * time. */
#ifndef AIM_STORE_SQLITE_SQ_H
#define AIM_STORE_SQLITE_SQ_H

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "err.h"
#include "store.h"
#include "store/sqlite/sqlite.h"
#include "store/sqlite/statements.h"
#include "store/sqlite/statements_beside.h"
#include "store/sqlite/words.h"

#define SQ_SCHEMA 13      /* the original's version that we write */
#define SQ_SCHEMA_MAX 42  /* the newest whose files are known to be readable */
/* When a row is due to expire, in days as SQLite counts them; the index and what uses it must say it alike. */
#define SQ_DUE "coalesce(julianday(expires_at), 0)"
#define SQ_FORMAT 2       /* of our own tables (repl_local, store.format) */
#define SQ_SAVEPOINTS_MAX 8
#define SQ_VFS "aim" /* of writers; see wal.c */

enum sq_stmt {
#define X(name, sql) SQ_##name,
    SQ_STATEMENTS(X) SQ_STATEMENTS_BESIDE(X)
#undef X
        SQ_STATEMENT_COUNT
};

struct sq_file { /* what struct store points to */
    struct store base;
    char *path;
    struct sqlite_options o;
    int lock_fd;           /* byte 0 and the lives; -1: read-only */
    bool immutable;        /* read-only media: opened without locks */
    atomic_bool adopt_due; /* the rows' stamps are to be checked once (start of a server) */
};

/* The files of a database, in the order in which they are looked at (files.c). */
enum { SQ_DATABASE, SQ_LOG, SQ_INDEX, SQ_LOCK, SQ_FILES };
struct sq_known_file {
    char *name; /* owned */
    dev_t dev;
    ino_t ino;
};
struct sq_files {
    struct sq_known_file item[SQ_FILES];
    bool known, saved; /* noted; the log was dealt with */
    int64_t looked_ms; /* when all were looked at */
    struct err why;    /* code 0: they are as they were */
};

struct store_conn {
    struct store_tx tx; /* v, store, err */
    struct sq_file *file;
    sqlite3 *db;
    sqlite3_stmt *stmt[SQ_STATEMENT_COUNT];
    bool writer, in_tx, turn_held;
    atomic_bool unsynced; /* commits that may be in the system's cache only */
    sqlite3_file *wal;    /* the log's file, once there was a commit */
    int lost;    /* SQLite ended the transaction by itself: why; every verb fails until rollback */
    int turn_fd; /* turnstile, writers only */
    uint64_t numbered[2]; /* the stream whose number was looked up last in this transaction, 0: none; its number */
    struct sq_files files; /* writers only */
    struct sq_words words;
    struct sq_mark mark[SQ_SAVEPOINTS_MAX];
    int depth;      /* open savepoints */
    struct err err; /* tx.err unless the caller put his own there */
    atomic_bool *stop;
    int64_t deadline_mono_ms;
    int stopped;                      /* E_CANCELLED or E_TIMEOUT, set by the progress handler */
    int64_t seen_foreign, seen_begin; /* data_version when asked last; at the last begin */
    int64_t seen_words;               /* data_version when the word index was built anew */
    int64_t looked_ms;                /* when all rows were looked at for a stamp that does not fit */
    bool cleared;                     /* in this transaction: what the original left */
    int wal_pages, wal_done;          /* frames in the log; of these in the file already */
    bool chores_due;                  /* the index has a tail, or segments may be worth merging */
    bool wide;                        /* writers: the cache of pages is large; see conn.c */
    unsigned calm;                    /* small transactions since a large one */
};

/* ---- connection (conn.c) */
int sq_conn_new(struct sq_file *f, bool writer, struct store_conn **ret, struct err *err);
void sq_watch(struct store_conn *c, bool on); /* stop flag and deadline are looked at while queries run */
void sq_library(void);                        /* settings of the library, before its first use (open.c) */
void sq_conn_free(struct store_conn *c);
struct store_conn *sq_of(struct store_tx *tx);
int sq_begin_write(struct store_conn *c, struct err *err); /* turnstile and BEGIN IMMEDIATE */
int sq_commit(struct store_conn *c, bool durable, struct err *err);
int sq_sync(struct store_conn *c, struct err *err);
void sq_cache_rest(struct store_conn *c); /* the writer rests: it keeps few pages */
void sq_rollback(struct store_conn *c);
int sq_map(int sqlite_code, int system_errno);       /* SQLite's code as ours */
int sq_fail(struct store_conn *c, const char *what); /* the last failure of c->db into tx.err; returns the code */
int sq_fail_db(sqlite3 *db, const char *path, const char *what, struct err *err);
int sq_exec(struct store_conn *c, const char *sql); /* several statements; 0 or E_* with tx.err set */
/* A cached statement, ready for binding. NULL: failed, tx.err is set and *ret_code says how. */
sqlite3_stmt *sq_stmt(struct store_conn *c, enum sq_stmt which, int *ret_code);
/* 1: a row; 0: done, statement reset; negative: failed, statement reset, tx.err set. */
int sq_step(struct store_conn *c, sqlite3_stmt *s);
int sq_run(struct store_conn *c, sqlite3_stmt *s);       /* steps to the end */
void sq_done(sqlite3_stmt *s);                           /* ends a query before its last row */
void sq_text(sqlite3_stmt *s, int at, const char *text); /* borrowed until the statement is reset; NULL binds NULL */
void sq_int(sqlite3_stmt *s, int at, int64_t n);
void sq_blob(sqlite3_stmt *s, int at, const void *data, size_t len);
/* NULL stays NULL; E_TOO_LARGE */
int sq_copy(struct store_conn *c, sqlite3_stmt *s, int col, struct arena *a, const char **ret);
int sq_copy_blob(struct store_conn *c, sqlite3_stmt *s, int col, struct arena *a, const void **ret, size_t *ret_len);
int sq_too_large(struct store_conn *c); /* E_TOO_LARGE: the arena's cap */
void *sq_grow(struct arena *a, void *old, size_t count, size_t *cap, size_t size); /* in an arena; NULL: cap reached */
int sq_savepoint(struct store_tx *tx, struct err *err);
int sq_savepoint_end(struct store_tx *tx, bool keep, struct err *err);

/* ---- the log of a writer (wal.c) */
int sq_wal_register(void);                 /* once, after sqlite3_initialize; SQLite's code */
sqlite3_file *sq_wal(sqlite3 *db);         /* the log, NULL: none is open */
int sq_wal_sync(sqlite3_file *wal);        /* any thread, beside what else is done with the log; SQLite's code */
void sq_wal_gather(sqlite3 *db, bool on);  /* on: frames gather until SQLite syncs; off: what is left is dropped */

/* ---- locks (locks.c) */
int sq_locks_open(const char *path, bool create, int *ret_fd, struct err *err);
int sq_lock_try(int fd, int64_t byte); /* 0, E_BUSY, E_IO */
void sq_locks_close(int fd);
void sq_unlock(int fd, int64_t byte);
bool sq_lock_held(int fd, int64_t byte); /* by someone with another descriptor */
int sq_turn_take(struct store_conn *c, struct err *err);
void sq_turn_give(struct store_conn *c);

/* ---- the files themselves (files.c) */
int sq_files_note(struct store_conn *c, struct err *err); /* what they are now, once the log is open; 0, E_IO */
void sq_files_forget(struct store_conn *c);
/* Looks at the first `count` of them. 0, or E_MOVED with the file named. Reads only: any thread. */
int sq_files_look(const struct store_conn *c, int count, struct err *err);
/* The same, at all of them once a second; what was found once is the answer for ever. */
int sq_files_check(struct store_conn *c, int count, struct err *err);
/* After that, once: the log is put where it belongs, if whoever opened the files since (he would have made those that
 * were missing) cannot be writing beside us. Best effort. Not in a transaction, nor beside sync. */
void sq_files_save(struct store_conn *c);

/* ---- schema (schema.c, upgrade.c) */
int sq_schema_prepare(struct store_conn *c, struct err *err); /* creates or upgrades; own transaction */
/* What the original's program left is taken away, the word index built anew, its rows are marked for adoption. Inside a
 * write transaction. */
int sq_traces_clear(struct store_conn *c);
extern const char sq_ddl_original[], sq_ddl_original_indexes[], sq_ddl_ours[], sq_ddl_indexes[], sq_ddl_drop[];

/* ---- upkeep (upkeep.c) */
bool sq_upkeep_due(const struct store_conn *c);
int sq_upkeep(struct store_conn *c, bool idle, bool closing, struct err *err);
int sq_checkpoint(struct store_conn *c, int mode, struct err *err); /* inside the turnstile it takes itself */

/* ---- SQL functions (functions.c) */
int sq_functions(sqlite3 *db);
struct sq_give { rowid_cb cb; void *data; int64_t left; }; /* whom aim_give hands rowids to, all in one step */
bool sq_titled(const char *id, const char *title, const char *ns); /* the id begins as ids of this title do */
bool sq_stamp_fits(uint64_t ver, const char *updated_at);
bool sq_keep(const struct filter *f, const struct memory *m); /* all of the filter */

/* ---- rows (memories.c) */
int sq_row(struct store_conn *c, sqlite3_stmt *s, struct arena *a, struct row *ret);
size_t sq_row_bytes(const struct row *r);
void sq_guard_row(struct memory *m); /* what cannot be read in a row of others counts as empty */
struct sq_skip;
bool sq_skip_row(struct sq_skip *k, int64_t priority, int64_t ver, int64_t rowid); /* true: the page begins here */
void sq_bind_moment(sqlite3_stmt *s, int64_t now_us); /* ?1 and ?4 of SQ_EXPIRED_ROWS */
int sq_one_number(struct store_conn *c, sqlite3_stmt *s, int64_t *ret);
int sq_counts(struct store_conn *c, sqlite3_stmt *s, struct arena *a, struct counts *ret);
int sq_rows(struct store_conn *c, sqlite3_stmt *s, size_t limit, size_t bytes_max, struct arena *a, struct rows *ret);
/* Lends the rows beyond a rowid one by one, ascending; ends where rows_max or bytes_max (0: none) are reached. */
int sq_rows_beyond(struct store_conn *c, int64_t rowid, size_t rows_max, size_t bytes_max, lent_cb cb, void *data);

/* ---- verbs */
int sq_get(struct store_tx *, const char *, struct arena *, struct row *);
int sq_by_title(struct store_tx *, const char *, const char *, struct arena *, struct row *);
int sq_by_prefix(struct store_tx *, const char *, size_t, struct arena *, const char ***, size_t *, int64_t *);
int sq_list(struct store_tx *, const struct list_query *, struct arena *, struct rows *);
int sq_count(struct store_tx *, const struct filter *, int64_t *);
int sq_since(struct store_tx *, int64_t, const char *, bool, int64_t, size_t, struct arena *, struct rows *);
int sq_put(struct store_tx *, const struct row *, const struct row *);
int sq_remove(struct store_tx *, const struct row *);
int sq_words_stat(struct store_tx *, int64_t *, int64_t *, int64_t *);
int sq_words_df(struct store_tx *, const char *, bool, int64_t, int64_t *, int64_t *);
int sq_words_scan(struct store_tx *, const char *const *, const char *const *, bool, int64_t, rowid_cb, void *);
int sq_top_rowids(struct store_tx *, int64_t, rowid_cb, void *);
int sq_by_rowids(struct store_tx *, const int64_t *, size_t, size_t, struct arena *, struct rows *);
int sq_each_row(struct store_tx *, const int64_t *, size_t, size_t, lent_cb, void *, size_t *);
int sq_links_of(struct store_tx *, const char *, struct arena *, struct links *);
int sq_link_show(struct store_tx *, const struct link *);
int sq_link_hide(struct store_tx *, const struct link *);
int sq_link_get(struct store_tx *, const struct link *, struct arena *, const char **);
int sq_namespaces(struct store_tx *, int64_t, struct arena *, struct counts *);
int sq_stats(struct store_tx *, int64_t, struct arena *, struct store_stats *);
int sq_expired(struct store_tx *, int64_t, const char *, size_t, struct arena *, struct rows *);
int sq_standard_of(struct store_tx *, const char *, struct arena *, const char **, const char **);
int sq_standard_set(struct store_tx *, const char *, const char *, const char *, const char *);
int sq_archive_put(struct store_tx *, const struct row *, const char *, const char *);
int sq_by_created(struct store_tx *, int64_t, const char *, int64_t, size_t, size_t, struct arena *, struct rows *);
int sq_archive_get(struct store_tx *, const char *, struct arena *, struct archived *);
int sq_archive_list(struct store_tx *, const char *, uint64_t, size_t, size_t, struct arena *, struct archive_rows *);
int sq_archive_remove(struct store_tx *, const char *, const char *);
int sq_archive_older(struct store_tx *, int64_t, size_t, struct arena *, const char ***, size_t *);
int sq_archive_stats(struct store_tx *, struct arena *, int64_t *, struct counts *);
int sq_pending_put(struct store_tx *, const struct pending *);
int sq_pending_get(struct store_tx *, const char *, struct arena *, struct pending *);
int sq_pending_list(struct store_tx *, const char *, size_t, size_t, struct arena *, struct pending_rows *);
int sq_sync_seen(struct store_tx *, const char *, const char *, const char *, const char *);
int sq_sync_clock(struct store_tx *, const char *, struct arena *, struct count_by **, const char ***, size_t *);
int sq_side_get(struct store_tx *, uint16_t, const char *, struct arena *, struct side_row *);
int sq_side_put(struct store_tx *, const struct side_row *);
int sq_side_remove(struct store_tx *, uint16_t, const char *);
int sq_side_by_key(struct store_tx *, uint16_t, uint64_t, struct arena *, struct side_row **, size_t *);
int sq_side_scan(struct store_tx *, uint16_t, const char *, const char *, size_t, struct arena *, struct side_row **,
                 size_t *);
int sq_op_append(struct store_tx *, uint64_t, const struct log_op *);
int sq_op_page(struct store_tx *, uint64_t, uint64_t, size_t, size_t, struct arena *, struct log_op **, size_t *);
int sq_op_chain(struct store_tx *, uint64_t, uint64_t, uint64_t *);
int sq_stream_get(struct store_tx *, uint64_t, struct stream_pos *);
int sq_stream_put(struct store_tx *, const struct stream_pos *);
int sq_streams(struct store_tx *, struct arena *, struct stream_pos **, size_t *);
int sq_local_get(struct store_tx *, const char *, struct arena *, struct local_value *);
int sq_local_put(struct store_tx *, const char *, const void *, size_t);
int sq_idem_get(struct store_tx *, const char *, struct arena *, struct idem_row *);
int sq_idem_put(struct store_tx *, const char *, const struct idem_row *);
int sq_ids_after(struct store_tx *, const char *, size_t, struct arena *, const char ***, size_t *);
int sq_archive_after(struct store_tx *, const char *, size_t, struct arena *, const char ***, size_t *);
int sq_idem_after(struct store_tx *, const char *, size_t, struct arena *, const char ***, size_t *);
int sq_unstamped(struct store_tx *, size_t, struct arena *, struct rows *);

#endif
