/* core_tracker.c - clients that wait for W disks. Those of the own stream lie in a ring ordered by seq, so a position
 * that moves from a to b touches the trackers in (a, b] and no others; those of other streams hang on the stream they
 * wait for. All lie in one heap by the time something is due. A tracker answers once and is gone; the sends know
 * nothing of it. */
#include <string.h>

#include "repl/core.h"

static size_t power_of_two(size_t n)
{
    size_t p = 1;
    while (p < n) p *= 2;
    return p;
}

void core_tracker_init(struct repl_core *core)
{
    struct trackers *t = &core->t;
    t->max = core->c.trackers_max;
    t->pool = mem_alloc(t->max * sizeof(*t->pool));
    t->heap = mem_alloc(t->max * sizeof(*t->heap));
    size_t n = power_of_two(t->max);
    t->table = mem_alloc(n * sizeof(*t->table));
    memset(t->table, 0xff, n * sizeof(*t->table));
    t->table_mask = n - 1;
    t->ring = mem_alloc(2 * n * sizeof(*t->ring));
    t->ring_mask = 2 * n - 1;
    t->free = NONE;
}

void core_tracker_release(struct repl_core *core)
{
    mem_free(core->t.pool);
    mem_free(core->t.heap);
    mem_free(core->t.table);
    mem_free(core->t.ring);
}

/* ---- heap of due times --------------------------------------------------------------------------------------- */
static bool before(const struct trackers *t, uint32_t a, uint32_t b)
{
    const struct tracker *x = &t->pool[a], *y = &t->pool[b];
    return x->due_ms != y->due_ms ? x->due_ms < y->due_ms : x->serial < y->serial;
}

static void heap_place(struct trackers *t, size_t at, uint32_t index)
{
    t->heap[at] = index;
    t->pool[index].heap = (uint32_t)at;
}

/* `used` is the heap's size: every tracker in use is in it. */
static void heap_fix(struct trackers *t, size_t at, uint32_t index)
{
    while (at > 0 && before(t, index, t->heap[(at - 1) / 2])) {
        heap_place(t, at, t->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= t->used) break;
        if (child + 1 < t->used && before(t, t->heap[child + 1], t->heap[child])) child++;
        if (!before(t, t->heap[child], index)) break;
        heap_place(t, at, t->heap[child]);
        at = child;
    }
    heap_place(t, at, index);
}

static void set_due(struct trackers *t, struct tracker *k, int64_t due_ms)
{
    k->due_ms = due_ms;
    heap_fix(t, k->heap, (uint32_t)(k - t->pool));
}

int64_t core_tracker_due(const struct repl_core *core)
{
    return core->t.used == 0 || MUTANT(FORGETFUL_DEADLINE) ? NEVER : core->t.pool[core->t.heap[0]].due_ms;
}

/* ---- the ring of the own stream ------------------------------------------------------------------------------ */
static struct ring_slot *ring_at(const struct trackers *t, size_t i)
{
    return &t->ring[(t->ring_head + i) & t->ring_mask];
}

static bool ring_live(const struct trackers *t, const struct ring_slot *r)
{
    return t->pool[r->index].serial == r->serial;
}

/* First place whose seq is above `seq`. */
static size_t ring_above(const struct trackers *t, uint64_t seq)
{
    size_t lo = 0, hi = t->ring_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (ring_at(t, mid)->seq <= seq)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void ring_trim(struct trackers *t)
{
    while (t->ring_count > 0 && !ring_live(t, ring_at(t, 0))) {
        t->ring_head = (t->ring_head + 1) & t->ring_mask;
        t->ring_count--;
    }
}

/* The ring has twice the pool's room, so a full one is at least half dead: the cost is spread over as many adds. */
static void ring_compact(struct trackers *t)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->ring_count; i++) {
        struct ring_slot r = *ring_at(t, i);
        if (ring_live(t, &r)) *ring_at(t, kept++) = r;
    }
    t->ring_count = kept;
}

static void ring_add(struct trackers *t, const struct tracker *k)
{
    ring_trim(t);
    if (t->ring_count > t->ring_mask) ring_compact(t);
    CHECK(t->ring_count <= t->ring_mask);
    size_t at = t->ring_count; /* the end, but for a retry of an earlier write */
    while (at > 0 && ring_at(t, at - 1)->seq > k->seq) {
        *ring_at(t, at) = *ring_at(t, at - 1);
        at--;
    }
    *ring_at(t, at) = (struct ring_slot){ .seq = k->seq, .index = (uint32_t)(k - t->pool), .serial = k->serial };
    t->ring_count++;
}

