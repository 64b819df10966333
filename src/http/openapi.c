/* openapi.c - the OpenAPI 3.1 description of every route, drawn from the operation table. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/json.h"
#include "http/ask.h"

#define TEXT_MAX (4u << 20)

static const char *name_of(const struct arg *d)
{
    return d->at[DOOR_HTTP].name ? d->at[DOOR_HTTP].name : d->name;
}

static bool shown(const struct arg *d)
{
    return (d->doors & ON_HTTP) && !(d->flags & ARG_HIDDEN);
}

/* ---- schemas ---------------------------------------------------------------------------------------------------- */
static json_t *object_schema(const struct arg *args, bool body_only);

static json_t *items_schema(const struct arg *d)
{
    json_t *s = json_pack("{s:s, s:o}", "type", "array", "items", object_schema(d->item, true));
    if (d->items_max) json_object_set_new(s, "maxItems", json_integer((json_int_t)d->items_max));
    return s;
}

static json_t *type_schema(const struct arg *d)
{
    switch (d->type) {
    case ARG_INT: return json_pack("{s:s}", "type", "integer");
    case ARG_UINT: return json_pack("{s:s, s:i}", "type", "integer", "minimum", 0);
    case ARG_REAL: return json_pack("{s:s}", "type", "number");
    case ARG_BOOL: return json_pack("{s:s}", "type", "boolean");
    case ARG_TEXTS: return json_pack("{s:s, s:{s:s}}", "type", "array", "items", "type", "string");
    case ARG_OBJECT: return json_pack("{s:s}", "type", "object");
    case ARG_ITEMS: return items_schema(d);
    default: return json_pack("{s:s}", "type", "string");
    }
}

static json_t *default_value(const struct arg *d, const char *text)
{
    bool word = d->type == ARG_TEXT || d->type == ARG_WORD || d->type == ARG_TEXTS;
    json_t *v = word ? NULL : json_parse(text, strlen(text), NULL, 0, NULL);
    return v ? v : json_string(text);
}

static json_t *schema(const struct arg *d)
{
    json_t *s = type_schema(d);
    if (d->doc) json_object_set_new(s, "description", json_string(d->doc));
    if (d->min) json_object_set_new(s, "minimum", json_integer(d->min));
    if (d->at[DOOR_HTTP].max && !(d->flags & ARG_CLAMP))
        json_object_set_new(s, "maximum", json_integer(d->at[DOOR_HTTP].max));
    if (d->at[DOOR_HTTP].dflt) json_object_set_new(s, "default", default_value(d, d->at[DOOR_HTTP].dflt));
    if (d->words == NULL) return s;
    json_t *words = json_array();
    for (size_t i = 0; d->words[i]; i++) json_array_append_new(words, json_string(d->words[i]));
    json_object_set_new(s, "enum", words);
    return s;
}

static json_t *object_schema(const struct arg *args, bool body_only)
{
    json_t *fields = json_object(), *required = json_array();
    for (const struct arg *d = args; d->name; d++) {
        if (!shown(d) || (body_only && (d->flags & (ARG_PATH | ARG_QUERY)))) continue;
        if (d->flags & ARG_BODY_ARRAY) {
            json_decref(fields);
            json_decref(required);
            return items_schema(d);
        }
        json_object_set_new(fields, name_of(d), schema(d));
        if (d->flags & ARG_REQUIRED) json_array_append_new(required, json_string(name_of(d)));
    }
    json_t *s = json_pack("{s:s, s:o}", "type", "object", "properties", fields);
    if (json_array_size(required) > 0)
        json_object_set_new(s, "required", required);
    else
        json_decref(required);
    return s;
}

/* ---- routes ----------------------------------------------------------------------------------------------------- */
/* Headers that decode.c reads, by what an operation does. */
static const struct {
    const char *name, *type, *doc;
    unsigned effects; /* bits of op_effect */
} ask_headers[] = {
    { "X-Write-Quorum", "integer", "Nodes that must have this write; default: the server's setting", 1u << OP_WRITE },
    { "Idempotency-Key", "string", "Sent again with the same request: one effect, the first answer", 1u << OP_WRITE },
    { "X-Wait-Pos", "string", "An answer's X-Pos: read when this node has it", 1u << OP_READ | 1u << OP_TOUCH },
    { "X-Wait-Ms", "integer", "Longest wait for X-Wait-Pos; then 504", 1u << OP_READ | 1u << OP_TOUCH },
};

static void add_header(json_t *list, const char *name, const char *type, const char *doc)
{
    json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:s, s:{s:s}}", "name", name, "in", "header", "required", 0,
                                          "description", doc, "schema", "type", type));
}

