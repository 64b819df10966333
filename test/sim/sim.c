/* sim.c - the run: choices, the heap of events, the phases. */
#include "sim.h"
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/digest.h"

#define RUN_EVENTS_MAX 2000000u
#define CALM_US (60 * 1000000LL) /* within this all must agree */
#define ARENA_MAX (256u << 20)

/* ---- choices, words ------------------------------------------------------------------------------------------ */
uint64_t pick(struct sim *s, uint64_t bound)
{
    if (bound <= 1) return 0;
    return s->used < s->choices ? s->choice[s->used++] % bound : 0;
}

bool chance(struct sim *s, unsigned percent)
{
    return pick(s, 100) >= 100 - percent;
}

int64_t sim_ms(const struct sim *s)
{
    return s->now_us / 1000;
}

void sim_fail(struct sim *s, const char *fmt, ...)
{
    if (s->failed) return;
    s->failed = true;
    s->how = fmt;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(s->why, sizeof(s->why), fmt, ap);
    va_end(ap);
    if (s->verbose && n > 0) printf("%9.3f ms  FAILED: %s\n", (double)s->now_us / 1000.0, s->why);
}

void sim_log(struct sim *s, const char *fmt, ...)
{
    char line[400];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (n < 0) n = 0;
    if ((size_t)n >= sizeof(line)) n = sizeof(line) - 1;
    s->trace = hash64(line, (size_t)n, s->trace ^ (uint64_t)s->now_us);
    if (s->verbose) printf("%9.3f ms  %s\n", (double)s->now_us / 1000.0, line);
    if (s->told != NULL) buf_printf(s->told, "%7.2f %s\n", (double)(s->now_us - 1000000) / 1000.0, line);
}

const char *goal_name(enum goal g)
{
    static const char *const names[] = {
#define X(name) #name,
        GOALS(X) STORY_GOALS(X) TALE_GOALS(X) FORK_GOALS(X)
#undef X
    };
    return names[g];
}

/* ---- ops ----------------------------------------------------------------------------------------------------- */
size_t sim_op_place(const struct sim *s, uint64_t stream, uint64_t seq)
{
    return (size_t)((stream * 31 + seq) * 0x9e3779b97f4a7c15u >> 40) % ARRAY_LEN(s->op);
}

struct op *sim_op(struct sim *s, uint64_t stream, uint64_t seq, uint64_t chain)
{
    struct op *op = s->op[sim_op_place(s, stream, seq)];
    while (op != NULL && (op->stream != stream || op->seq != seq || (chain != 0 && op->chain != chain))) op = op->next;
    return op;
}

struct op *sim_bind(struct sim *s, uint64_t stream, uint64_t seq, uint64_t chain, const void *body, size_t len)
{
    struct op *op = sim_op(s, stream, seq, fork_is(s, stream) ? chain : 0);
    if (op != NULL) {
        if (op->chain != chain || op->len != len || memcmp(op->body, body, len) != 0)
            sim_fail(s, "two ops at %llx:%llu", (unsigned long long)stream, (unsigned long long)seq);
        return op;
    }
    op = arena_alloc(&s->arena, sizeof(*op));
    void *copy = arena_alloc(&s->arena, len + 1);
    CHECK(op != NULL && copy != NULL);
    memcpy(copy, body, len);
    size_t at = sim_op_place(s, stream, seq);
    *op = (struct op){ .stream = stream, .seq = seq, .chain = chain, .body = copy, .len = len, .next = s->op[at] };
    s->op[at] = op;
    return op;
}

/* ---- events -------------------------------------------------------------------------------------------------- */
static bool earlier(const struct event *a, const struct event *b)
{
    return a->us != b->us ? a->us < b->us : a->tie < b->tie;
}

void sim_at(struct sim *s, int64_t delay_us, struct event e)
{
    if (s->heap_count == s->heap_cap) {
        s->heap_cap = s->heap_cap == 0 ? 256 : s->heap_cap * 2;
        s->heap = mem_realloc(s->heap, s->heap_cap * sizeof(*s->heap));
    }
    e.us = s->now_us + (delay_us > 0 ? delay_us : 0);
    e.tie = ++s->ties;
    size_t at = s->heap_count++;
    while (at > 0 && earlier(&e, &s->heap[(at - 1) / 2])) {
        s->heap[at] = s->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    s->heap[at] = e;
}

static struct event next_event(struct sim *s)
{
    struct event top = s->heap[0], e = s->heap[--s->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= s->heap_count) break;
        if (child + 1 < s->heap_count && earlier(&s->heap[child + 1], &s->heap[child])) child++;
        if (!earlier(&s->heap[child], &e)) break;
        s->heap[at] = s->heap[child];
        at = child;
    }
    s->heap[at] = e;
    return top;
}