/* ---- one tracker --------------------------------------------------------------------------------------------- */
static size_t tag_place(const struct trackers *t, uint64_t tag)
{
    return (size_t)((tag * 0x9e3779b97f4a7c15u) >> 32) & t->table_mask;
}

static struct tracker *take(struct trackers *t, uint64_t tag)
{
    uint32_t index = t->free;
    if (index != NONE)
        t->free = t->pool[index].tag_next;
    else
        index = (uint32_t)t->high++;
    struct tracker *k = &t->pool[index];
    if (++t->serial == 0) t->serial = 1;
    size_t place = tag_place(t, tag);
    *k = (struct tracker){ .tag = tag, .serial = t->serial, .tag_next = t->table[place] };
    k->wait_next = k->wait_prev = NONE;
    t->table[place] = index;
    return k;
}

static void drop(struct repl_core *core, struct tracker *k)
{
    struct trackers *t = &core->t;
    uint32_t index = (uint32_t)(k - t->pool);
    uint32_t *at = &t->table[tag_place(t, k->tag)];
    while (*at != index) at = &t->pool[*at].tag_next;
    *at = k->tag_next;

    uint32_t last = t->heap[--t->used];
    if (last != index) heap_fix(t, k->heap, last);

    if (k->stream != core_own(core)->stream) {
        t->foreign--;
        if (k->wait_next != NONE) t->pool[k->wait_next].wait_prev = k->wait_prev;
        if (k->wait_prev != NONE) {
            t->pool[k->wait_prev].wait_next = k->wait_next;
        } else {
            uint32_t slot = core_vector_find(core, k->stream);
            if (slot != NONE) core->v.slot[slot].waiters = k->wait_next;
        }
    }
    k->serial = 0;
    k->tag_next = t->free;
    t->free = index;
}

static unsigned bits(unsigned mask)
{
    unsigned n = 0;
    for (; mask != 0; mask &= mask - 1) n++;
    return n;
}

static unsigned got(const struct tracker *k)
{
    return (unsigned)k->own + bits(k->mask);
}

static void emit_answer(struct repl_core *core, const struct tracker *k, enum repl_result result)
{
    unsigned distinct = 0, relaxed = 0;
    for (unsigned p = 0; p < core->c.peers; p++) relaxed |= (unsigned)core->link[p].relaxed << p;
    for (unsigned p = 0; p < core->c.peers; p++)
        if (core->link[p].state != REPL_SELF && core->link[p].barred != REPL_TWIN) distinct |= 1u << p;
    struct repl_effect *f = core_emit(core, REPL_ANSWER, REPL_NO_PEER);
    f->tag = k->tag;
    f->result = result;
    f->got = got(k);
    f->disks = (unsigned)(k->own && !core->c.relaxed) + bits(k->mask & ~(unsigned)k->originals & ~relaxed);
    f->need = k->need;
    f->all = k->own && (k->mask & distinct) == distinct;
}

static void answer(struct repl_core *core, struct tracker *k, enum repl_result result)
{
    emit_answer(core, k, result);
    drop(core, k);
}

/* Answers what can be answered now: enough have it; or it is certain that enough never will (by the deadline). In the
 * second case peers that are up get some time more, so that `got` says what is true. Returns whether it still waits. */
static bool judge(struct repl_core *core, struct tracker *k)
{
    if (got(k) >= k->need) {
        answer(core, k, REPL_MET);
        return false;
    }
    unsigned may = 0, up = 0;
    for (unsigned p = 0; p < core->c.peers; p++) {
        if ((k->mask >> p & 1) != 0) continue;
        may += core_link_may(&core->link[p]);
        up += core->link[p].state == REPL_UP;
    }
    bool hopeless = got(k) + may + !k->own < k->need;
    if (hopeless && up == 0) {
        answer(core, k, REPL_UNREACHABLE);
        return false;
    }
    if (hopeless != k->doomed) {
        k->doomed = hopeless;
        int64_t grace = core->now_ms + core->c.grace_ms;
        set_due(&core->t, k, hopeless && grace < k->deadline_ms ? grace : k->deadline_ms);
    }
    return true;
}

