/* again.c - a client repeats a write that an earlier attempt made: nodes of our kind tell how far they have the stream,
 * nodes of the original have to be asked. They are sent what that op made once more, which changes nothing where it is
 * there, and their answers count for the one who waits.
 *
 *   READ (reader: the op in the log, else the row) ─there─▶ each of them that is up is sent it ─taken─▶ REPL_HAS
 *                                                  └─not──▶ REPL_UNASKED */
#include <string.h>

#include "base/check.h"
#include "cluster/original.h"

struct again {
    struct read_item item;
    struct cluster *c;
    struct stamp op;
    char *id; /* owned; NULL: none */
    struct arena arena;
    struct buf body; /* empty: neither is there */
};

/* The row as it is now: the op's, or one that came after it. */
static int row_body(struct again *j, struct store_tx *tx)
{
    struct row row;
    int rc = j->id != NULL ? tx->v->get(tx, j->id, &j->arena, &row) : E_NOT_FOUND;
    if (rc != 0) return rc == E_NOT_FOUND ? 0 : rc;
    const struct version v = { .kind = KIND_MEMORY, .ver = row.stamp.ver, .m = row.m, .own = row.own };
    return op_encode(&j->body, &v, 1);
}

static int again_run(struct read_item *item, struct store_tx *tx, struct err *err)
{
    struct again *j = container_of(item, struct again, item);
    struct log_op *op;
    size_t count = 0;
    (void)err;
    int rc = tx->v->op_page(tx, j->op.stream, j->op.seq, 1, OP_BYTES_MAX, &j->arena, &op, &count);
    if (rc != 0) return rc;
    if (count == 0 || op[0].seq != j->op.seq || op[0].body_len == 0) return row_body(j, tx);
    buf_put(&j->body, op[0].body, op[0].body_len);
    return j->body.failed ? E_TOO_LARGE : 0;
}

static void send_all(struct again *j)
{
    struct cluster *c = j->c;
    for (unsigned i = 0; i < c->peers; i++) {
        struct repl_peer_view v;
        repl_peer_view(c->core, i, &v);
        if (v.original && v.state == REPL_UP) original_again(&c->peer[i], &j->op, j->body.data, j->body.len);
    }
}

static void again_done(struct read_item *item, int status)
{
    struct again *j = container_of(item, struct again, item);
    struct cluster *c = j->c;
    struct repl_event e = { .type = REPL_UNASKED, .entry = { .stream = j->op.stream, .pos = j->op.seq } };
    if (!c->closing && status == 0 && j->body.len > 0)
        send_all(j);
    else if (!c->closing)
        cluster_feed(c, &e);
    buf_release(&j->body);
    arena_release(&j->arena);
    mem_free(j->id);
    mem_free(j);
    cluster_job_done(c);
}

void again_ask(struct cluster *c, const struct stamp *op, const char *id)
{
    bool any = false;
    for (unsigned i = 0; i < c->peers; i++) any |= c->peer[i].original;
    if (!any) return;
    struct again *j = mem_alloc(sizeof *j);
    j->c = c;
    j->op = *op;
    j->id = id != NULL ? mem_strdup(id) : NULL;
    j->item.run = again_run;
    j->item.done = again_done;
    arena_init(&j->arena, 3 * OP_BYTES_MAX);
    buf_init(&j->body, OP_BYTES_MAX);
    c->busy++;
    int rc = readers_submit(c->readers, &j->item);
    if (rc != 0) again_done(&j->item, rc);
}
