/* fault_link.c - links that are cut one way, flap, crawl, swallow, double and corrupt; and long splits. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "fault.h"
#include "proxy.h"

#define WAYS(c) ((c)->class->variant[(c)->variant])

static void everybody_writes(struct cycle *c)
{
    c->plan.create_nodes = 7;
    c->plan.pause_ms = 30;
    c->plan.strike = cycle_strike_here;
}

static void all_links(struct cycle *c, enum proxy_way way, const struct proxy_fault *f)
{
    for (int i = 0; i < MESH_NODES; i++)
        for (int j = 0; j < MESH_NODES; j++)
            if (i != j) proxy_fault_set(c->mesh.link[i][j], way, f);
}

static struct proxy_count all_counts(const struct cycle *c)
{
    struct proxy_count sum = { 0 };
    for (int i = 0; i < MESH_NODES; i++)
        for (int j = 0; j < MESH_NODES; j++)
            for (int w = 0; i != j && w < PROXY_WAYS; w++) {
                const struct proxy_count *n = proxy_counts(c->mesh.link[i][j], (enum proxy_way)w);
                sum.swallowed += n->swallowed;
                sum.truncated += n->truncated;
                sum.corrupted += n->corrupted;
                sum.duplicated += n->duplicated;
                sum.delayed += n->delayed;
                sum.dribbled += n->dribbled;
            }
    return sum;
}

/* --- one_way_cut --- */

static int one_way_run(struct cycle *c, struct err *err)
{
    unsigned cut[MESH_NODES] = { 0 };
    uint64_t held = 0;
    int from = (int)world_pick(c->w, MESH_NODES);
    char what[64];
    cut[from] = c->variant == 0 ? 1u << (unsigned)((from + 1) % MESH_NODES) : 7u & ~(1u << from);
    snprintf(what, sizeof what, "cut of what node %d sends (to the set %u)", from, cut[from]);
    int rc = cycle_burst(c, err);
    if (rc != 0) return rc;
    cycle_fault(c, what, true, NULL);
    rc = cut_begin(&c->cut, &c->mesh, c->o->cut, cut, err);
    if (rc == 0) rc = world_pass(c->w, 300 + (int64_t)world_pick(c->w, 1200), err);
    if (rc == 0) rc = cut_end(&c->cut, &held, err);
    cycle_fault(c, what, false, NULL);
    cycle_proof(c, "held back or dropped", held);
    cycle_healed(c);
    return rc;
}

const struct fault_class fault_one_way = {
    .name = "one_way_cut",
    .text = "One node is heard by everybody and hears everybody, but what it sends does not arrive: at one other node "
            "or at\n"
            "both, for 0.3 to 1.5 s, while all three are written to.",
    .variant = { "towards one", "towards both" },
    .flags = FAULT_CUTS,
    .prepare = everybody_writes,
    .run = one_way_run,
};

/* --- flapping_links --- */

static int flapping_run(struct cycle *c, struct err *err)
{
    uint64_t held = 0, sum = 0;
    int rc = cycle_burst(c, err);
    cycle_fault(c, "links flap", true, NULL);
    for (int i = 0; i < 12 && rc == 0; i++) {
        unsigned cut[MESH_NODES] = { 0 }, one = 1u << world_pick(c->w, MESH_NODES);
        for (int n = 0; n < MESH_NODES; n++) cut[n] = one & 1u << n ? 7u & ~one : one;
        rc = cut_begin(&c->cut, &c->mesh, CUT_PROXY, cut, err);
        if (rc == 0) rc = world_pass(c->w, 20 + (int64_t)world_pick(c->w, 130), err);
        if (rc == 0) rc = cut_end(&c->cut, &held, err);
        if (rc == 0 && world_chance(c->w, 0.3)) proxy_reset(c->mesh.link[world_pick(c->w, 2)][2]);
        if (rc == 0) rc = world_pass(c->w, (int64_t)world_pick(c->w, 80), err);
        sum += held;
    }
    cycle_fault(c, "links flap", false, NULL);
    cycle_proof(c, "pieces held back", sum);
    cycle_healed(c);
    return rc;
}

