/* soak.c - campaigns with changing seeds beside a mesh that lives on, and what that mesh grows by. */
#include <dirent.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "dump.h"
#include "fault.h"
#include "files.h"
#include "plot.h"
#include "soak.h"

#define BURST 400
#define SETTLE_MS 30000
#define WAL_MAX ((double)(64 << 20))
#define FDS_SLACK 12.0
#define RSS_FACTOR 1.5
#define RSS_SLACK ((double)(24 << 20))
#define WRITE_BYTES_MAX 24000.0 /* of disk per memory written, op log and indexes included */

enum gauge { RSS, FDS, WAL, DISK, GAUGES };
static const char *const gauge_name[GAUGES] = { "rss_bytes", "descriptors", "wal_bytes", "disk_bytes" };

struct sample {
    double at_s, value[MESH_NODES][GAUGES];
    int64_t written;
    unsigned lives[MESH_NODES];
};

struct soak {
    struct campaign *c;
    struct mesh mesh;
    struct history h;
    struct load load;
    struct sample *sample;
    size_t samples;
    json_t *reasons;
    int64_t begun_ms, written;
    unsigned round;
};

static void refuse(struct soak *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void refuse(struct soak *s, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    printf("      %s\n", text);
    if (json_array_size(s->reasons) < 100) json_array_append_new(s->reasons, json_string(text));
}

static double rss_of(int pid)
{
    char path[64];
    struct buf b;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    buf_init(&b, (size_t)1 << 20);
    const char *at = file_read(path, &b, NULL) == 0 ? strstr(buf_str(&b), "VmRSS:") : NULL;
    double kb = at ? strtod(at + 6, NULL) : 0;
    buf_release(&b);
    return kb * 1024;
}

static void count_one(void *data, const char *name)
{
    (void)name;
    ++*(double *)data;
}

static void measure(struct soak *s)
{
    struct sample *p;
    s->sample = mem_realloc(s->sample, (s->samples + 1) * sizeof *s->sample);
    p = &s->sample[s->samples++];
    memset(p, 0, sizeof *p);
    p->at_s = (double)(clock_mono_ms() - s->begun_ms) / 1000;
    p->written = s->written;
    for (int i = 0; i < MESH_NODES; i++) {
        const struct node *n = &s->mesh.node[i];
        char path[WORLD_PATH + 16];
        snprintf(path, sizeof path, "/proc/%d/fd", n->process.pid);
        p->value[i][RSS] = rss_of(n->process.pid);
        dir_each(path, count_one, &p->value[i][FDS], NULL);
        snprintf(path, sizeof path, "%s-wal", n->db);
        int64_t wal = file_size(path), db = file_size(n->db);
        p->value[i][WAL] = wal > 0 ? (double)wal : 0;
        p->value[i][DISK] = p->value[i][WAL] + (db > 0 ? (double)db : 0);
        p->lives[i] = n->lives;
    }
}

/* A burst on the mesh that lives on, with one of its nodes paused, killed or left alone in its midst. */
static int burst(struct soak *s, struct err *err)
{
    char ns[32], prefix[32];
    struct world *w = s->c->w;
    int64_t took = 0;
    int n = (int)world_pick(w, MESH_NODES), what = (int)(s->round % 4);
    snprintf(ns, sizeof ns, "soak-%u", s->round);
    snprintf(prefix, sizeof prefix, "s%u", s->round);
    struct load_plan p = { .ns = ns,
                           .prefix = prefix,
                           .creators = 12,
                           .creates = BURST,
                           .editors = 3,
                           .edits = BURST / 4,
                           .deletes = BURST / 8,
                           .create_nodes = 7,
                           .edit_nodes = 7,
                           .pause_ms = 10,
                           .patience_ms = 20000,
                           .strike_acks = BURST / 4,
                           .strike_flight = 4,
                           .strike = cycle_strike_here };
    load_start(&s->load, w, &s->mesh, &s->h, &p);
    int rc = world_wait(w, 60000, load_struck, &s->load, err, "a quarter of the burst");
    if (rc == 0 && what == 1) rc = node_pause(&s->mesh.node[n], err);
    if (rc == 0 && what == 1) rc = world_pass(w, 300, err);
    if (what == 1) node_resume(&s->mesh.node[n]);
    if (rc == 0 && what == 3) {
        node_signal(&s->mesh.node[n], SIGKILL);
        rc = node_gone(&s->mesh.node[n], 5000, err);
        if (rc == 0) rc = node_start(&s->mesh.node[n], err);
        if (rc == 0) rc = node_ready(&s->mesh.node[n], 30000, err);
    }
    if (rc == 0) rc = world_wait(w, 60000, load_done, &s->load, err, "the end of the burst");
    if (rc == 0) rc = dump_settle(&s->mesh, 7, &s->load, SETTLE_MS, &took, err);
    if (rc == 0 && took < 0) refuse(s, "round %u: the nodes do not agree after %d ms", s->round, SETTLE_MS);
    if (rc == 0 && what != 3 && s->load.create.ok < BURST)
        refuse(s, "round %u: %u of %d writes acknowledged", s->round, s->load.create.ok, BURST);
    s->written += s->load.create.ok;
    load_release(&s->load);
    return rc;
}

static int campaign_round(struct soak *s, struct err *err)
{
    static struct campaign c;
    c = *s->c;
    snprintf(c.out, sizeof c.out, "%.900s/round-%04u", s->c->out, s->round);
    c.seed = s->c->seed + s->round;
    c.cycles = 1;
    c.begun_ms = clock_mono_ms();
    c.reports = json_array();
    c.not_run = json_array();
    memset(c.asked, 0, sizeof c.asked);
    c.asked[4] = true;
    int rc = dir_make(c.out, err);
    if (rc == 0) rc = phase4_run(&c, err);
    const json_t *report = json_array_get(c.reports, 0);
    bool pass = json_is_true(json_object_get(report, "pass"));
    if (rc == 0 && !pass) refuse(s, "round %u: the campaign failed: see %s", s->round, c.out);
    if (rc == 0 && pass) dir_remove(c.out);
    json_decref(c.reports);
    json_decref(c.not_run);
    return rc;
}

static double median(const struct soak *s, size_t from, size_t to, int node, enum gauge g)
{
    double sum[512];
    size_t count = 0;
    for (size_t i = from; i < to && count < 512; i++) {
        double v = s->sample[i].value[node][g];
        size_t at = count++;
        while (at > 0 && sum[at - 1] > v) {
            sum[at] = sum[at - 1];
            at--;
        }
        sum[at] = v;
    }
    return count ? sum[count / 2] : 0;
}

/* The second quarter against the last: what is warm must not grow any more; the disk may, by what was written. */
static json_t *drift(struct soak *s)
{
    json_t *all = json_array();
    size_t n = s->samples;
    if (n == 0) return all;
    for (int i = 0; i < MESH_NODES; i++) {
        json_t *o = json_pack("{s:i}", "node", i);
        for (int g = 0; g < GAUGES; g++) {
            double before = median(s, n / 4, n / 2 > n / 4 ? n / 2 : n / 4 + 1, i, (enum gauge)g);
            double after = median(s, n - n / 4 - (n < 4), n, i, (enum gauge)g);
            json_object_set_new(o, gauge_name[g], json_pack("{s:f, s:f}", "before", before, "after", after));
            if (g != WAL && after <= 0) refuse(s, "node %d: %s could not be measured", i, gauge_name[g]);
            if (g == RSS && after > before * RSS_FACTOR + RSS_SLACK)
                refuse(s, "node %d: memory grew from %.0f to %.0f", i, before, after);
            if (g == FDS && after > before + FDS_SLACK)
                refuse(s, "node %d: descriptors grew from %.0f to %.0f", i, before, after);
            if (g == WAL && after > WAL_MAX) refuse(s, "node %d: its log is %.0f bytes", i, after);
        }
        double per = s->written ? s->sample[n - 1].value[i][DISK] / (double)s->written : 0;
        json_object_set_new(o, "disk_bytes_per_write", json_real(per));
        if (n > 3 && per > WRITE_BYTES_MAX) refuse(s, "node %d: %.0f bytes of disk per memory", i, per);
        json_array_append_new(all, o);
    }
    return all;
}

static int note_round(struct soak *s, struct err *err)
{
    char path[WORLD_PATH];
    const struct sample *p = &s->sample[s->samples - 1];
    json_t *nodes = json_array();
    for (int i = 0; i < MESH_NODES; i++) {
        json_t *o = json_pack("{s:i, s:i}", "node", i, "lives", (int)p->lives[i]);
        for (int g = 0; g < GAUGES; g++)
            json_object_set_new(o, gauge_name[g], json_integer((json_int_t)p->value[i][g]));
        json_array_append_new(nodes, o);
    }
    json_t *line = json_pack("{s:i, s:f, s:I, s:o}", "round", (int)s->round, "at_s", p->at_s, "written",
                             (json_int_t)p->written, "nodes", nodes);
    snprintf(path, sizeof path, "%.900s/soak.jsonl", s->c->out);
    int rc = file_append_json(path, line, err);
    json_decref(line);
    printf("round %u: %.0f s, %lld written, memory %.1f MiB, descriptors %.0f, log %.1f MiB, disk %.1f MiB (node 0)\n",
           s->round, p->at_s, (long long)p->written, p->value[0][RSS] / 1048576, p->value[0][FDS],
           p->value[0][WAL] / 1048576, p->value[0][DISK] / 1048576);
    return rc;
}

static void page(const struct soak *s, const json_t *report, struct err *err)
{
    static const char *const color[MESH_NODES] = { "#2a62c9", "#d98a00", "#197a3d" }, *const name[MESH_NODES] = {
        "node 0", "node 1", "node 2"
    };
    char path[WORLD_PATH];
    struct buf b;
    buf_init(&b, (size_t)64 << 20);
    buf_puts(
        &b,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Soak</title><style>body{font:15px "
        "system-ui,sans-serif;max-width:900px;margin:0 auto}svg{width:100%}.grid{stroke:#e3e6ee}.tick{font-size:10px}"
        ".axis{font-size:11px}</style></head><body>\n");
    buf_printf(&b, "<h1>Soak: %s</h1>\n", json_is_true(json_object_get(report, "pass")) ? "passed" : "FAILED");
    struct plot_point *points = mem_alloc((s->samples + 1) * MESH_NODES * sizeof *points);
    for (int g = 0; g < GAUGES; g++) {
        struct plot_series series[MESH_NODES];
        for (int i = 0; i < MESH_NODES; i++) {
            struct plot_point *at = points + (size_t)i * s->samples;
            for (size_t k = 0; k < s->samples; k++)
                at[k] = (struct plot_point){ s->sample[k].at_s / 60,
                                             s->sample[k].value[i][g] / (g == FDS ? 1 : 1048576), false };
            series[i] = (struct plot_series){ name[i], color[i], PLOT_LINE, at, s->samples };
        }
        plot_print(&b, &(struct plot){ .title = gauge_name[g],
                                       .x = "minutes",
                                       .y = g == FDS ? "" : "MiB",
                                       .series = series,
                                       .count = MESH_NODES });
    }
    buf_puts(&b, "</body></html>\n");
    snprintf(path, sizeof path, "%.900s/soak.html", s->c->out);
    file_write(path, b.data, b.len, err);
    mem_free(points);
    buf_release(&b);
}

static int rounds(struct soak *s, double hours, struct err *err)
{
    struct mesh_options o = { .bin = s->c->bin, .writes = 2, .timeout_ms = s->c->cycle.timeout_ms };
    char dir[WORLD_PATH];
    snprintf(dir, sizeof dir, "%.900s/soak", s->c->w->scratch);
    int rc = mesh_init(&s->mesh, s->c->w, &o, dir, err);
    if (rc == 0) rc = history_open(&s->h, dir, err);
    if (rc == 0) rc = mesh_start(&s->mesh, err);
    while (rc == 0 && (double)(clock_mono_ms() - s->begun_ms) < hours * 3600000) {
        s->round++;
        rc = burst(s, err);
        if (rc != 0) break;
        measure(s);
        rc = note_round(s, err);
        if (rc == 0) rc = campaign_round(s, err);
        if (s->h.file && ftell(s->h.file) > (64 << 20)) { /* nobody judges it: its size only has to stay bounded */
            history_close(&s->h, NULL);
            rc = rc ? rc : history_open(&s->h, dir, err);
        }
    }
    return rc;
}

bool soak_run(struct campaign *c, double hours)
{
    static struct soak s;
    struct err err = { 0 };
    char path[WORLD_PATH];
    memset(&s, 0, sizeof s);
    s.c = c;
    s.reasons = json_array();
    s.begun_ms = clock_mono_ms();
    int rc = dir_make(c->out, &err);
    if (rc == 0) rc = rounds(&s, hours, &err);
    if (rc != 0) refuse(&s, "%s", err.msg);
    if (s.samples == 0) refuse(&s, "not one round was completed: no data");
    c->w->closing++;
    load_release(&s.load);
    mesh_close(&s.mesh);
    c->w->closing--;
    history_close(&s.h, NULL);
    json_t *gauges = drift(&s);
    bool pass = json_array_size(s.reasons) == 0;
    json_t *report =
        json_pack("{s:b, s:f, s:i, s:I, s:O, s:o, s:I}", "pass", pass, "hours", hours, "rounds", (int)s.round,
                  "written", (json_int_t)s.written, "reasons", s.reasons, "drift", gauges, "seed", (json_int_t)c->seed);
    snprintf(path, sizeof path, "%.900s/soak.json", c->out);
    if (file_write_json(path, report, &err) != 0) pass = false;
    page(&s, report, NULL);
    printf("soak: %s, %u rounds, %s\n", pass ? "PASSED" : "FAILED", s.round, path);
    json_decref(report);
    json_decref(s.reasons);
    mem_free(s.sample);
    return pass;
}
