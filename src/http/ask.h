/* ask.h - inside of the HTTP door: one request on its way, and what the door's files share.
 *
 *   http_door.c  the server's callbacks: order of checks, dispatch, life of an ask
 *   route.c      which path means what            decode.c   request to arguments
 *   outcome.c    a finished call to an answer     fixed.c    the routes that are no operation
 *   openapi.c    the description of all routes    figures.c  metrics */
#ifndef AIM_HTTP_ASK_H
#define AIM_HTTP_ASK_H

#include "cluster/cluster.h"
#include "http/http_door.h"
#include "http/route.h"
#include "ops/engine.h"

#define JSON_TYPE "application/json"

struct http_door {
    struct http_door_options o;
    const struct http_server *server;    /* borrowed; NULL before http_door_server */
    struct route_table *routes;
    char *openapi;                       /* owned; made when first asked for */
    size_t openapi_len;
    size_t api_key_len;
    unsigned needed;                     /* nodes that a write waits for */
};

/* Lives from the request's headers to its answer; when the client goes first, to the end of its call. */
struct ask {
    struct http_door *door;
    struct http_req *req;                /* NULL: the client went away */
    struct route_match match;
    bool head;                           /* HEAD */
    struct call *call;                   /* in the engine */
    const char *target;                  /* what an Idempotency-Key is bound to beside the body; in the call's arena */
    struct cluster_request sync;
    bool syncing;                        /* in the cluster's hands */
    int64_t began_us;
};

/* http_door.c */
void ask_free(struct ask *a);

/* decode.c */
/* Path, query, headers and, up to 16 KiB, the body into the call; a larger body is left to call->decode. Fills
 * call->err on refusal. */
int decode_request(struct ask *a, struct call *c);

/* outcome.c: each sends the answer and frees the ask (not the call). */
void outcome_text(struct ask *a, int status, const char *text);          /* {"error": text} */
void outcome_not_allowed(struct ask *a, int status, const char *text);   /* the same, with `allow` */
void outcome_empty(struct ask *a, int status);                           /* no body; `allow` on a known path */
void outcome_bytes(struct ask *a, int status, const char *type, char *body, size_t len);   /* body is taken */
void outcome_json(struct ask *a, int status, json_t *doc);               /* doc is taken */
void outcome_call(struct ask *a, struct call *c);                        /* of a finished or refused call */
int outcome_render(struct call *c);                                      /* call->render of this door */
char *outcome_error_body(const char *text, size_t *ret_len);
char *outcome_crowded_body(const char *text, unsigned needed, size_t *ret_len); /* 503 before the request was read */

/* fixed.c */
void fixed_health(struct ask *a);
void fixed_metrics(struct ask *a);
void fixed_openapi(struct ask *a);
void fixed_sync_ops(struct ask *a);
void fixed_sync_status(struct ask *a);

/* openapi.c */
char *openapi_text(const struct http_door *d, size_t *ret_len);

/* figures.c */
void figures_answered(struct http_door *d, int status);
void figures_call(const struct ask *a, const struct call *c);
/* All families as text, refreshed; memories: rows in the store, negative when unknown. */
char *figures_print(struct http_door *d, int64_t memories, size_t *ret_len);

#endif
