/* memstore_private.h - tables of the in-memory store, shared by its two sources. */
#ifndef AIM_TEST_MEMSTORE_PRIVATE_H
#define AIM_TEST_MEMSTORE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "memstore.h"

enum table {
    T_ROW,      /* id -> row */
    T_TITLE,    /* title NUL ns -> id */
    T_ROWID,    /* be64 -> id */
    T_LINK,     /* source 1f target 1f relation -> created_at */
    T_SIDE,     /* be16 kind, id -> side row */
    T_SIDE_KEY, /* be16 kind, be64 key, id -> nothing */
    T_OP,       /* be64 stream, be64 seq -> op */
    T_STREAM,   /* be64 stream -> position */
    T_LOCAL,    /* key -> bytes */
    T_IDEM,     /* key -> fingerprint, stamp, expiry */
    T_ARCHIVE,  /* id -> row, when, why */
    T_STANDARD, /* namespace -> memory, parent, updated_at */
    T_SYNC,     /* agent 1f peer -> seen, now */
    T_PENDING,  /* id -> the other texts */
    T_COUNTER,  /* "rowid" -> next rowid */
    TABLES
};

struct blob {
    atomic_uint refs;
    uint32_t len;
    char data[];
};
struct entry { struct blob *key, *value; };   /* owned references */
struct map { struct entry *item; size_t count, cap; };
struct undo { enum table table; struct blob *key, *old; };   /* old NULL: was absent */

struct memstore {
    struct store base;
    struct store_verbs verbs;
    bool threads;
    pthread_mutex_t lock;          /* tables against readers' copies */
    pthread_cond_t let_go;
    bool in_sync;
    unsigned upkeeps;
    bool hold;                     /* syncs wait */
    struct map live[TABLES];
    struct undo *undo; size_t undo_count, undo_cap;
    size_t tx_start;               /* undo entries before are commits without fsync */
    size_t synced;                 /* undo entries before are durable all the same */
    uint64_t undone_before;        /* undo entries that were forgotten since the beginning */
    bool in_tx, upkeep_due;
    size_t mark[16]; unsigned marks;
    uint64_t calls, fail_at, fsyncs;
    int fail_code, commit_code, sync_code;
    unsigned busy;
};

struct store_conn {
    struct store_tx tx;
    struct memstore *m;
    bool writer, in_tx;
    struct map copy[TABLES];       /* readers with threads */
    atomic_bool *stop;
    struct err err;
};

/* The conn's tables, and the fault counter: call first in every verb. 0 or the code to fail with. */
int ms_call(struct store_tx *tx);
struct map *ms_map(struct store_tx *tx, enum table t);
/* index of the key, or where it belongs */
size_t ms_find(const struct map *m, const void *key, size_t len, bool *found);
const struct blob *ms_get(struct store_tx *tx, enum table t, const void *key, size_t len);
void ms_put(struct store_tx *tx, enum table t, const struct buf *key, const struct buf *value);
void ms_drop(struct store_tx *tx, enum table t, const struct buf *key);
bool ms_starts(const struct blob *key, const void *prefix, size_t len);
int ms_savepoint(struct store_tx *tx, struct err *err);
int ms_savepoint_end(struct store_tx *tx, bool keep, struct err *err);
void ms_rows_verbs(struct store_verbs *v);
void ms_side_verbs(struct store_verbs *v);
void ms_beside_verbs(struct store_verbs *v);

#define CALL(tx) do { int call_rc = ms_call(tx); if (call_rc != 0) return call_rc; } while (0)
#define BYTES_MAX (64u << 20)
/* Keys; the buffer is released by ms_lookup, ms_set, ms_drop. */
const struct buf *ms_key_str(struct buf *k, const char *s);
const struct buf *ms_key_pair(struct buf *k, const char *a, char between, const char *b);
const struct buf *ms_key_u64(struct buf *k, uint64_t a, const uint64_t *b);
const struct buf *ms_key_side(struct buf *k, uint16_t kind, const char *id);
const struct buf *ms_key_side_key(struct buf *k, uint16_t kind, uint64_t key, const char *id);
const struct buf *ms_key_link(struct buf *k, const struct link *l);
bool ms_key_has(const struct blob *link_key, const char *id, bool first);
const struct blob *ms_lookup(struct store_tx *tx, enum table t, struct buf *k);
void ms_set(struct store_tx *tx, enum table t, struct buf *k, struct buf *value);   /* value NULL: empty; released */
void ms_drop_key(struct store_tx *tx, enum table t, struct buf *k);
char *ms_text(struct arena *a, const void *data, size_t len);

#endif
