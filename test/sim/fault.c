/* fault.c - what goes wrong, while it may: each seed draws which kinds exist for it. */
#include "sim.h"
#include "check.h"

enum back { BACK_START, BACK_SPACE, BACK_SPEED };

static void later(struct sim *s, unsigned node, enum back what, int64_t us)
{
    sim_at(s, us, (struct event){ .kind = EV_RESTART, .a = node, .b = what });
}

static int64_t span(struct sim *s, int64_t most_us)
{
    return 1000 + (int64_t)pick(s, (uint64_t)most_us);
}

static struct conn *some_conn(struct sim *s)
{
    uint64_t n = 0;
    list_each (it, &s->conns)
        n += container_of(it, struct conn, link)->up && container_of(it, struct conn, link)->a_open;
    uint64_t k = pick(s, n);
    list_each (it, &s->conns) {
        struct conn *c = container_of(it, struct conn, link);
        if (c->up && c->a_open && k-- == 0) return c;
    }
    return NULL;
}

void fault_cut(struct sim *s, unsigned a, unsigned b, int64_t us)
{
    if (a != b && s->now_us + us > s->cut[a][b]) s->cut[a][b] = s->now_us + us;
}

static void network(struct sim *s, enum fault f)
{
    unsigned a = (unsigned)pick(s, s->n), b = (unsigned)pick(s, s->n);
    int64_t us = chance(s, 50) ? span(s, 700000) : span(s, 5000000);
    sim_log(s, "fault %d between %u and %u for %lld us", (int)f, a, b, (long long)us);
    switch (f) {
    case FAULT_CUT:
        fault_cut(s, a, b, us);
        fault_cut(s, b, a, us);
        return;
    case FAULT_ONE_WAY: fault_cut(s, a, b, us); return;
    case FAULT_SWIZZLE: /* a subset, one after the other, healed in another order */
        for (unsigned i = 0; i < s->n; i++) {
            if (chance(s, 50)) continue;
            int64_t each = span(s, 3000000);
            for (unsigned j = 0; j < s->n; j++) {
                fault_cut(s, i, j, each);
                fault_cut(s, j, i, each);
            }
        }
        return;
    case FAULT_SWALLOW: {
        struct conn *c = some_conn(s);
        if (c != NULL) c->way[1].dead = true;
        return;
    }
    case FAULT_DISCARD: {
        struct conn *c = some_conn(s);
        if (c != NULL) c->discards = true;
        return;
    }
    default: {
        struct conn *c = some_conn(s);
        if (c != NULL) net_break(c);
        return;
    }
    }
}

/* Those that will be put back, one of them, later. */
static void copy_disks(struct sim *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        struct disk *d = s->node[i].disk;
        if (!s->node[i].up || d->copied) continue;
        d->copied = true;
        d->v->copy(d);
    }
}

static void trim_log(struct sim *s, struct node *n)
{
    if (n->disk->v->trim == NULL) return;
    n->disk->v->trim(n->disk, pick(s, 4), node_wall(n));
    s->goal[GOAL_LOG_TRIMMED] = true;
    sim_log(s, "node %u trims its log", n->i);
}

/* Of one machine, or of all at once. */
static void power(struct sim *s, struct node *only, bool all)
{
    s->goal[GOAL_POWER_LOST] = true;
    for (unsigned i = 0; i < s->n; i++) {
        struct node *n = &s->node[i];
        if (!n->up || (!all && n != only)) continue;
        n->power = true;
        node_crash(n, chance(s, 80), LOSS_NONE);
        later(s, i, BACK_START, span(s, 1500000));
    }
}

void fault_sync(struct sim *s, struct node *n)
{
    s->goal[GOAL_SYNC_FAILED] = true;
    sim_log(s, "node %u: a failed fsync", n->i);
    n->power = true; /* what the system wrote of it, nobody knows */
    node_crash(n, false, LOSS_NONE);
    later(s, n->i, BACK_START, span(s, 1500000));
}

