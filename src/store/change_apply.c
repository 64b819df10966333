/* change_apply.c - versions into rows. What is shown is a pure function of the versions here, whatever their order:
 *
 *   one id      the merge of its versions and touches (src/memory/merge.c)
 *   one title   of the undeleted ids that have it (expired ones too) the greatest is in `memories`, the others are
 *   shadows
 *
 * A version moves at most three rows: its own, a rival under its new title, an heir under the title it left.
 *
 *   NONE, AWAITED, TOMB ─version─▶ VISIBLE ◀─greater─ SHADOW        any ─tombstone─▶ TOMB ─newer version─▶ ...
 *                                  VISIBLE ─expired, swept─▶ SWEPT ─touch or edit─▶ VISIBLE */
#include "store/change_private.h"

#include <string.h>

#include "base/check.h"
#include "store/row.h"

/* ---- tombstones ------------------------------------------------------------------------------------------------ */

/* The last access, touches among it: a live row shows both in one field, so a tombstone must keep both. */
static const char *tomb_last(const struct merged *m, char text[TIME_TEXT])
{
    const char *last = m->row.m.last_accessed_at;
    int64_t us;
    if (m->touch_last_us <= 0) return last;
    time_print(text, m->touch_last_us);
    if (last == NULL || time_parse(last, strlen(last), &us) != 0) return text;
    if (us != m->touch_last_us) return us > m->touch_last_us ? last : text;
    return strcmp(last, text) > 0 ? last : text;
}

static int tomb_put(struct change *c, const struct merged *m)
{
    struct buf b;
    char last[TIME_TEXT];
    const struct row *r = &m->row;
    buf_init(&b, 1u << 20);
    buf_text(&b, r->m.ns);
    buf_text(&b, r->m.title);
    buf_text(&b, tomb_last(m, last));
    buf_u8(&b, (uint8_t)m->tier_max);
    buf_u64(&b, (uint64_t)r->own.count_base);
    buf_u64(&b, r->own.base_ver);
    buf_u64(&b, r->own.base_stream);
    struct side_row side = { .kind = SIDE_TOMBSTONE,
                             .id = r->m.id,
                             .stamp = r->stamp,
                             .key = title_key(r->m.title, r->m.ns),
                             .body = b.data,
                             .body_len = b.len };
    int rc = b.failed ? E_TOO_LARGE : c->tx->v->side_put(c->tx, &side);
    buf_release(&b);
    return rc;
}

int tomb_read(const struct side_row *side, struct arena *a, struct merged *ret)
{
    struct reader r;
    *ret = (struct merged){ .known = true, .deleted = true };
    reader_init(&r, side->body, side->body_len);
    ret->row.m.id = side->id;
    ret->row.m.ns = read_text(&r, a);
    ret->row.m.title = read_text(&r, a);
    ret->row.m.last_accessed_at = read_text(&r, a);
    uint8_t tier = read_u8(&r);
    ret->row.own.count_base = (int64_t)read_u64(&r);
    ret->row.own.base_ver = read_u64(&r);
    ret->row.own.base_stream = read_u64(&r);
    ret->row.stamp = side->stamp;
    ret->tier_max = tier > TIER_LONG ? TIER_LONG : (enum tier)tier;
    return r.failed ? E_CORRUPT : 0;
}

/* ---- what is known --------------------------------------------------------------------------------------------- */

int row_rank(const struct row *a, const struct row *b)
{
    int order = stamp_cmp(&a->stamp, &b->stamp);
    return order != 0 ? order : strcmp(a->m.id, b->m.id);
}

bool row_unstamped(const struct row *r)
{
    int64_t us;
    const char *at = r->m.updated_at;
    return r->stamp.ver == 0 || at == NULL || time_parse(at, strlen(at), &us) != 0 || us != stamp_us(r->stamp.ver);
}

uint64_t row_floor(const struct row *r)
{
    int64_t us;
    if (r->stamp.ver != 0 || r->m.updated_at == NULL) return r->stamp.ver;
    return time_parse(r->m.updated_at, strlen(r->m.updated_at), &us) == 0 ? hlc_of_us(us) : 0;
}

/* A visible row shows its counts, so one that shows none has none: no need to look. */
static bool may_have_touches(const struct row *r)
{
    return r->m.access_count != r->own.count_base || r->m.last_accessed_at != NULL || r->m.access_count >= 1000000;
}

/* Of a row the original wrote all that was not counted here is a base. */
static void count_base(const struct row *stored, struct merged *m)
{
    int64_t more = stored->m.access_count - m->count_sum;
    if (!stored->own_differs && more > 0 && row_unstamped(stored)) m->row.own.count_base = more;
}

