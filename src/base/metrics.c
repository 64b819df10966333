/* metrics.c - the sample store behind the metrics table and its Prometheus text. */
#include "base/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/json.h"

#define SERIES_MAX 64
#define PREFIX "ai_memory_"

struct series {
    char *labels;     /* owned; NULL: none */
    double value;     /* of a histogram: the sum */
    uint64_t count;   /* histogram: observations */
    uint64_t *bucket; /* owned; histogram: observations per bucket, not cumulated */
};

struct family {
    const struct metric *row; /* borrowed */
    struct series *series;    /* owned; in order of the first sample */
    int count, bucket_count;
};

struct metrics {
    int count;
    struct family *family;  /* owned; by id */
    struct family **sorted; /* owned; the same by name */
};

static int by_name(const void *a, const void *b)
{
    const struct family *const *x = a, *const *y = b;
    return strcmp((*x)->row->name, (*y)->row->name);
}

static struct series *series_new(struct family *f, const char *labels)
{
    f->series = mem_realloc(f->series, (size_t)(f->count + 1) * sizeof(*f->series));
    struct series *s = &f->series[f->count++];
    *s = (struct series){ .labels = mem_strdup(labels) };
    if (f->bucket_count > 0) s->bucket = mem_alloc((size_t)f->bucket_count * sizeof(*s->bucket));
    return s;
}

struct metrics *metrics_new(const struct metric *table, int count)
{
    struct metrics *m = mem_alloc(sizeof(*m));
    m->count = count;
    m->family = mem_alloc((size_t)count * sizeof(*m->family));
    m->sorted = mem_alloc((size_t)count * sizeof(struct family *));
    for (int i = 0; i < count; i++) {
        struct family *f = &m->family[i];
        f->row = &table[i];
        CHECK((f->row->kind == METRIC_HISTOGRAM) == (f->row->buckets != NULL));
        while (f->row->buckets != NULL && f->row->buckets[f->bucket_count] >= 0) f->bucket_count++;
        if (f->row->labels == NULL) series_new(f, NULL);
        m->sorted[i] = f;
    }
    qsort(m->sorted, (size_t)count, sizeof(struct family *), by_name);
    return m;
}

void metrics_free(struct metrics *m)
{
    if (m == NULL) return;
    for (int i = 0; i < m->count; i++) {
        struct family *f = &m->family[i];
        for (int j = 0; j < f->count; j++) {
            mem_free(f->series[j].labels);
            mem_free(f->series[j].bucket);
        }
        mem_free(f->series);
    }
    mem_free(m->family);
    mem_free(m->sorted);
    mem_free(m);
}

static struct family *family_of(struct metrics *m, int id, const char *labels)
{
    CHECK(id >= 0 && id < m->count);
    struct family *f = &m->family[id];
    CHECK((labels == NULL) == (f->row->labels == NULL));
    return f;
}

static struct series *find(struct family *f, const char *labels)
{
    if (labels == NULL) return &f->series[0];
    for (int i = 0; i < f->count; i++) {
        if (strcmp(f->series[i].labels, labels) == 0) return &f->series[i];
    }
    return NULL;
}

static struct series *find_or_add(struct family *f, const char *labels)
{
    struct series *s = find(f, labels);
    if (s != NULL) return s;
    return f->count < SERIES_MAX ? series_new(f, labels) : &f->series[SERIES_MAX - 1];
}

void metrics_add(struct metrics *m, int id, const char *labels, double amount)
{
    struct family *f = family_of(m, id, labels);
    CHECK(f->row->kind == METRIC_GAUGE || (f->row->kind == METRIC_COUNTER && amount >= 0));
    find_or_add(f, labels)->value += amount;
}

void metrics_set(struct metrics *m, int id, const char *labels, double value)
{
    struct family *f = family_of(m, id, labels);
    CHECK(f->row->kind != METRIC_HISTOGRAM);
    find_or_add(f, labels)->value = value;
}

void metrics_observe(struct metrics *m, int id, const char *labels, double value)
{
    struct family *f = family_of(m, id, labels);
    CHECK(f->row->kind == METRIC_HISTOGRAM);
    struct series *s = find_or_add(f, labels);
    s->value += value;
    s->count++;
    for (int i = 0; i < f->bucket_count; i++) {
        if (value > f->row->buckets[i]) continue;
        s->bucket[i]++;
        break;
    }
}

double metrics_get(struct metrics *m, int id, const char *labels)
{
    struct family *f = family_of(m, id, labels);
    const struct series *s = find(f, labels);
    if (s == NULL) return 0;
    return f->row->kind == METRIC_HISTOGRAM ? (double)s->count : s->value;
}

static void print_number(struct buf *b, double v)
{
    if (isnan(v)) {
        buf_puts(b, "NaN");
    } else if (isinf(v)) {
        buf_puts(b, v > 0 ? "+Inf" : "-Inf");
    } else if (fabs(v) < 1e15 && trunc(v) == v) {
        buf_printf(b, "%lld", (long long)v);
    } else {
        json_print_double(b, v);
    }
}

/* "ai_memory_<name><suffix>{<labels>} ", without braces when there are no labels. */
static void print_head(struct buf *b, const struct family *f, const struct series *s, const char *suffix)
{
    buf_printf(b, PREFIX "%s%s", f->row->name, suffix);
    if (s->labels != NULL) buf_printf(b, "{%s}", s->labels);
    buf_putc(b, ' ');
}

static void print_bucket(struct buf *b, const struct family *f, const struct series *s, double bound, uint64_t count)
{
    buf_printf(b, PREFIX "%s_bucket{%s%sle=\"", f->row->name, s->labels == NULL ? "" : s->labels,
               s->labels == NULL ? "" : ",");
    print_number(b, bound);
    buf_printf(b, "\"} %llu\n", (unsigned long long)count);
}

static void print_histogram(struct buf *b, const struct family *f, const struct series *s)
{
    uint64_t below = 0;
    for (int i = 0; i < f->bucket_count; i++) {
        below += s->bucket[i];
        print_bucket(b, f, s, f->row->buckets[i], below);
    }
    print_bucket(b, f, s, INFINITY, s->count);
    print_head(b, f, s, "_sum");
    print_number(b, s->value);
    buf_putc(b, '\n');
    print_head(b, f, s, "_count");
    buf_printf(b, "%llu\n", (unsigned long long)s->count);
}

static void print_help(struct buf *b, const struct metric *row)
{
    buf_printf(b, "# HELP " PREFIX "%s ", row->name);
    for (const char *p = row->help; *p != '\0'; p++) {
        if (*p == '\\') {
            buf_puts(b, "\\\\");
        } else if (*p == '\n') {
            buf_puts(b, "\\n");
        } else {
            buf_putc(b, *p);
        }
    }
    buf_putc(b, '\n');
}

void metrics_print(struct metrics *m, struct buf *b)
{
    static const char *const kinds[] = { "counter", "gauge", "histogram" };
    for (int i = 0; i < m->count; i++) {
        const struct family *f = m->sorted[i];
        if (f->count == 0) continue;
        print_help(b, f->row);
        buf_printf(b, "# TYPE " PREFIX "%s %s\n", f->row->name, kinds[f->row->kind]);
        for (int j = 0; j < f->count; j++) {
            const struct series *s = &f->series[j];
            if (f->row->kind == METRIC_HISTOGRAM) {
                print_histogram(b, f, s);
                continue;
            }
            print_head(b, f, s, "");
            print_number(b, s->value);
            buf_putc(b, '\n');
        }
    }
}
