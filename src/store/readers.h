/* readers.h - a capped pool of read-only connections: readers in flight never exceed pool threads - 1, so that a write never
 * waits behind them. Loop thread; item->run on the pool. */
#ifndef AIM_STORE_READERS_H
#define AIM_STORE_READERS_H

#include <stdatomic.h>
#include <uv.h>

#include "base/list.h"
#include "store.h"

struct read_item {
    int (*run)(struct read_item *item, struct store_tx *tx, struct err *err);   /* pool, in one snapshot */
    void (*done)(struct read_item *item, int status);                           /* loop, exactly once */
    int64_t deadline_mono_ms;            /* 0: none; late: E_TIMEOUT */
    atomic_bool stop;                    /* set by the loop: the client is gone: E_CANCELLED */
    struct err err;
    struct list link;                    /* private from here */
    struct readers *readers;
    struct store_conn *conn;
    uv_work_t work;
    int status;
};

int readers_open(struct readers **ret, uv_loop_t *loop, struct store *store, unsigned count, size_t queue_max, struct err *err);
int readers_submit(struct readers *r, struct read_item *item);     /* 0, E_BUSY, E_STOPPING */
void readers_close(struct readers *r, void (*closed)(void *data), void *data);
unsigned readers_in_flight(const struct readers *r);

#endif
