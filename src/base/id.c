/* id.c - random numbers and UUIDs. */
#include "base/id.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"

void random_bytes(void *out, size_t len)
{
    char *p = out;
    while (len > 0) {
        ssize_t got = getrandom(p, len, 0);
        if (got < 0) {
            CHECK(errno == EINTR);
            continue;
        }
        p += got;
        len -= (size_t)got;
    }
}

uint64_t random_u64(void)
{
    uint64_t v;
    random_bytes(&v, sizeof(v));
    return v;
}

void uuid_v4(char out[UUID_TEXT])
{
    uint8_t bytes[16];
    random_bytes(bytes, sizeof(bytes));
    uuid_from_hash(out, bytes);
}

void uuid_from_hash(char out[UUID_TEXT], const uint8_t hash[16])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[16];
    memcpy(bytes, hash, sizeof(bytes));
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    char *p = out;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *p++ = '-';
        *p++ = digits[bytes[i] >> 4];
        *p++ = digits[bytes[i] & 15];
    }
    *p = '\0';
}
