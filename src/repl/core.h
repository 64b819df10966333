/* core.h - private to src/repl/core*.c: what one core holds. core.c: events in, effects out, time; core_tracker.c:
 * clients that wait; core_link.c: one peer's link; core_admit.c: how much is let in; core_vector.c: who has what of
 * every stream, and what to pull. */
#ifndef AIM_REPL_CORE_H
#define AIM_REPL_CORE_H

#include "base/alloc.h"
#include "base/check.h"
#include "repl.h"

/* The simulator's second build (test/sim/mutant.h, by -include) plants bugs that it must catch; no other build. */
#ifndef MUTANT
#define MUTANT(name) false
#endif

#define NONE UINT32_MAX
#define NEVER INT64_MAX
#define VECTOR_MAX 65536u     /* streams known */
#define HEARSAY_MAX 256u      /* streams known by hearsay alone */
#define HEARSAY_PAUSE_MS 5000 /* none is taken in a peer's name, after it did not have what was heard */
#define TELL_MAX 4096u        /* entries in one vector message */
#define ASK_MAX 64u           /* streams asked about in one vector message */

#define ASK_MS 50 /* ask again about streams somebody waits for */
#define REDIAL_FLOOR_MS 10
#define REDIAL_SLOW_MS 5000 /* forked, refused, twin */
#define STARVED_MS 200      /* the log had nothing for this peer: look again */
#define WHOLE_MS 5000       /* a peer that never speaks to us is asked for its whole vector */
#define ADMIT_MARKS 32
#define PULL_MAX_MS 10000 /* a pull without an end is given up */

/* A client that waits. Free ones have serial 0. */
struct tracker {
    uint64_t tag, stream, seq;
    int64_t deadline_ms, due_ms;   /* due: deadline, or the end of the grace */
    uint32_t serial;               /* tells this use of the slot from others */
    uint32_t heap;                 /* place in the heap of due times */
    uint32_t tag_next;             /* chain of the tag table; free list */
    uint32_t wait_next, wait_prev; /* trackers of one foreign stream */
    uint16_t mask, originals;      /* peers that have it; those of them that are no disks of our kind */
    uint8_t need;
    bool own, doomed; /* durable here; certain to fail, in its grace */
};

struct ring_slot {
    uint64_t seq;
    uint32_t index, serial;
};

struct trackers {
    struct tracker *pool;
    size_t max, used, high; /* high: pool slots ever used */
    uint32_t free, serial;
    uint32_t *heap;
    uint32_t *table;
    size_t table_mask;
    struct ring_slot *ring; /* own stream's, ordered by seq; answered ones stay until they reach the front */
    size_t ring_mask, ring_head, ring_count;
    size_t foreign; /* trackers of other streams */
};

struct batch {
    uint64_t first, last, chain;
    int64_t sent_ms;
    bool overtaken;
}; /* overtaken: a rewind came after it */

struct link {
    enum repl_link state;
    enum repl_link barred; /* FORKED, REFUSED or TWIN until it is up again; DOWN: not barred */
    uint32_t gen;
    bool original;
    bool relaxed; /* what it acknowledges is not on its disk yet */
    uint64_t node, live;
    uint64_t acked, acked_chain; /* durable there, of our stream; told on this connection */
    uint64_t check_pos, check_chain;
    bool recheck;  /* another position was told while one is being checked */
    uint64_t next; /* first seq not sent on this connection */
    struct batch batch[REPL_WINDOW];
    unsigned batches;
    bool asked;    /* SEND_OPS without SENT yet */
    bool pinging;  /* a vector message is on the way */
    bool starving; /* our log begins behind what it has */
    int64_t starved_ms, progress_ms, vector_ms, whole_ms, hello_ms;
    unsigned most;         /* ops in a batch: fewer after a silence, more with every answer */
    unsigned silent, mute; /* batches without any answer since the last one; hellos */
    uint64_t silent_pos;   /* acked when the last of them was given up */
    unsigned untaken;      /* batches in a row that would have fitted and were not taken */
    int64_t dial_ms, retry_ms, refused_ms;
    unsigned tries, refusals;
    bool certain; /* two refusals, nothing better since */
    int64_t inbound_ms;
    uint64_t told; /* version of our vector the peer was told */
    bool tell_now, ask_now, ask_whole;
    int64_t belied_ms; /* what was told in its name was not there */
    bool pulling;
    uint32_t pull_gen, pull_slot;
    uint64_t pull_pos;
    int64_t pull_ms;
    int64_t moved_ms; /* it acknowledged more than before */
    int64_t rtt_us, last_ok_ms, dials, stalls;
};

/* One stream, beside its entry. */
struct stream_slot {
    uint64_t version;
    uint32_t newer, older; /* in the order of change */
    uint32_t chain_next;   /* hash table */
    uint32_t waiters;      /* trackers */
    uint32_t want;         /* place in wanted, NONE */
    uint32_t source;       /* peer being pulled from, NONE */
    uint32_t tried;        /* peer asked last */
    unsigned tries;
    bool told_ended, forked;
    uint64_t coming; /* up to here with a snapshot */
    uint64_t left;   /* up to here nothing of it is asked for any more */
    bool hearsay;    /* nobody said so on our connection to him, and nothing of it is here */
    int64_t want_ms, progress_ms, retry_ms;
};
struct told {
    uint64_t pos, sure, chain;
}; /* by one peer: heard at all; heard on our present connection to it, with its chain */

struct vector {
    struct repl_entry *entry;
    struct stream_slot *slot;
    struct told *told; /* [slot * peers + peer] */
    uint32_t count, cap;
    uint32_t *table, table_mask;
    uint32_t hearsay; /* such streams */
    uint32_t spare;   /* slots of streams that were forgotten, by chain_next; their entries say stream 0 */
    uint32_t newest;
    uint64_t version;
    uint32_t *wanted, wanted_count, cursor;
    int64_t pull_wake; /* nothing to pull before */
};

