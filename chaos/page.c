/* page.c - a campaign as one self-contained HTML page, and the list of campaigns beside it. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "campaign.h"
#include "fault.h"
#include "files.h"
#include "page_plots.h"
#include "plot.h"

#define PAGE_BYTES ((size_t)256 << 20)
#define PAGES_MAX 400

static const char style[] =
    "body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:1000px;padding:0 1em "
    "4em;color:#1d2433;background:#fff}"
    "h1{font-size:1.5em}h2{margin-top:2em;border-bottom:1px solid #ccd;padding-bottom:.2em}h3{margin-bottom:.2em}"
    ".verdict{padding:.8em 1em;border-radius:6px;color:#fff;font-size:1.25em;font-weight:600}.yes{background:#197a3d}"
    ".no{background:#b3261e}.not{background:#666}table{border-collapse:collapse;width:100%}td,th{text-align:left;"
    "padding:.25em .6em;border-bottom:1px solid #e3e6ee;vertical-align:top}td.ok{color:#197a3d}td.bad{color:#b3261e;"
    "font-weight:600}pre{background:#f4f5f9;padding:.8em;overflow:auto;max-height:32em;font-size:12px}"
    "figure{margin:1em 0}figcaption{font-weight:600;font-size:.92em}svg{width:100%;height:auto;background:#fafbfd;"
    "border:1px solid #e3e6ee}.grid{stroke:#e3e6ee}.tick{font-size:10px;fill:#667}.axis{font-size:11px;fill:#445}"
    ".mark{stroke:#d98a00;stroke-dasharray:4 3}.facts td:first-child{color:#667;width:12em}a{color:#2a62c9}"
    "@media(prefers-color-scheme:dark){body{background:#14171f;color:#dde2ee}pre,svg{background:#1c202b}"
    ".tick,.axis{fill:#aab}.grid{stroke:#333a4a}td,th,svg,h2{border-color:#333a4a}td.ok{color:#5fcf8b}"
    "td.bad{color:#ff8a80}.facts td:first-child{color:#9aa3b8}a{color:#8ab4ff}}";

static const char *text_of(const json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}
static int64_t number_of(const json_t *o, const char *name)
{
    return json_integer_value(json_object_get(o, name));
}
static bool passed(const json_t *o)
{
    return json_is_true(json_object_get(o, "pass"));
}

static const json_t *report_of(const json_t *summary, int phase)
{
    const json_t *r;
    size_t i;
    json_array_foreach (json_object_get(summary, "phases"), i, r) {
        if (number_of(r, "phase") == phase) return r;
    }
    return NULL;
}

static void head(struct buf *b, const char *title)
{
    buf_puts(b, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
                "content=\"width=device-width,initial-scale=1\"><title>");
    html_text(b, title);
    buf_printf(b, "</title><style>%s</style></head><body>\n<h1>", style);
    html_text(b, title);
    buf_puts(b, "</h1>\n");
}

static void fact(struct buf *b, const char *name, const char *text)
{
    buf_printf(b, "<tr><td>%s</td><td>", name);
    html_text(b, text);
    buf_puts(b, "</td></tr>\n");
}

static void check_row(struct buf *b, const char *name, const char *expected, const char *got, bool ok)
{
    buf_puts(b, "<tr><td>");
    html_text(b, name);
    buf_puts(b, "</td><td>");
    html_text(b, expected);
    buf_puts(b, "</td><td>");
    html_text(b, got);
    buf_printf(b, "</td><td class=\"%s\">%s</td></tr>\n", ok ? "ok" : "bad", ok ? "passed" : "failed");
}

static void check_head(struct buf *b)
{
    buf_puts(b, "<table><tr><th>check</th><th>expected</th><th>got</th><th></th></tr>\n");
}

static void raw(struct buf *b, const char *name, const json_t *doc)
{
    struct buf text;
    buf_init(&text, PAGE_BYTES);
    json_print_pretty_ordered(&text, doc);
    buf_printf(b, "<details><summary>%s</summary><pre>", name);
    html_text(b, buf_str(&text));
    buf_puts(b, "</pre></details>\n");
    buf_release(&text);
}

static void reasons(struct buf *b, const json_t *report)
{
    const json_t *reason;
    size_t i;
    if (json_array_size(json_object_get(report, "reasons")) == 0) return;
    buf_puts(b, "<p>What went wrong:</p><ul>\n");
    json_array_foreach (json_object_get(report, "reasons"), i, reason) {
        buf_puts(b, "<li>");
        html_text(b, json_string_value(reason));
        buf_puts(b, "</li>\n");
    }
    buf_puts(b, "</ul>\n");
}

static void not_run(struct buf *b, const json_t *summary, int phase)
{
    const json_t *n;
    size_t i;
    const char *why = "";
    json_array_foreach (json_object_get(summary, "not_run"), i, n) {
        if (number_of(n, "phase") == phase) why = text_of(n, "reason");
    }
    buf_printf(b,
               "<p><span class=\"verdict not\">NOT RUN</span></p><p>Nothing is known of this phase in this campaign: ");
    html_text(b, why && *why ? why : "the campaign ended before it");
    buf_puts(b, ".</p>\n");
}

/* --- three readings --- */

