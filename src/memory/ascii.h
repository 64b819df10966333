/* ascii.h - text of ASCII signs only is taken apart here, as unicode61 does it and many times faster: ranking reads
 * hundreds of texts for one query. Private to text.c and score.c. */
#ifndef AIM_MEMORY_ASCII_H
#define AIM_MEMORY_ASCII_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The byte of a word, in lower case; 0: between words. */
extern const unsigned char ascii_fold[256];

static inline bool ascii_only(const char *text, size_t len)
{
    uint64_t any = 0, eight;
    size_t i = 0;

    for (; i + sizeof(eight) <= len; i += sizeof(eight)) {
        memcpy(&eight, text + i, sizeof(eight));
        any |= eight;
    }
    for (; i < len; i++) any |= (unsigned char)text[i];
    return (any & UINT64_C(0x8080808080808080)) == 0;
}

/* The next word at or behind *p: moves *p behind it and returns where it begins; NULL: there is none. */
static inline const unsigned char *ascii_word(const unsigned char **p, const unsigned char *end)
{
    const unsigned char *at = *p, *from;

    while (at < end && ascii_fold[*at] == 0) at++;
    from = at;
    while (at < end && ascii_fold[*at] != 0) at++;
    *p = at;
    return from < at ? from : NULL;
}

#endif
