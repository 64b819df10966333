/* TLS between our server and our client over loopback: what only TLS has. What a plain connection has too is held by
 * test_net_http, test_net_limits and test_net_client, which run once more with KIT_TLS. */
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/net_kit.h"
#include "base/alloc.h"
#include "net/client.h"

struct seen {
    struct client *client;
    int connects, connect_error, closes, answers, answer_error, status, answers_wanted;
    bool in_a_hurry;
    char why[400];
};

static void answer_cb(void *data, int error, const struct client_answer *a);

/* More than any socket holds, so that some of it is under way when hands turn out not to be shaken. */
static void send_much(struct seen *s)
{
    static char much[1 << 20];
    struct client_request q = { .method = "POST", .path = "/skip", .cb = answer_cb, .data = s };
    q.body = much;
    q.body_len = sizeof much;
    assert_int_equal(client_send(s->client, &q), 0);
    s->answers_wanted++;
}

static void connected_cb(void *data, int error)
{
    struct seen *s = data;
    s->connects++;
    s->connect_error = error;
    if (error == 0 && s->in_a_hurry) send_much(s);
    if (error != 0) snprintf(s->why, sizeof s->why, "%s", client_why(s->client, error));
}

static void closed_cb(void *data, int error)
{
    struct seen *s = data;
    (void)error;
    s->closes++;
}

static void answer_cb(void *data, int error, const struct client_answer *a)
{
    struct seen *s = data;
    s->answers++;
    s->answer_error = error;
    s->status = error == 0 ? a->status : 0;
    if (error != 0) snprintf(s->why, sizeof s->why, "%s", client_why(s->client, error));
}

static void start(struct kit *k, struct seen *s, struct tls_context *tls, const char *base, uint16_t port, bool hurry)
{
    struct client_options o = {
        .body_bytes_max = 1 << 20, .connect_timeout_ms = 5000, .outstanding_max = 4, .tls = tls
    };
    struct client_url url;
    char text[128];
    memset(s, 0, sizeof *s);
    s->in_a_hurry = hurry;
    snprintf(text, sizeof text, "%s:%u", base, port);
    assert_int_equal(client_url_parse(text, &url, NULL), 0);
    s->client = client_new(&k->loop, &o);
    client_connect(s->client, &url, connected_cb, closed_cb, s);
    KIT_UNTIL(k, s->connects == 1);
}

static void dial(struct kit *k, struct seen *s, struct tls_context *tls, const char *base, uint16_t port)
{
    start(k, s, tls, base, port, false);
}

static void ask(struct seen *s, const char *path)
{
    struct client_request q = { .method = "GET", .path = path, .timeout_ms = 20000, .cb = answer_cb, .data = s };
    assert_int_equal(client_send(s->client, &q), 0);
}

static void finish(struct seen *s)
{
    client_free(s->client);
    s->client = NULL;
}

static void says(const struct seen *s, const char *text)
{
    if (strstr(s->why, text) == NULL) fail_msg("%s, and not: %s", s->why, text);
}

/* The server goes on after whatever came before. */
static void still_serves(struct kit *k)
{
    struct seen s;
    dial(k, &s, k->tls_client, "https://localhost", k->port);
    assert_int_equal(s.connect_error, 0);
    ask(&s, "/well");
    KIT_UNTIL(k, s.answers == 1);
    assert_int_equal(s.status, 200);
    finish(&s);
    KIT_UNTIL(k, http_server_connections(k->server) == 0);
}

static void brief(struct http_limits *l)
{
    l->header_timeout_ms = 300;
}

static void open_plain(struct kit *k, struct raw *r)
{
    k->secure = false;
    raw_open(k, r);
    k->secure = true;
}

/* Hands that are shaken too slowly, or not at all, are let go like slow heads; nothing is said in the clear. */
static void slow_hands(void **state)
{
    static const char hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    struct kit k;
    struct raw silent, half, drop;
    (void)state;
    kit_start_tls(&k, brief);
    open_plain(&k, &silent);
    open_plain(&k, &half);
    open_plain(&k, &drop);
    raw_send(&half, hello, sizeof hello - 1);
    for (int i = 0; i < 10; i++) { /* a byte now and then does not help */
        uint64_t next = uv_now(&k.loop) + 20;
        KIT_UNTIL(&k, uv_now(&k.loop) >= next);
        raw_send(&drop, hello + i, 1);
    }
    KIT_UNTIL(&k, (silent.eof || silent.reset) && (half.eof || half.reset) && (drop.eof || drop.reset));
    assert_int_equal(silent.in.len + half.in.len + drop.in.len, 0);
    raw_close(&k, &silent);
    raw_close(&k, &half);
    raw_close(&k, &drop);
    assert_int_equal(http_server_requests(k.server), 0);
    still_serves(&k);
    kit_stop(&k);
}

