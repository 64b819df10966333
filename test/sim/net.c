/* net.c - connections: first in, first out in each direction; what is cut waits until it is healed; what a closed side
 * sent may still arrive. The receiver takes one request at a time, as the server does. */
#include "sim.h"
#include "trace.h"

#define RETRANSMIT_US 20000

static const int64_t steps_us[] = {
    50, 80, 120, 200, 300, 500, 800, 1200, 2000, 3000, 5000, 8000, 12000, 20000, 50000
};

int64_t net_delay(struct sim *s)
{
    uint64_t a = pick(s, ARRAY_LEN(steps_us)), b = pick(s, ARRAY_LEN(steps_us));
    return steps_us[a < b ? a : b]; /* mostly short */
}

struct msg *msg_new(struct node *n, enum msg_kind kind)
{
    struct msg *m = mem_alloc(sizeof(*m));
    m->kind = kind;
    if (n == NULL) return m;
    m->node = n->disk->id;
    m->live = n->disk->stream;
    return m;
}

void msg_free(struct msg *m)
{
    state_page_free(m->page);
    mem_free(m->vector);
    mem_free(m->ops);
    mem_free(m);
}

static void way_clear(struct way *w)
{
    while (w->head != NULL) {
        struct msg *m = w->head;
        w->head = m->next;
        msg_free(m);
    }
    w->tail = NULL;
}

void net_release(struct sim *s)
{
    struct list *l;
    while ((l = list_pop_head(&s->conns)) != NULL) {
        struct conn *c = container_of(l, struct conn, link);
        way_clear(&c->way[0]);
        way_clear(&c->way[1]);
        mem_free(c);
    }
}

static void arm(struct conn *c, unsigned way, int64_t delay_us)
{
    struct way *w = &c->way[way];
    if (w->armed || w->held || w->head == NULL) return;
    w->armed = true;
    unsigned to = way == 0 ? c->b : c->a;
    sim_at(c->s, delay_us,
           (struct event){ .kind = EV_DELIVER, .node = to, .life = c->s->node[to].life, .conn = c, .a = way });
}

struct conn *net_dial(struct node *n, unsigned peer, uint32_t gen, bool pulls)
{
    struct conn *c = mem_alloc(sizeof(*c));
    c->s = n->s;
    c->a = n->i;
    c->b = n->target[peer];
    c->a_life = n->life;
    c->peer = peer;
    c->gen = gen;
    c->pulls = pulls;
    c->a_open = true;
    list_add_tail(&n->s->conns, &c->link);
    sim_at(n->s, net_delay(n->s), (struct event){ .kind = EV_CONNECT, .node = c->a, .life = c->a_life, .conn = c });
    return c;
}

void net_send(struct conn *c, unsigned way, struct msg *m)
{
    struct way *w = &c->way[way];
    bool open = way == 0 ? c->a_open : c->b_open;
    if ((!open && m->kind != M_CLOSE) || w->dead) {
        msg_free(m);
        return;
    }
    if (w->tail == NULL)
        w->head = m;
    else
        w->tail->next = m;
    w->tail = m;
    arm(c, way, net_delay(c->s));
}

static void say_closed(struct conn *c, unsigned way, bool abrupt)
{
    if (abrupt) way_clear(&c->way[way]);
    net_send(c, way, msg_new(NULL, M_CLOSE));
    c->way[way].dead = true;
}

void net_close(struct conn *c, bool by_a, bool abrupt)
{
    bool *open = by_a ? &c->a_open : &c->b_open;
    if (!*open) return;
    *open = false;
    way_clear(&c->way[by_a ? 1 : 0]);
    if (c->up) say_closed(c, by_a ? 0 : 1, abrupt);
}

void net_break(struct conn *c)
{
    for (unsigned way = 0; way < 2; way++) {
        way_clear(&c->way[way]);
        if (!c->way[way].dead) say_closed(c, way, true);
    }
}

void net_node_down(struct sim *s, struct node *n)
{
    list_each (it, &s->conns) {
        struct conn *c = container_of(it, struct conn, link);
        bool is_a = c->a == n->i && c->a_open, is_b = c->b == n->i && c->b_open;
        if (!is_a && !is_b) continue;
        if (is_a)
            c->a_open = false;
        else
            c->b_open = false;
        c->way[is_a ? 1 : 0].held = false;
        way_clear(&c->way[is_a ? 1 : 0]);
        if (!c->up) continue;
        if (n->silent)
            c->way[is_a ? 0 : 1].dead = true;
        else
            say_closed(c, is_a ? 0 : 1, false);
    }
}

void net_ready(struct conn *c)
{
    c->token = 0;
    c->way[0].held = false;
    arm(c, 0, 0);
}

static bool connected(struct sim *s, struct conn *c)
{
    struct node *b = &s->node[c->b];
    if (s->cut[c->a][c->b] > s->now_us || s->cut[c->b][c->a] > s->now_us) return false;
    if (!b->up && b->silent) return false;
    struct repl_event e = { .type = REPL_CONNECTED, .peer = c->peer, .gen = c->gen };
    if (b->up) {
        c->up = c->b_open = true;
        c->b_life = b->life;
        if (!c->pulls) {
            node_feed(&s->node[c->a], e);
            return true;
        }
        if (c->state) {
            state_ask(&s->node[c->a], c);
            return true;
        }
        struct msg *m = msg_new(&s->node[c->a], M_PULL);
        m->entry = c->pull;
        net_send(c, 0, m);
        return true;
    }
    c->a_open = false;
    if (c->pulls) {
        node_closed(&s->node[c->a], c);
        return true;
    }
    e.type = REPL_CONNECT_FAILED;
    e.refused = true;
    node_feed(&s->node[c->a], e);
    return true;
}

static void deliver(struct sim *s, struct conn *c, unsigned way)
{
    struct way *w = &c->way[way];
    w->armed = false;
    if (w->head == NULL || w->held) return;
    unsigned from = way == 0 ? c->a : c->b, to = way == 0 ? c->b : c->a;
    if (s->cut[from][to] > s->now_us) {
        arm(c, way, s->cut[from][to] - s->now_us + RETRANSMIT_US);
        return;
    }
    struct msg *m = w->head;
    w->head = m->next;
    if (w->head == NULL) w->tail = NULL;
    m->next = NULL;
    struct node *n = &s->node[to];
    trace_message(s, c, way, m);
    bool open = (way == 0 ? c->b_open : c->a_open) && n->up && n->life == (way == 0 ? c->b_life : c->a_life);
    if (!open) {
        if (n->up && m->kind != M_CLOSE && !c->way[1 - way].dead) say_closed(c, 1 - way, true); /* no such connection */
        msg_free(m);
        way_clear(w);
        return;
    }
    if (m->kind == M_CLOSE) {
        way_clear(w);
        if (way == 0) {
            c->b_open = false;
        } else {
            c->a_open = false;
            node_closed(n, c);
        }
        msg_free(m);
        return;
    }
    if (way == 0)
        node_request(n, c, m);
    else
        node_answer(n, c, m);
    arm(c, way, (int64_t)pick(s, 3) * 30);
}

void net_event(struct sim *s, struct event *e)
{
    if (e->kind == EV_DELIVER)
        deliver(s, e->conn, (unsigned)e->a);
    else if (e->conn->a_open && !e->conn->up)
        connected(s, e->conn);
}
