/* cut.h - cuts between nodes, in one direction, by the links' proxies or by iptables on the links' ports.
 *
 * Rules live in a chain of our own, named after this process, jumped to from INPUT for loopback only: taking the chain
 * away takes everything away, and what a killed process left is found by its name and removed at the next start. */
#ifndef AIM_CHAOS_CUT_H
#define AIM_CHAOS_CUT_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct mesh;

enum cut_tool { CUT_PROXY, CUT_IPTABLES };

struct cut { struct mesh *mesh; enum cut_tool tool; unsigned from_to[3]; bool on; };

/* Whether rules can be set here. 0, E_NOT_FOUND (no iptables) or E_DENIED, with a line that tells. Removes leftovers.
 * */
int cut_possible(struct err *err);
/* Cuts what node i sends to the nodes of from_to[i] (bit sets). Blocks for some milliseconds with iptables. */
int cut_begin(struct cut *c, struct mesh *m, enum cut_tool tool, const unsigned from_to[3], struct err *err);
/* Heals; *ret_held (may be NULL): packets dropped, or pieces held back. Does nothing when it is not on. */
int cut_end(struct cut *c, uint64_t *ret_held, struct err *err);

#endif
