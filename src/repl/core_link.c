/* core_link.c - one peer's link: dialing, hello, the window of batches, what its answers say, when it is given up. The
 * states are drawn in repl.h. What always holds: an event of an older generation changes nothing; what the peer says of
 * its position on this connection is what counts, and only once its chain is known to be ours.
 *
 * A batch's life: asked (SEND_OPS) -> SENT: in batch[] -> ACK, in order. A position below the batch's end rewinds
 * `next`; batches sent before that are overtaken: their answers move nothing back. One that begins where the peer
 * stands and is not taken twice (it merges a snapshot) comes again after a pause. */
#include <string.h>

#include "repl/core.h"

#define BACKOFF_FIRST_MS 25
#define STALL_SHIFT_MAX 3
#define STALL_PLAIN 2 /* silences in a row that chance explains: only from then on is the wait doubled */

void core_link_init(struct repl_core *core)
{
    for (unsigned p = 0; p < core->c.peers; p++) {
        struct link *l = &core->link[p];
        l->inbound_ms = l->dial_ms = l->refused_ms = l->moved_ms = INT64_MIN / 2;
        l->retry_ms = l->belied_ms = INT64_MIN / 2;
        l->pull_slot = NONE;
        l->most = REPL_BATCH_OPS;
    }
}

bool core_link_met(const struct link *l)
{
    return l->state == REPL_CHECKING || l->state == REPL_UP || l->state == REPL_SUSPECT;
}

bool core_link_counts(const struct link *l)
{
    return l->state == REPL_UP || l->state == REPL_SUSPECT;
}

bool core_link_may(const struct link *l)
{
    return !l->certain && l->barred == REPL_DOWN && l->state != REPL_SELF;
}

static int64_t stall_limit(const struct repl_core *core, const struct link *l)
{
    unsigned times = l->state == REPL_HELLO ? l->mute : l->silent;
    unsigned shift = times > STALL_PLAIN ? times - STALL_PLAIN : 0;
    int64_t ms = 8 * l->rtt_us / 1000;
    if (ms < core->c.stall_ms) ms = core->c.stall_ms;
    ms <<= shift < STALL_SHIFT_MAX ? shift : STALL_SHIFT_MAX;
    return ms < core->c.stall_max_ms ? ms : core->c.stall_max_ms;
}

static void set_state(struct repl_core *core, unsigned p, enum repl_link state)
{
    struct link *l = &core->link[p];
    if (l->state == state) return;
    l->state = state;
    core->judge = true;
    core_emit(core, REPL_PEER_STATE, p);
}

/* A node that is silent or gone may leave a tail that only we were sent: the others hear at once what we have. */
static void tell_others(struct repl_core *core, unsigned p)
{
    for (unsigned q = 0; q < core->c.peers; q++)
        if (q != p) core->link[q].tell_now = true;
    core->v.pull_wake = core->now_ms;
}

/* ---- down and up again --------------------------------------------------------------------------------------- */
static int64_t backoff(struct repl_core *core, struct link *l)
{
    int64_t max = (int64_t)BACKOFF_FIRST_MS << (l->tries < 8 ? l->tries : 8);
    if (max > core->c.dial_backoff_ms) max = core->c.dial_backoff_ms;
    l->tries++;
    int64_t ms = (int64_t)core_random(core, (uint64_t)max + 1);
    return core->now_ms + (ms > REDIAL_FLOOR_MS ? ms : REDIAL_FLOOR_MS);
}

static void sooner(struct repl_core *core, struct link *l, int64_t earliest)
{
    if (earliest < core->now_ms) earliest = core->now_ms;
    if (l->retry_ms > earliest) l->retry_ms = earliest;
}

/* Somebody waits and it is not settled whether this peer is there. */
static void hurry(struct repl_core *core, struct link *l)
{
    if (l->state != REPL_DOWN || l->certain || l->barred != REPL_DOWN) return;
    sooner(core, l, (l->refusals > 0 ? l->refused_ms : l->dial_ms) + core->c.refused_gap_ms);
}

void core_link_hurry(struct repl_core *core)
{
    for (unsigned p = 0; p < core->c.peers; p++) hurry(core, &core->link[p]);
}

void core_link_doubt(struct repl_core *core)
{
    for (unsigned p = 0; p < core->c.peers; p++) {
        struct link *l = &core->link[p];
        if (!l->certain) continue;
        l->certain = false;
        l->refusals = 0;
        core->judge = true;
    }
}

