/* memstore_rows.c - memories and what is counted over them. */
#include "memstore_private.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "store/row.h"

/* ---- memories -------------------------------------------------------------------------------------------------- */

static int row_of(const struct blob *b, struct arena *a, struct row *ret)
{
    struct reader r;
    reader_init(&r, b->data, b->len);
    int rc = row_read(&r, a, ret);
    if (rc == 0) ret->rowid = (int64_t)read_u64(&r);
    return rc;
}

static int ms_get_row(struct store_tx *tx, const char *id, struct arena *a, struct row *ret)
{
    CALL(tx);
    struct buf k;
    const struct blob *b = ms_lookup(tx, T_ROW, (ms_key_str(&k, id), &k));
    return b != NULL ? row_of(b, a, ret) : E_NOT_FOUND;
}

static int ms_by_title(struct store_tx *tx, const char *title, const char *ns, struct arena *a, struct row *ret)
{
    CALL(tx);
    struct buf k;
    const struct blob *id = ms_lookup(tx, T_TITLE, (ms_key_pair(&k, title, '\0', ns), &k));
    if (id == NULL) return E_NOT_FOUND;
    const struct blob *b = ms_get(tx, T_ROW, id->data, id->len);
    CHECK(b != NULL);
    return row_of(b, a, ret);
}

static int ms_by_prefix(struct store_tx *tx, const char *prefix, size_t max, struct arena *a, const char ***ret_ids,
                        size_t *ret_count, int64_t *ret_total)
{
    CALL(tx);
    struct map *m = ms_map(tx, T_ROW);
    *ret_ids = arena_alloc(a, (max + 1) * sizeof(char *));
    *ret_count = 0;
    *ret_total = 0;
    for (size_t i = 0; i < m->count; i++) {
        const struct blob *k = m->item[i].key;
        if (k->len < strlen(prefix) || strncasecmp(k->data, prefix, strlen(prefix)) != 0) continue;
        if (*ret_count < max) (*ret_ids)[(*ret_count)++] = ms_text(a, k->data, k->len);
        (*ret_total)++;
    }
    return 0;
}

static bool any_tag(const struct filter *f, const char *tags)
{
    json_t *list = json_parse(tags, strlen(tags), NULL, 0, NULL);
    bool found = false;
    size_t i;
    json_t *tag;
    json_array_foreach (list, i, tag) {
        for (size_t t = 0; t < f->tags_count && json_is_string(tag); t++)
            found = found || strcmp(json_string_value(tag), f->tags[t]) == 0;
    }
    json_decref(list);
    return found;
}

static bool by_agent(const char *agent, const char *metadata)
{
    json_t *o = json_parse(metadata, strlen(metadata), NULL, 0, NULL);
    const char *is = json_string_value(json_object_get(o, "agent_id"));
    bool same = is != NULL && strcmp(is, agent) == 0;
    json_decref(o);
    return same;
}

static bool keep(const struct filter *f, const struct memory *m)
{
    int64_t created = 0;
    bool in = f->ns_any_count == 0;
    (void)time_parse(m->created_at, strlen(m->created_at), &created);
    for (size_t i = 0; i < f->ns_any_count; i++) in = in || strcmp(m->ns, f->ns_any[i]) == 0;
    if (!in || (f->ns != NULL && strcmp(m->ns, f->ns) != 0)) return false;
    if (f->tier != NULL && m->tier != *f->tier) return false;
    if (f->tier_word != NULL && strcmp(tier_name(m->tier), f->tier_word) != 0) return false;
    if (f->min_priority != NULL && m->priority < *f->min_priority) return false;
    if ((f->since_us != NULL && created < *f->since_us) || (f->until_us != NULL && created > *f->until_us))
        return false;
    if (f->tags_count > 0 && !any_tag(f, m->tags)) return false;
    if (f->agent_id != NULL && !by_agent(f->agent_id, m->metadata)) return false;
    if (f->viewer != NULL && !memory_visible(f->viewer, m->ns, m->metadata)) return false;
    return f->now_us == 0 || !memory_expired(m, f->now_us);
}

