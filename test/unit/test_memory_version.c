/* Op bodies: there and back, bounds, hostile bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "memory.h"
#include "repl/hlc.h"

static struct version samples[] = {
    { .kind = KIND_MEMORY,
      .ver = 77,
      .m = { .id = "id-1",
             .ns = "a/b",
             .title = "T\xc3\xbc",
             .content = "some text",
             .tags = "[\"x\"]",
             .source = "api",
             .metadata = "{}",
             .confidence = 0.25,
             .created_at = "2026-01-01T00:00:00Z",
             .updated_at = "2026-01-02T00:00:00Z",
             .last_accessed_at = "2026-01-03T00:00:00Z" },
      .own = { .tier = TIER_LONG,
               .priority = 7,
               .expires_at = "2027-01-01T00:00:00Z",
               .count_seen = 3,
               .count_base = 2,
               .base_ver = 5,
               .base_stream = 6 } },
    { .kind = KIND_TOMBSTONE,
      .ver = 78,
      .m = { .id = "id-1", .ns = "a/b", .title = "T" },
      .own = { .base_ver = 77, .base_stream = 9 } },
    { .kind = KIND_LINK, .ver = 79, .link = { "a", "b", "supersedes", "2026-01-01T00:00:00Z" } },
    { .kind = KIND_LINK_GONE, .ver = 80, .link = { "a", "b", "supersedes", NULL } },
    { .kind = KIND_TOUCH, .ver = 81, .touch = { "id-1", 42, 5, 1000, 2000, true } },
    { .kind = KIND_STANDARD, .ver = 82, .key = "a/b", .body = "\0\1\2", .body_len = 3 },
    { .kind = KIND_PENDING, .ver = 83, .key = "p", .body = "", .body_len = 0 },
    { .kind = KIND_ARCHIVE, .ver = 84, .key = "p", .body = "x", .body_len = 1 },
    { .kind = KIND_MEMBER, .ver = 85, .key = "", .body = "x", .body_len = 1 },
    { .kind = KIND_IDEM, .ver = 86, .key = "k", .body = "0123456789abcdef", .body_len = 16 },
};
#define SAMPLES (sizeof(samples) / sizeof(*samples))

static void encode(struct buf *b)
{
    buf_init(b, OP_BYTES_MAX + 100);
    assert_int_equal(op_encode(b, samples, SAMPLES), 0);
}

static void test_round_trip(void **state)
{
    struct buf b, again;
    struct arena a;
    struct version *v;
    size_t n;
    (void)state;
    arena_init(&a, 1 << 20);
    encode(&b);
    assert_int_equal(op_decode(b.data, b.len, &a, &v, &n), 0);
    assert_int_equal(n, SAMPLES);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(v[i].kind, samples[i].kind);
        assert_int_equal(v[i].raw_kind, samples[i].kind);
        assert_int_equal(v[i].ver, samples[i].ver);
    }
    assert_string_equal(v[0].m.title, samples[0].m.title);
    assert_string_equal(v[0].m.expires_at, "2027-01-01T00:00:00Z");
    assert_string_equal(v[0].m.last_accessed_at, "2026-01-03T00:00:00Z");
    assert_int_equal(v[0].m.tier, TIER_LONG);
    assert_int_equal(v[0].m.priority, 7);
    assert_int_equal(v[0].own.count_seen, 3);
    assert_int_equal(v[0].own.count_base, 2);
    assert_int_equal(v[0].own.base_stream, 6);
    assert_true(v[0].m.confidence > 0.2499 && v[0].m.confidence < 0.2501);
    assert_int_equal(v[1].own.base_ver, 77);
    assert_null(v[3].link.created_at);
    assert_int_equal(v[4].touch.expires_us, 2000);
    assert_true(v[4].touch.to_long);
    assert_memory_equal(v[5].body, "\0\1\2", 3);
    assert_string_equal(v[9].key, "k");
    buf_init(&again, OP_BYTES_MAX);
    assert_int_equal(op_encode(&again, v, n), 0);
    assert_int_equal(again.len, b.len);
    assert_memory_equal(again.data, b.data, b.len);
    buf_release(&again);
    buf_release(&b);
    arena_release(&a);
}

/* The bytes are on disk and on the wire for good: they may not change unnoticed. */
static void test_format_is_fixed(void **state)
{
    static const unsigned char wanted[] = { 1, 1,    0,   5,   0,   45, 0, 0, 0, 81,   0, 0, 0, 0, 0, 0, 0, 4, 0, 0,
                                            0, 'i',  'd', '-', '1', 42, 0, 0, 0, 0,    0, 0, 0, 5, 0, 0, 0, 0, 0, 0,
                                            0, 0xe8, 3,   0,   0,   0,  0, 0, 0, 0xd0, 7, 0, 0, 0, 0, 0, 0, 1 };
    struct buf b;
    (void)state;
    buf_init(&b, 1000);
    assert_int_equal(op_encode(&b, &samples[4], 1), 0);
    assert_int_equal((unsigned char)b.data[5], b.len - 9);
    unsigned char copy[sizeof(wanted)];
    memcpy(copy, wanted, sizeof(copy));
    copy[5] = (unsigned char)(sizeof(wanted) - 9);
    assert_int_equal(b.len, sizeof(copy));
    assert_memory_equal(b.data, copy, sizeof(copy));
    buf_release(&b);
}

