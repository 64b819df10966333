/* change_local.c - what this process changes itself: it makes the version and hands it to the same apply a peer's goes
 * through. Every version is greater than the row it was made from, whatever the clocks say. */
#include "store/change_private.h"

#include <string.h>

#include "base/check.h"
#include "base/digest.h"
#include "store/row.h"

#define KEEP_US (24ll * 3600 * 1000000)

static uint64_t next_ver(struct change *c, uint64_t floor)
{
    if (c->as_of != 0) return c->as_of > floor ? c->as_of : floor + 1;
    return hlc_next(&c->hlc, c->now_us, floor);
}

/* The version of an edit that does not take the clock's. A node that has just joined may have a row and not yet what
 * deleted it, when all others have forgotten the deletion: only what is newer than anything that may be forgotten
 * means the same to them all. Forgotten is what is older than keep_us; half of that is left for clocks that differ. */
static uint64_t late_enough(const struct change *c, uint64_t ver)
{
    int64_t keep_us = c->keep_us > 0 ? c->keep_us : KEEP_US;
    uint64_t least = hlc_of_us(c->now_us - keep_us / 2);
    return ver > least ? ver : least;
}

void change_as_of(struct change *c, const char *text)
{
    c->as_of = text != NULL ? version_of_time(c, text) : 0;
    if (c->as_of == 0) return;
    c->as_of = late_enough(c, c->as_of);
    clock_follow(c, c->as_of);
}

static struct version tombstone(struct change *c, const struct row *row)
{
    return (struct version){ .kind = KIND_TOMBSTONE,
                             .ver = next_ver(c, row_floor(row)),
                             .m = { .id = row->m.id, .ns = row->m.ns, .title = row->m.title },
                             .own = { .base_ver = row->stamp.ver, .base_stream = row->stamp.stream } };
}

/* The shadows of a title end with its winner: what rests under it is gone in the same op. */
static int end_shadows(struct change *c, const struct row *winner)
{
    struct hidden *hidden;
    size_t n;
    int rc = title_hidden(c->tx, winner->m.title, winner->m.ns, c->scratch, &hidden, &n);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct version v = tombstone(c, &hidden[i].row);
        rc = change_record(c, &v);
    }
    return rc;
}

int change_delete(struct change *c, const struct row *before)
{
    int rc = change_op_begin(c);
    if (rc == 0) rc = end_shadows(c, before); /* first, or one of them would inherit the title */
    if (rc != 0) return rc;
    struct version v = tombstone(c, before);
    return change_record(c, &v);
}

/* ---- memories -------------------------------------------------------------------------------------------------- */

/* What the new version must beat besides `before`: a row swept under the title it enters, a tombstone of its own id. */
static int check_title(struct change *c, const struct memory *m, const struct row *before, uint64_t *floor, bool *fresh)
{
    struct arena *a = &c->priv->work;
    struct row owner;
    struct hidden *hidden;
    size_t n;
    bool enters = before == NULL || !text_same(before->m.title, m->title) || !text_same(before->m.ns, m->ns);
    *fresh = false;
    if (!enters) return 0;
    int rc = c->tx->v->by_title(c->tx, m->title, m->ns, a, &owner);
    if (rc == 0 && strcmp(owner.m.id, m->id) != 0)
        return err_set(c->tx->err, E_CONFLICT, "title '%s' already exists in namespace '%s' (memory %s)", m->title,
                       m->ns, owner.m.id);
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    *fresh = rc == E_NOT_FOUND;
    rc = title_hidden(c->tx, m->title, m->ns, a, &hidden, &n);
    if (n > 0) *fresh = false;
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (hidden[i].row.stamp.ver > *floor) *floor = hidden[i].row.stamp.ver;
    return rc;
}

