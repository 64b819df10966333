/* The retrieval plan over the SQLite index: what is found, in which order, with which scores. */
#include "store_kit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "memory/score.h"
#include "ops/df_cache.h"
#include "ops/recall.h"

static int open_file(const char *dir, struct store **ret, struct err *err)
{
    char path[128];
    struct sqlite_options o = { .durability = SQLITE_DURABLE_NORMAL };
    snprintf(path, sizeof(path), "%s/t.db", dir);
    return sqlite_store_open(path, &o, ret, err);
}
static const struct kit_backend sqlite = { "sqlite", true, true, open_file };

static struct kit kit;
static struct df_cache *cache;
static int ids;

#define NOW (KIT_T0 + INT64_C(3600000000))
#define assert_near(a, b, within) assert_true(fabs((a) - (b)) <= (within))

static int setup(void **state)
{
    (void)state;
    kit_open(&kit, &sqlite);
    cache = df_cache_new();
    ids = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    df_cache_free(cache);
    kit_close(&kit);
    return 0;
}

static struct row make(const char *ns, const char *title, const char *content)
{
    struct row r = kit_row(&kit.arena, arena_printf(&kit.arena, "id-%06d", ids), ns, title, content, kit_ver(ids));
    ids++;
    return r;
}

static void put(const char *ns, const char *title, const char *content)
{
    struct row r = make(ns, title, content);
    kit_put(&kit, &r, NULL);
}

static struct find question(const char *text)
{
    return (struct find){ .text = text,
                          .len = strlen(text),
                          .filter = { .now_us = NOW },
                          .limit = 10,
                          .now_us = NOW,
                          .variants = true,
                          .tier_bonus = true,
                          .budget_tokens = -1 };
}

static struct hits find(const struct find *f)
{
    struct hits h;
    struct store_tx *tx = kit_read(&kit);
    kit_ok(recall_find(tx, sqlite_tokenizer(), cache, f, &kit.arena, &h, &kit.err), &kit.err);
    kit_read_end(&kit);
    return h;
}

/* Titles, best first, with bars between. */
static const char *titles(const struct find *f)
{
    struct hits h = find(f);
    char *s = arena_strdup(&kit.arena, "");
    for (size_t i = 0; i < h.count; i++) s = arena_printf(&kit.arena, "%s%s%s", s, i ? "|" : "", h.item[i].row.m.title);
    return s;
}

static const char *any(const char *text)
{
    struct find f = question(text);
    return titles(&f);
}

static const char *all(const char *text)
{
    struct find f = question(text);
    f.all_words = true;
    f.variants = f.tier_bonus = false;
    return titles(&f);
}

static void put_five(void)
{
    put("n", "Deploy plan", "canary rollout of the gateway service");
    put("n", "Gateway timeout", "increase the gateway timeout to 30 seconds");
    put("n", "Lunch", "noodles on friday");
    put("n", "Standup", "daily at nine");
    put("n", "Retro", "every second friday");
}