/* The connection, if any, is over. From here on its events are stale. */
static void leave(struct repl_core *core, unsigned p, enum repl_link state, int64_t retry_ms, bool close)
{
    struct link *l = &core->link[p];
    bool met = core_link_met(l);
    if (close) core_emit(core, REPL_CLOSE, p);
    l->gen++;
    l->batches = 0;
    l->asked = l->pinging = l->recheck = l->tell_now = l->ask_now = l->ask_whole = false;
    l->acked = l->acked_chain = 0;
    l->retry_ms = retry_ms;
    if (state == REPL_FORKED || state == REPL_REFUSED || state == REPL_TWIN) l->barred = state;
    set_state(core, p, state);
    if (!met) return;
    core_vector_clear(core, p);
    tell_others(core, p);
    for (unsigned q = 0; q < core->c.peers; q++) {
        struct link *twin = &core->link[q];
        if (twin->state == REPL_TWIN && twin->node == l->node && q != p) sooner(core, twin, 0);
    }
}

static void dial(struct repl_core *core, unsigned p)
{
    struct link *l = &core->link[p];
    l->gen++;
    l->dials++;
    l->dial_ms = core->now_ms;
    core_emit(core, REPL_DIAL, p);
    set_state(core, p, REPL_DIALING);
}

static void dial_failed(struct repl_core *core, unsigned p, bool refused, bool close)
{
    struct link *l = &core->link[p];
    if (!refused) {
        l->refusals = 0;
        l->certain = false;
    } else if (l->refusals == 0) {
        l->refusals = 1;
        l->refused_ms = core->now_ms;
    } else if (core->now_ms - l->refused_ms >= core->c.refused_gap_ms) {
        l->certain = !MUTANT(NEVER_CERTAIN);
    }
    leave(core, p, REPL_DOWN, backoff(core, l), close);
    if (core->t.used > 0) hurry(core, l);
}

/* Given up for being silent: a new connection at once, since only the old one may be broken. A path that loses some of
 * what it carries must not be taken for a slow one, or the waits outgrow the client's: a hello that is answered says
 * that the path is quick, and what a batch was for may have arrived although its answer did not. */
static void stalled(struct repl_core *core, unsigned p)
{
    struct link *l = &core->link[p];
    l->stalls++;
    if (l->state == REPL_HELLO) {
        l->mute++;
    } else if (l->batches > 0) {
        l->silent++;
        l->silent_pos = l->acked;
        l->most = l->most > 4 ? l->most / 4 : 1; /* it may have been too much for the path */
    }
    leave(core, p, REPL_DOWN, core->now_ms, true);
}

static void lost(struct repl_core *core, unsigned p)
{
    struct link *l = &core->link[p];
    bool at_once = core_link_met(l) && l->tries == 0;
    int64_t retry = backoff(core, l);
    leave(core, p, REPL_DOWN, at_once ? core->now_ms : retry, false);
}

void core_link_fork(struct repl_core *core, unsigned p, const struct repl_entry *entry)
{
    core_emit(core, REPL_ALARM_FORK, p)->entry = *entry;
    leave(core, p, REPL_FORKED, core->now_ms + REDIAL_SLOW_MS, true);
}

/* ---- hello --------------------------------------------------------------------------------------------------- */
static void progress(struct repl_core *core, unsigned p)
{
    struct link *l = &core->link[p];
    l->progress_ms = l->last_ok_ms = core->now_ms;
    if (l->state == REPL_SUSPECT) set_state(core, p, REPL_UP);
}

/* Its position is on our chain: from here it counts, and sending goes on behind it. */
static void settle(struct repl_core *core, unsigned p, uint64_t pos, uint64_t chain)
{
    struct link *l = &core->link[p];
    l->barred = REPL_DOWN;
    l->recheck = false;
    if (pos > l->silent_pos) l->silent = 0;
    set_state(core, p, REPL_UP);
    l->acked = pos;
    l->acked_chain = chain;
    l->next = pos + 1;
    l->starved_ms = core->now_ms;
    l->starving = false;
    for (unsigned i = 0; i < l->batches; i++) l->batch[i].overtaken = true;
    core_tracker_rebase(core, p, pos);
}

static void check(struct repl_core *core, unsigned p, uint64_t pos, uint64_t chain)
{
    struct link *l = &core->link[p];
    l->check_pos = pos;
    l->check_chain = chain;
    l->recheck = false;
    set_state(core, p, REPL_CHECKING);
    struct repl_effect *f = core_emit(core, REPL_CHECK_CHAIN, p);
    f->entry = *core_own(core);
    f->entry.pos = pos;
    f->entry.chain = chain;
}

