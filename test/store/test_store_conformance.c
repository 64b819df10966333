/* What every backend of the storage port does alike: one list of tests, run on each. */
#include "store_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/digest.h"

static void same_text(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        assert_ptr_equal(a, b);
    else
        assert_string_equal(a, b);
}

static void same_row(const struct row *a, const struct row *b)
{
    const char *const left[] = {
        a->m.id,       a->m.ns,         a->m.title,      a->m.content,          a->m.tags,       a->m.source,
        a->m.metadata, a->m.created_at, a->m.updated_at, a->m.last_accessed_at, a->m.expires_at, a->own.expires_at
    };
    const char *const right[] = {
        b->m.id,       b->m.ns,         b->m.title,      b->m.content,          b->m.tags,       b->m.source,
        b->m.metadata, b->m.created_at, b->m.updated_at, b->m.last_accessed_at, b->m.expires_at, b->own.expires_at
    };
    for (size_t i = 0; i < ARRAY_LEN(left); i++) same_text(left[i], right[i]);
    assert_int_equal(a->m.tier, b->m.tier);
    assert_int_equal(a->m.priority, b->m.priority);
    assert_true(a->m.confidence >= b->m.confidence && a->m.confidence <= b->m.confidence);
    assert_int_equal(a->m.access_count, b->m.access_count);
    assert_int_equal(a->stamp.ver, b->stamp.ver);
    assert_int_equal(a->stamp.stream, b->stamp.stream);
    assert_int_equal(a->stamp.seq, b->stamp.seq);
    assert_int_equal(a->own_differs, b->own_differs);
    assert_int_equal(a->own.tier, b->own.tier);
    assert_int_equal(a->own.priority, b->own.priority);
    assert_int_equal(a->own.count_seen, b->own.count_seen);
    assert_int_equal(a->own.count_base, b->own.count_base);
    assert_int_equal(a->own.base_ver, b->own.base_ver);
    assert_int_equal(a->own.base_stream, b->own.base_stream);
}

/* ---- rows */
static struct row full_row(struct kit *k)
{
    struct row r = kit_row(&k->arena, "id-1", "ops/gateway", "Gateway — 日本語",
                           "line one\nline \"two\" \xf0\x9f\x98\x80", kit_ver(10));
    r.m.tags = "[\"a\",\"b c\"]";
    r.m.metadata = "{\"agent_id\":\"alice\",\"scope\":\"team\"}";
    r.m.tier = TIER_LONG;
    r.m.priority = 9;
    r.m.confidence = 0.9;
    r.m.access_count = 41;
    r.m.created_at = "2024-01-01T08:00:00+00:00";
    r.m.last_accessed_at = "2025-10-09T08:00:00.000000+00:00";
    r.m.expires_at = "2099-01-01T00:00:00Z";
    r.own_differs = true;
    r.own = (struct own){ TIER_SHORT, 3, "2098-01-01T00:00:00Z", 40, 2, kit_ver(3), 77 };
    return r;
}

static void a_row_comes_back_as_it_was_put(void **state)
{
    struct kit *k = *state;
    struct row r = full_row(k), got;
    kit_put(k, &r, NULL);
    for (int round = 0; round < 2; round++) {
        struct store_tx *tx = kit_read(k);
        kit_ok(tx->v->get(tx, "id-1", &k->arena, &got), tx->err);
        same_row(&got, &r);
        assert_true(got.rowid > 0);
        kit_ok(tx->v->by_title(tx, r.m.title, r.m.ns, &k->arena, &got), tx->err);
        same_row(&got, &r);
        assert_int_equal(tx->v->get(tx, "ID-1", &k->arena, &got), E_NOT_FOUND);
        assert_int_equal(tx->v->by_title(tx, r.m.title, "ops", &k->arena, &got), E_NOT_FOUND);
        kit_read_end(k);
        if (round == 0 && kit_backend->lasts) kit_reopen(k);
    }
}

