/* state.c - what the log does not hold any more: all rows of one peer, page by page, merged while both go on; and the
 * pages others ask for. One page at a time.
 *
 *   WANTED ─a peer answers─▶ its vector ─▶ pages, each through the lane ─▶ the end: the vector becomes the greater of
 *   both, what is ahead of it is waited for or said anew ─▶ done
 *   any failure ─▶ the lane is told, WANTED, of the next peer after a pause */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#include "store/change.h"

#define RETRY_US 200000
#define LATE_US 3000000
#define PAGE_ROWS 4
#define AHEAD_US 3000000
#define AHEAD_LOOK_US 100000

struct state_page *state_page_new(void)
{
    return mem_alloc(sizeof(struct state_page));
}

void state_page_free(struct state_page *p)
{
    if (p == NULL) return;
    mem_free(p->v);
    mem_free(p->bytes);
    mem_free(p->from_after);
    mem_free(p->to_after);
    mem_free(p);
}

static char *copy_text(const char *s)
{
    return s == NULL ? NULL : mem_strdup(s);
}

static struct stream_pos *copy_head(const struct stream_pos *v, size_t count)
{
    struct stream_pos *copy = mem_alloc((count + 1) * sizeof(*copy));
    if (count > 0) memcpy(copy, v, count * sizeof(*copy));
    return copy;
}

/* What it brings is not pulled meanwhile. */
static void coming(struct node *n, const struct stream_pos *v, size_t count)
{
    struct repl_entry at[STREAMS_MAX];
    CHECK(count <= STREAMS_MAX);
    for (size_t i = 0; i < count; i++) at[i] = (struct repl_entry){ .stream = v[i].stream, .pos = v[i].pos };
    node_feed(n, (struct repl_event){ .type = REPL_COMING, .vector = at, .vector_count = count });
}

/* ---- asking -------------------------------------------------------------------------------------------------- */
static void forget_fetch(struct node *n)
{
    struct fetch *f = &n->fetch;
    mem_free(f->v);
    mem_free(f->then);
    mem_free(f->after);
    f->v = f->then = NULL;
    f->closing = false;
    f->after = NULL;
    f->conn = NULL;
    f->torn = f->torn || f->merging;
    f->begun = f->merging = false;
    f->section = 0;
}

void state_crash(struct node *n)
{
    forget_fetch(n);
    n->fetch.wanted = n->fetch.torn = false;
    mem_free(n->ahead.until);
    n->ahead = (struct ahead){ 0 };
}

void state_want(struct node *n, unsigned peer)
{
    struct fetch *f = &n->fetch;
    if (f->wanted) return;
    f->wanted = true;
    f->peer = peer;
    sim_log(n->s, "node %u wants the state of node %u", n->i, n->target[peer]);
    sim_at(n->s, 1000, (struct event){ .kind = EV_STATE, .node = n->i, .life = n->life });
}

/* ---- rows newer than our vector ------------------------------------------------------------------------------ */
static void look_later(struct node *n)
{
    sim_at(n->s, AHEAD_LOOK_US, (struct event){ .kind = EV_AHEAD, .node = n->i, .life = n->life });
}

static void ahead_begin(struct node *n, bool whole)
{
    struct ahead *a = &n->ahead;
    struct fetch *f = &n->fetch;
    mem_free(a->until);
    a->until = NULL;
    if (!a->is) look_later(n);
    a->is = true;
    a->since_us = n->s->now_us;
    if (!whole || !f->clean) return;
    a->until = f->then;
    a->count = f->then_count;
    f->then = NULL;
}

bool state_ahead(const struct node *n)
{
    return n->disk->v->ahead != NULL && n->disk->v->ahead(n->disk);
}

void state_start(struct node *n)
{
    n->ahead.is = state_ahead(n);
    n->ahead.since_us = n->s->now_us;
    if (n->ahead.is) look_later(n);
}

static bool reached(const struct node *n)
{
    const struct ahead *a = &n->ahead;
    for (size_t i = 0; a->until != NULL && i < a->count; i++)
        if (disk_pos(n->disk, a->until[i].stream, NULL) < a->until[i].pos) return false;
    return a->until != NULL;
}

