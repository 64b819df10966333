/* decode.c - a request into the arguments of its operation. Small bodies are decoded on the loop, straight from the
 * connection's buffer; large ones are taken over and decoded on the pool by the same function. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/id.h"
#include "base/json.h"
#include "http/ask.h"
#include "memory/utf8.h"

#define LOOP_BODY_MAX 16384
#define BODY_VALUES_MAX 131072 /* a thousand memories of fifty tags have half as many */
#define KEY_MAX 255
#define WAIT_POS_MS 5000
#define WAIT_POS_MS_MAX 30000

static int too_large(struct call *c)
{
    return err_set(&c->err, E_TOO_LARGE, "arguments exceed the memory of a call");
}

/* ---- UTF-8 ------------------------------------------------------------------------------------------------------ */
/* Is what begins at *p one well-formed character? Moves behind it. */
static bool well_formed(const char **p, const char *end)
{
    const char *from = *p;
    uint32_t c = utf8_next(p, end);
    size_t need = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    bool surrogate = c >= 0xd800 && c <= 0xdfff;
    if ((size_t)(*p - from) == need && !surrogate && c <= 0x10ffff) return true;
    *p = from + 1;
    return false;
}

static bool is_utf8(const char *text, size_t len)
{
    const char *end = text + len;
    while (text < end)
        if (!well_formed(&text, end)) return false;
    return true;
}

/* What is no UTF-8 reads as U+FFFD. NULL: no room. */
static const char *repaired(struct arena *a, const char *text, size_t *len)
{
    if (is_utf8(text, *len)) return text;
    static const char unknown[3] = { '\xef', '\xbf', '\xbd' };
    const char *p = text, *end = text + *len;
    char *out = arena_alloc(a, *len * sizeof(unknown) + 1);
    size_t n = 0;
    while (out && p < end) {
        const char *from = p;
        if (well_formed(&p, end)) {
            memcpy(out + n, from, (size_t)(p - from));
            n += (size_t)(p - from);
        } else {
            memcpy(out + n, unknown, sizeof(unknown));
            n += sizeof(unknown);
        }
    }
    *len = n;
    return out;
}

/* ---- path and query --------------------------------------------------------------------------------------------- */
static int decode_path(struct ask *a, struct call *c)
{
    const char *path = http_path(a->req);
    const struct route *r = a->match.route;
    for (unsigned i = 0; i < r->params; i++) {
        const struct route_part *part = &a->match.param[i];
        unsigned index = (unsigned)r->param_arg[i];
        char *text = arena_alloc(&c->arena, part->len + 1);
        if (text == NULL) return too_large(c);
        size_t len = http_percent_decode(text, path + part->at, part->len, false);
        if (!is_utf8(text, len))
            return err_set(&c->err, E_SYNTAX, "Invalid URL: Invalid UTF-8 in `%s`", c->op->args[index].name);
        int rc = args_from_text(c->op->args, index, DOOR_HTTP, text, len, &c->arena, c->args, &c->err);
        if (rc) return rc;
    }
    return 0;
}

static int bad_query(struct call *c, const char *arg)
{
    struct err why = c->err;
    if (why.code != E_TYPE && why.code != E_MISSING) return why.code;
    bool named = arg[0] && why.code == E_TYPE;
    return err_set(&c->err, E_SYNTAX, "Failed to deserialize query string: %s%s%s", named ? arg : "", named ? ": " : "",
                   why.msg);
}

static int query_argument(struct call *c, const char *name, const char *value, size_t len, bool body, uint64_t *seen)
{
    int index = arg_index(c->op->args, DOOR_HTTP, name);
    if (index < 0) return 0;
    const struct arg *d = &c->op->args[index];
    if ((d->flags & ARG_PATH) || (body && !(d->flags & ARG_QUERY))) return 0;
    if ((*seen >> index) & 1)
        return err_set(&c->err, E_SYNTAX, "Failed to deserialize query string: duplicate field `%s`", name);
    *seen |= UINT64_C(1) << index;
    int rc = args_from_text(c->op->args, (unsigned)index, DOOR_HTTP, value, len, &c->arena, c->args, &c->err);
    return rc ? bad_query(c, name) : 0;
}