static void mark(struct repl_core *core, struct tracker *k, uint32_t peer)
{
    if (peer == NONE) {
        k->own = true;
    } else {
        k->mask = (uint16_t)(k->mask | 1u << peer);
        if (core->link[peer].original) k->originals = (uint16_t)(k->originals | 1u << peer);
    }
    if (k->doomed || got(k) >= k->need) judge(core, k);
}

/* ---- what is known of an op -------------------------------------------------------------------------------------- */
static void fill_known(const struct repl_core *core, struct tracker *k)
{
    bool own_stream = k->stream == core->v.entry[0].stream;
    uint32_t slot = own_stream ? 0 : core_vector_find(core, k->stream);
    if (slot == NONE) return;
    k->own = core->v.entry[slot].pos >= k->seq;
    for (unsigned p = 0; p < core->c.peers; p++) {
        const struct link *l = &core->link[p];
        uint64_t pos = own_stream ? l->acked : core->v.told[(size_t)slot * core->c.peers + p].sure;
        if (MUTANT(CURSOR_ON_SEND) && own_stream) pos = l->next - 1;
        if (core_link_counts(l) && !l->original && pos >= k->seq) k->mask = (uint16_t)(k->mask | 1u << p);
    }
}

/* Of another stream than this life's, nodes of the original tell nothing by themselves: nobody waits for them in vain.
 * asked: they will be asked. */
static unsigned needed(const struct repl_core *core, uint64_t stream, unsigned need, bool asked)
{
    unsigned can = 1;
    for (unsigned p = 0; p < core->c.peers; p++) can += asked || !core->link[p].original;
    if (need == 0) need = core->c.writes;
    return stream != core->v.entry[0].stream && can < need ? can : need;
}

bool repl_holds(const struct repl_core *core, uint64_t stream, uint64_t pos, unsigned need)
{
    struct tracker trial = { .stream = stream, .seq = pos };
    fill_known(core, &trial);
    unsigned passed = 0; /* by a node of the original: more about it can never be known */
    for (unsigned p = 0; p < core->c.peers && stream == core->v.entry[0].stream; p++)
        passed += core->link[p].original && core->link[p].acked >= pos;
    return got(&trial) + passed >= needed(core, stream, need, false);
}

/* ---- events -------------------------------------------------------------------------------------------------- */
void core_tracker_add(struct repl_core *core, const struct repl_event *e)
{
    struct trackers *t = &core->t;
    bool foreign = e->entry.stream != core_own(core)->stream;
    struct tracker trial = { .tag = e->tag, .stream = e->entry.stream, .seq = e->entry.pos };
    unsigned need = needed(core, e->entry.stream, e->need, e->whole);
    trial.need = (uint8_t)(need < 255 ? need : 255);
    fill_known(core, &trial);
    enum repl_result at_once = got(&trial) >= trial.need        ? REPL_MET
                               : core->stopping                 ? REPL_STOPPED
                               : e->deadline_ms <= core->now_ms ? REPL_TIMED_OUT
                                                                : REPL_NO_ROOM;
    uint32_t slot = foreign ? core_vector_slot(core, e->entry.stream, e->entry.node) : 0;
    if (at_once != REPL_NO_ROOM || t->used == t->max || slot == NONE) {
        emit_answer(core, &trial, at_once);
        return;
    }
    struct tracker *k = take(t, e->tag);
    k->stream = trial.stream;
    k->seq = trial.seq;
    k->need = trial.need;
    k->mask = trial.mask;
    k->own = trial.own;
    k->deadline_ms = k->due_ms = e->deadline_ms;
    uint32_t index = (uint32_t)(k - t->pool);
    heap_fix(t, t->used++, index);
    if (foreign) {
        struct stream_slot *s = &core->v.slot[slot];
        t->foreign++;
        k->wait_next = s->waiters;
        if (s->waiters != NONE) t->pool[s->waiters].wait_prev = index;
        s->waiters = index;
        for (unsigned p = 0; p < core->c.peers; p++) core->link[p].ask_now = true;
    } else {
        ring_add(t, k);
    }
    if (judge(core, k)) core_link_hurry(core);
}

void core_tracker_forget(struct repl_core *core, uint64_t tag)
{
    struct trackers *t = &core->t;
    uint32_t index = t->table[tag_place(t, tag)];
    while (index != NONE && t->pool[index].tag != tag) index = t->pool[index].tag_next;
    if (index != NONE) drop(core, &t->pool[index]);
}

