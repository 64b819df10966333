/* http_door.c - the order of checks, the same for every request: OPTIONS, key, path, method, content type, size, then
 * the route. An ask ends in exactly one of outcome_*; a client that went away leaves it with req NULL until its call is
 * done. */
#include "http/http_door.h"

#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/digest.h"
#include "http/ask.h"

#define SYNC_BODY_MAX (17u << 20) /* an op of 16 MiB and what is around it */
#define HEALTH "/api/v1/health"

static const struct http_header always[] = {
    { "vary", "origin, access-control-request-method, access-control-request-headers" },
};

void ask_free(struct ask *a)
{
    CHECK(a->call == NULL && !a->syncing);
    mem_free(a);
}

/* ---- the key ---------------------------------------------------------------------------------------------------- */
static bool key_is(const struct http_door *d, const char *text, size_t len)
{
    return equal_secret(text, len, d->o.api_key, d->api_key_len) != 0;
}

/* Any `api_key=` of the query may be the right one. */
static bool key_in_query(const struct http_door *d, const char *query)
{
    static const char name[] = "api_key=";
    bool found = false;
    for (const char *p = query; p && *p;) {
        size_t len = strcspn(p, "&");
        if (len >= sizeof(name) - 1 && strncmp(p, name, sizeof(name) - 1) == 0) {
            size_t value_len = len - (sizeof(name) - 1);
            char *value = mem_alloc(value_len + 1);
            value_len = http_percent_decode(value, p + sizeof(name) - 1, value_len, true);
            if (key_is(d, value, value_len)) found = true;
            mem_free(value);
        }
        p += len + (p[len] == '&');
    }
    return found;
}

static bool may_ask(const struct http_door *d, const struct http_req *req)
{
    if (d->o.api_key == NULL || strcmp(http_path(req), HEALTH) == 0) return true;
    const char *given = http_header(req, "x-api-key");
    if (given && key_is(d, given, strlen(given))) return true;
    return key_in_query(d, http_query(req));
}

/* ---- headers ---------------------------------------------------------------------------------------------------- */
/* application/json or application/<something>+json, parameters allowed. */
static bool is_json(const char *type)
{
    static const char prefix[] = "application/";
    if (type == NULL || strncasecmp(type, prefix, sizeof(prefix) - 1) != 0) return false;
    const char *sub = type + sizeof(prefix) - 1;
    size_t len = strcspn(sub, "; \t");
    return (len == 4 && strncasecmp(sub, "json", 4) == 0) || (len > 5 && strncasecmp(sub + len - 5, "+json", 5) == 0);
}

static void on_head(void *data, struct http_req *req)
{
    struct http_door *d = data;
    struct ask *a = mem_alloc(sizeof(*a));
    const char *method = http_method(req);
    a->door = d;
    a->req = req;
    a->head = strcmp(method, "HEAD") == 0;
    http_data_set(req, a);
    route_find(d->routes, method, http_path(req), &a->match);
    const struct route *r = a->match.route;
    if (strcmp(method, "OPTIONS") == 0) {
        outcome_empty(a, 200);
    } else if (!may_ask(d, req)) {
        outcome_not_allowed(a, 401, err_text(E_UNAUTHORIZED));
    } else if (!a->match.known) {
        outcome_text(a, 404, "no such path");
    } else if (r == NULL) {
        outcome_not_allowed(a, 405, "method not allowed");
    } else if (r->body && !is_json(http_header(req, "content-type"))) {
        outcome_text(a, 415, "Expected request with `Content-Type: application/json`");
    } else if (r->kind == ROUTE_SYNC_OPS) {
        http_body_max(req, SYNC_BODY_MAX);
    } else if (!r->body) {
        http_body_skip(req);
    }
}

/* ---- operations ------------------------------------------------------------------------------------------------- */
static void op_done(struct call *c)
{
    struct ask *a = c->data;
    a->call = NULL;
    figures_call(a, c);
    if (a->req)
        outcome_call(a, c);
    else
        ask_free(a);
    call_free(c);
}

static void run_op(struct ask *a)
{
    struct call *c = call_new(a->match.route->op);
    c->data = a;
    c->done = op_done;
    c->render = outcome_render;
    c->no_touch = a->head;
    a->began_us = clock_mono_us();
    if (decode_request(a, c)) {
        c->status = c->err.code;
        outcome_call(a, c);
        call_free(c);
        return;
    }
    a->call = c;
    engine_submit(a->door->o.engine, c);
}

static void on_request(void *data, struct http_req *req)
{
    struct ask *a = http_data(req);
    CHECK(a && a->door == data && a->req == req);
    if (http_body_too_large(req)) {
        outcome_text(a, 413, "Failed to buffer the request body: length limit exceeded");
        return;
    }
    switch (a->match.route->kind) {
    case ROUTE_OP: run_op(a); break;
    case ROUTE_HEALTH: fixed_health(a); break;
    case ROUTE_METRICS: fixed_metrics(a); break;
    case ROUTE_OPENAPI: fixed_openapi(a); break;
    case ROUTE_SYNC_OPS: fixed_sync_ops(a); break;
    case ROUTE_SYNC_REPAIR: fixed_sync_ops(a); break;
    case ROUTE_SYNC_STATUS: fixed_sync_status(a); break;
    }
}

static void on_gone(void *data, struct http_req *req)
{
    struct ask *a = http_data(req);
    (void)data;
    if (a == NULL) return;
    a->req = NULL;
    if (a->call) {
        engine_gone(a->door->o.engine, a->call);
        return;
    }
    if (a->syncing) cluster_serve_gone(a->door->o.cluster, &a->sync);
    a->syncing = false;
    ask_free(a);
}

static void on_error(void *data, int status, const char *text, struct http_reply *out)
{
    const struct http_door *d = data;
    out->content_type = JSON_TYPE;
    out->body_owned = status == 503 ? outcome_crowded_body(text, d->needed, &out->body_len)
                                    : outcome_error_body(text, &out->body_len);
}

/* ---- life ------------------------------------------------------------------------------------------------------- */
struct http_door *http_door_new(const struct http_door_options *o)
{
    struct http_door *d = mem_alloc(sizeof(*d));
    d->o = *o;
    d->api_key_len = o->api_key ? strlen(o->api_key) : 0;
    d->routes = route_table_new();
    d->needed = cluster_writes(o->cluster) > 1 ? cluster_writes(o->cluster) : 1;
    return d;
}

void http_door_handlers(struct http_door *d, struct http_handlers *ret)
{
    *ret = (struct http_handlers){
        .data = d,
        .head = on_head,
        .request = on_request,
        .gone = on_gone,
        .error_body = on_error,
        .always = always,
        .always_count = ARRAY_LEN(always),
    };
}

void http_door_server(struct http_door *d, const struct http_server *s)
{
    d->server = s;
}

void http_door_free(struct http_door *d)
{
    if (d == NULL) return;
    route_table_free(d->routes);
    mem_free(d->openapi);
    mem_free(d);
}
