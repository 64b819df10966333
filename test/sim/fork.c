/* fork.c - a machine that is set back with its memory and its disk, as src/cluster/life.c has it: the process goes on
 * in its live stream, at a position where its peers are further already, or makes other ops there.
 *
 *   SAVED ─time passes, it writes on─▶ SET BACK ─a peer is ahead, or has another chain─▶ a new stream, which repeats
 *   what the log holds of the forked one; that is forgotten, and comes back from the others
 *   another node that meets two histories ─▶ merges the state of a peer that has the other one, forgetting nothing for
 *   it, and repeats what its log holds of the one that yields
 *
 * Of the promise: the machine's disk was lost once, as on any node that was set back. Both histories are promised:
 * the one that peers have of before, the other since its writer repeats it. Until it has (a writer that dies before
 * that is a case for the scrub, which is not simulated), nodes with equal positions may have taken different ones. */
#include "sim.h"

#include <string.h>

#include "base/digest.h"

#define AGAIN_US 1000000     /* stands for ten seconds */
#define RENEW_MIN_US 2000000 /* stands for a minute: a life that began for a fork is not ended for one sooner */

bool fork_split(const struct node *n, uint64_t stream)
{
    for (unsigned i = 0; i < n->fork.splits; i++)
        if (n->fork.split[i] == stream) return true;
    return false;
}

bool fork_is(const struct sim *s, uint64_t stream)
{
    for (size_t i = 0; i < s->forked_count; i++)
        if (s->forked[i] == stream) return true;
    return false;
}

static void renew(struct node *n, uint64_t stream)
{
    if (n->fork.renews != 0 || (n->fork.began != 0 && n->s->now_us - n->since_us < RENEW_MIN_US)) return;
    n->fork.renews = stream;
    sim_log(n->s, "node %u: stream %llx forked, it begins anew", n->i, (unsigned long long)stream);
    sim_at(n->s, 0, (struct event){ .kind = EV_RENEW, .node = n->i, .life = n->life, .a = stream });
}

void fork_met(struct node *n, unsigned peer, uint64_t stream, uint64_t node)
{
    struct node_fork *f = &n->fork;
    unsigned i = 0;
    if (!fork_is(n->s, stream)) sim_fail(n->s, "node %u sees a fork in %llx", n->i, (unsigned long long)stream);
    if (MUTANT(FORK_UNNOTICED)) return;
    n->s->goal[GOAL_FORK_MET] = true;
    while (i < f->splits && f->split[i] != stream) i++;
    if (i == FORKS_MAX) return;
    if (i == f->splits) f->split[f->splits++] = stream;
    if (node == n->disk->id && stream != f->began) { /* what was repeated already is like another's */
        renew(n, stream);
        return;
    }
    if (peer == NO_PEER_SAID || n->s->now_us < f->again_us[i]) return;
    f->again_us[i] = n->s->now_us + AGAIN_US;
    state_want(n, peer);
}

/* What was on this disk alone is gone, but for what is on its way. */
static void lose_ops(struct sim *s)
{
    for (size_t at = 0; at < ARRAY_LEN(s->op); at++)
        for (struct op *op = s->op[at]; op != NULL; op = op->next) {
            op->gone = true;
            for (unsigned i = 0; i < s->n && op->gone; i++) op->gone = !disk_has(s->node[i].disk, op);
        }
}

static void part(struct sim *s, unsigned a, unsigned b, int64_t us)
{
    fault_cut(s, a, b, us);
    fault_cut(s, b, a, us);
}

static void save(struct sim *s, struct node *n)
{
    struct node_fork *f = &n->fork;
    if (n->lost || s->twins || s->losses + 1 >= s->w) return;
    f->saved = n->disk->v->save(n->disk);
    f->saved_life = n->life;
    f->saved_us = s->now_us;
    f->apart = (unsigned)pick(s, s->n);
    if (chance(s, 60)) part(s, n->i, f->apart, 100000 + (int64_t)pick(s, 1000000));
}

/* With luck, one that heard little of what it wrote since hears what it writes now, before it hears of the others. */
void fork_machine(struct sim *s, struct node *n)
{
    struct node_fork *f = &n->fork;
    if (!f->saved || f->saved_life != n->life) {
        save(s, n);
        return;
    }
    if (n->lost || s->losses + 1 >= s->w || s->forked_count == FORKS_MAX) return;
    s->losses++;
    s->forked[s->forked_count++] = n->disk->stream;
    f->saved = false;
    s->goal[GOAL_SET_BACK_ALIVE] = true;
    if (chance(s, 50)) n->clock_us -= s->now_us - f->saved_us;
    node_set_back(n);
    lose_ops(s);
    int64_t us = chance(s, 70) ? 1000 + (int64_t)pick(s, 1500000) : 0;
    for (unsigned i = 0; i < s->n && us > 0; i++) {
        if (i == f->apart)
            s->cut[n->i][i] = s->cut[i][n->i] = 0;
        else
            part(s, n->i, i, us);
    }
}

bool fork_has(struct sim *s, const struct node *n, const struct op *op)
{
    if (disk_has(n->disk, op)) return true;
    for (size_t at = 0; at < ARRAY_LEN(s->op); at++)
        for (const struct op *o = s->op[at]; o != NULL; o = o->next)
            if (o != op && o->len == op->len && memcmp(o->body, op->body, o->len) == 0 && disk_has(n->disk, o))
                return true;
    return false;
}

static bool follows(const struct op *op, const struct op *before)
{
    return chain_next(before == NULL ? 0 : before->chain, op->body, op->len) == op->chain;
}

/* The op before this one in its history. */
static const struct op *before(struct sim *s, const struct op *op)
{
    for (const struct op *o = s->op[sim_op_place(s, op->stream, op->seq - 1)]; o != NULL; o = o->next)
        if (o->stream == op->stream && o->seq + 1 == op->seq && follows(op, o)) return o;
    return NULL;
}

static bool is_end(struct sim *s, const struct op *op)
{
    for (const struct op *o = s->op[sim_op_place(s, op->stream, op->seq + 1)]; o != NULL; o = o->next)
        if (o->stream == op->stream && o->seq == op->seq + 1 && !o->gone && follows(o, op)) return false;
    return !op->gone;
}

size_t fork_histories(struct sim *s, uint64_t stream, const struct op **ret, size_t max)
{
    size_t count = 0;
    for (size_t at = 0; at < ARRAY_LEN(s->op); at++)
        for (const struct op *op = s->op[at]; op != NULL && count < max; op = op->next)
            if (op->stream == stream && is_end(s, op)) ret[count++] = op;
    return count;
}

size_t fork_history(struct sim *s, const struct op *end, const struct op **ret)
{
    for (const struct op *op = end; op != NULL; op = op->seq > 1 ? before(s, op) : NULL) ret[op->seq - 1] = op;
    return (size_t)end->seq;
}