static void an_update_replaces_every_column(void **state)
{
    struct kit *k = *state;
    struct row first = full_row(k), got, next;
    kit_put(k, &first, NULL);
    struct store_tx *tx = kit_begin(k);
    kit_ok(tx->v->get(tx, "id-1", &k->arena, &got), tx->err);
    next = kit_row(&k->arena, "id-1", "other", "New title", "new text", kit_ver(20));
    kit_ok(tx->v->put(tx, &next, &got), tx->err);
    kit_commit(k);
    tx = kit_read(k);
    kit_ok(tx->v->get(tx, "id-1", &k->arena, &got), tx->err);
    same_row(&got, &next);
    assert_int_equal(tx->v->by_title(tx, first.m.title, first.m.ns, &k->arena, &got), E_NOT_FOUND);
    kit_read_end(k);
    /* same name, other text; then an access alone */
    tx = kit_begin(k);
    kit_ok(tx->v->get(tx, "id-1", &k->arena, &got), tx->err);
    next = kit_row(&k->arena, "id-1", "other", "New title", "newer text", kit_ver(30));
    kit_ok(tx->v->put(tx, &next, &got), tx->err);
    kit_ok(tx->v->get(tx, "id-1", &k->arena, &got), tx->err);
    same_row(&got, &next);
    next.m.access_count = 1;
    next.m.last_accessed_at = "2025-10-09T08:00:00.000000+00:00";
    next.m.expires_at = "2025-10-10T08:00:00.000000+00:00";
    next.m.tier = TIER_LONG;
    next.own_differs = true;
    kit_ok(tx->v->put(tx, &next, &got), tx->err);
    kit_commit(k);
    tx = kit_read(k);
    kit_ok(tx->v->get(tx, "id-1", &k->arena, &got), tx->err);
    same_row(&got, &next);
    kit_read_end(k);
}

static void one_title_has_one_row(void **state)
{
    struct kit *k = *state;
    struct row a = kit_row(&k->arena, "a", "ns", "T", "x", kit_ver(1)),
               b = kit_row(&k->arena, "b", "ns", "T", "y", kit_ver(2));
    kit_put(k, &a, NULL);
    struct store_tx *tx = kit_begin(k);
    kit_ok(tx->v->savepoint(tx, &k->err), &k->err);
    assert_int_equal(tx->v->put(tx, &b, NULL), E_CONFLICT);
    kit_ok(tx->v->savepoint_end(tx, false, &k->err), &k->err);
    b.m.ns = "ns2";
    kit_ok(tx->v->put(tx, &b, NULL), tx->err);
    kit_commit(k);
}

static void a_removed_row_takes_its_things_along(void **state)
{
    struct kit *k = *state;
    struct row r = full_row(k), got, other = kit_row(&k->arena, "id-2", "ns", "Other", "x", kit_ver(1));
    struct link l = { "id-1", "id-2", "related_to", "2025-01-01T00:00:00Z" };
    struct links links;
    struct side_row side;
    const char *id, *parent;
    kit_put(k, &r, NULL);
    kit_put(k, &other, NULL);
    struct store_tx *tx = kit_begin(k);
    kit_ok(tx->v->link_show(tx, &l), tx->err);
    kit_ok(tx->v->standard_set(tx, "ops", "id-1", NULL, "2025-01-01T00:00:00Z"), tx->err);
    kit_ok(tx->v->get(tx, "id-1", &k->arena, &got), tx->err);
    kit_ok(tx->v->remove(tx, &got), tx->err);
    kit_commit(k);
    tx = kit_read(k);
    assert_int_equal(tx->v->get(tx, "id-1", &k->arena, &got), E_NOT_FOUND);
    kit_ok(tx->v->links_of(tx, "id-2", &k->arena, &links), tx->err);
    assert_int_equal(links.count, 0);
    int rc = tx->v->standard_of(tx, "ops", &k->arena, &id, &parent);
    assert_true(rc == E_NOT_FOUND || id == NULL);
    assert_int_equal(tx->v->side_get(tx, SIDE_OWN, "id-1", &k->arena, &side), E_NOT_FOUND);
    kit_read_end(k);
}

static void a_rolled_back_transaction_left_nothing(void **state)
{
    struct kit *k = *state;
    struct row a = kit_row(&k->arena, "a", "ns", "A", "alpha words", kit_ver(1)), got;
    struct row b = kit_row(&k->arena, "b", "ns", "B", "beta words", kit_ver(2));
    struct row c = kit_row(&k->arena, "c", "ns", "C", "gamma words", kit_ver(3));
    struct store_tx *tx = kit_begin(k);
    kit_ok(tx->v->put(tx, &a, NULL), tx->err);
    k->store->b->rollback(k->writer);
    tx = kit_begin(k);
    kit_ok(tx->v->put(tx, &b, NULL), tx->err);
    kit_ok(tx->v->savepoint(tx, &k->err), &k->err);
    kit_ok(tx->v->put(tx, &a, NULL), tx->err);
    kit_ok(tx->v->local_put(tx, "key", "x", 1), tx->err);
    kit_ok(tx->v->savepoint_end(tx, false, &k->err), &k->err);
    kit_ok(tx->v->savepoint(tx, &k->err), &k->err);
    kit_ok(tx->v->put(tx, &c, NULL), tx->err);
    kit_ok(tx->v->savepoint_end(tx, true, &k->err), &k->err);
    kit_commit(k);
    tx = kit_read(k);
    struct local_value v;
    assert_int_equal(tx->v->get(tx, "a", &k->arena, &got), E_NOT_FOUND);
    assert_int_equal(tx->v->local_get(tx, "key", &k->arena, &v), E_NOT_FOUND);
    kit_ok(tx->v->get(tx, "b", &k->arena, &got), tx->err);
    kit_ok(tx->v->get(tx, "c", &k->arena, &got), tx->err);
    kit_read_end(k);
}