struct totals {
    int64_t ok, writes, found, lost, cycles, converge_max;
    unsigned classes;
};

static struct totals totals_of(const json_t *phase4)
{
    struct totals t = { 0 };
    const char *name;
    json_t *d;
    json_object_foreach (json_object_get(phase4, "details_by_fault"), name, d) {
        t.classes++;
        t.cycles += number_of(d, "cycles");
        t.writes += number_of(d, "writes");
        t.ok += number_of(d, "ok");
        t.found += number_of(d, "found");
        t.lost += number_of(d, "lost") + number_of(d, "doubled") + number_of(d, "revived");
        if (number_of(d, "converge_ms_max") > t.converge_max) t.converge_max = number_of(d, "converge_ms_max");
    }
    return t;
}

/* Whether every phase that ran passed, and at least one did. */
static bool ran_well(const json_t *summary)
{
    const json_t *r;
    size_t i;
    json_array_foreach (json_object_get(summary, "phases"), i, r) {
        if (!passed(r)) return false;
    }
    return i > 0;
}

/* What stands between this campaign and a pass, one line each. */
static void obstacles(struct buf *b, const json_t *summary)
{
    const json_t *asked;
    size_t i;
    buf_puts(b, "<ul>\n");
    json_array_foreach (json_object_get(summary, "phases_asked"), i, asked) {
        int phase = (int)json_integer_value(asked);
        const json_t *r = report_of(summary, phase);
        const char *why = r ? json_string_value(json_array_get(json_object_get(r, "reasons"), 0)) : "NOT RUN";
        if (r && passed(r)) continue;
        buf_printf(b, "<li>Phase %d: ", phase);
        html_text(b, why ? why : "failed");
        buf_puts(b, "</li>\n");
    }
    buf_puts(b, "</ul>\n");
}

static void readings(struct buf *b, const json_t *summary)
{
    const json_t *p4 = report_of(summary, 4), *p2 = report_of(summary, 2);
    bool pass = json_is_true(json_object_get(summary, "overall_pass"));
    struct totals t = totals_of(p4);
    buf_puts(b, "<h2>What this means</h2>\n<h3>If you use it</h3><p>");
    if (t.ok > 0)
        buf_printf(
            b,
            "We stored %lld memories while machines were killed, stopped, cut off from each other or given wrong "
            "clocks. "
            "Of those that were confirmed, %lld were missing, doubled or came back after they had been deleted. ",
            (long long)t.ok, (long long)t.lost);
    buf_puts(b, pass ? "What it says it remembers, it remembered."
                : t.lost > 0 || !ran_well(summary)
                    ? "This version must not be trusted with your memories."
                    : "Nothing that ran failed, but not all of it ran: nothing is proven.");
    buf_puts(b, "</p>\n<h3>If you decide about it</h3><p>");
    buf_printf(b, "The campaign %s. ",
               pass                ? "passed everything it was asked to prove"
               : ran_well(summary) ? "did not run everything it was asked for: do not release on it"
                                   : "failed: do not release");
    if (p4)
        buf_printf(
            b,
            "%u kinds of failure, %lld trials, %lld writes attempted; %lld confirmed, %lld of them found on both other "
            "nodes. After the worst failure the nodes agreed again within %.1f seconds. ",
            t.classes, (long long)t.cycles, (long long)t.writes, (long long)t.ok, (long long)t.found,
            (double)t.converge_max / 1000);
    buf_puts(b, "Phases that did not run prove nothing, in either direction.</p>\n<h3>If you build it</h3><p>");
    if (p2)
        buf_printf(b,
                   "Phase 2: %lld of %lld acknowledged, converged %lld ms after the last answer; both peers down "
                   "answered %s in "
                   "%lld ms. ",
                   (long long)number_of(p2, "ok"), (long long)number_of(p2, "total_writes"),
                   (long long)number_of(p2, "converge_ms"), text_of(p2, "probe2_both_peers_down"),
                   (long long)number_of(p2, "probe2_ms"));
    buf_puts(b, "Every cycle has a fresh mesh of three; the fault strikes after a chosen number of acknowledgements "
                "with writes in "
                "flight; a checker that sees only the recorded history and complete dumps judges. Evidence of failed "
                "cycles lies "
                "under <code>evidence/</code>; <code>ai-memory-chaos check DIR</code> judges it again.</p>\n");
}

