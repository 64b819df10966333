/* metrics.h - counters, gauges and histograms from one documented table, as Prometheus text. Loop thread only. */
#ifndef AIM_BASE_METRICS_H
#define AIM_BASE_METRICS_H

#include <stdint.h>

struct buf;

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
    const char *name, *help;        /* without the ai_memory_ prefix */
    enum metric_kind kind;
    const char *labels;             /* comma list of label names, sorted; NULL: none */
    const double *buckets;          /* histogram: ascending, ended by a negative number */
};

struct metrics;
/* The table is borrowed for life. A family with labels prints only after its first sample; one without always. */
struct metrics *metrics_new(const struct metric *table, int count);
void metrics_free(struct metrics *m);
/* `labels` is the ready text between the braces, e.g. "mode=\"keyword\"" (NULL for none); at most 64 series a family,
 * further ones are folded into the last. A family with labels takes no sample without, nor the reverse. `id` is the
 * row's index in the table. */
void metrics_add(struct metrics *m, int id, const char *labels, double amount);
void metrics_set(struct metrics *m, int id, const char *labels, double value);
void metrics_observe(struct metrics *m, int id, const char *labels, double value);
/* 0 for a series without a sample; of a histogram: the number of observations. */
double metrics_get(struct metrics *m, int id, const char *labels);
void metrics_print(struct metrics *m, struct buf *b);   /* families sorted by name, HELP and TYPE lines */

#endif
