/* memories.c - rows of the table memories: reading them, by key and by page, and writing them. */
#include "store/sqlite/sq.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json.h"

/* ---- reading */
#define OWN_FORMAT 1
#define ROW_BYTES_MAX (64u << 20)

static void own_encode(struct buf *b, const struct own *o)
{
    buf_u8(b, OWN_FORMAT);
    buf_u8(b, (uint8_t)o->tier);
    buf_u32(b, (uint32_t)o->priority);
    buf_u64(b, (uint64_t)o->count_seen);
    buf_u64(b, (uint64_t)o->count_base);
    buf_u64(b, o->base_ver);
    buf_u64(b, o->base_stream);
    buf_text(b, o->expires_at);
}

static bool own_decode(const void *data, size_t len, struct arena *a, struct own *ret)
{
    struct reader r;
    struct own o = { 0 };
    reader_init(&r, data, len);
    bool known = read_u8(&r) == OWN_FORMAT;
    o.tier = (enum tier)read_u8(&r);
    o.priority = (int)read_u32(&r);
    o.count_seen = (int64_t)read_u64(&r);
    o.count_base = (int64_t)read_u64(&r);
    o.base_ver = read_u64(&r);
    o.base_stream = read_u64(&r);
    o.expires_at = read_text(&r, a);
    if (!known || r.failed || o.tier > TIER_LONG) return false;
    *ret = o;
    return true;
}

/* A row someone else wrote may hold anything: what cannot be read counts as empty. */
static const char *guard_json(const char *text, bool list)
{
    const char *empty = list ? "[]" : "{}";
    if (text == NULL || strcmp(text, empty) == 0) return empty;
    json_t *v = json_parse(text, strlen(text), NULL, 0, NULL);
    bool good = list ? json_is_array(v) : json_is_object(v);
    size_t i;
    json_t *item;
    if (list)
        json_array_foreach (v, i, item) {
            if (!json_is_string(item)) good = false;
        }
    json_decref(v);
    return good ? text : empty;
}

/* Length of the character at p if it is well-formed UTF-8, else 0. */
static size_t utf8_len(const unsigned char *p)
{
    if (p[0] < 0x80) return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4) return 0;
    size_t n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f)) return 0;
    return (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f) ? 0 : n;
}

/* Bytes that are no UTF-8 become question marks. The text is the arena's copy. */
static void guard_utf8(const char *text)
{
    for (unsigned char *p = (unsigned char *)(uintptr_t)text; p && *p;) {
        size_t n = utf8_len(p);
        if (n == 0) *p = '?';
        p += n ? n : 1;
    }
}

void sq_guard_row(struct memory *m)
{
    guard_utf8(m->id);
    guard_utf8(m->ns);
    guard_utf8(m->title);
    guard_utf8(m->content);
    guard_utf8(m->source);
    guard_utf8(m->created_at);
    guard_utf8(m->updated_at);
    guard_utf8(m->last_accessed_at);
    guard_utf8(m->expires_at);
    m->tags = guard_json(m->tags, true);
    m->metadata = guard_json(m->metadata, false);
}

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

int sq_row(struct store_conn *c, sqlite3_stmt *s, struct arena *a, struct row *ret)
{
    struct row r = { .rowid = sqlite3_column_int64(s, 0) };
    struct memory *m = &r.m;
    struct {
        int col;
        const char **to;
    } text[] = {
        { 1, &m->id },          { 3, &m->ns },          { 4, &m->title },
        { 5, &m->content },     { 6, &m->tags },        { 9, &m->source },
        { 11, &m->created_at }, { 12, &m->updated_at }, { 13, &m->last_accessed_at },
        { 14, &m->expires_at }, { 15, &m->metadata },
    };
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++) {
        int rc = sq_copy(c, s, text[i].col, a, text[i].to);
        if (rc != 0) return rc;
    }
    const char *tier = (const char *)sqlite3_column_text(s, 2);
    if (tier == NULL || tier_parse(tier, &m->tier) != 0) m->tier = TIER_MID;
    m->priority = sqlite3_column_int(s, 7);
    m->confidence = sqlite3_column_type(s, 8) == SQLITE_NULL ? 1.0 : sqlite3_column_double(s, 8);
    m->access_count = sqlite3_column_int64(s, 10);
    m->id = or_empty(m->id);
    m->ns = or_empty(m->ns);
    m->title = or_empty(m->title);
    m->content = or_empty(m->content);
    m->created_at = or_empty(m->created_at);
    m->updated_at = or_empty(m->updated_at);
    if (m->source == NULL) m->source = "api";
    r.stamp = (struct stamp){ (uint64_t)sqlite3_column_int64(s, 16), (uint64_t)sqlite3_column_int64(s, 17),
                              (uint64_t)sqlite3_column_int64(s, 18) };
    if (!sq_stamp_fits(r.stamp.ver, m->updated_at)) sq_guard_row(m);
    const void *own = sqlite3_column_blob(s, 19);
    r.own_differs = own && own_decode(own, (size_t)sqlite3_column_bytes(s, 19), a, &r.own);
    if (!r.own_differs) r.own = (struct own){ .tier = m->tier, .priority = m->priority, .expires_at = m->expires_at };
    *ret = r;
    return 0;
}

