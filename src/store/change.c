/* change.c - the life of a writer and its log: identity, clock, positions, the op being made.
 *
 * The body of the open op grows at the end of `bodies`. It is appended to the log only when the next op begins or the
 * item ends, so that what belongs to an item's last change (its idempotency key) still gets into the same op. */
#include "store/change_private.h"

#include <string.h>

#include "base/check.h"
#include "base/digest.h"
#include "base/id.h"

#define BOUND_EVERY_US 400000
#define BOUND_AHEAD_US 200000
#define OP_HEAD 3 /* format byte and count of an op body */

static uint64_t draw(struct change *c, unsigned bits)
{
    uint64_t n = c->random != NULL ? c->random(c->random_data) : random_u64();
    return n >> (64 - bits);
}

static uint64_t local_u64(const struct local_value *v)
{
    struct reader r;
    reader_init(&r, v->data, v->len);
    return read_u64(&r);
}

static int local_put_u64(struct store_tx *tx, const char *key, uint64_t n)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(n >> (8 * i));
    return tx->v->local_put(tx, key, bytes, sizeof(bytes));
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static int identity(struct change *c, struct store_tx *tx)
{
    struct local_value v;
    int rc = tx->v->local_get(tx, "node", c->scratch, &v);
    if (rc == 0) c->origin.node = local_u64(&v);
    if (rc == E_NOT_FOUND || (rc == 0 && (c->origin.node == 0 || c->new_node))) {
        c->new_node = false;
        do c->origin.node = draw(c, 63);
        while (c->origin.node == 0);
        rc = local_put_u64(tx, "node", c->origin.node);
    }
    return rc;
}

static int begin_life(struct change *c, struct store_tx *tx, int64_t now_us)
{
    struct stream_pos taken;
    struct local_value v;
    int rc = identity(c, tx);
    while (rc == 0) {
        c->origin.stream = ((uint64_t)(now_us / 1000) << 20 | draw(c, 20)) & INT64_MAX;
        rc = c->origin.stream != 0 ? tx->v->stream_get(tx, c->origin.stream, &taken) : 0;
    }
    if (rc != E_NOT_FOUND) return rc;
    struct stream_pos pos = { .stream = c->origin.stream, .node = c->origin.node };
    rc = tx->v->stream_put(tx, &pos);
    if (rc != 0) return rc;
    rc = tx->v->local_get(tx, "hlc", c->scratch, &v);
    if (rc == 0) c->hlc.last = c->priv->now.bound = local_u64(&v);
    return rc == E_NOT_FOUND ? 0 : rc;
}

int change_open(struct change *c, const struct store_backend *b, struct store_conn *writer, int64_t now_us,
                struct err *err)
{
    CHECK(c->priv == NULL && c->lifetimes != NULL);
    struct change_private *p = mem_alloc(sizeof(*p));
    c->priv = p;
    arena_init(&p->scratch, CHANGE_ARENA_MAX);
    arena_init(&p->work, CHANGE_ARENA_MAX);
    arena_init(&p->decode, CHANGE_ARENA_MAX);
    buf_init(&p->bodies, CHANGE_BODIES_MAX);
    buf_init(&p->version, OP_BYTES_MAX + (1u << 20));
    c->scratch = &p->scratch;
    c->bodies = &p->bodies;
    c->hlc = (struct hlc){ 0 };
    c->origin = (struct origin){ 0 };
    struct store_tx *tx = NULL;
    int rc = b->begin(writer, &tx, err);
    if (rc == 0) {
        rc = begin_life(c, tx, now_us);
        if (rc != 0) {
            err_set(err, rc, "%s", tx->err != NULL && tx->err->code == rc ? tx->err->msg : err_text(rc));
            b->rollback(writer);
        } else {
            rc = b->commit(writer, true, err);
        }
    }
    if (rc != 0) change_close(c);
    return rc;
}

