/* memstore.c - tables, transactions, faults, images. A change of a table notes what was there before; undoing is
 * putting it back, latest first. Savepoints and the last durable commit are places in that list. */
#include "memstore_private.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "store/row.h"

struct memstore_image {
    struct map table[TABLES];
};

static struct memstore *of(struct store *s)
{
    return container_of(s, struct memstore, base);
}

/* ---- blobs and maps -------------------------------------------------------------------------------------------- */

static struct blob *blob_new(const void *data, size_t len)
{
    struct blob *b = mem_alloc(sizeof(*b) + len + 1);
    atomic_init(&b->refs, 1);
    b->len = (uint32_t)len;
    if (len > 0) memcpy(b->data, data, len);
    return b;
}

static struct blob *blob_ref(struct blob *b)
{
    if (b != NULL) atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

static void blob_drop(struct blob *b)
{
    if (b != NULL && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1) mem_free(b);
}

static int key_cmp(const struct blob *k, const void *key, size_t len)
{
    size_t n = k->len < len ? k->len : len;
    int order = n > 0 ? memcmp(k->data, key, n) : 0;
    if (order != 0) return order;
    return k->len < len ? -1 : k->len > len;
}

size_t ms_find(const struct map *m, const void *key, size_t len, bool *found)
{
    size_t low = 0, high = m->count;
    *found = false;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = key_cmp(m->item[mid].key, key, len);
        if (order == 0) {
            *found = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Sets key to value (NULL: absent), taking the references given. Returns what was there. */
static struct blob *map_set(struct map *m, struct blob *key, struct blob *value)
{
    bool found;
    size_t at = ms_find(m, key->data, key->len, &found);
    if (found) {
        struct blob *old = m->item[at].value;
        blob_drop(key);
        if (value != NULL) {
            m->item[at].value = value;
        } else {
            blob_drop(m->item[at].key);
            memmove(&m->item[at], &m->item[at + 1], (m->count - at - 1) * sizeof(struct entry));
            m->count--;
        }
        return old;
    }
    if (value == NULL) {
        blob_drop(key);
        return NULL;
    }
    if (m->count == m->cap) {
        m->cap = m->cap == 0 ? 16 : m->cap * 2;
        m->item = mem_realloc(m->item, m->cap * sizeof(struct entry));
    }
    memmove(&m->item[at + 1], &m->item[at], (m->count - at) * sizeof(struct entry));
    m->item[at] = (struct entry){ .key = key, .value = value };
    m->count++;
    return NULL;
}

static void map_clear(struct map *m)
{
    for (size_t i = 0; i < m->count; i++) {
        blob_drop(m->item[i].key);
        blob_drop(m->item[i].value);
    }
    mem_free(m->item);
    *m = (struct map){ 0 };
}

static void map_copy(struct map *to, const struct map *from)
{
    *to = (struct map){ .count = from->count, .cap = from->count };
    if (from->count == 0) return;
    to->item = mem_alloc(from->count * sizeof(struct entry));
    for (size_t i = 0; i < from->count; i++)
        to->item[i] = (struct entry){ .key = blob_ref(from->item[i].key), .value = blob_ref(from->item[i].value) };
}

/* ---- undo ------------------------------------------------------------------------------------------------------ */

static void lock(struct memstore *m)
{
    if (m->threads) CHECK(pthread_mutex_lock(&m->lock) == 0);
}

static void unlock(struct memstore *m)
{
    if (m->threads) CHECK(pthread_mutex_unlock(&m->lock) == 0);
}

static void undo_to(struct memstore *m, size_t mark)
{
    while (m->undo_count > mark) {
        struct undo *u = &m->undo[--m->undo_count];
        blob_drop(map_set(&m->live[u->table], u->key, u->old));
    }
}

static void undo_forget(struct memstore *m)
{
    for (size_t i = 0; i < m->undo_count; i++) {
        blob_drop(m->undo[i].key);
        blob_drop(m->undo[i].old);
    }
    m->undone_before += m->undo_count;
    m->undo_count = m->synced = 0;
}

static void live_set(struct memstore *m, enum table t, struct blob *key, struct blob *value)
{
    CHECK(m->in_tx);
    lock(m);
    struct blob *old = map_set(&m->live[t], blob_ref(key), value);
    if (m->undo_count == m->undo_cap) {
        m->undo_cap = m->undo_cap == 0 ? 64 : m->undo_cap * 2;
        m->undo = mem_realloc(m->undo, m->undo_cap * sizeof(struct undo));
    }
    m->undo[m->undo_count++] = (struct undo){ .table = t, .key = key, .old = old };
    unlock(m);
}

/* ---- for the verbs --------------------------------------------------------------------------------------------- */

static int fault(struct memstore *m)
{
    m->calls++;
    if (m->fail_at == 0 || --m->fail_at > 0) return 0;
    return m->fail_code;
}

int ms_call(struct store_tx *tx)
{
    struct store_conn *c = container_of(tx, struct store_conn, tx);
    if (c->stop != NULL && atomic_load(c->stop)) return err_set(tx->err, E_CANCELLED, "cancelled");
    if (c->m->threads && !c->writer) return 0;
    int rc = fault(c->m);
    return rc == 0 ? 0 : err_set(tx->err, rc, "injected: %s", err_text(rc));
}

struct map *ms_map(struct store_tx *tx, enum table t)
{
    struct store_conn *c = container_of(tx, struct store_conn, tx);
    return c->writer || !c->m->threads ? &c->m->live[t] : &c->copy[t];
}

const struct blob *ms_get(struct store_tx *tx, enum table t, const void *key, size_t len)
{
    bool found;
    struct map *m = ms_map(tx, t);
    size_t at = ms_find(m, key, len, &found);
    return found ? m->item[at].value : NULL;
}

void ms_put(struct store_tx *tx, enum table t, const struct buf *key, const struct buf *value)
{
    struct store_conn *c = container_of(tx, struct store_conn, tx);
    CHECK(c->writer && c->in_tx && !key->failed && !value->failed);
    live_set(c->m, t, blob_new(key->data, key->len), blob_new(value->data, value->len));
}

void ms_drop(struct store_tx *tx, enum table t, const struct buf *key)
{
    struct store_conn *c = container_of(tx, struct store_conn, tx);
    CHECK(c->writer && c->in_tx && !key->failed);
    live_set(c->m, t, blob_new(key->data, key->len), NULL);
}

bool ms_starts(const struct blob *key, const void *prefix, size_t len)
{
    return key->len >= len && (len == 0 || memcmp(key->data, prefix, len) == 0);
}

int ms_savepoint(struct store_tx *tx, struct err *err)
{
    struct store_conn *c = container_of(tx, struct store_conn, tx);
    int rc = fault(c->m);
    if (rc != 0) return err_set(err, rc, "injected: %s", err_text(rc));
    CHECK(c->m->marks < sizeof(c->m->mark) / sizeof(c->m->mark[0]));
    c->m->mark[c->m->marks++] = c->m->undo_count;
    return 0;
}

int ms_savepoint_end(struct store_tx *tx, bool keep, struct err *err)
{
    struct store_conn *c = container_of(tx, struct store_conn, tx);
    CHECK(c->m->marks > 0);
    if (keep) {
        int rc = fault(c->m);
        if (rc != 0) return err_set(err, rc, "injected: %s", err_text(rc));
    }
    c->m->marks--;
    lock(c->m);
    if (!keep) undo_to(c->m, c->m->mark[c->m->marks]);
    unlock(c->m);
    return 0;
}

/* ---- the backend ----------------------------------------------------------------------------------------------- */

static int ms_conn_open(struct store *s, bool writer, struct store_conn **ret, struct err *err)
{
    (void)err;
    struct store_conn *c = mem_alloc(sizeof(*c));
    c->m = of(s);
    c->writer = writer;
    c->tx.v = &c->m->verbs;
    c->tx.store = s;
    c->tx.err = &c->err;
    *ret = c;
    return 0;
}

static int ms_begin(struct store_conn *c, struct store_tx **ret, struct err *err)
{
    struct memstore *m = c->m;
    CHECK(!c->in_tx);
    c->err = (struct err){ 0 };
    if (c->writer) {
        int rc = fault(m);
        if (rc == 0 && m->busy > 0) {
            m->busy--;
            rc = E_BUSY;
        }
        if (rc != 0) return err_set(err, rc, "injected: %s", err_text(rc));
        CHECK(!m->in_tx);
        lock(m);
        m->in_tx = true;
        m->tx_start = m->undo_count;
        m->marks = 0;
        unlock(m);
    } else if (m->threads) {
        lock(m);
        for (int t = 0; t < TABLES; t++) map_copy(&c->copy[t], &m->live[t]);
        /* what the writer did so far in an open transaction is not committed: take it back in the copy */
        for (size_t i = m->in_tx ? m->undo_count : 0; i > m->tx_start; i--) {
            struct undo *u = &m->undo[i - 1];
            blob_drop(map_set(&c->copy[u->table], blob_ref(u->key), blob_ref(u->old)));
        }
        unlock(m);
    } else {
        CHECK(!m->in_tx);
    }
    c->in_tx = true;
    *ret = &c->tx;
    return 0;
}

static void ms_rollback(struct store_conn *c)
{
    if (!c->in_tx) return;
    c->in_tx = false;
    if (c->writer) {
        lock(c->m);
        undo_to(c->m, c->m->tx_start);
        c->m->in_tx = false;
        unlock(c->m);
    } else if (c->m->threads) {
        for (int t = 0; t < TABLES; t++) map_clear(&c->copy[t]);
    }
}

static int ms_commit(struct store_conn *c, bool durable, struct err *err)
{
    struct memstore *m = c->m;
    CHECK(c->writer && c->in_tx);
    int rc = fault(m);
    if (rc == 0) rc = m->commit_code;
    if (rc != 0) {
        ms_rollback(c);
        return err_set(err, rc, "injected: %s", err_text(rc));
    }
    lock(m);
    if (durable) {
        undo_forget(m);
        m->fsyncs++;
    }
    m->in_tx = false;
    unlock(m);
    c->in_tx = false;
    return 0;
}

static int ms_sync(struct store_conn *c, struct err *err)
{
    struct memstore *m = c->m;
    lock(m);
    m->in_sync = true;
    while (m->hold) pthread_cond_wait(&m->let_go, &m->lock);
    int rc = m->sync_code;
    if (rc == 0 && m->in_tx)
        m->synced = m->tx_start;
    else if (rc == 0)
        undo_forget(m);
    m->fsyncs += rc == 0;
    m->in_sync = false;
    unlock(m);
    return rc == 0 ? 0 : err_set(err, rc, "injected: %s", err_text(rc));
}

static bool ms_upkeep_due(const struct store_conn *c)
{
    return c->m->upkeep_due;
}

static void ms_conn_close(struct store_conn *c)
{
    ms_rollback(c);
    mem_free(c);
}

static void ms_stop_flag(struct store_conn *c, atomic_bool *stop, int64_t deadline_mono_ms)
{
    (void)deadline_mono_ms; /* no clock here */
    c->stop = stop;
}

static int ms_upkeep(struct store_conn *c, bool idle, bool closing, struct err *err)
{
    (void)idle, (void)closing, (void)err;
    lock(c->m);
    CHECK(!c->m->in_sync);
    c->m->upkeeps++;
    unlock(c->m);
    return 0;
}

static int ms_foreign(struct store_conn *c, bool *ret_changed)
{
    (void)c;
    *ret_changed = false;
    return 0;
}

static void ms_close(struct store *s)
{
    struct memstore *m = of(s);
    CHECK(!m->in_tx);
    undo_forget(m);
    mem_free(m->undo);
    for (int t = 0; t < TABLES; t++) map_clear(&m->live[t]);
    pthread_cond_destroy(&m->let_go);
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

static const struct store_backend ms_backend = {
    .conn_open = ms_conn_open,
    .conn_close = ms_conn_close,
    .begin = ms_begin,
    .commit = ms_commit,
    .sync = ms_sync,
    .upkeep_due = ms_upkeep_due,
    .rollback = ms_rollback,
    .stop_flag = ms_stop_flag,
    .upkeep = ms_upkeep,
    .foreign = ms_foreign,
    .close = ms_close,
};

struct store *memstore_open(bool threads)
{
    struct memstore *m = mem_alloc(sizeof(*m));
    m->base.b = &ms_backend;
    m->threads = threads;
    ms_rows_verbs(&m->verbs);
    ms_side_verbs(&m->verbs);
    ms_beside_verbs(&m->verbs);
    CHECK(pthread_mutex_init(&m->lock, NULL) == 0 && pthread_cond_init(&m->let_go, NULL) == 0);
    return &m->base;
}

void memstore_fail(struct store *s, uint64_t nth, int code)
{
    of(s)->fail_at = nth;
    of(s)->fail_code = code;
}

uint64_t memstore_calls(const struct store *s)
{
    return container_of(s, const struct memstore, base)->calls;
}
uint64_t memstore_fsyncs(const struct store *s)
{
    return container_of(s, const struct memstore, base)->fsyncs;
}
void memstore_fail_commits(struct store *s, int code)
{
    of(s)->commit_code = code;
}
void memstore_fail_syncs(struct store *s, int code)
{
    struct memstore *m = of(s);
    lock(m);
    m->sync_code = code;
    unlock(m);
}

unsigned memstore_upkeeps(struct store *s)
{
    struct memstore *m = of(s);
    lock(m);
    unsigned n = m->upkeeps;
    unlock(m);
    return n;
}

void memstore_hold_syncs(struct store *s, bool hold)
{
    struct memstore *m = of(s);
    lock(m);
    m->hold = hold;
    pthread_cond_broadcast(&m->let_go);
    unlock(m);
}

void memstore_want_upkeep(struct store *s, bool want)
{
    of(s)->upkeep_due = want;
}
void memstore_busy(struct store *s, unsigned times)
{
    of(s)->busy = times;
}

struct memstore_image *memstore_snapshot(struct store *s)
{
    struct memstore *m = of(s);
    CHECK(!m->in_tx);
    struct memstore_image *image = mem_alloc(sizeof(*image));
    for (int t = 0; t < TABLES; t++) map_copy(&image->table[t], &m->live[t]);
    return image;
}

void memstore_restore(struct store *s, const struct memstore_image *image)
{
    struct memstore *m = of(s);
    CHECK(!m->in_tx);
    undo_forget(m);
    for (int t = 0; t < TABLES; t++) {
        map_clear(&m->live[t]);
        map_copy(&m->live[t], &image->table[t]);
    }
}

void memstore_image_free(struct memstore_image *image)
{
    if (image == NULL) return;
    for (int t = 0; t < TABLES; t++) map_clear(&image->table[t]);
    mem_free(image);
}

uint64_t memstore_mark(const struct store *s, bool durable)
{
    const struct memstore *m = container_of(s, const struct memstore, base);
    return m->undone_before + (durable ? 0 : m->undo_count);
}

void memstore_crash_to(struct store *s, uint64_t mark)
{
    struct memstore *m = of(s);
    CHECK(!m->in_tx && mark >= m->undone_before && mark <= m->undone_before + m->undo_count);
    undo_to(m, (size_t)(mark - m->undone_before));
    undo_forget(m);
    m->tx_start = 0;
}

void memstore_crash(struct store *s)
{
    struct memstore *m = of(s);
    undo_to(m, m->synced);
    undo_forget(m);
    m->tx_start = 0;
}
