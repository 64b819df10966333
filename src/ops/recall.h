/* recall.h - finding memories by words: candidates from the index, ranked by the score of memory/score.h. The plan of
 * both recall (any word) and search (all words), over the storage port, on one transaction. Pool threads. */
#ifndef AIM_OPS_RECALL_H
#define AIM_OPS_RECALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "memory.h"
#include "store.h"

struct arena;
struct df_cache;
struct tokenizer;

struct find {
    const char *text; size_t len;        /* what is asked; may hold any bytes */
    struct filter filter;                /* every member is looked at; now_us 0: expired ones too */
    /* A namespace: with a '/' it and its ancestors, nearer ones counting more; flat: only it. NULL: filter.ns
     * decides. */
    const char *ns_hierarchy;
    size_t limit;
    int64_t now_us;                      /* for the age of memories */
    bool all_words;                      /* search: every word must occur */
    bool variants;                       /* other forms of a word add to the score; alone they are no hit */
    bool tier_bonus;
    int64_t budget_tokens;               /* -1: none */
};

/* score: not rounded; share: 0..1, how much of the query it answers */
struct hit { struct row row; double score, share; };
struct hits { struct hit *item; size_t count; int64_t tokens_used; };

/* What a memory costs of a budget: a quarter of the bytes of title and content, rounded down. */
int64_t recall_tokens(const struct memory *m);
/* Whether a row passes a filter. */
bool recall_passes(const struct filter *f, const struct row *row);
/* Best first; in the arena. cache may be NULL. A query without words finds nothing. E_TOO_LARGE: the arena is full;
 * else the storage's errors. */
int recall_find(struct store_tx *tx, const struct tokenizer *t, struct df_cache *cache, const struct find *f,
                struct arena *a, struct hits *ret, struct err *err);

#endif
