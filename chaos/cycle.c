/* cycle.c - the course of one cycle and its line. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "check.h"
#include "cycle.h"
#include "dump.h"
#include "fault.h"
#include "files.h"

#define CYCLE_MS 90000 /* everything */
#define BURST_MS 45000
#define FIRST_WRITE_MS 10000
#define REASONS 6

/* --- for classes --- */

void cycle_strike_here(void *cycle)
{
    (void)cycle;
}

void cycle_fault(struct cycle *c, const char *what, bool on, json_t *facts)
{
    history_fault(&c->h, what, on, facts);
}

void cycle_proof(struct cycle *c, const char *what, uint64_t count)
{
    json_object_set_new(c->proofs, what, json_integer((json_int_t)count));
    history_proof(&c->h, what, count);
}

int cycle_burst(struct cycle *c, struct err *err)
{
    load_start(&c->load, c->w, &c->mesh, &c->h, &c->plan);
    int rc = world_wait(c->w, BURST_MS, load_struck, &c->load, err, "%u acknowledged writes and %u in flight",
                        c->plan.strike_acks, c->plan.strike_flight);
    if (rc != 0) return rc;
    if (!c->load.struck)
        return err_set(err, E_INVALID, "the burst was over (%u of %u acknowledged) before the fault could strike",
                       c->load.create.ok, c->plan.creates);
    if (c->strike_err.code != 0) return err_set(err, c->strike_err.code, "%s", c->strike_err.msg);
    return 0;
}

int cycle_burst_over(struct cycle *c, struct err *err)
{
    return world_wait(c->w, BURST_MS, load_done, &c->load, err, "the end of the burst");
}

int cycle_write(struct cycle *c, int node, int *ret_status, json_t **ret_answer, struct err *err)
{
    static const char *const fields[] = { "id", "error", "outcome", "reason", "got", "needed" };
    char title[64], content[128];
    struct reply r = { 0 };
    unsigned op = history_op(&c->h);
    snprintf(title, sizeof title, "%s-p%u", c->prefix, ++c->probes);
    snprintf(content, sizeof content, "%s written by the supervisor at node %d", title, node);
    json_t *line = json_pack("{s:s, s:i, s:I, s:i, s:i, s:s, s:s, s:s, s:b}", "t", "invoke", "op", (int)op, "at_us",
                             (json_int_t)history_now_us(&c->h), "client", -1, "node", node, "kind", "create", "title",
                             title, "content", content, "probe", 1);
    history_put(&c->h, line);
    json_t *body = json_pack("{s:s, s:s, s:s, s:s, s:s}", "tier", "mid", "namespace", c->ns, "title", title, "content",
                             content, "source", "chaos");
    struct err why = { 0 };
    int rc = node_ask(&c->mesh.node[node], "POST", "/api/v1/memories", body, FIRST_WRITE_MS, &r, &why);
    json_decref(body);
    line = json_pack("{s:s, s:i, s:I, s:i}", "t", "answer", "op", (int)op, "at_us", (json_int_t)history_now_us(&c->h),
                     "status", r.status);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        json_t *v = json_object_get(r.json, fields[i]);
        if (v) json_object_set(line, fields[i], v);
    }
    history_put(&c->h, line);
    if (ret_status) *ret_status = r.status;
    if (ret_answer) *ret_answer = json_incref(r.json);
    reply_release(&r);
    return rc == E_CANCELLED ? err_set(err, rc, "%s", why.msg) : 0;
}

static json_t *set_json(unsigned set)
{
    json_t *list = json_array();
    for (int i = 0; i < MESH_NODES; i++)
        if (set & 1u << i) json_array_append_new(list, json_integer(i));
    return list;
}

