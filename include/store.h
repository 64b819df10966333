/* store.h - the storage port: blocking verbs on one transaction, no SQL above it. Implemented by store/sqlite and, for
 * tests and the simulator, by an in-memory store. Pool threads only (a command without a loop: its own thread).
 *
 * Queries return; a mutation's error may come only at tx_savepoint_end or commit, so callers look there too.
 * Strings of results live in the arena given. E_BUSY: another process holds the file; E_DISK_FULL, E_READ_ONLY,
 * E_CORRUPT, E_IO as they say; after E_IO at commit, and after E_MOVED anywhere, nothing of this file may be
 * acknowledged any more. */
#ifndef AIM_STORE_H
#define AIM_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "memory.h"

struct arena;
struct store;          /* an open database file (or server) with its settings; may be shared by threads */
struct store_tx;       /* one connection's transaction; one thread at a time */

/* ---- filters and pages ---------------------------------------------------------------------------------------- */
struct filter {                       /* NULL or 0: not asked */
    const char *ns;                   /* exact */
    const char *const *ns_any; size_t ns_any_count;   /* one of (recall's ancestors) */
    const char *tier_word; const enum tier *tier;     /* tier: exact */
    const int *min_priority;
    const int64_t *since_us, *until_us;               /* created_at, inclusive */
    const char *const *tags; size_t tags_count;       /* any of these tags, each compared whole */
    const char *agent_id;                             /* metadata.agent_id */
    const struct viewer *viewer;
    int64_t now_us;                                   /* rows expired then are left out; 0: expired rows too */
};
struct cursor { int priority; uint64_t ver; const char *id; };     /* the last row of the page before */
struct list_query { struct filter f; const struct cursor *after; uint64_t offset; size_t limit; size_t bytes_max; };
struct rows { struct row *item; size_t count; bool more; };        /* in the arena; more: limit or bytes_max cut it */
struct count_by { const char *name; int64_t count; };
struct counts { struct count_by *item; size_t count; };
struct store_stats { int64_t total, expiring_soon, links, db_bytes; struct counts by_tier, by_ns; };
struct links { struct link *item; size_t count; };
struct archived { struct row row; const char *archived_at, *reason; };   /* row: without stamp, own and rowid */
struct archive_rows { struct archived *item; size_t count; bool more; };
/* An action that waits for a decision, or waited. payload, approvals: JSON text. decided_*: NULL while it waits. */
struct pending {
    const char *id, *action, *memory_id, *ns, *payload, *requested_by, *requested_at;
    const char *status, *decided_by, *decided_at, *approvals;
};
struct pending_rows { struct pending *item; size_t count; bool more; };

/* Anything of ours that is stamped and is no visible memory: repl_row. */
struct side_row {
    uint16_t kind;                    /* enum side_kind */
    const char *id;
    struct stamp stamp;
    uint64_t key;                     /* secondary look-up, e.g. hash64 of title NUL ns for shadows; 0: none */
    const void *body; size_t body_len;
};
enum side_kind {                      /* on disk: never reused */
    SIDE_TOMBSTONE = 1, SIDE_SHADOW = 2, SIDE_OWN = 3, SIDE_TOUCH = 4, SIDE_LINK = 5, SIDE_LINK_GONE = 6,
    SIDE_STANDARD = 7, SIDE_PENDING = 8, SIDE_ARCHIVE = 9, SIDE_HELD = 10, SIDE_SWEPT = 11, SIDE_MEMBER = 12,
    SIDE_STREAM = 13, SIDE_LOSER = 14, SIDE_DOUBT = 15,
};
struct stream_pos { uint64_t stream, node, pos, chain, trimmed; bool ended, left; };   /* left: out of the vector */
struct log_op { uint64_t seq, ver, chain; const void *body; size_t body_len; };   /* chain: after this op */
/* An idempotency key: the request's fingerprint, then the answer in the operations' form; bound to the op `stamp`. */
#define IDEM_PRINT 32
struct idem_row { const void *body; size_t body_len; struct stamp stamp; int64_t expires_us; };
struct local_value { const void *data; size_t len; };

typedef int (*rowid_cb)(void *data, int64_t rowid);                /* non-zero stops the scan without error */
typedef int (*lent_cb)(void *data, const struct row *row);         /* 0, or the error the verb ends with */