static void plain_speech_at_a_secure_port(void **state)
{
    static const char *const texts[] = { "GET / HTTP/1.1\r\nhost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\n",
                                         "SSH-2.0-OpenSSH_9.2\r\n" };
    struct kit k;
    (void)state;
    kit_start_tls(&k, brief);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct raw r;
        open_plain(&k, &r);
        raw_puts(&r, texts[i]);
        KIT_UNTIL(&k, r.eof || r.reset);
        if (r.in.len > 0) assert_int_equal(r.in.data[0], 0x15); /* an alert at most */
        raw_close(&k, &r);
    }
    KIT_UNTIL(&k, http_server_connections(k.server) == 0);
    still_serves(&k);
    kit_stop(&k);
}

static void secure_speech_at_a_plain_port(void **state)
{
    struct kit k, plain;
    struct seen s;
    (void)state;
    kit_start_tls(&k, NULL);
    kit_start(&plain, NULL);
    dial(&plain, &s, k.tls_client, "https://127.0.0.1", plain.port);
    assert_int_equal(s.connect_error, E_PROTOCOL);
    says(&s, "does not speak TLS");
    finish(&s);
    KIT_UNTIL(&plain, http_server_connections(plain.server) == 0);
    assert_int_equal(raw_ask(&plain, "GET / HTTP/1.0\r\n\r\n", 18), 200);
    kit_stop(&plain);
    kit_stop(&k);
}

/* A client that does not like the certificate sends nothing, and can say why. */
static void certificates_that_are_not_liked(void **state)
{
    static const struct {
        const char *name, *san, *base, *why;
        int to_days;
    } rows[] = {
        { "else", "DNS:else.test", "https://127.0.0.1", "the certificate of 127.0.0.1: IP address mismatch", 1 },
        { "else", "DNS:else.test", "https://localhost", "the certificate of localhost: hostname mismatch", 1 },
        { "old", "IP:127.0.0.1", "https://127.0.0.1", "the certificate of 127.0.0.1: certificate has expired", -1 },
        { "self", NULL, "https://127.0.0.1", "the certificate of 127.0.0.1: self-signed certificate", 1 },
    };
    struct kit k;
    (void)state;
    kit_start_tls(&k, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct seen s;
        struct tls_context *server;
        char cert[64], key[64];
        certs_make(&k.certs, rows[i].name, rows[i].san, -9, rows[i].to_days);
        snprintf(cert, sizeof cert, "%s.pem", rows[i].name);
        snprintf(key, sizeof key, "%s.key", rows[i].name);
        struct tls_files files = { .cert = certs_path(&k.certs, cert), .key = certs_path(&k.certs, key) };
        assert_int_equal(tls_context_server(&files, &server, NULL), 0);
        kit_serve_tls(&k, server);
        dial(&k, &s, k.tls_client, rows[i].base, k.port);
        assert_int_equal(s.connect_error, E_PROTOCOL);
        says(&s, rows[i].why);
        finish(&s);
        KIT_UNTIL(&k, http_server_connections(k.server) == 0);
        assert_int_equal(http_server_requests(k.server), 0);
        kit_serve_tls(&k, k.tls_server);
        tls_context_free(server);
    }
    still_serves(&k);
    kit_stop(&k);
}

/* The alert reaches the client whose certificate is refused, though it had begun to send its request. */
static void certificate_that_is_not_listed(void **state)
{
    struct kit k;
    struct seen s;
    struct tls_context *server, *with, *without;
    char print[65];
    (void)state;
    kit_start_tls(&k, NULL);
    certs_make(&k.certs, "listed", NULL, -1, 1);
    certs_make(&k.certs, "other", "DNS:other", -1, 1);
    certs_write(&k.certs, "allow", certs_print(&k.certs, "listed", print));
    struct tls_files files = { .cert = certs_path(&k.certs, "node.pem"), .key = certs_path(&k.certs, "node.key") };
    files.allowlist = certs_path(&k.certs, "allow");
    assert_int_equal(tls_context_server(&files, &server, NULL), 0);
    files = (struct tls_files){ .cert = certs_path(&k.certs, "listed.pem"), .key = certs_path(&k.certs, "listed.key") };
    files.ca = certs_path(&k.certs, "ca.pem");
    assert_int_equal(tls_context_client(&files, &with, NULL), 0);
    files.cert = certs_path(&k.certs, "other.pem");
    files.key = certs_path(&k.certs, "other.key");
    assert_int_equal(tls_context_client(&files, &without, NULL), 0);
    kit_serve_tls(&k, server);
    struct tls_context *const refused[] = { without, k.tls_client };
    for (int i = 0; i < 2; i++) {
        start(&k, &s, refused[i], "https://127.0.0.1", k.port, true);
        if (s.answers_wanted > 0) {
            KIT_UNTIL(&k, s.answers == 1);
            assert_int_equal(s.answer_error, E_PROTOCOL);
        }
        says(&s, "refused by the other side");
        finish(&s);
    }
    assert_int_equal(http_server_requests(k.server), 0);
    dial(&k, &s, with, "https://127.0.0.1", k.port);
    ask(&s, "/secret");
    KIT_UNTIL(&k, s.answers == 1);
    assert_int_equal(s.status, 200);
    finish(&s);
    kit_stop(&k);
    tls_context_free(server);
    tls_context_free(with);
    tls_context_free(without);
}

