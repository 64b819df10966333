/* page_plots.c - the charts of one fault class. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/json.h"
#include "check_read.h"
#include "files.h"
#include "page_plots.h"
#include "plot.h"

#define POINTS_MAX 20000
#define HISTORIES_MAX 6

struct points {
    struct plot_point *at;
    size_t count;
};

static void add(struct points *p, double x, double y, bool bad)
{
    if (p->count >= POINTS_MAX) return;
    if ((p->count & (p->count - 1)) == 0) p->at = mem_realloc(p->at, (p->count ? p->count * 2 : 1) * sizeof *p->at);
    p->at[p->count++] = (struct plot_point){ x, y, bad };
}

static int64_t number_of(const json_t *o, const char *name)
{
    return json_integer_value(json_object_get(o, name));
}

static void read_cycles(const char *path, struct points *converge, struct points *ok, struct points *found)
{
    struct buf b;
    buf_init(&b, FILE_BYTES_MAX);
    if (file_read(path, &b, NULL) != 0) b.len = 0;
    for (size_t at = 0; at < b.len;) {
        const char *end = memchr(b.data + at, '\n', b.len - at);
        size_t len = end ? (size_t)(end - (b.data + at)) : b.len - at;
        json_t *line = json_parse(b.data + at, len, NULL, 0, NULL);
        double n = (double)number_of(line, "cycle");
        bool pass = json_is_true(json_object_get(line, "pass"));
        if (line && number_of(line, "converge_ms") >= 0)
            add(converge, n, (double)number_of(line, "converge_ms"), !pass);
        if (line) add(ok, n, (double)number_of(line, "ok"), false);
        if (line) add(found, n, (double)number_of(line, "found"), number_of(line, "found") < number_of(line, "ok"));
        json_decref(line);
        at += len + 1;
    }
    buf_release(&b);
}

struct histories {
    const char *dir;
    struct points took, refused;
    double longest;
    unsigned count;
};

static void read_history(void *data, const char *name)
{
    struct histories *h = data;
    char dir[1024];
    struct record r;
    if (h->count >= HISTORIES_MAX) return;
    h->count++;
    snprintf(dir, sizeof dir, "%s/%s", h->dir, name);
    if (record_read(&r, dir, NULL) == 0 && r.fault_us != INT64_MAX) {
        for (size_t i = 1; i < r.ops; i++) {
            const struct op *op = &r.op[i];
            if (op->invoke == NULL || op->answer == NULL || op->kind != OP_CREATE || op->status == 0 || op->probe)
                continue;
            double x = (double)(op->from_us - r.fault_us) / 1000, y = (double)(op->to_us - op->from_us) / 1000;
            add(op->status == 201 ? &h->took : &h->refused, x, y, op->status != 201);
        }
    }
    record_release(&r);
}

void page_plots(struct buf *b, const char *out, const char *class)
{
    char path[1024], dir[1024];
    struct points converge = { 0 }, ok = { 0 }, found = { 0 };
    snprintf(path, sizeof path, "%.700s/phase4-%.200s.jsonl", out, class);
    snprintf(dir, sizeof dir, "%.700s/evidence/%.200s", out, class);
    read_cycles(path, &converge, &ok, &found);
    struct plot_series agreement = { "agreement", "#3f78e0", PLOT_DOTS, converge.at, converge.count };
    plot_print(b, &(struct plot){ .title = "Time from the end of the fault to full agreement",
                                  .x = "cycle",
                                  .y = "ms",
                                  .series = &agreement,
                                  .count = 1,
                                  .whole_x = true });
    struct histories h = { .dir = dir };
    dir_each(dir, read_history, &h, NULL);
    struct plot_series latency[] = { { "201", "#3f78e0", PLOT_DOTS, h.took.at, h.took.count },
                                     { "refused", "#d33", PLOT_DOTS, h.refused.at, h.refused.count } };
    if (h.took.count + h.refused.count > 0)
        plot_print(b, &(struct plot){ .title = "Latency of writes around the fault (cycles whose evidence was kept)",
                                      .x = "ms since the fault began",
                                      .y = "ms",
                                      .series = latency,
                                      .count = 2,
                                      .mark = "the fault begins" });
    struct plot_series counts[] = { { "acknowledged", "#d98a00", PLOT_RINGS, ok.at, ok.count },
                                    { "found on both others", "#2e9e57", PLOT_DOTS, found.at, found.count } };
    plot_print(b, &(struct plot){ .title = "Acknowledged and found, per cycle",
                                  .x = "cycle",
                                  .y = "writes",
                                  .series = counts,
                                  .count = 2,
                                  .whole_x = true });
    mem_free(converge.at);
    mem_free(ok.at);
    mem_free(found.at);
    mem_free(h.took.at);
    mem_free(h.refused.at);
}