/* The own fields of an edit: what its maker saw and says. */
static int own_fields(struct change *c, const struct memory *m, const struct row *before, uint64_t *floor,
                      struct own *ret, bool *fresh, bool *swept)
{
    struct known k;
    own_of(m, ret);
    *fresh = *swept = false;
    if (before != NULL) {
        int64_t more = m->access_count - before->m.access_count, base = before->own.count_base;
        if (row_unstamped(before)) { /* all that was not counted here is its base */
            int rc = known_load(c, m->id, false, &c->priv->work, &k);
            if (rc != 0) return rc;
            base = k.merged.row.own.count_base;
        }
        ret->count_seen = count_plus(before->m.access_count, more > 0 ? more : 0);
        ret->count_base = count_plus(base, more > 0 ? more : 0);
        ret->base_ver = before->stamp.ver;
        ret->base_stream = before->stamp.stream;
        *floor = row_floor(before);
        return 0;
    }
    int rc = known_load(c, m->id, false, &c->priv->work, &k);
    if (rc != 0) return rc;
    if (k.place == PLACE_VISIBLE) return err_set(c->tx->err, E_CONFLICT, "id '%s' already exists", m->id);
    *fresh = k.place == PLACE_NONE;
    *swept = k.place == PLACE_SWEPT;
    /* the count is the whole one: what nodes counted of this id before is in it */
    ret->count_base = m->access_count > k.merged.count_sum ? m->access_count - k.merged.count_sum : 0;
    ret->count_seen = ret->count_base + k.merged.count_sum;
    if (k.merged.known) {
        ret->base_ver = k.merged.row.stamp.ver;
        ret->base_stream = k.merged.row.stamp.stream;
        *floor = k.merged.row.stamp.ver;
    }
    return 0;
}

static void fill_defaults(struct memory *m)
{
    if (m->tags == NULL) m->tags = "[]";
    if (m->metadata == NULL) m->metadata = "{}";
    if (m->source == NULL) m->source = "api";
    if (m->created_at == NULL) m->created_at = m->updated_at;
}

/* The row as the apply just stored it, strings in scratch. */
static int shown(struct change *c, const char *id, struct row *ret)
{
    struct hidden h;
    int rc = c->tx->v->get(c->tx, id, c->scratch, ret);
    if (rc != E_NOT_FOUND) return rc;
    rc = hidden_get(c->tx, id, c->scratch, &h);
    if (rc == 0) *ret = h.row;
    return rc;
}

enum edit { EDIT_NOW, EDIT_QUIET, EDIT_DATED };

/* Its version, and in m->updated_at the text of its time. */
static int stamp_edit(struct change *c, enum edit edit, uint64_t floor, struct version *v)
{
    uint64_t dated = edit == EDIT_DATED ? version_of_time(c, v->m.updated_at) : 0;
    int64_t us;
    if (dated > floor) {
        v->ver = dated;
        clock_follow(c, dated);
    } else {
        v->ver = edit == EDIT_NOW || floor == 0 ? next_ver(c, floor)
                 : edit == EDIT_QUIET           ? late_enough(c, floor + 1)
                                                : floor + 1;
    }
    const char *text = edit == EDIT_DATED ? v->m.updated_at : NULL;
    bool fits = text != NULL && time_parse(text, strlen(text), &us) == 0 && us == stamp_us(v->ver);
    if (!fits) v->m.updated_at = change_time(c, v->ver);
    return v->m.updated_at != NULL ? 0 : E_TOO_LARGE;
}

static bool moves(const struct memory *m, const struct row *before)
{
    return before != NULL && (!text_same(before->m.title, m->title) || !text_same(before->m.ns, m->ns));
}

/* What rests under the title that is left goes along: first, and without the clock, for nobody asked to edit it. The
 * winner's version has to be greater still. */
