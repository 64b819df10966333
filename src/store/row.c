/* row.c - rows as bytes. A leading format byte; texts as base/buf writes them. */
#include "store/row.h"

#include "base/alloc.h"
#include "base/buf.h"

#define ROW_FORMAT 1

void row_write(struct buf *b, const struct row *r)
{
    const struct memory *m = &r->m;
    const struct own *o = &r->own;
    const char *const text[] = { m->id,         m->ns,        m->title,      m->content,    m->tags,
                                 m->source,     m->metadata,  m->created_at, m->updated_at, m->last_accessed_at,
                                 m->expires_at, o->expires_at };

    buf_u8(b, ROW_FORMAT);
    for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) buf_text(b, text[i]);
    buf_u8(b, (uint8_t)m->tier);
    buf_u32(b, (uint32_t)m->priority);
    buf_f64(b, m->confidence);
    buf_u64(b, (uint64_t)m->access_count);
    buf_u64(b, r->stamp.ver);
    buf_u64(b, r->stamp.stream);
    buf_u64(b, r->stamp.seq);
    buf_u8(b, (uint8_t)o->tier);
    buf_u32(b, (uint32_t)o->priority);
    buf_u64(b, (uint64_t)o->count_seen);
    buf_u64(b, (uint64_t)o->count_base);
    buf_u64(b, o->base_ver);
    buf_u64(b, o->base_stream);
    buf_u8(b, r->own_differs);
}

int row_read(struct reader *in, struct arena *a, struct row *ret)
{
    struct memory *m = &ret->m;
    struct own *o = &ret->own;
    const char **const text[] = { &m->id,         &m->ns,        &m->title,      &m->content,    &m->tags,
                                  &m->source,     &m->metadata,  &m->created_at, &m->updated_at, &m->last_accessed_at,
                                  &m->expires_at, &o->expires_at };

    *ret = (struct row){ 0 };
    if (read_u8(in) != ROW_FORMAT) return E_CORRUPT;
    for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) *text[i] = read_text(in, a);
    m->tier = (enum tier)read_u8(in);
    m->priority = (int)read_u32(in);
    m->confidence = read_f64(in);
    m->access_count = (int64_t)read_u64(in);
    ret->stamp.ver = read_u64(in);
    ret->stamp.stream = read_u64(in);
    ret->stamp.seq = read_u64(in);
    o->tier = (enum tier)read_u8(in);
    o->priority = (int)read_u32(in);
    o->count_seen = (int64_t)read_u64(in);
    o->count_base = (int64_t)read_u64(in);
    o->base_ver = read_u64(in);
    o->base_stream = read_u64(in);
    ret->own_differs = read_u8(in) != 0;
    if (in->failed || m->tier > TIER_LONG || o->tier > TIER_LONG) return E_CORRUPT;
    return m->id != NULL && m->ns != NULL && m->title != NULL ? 0 : E_CORRUPT;
}

static int text_copy(const char **s, struct arena *a)
{
    if (*s == NULL) return 0;
    *s = arena_strdup(a, *s);
    return *s != NULL ? 0 : E_TOO_LARGE;
}

int row_copy(struct row *ret, const struct row *r, struct arena *a)
{
    *ret = *r;
    struct memory *m = &ret->m;
    const char **const text[] = {
        &m->id,       &m->ns,         &m->title,      &m->content,          &m->tags,       &m->source,
        &m->metadata, &m->created_at, &m->updated_at, &m->last_accessed_at, &m->expires_at, &ret->own.expires_at
    };
    for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
        int rc = text_copy(text[i], a);
        if (rc != 0) return rc;
    }
    return 0;
}
