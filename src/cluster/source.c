/* source.c - our stream's ops for a peer: the ring has the newest; older ones are paged from the log by a reader. */
#include <string.h>

#include "base/check.h"
#include "cluster/internal.h"

struct source_job {
    struct read_item item;
    struct peer *p;
    uint32_t gen;
    uint64_t stream, first;
    unsigned count;
    source_cb cb; /* NULL: a chain is asked for */
    struct repl_entry at;
    bool chain_ok;
    uint64_t chain_before;
    struct log_op *op;
    size_t found;
    struct arena arena;
};

static int source_run(struct read_item *item, struct store_tx *tx, struct err *err)
{
    struct source_job *j = container_of(item, struct source_job, item);
    (void)err;
    struct stream_pos pos;
    int rc = tx->v->stream_get(tx, j->stream, &pos);
    if (rc != 0) return rc;
    if (j->cb == NULL) {
        uint64_t chain = 0;
        rc = tx->v->op_chain(tx, j->stream, j->at.pos, &chain);
        /* trimmed: nothing to compare with; it needs a snapshot */
        j->chain_ok = rc == 0 ? chain == j->at.chain : rc == E_NOT_FOUND && j->at.pos < pos.trimmed;
        return rc == E_NOT_FOUND ? 0 : rc;
    }
    if (j->first <= pos.trimmed) return 0; /* a fresh hello tells when it has merged a snapshot */
    rc = tx->v->op_chain(tx, j->stream, j->first - 1, &j->chain_before);
    if (rc != 0) return rc;
    return tx->v->op_page(tx, j->stream, j->first, j->count, WIRE_BATCH_BYTES, &j->arena, &j->op, &j->found);
}

static void source_done(struct read_item *item, int status)
{
    struct source_job *j = container_of(item, struct source_job, item);
    struct peer *p = j->p;
    struct cluster *c = p->c;
    bool same_link = p->link != NULL && p->gen == j->gen && !c->closing;
    if (same_link && j->cb == NULL) {
        struct repl_event e = {
            .type = REPL_CHECKED, .peer = p->index, .gen = p->gen, .ok = status == 0 && j->chain_ok
        };
        cluster_feed(c, &e);
    } else if (same_link && status == 0) {
        j->cb(p, j->op, j->found, j->chain_before);
    } else if (same_link) {
        peer_error(p, "our log cannot be read from %llu: %s", (unsigned long long)j->first, err_text(status));
        link_close(p, true);
        cluster_feed_link(p, REPL_CLOSED);
    }
    arena_release(&j->arena);
    mem_free(j);
    cluster_job_done(c);
}

static void submit(struct source_job *j)
{
    struct peer *p = j->p;
    arena_init(&j->arena, 2 * WIRE_BODY_MAX);
    j->gen = p->gen;
    j->stream = p->c->own.stream;
    j->item.run = source_run;
    j->item.done = source_done;
    if (readers_submit(p->c->readers, &j->item) == 0) {
        p->c->busy++;
        return;
    }
    mem_free(j);
    peer_error(p, "readers are busy: the link starts anew");
    link_close(p, true);
    cluster_feed_link(p, REPL_CLOSED);
}

void source_load(struct peer *p, uint64_t first, unsigned count, source_cb cb)
{
    struct log_op op[WIRE_OPS_MAX];
    uint64_t before = 0;
    if (count > WIRE_OPS_MAX) count = WIRE_OPS_MAX;
    size_t n = ring_get(p->c->ring, first, count, WIRE_BATCH_BYTES, op);
    if (n > 0 && (first == 1 || ring_chain(p->c->ring, first - 1, &before))) {
        cb(p, op, n, before);
        return;
    }
    struct source_job *j = mem_alloc(sizeof *j);
    j->p = p;
    j->first = first;
    j->count = count;
    j->cb = cb;
    submit(j);
}

void source_chain(struct peer *p, const struct repl_entry *at)
{
    uint64_t chain = 0;
    if (at->pos == 0 || ring_chain(p->c->ring, at->pos, &chain)) {
        struct repl_event e = { .type = REPL_CHECKED, .peer = p->index, .gen = p->gen, .ok = chain == at->chain };
        cluster_feed(p->c, &e);
        return;
    }
    struct source_job *j = mem_alloc(sizeof *j);
    j->p = p;
    j->at = *at;
    submit(j);
}