static void ahead_look(struct node *n)
{
    struct ahead *a = &n->ahead;
    bool over = reached(n);
    if (!a->is) return;
    look_later(n);
    if (a->busy || n->fetch.merging || (!over && n->s->now_us < a->since_us + AHEAD_US)) return;
    struct work *w = mem_alloc(sizeof(*w));
    *w = (struct work){ .foreign = true, .page = state_page_new() };
    w->page->over = over;
    w->page->say = !over;
    a->busy = lane_submit(n, w);
    if (a->busy) return;
    state_page_free(w->page);
    mem_free(w);
}

static void ahead_done(struct node *n, const struct work *w)
{
    n->ahead.busy = false;
    n->ahead.is = w->result == WORK_FAILED || w->page->more;
    if (w->page->say) sim_log(n->s, "node %u says anew what it alone has", n->i);
}

static void fail(struct node *n)
{
    struct conn *c = n->fetch.conn;
    if (n->fetch.merging) ahead_begin(n, false);
    forget_fetch(n);
    if (c != NULL) net_close(c, true, true);
    coming(n, NULL, 0);
    n->fetch.peer = (n->fetch.peer + 1) % n->targets;
    sim_at(n->s, RETRY_US, (struct event){ .kind = EV_STATE, .node = n->i, .life = n->life });
}

void state_closed(struct node *n, struct conn *c)
{
    if (n->fetch.conn == c) fail(n);
}

/* The giver was lost: what it would have brought is taken again from others. */
static bool stop(struct node *n)
{
    struct work *w = mem_alloc(sizeof(*w));
    *w = (struct work){ .foreign = true, .page = state_page_new() };
    w->page->stop = true;
    n->fetch.torn = !lane_submit(n, w);
    if (!n->fetch.torn) {
        n->s->goal[GOAL_TORN] = true;
        return true;
    }
    state_page_free(w->page);
    mem_free(w);
    return false;
}

void state_event(struct node *n, struct event *e)
{
    struct fetch *f = &n->fetch;
    if (e->kind == EV_AHEAD) {
        ahead_look(n);
        return;
    }
    if (e->kind == EV_STATE_LATE) {
        if (f->conn != NULL && f->token == e->a) fail(n);
        return;
    }
    if (!f->wanted || f->conn != NULL) return;
    if (f->torn && !stop(n)) {
        sim_at(n->s, RETRY_US, (struct event){ .kind = EV_STATE, .node = n->i, .life = n->life });
        return;
    }
    if (n->target[f->peer] == n->i) f->peer = (f->peer + 1) % n->targets;
    f->conn = net_dial(n, f->peer, 0, true);
    f->conn->state = true;
    sim_at(n->s, LATE_US, (struct event){ .kind = EV_STATE_LATE, .node = n->i, .life = n->life, .a = ++f->token });
}

void state_ask(struct node *n, struct conn *c)
{
    struct fetch *f = &n->fetch;
    if (f->conn != c) return;
    struct msg *m = msg_new(n, M_STATE);
    m->page = state_page_new();
    m->page->begun = f->begun && !f->closing;
    m->page->from = f->section;
    m->page->from_after = copy_text(f->after);
    net_send(c, 0, m);
    sim_at(n->s, LATE_US, (struct event){ .kind = EV_STATE_LATE, .node = n->i, .life = n->life, .a = ++f->token });
}

static void take_head(struct node *n, const struct state_page *p, uint64_t giver)
{
    struct fetch *f = &n->fetch;
    f->v = copy_head(p->v, p->count);
    f->count = p->count;
    f->begun = true;
    f->giver = giver;
    f->clean = !n->ahead.is && !p->ahead;
    coming(n, f->v, f->count);
}

static bool submit(struct node *n, struct conn *c, struct state_page *p)
{
    struct fetch *f = &n->fetch;
    struct work *w = mem_alloc(sizeof(*w));
    mem_free(p->v);
    p->v = copy_head(f->v, f->count);
    p->count = f->count;
    for (size_t i = 0; i < p->count && !p->end; i++) /* another history of it covers none of our rows */
        if (fork_split(n, p->v[i].stream)) p->v[i].pos = 0;
    *w = (struct work){ .foreign = true, .page = p, .conn = c, .from = f->giver };
    if (lane_submit(n, w)) {
        f->merging = true;
        return true;
    }
    state_page_free(p);
    mem_free(w);
    fail(n);
    return false;
}

