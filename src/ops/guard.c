/* guard.c - see guard.h. */
#include "ops/guard.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "ops/table.h"
#include "store/change.h"

enum level { LEVEL_ANY, LEVEL_REGISTERED, LEVEL_OWNER, LEVEL_APPROVE, LEVEL_UNREADABLE };

static const char *const verb[] = { "store", "update", "delete", "promote" };
static const char *const rule_of[] = { "write", "write", "delete", "promote" };

int guard_reserved(const char *ns, struct err *err)
{
    static const char *const reserved[] = { "_agents", "_messages", "_curator" };
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (namespace_within(ns, reserved[i]))
            return err_arg(err, E_DENIED, "namespace", "namespace '%s' is reserved", reserved[i]);
    return 0;
}

static bool approver_ok(const json_t *v)
{
    if (json_is_string(v)) return strcmp(json_string_value(v), "human") == 0;
    if (!json_is_object(v) || json_object_size(v) != 1) return false;
    return json_is_string(json_object_get(v, "agent")) || json_is_integer(json_object_get(v, "consensus"));
}

static enum level level_of(const json_t *policy, const char *key)
{
    static const char *const words[] = { "any", "registered", "owner", "approve" };
    const char *word = json_string_value(json_object_get(policy, key));
    for (unsigned i = 0; word && i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(word, words[i]) == 0) return (enum level)i;
    return LEVEL_UNREADABLE;
}

/* The level for one action out of the standard's metadata. No policy allows; one that is not whole denies. */
static enum level read_policy(const char *metadata, enum guard_action action)
{
    json_t *doc = metadata_json(metadata), *policy = json_object_get(doc, "governance");
    enum level level = LEVEL_ANY;
    if (policy) {
        bool whole = approver_ok(json_object_get(policy, "approver"));
        for (unsigned i = 0; i < sizeof(rule_of) / sizeof(rule_of[0]); i++)
            whole = whole && level_of(policy, rule_of[i]) != LEVEL_UNREADABLE;
        level = whole ? level_of(policy, rule_of[action]) : LEVEL_UNREADABLE;
    }
    json_decref(doc);
    return level;
}

static int deny(struct op_ctx *c, const struct guard *g, const char *why)
{
    return err_set(c->err, E_DENIED, "%s denied by governance: %s", verb[g->action], why);
}

static int check_registered(struct op_ctx *c, const struct guard *g)
{
    struct row row;
    const char *title = arena_printf(c->arena, "agent:%s", g->agent_id);
    int rc = title ? c->tx->v->by_title(c->tx, title, "_agents", c->arena, &row) : E_NOT_FOUND;
    if (rc != E_NOT_FOUND) return rc;
    char why[240];
    snprintf(why, sizeof(why), "governance: caller '%s' is not a registered agent", g->agent_id);
    return deny(c, g, why);
}

static int check_owner(struct op_ctx *c, const struct guard *g, const struct memory *standard)
{
    const struct memory *owned = g->action == GUARD_STORE ? standard : g->memory;
    const char *owner = metadata_text(owned->metadata, "agent_id", c->arena);
    if (owner == NULL) return deny(c, g, "governance: owner-level action has no resolvable owner");
    if (strcmp(owner, g->agent_id) == 0) return 0;
    char why[400];
    snprintf(why, sizeof(why), "governance: caller '%s' is not the owner ('%.128s')", g->agent_id, owner);
    return deny(c, g, why);
}

/* ---- waiting for approval ---------------------------------------------------------------------------------------- */

/* The payload as an approval replays it: the whole memory, or which one is meant. */
static json_t *payload_of(const struct guard *g, const char *now)
{
    struct memory m = *g->memory;
    if (g->action == GUARD_DELETE) return json_pack("{s:s, s:s}", "id", m.id, "title", m.title);
    if (g->action == GUARD_PROMOTE) return json_pack("{s:s}", "id", m.id);
    m.created_at = m.updated_at = now;
    return memory_json(&m);
}

static int reply_queued(const char *id, const char *action, const char *ns, const char *memory_id, struct reply *r)
{
    int rc = reply_set(r, "{s:s, s:s, s:s, s:s}", "status", "pending", "pending_id", id, "action", action, "reason",
                       "governance requires approval");
    if (rc == 0)
        json_object_set_new(r->doc, memory_id ? "memory_id" : "namespace", json_string(memory_id ? memory_id : ns));
    r->status = 202;
    return rc;
}

static int queue(struct op_ctx *c, const struct guard *g, struct reply *r)
{
    char now[TIME_TEXT];
    time_print(now, c->now_us);
    const char *id = arena_strdup(c->arena, ids_next(c->ids));
    const char *memory_id = g->action == GUARD_STORE ? NULL : g->memory->id;
    json_t *body = json_pack("{s:s, s:s, s:s?, s:s, s:o, s:s, s:s, s:s, s:[]}", "id", id, "action_type",
                             verb[g->action], "memory_id", memory_id, "namespace", g->ns, "payload", payload_of(g, now),
                             "requested_by", g->agent_id, "requested_at", now, "status", "pending", "approvals");
    size_t len = 0;
    const char *text = body ? json_arena(c->arena, body, &len) : NULL;
    json_decref(body);
    if (text == NULL) return err_set(c->err, E_TOO_LARGE, "the request is too large to be queued");
    int rc = change_side(c->change, KIND_PENDING, id, text, len);
    if (rc == 0) rc = reply_queued(id, verb[g->action], g->ns, memory_id, r);
    return rc ? rc : E_PENDING;
}

int guard_queued(struct op_ctx *c, const char *id, struct reply *r)
{
    struct side_row side;
    int rc = c->tx->v->side_get(c->tx, SIDE_PENDING, id, c->arena, &side);
    if (rc) return rc;
    json_t *body = json_parse(side.body, side.body_len, NULL, 0, NULL);
    const char *action = json_string_value(json_object_get(body, "action_type"));
    const char *ns = json_string_value(json_object_get(body, "namespace"));
    rc = action && ns ? reply_queued(id, action, ns, json_string_value(json_object_get(body, "memory_id")), r)
                      : E_NOT_FOUND;
    json_decref(body);
    return rc;
}

/* ---- the check --------------------------------------------------------------------------------------------------- */
static int ask_approval(struct op_ctx *c, const struct guard *g, struct reply *r)
{
    return g->action == GUARD_UPDATE ? deny(c, g, "governance: approval is required") : queue(c, g, r);
}

int guard_check(struct op_ctx *c, const struct guard *g, struct reply *r)
{
    const char *standard_id, *parent;
    struct row standard;
    int rc = c->tx->v->standard_of(c->tx, g->ns, c->arena, &standard_id, &parent);
    if (rc == 0 && standard_id == NULL) rc = E_NOT_FOUND;
    if (rc == 0) rc = c->tx->v->get(c->tx, standard_id, c->arena, &standard);
    if (rc) return rc == E_NOT_FOUND ? 0 : rc;
    switch (read_policy(standard.m.metadata, g->action)) {
    case LEVEL_ANY: return 0;
    case LEVEL_REGISTERED: return check_registered(c, g);
    case LEVEL_OWNER: return check_owner(c, g, &standard.m);
    case LEVEL_APPROVE: return ask_approval(c, g, r);
    default: return deny(c, g, "governance: the policy of the namespace cannot be read");
    }
}
