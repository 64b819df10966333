/* Words of texts, queries taken apart, matches and scores. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "../lib/ascii_tokenizer.h"
#include "memory/score.h"
#include "memory/text.h"

static struct arena arena;

#define assert_near(a, b, within) assert_true(fabs((a) - (b)) <= (within))

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 4 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static const char *line(const char *text)
{
    static struct buf b;
    if (b.max == 0) buf_init(&b, 1 << 20);
    buf_clear(&b);
    text_words_line(&ascii_tokenizer, text, strlen(text), &b);
    char *copy = arena_strdup(&arena, buf_str(&b));
    buf_release(&b);
    memset(&b, 0, sizeof(b));
    return copy;
}

static struct query parse(const char *text, bool variants)
{
    struct query q;
    assert_int_equal(query_parse(&ascii_tokenizer, text, strlen(text), variants, &arena, &q), 0);
    return q;
}

/* "one|two three|p*" : groups by bars, words of a phrase by blanks, prefixes with a star. */
static const char *groups(const char *text)
{
    struct query q = parse(text, false);
    struct buf b;
    buf_init(&b, 1 << 16);
    for (size_t i = 0; i < q.groups; i++) {
        if (i > 0) buf_putc(&b, '|');
        for (size_t w = 0; w < q.group[i].words; w++) buf_printf(&b, "%s%s", w > 0 ? " " : "", q.group[i].word[w]);
        if (q.group[i].prefix) buf_putc(&b, '*');
    }
    char *copy = arena_strdup(&arena, buf_str(&b));
    buf_release(&b);
    return copy;
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(line("Deploy, the plan!"), "deploy the plan");
    assert_string_equal(line("日本語"), "日本 本語");
    assert_string_equal(line("日"), "日");
    assert_string_equal(line("rust日本語abc 東"), "rust 日本 本語 abc 東");
    assert_string_equal(line("한국어 カタカナ"), "한국 국어 カタ タカ カナ");
    assert_string_equal(line("größe ß"), "größe ß");
    assert_string_equal(line(""), "");
    char big[400];
    memset(big, 'x', 300);
    big[300] = '\0';
    assert_int_equal(strlen(line(big)), WORD_BYTES_MAX);
    for (size_t i = 0; i < 300; i += 2) memcpy(big + i, "\xc3\xbc", 2);
    memmove(big + 1, big, 300); /* the cut would split a character */
    big[0] = 'a';
    big[301] = '\0';
    assert_int_equal(strlen(line(big)), WORD_BYTES_MAX - 1);
    for (size_t i = 0; i < 300; i += 3) memcpy(big + i, "日", 3);
    big[300] = '\0';
    assert_int_equal(strlen(line(big)), 99 * 7 - 1); /* a long run is not cut */
}

static int count_positions(void *data, const char *word, size_t len, uint32_t position)
{
    uint32_t *next = data;
    (void)word;
    (void)len;
    assert_int_equal(position, *next);
    *next += 1;
    return position == 3 ? 7 : 0;
}

static void test_positions_and_stop(void **state)
{
    uint32_t next = 0;
    (void)state;
    assert_int_equal(text_words(&ascii_tokenizer, "a 日本語 b c", 15, count_positions, &next), 7);
    assert_int_equal(next, 4);
}

static void test_title_id(void **state)
{
    char a[TITLE_ID_BYTES], b[TITLE_ID_BYTES], c[TITLE_ID_BYTES];
    (void)state;
    text_title_id(a, "A title", "ns");
    text_title_id(b, "A titl", "ens");
    text_title_id(c, "A title", "ns");
    assert_string_equal(a, c); /* the same everywhere */
    assert_string_not_equal(a, b);
    assert_int_equal(strlen(a), 13);
    assert_int_equal(strspn(a, "0123456789abcdef"), 8);
    assert_int_equal(a[8], '-');
    assert_int_equal(strspn(a + 9, "0123456789abcdef"), 4);
}

static void test_ns_word(void **state)
{
    char a[NS_WORD_BYTES], b[NS_WORD_BYTES];
    (void)state;
    text_ns_word(a, "acme/eng");
    text_ns_word(b, "acme/en");
    assert_int_equal(strlen(a), 19);
    assert_memory_equal(a, "nsq", 3);
    assert_int_equal(strspn(a + 3, "0123456789abcdef"), 16);
    assert_string_not_equal(a, b);
}

