/* change_snapshot.c - the state of another store merged into this one: every row through the merge its ops would go
 * through, with its stamp. Nothing is replaced; what only this store has survives, but for rows which the other has
 * seen and holds no more. */
#include "store/change_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/digest.h"
#include "store/row.h"

#define FORGET_PAGE 256
#define LAID_MAX 8192 /* ids in a page's span that are kept in mind */
#define SECTION_IDS 0
#define SECTION_LINKS 2
#define SECTION_ARCHIVE 6

/* ---- records --------------------------------------------------------------------------------------------------- */

static int copy_apply(struct change *c, const struct page_record *r)
{
    struct arena *a = &c->priv->work;
    struct archived there;
    struct reader in;
    struct row row;
    arena_release(a);
    int rc = c->tx->v->archive_get(c->tx, r->id, a, &there);
    if (rc != E_NOT_FOUND) return rc;
    reader_init(&in, r->body, r->body_len);
    if (row_read(&in, a, &row) != 0 || strcmp(row.m.id, r->id) != 0) return E_PROTOCOL;
    const char *at = read_text(&in, a), *reason = read_text(&in, a);
    if (in.failed || at == NULL || reason == NULL) return E_PROTOCOL;
    return lost_copy(c, &row, at);
}

/* Whether what the other has of this key stands, though the stamps are the same. */
static bool forced(const struct page_span *s, const char *key)
{
    for (size_t i = 0; i < s->force_count; i++)
        if (strcmp(s->force[i], key) == 0) return true;
    return false;
}

/* The word index knows the text that was written here once: it is left alone where the row can be mended in place. */
static int drop_memory(struct change *c, const struct page_record *r)
{
    struct arena *a = &c->priv->work;
    struct known k;
    arena_release(a);
    int rc = known_load(c, r->id, false, a, &k);
    bool live = k.place == PLACE_VISIBLE || k.place == PLACE_SHADOW || k.place == PLACE_SWEPT;
    if (rc != 0 || !live || r->row.deleted || stamp_cmp(&k.stored.stamp, &r->stamp) != 0) return rc;
    const struct memory *m = &r->row.row.m;
    bool stays = text_same(m->title, k.stored.m.title) && text_same(m->ns, k.stored.m.ns);
    if (k.place != PLACE_VISIBLE || !stays) return known_forget(c, &k, a);
    struct merged next = r->row;
    merge_show(&next, a);
    next.row.rowid = k.stored.rowid;
    struct row indexed = next.row;
    indexed.own_differs = k.stored.own_differs;
    indexed.stamp.seq = 0; /* no such row was: every column is written */
    return c->tx->v->put(c->tx, &next.row, &indexed);
}

static int drop_side(struct change *c, const struct page_record *r, uint16_t kind, const char *key)
{
    struct arena *a = &c->priv->work;
    struct side_row side;
    arena_release(a);
    int rc = c->tx->v->side_get(c->tx, kind, key, a, &side);
    if (rc == 0 && stamp_cmp(&side.stamp, &r->stamp) == 0) rc = c->tx->v->side_remove(c->tx, kind, key);
    return rc == E_NOT_FOUND ? 0 : rc;
}

/* Takes out what was changed behind our back, so that the merge cannot keep it. */
static int drop_forced(struct change *c, const struct page_record *r, const struct page_span *s)
{
    const struct link *l = &r->v.link;
    const char *key = r->row.known ? r->id : r->v.key;
    if (r->v.kind == KIND_LINK)
        key = arena_printf(&c->priv->decode, "%s%c%s%c%s", l->source_id, SEP, l->target_id, SEP, l->relation);
    if (key == NULL || !forced(s, key)) return 0;
    if (r->row.known) return drop_memory(c, r);
    switch (r->v.kind) {
    case KIND_LINK: return drop_side(c, r, SIDE_LINK, key);
    case KIND_STANDARD: return drop_side(c, r, SIDE_STANDARD, key);
    case KIND_MEMBER: return drop_side(c, r, SIDE_MEMBER, key);
    default: return 0;
    }
}

/* A row lost behind our back took what was shown of its links along; nothing says that it is awaited. */
static int show_links(struct change *c, const char *id)
{
    struct arena *a = &c->priv->work;
    struct row row;
    arena_release(a);
    int rc = title_resolve(c->tx, id, a, &row);
    if (rc == 0) return links_refresh(c, &row);
    return rc == E_NOT_FOUND ? 0 : rc;
}

