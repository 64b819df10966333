/* campaign.h - a run of the ship gate: which phases, how much of each, where the evidence goes, and the verdict.
 *
 *   out/phase1-node-{a,b,c}.json  phase2.json  phase4.json  phase4-<class>.jsonl   what each phase found
 *   out/evidence/<class>/c<n>/    history, dumps, verdict, logs of cycles that failed and of each variant's first
 *   out/campaign-summary.json     the aggregate; written at the start too (overall_pass false): a campaign that is
 *                                 killed half-way leaves one that says so
 *   out/index.html, out/../index.html   the pages */
#ifndef AIM_CHAOS_CAMPAIGN_H
#define AIM_CHAOS_CAMPAIGN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cycle.h"
#include "err.h"
#include "world.h"

#define CAMPAIGN_CLASSES 64
#define CAMPAIGN_PHASES 4

struct fault_class;

struct campaign {
    struct world *w;
    struct cycle_options cycle;
    char id[128], out[WORLD_PATH], bin[WORLD_PATH], shim[WORLD_PATH], ref[128], version[128];
    unsigned cycles;
    const struct fault_class *class[CAMPAIGN_CLASSES]; unsigned classes;
    bool asked[CAMPAIGN_PHASES + 1];          /* by number of the phase */
    bool all;                                 /* every class there is: what cannot be had here may be left out */
    bool keep;
    uint64_t seed;
    int64_t begun_ms;
    json_t *reports;                          /* array of phase reports, in order */
    json_t *not_run;                          /* [{phase, reason}] */
    char broken[sizeof(((struct err *)0)->msg)];   /* why the campaign ended early; "" it did not */
};

/* Runs the phases asked for, writes everything. Returns whether all of it passed; what went wrong is printed and in the
 * reports. */
bool campaign_run(struct campaign *c);

/* The phases: run, write their report, append it to c->reports. An error: the campaign must end (signal, no mesh). */
int phase1_run(struct campaign *c, struct err *err);
int phase2_run(struct campaign *c, struct err *err);
int phase4_run(struct campaign *c, struct err *err);
/* Whether the program under test has what the phase needs; otherwise the reason. */
bool phase1_exists(const struct campaign *c, char reason[256]);
bool phase3_exists(const struct campaign *c, char reason[256]);

/* Writes out/<name>.json and appends the report (taken over) to c->reports. */
int campaign_report(struct campaign *c, const char *name, json_t *report, struct err *err);
int campaign_summary(struct campaign *c, bool over, struct err *err);
/* Output of "<bin> args", at most size bytes; the exit code or negative. */
int campaign_tool(const struct campaign *c, const char *const *args, char *out, size_t size, struct err *err);

/* page.c: out/index.html and the list of campaigns beside it. */
int page_write(const struct campaign *c, const json_t *summary, struct err *err);
int page_list(const char *runs, struct err *err);

#endif
