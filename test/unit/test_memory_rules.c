/* The texts of the rules at and past each boundary. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/check.h"
#include "memory.h"
#include "memory/utf8.h"

static struct err err;

static const char *told(int rc)
{
    assert_int_equal(rc, rc == 0 ? 0 : E_INVALID);
    return rc == 0 ? "" : err.msg;
}

static char *repeat(const char *s, size_t times)
{
    static char big[200000];
    size_t n = strlen(s);
    assert_true(n * times < sizeof(big));
    for (size_t i = 0; i < times; i++) memcpy(big + i * n, s, n);
    big[n * times] = '\0';
    return big;
}

#define TITLE(s) told(rule_title((s), strlen(s), &err))
#define CONTENT(s) told(rule_content((s), strlen(s), "content", &err))
#define NS(s) told(rule_namespace((s), strlen(s), &err))
#define SOURCE(s, own) told(rule_source((s), strlen(s), (own), &err))
#define TAG(s) told(rule_tag((s), strlen(s), &err))

static void test_titles(void **state)
{
    (void)state;
    assert_string_equal(TITLE("a title"), "");
    assert_string_equal(TITLE(""), "title cannot be empty");
    assert_string_equal(err.arg, "title");
    assert_string_equal(TITLE(" \t\n\u3000\u00a0"), "title cannot be empty");
    assert_string_equal(TITLE(repeat("ü", 512)), "");
    assert_string_equal(TITLE(repeat("ü", 513)), "title exceeds max length of 512 characters");
    assert_string_equal(TITLE("a\nb\tc"), "");
    assert_string_equal(TITLE("a\rb"), "title contains invalid characters");
    assert_string_equal(TITLE("a\xc2\x85"
                              "b"),
                        "title contains invalid characters");
    assert_string_equal(TITLE("a\x7f"
                              "b"),
                        "title contains invalid characters");
    assert_string_equal(TITLE("a\u202eb"), "");
    assert_string_equal(told(rule_title("a\0b", 3, &err)), "title contains invalid characters");
    assert_string_equal(TITLE(strcat(repeat(" ", 600), "x")), "");
}

static void test_contents(void **state)
{
    (void)state;
    assert_string_equal(CONTENT("text"), "");
    assert_string_equal(CONTENT("one\r\ntwo\t"), "");
    assert_string_equal(CONTENT("  "), "content cannot be empty");
    assert_string_equal(CONTENT(repeat("x", 65536)), "");
    assert_string_equal(CONTENT(repeat("x", 65537)), "content exceeds max size of 65536 bytes");
    assert_string_equal(CONTENT(repeat("é", 32769)), "content exceeds max size of 65536 bytes");
    assert_string_equal(CONTENT("a\x1b[1m"), "content contains invalid characters");
    assert_string_equal(told(rule_content("a\0b", 3, "summary", &err)), "content contains invalid characters");
    assert_string_equal(err.arg, "summary");
}

static void test_namespaces(void **state)
{
    (void)state;
    static const char *const good[] = { "global", "*",   "...",      "acme/.dot",       "v1.2/..x", "größe/日本",
                                        "_x",     "a:b", " padded ", "a/b/c/d/e/f/g/h", "a\tb" };
    static const char *const bad[][2] = {
        { "", "namespace cannot be empty" },
        { "   ", "namespace cannot be empty" },
        { "a\\b", "namespace cannot contain backslashes or null bytes" },
        { "my app", "namespace cannot contain spaces (use hyphens or underscores)" },
        { "a\ab", "namespace contains invalid control characters" },
        { "a\nb", "namespace contains invalid control characters" },
        { "/a", "namespace cannot start with '/' (normalize input first)" },
        { "/", "namespace cannot start with '/' (normalize input first)" },
        { "a/", "namespace cannot end with '/' (normalize input first)" },
        { "a//b", "namespace cannot contain empty segments (e.g. '//')" },
        { "a/./b", "namespace segments '.' and '..' are not allowed" },
        { "..", "namespace segments '.' and '..' are not allowed" },
        { "a/b/c/d/e/f/g/h/i", "namespace depth 9 exceeds max of 8" },
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) assert_string_equal(NS(good[i]), "");
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) assert_string_equal(NS(bad[i][0]), bad[i][1]);
    assert_string_equal(NS(repeat("n", 512)), "");
    assert_string_equal(NS(repeat("n", 513)), "namespace exceeds max length of 512 characters");
    assert_string_equal(told(rule_namespace("a\0", 2, &err)), "namespace cannot contain backslashes or null bytes");
}

static void test_sources(void **state)
{
    (void)state;
#define SOURCES "user, claude, hook, api, cli, import, consolidation, system, chaos"
    assert_string_equal(SOURCE("chaos", false), "");
    assert_string_equal(SOURCE("", false), "source cannot be empty");
    assert_string_equal(SOURCE("API", true), "invalid source 'API' \u2014 must be one of: " SOURCES);
    assert_string_equal(SOURCE(repeat("s", 65), false), "source exceeds max length of 64 bytes");
    assert_string_equal(SOURCE("notify", true), "");
    assert_string_equal(SOURCE("ai-memory curator (autonomy)", true), "");
    assert_string_equal(SOURCE("notify", false), "invalid source 'notify' \u2014 must be one of: " SOURCES);
    assert_int_equal(rule_source("api\0x", 5, true, &err), E_INVALID);
}

static void test_tags(void **state)
{
    (void)state;
    assert_string_equal(TAG("a tag"), "");
    assert_string_equal(TAG("  "), "tags cannot contain empty strings");
    assert_string_equal(TAG(repeat("t", 128)), "");
    assert_string_equal(TAG(repeat("ü", 65)), "tag 'üüüüüüüüüüüüüüüüüüüü...' exceeds max length of 128 bytes");
    assert_string_equal(TAG("a\x01"), "tag contains invalid characters");
    assert_string_equal(TAG("a\nb"), "");
    assert_int_equal(rule_tags_count(50, &err), 0);
    assert_string_equal(told(rule_tags_count(51, &err)), "too many tags (max 50)");
}

static void test_numbers(void **state)
{
    (void)state;
    assert_int_equal(rule_priority(1, &err), 0);
    assert_int_equal(rule_priority(10, &err), 0);
    assert_string_equal(told(rule_priority(-1, &err)), "priority must be between 1 and 10 (got -1)");
    assert_int_equal(rule_confidence(0.0, &err), 0);
    assert_int_equal(rule_confidence(1.0, &err), 0);
    assert_string_equal(told(rule_confidence(1.01, &err)), "confidence must be between 0.0 and 1.0 (got 1.01)");
    assert_string_equal(told(rule_confidence(-0.1, &err)), "confidence must be between 0.0 and 1.0 (got -0.1)");
    assert_string_equal(told(rule_confidence(2, &err)), "confidence must be between 0.0 and 1.0 (got 2)");
    assert_string_equal(told(rule_confidence(NAN, &err)), "confidence must be a finite number");
    assert_string_equal(told(rule_ttl(0, &err)), "ttl_secs must be positive (got 0)");
    assert_int_equal(rule_ttl(31536000, &err), 0);
    assert_string_equal(told(rule_ttl(31536001, &err)), "ttl_secs exceeds maximum of 1 year");
}

static void test_times(void **state)
{
    int64_t now;
    (void)state;
    assert_int_equal(time_parse("2026-03-04T05:06:07Z", 20, &now), 0);
    assert_int_equal(rule_expires_create("2099-01-01t00:00:00z", 20, now, &err), 0);
    assert_string_equal(told(rule_expires_create("2026-03-04T05:06:06Z", 20, now, &err)), "expires_at is in the past");
    assert_int_equal(rule_expires_update("2026-03-04T05:06:06Z", 20, &err), 0);
    assert_string_equal(told(rule_expires_update("", 0, &err)), "expires_at is not valid RFC3339: ''");
    assert_string_equal(told(rule_expires_create("2099-01-01", 10, now, &err)),
                        "expires_at is not valid RFC3339: '2099-01-01'");
    assert_string_equal(told(rule_time("created_at", "x", 1, &err)), "created_at is not valid RFC3339");
}

static void test_metadata(void **state)
{
    (void)state;
    assert_int_equal(rule_metadata("{}", 2, 1, true, &err), 0);
    assert_string_equal(told(rule_metadata("[]", 2, 1, false, &err)), "metadata must be a JSON object");
    assert_string_equal(told(rule_metadata(repeat("x", 65537), 65537, 1, true, &err)),
                        "metadata exceeds max size of 65536 bytes (got 65537)");
    assert_string_equal(told(rule_metadata("{}", 2, 33, true, &err)),
                        "metadata nesting depth exceeds limit of 32 (got 33)");
    assert_int_equal(rule_metadata("{\"a\":\"\\\\u0000\"}", 14, 1, true, &err), 0);
    assert_int_equal(rule_metadata("{\"a\":\"\\u0000\"}", 13, 1, true, &err), E_INVALID);
}

static void test_names(void **state)
{
    (void)state;
#define ID(s) told(rule_id((s), strlen(s), &err))
#define AGENT(s) told(rule_agent_id((s), strlen(s), &err))
#define TYPE(s) told(rule_agent_type((s), strlen(s), &err))
    assert_string_equal(ID("i-1"), "");
    assert_string_equal(ID(" "), "id cannot be empty");
    assert_string_equal(ID(repeat("x", 129)), "id exceeds max length of 128 bytes");
    assert_string_equal(ID("a\x01"), "id contains invalid characters");
    assert_string_equal(AGENT("a-Z_0:9@b.c/d"), "");
    assert_string_equal(AGENT(""), "agent_id cannot be empty");
    assert_string_equal(AGENT(repeat("a", 129)), "agent_id exceeds max length of 128 bytes");
    assert_string_equal(AGENT("jörg"), "agent_id contains invalid character 'ö' (allowed: alphanumeric, _-:@./)");
    assert_int_equal(rule_agent_id("a\0b", 3, &err), E_INVALID);
    assert_string_equal(TYPE("human"), "");
    assert_string_equal(TYPE("ai:x"), "");
    assert_string_equal(TYPE(""), "agent_type cannot be empty");
    assert_string_equal(
        TYPE(strcat(strcpy(repeat("", 0), "ai:"), "0123456789012345678901234567890123456789012345678901234567890")),
        "");
    assert_string_equal(
        TYPE(strcat(strcpy(repeat("", 0), "ai:"), "01234567890123456789012345678901234567890123456789012345678901")),
        "agent_type exceeds max length of 64 bytes");
    assert_string_equal(TYPE("ai:"), "agent_type 'ai:' must include a name (e.g. 'ai:claude-opus-4.7')");
    assert_string_equal(TYPE("ai:a b"), "agent_type 'ai:a b' contains invalid characters in the ai: name part "
                                        "(allowed: alphanumeric, _-.)");
    assert_string_equal(TYPE("Human"), "invalid agent_type 'Human' \u2014 must be one of: ai:claude-opus-4.6, "
                                       "ai:claude-opus-4.7, ai:codex-5.4, ai:grok-4.2, human, system (or any "
                                       "ai:<name> form)");
    assert_string_equal(told(rule_scope("", 0, &err)), "scope cannot be empty");
    assert_string_equal(told(rule_scope("Team", 4, &err)),
                        "invalid scope 'Team' \u2014 must be one of: private, team, unit, org, collective");
    assert_int_equal(rule_scope("org", 3, &err), 0);
    assert_int_equal(rule_relation("supersedes", 10, &err), 0);
    assert_string_equal(told(rule_relation("", 0, &err)), "relation cannot be empty");
    assert_string_equal(told(rule_relation("likes", 5, &err)), "invalid relation 'likes' \u2014 must be one of: "
                                                               "related_to, supersedes, contradicts, derived_from");
}

static void test_trim(void **state)
{
    const char *at;
    const char *s = "\u3000 a b\u2003\n";
    (void)state;
    assert_int_equal(text_trim(s, strlen(s), &at), 3);
    assert_memory_equal(at, "a b", 3);
    assert_int_equal(text_trim(" \r\n", 3, &at), 0);
    assert_int_equal(text_trim("", 0, &at), 0);
    assert_int_equal(text_trim("\xff\xc3", 2, &at), 2);
}

/* Reads from the front to the end, as a trim may be understood. */
static size_t trimmed_forward(const char *s, size_t len, const char **ret)
{
    const char *p = s, *end = s + len, *from = end, *to = end;
    while (p < end) {
        const char *at = p;
        if (utf8_is_space(utf8_next(&p, end))) continue;
        if (from == end) from = at;
        to = p;
    }
    *ret = from;
    return (size_t)(to - from);
}

