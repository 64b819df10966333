/* Settings: the reader of the file, and who wins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "app/config.h"
#include "app/toml.h"
#include "base/buf.h"
#include "base/json.h"

/* ---- the file's language ---------------------------------------------------------------------------------------- */
static void reads(const char *text, const char *json)
{
    struct err err = { 0 };
    struct buf b;
    json_t *v = toml_read(text, strlen(text), &err);
    if (v == NULL) fail_msg("%s", err.msg);
    buf_init(&b, 4096);
    json_print(&b, v);
    assert_string_equal(buf_str(&b), json);
    buf_release(&b);
    json_decref(v);
}

static void refuses(const char *text, const char *why)
{
    struct err err = { 0 };
    json_t *v = toml_read(text, strlen(text), &err);
    assert_null(v);
    assert_int_equal(err.code, E_SYNTAX);
    if (strstr(err.msg, why) == NULL) fail_msg("%s", err.msg);
}

static void test_values(void **state)
{
    (void)state;
    reads("", "{}");
    reads("# only\n\n  # this\r\n", "{}");
    reads("a = 1\nb = -2 # c\r\nc=1_000\nd = 1.5\ne = true\nf = false",
          "{\"a\":1,\"b\":-2,\"c\":1000,\"d\":1.5,\"e\":true,\"f\":false}");
    reads("a = \"x\\n\\u00fc\\U0001F980\\\"#\" # c\nb = 'c:\\n'",
          "{\"a\":\"x\\n\xc3\xbc\xf0\x9f\xa6\x80\\\"#\",\"b\":\"c:\\\\n\"}");
    reads("a = [ 1, 2,\n # c\n 3, ]\nb = []\nc = [['x'], [\"y\"]]", "{\"a\":[1,2,3],\"b\":[],\"c\":[[\"x\"],[\"y\"]]}");
    reads("[t]\na = 1\n[t.u]\nb = 2\n[v]\n", "{\"t\":{\"a\":1,\"u\":{\"b\":2}},\"v\":{}}");
    reads("a.b = 1\n\"c d\" = 2\n['e'.f]\ng-h = 3", "{\"a\":{\"b\":1},\"c d\":2,\"e\":{\"f\":{\"g-h\":3}}}");
}

static void test_errors_name_the_line(void **state)
{
    (void)state;
    refuses("this is not toml\n", "line 1");
    refuses("a = 1\nb\n", "line 2");
    refuses("a = 1\na = 2\n", "line 2: a key is given twice");
    refuses("a = 1 2\n", "behind the value");
    refuses("a = \"x\n", "line 1");
    refuses("a = \"\"\"x\"\"\"\n", "several lines");
    refuses("a = {b=1}", "inline");
    refuses("[[a]]", "arrays of tables");
    refuses("a = 1\n[a]\nb=2", "line 2");
    refuses("a = [1, 2", "line 1");
    refuses("a = \"\\q\"", "escape");
    refuses("a = \"\\ud800\"", "escape");
    refuses("a = \"\xff\"", "UTF-8");
    refuses("a = 1e999999", "kind");
    refuses("a = 0x10", "kind");
    refuses("= 1", "key");
}

/* ---- sources ---------------------------------------------------------------------------------------------------- */
static char home[64];

static int start(void **state)
{
    char path[128];
    (void)state;
    snprintf(home, sizeof(home), "/tmp/ai-memory-config.XXXXXX");
    assert_non_null(mkdtemp(home));
    clearenv();
    setenv("HOME", home, 1);
    snprintf(path, sizeof(path), "%s/.config", home);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/.config/ai-memory", home);
    return mkdir(path, 0700);
}

static int stop(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", home);
    return system(command);
}

