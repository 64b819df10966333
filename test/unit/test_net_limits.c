/* The server under clients that are malformed, too large, too slow or too many. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/alloc.h"
#include "../lib/net_kit.h"

#define CAP (2 * 1024 * 1024)

static void small_limits(struct http_limits *l)
{
    l->header_timeout_ms = 300;
    l->body_timeout_ms = 300;
    l->idle_timeout_ms = 300;
    l->write_timeout_ms = 300;
}

static void four_connections(struct http_limits *l)
{
    l->connections_max = 4;
}

static int ask(struct kit *k, const char *text)
{
    return raw_ask(k, text, strlen(text));
}

static void malformed_is_400_and_close(void **state)
{
    static const char *const rows[] = {
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        "hello\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n", /* whose? */
        "GET / HTTP/1.1\r\nA: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nhost: h\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: h\r\nHost: i\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: http://a/\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET ftp://h/x HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET http://h/x HTTP/1.1\r\n\r\n", /* an absolute target does not spare the line */
        "GET\r\n\r\n",
        "GET / HTTP/3.7\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nBad Header\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\x01\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\na b: c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n: b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    };
    struct kit k;
    (void)state;
    kit_start(&k, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int status = ask(&k, rows[i]);
        if (status != 400) fail_msg("%s: %d", rows[i], status);
    }
    assert_int_equal(http_server_requests(k.server), 0);
    assert_int_equal(ask(&k, "GET / HTTP/1.0\r\n\r\n"), 200);
    assert_int_equal(ask(&k, "GET / HTTP/1.1\r\nConnection: close\r\nHost: [::1]:9077\r\n\r\n"), 200);
    assert_int_equal(ask(&k, "GET / HTTP/1.1\r\nConnection: close\r\nHost:\r\n\r\n"), 200);
    kit_stop(&k);
}

/* Status of a request whose target is `url` long, with `lines` header lines of `line` bytes each. */
static int ask_sized(struct kit *k, size_t url, int lines, size_t line)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_puts(&b, "GET /");
    for (size_t i = 1; i < url; i++) buf_putc(&b, 'u');
    buf_puts(&b, " HTTP/1.0\r\n");
    for (int i = 0; i < lines; i++) {
        buf_puts(&b, "h:");
        for (size_t n = 1; n < line; n++) buf_putc(&b, 'v');
        buf_puts(&b, "\r\n");
    }
    buf_puts(&b, "\r\n");
    int status = raw_ask(k, b.data, b.len);
    buf_release(&b);
    return status;
}

static void heads_have_limits(void **state)
{
    struct kit k;
    (void)state;
    kit_start(&k, NULL);
    assert_int_equal(ask_sized(&k, 65534, 0, 0), 200);
    assert_int_equal(ask_sized(&k, 65535, 0, 0), 414);
    assert_int_equal(ask_sized(&k, 300000, 0, 0), 414);
    assert_int_equal(ask_sized(&k, 1, 1, 65536), 200);
    assert_int_equal(ask_sized(&k, 1, 1, 65537), 431);
    assert_int_equal(ask_sized(&k, 65534, 4, 16384), 200);
    assert_int_equal(ask_sized(&k, 1, 5, 16384), 431);
    assert_int_equal(ask_sized(&k, 1, 100, 10), 200);
    assert_int_equal(ask_sized(&k, 1, 101, 10), 431);
    assert_int_equal(ask_sized(&k, 1, 1, 500000), 431);
    assert_int_equal(http_server_requests(k.server), 4);
    kit_stop(&k);
}