void core_tracker_reach(struct repl_core *core, uint32_t peer, uint64_t a, uint64_t b)
{
    struct trackers *t = &core->t;
    for (size_t i = ring_above(t, a); i < t->ring_count && ring_at(t, i)->seq <= b; i++) {
        const struct ring_slot *r = ring_at(t, i);
        if (ring_live(t, r)) mark(core, &t->pool[r->index], peer);
    }
    ring_trim(t);
}

void core_tracker_exact(struct repl_core *core, uint32_t peer, uint64_t seq)
{
    if (seq > 0) core_tracker_reach(core, peer, seq - 1, seq);
}

void core_tracker_has(struct repl_core *core, uint32_t peer, const struct repl_entry *op)
{
    struct trackers *t = &core->t;
    for (size_t i = 0; i < t->high; i++) {
        struct tracker *k = &t->pool[i];
        if (k->serial != 0 && k->stream == op->stream && k->seq == op->pos) mark(core, k, peer);
    }
    ring_trim(t);
}

void core_tracker_unasked(struct repl_core *core, const struct repl_entry *op)
{
    struct trackers *t = &core->t;
    for (size_t i = 0; i < t->high; i++) {
        struct tracker *k = &t->pool[i];
        if (k->serial == 0 || k->stream != op->stream || k->seq != op->pos) continue;
        k->need = (uint8_t)needed(core, k->stream, k->need, false);
        judge(core, k);
    }
    ring_trim(t);
}

void core_tracker_foreign(struct repl_core *core, uint32_t slot, uint32_t peer, uint64_t pos)
{
    struct trackers *t = &core->t;
    for (uint32_t i = core->v.slot[slot].waiters, next; i != NONE; i = next) {
        next = t->pool[i].wait_next;
        if (t->pool[i].seq <= pos) mark(core, &t->pool[i], peer);
    }
}

void core_tracker_rebase(struct repl_core *core, uint32_t peer, uint64_t pos)
{
    struct trackers *t = &core->t;
    uint16_t bit = (uint16_t)(1u << peer);
    for (size_t i = 0; i < t->high; i++) {
        struct tracker *k = &t->pool[i];
        if (k->serial == 0) continue;
        uint64_t has = pos;
        if (k->stream != core_own(core)->stream) {
            uint32_t slot = core_vector_find(core, k->stream);
            has = slot == NONE ? 0 : core->v.told[(size_t)slot * core->c.peers + peer].sure;
        }
        k->originals = (uint16_t)(k->originals & ~bit);
        if (has < k->seq)
            k->mask = (uint16_t)(k->mask & ~bit);
        else
            mark(core, k, peer);
    }
    ring_trim(t);
    core->judge = true;
}

void core_tracker_moved(struct repl_core *core, uint32_t from)
{
    uint16_t bit = (uint16_t)(1u << from);
    for (size_t i = 0; i < core->t.high; i++) {
        struct tracker *k = &core->t.pool[i];
        k->mask = (uint16_t)(k->mask & ~bit);
        k->originals = (uint16_t)(k->originals & ~bit);
    }
}

void core_tracker_tick(struct repl_core *core)
{
    struct trackers *t = &core->t;
    if (core->judge) {
        core->judge = false;
        for (size_t i = 0; i < t->high; i++)
            if (t->pool[i].serial != 0) judge(core, &t->pool[i]);
    }
    while (t->used > 0 && t->pool[t->heap[0]].due_ms <= core->now_ms) {
        struct tracker *k = &t->pool[t->heap[0]];
        bool doomed = k->doomed;
        if (MUTANT(FORGETFUL_DEADLINE)) break;
        if (!judge(core, k)) continue;
        if (doomed && k->doomed)
            answer(core, k, REPL_UNREACHABLE); /* its grace is over */
        else if (k->deadline_ms <= core->now_ms)
            answer(core, k, REPL_TIMED_OUT);
    }
}

void core_tracker_stop(struct repl_core *core)
{
    core->stopping = true;
    for (size_t i = 0; i < core->t.high; i++)
        if (core->t.pool[i].serial != 0) answer(core, &core->t.pool[i], REPL_STOPPED);
    ring_trim(&core->t);
}
