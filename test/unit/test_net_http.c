/* The server's ordinary life: what a well-behaved client meets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "../lib/net_kit.h"

static void stays_open_between_requests(void **state)
{
    struct kit k;
    struct raw r;
    (void)state;
    kit_start(&k, NULL);
    raw_open(&k, &r);
    raw_puts(&r, "GET /a?x=1 HTTP/1.1\r\nHost: h\r\nX-TEST:  one \r\n\r\n");
    KIT_UNTIL(&k, r.count == 1);
    assert_string_equal(r.bodies[0], "GET /a?x=1 ");
    assert_string_equal(k.header, "one");
    assert_string_equal(k.peer, "127.0.0.1");
    assert_non_null(strstr(r.in.data, "\r\ncontent-type: text/plain\r\n"));
    assert_non_null(strstr(r.in.data, "\r\nvary: origin\r\n"));
    assert_non_null(strstr(r.in.data, "\r\ncontent-length: 11\r\n"));
    assert_null(strstr(r.in.data, "connection:"));
    const char *date = strstr(r.in.data, "\r\ndate: ");
    struct tm told = { 0 };
    assert_non_null(date);
    date = strptime(date + 8, "%a, %d %b %Y %H:%M:%S GMT", &told);
    assert_non_null(date);
    assert_memory_equal(date, "\r\n", 2);
    assert_true(llabs((long long)(timegm(&told) - time(NULL))) < 60);
    raw_puts(&r, "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
    KIT_UNTIL(&k, r.count == 2);
    assert_string_equal(r.bodies[1], "POST /b hello");
    assert_string_equal(k.header, "-");
    assert_int_equal(http_server_connections(k.server), 1);
    assert_int_equal(http_server_requests(k.server), 2);
    assert_false(r.eof);
    raw_close(&k, &r);
    KIT_UNTIL(&k, http_server_connections(k.server) == 0);
    kit_stop(&k);
}

static void pipelined_in_one_segment(void **state)
{
    struct kit k;
    struct raw r;
    struct buf b;
    char want[64];
    (void)state;
    kit_start(&k, NULL);
    raw_open(&k, &r);
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 100; i++)
        buf_printf(&b, "POST /n%d HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n%03d", i, i);
    raw_send(&r, b.data, b.len);
    KIT_UNTIL(&k, r.count == 100);
    for (int i = 0; i < 100; i++) {
        snprintf(want, sizeof want, "POST /n%d %03d", i, i);
        assert_string_equal(r.bodies[i], want);
    }
    buf_release(&b);
    raw_close(&k, &r);
    kit_stop(&k);
}

static void pipelined_behind_a_waiting_one(void **state)
{
    struct kit k;
    struct raw r;
    (void)state;
    kit_start(&k, NULL);
    raw_open(&k, &r);
    raw_puts(&r, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\nGET /hold HTTP/1.1\r\nHost: h\r\n\r\nGET /c HTTP/1.1\r\nHost: "
                 "h\r\n\r\nPOST /d HTTP/1.1\r\nHost: h\r\nConte");
    KIT_UNTIL(&k, k.held_count == 1);
    raw_puts(&r, "nt-Length: 2\r\n\r\nok");
    for (int i = 0; i < 5; i++) kit_turn(&k, UINT64_MAX);
    assert_int_equal(r.count, 0);
    assert_int_equal(k.held_count, 1); /* one at a time */
    kit_answer(&k, 0);
    assert_int_equal(k.held_count, 1); /* and never from inside http_reply */
    KIT_UNTIL(&k, k.held_count == 2);
    kit_answer(&k, 1);
    KIT_UNTIL(&k, r.count == 4);
    assert_string_equal(r.bodies[0], "0");
    assert_string_equal(r.bodies[1], "1");
    assert_string_equal(r.bodies[2], "GET /c ");
    assert_string_equal(r.bodies[3], "POST /d ok");
    raw_close(&k, &r);
    kit_stop(&k);
}

