/* memstore_side.c - links, standards, our own rows, the log and the vector. */
#include "memstore_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "store/row.h"

/* ---- links ----------------------------------------------------------------------------------------------------- */

static struct link link_of(const struct entry *e, struct arena *a)
{
    char *s = ms_text(a, e->key->data, e->key->len), *t = strchr(s, '\x1f'), *r = strchr(t + 1, '\x1f');
    *t = *r = '\0';
    return (struct link){
        .source_id = s, .target_id = t + 1, .relation = r + 1, .created_at = ms_text(a, e->value->data, e->value->len)
    };
}

static int by_created(const void *a, const void *b)
{
    const struct link *x = a, *y = b;
    int order = strcmp(x->created_at, y->created_at);
    if (order == 0) order = strcmp(x->source_id, y->source_id);
    if (order == 0) order = strcmp(x->target_id, y->target_id);
    return order != 0 ? order : strcmp(x->relation, y->relation);
}

static int ms_links_of(struct store_tx *tx, const char *id, struct arena *a, struct links *ret)
{
    CALL(tx);
    struct map *m = ms_map(tx, T_LINK);
    *ret = (struct links){ .item = arena_alloc(a, (m->count + 1) * sizeof(struct link)) };
    for (size_t i = 0; i < m->count; i++)
        if (ms_key_has(m->item[i].key, id, true) || ms_key_has(m->item[i].key, id, false))
            ret->item[ret->count++] = link_of(&m->item[i], a);
    qsort(ret->item, ret->count, sizeof(struct link), by_created);
    return 0;
}

static int ms_link_show(struct store_tx *tx, const struct link *l)
{
    CALL(tx);
    struct buf k, v;
    CHECK(ms_lookup(tx, T_ROW, (ms_key_str(&k, l->source_id), &k)) != NULL);
    CHECK(ms_lookup(tx, T_ROW, (ms_key_str(&k, l->target_id), &k)) != NULL);
    ms_key_str(&v, l->created_at);
    ms_set(tx, T_LINK, (ms_key_link(&k, l), &k), &v);
    return 0;
}

static int ms_link_hide(struct store_tx *tx, const struct link *l)
{
    CALL(tx);
    struct buf k;
    ms_drop_key(tx, T_LINK, (ms_key_link(&k, l), &k));
    return 0;
}

static int ms_link_get(struct store_tx *tx, const struct link *l, struct arena *a, const char **ret_created_at)
{
    CALL(tx);
    struct buf k;
    const struct blob *b = ms_lookup(tx, T_LINK, (ms_key_link(&k, l), &k));
    if (b == NULL) return E_NOT_FOUND;
    *ret_created_at = ms_text(a, b->data, b->len);
    return 0;
}

/* ---- the original's side tables -------------------------------------------------------------------------------- */

static int ms_standard_of(struct store_tx *tx, const char *ns, struct arena *a, const char **ret_memory_id,
                          const char **ret_parent)
{
    CALL(tx);
    struct buf k;
    struct reader r;
    const struct blob *b = ms_lookup(tx, T_STANDARD, (ms_key_str(&k, ns), &k));
    if (b == NULL) return E_NOT_FOUND;
    reader_init(&r, b->data, b->len);
    *ret_memory_id = read_text(&r, a);
    *ret_parent = read_text(&r, a);
    return 0;
}

static int ms_standard_set(struct store_tx *tx, const char *ns, const char *memory_id, const char *parent,
                           const char *updated_at)
{
    CALL(tx);
    struct buf k, v;
    ms_key_str(&k, ns);
    if (memory_id == NULL) {
        ms_drop_key(tx, T_STANDARD, &k);
        return 0;
    }
    buf_init(&v, BYTES_MAX);
    buf_text(&v, memory_id);
    buf_text(&v, parent);
    buf_text(&v, updated_at);
    ms_set(tx, T_STANDARD, &k, &v);
    return 0;
}

static int ms_archive_put(struct store_tx *tx, const struct row *row, const char *archived_at, const char *reason)
{
    CALL(tx);
    struct buf k, v;
    buf_init(&v, BYTES_MAX);
    row_write(&v, row);
    buf_text(&v, archived_at);
    buf_text(&v, reason);
    ms_set(tx, T_ARCHIVE, (ms_key_str(&k, row->m.id), &k), &v);
    return 0;
}

