/* keys.c - Idempotency-Keys. The first attempt's answer is kept with its key, in the op that it made: a node that has
 * the one has the other. A retry gets that answer and makes nothing. */
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "ops/engine_private.h"
#include "store/change.h"

#define ANSWER_MAX (1u << 20) /* a longer one is not kept: the retry runs again */

int keys_known(struct call *c, struct op_ctx *ctx)
{
    struct idem_row row;
    if (c->idempotency_key == NULL) return 0;
    int rc = ctx->tx->v->idem_get(ctx->tx, c->idempotency_key, ctx->arena, &row);
    if (rc == E_NOT_FOUND || (rc == 0 && row.expires_us <= ctx->now_us)) return 0;
    if (rc) return rc;
    if (memcmp(row.body, c->fingerprint, IDEM_PRINT) != 0)
        return err_set(ctx->err, E_MISMATCH, "the Idempotency-Key was used for another request");
    const char *text = (const char *)row.body + IDEM_PRINT;
    json_t *kept = json_parse(text, row.body_len - IDEM_PRINT, NULL, 0, NULL);
    c->reply.doc = json_incref(json_object_get(kept, "answer"));
    c->reply.status = (int)json_integer_value(json_object_get(kept, "status"));
    c->reply.wait_all = json_is_true(json_object_get(kept, "stood"));
    c->reply.no_quorum = json_is_true(json_object_get(kept, "local"));
    c->reply.wait_for = row.stamp;
    json_decref(kept);
    return 1;
}

int keys_bind(struct call_private *p, struct op_ctx *ctx, bool made)
{
    struct call *c = p->call;
    const struct reply *r = &c->reply;
    struct buf b;
    /* an attempt that changed nothing is remembered too: what comes later is not undone by a retry; not a dry run */
    if (c->idempotency_key == NULL || r->afterwards || (r->no_quorum && !made)) return 0;
    json_t *kept = json_pack("{s:O?, s:i, s:b, s:b}", "answer", r->doc, "status", r->status, "stood", p->stands > 0,
                             "local", r->no_quorum);
    buf_init(&b, ANSWER_MAX);
    buf_put(&b, c->fingerprint, IDEM_PRINT);
    json_print(&b, kept);
    json_decref(kept);
    int rc = change_idem(ctx->change, c->idempotency_key, b.failed ? c->fingerprint : (const void *)buf_str(&b),
                         b.failed ? IDEM_PRINT : b.len);
    buf_release(&b);
    return rc;
}
