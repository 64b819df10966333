/* change_lost.c - texts that were replaced by an edit which had not seen them: the archive keeps them, under an id made
 * of the id and the stamp of the version, which is the same on every node.
 *
 * A version names the one it was made from. If that is less than the loser, its maker had not seen the loser. If it is
 * greater, what lies between says more, and may come later, by another stream, or may have come before. So a version
 * that lost is a DOUBT until it is known that some other was made from it:
 *
 *   NONE ─it lost─▶ ALONE ─a version made from it comes─▶ MADE FROM ─▶ NONE
 *     │               └─no such version in LOST_SETTLE_US─▶ in the archive, marked to be told of (LOSER)
 *     └─a version made from it comes first─▶ MADE FROM ─LOST_SETTLE_US─▶ NONE
 *
 * Everybody finds out alone, whatever the order, so it does not matter who is left to tell of it. */
#include "store/change_private.h"

#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/id.h"
#include "store/row.h"

enum { ALONE = 1, MADE_FROM = 2 }; /* the first byte of a doubt, followed by when it was made */

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

int loser_keep(struct change *c, const struct row *kept, const char *at)
{
    struct side_row record, mark = { .kind = SIDE_LOSER, .id = kept->m.id, .body = "", .body_len = 0 };
    int rc = c->tx->v->side_get(c->tx, SIDE_ARCHIVE, kept->m.id, &c->priv->work, &record);
    if (rc != E_NOT_FOUND) return rc; /* told already, or taken out where it was found earlier */
    rc = c->tx->v->archive_put(c->tx, kept, at, "merge_loser");
    return rc == 0 ? c->tx->v->side_put(c->tx, &mark) : rc;
}

static int lost_keep(struct change *c, const struct row *loser, const struct merged *winner)
{
    char at[TIME_TEXT], id[UUID_TEXT];
    struct row kept = *loser;
    const struct row *w = &winner->row;
    c->unseen++;
    if (winner->known && !winner->deleted && text_same(loser->m.title, w->m.title) &&
        text_same(loser->m.content, w->m.content))
        return 0;
    lost_id(id, loser->m.id, &loser->stamp);
    kept.m.id = id;
    time_print(at, stamp_us(loser->stamp.ver > w->stamp.ver ? loser->stamp.ver : w->stamp.ver));
    return loser_keep(c, &kept, at);
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

/* row: of one that lost; NULL: a version was made from it. */
static int doubt_put(struct change *c, const char *key, const struct row *row)
{
    struct buf b;
    buf_init(&b, OP_BYTES_MAX);
    buf_u8(&b, row != NULL ? ALONE : MADE_FROM);
    buf_u64(&b, (uint64_t)c->now_us);
    if (row != NULL) row_write(&b, row);
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
    return rc == 0 && form != MADE_FROM ? doubt_put(c, key, NULL) : rc;
}

int lost_loser(struct change *c, const struct row *loser, const struct merged *winner, bool unseen)
{
    char key[UUID_TEXT];
    uint8_t form;
    const struct stamp from = { .ver = winner->row.own.base_ver, .stream = winner->row.own.base_stream };
    if (stamp_cmp(&from, &loser->stamp) == 0) return 0;
    lost_id(key, loser->m.id, &loser->stamp);
    int rc = doubt_get(c, key, &form);
    if (rc != 0 || form != 0) return rc;
    return unseen ? lost_keep(c, loser, winner) : doubt_put(c, key, loser);
}

static int settle(struct change *c, const struct side_row *side, struct arena *a)
{
    struct reader r;
    struct row row;
    struct known k;
    int rc = 0;
    reader_init(&r, side->body, side->body_len);
    uint8_t form = read_u8(&r);
    int64_t age = c->now_us - (int64_t)read_u64(&r);
    if (age > -LOST_SETTLE_US && age < LOST_SETTLE_US) return 0; /* else of a clock that was set back */
    if (form == ALONE && row_read(&r, a, &row) == 0) {
        rc = known_load(c, row.m.id, false, a, &k);
        if (rc == 0) rc = lost_keep(c, &row, &k.merged);
    }
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