enum verdict { OURS, UNKNOWN, FORK };

/* Is (pos, chain) on our chain, as far as we can tell without the log? */
static enum verdict known(struct repl_core *core, const struct link *l, const struct batch *answered, uint64_t pos,
                          uint64_t chain)
{
    const struct repl_entry *own = core_own(core), *end = &core->offered;
    if (pos > end->pos) return FORK;
    if (pos == end->pos) return chain == end->chain ? OURS : FORK;
    if (pos == own->pos) return chain == own->chain ? OURS : FORK;
    if (pos == 0) return chain == 0 ? OURS : FORK;
    if (answered != NULL && pos == answered->last) return chain == answered->chain ? OURS : FORK;
    for (unsigned i = 0; i < l->batches; i++)
        if (pos == l->batch[i].last) return chain == l->batch[i].chain ? OURS : FORK;
    if (core_link_counts(l) && pos == l->acked) return chain == l->acked_chain ? OURS : FORK;
    return UNKNOWN;
}

/* The peer's own word on its position in our stream. Returns whether the position may be used now. */
static bool believe(struct repl_core *core, unsigned p, const struct batch *answered, uint64_t pos, uint64_t chain)
{
    struct repl_entry told = *core_own(core);
    told.pos = pos;
    told.chain = chain;
    switch (known(core, &core->link[p], answered, pos, chain)) {
    case OURS: return true;
    case FORK: core_link_fork(core, p, &told); return false;
    case UNKNOWN: check(core, p, pos, chain); return false;
    }
    return false;
}

/* Our node id, said by somebody: a URL of our own. One said by two URLs counts once. False: this link is no peer. */
static bool identify(struct repl_core *core, unsigned p, uint64_t node, uint64_t live)
{
    struct link *l = &core->link[p];
    if (node == core->c.node && !MUTANT(SELF_COUNTS)) {
        bool self = live == 0 || live == core_own(core)->stream;
        l->node = node;
        /* another life of this id (a copied file): one of both takes another id */
        leave(core, p, self ? REPL_SELF : REPL_TWIN, self ? NEVER : core->now_ms + REDIAL_SLOW_MS, true);
        return false;
    }
    for (unsigned q = 0; q < core->c.peers; q++) {
        struct link *other = &core->link[q];
        if (q == p || other->node != node || other->original || other->state == REPL_TWIN) continue;
        if (MUTANT(TWIN_COUNTS)) continue;
        if (core_link_met(other)) {
            l->node = node;
            leave(core, p, REPL_TWIN, core->now_ms + REDIAL_SLOW_MS, true);
            return false;
        }
        other->node = 0; /* this URL speaks for the node now */
        core_tracker_moved(core, q);
    }
    return true;
}

/* Behind this URL is another node now (its disk is new). What the former one said by other URLs is no disk any more. */
static void forget_former(struct repl_core *core, unsigned p, uint64_t node)
{
    uint64_t former = core->link[p].node;
    if (former == 0 || former == node) return;
    for (unsigned q = 0; q < core->c.peers; q++) {
        struct link *other = &core->link[q];
        if (q == p || other->node != former || core_link_met(other)) continue;
        other->node = 0;
        core_tracker_moved(core, q);
    }
}

/* Our log begins behind what it has: it gets the rest as rows from whomever, and says so when asked. */
void core_link_told(struct repl_core *core, unsigned p, const struct repl_entry *own)
{
    struct link *l = &core->link[p];
    if (!core_link_counts(l) || !l->starving || l->asked || l->batches > 0 || own->pos <= l->acked) return;
    if (believe(core, p, NULL, own->pos, own->chain)) settle(core, p, own->pos, own->chain);
}

static void on_hello(struct repl_core *core, unsigned p, const struct repl_event *e)
{
    struct link *l = &core->link[p];
    if (l->state != REPL_HELLO) return;
    forget_former(core, p, e->node);
    if (!identify(core, p, e->node, e->live)) return;
    if (l->barred == REPL_TWIN) l->barred = REPL_DOWN; /* it speaks for its node now */
    l->original = false;
    l->relaxed = e->relaxed;
    l->mute = 0;
    l->node = e->node;
    l->live = e->live;
    l->whole_ms = l->vector_ms = core->now_ms;
    l->tell_now = l->ask_now = core->t.foreign > 0;
    l->ask_whole = core->missed_ms >= l->hello_ms;
    progress(core, p);
    core_vector_told(core, p, e, true); /* may find a fork */
    if (l->state != REPL_HELLO) return;
    if (believe(core, p, NULL, e->entry.pos, e->entry.chain)) settle(core, p, e->entry.pos, e->entry.chain);
}

