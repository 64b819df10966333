/* tools.c - tools/list from the operation table; tools/call: arguments in, one call, text out. */
#include <stdarg.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "mcp/schema.h"
#include "mcp/toon.h"
#include "mcp/tools.h"

#define TEXT_MAX (64u << 20)

/* ---- tools/list ----------------------------------------------------------------------------------------------- */
static json_t *annotations(const struct mcp_tool *t)
{
    bool read_only = t->hints & MCP_READ_ONLY;
    json_t *o = json_pack("{s:b, s:b}", "readOnlyHint", read_only, "openWorldHint", 0);
    if (read_only) return o;
    json_object_set_new(o, "destructiveHint", json_boolean(t->hints & MCP_DESTRUCTIVE));
    json_object_set_new(o, "idempotentHint", json_boolean(t->hints & MCP_IDEMPOTENT));
    return o;
}

json_t *tools_list(void)
{
    json_t *list = json_array();
    for (const struct op *op = op_table; op->name; op++) {
        if (op->mcp.name == NULL) continue;
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:o, s:o}", "name", op->mcp.name, "description", op->mcp.doc,
                                        "inputSchema", schema_of(op->args), "annotations", annotations(&op->mcp)));
    }
    return json_pack("{s:o}", "tools", list);
}

/* ---- texts ---------------------------------------------------------------------------------------------------- */
static json_t *text_result(const char *text, size_t len, bool failed)
{
    json_t *o = json_pack("{s:[{s:s, s:o}]}", "content", "type", "text", "text", json_stringn_nocheck(text, len));
    if (failed) json_object_set_new(o, "isError", json_true());
    return o;
}

json_t *tools_failed(const char *fmt, ...)
{
    char text[2048];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (len < 0) text[0] = '\0';
    return text_result(text, rpc_whole(text, strlen(text)), true);
}

/* A memory with its links is one flat object here. */
static json_t *shape_get(const json_t *doc)
{
    json_t *o = json_copy(json_object_get(doc, "memory"));
    json_object_set(o, "links", json_object_get(doc, "links"));
    return o;
}

static const struct {
    const char *op;
    json_t *(*shape)(const json_t *doc);
} shapes[] = {
    { "get", shape_get },
    { NULL, NULL },
};

static json_t *shaped(const struct op *op, json_t *doc)
{
    bool pending = json_object_get(doc, "pending_id") != NULL;
    for (size_t i = 0; shapes[i].op && !pending; i++)
        if (strcmp(shapes[i].op, op->name) == 0) return shapes[i].shape(doc);
    return json_incref(doc);
}

enum form { FORM_JSON, FORM_TOON, FORM_COMPACT };

/* Only operations with an argument `format` answer in lines; what is no text counts as not given. */
static enum form form_of(const struct op *op, const json_t *arguments)
{
    if (arg_index(op->args, DOOR_MCP, "format") < 0) return FORM_JSON;
    const char *word = json_string_value(json_object_get(arguments, "format"));
    if (word == NULL || strcmp(word, "toon_compact") == 0) return FORM_COMPACT;
    return strcmp(word, "toon") == 0 ? FORM_TOON : FORM_JSON;
}

static json_t *result_of(const struct call *c, enum form form)
{
    struct buf b;
    buf_init(&b, TEXT_MAX);
    json_t *doc = shaped(c->op, c->reply.doc);
    if (form == FORM_JSON)
        json_print_pretty(&b, doc);
    else
        toon_print(&b, doc, form == FORM_COMPACT);
    json_t *result =
        b.failed ? tools_failed("the answer is too large: ask for fewer rows") : text_result(buf_str(&b), b.len, false);
    json_decref(doc);
    buf_release(&b);
    return result;
}

/* ---- tools/call ----------------------------------------------------------------------------------------------- */
static json_t *clean_arguments(json_t *arguments)
{
    if (!json_is_object(arguments)) return json_object();
    json_t *format = json_object_get(arguments, "format");
    if (format == NULL || json_is_string(format)) return json_incref(arguments);
    json_t *o = json_copy(arguments);
    json_object_del(o, "format");
    return o;
}

static int decode(struct call *c)
{
    int rc = args_from_json(c->op->args, DOOR_MCP, c->body, &c->arena, c->args, &c->err);
    if (rc == 0) rc = args_finish(c->op->args, DOOR_MCP, &c->arena, c->args, &c->err);
    return rc ? rc : args_check(c->op->args, DOOR_MCP, clock_wall_us(NULL), &c->arena, c->args, &c->err);
}

json_t *tools_call(struct rpc *r, const struct op *op, json_t *arguments)
{
    struct call *c = call_new(op);
    c->body = clean_arguments(arguments);
    c->caller.door = DOOR_MCP;
    c->caller.default_ns = "global";
    identity_resolve(&r->identity, r->agent_id, r->client, r->anonymize, &c->caller);
    enum form form = form_of(op, c->body);
    int rc = decode(c);
    if (rc == 0) rc = r->run(r->data, c);
    json_t *result = rc == 0 ? result_of(c, form) : tools_failed("%s", c->err.msg[0] ? c->err.msg : err_text(rc));
    call_free(c);
    return result;
}
