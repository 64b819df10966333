/* sync.c - what nodes of the original and pollers speak: push (row by row, answered without a quorum) and since. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ops/table.h"
#include "store/change.h"

#define PUSH_SLICE 64
#define SINCE_MAX 10000

#define AT(member) offsetof(struct memory_args, member)
#define HTTP_TEXT(field, member, check)                                  \
    {                                                                    \
        field, ARG_TEXT, AT(member), ARG_REQUIRED, ON_ALL, .rule = check \
    }
const struct arg memory_arg[] = {
    HTTP_TEXT("id", id, arg_rule_id),
    HTTP_TEXT("title", title, arg_rule_title),
    HTTP_TEXT("content", content, arg_rule_content),
    HTTP_TEXT("namespace", ns, arg_rule_namespace),
    HTTP_TEXT("source", source, arg_rule_source_any),
    { "tags", ARG_TEXTS, AT(tags), ARG_REQUIRED, ON_ALL, .rule = arg_rule_tags },
    { "priority", ARG_INT, AT(priority), ARG_REQUIRED | ARG_I32, ON_ALL, .rule = arg_rule_priority },
    { "confidence", ARG_REAL, AT(confidence), ARG_REQUIRED, ON_ALL, .rule = arg_rule_confidence },
    { "access_count", ARG_INT, AT(access_count), ARG_REQUIRED, ON_ALL, .rule = arg_rule_count },
    HTTP_TEXT("created_at", created_at, arg_rule_created),
    HTTP_TEXT("updated_at", updated_at, arg_rule_updated),
    { "last_accessed_at", ARG_TEXT, AT(last_accessed_at), ARG_OPTION, ON_ALL, .rule = arg_rule_accessed },
    { "expires_at", ARG_TEXT, AT(expires_at), ARG_OPTION, ON_ALL, .rule = arg_rule_expires_any },
    { "metadata", ARG_OBJECT, AT(metadata), 0, ON_ALL, .rule = arg_rule_metadata_whole },
    { "tier", ARG_WORD, AT(tier), ARG_REQUIRED, ON_ALL, tier_words, .doc = "Its tier" },
    { 0 },
};
#undef AT

#define AT(member) offsetof(struct push_args, member)
const struct arg push_arg[] = {
    { "sender_agent_id", ARG_TEXT, AT(sender), ARG_REQUIRED, ON_HTTP, .rule = arg_rule_sender,
      .doc = "The sending node" },
    { "sender_clock", ARG_OBJECT, AT(clock), 0, ON_HTTP, .rule = arg_rule_clock, .doc = "Not used" },
    { "memories", ARG_ITEMS, AT(memories), ARG_REQUIRED | ARG_EACH, ON_HTTP, .item = memory_arg,
      .item_size = sizeof(struct memory_args), .items_max = 1000,
      .items_over = "sync_push limited to 1000 memories per request",
      .doc = "Whole memories, at most 1000; each is taken or refused alone" },
    { "deletions", ARG_TEXTS, AT(deletions), ARG_EACH, ON_HTTP, .doc = "Ids to delete, at most 1000" },
    { "dry_run", ARG_BOOL, AT(dry_run), 0, ON_HTTP, .doc = "Check only" },
    { 0 },
};
#undef AT

#define AT(member) offsetof(struct since_args, member)
const struct arg since_arg[] = {
    { "since", ARG_TEXT, AT(since), ARG_OPTION, ON_HTTP, .rule = arg_rule_since,
      .doc = "Only what was updated later, RFC 3339" },
    { "limit", ARG_UINT, AT(limit), ARG_CLAMP, ON_HTTP, .at = { [DOOR_HTTP] = { .dflt = "500", .max = SINCE_MAX } },
      .doc = "Rows of a page" },
    { "peer", ARG_TEXT, AT(peer), ARG_OPTION, ON_HTTP, .doc = "The reading node, to be remembered" },
    { "after_id", ARG_TEXT, AT(after_id), ARG_OPTION, ON_HTTP,
      .doc = "With since: go on behind this id of that very moment" },
    { 0 },
};
#undef AT

/* ---- push -------------------------------------------------------------------------------------------------------- */
static int receiver_of(struct op_ctx *c, const char **ret)
{
    if (c->caller->agent_error)
        return err_arg(c->err, E_INVALID, "x-agent-id", "invalid x-agent-id: %s", c->caller->agent_error);
    *ret = c->caller->anonymous && c->change
               ? arena_printf(c->arena, "node:%016llx", (unsigned long long)c->change->origin.node)
               : c->caller->agent_id;
    return *ret ? 0 : err_set(c->err, E_TOO_LARGE, "too many texts");
}

