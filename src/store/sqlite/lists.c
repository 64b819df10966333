/* lists.c - lists by time, links, counters and the original's side tables. */
#include "store/sqlite/sq.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/alloc.h"

#define HOUR_US 3600000000

/* ?1 and ?4 of SQ_EXPIRED_ROWS. */
void sq_bind_moment(sqlite3_stmt *s, int64_t now_us)
{
    sq_int(s, 1, now_us);
    sqlite3_bind_double(s, 4, 2440587.5 + ((double)now_us + 1e6) / 86400e6);
}

int sq_one_number(struct store_conn *c, sqlite3_stmt *s, int64_t *ret)
{
    int rc = sq_step(c, s);
    if (rc == 1) *ret = sqlite3_column_int64(s, 0);
    sq_done(s);
    return rc < 0 ? rc : 0;
}

int sq_since(struct store_tx *tx, int64_t after_us, const char *after_id, bool with_expired, int64_t now_us,
             size_t limit, struct arena *a, struct rows *ret)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    *ret = (struct rows){ 0 };
    sqlite3_stmt *s = sq_stmt(c, SQ_SINCE, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, after_us);
    sq_text(s, 2, after_id ? after_id : "");
    sq_int(s, 3, with_expired);
    sq_int(s, 4, now_us);
    sq_int(s, 5, (int64_t)limit + 1);
    return sq_rows(c, s, limit, 0, a, ret);
}

int sq_expired(struct store_tx *tx, int64_t now_us, const char *after_id, size_t limit, struct arena *a,
               struct rows *ret)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    *ret = (struct rows){ 0 };
    sqlite3_stmt *s = sq_stmt(c, SQ_EXPIRED, &rc);
    if (s == NULL) return rc;
    sq_bind_moment(s, now_us);
    sq_text(s, 2, after_id ? after_id : "");
    sq_int(s, 3, (int64_t)limit + 1);
    return sq_rows(c, s, limit, 0, a, ret);
}

int sq_unstamped(struct store_tx *tx, size_t limit, struct arena *a, struct rows *ret)
{
    struct store_conn *c = sq_of(tx);
    struct local_value due;
    int rc = sq_local_get(tx, "store.adopt", a, &due);
    *ret = (struct rows){ 0 };
    if (rc == E_NOT_FOUND && !atomic_load(&c->file->adopt_due)) return 0;
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    bool marked = rc == 0;
    sqlite3_stmt *s = sq_stmt(c, SQ_UNSTAMPED, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, (int64_t)limit + 1);
    rc = sq_rows(c, s, limit, 0, a, ret);
    if (rc != 0 || ret->count > 0) return rc;
    /* Nothing is left: the next look can be spared until the original's program comes again. */
    atomic_store(&c->file->adopt_due, false);
    if (!marked || !c->writer) return 0;
    if (c->seen_words != c->seen_begin) { /* more may have come meanwhile, adopted without its words */
        rc = sq_words_rebuild(c);
        if (rc != 0) return rc;
        c->seen_words = c->seen_begin;
    }
    s = sq_stmt(c, SQ_LOCAL_REMOVE, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, "store.adopt");
    return sq_run(c, s);
}

/* ---- ids by prefix: letters in either case, as the original's LIKE does */
struct ids {
    const char **item;
    size_t count, max;
    int64_t total;
};