/* All rows that pass, in the order of `cmp` (NULL: by id). */
static int select_rows(struct store_tx *tx, const struct filter *f, int (*cmp)(const void *, const void *),
                       struct arena *a, struct rows *ret)
{
    struct map *m = ms_map(tx, T_ROW);
    *ret = (struct rows){ .item = arena_alloc(a, (m->count + 1) * sizeof(struct row)) };
    CHECK(ret->item != NULL);
    for (size_t i = 0; i < m->count; i++) {
        int rc = row_of(m->item[i].value, a, &ret->item[ret->count]);
        if (rc != 0) return rc;
        if (f == NULL || keep(f, &ret->item[ret->count].m)) ret->count++;
    }
    if (cmp != NULL) qsort(ret->item, ret->count, sizeof(struct row), cmp);
    return 0;
}

static int by_rank(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->m.priority != y->m.priority) return x->m.priority > y->m.priority ? -1 : 1;
    if (x->stamp.ver != y->stamp.ver) return x->stamp.ver > y->stamp.ver ? -1 : 1;
    return strcmp(x->m.id, y->m.id);
}

static int64_t updated_us(const struct row *r)
{
    int64_t us = 0;
    (void)time_parse(r->m.updated_at, strlen(r->m.updated_at), &us);
    return us;
}

static int by_update(const void *a, const void *b)
{
    int64_t x = updated_us(a), y = updated_us(b);
    if (x != y) return x < y ? -1 : 1;
    return strcmp(((const struct row *)a)->m.id, ((const struct row *)b)->m.id);
}

static void cut(struct rows *rows, size_t from, size_t limit)
{
    if (from > rows->count) from = rows->count;
    rows->item += from;
    rows->count -= from;
    rows->more = rows->count > limit;
    if (rows->more) rows->count = limit;
}

static int ms_list(struct store_tx *tx, const struct list_query *q, struct arena *a, struct rows *ret)
{
    CALL(tx);
    size_t from = 0;
    int rc = select_rows(tx, &q->f, by_rank, a, ret);
    if (rc != 0) return rc;
    if (q->after != NULL) {
        struct row last = { .m = { .id = q->after->id, .priority = q->after->priority }, .stamp.ver = q->after->ver };
        while (from < ret->count && by_rank(&ret->item[from], &last) <= 0) from++;
    }
    cut(ret, from + q->offset, q->limit);
    return 0;
}

static int ms_count(struct store_tx *tx, const struct filter *f, int64_t *ret)
{
    CALL(tx);
    struct arena a;
    struct rows rows;
    arena_init(&a, BYTES_MAX);
    int rc = select_rows(tx, f, NULL, &a, &rows);
    *ret = (int64_t)rows.count;
    arena_release(&a);
    return rc;
}

static int ms_since(struct store_tx *tx, int64_t after_us, const char *after_id, bool with_expired, int64_t now_us,
                    size_t limit, struct arena *a, struct rows *ret)
{
    CALL(tx);
    struct filter f = { .now_us = with_expired ? 0 : now_us };
    size_t from = 0;
    int rc = select_rows(tx, &f, by_update, a, ret);
    if (rc != 0) return rc;
    while (from < ret->count && (updated_us(&ret->item[from]) < after_us ||
                                 (updated_us(&ret->item[from]) == after_us &&
                                  (after_id == NULL || strcmp(ret->item[from].m.id, after_id) <= 0))))
        from++;
    cut(ret, from, limit);
    return 0;
}

static int64_t rowid_next(struct store_tx *tx)
{
    struct buf k, v;
    const struct blob *b = ms_lookup(tx, T_COUNTER, (ms_key_str(&k, "rowid"), &k));
    int64_t next = b != NULL ? strtoll(b->data, NULL, 10) + 1 : 1;
    buf_init(&v, 32);
    buf_printf(&v, "%lld", (long long)next);
    ms_key_str(&k, "rowid");
    ms_set(tx, T_COUNTER, &k, &v);
    return next;
}