static void test_queries(void **state)
{
    (void)state;
    assert_string_equal(groups("hello AND w\xc3\xb6rld-x \"y\""), "hello|and|wörld x|y");
    assert_string_equal(groups("ai-memory main.c:120 title:salt"), "ai memory|main c 120|title salt");
    assert_string_equal(groups("sal* (a|b) {c}^2 C++ salt^2"), "sal|a|b|c|2|salt 2");
    assert_string_equal(groups("well well known well-known well-known"), "well|known|well known");
    assert_string_equal(groups("--- *** ??? \"\""), "");
    assert_string_equal(groups(""), "");
    assert_string_equal(groups("\xe2\x80\x8bin\xc2\xadvis\xef\xbb\xbfible"), "invisible");
    assert_string_equal(groups("日本語 東 ai日本"), "日本|本語|東*|ai");
    struct query q;
    assert_int_equal(query_parse(&ascii_tokenizer, "a\0b c", 5, false, &arena, &q), 0);
    assert_int_equal(q.groups, 2);
    assert_string_equal(q.group[0].word[0], "ab");
}

static void test_query_bounds(void **state)
{
    struct buf b;
    struct query q;
    (void)state;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 40; i++) buf_printf(&b, "word%d the is ", i);
    q = parse(buf_str(&b), true);
    assert_int_equal(q.groups, QUERY_GROUPS_MAX);
    for (size_t i = 0; i < q.groups; i++) assert_false(q.group[i].function_word);
    assert_string_equal(q.group[0].word[0], "word0");
    buf_clear(&b);
    for (int i = 0; i < 5000; i++) buf_printf(&b, "p%d-", i);
    q = parse(buf_str(&b), true);
    assert_int_equal(q.groups, QUERY_GROUPS_MAX);
    for (size_t i = 0; i < q.groups; i++) assert_int_equal(q.group[i].words, QUERY_PHRASE_MAX);
    struct arena small;
    arena_init(&small, 20000);
    assert_int_equal(query_parse(&ascii_tokenizer, b.data, b.len, true, &small, &q), E_TOO_LARGE);
    arena_release(&small);
    buf_release(&b);
}

static bool has_variant(const char *word, const char *variant)
{
    struct query q = parse(word, true);
    assert_int_equal(q.groups, 1);
    assert_true(q.group[0].variants <= QUERY_VARIANTS_MAX);
    for (size_t i = 0; i < q.group[0].variants; i++) {
        assert_string_not_equal(q.group[0].variant[i], word);
        if (strcmp(q.group[0].variant[i], variant) == 0) return true;
    }
    return false;
}

static void test_variants(void **state)
{
    static const char *const forms[][2] = {
        { "salts", "salt" },    { "salt", "salts" },    { "boxes", "box" },    { "cities", "city" },
        { "city", "cities" },   { "tried", "try" },     { "used", "use" },     { "planning", "plan" },
        { "plan", "planned" },  { "making", "make" },   { "makes", "making" }, { "deployed", "deploys" },
        { "watch", "watches" }, { "stopped", "stops" }, { "falling", "fall" }, { "released", "releasing" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) assert_true(has_variant(forms[i][0], forms[i][1]));
    assert_false(has_variant("string", "str"));
    assert_false(has_variant("glass", "glas"));
    assert_int_equal(parse("the", true).group[0].variants, 0); /* a function word */
    assert_int_equal(parse("größe", true).group[0].variants, 0);
    assert_int_equal(parse("ab", true).group[0].variants, 0);
    assert_int_equal(parse("well-known", true).group[0].variants, 0);
    assert_int_equal(parse("plan", false).group[0].variants, 0);
}

static struct text_match match_of(const struct query *q, const char *title, const char *content)
{
    struct memory m = { .title = title, .content = content, .tags = "[]" };
    struct text_match x;
    score_match(&ascii_tokenizer, q, &m, &x);
    return x;
}

static void test_matches(void **state)
{
    struct query q = parse("main.c:120 salts a-a 日本 東 missing", true);
    struct text_match x = match_of(&q, "Main C 120", "main c, salt salts; a a a 日本語 東京 main.c:120");
    (void)state;
    assert_int_equal(q.groups, 6);
    assert_near(x.f[0], 2.0, 1e-9);
    assert_near(x.f[1], 1.8, 1e-9);
    assert_near(x.f[2], 2.0, 1e-9);
    assert_near(x.f[3], 1.0, 1e-9);
    assert_near(x.f[4], 1.0, 1e-9);
    assert_near(x.f[5], 0.0, 1e-9);
    assert_int_equal(x.groups_matched, 5);
    assert_false(x.all);
    assert_int_equal(x.words, 3 + 2 + 2 + 3 + 2 + 1 + 3);
    q = parse("salts", true);
    x = match_of(&q, "salt", "salt");
    assert_near(x.f[0], 1.6, 1e-9); /* counts, but is no hit */
    assert_int_equal(x.groups_matched, 0);
    q = parse("one-two", false);
    assert_int_equal(match_of(&q, "one", "two").groups_matched, 0); /* no phrase spans two fields */
    assert_true(match_of(&q, "x", "one two").all);
    q = parse("", false);
    assert_false(match_of(&q, "x", "y").all);
}

/* Text of ASCII signs is matched by a way of its own: as if another word stood behind it. */
static void test_matches_ascii_alike(void **state)
{
    static const char *const word[] = { "main",    "C",     "120",   "Salt", "SALTS", "salting", "a",      "plan",
                                        "planned", "mains", "planx", "x",    "sal",   "of",      "deploys" };
    static const char *const between[] = { " ", ".", ":", "-", ", ", "\n", "_" };
    struct query q = parse("main.c:120 salts a-a plan.planned deploy salt-a", true);
    uint64_t random = 88172645463325252u;
    size_t matched = 0;
    (void)state;
    for (int round = 0; round < 2000; round++) {
        char text[700];
        size_t n = 0;
        for (int i = 0; i < round % 60; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", word[(random >> 33) % ARRAY_LEN(word)],
                                  between[(random >> 50) % ARRAY_LEN(between)]);
        }
        if (round % 7 == 0) memset(text + n, 'a', 100), n += 100;
        memcpy(text + n, "", 1);
        struct text_match ascii = match_of(&q, text, text);
        memcpy(text + n, " \xc3\xa9", 4);
        struct text_match other = match_of(&q, text, text);
        assert_int_equal(ascii.words + 2, other.words);
        assert_int_equal(ascii.groups_matched, other.groups_matched);
        for (size_t i = 0; i < q.groups; i++) assert_near(ascii.f[i], other.f[i], 1e-12);
        matched += ascii.groups_matched;
    }
    assert_true(matched > 1000);
}

