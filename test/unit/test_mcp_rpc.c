/* JSON-RPC: envelopes, versions, batches, tools; calls are answered by the test itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/json.h"
#include "mcp/rpc.h"

static struct rpc rpc;
static struct buf out;
static json_t *answer; /* of the last line */
static unsigned runs;
static char asked_by[160];

/* Stands for the engine: answers with what it was asked. */
static int run(void *data, struct call *c)
{
    (void)data;
    runs++;
    snprintf(asked_by, sizeof(asked_by), "%s", c->caller.agent_id);
    if (c->caller.agent_error) return c->status = err_set(&c->err, E_INVALID, "%s", c->caller.agent_error);
    if (strcmp(c->op->name, "delete") == 0) return c->status = err_set(&c->err, E_NOT_FOUND, "memory not found");
    c->reply.doc = strcmp(c->op->name, "get") == 0 ? json_pack("{s:{s:s}, s:[]}", "memory", "id", "m", "links")
                                                   : json_pack("{s:i, s:[]}", "count", 0, "memories");
    return c->status = 0;
}

static const char *say(const char *line)
{
    struct err err = { 0 };
    buf_clear(&out);
    rpc_line(&rpc, line, strlen(line), &out);
    json_decref(answer);
    answer = NULL;
    if (out.len == 0) return "";
    assert_int_equal(out.data[out.len - 1], '\n');
    assert_ptr_equal(memchr(out.data, '\n', out.len), out.data + out.len - 1);
    answer = json_parse(out.data, out.len - 1, NULL, 0, &err);
    if (answer == NULL) fail_msg("%s: %s", out.data, err.msg);
    return buf_str(&out);
}

static int code(const char *line)
{
    (void)say(line);
    return (int)json_integer_value(json_object_get(json_object_get(answer, "error"), "code"));
}

static const char *text(void)
{
    json_t *content = json_object_get(json_object_get(answer, "result"), "content");
    return json_string_value(json_object_get(json_array_get(content, 0), "text"));
}

static bool is_error(void)
{
    return json_is_true(json_object_get(json_object_get(answer, "result"), "isError"));
}

static void agree(const char *version)
{
    char line[200];
    snprintf(line, sizeof(line),
             "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"protocolVersion\":\"%s\","
             "\"clientInfo\":{\"name\":\"claude code/2.0\"}}}",
             version);
    (void)say(line);
}

static const char *agreed(void)
{
    return json_string_value(json_object_get(json_object_get(answer, "result"), "protocolVersion"));
}

static void envelopes(void **state)
{
    (void)state;
    assert_string_equal(say("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\"}"),
                        "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\n");
    assert_string_equal(say(" {\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"ping\"} \r"),
                        "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":{}}\n");
    assert_string_equal(say(""), "");
    assert_string_equal(say(" \t"), "");
    assert_int_equal(code("{"), -32700);
    assert_true(json_is_null(json_object_get(answer, "id")));
    assert_int_equal(code("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}"), -32700);
    assert_int_equal(code("42"), -32600);
    assert_int_equal(code("[]"), -32600);
    assert_int_equal(code("{}"), -32600);
    assert_int_equal(code("{\"id\":7,\"method\":\"ping\"}"), -32600);
    assert_int_equal(json_integer_value(json_object_get(answer, "id")), 7);
    assert_int_equal(code("{\"jsonrpc\":\"1.0\",\"id\":7,\"method\":\"ping\"}"), -32600);
    assert_int_equal(code("{\"jsonrpc\":\"2.0\",\"id\":true,\"method\":\"ping\"}"), -32600);
    assert_int_equal(code("{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"ping\"}"), -32600);
    assert_int_equal(code("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"no/such\"}"), -32601);
    buf_clear(&out);
    rpc_line_too_long(&out);
    assert_non_null(strstr(buf_str(&out), "-32700"));
}

static void notifications(void **state)
{
    static const char *const silent[] = {
        "{\"jsonrpc\":\"2.0\",\"method\":\"ping\"}",
        "{\"jsonrpc\":\"1.0\",\"id\":null,\"method\":\"ping\"}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"tools/call\",\"params\":{\"name\":\"memory_list\"}}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}",
    };
    (void)state;
    runs = 0;
    for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++) assert_string_equal(say(silent[i]), "");
    assert_int_equal(runs, 0);
}

static void versions(void **state)
{
    static const char *const known[] = { "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25" };
    (void)state;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        agree(known[i]);
        assert_string_equal(agreed(), known[i]);
    }
    agree("1999-01-01");
    assert_string_equal(agreed(), "2025-11-25");
    (void)say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\"}");
    assert_string_equal(agreed(), "2024-11-05");
}

static void batches(void **state)
{
    static const char two[] =
        "[{\"jsonrpc\":\"2.0\",\"method\":\"ping\"},{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"},"
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"initialize\"},{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"ping\"}]";
    (void)state;
    agree("2025-06-18");
    assert_int_equal(code(two), -32600);
    agree("2025-03-26");
    (void)say(two);
    assert_int_equal(json_array_size(answer), 3);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(answer, 2), "id")), 3);
    assert_non_null(json_object_get(json_array_get(answer, 1), "error"));
    assert_int_equal(code("[]"), -32600);
    assert_string_equal(say("[{\"jsonrpc\":\"2.0\",\"method\":\"ping\"}]"), "");
}

