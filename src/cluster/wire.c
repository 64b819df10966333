#include "cluster/wire.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/digest.h"

#define WIRE_MAGIC 0x524d4941u /* "AIMR" */
#define WIRE_FORMAT 1
#define RELAXED 0x8000u /* beside the kind */
#define ID_MAX (UINT64_MAX >> 1)

#define SEAL_BYTES 8

/* Of a message, at its end: one flipped bit anywhere changes it (every step can be undone, so none loses it). */
static uint64_t seal_step(uint64_t h, uint64_t word)
{
    h = (h ^ word) * 0xff51afd7ed558ccdu;
    return h ^ h >> 32;
}

static uint64_t seal_of(const char *data, size_t len)
{
    const uint8_t *p = (const uint8_t *)data;
    uint64_t h = 0x9e3779b97f4a7c15u ^ len;
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t low = (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24;
        uint64_t high = (uint64_t)p[4] | (uint64_t)p[5] << 8 | (uint64_t)p[6] << 16 | (uint64_t)p[7] << 24;
        h = seal_step(h, low | high << 32);
    }
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++) word |= (uint64_t)p[i] << (8 * i);
    return len > 0 ? seal_step(h, word) : h;
}

static void seal(struct buf *b)
{
    if (!b->failed) buf_u64(b, seal_of(b->data, b->len));
}

static void put_head(struct buf *b, const struct wire_head *h, enum wire_kind kind)
{
    buf_u32(b, WIRE_MAGIC);
    buf_u16(b, WIRE_FORMAT);
    buf_u16(b, (uint16_t)((unsigned)kind | (h->relaxed ? RELAXED : 0)));
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
    seal(b);
}

void wire_put_vector(struct buf *b, const struct wire_head *h, const struct repl_entry *v, size_t count, bool whole)
{
    put_head(b, h, WIRE_VECTOR);
    put_entries(b, v, count, whole);
    seal(b);
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
    seal(b);
}

void wire_put_answer_hello(struct buf *b, const struct wire_head *h, const struct wire_pos *p,
                           const struct repl_entry *v, size_t count)
{
    put_head(b, h, WIRE_ANSWER_HELLO);
    put_pos(b, p);
    put_entries(b, v, count, true);
    seal(b);
}

void wire_put_answer_pos(struct buf *b, const struct wire_head *h, const struct wire_pos *p)
{
    put_head(b, h, WIRE_ANSWER_POS);
    put_pos(b, p);
    seal(b);
}

void wire_put_pong(struct buf *b, const struct wire_head *h, const struct repl_entry *v, size_t count, bool whole)
{
    put_head(b, h, WIRE_ANSWER_PONG);
    put_entries(b, v, count, whole);
    seal(b);
}

static void put_positions(struct buf *b, const struct stream_pos *v, size_t count)
{
    buf_u32(b, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        buf_u64(b, v[i].stream);
        buf_u64(b, v[i].node);
        buf_u64(b, v[i].pos);
        buf_u64(b, v[i].chain);
        buf_u64(b, v[i].trimmed);
        buf_u8(b, v[i].left ? 2 : v[i].ended);
    }
}

void wire_put_snapshot(struct buf *b, const struct wire_head *h, const struct wire_snapshot *s)
{
    CHECK(s->count <= WIRE_VECTOR_MAX && s->held_count <= WIRE_VECTOR_MAX);
    put_head(b, h, WIRE_SNAPSHOT);
    buf_u8(b, s->ahead);
    put_positions(b, s->v, s->count);
    buf_u32(b, (uint32_t)s->held_count);
    for (size_t i = 0; i < s->held_count; i++) {
        buf_u64(b, s->held[i].stream);
        buf_u64(b, s->held[i].seq);
    }
    seal(b);
}

void wire_put_page(struct buf *b, const struct wire_head *h, const struct wire_page *p)
{
    put_head(b, h, WIRE_PAGE);
    buf_u16(b, p->at.section);
    buf_text(b, p->at.after);
    buf_u64(b, hash64(p->records, p->len, p->at.section));
    buf_blob(b, p->records, p->len);
    seal(b);
}

void wire_put_sums(struct buf *b, const struct wire_head *h, const struct wire_sums *s)
{
    put_head(b, h, WIRE_SUMS);
    buf_u64(b, s->before);
    for (size_t i = 0; i < SCRUB_BUCKETS; i++) buf_u64(b, s->sum[i]);
    seal(b);
}

void wire_put_rows(struct buf *b, const struct wire_head *h, const struct wire_rows *r)
{
    CHECK(r->rows <= WIRE_ROWS_MAX);
    put_head(b, h, WIRE_ROWS);
    put_positions(b, r->v, r->count);
    buf_u32(b, (uint32_t)r->rows);
    for (size_t i = 0; i < r->rows; i++) {
        const struct scrub_row *row = &r->row[i];
        buf_u16(b, row->family);
        buf_u16(b, row->bucket);
        buf_u8(b, row->dead);
        buf_text(b, row->key);
        buf_u64(b, row->stamp.ver);
        buf_u64(b, row->stamp.stream);
        buf_u64(b, row->stamp.seq);
        buf_u64(b, row->sum);
    }
    seal(b);
}

