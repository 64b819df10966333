/* change_title.c - rows that are here and not in `memories`: shadows (another id has their title), rows swept after
 * their end, and ids that something speaks of before they came. One side row each, kind SIDE_SHADOW, its first byte
 * says which. A shadow's text is shown in the archive while it rests. */
#include "store/change_private.h"

#include <string.h>

#include "base/check.h"
#include "base/digest.h"
#include "store/row.h"

bool text_same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

uint64_t title_key(const char *title, const char *ns)
{
    uint64_t key = hash64(ns, strlen(ns), hash64(title, strlen(title) + 1, 0)) & INT64_MAX;
    return key != 0 ? key : 1;
}

static int hidden_read(const struct side_row *side, struct arena *a, struct hidden *ret)
{
    struct reader r;
    *ret = (struct hidden){ 0 };
    reader_init(&r, side->body, side->body_len);
    uint8_t place = read_u8(&r);
    if (place == PLACE_AWAITED) {
        ret->place = PLACE_AWAITED;
        return 0;
    }
    if (place != PLACE_SHADOW && place != PLACE_SWEPT) return E_CORRUPT;
    ret->place = (enum place)place;
    return row_read(&r, a, &ret->row);
}

int hidden_get(struct store_tx *tx, const char *id, struct arena *a, struct hidden *ret)
{
    struct side_row side;
    int rc = tx->v->side_get(tx, SIDE_SHADOW, id, a, &side);
    return rc == 0 ? hidden_read(&side, a, ret) : rc;
}

int title_hidden(struct store_tx *tx, const char *title, const char *ns, struct arena *a, struct hidden **ret,
                 size_t *count)
{
    struct side_row *side;
    size_t n;
    *ret = NULL;
    *count = 0;
    int rc = tx->v->side_by_key(tx, SIDE_SHADOW, title_key(title, ns), a, &side, &n);
    if (rc != 0 || n == 0) return rc;
    *ret = arena_alloc(a, n * sizeof(struct hidden));
    if (*ret == NULL) return E_TOO_LARGE;
    for (size_t i = 0; i < n; i++) {
        struct hidden *h = &(*ret)[*count];
        rc = hidden_read(&side[i], a, h);
        if (rc != 0) return rc;
        if (h->place == PLACE_AWAITED) continue;
        /* the key is only a hash */
        if (strcmp(h->row.m.title, title) == 0 && strcmp(h->row.m.ns, ns) == 0) (*count)++;
    }
    return 0;
}

/* `gone` (may be NULL): the record that says that the id was taken out of the archive. */
static int shadow_show(struct change *c, const struct row *row, const struct stamp *gone)
{
    char at[TIME_TEXT];
    struct archived kept;
    if (gone != NULL && gone->ver > row->stamp.ver) return 0;
    int rc = c->tx->v->archive_get(c->tx, row->m.id, &c->priv->work, &kept);
    if (rc != E_NOT_FOUND) return rc; /* of a sweep: it is there since then */
    time_print(at, stamp_us(row->stamp.ver));
    return c->tx->v->archive_put(c->tx, row, at, "merge_loser");
}

int shadow_shown(struct change *c, const char *id, const struct stamp *gone, struct arena *a)
{
    struct hidden h;
    int rc = hidden_get(c->tx, id, a, &h);
    if (rc == 0 && h.place == PLACE_SHADOW) return shadow_show(c, &h.row, gone);
    return rc == E_NOT_FOUND ? 0 : rc;
}

/* What a record of the archive says of the id goes first. */
static int shadow_placed(struct change *c, const struct row *row)
{
    struct side_row record;
    int rc = c->tx->v->side_get(c->tx, SIDE_ARCHIVE, row->m.id, &c->priv->work, &record);
    if (rc == E_NOT_FOUND) return shadow_show(c, row, NULL);
    return rc == 0 && archive_gone(&record) ? shadow_show(c, row, &record.stamp) : rc;
}

int rested_remove(struct change *c, const char *id)
{
    struct side_row record;
    int rc = hidden_remove(c, id);
    if (rc == 0) rc = c->tx->v->side_get(c->tx, SIDE_ARCHIVE, id, &c->priv->work, &record);
    bool ours = rc == E_NOT_FOUND || (rc == 0 && archive_gone(&record));
    return ours ? c->tx->v->archive_remove(c->tx, id, NULL) : rc;
}

int swept_keep(struct change *c, const char *id)
{
    struct side_row record;
    struct archived kept;
    int rc = c->tx->v->side_get(c->tx, SIDE_ARCHIVE, id, c->scratch, &record);
    if (rc == E_NOT_FOUND)
        rc = c->tx->v->archive_get(c->tx, id, c->scratch, &kept);
    else
        return rc;
    if (rc != 0) return rc == E_NOT_FOUND ? 0 : rc;
    return change_archive(c, &kept.row, kept.archived_at, kept.reason);
}

int hidden_put(struct change *c, const struct row *row, enum place place)
{
    struct buf b;
    CHECK(place == PLACE_SHADOW || place == PLACE_SWEPT);
    buf_init(&b, OP_BYTES_MAX);
    buf_u8(&b, (uint8_t)place);
    row_write(&b, row);
    struct side_row side = { .kind = SIDE_SHADOW,
                             .id = row->m.id,
                             .stamp = row->stamp,
                             .key = title_key(row->m.title, row->m.ns),
                             .body = b.data,
                             .body_len = b.len };
    int rc = b.failed ? E_TOO_LARGE : c->tx->v->side_put(c->tx, &side);
    buf_release(&b);
    return rc == 0 && place == PLACE_SHADOW ? shadow_placed(c, row) : rc;
}

