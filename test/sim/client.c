/* client.c - clients: each write is answered by its deadline while its node runs; those unsure of theirs try again,
 * elsewhere too, with the same key. Commands: another process writes to a node's file, in a stream of its own. */
#include "sim.h"
#include "check.h"

#define SLACK_US 3000 /* a tick of the core's clock, and the event's own */

static void answered(struct client_op *c)
{
    c->state = CLIENT_ANSWERED;
}

static void track(struct node *n, struct client_op *c)
{
    c->state = CLIENT_TRACKED;
    if (fork_is(n->s, c->stream) && !n->disk->v->chain(n->disk, c->stream, c->seq, &c->chain)) c->chain = 0;
    struct repl_event e = { .type = REPL_TRACK, .tag = (uint64_t)(c - n->s->client) + 1, .need = c->need };
    e.entry = (struct repl_entry){ .stream = c->stream, .pos = c->seq };
    e.deadline_ms = c->deadline_us / 1000;
    node_feed(n, e);
}

/* As the engine does: not while the peers this write needs lag behind. */
static bool admitted(struct sim *s, struct node *n)
{
    size_t waiting = 1;
    for (size_t i = 0; i < s->clients; i++) {
        const struct client_op *c = &s->client[i];
        waiting += c->node == n->i && (c->state == CLIENT_QUEUED || c->state == CLIENT_TRACKED);
    }
    if (repl_admits(n->core, waiting, sim_ms(s))) return true;
    s->goal[GOAL_HELD_BACK] = true;
    return false;
}

uint64_t client_issue(struct sim *s, unsigned node, uint64_t key, const struct edit *edit, unsigned need,
                      unsigned attempt)
{
    struct node *n = &s->node[node];
    CHECK(s->clients < CLIENT_OPS_MAX);
    size_t index = s->clients++;
    struct client_op *c = &s->client[index];
    *c = (struct client_op){ .key = key, .node = node, .life = n->life, .need = need, .edit = *edit };
    c->attempt = attempt;
    c->begun_us = s->now_us;
    c->closes = s->closes;
    int64_t wait_us = attempt == 0 && s->quiet ? 2000000
                      : chance(s, 20)          ? 100000 + (int64_t)pick(s, 900) * 1000
                                               : 2000000;
    c->deadline_us = s->now_us + wait_us;
    sim_log(s, "client %zu: key %llu on node %u, need %u, attempt %u", index, (unsigned long long)key, node, need,
            attempt);
    sim_at(s, wait_us + SLACK_US, (struct event){ .kind = EV_LATE, .node = node, .life = n->life, .a = index });
    if (n->disk->v->key(n->disk, key, &c->stream, &c->seq)) {
        track(n, c);
        return index;
    }
    struct work *w = mem_alloc(sizeof(*w));
    *w = (struct work){ .key = key, .edit = *edit, .client = (unsigned)index };
    c->state = CLIENT_QUEUED;
    if ((need == 1 || admitted(s, n)) && lane_submit(n, w)) return index;
    mem_free(w);
    c->not_applied = true;
    s->goal[GOAL_NOT_APPLIED] = true;
    answered(c);
    return index;
}

void client_done(struct node *n, struct work *w)
{
    struct client_op *c = &n->s->client[w->client];
    if (c->state != CLIENT_QUEUED || c->life != n->life) return;
    if (w->result == WORK_FAILED) {
        c->not_applied = true;
        answered(c);
        return;
    }
    c->stream = n->disk->stream;
    c->seq = w->pos;
    if (c->seq == 0)
        answered(c); /* nothing to change */
    else
        track(n, c);
}

static void check_answer(struct node *n, struct client_op *c, const struct repl_effect *f)
{
    struct sim *s = n->s;
    unsigned need = c->need == 0 ? s->w : c->need;
    if (f->need != need || f->disks != f->got)
        sim_fail(s, "an answer about %u of %u, asked for %u", f->got, f->need, need);
    c->met = f->result == REPL_MET;
    if (!c->met) {
        c->unsure = true;
        if (f->got >= need) sim_fail(s, "%u of %u have it, and the answer is no", f->got, need);
        if (f->result == REPL_UNREACHABLE)
            s->goal[GOAL_UNREACHABLE] = true;
        else if (f->result == REPL_TIMED_OUT)
            s->goal[GOAL_TIMED_OUT] = true;
        else
            sim_fail(s, "an answer of kind %d", (int)f->result);
        bool stopped = n->paused_until > c->begun_us; /* then it had no time to find out */
        if (f->result == REPL_UNREACHABLE || (c->begun_us + 1900000 < s->now_us && !stopped))
            check_refusal(s, n, sim_op(s, c->stream, c->seq, c->chain), need, f->result == REPL_TIMED_OUT);
        if (f->result == REPL_TIMED_OUT && sim_ms(s) < c->deadline_us / 1000) sim_fail(s, "timed out before its time");
        return;
    }
    s->goal[GOAL_MET] = true;
    struct op *op = sim_op(s, c->stream, c->seq, c->chain);
    if (op == NULL) {
        sim_fail(s, "acknowledged what no disk ever had");
        return;
    }
    check_met(s, op, need);
    if (need > op->acked) op->acked = need;
    if (need > 1 && s->closes > c->closes) s->goal[GOAL_MET_THROUGH_RECONNECT] = true;
    if (c->attempt > 0 && c->stream != n->disk->stream && need > 1) s->goal[GOAL_RETRY_ELSEWHERE_MET] = true;
}

