/* change_original.c - rows that a node of the original offers. It knows neither ids of other nodes nor deletes: it
 * names one title by an id of its own, and offers again what was deleted here. */
#include "store/change_private.h"

#include <string.h>

/* Its own time, and the latest one it may have here. */
struct moment {
    int64_t us, latest_us;
};

static int moment_of(const struct memory *m, int64_t now_us, struct moment *ret)
{
    ret->latest_us = now_us + (int64_t)HLC_AHEAD_MAX_MS * 1000;
    return m->updated_at == NULL ? E_INVALID : time_parse(m->updated_at, strlen(m->updated_at), &ret->us);
}

static bool same_content(const struct memory *a, const struct memory *b)
{
    return text_same(a->title, b->title) && text_same(a->ns, b->ns) && text_same(a->content, b->content) &&
           text_same(a->tags, b->tags) && text_same(a->source, b->source) && text_same(a->metadata, b->metadata);
}

/* One from the far future gets a new version each time it is looked at: there the content decides. */
static enum original_kind against_row(const struct memory *m, const struct moment *at, const struct row *row)
{
    if (at->us > at->latest_us) return same_content(m, &row->m) ? ORIGINAL_ECHO : ORIGINAL_NEWS;
    return stamp_us(hlc_of_us(at->us)) <= stamp_us(row->stamp.ver) ? ORIGINAL_ECHO : ORIGINAL_NEWS;
}

static enum original_kind against_tomb(const struct moment *at, const struct side_row *tomb)
{
    return at->us <= stamp_us(tomb->stamp.ver) ? ORIGINAL_GONE : ORIGINAL_NEWS;
}

/* Its body begins with namespace and title; the key is only their hash. */
static bool tomb_of_title(const struct side_row *tomb, const struct memory *m, struct arena *a)
{
    struct reader r;
    reader_init(&r, tomb->body, tomb->body_len);
    const char *ns = read_text(&r, a);
    const char *title = read_text(&r, a);
    return !r.failed && text_same(ns, m->ns) && text_same(title, m->title);
}

/* The id is unknown: the title decides. */
static int look_by_title(struct store_tx *tx, const struct memory *m, const struct moment *at, struct arena *a,
                         enum original_kind *ret)
{
    struct side_row *tomb;
    struct row row;
    size_t n;
    *ret = ORIGINAL_NEWS;
    int rc = tx->v->by_title(tx, m->title, m->ns, a, &row);
    if (rc == 0) *ret = against_row(m, at, &row);
    if (rc != E_NOT_FOUND) return rc;
    rc = tx->v->side_by_key(tx, SIDE_TOMBSTONE, title_key(m->title, m->ns), a, &tomb, &n);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (against_tomb(at, &tomb[i]) == ORIGINAL_GONE && tomb_of_title(&tomb[i], m, a)) *ret = ORIGINAL_GONE;
    return rc;
}

int change_original_look(struct store_tx *tx, const struct memory *m, int64_t now_us, struct arena *a,
                         enum original_kind *ret)
{
    struct moment at;
    struct row row;
    struct side_row tomb;
    struct hidden hidden;
    if (moment_of(m, now_us, &at) != 0)
        return err_arg(tx->err, E_INVALID, "updated_at", "updated_at is not valid RFC3339");
    int rc = tx->v->get(tx, m->id, a, &row);
    if (rc == 0) *ret = against_row(m, &at, &row);
    if (rc != E_NOT_FOUND) return rc;
    rc = tx->v->side_get(tx, SIDE_TOMBSTONE, m->id, a, &tomb);
    if (rc == 0) *ret = against_tomb(&at, &tomb);
    if (rc != E_NOT_FOUND) return rc;
    rc = hidden_get(tx, m->id, a, &hidden);
    if (rc == 0 && hidden.place != PLACE_AWAITED) {
        *ret = against_row(m, &at, &hidden.row);
        return 0;
    }
    return rc == 0 || rc == E_NOT_FOUND ? look_by_title(tx, m, &at, a, ret) : rc;
}

/* Two nodes name one title by two ids: ours stands for both. */
static int resolve(struct change *c, struct memory *m, struct arena *a, struct known *k)
{
    struct row owner;
    int rc = known_load(c, m->id, false, a, k);
    if (rc != 0 || (k->place != PLACE_NONE && k->place != PLACE_AWAITED)) return rc;
    rc = c->tx->v->by_title(c->tx, m->title, m->ns, a, &owner);
    if (rc != 0) return rc == E_NOT_FOUND ? 0 : rc;
    m->id = owner.m.id;
    m->created_at = owner.m.created_at;
    return known_load(c, m->id, false, a, k);
}

static int shown(struct change *c, const char *id, struct row *ret)
{
    int rc = ret == NULL ? 0 : title_resolve(c->tx, id, c->scratch, ret);
    return rc == E_NOT_FOUND ? 0 : rc;
}

int change_original(struct change *c, const struct memory *m, int *ret_applied, struct row *ret)
{
    struct arena *a = &c->priv->work;
    enum original_kind kind;
    struct moment at;
    struct known k;
    struct version v;
    struct memory in = *m;
    *ret_applied = 0;
    arena_release(a);
    int rc = change_original_look(c->tx, m, c->now_us, a, &kind);
    if (rc == 0 && kind == ORIGINAL_NEWS) rc = resolve(c, &in, a, &k);
    if (rc != 0 || kind != ORIGINAL_NEWS) return rc == 0 ? shown(c, m->id, ret) : rc;
    uint64_t ver = version_of_time(c, m->updated_at);
    if (k.merged.known && ver <= k.merged.row.stamp.ver) ver = k.merged.row.stamp.ver + 1;
    clock_follow(c, ver);
    if (moment_of(m, c->now_us, &at) == 0 && at.us > at.latest_us) c->far_future++;
    in.id = arena_strdup(c->scratch, in.id);
    in.created_at = arena_strdup(c->scratch, in.created_at);
    if (in.id == NULL) return E_TOO_LARGE;
    rc = original_version(c, &k, &in, ver, &v);
    if (rc == 0) rc = change_op_begin(c);
    if (rc == 0) rc = change_record(c, &v);
    if (rc != 0) return rc;
    *ret_applied = 1;
    return shown(c, in.id, ret);
}
