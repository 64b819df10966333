/* members.c - taking a node out of the mesh. A member that stays away holds back what all others would forget: ops
 * of the log, deletions. Only a person can know that it will not come back. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "ops/table.h"
#include "store/change.h"

const struct arg member_arg[] = {
    { "node", ARG_TEXT, offsetof(struct member_args, node), ARG_REQUIRED | ARG_PATH | ARG_POSITIONAL, ON_ALL,
      .doc = "Id of the node, as the status tells it" },
    { 0 },
};

static bool node_id(const struct str *text, uint64_t *ret)
{
    char *stop;
    if (text->len == 0 || text->len > 19 || strspn(text->s, "0123456789") != text->len) return false;
    *ret = strtoull(text->s, &stop, 10);
    return *ret != 0 && *ret <= INT64_MAX;
}

int op_member_remove(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct member_args *a = args;
    struct member m;
    uint64_t node;
    if (!node_id(&a->node, &node)) return err_arg(c->err, E_INVALID, "node", "node is no id of a node");
    if (node == c->change->origin.node)
        return err_arg(c->err, E_INVALID, "node", "a node cannot remove itself: ask another one");
    int rc = change_member_get(c->tx, node, c->arena, &m);
    if (rc == E_NOT_FOUND) return err_arg(c->err, rc, "node", "no such member: %.*s", (int)a->node.len, a->node.s);
    if (rc) return rc;
    r->changed = m.state != MEMBER_REMOVED;
    m.state = MEMBER_REMOVED;
    if (r->changed) rc = change_member(c->change, &m);
    return rc ? rc : reply_set(r, "{s:b, s:o, s:s}", "removed", 1, "node", json_id(node), "url", m.url);
}