void client_answer(struct node *n, const struct repl_effect *f)
{
    struct sim *s = n->s;
    CHECK(f->tag >= 1 && f->tag <= s->clients);
    struct client_op *c = &s->client[f->tag - 1];
    sim_log(s, "client %zu: answer %d, got %u of %u%s", (size_t)f->tag - 1, (int)f->result, f->got, f->need,
            f->all ? ", all" : "");
    if (c->state != CLIENT_TRACKED || c->life != n->life || c->node != n->i) {
        sim_fail(s, "an answer to nobody");
        return;
    }
    answered(c);
    check_answer(n, c, f);
}

void client_node_down(struct node *n)
{
    for (size_t i = 0; i < n->s->clients; i++) {
        struct client_op *c = &n->s->client[i];
        if (c->node != n->i || (c->state != CLIENT_QUEUED && c->state != CLIENT_TRACKED)) continue;
        c->state = CLIENT_GONE;
        c->unsure = true;
    }
}

/* The deadline has passed: what still queues is taken out, without effect. */
static void late(struct node *n, const struct event *e)
{
    struct sim *s = n->s;
    struct client_op *c = &s->client[e->a];
    if (c->life != n->life || c->node != n->i) return;
    if (c->state == CLIENT_TRACKED) {
        sim_fail(s, "client %llu has no answer at its deadline", (unsigned long long)e->a);
        return;
    }
    if (c->state != CLIENT_QUEUED) return;
    answered(c);
    c->unsure = true;
    for (size_t i = 0; i < n->queued; i++) {
        struct work *w = n->queue[i];
        if (w->foreign || w->client != e->a) continue;
        mem_free(w);
        n->queued--;
        for (size_t k = i; k < n->queued; k++) n->queue[k] = n->queue[k + 1];
        c->unsure = false;
        c->not_applied = true;
        s->goal[GOAL_NOT_APPLIED] = true;
        return;
    }
}

static struct edit draw_edit(struct sim *s)
{
    struct edit e = { .id = (unsigned)pick(s, 12), .title = (unsigned)pick(s, 5), .text = (unsigned)pick(s, 1000) };
    static const enum edit_kind kinds[] = {
        EDIT_CREATE, EDIT_CREATE, EDIT_CREATE, EDIT_PUT,  EDIT_PUT,   EDIT_UPDATE, EDIT_ARCHIVE, EDIT_RENAME,
        EDIT_QUIET,  EDIT_DELETE, EDIT_DELETE, EDIT_JOIN, EDIT_TOUCH, EDIT_LINK,   EDIT_UNLINK,  EDIT_STANDARD,
    };
    e.kind = kinds[pick(s, ARRAY_LEN(kinds))];
    return e;
}

static void issue(struct sim *s)
{
    unsigned node = (unsigned)pick(s, s->n);
    struct node *n = &s->node[node];
    uint64_t what = pick(s, 100);
    if (!n->up || n->paused_until > s->now_us || s->clients >= CLIENT_OPS_MAX - 2) return;
    unsigned need = chance(s, 15) ? 1 + (unsigned)pick(s, s->n) : 0;
    struct edit edit = draw_edit(s);
    if (what >= 75 && s->clients > 0) {
        struct client_op *old = &s->client[pick(s, s->clients)];
        if (old->state == CLIENT_ANSWERED || old->state == CLIENT_GONE) {
            uint64_t again = client_issue(s, node, old->key, &old->edit, need, old->attempt + 1);
            s->client[again].command = old->command;
            return;
        }
    }
    if (s->stories && what >= 73 && s->command_key != 0) {
        s->client[client_issue(s, node, s->command_key, &s->command_edit, need, 1)].command = true;
        return;
    }
    if (what >= 70) {
        struct event e = { .kind = EV_COMMAND, .node = node, .life = n->life, .a = ++s->keys };
        sim_at(s, 0, e);
        return;
    }
    client_issue(s, node, ++s->keys, &edit, need, 0);
}

void client_event(struct sim *s, struct event *e)
{
    if (e->kind == EV_LATE) {
        late(&s->node[e->node], e);
        return;
    }
    if (s->quiet) return;
    if (e->kind == EV_CLIENT) {
        issue(s);
        return;
    }
    struct node *n = &s->node[e->node];
    if (n->disk->full) return;
    struct edit edit = draw_edit(s);
    uint64_t stream = n->disk->v->command(n->disk, e->a, &edit, node_wall(n));
    check_disk(n->disk);
    s->commands++;
    s->goal[GOAL_FOREIGN_PROCESS] = true;
    sim_log(s, "a command on node %u: stream %llx", n->i, (unsigned long long)stream);
    if (s->lazy) {
        int64_t us = n->slow ? 600000 : 40 + (int64_t)pick(s, 40) * 40;
        uint64_t mark = n->disk->v->mark(n->disk, false);
        s->command_key = e->a;
        s->command_edit = edit;
        sim_at(s, us, (struct event){ .kind = EV_COMMAND_SYNCED, .node = n->i, .life = n->life, .a = mark });
    }
    sim_at(s, s->trims_tombs ? 0 : (int64_t)pick(s, 100000),
           (struct event){ .kind = EV_NOTICED, .node = n->i, .life = n->life, .a = stream });
}