static int take_shadows(struct change *c, const struct memory *m, const struct row *before, uint64_t *floor)
{
    struct hidden *hidden;
    size_t n;
    int rc = title_hidden(c->tx, before->m.title, before->m.ns, c->scratch, &hidden, &n);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct row *row = &hidden[i].row;
        struct version v = {
            .kind = KIND_MEMORY, .ver = late_enough(c, row_floor(row) + 1), .m = row->m, .own = row->own
        };
        if (hidden[i].place != PLACE_SHADOW) continue;
        v.m.title = m->title;
        v.m.ns = m->ns;
        v.m.updated_at = change_time(c, v.ver);
        v.own.base_ver = row->stamp.ver;
        v.own.base_stream = row->stamp.stream;
        if (v.ver > *floor) *floor = v.ver;
        rc = v.m.updated_at != NULL ? change_record(c, &v) : E_TOO_LARGE;
    }
    return rc;
}

static int write_memory(struct change *c, const struct memory *m, const struct row *before, enum edit edit,
                        struct row *ret)
{
    struct version v = { .kind = KIND_MEMORY, .m = *m };
    uint64_t floor = 0;
    bool new_id, swept, free_title = false;
    struct row fresh;
    arena_release(&c->priv->work);
    int rc = own_fields(c, m, before, &floor, &v.own, &new_id, &swept);
    if (rc == 0) rc = check_title(c, m, before, &floor, &free_title);
    if (rc == 0 && swept) rc = swept_keep(c, m->id); /* who makes it anew leaves the archive alone */
    if (rc == 0) rc = change_op_begin(c);
    if (rc != 0) return rc;
    if (moves(m, before)) rc = take_shadows(c, m, before, &floor);
    if (rc == 0) rc = stamp_edit(c, edit, floor, &v);
    if (rc != 0) return rc;
    fill_defaults(&v.m);
    if (new_id && free_title) c->priv->fresh = &fresh;
    rc = change_record(c, &v);
    c->priv->fresh = NULL;
    if (rc != 0 || ret == NULL) return rc;
    if (!new_id || !free_title) return shown(c, m->id, ret);
    *ret = fresh;
    return 0;
}

int change_memory(struct change *c, const struct memory *m, const struct row *before, struct row *ret)
{
    CHECK(m->id != NULL && m->ns != NULL && m->title != NULL && m->content != NULL);
    CHECK(before == NULL || strcmp(before->m.id, m->id) == 0);
    return write_memory(c, m, before, EDIT_NOW, ret);
}

int change_memory_quietly(struct change *c, const struct memory *m, const struct row *before, struct row *ret)
{
    CHECK(m->id != NULL && m->ns != NULL && m->title != NULL && m->content != NULL);
    CHECK(before == NULL || strcmp(before->m.id, m->id) == 0);
    return write_memory(c, m, before, EDIT_QUIET, ret);
}

int change_memory_dated(struct change *c, const struct memory *m, const struct row *before, struct row *ret)
{
    CHECK(m->id != NULL && m->ns != NULL && m->title != NULL && m->content != NULL);
    CHECK(before == NULL || strcmp(before->m.id, m->id) == 0);
    return write_memory(c, m, before, EDIT_DATED, ret);
}

int change_sweep(struct change *c, const struct row *row)
{
    if (!memory_expired(&row->m, c->now_us)) return 0;
    int rc = c->tx->v->remove(c->tx, row);
    return rc == 0 ? hidden_put(c, row, PLACE_SWEPT) : rc;
}

/* ---- links ----------------------------------------------------------------------------------------------------- */

static int resolve_end(struct change *c, const char *id, struct row *ret)
{
    int rc = title_resolve(c->tx, id, c->scratch, ret);
    return rc == E_NOT_FOUND ? err_arg(c->tx->err, rc, id, "memory not found: %s", id) : rc;
}

int change_link(struct change *c, const struct link *l)
{
    struct row source, target;
    struct side_row side;
    uint64_t floor = 0;
    int rc = resolve_end(c, l->source_id, &source);
    if (rc == 0) rc = resolve_end(c, l->target_id, &target);
    if (rc != 0) return rc;
    struct version v = { .kind = KIND_LINK, .link = *l };
    v.link.source_id = source.m.id;
    v.link.target_id = target.m.id;
    rc = links_get(c->tx, SIDE_LINK, &v.link, c->scratch, &side);
    if (rc != E_NOT_FOUND) return rc; /* linked already, or an error */
    rc = links_get(c->tx, SIDE_LINK_GONE, &v.link, c->scratch, &side);
    if (rc == 0) floor = side.stamp.ver;
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    rc = change_op_begin(c);
    if (rc != 0) return rc;
    v.ver = next_ver(c, floor);
    if (v.link.created_at == NULL) v.link.created_at = change_time(c, v.ver);
    return v.link.created_at != NULL ? change_record(c, &v) : E_TOO_LARGE;
}

