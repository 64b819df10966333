/* history.c - the record of a cycle. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "history.h"

#define LINE_MAX_BYTES ((size_t)16 << 20)

int history_open(struct history *h, const char *dir, struct err *err)
{
    char path[4096];
    memset(h, 0, sizeof *h);
    snprintf(path, sizeof path, "%s/history.jsonl", dir);
    h->file = fopen(path, "we");
    if (h->file == NULL) return err_set(err, E_IO, "cannot write %s: %s", path, strerror(errno));
    h->begun_us = clock_mono_us();
    return 0;
}

int history_close(struct history *h, struct err *err)
{
    if (h->file == NULL) return 0;
    bool bad = ferror(h->file) != 0;
    if (fclose(h->file) != 0) bad = true;
    h->file = NULL;
    return bad ? err_set(err, E_IO, "the history could not be written: %s", strerror(errno)) : 0;
}

int64_t history_now_us(const struct history *h)
{
    return clock_mono_us() - h->begun_us;
}

void history_put(struct history *h, json_t *line)
{
    struct buf b;
    buf_init(&b, LINE_MAX_BYTES);
    json_print_ordered(&b, line);
    buf_putc(&b, '\n');
    if (h->file) fwrite(b.data, 1, b.len, h->file);
    buf_release(&b);
    json_decref(line);
}

void history_fault(struct history *h, const char *what, bool on, json_t *facts)
{
    json_t *line =
        json_pack("{s:s, s:I, s:s, s:b}", "t", "fault", "at_us", (json_int_t)history_now_us(h), "what", what, "on", on);
    if (facts) json_object_update(line, facts);
    json_decref(facts);
    history_put(h, line);
    if (h->file) fflush(h->file);
}

void history_proof(struct history *h, const char *what, uint64_t count)
{
    history_put(h, json_pack("{s:s, s:s, s:I}", "t", "proof", "what", what, "count", (json_int_t)count));
}

unsigned history_op(struct history *h)
{
    return ++h->ops;
}
