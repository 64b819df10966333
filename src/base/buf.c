/* buf.c - the growing buffer and the little-endian forms. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"

#define BUF_MIN 64
#define TEXT_NULL UINT32_MAX /* the length that stands for a NULL text */

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){ .max = max };
}

void buf_release(struct buf *b)
{
    mem_free(b->data);
    buf_init(b, b->max);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data != NULL) b->data[0] = '\0';
}

/* Makes room for `len` more bytes and the NUL, or fails the buffer for good. */
static bool make_room(struct buf *b, size_t len)
{
    if (b->failed || b->len > b->max || len > b->max - b->len) {
        b->failed = true;
        return false;
    }
    size_t need = b->len + len + 1;
    if (need <= b->cap) return true;
    size_t cap = b->cap < BUF_MIN ? BUF_MIN : b->cap;
    while (cap < need) cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (cap - 1 > b->max) cap = b->max + 1;
    b->data = mem_realloc(b->data, cap);
    b->cap = cap;
    return true;
}

void buf_put(struct buf *b, const void *data, size_t len)
{
    if (!make_room(b, len)) return;
    if (len > 0) memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_puts(struct buf *b, const char *s)
{
    buf_put(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
    if (b->failed || b->len + 1 >= b->cap || b->len >= b->max) {
        if (!make_room(b, 1)) return;
    }
    b->data[b->len++] = c;
    b->data[b->len] = '\0';
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    if (!make_room(b, 0)) return;
    size_t room = b->cap - b->len;
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(b->data + b->len, room, fmt, ap);
    va_end(ap);
    CHECK(len >= 0);
    if ((size_t)len >= room) {
        b->data[b->len] = '\0'; /* nothing of it when it does not fit */
        if (!make_room(b, (size_t)len)) return;
        va_start(ap, fmt);
        vsnprintf(b->data + b->len, (size_t)len + 1, fmt, ap);
        va_end(ap);
    }
    b->len += (size_t)len;
}

void buf_drop_front(struct buf *b, size_t len)
{
    CHECK(len <= b->len);
    if (len == 0) return;
    memmove(b->data, b->data + len, b->len - len + 1);
    b->len -= len;
}

char *buf_reserve(struct buf *b, size_t len)
{
    return make_room(b, len) ? b->data + b->len : NULL;
}

void buf_grew(struct buf *b, size_t len)
{
    if (len == 0) return;
    CHECK(b->len + len < b->cap && b->len + len <= b->max);
    b->len += len;
    b->data[b->len] = '\0';
}

char *buf_take(struct buf *b, size_t *ret_len)
{
    if (ret_len != NULL) *ret_len = b->len;
    char *data = b->data == NULL ? mem_alloc(1) : b->data;
    buf_init(b, b->max);
    return data;
}

const char *buf_str(struct buf *b)
{
    return b->data == NULL ? "" : b->data;
}

static void put_le(struct buf *b, uint64_t v, size_t size)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(v >> (8 * i));
    buf_put(b, bytes, size);
}

void buf_u8(struct buf *b, uint8_t v)
{
    put_le(b, v, 1);
}

void buf_u16(struct buf *b, uint16_t v)
{
    put_le(b, v, 2);
}

void buf_u32(struct buf *b, uint32_t v)
{
    put_le(b, v, 4);
}

void buf_u64(struct buf *b, uint64_t v)
{
    put_le(b, v, 8);
}

void buf_f64(struct buf *b, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    put_le(b, bits, 8);
}

void buf_blob(struct buf *b, const void *data, size_t len)
{
    if (len >= TEXT_NULL) {
        b->failed = true;
        return;
    }
    buf_u32(b, (uint32_t)len);
    buf_put(b, data, len);
}

void buf_text(struct buf *b, const char *s)
{
    if (s == NULL) {
        buf_u32(b, TEXT_NULL);
    } else {
        buf_blob(b, s, strlen(s));
    }
}

void reader_init(struct reader *r, const void *data, size_t len)
{
    *r = (struct reader){ .p = data, .left = len };
}

const void *read_bytes(struct reader *r, size_t len)
{
    if (r->failed || len > r->left) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *p = r->p == NULL ? (const uint8_t *)"" : r->p;
    r->p = r->p == NULL ? NULL : r->p + len;
    r->left -= len;
    return p;
}

static uint64_t read_le(struct reader *r, size_t size)
{
    const uint8_t *p = read_bytes(r, size);
    if (p == NULL) return 0;
    uint64_t v = 0;
    for (size_t i = 0; i < size; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

uint8_t read_u8(struct reader *r)
{
    return (uint8_t)read_le(r, 1);
}

uint16_t read_u16(struct reader *r)
{
    return (uint16_t)read_le(r, 2);
}

uint32_t read_u32(struct reader *r)
{
    return (uint32_t)read_le(r, 4);
}

uint64_t read_u64(struct reader *r)
{
    return read_le(r, 8);
}

double read_f64(struct reader *r)
{
    uint64_t bits = read_le(r, 8);
    double v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

const void *read_blob(struct reader *r, size_t *ret_len)
{
    uint32_t len = read_u32(r);
    const void *p = read_bytes(r, len);
    *ret_len = p == NULL ? 0 : len;
    return p;
}

const char *read_text(struct reader *r, struct arena *a)
{
    uint32_t len = read_u32(r);
    if (r->failed || len == TEXT_NULL) return NULL;
    const char *p = read_bytes(r, len);
    if (p == NULL) return NULL;
    char *copy = memchr(p, '\0', len) != NULL ? NULL : arena_strndup(a, p, len);
    if (copy == NULL) r->failed = true;
    return copy;
}
