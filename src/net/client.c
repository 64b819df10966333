/* client.c - the outbound connection.
 *
 *   NEW ─client_connect─▶ RESOLVING ─name found─▶ CONNECTING ─▶ SECURING ─▶ OPEN
 *                          │ (not for an address)  │     (https)  │          │ peer gone, time-out, garbage, close
 *                          └──────── failure ──────┴──────────────┴──────────┴─▶ CLOSING ─handle closed─▶ CLOSED
 *
 * Whatever ends the connection goes through end(); every error is told from the close callback of the socket: first to
 * the unanswered requests in their order, then to the connect or closed callback. Always: each call-back may call
 * anything here, client_free included; memory goes only when the last handle is closed, which is never on our stack. */
#include "net/client.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "base/alloc.h"
#include "base/check.h"
#include "net/answer.h"
#include "net/stream.h"

#define READ_BYTES 65536
#define HEAD_BYTES_MAX (256 * 1024)
#define BODY_INLINE_BYTES 16384

enum client_state {
    CLIENT_NEW,
    CLIENT_RESOLVING,
    CLIENT_CONNECTING,
    CLIENT_SECURING,
    CLIENT_OPEN,
    CLIENT_CLOSING,
    CLIENT_CLOSED
};

struct waiting {
    client_answer_cb cb;
    void (*progress)(void *data);
    void *data;
    uint64_t deadline_ms; /* 0: none */
    bool is_head;
};

struct client {
    uv_loop_t *loop;
    struct client_options options;
    enum client_state state;
    uint64_t heard_ms; /* the last bytes, or when there was nothing to wait for */
    bool opened;       /* the connect callback has told success */
    bool freed;        /* no callback any more */
    int handles;       /* stream, timer and look-up not yet ended */
    int error;         /* why it ended */
    char why[320];     /* the same in words of TLS or of the system; "" */
    struct stream stream;
    uv_timer_t timer;
    uint64_t timer_ms; /* when the timer fires; 0: it is stopped */
    uv_getaddrinfo_t lookup;
    uv_connect_t connect;
    struct client_url url;
    client_connect_cb connect_cb;
    client_closed_cb closed_cb;
    void *data;
    struct waiting *ring; /* owned; options.outstanding_max places */
    uint32_t first, count;
    struct buf head; /* scratch: the request being built */
    struct answer answer;
    char *read_buf; /* owned */
};

struct client *client_new(uv_loop_t *loop, const struct client_options *o)
{
    struct client *c = mem_alloc(sizeof *c);
    CHECK(o->outstanding_max > 0);
    c->loop = loop;
    c->options = *o;
    c->ring = mem_alloc(o->outstanding_max * sizeof *c->ring);
    buf_init(&c->head, HEAD_BYTES_MAX + BODY_INLINE_BYTES);
    answer_init(&c->answer, o->body_bytes_max);
    CHECK(uv_timer_init(loop, &c->timer) == 0);
    c->timer.data = c;
    c->handles = 1;
    return c;
}

static void maybe_free(struct client *c)
{
    if (!c->freed || c->handles > 0) return;
    answer_release(&c->answer);
    buf_release(&c->head);
    mem_free(c->ring);
    mem_free(c->read_buf);
    mem_free(c);
}

static struct waiting pop(struct client *c)
{
    CHECK(c->count > 0);
    struct waiting w = c->ring[c->first];
    c->first = (c->first + 1) % c->options.outstanding_max;
    c->count--;
    return w;
}

static void closed_cb(struct stream *s)
{
    struct client *c = container_of(s, struct client, stream);
    c->handles--;
    c->state = CLIENT_CLOSED;
    while (c->count > 0 && !c->freed) {
        struct waiting w = pop(c);
        w.cb(w.data, c->error, NULL);
    }
    if (!c->freed) {
        if (!c->opened) {
            c->connect_cb(c->data, c->error);
        } else if (c->closed_cb != NULL) {
            c->closed_cb(c->data, c->error);
        }
    }
    maybe_free(c);
}

