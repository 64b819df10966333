/* change_ahead.c - rows that are newer than every position here. The pages of a snapshot are read after its head, so
 * they bring rows whose ops come later, with the tail. A donor that is lost for good before may have been the only one
 * who had those ops: then nobody would ever send them, and this store would differ from all others for ever.
 *
 *   CLEAN ─first page─▶ AHEAD ─all that the donor had when it had given its last page is here─▶ CLEAN
 *                       └─long enough after that, or after its loss: such rows are said anew, by ops of ours─▶ CLEAN
 *
 * Said anew, a row is a version later, like an edit that nobody asked for; its old op, should it come after all, merges
 * with it as any other would. What merges by itself (tier, last access, counts, votes) has no stamp of its own: of a
 * row whose stamp is here it may be the lost one's all the same. So touches are all said, actions that wait too, and
 * rows which show more than their winner and their touches alone would. */
#include "store/change_private.h"

#include <string.h>

#include "base/check.h"

#define PAGE_ROWS 256
#define PAGE_BYTES (1u << 20)
static const char ahead_key[] = "ahead";

/* Ahead, and from where on such rows are looked for. */
static int cursor_put(struct change *c, const struct page_at *at)
{
    struct buf b;
    buf_init(&b, PAGE_AFTER_MAX + 64);
    buf_u8(&b, 1);
    buf_u16(&b, at->section);
    buf_text(&b, at->after);
    int rc = b.failed ? E_TOO_LARGE : c->tx->v->local_put(c->tx, ahead_key, b.data, b.len);
    buf_release(&b);
    return rc;
}

int ahead_begin(struct change *c)
{
    return cursor_put(c, &(struct page_at){ 0, NULL });
}

static int cursor_get(struct store_tx *tx, struct arena *a, bool *ret, struct page_at *at)
{
    struct local_value v = { 0 };
    struct reader r;
    int rc = tx->v->local_get(tx, ahead_key, a, &v);
    *at = (struct page_at){ 0, NULL };
    *ret = false;
    if (rc != 0) return rc == E_NOT_FOUND ? 0 : rc;
    reader_init(&r, v.data, v.len);
    *ret = read_u8(&r) != 0;
    if (!*ret) return 0;
    at->section = read_u16(&r);
    at->after = read_text(&r, a);
    return r.failed || at->section >= PAGE_END ? E_CORRUPT : 0;
}

int change_ahead(struct store_tx *tx, struct arena *a, bool *ret)
{
    struct page_at at;
    return cursor_get(tx, a, ret, &at);
}

int change_ahead_over(struct change *c)
{
    const uint8_t no = 0;
    return c->tx->v->local_put(c->tx, ahead_key, &no, 1);
}

/* ---- saying a row anew ------------------------------------------------------------------------------------------ */

/* Into the open op, or the next one when it is full. */
static int say(struct change *c, struct version *v)
{
    int rc = change_record(c, v);
    if (rc != E_TOO_LARGE) return rc;
    rc = change_op_begin(c);
    return rc == 0 ? change_record(c, v) : rc;
}

/* The version after the row's: it beats what brought the row, and whatever that replaced here. With all that was merged
 * into it, since the versions that brought that may be lost, too. */
static int next_version(struct change *c, const struct merged *m, uint64_t ver, struct version *ret)
{
    *ret = (struct version){ .kind = KIND_MEMORY, .ver = ver, .m = m->row.m, .own = m->row.own };
    ret->own.base_ver = m->row.stamp.ver;
    ret->own.base_stream = m->row.stamp.stream;
    ret->m.updated_at = change_time(c, ver);
    if (m->tier_max > ret->own.tier) {
        ret->own.tier = m->tier_max;
        if (m->tier_max == TIER_LONG) ret->own.expires_at = NULL; /* as it is shown */
    }
    return ret->m.updated_at != NULL ? 0 : E_TOO_LARGE;
}

static int say_row(struct change *c, const struct merged *m)
{
    struct version v;
    int rc = next_version(c, m, m->row.stamp.ver + 1, &v);
    return rc == 0 ? say(c, &v) : rc;
}

/* A deletion, and before it a row under it that has what a tombstone remembers of the deleted. */
static int say_tombstone(struct change *c, struct version *gone, const struct merged *m)
{
    struct version v;
    int rc = next_version(c, m, gone->ver, &v);
    v.m.content = "";
    v.m.source = "api";
    v.m.tags = "[]";
    v.m.metadata = "{}";
    v.m.created_at = v.m.updated_at;
    v.m.confidence = 1.0;
    v.own.priority = 1;
    if (rc == 0) rc = say(c, &v);
    gone->own.base_ver = gone->ver;
    gone->own.base_stream = c->origin.stream;
    gone->ver++;
    return rc == 0 ? say(c, gone) : rc;
}

