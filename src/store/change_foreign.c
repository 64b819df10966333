/* change_foreign.c - what others made: ops of other streams, rows the original's program wrote. An op in a stream is
 * never refused, for that would stop the stream for ever: what cannot be applied is stored and held. */
#include "store/change_private.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/digest.h"

/* ---- ops ------------------------------------------------------------------------------------------------------- */

/* Errors of the store itself: the op is fine, this moment is not. */
static bool is_ours(int rc)
{
    return rc == E_IO || rc == E_DISK_FULL || rc == E_BUSY || rc == E_LOCKED || rc == E_READ_ONLY || rc == E_CORRUPT ||
           rc == E_MOVED || rc == E_CANCELLED || rc == E_TIMEOUT;
}

struct incoming {
    uint64_t stream, seq;
    const void *body;
    size_t len;
};

static const char *held_id(const struct incoming *op, char id[40])
{
    snprintf(id, 40, "%016llx%c%016llx", (unsigned long long)op->stream, SEP, (unsigned long long)op->seq);
    return id;
}

static bool has_version(const struct version *all, size_t count, const struct version *v)
{
    for (size_t i = 0; i < count; i++)
        if (all[i].kind == 0 && all[i].raw_kind == v->raw_kind && all[i].body_len == v->body_len &&
            memcmp(all[i].body, v->body, v->body_len) == 0)
            return true;
    return false;
}

/* Versions of one op may come one by one, in pages of different peers: those that were held here stay. Nothing in *ret:
 * there is nothing to add. */
static int held_with(const struct incoming *op, const struct side_row *there, struct arena *a, struct buf *ret)
{
    struct version *now, *then, *all;
    size_t count, old, n = 0;
    if (op_decode(op->body, op->len, a, &now, &count) != 0) return 0;
    if (op_decode(there->body, there->body_len, a, &then, &old) != 0) return 0;
    all = arena_alloc(a, (count + old) * sizeof(*all));
    if (all == NULL) return E_TOO_LARGE;
    for (; n < count; n++) all[n] = now[n];
    for (size_t i = 0; i < old; i++)
        if (then[i].kind == 0 && !has_version(now, count, &then[i])) all[n++] = then[i];
    return n == count ? 0 : op_encode(ret, all, n);
}

/* With its bytes: the log may be trimmed before they are understood. */
static int hold(struct change *c, const struct incoming *op)
{
    char id[40];
    struct arena a;
    struct buf b;
    struct side_row there, side = { .kind = SIDE_HELD,
                                    .id = held_id(op, id),
                                    .stamp = { .stream = op->stream, .seq = op->seq },
                                    .body = op->body,
                                    .body_len = op->len };
    c->held++;
    arena_init(&a, CHANGE_ARENA_MAX);
    buf_init(&b, OP_BYTES_MAX);
    int rc = c->tx->v->side_get(c->tx, SIDE_HELD, id, &a, &there);
    if (rc == 0 && held_with(op, &there, &a, &b) != 0) buf_clear(&b); /* more than one op has: not all of it was this */
    if (b.len > 0) {
        side.body = b.data;
        side.body_len = b.len;
    }
    if (rc == 0 || rc == E_NOT_FOUND) rc = c->tx->v->side_put(c->tx, &side);
    buf_release(&b);
    arena_release(&a);
    return rc;
}

int held_drop(struct change *c, const struct stamp *s)
{
    char id[40];
    const struct incoming op = { s->stream, s->seq, NULL, 0 };
    return c->tx->v->side_remove(c->tx, SIDE_HELD, held_id(&op, id));
}

void clock_follow(struct change *c, uint64_t ver)
{
    if (!hlc_follow(&c->hlc, ver, c->now_us)) c->far_future++;
}

/* Applies all versions it understands. *unknown: there were others. An error leaves the op half done: the caller
 * undoes. */
static int apply_op(struct change *c, const struct incoming *op, bool *unknown)
{
    struct version *v;
    size_t count;
    uint64_t newest = 0;
    arena_release(&c->priv->decode);
    int rc = op_decode(op->body, op->len, &c->priv->decode, &v, &count);
    *unknown = false;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct stamp s = { .ver = v[i].ver, .stream = op->stream, .seq = op->seq };
        if (v[i].ver > newest) newest = v[i].ver;
        if (v[i].kind == 0 || v[i].ver == 0)
            *unknown = true;
        else
            rc = change_apply(c, &v[i], &s);
    }
    if (rc == 0 && newest > 0) clock_follow(c, newest);
    arena_release(&c->priv->decode);
    return rc;
}

