/* beside.c - the archive, pending actions, rows in the order of their making. */
#include "store/sqlite/sq.h"

#include <string.h>

#include "base/alloc.h"

int sq_by_created(struct store_tx *tx, int64_t after_us, const char *after_id, int64_t now_us, size_t limit,
                  size_t bytes_max, struct arena *a, struct rows *ret)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    *ret = (struct rows){ 0 };
    sqlite3_stmt *s = sq_stmt(c, SQ_BY_CREATED, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, after_us);
    sq_text(s, 2, after_id ? after_id : "");
    sq_int(s, 3, now_us);
    sq_int(s, 4, limit < INT32_MAX ? (int64_t)limit + 1 : -1);
    return sq_rows(c, s, limit, bytes_max, a, ret);
}

/* ---- the archive */
static const char *or_text(const char *s, const char *other)
{
    return s ? s : other;
}

static int archived_row(struct store_conn *c, sqlite3_stmt *s, struct arena *a, struct archived *ret)
{
    struct archived r = { 0 };
    struct memory *m = &r.row.m;
    const char *tier = NULL;
    struct {
        int col;
        const char **to;
    } text[] = {
        { 0, &m->id },          { 1, &tier },
        { 2, &m->ns },          { 3, &m->title },
        { 4, &m->content },     { 5, &m->tags },
        { 8, &m->source },      { 10, &m->created_at },
        { 11, &m->updated_at }, { 12, &m->last_accessed_at },
        { 13, &m->expires_at }, { 14, &m->metadata },
        { 15, &r.archived_at }, { 16, &r.reason },
    };
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++) {
        int rc = sq_copy(c, s, text[i].col, a, text[i].to);
        if (rc != 0) return rc;
    }
    if (tier == NULL || tier_parse(tier, &m->tier) != 0) m->tier = TIER_MID;
    m->priority = sqlite3_column_int(s, 6);
    m->confidence = sqlite3_column_type(s, 7) == SQLITE_NULL ? 1.0 : sqlite3_column_double(s, 7);
    m->access_count = sqlite3_column_int64(s, 9);
    m->id = or_text(m->id, "");
    m->ns = or_text(m->ns, "");
    m->title = or_text(m->title, "");
    m->content = or_text(m->content, "");
    m->source = or_text(m->source, "api");
    m->created_at = or_text(m->created_at, "");
    m->updated_at = or_text(m->updated_at, "");
    r.archived_at = or_text(r.archived_at, "");
    r.reason = or_text(r.reason, "");
    sq_guard_row(m);
    *ret = r;
    return 0;
}

int sq_archive_get(struct store_tx *tx, const char *id, struct arena *a, struct archived *ret)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_ARCHIVE_GET, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, id);
    rc = sq_step(c, s);
    if (rc == 0) return E_NOT_FOUND;
    if (rc == 1) rc = archived_row(c, s, a, ret);
    sq_done(s);
    return rc;
}

int sq_archive_list(struct store_tx *tx, const char *ns, uint64_t offset, size_t limit, size_t bytes_max,
                    struct arena *a, struct archive_rows *ret)
{
    struct store_conn *c = sq_of(tx);
    size_t cap = 0, bytes = 0;
    int rc;
    *ret = (struct archive_rows){ 0 };
    sqlite3_stmt *s = sq_stmt(c, SQ_ARCHIVE_LIST, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, ns);
    sq_int(s, 2, limit < INT32_MAX ? (int64_t)limit + 1 : -1);
    sq_int(s, 3, offset < INT64_MAX ? (int64_t)offset : INT64_MAX);
    while ((rc = sq_step(c, s)) == 1) {
        ret->more = ret->count == limit || (bytes_max && bytes > bytes_max && ret->count > 0);
        if (ret->more) break;
        ret->item = sq_grow(a, ret->item, ret->count, &cap, sizeof *ret->item);
        rc = ret->item ? archived_row(c, s, a, &ret->item[ret->count]) : sq_too_large(c);
        if (rc != 0) break;
        bytes += sq_row_bytes(&ret->item[ret->count++].row);
    }
    sq_done(s);
    return rc < 0 ? rc : 0;
}

int sq_archive_remove(struct store_tx *tx, const char *id, const char *reason)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_ARCHIVE_REMOVE, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, id);
    sq_text(s, 2, reason);
    return sq_run(c, s);
}