/* How far our stream may be sent to it. An original's answer counts for the write that waits for it, and none does
 * before our own disk has it; nor could it give back what we then lost. */
static uint64_t sendable(struct repl_core *core, const struct link *l)
{
    return l->original ? core_own(core)->pos : core->offered.pos;
}

/* A node of the original has no positions: what was acknowledged stays so, sending goes on where we left it. */
static void on_original(struct repl_core *core, unsigned p, const struct repl_event *e)
{
    struct link *l = &core->link[p];
    if (l->state != REPL_HELLO) return;
    if (!l->original) core_tracker_moved(core, p);
    l->original = true;
    l->node = e->node;
    l->live = 0;
    l->barred = REPL_DOWN;
    l->acked = e->entry.pos < sendable(core, l) ? e->entry.pos : sendable(core, l);
    l->next = l->acked + 1;
    l->starved_ms = core->now_ms;
    progress(core, p);
    set_state(core, p, REPL_UP);
}

static void on_checked(struct repl_core *core, unsigned p, const struct repl_event *e)
{
    struct link *l = &core->link[p];
    if (l->state != REPL_CHECKING) return;
    if (!e->ok) {
        struct repl_entry told = *core_own(core);
        told.pos = l->check_pos;
        told.chain = l->check_chain;
        core_link_fork(core, p, &told);
    } else if (!l->recheck || believe(core, p, NULL, l->check_pos, l->check_chain)) {
        settle(core, p, l->check_pos, l->check_chain);
    }
}

/* ---- batches ------------------------------------------------------------------------------------------------- */
void core_link_pump(struct repl_core *core, unsigned p)
{
    struct link *l = &core->link[p];
    if (l->state != REPL_UP || l->asked || l->batches == REPL_WINDOW) return;
    uint64_t end = sendable(core, l);
    if (l->next > end || l->starved_ms > core->now_ms) return;
    /* A peer's disk takes one batch after the other: few ops more arrive as well with those that come meanwhile. */
    if (l->batches > 0 && end - l->next + 1 < core->c.second_ops) return;
    l->asked = true;
    struct repl_effect *f = core_emit(core, REPL_SEND_OPS, p);
    f->entry = *core_own(core);
    f->first = l->next;
    uint64_t left = end - l->next + 1;
    uint64_t most = l->original ? 1 : l->most;
    f->count = (unsigned)(left < most ? left : most);
}

static void on_sent(struct repl_core *core, unsigned p, const struct repl_event *e)
{
    struct link *l = &core->link[p];
    if (!l->asked) return;
    l->asked = false;
    l->starving = e->entry.pos < e->first;
    if (l->starving) {
        l->starved_ms = core->now_ms + STARVED_MS;
        return;
    }
    CHECK(l->batches < REPL_WINDOW);
    if (l->batches == 0 && !l->pinging) l->progress_ms = core->now_ms;
    struct batch *b = &l->batch[l->batches++];
    *b = (struct batch){ .first = e->first, .last = e->entry.pos, .chain = e->entry.chain, .sent_ms = core->now_ms };
    b->overtaken = !core_link_counts(l) || e->first != l->next;
    if (!b->overtaken) l->next = b->last + 1;
    if (MUTANT(CURSOR_ON_SEND)) core_tracker_reach(core, p, l->acked, b->last);
}

static void sample_rtt(struct repl_core *core, struct link *l, int64_t sent_ms)
{
    int64_t us = (core->now_ms - sent_ms) * 1000;
    l->rtt_us = l->rtt_us == 0 ? us : (7 * l->rtt_us + us) / 8;
}

static void ack_original(struct repl_core *core, unsigned p, const struct batch *b, const struct repl_event *e)
{
    struct link *l = &core->link[p];
    if (e->entry.pos != b->last) { /* not taken: once more, later */
        if (!b->overtaken) {
            l->next = b->first;
            l->starved_ms = core->now_ms + STARVED_MS;
            for (unsigned i = 0; i < l->batches; i++) l->batch[i].overtaken = true;
        }
        return;
    }
    if (b->last > l->acked) {
        l->acked = b->last;
        l->moved_ms = core->now_ms;
    }
    if (e->counts) core_tracker_exact(core, p, b->last);
}