size_t sq_row_bytes(const struct row *r)
{
    const struct memory *m = &r->m;
    return sizeof *r + strlen(m->id) + strlen(m->ns) + strlen(m->title) + strlen(m->content) + strlen(m->tags) +
           strlen(m->metadata) + 160;
}

int sq_rows(struct store_conn *c, sqlite3_stmt *s, size_t limit, size_t bytes_max, struct arena *a, struct rows *ret)
{
    size_t cap = 0, bytes = 0;
    int rc;
    *ret = (struct rows){ 0 };
    while ((rc = sq_step(c, s)) == 1) {
        if (ret->count == limit) {
            ret->more = true;
            break;
        }
        ret->item = sq_grow(a, ret->item, ret->count, &cap, sizeof *ret->item);
        if (ret->item == NULL) {
            rc = sq_too_large(c);
            break;
        }
        rc = sq_row(c, s, a, &ret->item[ret->count]);
        if (rc != 0) break;
        bytes += sq_row_bytes(&ret->item[ret->count]);
        if (bytes_max && bytes > bytes_max && ret->count > 0) {
            ret->more = true;
            break;
        }
        ret->count++;
    }
    sq_done(s);
    return rc < 0 ? rc : 0;
}

static int one_row(struct store_conn *c, sqlite3_stmt *s, struct arena *a, struct row *ret)
{
    int rc = sq_step(c, s);
    if (rc == 0) return E_NOT_FOUND;
    if (rc == 1) rc = sq_row(c, s, a, ret);
    sq_done(s);
    return rc;
}

int sq_get(struct store_tx *tx, const char *id, struct arena *a, struct row *ret)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_GET, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, id);
    return one_row(c, s, a, ret);
}

int sq_by_title(struct store_tx *tx, const char *title, const char *ns, struct arena *a, struct row *ret)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    char begin[TITLE_ID_BYTES];
    sqlite3_stmt *s = sq_stmt(c, SQ_BY_TITLE, &rc);
    if (s == NULL) return rc;
    text_title_id(begin, title, ns);
    sq_text(s, 1, title);
    sq_text(s, 2, ns);
    sqlite3_bind_text(s, 3, begin, -1, SQLITE_TRANSIENT);
    return one_row(c, s, a, ret);
}

int sq_by_rowids(struct store_tx *tx, const int64_t *rowid, size_t count, size_t bytes_max, struct arena *a,
                 struct rows *ret)
{
    struct store_conn *c = sq_of(tx);
    size_t bytes = 0;
    int rc = 0;
    *ret = (struct rows){ 0 };
    sqlite3_stmt *s = sq_stmt(c, SQ_BY_ROWID, &rc);
    if (s == NULL || count == 0) return rc;
    ret->item = arena_alloc(a, count * sizeof *ret->item);
    if (ret->item == NULL) return sq_too_large(c);
    for (size_t i = 0; i < count; i++) {
        struct row *r = &ret->item[ret->count];
        sq_int(s, 1, rowid[i]);
        rc = one_row(c, s, a, r);
        if (rc == E_NOT_FOUND) continue;
        if (rc != 0) return rc;
        bytes += sq_row_bytes(r);
        if (bytes_max && bytes > bytes_max && ret->count > 0) {
            ret->more = true;
            break;
        }
        ret->count++;
    }
    return 0;
}

static const char *lent(sqlite3_stmt *s, int col)
{
    return or_empty((const char *)sqlite3_column_text(s, col));
}

