/* change_lost.c - texts that were replaced by an edit which had not seen them: the archive keeps them, under an id made
 * of the id and the stamp of the version, which is the same on every node.
 *
 * A version names the one it was made from. A live version that lost, and from which none was made, was replaced
 * unseen. Versions come by several streams in any order, so one that lost is a doubt until all that speaks of it had
 * time to come. If its winner was made from less than it, its text is shown in the archive meanwhile:
 *
 *   NONE ─it lost─▶ ALONE, SHOWN ─a version made from it comes─▶ MADE FROM (no longer shown)
 *     │                   └─LOST_SETTLE_US─▶ in the archive, marked to be told of (LOSER)
 *     └─a version made from it comes first─▶ MADE FROM ─LOST_SETTLE_US─▶ NONE
 *
 * So everybody finds the same alone, whatever came first, and it does not matter who is left to tell of it. */
#include "store/change_private.h"

#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/id.h"
#include "store/row.h"

enum { ALONE = 1, MADE_FROM = 2, SHOWN = 3 }; /* the first byte of a doubt, then when it was made; ALONE: the row */

static void lost_id(char ret[UUID_TEXT], const char *id, const struct stamp *s)
{
    char seed[256];
    uint8_t hash[32];
    int n = snprintf(seed, sizeof(seed), "merge_loser %.160s %llx %llx", id, (unsigned long long)s->ver,
                     (unsigned long long)s->stream);
    sha256(seed, (size_t)n, hash);
    uuid_from_hash(ret, hash);
}

/* ---- the archive ----------------------------------------------------------------------------------------------- */

/* Unless it was told already, or taken out where it was found earlier. *ret_put: it is shown now. */
static int show(struct change *c, const struct row *kept, const char *at, bool *ret_put)
{
    struct side_row record;
    int rc = c->tx->v->side_get(c->tx, SIDE_ARCHIVE, kept->m.id, &c->priv->work, &record);
    *ret_put = rc == E_NOT_FOUND;
    return *ret_put ? c->tx->v->archive_put(c->tx, kept, at, "merge_loser") : rc;
}

/* *ret_put: false where nothing is lost with it. */
static int show_loser(struct change *c, const struct row *loser, const struct merged *winner, bool *ret_put)
{
    char at[TIME_TEXT], id[UUID_TEXT];
    struct row kept = *loser;
    const struct row *w = &winner->row;
    *ret_put = false;
    c->unseen++;
    if (winner->known && !winner->deleted && text_same(loser->m.title, w->m.title) &&
        text_same(loser->m.content, w->m.content))
        return 0;
    lost_id(id, loser->m.id, &loser->stamp);
    kept.m.id = id;
    time_print(at, stamp_us(loser->stamp.ver > w->stamp.ver ? loser->stamp.ver : w->stamp.ver));
    return show(c, &kept, at, ret_put);
}

static int hide(struct change *c, const char *id)
{
    struct side_row record;
    int rc = c->tx->v->side_get(c->tx, SIDE_ARCHIVE, id, &c->priv->work, &record);
    return rc == E_NOT_FOUND ? c->tx->v->archive_remove(c->tx, id, NULL) : rc;
}

static int mark_loser(struct change *c, const char *id)
{
    const struct side_row side = { .kind = SIDE_LOSER, .id = id, .body = "", .body_len = 0 };
    return c->tx->v->side_put(c->tx, &side);
}

int change_losers(struct change *c, size_t limit, bool *ret_more)
{
    struct side_row *mark, record;
    struct archived kept;
    size_t n;
    int rc = c->tx->v->side_scan(c->tx, SIDE_LOSER, NULL, NULL, limit, c->scratch, &mark, &n);
    *ret_more = rc == 0 && n == limit;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = c->tx->v->side_get(c->tx, SIDE_ARCHIVE, mark[i].id, c->scratch, &record);
        bool told = rc == 0;
        if (rc == E_NOT_FOUND) rc = c->tx->v->archive_get(c->tx, mark[i].id, c->scratch, &kept);
        if (rc == 0 && !told) rc = change_archive(c, &kept.row, kept.archived_at, kept.reason);
        if (rc == 0 || rc == E_NOT_FOUND) rc = c->tx->v->side_remove(c->tx, SIDE_LOSER, mark[i].id);
    }
    return rc;
}