static void a_reader_keeps_its_snapshot(void **state)
{
    struct kit *k = *state;
    struct row a = kit_row(&k->arena, "a", "ns", "A", "x", kit_ver(1)),
               b = kit_row(&k->arena, "b", "ns", "B", "x", kit_ver(2)), got;
    kit_put(k, &a, NULL);
    struct store_tx *tx = kit_read(k);
    kit_ok(tx->v->get(tx, "a", &k->arena, &got), tx->err);
    kit_put(k, &b, NULL);
    assert_int_equal(tx->v->get(tx, "b", &k->arena, &got), E_NOT_FOUND);
    kit_read_end(k);
    tx = kit_read(k);
    kit_ok(tx->v->get(tx, "b", &k->arena, &got), tx->err);
    kit_read_end(k);
}

/* ---- pages */
static void fill_pages(struct kit *k)
{
    struct store_tx *tx = kit_begin(k);
    for (int i = 0; i < 60; i++) {
        char id[16], title[16];
        snprintf(id, sizeof id, "row-%02d", (i * 7) % 60);
        snprintf(title, sizeof title, "t%02d", i);
        struct row r =
            kit_row(&k->arena, id, i % 3 ? "even" : "third", title, "content", kit_ver(i / 4)); /* equal stamps too */
        r.stamp.stream = (uint64_t)i + 1;
        r.m.priority = 1 + i % 4;
        r.m.tier = (enum tier)(i % 3);
        if (i % 5 == 0) r.m.tags = "[\"five\",\"a, \\\"b\"]";
        if (i % 6 == 0) r.m.metadata = "{\"agent_id\":\"alice\",\"scope\":\"collective\"}";
        if (i % 10 == 0) r.m.expires_at = "2025-10-09T01:00:00-08:00"; /* 09:00 UTC: after KIT_T0 (08:53:20) */
        kit_ok(tx->v->put(tx, &r, NULL), tx->err);
    }
    kit_commit(k);
}

static int order_of(const struct row *a, const struct row *b)
{
    if (a->m.priority != b->m.priority) return b->m.priority - a->m.priority;
    if (a->stamp.ver != b->stamp.ver) return a->stamp.ver < b->stamp.ver ? 1 : -1;
    return strcmp(a->m.id, b->m.id);
}

/* Walks all pages by cursor and checks order; returns the number of rows. */
static size_t walk(struct kit *k, struct store_tx *tx, struct list_query q)
{
    struct row last = { 0 };
    struct rows page;
    struct cursor at;
    size_t count = 0;
    do {
        kit_ok(tx->v->list(tx, &q, &k->arena, &page), tx->err);
        assert_true(page.count <= q.limit);
        assert_true(!page.more || page.count > 0);
        for (size_t i = 0; i < page.count; i++) {
            if (count++ > 0) assert_true(order_of(&last, &page.item[i]) < 0);
            last = page.item[i];
        }
        at = (struct cursor){ last.m.priority, last.stamp.ver, last.m.id };
        q.after = &at;
    } while (page.more);
    return count;
}

static void pages_join_without_gap(void **state)
{
    struct kit *k = *state;
    fill_pages(k);
    struct store_tx *tx = kit_read(k);
    for (size_t limit = 1; limit < 9; limit += 2) {
        assert_int_equal(walk(k, tx, (struct list_query){ .limit = limit }), 60);
        assert_int_equal(walk(k, tx, (struct list_query){ .f = { .ns = "third" }, .limit = limit }), 20);
    }
    assert_int_equal(walk(k, tx, (struct list_query){ .limit = 1000 }), 60);
    assert_int_equal(walk(k, tx, (struct list_query){ .limit = 1000, .bytes_max = 1000 }), 60);
    struct rows page;
    kit_ok(tx->v->list(tx, &(struct list_query){ .limit = 10, .offset = 55 }, &k->arena, &page), tx->err);
    assert_int_equal(page.count, 5);
    assert_false(page.more);
    kit_read_end(k);
}