/* The same behind a savepoint: what cannot be applied is undone whole and held. */
static int apply_carefully(struct change *c, const struct incoming *op)
{
    bool unknown;
    int rc = change_mark_push(c, c->tx->err);
    if (rc != 0) return rc;
    rc = apply_op(c, op, &unknown);
    if (rc == 0) rc = change_mark_pop(c, true, c->tx->err);
    if (rc == 0) return unknown ? hold(c, op) : 0;
    int undo = change_mark_pop(c, false, NULL);
    if (is_ours(rc) || undo != 0) return undo != 0 ? undo : rc;
    return hold(c, op);
}

/* All new ops of the batch: first without a savepoint each; if one cannot be applied, again with. */
static int apply_ops(struct change *c, const struct foreign_batch *f, size_t from, struct stream_pos *pos,
                     bool carefully)
{
    for (size_t i = from; i < f->count; i++) {
        struct incoming op = { f->stream, f->first_seq + i, f->op[i].body, f->op[i].body_len };
        struct log_op row = f->op[i];
        bool unknown = false;
        int rc = carefully ? apply_carefully(c, &op) : apply_op(c, &op, &unknown);
        if (rc == 0 && unknown) rc = hold(c, &op);
        row.seq = op.seq;
        row.chain = pos->chain = chain_next(pos->chain, op.body, op.len);
        if (rc == 0) rc = c->tx->v->op_append(c->tx, f->stream, &row);
        if (rc != 0) return rc;
        pos->pos = op.seq;
    }
    return 0;
}

/* Where the batch stands to what is here. *ret_from: the first op that is new. */
static int compare_chains(struct change *c, const struct foreign_batch *f, const struct stream_pos *pos,
                          enum foreign_result *ret, size_t *ret_from)
{
    uint64_t chain = f->chain_before, last = f->first_seq + f->count - 1, here;
    *ret_from = f->count;
    *ret = FOREIGN_REWIND;
    if (f->first_seq == 0 || f->first_seq > pos->pos + 1) return 0;
    *ret = FOREIGN_FORK;
    if (f->first_seq == pos->pos + 1 && chain != pos->chain) return 0;
    for (size_t i = 0; i < f->count && f->first_seq + i <= pos->pos; i++) {
        chain = chain_next(chain, f->op[i].body, f->op[i].body_len);
        if (f->first_seq + i == pos->pos && chain != pos->chain) return 0;
    }
    if (last < pos->pos) {
        int rc = c->tx->v->op_chain(c->tx, f->stream, last, &here);
        if (rc != 0 && rc != E_NOT_FOUND) return rc;
        if (rc == 0 && here != chain) return 0; /* trimmed here: every member had it, nothing to compare with */
    }
    *ret = FOREIGN_APPLIED;
    if (last > pos->pos) *ret_from = (size_t)(pos->pos + 1 - f->first_seq);
    return 0;
}

/* Our own live stream coming back: nobody can be ahead of its writer. */
static int compare_own(struct change *c, const struct foreign_batch *f, enum foreign_result *ret,
                       struct stream_pos *pos)
{
    size_t from;
    *pos = (struct stream_pos){
        .stream = f->stream, .node = c->origin.node, .pos = c->origin.seq, .chain = c->origin.chain
    };
    int rc = change_op_flush(c);
    if (rc == 0) rc = compare_chains(c, f, pos, ret, &from);
    if (rc == 0 && (*ret == FOREIGN_REWIND || from < f->count)) *ret = FOREIGN_FORK;
    return rc;
}

/* First in one piece; if an op of it cannot be applied, that is undone and each op gets a savepoint of its own. */
static int apply_undoably(struct change *c, const struct foreign_batch *f, size_t from, struct stream_pos *pos)
{
    struct stream_pos start = *pos;
    int rc = change_mark_push(c, c->tx->err);
    if (rc != 0) return rc;
    rc = apply_ops(c, f, from, pos, false);
    if (rc == 0) rc = change_mark_pop(c, true, c->tx->err);
    if (rc == 0) return 0;
    int undo = change_mark_pop(c, false, NULL);
    *pos = start;
    if (undo != 0 || is_ours(rc)) return undo != 0 ? undo : rc;
    return apply_ops(c, f, from, pos, true);
}

