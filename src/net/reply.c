/* reply.c - answers: from struct http_reply to bytes on the socket. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/check.h"
#include "net/conn.h"

#define BODY_INLINE_BYTES 16384 /* up to here a body is copied behind its head: one buffer, one write */

static const char *status_text(int status)
{
    switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Payload Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Entity";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 507: return "Insufficient Storage";
    default: return "Status";
    }
}

static void put_number(struct buf *b, size_t n)
{
    char text[24];
    size_t i = sizeof text;
    do {
        text[--i] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    buf_put(b, text + i, sizeof text - i);
}

/* A value may carry a client's text: a line end in it must not begin a new header. */
void reply_header(struct buf *b, const char *name, const char *value)
{
    for (; *name != '\0'; name++) buf_putc(b, *name >= 'A' && *name <= 'Z' ? (char)(*name + 32) : *name);
    buf_put(b, ": ", 2);
    size_t len = strlen(value);
    char *to = buf_reserve(b, len);
    if (to == NULL) return;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)value[i];
        to[i] = (c < 0x20 && c != '\t') || c == 0x7f ? ' ' : value[i];
    }
    buf_grew(b, len);
    buf_put(b, "\r\n", 2);
}

/* A server with a clock tells it (RFC 9110, 6.6.1); the line is made once a second, in English whatever the locale. */
static void put_date(struct http_server *s, struct buf *b)
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = time(NULL);
    struct tm t;
    if (now != s->date_s && gmtime_r(&now, &t) != NULL) {
        s->date_s = now;
        snprintf(s->date, sizeof s->date, "date: %.3s, %02d %.3s %04d %02d:%02d:%02d GMT\r\n", days + 3 * t.tm_wday,
                 t.tm_mday, months + 3 * t.tm_mon, t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
    }
    buf_puts(b, s->date);
}

void reply_build(struct http_server *s, const struct http_reply *p, const struct http_req *r, bool close)
{
    struct buf *b = &s->answer;
    CHECK(p->status >= 200 && p->status <= 599);
    buf_clear(b);
    buf_put(b, "HTTP/1.1 ", 9);
    put_number(b, (size_t)p->status);
    buf_putc(b, ' ');
    buf_puts(b, status_text(p->status));
    buf_put(b, "\r\n", 2);
    if (p->content_type != NULL) reply_header(b, "content-type", p->content_type);
    buf_put(b, s->always.data, s->always.len);
    put_date(s, b);
    for (size_t i = 0; i < p->headers_count; i++) reply_header(b, p->headers[i].name, p->headers[i].value);
    if (p->status != 204) {
        buf_put(b, "content-length: ", 16);
        put_number(b, p->body_len);
        buf_put(b, "\r\n", 2);
    }
    if (close) {
        buf_put(b, "connection: close\r\n", 19);
    } else if (r != NULL && r->http10) {
        buf_put(b, "connection: keep-alive\r\n", 24);
    }
    buf_put(b, "\r\n", 2);
    CHECK(!b->failed);
}

static void send_reply(struct conn *c, const struct http_reply *p, bool close)
{
    struct buf *b = &c->server->answer;
    reply_build(c->server, p, &c->req, close);
    const char *body = p->body_owned != NULL && p->body == NULL ? p->body_owned : p->body;
    size_t len = c->req.is_head || p->status == 204 ? 0 : p->body_len;
    char *owned = p->body_owned;
    if (len <= BODY_INLINE_BYTES) {
        buf_put(b, body, len);
        CHECK(!b->failed);
        mem_free(owned);
        owned = NULL;
        len = 0;
    }
    c->last = close;
    if (stream_write(&c->stream, b->data, b->len, body, len, owned) != 0) conn_close(c);
    if (b->cap > 4 * BODY_INLINE_BYTES) buf_release(b);
}

void http_reply(struct http_req *r, const struct http_reply *p)
{
    struct conn *c = container_of(r, struct conn, req);
    CHECK(r->known && !r->replied);
    r->replied = true;
    if (c->refused || c->state == CONN_CLOSING) {
        mem_free(p->body_owned);
        return;
    }
    CHECK(c->state == CONN_HANDLING || c->state == CONN_BODY);
    /* An answer before the body: whether a client waiting for 100 still sends it is unknowable, and more than the cap
     * is not read to save a connection. */
    bool unread = c->state == CONN_BODY && (r->expects || r->content_length > r->body_max);
    if (unread || r->too_large) c->discard = true;
    send_reply(c, p, p->close || !r->keep_alive || c->discard || c->server->draining);
    if (c->state == CONN_HANDLING) conn_answered(c);
}

void reply_refuse(struct conn *c, int status, const char *why)
{
    struct http_server *s = c->server;
    struct http_reply p = { .status = status };
    if (s->handlers.error_body != NULL) s->handlers.error_body(s->handlers.data, status, why, &p);
    send_reply(c, &p, true);
}

void reply_interim(struct conn *c, const char *line)
{
    /* What waits already tells the client that we live. */
    if (!stream_queued(&c->stream) && stream_write(&c->stream, line, strlen(line), NULL, 0, NULL) != 0) conn_close(c);
}

void http_reply_progress(struct http_req *r)
{
    struct conn *c = container_of(r, struct conn, req);
    CHECK(r->known && !r->replied);
    if (c->state == CONN_HANDLING && !r->http10) reply_interim(c, "HTTP/1.1 102 Processing\r\n\r\n");
}
