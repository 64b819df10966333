/* ends.c - streams of dead writers, as src/cluster/members.c has them: a node says of its own that they ended, and of
 * ended ones which every member told whole that they leave the vector. Whoever had not all of it needs a snapshot. */
#include "sim.h"

#include <string.h>

#define ENDS_US 20000

static const struct repl_entry *place(const struct repl_entry *left, size_t count, uint64_t stream)
{
    for (size_t i = 0; i < count; i++)
        if (left[i].stream == stream) return &left[i];
    return NULL;
}

size_t ends_filter(const struct node *n, struct repl_entry *v, size_t count)
{
    struct repl_entry left[STREAMS_MAX];
    size_t kept = 0, lefts = n->s->ends ? n->disk->v->left(n->disk, left) : 0;
    if (lefts == 0) return count;
    for (size_t i = 0; i < count; i++) {
        const struct repl_entry *at = place(left, lefts, v[i].stream);
        if (at == NULL || v[i].pos > at->pos) v[kept++] = v[i];
    }
    return kept;
}

size_t ends_hear(struct node *n, struct repl_entry *v, size_t count)
{
    struct repl_entry left[STREAMS_MAX];
    size_t kept = ends_filter(n, v, count), lefts = n->s->ends ? n->disk->v->left(n->disk, left) : 0;
    for (size_t i = 0; i < kept; i++) {
        const struct repl_entry *at = place(left, lefts, v[i].stream);
        if (at != NULL) node_feed(n, (struct repl_event){ .type = REPL_APPLIED, .entry = *at });
    }
    return kept;
}

void ends_left(struct node *n)
{
    struct repl_entry left[STREAMS_MAX];
    size_t lefts = n->s->ends ? n->disk->v->left(n->disk, left) : 0;
    for (size_t i = 0; i < lefts; i++) node_feed(n, (struct repl_event){ .type = REPL_LEFT, .entry = left[i] });
}

bool ends_lacks(const struct node *n)
{
    return n->s->ends && n->disk->v->lacks(n->disk);
}

/* An end is told once what it ends was told. */
static void tell_ends(struct node *n, const struct repl_entry *v, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (v[i].ended && v[i].stream != n->disk->stream && v[i].pos <= repl_position(n->core, v[i].stream))
            node_feed(n, (struct repl_event){ .type = REPL_APPLIED, .entry = v[i] });
}

static void upkeep(struct node *n)
{
    struct repl_entry v[STREAMS_MAX];
    size_t count = n->disk->v->vector(n->disk, v);
    tell_ends(n, v, count);
    if (n->s->calm) return;
    struct work *w = mem_alloc(sizeof(*w));
    *w = (struct work){ .foreign = true, .end = mem_alloc(2 * STREAMS_MAX * sizeof(uint64_t)) };
    for (size_t i = 0; i < count; i++)
        if (v[i].node == n->disk->id && v[i].stream != n->disk->stream && !v[i].ended) w->end[w->ends++] = v[i].stream;
    for (size_t i = 0; i < count; i++) {
        bool ours = v[i].node == n->disk->id && v[i].stream != n->disk->stream && v[i].ended;
        if (!ours || (!told_ended(n, &v[i]) && !MUTANT(LEFT_TOO_SOON))) continue;
        w->end[w->ends + w->leaves++] = v[i].stream;
        n->s->goal[GOAL_STREAM_LEFT] = true;
    }
    if (w->ends + w->leaves > 0 && lane_submit(n, w)) return;
    mem_free(w->end);
    mem_free(w);
}

void ends_event(struct sim *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        struct node *n = &s->node[i];
        if (!n->up || n->paused_until > s->now_us) continue;
        upkeep(n);
        if (!ends_lacks(n)) continue;
        s->goal[GOAL_LACKS] = true;
        state_want(n, 0);
    }
    sim_at(s, ENDS_US + (int64_t)pick(s, 100) * 2000, (struct event){ .kind = EV_ENDS });
}
