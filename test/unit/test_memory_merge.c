/* Merging: whatever the order, the repetitions and the moments at which a node stores and reads again, the same set of
 * versions and touches shows the same memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "memory.h"
#include "repl/hlc.h"

#define VERSIONS 6
#define TOUCHES 4
#define BASE_US INT64_C(1767225600000000)

static struct arena arena;
static uint64_t seed;

static uint64_t draw(uint64_t bound)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed * UINT64_C(0x2545f4914f6cdd1d) >> 33) % bound;
}

static const char *text_of(int64_t us)
{
    char text[TIME_TEXT];
    time_print(text, us);
    return arena_strdup(&arena, text);
}

/* Few values, so that equal versions, equal times and ties of streams are frequent. */
static void draw_version(struct version *v, struct stamp *s)
{
    int64_t us = BASE_US + (int64_t)draw(5) * 3600000000;
    memset(v, 0, sizeof(*v));
    *s = (struct stamp){ .ver = hlc_of_us(us) + draw(2), .stream = 1 + draw(3), .seq = 1 };
    v->kind = draw(4) == 0 ? KIND_TOMBSTONE : KIND_MEMORY;
    v->ver = s->ver;
    v->own.base_ver = draw(2) ? hlc_of_us(BASE_US + (int64_t)draw(4) * 3600000000) : 0;
    v->own.base_stream = v->own.base_ver ? 1 + draw(3) : 0;
    /* The content names the stamp: one stamp, one version. */
    v->m.id = "m";
    v->m.ns = "n";
    v->m.title = arena_printf(&arena, "%llu/%llu", (unsigned long long)s->ver, (unsigned long long)s->stream);
    if (v->kind == KIND_TOMBSTONE) return;
    v->m.content = v->m.title;
    v->m.confidence = 0.5;
    v->m.tags = "[]";
    v->m.metadata = "{}";
    v->m.source = "api";
    v->m.created_at = v->m.updated_at = text_of(us);
    v->own.tier = (enum tier)draw(3);
    v->own.priority = 1 + (int)draw(10);
    v->own.count_seen = draw(2) ? (int64_t)draw(40) : 0;
    v->own.count_base = draw(3) ? 0 : (int64_t)draw(60);
    if (draw(4)) v->own.expires_at = text_of(BASE_US + (int64_t)draw(12) * 3600000000);
    if (draw(3) == 0) v->m.last_accessed_at = text_of(BASE_US + (int64_t)draw(8) * 3600000000);
}

struct history {
    struct version v[VERSIONS];
    struct stamp s[VERSIONS];
    size_t versions;
    struct touch t[TOUCHES];
    size_t touches;
};

static void draw_history(struct history *h)
{
    h->versions = 1 + draw(VERSIONS);
    h->touches = draw(TOUCHES);
    for (size_t i = 0; i < h->versions; i++) {
        draw_version(&h->v[i], &h->s[i]);
        for (size_t k = 0; k < i; k++) {
            if (stamp_cmp(&h->s[k], &h->s[i]) != 0) continue;
            h->v[i] = h->v[k];
            h->s[i] = h->s[k];
        }
    }
    for (size_t i = 0; i < h->touches; i++) {
        int64_t last = BASE_US + (int64_t)draw(8) * 3600000000;
        h->t[i] = (struct touch){ .id = "m",
                                  .node = i + 1,
                                  .count = (int64_t)draw(30),
                                  .last_us = last,
                                  .expires_us = draw(3) ? last + 4 * INT64_C(3600000000) : 0,
                                  .to_long = draw(5) == 0 };
    }
}

static void add_touches(struct merged *m, const struct history *h)
{
    m->count_sum = m->touch_last_us = m->touch_expires_us = 0;
    for (size_t i = 0; i < h->touches; i++) merge_touch(m, &h->t[i]);
}

/* What a store does between two ops: keeps the shown row, its own where it differs, and of a tombstone what lasts. */
static void store_and_read(struct merged *m, const struct history *h)
{
    struct merged next;
    add_touches(m, h);
    merge_show(m, &arena);
    if (!m->known || m->deleted) return;
    if (!m->row.own_differs) own_of(&m->row.m, &m->row.own);
    merge_start(&next, &m->row);
    *m = next;
}

