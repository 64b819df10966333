/* change_page.c - all that is replicated, as records, a page at a time: what a snapshot sends and a scrub sums up.
 *
 * The pages of one snapshot may come from transactions of their own, one after the other, if the vector was taken
 * before the first and is told with it: a row is read as it is at some later moment, which is a merge of what the
 * vector covers and perhaps more; the rest comes with the ops beyond the vector. An id is looked up in all places
 * it may be in within one transaction, because it moves between them when another id takes or leaves its title.
 *
 *   record   u8 what, then
 *     VERSION  u64 stream, u64 seq, u8 tier, u64 count_base, text last access, blob: an op body of one version.
 *     tier,
 *              base and last: the merged ones of a memory or tombstone
 *     HELD     u64 stream, u64 seq, blob: an op that could not be applied there
 *     COPY     text id, blob: row, text archived_at, text reason: an archive row without a record of its own */
#include "store/change_private.h"

#include <string.h>

#include "base/check.h"
#include "base/digest.h"
#include "store/row.h"

enum section { IDS, TOUCHES, LINKS, LINKS_GONE, STANDARDS, PENDINGS, ARCHIVE, MEMBERS, STREAMS, HELD, KEYS, COPIES };

static const struct side_section { /* sections that are one kind of side row */
    uint16_t side;
    enum change_kind kind;
} side_sections[COPIES + 1] = {
    [TOUCHES] = { SIDE_TOUCH, KIND_TOUCH },
    [LINKS] = { SIDE_LINK, KIND_LINK },
    [LINKS_GONE] = { SIDE_LINK_GONE, KIND_LINK_GONE },
    [STANDARDS] = { SIDE_STANDARD, KIND_STANDARD },
    [PENDINGS] = { SIDE_PENDING, KIND_PENDING },
    [ARCHIVE] = { SIDE_ARCHIVE, KIND_ARCHIVE },
    [MEMBERS] = { SIDE_MEMBER, KIND_MEMBER },
    [STREAMS] = { SIDE_STREAM, KIND_STREAM },
};

struct page {
    struct store_tx *tx;
    struct arena *a;
    struct buf *b;          /* records; NULL: sums are told instead */
    struct buf one;         /* a version being encoded */
    const uint8_t *buckets; /* records of these alone; NULL: of all */
    scrub_cb cb;
    void *data;
};

/* ---- writing --------------------------------------------------------------------------------------------------- */

/* What a scrub compares: all but what each node may know more of in its own time. */
static int tell_sum(struct page *p, const struct version *v, struct scrub_row *row)
{
    struct version plain = *v;
    plain.m.last_accessed_at = NULL;
    plain.own.count_base = plain.own.count_seen = 0;
    buf_clear(&p->one);
    int rc = op_encode(&p->one, &plain, 1);
    if (rc != 0) return rc;
    /* votes join by and by, and an archive's text may be this node's own copy: their stamps have to do */
    bool whole = row->family != PENDINGS && row->family != ARCHIVE;
    row->sum = whole ? hash64(p->one.data, p->one.len, row->stamp.stream) : 0;
    p->cb(p->data, row);
    return 0;
}

static int put_version(struct page *p, const struct version *v, const struct stamp *s, const struct merged *m,
                       uint16_t family, const char *key)
{
    struct scrub_row row = { .family = family, .key = key, .stamp = *s };
    if (p->b == NULL || p->buckets != NULL) {
        row.dead = v->kind == KIND_TOMBSTONE || v->kind == KIND_LINK_GONE;
        row.bucket = hash64(key, strlen(key), family) % SCRUB_BUCKETS;
        if (p->b == NULL) return tell_sum(p, v, &row);
        if (!(p->buckets[row.bucket / 8] >> row.bucket % 8 & 1)) return 0;
    }
    buf_clear(&p->one);
    int rc = op_encode(&p->one, v, 1);
    if (rc != 0) return rc;
    buf_u8(p->b, PAGE_VERSION);
    buf_u64(p->b, s->stream);
    buf_u64(p->b, s->seq);
    buf_u8(p->b, m != NULL ? (uint8_t)m->tier_max : 0);
    buf_u64(p->b, m != NULL ? (uint64_t)m->row.own.count_base : 0);
    buf_text(p->b, m != NULL ? m->row.m.last_accessed_at : NULL);
    buf_blob(p->b, p->one.data, p->one.len);
    return 0;
}