static int version_apply(struct change *c, const struct page_record *r, const struct page_span *s, bool unknown)
{
    int rc = s->force_count > 0 ? drop_forced(c, r, s) : 0;
    if (rc != 0) return rc;
    if (r->row.known) {
        arena_release(&c->priv->work);
        rc = known_join(c, &r->row, s->repair ? NULL : s, unknown, &c->priv->work);
        return rc == 0 && s->repair ? show_links(c, r->id) : rc;
    }
    if (r->v.kind != 0) return change_apply(c, &r->v, &r->stamp);
    return held_join(c, &r->stamp, &r->v); /* of a later program: kept as the op it came in would be */
}

/* What we had and have no more was deleted here, long ago: the other just has not heard of it. */
static int was_forgotten(struct change *c, const struct page_record *r, bool *ret)
{
    struct arena *a = &c->priv->work;
    struct side_row side;
    struct known k;
    int rc = 0;
    *ret = false;
    if (r->stamp.seq == 0 || !cover_has(&c->priv->had, r->stamp.stream, r->stamp.seq)) return 0;
    arena_release(a);
    if (r->row.known) {
        rc = r->row.deleted ? 0 : known_load(c, r->id, false, a, &k);
        *ret = rc == 0 && !r->row.deleted && !k.merged.known;
    } else if (r->v.kind == KIND_LINK) {
        rc = links_get(c->tx, SIDE_LINK, &r->v.link, a, &side);
        if (rc == E_NOT_FOUND) rc = links_get(c->tx, SIDE_LINK_GONE, &r->v.link, a, &side);
        *ret = rc == E_NOT_FOUND;
    } else if (r->v.kind == KIND_ARCHIVE) {
        rc = c->tx->v->side_get(c->tx, SIDE_ARCHIVE, r->v.key, a, &side);
        *ret = rc == E_NOT_FOUND;
    }
    return rc == E_NOT_FOUND ? 0 : rc;
}

static int record_apply(struct change *c, const struct page_record *r, const struct page_span *s, bool unknown)
{
    switch (r->what) {
    case PAGE_VERSION:
        if (s->repair && r->v.kind != KIND_TOUCH) { /* what is newer comes with its op */
            bool here;
            int rc = ahead_is_here(c, &r->stamp, &here);
            if (rc != 0 || !here) return rc;
        }
        clock_follow(c, r->stamp.ver);
        if (!s->repair) {
            bool gone;
            int rc = was_forgotten(c, r, &gone);
            if (rc != 0 || gone) return rc;
        }
        return version_apply(c, r, s, unknown);
    case PAGE_HELD: return held_take(c, &r->stamp, r->body, r->body_len);
    case PAGE_COPY: return copy_apply(c, r);
    }
    return E_PROTOCOL;
}

/* ---- what the other store holds no more ------------------------------------------------------------------------ */

bool span_covers(const struct page_span *s, const struct stamp *stamp)
{
    for (size_t i = 0; i < s->held_count; i++)
        if (s->held[i].stream == stamp->stream && s->held[i].seq == stamp->seq) return false;
    const struct cover all = { s->v, s->count };
    return stamp->seq != 0 && cover_has(&all, stamp->stream, stamp->seq);
}

/* Keys of one section that came with the page, ascending as they came. */
struct came {
    const char **key;
    size_t count, cap, next;
};

static void came_add(struct came *k, const char *key)
{
    if (k->count == k->cap) {
        k->cap = k->cap == 0 ? 64 : k->cap * 2;
        k->key = mem_realloc(k->key, k->cap * sizeof(*k->key));
    }
    k->key[k->count++] = key;
}

/* Whether `key` came; asked in ascending order. */
static bool came(struct came *k, const char *key)
{
    while (k->next < k->count && strcmp(k->key[k->next], key) < 0) k->next++;
    return k->next < k->count && strcmp(k->key[k->next], key) == 0;
}

static int forget_id(struct change *c, const struct page_span *s, const char *id)
{
    struct known k;
    arena_release(&c->priv->work);
    int rc = known_load(c, id, false, &c->priv->work, &k);
    if (rc != 0 || !k.merged.known || k.place == PLACE_TOMB || !span_covers(s, &k.merged.row.stamp)) return rc;
    c->forgotten++;
    rc = known_forget(c, &k, &c->priv->work);
    return rc == 0 ? links_await(c, id) : rc;
}