static int ms_sync_seen(struct store_tx *tx, const char *agent, const char *peer, const char *seen_at, const char *now)
{
    CALL(tx);
    struct buf k, v;
    struct arena a;
    struct reader r;
    arena_init(&a, BYTES_MAX);
    const struct blob *b = ms_lookup(tx, T_SYNC, (ms_key_pair(&k, agent, '\x1f', peer), &k));
    if (b != NULL) {
        reader_init(&r, b->data, b->len);
        const char *before = read_text(&r, &a);
        if (strcmp(before, seen_at) > 0) seen_at = before;
    }
    buf_init(&v, BYTES_MAX);
    buf_text(&v, seen_at);
    buf_text(&v, now);
    ms_set(tx, T_SYNC, (ms_key_pair(&k, agent, '\x1f', peer), &k), &v);
    arena_release(&a);
    return 0;
}

static int ms_sync_clock(struct store_tx *tx, const char *agent, struct arena *a, struct count_by **ret,
                         const char ***ret_times, size_t *ret_count)
{
    CALL(tx);
    struct map *m = ms_map(tx, T_SYNC);
    struct buf k;
    ms_key_pair(&k, agent, '\x1f', "");
    *ret = arena_alloc(a, (m->count + 1) * sizeof(**ret));
    *ret_times = arena_alloc(a, (m->count + 1) * sizeof(**ret_times));
    *ret_count = 0;
    for (size_t i = 0; i < m->count; i++) {
        struct reader r;
        if (!ms_starts(m->item[i].key, k.data, k.len)) continue;
        reader_init(&r, m->item[i].value->data, m->item[i].value->len);
        (*ret)[*ret_count].name = ms_text(a, m->item[i].key->data + k.len, m->item[i].key->len - k.len);
        (*ret_times)[(*ret_count)++] = read_text(&r, a);
    }
    buf_release(&k);
    return 0;
}

/* ---- rows of ours ---------------------------------------------------------------------------------------------- */

static void side_of(uint16_t kind, const char *id, size_t id_len, const struct blob *b, struct arena *a,
                    struct side_row *ret)
{
    struct reader r;
    reader_init(&r, b->data, b->len);
    *ret = (struct side_row){ .kind = kind, .id = ms_text(a, id, id_len) };
    ret->stamp.ver = read_u64(&r);
    ret->stamp.stream = read_u64(&r);
    ret->stamp.seq = read_u64(&r);
    ret->key = read_u64(&r);
    const void *body = read_blob(&r, &ret->body_len);
    ret->body = ms_text(a, body, ret->body_len);
    CHECK(!r.failed);
}

static int ms_side_get(struct store_tx *tx, uint16_t kind, const char *id, struct arena *a, struct side_row *ret)
{
    CALL(tx);
    struct buf k;
    const struct blob *b = ms_lookup(tx, T_SIDE, (ms_key_side(&k, kind, id), &k));
    if (b == NULL) return E_NOT_FOUND;
    side_of(kind, id, strlen(id), b, a, ret);
    return 0;
}

static void side_key_drop(struct store_tx *tx, uint16_t kind, const char *id)
{
    struct buf k;
    struct arena a;
    struct side_row old;
    const struct blob *b = ms_lookup(tx, T_SIDE, (ms_key_side(&k, kind, id), &k));
    if (b == NULL) return;
    arena_init(&a, BYTES_MAX);
    side_of(kind, id, strlen(id), b, &a, &old);
    if (old.key != 0) ms_drop_key(tx, T_SIDE_KEY, (ms_key_side_key(&k, kind, old.key, id), &k));
    arena_release(&a);
}

static int ms_side_put(struct store_tx *tx, const struct side_row *row)
{
    CALL(tx);
    struct buf k, v;
    side_key_drop(tx, row->kind, row->id);
    if (row->key != 0) ms_set(tx, T_SIDE_KEY, (ms_key_side_key(&k, row->kind, row->key, row->id), &k), NULL);
    buf_init(&v, BYTES_MAX);
    buf_u64(&v, row->stamp.ver);
    buf_u64(&v, row->stamp.stream);
    buf_u64(&v, row->stamp.seq);
    buf_u64(&v, row->key);
    buf_blob(&v, row->body, row->body_len);
    ms_set(tx, T_SIDE, (ms_key_side(&k, row->kind, row->id), &k), &v);
    return 0;
}