/* ---- the verbs ------------------------------------------------------------------------------------------------ */
struct store_verbs {
    /* memories */
    /* E_NOT_FOUND; exact id */
    int (*get)(struct store_tx *, const char *id, struct arena *, struct row *ret);
    int (*by_title)(struct store_tx *, const char *title, const char *ns, struct arena *, struct row *ret);
    int (*by_prefix)(struct store_tx *, const char *prefix, size_t max, struct arena *, const char ***ret_ids,
                     size_t *ret_count, int64_t *ret_total);
    /* priority desc, ver desc, id */
    int (*list)(struct store_tx *, const struct list_query *, struct arena *, struct rows *ret);
    int (*count)(struct store_tx *, const struct filter *, int64_t *ret);
    /* (updated, id) ascending, beyond the pair */
    int (*since)(struct store_tx *, int64_t after_us, const char *after_id, bool with_expired, int64_t now_us,
                 size_t limit, struct arena *, struct rows *ret);
    /* before NULL: insert. Writes every column, stamp, own (when own_differs) and the word index where words changed */
    int (*put)(struct store_tx *, const struct row *next, const struct row *before);
    /* the row, its words, its own, its shown links; standards pointing at it are detached */
    int (*remove)(struct store_tx *, const struct row *before);
    /* word index (recall.md 1-3). Words are folded already (store_words); scans run newest rowid first */
    int (*words_stat)(struct store_tx *, int64_t *ret_rows, int64_t *ret_words, int64_t *ret_max_rowid);
    /* counts at most cap */
    int (*words_df)(struct store_tx *, const char *word, bool prefix, int64_t cap, int64_t *ret_df,
                    int64_t *ret_last_rowid);
    /* NULL-ended lists; namespaces by name; any_of_ns may be NULL */
    int (*words_scan)(struct store_tx *, const char *const *all_of, const char *const *any_of_ns, bool prefix_last,
                      int64_t limit, rowid_cb, void *data);
    int (*top_rowids)(struct store_tx *, int64_t limit, rowid_cb, void *data);        /* by priority desc, ver desc */
    /* missing ones are left out */
    int (*by_rowids)(struct store_tx *, const int64_t *rowid, size_t count, size_t bytes_max, struct arena *,
                     struct rows *ret);
    /* The same rows one by one, their texts lent for the call: no source, no last access, no own. Ends before a row
     * that bytes_max (0: none) does not hold, unless it is the first. *ret_done: so many rowids are done with. */
    int (*each_row)(struct store_tx *, const int64_t *rowid, size_t count, size_t bytes_max, lent_cb, void *data,
                    size_t *ret_done);
    /* links as shown (memory_links); the rows of record are SIDE_LINK */
    /* either end; created_at, then ids */
    int (*links_of)(struct store_tx *, const char *id, struct arena *, struct links *ret);
    /* insert or replace; both ends must be visible */
    int (*link_show)(struct store_tx *, const struct link *);
    int (*link_hide)(struct store_tx *, const struct link *);
    /* when it says that it was made; E_NOT_FOUND: not shown */
    int (*link_get)(struct store_tx *, const struct link *, struct arena *, const char **ret_created_at);
    /* counters */
    /* live rows; count desc, name */
    int (*namespaces)(struct store_tx *, int64_t now_us, struct arena *, struct counts *ret);
    int (*stats)(struct store_tx *, int64_t now_us, struct arena *, struct store_stats *ret);
    int (*expired)(struct store_tx *, int64_t now_us, const char *after_id, size_t limit, struct arena *,
                   struct rows *ret);
    /* live rows by (created_at, id), beyond the pair; an unreadable time counts as 0 */
    int (*by_created)(struct store_tx *, int64_t after_us, const char *after_id, int64_t now_us, size_t limit,
                      size_t bytes_max, struct arena *, struct rows *ret);
    /* the original's side tables */
    /* E_NOT_FOUND */
    int (*standard_of)(struct store_tx *, const char *ns, struct arena *, const char **ret_memory_id,
                       const char **ret_parent);
    /* memory_id NULL: clear */
    int (*standard_set)(struct store_tx *, const char *ns, const char *memory_id, const char *parent,
                        const char *updated_at);
    int (*archive_put)(struct store_tx *, const struct row *, const char *archived_at, const char *reason);
    int (*archive_get)(struct store_tx *, const char *id, struct arena *, struct archived *ret);   /* E_NOT_FOUND */
    /* archived_at desc, id; ns NULL: all */
    int (*archive_list)(struct store_tx *, const char *ns, uint64_t offset, size_t limit, size_t bytes_max,
                        struct arena *, struct archive_rows *ret);
    /* reason NULL: whatever it is. Not there: 0 */
    int (*archive_remove)(struct store_tx *, const char *id, const char *reason);
    /* ids archived before that moment (INT64_MAX: all), ascending */
    int (*archive_older)(struct store_tx *, int64_t before_us, size_t limit, struct arena *, const char ***ret_ids,
                         size_t *ret_count);
    int (*archive_stats)(struct store_tx *, struct arena *, int64_t *ret_total, struct counts *ret_by_ns);
    int (*pending_put)(struct store_tx *, const struct pending *);
    int (*pending_get)(struct store_tx *, const char *id, struct arena *, struct pending *ret);    /* E_NOT_FOUND */
    /* requested_at desc, id; status NULL: all */
    int (*pending_list)(struct store_tx *, const char *status, size_t limit, size_t bytes_max, struct arena *,
                        struct pending_rows *ret);
    /* sync_state, never lowered */
    int (*sync_seen)(struct store_tx *, const char *agent, const char *peer, const char *seen_at, const char *now);
    int (*sync_clock)(struct store_tx *, const char *agent, struct arena *, struct count_by **ret /* name: peer; */,
                      const char ***ret_times, size_t *ret_count);
    /* rows of ours */
    int (*side_get)(struct store_tx *, uint16_t kind, const char *id, struct arena *, struct side_row *ret);
    int (*side_put)(struct store_tx *, const struct side_row *);
    int (*side_remove)(struct store_tx *, uint16_t kind, const char *id);
    int (*side_by_key)(struct store_tx *, uint16_t kind, uint64_t key, struct arena *, struct side_row **ret,
                       size_t *ret_count);
    /* id ascending; ids starting with prefix (NULL: all) */
    int (*side_scan)(struct store_tx *, uint16_t kind, const char *prefix, const char *after_id, size_t limit,
                     struct arena *, struct side_row **ret, size_t *ret_count);
    /* log and vector. An op appended is where its stream stands then; one not known before has node 0 */
    int (*op_append)(struct store_tx *, uint64_t stream, const struct log_op *);
    /* at least one if there is one */
    int (*op_page)(struct store_tx *, uint64_t stream, uint64_t from_seq, size_t count_max, size_t bytes_max,
                   struct arena *, struct log_op **ret, size_t *ret_count);
    /* chain after seq; seq 0: 0; E_NOT_FOUND when trimmed or beyond */
    int (*op_chain)(struct store_tx *, uint64_t stream, uint64_t seq, uint64_t *ret_chain);
    int (*stream_get)(struct store_tx *, uint64_t stream, struct stream_pos *ret);
    /* the log up to `trimmed` goes; all of it when the stream left */
    int (*stream_put)(struct store_tx *, const struct stream_pos *);
    /* without those that left */
    int (*streams)(struct store_tx *, struct arena *, struct stream_pos **ret, size_t *ret_count);
    int (*local_get)(struct store_tx *, const char *key, struct arena *, struct local_value *ret);
    int (*local_put)(struct store_tx *, const char *key, const void *data, size_t len);
    int (*idem_get)(struct store_tx *, const char *key, struct arena *, struct idem_row *ret);     /* E_NOT_FOUND */
    int (*idem_put)(struct store_tx *, const char *key, const struct idem_row *);
    /* keys of whole tables, ascending, beyond `after` (NULL: from the beginning). ids: all visible, SIDE_SHADOW
     * or SIDE_TOMBSTONE, each once */
    int (*ids_after)(struct store_tx *, const char *after, size_t limit, struct arena *, const char ***ret,
                     size_t *ret_count);
    int (*archive_after)(struct store_tx *, const char *after, size_t limit, struct arena *, const char ***ret,
                         size_t *ret_count);
    int (*idem_after)(struct store_tx *, const char *after, size_t limit, struct arena *, const char ***ret,
                      size_t *ret_count);
    /* rows whose stamp is missing or does not fit updated_at: the original wrote them */
    int (*unstamped)(struct store_tx *, size_t limit, struct arena *, struct rows *ret);
    /* transaction */
    int (*savepoint)(struct store_tx *, struct err *);
    int (*savepoint_end)(struct store_tx *, bool keep, struct err *);                  /* false: undo since savepoint */
};
struct store_tx {
    const struct store_verbs *v;
    struct store *store;
    struct err *err;                  /* text of the last failing verb */
};