const struct fault_class fault_flapping = {
    .name = "flapping_links",
    .text = "Twelve times in a row a node chosen by chance is cut off for 20 to 150 ms and comes back for less; some "
            "of its\n"
            "connections are reset in between.",
    .variant = { "12 flaps" },
    .flags = 0,
    .prepare = everybody_writes,
    .run = flapping_run,
};

/* --- faults of every piece, from the strike to the end of the burst --- */

static struct proxy_fault piece_fault(const struct cycle *c)
{
    const char *v = WAYS(c);
    struct proxy_fault f = { 0 };
    if (strstr(v, "late")) f = (struct proxy_fault){ .delay_ms = 30, .jitter_ms = 60 };
    if (strstr(v, "dribble")) f.dribble = 16;
    if (strstr(v, "swallowed")) f.swallow = 1.0 / 3;
    if (strstr(v, "truncated")) f.truncate = 1.0 / 3;
    if (strstr(v, "duplicated")) f.duplicate = 1.0 / 3;
    if (strstr(v, "corrupted")) f.corrupt = 0.1;
    return f;
}

static int pieces_run(struct cycle *c, struct err *err)
{
    struct proxy_fault f = piece_fault(c);
    bool there = strstr(WAYS(c), "requests") != NULL, both = strncmp(WAYS(c), "all ", 4) == 0;
    int rc = cycle_burst(c, err);
    if (rc != 0) return rc;
    cycle_fault(c, WAYS(c), true, NULL);
    if (there || both) all_links(c, PROXY_THERE, &f);
    if (!there || both) all_links(c, PROXY_BACK, &f);
    rc = cycle_burst_over(c, err);
    all_links(c, PROXY_THERE, NULL);
    all_links(c, PROXY_BACK, NULL);
    struct proxy_count n = all_counts(c);
    cycle_fault(c, WAYS(c), false, NULL);
    cycle_proof(c, WAYS(c), n.swallowed + n.truncated + n.corrupted + n.duplicated + n.delayed + n.dribbled);
    cycle_healed(c);
    return rc;
}

const struct fault_class fault_slow_links = {
    .name = "slow_links",
    .text =
        "Every piece on every link is 30 to 90 ms late, each by another time though in order; or passes at 16 bytes a\n"
        "millisecond.",
    .variant = { "all late", "all dribble" },
    .flags = 0,
    .prepare = everybody_writes,
    .run = pieces_run,
};

const struct fault_class fault_swallowed = {
    .name = "answers_swallowed",
    .text = "On every link of the mesh one answer in three is swallowed (the connection stays open and silent, as "
            "behind a\n"
            "firewall that lost its state), or one request in three, or answers are truncated. Writes may be refused.",
    .expects = "about 1: five tries a link fit into a time-out of 3 s, and all of both links must fail",
    .variant = { "answers swallowed", "requests swallowed", "answers truncated", "requests truncated" },
    .flags = FAULT_KILLS,
    .prepare = everybody_writes,
    .run = pieces_run,
};

const struct fault_class fault_duplicated = {
    .name = "messages_duplicated",
    .text =
        "One answer or one request in three arrives twice, bytes for bytes, on every link: nothing may be applied or\n"
        "counted twice.",
    .expects = "about 1: a doubled message costs a connection, which is made anew at once",
    .variant = { "answers duplicated", "requests duplicated" },
    .flags = FAULT_KILLS,
    .prepare = everybody_writes,
    .run = pieces_run,
};

const struct fault_class fault_corrupted = {
    .name = "bytes_corrupted",
    .text = "One bit of one piece in ten is turned, in answers or in requests, as by a broken middle box (TCP's own "
            "sums are\n"
            "recomputed): what is damaged must be noticed, never stored and never taken for an acknowledgement.",
    .expects = "about 1: a damaged message costs a connection, which is made anew at once",
    .variant = { "answers corrupted", "requests corrupted" },
    .flags = FAULT_KILLS,
    .prepare = everybody_writes,
    .run = pieces_run,
};