/* Sends a body of `len` bytes, chunked when `chunk` is not 0; checks the echo when it is accepted. */
static int ask_body(struct kit *k, const char *path, size_t len, size_t chunk)
{
    struct buf b;
    struct raw r;
    buf_init(&b, 16 * CAP);
    buf_printf(&b, "POST %s HTTP/1.0\r\n", path);
    if (chunk == 0) buf_printf(&b, "Content-Length: %zu\r\n\r\n", len);
    if (chunk != 0) buf_puts(&b, "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0; at < len;) {
        size_t part = chunk != 0 && chunk < len - at ? chunk : len - at;
        if (chunk != 0) buf_printf(&b, "%zx\r\n", part);
        for (size_t i = 0; i < part; i++) buf_putc(&b, (char)('a' + (at + i) % 23));
        if (chunk != 0) buf_puts(&b, "\r\n");
        at += part;
    }
    if (chunk != 0) buf_puts(&b, "0\r\n\r\n");
    raw_open(k, &r);
    raw_send(&r, b.data, b.len);
    KIT_UNTIL(k, r.eof || r.reset);
    buf_release(&b);
    assert_int_equal(r.count, 1);
    int status = r.statuses[0];
    if (status == 200 && strcmp(path, "/x") == 0) {
        const char *echo = r.bodies[0] + strlen("POST /x ");
        assert_int_equal(strlen(echo), len);
        for (size_t i = 0; i < len; i++) {
            if (echo[i] != (char)('a' + i % 23)) fail_msg("byte %zu differs", i);
        }
    }
    raw_close(k, &r);
    return status;
}

static void bodies_have_a_cap(void **state)
{
    struct kit k;
    (void)state;
    kit_start(&k, NULL);
    assert_int_equal(ask_body(&k, "/x", CAP, 0), 200);
    assert_int_equal(ask_body(&k, "/x", CAP + 1, 0), 413);
    assert_int_equal(ask_body(&k, "/x", CAP, 1000), 200);
    assert_int_equal(ask_body(&k, "/x", CAP, CAP), 200);
    assert_int_equal(ask_body(&k, "/x", CAP + 1, 1000), 413);
    assert_int_equal(ask_body(&k, "/x", CAP + 1, CAP + 1), 413);
    assert_int_equal(ask_body(&k, "/x", 4 * CAP, 60000), 413);
    assert_int_equal(ask_body(&k, "/cap16", 16, 0), 200);
    assert_int_equal(ask_body(&k, "/cap16", 17, 0), 413);
    assert_int_equal(ask_body(&k, "/cap16", 17, 1), 413);
    assert_int_equal(ask_body(&k, "/skip", 2 * CAP, 0), 200);
    assert_int_equal(ask_body(&k, "/skip", 2 * CAP, 5000), 200);
    kit_stop(&k);
}

static void little_room(struct http_limits *l)
{
    l->bodies_bytes_max = 100000;
}

/* What many send together is bounded too; who asks for little is still served. */
static void all_bodies_have_a_cap(void **state)
{
    struct kit k;
    struct raw r[4], more;
    struct buf b;
    (void)state;
    kit_start(&k, little_room);
    buf_init(&b, 1 << 20);
    buf_puts(&b, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 30000\r\n\r\n");
    for (int i = 0; i < 29999; i++) buf_putc(&b, 'b');
    for (int i = 0; i < 3; i++) {
        raw_open(&k, &r[i]);
        raw_send(&r[i], b.data, b.len);
    }
    KIT_UNTIL(&k, ask(&k, "POST /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok") == 200);
    raw_open(&k, &more);
    raw_send(&more, b.data, b.len);
    KIT_UNTIL(&k, more.eof);
    assert_int_equal(more.statuses[0], 503);
    raw_close(&k, &more);
    for (int i = 0; i < 3; i++) {
        raw_puts(&r[i], "!");
        KIT_UNTIL(&k, r[i].count == 1);
        assert_int_equal(r[i].statuses[0], 200);
    }
    raw_open(&k, &more); /* there is room again */
    raw_send(&more, b.data, b.len);
    raw_puts(&more, "!");
    KIT_UNTIL(&k, more.count == 1);
    assert_int_equal(more.statuses[0], 200);
    raw_close(&k, &more);
    for (int i = 0; i < 3; i++) raw_close(&k, &r[i]);
    buf_release(&b);
    kit_stop(&k);
}

/* The parser reads nothing behind such a message: whoever waits for an answer to it would wait for ever. */
static void a_trailer_may_end_the_connection(void **state)
{
    static const char *const paths[] = { "/x", "/hold", "/refuse" };
    struct kit k;
    (void)state;
    kit_start(&k, NULL);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct raw r;
        raw_open(&k, &r);
        raw_puts(&r, "POST ");
        raw_puts(&r, paths[i]);
        raw_puts(&r, " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nConnection: close\r\n\r\n"
                     "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        if (i == 1) {
            KIT_UNTIL(&k, k.held_count == 1);
            kit_answer(&k, 0);
        }
        KIT_UNTIL(&k, r.eof);
        assert_int_equal(r.count, 1);
        raw_close(&k, &r);
    }
    kit_stop(&k);
}

