/* Descriptors: decoding by door, defaults, checks, and what holds for every row of the table. */
#include "ops_rig.h"

#include "base/check.h"

static struct call *last;

static int decode(const char *name, enum door door, const char *args)
{
    int rc;
    call_free(last);
    last = rig_call(name, door, "alice", args, &rc);
    return rc;
}

static int forget(void **state)
{
    (void)state;
    call_free(last);
    last = NULL;
    return 0;
}

struct wrong {
    const char *op;
    enum door door;
    const char *args;
    int code;
    const char *arg, *msg;
};

static void check_wrong(const struct wrong *w)
{
    int rc = decode(w->op, w->door, w->args);
    if (rc != w->code || strcmp(last->err.arg, w->arg) != 0 || strcmp(last->err.msg, w->msg) != 0)
        fail_msg("%s: %d '%s' '%s'", w->args, rc, last->err.arg, last->err.msg);
}

static void bodies_of_the_wrong_shape(void **state)
{
    static const struct wrong cases[] = {
        { "create", DOOR_HTTP, "{\"content\":\"c\"}", E_TYPE, "", "missing field `title`" },
        { "create", DOOR_HTTP, "[]", E_TYPE, "", "invalid type: sequence, expected a map" },
        { "create", DOOR_HTTP, "{\"title\":1,\"content\":\"c\"}", E_TYPE, "title",
          "invalid type: integer `1`, expected a string" },
        { "create", DOOR_HTTP, "{\"title\":\"t\",\"content\":\"c\",\"tier\":\"x\"}", E_TYPE, "tier",
          "unknown variant `x`, expected one of `short`, `mid`, `long`" },
        { "create", DOOR_HTTP, "{\"title\":\"t\",\"content\":\"c\",\"tier\":5}", E_SYNTAX, "tier", "expected value" },
        { "create", DOOR_HTTP, "{\"title\":\"t\",\"content\":\"c\",\"tier\":null}", E_SYNTAX, "tier",
          "expected value" },
        { "create", DOOR_HTTP, "{\"title\":\"t\",\"content\":\"c\",\"priority\":null}", E_TYPE, "priority",
          "invalid type: null, expected i32" },
        { "create", DOOR_HTTP, "{\"title\":\"t\",\"content\":\"c\",\"priority\":5.5}", E_TYPE, "priority",
          "invalid type: floating point `5.5`, expected i32" },
        { "create", DOOR_HTTP, "{\"title\":\"t\",\"content\":\"c\",\"priority\":3000000000}", E_TYPE, "priority",
          "invalid value: integer `3000000000`, expected i32" },
        { "create", DOOR_HTTP, "{\"title\":\"t\",\"content\":\"c\",\"tags\":\"x\"}", E_TYPE, "tags",
          "invalid type: string \"x\", expected a sequence" },
        { "create", DOOR_HTTP, "{\"title\":\"t\",\"content\":\"c\",\"tags\":[1]}", E_TYPE, "tags[0]",
          "invalid type: integer `1`, expected a string" },
        { "create", DOOR_HTTP, "{\"title\":\"t\",\"content\":\"c\",\"metadata\":null}", E_INVALID, "metadata",
          "metadata must be a JSON object" },
        { "bulk", DOOR_HTTP, "{}", E_TYPE, "", "invalid type: map, expected a sequence" },
        { "bulk", DOOR_HTTP, "[1]", E_TYPE, "[0]", "invalid type: integer `1`, expected a map" },
        { "bulk", DOOR_HTTP, "[{\"title\":\"x\"}]", E_TYPE, "[0]", "missing field `content`" },
        { "bulk", DOOR_HTTP, "[{\"title\":\"x\",\"content\":\"y\"},{\"title\":1,\"content\":\"y\"}]", E_TYPE,
          "[1].title", "invalid type: integer `1`, expected a string" },
        { "sync_push", DOOR_HTTP, "{\"sender_agent_id\":\"a\"}", E_TYPE, "", "missing field `memories`" },
        { "sync_push", DOOR_HTTP, "{\"sender_agent_id\":\"a\",\"memories\":[],\"dry_run\":\"yes\"}", E_TYPE, "dry_run",
          "invalid type: string \"yes\", expected a boolean" },
        { "sync_push", DOOR_HTTP, "{\"sender_agent_id\":\"a\",\"memories\":[],\"sender_clock\":{\"entries\":[]}}",
          E_TYPE, "sender_clock.entries", "invalid type: sequence, expected a map" },
        { "create", DOOR_MCP, "{\"content\":\"c\"}", E_TYPE, "title", "title is required" },
        { "create", DOOR_MCP, "{\"title\":5,\"content\":\"c\"}", E_TYPE, "title", "title is required" },
        { "create", DOOR_MCP, "{\"title\":\"t\",\"content\":\"c\",\"priority\":\"9\"}", E_TYPE, "priority",
          "priority must be an integer" },
        { "create", DOOR_MCP, "{\"title\":\"t\",\"content\":\"c\",\"tier\":\"x\"}", E_INVALID, "tier",
          "invalid tier: x" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) check_wrong(&cases[i]);
}

static void texts_of_the_wrong_shape(void **state)
{
    static const struct wrong cases[] = {
        { "list", DOOR_HTTP, "{\"limit\":\"abc\"}", E_TYPE, "limit", "invalid digit found in string" },
        { "list", DOOR_HTTP, "{\"limit\":\"-1\"}", E_TYPE, "limit", "invalid digit found in string" },
        { "list", DOOR_HTTP, "{\"limit\":\"1.5\"}", E_TYPE, "limit", "invalid digit found in string" },
        { "list", DOOR_HTTP, "{\"limit\":\"\"}", E_TYPE, "limit", "cannot parse integer from empty string" },
        { "list", DOOR_HTTP, "{\"limit\":\"18446744073709551616\"}", E_TYPE, "limit",
          "number too large to fit in target type" },
        { "list", DOOR_HTTP, "{\"offset\":\"9223372036854775808\"}", E_TYPE, "offset",
          "number too large to fit in target type" },
        { "list", DOOR_HTTP, "{\"min_priority\":\"2147483648\"}", E_TYPE, "min_priority",
          "number too large to fit in target type" },
        { "list", DOOR_HTTP, "{\"tier\":\"forever\"}", E_TYPE, "tier",
          "unknown variant `forever`, expected one of `short`, `mid`, `long`" },
        { "list", DOOR_CLI, "{\"tier\":\"forever\"}", E_INVALID, "tier",
          "invalid tier: forever (use short, mid, long)" },
        { "list", DOOR_HTTP, "{\"agent_id\":\"\"}", E_INVALID, "agent_id",
          "invalid agent_id filter: agent_id cannot be empty" },
        { "get", DOOR_HTTP, "{\"id\":\" \"}", E_INVALID, "id", "id cannot be empty" },
        { "sync_since", DOOR_HTTP, "{\"since\":\"yesterday\"}", E_INVALID, "since",
          "invalid `since` parameter — expected RFC 3339 timestamp" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) check_wrong(&cases[i]);
    assert_int_equal(decode("get", DOOR_HTTP, "{}"), E_MISSING);
    assert_string_equal(last->err.msg, "missing field `id`");
}

static void the_first_rule_broken_is_told(void **state)
{
    (void)state;
    assert_int_equal(decode("create", DOOR_HTTP, "{\"title\":\"\",\"content\":\"\",\"namespace\":\"\",\"priority\":0}"),
                     E_INVALID);
    assert_string_equal(last->err.msg, "title cannot be empty");
    assert_int_equal(decode("create", DOOR_HTTP, "{\"title\":\"t\",\"content\":\"c\",\"ttl_secs\":0,\"metadata\":[]}"),
                     E_INVALID);
    assert_string_equal(last->err.msg, "ttl_secs must be positive (got 0)");
    assert_int_equal(decode("update", DOOR_HTTP, "{\"id\":\" \",\"title\":\"\"}"), E_INVALID);
    assert_string_equal(last->err.msg, "id cannot be empty");
}

static void items_are_refused_one_by_one(void **state)
{
    (void)state;
    struct items {
        void *item;
        size_t count, item_size;
        const char **error;
    } list;
    assert_int_equal(
        decode("bulk", DOOR_HTTP, "[{\"title\":\"\",\"content\":\"x\"},{\"title\":\"a\",\"content\":\"x\"}]"), 0);
    memcpy(&list, (char *)last->args + last->op->args[0].offset, sizeof(list));
    assert_int_equal(list.count, 2);
    assert_string_equal(list.error[0], "title cannot be empty");
    assert_null(list.error[1]);
}

static void too_many_items(void **state)
{
    size_t size = 1001 * 32 + 8, used = 1;
    char *text = malloc(size);
    (void)state;
    strcpy(text, "[");
    for (int i = 0; i < 1001; i++)
        used += (size_t)snprintf(text + used, size - used, "%s{\"title\":\"t\",\"content\":\"c\"}", i ? "," : "");
    strcpy(text + used, "]");
    assert_int_equal(decode("bulk", DOOR_HTTP, text), E_INVALID);
    assert_string_equal(last->err.msg, "bulk operations limited to 1000 items");
    free(text);
}

static int64_t int_arg(const char *name)
{
    int i = arg_index(last->op->args, last->caller.door, name);
    assert_true(i >= 0);
    return *(int64_t *)(void *)((char *)last->args + last->op->args[i].offset);
}

static void pages_by_door(void **state)
{
    (void)state;
    static const struct {
        enum door door;
        const char *args;
        int64_t limit;
    } cases[] = {
        { DOOR_HTTP, "{}", 100 },
        { DOOR_HTTP, "{\"limit\":5000}", 1000 },
        { DOOR_HTTP, "{\"limit\":\"18446744073709551615\"}", 1000 },
        { DOOR_HTTP, "{\"limit\":\"+7\"}", 7 },
        { DOOR_HTTP, "{\"limit\":0}", 0 },
        { DOOR_MCP, "{}", 20 },
        { DOOR_MCP, "{\"limit\":5000}", 200 },
        { DOOR_CLI, "{}", 100 },
        { DOOR_CLI, "{\"limit\":5000}", 5000 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(decode("list", cases[i].door, cases[i].args), 0);
        assert_int_equal(int_arg("limit"), cases[i].limit);
        assert_int_equal(
            decode("search", cases[i].door, cases[i].door == DOOR_HTTP ? "{\"q\":\"x\"}" : "{\"query\":\"x\"}"), 0);
        assert_int_equal(int_arg("limit"), cases[i].door == DOOR_MCP ? 20 : 100);
    }
    static const struct {
        enum door door;
        const char *args;
        int64_t limit;
    } recalls[] = {
        { DOOR_HTTP, "{\"context\":\"x\"}", 10 },
        { DOOR_HTTP, "{\"context\":\"x\",\"limit\":99}", 50 },
        { DOOR_MCP, "{\"context\":\"x\",\"limit\":99}", 50 },
        { DOOR_CLI, "{\"context\":\"x\",\"limit\":99}", 99 },
    };
    for (size_t i = 0; i < ARRAY_LEN(recalls); i++) {
        assert_int_equal(decode("recall", recalls[i].door, recalls[i].args), 0);
        assert_int_equal(int_arg("limit"), recalls[i].limit);
    }
}

static void blank_questions(void **state)
{
    (void)state;
    assert_int_equal(decode("search", DOOR_HTTP, "{\"q\":\" \\t\"}"), E_INVALID);
    assert_string_equal(last->err.msg, "query is required");
    assert_int_equal(decode("recall", DOOR_HTTP, "{\"context\":\"\"}"), E_INVALID);
    assert_string_equal(last->err.msg, "context is required");
    assert_int_equal(decode("recall", DOOR_MCP, "{\"context\":\"\"}"), 0);
}

/* ---- the table --------------------------------------------------------------------------------------------------- */
static const size_t sizes[] = {
    [ARG_TEXT] = sizeof(struct str),
    [ARG_WORD] = sizeof(struct str),
    [ARG_INT] = 8,
    [ARG_UINT] = 8,
    [ARG_REAL] = 8,
    [ARG_BOOL] = 1,
    [ARG_TEXTS] = sizeof(struct strs),
    [ARG_OBJECT] = sizeof(void *),
    [ARG_ITEMS] = sizeof(struct items),
};

static void check_descriptors(const char *op, const struct arg *desc, size_t size, bool docs)
{
    unsigned count = 0;
    for (const struct arg *d = desc; d->name; d++, count++) {
        if (d->offset < sizeof(struct args_head) || d->offset + sizes[d->type] > size)
            fail_msg("%s %s: out of its struct", op, d->name);
        if (docs && d->doc == NULL) fail_msg("%s %s: no doc", op, d->name);
        if (d->type == ARG_WORD && d->words == NULL) fail_msg("%s %s: no words", op, d->name);
        if (d->doors == 0) fail_msg("%s %s: no door", op, d->name);
        if (d->item) check_descriptors(d->name, d->item, d->item_size, false);
        for (const struct arg *other = desc; other < d; other++) {
            if (other->offset < d->offset + sizes[d->type] && d->offset < other->offset + sizes[other->type])
                fail_msg("%s: %s and %s overlap", op, d->name, other->name);
            if (strcmp(d->name, other->name) == 0) fail_msg("%s: two %s", op, d->name);
            if (d->letter && d->letter == other->letter) fail_msg("%s: two -%c", op, d->letter);
        }
    }
    assert_true(count <= 64);
}

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

static bool routes_clash(const struct http_route *a, const struct http_route *b)
{
    return a->verb != HTTP_NONE && a->verb == b->verb && strcmp(a->path, b->path) == 0;
}

static void rows_are_whole_and_unique(void **state)
{
    (void)state;
    for (const struct op *op = op_table; op->name; op++) {
        assert_non_null(op->doc);
        assert_non_null(op->run);
        assert_ptr_equal(op_by_name(op->name), op);
        check_descriptors(op->name, op->args, op->args_size, true);
        if (op->mcp.name) assert_non_null(op->mcp.doc);
        if (op->cli.name) assert_non_null(op->cli.about);
        if (op->effect == OP_READ || op->effect == OP_TOUCH) assert_null(op->aside);
        for (int r = 0; r < 2; r++) {
            const struct http_route *route = &op->http[r];
            for (const struct arg *d = op->args; d->name && route->verb != HTTP_NONE; d++) {
                char part[80];
                snprintf(part, sizeof(part), "{%s}", d->name);
                bool takes = (d->flags & ARG_PATH) && (d->doors & ON_HTTP);
                assert_int_equal(strstr(route->path, part) != NULL, takes);
            }
        }
        for (const struct op *other = op_table; other < op; other++) {
            assert_false(same(op->name, other->name) || same(op->mcp.name, other->mcp.name) ||
                         same(op->cli.name, other->cli.name));
            for (int i = 0; i < 4; i++) assert_false(routes_clash(&op->http[i & 1], &other->http[i >> 1]));
        }
    }
}

static void defaults_are_values(void **state)
{
    (void)state;
    for (const struct op *op = op_table; op->name; op++)
        for (int door = 0; door < DOORS; door++)
            for (unsigned i = 0; op->args[i].name; i++) {
                const char *text = op->args[i].at[door].dflt;
                if (text == NULL) continue;
                struct call *c = call_new(op);
                assert_int_equal(
                    args_from_text(op->args, i, (enum door)door, text, strlen(text), &c->arena, c->args, &c->err), 0);
                call_free(c);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(bodies_of_the_wrong_shape, forget),
        cmocka_unit_test_teardown(texts_of_the_wrong_shape, forget),
        cmocka_unit_test_teardown(the_first_rule_broken_is_told, forget),
        cmocka_unit_test_teardown(items_are_refused_one_by_one, forget),
        cmocka_unit_test_teardown(too_many_items, forget),
        cmocka_unit_test_teardown(pages_by_door, forget),
        cmocka_unit_test_teardown(blank_questions, forget),
        cmocka_unit_test(rows_are_whole_and_unique),
        cmocka_unit_test(defaults_are_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
