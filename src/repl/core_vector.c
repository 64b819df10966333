/* core_vector.c - what this node has of every stream, what each peer told it has, and what to ask whom for.
 *
 * Entry 0 is the own stream. Streams hang in a list by the time of their last change, so telling the changes costs as
 * much as there are. A stream is wanted while a peer that is up told more of it than we have:
 *   nobody pushes it (ended, a foreign process's, its origin silent) ─▶ pulled at once
 *   its origin pushes it ─▶ pulled after relay_ms without progress
 *   a snapshot brings it ─▶ not pulled
 * One pull at a time per peer and per stream; after a failure the next peer that has it, with growing pauses. */
#include <string.h>

#include "repl/core.h"

#define PULL_PAUSE_MS 50

static uint32_t place(const struct vector *v, uint64_t stream)
{
    return (uint32_t)((stream * 0x9e3779b97f4a7c15u) >> 32) & v->table_mask;
}

static void table_add(struct vector *v, uint32_t i)
{
    uint32_t at = place(v, v->entry[i].stream);
    v->slot[i].chain_next = v->table[at];
    v->table[at] = i;
}

static void grow(struct repl_core *core)
{
    struct vector *v = &core->v;
    uint32_t cap = v->cap == 0 ? 16 : v->cap * 2;
    size_t peers = core->c.peers;
    v->entry = mem_realloc(v->entry, cap * sizeof(*v->entry));
    v->slot = mem_realloc(v->slot, cap * sizeof(*v->slot));
    v->wanted = mem_realloc(v->wanted, cap * sizeof(*v->wanted));
    v->told = mem_realloc(v->told, (cap * peers + 1) * sizeof(*v->told));
    memset(v->told + v->cap * peers, 0, (cap - v->cap) * peers * sizeof(*v->told));
    v->table = mem_realloc(v->table, cap * sizeof(*v->table));
    memset(v->table, 0xff, cap * sizeof(*v->table));
    v->cap = cap;
    v->table_mask = cap - 1;
    for (uint32_t i = 0; i < v->count; i++)
        if (v->entry[i].stream != 0) table_add(v, i);
}

/* The entry changed: it is the newest now. */
static void touch(struct vector *v, uint32_t i)
{
    struct stream_slot *s = &v->slot[i];
    s->version = ++v->version;
    if (v->newest == i) return;
    if (s->newer != NONE) v->slot[s->newer].older = s->older;
    if (s->older != NONE) v->slot[s->older].newer = s->newer;
    s->older = v->newest;
    s->newer = NONE;
    if (v->newest != NONE) v->slot[v->newest].newer = i;
    v->newest = i;
}

uint32_t core_vector_find(const struct repl_core *core, uint64_t stream)
{
    const struct vector *v = &core->v;
    uint32_t i = v->table[place(v, stream)];
    while (i != NONE && v->entry[i].stream != stream) i = v->slot[i].chain_next;
    return i;
}

uint32_t core_vector_slot(struct repl_core *core, uint64_t stream, uint64_t node)
{
    struct vector *v = &core->v;
    uint32_t found = core_vector_find(core, stream);
    if (found != NONE) return found;
    if (stream == 0 || (v->spare == NONE && v->count == VECTOR_MAX)) return NONE;
    uint32_t i = v->spare;
    if (i != NONE) {
        v->spare = v->slot[i].chain_next;
    } else {
        if (v->count == v->cap) grow(core);
        i = v->count++;
    }
    v->entry[i] = (struct repl_entry){ .stream = stream, .node = node };
    v->slot[i] = (struct stream_slot){ .newer = NONE, .older = NONE, .waiters = NONE, .want = NONE };
    v->slot[i].source = v->slot[i].tried = NONE;
    v->slot[i].progress_ms = INT64_MIN / 2;
    table_add(v, i);
    return i;
}

void core_vector_init(struct repl_core *core)
{
    struct vector *v = &core->v;
    v->newest = v->spare = NONE;
    v->pull_wake = NEVER;
    grow(core);
    CHECK(core_vector_slot(core, core->c.own.stream, core->c.node) == 0);
    v->entry[0].pos = core->c.own.pos;
    v->entry[0].chain = core->c.own.chain;
    touch(v, 0);
}