static void refused_before_the_body(void **state)
{
    struct kit k;
    struct raw r;
    (void)state;
    kit_start(&k, NULL);
    raw_open(&k, &r);
    raw_puts(&r, "POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n");
    KIT_UNTIL(&k, r.count == 1); /* before the body is there */
    assert_int_equal(r.statuses[0], 415);
    raw_puts(&r, "bodyPOST /refuse HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nGET /c "
                 "HTTP/1.1\r\nHost: h\r\n\r\n");
    KIT_UNTIL(&k, r.count == 3); /* drained: the connection goes on */
    assert_int_equal(r.statuses[1], 415);
    assert_string_equal(r.bodies[2], "GET /c ");
    raw_puts(&r, "GET /refuse HTTP/1.1\r\nHost: h\r\n\r\nGET /d HTTP/1.1\r\nHost: h\r\n\r\n");
    KIT_UNTIL(&k, r.count == 5);
    assert_int_equal(http_server_requests(k.server), 2); /* no refused one came to the request callback */
    raw_puts(&r, "POST /refuse HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    KIT_UNTIL(&k, r.eof);
    assert_int_equal(r.count, 6);
    assert_int_equal(r.interims, 0);
    raw_close(&k, &r);
    assert_int_equal(ask_body(&k, "/refuse", CAP + 1, 0), 415);
    assert_int_equal(ask_body(&k, "/refuse", 4 * CAP, 30000), 415);
    assert_int_equal(k.gone, 0);
    kit_stop(&k);
}

static void slow_heads_and_bodies(void **state)
{
    struct kit k;
    struct raw silent, head, body, idle, trickle;
    (void)state;
    kit_start(&k, small_limits);
    raw_open(&k, &silent);
    raw_open(&k, &head);
    raw_open(&k, &body);
    raw_open(&k, &idle);
    raw_open(&k, &trickle);
    raw_puts(&head, "GET / HTTP/1.1\r\nHost: h\r\nA: ");
    raw_puts(&body, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na");
    raw_puts(&idle, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_puts(&trickle, "GET / HTTP/1.1\r\nHost: h\r\n");
    uint64_t began = uv_now(&k.loop), last = began;
    while (!(trickle.eof || trickle.reset)) { /* a byte now and then gains no time */
        assert_true(kit_turn(&k, began + 20000));
        if (uv_now(&k.loop) - last >= 20) {
            last = uv_now(&k.loop);
            raw_puts(&trickle, "a");
        }
    }
    KIT_UNTIL(&k, silent.eof && head.eof && body.eof && idle.eof);
    assert_int_equal(silent.statuses[0], 408);
    assert_int_equal(head.statuses[0], 408);
    assert_int_equal(body.statuses[0], 408);
    assert_int_equal(trickle.statuses[0], 408);
    assert_int_equal(idle.count, 1);
    assert_int_equal(idle.statuses[0], 200);
    raw_close(&k, &silent);
    raw_close(&k, &head);
    raw_close(&k, &body);
    raw_close(&k, &idle);
    raw_close(&k, &trickle);
    KIT_UNTIL(&k, http_server_connections(k.server) == 0);
    assert_int_equal(k.gone, 1); /* the body's: its head had been shown */
    kit_stop(&k);
}

static void a_moving_body_is_not_cut(void **state)
{
    struct kit k;
    struct raw r;
    (void)state;
    kit_start(&k, small_limits);
    raw_open(&k, &r);
    raw_puts(&r, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\n");
    for (int i = 0; i < 12; i++) {
        uint64_t next = uv_now(&k.loop) + 60;
        KIT_UNTIL(&k, uv_now(&k.loop) >= next);
        raw_puts(&r, "b");
    }
    KIT_UNTIL(&k, r.count == 1);
    assert_string_equal(r.bodies[0], "POST /x bbbbbbbbbbbb");
    raw_close(&k, &r);
    kit_stop(&k);
}

static void a_waiting_handler_is_not_cut(void **state)
{
    struct kit k;
    struct raw r;
    (void)state;
    kit_start(&k, small_limits);
    raw_open(&k, &r);
    raw_puts(&r, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    uint64_t until = uv_now(&k.loop) + 1000;
    KIT_UNTIL(&k, uv_now(&k.loop) >= until);
    kit_answer(&k, 0);
    KIT_UNTIL(&k, r.count == 1);
    raw_close(&k, &r);
    kit_stop(&k);
}

static void slow_reader_is_reset(void **state)
{
    struct kit k;
    struct raw r;
    (void)state;
    kit_start(&k, small_limits);
    k.big = 24 * 1024 * 1024;
    raw_open(&k, &r);
    raw_pause(&r, true);
    raw_puts(&r, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n");
    KIT_UNTIL(&k, http_server_requests(k.server) == 1);
    KIT_UNTIL(&k, http_server_connections(k.server) == 0);
    raw_pause(&r, false);
    KIT_UNTIL(&k, r.reset || r.eof);
    assert_int_equal(r.count, 0);
    assert_int_equal(k.gone, 0); /* the handler had answered */
    raw_close(&k, &r);
    kit_stop(&k);
}

/* A thousand handshakes take a while on a busy machine: the first must not be too slow for it. */
static void patient_limits(struct http_limits *l)
{
    l->header_timeout_ms = 600000;
}

static void a_thousand_half_open(void **state)
{
    enum { COUNT = 1000 };
    struct rlimit files;
    struct kit k;
    struct raw good;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    if (files.rlim_cur < 2 * COUNT + 64) skip();
    struct raw *half = mem_alloc(COUNT * sizeof *half);
    kit_start(&k, patient_limits);
    for (int i = 0; i < COUNT; i++) {
        raw_open(&k, &half[i]);
        if (i % 2 == 0) raw_puts(&half[i], "POST /x HTTP/1.1\r\nHost: h\r\nContent-Le");
    }
    KIT_UNTIL(&k, http_server_connections(k.server) == COUNT);
    raw_open(&k, &good);
    for (int i = 1; i <= 100; i++) {
        raw_puts(&good, "GET /good HTTP/1.1\r\nHost: h\r\n\r\n");
        KIT_UNTIL(&k, good.count == i);
    }
    raw_close(&k, &good);
    raw_puts(&half[0], "ngth: 2\r\n\r\nhi");
    KIT_UNTIL(&k, half[0].count == 1);
    assert_string_equal(half[0].bodies[0], "POST /x hi");
    for (int i = 0; i < COUNT; i++) raw_close(&k, &half[i]);
    KIT_UNTIL(&k, http_server_connections(k.server) == 0);
    mem_free(half);
    kit_stop(&k);
}

static void too_many_connections(void **state)
{
    struct kit k;
    struct raw r[4], more;
    (void)state;
    kit_start(&k, four_connections);
    for (int i = 0; i < 4; i++) raw_open(&k, &r[i]);
    KIT_UNTIL(&k, http_server_connections(k.server) == 4);
    raw_connect(&k, &more);
    KIT_UNTIL(&k, more.eof || more.reset);
    if (k.secure) { /* hands are not shaken to say so */
        assert_int_equal(more.count, 0);
    } else {
        assert_int_equal(more.statuses[0], 503);
        assert_string_equal(more.bodies[0], "too many connections");
    }
    raw_close(&k, &more);
    raw_puts(&r[3], "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    KIT_UNTIL(&k, r[3].count == 1);
    raw_close(&k, &r[0]);
    KIT_UNTIL(&k, http_server_connections(k.server) == 3);
    raw_open(&k, &r[0]);
    raw_puts(&r[0], "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    KIT_UNTIL(&k, r[0].count == 1);
    for (int i = 0; i < 4; i++) raw_close(&k, &r[i]);
    kit_stop(&k);
}

static void pipelined_bytes_are_bounded(void **state)
{
    enum { COUNT = 16384 };
    struct kit k;
    struct raw r;
    struct buf b;
    (void)state;
    kit_start(&k, NULL);
    raw_open(&k, &r);
    raw_puts(&r, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    KIT_UNTIL(&k, k.held_count == 1);
    buf_init(&b, 64 * 1024 * 1024);
    for (int i = 0; i < COUNT; i++) buf_printf(&b, "GET /p HTTP/1.1\r\nHost: h\r\nPad: %01000d\r\n\r\n", i);
    raw_send(&r, b.data, b.len);
    size_t left, seen = 0;
    do { /* until nothing moves for a while */
        seen = uv_stream_get_write_queue_size((uv_stream_t *)&r.tcp);
        uint64_t until = uv_now(&k.loop) + 300;
        KIT_UNTIL(&k, uv_now(&k.loop) >= until);
        left = uv_stream_get_write_queue_size((uv_stream_t *)&r.tcp);
    } while (left != seen);
    assert_true(left > 0); /* the kernel's buffers are full and the server does not read */
    kit_answer(&k, 0);
    KIT_UNTIL(&k, r.count == COUNT + 1);
    buf_release(&b);
    raw_close(&k, &r);
    kit_stop(&k);
}

static void malformed_behind_a_halt_ends_at_once(void **state)
{
    struct kit k;
    struct raw r;
    (void)state;
    kit_start(&k, NULL);
    raw_open(&k, &r);
    raw_puts(&r, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    KIT_UNTIL(&k, k.held_count == 1);
    char *garbage = mem_alloc(100000);
    raw_send(&r, garbage, 100000); /* more than may wait: reading stops */
    mem_free(garbage);
    raw_end(&r);
    for (int i = 0; i < 5; i++) kit_turn(&k, UINT64_MAX);
    uint64_t began = uv_now(&k.loop);
    kit_answer(&k, 0);
    KIT_UNTIL(&k, r.eof && http_server_connections(k.server) == 0);
    assert_int_equal(r.statuses[0], 200);
    assert_int_equal(r.statuses[1], 400);
    assert_true(uv_now(&k.loop) - began < 1500); /* the client's end was seen, not waited out */
    raw_close(&k, &r);
    kit_stop(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_is_400_and_close),
        cmocka_unit_test(heads_have_limits),
        cmocka_unit_test(bodies_have_a_cap),
        cmocka_unit_test(all_bodies_have_a_cap),
        cmocka_unit_test(a_trailer_may_end_the_connection),
        cmocka_unit_test(refused_before_the_body),
        cmocka_unit_test(slow_heads_and_bodies),
        cmocka_unit_test(a_moving_body_is_not_cut),
        cmocka_unit_test(a_waiting_handler_is_not_cut),
        cmocka_unit_test(slow_reader_is_reset),
        cmocka_unit_test(a_thousand_half_open),
        cmocka_unit_test(too_many_connections),
        cmocka_unit_test(pipelined_bytes_are_bounded),
        cmocka_unit_test(malformed_behind_a_halt_ends_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