static void on_ack(struct repl_core *core, unsigned p, const struct repl_event *e)
{
    struct link *l = &core->link[p];
    if (!core_link_met(l) || l->batches == 0) return;
    struct batch b = l->batch[0];
    l->batches--;
    memmove(l->batch, l->batch + 1, l->batches * sizeof(b));
    sample_rtt(core, l, b.sent_ms);
    l->silent = 0;
    l->most = l->most < REPL_BATCH_OPS / 2 ? 2 * l->most : REPL_BATCH_OPS;
    l->tries = 0;
    progress(core, p);
    if (l->original) {
        ack_original(core, p, &b, e);
        return;
    }
    uint64_t pos = e->entry.pos, chain = e->entry.chain;
    if (l->state == REPL_CHECKING) { /* the newer word is looked at after the older one */
        l->recheck = l->recheck || pos != l->check_pos || chain != l->check_chain;
        l->check_pos = pos;
        l->check_chain = chain;
        return;
    }
    if (!believe(core, p, &b, pos, chain)) return;
    if (pos < l->acked) { /* it lost what it had: nothing it said before counts */
        settle(core, p, pos, chain);
        return;
    }
    uint64_t from = l->acked;
    l->acked = pos;
    l->acked_chain = chain;
    for (unsigned q = 0; MUTANT(HEARSAY) && q < core->c.peers; q++) core_tracker_reach(core, q, from, pos);
    if (pos > from) l->moved_ms = core->now_ms;
    if (pos > from) core_tracker_reach(core, p, from, pos);
    if (pos > from) l->untaken = 0;
    if (pos >= l->next) l->next = pos + 1;
    bool more = l->asked; /* does a batch sent after the last rewind still travel? */
    for (unsigned i = 0; i < l->batches; i++) more = more || !l->batch[i].overtaken;
    if ((!b.overtaken && pos < b.last) || (b.overtaken && !more)) {
        bool fits = !b.overtaken && pos + 1 == b.first;
        if (fits && l->untaken++ > 0) l->starved_ms = core->now_ms + STARVED_MS; /* once may be torn bytes */
        l->next = pos + 1;
        for (unsigned i = 0; i < l->batches; i++) l->batch[i].overtaken = true;
    }
}

static void on_pong(struct repl_core *core, unsigned p, const struct repl_event *e)
{
    struct link *l = &core->link[p];
    if (!core_link_met(l) || !l->pinging) return;
    l->pinging = false;
    l->tries = 0;
    if (l->batches == 0) sample_rtt(core, l, l->vector_ms);
    progress(core, p);
    core_vector_told(core, p, e, true);
}

/* ---- events and time ----------------------------------------------------------------------------------------- */
void core_link_event(struct repl_core *core, const struct repl_event *e)
{
    CHECK(e->peer < core->c.peers);
    unsigned p = e->peer;
    struct link *l = &core->link[p];
    if (e->gen != l->gen) return;
    switch (e->type) {
    case REPL_CONNECTED:
        if (l->state != REPL_DIALING) return;
        l->certain = false;
        l->refusals = 0;
        l->progress_ms = l->hello_ms = core->now_ms;
        l->told = core->v.version;
        set_state(core, p, REPL_HELLO);
        core_emit(core, REPL_SEND_HELLO, p);
        return;
    case REPL_CONNECT_FAILED:
        if (l->state == REPL_DIALING) dial_failed(core, p, e->refused, false);
        return;
    case REPL_CLOSED:
        if (l->state == REPL_DIALING)
            dial_failed(core, p, false, false);
        else if (l->state == REPL_HELLO || core_link_met(l))
            lost(core, p);
        return;
    case REPL_HELLO_OK: on_hello(core, p, e); return;
    case REPL_HELLO_ORIGINAL: on_original(core, p, e); return;
    case REPL_HELLO_REFUSED:
        if (l->state == REPL_HELLO || core_link_met(l))
            leave(core, p, REPL_REFUSED, core->now_ms + REDIAL_SLOW_MS, true);
        return;
    case REPL_CHECKED: on_checked(core, p, e); return;
    case REPL_SENT: on_sent(core, p, e); return;
    case REPL_ACK: on_ack(core, p, e); return;
    case REPL_HAS:
        if (l->original && core_link_met(l)) core_tracker_has(core, p, &e->entry);
        return;
    case REPL_PONG: on_pong(core, p, e); return;
    case REPL_BUSY:
        if (core_link_met(l)) progress(core, p);
        return;
    default: WRONG("not an event of a link");
    }
}

