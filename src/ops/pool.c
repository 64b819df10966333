/* pool.c - a hash table of rowids that grows as postings come, and a heap that picks the best. */
#include "ops/pool.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"

#define SIZE_MIN 1024
#define TAKEN UINT32_MAX /* round of a seat that is in the order already */

void pool_init(struct pool *p)
{
    *p = (struct pool){ .size = SIZE_MIN, .seat = mem_alloc(SIZE_MIN * sizeof(*p->seat)) };
}

void pool_release(struct pool *p)
{
    mem_free(p->seat);
    *p = (struct pool){ 0 };
}

void pool_round(struct pool *p, double weight)
{
    p->round++;
    p->weight = weight;
}

void pool_more(struct pool *p, double weight)
{
    if (p->round == 0) p->round = 1;
    p->weight = weight;
}

/* The seat of a rowid, or the empty one where it would be. */
static struct pool_seat *look(const struct pool *p, int64_t rowid)
{
    size_t at = (size_t)(((uint64_t)rowid * UINT64_C(0x9e3779b97f4a7c15)) >> 20);

    for (at &= p->size - 1; p->seat[at].round != 0 && p->seat[at].rowid != rowid;) at = (at + 1) & (p->size - 1);
    return &p->seat[at];
}

static void grow(struct pool *p)
{
    struct pool_seat *old = p->seat;
    size_t size = p->size;

    p->size *= 2;
    p->seat = mem_alloc(p->size * sizeof(*p->seat));
    for (size_t i = 0; i < size; i++) {
        if (old[i].round != 0) *look(p, old[i].rowid) = old[i];
    }
    mem_free(old);
}

int pool_note(void *pool, int64_t rowid)
{
    struct pool *p = pool;
    struct pool_seat *s = look(p, rowid);

    CHECK(p->round > 0);
    if (s->round == p->round) return 0;
    if (s->round == 0) {
        if (p->count == POOL_MAX) {
            p->dropped++;
            return 0;
        }
        if (2 * (p->count + 1) > p->size) {
            grow(p);
            s = look(p, rowid);
        }
        p->count++;
        *s = (struct pool_seat){ .rowid = rowid };
    }
    s->round = p->round;
    s->sum += (float)p->weight;
    return 0;
}

static int by_sum(const void *a, const void *b)
{
    const struct pool_seat *x = a, *y = b;

    if (x->sum != y->sum) return x->sum > y->sum ? -1 : 1;
    return x->rowid > y->rowid ? -1 : x->rowid < y->rowid;
}

/* Puts the worst of heap[at..count) on top of that subtree. */
static void sink(struct pool_seat *heap, size_t count, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && by_sum(&heap[child + 1], &heap[child]) > 0) child++;
        if (by_sum(&heap[at], &heap[child]) >= 0) return;
        struct pool_seat seat = heap[at];
        heap[at] = heap[child];
        heap[child] = seat;
    }
}

/* The best `max` seats, sorted, in `heap`; returns how many. */
static size_t best(const struct pool *p, struct pool_seat *heap, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < p->size; i++) {
        if (p->seat[i].round == 0) continue;
        if (n < max) {
            heap[n++] = p->seat[i];
            for (size_t k = n / 2; n == max && k-- > 0;) sink(heap, n, k);
        } else if (by_sum(&p->seat[i], &heap[0]) < 0) {
            heap[0] = p->seat[i];
            sink(heap, n, 0);
        }
    }
    qsort(heap, n, sizeof(*heap), by_sum);
    return n;
}

void pool_sort(struct pool *p, size_t first, size_t max, size_t tops_max, struct arena *a, struct pool_order *ret)
{
    size_t room = p->count < max ? p->count : max;
    struct pool_seat *heap = mem_alloc((room + 1) * sizeof(*heap));
    int64_t *rowid = arena_alloc(a, (room + tops_max + 1) * sizeof(*rowid));
    int64_t *top = arena_alloc(a, (tops_max + 1) * sizeof(*top));

    CHECK(first <= max);
    *ret = (struct pool_order){ .pool = p, .top = top, .tops_max = tops_max };
    if (rowid != NULL && top != NULL) {
        ret->rowid = rowid;
        ret->count = room > 0 ? best(p, heap, room) : 0;
        ret->first = ret->count < first ? ret->count : first;
        ret->wants_top = p->count > ret->first;
        for (size_t i = 0; i < ret->count; i++) {
            rowid[i] = heap[i].rowid;
            if (i < ret->first) look(p, heap[i].rowid)->round = TAKEN;
        }
    }
    mem_free(heap);
}

int pool_top(void *order, int64_t rowid)
{
    struct pool_order *o = order;
    struct pool_seat *s = look(o->pool, rowid);

    if (s->round == 0 || s->round == TAKEN) return 0;
    s->round = TAKEN;
    o->top[o->tops++] = rowid;
    return o->tops == o->tops_max;
}

void pool_top_end(struct pool_order *o)
{
    size_t rest = o->first, to = o->first + o->tops;

    /* What was found further down leaves its place there; the others keep their order behind. */
    for (size_t i = o->first; i < o->count; i++) {
        if (look(o->pool, o->rowid[i])->round != TAKEN) o->rowid[rest++] = o->rowid[i];
    }
    memmove(o->rowid + to, o->rowid + o->first, (rest - o->first) * sizeof(*o->rowid));
    memcpy(o->rowid + o->first, o->top, o->tops * sizeof(*o->top));
    o->count = rest + o->tops;
    o->first = to;
}
