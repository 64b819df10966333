/* rows.h - memories as documents: what makes two lists of them the same. */
#ifndef AIM_CHAOS_ROWS_H
#define AIM_CHAOS_ROWS_H

#include <jansson.h>

#define ROWS_DIGEST 65

/* SHA-256 over the rows in the order of their ids; what mere reading changes (access_count, last_accessed_at) is left
 * out. */
void rows_digest(const json_t *memories, char ret[ROWS_DIGEST]);

#endif
