/* consolidate.c - several memories become one: the sources leave (into the archive when that is on), then the
 * merged one comes, all in one op. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "ops/beside.h"
#include "ops/guard.h"
#include "store/change.h"

#define AT(member) offsetof(struct consolidate_args, member)
const struct arg consolidate_arg[] = {
    { "ids", ARG_TEXTS, AT(ids), ARG_REQUIRED | ARG_POSITIONAL, ON_ALL, .rule = arg_rule_ids,
      .doc = "Whole ids of 2 to 100 memories" },
    { "title", ARG_TEXT, AT(title), ARG_REQUIRED | ARG_REST, ON_ALL, .letter = 'T', .rule = arg_rule_title,
      .doc = "Title of the merged memory" },
    { "summary", ARG_TEXT, AT(summary), ARG_REQUIRED | ARG_REST, ON_ALL, .letter = 's', .rule = arg_rule_summary,
      .doc = "Its content" },
    { "namespace", ARG_TEXT, AT(ns), 0, ON_ALL, .letter = 'n', .rule = arg_rule_namespace,
      .at = { [DOOR_HTTP] = { .dflt = "global" }, [DOOR_MCP] = { .dflt = "global" } }, .doc = "Where it belongs" },
    { "tier", ARG_WORD, AT(tier), ARG_OPTION, ON_HTTP, tier_words, .doc = "How long it lives; for good by default" },
    { "agent_id", ARG_TEXT, AT(agent_id), ARG_OPTION | ARG_HIDDEN, ON_HTTP | ON_MCP, .rule = arg_rule_agent,
      .doc = "Who merges" },
    { 0 },
};
#undef AT

struct merge {
    struct row *source;
    size_t count;
    const char *agent;
    struct memory m;
};

static int read_sources(struct op_ctx *c, const struct consolidate_args *a, struct merge *g)
{
    g->source = arena_alloc(c->arena, a->ids.count * sizeof(*g->source));
    if (g->source == NULL) return err_set(c->err, E_TOO_LARGE, "too many sources");
    for (; g->count < a->ids.count; g->count++) {
        int rc = exact_find(c, &a->ids.item[g->count], "ids", "memory", &g->source[g->count]);
        if (rc) return rc;
        for (size_t k = 0; k < g->count; k++)
            if (strcmp(g->source[k].m.id, g->source[g->count].m.id) == 0)
                return err_arg(c->err, E_INVALID, "ids", "duplicate memory ID: %s", g->source[k].m.id);
    }
    return 0;
}

/* ---- the merged memory ------------------------------------------------------------------------------------------- */
static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The tags of all, each once, in byte order. */
static json_t *joined_tags(const struct merge *g)
{
    json_t *set = json_object(), *list = json_array();
    for (size_t i = 0; i < g->count; i++) {
        json_t *tags = tags_json(g->source[i].m.tags), *tag;
        size_t k;
        json_array_foreach (tags, k, tag) {
            if (json_is_string(tag)) json_object_set_new(set, json_string_value(tag), json_true());
        }
        json_decref(tags);
    }
    const char **name = mem_alloc((json_object_size(set) + 1) * sizeof(*name)), *key;
    size_t n = 0;
    json_t *ignored;
    json_object_foreach (set, key, ignored) name[n++] = key;
    qsort(name, n, sizeof(*name), by_text);
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_string(name[i]));
    mem_free(name);
    json_decref(set);
    return list;
}

static void add_once(json_t *list, const char *text)
{
    size_t i;
    json_t *v;
    json_array_foreach (list, i, v) {
        if (strcmp(json_string_value(v), text) == 0) return;
    }
    json_array_append_new(list, json_string(text));
}

/* Later sources win key by key; whose they were and what they came from is told, a policy is not inherited. */
static json_t *joined_metadata(const struct merge *g)
{
    json_t *o = json_object(), *ids = json_array(), *agents = json_array();
    for (size_t i = 0; i < g->count; i++) {
        json_t *one = metadata_json(g->source[i].m.metadata);
        const char *agent = json_string_value(json_object_get(one, "agent_id"));
        if (agent) add_once(agents, agent);
        json_object_del(one, "agent_id");
        json_object_del(one, "governance");
        json_object_del(one, "consolidated_from_agents");
        json_object_update(o, one);
        json_decref(one);
        json_array_append_new(ids, json_string(g->source[i].m.id));
    }
    json_object_set_new(o, "derived_from", ids);
    json_object_set_new(o, "agent_id", json_string(g->agent));
    if (json_array_size(agents) > 0)
        json_object_set_new(o, "consolidated_from_agents", agents);
    else
        json_decref(agents);
    return o;
}

/* Without a namespace a command files the result with its sources, when they agree. */
static const char *namespace_of(const struct op_ctx *c, const struct consolidate_args *a, const struct merge *g)
{
    if (a->ns.s) return a->ns.s;
    for (size_t i = 1; i < g->count; i++)
        if (strcmp(g->source[i].m.ns, g->source[0].m.ns) != 0) return c->caller->default_ns;
    return g->source[0].m.ns;
}

