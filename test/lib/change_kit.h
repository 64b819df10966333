/* change_kit.h - whole nodes (store, writer, clock) for tests of change: write, read back, exchange ops by hand. */
#ifndef AIM_TEST_CHANGE_KIT_H
#define AIM_TEST_CHANGE_KIT_H

#include "base/alloc.h"
#include "memstore.h"
#include "store/change.h"

#define KIT_START INT64_C(1700000000000000)   /* 2023-11-14, in microseconds */

struct node {
    struct store *store;          /* owned */
    struct store_conn *conn;      /* owned */
    struct store_tx *tx;          /* while a transaction is open */
    struct change c;
    struct lifetimes lifetimes;
    struct arena arena;           /* results of the node's helpers; released by node_close */
    uint64_t rng;
    int64_t now_us;
};

uint64_t kit_pick(uint64_t *rng, uint64_t bound);        /* deterministic; 0..bound-1 */
void node_open(struct node *n, uint64_t seed);           /* empty memstore, clock at KIT_START */
/* a life on a store that is there; takes it over */
void node_open_on(struct node *n, struct store *store, uint64_t seed);
void node_close(struct node *n);                         /* and the store */
void node_restart(struct node *n);                       /* ends this life, begins the next on the same store */

void node_begin(struct node *n);                         /* transaction, item savepoint */
void node_commit(struct node *n);                        /* durable; asserts that all went well */
void node_abort(struct node *n);

/* ns "n", mid, priority 5, expiry in 7 days */
struct memory kit_memory(const char *id, const char *title, const char *content);
/* Own transaction each; they assert success. */
/* insert, or edit of the row that is there */
struct row node_store(struct node *n, const char *id, const char *title, const char *content);
void node_delete(struct node *n, const char *id);
void node_touch(struct node *n, const char *id, int times, bool flush);
void node_link(struct node *n, const char *source, const char *target);
/* What an id or a shadow's id reads as; false: not found. */
bool node_find(struct node *n, const char *id, struct row *ret);
bool node_get(struct node *n, const char *id, struct row *ret);   /* the visible row of exactly that id */
char *node_dump(struct node *n, bool shown);             /* mem_free */

/* Pulls of `stream` from one node to another: at most count ops, beginning at first (0: where the receiver stands). */
enum foreign_result node_pull(struct node *to, struct node *from, uint64_t stream, uint64_t first, size_t count);
void node_sync(struct node *to, struct node *from);      /* everything `from` has */
uint64_t node_pos(struct node *n, uint64_t stream);

#endif
