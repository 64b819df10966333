/* agents.c - registered agents: memories of their own namespace that nothing else writes. The id of a registration is
 * made from the agent's, so that two nodes registering one agent make one row. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/id.h"
#include "base/json.h"
#include "ops/beside.h"
#include "store/change.h"

#define AGENTS_NS "_agents"
#define AGENTS_MAX 10000
#define PAGE_ROWS 500

static const char *const agent_types[] = {
    "human", "system", "ai:claude-opus-4.6", "ai:claude-opus-4.7", "ai:codex-5.4", "ai:grok-4.2", NULL
};

#define AT(member) offsetof(struct register_args, member)
const struct arg register_arg[] = {
    { "agent_id", ARG_TEXT, AT(agent_id), ARG_REQUIRED, ON_ALL, .at = { [DOOR_CLI] = { .name = "agent-id" } },
      .rule = arg_rule_agent_named, .doc = "The agent" },
    { "agent_type", ARG_TEXT, AT(agent_type), ARG_REQUIRED, ON_ALL, agent_types,
      .at = { [DOOR_CLI] = { .name = "agent-type" } }, .rule = arg_rule_agent_type,
      .doc = "What it is; any ai:<name> is fine" },
    { "capabilities", ARG_TEXTS, AT(capabilities), ARG_OPTION, ON_ALL, .rule = arg_rule_tags,
      .doc = "What it can do, at most 50" },
    { 0 },
};
#undef AT

/* ---- register ---------------------------------------------------------------------------------------------------- */
/* The agent's own id for its row, unless another memory has it. */
static int registration_id(struct op_ctx *c, const char *title, const char **ret)
{
    uint8_t hash[32];
    char id[UUID_TEXT];
    struct row other;
    sha256(title, strlen(title), hash);
    uuid_from_hash(id, hash);
    int rc = c->tx->v->get(c->tx, id, c->arena, &other);
    *ret = rc == E_NOT_FOUND ? arena_strdup(c->arena, id) : ids_next(c->ids);
    return rc == E_NOT_FOUND ? 0 : rc;
}

static json_t *registration(struct op_ctx *c, const struct register_args *a, const struct row *old)
{
    char now[TIME_TEXT];
    const char *since = old ? metadata_text(old->m.metadata, "registered_at", c->arena) : NULL;
    time_print(now, c->now_us);
    return json_pack("{s:s, s:s, s:o, s:s, s:s}", "agent_id", a->agent_id.s, "agent_type", a->agent_type.s,
                     "capabilities", strs_json(&a->capabilities), "registered_at", since ? since : now, "last_seen_at",
                     now);
}

int op_agent_register(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct register_args *a = args;
    struct row old;
    struct memory m = { .ns = AGENTS_NS,
                        .tags = "[\"agent-registration\"]",
                        .source = "system",
                        .tier = TIER_LONG,
                        .priority = 5,
                        .confidence = 1.0 };
    m.title = arena_printf(c->arena, "agent:%s", a->agent_id.s);
    if (m.title == NULL) return err_set(c->err, E_TOO_LARGE, "too many texts");
    int rc = c->tx->v->by_title(c->tx, m.title, AGENTS_NS, c->arena, &old);
    bool existed = rc == 0;
    if (existed) {
        m.id = old.m.id;
        m.created_at = old.m.created_at;
        m.access_count = old.m.access_count;
        m.last_accessed_at = old.m.last_accessed_at;
    } else if (rc == E_NOT_FOUND) {
        rc = registration_id(c, m.title, &m.id);
    }
    if (rc) return rc;
    json_t *doc = registration(c, a, existed ? &old : NULL);
    m.metadata = m.content = json_arena(c->arena, doc, NULL);
    json_decref(doc);
    if (m.content == NULL) return err_set(c->err, E_TOO_LARGE, "the registration is too large");
    rc = change_memory(c->change, &m, existed ? &old : NULL, NULL);
    return rc ? rc
              : reply_set(r, "{s:b, s:s, s:s, s:s, s:o}", "registered", 1, "id", m.id, "agent_id", a->agent_id.s,
                          "agent_type", a->agent_type.s, "capabilities", strs_json(&a->capabilities));
}

/* ---- list -------------------------------------------------------------------------------------------------------- */
static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static int by_registration(const void *a, const void *b)
{
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    const char *at = text_of(x, "registered_at"), *other = text_of(y, "registered_at");
    int64_t us = 0, other_us = 0;
    (void)time_parse(at, strlen(at), &us);
    (void)time_parse(other, strlen(other), &other_us);
    if (us != other_us) return us < other_us ? -1 : 1;
    return strcmp(text_of(x, "agent_id"), text_of(y, "agent_id"));
}

/* A row that is no registration is left out. */
static void add_agent(json_t *list, const struct memory *m)
{
    json_t *o = metadata_json(m->metadata), *capabilities = json_object_get(o, "capabilities");
    if (text_of(o, "agent_id")[0] && text_of(o, "agent_type")[0] && json_is_array(capabilities))
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:O, s:s, s:s}", "agent_id", text_of(o, "agent_id"), "agent_type",
                                        text_of(o, "agent_type"), "capabilities", capabilities, "registered_at",
                                        text_of(o, "registered_at"), "last_seen_at", text_of(o, "last_seen_at")));
    json_decref(o);
}

static json_t *sorted(json_t *list)
{
    size_t n = json_array_size(list);
    json_t **item = mem_alloc((n + 1) * sizeof(json_t *)), *ret = json_array();
    for (size_t i = 0; i < n; i++) item[i] = json_array_get(list, i);
    qsort(item, n, sizeof(json_t *), by_registration);
    for (size_t i = 0; i < n; i++) json_array_append(ret, item[i]);
    mem_free(item);
    json_decref(list);
    return ret;
}

int op_agents(struct op_ctx *c, const void *args, struct reply *r)
{
    struct list_query q = { .f = { .ns = AGENTS_NS, .now_us = c->now_us }, .limit = PAGE_ROWS };
    struct rows rows = { .more = true };
    struct cursor after;
    json_t *list = json_array();
    int rc = 0;
    (void)args;
    while (rc == 0 && rows.more && json_array_size(list) < AGENTS_MAX) {
        rc = c->tx->v->list(c->tx, &q, c->arena, &rows);
        for (size_t i = 0; rc == 0 && i < rows.count; i++) add_agent(list, &rows.item[i].m);
        if (rc || rows.count == 0) break;
        const struct row *last = &rows.item[rows.count - 1];
        after = (struct cursor){ last->m.priority, last->stamp.ver, last->m.id };
        q.after = &after;
    }
    if (rc) {
        json_decref(list);
        return rc;
    }
    list = sorted(list);
    return reply_set(r, "{s:I, s:o}", "count", (json_int_t)json_array_size(list), "agents", list);
}
