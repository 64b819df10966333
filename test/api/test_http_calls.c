/* Operations through the HTTP door: shapes of answers, headers of reads and writes, identity, keys, figures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/program_kit.h"

#define KEY "s3cret key"
#define KEYED "x-api-key: s3cret key\r\n"

static struct program server;

static int start(void **state)
{
    (void)state;
    program_init(&server);
    program_serve(&server, NULL, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    program_stop(&server);
    return 0;
}

static void create(const char *headers, const char *title, struct reply_text *r)
{
    char body[128];
    snprintf(body, sizeof(body), "{\"title\":\"%s\",\"content\":\"words of %s\"}", title, title);
    ask(&server, "POST", "/api/v1/memories", headers, body, r);
}

static void test_shapes(void **state)
{
    struct reply_text r;
    char target[128];
    (void)state;
    create("x-agent-id: alice\r\n", "shape", &r);
    assert_int_equal(r.status, 201);
    assert_string_equal(reply_string(&r, "agent_id"), "alice");
    assert_null(json_object_get(r.json, "quorum_acks"));
    snprintf(target, sizeof(target), "/api/v1/memories/%s", reply_string(&r, "id"));
    reply_free(&r);
    ask(&server, "GET", target, NULL, NULL, &r);
    assert_true(json_is_object(json_object_get(r.json, "memory")) && json_is_array(json_object_get(r.json, "links")));
    reply_free(&r);
    ask(&server, "PUT", target, NULL, "{\"priority\":7}", &r);
    assert_int_equal(r.status, 200);
    assert_string_equal(reply_string(&r, "title"), "shape");
    assert_int_equal(json_integer_value(json_object_get(r.json, "priority")), 7);
    reply_free(&r);
    ask(&server, "DELETE", target, NULL, NULL, &r);
    assert_true(json_is_true(json_object_get(r.json, "deleted")));
    reply_free(&r);
    expect_status(&server, 404, "GET", target, NULL, NULL);
}

static void test_identity(void **state)
{
    struct reply_text r;
    (void)state;
    create(NULL, "nobody", &r);
    assert_memory_equal(reply_string(&r, "agent_id"), "anonymous:req-", 14);
    reply_free(&r);
    create("x-agent-id: \xc3\xbc\r\n", "no ascii", &r);
    assert_memory_equal(reply_string(&r, "agent_id"), "anonymous:req-", 14);
    reply_free(&r);
    create("x-agent-id: a b\r\n", "bad", &r);
    assert_int_equal(r.status, 400);
    assert_memory_equal(reply_string(&r, "error"), "invalid agent_id: ", 18);
    reply_free(&r);
    expect_status(&server, 200, "GET", "/api/v1/memories", "x-agent-id: a b\r\n", NULL);
}

static void test_headers_of_writes(void **state)
{
    struct reply_text r;
    (void)state;
    create(NULL, "headers", &r);
    unsigned long long stream = 0, seq = 0;
    assert_int_equal(sscanf(reply_header_of(&r, "x-pos"), "%llu:%llu", &stream, &seq), 2);
    assert_true(stream > 0 && seq > 0);
    assert_string_equal(reply_header_of(&r, "x-quorum-acks"), "1");
    assert_string_equal(reply_header_of(&r, "x-durability"), "local");
    reply_free(&r);
    create("x-write-quorum: 1\r\n", "headers", &r);
    assert_int_equal(r.status, 201);
    reply_free(&r);
    create("x-write-quorum: 2\r\n", "too many", &r);
    assert_int_equal(r.status, 400);
    reply_free(&r);
    create("x-write-quorum: many\r\n", "no number", &r);
    assert_int_equal(r.status, 400);
    reply_free(&r);
}

static void test_waiting_for_a_position(void **state)
{
    struct reply_text r;
    char header[128];
    (void)state;
    create(NULL, "position", &r);
    snprintf(header, sizeof(header), "x-wait-pos: %s\r\n", reply_header_of(&r, "x-pos"));
    reply_free(&r);
    expect_status(&server, 200, "GET", "/api/v1/search?q=position", header, NULL);
    expect_status(&server, 504, "GET", "/api/v1/search?q=position", "x-wait-pos: 1:1\r\nx-wait-ms: 50\r\n", NULL);
    expect_status(&server, 400, "GET", "/api/v1/search?q=position", "x-wait-pos: soon\r\n", NULL);
    expect_status(&server, 400, "GET", "/api/v1/search?q=position", "x-wait-pos: 1:1\r\nx-wait-ms: 99999\r\n", NULL);
}

static void test_idempotency_keys(void **state)
{
    struct reply_text first, again;
    char pos[64];
    (void)state;
    create("idempotency-key: k1\r\n", "once", &first);
    create("idempotency-key: k1\r\n", "once", &again);
    assert_int_equal(first.status, 201);
    assert_int_equal(again.status, 201);
    assert_string_equal(reply_string(&first, "id"), reply_string(&again, "id"));
    snprintf(pos, sizeof(pos), "%s", reply_header_of(&first, "x-pos"));
    assert_string_equal(pos, reply_header_of(&again, "x-pos"));
    reply_free(&first);
    reply_free(&again);
    create("idempotency-key: k1\r\n", "another", &again);
    assert_int_equal(again.status, 422);
    reply_free(&again);
    const char *forget = "{\"pattern\":\"once\"}"; /* again: the same answer, and not what was stored since */
    for (int i = 0; i < 2; i++) {
        ask(&server, "POST", "/api/v1/forget", "idempotency-key: k2\r\n", forget, &again);
        assert_int_equal(json_integer_value(json_object_get(again.json, "deleted")), 1);
        reply_free(&again);
        create("", "once", &again);
        assert_int_equal(json_is_true(json_object_get(again.json, "duplicate")), i == 1);
        reply_free(&again);
    }
    create("idempotency-key: \xff\r\n", "bad key", &again);
    assert_int_equal(again.status, 400);
    reply_free(&again);
}

