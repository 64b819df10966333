/* outcome.c - what a call came to, as an answer. The code of an error decides status and headers; its text informs. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/json.h"
#include "base/log.h"
#include "http/ask.h"

#define ANSWER_MAX (64u << 20)
#define HEADERS_MAX 4
#define HEADER_BYTES 48

/* ---- where the door shows another shape than the others --------------------------------------------------------- */
static json_t *bare_memory(json_t *doc)
{
    json_t *m = json_object_get(doc, "memory");
    return m ? m : doc;
}

/* Borrowed from the document. */
static const struct {
    const char *op;
    json_t *(*shape)(json_t *doc);
} shapes[] = {
    { "update", bare_memory },
};

static json_t *shaped(const struct op *op, json_t *doc)
{
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
        if (strcmp(shapes[i].op, op->name) == 0) return shapes[i].shape(doc);
    return doc;
}

int outcome_render(struct call *c)
{
    struct buf b;
    buf_init(&b, ANSWER_MAX);
    json_print(&b, shaped(c->op, c->reply.doc));
    if (b.failed) {
        buf_release(&b);
        return err_set(&c->err, E_TOO_LARGE, "the answer is larger than %u bytes", ANSWER_MAX);
    }
    c->out = buf_take(&b, &c->out_len);
    return 0;
}

/* ---- sending ---------------------------------------------------------------------------------------------------- */
struct headers {
    struct http_header item[HEADERS_MAX];
    char text[HEADERS_MAX][HEADER_BYTES];
    size_t count;
};

static char *add_header(struct headers *h, const char *name)
{
    CHECK(h->count < HEADERS_MAX);
    h->item[h->count] = (struct http_header){ name, h->text[h->count] };
    return h->text[h->count++];
}

static void send_answer(struct ask *a, int status, const char *type, const struct headers *h, char *body, size_t len)
{
    struct http_reply r = { .status = status, .content_type = type, .body_owned = body, .body_len = len };
    if (h) {
        r.headers = h->item;
        r.headers_count = h->count;
    }
    figures_answered(a->door, status);
    http_reply(a->req, &r);
    ask_free(a);
}

char *outcome_error_body(const char *text, size_t *ret_len)
{
    struct buf b;
    buf_init(&b, 64u << 10);
    buf_puts(&b, "{\"error\":");
    json_print_string(&b, text, strlen(text));
    buf_putc(&b, '}');
    return buf_take(&b, ret_len);
}

static void allow_header(const struct ask *a, struct headers *h)
{
    if (a->match.known) snprintf(add_header(h, "allow"), HEADER_BYTES, "%s", a->match.allow);
}

void outcome_text(struct ask *a, int status, const char *text)
{
    size_t len;
    char *body = outcome_error_body(text, &len);
    send_answer(a, status, JSON_TYPE, NULL, body, len);
}

void outcome_not_allowed(struct ask *a, int status, const char *text)
{
    struct headers h = { .count = 0 };
    size_t len;
    char *body = outcome_error_body(text, &len);
    if (a->match.route == NULL) allow_header(a, &h);
    send_answer(a, status, JSON_TYPE, &h, body, len);
}

void outcome_empty(struct ask *a, int status)
{
    struct headers h = { .count = 0 };
    allow_header(a, &h);
    send_answer(a, status, NULL, &h, NULL, 0);
}

void outcome_bytes(struct ask *a, int status, const char *type, char *body, size_t len)
{
    send_answer(a, status, type, NULL, body, len);
}

static void send_json(struct ask *a, int status, const struct headers *h, json_t *doc)
{
    struct buf b;
    size_t len;
    buf_init(&b, ANSWER_MAX);
    json_print(&b, doc);
    json_decref(doc);
    char *body = buf_take(&b, &len);
    send_answer(a, status, JSON_TYPE, h, body, len);
}

void outcome_json(struct ask *a, int status, json_t *doc)
{
    send_json(a, status, NULL, doc);
}

/* ---- calls ------------------------------------------------------------------------------------------------------ */
static void position_header(const struct call *c, struct headers *h)
{
    const struct stamp *pos = &c->pos;
    if (pos->seq == 0) return;
    snprintf(add_header(h, "x-pos"), HEADER_BYTES, "%llu:%llu", (unsigned long long)pos->stream,
             (unsigned long long)pos->seq);
}