int cycle_stage(struct cycle *c, const char *name, unsigned set, int64_t *ret_ms, struct err *err)
{
    int rc = dump_settle(&c->mesh, set, &c->load, c->o->settle_ms, ret_ms, err);
    if (rc != 0) return rc;
    history_put(&c->h, json_pack("{s:s, s:I, s:s, s:o, s:o}", "t", "stage", "at_us", (json_int_t)history_now_us(&c->h),
                                 "name", name, "live", set_json(set), "destroyed", set_json(c->destroyed)));
    return dump_stage(&c->mesh, set, name, c->dir, err);
}

int cycle_restart(struct cycle *c, unsigned set, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < MESH_NODES && rc == 0; i++)
        if (set & 1u << i) rc = node_start(&c->mesh.node[i], err);
    for (int i = 0; i < MESH_NODES && rc == 0; i++)
        if (set & 1u << i) rc = node_ready(&c->mesh.node[i], 20000, err);
    return rc;
}

void cycle_healed(struct cycle *c)
{
    c->healed_ms = clock_mono_ms();
}

void cycle_kill(struct cycle *c, int node)
{
    char what[32];
    snprintf(what, sizeof what, "SIGKILL of node %d", node);
    cycle_fault(c, what, true,
                json_pack("{s:i, s:i, s:i}", "node", node, "in_flight", (int)c->load.flight, "acknowledged",
                          (int)c->load.create.ok));
    bool was = c->mesh.node[node].running;
    node_signal(&c->mesh.node[node], SIGKILL);
    cycle_proof(c, what, was);
}

/* --- the course --- */

static void reason(struct cycle *c, const char *text)
{
    if (json_array_size(c->reasons) < REASONS) json_array_append_new(c->reasons, json_string(text));
}

static void defaults(struct cycle *c)
{
    unsigned w = c->o->writes;
    c->mesh_options = (struct mesh_options){
        .bin = c->o->bin, .writes = 2, .timeout_ms = c->o->timeout_ms, .ready_ms = c->o->ready_ms, .links = true
    };
    memcpy(c->mesh_options.port, c->o->port, sizeof c->o->port);
    snprintf(c->ns, sizeof c->ns, "chaos-c%u", c->number);
    snprintf(c->prefix, sizeof c->prefix, "c%u", c->number);
    c->plan = (struct load_plan){ .ns = c->ns,
                                  .prefix = c->prefix,
                                  .creators = 12,
                                  .creates = w,
                                  .editors = 3,
                                  .edits = w / 5,
                                  .deletes = w / 10,
                                  .create_nodes = 1,
                                  .edit_nodes = 7,
                                  .pause_ms = 10,
                                  .strike_acks = w / 5 ? w / 5 : 1,
                                  .strike_flight = 4,
                                  .strike_data = c };
    if (w < 12) c->plan.creators = w ? w : 1;
    if (c->plan.strike_flight > c->plan.creators) c->plan.strike_flight = c->plan.creators;
}

/* The first 201 at every living node after the fault; what is refused until then is recorded like any write. */
static int first_writes(struct cycle *c, struct err *err)
{
    int64_t begun = clock_mono_ms();
    for (int i = 0; i < MESH_NODES; i++) {
        int status = 0;
        if (!c->mesh.node[i].running) continue;
        while (status != 201) {
            int rc = cycle_write(c, i, &status, NULL, err);
            if (rc == 0 && status != 201 && clock_mono_ms() - begun > FIRST_WRITE_MS) {
                char text[96];
                snprintf(text, sizeof text, "node %d took no write within 10 s of the healing (last answer %d)", i,
                         status);
                reason(c, text);
                break;
            }
            if (rc == 0 && status != 201) rc = world_pass(c->w, 10, err);
            if (rc != 0) return rc;
        }
    }
    c->first_write_ms = clock_mono_ms() - begun;
    return 0;
}

