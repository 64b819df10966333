/* Forms of the MCP door: TOON, schemas, lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/json.h"
#include "mcp/lines.h"
#include "mcp/schema.h"
#include "mcp/toon.h"

static json_t *doc_of(const char *text)
{
    struct err err = { 0 };
    json_t *v = json_parse(text, strlen(text), NULL, 0, &err);
    if (v == NULL) fail_msg("%s: %s", text, err.msg);
    return v;
}

static void assert_toon(const char *doc, bool compact, const char *want)
{
    struct buf b;
    json_t *v = doc_of(doc);
    buf_init(&b, 1u << 20);
    toon_print(&b, v, compact);
    assert_string_equal(buf_str(&b), want);
    json_decref(v);
    buf_release(&b);
}

#define COMPACT "memories[id|title|tier|namespace|priority|score|tags|agent_id]:\n"
#define FULL                                                                                                     \
    "memories[id|title|tier|namespace|priority|confidence|score|access_count|tags|source|created_at|updated_at|" \
    "metadata]:\n"

static void toon(void **state)
{
    (void)state;
    assert_toon("{\"memories\":[],\"count\":0,\"mode\":\"keyword\",\"tokens_used\":0,\"budget_tokens\":9}", true,
                "count:0|mode:keyword|tokens_used:0|budget_tokens:9\n" COMPACT);
    assert_toon("{\"results\":[{\"id\":\"a\",\"title\":\"p|q: "
                "\\\\\\r\\n\\t\",\"tier\":\"long\",\"namespace\":\"n\",\"priority\":9,"
                "\"score\":0.5,\"tags\":[\"x,y\",3,\"r:s\"],\"metadata\":{\"agent_id\":\"ai:c@b\"}}]}",
                true, COMPACT "a|p\\|q\\: \\\\\\r\\n\t|long|n|9|0.5|x,y,r\\:s|ai\\:c@b\n");
    assert_toon("{\"count\":1,\"memories\":[{\"id\":\"a\",\"confidence\":1.0,\"access_count\":2,\"source\":true,"
                "\"created_at\":null,"
                "\"metadata\":{\"k\":[1e21,\"v|w\"]}}]}",
                false, "count:1\n" FULL "a|||||1.0||2||1|||{\"k\"\\:[1e+21,\"v\\|w\"]}\n");
    assert_toon("{\"memories\":[{\"metadata\":{}}]}", false, FULL "||||||||||||\n");
    assert_toon("{\"standard\":{\"id\":\"s\",\"title\":\"t\",\"content\":\"one\\ntwo\"},\"memories\":[]}", true,
                "standards[id|title|content]:\ns|t|one\\ntwo\n" COMPACT);
    assert_toon("{\"standards\":[{\"id\":\"1\"},{\"id\":\"2\"}],\"memories\":[]}", true,
                "standards[id|title|content]:\n1||\n2||\n" COMPACT);
}

/* Members of `want` stand in `got` with the same values. */
static void assert_has(const json_t *got, const char *want)
{
    const char *key;
    json_t *v, *members = doc_of(want);
    json_object_foreach (members, key, v)
        if (!json_equal(json_object_get(got, key), v)) fail_msg("%s is not as in %s", key, want);
    json_decref(members);
}

static json_t *property(json_t *schema, const char *name)
{
    return json_object_get(json_object_get(schema, "properties"), name);
}