static struct merged play(const struct history *h, bool shuffled)
{
    struct merged m = { 0 };
    size_t order[VERSIONS * 2], n = 0;
    for (size_t i = 0; i < h->versions; i++) order[n++] = i;
    for (size_t i = 0; shuffled && i < h->versions; i++) {
        if (draw(2)) order[n++] = i;
    }
    for (size_t i = n; shuffled && i > 1; i--) {
        size_t k = draw(i), held = order[i - 1];
        order[i - 1] = order[k];
        order[k] = held;
    }
    for (size_t i = 0; i < n; i++) {
        merge_version(&m, &h->v[order[i]], &h->s[order[i]], NULL);
        if (shuffled && draw(2)) store_and_read(&m, h);
    }
    add_touches(&m, h);
    merge_show(&m, &arena);
    return m;
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void assert_same(const struct merged *a, const struct merged *b)
{
    const struct memory *x = &a->row.m, *y = &b->row.m;
    assert_int_equal(a->known, b->known);
    assert_int_equal(a->deleted, b->deleted);
    assert_int_equal(stamp_cmp(&a->row.stamp, &b->row.stamp), 0);
    assert_string_equal(x->title, y->title);
    assert_int_equal(a->tier_max, b->tier_max);
    assert_int_equal(a->row.own.count_base, b->row.own.count_base);
    assert_true(same(x->last_accessed_at, y->last_accessed_at) || a->deleted);
    if (a->deleted) return;
    assert_int_equal(x->tier, y->tier);
    assert_int_equal(x->priority, y->priority);
    assert_int_equal(x->access_count, y->access_count);
    assert_true(same(x->expires_at, y->expires_at));
    assert_int_equal(a->row.own_differs, b->row.own_differs);
    assert_int_equal(a->row.own.priority, b->row.own.priority);
    assert_int_equal(a->row.own.tier, b->row.own.tier);
    assert_true(same(a->row.own.expires_at, b->row.own.expires_at));
    assert_true(x->priority >= 1 && x->priority <= 10);
}

static void test_any_order(void **state)
{
    (void)state;
    for (uint64_t run = 1; run <= 20000; run++) {
        struct history h;
        seed = run * UINT64_C(0x9e3779b97f4a7c15);
        arena_init(&arena, 8 << 20);
        draw_history(&h);
        struct merged one = play(&h, false);
        for (int again = 0; again < 4; again++) {
            struct merged other = play(&h, true);
            assert_same(&one, &other);
        }
        /* Promotions count although the winner is gone and back. */
        for (size_t i = 0; i < h.versions; i++) assert_true(stamp_cmp(&one.row.stamp, &h.s[i]) >= 0);
        arena_release(&arena);
    }
}

static void test_touches_any_order(void **state)
{
    (void)state;
    for (uint64_t run = 1; run <= 2000; run++) {
        struct touch t[3], a = { .id = "m", .node = 1 }, b = a;
        seed = run;
        for (size_t i = 0; i < 3; i++)
            t[i] = (struct touch){ .id = "m",
                                   .node = 1,
                                   .count = (int64_t)draw(9),
                                   .last_us = (int64_t)draw(9),
                                   .expires_us = (int64_t)draw(9),
                                   .to_long = draw(2) };
        for (size_t i = 0; i < 3; i++) touch_join(&a, &t[i]);
        for (size_t i = 3; i > 0; i--) touch_join(&b, &t[i - 1]);
        touch_join(&b, &t[1]);
        assert_memory_equal(&a, &b, sizeof(a));
    }
}

static struct version live(uint64_t ver, const char *content)
{
    return (struct version){
        .kind = KIND_MEMORY,
        .ver = ver,
        .m = { .id = "m", .ns = "n", .title = "t", .content = content, .updated_at = "", .created_at = "" },
        .own = { .priority = 5, .tier = TIER_MID }
    };
}

static void test_results_and_unseen(void **state)
{
    struct merged m = { 0 };
    struct version first = live(100, "first"), second = live(200, "second"), rival = live(150, "rival"),
                   gone = { .kind = KIND_TOMBSTONE, .ver = 300, .m = { .id = "m", .ns = "n", .title = "t" } };
    bool unseen = true;
    (void)state;
    second.own.base_ver = 100;
    second.own.base_stream = 1;
    gone.own.base_ver = 200;
    gone.own.base_stream = 1;
    assert_int_equal(merge_version(&m, &first, &(struct stamp){ 100, 1, 1 }, &unseen), 1);
    assert_false(unseen);
    assert_int_equal(merge_version(&m, &first, &(struct stamp){ 100, 1, 1 }, &unseen), 2);
    assert_false(unseen);
    assert_int_equal(merge_version(&m, &second, &(struct stamp){ 200, 1, 2 }, &unseen), 1);
    assert_false(unseen);
    assert_int_equal(merge_version(&m, &first, &(struct stamp){ 100, 1, 1 }, &unseen), 0);
    assert_false(unseen);
    assert_int_equal(merge_version(&m, &rival, &(struct stamp){ 150, 2, 1 }, &unseen), 0);
    assert_true(unseen);
    assert_int_equal(merge_version(&m, &gone, &(struct stamp){ 300, 1, 3 }, &unseen), 1);
    assert_false(unseen);
    assert_true(m.deleted);
    assert_null(m.row.m.content);
    struct version back = live(300, "back");
    assert_int_equal(merge_version(&m, &back, &(struct stamp){ 300, 2, 1 }, &unseen), 1);
    assert_false(m.deleted);
    assert_string_equal(m.row.m.content, "back");
    /* The other way about: the winner is there and had not seen what comes late. */
    struct merged n = { 0 };
    merge_version(&n, &rival, &(struct stamp){ 150, 2, 1 }, &unseen);
    assert_int_equal(merge_version(&n, &second, &(struct stamp){ 200, 1, 2 }, &unseen), 1);
    assert_true(unseen);
}

static struct merged shown(struct version v, const struct touch *t, size_t touches)
{
    struct merged m = { 0 };
    merge_version(&m, &v, &(struct stamp){ v.ver, 1, 1 }, NULL);
    for (size_t i = 0; i < touches; i++) merge_touch(&m, &t[i]);
    merge_show(&m, &arena);
    return m;
}

static void test_priority_and_counts(void **state)
{
    struct version v = live(hlc_of_us(BASE_US), "x");
    struct touch t[] = { { .node = 1, .count = 7, .last_us = BASE_US + 5 },
                         { .node = 2, .count = 8, .last_us = BASE_US + 9 } };
    (void)state;
    arena_init(&arena, 1 << 20);
    struct merged m = shown(v, t, 0);
    assert_int_equal(m.row.m.access_count, 0);
    assert_false(m.row.own_differs);
    assert_null(m.row.m.last_accessed_at);
    m = shown(v, t, 2);
    assert_int_equal(m.row.m.access_count, 15);
    assert_int_equal(m.row.m.priority, 6);
    assert_true(m.row.own_differs);
    assert_string_equal(m.row.m.last_accessed_at, text_of(BASE_US + 9));
    v.own.count_seen = v.own.count_base = 40; /* from a file: what it counted is in its priority already */
    assert_int_equal(shown(v, t, 0).row.m.priority, 5);
    assert_int_equal(shown(v, t, 2).row.m.access_count, 55);
    assert_int_equal(shown(v, t, 2).row.m.priority, 6);
    v.own.count_seen = 1000; /* never below what the version says */
    assert_int_equal(shown(v, t, 2).row.m.priority, 5);
    v.own.count_seen = 0;
    v.own.count_base = INT64_MAX;
    assert_int_equal(shown(v, t, 2).row.m.priority, 10);
    assert_int_equal(shown(v, t, 2).row.m.access_count, 1000000);
    arena_release(&arena);
}

static void test_expiry(void **state)
{
    struct version v = live(hlc_of_us(BASE_US), "x");
    struct touch t = { .node = 1, .count = 1, .last_us = BASE_US + 10, .expires_us = BASE_US + 1000 };
    (void)state;
    arena_init(&arena, 1 << 20);
    assert_null(shown(v, &t, 1).row.m.expires_at); /* none stays none */
    v.own.expires_at = text_of(BASE_US + 500);
    assert_string_equal(shown(v, &t, 1).row.m.expires_at, text_of(BASE_US + 1000));
    t.expires_us = BASE_US + 400;
    assert_string_equal(shown(v, &t, 1).row.m.expires_at, text_of(BASE_US + 500)); /* never shortened */
    t.expires_us = BASE_US + 1000;
    t.last_us = BASE_US; /* an access before the version says nothing */
    assert_string_equal(shown(v, &t, 1).row.m.expires_at, text_of(BASE_US + 500));
    t.to_long = true;
    struct merged m = shown(v, &t, 1);
    assert_int_equal(m.row.m.tier, TIER_LONG);
    assert_null(m.row.m.expires_at);
    v.own.tier = TIER_LONG; /* a long memory may be given an expiry */
    assert_string_equal(shown(v, &t, 1).row.m.expires_at, text_of(BASE_US + 500));
    v.own.tier = TIER_SHORT;
    v.own.expires_at = "unreadable";
    t.to_long = false;
    assert_string_equal(shown(v, &t, 1).row.m.expires_at, "unreadable");
    arena_release(&arena);
}

/* Two stores saw parts of a history, each some of it twice: what one knows joined to the other is the whole. */
static void test_join(void **state)
{
    (void)state;
    for (int round = 0; round < 4000; round++) {
        struct history whole;
        struct merged part[2] = { { 0 }, { 0 } };
        arena_init(&arena, 1 << 20);
        draw_history(&whole);
        whole.touches = 0;
        for (size_t i = 0; i < whole.versions; i++) {
            size_t to = draw(3);
            if (to != 1) merge_version(&part[0], &whole.v[i], &whole.s[i], NULL);
            if (to != 0) merge_version(&part[1], &whole.v[i], &whole.s[i], NULL);
            if (draw(3) == 0) store_and_read(&part[draw(2)], &whole);
        }
        struct merged all = play(&whole, false), joined[2] = { part[0], part[1] };
        for (int side = 0; side < 2; side++) {
            if (part[!side].known) merge_join(&joined[side], &part[!side], NULL);
            if (draw(2) && part[!side].known) merge_join(&joined[side], &part[!side], NULL);
            merge_show(&joined[side], &arena);
            assert_same(&joined[side], &all);
            assert_true(same(joined[side].row.m.last_accessed_at, all.row.m.last_accessed_at));
        }
        arena_release(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_touches_any_order),
        cmocka_unit_test(test_results_and_unseen),
        cmocka_unit_test(test_priority_and_counts),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_join),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
