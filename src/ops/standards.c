/* standards.c - the memory that holds the rules of a namespace, its policy, and the chain of standards above it. */
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "ops/beside.h"
#include "ops/guard.h"
#include "store/change.h"

#define HOPS_MAX 8
#define CHAIN_MAX 80

#define AT(member) offsetof(struct standard_args, member)
#define NAMESPACE                                                                 \
    {                                                                             \
        "namespace", ARG_TEXT, AT(ns), ARG_REQUIRED | ARG_PATH, ON_HTTP | ON_MCP, \
            .rule = arg_rule_namespace, .doc = "The namespace; * stands for all"  \
    }
const struct arg standard_set_arg[] = {
    NAMESPACE,
    { "id", ARG_TEXT, AT(id), ARG_REQUIRED, ON_MCP, .rule = arg_rule_id, .doc = "Whole id of the memory" },
    { "own_id", ARG_TEXT, AT(own_id), ARG_OPTION, ON_HTTP, .at = { [DOOR_HTTP] = { .name = "id" } },
      .rule = arg_rule_id, .doc = "Whole id of the memory; without it the present one, or a new one" },
    { "parent", ARG_TEXT, AT(parent), ARG_OPTION, ON_HTTP | ON_MCP, .rule = arg_rule_namespace,
      .doc = "The namespace whose standards come before" },
    { "governance", ARG_OBJECT, AT(governance), ARG_OPTION | ARG_STRICT, ON_HTTP | ON_MCP,
      .doc = "Policy: write, promote, delete (any, registered, owner, approve) and approver" },
    { 0 },
};
const struct arg standard_get_arg[] = {
    NAMESPACE,
    { "inherit", ARG_BOOL, AT(inherit), 0, ON_HTTP | ON_MCP, .doc = "The whole chain above it too" },
    { 0 },
};
const struct arg standard_clear_arg[] = { NAMESPACE, { 0 } };
#undef AT

static int standard_of(struct op_ctx *c, const char *ns, const char **ret_id, const char **ret_parent)
{
    *ret_id = *ret_parent = NULL;
    int rc = c->tx->v->standard_of(c->tx, ns, c->arena, ret_id, ret_parent);
    return rc == 0 && *ret_id == NULL ? E_NOT_FOUND : rc;
}

/* ---- set --------------------------------------------------------------------------------------------------------- */
/* The longest beginning of the name, cut at a '-', that has a standard. */
static int find_parent(struct op_ctx *c, const char *ns, const char **ret)
{
    char *name = arena_strdup(c->arena, ns), *dash;
    const char *id, *parent;
    *ret = NULL;
    while (name && (dash = strrchr(name, '-')) != NULL) {
        *dash = '\0';
        int rc = name[0] ? standard_of(c, name, &id, &parent) : E_NOT_FOUND;
        if (rc == 0) *ret = name;
        if (rc != E_NOT_FOUND) return rc;
    }
    return 0;
}

/* Without an id: the namespace's own standard, else one is made. *ret_new: it is not stored yet. */
static int find_standard(struct op_ctx *c, const struct standard_args *a, struct row *ret, bool *ret_new)
{
    const char *id, *parent;
    *ret_new = false;
    const struct str *given = a->id.s ? &a->id : &a->own_id;
    if (given->s) return exact_find(c, given, "id", "memory", ret);
    int rc = standard_of(c, a->ns.s, &id, &parent);
    if (rc == 0) rc = c->tx->v->get(c->tx, id, c->arena, ret);
    if (rc != E_NOT_FOUND) return rc;
    const char *title = arena_printf(c->arena, "_standard:%s", a->ns.s);
    if (title == NULL) return err_set(c->err, E_TOO_LARGE, "too many texts");
    rc = c->tx->v->by_title(c->tx, title, a->ns.s, c->arena, ret);
    if (rc != E_NOT_FOUND) return rc;
    *ret_new = true;
    *ret = (struct row){ .m = { .id = ids_next(c->ids),
                                .ns = a->ns.s,
                                .title = title,
                                .content = arena_printf(c->arena, "The standard of the namespace %s.", a->ns.s),
                                .tags = "[]",
                                .source = "system",
                                .tier = TIER_LONG,
                                .priority = 5,
                                .confidence = 1.0 } };
    return metadata_stamp(c, NULL, c->caller->agent_id, NULL, NULL, &ret->m.metadata);
}