void core_vector_release(struct repl_core *core)
{
    struct vector *v = &core->v;
    mem_free(v->entry);
    mem_free(v->slot);
    mem_free(v->told);
    mem_free(v->table);
    mem_free(v->wanted);
}

static struct told *told_by(struct repl_core *core, uint32_t i, unsigned peer)
{
    return &core->v.told[(size_t)i * core->c.peers + peer];
}

/* ---- wanting ------------------------------------------------------------------------------------------------- */
static void unwant(struct vector *v, uint32_t i)
{
    uint32_t at = v->slot[i].want;
    if (at == NONE) return;
    uint32_t last = v->wanted[--v->wanted_count];
    v->wanted[at] = last;
    v->slot[last].want = at;
    v->slot[i].want = NONE;
}

/* Whether the peer has what there may be to ask for. */
static bool has_more(struct repl_core *core, uint32_t i, unsigned peer)
{
    uint64_t pos = told_by(core, i, peer)->pos;
    return pos > core->v.entry[i].pos && pos > core->v.slot[i].left;
}

static bool behind(struct repl_core *core, uint32_t i)
{
    for (unsigned p = 0; p < core->c.peers; p++)
        if (has_more(core, i, p)) return true;
    return false;
}

static void want(struct repl_core *core, uint32_t i)
{
    struct vector *v = &core->v;
    struct stream_slot *s = &v->slot[i];
    if (!behind(core, i)) {
        unwant(v, i);
        return;
    }
    if (s->want == NONE) {
        s->want = v->wanted_count;
        v->wanted[v->wanted_count++] = i;
        s->want_ms = core->now_ms;
        s->retry_ms = core->now_ms;
        s->tries = 0;
    }
    v->pull_wake = core->now_ms;
}

/* Until when the origin's own push may be expected; before now: nobody pushes it. */
static int64_t pushed_until(const struct repl_core *core, uint32_t i)
{
    const struct repl_entry *entry = &core->v.entry[i];
    if (entry->ended || core->v.slot[i].told_ended) return INT64_MIN;
    for (unsigned p = 0; p < core->c.peers; p++) {
        const struct link *l = &core->link[p];
        if (l->node != entry->node || l->live != entry->stream) continue;
        return l->inbound_ms + (int64_t)core->c.ping_ms * core->c.ping_missed;
    }
    return INT64_MIN;
}

static int64_t pull_due(const struct repl_core *core, uint32_t i)
{
    const struct stream_slot *s = &core->v.slot[i];
    if (s->coming > core->v.entry[i].pos) return NEVER;
    int64_t due = s->want_ms > s->progress_ms ? s->want_ms : s->progress_ms;
    due += core->c.relay_ms;
    int64_t until = pushed_until(core, i);
    if (until < due) due = until;
    return due > s->retry_ms ? due : s->retry_ms;
}

/* The peer to ask: told more than we have, up, not pulling; the next one after the one tried last. */
static uint32_t source_of(struct repl_core *core, uint32_t i)
{
    unsigned peers = core->c.peers;
    unsigned first = core->v.slot[i].tried == NONE ? 0 : core->v.slot[i].tried + 1;
    for (unsigned k = 0; k < peers; k++) {
        unsigned p = (first + k) % peers;
        const struct link *l = &core->link[p];
        if (core_link_met(l) && !l->pulling && has_more(core, i, p)) return p;
    }
    return NONE;
}

static void pull(struct repl_core *core, uint32_t i, unsigned p)
{
    struct link *l = &core->link[p];
    core->v.slot[i].source = core->v.slot[i].tried = p;
    l->pulling = true;
    l->pull_gen++;
    l->pull_slot = i;
    l->pull_pos = core->v.entry[i].pos;
    l->pull_ms = core->now_ms;
    struct repl_effect *f = core_emit(core, REPL_PULL, p);
    f->gen = l->pull_gen;
    f->entry = core->v.entry[i];
}

/* Others said so, it did not give it: from now on its own word is asked for. */
static void belie(struct repl_core *core, unsigned p, struct told *told)
{
    told->pos = told->sure;
    core->link[p].ask_whole = true;
    core->link[p].belied_ms = core->now_ms;
}