static void machine(struct sim *s, enum fault f)
{
    unsigned i = (unsigned)pick(s, s->n);
    struct node *n = &s->node[i];
    if (!n->up || s->streams > STREAMS_MAX / 2) return;
    switch (f) {
    case FAULT_CRASH:
    case FAULT_SILENT:
        node_crash(n, f == FAULT_SILENT, LOSS_NONE);
        later(s, i, BACK_START, span(s, 1500000));
        return;
    case FAULT_GONE:
        node_crash(n, chance(s, 30), LOSS_NONE);
        n->gone = true;
        return;
    case FAULT_GIVER: return; /* when it gives */
    case FAULT_LOSE:
    case FAULT_SET_BACK:
        if (n->lost || s->twins || s->losses + 1 >= s->w) return; /* never more than the promise allows */
        if (f == FAULT_SET_BACK && !n->disk->copied) {
            copy_disks(s);
            return;
        }
        s->losses++;
        node_crash(n, chance(s, 50), f == FAULT_LOSE ? LOSS_ALL : LOSS_SET_BACK);
        later(s, i, BACK_START, span(s, 1500000));
        return;
    case UPKEEP_LOG: trim_log(s, n); return;
    case UPKEEP_TOMBS: return;
    case FAULT_POWER: power(s, n, chance(s, 30)); return;
    case FAULT_SYNC: n->fails = true; return;
    case FAULT_COPY:
        n->copy_of = (i + 1 + (unsigned)pick(s, s->n - 1)) % s->n;
        if (n->lost || s->twins || s->losses + 1 >= s->w || n->copy_of == i) return;
        if (s->node[n->copy_of].disk->id == n->disk->id) return;
        s->losses++;
        node_crash(n, chance(s, 50), LOSS_COPY);
        later(s, i, BACK_START, span(s, 1500000));
        return;
    case FAULT_REWIND: fork_machine(s, n); return;
    case FAULT_PAUSE:
        if (n->paused_until > s->now_us) return;
        n->paused_until = s->now_us + span(s, 2500000);
        s->goal[GOAL_PAUSED] = true;
        sim_log(s, "node %u stops for a while", i);
        return;
    case FAULT_FULL:
        n->disk->full = true;
        later(s, i, BACK_SPACE, span(s, 800000));
        sim_log(s, "node %u: disk full", i);
        return;
    case FAULT_SLOW:
        n->slow = true;
        later(s, i, BACK_SPEED, span(s, 2500000));
        sim_log(s, "node %u: slow disk", i);
        return;
    default: {
        static const int64_t jumps[] = { 1000000, 300000000, 600000000, 10000, 40000000000000 };
        int64_t us = jumps[pick(s, ARRAY_LEN(jumps))];
        sim_log(s, "node %u: its clock jumps", i);
        n->clock_us += chance(s, 50) ? -us : us;
        return;
    }
    }
}

/* Not while a state comes in: its pages may hold what the tombstone was for. */
static void trim_tombs(struct sim *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        struct node *n = &s->node[i];
        if (!n->up || n->fetch.wanted || n->paused_until > s->now_us) continue;
        bool calm = s->lazy && s->quiet; /* an op that waits for its fsync would go before it was sent */
        if (s->fault_on[UPKEEP_LOG] && !calm && chance(s, 2)) trim_log(s, n);
        size_t count = n->disk->v->trim_tombs(n->disk, n, node_wall(n));
        if (count == 0) continue;
        s->goal[GOAL_TOMBS_TRIMMED] = true;
        if (n->refused != 0) s->goal[GOAL_TRIMMED_WITHOUT] = true;
        sim_log(s, "node %u trims %zu tombstones", i, count);
    }
    sim_at(s, 5000 + (int64_t)pick(s, 50000), (struct event){ .kind = EV_UPKEEP });
}

void fault_giver(struct sim *s, struct node *n)
{
    if (!s->quiet && s->fault_on[FAULT_GIVER] && chance(s, 8))
        sim_at(s, 0, (struct event){ .kind = EV_FAULT, .a = 1, .node = n->i, .life = n->life });
}

static void lose_giver(struct sim *s, const struct event *e)
{
    struct node *n = &s->node[e->node];
    bool may = !n->lost && !s->twins && s->losses + 1 < s->w && s->streams < STREAMS_MAX / 2;
    if (s->quiet || !n->up || n->life != e->life) return;
    s->losses += may;
    s->faults++;
    node_crash(n, chance(s, 50), may ? LOSS_ALL : LOSS_NONE);
    later(s, n->i, BACK_START, span(s, 4000000));
}

void fault_event(struct sim *s, struct event *e)
{
    if (e->kind == EV_FAULT && e->a != 0) {
        lose_giver(s, e);
        return;
    }
    if (e->kind == EV_RESTART) {
        struct node *n = &s->node[e->a];
        if (s->quiet) return;
        if (e->b == BACK_START && !n->up && !n->gone) node_start(n);
        if (e->b == BACK_SPACE) n->disk->full = false;
        if (e->b == BACK_SPEED) n->slow = false;
        return;
    }
    if (e->kind == EV_UPKEEP) {
        trim_tombs(s);
        return;
    }
    if (s->quiet) return;
    enum fault f = (enum fault)pick(s, s->tales ? FAULTS_TALES : s->stories ? FAULTS_STORIES : FAULTS_PLAIN);
    if (s->removes && chance(s, 8)) f = FAULT_REMOVE;
    if (s->forks && chance(s, 15)) f = FAULT_REWIND;
    s->faults += s->fault_on[f] && f != UPKEEP_LOG && f != UPKEEP_TOMBS;
    if (f == UPKEEP_LOG) check_pair(s);
    bool between = f >= FAULT_CUT && f <= FAULT_DISCARD;
    if (s->fault_on[f] && between)
        network(s, f);
    else if (s->fault_on[f] && f == FAULT_REMOVE)
        members_remove(s);
    else if (s->fault_on[f])
        machine(s, f);
    sim_at(s, 5000 + (int64_t)pick(s, 250000), (struct event){ .kind = EV_FAULT });
}

void fault_heal(struct sim *s)
{
    sim_log(s, "no more faults");
    for (unsigned i = 0; i < s->n; i++) {
        struct node *n = &s->node[i];
        n->slow = n->disk->full = n->gone = n->fails = false;
        for (unsigned j = 0; j < s->n; j++) s->cut[i][j] = 0;
    }
}