static int with_policy(struct op_ctx *c, const struct row *row, json_t *policy, const char **ret)
{
    json_t *o = metadata_json(row->m.metadata);
    json_object_set(o, "governance", policy);
    *ret = json_arena(c->arena, o, NULL);
    int rc = *ret ? arg_rule_metadata_stamped(&o, c->now_us, c->err) : err_set(c->err, E_TOO_LARGE, "too large");
    json_decref(o);
    return rc;
}

static int set_standard(struct op_ctx *c, const struct standard_args *a, const struct row *row, bool fresh,
                        json_t *policy, const char *parent)
{
    struct memory m = row->m;
    int rc = policy ? with_policy(c, row, policy, &m.metadata) : 0;
    if (rc == 0 && (policy || fresh)) rc = change_memory(c->change, &m, fresh ? NULL : row, NULL);
    return rc ? rc : change_standard(c->change, a->ns.s, m.id, parent);
}

static int reply_standard(struct reply *r, const struct standard_args *a, const char *id)
{
    int rc = reply_set(r, "{s:b, s:s, s:s}", "set", 1, "namespace", a->ns.s, "standard_id", id);
    if (rc == 0 && a->parent.s) json_object_set_new(r->doc, "parent", json_string(a->parent.s));
    if (rc == 0 && json_is_object(a->governance)) json_object_set(r->doc, "governance", a->governance);
    return rc;
}

int op_standard_set(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct standard_args *a = args;
    const char *parent = a->parent.s;
    json_t *policy = NULL;
    struct row row;
    bool fresh = false;
    int rc = a->governance && !json_is_null(a->governance) ? guard_policy(a->governance, &policy, c->err) : 0;
    if (rc == 0 && parent && strcmp(parent, a->ns.s) == 0)
        rc = err_arg(c->err, E_INVALID, "parent", "namespace cannot be its own parent");
    if (rc == 0) rc = find_standard(c, a, &row, &fresh);
    if (rc == 0 && parent == NULL) rc = find_parent(c, a->ns.s, &parent);
    if (rc == 0) {
        change_group_begin(c->change);
        rc = set_standard(c, a, &row, fresh, policy, parent);
        int end = change_group_end(c->change);
        if (rc == 0) rc = end;
    }
    json_decref(policy);
    if (rc == 0 && !fresh && a->governance == NULL) r->wait_for = row.stamp; /* an earlier attempt may have made it */
    return rc ? rc : reply_standard(r, a, row.m.id);
}

/* ---- get --------------------------------------------------------------------------------------------------------- */
/* The policy as it is shown: its own, or what a namespace without one shows. */
static json_t *shown_policy(const struct memory *m)
{
    json_t *doc = metadata_json(m->metadata), *own = json_object_get(doc, "governance"), *policy = NULL;
    if (own && guard_policy(own, &policy, NULL) != 0) policy = NULL;
    json_decref(doc);
    if (policy) return policy;
    return json_pack("{s:s, s:s, s:s, s:s}", "write", "any", "promote", "any", "delete", "owner", "approver", "human");
}

static json_t *standard_json(const char *ns, const struct memory *m)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:o}", "namespace", ns, "standard_id", m->id, "title", m->title,
                     "content", m->content, "priority", m->priority, "governance", shown_policy(m));
}

struct chain {
    const char *ns[CHAIN_MAX];
    size_t count;
};

static bool in_chain(const struct chain *x, const char *ns)
{
    for (size_t i = 0; i < x->count; i++)
        if (strcmp(x->ns[i], ns) == 0) return true;
    return false;
}