static void filters_agree_with_counting(void **state)
{
    struct kit *k = *state;
    fill_pages(k);
    int min = 3;
    enum tier tier = TIER_LONG;
    int64_t since = KIT_T0 + 5 * 1000000, until = KIT_T0 + 9 * 1000000;
    const char *const five[] = { "five" }, *const odd[] = { "a, \"b" }, *const none[] = { "fiv", "a" },
                      *const comma[] = { "," };
    const char *const some[] = { "third", "nowhere" };
    struct viewer viewer = { .p1 = "third" };
    const struct {
        struct filter f;
        int64_t expect;
    } table[] = {
        { { 0 }, 60 },
        { { .ns = "third" }, 20 },
        { { .ns_any = some, .ns_any_count = 2 }, 20 },
        { { .tier = &tier }, 20 },
        { { .tier_word = "long" }, 20 },
        { { .tier_word = "none such" }, 0 },
        { { .min_priority = &min }, 30 },
        { { .since_us = &since }, 40 },
        { { .until_us = &until }, 40 },
        { { .since_us = &since, .until_us = &until }, 20 },
        { { .tags = five, .tags_count = 1 }, 12 },
        { { .tags = odd, .tags_count = 1 }, 12 },
        { { .tags = none, .tags_count = 2 }, 0 },
        { { .tags = comma, .tags_count = 1 }, 0 },
        { { .agent_id = "alice" }, 10 },
        { { .agent_id = "ali" }, 0 },
        { { .now_us = KIT_T0 }, 60 },
        { { .now_us = KIT_T0 + 400 * 1000000LL }, 54 },
        { { .viewer = &viewer }, 20 },
        { { .ns = "third", .tags = five, .tags_count = 1, .now_us = KIT_T0 + 400 * 1000000LL }, 2 },
    };
    struct store_tx *tx = kit_read(k);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        int64_t n;
        kit_ok(tx->v->count(tx, &table[i].f, &n), tx->err);
        assert_int_equal(n, table[i].expect);
        assert_int_equal(walk(k, tx, (struct list_query){ .f = table[i].f, .limit = 7 }), n);
    }
    kit_read_end(k);
}

/* ---- pages against a sorted list of all rows */
#define MANY_ROWS 900

static uint64_t dice_state;

static uint64_t dice(uint64_t n)
{
    dice_state = dice_state * 6364136223846793005u + 1442695040888963407u;
    return (dice_state >> 33) % n;
}

static int in_order(const void *a, const void *b)
{
    return order_of(a, b);
}

static void fill_many(struct kit *k, struct row *all)
{
    static const char *const tags[] = {
        "[]", "[\"red\"]", "[\"dark red\",\"x\"]", "[\"red\",\"gr\xc3\xbcn\"]", "[\"a\\tb\"]", "[\"reds\", \"\"]"
    };
    struct store_tx *tx = kit_begin(k);
    for (int i = 0; i < MANY_ROWS; i++) {
        const char *id = arena_printf(&k->arena, "row-%04d", (i * 7) % MANY_ROWS);
        struct row r =
            kit_row(&k->arena, id, dice(3) ? "a" : "b", id, dice(9) ? "text" : "red text", kit_ver((int64_t)dice(300)));
        r.stamp.stream = (uint64_t)i + 1;
        r.m.priority = (int)(1 + dice(4));
        r.m.tier = (enum tier)dice(3);
        r.m.tags = tags[dice(ARRAY_LEN(tags) - (dice(8) ? 1 : 0))];
        if (dice(9) == 0) r.m.expires_at = "2025-10-09T01:00:00-08:00";
        kit_ok(tx->v->put(tx, &r, NULL), tx->err);
        all[i] = r;
    }
    kit_commit(k);
    qsort(all, MANY_ROWS, sizeof *all, in_order);
}

static bool tagged(const struct row *r, const struct filter *f)
{
    return f->tags_count == 0 || memory_has_tag(r->m.tags, f->tags, f->tags_count);
}

static bool wanted(const struct row *r, const struct filter *f)
{
    if (f->now_us != 0 && r->m.expires_at != NULL) return false;
    if (f->ns != NULL && strcmp(f->ns, r->m.ns) != 0) return false;
    if (f->tier != NULL && *f->tier != r->m.tier) return false;
    return (f->min_priority == NULL || r->m.priority >= *f->min_priority) && tagged(r, f);
}

