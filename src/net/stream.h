/* stream.h - one TCP connection as HTTP sees it, on both sides: plain bytes in, plain bytes out. TLS, where there is
 * any, is a link between here and the socket. Loop thread only.
 *
 *     HTTP ◀─ read ── stream ◀─ tls ◀─ uv_tcp        stream_write: what the socket takes goes out at once, the rest is
 *     HTTP ── stream_write ──▶ tls ─▶ out ─▶ uv_tcp   copied and queued in order */
#ifndef AIM_NET_STREAM_H
#define AIM_NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "net/out.h"
#include "net/tls.h"

struct stream;

/* All are called on the loop; each may call anything of stream.h, stream_close included. */
struct stream_events {
    void (*alloc)(struct stream *s, uv_buf_t *ret);      /* where the next plain bytes go */
    /* nread > 0: bytes, at data; UV_EOF: the other side has ended its part; UV_EPROTO: TLS failed (stream_why), what
     * still comes is thrown away until the end; else the connection is broken. */
    void (*read)(struct stream *s, ssize_t nread, const char *data);
    void (*opened)(struct stream *s);                    /* hands are shaken; never without TLS; may be NULL */
    void (*written)(struct stream *s, int status);       /* a queued piece left, or was lost (a uv error) */
    void (*closed)(struct stream *s);                    /* the last one: its memory may go */
};

struct stream {
    uv_tcp_t tcp;                        /* accept and connect by it */
    uv_shutdown_t shutdown;
    struct out out;
    const struct stream_events *on;
    struct tls *tls;                     /* owned; NULL: plain */
    size_t unasked;                      /* bytes queued that nobody but TLS itself wanted to write */
    bool reading, delivering, opened;
    bool ended;                          /* their close_notify came */
    bool failed;                         /* TLS failed */
};

/* tls: taken over; NULL for a plain connection. */
void stream_init(struct stream *s, uv_loop_t *loop, struct tls *tls, const struct stream_events *on);
/* Begins to read, and to shake hands; goes on after a stop. With TLS the events may come from inside this call. 0, or
 * E_UNREACHABLE. */
int stream_read_start(struct stream *s);
void stream_read_stop(struct stream *s);
/* Writes head, then body (either may be empty). head is borrowed; body is borrowed unless `owned` is given, which body
 * then lies in: it is taken over, errors included. 0: written, or queued when stream_queued is not 0; E_UNREACHABLE:
 * the connection is broken, or hands are not shaken yet. */
int stream_write(struct stream *s, const char *head, size_t head_len, const char *body, size_t body_len, char *owned);
bool stream_queued(const struct stream *s);
size_t stream_unsent(const struct stream *s);            /* bytes queued */
bool stream_ready(const struct stream *s);               /* it may be written to */
const char *stream_why(const struct stream *s);          /* what TLS failed for; "" */
/* Ends our part behind what is queued; reading goes on. 0 or E_UNREACHABLE. */
int stream_shutdown(struct stream *s);
/* Ends it now, once; what is queued is lost. reset: no TIME_WAIT, no farewell. `closed` comes later. */
void stream_close(struct stream *s, bool reset);

#endif