/* Ids between low (its first `fixed` bytes decide) and the next such string. */
static int prefix_range(struct store_conn *c, const char *prefix, const char *low, size_t fixed, struct arena *a,
                        struct ids *ids)
{
    char high[3] = { 0 };
    int rc;
    memcpy(high, low, fixed);
    high[fixed - 1] = (char)((unsigned char)high[fixed - 1] + 1);
    sqlite3_stmt *s = sq_stmt(c, SQ_BY_PREFIX, &rc);
    if (s == NULL) return rc;
    sqlite3_bind_text(s, 1, low, (int)fixed, SQLITE_STATIC);
    sqlite3_bind_text(s, 2, high, (int)fixed, SQLITE_STATIC);
    sq_text(s, 3, prefix);
    while ((rc = sq_step(c, s)) == 1) {
        ids->total++;
        if (ids->count == ids->max) continue;
        rc = sq_copy(c, s, 0, a, &ids->item[ids->count]);
        if (rc != 0) break;
        ids->count++;
    }
    sq_done(s);
    return rc;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_letter(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z');
}

int sq_by_prefix(struct store_tx *tx, const char *prefix, size_t max, struct arena *a, const char ***ret_ids,
                 size_t *ret_count, int64_t *ret_total)
{
    struct ids ids = { .item = arena_alloc(a, (max + 1) * sizeof *ids.item), .max = max };
    int rc = 0;
    if (ids.item == NULL) return sq_too_large(sq_of(tx));
    size_t fixed = 0; /* one or two ASCII bytes: the ranges of their spellings */
    while (fixed < 2 && prefix[fixed] > 0) fixed++;
    if (fixed == 0 && prefix[0]) {
        char low[2] = { prefix[0], 0 };
        rc = prefix_range(sq_of(tx), prefix, low, 1, a, &ids);
    }
    for (int spelling = 0; fixed > 0 && spelling < 1 << fixed && rc == 0; spelling++) {
        char low[3] = { prefix[0], fixed > 1 ? prefix[1] : 0, 0 };
        bool fresh = true;
        for (size_t i = 0; i < fixed; i++) {
            bool upper = spelling >> i & 1;
            if (is_letter(low[i]))
                low[i] = (char)(upper ? low[i] & ~0x20 : low[i] | 0x20);
            else if (upper)
                fresh = false;
        }
        if (fresh) rc = prefix_range(sq_of(tx), prefix, low, fixed, a, &ids);
    }
    if (ids.count > 1) qsort(ids.item, ids.count, sizeof *ids.item, by_text);
    *ret_ids = ids.item;
    *ret_count = ids.count;
    *ret_total = ids.total;
    return rc;
}

/* ---- links */
int sq_links_of(struct store_tx *tx, const char *id, struct arena *a, struct links *ret)
{
    struct store_conn *c = sq_of(tx);
    size_t cap = 0;
    int rc;
    *ret = (struct links){ 0 };
    sqlite3_stmt *s = sq_stmt(c, SQ_LINKS_OF, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, id);
    while ((rc = sq_step(c, s)) == 1) {
        ret->item = sq_grow(a, ret->item, ret->count, &cap, sizeof *ret->item);
        if (ret->item == NULL) {
            rc = sq_too_large(c);
            break;
        }
        struct link *l = &ret->item[ret->count];
        const char **to[] = { &l->source_id, &l->target_id, &l->relation, &l->created_at };
        rc = 0;
        for (int i = 0; i < 4 && rc == 0; i++) rc = sq_copy(c, s, i, a, to[i]);
        if (rc != 0) break;
        ret->count++;
    }
    sq_done(s);
    return rc;
}

static int link_write(struct store_tx *tx, enum sq_stmt which, const struct link *l)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, which, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, l->source_id);
    sq_text(s, 2, l->target_id);
    sq_text(s, 3, l->relation);
    if (which == SQ_LINK_SHOW) sq_text(s, 4, l->created_at);
    rc = sq_run(c, s);
    if (rc == E_CONFLICT) return err_set(tx->err, E_NOT_FOUND, "link: source or target is no visible memory");
    return rc;
}

int sq_link_show(struct store_tx *tx, const struct link *l)
{
    return link_write(tx, SQ_LINK_SHOW, l);
}

int sq_link_hide(struct store_tx *tx, const struct link *l)
{
    return link_write(tx, SQ_LINK_HIDE, l);
}

int sq_link_get(struct store_tx *tx, const struct link *l, struct arena *a, const char **ret_created_at)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_LINK_GET, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, l->source_id);
    sq_text(s, 2, l->target_id);
    sq_text(s, 3, l->relation);
    rc = sq_step(c, s);
    if (rc == 0) return E_NOT_FOUND;
    if (rc == 1) rc = sq_copy(c, s, 0, a, ret_created_at);
    sq_done(s);
    return rc;
}