static void file_says(const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/.config/ai-memory/config.toml", home);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_defaults(void **state)
{
    struct config c;
    struct limits l;
    struct err err;
    (void)state;
    assert_int_equal(config_load(&c, &err), 0);
    assert_null(c.file);
    assert_string_equal(c.db, "ai-memory.db");
    assert_string_equal(c.host, "127.0.0.1");
    assert_int_equal(c.port, 9077);
    assert_int_equal(c.quorum_timeout_ms, 2000);
    assert_int_equal(c.grace_secs, 30);
    assert_null(c.api_key);
    config_limits(&c, &l);
    assert_int_equal(l.lifetimes.ttl_secs[TIER_SHORT], 21600);
    assert_int_equal(l.lifetimes.ttl_secs[TIER_LONG], 0);
    assert_int_equal(l.lifetimes.extend_secs[TIER_MID], 86400);
    assert_true(l.archive_on_gc);
    config_release(&c);
}

static void test_environment_over_file_over_default(void **state)
{
    struct config c;
    struct err err;
    (void)state;
    file_says("db = \"~/mine.db\"\ntier = \"keyword\"\n[serve]\nport = 1111\nhost = '::1'\n"
              "quorum_peers = [\"http://a\", \"http://b, http://c\"]\n");
    setenv("AI_MEMORY_PORT", "2222", 1);
    assert_int_equal(config_load(&c, &err), 0);
    assert_non_null(c.file);
    assert_int_equal(c.port, 2222);
    assert_string_equal(c.host, "::1");
    assert_memory_equal(c.db, home, strlen(home));
    assert_string_equal(c.db + strlen(home), "/mine.db");
    assert_int_equal(c.quorum_peers.count, 3);
    assert_string_equal(c.quorum_peers.item[2], "http://c");
    config_release(&c);
    setenv("AI_MEMORY_QUORUM_PEERS", " http://d ,, http://e", 1);
    setenv("AI_MEMORY_NO_CONFIG", "", 1);
    assert_int_equal(config_load(&c, &err), 0);
    assert_null(c.file);
    assert_int_equal(c.quorum_peers.count, 2);
    assert_string_equal(c.quorum_peers.item[0], "http://d");
    assert_string_equal(c.host, "127.0.0.1");
    config_release(&c);
    unsetenv("AI_MEMORY_NO_CONFIG");
    unsetenv("AI_MEMORY_PORT");
    unsetenv("AI_MEMORY_QUORUM_PEERS");
}

static void test_lifetimes_are_bounded(void **state)
{
    struct config c;
    struct limits l;
    struct err err;
    (void)state;
    file_says(
        "archive_on_gc = false\n[ttl]\nshort_ttl_secs = -5\nlong_ttl_secs = 999999999999\nmid_extend_secs = -1\n");
    assert_int_equal(config_load(&c, &err), 0);
    config_limits(&c, &l);
    assert_int_equal(l.lifetimes.ttl_secs[TIER_SHORT], 0);
    assert_int_equal(l.lifetimes.ttl_secs[TIER_LONG], 315360000);
    assert_int_equal(l.lifetimes.extend_secs[TIER_MID], 0);
    assert_false(l.archive_on_gc);
    config_release(&c);
}

static void test_what_is_wrong_is_an_error(void **state)
{
    static const char *const files[] = {
        "tier = 5\n",
        "archive_on_gc = \"yes\"\n",
        "[ttl]\nshort_ttl_secs = 1.5\n",
        "api_key = \"\"\n",
        "[serve]\nport = 70000\n",
        "[serve]\ndurability = \"half\"\n",
        "[serve]\nport = \"80\"",
        "[serve]\nquorum_peers = [1]\n",
        "nonsense\n",
    };
    struct config c;
    struct err err;
    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        file_says(files[i]);
        if (config_load(&c, &err) == 0) fail_msg("taken: %s", files[i]);
        assert_non_null(strstr(err.msg, "config parse error"));
    }
    file_says("unknown = 1\n[also.unknown]\nx = 2\n");
    assert_int_equal(config_load(&c, &err), 0);
    config_release(&c);
    static const struct {
        const char *word;
        bool on;
    } switches[] = { { "perhaps", false }, { "Yes", true }, { " on ", true }, { "", false } };
    for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
        setenv("AI_MEMORY_ANONYMIZE", switches[i].word, 1);
        assert_int_equal(config_load(&c, &err), 0);
        assert_int_equal(c.anonymize, switches[i].on);
        config_release(&c);
    }
    unsetenv("AI_MEMORY_ANONYMIZE");
}

static void test_flags_tell_their_variables(void **state)
{
    (void)state;
    for (const struct cli_option *o = config_serve_options(); o->name; o++)
        if (strcmp(o->name, "port") == 0) {
            assert_string_equal(o->env, "AI_MEMORY_PORT");
            return;
        }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_errors_name_the_line),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_environment_over_file_over_default),
        cmocka_unit_test(test_lifetimes_are_bounded),
        cmocka_unit_test(test_what_is_wrong_is_an_error),
        cmocka_unit_test(test_flags_tell_their_variables),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
