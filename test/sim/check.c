/* check.c - what must always hold, and what must hold once all is calm. */
#include "sim.h"
#include "check.h"

#include <stdlib.h>
#include <string.h>

#define WAY_MAX 64
#define STEADY_US 1500000 /* longer than a link that was refused stays away */

void check_disk(struct disk *d)
{
    struct sim *s = d->s;
    struct repl_entry v[STREAMS_MAX];
    size_t count = d->v->vector(d, v);
    for (size_t i = 0; i < count && !s->failed; i++) {
        uint64_t from = 0, chain = 0;
        for (size_t k = 0; k < d->seen_count; k++) {
            if (d->seen[k].stream != v[i].stream) continue;
            from = d->seen[k].pos;
            chain = d->seen[k].chain;
        }
        uint64_t trimmed = disk_trimmed(d, v[i].stream);
        bool forked = fork_is(s, v[i].stream); /* it may be forgotten, or go over to the other history */
        if (forked && (v[i].pos < from || chain != v[i].chain)) from = 0;
        if (forked)
            chain = 0;
        else if (v[i].pos < from || (v[i].pos == from && v[i].chain != chain))
            sim_fail(s, "node %u: position in %llx went from %llu to %llu", d->index, (unsigned long long)v[i].stream,
                     (unsigned long long)from, (unsigned long long)v[i].pos);
        if (v[i].pos != from) disk_grew(d, &v[i]);
        if (trimmed > from) from = trimmed;
        if (s->failed || v[i].pos == from) continue;
        size_t want = (size_t)(v[i].pos - from);
        struct op **ops = mem_alloc((want + 1) * sizeof(struct op *));
        size_t got = d->v->page(d, v[i].stream, from + 1, v[i].pos, ops);
        for (size_t k = 0; k < got; k++) ops[k]->gone = false;
        for (size_t k = 0; k < got; k++)
            if (ops[k]->seq != from + 1 + k) got = 0;
        if (got != want || ops[got - 1]->chain != v[i].chain)
            sim_fail(s, "node %u: a hole in %llx after %llu", d->index, (unsigned long long)v[i].stream,
                     (unsigned long long)from);
        mem_free(ops);
    }
    for (size_t k = 0; k < d->seen_count && !s->failed; k++)
        if (disk_pos(d, d->seen[k].stream, NULL) < d->seen[k].pos && !fork_is(s, d->seen[k].stream))
            sim_fail(s, "node %u: stream %llx is gone", d->index, (unsigned long long)d->seen[k].stream);
    memcpy(d->seen, v, count * sizeof(v[0]));
    d->seen_count = count;
}

/* A disk that was lost, or set back, was a holder, too. */
static bool ghost_has(const struct node *n, const struct op *op)
{
    for (size_t i = 0; i < n->ghosts; i++)
        if (n->ghost[i].stream == op->stream) return n->ghost[i].pos >= op->seq;
    return false;
}

void check_met(struct sim *s, const struct op *op, unsigned disks)
{
    unsigned have = 0;
    for (unsigned i = 0; i < s->n; i++) {
        const struct node *n = &s->node[i];
        bool now = disk_keeps(n->disk, op), once = ghost_has(n, op);
        have += n->ghosts > 0 && n->disk->id != n->ghost_id ? now + once : now || once;
    }
    if (have < disks)
        sim_fail(s, "acknowledged with %u disks, and %u have %llx:%llu", disks, have, (unsigned long long)op->stream,
                 (unsigned long long)op->seq);
}

static bool certainly_down(const struct sim *s, const struct node *n)
{
    return !n->up && !n->silent && s->now_us - n->since_us > 2000000;
}

