/* pending.c - actions that wait for a decision: list, approve, reject. An approval and what it allows are one op; what
 * cannot be carried out is not approved. Votes of several nodes join. Where they come to be enough by joining, the node
 * that sees it carries the action out: with ids made of the action's, as of the vote that decided, so that doubles are
 * one and undo nothing done since. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/id.h"
#include "base/json.h"
#include "ops/beside.h"
#include "ops/guard.h"
#include "store/change.h"

#define SETTLE_ARENA (16u << 20)

#define AT(member) offsetof(struct pending_list_args, member)
const struct arg pending_list_arg[] = {
    { "status", ARG_TEXT, AT(status), ARG_OPTION, ON_ALL, .doc = "Only pending, approved or rejected ones" },
    { "limit", ARG_UINT, AT(limit), ARG_CLAMP, ON_ALL,
      .at = { { .dflt = "100", .max = 1000 }, { .dflt = "100", .max = 1000 }, { .dflt = "100" } },
      .doc = "Rows at most" },
    { 0 },
};
#undef AT

#define AT(member) offsetof(struct decide_args, member)
const struct arg decide_arg[] = {
    { "id", ARG_TEXT, AT(id), ARG_REQUIRED | ARG_PATH | ARG_POSITIONAL, ON_ALL, .rule = arg_rule_id,
      .doc = "The pending action's id" },
    { "agent_id", ARG_TEXT, AT(agent_id), ARG_OPTION | ARG_HIDDEN, ON_MCP, .rule = arg_rule_agent,
      .doc = "Who decides" },
    { 0 },
};
#undef AT

/* ---- list -------------------------------------------------------------------------------------------------------- */
static json_t *parsed(const char *text, bool list)
{
    json_t *v = json_parse(text, strlen(text), NULL, 0, NULL);
    if (v == NULL || (list && !json_is_array(v))) {
        json_decref(v);
        v = list ? json_array() : json_object();
    }
    return v;
}

static json_t *pending_json(const struct pending *p)
{
    json_t *o = json_pack("{s:s, s:s, s:s?, s:s, s:o, s:s, s:s, s:s, s:o}", "id", p->id, "action_type", p->action,
                          "memory_id", p->memory_id, "namespace", p->ns, "payload", parsed(p->payload, false),
                          "requested_by", p->requested_by, "requested_at", p->requested_at, "status", p->status,
                          "approvals", parsed(p->approvals, true));
    if (p->decided_by) json_object_set_new(o, "decided_by", json_string(p->decided_by));
    if (p->decided_at) json_object_set_new(o, "decided_at", json_string(p->decided_at));
    return o;
}

int op_pending_list(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct pending_list_args *a = args;
    struct pending_rows rows = { 0 };
    bool odd = a->status.s && strlen(a->status.s) != a->status.len;
    int rc = 0;
    if (a->limit > 0 && !odd)
        rc = c->tx->v->pending_list(c->tx, a->status.s, (size_t)a->limit, c->env->limits.page_bytes_max, c->arena,
                                    &rows);
    if (rc) return rc;
    json_t *list = json_array();
    for (size_t i = 0; i < rows.count; i++) json_array_append_new(list, pending_json(&rows.item[i]));
    rc = reply_set(r, "{s:I, s:o}", "count", (json_int_t)rows.count, "pending", list);
    if (rc == 0 && rows.more) json_object_set_new(r->doc, "more", json_true());
    return rc;
}

/* ---- carrying out ------------------------------------------------------------------------------------------------ */
/* The memory an approved action makes: the same wherever it is approved. */
static void made_id(const char *pending_id, char ret[UUID_TEXT])
{
    uint8_t hash[32];
    char seed[200];
    int len = snprintf(seed, sizeof(seed), "approved %s", pending_id);
    sha256(seed, (size_t)len < sizeof(seed) ? (size_t)len : sizeof(seed) - 1, hash);
    uuid_from_hash(ret, hash);
}

static int cannot(struct op_ctx *c, int rc, const char *why)
{
    return err_arg(c->err, rc, "id", "approve rejected: %s", why);
}