static void end(struct client *c, int error, bool abort)
{
    if (c->state == CLIENT_NEW || c->state >= CLIENT_CLOSING) return;
    if (c->state == CLIENT_RESOLVING) uv_cancel((uv_req_t *)&c->lookup);
    c->state = CLIENT_CLOSING;
    c->error = error;
    c->timer_ms = 0;
    uv_timer_stop(&c->timer);
    stream_close(&c->stream, abort);
}

static void timer_cb(uv_timer_t *t);

/* One timer for all deadlines: it runs to the earliest known one, and looks again when it gets there. */
static void watch(struct client *c, uint64_t deadline_ms)
{
    if (c->timer_ms != 0 && c->timer_ms <= deadline_ms) return;
    uint64_t now = uv_now(c->loop);
    c->timer_ms = deadline_ms;
    uv_timer_start(&c->timer, timer_cb, deadline_ms > now ? deadline_ms - now : 0, 0);
}

static void timer_cb(uv_timer_t *t)
{
    struct client *c = t->data;
    c->timer_ms = 0;
    if (c->state != CLIENT_OPEN) {
        end(c, E_TIMEOUT, true);
        return;
    }
    uint64_t soonest = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        uint64_t d = c->ring[(c->first + i) % c->options.outstanding_max].deadline_ms;
        if (d != 0 && (soonest == 0 || d < soonest)) soonest = d;
    }
    if (soonest == 0) return;
    if (soonest <= uv_now(c->loop)) {
        end(c, E_TIMEOUT, true);
    } else {
        watch(c, soonest);
    }
}

static void alloc_cb(struct stream *s, uv_buf_t *ret)
{
    struct client *c = container_of(s, struct client, stream);
    *ret = uv_buf_init(c->read_buf, READ_BYTES);
}

static void deliver(struct client *c)
{
    struct answer *a = &c->answer;
    struct client_answer view = { .status = a->status,
                                  .headers = a->head.headers,
                                  .headers_count = a->head.count,
                                  .body = a->body,
                                  .body_len = a->body_len };
    struct waiting w = pop(c);
    w.cb(w.data, 0, &view);
    if (!a->keep_alive) end(c, E_UNREACHABLE, false);
}

static void interim(struct client *c)
{
    struct waiting *w = &c->ring[c->first];
    if (w->progress != NULL) w->progress(w->data);
}

static void take(struct client *c, const char *data, size_t len)
{
    while (len > 0 && c->state == CLIENT_OPEN) {
        size_t taken = 0;
        if (c->count == 0) { /* nobody asked */
            end(c, E_PROTOCOL, false);
            return;
        }
        enum answer_event e = answer_feed(&c->answer, data, len, c->ring[c->first].is_head, &taken);
        data += taken;
        len -= taken;
        switch (e) {
        case ANSWER_MORE: break;
        case ANSWER_INTERIM: interim(c); break;
        case ANSWER_READY: deliver(c); break;
        case ANSWER_BAD: end(c, E_PROTOCOL, true); break;
        case ANSWER_LARGE: end(c, E_TOO_LARGE, true); break;
        }
    }
}

static void read_cb(struct stream *s, ssize_t nread, const char *data)
{
    struct client *c = container_of(s, struct client, stream);
    if (nread > 0) {
        c->heard_ms = uv_now(c->loop);
        take(c, data, (size_t)nread);
        return;
    }
    if (nread == UV_EPROTO) {
        snprintf(c->why, sizeof c->why, "%s", stream_why(s));
    } else if (c->state == CLIENT_SECURING) {
        snprintf(c->why, sizeof c->why, "TLS: the other side hung up during the handshake");
        nread = UV_EPROTO;
    }
    if (nread == UV_EOF && c->count > 0 && answer_finish(&c->answer) == ANSWER_READY) deliver(c);
    end(c, nread == UV_EPROTO ? E_PROTOCOL : E_UNREACHABLE, false);
}

static void written_cb(struct stream *s, int status)
{
    struct client *c = container_of(s, struct client, stream);
    if (status != 0) end(c, E_UNREACHABLE, false);
}

/* Kernel timers as a backstop: a peer that vanished without a word is noticed even when nothing is being sent. */
static void tune(struct client *c)
{
    int fd = -1, on = 1, idle_s = 1, interval_s = 1, probes = 3;
    unsigned unacked_ms = 1500;
    if (c->options.nodelay) uv_tcp_nodelay(&c->stream.tcp, 1);
    if (!c->options.keepalive || uv_fileno((uv_handle_t *)&c->stream.tcp, &fd) != 0) return;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof unacked_ms);
}

