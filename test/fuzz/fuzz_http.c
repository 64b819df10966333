/* fuzz_http.c - arbitrary bytes against the server's parser and connection state machine, over a loopback socket.
 *
 * The first input byte says into pieces of what size the rest is cut. Checked: nothing crashes, and a half-closed
 * connection always ends (no request is forgotten, no state waits for ever).
 *
 * As a program: runs a fixed corpus and `argv[1]` (default 2000) seeded mutations of it. With clang and
 * -DAIM_LIBFUZZER -fsanitize=fuzzer,address it is a libFuzzer target instead. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "net/http.h"

#define LATER_MAX 4096

static uv_loop_t loop;
static struct http_server *server;
static struct sockaddr_in address;
static struct http_req *later; /* answered in the next turn */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer(struct http_req *req)
{
    size_t len, count;
    const char *body = http_body(req, &len);
    const struct http_header *h = http_headers(req, &count);
    char decoded[LATER_MAX];
    size_t path_len = strlen(http_path(req));
    if (path_len < sizeof decoded) http_percent_decode(decoded, http_path(req), path_len, true);
    http_reply(req, &(struct http_reply){ .status = http_body_too_large(req) ? 413 : 200,
                                          .headers = h,
                                          .headers_count = count,
                                          .body = body,
                                          .body_len = len });
}

static void head_cb(void *data, struct http_req *req)
{
    (void)data;
    switch (http_path(req)[1]) {
    case 'r': http_reply(req, &(struct http_reply){ .status = 415 }); break;
    case 's': http_body_skip(req); break;
    case 'm': http_body_max(req, 8); break;
    default: break;
    }
}

static void request_cb(void *data, struct http_req *req)
{
    (void)data;
    if (strchr(http_path(req), 'l') != NULL) {
        CHECK(later == NULL);
        http_reply_progress(req);
        later = req;
    } else {
        answer(req);
    }
}

static void gone_cb(void *data, struct http_req *req)
{
    (void)data;
    if (later == req) later = NULL;
}

static void start(void)
{
    struct http_limits l;
    struct http_handlers h = { .head = head_cb, .request = request_cb, .gone = gone_cb };
    struct err err;
    uint16_t port;
    signal(SIGPIPE, SIG_IGN);
    http_limits_default(&l);
    l.header_bytes_max = 512;
    l.url_bytes_max = 128;
    l.body_bytes_max = 256;
    l.pipeline_bytes_max = 64;
    CHECK(uv_loop_init(&loop) == 0);
    server = http_server_new(&loop, &l, &h);
    CHECK(http_server_listen(server, "127.0.0.1", 0, &port, &err) == 0);
    uv_ip4_addr("127.0.0.1", port, &address);
}

static void turn(int fd)
{
    char thrown[4096];
    uv_run(&loop, UV_RUN_NOWAIT);
    if (later != NULL) {
        struct http_req *req = later;
        later = NULL;
        answer(req);
    }
    while (recv(fd, thrown, sizeof thrown, MSG_DONTWAIT) > 0) {}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (server == NULL) start();
    if (size == 0 || size > 65536) return 0;
    size_t piece = data[0] == 0 ? size : data[0];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct linger reset = { .l_onoff = 1 }; /* no thousands of TIME_WAIT */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    int turns = 0;
    while (http_server_connections(server) == 0) {
        turn(fd);
        CHECK(++turns < 100000);
    }
    for (size_t at = 1; at < size; at += piece) {
        size_t len = piece < size - at ? piece : size - at;
        if (send(fd, data + at, len, MSG_DONTWAIT) != (ssize_t)len) break;
        turn(fd);
    }
    shutdown(fd, SHUT_WR);
    for (turns = 0; http_server_connections(server) > 0; turns++) {
        turn(fd);
        CHECK(turns < 1000000);
    }
    CHECK(later == NULL);
    close(fd);
    return 0;
}

#ifndef AIM_LIBFUZZER

static const char *const corpus[] = {
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /l?q=1 HTTP/1.1\r\nHost: h\r\n\r\nGET /l HTTP/1.1\r\nHost: h\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloHEAD /l HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "PUT /m HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\nwiki\r\n5\r\npedia\r\n0\r\nT: x\r\n\r\n",
    "PUT /s HTTP/1.1\r\nHost:h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\naGET /% HTTP/1.1\r\nHost:h\r\n\r\n",
    "POST /r HTTP/1.1\r\nHost: h\r\nContent-Length: 300\r\n\r\nabc",
    "POST /r HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\td\r\nEmpty:\r\n\r\n",
    "GET http://h:1/p?q#f HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "CONNECT a:1 HTTP/1.1\r\nHost: h\r\n\r\n",
};

static uint64_t seed = 42;

static uint32_t rnd(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 33) % below;
}

/* Copies a seed and changes a few bytes, doubles or cuts a stretch, or appends another seed. Returns the length. */
static size_t mutate(uint8_t *out, size_t max)
{
    const char *text = corpus[rnd(ARRAY_LEN(corpus))];
    size_t len = strlen(text);
    memcpy(out, text, len);
    for (uint32_t n = rnd(6); n > 0 && len > 4; n--) {
        size_t at = rnd((uint32_t)len), part = 1 + rnd(40);
        if (part > len - at) part = len - at;
        switch (rnd(5)) {
        case 0: out[at] = (uint8_t)rnd(256); break;
        case 1: out[at] = (uint8_t)("\r\n :;,\t\0aA0"[rnd(11)]); break;
        case 2:
            memmove(out + at, out + at + part, len - at - part);
            len -= part;
            break;
        case 3:
            if (len + part > max) break;
            memmove(out + at + part, out + at, len - at);
            len += part;
            break;
        default:
            text = corpus[rnd(ARRAY_LEN(corpus))];
            part = strlen(text);
            if (len + part > max) break;
            memcpy(out + len, text, part);
            len += part;
        }
    }
    return len;
}

static void closed_cb(void *data)
{
    *(bool *)data = true;
}

int main(int argc, char **argv)
{
    uint8_t input[2048];
    long runs = argc > 1 ? strtol(argv[1], NULL, 10) : 2000;
    bool closed = false;
    for (size_t i = 0; i < ARRAY_LEN(corpus); i++) {
        for (int piece = 0; piece < 8; piece++) {
            input[0] = (uint8_t)piece;
            memcpy(input + 1, corpus[i], strlen(corpus[i]));
            LLVMFuzzerTestOneInput(input, strlen(corpus[i]) + 1);
        }
    }
    for (long i = 0; i < runs; i++) {
        input[0] = (uint8_t)(rnd(3) == 0 ? 0 : rnd(60));
        size_t len = mutate(input + 1, sizeof input - 1);
        LLVMFuzzerTestOneInput(input, len + 1);
    }
    http_server_close(server, closed_cb, &closed);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(closed && uv_loop_close(&loop) == 0);
    printf("%ld inputs, no failure\n", runs);
    return 0;
}

#endif