int change_foreign(struct change *c, const struct foreign_batch *f, enum foreign_result *ret,
                   struct stream_pos *ret_pos)
{
    size_t from;
    CHECK(f->count == 0 || f->op != NULL);
    if (f->stream == c->origin.stream) return compare_own(c, f, ret, ret_pos);
    int rc = c->tx->v->stream_get(c->tx, f->stream, ret_pos);
    bool known = rc == 0;
    if (rc == E_NOT_FOUND) *ret_pos = (struct stream_pos){ .stream = f->stream, .node = f->node };
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    struct stream_pos before = *ret_pos;
    if (ret_pos->node == 0) ret_pos->node = f->node;
    rc = compare_chains(c, f, ret_pos, ret, &from);
    if (rc != 0 || *ret != FOREIGN_APPLIED || (from == f->count && known)) return rc;
    if (snapshot_has_rest(c, ret_pos)) {
        *ret = FOREIGN_REWIND;
        return 0;
    }
    rc = before.left && before.pos > 0 ? stream_anchor(c, &before) : 0; /* it goes on */
    if (rc != 0) return rc;
    /* what fails in an item without a savepoint fails the batch, which runs again with them */
    rc = change_is_bare(c) ? apply_ops(c, f, from, ret_pos, false) : apply_undoably(c, f, from, ret_pos);
    if (rc == 0) rc = stream_check_end(c, ret_pos);
    bool moved_only = known && before.node == ret_pos->node && before.ended == ret_pos->ended && !before.left;
    return rc != 0 || moved_only ? rc : c->tx->v->stream_put(c->tx, ret_pos);
}

int held_take(struct change *c, const struct stamp *s, const void *body, size_t len)
{
    struct incoming op = { s->stream, s->seq, body, len };
    return apply_carefully(c, &op);
}

int held_join(struct change *c, const struct stamp *s, const struct version *v)
{
    struct buf b;
    buf_init(&b, OP_BYTES_MAX);
    int rc = op_encode(&b, v, 1);
    if (rc == 0) rc = held_take(c, s, b.data, b.len);
    buf_release(&b);
    return rc;
}

/* One held op again, behind a savepoint. */
static int retry_op(struct change *c, const struct side_row *held, struct arena *a)
{
    struct log_op *op;
    size_t got;
    bool unknown;
    struct incoming in = { held->stamp.stream, held->stamp.seq, held->body, held->body_len };
    int rc = 0;
    if (in.len == 0) { /* written by a program that left them in the log */
        rc = c->tx->v->op_page(c->tx, held->stamp.stream, held->stamp.seq, 1, OP_BYTES_MAX, a, &op, &got);
        if (rc != 0 || got == 0 || op->seq != held->stamp.seq) return rc;
        in.body = op->body;
        in.len = op->body_len;
    }
    rc = change_mark_push(c, c->tx->err);
    if (rc != 0) return rc;
    rc = apply_op(c, &in, &unknown);
    if (rc == 0 && !unknown) rc = c->tx->v->side_remove(c->tx, SIDE_HELD, held->id);
    if (rc == 0) rc = change_mark_pop(c, true, c->tx->err);
    if (rc == 0) return 0;
    int undo = change_mark_pop(c, false, NULL);
    return undo != 0 ? undo : is_ours(rc) ? rc : 0;
}

int change_held_retry(struct change *c, const char *after_id, size_t limit, const char **ret_last)
{
    struct side_row *side;
    size_t n;
    *ret_last = NULL;
    int rc = c->tx->v->side_scan(c->tx, SIDE_HELD, NULL, after_id, limit, c->scratch, &side, &n);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct arena a;
        arena_init(&a, CHANGE_ARENA_MAX);
        rc = retry_op(c, &side[i], &a);
        arena_release(&a);
    }
    if (rc == 0 && n == limit) *ret_last = side[n - 1].id;
    return rc;
}

/* ---- the original ---------------------------------------------------------------------------------------------- */

uint64_t version_of_time(struct change *c, const char *text)
{
    int64_t us, latest = c->now_us + (int64_t)HLC_AHEAD_MAX_MS * 1000;
    if (text == NULL || time_parse(text, strlen(text), &us) != 0) return 0;
    uint64_t ver = hlc_of_us(us < latest ? us : latest);
    return ver > 0 ? ver : 1; /* before 1970: the first there is */
}

/* Fills v from a row the original wrote: its counts are a base, but for what we counted ourselves. */
int original_version(struct change *c, const struct known *k, const struct memory *m, uint64_t ver, struct version *v)
{
    int64_t us;
    *v = (struct version){ .kind = KIND_MEMORY, .ver = ver, .m = *m };
    own_of(m, &v->own);
    v->own.count_base = k->merged.row.own.count_base;
    if (m->access_count > count_plus(v->own.count_base, k->merged.count_sum))
        v->own.count_base = m->access_count - k->merged.count_sum;
    v->own.count_seen = count_plus(v->own.count_base, k->merged.count_sum);
    v->own.base_ver = k->merged.row.stamp.ver;
    v->own.base_stream = k->merged.row.stamp.stream;
    if (m->updated_at == NULL || time_parse(m->updated_at, strlen(m->updated_at), &us) != 0 || us != stamp_us(ver))
        v->m.updated_at = change_time(c, ver);
    return v->m.updated_at != NULL ? 0 : E_TOO_LARGE;
}

