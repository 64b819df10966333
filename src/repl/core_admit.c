/* core_admit.c - whether one more write is let in. A stream is a prefix: while the peers that are needed for W are
 * behind, no new write can be acknowledged before they have all that came earlier. Were everything let in, a node whose
 * clients give up and try again would add to the lag faster than the peers take from it, and never acknowledge a write
 * again. So once the oldest op that W lack is older than half a client's patience, only so many ops may be missing
 * there as they take in that time, at the pace they have shown; that room grows again while the lag is small.
 *
 *   FREE ─lag > patience / 2─▶ SHRUNK: room = pace x patience / 2
 *   SHRUNK ─lag < patience / 4─▶ room grows by an eighth every 100 ms ─FREE_FROM─▶ FREE
 *
 * The lag is that of the fastest W - 1 peers that are up: what nobody waits for holds nobody back. A link that has
 * brought no acknowledgement of late is not slow but broken, and waited for like any other. */
#include "repl/core.h"

#define STEP_MS 100   /* between two looks */
#define MOVED_MS 3000 /* a peer that took nothing for so long does not lag, it hangs */
#define FREE_FROM (1u << 16)
#define PACE_SHARE 8 /* of a look in the pace */

void core_admit_committed(struct repl_core *core, uint64_t pos)
{
    struct admission *a = &core->a;
    int64_t step = core->c.patience_ms / ADMIT_MARKS + 1;
    if (a->marks > 0 && core->now_ms - a->mark[(a->first + a->marks - 1) % ADMIT_MARKS].ms < step) return;
    if (a->marks == ADMIT_MARKS)
        a->first = (a->first + 1) % ADMIT_MARKS;
    else
        a->marks++;
    a->mark[(a->first + a->marks - 1) % ADMIT_MARKS] = (struct admit_mark){ .pos = pos, .ms = core->now_ms };
}

/* How long ago the op behind `acked` was committed, at least. */
static int64_t age_behind(const struct repl_core *core, uint64_t acked, int64_t now_ms)
{
    const struct admission *a = &core->a;
    for (unsigned i = 0; i < a->marks; i++) {
        const struct admit_mark *m = &a->mark[(a->first + i) % ADMIT_MARKS];
        if (m->pos > acked) return now_ms - m->ms;
    }
    return 0;
}

/* Of the fastest W - 1 peers that are up, the slowest; NULL: fewer are up. */
static const struct link *slowest_needed(const struct repl_core *core)
{
    const struct link *found = NULL;
    bool taken[REPL_PEERS_MAX] = { false };
    for (unsigned n = 1; n < core->c.writes; n++) {
        unsigned best = REPL_PEERS_MAX;
        for (unsigned p = 0; p < core->c.peers; p++) {
            const struct link *l = &core->link[p];
            if (taken[p] || l->state != REPL_UP) continue;
            if (best == REPL_PEERS_MAX || l->acked > core->link[best].acked) best = p;
        }
        if (best == REPL_PEERS_MAX) return NULL;
        taken[best] = true;
        found = &core->link[best];
    }
    return found;
}

/* Both looks found it behind: what it acknowledged in between is what it can take. */
static void measure(struct admission *a, const struct link *l, int64_t since)
{
    if (a->looked_at == l && l->acked >= a->acked && since < 10 * STEP_MS) {
        uint64_t pace = (l->acked - a->acked) * 1000 / (uint64_t)since;
        a->pace = a->pace == 0 ? pace : ((PACE_SHARE - 1) * a->pace + pace) / PACE_SHARE;
    }
    a->looked_at = l;
    a->acked = l->acked;
}

static void look(struct repl_core *core, const struct link *l, int64_t now_ms, int64_t since)
{
    struct admission *a = &core->a;
    int64_t age = l == NULL ? 0 : age_behind(core, l->acked, now_ms);
    if (age > core->c.patience_ms / 4)
        measure(a, l, since);
    else
        a->looked_at = NULL;
    if (age > core->c.patience_ms / 2) {
        uint64_t room = a->pace * core->c.patience_ms / 2000;
        if (a->pace > 0) a->room = room > 0 ? room : 1;
    } else if (age <= core->c.patience_ms / 4 && a->room != SIZE_MAX) {
        for (; since >= STEP_MS && a->room < FREE_FROM; since -= STEP_MS) a->room += a->room / 8 + 1;
        if (a->room >= FREE_FROM) a->room = SIZE_MAX;
    }
}

bool repl_admits(struct repl_core *core, size_t waiting, int64_t now_ms)
{
    struct admission *a = &core->a;
    const struct link *l = slowest_needed(core);
    int64_t since = now_ms - a->looked_ms;
    if (since >= STEP_MS) {
        look(core, l, now_ms, since);
        a->looked_ms = now_ms;
    }
    if (l == NULL || now_ms - l->moved_ms >= MOVED_MS) return true;
    uint64_t lacks = core_own(core)->pos > l->acked ? core_own(core)->pos - l->acked : 0;
    return lacks < a->room && waiting <= a->room;
}

size_t repl_room(const struct repl_core *core)
{
    return core->a.room;
}
