/* lane_batch.h - one batch: a transaction on its way through the pool. */
#ifndef AIM_STORE_LANE_BATCH_H
#define AIM_STORE_LANE_BATCH_H

#include "store/lane.h"

struct lane_batch {
    struct change *c;
    const struct store_backend *b;
    struct store_conn *writer;
    struct lane_item **items;
    size_t count;
    int64_t now_us;
    bool sync_later; /* commit without its fsync: the caller asks for it */
    bool bold;       /* items run without savepoints: when one fails, all run again with them */
    bool lost;       /* the transaction is gone, and with it what the items did */
    bool durable;    /* some kept item wants its fsync */
    bool committed;  /* commit was called */
    struct err err;
};

/* Pool. Runs the items and commits. Returns 0 or the error of the transaction, which then is every kept item's
 * status. */
int lane_batch_run(struct lane_batch *t);
/* Any thread. The batch failed after its items had run: every kept item gets rc and t->err, and keeps its position when
 * it may be durable all the same. */
void lane_batch_fail(struct lane_batch *t, int rc);
void lane_item_fail(struct lane_item *item, int rc, const struct err *err);

#endif
