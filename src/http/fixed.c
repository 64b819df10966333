/* fixed.c - the routes that are no operation. */
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/json.h"
#include "http/ask.h"
#include "store/lane.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define BINARY_TYPE "application/octet-stream"

/* ---- health ----------------------------------------------------------------------------------------------------- */
static int peers_up(const json_t *peers)
{
    size_t i;
    json_t *peer;
    int up = 0;
    json_array_foreach (peers, i, peer) {
        const char *state = json_string_value(json_object_get(peer, "state"));
        up += state && strcmp(state, "up") == 0;
    }
    return up;
}

/* Cheap, and free for all: no look into the database. */
void fixed_health(struct ask *a)
{
    const struct http_door_options *o = &a->door->o;
    const struct err *broken = lane_broken(o->lane);
    unsigned writes = cluster_writes(o->cluster);
    json_t *facts = cluster_status(o->cluster), *peers = json_object_get(facts, "peers");
    json_t *federation = json_pack("{s:b, s:i, s:i, s:i, s:i, s:O}", "enabled", writes > 0, "writes", (int)writes,
                                   "nodes", (int)cluster_nodes(o->cluster), "peers", (int)json_array_size(peers),
                                   "peers_up", peers_up(peers), "warnings", json_object_get(facts, "warnings"));
    json_object_set(federation, "durability", json_object_get(facts, "durability"));
    json_t *doc = json_pack("{s:s, s:s, s:s, s:b, s:o}", "service", "ai-memory", "status", broken ? "error" : "ok",
                            "version", o->version, "federation_enabled", writes > 0, "federation", federation);
    if (broken) json_object_set_new(doc, "error", json_string(broken->msg));
    json_decref(facts);
    outcome_json(a, broken ? 503 : 200, doc);
}

/* ---- metrics ---------------------------------------------------------------------------------------------------- */
static void metrics_send(struct ask *a, int64_t memories)
{
    size_t len;
    char *text = figures_print(a->door, memories, &len);
    outcome_bytes(a, 200, METRICS_TYPE, text, len);
}

static void metrics_done(struct call *c)
{
    struct ask *a = c->data;
    json_t *total = json_object_get(c->reply.doc, "total");
    int64_t memories = c->status == 0 && json_is_integer(total) ? json_integer_value(total) : -1;
    a->call = NULL;
    call_free(c);
    if (a->req)
        metrics_send(a, memories);
    else
        ask_free(a);
}

/* The number of rows comes from the operation everybody else uses. */
void fixed_metrics(struct ask *a)
{
    const struct op *stats = op_by_name("stats");
    if (stats == NULL) {
        metrics_send(a, -1);
        return;
    }
    struct call *c = call_new(stats);
    c->data = a;
    c->done = metrics_done;
    c->caller = (struct caller){ .door = DOOR_HTTP, .agent_id = "anonymous:metrics", .anonymous = true };
    c->caller.default_ns = "global";
    a->call = c;
    engine_submit(a->door->o.engine, c);
}

/* ---- description ------------------------------------------------------------------------------------------------ */
void fixed_openapi(struct ask *a)
{
    struct http_door *d = a->door;
    if (d->openapi == NULL) d->openapi = openapi_text(d, &d->openapi_len);
    outcome_bytes(a, 200, JSON_TYPE, mem_strndup(d->openapi, d->openapi_len), d->openapi_len);
}

/* ---- replication ------------------------------------------------------------------------------------------------ */
static void sync_progress(struct cluster_request *r)
{
    const struct ask *a = r->data;
    http_reply_progress(a->req);
}

static void sync_reply(struct cluster_request *r, int status, char *body, size_t len)
{
    struct ask *a = r->data;
    bool json = status != 200 || r->what == CLUSTER_REPAIR;
    a->syncing = false;
    outcome_bytes(a, status, json ? JSON_TYPE : BINARY_TYPE, body, len);
}

void fixed_sync_ops(struct ask *a)
{
    struct cluster_request *r = &a->sync;
    r->body = http_body(a->req, &r->body_len);
    r->query = http_query(a->req);
    r->get = a->match.route->verb == HTTP_GET;
    const char *path = a->match.route->path;
    r->what = strcmp(path, "/api/v1/sync/snapshot") == 0 ? CLUSTER_SNAPSHOT
              : strcmp(path, "/api/v1/sync/scrub") == 0  ? CLUSTER_SCRUB
              : strcmp(path, "/api/v1/sync/repair") == 0 ? CLUSTER_REPAIR
                                                         : CLUSTER_OPS;
    r->progress = sync_progress;
    r->reply = sync_reply;
    r->data = a;
    a->syncing = true;
    cluster_serve(a->door->o.cluster, r);
}

void fixed_sync_status(struct ask *a)
{
    outcome_json(a, 200, cluster_status(a->door->o.cluster));
}
