/* conn.c - one connection of the server.
 *
 *             ┌─────────────────────── keep-alive ────────────────────────┐
 *             ▼                                                           │
 *   accept ─▶ HEAD ─headers─▶ BODY ─end─▶ HANDLING ─http_reply─▶ WRITING ─┴ last answer ─▶ LINGER ─EOF, 2 s─▶ CLOSING
 *             │               │ over its cap: HANDLING, the rest is discarded ▲
 *             │               │ the head callback has answered: WRITING at its end
 *             └───────────────┴─malformed, over a limit, too slow: own answer ┘
 *   error, reset, EOF with nothing to answer: CLOSING from anywhere; freed when the handle is closed.
 *   hands that cannot be shaken (TLS): LINGER from HEAD, so that the client hears why
 *
 * Always: at most one request is with a handler; the parser runs in HEAD and BODY only; bytes that come meanwhile wait
 * in `pending` (bounded: then reading stops). LINGER is entered only when unread input may be on its way: closing at
 * once would reset the connection and could take the answer away from the client. */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "net/conn.h"

static void alloc_cb(struct stream *s, uv_buf_t *ret);
static void read_cb(struct stream *s, ssize_t nread, const char *data);
static void written_cb(struct stream *s, int status);
static void closed_cb(struct stream *s);

static const struct stream_events events = {
    .alloc = alloc_cb, .read = read_cb, .written = written_cb, .closed = closed_cb
};

static void free_cb(uv_handle_t *h)
{
    mem_free(h);
}

/* Over the connection limit: tells so and hangs up. Hands are not shaken for that. */
static void turn_away(struct http_server *s)
{
    uv_tcp_t *tcp = mem_alloc(sizeof *tcp);
    CHECK(uv_tcp_init(s->loop, tcp) == 0); /* makes no socket: cannot fail */
    if (uv_accept((uv_stream_t *)&s->listener, (uv_stream_t *)tcp) == 0 && s->tls == NULL) {
        struct http_reply p = { .status = 503 };
        if (s->handlers.error_body != NULL) s->handlers.error_body(s->handlers.data, 503, "too many connections", &p);
        const char *body = p.body_owned != NULL && p.body == NULL ? p.body_owned : p.body;
        reply_build(s, &p, NULL, true);
        buf_put(&s->answer, body, p.body_len);
        uv_buf_t v = uv_buf_init(s->answer.data, (unsigned)s->answer.len);
        uv_try_write((uv_stream_t *)tcp, &v, 1);
        mem_free(p.body_owned);
    }
    uv_close((uv_handle_t *)tcp, free_cb);
}

void conn_accept(struct http_server *s)
{
    if (s->connections >= s->limits.connections_max) {
        turn_away(s);
        return;
    }
    struct conn *c = mem_alloc(sizeof *c);
    c->server = s;
    stream_init(&c->stream, s->loop, s->tls != NULL ? tls_new(s->tls, NULL) : NULL, &events);
    parse_init(c);
    request_init(&c->req, &s->limits);
    buf_init(&c->pending, s->limits.pipeline_bytes_max + CONN_READ_BYTES);
    list_add_tail(&s->conns, &c->link);
    s->connections++;
    conn_arm(c, WAIT_HEADER);
    if (uv_accept((uv_stream_t *)&s->listener, (uv_stream_t *)&c->stream.tcp) != 0) {
        conn_close(c);
        return;
    }
    uv_tcp_nodelay(&c->stream.tcp, 1);
    if (stream_read_start(&c->stream) != 0) conn_close(c);
}

static void closed_cb(struct stream *stream)
{
    struct conn *c = container_of(stream, struct conn, stream);
    struct http_server *s = c->server;
    CHECK(c->state == CONN_CLOSING);
    if (c->req.known && !c->req.replied && s->handlers.gone != NULL) s->handlers.gone(s->handlers.data, &c->req);
    request_release(&c->req);
    buf_release(&c->pending);
    http_server_forget(s, c);
    mem_free(c);
}

static void end(struct conn *c, bool reset)
{
    if (c->state == CONN_CLOSING) return;
    c->state = CONN_CLOSING;
    list_remove(&c->timed);
    list_remove(&c->ready);
    stream_close(&c->stream, reset);
}

void conn_close(struct conn *c)
{
    end(c, false);
}

static bool is_idle(const struct conn *c)
{
    return c->state == CONN_HEAD && !c->started && c->pending_pos == c->pending.len;
}

void conn_drain(struct conn *c)
{
    if (is_idle(c)) conn_close(c);
}

void conn_arm(struct conn *c, enum conn_wait wait)
{
    struct http_server *s = c->server;
    if (c->state == CONN_CLOSING) return;
    list_remove(&c->timed);
    c->wait = wait;
    c->deadline_ms = uv_now(s->loop) + s->wait_ms[wait];
    if (wait == WAIT_WRITE) c->unsent_seen = stream_unsent(&c->stream);
    list_add_tail(&s->waits[wait], &c->timed);
}

