/* hints.h - which memories say something about the same thing: a capped look into the word index, for hints only. */
#ifndef AIM_OPS_HINTS_H
#define AIM_OPS_HINTS_H

#include "ops/ops.h"

#define HINTS_MAX 5

/* A new array of at most HINTS_MAX ids of live memories of `ns` that share a word with the title, best first; `but`
 * is left out. Reads at most 2,000 postings, rarest words first, and 64 rows. */
int hints_similar(struct op_ctx *c, const struct str *title, const char *ns, const char *but, json_t **ret);

#endif