static void compare_page(struct store_tx *tx, const struct row *all, const struct list_query *q)
{
    struct arena a;
    struct rows page;
    int64_t count;
    uint64_t at = 0;
    arena_init(&a, 16u << 20);
    kit_ok(tx->v->list(tx, q, &a, &page), tx->err);
    kit_ok(tx->v->count(tx, &q->f, &count), tx->err);
    for (size_t i = 0; i < MANY_ROWS; i++) {
        if (!wanted(&all[i], &q->f)) continue;
        if (at >= q->offset && at - q->offset < page.count)
            assert_string_equal(page.item[at - q->offset].m.id, all[i].m.id);
        at++;
    }
    assert_int_equal(count, at);
    uint64_t left = at > q->offset ? at - q->offset : 0;
    assert_int_equal(page.count, left < q->limit ? left : q->limit);
    assert_int_equal(page.more, left > q->limit);
    arena_release(&a);
}

static void pages_are_what_is_sorted_and_cut(void **state)
{
    static const char *const asked[] = { "red", "dark red", "gr\xc3\xbcn", "a\tb", "", "no", "x", "-" };
    static const int three = 3;
    static struct row all[MANY_ROWS];
    struct kit *k = *state;
    enum tier tier;
    dice_state = 7;
    fill_many(k, all);
    struct store_tx *tx = kit_read(k);
    for (int i = 0; i < 400; i++) {
        const char *const tags[] = { asked[dice(ARRAY_LEN(asked))], asked[dice(ARRAY_LEN(asked))] };
        struct list_query q = { .limit = 1 + dice(40), .offset = dice(3) ? dice(MANY_ROWS + 100) : dice(20) };
        if (dice(2)) q.f.now_us = KIT_T0 + 400 * 1000000LL;
        if (dice(3) == 0) q.f.ns = dice(2) ? "a" : "b";
        if (dice(4) == 0) q.f.min_priority = &three;
        tier = (enum tier)dice(3);
        if (dice(4) == 0) q.f.tier = &tier;
        q.f.tags = tags;
        q.f.tags_count = dice(2) ? 1 + dice(2) : 0;
        compare_page(tx, all, &q);
    }
    kit_read_end(k);
}

static void since_walks_by_time_and_id(void **state)
{
    struct kit *k = *state;
    fill_pages(k);
    struct store_tx *tx = kit_read(k);
    struct rows page;
    int64_t at = KIT_T0 - 1, us;
    const char *id = "";
    size_t count = 0;
    do {
        kit_ok(tx->v->since(tx, at, id, true, KIT_T0, 3, &k->arena, &page), tx->err);
        for (size_t i = 0; i < page.count; i++, count++) {
            kit_ok(time_parse(page.item[i].m.updated_at, strlen(page.item[i].m.updated_at), &us), NULL);
            assert_true(us > at || (us == at && strcmp(page.item[i].m.id, id) > 0));
            at = us;
            id = page.item[i].m.id;
        }
    } while (page.more);
    assert_int_equal(count, 60);
    kit_ok(tx->v->since(tx, 0, "", false, KIT_T0 + 400 * 1000000LL, 1000, &k->arena, &page), tx->err);
    assert_int_equal(page.count, 54);
    kit_read_end(k);
}

static void expired_rows_are_found(void **state)
{
    struct kit *k = *state;
    fill_pages(k);
    struct store_tx *tx = kit_read(k);
    struct rows page;
    int64_t later = KIT_T0 + 400 * 1000000LL;
    kit_ok(tx->v->expired(tx, KIT_T0, "", 100, &k->arena, &page), tx->err);
    assert_int_equal(page.count, 0);
    kit_ok(tx->v->expired(tx, later, "", 4, &k->arena, &page), tx->err);
    assert_int_equal(page.count, 4);
    assert_true(page.more);
    kit_ok(tx->v->expired(tx, later, page.item[3].m.id, 4, &k->arena, &page), tx->err);
    assert_int_equal(page.count, 2);
    assert_false(page.more);
    kit_read_end(k);
}

