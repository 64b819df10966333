/* version.c - op bodies: what is logged, sent and chained. The bytes of an op never change once made, so a body is
 * encoded once by its origin and decoded by everyone; what a decoder does not understand it hands on as it came.
 *
 *   op       u8 format = 1, u16 count, then `count` times: u16 kind, u32 length, that many bytes
 *   version  u64 ver, then by kind:
 *     MEMORY     texts id ns title content tags source metadata created updated last_accessed expires, u8 tier,
 *                u8 priority, f64 confidence, u64 count_seen count_base base_ver base_stream
 *     TOMBSTONE  texts id ns title, u64 base_ver base_stream
 *     LINK, LINK_GONE   texts source target relation created
 *     TOUCH      text id, u64 node count last expires, u8 to_long
 *     others     text key, blob body
 *   text     u32 length (0xffffffff: none), bytes without NUL. All numbers little endian.
 *
 * A memory travels with its own tier, priority and expiry; what is shown is each reader's to compute. */
#include "memory.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"

#define FORMAT 1
#define VER_END (UINT64_C(1) << 62)
#define ID_BYTES_MAX 128
/* What decoding one version may take beyond its bytes, which are copied once as strings and once more if it is held. */
#define VERSION_ROOM (sizeof(struct version) + 16 * 32)

int stamp_cmp(const struct stamp *a, const struct stamp *b)
{
    if (a->ver != b->ver) return a->ver < b->ver ? -1 : 1;
    if (a->stream != b->stream) return a->stream < b->stream ? -1 : 1;
    return 0;
}

int64_t stamp_us(uint64_t ver)
{
    uint64_t us = ver >> 6 & 1023;

    return (int64_t)((ver >> 16) * 1000 + (us > 999 ? 999 : us));
}

static void put_required(struct buf *b, const char *s)
{
    CHECK(s != NULL);
    buf_text(b, s);
}

static void put_count(struct buf *b, int64_t n)
{
    buf_u64(b, n > 0 ? (uint64_t)n : 0);
}

/* Values no receiver would take (an old file may hold them) are brought into bounds. */
static void put_memory(struct buf *b, const struct version *v)
{
    const struct memory *m = &v->m;
    int priority = v->own.priority;

    put_required(b, m->id);
    put_required(b, m->ns);
    put_required(b, m->title);
    put_required(b, m->content);
    put_required(b, m->tags);
    put_required(b, m->source);
    put_required(b, m->metadata);
    put_required(b, m->created_at);
    put_required(b, m->updated_at);
    buf_text(b, m->last_accessed_at);
    buf_text(b, v->own.expires_at);
    buf_u8(b, (uint8_t)v->own.tier);
    buf_u8(b, (uint8_t)(priority < 1 ? 1 : priority > 10 ? 10 : priority));
    buf_f64(b, m->confidence >= 0.0 && m->confidence <= 1.0 ? m->confidence : 1.0);
    put_count(b, v->own.count_seen);
    put_count(b, v->own.count_base);
    buf_u64(b, v->own.base_ver);
    buf_u64(b, v->own.base_stream);
}

static void put_touch(struct buf *b, const struct touch *t)
{
    put_required(b, t->id);
    buf_u64(b, t->node);
    put_count(b, t->count);
    put_count(b, t->last_us);
    put_count(b, t->expires_us);
    buf_u8(b, t->to_long);
}

static void put_version(struct buf *b, const struct version *v)
{
    buf_u64(b, v->ver);
    switch (v->kind) {
    case KIND_MEMORY: put_memory(b, v); break;
    case KIND_TOMBSTONE:
        put_required(b, v->m.id);
        put_required(b, v->m.ns);
        put_required(b, v->m.title);
        buf_u64(b, v->own.base_ver);
        buf_u64(b, v->own.base_stream);
        break;
    case KIND_LINK:
    case KIND_LINK_GONE:
        put_required(b, v->link.source_id);
        put_required(b, v->link.target_id);
        put_required(b, v->link.relation);
        buf_text(b, v->link.created_at);
        break;
    case KIND_TOUCH: put_touch(b, &v->touch); break;
    case KIND_STANDARD:
    case KIND_PENDING:
    case KIND_ARCHIVE:
    case KIND_MEMBER:
    case KIND_STREAM:
    case KIND_IDEM:
        put_required(b, v->key);
        buf_blob(b, v->body, v->body_len);
        break;
    default: WRONG("unknown kind of version");
    }
}

int op_encode(struct buf *b, const struct version *v, size_t count)
{
    size_t start = b->len;

    if (count > OP_VERSIONS_MAX) return E_TOO_LARGE;
    buf_u8(b, FORMAT);
    buf_u16(b, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        bool held = v[i].kind == 0;
        buf_u16(b, held ? v[i].raw_kind : (uint16_t)v[i].kind);
        buf_u32(b, 0);
        size_t from = b->len;
        if (held)
            buf_put(b, v[i].body, v[i].body_len);
        else
            put_version(b, &v[i]);
        if (b->failed || b->len - start > OP_BYTES_MAX) return E_TOO_LARGE;
        for (unsigned byte = 0; byte < 4; byte++) b->data[from - 4 + byte] = (char)((b->len - from) >> (8 * byte));
    }
    return b->failed ? E_TOO_LARGE : 0;
}

static const char *get_required(struct reader *r, struct arena *a)
{
    const char *s = read_text(r, a);
    if (s == NULL) r->failed = true;
    return s;
}

