/* campaign.c - the phases in order and their aggregate. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "campaign.h"
#include "fault.h"
#include "files.h"

int campaign_tool(const struct campaign *c, const char *const *args, char *out, size_t size, struct err *err)
{
    const char *argv[32] = { c->bin };
    unsigned n = 1;
    while (n < 31 && args[n - 1]) {
        argv[n] = args[n - 1];
        n++;
    }
    argv[n] = NULL;
    return tool_run(argv, NULL, out, size, 30000, err);
}

int campaign_report(struct campaign *c, const char *name, json_t *report, struct err *err)
{
    char path[WORLD_PATH];
    snprintf(path, sizeof path, "%.900s/%s.json", c->out, name);
    int rc = file_write_json(path, report, err);
    bool pass = json_is_true(json_object_get(report, "pass"));
    const json_t *reason;
    size_t i;
    printf("%s: %s\n", name, pass ? "passed" : "FAILED");
    json_array_foreach (json_object_get(report, "reasons"), i, reason) printf("    %s\n", json_string_value(reason));
    fflush(stdout);
    json_array_append_new(c->reports, report);
    return rc;
}

static void now_text(char out[32])
{
    time_t now = (time_t)(clock_wall_us(NULL) / 1000000);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* Every phase asked for is there and has passed. No data is a failure. */
static bool all_passed(const struct campaign *c)
{
    bool seen[CAMPAIGN_PHASES + 1] = { false }, pass = true, any = false;
    const json_t *report;
    size_t i;
    json_array_foreach (c->reports, i, report) {
        int64_t n = json_integer_value(json_object_get(report, "phase"));
        if (n >= 1 && n <= CAMPAIGN_PHASES) seen[n] = true;
        pass = pass && json_is_true(json_object_get(report, "pass"));
    }
    for (int n = 1; n <= CAMPAIGN_PHASES; n++) {
        if (!c->asked[n]) continue;
        any = true;
        pass = pass && seen[n];
    }
    return pass && any && c->broken[0] == 0;
}

int campaign_summary(struct campaign *c, bool over, struct err *err)
{
    char path[WORLD_PATH], when[32];
    json_t *asked = json_array();
    now_text(when);
    for (int n = 1; n <= CAMPAIGN_PHASES; n++)
        if (c->asked[n]) json_array_append_new(asked, json_integer(n));
    bool pass = over && all_passed(c);
    json_t *doc = json_pack("{s:s, s:s, s:o, s:b, s:O, s:O, s:o, s:b, s:s, s:s, s:I, s:I}", "campaign_id", c->id,
                            "ai_memory_git_ref", c->ref, "completed_at", over ? json_string(when) : json_null(),
                            "overall_pass", pass, "phases", c->reports, "not_run", c->not_run, "phases_asked", asked,
                            "complete", over && c->broken[0] == 0, "broken", c->broken, "version", c->version, "seed",
                            (json_int_t)c->seed, "took_ms", (json_int_t)(clock_mono_ms() - c->begun_ms));
    snprintf(path, sizeof path, "%.900s/campaign-summary.json", c->out);
    int rc = file_write_json(path, doc, err);
    if (rc == 0) rc = page_write(c, doc, err);
    json_decref(doc);
    return rc;
}

static void skip(struct campaign *c, int phase, const char *why)
{
    json_array_append_new(c->not_run, json_pack("{s:i, s:s}", "phase", phase, "reason", why));
    printf("phase %d: NOT RUN: %s\n", phase, why);
}

static void note_version(struct campaign *c)
{
    static const char *const args[] = { "--version", NULL };
    if (campaign_tool(c, args, c->version, sizeof c->version, NULL) != 0) c->version[0] = 0;
    c->version[strcspn(c->version, "\n")] = 0;
}

static int run_phases(struct campaign *c, struct err *err)
{
    static int (*const run[])(struct campaign *, struct err *) = { NULL, phase1_run, phase2_run, NULL, phase4_run };
    static bool (*const exists[])(const struct campaign *, char *) = { NULL, phase1_exists, NULL, phase3_exists, NULL };
    int rc = 0;
    for (int n = 1; n <= CAMPAIGN_PHASES && rc == 0; n++) {
        char why[256] = "not asked for";
        bool able = c->asked[n] && (exists[n] == NULL || exists[n](c, why));
        if (!able) {
            skip(c, n, why);
            continue;
        }
        rc = run[n](c, err);
        struct err late = { 0 };
        if (rc == 0 && campaign_summary(c, false, &late) != 0) rc = err_set(err, late.code, "%s", late.msg);
    }
    return rc;
}

bool campaign_run(struct campaign *c)
{
    struct err err = { 0 };
    c->begun_ms = clock_mono_ms();
    c->reports = json_array();
    c->not_run = json_array();
    note_version(c);
    int rc = dir_make(c->out, &err);
    if (rc == 0) rc = campaign_summary(c, false, &err);
    printf("campaign %s: %s (%s), seed %llu, evidence in %s\n", c->id, c->bin, c->version, (unsigned long long)c->seed,
           c->out);
    if (rc == 0) rc = run_phases(c, &err);
    if (rc != 0) {
        snprintf(c->broken, sizeof c->broken, "%s", err.msg);
        fprintf(stderr, "chaos: the campaign ended early: %s\n", err.msg);
    }
    if (campaign_summary(c, true, &err) != 0) {
        fprintf(stderr, "chaos: %s\n", err.msg);
        if (c->broken[0] == 0) snprintf(c->broken, sizeof c->broken, "%s", err.msg);
    }
    bool pass = all_passed(c);
    printf("campaign %s: %s after %lld s; %s/index.html\n", c->id, pass ? "PASSED" : "FAILED",
           (long long)((clock_mono_ms() - c->begun_ms) / 1000), c->out);
    json_decref(c->reports);
    json_decref(c->not_run);
    return pass;
}
