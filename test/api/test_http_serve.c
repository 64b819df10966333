/* The server as a process: start, what stops it from starting, signals, settings. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/program_kit.h"

static void write_settings(const struct program *p, const char *text)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/.config", p->dir);
    assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
    snprintf(path, sizeof(path), "%s/.config/ai-memory", p->dir);
    assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
    snprintf(path, sizeof(path), "%s/.config/ai-memory/config.toml", p->dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* Ends by itself with `status`, having said `text`. */
static void refuses(struct program *p, const char *env, const char *const *args, int status, const char *text)
{
    program_run(p, env, args);
    int ended = program_wait(p);
    if (ended != status || strstr(p->said, text) == NULL) fail_msg("ended with %d:\n%s", ended, p->said);
}

static void test_both_signals_end_it_cleanly(void **state)
{
    static const int numbers[] = { SIGTERM, SIGINT };
    struct program p;
    (void)state;
    program_init(&p);
    for (size_t i = 0; i < 2; i++) {
        program_serve(&p, NULL, NULL);
        expect_status(&p, 201, "POST", "/api/v1/memories", NULL, "{\"title\":\"kept\",\"content\":\"c\"}");
        program_signal(&p, numbers[i]);
        assert_int_equal(program_wait(&p), 0);
        assert_non_null(strstr(p.said, "stopped"));
    }
    program_serve(&p, NULL, NULL);
    struct reply_text r;
    ask(&p, "GET", "/api/v1/memories", NULL, NULL, &r);
    assert_int_equal(json_integer_value(json_object_get(r.json, "count")), 1);
    reply_free(&r);
    program_stop(&p);
}

/* A request under way is finished; idle connections do not hold the end up. */
static void test_stopping_finishes_what_is_under_way(void **state)
{
    static const char head[] = "POST /api/v1/memories HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n"
                               "content-length: 30\r\n\r\n{\"title\":\"last\"",
                      rest[] = ",\"content\":\"c\"}", idle_ask[] = "GET /api/v1/health HTTP/1.1\r\nhost: t\r\n\r\n";
    struct program p;
    struct reply_text r;
    char byte;
    (void)state;
    program_init(&p);
    program_serve(&p, NULL, NULL);
    int idle = raw_connect(&p), busy = raw_connect(&p);
    raw_put(idle, idle_ask, sizeof(idle_ask) - 1);
    assert_true(raw_take(idle, false, &r));
    reply_free(&r);
    raw_put(busy, head, sizeof(head) - 1);
    expect_status(&p, 200, "GET", "/api/v1/health", NULL, NULL);
    program_signal(&p, SIGTERM);
    program_until(&p, "SIGTERM");
    assert_int_equal(read(idle, &byte, 1), 0);
    raw_put(busy, rest, sizeof(rest) - 1);
    assert_true(raw_take(busy, false, &r));
    assert_int_equal(r.status, 201);
    assert_string_equal(reply_header_of(&r, "connection"), "close");
    reply_free(&r);
    assert_int_equal(program_wait(&p), 0);
    close(idle);
    close(busy);
    program_remove(&p);
}

static void test_the_grace_is_an_end(void **state)
{
    static const char *const more[] = { "--shutdown-grace-secs", "1", NULL };
    static const char head[] = "POST /api/v1/memories HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n"
                               "content-length: 29\r\n\r\n";
    struct program p;
    (void)state;
    program_init(&p);
    program_serve(&p, NULL, more);
    int busy = raw_connect(&p);
    raw_put(busy, head, sizeof(head) - 1);
    expect_status(&p, 200, "GET", "/api/v1/health", NULL, NULL);
    program_signal(&p, SIGTERM);
    assert_int_equal(program_wait(&p), 0);
    close(busy);
    program_remove(&p);
}

static void test_a_second_signal_ends_it_at_once(void **state)
{
    static const char head[] = "POST /api/v1/memories HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n"
                               "content-length: 29\r\n\r\n";
    struct program p;
    (void)state;
    program_init(&p);
    program_serve(&p, NULL, NULL);
    int busy = raw_connect(&p);
    raw_put(busy, head, sizeof(head) - 1);
    expect_status(&p, 200, "GET", "/api/v1/health", NULL, NULL);
    program_signal(&p, SIGTERM);
    program_until(&p, "SIGTERM");
    program_signal(&p, SIGINT);
    assert_int_equal(program_wait(&p), 1);
    close(busy);
    program_remove(&p);
}