/* ---- counters */
int sq_counts(struct store_conn *c, sqlite3_stmt *s, struct arena *a, struct counts *ret)
{
    size_t cap = 0;
    int rc;
    *ret = (struct counts){ 0 };
    while ((rc = sq_step(c, s)) == 1) {
        ret->item = sq_grow(a, ret->item, ret->count, &cap, sizeof *ret->item);
        if (ret->item == NULL) {
            rc = sq_too_large(c);
            break;
        }
        rc = sq_copy(c, s, 0, a, &ret->item[ret->count].name);
        if (rc != 0) break;
        ret->item[ret->count++].count = sqlite3_column_int64(s, 1);
    }
    sq_done(s);
    return rc;
}

static int by_count(const void *a, const void *b)
{
    const struct count_by *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void sort_counts(struct counts *list)
{
    if (list->count > 1) qsort(list->item, list->count, sizeof *list->item, by_count);
}

/* Rows by namespace, sorted by name, expired ones too. */
static int count_by_ns(struct store_conn *c, struct arena *a, struct counts *ret)
{
    int rc;
    *ret = (struct counts){ 0 };
    sqlite3_stmt *s = sq_stmt(c, SQ_COUNT_BY_NS, &rc);
    return s ? sq_counts(c, s, a, ret) : rc;
}

/* Both sorted by name; what is left of none is left out. */
static void subtract(struct counts *from, const struct counts *less)
{
    size_t k = 0, kept = 0;
    for (size_t i = 0; i < from->count; i++) {
        struct count_by one = from->item[i];
        if (k < less->count && strcmp(less->item[k].name, one.name) == 0) one.count -= less->item[k++].count;
        if (one.count > 0) from->item[kept++] = one;
    }
    from->count = kept;
}

int sq_namespaces(struct store_tx *tx, int64_t now_us, struct arena *a, struct counts *ret)
{
    struct store_conn *c = sq_of(tx);
    struct counts gone;
    int rc = count_by_ns(c, a, ret);
    if (rc != 0) return rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_COUNT_EXPIRED_BY_NS, &rc);
    if (s == NULL) return rc;
    sq_bind_moment(s, now_us);
    rc = sq_counts(c, s, a, &gone);
    if (rc == 0) subtract(ret, &gone);
    sort_counts(ret);
    return rc;
}

/* Expired ones too. The three tiers in one pass; should somebody have written one of his own, by sorting all. */
static int count_by_tier(struct store_conn *c, int64_t total, struct arena *a, struct counts *ret)
{
    static const char *const name[] = { "short", "mid", "long" };
    int rc;
    *ret = (struct counts){ .item = arena_alloc(a, 3 * sizeof *ret->item) };
    if (ret->item == NULL) return sq_too_large(c);
    sqlite3_stmt *s = sq_stmt(c, SQ_COUNT_TIERS, &rc);
    if (s == NULL) return rc;
    rc = sq_step(c, s);
    for (int i = 0; rc == 1 && i < 3; i++) {
        int64_t n = sqlite3_column_int64(s, i);
        if (n > 0) ret->item[ret->count++] = (struct count_by){ .name = name[i], .count = n };
        total -= n;
    }
    sq_done(s);
    if (rc < 0) return rc;
    if (total != 0) {
        s = sq_stmt(c, SQ_COUNT_BY_TIER, &rc);
        rc = s ? sq_counts(c, s, a, ret) : rc;
    } else {
        rc = 0;
    }
    sort_counts(ret);
    return rc;
}

