/* create.c - making memories: create (an existing title is updated in place) and bulk, which is create many times
 * over. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "ops/beside.h"
#include "memory/text.h"
#include "ops/guard.h"
#include "ops/hints.h"
#include "ops/table.h"
#include "store/change.h"

#define BULK_SLICE 64

const char *const tier_words[] = { "short", "mid", "long", NULL };
const char *const source_words[] = { "user",   "claude",        "hook",   "api",   "cli",
                                     "import", "consolidation", "system", "chaos", NULL };
const char *const scope_words[] = { "private", "team", "unit", "org", "collective", NULL };

#define AT(member) offsetof(struct create_args, member)
const struct arg create_arg[] = {
    { "title", ARG_TEXT, AT(title), ARG_REQUIRED | ARG_REST, ON_ALL, .letter = 'T', .rule = arg_rule_title,
      .doc = "Short title; the same title in the same namespace is updated" },
    { "content", ARG_TEXT, AT(content), ARG_REQUIRED | ARG_REST | ARG_STDIN, ON_ALL, .letter = 'c',
      .rule = arg_rule_content, .doc = "What to remember, up to 65536 bytes" },
    { "namespace", ARG_TEXT, AT(ns), 0, ON_ALL, .letter = 'n', .rule = arg_rule_namespace,
      .at = { [DOOR_HTTP] = { .dflt = "global" }, [DOOR_MCP] = { .dflt = "global" } },
      .doc = "Where it belongs, levels divided by '/'" },
    { "source", ARG_TEXT, AT(source), 0, ON_ALL, source_words, .letter = 'S', .rule = arg_rule_source,
      .at = { { .dflt = "api" }, { .dflt = "claude" }, { .dflt = "cli" } }, .doc = "Who says so" },
    { "tags", ARG_TEXTS, AT(tags), 0, ON_ALL, .rule = arg_rule_tags, .doc = "Labels, at most 50" },
    { "priority", ARG_INT, AT(priority), ARG_I32, ON_ALL, .letter = 'p', .rule = arg_rule_priority,
      .at = { { .dflt = "5" }, { .dflt = "5" }, { .dflt = "5" } }, .doc = "Importance, 1 to 10" },
    { "confidence", ARG_REAL, AT(confidence), 0, ON_ALL, .rule = arg_rule_confidence,
      .at = { { .dflt = "1.0" }, { .dflt = "1.0" }, { .dflt = "1.0" } }, .doc = "Certainty, 0.0 to 1.0" },
    { "expires_at", ARG_TEXT, AT(expires_at), ARG_OPTION, ON_HTTP | ON_CLI,
      .at = { [DOOR_CLI] = { .name = "expires-at" } }, .rule = arg_rule_expires_create,
      .doc = "End of its life, RFC 3339; wins over ttl_secs" },
    { "ttl_secs", ARG_INT, AT(ttl_secs), ARG_OPTION, ON_HTTP | ON_CLI, .at = { [DOOR_CLI] = { .name = "ttl-secs" } },
      .rule = arg_rule_ttl, .doc = "Seconds to live; wins over the tier's lifetime" },
    { "metadata", ARG_OBJECT, AT(metadata), 0, ON_HTTP | ON_MCP, .rule = arg_rule_metadata,
      .doc = "Any JSON object, up to 65536 bytes" },
    { "agent_id", ARG_TEXT, AT(agent_id), ARG_OPTION, ON_HTTP | ON_MCP, .rule = arg_rule_agent,
      .doc = "Who stores it" },
    { "scope", ARG_TEXT, AT(scope), ARG_OPTION, ON_ALL, scope_words, .rule = arg_rule_scope,
      .doc = "Who may see it, seen from its namespace" },
    { "tier", ARG_WORD, AT(tier), 0, ON_ALL, tier_words, .letter = 't',
      .at = { { .dflt = "mid" }, { .dflt = "mid" }, { .dflt = "mid" } },
      .doc = "How long it lives: hours, a week, for good" },
    { 0 },
};
#undef AT

const struct arg bulk_arg[] = {
    { "memories", ARG_ITEMS, offsetof(struct bulk_args, items), ARG_REQUIRED | ARG_BODY_ARRAY, ON_HTTP,
      .item = create_arg, .item_size = sizeof(struct create_args), .items_max = 1000,
      .items_over = "bulk operations limited to 1000 items", .doc = "What create takes, at most 1000 times" },
    { 0 },
};

/* ---- one memory -------------------------------------------------------------------------------------------------- */
struct made {
    struct row row; /* as stored */
    bool existed, pending;
};

static const char *namespace_of(const struct op_ctx *c, const struct create_args *a)
{
    return a->ns.s ? a->ns.s : c->caller->default_ns;
}

