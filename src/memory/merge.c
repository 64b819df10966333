/* merge.c - one memory out of all that is known about its id. What is shown depends on the set of versions and touches
 * alone, not on the order they came in or how often:
 *
 *   whole row          the version with the greatest (ver, stream); a tombstone is a version
 *   tier               the highest any live version had, or long once promoted
 *   access count       greatest count_base plus what every node counted
 *   last access        the latest
 *   priority           the winner's, one more for each ten accesses since its maker looked
 *   expiry             the winner's, or the last access and its extension if that came after the winner and reaches
 *                      further; none if the tier became long without the winner saying so */
#include "memory.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"

#define PROMOTE_AT 5 /* accesses that make a mid memory long */
#define COUNT_MAX 1000000

static int64_t text_us(const char *s)
{
    int64_t us;
    return s != NULL && time_parse(s, strlen(s), &us) == 0 ? us : INT64_MIN;
}

/* The later of two time texts, either of which may be NULL; of equal times one by their bytes. */
static const char *later_text(const char *a, const char *b)
{
    int64_t a_us, b_us;

    if (a == NULL || b == NULL) return a != NULL ? a : b;
    a_us = text_us(a);
    b_us = text_us(b);
    if (a_us != b_us) return a_us > b_us ? a : b;
    return strcmp(a, b) >= 0 ? a : b;
}

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t total_of(const struct merged *m)
{
    int64_t total;

    return __builtin_add_overflow(m->row.own.count_base, m->count_sum, &total) ? INT64_MAX : total;
}

/* All that is asked here only grows, so whoever sees it together, in whatever order it came, promotes. */
static void promote(struct merged *m)
{
    if (m->tier_max == TIER_MID && m->count_sum > 0 && total_of(m) >= PROMOTE_AT) m->tier_max = TIER_LONG;
}

void own_of(const struct memory *m, struct own *ret)
{
    *ret = (struct own){ .tier = m->tier, .priority = m->priority, .expires_at = m->expires_at };
}

void merge_start(struct merged *m, const struct row *row)
{
    *m = (struct merged){ .known = true, .row = *row, .tier_max = row->m.tier };
}

int merge_version(struct merged *m, const struct version *v, const struct stamp *s, bool *unseen)
{
    int rank = m->known ? stamp_cmp(s, &m->row.stamp) : 1;
    const char *last = m->row.m.last_accessed_at;
    int64_t base = m->row.own.count_base;
    struct own from = rank > 0 ? v->own : m->row.own;

    CHECK(v->kind == KIND_MEMORY || v->kind == KIND_TOMBSTONE);
    if (unseen != NULL) {
        bool loser_lives = rank > 0 ? m->known && !m->deleted : v->kind == KIND_MEMORY;
        struct stamp seen = { .ver = from.base_ver, .stream = from.base_stream };
        *unseen = rank != 0 && loser_lives && stamp_cmp(&seen, rank > 0 ? &m->row.stamp : s) < 0;
    }
    if (v->kind == KIND_MEMORY) {
        if (v->own.tier > m->tier_max) m->tier_max = v->own.tier;
        base = max64(base, v->own.count_base);
        last = later_text(last, v->m.last_accessed_at);
    }
    if (rank > 0) {
        m->known = true;
        m->deleted = v->kind == KIND_TOMBSTONE;
        m->row.m = v->m;
        m->row.own = v->own;
        m->row.stamp = *s;
    }
    m->row.own.count_base = base;
    m->row.m.last_accessed_at = last;
    promote(m);
    return rank > 0 ? 1 : rank < 0 ? 0 : 2;
}

int merge_join(struct merged *m, const struct merged *other, bool *unseen)
{
    const struct row *r = &other->row;
    struct version v = { .kind = other->deleted ? KIND_TOMBSTONE : KIND_MEMORY, .ver = r->stamp.ver };
    v.m = r->m;
    v.own = r->own;
    int won = merge_version(m, &v, &r->stamp, unseen);
    /* what a tombstone alone would not say */
    if (other->tier_max > m->tier_max) m->tier_max = other->tier_max;
    m->row.own.count_base = max64(m->row.own.count_base, r->own.count_base);
    m->row.m.last_accessed_at = later_text(m->row.m.last_accessed_at, r->m.last_accessed_at);
    return won;
}

void touch_join(struct touch *into, const struct touch *t)
{
    into->count = max64(into->count, t->count);
    into->last_us = max64(into->last_us, t->last_us);
    into->expires_us = max64(into->expires_us, t->expires_us);
    into->to_long = into->to_long || t->to_long;
}

void merge_touch(struct merged *m, const struct touch *t)
{
    if (__builtin_add_overflow(m->count_sum, t->count, &m->count_sum)) m->count_sum = INT64_MAX;
    m->touch_last_us = max64(m->touch_last_us, t->last_us);
    m->touch_expires_us = max64(m->touch_expires_us, t->expires_us);
    if (t->to_long) m->tier_max = TIER_LONG;
    promote(m);
}

/* The text of a time in the arena; `otherwise` when the arena is full. */
static const char *us_text(struct arena *a, int64_t us, const char *otherwise)
{
    char text[TIME_TEXT];
    const char *copy;

    time_print(text, us);
    copy = arena_strdup(a, text);
    return copy != NULL ? copy : otherwise;
}

static const char *show_expiry(const struct merged *m, struct arena *a)
{
    const struct row *r = &m->row;
    int64_t own_us = text_us(r->own.expires_at);

    if (r->own.expires_at == NULL) return NULL;
    if (r->m.tier == TIER_LONG && r->own.tier != TIER_LONG) return NULL;
    if (m->touch_last_us > stamp_us(r->stamp.ver) && m->touch_expires_us > own_us && own_us != INT64_MIN)
        return us_text(a, m->touch_expires_us, r->own.expires_at);
    return r->own.expires_at;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool differs(const struct row *r)
{
    struct own plain;

    own_of(&r->m, &plain);
    return r->own.tier != plain.tier || r->own.priority != plain.priority || r->own.count_seen != 0 ||
           r->own.count_base != 0 || r->own.base_ver != 0 || r->own.base_stream != 0 ||
           !same_text(r->own.expires_at, plain.expires_at);
}

void merge_show(struct merged *m, struct arena *a)
{
    struct row *r = &m->row;
    int64_t total = total_of(m), bump;

    r->own_differs = false;
    if (!m->known || m->deleted) return;
    bump = total / 10 - r->own.count_seen / 10;
    r->m.access_count = total < COUNT_MAX ? total : COUNT_MAX;
    r->m.priority = r->own.priority;
    if (bump > 0 && r->own.priority < 10)
        r->m.priority = bump < 10 - r->own.priority ? r->own.priority + (int)bump : 10;
    r->m.tier = m->tier_max > r->own.tier ? m->tier_max : r->own.tier;
    if (m->touch_last_us > 0 && m->touch_last_us >= text_us(r->m.last_accessed_at))
        r->m.last_accessed_at = later_text(r->m.last_accessed_at, us_text(a, m->touch_last_us, NULL));
    r->m.expires_at = show_expiry(m, a);
    r->own_differs = differs(r);
}