static int decode_query(struct ask *a, struct call *c)
{
    uint64_t seen = 0;
    for (const char *p = http_query(a->req); p && *p;) {
        size_t len = strcspn(p, "&"), name_len = strcspn(p, "&="), value_len = 0;
        char *name = arena_alloc(&c->arena, name_len + 1), *value = arena_alloc(&c->arena, len + 1);
        if (name == NULL || value == NULL) return too_large(c);
        http_percent_decode(name, p, name_len, true);
        if (name_len < len) value_len = http_percent_decode(value, p + name_len + 1, len - name_len - 1, true);
        const char *text = repaired(&c->arena, value, &value_len);
        if (text == NULL) return too_large(c);
        int rc = query_argument(c, name, text, value_len, a->match.route->body, &seen);
        if (rc) return rc;
        p += len + (p[len] == '&');
    }
    return 0;
}

/* ---- the body --------------------------------------------------------------------------------------------------- */
static int bad_body(struct call *c)
{
    struct err why = c->err;
    const char *colon = why.arg[0] ? ": " : "";
    if (why.code == E_TYPE)
        return err_set(&c->err, E_TYPE, "Failed to deserialize the JSON body into the target type: %s%s%s", why.arg,
                       colon, why.msg);
    if (why.code == E_SYNTAX)
        return err_set(&c->err, E_SYNTAX, "Failed to parse the request body as JSON: %s%s%s", why.arg, colon, why.msg);
    return why.code;
}

/* A field given twice is refused where we know the field; within metadata the last one counts. */
static bool known_field(const struct arg *args, const char *name)
{
    if (args[0].name && (args[0].flags & ARG_BODY_ARRAY)) args = args[0].item;
    return arg_index(args, DOOR_HTTP, name) >= 0;
}

static void fingerprint(struct call *c, const char *body, size_t len)
{
    const struct ask *a = c->data;
    uint8_t both[64];
    if (c->idempotency_key == NULL) return;
    sha256(a->target, strlen(a->target), both);
    sha256(body, len, both + 32);
    sha256(both, sizeof(both), c->fingerprint);
}

static int check(struct call *c)
{
    int rc = args_finish(c->op->args, DOOR_HTTP, &c->arena, c->args, &c->err);
    if (rc) return bad_query(c, c->err.arg);
    return args_check(c->op->args, DOOR_HTTP, clock_wall_us(NULL), &c->arena, c->args, &c->err);
}

/* What nobody asked for is let go at once: a call may wait long, and many of them together. */
static void drop_unknown(const struct arg *args, json_t *body)
{
    const char *name;
    json_t *value;
    void *next;
    size_t i;
    json_array_foreach (body, i, value) drop_unknown(args, value);
    json_object_foreach_safe(body, next, name, value) if (!known_field(args, name)) json_object_del(body, name);
}

/* Loop or pool. */
static int decode_body(struct call *c, const char *text, size_t len)
{
    char twice[64];
    fingerprint(c, text, len);
    c->body = json_parse_limited(text, len, BODY_VALUES_MAX, twice, sizeof(twice), &c->err);
    if (c->body == NULL) return bad_body(c);
    if (twice[0] && known_field(c->op->args, twice)) {
        err_set(&c->err, E_TYPE, "duplicate field `%s`", twice);
        return bad_body(c);
    }
    int rc = args_from_json(c->op->args, DOOR_HTTP, c->body, &c->arena, c->args, &c->err);
    drop_unknown(c->op->args, c->body);
    c->weight = json_weight(c->body);
    return rc ? bad_body(c) : check(c);
}

static int decode_later(struct call *c)
{
    return decode_body(c, c->text, c->text_len);
}

/* ---- headers ---------------------------------------------------------------------------------------------------- */
static bool plain_ascii(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s >= 0x7f || (unsigned char)*s < 0x20) return false;
    return true;
}

static int decode_caller(struct ask *a, struct call *c)
{
    const char *given = c->op->anonymous ? NULL : http_header(a->req, "x-agent-id");
    struct caller *who = &c->caller;
    struct err why;
    *who = (struct caller){ .door = DOOR_HTTP,
                            .default_ns = "global",
                            .quorum_on = cluster_writes(a->door->o.cluster) > 0 };
    if (given == NULL || given[0] == '\0' || !plain_ascii(given)) {
        who->anonymous = true;
        who->agent_id = arena_printf(&c->arena, "anonymous:req-%08x", (unsigned)(random_u64() & 0xffffffffu));
        return who->agent_id ? 0 : too_large(c);
    }
    who->agent_id = arena_strdup(&c->arena, given);
    if (rule_agent_id(given, strlen(given), &why)) who->agent_error = arena_strdup(&c->arena, why.msg);
    return who->agent_id ? 0 : too_large(c);
}