/* When own positions were committed, some of them; how many writes may be under way. */
struct admit_mark {
    uint64_t pos;
    int64_t ms;
};

struct admission {
    struct admit_mark mark[ADMIT_MARKS]; /* a ring */
    unsigned first, marks;
    int64_t looked_ms;
    const struct link *looked_at; /* it was behind then; NULL: nobody was */
    uint64_t acked;               /* by it, then */
    uint64_t pace;                /* ops a second, of whoever was behind; 0: not known */
    size_t room;                  /* ops that may be missing there; SIZE_MAX: any number */
};

struct repl_core {
    struct repl_config c;
    int64_t now_ms;
    uint64_t random;
    int64_t missed_ms;    /* last time a vector came from a node we had no connection to */
    bool stopping, judge; /* judge: who can be reached changed, look at every tracker */
    struct link link[REPL_PEERS_MAX];
    struct trackers t;
    struct vector v;
    struct repl_entry offered; /* our stream as far as it may be sent: what is durable, or our disk is at it */
    struct admission a;
    struct repl_effect *effect;
    size_t effects, effects_cap;
    struct repl_entry *scratch;
    size_t scratch_used, scratch_cap;
};

/* core.c */
struct repl_effect *core_emit(struct repl_core *core, enum repl_effect_type type,
                              unsigned peer);                                /* valid until the next emit */
uint64_t core_random(struct repl_core *core, uint64_t bound);                /* 0..bound-1 */
size_t core_scratch(struct repl_core *core, const struct repl_entry *entry); /* copies, gives its place */
static inline struct repl_entry *core_own(struct repl_core *core)
{
    return &core->v.entry[0];
}

/* core_admit.c */
void core_admit_committed(struct repl_core *core, uint64_t pos);

/* core_tracker.c */
void core_tracker_init(struct repl_core *core);
void core_tracker_release(struct repl_core *core);
void core_tracker_add(struct repl_core *core, const struct repl_event *e);
void core_tracker_forget(struct repl_core *core, uint64_t tag);
/* Position of peer (NONE: ours) in the own stream moved from a to b: touches the trackers in (a, b] only. */
void core_tracker_reach(struct repl_core *core, uint32_t peer, uint64_t a, uint64_t b);
void core_tracker_exact(struct repl_core *core, uint32_t peer, uint64_t seq); /* an original applied just this one */
void core_tracker_has(struct repl_core *core, uint32_t peer, const struct repl_entry *op);   /* this very op */
void core_tracker_unasked(struct repl_core *core, const struct repl_entry *op);
void core_tracker_foreign(struct repl_core *core, uint32_t slot, uint32_t peer, uint64_t pos);
void core_tracker_rebase(struct repl_core *core, uint32_t peer,
                         uint64_t pos);                         /* new connection: what it says now is what counts */
void core_tracker_moved(struct repl_core *core, uint32_t from); /* another URL speaks for this node now */
void core_tracker_tick(struct repl_core *core);
void core_tracker_stop(struct repl_core *core);
int64_t core_tracker_due(const struct repl_core *core);

/* core_link.c */
void core_link_init(struct repl_core *core);
void core_link_event(struct repl_core *core, const struct repl_event *e); /* those that name peer and gen */
void core_link_inbound(struct repl_core *core, const struct repl_event *e);
void core_link_tick(struct repl_core *core, unsigned peer);
void core_link_pump(struct repl_core *core, unsigned peer);
void core_link_hurry(struct repl_core *core); /* somebody waits: settle doubt soon */
void core_link_doubt(struct repl_core *core); /* time passed unseen: no refusal is certain any more */
void core_link_fork(struct repl_core *core, unsigned peer, const struct repl_entry *entry);
int64_t core_link_due(const struct repl_core *core, unsigned peer);
bool core_link_met(const struct link *l); /* it said hello on this connection */
bool core_link_may(const struct link *l); /* it might still acknowledge */
void core_link_told(struct repl_core *core, unsigned peer, const struct repl_entry *own); /* while it starves */
bool core_link_counts(const struct link *l); /* its positions are acknowledgements */

/* core_vector.c */
void core_vector_init(struct repl_core *core);
void core_vector_release(struct repl_core *core);
uint32_t core_vector_find(const struct repl_core *core, uint64_t stream);          /* NONE: unknown */
uint32_t core_vector_slot(struct repl_core *core, uint64_t stream, uint64_t node); /* made; NONE: full */
void core_vector_own(struct repl_core *core, uint64_t pos, uint64_t chain);
void core_vector_offered(struct repl_core *core, uint64_t pos, uint64_t chain); /* it may be sent */
void core_vector_applied(struct repl_core *core, const struct repl_event *e);
void core_vector_left(struct repl_core *core, const struct repl_event *e);
/* What peer told; sure: on our present connection to it. */
void core_vector_told(struct repl_core *core, unsigned peer, const struct repl_event *e, bool sure);
void core_vector_clear(struct repl_core *core, unsigned peer); /* its connection is gone, with all it told */
bool core_vector_news(const struct repl_core *core, const struct link *l); /* something it was not told yet */
void core_vector_send(struct repl_core *core, unsigned peer, bool whole);  /* emits SEND_VECTOR */
void core_vector_pulled(struct repl_core *core, const struct repl_event *e);
void core_vector_coming(struct repl_core *core, const struct repl_event *e);
void core_vector_tick(struct repl_core *core);
int64_t core_vector_due(const struct repl_core *core);

#endif
