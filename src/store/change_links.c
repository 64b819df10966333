/* change_links.c - links and namespace standards: rows of record among ours, shown in the original's tables while the
 * memories they name are visible. A shadow's link is shown on the winner of its title. What is shown is computed from
 * the rows of record alone, so it does not matter which came first, link or memory. */
#include "store/change_private.h"

#include <string.h>

#include "base/check.h"
#include "base/digest.h"

#define SCAN_PAGE 256

static uint64_t id_key(const char *id)
{
    uint64_t key = hash64(id, strlen(id), 1) & INT64_MAX;
    return key != 0 ? key : 1;
}

/* ---- rows of record -------------------------------------------------------------------------------------------- */

static const char *link_id(const struct link *l, struct arena *a)
{
    return arena_printf(a, "%s%c%s%c%s", l->source_id, SEP, l->target_id, SEP, l->relation);
}

int links_get(struct store_tx *tx, uint16_t kind, const struct link *l, struct arena *a, struct side_row *ret)
{
    const char *id = link_id(l, a);
    return id != NULL ? tx->v->side_get(tx, kind, id, a, ret) : E_TOO_LARGE;
}

int links_read(const struct side_row *side, struct arena *a, struct link *ret)
{
    struct reader r;
    reader_init(&r, side->body, side->body_len);
    ret->source_id = read_text(&r, a);
    ret->target_id = read_text(&r, a);
    ret->relation = read_text(&r, a);
    ret->created_at = read_text(&r, a);
    return r.failed || ret->created_at == NULL ? E_CORRUPT : 0;
}

static int link_write(struct change *c, uint16_t kind, const struct link *l, const struct stamp *s, struct arena *a)
{
    struct buf b;
    const char *id = link_id(l, a), *created = l->created_at;
    char text[TIME_TEXT];
    if (id == NULL) return E_TOO_LARGE;
    if (created == NULL) {
        time_print(text, stamp_us(s->ver));
        created = text;
    }
    buf_init(&b, 1u << 20);
    buf_text(&b, l->source_id);
    buf_text(&b, l->target_id);
    buf_text(&b, l->relation);
    buf_text(&b, created);
    struct side_row side = {
        .kind = kind, .id = id, .stamp = *s, .key = id_key(l->target_id), .body = b.data, .body_len = b.len
    };
    if (kind == SIDE_LINK_GONE) side.key = 0; /* nobody looks for what is gone by its target */
    int rc = b.failed ? E_TOO_LARGE : c->tx->v->side_put(c->tx, &side);
    buf_release(&b);
    return rc;
}

/* ---- showing --------------------------------------------------------------------------------------------------- */

int links_group(struct store_tx *tx, const struct row *visible, struct arena *a, const char ***ids, size_t *count)
{
    struct hidden *hidden;
    size_t n;
    int rc = title_hidden(tx, visible->m.title, visible->m.ns, a, &hidden, &n);
    if (rc != 0) return rc;
    *ids = arena_alloc(a, (n + 1) * sizeof(char *));
    if (*ids == NULL) return E_TOO_LARGE;
    *count = 0;
    (*ids)[(*count)++] = visible->m.id;
    for (size_t i = 0; i < n; i++) (*ids)[(*count)++] = hidden[i].row.m.id;
    return 0;
}

/* Of links of record that come to the same shown link, the oldest says when it was made. */
static void older(struct link *best, const struct link *l)
{
    if (best->created_at == NULL || strcmp(l->created_at, best->created_at) < 0) best->created_at = l->created_at;
}

/* The link between two visible rows as all the records between ids of their titles make it; created_at NULL: none. */
static int between(struct store_tx *tx, const struct row *source, const struct row *target, const char *relation,
                   struct arena *a, struct link *ret)
{
    const char **from, **to;
    size_t from_count, to_count;
    *ret = (struct link){ .source_id = source->m.id, .target_id = target->m.id, .relation = relation };
    int rc = links_group(tx, source, a, &from, &from_count);
    if (rc == 0) rc = links_group(tx, target, a, &to, &to_count);
    for (size_t i = 0; rc == 0 && i < from_count; i++)
        for (size_t j = 0; rc == 0 && j < to_count; j++) {
            struct side_row side;
            struct link l = { .source_id = from[i], .target_id = to[j], .relation = relation };
            rc = links_get(tx, SIDE_LINK, &l, a, &side);
            if (rc == 0) rc = links_read(&side, a, &l);
            if (rc == 0) older(ret, &l);
            if (rc == E_NOT_FOUND) rc = 0;
        }
    return rc;
}

/* Shows or hides one link between two visible rows. */
static int show_between(struct change *c, const struct row *source, const struct row *target, const char *relation,
                        struct arena *a)
{
    struct store_tx *tx = c->tx;
    struct link shown;
    if (strcmp(source->m.id, target->m.id) == 0) return 0;
    int rc = between(tx, source, target, relation, a, &shown);
    if (rc != 0) return rc;
    return shown.created_at != NULL ? tx->v->link_show(tx, &shown) : tx->v->link_hide(tx, &shown);
}

