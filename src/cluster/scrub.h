/* scrub.h - rows of several nodes laid side by side: which of ours are wrong, and whose are right. Pure. */
#ifndef AIM_CLUSTER_SCRUB_H
#define AIM_CLUSTER_SCRUB_H

#include "base/alloc.h"
#include "cluster/wire.h"

#define SCRUB_SIDES_MAX 16

/* One row that differs without a reason. */
struct finding {
    uint16_t family;
    const char *key;           /* in the arena given */
    struct stamp mine, theirs; /* zero: no such row */
    unsigned from;             /* whose row is right: a side; 0: ours, that peer is to mend itself */
    bool tie;                  /* one stamp, two contents: more nodes have the other one */
};
struct findings { struct finding *item; size_t count; };   /* item: mem_alloc'ed */

/* side[0] is ours, the others are peers' (NULL: none); rows of the same buckets of each, sorted here. left(stream):
 * the stream left the vector, whole at every member. all: every peer is among the sides, so that a tie between two may
 * be broken by the contents themselves. */
struct scrub_sides {
    struct wire_rows *side[SCRUB_SIDES_MAX + 1];
    unsigned count;
    bool (*left)(const void *data, uint64_t stream, uint64_t seq);
    const void *data;
    bool all;
};
void scrub_judge(const struct scrub_sides *s, struct arena *a, struct findings *ret);
/* Keeps of `now` what was found before, too. */
void scrub_seen_twice(struct findings *now, const struct findings *before);

#endif