/* --- phases --- */

static void phase1(struct buf *b, const json_t *summary)
{
    const json_t *r;
    size_t i;
    bool any = false;
    buf_puts(b, "<h2>Phase 1: the program by itself</h2>\n");
    json_array_foreach (json_object_get(summary, "phases"), i, r) {
        char got[128];
        if (number_of(r, "phase") != 1) continue;
        if (!any) check_head(b);
        any = true;
        snprintf(got, sizeof got, "%lld hits, %lld tools, %lld snapshot, %lld manifest",
                 (long long)number_of(r, "recall_count"), (long long)number_of(r, "mcp_tool_count"),
                 (long long)number_of(r, "snapshot_count"), (long long)number_of(r, "manifest_count"));
        check_row(b, "store, recall, stats, backup, curator, tools", "at least 1 hit, 30 tools; 1 snapshot, 1 manifest",
                  got, passed(r));
    }
    if (!any) {
        not_run(b, summary, 1);
        return;
    }
    buf_puts(b, "</table>\n");
    json_array_foreach (json_object_get(summary, "phases"), i, r) {
        if (number_of(r, "phase") != 1) continue;
        reasons(b, r);
        raw(b, "report", r);
    }
}

static void checks_of(struct buf *b, const json_t *checks)
{
    const json_t *k;
    size_t i;
    json_array_foreach (checks, i, k) {
        struct buf got;
        buf_init(&got, 4096);
        const json_t *g = json_object_get(k, "got");
        if (json_is_string(g))
            buf_puts(&got, json_string_value(g));
        else
            json_print(&got, g);
        check_row(b, text_of(k, "name"), text_of(k, "expected"), buf_str(&got), passed(k));
        buf_release(&got);
    }
}

static void phase2(struct buf *b, const json_t *summary)
{
    const json_t *r = report_of(summary, 2), *counts = json_object_get(r, "counts");
    char got[128];
    buf_puts(b, "<h2>Phase 2: four agents, three nodes</h2>\n");
    if (r == NULL) {
        not_run(b, summary, 2);
        return;
    }
    check_head(b);
    snprintf(got, sizeof got, "%lld, %lld refused for lack of a quorum", (long long)number_of(r, "fail"),
             (long long)number_of(r, "quorum_not_met"));
    check_row(b, "writes answered neither 201 nor 503", "0", got, number_of(r, "fail") == 0);
    snprintf(got, sizeof got, "%lld acknowledged; a %lld, b %lld, c %lld", (long long)number_of(r, "ok"),
             (long long)number_of(counts, "a"), (long long)number_of(counts, "b"), (long long)number_of(counts, "c"));
    check_row(b, "acknowledged writes on every node", "all of them", got,
              number_of(counts, "a") >= number_of(r, "ok") && number_of(counts, "b") >= number_of(r, "ok") &&
                  number_of(counts, "c") >= number_of(r, "ok"));
    snprintf(got, sizeof got, "%lld ms", (long long)number_of(r, "converge_ms"));
    check_row(b, "time to full agreement", "well below 2 s", got,
              number_of(r, "converge_ms") >= 0 && number_of(r, "converge_ms") < 2000);
    const char *p1 = text_of(r, "probe1_single_peer_down"), *p2 = text_of(r, "probe2_both_peers_down");
    check_row(b, "probe 1: one peer down", "201", p1, p1 && strcmp(p1, "201") == 0);
    check_row(b, "probe 2: both peers down", "503", p2, p2 && strcmp(p2, "503") == 0);
    snprintf(got, sizeof got, "%lld ms", (long long)number_of(r, "return_converge_ms"));
    check_row(b, "the returned peers have everything", "without anybody asking", got,
              number_of(r, "return_converge_ms") >= 0);
    checks_of(b, json_object_get(r, "checks"));
    buf_puts(b, "</table>\n");
    reasons(b, r);
    raw(b, "phase2.json", r);
}

