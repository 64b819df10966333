/* What the HTTP door says to requests as such: paths, methods, types, sizes, encodings, and the order of checks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/program_kit.h"

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

static void header_is(const struct reply_text *r, const char *name, const char *want)
{
    const char *value = reply_header_of(r, name);
    if (want == NULL)
        assert_null(value);
    else if (value == NULL || strcmp(value, want) != 0)
        fail_msg("%s is %s, not %s", name, value ? value : "absent", want);
}

static void ask_allowed(const char *method, const char *target, int status, const char *allow)
{
    struct reply_text r;
    ask(&server, method, target, NULL, NULL, &r);
    assert_int_equal(r.status, status);
    header_is(&r, "allow", allow);
    header_is(&r, "vary", "origin, access-control-request-method, access-control-request-headers");
    header_is(&r, "access-control-allow-origin", NULL);
    reply_free(&r);
}

static void test_paths_and_methods(void **state)
{
    (void)state;
    ask_allowed("GET", "/", 404, NULL);
    ask_allowed("GET", "/api/v1/memories/", 404, NULL);
    ask_allowed("GET", "//api/v1/health", 404, NULL);
    ask_allowed("GET", "/api/v1/memories/a/b", 404, NULL);
    ask_allowed("PATCH", "/api/v1/memories", 405, "GET,HEAD,POST");
    ask_allowed("PATCH", "/api/v1/memories/x", 405, "GET,HEAD,PUT,DELETE");
    ask_allowed("GET", "/api/v1/memories/bulk", 405, "POST");
    ask_allowed("FOO", "/api/v1/memories", 405, NULL);
    ask_allowed("POST", "/api/v1/health", 405, "GET,HEAD");
    ask_allowed("OPTIONS", "/api/v1/memories", 200, "GET,HEAD,POST");
    ask_allowed("OPTIONS", "/nowhere", 200, NULL);
    ask_allowed("OPTIONS", "*", 200, NULL);
}

static void test_head_is_get_without_a_body(void **state)
{
    struct reply_text r, full;
    (void)state;
    ask(&server, "HEAD", "/api/v1/memories", NULL, NULL, &r);
    ask(&server, "GET", "/api/v1/memories", NULL, NULL, &full);
    assert_int_equal(r.status, 200);
    assert_int_equal(atol(reply_header_of(&r, "content-length")), (long)full.len);
    reply_free(&r);
    reply_free(&full);
}

static void test_content_types(void **state)
{
    static const char body[] = "{\"title\":\"types\",\"content\":\"b\"}";
    (void)state;
    expect_status(&server, 415, "POST", "/api/v1/memories", "content-type: text/plain\r\n", body);
    expect_status(&server, 415, "POST", "/api/v1/memories", "content-type: application/jsonx\r\n", body);
    expect_status(&server, 415, "POST", "/api/v1/memories", NULL, NULL);
    expect_status(&server, 201, "POST", "/api/v1/memories", "content-type: Application/JSON; charset=utf-8\r\n", body);
    expect_status(&server, 201, "POST", "/api/v1/memories", "content-type: application/vnd.x+json\r\n", body);
}

static void body_is_refused(int status, const char *body, const char *error)
{
    struct reply_text r;
    ask(&server, "POST", "/api/v1/memories", NULL, body, &r);
    assert_int_equal(r.status, status);
    if (strncmp(reply_string(&r, "error"), error, strlen(error)) != 0) fail_msg("%s", reply_string(&r, "error"));
    reply_free(&r);
}

#define SYNTAX "Failed to parse the request body as JSON: "
#define SHAPE "Failed to deserialize the JSON body into the target type: "

static void test_bodies(void **state)
{
    (void)state;
    body_is_refused(400, "", SYNTAX);
    body_is_refused(400, "{", SYNTAX);
    body_is_refused(400, "{\"title\":\"a\nb\",\"content\":\"c\"}", SYNTAX "title: ");
    body_is_refused(400, "{\"title\":\"a\",\"content\":\"c\",\"tier\":5}", SYNTAX "tier: expected value");
    body_is_refused(422, "{\"title\":\"a\"}", SHAPE "missing field `content`");
    body_is_refused(422, "{\"title\":1,\"content\":\"b\"}", SHAPE "title: invalid type: integer `1`");
    body_is_refused(422, "{\"title\":\"a\",\"title\":\"b\",\"content\":\"c\"}", SHAPE "duplicate field `title`");
    body_is_refused(422, "[1]", SHAPE);
    body_is_refused(400, "{\"title\":\" \",\"content\":\"c\"}", "title cannot be empty");
    expect_status(&server, 201, "POST", "/api/v1/memories", NULL,
                  "{\"title\":\"twice\",\"content\":\"c\",\"metadata\":{\"k\":1,\"k\":2}}");
}

static char *filled(const char *before, size_t count, const char *after)
{
    size_t a = strlen(before), b = strlen(after);
    char *text = malloc(a + count + b + 1);
    memcpy(text, before, a);
    memset(text + a, 'x', count);
    memcpy(text + a + count, after, b + 1);
    return text;
}

/* Large bodies are decoded elsewhere than small ones: the answers must not differ. */
static void test_sizes(void **state)
{
    (void)state;
    static const char front[] = "{\"title\":\"large\",\"content\":\"", back[] = "\"}";
    size_t around = strlen(front) + strlen(back), max = 2u << 20;
    char *fits = filled(front, 65536, back), *long_content = filled(front, max - around, back);
    char *over = filled(front, max - around + 1, back), *torn = filled(front, 40000, "");
    expect_status(&server, 201, "POST", "/api/v1/memories", NULL, fits);
    expect_status(&server, 400, "POST", "/api/v1/memories", NULL, long_content);
    expect_status(&server, 413, "POST", "/api/v1/memories", NULL, over);
    expect_status(&server, 400, "POST", "/api/v1/memories", NULL, torn);
    expect_status(&server, 415, "POST", "/api/v1/memories", "content-type: text/plain\r\n", over);
    expect_status(&server, 404, "DELETE", "/api/v1/memories/nothing", NULL, over);
    free(fits);
    free(long_content);
    free(over);
    free(torn);
}

