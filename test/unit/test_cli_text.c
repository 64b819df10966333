/* What commands print, and the namespace of a remote's address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "cli/place.h"
#include "cli/text.h"

#define NOW "2026-05-01T12:00:00+00:00"

static struct buf out, notes;

static const char *print(const char *op, const char *doc, bool colour)
{
    struct err err = { 0 };
    int64_t now;
    json_t *v = json_parse(doc, strlen(doc), NULL, 0, &err);
    if (v == NULL) fail_msg("%s", err.msg);
    assert_int_equal(time_parse(NOW, strlen(NOW), &now), 0);
    buf_clear(&out);
    buf_clear(&notes);
    struct text t = { v, "asked for", now, colour, &out, &notes };
    text_print(op, &t);
    json_decref(v);
    return buf_str(&out);
}

#define MEMORY(updated)                                                                                             \
    "{\"id\":\"0123456789\",\"tier\":\"mid\",\"namespace\":\"n\",\"title\":\"T\",\"content\":\"c\",\"priority\":7," \
    "\"access_count\":2,\"confidence\":0.6,\"score\":5.62500001,\"updated_at\":\"" updated "\"}"

static void lists(void **state)
{
    (void)state;
    assert_string_equal(print("list", "{\"memories\":[" MEMORY("2026-05-01T11:58:59+00:00") "]}", false),
                        "[mid/01234567] T (p=7, ns=n, 1m ago)\n\n1 memory(ies)\n");
    assert_string_equal(print("search", "{\"results\":[" MEMORY("2027-01-01T00:00:00Z") "]}", false),
                        "[mid/01234567] T (p=7, ns=n, just now)\n\n1 result(s)\n");
    assert_string_equal(print("list", "{\"memories\":[]}", false), "");
    assert_string_equal(buf_str(&notes), "no memories stored\n");
    (void)print("search", "{\"results\":[]}", false);
    assert_string_equal(buf_str(&notes), "no results for: asked for\n");
    (void)print("recall", "{\"memories\":[]}", false);
    assert_string_equal(buf_str(&notes), "no memories found for: asked for\n");
}

static void ages(void **state)
{
    static const struct {
        const char *at, *age;
    } cases[] = {
        { "2026-05-01T11:59:01+00:00", "just now" },
        { "2026-05-01T11:59:00+00:00", "1m ago" },
        { "2026-05-01T11:00:01+00:00", "59m ago" },
        { "2026-05-01T11:00:00+00:00", "1h ago" },
        { "2026-04-30T12:00:00+00:00", "1d ago" },
        { "2026-04-01T12:00:00+00:00", "1mo ago" },
        { "some day", "some day" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char doc[300], line[100];
        snprintf(doc, sizeof(doc), "{\"memories\":[{\"id\":\"i\",\"updated_at\":\"%s\"}]}", cases[i].at);
        snprintf(line, sizeof(line), "ns=, %s)\n", cases[i].age);
        if (strstr(print("list", doc, false), line) == NULL) fail_msg("%s: %s", cases[i].at, buf_str(&out));
    }
}

static void hits(void **state)
{
    (void)state;
    const char *doc = "{\"memories\":[" MEMORY("2026-05-01T11:59:59+00:00") "],\"mode\":\"keyword\"}";
    assert_string_equal(print("recall", doc, false),
                        "[mid/01234567] T ███████░░░ score=5.63 (ns=n, 2x, just now conf=60%)\n"
                        "  c\n\n1 memory(ies) recalled [keyword]\n");
    assert_non_null(strstr(print("recall", doc, true), "\033[93m[mid/01234567]\033[0m"));
    json_t *v = json_parse(doc, strlen(doc), NULL, 0, NULL), *shown = text_json("recall", v);
    json_t *score = json_object_get(json_array_get(json_object_get(shown, "memories"), 0), "score");
    assert_true(json_real_value(score) == 5.625);
    json_decref(shown);
    json_decref(v);
}

static void single_answers(void **state)
{
    (void)state;
    assert_string_equal(
        print("create",
              "{\"id\":\"i\",\"tier\":\"mid\",\"namespace\":\"n\",\"potential_contradictions\":[\"a\",\"b\"]}", false),
        "stored: i [mid] (ns=n)\n");
    assert_string_equal(buf_str(&notes),
                        "warning: 2 similar memories found in same namespace (potential contradictions)\n");
    assert_string_equal(print("create",
                              "{\"action\":\"store\",\"status\":\"pending\",\"pending_id\":\"p\",\"namespace\":\"n\"}",
                              false),
                        "store queued for approval: pending_id=p ns=n\n");
    assert_string_equal(print("delete",
                              "{\"action\":\"delete\",\"status\":\"pending\",\"pending_id\":\"p\",\"memory_id\":\"m\"}",
                              false),
                        "delete queued for approval: pending_id=p id=m\n");
    assert_string_equal(print("promote", "{\"id\":\"i\"}", false), "promoted to long-term: i\n");
    assert_string_equal(
        print("promote", "{\"clone_id\":\"clone-567890\",\"source_id\":\"source7890\",\"to_namespace\":\"a\"}", false),
        "promoted (vertical): source78 → a (clone: clone-56)\n");
    assert_string_equal(print("get",
                              "{\"memory\":{\"id\":\"i\",\"a\":[]},\"links\":[{\"source_id\":\"i\",\"target_id\":\"j\","
                              "\"relation\":\"r\"}]}",
                              false),
                        "{\n  \"id\": \"i\",\n  \"a\": []\n}\n\nlinks:\n  i --[r]--> j\n");
    assert_string_equal(print("namespaces", "{\"namespaces\":[{\"namespace\":\"n\",\"count\":3}]}", false),
                        "  n: 3 memories\n");
    assert_string_equal(print("no such", "{\"b\":1}", false), "{\n  \"b\": 1\n}\n");
}

static void remotes(void **state)
{
    static const struct {
        const char *url, *name;
    } cases[] = {
        { "https://example.invalid/people/widget.git\n", "widget" },
        { "git@example.invalid:people/gadget.git", "gadget" },
        { "git@example.invalid:repo.git", "repo" },
        { "/srv/odd.git.git\r\n", "odd" },
        { "https://example.invalid/people/slash/", "" },
        { "plain", "plain" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char name[PLACE_TEXT];
        place_of_remote(cases[i].url, name);
        assert_string_equal(name, cases[i].name);
    }
}

static int start(void **state)
{
    (void)state;
    buf_init(&out, 1u << 20);
    buf_init(&notes, 1u << 20);
    return 0;
}

static int done(void **state)
{
    (void)state;
    buf_release(&out);
    buf_release(&notes);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists),          cmocka_unit_test(ages),    cmocka_unit_test(hits),
        cmocka_unit_test(single_answers), cmocka_unit_test(remotes),
    };
    return cmocka_run_group_tests(tests, start, done);
}
