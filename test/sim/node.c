/* node.c - the driver of one node: the core's effects become messages and later events, messages the core's events.
 * Nothing here feeds the core while it carries out effects: all answers come by way of the heap. */
#include "sim.h"
#include "check.h"

#include <string.h>

#define PULL_LATE_US 2000000
#define COARSE_US 1000000
#define BUSY_US 200000
#define PULL_OPS_MAX 16

static uint64_t pack(uint32_t gen, unsigned peer, unsigned count)
{
    return (uint64_t)gen << 32 | (uint64_t)peer << 16 | count;
}

int64_t node_wall(const struct node *n)
{
    int64_t us = n->s->now_us + n->clock_us + n->s->now_us * n->drift_ppm / 1000000;
    return n->s->coarse ? us - us % COARSE_US : us;
}

/* ---- life ---------------------------------------------------------------------------------------------------- */
static void member(struct sim *s, uint64_t id)
{
    unsigned known = 0;
    while (known < s->members && s->member[known] != id) known++;
    CHECK(known < MEMBERS_MAX);
    if (known == s->members) s->member[s->members++] = id;
}

/* A process that knows nothing of the others yet, with the disk as it is. */
static void begin(struct node *n)
{
    struct sim *s = n->s;
    struct repl_config c;
    n->up = true;
    n->since_us = s->now_us;
    n->silent = n->gone = n->leaves = false;
    n->heard = n->refused = n->says = 0;
    n->fork.splits = 0;
    memset(n->fork.again_us, 0, sizeof(n->fork.again_us));
    n->paused_until = 0;
    n->wake_ms = INT64_MAX;
    memset(n->out, 0, sizeof(n->out));
    memset(n->pull, 0, sizeof(n->pull));
    member(s, n->disk->id);
    repl_config_default(&c);
    c.node = n->disk->id;
    c.own = (struct repl_entry){ .stream = n->disk->stream, .node = n->disk->id, .pos = n->disk->pos };
    c.own.chain = n->disk->chain;
    c.peers = n->targets;
    c.writes = s->w;
    c.trackers_max = CLIENT_OPS_MAX;
    c.second_ops = s->stories && n->i >= 3 ? 4 : 1; /* rarely two small batches at once */
    c.seed = 1 + pick(s, 1000000);
    n->core = repl_new(&c);
    sim_log(s, "node %u starts: id %llx, stream %llx", n->i, (unsigned long long)c.node,
            (unsigned long long)c.own.stream);
    check_disk(n->disk);
    struct repl_entry v[STREAMS_MAX];
    size_t count = n->disk->v->vector(n->disk, v);
    for (size_t i = 0; i < count; i++)
        if (v[i].stream != n->disk->stream) node_feed(n, (struct repl_event){ .type = REPL_APPLIED, .entry = v[i] });
    node_feed(n, (struct repl_event){ .type = REPL_TICK });
    state_start(n);
}

void node_start(struct node *n)
{
    struct sim *s = n->s;
    n->life++;
    if (n->disk->old && n->life > 1 && chance(s, 40)) n->disk->old = false; /* upgraded meanwhile */
    n->disk->v->life(n->disk, node_wall(n));
    n->fork.began = n->fork.renews;
    if (n->fork.began != 0) n->disk->v->repeat(n->disk, n->fork.renews, node_wall(n));
    n->fork.renews = 0;
    if (!MUTANT(START_UNSYNCED)) disk_synced(n->disk, n->disk->v->mark(n->disk, false)); /* the log was written out */
    begin(n);
}

/* What is on its disk, for those who counted on it. */
static void remember(struct node *n)
{
    struct sim *s = n->s;
    memcpy(n->ghost, n->disk->seen, n->disk->seen_count * sizeof(n->ghost[0]));
    n->ghosts = n->disk->seen_count;
    for (size_t i = 0; i < n->ghosts; i++) n->ghost[i].pos = disk_safe_pos(n->disk, n->ghost[i].stream);
    if (s->ends) n->ghosts += n->disk->v->left(n->disk, n->ghost + n->ghosts);
    n->ghost_id = n->disk->id;
    n->lost = true;
}

