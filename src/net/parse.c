/* parse.c - llhttp's callbacks of the server: they fill the request and stop the parser; whatever may answer, wait or
 * close is done by conn.c after llhttp_execute has returned. (The head callback alone runs inside: nothing it may call
 * parses.) */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/check.h"
#include "net/conn.h"

static int stop(struct conn *c, enum conn_stop why)
{
    c->stop = why;
    return HPE_USER;
}

static int message_begin_cb(llhttp_t *p)
{
    struct conn *c = p->data;
    c->started = true;
    if (c->req.head.text.cap == 0) buf_reserve(&c->req.head.text, 511);
    conn_arm(c, WAIT_HEADER);
    return 0;
}

static int url_cb(llhttp_t *p, const char *at, size_t len)
{
    struct conn *c = p->data;
    struct buf *b = &c->req.head.text;
    if (b->len + len > c->server->limits.url_bytes_max) return stop(c, STOP_URL);
    buf_put(b, at, len);
    return 0;
}

static int url_complete_cb(llhttp_t *p)
{
    struct conn *c = p->data;
    buf_putc(&c->req.head.text, '\0');
    c->req.url_len = c->req.head.text.len;
    return 0;
}

static int stop_head(struct conn *c, int error)
{
    return error == 0 ? 0 : stop(c, error == E_TOO_LARGE ? STOP_HEADERS : STOP_NONE);
}

static int header_field_cb(llhttp_t *p, const char *at, size_t len)
{
    struct conn *c = p->data;
    return stop_head(c, head_name(&c->req.head, at, len));
}

static int header_field_complete_cb(llhttp_t *p)
{
    struct conn *c = p->data;
    return stop_head(c, head_name_end(&c->req.head));
}

static int header_value_cb(llhttp_t *p, const char *at, size_t len)
{
    struct conn *c = p->data;
    return stop_head(c, head_value(&c->req.head, at, len));
}

static int header_value_complete_cb(llhttp_t *p)
{
    struct conn *c = p->data;
    return stop_head(c, head_value_end(&c->req.head));
}

/* Cuts the target into path and query: "/p?q", "*", or with scheme and authority in front. */
static void split_target(struct http_req *r, char *url)
{
    r->path = url;
    url[strcspn(url, "#")] = '\0';
    char *query = strchr(url, '?');
    if (query != NULL) *query++ = '\0';
    r->query = query;
    char *authority = strstr(url, "://");
    if (url[0] != '/' && authority != NULL) {
        char *slash = strchr(authority + 3, '/');
        r->path = slash != NULL ? slash : "/";
    }
}

/* Everything of the head but the lines. */
static void describe(struct http_req *r, const llhttp_t *p)
{
    split_target(r, r->head.text.data);
    r->method = llhttp_method_name((llhttp_method_t)p->method);
    r->is_head = p->method == HTTP_HEAD;
    r->http10 = p->http_minor == 0;
    r->keep_alive = llhttp_should_keep_alive(p) != 0;
    r->chunked = (p->flags & F_CHUNKED) != 0;
    r->content_length = (p->flags & F_CONTENT_LENGTH) != 0 ? p->content_length : 0;
    if (!r->http10 && (r->chunked || r->content_length > 0)) {
        const char *expect = head_find(&r->head, "expect");
        r->expects = expect != NULL && strcasecmp(expect, "100-continue") == 0;
    }
}

/* A name or an address, and perhaps a port; an empty one is allowed. */
static bool host_fits(const char *value)
{
    static const char also[] = "-._~!$&'()*+;=:[]%";
    for (const char *p = value; *p; p++)
        if (!isalnum((unsigned char)*p) && strchr(also, *p) == NULL) return false;
    return true;
}

/* Without one a proxy and this server may differ in whose request it is; so they may with two (RFC 9112, 3.2). */
static bool host_named(const struct head *h, bool http10)
{
    unsigned hosts = 0;
    bool fits = true;
    for (uint32_t i = 0; i < h->count; i++) {
        if (strcmp(h->headers[i].name, "host") != 0) continue;
        hosts++;
        fits = fits && host_fits(h->headers[i].value);
    }
    return fits && (hosts == 1 || (hosts == 0 && http10));
}

/* "/path", "*" of OPTIONS, or http[s]://authority[/path]; an authority alone is CONNECT's. */
static bool target_fits(const char *url, const llhttp_t *p)
{
    if (url[0] == '/') return true;
    if (strcmp(url, "*") == 0) return p->method == HTTP_OPTIONS;
    size_t scheme = strncasecmp(url, "http://", 7) == 0 ? 7 : strncasecmp(url, "https://", 8) == 0 ? 8 : 0;
    return scheme > 0 && strcspn(url + scheme, "/?#") > 0;
}

static int headers_complete_cb(llhttp_t *p)
{
    struct conn *c = p->data;
    struct http_req *r = &c->req;
    struct http_server *s = c->server;
    if (p->http_major != 1 || p->method == HTTP_CONNECT) return stop(c, STOP_NONE);
    if (head_index(&r->head, r->url_len) != 0 || !host_named(&r->head, p->http_minor == 0)) return stop(c, STOP_NONE);
    if (!target_fits(r->head.text.data, p)) return stop(c, STOP_NONE);
    p->upgrade = 0; /* an offer we never take up */
    describe(r, p);
    c->state = CONN_BODY;
    conn_arm(c, WAIT_BODY);
    if (s->handlers.head != NULL) {
        r->known = true;
        s->handlers.head(s->handlers.data, r);
        if (c->state == CONN_CLOSING) return HPE_PAUSED;
    }
    if (r->replied) return c->last ? stop(c, STOP_ANSWERED) : 0;
    if (!r->skip_body && r->content_length > r->body_max) return stop(c, STOP_TOO_LARGE);
    if (r->expects) {
        r->expects = false;
        reply_interim(c, "HTTP/1.1 100 Continue\r\n\r\n");
    }
    return 0;
}

static int body_cb(llhttp_t *p, const char *at, size_t len)
{
    struct conn *c = p->data;
    struct http_req *r = &c->req;
    conn_arm(c, WAIT_BODY);
    if (r->replied || r->skip_body) {
        r->skipped += len;
        return r->replied && r->skipped > r->body_max ? stop(c, STOP_TOO_LARGE) : 0;
    }
    if (len > r->body_max - r->body_len) return stop(c, STOP_TOO_LARGE);
    if (r->body == NULL || at != r->body + r->body_len) { /* else it was read straight into its place */
        if (!request_body_reserve(r, len)) return stop(c, STOP_CROWDED);
        memcpy(r->body + r->body_len, at, len);
    }
    r->body_len += len;
    r->body[r->body_len] = '\0';
    return 0;
}

static int message_complete_cb(llhttp_t *p)
{
    struct conn *c = p->data;
    /* A trailer may end the connection; the parser reads nothing more of it then. */
    if (!llhttp_should_keep_alive(p)) c->req.keep_alive = false;
    c->stop = STOP_COMPLETE;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_message_begin = message_begin_cb,
    .on_url = url_cb,
    .on_url_complete = url_complete_cb,
    .on_header_field = header_field_cb,
    .on_header_field_complete = header_field_complete_cb,
    .on_header_value = header_value_cb,
    .on_header_value_complete = header_value_complete_cb,
    .on_headers_complete = headers_complete_cb,
    .on_body = body_cb,
    .on_message_complete = message_complete_cb,
};

void parse_init(struct conn *c)
{
    llhttp_init(&c->parser, HTTP_REQUEST, &settings);
    c->parser.data = c;
}
