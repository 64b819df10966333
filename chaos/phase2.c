/* phase2.c - four agents write to one node of three at once; then peers die one by one and come back. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "campaign.h"
#include "check.h"
#include "dump.h"
#include "fault.h"
#include "files.h"

#define AGENTS 4
#define EACH 50
#define BURST_MS 60000
#define PROBE_MS 3500 /* a refusal must come well before the quorum's own deadline passes it on */

static const char *const agent[AGENTS] = { "ai:agent-alice", "ai:agent-bob", "ai:agent-charlie", "ai:agent-dana" };

struct phase2 {
    struct campaign *c;
    struct cycle cycle; /* of the cycle's calls only those that record, dump and restart are used */
    json_t *reasons, *verdict;
    int64_t settle_ms, probe2_ms, return_ms;
    int probe1, probe2;
    json_t *counts;
};

static void refuse(struct phase2 *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void refuse(struct phase2 *p, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_array_append_new(p->reasons, json_string(text));
}

static int burst(struct phase2 *p, struct err *err)
{
    struct cycle *y = &p->cycle;
    struct load *l = &y->load;
    load_start(l, y->w, &y->mesh, &y->h, &y->plan);
    int rc = world_wait(y->w, BURST_MS, load_done, l, err, "the end of the agents' writes");
    if (rc == 0) rc = cycle_stage(y, "settled", 7, &p->settle_ms, err);
    if (rc != 0) return rc;
    if (load_failed(l)) refuse(p, "%u writes were answered neither 201 nor 503: %s", load_failed(l), l->odd);
    if (l->create.ok == 0) refuse(p, "nothing was acknowledged");
    if (p->settle_ms < 0) refuse(p, "the nodes did not agree within %u ms", y->o->settle_ms);
    return 0;
}

/* What the contract says of a write that no peer can take. */
static void judge_probe2(struct phase2 *p, const json_t *answer, int64_t took_ms)
{
    const char *error = json_string_value(json_object_get(answer, "error"));
    const char *reason = json_string_value(json_object_get(answer, "reason"));
    p->probe2_ms = took_ms;
    if (p->probe2 != 503) refuse(p, "probe 2 (both peers down): 503 expected, got %d", p->probe2);
    if (error == NULL || strcmp(error, "quorum_not_met") != 0)
        refuse(p, "probe 2: error %s", error ? error : "missing");
    if (json_integer_value(json_object_get(answer, "got")) != 1) refuse(p, "probe 2: got is not 1");
    if (json_integer_value(json_object_get(answer, "needed")) != 2) refuse(p, "probe 2: needed is not 2");
    if (reason == NULL || strcmp(reason, "unreachable") != 0)
        refuse(p, "probe 2: reason %s", reason ? reason : "missing");
    if (took_ms > PROBE_MS) refuse(p, "probe 2 took %lld ms", (long long)took_ms);
}

static int probes(struct phase2 *p, struct err *err)
{
    struct cycle *y = &p->cycle;
    json_t *answer = NULL;
    cycle_kill(y, 1);
    int rc = node_gone(&y->mesh.node[1], 5000, err);
    if (rc == 0) rc = cycle_write(y, 0, &p->probe1, NULL, err);
    if (rc == 0 && p->probe1 != 201) refuse(p, "probe 1 (one peer down): 201 expected, got %d", p->probe1);
    if (rc != 0) return rc;
    cycle_kill(y, 2);
    rc = node_gone(&y->mesh.node[2], 5000, err);
    int64_t begun = clock_mono_ms();
    if (rc == 0) rc = cycle_write(y, 0, &p->probe2, &answer, err);
    if (rc == 0) judge_probe2(p, answer, clock_mono_ms() - begun);
    json_decref(answer);
    if (rc == 0) rc = cycle_restart(y, 6, err);
    if (rc == 0) rc = cycle_stage(y, "returned", 7, &p->return_ms, err);
    if (rc == 0 && p->return_ms < 0) refuse(p, "the probe writes did not reach the returned peers");
    return rc;
}

static int course(struct phase2 *p, struct err *err)
{
    struct cycle *y = &p->cycle;
    int rc = dir_make(y->dir, err);
    if (rc == 0) rc = history_open(&y->h, y->dir, err);
    if (rc == 0) rc = mesh_init(&y->mesh, y->w, &y->mesh_options, y->scratch, err);
    if (rc != 0) return rc;
    history_put(&y->h,
                json_pack("{s:s, s:i, s:s, s:s, s:s, s:i, s:i}", "t", "meta", "format", HISTORY_FORMAT, "phase", "2",
                          "fault", "peers die", "namespace", y->ns, "nodes", MESH_NODES, "writes_needed", 2));
    rc = mesh_start(&y->mesh, err);
    if (rc == 0) rc = burst(p, err);
    if (rc == 0) rc = probes(p, err);
    return rc;
}

static void judge(struct phase2 *p, int rc)
{
    struct err err = { 0 };
    const json_t *finding;
    size_t i;
    char path[WORLD_PATH];
    if (history_close(&p->cycle.h, &err) != 0) refuse(p, "%s", err.msg);
    if (rc != 0) return;
    if (check_run(p->cycle.dir, &p->verdict, &err) != 0) {
        refuse(p, "%s", err.msg);
        return;
    }
    snprintf(path, sizeof path, "%.900s/verdict.json", p->cycle.dir);
    file_write_json(path, p->verdict, NULL);
    json_array_foreach (json_object_get(p->verdict, "findings"), i, finding)
        refuse(p, "%s", json_string_value(finding));
    if (!json_is_true(json_object_get(p->verdict, "pass")) && json_array_size(p->reasons) == 0)
        refuse(p, "the checker refuses it: see evidence/phase2/verdict.json");
}

static json_t *report_of(struct phase2 *p)
{
    struct load *l = &p->cycle.load;
    const json_t *found = json_object_get(json_object_get(p->verdict, "numbers"), "found_by_node");
    char probe1[8], probe2[8];
    int64_t count[MESH_NODES];
    snprintf(probe1, sizeof probe1, "%d", p->probe1);
    snprintf(probe2, sizeof probe2, "%d", p->probe2);
    for (size_t i = 0; i < MESH_NODES; i++) {
        count[i] = json_integer_value(json_array_get(found, i));
        if (p->verdict && count[i] < (int64_t)l->create.ok)
            refuse(p, "node %c holds %lld of %u acknowledged writes", (char)('a' + i), (long long)count[i],
                   l->create.ok);
    }
    bool pass = json_array_size(p->reasons) == 0 && p->verdict != NULL;
    const json_t *checks = json_object_get(p->verdict, "checks");
    json_t *report = json_pack(
        "{s:i, s:b, s:i, s:i, s:i, s:i, s:{s:I, s:I, s:I}, s:s, s:s, s:O, s:I, s:I, s:I, s:{s:i, s:i, s:i}}", "phase",
        2, "pass", pass, "total_writes", AGENTS * EACH, "ok", (int)l->create.ok, "quorum_not_met",
        (int)(l->create.quorum + l->create.refused), "fail", l->w ? (int)load_failed(l) : AGENTS * EACH, "counts", "a",
        (json_int_t)count[0], "b", (json_int_t)count[1], "c", (json_int_t)count[2], "probe1_single_peer_down", probe1,
        "probe2_both_peers_down", probe2, "reasons", p->reasons, "converge_ms", (json_int_t)p->settle_ms, "probe2_ms",
        (json_int_t)p->probe2_ms, "return_converge_ms", (json_int_t)p->return_ms, "latency_us", "p50",
        (int)load_quantile(l, 0.5), "p99", (int)load_quantile(l, 0.99), "max", (int)load_quantile(l, 1));
    if (checks) json_object_set(report, "checks", (json_t *)(uintptr_t)checks);
    return report;
}

int phase2_run(struct campaign *c, struct err *err)
{
    static struct phase2 p;
    struct cycle *y = &p.cycle;
    memset(&p, 0, sizeof p);
    p.c = c;
    p.reasons = json_array();
    p.settle_ms = p.probe2_ms = p.return_ms = -1;
    y->w = c->w;
    y->o = &c->cycle;
    y->proofs = json_object();
    y->reasons = json_array();
    snprintf(y->ns, sizeof y->ns, "ship-gate-phase2");
    snprintf(y->prefix, sizeof y->prefix, "p2");
    snprintf(y->dir, sizeof y->dir, "%.900s/evidence/phase2", c->out);
    snprintf(y->scratch, sizeof y->scratch, "%.900s/phase2", c->w->scratch);
    y->mesh_options = (struct mesh_options){ .bin = c->bin, .writes = 2, .timeout_ms = 3000 };
    memcpy(y->mesh_options.port, c->cycle.port, sizeof c->cycle.port);
    y->plan = (struct load_plan){ .ns = y->ns,
                                  .prefix = y->prefix,
                                  .creators = AGENTS,
                                  .creates = AGENTS * EACH,
                                  .each = EACH,
                                  .agents = agent,
                                  .agents_count = AGENTS,
                                  .create_nodes = 1 };
    printf("phase 2: %d agents, %d writes each, to one node of three\n", AGENTS, EACH);
    world_deadline_push(c->w, 180000, "phase");
    int rc = course(&p, err);
    if (rc != 0) refuse(&p, "%s", err->msg);
    c->w->closing++;
    judge(&p, rc);
    json_t *report = report_of(&p);
    load_release(&y->load);
    mesh_close(&y->mesh);
    c->w->closing--;
    for (int i = 0; i < MESH_NODES; i++) {
        char to[WORLD_PATH];
        snprintf(to, sizeof to, "%.900s/n%d.log", y->dir, i);
        file_copy(y->mesh.node[i].log, to, NULL);
    }
    dir_remove(y->scratch);
    world_deadline_pop(c->w);
    json_decref(p.reasons);
    json_decref(p.verdict);
    json_decref(y->proofs);
    json_decref(y->reasons);
    struct err why = { 0 };
    if (campaign_report(c, "phase2", report, &why) != 0 && rc == 0) rc = err_set(err, why.code, "%s", why.msg);
    return rc == E_CANCELLED || rc == E_NOT_FOUND || rc == E_UNREACHABLE ? rc : 0;
}
