/* lane_batch.c - one batch through one transaction: its items with savepoints or without, its commit, what happens to
 * them when either fails. */
#include "store/lane_batch.h"

#include "base/clock.h"

#define BUSY_MS 5000 /* wait for another process's transaction */
#define LOST_MAX 3   /* transactions lost under a batch before all of it fails */

/* Errors after which the store may have dropped the transaction under us. */
static bool loses_transaction(int rc)
{
    return rc == E_IO || rc == E_DISK_FULL || rc == E_CORRUPT || rc == E_BUSY || rc == E_LOCKED || rc == E_READ_ONLY ||
           rc == E_MOVED;
}

static int begin_patiently(struct lane_batch *t, struct store_tx **tx)
{
    int64_t until = clock_mono_ms() + BUSY_MS;
    unsigned pause_ms = 1;
    for (;;) {
        t->err = (struct err){ 0 };
        int rc = t->b->begin(t->writer, tx, &t->err);
        if ((rc != E_BUSY && rc != E_LOCKED) || clock_mono_ms() >= until) return rc;
        uv_sleep(pause_ms);
        if (pause_ms < 50) pause_ms *= 2;
    }
}

void lane_item_fail(struct lane_item *item, int rc, const struct err *err)
{
    item->status = rc;
    item->pos = (struct stamp){ 0 };
    if (err != NULL && err->code != 0)
        item->err = *err;
    else if (item->err.code == 0)
        err_set(&item->err, rc, "%s", err_text(rc));
}

/* One item inside its savepoint. */
static void item_run(struct lane_batch *t, struct lane_item *item)
{
    struct change *c = t->c;
    item->err = (struct err){ 0 };
    if (t->bold)
        change_savepoint_none(c);
    else
        item->status = change_savepoint(c, &item->err);
    if (item->status != 0) {
        t->lost = true;
        lane_item_fail(item, item->status, NULL);
        return;
    }
    int rc = item->run(item, c, &item->err);
    bool keep = rc == 0 || rc == E_AGAIN;
    int end = change_savepoint_end(c, keep, keep ? &item->err : NULL);
    if (keep && end != 0) {
        /* what could not be released is still there: undo it */
        t->lost = change_savepoint_end(c, false, NULL) != 0 || loses_transaction(end);
        rc = end;
    } else if (!keep) {
        t->lost = end != 0 || loses_transaction(rc);
    }
    item->status = rc;
    item->pos = change_position(c);
    if (rc != 0 && rc != E_AGAIN) lane_item_fail(item, rc, NULL);
}

static bool standing(const struct lane_item *item)
{
    return item->status == 0 || item->status == E_AGAIN;
}

/* Runs the items that have not failed yet. Returns how many were kept. */
static size_t items_run(struct lane_batch *t)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->count && !t->lost; i++) {
        if (!standing(t->items[i])) continue;
        item_run(t, t->items[i]);
        if (!standing(t->items[i])) continue;
        kept++;
        if (!t->items[i]->no_fsync) t->durable = true;
    }
    return kept;
}

void lane_batch_fail(struct lane_batch *t, int rc)
{
    for (size_t i = 0; i < t->count; i++) {
        struct lane_item *item = t->items[i];
        if (!standing(item)) continue;
        struct stamp pos = item->pos;
        lane_item_fail(item, rc, &t->err);
        if ((rc == E_IO || rc == E_MOVED) && t->committed) item->pos = pos;
    }
}

static int batch_once(struct lane_batch *t)
{
    struct store_tx *tx = NULL;
    t->lost = t->durable = t->committed = false;
    int rc = begin_patiently(t, &tx);
    if (rc != 0) return rc;
    change_begin(t->c, tx, t->now_us);
    size_t kept = items_run(t);
    if (t->lost || kept == 0) {
        change_rollback(t->c);
        t->b->rollback(t->writer);
        return 0;
    }
    rc = change_finish(t->c);
    if (rc != 0) {
        err_set(&t->err, rc, "%s", tx->err != NULL && tx->err->code == rc ? tx->err->msg : err_text(rc));
        change_rollback(t->c);
        t->b->rollback(t->writer);
        return rc;
    }
    t->committed = true;
    rc = t->b->commit(t->writer, t->durable && !t->sync_later, &t->err);
    if (rc != 0) change_rollback(t->c);
    return rc;
}

static void items_reset(struct lane_batch *t)
{
    for (size_t i = 0; i < t->count; i++) {
        t->items[i]->status = 0;
        t->items[i]->pos = (struct stamp){ 0 };
    }
}

int lane_batch_run(struct lane_batch *t)
{
    int rc = 0;
    items_reset(t);
    for (int tries = t->bold ? -1 : 0; tries < LOST_MAX; tries++) {
        rc = batch_once(t);
        if (!t->lost && !(rc == E_BUSY && t->committed)) break;
        /* the item that lost the transaction has its error, the others run again without it; or all, with savepoints */
        if (t->bold) items_reset(t);
        t->bold = false;
    }
    if (rc == 0 && t->lost) rc = err_set(&t->err, E_BUSY, "the transaction was lost %d times", LOST_MAX);
    if (rc != 0) lane_batch_fail(t, rc);
    return rc;
}

int lane_run_batch(struct change *c, const struct store_backend *b, struct store_conn *writer, struct lane_item **items,
                   size_t count, int64_t now_us)
{
    struct lane_batch t = { .c = c, .b = b, .writer = writer, .items = items, .count = count, .now_us = now_us };
    return lane_batch_run(&t);
}
