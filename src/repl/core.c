/* core.c - the replication core's front: one event in, its effects out. Owns the effects array and the scratch entries
 * they point at; both live until the next step. */
#include <string.h>

#include "repl/core.h"

#define ROUNDS_MAX 4
#define STOPPED_MS 500 /* longer without an event than any timer of a link's: the process stood still */

void repl_config_default(struct repl_config *c)
{
    *c = (struct repl_config){
        .writes = 1,
        .trackers_max = 8192,
        .second_ops = 16,
        .stall_ms = 500,
        .stall_max_ms = 4000,
        .ping_ms = 250,
        .ping_missed = 3,
        .dial_timeout_ms = 250,
        .dial_backoff_ms = 1000,
        .refused_gap_ms = 100,
        .grace_ms = 100,
        .vector_ms = 1000,
        .relay_ms = 1000,
        .patience_ms = 2000,
    };
}

const char *repl_link_name(enum repl_link s)
{
    static const char *const names[] = {
        [REPL_DOWN] = "down",     [REPL_DIALING] = "dialing", [REPL_HELLO] = "hello", [REPL_CHECKING] = "checking",
        [REPL_UP] = "up",         [REPL_SUSPECT] = "suspect", [REPL_SELF] = "self",   [REPL_TWIN] = "twin",
        [REPL_FORKED] = "forked", [REPL_REFUSED] = "refused",
    };
    return (size_t)s < ARRAY_LEN(names) ? names[s] : "?";
}

struct repl_core *repl_new(const struct repl_config *c)
{
    CHECK(c->peers <= REPL_PEERS_MAX && c->writes >= 1 && c->writes <= c->peers + 1);
    CHECK(c->node != 0 && c->own.stream != 0);
    CHECK(c->trackers_max > 0 && c->trackers_max < (1u << 24));
    struct repl_core *core = mem_alloc(sizeof(*core));
    core->c = *c;
    core->random = c->seed ^ c->own.stream;
    core->now_ms = core->missed_ms = INT64_MIN;
    core->offered = c->own;
    core->a = (struct admission){ .room = SIZE_MAX, .looked_ms = INT64_MIN / 2 };
    core_tracker_init(core);
    core_vector_init(core);
    core_link_init(core);
    return core;
}

void repl_free(struct repl_core *core)
{
    if (core == NULL) return;
    core_tracker_release(core);
    core_vector_release(core);
    mem_free(core->effect);
    mem_free(core->scratch);
    mem_free(core);
}

struct repl_effect *core_emit(struct repl_core *core, enum repl_effect_type type, unsigned peer)
{
    if (core->effects == core->effects_cap) {
        core->effects_cap = core->effects_cap == 0 ? 64 : core->effects_cap * 2;
        core->effect = mem_realloc(core->effect, core->effects_cap * sizeof(*core->effect));
    }
    struct repl_effect *f = &core->effect[core->effects++];
    memset(f, 0, sizeof(*f));
    f->type = type;
    f->peer = peer;
    if (peer < core->c.peers) {
        f->gen = core->link[peer].gen;
        f->state = core->link[peer].state;
    }
    return f;
}

size_t core_scratch(struct repl_core *core, const struct repl_entry *entry)
{
    if (core->scratch_used == core->scratch_cap) {
        core->scratch_cap = core->scratch_cap == 0 ? 64 : core->scratch_cap * 2;
        core->scratch = mem_realloc(core->scratch, core->scratch_cap * sizeof(*core->scratch));
    }
    core->scratch[core->scratch_used] = *entry;
    return core->scratch_used++;
}

/* splitmix64 (Steele, Lea, Flood 2014). */
uint64_t core_random(struct repl_core *core, uint64_t bound)
{
    uint64_t z = core->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return bound == 0 ? 0 : z % bound;
}

/* What a node tells before its hello has reached us belongs to no peer yet; the hello may be older than it. */
static void vector_event(struct repl_core *core, const struct repl_event *e)
{
    bool known = false;
    for (unsigned p = 0; p < core->c.peers; p++) {
        const struct link *l = &core->link[p];
        if (l->node != e->node || l->original || !core_link_met(l)) continue;
        core_vector_told(core, p, e, false);
        known = true;
    }
    if (!known) core->missed_ms = core->now_ms;
}

