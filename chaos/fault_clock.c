/* fault_clock.c - clocks that jump and clocks that drift, while all nodes are written to and edited. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "fault.h"
#include "files.h"

#define JUMPS 10

static void edit_much(struct cycle *c)
{
    c->plan.create_nodes = 7;
    c->plan.edit_nodes = 7;
    c->plan.editors = 6;
    c->plan.edits = c->plan.creates;
    c->plan.pause_ms = 60;
    c->plan.strike_acks = 1;
    c->plan.strike_flight = 1;
    c->plan.strike = cycle_strike_here;
}

/* --- clock_jumps --- */

static void clock_file(const struct cycle *c, int n, char path[WORLD_PATH])
{
    snprintf(path, WORLD_PATH, "%.900s/n%d.clock", c->mesh.dir, n);
}

static void jumps_prepare(struct cycle *c)
{
    char library[WORLD_PATH], path[WORLD_PATH];
    edit_much(c);
    if (!fault_clock_library(library)) return;
    for (int n = 0; n < MESH_NODES; n++) {
        clock_file(c, n, path);
        file_write(path, "+0s\n", 4, &c->strike_err);
        fault_clock_set(&c->mesh.node[n], library, NULL);
        node_env(&c->mesh.node[n], "FAKETIME_TIMESTAMP_FILE=%.1000s", path);
        node_env(&c->mesh.node[n], "FAKETIME_NO_CACHE=1");
    }
}

static int jumps_run(struct cycle *c, struct err *err)
{
    int64_t furthest = 0;
    int rc = cycle_burst(c, err);
    cycle_fault(c, "clocks jump", true, NULL);
    for (int i = 0; i < JUMPS && rc == 0; i++) {
        char path[WORLD_PATH], text[32];
        int n = (int)world_pick(c->w, MESH_NODES);
        int64_t off = (int64_t)world_pick(c->w, 7200) - 3600, seen = 0;
        clock_file(c, n, path);
        snprintf(text, sizeof text, "%+llds\n", (long long)off);
        rc = file_write(path, text, strlen(text), err);
        if (rc == 0) rc = fault_clock_seen(c, n, &seen, err);
        int64_t missed = seen - off;
        if (rc == 0 && missed > -60 && missed < 60 && (off > furthest || -off > furthest))
            furthest = off > 0 ? off : -off;
        if (rc == 0) rc = world_pass(c->w, 20, err);
    }
    cycle_fault(c, "clocks jump", false, NULL);
    cycle_proof(c, "seconds jumped", (uint64_t)furthest);
    cycle_healed(c);
    return rc;
}

const struct fault_class fault_clock_jumps = {
    .name = "clock_jumps",
    .text = "Ten times the clock of a node chosen by chance jumps to anywhere within an hour before or behind the true "
            "time, while\n"
            "the same memories are edited on all three (libfaketime; the monotonic clock is left alone).",
    .variant = { "10 jumps" },
    .flags = FAULT_CLOCK,
    .prepare = jumps_prepare,
    .run = jumps_run,
};

/* --- clock_drifts --- */

static void drift_prepare(struct cycle *c)
{
    char library[WORLD_PATH];
    edit_much(c);
    if (!fault_clock_library(library)) return;
    fault_clock_set(&c->mesh.node[1], library, "+0s x20");
    fault_clock_set(&c->mesh.node[2], library, "-0s x0.1");
}

static int drift_run(struct cycle *c, struct err *err)
{
    int64_t fast = 0;
    int rc = cycle_burst(c, err);
    cycle_fault(c, "clocks drift", true, NULL);
    if (rc == 0) rc = world_pass(c->w, 1500, err);
    if (rc == 0) rc = fault_clock_seen(c, 1, &fast, err);
    if (rc != 0) return rc;
    cycle_proof(c, "seconds node 1 has gained", fast > 5 ? (uint64_t)fast : 0);
    /* What a slow node stamps is lifted by what it hears of the others: its own clock does not show from outside. */
    cycle_proof(c, "node 2 runs under libfaketime", node_maps(&c->mesh.node[2], "libfaketime"));
    cycle_healed(c);
    return 0;
}

const struct fault_class fault_clock_drifts = {
    .name = "clock_drifts",
    .text = "Node 1's clock runs twenty times too fast and node 2's ten times too slow, while the same memories are "
            "edited on all\n"
            "three.",
    .variant = { "x20 and x0.1" },
    .flags = FAULT_CLOCK,
    .prepare = drift_prepare,
    .run = drift_run,
};