static int ms_put_row(struct store_tx *tx, const struct row *next, const struct row *before)
{
    CALL(tx);
    struct buf k, v;
    int64_t rowid = before != NULL ? before->rowid : 0;
    const struct blob *there = ms_lookup(tx, T_ROW, (ms_key_str(&k, next->m.id), &k));
    CHECK((before != NULL) == (there != NULL));
    CHECK((next->stamp.ver != 0 || before != NULL) && next->m.content != NULL);
    const struct blob *owner = ms_lookup(tx, T_TITLE, (ms_key_pair(&k, next->m.title, '\0', next->m.ns), &k));
    if (owner != NULL && (owner->len != strlen(next->m.id) || memcmp(owner->data, next->m.id, owner->len) != 0))
        return err_set(tx->err, E_CONFLICT, "title '%s' is taken", next->m.title);
    if (before != NULL) {
        ms_key_pair(&k, before->m.title, '\0', before->m.ns);
        ms_drop_key(tx, T_TITLE, &k);
    } else {
        rowid = rowid_next(tx);
    }
    ms_key_str(&v, next->m.id);
    ms_key_u64(&k, (uint64_t)rowid, NULL);
    ms_set(tx, T_ROWID, &k, &v);
    ms_key_str(&v, next->m.id);
    ms_key_pair(&k, next->m.title, '\0', next->m.ns);
    ms_set(tx, T_TITLE, &k, &v);
    buf_init(&v, BYTES_MAX);
    struct row stored = *next;
    if (!next->own_differs) own_of(&next->m, &stored.own); /* as a backend that keeps own only where it differs */
    row_write(&v, &stored);
    buf_u64(&v, (uint64_t)rowid);
    ms_key_str(&k, next->m.id);
    ms_set(tx, T_ROW, &k, &v);
    return 0;
}

static int ms_remove_row(struct store_tx *tx, const struct row *before)
{
    CALL(tx);
    struct buf k;
    CHECK(ms_lookup(tx, T_ROW, (ms_key_str(&k, before->m.id), &k)) != NULL);
    ms_drop_key(tx, T_ROW, (ms_key_str(&k, before->m.id), &k));
    ms_drop_key(tx, T_TITLE, (ms_key_pair(&k, before->m.title, '\0', before->m.ns), &k));
    ms_drop_key(tx, T_ROWID, (ms_key_u64(&k, (uint64_t)before->rowid, NULL), &k));
    struct map *links = ms_map(tx, T_LINK), *standards = ms_map(tx, T_STANDARD);
    for (size_t i = links->count; i > 0; i--) {
        const struct blob *key = links->item[i - 1].key;
        if (!ms_key_has(key, before->m.id, true) && !ms_key_has(key, before->m.id, false)) continue;
        buf_init(&k, BYTES_MAX);
        buf_put(&k, key->data, key->len);
        ms_drop_key(tx, T_LINK, &k);
    }
    for (size_t i = standards->count; i > 0; i--) {
        struct reader r;
        size_t len;
        reader_init(&r, standards->item[i - 1].value->data, standards->item[i - 1].value->len);
        const char *id = read_blob(&r, &len);
        if (len != strlen(before->m.id) || memcmp(id, before->m.id, len) != 0) continue;
        buf_init(&k, BYTES_MAX);
        buf_put(&k, standards->item[i - 1].key->data, standards->item[i - 1].key->len);
        ms_drop_key(tx, T_STANDARD, &k);
    }
    return 0;
}

/* ---- words: none ----------------------------------------------------------------------------------------------- */

static int ms_words_stat(struct store_tx *tx, int64_t *ret_rows, int64_t *ret_words, int64_t *ret_max_rowid)
{
    CALL(tx);
    *ret_rows = *ret_words = *ret_max_rowid = 0;
    return 0;
}