/* Its disk, or the newest part of it, is gone. */
static void lose(struct node *n, enum loss loss)
{
    struct sim *s = n->s;
    remember(n);
    s->goal[loss == LOSS_ALL ? GOAL_DISK_LOST : loss == LOSS_COPY ? GOAL_COPIED : GOAL_DISK_SET_BACK] = true;
    if (loss != LOSS_SET_BACK) {
        const struct disk *of = loss == LOSS_COPY ? s->node[n->copy_of].disk : n->disk;
        bool old = of->old; /* what it holds is tried again in the next life */
        n->disk->v->close(n->disk);
        n->disk = disk_new(s, n->i);
        n->disk->old = old;
        if (loss == LOSS_COPY) n->disk->v->clone(n->disk, s->node[n->copy_of].disk);
        return;
    }
    n->disk->v->set_back(n->disk);
    n->disk->seen_count = 0;
    n->disk->clock = 0;
}

/* What was told to it since is gone with its connections; clients hear nothing. */
static void forget_others(struct node *n)
{
    net_node_down(n->s, n);
    state_crash(n);
    told_forget(n);
    client_node_down(n);
    repl_free(n->core);
    n->core = NULL;
}

void node_set_back(struct node *n)
{
    sim_log(n->s, "node %u is set back with its memory", n->i);
    lane_crash(n);
    n->silent = chance(n->s, 50);
    n->slow = false;
    forget_others(n);
    remember(n);
    n->disk->v->resume(n->disk);
    n->life++;
    begin(n);
}

void node_crash(struct node *n, bool silent, enum loss loss)
{
    static const char *const how[] = { "", " with its disk", " and finds an older copy", " and gets a copy",
                                       " and sets its file aside" };
    struct sim *s = n->s;
    sim_log(s, "node %u dies%s%s", n->i, silent ? " silently" : "", how[loss]);
    lane_crash(n);
    n->up = false;
    n->silent = silent;
    n->slow = n->fails = n->power = false;
    n->since_us = s->now_us;
    forget_others(n);
    n->disk->v->life_end(n->disk);
    if (loss != LOSS_NONE) lose(n, loss);
}

/* ---- effects ------------------------------------------------------------------------------------------------- */
static struct repl_entry *copy_vector(const struct repl_entry *v, size_t count)
{
    struct repl_entry *copy = mem_alloc((count + 1) * sizeof(*copy));
    if (count > 0) memcpy(copy, v, count * sizeof(*copy));
    return copy;
}

static void send_vector(struct node *n, enum msg_kind kind, struct conn *c, unsigned way, const struct repl_entry *v,
                        size_t count, bool whole, const struct repl_entry *entry)
{
    struct msg *m = msg_new(n, kind);
    m->vector = copy_vector(v, count);
    m->vector_count = ends_filter(n, m->vector, count);
    m->whole = whole;
    if (entry != NULL) m->entry = *entry;
    net_send(c, way, m);
}

static void close_out(struct node *n, const struct repl_effect *f)
{
    struct conn *c = n->out[f->peer];
    if (c == NULL || c->gen != f->gen) return;
    n->out[f->peer] = NULL;
    n->s->closes++;
    net_close(c, true, !chance(n->s, 40));
}

static void pull(struct node *n, const struct repl_effect *f)
{
    struct conn *c = net_dial(n, f->peer, f->gen, true);
    c->pull = f->entry;
    n->pull[f->peer] = c;
    sim_at(n->s, PULL_LATE_US,
           (struct event){ .kind = EV_PULL_LATE, .node = n->i, .life = n->life, .a = f->peer, .b = f->gen });
}

static void peer_state(struct node *n, const struct repl_effect *f)
{
    sim_log(n->s, "node %u: peer %u (node %u) %s", n->i, f->peer, n->target[f->peer], repl_link_name(f->state));
    if (f->state == REPL_SUSPECT) n->s->goal[GOAL_SUSPECT] = true;
    bool self = n->target[f->peer] == n->i;
    if (f->state == REPL_SELF && !self) sim_fail(n->s, "node %u takes another for itself", n->i);
}

