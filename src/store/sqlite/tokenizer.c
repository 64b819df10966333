/* tokenizer.c - FTS5's unicode61 without a table: reached through the fts5_api of an in-memory handle that lives as
 * long as the process. An instance is no one's for two threads at a time (it folds in a buffer of its own), so they
 * are kept in a pool. */
#include "store/sqlite/sq.h"

#include <limits.h>
#include <pthread.h>

#include "base/check.h"

#define POOL_MAX 16

static struct {
    pthread_once_t once;
    pthread_mutex_t lock;
    sqlite3 *db;
    void *context;
    fts5_tokenizer unicode61;
    Fts5Tokenizer *idle[POOL_MAX];
    int idle_count;
} pool = { .once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER };

static void pool_start(void)
{
    fts5_api *api = NULL;
    sqlite3_stmt *s = NULL;
    sq_library();
    CHECK(sqlite3_open_v2(":memory:", &pool.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK);
    CHECK(sqlite3_prepare_v2(pool.db, "SELECT fts5(?1)", -1, &s, NULL) == SQLITE_OK);
    sqlite3_bind_pointer(s, 1, (void *)&api, "fts5_api_ptr", NULL);
    sqlite3_step(s);
    sqlite3_finalize(s);
    CHECK(api != NULL && api->iVersion >= 2);
    CHECK(api->xFindTokenizer(api, "unicode61", &pool.context, &pool.unicode61) == SQLITE_OK);
}

static Fts5Tokenizer *take(void)
{
    Fts5Tokenizer *t = NULL;
    pthread_mutex_lock(&pool.lock);
    if (pool.idle_count > 0) t = pool.idle[--pool.idle_count];
    pthread_mutex_unlock(&pool.lock);
    if (t == NULL) CHECK(pool.unicode61.xCreate(pool.context, NULL, 0, &t) == SQLITE_OK);
    return t;
}

static void give(Fts5Tokenizer *t)
{
    pthread_mutex_lock(&pool.lock);
    if (pool.idle_count < POOL_MAX) {
        pool.idle[pool.idle_count++] = t;
        t = NULL;
    }
    pthread_mutex_unlock(&pool.lock);
    if (t) pool.unicode61.xDelete(t);
}

struct each {
    word_cb cb;
    void *data;
    int rc;
};

static int each_word(void *data, int flags, const char *word, int len, int start, int end)
{
    struct each *e = data;
    (void)flags;
    e->rc = e->cb(e->data, word, (size_t)len, (size_t)start, (size_t)end);
    return e->rc ? SQLITE_DONE : SQLITE_OK;
}

static int unicode61_each(const struct tokenizer *t, const char *text, size_t len, word_cb cb, void *data)
{
    struct each e = { cb, data, 0 };
    (void)t;
    if (len == 0) return 0;
    Fts5Tokenizer *one = take();
    int rc =
        pool.unicode61.xTokenize(one, &e, FTS5_TOKENIZE_DOCUMENT, text, len > INT_MAX ? INT_MAX : (int)len, each_word);
    give(one);
    CHECK(rc != SQLITE_NOMEM);
    return e.rc;
}

const struct tokenizer *sqlite_tokenizer(void)
{
    static const struct tokenizer unicode61 = { unicode61_each };
    pthread_once(&pool.once, pool_start);
    return &unicode61;
}
