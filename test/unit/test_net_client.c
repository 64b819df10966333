/* The outbound connection against our server and against a puppet that says what the test tells it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "net/client.h"
#include "../lib/net_kit.h"

#define LARGE ((size_t)16 * 1024 * 1024)

struct seen {
    struct client *client;
    int connects, connect_error, closes, closed_error, progress;
    int answers, errors[64], statuses[64], order[64];
    char *body; /* of the last answer */
    size_t body_len;
    char header[64]; /* its x-echo */
    bool free_in_connect, free_in_answer, free_in_progress, free_in_closed, send_in_answer;
};

struct one {
    struct seen *seen;
    int number;
};
static struct one ones[64];

static void drop(struct seen *s)
{
    client_free(s->client);
    s->client = NULL;
}

static void connected_cb(void *data, int error)
{
    struct seen *s = data;
    s->connects++;
    s->connect_error = error;
    if (s->free_in_connect) drop(s);
}

static void closed_cb(void *data, int error)
{
    struct seen *s = data;
    s->closes++;
    s->closed_error = error;
    if (s->free_in_closed) drop(s);
}

static int ask(struct seen *s, int number, const char *method, const char *path, uint32_t timeout_ms);

static void answer_cb(void *data, int error, const struct client_answer *a)
{
    struct one *o = data;
    struct seen *s = o->seen;
    s->errors[s->answers] = error;
    s->order[s->answers] = o->number;
    if (error == 0) {
        s->statuses[s->answers] = a->status;
        mem_free(s->body);
        s->body = mem_strndup(a->body, a->body_len);
        s->body_len = a->body_len;
        for (size_t i = 0; i < a->headers_count; i++) {
            if (strcmp(a->headers[i].name, "x-echo") != 0) continue;
            snprintf(s->header, sizeof s->header, "%s", a->headers[i].value);
        }
    } else {
        assert_null(a);
    }
    s->answers++;
    if (s->send_in_answer) {
        s->send_in_answer = false;
        assert_int_equal(ask(s, 63, "GET", "/again", 0), 0);
    }
    if (s->free_in_answer) drop(s);
}

static void progress_cb(void *data)
{
    struct one *o = data;
    o->seen->progress++;
    if (o->seen->free_in_progress) drop(o->seen);
}

static struct client_request request(struct seen *s, int number, const char *method, const char *path)
{
    ones[number] = (struct one){ s, number };
    return (struct client_request){
        .method = method, .path = path, .cb = answer_cb, .progress = progress_cb, .data = &ones[number]
    };
}

static int ask(struct seen *s, int number, const char *method, const char *path, uint32_t timeout_ms)
{
    struct client_request q = request(s, number, method, path);
    q.timeout_ms = timeout_ms;
    return client_send(s->client, &q);
}

static void start(struct kit *k, struct seen *s, const char *host, uint16_t port, uint32_t connect_ms)
{
    struct client_options o = { .body_bytes_max = LARGE,
                                .connect_timeout_ms = connect_ms,
                                .nodelay = true,
                                .keepalive = true,
                                .outstanding_max = 50,
                                .tls = k->tls_client };
    struct client_url url;
    char text[128];
    memset(s, 0, sizeof *s);
    snprintf(text, sizeof text, "%s://%s:%u/pre/", k->secure ? "https" : "http", host, port);
    assert_int_equal(client_url_parse(text, &url, NULL), 0);
    s->client = client_new(&k->loop, &o);
    client_connect(s->client, &url, connected_cb, closed_cb, s);
    assert_int_equal(s->connects, 0);
}

static void dial(struct kit *k, struct seen *s, uint16_t port)
{
    start(k, s, "127.0.0.1", port, 5000);
    KIT_UNTIL(k, s->connects == 1);
    assert_int_equal(s->connect_error, 0);
    assert_true(client_open(s->client));
}

static void finish(struct seen *s)
{
    client_free(s->client);
    s->client = NULL;
    mem_free(s->body);
    s->body = NULL;
}

