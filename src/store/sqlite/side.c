/* side.c - rows of ours that are no visible memory (repl_row), local values, idempotency keys. */
#include "store/sqlite/sq.h"

#include <string.h>

#include "base/alloc.h"

static int read_side(struct store_conn *c, sqlite3_stmt *s, uint16_t kind, struct arena *a, struct side_row *ret)
{
    struct side_row r = { .kind = kind };
    int rc = sq_copy(c, s, 0, a, &r.id);
    r.stamp = (struct stamp){ (uint64_t)sqlite3_column_int64(s, 1), (uint64_t)sqlite3_column_int64(s, 2),
                              (uint64_t)sqlite3_column_int64(s, 3) };
    r.key = (uint64_t)sqlite3_column_int64(s, 4);
    if (rc == 0) rc = sq_copy_blob(c, s, 5, a, &r.body, &r.body_len);
    *ret = r;
    return rc;
}

static int read_sides(struct store_conn *c, sqlite3_stmt *s, uint16_t kind, struct arena *a, struct side_row **ret,
                      size_t *ret_count)
{
    size_t cap = 0;
    int rc;
    *ret = NULL;
    *ret_count = 0;
    while ((rc = sq_step(c, s)) == 1) {
        *ret = sq_grow(a, *ret, *ret_count, &cap, sizeof **ret);
        rc = *ret ? read_side(c, s, kind, a, &(*ret)[*ret_count]) : sq_too_large(c);
        if (rc != 0) break;
        ++*ret_count;
    }
    sq_done(s);
    return rc;
}

int sq_side_get(struct store_tx *tx, uint16_t kind, const char *id, struct arena *a, struct side_row *ret)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_SIDE_GET, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, kind);
    sq_text(s, 2, id);
    rc = sq_step(c, s);
    if (rc == 0) return E_NOT_FOUND;
    if (rc == 1) rc = read_side(c, s, kind, a, ret);
    sq_done(s);
    return rc;
}

int sq_side_put(struct store_tx *tx, const struct side_row *r)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_SIDE_PUT, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, r->kind);
    sq_text(s, 2, r->id);
    sq_int(s, 3, (int64_t)r->stamp.ver);
    sq_int(s, 4, (int64_t)r->stamp.stream);
    sq_int(s, 5, (int64_t)r->stamp.seq);
    if (r->key)
        sq_int(s, 6, (int64_t)r->key);
    else
        sqlite3_bind_null(s, 6);
    sq_blob(s, 7, r->body, r->body_len);
    return sq_run(c, s);
}

int sq_side_remove(struct store_tx *tx, uint16_t kind, const char *id)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_SIDE_REMOVE, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, kind);
    sq_text(s, 2, id);
    return sq_run(c, s);
}

int sq_side_by_key(struct store_tx *tx, uint16_t kind, uint64_t key, struct arena *a, struct side_row **ret,
                   size_t *ret_count)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_SIDE_BY_KEY, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, kind);
    sq_int(s, 2, (int64_t)key);
    return read_sides(c, s, kind, a, ret, ret_count);
}

/* The least text above all that begin with prefix, into the arena; NULL when there is none. */
static char *above_prefix(const char *prefix, struct arena *a)
{
    char *high = arena_strdup(a, prefix);
    size_t n = high ? strlen(high) : 0;
    while (n > 0 && (unsigned char)high[n - 1] == 0xff) n--;
    if (n == 0) return NULL;
    high[n - 1] = (char)((unsigned char)high[n - 1] + 1);
    high[n] = 0;
    return high;
}

int sq_side_scan(struct store_tx *tx, uint16_t kind, const char *prefix, const char *after_id, size_t limit,
                 struct arena *a, struct side_row **ret, size_t *ret_count)
{
    struct store_conn *c = sq_of(tx);
    char *high = prefix ? above_prefix(prefix, a) : NULL;
    int rc;
    sqlite3_stmt *s = sq_stmt(c, high ? SQ_SIDE_SCAN_PREFIX : SQ_SIDE_SCAN, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, kind);
    sq_text(s, 2, after_id ? after_id : "");
    sq_int(s, 3, limit < INT32_MAX ? (int64_t)limit : -1);
    if (high) {
        bool further = after_id && strcmp(after_id, prefix) > 0;
        sq_text(s, 4, further ? after_id : prefix); /* the one bound the index is entered at */
        sq_text(s, 5, high);
    }
    return read_sides(c, s, kind, a, ret, ret_count);
}

/* ---- local values */
int sq_local_get(struct store_tx *tx, const char *key, struct arena *a, struct local_value *ret)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_LOCAL_GET, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, key);
    rc = sq_step(c, s);
    if (rc == 0) return E_NOT_FOUND;
    if (rc == 1) rc = sq_copy_blob(c, s, 0, a, &ret->data, &ret->len);
    sq_done(s);
    return rc;
}

int sq_local_put(struct store_tx *tx, const char *key, const void *data, size_t len)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_LOCAL_PUT, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, key);
    sq_blob(s, 2, data, len);
    return sq_run(c, s);
}

/* ---- idempotency keys */
int sq_idem_get(struct store_tx *tx, const char *key, struct arena *a, struct idem_row *ret)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_IDEM_GET, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, key);
    rc = sq_step(c, s);
    if (rc == 1) {
        ret->stamp = (struct stamp){ (uint64_t)sqlite3_column_int64(s, 1), (uint64_t)sqlite3_column_int64(s, 2),
                                     (uint64_t)sqlite3_column_int64(s, 3) };
        ret->expires_us = sqlite3_column_int64(s, 4);
        rc = sq_copy_blob(c, s, 0, a, &ret->body, &ret->body_len);
        if (rc == 0 && ret->body_len < IDEM_PRINT) rc = E_CORRUPT;
    } else if (rc == 0) {
        rc = E_NOT_FOUND;
    }
    sq_done(s);
    return rc;
}

int sq_idem_put(struct store_tx *tx, const char *key, const struct idem_row *row)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_IDEM_PUT, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, key);
    sq_blob(s, 2, row->body, row->body_len);
    sq_int(s, 3, (int64_t)row->stamp.ver);
    sq_int(s, 4, (int64_t)row->stamp.stream);
    sq_int(s, 5, (int64_t)row->stamp.seq);
    sq_int(s, 6, row->expires_us);
    return sq_run(c, s);
}
