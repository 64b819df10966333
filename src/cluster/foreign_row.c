#include "cluster/foreign_row.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"

#define TEXT_MAX (4u << 20)
#define METADATA_MAX 65536
#define METADATA_ROOM 256 /* what a node stamps into metadata on top of what a client may send */
#define MARK_SLOTS (1u << 15)

static json_t *json_or(const char *text, json_t *otherwise)
{
    json_t *v = text == NULL ? NULL : json_parse(text, strlen(text), NULL, 0, NULL);
    if (v == NULL || json_typeof(v) != json_typeof(otherwise)) {
        json_decref(v);
        return otherwise;
    }
    json_decref(otherwise);
    return v;
}

json_t *foreign_row_json(const struct memory *m, uint64_t ver)
{
    char updated[TIME_TEXT];
    time_print(updated, stamp_us(ver));
    json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:i, s:f, s:s, s:I, s:s, s:s, s:o}", "id", m->id, "tier",
                            tier_name(m->tier), "namespace", m->ns, "title", m->title, "content", m->content, "tags",
                            json_or(m->tags, json_array()), "priority", m->priority, "confidence", m->confidence,
                            "source", m->source, "access_count", (json_int_t)m->access_count, "created_at",
                            m->created_at, "updated_at", updated, "metadata", json_or(m->metadata, json_object()));
    if (row == NULL) return NULL;
    if (m->expires_at != NULL) json_object_set_new(row, "expires_at", json_string(m->expires_at));
    if (m->last_accessed_at != NULL) json_object_set_new(row, "last_accessed_at", json_string(m->last_accessed_at));
    return row;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* NULL and err set when it is missing or no string; U+0000 would cut it short. */
static const char *text(const json_t *v, const char *name, struct err *err)
{
    const json_t *s = json_object_get(v, name);
    if (json_is_string(s) && strlen(json_string_value(s)) == json_string_length(s)) return json_string_value(s);
    err_arg(err, E_TYPE, name, "%s is not a text", name);
    return NULL;
}

static int optional_time(const json_t *v, const char *name, const char **ret, struct err *err)
{
    const json_t *s = json_object_get(v, name);
    *ret = NULL;
    if (s == NULL || json_is_null(s)) return 0;
    *ret = text(v, name, err);
    return *ret == NULL ? E_TYPE : rule_time(name, *ret, strlen(*ret), err);
}

static int compact(const json_t *v, struct arena *a, const char **ret, size_t *ret_len, struct err *err)
{
    struct buf b;
    buf_init(&b, TEXT_MAX);
    json_print(&b, v);
    *ret = b.failed ? NULL : arena_strndup(a, b.data, b.len);
    *ret_len = b.len;
    buf_release(&b);
    return *ret == NULL ? err_set(err, E_TOO_LARGE, "row is too large") : 0;
}

static int read_tags(const json_t *v, struct arena *a, const char **ret, struct err *err)
{
    const json_t *tags = json_object_get(v, "tags");
    size_t len;
    if (!json_is_array(tags)) return err_arg(err, E_TYPE, "tags", "tags is not a list");
    int rc = rule_tags_count(json_array_size(tags), err);
    for (size_t i = 0; rc == 0 && i < json_array_size(tags); i++) {
        const json_t *tag = json_array_get(tags, i);
        rc = json_is_string(tag) ? rule_tag(json_string_value(tag), json_string_length(tag), err)
                                 : err_arg(err, E_TYPE, "tags", "a tag is not a text");
    }
    return rc == 0 ? compact(tags, a, ret, &len, err) : rc;
}

static int read_metadata(const json_t *v, struct arena *a, const char **ret, struct err *err)
{
    const json_t *metadata = json_object_get(v, "metadata");
    size_t len;
    *ret = "{}";
    if (metadata == NULL) return 0;
    int rc = compact(metadata, a, ret, &len, err);
    if (rc != 0) return rc;
    size_t over = len > METADATA_MAX ? METADATA_ROOM : 0;
    return rule_metadata(*ret + over, len - over, json_depth(metadata), json_is_object(metadata), err);
}