void change_close(struct change *c)
{
    struct change_private *p = c->priv;
    if (p == NULL) return;
    arena_release(&p->scratch);
    arena_release(&p->work);
    arena_release(&p->decode);
    buf_release(&p->bodies);
    buf_release(&p->version);
    mem_free(c->made);
    mem_free(c->left);
    mem_free((struct stream_pos *)(uintptr_t)p->merging.v);
    mem_free((struct stream_pos *)(uintptr_t)p->had.v);
    mem_free(p);
    c->made = NULL;
    c->left = NULL;
    c->made_count = c->left_count = 0;
    c->bodies = NULL;
    c->scratch = NULL;
    c->priv = NULL;
    c->tx = NULL;
}

/* ---- counters -------------------------------------------------------------------------------------------------- */

static void mark_take(const struct change *c, struct change_mark *m)
{
    *m = c->priv->now;
    m->hlc = c->hlc;
    m->origin = c->origin;
    m->made_count = c->made_count;
    m->bodies_len = c->bodies->len;
    m->left_count = c->left_count;
    m->far_future = c->far_future;
    m->unseen = c->unseen;
    m->held = c->held;
    m->forgotten = c->forgotten;
    m->lacks = c->lacks;
}

static void mark_back(struct change *c, const struct change_mark *m)
{
    c->priv->now = *m;
    c->hlc = m->hlc;
    c->origin = m->origin;
    c->made_count = m->made_count;
    c->bodies->len = m->bodies_len;
    c->left_count = m->left_count;
    c->bodies->failed = false;
    c->far_future = m->far_future;
    c->unseen = m->unseen;
    c->held = m->held;
    c->forgotten = m->forgotten;
    c->lacks = m->lacks;
}

void change_begin(struct change *c, struct store_tx *tx, int64_t now_us)
{
    struct change_private *p = c->priv;
    CHECK(p != NULL);
    c->tx = tx;
    c->now_us = now_us;
    c->made_count = c->left_count = 0;
    buf_clear(c->bodies);
    arena_release(c->scratch);
    p->now = (struct change_mark){
        .bound = p->now.bound, .bound_us = p->now.bound_us, .merging = p->now.merging, .missed = p->now.missed
    };
    p->depth = 0;
    p->bare = false;
    mark_take(c, &p->begin);
}

void change_rollback(struct change *c)
{
    mark_back(c, &c->priv->begin);
    c->priv->depth = 0;
    c->tx = NULL;
}

int change_mark_push(struct change *c, struct err *err)
{
    struct change_private *p = c->priv;
    CHECK(p->depth < CHANGE_SAVEPOINTS_MAX);
    int rc = c->tx->v->savepoint(c->tx, err);
    if (rc == 0) mark_take(c, &p->mark[p->depth++]);
    return rc;
}

int change_mark_pop(struct change *c, bool keep, struct err *err)
{
    struct change_private *p = c->priv;
    CHECK(p->depth > 0);
    int rc = keep ? 0 : E_AGAIN;
    if (!change_is_bare(c)) rc = c->tx->v->savepoint_end(c->tx, keep, err);
    if (rc != 0 && keep) return rc;
    p->depth--;
    if (!keep) mark_back(c, &p->mark[p->depth]);
    return rc;
}

void change_made_init(struct change_made *m)
{
    *m = (struct change_made){ 0 };
    buf_init(&m->bodies, CHANGE_BODIES_MAX);
}

void change_made_free(struct change_made *m)
{
    buf_release(&m->bodies);
    mem_free(m->op);
    mem_free(m->left);
}

void change_take(struct change *c, struct change_made *m)
{
    struct change_private *p = c->priv;
    struct change_made old = *m;
    *m = (struct change_made){ .stream = c->origin.stream,
                               .op = c->made,
                               .count = c->made_count,
                               .cap = p->made_cap,
                               .bodies = p->bodies,
                               .left = c->left,
                               .left_count = c->left_count,
                               .left_cap = p->left_cap,
                               .far_future = c->far_future,
                               .unseen = c->unseen,
                               .clock = c->hlc.last };
    c->made = old.op;
    c->left = old.left;
    c->made_count = c->left_count = 0;
    p->made_cap = old.cap;
    p->left_cap = old.left_cap;
    p->bodies = old.bodies;
    buf_clear(&p->bodies);
}