static int fill(struct op_ctx *c, const struct consolidate_args *a, struct merge *g)
{
    json_t *tags = joined_tags(g), *metadata = joined_metadata(g);
    struct memory *m = &g->m;
    *m = (struct memory){ .id = ids_next(c->ids),
                          .ns = namespace_of(c, a, g),
                          .title = a->title.s,
                          .content = a->summary.s,
                          .tags = json_arena(c->arena, tags, NULL),
                          .metadata = json_arena(c->arena, metadata, NULL),
                          .source = c->caller->door == DOOR_CLI ? "cli" : "consolidation",
                          .tier = TIER_LONG,
                          .priority = 5,
                          .confidence = 1.0 };
    for (size_t i = 0; i < g->count; i++) {
        const struct memory *s = &g->source[i].m;
        if (s->priority > m->priority) m->priority = s->priority;
        m->access_count += s->access_count;
    }
    if (a->tier.s) (void)tier_parse(a->tier.s, &m->tier);
    int64_t secs = c->env->limits.lifetimes.ttl_secs[m->tier];
    if (secs > 0) m->expires_at = time_after(c, secs);
    int rc = rule_tags_count(json_array_size(tags), c->err);
    if (rc == 0) rc = arg_rule_metadata_stamped(&metadata, c->now_us, c->err);
    json_decref(tags);
    json_decref(metadata);
    return rc == 0 && (m->tags == NULL || m->metadata == NULL) ? err_set(c->err, E_TOO_LARGE, "too large") : rc;
}

/* ---- checks and the change --------------------------------------------------------------------------------------- */
static int check_title(struct op_ctx *c, const struct merge *g)
{
    struct row other;
    int rc = c->tx->v->by_title(c->tx, g->m.title, g->m.ns, c->arena, &other);
    if (rc) return rc == E_NOT_FOUND ? 0 : rc;
    for (size_t i = 0; i < g->count; i++)
        if (strcmp(g->source[i].m.id, other.m.id) == 0) return 0; /* it leaves first */
    return err_arg(c->err, E_CONFLICT, "title", "title '%s' already exists in namespace '%s' (memory %s)", g->m.title,
                   g->m.ns, other.m.id);
}

static int check_policies(struct op_ctx *c, const struct merge *g, struct reply *r)
{
    struct guard into = {
        .action = GUARD_STORE, .ns = g->m.ns, .agent_id = g->agent, .memory = &g->m, .at_once = true
    };
    int rc = guard_reserved(g->m.ns, c->err);
    if (rc == 0) rc = guard_check(c, &into, r);
    for (size_t i = 0; rc == 0 && i < g->count; i++) {
        struct guard from = { .action = GUARD_DELETE,
                              .ns = g->source[i].m.ns,
                              .agent_id = g->agent,
                              .memory = &g->source[i].m,
                              .at_once = true };
        rc = guard_check(c, &from, r);
    }
    return rc;
}

static int apply(struct op_ctx *c, const struct merge *g)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < g->count; i++) rc = delete_kept(c, &g->source[i], "consolidate");
    return rc ? rc : change_memory(c->change, &g->m, NULL, NULL);
}

static int reply_merged(struct reply *r, const char *id, size_t count)
{
    return reply_set(r, "{s:I, s:s}", "consolidated", (json_int_t)count, "id", id);
}

/* Sources that are gone may be in what an earlier attempt made of them. */
static int merged_before(struct op_ctx *c, const struct consolidate_args *a, struct reply *r)
{
    struct row row;
    int rc = c->tx->v->by_title(c->tx, a->title.s, a->ns.s ? a->ns.s : c->caller->default_ns, c->arena, &row);
    if (rc) return rc;
    json_t *metadata = metadata_json(row.m.metadata), *ids = strs_json(&a->ids);
    bool same = json_equal(json_object_get(metadata, "derived_from"), ids);
    json_decref(metadata);
    json_decref(ids);
    if (!same) return E_NOT_FOUND;
    r->wait_for = row.stamp;
    r->afterwards = E_NOT_FOUND;
    return reply_merged(r, row.m.id, a->ids.count);
}

int op_consolidate(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct consolidate_args *a = args;
    struct merge g = { 0 };
    int rc = op_agent(c, &a->agent_id, &g.agent);
    if (rc == 0) rc = read_sources(c, a, &g);
    if (rc == E_NOT_FOUND && merged_before(c, a, r) == 0) return 0;
    if (rc == 0) rc = fill(c, a, &g);
    if (rc == 0) rc = check_policies(c, &g, r);
    if (rc == 0) rc = check_title(c, &g);
    if (rc) return rc;
    change_group_begin(c->change);
    rc = apply(c, &g);
    int end = change_group_end(c->change);
    if (rc || end) return rc ? rc : end;
    return reply_merged(r, g.m.id, g.count);
}