static int course(struct cycle *c, bool *ret_started, struct err *err)
{
    *ret_started = false;
    int rc = mesh_init(&c->mesh, c->w, &c->mesh_options, c->scratch, err);
    if (rc == 0 && c->class->prepare) c->class->prepare(c);
    if (rc == 0 && c->strike_err.code != 0) rc = err_set(err, c->strike_err.code, "%s", c->strike_err.msg);
    if (rc == 0) rc = mesh_start(&c->mesh, err);
    if (rc != 0) return rc;
    *ret_started = true;
    rc = c->class->run(c, err);
    bool over = rc == 0 && load_done(&c->load);
    if (rc == 0) rc = cycle_burst_over(c, err);
    if (rc == 0 && !over) cycle_healed(c); /* the burst outlived the fault: agreement counts from its end */
    if (rc == 0) rc = first_writes(c, err);
    if (rc == 0) rc = cycle_stage(c, "final", mesh_alive(&c->mesh), &c->converge_ms, err);
    if (rc == 0 && c->converge_ms >= 0 && c->healed_ms) c->converge_ms = clock_mono_ms() - c->healed_ms;
    return rc;
}

static json_t *tally_json(const struct load_tally *t)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i}", "issued", (int)t->issued, "ok", (int)t->ok, "quorum_not_met",
                     (int)t->quorum, "refused", (int)t->refused, "missed", (int)t->missed, "unknown",
                     (int)(t->unknown + t->other));
}

static json_t *line_of(struct cycle *c, const json_t *verdict, bool pass)
{
    const json_t *numbers = json_object_get(verdict, "numbers");
    const json_t *found = json_object_get(numbers, "found_by_node");
    struct load *l = &c->load;
    json_t *line = json_pack("{s:i, s:s, s:i, s:i, s:i, s:i}", "cycle", (int)c->number, "fault", c->class->name,
                             "writes", (int)c->plan.creates, "ok", (int)l->create.ok, "quorum_not_met",
                             (int)(l->create.quorum + l->create.refused), "fail",
                             l->w ? (int)load_failed(l) : (int)c->plan.creates);
    for (int i = 0; i < MESH_NODES; i++) {
        char key[24];
        snprintf(key, sizeof key, "count_node%d", i);
        json_object_set_new(line, key, json_integer(json_integer_value(json_array_get(found, (size_t)i))));
    }
    json_t *more = json_pack(
        "{s:I, s:s, s:o, s:o, s:I, s:I, s:I, s:{s:i, s:i, s:i}, s:i, s:i, s:O, s:i, s:b, s:O}", "found",
        json_integer_value(json_object_get(numbers, "found")), "variant",
        c->class->variant[c->variant] ? c->class->variant[c->variant] : "", "edits", tally_json(&l->edit), "deletes",
        tally_json(&l->del), "converge_ms", (json_int_t)c->converge_ms, "survivors_ms", (json_int_t)c->survivors_ms,
        "first_write_ms", (json_int_t)c->first_write_ms, "latency_us", "p50", (int)load_quantile(l, 0.5), "p99",
        (int)load_quantile(l, 0.99), "max", (int)load_quantile(l, 1), "in_flight_at_strike", (int)l->flight_at_strike,
        "acknowledged_at_strike", (int)l->acks_at_strike, "proofs", c->proofs, "took_ms",
        (int)(clock_mono_ms() - c->begun_ms), "pass", pass, "reasons", c->reasons);
    json_object_update(line, more);
    json_decref(more);
    if (numbers) json_object_set(line, "judged", (json_t *)(uintptr_t)numbers);
    return line;
}

/* Checks that failed without a finding of their own: no data, no sign of the fault. */
static void failed_checks(struct cycle *c, const json_t *verdict)
{
    const json_t *check;
    size_t i;
    json_array_foreach (json_object_get(verdict, "checks"), i, check) {
        char text[256];
        const json_t *got = json_object_get(check, "got");
        if (json_is_true(json_object_get(check, "pass"))) continue;
        snprintf(text, sizeof text, "%s: %s expected, got %s", json_string_value(json_object_get(check, "name")),
                 json_string_value(json_object_get(check, "expected")),
                 json_is_string(got) ? json_string_value(got) : "0");
        reason(c, text);
    }
}

