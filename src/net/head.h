/* head.h - gathers the header lines of one message, request or answer, as the parser hands them over in pieces. */
#ifndef AIM_NET_HEAD_H
#define AIM_NET_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "net/http.h"

#define HEAD_LINES_MAX 100
#define HEAD_KEEP_BYTES 4096 /* between messages a buffer up to this size is kept */

struct head {
    struct buf text;             /* what the owner put first, then name NUL value NUL ... */
    struct http_header *headers; /* owned; point into text; valid after head_index */
    uint32_t count, cap;
    size_t bytes, bytes_max; /* of names and values */
    size_t name_len;         /* of the line that has begun */
    bool indexed;            /* further lines are trailers: counted and dropped */
};

/* Stores only. first_max: bytes the owner may put before the first line. */
void head_init(struct head *h, size_t first_max, size_t bytes_max);
void head_reset(struct head *h);
void head_release(struct head *h);

/* A piece of a name (turned to lower case) or of a value, and the end of one. 0, E_TOO_LARGE or E_PROTOCOL: a name is
 * empty or no token (a blank before the colon is read by some as part of it, by others not: where two in a row differ,
 * one request can hide in another). */
int head_name(struct head *h, const char *at, size_t len);
int head_name_end(struct head *h);
int head_value(struct head *h, const char *at, size_t len);
int head_value_end(struct head *h); /* cuts trailing blanks */

/* How far the lines of a head have come; set to HEAD_BEFORE before its first byte. */
enum head_line { HEAD_BEFORE, HEAD_LINE, HEAD_LINE_END, HEAD_OVER };
/* Looks at the next raw bytes, up to the head's end. True: a line begins with a blank, so it continues the one before.
 * The parser joins such lines, others do not: a server must refuse them (RFC 9112, 5.2). */
bool head_folds(enum head_line *at, const char *data, size_t len);

/* All lines are there; they begin at offset `first` of text. 0 or E_PROTOCOL when names and values do not pair up. */
int head_index(struct head *h, size_t first);
/* First value of a lower-case name, or NULL. */
const char *head_find(const struct head *h, const char *lower_name);

#endif
