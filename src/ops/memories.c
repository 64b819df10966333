/* memories.c - operations that change one memory: update, delete, promote. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "ops/guard.h"
#include "ops/table.h"
#include "store/change.h"

#define ID_ARG(type)                                                                                 \
    {                                                                                                \
        "id", ARG_TEXT, offsetof(struct type, id), ARG_REQUIRED | ARG_PATH | ARG_POSITIONAL, ON_ALL, \
            .rule = arg_rule_id, .doc = "Id, or the beginning of one that fits no other"             \
    }
#define AGENT_ARG(type)                                                                         \
    {                                                                                           \
        "agent_id", ARG_TEXT, offsetof(struct type, agent_id), ARG_OPTION | ARG_HIDDEN, ON_MCP, \
            .rule = arg_rule_agent, .doc = "Who asks"                                           \
    }

#define PREFIX_MIN 4
#define GONE_MAX 256 /* deleted ids of one prefix looked at */

const struct arg none_arg[] = { { 0 } };
const struct arg id_arg[] = { ID_ARG(id_args), { 0 } };
const struct arg delete_arg[] = { ID_ARG(delete_args), AGENT_ARG(delete_args), { 0 } };
const struct arg promote_arg[] = {
    ID_ARG(promote_args),
    { "to_namespace", ARG_TEXT, offsetof(struct promote_args, to_ns), ARG_OPTION, ON_MCP | ON_CLI,
      .rule = arg_rule_namespace, .at = { [DOOR_CLI] = { .name = "to-namespace" } },
      .doc = "An ancestor namespace to put a copy into instead" },
    AGENT_ARG(promote_args),
    { 0 },
};

#define AT(member) offsetof(struct update_args, member)
const struct arg update_arg[] = {
    ID_ARG(update_args),
    { "title", ARG_TEXT, AT(title), ARG_OPTION | ARG_REST, ON_ALL, .letter = 'T', .rule = arg_rule_title,
      .doc = "New title" },
    { "content", ARG_TEXT, AT(content), ARG_OPTION | ARG_REST, ON_ALL, .letter = 'c', .rule = arg_rule_content,
      .doc = "New content" },
    { "tier", ARG_WORD, AT(tier), ARG_OPTION, ON_ALL, tier_words, .letter = 't',
      .doc = "Higher tier; a lower one is not taken" },
    { "namespace", ARG_TEXT, AT(ns), ARG_OPTION, ON_ALL, .letter = 'n', .rule = arg_rule_namespace,
      .doc = "Where to move it" },
    { "tags", ARG_TEXTS, AT(tags), ARG_OPTION, ON_ALL, .rule = arg_rule_tags, .doc = "All its labels" },
    { "priority", ARG_INT, AT(priority), ARG_OPTION | ARG_I32, ON_ALL, .letter = 'p', .rule = arg_rule_priority,
      .doc = "Importance, 1 to 10" },
    { "confidence", ARG_REAL, AT(confidence), ARG_OPTION, ON_ALL, .rule = arg_rule_confidence,
      .doc = "Certainty, 0.0 to 1.0" },
    { "expires_at", ARG_TEXT, AT(expires_at), ARG_NULL_CLEARS, ON_ALL, .at = { [DOOR_CLI] = { .name = "expires-at" } },
      .rule = arg_rule_expires_update, .doc = "End of its life, RFC 3339; null: none" },
    { "metadata", ARG_OBJECT, AT(metadata), ARG_OPTION, ON_HTTP | ON_MCP, .rule = arg_rule_metadata,
      .doc = "All its metadata; agent_id stays" },
    { 0 },
};
#undef AT

/* ---- update ------------------------------------------------------------------------------------------------------ */
static int reply_updated(struct reply *r, const struct row *row)
{
    return reply_set(r, "{s:o, s:b}", "memory", memory_json(&row->m), "updated", 1);
}

/* The title may be free, its own, or another's. */
static int check_title(struct op_ctx *c, const struct memory *m, const struct row *before)
{
    struct row other;
    if (strcmp(m->title, before->m.title) == 0 && strcmp(m->ns, before->m.ns) == 0) return 0;
    int rc = c->tx->v->by_title(c->tx, m->title, m->ns, c->arena, &other);
    if (rc) return rc == E_NOT_FOUND ? 0 : rc;
    if (strcmp(other.m.id, before->m.id) == 0) return 0;
    return err_arg(c->err, E_CONFLICT, "title", "title '%s' already exists in namespace '%s' (memory %s)", m->title,
                   m->ns, other.m.id);
}