static void carry_out(struct node *n, const struct repl_effect *f)
{
    struct sim *s = n->s;
    struct conn *c = f->peer < n->targets ? n->out[f->peer] : NULL;
    if (c != NULL && c->gen != f->gen) c = NULL;
    size_t count;
    const struct repl_entry *v = repl_vector(n->core, &count);
    struct event later = { .node = n->i, .life = n->life, .a = f->first, .b = f->entry.pos };
    if (n->disk->lazy && f->type == REPL_SEND_OPS) later.b = f->first + f->count - 1; /* what was offered, too */
    switch (f->type) {
    case REPL_DIAL: n->out[f->peer] = net_dial(n, f->peer, f->gen, false); return;
    case REPL_CLOSE: close_out(n, f); return;
    case REPL_SEND_HELLO:
        if (c != NULL) send_vector(n, M_HELLO, c, 0, v, count, true, NULL);
        return;
    case REPL_SEND_VECTOR:
        if (c != NULL) send_vector(n, M_VECTOR, c, 0, f->vector, f->vector_count, f->whole, NULL);
        return;
    case REPL_CHECK_CHAIN:
        s->goal[GOAL_CHECK_CHAIN] = true;
        later.kind = EV_CHECK_CHAIN;
        later.a = f->entry.chain;
        later.c = pack(f->gen, f->peer, 0);
        sim_at(s, net_delay(s) / 2, later);
        return;
    case REPL_SEND_OPS:
        later.kind = EV_COMPOSE;
        later.c = pack(f->gen, f->peer, f->count);
        sim_at(s, net_delay(s) / 4, later);
        return;
    case REPL_PULL: pull(n, f); return;
    case REPL_ANSWER: client_answer(n, f); return;
    case REPL_ALARM_FORK:
        sim_log(s, "node %u: peer %u (node %u) has another history", n->i, f->peer, n->target[f->peer]);
        fork_met(n, f->peer, f->entry.stream, f->entry.node);
        return;
    case REPL_PEER_STATE: peer_state(n, f); return;
    }
}

void node_feed(struct node *n, struct repl_event e)
{
    struct repl_effects out;
    e.now_ms = sim_ms(n->s);
    repl_step(n->core, &e, &out);
    for (size_t i = 0; i < out.count; i++) carry_out(n, &out.item[i]);
    if (out.wake_ms <= e.now_ms) sim_fail(n->s, "node %u spins: woken for what is past", n->i);
    if (out.wake_ms >= n->wake_ms || n->s->failed) return;
    n->wake_ms = out.wake_ms;
    sim_at(n->s, out.wake_ms * 1000 - n->s->now_us,
           (struct event){ .kind = EV_WAKE, .node = n->i, .life = n->life, .a = (uint64_t)out.wake_ms });
}

/* ---- local work that takes a while --------------------------------------------------------------------------- */
/* What may be sent of a page: a bug planted here keeps back what is promised already. */
static size_t sendable(struct op **ops, size_t count)
{
    if (!MUTANT(CANCEL_AT_QUORUM)) return count;
    for (size_t i = 0; i < count; i++)
        if (ops[i]->acked > 0) return i;
    return count;
}

static size_t page(struct node *n, uint64_t stream, uint64_t from, uint64_t to, struct op ***ret, uint64_t *ret_before)
{
    *ret = NULL;
    if (to < from || from <= disk_trimmed(n->disk, stream) || !n->disk->v->chain(n->disk, stream, from - 1, ret_before))
        return 0;
    *ret = mem_alloc((size_t)(to - from + 2) * sizeof(struct op *));
    return sendable(*ret, n->disk->v->page(n->disk, stream, from, to, *ret));
}

static void compose(struct node *n, const struct event *e)
{
    struct sim *s = n->s;
    unsigned peer = (unsigned)(e->c >> 16) & 0xffff, most = (unsigned)e->c & 0xffff;
    struct conn *c = n->out[peer];
    if (c == NULL || c->gen != (uint32_t)(e->c >> 32)) return;
    if (chance(s, 30)) most = 1 + (unsigned)pick(s, 4);
    uint64_t to = e->a + most - 1;
    if (to > e->b) to = e->b; /* never what the core did not name */
    struct msg *m = msg_new(n, M_OPS);
    m->entry = (struct repl_entry){ .stream = n->disk->stream, .node = n->disk->id };
    m->first = e->a;
    m->count = page(n, n->disk->stream, e->a, to, &m->ops, &m->before);
    struct repl_event sent = { .type = REPL_SENT, .peer = peer, .gen = c->gen, .first = e->a };
    sent.entry = m->entry;
    sent.entry.pos = e->a + m->count - 1;
    if (m->count > 0) sent.entry.chain = m->ops[m->count - 1]->chain;
    sim_log(s, "node %u sends %llu..%llu to %u", n->i, (unsigned long long)e->a, (unsigned long long)sent.entry.pos,
            c->b);
    s->transfers += m->count;
    if (m->count > 0 && sent.entry.pos > disk_safe_pos(n->disk, n->disk->stream)) s->goal[GOAL_SENT_BEFORE_SYNC] = true;
    if (m->count > 0)
        net_send(c, 0, m);
    else
        msg_free(m);
    node_feed(n, sent);
}

