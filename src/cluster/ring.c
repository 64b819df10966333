#include "cluster/ring.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/list.h"

struct block {
    struct list link;
    uint64_t first, last;
    struct made_op *made; /* owned, count = last - first + 1 */
    char *bodies;         /* owned */
    size_t bytes;
};

struct ring {
    struct list blocks; /* oldest first */
    size_t bytes, bytes_max;
};

struct ring *ring_new(size_t bytes_max)
{
    struct ring *r = mem_alloc(sizeof *r);
    list_init(&r->blocks);
    r->bytes_max = bytes_max;
    return r;
}

static void drop_oldest(struct ring *r)
{
    struct list *node = list_pop_head(&r->blocks);
    CHECK(node != NULL);
    struct block *b = container_of(node, struct block, link);
    r->bytes -= b->bytes;
    mem_free(b->made);
    mem_free(b->bodies);
    mem_free(b);
}

void ring_free(struct ring *r)
{
    if (r == NULL) return;
    while (!list_empty(&r->blocks)) drop_oldest(r);
    mem_free(r);
}

static struct block *newest(const struct ring *r)
{
    return list_empty(&r->blocks) ? NULL : (struct block *)(void *)r->blocks.prev;
}

void ring_add(struct ring *r, const struct made_op *made, size_t count, const char *bodies)
{
    if (count == 0) return;
    struct block *tail = newest(r);
    if (tail != NULL && tail->last == made[count - 1].seq) return;
    if (tail != NULL && tail->last + 1 != made[0].seq)
        while (!list_empty(&r->blocks)) drop_oldest(r);
    size_t from = made[0].offset, to = made[count - 1].offset + made[count - 1].len;
    struct block *b = mem_alloc(sizeof *b);
    b->first = made[0].seq;
    b->last = made[count - 1].seq;
    b->made = mem_alloc(count * sizeof *made);
    memcpy(b->made, made, count * sizeof *made);
    b->bodies = mem_alloc(to - from + 1);
    memcpy(b->bodies, bodies + from, to - from);
    for (size_t i = 0; i < count; i++) b->made[i].offset -= from;
    b->bytes = sizeof *b + count * sizeof *made + (to - from);
    CHECK(r->blocks.prev != NULL);
    list_add_tail(&r->blocks, &b->link);
    r->bytes += b->bytes;
    while (r->bytes > r->bytes_max && r->blocks.next != r->blocks.prev) drop_oldest(r);
}

/* Peers stand near the end, so the search goes backwards. */
static const struct block *block_of(const struct ring *r, uint64_t seq)
{
    for (const struct list *it = r->blocks.prev; it != &r->blocks; it = it->prev) {
        const struct block *b = (const struct block *)(const void *)it;
        if (seq >= b->first) return seq <= b->last ? b : NULL;
    }
    return NULL;
}

size_t ring_get(const struct ring *r, uint64_t first, size_t count, size_t bytes, struct log_op *op)
{
    size_t n = 0, total = 0;
    const struct block *b = block_of(r, first);
    while (b != NULL && n < count) {
        for (uint64_t seq = first + n; seq <= b->last && n < count; seq++) {
            const struct made_op *m = &b->made[seq - b->first];
            if (n > 0 && total + m->len > bytes) return n;
            op[n++] = (struct log_op){
                .seq = seq, .ver = m->ver, .chain = m->chain, .body = b->bodies + m->offset, .body_len = m->len
            };
            total += m->len;
        }
        b = b->link.next == &r->blocks ? NULL : (const struct block *)(const void *)b->link.next;
    }
    return n;
}

bool ring_chain(const struct ring *r, uint64_t seq, uint64_t *ret)
{
    const struct block *b = block_of(r, seq);
    if (b == NULL) return false;
    *ret = b->made[seq - b->first].chain;
    return true;
}
