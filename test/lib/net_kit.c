#include "net_kit.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"

#define BODY_MAX (64 * 1024 * 1024)

static void nothing_cb(uv_timer_t *t)
{
    (void)t;
}

static void hold(struct kit *k, struct http_req *req)
{
    CHECK(k->held_count < KIT_HELD_MAX);
    http_data_set(req, &k->held[k->held_count]);
    k->held[k->held_count++] = req;
}

/* Behind whatever prefix a client's URL has. */
static const char *last_segment(const struct http_req *req)
{
    const char *slash = strrchr(http_path(req), '/');
    return slash != NULL ? slash : "";
}

static void head_cb(void *data, struct http_req *req)
{
    (void)data;
    const char *path = last_segment(req);
    if (strcmp(path, "/skip") == 0) http_body_skip(req);
    if (strcmp(path, "/cap16") == 0) http_body_max(req, 16);
    if (strcmp(path, "/refuse") == 0) {
        http_reply(req, &(struct http_reply){ .status = 415, .body = "no", .body_len = 2 });
    }
}

static void reply_big(struct kit *k, struct http_req *req)
{
    char *body = mem_alloc(k->big + 1);
    memset(body, 'x', k->big);
    http_reply(req, &(struct http_reply){ .status = 200, .body_len = k->big, .body_owned = body });
}

static void request_cb(void *data, struct http_req *req)
{
    struct kit *k = data;
    const char *path = http_path(req), *query = http_query(req), *test = http_header(req, "x-test");
    size_t len;
    const char *body = http_body(req, &len);
    snprintf(k->peer, sizeof k->peer, "%s", http_peer_address(req));
    snprintf(k->header, sizeof k->header, "%s", test != NULL ? test : "-");
    if (http_body_too_large(req)) {
        http_reply(req, &(struct http_reply){ .status = 413, .body = "large", .body_len = 5 });
    } else if (strcmp(last_segment(req), "/hold") == 0) {
        hold(k, req);
    } else if (strcmp(last_segment(req), "/big") == 0) {
        reply_big(k, req);
    } else {
        struct http_header echo = { "X-Echo", k->header };
        struct buf b;
        buf_init(&b, BODY_MAX);
        buf_printf(&b, "%s %s%s%s ", http_method(req), path, query != NULL ? "?" : "", query != NULL ? query : "");
        buf_put(&b, body, len);
        http_reply(req, &(struct http_reply){ .status = 200,
                                              .content_type = "text/plain",
                                              .headers = &echo,
                                              .headers_count = 1,
                                              .body = b.data,
                                              .body_len = b.len,
                                              .close = strcmp(path, "/close") == 0 });
        buf_release(&b);
    }
}

static void gone_cb(void *data, struct http_req *req)
{
    struct kit *k = data;
    struct http_req **place = http_data(req);
    if (place != NULL) *place = NULL;
    k->gone++;
}

static void error_body_cb(void *data, int status, const char *text, struct http_reply *out)
{
    (void)data;
    (void)status;
    out->body = text;
    out->body_len = strlen(text);
}

void kit_start(struct kit *k, void (*tune)(struct http_limits *l))
{
    struct http_header always = { "vary", "origin" };
    struct http_handlers h = { .data = k,
                               .head = head_cb,
                               .request = request_cb,
                               .gone = gone_cb,
                               .error_body = error_body_cb,
                               .always = &always,
                               .always_count = 1 };
    struct err err = { 0 };
    memset(k, 0, sizeof *k);
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(uv_loop_init(&k->loop), 0);
    uv_timer_init(&k->loop, &k->pulse);
    uv_timer_start(&k->pulse, nothing_cb, 10, 10);
    http_limits_default(&k->limits);
    if (tune != NULL) tune(&k->limits);
    k->server = http_server_new(&k->loop, &k->limits, &h);
    if (http_server_listen(k->server, "127.0.0.1", 0, &k->port, &err) != 0) fail_msg("%s", err.msg);
    assert_int_not_equal(k->port, 0);
}

