#include "net/head.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "err.h"

void head_init(struct head *h, size_t first_max, size_t bytes_max)
{
    *h = (struct head){ .bytes_max = bytes_max };
    buf_init(&h->text, first_max + bytes_max + (size_t)2 * HEAD_LINES_MAX + 1); /* every text costs a NUL */
}

void head_reset(struct head *h)
{
    if (h->text.cap > HEAD_KEEP_BYTES) {
        buf_release(&h->text);
    } else {
        buf_clear(&h->text);
    }
    h->count = 0;
    h->bytes = h->name_len = 0;
    h->indexed = false;
}

void head_release(struct head *h)
{
    buf_release(&h->text);
    mem_free(h->headers);
    h->headers = NULL;
    h->count = h->cap = 0;
}

static int count_bytes(struct head *h, size_t len)
{
    h->bytes += len;
    return h->bytes > h->bytes_max ? E_TOO_LARGE : 0;
}

/* In lower case; 0 when it may not stand in a name. */
static char name_char(char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) return c;
    if (c >= 'A' && c <= 'Z') return (char)(c + 32);
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL ? c : '\0';
}

int head_name(struct head *h, const char *at, size_t len)
{
    int r = count_bytes(h, len);
    if (r != 0) return r;
    h->name_len += len;
    for (size_t i = 0; i < len; i++)
        if (name_char(at[i]) == '\0') return E_PROTOCOL;
    if (h->indexed) return 0;
    char *to = buf_reserve(&h->text, len);
    CHECK(to != NULL);
    for (size_t i = 0; i < len; i++) to[i] = name_char(at[i]);
    buf_grew(&h->text, len);
    return 0;
}

int head_name_end(struct head *h)
{
    if (h->name_len == 0) return E_PROTOCOL;
    h->name_len = 0;
    if (h->indexed) return 0;
    if (h->count == HEAD_LINES_MAX) return E_TOO_LARGE;
    h->count++;
    buf_putc(&h->text, '\0');
    return 0;
}

int head_value(struct head *h, const char *at, size_t len)
{
    int r = count_bytes(h, len);
    if (r == 0 && !h->indexed) buf_put(&h->text, at, len);
    return r;
}

int head_value_end(struct head *h)
{
    struct buf *b = &h->text;
    if (h->indexed) return 0;
    while (b->len > 0 && (b->data[b->len - 1] == ' ' || b->data[b->len - 1] == '\t')) b->len--;
    buf_putc(b, '\0');
    return 0;
}

bool head_folds(enum head_line *at, const char *data, size_t len)
{
    for (size_t i = 0; i < len && *at != HEAD_OVER; i++) {
        bool ends = data[i] == '\r' || data[i] == '\n';
        if (*at == HEAD_LINE) {
            const char *end = memchr(data + i, '\n', len - i);
            if (end == NULL) return false;
            i = (size_t)(end - data);
            *at = HEAD_LINE_END;
        } else if (*at == HEAD_LINE_END) {
            if (data[i] == ' ' || data[i] == '\t') return true;
            if (data[i] != '\r') *at = ends ? HEAD_OVER : HEAD_LINE;
        } else if (!ends) {
            *at = HEAD_LINE; /* empty lines in front of a request are skipped */
        }
    }
    return false;
}

int head_index(struct head *h, size_t first)
{
    CHECK(!h->text.failed && first <= h->text.len);
    if (h->count > h->cap) {
        h->cap = h->count <= 16 ? 16 : HEAD_LINES_MAX;
        h->headers = mem_realloc(h->headers, h->cap * sizeof *h->headers);
    }
    h->indexed = true;
    if (h->count == 0) return first == h->text.len ? 0 : E_PROTOCOL;
    char *at = h->text.data + first, *end = h->text.data + h->text.len;
    for (uint32_t i = 0; i < h->count; i++) {
        if (at >= end) return E_PROTOCOL;
        h->headers[i].name = at;
        at += strlen(at) + 1;
        if (at >= end) return E_PROTOCOL;
        h->headers[i].value = at;
        at += strlen(at) + 1;
    }
    return at == end ? 0 : E_PROTOCOL;
}

const char *head_find(const struct head *h, const char *lower_name)
{
    for (uint32_t i = 0; i < h->count; i++) {
        if (strcmp(h->headers[i].name, lower_name) == 0) return h->headers[i].value;
    }
    return NULL;
}