int link_of_record(struct change *c, const struct link *l)
{
    struct arena a;
    struct row source, target;
    arena_init(&a, CHANGE_ARENA_MAX);
    int rc = title_resolve(c->tx, l->source_id, &a, &source);
    if (rc == 0) rc = title_resolve(c->tx, l->target_id, &a, &target);
    if (rc == 0) rc = show_between(c, &source, &target, l->relation, &a);
    arena_release(&a);
    return rc == E_NOT_FOUND ? 0 : rc;
}

static int shown_as(struct store_tx *tx, const struct link *l, struct arena *a, bool *ret)
{
    const char *created;
    int rc = tx->v->link_get(tx, l, a, &created);
    *ret = rc == 0 && text_same(created, l->created_at);
    return rc == E_NOT_FOUND ? 0 : rc;
}

int link_right(struct store_tx *tx, const struct side_row *side, struct arena *a, bool *ret)
{
    struct row source, target;
    struct link l, want;
    *ret = true;
    if (links_read(side, a, &l) != 0) return 0;
    int rc = shown_as(tx, &l, a, ret); /* as nearly all are: no other record of its titles need be looked for */
    if (rc != 0 || *ret) return rc;
    *ret = true;
    rc = title_resolve(tx, l.source_id, a, &source);
    if (rc == 0) rc = title_resolve(tx, l.target_id, a, &target);
    if (rc != 0) return rc == E_NOT_FOUND ? 0 : rc;
    if (strcmp(source.m.id, target.m.id) == 0) return 0;
    rc = between(tx, &source, &target, l.relation, a, &want);
    return rc == 0 && want.created_at != NULL ? shown_as(tx, &want, a, ret) : rc;
}

int link_again(struct change *c, const struct side_row *side, struct arena *a)
{
    struct link l;
    int rc = links_read(side, a, &l);
    return rc == 0 ? link_of_record(c, &l) : rc;
}

/* Shows every link of record that begins or ends at this id. Arena: its own, a page at a time. */
static int links_at(struct change *c, const char *id)
{
    struct store_tx *tx = c->tx;
    struct arena a;
    struct side_row *side;
    struct link l;
    size_t n = SCAN_PAGE;
    int rc = 0;
    arena_init(&a, CHANGE_ARENA_MAX);
    char *after = NULL;
    const char *prefix = arena_printf(c->scratch, "%s%c", id, SEP);
    if (prefix == NULL) return E_TOO_LARGE;
    while (rc == 0 && n == SCAN_PAGE) {
        rc = tx->v->side_scan(tx, SIDE_LINK, prefix, after, SCAN_PAGE, &a, &side, &n);
        for (size_t i = 0; rc == 0 && i < n; i++) {
            rc = links_read(&side[i], &a, &l);
            if (rc == 0 && strcmp(l.source_id, id) == 0) rc = link_of_record(c, &l);
        }
        mem_free(after);
        after = rc == 0 && n > 0 ? mem_strdup(side[n - 1].id) : NULL;
        arena_release(&a);
    }
    mem_free(after);
    if (rc == 0) rc = tx->v->side_by_key(tx, SIDE_LINK, id_key(id), &a, &side, &n);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = links_read(&side[i], &a, &l);
        if (rc == 0 && strcmp(l.target_id, id) == 0) rc = link_of_record(c, &l);
    }
    arena_release(&a);
    return rc;
}

int links_refresh(struct change *c, const struct row *visible)
{
    struct arena a;
    struct links links;
    const char **ids;
    size_t count = 0;
    arena_init(&a, CHANGE_ARENA_MAX);
    int rc = c->tx->v->links_of(c->tx, visible->m.id, &a, &links);
    for (size_t i = 0; rc == 0 && i < links.count; i++) rc = c->tx->v->link_hide(c->tx, &links.item[i]);
    if (rc == 0) rc = links_group(c->tx, visible, &a, &ids, &count);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = links_at(c, ids[i]);
        if (rc == 0) rc = standards_refresh(c, ids[i]);
    }
    arena_release(&a);
    return rc;
}

/* ---- versions of links ----------------------------------------------------------------------------------------- */

int links_apply(struct change *c, const struct version *v, const struct stamp *s)
{
    struct store_tx *tx = c->tx;
    struct arena *a = &c->priv->work;
    const struct link *l = &v->link;
    uint16_t kind = v->kind == KIND_LINK ? SIDE_LINK : SIDE_LINK_GONE;
    uint16_t other = v->kind == KIND_LINK ? SIDE_LINK_GONE : SIDE_LINK;
    struct side_row same, rival;
    int rc_same = links_get(tx, kind, l, a, &same), rc_rival = links_get(tx, other, l, a, &rival), rc = 0;
    if (rc_same != 0 && rc_same != E_NOT_FOUND) return rc_same;
    if (rc_rival != 0 && rc_rival != E_NOT_FOUND) return rc_rival;
    if (rc_same == 0 && stamp_cmp(s, &same.stamp) <= 0) return 0;
    if (rc_rival == 0 && stamp_cmp(s, &rival.stamp) <= 0) return 0;
    if (rc_rival == 0) rc = tx->v->side_remove(tx, other, rival.id);
    if (rc == 0) rc = link_write(c, kind, l, s, a);
    if (rc == 0 && kind == SIDE_LINK) rc = known_await(c, l->source_id);
    if (rc == 0 && kind == SIDE_LINK) rc = known_await(c, l->target_id);
    return rc == 0 ? link_of_record(c, l) : rc;
}

