/* arg_rules.c - the rules of memory.h in the form descriptors name them: by pointer to a field of the argument's
 * type. */
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "ops/table.h"

static const struct str *text_of(const void *value)
{
    return value;
}

int arg_rule_title(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_title(text_of(value)->s, text_of(value)->len, err);
}

int arg_rule_content(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_content(text_of(value)->s, text_of(value)->len, "content", err);
}

int arg_rule_namespace(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_namespace(text_of(value)->s, text_of(value)->len, err);
}

int arg_rule_as_agent(const void *value, int64_t now_us, struct err *err)
{
    return arg_rule_namespace(value, now_us, err);
}

int arg_rule_source(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_source(text_of(value)->s, text_of(value)->len, false, err);
}

int arg_rule_source_any(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_source(text_of(value)->s, text_of(value)->len, true, err);
}

int arg_rule_tags(const void *value, int64_t now_us, struct err *err)
{
    const struct strs *tags = value;
    (void)now_us;
    int rc = rule_tags_count(tags->count, err);
    for (size_t i = 0; rc == 0 && i < tags->count; i++) rc = rule_tag(tags->item[i].s, tags->item[i].len, err);
    return rc;
}

int arg_rule_priority(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_priority(*(const int64_t *)value, err);
}

int arg_rule_confidence(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_confidence(*(const double *)value, err);
}

int arg_rule_expires_create(const void *value, int64_t now_us, struct err *err)
{
    return rule_expires_create(text_of(value)->s, text_of(value)->len, now_us, err);
}

int arg_rule_expires_update(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_expires_update(text_of(value)->s, text_of(value)->len, err);
}

int arg_rule_ttl(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_ttl(*(const int64_t *)value, err);
}

/* agent_id and scope come on top of what a client may send: the next node must not refuse a row accepted here. */
#define STAMP_ROOM 256
#define SENT_MAX 65536

static int metadata(const json_t *v, size_t room, struct err *err)
{
    struct buf b;
    buf_init(&b, 4u << 20);
    json_print(&b, v);
    const char *text = buf_str(&b);
    size_t len = strlen(text), over = len > SENT_MAX ? room : 0;
    int rc = rule_metadata(text + over, len - over, json_depth(v), json_is_object(v), err);
    buf_release(&b);
    return rc;
}

int arg_rule_metadata(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return metadata(*(json_t *const *)value, 0, err);
}

int arg_rule_metadata_stamped(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return metadata(*(json_t *const *)value, STAMP_ROOM, err);
}

int arg_rule_id(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_id(text_of(value)->s, text_of(value)->len, err);
}

static int agent(const void *value, struct err *err)
{
    return rule_agent_id(text_of(value)->s, text_of(value)->len, err);
}

int arg_rule_agent(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return text_of(value)->len == 0 ? 0 : agent(value, err);
}

int arg_rule_agent_filter(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return agent(value, err);
}

int arg_rule_sender(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return agent(value, err);
}

int arg_rule_metadata_whole(const void *value, int64_t now_us, struct err *err)
{
    static const char *const ours[] = { "agent_id", "scope", "imported_from_agent_id", NULL };
    json_t *sent = *(json_t *const *)value, *rest = json_is_object(sent) ? json_copy(sent) : NULL;
    (void)now_us;
    for (size_t i = 0; rest && ours[i]; i++) json_object_del(rest, ours[i]);
    int rc = metadata(rest ? rest : sent, 0, err);
    json_decref(rest);
    return rc;
}

/* A vector clock is read for its shape alone: each node keeps its own marks. */
int arg_rule_clock(const void *value, int64_t now_us, struct err *err)
{
    const json_t *v = *(json_t *const *)value;
    (void)now_us;
    if (!json_is_object(v))
        return err_arg(err, E_TYPE, "sender_clock", "invalid type: %s, expected a map", json_kind(v));
    const json_t *entries = json_object_get(v, "entries");
    if (entries == NULL || json_is_object(entries)) return 0;
    return err_arg(err, E_TYPE, "sender_clock.entries", "invalid type: %s, expected a map", json_kind(entries));
}

int arg_rule_scope(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_scope(text_of(value)->s, text_of(value)->len, err);
}

int arg_rule_since(const void *value, int64_t now_us, struct err *err)
{
    int64_t us;
    (void)now_us;
    if (text_of(value)->len == 0 || time_parse(text_of(value)->s, text_of(value)->len, &us) == 0) return 0;
    return err_arg(err, E_INVALID, "since", "invalid `since` parameter — expected RFC 3339 timestamp");
}

int arg_rule_count(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return *(const int64_t *)value >= 0 ? 0
                                        : err_arg(err, E_INVALID, "access_count", "access_count cannot be negative");
}

int arg_rule_created(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_time("created_at", text_of(value)->s, text_of(value)->len, err);
}

int arg_rule_updated(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_time("updated_at", text_of(value)->s, text_of(value)->len, err);
}

int arg_rule_accessed(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_time("last_accessed_at", text_of(value)->s, text_of(value)->len, err);
}

int arg_rule_expires_any(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_time("expires_at", text_of(value)->s, text_of(value)->len, err);
}
