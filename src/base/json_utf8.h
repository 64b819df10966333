/* json_utf8.h - what reading and printing JSON share. */
#ifndef AIM_BASE_JSON_UTF8_H
#define AIM_BASE_JSON_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Length of the well-formed UTF-8 sequence at s (before end), 0 when there is none. Any thread. */
size_t json_utf8_sequence(const unsigned char *s, const unsigned char *end);
/* Whether all of the text is well formed. */
bool json_utf8_valid(const char *text, size_t len);
/* The first byte from s that a string literal cannot hold as it is (quote, backslash, control), or end; *ret_high:
 * whether any byte before it is beyond ASCII. */
const char *json_skip_plain(const char *s, const char *end, bool *ret_high);

#endif
