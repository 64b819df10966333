/* http.h - HTTP/1.1 server on libuv and llhttp. Loop thread only.
 *
 *   ACCEPTED ─bytes─▶ HEAD ─headers─▶ BODY ─end─▶ HANDLING (parser paused) ─reply written─▶ HEAD … (keep-alive)
 *   any state ─error, time-out, drain with nothing in flight─▶ CLOSING ─▶ freed
 *
 * One request of a connection is in flight; pipelined bytes wait, and reading stops when more than 64 KiB of them wait.
 * The handler is called once per complete request and answers once, now or later, by http_reply; the next pipelined
 * request is never handled from inside http_reply, but in a later turn of the loop. The request object belongs to the
 * connection; it is valid until http_reply (or until the gone callback, when the client went away). A client that only
 * half-closes still gets its answer; `gone` comes after errors, resets, time-outs of the body and http_server_close.
 * With TLS all this stands as it is: shaking hands falls under the time for the headers, and a client whose hands
 * cannot be shaken gets no answer but TLS's alert. The program must ignore SIGPIPE. */
#ifndef AIM_NET_HTTP_H
#define AIM_NET_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "err.h"

struct http_server;
struct http_req;
struct tls_context;

struct http_header { const char *name, *value; };   /* name in lower case */

struct http_limits {
    size_t header_bytes_max;       /* 65536: more is 431 */
    size_t url_bytes_max;          /* 65534: more is 414 */
    size_t body_bytes_max;         /* default cap; a route may say otherwise in the head callback */
    size_t bodies_bytes_max;       /* 256 MiB: of all bodies being read or handled; then those over 16 KiB are 503 */
    uint32_t connections_max;      /* 10000: beyond, accept and close after a bare 503 */
    uint32_t header_timeout_ms;    /* 10000: from the first byte (or accept) to the end of the headers: 408 and close */
    uint32_t body_timeout_ms;      /* 30000 without a byte of the body: 408 and close */
    uint32_t idle_timeout_ms;      /* 75000 between requests: close */
    uint32_t write_timeout_ms;     /* 30000 without progress of an answer: reset */
    size_t pipeline_bytes_max;     /* 65536 */
};
void http_limits_default(struct http_limits *l);

struct http_reply {
    int status;
    const char *content_type;                /* NULL: no content-type */
    const struct http_header *headers;       /* further headers; copied */
    size_t headers_count;
    const void *body; size_t body_len;       /* copied unless body_owned */
    char *body_owned;                        /* mem_alloc'ed; taken over, body/body_len then describe it */
    bool close;                              /* end the connection after this answer */
};

/* What the server asks of the layer above. */
struct http_handlers {
    void *data;
    /* The headers are complete (method, path, query, headers readable; no body yet). May refuse before the body is
     * read by calling http_reply here (then `request` is not called; the body is drained up to the cap or the
     * connection closed), or set the body cap of this request by http_body_max, or http_body_skip. With
     * `Expect: 100-continue`, 100 is sent after this returns un-replied. NULL: none. */
    void (*head)(void *data, struct http_req *req);
    /* The request is complete, or its body was too large: see http_body_too_large. */
    void (*request)(void *data, struct http_req *req);
    /* The client went away before the answer: the last call for this req. NULL: none. */
    void (*gone)(void *data, struct http_req *req);
    /* Renders an error the server itself detects (400 malformed, 408, 414, 431, 413, 503) into a reply body, which is
     * copied at once; the status stays. NULL: empty body. */
    void (*error_body)(void *data, int status, const char *text, struct http_reply *out);
    /* Extra headers put on every answer (may be empty). */
    const struct http_header *always; size_t always_count;
};

/* Allocates and stores only. limits and handlers are copied. */
struct http_server *http_server_new(uv_loop_t *loop, const struct http_limits *limits, const struct http_handlers *h);
/* Every connection speaks TLS. Before http_server_listen; borrowed until the server is freed. */
void http_server_tls(struct http_server *s, struct tls_context *tls);
/* Binds and listens, once; resolves names synchronously; port 0 picks one. ret_port (may be NULL): the port really
 * bound. 0, E_INVALID or E_IO with text. */
int http_server_listen(struct http_server *s, const char *host, uint16_t port, uint16_t *ret_port, struct err *err);
/* Stops accepting; idle connections close at once, busy ones after their answer (which says Connection: close). */
void http_server_drain(struct http_server *s, void (*drained)(void *data), void *data);
/* Closes everything now; `closed` runs when the last handle is gone, then the server is freed. Always needed. */
void http_server_close(struct http_server *s, void (*closed)(void *data), void *data);
uint32_t http_server_connections(const struct http_server *s);
uint64_t http_server_requests(const struct http_server *s);

const char *http_method(const struct http_req *r);          /* "GET" */
/* Raw, still percent-encoded, without query and fragment; starts with '/', or is "*". */
const char *http_path(const struct http_req *r);
const char *http_query(const struct http_req *r);           /* raw text behind '?', or NULL */
const char *http_header(const struct http_req *r, const char *lower_name);   /* first value, or NULL */
const struct http_header *http_headers(const struct http_req *r, size_t *ret_count);
const char *http_peer_address(const struct http_req *r);
/* The body: borrowed until the reply. http_body_take moves it out (mem_free). */
const char *http_body(const struct http_req *r, size_t *ret_len);
char *http_body_take(struct http_req *r, size_t *ret_len);
void http_body_max(struct http_req *r, size_t max);         /* in the head callback */
/* In the head callback: a body of any size is read and thrown away. */
void http_body_skip(struct http_req *r);
/* In the request callback: the body hit its cap and was dropped; the connection closes after the reply. */
bool http_body_too_large(const struct http_req *r);
void http_data_set(struct http_req *r, void *data);         /* the handler's own pointer */
void *http_data(const struct http_req *r);

/* Answers. HEAD: the body is dropped, content-length kept. Must be called exactly once unless `gone` came. */
void http_reply(struct http_req *r, const struct http_reply *reply);
/* Sends an interim 102 line (nothing when the client is HTTP/1.0). May repeat. */
void http_reply_progress(struct http_req *r);

/* Percent-decodes into dst (size at least len + 1) and ends it with a NUL; plus: '+' is a blank. Bad escapes stay as
 * they are. Returns the length; %00 may put a NUL into the text. */
size_t http_percent_decode(char *dst, const char *src, size_t len, bool plus);

#endif