/* The five rows and the query of the recorded bm25 values. */
static void test_bm25(void **state)
{
    static const char *const rows[][2] = { { "Deploy plan", "canary rollout of the gateway service" },
                                           { "Gateway timeout", "increase the gateway timeout to 30 seconds" },
                                           { "Lunch", "noodles on friday" },
                                           { "Standup", "daily at nine" },
                                           { "Retro", "every second friday" } };
    struct query q = parse("gateway timeout", false);
    struct corpus c = { .rows = 5 };
    struct group_stat g[] = { { .df = 2, .held = true }, { .df = 1, .held = true } };
    struct text_match x[5];
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        x[i] = match_of(&q, rows[i][0], rows[i][1]);
        c.words += x[i].words;
    }
    assert_near(score_text(&c, &q, g, &x[1]), 1.708179, 1e-6);
    assert_near(score_text(&c, &q, g, &x[0]), 0.291274, 1e-6);
    assert_near(score_text(&c, &q, g, &x[2]), 0.0, 0.0);
    double share = score_share(&c, &q, g, 1.708179);
    assert_true(share > 0.5 && share < 0.6);
    struct group_stat unknown[] = { { .df = 2, .held = true }, { .held = false } };
    double most = 2.2 * (score_idf(&c, 2) + log(5.5 / 0.5));
    assert_near(score_share(&c, &q, unknown, 0.5), 0.5 / most, 1e-9);
    assert_near(score_idf(&c, 5), 1e-6, 1e-12);
    assert_near(score_share(&c, &q, g, 1e9), 1.0, 0.0);
}

static void test_totals(void **state)
{
    struct memory m = { .priority = 7, .access_count = 12, .confidence = 0.9, .updated_at = "2026-01-01T00:00:00Z" };
    int64_t us;
    (void)state;
    assert_int_equal(time_parse("2026-01-05T00:00:00Z", 20, &us), 0);
    assert_near(score_total(1.2, &m, us, false), 8.414286, 1e-6);
    m.tier = TIER_MID;
    assert_near(score_total(1.2, &m, us, true), 9.414286, 1e-6);
    m.tier = TIER_LONG;
    assert_near(score_total(1.2, &m, us, true), 11.414286, 1e-6);
    m.access_count = 1000000;
    assert_near(score_total(1.2, &m, us, true), 11.414286 + 3.8, 1e-6);
    m.access_count = 12;
    assert_near(score_total(1.2, &m, us - INT64_C(864000000000) * 2, true), 11.414286 + 1 - 0.714286, 1e-5);
    m.updated_at = "never";
    assert_near(score_total(1.2, &m, us, true), 11.414286 - 0.714286, 1e-6);
}