void node_event(struct node *n, struct event *e)
{
    struct repl_event out = { .type = REPL_TICK };
    struct conn *c = e->conn;
    switch (e->kind) {
    case EV_WAKE:
        if ((int64_t)e->a != n->wake_ms) return;
        n->wake_ms = INT64_MAX;
        node_feed(n, out);
        return;
    case EV_CHECK_CHAIN: {
        uint64_t chain = 0;
        out.type = REPL_CHECKED;
        out.peer = (unsigned)(e->c >> 16) & 0xffff;
        out.gen = (uint32_t)(e->c >> 32);
        out.ok = e->b < disk_trimmed(n->disk, n->disk->stream) || /* nothing to compare with */
                 (n->disk->v->chain(n->disk, n->disk->stream, e->b, &chain) && chain == e->a);
        node_feed(n, out);
        return;
    }
    case EV_STATE:
    case EV_STATE_LATE:
    case EV_AHEAD: state_event(n, e); return;
    case EV_COMPOSE: compose(n, e); return;
    case EV_PULL_LATE:
        c = n->pull[e->a];
        if (c == NULL || c->gen != (uint32_t)e->b) return;
        net_close(c, true, true);
        node_closed(n, c);
        return;
    case EV_BUSY:
        if (c->token != e->a || !c->b_open) return;
        n->s->goal[GOAL_BUSY] = true;
        net_send(c, 1, msg_new(n, M_BUSY));
        sim_at(n->s, BUSY_US, (struct event){ .kind = EV_BUSY, .node = n->i, .life = n->life, .conn = c, .a = e->a });
        return;
    case EV_COMMAND_SYNCED: disk_synced(n->disk, e->a); return;
    case EV_NOTICED: {
        if (n->disk->lazy && !MUTANT(NOTICED_EARLY)) {
            lane_look(n, e->a);
            return;
        }
        struct repl_entry v[STREAMS_MAX];
        size_t count = n->disk->v->vector(n->disk, v);
        out.type = REPL_APPLIED;
        out.foreign_process = true;
        for (size_t i = 0; i < count; i++) {
            if (v[i].stream != e->a) continue;
            out.entry = v[i];
            node_feed(n, out);
        }
        return;
    }
    default: WRONG("an event of nobody");
    }
}

/* ---- messages ------------------------------------------------------------------------------------------------ */
/* Another life goes on with this node's id: the younger of both takes another one. */
static bool is_twin(struct node *n, const struct msg *m, bool answered)
{
    if (m->node != n->disk->id || m->live == n->disk->stream) return false;
    if (answered && m->live < n->disk->stream && !MUTANT(TWIN_STAYS)) {
        n->s->goal[GOAL_NEW_ID] = true;
        sim_log(n->s, "node %u takes a new id", n->i);
        sim_at(n->s, 0, (struct event){ .kind = EV_RENEW, .node = n->i, .life = n->life });
    }
    return true;
}

static void heard(struct node *n, struct msg *m)
{
    if (is_twin(n, m, false)) return;
    members_heard(n, m->node);
    m->vector_count = ends_hear(n, m->vector, m->vector_count);
    struct repl_event e = { .type = REPL_INBOUND, .peer = REPL_NO_PEER, .node = m->node };
    e.entry.stream = m->live;
    node_feed(n, e);
    if (m->kind != M_HELLO && m->kind != M_VECTOR) return;
    told_take(n, m->node, m->vector, m->vector_count);
    e.type = REPL_VECTOR;
    e.vector = m->vector;
    e.vector_count = m->vector_count;
    e.whole = m->whole;
    node_feed(n, e);
}

/* Where it stands, as far as it says so to others: what is durable. */
static uint64_t told_pos(const struct node *n, uint64_t stream, uint64_t *ret_chain)
{
    if (!n->disk->lazy || MUTANT(TOLD_EARLY)) return disk_pos(n->disk, stream, ret_chain);
    size_t count;
    const struct repl_entry *v = repl_vector(n->core, &count);
    for (size_t i = 0; i < count; i++) {
        if (v[i].stream != stream) continue;
        *ret_chain = v[i].chain;
        return v[i].pos;
    }
    return 0;
}