bool change_is_bare(const struct change *c)
{
    return c->priv->bare && c->priv->depth == 1;
}

static void item_begin(struct change *c, bool bare)
{
    CHECK(!c->priv->now.open && !c->priv->now.group);
    c->as_of = 0;
    arena_release(c->scratch);
    c->priv->now.position = (struct stamp){ 0 };
    c->priv->bare = bare;
}

int change_savepoint(struct change *c, struct err *err)
{
    if (c->priv->depth == 0) item_begin(c, false);
    return change_mark_push(c, err);
}

void change_savepoint_none(struct change *c)
{
    CHECK(c->priv->depth == 0);
    item_begin(c, true);
    mark_take(c, &c->priv->mark[c->priv->depth++]);
}

int change_savepoint_end(struct change *c, bool keep, struct err *err)
{
    if (keep && c->priv->depth == 1) {
        CHECK(!c->priv->now.group);
        int rc = change_op_flush(c);
        if (rc != 0) return err_set(err, rc, "%s", err_text(rc));
    }
    return change_mark_pop(c, keep, err);
}

/* ---- the op being made ----------------------------------------------------------------------------------------- */

int change_op_begin(struct change *c)
{
    struct change_mark *n = &c->priv->now;
    if (n->open && n->joined) return 0;
    int rc = change_op_flush(c);
    if (rc != 0) return rc;
    n->open = true;
    n->joined = n->group;
    n->offset = c->bodies->len;
    n->versions = 0;
    n->op_ver = 0;
    return 0;
}

int change_record(struct change *c, struct version *v)
{
    struct change_mark *n = &c->priv->now;
    struct buf *one = &c->priv->version;
    CHECK(n->open && v->ver != 0);
    /* Nothing is greater than the last version: what is made from it would lose, here or elsewhere, unnoticed. */
    if (v->ver >= HLC_MAX)
        return err_set(c->tx->err, E_CONFLICT, "this carries the last version there can be and stays as it is");
    v->raw_kind = (uint16_t)v->kind;
    buf_clear(one);
    one->failed = false;
    int rc = op_encode(one, v, 1);
    if (rc != 0) return rc;
    if (n->versions == OP_VERSIONS_MAX || c->bodies->len - n->offset + one->len > OP_BYTES_MAX) return E_TOO_LARGE;
    /* the head (format, count) once an op; the count is filled in when it is complete */
    size_t skip = n->versions == 0 ? 0 : OP_HEAD;
    buf_put(c->bodies, one->data + skip, one->len - skip);
    if (c->bodies->failed) return E_TOO_LARGE;
    n->versions++;
    if (v->ver > n->op_ver) n->op_ver = v->ver;
    struct stamp s = { .ver = v->ver, .stream = c->origin.stream, .seq = c->origin.seq + 1 };
    n->position = (struct stamp){ .ver = n->op_ver, .stream = s.stream, .seq = s.seq };
    return change_apply(c, v, &s);
}

int change_op_flush(struct change *c)
{
    struct change_mark *n = &c->priv->now;
    if (!n->open) return 0;
    n->open = n->joined = false;
    if (n->versions == 0) return 0;
    char *body = c->bodies->data + n->offset;
    body[1] = (char)n->versions;
    body[2] = (char)(n->versions >> 8);
    struct log_op op = {
        .seq = c->origin.seq + 1, .ver = n->op_ver, .body = body, .body_len = c->bodies->len - n->offset
    };
    op.chain = chain_next(c->origin.chain, op.body, op.body_len);
    int rc = c->tx->v->op_append(c->tx, c->origin.stream, &op);
    if (rc != 0) return rc;
    c->origin.seq = op.seq;
    c->origin.chain = op.chain;
    if (c->made_count == c->priv->made_cap) {
        c->priv->made_cap = c->priv->made_cap == 0 ? 64 : c->priv->made_cap * 2;
        c->made = mem_realloc(c->made, c->priv->made_cap * sizeof(struct made_op));
    }
    c->made[c->made_count++] =
        (struct made_op){ .seq = op.seq, .ver = op.ver, .chain = op.chain, .offset = n->offset, .len = op.body_len };
    return 0;
}