static void handle(struct sim *s, struct event *e)
{
    switch (e->kind) {
    case EV_FAULT:
    case EV_RESTART:
    case EV_UPKEEP: fault_event(s, e); return;
    case EV_ENDS: ends_event(s); return;
    case EV_MEMBERS: members_event(s); return;
    case EV_REMOVE: members_remove_event(s, e); return;
    case EV_CLIENT: client_event(s, e); return;
    default: break;
    }
    struct node *n = &s->node[e->node];
    if (e->life != n->life || !n->up) return;
    if (n->paused_until > s->now_us) { /* it sees everything when it goes on, in order */
        sim_at(s, n->paused_until - s->now_us, *e);
        return;
    }
    switch (e->kind) {
    case EV_DELIVER:
    case EV_CONNECT: net_event(s, e); return;
    case EV_DURABLE:
    case EV_OFFERED:
    case EV_SYNCED:
    case EV_LANE_DONE: lane_event(n, e); return;
    case EV_RENEW:
        node_crash(n, false, LOSS_NONE);
        n->disk->renew = e->a == 0; /* else its stream forked */
        node_start(n);
        return;
    case EV_LEAVE: members_leave(n); return;
    case EV_LATE:
    case EV_COMMAND: client_event(s, e); return;
    default: node_event(n, e);
    }
}

void sim_until(struct sim *s, int64_t us)
{
    while (!s->failed && s->heap_count > 0 && s->heap[0].us <= us) {
        struct event e = next_event(s);
        s->now_us = e.us;
        handle(s, &e);
        if (++s->events % 64 == 0) check_caps(s);
        if (s->events > RUN_EVENTS_MAX) sim_fail(s, "no end of events");
    }
    if (!s->failed && s->now_us < us) s->now_us = us;
}

/* ---- phases -------------------------------------------------------------------------------------------------- */
static void set_targets(struct sim *s, struct node *n)
{
    for (unsigned j = 0; j < s->n; j++)
        if (j != n->i) n->target[n->targets++] = j;
    unsigned odd = s->n == 1 ? 0 : (unsigned)pick(s, 12);
    if (odd == 10) n->target[n->targets++] = n->i;              /* a URL of its own */
    if (odd == 11) n->target[n->targets++] = (n->i + 1) % s->n; /* two URLs of one node */
    if (odd == 10 && chance(s, 50)) {                           /* not always the last one */
        unsigned t = n->target[0];
        n->target[0] = n->target[n->targets - 1];
        n->target[n->targets - 1] = t;
    }
    if (odd == 10) s->goal[GOAL_OWN_URL] = true;
    if (odd == 11) s->goal[GOAL_TWIN_URL] = s->twins = true;
}

/* Up to ten minutes off, and gaining or losing; or in step with the others, so that versions tie. Where a node that
 * knows nothing of deletions may begin, clocks must be closer than half a tombstone's age: it has nothing else to go
 * by. */
static void set_clock(struct sim *s, struct node *n)
{
    static const int64_t drifts[] = { 0, 200, -200, 50000, -50000 };
    if (s->coarse || chance(s, 40)) return;
    s->goal[GOAL_CLOCKS_APART] = true;
    if (s->trims_tombs && s->loses) {
        n->clock_us = ((int64_t)pick(s, TOMB_AGE_US) - TOMB_AGE_US / 2) * 9 / 20;
        return;
    }
    n->clock_us = (int64_t)pick(s, 1200) * 1000000 - 600000000;
    n->drift_ppm = drifts[pick(s, ARRAY_LEN(drifts))];
}

/* Each needs the rows, and a disk that may be lost. */
static void draw_tale(struct sim *s)
{
    s->real = true;
    if (s->n < 2) s->n = 3;
    if (s->w < 2) s->w = 2;
    s->removes = !s->forks;
    s->fault_on[FAULT_REMOVE] = !s->forks;
    s->fault_on[FAULT_COPY] = false;
    s->fault_on[UPKEEP_TOMBS] = !s->forks && chance(s, 80);
    if (!s->forks) return;
    static const enum fault none[] = { FAULT_LOSE, FAULT_SET_BACK, FAULT_GIVER, FAULT_POWER, FAULT_SYNC, UPKEEP_LOG };
    for (size_t i = 0; i < ARRAY_LEN(none); i++) s->fault_on[none[i]] = false;
    s->lazy = s->versions = s->ends = false;
    if (s->n < 3) s->n = 3;
    s->fault_on[FAULT_REWIND] = true;
}

