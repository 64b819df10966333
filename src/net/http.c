/* http.c - the server around the connections: listening, limits, the tick, drain and close.
 *
 * Owns every connection through `conns`. Closing is counted: the server's own handles and the connections; the last of
 * them to go calls `closed` and frees the server. */
#include "net/http.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "net/conn.h"

#define ANSWER_BYTES_MAX (1024 * 1024) /* of heads and inline bodies we build: larger is a bug of ours */
#define BACKLOG 4096

void http_limits_default(struct http_limits *l)
{
    *l = (struct http_limits){
        .header_bytes_max = 65536,
        .url_bytes_max = 65534,
        .body_bytes_max = 2 * 1024 * 1024,
        .bodies_bytes_max = 256u << 20,
        .connections_max = 10000,
        .header_timeout_ms = 10000,
        .body_timeout_ms = 30000,
        .idle_timeout_ms = 75000,
        .write_timeout_ms = 30000,
        .pipeline_bytes_max = 65536,
    };
}

static void settle_drain(struct http_server *s)
{
    if (!s->draining || s->closing || s->connections > 0 || s->drained == NULL) return;
    void (*drained)(void *data) = s->drained;
    s->drained = NULL;
    drained(s->drained_data);
}

static void turn_cb(uv_idle_t *h)
{
    struct http_server *s = h->data;
    struct list now;
    uv_idle_stop(h);
    list_init(&now);
    list_splice_tail(&now, &s->ready); /* those that become ready meanwhile have their turn next time */
    struct list *node;
    while ((node = list_pop_head(&now)) != NULL) conn_resume(container_of(node, struct conn, ready));
    settle_drain(s); /* may close the server, never frees it at once */
}

void http_server_turn(struct http_server *s)
{
    if (!s->closing) uv_idle_start(&s->turn, turn_cb);
}

static void tick_cb(uv_timer_t *t)
{
    struct http_server *s = t->data;
    uint64_t now = uv_now(s->loop);
    for (int i = 0; i < WAIT_COUNT; i++) {
        while (!list_empty(&s->waits[i])) {
            struct conn *c = container_of(s->waits[i].next, struct conn, timed);
            if (c->deadline_ms > now) break;
            conn_expired(c);
        }
    }
}

struct http_server *http_server_new(uv_loop_t *loop, const struct http_limits *limits, const struct http_handlers *h)
{
    struct http_server *s = mem_alloc(sizeof *s);
    s->loop = loop;
    s->limits = *limits;
    s->handlers = *h;
    s->handlers.always = NULL;
    list_init(&s->conns);
    list_init(&s->ready);
    for (int i = 0; i < WAIT_COUNT; i++) list_init(&s->waits[i]);
    s->wait_ms[WAIT_HEADER] = limits->header_timeout_ms;
    s->wait_ms[WAIT_BODY] = limits->body_timeout_ms;
    s->wait_ms[WAIT_IDLE] = limits->idle_timeout_ms;
    s->wait_ms[WAIT_WRITE] = limits->write_timeout_ms;
    s->wait_ms[WAIT_LINGER] = CONN_LINGER_MS;
    buf_init(&s->always, ANSWER_BYTES_MAX);
    buf_init(&s->answer, ANSWER_BYTES_MAX);
    for (size_t i = 0; i < h->always_count; i++) reply_header(&s->always, h->always[i].name, h->always[i].value);
    CHECK(uv_timer_init(loop, &s->tick) == 0 && uv_idle_init(loop, &s->turn) == 0);
    s->tick.data = s->turn.data = s;
    s->handles = 2;
    return s;
}

void http_server_tls(struct http_server *s, struct tls_context *tls)
{
    CHECK(!s->listening);
    s->tls = tls;
}

static void handle_closed(struct http_server *s)
{
    if (s->handles > 0 || s->connections > 0 || !s->closing) return;
    CHECK(list_empty(&s->conns) && list_empty(&s->ready) && s->bodies_bytes == 0);
    void (*closed)(void *data) = s->closed;
    void *data = s->closed_data;
    buf_release(&s->always);
    buf_release(&s->answer);
    mem_free(s->read_buf);
    mem_free(s);
    if (closed != NULL) closed(data);
}

