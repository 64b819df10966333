/* memstore_beside.c - the archive, pending actions, rows in the order of their making. */
#include "memstore_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "store/row.h"

static int64_t time_of(const char *text)
{
    int64_t us = 0;
    return text != NULL && time_parse(text, strlen(text), &us) == 0 ? us : 0;
}

static int created_order(const struct row *r, int64_t us, const char *id)
{
    int64_t at = time_of(r->m.created_at);
    return at != us ? (at < us ? -1 : 1) : strcmp(r->m.id, id);
}

static int by_created(const void *a, const void *b)
{
    const struct row *y = b;
    return created_order(a, time_of(y->m.created_at), y->m.id);
}

static int ms_by_created(struct store_tx *tx, int64_t after_us, const char *after_id, int64_t now_us, size_t limit,
                         size_t bytes_max, struct arena *a, struct rows *ret)
{
    CALL(tx);
    struct map *m = ms_map(tx, T_ROW);
    size_t bytes = 0, count = 0;
    *ret = (struct rows){ .item = arena_alloc(a, (m->count + 1) * sizeof(struct row)) };
    for (size_t i = 0; i < m->count; i++) {
        struct row *r = &ret->item[count];
        struct reader in;
        reader_init(&in, m->item[i].value->data, m->item[i].value->len);
        CHECK(row_read(&in, a, r) == 0);
        r->rowid = (int64_t)read_u64(&in);
        if (!memory_expired(&r->m, now_us) && created_order(r, after_us, after_id ? after_id : "") > 0) count++;
    }
    qsort(ret->item, count, sizeof(struct row), by_created);
    while (ret->count < count && ret->count < limit && (bytes_max == 0 || ret->count == 0 || bytes <= bytes_max))
        bytes += strlen(ret->item[ret->count++].m.content) + 512;
    ret->more = ret->count < count;
    return 0;
}

/* ---- the archive ------------------------------------------------------------------------------------------------- */

static void archived_of(const struct blob *b, struct arena *a, struct archived *ret)
{
    struct reader r;
    reader_init(&r, b->data, b->len);
    CHECK(row_read(&r, a, &ret->row) == 0);
    ret->row = (struct row){ .m = ret->row.m };
    ret->archived_at = read_text(&r, a);
    ret->reason = read_text(&r, a);
}

static int ms_archive_get(struct store_tx *tx, const char *id, struct arena *a, struct archived *ret)
{
    CALL(tx);
    struct buf k;
    const struct blob *b = ms_lookup(tx, T_ARCHIVE, (ms_key_str(&k, id), &k));
    if (b != NULL) archived_of(b, a, ret);
    return b != NULL ? 0 : E_NOT_FOUND;
}

static int newest_archived(const void *a, const void *b)
{
    const struct archived *x = a, *y = b;
    int64_t at = time_of(x->archived_at), other = time_of(y->archived_at);
    return at != other ? (at > other ? -1 : 1) : strcmp(x->row.m.id, y->row.m.id);
}

static int ms_archive_list(struct store_tx *tx, const char *ns, uint64_t offset, size_t limit, size_t bytes_max,
                           struct arena *a, struct archive_rows *ret)
{
    CALL(tx);
    struct map *m = ms_map(tx, T_ARCHIVE);
    struct archived *all = arena_alloc(a, (m->count + 1) * sizeof(*all));
    size_t count = 0, bytes = 0;
    for (size_t i = 0; i < m->count; i++) {
        archived_of(m->item[i].value, a, &all[count]);
        if (ns == NULL || strcmp(all[count].row.m.ns, ns) == 0) count++;
    }
    qsort(all, count, sizeof(*all), newest_archived);
    size_t from = offset < count ? (size_t)offset : count;
    *ret = (struct archive_rows){ .item = all + from };
    while (from + ret->count < count && ret->count < limit && (bytes_max == 0 || ret->count == 0 || bytes <= bytes_max))
        bytes += strlen(ret->item[ret->count++].row.m.content) + 512;
    ret->more = from + ret->count < count;
    return 0;
}

static int ms_archive_remove(struct store_tx *tx, const char *id, const char *reason)
{
    CALL(tx);
    struct buf k;
    struct arena a;
    struct archived row;
    const struct blob *b = ms_lookup(tx, T_ARCHIVE, (ms_key_str(&k, id), &k));
    if (b == NULL) return 0;
    arena_init(&a, BYTES_MAX);
    archived_of(b, &a, &row);
    if (reason == NULL || strcmp(row.reason, reason) == 0) ms_drop_key(tx, T_ARCHIVE, (ms_key_str(&k, id), &k));
    arena_release(&a);
    return 0;
}

static int ms_archive_older(struct store_tx *tx, int64_t before_us, size_t limit, struct arena *a,
                            const char ***ret_ids, size_t *ret_count)
{
    CALL(tx);
    struct map *m = ms_map(tx, T_ARCHIVE);
    *ret_ids = arena_alloc(a, (m->count + 1) * sizeof(char *));
    *ret_count = 0;
    for (size_t i = 0; i < m->count && *ret_count < limit; i++) {
        struct archived row;
        archived_of(m->item[i].value, a, &row);
        if (time_of(row.archived_at) < before_us) (*ret_ids)[(*ret_count)++] = row.row.m.id;
    }
    return 0;
}