static int forget_side(struct change *c, const struct page_span *s, const struct side_row *side, struct arena *a)
{
    struct link l;
    bool link = side->kind == SIDE_LINK;
    if (!span_covers(s, &side->stamp)) return 0;
    int rc = link ? links_read(side, a, &l) : 0;
    c->forgotten++;
    if (rc == 0) rc = c->tx->v->side_remove(c->tx, side->kind, side->id);
    if (rc != 0) return rc;
    if (link) return link_of_record(c, &l);
    rc = c->tx->v->archive_remove(c->tx, side->id, NULL);
    return rc == 0 ? shadow_shown(c, side->id, NULL, a) : rc;
}

/* The part of a section that the page spans: *after, *last (NULL: to its end). False: none of it. */
static bool spans(const struct page_span *s, uint16_t section, const char **after, const char **last)
{
    *after = s->from.section == section ? s->from.after : NULL;
    *last = s->to.section == section ? s->to.after : NULL;
    return s->from.section <= section && (s->to.section > section || *last != NULL);
}

/* The ids that lay in the page's span before it was merged. Any other id of the span is unknown here: it need not be
 * looked up. */
struct laid {
    bool any, whole;          /* there is a span; all its ids are told, else those up to the last one */
    const char *after, *upto; /* between these; NULL: from the beginning, to the end */
    struct came ids;
    const char *newest; /* the greatest id of the page so far */
};

static int laid_read(struct change *c, const struct page_span *s, struct arena *keys, struct laid *l)
{
    const char *after, **id;
    size_t n = FORGET_PAGE;
    int rc = 0;
    l->any = !s->repair && spans(s, SECTION_IDS, &l->after, &l->upto);
    after = l->after;
    while (rc == 0 && l->any && n == FORGET_PAGE && l->ids.count < LAID_MAX) {
        rc = c->tx->v->ids_after(c->tx, after, FORGET_PAGE, keys, &id, &n);
        for (size_t i = 0; rc == 0 && i < n; i++) {
            after = id[i];
            if (l->upto != NULL && strcmp(after, l->upto) > 0) n = 0;
            if (n > 0) came_add(&l->ids, after);
        }
    }
    l->whole = n != FORGET_PAGE;
    if (!l->whole && rc == 0) l->upto = after;
    return rc;
}

/* Whether nothing is known here of an id of the page. Asked once of each, as they come: one that came before, or out of
 * order, may be here by now. The id stays where it is. */
static bool laid_lacks(struct laid *l, const char *id)
{
    if (!l->any || (l->newest != NULL && strcmp(id, l->newest) <= 0)) return false;
    l->newest = id;
    if ((l->after != NULL && strcmp(id, l->after) <= 0) || (l->upto != NULL && strcmp(id, l->upto) > 0)) return false;
    return !came(&l->ids, id);
}

static int forget_ids(struct change *c, const struct page_span *s, struct came *k, const struct laid *l)
{
    const char *after, *last, **id;
    size_t n = FORGET_PAGE;
    struct arena a;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < l->ids.count; i++)
        if (!came(k, l->ids.key[i])) rc = forget_id(c, s, l->ids.key[i]);
    if (rc != 0 || l->whole || !spans(s, SECTION_IDS, &after, &last)) return rc;
    after = l->upto;
    arena_init(&a, CHANGE_ARENA_MAX);
    while (rc == 0 && n == FORGET_PAGE) {
        rc = c->tx->v->ids_after(c->tx, after, FORGET_PAGE, &a, &id, &n);
        for (size_t i = 0; rc == 0 && i < n; i++) {
            after = id[i];
            if (last != NULL && strcmp(after, last) > 0) n = 0;
            if (n > 0 && !came(k, after)) rc = forget_id(c, s, after);
        }
    }
    arena_release(&a);
    return rc;
}