static void chain_add(struct chain *x, const char *ns)
{
    if (ns && x->count < CHAIN_MAX) x->ns[x->count++] = ns;
}

static void reverse(const char **item, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        const char *swap = item[i];
        item[i] = item[count - 1 - i];
        item[count - 1 - i] = swap;
    }
}

/* '*', the explicit parents of the path's root (the most distant first), then the path down to the namespace. */
static int chain_of(struct op_ctx *c, const char *ns, struct chain *ret)
{
    struct chain path = { .count = 0 };
    const char *id, *parent;
    *ret = (struct chain){ .ns = { "*" }, .count = 1 };
    if (strcmp(ns, "*") == 0) return 0;
    for (const char *at = ns; at; at = namespace_parent(at, c->arena)) chain_add(&path, at);
    const char *at = path.ns[path.count - 1];
    for (int hop = 0; hop < HOPS_MAX; hop++) {
        int rc = standard_of(c, at, &id, &parent);
        if (rc && rc != E_NOT_FOUND) return rc;
        if (rc || parent == NULL || strcmp(parent, "*") == 0 || in_chain(ret, parent) || in_chain(&path, parent)) break;
        chain_add(ret, at = parent);
    }
    reverse(ret->ns + 1, ret->count - 1);
    while (path.count > 0) chain_add(ret, path.ns[--path.count]);
    return 0;
}

static int reply_chain(struct op_ctx *c, const char *ns, struct reply *r)
{
    struct chain chain;
    json_t *names = json_array(), *list = json_array();
    int rc = chain_of(c, ns, &chain);
    for (size_t i = 0; rc == 0 && i < chain.count; i++) {
        const char *id, *parent;
        struct row row;
        json_array_append_new(names, json_string(chain.ns[i]));
        rc = standard_of(c, chain.ns[i], &id, &parent);
        if (rc == 0) rc = c->tx->v->get(c->tx, id, c->arena, &row);
        if (rc == 0) json_array_append_new(list, standard_json(chain.ns[i], &row.m));
        if (rc == E_NOT_FOUND) rc = 0;
    }
    if (rc) {
        json_decref(names);
        json_decref(list);
        return rc;
    }
    return reply_set(r, "{s:s, s:o, s:I, s:o}", "namespace", ns, "chain", names, "count",
                     (json_int_t)json_array_size(list), "standards", list);
}

int op_standard_get(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct standard_args *a = args;
    const char *id, *parent;
    struct row row;
    if (a->inherit) return reply_chain(c, a->ns.s, r);
    int rc = standard_of(c, a->ns.s, &id, &parent);
    if (rc == 0) rc = c->tx->v->get(c->tx, id, c->arena, &row);
    if (rc == E_NOT_FOUND) return reply_set(r, "{s:s, s:n}", "namespace", a->ns.s, "standard_id");
    if (rc) return rc;
    json_decref(r->doc);
    r->doc = standard_json(a->ns.s, &row.m);
    if (r->doc && parent) json_object_set_new(r->doc, "parent", json_string(parent));
    return r->doc ? 0 : E_INTERNAL;
}

/* ---- clear ------------------------------------------------------------------------------------------------------- */
int op_standard_clear(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct standard_args *a = args;
    const char *id, *parent;
    struct side_row side;
    int shown = standard_of(c, a->ns.s, &id, &parent);
    int record = c->tx->v->side_get(c->tx, SIDE_STANDARD, a->ns.s, c->arena, &side);
    if (shown && shown != E_NOT_FOUND) return shown;
    if (record && record != E_NOT_FOUND) return record;
    int rc = shown == 0 || record == 0 ? change_standard(c->change, a->ns.s, NULL, NULL) : 0;
    return rc ? rc : reply_set(r, "{s:b, s:s}", "cleared", shown == 0, "namespace", a->ns.s);
}
