/* The metrics table as Prometheus text. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/metrics.h"

enum { WRITES, MEMORIES, LATENCY, SEARCHES, PER_DOOR };

static const double seconds[] = { 0.005, 0.25, 1, -1 };
static const struct metric table[] = {
    [WRITES] = { "writes_total", "Writes.", METRIC_COUNTER, NULL, NULL },
    [MEMORIES] = { "memories", "Live rows,\nback\\slash.", METRIC_GAUGE, NULL, NULL },
    [LATENCY] = { "latency_seconds", "Time.", METRIC_HISTOGRAM, NULL, seconds },
    [SEARCHES] = { "searches_total", "By mode.", METRIC_COUNTER, "mode", NULL },
    [PER_DOOR] = { "door_seconds", "Time by door.", METRIC_HISTOGRAM, "door", seconds },
};

static void fresh_table(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(table, ARRAY_LEN(table));
    struct buf b;
    buf_init(&b, 100000);
    metrics_print(m, &b);
    assert_string_equal(buf_str(&b), "# HELP ai_memory_latency_seconds Time.\n"
                                     "# TYPE ai_memory_latency_seconds histogram\n"
                                     "ai_memory_latency_seconds_bucket{le=\"0.005\"} 0\n"
                                     "ai_memory_latency_seconds_bucket{le=\"0.25\"} 0\n"
                                     "ai_memory_latency_seconds_bucket{le=\"1\"} 0\n"
                                     "ai_memory_latency_seconds_bucket{le=\"+Inf\"} 0\n"
                                     "ai_memory_latency_seconds_sum 0\n"
                                     "ai_memory_latency_seconds_count 0\n"
                                     "# HELP ai_memory_memories Live rows,\\nback\\\\slash.\n"
                                     "# TYPE ai_memory_memories gauge\n"
                                     "ai_memory_memories 0\n"
                                     "# HELP ai_memory_writes_total Writes.\n"
                                     "# TYPE ai_memory_writes_total counter\n"
                                     "ai_memory_writes_total 0\n");
    buf_release(&b);
    metrics_free(m);
}

static void samples_are_counted(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(table, ARRAY_LEN(table));
    struct buf b;
    buf_init(&b, 100000);
    metrics_add(m, WRITES, NULL, 1);
    metrics_add(m, WRITES, NULL, 2);
    metrics_set(m, MEMORIES, NULL, -1.5);
    metrics_add(m, SEARCHES, "mode=\"keyword\"", 1);
    metrics_add(m, SEARCHES, "mode=\"hybrid\"", 4);
    metrics_add(m, SEARCHES, "mode=\"keyword\"", 1);
    metrics_observe(m, PER_DOOR, "door=\"http\"", 0.005);
    metrics_observe(m, PER_DOOR, "door=\"http\"", 0.5);
    metrics_observe(m, PER_DOOR, "door=\"http\"", 7);
    metrics_print(m, &b);
    const char *text = buf_str(&b);
    assert_non_null(strstr(text, "\nai_memory_writes_total 3\n"));
    assert_non_null(strstr(text, "\nai_memory_memories -1.5\n"));
    assert_non_null(strstr(text, "\nai_memory_searches_total{mode=\"keyword\"} 2\n"));
    assert_non_null(strstr(text, "\nai_memory_searches_total{mode=\"hybrid\"} 4\n"));
    assert_non_null(strstr(text, "\nai_memory_door_seconds_bucket{door=\"http\",le=\"0.005\"} 1\n"
                                 "ai_memory_door_seconds_bucket{door=\"http\",le=\"0.25\"} 1\n"
                                 "ai_memory_door_seconds_bucket{door=\"http\",le=\"1\"} 2\n"
                                 "ai_memory_door_seconds_bucket{door=\"http\",le=\"+Inf\"} 3\n"
                                 "ai_memory_door_seconds_sum{door=\"http\"} 7.505\n"
                                 "ai_memory_door_seconds_count{door=\"http\"} 3\n"));
    assert_true(metrics_get(m, WRITES, NULL) == 3);
    assert_true(metrics_get(m, SEARCHES, "mode=\"hybrid\"") == 4);
    assert_true(metrics_get(m, SEARCHES, "mode=\"none\"") == 0);
    assert_true(metrics_get(m, PER_DOOR, "door=\"http\"") == 3);
    metrics_set(m, MEMORIES, NULL, INFINITY);
    buf_clear(&b);
    metrics_print(m, &b);
    assert_non_null(strstr(buf_str(&b), "\nai_memory_memories +Inf\n"));
    buf_release(&b);
    metrics_free(m);
}

static void series_are_bounded(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(table, ARRAY_LEN(table));
    for (int i = 0; i < 100; i++) {
        char labels[32];
        snprintf(labels, sizeof(labels), "mode=\"%d\"", i);
        metrics_add(m, SEARCHES, labels, 1);
    }
    assert_true(metrics_get(m, SEARCHES, "mode=\"62\"") == 1);
    assert_true(metrics_get(m, SEARCHES, "mode=\"63\"") == 37);
    assert_true(metrics_get(m, SEARCHES, "mode=\"64\"") == 0);
    metrics_free(m);
    metrics_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh_table),
        cmocka_unit_test(samples_are_counted),
        cmocka_unit_test(series_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
