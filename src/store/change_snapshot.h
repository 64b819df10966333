/* change_snapshot.h - another store merged into this one (change_snapshot.c, change_ahead.c). See change.h. */
#ifndef AIM_STORE_CHANGE_SNAPSHOT_H
#define AIM_STORE_CHANGE_SNAPSHOT_H

#include "store/change.h"

/* Merges a page of another store, the first one first. from, to: where the page began and ended there. What lies
 * between here, was covered by the other's positions and is not in the page was deleted there long ago, and goes.
 * E_PROTOCOL when torn: nothing changed once the item is undone.
 *
 * From the first page to the end or the stop, ops that those positions cover are not taken (see change_foreign), and
 * no deletion is forgotten: either could bring back a row that was deleted there, when its page has gone by. */
struct page_span {
    struct page_at from, to;
    const struct stream_pos *v; size_t count;         /* the other's positions, by stream */
    const struct stamp *held; size_t held_count;      /* ops it could not apply: what they made is not gone */
    bool lost;        /* rows were lost here behind our back: what is not here was not deleted for that */
    bool repair;      /* no snapshot: some rows of it, which may be gone here without their deletion */
    /* keys of which the other's contents stand, the stamps being the same */
    const char *const *force; size_t force_count;
};
int change_snapshot_page(struct change *c, const void *records, size_t len, const struct page_span *span);
/* No more pages will come of it, and no end. What was merged stays. */
void change_snapshot_stop(struct change *c);
/* Whether a snapshot is due since a stream left that this store does not hold whole. Reads only. */
int change_lacks(struct store_tx *tx, struct arena *a, bool *ret);
/* Rows that came with pages may be newer than all positions here, also when the donor was lost: true from the first
 * page on, across lives, until it is said to be over (all that the donor had after its last page is here), or such
 * rows were said anew by ops of ours, a page at a time while there is more. ret_said: how many. */
int change_ahead(struct store_tx *tx, struct arena *a, bool *ret);   /* reads only */
int change_ahead_over(struct change *c);
int change_ahead_say(struct change *c, size_t *ret_said, bool *ret_more);
/* After the last page: the vector becomes the greater of both; what lay between is in the rows. v: by stream. */
int change_snapshot_end(struct change *c, const struct stream_pos *v, size_t count);

#endif
