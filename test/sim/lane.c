/* lane.c - the writer lane of a node: all that is queued goes into one transaction; it becomes durable at one instant,
 * and is told a little later. A crash between the two leaves it durable and untold; before, it vanishes or survives
 * whole.
 *
 * On a lazy disk, as the program's own lane has it, a transaction is seen when it has run and durable later; meanwhile
 * its ops are offered to peers and the next one runs. Without power, or after an fsync that failed, those that were
 * not synced survive up to some one. */
#include "sim.h"
#include "check.h"

#include <string.h>

static void begin(struct node *n)
{
    struct sim *s = n->s;
    struct batch *b = &n->run;
    if (b->count > 0 || n->queued == 0) return;
    memcpy(b->item, n->queue, n->queued * sizeof(struct work *));
    b->count = n->queued;
    n->queued = 0;
    b->ran = b->told = false;
    int64_t us = n->disk->lazy ? 20 + (int64_t)pick(s, 20) * 20
                 : n->slow     ? 600000 + (int64_t)pick(s, 1600000)
                               : 40 + (int64_t)pick(s, 40) * 40;
    sim_at(s, us, (struct event){ .kind = EV_DURABLE, .node = n->i, .life = n->life });
}

bool lane_submit(struct node *n, struct work *w)
{
    if (n->queued == LANE_MAX) return false;
    n->queue[n->queued++] = w;
    begin(n);
    return true;
}

static void free_work(struct work *w)
{
    state_page_free(w->page);
    state_page_free(w->head);
    mem_free(w->ops);
    mem_free(w->end);
    mem_free(w);
}

static void run(struct node *n)
{
    struct disk *d = n->disk;
    struct batch *b = &n->run;
    struct work *item[LANE_MAX];
    size_t count = 0;
    if (d->full) {
        n->s->goal[GOAL_DISK_FULL] = true;
        for (size_t i = 0; i < b->count; i++) b->item[i]->result = WORK_FAILED;
    } else {
        for (size_t i = 0; i < b->count; i++)
            if (!b->item[i]->look && b->item[i]->head == NULL) item[count++] = b->item[i];
        d->v->run(d, item, count, node_wall(n));
        check_disk(d);
        for (size_t i = 0; i < b->count; i++) {
            struct work *w = b->item[i];
            if (w->look) w->pos = disk_pos(d, w->stream, &w->chain);
            if (w->head != NULL) w->head->v = d->v->head(d, &w->head->count);
        }
    }
    b->ran = true;
    b->pos = d->pos;
    b->chain = d->chain;
    b->mark = d->v->mark(d, false);
}

static void look_later(struct node *n, uint64_t stream)
{
    sim_at(n->s, 100000, (struct event){ .kind = EV_NOTICED, .node = n->i, .life = n->life, .a = stream });
}

static void told(struct node *n, struct work *w)
{
    struct sim *s = n->s;
    struct conn *c = w->conn;
    if (w->look) { /* the file is looked at again and again */
        if (w->result == WORK_FAILED) look_later(n, w->stream);
        return;
    }
    if (w->end != NULL || w->member != 0) return;
    if (w->head != NULL) {
        state_head(n, w);
        return;
    }
    if (w->page != NULL) {
        state_merged(n, w);
        return;
    }
    if (!w->foreign) {
        client_done(n, w);
        return;
    }
    if (w->result == WORK_FORK && !fork_is(s, w->stream))
        sim_fail(s, "node %u sees a fork in %llx", n->i, (unsigned long long)w->stream);
    if (c == NULL) return;
    if (c->pulls) {
        if (n->pull[c->peer] != c) return;
        n->pull[c->peer] = NULL;
        if (w->result == WORK_DONE) s->goal[GOAL_PULLED_TAIL] = true;
        if (w->result == WORK_FORK) fork_met(n, c->peer, w->stream, w->node);
        node_feed(n, (struct repl_event){ .type = REPL_PULLED,
                                          .peer = c->peer,
                                          .gen = c->gen,
                                          .ok = w->result == WORK_DONE,
                                          .more = w->token != 0 });
        return;
    }
    if (c->token != w->token) return;
    if (w->result == WORK_FAILED) { /* 503: the sender closes the connection */
        net_close(c, false, false);
        return;
    }
    struct msg *m = msg_new(n, M_ACK);
    m->entry = (struct repl_entry){ .stream = w->stream, .node = w->node, .pos = w->pos, .chain = w->chain };
    net_send(c, 1, m);
    net_ready(c);
}

/* What came of an item's stream; of a command's, too. */
static void applied(struct node *n, const struct work *w)
{
    struct repl_event e = { .type = REPL_APPLIED, .foreign_process = w->look };
    struct repl_entry v[STREAMS_MAX];
    e.entry = (struct repl_entry){ .stream = w->stream, .node = w->node, .pos = w->pos, .chain = w->chain };
    size_t streams = n->disk->v->vector(n->disk, v);
    for (size_t k = 0; k < streams; k++)
        if (v[k].stream == w->stream && v[k].pos == w->pos) e.entry.ended = v[k].ended;
    node_feed(n, e);
}

