/* bytes.h - eight bytes of text in one look, for loops whose usual byte needs nothing. Each test is exact about whether
 * there is such a byte, not about which (Warren, Hacker's Delight, 6-1). */
#ifndef AIM_BASE_BYTES_H
#define AIM_BASE_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define BYTES_EACH(c) (UINT64_C(0x0101010101010101) * (c))

/* s has eight bytes at least. */
static inline uint64_t bytes_load(const char *s)
{
    uint64_t x;
    memcpy(&x, s, sizeof(x));
    return x;
}

static inline bool bytes_high(uint64_t x)
{
    return (x & BYTES_EACH(0x80)) != 0;
}

/* n: 1 to 128. */
static inline bool bytes_below(uint64_t x, uint8_t n)
{
    return ((x - BYTES_EACH(n)) & ~x & BYTES_EACH(0x80)) != 0;
}

static inline bool bytes_have(uint64_t x, uint8_t c)
{
    return bytes_below(x ^ BYTES_EACH(c), 1);
}

#endif