int memory_from_args(struct op_ctx *c, const struct memory_args *a, struct memory *m)
{
    json_t *tags = strs_json(&a->tags);
    *m = (struct memory){
        .id = a->id.s,
        .ns = a->ns.s,
        .title = a->title.s,
        .content = a->content.s,
        .tags = json_arena(c->arena, tags, NULL),
        .source = a->source.s,
        .metadata = a->metadata ? json_arena(c->arena, a->metadata, NULL) : "{}",
        .priority = (int)a->priority,
        .confidence = a->confidence,
        .access_count = a->access_count,
        .created_at = a->created_at.s,
        .updated_at = a->updated_at.s,
        .last_accessed_at = a->last_accessed_at.s,
        .expires_at = a->expires_at.s,
    };
    json_decref(tags);
    int rc = tier_parse(a->tier.s, &m->tier);
    return m->tags && m->metadata ? rc : err_set(c->err, E_TOO_LARGE, "memory is too large");
}

static void count_up(json_t *doc, const char *key)
{
    json_object_set_new(doc, key, json_integer(json_integer_value(json_object_get(doc, key)) + 1));
}

static int64_t time_of(const char *text)
{
    int64_t us;
    return text && time_parse(text, strlen(text), &us) == 0 ? us : INT64_MIN;
}

/* The later of what is remembered of this push and `updated_at`; only what was taken counts. */
static void mark_seen(json_t *doc, const char *updated_at)
{
    const char *seen = json_string_value(json_object_get(doc, "seen"));
    if (seen == NULL || time_of(updated_at) > time_of(seen)) json_object_set_new(doc, "seen", json_string(updated_at));
}

/* Rows refused alone; storage errors fail the slice. */
static bool refused(int rc)
{
    return rc == E_INVALID || rc == E_CONFLICT || rc == E_NOT_FOUND;
}

/* What became of a memory, or of a deletion that was refused. */
static void push_result(json_t *doc, const struct str *id, const char *what, const char *why)
{
    json_t *result = json_pack("{s:o, s:s}", "id", id->s ? json_stringn(id->s, id->len) : json_null(), "result", what);
    if (result == NULL) return;
    if (why) json_object_set_new(result, "error", json_string(why));
    json_array_append_new(json_object_get(doc, "results"), result);
}

/* One row, as a whole or not at all. */
static int push_row(struct op_ctx *c, const struct memory_args *one, bool *ret_applied)
{
    struct memory m;
    struct row row;
    int applied = 0, rc = change_savepoint(c->change, c->err);
    if (rc) return rc;
    rc = memory_from_args(c, one, &m);
    if (rc == 0) rc = change_original(c->change, &m, &applied, &row);
    int end = change_savepoint_end(c->change, rc == 0, NULL);
    *ret_applied = applied;
    return end ? end : rc;
}

static int push_memory(struct op_ctx *c, const struct push_args *a, size_t i, json_t *doc)
{
    const struct memory_args *one = (const void *)((const char *)a->memories.item + i * a->memories.item_size);
    bool applied = false;
    const char *what = "noop", *why = a->memories.error[i];
    int rc = why || a->dry_run ? 0 : push_row(c, one, &applied);
    if (rc && !refused(rc)) return rc;
    if (rc) why = refusal_text(c, rc);
    if (why)
        what = "skipped";
    else if (applied)
        what = "applied";
    push_result(doc, &one->id, what, why);
    if (why == NULL) json_array_append_new(json_object_get(doc, "ids"), json_string(one->id.s));
    if (why == NULL && !a->dry_run) mark_seen(doc, one->updated_at.s);
    count_up(doc, what);
    return 0;
}

static int delete_row(struct op_ctx *c, const struct row *row)
{
    int rc = change_savepoint(c->change, c->err);
    if (rc) return rc;
    rc = change_delete(c->change, row);
    int end = change_savepoint_end(c->change, rc == 0, NULL);
    return end ? end : rc;
}

static int push_deletion(struct op_ctx *c, const struct push_args *a, size_t i, json_t *doc)
{
    const struct str *id = &a->deletions.item[i];
    const char *what = "deleted";
    struct row row;
    int rc = id->s ? rule_id(id->s, id->len, c->err) : err_set(c->err, E_INVALID, "deletions[%zu]: not a string", i);
    if (rc == 0) {
        rc = c->tx->v->get(c->tx, id->s, c->arena, &row);
        if (rc && rc != E_NOT_FOUND) return rc;
        if (rc || a->dry_run) what = "noop";
        rc = rc || a->dry_run ? 0 : delete_row(c, &row);
    }
    if (rc && !refused(rc)) return rc;
    if (rc) push_result(doc, id, what = "skipped", refusal_text(c, rc));
    count_up(doc, what);
    return 0;
}

static int clock_json(struct op_ctx *c, const char *receiver, json_t **ret)
{
    struct count_by *peer;
    const char **seen;
    size_t count;
    int rc = c->tx->v->sync_clock(c->tx, receiver, c->arena, &peer, &seen, &count);
    if (rc) return rc;
    json_t *entries = json_object();
    for (size_t i = 0; i < count; i++) json_object_set_new(entries, peer[i].name, json_string(seen[i]));
    *ret = json_pack("{s:o}", "entries", entries);
    return 0;
}