/* The original's MCP door also takes identity and scope from the metadata; there a bad one is refused. */
static int metadata_claims(struct op_ctx *c, const struct create_args *a, struct str *agent)
{
    json_t *id = json_object_get(a->metadata, "agent_id"), *scope = json_object_get(a->metadata, "scope");
    if (c->caller->door != DOOR_MCP) return 0;
    if (agent->len == 0 && json_is_string(id)) {
        *agent = (struct str){ json_string_value(id), json_string_length(id) };
        int rc = arg_rule_agent(agent, c->now_us, c->err);
        if (rc) return rc;
    }
    if (a->scope.s || !json_is_string(scope)) return 0;
    return rule_scope(json_string_value(scope), json_string_length(scope), c->err);
}

static const char *expiry(struct op_ctx *c, const struct create_args *a, enum tier tier)
{
    if (a->expires_at.s) return a->expires_at.s;
    if (arg_set(&a->h, CREATE_TTL)) return time_after(c, a->ttl_secs);
    int64_t secs = c->env->limits.lifetimes.ttl_secs[tier];
    return secs > 0 ? time_after(c, secs) : NULL;
}

void memory_over(struct memory *m, const struct memory *old)
{
    bool lasting = m->tier == TIER_LONG || old->tier == TIER_LONG;
    m->id = old->id;
    m->created_at = old->created_at;
    m->access_count = old->access_count;
    m->last_accessed_at = old->last_accessed_at;
    if (old->priority > m->priority) m->priority = old->priority;
    if (old->confidence > m->confidence) m->confidence = old->confidence;
    if (old->tier > m->tier) m->tier = old->tier;
    if (m->expires_at == NULL) m->expires_at = old->expires_at;
    if (lasting) m->expires_at = NULL;
}

/* The MCP door replaces what the others raise, and leaves source and expiry. */
static void merge_upsert(struct op_ctx *c, const struct create_args *a, struct memory *m, const struct memory *old)
{
    struct memory sent = *m;
    memory_over(m, old);
    if (c->caller->door != DOOR_MCP) return;
    bool own_expiry = a->expires_at.s || arg_set(&a->h, CREATE_TTL);
    m->priority = sent.priority;
    m->confidence = sent.confidence;
    m->source = old->source;
    if (m->tier != TIER_LONG && !own_expiry && !memory_expired(old, c->now_us)) m->expires_at = old->expires_at;
}

/* The id of this call's next memory. Its beginning is that of the title's ids. */
static const char *id_of_title(struct op_ctx *c, const char *title, const char *ns)
{
    char begin[TITLE_ID_BYTES];
    char *id = (char *)(uintptr_t)ids_next(c->ids);
    text_title_id(begin, title, ns);
    memcpy(id, begin, sizeof(begin) - 1);
    return id;
}

static int fill(struct op_ctx *c, const struct create_args *a, struct memory *m)
{
    json_t *tags = strs_json(&a->tags);
    *m = (struct memory){
        .id = id_of_title(c, a->title.s, namespace_of(c, a)),
        .ns = namespace_of(c, a),
        .title = a->title.s,
        .content = a->content.s,
        .tags = json_arena(c->arena, tags, NULL),
        .source = a->source.s,
        .metadata = "{}",
        .priority = (int)a->priority,
        .confidence = a->confidence,
    };
    json_decref(tags);
    int rc = tier_parse(a->tier.s, &m->tier);
    if (rc == 0) m->expires_at = expiry(c, a, m->tier);
    return m->tags || rc ? rc : err_set(c->err, E_TOO_LARGE, "tags are too large");
}

static int find_title(struct op_ctx *c, const char *title, const char *ns, struct row *ret, bool *ret_found)
{
    int rc = c->tx->v->by_title(c->tx, title, ns, c->arena, ret);
    *ret_found = rc == 0;
    return rc == E_NOT_FOUND ? 0 : rc;
}

static int store_one(struct op_ctx *c, const struct create_args *a, struct made *ret, struct reply *r)
{
    struct str own = a->agent_id;
    const char *agent;
    struct memory m;
    struct row old;
    *ret = (struct made){ 0 };
    int rc = metadata_claims(c, a, &own);
    if (rc == 0) rc = op_agent(c, &own, &agent);
    if (rc == 0) rc = fill(c, a, &m);
    if (rc == 0) rc = guard_reserved(m.ns, c->err);
    if (rc == 0) rc = find_title(c, m.title, m.ns, &old, &ret->existed);
    if (rc) return rc;
    rc = metadata_stamp(c, a->metadata, agent, a->scope.s, ret->existed ? old.m.metadata : NULL, &m.metadata);
    if (rc) return rc;
    struct guard g = { .action = GUARD_STORE, .ns = m.ns, .agent_id = agent, .memory = &m };
    rc = guard_check(c, &g, r);
    if (rc == E_PENDING) ret->pending = true;
    if (rc) return rc == E_PENDING ? 0 : rc;
    if (ret->existed) merge_upsert(c, a, &m, &old.m);
    return change_memory(c->change, &m, ret->existed ? &old : NULL, &ret->row);
}