static void test_scores(void **state)
{
    (void)state;
    put_five();
    struct find f = question("gateway timeout");
    struct hits h = find(&f);
    assert_int_equal(h.count, 2);
    assert_string_equal(h.item[0].row.m.title, "Gateway timeout");
    double rest = 0.5 * 5 + 2 * h.item[0].row.m.confidence + 1 + 1 / (1 + 0.1 * 3599 / 86400);
    assert_near(h.item[0].score, 1.708179 + rest, 1e-5);
    assert_near(h.item[1].score, 0.291274 + rest, 1e-5);
    assert_true(h.item[0].share > h.item[1].share && h.item[0].share <= 1.0);
    assert_int_equal(h.tokens_used, (15 + 42) / 4 + (11 + 37) / 4);
    f.tier_bonus = false;
    assert_near(find(&f).item[0].score, 1.708179 + rest - 1, 1e-5);
    f.limit = 1;
    assert_int_equal(find(&f).count, 1);
    f.limit = 0;
    assert_int_equal(find(&f).count, 0);
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(any("gateway"), ""); /* an empty store */
    put_five();
    put("q", "ai-memory release", "The ai-memory tool is well-known.");
    put("q", "boolean words", "salt and pepper or not, near the stove");
    put("q", "日本語のメモ", "これは日本語のテキストです");
    put("q", "path note", "see src/main.c:120 and https://example.org/a?b=c");
    put("q", "Café müller", "Straße 5, naïve");
    assert_string_equal(any("friday"), "Retro|Lunch"); /* equal scores: the newer first */
    assert_string_equal(any("noodles daily"), "Standup|Lunch");
    assert_string_equal(all("noodles daily"), "");
    assert_string_equal(all("friday noodles"), "Lunch");
    assert_string_equal(all("friday missing"), "");
    assert_string_equal(any("ai-memory"), "ai-memory release");
    assert_string_equal(all("well-known"), "ai-memory release");
    assert_string_equal(all("known-well"), "");
    assert_string_equal(any("known-well"), "");
    assert_string_equal(any("main.c:120"), "path note");
    assert_string_equal(any("salt^2"), "");
    assert_string_equal(any("title:salt"), "");
    assert_string_equal(any("sal*"), "");
    assert_string_equal(any("salts"), ""); /* other forms alone are no hit */
    assert_string_equal(any("salts pepper"), "boolean words");
    assert_string_equal(any("\"salt pepper\""), "boolean words");
    assert_string_equal(any("sa\xe2\x80\x8blt"), "boolean words");
    assert_string_equal(any("日本"), "日本語のメモ");
    assert_string_equal(any("語"), "日本語のメモ");
    assert_string_equal(all("日本語 テキスト"), "日本語のメモ");
    assert_string_equal(any("cafe"), "Café müller");
    assert_string_equal(any("*** --- \"\""), "");
    assert_string_equal(any(""), "");
    assert_string_equal(any("stove' OR 1=1 --"), "boolean words");
}

static void test_variants_add(void **state)
{
    (void)state;
    put("n", "one", "deploy");
    put("n", "two", "deploy deploying deployed");
    put("n", "three", "deploying deployed deploys");
    for (int i = 0; i < 9; i++) put("n", arena_printf(&kit.arena, "filler %d", i), "other text of some length");
    assert_string_equal(any("deploy"), "two|one");
}

static void test_filters(void **state)
{
    (void)state;
    struct row r = make("a/b", "tagged", "word");
    r.m.tags = "[\"red\",\"blue\"]";
    r.m.metadata = "{\"agent_id\":\"bob\"}";
    kit_put(&kit, &r, NULL);
    r = make("a", "urgent", "word");
    r.m.priority = 9;
    r.m.tier = TIER_LONG;
    kit_put(&kit, &r, NULL);
    r = make("a", "gone", "word");
    r.m.expires_at = "2001-01-01T00:00:00Z";
    kit_put(&kit, &r, NULL);
    r = make("x", "common", "word");
    r.m.metadata = "{\"scope\":\"collective\"}";
    kit_put(&kit, &r, NULL);
    assert_string_equal(any("word"), "urgent|common|tagged");
    struct find f = question("word");
    f.filter.now_us = 0;
    assert_int_equal(find(&f).count, 4);
    f = question("word");
    f.filter.ns = "a/b";
    assert_string_equal(titles(&f), "tagged");
    const char *const tags[] = { "green", "red" };
    f = question("word");
    f.filter.tags = tags;
    f.filter.tags_count = 1;
    assert_string_equal(titles(&f), "");
    f.filter.tags_count = 2;
    assert_string_equal(titles(&f), "tagged");
    f = question("word");
    f.filter.agent_id = "bob";
    assert_string_equal(titles(&f), "tagged");
    f = question("word");
    f.filter.min_priority = &(int){ 9 };
    assert_string_equal(titles(&f), "urgent");
    f = question("word");
    f.filter.tier = &(enum tier){ TIER_LONG };
    assert_string_equal(titles(&f), "urgent");
    f = question("word");
    f.filter.since_us = &(int64_t){ KIT_T0 + 1000000 };
    f.filter.until_us = &(int64_t){ KIT_T0 + 1000000 };
    assert_string_equal(titles(&f), "urgent");
    struct viewer v;
    viewer_of("a/b", &kit.arena, &v);
    f = question("word");
    f.filter.viewer = &v;
    assert_string_equal(titles(&f), "common|tagged");
}