static void header_parameters(const struct op *op, json_t *list)
{
    if (!op->anonymous) add_header(list, "X-Agent-Id", "string", "Who is asking");
    for (size_t i = 0; i < ARRAY_LEN(ask_headers); i++)
        if (ask_headers[i].effects >> op->effect & 1)
            add_header(list, ask_headers[i].name, ask_headers[i].type, ask_headers[i].doc);
}

/* What a write's answers tell beside their body. */
static void write_answers(json_t *answers, const char *status)
{
    json_t *headers =
        json_pack("{s:{s:s, s:{s:s}}, s:{s:s, s:{s:s}}, s:{s:s, s:{s:[s,s,s,s]}}}", "X-Pos", "description",
                  "Position of the write, for X-Wait-Pos", "schema", "type", "string", "X-Quorum-Acks", "description",
                  "Nodes that have it, this one included", "schema", "type", "integer", "X-Durability", "description",
                  "On whose disks it is: no one's yet (durability normal), one, W, all", "schema", "enum", "none",
                  "local", "quorum", "all");
    json_t *unmet =
        json_pack("{s:s, s:O}", "description",
                  "{error, got, needed, reason, outcome}: so many nodes have it; outcome is pending or not_applied. "
                  "Safe to repeat after Retry-After",
                  "headers", headers);
    json_object_set_new(json_object_get(answers, status), "headers", headers);
    json_object_set_new(answers, "503", unmet);
}

static json_t *parameters(const struct route *r)
{
    json_t *list = json_array();
    for (const struct arg *d = r->op->args; d->name; d++) {
        bool path = (d->flags & ARG_PATH) != 0;
        if (!shown(d) || (!path && r->body && !(d->flags & ARG_QUERY))) continue;
        json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:o}", "name", name_of(d), "in", path ? "path" : "query",
                                              "required", path || (d->flags & ARG_REQUIRED), "schema", schema(d)));
    }
    header_parameters(r->op, list);
    return list;
}

static const char *verb_name(enum http_verb v)
{
    static const char *const names[] = {
        [HTTP_NONE] = "", [HTTP_GET] = "get", [HTTP_POST] = "post", [HTTP_PUT] = "put", [HTTP_DELETE] = "delete"
    };
    return names[v];
}

static const char *fixed_summary(enum route_kind kind)
{
    switch (kind) {
    case ROUTE_HEALTH: return "Is the node alive? Needs no key";
    case ROUTE_METRICS: return "Figures in Prometheus text form";
    case ROUTE_OPENAPI: return "This description";
    case ROUTE_SYNC_OPS: return "Replication between nodes, binary";
    case ROUTE_SYNC_REPAIR: return "Compare this node's rows with its peers' now, and mend what differs";
    default: return "State of replication; ids of nodes and streams are decimal numbers as text";
    }
}

static json_t *operation(const struct route *r)
{
    char status[8];
    snprintf(status, sizeof(status), "%d", r->status);
    json_t *answers = json_pack("{s:{s:s}, s:{s:s}}", status, "description", "Done", "default", "description",
                                "Refused or failed: {\"error\": text}");
    static const char *const effects[] = {
        [OP_READ] = "read", [OP_TOUCH] = "touch", [OP_WRITE] = "write", [OP_LOCAL] = "local"
    };
    json_t *o = json_pack("{s:s, s:o}", "summary", r->op ? r->op->doc : fixed_summary(r->kind), "responses", answers);
    if (r->op == NULL) return o;
    json_object_set_new(o, "x-effect", json_string(effects[r->op->effect]));
    json_t *id = json_sprintf("%s_%s", verb_name(r->verb), r->op->name);
    json_object_set_new(o, "operationId", id);
    json_object_set_new(o, "parameters", parameters(r));
    if (r->op->effect == OP_WRITE) write_answers(answers, status);
    if (r->body)
        json_object_set_new(o, "requestBody",
                            json_pack("{s:b, s:{s:{s:o}}}", "required", 1, "content", JSON_TYPE, "schema",
                                      object_schema(r->op->args, true)));
    return o;
}

char *openapi_text(const struct http_door *d, size_t *ret_len)
{
    json_t *paths = json_object();
    const struct route *r;
    for (size_t i = 0; (r = route_at(d->routes, i)) != NULL; i++) {
        json_t *path = json_object_get(paths, r->path);
        if (path == NULL) {
            path = json_object();
            json_object_set_new(paths, r->path, path);
        }
        json_object_set_new(path, verb_name(r->verb), operation(r));
    }
    json_t *doc = json_pack("{s:s, s:{s:s, s:s}, s:o}", "openapi", "3.1.0", "info", "title", "ai-memory", "version",
                            d->o.version, "paths", paths);
    struct buf b;
    buf_init(&b, TEXT_MAX);
    json_print(&b, doc);
    json_decref(doc);
    return buf_take(&b, ret_len);
}
