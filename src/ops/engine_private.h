/* engine_private.h - what call.c, engine.c and touch.c share. */
#ifndef AIM_OPS_ENGINE_PRIVATE_H
#define AIM_OPS_ENGINE_PRIVATE_H

#include "base/list.h"
#include "cluster/cluster.h"
#include "ops/engine.h"

#define CALL_MAGIC 0x43414c4cu
#define ENGINE_MAGIC 0x454e474eu
#define READ_DEFAULT_MS 30000
#define TOUCH_WAIT_MS 100  /* a read waits so long for touches before it */
#define ASIDE_MS 50        /* hints are given up after that */
#define ASIDE_SHARE 50     /* they take a fiftieth of one core's time, */
#define ASIDE_SAVED_US 100000 /* saved up to this much */
#define TICK_MS 10         /* while something waits by time */
#define BODIES_SHARE 4     /* decoded bodies may take so many times the bytes at which none is accepted any more */
#define TOUCH_IDS_MAX 8192 /* ids gathered for one commit; further ones are not counted */
#define SEEN_MAX 256

enum call_state {
    CALL_NEW,
    CALL_DECODING,
    CALL_WAIT_POS,
    CALL_WAIT_TOUCHES,
    CALL_READING,
    CALL_ASKING,
    CALL_QUEUED,
    CALL_SETTLING,
    CALL_DONE
};

struct call_private {
    unsigned magic;
    struct call *call;
    struct engine *engine;
    enum call_state state;
    struct list all;  /* engine.calls */
    struct list wait; /* engine.soon, engine.polling, touches' waiting */
    int64_t until_ms; /* of the present wait, or the call's deadline */
    int64_t deadline_ms;
    bool gone;
    size_t bytes;          /* counted in engine.bytes */
    struct read_item read; /* also the aside's */
    int64_t aside_us;      /* what the aside took on its reader */
    struct lane_item item;
    struct cluster_wait quorum;
    uv_work_t decode;
    bool wait_quorum, wait_aside; /* SETTLING: not there yet */
    /* what one run after another is given */
    struct ids ids;
    struct touches touches;
    /* slices of a long write */
    uint64_t progress, progress_before;
    json_t *carry, *carry_before;
    bool ran, sliced;    /* run was called; it returned E_AGAIN last */
    uint64_t made_seq;   /* position after that run; 0: it made nothing */
    struct stamp saw;    /* the last op of this life when the last run had ended */
    /* quorum.c: beside its own op it waits for these; everywhere: every member has what it stands on */
    struct stamp *stand;
    size_t stands, stands_met;
    bool everywhere, own_waited, acked;
    struct err afterwards; /* what reply.afterwards says */
    bool committed_some; /* an earlier slice is on disk */
    bool run_ok;         /* the last run succeeded: a failure now is the commit's */
    bool late;           /* its deadline passed before its batch */
    const char *need_row; /* a READ wants other nodes' rows of this id */
    json_t *given;        /* their rows */
};

struct touch_entry {
    char id[129];
    int64_t times;
};
struct touch_map {
    struct touch_entry *entry;
    size_t cap, count;
    struct {
        char *agent, *peer, *at;
    } seen[SEEN_MAX];
    size_t seen_count;
};

/* Touches of all reads, merged by id: the open batch takes notes until the lane begins with it. At most one each is
 * open, running and on its way to the disk. */
struct touch_batch {
    struct list link; /* toucher.batches, the oldest first */
    struct engine *engine;
    struct touch_map map;
    bool in_lane;
    struct lane_item item;
    struct list waiting; /* reads that begin after its commit */
};
struct toucher {
    struct list batches;
    struct touch_batch *open; /* NULL: none */
};

struct engine {
    unsigned magic;
    uv_loop_t *loop;
    const struct op_env *env;
    struct store *store;
    struct lane *lane;
    struct readers *readers;
    struct cluster *cluster;
    struct engine_limits limits;
    struct list calls, soon, polling;
    size_t count, writes, bytes;
    uv_idle_t idle;   /* runs while `soon` holds calls */
    uv_timer_t timer; /* runs while something waits by time */
    unsigned closing; /* handles still open */
    struct toucher toucher;
    int64_t aside_left_us, aside_at_us; /* asides' allowance and when it was last filled */
    bool draining;
    void (*drained)(void *data);
    void *drained_data;
};

/* engine.c */
void engine_finish(struct call_private *p, int status);
void engine_arm(struct engine *e);
void engine_read(struct call_private *p); /* starts a read that waited */
void engine_settled(struct engine *e);    /* tells drained when nothing is left */
void engine_settle(struct call_private *p); /* SETTLING: answers once nothing is waited for */
/* keys.c. In the lane */
int keys_known(struct call *c, struct op_ctx *ctx); /* 1: a retry, the reply is the first attempt's; 0; E_MISMATCH */
int keys_bind(struct call_private *p, struct op_ctx *ctx, bool made); /* after the run that ends the call's work */
/* quorum.c */
unsigned quorum_need(const struct call_private *p);
/* In the lane, at the end of a run that succeeded: notes what it stands on; `made`: it made ops. */
int quorum_stand(struct call_private *p, struct op_ctx *ctx, bool made);
bool quorum_stands(const struct call_private *p); /* do W nodes have that already? */
void quorum_start(struct call_private *p);        /* engine_settle is called once W have all of it */
/* touch.c */
void touch_init(struct engine *e);
void touch_release(struct engine *e);
void touch_note(struct engine *e, const struct call_private *p); /* what the call touched; queued when this returns */
bool touch_await(struct engine *e, struct call_private *p);      /* true: engine_read will be called, else begin now */
void touch_tick(struct engine *e, int64_t now_ms);
bool touch_timed(const struct engine *e); /* wants the tick */
bool touch_idle(const struct engine *e);

#endif