static const char *get_id(struct reader *r, struct arena *a)
{
    const char *s = get_required(r, a);
    if (s != NULL && (s[0] == '\0' || strlen(s) > ID_BYTES_MAX)) r->failed = true;
    return s;
}

/* Counts and times: never negative. */
static int64_t get_count(struct reader *r)
{
    uint64_t n = read_u64(r);
    if (n > INT64_MAX) r->failed = true;
    return (int64_t)(n & INT64_MAX);
}

static void get_memory(struct reader *r, struct arena *a, struct version *v)
{
    struct memory *m = &v->m;

    m->id = get_id(r, a);
    m->ns = get_required(r, a);
    m->title = get_required(r, a);
    m->content = get_required(r, a);
    m->tags = get_required(r, a);
    m->source = get_required(r, a);
    m->metadata = get_required(r, a);
    m->created_at = get_required(r, a);
    m->updated_at = get_required(r, a);
    m->last_accessed_at = read_text(r, a);
    m->expires_at = v->own.expires_at = read_text(r, a);
    uint8_t tier = read_u8(r), priority = read_u8(r);
    m->confidence = read_f64(r);
    v->own.count_seen = get_count(r);
    v->own.count_base = m->access_count = get_count(r);
    v->own.base_ver = read_u64(r);
    v->own.base_stream = read_u64(r);
    if (tier > TIER_LONG || priority < 1 || priority > 10 || !(m->confidence >= 0.0 && m->confidence <= 1.0))
        r->failed = true;
    m->tier = v->own.tier = r->failed ? TIER_SHORT : (enum tier)tier;
    m->priority = v->own.priority = priority;
}

static void get_touch(struct reader *r, struct arena *a, struct touch *t)
{
    t->id = get_id(r, a);
    t->node = read_u64(r);
    t->count = get_count(r);
    t->last_us = get_count(r);
    t->expires_us = get_count(r);
    uint8_t to_long = read_u8(r);
    if (to_long > 1) r->failed = true;
    t->to_long = to_long == 1;
}

/* The members of kind v->kind. Sets r->failed when the bytes are not such a version. */
static void get_members(struct reader *r, struct arena *a, struct version *v)
{
    switch (v->kind) {
    case KIND_MEMORY: get_memory(r, a, v); break;
    case KIND_TOMBSTONE:
        v->m.id = get_id(r, a);
        v->m.ns = get_required(r, a);
        v->m.title = get_required(r, a);
        v->own.base_ver = read_u64(r);
        v->own.base_stream = read_u64(r);
        break;
    case KIND_LINK:
    case KIND_LINK_GONE:
        v->link.source_id = get_id(r, a);
        v->link.target_id = get_id(r, a);
        v->link.relation = get_required(r, a);
        v->link.created_at = read_text(r, a);
        break;
    case KIND_TOUCH: get_touch(r, a, &v->touch); break;
    case KIND_STANDARD:
    case KIND_PENDING:
    case KIND_ARCHIVE:
    case KIND_MEMBER:
    case KIND_STREAM:
    case KIND_IDEM: {
        const void *body;
        v->key = get_required(r, a);
        body = read_blob(r, &v->body_len);
        if (!r->failed) v->body = arena_strndup(a, body ? body : "", v->body_len);
        if (v->body == NULL) r->failed = true;
        break;
    }
    default: r->failed = true;
    }
}

static int get_version(uint16_t kind, const void *bytes, size_t len, struct arena *a, struct version *ret)
{
    struct version v = { .kind = (enum change_kind)kind, .raw_kind = kind };
    struct reader r;

    reader_init(&r, bytes, len);
    v.ver = read_u64(&r);
    if (!r.failed && v.ver < VER_END) {
        get_members(&r, a, &v);
        if (!r.failed && r.left == 0) {
            *ret = v;
            return 0;
        }
    }
    *ret = (struct version){ .raw_kind = kind, .ver = len >= 8 ? v.ver : 0, .body_len = len };
    ret->body = arena_strndup(a, len > 0 ? bytes : "", len);
    return ret->body != NULL ? 0 : E_TOO_LARGE;
}

int op_decode(const void *body, size_t len, struct arena *a, struct version **ret, size_t *ret_count)
{
    struct reader r;
    struct version *v;
    size_t count;

    *ret = NULL;
    *ret_count = 0;
    if (len > OP_BYTES_MAX) return E_PROTOCOL;
    reader_init(&r, body, len);
    if (read_u8(&r) != FORMAT) return E_PROTOCOL;
    count = read_u16(&r);
    if (r.failed || count > OP_VERSIONS_MAX || count > r.left / 6) return E_PROTOCOL;
    if (a->max - a->used < 2 * len + (count + 1) * VERSION_ROOM) return E_TOO_LARGE;
    v = arena_alloc(a, (count + 1) * sizeof(*v));
    if (v == NULL) return E_TOO_LARGE;
    for (size_t i = 0; i < count; i++) {
        uint16_t kind = read_u16(&r);
        size_t n;
        const void *bytes = read_blob(&r, &n);
        if (r.failed) return E_PROTOCOL;
        int rc = get_version(kind, bytes, n, a, &v[i]);
        if (rc != 0) return rc;
    }
    if (r.left != 0) return E_PROTOCOL;
    *ret = v;
    *ret_count = count;
    return 0;
}
