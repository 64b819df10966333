/* client.h - one outbound HTTP/1.1 connection: keep-alive, pipelined, answers in order. Loop thread only.
 *
 *   NEW ─client_connect─▶ CONNECTING ─▶ OPEN ─▶ CLOSED (the closed callback, once; then only client_free is allowed)
 *
 * https: CONNECTING ends with the handshake, in which the server's certificate is checked: trusted, of a valid date,
 * for this name or address. It has CLIENT_HANDSHAKE_MS beyond the time to connect.
 *
 * No redirects, no retries, no pool: whoever owns it decides. A request is answered by its callback exactly once: with
 * status 0 and an answer, or with an error when the connection ended first: all unanswered requests get the reason why
 * it ended, in their order: E_UNREACHABLE (refused, reset, closed by the server), E_TIMEOUT (of any of them),
 * E_PROTOCOL (no HTTP, bytes nobody asked for, TLS failed), E_TOO_LARGE (an answer over the cap), E_CANCELLED
 * (client_close). Every callback may call anything here, client_free included. The program must ignore SIGPIPE. */
#ifndef AIM_NET_CLIENT_H
#define AIM_NET_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "err.h"
#include "net/http.h"

#define CLIENT_HANDSHAKE_MS 2000

struct client;

struct client_answer {
    int status;                         /* HTTP status */
    const struct http_header *headers; size_t headers_count;   /* borrowed during the callback */
    const char *body; size_t body_len;  /* borrowed during the callback */
};
typedef void (*client_answer_cb)(void *data, int error, const struct client_answer *answer);
/* 0, E_UNREACHABLE (refused, no route, name not found), E_TIMEOUT, E_PROTOCOL (no TLS, certificate refused; by a server
 * that speaks TLS 1.3 ours is refused only after this), E_CANCELLED. */
typedef void (*client_connect_cb)(void *data, int error);
typedef void (*client_closed_cb)(void *data, int error);    /* once after a successful connect: why it ended */

struct client_options {
    size_t body_bytes_max;              /* of one answer */
    uint32_t connect_timeout_ms;        /* own timer; 0: none */
    bool nodelay;                       /* TCP_NODELAY */
    bool keepalive;                     /* keepalive 1 s/1 s/3 and TCP_USER_TIMEOUT 1500 ms as a backstop */
    uint32_t outstanding_max;           /* requests unanswered at a time; more: E_BUSY */
    struct tls_context *tls;            /* borrowed until it is freed; https needs it */
};

/* http[s]://host[:port][/prefix] taken apart: host in lower case, without brackets; prefix without a '/' at its end. */
struct client_url {
    bool tls;                           /* https */
    char host[256];
    uint16_t port;
    char prefix[256];
    char authority[288];                /* for the Host header */
};
/* User-info, query, fragment: E_INVALID. */
int client_url_parse(const char *url, struct client_url *ret, struct err *err);

/* Allocates and stores only; the options are copied, outstanding_max is at least 1. Always needs client_free. */
struct client *client_new(uv_loop_t *loop, const struct client_options *o);
/* Starts to connect (names are looked up on the pool; IPv4 is preferred). Once per client. The callback runs later,
 * once; `closed` (may be NULL) only after a successful one. */
void client_connect(struct client *c, const struct client_url *url, client_connect_cb cb, client_closed_cb closed,
                    void *data);
/* An error of a callback in words: why TLS failed, if that was it. c may be NULL; good until it is freed. */
const char *client_why(const struct client *c, int error);
bool client_open(const struct client *c);             /* connected, and not closing */
uint32_t client_outstanding(const struct client *c);  /* requests sent and not yet answered */
/* Sends a request. path is appended to the URL's prefix; headers and body are copied, unless body_owned (mem_alloc'ed,
 * taken over even on error) is given. timeout_ms: until the whole answer is there (0: none); then all ends.
 * progress: called at each 1xx line (may be NULL). 0, or E_BUSY / E_UNREACHABLE (not open) / E_INVALID (a blank or line
 * end in the path or a header): then no callback, and nothing was sent. */
struct client_request {
    const char *method, *path;
    const struct http_header *headers; size_t headers_count;
    const char *content_type;
    const void *body; size_t body_len; char *body_owned;
    uint32_t timeout_ms;
    client_answer_cb cb; void (*progress)(void *data); void *data;
};
int client_send(struct client *c, const struct client_request *q);
/* Bytes of requests that the other machine has not taken yet (TCP acknowledged): while they grow fewer, it is there,
 * however long an answer takes. */
size_t client_unsent(const struct client *c);
/* For how long no byte of an answer came that is waited for, 1xx lines among them; 0: none is waited for. */
uint64_t client_silent_ms(const struct client *c);
/* Ends the connection now; `abort` resets it (SO_LINGER 0: no TIME_WAIT). Outstanding requests get E_CANCELLED later,
 * then `closed` comes (before it was open: the connect callback). */
void client_close(struct client *c, bool abort);
/* Frees it at the earliest safe moment; closes first when needed; no callback of it runs after this call returns. */
void client_free(struct client *c);

#endif
