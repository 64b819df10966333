/* rpc.c - JSON-RPC 2.0: the envelope, batches, and the methods of MCP. */
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/json.h"
#include "mcp/prompts.h"
#include "mcp/rpc.h"
#include "mcp/tools.h"

enum { CODE_PARSE = -32700, CODE_REQUEST = -32600, CODE_METHOD = -32601, CODE_PARAMS = -32602 };

static const char *const version_names[RPC_VERSIONS] = { "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25" };

void rpc_init(struct rpc *r, const char *agent_id, bool anonymize, int (*run)(void *data, struct call *c), void *data)
{
    *r = (struct rpc){ .agent_id = agent_id, .anonymize = anonymize, .run = run, .data = data };
    identity_init(&r->identity);
}

/* ---- answers -------------------------------------------------------------------------------------------------- */
struct answer {
    const json_t *id; /* borrowed; NULL: null */
    json_t *result;   /* owned; NULL: an error */
    int code;
    char message[1600];
};

static void answer_error(struct answer *a, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void answer_error(struct answer *a, int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(a->message, sizeof(a->message), fmt, args);
    va_end(args);
    a->code = code;
}

size_t rpc_whole(const char *s, size_t len)
{
    size_t back = 0;
    while (back < 3 && back < len && ((unsigned char)s[len - 1 - back] & 0xc0) == 0x80) back++;
    if (back == len) return len;
    unsigned char lead = (unsigned char)s[len - 1 - back];
    size_t needs = lead < 0xc0 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    return back < needs ? len - 1 - back : len;
}

static void put_answer(struct buf *out, struct answer *a)
{
    buf_puts(out, "{\"jsonrpc\":\"2.0\",\"id\":");
    json_print(out, a->id);
    if (a->result) {
        buf_puts(out, ",\"result\":");
        json_print(out, a->result);
    } else {
        buf_printf(out, ",\"error\":{\"code\":%d,\"message\":", a->code);
        json_print_string(out, a->message, rpc_whole(a->message, strlen(a->message)));
        buf_putc(out, '}');
    }
    buf_putc(out, '}');
    json_decref(a->result);
}

/* ---- methods -------------------------------------------------------------------------------------------------- */
static void note_client(struct rpc *r, const json_t *params)
{
    const char *name = json_string_value(json_object_get(json_object_get(params, "clientInfo"), "name"));
    if (name && name[0]) snprintf(r->client, sizeof(r->client), "%s", name);
}

static void method_initialize(struct rpc *r, json_t *params, struct answer *a)
{
    const char *asked = json_string_value(json_object_get(params, "protocolVersion"));
    note_client(r, params);
    r->version = asked ? RPC_2025_11 : RPC_2024_11;
    for (unsigned v = 0; asked && v < RPC_VERSIONS; v++)
        if (strcmp(asked, version_names[v]) == 0) r->version = (enum rpc_version)v;
    a->result = json_pack("{s:s, s:{s:{}, s:{}}, s:{s:s, s:s}, s:s}", "protocolVersion", version_names[r->version],
                          "capabilities", "tools", "prompts", "serverInfo", "name", "ai-memory", "version", AIM_VERSION,
                          "instructions", prompt_rules);
}

static void method_empty(struct rpc *r, json_t *params, struct answer *a)
{
    (void)r;
    (void)params;
    a->result = json_object();
}

static void method_tools_list(struct rpc *r, json_t *params, struct answer *a)
{
    (void)r;
    (void)params;
    a->result = tools_list();
}

static void method_tools_call(struct rpc *r, json_t *params, struct answer *a)
{
    const char *name = json_string_value(json_object_get(params, "name"));
    if (name == NULL || name[0] == '\0') {
        answer_error(a, CODE_PARAMS, "missing or empty tool name");
        return;
    }
    const struct op *op = op_by_tool(name);
    if (op)
        a->result = tools_call(r, op, json_object_get(params, "arguments"));
    else if (r->version > RPC_2024_11)
        answer_error(a, CODE_PARAMS, "unknown tool: %.256s", name);
    else
        a->result = tools_failed("unknown tool: %s", name);
}

static void method_prompts_list(struct rpc *r, json_t *params, struct answer *a)
{
    (void)r;
    (void)params;
    a->result = prompts_list();
}

static void method_prompts_get(struct rpc *r, json_t *params, struct answer *a)
{
    const char *name = json_string_value(json_object_get(params, "name"));
    (void)r;
    if (name == NULL || name[0] == '\0') {
        answer_error(a, CODE_PARAMS, "missing or empty prompt name");
        return;
    }
    a->result = prompts_get(name, json_object_get(params, "arguments"));
    if (a->result == NULL) answer_error(a, CODE_PARAMS, "unknown prompt: %.256s", name);
}

static const struct method {
    const char *name;
    void (*run)(struct rpc *r, json_t *params, struct answer *a);
} methods[] = {
    { "initialize", method_initialize },
    { "notifications/initialized", method_empty },
    { "ping", method_empty },
    { "tools/list", method_tools_list },
    { "tools/call", method_tools_call },
    { "prompts/list", method_prompts_list },
    { "prompts/get", method_prompts_get },
};

static void dispatch(struct rpc *r, const char *name, json_t *params, struct answer *a)
{
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (strcmp(methods[i].name, name) != 0) continue;
        methods[i].run(r, params, a);
        return;
    }
    answer_error(a, CODE_METHOD, "method not found: %s", name);
}