/* What is on the statement's row; the texts are the statement's. */
static void lent_row(sqlite3_stmt *s, struct row *ret)
{
    *ret = (struct row){ .rowid = sqlite3_column_int64(s, 14), .stamp.ver = (uint64_t)sqlite3_column_int64(s, 0) };
    struct memory *m = &ret->m;
    m->id = lent(s, 1);
    if (tier_parse(lent(s, 2), &m->tier) != 0) m->tier = TIER_MID;
    m->ns = lent(s, 3);
    m->title = lent(s, 4);
    m->content = lent(s, 5);
    m->tags = lent(s, 6);
    m->priority = sqlite3_column_int(s, 7);
    m->confidence = sqlite3_column_type(s, 8) == SQLITE_NULL ? 1.0 : sqlite3_column_double(s, 8);
    m->access_count = sqlite3_column_int64(s, 9);
    m->created_at = lent(s, 10);
    m->updated_at = lent(s, 11);
    m->expires_at = (const char *)sqlite3_column_text(s, 12);
    m->metadata = lent(s, 13);
}

/* A row that is not as we write them: as everybody else reads it. */
static int strange_row(struct store_conn *c, int64_t rowid, lent_cb cb, void *data)
{
    struct arena a;
    struct row r;
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_BY_ROWID, &rc);
    if (s == NULL) return rc;
    arena_init(&a, ROW_BYTES_MAX);
    sq_int(s, 1, rowid);
    rc = one_row(c, s, &a, &r);
    if (rc == 0) rc = cb(data, &r);
    arena_release(&a);
    return rc;
}

int sq_each_row(struct store_tx *tx, const int64_t *rowid, size_t count, size_t bytes_max, lent_cb cb, void *data,
                size_t *ret_done)
{
    struct store_conn *c = sq_of(tx);
    struct buf list;
    size_t bytes = 0;
    int rc;
    *ret_done = 0;
    sqlite3_stmt *s = sq_stmt(c, SQ_EACH_ROW, &rc);
    if (s == NULL) return rc;
    buf_init(&list, 1u << 20);
    for (size_t i = 0; i < count; i++) buf_printf(&list, "%c%lld", i ? ',' : '[', (long long)rowid[i]);
    buf_putc(&list, count ? ']' : ' ');
    rc = list.failed || count == 0 ? 0 : 1;
    if (rc == 1) sqlite3_bind_text(s, 1, list.data, (int)list.len, SQLITE_STATIC);
    while (rc == 1 && (rc = sq_step(c, s)) == 1) {
        struct row r;
        lent_row(s, &r);
        size_t size = sq_row_bytes(&r);
        if (bytes_max && bytes > 0 && bytes + size > bytes_max) break;
        bytes += size;
        *ret_done = (size_t)sqlite3_column_int64(s, 15) + 1;
        bool strange = !sq_stamp_fits(r.stamp.ver, r.m.updated_at);
        rc = strange ? strange_row(c, r.rowid, cb, data) : cb(data, &r);
        rc = rc == 0 ? 1 : rc;
    }
    if (rc == 0) *ret_done = count;
    sq_done(s);
    sqlite3_bind_null(s, 1);
    rc = list.failed ? sq_too_large(c) : rc < 0 ? rc : 0;
    buf_release(&list);
    return rc;
}

int sq_rows_beyond(struct store_conn *c, int64_t rowid, size_t rows_max, size_t bytes_max, lent_cb cb, void *data)
{
    size_t rows = 0, bytes = 0;
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_BEYOND, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, rowid);
    while ((rc = sq_step(c, s)) == 1) {
        struct row r;
        lent_row(s, &r);
        bool strange = !sq_stamp_fits(r.stamp.ver, r.m.updated_at);
        rc = strange ? strange_row(c, r.rowid, cb, data) : cb(data, &r);
        bytes += sq_row_bytes(&r);
        if (rc != 0 || (rows_max && ++rows >= rows_max) || (bytes_max && bytes >= bytes_max)) break;
    }
    sq_done(s);
    return rc < 0 ? rc : 0;
}

/* ---- writing */
static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_name(const struct memory *a, const struct memory *b)
{
    return same(a->title, b->title) && same(a->ns, b->ns);
}

/* Only what an access changes differs. */
static bool only_touched(const struct row *a, const struct row *b)
{
    const struct memory *x = &a->m, *y = &b->m;
    return x->priority == y->priority && a->stamp.ver == b->stamp.ver && a->stamp.stream == b->stamp.stream &&
           a->stamp.seq == b->stamp.seq && same_name(x, y) && same(x->content, y->content) && same(x->tags, y->tags) &&
           same(x->metadata, y->metadata) && same(x->source, y->source) && same(x->created_at, y->created_at) &&
           same(x->updated_at, y->updated_at) && x->confidence >= y->confidence && x->confidence <= y->confidence;
}