int known_load(struct change *c, const char *id, bool touched, struct arena *a, struct known *ret)
{
    struct hidden h;
    struct side_row side;
    *ret = (struct known){ .place = PLACE_NONE };
    int rc = c->tx->v->get(c->tx, id, a, &ret->stored);
    if (rc == 0) {
        ret->place = PLACE_VISIBLE;
        merge_start(&ret->merged, &ret->stored);
        rc = touched || may_have_touches(&ret->stored) ? touches_load(c->tx, id, a, &ret->merged) : 0;
        if (rc == 0 && !touched) count_base(&ret->stored, &ret->merged);
        return rc;
    }
    if (rc != E_NOT_FOUND) return rc;
    rc = c->tx->v->side_get(c->tx, SIDE_TOMBSTONE, id, a, &side);
    if (rc == 0) {
        ret->place = PLACE_TOMB;
        rc = tomb_read(&side, a, &ret->merged);
        return rc == 0 ? touches_load(c->tx, id, a, &ret->merged) : rc;
    }
    if (rc != E_NOT_FOUND) return rc;
    rc = hidden_get(c->tx, id, a, &h);
    if (rc != 0) return rc == E_NOT_FOUND ? 0 : rc;
    ret->place = h.place;
    if (h.place != PLACE_AWAITED) {
        ret->stored = h.row;
        merge_start(&ret->merged, &h.row);
    }
    return touches_load(c->tx, id, a, &ret->merged);
}

/* ---- placing --------------------------------------------------------------------------------------------------- */

/* Puts a title's winner where it belongs. before: its visible row, NULL when it is not in `memories`. */
static int place_winner(struct change *c, const struct row *row, const struct row *before, bool swept)
{
    if (swept && memory_expired(&row->m, c->now_us)) return hidden_put(c, row, PLACE_SWEPT);
    if (swept) {
        int rc = rested_remove(c, row->m.id);
        if (rc != 0) return rc;
    }
    return c->tx->v->put(c->tx, row, before);
}

static bool same_title(const struct row *a, const struct row *b)
{
    return strcmp(a->m.title, b->m.title) == 0 && strcmp(a->m.ns, b->m.ns) == 0;
}

/* The present winner of a title other than `id`: visible, or swept. E_NOT_FOUND. *crowd: some hidden row has the
 * title. */
static int title_winner(struct change *c, const struct row *of, struct arena *a, struct hidden *ret, bool *crowd)
{
    struct hidden *hidden;
    size_t n;
    *crowd = false;
    int rc = c->tx->v->by_title(c->tx, of->m.title, of->m.ns, a, &ret->row);
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    bool found = rc == 0 && strcmp(ret->row.m.id, of->m.id) != 0;
    ret->place = PLACE_VISIBLE;
    rc = title_hidden(c->tx, of->m.title, of->m.ns, a, &hidden, &n);
    if (rc != 0) return rc;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(hidden[i].row.m.id, of->m.id) == 0) continue;
        *crowd = true;
        if (hidden[i].place != PLACE_SWEPT) continue;
        CHECK(!found);
        *ret = hidden[i];
        found = true;
    }
    return found ? 0 : E_NOT_FOUND;
}

/* The winner left this title: the greatest of those that rest under it takes its place. */
static int title_inherit(struct change *c, const struct row *left, struct arena *a, bool *found)
{
    struct hidden *hidden, *heir = NULL;
    size_t n;
    *found = false;
    int rc = title_hidden(c->tx, left->m.title, left->m.ns, a, &hidden, &n);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (heir == NULL || row_rank(&hidden[i].row, &heir->row) > 0) heir = &hidden[i];
    if (rc != 0 || heir == NULL) return rc;
    *found = true;
    rc = rested_remove(c, heir->row.m.id);
    if (rc == 0) rc = c->tx->v->put(c->tx, &heir->row, NULL);
    return rc == 0 ? links_refresh(c, &heir->row) : rc;
}

static int refresh_title(struct change *c, const struct row *of, struct arena *a)
{
    struct row winner;
    int rc = c->tx->v->by_title(c->tx, of->m.title, of->m.ns, a, &winner);
    if (rc == 0) rc = links_refresh(c, &winner);
    return rc == E_NOT_FOUND ? 0 : rc;
}

/* Takes the row from where it is stored; afterwards it is nowhere. */
static int take_out(struct change *c, const struct known *k)
{
    switch (k->place) {
    case PLACE_VISIBLE: return c->tx->v->remove(c->tx, &k->stored);
    case PLACE_SHADOW:
    case PLACE_SWEPT: return rested_remove(c, k->merged.row.m.id);
    case PLACE_AWAITED: return hidden_remove(c, k->merged.row.m.id);
    case PLACE_TOMB: return c->tx->v->side_remove(c->tx, SIDE_TOMBSTONE, k->merged.row.m.id);
    case PLACE_NONE: break;
    }
    return 0;
}

