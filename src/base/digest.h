/* digest.h - SHA-256 and HMAC (OpenSSL), and a fast non-cryptographic hash for tables. Any thread. */
#ifndef AIM_BASE_DIGEST_H
#define AIM_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

void sha256(const void *data, size_t len, uint8_t out[32]);
void hmac_sha256(const void *key, size_t key_len, const void *data, size_t len, uint8_t out[32]);
void hex_print(char *out, const uint8_t *data, size_t len);        /* 2*len lower-case digits and a NUL */
/* The op log's chain: first 8 bytes (big endian) of SHA-256(before as 8 big-endian bytes, body), high bit cleared.
 * One-shot, about 1 us for 600 bytes. */
uint64_t chain_next(uint64_t before, const void *body, size_t len);
/* For tables and bucket sums; no integrity against adversaries. The same on every machine. */
uint64_t hash64(const void *data, size_t len, uint64_t seed);
/* 1 when equal; the time depends on a_len only. */
int equal_secret(const char *a, size_t a_len, const char *b, size_t b_len);

#endif