static void test_hierarchy(void **state)
{
    (void)state;
    static const char *const ns[] = { "org", "org/unit", "org/unit/team", "org/unit/team/me", "org/other", "flat" };
    for (size_t i = 0; i < 6; i++) put(ns[i], ns[i], "rocket");
    struct find f = question("rocket");
    f.ns_hierarchy = "org/unit/team";
    assert_string_equal(titles(&f), "org/unit/team|org/unit|org");
    struct hits h = find(&f);
    assert_near(h.item[1].score / h.item[0].score, 1 / 1.3, 1e-3);
    f.ns_hierarchy = "org";
    assert_string_equal(titles(&f), "org");
    f.ns_hierarchy = "org/none/here";
    assert_string_equal(titles(&f), "org");
    f.ns_hierarchy = "two words";
    assert_string_equal(titles(&f), "");
    /* The limit comes before nearness. */
    struct row r = make("org", "urgent", "rocket");
    r.m.priority = 6;
    kit_put(&kit, &r, NULL);
    f.ns_hierarchy = "org/unit/team";
    f.limit = 1;
    assert_string_equal(titles(&f), "urgent");
}

static void test_budget(void **state)
{
    (void)state;
    put("n", "four", "bird 67890 12"); /* 4 + 13 bytes: 4 */
    put("n", "more", "bird and much more text than that, so that it does not fit");
    put("n", "last", "bird 67890 12");
    struct row r = make("n", "best", "bird");
    r.m.priority = 10;
    kit_put(&kit, &r, NULL);
    assert_string_equal(any("bird"), "best|last|more|four");
    struct find f = question("bird");
    f.budget_tokens = 9;
    struct hits h = find(&f);
    assert_int_equal(h.count, 2);
    assert_int_equal(h.tokens_used, 2 + 4);
    f.budget_tokens = 1;
    assert_int_equal(find(&f).count, 0);
    f.budget_tokens = INT64_MAX;
    assert_int_equal(find(&f).count, 4);
}

static void test_function_words(void **state)
{
    (void)state;
    put("n", "only functions", "how does the");
    put("n", "gateway", "how it is");
    assert_string_equal(any("how does the gateway"), "gateway|only functions");
    for (int i = 0; i < 40; i++) put("n", arena_printf(&kit.arena, "filler %d", i), "other text");
    assert_string_equal(any("how does the gateway"), "gateway");
    assert_string_equal(any("how does the"), "only functions|gateway"); /* nothing else is asked */
    assert_string_equal(all("how is gateway"), "gateway");
}

static void test_new_words_are_found_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 60; i++) put("n", arena_printf(&kit.arena, "filler %d", i), "other text");
    assert_string_equal(any("comet"), "");
    put("n", "sky", "comet");
    assert_string_equal(any("comet"), "sky");
}

/* Rows of one transaction. */
static void put_many_in(const char *ns, int count, const char *title, const char *content)
{
    struct store_tx *tx = kit_begin(&kit);
    for (int i = 0; i < count; i++) {
        struct row r = make(ns, arena_printf(&kit.arena, "%s %d", title, i), content);
        kit_ok(tx->v->put(tx, &r, NULL), tx->err);
    }
    kit_commit(&kit);
}

static void put_many(int count, const char *title, const char *content)
{
    put_many_in("n", count, title, content);
}

