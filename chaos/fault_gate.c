/* fault_gate.c - the four classes of the ship gate. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "fault.h"
#include "proxy.h"

#define CUT_MS 500
#define SKEW_S 300

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* --- kill_primary_mid_write --- */

static void kill_strike(void *data)
{
    cycle_kill(data, 0);
}

static void kill_prepare(struct cycle *c)
{
    unsigned w = c->plan.creates;
    c->plan.creators = least(w ? w : 1, 16);
    c->plan.editors = 2;
    c->plan.edit_nodes = 6;
    c->plan.pause_ms = 0;
    c->plan.strike_flight = least(8, c->plan.creators);
    /* Anywhere in the burst, yet so early that enough writes are left to be in flight. */
    c->plan.strike_acks = w > 24 ? 1 + (unsigned)world_pick(c->w, w - 24) : 1;
    c->plan.strike = kill_strike;
}

static int kill_run(struct cycle *c, struct err *err)
{
    int rc = cycle_burst(c, err);
    if (rc == 0) rc = node_gone(&c->mesh.node[0], 5000, err);
    if (rc == 0) rc = cycle_burst_over(c, err);
    if (rc == 0) rc = cycle_stage(c, "survivors", 6, &c->survivors_ms, err);
    if (rc != 0) return rc;
    cycle_fault(c, "SIGKILL of node 0", false, NULL);
    cycle_healed(c);
    return cycle_restart(c, 1, err);
}

const struct fault_class fault_kill_primary = {
    .name = "kill_primary_mid_write",
    .text =
        "SIGKILL of the node written to, with at least 8 writes in flight. The two survivors must come to hold every\n"
        "acknowledged write while it stays dead; then it starts again and all three must agree.",
    .expects = "its writers die with their node",
    .variant = { "SIGKILL of node 0" },
    .flags = FAULT_GATE | FAULT_KILLS,
    .prepare = kill_prepare,
    .run = kill_run,
};

/* --- partition_minority --- */

enum { BOTH, OUT, IN, DIRECTIONS };
static const unsigned direction[DIRECTIONS][MESH_NODES] = { { 6, 1, 1 }, { 6, 0, 0 }, { 0, 1, 1 } };

static void cut_strike(void *data)
{
    struct cycle *c = data;
    enum cut_tool tool = c->variant < DIRECTIONS ? c->o->cut : CUT_PROXY;
    cycle_fault(c, c->class->variant[c->variant], true, json_pack("{s:i}", "in_flight", (int)c->load.flight));
    cut_begin(&c->cut, &c->mesh, tool, direction[c->variant % DIRECTIONS], &c->strike_err);
}

static void cut_prepare(struct cycle *c)
{
    c->plan.pause_ms = 40;
    c->plan.edit_nodes = 1;
    c->plan.strike = cut_strike;
}

static int cut_run(struct cycle *c, struct err *err)
{
    uint64_t held = 0;
    int rc = cycle_burst(c, err);
    if (rc == 0) rc = world_pass(c->w, CUT_MS, err);
    if (rc == 0) rc = cut_end(&c->cut, &held, err);
    if (rc != 0) return rc;
    cycle_fault(c, c->class->variant[c->variant], false, NULL);
    cycle_proof(c, c->cut.tool == CUT_IPTABLES ? "packets dropped" : "pieces held back", held);
    cycle_healed(c);
    return 0;
}

const struct fault_class fault_partition = {
    .name = "partition_minority",
    .text =
        "Node 0, which is written to, is cut off from both others for 500 ms in the middle of concurrent writes, by\n"
        "iptables and by the link proxies: both directions, only what it sends, only what it hears.",
    .variant = { "cut both ways", "cut outwards", "cut inwards", "proxy, both ways", "proxy, outwards",
                 "proxy, inwards" },
    .flags = FAULT_GATE | FAULT_CUTS,
    .prepare = cut_prepare,
    .run = cut_run,
};

/* --- drop_random_acks --- */

enum { STOP, SWALLOW, TRUNCATE };

/* Swallowing makes a link silent, so it strikes one of two, as the stopped node does; the class answers_swallowed has
 * all. */
static void acks_set(struct cycle *c, const struct proxy_fault *f)
{
    int last = c->variant == SWALLOW ? 1 : MESH_NODES - 1;
    for (int k = 1; k <= last; k++) proxy_fault_set(c->mesh.link[0][k], PROXY_BACK, f);
}

