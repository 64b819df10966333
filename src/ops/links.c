/* links.c - links between memories: making, removing, reading them; and resolving a contradiction by one. */
#include <string.h>

#include "base/clock.h"
#include "ops/beside.h"
#include "ops/guard.h"
#include "store/change.h"

static const char *const relation_words[] = { "related_to", "supersedes", "contradicts", "derived_from", NULL };

#define AT(member) offsetof(struct link_args, member)
#define END(field, member)                                                                                         \
    {                                                                                                              \
        field, ARG_TEXT, AT(member), ARG_REQUIRED | ARG_POSITIONAL, ON_ALL, .rule = arg_rule_id, .doc = "Whole id" \
    }
const struct arg link_arg[] = {
    END("source_id", source_id),
    END("target_id", target_id),
    { "relation", ARG_TEXT, AT(relation), 0, ON_ALL, relation_words, .letter = 'r', .rule = arg_rule_relation,
      .at = { { .dflt = "related_to" }, { .dflt = "related_to" }, { .dflt = "related_to" } },
      .doc = "What the source is to the target" },
    { 0 },
};
const struct arg unlink_arg[] = {
    END("source_id", source_id),
    END("target_id", target_id),
    { "relation", ARG_TEXT, AT(relation), ARG_OPTION, ON_ALL, relation_words, .rule = arg_rule_relation,
      .doc = "Only this relation; without it, all of them" },
    { 0 },
};
const struct arg whole_link_arg[] = {
    { "source_id", ARG_TEXT, AT(source_id), ARG_REQUIRED, ON_ALL, .rule = arg_rule_id },
    { "target_id", ARG_TEXT, AT(target_id), ARG_REQUIRED, ON_ALL, .rule = arg_rule_id },
    { "relation", ARG_TEXT, AT(relation), ARG_REQUIRED, ON_ALL, .rule = arg_rule_relation },
    { "created_at", ARG_TEXT, AT(created_at), ARG_REQUIRED, ON_ALL, .doc = "Not kept" },
    { 0 },
};
#undef AT
#undef END

const struct arg exact_id_arg[] = {
    { "id", ARG_TEXT, offsetof(struct id_args, id), ARG_REQUIRED | ARG_PATH | ARG_POSITIONAL, ON_ALL,
      .rule = arg_rule_id, .doc = "Whole id" },
    { 0 },
};

#define AT(member) offsetof(struct resolve_args, member)
const struct arg resolve_arg[] = {
    { "winner_id", ARG_TEXT, AT(winner_id), ARG_REQUIRED | ARG_POSITIONAL, ON_CLI, .rule = arg_rule_id,
      .doc = "The memory that holds" },
    { "loser_id", ARG_TEXT, AT(loser_id), ARG_REQUIRED | ARG_POSITIONAL, ON_CLI, .rule = arg_rule_id,
      .doc = "The memory it supersedes" },
    { 0 },
};
#undef AT

int exact_find(struct op_ctx *c, const struct str *id, const char *arg, const char *what, struct row *ret)
{
    int rc = change_find(c->tx, id->s, false, c->arena, ret, NULL);
    return rc == E_NOT_FOUND ? err_arg(c->err, rc, arg, "%s not found: %s", what, id->s) : rc;
}

static int find_ends(struct op_ctx *c, const struct str *from, const struct str *to, struct row *source,
                     struct row *target)
{
    if (strcmp(from->s, to->s) == 0) return err_arg(c->err, E_INVALID, "target_id", "cannot link a memory to itself");
    int rc = exact_find(c, from, "source_id", "source memory", source);
    if (rc == 0) rc = exact_find(c, to, "target_id", "target memory", target);
    if (rc == 0 && strcmp(source->m.id, target->m.id) == 0)
        return err_arg(c->err, E_INVALID, "target_id", "cannot link a memory to itself");
    return rc;
}

/* ---- link, unlink, links ----------------------------------------------------------------------------------------- */
int op_link(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct link_args *a = args;
    struct row source, target;
    int rc = find_ends(c, &a->source_id, &a->target_id, &source, &target);
    if (rc) return rc;
    struct link link = { source.m.id, target.m.id, a->relation.s, NULL };
    rc = change_link(c->change, &link);
    return rc ? rc
              : reply_set(r, "{s:b, s:s, s:s, s:s}", "linked", 1, "source_id", a->source_id.s, "target_id",
                          a->target_id.s, "relation", a->relation.s);
}

int op_unlink(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct link_args *a = args;
    int removed = 0;
    change_group_begin(c->change);
    int rc = 0;
    for (size_t i = 0; rc == 0 && relation_words[i]; i++) {
        struct link link = { a->source_id.s, a->target_id.s, relation_words[i], NULL };
        if (a->relation.s && strcmp(a->relation.s, link.relation) != 0) continue;
        rc = change_unlink(c->change, &link);
        removed += rc == 0;
        if (rc == E_NOT_FOUND) rc = 0;
    }
    int end = change_group_end(c->change);
    if (rc || end) return rc ? rc : end;
    return reply_set(r, "{s:b, s:i}", "deleted", removed > 0, "removed", removed);
}

int op_links(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct id_args *a = args;
    struct row row;
    struct links links = { 0 };
    int rc = change_find(c->tx, a->id.s, false, c->arena, &row, NULL);
    if (rc == 0) rc = c->tx->v->links_of(c->tx, row.m.id, c->arena, &links);
    if (rc && rc != E_NOT_FOUND) return rc;
    json_t *list = json_array();
    for (size_t i = 0; i < links.count; i++) json_array_append_new(list, link_json(&links.item[i]));
    return reply_set(r, "{s:I, s:o}", "count", (json_int_t)links.count, "links", list);
}

/* ---- resolve ----------------------------------------------------------------------------------------------------- */
static int demote(struct op_ctx *c, const struct row *winner, const struct row *loser)
{
    struct link link = { winner->m.id, loser->m.id, "supersedes", NULL };
    struct memory m = loser->m;
    m.priority = 1;
    m.confidence = 0.1;
    int rc = change_link(c->change, &link);
    return rc ? rc : change_memory(c->change, &m, loser, NULL);
}

int op_resolve(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct resolve_args *a = args;
    struct row winner, loser;
    int rc = find_ends(c, &a->winner_id, &a->loser_id, &winner, &loser);
    if (rc) return rc;
    struct guard g = { .action = GUARD_UPDATE, .ns = loser.m.ns, .agent_id = c->caller->agent_id, .memory = &loser.m };
    rc = guard_check(c, &g, r);
    if (rc) return rc;
    change_group_begin(c->change);
    rc = demote(c, &winner, &loser);
    int end = change_group_end(c->change);
    if (rc == 0) rc = end ? end : change_touch(c->change, winner.m.id, c->now_us, 1);
    return rc ? rc : reply_set(r, "{s:b, s:s, s:s}", "resolved", 1, "winner", a->winner_id.s, "loser", a->loser_id.s);
}