static void set_up(struct sim *s)
{
    s->n = 3;
    if (chance(s, 60)) s->n = 1 + (unsigned)pick(s, NODES_MAX);
    s->w = 1 + (s->n > 1 ? 1 : 0);
    if (chance(s, 50)) s->w = 1 + (unsigned)pick(s, s->n);
    s->real = chance(s, 60);
    s->coarse = chance(s, 30);
    for (unsigned k = 0; k < FAULTS_PLAIN; k++) s->fault_on[k] = chance(s, 45);
    if (s->stories) s->lazy = chance(s, 50);
    if (s->stories) s->versions = s->real && chance(s, 40);
    s->fault_on[FAULT_COPY] = s->stories && s->real && chance(s, 30);
    s->ends = s->stories && s->real && !s->fault_on[FAULT_COPY] && chance(s, 40);
    s->fault_on[FAULT_POWER] = s->lazy && chance(s, 70);
    s->fault_on[FAULT_SYNC] = s->lazy && chance(s, 45);
    if (s->tales) draw_tale(s);
    /* An older copy that is put back is younger than a tombstone must be to go. */
    s->trims_tombs = s->fault_on[UPKEEP_TOMBS] && s->real;
    if (s->trims_tombs) s->fault_on[FAULT_SET_BACK] = false;
    s->loses = s->fault_on[FAULT_LOSE] || s->fault_on[FAULT_GIVER] || s->removes;
    if (s->trims_tombs && s->loses) s->fault_on[FAULT_CLOCK] = false;
    sim_log(s, "%u nodes, W %u, %s store", s->n, s->w, s->real ? "real" : "model");
    for (unsigned i = 0; i < s->n; i++) {
        struct node *n = &s->node[i];
        n->s = s;
        n->i = i;
        n->disk = disk_new(s, i);
        n->disk->old = s->versions && chance(s, 60);
        set_targets(s, n);
        set_clock(s, n);
    }
    for (unsigned i = 0; i < s->n; i++) node_start(&s->node[i]);
    s->planned = 40 + (size_t)pick(s, 200);
    int64_t at = 0;
    for (size_t k = 0; k < s->planned; k++) {
        at += chance(s, 10) ? (int64_t)pick(s, 400000) : (int64_t)pick(s, 4000);
        sim_at(s, at, (struct event){ .kind = EV_CLIENT });
    }
    sim_at(s, (int64_t)pick(s, 300000), (struct event){ .kind = EV_FAULT });
    if (s->trims_tombs) sim_at(s, 0, (struct event){ .kind = EV_UPKEEP });
    if (s->ends) sim_at(s, 0, (struct event){ .kind = EV_ENDS });
    if (s->removes) sim_at(s, 0, (struct event){ .kind = EV_MEMBERS });
}

static unsigned all_nodes(const struct sim *s)
{
    return NODE_BIT(s->n) - 1;
}

static bool nobody_ahead(const struct sim *s, unsigned nodes)
{
    for (unsigned i = 0; i < s->n; i++)
        if ((nodes >> i & 1) != 0 && (s->node[i].ahead.is || state_ahead(&s->node[i]) || ends_lacks(&s->node[i])))
            return false;
    return true;
}

/* Runs until these nodes agree; then everything promised must be on each of them. */
static void calm(struct sim *s, unsigned nodes, const char *what)
{
    int64_t end = s->now_us + CALM_US;
    bool equal = false;
    while (!s->failed && !equal && s->now_us < end) {
        sim_until(s, s->now_us + 100000);
        equal = check_equal(s, nodes) && nobody_ahead(s, nodes);
    }
    if (!s->failed && !equal) {
        check_tell(s, nodes);
        sim_fail(s, "%s: no agreement within %lld s", what, CALM_US / 1000000);
    }
    if (!s->failed) sim_log(s, "%s: agreed", what);
    if (!s->failed) check_rows(s, nodes);
}

static void fresh_write(struct sim *s, unsigned nodes)
{
    unsigned i = 0;
    while ((nodes >> i & 1) == 0) i++;
    sim_until(s, s->now_us + 6000000); /* links that were refused or forked for a while come back slowly */
    uint64_t key = ++s->keys;
    struct edit e = { .kind = EDIT_PUT, .id = 9000 + (unsigned)key, .title = 9000 + (unsigned)key };
    uint64_t c = client_issue(s, i, key, &e, 0, 0);
    sim_until(s, s->now_us + 2500000);
    if (!s->failed && !s->client[c].met) sim_fail(s, "a fresh write on a healthy core of W did not meet W");
}