/* ---- standards ----------------------------------------------------------------------------------------------------
 * Body of record: text memory id (none: cleared), text parent. Key: the memory. */

/* What it comes to with the memories that are visible; *ret_id NULL: none. */
static int standard_of_record(struct store_tx *tx, const struct side_row *side, struct arena *a, const char **ret_id,
                              const char **ret_parent)
{
    struct reader r;
    struct row row;
    reader_init(&r, side->body, side->body_len);
    *ret_id = read_text(&r, a);
    *ret_parent = read_text(&r, a);
    if (r.failed) return E_CORRUPT;
    if (*ret_id == NULL) return 0;
    int rc = title_resolve(tx, *ret_id, a, &row);
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    *ret_id = rc == 0 ? row.m.id : NULL;
    return 0;
}

int standard_show(struct change *c, const struct side_row *side, struct arena *a)
{
    const char *memory_id, *parent;
    char text[TIME_TEXT];
    int rc = standard_of_record(c->tx, side, a, &memory_id, &parent);
    if (rc != 0) return rc;
    time_print(text, stamp_us(side->stamp.ver));
    return c->tx->v->standard_set(c->tx, side->id, memory_id, memory_id != NULL ? parent : NULL, text);
}

int standard_right(struct store_tx *tx, const struct side_row *side, struct arena *a, bool *ret)
{
    const char *want, *parent, *shown = NULL, *shown_parent = NULL;
    *ret = true;
    int rc = standard_of_record(tx, side, a, &want, &parent);
    if (rc == E_CORRUPT || (rc == 0 && want == NULL))
        return 0; /* of another program; or the original may have set it */
    if (rc == 0) rc = tx->v->standard_of(tx, side->id, a, &shown, &shown_parent);
    *ret = rc == 0 && text_same(want, shown) && text_same(parent, shown_parent);
    return rc == E_NOT_FOUND ? 0 : rc;
}

int standards_refresh(struct change *c, const char *id)
{
    struct arena a;
    struct side_row *side;
    size_t n;
    arena_init(&a, CHANGE_ARENA_MAX);
    int rc = c->tx->v->side_by_key(c->tx, SIDE_STANDARD, id_key(id), &a, &side, &n);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct reader r;
        reader_init(&r, side[i].body, side[i].body_len);
        const char *named = read_text(&r, &a);
        if (named != NULL && strcmp(named, id) == 0) rc = standard_show(c, &side[i], &a);
    }
    arena_release(&a);
    return rc;
}

int links_await(struct change *c, const char *id)
{
    struct store_tx *tx = c->tx;
    struct side_row *side;
    struct arena a;
    size_t n = 0;
    arena_init(&a, CHANGE_ARENA_MAX);
    const char *prefix = arena_printf(&a, "%s%c", id, SEP);
    int rc = prefix != NULL ? tx->v->side_scan(tx, SIDE_LINK, prefix, NULL, 1, &a, &side, &n) : E_TOO_LARGE;
    if (rc == 0 && n == 0) rc = tx->v->side_by_key(tx, SIDE_LINK, id_key(id), &a, &side, &n);
    if (rc == 0 && n == 0) rc = tx->v->side_by_key(tx, SIDE_STANDARD, id_key(id), &a, &side, &n);
    if (rc == 0 && n > 0) rc = known_await(c, id);
    arena_release(&a);
    return rc;
}

int standard_apply(struct change *c, const struct version *v, const struct stamp *s)
{
    struct store_tx *tx = c->tx;
    struct arena *a = &c->priv->work;
    struct side_row side;
    struct reader r;
    int rc = tx->v->side_get(tx, SIDE_STANDARD, v->key, a, &side);
    if (rc == 0 && stamp_cmp(s, &side.stamp) <= 0) return 0;
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    reader_init(&r, v->body, v->body_len);
    const char *memory_id = read_text(&r, a);
    (void)read_text(&r, a);
    if (r.failed) return E_INVALID; /* a later program's form: held */
    side =
        (struct side_row){ .kind = SIDE_STANDARD, .id = v->key, .stamp = *s, .body = v->body, .body_len = v->body_len };
    if (memory_id != NULL) side.key = id_key(memory_id);
    rc = tx->v->side_put(tx, &side);
    if (rc == 0 && memory_id != NULL) rc = known_await(c, memory_id);
    return rc == 0 ? standard_show(c, &side, a) : rc;
}