static void bound_row(struct buf *b, const char *what, const char *name, double v, bool asked)
{
    char title[128], got[64];
    snprintf(title, sizeof title, "%.60s: %s", name, what);
    snprintf(got, sizeof got, "%.4f", v);
    if (asked)
        check_row(b, title, "at least 0.995", got, v >= 0.995);
    else
        buf_printf(b, "<tr><td>%s</td><td>not asked of this class</td><td>%s</td><td></td></tr>\n", title, got);
}

static void lacking_row(struct buf *b, const char *name, const char *why)
{
    buf_printf(b, "<tr><td>%s</td><td>", name);
    html_text(b, why);
    buf_puts(b, "</td><td></td><td>NOT RUN</td></tr>\n");
}

static void phase4(struct buf *b, const struct campaign *c, const json_t *summary)
{
    const json_t *r = report_of(summary, 4);
    const char *name;
    json_t *v;
    buf_puts(b, "<h2>Phase 4: chaos</h2>\n");
    if (r == NULL) {
        not_run(b, summary, 4);
        return;
    }
    buf_printf(b, "<p>%lld cycles of %lld writes for each class; cuts by %s.</p>\n",
               (long long)number_of(r, "cycles_per_fault"), (long long)number_of(r, "writes_per_cycle"),
               text_of(r, "cuts"));
    check_head(b);
    json_object_foreach (json_object_get(r, "convergence_by_fault"), name, v) {
        const struct fault_class *f = fault_find(name);
        const json_t *d = json_object_get(json_object_get(r, "details_by_fault"), name);
        char got[160], verdict[128];
        bound_row(b, "convergence", name, json_real_value(v), true);
        bound_row(b, "availability", name,
                  json_real_value(json_object_get(json_object_get(r, "availability_by_fault"), name)),
                  f == NULL || !(f->flags & FAULT_KILLS));
        snprintf(got, sizeof got,
                 "%lld of %lld cycles; lost %lld, doubled %lld, revived %lld; agreed after %lld ms, at most %lld",
                 (long long)number_of(d, "passed"), (long long)number_of(d, "cycles"), (long long)number_of(d, "lost"),
                 (long long)number_of(d, "doubled"), (long long)number_of(d, "revived"),
                 (long long)number_of(d, "converge_ms_mean"), (long long)number_of(d, "converge_ms_max"));
        snprintf(verdict, sizeof verdict, "%.60s: the checker's verdict", name);
        check_row(b, verdict, "every cycle", got,
                  number_of(d, "cycles") > 0 && number_of(d, "passed") == number_of(d, "cycles"));
    }
    json_object_foreach (json_object_get(r, "not_run_by_fault"), name, v) lacking_row(b, name, json_string_value(v));
    buf_puts(b, "</table>\n");
    reasons(b, r);
    json_object_foreach (json_object_get(r, "convergence_by_fault"), name, v) {
        const struct fault_class *f = fault_find(name);
        buf_puts(b, "<h3>");
        html_text(b, name);
        buf_puts(b, "</h3><p>");
        html_text(b, f ? f->text : "");
        buf_puts(b, f && f->expects ? " Availability to be expected: " : "");
        html_text(b, f ? f->expects : NULL);
        buf_puts(b, f && f->expects ? ".</p>\n" : "</p>\n");
        page_plots(b, c->out, name);
    }
    raw(b, "phase4.json", r);
}