/* Some N-W+1 nodes that kept their disks (or W, if that is more), the rest dead. */
static void survivors(struct sim *s)
{
    unsigned size = s->n - s->w + 1, nodes = 0, count = 0, start = (unsigned)pick(s, s->n);
    bool writes = chance(s, 50);
    if (writes && size < s->w) size = s->w;
    for (unsigned k = 0; k < s->n && count < size; k++) {
        unsigned i = (start + k) % s->n;
        if (s->node[i].lost) continue;
        nodes |= NODE_BIT(i);
        count++;
    }
    for (unsigned i = 0; i < s->n; i++)
        if ((nodes >> i & 1) == 0 && s->node[i].up) node_crash(&s->node[i], chance(s, 30), LOSS_NONE);
    for (unsigned i = 0; i < s->n; i++)
        if ((nodes >> i & 1) != 0 && !s->node[i].up) node_start(&s->node[i]);
    sim_log(s, "survivors %x", nodes);
    calm(s, nodes, "survivors");
    if (s->failed) return;
    check_promises(s, nodes, false);
    if (count < s->n) s->goal[GOAL_SUBSET_SURVIVES] = true;
    if (count >= s->w) fresh_write(s, nodes);
}

/* Every node finds alone, or was told, what was replaced unseen. */
static void archives(struct sim *s)
{
    const struct edit e = { .kind = EDIT_SETTLE };
    for (unsigned i = 0; i < s->n && !s->failed; i++) client_issue(s, i, ++s->keys, &e, 0, 0);
    sim_until(s, s->now_us + 2500000);
    if (!s->failed) calm(s, all_nodes(s), "archives");
    if (!s->failed) check_archives(s);
}

static void everybody(struct sim *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        struct node *n = &s->node[i];
        if (n->up && n->disk->old) node_crash(n, false, LOSS_NONE);
        n->disk->old = false;
        if (!n->up) node_start(n);
    }
    members_tidy(s);
    calm(s, all_nodes(s), "everybody");
    if (s->failed) return;
    check_promises(s, all_nodes(s), true);
    sim_until(s, s->now_us + 7000000);
    uint64_t before = s->transfers;
    sim_until(s, s->now_us + 3000000);
    if (!s->failed && s->transfers != before)
        sim_fail(s, "%llu ops sent although all have all", (unsigned long long)(s->transfers - before));
    if (!s->failed && !check_equal(s, all_nodes(s))) sim_fail(s, "agreement did not last");
    /* a text that was taken out of it, which is forgotten, may be found again */
    if (!s->failed && s->real && !s->trims_tombs) archives(s);
}

static bool clients_rest(const struct sim *s)
{
    for (size_t i = 0; i < s->clients; i++)
        if (s->client[i].state == CLIENT_QUEUED || s->client[i].state == CLIENT_TRACKED) return false;
    return true;
}

void sim_begin(struct sim *s, uint32_t *choice, size_t choices)
{
    memset(s, 0, sizeof(*s));
    s->choice = choice;
    s->choices = choices;
    s->now_us = 1000000;
    list_init(&s->conns);
    arena_init(&s->arena, ARENA_MAX);
}

void sim_end(struct sim *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        struct node *n = &s->node[i];
        if (n->up) node_crash(n, true, LOSS_NONE);
        n->disk->v->close(n->disk);
    }
    net_release(s);
    mem_free(s->heap);
    arena_release(&s->arena);
    s->heap = NULL;
}

bool sim_run(struct sim *s, uint32_t *choice, size_t choices, enum range range, bool verbose)
{
    sim_begin(s, choice, choices);
    s->stories = range >= RANGE_STORIES;
    s->tales = range >= RANGE_TALES;
    s->forks = range == RANGE_FORKS;
    s->verbose = verbose;
    set_up(s);
    int64_t end = s->now_us + 2000000 + (int64_t)pick(s, 4000000);
    sim_until(s, end);
    s->quiet = true;
    fault_heal(s);
    sim_until(s, s->now_us + 5000000);
    s->calm = true;
    if (!s->failed && !clients_rest(s)) sim_fail(s, "a client has no answer");
    if (!s->failed && s->forked_count == 0) survivors(s); /* see fork.c */
    if (!s->failed) everybody(s);
    sim_end(s);
    return !s->failed;
}