void conn_expired(struct conn *c)
{
    switch (c->wait) {
    case WAIT_HEADER: conn_refuse(c, 408, "request headers took too long"); break;
    case WAIT_BODY:
        if (c->req.replied) {
            conn_close(c);
        } else {
            conn_refuse(c, 408, "request body took too long");
        }
        break;
    case WAIT_WRITE:
        if (stream_unsent(&c->stream) < c->unsent_seen) {
            conn_arm(c, WAIT_WRITE);
        } else {
            end(c, true);
        }
        break;
    case WAIT_IDLE:
    case WAIT_LINGER: conn_close(c); break;
    case WAIT_COUNT: WRONG("no such wait");
    }
}

/* The last is said; what the client still sends is thrown away. */
static void linger(struct conn *c)
{
    c->discard = true;
    c->state = CONN_LINGER;
    if (c->eof || stream_shutdown(&c->stream) != 0) {
        conn_close(c);
        return;
    }
    conn_arm(c, WAIT_LINGER);
    if (!c->halted) return;
    c->halted = false; /* what waits stays as it is: it may be under the parser's feet */
    (void)stream_read_start(&c->stream);
}

/* The last answer is out. */
static void finish(struct conn *c)
{
    if (c->discard || c->pending_pos < c->pending.len)
        linger(c);
    else
        conn_close(c);
}

static void next_request(struct conn *c)
{
    request_reset(&c->req, &c->server->limits);
    c->state = CONN_HEAD;
    c->line = HEAD_BEFORE;
    c->started = false;
    bool waiting = c->pending_pos < c->pending.len;
    if (!c->parsing && !waiting && (c->eof || c->server->draining)) {
        conn_close(c);
        return;
    }
    conn_arm(c, WAIT_IDLE);
    if (!c->parsing && (waiting || c->halted)) {
        /* Not from here: the handler that has just answered is still on the stack. */
        list_remove(&c->ready);
        list_add_tail(&c->server->ready, &c->ready);
        http_server_turn(c->server);
    }
}

static void written(struct conn *c)
{
    if (c->state != CONN_WRITING || stream_queued(&c->stream)) return;
    if (c->last) {
        finish(c);
    } else {
        next_request(c);
    }
}

static void written_cb(struct stream *s, int status)
{
    struct conn *c = container_of(s, struct conn, stream);
    if (status != 0) {
        conn_close(c);
    } else {
        written(c);
    }
}

void conn_answered(struct conn *c)
{
    if (c->state == CONN_CLOSING) return;
    c->state = CONN_WRITING;
    if (stream_queued(&c->stream)) conn_arm(c, WAIT_WRITE);
    written(c);
}

void conn_refuse(struct conn *c, int status, const char *why)
{
    if (c->state == CONN_CLOSING) return;
    list_remove(&c->timed);
    if (c->req.replied) { /* its answer is out already; there is nothing to say */
        c->last = true;
    } else {
        c->refused = true;
        reply_refuse(c, status, why);
    }
    c->discard = true;
    conn_answered(c);
}

static void handle(struct conn *c)
{
    struct http_server *s = c->server;
    list_remove(&c->timed);
    c->state = CONN_HANDLING;
    c->req.known = true;
    s->requests++;
    s->handlers.request(s->handlers.data, &c->req);
}

static void stopped(struct conn *c)
{
    struct http_req *r = &c->req;
    switch (c->stop) {
    case STOP_COMPLETE:
        if (r->replied) {
            c->last = c->last || !r->keep_alive;
            conn_answered(c);
        } else {
            handle(c);
        }
        break;
    case STOP_ANSWERED: conn_answered(c); break;
    case STOP_FOLDED: conn_refuse(c, 400, "a header line must not go on in the next line"); break;
    case STOP_METHOD: conn_refuse(c, 405, "method not allowed"); break;
    case STOP_URL: conn_refuse(c, 414, "request target too long"); break;
    case STOP_HEADERS: conn_refuse(c, 431, "request headers too large"); break;
    case STOP_TOO_LARGE:
        if (r->replied) {
            conn_refuse(c, 413, "request body too large");
            break;
        }
        request_body_drop(r);
        r->too_large = true;
        c->discard = true;
        handle(c);
        break;
    case STOP_CROWDED: conn_refuse(c, 503, "too much is on its way to this server"); break;
    case STOP_NONE: conn_refuse(c, 400, "malformed request"); break;
    }
}

/* "TOKEN TARGET HTTP/1.": a request like any other, whatever its first word. */
static bool is_request_line(const char *line, size_t len)
{
    size_t method = 0, target;
    while (method < len && line[method] >= 'A' && line[method] <= 'Z') method++;
    if (method == 0 || method == len || line[method] != ' ') return false;
    const char *blank = memchr(line + method + 1, ' ', len - method - 1);
    if (blank == NULL) return false;
    target = (size_t)(blank - line) - method - 1;
    return target > 0 && len - (size_t)(blank - line) > 8 && memcmp(blank, " HTTP/1.", 8) == 0;
}

