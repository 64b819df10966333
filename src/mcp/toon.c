/* toon.c - TOON: every line ends with LF; within a cell '\', '|', ':', LF and CR are escaped by a backslash. */
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "mcp/toon.h"

#define CELL_MAX (16u << 20)

static const char *const meta_keys[] = { "count", "mode", "tokens_used", "budget_tokens", NULL };
static const char *const standard_columns[] = { "id", "title", "content", NULL };
static const char *const compact_columns[] = { "id",    "title", "tier",     "namespace", "priority",
                                               "score", "tags",  "agent_id", NULL };
static const char *const full_columns[] = { "id",         "title",      "tier",         "namespace", "priority",
                                            "confidence", "score",      "access_count", "tags",      "source",
                                            "created_at", "updated_at", "metadata",     NULL };

static void put_escaped(struct buf *b, const char *s, size_t len)
{
    size_t from = 0;
    for (size_t i = 0; i < len; i++) {
        const char *with = NULL;
        switch (s[i]) {
        case '\\': with = "\\\\"; break;
        case '|': with = "\\|"; break;
        case ':': with = "\\:"; break;
        case '\n': with = "\\n"; break;
        case '\r': with = "\\r"; break;
        default: continue;
        }
        buf_put(b, s + from, i - from);
        buf_put(b, with, 2);
        from = i + 1;
    }
    buf_put(b, s + from, len - from);
}

static void put_array(struct buf *b, const json_t *v)
{
    bool first = true;
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *e = json_array_get(v, i);
        if (!json_is_string(e)) continue;
        if (!first) buf_putc(b, ',');
        put_escaped(b, json_string_value(e), json_string_length(e));
        first = false;
    }
}

static void put_cell(struct buf *b, const json_t *v)
{
    if (v == NULL || json_is_null(v)) return;
    if (json_is_string(v)) {
        put_escaped(b, json_string_value(v), json_string_length(v));
    } else if (json_is_boolean(v)) {
        buf_putc(b, json_is_true(v) ? '1' : '0');
    } else if (json_is_array(v)) {
        put_array(b, v);
    } else if (!json_is_object(v)) {
        json_print(b, v);
    } else if (json_object_size(v) > 0) {
        struct buf text;
        buf_init(&text, CELL_MAX);
        json_print(&text, v);
        put_escaped(b, buf_str(&text), text.len);
        b->failed = b->failed || text.failed;
        buf_release(&text);
    }
}

static const json_t *column(const json_t *row, const char *name)
{
    const json_t *v = json_object_get(row, name);
    if (v == NULL && strcmp(name, "agent_id") == 0) v = json_object_get(json_object_get(row, "metadata"), name);
    return v;
}

static void put_header(struct buf *b, const char *name, const char *const *columns)
{
    buf_puts(b, name);
    for (size_t i = 0; columns[i]; i++) buf_printf(b, "%c%s", i ? '|' : '[', columns[i]);
    buf_puts(b, "]:\n");
}

static void put_row(struct buf *b, const json_t *row, const char *const *columns)
{
    for (size_t i = 0; columns[i]; i++) {
        if (i > 0) buf_putc(b, '|');
        put_cell(b, column(row, columns[i]));
    }
    buf_putc(b, '\n');
}

static void put_meta(struct buf *b, const json_t *doc)
{
    bool any = false;
    for (size_t i = 0; meta_keys[i]; i++) {
        const json_t *v = json_object_get(doc, meta_keys[i]);
        if (v == NULL) continue;
        buf_printf(b, "%s%s:", any ? "|" : "", meta_keys[i]);
        if (json_is_string(v))
            buf_puts(b, json_string_value(v));
        else
            json_print(b, v);
        any = true;
    }
    if (any) buf_putc(b, '\n');
}

static void put_standards(struct buf *b, const json_t *doc)
{
    const json_t *one = json_object_get(doc, "standard"), *many = json_object_get(doc, "standards");
    if (one == NULL && many == NULL) return;
    put_header(b, "standards", standard_columns);
    if (json_is_object(one)) put_row(b, one, standard_columns);
    for (size_t i = 0; i < json_array_size(many); i++) put_row(b, json_array_get(many, i), standard_columns);
}

void toon_print(struct buf *b, const json_t *doc, bool compact)
{
    const char *const *columns = compact ? compact_columns : full_columns;
    const json_t *rows = json_object_get(doc, "memories");
    if (rows == NULL) rows = json_object_get(doc, "results");
    put_meta(b, doc);
    put_standards(b, doc);
    put_header(b, "memories", columns);
    for (size_t i = 0; i < json_array_size(rows); i++) put_row(b, json_array_get(rows, i), columns);
}