static void byte_by_byte(void **state)
{
    const char *text = "PUT /slow?q#f HTTP/1.1\r\nHost: h\r\nX-Test: a b\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: x\r\n\r\nHEAD /x HTTP/1.0\r\n\r\n";
    struct kit k;
    struct raw r;
    (void)state;
    kit_start(&k, NULL);
    raw_open(&k, &r);
    for (const char *p = text; *p != '\0'; p++) {
        raw_send(&r, p, 1);
        uv_run(&k.loop, UV_RUN_NOWAIT);
        uv_run(&k.loop, UV_RUN_NOWAIT);
    }
    KIT_UNTIL(&k, r.eof);
    assert_string_equal(r.bodies[0], "PUT /slow?q abcde");
    assert_non_null(strstr(r.in.data, "\r\nx-echo: a b\r\n"));
    assert_int_equal(http_server_requests(k.server), 2);
    raw_close(&k, &r);
    kit_stop(&k);
}

static void folded_lines_are_refused(void **state)
{
    struct kit bench, *k = &bench;
    (void)state;
    kit_start(k, NULL);
    static const char *const heads[] = {
        "GET /a HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: h\r\n\tfolded\r\n\r\n",
        "GET /a HTTP/1.1\nHost: h\n folded\n\n",
        "GET /a HTTP/1.1\r\nHost: h\r\nx:\r\n y: z\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: h\r\nx:\r\n \r\n\r\n",
        "GET /a HTTP/1.1\r\n Host: h\r\n\r\n",
        "\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n Content-Length: 3\r\n\r\nabc",
    };
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        struct raw r;
        size_t len = strlen(heads[i]);
        assert_int_equal(raw_ask(k, heads[i], len), 400);
        for (size_t cut = 1; cut < len; cut++) { /* wherever the pieces end */
            raw_open(k, &r);
            raw_puts(&r, "GET /first HTTP/1.1\r\nHost: h\r\n\r\n");
            KIT_UNTIL(k, r.count == 1);
            raw_send(&r, heads[i], cut);
            for (int turn = 0; turn < 3; turn++) uv_run(&k->loop, UV_RUN_NOWAIT);
            raw_send(&r, heads[i] + cut, len - cut);
            KIT_UNTIL(k, r.eof || r.reset);
            assert_int_equal(r.count, 2);
            assert_int_equal(r.statuses[1], 400);
            raw_close(k, &r);
        }
    }
    static const char blanks[] = "\r\nPOST /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nx: a \t b\r\ny: \r\n"
                                 "Content-Length: 9\r\n\r\n \r\n a\n\n b";
    assert_int_equal(raw_ask(k, blanks, sizeof(blanks) - 1), 200); /* in values and in a body they are fine */
    kit_stop(k);
}

static void continue_is_sent_when_asked(void **state)
{
    struct kit k;
    struct raw r;
    (void)state;
    kit_start(&k, NULL);
    raw_open(&k, &r);
    raw_puts(&r, "POST /e HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 4\r\n\r\n");
    KIT_UNTIL(&k, r.interims == 1);
    assert_int_equal(r.count, 0);
    raw_puts(&r, "bodyPOST /f HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nf");
    KIT_UNTIL(&k, r.count == 2);
    assert_string_equal(r.bodies[0], "POST /e body");
    assert_string_equal(r.bodies[1], "POST /f f");
    assert_int_equal(r.interims, 1);
    raw_close(&k, &r);
    /* No invitation for a body that will not be read. */
    raw_open(&k, &r);
    raw_puts(&r, "POST /e HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2097153\r\n\r\n");
    KIT_UNTIL(&k, r.count == 1);
    assert_int_equal(r.statuses[0], 413);
    assert_int_equal(r.interims, 0);
    KIT_UNTIL(&k, r.eof);
    raw_close(&k, &r);
    kit_stop(&k);
}

static void head_has_length_and_no_body(void **state)
{
    struct kit k;
    struct raw r;
    (void)state;
    kit_start(&k, NULL);
    raw_open(&k, &r);
    r.heads = true;
    raw_puts(&r, "HEAD /h HTTP/1.1\r\nHost: h\r\n\r\nHEAD /i HTTP/1.1\r\nHost: h\r\n\r\n");
    KIT_UNTIL(&k, r.count == 2);
    assert_non_null(strstr(r.in.data, "content-length: 8\r\n"));
    assert_null(strstr(r.in.data, "HEAD /h"));
    raw_close(&k, &r);
    kit_stop(&k);
}