void check_refusal(struct sim *s, const struct node *self, const struct op *op, unsigned need, bool timed_out)
{
    unsigned steady = 1, down = 0;
    if (s->fault_on[FAULT_COPY]) return; /* of two with one id one counts */
    if (s->removes || s->forks) return;  /* who is up may have been removed, or has another history */
    bool cuts = s->fault_on[FAULT_CUT] || s->fault_on[FAULT_ONE_WAY] || s->fault_on[FAULT_SWIZZLE];
    for (unsigned i = 0; i < s->n; i++) {
        const struct node *n = &s->node[i];
        if (n == self) continue;
        steady += n->up && s->now_us - n->since_us > STEADY_US;
        down += certainly_down(s, n) && !(op != NULL && disk_has(n->disk, op));
    }
    if (!timed_out && steady >= need) sim_fail(s, "called unreachable, and %u of %u are up", steady, s->n);
    /* a second URL of a node that says nothing may be another node's */
    if (timed_out && !cuts && !s->twins && s->n - down < need)
        sim_fail(s, "%u nodes were dead, and a client had to wait", down);
}

void check_caps(struct sim *s)
{
    unsigned open[NODES_MAX] = { 0 };
    list_each (it, &s->conns) {
        struct conn *c = container_of(it, struct conn, link);
        open[c->a] += c->a_open;
        for (unsigned way = 0; way < 2; way++) {
            size_t n = 0;
            for (const struct msg *m = c->way[way].head; m != NULL; m = m->next) n++;
            if (n > WAY_MAX) sim_fail(s, "%zu messages on one connection", n);
        }
    }
    for (unsigned i = 0; i < s->n; i++) {
        struct node *n = &s->node[i];
        if (open[i] > 2 * n->targets + n->fetch.wanted) sim_fail(s, "node %u has %u connections open", i, open[i]);
        if (!n->up) continue;
        size_t tracked = 0;
        for (size_t k = 0; k < s->clients; k++)
            tracked += s->client[k].state == CLIENT_TRACKED && s->client[k].node == i;
        if (repl_trackers(n->core) != tracked) sim_fail(s, "%zu trackers for %zu", repl_trackers(n->core), tracked);
    }
}

static int by_stream(const void *a, const void *b)
{
    const struct repl_entry *x = a, *y = b;
    return x->stream < y->stream ? -1 : x->stream > y->stream;
}

/* The positions above 0, in order. */
static size_t positions(struct disk *d, struct repl_entry *v)
{
    size_t count = d->v->vector(d, v), kept = 0;
    for (size_t i = 0; i < count; i++)
        if (v[i].pos > 0) v[kept++] = v[i];
    qsort(v, kept, sizeof(v[0]), by_stream);
    return kept;
}

bool check_equal(struct sim *s, unsigned nodes)
{
    struct repl_entry first[STREAMS_MAX], v[STREAMS_MAX];
    size_t count = SIZE_MAX;
    for (unsigned i = 0; i < s->n; i++) {
        if ((nodes >> i & 1) == 0) continue;
        size_t n = positions(s->node[i].disk, v);
        if (count == SIZE_MAX) {
            memcpy(first, v, n * sizeof(v[0]));
            count = n;
            continue;
        }
        if (n != count) return false;
        for (size_t k = 0; k < n; k++)
            if (v[k].stream != first[k].stream || v[k].pos != first[k].pos ||
                (v[k].chain != first[k].chain && !fork_is(s, v[k].stream))) /* of a forked one the rows must be equal */
                return false;
    }
    return true;
}

void check_tell(struct sim *s, unsigned nodes)
{
    struct repl_entry v[STREAMS_MAX];
    for (unsigned i = 0; i < s->n; i++) {
        const struct node *n = &s->node[i];
        if ((nodes >> i & 1) == 0) continue;
        sim_log(s, "node %u: rows ahead %d, lacks ops of streams that left %d, wants a state %d", i, state_ahead(n),
                ends_lacks(n), n->fetch.wanted);
        size_t count = positions(n->disk, v);
        for (size_t k = 0; k < count; k++)
            sim_log(s, "node %u: stream %llx at %llu, chain %llx%s", i, (unsigned long long)v[k].stream,
                    (unsigned long long)v[k].pos, (unsigned long long)v[k].chain, v[k].ended ? ", ended" : "");
    }
}

/* The first line of one text that the other has not at its place. */
static void differ(struct sim *s, const char *who, unsigned node, const char *a, const char *b)
{
    size_t at = 0, line = 0;
    for (; a[at] == b[at] && a[at] != '\0'; at++)
        if (a[at] == '\n') line = at + 1;
    sim_fail(s, "node %u and %s: equal vectors, different rows: '%.*s' or '%.*s'", node, who,
             (int)strcspn(a + line, "\n"), a + line, (int)strcspn(b + line, "\n"), b + line);
}