static void asks_and_is_answered_in_order(void **state)
{
    struct kit k;
    struct seen s;
    (void)state;
    kit_start(&k, NULL);
    dial(&k, &s, k.port);
    for (int i = 0; i < 50; i++) assert_int_equal(ask(&s, i, i % 3 == 1 ? "HEAD" : "GET", "/p?q", 5000), 0);
    assert_int_equal(client_outstanding(s.client), 50);
    assert_int_equal(ask(&s, 50, "GET", "/p", 0), E_BUSY);
    s.send_in_answer = true;
    KIT_UNTIL(&k, s.answers == 51);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(s.order[i], i);
        assert_int_equal(s.errors[i], 0);
        assert_int_equal(s.statuses[i], 200);
    }
    assert_int_equal(s.order[50], 63);
    assert_string_equal(s.body, "GET /pre/again ");
    assert_int_equal(client_outstanding(s.client), 0);
    assert_int_equal(http_server_connections(k.server), 1);
    client_close(s.client, false);
    assert_false(client_open(s.client));
    KIT_UNTIL(&k, s.closes == 1);
    assert_int_equal(s.closed_error, E_CANCELLED);
    assert_int_equal(ask(&s, 0, "GET", "/", 0), E_UNREACHABLE);
    finish(&s);
    kit_stop(&k);
}

static void sends_headers_and_bodies(void **state)
{
    struct kit k;
    struct seen s;
    struct http_header lines[] = { { "x-test", "value" }, { "x-api-key", "k" } };
    (void)state;
    kit_start(&k, NULL);
    dial(&k, &s, k.port);
    struct client_request q = request(&s, 0, "POST", "/b");
    q.headers = lines;
    q.headers_count = 2;
    q.content_type = "application/json";
    q.body = "{}";
    q.body_len = 2;
    assert_int_equal(client_send(s.client, &q), 0);
    KIT_UNTIL(&k, s.answers == 1);
    assert_string_equal(s.body, "POST /pre/b {}");
    assert_string_equal(s.header, "value");
    q.path = "/evil HTTP/1.1\r\nx: y";
    assert_int_equal(client_send(s.client, &q), E_INVALID);
    q.path = "/b";
    lines[1].value = "a\r\nb: c";
    q.body_owned = mem_strdup("taken over even now");
    assert_int_equal(client_send(s.client, &q), E_INVALID);
    finish(&s);
    kit_stop(&k);
}

static void large_cap(struct http_limits *l)
{
    l->body_bytes_max = LARGE;
}

static size_t swallow(int fd, size_t most)
{
    static char waste[65536];
    size_t sum = 0;
    for (ssize_t n = 1; sum < most && n > 0; sum += n > 0 ? (size_t)n : 0)
        n = recv(fd, waste, sizeof waste, MSG_DONTWAIT);
    return sum;
}

/* What a slow other side takes shows, long before it answers. */
static void tells_what_was_not_taken_yet(void **state)
{
    struct kit k;
    struct seen s;
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    (void)state;
    if (getenv("KIT_TLS") != NULL) skip(); /* nobody at the other end who could shake hands */
    int small = 16384, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    kit_start(&k, large_cap);
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
    dial(&k, &s, ntohs(a.sin_port));
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    char *body = mem_alloc(LARGE / 16);
    struct client_request q = request(&s, 0, "POST", "/l");
    q.body_len = LARGE / 16;
    q.body_owned = body;
    assert_int_equal(client_send(s.client, &q), 0);
    size_t left = client_unsent(s.client);
    assert_true(left > LARGE / 32); /* whoever holds it, libuv or the kernel */
    for (size_t taken = 0; taken < LARGE / 32;) {
        KIT_UNTIL(&k, (taken += swallow(fd, 65536)) > 0 && client_unsent(s.client) < left);
        left = client_unsent(s.client);
    }
    assert_int_equal(s.answers, 0);
    KIT_UNTIL(&k, (swallow(fd, LARGE), client_unsent(s.client) == 0));
    close(fd);
    close(listener);
    finish(&s);
    kit_stop(&k);
}