static void test_what_stops_a_start(void **state)
{
    struct program p, q;
    char db[96], port[16];
    (void)state;
    program_init(&p);
    program_init(&q);
    program_serve(&q, NULL, NULL);
    snprintf(port, sizeof(port), "%u", q.port);
    snprintf(db, sizeof(db), "%s/a.db", q.dir);
    refuses(&p, NULL, (const char *const[]){ "serve", "--port", port, NULL }, 1, "Error: ");
    refuses(&p, NULL, (const char *const[]){ "serve", "--port", "0", "--db", db, NULL }, 1, "Error: ");
    refuses(&p, NULL, (const char *const[]){ "serve", "--port", "0", "--db", "no/such/x.db", NULL }, 1, "Error: ");
    refuses(&p, NULL, (const char *const[]){ "serve", "--port", "0", "--host", "not an address", NULL }, 1, "Error: ");
    refuses(&p, NULL, (const char *const[]){ "serve", "--port", "70000", NULL }, 2, "error: ");
    refuses(&p, NULL, (const char *const[]){ "serve", "--tls-cert", "c.pem", NULL }, 2, "error: ");
    refuses(&p, NULL, (const char *const[]){ "serve", "--tls-cert", "c.pem", "--tls-key", "k.pem", NULL }, 1,
            "failed to read TLS cert from c.pem");
    refuses(&p, NULL, (const char *const[]){ "serve", "--tls-cert", "/dev/null", "--tls-key", "/dev/null", NULL }, 1,
            "TLS cert at /dev/null does not serve");
    refuses(&p, NULL, (const char *const[]){ "serve", "--durability", "some", NULL }, 2, "error: ");
    refuses(&p, NULL,
            (const char *const[]){ "serve", "--port", "0", "--quorum-writes", "2", "--quorum-peers", "ftp://x", NULL },
            1, "ftp://x");
    refuses(&p, "AI_MEMORY_PORT=many", (const char *const[]){ "serve", NULL }, 1, "AI_MEMORY_PORT");
    program_stop(&q);
    program_remove(&p);
}

static void test_settings_from_the_file(void **state)
{
    struct program p;
    (void)state;
    program_init(&p);
    write_settings(&p, "# mine\napi_key = 'k'\n[serve]\nquorum_writes = 2\ncluster_name = \"blue\"\n");
    program_serve(&p, NULL, NULL);
    expect_status(&p, 401, "GET", "/api/v1/memories", NULL, NULL);
    expect_status(&p, 200, "GET", "/api/v1/memories", "x-api-key: k\r\n", NULL);
    struct reply_text r;
    ask(&p, "GET", "/api/v1/health", NULL, NULL, &r);
    json_t *warnings = json_object_get(json_object_get(r.json, "federation"), "warnings");
    assert_int_equal(json_array_size(warnings), 1);
    reply_free(&r);
    program_signal(&p, SIGTERM);
    assert_int_equal(program_wait(&p), 0);
    write_settings(&p, "api_key = ''\n");
    refuses(&p, NULL, (const char *const[]){ "serve", "--port", "0", NULL }, 1, "api_key");
    write_settings(&p, "api_key = 5\n");
    refuses(&p, NULL, (const char *const[]){ "serve", "--port", "0", NULL }, 1, "api_key");
    write_settings(&p, "this is no setting\n");
    refuses(&p, NULL, (const char *const[]){ "serve", "--port", "0", NULL }, 1, "line 1");
    refuses(&p, NULL, (const char *const[]){ "--version", NULL }, 0, "ai-memory");
    program_remove(&p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_signals_end_it_cleanly), cmocka_unit_test(test_stopping_finishes_what_is_under_way),
        cmocka_unit_test(test_the_grace_is_an_end),         cmocka_unit_test(test_a_second_signal_ends_it_at_once),
        cmocka_unit_test(test_what_stops_a_start),          cmocka_unit_test(test_settings_from_the_file),
    };
    if (argc < 2) return 2;
    program_path = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
