/* memstore_keys.c - keys of the tables, and shorthands for the verbs. */
#include "memstore_private.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"

const struct buf *ms_key_str(struct buf *k, const char *s)
{
    buf_init(k, BYTES_MAX);
    buf_puts(k, s);
    return k;
}

const struct buf *ms_key_pair(struct buf *k, const char *a, char between, const char *b)
{
    ms_key_str(k, a);
    buf_putc(k, between);
    buf_puts(k, b);
    return k;
}

static void ms_put_be64(struct buf *k, uint64_t n)
{
    for (int i = 7; i >= 0; i--) buf_putc(k, (char)(n >> (8 * i)));
}

const struct buf *ms_key_u64(struct buf *k, uint64_t a, const uint64_t *b)
{
    buf_init(k, BYTES_MAX);
    ms_put_be64(k, a);
    if (b != NULL) ms_put_be64(k, *b);
    return k;
}

const struct buf *ms_key_side(struct buf *k, uint16_t kind, const char *id)
{
    buf_init(k, BYTES_MAX);
    buf_putc(k, (char)(kind >> 8));
    buf_putc(k, (char)kind);
    buf_puts(k, id);
    return k;
}

const struct buf *ms_key_side_key(struct buf *k, uint16_t kind, uint64_t key, const char *id)
{
    buf_init(k, BYTES_MAX);
    buf_putc(k, (char)(kind >> 8));
    buf_putc(k, (char)kind);
    ms_put_be64(k, key);
    buf_puts(k, id);
    return k;
}

const struct buf *ms_key_link(struct buf *k, const struct link *l)
{
    ms_key_pair(k, l->source_id, '\x1f', l->target_id);
    buf_putc(k, '\x1f');
    buf_puts(k, l->relation);
    return k;
}

const struct blob *ms_lookup(struct store_tx *tx, enum table t, struct buf *k)
{
    const struct blob *b = ms_get(tx, t, buf_str(k), k->len);
    buf_release(k);
    return b;
}

void ms_set(struct store_tx *tx, enum table t, struct buf *k, struct buf *value)
{
    struct buf none;
    buf_init(&none, 1);
    ms_put(tx, t, k, value != NULL ? value : &none);
    buf_release(k);
    if (value != NULL) buf_release(value);
}

void ms_drop_key(struct store_tx *tx, enum table t, struct buf *k)
{
    ms_drop(tx, t, k);
    buf_release(k);
}

char *ms_text(struct arena *a, const void *data, size_t len)
{
    char *s = arena_strndup(a, data, len);
    CHECK(s != NULL);
    return s;
}

bool ms_key_has(const struct blob *k, const char *id, bool first)
{
    size_t len = strlen(id);
    const char *cut1 = memchr(k->data, '\x1f', k->len);
    const char *cut2 = cut1 != NULL ? memchr(cut1 + 1, '\x1f', k->len - (size_t)(cut1 + 1 - k->data)) : NULL;
    CHECK(cut1 != NULL && cut2 != NULL);
    const char *part = first ? k->data : cut1 + 1;
    return (size_t)((first ? cut1 : cut2) - part) == len && memcmp(part, id, len) == 0;
}