/* Feeds the parser until the bytes end or a request has to wait. Returns how many bytes it took. */
static size_t conn_parse(struct conn *c, const char *data, size_t len)
{
    size_t off = 0;
    CHECK(!c->parsing);
    c->parsing = true;
    while (off < len && (c->state == CONN_HEAD || c->state == CONN_BODY)) {
        size_t from = off;
        c->stop = STOP_NONE;
        if (c->state == CONN_HEAD && head_folds(&c->line, data + off, len - off)) {
            c->stop = STOP_FOLDED;
            stopped(c);
            break;
        }
        llhttp_errno_t e = llhttp_execute(&c->parser, data + off, len - off);
        if (e == HPE_OK) {
            off = len;
            break;
        }
        const char *at = llhttp_get_error_pos(&c->parser);
        off = at >= data + off && at <= data + len ? (size_t)(at - data) : len;
        if (c->stop == STOP_COMPLETE) llhttp_resume(&c->parser);
        if (e == HPE_INVALID_METHOD && is_request_line(data + from, len - from)) c->stop = STOP_METHOD;
        if (c->state != CONN_CLOSING) stopped(c);
    }
    c->parsing = false;
    return off;
}

/* After bytes were parsed: what can end or go on now. */
static void settle(struct conn *c)
{
    size_t waiting = c->pending.len - c->pending_pos;
    if (waiting == 0) {
        c->pending_pos = 0;
        if (c->pending.cap > HEAD_KEEP_BYTES) {
            buf_release(&c->pending);
        } else {
            buf_clear(&c->pending);
        }
    }
    if (c->state != CONN_HEAD && c->state != CONN_BODY) return;
    CHECK(waiting == 0);
    if (c->eof || (c->server->draining && is_idle(c))) {
        conn_close(c);
    } else if (c->halted) {
        c->halted = false;
        (void)stream_read_start(&c->stream);
    }
}

void conn_resume(struct conn *c)
{
    if (c->state != CONN_HEAD && c->state != CONN_BODY) return;
    size_t waiting = c->pending.len - c->pending_pos;
    if (waiting > 0) c->pending_pos += conn_parse(c, c->pending.data + c->pending_pos, waiting);
    settle(c);
}

static void keep(struct conn *c, const char *data, size_t len)
{
    if (c->discard || c->state == CONN_CLOSING || len == 0) return;
    if (c->pending_pos > 0) {
        buf_drop_front(&c->pending, c->pending_pos);
        c->pending_pos = 0;
    }
    buf_put(&c->pending, data, len);
    CHECK(!c->pending.failed);
    if (c->pending.len > c->server->limits.pipeline_bytes_max) {
        c->halted = true;
        stream_read_stop(&c->stream);
    }
}

static void alloc_cb(struct stream *s, uv_buf_t *ret)
{
    struct conn *c = container_of(s, struct conn, stream);
    struct http_req *r = &c->req;
    *ret = uv_buf_init(c->server->read_buf, CONN_READ_BYTES);
    /* The long middle of a large body is read straight into its place. */
    if (c->state != CONN_BODY || r->chunked || r->skip_body || r->replied) return;
    size_t left = (size_t)r->content_length - r->body_len;
    if (r->body_len == 0 || left < CONN_READ_BYTES) return;
    if (!request_body_reserve(r, CONN_READ_BYTES)) return; /* where it is taken over it is refused */
    size_t room = r->body_cap - 1 - r->body_len;
    *ret = uv_buf_init(r->body + r->body_len, (unsigned)(room < left ? room : left));
}

/* Closing at once would reset the connection, and the client would not hear what its certificate is refused for. */
static void not_shaken(struct conn *c)
{
    log_debug("http", "%s: %s", http_peer_address(&c->req), stream_why(&c->stream));
    list_remove(&c->timed);
    linger(c);
}

static void read_cb(struct stream *s, ssize_t nread, const char *data)
{
    struct conn *c = container_of(s, struct conn, stream);
    if (nread == UV_EOF) {
        bool answering = c->state == CONN_HANDLING || c->state == CONN_WRITING;
        c->eof = true;
        /* A half-closed client still gets its answers. */
        if (c->state == CONN_LINGER || (!answering && c->pending_pos == c->pending.len)) conn_close(c);
        return;
    }
    if (nread == UV_EPROTO && !s->opened) {
        not_shaken(c);
        return;
    }
    if (nread < 0) {
        conn_close(c);
        return;
    }
    size_t len = (size_t)nread, taken = 0;
    bool queued = c->pending_pos < c->pending.len;
    if (!queued && (c->state == CONN_HEAD || c->state == CONN_BODY)) { taken = conn_parse(c, data, len); }
    keep(c, data + taken, len - taken);
    if (!queued && (c->state == CONN_HEAD || c->state == CONN_BODY)) settle(c);
}