static int ms_side_remove(struct store_tx *tx, uint16_t kind, const char *id)
{
    CALL(tx);
    struct buf k;
    side_key_drop(tx, kind, id);
    ms_drop_key(tx, T_SIDE, (ms_key_side(&k, kind, id), &k));
    return 0;
}

static int ms_side_by_key(struct store_tx *tx, uint16_t kind, uint64_t key, struct arena *a, struct side_row **ret,
                          size_t *ret_count)
{
    CALL(tx);
    struct map *m = ms_map(tx, T_SIDE_KEY);
    struct buf k;
    bool found;
    ms_key_side_key(&k, kind, key, "");
    size_t at = ms_find(m, k.data, k.len, &found), count = 0;
    while (at + count < m->count && ms_starts(m->item[at + count].key, k.data, k.len)) count++;
    *ret = arena_alloc(a, (count + 1) * sizeof(**ret));
    *ret_count = 0;
    for (size_t i = 0; i < count && key != 0; i++) {
        const struct blob *found_key = m->item[at + i].key;
        struct buf id;
        char *name = ms_text(a, found_key->data + k.len, found_key->len - k.len);
        const struct blob *b = ms_lookup(tx, T_SIDE, (ms_key_side(&id, kind, name), &id));
        CHECK(b != NULL);
        side_of(kind, name, strlen(name), b, a, &(*ret)[(*ret_count)++]);
    }
    buf_release(&k);
    return 0;
}

static int ms_side_scan(struct store_tx *tx, uint16_t kind, const char *prefix, const char *after_id, size_t limit,
                        struct arena *a, struct side_row **ret, size_t *ret_count)
{
    CALL(tx);
    struct map *m = ms_map(tx, T_SIDE);
    struct buf k, from;
    bool found;
    ms_key_side(&k, kind, prefix != NULL ? prefix : "");
    ms_key_side(&from, kind, after_id != NULL ? after_id : "");
    if (after_id != NULL) buf_putc(&from, '\0'); /* the first key beyond it */
    const struct buf *start =
        from.len > 2 && memcmp(from.data, k.data, from.len < k.len ? from.len : k.len) > 0 ? &from : &k;
    if (start == &k && from.len > k.len) start = &from;
    size_t at = ms_find(m, start->data, start->len, &found), count = 0;
    while (count < limit && at + count < m->count && ms_starts(m->item[at + count].key, k.data, k.len)) count++;
    *ret = arena_alloc(a, (count + 1) * sizeof(**ret));
    for (size_t i = 0; i < count; i++) {
        const struct entry *e = &m->item[at + i];
        side_of(kind, e->key->data + 2, e->key->len - 2, e->value, a, &(*ret)[i]);
    }
    *ret_count = count;
    buf_release(&k);
    buf_release(&from);
    return 0;
}

/* ---- log and vector -------------------------------------------------------------------------------------------- */

static void stream_of(const struct blob *b, struct stream_pos *ret)
{
    struct reader r;
    reader_init(&r, b->data, b->len);
    ret->stream = read_u64(&r);
    ret->node = read_u64(&r);
    ret->pos = read_u64(&r);
    ret->chain = read_u64(&r);
    ret->trimmed = read_u64(&r);
    uint8_t ended = read_u8(&r);
    ret->ended = ended != 0;
    ret->left = ended == 2;
}

static void stream_set(struct store_tx *tx, const struct stream_pos *pos)
{
    struct buf k, v;
    buf_init(&v, 64);
    buf_u64(&v, pos->stream);
    buf_u64(&v, pos->node);
    buf_u64(&v, pos->pos);
    buf_u64(&v, pos->chain);
    buf_u64(&v, pos->trimmed);
    buf_u8(&v, pos->left ? 2 : pos->ended);
    ms_set(tx, T_STREAM, (ms_key_u64(&k, pos->stream, NULL), &k), &v);
}