#define CALL(name, arguments) \
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"" name "\"" arguments "}}"

static void tools(void **state)
{
    (void)state;
    agree("2024-11-05");
    assert_int_equal(code(CALL("", "")), -32602);
    assert_int_equal(code("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\"}"), -32602);
    (void)say(CALL("memory_nope", ""));
    assert_true(is_error());
    assert_string_equal(text(), "unknown tool: memory_nope");
    agree("2025-06-18");
    assert_int_equal(code(CALL("memory_nope", "")), -32602);
    (void)say(CALL("memory_get", ""));
    assert_true(is_error());
    assert_string_equal(text(), "id is required");
    (void)say(CALL("memory_get", ",\"arguments\":{\"id\":\"m\"}"));
    assert_false(is_error());
    assert_string_equal(text(), "{\n  \"id\": \"m\",\n  \"links\": []\n}");
    (void)say(CALL("memory_delete", ",\"arguments\":{\"id\":\"m\"}"));
    assert_true(is_error());
    assert_string_equal(text(), "memory not found");
}

static void forms_of_lists(void **state)
{
    (void)state;
    (void)say(CALL("memory_list", ""));
    assert_memory_equal(text(), "count:0\nmemories[id|title|tier|namespace|priority|score", 54);
    (void)say(CALL("memory_list", ",\"arguments\":{\"format\":5}"));
    assert_memory_equal(text(), "count:0\nmemories[id|title|tier|namespace|priority|score", 54);
    (void)say(CALL("memory_list", ",\"arguments\":{\"format\":\"toon\"}"));
    assert_memory_equal(text(), "count:0\nmemories[id|title|tier|namespace|priority|confidence", 59);
    (void)say(CALL("memory_list", ",\"arguments\":{\"format\":\"json\"}"));
    assert_string_equal(text(), "{\n  \"count\": 0,\n  \"memories\": []\n}");
    (void)say(CALL("memory_list", ",\"arguments\":{\"limit\":\"3\"}"));
    assert_true(is_error());
}

static void callers(void **state)
{
    struct rpc other;
    (void)state;
    rpc_init(&rpc, NULL, false, run, NULL);
    (void)say(CALL("memory_stats", ""));
    assert_true(strncmp(asked_by, "host:", 5) == 0 || strncmp(asked_by, "anonymous:", 10) == 0);
    agree("2025-06-18");
    (void)say(CALL("memory_stats", ""));
    assert_memory_equal(asked_by, "ai:claude-code-2.0@", 19);
    assert_non_null(strstr(asked_by, ":pid-"));
    (void)say("{\"jsonrpc\":\"2.0\",\"method\":\"initialize\",\"params\":{\"clientInfo\":{\"name\":\"quiet\"}}}");
    (void)say(CALL("memory_stats", ""));
    assert_memory_equal(asked_by, "ai:quiet@", 9);
    rpc_init(&rpc, NULL, true, run, NULL);
    (void)say(CALL("memory_stats", ""));
    assert_memory_equal(asked_by, "anonymous:pid-", 14);
    rpc_init(&rpc, "alice", false, run, NULL);
    agree("2025-06-18");
    (void)say(CALL("memory_stats", ""));
    assert_string_equal(asked_by, "alice");
    rpc_init(&rpc, "not valid", false, run, NULL);
    (void)say(CALL("memory_stats", ""));
    assert_true(is_error());
    assert_non_null(strstr(text(), "agent_id contains invalid character ' '"));
    rpc_init(&other, NULL, false, run, NULL);
    assert_string_not_equal(other.identity.digits, rpc.identity.digits);
}

static void cut_texts(void **state)
{
    (void)state;
    assert_int_equal(rpc_whole("abc", 3), 3);
    assert_int_equal(rpc_whole("ab\xc3\xa9", 4), 4);
    assert_int_equal(rpc_whole("ab\xc3", 3), 2);
    assert_int_equal(rpc_whole("ab\xf0\x9f\x98", 5), 2);
    assert_int_equal(rpc_whole("ab\xf0\x9f\x98\x80", 6), 6);
}

static int start(void **state)
{
    (void)state;
    buf_init(&out, RPC_OUT_MAX);
    rpc_init(&rpc, "alice", false, run, NULL);
    return 0;
}

static int done(void **state)
{
    (void)state;
    json_decref(answer);
    buf_release(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(envelopes), cmocka_unit_test(notifications), cmocka_unit_test(versions),
        cmocka_unit_test(batches),   cmocka_unit_test(tools),         cmocka_unit_test(forms_of_lists),
        cmocka_unit_test(callers),   cmocka_unit_test(cut_texts),
    };
    return cmocka_run_group_tests(tests, start, done);
}
