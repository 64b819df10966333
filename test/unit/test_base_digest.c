/* Digests, the table hash, secrets and ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/digest.h"
#include "base/id.h"

static const char *hex(const uint8_t *data, size_t len)
{
    static char text[129];
    hex_print(text, data, len);
    return text;
}

static void known_digests(void **state)
{
    (void)state;
    uint8_t out[32];
    sha256("", 0, out);
    assert_string_equal(hex(out, 32), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256(NULL, 0, out);
    assert_string_equal(hex(out, 32), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256("abc", 3, out);
    assert_string_equal(hex(out, 32), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, out);
    assert_string_equal(hex(out, 32), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    hmac_sha256(NULL, 0, NULL, 0, out);
    assert_string_equal(hex(out, 32), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    assert_string_equal(hex(out, 0), "");
}

static void chain_is_the_documented_digest(void **state)
{
    (void)state;
    static const uint64_t befores[] = { 0, 1, UINT64_C(0x0102030405060708), UINT64_MAX >> 1 };
    static const char body[] = "the body of an operation";
    for (size_t i = 0; i < ARRAY_LEN(befores); i++) {
        uint8_t joined[8 + sizeof(body)], digest[32];
        for (int j = 0; j < 8; j++) joined[j] = (uint8_t)(befores[i] >> (56 - 8 * j));
        memcpy(joined + 8, body, sizeof(body));
        sha256(joined, sizeof(joined), digest);
        uint64_t expected = 0;
        for (int j = 0; j < 8; j++) expected = expected << 8 | digest[j];
        assert_true(chain_next(befores[i], body, sizeof(body)) == (expected & (UINT64_MAX >> 1)));
    }
    assert_true(chain_next(1, NULL, 0) != chain_next(2, NULL, 0));
}

static int popcount(uint64_t v)
{
    return __builtin_popcountll(v);
}

/* Flipping any one bit of input or seed changes about half of the output; length counts too. */
static void hash_spreads(void **state)
{
    (void)state;
    uint8_t data[40] = { 0 };
    for (size_t len = 1; len <= sizeof(data); len++) {
        uint64_t base = hash64(data, len, 3);
        int flipped = 0, trials = 0;
        for (size_t bit = 0; bit < len * 8; bit++, trials++) {
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            int distance = popcount(base ^ hash64(data, len, 3));
            assert_in_range(distance, 8, 56);
            flipped += distance;
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_in_range(flipped / trials, 25, 39);
        assert_true(hash64(data, len - 1, 3) != base);
        assert_true(hash64(data, len, 4) != base);
    }
    assert_true(hash64("key", 3, 0) == hash64("key", 3, 0));
}

static void secrets_are_compared(void **state)
{
    (void)state;
    assert_int_equal(equal_secret("abc", 3, "abc", 3), 1);
    assert_int_equal(equal_secret("abc", 3, "abd", 3), 0);
    assert_int_equal(equal_secret("abc", 3, "ab", 2), 0);
    assert_int_equal(equal_secret("ab", 2, "abc", 3), 0);
    assert_int_equal(equal_secret("aaa", 3, "a", 1), 0);
    assert_int_equal(equal_secret("", 0, "", 0), 1);
    assert_int_equal(equal_secret("a", 1, NULL, 0), 0);
    assert_int_equal(equal_secret("\0", 1, NULL, 0), 0);
    assert_int_equal(equal_secret(NULL, 0, "a", 1), 0);
}

static void uuids(void **state)
{
    (void)state;
    char text[UUID_TEXT], other[UUID_TEXT];
    uint8_t hash[16];
    memset(hash, 0xff, sizeof(hash));
    uuid_from_hash(text, hash);
    assert_string_equal(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    for (int i = 0; i < 16; i++) hash[i] = (uint8_t)i;
    uuid_from_hash(text, hash);
    assert_string_equal(text, "00010203-0405-4607-8809-0a0b0c0d0e0f");
    for (int i = 0; i < 100; i++) {
        uuid_v4(text);
        uuid_v4(other);
        assert_string_not_equal(text, other);
        assert_int_equal(strlen(text), 36);
        assert_int_equal(strspn(text, "0123456789abcdef-"), 36);
        assert_int_equal(text[14], '4');
        assert_non_null(strchr("89ab", text[19]));
    }
    assert_true(random_u64() != random_u64());
    uint8_t bytes[300] = { 0 };
    random_bytes(bytes, sizeof(bytes));
    int zeros = 0;
    for (size_t i = 0; i < sizeof(bytes); i++) zeros += bytes[i] == 0;
    assert_true(zeros < 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_digests), cmocka_unit_test(chain_is_the_documented_digest),
        cmocka_unit_test(hash_spreads),  cmocka_unit_test(secrets_are_compared),
        cmocka_unit_test(uuids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