/* The original's program knows none of our rows: it may have brought back an id that rests or is deleted here. */
static int adopt_clear(struct change *c, const char *id, uint64_t *floor)
{
    struct side_row side;
    int rc = c->tx->v->side_get(c->tx, SIDE_TOMBSTONE, id, c->scratch, &side);
    if (rc == 0) {
        if (side.stamp.ver > *floor) *floor = side.stamp.ver;
        rc = c->tx->v->side_remove(c->tx, SIDE_TOMBSTONE, id);
    }
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    rc = c->tx->v->side_get(c->tx, SIDE_SHADOW, id, c->scratch, &side);
    if (rc == 0) {
        if (side.stamp.ver > *floor) *floor = side.stamp.ver;
        rc = c->tx->v->side_remove(c->tx, SIDE_SHADOW, id);
    }
    return rc == E_NOT_FOUND ? 0 : rc;
}

/* Its links have no rows of record: they get versions of their own in the row's op. */
static int adopt_links(struct change *c, const char *id)
{
    struct links links;
    int rc = c->tx->v->links_of(c->tx, id, c->scratch, &links);
    for (size_t i = 0; rc == 0 && i < links.count; i++) {
        struct side_row side;
        struct version v = { .kind = KIND_LINK, .link = links.item[i] };
        rc = links_get(c->tx, SIDE_LINK, &v.link, c->scratch, &side);
        if (rc == 0) continue;
        if (rc == E_NOT_FOUND) rc = links_get(c->tx, SIDE_LINK_GONE, &v.link, c->scratch, &side);
        if (rc != 0 && rc != E_NOT_FOUND) return rc;
        uint64_t floor = rc == 0 ? side.stamp.ver : 0;
        v.ver = version_of_time(c, v.link.created_at);
        if (v.ver <= floor) v.ver = floor + 1;
        rc = change_record(c, &v);
    }
    return rc;
}

/* The standards it is, where the original keeps them: of its own namespace, of those above, of all. */
static int adopt_standards(struct change *c, const struct row *row)
{
    for (const char *ns = row->m.ns; ns != NULL;) {
        const char *id, *parent;
        struct side_row side;
        struct buf body;
        struct version v = { .kind = KIND_STANDARD, .ver = row->stamp.ver, .key = ns };
        int rc = c->tx->v->standard_of(c->tx, ns, c->scratch, &id, &parent);
        bool its = rc == 0 && id != NULL && strcmp(id, row->m.id) == 0;
        if (its) rc = c->tx->v->side_get(c->tx, SIDE_STANDARD, ns, c->scratch, &side);
        if (its && rc == E_NOT_FOUND) {
            buf_init(&body, 1u << 16);
            buf_text(&body, id);
            buf_text(&body, parent);
            v.body = body.data;
            v.body_len = body.len;
            rc = body.failed ? E_TOO_LARGE : change_record(c, &v);
            buf_release(&body);
        }
        if (rc != 0 && rc != E_NOT_FOUND) return rc;
        const char *above = namespace_parent(ns, c->scratch);
        ns = above != NULL ? above : strcmp(ns, "*") != 0 ? "*" : NULL;
    }
    return 0;
}

static int adopt_row(struct change *c, const struct row *row)
{
    struct known k;
    struct version v;
    struct hidden *hidden;
    size_t n;
    uint64_t floor = row->stamp.ver, ver = version_of_time(c, row->m.updated_at);
    arena_release(&c->priv->work);
    int rc = adopt_clear(c, row->m.id, &floor);
    if (rc == 0) rc = title_hidden(c->tx, row->m.title, row->m.ns, c->scratch, &hidden, &n);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (hidden[i].row.stamp.ver > floor) floor = hidden[i].row.stamp.ver;
    if (rc == 0) rc = known_load(c, row->m.id, false, &c->priv->work, &k);
    if (rc != 0) return rc;
    if (ver == 0) ver = hlc_next(&c->hlc, c->now_us, floor);
    if (ver <= floor) ver = floor + 1;
    clock_follow(c, ver);
    rc = original_version(c, &k, &row->m, ver, &v);
    if (rc == 0) rc = change_op_begin(c);
    if (rc == 0) rc = change_record(c, &v);
    if (rc == 0) rc = adopt_links(c, row->m.id);
    const struct row adopted = { .m = row->m, .stamp.ver = ver };
    return rc == 0 ? adopt_standards(c, &adopted) : rc;
}

int change_adopt(struct change *c, size_t limit, bool *ret_more)
{
    struct rows rows;
    *ret_more = false;
    int rc = c->tx->v->unstamped(c->tx, limit, c->scratch, &rows);
    for (size_t i = 0; rc == 0 && i < rows.count; i++) rc = adopt_row(c, &rows.item[i]);
    if (rc == 0) *ret_more = rows.count > 0;
    return rc;
}