static void closed_cb(void *data)
{
    struct kit *k = data;
    k->closed++;
}

void kit_close(struct kit *k)
{
    http_server_close(k->server, closed_cb, k);
    assert_int_equal(k->closed, 0);
    KIT_UNTIL(k, k->closed == 1);
    k->server = NULL;
}

void kit_stop(struct kit *k)
{
    if (k->server != NULL) kit_close(k);
    uv_close((uv_handle_t *)&k->pulse, NULL);
    uv_run(&k->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&k->loop), 0);
}

void kit_answer(struct kit *k, int held)
{
    char text[16];
    struct http_req *req = k->held[held];
    CHECK(req != NULL);
    k->held[held] = NULL;
    snprintf(text, sizeof text, "%d", held);
    http_reply(req, &(struct http_reply){ .status = 200, .body = text, .body_len = strlen(text) });
}

bool kit_turn(struct kit *k, uint64_t deadline_ms)
{
    uv_run(&k->loop, UV_RUN_ONCE);
    return uv_now(&k->loop) < deadline_ms;
}

static void alloc_cb(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    (void)h;
    *ret = uv_buf_init(mem_alloc(suggested), (unsigned)suggested);
}

static void take(struct raw *r, const char *data, size_t len)
{
    while (len > 0 && !r->bad) {
        size_t taken;
        enum answer_event e = answer_feed(&r->parser, data, len, r->heads, &taken);
        data += taken;
        len -= taken;
        if (e == ANSWER_INTERIM) r->interims++;
        if (e == ANSWER_BAD || e == ANSWER_LARGE) r->bad = true;
        if (e != ANSWER_READY) continue;
        if (r->count < KIT_ANSWERS_MAX) {
            r->statuses[r->count] = r->parser.status;
            r->bodies[r->count] = mem_strndup(r->parser.body, r->parser.body_len);
        }
        r->count++;
    }
}

static void raw_read_cb(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct raw *r = container_of(stream, struct raw, tcp);
    if (nread > 0) {
        if (r->in.len < 1024 * 1024) buf_put(&r->in, buf->base, (size_t)nread);
        take(r, buf->base, (size_t)nread);
    } else if (nread == UV_EOF) {
        r->eof = true;
    } else if (nread < 0) {
        r->reset = true;
    }
    mem_free(buf->base);
}

static void connect_cb(uv_connect_t *req, int status)
{
    struct raw *r = req->data;
    if (status == UV_ECANCELED) return;
    r->open = status == 0;
    if (r->open) uv_read_start((uv_stream_t *)&r->tcp, alloc_cb, raw_read_cb);
}

void raw_connect(struct kit *k, struct raw *r)
{
    struct sockaddr_in to;
    memset(r, 0, sizeof *r);
    buf_init(&r->in, BODY_MAX);
    answer_init(&r->parser, BODY_MAX);
    uv_tcp_init(&k->loop, &r->tcp);
    uv_ip4_addr("127.0.0.1", k->port, &to);
    r->connect.data = r;
    assert_int_equal(uv_tcp_connect(&r->connect, &r->tcp, (struct sockaddr *)&to, connect_cb), 0);
}

void raw_open(struct kit *k, struct raw *r)
{
    raw_connect(k, r);
    KIT_UNTIL(k, r->open);
    uv_tcp_nodelay(&r->tcp, 1);
}

struct sending {
    uv_write_t req;
    char data[];
};

static void sent_cb(uv_write_t *req, int status)
{
    (void)status;
    mem_free(container_of(req, struct sending, req));
}

static void stream_send(uv_stream_t *stream, const char *data, size_t len)
{
    struct sending *s = mem_alloc(sizeof *s + len);
    memcpy(s->data, data, len);
    uv_buf_t v = uv_buf_init(s->data, (unsigned)len);
    if (uv_write(&s->req, stream, &v, 1, sent_cb) != 0) mem_free(s);
}