static void dispatch(struct repl_core *core, const struct repl_event *e)
{
    switch (e->type) {
    case REPL_TICK: return;
    case REPL_OFFERED: core_vector_offered(core, e->entry.pos, e->entry.chain); return;
    case REPL_COMMITTED:
        core_vector_own(core, e->entry.pos, e->entry.chain);
        core_admit_committed(core, e->entry.pos);
        return;
    case REPL_APPLIED: core_vector_applied(core, e); return;
    case REPL_TRACK: core_tracker_add(core, e); return;
    case REPL_FORGET: core_tracker_forget(core, e->tag); return;
    case REPL_UNASKED: core_tracker_unasked(core, &e->entry); return;
    case REPL_INBOUND: core_link_inbound(core, e); return;
    case REPL_PULLED: core_vector_pulled(core, e); return;
    case REPL_COMING: core_vector_coming(core, e); return;
    case REPL_LEFT: core_vector_left(core, e); return;
    case REPL_STOP: core_tracker_stop(core); return;
    case REPL_VECTOR: vector_event(core, e); return;
    case REPL_CONNECTED:
    case REPL_CONNECT_FAILED:
    case REPL_CLOSED:
    case REPL_HELLO_OK:
    case REPL_HELLO_ORIGINAL:
    case REPL_HELLO_REFUSED:
    case REPL_CHECKED:
    case REPL_SENT:
    case REPL_ACK:
    case REPL_HAS:
    case REPL_BUSY:
    case REPL_PONG: core_link_event(core, e); return;
    }
    WRONG("unknown replication event");
}

static int64_t min_ms(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* What is due now; what one peer's silence means to the others may make more due, hence rounds. Gives the next time. */
static int64_t tick(struct repl_core *core)
{
    for (unsigned p = 0; p < core->c.peers; p++) {
        core_link_pump(core, p); /* ops first: somebody waits for them */
        core_link_tick(core, p);
    }
    core_tracker_tick(core);
    core_vector_tick(core);
    int64_t wake = min_ms(core_tracker_due(core), core_vector_due(core));
    for (unsigned p = 0; p < core->c.peers; p++) wake = min_ms(wake, core_link_due(core, p));
    return wake;
}

void repl_step(struct repl_core *core, const struct repl_event *e, struct repl_effects *ret)
{
    int64_t before = core->now_ms;
    if (e->now_ms > before) core->now_ms = e->now_ms;
    core->effects = 0;
    core->scratch_used = 0;
    if (before != INT64_MIN && core->now_ms - before > (int64_t)core->c.dial_backoff_ms + STOPPED_MS)
        core_link_doubt(core);
    dispatch(core, e);
    int64_t wake = core->now_ms;
    for (unsigned round = 0; round < ROUNDS_MAX && wake <= core->now_ms; round++) wake = tick(core);
    for (size_t i = 0; i < core->effects; i++) { /* only now does the scratch array stay where it is */
        struct repl_effect *f = &core->effect[i];
        if (f->type != REPL_SEND_VECTOR) continue;
        f->vector = core->scratch == NULL ? NULL : core->scratch + f->first;
        f->first = 0;
    }
    *ret = (struct repl_effects){ .item = core->effect, .count = core->effects, .wake_ms = wake };
}

void repl_peer_view(const struct repl_core *core, unsigned peer, struct repl_peer_view *ret)
{
    CHECK(peer < core->c.peers);
    const struct link *l = &core->link[peer];
    *ret = (struct repl_peer_view){
        .state = l->state,
        .original = l->original,
        .relaxed = l->relaxed,
        .counts = core_link_counts(l),
        .node = l->node,
        .acked = l->acked,
        .next = l->next,
        .rtt_us = l->rtt_us,
        .last_ok_ms = l->last_ok_ms,
        .dials = l->dials,
        .stalls = l->stalls,
    };
}

const struct repl_entry *repl_vector(const struct repl_core *core, size_t *ret_count)
{
    *ret_count = core->v.count;
    return core->v.entry;
}

uint64_t repl_position(const struct repl_core *core, uint64_t stream)
{
    uint32_t i = core_vector_find(core, stream);
    return i == NONE ? 0 : core->v.entry[i].pos;
}

size_t repl_behind(const struct repl_core *core)
{
    return core->v.wanted_count;
}

size_t repl_trackers(const struct repl_core *core)
{
    return core->t.used;
}