static int ms_op_append(struct store_tx *tx, uint64_t stream, const struct log_op *op)
{
    CALL(tx);
    struct buf k, v;
    CHECK(ms_lookup(tx, T_OP, (ms_key_u64(&k, stream, &op->seq), &k)) == NULL); /* a position is never used twice */
    buf_init(&v, BYTES_MAX);
    buf_u64(&v, op->ver);
    buf_u64(&v, op->chain);
    buf_blob(&v, op->body, op->body_len);
    ms_set(tx, T_OP, (ms_key_u64(&k, stream, &op->seq), &k), &v);
    struct stream_pos pos = { .stream = stream };
    const struct blob *b = ms_lookup(tx, T_STREAM, (ms_key_u64(&k, stream, NULL), &k));
    if (b != NULL) stream_of(b, &pos);
    if (pos.pos >= op->seq) return 0;
    pos.pos = op->seq;
    pos.chain = op->chain;
    stream_set(tx, &pos);
    return 0;
}

static uint64_t be64(const char *p)
{
    uint64_t n = 0;
    for (int i = 0; i < 8; i++) n = n << 8 | (uint8_t)p[i];
    return n;
}

static int ms_op_page(struct store_tx *tx, uint64_t stream, uint64_t from_seq, size_t count_max, size_t bytes_max,
                      struct arena *a, struct log_op **ret, size_t *ret_count)
{
    CALL(tx);
    struct map *m = ms_map(tx, T_OP);
    struct buf k;
    bool found;
    size_t bytes = 0, count = 0;
    struct stream_pos pos = { .trimmed = 0 };
    const struct blob *b = ms_lookup(tx, T_STREAM, (ms_key_u64(&k, stream, NULL), &k));
    if (b != NULL) stream_of(b, &pos);
    if (from_seq <= pos.trimmed) from_seq = pos.trimmed + 1; /* that op itself is there for its chain */
    ms_key_u64(&k, stream, &from_seq);
    size_t at = ms_find(m, k.data, k.len, &found);
    *ret = arena_alloc(a, (m->count - at + 1) * sizeof(**ret));
    for (; at < m->count && count < count_max && ms_starts(m->item[at].key, k.data, 8); at++) {
        struct log_op *op = &(*ret)[count];
        struct reader r;
        reader_init(&r, m->item[at].value->data, m->item[at].value->len);
        op->seq = be64(m->item[at].key->data + 8);
        op->ver = read_u64(&r);
        op->chain = read_u64(&r);
        const void *body = read_blob(&r, &op->body_len);
        if (count > 0 && bytes + op->body_len > bytes_max) break;
        bytes += op->body_len;
        op->body = ms_text(a, body, op->body_len);
        count++;
    }
    buf_release(&k);
    *ret_count = count;
    return 0;
}

static int ms_op_chain(struct store_tx *tx, uint64_t stream, uint64_t seq, uint64_t *ret_chain)
{
    CALL(tx);
    struct buf k;
    struct reader r;
    *ret_chain = 0;
    if (seq == 0) return 0;
    const struct blob *b = ms_lookup(tx, T_OP, (ms_key_u64(&k, stream, &seq), &k));
    if (b == NULL) return E_NOT_FOUND;
    reader_init(&r, b->data, b->len);
    (void)read_u64(&r);
    *ret_chain = read_u64(&r);
    return 0;
}

static int ms_stream_get(struct store_tx *tx, uint64_t stream, struct stream_pos *ret)
{
    CALL(tx);
    struct buf k;
    const struct blob *b = ms_lookup(tx, T_STREAM, (ms_key_u64(&k, stream, NULL), &k));
    if (b == NULL) return E_NOT_FOUND;
    stream_of(b, ret);
    return 0;
}

static int ms_stream_put(struct store_tx *tx, const struct stream_pos *pos)
{
    CALL(tx);
    struct buf k;
    stream_set(tx, pos);
    uint64_t first = pos->left ? pos->pos : pos->trimmed - (pos->trimmed > 0);
    for (uint64_t seq = first; seq > 0; seq--) { /* the log below goes with it; all of it when the stream leaves */
        if (ms_lookup(tx, T_OP, (ms_key_u64(&k, pos->stream, &seq), &k)) == NULL) break;
        ms_drop_key(tx, T_OP, (ms_key_u64(&k, pos->stream, &seq), &k));
    }
    return 0;
}