/* Blanks of one, two and three bytes, text, and pieces of characters, in any order. */
static void test_trim_of_anything(void **state)
{
    (void)state;
    static const char *const piece[] = {
        " ",        "\n",   "\xc2\xa0", "\xe2\x80\x83", "\xe3\x80\x80",     "a",    "\xc3\xa9",
        "\xe2\x80", "\x80", "\xa0",     "\xe2",         "\xf0\x9f\x98\x80", "\xf0", "\xff"
    };
    uint32_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        char s[64];
        size_t len = 0;
        for (seed = seed * 1664525 + 1013904223; len < 40 && (seed >> 24) % 9 != 0;
             seed = seed * 1664525 + 1013904223) {
            const char *one = piece[(seed >> 16) % ARRAY_LEN(piece)];
            memcpy(s + len, one, strlen(one));
            len += strlen(one);
        }
        const char *want, *got;
        size_t want_len = trimmed_forward(s, len, &want);
        assert_int_equal(text_trim(s, len, &got), want_len);
        if (want_len > 0) assert_ptr_equal(got, want);
    }
}

static void test_control_characters_are_found_anywhere(void **state)
{
    (void)state;
    for (size_t len = 1; len < 40; len++)
        for (size_t at = 0; at < len; at++) {
            static const char bad[] = { 1, 0x1f, 0x7f, 0 };
            char s[64];
            memset(s, 'x', len);
            assert_int_equal(rule_content(s, len, "content", &err), 0);
            for (size_t i = 0; i < sizeof(bad); i++) {
                s[at] = bad[i];
                assert_int_equal(rule_content(s, len, "content", &err), E_INVALID);
            }
            s[at] = '\t';
            if (len > 1) assert_int_equal(rule_content(s, len, "content", &err), 0);
        }
}