int sq_archive_older(struct store_tx *tx, int64_t before_us, size_t limit, struct arena *a, const char ***ret_ids,
                     size_t *ret_count)
{
    struct store_conn *c = sq_of(tx);
    size_t cap = 0;
    int rc;
    *ret_ids = NULL;
    *ret_count = 0;
    sqlite3_stmt *s = sq_stmt(c, SQ_ARCHIVE_OLDER, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, before_us);
    sq_int(s, 2, (int64_t)limit);
    while ((rc = sq_step(c, s)) == 1) {
        *ret_ids = sq_grow(a, *ret_ids, *ret_count, &cap, sizeof **ret_ids);
        rc = *ret_ids ? sq_copy(c, s, 0, a, &(*ret_ids)[*ret_count]) : sq_too_large(c);
        if (rc != 0) break;
        ++*ret_count;
    }
    sq_done(s);
    return rc;
}

int sq_archive_stats(struct store_tx *tx, struct arena *a, int64_t *ret_total, struct counts *ret_by_ns)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    *ret_total = 0;
    sqlite3_stmt *s = sq_stmt(c, SQ_ARCHIVE_STATS, &rc);
    if (s == NULL) return rc;
    rc = sq_counts(c, s, a, ret_by_ns);
    for (size_t i = 0; i < ret_by_ns->count; i++) *ret_total += ret_by_ns->item[i].count;
    return rc;
}

/* ---- pending actions */
int sq_pending_put(struct store_tx *tx, const struct pending *p)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_PENDING_PUT, &rc);
    if (s == NULL) return rc;
    const char *const text[] = { p->id,           p->action, p->memory_id,  p->ns,         p->payload,  p->requested_by,
                                 p->requested_at, p->status, p->decided_by, p->decided_at, p->approvals };
    for (int i = 0; i < 11; i++) sq_text(s, i + 1, text[i]);
    return sq_run(c, s);
}

static int pending_row(struct store_conn *c, sqlite3_stmt *s, struct arena *a, struct pending *ret)
{
    struct pending p = { 0 };
    const char **const text[] = { &p.id,         &p.action,       &p.memory_id,    &p.ns,
                                  &p.payload,    &p.requested_by, &p.requested_at, &p.status,
                                  &p.decided_by, &p.decided_at,   &p.approvals };
    for (int i = 0; i < 11; i++) {
        int rc = sq_copy(c, s, i, a, text[i]);
        if (rc != 0) return rc;
    }
    p.id = or_text(p.id, "");
    p.action = or_text(p.action, "");
    p.ns = or_text(p.ns, "");
    p.payload = or_text(p.payload, "{}");
    p.requested_by = or_text(p.requested_by, "");
    p.requested_at = or_text(p.requested_at, "");
    p.status = or_text(p.status, "pending");
    p.approvals = or_text(p.approvals, "[]");
    *ret = p;
    return 0;
}

int sq_pending_get(struct store_tx *tx, const char *id, struct arena *a, struct pending *ret)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_PENDING_GET, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, id);
    rc = sq_step(c, s);
    if (rc == 0) return E_NOT_FOUND;
    if (rc == 1) rc = pending_row(c, s, a, ret);
    sq_done(s);
    return rc;
}

int sq_pending_list(struct store_tx *tx, const char *status, size_t limit, size_t bytes_max, struct arena *a,
                    struct pending_rows *ret)
{
    struct store_conn *c = sq_of(tx);
    size_t cap = 0, bytes = 0;
    int rc;
    *ret = (struct pending_rows){ 0 };
    sqlite3_stmt *s = sq_stmt(c, SQ_PENDING_LIST, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, status);
    sq_int(s, 2, limit < INT32_MAX ? (int64_t)limit + 1 : -1);
    while ((rc = sq_step(c, s)) == 1) {
        ret->more = ret->count == limit || (bytes_max && bytes > bytes_max && ret->count > 0);
        if (ret->more) break;
        ret->item = sq_grow(a, ret->item, ret->count, &cap, sizeof *ret->item);
        if (ret->item == NULL) {
            rc = sq_too_large(c);
            break;
        }
        rc = pending_row(c, s, a, &ret->item[ret->count]);
        if (rc != 0) break;
        bytes += strlen(ret->item[ret->count].payload) + strlen(ret->item[ret->count].approvals);
        ret->count++;
    }
    sq_done(s);
    return rc < 0 ? rc : 0;
}
