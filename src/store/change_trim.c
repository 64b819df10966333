/* change_trim.c - what may be forgotten because everybody has it: ops of the log, and deletions. */
#include "store/change_private.h"

#include <string.h>

#include "base/check.h"

#define LOG_STEP 4096
#define TOUCH_PAGE 64

int change_trim_log(struct change *c, uint64_t stream, uint64_t to, bool *ret_more)
{
    struct stream_pos pos;
    *ret_more = false;
    int rc = c->tx->v->stream_get(c->tx, stream, &pos);
    if (rc != 0) return rc == E_NOT_FOUND ? 0 : rc;
    if (to > pos.pos) to = pos.pos;
    if (to <= pos.trimmed) return 0;
    *ret_more = to - pos.trimmed > LOG_STEP;
    pos.trimmed = *ret_more ? pos.trimmed + LOG_STEP : to;
    return c->tx->v->stream_put(c->tx, &pos);
}

bool cover_has(const struct cover *v, uint64_t stream, uint64_t seq)
{
    size_t low = 0, high = v->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (v->v[mid].stream < stream)
            low = mid + 1;
        else
            high = mid;
    }
    return low < v->count && v->v[low].stream == stream && v->v[low].pos >= seq;
}

/* What nodes counted of an id nobody knows any more. */
static int forget_touches(struct change *c, const char *id, struct arena *a)
{
    struct side_row *side;
    size_t n = TOUCH_PAGE;
    const char *prefix = arena_printf(a, "%s%c", id, SEP);
    int rc = prefix != NULL ? 0 : E_TOO_LARGE;
    while (rc == 0 && n == TOUCH_PAGE) {
        rc = c->tx->v->side_scan(c->tx, SIDE_TOUCH, prefix, NULL, TOUCH_PAGE, a, &side, &n);
        for (size_t i = 0; rc == 0 && i < n; i++) rc = c->tx->v->side_remove(c->tx, SIDE_TOUCH, side[i].id);
    }
    return rc;
}

/* Whether the row says that something is deleted: of the archive, where rows and deletions are of one kind, by its
 * form. One that keeps a shadow's text out of the archive is still needed. */
static int says_gone(struct change *c, const struct side_row *side, bool *ret)
{
    struct hidden h;
    *ret = side->kind != SIDE_ARCHIVE || archive_gone(side);
    if (!*ret || side->kind != SIDE_ARCHIVE) return 0;
    int rc = hidden_get(c->tx, side->id, c->scratch, &h);
    *ret = rc != 0 || h.place != PLACE_SHADOW;
    return rc == E_NOT_FOUND ? 0 : rc;
}

int change_trim_gone(struct change *c, const struct trim_gone *t, const char *after, size_t limit,
                     const char **ret_last, size_t *ret_gone)
{
    struct side_row *side;
    size_t n;
    CHECK(t->kind == SIDE_TOMBSTONE || t->kind == SIDE_LINK_GONE || t->kind == SIDE_ARCHIVE);
    *ret_last = NULL;
    *ret_gone = 0;
    if (c->priv->now.merging) return 0; /* a page to come may hold what it is for */
    int rc = c->tx->v->side_scan(c->tx, t->kind, NULL, after, limit, c->scratch, &side, &n);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct stamp *s = &side[i].stamp;
        bool gone;
        rc = says_gone(c, &side[i], &gone);
        if (rc != 0 || !gone) continue;
        bool all = s->ver < t->before && s->seq != 0;
        for (size_t m = 0; all && m < t->count; m++) all = cover_has(&t->member[m], s->stream, s->seq);
        if (!all && s->ver < t->before) { /* every member had the whole of a stream before it left */
            struct stream_pos pos;
            rc = c->tx->v->stream_get(c->tx, s->stream, &pos);
            all = rc == 0 && pos.left && pos.pos >= s->seq;
            if (rc == E_NOT_FOUND) rc = 0;
        }
        if (rc != 0 || !all) continue;
        clock_follow(c, s->ver); /* an edit here must beat what other nodes still know of */
        rc = c->tx->v->side_remove(c->tx, t->kind, side[i].id);
        if (rc == 0 && t->kind == SIDE_TOMBSTONE) rc = forget_touches(c, side[i].id, c->scratch);
        if (rc == 0 && t->kind == SIDE_TOMBSTONE) rc = links_await(c, side[i].id);
        ++*ret_gone;
    }
    if (rc == 0 && n == limit) *ret_last = side[n - 1].id;
    return rc;
}
