/* answer.h - reads HTTP/1.1 answers out of bytes; knows no socket. */
#ifndef AIM_NET_ANSWER_H
#define AIM_NET_ANSWER_H

#include <llhttp.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "net/head.h"

enum answer_event {
    ANSWER_MORE,    /* all bytes taken, no end yet */
    ANSWER_INTERIM, /* a 1xx line ended */
    ANSWER_READY,   /* an answer ended: status, head, body are valid until the next feed */
    ANSWER_BAD,     /* no HTTP; nothing may be fed any more */
    ANSWER_LARGE    /* head or body over its cap; the same */
};

struct answer {
    int status;
    struct head head;
    const char *body; /* in the bytes fed last, or in body_buf */
    size_t body_len;
    bool keep_alive;
    llhttp_t parser; /* private from here */
    struct buf body_buf;
    size_t body_bytes_max;
    bool begun, is_head, complete, large;
};

void answer_init(struct answer *a, size_t body_bytes_max);
void answer_release(struct answer *a);
/* Reads up to the end of one message. is_head: it answers a HEAD request, so it has no body. ret_taken: bytes used. */
enum answer_event answer_feed(struct answer *a, const char *data, size_t len, bool is_head, size_t *ret_taken);
/* The connection ended: READY when that ends a body of unknown length, MORE between answers, BAD within one. */
enum answer_event answer_finish(struct answer *a);

#endif