static int ms_words_df(struct store_tx *tx, const char *word, bool prefix, int64_t cap, int64_t *ret_df,
                       int64_t *ret_last)
{
    (void)word, (void)prefix, (void)cap;
    CALL(tx);
    *ret_df = *ret_last = 0;
    return 0;
}

static int ms_words_scan(struct store_tx *tx, const char *const *all_of, const char *const *any_of_ns, bool prefix_last,
                         int64_t limit, rowid_cb cb, void *data)
{
    (void)all_of, (void)any_of_ns, (void)prefix_last, (void)limit, (void)cb, (void)data;
    CALL(tx);
    return 0;
}

static int ms_top_rowids(struct store_tx *tx, int64_t limit, rowid_cb cb, void *data)
{
    CALL(tx);
    struct arena a;
    struct rows rows;
    arena_init(&a, BYTES_MAX);
    int rc = select_rows(tx, NULL, by_rank, &a, &rows);
    for (size_t i = 0; rc == 0 && i < rows.count && (int64_t)i < limit; i++)
        if (cb(data, rows.item[i].rowid) != 0) break;
    arena_release(&a);
    return rc;
}

static int ms_by_rowids(struct store_tx *tx, const int64_t *rowid, size_t count, size_t bytes_max, struct arena *a,
                        struct rows *ret)
{
    (void)bytes_max;
    CALL(tx);
    *ret = (struct rows){ .item = arena_alloc(a, (count + 1) * sizeof(struct row)) };
    CHECK(ret->item != NULL);
    for (size_t i = 0; i < count; i++) {
        struct buf k;
        const struct blob *id = ms_lookup(tx, T_ROWID, (ms_key_u64(&k, (uint64_t)rowid[i], NULL), &k));
        if (id == NULL) continue;
        int rc = row_of(ms_get(tx, T_ROW, id->data, id->len), a, &ret->item[ret->count++]);
        if (rc != 0) return rc;
    }
    return 0;
}

static int ms_each_row(struct store_tx *tx, const int64_t *rowid, size_t count, size_t bytes_max, lent_cb cb,
                       void *data, size_t *ret_done)
{
    struct arena a;
    struct rows rows;
    arena_init(&a, BYTES_MAX);
    int rc = ms_by_rowids(tx, rowid, count, bytes_max, &a, &rows);
    for (size_t i = 0; rc == 0 && i < rows.count; i++) rc = cb(data, &rows.item[i]);
    *ret_done = count;
    arena_release(&a);
    return rc;
}

/* ---- counters -------------------------------------------------------------------------------------------------- */

static void count_add(struct counts *c, const char *name)
{
    size_t i = 0;
    while (i < c->count && strcmp(c->item[i].name, name) != 0) i++;
    if (i == c->count) c->item[c->count++].name = name;
    c->item[i].count++;
}

