/* find.c - operations that rank: search (every word, no side effect) and recall (any word, counts as an access). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ops/recall.h"
#include "ops/table.h"

#define AT(member) offsetof(struct search_args, member)
const struct arg search_arg[] = {
    { "query", ARG_TEXT, AT(query), ARG_REQUIRED | ARG_POSITIONAL | ARG_REST | ARG_FILLED, ON_ALL,
      .at = { { .name = "q" } }, .doc = "Words to look for" },
    { "namespace", ARG_TEXT, AT(ns), ARG_OPTION, ON_ALL, .letter = 'n', .doc = "Only this namespace" },
    { "tier", ARG_WORD, AT(tier), ARG_OPTION, ON_ALL, tier_words, .letter = 't', .doc = "Only this tier" },
    { "limit", ARG_UINT, AT(limit), ARG_CLAMP, ON_ALL,
      .at = { { .dflt = "100", .max = 1000 }, { .dflt = "20", .max = 200 }, { .dflt = "100" } },
      .doc = "Results at most" },
    { "min_priority", ARG_INT, AT(min_priority), ARG_OPTION | ARG_I32, ON_ALL,
      .at = { [DOOR_CLI] = { .name = "min-priority" } }, .doc = "Only this priority or more" },
    { "since", ARG_TEXT, AT(since), ARG_OPTION, ON_ALL, .doc = "Created then or later, RFC 3339" },
    { "until", ARG_TEXT, AT(until), ARG_OPTION, ON_ALL, .doc = "Created then or earlier, RFC 3339" },
    { "tags", ARG_TEXTS, AT(tags), ARG_OPTION | ARG_COMMA, ON_ALL, .doc = "With any of these labels" },
    { "agent_id", ARG_TEXT, AT(agent_id), ARG_OPTION, ON_ALL, .at = { [DOOR_CLI] = { .name = "agent-id" } },
      .rule = arg_rule_agent_filter, .doc = "Stored by this agent" },
    { "as_agent", ARG_TEXT, AT(as_agent), ARG_OPTION, ON_ALL, .at = { [DOOR_CLI] = { .name = "as-agent" } },
      .rule = arg_rule_as_agent, .doc = "Only what a reader in this namespace may see" },
    { "format", ARG_TEXT, AT(format), ARG_OPTION, ON_MCP, format_words,
      .at = { [DOOR_MCP] = { .dflt = "toon_compact" } }, .doc = "Form of the answer" },
    { 0 },
};
#undef AT

#define AT(member) offsetof(struct recall_args, member)
const struct arg recall_arg[] = {
    { "context", ARG_TEXT, AT(context), ARG_REQUIRED | ARG_POSITIONAL | ARG_REST | ARG_FILLED, ON_ALL,
      .doc = "What is going on, in words" },
    { "namespace", ARG_TEXT, AT(ns), ARG_OPTION, ON_ALL, .letter = 'n',
      .doc = "Only this namespace; with a '/', its ancestors too" },
    { "limit", ARG_UINT, AT(limit), ARG_CLAMP | ARG_OPTION, ON_ALL,
      .at = { { .dflt = "10", .max = 50 }, { .dflt = "10", .max = 50 }, { .dflt = "10" } }, .doc = "Memories at most" },
    { "tags", ARG_TEXTS, AT(tags), ARG_OPTION | ARG_COMMA, ON_ALL, .doc = "With any of these labels" },
    { "since", ARG_TEXT, AT(since), ARG_OPTION, ON_ALL, .doc = "Created then or later, RFC 3339" },
    { "until", ARG_TEXT, AT(until), ARG_OPTION, ON_ALL, .doc = "Created then or earlier, RFC 3339" },
    { "as_agent", ARG_TEXT, AT(as_agent), ARG_OPTION, ON_ALL, .at = { [DOOR_CLI] = { .name = "as-agent" } },
      .rule = arg_rule_as_agent, .doc = "Only what a reader in this namespace may see" },
    { "budget_tokens", ARG_UINT, AT(budget_tokens), ARG_OPTION | ARG_CLAMP, ON_ALL,
      .at = { [DOOR_CLI] = { .name = "budget-tokens" } },
      .doc = "Stop before the memory that would exceed so many tokens" },
    { "context_tokens", ARG_TEXTS, AT(context_tokens), ARG_OPTION, ON_MCP | ON_CLI,
      .at = { [DOOR_CLI] = { .name = "context-tokens" } },
      .doc = "Words of the conversation; taken, not used by keyword recall" },
    { "tier", ARG_TEXT, AT(feature_tier), ARG_OPTION, ON_CLI, .letter = 'T',
      .doc = "Feature tier; recall is by keywords in each" },
    { "format", ARG_TEXT, AT(format), ARG_OPTION, ON_MCP, format_words,
      .at = { [DOOR_MCP] = { .dflt = "toon_compact" } }, .doc = "Form of the answer" },
    { 0 },
};
#undef AT

static int find(struct op_ctx *c, const struct find *f, struct hits *ret)
{
    if (f->limit == 0) return 0;
    return recall_find(c->tx, c->env->tokenizer, c->env->df, f, c->arena, ret, c->err);
}

int op_search(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct search_args *a = args;
    struct filter_args fa = { .ns = &a->ns,
                              .tier = &a->tier,
                              .since = &a->since,
                              .until = &a->until,
                              .agent_id = &a->agent_id,
                              .as_agent = &a->as_agent,
                              .min_priority = arg_set(&a->h, SEARCH_MIN_PRIORITY) ? &a->min_priority : NULL,
                              .tags = &a->tags };
    struct filter_own own;
    struct hits hits = { 0 };
    struct find f = { .text = a->query.s,
                      .len = a->query.len,
                      .limit = (size_t)a->limit,
                      .now_us = c->now_us,
                      .all_words = true,
                      .budget_tokens = -1 };
    bool none;
    int rc = filter_fill(c, &fa, &own, &f.filter, &none);
    if (rc == 0 && !none) rc = find(c, &f, &hits);
    if (rc) return rc;
    json_t *list = json_array();
    for (size_t i = 0; i < hits.count; i++) json_array_append_new(list, memory_json(&hits.item[i].row.m));
    return reply_set(r, "{s:I, s:s%, s:o}", "count", (json_int_t)hits.count, "query", a->query.s, a->query.len,
                     "results", list);
}

static json_t *thousandths(double x)
{
    return json_real(round(x * 1000) / 1000);
}

static void note_touch(struct op_ctx *c, const char *id)
{
    if (c->touches == NULL || c->touches->id == NULL || c->touches->count == TOUCHES_MAX) return;
    snprintf(c->touches->id[c->touches->count++], sizeof(c->touches->id[0]), "%s", id);
}

int op_recall(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct recall_args *a = args;
    struct filter_args fa = { .since = &a->since, .until = &a->until, .as_agent = &a->as_agent, .tags = &a->tags };
    struct filter_own own;
    struct hits hits = { 0 };
    bool budget = arg_set(&a->h, RECALL_BUDGET), none;
    struct find f = { .text = a->context.s,
                      .len = a->context.len,
                      .ns_hierarchy = a->ns.s,
                      .limit = (size_t)a->limit,
                      .now_us = c->now_us,
                      .variants = true,
                      .tier_bonus = true,
                      .budget_tokens = budget ? a->budget_tokens : -1 };
    int rc = filter_fill(c, &fa, &own, &f.filter, &none);
    none = none || (a->ns.s && strlen(a->ns.s) != a->ns.len);
    if (rc == 0 && !none) rc = find(c, &f, &hits);
    if (rc) return rc;
    json_t *list = json_array();
    for (size_t i = 0; i < hits.count; i++) {
        json_t *m = memory_json(&hits.item[i].row.m);
        /* commands round for themselves: two places, from the whole figure */
        double score = hits.item[i].score;
        json_object_set_new(m, "score", c->caller->door == DOOR_CLI ? json_real(score) : thousandths(score));
        json_object_set_new(m, "match", thousandths(hits.item[i].share));
        json_array_append_new(list, m);
        note_touch(c, hits.item[i].row.m.id);
    }
    rc = reply_set(r, "{s:I, s:o, s:I, s:s}", "count", (json_int_t)hits.count, "memories", list, "tokens_used",
                   (json_int_t)hits.tokens_used, "mode", "keyword");
    if (rc == 0 && budget) json_object_set_new(r->doc, "budget_tokens", json_integer(a->budget_tokens));
    return rc;
}