static int put_merged(struct page *p, const struct merged *m)
{
    const struct row *r = &m->row;
    struct version v = { .kind = m->deleted ? KIND_TOMBSTONE : KIND_MEMORY, .ver = r->stamp.ver };
    v.m = r->m;
    v.own = r->own;
    return put_version(p, &v, &r->stamp, m, IDS, r->m.id);
}

/* A row the original wrote has no version yet: it will get an op. */
static bool stamped(const struct row *r)
{
    int64_t us;
    const char *t = r->m.updated_at;
    return r->stamp.ver != 0 && t != NULL && time_parse(t, strlen(t), &us) == 0 && us == stamp_us(r->stamp.ver);
}

static int put_id(struct page *p, const char *id)
{
    struct row row;
    struct hidden h;
    struct side_row side;
    struct merged m;
    int rc = p->tx->v->get(p->tx, id, p->a, &row);
    if (rc == 0) {
        merge_start(&m, &row);
        return stamped(&row) ? put_merged(p, &m) : 0;
    }
    if (rc != E_NOT_FOUND) return rc;
    rc = p->tx->v->side_get(p->tx, SIDE_TOMBSTONE, id, p->a, &side);
    if (rc == 0) rc = tomb_read(&side, p->a, &m);
    if (rc == 0) return put_merged(p, &m);
    if (rc != E_NOT_FOUND) return rc;
    rc = hidden_get(p->tx, id, p->a, &h);
    if (rc != 0) return rc == E_NOT_FOUND ? 0 : rc;
    if (h.place == PLACE_AWAITED || !stamped(&h.row)) return 0;
    merge_start(&m, &h.row);
    return put_merged(p, &m);
}

/* The bytes of record stay with the row while they are shown nowhere; else the archive has them. E_NOT_FOUND: not to
 * be told. A scrub does not find what was lost or altered, so that it comes from a peer; it does find what this node
 * let go by its age, without the text. */
static int archive_body(struct page *p, const struct side_row *side, struct version *v)
{
    struct archive_look look;
    struct buf b;
    if (!archive_shown(side)) return 0;
    buf_init(&b, OP_BYTES_MAX);
    int rc = archive_look(p->tx, side, p->a, &b, &look);
    bool scrub = p->b == NULL || p->buckets != NULL;
    if (rc == 0 && (look.text == ARCHIVE_LOST || (look.text == ARCHIVE_AGED && p->b != NULL) ||
                    (look.text == ARCHIVE_ALTERED && scrub)))
        rc = E_NOT_FOUND;
    if (rc == 0 && look.text != ARCHIVE_AGED) {
        v->body = arena_strndup(p->a, b.data, b.len);
        v->body_len = b.len;
        if (v->body == NULL) rc = E_TOO_LARGE;
    }
    buf_release(&b);
    return rc;
}

static int put_side(struct page *p, const struct side_row *side, uint16_t section)
{
    enum change_kind kind = side_sections[section].kind;
    struct version v = { .kind = kind, .ver = side->stamp.ver, .key = side->id };
    int rc = 0;
    v.body = side->body;
    v.body_len = side->body_len;
    switch (kind) {
    case KIND_TOUCH: rc = touch_read(side, p->a, &v.touch); break;
    case KIND_LINK:
    case KIND_LINK_GONE: rc = links_read(side, p->a, &v.link); break;
    case KIND_ARCHIVE:
        rc = archive_body(p, side, &v);
        if (rc == E_NOT_FOUND) return 0;
        break;
    default: break;
    }
    uint16_t family = kind == KIND_LINK_GONE ? LINKS : section; /* one key has one or the other */
    return rc == 0 ? put_version(p, &v, &side->stamp, NULL, family, side->id) : rc;
}

static int put_held(struct page *p, const struct side_row *side)
{
    struct log_op *op;
    size_t n = 0;
    const void *body = side->body;
    size_t len = side->body_len;
    if (len == 0) {
        int rc = p->tx->v->op_page(p->tx, side->stamp.stream, side->stamp.seq, 1, OP_BYTES_MAX, p->a, &op, &n);
        if (rc != 0 || n == 0 || op->seq != side->stamp.seq) return rc;
        body = op->body;
        len = op->body_len;
    }
    buf_u8(p->b, PAGE_HELD);
    buf_u64(p->b, side->stamp.stream);
    buf_u64(p->b, side->stamp.seq);
    buf_blob(p->b, body, len);
    return 0;
}