static int ms_streams(struct store_tx *tx, struct arena *a, struct stream_pos **ret, size_t *ret_count)
{
    CALL(tx);
    struct map *m = ms_map(tx, T_STREAM);
    *ret = arena_alloc(a, (m->count + 1) * sizeof(**ret));
    *ret_count = 0;
    for (size_t i = 0; i < m->count; i++) {
        stream_of(m->item[i].value, &(*ret)[*ret_count]);
        *ret_count += !(*ret)[*ret_count].left;
    }
    return 0;
}

static int ms_local_get(struct store_tx *tx, const char *key, struct arena *a, struct local_value *ret)
{
    CALL(tx);
    struct buf k;
    const struct blob *b = ms_lookup(tx, T_LOCAL, (ms_key_str(&k, key), &k));
    if (b == NULL) return E_NOT_FOUND;
    *ret = (struct local_value){ .data = ms_text(a, b->data, b->len), .len = b->len };
    return 0;
}

static int ms_local_put(struct store_tx *tx, const char *key, const void *data, size_t len)
{
    CALL(tx);
    struct buf k, v;
    buf_init(&v, BYTES_MAX);
    buf_put(&v, data, len);
    ms_set(tx, T_LOCAL, (ms_key_str(&k, key), &k), &v);
    return 0;
}

static int ms_idem_get(struct store_tx *tx, const char *key, struct arena *a, struct idem_row *ret)
{
    CALL(tx);
    struct buf k;
    struct reader r;
    const struct blob *b = ms_lookup(tx, T_IDEM, (ms_key_str(&k, key), &k));
    if (b == NULL) return E_NOT_FOUND;
    reader_init(&r, b->data, b->len);
    ret->stamp.ver = read_u64(&r);
    ret->stamp.stream = read_u64(&r);
    ret->stamp.seq = read_u64(&r);
    ret->expires_us = (int64_t)read_u64(&r);
    ret->body_len = b->len - 32;
    void *copy = arena_alloc(a, ret->body_len);
    if (copy == NULL) return E_TOO_LARGE;
    ret->body = memcpy(copy, read_bytes(&r, ret->body_len), ret->body_len);
    return 0;
}

static int ms_idem_put(struct store_tx *tx, const char *key, const struct idem_row *row)
{
    CALL(tx);
    struct buf k, v;
    buf_init(&v, BYTES_MAX);
    buf_u64(&v, row->stamp.ver);
    buf_u64(&v, row->stamp.stream);
    buf_u64(&v, row->stamp.seq);
    buf_u64(&v, (uint64_t)row->expires_us);
    buf_put(&v, row->body, row->body_len);
    ms_set(tx, T_IDEM, (ms_key_str(&k, key), &k), &v);
    return 0;
}

/* ---- keys of whole tables -------------------------------------------------------------------------------------- */

/* The first key of a table beyond prefix + after, without its prefix; NULL: none. */
static const struct blob *key_after(struct store_tx *tx, enum table t, const struct buf *prefix, const char *after)
{
    struct map *m = ms_map(tx, t);
    struct buf k;
    bool found;
    buf_init(&k, BYTES_MAX);
    if (prefix != NULL) buf_put(&k, prefix->data, prefix->len);
    if (after != NULL) {
        buf_puts(&k, after);
        buf_putc(&k, '\0'); /* the first key beyond it */
    }
    size_t at = ms_find(m, buf_str(&k), k.len, &found);
    buf_release(&k);
    if (at == m->count) return NULL;
    return prefix == NULL || ms_starts(m->item[at].key, prefix->data, prefix->len) ? m->item[at].key : NULL;
}

static const char *least(const char *a, const char *b)
{
    if (a == NULL || b == NULL) return a != NULL ? a : b;
    return strcmp(a, b) <= 0 ? a : b;
}

static const char *id_after(struct store_tx *tx, const char *after, struct arena *a)
{
    const struct blob *b = key_after(tx, T_ROW, NULL, after);
    const char *next = b != NULL ? ms_text(a, b->data, b->len) : NULL;
    for (uint16_t kind = SIDE_TOMBSTONE; kind <= SIDE_SHADOW; kind++) {
        struct buf k;
        ms_key_side(&k, kind, "");
        b = key_after(tx, T_SIDE, &k, after);
        if (b != NULL) next = least(next, ms_text(a, b->data + k.len, b->len - k.len));
        buf_release(&k);
    }
    return next;
}