static int64_t uses(const char *target)
{
    struct reply_text r;
    ask(&server, "GET", target, NULL, NULL, &r);
    int64_t n = json_integer_value(json_object_get(json_object_get(r.json, "memory"), "access_count"));
    reply_free(&r);
    return n;
}

static void test_only_a_real_recall_counts(void **state)
{
    struct reply_text r;
    char target[128];
    (void)state;
    create(NULL, "zebra", &r);
    snprintf(target, sizeof(target), "/api/v1/memories/%s", reply_string(&r, "id"));
    reply_free(&r);
    expect_status(&server, 200, "HEAD", "/api/v1/recall?context=zebra", NULL, NULL);
    assert_int_equal(uses(target), 0);
    expect_status(&server, 200, "GET", "/api/v1/recall?context=zebra", NULL, NULL);
    assert_int_equal(uses(target), 1);
    expect_status(&server, 200, "POST", "/api/v1/recall", NULL, "{\"context\":\"zebra\"}");
    assert_int_equal(uses(target), 2);
}

static void test_health_and_figures(void **state)
{
    struct reply_text r;
    (void)state;
    ask(&server, "GET", "/api/v1/health", NULL, NULL, &r);
    assert_string_equal(reply_string(&r, "service"), "ai-memory");
    assert_string_equal(reply_string(&r, "status"), "ok");
    json_t *federation = json_object_get(r.json, "federation");
    assert_int_equal(json_integer_value(json_object_get(federation, "nodes")), 1);
    assert_int_equal(json_integer_value(json_object_get(federation, "writes")), 0);
    reply_free(&r);
    create(NULL, "figure", &r);
    reply_free(&r);
    ask(&server, "GET", "/metrics", NULL, NULL, &r);
    assert_string_equal(reply_header_of(&r, "content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_non_null(strstr(r.body, "ai_memory_store_total{result=\"ok\",tier=\"mid\"} "));
    assert_non_null(strstr(r.body, "ai_memory_http_requests_total{status=\"201\"} "));
    assert_null(strstr(r.body, "ai_memory_memories 0\n"));
    assert_non_null(strstr(r.body, "# TYPE ai_memory_lane_batches_total counter"));
    reply_free(&r);
    ask(&server, "GET", "/api/v1/sync/status", NULL, NULL, &r);
    assert_true(json_integer_value(json_object_get(r.json, "pos")) > 0);
    assert_true(json_is_string(json_object_get(r.json, "node"))); /* beyond 2^53 a number would be rounded */
    assert_true(json_is_string(json_object_get(r.json, "stream")));
    const json_t *own = json_array_get(json_object_get(r.json, "vector"), 0);
    assert_string_equal(json_string_value(json_object_get(own, "stream")), reply_string(&r, "stream"));
    reply_free(&r);
}

static json_t *pointer(json_t *o, const char *a, const char *b, const char *c)
{
    return json_object_get(json_object_get(json_object_get(o, a), b), c);
}

static bool takes_header(json_t *operation, const char *name)
{
    size_t i;
    json_t *p;
    json_array_foreach (json_object_get(operation, "parameters"), i, p) {
        const char *at = json_string_value(json_object_get(p, "in"));
        if (strcmp(at, "header") == 0 && strcmp(json_string_value(json_object_get(p, "name")), name) == 0) return true;
    }
    return false;
}

static void test_the_description_names_what_is_served(void **state)
{
    struct reply_text r;
    (void)state;
    ask(&server, "GET", "/api/v1/openapi.json", NULL, NULL, &r);
    json_t *paths = json_object_get(r.json, "paths"), *path, *operation;
    const char *target, *method;
    assert_true(json_object_size(paths) > 10);
    json_object_foreach (paths, target, path) {
        json_object_foreach (path, method, operation) {
            struct reply_text probe;
            ask(&server, "OPTIONS", target, NULL, NULL, &probe);
            const char *allow = reply_header_of(&probe, "allow");
            char upper[16] = "";
            for (size_t i = 0; method[i] && i < sizeof(upper) - 1; i++) upper[i] = (char)(method[i] - 'a' + 'A');
            if (allow == NULL || strstr(allow, upper) == NULL) fail_msg("%s %s is not served", upper, target);
            reply_free(&probe);
        }
    }
    json_t *body = json_object_get(json_object_get(json_object_get(paths, "/api/v1/memories"), "post"), "requestBody");
    assert_true(json_is_object(body));
    operation = json_object_get(json_object_get(paths, "/api/v1/memories"), "post");
    assert_non_null(json_object_get(pointer(operation, "responses", "201", "headers"), "X-Pos"));
    assert_non_null(json_object_get(pointer(operation, "responses", "503", "headers"), "X-Quorum-Acks"));
    assert_true(takes_header(operation, "Idempotency-Key") && !takes_header(operation, "X-Wait-Pos"));
    operation = json_object_get(json_object_get(paths, "/api/v1/recall"), "get");
    assert_true(takes_header(operation, "X-Wait-Pos") && !takes_header(operation, "Idempotency-Key"));
    reply_free(&r);
}

static void test_replication_refuses_what_it_cannot_read(void **state)
{
    struct reply_text r;
    (void)state;
    ask(&server, "POST", "/api/v1/sync/ops", "content-type: application/octet-stream\r\n", "garbage", &r);
    assert_true(r.status >= 400 && r.status < 500);
    reply_free(&r);
}

/* ---- with a key ------------------------------------------------------------------------------------------------- */
static struct program keyed;

static int start_keyed(void **state)
{
    (void)state;
    program_init(&keyed);
    program_serve(&keyed, "AI_MEMORY_API_KEY=" KEY, NULL);
    return 0;
}

static int stop_keyed(void **state)
{
    (void)state;
    program_stop(&keyed);
    return 0;
}

static void test_keys(void **state)
{
    (void)state;
    expect_status(&keyed, 200, "GET", "/api/v1/health", NULL, NULL);
    expect_status(&keyed, 405, "POST", "/api/v1/health", NULL, NULL);
    expect_status(&keyed, 401, "GET", "/api/v1/memories", NULL, NULL);
    expect_status(&keyed, 401, "GET", "/nowhere", NULL, NULL);
    expect_status(&keyed, 404, "GET", "/nowhere", KEYED, NULL);
    expect_status(&keyed, 200, "GET", "/api/v1/memories", KEYED, NULL);
    expect_status(&keyed, 401, "GET", "/api/v1/memories", "x-api-key: s3cret kez\r\n", NULL);
    expect_status(&keyed, 401, "GET", "/api/v1/memories", "x-api-key:\r\n", NULL);
    expect_status(&keyed, 200, "GET", "/api/v1/memories?api_key=no&api_key=s3cret%20key", NULL, NULL);
    expect_status(&keyed, 200, "GET", "/api/v1/memories?limit=1&api_key=s3cret+key", "x-api-key: no\r\n", NULL);
    expect_status(&keyed, 401, "GET", "/api/v1/memories?API_KEY=s3cret+key", NULL, NULL);
    expect_status(&keyed, 200, "OPTIONS", "/api/v1/memories", NULL, NULL);
    expect_status(&keyed, 401, "POST", "/api/v1/sync/ops", "content-type: application/octet-stream\r\n", "x");
    expect_status(&keyed, 401, "POST", "/api/v1/memories", NULL, "{");
}

static void test_a_wrong_key_tells_the_methods(void **state)
{
    struct reply_text r;
    (void)state;
    ask(&keyed, "PATCH", "/api/v1/memories", NULL, NULL, &r);
    assert_int_equal(r.status, 401);
    assert_string_equal(reply_header_of(&r, "allow"), "GET,HEAD,POST");
    reply_free(&r);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_headers_of_writes),
        cmocka_unit_test(test_waiting_for_a_position),
        cmocka_unit_test(test_idempotency_keys),
        cmocka_unit_test(test_only_a_real_recall_counts),
        cmocka_unit_test(test_health_and_figures),
        cmocka_unit_test(test_the_description_names_what_is_served),
        cmocka_unit_test(test_replication_refuses_what_it_cannot_read),
    };
    const struct CMUnitTest keys[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_a_wrong_key_tells_the_methods),
    };
    if (argc < 2) return 2;
    program_path = argv[1];
    int failed = cmocka_run_group_tests_name("calls", tests, start, stop);
    return failed + cmocka_run_group_tests_name("keys", keys, start_keyed, stop_keyed);
}