static int by_count(const void *a, const void *b)
{
    const struct count_by *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int count_rows(struct store_tx *tx, int64_t now_us, bool tiers, struct arena *a, struct counts *ret,
                      struct rows *rows)
{
    struct filter f = { .now_us = now_us };
    int rc = select_rows(tx, &f, NULL, a, rows);
    if (rc != 0) return rc;
    *ret = (struct counts){ .item = arena_alloc(a, (rows->count + 1) * sizeof(struct count_by)) };
    for (size_t i = 0; i < rows->count; i++)
        count_add(ret, tiers ? tier_name(rows->item[i].m.tier) : rows->item[i].m.ns);
    qsort(ret->item, ret->count, sizeof(struct count_by), by_count);
    return 0;
}

static int ms_namespaces(struct store_tx *tx, int64_t now_us, struct arena *a, struct counts *ret)
{
    CALL(tx);
    struct rows rows;
    return count_rows(tx, now_us, false, a, ret, &rows);
}

static int ms_stats(struct store_tx *tx, int64_t now_us, struct arena *a, struct store_stats *ret)
{
    CALL(tx);
    struct rows rows;
    *ret = (struct store_stats){ .links = (int64_t)ms_map(tx, T_LINK)->count };
    int rc = count_rows(tx, 0, false, a, &ret->by_ns, &rows);
    if (rc == 0) rc = count_rows(tx, 0, true, a, &ret->by_tier, &rows);
    if (rc != 0) return rc;
    ret->total = (int64_t)rows.count;
    for (size_t i = 0; i < rows.count; i++)
        ret->expiring_soon +=
            !memory_expired(&rows.item[i].m, now_us) && memory_expired(&rows.item[i].m, now_us + 3600000000);
    return 0;
}

static int ms_expired(struct store_tx *tx, int64_t now_us, const char *after_id, size_t limit, struct arena *a,
                      struct rows *ret)
{
    CALL(tx);
    struct rows all;
    int rc = select_rows(tx, NULL, NULL, a, &all);
    if (rc != 0) return rc;
    *ret = (struct rows){ .item = all.item };
    for (size_t i = 0; i < all.count && ret->count < limit; i++)
        if (memory_expired(&all.item[i].m, now_us) && (after_id == NULL || strcmp(all.item[i].m.id, after_id) > 0))
            ret->item[ret->count++] = all.item[i];
    return 0;
}

static int ms_unstamped(struct store_tx *tx, size_t limit, struct arena *a, struct rows *ret)
{
    CALL(tx);
    struct rows all;
    int rc = select_rows(tx, NULL, NULL, a, &all);
    *ret = (struct rows){ .item = all.item };
    for (size_t i = 0; rc == 0 && i < all.count; i++) {
        if (all.item[i].stamp.ver != 0 && updated_us(&all.item[i]) == stamp_us(all.item[i].stamp.ver)) continue;
        ret->more = ret->count == limit;
        if (ret->more) break;
        ret->item[ret->count++] = all.item[i];
    }
    return rc;
}

void memstore_original(struct store *s, const struct memory *m)
{
    struct store_conn *conn;
    struct store_tx *tx;
    struct arena a;
    struct row before, next;
    arena_init(&a, BYTES_MAX);
    CHECK(s->b->conn_open(s, true, &conn, NULL) == 0 && s->b->begin(conn, &tx, NULL) == 0);
    bool there = ms_get_row(tx, m->id, &a, &before) == 0;
    next = there ? before : (struct row){ .stamp.ver = 1 };
    next.m = *m;
    next.own_differs = there && before.own_differs;
    CHECK(ms_put_row(tx, &next, there ? &before : NULL) == 0);
    if (!there) { /* put wants a stamp; the original gives none */
        struct buf k, v;
        CHECK(ms_get_row(tx, m->id, &a, &next) == 0);
        next.stamp = (struct stamp){ 0 };
        buf_init(&v, BYTES_MAX);
        row_write(&v, &next);
        buf_u64(&v, (uint64_t)next.rowid);
        ms_key_str(&k, m->id);
        ms_set(tx, T_ROW, &k, &v);
    }
    CHECK(s->b->commit(conn, true, NULL) == 0);
    s->b->conn_close(conn);
    arena_release(&a);
}

void ms_rows_verbs(struct store_verbs *v)
{
    v->get = ms_get_row;
    v->by_title = ms_by_title;
    v->by_prefix = ms_by_prefix;
    v->list = ms_list;
    v->count = ms_count;
    v->since = ms_since;
    v->put = ms_put_row;
    v->remove = ms_remove_row;
    v->words_stat = ms_words_stat;
    v->words_df = ms_words_df;
    v->words_scan = ms_words_scan;
    v->top_rowids = ms_top_rowids;
    v->by_rowids = ms_by_rowids;
    v->each_row = ms_each_row;
    v->namespaces = ms_namespaces;
    v->stats = ms_stats;
    v->expired = ms_expired;
    v->unstamped = ms_unstamped;
}
