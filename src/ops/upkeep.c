/* upkeep.c - what a server does for its file, in slices that queue behind everybody's writes.
 *
 *   ADOPT   rows of the original's file without a stamp get an op each, so that an upgraded file federates; until none
 *           is left; again when another process wrote, for it may have been the original's program
 *   HELD    ops stored by an older program that could not apply them are tried again; once through
 *   COUNTS  every COUNTS_MS: accesses counted here leave as one op
 *   VOTES   with them: actions whose votes, of several nodes, have come to be enough are carried out
 *   LOSERS  with them: texts found to be replaced unseen are told of, so that all archives have them
 *   DOUBTS  every DOUBTS_TICKS of these: texts that lost, and of which nobody turned out to have seen them, join those
 *   SWEEP   every SWEEP_TICKS of these: expired rows leave the memories of this node, rows that lie in its archive
 *           longer than the settings say leave that; without an op */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "ops/beside.h"
#include "ops/node.h"

#define SLICE 64
#define COUNTS_MS 3000
#define DOUBTS_TICKS 2
#define SWEEP_TICKS 600 /* half an hour */
#define DAY_US (86400ll * 1000000)

enum { ADOPT, HELD, COUNTS, VOTES, LOSERS, DOUBTS, SWEEP };

struct node_job {
    struct lane_item item;
    struct node *node;
    int kind;
    char *after; /* HELD, VOTES, DOUBTS: where to go on */
};

/* Of held ops, or of doubts. */
static int run_rows(struct node_job *j, struct change *c)
{
    const char *last = NULL;
    int rc = j->kind == HELD ? change_held_retry(c, j->after, SLICE, &last) : change_doubts(c, j->after, SLICE, &last);
    if (rc != 0) return rc;
    mem_free(j->after);
    j->after = last == NULL ? NULL : mem_strdup(last);
    return last == NULL ? 0 : E_AGAIN;
}

static int run_sweep(const struct node *n, struct change *c)
{
    const struct limits *l = &n->env.limits;
    struct rows rows;
    const char **old;
    size_t count = 0;
    int rc = c->tx->v->expired(c->tx, c->now_us, NULL, SLICE, c->scratch, &rows);
    for (size_t i = 0; rc == 0 && i < rows.count; i++)
        rc = l->archive_on_gc ? change_sweep_copy(c, &rows.item[i]) : change_sweep(c, &rows.item[i]);
    if (rc == 0 && l->archive_days > 0 && l->archive_days < c->now_us / DAY_US)
        rc = c->tx->v->archive_older(c->tx, c->now_us - l->archive_days * DAY_US, SLICE, c->scratch, &old, &count);
    for (size_t i = 0; rc == 0 && i < count; i++) rc = change_archive_aged(c, old[i]);
    return rc == 0 && (rows.more || count == SLICE) ? E_AGAIN : rc;
}

static int run(struct lane_item *item, struct change *c, struct err *err)
{
    struct node_job *j = container_of(item, struct node_job, item);
    bool more = false;
    (void)err;
    if (j->kind == HELD || j->kind == DOUBTS) return run_rows(j, c);
    if (j->kind == SWEEP) return run_sweep(j->node, c);
    if (j->kind == VOTES) return pending_settle(&j->node->env, c, SLICE, &j->after);
    int rc = j->kind == ADOPT    ? change_adopt(c, SLICE, &more)
             : j->kind == LOSERS ? change_losers(c, SLICE, &more)
                                 : change_touch_flush(c, &more);
    return rc == 0 && more ? E_AGAIN : rc;
}

static void done(struct lane_item *item, int status)
{
    struct node_job *j = container_of(item, struct node_job, item);
    (void)status; /* tried again at the next start, or by the next tick */
    j->node->job[j->kind] = NULL;
    mem_free(j->after);
    mem_free(j);
}

static void start(struct node *n, int kind)
{
    if (n->job[kind] != NULL || n->lane == NULL) return;
    struct node_job *j = mem_alloc(sizeof(*j));
    j->node = n;
    j->kind = kind;
    j->item.run = run;
    j->item.done = done;
    j->item.class = LANE_UPKEEP;
    if (lane_submit(n->lane, &j->item) == 0)
        n->job[kind] = j;
    else
        mem_free(j);
}

void node_sweep(struct node *n)
{
    start(n, SWEEP);
}

static void tick(uv_timer_t *t)
{
    struct node *n = t->data;
    start(n, COUNTS);
    start(n, VOTES);
    start(n, LOSERS);
    if (n->ticks % DOUBTS_TICKS == 0) start(n, DOUBTS);
    if (++n->ticks % SWEEP_TICKS == 0) node_sweep(n);
}

static void others_wrote(void *data)
{
    start(data, ADOPT);
}

void node_adopt(struct node *n)
{
    start(n, ADOPT);
    while (n->job[ADOPT] != NULL && uv_run(n->loop, UV_RUN_ONCE) != 0) continue;
}

void node_upkeep(struct node *n)
{
    lane_watch(n->lane, others_wrote, n);
    start(n, ADOPT);
    start(n, HELD);
    CHECK(uv_timer_init(n->loop, &n->timer) == 0);
    n->timer.data = n;
    n->timing = true;
    uv_timer_start(&n->timer, tick, COUNTS_MS, COUNTS_MS);
}