static void test_nearness(void **state)
{
    (void)state;
    assert_near(score_nearness("a/b/c/d/e", "a/b/c/d/e"), 1.0, 0);
    assert_near(score_nearness("a/b/c/d/e", "a/b/c/d"), 0.7692, 1e-4);
    assert_near(score_nearness("a/b/c/d/e", "a"), 0.4545, 1e-4);
    assert_near(score_nearness("a", "a/b/c"), 1.0, 0);
    assert_near(score_nearness("a/b", "a/b/c"), 1.0, 0);
}

static void test_namespaces(void **state)
{
    struct viewer v;
    (void)state;
    assert_int_equal(namespace_depth("a/b//c"), 3);
    assert_int_equal(namespace_depth(""), 0);
    assert_null(namespace_parent("a", &arena));
    assert_true(namespace_within("acme/eng", "acme"));
    assert_true(namespace_within("acme", "acme"));
    assert_false(namespace_within("acmes", "acme"));
    assert_false(namespace_within("ACME/eng", "acme"));
    viewer_of("a/b/c/d/e", &arena, &v);
    assert_string_equal(v.p1, "a/b/c/d/e");
    assert_string_equal(v.p2, "a/b/c/d");
    assert_string_equal(v.p3, "a/b/c");
    assert_string_equal(v.p4, "a/b");
}

static void test_visibility(void **state)
{
    static const struct {
        const char *ns, *metadata;
        bool seen;
    } rows[] = {
        { "alphaone/eng/platform", "{\"scope\":\"team\"}", true },
        { "alphaone/eng/platform/x/y", "{\"scope\":\"team\"}", true },
        { "alphaone/eng", "{\"scope\":\"team\"}", false },
        { "alphaone/eng/other", "{\"scope\":\"unit\"}", true },
        { "alphaone/sales", "{\"scope\":\"org\"}", true },
        { "beta", "{\"scope\":\"org\"}", false },
        { "beta", "{\"scope\":\"collective\"}", true },
        { "alphaone/eng/platform/agent-1", "{}", true },
        { "alphaone/eng/platform", "{\"agent_id\":\"x\"}", false },
        { "alphaone/eng/platform/agent-1", "{\"scope\":null}", true },
        { "alphaone/eng/platform/agent-1", "{\"scope\":7}", false },
        { "alphaone/eng/platform/agent-1", "{\"scope\":\"world\"}", false },
        { "alphaone/eng/platform/agent-1", "{\"a\":\"scope\"}", true },
        { "alphaone/eng/platform/agent-1", "{\"scope\":broken", true },
    };
    struct viewer v, flat;
    (void)state;
    viewer_of("alphaone/eng/platform/agent-1", &arena, &v);
    viewer_of("alphaone", &arena, &flat);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        assert_int_equal(memory_visible(&v, rows[i].ns, rows[i].metadata), rows[i].seen);
        assert_true(memory_visible(NULL, rows[i].ns, rows[i].metadata));
    }
    assert_false(memory_visible(&flat, "alphaone", "{\"scope\":\"team\"}"));
    assert_true(memory_visible(&flat, "alphaone", "{\"scope\":\"private\"}"));
}

/* 300 rows of 90 words against a long question: of the order of what the raw tokenizer alone takes. */
static void test_speed(void **state)
{
    struct query q =
        parse("how does the gateway handle timeouts when planning releases for ai-memory clusters in staging", true);
    struct buf b;
    struct text_match x;
    (void)state;
    buf_init(&b, 1 << 16);
    for (int i = 0; i < 30; i++) buf_puts(&b, "gateway something release ");
    struct memory m = { .title = "a title", .content = buf_str(&b), .tags = "[\"one\"]" };
    int64_t best = INT64_MAX;
    for (int run = 0; run < 5; run++) {
        int64_t start = clock_mono_us();
        for (int i = 0; i < 300; i++) score_match(&ascii_tokenizer, &q, &m, &x);
        int64_t took = clock_mono_us() - start;
        if (took < best) best = took;
    }
    print_message("300 rows of %u words: %lld us\n", x.words, (long long)best);
    assert_true(best < 200000); /* generous: sanitizers, busy machines */
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_positions_and_stop),
        cmocka_unit_test(test_title_id),
        cmocka_unit_test(test_ns_word),
        cmocka_unit_test(test_queries),
        cmocka_unit_test(test_query_bounds),
        cmocka_unit_test(test_variants),
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_matches_ascii_alike),
        cmocka_unit_test(test_bm25),
        cmocka_unit_test(test_totals),
        cmocka_unit_test(test_nearness),
        cmocka_unit_test(test_namespaces),
        cmocka_unit_test(test_visibility),
        cmocka_unit_test(test_speed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
