/* query_index.h - the words of a query by their bytes: a text of many words is matched against a query of few by one
 * look-up a word. Private to query.c and score.c. */
#ifndef AIM_MEMORY_QUERY_INDEX_H
#define AIM_MEMORY_QUERY_INDEX_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "memory/text.h"

enum query_use_kind { USE_WORD, USE_PHRASE, USE_VARIANT };

/* One place a word has in a query. */
struct query_use {
    uint8_t group, place; /* place: of a phrase's word */
    uint8_t kind;         /* enum query_use_kind */
    int16_t next;         /* further use of the same word, -1: none */
};

struct query_slot {
    const char *word; /* NULL: empty */
    uint32_t hash;
    uint16_t len;
    int16_t use;
};

struct query_index {
    struct query_slot *slot; /* open addressing, mask + 1 a power of two, at most half full */
    uint32_t mask;
    uint32_t lens[32]; /* by the first byte: bit n says that a word of that length (31: or more) begins so */
    struct query_use *use;
    uint8_t prefix[QUERY_GROUPS_MAX]; /* groups that are prefixes */
    uint8_t prefixes;
};

static inline uint32_t query_hash(const char *word, size_t len)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < len; i++) h = (h ^ (unsigned char)word[i]) * 16777619u;
    return h ^ h >> 15;
}

/* Whether it is worth looking: most words of a text are told apart by their first letter and length. */
static inline bool query_may_hold(const struct query_index *x, char first, size_t len)
{
    return x->lens[(unsigned char)first & 31] >> (len < 31 ? len : 31) & 1;
}

/* The slot of a word, or the empty one where it would be. */
static inline struct query_slot *query_look(const struct query_index *x, const char *word, size_t len)
{
    uint32_t hash = query_hash(word, len);
    for (uint32_t i = hash & x->mask;; i = (i + 1) & x->mask) {
        struct query_slot *s = &x->slot[i];
        if (s->word == NULL || (s->hash == hash && s->len == len && memcmp(s->word, word, len) == 0)) return s;
    }
}

#endif