static void done(struct node *n, struct batch *b)
{
    struct repl_event e = { .type = REPL_COMMITTED };
    e.entry = (struct repl_entry){ .stream = n->disk->stream, .node = n->disk->id, .pos = b->pos, .chain = b->chain };
    size_t count = b->count;
    struct work *batch[LANE_MAX];
    memcpy(batch, b->item, count * sizeof(struct work *));
    b->count = 0;
    node_feed(n, e);
    ends_left(n);
    for (size_t i = 0; i < count; i++)
        if (batch[i]->foreign && batch[i]->page == NULL && batch[i]->head == NULL && batch[i]->end == NULL &&
            batch[i]->member == 0 && batch[i]->result != WORK_FAILED && batch[i]->result != WORK_FORK)
            applied(n, batch[i]);
    for (size_t i = 0; i < count; i++) {
        told(n, batch[i]);
        free_work(batch[i]);
    }
    begin(n);
}

/* What ran goes to the disk, when that is free; the next batch may run. */
static void settle(struct node *n)
{
    struct sim *s = n->s;
    if (n->run.count == 0 || !n->run.told || n->sync.count > 0) return;
    n->sync = n->run;
    n->run.count = 0;
    int64_t us = n->slow ? 600000 + (int64_t)pick(s, 1600000) : 40 + (int64_t)pick(s, 40) * 60;
    sim_at(s, us, (struct event){ .kind = EV_SYNCED, .node = n->i, .life = n->life });
    begin(n);
}

/* Its ops may travel; readers see it for a while already. */
static void offer(struct node *n)
{
    struct repl_event e = { .type = MUTANT(OFFERED_COUNTS) ? REPL_COMMITTED : REPL_OFFERED };
    e.entry = (struct repl_entry){ .stream = n->disk->stream, .node = n->disk->id };
    e.entry.pos = n->run.pos;
    e.entry.chain = n->run.chain;
    n->run.told = true;
    node_feed(n, e);
    settle(n);
}

static void synced(struct node *n)
{
    if (n->fails && !MUTANT(SYNC_IGNORED)) {
        fault_sync(n->s, n);
        return;
    }
    if (!n->fails) disk_synced(n->disk, n->sync.mark);
    done(n, &n->sync);
    settle(n);
}

void lane_event(struct node *n, struct event *e)
{
    if (e->kind == EV_OFFERED) {
        offer(n);
        return;
    }
    if (e->kind == EV_SYNCED) {
        synced(n);
        return;
    }
    if (e->kind == EV_LANE_DONE) {
        done(n, &n->run);
        return;
    }
    run(n);
    if (n->disk->lazy) { /* who ran it may be kept waiting before anybody hears of it */
        int64_t us = chance(n->s, 10) ? (int64_t)pick(n->s, 200000) : (int64_t)pick(n->s, 20) * 20;
        sim_at(n->s, us, (struct event){ .kind = EV_OFFERED, .node = n->i, .life = n->life });
        return;
    }
    sim_at(n->s, 10 + (int64_t)pick(n->s, 20) * 20,
           (struct event){ .kind = EV_LANE_DONE, .node = n->i, .life = n->life });
}

void lane_look(struct node *n, uint64_t stream)
{
    struct work *w = mem_alloc(sizeof(*w));
    *w = (struct work){ .foreign = true, .look = true, .stream = stream, .node = n->disk->id };
    if (lane_submit(n, w)) return;
    mem_free(w);
    look_later(n, stream);
}

/* Transactions in a row survive, as many as the system happened to write out. */
static void power(struct node *n)
{
    struct disk *d = n->disk;
    uint64_t now = d->v->mark(d, false), marks[] = { now, n->sync.count > 0 ? n->sync.mark : 0, 0 };
    disk_power(d, marks[pick(n->s, ARRAY_LEN(marks))]);
    bool lost = d->v->mark(d, false)<now, seen = n->sync.count> 0 || (n->run.count > 0 && n->run.ran);
    if (seen) n->s->goal[lost ? GOAL_SEEN_AND_LOST : GOAL_SEEN_AND_SURVIVED] = true;
    if (lost) sim_log(n->s, "node %u: what was seen and not synced is gone", n->i);
}

static void drop(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++) free_work(b->item[i]);
    b->count = 0;
}

void lane_crash(struct node *n)
{
    struct sim *s = n->s;
    struct batch *b = &n->run;
    if (b->count > 0 && b->ran) s->goal[GOAL_SURVIVED_UNTOLD] = true;
    if (b->count > 0 && !b->ran) {
        bool survives = chance(s, 50);
        if (survives) run(n);
        s->goal[survives ? GOAL_SURVIVED_UNTOLD : GOAL_VANISHED] = true;
        sim_log(s, "node %u: a batch of %zu %s", n->i, b->count, survives ? "survives untold" : "vanishes");
    }
    if (n->disk->lazy && n->power) power(n);
    drop(&n->sync);
    drop(b);
    for (size_t i = 0; i < n->queued; i++) free_work(n->queue[i]);
    n->queued = 0;
}