static void handle_closed_cb(uv_handle_t *h)
{
    struct http_server *s = h->data;
    s->handles--;
    handle_closed(s);
}

void http_server_forget(struct http_server *s, struct conn *c)
{
    CHECK(s->connections > 0);
    list_remove(&c->link);
    s->connections--;
    if (s->connections == 0 && s->ticking) {
        s->ticking = false;
        uv_timer_stop(&s->tick);
    }
    settle_drain(s);
    handle_closed(s);
}

static void connection_cb(uv_stream_t *listener, int status)
{
    struct http_server *s = listener->data;
    if (status < 0) return; /* that one is lost; the listener goes on */
    if (s->read_buf == NULL) s->read_buf = mem_realloc(NULL, CONN_READ_BYTES);
    conn_accept(s);
    if (!s->ticking && !s->closing && s->connections > 0) {
        s->ticking = true;
        uv_timer_start(&s->tick, tick_cb, CONN_TICK_MS, CONN_TICK_MS);
    }
}

/* host without the brackets of an IPv6 literal; empty: every address. */
static int resolve(struct http_server *s, const char *host, uint16_t port, uv_getaddrinfo_t *req, struct err *err)
{
    char name[256], service[8];
    size_t len = strlen(host);
    if (len > 1 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    }
    if (len >= sizeof name) return err_set(err, E_INVALID, "host name too long");
    memcpy(name, host, len);
    name[len] = '\0';
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    int r = uv_getaddrinfo(s->loop, req, NULL, len > 0 ? name : NULL, service, &hints);
    return r == 0 ? 0 : err_set(err, E_IO, "cannot resolve %s: %s", name, uv_strerror(r));
}

int http_server_listen(struct http_server *s, const char *host, uint16_t port, uint16_t *ret_port, struct err *err)
{
    uv_getaddrinfo_t req = { 0 };
    CHECK(!s->listening && !s->closing);
    int r = resolve(s, host, port, &req, err);
    if (r != 0) return r;
    CHECK(req.addrinfo != NULL);
    r = uv_tcp_init(s->loop, &s->listener);
    if (r == 0) {
        s->listener.data = s;
        s->listening = true;
        s->handles++;
        r = uv_tcp_bind(&s->listener, req.addrinfo->ai_addr, 0);
    }
    uv_freeaddrinfo(req.addrinfo);
    if (r == 0) r = uv_listen((uv_stream_t *)&s->listener, BACKLOG, connection_cb);
    struct sockaddr_storage bound;
    int len = sizeof bound;
    if (r == 0) r = uv_tcp_getsockname(&s->listener, (struct sockaddr *)&bound, &len);
    if (r != 0) return err_set(err, E_IO, "cannot listen on %s port %u: %s", host, port, uv_strerror(r));
    if (ret_port != NULL) {
        /* The port stands at the same place in both families. */
        const struct sockaddr_in *in = (const struct sockaddr_in *)&bound;
        *ret_port = ntohs(in->sin_port);
    }
    return 0;
}

static void stop_listening(struct http_server *s)
{
    if (s->listening) uv_close((uv_handle_t *)&s->listener, handle_closed_cb);
    s->listening = false;
}

void http_server_drain(struct http_server *s, void (*drained)(void *data), void *data)
{
    CHECK(!s->closing);
    s->draining = true;
    s->drained = drained;
    s->drained_data = data;
    stop_listening(s);
    list_each_safe (it, next, &s->conns) conn_drain(container_of(it, struct conn, link));
    http_server_turn(s);
}

void http_server_close(struct http_server *s, void (*closed)(void *data), void *data)
{
    CHECK(!s->closing);
    s->closing = true;
    s->closed = closed;
    s->closed_data = data;
    stop_listening(s);
    list_each_safe (it, next, &s->conns) conn_close(container_of(it, struct conn, link));
    uv_close((uv_handle_t *)&s->tick, handle_closed_cb);
    uv_close((uv_handle_t *)&s->turn, handle_closed_cb);
}

uint32_t http_server_connections(const struct http_server *s)
{
    return s->connections;
}

uint64_t http_server_requests(const struct http_server *s)
{
    return s->requests;
}