static int ms_ids_after(struct store_tx *tx, const char *after, size_t limit, struct arena *a, const char ***ret,
                        size_t *ret_count)
{
    CALL(tx);
    size_t most = ms_map(tx, T_ROW)->count + ms_map(tx, T_SIDE)->count;
    if (limit > most) limit = most;
    *ret = arena_alloc(a, (limit + 1) * sizeof(char *));
    *ret_count = 0;
    while (*ret_count < limit && (after = id_after(tx, after, a)) != NULL) (*ret)[(*ret_count)++] = after;
    return 0;
}

static int keys_after(struct store_tx *tx, enum table t, const char *after, size_t limit, struct arena *a,
                      const char ***ret, size_t *ret_count)
{
    CALL(tx);
    const struct blob *b;
    size_t most = ms_map(tx, t)->count;
    if (limit > most) limit = most;
    *ret = arena_alloc(a, (limit + 1) * sizeof(char *));
    *ret_count = 0;
    while (*ret_count < limit && (b = key_after(tx, t, NULL, after)) != NULL)
        (*ret)[(*ret_count)++] = after = ms_text(a, b->data, b->len);
    return 0;
}

static int ms_archive_after(struct store_tx *tx, const char *after, size_t limit, struct arena *a, const char ***ret,
                            size_t *ret_count)
{
    return keys_after(tx, T_ARCHIVE, after, limit, a, ret, ret_count);
}

static int ms_idem_after(struct store_tx *tx, const char *after, size_t limit, struct arena *a, const char ***ret,
                         size_t *ret_count)
{
    return keys_after(tx, T_IDEM, after, limit, a, ret, ret_count);
}

void ms_side_verbs(struct store_verbs *v)
{
    v->links_of = ms_links_of;
    v->link_show = ms_link_show;
    v->link_hide = ms_link_hide;
    v->link_get = ms_link_get;
    v->standard_of = ms_standard_of;
    v->standard_set = ms_standard_set;
    v->archive_put = ms_archive_put;
    v->sync_seen = ms_sync_seen;
    v->sync_clock = ms_sync_clock;
    v->side_get = ms_side_get;
    v->side_put = ms_side_put;
    v->side_remove = ms_side_remove;
    v->side_by_key = ms_side_by_key;
    v->side_scan = ms_side_scan;
    v->op_append = ms_op_append;
    v->op_page = ms_op_page;
    v->op_chain = ms_op_chain;
    v->stream_get = ms_stream_get;
    v->stream_put = ms_stream_put;
    v->streams = ms_streams;
    v->local_get = ms_local_get;
    v->local_put = ms_local_put;
    v->idem_get = ms_idem_get;
    v->idem_put = ms_idem_put;
    v->ids_after = ms_ids_after;
    v->archive_after = ms_archive_after;
    v->idem_after = ms_idem_after;
    v->savepoint = ms_savepoint;
    v->savepoint_end = ms_savepoint_end;
}

/* ---- the dump -------------------------------------------------------------------------------------------------- */

static void dump_row(struct buf *b, const struct row *r)
{
    const struct memory *m = &r->m;
    const struct own *o = &r->own;
    buf_printf(b, "row %s | %s | %s | %s | %s | %s | %s | tier %d prio %d conf %g count %lld", m->id, m->ns, m->title,
               m->content, m->tags, m->source, m->metadata, (int)m->tier, m->priority, m->confidence,
               (long long)m->access_count);
    buf_printf(b, " | created %s updated %s last %s expires %s", m->created_at, m->updated_at,
               m->last_accessed_at ? m->last_accessed_at : "-", m->expires_at ? m->expires_at : "-");
    buf_printf(b, " | stamp %llx %llx | own %d %d %s %lld %lld %llx %llx\n", (unsigned long long)r->stamp.ver,
               (unsigned long long)r->stamp.stream, (int)o->tier, o->priority, o->expires_at ? o->expires_at : "-",
               (long long)o->count_seen, (long long)o->count_base, (unsigned long long)o->base_ver,
               (unsigned long long)o->base_stream);
}

static void dump_bytes(struct buf *b, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++) {
        if (p[i] >= 32 && p[i] < 127)
            buf_putc(b, (char)p[i]);
        else
            buf_printf(b, "\\%02x", p[i]);
    }
}

