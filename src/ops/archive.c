/* archive.c - what was forgotten, replaced or swept: list, restore, purge, counters. */
#include <string.h>

#include "base/clock.h"
#include "ops/beside.h"
#include "ops/guard.h"
#include "store/change.h"

#define PURGE_SLICE 64
#define DAY_US (86400ll * 1000000)

#define AT(member) offsetof(struct archive_list_args, member)
const struct arg archive_list_arg[] = {
    { "namespace", ARG_TEXT, AT(ns), ARG_OPTION, ON_ALL, .letter = 'n', .doc = "Only this namespace" },
    { "limit", ARG_UINT, AT(limit), ARG_CLAMP, ON_ALL,
      .at = { { .dflt = "50", .max = 1000 }, { .dflt = "50", .max = 1000 }, { .dflt = "50" } },
      .doc = "Rows of a page" },
    { "offset", ARG_UINT, AT(offset), 0, ON_ALL, .at = { { .dflt = "0" }, { .dflt = "0" }, { .dflt = "0" } },
      .doc = "Rows to skip" },
    { 0 },
};
#undef AT

const struct arg purge_arg[] = {
    { "older_than_days", ARG_INT, offsetof(struct purge_args, days), ARG_OPTION, ON_ALL,
      .at = { [DOOR_CLI] = { .name = "older-than-days" } }, .rule = arg_rule_days,
      .doc = "Only what was archived longer ago" },
    { "all", ARG_BOOL, offsetof(struct purge_args, all), 0, ON_ALL, .doc = "The whole archive" },
    { 0 },
};
enum { PURGE_DAYS = 0 };

/* ---- list, stats ------------------------------------------------------------------------------------------------- */
/* HTTP tells the tags as a list, the other doors as the JSON text they always told. */
static json_t *archived_json(const struct archived *a, enum door door)
{
    json_t *o = memory_json(&a->row.m);
    if (door != DOOR_HTTP) json_object_set_new(o, "tags", json_string(a->row.m.tags));
    if (a->row.m.last_accessed_at == NULL) json_object_set_new(o, "last_accessed_at", json_null());
    if (a->row.m.expires_at == NULL) json_object_set_new(o, "expires_at", json_null());
    json_object_set_new(o, "archived_at", json_string(a->archived_at));
    json_object_set_new(o, "archive_reason", json_string(a->reason));
    return o;
}

int op_archive_list(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct archive_list_args *a = args;
    struct archive_rows rows = { 0 };
    bool odd = a->ns.s && strlen(a->ns.s) != a->ns.len;
    int rc = 0;
    if (a->limit > 0 && !odd)
        rc = c->tx->v->archive_list(c->tx, a->ns.s, (uint64_t)a->offset, (size_t)a->limit,
                                    c->env->limits.page_bytes_max, c->arena, &rows);
    if (rc) return rc;
    json_t *list = json_array();
    for (size_t i = 0; i < rows.count; i++) json_array_append_new(list, archived_json(&rows.item[i], c->caller->door));
    rc = reply_set(r, "{s:I, s:o}", "count", (json_int_t)rows.count, "archived", list);
    if (rc == 0 && rows.more)
        json_object_set_new(r->doc, "next_offset", json_integer(a->offset + (json_int_t)rows.count));
    return rc;
}

int op_archive_stats(struct op_ctx *c, const void *args, struct reply *r)
{
    struct counts by_ns;
    int64_t total;
    (void)args;
    int rc = c->tx->v->archive_stats(c->tx, c->arena, &total, &by_ns);
    return rc ? rc
              : reply_set(r, "{s:I, s:o}", "archived_total", (json_int_t)total, "by_namespace",
                          counts_json(&by_ns, "namespace"));
}

/* ---- restore ----------------------------------------------------------------------------------------------------- */
static int not_archived(struct op_ctx *c, const char *id)
{
    return err_arg(c->err, E_NOT_FOUND, "id",
                   c->caller->door == DOOR_CLI ? "not found in archive: %s" : "not found in archive", id);
}

