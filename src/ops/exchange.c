/* exchange.c - all memories out, and in again. An export is one document, or pages that can each be imported alone: a
 * link goes with the later of its ends. An import keeps ids and times; what comes in stands, whatever its age. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "ops/beside.h"
#include "ops/guard.h"
#include "store/change.h"

#define READ_BYTES (8u << 20)
#define READS_MAX 4      /* of one answer that is no page */
#define READS_MAX_CLI 40 /* a command prints more than a door answers */
#define IMPORT_SLICE 64
#define ITEMS_MAX 1000

#define AT(member) offsetof(struct export_args, member)
const struct arg export_arg[] = {
    { "cursor", ARG_TEXT, AT(cursor), ARG_OPTION, ON_HTTP, .doc = "Pages: empty for the first, then next_cursor" },
    { "limit", ARG_UINT, AT(limit), ARG_OPTION | ARG_CLAMP, ON_HTTP, .at = { [DOOR_HTTP] = { .max = 100000 } },
      .doc = "Memories of a page" },
    { 0 },
};
#undef AT

#define AT(member) offsetof(struct import_args, member)
const struct arg import_arg[] = {
    { "memories", ARG_ITEMS, AT(memories), ARG_REQUIRED, ON_HTTP | ON_CLI, .item = memory_arg,
      .item_size = sizeof(struct memory_args), .doc = "Whole memories; over HTTP at most 1000" },
    { "links", ARG_ITEMS, AT(links), ARG_OPTION, ON_HTTP | ON_CLI, .item = whole_link_arg,
      .item_size = sizeof(struct link_args), .doc = "Links between them" },
    { "trust_source", ARG_BOOL, AT(trust), 0, ON_CLI, .at = { [DOOR_CLI] = { .name = "trust-source" } },
      .doc = "Keep the agent ids of the document" },
    { 0 },
};
#undef AT

static int64_t time_of(const char *text)
{
    int64_t us;
    return text && time_parse(text, strlen(text), &us) == 0 ? us : 0;
}

/* ---- export ------------------------------------------------------------------------------------------------------ */
struct place {
    int64_t us;
    char id[200];
};

static int place_parse(struct op_ctx *c, const struct str *text, struct place *ret)
{
    char *end;
    *ret = (struct place){ .us = INT64_MIN };
    if (text->s == NULL || text->len == 0) return 0;
    ret->us = strtoll(text->s, &end, 10);
    if (end == text->s || *end != '~' || end[1] == '\0' || strlen(text->s) != text->len)
        return err_arg(c->err, E_INVALID, "cursor", "invalid cursor");
    snprintf(ret->id, sizeof(ret->id), "%s", end + 1);
    return 0;
}

/* Links whose other end came before this row, both live. */
static int export_links(struct op_ctx *c, const struct memory *m, struct arena *a, json_t *list)
{
    struct links links;
    int rc = c->tx->v->links_of(c->tx, m->id, a, &links);
    for (size_t i = 0; rc == 0 && i < links.count; i++) {
        const struct link *l = &links.item[i];
        struct row other;
        rc = c->tx->v->get(c->tx, strcmp(l->source_id, m->id) == 0 ? l->target_id : l->source_id, a, &other);
        if (rc) return rc == E_NOT_FOUND ? 0 : rc;
        int64_t us = time_of(other.m.created_at), own = time_of(m->created_at);
        bool before = us != own ? us < own : strcmp(other.m.id, m->id) < 0;
        if (before && !memory_expired(&other.m, c->now_us)) json_array_append_new(list, link_json(l));
    }
    return rc;
}

