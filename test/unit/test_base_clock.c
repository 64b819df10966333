/* Clocks and RFC 3339 text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "err.h"

static void texts_that_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text, *canonical;
    } table[] = {
        { "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000+00:00" },
        { "2026-01-02T03:04:05.123456+00:00", "2026-01-02T03:04:05.123456+00:00" },
        { "2026-01-02t03:04:05z", "2026-01-02T03:04:05.000000+00:00" },
        { "2026-01-02 03:04:05.5-00:00", "2026-01-02T03:04:05.500000+00:00" },
        { "2026-01-02T03:04:05.1234567899999999999999999999999Z", "2026-01-02T03:04:05.123456+00:00" },
        { "2026-01-02T03:04:05+05:30", "2026-01-01T21:34:05.000000+00:00" },
        { "2026-12-31T23:30:00-01:00", "2027-01-01T00:30:00.000000+00:00" },
        { "2026-01-02T03:04:05+23:59", "2026-01-01T03:05:05.000000+00:00" },
        { "2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999+00:00" },
        { "2016-12-31T23:59:60.25Z", "2016-12-31T23:59:59.999999+00:00" },
        { "2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000+00:00" },
        { "2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000000+00:00" },
        { "2024-03-01T00:00:00+01:00", "2024-02-29T23:00:00.000000+00:00" },
        { "1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999+00:00" },
        { "0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000000+00:00" },
        { "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999+00:00" },
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        int64_t us;
        char text[TIME_TEXT];
        assert_int_equal(time_parse(table[i].text, strlen(table[i].text), &us), 0);
        time_print(text, us);
        assert_string_equal(text, table[i].canonical);
    }
    int64_t us;
    assert_int_equal(time_parse("2001-09-09T01:46:40Z", 20, &us), 0);
    assert_true(us == INT64_C(1000000000000000));
}

static void texts_that_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "2026",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02T03:04Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2024-02-30T00:00:00Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T00:60:00Z",
        "2026-01-02T00:00:61Z",
        "2026-01-02T00:00:00.Z",
        "2026-01-02T00:00:00,5Z",
        "2026-01-02T00:00:00+24:00",
        "2026-01-02T00:00:00+01:60",
        "2026-01-02T00:00:00+0100",
        "2026-01-02T00:00:00+01",
        "2026-01-02T00:00:00 Z",
        "2026-01-02T00:00:00ZZ",
        " 2026-01-02T00:00:00Z",
        "2026-01-02X00:00:00Z",
        "2026-1-02T00:00:00Z",
        "+2026-01-02T00:00:00Z",
        "-026-01-02T00:00:00Z",
        "12026-01-02T00:00:00Z",
        "2026/01/02T00:00:00Z",
        "tomorrow",
        "0000-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t us = 42;
        assert_int_equal(time_parse(bad[i], strlen(bad[i]), &us), E_INVALID);
        assert_true(us == 42);
    }
    int64_t us;
    const char *good = "2026-01-02T03:04:05.123+01:00";
    for (size_t len = 0; len < strlen(good); len++) assert_int_equal(time_parse(good, len, &us), E_INVALID);
    assert_int_equal(time_parse("2026-01-02T03:04:05Z\0", 21, &us), E_INVALID);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
    return *seed >> 11 | *seed << 53;
}

/* What is printed reads back as the same microsecond, and agrees with the C library's calendar. */
static void print_and_parse_agree(void **state)
{
    (void)state;
    const int64_t first = INT64_C(-62167219200) * 1000000, last = INT64_C(253402300800) * 1000000 - 1;
    uint64_t seed = 7;
    for (int i = 0; i < 200000; i++) {
        int64_t us = first + (int64_t)(next_random(&seed) % (uint64_t)(last - first + 1));
        char text[TIME_TEXT];
        int64_t back;
        time_print(text, us);
        assert_int_equal(strlen(text), 32);
        assert_int_equal(time_parse(text, strlen(text), &back), 0);
        assert_true(us == back);
        if (i % 16 != 0) continue;
        time_t secs = (time_t)((us - ((us % 1000000) + 1000000) % 1000000) / 1000000);
        struct tm tm;
        char expected[32];
        gmtime_r(&secs, &tm);
        tm.tm_year += 1900;
        expected[0] = '\0';
        strftime(expected, sizeof(expected), "-%m-%dT%H:%M:%S.", &tm);
        assert_memory_equal(text + 4, expected, strlen(expected));
    }
}

static void every_day_follows_the_last(void **state)
{
    (void)state;
    char text[TIME_TEXT], before[TIME_TEXT] = "";
    for (int64_t day = -719528; day < 2932897; day++) {
        time_print(text, day * INT64_C(86400000000));
        assert_true(strcmp(before, text) < 0);
        memcpy(before, text, sizeof(text));
    }
    assert_string_equal(text, "9999-12-31T00:00:00.000000+00:00");
}

static void edges_are_clamped(void **state)
{
    (void)state;
    char text[TIME_TEXT];
    time_print(text, INT64_MIN);
    assert_string_equal(text, "0000-01-01T00:00:00.000000+00:00");
    time_print(text, INT64_MAX);
    assert_string_equal(text, "9999-12-31T23:59:59.999999+00:00");
}

static void clocks_can_be_moved(void **state)
{
    (void)state;
    int64_t real = clock_wall_us(NULL);
    assert_true(real > INT64_C(1700000000000000));
    struct clock c = { 0 };
    int64_t distance = clock_wall_us(&c) - real;
    assert_true(distance >= -60000000 && distance < 60000000);
    c.offset_us = INT64_C(86400000000);
    distance = clock_wall_us(&c) - real - c.offset_us;
    assert_true(distance >= -60000000 && distance < 60000000);
    c.frozen_us = 5;
    assert_true(clock_wall_us(&c) == 5);
    int64_t mono = clock_mono_us();
    assert_true(clock_mono_us() >= mono);
    assert_true(clock_mono_ms() >= mono / 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_that_are_read),   cmocka_unit_test(texts_that_are_refused),
        cmocka_unit_test(print_and_parse_agree), cmocka_unit_test(every_day_follows_the_last),
        cmocka_unit_test(edges_are_clamped),     cmocka_unit_test(clocks_can_be_moved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