/* ---- doubts ---------------------------------------------------------------------------------------------------- */

/* The first byte of what is known of this version, 0: nothing. */
static int doubt_get(struct change *c, const char *key, uint8_t *ret)
{
    struct side_row side;
    *ret = 0;
    int rc = c->tx->v->side_get(c->tx, SIDE_DOUBT, key, &c->priv->work, &side);
    if (rc == 0 && side.body_len > 0) *ret = *(const uint8_t *)side.body;
    return rc == E_NOT_FOUND ? 0 : rc;
}

static int doubt_put(struct change *c, const char *key, uint8_t form, const struct row *row)
{
    struct buf b;
    buf_init(&b, OP_BYTES_MAX);
    buf_u8(&b, form);
    buf_u64(&b, (uint64_t)c->now_us);
    if (form == ALONE) row_write(&b, row);
    struct side_row side = { .kind = SIDE_DOUBT, .id = key, .body = b.data, .body_len = b.len };
    int rc = b.failed ? E_TOO_LARGE : c->tx->v->side_put(c->tx, &side);
    buf_release(&b);
    return rc;
}

int lost_parent(struct change *c, const char *id, const struct stamp *from)
{
    char key[UUID_TEXT];
    uint8_t form;
    lost_id(key, id, from);
    int rc = doubt_get(c, key, &form);
    if (rc == 0 && form == SHOWN) rc = hide(c, key);
    return rc == 0 && form != MADE_FROM ? doubt_put(c, key, MADE_FROM, NULL) : rc;
}

int lost_loser(struct change *c, const struct row *loser, const struct merged *winner, bool unseen)
{
    char key[UUID_TEXT];
    uint8_t form;
    bool put;
    const struct stamp from = { .ver = winner->row.own.base_ver, .stream = winner->row.own.base_stream };
    if (stamp_cmp(&from, &loser->stamp) == 0) return 0;
    lost_id(key, loser->m.id, &loser->stamp);
    int rc = doubt_get(c, key, &form);
    if (rc != 0 || form != 0) return rc;
    if (!unseen) return doubt_put(c, key, ALONE, loser);
    rc = show_loser(c, loser, winner, &put);
    return rc == 0 && put ? doubt_put(c, key, SHOWN, NULL) : rc;
}

int lost_copy(struct change *c, const struct row *kept, const char *at)
{
    uint8_t form;
    bool put;
    int rc = doubt_get(c, kept->m.id, &form);
    if (rc != 0 || form != 0) return rc;
    rc = show(c, kept, at, &put);
    return rc == 0 && put ? doubt_put(c, kept->m.id, SHOWN, NULL) : rc;
}

static int settle(struct change *c, const struct side_row *side, struct arena *a)
{
    struct reader r;
    struct row row;
    struct known k;
    bool put;
    int rc = 0;
    reader_init(&r, side->body, side->body_len);
    uint8_t form = read_u8(&r);
    int64_t age = c->now_us - (int64_t)read_u64(&r);
    if (age > -LOST_SETTLE_US && age < LOST_SETTLE_US) return 0; /* else of a clock that was set back */
    put = form == SHOWN;
    if (form == ALONE && row_read(&r, a, &row) == 0) {
        rc = known_load(c, row.m.id, false, a, &k);
        if (rc == 0) rc = show_loser(c, &row, &k.merged, &put);
    }
    if (rc == 0 && put) rc = mark_loser(c, side->id);
    return rc == 0 ? c->tx->v->side_remove(c->tx, SIDE_DOUBT, side->id) : rc;
}

int change_doubts(struct change *c, const char *after_id, size_t limit, const char **ret_last)
{
    struct side_row *side;
    size_t n;
    *ret_last = NULL;
    int rc = c->tx->v->side_scan(c->tx, SIDE_DOUBT, NULL, after_id, limit, c->scratch, &side, &n);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        arena_release(&c->priv->work);
        rc = settle(c, &side[i], &c->priv->work);
    }
    if (rc == 0 && n == limit) *ret_last = side[n - 1].id;
    return rc;
}
