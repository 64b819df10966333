/* change.h - the one way data changes, local or foreign: version, merge, apply, log row. Pure over the storage port
 * (no uv, no SQL), so the simulator runs this very code. Pool thread (lane), inside a write transaction.
 *
 * A `struct change` lives as long as the writer's connection; its counters (clock, own stream's position) move with the
 * transaction: change_begin copies them, change_rollback puts them back, savepoints likewise. Versions made are held
 * back as one open op, which is appended when the next op begins or the item ends. */
#ifndef AIM_STORE_CHANGE_H
#define AIM_STORE_CHANGE_H

#include "base/buf.h"
#include "memory.h"
#include "repl/hlc.h"
#include "store.h"

struct arena;
struct clock;

struct origin { uint64_t node, stream, seq, chain; }; /* this process's stream and its last position */

/* One op this process appended in the present batch, for the ring of live ops. */
struct made_op { uint64_t seq, ver, chain; size_t offset, len; }; /* body at offset in change.bodies */

/* What a batch made, taken out of struct change so that the next batch may begin. */
struct change_made {
    uint64_t stream;
    struct made_op *op; size_t count, cap;
    struct buf bodies;
    struct stream_pos *left; size_t left_count, left_cap;   /* streams that left the vector, and where */
    uint64_t far_future, unseen;                   /* totals of this life, as in struct change */
    uint64_t clock;                                /* its last value */
};

struct change {
    /* set by the owner before change_open, the rest zeroed */
    const struct lifetimes *lifetimes;
    const struct clock *clock;           /* NULL: the real one. Read by the lane only */
    int64_t keep_us;                     /* deletions are remembered that long at least; 0: a day */
    bool new_node;                       /* change_open takes a new node id: the file was copied */
    uint64_t (*random)(void *data);      /* for node and stream ids; NULL: the kernel's */
    void *random_data;
    /* the present transaction */
    struct store_tx *tx;                 /* set by change_begin */
    struct hlc hlc;
    struct origin origin;
    int64_t now_us;                      /* wall time of this batch */
    struct arena *scratch;               /* results; released when the next item begins */
    /* what the batch made, read by the lane after commit */
    struct made_op *made; size_t made_count;
    struct buf *bodies;
    struct stream_pos *left; size_t left_count;   /* streams that left the vector in this batch, and where */
    bool lacks;                          /* a stream left the vector that is not whole here: a snapshot is due */
    uint64_t as_of;                      /* local changes take this version where it beats the row; 0: the clock's */
    /* counted: ops beyond the clock's reach; concurrent edits replaced; ops held; rows gone with a snapshot */
    uint64_t far_future, unseen, held, forgotten;
    struct change_private *priv;
};

/* Opens the life of a writer: reads or makes the node id, registers a fresh stream (start in ms << 20 | random)
 * durably, loads the clock (persisted upper bound; never below any version in the file). First on every writer
 * connection. Runs its own transaction. Errors: the backend's; c is closed then. */
int change_open(struct change *c, const struct store_backend *b, struct store_conn *writer, int64_t now_us,
                struct err *err);
void change_close(struct change *c);
void change_begin(struct change *c, struct store_tx *tx, int64_t now_us);
void change_rollback(struct change *c);                    /* the batch failed: counters back to change_begin */
/* Called by the lane just before commit: the open op, the stream's position, the clock's bound: once a batch. */
int change_finish(struct change *c);
void change_made_init(struct change_made *m);
void change_made_free(struct change_made *m);
/* After the batch, before the next change_begin: *m gets what it made (nothing after a rollback) for its old memory. */
void change_take(struct change *c, struct change_made *m);
/* An item's savepoint and its end, with the counters; they nest, at most 8 deep. A `keep` that fails (the item's last
 * op did not fit) leaves the savepoint open: end it without keep. */
int change_savepoint(struct change *c, struct err *err);
/* Begins an item without a savepoint, which spares a copy of each page it is the first to touch. It cannot be undone
 * alone: ended without keep it answers E_AGAIN, and the whole batch has to go. */
void change_savepoint_none(struct change *c);
int change_savepoint_end(struct change *c, bool keep, struct err *err);
/* Writes the clock itself in place of its bound: the last thing of a life that ends in order. Inside a transaction. */
int change_rest(struct change *c);

