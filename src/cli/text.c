/* text.c - one small function for each operation. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "cli/forms.h"
#include "memory/utf8.h"

#define SHOWN_CHARACTERS 200
#define BAR_CELLS 10

enum { DIM = 2, RED = 91, GREEN = 92, YELLOW = 93, CYAN = 96, BOLD = 1 };

/* ---- pieces --------------------------------------------------------------------------------------------------- */
const char *form_str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

json_int_t form_num(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

static void coloured(const struct text *t, int code, const char *s)
{
    if (t->colour)
        buf_printf(t->out, "\033[%dm%s\033[0m", code, s);
    else
        buf_puts(t->out, s);
}

static int tier_colour(const char *tier)
{
    return strcmp(tier, "long") == 0 ? GREEN : strcmp(tier, "mid") == 0 ? YELLOW : RED;
}

/* The first 8 bytes, cut back to a whole character. */
int form_id8(const char *id)
{
    size_t len = strlen(id) < 8 ? strlen(id) : 8;
    while (len > 0 && ((unsigned char)id[len] & 0xc0) == 0x80) len--;
    return (int)len;
}

static void put_age(struct buf *b, const char *text, int64_t now_us)
{
    int64_t us;
    if (time_parse(text, strlen(text), &us) != 0) {
        buf_puts(b, text);
        return;
    }
    long long secs = (now_us - us) / 1000000;
    if (secs < 60)
        buf_puts(b, "just now");
    else if (secs < 3600)
        buf_printf(b, "%lldm ago", secs / 60);
    else if (secs < 86400)
        buf_printf(b, "%lldh ago", secs / 3600);
    else if (secs < 30 * 86400)
        buf_printf(b, "%lldd ago", secs / 86400);
    else
        buf_printf(b, "%lldmo ago", secs / 86400 / 30);
}

static void put_bar(const struct text *t, json_int_t priority)
{
    int full = priority < 1 ? 1 : priority > BAR_CELLS ? BAR_CELLS : (int)priority;
    if (t->colour) buf_printf(t->out, "\033[%dm", full >= 8 ? GREEN : full >= 5 ? YELLOW : RED);
    for (int i = 0; i < BAR_CELLS; i++) buf_puts(t->out, i < full ? "█" : "░");
    if (t->colour) buf_puts(t->out, "\033[0m");
}

static void put_beginning(struct buf *b, const char *s, int characters)
{
    const char *p = s, *end = s + strlen(s);
    for (int i = 0; i < characters && p < end; i++) (void)utf8_next(&p, end);
    buf_put(b, s, (size_t)(p - s));
}

static void put_line(const struct text *t, const json_t *m)
{
    const char *id = form_str(m, "id");
    buf_printf(t->out, "[%s/%.*s] %s (p=%lld, ns=%s, ", form_str(m, "tier"), form_id8(id), id, form_str(m, "title"),
               (long long)form_num(m, "priority"), form_str(m, "namespace"));
    put_age(t->out, form_str(m, "updated_at"), t->now_us);
    buf_puts(t->out, ")\n");
}

/* ---- operations ----------------------------------------------------------------------------------------------- */
static void text_pending(const struct text *t)
{
    const char *ns = form_str(t->doc, "namespace"), *id = form_str(t->doc, "memory_id");
    buf_printf(t->out, "%s queued for approval: pending_id=%s %s=%s\n", form_str(t->doc, "action"),
               form_str(t->doc, "pending_id"), id[0] ? "id" : "ns", id[0] ? id : ns);
}

static void text_create(const struct text *t)
{
    size_t similar = json_array_size(json_object_get(t->doc, "potential_contradictions"));
    buf_printf(t->out, "stored: %s [%s] (ns=%s)\n", form_str(t->doc, "id"), form_str(t->doc, "tier"),
               form_str(t->doc, "namespace"));
    if (similar)
        buf_printf(t->notes, "warning: %zu similar memories found in same namespace (potential contradictions)\n",
                   similar);
}

static void text_get(const struct text *t)
{
    const json_t *links = json_object_get(t->doc, "links");
    json_print_pretty_ordered(t->out, json_object_get(t->doc, "memory"));
    buf_putc(t->out, '\n');
    if (json_array_size(links)) buf_puts(t->out, "\nlinks:\n");
    for (size_t i = 0; i < json_array_size(links); i++) {
        const json_t *l = json_array_get(links, i);
        buf_printf(t->out, "  %s --[%s]--> %s\n", form_str(l, "source_id"), form_str(l, "relation"),
                   form_str(l, "target_id"));
    }
}

static void text_update(const struct text *t)
{
    const json_t *m = json_object_get(t->doc, "memory");
    buf_printf(t->out, "updated: %s [%s]\n", form_str(m, "id"), form_str(m, "title"));
}

static void text_delete(const struct text *t)
{
    buf_printf(t->out, "deleted: %s\n", form_str(t->doc, "id"));
}

static void text_promote(const struct text *t)
{
    const char *clone = form_str(t->doc, "clone_id"), *source = form_str(t->doc, "source_id");
    if (clone[0])
        buf_printf(t->out, "promoted (vertical): %.*s → %s (clone: %.*s)\n", form_id8(source), source,
                   form_str(t->doc, "to_namespace"), form_id8(clone), clone);
    else
        buf_printf(t->out, "promoted to long-term: %s\n", form_str(t->doc, "id"));
}

static void text_list(const struct text *t)
{
    const json_t *rows = json_object_get(t->doc, "memories");
    if (json_array_size(rows) == 0) {
        buf_puts(t->notes, "no memories stored\n");
        return;
    }
    for (size_t i = 0; i < json_array_size(rows); i++) put_line(t, json_array_get(rows, i));
    buf_printf(t->out, "\n%zu memory(ies)\n", json_array_size(rows));
}

static void text_search(const struct text *t)
{
    const json_t *rows = json_object_get(t->doc, "results");
    if (json_array_size(rows) == 0) {
        buf_printf(t->notes, "no results for: %s\n", t->asked);
        return;
    }
    for (size_t i = 0; i < json_array_size(rows); i++) put_line(t, json_array_get(rows, i));
    buf_printf(t->out, "\n%zu result(s)\n", json_array_size(rows));
}

static void put_hit(const struct text *t, const json_t *m)
{
    const char *tier = form_str(m, "tier"), *id = form_str(m, "id");
    double confidence = json_number_value(json_object_get(m, "confidence"));
    char head[64];
    snprintf(head, sizeof(head), "[%.8s/%.*s]", tier, form_id8(id), id);
    coloured(t, tier_colour(tier), head);
    buf_putc(t->out, ' ');
    coloured(t, BOLD, form_str(m, "title"));
    buf_putc(t->out, ' ');
    put_bar(t, form_num(m, "priority"));
    if (t->colour) buf_printf(t->out, "\033[%dm", DIM);
    buf_printf(t->out, " score=%.2f (ns=%s, %lldx, ", json_number_value(json_object_get(m, "score")),
               form_str(m, "namespace"), (long long)form_num(m, "access_count"));
    put_age(t->out, form_str(m, "updated_at"), t->now_us);
    if (confidence < 1) buf_printf(t->out, " conf=%.0f%%", confidence * 100);
    buf_putc(t->out, ')');
    buf_puts(t->out, t->colour ? "\033[0m\n  " : "\n  ");
    put_beginning(t->out, form_str(m, "content"), SHOWN_CHARACTERS);
    buf_puts(t->out, "\n\n");
}

static void text_recall(const struct text *t)
{
    const json_t *rows = json_object_get(t->doc, "memories");
    if (json_array_size(rows) == 0) {
        buf_printf(t->notes, "no memories found for: %s\n", t->asked);
        return;
    }
    for (size_t i = 0; i < json_array_size(rows); i++) put_hit(t, json_array_get(rows, i));
    buf_printf(t->out, "%zu memory(ies) recalled [", json_array_size(rows));
    coloured(t, CYAN, form_str(t->doc, "mode"));
    buf_puts(t->out, "]\n");
}

void form_counts(const struct text *t, const char *list, const char *key, const char *unit)
{
    const json_t *rows = json_object_get(t->doc, list);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        buf_printf(t->out, "  %s: %lld%s\n", form_str(row, key), (long long)form_num(row, "count"), unit);
    }
}