/* A value given twice is no value: nobody can tell which of them was meant. */
static int header_once(const struct ask *a, struct call *c, const char *lower_name, const char **ret)
{
    size_t count, found = 0;
    const struct http_header *h = http_headers(a->req, &count);
    *ret = http_header(a->req, lower_name);
    for (size_t i = 0; *ret && i < count; i++) found += strcmp(h[i].name, lower_name) == 0;
    return found > 1 ? err_set(&c->err, E_INVALID, "%s is given more than once", lower_name) : 0;
}

/* Digits only, nothing behind them. */
static bool number(const char *text, uint64_t max, uint64_t *ret, const char **end)
{
    uint64_t n = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (digit > max || n > (max - digit) / 10) return false;
        n = n * 10 + digit;
    }
    *ret = n;
    *end = p;
    return p > text;
}

static int decode_wait(struct ask *a, struct call *c)
{
    const char *text, *ms, *end;
    uint64_t wait = WAIT_POS_MS;
    if (c->op->effect != OP_READ && c->op->effect != OP_TOUCH) return 0;
    int rc = header_once(a, c, "x-wait-pos", &text);
    if (rc == 0) rc = header_once(a, c, "x-wait-ms", &ms);
    if (rc || text == NULL) return rc;
    bool ok = number(text, UINT64_MAX, &c->wait_stream, &end) && *end == ':';
    ok = ok && number(end + 1, UINT64_MAX, &c->wait_seq, &end) && *end == '\0';
    if (!ok) return err_set(&c->err, E_INVALID, "X-Wait-Pos is not of the form stream:seq");
    if (ms && (!number(ms, WAIT_POS_MS_MAX, &wait, &end) || *end))
        return err_set(&c->err, E_INVALID, "X-Wait-Ms must be between 0 and %d", WAIT_POS_MS_MAX);
    c->wait_ms = (int64_t)wait;
    return 0;
}

static int decode_write(struct ask *a, struct call *c)
{
    const char *quorum, *key, *end;
    unsigned nodes = cluster_nodes(a->door->o.cluster);
    uint64_t n = 0;
    if (c->op->effect != OP_WRITE) return 0;
    int rc = header_once(a, c, "x-write-quorum", &quorum);
    if (rc == 0) rc = header_once(a, c, "idempotency-key", &key);
    if (rc) return rc;
    if (quorum && (!number(quorum, nodes, &n, &end) || *end || n == 0))
        return err_set(&c->err, E_INVALID, "X-Write-Quorum must be between 1 and %u", nodes);
    c->write_quorum = (unsigned)n;
    if (key == NULL) return 0;
    if (key[0] == '\0' || strlen(key) > KEY_MAX || !plain_ascii(key))
        return err_set(&c->err, E_INVALID, "Idempotency-Key must be 1 to %d ASCII characters", KEY_MAX);
    c->idempotency_key = arena_strdup(&c->arena, key);
    const char *query = http_query(a->req);
    a->target = arena_printf(&c->arena, "%s %s?%s", http_method(a->req), http_path(a->req), query ? query : "");
    return c->idempotency_key && a->target ? 0 : too_large(c);
}

int decode_request(struct ask *a, struct call *c)
{
    int rc = decode_path(a, c);
    if (rc == 0) rc = decode_query(a, c);
    if (rc == 0) rc = decode_caller(a, c);
    if (rc == 0) rc = decode_wait(a, c);
    if (rc == 0) rc = decode_write(a, c);
    if (rc) return rc;
    size_t len;
    const char *body = http_body(a->req, &len);
    if (!a->match.route->body) {
        fingerprint(c, "", 0);
        return check(c);
    }
    if (len <= LOOP_BODY_MAX) return decode_body(c, body, len);
    c->text = http_body_take(a->req, &c->text_len);
    c->decode = decode_later;
    return 0;
}