static void serve_ops(struct node *n, struct conn *c, struct msg *m)
{
    struct sim *s = n->s;
    if (!c->a_open) s->goal[GOAL_OLD_BYTES] = true;
    if (c->discards) {
        struct msg *where = msg_new(n, M_ACK);
        where->entry = m->entry;
        where->entry.chain = 0;
        where->entry.pos = told_pos(n, m->entry.stream, &where->entry.chain);
        c->discards = false;
        net_send(c, 1, where);
        return;
    }
    struct work *w = mem_alloc(sizeof(*w));
    *w = (struct work){ .foreign = true, .stream = m->entry.stream, .node = m->entry.node, .first = m->first };
    w->from = m->node;
    w->before = m->before;
    w->ops = m->ops;
    w->count = m->count;
    w->conn = c;
    w->token = c->token = ++s->tokens;
    c->way[0].held = true;
    m->ops = NULL;
    struct op *last = w->ops[w->count - 1];
    if (MUTANT(EARLY_ACK)) {
        struct msg *ack = msg_new(n, M_ACK);
        ack->entry = (struct repl_entry){ .stream = last->stream, .pos = last->seq, .chain = last->chain };
        net_send(c, 1, ack);
        w->conn = NULL;
        net_ready(c);
    }
    if (lane_submit(n, w)) {
        sim_at(s, BUSY_US, (struct event){ .kind = EV_BUSY, .node = n->i, .life = n->life, .conn = c, .a = c->token });
        return;
    }
    mem_free(w->ops);
    mem_free(w);
    net_close(c, false, false);
}

static void serve_vector(struct node *n, struct conn *c, const struct msg *m)
{
    size_t count, asked = 0;
    const struct repl_entry *v = repl_vector(n->core, &count);
    if (m->whole) {
        send_vector(n, M_PONG, c, 1, v, count, true, NULL);
        return;
    }
    struct repl_entry *some = mem_alloc((m->vector_count + 1) * sizeof(*some));
    for (size_t k = 0; k < m->vector_count; k++)
        for (size_t i = 0; i < count; i++)
            if (v[i].stream == m->vector[k].stream) some[asked++] = v[i];
    send_vector(n, M_PONG, c, 1, some, asked, false, NULL);
    mem_free(some);
}

/* Another history before it: nothing is given. Its writer hears of it here, if somebody stands there. */
static void conflict(struct node *n, struct conn *c, struct msg *a, const struct repl_entry *at)
{
    if (!fork_is(n->s, at->stream)) sim_fail(n->s, "node %u pulls on another chain", c->a);
    mem_free(a->ops);
    a->ops = NULL;
    a->count = 0;
    a->more = false;
    a->forked = true;
    if (at->node == n->disk->id && told_said(n, at->stream, at->pos, at->chain))
        fork_met(n, NO_PEER_SAID, at->stream, at->node);
}

static void serve_pull(struct node *n, struct conn *c, const struct msg *m)
{
    struct msg *a = msg_new(n, M_PULLED);
    uint64_t chain,
        pos = MUTANT(GIVEN_EARLY) ? disk_pos(n->disk, m->entry.stream, NULL) : told_pos(n, m->entry.stream, &chain);
    uint64_t from = m->entry.pos + 1;
    uint64_t to = from + 1 + pick(n->s, PULL_OPS_MAX);
    a->entry = m->entry;
    a->first = from;
    a->count = page(n, m->entry.stream, from, to < pos ? to : pos, &a->ops, &a->before);
    a->more = a->count > 0 && from + a->count - 1 < pos;
    a->gone = from <= disk_trimmed(n->disk, m->entry.stream);
    if (a->count > 0 && a->before != m->entry.chain) conflict(n, c, a, &m->entry);
    n->s->transfers += a->count;
    net_send(c, 1, a);
}

void node_request(struct node *n, struct conn *c, struct msg *m)
{
    if (m->kind != M_PULL && m->kind != M_STATE && members_refuses(n, m->node)) { /* those do not say who asks */
        net_send(c, 1, msg_new(n, M_REFUSED));
        msg_free(m);
        return;
    }
    heard(n, m);
    switch (m->kind) {
    case M_HELLO: {
        size_t count;
        const struct repl_entry *v = repl_vector(n->core, &count);
        struct repl_entry at = { .stream = m->live };
        at.pos = told_pos(n, m->live, &at.chain);
        send_vector(n, M_HELLO_OK, c, 1, v, count, true, &at);
        break;
    }
    case M_OPS: serve_ops(n, c, m); break;
    case M_VECTOR: serve_vector(n, c, m); break;
    case M_PULL: serve_pull(n, c, m); break;
    case M_STATE: state_give(n, c, m); break;
    default: WRONG("no request");
    }
    msg_free(m);
}