/* Every record behind one shown link ends: those between the two rows and between shadows of their titles. */
int change_unlink(struct change *c, const struct link *l)
{
    struct row source, target;
    const char **from, **to;
    size_t from_count, to_count, found = 0;
    int rc = resolve_end(c, l->source_id, &source);
    if (rc == 0) rc = resolve_end(c, l->target_id, &target);
    if (rc == 0) rc = links_group(c->tx, &source, c->scratch, &from, &from_count);
    if (rc == 0) rc = links_group(c->tx, &target, c->scratch, &to, &to_count);
    if (rc == 0) rc = change_op_begin(c);
    if (rc != 0) return rc;
    for (size_t i = 0; i < from_count; i++)
        for (size_t j = 0; j < to_count; j++) {
            struct side_row side;
            struct version v = { .kind = KIND_LINK_GONE, .link = { from[i], to[j], l->relation, NULL } };
            rc = links_get(c->tx, SIDE_LINK, &v.link, c->scratch, &side);
            if (rc == E_NOT_FOUND) continue;
            v.ver = rc == 0 ? next_ver(c, side.stamp.ver) : 0;
            if (rc == 0) rc = change_record(c, &v);
            if (rc != 0) return rc;
            found++;
        }
    return found > 0 ? 0 : err_set(c->tx->err, E_NOT_FOUND, "no such link");
}

/* ---- keyed rows ------------------------------------------------------------------------------------------------ */

int change_idem(struct change *c, const char *key, const void *body, size_t body_len)
{
    struct version v = { .kind = KIND_IDEM, .ver = next_ver(c, 0), .key = key, .body = body, .body_len = body_len };
    CHECK(body_len >= IDEM_PRINT);
    int rc = c->priv->now.open ? 0 : change_op_begin(c);
    return rc == 0 ? change_record(c, &v) : rc;
}

static uint16_t side_kind(enum change_kind kind)
{
    switch (kind) {
    case KIND_PENDING: return SIDE_PENDING;
    case KIND_ARCHIVE: return SIDE_ARCHIVE;
    case KIND_MEMBER: return SIDE_MEMBER;
    case KIND_STANDARD: return SIDE_STANDARD;
    case KIND_STREAM: return SIDE_STREAM;
    default: WRONG("no kind of keyed row");
    }
}

static int write_side(struct change *c, enum change_kind kind, const char *key, const void *body, size_t body_len)
{
    struct side_row side;
    struct version v = { .kind = kind, .key = key, .body = body, .body_len = body_len };
    int rc = c->tx->v->side_get(c->tx, side_kind(kind), key, c->scratch, &side);
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    v.ver = next_ver(c, rc == 0 ? side.stamp.ver : 0);
    rc = change_op_begin(c);
    return rc == 0 ? change_record(c, &v) : rc;
}

int change_side(struct change *c, enum change_kind kind, const char *key, const void *body, size_t body_len)
{
    CHECK(kind == KIND_PENDING || kind == KIND_ARCHIVE || kind == KIND_MEMBER || kind == KIND_STREAM);
    return write_side(c, kind, key, body, body_len);
}

int change_standard(struct change *c, const char *ns, const char *memory_id, const char *parent)
{
    struct buf b;
    buf_init(&b, 1u << 16);
    buf_text(&b, memory_id);
    buf_text(&b, parent);
    int rc = b.failed ? E_TOO_LARGE : write_side(c, KIND_STANDARD, ns, b.data, b.len);
    buf_release(&b);
    return rc;
}
