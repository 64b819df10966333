/* utf8.h - stepping through UTF-8, and the few classes of characters the rules and the tokenizer ask about. Pure. */
#ifndef AIM_MEMORY_UTF8_H
#define AIM_MEMORY_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The code point at *p, which moves behind it; *p < end. A byte that begins no well-formed character is U+FFFD, one
 * byte long. */
static inline uint32_t utf8_next(const char **p, const char *end)
{
    const unsigned char *s = (const unsigned char *)*p;
    size_t left = (size_t)(end - *p);
    uint32_t c = s[0];
    size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;

    *p += 1;
    if (n == 1) return c;
    if (n == 0 || n > left) return 0xfffd;
    c &= 0x7fu >> n;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0xfffd;
        c = c << 6 | (s[i] & 0x3fu);
    }
    *p += n - 1;
    return c;
}

/* The code point that ends at *p, which moves to where it begins; begin < *p. What utf8_next finds on its way there. */
static inline uint32_t utf8_before(const char **p, const char *begin)
{
    const char *end = *p;
    for (const char *s = end; s > begin && end - s < 4;) {
        const char *next = --s;
        if (((unsigned char)*s & 0xc0) == 0x80) continue;
        uint32_t c = utf8_next(&next, end);
        if (next != end) break;
        *p = s;
        return c;
    }
    *p = end - 1;
    return 0xfffd;
}

/* Unicode category Cc. */
static inline bool utf8_is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

/* Unicode property White_Space. */
static inline bool utf8_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Format characters no reader sees: a query is freed of them before it is taken apart. */
static inline bool utf8_is_invisible(uint32_t c)
{
    return (c >= 0x200b && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) || (c >= 0x2060 && c <= 0x2064) ||
           (c >= 0x2066 && c <= 0x2069) || c == 0xfeff || c == 0xad || c == 0x34f || c == 0x61c || c == 0x180e ||
           (c >= 0xfe00 && c <= 0xfe0f);
}

/* Han, kana, Hangul: written without blanks between words. */
static inline bool utf8_is_cjk(uint32_t c)
{
    if (c < 0x1100) return false;
    return c < 0x1200 || (c >= 0x2e80 && c < 0x2fe0) || (c >= 0x3005 && c <= 0x3007) || (c >= 0x3021 && c <= 0x3035) ||
           (c >= 0x3041 && c < 0x3100) || (c >= 0x3131 && c < 0x3190) || (c >= 0x31f0 && c < 0x3200) ||
           (c >= 0x3400 && c < 0x4dc0) || (c >= 0x4e00 && c < 0xa000) || (c >= 0xa960 && c < 0xa980) ||
           (c >= 0xac00 && c < 0xd800) || (c >= 0xf900 && c < 0xfb00) || (c >= 0xff66 && c < 0xffdd) ||
           (c >= 0x1b000 && c < 0x1b170) || (c >= 0x20000 && c < 0x40000);
}

#endif