static int do_store(struct op_ctx *c, json_t *payload, const char **ret_id)
{
    struct memory_args *a = arena_alloc(c->arena, sizeof(*a));
    struct memory m;
    struct row old, made;
    struct err why = { 0 };
    if (a == NULL || args_from_json(memory_arg, DOOR_HTTP, payload, c->arena, a, &why) != 0)
        return cannot(c, E_CONFLICT, "what was asked for cannot be read");
    int rc = memory_from_args(c, a, &m);
    if (rc) return rc;
    m.id = ids_next(c->ids);
    m.created_at = m.last_accessed_at = NULL;
    m.access_count = 0;
    rc = c->tx->v->by_title(c->tx, m.title, m.ns, c->arena, &old);
    bool existed = rc == 0;
    if (rc && rc != E_NOT_FOUND) return rc;
    if (existed) {
        json_t *sent = metadata_json(m.metadata);
        rc = metadata_stamp(c, sent, NULL, NULL, old.m.metadata, &m.metadata);
        json_decref(sent);
        if (rc) return rc;
        memory_over(&m, &old.m);
    }
    *ret_id = arena_strdup(c->arena, m.id);
    return *ret_id ? change_memory(c->change, &m, existed ? &old : NULL, &made) : E_TOO_LARGE;
}

/* On an existing memory: delete, promote. */
static int do_on_memory(struct op_ctx *c, const struct pending *p, const json_t *payload, const char **ret_id)
{
    struct row row, after;
    const char *to_ns = json_string_value(json_object_get(payload, "to_namespace"));
    const char *id = p->memory_id ? p->memory_id : json_string_value(json_object_get(payload, "id"));
    struct str text = { id ? id : "", id ? strlen(id) : 0 };
    int rc = exact_find(c, &text, "id", "approve rejected: memory", &row);
    if (rc) return rc;
    *ret_id = arena_strdup(c->arena, row.m.id);
    if (strcmp(p->action, "delete") == 0) return change_delete(c->change, &row);
    if (strcmp(p->action, "promote") != 0) return cannot(c, E_CONFLICT, "the action is not known here");
    rc = promote_row(c, &row, to_ns, &after);
    if (rc == 0) *ret_id = arena_strdup(c->arena, after.m.id);
    return rc;
}

static int carry_out(struct op_ctx *c, const struct pending *p, const char **ret_id)
{
    json_t *payload = parsed(p->payload, false);
    struct ids *before = c->ids, own = { .used = 0 };
    *ret_id = NULL;
    made_id(p->id, own.id[0]);
    c->ids = &own;
    int rc = strcmp(p->action, "store") == 0 ? do_store(c, payload, ret_id) : do_on_memory(c, p, payload, ret_id);
    c->ids = before;
    json_decref(payload);
    return rc;
}

/* ---- deciding ---------------------------------------------------------------------------------------------------- */
static bool waits(const struct pending *p)
{
    return strcmp(p->status, "pending") == 0;
}

static const char *lower(struct arena *a, const char *s)
{
    char *copy = arena_strdup(a, s);
    for (char *p = copy; p && *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p | 0x20);
    return copy;
}

static const char *now_text(struct op_ctx *c)
{
    return time_after(c, 0);
}

static int write_decision(struct op_ctx *c, struct pending *p, const char *status, const char *agent, const char *at)
{
    p->status = status;
    p->decided_by = agent;
    p->decided_at = at;
    return change_pending(c->change, p);
}

/* What was asked for and that it was approved: one op. */
static int approve(struct op_ctx *c, struct pending *p, const char *agent, const char *at, const char **ret_id)
{
    change_group_begin(c->change);
    int rc = carry_out(c, p, ret_id);
    if (rc == 0) rc = write_decision(c, p, "approved", agent, at);
    int end = change_group_end(c->change);
    return rc ? rc : end;
}

/* A name is needed: a request without one may be anybody's. */
static int decider(struct op_ctx *c, const struct decide_args *a, const char *verb, const char **ret)
{
    int rc = op_agent(c, &a->agent_id, ret);
    if (rc == 0 && c->caller->door == DOOR_HTTP && c->caller->anonymous)
        rc = err_set(c->err, E_DENIED, "%s rejected: a decision needs X-Agent-Id", verb);
    return rc;
}

