/* The error table, its messages, failed checks and kept log lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/log.h"
#include "err.h"

static void table_is_consistent(void **state)
{
    (void)state;
    static const int codes[] = {
#define X(name, number, status, retry, text) E_##name,
        ERR_LIST(X)
#undef X
    };
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        assert_true(codes[i] < 0);
        assert_true(strlen(err_text(codes[i])) > 0);
        assert_in_range(err_status(codes[i]), 200, 599);
        for (size_t j = 0; j < i; j++) assert_int_not_equal(codes[i], codes[j]);
    }
    assert_string_equal(err_name(E_NOT_FOUND), "NOT_FOUND");
    assert_int_equal(err_status(E_NOT_FOUND), 404);
    assert_int_equal(err_status(E_OK), 200);
    assert_int_equal(err_status(-9999), 500);
    assert_int_equal(err_retryable(E_QUORUM), 1);
    assert_int_equal(err_retryable(E_INVALID), 0);
    assert_int_equal(err_retryable(-9999), 0);
    assert_string_equal(err_name(-9999), "UNKNOWN");
}

static void messages_are_set_and_wrapped(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(err_arg(&err, E_INVALID, "title", "%s is %d", "title", 7), E_INVALID);
    assert_string_equal(err.arg, "title");
    assert_string_equal(err.msg, "title is 7");
    assert_int_equal(err_wrap(&err, "line %d", 3), E_INVALID);
    assert_string_equal(err.msg, "line 3: title is 7");
    assert_string_equal(err.arg, "title");
    assert_int_equal(err_set(&err, E_IO, "again: %s", err.msg), E_IO);
    assert_string_equal(err.msg, "again: line 3: title is 7");
    assert_string_equal(err.arg, "");
    assert_int_equal(err_set(NULL, E_IO, "x"), E_IO);
    assert_int_equal(err_arg(NULL, E_BUSY, "a", "x"), E_BUSY);
    assert_true(err_wrap(NULL, "x") < 0);
}

static void long_texts_are_cut(void **state)
{
    (void)state;
    struct err err;
    char text[4000];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    err_arg(&err, E_INVALID, text, "%s", text);
    assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
    assert_int_equal(strlen(err.arg), sizeof(err.arg) - 1);
    err_wrap(&err, "b");
    assert_memory_equal(err.msg, "b: aaa", 6);
    assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
    err_wrap(&err, "%s", text);
    assert_memory_equal(err.msg, "aaaa", 4);
    assert_true(strlen(err.msg) < sizeof(err.msg));
}

static void log_levels_from_words(void **state)
{
    (void)state;
    enum log_level level = LOG_ERROR;
    static const struct {
        const char *text;
        enum log_level level;
    } good[] = {
        { "info", LOG_INFO },
        { "WARN", LOG_WARN },
        { "trace", LOG_DEBUG },
        { "ai_memory=debug,warn", LOG_DEBUG },
        { "warn,ai_memory=debug", LOG_DEBUG },
        { "ai_memory::db=info", LOG_INFO },
        { " tower_http=debug , error ", LOG_ERROR },
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(log_level_of(good[i].text, &level), 0);
        assert_int_equal(level, good[i].level);
    }
    level = LOG_WARN;
    assert_int_equal(log_level_of("hyper=debug", &level), 0);
    assert_int_equal(level, LOG_WARN);
    static const char *const bad[] = { "", ",", "loud", "ai_memory=loud", "ai_memory=", "inf" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_int_equal(log_level_of(bad[i], &level), E_INVALID);
}

static size_t read_all(FILE *f, char *out, size_t size)
{
    rewind(f);
    size_t len = fread(out, 1, size - 1, f);
    out[len] = '\0';
    return len;
}

static void log_lines_go_to_the_file(void **state)
{
    (void)state;
    char text[4096];
    FILE *f = tmpfile();
    assert_non_null(f);
    log_start(f, LOG_WARN);
    log_info("net", "unseen");
    log_debug("net", "never kept");
    log_warn("net", "peer=%s forged\nline", "n1");
    log_error("store", "%02000d", 1);
    read_all(f, text, sizeof(text));
    assert_null(strstr(text, "unseen"));
    assert_non_null(strstr(text, "+00:00 WARN net: peer=n1 forged line\n"));
    assert_non_null(strstr(text, " ERROR store: 000"));
    assert_int_equal(text[strlen(text) - 1], '\n');
    fclose(f);
    f = tmpfile();
    assert_non_null(f);
    log_start(NULL, LOG_ERROR);
    log_dump(f);
    read_all(f, text, sizeof(text));
    assert_non_null(strstr(text, "INFO net: unseen\n"));
    assert_null(strstr(text, "never kept"));
    fclose(f);
}

static void log_keeps_the_last_lines(void **state)
{
    (void)state;
    static char text[65536];
    log_start(NULL, LOG_ERROR);
    for (int i = 0; i < 100; i++) log_info("area", "number %d.", i);
    FILE *f = tmpfile();
    assert_non_null(f);
    log_dump(f);
    read_all(f, text, sizeof(text));
    fclose(f);
    int lines = 0;
    for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++) lines++;
    assert_int_equal(lines, 64);
    assert_null(strstr(text, "number 35."));
    assert_true(strstr(text, "number 36.") < strstr(text, "number 99."));
}

static void failed_check_reports_and_aborts(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        log_start(NULL, LOG_ERROR);
        log_info("test", "just before");
        volatile int two = 2;
        CHECK(two == 3);
        _exit(0);
    }
    close(ends[1]);
    static char text[65536];
    size_t len = 0;
    ssize_t got;
    while (len < sizeof(text) - 1 && (got = read(ends[0], text + len, sizeof(text) - 1 - len)) > 0) len += (size_t)got;
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "check failed: two == 3"));
    assert_non_null(strstr(text, "test_base_err.c:"));
    assert_non_null(strstr(text, "INFO test: just before"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_consistent),
        cmocka_unit_test(messages_are_set_and_wrapped),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(log_levels_from_words),
        cmocka_unit_test(log_lines_go_to_the_file),
        cmocka_unit_test(log_keeps_the_last_lines),
        cmocka_unit_test(failed_check_reports_and_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
