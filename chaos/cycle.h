/* cycle.h - one cycle: a fresh mesh, a burst of writes, a fault in its midst, recovery, agreement, the checker's
 * verdict.
 *
 *   prepare ─▶ start ─▶ the class's own run: burst ─strike─▶ … healed ─▶ a write at every node ─▶ final stage ─▶ check
 *
 * A class (fault.h) supplies prepare and run and builds them from the calls here. */
#ifndef AIM_CHAOS_CYCLE_H
#define AIM_CHAOS_CYCLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cut.h"
#include "err.h"
#include "history.h"
#include "load.h"
#include "node.h"

struct fault_class;

struct cycle_options {
    const char *bin;
    unsigned writes;                  /* creates of the burst */
    unsigned timeout_ms;              /* quorum */
    unsigned ready_ms;                /* how long nodes may take to answer first; 0: the default */
    unsigned settle_ms;               /* how long nodes may take to agree */
    uint16_t port[MESH_NODES];
    enum cut_tool cut;                /* what real cuts are made with */
    const char *shim;                 /* the preload library of the disk faults; NULL: none */
    bool keep;                        /* leave history and dumps also when passed */
};

struct cycle {
    struct world *w;
    const struct cycle_options *o;
    const struct fault_class *class;
    unsigned number, variant;
    char dir[WORLD_PATH], scratch[WORLD_PATH];    /* evidence; files of the nodes */
    char ns[64], prefix[32];
    struct mesh_options mesh_options;
    struct load_plan plan;
    struct mesh mesh;
    struct load load;
    struct history h;
    struct cut cut;
    struct err strike_err;
    unsigned destroyed;               /* nodes whose disk was taken away */
    int64_t begun_ms, healed_ms;      /* monotonic */
    int64_t survivors_ms, converge_ms, first_write_ms;
    unsigned probes;
    json_t *proofs, *reasons;
    void *own;                        /* the class's */
};

/* Runs it. *ret_line: the cycle's JSON line, a new reference, never NULL. An error (E_CANCELLED, or the mesh cannot be
 * started at all) means that further cycles make no sense; the line then says so too. */
int cycle_run(struct world *w, const struct cycle_options *o, const struct fault_class *class, unsigned number,
              const char *dir, json_t **ret_line, struct err *err);

/* --- for classes --- */

/* Starts the burst and waits until the strike. E_INVALID when the burst was over before. */
int cycle_burst(struct cycle *c, struct err *err);
int cycle_burst_over(struct cycle *c, struct err *err);       /* waits until all writers have ended */
void cycle_strike_here(void *cycle);                          /* a strike that only marks the moment: the class acts */
void cycle_fault(struct cycle *c, const char *what, bool on, json_t *facts);    /* into the history; facts taken over */
void cycle_proof(struct cycle *c, const char *what, uint64_t count);
/* One recorded write of the supervisor at a node. *ret_status 0: no answer. */
int cycle_write(struct cycle *c, int node, int *ret_status, json_t **ret_answer, struct err *err);
/* Agreement of these nodes, then their dumps. *ret_ms -1: they did not agree in time. */
int cycle_stage(struct cycle *c, const char *name, unsigned set, int64_t *ret_ms, struct err *err);
int cycle_restart(struct cycle *c, unsigned set, struct err *err);   /* starts those nodes, waits until they answer */
void cycle_healed(struct cycle *c);                           /* from here the time to agreement is taken */
void cycle_kill(struct cycle *c, int node);                   /* SIGKILL now, recorded, with its proof */

#endif