static int check_clash(struct op_ctx *c, const struct memory *m)
{
    struct row other;
    int rc = c->tx->v->get(c->tx, m->id, c->arena, &other);
    if (rc == 0)
        return err_set(c->err, E_CONFLICT, "cannot restore: memory %s already exists in active table (would overwrite)",
                       m->id);
    if (rc == E_NOT_FOUND) rc = c->tx->v->by_title(c->tx, m->title, m->ns, c->arena, &other);
    if (rc == 0)
        return err_set(c->err, E_CONFLICT, "title '%s' already exists in namespace '%s' (memory %s)", m->title, m->ns,
                       other.m.id);
    return rc == E_NOT_FOUND ? 0 : rc;
}

/* What is restored is to stay: tier long, no end. It loses to edits it did not see. */
static int restore(struct op_ctx *c, struct memory *m)
{
    json_t *metadata = metadata_json(m->metadata);
    m->tier = TIER_LONG;
    m->expires_at = NULL;
    if (arg_rule_metadata_stamped(&metadata, c->now_us, NULL)) m->metadata = "{}";
    json_decref(metadata);
    int rc = change_memory_quietly(c->change, m, NULL, NULL);
    return rc ? rc : change_unarchive(c->change, m->id);
}

static int reply_restored(struct reply *r, const char *id)
{
    return reply_set(r, "{s:b, s:s}", "restored", 1, "id", id);
}

/* An earlier attempt may have brought it back: then the row and its leaving the archive are of one op. */
static int restored_before(struct op_ctx *c, const char *id, struct reply *r)
{
    struct row row;
    struct side_row gone;
    int rc = c->tx->v->side_get(c->tx, SIDE_ARCHIVE, id, c->arena, &gone);
    if (rc == 0) rc = c->tx->v->get(c->tx, id, c->arena, &row);
    if (rc && rc != E_NOT_FOUND) return rc;
    if (rc || row.stamp.stream != gone.stamp.stream || row.stamp.seq != gone.stamp.seq) return not_archived(c, id);
    r->wait_for = gone.stamp;
    r->afterwards = not_archived(c, id);
    return reply_restored(r, id);
}

int op_archive_restore(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct id_args *a = args;
    struct archived kept;
    int rc = c->tx->v->archive_get(c->tx, a->id.s, c->arena, &kept);
    if (rc) return rc == E_NOT_FOUND ? restored_before(c, a->id.s, r) : rc;
    rc = check_clash(c, &kept.row.m);
    if (rc) return rc;
    struct guard g = { .action = GUARD_STORE,
                       .ns = kept.row.m.ns,
                       .agent_id = c->caller->agent_id,
                       .memory = &kept.row.m,
                       .at_once = true };
    rc = guard_check(c, &g, r);
    if (rc) return rc;
    change_group_begin(c->change);
    rc = restore(c, &kept.row.m);
    int end = change_group_end(c->change);
    if (rc || end) return rc ? rc : end;
    return reply_restored(r, kept.row.m.id);
}

/* ---- purge ------------------------------------------------------------------------------------------------------- */
/* Where it would be easy to say it by mistake, emptying the archive wants to be said. */
static int purge_before(struct op_ctx *c, const struct purge_args *a, int64_t *ret)
{
    *ret = INT64_MAX;
    if (arg_set(&a->h, PURGE_DAYS)) {
        *ret = a->days > c->now_us / DAY_US ? INT64_MIN : c->now_us - a->days * DAY_US;
        return 0;
    }
    if (a->all || c->caller->door != DOOR_HTTP) return 0;
    return err_arg(c->err, E_INVALID, "older_than_days", "older_than_days is required, or all=true");
}

int op_archive_purge(struct op_ctx *c, const void *args, struct reply *r)
{
    const char **ids;
    size_t count = 0;
    int64_t before;
    int rc = purge_before(c, args, &before);
    if (rc == 0) rc = c->tx->v->archive_older(c->tx, before, PURGE_SLICE, c->arena, &ids, &count);
    if (rc) return rc;
    change_group_begin(c->change);
    for (size_t i = 0; rc == 0 && i < count; i++) rc = change_unarchive(c->change, ids[i]);
    int end = change_group_end(c->change);
    if (rc || end) return rc ? rc : end;
    carry_add(c, "purged", (json_int_t)count);
    ++*c->progress;
    if (count == PURGE_SLICE) return E_AGAIN;
    r->wait_all = true; /* an earlier attempt may have removed others */
    return reply_set(r, "{s:I}", "purged", carry_number(c, "purged"));
}
