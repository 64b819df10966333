/* reply.c - what several operations need: JSON of memories and links, texts of metadata, ids, lookup. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/id.h"
#include "base/json.h"
#include "ops/table.h"
#include "store/change.h"

int reply_set(struct reply *r, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    json_error_t why;
    json_t *doc = json_vpack_ex(&why, 0, fmt, args);
    va_end(args);
    json_decref(r->doc);
    r->doc = doc;
    return doc ? 0 : E_INTERNAL;
}

const char *refusal_text(struct op_ctx *c, int rc)
{
    struct err *store = c->tx->err;
    const char *text = c->err->code == rc && c->err->msg[0] ? c->err->msg
                       : store && store->code == rc         ? store->msg
                                                            : err_text(rc);
    text = arena_strdup(c->arena, text);
    *c->err = (struct err){ 0 };
    if (store) *store = (struct err){ 0 };
    return text ? text : err_text(rc);
}

const char *ids_next(struct ids *ids)
{
    if (ids->id[0][0] == '\0') uuid_v4(ids->id[0]);
    unsigned n = ids->used++;
    if (n == 0) return ids->id[0];
    uint8_t hash[32];
    char seed[64];
    int len = snprintf(seed, sizeof(seed), "%s %u", ids->id[0], n);
    sha256(seed, (size_t)len, hash);
    char *slot = ids->id[1 + (n - 1) % 3];
    uuid_from_hash(slot, hash);
    return slot;
}

/* ---- JSON of values ---------------------------------------------------------------------------------------------- */
static json_t *parse(const char *text)
{
    return text ? json_parse(text, strlen(text), NULL, 0, NULL) : NULL;
}

json_t *tags_json(const char *text)
{
    json_t *v = parse(text);
    if (json_is_array(v)) return v;
    json_decref(v);
    return json_array();
}

json_t *metadata_json(const char *text)
{
    json_t *v = parse(text);
    if (json_is_object(v)) return v;
    json_decref(v);
    return json_object();
}

static void put_text(json_t *o, const char *key, const char *text)
{
    json_object_set_new_nocheck(o, key, json_string_nocheck(text));
}

json_t *memory_json(const struct memory *m)
{
    json_t *o = json_object();
    put_text(o, "id", m->id);
    put_text(o, "tier", tier_name(m->tier));
    put_text(o, "namespace", m->ns);
    put_text(o, "title", m->title);
    put_text(o, "content", m->content);
    json_object_set_new_nocheck(o, "tags", tags_json(m->tags));
    json_object_set_new_nocheck(o, "priority", json_integer(m->priority));
    json_object_set_new_nocheck(o, "confidence", json_real(m->confidence));
    put_text(o, "source", m->source);
    json_object_set_new_nocheck(o, "access_count", json_integer(m->access_count));
    put_text(o, "created_at", m->created_at);
    put_text(o, "updated_at", m->updated_at);
    if (m->last_accessed_at) put_text(o, "last_accessed_at", m->last_accessed_at);
    if (m->expires_at) put_text(o, "expires_at", m->expires_at);
    json_object_set_new_nocheck(o, "metadata", metadata_json(m->metadata));
    return o;
}

json_t *link_json(const struct link *l)
{
    json_t *o = json_object();
    put_text(o, "source_id", l->source_id);
    put_text(o, "target_id", l->target_id);
    put_text(o, "relation", l->relation);
    put_text(o, "created_at", l->created_at);
    return o;
}

json_t *strs_json(const struct strs *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->count; i++)
        json_array_append_new(list, json_stringn_nocheck(s->item[i].s, s->item[i].len));
    return list;
}

const char *json_arena(struct arena *a, const json_t *v, size_t *ret_len)
{
    struct buf b;
    buf_init(&b, 16u << 20);
    json_print(&b, v);
    const char *text = b.failed ? NULL : arena_strndup(a, buf_str(&b), b.len);
    if (ret_len) *ret_len = b.len;
    buf_release(&b);
    return text;
}

const char *metadata_text(const char *metadata, const char *key, struct arena *a)
{
    char quoted[80];
    snprintf(quoted, sizeof(quoted), "\"%s\"", key);
    if (metadata == NULL || strstr(metadata, quoted) == NULL) return NULL;
    json_t *v = parse(metadata), *member = json_object_get(v, key);
    const char *text = json_is_string(member) ? arena_strdup(a, json_string_value(member)) : NULL;
    json_decref(v);
    return text;
}

bool metadata_has(const char *metadata, const char *key)
{
    if (metadata == NULL || strstr(metadata, key) == NULL) return false;
    json_t *v = parse(metadata);
    bool has = json_object_get(v, key) != NULL;
    json_decref(v);
    return has;
}

/* A policy is set with the standard alone: no other edit of its memory changes or drops it. */
static void keep_policy(json_t *metadata, const char *keep)
{
    if (!metadata_has(keep, "governance")) return;
    json_t *before = parse(keep);
    json_object_set(metadata, "governance", json_object_get(before, "governance"));
    json_decref(before);
}

int metadata_stamp(struct op_ctx *c, const json_t *sent, const char *agent_id, const char *scope, const char *keep,
                   const char **ret)
{
    json_t *o = json_is_object(sent) ? json_copy((json_t *)(uintptr_t)sent) : json_object();
    const char *kept = metadata_text(keep, "agent_id", c->arena);
    if (kept || agent_id) put_text(o, "agent_id", kept ? kept : agent_id);
    if (scope) put_text(o, "scope", scope);
    keep_policy(o, keep);
    *ret = json_arena(c->arena, o, NULL);
    arg_rule fits = c->caller->door == DOOR_MCP ? arg_rule_metadata : arg_rule_metadata_stamped;
    int rc = *ret ? fits(&o, c->now_us, c->err) : err_set(c->err, E_TOO_LARGE, "metadata is too large");
    json_decref(o);
    return rc;
}

/* ---- callers, times, lookup -------------------------------------------------------------------------------------- */
int op_agent(struct op_ctx *c, const struct str *own, const char **ret)
{
    if (own && own->len > 0) {
        *ret = own->s;
        return 0;
    }
    if (c->caller->agent_error)
        return err_arg(c->err, E_INVALID, "agent_id", "%s%s", c->caller->door == DOOR_HTTP ? "invalid agent_id: " : "",
                       c->caller->agent_error);
    *ret = c->caller->agent_id;
    return 0;
}

static const char *const time_tail = "0000-01-01T00:00:00+00:00";

int64_t time_bound(const struct str *s, bool until)
{
    int64_t us;
    if (time_parse(s->s, s->len, &us) == 0) return us;
    char full[TIME_TEXT];
    size_t tail = strlen(time_tail);
    if (s->len > 0 && s->len < 20) {
        snprintf(full, sizeof(full), "%.*s%s", (int)s->len, s->s, time_tail + s->len);
        if (s->s[0] >= '0' && s->s[0] <= '9' && time_parse(full, tail, &us) == 0) return until ? us - 1 : us;
    }
    bool beyond = s->len > 0 && s->s[0] > '9';
    return beyond ? INT64_MAX : INT64_MIN;
}

int memory_find(struct op_ctx *c, const struct str *id, bool prefix, struct row *ret)
{
    int rc = change_find(c->tx, id->s, prefix, c->arena, ret, c->err);
    if (rc != E_NOT_FOUND) return rc;
    switch (c->caller->door) {
    case DOOR_MCP: return err_arg(c->err, rc, "id", "memory not found");
    case DOOR_CLI: return err_arg(c->err, rc, "id", "not found: %s", id->s);
    default: return err_arg(c->err, rc, "id", "not found");
    }
}
