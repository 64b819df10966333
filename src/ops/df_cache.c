/* df_cache.c - a table of fixed size in which a newer word takes an older one's place: about 256 KiB whatever is asked.
 * Words are kept as 64-bit hashes; a collision costs a little precision of a score, nothing else. */
#include "ops/df_cache.h"

#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/digest.h"

#define PLACES 16384u

struct place {
    uint64_t key; /* 0: empty */
    int64_t df;
};

struct df_cache {
    pthread_mutex_t lock;
    int64_t rows; /* N when the table was begun */
    struct place place[PLACES];
};

struct df_cache *df_cache_new(void)
{
    struct df_cache *c = mem_alloc(sizeof(*c));

    CHECK(pthread_mutex_init(&c->lock, NULL) == 0);
    return c;
}

void df_cache_free(struct df_cache *c)
{
    if (c == NULL) return;
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

static uint64_t key_of(const char *word, bool prefix)
{
    return hash64(word, strlen(word), prefix) | 1;
}

static bool moved(const struct df_cache *c, int64_t rows)
{
    int64_t by = rows > c->rows ? rows - c->rows : c->rows - rows;
    return by > 0 && by >= c->rows / 20;
}

bool df_cache_get(struct df_cache *c, int64_t rows, const char *word, bool prefix, int64_t *ret_df)
{
    uint64_t key = key_of(word, prefix);
    bool found = false;

    pthread_mutex_lock(&c->lock);
    if (!moved(c, rows)) {
        const struct place *p = &c->place[key >> 8 & (PLACES - 1)];
        found = p->key == key;
        if (found) *ret_df = p->df;
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}

void df_cache_put(struct df_cache *c, int64_t rows, const char *word, bool prefix, int64_t df)
{
    uint64_t key = key_of(word, prefix);

    pthread_mutex_lock(&c->lock);
    if (moved(c, rows)) {
        memset(c->place, 0, sizeof(c->place));
        c->rows = rows;
    }
    c->place[key >> 8 & (PLACES - 1)] = (struct place){ key, df };
    pthread_mutex_unlock(&c->lock);
}
