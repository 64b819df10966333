/* fault_disk.c - disks that are full, fail to sync, tear a write, or lose their power. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "fault.h"
#include "shim.h"

static struct shim_page *page[MESH_NODES]; /* of the present cycle */

static void attach(struct cycle *c, uint32_t mode)
{
    for (int i = 0; i < MESH_NODES; i++) {
        disk_unmap(page[i]);
        page[i] = NULL;
        if (disk_attach(&c->mesh.node[i], c->o->shim, &page[i], &c->strike_err) != 0) return;
        disk_mode(page[i], mode);
    }
}

static void prepare(struct cycle *c)
{
    attach(c, 0);
    c->plan.create_nodes = 7;
    c->plan.patience_ms = 20000;
    c->plan.pause_ms = 20;
    c->plan.strike = cycle_strike_here;
}

static void power_prepare(struct cycle *c)
{
    prepare(c);
    uint32_t lies = getenv("CHAOS_LYING_DISK") ? SHIM_LIES : 0;
    for (int i = 0; i < MESH_NODES; i++)
        if (page[i]) disk_mode(page[i], SHIM_UNDOES | lies);
}

static int strike(struct cycle *c, int node, const char *what, uint32_t mode, struct err *err)
{
    if (atomic_load(&page[node]->magic) != SHIM_MAGIC)
        return err_set(err, E_INTERNAL, "the preload library is not in node %d", node);
    cycle_fault(c, what, true, json_pack("{s:i}", "node", node));
    disk_mode(page[node], mode);
    return 0;
}

/* --- disk_full --- */

static int full_run(struct cycle *c, struct err *err)
{
    int n = c->variant == 0 ? 0 : 1 + (int)world_pick(c->w, 2);
    struct reply r = { 0 };
    int rc = cycle_burst(c, err);
    if (rc == 0) rc = strike(c, n, "disk full", SHIM_FULL, err);
    if (rc == 0) rc = world_pass(c->w, 700, err);
    if (rc == 0) rc = node_ask(&c->mesh.node[n], "GET", "/api/v1/memories?limit=5", NULL, 5000, &r, err);
    if (rc == 0) cycle_proof(c, "reads served while the disk is full", r.status == 200);
    reply_release(&r);
    if (rc != 0) return rc;
    disk_mode(page[n], 0);
    cycle_fault(c, "disk full", false, NULL);
    cycle_proof(c, "writes refused for lack of room", atomic_load(&page[n]->refused));
    cycle_healed(c);
    if (!c->mesh.node[n].running) return err_set(err, E_INTERNAL, "node %d ended because its disk was full", n);
    return 0;
}

const struct fault_class fault_disk_full = {
    .name = "disk_full",
    .text = "No file of one node can grow for 0.7 s (of the first node, or of another): writes there are refused, "
            "reads are served,\n"
            "and it goes on without a restart.",
    .expects = "about 0.6: the full node refuses for 0.7 s, and at once",
    .variant = { "node 0", "another" },
    .flags = FAULT_KILLS | FAULT_SHIM,
    .prepare = prepare,
    .run = full_run,
};

/* --- small_disk_full --- */

#define SMALL_MIB 12
#define FULL_MS 900

static void place(const struct cycle *c, int n, char ret[WORLD_PATH])
{
    snprintf(ret, WORLD_PATH, "%.900s/disk%d", c->mesh.dir, n);
}

static void small_prepare(struct cycle *c)
{
    for (int i = 0; i < MESH_NODES; i++) {
        char dir[WORLD_PATH];
        place(c, i, dir);
        if (disk_mount(dir, SMALL_MIB, &c->strike_err) != 0) return;
        snprintf(c->mesh.node[i].db, sizeof c->mesh.node[i].db, "%.900s/n%d.db", dir, i);
    }
    c->plan.create_nodes = c->variant == 0 ? 1 : 7;
    c->plan.patience_ms = 20000;
    c->plan.pause_ms = 40;
    c->plan.strike = cycle_strike_here;
}

static void small_finish(struct cycle *c)
{
    for (int i = 0; i < MESH_NODES; i++) {
        char dir[WORLD_PATH];
        place(c, i, dir);
        disk_unmount(dir);
    }
}

/* Writes to the full node until it refuses one for lack of room; then it must still serve reads. */
static int refused_there(struct cycle *c, int n, struct err *err)
{
    int status = 0, rc = 0;
    for (int i = 0; i < 100 && rc == 0 && status != 503; i++) rc = cycle_write(c, n, &status, NULL, err);
    cycle_proof(c, "writes refused for lack of room", status == 503);
    struct reply r = { 0 };
    if (rc == 0) rc = node_ask(&c->mesh.node[n], "GET", "/api/v1/memories?limit=5", NULL, 5000, &r, err);
    if (rc == 0) cycle_proof(c, "reads served while the disk is full", r.status == 200);
    reply_release(&r);
    return rc;
}

static int small_run(struct cycle *c, struct err *err)
{
    int n = c->variant == 2 ? 1 + (int)world_pick(c->w, 2) : 0;
    struct node *node = &c->mesh.node[n];
    unsigned lives = node->lives;
    uint64_t bytes = 0;
    char ballast[WORLD_PATH + 16], dir[WORLD_PATH];
    place(c, n, dir);
    snprintf(ballast, sizeof ballast, "%s/ballast", dir);
    int rc = cycle_burst(c, err);
    if (rc == 0) rc = disk_fill(ballast, &bytes, err);
    if (rc != 0) return rc;
    cycle_fault(c, "disk full", true, json_pack("{s:i}", "node", n));
    cycle_proof(c, "bytes of room taken", bytes);
    rc = refused_there(c, n, err);
    if (rc == 0) rc = world_pass(c->w, FULL_MS, err);
    unlink(ballast);
    cycle_fault(c, "disk full", false, NULL);
    cycle_healed(c);
    if (rc == 0 && (!node->running || node->lives != lives))
        rc = err_set(err, E_INTERNAL, "node %d ended because its disk was full", n);
    return rc;
}

