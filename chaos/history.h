/* history.h - what happened, as JSON lines; beside the nodes' dumps all that the checker ever sees.
 *
 *   {"t":"meta", format, phase, fault, variant, cycle, seed, namespace, nodes, writes_needed}
 *   {"t":"invoke", op, at_us, client, node, kind: create|edit|delete, id (edit, delete), title, content,
 *    probe: true for a write of the supervisor itself}
 *   {"t":"answer", op, at_us, status (0: none came), id, error, outcome, reason, got, needed}
 *   {"t":"fault", at_us, what, on: true|false, ...}
 *   {"t":"proof", what, count}: what shows that a fault acted (packets dropped, answers swallowed …); 0: it did not
 *   {"t":"stage", at_us, name, live: [nodes], destroyed: [nodes whose disk was taken away]}
 *
 * Times are microseconds of the monotonic clock since the history began. An invocation without an answer was in flight
 * at the end. At a stage every live node was dumped to dump-<name>-n<node>.json:
 *   {"node", "stage", "total", "listed", "complete", "memories": [...], "archive": [...] or null, "error"} */
#ifndef AIM_CHAOS_HISTORY_H
#define AIM_CHAOS_HISTORY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "err.h"

#define HISTORY_FORMAT 1

struct history {
    FILE *file;
    int64_t begun_us;
    unsigned ops;
};

int history_open(struct history *h, const char *dir, struct err *err);   /* dir/history.jsonl */
int history_close(struct history *h, struct err *err);                   /* E_IO when a line did not get to the disk */
int64_t history_now_us(const struct history *h);
/* Appends a line; takes the reference over. */
void history_put(struct history *h, json_t *line);
void history_fault(struct history *h, const char *what, bool on, json_t *facts);   /* facts: taken over, may be NULL */
void history_proof(struct history *h, const char *what, uint64_t count);
/* The number of the next operation: from 1. */
unsigned history_op(struct history *h);

#endif
