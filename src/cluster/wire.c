#include "cluster/wire.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/digest.h"

#define WIRE_MAGIC 0x524d4941u /* "AIMR" */
#define WIRE_FORMAT 1
#define ID_MAX (UINT64_MAX >> 1)

static void put_head(struct buf *b, const struct wire_head *h, enum wire_kind kind)
{
    buf_u32(b, WIRE_MAGIC);
    buf_u16(b, WIRE_FORMAT);
    buf_u16(b, (uint16_t)kind);
    buf_text(b, h->name);
    buf_u64(b, h->node);
    buf_u64(b, h->stream);
}

static void put_entries(struct buf *b, const struct repl_entry *v, size_t count, bool whole)
{
    CHECK(count <= WIRE_VECTOR_MAX);
    buf_u8(b, whole);
    buf_u32(b, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        buf_u64(b, v[i].stream);
        buf_u64(b, v[i].node);
        buf_u64(b, v[i].pos);
        buf_u64(b, v[i].chain);
        buf_u8(b, v[i].ended);
    }
}

static void put_pos(struct buf *b, const struct wire_pos *p)
{
    buf_u64(b, p->stream);
    buf_u64(b, p->pos);
    buf_u64(b, p->chain);
    buf_u8(b, (uint8_t)p->result);
}

void wire_put_hello(struct buf *b, const struct wire_head *h, const struct repl_entry *v, size_t count)
{
    put_head(b, h, WIRE_HELLO);
    put_entries(b, v, count, true);
}

void wire_put_vector(struct buf *b, const struct wire_head *h, const struct repl_entry *v, size_t count, bool whole)
{
    put_head(b, h, WIRE_VECTOR);
    put_entries(b, v, count, whole);
}

void wire_put_ops(struct buf *b, const struct wire_head *h, const struct wire_ops *o)
{
    CHECK(o->count <= WIRE_OPS_MAX);
    put_head(b, h, WIRE_OPS);
    buf_u64(b, o->stream);
    buf_u64(b, o->node);
    buf_u64(b, o->first_seq);
    buf_u64(b, o->chain_before);
    buf_u64(b, o->chain_after);
    buf_u8(b, o->more);
    buf_u32(b, (uint32_t)o->count);
    for (size_t i = 0; i < o->count; i++) {
        buf_u64(b, o->op[i].ver);
        buf_blob(b, o->op[i].body, o->op[i].body_len);
    }
}

void wire_put_answer_hello(struct buf *b, const struct wire_head *h, const struct wire_pos *p,
                           const struct repl_entry *v, size_t count)
{
    put_head(b, h, WIRE_ANSWER_HELLO);
    put_pos(b, p);
    put_entries(b, v, count, true);
}

void wire_put_answer_pos(struct buf *b, const struct wire_head *h, const struct wire_pos *p)
{
    put_head(b, h, WIRE_ANSWER_POS);
    put_pos(b, p);
}

void wire_put_pong(struct buf *b, const struct wire_head *h, const struct repl_entry *v, size_t count, bool whole)
{
    put_head(b, h, WIRE_ANSWER_PONG);
    put_entries(b, v, count, whole);
}

void wire_put_snapshot(struct buf *b, const struct wire_head *h, const struct wire_snapshot *s)
{
    CHECK(s->count <= WIRE_VECTOR_MAX && s->held_count <= WIRE_VECTOR_MAX);
    put_head(b, h, WIRE_SNAPSHOT);
    buf_u32(b, (uint32_t)s->count);
    for (size_t i = 0; i < s->count; i++) {
        buf_u64(b, s->v[i].stream);
        buf_u64(b, s->v[i].node);
        buf_u64(b, s->v[i].pos);
        buf_u64(b, s->v[i].chain);
        buf_u64(b, s->v[i].trimmed);
        buf_u8(b, s->v[i].left ? 2 : s->v[i].ended);
    }
    buf_u32(b, (uint32_t)s->held_count);
    for (size_t i = 0; i < s->held_count; i++) {
        buf_u64(b, s->held[i].stream);
        buf_u64(b, s->held[i].seq);
    }
}