/* A stream that nobody tells of any more, and never told himself, makes room. */
static void forget_hearsay(struct repl_core *core, uint32_t i)
{
    struct vector *v = &core->v;
    struct stream_slot *s = &v->slot[i];
    if (!s->hearsay || s->want != NONE || s->source != NONE || s->waiters != NONE) return;
    CHECK(i != 0 && v->entry[i].pos == 0 && s->version == 0);
    uint32_t *at = &v->table[place(v, v->entry[i].stream)];
    while (*at != i) at = &v->slot[*at].chain_next;
    *at = s->chain_next;
    for (unsigned p = 0; p < core->c.peers; p++) *told_by(core, i, p) = (struct told){ 0 };
    v->entry[i] = (struct repl_entry){ 0 };
    s->hearsay = false;
    s->chain_next = v->spare;
    v->spare = i;
    v->hearsay--;
}

static void unwant_had(struct repl_core *core)
{
    struct vector *v = &core->v;
    for (uint32_t k = v->wanted_count; k-- > 0;) {
        uint32_t i = v->wanted[k];
        if (behind(core, i)) continue;
        unwant(v, i);
        forget_hearsay(core, i);
    }
}

static void pull_end(struct repl_core *core, unsigned p, bool good)
{
    struct link *l = &core->link[p];
    uint32_t i = l->pull_slot;
    struct stream_slot *s = &core->v.slot[i];
    l->pulling = false;
    l->pull_slot = NONE;
    s->source = NONE;
    if (good) {
        s->tries = 0;
        s->tried = p == 0 ? NONE : p - 1; /* the same one again while it has more */
        s->progress_ms = INT64_MIN / 2;
        s->want_ms = INT64_MIN / 2;
    } else {
        int64_t pause = (int64_t)PULL_PAUSE_MS << (s->tries < 5 ? s->tries : 5);
        s->tries++;
        s->retry_ms = core->now_ms + PULL_PAUSE_MS + (int64_t)core_random(core, (uint64_t)pause);
    }
    want(core, i);
    core->v.pull_wake = core->now_ms;
}

void core_vector_pulled(struct repl_core *core, const struct repl_event *e)
{
    CHECK(e->peer < core->c.peers);
    struct link *l = &core->link[e->peer];
    if (!l->pulling || l->pull_gen != e->gen) return;
    uint32_t i = l->pull_slot;
    struct told *told = told_by(core, i, e->peer);
    uint64_t pos = core->v.entry[i].pos;
    if (e->ok && !e->more && told->pos > pos) told->pos = pos; /* it had no more */
    if (!e->ok && told->pos > told->sure) belie(core, e->peer, told);
    pull_end(core, e->peer, e->ok && (!e->more || pos > l->pull_pos));
    forget_hearsay(core, i);
}

static void pull_late(struct repl_core *core, unsigned p)
{
    struct repl_event e = { .type = REPL_PULLED, .peer = p, .gen = core->link[p].pull_gen };
    core_vector_pulled(core, &e);
}

void core_vector_coming(struct repl_core *core, const struct repl_event *e)
{
    for (uint32_t i = 0; i < core->v.count; i++) core->v.slot[i].coming = 0;
    for (size_t k = 0; k < e->vector_count; k++) {
        uint32_t i = core_vector_find(core, e->vector[k].stream);
        if (i != NONE) core->v.slot[i].coming = e->vector[k].pos;
    }
    core->v.pull_wake = core->now_ms;
}

void core_vector_tick(struct repl_core *core)
{
    struct vector *v = &core->v;
    if (v->pull_wake > core->now_ms) return;
    v->pull_wake = NEVER;
    if (MUTANT(NO_PULL)) return;
    unsigned ready = 0;
    for (unsigned p = 0; p < core->c.peers; p++) {
        struct link *l = &core->link[p];
        if (l->pulling && core->now_ms - l->pull_ms >= PULL_MAX_MS) pull_late(core, p);
        if (l->pulling && l->pull_ms + PULL_MAX_MS < v->pull_wake) v->pull_wake = l->pull_ms + PULL_MAX_MS;
        ready += core_link_met(l) && !l->pulling;
    }
    uint32_t count = v->wanted_count;
    for (uint32_t k = 0; k < count && ready > 0; k++) {
        if (v->cursor >= v->wanted_count) v->cursor = 0;
        uint32_t i = v->wanted[v->cursor++];
        if (v->slot[i].source != NONE) continue;
        int64_t due = pull_due(core, i);
        uint32_t p = due > core->now_ms ? NONE : source_of(core, i);
        if (p != NONE) {
            pull(core, i, p);
            ready--;
            due = core->now_ms + PULL_MAX_MS;
        }
        if (due > core->now_ms && due < v->pull_wake) v->pull_wake = due;
    }
}

