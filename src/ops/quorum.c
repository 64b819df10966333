/* quorum.c - what a write waits for before it is answered. Its own op; and, where an earlier attempt may have done the
 * work already, the ops which that made: the one the operation named (reply.wait_for), or, where it cannot tell, all
 * that this node knew when it ran, of whichever life of whichever writer. One after another, each until W have it. */
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "ops/engine_private.h"

unsigned quorum_need(const struct call_private *p)
{
    const struct call *c = p->call;
    unsigned need = c->write_quorum ? c->write_quorum : p->engine->cluster ? cluster_writes(p->engine->cluster) : 0;
    return need > 1 ? need : 1;
}

static bool waits(const struct call_private *p)
{
    const struct call *c = p->call;
    return p->engine->cluster != NULL && c->op->effect == OP_WRITE && !c->reply.no_quorum && quorum_need(p) > 1;
}

/* ---- in the lane: what the write stands on ----------------------------------------------------------------------- */
static int stand_on_all(struct call_private *p, struct op_ctx *ctx, const struct origin *own)
{
    struct stream_pos *all;
    size_t count;
    int rc = ctx->tx->v->streams(ctx->tx, ctx->arena, &all, &count);
    if (rc) return rc;
    p->stand = arena_alloc(ctx->arena, (count + 1) * sizeof(*p->stand));
    if (p->stand == NULL) return err_set(ctx->err, E_TOO_LARGE, "too many streams");
    p->stands = 0;
    if (own->seq > 0) p->stand[p->stands++] = (struct stamp){ .stream = own->stream, .seq = own->seq };
    for (size_t i = 0; i < count; i++)
        if (all[i].stream != own->stream && all[i].pos > 0)
            p->stand[p->stands++] = (struct stamp){ .stream = all[i].stream, .seq = all[i].pos };
    p->everywhere = p->stands == 0 && count > 0;
    return 0;
}

/* A stream that left the vector is whole on every member's disk. */
static int stand_on_one(struct call_private *p, struct op_ctx *ctx)
{
    struct stream_pos pos;
    int rc = ctx->tx->v->stream_get(ctx->tx, p->call->reply.wait_for.stream, &pos);
    if (rc && rc != E_NOT_FOUND) return rc;
    p->everywhere = rc == 0 && pos.left && pos.pos >= p->call->reply.wait_for.seq;
    if (p->everywhere) return 0;
    p->stand = arena_alloc(ctx->arena, sizeof(*p->stand));
    if (p->stand == NULL) return err_set(ctx->err, E_TOO_LARGE, "too many texts");
    p->stand[0] = p->call->reply.wait_for;
    p->stands = 1;
    return 0;
}

int quorum_stand(struct call_private *p, struct op_ctx *ctx, bool made)
{
    const struct reply *r = &p->call->reply;
    p->stands = p->stands_met = 0;
    p->everywhere = p->own_waited = false;
    if (!waits(p)) return 0;
    if (r->wait_all) return stand_on_all(p, ctx, &ctx->change->origin);
    if (r->wait_for.stream != 0) return stand_on_one(p, ctx);
    return made ? 0 : stand_on_all(p, ctx, &ctx->change->origin);
}

/* ---- on the loop ------------------------------------------------------------------------------------------------- */
bool quorum_stands(const struct call_private *p)
{
    if (!waits(p)) return true;
    for (size_t i = 0; i < p->stands; i++)
        if (!cluster_holds(p->engine->cluster, &p->stand[i], quorum_need(p))) return false;
    return true;
}

static enum durability durability_of(const struct cluster_wait *w)
{
    if (w->all && w->disks == w->got && w->disks > 1) return DURABLE_ALL;
    if (w->disks > 1 && w->disks >= w->needed) return DURABLE_QUORUM;
    return w->disks > 0 ? DURABLE_LOCAL : DURABLE_NONE;
}

static void failed(struct call *c, int code, const char *reason)
{
    c->status = code;
    c->reason = reason;
    c->outcome = "pending";
    err_set(&c->err, code, "%s", err_text(code));
}

/* True: `wait_quorum` is set, the callback comes. */
static bool wait_for(struct call_private *p, const struct stamp *pos, void (*cb)(struct cluster_wait *w))
{
    struct engine *e = p->engine;
    const struct reply *r = &p->call->reply;
    p->quorum = (struct cluster_wait){ .cb = cb, .data = p };
    p->quorum.again = !r->wait_all && pos->stream == r->wait_for.stream && pos->seq == r->wait_for.seq;
    p->quorum.again_id = json_string_value(json_object_get(r->doc, "id"));
    /* a write of many slices has used up its time in the lane */
    int64_t deadline = p->committed_some ? clock_mono_ms() + e->limits.quorum_timeout_ms : p->deadline_ms;
    int rc = cluster_wait_for(e->cluster, &p->quorum, pos, quorum_need(p), deadline);
    p->wait_quorum = rc == 0;
    if (rc) failed(p->call, rc == E_STOPPING ? E_STOPPING : E_QUORUM, rc == E_STOPPING ? "stopping" : "timeout");
    return rc == 0;
}

static void answered(struct cluster_wait *w);

/* The next thing to wait for; false: there is none, or it failed. */
static bool wait_next(struct call_private *p)
{
    if (!p->own_waited) {
        p->own_waited = true;
        if (p->item.pos.seq != 0) return wait_for(p, &p->item.pos, answered);
    }
    return p->stands_met < p->stands && wait_for(p, &p->stand[p->stands_met++], answered);
}

/* The answer tells the least of what was waited for. */
static void answered(struct cluster_wait *w)
{
    struct call_private *p = w->data;
    struct call *c = p->call;
    enum durability durability = durability_of(w);
    bool first = !p->acked;
    p->acked = true;
    if (first || w->got < c->got) c->got = w->got;
    if (first || durability < c->durability) c->durability = durability;
    p->wait_quorum = false;
    if (w->result == REPL_MET && wait_next(p)) return;
    if (w->result == REPL_UNREACHABLE)
        failed(c, E_QUORUM, "unreachable");
    else if (w->result == REPL_STOPPED)
        failed(c, E_STOPPING, "stopping");
    else if (w->result != REPL_MET) /* TIMED_OUT; NO_ROOM, where nobody could wait for it */
        failed(c, E_QUORUM, "timeout");
    engine_settle(p);
}

void quorum_start(struct call_private *p)
{
    struct call *c = p->call;
    /* A retry stands where the first attempt stands; one that finds all done, where this life does. */
    bool saw = c->op->effect == OP_WRITE && !c->reply.no_quorum;
    if (c->pos.seq == 0 && (c->reply.wait_for.stream || saw))
        c->pos = c->reply.wait_for.stream ? c->reply.wait_for : p->saw;
    if (c->pos.seq == 0) c->pos = (struct stamp){ 0 };
    c->got = 1;
    c->durability = p->engine->limits.relaxed ? DURABLE_NONE : DURABLE_LOCAL;
    c->needed = quorum_need(p);
    p->acked = false;
    if (!waits(p) || wait_next(p) || c->status || !p->everywhere) return;
    c->got = c->needed;
    c->durability = DURABLE_QUORUM;
}