/* How to write it: as little as will do, for the sake of the indexes. */
static enum sq_stmt way_to_write(const struct row *next, const struct row *before)
{
    if (before == NULL) return SQ_INSERT;
    if (!only_touched(next, before)) return same_name(&next->m, &before->m) ? SQ_UPDATE_EDIT : SQ_UPDATE_ALL;
    bool counts = next->m.tier == before->m.tier && same(next->m.expires_at, before->m.expires_at);
    return counts ? SQ_UPDATE_COUNT : SQ_UPDATE_TOUCH;
}

static void bind_memory(sqlite3_stmt *s, const struct memory *m)
{
    sq_text(s, 1, m->id);
    sq_text(s, 2, tier_name(m->tier));
    sq_text(s, 3, m->ns);
    sq_text(s, 4, m->title);
    sq_text(s, 5, m->content);
    sq_text(s, 6, m->tags);
    sq_int(s, 7, m->priority);
    sqlite3_bind_double(s, 8, m->confidence);
    sq_text(s, 9, m->source);
    sq_int(s, 10, m->access_count);
    sq_text(s, 11, m->created_at);
    sq_text(s, 12, m->updated_at);
    sq_text(s, 13, m->last_accessed_at);
    sq_text(s, 14, m->expires_at);
    sq_text(s, 15, m->metadata);
}

static int write_row(struct store_conn *c, const struct row *next, const struct row *before, int64_t *ret_rowid)
{
    int rc;
    enum sq_stmt which = way_to_write(next, before);
    sqlite3_stmt *s = sq_stmt(c, which, &rc);
    if (s == NULL) return rc;
    if (which == SQ_UPDATE_TOUCH || which == SQ_UPDATE_COUNT) {
        sq_text(s, 1, next->m.id);
        sq_int(s, 10, next->m.access_count);
        sq_text(s, 13, next->m.last_accessed_at);
        if (which == SQ_UPDATE_TOUCH) sq_text(s, 2, tier_name(next->m.tier));
        if (which == SQ_UPDATE_TOUCH) sq_text(s, 14, next->m.expires_at);
    } else {
        bind_memory(s, &next->m);
        sq_int(s, 16, (int64_t)next->stamp.ver);
        sq_int(s, 17, (int64_t)next->stamp.stream);
        sq_int(s, 18, (int64_t)next->stamp.seq);
        if (which != SQ_UPDATE_EDIT) sq_int(s, 20, sq_titled(next->m.id, next->m.title, next->m.ns));
        if (before) {
            bool retold = !same(next->m.title, before->m.title) || !same(next->m.content, before->m.content);
            sq_int(s, 19, retold);
        }
    }
    rc = sq_run(c, s);
    if (rc == 0 && before && sqlite3_changes(c->db) != 1)
        rc = err_set(c->tx.err, E_NOT_FOUND, "%s: the memory %s is gone", c->file->path, next->m.id);
    *ret_rowid = before ? before->rowid : sqlite3_last_insert_rowid(c->db);
    return rc;
}

static int write_own(struct store_conn *c, const struct row *next)
{
    struct buf b;
    buf_init(&b, 4096);
    own_encode(&b, &next->own);
    struct side_row side = {
        .kind = SIDE_OWN, .id = next->m.id, .stamp = next->stamp, .body = b.data, .body_len = b.len
    };
    int rc = b.failed ? sq_too_large(c) : sq_side_put(&c->tx, &side);
    buf_release(&b);
    return rc;
}

int sq_put(struct store_tx *tx, const struct row *next, const struct row *before)
{
    struct store_conn *c = sq_of(tx);
    int64_t rowid = 0;
    int rc = write_row(c, next, before, &rowid);
    if (rc == 0 && next->own_differs)
        rc = write_own(c, next);
    else if (rc == 0 && before && before->own_differs)
        rc = sq_side_remove(tx, SIDE_OWN, next->m.id);
    if (rc == 0) rc = sq_words_change(c, rowid, before ? &before->m : NULL, &next->m);
    return rc;
}

int sq_remove(struct store_tx *tx, const struct row *before)
{
    struct store_conn *c = sq_of(tx);
    const enum sq_stmt steps[] = { SQ_STANDARD_DETACH, SQ_REMOVE };
    int rc = 0;
    for (size_t i = 0; i < 2 && rc == 0; i++) {
        sqlite3_stmt *s = sq_stmt(c, steps[i], &rc);
        if (s == NULL) return rc;
        sq_text(s, 1, before->m.id);
        rc = sq_run(c, s);
    }
    if (rc == 0 && before->own_differs) rc = sq_side_remove(tx, SIDE_OWN, before->m.id);
    return rc ? rc : sq_words_change(c, before->rowid, &before->m, NULL);
}