static int put_key(struct page *p, const char *key)
{
    struct idem_row row;
    int rc = p->tx->v->idem_get(p->tx, key, p->a, &row);
    if (rc != 0) return rc == E_NOT_FOUND ? 0 : rc;
    struct version v = {
        .kind = KIND_IDEM, .ver = row.stamp.ver, .key = key, .body = row.body, .body_len = row.body_len
    };
    return put_version(p, &v, &row.stamp, NULL, KEYS, key);
}

/* Texts that lost to an edit which had not seen them; this node's own sweeps stay its own. */
static int put_copy(struct page *p, const char *id)
{
    struct side_row side;
    struct archived row;
    struct hidden h;
    int rc = p->tx->v->side_get(p->tx, SIDE_ARCHIVE, id, p->a, &side);
    if (rc == E_NOT_FOUND) rc = hidden_get(p->tx, id, p->a, &h); /* a shadow's: shown wherever it rests */
    if (rc != E_NOT_FOUND) return rc;
    rc = p->tx->v->archive_get(p->tx, id, p->a, &row);
    if (rc != 0) return rc == E_NOT_FOUND ? 0 : rc;
    if (row.reason == NULL || row.archived_at == NULL || strcmp(row.reason, "merge_loser") != 0) return 0;
    buf_clear(&p->one);
    row_write(&p->one, &row.row);
    buf_text(&p->one, row.archived_at);
    buf_text(&p->one, row.reason);
    if (p->one.failed) return E_TOO_LARGE;
    buf_u8(p->b, PAGE_COPY);
    buf_text(p->b, id);
    buf_blob(p->b, p->one.data, p->one.len);
    return 0;
}

/* ---- pages ----------------------------------------------------------------------------------------------------- */

/* What a section holds beyond `after`: keys, and for side rows the rows. */
struct found {
    const char **key;
    struct side_row *side;
    size_t count;
};

static int find(struct page *p, const struct page_at *at, size_t limit, struct found *f)
{
    struct store_tx *tx = p->tx;
    uint16_t kind = at->section == HELD ? SIDE_HELD : side_sections[at->section].side;
    *f = (struct found){ 0 };
    if (kind != 0) return tx->v->side_scan(tx, kind, NULL, at->after, limit, p->a, &f->side, &f->count);
    if (at->section == IDS) return tx->v->ids_after(tx, at->after, limit, p->a, &f->key, &f->count);
    if (at->section == KEYS) return tx->v->idem_after(tx, at->after, limit, p->a, &f->key, &f->count);
    return tx->v->archive_after(tx, at->after, limit, p->a, &f->key, &f->count);
}

static int put(struct page *p, uint16_t section, const struct found *f, size_t i)
{
    bool keys = section == IDS || section == KEYS || section == COPIES;
    CHECK(keys ? f->key != NULL : f->side != NULL);
    switch (section) {
    case IDS: return put_id(p, f->key[i]);
    case HELD: return put_held(p, &f->side[i]);
    case KEYS: return put_key(p, f->key[i]);
    case COPIES: return put_copy(p, f->key[i]);
    default: return put_side(p, &f->side[i], section);
    }
}

int change_page(struct store_tx *tx, struct page_at *at, size_t count, size_t bytes, struct arena *a, struct buf *b)
{
    struct page p = { .tx = tx, .a = a, .b = b };
    size_t start = b->len, done = 0;
    int rc = 0;
    CHECK(count > 0);
    buf_init(&p.one, OP_BYTES_MAX + 4096);
    while (rc == 0 && at->section <= COPIES && done < count && b->len - start < bytes) {
        const struct page_at from = *at;
        struct found f;
        size_t limit = count - done, i = 0;
        rc = find(&p, &from, limit, &f);
        for (; rc == 0 && i < f.count && b->len - start < bytes; i++) {
            rc = put(&p, from.section, &f, i);
            at->after = f.side != NULL ? f.side[i].id : f.key[i];
            if (b->failed) rc = E_TOO_LARGE;
        }
        done += i;
        if (rc == 0 && i == f.count && f.count < limit)
            *at = (struct page_at){ .section = (uint16_t)(from.section + 1) };
    }
    if (rc == 0 && at->section > COPIES) *at = (struct page_at){ .section = PAGE_END };
    buf_release(&p.one);
    return rc;
}