static int most_first(const void *a, const void *b)
{
    const struct count_by *x = a, *y = b;
    return x->count != y->count ? (x->count > y->count ? -1 : 1) : strcmp(x->name, y->name);
}

static int ms_archive_stats(struct store_tx *tx, struct arena *a, int64_t *ret_total, struct counts *ret_by_ns)
{
    CALL(tx);
    struct map *m = ms_map(tx, T_ARCHIVE);
    *ret_total = (int64_t)m->count;
    *ret_by_ns = (struct counts){ .item = arena_alloc(a, (m->count + 1) * sizeof(struct count_by)) };
    for (size_t i = 0; i < m->count; i++) {
        struct archived row;
        size_t at = 0;
        archived_of(m->item[i].value, a, &row);
        while (at < ret_by_ns->count && strcmp(ret_by_ns->item[at].name, row.row.m.ns) != 0) at++;
        if (at == ret_by_ns->count) ret_by_ns->item[ret_by_ns->count++] = (struct count_by){ row.row.m.ns, 0 };
        ret_by_ns->item[at].count++;
    }
    qsort(ret_by_ns->item, ret_by_ns->count, sizeof(struct count_by), most_first);
    return 0;
}

/* ---- pending actions --------------------------------------------------------------------------------------------- */

#define PENDING_TEXTS 10

static int ms_pending_put(struct store_tx *tx, const struct pending *p)
{
    CALL(tx);
    struct buf k, v;
    const char *const text[PENDING_TEXTS] = { p->action,       p->memory_id,    p->ns,     p->payload,
                                              p->requested_by, p->requested_at, p->status, p->decided_by,
                                              p->decided_at,   p->approvals };
    buf_init(&v, BYTES_MAX);
    for (size_t i = 0; i < PENDING_TEXTS; i++) buf_text(&v, text[i]);
    ms_set(tx, T_PENDING, (ms_key_str(&k, p->id), &k), &v);
    return 0;
}

static void pending_of(const char *id, const struct blob *b, struct arena *a, struct pending *ret)
{
    struct reader r;
    struct pending p = { .id = id };
    const char **const text[PENDING_TEXTS] = { &p.action,       &p.memory_id,    &p.ns,     &p.payload,
                                               &p.requested_by, &p.requested_at, &p.status, &p.decided_by,
                                               &p.decided_at,   &p.approvals };
    reader_init(&r, b->data, b->len);
    for (size_t i = 0; i < PENDING_TEXTS; i++) *text[i] = read_text(&r, a);
    CHECK(!r.failed);
    *ret = p;
}

static int ms_pending_get(struct store_tx *tx, const char *id, struct arena *a, struct pending *ret)
{
    CALL(tx);
    struct buf k;
    const struct blob *b = ms_lookup(tx, T_PENDING, (ms_key_str(&k, id), &k));
    if (b != NULL) pending_of(arena_strdup(a, id), b, a, ret);
    return b != NULL ? 0 : E_NOT_FOUND;
}

void memstore_lose_pending(struct store_tx *tx, const char *id)
{
    struct buf k;
    ms_drop_key(tx, T_PENDING, (ms_key_str(&k, id), &k));
}

static int newest_asked(const void *a, const void *b)
{
    const struct pending *x = a, *y = b;
    int64_t at = time_of(x->requested_at), other = time_of(y->requested_at);
    return at != other ? (at > other ? -1 : 1) : strcmp(x->id, y->id);
}

static int ms_pending_list(struct store_tx *tx, const char *status, size_t limit, size_t bytes_max, struct arena *a,
                           struct pending_rows *ret)
{
    CALL(tx);
    struct map *m = ms_map(tx, T_PENDING);
    size_t count = 0, bytes = 0;
    *ret = (struct pending_rows){ .item = arena_alloc(a, (m->count + 1) * sizeof(struct pending)) };
    for (size_t i = 0; i < m->count; i++) {
        pending_of(ms_text(a, m->item[i].key->data, m->item[i].key->len), m->item[i].value, a, &ret->item[count]);
        if (status == NULL || strcmp(ret->item[count].status, status) == 0) count++;
    }
    qsort(ret->item, count, sizeof(struct pending), newest_asked);
    while (ret->count < count && ret->count < limit && (bytes_max == 0 || ret->count == 0 || bytes <= bytes_max))
        bytes += strlen(ret->item[ret->count++].payload);
    ret->more = ret->count < count;
    return 0;
}

void ms_beside_verbs(struct store_verbs *v)
{
    v->by_created = ms_by_created;
    v->archive_get = ms_archive_get;
    v->archive_list = ms_archive_list;
    v->archive_remove = ms_archive_remove;
    v->archive_older = ms_archive_older;
    v->archive_stats = ms_archive_stats;
    v->pending_put = ms_pending_put;
    v->pending_get = ms_pending_get;
    v->pending_list = ms_pending_list;
}
