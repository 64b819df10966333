/* digest.c - SHA-256, HMAC and the table hash.
 *
 * OpenSSL's one-shot SHA256() looks its algorithm up at each call, which costs more than hashing a small record. The
 * older Init/Update/Final calls do not; the next line keeps them free of deprecation warnings. */
#define OPENSSL_API_COMPAT 0x10100000L
#include "base/digest.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <string.h>

#include "base/check.h"

void sha256(const void *data, size_t len, uint8_t out[32])
{
    SHA256_CTX ctx;
    CHECK(SHA256_Init(&ctx) == 1);
    if (len > 0) CHECK(SHA256_Update(&ctx, data, len) == 1);
    CHECK(SHA256_Final(out, &ctx) == 1);
}

void hmac_sha256(const void *key, size_t key_len, const void *data, size_t len, uint8_t out[32])
{
    CHECK(key_len <= INT_MAX);
    unsigned out_len = 0;
    if (key == NULL) key = "";
    if (data == NULL) data = "";
    CHECK(HMAC(EVP_sha256(), key, (int)key_len, data, len, out, &out_len) != NULL && out_len == 32);
}

void hex_print(char *out, const uint8_t *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        *out++ = digits[data[i] >> 4];
        *out++ = digits[data[i] & 15];
    }
    *out = '\0';
}

uint64_t chain_next(uint64_t before, const void *body, size_t len)
{
    uint8_t head[8], digest[32];
    for (int i = 0; i < 8; i++) head[i] = (uint8_t)(before >> (56 - 8 * i));
    SHA256_CTX ctx;
    CHECK(SHA256_Init(&ctx) == 1);
    CHECK(SHA256_Update(&ctx, head, sizeof(head)) == 1);
    if (len > 0) CHECK(SHA256_Update(&ctx, body, len) == 1);
    CHECK(SHA256_Final(digest, &ctx) == 1);
    uint64_t next = 0;
    for (int i = 0; i < 8; i++) next = next << 8 | digest[i];
    return next & (UINT64_MAX >> 1);
}

__extension__ typedef unsigned __int128 wide;

static uint64_t fold(uint64_t a, uint64_t b)
{
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load_le(const uint8_t *p, size_t len)
{
    uint64_t v = 0;
    for (size_t i = 0; i < len; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* Written out, the compiler makes one load of it. */
static uint64_t load_word(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 | (uint64_t)p[4] << 32 |
           (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

/* Odd constants: the golden ratio and the fractional parts of square roots 2 and 3. Little-endian on every machine. */
uint64_t hash64(const void *data, size_t len, uint64_t seed)
{
    const uint64_t k0 = UINT64_C(0x9e3779b97f4a7c15), k1 = UINT64_C(0x6a09e667f3bcc909),
                   k2 = UINT64_C(0xbb67ae8584caa73b);
    const uint8_t *p = data;
    uint64_t h = fold(seed ^ k0, k1 ^ len);
    size_t left = len;
    for (; left >= 8; left -= 8, p += 8) h = fold(h ^ load_word(p) ^ k2, k0);
    if (left > 0) h = fold(h ^ load_le(p, left) ^ k1, k2);
    h ^= h >> 32;
    h *= k0;
    return h ^ h >> 29;
}

int equal_secret(const char *a, size_t a_len, const char *b, size_t b_len)
{
    if (b_len == 0) b = ""; /* one readable byte */
    size_t differ = a_len ^ b_len;
    for (size_t i = 0; i < a_len; i++) {
        size_t within = (size_t)0 - (size_t)(i < b_len);
        differ |= (unsigned char)a[i] ^ (unsigned char)b[i & within];
    }
    return differ == 0;
}
