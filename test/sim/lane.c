/* lane.c - the writer lane of a node: all that is queued goes into one transaction; it becomes durable at one instant,
 * and is told a little later. A crash between the two leaves it durable and untold; before, it vanishes or survives
 * whole. */
#include "sim.h"

#include <string.h>

static void begin(struct node *n)
{
    struct sim *s = n->s;
    if (n->batched > 0 || n->queued == 0) return;
    memcpy(n->batch, n->queue, n->queued * sizeof(struct work *));
    n->batched = n->queued;
    n->queued = 0;
    n->batch_durable = false;
    int64_t us = n->slow ? 600000 + (int64_t)pick(s, 1600000) : 40 + (int64_t)pick(s, 40) * 40;
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
    mem_free(w->ops);
    mem_free(w);
}

static void run(struct node *n)
{
    struct disk *d = n->disk;
    if (d->full) {
        n->s->goal[GOAL_DISK_FULL] = true;
        for (size_t i = 0; i < n->batched; i++) n->batch[i]->result = WORK_FAILED;
    } else {
        d->v->run(d, n->batch, n->batched, node_wall(n));
        check_disk(d);
    }
    n->batch_durable = true;
}

static void told(struct node *n, struct work *w)
{
    struct sim *s = n->s;
    struct conn *c = w->conn;
    if (w->page != NULL) {
        state_merged(n, w);
        return;
    }
    if (!w->foreign) {
        client_done(n, w);
        return;
    }
    if (w->result == WORK_FORK) sim_fail(s, "node %u sees a fork in %llx", n->i, (unsigned long long)w->stream);
    if (c == NULL) return;
    if (c->pulls) {
        if (n->pull[c->peer] != c) return;
        n->pull[c->peer] = NULL;
        if (w->result == WORK_DONE) s->goal[GOAL_PULLED_TAIL] = true;
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

static void done(struct node *n)
{
    struct repl_event e = { .type = REPL_COMMITTED };
    e.entry = (struct repl_entry){ .stream = n->disk->stream, .node = n->disk->id, .pos = n->disk->pos };
    e.entry.chain = n->disk->chain;
    size_t count = n->batched;
    struct work *batch[LANE_MAX];
    memcpy(batch, n->batch, count * sizeof(struct work *));
    n->batched = 0;
    node_feed(n, e);
    e.type = REPL_APPLIED;
    for (size_t i = 0; i < count; i++) {
        const struct work *w = batch[i];
        if (!w->foreign || w->page != NULL || w->result == WORK_FAILED) continue;
        e.entry = (struct repl_entry){ .stream = w->stream, .node = w->node, .pos = w->pos, .chain = w->chain };
        struct repl_entry v[STREAMS_MAX];
        size_t streams = n->disk->v->vector(n->disk, v);
        for (size_t k = 0; k < streams; k++)
            if (v[k].stream == w->stream && v[k].pos == w->pos) e.entry.ended = v[k].ended;
        node_feed(n, e);
    }
    for (size_t i = 0; i < count; i++) {
        told(n, batch[i]);
        free_work(batch[i]);
    }
    begin(n);
}

void lane_event(struct node *n, struct event *e)
{
    if (e->kind == EV_LANE_DONE) {
        done(n);
        return;
    }
    run(n);
    sim_at(n->s, 10 + (int64_t)pick(n->s, 20) * 20,
           (struct event){ .kind = EV_LANE_DONE, .node = n->i, .life = n->life });
}

void lane_crash(struct node *n)
{
    struct sim *s = n->s;
    if (n->batched > 0 && n->batch_durable) s->goal[GOAL_SURVIVED_UNTOLD] = true;
    if (n->batched > 0 && !n->batch_durable) {
        bool survives = chance(s, 50);
        if (survives) run(n);
        s->goal[survives ? GOAL_SURVIVED_UNTOLD : GOAL_VANISHED] = true;
        sim_log(s, "node %u: a batch of %zu %s", n->i, n->batched, survives ? "survives untold" : "vanishes");
    }
    for (size_t i = 0; i < n->batched; i++) free_work(n->batch[i]);
    for (size_t i = 0; i < n->queued; i++) free_work(n->queue[i]);
    n->batched = n->queued = 0;
}