const struct fault_class fault_small_disk = {
    .name = "small_disk_full",
    .text = "Every node lives on a real file system of 12 MiB (tmpfs), and one is filled to the last byte for a "
            "second: writes there\n"
            "are refused, reads are served, and it goes on without a restart. Needs the right to mount; disk_full is "
            "its twin without.",
    .expects = "about 0.6: the full node refuses for a second, and at once",
    .variant = { "node 0, written to alone", "node 0", "another" },
    .flags = FAULT_KILLS | FAULT_MOUNTS,
    .prepare = small_prepare,
    .run = small_run,
    .finish = small_finish,
};

/* --- fsync_fails --- */

static int sync_run(struct cycle *c, struct err *err)
{
    int n = (int)world_pick(c->w, MESH_NODES);
    struct node *node = &c->mesh.node[n];
    int rc = cycle_burst(c, err);
    if (rc == 0) rc = strike(c, n, "fsync fails", SHIM_SYNC_FAILS | SHIM_UNDOES, err);
    if (rc == 0) rc = world_pass(c->w, 400, err);
    if (rc != 0) return rc;
    cycle_proof(c, "syncs failed", atomic_load(&page[n]->refused));
    if (node->running) cycle_kill(c, n);
    rc = node_gone(node, 5000, err);
    if (c->variant == 1) disk_power_cut(c->w, node, 0); /* what a failed sync leaves dirty may be dropped */
    disk_mode(page[n], 0);
    if (rc == 0) rc = cycle_restart(c, 1u << n, err);
    cycle_fault(c, "fsync fails", false, NULL);
    cycle_healed(c);
    return rc;
}

const struct fault_class fault_fsync = {
    .name = "fsync_fails",
    .text = "Every fsync of one node answers EIO: nothing may be acknowledged on the strength of it. Then the node "
            "starts again on\n"
            "a sound disk, in turn with all that was not synced gone.",
    .expects = "about 0.8: what is asked of the broken node until it is back is lost or refused",
    .variant = { "then a restart", "then a restart without what was not synced" },
    .flags = FAULT_KILLS | FAULT_SHIM | FAULT_ERRORS,
    .prepare = prepare,
    .run = sync_run,
};

/* --- torn_wal --- */

static int torn_run(struct cycle *c, struct err *err)
{
    int n = (int)world_pick(c->w, MESH_NODES);
    int rc = cycle_burst(c, err);
    if (rc == 0) rc = strike(c, n, "a write is torn", SHIM_TORN, err);
    if (rc == 0) rc = node_gone(&c->mesh.node[n], 10000, err);
    if (rc != 0) return rc;
    cycle_proof(c, "writes torn", atomic_load(&page[n]->torn));
    disk_mode(page[n], 0);
    rc = cycle_restart(c, 1u << n, err);
    cycle_fault(c, "a write is torn", false, NULL);
    cycle_healed(c);
    return rc;
}

const struct fault_class fault_torn = {
    .name = "torn_wal",
    .text = "One node dies in the middle of a write to its log, half of which is on the disk: it must start again and "
            "take up\n"
            "what it lacks from the others.",
    .expects = "about 0.97: what was under way at the dead node is not answered",
    .variant = { "half a write" },
    .flags = FAULT_KILLS | FAULT_SHIM,
    .prepare = prepare,
    .run = torn_run,
};

/* --- power_cut --- */

static int power_run(struct cycle *c, struct err *err)
{
    unsigned set = c->variant == 2 ? 1u << world_pick(c->w, MESH_NODES) : 7;
    uint64_t taken = 0;
    int rc = cycle_burst(c, err);
    if (rc != 0) return rc;
    for (int i = 0; i < MESH_NODES; i++)
        if (set & 1u << i) cycle_kill(c, i);
    for (int i = 0; i < MESH_NODES && rc == 0; i++)
        if (set & 1u << i) rc = node_gone(&c->mesh.node[i], 5000, err);
    for (int i = 0; i < MESH_NODES && rc == 0; i++)
        if (set & 1u << i) taken += disk_power_cut(c->w, &c->mesh.node[i], c->variant == 1 ? 0.5 : 0);
    cycle_fault(c, "power cut", true, json_pack("{s:I}", "writes_taken_back", (json_int_t)taken));
    uint64_t writes = 0, syncs = 0;
    for (int i = 0; i < MESH_NODES; i++) {
        writes += atomic_load(&page[i]->writes);
        syncs += atomic_load(&page[i]->syncs);
    }
    cycle_proof(c, "writes seen by the library", writes);
    cycle_proof(c, "syncs seen by the library", syncs);
    if (rc == 0) rc = cycle_restart(c, set, err);
    cycle_fault(c, "power cut", false, NULL);
    cycle_healed(c);
    return rc;
}

const struct fault_class fault_power = {
    .name = "power_cut",
    .text = "The power fails, of all nodes at once or of one: what was written and not yet synced is gone, all of it "
            "or every\n"
            "second write. SIGKILL alone would not show whether an acknowledgement came after the sync.",
    .expects = "about 0.9: what was under way is not answered",
    .variant = { "all nodes", "all nodes, half of it", "one node" },
    .flags = FAULT_KILLS | FAULT_SHIM,
    .prepare = power_prepare,
    .run = power_run,
};