/* Adds the vote to p's list; *ret_new: it was not there. Returns how many there are. */
static json_int_t vote(struct op_ctx *c, struct pending *p, const char *agent, bool *ret_new)
{
    json_t *list = parsed(p->approvals, true), *one;
    const char *voter = lower(c->arena, agent);
    size_t i;
    *ret_new = true;
    json_array_foreach (list, i, one) {
        const char *who = json_string_value(json_object_get(one, "agent_id"));
        if (who && voter && strcmp(lower(c->arena, who), voter) == 0) *ret_new = false;
    }
    if (*ret_new) json_array_append_new(list, json_pack("{s:s, s:s}", "agent_id", voter, "approved_at", now_text(c)));
    p->approvals = json_arena(c->arena, list, NULL);
    json_int_t count = (json_int_t)json_array_size(list);
    json_decref(list);
    return count;
}

static int reply_votes(struct reply *r, const char *id, json_int_t votes, json_int_t quorum)
{
    r->status = 202;
    return reply_set(r, "{s:b, s:s, s:s, s:s, s:I, s:I}", "approved", 0, "id", id, "status", "pending", "reason",
                     "consensus threshold not yet reached", "votes", votes, "quorum", quorum);
}

static int reply_approved(struct reply *r, const char *id, const char *agent, const char *memory_id)
{
    return reply_set(r, "{s:b, s:b, s:s, s:s, s:s?}", "approved", 1, "executed", 1, "id", id, "decided_by", agent,
                     "memory_id", memory_id);
}

static int check_approver(struct op_ctx *c, const struct approver *who, const char *agent)
{
    if (who->agent && strcmp(who->agent, agent) != 0)
        return err_set(c->err, E_DENIED, "approve rejected: designated approver is '%s'; got '%s'", who->agent, agent);
    if (who->votes == 0) return 0;
    int rc = guard_registered(c, agent);
    if (rc != E_NOT_FOUND) return rc;
    return err_set(c->err, E_DENIED, "approve rejected: consensus voter '%s' is not a registered agent", agent);
}

/* An earlier attempt of the same agent may have decided so. E_NOT_FOUND: it was not that. */
static int decided_before(struct op_ctx *c, const struct pending *p, const char *status, const char *agent,
                          struct reply *r)
{
    struct side_row side;
    bool same = strcmp(p->status, status) == 0 && p->decided_by && strcasecmp(p->decided_by, agent) == 0;
    int rc = same ? c->tx->v->side_get(c->tx, SIDE_PENDING, p->id, c->arena, &side) : E_NOT_FOUND;
    if (rc == 0) r->wait_for = side.stamp;
    return rc;
}

static int find_open(struct op_ctx *c, const char *id, struct pending *ret)
{
    int rc = c->tx->v->pending_get(c->tx, id, c->arena, ret);
    if (rc == E_NOT_FOUND) return err_arg(c->err, rc, "id", "approve rejected: pending action not found: %s", id);
    if (rc || waits(ret)) return rc;
    return err_arg(c->err, E_CONFLICT, "id", "approve rejected: already decided: status=%s", ret->status);
}

static int reply_decided(const struct pending *p, struct reply *r)
{
    char made[UUID_TEXT];
    made_id(p->id, made);
    return reply_approved(r, p->id, p->decided_by ? p->decided_by : "",
                          strcmp(p->action, "store") == 0 ? made : p->memory_id);
}

int op_approve(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct decide_args *a = args;
    struct pending p;
    struct approver who;
    const char *agent, *memory_id;
    int rc = find_open(c, a->id.s, &p);
    if (rc && rc != E_NOT_FOUND && rc != E_CONFLICT) return rc;
    struct err found = *c->err;
    int named = decider(c, a, "approve", &agent);
    if (named == E_INVALID || rc == 0)
        rc = named; /* a bad name is told first, a missing one last */
    else
        *c->err = found;
    if (rc == E_CONFLICT && named == 0 && decided_before(c, &p, "approved", agent, r) == 0) {
        r->afterwards = rc;
        return reply_decided(&p, r);
    }
    if (rc == 0) rc = guard_approver(c, p.ns, &who);
    if (rc == 0) rc = check_approver(c, &who, agent);
    if (rc) return rc;
    bool fresh = false;
    json_int_t votes = who.votes > 0 ? vote(c, &p, agent, &fresh) : 0;
    if (votes < who.votes) {
        rc = fresh ? change_pending(c->change, &p) : 0;
        return rc ? rc : reply_votes(r, p.id, votes, who.votes);
    }
    rc = approve(c, &p, who.votes > 0 ? lower(c->arena, agent) : agent, now_text(c), &memory_id);
    return rc ? rc : reply_approved(r, p.id, agent, memory_id);
}