static void query_is_refused(const char *target, const char *error)
{
    struct reply_text r;
    ask(&server, "GET", target, NULL, NULL, &r);
    assert_int_equal(r.status, 400);
    assert_string_equal(reply_string(&r, "error"), error);
    reply_free(&r);
}

#define QUERY "Failed to deserialize query string: "

static void test_queries(void **state)
{
    struct reply_text r;
    (void)state;
    query_is_refused("/api/v1/memories?limit=abc", QUERY "limit: invalid digit found in string");
    query_is_refused("/api/v1/memories?limit=1&limit=2", QUERY "duplicate field `limit`");
    query_is_refused("/api/v1/memories?%6cimit=x", QUERY "limit: invalid digit found in string");
    query_is_refused("/api/v1/search", QUERY "missing field `q`");
    query_is_refused("/api/v1/search?q=%20", "query is required");
    query_is_refused("/api/v1/memories/%ff", "Invalid URL: Invalid UTF-8 in `id`");
    query_is_refused("/api/v1/memories/%ed%a0%80", "Invalid URL: Invalid UTF-8 in `id`");
    expect_status(&server, 404, "GET", "/api/v1/memories/a%2Fb", NULL, NULL);
    expect_status(&server, 200, "GET", "/api/v1/memories?unknown=1&unknown=2&&=", NULL, NULL);
    ask(&server, "GET", "/api/v1/search?q=a+b%2Bc%C3%BC%FF", NULL, NULL, &r);
    assert_int_equal(r.status, 200);
    assert_string_equal(reply_string(&r, "query"), "a b+c\xc3\xbc\xef\xbf\xbd");
    reply_free(&r);
}

static void test_pipelining_and_chunks(void **state)
{
    static const char text[] = "POST /api/v1/memories HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n"
                               "transfer-encoding: chunked\r\n\r\n"
                               "11\r\n{\"title\":\"pipe\",\"\r\nd\r\ncontent\":\"p\"}\r\n0\r\n\r\n"
                               "GET /api/v1/memories?limit=0 HTTP/1.1\r\nhost: t\r\n\r\n"
                               "GET /api/v1/health HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";
    struct reply_text r;
    char byte;
    (void)state;
    int fd = raw_connect(&server);
    raw_put(fd, text, sizeof(text) - 1);
    assert_true(raw_take(fd, false, &r));
    assert_int_equal(r.status, 201);
    reply_free(&r);
    assert_true(raw_take(fd, false, &r));
    assert_int_equal(json_integer_value(json_object_get(r.json, "count")), 0);
    reply_free(&r);
    assert_true(raw_take(fd, false, &r));
    assert_string_equal(reply_string(&r, "status"), "ok");
    reply_free(&r);
    assert_int_equal(read(fd, &byte, 1), 0);
    close(fd);
}

/* A client may go at any moment: before its body, after it, while its write is in the lane. */
static void test_clients_that_go(void **state)
{
    static const char head[] = "POST /api/v1/memories HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n"
                               "content-length: 29\r\n\r\n",
                      body[] = "{\"title\":\"gone\",\"content\":\"\"}",
                      search[] = "GET /api/v1/recall?context=gone "
                                 "HTTP/1.1\r\nhost: t\r\n\r\n";
    (void)state;
    for (int i = 0; i < 20; i++) {
        int fd = raw_connect(&server);
        raw_put(fd, head, sizeof(head) - 1);
        if (i % 3) raw_put(fd, body, sizeof(body) - 1);
        close(fd);
        fd = raw_connect(&server);
        raw_put(fd, search, sizeof(search) - 1);
        close(fd);
    }
    expect_status(&server, 200, "GET", "/api/v1/health", NULL, NULL);
}

static void test_malformed_requests_are_told_in_json(void **state)
{
    static const char text[] = "NO HTTP AT ALL\r\n\r\n";
    struct reply_text r;
    (void)state;
    int fd = raw_connect(&server);
    raw_put(fd, text, sizeof(text) - 1);
    assert_true(raw_take(fd, false, &r));
    assert_true(r.status >= 400 && r.status < 500);
    assert_true(json_is_string(json_object_get(r.json, "error")));
    reply_free(&r);
    close(fd);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_and_methods),
        cmocka_unit_test(test_head_is_get_without_a_body),
        cmocka_unit_test(test_content_types),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_queries),
        cmocka_unit_test(test_pipelining_and_chunks),
        cmocka_unit_test(test_clients_that_go),
        cmocka_unit_test(test_malformed_requests_are_told_in_json),
    };
    if (argc < 2) return 2;
    program_path = argv[1];
    return cmocka_run_group_tests(tests, start, stop);
}