/* Streams that left come first: one of them may be spoken of in the others. */
static char *replay_of(struct sim *s, struct disk *d)
{
    struct repl_entry v[2 * STREAMS_MAX];
    size_t lefts = s->ends ? d->v->left(d, v) : 0;
    return disk_replay(s, v, lefts + positions(d, v + lefts));
}

void check_rows(struct sim *s, unsigned nodes)
{
    char *want = NULL;
    for (unsigned i = 0; i < s->n && s->real && !s->failed; i++) {
        if ((nodes >> i & 1) == 0 || s->node[i].disk->old) continue;
        if (want == NULL) {
            want = replay_of(s, s->node[i].disk);
            s->goal[GOAL_ROWS_REPLAYED] = true;
        } else {
            s->goal[GOAL_ROWS_COMPARED] = true;
        }
        char *text = s->node[i].disk->v->dump(s->node[i].disk);
        if (!s->failed && strcmp(text, want) != 0) differ(s, "its ops anew", i, text, want);
        mem_free(text);
    }
    mem_free(want);
}

void check_archives(struct sim *s)
{
    char *first = s->node[0].disk->v->archive(s->node[0].disk);
    for (unsigned i = 1; i < s->n && !s->failed; i++) {
        char *text = s->node[i].disk->v->archive(s->node[i].disk);
        if (strcmp(first, text) != 0) differ(s, "node 0's archive", i, first, text);
        mem_free(text);
    }
    mem_free(first);
}

/* Rows of a state that came in may be ahead of the vector until the tail is here. */
void check_pair(struct sim *s)
{
    if (!s->real || s->forked_count > 0) return; /* two of one history know nothing of the other yet */
    for (unsigned i = 0; i < s->n; i++)
        for (unsigned j = i + 1; j < s->n; j++) {
            unsigned nodes = NODE_BIT(i) | NODE_BIT(j);
            const struct node *a = &s->node[i], *b = &s->node[j];
            if (a->fetch.wanted || b->fetch.wanted || state_ahead(a) || state_ahead(b) || ends_lacks(a) ||
                ends_lacks(b) || !check_equal(s, nodes))
                continue;
            check_rows(s, nodes);
            return;
        }
}

static void check_op(struct sim *s, const struct op *op, unsigned nodes)
{
    for (unsigned i = 0; i < s->n; i++)
        if ((nodes >> i & 1) != 0 &&
            !(fork_is(s, op->stream) ? fork_has(s, &s->node[i], op) : disk_has(s->node[i].disk, op)))
            sim_fail(s, "%llx:%llu was acknowledged (%u disks), and node %u does not have it",
                     (unsigned long long)op->stream, (unsigned long long)op->seq, op->acked, i);
}

static void check_client(struct sim *s, const struct client_op *c)
{
    const struct op *op = c->seq == 0 ? NULL : sim_op(s, c->stream, c->seq, c->chain);
    if (c->unsure && op != NULL && op->acked == 0) {
        bool all = true;
        for (unsigned i = 0; i < s->n; i++) all = all && disk_has(s->node[i].disk, op);
        if (all) s->goal[GOAL_LATER_EVERYWHERE] = true;
    }
    if (!c->not_applied || c->command) return;
    for (size_t i = 0; i < s->clients; i++)
        if (s->client[i].key == c->key && !s->client[i].not_applied) return;
    uint64_t stream, seq;
    for (unsigned i = 0; i < s->n; i++)
        if (s->node[i].disk->v->key(s->node[i].disk, c->key, &stream, &seq)) sim_fail(s, "not applied left a trace");
}

void check_promises(struct sim *s, unsigned nodes, bool everywhere)
{
    for (size_t at = 0; at < ARRAY_LEN(s->op); at++)
        for (const struct op *op = s->op[at]; op != NULL; op = op->next)
            if (op->acked >= s->w || (everywhere && op->acked > s->losses)) check_op(s, op, nodes);
    for (size_t i = 0; everywhere && i < s->clients; i++) check_client(s, &s->client[i]);
}