/* A live row enters its title. Its own old place is left already, but for a visible row that moves: that one is in
 * `memories` still and is rewritten there if it wins. */
static int enter(struct change *c, const struct known *k, struct arena *a)
{
    const struct row *row = &k->merged.row;
    struct hidden rival;
    bool visible = k->place == PLACE_VISIBLE, crowd;
    int rc = title_winner(c, row, a, &rival, &crowd);
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    bool alone = rc == E_NOT_FOUND;
    if (!alone && row_rank(row, &rival.row) < 0) {
        rc = visible ? c->tx->v->remove(c->tx, &k->stored) : 0;
        if (rc == 0) rc = hidden_put(c, row, PLACE_SHADOW);
        if (rc != 0 || k->place == PLACE_NONE || rival.place != PLACE_VISIBLE) return rc;
        return links_refresh(c, &rival.row);
    }
    if (!alone) {
        rc = rival.place == PLACE_VISIBLE ? c->tx->v->remove(c->tx, &rival.row) : 0;
        if (rc == 0) rc = hidden_put(c, &rival.row, PLACE_SHADOW);
        if (rc != 0) return rc;
    }
    rc = c->tx->v->put(c->tx, row, visible ? &k->stored : NULL);
    if (rc != 0) return rc;
    return !alone || crowd || (k->place != PLACE_NONE && !visible) ? links_refresh(c, row) : 0;
}

/* The row as before under its title, only its contents changed. */
static int stay(struct change *c, const struct known *k)
{
    const struct row *row = &k->merged.row;
    if (k->place == PLACE_VISIBLE) return c->tx->v->put(c->tx, row, &k->stored);
    if (k->place == PLACE_SHADOW) return hidden_put(c, row, PLACE_SHADOW);
    return place_winner(c, row, NULL, true);
}

static bool same_row(const struct row *a, const struct row *b)
{
    return stamp_cmp(&a->stamp, &b->stamp) == 0 && a->stamp.seq == b->stamp.seq && a->own_differs == b->own_differs &&
           a->m.tier == b->m.tier && a->m.priority == b->m.priority && a->m.access_count == b->m.access_count &&
           a->own.count_base == b->own.count_base && text_same(a->m.last_accessed_at, b->m.last_accessed_at) &&
           text_same(a->m.expires_at, b->m.expires_at);
}

/* After a move: the old title's heir, and what is shown of links and standards that went through it. */
static int leave_title(struct change *c, const struct known *k, bool was_winner, struct arena *a)
{
    bool heir = true;
    int rc = was_winner ? title_inherit(c, &k->stored, a, &heir) : refresh_title(c, &k->stored, a);
    if (rc == 0 && !was_winner) rc = standards_refresh(c, k->merged.row.m.id);
    /* the heir's links were shown on the row that moved away */
    if (rc == 0 && was_winner && heir && !k->merged.deleted) rc = refresh_title(c, &k->merged.row, a);
    return rc;
}

int known_settle(struct change *c, struct known *k, struct arena *a)
{
    struct merged *m = &k->merged;
    bool was_live = k->place == PLACE_VISIBLE || k->place == PLACE_SHADOW || k->place == PLACE_SWEPT;
    bool was_winner = k->place == PLACE_VISIBLE || k->place == PLACE_SWEPT;
    merge_show(m, a);
    m->row.rowid = k->place == PLACE_VISIBLE ? k->stored.rowid : 0;
    if (m->deleted) {
        int rc = k->place == PLACE_TOMB ? 0 : take_out(c, k);
        if (rc == 0) rc = tomb_put(c, m);
        return rc == 0 && was_live ? leave_title(c, k, was_winner, a) : rc;
    }
    bool moved = was_live && !same_title(&k->stored, &m->row);
    if (was_live && !moved) {
        if (same_row(&k->stored, &m->row)) return 0;
        bool risen = stamp_cmp(&k->stored.stamp, &m->row.stamp) != 0;
        if (was_winner || !risen) {
            int rc = stay(c, k);
            return rc == 0 && k->place == PLACE_SWEPT ? refresh_title(c, &m->row, a) : rc;
        }
    }
    int rc = k->place == PLACE_VISIBLE ? 0 : take_out(c, k);
    if (rc == 0) rc = enter(c, k, a);
    return rc == 0 && moved ? leave_title(c, k, was_winner, a) : rc;
}

/* ---- memories and tombstones ----------------------------------------------------------------------------------- */

