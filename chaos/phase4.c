/* phase4.c - the chaos phase: classes times cycles, a JSON line each as it happens, two bounds per class. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "campaign.h"
#include "fault.h"
#include "files.h"

#define BOUND 0.995
#define CYCLE_BUDGET_MS 20000 /* of a cycle, on average: a campaign that hangs ends */

struct sums {
    int64_t writes, ok, found, lost, doubled, revived, passed, cycles, converge_sum, converge_max, judged;
};

static int64_t number(const json_t *o, const char *name)
{
    return json_integer_value(json_object_get(o, name));
}

static void add_line(struct sums *s, const json_t *line)
{
    const json_t *judged = json_object_get(line, "judged");
    int64_t converge = number(line, "converge_ms");
    s->cycles++;
    s->writes += number(line, "writes");
    s->ok += number(line, "ok");
    s->found += number(line, "found");
    s->lost += number(judged, "lost");
    s->doubled += number(judged, "doubled");
    s->revived += number(judged, "revived");
    s->passed += json_is_true(json_object_get(line, "pass"));
    if (converge >= 0) s->judged++;
    if (converge > 0) s->converge_sum += converge;
    if (converge > s->converge_max) s->converge_max = converge;
}

/* With nothing acknowledged a bound is 0. */
static double bound(int64_t part, int64_t of)
{
    return of > 0 ? (double)part / (double)of : 0;
}

static void progress(const struct campaign *c, const struct fault_class *f, const json_t *line)
{
    const json_t *reason = json_array_get(json_object_get(line, "reasons"), 0);
    const char *variant = json_string_value(json_object_get(line, "variant"));
    bool pass = json_is_true(json_object_get(line, "pass"));
    printf("  %-24s %3lld/%u  %-20s ok %3lld/%lld  found %3lld  converged %5lld ms  %5lld ms  %s\n", f->name,
           (long long)number(line, "cycle"), c->cycles, variant ? variant : "", (long long)number(line, "ok"),
           (long long)number(line, "writes"), (long long)number(line, "found"), (long long)number(line, "converge_ms"),
           (long long)number(line, "took_ms"), pass ? "passed" : "FAILED");
    if (!pass) printf("      %s\n", reason ? json_string_value(reason) : "no reason given");
    fflush(stdout);
}

/* The first cycle of every variant keeps its evidence: the page draws latencies from it. */
static bool keeps(const struct campaign *c, const struct fault_class *f, unsigned cycle)
{
    unsigned variants = fault_variants(f);
    return c->keep || cycle <= (variants ? variants : 1);
}

static int run_class(struct campaign *c, const struct fault_class *f, struct sums *s, json_t *reasons, struct err *err)
{
    char jsonl[WORLD_PATH], dir[WORLD_PATH];
    int rc = fault_possible(f, &c->cycle, err);
    if (rc != 0) {
        json_array_append_new(reasons, json_string(err->msg));
        printf("  %-24s cannot be injected here: %s\n", f->name, err->msg);
        return 0;
    }
    snprintf(jsonl, sizeof jsonl, "%.800s/phase4-%s.jsonl", c->out, f->name);
    for (unsigned n = 1; n <= c->cycles && rc == 0; n++) {
        json_t *line = NULL;
        struct cycle_options o = c->cycle;
        o.keep = keeps(c, f, n);
        snprintf(dir, sizeof dir, "%.700s/evidence/%s/c%03u", c->out, f->name, n);
        rc = cycle_run(c->w, &o, f, n, dir, &line, err);
        add_line(s, line);
        progress(c, f, line);
        struct err why = { 0 };
        if (file_append_json(jsonl, line, &why) != 0 && rc == 0) rc = err_set(err, why.code, "%s", why.msg);
        json_decref(line);
    }
    return rc;
}

