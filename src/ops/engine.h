/* engine.h - runs calls: one state machine for all doors. Loop thread.
 *
 *   READ, TOUCH   NEW ─▶ READING (reader) ─▶ RENDER ─▶ DONE
 *                 first WAIT_POS (X-Wait-Pos), WAIT_TOUCHES (accesses of earlier answers that it could show)
 *   WRITE, LOCAL  NEW ─▶ QUEUED (lane) ─▶ COMMITTED ─▶ QUORUM ∥ ASIDE ─▶ DONE
 *                 E_AGAIN: the slice is committed, the call queues again behind the others; one quorum wait, for the
 *                 last. A write that found its work done waits for what did it (quorum.c): an earlier attempt, of
 *                 this life or another, may still travel
 *
 * The ids a TOUCH noted are queued for the lane when it is answered; the answer does not wait (touch.c). The submitter
 * fills the call (op, args, caller, options), submits, and gets done exactly once; then it frees it by call_free. Loop
 * or one pool thread owns a call, never both. A write in the lane is never cancelled. */
#ifndef AIM_OPS_ENGINE_H
#define AIM_OPS_ENGINE_H

#include <uv.h>

#include "ops/ops.h"
#include "store/lane.h"
#include "store/readers.h"

struct cluster;
struct engine;

/* On no disk yet, on one, on W, on all: never more than is so. */
enum durability { DURABLE_NONE, DURABLE_LOCAL, DURABLE_QUORUM, DURABLE_ALL };

struct call {
    /* the submitter's */
    const struct op *op;
    struct arena arena; /* args and strings live here; call_new makes it, cap 64 MiB */
    json_t *body;       /* owned: args borrow from it */
    char *text;
    size_t text_len; /* owned (mem_alloc): raw body when decoding is left to the pool (bodies over 16 KiB) */
    size_t weight;   /* memory the decoded body takes, about; set by who decodes */
    void *args;      /* args_size bytes in the arena, zeroed */
    struct caller caller;
    int (*decode)(struct call *); /* pool or loop, before run, when not NULL: text -> body -> args, checks; sets err */
    /* Turns reply.doc into `out`, at the end of a READ or TOUCH on the pool, of a WRITE on the loop; non-zero: the
     * call fails with it. NULL: the door renders in done. */
    int (*render)(struct call *);
    char *out;
    size_t out_len;              /* owned (mem_alloc): rendered text */
    int64_t deadline_mono_ms;    /* 0: reads 30 s, writes with a quorum its timeout, other writes none */
    unsigned write_quorum;       /* 0: the configured W; more than there are nodes: E_INVALID */
    const char *idempotency_key; /* borrowed from the arena; NULL: none */
    uint8_t fingerprint[32];
    uint64_t wait_stream, wait_seq;
    int64_t wait_ms; /* X-Wait-Pos */
    bool no_touch;   /* HEAD: do not count accesses */
    void (*done)(struct call *);
    void *data;
    /* results */
    int status; /* 0, or the code in err */
    struct err err;
    struct reply reply;
    struct stamp pos;     /* the last op made, else what the write stands on; seq 0: none */
    unsigned got, needed; /* acks, local one included */
    enum durability durability;
    const char *reason; /* E_QUORUM: "timeout" or "unreachable"; E_STOPPING after its commit: "stopping"; else NULL */
    /* Of a WRITE that failed otherwise than by its arguments: "pending" (it may be here and travel) or "not_applied"
     * (no effect); else NULL. */
    const char *outcome;
    struct call_private *priv;
};

struct engine_limits {
    size_t calls_max, bytes_max;
    uint32_t quorum_timeout_ms;
    bool relaxed; /* commits are not synced */
};

struct call *call_new(const struct op *op);
void call_free(struct call *c);

/* store, lane, readers, cluster (NULL: none) are borrowed for life. */
struct engine *engine_new(uv_loop_t *loop, const struct op_env *env, struct store *store, struct lane *lane,
                          struct readers *readers, struct cluster *cluster, const struct engine_limits *l);
void engine_submit(struct engine *e, struct call *c); /* always ends in done, never from within this call */
void engine_gone(struct engine *e, struct call *c);   /* the client went away: a read stops; done still comes */
/* Refuses new calls (E_STOPPING); drained runs when the last one is done. */
void engine_drain(struct engine *e, void (*drained)(void *data), void *data);
void engine_free(struct engine *e);
size_t engine_calls(const struct engine *e);
/* The same without a loop's pool: a CLI command or a test runs one call to its end on its own thread's loop. */
int engine_run(struct engine *e, uv_loop_t *loop, struct call *c);

#endif