static int memory_apply(struct change *c, const struct version *v, const struct stamp *s, struct arena *a)
{
    struct known k = { .place = PLACE_NONE };
    const struct stamp from = { .ver = v->own.base_ver, .stream = v->own.base_stream };
    bool unseen = false;
    struct row *fresh = c->priv->fresh;
    int rc = fresh ? 0 : known_load(c, v->m.id, false, a, &k);
    if (rc != 0) return rc;
    bool lived = k.merged.known && !k.merged.deleted;
    bool elsewhere = from.ver != 0 && stamp_cmp(&from, &k.merged.row.stamp) != 0;
    int won = merge_version(&k.merged, v, s, &unseen);
    if (won != 2 && elsewhere) rc = lost_parent(c, v->m.id, &from);
    if (rc == 0 && won == 1 && lived) rc = lost_loser(c, &k.stored, &k.merged, unseen);
    if (rc == 0 && won == 0 && v->kind == KIND_MEMORY) {
        const struct row from_wire = { .m = v->m, .own = v->own, .stamp = *s };
        rc = lost_loser(c, &from_wire, &k.merged, unseen);
    }
    if (rc != 0) return rc;
    if (!fresh) return known_settle(c, &k, a);
    merge_show(&k.merged, c->scratch);
    *fresh = k.merged.row;
    return c->tx->v->put(c->tx, &k.merged.row, NULL);
}

/* What lost: whoever had it when the other was made or came judged it there. */
static int join_loser(struct change *c, const struct known *k, const struct merged *other, int won, bool unseen,
                      const struct page_span *theirs)
{
    const struct row *loser = won == 1 ? &k->stored : &other->row;
    bool judged = !unseen && won == 1 && span_covers(theirs, &loser->stamp);
    int rc = !unseen && won == 0 ? ahead_is_here(c, &loser->stamp, &judged) : 0;
    return rc == 0 && !judged ? lost_loser(c, loser, &k->merged, unseen) : rc;
}

int known_join(struct change *c, const struct merged *other, const struct page_span *theirs, bool unknown,
               struct arena *a)
{
    struct known k = { .place = PLACE_NONE };
    bool unseen = false;
    int rc = unknown ? 0 : known_load(c, other->row.m.id, false, a, &k);
    if (rc != 0) return rc;
    bool lived = k.merged.known && !k.merged.deleted;
    int won = merge_join(&k.merged, other, &unseen);
    bool replaced = won == 1 ? lived : won == 0 && !other->deleted;
    if (replaced && (theirs != NULL || unseen)) rc = join_loser(c, &k, other, won, unseen, theirs);
    return rc == 0 ? known_settle(c, &k, a) : rc;
}

int known_forget(struct change *c, struct known *k, struct arena *a)
{
    bool was_winner = k->place == PLACE_VISIBLE || k->place == PLACE_SWEPT;
    CHECK(was_winner || k->place == PLACE_SHADOW);
    int rc = take_out(c, k);
    k->merged.deleted = true;
    return rc == 0 ? leave_title(c, k, was_winner, a) : rc;
}

/* ---- the rest -------------------------------------------------------------------------------------------------- */

static int idem_apply(struct change *c, const struct version *v, const struct stamp *s, struct arena *a)
{
    struct idem_row there;
    if (v->body_len < IDEM_PRINT) return E_INVALID;
    int rc = c->tx->v->idem_get(c->tx, v->key, a, &there);
    if (rc == 0 && stamp_cmp(&there.stamp, s) >= 0) return 0;
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    struct idem_row row = { v->body, v->body_len, *s, stamp_us(s->ver) + CHANGE_IDEM_US };
    return c->tx->v->idem_put(c->tx, v->key, &row);
}

int change_apply(struct change *c, const struct version *v, const struct stamp *s)
{
    struct arena *a = &c->priv->work;
    int rc = E_INVALID;
    arena_release(a);
    switch (v->kind) {
    case KIND_MEMORY:
    case KIND_TOMBSTONE: rc = memory_apply(c, v, s, a); break;
    case KIND_LINK:
    case KIND_LINK_GONE: rc = links_apply(c, v, s); break;
    case KIND_TOUCH: rc = touch_apply(c, v); break;
    case KIND_STANDARD: rc = standard_apply(c, v, s); break;
    case KIND_PENDING: rc = side_apply(c, v, s, SIDE_PENDING, a); break;
    case KIND_ARCHIVE: rc = side_apply(c, v, s, SIDE_ARCHIVE, a); break;
    case KIND_MEMBER: rc = side_apply(c, v, s, SIDE_MEMBER, a); break;
    case KIND_STREAM: rc = stream_apply(c, v, s, a); break;
    case KIND_IDEM: rc = idem_apply(c, v, s, a); break;
    }
    return rc;
}