static void old_clients_and_close(void **state)
{
    struct kit k;
    struct raw r;
    (void)state;
    kit_start(&k, NULL);
    assert_int_equal(raw_ask(&k, "GET /a HTTP/1.0\r\n\r\n", 19), 200);
    const char *close = "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_int_equal(raw_ask(&k, close, strlen(close)), 200);
    const char *by_handler = "GET /close HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_int_equal(raw_ask(&k, by_handler, strlen(by_handler)), 200);
    assert_int_equal(http_server_requests(k.server), 3);
    raw_open(&k, &r);
    raw_puts(&r, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    KIT_UNTIL(&k, r.count == 1);
    assert_non_null(strstr(r.in.data, "connection: keep-alive\r\n"));
    raw_puts(&r, "GET /b HTTP/1.0\r\n\r\n");
    KIT_UNTIL(&k, r.eof);
    assert_int_equal(r.count, 2);
    assert_non_null(strstr(r.in.data, "connection: close\r\n"));
    raw_close(&k, &r);
    kit_stop(&k);
}

static void forms_of_the_target(void **state)
{
    static const struct {
        const char *target, *seen;
    } rows[] = {
        { "GET /", "GET / " },
        { "GET /a%2Fb?c=d?e", "GET /a%2Fb?c=d?e " },
        { "GET /a?", "GET /a? " },
        { "GET /a#frag", "GET /a " },
        { "GET /a?u=http://x/y", "GET /a?u=http://x/y " },
        { "GET http://host:1/p?q", "GET /p?q " },
        { "GET HTTPS://host/p", "GET /p " },
        { "GET http://host", "GET / " },
        { "GET http://host?q", "GET /?q " },
        { "OPTIONS *", "OPTIONS * " },
    };
    struct kit k;
    struct raw r;
    char text[256];
    (void)state;
    kit_start(&k, NULL);
    raw_open(&k, &r);
    for (int i = 0; i < (int)(sizeof rows / sizeof rows[0]); i++) {
        snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
                 rows[i].target);
        raw_puts(&r, text);
        KIT_UNTIL(&k, r.count == i + 1 || r.eof);
        assert_false(r.eof);
        assert_string_equal(r.bodies[i], rows[i].seen);
    }
    raw_close(&k, &r);
    kit_stop(&k);
}

static void header_lines(void **state)
{
    struct kit k;
    struct raw r;
    size_t count;
    (void)state;
    kit_start(&k, NULL);
    raw_open(&k, &r);
    raw_puts(&r, "GET /hold HTTP/1.1\r\nA: 1\r\na: 2\r\nEmpty:\r\nBlank: x \t y\r\nUtf: \xc3\xa4\t\r\nHost: "
                 "\r\n\r\n");
    KIT_UNTIL(&k, k.held_count == 1);
    const struct http_header *h = http_headers(k.held[0], &count);
    assert_int_equal(count, 6);
    assert_string_equal(http_header(k.held[0], "a"), "1");
    assert_string_equal(h[1].name, "a");
    assert_string_equal(h[1].value, "2");
    assert_string_equal(http_header(k.held[0], "empty"), "");
    assert_string_equal(http_header(k.held[0], "utf"), "\xc3\xa4");
    assert_string_equal(http_header(k.held[0], "host"), "");
    assert_null(http_header(k.held[0], "b"));
    kit_answer(&k, 0);
    KIT_UNTIL(&k, r.count == 1);
    raw_close(&k, &r);
    kit_stop(&k);
}

static void answers_later_and_takes_the_body(void **state)
{
    struct kit k;
    struct raw r;
    size_t len;
    (void)state;
    kit_start(&k, NULL);
    raw_open(&k, &r);
    raw_puts(&r, "POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd");
    KIT_UNTIL(&k, k.held_count == 1);
    char *body = http_body_take(k.held[0], &len);
    assert_int_equal(len, 4);
    assert_string_equal(body, "abcd");
    mem_free(body);
    http_body(k.held[0], &len);
    assert_int_equal(len, 0);
    http_reply_progress(k.held[0]);
    KIT_UNTIL(&k, r.interims == 1);
    http_reply_progress(k.held[0]);
    KIT_UNTIL(&k, r.interims == 2);
    assert_int_equal(r.count, 0);
    kit_answer(&k, 0);
    KIT_UNTIL(&k, r.count == 1);
    assert_non_null(strstr(r.in.data, "HTTP/1.1 102 Processing\r\n\r\n"));
    raw_close(&k, &r);
    kit_stop(&k);
}

