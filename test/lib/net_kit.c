#include "net_kit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
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

static void open_tls(struct kit *k)
{
    struct err err = { 0 };
    certs_open(&k->certs);
    certs_make(&k->certs, "node", "DNS:localhost,IP:127.0.0.1", -1, 1);
    struct tls_files server = { .cert = certs_path(&k->certs, "node.pem"), .key = certs_path(&k->certs, "node.key") },
                     client = { .ca = certs_path(&k->certs, "ca.pem") };
    k->secure = true;
    if (tls_context_server(&server, &k->tls_server, &err) != 0) fail_msg("%s", err.msg);
    if (tls_context_client(&client, &k->tls_client, &err) != 0) fail_msg("%s", err.msg);
}

static void serve(struct kit *k, struct tls_context *tls)
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
    k->server = http_server_new(&k->loop, &k->limits, &h);
    if (tls != NULL) http_server_tls(k->server, tls);
    if (http_server_listen(k->server, "127.0.0.1", 0, &k->port, &err) != 0) fail_msg("%s", err.msg);
    assert_int_not_equal(k->port, 0);
}

static void start(struct kit *k, void (*tune)(struct http_limits *l), bool secure)
{
    memset(k, 0, sizeof *k);
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(uv_loop_init(&k->loop), 0);
    uv_timer_init(&k->loop, &k->pulse);
    uv_timer_start(&k->pulse, nothing_cb, 10, 10);
    http_limits_default(&k->limits);
    if (tune != NULL) tune(&k->limits);
    if (secure) open_tls(k);
    serve(k, k->tls_server);
}

void kit_serve_tls(struct kit *k, struct tls_context *tls)
{
    kit_close(k);
    k->closed = 0;
    serve(k, tls);
}

void kit_start(struct kit *k, void (*tune)(struct http_limits *l))
{
    start(k, tune, getenv("KIT_TLS") != NULL);
}

void kit_start_tls(struct kit *k, void (*tune)(struct http_limits *l))
{
    start(k, tune, true);
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
    if (!k->secure) return;
    tls_context_free(k->tls_server);
    tls_context_free(k->tls_client);
    certs_close(&k->certs);
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

/* ---- the link --------------------------------------------------------------------------------------------------- */
static void link_flush(struct kit_link *l, uv_stream_t *stream)
{
    size_t len;
    char *data = tls_take(l->tls, &len);
    if (data != NULL) stream_send(stream, data, len);
    mem_free(data);
}

static void link_send(struct kit_link *l, uv_stream_t *stream, const char *data, size_t len)
{
    if (l->tls == NULL) {
        stream_send(stream, data, len);
        return;
    }
    if (!tls_open(l->tls)) {
        buf_put(&l->early, data, len);
        return;
    }
    for (size_t at = 0; at < len; at += TLS_WRITE_MAX) {
        tls_write(l->tls, data + at, len - at < TLS_WRITE_MAX ? len - at : TLS_WRITE_MAX);
        link_flush(l, stream);
    }
}

/* Gives the plain bytes behind those that came to `take`; false: the other side has ended. */
static bool link_read(struct kit_link *l, uv_stream_t *stream, const char *data, size_t len,
                      void (*take)(void *, const char *, size_t), void *ctx)
{
    char plain[16384];
    int rc;
    if (l->tls == NULL) {
        take(ctx, data, len);
        return true;
    }
    if (len > 0) assert_int_equal(tls_feed(l->tls, data, len), 0);
    do {
        rc = tls_read(l->tls, plain, sizeof plain, &len);
        link_flush(l, stream);
        if (len > 0) take(ctx, plain, len);
    } while (len > 0);
    if (tls_open(l->tls) && l->early.len > 0) {
        link_send(l, stream, l->early.data, l->early.len);
        buf_release(&l->early);
    }
    if (rc == E_GONE) l->farewell = true;
    return rc == 0;
}

static void link_free(struct kit_link *l)
{
    tls_free(l->tls);
    buf_release(&l->early);
    l->tls = NULL;
}

static void raw_take(void *ctx, const char *data, size_t len)
{
    struct raw *r = ctx;
    if (r->in.len < 1024 * 1024) buf_put(&r->in, data, len);
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
        if (!link_read(&r->link, stream, buf->base, (size_t)nread, raw_take, r)) r->eof = true;
        if (r->link.tls != NULL && tls_open(r->link.tls)) r->open = true;
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
    r->open = status == 0 && r->link.tls == NULL;
    if (status == 0) uv_read_start((uv_stream_t *)&r->tcp, alloc_cb, raw_read_cb);
    if (status == 0 && r->link.tls != NULL) link_read(&r->link, (uv_stream_t *)&r->tcp, NULL, 0, raw_take, r);
}

void raw_connect(struct kit *k, struct raw *r)
{
    struct sockaddr_in to;
    memset(r, 0, sizeof *r);
    buf_init(&r->in, BODY_MAX);
    buf_init(&r->link.early, BODY_MAX);
    if (k->secure) r->link.tls = tls_new(k->tls_client, "127.0.0.1");
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

void raw_send(struct raw *r, const char *data, size_t len)
{
    link_send(&r->link, (uv_stream_t *)&r->tcp, data, len);
}

static void shut_cb(uv_shutdown_t *req, int status)
{
    (void)status;
    mem_free(req);
}

void raw_end(struct raw *r)
{
    uv_shutdown_t *req = mem_alloc(sizeof *req);
    if (r->link.tls != NULL) {
        tls_close(r->link.tls);
        link_flush(&r->link, (uv_stream_t *)&r->tcp);
    }
    assert_int_equal(uv_shutdown(req, (uv_stream_t *)&r->tcp, shut_cb), 0);
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
    link_free(&r->link);
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

static void puppet_take(void *ctx, const char *data, size_t len)
{
    struct puppet *p = ctx;
    buf_put(&p->in, data, len);
}

static void puppet_read_cb(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct puppet *p = stream->data;
    if (nread > 0) {
        if (!link_read(&p->link, stream, buf->base, (size_t)nread, puppet_take, p)) p->eof = true;
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
    buf_init(&p->link.early, BODY_MAX);
    if (k->secure) p->link.tls = tls_new(k->tls_server, NULL);
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
    link_send(&p->link, (uv_stream_t *)&p->tcp, text, strlen(text));
}

static void puppet_closed_cb(uv_handle_t *h)
{
    struct puppet *p = h->data;
    p->closed++;
}

/* What is written before a close must be so at once. */
static void try_flush(struct puppet *p)
{
    size_t len;
    char *data = tls_take(p->link.tls, &len);
    uv_buf_t v = uv_buf_init(data, (unsigned)len);
    if (data != NULL) uv_try_write((uv_stream_t *)&p->tcp, &v, 1);
    mem_free(data);
}

void puppet_hang_up(struct puppet *p)
{
    if (uv_is_closing((uv_handle_t *)&p->tcp)) return;
    if (p->link.tls != NULL && p->accepted > 0 && !p->rude) {
        tls_close(p->link.tls);
        try_flush(p);
    }
    uv_close((uv_handle_t *)&p->tcp, puppet_closed_cb);
}

void puppet_stop(struct kit *k, struct puppet *p)
{
    puppet_hang_up(p);
    uv_close((uv_handle_t *)&p->listener, puppet_closed_cb);
    KIT_UNTIL(k, p->closed == 2);
    link_free(&p->link);
    buf_release(&p->in);
}
