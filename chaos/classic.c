/* classic.c - the older campaign script's command line, report lines and summary, over this harness's cycles. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "classic.h"
#include "cycle.h"
#include "fault.h"
#include "files.h"

struct classic {
    unsigned cycles, writes;
    const char *fault;
    bool verbose;
    char report[WORLD_PATH], evidence[WORLD_PATH];
    int64_t ok, quorum, fail, total, found;
};

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
    va_list ap;
    fputs("[chaos] ", stdout);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

static int fatal(const char *text)
{
    fprintf(stderr, "[chaos] FATAL: %s\n", text);
    return 1;
}

static int parse(struct classic *k, int argc, char **argv, struct err *err)
{
    for (int i = 0; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        char *end = NULL;
        if (strcmp(name, "--verbose") == 0) {
            k->verbose = true;
            continue;
        }
        i++;
        unsigned long v = strtoul(value, &end, 10);
        bool number = *value >= '0' && *value <= '9' && *end == 0 && v <= 1000000;
        if (strcmp(name, "--fault") == 0)
            k->fault = value;
        else if (strcmp(name, "--cycles") == 0 && number)
            k->cycles = (unsigned)v;
        else if (strcmp(name, "--writes") == 0 && number)
            k->writes = (unsigned)v;
        else
            return err_set(err, E_INVALID, "unknown flag or bad value: %s %s", name, value);
    }
    return 0;
}

static int64_t number_of(const json_t *o, const char *name)
{
    return json_integer_value(json_object_get(o, name));
}

/* The line's first nine members as they always were: counts are texts, of a dead node ERR. */
static int report(struct classic *k, const json_t *line, struct err *err)
{
    static const char *const counts[] = { "count_node0", "count_node1", "count_node2" };
    json_t *out = json_pack("{s:O, s:O, s:O, s:O, s:O, s:O}", "cycle", json_object_get(line, "cycle"), "fault",
                            json_object_get(line, "fault"), "writes", json_object_get(line, "writes"), "ok",
                            json_object_get(line, "ok"), "quorum_not_met", json_object_get(line, "quorum_not_met"),
                            "fail", json_object_get(line, "fail"));
    for (int i = 0; i < 3; i++) {
        char text[24] = "ERR";
        if (json_object_get(line, "judged")) snprintf(text, sizeof text, "%lld", (long long)number_of(line, counts[i]));
        json_object_set_new(out, counts[i], json_string(text));
    }
    int rc = file_append_json(k->report, out, err);
    json_decref(out);
    k->total += number_of(line, "writes");
    k->ok += number_of(line, "ok");
    k->quorum += number_of(line, "quorum_not_met");
    k->fail += number_of(line, "fail");
    k->found += number_of(line, "found");
    return rc;
}

static void summary(const struct classic *k, unsigned done)
{
    struct buf b;
    double bound = k->ok > 0 ? floor((double)k->found / (double)k->ok * 1000) / 1000 : 0;
    json_t *doc = json_pack("{s:i, s:I, s:I, s:I, s:I, s:f}", "total_cycles", (int)done, "total_writes",
                            (json_int_t)k->total, "total_ok", (json_int_t)k->ok, "total_quorum_not_met",
                            (json_int_t)k->quorum, "total_fail", (json_int_t)k->fail, "convergence_bound", bound);
    if (bound == floor(bound)) json_object_set_new(doc, "convergence_bound", json_integer((json_int_t)bound));
    say("---- summary ----");
    buf_init(&b, 4096);
    json_print_pretty_ordered(&b, doc);
    printf("%s\n", buf_str(&b));
    buf_release(&b);
    json_decref(doc);
    say("per-cycle JSONL: %s", k->report);
}

static int run(struct classic *k, struct world *w, const struct cycle_options *o, struct err *err)
{
    const struct fault_class *f = fault_find(k->fault);
    unsigned done = 0;
    int rc = f && (f->flags & FAULT_GATE) ? 0 : err_set(err, E_INVALID, "unknown fault class: %s", k->fault);
    if (rc == 0) rc = fault_possible(f, o, err);
    for (unsigned n = 1; n <= k->cycles && rc == 0; n++) {
        char dir[WORLD_PATH];
        json_t *line = NULL;
        snprintf(dir, sizeof dir, "%.900s/c%u", k->evidence, n);
        rc = cycle_run(w, o, f, n, dir, &line, err);
        if (rc == 0) rc = report(k, line, err);
        if (rc == 0) done++;
        const json_t *reason = json_array_get(json_object_get(line, "reasons"), 0);
        if (rc == 0 && (k->verbose || reason))
            say("cycle %u: %s", n, reason ? json_string_value(reason) : "every acknowledged write is where it belongs");
        json_decref(line);
    }
    if (rc == 0) summary(k, done);
    return rc;
}

int classic_main(int argc, char **argv)
{
    static struct world w;
    struct classic k = { .cycles = 10, .writes = 100, .fault = "kill_primary_mid_write" };
    struct err err = { 0 };
    const char *bin = getenv("AI_MEMORY_BIN"), *work = getenv("WORKDIR");
    static const char *const ports[] = { "N0_PORT", "N1_PORT", "N2_PORT" };
    if (parse(&k, argc, argv, &err) != 0) return fatal(err.msg);
    struct cycle_options o = { .bin = bin ? bin : "build/release/ai-memory",
                               .writes = k.writes,
                               .timeout_ms = 3000,
                               .settle_ms = 30000,
                               .cut = cut_possible(NULL) == 0 ? CUT_IPTABLES : CUT_PROXY };
    for (int i = 0; i < 3; i++) o.port[i] = (uint16_t)(getenv(ports[i]) ? atoi(getenv(ports[i])) : 0);
    snprintf(k.report, sizeof k.report, "%.900s/chaos-report.jsonl", work ? work : ".");
    snprintf(k.evidence, sizeof k.evidence, "%.900s/evidence", work ? work : ".");
    say("chaos campaign: fault=%s cycles=%u writes/cycle=%u", k.fault, k.cycles, k.writes);
    say("workdir: %s", work ? work : ".");
    say("binary: %s", o.bin);
    if (access(o.bin, X_OK) != 0) return fatal("the program to test is not there, or not executable (AI_MEMORY_BIN)");
    if (world_init(&w, (uint64_t)getpid(), &err) != 0) return fatal(err.msg);
    int rc = run(&k, &w, &o, &err);
    world_release(&w);
    rmdir(k.evidence);
    return rc == 0 ? 0 : fatal(err.msg);
}
