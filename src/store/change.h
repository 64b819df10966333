/* change.h - the one way data changes, local or foreign: version, merge, apply, log row. Pure over the storage port (no uv,
 * no SQL), so the simulator runs this very code. Pool thread (lane), inside a write transaction.
 *
 * A `struct change` lives as long as the writer's connection; its counters (clock, own stream's position) move with the
 * transaction: change_begin copies them, change_rollback puts them back, savepoints likewise. */
#ifndef AIM_STORE_CHANGE_H
#define AIM_STORE_CHANGE_H

#include "memory.h"
#include "repl/hlc.h"
#include "store.h"

struct tokenizer;
struct buf;

struct origin { uint64_t node, stream, seq, chain; };      /* this process's stream and its last position */

/* One op this process appended in the present batch, for the ring of live ops. */
struct made_op { uint64_t seq, ver, chain; size_t offset, len; };   /* body at offset in change.bodies */

struct change {
    struct store_tx *tx;                 /* set by change_begin */
    struct hlc hlc;
    struct origin origin;
    int64_t now_us;                      /* wall time of this item */
    struct arena *scratch;               /* per item, released between items */
    const struct lifetimes *lifetimes;
    /* what the batch made, read by the lane after commit */
    struct made_op *made; size_t made_count;
    struct buf *bodies;
    uint64_t far_future, unseen, held;   /* counted: ops beyond the clock's reach; concurrent edits replaced; ops held */
    struct change_private *priv;
};

/* Opens the life of a writer: reads or makes the node id, registers a fresh stream (start in ms << 20 | random) durably, loads the clock
 * (persisted upper bound; never below any version in the file). First on every writer connection. Runs its own transaction. */
int change_open(struct change *c, const struct store_backend *b, struct store_conn *writer, int64_t now_us, struct err *err);
void change_close(struct change *c);
void change_begin(struct change *c, struct store_tx *tx, int64_t now_us);
void change_rollback(struct change *c);                    /* the batch failed: counters back to change_begin */
/* Called by the lane just before commit: stream position, clock's bound, recall counters: once a batch. */
int change_finish(struct change *c);
int change_savepoint(struct change *c, struct err *err);   /* and its end, with the counters */
int change_savepoint_end(struct change *c, bool keep, struct err *err);

/* ---- local changes (ops layer, after its guard) ---------------------------------------------------------------------- */
/* Between group_begin and group_end all versions go into one op (consolidate); otherwise each call is its own op. */
void change_group_begin(struct change *c);
int change_group_end(struct change *c);
/* Writes `m` as the next version of its id: before = the row as read in this transaction, NULL for a new id. Sets ver, updated_at (and
 * created_at when NULL). *ret gets the row as it is shown now. E_CONFLICT: another id holds the title (the caller resolves upserts first). */
int change_memory(struct change *c, const struct memory *m, const struct row *before, struct row *ret);
/* A tombstone for the row and, in the same op, for shadows of its title held here; standards pointing at it are detached. */
int change_delete(struct change *c, const struct row *before);
int change_link(struct change *c, const struct link *l);
int change_unlink(struct change *c, const struct link *l);
/* Stores accesses counted by this node (no version; local state only until change_touch_flush makes their op). */
int change_touch(struct change *c, const char *id, int64_t now_us, int64_t times);
/* One op with what was counted since the last flush. 0 rows: no op. */
int change_touch_flush(struct change *c);
int change_idem(struct change *c, const char *key, const uint8_t fingerprint[32]);   /* binds the key to the op made last in this item */
/* Position of the last op this item appended (seq 0: none). */
struct stamp change_position(const struct change *c);

/* Resolves an id, an exact one or a shadow's or (prefix true) a unique prefix of either: the visible row. E_NOT_FOUND; E_AMBIGUOUS with the ids. */
int change_find(struct store_tx *tx, const char *id, bool prefix, struct arena *a, struct row *ret, struct err *err);

/* Rows of the original without a fitting stamp get an op each (ver from updated_at). Runs until done or `limit` rows; *ret_more. */
int change_adopt(struct change *c, size_t limit, bool *ret_more);

/* ---- foreign changes -------------------------------------------------------------------------------------------------- */
struct foreign_batch {                   /* ops of one stream, in order, as they came */
    uint64_t stream, node;               /* node: whose life the stream is */
    uint64_t first_seq, chain_before;
    const struct log_op *op; size_t count;   /* seq dense from first_seq; chain ignored (recomputed) */
};
enum foreign_result { FOREIGN_APPLIED, FOREIGN_REWIND, FOREIGN_FORK };
/* The prefix rule with the chain: what is already here is skipped, what fits is applied and logged, else REWIND (a gap) or FORK
 * (two chains at one position; nothing changed). *ret_pos: the position afterwards. An op that cannot be applied is stored and held. */
int change_foreign(struct change *c, const struct foreign_batch *f, enum foreign_result *ret, struct stream_pos *ret_pos);
/* Merges one memory from a node of the original (JSON push): by id, then by title; a version from its updated_at, at most
 * 60 s ahead; an echo is a no-op. *ret_applied: 1 changed something, 0 nothing to do. Makes an op of our stream. */
int change_original(struct change *c, const struct memory *m, int *ret_applied, struct row *ret);

#endif