static void opened_cb(struct stream *s)
{
    struct client *c = container_of(s, struct client, stream);
    c->timer_ms = 0;
    uv_timer_stop(&c->timer);
    c->state = CLIENT_OPEN;
    c->opened = true;
    c->connect_cb(c->data, 0);
}

static void connected_cb(uv_connect_t *req, int status)
{
    struct client *c = req->data;
    if (c->state != CLIENT_CONNECTING) return;
    if (status != 0) {
        snprintf(c->why, sizeof c->why, "%s", uv_strerror(status));
        end(c, E_UNREACHABLE, false);
        return;
    }
    tune(c);
    if (c->url.tls) {
        c->state = CLIENT_SECURING;
        c->timer_ms = 0;
        uv_timer_stop(&c->timer);
        watch(c, uv_now(c->loop) + CLIENT_HANDSHAKE_MS);
    }
    if (stream_read_start(&c->stream) != 0)
        end(c, E_UNREACHABLE, false);
    else if (!c->url.tls)
        opened_cb(&c->stream);
}

static const struct stream_events events = {
    .alloc = alloc_cb, .read = read_cb, .opened = opened_cb, .written = written_cb, .closed = closed_cb
};

static void dial(struct client *c, const struct sockaddr *address)
{
    c->state = CLIENT_CONNECTING;
    c->connect.data = c;
    if (uv_tcp_connect(&c->connect, &c->stream.tcp, address, connected_cb) != 0) end(c, E_UNREACHABLE, false);
}

static void resolved_cb(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct client *c = req->data;
    c->handles--;
    if (c->state == CLIENT_RESOLVING) {
        const struct addrinfo *best = found;
        for (const struct addrinfo *a = found; a != NULL && best->ai_family != AF_INET; a = a->ai_next) {
            if (a->ai_family == AF_INET) best = a;
        }
        if (status != 0 || best == NULL) {
            c->state = CLIENT_CONNECTING; /* nothing left to cancel */
            snprintf(c->why, sizeof c->why, "the host's name is not known: %s", uv_strerror(status));
            end(c, E_UNREACHABLE, false);
        } else {
            struct sockaddr_storage address = { 0 };
            memcpy(&address, best->ai_addr, best->ai_addrlen);
            ((struct sockaddr_in *)&address)->sin_port = htons(c->url.port); /* same place in both families */
            dial(c, (struct sockaddr *)&address);
        }
    }
    uv_freeaddrinfo(found);
    maybe_free(c);
}

void client_connect(struct client *c, const struct client_url *url, client_connect_cb cb, client_closed_cb closed,
                    void *data)
{
    CHECK(c->state == CLIENT_NEW && !c->freed);
    c->url = *url;
    c->connect_cb = cb;
    c->closed_cb = closed;
    c->data = data;
    c->read_buf = mem_realloc(NULL, READ_BYTES);
    CHECK(!url->tls || c->options.tls != NULL);
    stream_init(&c->stream, c->loop, url->tls ? tls_new(c->options.tls, url->host) : NULL, &events);
    c->handles++;
    if (c->options.connect_timeout_ms > 0) watch(c, uv_now(c->loop) + c->options.connect_timeout_ms);
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (uv_ip4_addr(url->host, url->port, &v4) == 0) {
        dial(c, (const struct sockaddr *)&v4);
    } else if (uv_ip6_addr(url->host, url->port, &v6) == 0) {
        dial(c, (const struct sockaddr *)&v6);
    } else {
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
        c->state = CLIENT_RESOLVING;
        c->lookup.data = c;
        c->handles++;
        if (uv_getaddrinfo(c->loop, &c->lookup, resolved_cb, url->host, NULL, &hints) == 0) return;
        c->handles--;
        c->state = CLIENT_CONNECTING;
        end(c, E_UNREACHABLE, false);
    }
}

const char *client_why(const struct client *c, int error)
{
    return c != NULL && c->why[0] != 0 ? c->why : err_text(error);
}

bool client_open(const struct client *c)
{
    return c->state == CLIENT_OPEN;
}

