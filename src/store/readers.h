/* readers.h - a capped pool of read-only connections: readers in flight never exceed pool threads - 1, so that a write
 * never waits behind them. Loop thread; item->run on the pool. Connections are opened when first needed. */
#ifndef AIM_STORE_READERS_H
#define AIM_STORE_READERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "base/list.h"
#include "store.h"

struct read_item {
    int (*run)(struct read_item *item, struct store_tx *tx, struct err *err); /* pool, in one snapshot */
    /* loop, exactly once; then the caller's */
    void (*done)(struct read_item *item, int status);
    int64_t deadline_mono_ms;                                                 /* 0: none; late: E_TIMEOUT */
    /* set when the client is gone: E_CANCELLED */
    atomic_bool stop;
    struct err err;                                                           /* result */
    struct list link;                                                         /* private from here */
    struct readers *readers;
    struct store_conn *conn;
    uv_work_t work;
    int status;
};

/* At most `count` items on the pool, `queue_max` waiting. store is borrowed. E_INVALID for a count of 0. */
int readers_open(struct readers **ret, uv_loop_t *loop, struct store *store, unsigned count, size_t queue_max,
                 struct err *err);
/* 0, or E_BUSY (queue full), E_STOPPING (closing): then no done callback. */
int readers_submit(struct readers *r, struct read_item *item);
/* Runs what is queued, closes the connections, frees r; then `closed`, on the loop. Once. */
void readers_close(struct readers *r, void (*closed)(void *data), void *data);
unsigned readers_in_flight(const struct readers *r);

#endif
