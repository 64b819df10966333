/* pool.h - rowids of a query's postings with the sum of the weights of the groups they hold, and the best of them in
 * order. One thread; part of the retrieval plan (recall.c). */
#ifndef AIM_OPS_POOL_H
#define AIM_OPS_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

struct pool_seat { int64_t rowid; float sum; uint32_t round; };     /* round 0: empty */
struct pool {
    struct pool_seat *seat;              /* owned; open addressing, at most half full */
    size_t size, count;
    uint64_t dropped;                    /* rowids beyond POOL_MAX that were let go */
    uint32_t round;
    double weight;
};
#define POOL_MAX 50000

void pool_init(struct pool *p);
void pool_release(struct pool *p);
void pool_round(struct pool *p, double weight);     /* the next group: a rowid gets its weight once */
void pool_more(struct pool *p, double weight);      /* the same group, from now on with this weight */
int pool_note(void *pool, int64_t rowid);           /* a rowid_cb */

/* The candidates: the `first` best in any case (with those of the priority index), then the others. */
struct pool_order {
    int64_t *rowid;                      /* in the arena; NULL: it is full */
    size_t count, first;
    bool wants_top;                      /* not all are among the first: look for those of the priority index */
    struct pool *pool;                   /* private from here */
    size_t tops, tops_max;
    int64_t *top;
};
/* The best `max` by sum, newest first among equals. */
void pool_sort(struct pool *p, size_t first, size_t max, size_t tops_max, struct arena *a, struct pool_order *ret);
int pool_top(void *order, int64_t rowid);           /* a rowid_cb for top_rowids */
void pool_top_end(struct pool_order *o);            /* puts those found behind the first ones */

#endif