void wire_put_page(struct buf *b, const struct wire_head *h, const struct wire_page *p)
{
    put_head(b, h, WIRE_PAGE);
    buf_u16(b, p->at.section);
    buf_text(b, p->at.after);
    buf_u64(b, hash64(p->records, p->len, p->at.section));
    buf_blob(b, p->records, p->len);
}

static int read_head(struct reader *r, struct wire_head *h, struct err *err)
{
    if (read_u32(r) != WIRE_MAGIC || r->failed) return err_set(err, E_PROTOCOL, "not a replication message");
    uint16_t format = read_u16(r);
    if (format != WIRE_FORMAT) return err_set(err, E_PROTOCOL, "replication format %u is unknown here", format);
    h->kind = (enum wire_kind)read_u16(r);
    size_t len = 0;
    const char *name = read_blob(r, &len);
    if (r->failed || len > WIRE_NAME_MAX || memchr(name, 0, len) != NULL)
        return err_set(err, E_PROTOCOL, "cluster name is too long");
    memcpy(h->name, name, len);
    h->name[len] = 0;
    h->node = read_u64(r);
    h->stream = read_u64(r);
    if (r->failed || h->node == 0 || h->node > ID_MAX || h->stream > ID_MAX)
        return err_set(err, E_PROTOCOL, "node or stream id out of range");
    return 0;
}

static int read_entries(struct reader *r, struct arena *a, struct wire_vector *v, struct err *err)
{
    v->whole = read_u8(r) != 0;
    v->count = read_u32(r);
    if (r->failed || v->count > WIRE_VECTOR_MAX || v->count > r->left / 33)
        return err_set(err, E_PROTOCOL, "vector is torn or too long");
    v->entry = arena_alloc(a, (v->count + 1) * sizeof *v->entry);
    if (v->entry == NULL) return err_set(err, E_TOO_LARGE, "vector is too long");
    for (size_t i = 0; i < v->count; i++) {
        struct repl_entry *e = &v->entry[i];
        e->stream = read_u64(r);
        e->node = read_u64(r);
        e->pos = read_u64(r);
        e->chain = read_u64(r);
        e->ended = read_u8(r) != 0;
        if (e->stream == 0 || e->stream > ID_MAX || e->node > ID_MAX || e->pos > ID_MAX)
            return err_set(err, E_PROTOCOL, "vector entry %zu is out of range", i);
    }
    return 0;
}

static int read_pos(struct reader *r, struct wire_pos *p, struct err *err)
{
    p->stream = read_u64(r);
    p->pos = read_u64(r);
    p->chain = read_u64(r);
    p->result = read_u8(r);
    if (r->failed || p->stream > ID_MAX || p->pos > ID_MAX) return err_set(err, E_PROTOCOL, "position out of range");
    return 0;
}

static int read_ops(struct reader *r, struct arena *a, struct wire_ops *o, struct err *err)
{
    o->stream = read_u64(r);
    o->node = read_u64(r);
    o->first_seq = read_u64(r);
    o->chain_before = read_u64(r);
    o->chain_after = read_u64(r);
    o->more = read_u8(r) != 0;
    o->count = read_u32(r);
    if (r->failed || o->count > WIRE_OPS_MAX) return err_set(err, E_PROTOCOL, "batch is torn or too long");
    if (o->stream == 0 || o->stream > ID_MAX || o->node == 0 || o->node > ID_MAX || o->first_seq == 0 ||
        o->first_seq > ID_MAX - WIRE_OPS_MAX)
        return err_set(err, E_PROTOCOL, "batch names a stream or sequence out of range");
    o->op = arena_alloc(a, (o->count + 1) * sizeof *o->op);
    if (o->op == NULL) return err_set(err, E_TOO_LARGE, "batch is too long");
    uint64_t chain = o->chain_before;
    for (size_t i = 0; i < o->count; i++) {
        struct log_op *op = &o->op[i];
        op->seq = o->first_seq + i;
        op->ver = read_u64(r);
        op->body = read_blob(r, &op->body_len);
        if (r->failed || op->body_len > OP_BYTES_MAX) return err_set(err, E_PROTOCOL, "op %zu of the batch is torn", i);
        chain = op->chain = chain_next(chain, op->body, op->body_len);
    }
    if (chain != o->chain_after)
        return err_set(err, E_PROTOCOL, "batch was altered on its way: the chain does not fit");
    return 0;
}