/* ---- local changes (ops layer, after its guard) -------------------------------------------------------------------
 * Texts of errors are in c->tx->err where the store has more to say. E_TOO_LARGE: the op beyond its limits. */

/* Between group_begin and group_end all versions go into one op (consolidate); otherwise each call is its own op. */
void change_group_begin(struct change *c);
int change_group_end(struct change *c);
/* Writes `m` as the next version of its id: before = the row as read in this transaction, NULL for a new id. Sets ver,
 * updated_at (and created_at when NULL). *ret (may be NULL) gets the row as it is shown now, strings in scratch, rowid
 * 0 for a new one. E_CONFLICT: another id holds the title, or before is NULL and the id is there (the caller resolves
 * upserts first). A rename takes the shadows of the title along, in the same op. */
int change_memory(struct change *c, const struct memory *m, const struct row *before, struct row *ret);
/* The same as an edit nobody asked for (curator, tagging, archive restore): ver is the row's (or its tombstone's) + 1,
 * without the clock, so it loses to every edit it did not see; but none of longer ago than half of keep_us. */
int change_memory_quietly(struct change *c, const struct memory *m, const struct row *before, struct row *ret);
/* The same as an edit of the time m->updated_at says (import): that time where it beats the row, at most 60 s ahead;
 * else the row's (or its tombstone's) + 1. */
int change_memory_dated(struct change *c, const struct memory *m, const struct row *before, struct row *ret);
/* What this item changes from here on is of the time `text` says, at most 60 s ahead and half of keep_us ago, instead
 * of now: a row takes that version, or its own + 1. So that what several nodes do because of one event merges, and
 * loses to edits of it since. NULL: of now again. */
void change_as_of(struct change *c, const char *text);
/* A tombstone for the row and, in the same op, for shadows of its title held here; standards pointing at it are
 * detached. */
int change_delete(struct change *c, const struct row *before);
/* Both ends by exact id or a shadow's. Already linked: 0, no op. created_at NULL: now. E_NOT_FOUND, with the missing
 * id in c->tx->err->arg. */
int change_link(struct change *c, const struct link *l);
int change_unlink(struct change *c, const struct link *l);                    /* E_NOT_FOUND: no such link */
/* Stores accesses counted by this node (no version; local state only until change_touch_flush makes their op). An id
 * that is not here any more counts nothing. */
int change_touch(struct change *c, const char *id, int64_t now_us, int64_t times);
/* One op with what was counted since the last flush (4096 rows at most; call again while *ret_more). 0 rows: no op. */
int change_touch_flush(struct change *c, bool *ret_more);
/* Binds the key, with the request's fingerprint (IDEM_PRINT bytes) and what follows it, to the op made last in this
 * item, or to one of its own: it travels in that op. 24 hours. */
int change_idem(struct change *c, const char *key, const void *body, size_t body_len);
/* The namespace's standard (memory_id NULL: cleared). Shown while the memory is. */
int change_standard(struct change *c, const char *ns, const char *memory_id, const char *parent);
/* A copy into the archive, here and at the replicas; and an id taken out of it everywhere. */
int change_archive(struct change *c, const struct row *row, const char *archived_at, const char *reason);
int change_unarchive(struct change *c, const char *id);
/* An op for each text that was found here to be replaced unseen and lies in the archive of this node alone. *ret_more:
 * call again. */
int change_losers(struct change *c, size_t limit, bool *ret_more);
/* Texts that lost and from which no other version was made, in all that came for LOST_SETTLE_US, were replaced unseen:
 * they go into the archive. Looks at those beyond the side row after_id; *ret_last as for change_held_retry. */
#define LOST_SETTLE_US (20 * INT64_C(1000000))
int change_doubts(struct change *c, const char *after_id, size_t limit, const char **ret_last);
/* An action that waits for a decision, or what became of it: the whole row as it is now. Votes and decisions made
 * elsewhere join it. */
int change_pending(struct change *c, const struct pending *p);
/* Ids of the actions that wait and have votes of several, ascending, in scratch. */
int change_voted(struct change *c, const char ***ret, size_t *ret_count);
/* Rows of our own without a table: KIND_PENDING, KIND_ARCHIVE, KIND_MEMBER by key; the last writer's bytes are kept as
 * the body of the side row of that kind. */
