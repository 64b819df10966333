/* out.h - the writing half of a connection (server and client): what the socket takes goes out at once, the rest is
 * copied and queued in order. Loop thread only. */
#ifndef AIM_NET_OUT_H
#define AIM_NET_OUT_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct out;
/* A queued piece left (status 0) or was lost (a uv error); out->queued is already counted down. */
typedef void (*out_done_cb)(struct out *o, int status);

struct out {
    uv_stream_t *stream; /* borrowed: lives as long as the connection around it */
    uint32_t queued;     /* pieces libuv still holds; their callbacks come before that of uv_close */
    out_done_cb done;
};

/* Stores only. */
void out_init(struct out *o, uv_stream_t *stream, out_done_cb done);
/* Writes head, then body (either may be empty). head is borrowed; body is borrowed unless `owned` is given, which body
 * then lies in: it is taken over, errors included, and freed by mem_free once written. 0: written, or queued when
 * out->queued is not 0; E_UNREACHABLE: the connection is broken. */
int out_write(struct out *o, const char *head, size_t head_len, const char *body, size_t body_len, char *owned);
/* Bytes queued and not yet written. */
size_t out_unsent(const struct out *o);

#endif