/* ---- finding them ----------------------------------------------------------------------------------------------- */

int ahead_is_here(struct change *c, const struct stamp *s, bool *ret)
{
    struct stream_pos pos;
    *ret = true;
    if (s->stream == c->origin.stream) return 0;
    int rc = c->tx->v->stream_get(c->tx, s->stream, &pos);
    *ret = rc == 0 && pos.pos >= s->seq;
    return rc == E_NOT_FOUND ? 0 : rc;
}

/* What a row's winner and touches, which are said by themselves, do not come to: other versions brought it. */
static int has_more(struct change *c, const struct merged *m, struct arena *a, bool *ret)
{
    struct merged plain = { .known = true, .tier_max = m->deleted ? TIER_SHORT : m->row.own.tier };
    const char *last = m->row.m.last_accessed_at;
    char text[TIME_TEXT];
    int64_t us;
    int rc = touches_load(c->tx, m->row.m.id, a, &plain);
    if (rc != 0) return rc;
    time_print(text, plain.touch_last_us);
    bool touched = last != NULL && time_parse(last, strlen(last), &us) == 0 &&
                   (us < plain.touch_last_us || strcmp(last, text) == 0);
    *ret = m->tier_max > plain.tier_max || m->row.own.count_base > 0 || (last != NULL && !touched);
    return 0;
}

/* What this program does not understand: the same bytes, so that whoever does gets them. Not under both stamps: others
 * will never know the old one. */
static int say_held(struct change *c, const struct page_record *r, size_t *said)
{
    bool here;
    int rc = ahead_is_here(c, &r->stamp, &here);
    if (rc != 0 || here) return rc;
    rc = change_op_copy(c, r->body, r->body_len);
    if (rc == E_PROTOCOL) return 0; /* no op at all: it stays held here */
    ++*said;
    if (rc == 0) rc = held_drop(c, &r->stamp);
    return rc == 0 ? change_op_begin(c) : rc;
}

static int say_record(struct change *c, struct page_record *r, struct arena *a, size_t *said)
{
    bool here, more = false;
    struct version *v = &r->v;
    if (r->what == PAGE_HELD) return say_held(c, r, said);
    if (r->what != PAGE_VERSION || v->kind == 0) return 0; /* copies have no op */
    if (v->ver + 1 >= HLC_MAX) return 0;                   /* nothing can be said after that version any more */
    if (v->kind == KIND_TOUCH) {
        v->ver = hlc_next(&c->hlc, c->now_us, 0);
        return say(c, v);
    }
    int rc = ahead_is_here(c, &r->stamp, &here);
    if (rc == 0 && here && r->row.known) rc = has_more(c, &r->row, a, &more);
    if (rc != 0 || (here && !more && v->kind != KIND_PENDING)) return rc;
    ++*said;
    if (r->row.known) return r->row.deleted ? say_tombstone(c, v, &r->row) : say_row(c, &r->row);
    v->ver++;
    return say(c, v);
}

static int say_page(struct change *c, const struct buf *b, size_t *said)
{
    struct arena one;
    struct reader in;
    int rc = 1;
    arena_init(&one, CHANGE_ARENA_MAX);
    reader_init(&in, b->data, b->len);
    while (rc > 0) {
        struct page_record r;
        arena_release(&one);
        rc = change_page_read(&in, &one, &r);
        int failed = rc > 0 ? say_record(c, &r, &one, said) : 0;
        if (failed != 0) rc = failed;
    }
    arena_release(&one);
    return rc;
}

int change_ahead_say(struct change *c, size_t *ret_said, bool *ret_more)
{
    struct page_at at;
    struct arena a;
    struct buf b;
    *ret_said = 0;
    *ret_more = false;
    arena_init(&a, CHANGE_ARENA_MAX);
    buf_init(&b, PAGE_BYTES + 2 * OP_BYTES_MAX);
    int rc = cursor_get(c->tx, &a, ret_more, &at);
    if (rc == 0 && *ret_more) {
        rc = change_page(c->tx, &at, PAGE_ROWS, PAGE_BYTES, &a, &b);
        if (rc == 0) rc = change_op_begin(c);
        if (rc == 0) rc = say_page(c, &b, ret_said);
        *ret_more = at.section != PAGE_END;
        if (rc == 0) rc = *ret_more ? cursor_put(c, &at) : change_ahead_over(c);
    }
    buf_release(&b);
    arena_release(&a);
    return rc;
}