int page_write(const struct campaign *c, const json_t *summary, struct err *err)
{
    char path[WORLD_PATH], text[256];
    struct buf b;
    bool pass = json_is_true(json_object_get(summary, "overall_pass"));
    const char *when = text_of(summary, "completed_at"), *broken = text_of(summary, "broken");
    buf_init(&b, PAGE_BYTES);
    snprintf(text, sizeof text, "Ship gate: %s", c->id);
    head(&b, text);
    buf_printf(&b, "<p class=\"verdict %s\">%s</p>\n", pass ? "yes" : "no",
               pass   ? "PASSED"
               : when ? "FAILED"
                      : "INCOMPLETE: the campaign is under way, or was killed");
    if (broken && *broken) {
        buf_puts(&b, "<p>The campaign ended early: ");
        html_text(&b, broken);
        buf_puts(&b, "</p>\n");
    }
    if (when && !pass) obstacles(&b, summary);
    buf_puts(&b, "<h2>Run focus</h2><table class=\"facts\">\n");
    fact(&b, "program", c->version);
    fact(&b, "source", c->ref);
    fact(&b, "completed", when ? when : "not");
    snprintf(text, sizeof text, "%lld s", (long long)(number_of(summary, "took_ms") / 1000));
    fact(&b, "took", text);
    snprintf(text, sizeof text, "%u classes, %u cycles of %u writes; quorum 2 of 3, time-out %u ms; seed %llu",
             c->classes, c->cycles, c->cycle.writes, c->cycle.timeout_ms, (unsigned long long)c->seed);
    fact(&b, "phase 4", text);
    buf_puts(&b, "</table>\n");
    readings(&b, summary);
    phase1(&b, summary);
    phase2(&b, summary);
    buf_puts(&b, "<h2>Phase 3: migration between backends</h2>\n");
    not_run(&b, summary, 3);
    phase4(&b, c, summary);
    raw(&b, "campaign-summary.json", summary);
    buf_puts(&b, "</body></html>\n");
    snprintf(path, sizeof path, "%.900s/index.html", c->out);
    int rc = b.failed ? err_set(err, E_TOO_LARGE, "the page would be too large") : file_write(path, b.data, b.len, err);
    buf_release(&b);
    snprintf(path, sizeof path, "%.900s/..", c->out);
    return rc == 0 ? page_list(path, err) : rc;
}

/* --- all campaigns --- */

struct list_of {
    struct buf *b;
    const char *runs;
    unsigned count;
};

static void list_one(void *data, const char *name)
{
    struct list_of *l = data;
    char path[2 * WORLD_PATH];
    snprintf(path, sizeof path, "%s/%s/campaign-summary.json", l->runs, name);
    json_t *s = file_exists(path) && l->count < PAGES_MAX ? file_read_json(path, NULL) : NULL;
    if (s == NULL) return;
    const char *when = text_of(s, "completed_at");
    bool pass = json_is_true(json_object_get(s, "overall_pass"));
    l->count++;
    buf_puts(l->b, "<tr><td><a href=\"");
    html_text(l->b, name);
    buf_puts(l->b, "/index.html\">");
    html_text(l->b, name);
    buf_puts(l->b, "</a></td><td>");
    html_text(l->b, text_of(s, "ai_memory_git_ref"));
    buf_puts(l->b, "</td><td>");
    html_text(l->b, when ? when : "");
    buf_printf(l->b, "</td><td class=\"%s\">%s</td></tr>\n", pass ? "ok" : "bad",
               pass   ? "passed"
               : when ? "failed"
                      : "incomplete");
    json_decref(s);
}

int page_list(const char *runs, struct err *err)
{
    char path[WORLD_PATH];
    struct buf b;
    buf_init(&b, PAGE_BYTES);
    struct list_of l = { .b = &b, .runs = runs };
    head(&b, "Ship gate: all campaigns");
    buf_puts(&b, "<table><tr><th>campaign</th><th>source</th><th>completed</th><th></th></tr>\n");
    int rc = dir_each(runs, list_one, &l, err);
    buf_puts(&b, "</table></body></html>\n");
    snprintf(path, sizeof path, "%.900s/index.html", runs);
    if (rc == 0) rc = file_write(path, b.data, b.len, err);
    buf_release(&b);
    return rc;
}
