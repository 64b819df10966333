/* change_fork.c - a former stream of this node of which others hold another history: the machine was set back with its
 * memory, or an old file went on under a life that still ran. What the log holds of it is said once more in the
 * present stream, with the same versions, so that nothing written here is lost; then the stream is forgotten and comes
 * back from the others, by their logs or a snapshot. A node that has ops of a history which others never saw says them
 * once more, too. */
#include "store/change_private.h"

#include "base/check.h"

#define REPEAT_BYTES (1u << 20)
#define REPEAT_OPS 64

/* One op with the same versions: their merge finds them there already, but for the stamp. */
static int repeat(struct change *c, const struct log_op *op, struct arena *a)
{
    struct version *v;
    size_t count;
    int rc = op_decode(op->body, op->body_len, a, &v, &count);
    if (rc != 0) return rc;
    change_group_begin(c);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (v[i].kind == 0 || v[i].ver == 0) continue;
        rc = change_op_begin(c);
        if (rc == 0) rc = change_record(c, &v[i]);
    }
    int end = change_group_end(c);
    return rc != 0 ? rc : end;
}

int change_repeat(struct change *c, uint64_t stream, uint64_t after, size_t limit, uint64_t *ret_last)
{
    struct arena page, one;
    struct log_op *op;
    size_t n = 0;
    CHECK(stream != c->origin.stream);
    *ret_last = 0;
    arena_init(&page, CHANGE_ARENA_MAX);
    arena_init(&one, CHANGE_ARENA_MAX);
    int rc = c->tx->v->op_page(c->tx, stream, after + 1, limit, REPEAT_BYTES, &page, &op, &n);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        arena_release(&one);
        if (op[i].body_len > 0) rc = repeat(c, &op[i], &one);
        *ret_last = op[i].seq;
    }
    arena_release(&one);
    arena_release(&page);
    return rc;
}

bool stream_yields(const struct stream_pos *here, const struct stream_pos *next)
{
    return here->pos < next->pos || (here->pos == next->pos && here->chain < next->chain);
}

int change_repeat_replaced(struct change *c, const struct stream_pos *next)
{
    struct stream_pos here;
    uint64_t last = 0;
    int rc = next->stream == c->origin.stream ? E_NOT_FOUND : c->tx->v->stream_get(c->tx, next->stream, &here);
    if (rc != 0 || !stream_yields(&here, next)) return rc == E_NOT_FOUND ? 0 : rc;
    do rc = change_repeat(c, next->stream, last, REPEAT_OPS, &last);
    while (rc == 0 && last != 0);
    return rc;
}

/* No node: whoever lives it is told by those who have it, and nobody here says that it ended where it is not. */
int change_stream_forget(struct change *c, uint64_t stream)
{
    struct stream_pos pos;
    int rc = c->tx->v->stream_get(c->tx, stream, &pos);
    if (rc != 0) return rc == E_NOT_FOUND ? 0 : rc;
    pos.pos++;
    pos.trimmed = pos.pos; /* its last op goes, too */
    rc = c->tx->v->stream_put(c->tx, &pos);
    pos = (struct stream_pos){ .stream = stream };
    return rc == 0 ? c->tx->v->stream_put(c->tx, &pos) : rc;
}