static int push_finish(struct op_ctx *c, const struct push_args *a, const char *receiver, json_t *doc)
{
    const char *seen = json_string_value(json_object_get(doc, "seen"));
    char now[TIME_TEXT];
    json_t *clock;
    time_print(now, c->now_us);
    int rc = seen ? c->tx->v->sync_seen(c->tx, receiver, a->sender.s, seen, now) : 0;
    if (rc == 0) rc = clock_json(c, receiver, &clock);
    if (rc) return rc;
    json_object_del(doc, "seen");
    json_object_set_new(doc, "receiver_agent_id", json_string(receiver));
    json_object_set_new(doc, "receiver_clock", clock);
    json_object_set_new(doc, "dry_run", json_boolean(a->dry_run));
    return 0;
}

int op_sync_push(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct push_args *a = args;
    const char *receiver;
    int rc = receiver_of(c, &receiver);
    if (rc) return rc;
    if (a->deletions.count > 1000) return err_set(c->err, E_INVALID, "sync_push limited to 1000 deletions per request");
    if (*c->carry == NULL)
        *c->carry = json_pack("{s:i, s:i, s:i, s:i, s:[], s:[]}", "applied", 0, "noop", 0, "skipped", 0, "deleted", 0,
                              "ids", "results");
    json_t *doc = *c->carry;
    uint64_t total = a->memories.count + a->deletions.count, end = *c->progress + PUSH_SLICE;
    for (; rc == 0 && *c->progress < total && *c->progress < end; ++*c->progress) {
        size_t i = (size_t)*c->progress;
        rc = i < a->memories.count ? push_memory(c, a, i, doc) : push_deletion(c, a, i - a->memories.count, doc);
    }
    if (rc == 0 && *c->progress < total) return E_AGAIN;
    if (rc == 0) rc = push_finish(c, a, receiver, doc);
    if (rc) return rc;
    json_decref(r->doc);
    r->doc = json_incref(doc);
    r->no_quorum = true;
    return 0;
}

/* ---- since ------------------------------------------------------------------------------------------------------- */
struct page {
    json_t *list;
    const struct memory *last;
};

static int add_page(struct op_ctx *c, int64_t after_us, const char *after_id, size_t limit, struct page *p,
                    struct rows *rows)
{
    int rc = c->tx->v->since(c->tx, after_us, after_id, false, c->now_us, limit, c->arena, rows);
    for (size_t i = 0; rc == 0 && i < rows->count; i++) {
        p->last = &rows->item[i].m;
        json_array_append_new(p->list, memory_json(p->last));
    }
    return rc;
}

/* A poller of the original goes on from the last row's time alone: a page never ends among rows of one moment (but at
 * the cap). */
static int complete_moment(struct op_ctx *c, struct page *p)
{
    for (;;) {
        struct rows next;
        int64_t at = time_of(p->last->updated_at);
        if (json_array_size(p->list) >= SINCE_MAX) return 0;
        int rc = c->tx->v->since(c->tx, at, p->last->id, false, c->now_us, 1, c->arena, &next);
        if (rc || next.count == 0 || time_of(next.item[0].m.updated_at) != at) return rc;
        p->last = &next.item[0].m;
        json_array_append_new(p->list, memory_json(p->last));
    }
}

int op_sync_since(struct op_ctx *c, const void *args, struct reply *r)
{
    static const char last_id[] = "\xf4\x8f\xbf\xbf"; /* behind every id: strictly later times only */
    const struct since_args *a = args;
    struct page page = { .list = json_array() };
    struct rows rows = { 0 };
    bool from = a->since.s && a->since.len > 0;
    int64_t after = from ? time_of(a->since.s) : INT64_MIN;
    const char *after_id = a->after_id.s ? a->after_id.s : from ? last_id : "";
    bool named = !c->caller->anonymous && c->caller->agent_error == NULL;
    int rc = a->limit > 0 ? add_page(c, after, after_id, (size_t)a->limit, &page, &rows) : 0;
    if (rc == 0 && rows.more && page.last && a->after_id.s == NULL) rc = complete_moment(c, &page);
    if (rc) {
        json_decref(page.list);
        return rc;
    }
    rc = reply_set(r, "{s:I, s:I, s:o}", "count", (json_int_t)json_array_size(page.list), "limit", (json_int_t)a->limit,
                   "memories", page.list);
    if (rc == 0 && page.last && named && a->peer.s && rule_agent_id(a->peer.s, a->peer.len, NULL) == 0)
        r->seen = (struct seen){ c->caller->agent_id, a->peer.s, page.last->updated_at };
    if (rc == 0 && rows.more && page.last) {
        json_object_set_new(r->doc, "next_since", json_string(page.last->updated_at));
        json_object_set_new(r->doc, "next_id", json_string(page.last->id));
    }
    return rc;
}