int64_t core_vector_due(const struct repl_core *core)
{
    return core->v.pull_wake;
}

/* ---- hearsay -------------------------------------------------------------------------------------------------
 * What comes on a connection made to us may come from anybody. It hastens a pull, which proves itself; it neither
 * fills the table nor parts us from a peer: for that the peer is asked on our own connection. */
static void confirm(struct vector *v, uint32_t i)
{
    if (!v->slot[i].hearsay) return;
    v->slot[i].hearsay = false;
    v->hearsay--;
}

static uint32_t slot_told(struct repl_core *core, unsigned peer, const struct repl_entry *entry, bool sure)
{
    struct vector *v = &core->v;
    uint32_t i = core_vector_find(core, entry->stream);
    if (i != NONE) {
        if (sure) confirm(v, i);
        return i;
    }
    if (entry->pos == 0) return NONE; /* there is nothing to have */
    if (!sure && (v->hearsay >= HEARSAY_MAX || core->now_ms - core->link[peer].belied_ms < HEARSAY_PAUSE_MS)) {
        core->link[peer].ask_whole = true;
        return NONE;
    }
    i = core_vector_slot(core, entry->stream, entry->node);
    if (i == NONE || sure) return i;
    v->slot[i].hearsay = true;
    v->hearsay++;
    return i;
}

/* ---- knowing ------------------------------------------------------------------------------------------------- */
void core_vector_offered(struct repl_core *core, uint64_t pos, uint64_t chain)
{
    if (pos <= core->offered.pos) return;
    core->offered.pos = pos;
    core->offered.chain = chain;
}

void core_vector_own(struct repl_core *core, uint64_t pos, uint64_t chain)
{
    struct repl_entry *own = core_own(core);
    uint64_t from = own->pos;
    core_vector_offered(core, pos, chain);
    if (pos <= from) return;
    own->pos = pos;
    own->chain = chain;
    touch(&core->v, 0);
    if (core->t.used > 0) core_tracker_reach(core, NONE, from, pos);
}

/* A peer told that it stands here, too, before we did: on another chain? */
static void compare_told(struct repl_core *core, uint32_t i)
{
    struct stream_slot *s = &core->v.slot[i];
    const struct repl_entry *here = &core->v.entry[i];
    for (unsigned p = 0; p < core->c.peers && !s->forked; p++) {
        const struct told *told = told_by(core, i, p);
        if (told->sure == 0 || told->sure != here->pos || told->chain == here->chain) continue;
        struct repl_entry other = *here;
        other.chain = told->chain;
        s->forked = true;
        core_emit(core, REPL_ALARM_FORK, p)->entry = other;
    }
}

void core_vector_applied(struct repl_core *core, const struct repl_event *e)
{
    struct vector *v = &core->v;
    uint32_t i = core_vector_slot(core, e->entry.stream, e->entry.node);
    if (i == NONE || i == 0) return;
    struct repl_entry *entry = &v->entry[i];
    if (e->entry.node != 0) entry->node = e->entry.node;
    if (e->entry.pos < entry->pos || (e->entry.pos == entry->pos && e->entry.ended == entry->ended)) return;
    entry->pos = e->entry.pos;
    entry->chain = e->entry.chain;
    entry->ended = e->entry.ended;
    compare_told(core, i);
    confirm(v, i);
    v->slot[i].progress_ms = core->now_ms;
    touch(v, i);
    if (v->slot[i].want != NONE) want(core, i);
    core_tracker_foreign(core, i, NONE, entry->pos);
    if (!e->foreign_process) return;
    for (unsigned p = 0; p < core->c.peers; p++) core->link[p].tell_now = true;
}