static void pulled(struct node *n, struct conn *c, struct msg *m)
{
    struct repl_event e = { .type = REPL_PULLED, .peer = c->peer, .gen = c->gen, .ok = true };
    net_close(c, true, true);
    if (n->pull[c->peer] != c) return;
    if (m->count == 0) {
        n->pull[c->peer] = NULL;
        e.ok = !m->gone && !m->forked;
        if (m->forked) fork_met(n, c->peer, m->entry.stream, m->entry.node);
        if (m->gone) state_want(n, c->peer);
        node_feed(n, e);
        return;
    }
    struct work *w = mem_alloc(sizeof(*w));
    *w = (struct work){ .foreign = true, .stream = m->entry.stream, .node = m->entry.node, .first = m->first };
    w->from = m->node;
    w->before = m->before;
    w->ops = m->ops;
    w->count = m->count;
    w->conn = c;
    w->token = m->more;
    m->ops = NULL;
    if (lane_submit(n, w)) return;
    mem_free(w->ops);
    mem_free(w);
    node_closed(n, c);
}

/* One of the two was removed from the mesh. */
static void refused(struct node *n, struct conn *c, const struct msg *m)
{
    struct repl_peer_view v;
    repl_peer_view(n->core, c->peer, &v);
    bool hello = v.state == REPL_HELLO;
    n->s->closes++;
    n->out[c->peer] = NULL;
    net_close(c, true, true);
    if (hello && m->kind == M_REFUSED) members_called_removed(n, c->peer);
    node_feed(n,
              (struct repl_event){ .type = hello ? REPL_HELLO_REFUSED : REPL_CLOSED, .peer = c->peer, .gen = c->gen });
}

void node_answer(struct node *n, struct conn *c, struct msg *m)
{
    if (m->kind == M_REFUSED || (m->kind == M_HELLO_OK && members_refuses(n, m->node))) {
        if (n->out[c->peer] == c) refused(n, c, m);
        msg_free(m);
        return;
    }
    m->vector_count = ends_hear(n, m->vector, m->vector_count);
    struct repl_event e = { .peer = c->peer, .gen = c->gen, .node = m->node, .live = m->live, .entry = m->entry };
    e.vector = m->vector;
    e.vector_count = m->vector_count;
    e.whole = m->whole;
    switch (m->kind) {
    case M_HELLO_OK: e.type = REPL_HELLO_OK; break;
    case M_ACK: e.type = REPL_ACK; break;
    case M_BUSY: e.type = REPL_BUSY; break;
    case M_PONG: e.type = REPL_PONG; break;
    case M_STATE_IS:
        state_answer(n, c, m);
        msg_free(m);
        return;
    case M_PULLED:
        pulled(n, c, m);
        msg_free(m);
        return;
    default: WRONG("no answer");
    }
    /* some positions that were asked for are no moment of its vector */
    if (m->kind == M_HELLO_OK || (m->kind == M_PONG && m->whole)) told_take(n, m->node, m->vector, m->vector_count);
    if (m->kind == M_HELLO_OK && !is_twin(n, m, true)) {
        members_heard(n, m->node);
        n->says &= ~(1u << c->peer);
    }
    struct repl_peer_view before, after;
    repl_peer_view(n->core, c->peer, &before);
    node_feed(n, e);
    repl_peer_view(n->core, c->peer, &after);
    if (after.next < before.next && before.state == REPL_UP) n->s->goal[GOAL_REWIND] = true;
    if (after.stalls > 0) n->s->goal[GOAL_STALL] = true;
    msg_free(m);
}

void node_closed(struct node *n, struct conn *c)
{
    struct repl_event e = { .type = REPL_CLOSED, .peer = c->peer, .gen = c->gen };
    if (c->state) {
        state_closed(n, c);
        return;
    }
    if (c->pulls) {
        if (n->pull[c->peer] != c) return;
        n->pull[c->peer] = NULL;
        e.type = REPL_PULLED;
    } else {
        if (n->out[c->peer] != c) return;
        n->out[c->peer] = NULL;
        n->s->closes++;
    }
    node_feed(n, e);
}