void state_answer(struct node *n, struct conn *c, struct msg *m)
{
    struct fetch *f = &n->fetch;
    if (f->conn != c) return;
    f->token++;
    if (!f->begun) {
        take_head(n, m->page, m->node);
        state_ask(n, c);
        return;
    }
    if (f->closing) {
        f->then = copy_head(m->page->v, m->page->count);
        f->clean = f->clean && !m->page->ahead;
        f->then_count = m->page->count;
        struct state_page *end = state_page_new();
        end->end = true;
        submit(n, c, end);
        return;
    }
    struct state_page *p = m->page;
    m->page = NULL;
    p->from = f->section;
    p->from_after = copy_text(f->after);
    mem_free(f->after);
    f->section = p->to;
    f->after = copy_text(p->to_after);
    submit(n, c, p);
}

static void done(struct node *n)
{
    struct sim *s = n->s;
    struct conn *c = n->fetch.conn;
    struct repl_entry v[STREAMS_MAX];
    size_t count = n->disk->v->vector(n->disk, v);
    sim_log(s, "node %u merged the state of node %u", n->i, c->b);
    if (n->fork.splits > 0) s->goal[GOAL_FORK_STATE] = true;
    s->goal[n->lost ? GOAL_FILLED_AGAIN : GOAL_STATE_MERGED] = true;
    n->fetch.merging = false;
    ahead_begin(n, true);
    forget_fetch(n);
    n->fetch.wanted = false;
    net_close(c, true, true);
    for (size_t i = 0; i < count; i++)
        if (v[i].stream != n->disk->stream && v[i].pos == disk_safe_pos(n->disk, v[i].stream))
            node_feed(n, (struct repl_event){ .type = REPL_APPLIED, .entry = v[i] });
    coming(n, NULL, 0);
}

void state_merged(struct node *n, struct work *w)
{
    if (w->page->over || w->page->say) ahead_done(n, w);
    if (n->fetch.conn == NULL || n->fetch.conn != w->conn) return;
    if (w->result == WORK_FAILED) {
        fail(n);
    } else if (w->page->end) {
        done(n);
    } else {
        n->fetch.closing = n->fetch.section == PAGE_END;
        state_ask(n, w->conn);
    }
}

/* ---- giving -------------------------------------------------------------------------------------------------- */
void state_give(struct node *n, struct conn *c, const struct msg *m)
{
    n->s->transfers++;
    fault_giver(n->s, n);
    if (ends_lacks(n)) { /* its positions say more than it has */
        net_close(c, false, false);
        return;
    }
    if (n->disk->lazy && !m->page->begun) {
        struct work *w = mem_alloc(sizeof(*w));
        *w = (struct work){ .foreign = true, .head = state_page_new(), .conn = c };
        if (lane_submit(n, w)) return;
        state_page_free(w->head);
        mem_free(w);
        net_close(c, false, false);
        return;
    }
    struct msg *a = msg_new(n, M_STATE_IS);
    struct state_page *p = a->page = state_page_new();
    p->begun = m->page->begun;
    p->ahead = n->disk->v->ahead(n->disk);
    p->from = m->page->from;
    p->from_after = copy_text(m->page->from_after);
    if (!p->begun)
        p->v = n->disk->v->head(n->disk, &p->count);
    else
        n->disk->v->give(n->disk, p, 1 + (size_t)pick(n->s, PAGE_ROWS));
    mem_free(p->from_after);
    p->from_after = NULL;
    net_send(c, 1, a);
}

/* A vector is told when it is durable here: a position beyond ours would come back to us. */
void state_head(struct node *n, struct work *w)
{
    struct msg *a = msg_new(n, M_STATE_IS);
    if (w->result == WORK_FAILED) {
        msg_free(a);
        net_close(w->conn, false, false);
        return;
    }
    a->page = w->head;
    a->page->ahead = n->disk->v->ahead(n->disk);
    w->head = NULL;
    net_send(w->conn, 1, a);
}

/* ---- what members told --------------------------------------------------------------------------------------- */
struct told {
    size_t count;
    struct stream_pos at[STREAMS_MAX]; /* by stream */
};

