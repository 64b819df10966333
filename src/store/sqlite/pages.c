/* pages.c - the keys of whole tables, a page at a time: for snapshots and scrubs. */
#include "store/sqlite/sq.h"

#include "base/alloc.h"

static int keys_after(struct store_tx *tx, enum sq_stmt which, const char *after, size_t limit, struct arena *a,
                      const char ***ret, size_t *ret_count)
{
    struct store_conn *c = sq_of(tx);
    size_t cap = 0;
    int rc;
    *ret = NULL;
    *ret_count = 0;
    sqlite3_stmt *s = sq_stmt(c, which, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, after ? after : "");
    sq_int(s, 2, limit < INT32_MAX ? (int64_t)limit : -1);
    while ((rc = sq_step(c, s)) == 1) {
        *ret = sq_grow(a, *ret, *ret_count, &cap, sizeof **ret);
        rc = *ret ? sq_copy(c, s, 0, a, &(*ret)[*ret_count]) : sq_too_large(c);
        if (rc != 0) break;
        ++*ret_count;
    }
    sq_done(s);
    return rc;
}

int sq_ids_after(struct store_tx *tx, const char *after, size_t limit, struct arena *a, const char ***ret,
                 size_t *ret_count)
{
    return keys_after(tx, SQ_IDS_AFTER, after, limit, a, ret, ret_count);
}

int sq_archive_after(struct store_tx *tx, const char *after, size_t limit, struct arena *a, const char ***ret,
                     size_t *ret_count)
{
    return keys_after(tx, SQ_ARCHIVE_AFTER, after, limit, a, ret, ret_count);
}

int sq_idem_after(struct store_tx *tx, const char *after, size_t limit, struct arena *a, const char ***ret,
                  size_t *ret_count)
{
    return keys_after(tx, SQ_IDEM_AFTER, after, limit, a, ret, ret_count);
}