/* An answer without a length ends with close_notify; a mere end of the connection is anybody's doing. */
static void a_cut_is_no_end(void **state)
{
    (void)state;
    for (int farewell = 0; farewell < 2; farewell++) {
        struct kit k;
        struct puppet p;
        struct seen s;
        kit_start_tls(&k, NULL);
        puppet_start(&k, &p);
        dial(&k, &s, k.tls_client, "https://127.0.0.1", p.port);
        ask(&s, "/");
        KIT_UNTIL(&k, p.in.len > 0);
        puppet_puts(&p, "HTTP/1.1 200 OK\r\n\r\nthe balance is 100");
        if (farewell == 0) p.rude = true;
        puppet_hang_up(&p);
        KIT_UNTIL(&k, s.answers == 1);
        assert_int_equal(s.status, farewell == 0 ? 0 : 200);
        if (farewell == 0) assert_int_equal(s.answer_error, E_UNREACHABLE);
        finish(&s);
        puppet_stop(&k, &p);
        kit_stop(&k);
    }
}

/* Both sides say that they end, whatever they end for: then the other one knows that nothing was cut off. */
static void ends_are_told(void **state)
{
    static const char *const texts[] = {
        "GET /close HTTP/1.1\r\nHost: h\r\n\r\n",                             /* an answer that is the last */
        "POST /cap16 HTTP/1.1\r\nHost: h\r\nContent-Length: 99999\r\n\r\nxy", /* what is unread is waited for */
        "nonsense\r\n\r\n",
    };
    struct kit k;
    struct puppet p;
    struct seen s;
    (void)state;
    kit_start_tls(&k, NULL);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct raw r;
        raw_open(&k, &r);
        raw_puts(&r, texts[i]);
        KIT_UNTIL(&k, r.eof || r.reset);
        assert_int_equal(r.count, 1);
        assert_true(r.link.farewell);
        raw_close(&k, &r);
    }
    puppet_start(&k, &p);
    dial(&k, &s, k.tls_client, "https://127.0.0.1", p.port);
    ask(&s, "/");
    KIT_UNTIL(&k, p.in.len > 0);
    finish(&s);
    KIT_UNTIL(&k, p.eof || p.reset);
    assert_true(p.link.farewell);
    puppet_stop(&k, &p);
    kit_stop(&k);
}

