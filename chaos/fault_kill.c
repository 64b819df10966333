/* fault_kill.c - nodes that die, pause and restart, at any moment, one, two or all of them. */
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "fault.h"

#define PATIENCE_MS 20000

static unsigned any_moment(struct cycle *c)
{
    unsigned w = c->plan.creates;
    return w > 24 ? 1 + (unsigned)world_pick(c->w, w - 24) : 1;
}

static void everywhere(struct cycle *c)
{
    c->plan.create_nodes = 7;
    c->plan.edit_nodes = 7;
    c->plan.patience_ms = PATIENCE_MS;
    c->plan.pause_ms = 5;
    c->plan.strike_acks = any_moment(c);
    c->plan.strike = cycle_strike_here;
}

/* --- kill_any, kill_two, kill_all --- */

static unsigned one_node(struct cycle *c)
{
    return 1u << world_pick(c->w, MESH_NODES);
}

static int kill_and_return(struct cycle *c, unsigned set, int64_t away_ms, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < MESH_NODES; i++)
        if (set & 1u << i) cycle_kill(c, i);
    for (int i = 0; i < MESH_NODES && rc == 0; i++)
        if (set & 1u << i) rc = node_gone(&c->mesh.node[i], 5000, err);
    if (rc == 0) rc = world_pass(c->w, away_ms, err);
    if (rc == 0) rc = cycle_restart(c, set, err);
    cycle_fault(c, "the dead are back", false, NULL);
    cycle_healed(c);
    return rc;
}

static int kill_any_run(struct cycle *c, struct err *err)
{
    int rc = cycle_burst(c, err);
    return rc ? rc : kill_and_return(c, one_node(c), (int64_t)world_pick(c->w, 600), err);
}

static int kill_two_run(struct cycle *c, struct err *err)
{
    int rc = cycle_burst(c, err);
    return rc ? rc : kill_and_return(c, 7u & ~one_node(c), (int64_t)world_pick(c->w, 600), err);
}

static int kill_all_run(struct cycle *c, struct err *err)
{
    int rc = cycle_burst(c, err);
    return rc ? rc : kill_and_return(c, 7, 0, err);
}

const struct fault_class fault_kill_any = {
    .name = "kill_any",
    .text = "SIGKILL of any node at any moment, while all three are written to; it comes back within 0.6 s and its "
            "writers go\n"
            "on where they were.",
    .expects = "about 0.95: what was under way at the killed node is not answered",
    .variant = { "SIGKILL of one" },
    .flags = FAULT_KILLS,
    .prepare = everywhere,
    .run = kill_any_run,
};

const struct fault_class fault_kill_two = {
    .name = "kill_two",
    .text = "SIGKILL of two nodes at once: the third refuses what it cannot place, keeps it, and passes it on when "
            "they are\n"
            "back.",
    .expects = "about 0.9: the third node has no quorum until they are back",
    .variant = { "SIGKILL of two" },
    .flags = FAULT_KILLS,
    .prepare = everywhere,
    .run = kill_two_run,
};

const struct fault_class fault_kill_all = {
    .name = "kill_all",
    .text = "SIGKILL of all three nodes at the same moment, in the middle of the burst: everything acknowledged must "
            "be there\n"
            "when they start again.",
    .expects = "about 0.9: what was under way is not answered",
    .variant = { "SIGKILL of all" },
    .flags = FAULT_KILLS,
    .prepare = everywhere,
    .run = kill_all_run,
};

/* --- restart_storm, rolling_restart --- */

static int storm(struct cycle *c, int signal, int turns, struct err *err)
{
    int rc = cycle_burst(c, err);
    for (int i = 0; i < turns && rc == 0; i++) {
        int n = signal == SIGKILL ? (int)world_pick(c->w, MESH_NODES) : i % MESH_NODES;
        if (signal == SIGKILL) {
            cycle_kill(c, n);
        } else {
            cycle_fault(c, "SIGTERM", true, json_pack("{s:i}", "node", n));
            node_signal(&c->mesh.node[n], signal);
        }
        rc = node_gone(&c->mesh.node[n], 20000, err);
        if (rc == 0 && signal == SIGTERM && c->mesh.node[n].exit_status != 0)
            rc = err_set(err, E_INTERNAL, "node %d ended with %lld after SIGTERM", n,
                         (long long)c->mesh.node[n].exit_status);
        if (rc == 0) rc = cycle_restart(c, 1u << n, err);
        if (rc == 0 && signal == SIGTERM) rc = mesh_linked(&c->mesh, 10000, err);
    }
    if (signal == SIGTERM) cycle_proof(c, "orderly restarts", (uint64_t)turns);
    cycle_fault(c, "restarts", false, NULL);
    cycle_healed(c);
    return rc;
}

static int storm_run(struct cycle *c, struct err *err)
{
    return storm(c, SIGKILL, 8, err);
}
static int rolling_run(struct cycle *c, struct err *err)
{
    return storm(c, SIGTERM, MESH_NODES, err);
}

static void storm_prepare(struct cycle *c)
{
    everywhere(c);
    c->plan.strike_acks = 1;
    c->plan.pause_ms = 300;
}

const struct fault_class fault_storm = {
    .name = "restart_storm",
    .text = "Eight times a node chosen by chance is killed and started again as soon as it is dead, while the others "
            "and itself\n"
            "are written to.",
    .expects = "about 0.9: every kill loses what was under way",
    .variant = { "8 kills" },
    .flags = FAULT_KILLS,
    .prepare = storm_prepare,
    .run = storm_run,
};

const struct fault_class fault_rolling = {
    .name = "rolling_restart",
    .text = "Each node in turn is asked to end (SIGTERM) and started again, as in an upgrade: it must end orderly, and "
            "nothing\n"
            "may be lost.",
    .expects = "about 1: a node that is asked to end answers first",
    .variant = { "SIGTERM, one after the other" },
    .flags = FAULT_KILLS,
    .prepare = storm_prepare,
    .run = rolling_run,
};

/* --- pause_any --- */

static int pause_run(struct cycle *c, struct err *err)
{
    static const int64_t length_ms[] = { 200, 1000, 4500 };
    int n = (int)world_pick(c->w, MESH_NODES);
    struct node *node = &c->mesh.node[n];
    int rc = cycle_burst(c, err);
    if (rc != 0) return rc;
    cycle_fault(c, "SIGSTOP", true, json_pack("{s:i}", "node", n));
    rc = node_pause(node, err);
    if (rc == 0) cycle_proof(c, "seen stopped", 1);
    if (rc == 0) rc = world_pass(c->w, length_ms[c->variant % 3], err);
    node_resume(node);
    cycle_fault(c, "SIGSTOP", false, NULL);
    cycle_healed(c);
    return rc;
}

const struct fault_class fault_pause = {
    .name = "pause_any",
    .text = "SIGSTOP of any node for 0.2, 1 or 4.5 s (longer than the quorum's time-out), while all three are written "
            "to: its\n"
            "late answers must not count for more than they are.",
    .expects = "1 while the pause is shorter than the quorum's time-out; then a write of each of its clients is late",
    .variant = { "0.2 s", "1 s", "4.5 s" },
    .flags = FAULT_KILLS,
    .prepare = everywhere,
    .run = pause_run,
};
