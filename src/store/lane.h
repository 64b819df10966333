/* lane.h - the writer lane: everything that writes queues here; one batch at a time runs on the pool, one transaction,
 * one fsync (group commit), and while that fsync lasts the next batch may run, unless it is small. Loop thread, but for
 * item->run and lane_run_batch (pool).
 *
 *   queue ─▶ RUN (transaction, commit: seen by readers) ─▶ SYNC (fsync) ─▶ done callbacks, batch by batch in order
 *            one batch in each; a batch that ran is `seen` at once, and waits until the one before it is told
 *   nothing for a while ─▶ upkeep alone. A long log: upkeep before the next RUN, with nothing in SYNC
 *   CLOSING: queued items still run, then upkeep (whole checkpoint), connection closed, closed callback.
 *
 * A failed item is undone alone (savepoint) and answered with its error; a failed commit fails all of its batch.
 * After E_IO at commit or fsync (a retried fsync lies) and after E_MOVED anywhere, upkeep too, the lane is broken: it
 * answers that to all, the batch that ran meanwhile too, and the process must end. */
#ifndef AIM_STORE_LANE_H
#define AIM_STORE_LANE_H

#include <uv.h>

#include "base/list.h"
#include "store/change.h"

enum lane_class { LANE_REPLICATION, LANE_CLIENT, LANE_UPKEEP, LANE_CLASSES };

struct lane_item {
    /* Pool. May be run twice (after E_AGAIN or a lost transaction): must not keep anything but results it sets anew.
     * 0, E_AGAIN (slice done: commit it and queue me again behind the others), or an error (undone). */
    int (*run)(struct lane_item *item, struct change *c, struct err *err);
    /* Loop; may be NULL. The item leaves the queue for its first batch: run follows. Then: what it did is committed and
     * seen by readers, but perhaps not on the disk yet. */
    void (*begun)(struct lane_item *item);
    void (*seen)(struct lane_item *item);
    /* Loop; exactly once; the item is the caller's again. status: run's, or of the commit. */
    void (*done)(struct lane_item *item, int status);
    enum lane_class class;
    bool no_fsync; /* may be committed without fsync when its whole batch may and makes no op */
    size_t bytes;  /* what it holds in memory, for the limits */
    /* result: the last op it made (seq 0: none). After E_IO, E_MOVED at commit: what may be durable all the same */
    struct stamp pos;
    bool sliced;      /* result: some slice of it was committed */
    struct err err;   /* result */
    struct list link; /* private from here */
    struct lane *lane;
    int status;
    int64_t queued_us;
};

struct lane_limits {
    size_t items_max[LANE_CLASSES];
    size_t bytes_max[LANE_CLASSES];
    size_t batch_items_max, batch_bytes_max;
};
void lane_limits_default(struct lane_limits *l); /* 4096 items, 32 MiB each (upkeep 256); batch 256 items, 4 MiB */

/* What a batch made, told on the loop before the items' done callbacks. Borrowed in the call. */
struct lane_commit {
    bool durable; /* false: committed, perhaps not on the disk yet; it is told again when it is */
    uint64_t stream;
    const struct made_op *made;
    size_t made_count;
    const char *bodies;
    const struct stream_pos *left; /* streams that left the vector, and where */
    size_t left_count;
    uint64_t far_future, unseen; /* see struct change */
    uint64_t clock;
};
typedef void (*lane_commit_cb)(void *data, const struct lane_commit *commit);

struct lane_figures {
    uint64_t batches, items, fsyncs, busy_refused;
    int64_t last_took_us;
    size_t queued;
};

/* Opens the writer connection and the life of this writer (change_open), synchronously: call at start. Both are closed
 * by lane_close. store and c are borrowed; l is copied, NULL: the defaults. Errors: those of conn_open and
 * change_open. */
int lane_open(struct lane **ret, uv_loop_t *loop, struct store *store, struct change *c, const struct lane_limits *l,
              lane_commit_cb cb, void *data, struct err *err);
/* 0, or E_BUSY (class full), E_STOPPING (closing), why it is broken: then no done callback. */
int lane_submit(struct lane *l, struct lane_item *item);
/* Runs what is queued, closes, frees the lane; then `closed`, on the loop. Once. */
void lane_close(struct lane *l, void (*closed)(void *data), void *data);
/* `cb` runs on the loop when another process committed into the file: looked for once a second, idle or not. Once. */
void lane_watch(struct lane *l, void (*cb)(void *data), void *data);
const struct origin *lane_origin(const struct lane *l); /* node, stream and position at opening; constant ids */
const struct err *lane_broken(const struct lane *l);    /* NULL: it is not; else why, borrowed */
void lane_figures(const struct lane *l, struct lane_figures *ret);
/* From now on a batch that made ops is told twice: as soon as it is committed, while its fsync is under way (peers may
 * have its ops), and when it is durable. Once. */
void lane_tell_early(struct lane *l);
/* The batch itself, without uv's loop: tests, tools and commands call it directly, on their own thread. Runs the items,
 * commits, sets their status and pos (E_AGAIN stays: the caller runs the item again). Waits up to 5 s for another
 * process. Returns 0 or the error of the transaction, which then is every kept item's status. */
int lane_run_batch(struct change *c, const struct store_backend *b, struct store_conn *writer, struct lane_item **items,
                   size_t count, int64_t now_us);

#endif