/* --- long_split --- */

#define SPLIT_MS 4500 /* longer than the quorum's time-out */

static void split_prepare(struct cycle *c)
{
    everybody_writes(c);
    c->plan.creators = 9;
    c->plan.editors = 6;
    c->plan.edits = c->plan.creates / 2;
    c->plan.strike_acks = c->plan.creates / 3 ? c->plan.creates / 3 : 1;
}

static int split_run(struct cycle *c, struct err *err)
{
    unsigned alone = (unsigned)world_pick(c->w, MESH_NODES), cut[MESH_NODES];
    uint64_t held = 0;
    char what[48];
    for (unsigned n = 0; n < MESH_NODES; n++) cut[n] = n == alone ? 7u & ~(1u << n) : 1u << alone;
    snprintf(what, sizeof what, "node %u is alone", alone);
    int rc = cycle_burst(c, err);
    if (rc != 0) return rc;
    cycle_fault(c, what, true, NULL);
    rc = cut_begin(&c->cut, &c->mesh, c->o->cut, cut, err);
    if (rc == 0) rc = world_pass(c->w, SPLIT_MS, err);
    if (rc == 0) rc = cut_end(&c->cut, &held, err);
    cycle_fault(c, what, false, NULL);
    cycle_proof(c, "held back or dropped", held);
    cycle_healed(c);
    return rc;
}

const struct fault_class fault_long_split = {
    .name = "long_split",
    .text = "One node is alone for 4.5 s, longer than the quorum's time-out, and all three are written to: its writes "
            "are refused\n"
            "as pending and yet arrive; edits of the same memories on both sides end in one outcome.",
    .expects = "about 0.95: writes of the lonely node are refused after the time-out",
    .variant = { "one against two" },
    .flags = FAULT_CUTS | FAULT_KILLS,
    .prepare = split_prepare,
    .run = split_run,
};

/* --- lonely_writer_dies --- */

static void lonely_prepare(struct cycle *c)
{
    c->plan.create_nodes = 1;
    c->plan.edit_nodes = 1;
    c->plan.pause_ms = 20;
    c->plan.strike = cycle_strike_here;
}

static int lonely_run(struct cycle *c, struct err *err)
{
    static const unsigned cut[MESH_NODES] = { 6, 1, 1 };
    uint64_t held = 0;
    int rc = cycle_burst(c, err);
    if (rc != 0) return rc;
    cycle_fault(c, "node 0 is alone", true, NULL);
    rc = cut_begin(&c->cut, &c->mesh, CUT_PROXY, cut, err);
    if (rc == 0) rc = world_pass(c->w, 400, err);
    if (rc != 0) return rc;
    cycle_kill(c, 0);
    rc = node_gone(&c->mesh.node[0], 5000, err);
    for (int k = 1; k < MESH_NODES; k++) { /* what the cut held back dies with the connection */
        proxy_reset(c->mesh.link[0][k]);
        proxy_reset(c->mesh.link[k][0]);
    }
    cut_end(&c->cut, &held, NULL);
    cycle_proof(c, "pieces held back", held);
    if (rc == 0) rc = cycle_burst_over(c, err);
    if (rc == 0) rc = cycle_stage(c, "survivors", 6, &c->survivors_ms, err);
    if (rc != 0) return rc;
    cycle_healed(c);
    return cycle_restart(c, 1, err);
}

const struct fault_class fault_lonely = {
    .name = "lonely_writer_dies",
    .text = "Node 0 is cut off, goes on being written to, and is killed before the cut ends: whatever it acknowledged "
            "must be on\n"
            "the two others already, with node 0 still dead.",
    .expects = "its writers die with their node",
    .variant = { "cut, then SIGKILL" },
    .flags = FAULT_KILLS,
    .prepare = lonely_prepare,
    .run = lonely_run,
};