static void dump_side(struct buf *b, const struct entry *e, struct arena *a)
{
    uint16_t kind = (uint16_t)((uint8_t)e->key->data[0] << 8 | (uint8_t)e->key->data[1]);
    struct side_row side;
    side_of(kind, e->key->data + 2, e->key->len - 2, e->value, a, &side);
    if (kind == SIDE_HELD || kind == SIDE_LOSER || kind == SIDE_DOUBT) return; /* what a node has yet to do */
    if (kind == SIDE_SHADOW) {
        struct reader r;
        struct row row;
        reader_init(&r, side.body, side.body_len);
        uint8_t place = read_u8(&r);
        if (row_read(&r, a, &row) != 0) return;   /* awaited only */
        buf_puts(b, place == 4 ? "" : "shadow "); /* a swept row counts as the row it was */
        dump_row(b, &row);
        return;
    }
    buf_printf(b, "side %u ", kind);
    dump_bytes(b, side.id, strlen(side.id));
    buf_printf(b, " %llx %llx ", (unsigned long long)side.stamp.ver, (unsigned long long)side.stamp.stream);
    dump_bytes(b, side.body, side.body_len);
    buf_putc(b, '\n');
}

static int by_line(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorts the lines, so that it does not matter which table a row came from. */
static void sort_lines(struct buf *b)
{
    size_t count = 0, at = 0;
    char *copy = mem_strdup(buf_str(b));
    for (const char *p = copy; *p != '\0'; p++) count += *p == '\n';
    char **line = mem_alloc((count + 1) * sizeof(char *));
    char *rest = NULL;
    for (char *s = strtok_r(copy, "\n", &rest); s != NULL; s = strtok_r(NULL, "\n", &rest)) line[at++] = s;
    qsort(line, at, sizeof(char *), by_line);
    buf_clear(b);
    for (size_t i = 0; i < at; i++) {
        buf_puts(b, line[i]);
        buf_putc(b, '\n');
    }
    mem_free(line);
    mem_free(copy);
}

void memstore_dump(struct store *s, bool shown, struct buf *b)
{
    struct memstore *m = container_of(s, struct memstore, base);
    struct arena a;
    arena_init(&a, BYTES_MAX);
    for (size_t i = 0; i < m->live[T_ROW].count; i++) {
        struct reader r;
        struct row row;
        const struct blob *v = m->live[T_ROW].item[i].value;
        reader_init(&r, v->data, v->len);
        CHECK(row_read(&r, &a, &row) == 0);
        dump_row(b, &row);
        arena_release(&a);
    }
    for (size_t i = 0; i < m->live[T_SIDE].count; i++) {
        dump_side(b, &m->live[T_SIDE].item[i], &a);
        arena_release(&a);
    }
    const enum table plain[] = { T_IDEM, T_PENDING, T_LINK, T_STANDARD };
    for (size_t t = 0; t < (shown ? 4 : 2); t++)
        for (size_t i = 0; i < m->live[plain[t]].count; i++) {
            buf_printf(b, "table %d ", (int)plain[t]);
            dump_bytes(b, m->live[plain[t]].item[i].key->data, m->live[plain[t]].item[i].key->len);
            buf_putc(b, ' ');
            dump_bytes(b, m->live[plain[t]].item[i].value->data, m->live[plain[t]].item[i].value->len);
            buf_putc(b, '\n');
        }
    sort_lines(b);
}

char *memstore_archive_dump(struct store *s, bool whole)
{
    struct memstore *m = container_of(s, struct memstore, base);
    struct arena a;
    struct buf b;
    arena_init(&a, BYTES_MAX);
    buf_init(&b, BYTES_MAX);
    for (size_t i = 0; i < m->live[T_ARCHIVE].count; i++) {
        struct reader r;
        struct row row;
        const struct blob *v = m->live[T_ARCHIVE].item[i].value;
        reader_init(&r, v->data, v->len);
        CHECK(row_read(&r, &a, &row) == 0);
        const char *at = read_text(&r, &a), *reason = read_text(&r, &a);
        buf_printf(&b, "%s %s ", at, reason);
        if (whole)
            dump_row(&b, &row);
        else
            buf_printf(&b, "%s | %s | %s | %s\n", row.m.id, row.m.ns, row.m.title, row.m.content);
    }
    arena_release(&a);
    return buf_take(&b, NULL);
}