void core_link_inbound(struct repl_core *core, const struct repl_event *e)
{
    for (unsigned p = 0; p < core->c.peers; p++) {
        struct link *l = &core->link[p];
        if (l->state == REPL_SELF || (l->node != e->node && l->node != 0)) continue;
        if (l->node == e->node && !l->original) {
            l->inbound_ms = core->now_ms;
            if (e->entry.stream != 0) l->live = e->entry.stream;
        }
        if (l->state != REPL_DOWN) continue;
        if (l->certain &&
            l->node == e->node) { /* it lives: what its port said is old news, one more refusal settles it */
            l->certain = false;
            core->judge = true;
        }
        sooner(core, l, l->dial_ms + core->c.refused_gap_ms);
    }
}

static bool idle(const struct link *l)
{
    return l->batches == 0 && !l->asked;
}

static int64_t vector_due(const struct repl_core *core, const struct link *l)
{
    if (l->original || l->pinging || !core_link_counts(l)) return NEVER;
    bool news = core_vector_news(core, l);
    if (l->ask_whole || (l->tell_now && news) || (l->ask_now && core->t.foreign > 0)) return core->now_ms;
    int64_t due = idle(l) ? l->progress_ms + core->c.ping_ms : NEVER;
    if (news && l->vector_ms + core->c.vector_ms < due) due = l->vector_ms + core->c.vector_ms;
    if (core->t.foreign > 0 && l->vector_ms + ASK_MS < due) due = l->vector_ms + ASK_MS;
    return due;
}

static int64_t silence_due(const struct repl_core *core, const struct link *l)
{
    if (l->batches > 0) return l->progress_ms + stall_limit(core, l);
    if (!l->pinging) return NEVER;
    return l->progress_ms + (int64_t)core->c.ping_ms * (core->c.ping_missed + (l->state == REPL_SUSPECT));
}

int64_t core_link_due(const struct repl_core *core, unsigned p)
{
    const struct link *l = &core->link[p];
    int64_t due = NEVER, other;
    switch (l->state) {
    case REPL_SELF: return NEVER;
    case REPL_DOWN:
    case REPL_FORKED:
    case REPL_REFUSED:
    case REPL_TWIN: return l->retry_ms;
    case REPL_DIALING: return l->dial_ms + core->c.dial_timeout_ms;
    case REPL_HELLO: return l->progress_ms + stall_limit(core, l);
    case REPL_CHECKING: return l->progress_ms + core->c.stall_max_ms;
    case REPL_UP:
    case REPL_SUSPECT:
        due = silence_due(core, l);
        other = vector_due(core, l);
        if (other < due) due = other;
        if (l->starved_ms > core->now_ms && l->starved_ms < due) due = l->starved_ms;
        return due;
    }
    return due;
}

static void tick_up(struct repl_core *core, unsigned p)
{
    struct link *l = &core->link[p];
    if (silence_due(core, l) <= core->now_ms) {
        if (l->batches > 0 || l->state == REPL_SUSPECT) {
            stalled(core, p);
            return;
        }
        set_state(core, p, REPL_SUSPECT);
        tell_others(core, p);
        return;
    }
    if (vector_due(core, l) > core->now_ms) return;
    bool mute = core->now_ms - l->inbound_ms >= WHOLE_MS && core->now_ms - l->whole_ms >= WHOLE_MS;
    bool whole = mute || l->ask_whole;
    if (whole) l->whole_ms = core->now_ms;
    if (idle(l)) l->progress_ms = core->now_ms;
    l->vector_ms = core->now_ms;
    l->pinging = true;
    l->ask_now = l->ask_whole = false;
    core_vector_send(core, p, whole);
    l->tell_now = l->tell_now && core_vector_news(core, l);
}

void core_link_tick(struct repl_core *core, unsigned p)
{
    const struct link *l = &core->link[p];
    if (core_link_counts(l)) {
        tick_up(core, p);
    } else if (core_link_due(core, p) <= core->now_ms) {
        if (l->state == REPL_DIALING)
            dial_failed(core, p, false, true);
        else if (l->state == REPL_HELLO || l->state == REPL_CHECKING)
            stalled(core, p);
    }
    bool resting = !core_link_met(l) && l->state != REPL_DIALING && l->state != REPL_HELLO && l->state != REPL_SELF;
    if (resting && l->retry_ms <= core->now_ms) dial(core, p);
}