uint32_t client_outstanding(const struct client *c)
{
    return c->count;
}

uint64_t client_silent_ms(const struct client *c)
{
    uint64_t now = uv_now(c->loop);
    return c->state == CLIENT_OPEN && c->count > 0 && now > c->heard_ms ? now - c->heard_ms : 0;
}

size_t client_unsent(const struct client *c)
{
    int fd = -1, held = 0;
    if (c->state != CLIENT_OPEN) return 0;
    if (uv_fileno((const uv_handle_t *)&c->stream.tcp, &fd) != 0 || ioctl(fd, SIOCOUTQ, &held) != 0 || held < 0)
        held = 0;
    return stream_unsent(&c->stream) + (size_t)held;
}

static bool is_token(const char *s)
{
    for (; *s != '\0'; s++) {
        if ((unsigned char)*s <= ' ' || *s == 0x7f) return false;
    }
    return true;
}

static void put_line(struct buf *b, const char *name, const char *value)
{
    buf_puts(b, name);
    buf_put(b, ": ", 2);
    buf_puts(b, value);
    buf_put(b, "\r\n", 2);
}

/* 0 or E_INVALID: a part that would break the framing, or a head over its cap. */
static int build_head(struct client *c, const struct client_request *q)
{
    struct buf *b = &c->head;
    buf_clear(b);
    if (!is_token(q->method) || !is_token(q->path) || q->path[0] != '/') return E_INVALID;
    buf_puts(b, q->method);
    buf_putc(b, ' ');
    buf_puts(b, c->url.prefix);
    buf_puts(b, q->path);
    buf_put(b, " HTTP/1.1\r\n", 11);
    put_line(b, "host", c->url.authority);
    if (q->content_type != NULL) put_line(b, "content-type", q->content_type);
    for (size_t i = 0; i < q->headers_count; i++) {
        if (!is_token(q->headers[i].name) || strpbrk(q->headers[i].value, "\r\n") != NULL) return E_INVALID;
        put_line(b, q->headers[i].name, q->headers[i].value);
    }
    if (q->body_len > 0 || q->method[0] == 'P') buf_printf(b, "content-length: %zu\r\n", q->body_len);
    buf_put(b, "\r\n", 2);
    return b->failed || b->len > HEAD_BYTES_MAX ? E_INVALID : 0;
}

static void push(struct client *c, const struct client_request *q)
{
    struct waiting *w = &c->ring[(c->first + c->count++) % c->options.outstanding_max];
    *w = (struct waiting){
        .cb = q->cb, .progress = q->progress, .data = q->data, .is_head = strcmp(q->method, "HEAD") == 0
    };
    if (q->timeout_ms > 0) {
        w->deadline_ms = uv_now(c->loop) + q->timeout_ms;
        watch(c, w->deadline_ms);
    }
}

int client_send(struct client *c, const struct client_request *q)
{
    char *owned = q->body_owned;
    const char *body = owned != NULL && q->body == NULL ? owned : q->body;
    size_t len = q->body_len;
    int r = 0;
    if (c->state != CLIENT_OPEN) {
        r = E_UNREACHABLE;
    } else if (c->count == c->options.outstanding_max) {
        r = E_BUSY;
    } else {
        r = build_head(c, q);
    }
    if (r != 0) {
        mem_free(owned);
        return r;
    }
    if (c->count == 0) c->heard_ms = uv_now(c->loop);
    push(c, q);
    if (len <= BODY_INLINE_BYTES) {
        buf_put(&c->head, body, len);
        mem_free(owned);
        owned = NULL;
        len = 0;
    }
    if (stream_write(&c->stream, c->head.data, c->head.len, body, len, owned) != 0) end(c, E_UNREACHABLE, false);
    return 0;
}

void client_close(struct client *c, bool abort)
{
    end(c, E_CANCELLED, abort);
}

static void timer_closed_cb(uv_handle_t *h)
{
    struct client *c = h->data;
    c->handles--;
    maybe_free(c);
}

void client_free(struct client *c)
{
    if (c == NULL) return;
    CHECK(!c->freed);
    end(c, E_CANCELLED, false);
    c->freed = true;
    uv_close((uv_handle_t *)&c->timer, timer_closed_cb);
}