static void test_held(void **state)
{
    struct buf b, again;
    struct arena a;
    struct version *v;
    size_t n;
    (void)state;
    arena_init(&a, 1 << 20);
    buf_init(&b, 1000);
    buf_init(&again, 1000);
    buf_u8(&b, 1);
    buf_u16(&b, 3);
    buf_u16(&b, 999); /* a kind of the future */
    buf_u32(&b, 10);
    buf_u64(&b, 12345);
    buf_put(&b, "zz", 2);
    buf_u16(&b, KIND_TOUCH); /* a known kind, unreadable */
    buf_u32(&b, 3);
    buf_put(&b, "abc", 3);
    buf_u16(&b, KIND_IDEM); /* a version beyond the clock's range */
    buf_u32(&b, 16);
    buf_u64(&b, HLC_MAX + 1);
    buf_text(&b, "");
    buf_blob(&b, "", 0);
    assert_int_equal(op_decode(b.data, b.len, &a, &v, &n), 0);
    assert_int_equal(n, 3);
    for (size_t i = 0; i < 3; i++) assert_int_equal(v[i].kind, 0);
    assert_int_equal(v[0].raw_kind, 999);
    assert_int_equal(v[0].ver, 12345);
    assert_int_equal(v[1].raw_kind, KIND_TOUCH);
    assert_int_equal(v[1].body_len, 3);
    assert_int_equal(op_encode(&again, v, n), 0);
    assert_int_equal(again.len, b.len);
    assert_memory_equal(again.data, b.data, b.len);
    buf_release(&again);
    buf_release(&b);
    arena_release(&a);
}

static int decode(const void *data, size_t len)
{
    struct arena a;
    struct version *v;
    size_t n;
    arena_init(&a, 64 << 20);
    int rc = op_decode(data, len, &a, &v, &n);
    arena_release(&a);
    return rc;
}

static void test_torn(void **state)
{
    struct buf b;
    (void)state;
    encode(&b);
    for (size_t len = 0; len < b.len; len++) {
        char *cut = malloc(len + 1); /* exactly as long: reading beyond is seen */
        memcpy(cut, b.data, len);
        assert_int_equal(decode(cut, len), E_PROTOCOL);
        free(cut);
    }
    buf_putc(&b, 'x');
    assert_int_equal(decode(b.data, b.len), E_PROTOCOL);
    b.data[0] = 2;
    assert_int_equal(decode(b.data, b.len - 1), E_PROTOCOL);
    buf_release(&b);
}

static void test_bounds(void **state)
{
    struct buf b;
    struct arena a;
    struct version *v, many = samples[4];
    size_t n;
    (void)state;
    buf_init(&b, OP_BYTES_MAX * 2);
    assert_int_equal(op_encode(&b, &many, OP_VERSIONS_MAX + 1), E_TOO_LARGE);
    char *big = malloc(OP_BYTES_MAX + 1);
    memset(big, 'x', OP_BYTES_MAX);
    struct version huge = { .kind = KIND_PENDING, .key = "k", .body = big, .body_len = OP_BYTES_MAX };
    assert_int_equal(op_encode(&b, &huge, 1), E_TOO_LARGE);
    assert_int_equal(decode(big, OP_BYTES_MAX + 1), E_PROTOCOL);
    free(big);
    buf_release(&b);
    encode(&b);
    arena_init(&a, b.len);
    assert_int_equal(op_decode(b.data, b.len, &a, &v, &n), E_TOO_LARGE);
    arena_release(&a);
    buf_release(&b);
}

static void test_out_of_bounds_values(void **state)
{
    struct version v = samples[0], *got;
    struct buf b;
    struct arena a;
    size_t n;
    (void)state;
    v.own.priority = 99;
    v.m.confidence = NAN;
    v.own.count_base = -4;
    buf_init(&b, 10000);
    arena_init(&a, 1 << 20);
    assert_int_equal(op_encode(&b, &v, 1), 0);
    assert_int_equal(op_decode(b.data, b.len, &a, &got, &n), 0);
    assert_int_equal(got->kind, KIND_MEMORY);
    assert_int_equal(got->m.priority, 10);
    assert_int_equal(got->own.count_base, 0);
    buf_release(&b);
    arena_release(&a);
}

static void test_hostile(void **state)
{
    uint64_t seed = 88172645463325252u;
    struct buf b;
    size_t decoded = 0;
    (void)state;
    encode(&b);
    char *copy = malloc(b.len);
    for (int run = 0; run < 100000; run++) {
        memcpy(copy, b.data, b.len);
        for (int i = 0; i < 1 + run % 4; i++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            copy[seed % b.len] = (char)(seed >> 40 & 3 ? seed >> 32 : 0xff);
        }
        int rc = decode(copy, b.len);
        assert_true(rc == 0 || rc == E_PROTOCOL);
        decoded += rc == 0;
    }
    assert_true(decoded > 1000); /* most changes hit one version: it alone is held */
    free(copy);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_format_is_fixed),
        cmocka_unit_test(test_held),       cmocka_unit_test(test_torn),
        cmocka_unit_test(test_bounds),     cmocka_unit_test(test_out_of_bounds_values),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