static void acks_strike(void *data)
{
    struct cycle *c = data;
    struct proxy_fault f = { .swallow = c->variant == SWALLOW ? 1.0 / 3 : 0,
                             .truncate = c->variant == TRUNCATE ? 1.0 / 3 : 0 };
    cycle_fault(c, c->class->variant[c->variant], true, json_pack("{s:i}", "in_flight", (int)c->load.flight));
    if (c->variant == STOP)
        node_signal(&c->mesh.node[1], SIGSTOP);
    else
        acks_set(c, &f);
}

static void acks_prepare(struct cycle *c)
{
    c->plan.pause_ms = 20;
    c->plan.edit_nodes = 1;
    c->plan.strike_acks = c->plan.creates / 10 ? c->plan.creates / 10 : 1;
    c->plan.strike = acks_strike;
}

static int stop_run(struct cycle *c, struct err *err)
{
    struct node *n = &c->mesh.node[1];
    int rc = cycle_burst(c, err);
    if (rc == 0) rc = node_pause(n, err); /* sees the process in state T */
    if (rc == 0) cycle_proof(c, "node 1 seen stopped", 1);
    if (rc == 0) rc = world_pass(c->w, CUT_MS, err);
    node_resume(n);
    return rc;
}

static int acks_run(struct cycle *c, struct err *err)
{
    int rc;
    if (c->variant == STOP) {
        rc = stop_run(c, err);
    } else {
        rc = cycle_burst(c, err);
        if (rc == 0) rc = cycle_burst_over(c, err);
        acks_set(c, NULL);
        uint64_t n = 0;
        for (int k = 1; k < MESH_NODES; k++) {
            const struct proxy_count *count = proxy_counts(c->mesh.link[0][k], PROXY_BACK);
            n += count->swallowed + count->truncated;
        }
        cycle_proof(c, c->variant == SWALLOW ? "answers swallowed" : "answers truncated", n);
    }
    cycle_fault(c, c->class->variant[c->variant], false, NULL);
    cycle_healed(c);
    return rc;
}

const struct fault_class fault_drop_acks = {
    .name = "drop_random_acks",
    .text = "Requests reach the peers, their answers do not: the link proxies swallow or truncate one answer in three; "
            "and in\n"
            "turn, as the older campaigns had it, SIGSTOP of node 1 for 500 ms.",
    .variant = { "SIGSTOP of node 1", "answers swallowed", "answers truncated" },
    .flags = FAULT_GATE,
    .prepare = acks_prepare,
    .run = acks_run,
};

/* --- clock_skew_peer --- */

static void skew_prepare(struct cycle *c)
{
    char library[WORLD_PATH];
    if (!fault_clock_library(library)) return; /* fault_possible has refused already */
    fault_clock_set(&c->mesh.node[1], library, "+300s");
    fault_clock_set(&c->mesh.node[2], library, "-300s");
    c->plan.editors = 6;
    c->plan.edits = c->plan.creates / 2;
    c->plan.edit_nodes = 7;
    c->plan.strike_acks = 1;
    c->plan.strike_flight = 1;
    c->plan.strike = cycle_strike_here;
}

static int skew_run(struct cycle *c, struct err *err)
{
    int64_t ahead = 0, behind = 0;
    cycle_fault(c, c->class->variant[c->variant], true, NULL);
    int rc = fault_clock_seen(c, 1, &ahead, err);
    if (rc == 0) rc = fault_clock_seen(c, 2, &behind, err);
    if (rc != 0) return rc;
    cycle_proof(c, "seconds node 1 is ahead", ahead > SKEW_S / 2 ? (uint64_t)ahead : 0);
    cycle_proof(c, "seconds node 2 is behind", behind < -SKEW_S / 2 ? (uint64_t)-behind : 0);
    rc = cycle_burst(c, err);
    if (rc == 0) rc = cycle_burst_over(c, err);
    cycle_healed(c);
    return rc;
}

const struct fault_class fault_clock_skew = {
    .name = "clock_skew_peer",
    .text = "Node 1 lives 5 minutes ahead, node 2 five minutes behind (libfaketime; the monotonic clock is left "
            "alone), while\n"
            "the same memories are edited on all three.",
    .variant = { "+300 s and -300 s" },
    .flags = FAULT_GATE | FAULT_CLOCK,
    .prepare = skew_prepare,
    .run = skew_run,
};
