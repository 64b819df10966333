/* conn.h - inside of the HTTP server: what http.c, conn.c, parse.c, reply.c and request.c share; nobody else's.
 *
 * http.c    listens, accepts, ticks, drains, closes          parse.c    llhttp callbacks: bytes to request
 * conn.c    the state machine of one connection              reply.c    answers to bytes
 * request.c what a handler reads of its request            head.c     header lines, shared with the client */
#ifndef AIM_NET_CONN_H
#define AIM_NET_CONN_H

#include <llhttp.h>
#include <time.h>

#include "base/buf.h"
#include "base/list.h"
#include "net/head.h"
#include "net/http.h"
#include "net/stream.h"

#define CONN_READ_BYTES 65536
#define CONN_LINGER_MS 2000 /* how long bytes are thrown away so that the last answer arrives */
#define CONN_TICK_MS 250

enum conn_state { CONN_HEAD, CONN_BODY, CONN_HANDLING, CONN_WRITING, CONN_LINGER, CONN_CLOSING };

/* Why the parser was made to stop. */
enum conn_stop {
    STOP_NONE,      /* it stopped by itself: malformed */
    STOP_FOLDED,    /* 400: a header line that goes on in the next */
    STOP_METHOD,    /* 405: well formed, but of a method the parser does not know */
    STOP_COMPLETE,  /* a whole request is there */
    STOP_ANSWERED,  /* the head callback answered, and the body will not be read */
    STOP_URL,       /* 414 */
    STOP_HEADERS,   /* 431 */
    STOP_TOO_LARGE, /* the body passed its cap */
    STOP_CROWDED,   /* 503: all bodies together passed theirs */
};

/* One waiting list per kind of deadline. Within a kind all waits are equally long, so each list is in order of
 * deadline by itself: arming is O(1), a tick looks at heads only. */
enum conn_wait { WAIT_HEADER, WAIT_BODY, WAIT_IDLE, WAIT_WRITE, WAIT_LINGER, WAIT_COUNT };

struct http_req {
    void *data;
    struct head head; /* the target, then the lines */
    const char *method, *path, *query;
    size_t url_len;
    size_t skipped; /* body bytes read and thrown away */
    char *body;     /* owned; NUL behind the end */
    size_t body_len, body_cap, body_max;
    uint64_t content_length;                            /* 0 when chunked */
    bool chunked, http10, keep_alive, is_head, expects; /* expects: asked for 100, not sent yet */
    bool skip_body, too_large;
    bool known;   /* a handler has seen it */
    bool replied; /* and has answered it */
};

struct conn {
    struct http_server *server;
    struct stream stream;
    llhttp_t parser;
    struct list link;  /* in server->conns */
    struct list timed; /* in server->waits[wait] */
    struct list ready; /* in server->ready: pipelined bytes wait for their turn */
    uint64_t deadline_ms;
    size_t unsent_seen; /* queue size when the write wait began: progress renews the wait */
    enum conn_state state;
    enum conn_stop stop;
    enum conn_wait wait;
    enum head_line line;
    bool parsing;       /* conn_parse is on the stack */
    bool started;       /* a byte of the present request has arrived */
    bool eof;           /* the client has half-closed */
    bool halted;        /* uv_read_stop was called: too much waits */
    bool discard;       /* further input is thrown away */
    bool last;          /* the connection ends after the present answer */
    bool refused;       /* the server answered by itself; a handler's answer comes too late */
    struct buf pending; /* input behind the present request */
    size_t pending_pos;
    char peer[64];
    struct http_req req;
};

struct http_server {
    uv_loop_t *loop;
    struct http_limits limits;
    struct http_handlers handlers;
    struct tls_context *tls; /* borrowed; NULL: plain connections */
    uv_tcp_t listener;
    uv_timer_t tick;
    uv_idle_t turn; /* runs once after http_server_drain and for the ready list */
    bool listening, draining, closing, ticking;
    int handles; /* open ones beside the connections' */
    uint32_t connections;
    uint64_t requests;
    size_t bodies_bytes; /* capacity of all bodies the connections hold */
    struct list conns, ready, waits[WAIT_COUNT];
    uint64_t wait_ms[WAIT_COUNT];
    struct buf always; /* ready header lines */
    struct buf answer; /* scratch: the answer being built */
    char date[96];     /* header line of the second date_s */
    time_t date_s;
    char *read_buf; /* owned; all connections read into it, what must stay is copied */
    void (*drained)(void *data);
    void *drained_data;
    void (*closed)(void *data);
    void *closed_data;
};

/* conn.c */
void conn_accept(struct http_server *s);                       /* takes one connection off the listener */
void conn_close(struct conn *c);                               /* now; freed in a later turn */
void conn_drain(struct conn *c);                               /* ends it when nothing is in flight */
void conn_expired(struct conn *c);                             /* its deadline has passed */
void conn_resume(struct conn *c);                              /* parses waiting bytes */
void conn_arm(struct conn *c, enum conn_wait wait);            /* waits from now; replaces an earlier wait */
void conn_answered(struct conn *c);                            /* the answer was handed to the socket */
void conn_refuse(struct conn *c, int status, const char *why); /* the server's own answer; the connection ends */

/* parse.c */
void parse_init(struct conn *c);

/* reply.c */
/* Builds an answer's head in server->answer. r may be NULL. */
void reply_build(struct http_server *s, const struct http_reply *p, const struct http_req *r, bool close);
void reply_refuse(struct conn *c, int status, const char *why);
void reply_interim(struct conn *c, const char *line);
void reply_header(struct buf *b, const char *name, const char *value);

/* request.c */
void request_init(struct http_req *r, const struct http_limits *l);
void request_reset(struct http_req *r, const struct http_limits *l); /* for the next one; keeps small buffers */
void request_release(struct http_req *r);
/* Room for `more` bytes of body (the growth is bounded by the cap and what the client announced). False: the bodies of
 * all connections take too much already. */
bool request_body_reserve(struct http_req *r, size_t more);
void request_body_drop(struct http_req *r);

/* http.c */
void http_server_forget(struct http_server *s, struct conn *c); /* the connection's handle is closed */
void http_server_turn(struct http_server *s);                   /* runs the ready list in the next turn of the loop */

#endif