static void prefixes_find_ids(void **state)
{
    struct kit *k = *state;
    const char *const ids[] = { "ab12", "AB13", "aB14", "ac00", "b", "é-1", "1a", "1A2", "%x" };
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct row r = kit_row(&k->arena, ids[i], "ns", ids[i], "x", kit_ver((int64_t)i));
        kit_put(k, &r, NULL);
    }
    const struct {
        const char *prefix;
        int64_t total;
    } table[] = {
        { "ab", 3 }, { "AB1", 3 }, { "ab12", 1 }, { "a", 4 }, { "b", 1 },  { "é", 1 },
        { "1a", 2 }, { "1", 2 },   { "%", 1 },    { "_", 0 }, { "zz", 0 },
    };
    struct store_tx *tx = kit_read(k);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const char **found;
        size_t count;
        int64_t total;
        kit_ok(tx->v->by_prefix(tx, table[i].prefix, 2, &k->arena, &found, &count, &total), tx->err);
        assert_int_equal(total, table[i].total);
        assert_int_equal(count, total < 2 ? total : 2);
        if (count == 2) assert_true(strcmp(found[0], found[1]) < 0);
    }
    kit_read_end(k);
}

static int collect(void *data, int64_t rowid)
{
    int64_t **at = data;
    *(*at)++ = rowid;
    return 0;
}

static void rows_by_rowid(void **state)
{
    struct kit *k = *state;
    fill_pages(k);
    struct store_tx *tx = kit_read(k);
    int64_t ids[8], *end = ids;
    kit_ok(tx->v->top_rowids(tx, 4, collect, &end), tx->err);
    assert_int_equal(end - ids, 4);
    ids[4] = 999999;
    struct rows got;
    kit_ok(tx->v->by_rowids(tx, ids, 5, 0, &k->arena, &got), tx->err);
    assert_int_equal(got.count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(got.item[i].rowid, ids[i]);
        assert_int_equal(got.item[i].m.priority, 4);
    }
    kit_ok(tx->v->by_rowids(tx, ids, 5, 300, &k->arena, &got), tx->err);
    assert_true(got.count >= 1 && got.count < 4 && got.more);
    kit_read_end(k);
}

struct lent {
    const struct rows *want;
    size_t seen;
    int result;
};

static int compare_lent(void *data, const struct row *r)
{
    struct lent *l = data;
    const struct row *want = &l->want->item[l->seen];
    assert_int_equal(r->rowid, want->rowid);
    assert_true(r->stamp.ver == want->stamp.ver);
    assert_string_equal(r->m.id, want->m.id);
    assert_string_equal(r->m.ns, want->m.ns);
    assert_string_equal(r->m.title, want->m.title);
    assert_string_equal(r->m.content, want->m.content);
    assert_string_equal(r->m.tags, want->m.tags);
    assert_string_equal(r->m.metadata, want->m.metadata);
    assert_string_equal(r->m.created_at, want->m.created_at);
    assert_string_equal(r->m.updated_at, want->m.updated_at);
    assert_int_equal(r->m.expires_at == NULL, want->m.expires_at == NULL);
    assert_int_equal(r->m.tier, want->m.tier);
    assert_int_equal(r->m.priority, want->m.priority);
    assert_int_equal(r->m.access_count, want->m.access_count);
    l->seen++;
    return l->result;
}

static void rows_one_by_one(void **state)
{
    struct kit *k = *state;
    fill_pages(k);
    struct store_tx *tx = kit_read(k);
    int64_t ids[8], *end = ids;
    kit_ok(tx->v->top_rowids(tx, 5, collect, &end), tx->err);
    ids[5] = ids[1];
    ids[1] = 999999;
    struct rows want;
    kit_ok(tx->v->by_rowids(tx, ids, 6, 0, &k->arena, &want), tx->err);
    assert_int_equal(want.count, 5);
    struct lent l = { .want = &want };
    size_t done = 0;
    kit_ok(tx->v->each_row(tx, ids, 6, 0, compare_lent, &l, &done), tx->err);
    assert_int_equal(l.seen, 5);
    assert_int_equal(done, 6);
    l.seen = 0;
    kit_ok(tx->v->each_row(tx, ids, 0, 0, compare_lent, &l, &done), tx->err);
    assert_int_equal(done, 0);
    for (size_t at = 0; at < 6; at += done) { /* each time one row, or one that is not there and one */
        kit_ok(tx->v->each_row(tx, ids + at, 6 - at, 1, compare_lent, &l, &done), tx->err);
        assert_in_range(done, 1, 2);
    }
    assert_int_equal(l.seen, 5);
    l = (struct lent){ .want = &want, .result = E_TOO_LARGE };
    assert_int_equal(tx->v->each_row(tx, ids, 6, 0, compare_lent, &l, &done), E_TOO_LARGE);
    assert_int_equal(l.seen, 1);
    kit_read_end(k);
}