static void text_namespaces(const struct text *t)
{
    if (json_array_size(json_object_get(t->doc, "namespaces")) == 0) buf_puts(t->notes, "no namespaces\n");
    form_counts(t, "namespaces", "namespace", " memories");
}

static void text_stats(const struct text *t)
{
    buf_printf(t->out, "total memories: %lld\nexpiring within 1h: %lld\nlinks: %lld\ndatabase size: %lld bytes\n",
               (long long)form_num(t->doc, "total"), (long long)form_num(t->doc, "expiring_soon"),
               (long long)form_num(t->doc, "links_count"), (long long)form_num(t->doc, "db_size_bytes"));
    buf_puts(t->out, "\nby tier:\n");
    form_counts(t, "by_tier", "tier", "");
    buf_puts(t->out, "\nby namespace:\n");
    form_counts(t, "by_namespace", "namespace", "");
}

/* ---- JSON shapes ---------------------------------------------------------------------------------------------- */
/* The stored memory, and the hints beside it. */
static json_t *json_create(const json_t *doc)
{
    json_t *o = json_copy(json_object_get(doc, "memory")), *similar = json_object_get(doc, "potential_contradictions");
    if (similar) json_object_set(o, "potential_contradictions", similar);
    return o;
}

static json_t *json_update(const json_t *doc)
{
    return json_incref(json_object_get(doc, "memory"));
}

/* Scores come whole: three places here. */
static json_t *json_recall(const json_t *doc)
{
    json_t *o = json_deep_copy(doc), *rows = json_object_get(o, "memories");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *m = json_array_get(rows, i);
        double score = json_number_value(json_object_get(m, "score"));
        json_object_set_new(m, "score", json_real(round(score * 1000) / 1000));
    }
    return o;
}

static const struct form forms[] = {
    { "create", text_create, json_create },
    { "get", text_get, NULL },
    { "update", text_update, json_update },
    { "delete", text_delete, NULL },
    { "promote", text_promote, NULL },
    { "list", text_list, NULL },
    { "search", text_search, NULL },
    { "recall", text_recall, json_recall },
    { "namespaces", text_namespaces, NULL },
    { "stats", text_stats, NULL },
    { NULL, NULL, NULL },
};

static const struct form *find(const char *op)
{
    const struct form *f = forms;
    while (f->op && strcmp(f->op, op) != 0) f++;
    if (f->op == NULL) f = forms_beside;
    while (f->op && strcmp(f->op, op) != 0) f++;
    return f;
}

static bool pending(const json_t *doc)
{
    return json_object_get(doc, "pending_id") && strcmp(form_str(doc, "status"), "pending") == 0;
}

void text_print(const char *op, const struct text *t)
{
    const struct form *f = find(op);
    if (pending(t->doc)) {
        text_pending(t);
    } else if (f->text) {
        f->text(t);
    } else {
        json_print_pretty(t->out, t->doc);
        buf_putc(t->out, '\n');
    }
}

json_t *text_json(const char *op, const json_t *doc)
{
    const struct form *f = find(op);
    if (f->json && !pending(doc)) return f->json(doc);
    return json_incref((json_t *)(uintptr_t)doc);
}