static int apply_fields(struct op_ctx *c, const struct update_args *a, struct memory *m, const struct row *before)
{
    enum tier tier;
    if (a->title.s) m->title = a->title.s;
    if (a->content.s) m->content = a->content.s;
    if (a->ns.s) m->ns = a->ns.s;
    if (arg_set(&a->h, UPDATE_PRIORITY)) m->priority = (int)a->priority;
    if (arg_set(&a->h, UPDATE_CONFIDENCE)) m->confidence = a->confidence;
    if (a->tier.s && tier_parse(a->tier.s, &tier) == 0 && tier > m->tier) m->tier = tier;
    if (m->tier == TIER_LONG && before->m.tier != TIER_LONG) m->expires_at = NULL;
    if (arg_set(&a->h, UPDATE_EXPIRES)) m->expires_at = a->expires_at.s;
    if (arg_null(&a->h, UPDATE_EXPIRES)) m->expires_at = NULL;
    if (arg_set(&a->h, UPDATE_TAGS)) {
        json_t *tags = strs_json(&a->tags);
        m->tags = json_arena(c->arena, tags, NULL);
        json_decref(tags);
        if (m->tags == NULL) return err_set(c->err, E_TOO_LARGE, "tags are too large");
    }
    if (!arg_set(&a->h, UPDATE_METADATA)) return 0;
    return metadata_stamp(c, a->metadata, NULL, NULL, before->m.metadata, &m->metadata);
}

/* Leaving a namespace and entering one both ask its policy. */
static int check_places(struct op_ctx *c, const struct memory *m, const struct row *before, struct reply *r)
{
    struct guard g = {
        .action = GUARD_UPDATE, .ns = before->m.ns, .agent_id = c->caller->agent_id, .memory = &before->m
    };
    int rc = guard_reserved(before->m.ns, c->err);
    if (rc == 0) rc = guard_reserved(m->ns, c->err);
    if (rc == 0) rc = guard_check(c, &g, r);
    if (rc || strcmp(m->ns, before->m.ns) == 0) return rc;
    struct guard into = { .action = GUARD_UPDATE, .ns = m->ns, .agent_id = c->caller->agent_id, .memory = m };
    return guard_check(c, &into, r);
}

int op_update(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct update_args *a = args;
    struct row before, after;
    int rc = memory_find(c, &a->id, true, &before);
    if (rc) return rc;
    struct memory m = before.m;
    rc = apply_fields(c, a, &m, &before);
    if (rc == 0) rc = check_places(c, &m, &before, r);
    if (rc == 0) rc = check_title(c, &m, &before);
    if (rc == 0) rc = change_memory(c->change, &m, &before, &after);
    return rc ? rc : reply_updated(r, &after);
}

bool keeps_copies(const struct op_ctx *c)
{
    return c->env->limits.archive_on_gc || c->caller->door == DOOR_CLI;
}

int delete_kept(struct op_ctx *c, const struct row *row, const char *reason)
{
    char now[TIME_TEXT];
    time_print(now, c->now_us);
    int rc = keeps_copies(c) ? change_archive(c->change, row, now, reason) : 0;
    return rc ? rc : change_delete(c->change, row);
}

/* ---- delete ------------------------------------------------------------------------------------------------------ */
static int reply_deleted(struct reply *r, const char *id)
{
    return reply_set(r, "{s:b, s:s}", "deleted", 1, "id", id);
}

/* What is not here may be what an earlier attempt removed: of a prefix, the one that was removed last. */
static int deleted_before(struct op_ctx *c, const struct str *id, bool prefix, struct reply *r)
{
    struct side_row one, *found = &one;
    size_t count = 1, last = 0;
    int rc = c->tx->v->side_get(c->tx, SIDE_TOMBSTONE, id->s, c->arena, &one);
    if (rc == E_NOT_FOUND && prefix && id->len > 0) {
        rc = c->tx->v->side_scan(c->tx, SIDE_TOMBSTONE, id->s, NULL, GONE_MAX, c->arena, &found, &count);
        if (rc == 0 && count == 0) rc = E_NOT_FOUND;
    }
    if (rc) return rc;
    for (size_t i = 1; i < count; i++)
        if (found[i].stamp.ver > found[last].stamp.ver) last = i;
    r->wait_for = found[last].stamp;
    r->afterwards = E_NOT_FOUND;
    return reply_deleted(r, found[last].id);
}

int op_delete(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct delete_args *a = args;
    struct row row;
    const char *agent;
    bool prefix = c->caller->door != DOOR_MCP || a->id.len >= PREFIX_MIN; /* a tool may not delete by a guess */
    int rc = memory_find(c, &a->id, prefix, &row);
    if (rc == E_NOT_FOUND) return deleted_before(c, &a->id, prefix, r);
    if (rc == 0) rc = op_agent(c, &a->agent_id, &agent);
    if (rc) return rc;
    struct guard g = { .action = GUARD_DELETE, .ns = row.m.ns, .agent_id = agent, .memory = &row.m };
    rc = guard_check(c, &g, r);
    if (rc) return rc == E_PENDING ? 0 : rc;
    rc = change_delete(c->change, &row);
    return rc ? rc : reply_deleted(r, row.m.id);
}

