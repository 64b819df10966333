/* Which path means what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "http/route.h"

static struct route_table *table;

static int start(void **state)
{
    (void)state;
    table = route_table_new();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    route_table_free(table);
    return 0;
}

static const char *found(const char *method, const char *path)
{
    struct route_match m;
    route_find(table, method, path, &m);
    return m.route ? m.route->op ? m.route->op->name : m.route->path : m.known ? "known" : "unknown";
}

static void test_every_route_is_found_by_its_own_path(void **state)
{
    static const char *const methods[] = {
        [HTTP_GET] = "GET", [HTTP_POST] = "POST", [HTTP_PUT] = "PUT", [HTTP_DELETE] = "DELETE"
    };
    const struct route *r;
    size_t i = 0;
    (void)state;
    for (; (r = route_at(table, i)) != NULL; i++) {
        char path[128] = "";
        struct route_match m;
        for (const char *p = r->path; *p;) { /* each {parameter} becomes "value" */
            size_t len = *p == '{' ? strcspn(p, "}") + 1 : strcspn(p, "{");
            size_t at = strlen(path);
            snprintf(path + at, sizeof(path) - at, "%.*s", *p == '{' ? 5 : (int)len, *p == '{' ? "value" : p);
            p += len;
        }
        route_find(table, methods[r->verb], path, &m);
        if (m.route != r) fail_msg("%s leads elsewhere", path);
        assert_int_equal(m.params, r->params);
    }
    assert_true(i > 15);
}

static void test_static_segments_win(void **state)
{
    (void)state;
    assert_string_equal(found("POST", "/api/v1/memories/bulk"), "bulk");
    assert_string_equal(found("GET", "/api/v1/memories/bulk"), "known");
    assert_string_equal(found("GET", "/api/v1/memories/bulky"), "get");
    assert_string_equal(found("HEAD", "/api/v1/memories/x"), "get");
    assert_string_equal(found("POST", "/api/v1/memories/bulk/promote"), "promote");
}

static void test_no_path(void **state)
{
    static const char *const paths[] = {
        "",
        "*",
        "/",
        "/api",
        "/api/v1",
        "/api/v1/memories/",
        "/api/v1//memories",
        "//api/v1/memories",
        "/API/v1/memories",
        "/api/v1/memories/a/b/c",
        "/api/v1/memories/a/",
        "/metrics/",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        assert_string_equal(found("GET", paths[i]), "unknown");
}

static void test_parts_of_the_path(void **state)
{
    struct route_match m;
    (void)state;
    route_find(table, "POST", "/api/v1/memories/a%2Fb/promote", &m);
    assert_int_equal(m.params, 1);
    assert_int_equal(m.param[0].at, strlen("/api/v1/memories/"));
    assert_int_equal(m.param[0].len, strlen("a%2Fb"));
    assert_string_equal(m.allow, "POST");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_route_is_found_by_its_own_path),
        cmocka_unit_test(test_static_segments_win),
        cmocka_unit_test(test_no_path),
        cmocka_unit_test(test_parts_of_the_path),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