static int reply_rejected(struct reply *r, const char *id, const char *agent)
{
    return reply_set(r, "{s:b, s:s, s:s}", "rejected", 1, "id", id, "decided_by", agent);
}

int op_reject(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct decide_args *a = args;
    struct pending p;
    const char *agent = NULL;
    int rc = c->tx->v->pending_get(c->tx, a->id.s, c->arena, &p);
    bool found = rc == 0, open = found && waits(&p);
    if (rc && rc != E_NOT_FOUND) return rc;
    rc = decider(c, a, "reject", &agent);
    if (rc != E_INVALID && !open) {
        bool before = rc == 0 && found && decided_before(c, &p, "rejected", agent, r) == 0;
        rc = err_arg(c->err, E_NOT_FOUND, "id", "pending action not found or already decided: %s", a->id.s);
        if (!before) return rc;
        r->afterwards = rc;
        return reply_rejected(r, p.id, agent);
    }
    if (rc == 0) rc = write_decision(c, &p, "rejected", agent, now_text(c));
    return rc ? rc : reply_rejected(r, p.id, agent);
}

/* ---- votes that joined ------------------------------------------------------------------------------------------- */
/* The vote that made them enough; false: they are not. */
static bool deciding_vote(struct op_ctx *c, const struct pending *p, json_int_t needed, const char **agent,
                          const char **at)
{
    json_t *list = parsed(p->approvals, true), *vote = NULL;
    if (needed > 0 && (json_int_t)json_array_size(list) >= needed) vote = json_array_get(list, (size_t)needed - 1);
    const char *who = json_string_value(json_object_get(vote, "agent_id"));
    const char *when = json_string_value(json_object_get(vote, "approved_at"));
    *agent = who ? arena_strdup(c->arena, who) : NULL;
    *at = when ? arena_strdup(c->arena, when) : NULL;
    json_decref(list);
    return *agent && *at;
}

static int settle_one(struct op_ctx *c, const char *id)
{
    struct pending p;
    struct approver who;
    const char *agent, *at, *memory_id;
    int rc = c->tx->v->pending_get(c->tx, id, c->arena, &p);
    if (rc || !waits(&p)) return rc == E_NOT_FOUND ? 0 : rc;
    rc = guard_approver(c, p.ns, &who);
    if (rc || !deciding_vote(c, &p, who.votes, &agent, &at)) return rc;
    change_as_of(c->change, at);
    rc = approve(c, &p, agent, at, &memory_id);
    change_as_of(c->change, NULL);
    return rc;
}

static bool refused(int rc)
{
    return rc == E_INVALID || rc == E_DENIED || rc == E_CONFLICT || rc == E_NOT_FOUND || rc == E_TOO_LARGE ||
           rc == E_TYPE || rc == E_SYNTAX || rc == E_MISSING;
}

int pending_settle(const struct op_env *env, struct change *change, size_t limit, char **after)
{
    struct arena arena;
    const char **ids;
    size_t count, done = 0;
    int rc = change_voted(change, &ids, &count);
    arena_init(&arena, SETTLE_ARENA);
    for (size_t i = 0; rc == 0 && i < count && done < limit; i++) {
        struct caller caller = { .door = DOOR_HTTP, .agent_id = "system", .default_ns = "global" };
        struct err err = { 0 };
        struct op_ctx c = { .tx = change->tx,
                            .change = change,
                            .caller = &caller,
                            .now_us = change->now_us,
                            .env = env,
                            .arena = &arena,
                            .err = &err };
        if (*after && strcmp(ids[i], *after) <= 0) continue;
        done++;
        mem_free(*after);
        *after = mem_strdup(ids[i]);
        rc = change_savepoint(change, &err);
        if (rc) break;
        int one = settle_one(&c, ids[i]);
        rc = change_savepoint_end(change, one == 0, NULL);
        if (one && !refused(one)) rc = one; /* what is refused waits on */
        arena_release(&arena);
    }
    arena_release(&arena);
    return rc == 0 && done == limit ? E_AGAIN : rc;
}