/* ---- opening and connections (store/sqlite/sqlite.h has the options) ------------------------------------------ */
struct store_conn;     /* one connection: the writer's, or a reader's */
struct store_backend {
    int (*conn_open)(struct store *, bool writer, struct store_conn **ret, struct err *);
    void (*conn_close)(struct store_conn *);
    /* writer: BEGIN IMMEDIATE inside the turnstile (E_MOVED: the file is not there any more); reader: a snapshot */
    int (*begin)(struct store_conn *, struct store_tx **ret, struct err *);
    /* durable false: without fsync. On failure everything is rolled back; E_IO, E_MOVED: it may be durable all the
     * same */
    int (*commit)(struct store_conn *, bool durable, struct err *);
    /* What was committed without fsync before this call is durable when it returns 0. The writer's connection, from
     * another thread than its own if need be, beside its next transaction; not beside upkeep, and one call at a
     * time. */
    int (*sync)(struct store_conn *writer, struct err *);
    void (*rollback)(struct store_conn *);
    /* reads give up (E_CANCELLED, E_TIMEOUT) when set or late; NULL, 0: never */
    void (*stop_flag)(struct store_conn *, atomic_bool *stop, int64_t deadline_mono_ms);
    /* the log is long: upkeep should run soon, even without a pause */
    bool (*upkeep_due)(const struct store_conn *writer);
    /* checkpoint and index merges when due; closing: whole WAL. E_MOVED counts, other failures may be ignored */
    int (*upkeep)(struct store_conn *writer, bool idle, bool closing, struct err *);
    /* another process committed since asked last */
    int (*foreign)(struct store_conn *, bool *ret_changed);
    void (*close)(struct store *);
};
struct store { const struct store_backend *b; };

#endif