/* ---- create ------------------------------------------------------------------------------------------------------ */
static int reply_made(struct op_ctx *c, const struct row *row, bool existed, struct reply *r)
{
    const struct memory *m = &row->m;
    const char *agent = metadata_text(m->metadata, "agent_id", c->arena);
    int rc = reply_set(r, "{s:s, s:s, s:s, s:s, s:s?}", "id", m->id, "title", m->title, "namespace", m->ns, "tier",
                       tier_name(m->tier), "agent_id", agent);
    if (rc) return err_set(c->err, rc, "%s", err_text(rc));
    if (existed) {
        json_object_set_new(r->doc, "duplicate", json_true());
        json_object_set_new(r->doc, "action", json_string("updated existing memory"));
    }
    if (c->caller->door == DOOR_CLI) json_object_set_new(r->doc, "memory", memory_json(m));
    return 0;
}

int op_create(struct op_ctx *c, const void *args, struct reply *r)
{
    struct made made;
    int rc = store_one(c, args, &made, r);
    if (rc || made.pending) return rc;
    return reply_made(c, &made.row, made.existed, r);
}

int op_create_aside(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct create_args *a = args;
    const char *id = json_string_value(json_object_get(r->doc, "id"));
    json_t *ids = NULL;
    if (id == NULL) return 0; /* queued for approval */
    int rc = hints_similar(c, &a->title, namespace_of(c, a), id, &ids);
    if (rc || json_array_size(ids) == 0) {
        json_decref(ids);
        ids = rc == 0 && json_object_get(r->doc, "duplicate") ? json_null() : NULL; /* looked for beside itself: none */
    }
    if (ids) json_object_set_new(r->doc, "potential_contradictions", ids);
    return rc;
}

/* ---- bulk -------------------------------------------------------------------------------------------------------- */
static json_t *bulk_doc(struct op_ctx *c)
{
    if (*c->carry == NULL) *c->carry = json_pack("{s:i, s:[], s:[], s:[]}", "created", 0, "errors", "ids", "results");
    return *c->carry;
}

static void bulk_error(json_t *doc, const struct create_args *a, const char *why)
{
    json_t *text = json_sprintf("%s: %s", a->title.s, why);
    if (text == NULL) text = json_string(why);
    json_array_append_new(json_object_get(doc, "errors"), text);
    json_array_append_new(json_object_get(doc, "results"), json_pack("{s:s, s:s}", "status", "error", "error", why));
}

static void bulk_made(json_t *doc, const struct made *made, json_t *pending)
{
    json_t *results = json_object_get(doc, "results");
    if (made->pending) {
        json_array_append(results, pending);
        return;
    }
    json_int_t created = json_integer_value(json_object_get(doc, "created"));
    json_object_set_new(doc, "created", json_integer(created + 1));
    json_array_append_new(json_object_get(doc, "ids"), json_string(made->row.m.id));
    json_array_append_new(
        results, json_pack("{s:s, s:s}", "id", made->row.m.id, "status", made->existed ? "updated" : "created"));
}

/* Refusals of one item; anything else fails the slice. */
static bool refusal(int rc)
{
    return rc == E_INVALID || rc == E_DENIED || rc == E_CONFLICT;
}

int op_bulk(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct items *list = &((const struct bulk_args *)args)->items;
    json_t *doc = bulk_doc(c);
    uint64_t end = *c->progress + BULK_SLICE;
    const char *agent;
    int rc = op_agent(c, NULL, &agent);
    if (rc) return rc;
    for (; *c->progress < list->count && *c->progress < end; ++*c->progress) {
        size_t i = (size_t)*c->progress;
        const struct create_args *a = (const void *)((const char *)list->item + i * list->item_size);
        struct reply one = { 0 };
        struct made made;
        if (list->error[i]) {
            bulk_error(doc, a, list->error[i]);
            continue;
        }
        c->ids->used = (unsigned)(2 * i); /* the memory's and, should it have to wait, the queue's */
        rc = store_one(c, a, &made, &one);
        if (rc == 0)
            bulk_made(doc, &made, one.doc);
        else if (refusal(rc))
            bulk_error(doc, a, refusal_text(c, rc));
        json_decref(one.doc);
        if (rc && !refusal(rc)) return rc;
    }
    if (*c->progress < list->count) return E_AGAIN;
    json_decref(r->doc);
    r->doc = json_incref(doc);
    return 0;
}