void raw_send(struct raw *r, const char *data, size_t len)
{
    stream_send((uv_stream_t *)&r->tcp, data, len);
}

void raw_puts(struct raw *r, const char *text)
{
    raw_send(r, text, strlen(text));
}

void raw_pause(struct raw *r, bool pause)
{
    if (pause) {
        uv_read_stop((uv_stream_t *)&r->tcp);
    } else {
        uv_read_start((uv_stream_t *)&r->tcp, alloc_cb, raw_read_cb);
    }
}

static void raw_closed_cb(uv_handle_t *h)
{
    struct raw *r = container_of(h, struct raw, tcp);
    r->closed = true;
}

void raw_abort(struct raw *r)
{
    assert_int_equal(uv_tcp_close_reset(&r->tcp, raw_closed_cb), 0);
}

void raw_close(struct kit *k, struct raw *r)
{
    if (!uv_is_closing((uv_handle_t *)&r->tcp)) uv_close((uv_handle_t *)&r->tcp, raw_closed_cb);
    KIT_UNTIL(k, r->closed);
    for (int i = 0; i < KIT_ANSWERS_MAX; i++) mem_free(r->bodies[i]);
    buf_release(&r->in);
    answer_release(&r->parser);
}

int raw_ask(struct kit *k, const char *text, size_t len)
{
    struct raw r;
    raw_open(k, &r);
    raw_send(&r, text, len);
    KIT_UNTIL(k, r.eof || r.reset);
    assert_true(r.count <= 1 && !r.bad);
    int status = r.statuses[0];
    raw_close(k, &r);
    return status;
}

static void puppet_read_cb(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct puppet *p = stream->data;
    if (nread > 0) {
        buf_put(&p->in, buf->base, (size_t)nread);
    } else if (nread == UV_EOF) {
        p->eof = true;
    } else if (nread < 0) {
        p->reset = true;
    }
    mem_free(buf->base);
}

static void puppet_connection_cb(uv_stream_t *listener, int status)
{
    struct puppet *p = listener->data;
    assert_int_equal(status, 0);
    assert_int_equal(p->accepted++, 0);
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&p->tcp), 0);
    uv_read_start((uv_stream_t *)&p->tcp, alloc_cb, puppet_read_cb);
}

void puppet_start(struct kit *k, struct puppet *p)
{
    struct sockaddr_in at;
    int len = sizeof at;
    memset(p, 0, sizeof *p);
    buf_init(&p->in, BODY_MAX);
    uv_tcp_init(&k->loop, &p->listener);
    uv_tcp_init(&k->loop, &p->tcp);
    p->listener.data = p->tcp.data = p;
    uv_ip4_addr("127.0.0.1", 0, &at);
    assert_int_equal(uv_tcp_bind(&p->listener, (struct sockaddr *)&at, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&p->listener, 8, puppet_connection_cb), 0);
    assert_int_equal(uv_tcp_getsockname(&p->listener, (struct sockaddr *)&at, &len), 0);
    p->port = ntohs(at.sin_port);
}

void puppet_puts(struct puppet *p, const char *text)
{
    stream_send((uv_stream_t *)&p->tcp, text, strlen(text));
}

static void puppet_closed_cb(uv_handle_t *h)
{
    struct puppet *p = h->data;
    p->closed++;
}

void puppet_hang_up(struct puppet *p)
{
    if (!uv_is_closing((uv_handle_t *)&p->tcp)) uv_close((uv_handle_t *)&p->tcp, puppet_closed_cb);
}

void puppet_stop(struct kit *k, struct puppet *p)
{
    puppet_hang_up(p);
    uv_close((uv_handle_t *)&p->listener, puppet_closed_cb);
    KIT_UNTIL(k, p->closed == 2);
    buf_release(&p->in);
}
