/* world.h - what every scenario stands on: one loop, waits by condition, deadlines, a scratch directory, tools,
 * chance.
 *
 * A scenario is a plain sequence of calls; everything else (nodes, writers, links) happens in callbacks of the loop,
 * which turns only inside world_wait and world_pass. So a scenario never re-enters itself, and every wait has a
 * deadline: its own, and those of the cycle, the phase and the campaign around it. SIGINT, SIGTERM and SIGHUP end
 * every wait with E_CANCELLED; what a scenario then undoes runs with the signal set aside (world.closing). */
#ifndef AIM_CHAOS_WORLD_H
#define AIM_CHAOS_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "err.h"

#define WORLD_PATH 1024
#define WORLD_DEADLINES 4

struct world_deadline { int64_t at_ms; const char *what; };

struct world {
    uv_loop_t loop;
    uv_timer_t pulse;                     /* wakes the loop, so that conditions and deadlines are seen */
    uv_signal_t signals[3];
    int stopped;                          /* the signal that asked us to end; 0: none */
    int closing;                          /* > 0: undoing; neither the signal nor outer deadlines end a wait */
    struct world_deadline deadline[WORLD_DEADLINES];
    unsigned deadlines;
    char scratch[WORLD_PATH];             /* ours alone; removed by world_release */
    char self[WORLD_PATH];                /* this program's own file */
    uint64_t random;
};

/* Makes the scratch directory below $WORKDIR, $TMPDIR or /tmp. E_IO. Always needs world_release. */
int world_init(struct world *w, uint64_t seed, struct err *err);
void world_release(struct world *w);
/* Turns the loop until cond(data) is true. 0; E_TIMEOUT after `ms` or at an outer deadline; E_CANCELLED by a signal.
 * The format says what is waited for. */
int world_wait(struct world *w, int64_t ms, bool (*cond)(void *data), void *data, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));
/* Lets that much time pass: the length of a fault. Same errors. */
int world_pass(struct world *w, int64_t ms, struct err *err);
/* Outer deadlines, innermost last. */
void world_deadline_push(struct world *w, int64_t ms, const char *what);
void world_deadline_pop(struct world *w);
/* A number below `bound` (> 0); the same ones for the same seed. */
uint64_t world_pick(struct world *w, uint64_t bound);
bool world_chance(struct world *w, double p);

/* Runs a tool to its end, blocking, at most `ms`. argv ends with NULL; `input` (may be NULL) is its stdin; its output
 * goes to out (may be NULL) up to size. The exit code, or negative: E_NOT_FOUND (no such program), E_TIMEOUT (killed),
 * E_IO. */
int tool_run(const char *const *argv, const char *input, char *out, size_t size, int64_t ms, struct err *err);
/* Whether a program of that name is on the path; its place into `ret`. */
bool tool_find(const char *name, char ret[WORLD_PATH]);

/* A port nobody uses at this moment; `wanted` != 0: that one. E_CONFLICT: it is busy. */
int port_take(uint16_t wanted, uint16_t *ret, struct err *err);

#endif