/* A namespace that holds nearly all rows is looked for in the rows; it may hold none of those with the words. */
static void test_in_a_namespace_of_most_rows(void **state)
{
    (void)state;
    put_many_in("n", 5, "found", "comet");
    put_many_in("m", 1400, "other", "comet comet comet");
    put_many_in("n", 5000, "row", "text");
    struct find f = question("comet");
    f.filter.ns = "n";
    assert_int_equal(find(&f).count, 5);
    f.all_words = true;
    assert_int_equal(find(&f).count, 5);
    f.filter.ns = "m";
    assert_int_equal(find(&f).count, 10);
}

/* Each word of the phrase is in more rows than are read. */
static void test_phrase_of_frequent_words(void **state)
{
    (void)state;
    put_many(2, "found", "see pool/main here");
    put_many(1500, "one", "main text");
    put_many(1500, "two", "pool text");
    assert_string_equal(any("pool/main"), "found 1|found 0");
    assert_string_equal(all("pool/main see"), "found 1|found 0");
    assert_string_equal(all("main pool"), "found 1|found 0");
}

static void test_many(void **state)
{
    (void)state;
    struct row old = make("n", "old but urgent", "common");
    old.m.priority = 10;
    kit_put(&kit, &old, NULL);
    put("n", "rare and common", "common comet");
    put("n", "long", arena_printf(&kit.arena, "common %0*d", 60000, 1));
    put_many(5000, "row", "common text");
    struct find f = question("common");
    struct hits h = find(&f);
    assert_int_equal(h.count, 10);
    assert_string_equal(h.item[0].row.m.title, "old but urgent"); /* not among the newest: the priority index has it */
    assert_string_equal(h.item[1].row.m.title, "row 4999");
    assert_string_equal(
        find(&(struct find){ .text = "common comet", .len = 12, .limit = 1, .budget_tokens = -1 }).item->row.m.title,
        "rare and common");
    f.limit = 1100;
    assert_int_equal(find(&f).count, 1100);
    f.all_words = true;
    f.limit = 50;
    assert_int_equal(find(&f).count, 50);
    f = question("common text");
    f.filter.min_priority = &(int){ 10 };
    assert_int_equal(find(&f).count, 1);
}

static void test_only_frequent_words(void **state)
{
    (void)state;
    put_many(26000, "common row", "text");
    struct hits h;
    struct find f = question("common");
    h = find(&f);
    assert_int_equal(h.count, 10);
    assert_string_equal(h.item[0].row.m.title, "common row 25999");
    f = question("common row text");
    h = find(&f);
    assert_int_equal(h.count, 10);
    assert_near(h.item[0].share, 1.0, 1.0);
    f.all_words = true;
    assert_int_equal(find(&f).count, 10);
}

/* ---- every row, ranked one by one -------------------------------------------------------------------------------- */
#define BRUTE_ROWS 280

static struct row brute_row[BRUTE_ROWS];
static size_t brute_rows;
static uint64_t random_state;

static uint64_t dice(uint64_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % n;
}

/* Words of unlike frequency, some that are forms of others, some that come as a phrase. */
static const char *random_text(size_t words)
{
    static const char *const stock[] = { "plan", "plan",    "plans", "planned", "gateway", "gate-way", "the",
                                         "is",   "deploy",  "a",     "a",       "a-b.c",   "main.c",   "main",
                                         "c",    "日本語",  "red",   "blue",    "comet",   "salt",     "salts",
                                         "v1.2", "1.2-3_4", "2",     "row",     "row",     "row row" };
    const char *s = arena_strdup(&kit.arena, "");
    for (size_t i = 0; i < words; i++) {
        size_t pick = dice(3) ? dice(ARRAY_LEN(stock)) : dice(1 + dice(ARRAY_LEN(stock)));
        s = arena_printf(&kit.arena, "%s%s%s", s, i ? " " : "", stock[pick]);
    }
    return s;
}

