/* ring.h - the newest ops of our own stream, kept in memory for all peers together (a dead peer costs nothing:
 * older ops are paged from the log). Blocks are commits as the lane made them; the oldest go when the cap is
 * passed. Loop thread. */
#ifndef AIM_CLUSTER_RING_H
#define AIM_CLUSTER_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"
#include "store/change.h"

struct ring;
struct ring *ring_new(size_t bytes_max);
void ring_free(struct ring *r);
/* Copies a commit's ops, unless they are in the ring; they must continue it (dense sequence), else it is emptied
 * first. */
void ring_add(struct ring *r, const struct made_op *made, size_t count, const char *bodies);
/* Ops from `first`, at most count and about bytes (one at least): fills op[] with borrowed bodies (valid until
 * ring_add). Returns how many; 0 when `first` is not in the ring. */
size_t ring_get(const struct ring *r, uint64_t first, size_t count, size_t bytes, struct log_op *op);
/* Chain after seq, if seq is here. */
bool ring_chain(const struct ring *r, uint64_t seq, uint64_t *ret);

#endif
