/* guard.c - see guard.h. */
#include "ops/guard.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "ops/table.h"
#include "store/change.h"

#define TWINS_MAX 256 /* newest open requests among which an earlier attempt is looked for */

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

int guard_registered(struct op_ctx *c, const char *agent_id)
{
    struct row row;
    const char *title = arena_printf(c->arena, "agent:%s", agent_id);
    return title ? c->tx->v->by_title(c->tx, title, "_agents", c->arena, &row) : E_NOT_FOUND;
}

static int check_registered(struct op_ctx *c, const struct guard *g)
{
    int rc = guard_registered(c, g->agent_id);
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

/* ---- a policy as it is sent -------------------------------------------------------------------------------------- */
static int policy_word(const json_t *v, const char *name, struct err *err)
{
    if (v == NULL) return err_set(err, E_INVALID, "invalid governance: missing field `%s`", name);
    if (!json_is_string(v))
        return err_set(err, E_INVALID, "invalid governance: invalid type: %s, expected string or map", json_kind(v));
    json_t *one = json_pack("{s:O}", "level", v);
    bool known = level_of(one, "level") != LEVEL_UNREADABLE;
    json_decref(one);
    if (known) return 0;
    return err_set(
        err, E_INVALID,
        "invalid governance: unknown variant `%.64s`, expected one of `any`, `registered`, `owner`, `approve`",
        json_string_value(v));
}

static int policy_approver(const json_t *v, struct err *err)
{
    json_t *agent = json_object_get(v, "agent"), *votes = json_object_get(v, "consensus");
    if (v == NULL) return err_set(err, E_INVALID, "invalid governance: missing field `approver`");
    if (json_is_string(v) && strcmp(json_string_value(v), "human") == 0) return 0;
    const char *word = json_string_value(v);
    if (json_is_object(v) && json_object_size(v) > 0 && agent == NULL && votes == NULL)
        word = json_object_iter_key(json_object_iter((json_t *)(uintptr_t)v));
    if (word)
        return err_set(err, E_INVALID,
                       "invalid governance: unknown variant `%.64s`, expected one of `human`, `agent`, `consensus`",
                       word);
    if (!json_is_object(v) || json_object_size(v) != 1)
        return err_set(err, E_INVALID, "invalid governance: invalid type: %s, expected string or map", json_kind(v));
    if (json_is_string(agent)) return rule_agent_id(json_string_value(agent), json_string_length(agent), err);
    if (agent || !json_is_integer(votes) || json_integer_value(votes) < 0 || json_integer_value(votes) > UINT32_MAX)
        return err_set(err, E_INVALID, "invalid governance: invalid value: %s, expected %s",
                       json_kind(agent ? agent : votes), agent ? "a string" : "u32");
    if (json_integer_value(votes) > 0) return 0;
    return err_set(err, E_INVALID, "governance.approver.consensus quorum must be >= 1");
}

int guard_policy(const json_t *sent, json_t **ret, struct err *err)
{
    static const char *const members[] = { "write", "promote", "delete", "approver" };
    int rc = json_is_object(sent)
                 ? 0
                 : err_set(err, E_INVALID, "invalid governance: invalid type: %s, expected a map", json_kind(sent));
    *ret = NULL;
    for (size_t i = 0; rc == 0 && i < 3; i++) rc = policy_word(json_object_get(sent, members[i]), members[i], err);
    if (rc == 0) rc = policy_approver(json_object_get(sent, "approver"), err);
    if (rc) return rc;
    *ret = json_object();
    for (size_t i = 0; i < 4; i++) json_object_set(*ret, members[i], json_object_get(sent, members[i]));
    return 0;
}

/* ---- waiting for approval ---------------------------------------------------------------------------------------- */

/* The payload as an approval replays it: the whole memory, or which one is meant. */
static json_t *payload_of(const struct guard *g, const char *now)
{
    struct memory m = *g->memory;
    if (g->action == GUARD_DELETE) return json_pack("{s:s, s:s}", "id", m.id, "title", m.title);
    if (g->action == GUARD_PROMOTE) return json_pack("{s:s, s:s?}", "id", m.id, "to_namespace", g->to_ns);
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

/* The same request but for what each attempt draws anew. */
static bool same_payload(const struct guard *g, const char *waiting, const char *now)
{
    static const char *const drawn[] = { "id", "created_at", "updated_at", "expires_at" };
    json_t *mine = payload_of(g, now), *theirs = json_parse(waiting, strlen(waiting), NULL, 0, NULL);
    for (size_t i = 0; g->action == GUARD_STORE && i < sizeof(drawn) / sizeof(drawn[0]); i++) {
        json_object_del(mine, drawn[i]);
        json_object_del(theirs, drawn[i]);
    }
    bool same = json_equal(mine, theirs);
    json_decref(mine);
    json_decref(theirs);
    return same;
}

/* An earlier attempt of the same agent that waits already: it is asked for once. E_NOT_FOUND. */
static int queued_before(struct op_ctx *c, const struct guard *g, const char *now, struct reply *r)
{
    struct pending_rows rows;
    struct side_row side;
    const char *memory_id = g->action == GUARD_STORE ? NULL : g->memory->id;
    int rc = c->tx->v->pending_list(c->tx, "pending", TWINS_MAX, c->env->limits.page_bytes_max, c->arena, &rows);
    for (size_t i = 0; rc == 0 && i < rows.count; i++) {
        const struct pending *p = &rows.item[i];
        if (strcmp(p->action, verb[g->action]) != 0 || strcmp(p->ns, g->ns) != 0) continue;
        if (strcmp(p->requested_by, g->agent_id) != 0 || !same_payload(g, p->payload, now)) continue;
        rc = c->tx->v->side_get(c->tx, SIDE_PENDING, p->id, c->arena, &side);
        if (rc) return rc;
        r->wait_for = side.stamp;
        return reply_queued(p->id, p->action, p->ns, memory_id, r);
    }
    return rc ? rc : E_NOT_FOUND;
}

static int queue(struct op_ctx *c, const struct guard *g, struct reply *r)
{
    char now[TIME_TEXT];
    time_print(now, c->now_us);
    int before = queued_before(c, g, now, r);
    if (before != E_NOT_FOUND) return before ? before : E_PENDING;
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

/* ---- the check --------------------------------------------------------------------------------------------------- */
static int ask_approval(struct op_ctx *c, const struct guard *g, struct reply *r)
{
    bool waits = g->action != GUARD_UPDATE && !g->at_once;
    return waits ? queue(c, g, r) : deny(c, g, "governance: approval is required");
}

/* The standard of a namespace, if it holds a policy. E_NOT_FOUND. */
static int find_policy(struct op_ctx *c, const char *ns, struct row *ret)
{
    const char *standard_id, *parent;
    int rc = c->tx->v->standard_of(c->tx, ns, c->arena, &standard_id, &parent);
    if (rc == 0 && standard_id == NULL) rc = E_NOT_FOUND;
    if (rc == 0) rc = c->tx->v->get(c->tx, standard_id, c->arena, ret);
    return rc == 0 && !metadata_has(ret->m.metadata, "governance") ? E_NOT_FOUND : rc;
}

int guard_approver(struct op_ctx *c, const char *ns, struct approver *ret)
{
    struct row standard;
    *ret = (struct approver){ 0 };
    int rc = find_policy(c, ns, &standard);
    if (rc) return rc == E_NOT_FOUND ? 0 : rc;
    json_t *doc = metadata_json(standard.m.metadata),
           *who = json_object_get(json_object_get(doc, "governance"), "approver");
    json_t *agent = json_object_get(who, "agent"), *votes = json_object_get(who, "consensus");
    if (!approver_ok(who))
        rc = err_set(c->err, E_DENIED, "governance: the policy of the namespace cannot be read");
    else if (agent)
        ret->agent = arena_strdup(c->arena, json_string_value(agent));
    else if (votes)
        ret->votes = json_integer_value(votes);
    json_decref(doc);
    return rc;
}

int guard_check(struct op_ctx *c, const struct guard *g, struct reply *r)
{
    struct row standard;
    int rc = find_policy(c, g->ns, &standard);
    if (rc) return rc == E_NOT_FOUND ? 0 : rc;
    switch (read_policy(standard.m.metadata, g->action)) {
    case LEVEL_ANY: return 0;
    case LEVEL_REGISTERED: return check_registered(c, g);
    case LEVEL_OWNER: return check_owner(c, g, &standard.m);
    case LEVEL_APPROVE: return ask_approval(c, g, r);
    default: return deny(c, g, "governance: the policy of the namespace cannot be read");
    }
}