/* ---- promote ----------------------------------------------------------------------------------------------------- */
static int reply_promoted(struct reply *r, const char *id)
{
    return reply_set(r, "{s:b, s:s, s:s, s:s}", "promoted", 1, "id", id, "tier", "long", "mode", "tier");
}

static int reply_raised(struct reply *r, const char *clone, const char *source, const char *to_ns)
{
    return reply_set(r, "{s:b, s:s, s:s, s:s, s:s}", "promoted", 1, "mode", "vertical", "clone_id", clone, "source_id",
                     source, "to_namespace", to_ns);
}

static int check_ancestor(struct op_ctx *c, const char *ns, const char *to)
{
    if (strcmp(ns, to) == 0)
        return err_arg(c->err, E_INVALID, "to_namespace",
                       "to_namespace must be a proper ancestor of the memory's namespace (got self: %s)", ns);
    if (namespace_within(ns, to)) return 0;
    struct buf b;
    buf_init(&b, 1000);
    for (const char *p = ns; p; p = namespace_parent(p, c->arena)) buf_printf(&b, "%s\"%s\"", p == ns ? "" : ", ", p);
    int rc = err_arg(c->err, E_INVALID, "to_namespace",
                     "to_namespace '%.200s' is not an ancestor of '%.200s' (ancestors: [%s])", to, ns, buf_str(&b));
    buf_release(&b);
    return rc;
}

/* A copy one level up or more, linked to what it came from; an earlier copy is brought up to date. */
static int raise(struct op_ctx *c, const struct row *source, const char *to_ns, struct row *clone)
{
    struct row old;
    struct memory m = source->m;
    char now[TIME_TEXT];
    int rc = c->tx->v->by_title(c->tx, m.title, to_ns, c->arena, &old);
    bool existed = rc == 0;
    if (rc && rc != E_NOT_FOUND) return rc;
    m.id = existed ? old.m.id : ids_next(c->ids);
    m.ns = to_ns;
    m.created_at = existed ? old.m.created_at : NULL;
    m.access_count = existed ? old.m.access_count : 0;
    m.last_accessed_at = existed ? old.m.last_accessed_at : NULL;
    if (existed) {
        const char *owner = metadata_text(old.m.metadata, "agent_id", c->arena);
        json_t *doc = metadata_json(m.metadata);
        rc = metadata_stamp(c, doc, owner, NULL, old.m.metadata, &m.metadata);
        json_decref(doc);
        if (rc) return rc;
        if (old.m.tier > m.tier) m.tier = old.m.tier;
        if (old.m.priority > m.priority) m.priority = old.m.priority;
        if (old.m.confidence > m.confidence) m.confidence = old.m.confidence;
        if (m.tier == TIER_LONG) m.expires_at = NULL;
    }
    time_print(now, c->now_us);
    rc = change_memory(c->change, &m, existed ? &old : NULL, clone);
    struct link link = { m.id, source->m.id, "derived_from", now };
    return rc ? rc : change_link(c->change, &link);
}

int promote_row(struct op_ctx *c, const struct row *row, const char *to_ns, struct row *ret)
{
    if (to_ns) return raise(c, row, to_ns, ret);
    struct memory m = row->m;
    m.tier = TIER_LONG;
    m.expires_at = NULL;
    return change_memory(c->change, &m, row, ret);
}

int op_promote(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct promote_args *a = args;
    struct row row, after;
    const char *agent;
    int rc = memory_find(c, &a->id, true, &row);
    if (rc == 0) rc = op_agent(c, &a->agent_id, &agent);
    if (rc == 0 && a->to_ns.s) rc = check_ancestor(c, row.m.ns, a->to_ns.s);
    if (rc == 0 && a->to_ns.s) rc = guard_reserved(a->to_ns.s, c->err);
    if (rc) return rc;
    struct guard g = {
        .action = GUARD_PROMOTE, .ns = row.m.ns, .agent_id = agent, .memory = &row.m, .to_ns = a->to_ns.s
    };
    rc = guard_check(c, &g, r);
    if (rc) return rc == E_PENDING ? 0 : rc;
    change_group_begin(c->change);
    rc = promote_row(c, &row, a->to_ns.s, &after);
    int end = change_group_end(c->change);
    if (rc || end) return rc ? rc : end;
    return a->to_ns.s ? reply_raised(r, after.m.id, row.m.id, a->to_ns.s) : reply_promoted(r, row.m.id);
}