/* One reading of the store, into the document; *ret_more: there is more behind `at`. */
static int export_some(struct op_ctx *c, struct place *at, size_t limit, json_t *doc, bool *ret_more)
{
    struct arena a;
    struct rows rows;
    json_t *list = json_object_get(doc, "memories"), *links = json_object_get(doc, "links");
    arena_init(&a, 64u << 20);
    int rc = c->tx->v->by_created(c->tx, at->us, at->id, c->now_us, limit, READ_BYTES, &a, &rows);
    for (size_t i = 0; rc == 0 && i < rows.count; i++) {
        json_array_append_new(list, memory_json(&rows.item[i].m));
        rc = export_links(c, &rows.item[i].m, &a, links);
    }
    *ret_more = rc == 0 && rows.more;
    if (rc == 0 && rows.count > 0) {
        const struct memory *last = &rows.item[rows.count - 1].m;
        at->us = time_of(last->created_at);
        snprintf(at->id, sizeof(at->id), "%s", last->id);
    }
    arena_release(&a);
    return rc;
}

int op_export(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct export_args *a = args;
    struct place at;
    char now[TIME_TEXT];
    bool page = a->cursor.s || a->limit > 0, more = true;
    size_t reads = page ? 1 : c->caller->door == DOOR_CLI ? READS_MAX_CLI : READS_MAX;
    int rc = place_parse(c, &a->cursor, &at);
    if (rc) return rc;
    time_print(now, c->now_us);
    rc = reply_set(r, "{s:s, s:[], s:[]}", "exported_at", now, "memories", "links");
    for (size_t i = 0; rc == 0 && more && i < reads; i++)
        rc = export_some(c, &at, a->limit > 0 ? (size_t)a->limit : SIZE_MAX >> 1, r->doc, &more);
    if (rc) return rc;
    json_object_set_new(r->doc, "count",
                        json_integer((json_int_t)json_array_size(json_object_get(r->doc, "memories"))));
    if (more) json_object_set_new(r->doc, "next_cursor", json_sprintf("%lld~%s", (long long)at.us, at.id));
    return 0;
}

/* ---- import ------------------------------------------------------------------------------------------------------ */
static json_t *import_doc(struct op_ctx *c, const struct import_args *a)
{
    if (*c->carry) return *c->carry;
    *c->carry = json_pack("{s:i, s:[], s:[]}", "imported", 0, "errors", "ids");
    if (c->caller->door == DOOR_CLI) {
        json_object_set_new(*c->carry, "restamped", json_integer(0));
        json_object_set_new(*c->carry, "trusted_source", json_boolean(a->trust));
    }
    return *c->carry;
}

static void count_up(json_t *doc, const char *key)
{
    json_object_set_new(doc, key, json_integer(json_integer_value(json_object_get(doc, key)) + 1));
}

/* A command's import says who imported; whose it was stays beside. *ret: the metadata to store, NULL: as sent. */
static int restamp(struct op_ctx *c, const json_t *sent, const char *agent, json_t *doc, const char **ret)
{
    *ret = NULL;
    if (agent == NULL || (sent && !json_is_object(sent))) return 0;
    json_t *o = sent ? json_copy((json_t *)(uintptr_t)sent) : json_object();
    const char *was = json_string_value(json_object_get(o, "agent_id"));
    bool differs = was && strcmp(was, agent) != 0;
    if (differs) {
        json_object_set_new(o, "imported_from_agent_id", json_string(was));
        count_up(doc, "restamped");
    }
    json_object_set_new(o, "agent_id", json_string(agent));
    *ret = json_arena(c->arena, o, NULL);
    json_decref(o);
    return *ret ? 0 : err_set(c->err, E_TOO_LARGE, "metadata is too large");
}

/* What registers agents keeps its form: only such a row enters their namespace. */
static int check_registration(struct op_ctx *c, const struct memory *m)
{
    const char *agent = metadata_text(m->metadata, "agent_id", c->arena);
    const char *type = metadata_text(m->metadata, "agent_type", c->arena);
    if (!namespace_within(m->ns, "_agents")) return 0;
    bool fine = strcmp(m->ns, "_agents") == 0 && agent && type && strncmp(m->title, "agent:", 6) == 0 &&
                strcmp(m->title + 6, agent) == 0 && rule_agent_id(agent, strlen(agent), NULL) == 0 &&
                rule_agent_type(type, strlen(type), NULL) == 0;
    return fine ? 0 : guard_reserved(m->ns, c->err);
}