static void brute_fill(void)
{
    static const char *const ns[] = { "a", "a/b", "other" };
    uint64_t crowd = dice(3) ? 12 : 3; /* the first namespace may hold nearly all */
    struct store_tx *tx = kit_begin(&kit);
    brute_rows = 20 + dice(BRUTE_ROWS - 20);
    for (size_t i = 0; i < brute_rows; i++) {
        struct row r =
            make(dice(crowd) < crowd - 2 ? ns[0] : ns[dice(3)], random_text(1 + dice(3)), random_text(dice(40)));
        r.m.title = arena_printf(&kit.arena, "%s %zu", r.m.title, i);
        r.m.priority = (int)(1 + dice(10));
        r.m.access_count = (int64_t)dice(70);
        r.m.tier = (enum tier)dice(3);
        r.m.confidence = (double)dice(11) / 10;
        if (dice(4) == 0) r.m.tags = "[\"red\"]";
        if (dice(9) == 0) r.m.expires_at = "2001-01-01T00:00:00Z";
        r.own.tier = r.m.tier;
        r.own.priority = r.m.priority;
        kit_ok(tx->v->put(tx, &r, NULL), tx->err);
        brute_row[i] = r;
    }
    kit_commit(&kit);
}

/* Rows that hold a word, whatever else they are. */
static int64_t brute_df(const char *word, bool prefix)
{
    struct group g = { .word = &word, .words = 1, .prefix = prefix };
    struct query q = { .group = &g, .groups = 1 };
    int64_t df = 0;
    assert_int_equal(query_index(&q, &kit.arena), 0);
    for (size_t i = 0; i < brute_rows; i++) {
        struct text_match x;
        score_match(sqlite_tokenizer(), &q, &brute_row[i].m, &x);
        df += x.groups_matched > 0;
    }
    return df;
}

static void brute_stat(const struct find *f, struct query *q, struct group_stat *stat)
{
    for (size_t i = 0; i < q->groups; i++) {
        struct group *g = &q->group[i];
        int64_t least = INT64_MAX;
        for (size_t w = 0; w < g->words; w++) {
            int64_t df = brute_df(g->word[w], g->prefix);
            if (df < least) least = df;
        }
        stat[i] = (struct group_stat){ .df = least, .held = least > 0 };
        for (size_t w = 0; w < g->variants; w++) stat[i].df += brute_df(g->variant[w], false);
        if (stat[i].df > (int64_t)brute_rows) stat[i].df = (int64_t)brute_rows;
    }
    assert_int_equal(query_index(q, &kit.arena), 0);
    for (size_t r = 0; r < brute_rows && f->filter.ns == NULL && !f->all_words; r++) {
        struct text_match x;
        score_match(sqlite_tokenizer(), q, &brute_row[r].m, &x);
        for (size_t i = 0; i < q->groups; i++) {
            if (q->group[i].words > 1) stat[i].df = (r == 0 ? 0 : stat[i].df) + (x.f[i] > 0);
        }
    }
}

static int brute_order(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->row.stamp.ver > y->row.stamp.ver ? -1 : 1;
}

static size_t brute_find(const struct find *f, struct hit *hit)
{
    struct corpus c = { .rows = (int64_t)brute_rows };
    struct group_stat stat[QUERY_GROUPS_MAX];
    struct query q;
    size_t hits = 0, to = 0;
    struct text_match x;
    assert_int_equal(query_parse(sqlite_tokenizer(), f->text, f->len, f->variants, &kit.arena, &q), 0);
    for (size_t i = 0; i < q.groups && brute_rows > 32 && !f->all_words; i++) {
        if (!q.group[i].function_word) q.group[to++] = q.group[i];
    }
    if (to > 0) q.groups = to;
    brute_stat(f, &q, stat);
    for (size_t i = 0; i < brute_rows; i++) {
        score_match(sqlite_tokenizer(), &q, &brute_row[i].m, &x);
        c.words += x.words;
    }
    for (size_t i = 0; i < brute_rows; i++) {
        score_match(sqlite_tokenizer(), &q, &brute_row[i].m, &x);
        if (f->all_words ? !x.all : x.groups_matched == 0) continue;
        if (!recall_passes(&f->filter, &brute_row[i])) continue;
        double text = score_text(&c, &q, stat, &x);
        hit[hits++] =
            (struct hit){ .row = brute_row[i], .score = score_total(text, &brute_row[i].m, f->now_us, f->tier_bonus) };
    }
    qsort(hit, hits, sizeof(*hit), brute_order);
    return hits < f->limit ? hits : f->limit;
}

