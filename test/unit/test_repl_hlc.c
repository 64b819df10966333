/* The clock: never falls, maps to times and back, is not dragged along. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "memory.h"
#include "repl/hlc.h"

#define NOW INT64_C(1767225600123456)

static void test_times(void **state)
{
    (void)state;
    assert_int_equal(hlc_us(hlc_of_us(NOW)), NOW);
    assert_int_equal(hlc_of_us(-5), 0);
    assert_int_equal(hlc_of_us(INT64_MAX), HLC_MAX);
    assert_true(hlc_of_us(NOW) < hlc_of_us(NOW + 1));
    assert_int_equal(hlc_us((UINT64_C(5) << 16) + (1001 << 6)), 5999); /* a counter that ran over */
    uint64_t seed = 1;
    for (int i = 0; i < 100000; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        uint64_t ver = seed & HLC_MAX;
        assert_int_equal(hlc_us(ver), stamp_us(ver));
        assert_true(hlc_us(ver) <= hlc_us(ver + 1));
        int64_t us = (int64_t)(seed >> 12);
        assert_int_equal(hlc_us(hlc_of_us(us)), us);
    }
}

static void test_next(void **state)
{
    struct hlc h = { 0 };
    (void)state;
    uint64_t a = hlc_next(&h, NOW, 0);
    assert_int_equal(a, hlc_of_us(NOW));
    assert_int_equal(hlc_next(&h, NOW, 0), a + 1);
    assert_int_equal(hlc_next(&h, NOW - 7200000000, 0), a + 2); /* set back: it goes on */
    assert_int_equal(hlc_next(&h, NOW - 7200000000, 0), a + 3);
    assert_int_equal(hlc_next(&h, NOW, a + 100), a + 101); /* whoever saw a row beats it */
    assert_int_equal(hlc_next(&h, NOW, 0), a + 102);
    assert_int_equal(hlc_next(&h, NOW + 1000, a), hlc_of_us(NOW + 1000));
}

static void test_far_future(void **state)
{
    struct hlc h = { 0 };
    uint64_t far = hlc_of_us(NOW + INT64_C(86400000000) * 365), limit = hlc_of_us(NOW + HLC_AHEAD_MAX_MS * 1000);
    (void)state;
    assert_int_equal(hlc_next(&h, NOW, far), far + 1);
    assert_int_equal(h.last, limit);
    assert_int_equal(hlc_next(&h, NOW, HLC_MAX), HLC_MAX);
    assert_true(hlc_next(&h, NOW, 0) > limit);
    assert_true(hlc_next(&h, NOW, 0) < far);
}

static void test_follow(void **state)
{
    struct hlc h = { 0 };
    uint64_t near = hlc_of_us(NOW + 1000000), far = hlc_of_us(NOW + 3600000000);
    (void)state;
    assert_true(hlc_follow(&h, near, NOW));
    assert_int_equal(h.last, near);
    assert_true(hlc_follow(&h, hlc_of_us(NOW), NOW));
    assert_int_equal(h.last, near);
    assert_false(hlc_follow(&h, far, NOW));
    assert_int_equal(h.last, hlc_of_us(NOW + HLC_AHEAD_MAX_MS * 1000));
    assert_int_equal(hlc_next(&h, NOW, 0), hlc_of_us(NOW + HLC_AHEAD_MAX_MS * 1000) + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_next),
        cmocka_unit_test(test_far_future),
        cmocka_unit_test(test_follow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