static void carries_large_bodies(void **state)
{
    struct kit k;
    struct seen s;
    (void)state;
    kit_start(&k, large_cap);
    dial(&k, &s, k.port);
    char *body = mem_alloc(LARGE);
    for (size_t i = 0; i < LARGE; i++) body[i] = (char)('a' + i % 19);
    struct client_request q = request(&s, 0, "POST", "/skip");
    q.body = body;
    q.body_len = LARGE;
    assert_int_equal(client_send(s.client, &q), 0); /* copied as far as the socket does not take it */
    q = request(&s, 1, "POST", "/l");
    q.body_len = LARGE - 100; /* the answer is a little longer */
    q.body_owned = body;
    assert_int_equal(client_send(s.client, &q), 0); /* taken over, waits behind */
    assert_true(client_unsent(s.client) > LARGE);
    KIT_UNTIL(&k, s.answers == 2 && client_unsent(s.client) == 0);
    assert_int_equal(s.errors[0], 0);
    assert_int_equal(s.errors[1], 0);
    const char *echo = s.body + strlen("POST /pre/l ");
    assert_int_equal(s.body_len, LARGE - 100 + strlen("POST /pre/l "));
    for (size_t i = 0; i < LARGE - 100; i++) {
        if (echo[i] != (char)('a' + i % 19)) fail_msg("byte %zu differs", i);
    }
    finish(&s);
    kit_stop(&k);
}

static void refused_and_unknown(void **state)
{
    struct kit k;
    struct seen s;
    (void)state;
    kit_start(&k, NULL);
    start(&k, &s, "127.0.0.1", 1, 5000);
    assert_int_equal(ask(&s, 0, "GET", "/", 0), E_UNREACHABLE);
    KIT_UNTIL(&k, s.connects == 1);
    assert_int_equal(s.connect_error, E_UNREACHABLE);
    finish(&s);
    start(&k, &s, "no-such-host.invalid", 1, 0);
    KIT_UNTIL(&k, s.connects == 1);
    assert_int_equal(s.connect_error, E_UNREACHABLE);
    finish(&s);
    start(&k, &s, "localhost", k.port, 5000);
    KIT_UNTIL(&k, s.connects == 1);
    assert_int_equal(s.connect_error, 0);
    finish(&s);
    assert_int_equal(s.closes, 0);
    kit_stop(&k);
}

static void connecting_has_a_deadline(void **state)
{
    struct kit k;
    struct seen s[4];
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    (void)state;
    kit_start(&k, NULL);
    /* A listener nobody accepts from, its queue full: further handshakes are not answered. */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    uv_ip4_addr("127.0.0.1", 0, &at);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    for (int i = 0; i < 4; i++) start(&k, &s[i], "127.0.0.1", ntohs(at.sin_port), 200);
    KIT_UNTIL(&k, s[3].connects == 1);
    assert_int_equal(s[3].connect_error, E_TIMEOUT);
    for (int i = 0; i < 4; i++) finish(&s[i]);
    kit_stop(&k);
    close(fd);
}

