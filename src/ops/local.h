/* local.h - the engine on a database file without a server around it: what a command and the MCP door over pipes use.
 * Everything runs on a loop of its own, on the thread that opened it; one call at a time. */
#ifndef AIM_OPS_LOCAL_H
#define AIM_OPS_LOCAL_H

#include <stdbool.h>

#include "ops/engine.h"

struct local;

struct local_options {
    const char *path;            /* of the database; borrowed during local_open */
    bool reads_only;             /* only READ calls will be run: no writer is opened, no stream made */
    bool relaxed;                /* no fsync at commit, only at checkpoints (--durability normal) */
    int busy_ms;                 /* longest wait for another process's write; 0: 5000 */
    struct limits limits;        /* lifetimes, archive_on_gc, page size: see local_options_default */
};
void local_options_default(struct local_options *o);

/* Opens (creates, upgrades) the database and an engine over it. Blocks. On failure *ret is NULL and nothing is owed.
 * Errors: those of sqlite_store_open and of the writer's opening. */
int local_open(struct local **ret, const struct local_options *o, struct err *err);
/* Runs one call to its end; c->done is set by it and must be NULL. Returns c->status; the results are in the call,
 * which stays the caller's (call_free). A write is answered after its local commit. */
int local_run(struct local *l, struct call *c);
/* Waits, between calls, until one of two descriptors can be read (or has ended), or the lane is broken; upkeep goes on
 * meanwhile. */
void local_wait(struct local *l, int fd, int other);
/* Why nothing can be written any more (lane_broken): the process should end. NULL: it can. Borrowed. */
const struct err *local_broken(const struct local *l);
/* The shared facts of operations, e.g. for a door that wants lifetimes or the tokenizer. Lives as long as l. */
const struct op_env *local_env(const struct local *l);
/* The store, for commands that work below the operations (backup, export of a file). Lives as long as l. */
struct store *local_store(const struct local *l);
/* Finishes what is queued, checkpoints, closes and frees. NULL is fine. */
void local_close(struct local *l);

#endif
