/* ascii_tokenizer.h - a raw tokenizer for tests without SQLite: runs of ASCII letters, digits and any non-ASCII
 * bytes, ASCII folded to lower case. For ASCII text the words are those of unicode61. */
#ifndef TEST_ASCII_TOKENIZER_H
#define TEST_ASCII_TOKENIZER_H

#include <ctype.h>
#include <string.h>

#include "memory/text.h"

static inline int ascii_each(const struct tokenizer *t, const char *text, size_t len, word_cb cb, void *data)
{
    (void)t;
    for (size_t at = 0; at < len;) {
        char word[1024];
        size_t n = 0, from = at;
        while (at < len && ((unsigned char)text[at] >= 0x80 || isalnum((unsigned char)text[at]))) {
            if (n < sizeof(word)) word[n++] = (char)tolower((unsigned char)text[at]);
            at++;
        }
        if (n > 0) {
            int rc = cb(data, word, n, from, at);
            if (rc != 0) return rc;
        } else {
            at++;
        }
    }
    return 0;
}

static const struct tokenizer ascii_tokenizer = { ascii_each };

#endif
