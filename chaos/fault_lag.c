/* fault_lag.c - nodes that are behind: by more than the log holds, or by more than a slow link carries. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "fault.h"
#include "proxy.h"

static int status_of(struct cycle *c, int node, struct reply *ret, struct err *err)
{
    int rc = node_ask(&c->mesh.node[node], "GET", "/api/v1/sync/status", NULL, 5000, ret, err);
    if (rc == 0 && ret->status != 200)
        rc = err_set(err, E_PROTOCOL, "node %d: sync/status answered %d", node, ret->status);
    return rc;
}

/* --- split_past_log --- */

#define LOG_OPS "24"    /* what is kept of one writer's changes for a node that is away */
#define TRIMMED_MS 4500 /* the upkeep of the log comes every 2 s */
#define SNAPSHOT_MS 20000
#define APART_TIMEOUT_MS 400 /* all apart, every write is refused: it must not take long */

static void past_prepare(struct cycle *c)
{
    c->mesh.o.extra[0] = "--log-ops-max";
    c->mesh.o.extra[1] = LOG_OPS;
    c->mesh.o.extra[2] = NULL;
    if (c->variant == 1) c->mesh.o.timeout_ms = APART_TIMEOUT_MS;
    c->plan.create_nodes = 7;
    c->plan.creators = 9;
    c->plan.creates = c->o->writes * 3;
    c->plan.editors = 6;
    c->plan.edits = c->o->writes / 2;
    c->plan.pause_ms = 60;
    c->plan.strike = cycle_strike_here;
}

/* Snapshots merged by any node so far. */
static int snapshots(struct cycle *c, int64_t *ret, struct err *err)
{
    *ret = 0;
    for (int i = 0; i < MESH_NODES; i++) {
        struct reply r = { 0 };
        int rc = status_of(c, i, &r, err);
        if (rc == 0) *ret += json_integer_value(json_object_get(r.json, "snapshots"));
        reply_release(&r);
        if (rc != 0) return rc;
    }
    return 0;
}

static int await_snapshot(struct cycle *c, int64_t before, struct err *err)
{
    int64_t now = before, until = clock_mono_ms() + SNAPSHOT_MS;
    int rc = 0;
    while (rc == 0 && now <= before && clock_mono_ms() < until) {
        rc = snapshots(c, &now, err);
        if (rc == 0 && now <= before) rc = world_pass(c->w, 20, err);
    }
    cycle_proof(c, "snapshots merged", (uint64_t)(now - before));
    return rc;
}

/* What those that wrote still have in memory would spare the snapshot. */
static int start_anew(struct cycle *c, unsigned set, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < MESH_NODES; i++)
        if (set & 1u << i) node_signal(&c->mesh.node[i], SIGTERM);
    for (int i = 0; i < MESH_NODES && rc == 0; i++)
        if (set & 1u << i) rc = node_gone(&c->mesh.node[i], 20000, err);
    return rc == 0 ? cycle_restart(c, set, err) : rc;
}

static int past_run(struct cycle *c, struct err *err)
{
    unsigned alone = (unsigned)world_pick(c->w, MESH_NODES), cut[MESH_NODES];
    int64_t before = 0;
    uint64_t held = 0;
    char what[48];
    for (unsigned n = 0; n < MESH_NODES; n++) cut[n] = n == alone || c->variant == 1 ? 7u & ~(1u << n) : 1u << alone;
    snprintf(what, sizeof what, c->variant == 1 ? "all three apart" : "node %u is alone", alone);
    int rc = cycle_burst(c, err);
    if (rc != 0) return rc;
    cycle_fault(c, what, true, NULL);
    rc = cut_begin(&c->cut, &c->mesh, c->o->cut, cut, err);
    if (rc == 0) rc = cycle_burst_over(c, err);
    if (rc == 0) rc = world_pass(c->w, TRIMMED_MS, err);
    if (rc == 0) rc = start_anew(c, c->variant == 1 ? 7u : 7u & ~(1u << alone), err);
    if (rc == 0) rc = snapshots(c, &before, err);
    if (rc == 0) rc = cut_end(&c->cut, &held, err);
    cycle_fault(c, what, false, NULL);
    cycle_proof(c, "held back or dropped", held);
    cycle_healed(c);
    return rc == 0 ? await_snapshot(c, before, err) : rc;
}