int change_side(struct change *c, enum change_kind kind, const char *key, const void *body, size_t body_len);
/* Rows of KIND_MEMBER by node id: made once heard of; removed by command only, for ever. url "": unknown. */
enum member_state { MEMBER_ACTIVE = 1, MEMBER_REMOVED = 2 };
struct member { uint64_t node; enum member_state state; const char *url; int64_t since_ms; struct stamp stamp; };
int change_member(struct change *c, const struct member *m);
int change_members(struct store_tx *tx, struct arena *a, struct member **ret, size_t *ret_count);
int change_member_get(struct store_tx *tx, uint64_t node, struct arena *a, struct member *ret);   /* E_NOT_FOUND */
int change_member_removed(struct store_tx *tx, uint64_t node, struct arena *a, bool *ret);   /* refused from here on */
/* Says of streams of this file, whose writers are gone, that they ended where they stand; or of ended ones which every
 * member holds that they leave the vector. One op for all, 4096 at most; none when nothing is new. */
enum stream_end { STREAM_ENDED = 1, STREAM_LEFT = 2 };
int change_streams_left(struct store_tx *tx, const char *after, struct arena *a, struct stream_pos **ret,
                        size_t *ret_count, const char **ret_last);   /* a page of those that left; last NULL: the end */
int change_streams_end(struct change *c, const uint64_t *stream, size_t count, enum stream_end what);
/* Takes an expired row out of sight (no op, stamp kept): a later touch or edit brings it back. 0 also when it is not
 * expired. */
int change_sweep(struct change *c, const struct row *row);
/* The same with a copy into this node's archive (reason ttl_expired), which goes when the row comes back or is deleted
 * where it was not swept (who makes the id anew here has all nodes keep it); none where the archive has a copy of the
 * id that all nodes have. */
int change_sweep_copy(struct change *c, const struct row *row);
/* What lies long enough in this node's archive leaves it, with its record knowing; without an op. */
int change_archive_aged(struct change *c, const char *id);
/* Position of the last op of this item, the open one too (seq 0: none). */
struct stamp change_position(const struct change *c);

/* Resolves an id, an exact one or a shadow's or (prefix true) a unique prefix of either: the visible row. E_NOT_FOUND;
 * E_AMBIGUOUS with the ids, one a line. Reads only: any transaction. */
int change_find(struct store_tx *tx, const char *id, bool prefix, struct arena *a, struct row *ret, struct err *err);
/* Texts that rest behind a winner of the same title, by id after after_id. The archive shows them, too. */
int change_shadows(struct store_tx *tx, const char *after_id, size_t limit, struct arena *a, struct rows *ret);

/* Rows of the original without a fitting stamp get an op each (ver from updated_at), with their links and the standards
 * they are. At most `limit` rows. *ret_more: some were found, ask again; the store ends what it keeps for adoption when
 * it is asked and has none. */
int change_adopt(struct change *c, size_t limit, bool *ret_more);

/* ---- foreign changes --------------------------------------------------------------------------------------------- */
struct foreign_batch {                   /* ops of one stream, in order, as they came */
    uint64_t stream, node;               /* node: whose life the stream is */
    uint64_t first_seq, chain_before;
    const struct log_op *op; size_t count;   /* seq dense from first_seq; chain ignored (recomputed) */
};
enum foreign_result { FOREIGN_APPLIED, FOREIGN_REWIND, FOREIGN_FORK };
/* The prefix rule with the chain: what is already here is skipped, what fits is applied and logged, else REWIND (a
 * gap) or FORK (two chains at one position; nothing changed). *ret_pos: the position afterwards. An op that cannot be
 * applied is stored and held. While a snapshot is merged, streams that it covers further than this store does answer
 * REWIND where they stand: later. Errors (negative) are the store's: nothing changed once the item is undone. */
int change_foreign(struct change *c, const struct foreign_batch *f, enum foreign_result *ret,
                   struct stream_pos *ret_pos);
/* Applies logged ops again that are held (at each start: this program may know more now), those beyond the side row
 * after_id. *ret_last: where to go on, in scratch; NULL: these were the last. */
int change_held_retry(struct change *c, const char *after_id, size_t limit, const char **ret_last);
/* What a row of a node of the original is to this one. NEWS: it changes something. ECHO: here already, or older than
 * what is here. GONE: deleted here since, by its id or, if that is unknown, by its title. Reads only: any transaction.
 * E_INVALID: unreadable updated_at. */