int hidden_remove(struct change *c, const char *id)
{
    return c->tx->v->side_remove(c->tx, SIDE_SHADOW, id);
}

int known_await(struct change *c, const char *id)
{
    struct store_tx *tx = c->tx;
    struct arena *a = &c->priv->work;
    struct row row;
    struct side_row side;
    int rc = tx->v->get(tx, id, a, &row);
    if (rc == E_NOT_FOUND) rc = tx->v->side_get(tx, SIDE_SHADOW, id, a, &side);
    if (rc == E_NOT_FOUND) rc = tx->v->side_get(tx, SIDE_TOMBSTONE, id, a, &side);
    if (rc != E_NOT_FOUND) return rc;
    const uint8_t awaited = PLACE_AWAITED;
    side = (struct side_row){ .kind = SIDE_SHADOW, .id = id, .body = &awaited, .body_len = 1 };
    return tx->v->side_put(tx, &side);
}

int title_resolve(struct store_tx *tx, const char *id, struct arena *a, struct row *ret)
{
    struct hidden h;
    int rc = tx->v->get(tx, id, a, ret);
    if (rc != E_NOT_FOUND) return rc;
    rc = hidden_get(tx, id, a, &h);
    if (rc != 0 || h.place != PLACE_SHADOW) return rc == 0 ? E_NOT_FOUND : rc;
    return tx->v->by_title(tx, h.row.m.title, h.row.m.ns, a, ret);
}

int change_shadows(struct store_tx *tx, const char *after_id, size_t limit, struct arena *a, struct rows *ret)
{
    *ret = (struct rows){ .item = arena_alloc(a, (limit + 1) * sizeof(struct row)) };
    if (ret->item == NULL) return E_TOO_LARGE;
    for (;;) {
        struct side_row *side;
        size_t n;
        int rc = tx->v->side_scan(tx, SIDE_SHADOW, NULL, after_id, 64, a, &side, &n);
        if (rc != 0 || n == 0) return rc;
        for (size_t i = 0; i < n; i++) {
            struct hidden h;
            rc = hidden_read(&side[i], a, &h);
            if (rc != 0) return rc;
            if (h.place != PLACE_SHADOW) continue;
            ret->more = ret->count == limit;
            if (ret->more) return 0;
            ret->item[ret->count++] = h.row;
        }
        after_id = side[n - 1].id;
    }
}

/* ---- an id or a prefix as people type it ----------------------------------------------------------------------- */

#define FIND_MAX 64

struct found {
    struct row row;
    const char *ids[FIND_MAX];
    size_t count;
    int64_t total;
};

/* Whether the id was not there yet. */
static bool found_add(struct found *f, const char *id)
{
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->ids[i], id) == 0) return false;
    if (f->count < FIND_MAX) f->ids[f->count++] = id;
    return true;
}

/* The winners of shadows whose id begins like that. */
static int find_shadows(struct store_tx *tx, const char *prefix, struct arena *a, struct found *f)
{
    struct side_row *side;
    size_t n;
    struct hidden h;
    struct row row;
    int rc = tx->v->side_scan(tx, SIDE_SHADOW, prefix, NULL, FIND_MAX, a, &side, &n);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = hidden_read(&side[i], a, &h);
        if (rc != 0 || h.place != PLACE_SHADOW) continue;
        rc = tx->v->by_title(tx, h.row.m.title, h.row.m.ns, a, &row);
        if (rc == 0 && found_add(f, row.m.id) && f->total++ == 0) f->row = row;
        if (rc == E_NOT_FOUND) rc = 0; /* the winner was swept */
    }
    return rc;
}

static int ambiguous(const char *prefix, const struct found *f, struct err *err)
{
    struct buf b;
    buf_init(&b, 1u << 16);
    buf_printf(&b, "ambiguous ID prefix '%s': %lld matches", prefix, (long long)f->total);
    for (size_t i = 0; i < f->count; i++) buf_printf(&b, "\n%s", f->ids[i]);
    err_set(err, E_AMBIGUOUS, "%s", buf_str(&b));
    buf_release(&b);
    return E_AMBIGUOUS;
}

int change_find(struct store_tx *tx, const char *id, bool prefix, struct arena *a, struct row *ret, struct err *err)
{
    const char **ids;
    size_t n;
    struct found f = { .count = 0 };
    int rc = title_resolve(tx, id, a, ret);
    if (rc != E_NOT_FOUND) return rc;
    if (!prefix || id[0] == '\0') return err_set(err, E_NOT_FOUND, "not found");
    rc = tx->v->by_prefix(tx, id, FIND_MAX, a, &ids, &n, &f.total);
    for (size_t i = 0; rc == 0 && i < n; i++) (void)found_add(&f, ids[i]);
    if (rc == 0 && n > 0) rc = tx->v->get(tx, ids[0], a, &f.row);
    if (rc == 0) rc = find_shadows(tx, id, a, &f);
    if (rc != 0) return rc;
    if (f.count == 0) return err_set(err, E_NOT_FOUND, "not found");
    if (f.total > 1) return ambiguous(id, &f, err);
    *ret = f.row;
    return 0;
}