static void a_line_end_in_a_value_starts_no_header(void **state)
{
    struct kit k;
    struct raw r;
    struct http_header evil = { "x-evil", "a\r\nx-injected: b" };
    (void)state;
    kit_start(&k, NULL);
    raw_open(&k, &r);
    raw_puts(&r, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    KIT_UNTIL(&k, k.held_count == 1);
    http_reply(k.held[0], &(struct http_reply){ .status = 204, .headers = &evil, .headers_count = 1 });
    KIT_UNTIL(&k, r.count == 1);
    assert_null(strstr(r.in.data, "\r\nx-injected"));
    assert_null(strstr(r.in.data, "content-length")); /* not with 204 */
    raw_close(&k, &r);
    kit_stop(&k);
}

static void large_answer_to_a_late_reader(void **state)
{
    struct kit k;
    struct raw r;
    (void)state;
    kit_start(&k, NULL);
    k.big = 24 * 1024 * 1024;
    raw_open(&k, &r);
    raw_pause(&r, true);
    raw_puts(&r, "GET /big HTTP/1.1\r\nHost: h\r\n\r\nGET /after HTTP/1.1\r\nHost: h\r\n\r\n");
    KIT_UNTIL(&k, http_server_requests(k.server) == 1);
    for (int i = 0; i < 5; i++) kit_turn(&k, UINT64_MAX);
    assert_int_equal(http_server_requests(k.server), 1); /* the next one waits for the socket */
    raw_pause(&r, false);
    KIT_UNTIL(&k, r.count == 2);
    assert_int_equal(strlen(r.bodies[0]), k.big);
    assert_string_equal(r.bodies[1], "GET /after ");
    raw_close(&k, &r);
    kit_stop(&k);
}

static void drained_cb(void *data)
{
    struct kit *k = data;
    k->drained++;
}

static void drains(void **state)
{
    struct kit k;
    struct raw idle, busy, late;
    (void)state;
    kit_start(&k, NULL);
    raw_open(&k, &idle);
    raw_open(&k, &busy);
    raw_open(&k, &late);
    raw_puts(&idle, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_puts(&busy, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_puts(&late, "POST /c HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab");
    KIT_UNTIL(&k, idle.count == 1 && k.held_count == 1 && http_server_connections(k.server) == 3);
    for (int i = 0; i < 3; i++) kit_turn(&k, UINT64_MAX);
    http_server_drain(k.server, drained_cb, &k);
    KIT_UNTIL(&k, idle.eof);
    assert_int_equal(http_server_connections(k.server), 2);
    assert_int_equal(k.drained, 0);
    raw_puts(&late, "cd");
    KIT_UNTIL(&k, late.eof);
    assert_string_equal(late.bodies[0], "POST /c abcd");
    assert_non_null(strstr(late.in.data, "connection: close\r\n"));
    kit_answer(&k, 0);
    KIT_UNTIL(&k, busy.eof);
    assert_non_null(strstr(busy.in.data, "connection: close\r\n"));
    KIT_UNTIL(&k, k.drained == 1);
    assert_int_equal(http_server_connections(k.server), 0);
    raw_close(&k, &idle);
    raw_close(&k, &busy);
    raw_close(&k, &late);
    raw_connect(&k, &late);
    for (int i = 0; i < 5; i++) kit_turn(&k, UINT64_MAX);
    assert_false(late.open);
    raw_close(&k, &late);
    kit_stop(&k);
    assert_int_equal(k.drained, 1);
}

static void drains_an_empty_server(void **state)
{
    struct kit k;
    (void)state;
    kit_start(&k, NULL);
    http_server_drain(k.server, drained_cb, &k);
    assert_int_equal(k.drained, 0); /* later, never from inside */
    KIT_UNTIL(&k, k.drained == 1);
    kit_stop(&k);
}

static void client_gone_before_the_answer(void **state)
{
    struct kit k;
    struct raw r;
    (void)state;
    kit_start(&k, NULL);
    raw_open(&k, &r);
    raw_puts(&r, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    KIT_UNTIL(&k, k.held_count == 1);
    raw_abort(&r);
    KIT_UNTIL(&k, k.gone == 1);
    assert_null(k.held[0]);
    raw_close(&k, &r);
    /* Gone while the answer comes: whoever is first, it is told once or answered. */
    raw_open(&k, &r);
    raw_puts(&r, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    KIT_UNTIL(&k, k.held_count == 2);
    raw_abort(&r);
    kit_answer(&k, 1);
    KIT_UNTIL(&k, http_server_connections(k.server) == 0);
    assert_int_equal(k.gone, 1);
    raw_close(&k, &r);
    kit_stop(&k);
}

static void half_closed_client_is_answered(void **state)
{
    struct kit k;
    struct raw r;
    (void)state;
    kit_start(&k, NULL);
    raw_open(&k, &r);
    raw_puts(&r, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_end(&r);
    KIT_UNTIL(&k, k.held_count == 1);
    for (int i = 0; i < 5; i++) kit_turn(&k, UINT64_MAX);
    assert_int_equal(k.gone, 0);
    kit_answer(&k, 0);
    KIT_UNTIL(&k, r.eof);
    assert_int_equal(r.count, 2);
    assert_string_equal(r.bodies[1], "GET /b ");
    raw_close(&k, &r);
    kit_stop(&k);
}

static void closing_tells_the_handlers(void **state)
{
    struct kit k;
    struct raw r, partial;
    (void)state;
    kit_start(&k, NULL);
    raw_open(&k, &r);
    raw_open(&k, &partial);
    raw_puts(&r, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_puts(&partial, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n");
    KIT_UNTIL(&k, k.held_count == 1);
    for (int i = 0; i < 3; i++) kit_turn(&k, UINT64_MAX);
    kit_close(&k);
    assert_int_equal(k.gone, 2); /* the one whose head was seen as well */
    assert_null(k.held[0]);
    raw_close(&k, &r);
    raw_close(&k, &partial);
    kit_stop(&k);
}

static void listen_errors_have_a_text(void **state)
{
    struct kit k;
    struct err err = { 0 };
    uint16_t port;
    struct http_handlers none = { 0 };
    (void)state;
    kit_start(&k, NULL);
    struct http_server *s = http_server_new(&k.loop, &k.limits, &none);
    assert_int_equal(http_server_listen(s, "127.0.0.1", k.port, &port, &err), E_IO);
    assert_non_null(strstr(err.msg, "address already in use"));
    http_server_close(s, NULL, NULL);
    s = http_server_new(&k.loop, &k.limits, &none);
    assert_int_equal(http_server_listen(s, "no such host", 0, &port, &err), E_IO);
    assert_non_null(strstr(err.msg, "no such host"));
    http_server_close(s, NULL, NULL);
    kit_stop(&k);
}

static void percent_decoding(void **state)
{
    static const struct {
        const char *in;
        bool plus;
        const char *out;
    } rows[] = {
        { "", false, "" },
        { "a%2Fb", false, "a/b" },
        { "a+b", false, "a+b" },
        { "a+b", true, "a b" },
        { "%41%zz%4", false, "A%zz%4" },
        { "100%", true, "100%" },
        { "%c3%A4", false, "\xc3\xa4" },
        { "%2B", true, "+" },
    };
    char out[32];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t len = http_percent_decode(out, rows[i].in, strlen(rows[i].in), rows[i].plus);
        assert_string_equal(out, rows[i].out);
        assert_int_equal(len, strlen(rows[i].out));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stays_open_between_requests),
        cmocka_unit_test(pipelined_in_one_segment),
        cmocka_unit_test(pipelined_behind_a_waiting_one),
        cmocka_unit_test(byte_by_byte),
        cmocka_unit_test(folded_lines_are_refused),
        cmocka_unit_test(continue_is_sent_when_asked),
        cmocka_unit_test(head_has_length_and_no_body),
        cmocka_unit_test(old_clients_and_close),
        cmocka_unit_test(forms_of_the_target),
        cmocka_unit_test(header_lines),
        cmocka_unit_test(answers_later_and_takes_the_body),
        cmocka_unit_test(a_line_end_in_a_value_starts_no_header),
        cmocka_unit_test(large_answer_to_a_late_reader),
        cmocka_unit_test(drains),
        cmocka_unit_test(drains_an_empty_server),
        cmocka_unit_test(client_gone_before_the_answer),
        cmocka_unit_test(half_closed_client_is_answered),
        cmocka_unit_test(closing_tells_the_handlers),
        cmocka_unit_test(listen_errors_have_a_text),
        cmocka_unit_test(percent_decoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