/* Links, or what lies in the archive. */
static int forget_sides(struct change *c, const struct page_span *s, uint16_t section, struct came *k)
{
    const char *after, *last;
    struct side_row *side;
    size_t n = FORGET_PAGE;
    struct arena a;
    int rc = 0;
    if (!spans(s, section, &after, &last)) return 0;
    uint16_t kind = section == SECTION_LINKS ? SIDE_LINK : SIDE_ARCHIVE;
    arena_init(&a, CHANGE_ARENA_MAX);
    while (rc == 0 && n == FORGET_PAGE) {
        rc = c->tx->v->side_scan(c->tx, kind, NULL, after, FORGET_PAGE, &a, &side, &n);
        for (size_t i = 0; rc == 0 && i < n; i++) {
            after = side[i].id;
            if (last != NULL && strcmp(after, last) > 0) n = 0;
            if (n > 0 && !came(k, after)) rc = forget_side(c, s, &side[i], &a);
        }
    }
    arena_release(&a);
    return rc;
}

/* ---- while it is merged ------------------------------------------------------------------------------------------ */

void change_snapshot_stop(struct change *c)
{
    c->priv->now.merging = c->priv->now.missed = false;
}

static int by_stream(const void *a, const void *b)
{
    const struct stream_pos *x = a, *y = b;
    return x->stream < y->stream ? -1 : x->stream > y->stream;
}

/* Whether both stores can have the same history of this stream, as far as both go. */
static bool one_history(struct change *c, const struct stream_pos *here, const struct page_span *span)
{
    const struct stream_pos *there = NULL;
    if (span->count > 0) there = bsearch(here, span->v, span->count, sizeof(*there), by_stream);
    uint64_t chain = here->chain;
    if (there == NULL || there->pos > here->pos) return true;
    if (there->pos < here->pos && (here->left || c->tx->v->op_chain(c->tx, here->stream, there->pos, &chain) != 0))
        return there->pos > 0 || there->chain == 0; /* a stream of two histories comes as if it had none */
    return chain == there->chain;
}

/* What this store has now, with the streams that left; nothing while one of them is not whole here. */
static int had_take(struct change *c, const struct page_span *span)
{
    struct arena *a = &c->priv->decode;
    struct stream_pos *v = NULL, *had;
    const char *after = NULL;
    size_t n = 0, count = 0;
    bool lacks;
    arena_release(a);
    mem_free((struct stream_pos *)(uintptr_t)c->priv->had.v);
    c->priv->had = (struct cover){ 0 };
    int rc = change_lacks(c->tx, a, &lacks);
    if (rc != 0 || lacks || span->lost) return rc;
    rc = c->tx->v->streams(c->tx, a, &v, &n);
    if (rc != 0) return rc;
    had = mem_alloc((n + 1) * sizeof(*had));
    for (bool last = false; rc == 0;) {
        for (size_t i = 0; i < n; i++) {
            had[count] = v[i];
            if (v[i].stream == c->origin.stream) had[count].pos = c->origin.seq;
            if (v[i].stream == c->origin.stream) had[count].chain = c->origin.chain;
            count += one_history(c, &had[count], span);
        }
        if (last) break;
        rc = change_streams_left(c->tx, after, a, &v, &n, &after);
        last = after == NULL;
        if (rc == 0) had = mem_realloc(had, (count + n + 1) * sizeof(*had));
    }
    qsort(had, count, sizeof(*had), by_stream);
    c->priv->had = (struct cover){ had, count };
    return rc;
}

/* The copy outlives a transaction that is undone: the state goes back to what it was, and runs again. */
static int merging_begin(struct change *c, const struct page_span *span)
{
    struct stream_pos *v = mem_alloc((span->count + 1) * sizeof(*v));
    if (span->count > 0) memcpy(v, span->v, span->count * sizeof(*v));
    mem_free((struct stream_pos *)(uintptr_t)c->priv->merging.v);
    c->priv->merging = (struct cover){ v, span->count };
    c->priv->now.merging = true;
    c->priv->now.missed = false;
    int rc = had_take(c, span);
    return rc == 0 ? ahead_begin(c) : rc;
}

bool snapshot_has_rest(const struct change *c, const struct stream_pos *here)
{
    return c->priv->now.merging && cover_has(&c->priv->merging, here->stream, here->pos + 1);
}

/* ---- a page ---------------------------------------------------------------------------------------------------- */

static int note(struct came *k, const char *key, struct arena *keys)
{
    char *copy = arena_strdup(keys, key);
    if (copy == NULL) return E_TOO_LARGE;
    came_add(k, copy);
    return 0;
}

/* Keys of the sections whose rows may be gone. */
struct all_came {
    struct came ids, links, archive;
};