const struct fault_class fault_past_log = {
    .name = "split_past_log",
    .text =
        "One node is alone, or all three are, until more was written than the logs keep (24 changes of a writer), "
        "and the writers\n"
        "start anew: what is missing comes as a snapshot. What only the late node has stays, what was deleted stays "
        "gone.",
    .expects = "about 0.9 with one alone; next to nothing with all three apart",
    .variant = { "one against two", "all apart" },
    .flags = FAULT_CUTS | FAULT_KILLS,
    .prepare = past_prepare,
    .run = past_run,
};

/* --- lagging_peers --- */

#define PATIENCE_MS 400 /* the quorum's time-out: short, so that clients try again soon */
#define AWAY_MS 2500
#define LINE_BYTES 40 /* a millisecond: less than what clients would write, were they all let in */
#define CAUGHT_UP_MS 40000
#define CAUGHT_UP_OPS 20

static void lag_prepare(struct cycle *c)
{
    c->mesh.o.timeout_ms = PATIENCE_MS;
    c->plan.creators = 28;
    c->plan.creates = c->o->writes * 120; /* more than there is time for */
    c->plan.editors = c->plan.edits = c->plan.deletes = 0;
    c->plan.pause_ms = 200;
    c->plan.strike = cycle_strike_here;
}

/* What the peer of node 0 that has most still lacks. */
static int lag_of(struct cycle *c, int64_t *ret, struct err *err)
{
    struct reply r = { 0 };
    const json_t *peer;
    size_t i;
    int rc = status_of(c, 0, &r, err);
    *ret = -1;
    json_array_foreach (json_object_get(r.json, "peers"), i, peer) {
        int64_t lag = json_integer_value(json_object_get(peer, "lag"));
        if (*ret < 0 || lag < *ret) *ret = lag;
    }
    reply_release(&r);
    return rc;
}

static void thin_lines(struct cycle *c, const struct proxy_fault *f)
{
    for (int i = 1; i < MESH_NODES; i++) {
        proxy_fault_set(c->mesh.link[0][i], PROXY_THERE, f);
        proxy_fault_set(c->mesh.link[i][0], PROXY_BACK, f); /* they ask for what they lack, too */
    }
}

static int catch_up(struct cycle *c, struct err *err)
{
    int64_t lag = 0, most = 0, until = clock_mono_ms() + CAUGHT_UP_MS;
    unsigned refused = c->load.create.refused;
    int rc = lag_of(c, &most, err);
    for (lag = most; rc == 0 && lag > CAUGHT_UP_OPS && clock_mono_ms() < until;) {
        rc = world_pass(c->w, 50, err);
        if (rc == 0) rc = lag_of(c, &lag, err);
    }
    cycle_proof(c, "changes missing when the line came back", (uint64_t)most);
    cycle_proof(c, "caught up while being written to", lag <= CAUGHT_UP_OPS && !load_done(&c->load));
    cycle_proof(c, "writes not let in meanwhile", c->load.create.refused - refused);
    return rc;
}

static int lag_run(struct cycle *c, struct err *err)
{
    static const unsigned cut[MESH_NODES] = { 6, 1, 1 };
    static const struct proxy_fault thin = { .dribble = LINE_BYTES };
    uint64_t held = 0;
    int rc = cycle_burst(c, err);
    if (rc != 0) return rc;
    cycle_fault(c, "node 0 is alone, then on thin lines", true, NULL);
    rc = cut_begin(&c->cut, &c->mesh, CUT_PROXY, cut, err);
    if (rc == 0) rc = world_pass(c->w, AWAY_MS, err);
    thin_lines(c, &thin);
    if (rc == 0) rc = cut_end(&c->cut, &held, err);
    thin_lines(c, &thin);
    if (rc == 0) rc = catch_up(c, err);
    load_halt(&c->load);
    c->plan.creates = c->load.plan.creates = c->load.create.issued;
    if (rc == 0) rc = cycle_burst_over(c, err);
    thin_lines(c, NULL);
    cycle_fault(c, "node 0 is alone, then on thin lines", false, NULL);
    cycle_healed(c);
    return rc;
}

const struct fault_class fault_lagging = {
    .name = "lagging_peers",
    .text = "Node 0 is cut off for 2.5 s while 28 clients give up after 0.4 s and try again; then its lines carry less "
            "than they would\n"
            "write: it must let in so little that its peers catch up while the clients go on (most are refused, "
            "without effect).",
    .expects = "next to nothing: refusing is what is asked of it here",
    .variant = { "40 bytes a millisecond" },
    .flags = FAULT_KILLS,
    .prepare = lag_prepare,
    .run = lag_run,
};