/* Of one that nobody told of there is nothing to know. */
void core_vector_left(struct repl_core *core, const struct repl_event *e)
{
    uint32_t i = core_vector_find(core, e->entry.stream);
    if (i == NONE || e->entry.pos <= core->v.slot[i].left) return;
    core->v.slot[i].left = e->entry.pos;
    if (core->v.slot[i].want != NONE) want(core, i);
    forget_hearsay(core, i);
}

void core_vector_told(struct repl_core *core, unsigned peer, const struct repl_event *e, bool sure)
{
    struct vector *v = &core->v;
    if (e->whole && !sure)
        for (uint32_t i = 0; i < v->count; i++) told_by(core, i, peer)->pos = told_by(core, i, peer)->sure;
    for (size_t k = 0; k < e->vector_count; k++) {
        const struct repl_entry *entry = &e->vector[k];
        uint32_t i = slot_told(core, peer, entry, sure);
        if (i == NONE) continue;
        if (i == 0) { /* nobody has more of our own life than we do */
            if (entry->pos <= core->offered.pos) {
                if (sure) core_link_told(core, peer, entry);
                continue;
            }
            if (sure) {
                core_link_fork(core, peer, entry);
                return;
            }
            core->link[peer].ask_whole = true;
            continue;
        }
        struct stream_slot *s = &v->slot[i];
        struct told *told = told_by(core, i, peer);
        if (v->entry[i].node == 0) v->entry[i].node = entry->node;
        s->told_ended = s->told_ended || entry->ended;
        if (entry->pos == v->entry[i].pos && entry->chain != v->entry[i].chain && entry->pos > 0) {
            if (s->forked) continue;
            s->forked = sure;
            if (sure)
                core_emit(core, REPL_ALARM_FORK, peer)->entry = *entry;
            else
                core->link[peer].ask_whole = true;
            continue;
        }
        if (sure) {
            told->sure = entry->pos;
            told->chain = entry->chain;
        }
        if (sure || entry->pos > told->pos) told->pos = entry->pos;
        if (told->pos > v->entry[i].pos) want(core, i);
        if (s->waiters == NONE) continue;
        if (sure)
            core_tracker_foreign(core, i, peer, entry->pos);
        else
            core->link[peer].ask_now = true; /* only its word on our connection counts */
    }
    if (e->whole && !sure) unwant_had(core); /* taken back */
}

void core_vector_clear(struct repl_core *core, unsigned peer)
{
    struct vector *v = &core->v;
    for (uint32_t i = 0; i < v->count; i++) *told_by(core, i, peer) = (struct told){ 0 };
    unwant_had(core);
}

/* ---- telling ------------------------------------------------------------------------------------------------- */
bool core_vector_news(const struct repl_core *core, const struct link *l)
{
    return l->told < core->v.version;
}

void core_vector_send(struct repl_core *core, unsigned peer, bool whole)
{
    struct vector *v = &core->v;
    struct link *l = &core->link[peer];
    size_t first = core->scratch_used;
    uint64_t since = whole ? 0 : l->told;
    uint32_t i = v->newest;
    if (i != NONE && v->slot[i].version > since) {
        while (v->slot[i].older != NONE && v->slot[v->slot[i].older].version > since) i = v->slot[i].older;
        for (uint32_t n = 0; i != NONE && (whole || n < TELL_MAX); n++, i = v->slot[i].newer) {
            core_scratch(core, &v->entry[i]);
            l->told = v->slot[i].version;
        }
    }
    uint32_t asked = 0;
    if (l->starving && !whole) core_scratch(core, &v->entry[0]); /* where it stands in our stream by now */
    for (uint32_t k = 0; core->t.foreign > 0 && k < v->count && asked < ASK_MAX; k++) {
        bool told = v->slot[k].version > since && v->slot[k].version <= l->told;
        if (v->slot[k].waiters == NONE || told) continue;
        core_scratch(core, &v->entry[k]);
        asked++;
    }
    struct repl_effect *f = core_emit(core, REPL_SEND_VECTOR, peer);
    f->first = first;
    f->vector_count = core->scratch_used - first;
    f->whole = whole;
}