/* A record that was tampered with ends the connection, and the handler hears of it. */
static void damage_on_the_way(void **state)
{
    static const char record[] = "\x17\x03\x03\x00\x20 thirty-two bytes of no meaning...";
    struct kit k;
    struct raw r;
    (void)state;
    kit_start_tls(&k, NULL);
    raw_open(&k, &r);
    raw_puts(&r, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    KIT_UNTIL(&k, k.held_count == 1);
    struct tls *tls = r.link.tls;
    r.link.tls = NULL;
    raw_send(&r, record, sizeof record - 1);
    KIT_UNTIL(&k, r.eof || r.reset);
    assert_int_equal(k.gone, 1);
    assert_int_equal(r.count, 0);
    r.link.tls = tls;
    raw_close(&k, &r);
    still_serves(&k);
    kit_stop(&k);
}

/* What was decrypted, or only fed, while the server did not want to read is read later though nothing more comes. */
static void bytes_behind_a_halt(void **state)
{
    enum { COUNT = 100 };
    struct kit k;
    struct raw r;
    struct buf b;
    (void)state;
    kit_start_tls(&k, NULL);
    raw_open(&k, &r);
    raw_puts(&r, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    KIT_UNTIL(&k, k.held_count == 1);
    buf_init(&b, 1 << 20);
    for (int i = 0; i < COUNT; i++) buf_printf(&b, "GET /p HTTP/1.1\r\nHost: h\r\nPad: %01000d\r\n\r\n", i);
    raw_send(&r, b.data, b.len);
    uint64_t quiet = uv_now(&k.loop) + 100;
    KIT_UNTIL(&k, uv_now(&k.loop) >= quiet);
    kit_answer(&k, 0);
    KIT_UNTIL(&k, r.count == COUNT + 1);
    buf_release(&b);
    raw_close(&k, &r);
    kit_stop(&k);
}

/* Somebody accepts and says nothing: the client gives up by itself. */
static void a_server_that_does_not_shake_hands(void **state)
{
    struct kit k;
    struct seen s;
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)state;
    kit_start_tls(&k, NULL);
    uv_ip4_addr("127.0.0.1", 0, &at);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    uint64_t began = uv_now(&k.loop);
    dial(&k, &s, k.tls_client, "https://127.0.0.1", ntohs(at.sin_port));
    assert_int_equal(s.connect_error, E_TIMEOUT);
    assert_true(uv_now(&k.loop) - began >= CLIENT_HANDSHAKE_MS);
    finish(&s);
    kit_stop(&k);
    close(fd);
}

static void patient(struct http_limits *l)
{
    l->header_timeout_ms = 600000;
}

/* Asks for new keys and never reads the answers: they may fill what sockets hold, and little more of ours. */
static void keys_without_end(void **state)
{
    static char bytes[65536];
    struct kit k;
    struct raw r;
    int small = 4096, n;
    (void)state;
    kit_start_tls(&k, patient);
    open_plain(&k, &r);
    uv_recv_buffer_size((uv_handle_t *)&r.tcp, &small);
    SSL_CTX *x = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(x);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);
    while (SSL_do_handshake(ssl) != 1) {
        while ((n = BIO_read(out, bytes, sizeof bytes)) > 0) raw_send(&r, bytes, (size_t)n);
        KIT_UNTIL(&k, r.in.len > 0);
        BIO_write(in, r.in.data, (int)r.in.len);
        buf_clear(&r.in);
    }
    raw_pause(&r, true);
    unsigned updates = 0;
    do {
        for (int i = 0; i < 1000; i++) {
            assert_int_equal(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED), 1);
            assert_int_equal(SSL_do_handshake(ssl), 1);
        }
        updates += 1000;
        while ((n = BIO_read(out, bytes, sizeof bytes)) > 0) raw_send(&r, bytes, (size_t)n);
        KIT_UNTIL(&k,
                  http_server_connections(k.server) == 0 || uv_stream_get_write_queue_size((uv_stream_t *)&r.tcp) == 0);
        assert_true(updates < 2000000);
    } while (http_server_connections(k.server) == 1);
    SSL_free(ssl);
    SSL_CTX_free(x);
    raw_close(&k, &r);
    still_serves(&k);
    kit_stop(&k);
}

static void drained_cb(void *data)
{
    struct kit *k = data;
    k->drained++;
}

/* A drain ends what shakes hands and what idles, and waits for what is under way. */
static void drain(void **state)
{
    struct kit k;
    struct raw busy, idle, hands;
    (void)state;
    kit_start_tls(&k, NULL);
    raw_open(&k, &busy);
    raw_open(&k, &idle);
    open_plain(&k, &hands);
    raw_puts(&idle, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_puts(&busy, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    KIT_UNTIL(&k, k.held_count == 1 && idle.count == 1 && http_server_connections(k.server) == 3);
    http_server_drain(k.server, drained_cb, &k);
    KIT_UNTIL(&k, (idle.eof || idle.reset) && (hands.eof || hands.reset));
    assert_int_equal(k.drained, 0);
    kit_answer(&k, 0);
    KIT_UNTIL(&k, k.drained == 1 && busy.count == 1 && busy.eof);
    assert_int_equal(busy.statuses[0], 200);
    raw_close(&k, &busy);
    raw_close(&k, &idle);
    raw_close(&k, &hands);
    kit_stop(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_hands),
        cmocka_unit_test(plain_speech_at_a_secure_port),
        cmocka_unit_test(secure_speech_at_a_plain_port),
        cmocka_unit_test(certificates_that_are_not_liked),
        cmocka_unit_test(certificate_that_is_not_listed),
        cmocka_unit_test(a_cut_is_no_end),
        cmocka_unit_test(ends_are_told),
        cmocka_unit_test(damage_on_the_way),
        cmocka_unit_test(bytes_behind_a_halt),
        cmocka_unit_test(a_server_that_does_not_shake_hands),
        cmocka_unit_test(keys_without_end),
        cmocka_unit_test(drain),
    };
    unsetenv("KIT_TLS"); /* here each says for itself */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