static void compare_once(void)
{
    static struct hit expect[BRUTE_ROWS];
    struct find f = question(random_text(1 + dice(5)));
    static const char *const tags[] = { "red" };
    static const int six = 6;
    f.limit = 1 + dice(30);
    f.all_words = dice(4) == 0;
    f.variants = f.tier_bonus = !f.all_words;
    if (dice(3) == 0) f.filter.ns = dice(2) ? "a" : "a/b";
    if (dice(5) == 0) f.filter.min_priority = &six;
    if (dice(5) == 0) {
        f.filter.tags = tags;
        f.filter.tags_count = 1;
    }
    size_t count = brute_find(&f, expect);
    struct hits h = find(&f);
    if (h.count != count) print_message("query: %s\n", f.text);
    assert_int_equal(h.count, count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(h.item[i].row.m.title, expect[i].row.m.title) != 0) print_message("query: %s\n", f.text);
        assert_string_equal(h.item[i].row.m.title, expect[i].row.m.title);
        assert_near(h.item[i].score, expect[i].score, 1e-9);
    }
}

/* What all rows fit in is ranked as if every row had been looked at. */
static void test_nothing_is_missed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        random_state = seed;
        brute_fill();
        for (int i = 0; i < 60; i++) compare_once();
        df_cache_free(cache);
        kit_close(&kit);
        kit_open(&kit, &sqlite);
        cache = df_cache_new();
        ids = 0;
    }
}

static void test_full_arena(void **state)
{
    (void)state;
    put_many(50, "row", "common text");
    for (size_t max = 0; max < 400000; max = max < 4096 ? max + 256 : max + 16384) {
        struct arena small;
        struct hits h;
        struct find f = question("common row");
        struct store_tx *tx = kit_read(&kit);
        arena_init(&small, max);
        int rc = recall_find(tx, sqlite_tokenizer(), NULL, &f, &small, &h, &kit.err);
        assert_true(rc == E_TOO_LARGE || (rc == 0 && h.count == 10));
        arena_release(&small);
        kit_read_end(&kit);
    }
}

static void test_cache(void **state)
{
    int64_t df = -1;
    (void)state;
    assert_false(df_cache_get(cache, 1000, "word", false, &df));
    df_cache_put(cache, 1000, "word", false, 7);
    assert_true(df_cache_get(cache, 1049, "word", false, &df));
    assert_int_equal(df, 7);
    assert_false(df_cache_get(cache, 1000, "word", true, &df));
    assert_false(df_cache_get(cache, 1050, "word", false, &df));
    assert_false(df_cache_get(cache, 900, "word", false, &df));
    df_cache_put(cache, 5, "a", false, 1);
    assert_false(df_cache_get(cache, 1000, "word", false, &df));
    assert_true(df_cache_get(cache, 5, "a", false, &df));
    assert_false(df_cache_get(cache, 6, "a", false, &df)); /* in a small store one row is much */
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_scores),
        TEST(test_words),
        TEST(test_variants_add),
        TEST(test_filters),
        TEST(test_hierarchy),
        TEST(test_budget),
        TEST(test_function_words),
        TEST(test_new_words_are_found_at_once),
        TEST(test_in_a_namespace_of_most_rows),
        TEST(test_phrase_of_frequent_words),
        TEST(test_many),
        TEST(test_only_frequent_words),
        TEST(test_nothing_is_missed),
        TEST(test_full_arena),
        TEST(test_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