static void judge_class(const struct campaign *c, const struct fault_class *f, const struct sums *s, json_t *reasons)
{
    double convergence = bound(s->found, s->ok), availability = bound(s->ok, s->writes);
    const char *name = f->name;
    if (s->cycles < c->cycles)
        json_array_append_new(reasons, json_sprintf("%s: %lld of %u cycles", name, (long long)s->cycles, c->cycles));
    if (convergence < BOUND)
        json_array_append_new(reasons, json_sprintf("%s: convergence bound %.4f below %.3f", name, convergence, BOUND));
    if (!(f->flags & FAULT_KILLS) && availability < BOUND)
        json_array_append_new(reasons, json_sprintf("%s: availability %.4f below %.3f", name, availability, BOUND));
    if (s->passed < s->cycles)
        json_array_append_new(reasons, json_sprintf("%s: %lld cycles refused by the checker (see phase4-%s.jsonl)",
                                                    name, (long long)(s->cycles - s->passed), name));
}

static json_t *class_details(const struct sums *s)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "cycles", (json_int_t)s->cycles, "passed",
                     (json_int_t)s->passed, "writes", (json_int_t)s->writes, "ok", (json_int_t)s->ok, "found",
                     (json_int_t)s->found, "lost", (json_int_t)s->lost, "doubled", (json_int_t)s->doubled, "revived",
                     (json_int_t)s->revived, "converge_ms_mean",
                     (json_int_t)(s->judged ? s->converge_sum / s->judged : -1), "converge_ms_max",
                     (json_int_t)(s->judged ? s->converge_max : -1));
}

/* Among all classes, one that has a twin without what this machine lacks does not run, and says so. */
static bool left_out(const struct campaign *c, const struct fault_class *f, json_t *not_run)
{
    struct err why = { 0 };
    if (!c->all || !(f->flags & FAULT_MOUNTS) || fault_possible(f, &c->cycle, &why) == 0) return false;
    json_object_set_new(not_run, f->name, json_string(why.msg));
    printf("  %-24s NOT RUN: %s\n", f->name, why.msg);
    return true;
}

int phase4_run(struct campaign *c, struct err *err)
{
    int64_t begun = clock_mono_ms();
    int rc = 0;
    json_t *reasons = json_array(), *convergence = json_object(), *availability = json_object(),
           *details = json_object(), *not_run = json_object();
    printf("phase 4: %u classes, %u cycles of %u writes each\n", c->classes, c->cycles, c->cycle.writes);
    world_deadline_push(c->w, 60000 + (int64_t)CYCLE_BUDGET_MS * c->cycles * c->classes, "phase");
    for (unsigned i = 0; i < c->classes && rc == 0; i++) {
        const struct fault_class *f = c->class[i];
        struct sums s = { 0 };
        if (left_out(c, f, not_run)) continue;
        rc = run_class(c, f, &s, reasons, err);
        judge_class(c, f, &s, reasons);
        json_object_set_new(convergence, f->name, json_real(bound(s.found, s.ok)));
        json_object_set_new(availability, f->name, json_real(bound(s.ok, s.writes)));
        json_object_set_new(details, f->name, class_details(&s));
        printf("  %-24s convergence %.4f  availability %.4f  lost %lld  doubled %lld  revived %lld\n", f->name,
               bound(s.found, s.ok), bound(s.ok, s.writes), (long long)s.lost, (long long)s.doubled,
               (long long)s.revived);
    }
    world_deadline_pop(c->w);
    if (rc != 0) json_array_append_new(reasons, json_string(err->msg));
    if (c->classes == 0 || c->cycles == 0)
        json_array_append_new(reasons, json_string("nothing was asked for: no data"));
    bool pass = json_array_size(reasons) == 0;
    json_t *report =
        json_pack("{s:i, s:b, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:s}", "phase", 4, "pass", pass,
                  "cycles_per_fault", (int)c->cycles, "writes_per_cycle", (int)c->cycle.writes, "convergence_by_fault",
                  convergence, "availability_by_fault", availability, "reasons", reasons, "details_by_fault", details,
                  "not_run_by_fault", not_run, "seed", (json_int_t)c->seed, "took_ms",
                  (json_int_t)(clock_mono_ms() - begun), "cuts", c->cycle.cut == CUT_IPTABLES ? "iptables" : "proxy");
    struct err why = { 0 };
    if (campaign_report(c, "phase4", report, &why) != 0 && rc == 0) rc = err_set(err, why.code, "%s", why.msg);
    return rc;
}