/* Of a write that is on a disk, whether enough others have it or not. */
static void write_headers(const struct call *c, struct headers *h)
{
    static const char *const names[] = {
        [DURABLE_NONE] = "none", [DURABLE_LOCAL] = "local", [DURABLE_QUORUM] = "quorum", [DURABLE_ALL] = "all"
    };
    if (c->op->effect != OP_WRITE) return;
    position_header(c, h);
    if (c->got == 0) return;
    snprintf(add_header(h, "x-quorum-acks"), HEADER_BYTES, "%u", c->got);
    snprintf(add_header(h, "x-durability"), HEADER_BYTES, "%s", names[c->durability]);
}

static void succeeded(struct ask *a, struct call *c)
{
    struct headers h = { .count = 0 };
    int status = c->reply.status ? c->reply.status : a->match.route->status;
    char *body = c->out;
    size_t len = c->out_len;
    CHECK(body);
    c->out = NULL;
    write_headers(c, &h);
    send_answer(a, status, JSON_TYPE, &h, body, len);
}

/* What every 503 says: how far the write got, of how many, why not further, and whether it left anything behind. */
static json_t *refusal(const char *error, unsigned got, unsigned needed, int code, const char *reason)
{
    char word[32];
    if (reason == NULL && code == E_QUORUM) reason = "timeout";
    if (reason == NULL) {
        snprintf(word, sizeof(word), "%s", err_name(code));
        for (char *p = word; *p; p++)
            if (*p >= 'A' && *p <= 'Z') *p = (char)(*p | 0x20);
        reason = word;
    }
    json_t *doc =
        json_pack("{s:s, s:i, s:i, s:s}", "error", error, "got", (int)got, "needed", (int)needed, "reason", reason);
    return doc ? doc : refusal(err_text(code), got, needed, code, reason);
}

char *outcome_crowded_body(const char *text, unsigned needed, size_t *ret_len)
{
    struct buf b;
    buf_init(&b, 64u << 10);
    json_t *doc = refusal(text, 0, needed, E_BUSY, NULL);
    json_object_set_new(doc, "outcome", json_string("not_applied"));
    json_print(&b, doc);
    json_decref(doc);
    return buf_take(&b, ret_len);
}

static void unavailable(struct ask *a, struct call *c, const char *text)
{
    struct headers h = { .count = 0 };
    bool write = c->op->effect == OP_WRITE, quorum = c->status == E_QUORUM;
    const char *outcome = c->outcome ? c->outcome : quorum ? "pending" : "not_applied";
    snprintf(add_header(&h, "retry-after"), HEADER_BYTES, c->status == E_BUSY ? "1" : "2");
    write_headers(c, &h);
    json_t *doc = write || quorum ? refusal(quorum ? "quorum_not_met" : text, c->got, c->needed, c->status, c->reason)
                                  : json_pack("{s:s}", "error", text);
    if (write || !quorum) json_object_set_new(doc, "outcome", json_string(outcome));
    send_json(a, 503, &h, doc);
}

static void failed(struct ask *a, struct call *c)
{
    struct headers h = { .count = 0 };
    int code = c->status, status = err_status(code);
    const char *text = c->err.code == code && c->err.msg[0] ? c->err.msg : err_text(code);
    if (code == E_IO && c->outcome) status = 503; /* of a write: it may be there, and a retry is safe */
    if (status == 500 || code == E_IO)
        log_error("http", "%s %s: %s: %s", http_method(a->req), http_path(a->req), err_name(code), text);
    if (status == 503) {
        unavailable(a, c, text);
        return;
    }
    if (status == 500) text = err_text(E_INTERNAL);
    if (c->outcome) write_headers(c, &h);
    json_t *doc = json_pack("{s:s}", "error", text);
    if (doc == NULL) doc = json_pack("{s:s}", "error", err_text(code));
    if (c->outcome) json_object_set_new(doc, "outcome", json_string(c->outcome));
    send_json(a, status, &h, doc);
}

void outcome_call(struct ask *a, struct call *c)
{
    if (c->status == 0)
        succeeded(a, c);
    else
        failed(a, c);
}
