/* node.h - the storage half of a node: database file, writer lane, readers, and what operations share. The server puts
 * cluster, engine and HTTP over it; a command puts an engine of its own over it (local.h). Loop thread. */
#ifndef AIM_OPS_NODE_H
#define AIM_OPS_NODE_H

#include <uv.h>

#include "ops/ops.h"
#include "store/lane.h"
#include "store/readers.h"

struct node_options {
    const char *path;                    /* borrowed during node_open */
    bool serving;                        /* take the one-server lock of the file */
    bool reads_only;                     /* no writer: lane is NULL */
    bool adopts;                         /* with a writer all the same where rows of the original wait for their ops */
    bool new_id;                         /* the file was copied: another node id */
    bool relaxed;                        /* no fsync at commit, only at checkpoints */
    int busy_ms;                         /* longest wait for another process's write; 0: 5000 */
    unsigned readers;                    /* connections; below the number of pool threads */
    size_t readers_queue;                /* reads that may wait */
    struct limits limits;
    lane_commit_cb committed; void *data;   /* told of every commit; may be NULL */
};

struct node {
    uv_loop_t *loop;                     /* borrowed */
    struct store *store;                 /* owned, like all below */
    struct change change;
    struct lane *lane;
    struct readers *readers;
    struct op_env env;
    struct lifetimes lifetimes;          /* what env and change point at */
    bool adopts;                         /* such rows wait: node_adopt */
    struct node_job *job[7];             /* private from here: upkeep under way */
    uv_timer_t timer;
    bool timing;
    unsigned ticks;
    void (*closed)(void *data); void *data;
};

/* Opens everything, synchronously. `n` is zeroed by it and must not move. On failure nothing stays open; the loop has
 * been run for it. Errors: those of sqlite_store_open and lane_open. */
int node_open(struct node *n, uv_loop_t *loop, const struct node_options *o, struct err *err);
/* Gives rows of the original their ops, all of them, running the loop meanwhile: what orders and merges rows needs
 * them. For commands, which have no upkeep, before their first call. What goes wrong is left to the next opening. */
void node_adopt(struct node *n);
/* Starts a server's own upkeep, in slices behind everybody's writes: rows the original wrote get their ops, held
 * ops are tried again, every few seconds accesses counted here leave as one op and actions that have got the votes of
 * several nodes are carried out, every half hour expired rows are swept. Once, after node_open with a lane. */
void node_upkeep(struct node *n);
/* Begins the half-hourly sweep now, unless one is under way. After node_upkeep. */
void node_sweep(struct node *n);
/* Runs what is queued, checkpoints, closes all; then `closed`, on the loop. Once. */
void node_close(struct node *n, void (*closed)(void *data), void *data);

#endif
