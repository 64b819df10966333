/* net_kit.h - loopback test bench of src/net: a server with a few telling paths, raw connections to it, and a listener
 * that answers what a test tells it to. All on one loop; waits are conditions with a deadline (KIT_UNTIL).
 *
 * With KIT_TLS in the environment all of it goes through TLS: whatever holds for a plain connection holds there.
 *
 * The server answers "METHOD PATH[?QUERY] BODY" but for these paths: /hold (kept in `held`, the test answers), /refuse
 * (415 from the head callback), /skip (body thrown away), /cap16 (body cap 16), /big (`big` bytes of 'x'), /close. */
#ifndef AIM_TEST_NET_KIT_H
#define AIM_TEST_NET_KIT_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <uv.h>

#include "base/buf.h"
#include "cert_kit.h"
#include "net/answer.h"
#include "net/http.h"
#include "net/tls.h"

#define KIT_HELD_MAX 16
#define KIT_ANSWERS_MAX 256

struct kit {
    uv_loop_t loop;
    bool secure; /* by TLS */
    struct certs certs;
    struct tls_context *tls_server, *tls_client; /* NULL: plain */
    uv_timer_t pulse; /* wakes the loop, so that deadlines are seen */
    struct http_server *server;
    struct http_limits limits;
    uint16_t port;
    struct http_req *held[KIT_HELD_MAX];
    int held_count;
    size_t big;
    int gone, drained, closed;
    char peer[64], header[64]; /* what /echo-like paths saw: peer address, first x-test header */
};

/* What is between a test's bytes and its socket. */
struct kit_link {
    struct tls *tls; /* NULL: nothing */
    bool farewell; /* the other side has said that it ends */
    struct buf early; /* written before hands are shaken */
};

struct raw {
    uv_tcp_t tcp;
    struct kit_link link;
    uv_connect_t connect;
    struct answer parser;
    struct buf in;
    int statuses[KIT_ANSWERS_MAX]; /* of the first ones */
    char *bodies[KIT_ANSWERS_MAX];
    int count, interims;
    bool heads; /* answers belong to HEAD requests */
    bool open, eof, reset, bad, closed;
};

/* Starts a server with k->limits (set by http_limits_default and `tune`, which may be NULL). */
void kit_start(struct kit *k, void (*tune)(struct http_limits *l));
/* The same by TLS, whatever the environment says. */
void kit_start_tls(struct kit *k, void (*tune)(struct http_limits *l));
/* Another server in the place of the present one, on another port. */
void kit_serve_tls(struct kit *k, struct tls_context *tls);
/* Closes the server and waits for it. */
void kit_close(struct kit *k);
/* Closes the server (if it is still there) and the loop; asserts that nothing is left. */
void kit_stop(struct kit *k);
/* Answers a held request with 200 and its number as text. */
void kit_answer(struct kit *k, int held);
/* Runs the loop once; false when the deadline has passed. */
bool kit_turn(struct kit *k, uint64_t deadline_ms);
#define KIT_UNTIL(k, cond) \
    do { \
        uint64_t until_ms = uv_now(&(k)->loop) + 20000; \
        while (!(cond)) { \
            if (!kit_turn((k), until_ms)) fail_msg("deadline passed: %s", #cond); \
        } \
    } while (0)

void raw_open(struct kit *k, struct raw *r);              /* connects and waits for it */
void raw_connect(struct kit *k, struct raw *r);           /* connects only */
void raw_send(struct raw *r, const char *data, size_t len); /* copies */
void raw_puts(struct raw *r, const char *text);
void raw_end(struct raw *r);                              /* ends our half */
void raw_pause(struct raw *r, bool pause);                /* stops reading */
void raw_abort(struct raw *r);                            /* by a reset */
void raw_close(struct kit *k, struct raw *r);             /* and waits for it; frees what it holds */
/* Sends text on a connection of its own, waits for its end, returns the status of the only answer (0: none). */
int raw_ask(struct kit *k, const char *text, size_t len);

/* A listener and its first accepted connection. */
struct puppet {
    uv_tcp_t listener, tcp;
    struct kit_link link;
    uint16_t port;
    struct buf in;
    int accepted, closed;
    bool eof, reset;
    bool rude; /* hangs up without TLS's farewell */
};
void puppet_start(struct kit *k, struct puppet *p);
void puppet_puts(struct puppet *p, const char *text);
void puppet_hang_up(struct puppet *p);
void puppet_stop(struct kit *k, struct puppet *p);

#endif
