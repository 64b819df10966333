/* fault.h - the fault classes: what there is to inject, how it is explained, what it needs. */
#ifndef AIM_CHAOS_FAULT_H
#define AIM_CHAOS_FAULT_H

#include <stdbool.h>

#include "cycle.h"
#include "err.h"

enum fault_flags {
    FAULT_GATE = 1,          /* one of the four classes of the ship gate */
    FAULT_KILLS = 2,         /* its writers lose their node, or the quorum: availability is not asked of it */
    FAULT_CLOCK = 4,         /* needs libfaketime */
    FAULT_SHIM = 8,          /* needs the preload library */
    FAULT_ERRORS = 32,       /* its nodes may answer 5xx: their disk is broken */
    FAULT_MOUNTS = 64,       /* needs the right to mount; among all classes it is left out without */
    FAULT_CUTS = 16          /* cuts links for real: needs iptables, unless told to go by proxies */
};

#define FAULT_VARIANTS 8

struct fault_class {
    const char *name;
    const char *text;                           /* two lines */
    const char *expects;                        /* FAULT_KILLS: what availability can be, and why; else NULL */
    const char *variant[FAULT_VARIANTS];        /* taken in turn, ended by NULL */
    unsigned flags;
    void (*prepare)(struct cycle *c);           /* before the mesh: options and plan; may be NULL */
    int (*run)(struct cycle *c, struct err *err);
    void (*finish)(struct cycle *c);            /* after the mesh is gone; may be NULL */
};

/* All classes, ended by name == NULL, those of the gate first. */
const struct fault_class *fault_classes(void);
const struct fault_class *fault_find(const char *name);       /* NULL: none of that name */
unsigned fault_variants(const struct fault_class *f);
/* Whether this machine can inject it at all: 0, or a line that tells what is missing. */
int fault_possible(const struct fault_class *f, const struct cycle_options *o, struct err *err);
/* The path of libfaketime; false: not installed. */
bool fault_clock_library(char ret[WORLD_PATH]);
/* Before the node starts. how: e.g. "+300s"; NULL: a file tells. */
void fault_clock_set(struct node *n, const char *library, const char *how);
/* How far a node's clock is from ours, by the creation time it stamps on a write of the supervisor. */
int fault_clock_seen(struct cycle *c, int node, int64_t *ret_s, struct err *err);

/* fault_gate.c, fault_link.c, fault_lag.c, fault_kill.c, fault_disk.c, fault_files.c, fault_clock.c */
extern const struct fault_class fault_kill_primary, fault_partition, fault_drop_acks, fault_clock_skew;
extern const struct fault_class fault_one_way, fault_flapping, fault_slow_links, fault_swallowed, fault_duplicated,
    fault_corrupted, fault_long_split, fault_lonely, fault_past_log, fault_lagging;
extern const struct fault_class fault_kill_any, fault_kill_two, fault_kill_all, fault_storm, fault_rolling, fault_pause;
extern const struct fault_class fault_disk_full, fault_small_disk, fault_fsync, fault_torn, fault_power;
extern const struct fault_class fault_replaced, fault_processes;
extern const struct fault_class fault_clock_jumps, fault_clock_drifts;

#endif
