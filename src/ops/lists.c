/* lists.c - operations over many memories that rank nothing: list, namespaces, stats; and the filter all of them
 * share. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/beside.h"

/* A command shows all there is: its page ends far later than a door's. */
#define CLI_BYTES_MAX (40u << 20)

const char *const format_words[] = { "json", "toon", "toon_compact", NULL };

#define AT(member) offsetof(struct list_args, member)
const struct arg list_arg[] = {
    { "namespace", ARG_TEXT, AT(ns), ARG_OPTION, ON_ALL, .letter = 'n', .doc = "Only this namespace" },
    { "tier", ARG_WORD, AT(tier), ARG_OPTION, ON_ALL, tier_words, .letter = 't', .doc = "Only this tier" },
    { "limit", ARG_UINT, AT(limit), ARG_CLAMP, ON_ALL,
      .at = { { .dflt = "100", .max = 1000 }, { .dflt = "20", .max = 200 }, { .dflt = "100" } },
      .doc = "Rows of a page" },
    { "offset", ARG_UINT, AT(offset), 0, ON_ALL, .at = { { .dflt = "0" }, { .dflt = "0" }, { .dflt = "0" } },
      .doc = "Rows to skip" },
    { "min_priority", ARG_INT, AT(min_priority), ARG_OPTION | ARG_I32, ON_ALL,
      .at = { [DOOR_CLI] = { .name = "min-priority" } }, .doc = "Only this priority or more" },
    { "since", ARG_TEXT, AT(since), ARG_OPTION, ON_ALL, .doc = "Created then or later, RFC 3339" },
    { "until", ARG_TEXT, AT(until), ARG_OPTION, ON_ALL, .doc = "Created then or earlier, RFC 3339" },
    { "tags", ARG_TEXTS, AT(tags), ARG_OPTION | ARG_COMMA, ON_ALL, .doc = "With any of these labels" },
    { "agent_id", ARG_TEXT, AT(agent_id), ARG_OPTION, ON_ALL, .at = { [DOOR_CLI] = { .name = "agent-id" } },
      .rule = arg_rule_agent_filter, .doc = "Stored by this agent" },
    { "cursor", ARG_TEXT, AT(cursor), ARG_OPTION, ON_ALL, .doc = "next_cursor of the page before" },
    { "format", ARG_TEXT, AT(format), ARG_OPTION, ON_MCP, format_words,
      .at = { [DOOR_MCP] = { .dflt = "toon_compact" } }, .doc = "Form of the answer" },
    { 0 },
};
#undef AT

/* ---- filters ----------------------------------------------------------------------------------------------------- */
static bool odd(const struct str *s)
{
    return s && s->s && strlen(s->s) != s->len;
}

static int fill_tags(struct op_ctx *c, const struct strs *tags, struct filter *f)
{
    const char **list = arena_alloc(c->arena, (tags->count + 1) * sizeof(*list));
    if (list == NULL) return err_set(c->err, E_TOO_LARGE, "too many tags");
    for (size_t i = 0; i < tags->count; i++) list[i] = tags->item[i].s;
    f->tags = list;
    f->tags_count = tags->count;
    return 0;
}

static void fill_times(const struct filter_args *a, struct filter_own *own, struct filter *f)
{
    if (a->since && a->since->s) {
        own->since_us = time_bound(a->since, false);
        f->since_us = &own->since_us;
    }
    if (a->until && a->until->s) {
        own->until_us = time_bound(a->until, true);
        f->until_us = &own->until_us;
    }
}

int filter_fill(struct op_ctx *c, const struct filter_args *a, struct filter_own *own, struct filter *f, bool *ret_none)
{
    *f = (struct filter){ .now_us = c->now_us };
    *ret_none = odd(a->ns);
    if (a->ns) f->ns = a->ns->s;
    if (a->tier && a->tier->s && tier_parse(a->tier->s, &own->tier) == 0) f->tier = &own->tier;
    if (a->min_priority) {
        own->min_priority = (int)*a->min_priority;
        f->min_priority = &own->min_priority;
    }
    if (a->agent_id) f->agent_id = a->agent_id->s;
    if (a->as_agent && a->as_agent->s) {
        viewer_of(a->as_agent->s, c->arena, &own->viewer);
        f->viewer = &own->viewer;
    }
    fill_times(a, own, f);
    return a->tags && a->tags->count ? fill_tags(c, a->tags, f) : 0;
}

