/* get.c - reading one memory: here, or as the newest of several nodes know it (consistency=quorum, HTTP). For that the
 * operation runs twice: first it names the row it needs the others' word on (E_NEED), then it is given their rows. */
#include <string.h>

#include "base/json.h"
#include "ops/table.h"
#include "store/change.h"

static const char *const consistency_words[] = { "local", "quorum", NULL };

#define AT(member) offsetof(struct get_args, member)
const struct arg get_arg[] = {
    { "id", ARG_TEXT, AT(id), ARG_REQUIRED | ARG_PATH | ARG_POSITIONAL, ON_ALL, .rule = arg_rule_id,
      .doc = "Id, or the beginning of one that fits no other" },
    { "consistency", ARG_WORD, AT(consistency), ARG_OPTION, ON_HTTP, consistency_words,
      .doc = "quorum: the newest of so many nodes that one of them has every acknowledged write" },
    { 0 },
};
#undef AT

const struct arg sync_row_arg[] = {
    { "id", ARG_TEXT, offsetof(struct id_args, id), ARG_REQUIRED, ON_HTTP, .rule = arg_rule_id,
      .doc = "Id, of a memory shown or one that rests behind it" },
    { 0 },
};

/* What a node knows of an id. A tombstone is a version, too. */
struct view {
    struct stamp stamp;
    bool deleted;
    json_t *memory, *links; /* owned by who made them; NULL: not found or deleted */
};

static json_t *links_list(const struct links *links)
{
    json_t *list = json_array();
    for (size_t i = 0; i < links->count; i++) json_array_append_new(list, link_json(&links->item[i]));
    return list;
}

static int view_of(struct op_ctx *c, const struct str *id, bool prefix, struct view *ret)
{
    struct row row;
    struct links links;
    struct side_row tomb;
    *ret = (struct view){ 0 };
    int rc = memory_find(c, id, prefix, &row);
    if (rc == 0) {
        rc = c->tx->v->links_of(c->tx, row.m.id, c->arena, &links);
        if (rc) return rc;
        *ret = (struct view){ .stamp = row.stamp, .memory = memory_json(&row.m), .links = links_list(&links) };
        return 0;
    }
    if (rc != E_NOT_FOUND) return rc;
    int gone = c->tx->v->side_get(c->tx, SIDE_TOMBSTONE, id->s, c->arena, &tomb);
    if (gone == 0) *ret = (struct view){ .stamp = tomb.stamp, .deleted = true };
    return gone == 0 || gone == E_NOT_FOUND ? rc : gone;
}

/* Another node's; it may say anything. */
static struct view view_from(const json_t *doc)
{
    uint64_t ver = json_id_value(json_object_get(doc, "ver")), stream = json_id_value(json_object_get(doc, "stream"));
    json_t *memory = json_object_get(doc, "memory"), *links = json_object_get(doc, "links");
    struct view v = { .deleted = json_is_true(json_object_get(doc, "deleted")) };
    bool whole = json_is_object(memory) && json_is_array(links);
    if (ver == 0 || (!whole && !v.deleted)) return v;
    v.stamp = (struct stamp){ .ver = ver, .stream = stream };
    v.memory = v.deleted ? NULL : memory;
    v.links = v.deleted ? NULL : links;
    return v;
}

static int newest(struct op_ctx *c, const struct view *own, int rc, struct reply *r)
{
    struct view best = *own;
    for (size_t i = 0; i < json_array_size(c->given); i++) {
        struct view v = view_from(json_array_get(c->given, i));
        if (stamp_cmp(&v.stamp, &best.stamp) > 0) best = v;
    }
    if (best.memory == NULL) return rc ? rc : err_arg(c->err, E_NOT_FOUND, "id", "not found");
    return reply_set(r, "{s:O, s:O}", "memory", best.memory, "links", best.links);
}

int op_get(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct get_args *a = args;
    struct view own;
    bool quorum = a->consistency.s && strcmp(a->consistency.s, "quorum") == 0;
    int rc = view_of(c, &a->id, true, &own);
    if (rc && !(quorum && rc == E_NOT_FOUND)) return rc;
    if (quorum && c->given == NULL) {
        const char *id = json_string_value(json_object_get(own.memory, "id"));
        *c->need_row = arena_strdup(c->arena, id ? id : a->id.s);
        rc = *c->need_row ? E_NEED : err_set(c->err, E_TOO_LARGE, "too many texts");
    } else {
        rc = newest(c, &own, rc, r);
    }
    json_decref(own.memory);
    json_decref(own.links);
    return rc;
}

int op_sync_row(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct id_args *a = args;
    struct view v;
    int rc = view_of(c, &a->id, false, &v);
    if (rc && rc != E_NOT_FOUND) return rc;
    rc = reply_set(r, "{s:b, s:o, s:o}", "deleted", v.deleted, "ver", json_id(v.stamp.ver), "stream",
                   json_id(v.stamp.stream));
    if (rc == 0 && v.memory) {
        json_object_set(r->doc, "memory", v.memory);
        json_object_set(r->doc, "links", v.links);
    }
    json_decref(v.memory);
    json_decref(v.links);
    return rc;
}
