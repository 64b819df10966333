/* df_cache.h - how many memories hold a word, remembered between queries. Shared by the readers: any thread. */
#ifndef AIM_OPS_DF_CACHE_H
#define AIM_OPS_DF_CACHE_H

#include <stdbool.h>
#include <stdint.h>

struct df_cache;
struct df_cache *df_cache_new(void);
void df_cache_free(struct df_cache *c);              /* NULL is fine */

/* rows: how many memories the asking snapshot has. What was noted at a count differing by 5 % or more is forgotten. */
bool df_cache_get(struct df_cache *c, int64_t rows, const char *word, bool prefix, int64_t *ret_df);
void df_cache_put(struct df_cache *c, int64_t rows, const char *word, bool prefix, int64_t df);

#endif