static void test_tiers(void **state)
{
    enum tier t;
    (void)state;
    for (int i = TIER_SHORT; i <= TIER_LONG; i++) {
        assert_int_equal(tier_parse(tier_name((enum tier)i), &t), 0);
        assert_int_equal(t, i);
    }
    assert_int_equal(tier_parse("MID", &t), E_INVALID);
    assert_int_equal(tier_parse("long ", &t), E_INVALID);
    assert_int_equal(tier_parse(NULL, &t), E_INVALID);
}

static void test_life(void **state)
{
    struct lifetimes l;
    struct memory m = { .expires_at = "2026-03-04T10:00:00-08:00" };
    int64_t now;
    (void)state;
    lifetimes_default(&l);
    assert_int_equal(l.ttl_secs[TIER_SHORT], 21600);
    assert_int_equal(l.ttl_secs[TIER_MID], 604800);
    assert_int_equal(l.ttl_secs[TIER_LONG], 0);
    assert_int_equal(l.extend_secs[TIER_SHORT], 3600);
    assert_int_equal(l.extend_secs[TIER_MID], 86400);
    assert_int_equal(time_parse("2026-03-04T18:00:00Z", 20, &now), 0);
    assert_true(memory_expired(&m, now));
    assert_false(memory_expired(&m, now - 1));
    m.expires_at = NULL;
    assert_false(memory_expired(&m, now));
    m.expires_at = "soon";
    assert_false(memory_expired(&m, now));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_titles),
        cmocka_unit_test(test_contents),
        cmocka_unit_test(test_namespaces),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_trim_of_anything),
        cmocka_unit_test(test_control_characters_are_found_anywhere),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_tiers),
        cmocka_unit_test(test_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
