/* dump.h - a node's complete contents through its own door, and waiting until nodes agree. */
#ifndef AIM_CHAOS_DUMP_H
#define AIM_CHAOS_DUMP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct load;
struct mesh;
struct node;

/* {node, total, listed, complete, memories, archive, error}: a new reference, never NULL; what went wrong is in it.
 * The list is complete when it brought as many different ids as the server's own total. ns NULL: everything. An error
 * only when the scenario must end (signal, outer deadline). */
int dump_node(struct node *n, const char *ns, json_t **ret, struct err *err);
/* Dumps every node of the set into dir/dump-<stage>-n<i>.json. */
int dump_stage(struct mesh *m, unsigned set, const char *stage, const char *dir, struct err *err);
/* Waits until the nodes of the set show the same and hold every acknowledged, not deleted memory of the load (may be
 * NULL). *ret_ms: how long that took; -1: not within `ms`, which is for the checker to judge and no error here. */
int dump_settle(struct mesh *m, unsigned set, const struct load *l, int64_t ms, int64_t *ret_ms, struct err *err);

#endif