/* ---- words */
static int64_t found(struct kit *k, const char *word)
{
    int64_t df, last;
    struct store_tx *tx = kit_read(k);
    kit_ok(tx->v->words_df(tx, word, false, 1000, &df, &last), tx->err);
    kit_read_end(k);
    return df;
}

static void words_follow_the_rows(void **state)
{
    struct kit *k = *state;
    if (!kit_backend->words) skip();
    int64_t rows, words, max;
    struct row a = kit_row(&k->arena, "a", "ns", "Gateway timeout", "Thirty seconds für ai-memory", kit_ver(1)), got,
               next;
    a.m.tags = "[\"ops\",\"Röte\"]";
    kit_put(k, &a, NULL);
    const char *const there[] = { "gateway", "timeout", "thirty", "fur", "ai", "memory", "ops", "rote" };
    for (size_t i = 0; i < ARRAY_LEN(there); i++) assert_int_equal(found(k, there[i]), 1);
    assert_int_equal(found(k, "gate"), 0);
    struct store_tx *tx = kit_read(k);
    kit_ok(tx->v->words_stat(tx, &rows, &words, &max), tx->err);
    assert_int_equal(rows, 1);
    assert_int_equal(words, 9);
    kit_read_end(k);

    tx = kit_begin(k);
    kit_ok(tx->v->get(tx, "a", &k->arena, &got), tx->err);
    next = got;
    next.m.content = "sixty seconds";
    next.stamp.ver = kit_ver(2);
    kit_ok(tx->v->put(tx, &next, &got), tx->err);
    int64_t df, last;
    kit_ok(tx->v->words_df(tx, "sixty", false, 10, &df, &last), tx->err); /* inside the transaction already */
    assert_int_equal(df, 1);
    assert_int_equal(last, got.rowid);
    kit_commit(k);
    assert_int_equal(found(k, "thirty"), 0);
    assert_int_equal(found(k, "sixty"), 1);
    assert_int_equal(found(k, "gateway"), 1);

    tx = kit_begin(k);
    kit_ok(tx->v->get(tx, "a", &k->arena, &got), tx->err);
    kit_ok(tx->v->remove(tx, &got), tx->err);
    kit_commit(k);
    assert_int_equal(found(k, "sixty"), 0);
    assert_int_equal(found(k, "gateway"), 0);
    tx = kit_read(k);
    kit_ok(tx->v->words_stat(tx, &rows, &words, &max), tx->err);
    assert_int_equal(rows, 0);
    assert_int_equal(words, 0);
    kit_read_end(k);
}

static void words_are_undone_with_their_savepoint(void **state)
{
    struct kit *k = *state;
    if (!kit_backend->words) skip();
    struct row a = kit_row(&k->arena, "a", "ns", "A", "alpha common", kit_ver(1));
    struct row b = kit_row(&k->arena, "b", "ns", "B", "beta common", kit_ver(2));
    struct row c = kit_row(&k->arena, "c", "ns", "C", "gamma common", kit_ver(3));
    int64_t df, last, rows, words, max;
    struct store_tx *tx = kit_begin(k);
    kit_ok(tx->v->put(tx, &a, NULL), tx->err);
    kit_ok(tx->v->savepoint(tx, &k->err), &k->err);
    kit_ok(tx->v->put(tx, &b, NULL), tx->err);
    kit_ok(tx->v->words_df(tx, "common", false, 10, &df, &last), tx->err); /* writes the index inside the savepoint */
    assert_int_equal(df, 2);
    kit_ok(tx->v->savepoint_end(tx, false, &k->err), &k->err);
    kit_ok(tx->v->words_df(tx, "common", false, 10, &df, &last), tx->err);
    assert_int_equal(df, 1);
    kit_ok(tx->v->savepoint(tx, &k->err), &k->err);
    kit_ok(tx->v->put(tx, &c, NULL), tx->err);
    kit_ok(tx->v->savepoint_end(tx, true, &k->err), &k->err);
    kit_ok(tx->v->words_stat(tx, &rows, &words, &max), tx->err);
    assert_int_equal(rows, 2);
    kit_commit(k);
    assert_int_equal(found(k, "alpha"), 1);
    assert_int_equal(found(k, "beta"), 0);
    assert_int_equal(found(k, "gamma"), 1);
    assert_int_equal(found(k, "common"), 2);
    tx = kit_read(k);
    kit_ok(tx->v->words_stat(tx, &rows, &words, &max), tx->err);
    assert_int_equal(rows, 2);
    assert_int_equal(words, 6);
    kit_read_end(k);
}