/* ---- messages ------------------------------------------------------------------------------------------------- */
/* Texts and integers; an integer beyond 64 bits has become a double. */
static bool id_fine(const json_t *id)
{
    if (json_is_string(id) || json_is_integer(id)) return true;
    return json_is_real(id) && floor(json_real_value(id)) == json_real_value(id);
}

/* Appends the answer to one message. False: it gets none. */
static bool message(struct rpc *r, json_t *msg, bool in_batch, struct buf *out)
{
    struct answer a = { 0 };
    json_t *id = json_object_get(msg, "id"), *method = json_object_get(msg, "method");
    const char *version = json_string_value(json_object_get(msg, "jsonrpc")), *name = json_string_value(method);
    bool notification = id == NULL || json_is_null(id);
    bool reply =
        json_is_object(msg) && method == NULL && (json_object_get(msg, "result") || json_object_get(msg, "error"));
    if (reply) return false; /* nothing was asked by us */
    if (id_fine(id)) a.id = id;
    if (!json_is_object(msg)) {
        answer_error(&a, CODE_REQUEST, "not a request: an object is expected");
    } else if (version == NULL || name == NULL) {
        answer_error(&a, CODE_REQUEST, "not a request: \"%s\" must be a string", version ? "method" : "jsonrpc");
    } else if (notification) {
        if (strcmp(name, "initialize") == 0) note_client(r, json_object_get(msg, "params"));
        return false;
    } else if (!id_fine(id)) {
        answer_error(&a, CODE_REQUEST, "an id must be a string or an integer");
    } else if (strcmp(version, "2.0") != 0) {
        answer_error(&a, CODE_REQUEST, "invalid JSON-RPC version (must be \"2.0\")");
    } else if (in_batch && strcmp(name, "initialize") == 0) {
        answer_error(&a, CODE_REQUEST, "initialize cannot be part of a batch");
    } else {
        dispatch(r, name, json_object_get(msg, "params"), &a);
    }
    put_answer(out, &a);
    return true;
}

static void batch(struct rpc *r, json_t *list, struct buf *out)
{
    struct answer a = { 0 };
    bool any = false;
    if (r->version != RPC_2025_03 || json_array_size(list) == 0) {
        answer_error(&a, CODE_REQUEST,
                     json_array_size(list) ? "batches are not part of the protocol version in force"
                                           : "an empty batch");
        put_answer(out, &a);
        buf_putc(out, '\n');
        return;
    }
    size_t start = out->len;
    buf_putc(out, '[');
    for (size_t i = 0; i < json_array_size(list); i++) {
        size_t before = out->len;
        if (any) buf_putc(out, ',');
        if (message(r, json_array_get(list, i), true, out))
            any = true;
        else
            out->len = before; /* takes the comma back */
    }
    if (any)
        buf_puts(out, "]\n");
    else
        out->len = start;
}

static void put_parse_error(struct buf *out, const char *why)
{
    struct answer a = { 0 };
    answer_error(&a, CODE_PARSE, "parse error: %s", why);
    put_answer(out, &a);
    buf_putc(out, '\n');
}

void rpc_line_too_long(struct buf *out)
{
    char why[64];
    snprintf(why, sizeof(why), "a message may have %u bytes at most", RPC_LINE_MAX);
    put_parse_error(out, why);
}

/* An answer too large to be held is replaced by a short one: the client must not wait for ever. */
static void put_too_large(struct buf *out, const json_t *msg, size_t start)
{
    struct answer a = { .id = id_fine(json_object_get(msg, "id")) ? json_object_get(msg, "id") : NULL };
    out->len = start;
    out->failed = false;
    answer_error(&a, -32603, "the answer is too large");
    put_answer(out, &a);
    buf_putc(out, '\n');
}

void rpc_line(struct rpc *r, const char *line, size_t len, struct buf *out)
{
    struct err err = { 0 };
    size_t start = out->len;
    while (len > 0 && strchr(" \t\r", line[len - 1])) len--;
    while (len > 0 && strchr(" \t\r", line[0])) line++, len--;
    if (len == 0) return;
    json_t *msg = json_parse(line, len, NULL, 0, &err);
    if (msg == NULL) {
        put_parse_error(out, err.msg);
        return;
    }
    if (json_is_array(msg))
        batch(r, msg, out);
    else if (message(r, msg, false, out))
        buf_putc(out, '\n');
    if (out->failed) put_too_large(out, msg, start);
    json_decref(msg);
}