enum original_kind { ORIGINAL_NEWS, ORIGINAL_ECHO, ORIGINAL_GONE };
int change_original_look(struct store_tx *tx, const struct memory *m, int64_t now_us, struct arena *a,
                         enum original_kind *ret);
/* Merges one memory from a node of the original: by id, then by title; a version from its updated_at, at most 60 s
 * ahead; an echo is a no-op, and so is a row deleted here since. *ret_applied: 1 changed something, 0 nothing to do
 * (*ret, may be NULL, is the visible row where there is one). Makes an op of ours. */
int change_original(struct change *c, const struct memory *m, int *ret_applied, struct row *ret);

/* ---- forks (change_fork.c) --------------------------------------------------------------------------------------- */
/* Says the ops of another stream, those beyond `after` that the log holds, once more in its own: the same versions.
 * *ret_last: where to go on; 0: there were none. */
int change_repeat(struct change *c, uint64_t stream, uint64_t after, size_t limit, uint64_t *ret_last);
int change_repeat_replaced(struct change *c, const struct stream_pos *next);   /* all, if another history is next */
int change_stream_forget(struct change *c, uint64_t stream);   /* as if nothing of it had come; its rows stay */

/* ---- trimming (change_trim.c) ------------------------------------------------------------------------------------ */
/* Ops of a stream up to `to` leave the log, some thousands at a time; more: call again. */
int change_trim_log(struct change *c, uint64_t stream, uint64_t to, bool *ret_more);
struct cover { const struct stream_pos *v; size_t count; };           /* positions, by stream */
bool cover_has(const struct cover *v, uint64_t stream, uint64_t seq);
/* Deletions of one kind (SIDE_TOMBSTONE, SIDE_LINK_GONE, SIDE_ARCHIVE) made before `before` that all members cover are
 * forgotten, those beyond the row `after`; the clock goes along. *ret_last: where to go on, in scratch; NULL: these
 * were the last. That this store holds all which the members' positions held is the caller's to know. */
struct trim_gone { uint16_t kind; uint64_t before; const struct cover *member; size_t count; };
int change_trim_gone(struct change *c, const struct trim_gone *t, const char *after, size_t limit,
                     const char **ret_last, size_t *ret_gone);

/* ---- pages of a snapshot (change_page.c); merging them: store/change_snapshot.h ----------
 * All replicated state as records, in pages; each page may be of a transaction of its own. See change_page.c. */
#define PAGE_AFTER_MAX 16384
#define PAGE_END UINT16_MAX
struct page_at { uint16_t section; const char *after; };   /* { 0, NULL }: the beginning; section PAGE_END: the end */
enum page_what { PAGE_VERSION = 1, PAGE_HELD, PAGE_COPY };
/* One record; pointers into the bytes and the arena. VERSION: v with its stamp; of a memory or tombstone `row`,
 * too: all that is known of the id but touches. HELD: stamp.stream, stamp.seq, body. COPY: id, body. */
struct page_record {
    enum page_what what;
    struct stamp stamp;
    struct version v;
    struct merged row;
    const char *id;
    const void *body; size_t body_len;
};
/* Appends records beyond *at to b, at most `count` of them and about `bytes` (one at least), and moves *at (`after` in
 * the arena). The buffer's cap must have room for one op more. Reads only. E_TOO_LARGE: arena or buffer. */
int change_page(struct store_tx *tx, struct page_at *at, size_t count, size_t bytes, struct arena *a, struct buf *b);
/* All rows, one after the other, for comparing with another store: live ones and deletions. sum: of all that stores
 * which hold the same ops must agree on. In one transaction. bucket: by family and key. */
#define SCRUB_BUCKETS 4096u
struct scrub_row { uint16_t family, bucket; bool dead; const char *key; struct stamp stamp; uint64_t sum; };
typedef void (*scrub_cb)(void *data, const struct scrub_row *row);
int change_scrub(struct store_tx *tx, scrub_cb cb, void *data);
/* The records of those buckets (a bit each). E_TOO_LARGE: beyond the buffer's cap. */
int change_scrub_records(struct store_tx *tx, const uint8_t buckets[SCRUB_BUCKETS / 8], struct buf *b);
/* Reads one record. 1: it is in *ret; 0: the bytes are used up; E_PROTOCOL: torn or out of bounds. */
int change_page_read(struct reader *in, struct arena *a, struct page_record *ret);

#endif