static void progress_and_pieces(void **state)
{
    struct kit k;
    struct puppet p;
    struct seen s;
    (void)state;
    kit_start(&k, NULL);
    puppet_start(&k, &p);
    dial(&k, &s, p.port);
    for (int i = 0; i < 4; i++) assert_int_equal(ask(&s, i, i == 2 ? "HEAD" : "GET", "/", 5000), 0);
    KIT_UNTIL(&k, p.accepted == 1);
    puppet_puts(&p, "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 10");
    KIT_UNTIL(&k, s.progress == 1);
    puppet_puts(&p, "2 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Echo: e\r\n\r\nabc");
    KIT_UNTIL(&k, s.progress == 2);
    assert_int_equal(s.answers, 0);
    puppet_puts(&p, "defHTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n1\r\n!\r\n0\r\n\r\n");
    KIT_UNTIL(&k, s.answers == 2);
    assert_string_equal(s.body, "xyz!");
    assert_string_equal(s.header, "e");
    assert_int_equal(s.statuses[0], 200);
    assert_int_equal(s.statuses[1], 503);
    puppet_puts(&p, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nHTTP/1.1 200 OK\r\n\r\nuntil the end");
    KIT_UNTIL(&k, s.answers == 3);
    puppet_hang_up(&p);
    KIT_UNTIL(&k, s.closes == 1);
    assert_int_equal(s.answers, 4);
    assert_string_equal(s.body, "until the end");
    assert_int_equal(s.closed_error, E_UNREACHABLE);
    finish(&s);
    puppet_stop(&k, &p);
    kit_stop(&k);
}

/* Two requests; the puppet says `text` and, if asked to, hangs up. Checks how both and the connection end. */
static void ends_so(const char *text, bool hang_up, int first, int second, int closed)
{
    struct kit k;
    struct puppet p;
    struct seen s;
    kit_start(&k, NULL);
    puppet_start(&k, &p);
    dial(&k, &s, p.port);
    assert_int_equal(ask(&s, 0, "GET", "/", 2000), 0);
    assert_int_equal(ask(&s, 1, "GET", "/", 500), 0);
    KIT_UNTIL(&k, p.in.len > 0);
    puppet_puts(&p, text);
    if (hang_up) puppet_hang_up(&p);
    KIT_UNTIL(&k, s.closes == 1);
    assert_int_equal(s.answers, 2);
    assert_int_equal(s.order[0], 0);
    assert_int_equal(s.errors[0], first);
    assert_int_equal(s.errors[1], second);
    assert_int_equal(s.closed_error, closed);
    finish(&s);
    puppet_stop(&k, &p);
    kit_stop(&k);
}

static void how_connections_end(void **state)
{
    const char *ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    (void)state;
    ends_so("", false, E_TIMEOUT, E_TIMEOUT, E_TIMEOUT);
    ends_so(ok, false, 0, E_TIMEOUT, E_TIMEOUT);
    ends_so("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", false, E_TIMEOUT, E_TIMEOUT, E_TIMEOUT);
    ends_so("HTTP/1.1 102 Processing\r\n\r\n", false, E_TIMEOUT, E_TIMEOUT, E_TIMEOUT);
    ends_so("", true, E_UNREACHABLE, E_UNREACHABLE, E_UNREACHABLE);
    ends_so(ok, true, 0, E_UNREACHABLE, E_UNREACHABLE);
    ends_so("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", true, E_UNREACHABLE, E_UNREACHABLE, E_UNREACHABLE);
    ends_so("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx", false, 0, E_UNREACHABLE,
            E_UNREACHABLE);
    ends_so("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", false, 0, E_UNREACHABLE, E_UNREACHABLE);
    ends_so("SSH-2.0-OpenSSH_9.2\r\n", false, E_PROTOCOL, E_PROTOCOL, E_PROTOCOL);
    ends_so("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", false, E_PROTOCOL, E_PROTOCOL,
            E_PROTOCOL);
    ends_so("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\x01garbage\r\n\r\n", false, 0, E_PROTOCOL, E_PROTOCOL);
    ends_so("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, E_PROTOCOL, E_PROTOCOL, E_PROTOCOL);
    ends_so("HTTP/1.1 200 OK\r\nContent-Length: 16777217\r\n\r\n", false, E_TOO_LARGE, E_TOO_LARGE, E_TOO_LARGE);
}

static void bytes_nobody_asked_for(void **state)
{
    struct kit k;
    struct puppet p;
    struct seen s;
    (void)state;
    kit_start(&k, NULL);
    puppet_start(&k, &p);
    dial(&k, &s, p.port);
    KIT_UNTIL(&k, p.accepted == 1);
    puppet_puts(&p, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    KIT_UNTIL(&k, s.closes == 1);
    assert_int_equal(s.closed_error, E_PROTOCOL);
    assert_int_equal(s.answers, 0);
    finish(&s);
    puppet_stop(&k, &p);
    kit_stop(&k);
}

static void abort_is_a_reset(void **state)
{
    struct kit k;
    struct puppet p;
    struct seen s;
    (void)state;
    kit_start(&k, NULL);
    puppet_start(&k, &p);
    dial(&k, &s, p.port);
    assert_int_equal(ask(&s, 0, "GET", "/", 0), 0);
    KIT_UNTIL(&k, p.in.len > 0);
    client_close(s.client, true);
    assert_int_equal(s.answers, 0); /* later, never from inside */
    KIT_UNTIL(&k, s.closes == 1 && p.reset);
    assert_false(p.eof);
    assert_int_equal(s.errors[0], E_CANCELLED);
    assert_int_equal(s.closed_error, E_CANCELLED);
    finish(&s);
    puppet_stop(&k, &p);
    kit_stop(&k);
}

static void freed_at_any_moment(void **state)
{
    struct kit k;
    struct seen s;
    struct client_options o = { .body_bytes_max = 10, .outstanding_max = 1 };
    (void)state;
    kit_start(&k, NULL);
    client_free(client_new(&k.loop, &o)); /* never connected */
    client_free(NULL);
    start(&k, &s, "127.0.0.1", k.port, 5000); /* connecting */
    finish(&s);
    start(&k, &s, "localhost", k.port, 5000); /* looking up */
    finish(&s);
    start(&k, &s, "localhost", k.port, 5000);
    client_close(s.client, true); /* closing */
    finish(&s);
    assert_int_equal(s.connects, 0);

    start(&k, &s, "127.0.0.1", k.port, 5000);
    s.free_in_connect = true;
    KIT_UNTIL(&k, s.client == NULL);
    start(&k, &s, "127.0.0.1", 1, 5000); /* the failing one too */
    s.free_in_connect = true;
    KIT_UNTIL(&k, s.client == NULL);

    dial(&k, &s, k.port);
    s.free_in_answer = true;
    for (int i = 0; i < 3; i++) assert_int_equal(ask(&s, i, "GET", "/", 1000), 0);
    KIT_UNTIL(&k, s.client == NULL);
    for (int i = 0; i < 5; i++) kit_turn(&k, UINT64_MAX);
    assert_int_equal(s.answers, 1); /* no callback after the free */
    assert_int_equal(s.closes, 0);
    mem_free(s.body);

    dial(&k, &s, k.port);
    s.free_in_answer = true;
    for (int i = 0; i < 3; i++) assert_int_equal(ask(&s, i, "GET", "/", 1000), 0);
    client_close(s.client, false); /* freed in the callback of a failure */
    KIT_UNTIL(&k, s.client == NULL);
    assert_int_equal(s.errors[0], E_CANCELLED);
    assert_int_equal(s.answers, 1);

    dial(&k, &s, k.port);
    s.free_in_closed = true;
    client_close(s.client, true);
    KIT_UNTIL(&k, s.client == NULL);
    kit_stop(&k);
}

static void freed_in_progress(void **state)
{
    struct kit k;
    struct puppet p;
    struct seen s;
    (void)state;
    kit_start(&k, NULL);
    puppet_start(&k, &p);
    dial(&k, &s, p.port);
    s.free_in_progress = true;
    assert_int_equal(ask(&s, 0, "GET", "/", 1000), 0);
    KIT_UNTIL(&k, p.accepted == 1);
    puppet_puts(&p, "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    KIT_UNTIL(&k, s.client == NULL);
    KIT_UNTIL(&k, p.eof || p.reset);
    assert_int_equal(s.answers, 0);
    puppet_stop(&k, &p);
    kit_stop(&k);
}

static void urls(void **state)
{
    static const struct {
        const char *url;
        int ret;
        const char *host, *prefix, *authority;
        int port;
    } rows[] = {
        { "http://a", 0, "a", "", "a", 80 },
        { "http://A.B-c_1:8080/", 0, "a.b-c_1", "", "a.b-c_1:8080", 8080 },
        { "HTTP://127.0.0.1:1/x/y//", 0, "127.0.0.1", "/x/y", "127.0.0.1:1", 1 },
        { "http://[::1]:65535", 0, "::1", "", "[::1]:65535", 65535 },
        { "http://[FE80::1]/p", 0, "fe80::1", "/p", "[fe80::1]", 80 },
        { "https://a", 0, "a", "", "a", 443 },
        { "HTTPS://A:80/x/", 0, "a", "/x", "a:80", 80 },
        { "https://[::1]:443", 0, "::1", "", "[::1]", 443 },
        { "https:/a", E_INVALID, NULL, NULL, NULL, 0 },
        { "ftp://a", E_INVALID, NULL, NULL, NULL, 0 },
        { "a:80", E_INVALID, NULL, NULL, NULL, 0 },
        { "", E_INVALID, NULL, NULL, NULL, 0 },
        { "http://", E_INVALID, NULL, NULL, NULL, 0 },
        { "http:///p", E_INVALID, NULL, NULL, NULL, 0 },
        { "http://:80", E_INVALID, NULL, NULL, NULL, 0 },
        { "http://a:", E_INVALID, NULL, NULL, NULL, 0 },
        { "http://a:0", E_INVALID, NULL, NULL, NULL, 0 },
        { "http://a:65536", E_INVALID, NULL, NULL, NULL, 0 },
        { "http://a:99999999999", E_INVALID, NULL, NULL, NULL, 0 },
        { "http://a:80x", E_INVALID, NULL, NULL, NULL, 0 },
        { "http://u:p@a", E_INVALID, NULL, NULL, NULL, 0 },
        { "http://u@a/", E_INVALID, NULL, NULL, NULL, 0 },
        { "http://a?q", E_INVALID, NULL, NULL, NULL, 0 },
        { "http://a/p?q", E_INVALID, NULL, NULL, NULL, 0 },
        { "http://a/#f", E_INVALID, NULL, NULL, NULL, 0 },
        { "http://a b", E_INVALID, NULL, NULL, NULL, 0 },
        { "http://a/b c", E_INVALID, NULL, NULL, NULL, 0 },
        { "http://[::1", E_INVALID, NULL, NULL, NULL, 0 },
        { "http://a\r\nb", E_INVALID, NULL, NULL, NULL, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct client_url u;
        struct err err = { 0 };
        int r = client_url_parse(rows[i].url, &u, &err);
        if (r != rows[i].ret) fail_msg("%s: %d", rows[i].url, r);
        if (r != 0) {
            assert_int_equal(err.code, r);
            continue;
        }
        assert_string_equal(u.host, rows[i].host);
        assert_string_equal(u.prefix, rows[i].prefix);
        assert_string_equal(u.authority, rows[i].authority);
        assert_int_equal(u.port, rows[i].port);
        assert_int_equal(u.tls, strncasecmp(rows[i].url, "https", 5) == 0);
    }
    char longest[700];
    struct client_url u;
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    memcpy(longest, "http://", 7);
    assert_int_equal(client_url_parse(longest, &u, NULL), E_INVALID);
    longest[8] = '/';
    assert_int_equal(client_url_parse(longest, &u, NULL), E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_and_is_answered_in_order),
        cmocka_unit_test(sends_headers_and_bodies),
        cmocka_unit_test(tells_what_was_not_taken_yet),
        cmocka_unit_test(carries_large_bodies),
        cmocka_unit_test(refused_and_unknown),
        cmocka_unit_test(connecting_has_a_deadline),
        cmocka_unit_test(progress_and_pieces),
        cmocka_unit_test(how_connections_end),
        cmocka_unit_test(bytes_nobody_asked_for),
        cmocka_unit_test(abort_is_a_reset),
        cmocka_unit_test(freed_at_any_moment),
        cmocka_unit_test(freed_in_progress),
        cmocka_unit_test(urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