static bool judge(struct cycle *c, json_t **ret, bool started)
{
    struct err err = { 0 };
    const json_t *finding;
    size_t i;
    if (history_close(&c->h, &err) != 0) reason(c, err.msg);
    if (!started || c->w->stopped) return false;
    if (check_run(c->dir, ret, &err) != 0) {
        reason(c, err.msg);
        return false;
    }
    char path[WORLD_PATH];
    snprintf(path, sizeof path, "%.900s/verdict.json", c->dir);
    if (file_write_json(path, *ret, &err) != 0) reason(c, err.msg);
    json_array_foreach (json_object_get(*ret, "findings"), i, finding) reason(c, json_string_value(finding));
    bool pass = json_is_true(json_object_get(*ret, "pass"));
    if (json_array_size(json_object_get(*ret, "findings")) == 0) failed_checks(c, *ret);
    json_int_t acked = json_integer_value(json_object_get(json_object_get(*ret, "numbers"), "acknowledged"));
    if (acked != (json_int_t)c->load.create.ok) reason(c, "the history does not say what the writers counted");
    return pass;
}

/* Logs always help; the rest goes when nobody needs it. */
static void keep_evidence(struct cycle *c, bool pass)
{
    if (pass && !c->o->keep) {
        dir_remove(c->dir);
        return;
    }
    for (int i = 0; i < MESH_NODES; i++) {
        char to[WORLD_PATH];
        snprintf(to, sizeof to, "%.900s/n%d.log", c->dir, i);
        file_copy(c->mesh.node[i].log, to, NULL);
    }
}

int cycle_run(struct world *w, const struct cycle_options *o, const struct fault_class *class, unsigned number,
              const char *dir, json_t **ret_line, struct err *err)
{
    static struct cycle c; /* large, and only one runs */
    bool started = false, pass = false;
    json_t *verdict = NULL;
    struct err why = { 0 };
    memset(&c, 0, sizeof c);
    c.w = w;
    c.o = o;
    c.class = class;
    c.number = number;
    c.variant = fault_variants(class) ? (number - 1) % fault_variants(class) : 0;
    c.begun_ms = clock_mono_ms();
    c.survivors_ms = c.converge_ms = -1;
    c.proofs = json_object();
    c.reasons = json_array();
    snprintf(c.dir, sizeof c.dir, "%s", dir);
    snprintf(c.scratch, sizeof c.scratch, "%.900s/c%u", w->scratch, number);
    defaults(&c);
    world_deadline_push(w, CYCLE_MS, "cycle");
    int rc = dir_make(c.dir, &why);
    if (rc == 0) rc = history_open(&c.h, c.dir, &why);
    if (rc == 0) {
        history_put(&c.h, json_pack("{s:s, s:i, s:s, s:s, s:s, s:i, s:s, s:i, s:i}", "t", "meta", "format",
                                    HISTORY_FORMAT, "phase", "4", "fault", class->name, "variant",
                                    class->variant[c.variant] ? class->variant[c.variant] : "", "cycle", (int)number,
                                    "namespace", c.ns, "nodes", MESH_NODES, "writes_needed", 2));
        rc = course(&c, &started, &why);
    }
    if (rc != 0) reason(&c, why.msg);
    if (c.load.odd[0] && !(class->flags & FAULT_ERRORS)) reason(&c, c.load.odd);
    w->closing++;
    if (cut_end(&c.cut, NULL, &why) != 0) reason(&c, why.msg);
    pass = judge(&c, &verdict, started) && rc == 0 && json_array_size(c.reasons) == 0;
    *ret_line = line_of(&c, verdict, pass);
    load_release(&c.load);
    mesh_close(&c.mesh);
    if (class->finish) class->finish(&c);
    w->closing--;
    keep_evidence(&c, pass);
    dir_remove(c.scratch);
    world_deadline_pop(w);
    json_decref(verdict);
    json_decref(c.proofs);
    json_decref(c.reasons);
    if (rc == 0 || (started && rc != E_CANCELLED)) return 0;
    return err_set(err, rc, "%s", why.msg);
}