static int import_memory(struct op_ctx *c, struct memory *m, struct row *ret)
{
    struct row old;
    int rc = c->tx->v->by_title(c->tx, m->title, m->ns, c->arena, &old);
    if (rc && rc != E_NOT_FOUND) return rc;
    bool existed = rc == 0;
    if (existed) {
        json_t *sent = metadata_json(m->metadata);
        rc = metadata_stamp(c, sent, NULL, NULL, old.m.metadata, &m->metadata);
        json_decref(sent);
        if (rc) return rc;
        memory_over(m, &old.m);
        return change_memory_dated(c->change, m, &old, ret);
    }
    rc = c->tx->v->get(c->tx, m->id, c->arena, &old);
    if (rc == 0) return err_set(c->err, E_CONFLICT, "id already exists under another title");
    return rc == E_NOT_FOUND ? change_memory_dated(c->change, m, NULL, ret) : rc;
}

static bool refusal(int rc)
{
    return rc == E_INVALID || rc == E_DENIED || rc == E_CONFLICT;
}

static int import_one(struct op_ctx *c, const struct import_args *a, size_t i, const char *agent, json_t *doc)
{
    const struct memory_args *one = (const void *)((const char *)a->memories.item + i * a->memories.item_size);
    const char *why = a->memories.error[i], *metadata;
    struct memory m;
    struct row row;
    int rc = restamp(c, one->metadata, a->trust ? NULL : agent, doc, &metadata);
    if (rc == 0 && why == NULL) {
        rc = memory_from_args(c, one, &m);
        if (metadata) m.metadata = metadata;
        if (rc == 0) rc = check_registration(c, &m);
        if (rc == 0) rc = import_memory(c, &m, &row);
        if (refusal(rc)) why = refusal_text(c, rc);
    }
    if (why) {
        json_array_append_new(json_object_get(doc, "errors"), json_sprintf("%s: %s", one->id.s, why));
    } else if (rc == 0) {
        count_up(doc, "imported");
        json_array_append_new(json_object_get(doc, "ids"), json_string(row.m.id));
    }
    return refusal(rc) ? 0 : rc;
}

/* Links that cannot be made are left out. */
static int import_link(struct op_ctx *c, const struct import_args *a, size_t i)
{
    const struct link_args *one = (const void *)((const char *)a->links.item + i * a->links.item_size);
    struct link link = { one->source_id.s, one->target_id.s, one->relation.s, NULL };
    if (a->links.error[i] || strcmp(link.source_id, link.target_id) == 0) return 0;
    int rc = change_link(c->change, &link);
    return rc == E_NOT_FOUND ? 0 : rc;
}

int op_import(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct import_args *a = args;
    const char *agent = NULL;
    uint64_t total = a->memories.count + a->links.count, end = *c->progress + IMPORT_SLICE;
    int rc = c->caller->door == DOOR_CLI ? op_agent(c, NULL, &agent) : 0;
    json_t *doc = import_doc(c, a);
    if (c->caller->door == DOOR_HTTP && a->memories.count > ITEMS_MAX)
        return err_set(c->err, E_INVALID, "import limited to 1000 memories");
    for (; rc == 0 && *c->progress < total && *c->progress < end; ++*c->progress) {
        size_t i = (size_t)*c->progress;
        rc = i < a->memories.count ? import_one(c, a, i, agent, doc) : import_link(c, a, i - a->memories.count);
    }
    if (rc) return rc;
    if (*c->progress < total) return E_AGAIN;
    r->wait_all = a->links.count > 0; /* those that were there make no op */
    json_decref(r->doc);
    r->doc = json_incref(doc);
    return 0;
}
