/* change_shown.c - a second look at the tables which only show what our rows of record say: links, standards, actions
 * that wait. A row deleted or changed there behind our back is shown anew. What is shown without a record, or though
 * its record says that it is gone, may be the original's, and is left for adoption. The text of an archive record lies
 * in the original's table alone: one that was lost or altered comes from a peer (change_page.c); here records of older
 * programs get its print. */
#include "store/change_shown.h"

#include "base/check.h"
#include "store/change_private.h"

#define LOOK_PAGE 256

static const uint16_t kinds[] = { SIDE_LINK, SIDE_STANDARD, SIDE_PENDING, SIDE_ARCHIVE };

static int right(struct store_tx *tx, const struct side_row *side, struct arena *a, bool *ret)
{
    struct archived kept;
    int rc;
    switch (side->kind) {
    case SIDE_LINK: return link_right(tx, side, a, ret);
    case SIDE_STANDARD: return standard_right(tx, side, a, ret);
    case SIDE_PENDING: return pending_right(tx, side, a, ret);
    case SIDE_ARCHIVE:
        *ret = true;
        if (side->key != 0 || !archive_shown(side)) return 0;
        rc = tx->v->archive_get(tx, side->id, a, &kept);
        *ret = rc != 0;
        return rc == E_NOT_FOUND ? 0 : rc;
    default: WRONG("no kind that is shown");
    }
}

static int again(struct change *c, struct side_row *side, struct arena *a)
{
    switch (side->kind) {
    case SIDE_LINK: return link_again(c, side, a);
    case SIDE_STANDARD: return standard_show(c, side, a);
    case SIDE_PENDING: return pending_again(c, side, a);
    default: WRONG("no kind that is shown");
    }
}

static int look_kind(struct store_tx *tx, uint16_t kind, shown_cb cb, void *data, bool *enough)
{
    struct arena page, one;
    struct side_row *side;
    char *after = NULL;
    size_t n = LOOK_PAGE;
    int rc = 0;
    arena_init(&page, CHANGE_ARENA_MAX);
    arena_init(&one, CHANGE_ARENA_MAX);
    while (rc == 0 && n == LOOK_PAGE && !*enough) {
        rc = tx->v->side_scan(tx, kind, NULL, after, LOOK_PAGE, &page, &side, &n);
        for (size_t i = 0; rc == 0 && i < n && !*enough; i++) {
            bool is_right;
            rc = right(tx, &side[i], &one, &is_right);
            if (rc == 0 && !is_right) *enough = !cb(data, kind, side[i].id);
            arena_release(&one);
        }
        mem_free(after);
        after = rc == 0 && n > 0 ? mem_strdup(side[n - 1].id) : NULL;
        arena_release(&page);
    }
    mem_free(after);
    return rc;
}

int change_shown_look(struct store_tx *tx, shown_cb cb, void *data)
{
    bool enough = false;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(kinds) && !enough; i++) rc = look_kind(tx, kinds[i], cb, data, &enough);
    return rc;
}

int change_shown_mend(struct change *c, uint16_t kind, const char *id, bool *ret_mended)
{
    struct side_row side;
    struct arena a;
    bool is_right = true;
    *ret_mended = false;
    arena_init(&a, CHANGE_ARENA_MAX);
    int rc = c->tx->v->side_get(c->tx, kind, id, &a, &side);
    if (rc == 0) rc = right(c->tx, &side, &a, &is_right);
    if (rc == 0 && !is_right && kind == SIDE_ARCHIVE) {
        rc = archive_print(c->tx, &side, &a);
        if (rc == 0) rc = c->tx->v->side_put(c->tx, &side);
    } else if (rc == 0 && !is_right) {
        rc = again(c, &side, &a);
        if (rc == 0) rc = right(c->tx, &side, &a, ret_mended);
    }
    arena_release(&a);
    return rc == E_NOT_FOUND ? 0 : rc;
}