static int read_held(struct reader *r, struct arena *a, struct wire_snapshot *s, struct err *err)
{
    s->held_count = read_u32(r);
    if (r->failed || s->held_count > WIRE_VECTOR_MAX || s->held_count > r->left / 16)
        return err_set(err, E_PROTOCOL, "snapshot's held ops are torn");
    s->held = arena_alloc(a, (s->held_count + 1) * sizeof *s->held);
    if (s->held == NULL) return err_set(err, E_TOO_LARGE, "snapshot holds too many ops");
    for (size_t i = 0; i < s->held_count; i++) {
        s->held[i].stream = read_u64(r);
        s->held[i].seq = read_u64(r);
    }
    return 0;
}

/* Streams ascend, so that a position is found by halving. */
static int read_snapshot(struct reader *r, struct arena *a, struct wire_snapshot *s, struct err *err)
{
    s->count = read_u32(r);
    if (r->failed || s->count > WIRE_VECTOR_MAX || s->count > r->left / 41)
        return err_set(err, E_PROTOCOL, "snapshot's vector is torn or too long");
    s->v = arena_alloc(a, (s->count + 1) * sizeof *s->v);
    if (s->v == NULL) return err_set(err, E_TOO_LARGE, "snapshot's vector is too long");
    for (size_t i = 0; i < s->count; i++) {
        struct stream_pos *p = &s->v[i];
        p->stream = read_u64(r);
        p->node = read_u64(r);
        p->pos = read_u64(r);
        p->chain = read_u64(r);
        p->trimmed = read_u64(r);
        uint8_t ended = read_u8(r);
        p->ended = ended != 0;
        p->left = ended == 2;
        if (p->stream == 0 || p->stream > ID_MAX || p->node > ID_MAX || p->pos > ID_MAX || p->trimmed > p->pos ||
            (i > 0 && p->stream <= s->v[i - 1].stream))
            return err_set(err, E_PROTOCOL, "snapshot's vector entry %zu is out of range", i);
    }
    return read_held(r, a, s, err);
}

static int read_page(struct reader *r, struct arena *a, struct wire_page *p, struct err *err)
{
    p->at.section = read_u16(r);
    p->at.after = read_text(r, a);
    uint64_t sum = read_u64(r);
    p->records = read_blob(r, &p->len);
    if (r->failed || (p->at.after != NULL && strlen(p->at.after) > PAGE_AFTER_MAX))
        return err_set(err, E_PROTOCOL, "page is torn");
    if (hash64(p->records, p->len, p->at.section) != sum)
        return err_set(err, E_PROTOCOL, "page was altered on its way");
    return 0;
}

uint64_t wire_sender(const void *data, size_t len)
{
    struct reader r;
    size_t name;
    reader_init(&r, data, len);
    (void)read_u64(&r); /* magic, format, kind */
    (void)read_blob(&r, &name);
    uint64_t node = read_u64(&r);
    return r.failed ? 0 : node;
}

int wire_read(const void *data, size_t len, struct arena *a, struct wire_message *ret, struct err *err)
{
    struct reader r;
    memset(ret, 0, sizeof *ret);
    reader_init(&r, data, len);
    int rc = read_head(&r, &ret->head, err);
    if (rc != 0) return rc;
    switch (ret->head.kind) {
    case WIRE_HELLO:
    case WIRE_VECTOR:
    case WIRE_ANSWER_PONG: rc = read_entries(&r, a, &ret->vector, err); break;
    case WIRE_SNAPSHOT: rc = read_snapshot(&r, a, &ret->snapshot, err); break;
    case WIRE_PAGE: rc = read_page(&r, a, &ret->page, err); break;
    case WIRE_OPS: rc = read_ops(&r, a, &ret->ops, err); break;
    case WIRE_ANSWER_HELLO:
        rc = read_pos(&r, &ret->pos, err);
        if (rc == 0) rc = read_entries(&r, a, &ret->vector, err);
        break;
    case WIRE_ANSWER_POS: rc = read_pos(&r, &ret->pos, err); break;
    default: return err_set(err, E_PROTOCOL, "message kind %d is unknown here", (int)ret->head.kind);
    }
    if (rc != 0) return rc;
    if (r.failed || r.left != 0) return err_set(err, E_PROTOCOL, "message has the wrong length");
    return 0;
}