static int read_head(struct reader *r, struct wire_head *h, struct err *err)
{
    if (read_u32(r) != WIRE_MAGIC || r->failed) return err_set(err, E_PROTOCOL, "not a replication message");
    uint16_t format = read_u16(r);
    if (format != WIRE_FORMAT) return err_set(err, E_PROTOCOL, "replication format %u is unknown here", format);
    uint16_t kind = read_u16(r);
    h->relaxed = (kind & RELAXED) != 0;
    h->kind = (enum wire_kind)(kind & ~RELAXED);
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
    o->misfit = chain != o->chain_after;
    return o->misfit ? err_set(err, E_PROTOCOL, "its ops do not fit their chain: the log they come from is damaged")
                     : 0;
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
static int read_positions(struct reader *r, struct arena *a, struct stream_pos **ret, size_t *ret_count,
                          struct err *err)
{
    size_t count = read_u32(r);
    if (r->failed || count > WIRE_VECTOR_MAX || count > r->left / 41)
        return err_set(err, E_PROTOCOL, "positions are torn or too many");
    struct stream_pos *v = *ret = arena_alloc(a, (count + 1) * sizeof *v);
    *ret_count = count;
    if (v == NULL) return err_set(err, E_TOO_LARGE, "positions are too many");
    for (size_t i = 0; i < count; i++) {
        struct stream_pos *p = &v[i];
        p->stream = read_u64(r);
        p->node = read_u64(r);
        p->pos = read_u64(r);
        p->chain = read_u64(r);
        p->trimmed = read_u64(r);
        uint8_t ended = read_u8(r);
        p->ended = ended != 0;
        p->left = ended == 2;
        if (p->stream == 0 || p->stream > ID_MAX || p->node > ID_MAX || p->pos > ID_MAX || p->trimmed > p->pos ||
            (i > 0 && p->stream <= v[i - 1].stream))
            return err_set(err, E_PROTOCOL, "position %zu is out of range", i);
    }
    return 0;
}

static int read_snapshot(struct reader *r, struct arena *a, struct wire_snapshot *s, struct err *err)
{
    s->ahead = read_u8(r) != 0;
    int rc = read_positions(r, a, &s->v, &s->count, err);
    return rc == 0 ? read_held(r, a, s, err) : rc;
}

static int read_sums(struct reader *r, struct arena *a, struct wire_sums **ret, struct err *err)
{
    struct wire_sums *s = *ret = arena_alloc(a, sizeof *s);
    if (s == NULL) return err_set(err, E_TOO_LARGE, "sums are too long");
    s->before = read_u64(r);
    for (size_t i = 0; i < SCRUB_BUCKETS; i++) s->sum[i] = read_u64(r);
    return r->failed ? err_set(err, E_PROTOCOL, "sums are torn") : 0;
}

static int read_rows(struct reader *r, struct arena *a, struct wire_rows *ret, struct err *err)
{
    int rc = read_positions(r, a, &ret->v, &ret->count, err);
    if (rc != 0) return rc;
    ret->rows = read_u32(r);
    if (r->failed || ret->rows > WIRE_ROWS_MAX || ret->rows > r->left / 41)
        return err_set(err, E_PROTOCOL, "rows are torn or too many");
    ret->row = arena_alloc(a, (ret->rows + 1) * sizeof *ret->row);
    if (ret->row == NULL) return err_set(err, E_TOO_LARGE, "rows are too many");
    for (size_t i = 0; i < ret->rows; i++) {
        struct scrub_row *row = &ret->row[i];
        row->family = read_u16(r);
        row->bucket = read_u16(r);
        row->dead = read_u8(r) != 0;
        row->key = read_text(r, a);
        row->stamp.ver = read_u64(r);
        row->stamp.stream = read_u64(r);
        row->stamp.seq = read_u64(r);
        row->sum = read_u64(r);
        if (r->failed || row->key == NULL || row->bucket >= SCRUB_BUCKETS)
            return err_set(err, E_PROTOCOL, "row %zu is torn", i);
    }
    return 0;
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
    reader_init(&r, data, len < SEAL_BYTES ? 0 : len - SEAL_BYTES);
    int rc = read_head(&r, &ret->head, err);
    if (rc != 0) return rc;
    struct reader end;
    reader_init(&end, (const char *)data + len - SEAL_BYTES, SEAL_BYTES);
    if (read_u64(&end) != seal_of(data, len - SEAL_BYTES))
        return err_set(err, E_PROTOCOL, "message was altered on its way");
    switch (ret->head.kind) {
    case WIRE_HELLO:
    case WIRE_VECTOR:
    case WIRE_ANSWER_PONG: rc = read_entries(&r, a, &ret->vector, err); break;
    case WIRE_SNAPSHOT: rc = read_snapshot(&r, a, &ret->snapshot, err); break;
    case WIRE_PAGE: rc = read_page(&r, a, &ret->page, err); break;
    case WIRE_SUMS: rc = read_sums(&r, a, &ret->sums, err); break;
    case WIRE_ROWS: rc = read_rows(&r, a, &ret->rows, err); break;
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