/* ---- list -------------------------------------------------------------------------------------------------------- */
static int cursor_parse(struct op_ctx *c, const struct str *text, struct cursor *ret)
{
    char *end;
    long priority = strtol(text->s, &end, 10);
    unsigned long long ver = *end == '~' ? strtoull(end + 1, &end, 10) : 0;
    if (*end != '~' || end == text->s || end[1] == '\0' || odd(text))
        return err_arg(c->err, E_INVALID, "cursor", "invalid cursor");
    *ret = (struct cursor){ (int)priority, ver, end + 1 };
    return 0;
}

static json_t *cursor_text(const struct row *last)
{
    return json_sprintf("%d~%llu~%s", last->m.priority, (unsigned long long)last->stamp.ver, last->m.id);
}

static size_t page_bytes(const struct op_ctx *c)
{
    return c->caller->door == DOOR_CLI ? CLI_BYTES_MAX : c->env->limits.page_bytes_max;
}

int op_list(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct list_args *a = args;
    struct filter_args fa = { .ns = &a->ns,
                              .tier = &a->tier,
                              .since = &a->since,
                              .until = &a->until,
                              .agent_id = &a->agent_id,
                              .min_priority = arg_set(&a->h, LIST_MIN_PRIORITY) ? &a->min_priority : NULL,
                              .tags = &a->tags };
    struct filter_own own;
    struct list_query q = { .offset = (uint64_t)a->offset, .limit = (size_t)a->limit, .bytes_max = page_bytes(c) };
    struct cursor cursor;
    struct rows rows = { 0 };
    int64_t total = 0;
    bool none;
    int rc = filter_fill(c, &fa, &own, &q.f, &none);
    if (rc == 0 && a->cursor.s) {
        rc = cursor_parse(c, &a->cursor, &cursor);
        q.after = &cursor;
    }
    if (rc == 0 && !none && q.limit > 0) rc = c->tx->v->list(c->tx, &q, c->arena, &rows);
    bool last =
        !rows.more && (rows.count > 0 || (q.offset == 0 && q.limit > 0)); /* the page tells how many there are */
    if (last) total = a->offset + (int64_t)rows.count;
    if (rc == 0 && !none && q.after == NULL && !last) rc = c->tx->v->count(c->tx, &q.f, &total);
    if (rc) return rc;
    json_t *list = json_array();
    for (size_t i = 0; i < rows.count; i++) json_array_append_new(list, memory_json(&rows.item[i].m));
    rc = reply_set(r, "{s:I, s:o}", "count", (json_int_t)rows.count, "memories", list);
    if (rc == 0 && q.after == NULL) json_object_set_new(r->doc, "total", json_integer(total));
    if (rc == 0 && rows.more && rows.count > 0)
        json_object_set_new(r->doc, "next_cursor", cursor_text(&rows.item[rows.count - 1]));
    return rc;
}

/* ---- counters ---------------------------------------------------------------------------------------------------- */
json_t *counts_json(const struct counts *counts, const char *name)
{
    json_t *list = json_array();
    for (size_t i = 0; i < counts->count; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:I}", name, counts->item[i].name, "count", (json_int_t)counts->item[i].count));
    return list;
}

int op_namespaces(struct op_ctx *c, const void *args, struct reply *r)
{
    struct counts counts;
    (void)args;
    int rc = c->tx->v->namespaces(c->tx, c->now_us, c->arena, &counts);
    return rc ? rc : reply_set(r, "{s:o}", "namespaces", counts_json(&counts, "namespace"));
}

int op_stats(struct op_ctx *c, const void *args, struct reply *r)
{
    struct store_stats s;
    (void)args;
    int rc = c->tx->v->stats(c->tx, c->now_us, c->arena, &s);
    return rc ? rc
              : reply_set(r, "{s:I, s:o, s:o, s:I, s:I, s:I}", "total", (json_int_t)s.total, "by_tier",
                          counts_json(&s.by_tier, "tier"), "by_namespace", counts_json(&s.by_ns, "namespace"),
                          "expiring_soon", (json_int_t)s.expiring_soon, "links_count", (json_int_t)s.links,
                          "db_size_bytes", (json_int_t)s.db_bytes);
}