/* ---- scrubbing ------------------------------------------------------------------------------------------------- */

#define SCRUB_PAGE 512

static bool scrubbed(uint16_t section)
{
    return section != TOUCHES && section < STREAMS;
}

static int scrub(struct page *p)
{
    struct page_at at = { .section = IDS };
    struct arena page;
    char *after = NULL;
    int rc = 0;
    arena_init(&page, CHANGE_ARENA_MAX);
    p->a = &page;
    buf_init(&p->one, OP_BYTES_MAX + 4096);
    while (rc == 0 && at.section < STREAMS) {
        struct found f = { 0 };
        if (scrubbed(at.section)) rc = find(p, &at, SCRUB_PAGE, &f);
        for (size_t i = 0; rc == 0 && i < f.count; i++) {
            rc = put(p, at.section, &f, i);
            at.after = f.side != NULL ? f.side[i].id : f.key[i];
            if (p->b != NULL && p->b->failed) rc = E_TOO_LARGE;
        }
        if (f.count < SCRUB_PAGE) at = (struct page_at){ .section = (uint16_t)(at.section + 1) };
        mem_free(after);
        at.after = after = at.after != NULL ? mem_strdup(at.after) : NULL;
        arena_release(&page);
    }
    mem_free(after);
    buf_release(&p->one);
    return rc;
}

int change_scrub(struct store_tx *tx, scrub_cb cb, void *data)
{
    struct page p = { .tx = tx, .cb = cb, .data = data };
    return scrub(&p);
}

int change_scrub_records(struct store_tx *tx, const uint8_t buckets[SCRUB_BUCKETS / 8], struct buf *b)
{
    struct page p = { .tx = tx, .b = b, .buckets = buckets };
    return scrub(&p);
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

static int read_version(struct reader *in, struct arena *a, struct page_record *ret)
{
    struct version *v;
    size_t count, len;
    ret->stamp.stream = read_u64(in);
    ret->stamp.seq = read_u64(in);
    uint8_t tier = read_u8(in);
    uint64_t base = read_u64(in);
    const char *last = read_text(in, a);
    const void *body = read_blob(in, &len);
    if (in->failed || tier > TIER_LONG || base > INT64_MAX) return E_PROTOCOL;
    if (ret->stamp.stream > INT64_MAX || ret->stamp.seq > INT64_MAX) return E_PROTOCOL;
    int rc = op_decode(body, len, a, &v, &count);
    if (rc != 0 || count != 1) return rc == E_TOO_LARGE ? rc : E_PROTOCOL;
    if (v->kind != KIND_TOUCH && (v->ver == 0 || ret->stamp.stream == 0)) return E_PROTOCOL; /* touches have no stamp */
    ret->v = *v;
    ret->stamp.ver = v->ver;
    if (v->kind != KIND_MEMORY && v->kind != KIND_TOMBSTONE) return 0;
    ret->id = v->m.id;
    ret->row = (struct merged){ .known = true, .deleted = v->kind == KIND_TOMBSTONE };
    ret->row.row = (struct row){ .m = v->m, .own = v->own, .stamp = ret->stamp };
    ret->row.row.own.count_base = (int64_t)base;
    ret->row.row.m.last_accessed_at = last;
    ret->row.tier_max = (enum tier)tier;
    return 0;
}

int change_page_read(struct reader *in, struct arena *a, struct page_record *ret)
{
    *ret = (struct page_record){ 0 };
    if (in->left == 0) return 0;
    ret->what = read_u8(in);
    int rc = 0;
    switch (ret->what) {
    case PAGE_VERSION: rc = read_version(in, a, ret); break;
    case PAGE_HELD:
        ret->stamp.stream = read_u64(in);
        ret->stamp.seq = read_u64(in);
        ret->body = read_blob(in, &ret->body_len);
        if (ret->stamp.stream == 0 || ret->stamp.seq == 0 || ret->body_len > OP_BYTES_MAX) rc = E_PROTOCOL;
        break;
    case PAGE_COPY:
        ret->id = read_text(in, a);
        ret->body = read_blob(in, &ret->body_len);
        if (ret->id == NULL || ret->id[0] == '\0') rc = E_PROTOCOL;
        break;
    default: rc = E_PROTOCOL;
    }
    if (in->failed) rc = E_PROTOCOL;
    return rc == 0 ? 1 : rc;
}