static int note_record(struct all_came *all, const struct page_record *r, struct arena *keys)
{
    const struct link *l = &r->v.link;
    if (r->what != PAGE_VERSION) return 0;
    if (r->row.known) return note(&all->ids, r->id, keys);
    if (r->v.kind == KIND_ARCHIVE) return note(&all->archive, r->v.key, keys);
    if (r->v.kind != KIND_LINK) return 0;
    const char *id = arena_printf(keys, "%s%c%s%c%s", l->source_id, SEP, l->target_id, SEP, l->relation);
    return id != NULL ? note(&all->links, id, keys) : E_TOO_LARGE;
}

/* What lies in the page's span and did not come is gone. */
static int forget_rest(struct change *c, const struct page_span *span, struct all_came *came, const struct laid *l)
{
    int rc = forget_ids(c, span, &came->ids, l);
    if (rc == 0) rc = forget_sides(c, span, SECTION_LINKS, &came->links);
    return rc == 0 ? forget_sides(c, span, SECTION_ARCHIVE, &came->archive) : rc;
}

int change_snapshot_page(struct change *c, const void *records, size_t len, const struct page_span *span)
{
    struct all_came all = { 0 };
    struct laid laid = { 0 };
    struct arena one, keys;
    struct reader in;
    bool first = !span->repair && span->from.section == 0 && span->from.after == NULL;
    int rc = first ? merging_begin(c, span) : 0;
    arena_init(&one, CHANGE_ARENA_MAX);
    arena_init(&keys, CHANGE_ARENA_MAX);
    if (rc == 0) rc = laid_read(c, span, &keys, &laid);
    if (rc == 0) rc = 1;
    reader_init(&in, records, len);
    while (rc > 0) {
        struct page_record r;
        arena_release(&one);
        rc = change_page_read(&in, &one, &r);
        if (rc <= 0) break;
        int failed = span->repair ? 0 : note_record(&all, &r, &keys);
        const char *id = all.ids.count > 0 ? all.ids.key[all.ids.count - 1] : NULL; /* outlives the record */
        bool unknown = failed == 0 && !span->repair && r.row.known && id != NULL && laid_lacks(&laid, id);
        if (failed == 0) failed = record_apply(c, &r, span, unknown);
        if (failed != 0) rc = failed;
    }
    if (rc == 0 && !span->repair) rc = forget_rest(c, span, &all, &laid);
    arena_release(&one);
    arena_release(&keys);
    mem_free(laid.ids.key);
    mem_free(all.ids.key);
    mem_free(all.links.key);
    mem_free(all.archive.key);
    return rc;
}

/* ---- the end --------------------------------------------------------------------------------------------------- */

/* The log has a gap up to that position. */
static int jump(struct change *c, const struct stream_pos *v, uint64_t node)
{
    struct stream_pos next = *v;
    if (next.node == 0) next.node = node;
    next.trimmed = v->pos;
    int rc = stream_anchor(c, v);
    return rc == 0 ? c->tx->v->stream_put(c->tx, &next) : rc;
}

int change_snapshot_end(struct change *c, const struct stream_pos *v, size_t count)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct stream_pos here = { .stream = v[i].stream };
        CHECK(v[i].stream != 0);
        if (v[i].stream == c->origin.stream) continue; /* nobody is ahead of its writer */
        rc = c->tx->v->stream_get(c->tx, v[i].stream, &here);
        bool known = rc == 0;
        if (rc != 0 && rc != E_NOT_FOUND) return rc;
        rc = 0;
        if (here.left && v[i].pos <= here.pos) continue;
        if (v[i].left) { /* unless it went on here */
            if (here.pos <= v[i].pos) rc = stream_leave(c, &v[i]);
            continue;
        }
        if (here.pos == v[i].pos && stream_yields(&here, &v[i])) {
            rc = change_stream_forget(c, v[i].stream);
            if (rc != 0) return rc;
            here.pos = 0;
        }
        if (here.pos < v[i].pos) {
            rc = jump(c, &v[i], here.node);
        } else if (!known || (v[i].ended && !here.ended && here.pos == v[i].pos)) {
            if (!known) here = v[i];
            here.ended = v[i].ended;
            rc = c->tx->v->stream_put(c->tx, &here);
        }
    }
    c->lacks = c->priv->now.missed; /* a stream left meanwhile, further than these positions go */
    change_snapshot_stop(c);
    return rc == 0 ? lacks_put(c, c->lacks) : rc;
}
