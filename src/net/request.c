/* request.c - what a handler reads of its request, and the request's own memory. */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "net/conn.h"

#define BODY_SMALL_BYTES 16384        /* such a body is read in any crowd */
#define BODY_FIRST_BYTES (256 * 1024) /* reserved on a client's word alone; more only as bytes arrive */

void request_init(struct http_req *r, const struct http_limits *l)
{
    *r = (struct http_req){ .body_max = l->body_bytes_max };
    head_init(&r->head, l->url_bytes_max, l->header_bytes_max);
}

static struct http_server *server_of(struct http_req *r)
{
    return container_of(r, struct conn, req)->server;
}

static void forget_body(struct http_req *r)
{
    struct http_server *s = server_of(r);
    CHECK(s->bodies_bytes >= r->body_cap);
    s->bodies_bytes -= r->body_cap;
    r->body = NULL;
    r->body_len = r->body_cap = 0;
}

void request_body_drop(struct http_req *r)
{
    mem_free(r->body);
    forget_body(r);
}

void request_reset(struct http_req *r, const struct http_limits *l)
{
    struct http_req fresh = { .body_max = l->body_bytes_max };
    head_reset(&r->head);
    fresh.head = r->head;
    if (r->body_cap > HEAD_KEEP_BYTES) {
        request_body_drop(r);
    } else {
        fresh.body = r->body;
        fresh.body_cap = r->body_cap;
    }
    *r = fresh;
}

void request_release(struct http_req *r)
{
    head_release(&r->head);
    request_body_drop(r);
}

bool request_body_reserve(struct http_req *r, size_t more)
{
    struct http_server *s = server_of(r);
    size_t need = r->body_len + more + 1;
    if (need <= r->body_cap) return true;
    size_t cap = r->body_cap < 1024 ? 1024 : r->body_cap * 2;
    if (!r->chunked) {
        size_t whole = (size_t)r->content_length + 1; /* checked against the cap before any byte is taken */
        if (cap > whole || whole <= BODY_FIRST_BYTES) cap = whole;
    }
    if (cap < need) cap = need;
    size_t all = s->bodies_bytes + cap - r->body_cap;
    if (cap > BODY_SMALL_BYTES && all > s->limits.bodies_bytes_max) return false;
    s->bodies_bytes = all;
    r->body = mem_realloc(r->body, cap);
    r->body_cap = cap;
    return true;
}

const char *http_method(const struct http_req *r)
{
    return r->method;
}

const char *http_path(const struct http_req *r)
{
    return r->path;
}

const char *http_query(const struct http_req *r)
{
    return r->query;
}

const char *http_header(const struct http_req *r, const char *lower_name)
{
    return head_find(&r->head, lower_name);
}

const struct http_header *http_headers(const struct http_req *r, size_t *ret_count)
{
    *ret_count = r->head.count;
    return r->head.headers;
}

const char *http_peer_address(const struct http_req *r)
{
    struct conn *c = container_of((struct http_req *)(uintptr_t)r, struct conn, req);
    if (c->peer[0] == '\0') {
        struct sockaddr_storage a;
        int len = sizeof a;
        if (uv_tcp_getpeername(&c->stream.tcp, (struct sockaddr *)&a, &len) != 0 ||
            uv_ip_name((struct sockaddr *)&a, c->peer, sizeof c->peer) != 0) {
            memcpy(c->peer, "?", 2);
        }
    }
    return c->peer;
}

const char *http_body(const struct http_req *r, size_t *ret_len)
{
    *ret_len = r->body_len;
    return r->body_len > 0 ? r->body : "";
}

char *http_body_take(struct http_req *r, size_t *ret_len)
{
    char *body = r->body_len > 0 ? r->body : mem_alloc(1);
    *ret_len = r->body_len;
    if (r->body_len > 0) forget_body(r);
    return body;
}

void http_body_max(struct http_req *r, size_t max)
{
    r->body_max = max;
}

void http_body_skip(struct http_req *r)
{
    r->skip_body = true;
}

bool http_body_too_large(const struct http_req *r)
{
    return r->too_large;
}

void http_data_set(struct http_req *r, void *data)
{
    r->data = data;
}

void *http_data(const struct http_req *r)
{
    return r->data;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

size_t http_percent_decode(char *dst, const char *src, size_t len, bool plus)
{
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        char c = src[i];
        if (c == '%' && i + 2 < len && hex_digit(src[i + 1]) >= 0 && hex_digit(src[i + 2]) >= 0) {
            c = (char)(hex_digit(src[i + 1]) * 16 + hex_digit(src[i + 2]));
            i += 2;
        } else if (plus && c == '+') {
            c = ' ';
        }
        dst[out++] = c;
    }
    dst[out] = '\0';
    return out;
}