int change_op_copy(struct change *c, const void *body, size_t len)
{
    struct change_mark *n = &c->priv->now;
    struct version *v;
    size_t count;
    CHECK(!n->group);
    arena_release(&c->priv->decode);
    int rc = op_decode(body, len, &c->priv->decode, &v, &count);
    if (rc == 0) rc = change_op_begin(c);
    if (rc != 0 || count == 0) return rc;
    buf_put(c->bodies, body, len);
    if (c->bodies->failed) return E_TOO_LARGE;
    n->versions = (uint16_t)count;
    for (size_t i = 0; i < count; i++)
        if (v[i].ver > n->op_ver) n->op_ver = v[i].ver;
    rc = change_op_flush(c);
    const struct stamp s = { .ver = n->op_ver, .stream = c->origin.stream, .seq = c->origin.seq };
    return rc == 0 ? held_take(c, &s, body, len) : rc;
}

void change_group_begin(struct change *c)
{
    CHECK(!c->priv->now.group);
    c->priv->now.group = true; /* its first version begins the op */
}

int change_group_end(struct change *c)
{
    CHECK(c->priv->now.group);
    c->priv->now.group = c->priv->now.joined = false; /* the op stays open, for the key */
    return 0;
}

struct stamp change_position(const struct change *c)
{
    return c->priv->now.position;
}

const char *change_time(struct change *c, uint64_t ver)
{
    char text[TIME_TEXT];
    time_print(text, stamp_us(ver));
    return arena_strdup(c->scratch, text);
}

/* ---- the end of a batch ---------------------------------------------------------------------------------------- */

/* Nothing above the persisted bound may be committed. A life's first write persists the clock itself, so that short
 * lives do not push it ahead; under load the bound is put ahead and stands for a few batches. Not for more: a command
 * beside a busy server begins at that bound, and its times are shown. */
static int clock_persist(struct change *c)
{
    struct change_mark *p = &c->priv->now;
    struct local_value v;
    if (c->hlc.last <= p->bound) return 0;
    uint64_t bound = c->hlc.last, ahead = hlc_of_us(c->now_us + BOUND_AHEAD_US);
    if (p->bound_us != 0 && c->now_us - p->bound_us < BOUND_EVERY_US && ahead > bound) bound = ahead;
    int rc = c->tx->v->local_get(c->tx, "hlc", c->scratch, &v);
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    if (rc == 0 && local_u64(&v) > bound) bound = local_u64(&v); /* another process of this file */
    rc = local_put_u64(c->tx, "hlc", bound);
    if (rc != 0) return rc;
    p->bound = bound;
    p->bound_us = c->now_us;
    return 0;
}

int change_finish(struct change *c)
{
    CHECK(c->priv->depth == 0 && !c->priv->now.group);
    int rc = change_op_flush(c);
    if (rc != 0) return rc;
    return clock_persist(c);
}

int change_rest(struct change *c)
{
    struct local_value v;
    if (c->priv->now.bound <= c->hlc.last) return 0;
    int rc = c->tx->v->local_get(c->tx, "hlc", c->scratch, &v);
    if (rc == 0 && local_u64(&v) == c->priv->now.bound) rc = local_put_u64(c->tx, "hlc", c->hlc.last);
    if (rc == 0) c->priv->now.bound = c->hlc.last;
    return rc == E_NOT_FOUND ? 0 : rc;
}