int sq_stats(struct store_tx *tx, int64_t now_us, struct arena *a, struct store_stats *ret)
{
    struct store_conn *c = sq_of(tx);
    struct stat st;
    sqlite3_stmt *s;
    *ret = (struct store_stats){ 0 };
    int rc = count_by_ns(c, a, &ret->by_ns);
    for (size_t i = 0; i < ret->by_ns.count; i++) ret->total += ret->by_ns.item[i].count;
    sort_counts(&ret->by_ns);
    if (rc == 0) rc = count_by_tier(c, ret->total, a, &ret->by_tier);
    if (rc == 0 && (s = sq_stmt(c, SQ_STATS_LINKS, &rc)) != NULL) rc = sq_one_number(c, s, &ret->links);
    if (rc == 0 && (s = sq_stmt(c, SQ_COUNT_SOON, &rc)) != NULL) {
        sq_bind_moment(s, now_us + HOUR_US);
        sq_int(s, 2, now_us);
        rc = sq_one_number(c, s, &ret->expiring_soon);
    }
    if (stat(c->file->path, &st) == 0) ret->db_bytes = st.st_size;
    return rc;
}

/* ---- the original's side tables */
int sq_standard_of(struct store_tx *tx, const char *ns, struct arena *a, const char **ret_memory_id,
                   const char **ret_parent)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_STANDARD_OF, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, ns);
    rc = sq_step(c, s);
    if (rc == 0) return E_NOT_FOUND;
    if (rc == 1) rc = sq_copy(c, s, 0, a, ret_memory_id);
    if (rc == 0) rc = sq_copy(c, s, 1, a, ret_parent);
    sq_done(s);
    return rc;
}

int sq_standard_set(struct store_tx *tx, const char *ns, const char *memory_id, const char *parent,
                    const char *updated_at)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, memory_id ? SQ_STANDARD_SET : SQ_STANDARD_CLEAR, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, ns);
    if (memory_id) {
        sq_text(s, 2, memory_id);
        sq_text(s, 3, parent);
        sq_text(s, 4, updated_at);
    }
    return sq_run(c, s);
}

int sq_archive_put(struct store_tx *tx, const struct row *r, const char *archived_at, const char *reason)
{
    struct store_conn *c = sq_of(tx);
    const struct memory *m = &r->m;
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_ARCHIVE_PUT, &rc);
    if (s == NULL) return rc;
    const char *const text[] = { m->id, tier_name(m->tier), m->ns, m->title, m->content, m->tags };
    for (int i = 0; i < 6; i++) sq_text(s, i + 1, text[i]);
    sq_int(s, 7, m->priority);
    sqlite3_bind_double(s, 8, m->confidence);
    sq_text(s, 9, m->source);
    sq_int(s, 10, m->access_count);
    const char *const rest[] = { m->created_at, m->updated_at, m->last_accessed_at, m->expires_at, m->metadata,
                                 archived_at,   reason };
    for (int i = 0; i < 7; i++) sq_text(s, i + 11, rest[i]);
    return sq_run(c, s);
}

int sq_sync_seen(struct store_tx *tx, const char *agent, const char *peer, const char *seen_at, const char *now)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_SYNC_SEEN, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, agent);
    sq_text(s, 2, peer);
    sq_text(s, 3, seen_at);
    sq_text(s, 4, now);
    return sq_run(c, s);
}

int sq_sync_clock(struct store_tx *tx, const char *agent, struct arena *a, struct count_by **ret,
                  const char ***ret_times, size_t *ret_count)
{
    struct store_conn *c = sq_of(tx);
    size_t cap = 0, times_cap = 0;
    int rc;
    *ret = NULL;
    *ret_times = NULL;
    *ret_count = 0;
    sqlite3_stmt *s = sq_stmt(c, SQ_SYNC_CLOCK, &rc);
    if (s == NULL) return rc;
    sq_text(s, 1, agent);
    while ((rc = sq_step(c, s)) == 1) {
        *ret = sq_grow(a, *ret, *ret_count, &cap, sizeof **ret);
        *ret_times = sq_grow(a, *ret_times, *ret_count, &times_cap, sizeof **ret_times);
        rc = *ret && *ret_times ? sq_copy(c, s, 0, a, &(*ret)[*ret_count].name) : sq_too_large(c);
        if (rc == 0) rc = sq_copy(c, s, 1, a, &(*ret_times)[*ret_count]);
        if (rc != 0) break;
        ++*ret_count;
    }
    sq_done(s);
    return rc;
}