void told_take(struct node *n, uint64_t node, const struct repl_entry *v, size_t count)
{
    struct sim *s = n->s;
    if ((!s->trims_tombs && !s->ends && !s->forks) || node == n->disk->id) return;
    if (n->told == NULL) n->told = mem_alloc(MEMBERS_MAX * sizeof(struct told));
    unsigned m = 0;
    while (m < s->members && s->member[m] != node) m++;
    CHECK(m < s->members);
    struct told *t = &n->told[m];
    for (size_t i = 0; i < count; i++) {
        size_t k = t->count;
        while (k > 0 && t->at[k - 1].stream > v[i].stream) k--;
        bool known = k > 0 && t->at[k - 1].stream == v[i].stream;
        if (!known) {
            CHECK(t->count < STREAMS_MAX);
            memmove(&t->at[k + 1], &t->at[k], (t->count++ - k) * sizeof(t->at[0]));
            t->at[k++] = (struct stream_pos){ .stream = v[i].stream };
        }
        if (v[i].pos >= t->at[k - 1].pos) t->at[k - 1].ended = v[i].ended;
        if (v[i].pos >= t->at[k - 1].pos || s->forks) t->at[k - 1].chain = v[i].chain;
        if (v[i].pos > t->at[k - 1].pos || s->forks) t->at[k - 1].pos = v[i].pos;
    }
}

static bool counts(const struct node *n, unsigned m)
{
    return n->s->member[m] != n->disk->id && (n->refused >> m & 1) == 0;
}

static bool left(struct node *n, const struct stamp *at)
{
    struct repl_entry v[STREAMS_MAX];
    size_t count = n->s->ends ? n->disk->v->left(n->disk, v) : 0;
    for (size_t i = 0; i < count; i++)
        if (v[i].stream == at->stream && v[i].pos >= at->seq) return true;
    return false;
}

bool told_removals(struct node *n)
{
    struct member row[MEMBERS_MAX];
    size_t rows = n->disk->v->members(n->disk, row);
    for (size_t i = 0; i < rows; i++) {
        if (row[i].state != MEMBER_REMOVED || left(n, &row[i].stamp)) continue;
        for (unsigned m = 0; m < n->s->members; m++) {
            if (!counts(n, m)) continue;
            const struct cover told = { n->told == NULL ? NULL : n->told[m].at,
                                        n->told == NULL ? 0 : n->told[m].count };
            if (!cover_has(&told, row[i].stamp.stream, row[i].stamp.seq)) return false;
        }
    }
    return true;
}

bool told_said(const struct node *n, uint64_t stream, uint64_t pos, uint64_t chain)
{
    for (unsigned m = 0; n->told != NULL && m < n->s->members; m++)
        for (size_t i = 0; i < n->told[m].count; i++) {
            const struct stream_pos *t = &n->told[m].at[i];
            if (t->stream == stream && t->pos == pos && t->chain == chain) return true;
        }
    return false;
}

bool told_ended(struct node *n, const struct repl_entry *at)
{
    for (unsigned m = 0; m < n->s->members; m++) {
        bool whole = false;
        if (!counts(n, m)) continue;
        for (size_t i = 0; n->told != NULL && i < n->told[m].count; i++) {
            const struct stream_pos *t = &n->told[m].at[i];
            whole = whole || (t->stream == at->stream && t->pos == at->pos && t->ended);
        }
        if (!whole) return false;
    }
    return true;
}

void told_forget(struct node *n)
{
    mem_free(n->told);
    n->told = NULL;
}

size_t told_covers(struct node *n, struct cover *ret)
{
    struct sim *s = n->s;
    size_t count = 0;
    for (unsigned m = 0; m < s->members; m++) {
        if (!counts(n, m)) continue;
        ret[count++] = n->told == NULL ? (struct cover){ 0 } : (struct cover){ n->told[m].at, n->told[m].count };
    }
    return count;
}

bool told_all_here(struct node *n)
{
    size_t count;
    struct stream_pos *v = n->disk->v->head(n->disk, &count);
    const struct cover here = { v, count };
    bool all = true;
    for (unsigned m = 0; n->told != NULL && m < n->s->members; m++)
        for (size_t i = 0; all && i < n->told[m].count; i++) {
            const struct stream_pos *t = &n->told[m].at[i];
            all = t->pos == 0 || cover_has(&here, t->stream, t->pos);
        }
    mem_free(v);
    return all;
}