static void schemas(void **state)
{
    (void)state;
    json_t *s = schema_of(op_by_tool("memory_store")->args);
    assert_has(s, "{\"type\":\"object\",\"required\":[\"title\",\"content\"]}");
    assert_has(property(s, "priority"), "{\"type\":\"integer\",\"minimum\":1,\"maximum\":10,\"default\":5}");
    assert_has(property(s, "confidence"), "{\"type\":\"number\",\"minimum\":0.0,\"maximum\":1.0,\"default\":1.0}");
    assert_has(property(s, "tier"), "{\"type\":\"string\",\"enum\":[\"short\",\"mid\",\"long\"],\"default\":\"mid\"}");
    assert_has(property(s, "tags"), "{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"default\":[]}");
    assert_has(property(s, "metadata"), "{\"type\":\"object\",\"default\":{}}");
    json_decref(s);
    s = schema_of(op_by_tool("memory_recall")->args);
    assert_has(property(s, "limit"), "{\"type\":\"integer\",\"maximum\":50,\"default\":10}");
    assert_has(property(s, "budget_tokens"), "{\"minimum\":1}");
    assert_has(property(s, "tags"), "{\"type\":\"string\"}");
    json_decref(s);
    s = schema_of(op_by_tool("memory_delete")->args);
    assert_null(property(s, "agent_id")); /* taken, not told */
    json_decref(s);
    s = schema_of(op_by_tool("memory_update")->args);
    assert_null(json_object_get(property(s, "tags"), "default"));
    json_decref(s);
}

/* Every tool tells each of its arguments, and nothing a client must guess the meaning of. */
static void schemas_of_all_tools(void **state)
{
    (void)state;
    for (const struct op *op = op_table; op->name; op++) {
        if (op->mcp.name == NULL) continue;
        json_t *s = schema_of(op->args);
        for (const struct arg *d = op->args; d->name; d++) {
            if (!(d->doors & ON_MCP) || (d->flags & ARG_HIDDEN)) continue;
            json_t *p = property(s, d->at[DOOR_MCP].name ? d->at[DOOR_MCP].name : d->name);
            if (!json_is_string(json_object_get(p, "type")) || !json_is_string(json_object_get(p, "description")))
                fail_msg("%s: %s is not told", op->mcp.name, d->name);
        }
        json_decref(s);
    }
}

static void assert_line(struct lines *l, enum line_kind kind, const char *text)
{
    const char *line;
    size_t len;
    assert_int_equal(lines_next(l, &line, &len), kind);
    if (kind != LINE_WHOLE) return;
    assert_int_equal(len, strlen(text));
    assert_memory_equal(line, text, len);
}

static void lines(void **state)
{
    struct lines l;
    (void)state;
    lines_init(&l, 8);
    assert_line(&l, LINE_NONE, NULL);
    lines_feed(&l, "one\ntw", 6);
    assert_line(&l, LINE_WHOLE, "one");
    assert_line(&l, LINE_NONE, NULL);
    lines_feed(&l, "o\n\n12345678\n", 12);
    assert_line(&l, LINE_WHOLE, "two");
    assert_line(&l, LINE_WHOLE, "");
    assert_line(&l, LINE_WHOLE, "12345678");
    assert_line(&l, LINE_NONE, NULL);
    lines_feed(&l, "last", 4);
    assert_line(&l, LINE_NONE, NULL);
    lines_end(&l);
    assert_line(&l, LINE_WHOLE, "last");
    assert_line(&l, LINE_NONE, NULL);
    lines_release(&l);
}

static void lines_too_long(void **state)
{
    struct lines l;
    (void)state;
    lines_init(&l, 8);
    lines_feed(&l, "123456789\nnext\n1234567890", 25);
    assert_line(&l, LINE_TOO_LONG, NULL);
    assert_line(&l, LINE_WHOLE, "next");
    assert_line(&l, LINE_TOO_LONG, NULL);
    assert_line(&l, LINE_NONE, NULL);
    lines_feed(&l, "still the same", 14);
    assert_line(&l, LINE_NONE, NULL);
    lines_feed(&l, " one\nfine", 9);
    assert_line(&l, LINE_NONE, NULL);
    lines_end(&l);
    assert_line(&l, LINE_WHOLE, "fine");
    lines_release(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(toon),  cmocka_unit_test(schemas),        cmocka_unit_test(schemas_of_all_tools),
        cmocka_unit_test(lines), cmocka_unit_test(lines_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