static int read_numbers(const json_t *v, struct memory *m, struct err *err)
{
    const json_t *priority = json_object_get(v, "priority"), *count = json_object_get(v, "access_count");
    const json_t *confidence = json_object_get(v, "confidence");
    if (!json_is_integer(priority)) return err_arg(err, E_TYPE, "priority", "priority is not a whole number");
    if (!json_is_integer(count)) return err_arg(err, E_TYPE, "access_count", "access_count is not a whole number");
    if (!json_is_number(confidence)) return err_arg(err, E_TYPE, "confidence", "confidence is not a number");
    if (json_integer_value(count) < 0)
        return err_arg(err, E_INVALID, "access_count", "access_count cannot be negative");
    int rc = rule_priority(json_integer_value(priority), err);
    if (rc == 0) rc = rule_confidence(json_number_value(confidence), err);
    m->priority = (int)json_integer_value(priority);
    m->access_count = json_integer_value(count);
    m->confidence = json_number_value(confidence);
    return rc;
}

static int read_texts(const json_t *v, struct memory *m, struct err *err)
{
    const char *tier = NULL;
    struct {
        const char *name, **to;
    } fields[] = {
        { "id", &m->id },
        { "title", &m->title },
        { "content", &m->content },
        { "namespace", &m->ns },
        { "source", &m->source },
        { "tier", &tier },
        { "created_at", &m->created_at },
        { "updated_at", &m->updated_at },
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        *fields[i].to = text(v, fields[i].name, err);
        if (*fields[i].to == NULL) return E_TYPE;
    }
    int rc = rule_id(m->id, strlen(m->id), err);
    if (rc == 0) rc = rule_title(m->title, strlen(m->title), err);
    if (rc == 0) rc = rule_content(m->content, strlen(m->content), "content", err);
    if (rc == 0) rc = rule_namespace(m->ns, strlen(m->ns), err);
    if (rc == 0) rc = rule_source(m->source, strlen(m->source), true, err);
    if (rc == 0) rc = rule_time("created_at", m->created_at, strlen(m->created_at), err);
    if (rc == 0) rc = rule_time("updated_at", m->updated_at, strlen(m->updated_at), err);
    if (rc == 0 && tier_parse(tier, &m->tier) != 0) rc = err_arg(err, E_INVALID, "tier", "tier is unknown here");
    return rc;
}

int foreign_row_read(const json_t *v, struct arena *a, struct memory *ret, struct err *err)
{
    memset(ret, 0, sizeof *ret);
    if (!json_is_object(v)) return err_set(err, E_TYPE, "a row is not an object");
    int rc = read_texts(v, ret, err);
    if (rc == 0) rc = read_numbers(v, ret, err);
    if (rc == 0) rc = optional_time(v, "last_accessed_at", &ret->last_accessed_at, err);
    if (rc == 0) rc = optional_time(v, "expires_at", &ret->expires_at, err);
    if (rc == 0) rc = read_tags(v, a, &ret->tags, err);
    return rc == 0 ? read_metadata(v, a, &ret->metadata, err) : rc;
}

/* ---- marks ------------------------------------------------------------------------------------------------------- */

uint64_t foreign_row_mark(const struct memory *m, int64_t updated_us)
{
    uint64_t mark = hash64(m->id, strlen(m->id), (uint64_t)updated_us);
    mark = hash64(m->ns, strlen(m->ns), mark);
    mark = hash64(m->title, strlen(m->title), mark);
    return mark == 0 ? 1 : mark;
}

void foreign_marks_add(struct foreign_marks *s, uint64_t mark)
{
    if (s->slot == NULL) s->slot = mem_alloc(MARK_SLOTS * sizeof *s->slot);
    if (s->used >= MARK_SLOTS / 2) {
        memset(s->slot, 0, MARK_SLOTS * sizeof *s->slot);
        s->used = 0;
    }
    size_t i = mark % MARK_SLOTS;
    while (s->slot[i] != 0 && s->slot[i] != mark) i = (i + 1) % MARK_SLOTS;
    if (s->slot[i] == mark) return;
    s->slot[i] = mark;
    s->used++;
}

bool foreign_marks_has(const struct foreign_marks *s, uint64_t mark)
{
    if (s->slot == NULL) return false;
    for (size_t i = mark % MARK_SLOTS; s->slot[i] != 0; i = (i + 1) % MARK_SLOTS)
        if (s->slot[i] == mark) return true;
    return false;
}

void foreign_marks_copy(struct foreign_marks *to, const struct foreign_marks *from)
{
    *to = (struct foreign_marks){ .used = from->used };
    if (from->slot == NULL) return;
    to->slot = mem_alloc(MARK_SLOTS * sizeof *to->slot);
    memcpy(to->slot, from->slot, MARK_SLOTS * sizeof *to->slot);
}

void foreign_marks_release(struct foreign_marks *s)
{
    mem_free(s->slot);
    *s = (struct foreign_marks){ 0 };
}