static void scans_are_kept_to_namespaces(void **state)
{
    struct kit *k = *state;
    if (!kit_backend->words) skip();
    const char *const ns[] = { "a", "a/b", "c", "c" };
    for (int i = 0; i < 4; i++) {
        char id[16];
        snprintf(id, sizeof id, "r%d", i);
        struct row r = kit_row(&k->arena, id, ns[i], id, i == 3 ? "salt" : "salt 日本語 water", kit_ver(i));
        kit_put(k, &r, NULL);
    }
    const char *const salt[] = { "salt", NULL }, *const both[] = { "salt", "water", NULL },
                      *const cjk[] = { "日本", "本語", NULL };
    const char *const sign[] = { "日", NULL }, *const quoted[] = { "a\"b", NULL };
    const char *const a_or_ab[] = { "a", "a/b", NULL }, *const only_c[] = { "c", NULL };
    const struct {
        const char *const *words, *const *ns;
        bool prefix;
        int64_t limit, expect;
    } table[] = {
        { salt, NULL, false, 0, 4 },    { salt, NULL, false, 2, 2 },   { both, NULL, false, 0, 3 },
        { salt, a_or_ab, false, 0, 2 }, { both, only_c, false, 0, 1 }, { cjk, NULL, false, 0, 3 },
        { sign, NULL, false, 0, 0 },    { sign, NULL, true, 0, 3 },    { quoted, NULL, false, 0, 0 },
    };
    struct store_tx *tx = kit_read(k);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        int64_t ids[16], *end = ids;
        kit_ok(tx->v->words_scan(tx, table[i].words, table[i].ns, table[i].prefix, table[i].limit, collect, &end),
               tx->err);
        assert_int_equal(end - ids, table[i].expect);
        for (int64_t *p = ids + 1; p < end; p++) assert_true(p[0] < p[-1]);
    }
    kit_read_end(k);
}

/* ---- counters, caps */
static void counters_count(void **state)
{
    struct kit *k = *state;
    fill_pages(k);
    struct counts ns;
    struct store_stats stats;
    struct store_tx *tx = kit_read(k);
    kit_ok(tx->v->namespaces(tx, KIT_T0 + 400 * 1000000LL, &k->arena, &ns), tx->err);
    assert_int_equal(ns.count, 2);
    assert_string_equal(ns.item[0].name, "even");
    assert_int_equal(ns.item[0].count, 36);
    assert_int_equal(ns.item[1].count, 18);
    kit_ok(tx->v->stats(tx, KIT_T0, &k->arena, &stats), tx->err);
    assert_int_equal(stats.total, 60);
    assert_int_equal(stats.expiring_soon, 6);
    assert_int_equal(stats.by_tier.count, 3);
    assert_int_equal(stats.by_ns.item[0].count, 40);
    kit_read_end(k);
}

static void a_cap_ends_in_an_error(void **state)
{
    struct kit *k = *state;
    fill_pages(k);
    struct arena small;
    struct rows page;
    arena_init(&small, 2000);
    struct store_tx *tx = kit_read(k);
    assert_int_equal(tx->v->list(tx, &(struct list_query){ .limit = 60 }, &small, &page), E_TOO_LARGE);
    kit_read_end(k);
    arena_release(&small);
}

static const struct CMUnitTest tests[] = {
    KIT_TEST(a_row_comes_back_as_it_was_put),
    KIT_TEST(an_update_replaces_every_column),
    KIT_TEST(one_title_has_one_row),
    KIT_TEST(a_removed_row_takes_its_things_along),
    KIT_TEST(a_rolled_back_transaction_left_nothing),
    KIT_TEST(a_reader_keeps_its_snapshot),
    KIT_TEST(pages_join_without_gap),
    KIT_TEST(filters_agree_with_counting),
    KIT_TEST(pages_are_what_is_sorted_and_cut),
    KIT_TEST(since_walks_by_time_and_id),
    KIT_TEST(expired_rows_are_found),
    KIT_TEST(prefixes_find_ids),
    KIT_TEST(rows_by_rowid),
    KIT_TEST(rows_one_by_one),
    KIT_TEST(words_follow_the_rows),
    KIT_TEST(words_are_undone_with_their_savepoint),
    KIT_TEST(scans_are_kept_to_namespaces),
    KIT_TEST(counters_count),
    KIT_TEST(a_cap_ends_in_an_error),
};

int main(int argc, char **argv)
{
    return kit_run(argc, argv, tests, ARRAY_LEN(tests));
}
