/* members.c - who belongs to the mesh, as src/cluster/members.c and life.c have it: a node that is heard of gets a row,
 * a command on another node says of one that it was removed.
 *
 *   removed ─its own file says so, or peers refuse it and none takes it in─▶ it sets its file aside and comes back
 *   empty, with a new id
 * Who knows refuses what it sends, in the transaction that would take it. For forgetting deletions the removed one does
 * not count any more, once all others told that they know.
 *
 * Of the promise: what a removed node had on its disk is lost with it, as on any disk that was lost. */
#include "sim.h"

#include "store/change.h"

#define MEMBERS_US 20000

static uint32_t bit_of(const struct sim *s, uint64_t node)
{
    for (unsigned m = 0; m < s->members; m++)
        if (s->member[m] == node) return 1u << m;
    return 0;
}

bool members_refuses(const struct node *n, uint64_t node)
{
    return n->refused != 0 && (n->refused & bit_of(n->s, node)) != 0 && !MUTANT(REMOVED_ACCEPTED);
}

void members_heard(struct node *n, uint64_t node)
{
    if (node != n->disk->id) n->heard |= bit_of(n->s, node);
}

static void leave(struct node *n, enum goal g)
{
    if (n->leaves) return;
    n->leaves = true;
    n->s->goal[g] = true;
    sim_log(n->s, "node %u: it was removed", n->i);
    sim_at(n->s, 0, (struct event){ .kind = EV_LEAVE, .node = n->i, .life = n->life });
}

void members_leave(struct node *n)
{
    node_crash(n, false, MUTANT(REMOVED_KEEPS) ? LOSS_NONE : LOSS_REMOVED);
    n->disk->renew = MUTANT(REMOVED_KEEPS);
    n->s->goal[GOAL_REMOVED] = true;
    node_start(n);
}

void members_called_removed(struct node *n, unsigned peer)
{
    unsigned say = 0;
    n->says |= 1u << peer;
    for (unsigned i = 0; i < n->targets; i++) {
        struct repl_peer_view v;
        repl_peer_view(n->core, i, &v);
        if (v.state == REPL_UP || v.state == REPL_SUSPECT) return;
        say += n->says >> i & 1;
    }
    if (say >= 2 || n->s->n <= 2) leave(n, GOAL_REMOVED_UNTOLD);
}

static bool submit(struct node *n, uint64_t member, bool removes)
{
    struct work *w = mem_alloc(sizeof(*w));
    *w = (struct work){ .foreign = true, .member = member, .removes = removes };
    if (lane_submit(n, w)) return true;
    mem_free(w);
    return false;
}

static void care(struct node *n)
{
    struct member row[MEMBERS_MAX];
    size_t count = n->disk->v->members(n->disk, row);
    uint32_t known = 0, before = n->refused;
    n->refused = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bit = bit_of(n->s, row[i].node);
        known |= bit;
        if (row[i].state != MEMBER_REMOVED) continue;
        if (row[i].node == n->disk->id) leave(n, GOAL_REMOVED);
        n->refused |= bit;
    }
    if ((before & ~n->refused) != 0) sim_fail(n->s, "node %u: a removal was taken back", n->i);
    for (unsigned m = 0; m < n->s->members; m++)
        if ((n->heard & ~known) >> m & 1) submit(n, n->s->member[m], false);
}

void members_event(struct sim *s)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->node[i].up && s->node[i].paused_until <= s->now_us) care(&s->node[i]);
    sim_at(s, MEMBERS_US + (int64_t)pick(s, 100) * 2000, (struct event){ .kind = EV_MEMBERS });
}

static bool lives(const struct sim *s, uint64_t id)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->node[i].disk->id == id) return true;
    return false;
}

/* By a command on this node, which must have heard of it. */
static bool remove_by(struct node *by, uint64_t id)
{
    struct member row[MEMBERS_MAX];
    size_t count = by->disk->v->members(by->disk, row);
    for (size_t i = 0; i < count; i++) {
        if (row[i].node != id || row[i].state == MEMBER_REMOVED) continue;
        sim_log(by->s, "node %u: %llx is removed", by->i, (unsigned long long)id);
        return submit(by, id, true);
    }
    return false;
}

/* Two that were removed at once, and neither heard of it, still take each other in: those are left to people. */
static bool one_is_leaving(const struct sim *s)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->node[i].doomed == s->node[i].disk->id) return true;
    return false;
}

static void cut_off(struct sim *s, unsigned i, int64_t us)
{
    for (unsigned k = 0; k < s->n; k++) {
        fault_cut(s, i, k, us);
        fault_cut(s, k, i, us);
    }
}

static bool may_go(const struct sim *s, const struct node *n)
{
    return !n->lost && !s->twins && !one_is_leaving(s) && s->losses + 1 < s->w;
}

void members_remove_event(struct sim *s, const struct event *e)
{
    struct node *n = &s->node[e->a], *by = &s->node[e->b];
    if (s->quiet || n == by || !by->up || by->leaves || by->paused_until > s->now_us) return;
    if (!may_go(s, n) || !remove_by(by, n->disk->id)) return;
    s->losses++;
    n->lost = true;
    n->doomed = n->disk->id;
    if (e->c > 0) cut_off(s, by->i, (int64_t)e->c);
}

/* At once; or of one that was cut off for a while and wrote on, by one that is cut off then, so that the removed one
 * meets those who do not know of it yet. */
void members_remove(struct sim *s)
{
    unsigned i = (unsigned)pick(s, s->n), k = (i + 1 + (unsigned)pick(s, s->n - 1)) % s->n;
    struct event e = { .kind = EV_REMOVE, .a = i, .b = k };
    int64_t us = 0;
    if (s->streams > STREAMS_MAX / 2) return;
    if (chance(s, 30)) { /* one that lives no more */
        uint64_t id = s->member[pick(s, s->members)];
        struct node *by = &s->node[k];
        bool can = by->up && !by->leaves && by->paused_until <= s->now_us && !lives(s, id);
        if (can && remove_by(by, id)) s->goal[GOAL_REMOVED_LOST] = true;
        return;
    }
    if (chance(s, 60) && may_go(s, &s->node[i])) {
        us = 50000 + (int64_t)pick(s, 300000);
        cut_off(s, i, us + 1000);
        e.c = 50000 + pick(s, 800000);
    }
    sim_at(s, us, e);
}

void members_tidy(struct sim *s)
{
    for (unsigned m = 0; s->removes && m < s->members; m++)
        for (unsigned i = 0; i < s->n && !lives(s, s->member[m]); i++)
            if (s->node[i].up && remove_by(&s->node[i], s->member[m])) break;
}
