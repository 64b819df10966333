/* sim.h - a whole cluster in one thread: the real replication core on every node, and network, disks, clients, faults as
 * events in virtual time. Every decision is pick(): the next number of a choice buffer filled from the seed, 0 past its
 * end; 0 always means no fault, shortest delay, first element. So every buffer is a valid run, and shrinking is zeroing.
 *
 *   sim.c    the run: events, phases, choices       net.c    connections          disk.c   what a node keeps (model)
 *   node.c   effects into events, the server side   client.c clients, commands    check.c  invariants, convergence
 *   lane.c   one batch at a time onto the disk
 *   fault.c  what goes wrong                        real.c   a disk that is the real change.c over the store in memory */
#ifndef AIM_SIM_H
#define AIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/list.h"
#include "mutant.h"
#include "repl.h"

#define NODES_MAX 5
#define TARGETS_MAX 6            /* configured peers of one node: the others, and one of its own or twice */
#define CLIENT_OPS_MAX 160
#define KEYS_MAX 160
#define STREAMS_MAX 256
#define CHOICES_MAX 60000
#define LANE_MAX 64
#define NODE_BIT(i) (1u << (i))

struct sim;
struct node;
struct conn;
struct msg;

/* ---- ops: one record per (stream, seq), for ever ---------------------------------------------------------------------- */
struct op {
    uint64_t stream, seq, chain;
    const void *body;            /* in the run's arena */
    size_t len;
    uint64_t key;                /* whose write it is; 0: nobody's (several rows, touches) */
    unsigned acked;              /* highest number of disks promised to a client */
    struct op *next;
};
/* Binds a chain and body to (stream, seq); a second, different one is a failure. */
struct op *sim_bind(struct sim *s, uint64_t stream, uint64_t seq, uint64_t chain, const void *body, size_t len);
struct op *sim_op(struct sim *s, uint64_t stream, uint64_t seq);   /* NULL: never seen */

/* ---- disks ------------------------------------------------------------------------------------------------------------ */
enum edit_kind { EDIT_CREATE, EDIT_UPDATE, EDIT_DELETE, EDIT_KINDS };
struct edit { enum edit_kind kind; unsigned id, title, text; };

enum work_result { WORK_DONE, WORK_REWIND, WORK_FORK, WORK_FAILED };
struct work {                    /* one item of the lane */
    bool foreign;
    uint64_t key;                /* a client's write */
    struct edit edit;
    uint64_t stream, node, first, before;   /* foreign: whose, first seq, chain before it */
    struct op **ops;             /* owned by the message */
    size_t count;
    enum work_result result;
    uint64_t pos, chain;         /* foreign: position afterwards; write: pos = seq in stream (0: no op) */
    unsigned client;             /* index of the client's op */
    struct conn *conn;           /* who waits for the answer */
    uint64_t token;
    bool cancelled;
};

struct disk;
struct disk_verbs {
    void (*close)(struct disk *d);
    void (*life)(struct disk *d, int64_t wall_us);                     /* a new stream, or a first one */
    void (*life_end)(struct disk *d);                                  /* the process is gone */
    void (*run)(struct disk *d, struct work **work, size_t count, int64_t wall_us);   /* one transaction */
    uint64_t (*command)(struct disk *d, uint64_t key, const struct edit *e, int64_t wall_us);   /* another process; its stream */
    size_t (*vector)(struct disk *d, struct repl_entry *ret);          /* at most STREAMS_MAX, any order */
    size_t (*page)(struct disk *d, uint64_t stream, uint64_t from, uint64_t to, struct op **ret);
    bool (*chain)(struct disk *d, uint64_t stream, uint64_t seq, uint64_t *ret);   /* false: not here */
    bool (*key)(struct disk *d, uint64_t key, uint64_t *ret_stream, uint64_t *ret_seq);
    uint64_t (*digest)(struct disk *d);                                /* of the rows */
};
struct disk {
    const struct disk_verbs *v;
    struct sim *s;
    unsigned index;
    uint64_t id, stream;         /* node id; the stream of the present life */
    uint64_t pos, chain;         /* of that stream */
    struct repl_entry seen[STREAMS_MAX];   /* as checked after the last transaction */
    size_t seen_count;
    bool full;
};
struct disk *disk_model(struct sim *s, unsigned index);
struct disk *disk_real(struct sim *s, unsigned index);
bool disk_has(struct disk *d, const struct op *op);
uint64_t disk_pos(struct disk *d, uint64_t stream, uint64_t *ret_chain);

/* ---- events ----------------------------------------------------------------------------------------------------------- */
enum event_kind {
    EV_WAKE, EV_DELIVER, EV_CONNECT, EV_DURABLE, EV_LANE_DONE, EV_CHECK_CHAIN, EV_COMPOSE, EV_PULL_LATE, EV_BUSY,
    EV_NOTICED, EV_CLIENT, EV_LATE, EV_COMMAND, EV_FAULT, EV_RESTART,
};
struct event {
    int64_t us;
    uint64_t tie;
    enum event_kind kind;
    unsigned node, life;         /* dropped when the node is in another life; held while it is paused */
    struct conn *conn;
    uint64_t a, b, c;
};
void sim_at(struct sim *s, int64_t delay_us, struct event e);

/* ---- nodes ------------------------------------------------------------------------------------------------------------ */
struct node {
    struct sim *s;
    unsigned i, life;
    bool up, silent, gone;       /* silent: down without a word (no refusals either); gone: not started again in phase 1 */
    bool lost;                   /* its disk was lost once */
    int64_t paused_until;
    int64_t clock_us;            /* wall clock's offset */
    struct disk *disk, *ghost;   /* ghost: what it had before its disk was lost */
    struct repl_core *core;
    unsigned targets, target[TARGETS_MAX];
    uint32_t gen[TARGETS_MAX];
    struct conn *out[TARGETS_MAX], *pull[TARGETS_MAX];
    int64_t wake_ms;             /* armed */
    struct work *queue[LANE_MAX];
    size_t queued;
    struct work *batch[LANE_MAX];
    size_t batched;
    bool batch_durable;
    bool slow;                   /* its fsync takes seconds now */
};
void node_start(struct node *n);
void node_crash(struct node *n, bool silent, bool lose);
void node_feed(struct node *n, struct repl_event e);
void node_event(struct node *n, struct event *e);
void node_request(struct node *n, struct conn *c, struct msg *m);   /* server side */
void node_answer(struct node *n, struct conn *c, struct msg *m);    /* client side */
void node_closed(struct node *n, struct conn *c);
bool lane_submit(struct node *n, struct work *w);    /* false: full */
void lane_event(struct node *n, struct event *e);
void lane_crash(struct node *n);

/* ---- connections ------------------------------------------------------------------------------------------------------ */
enum msg_kind { M_HELLO, M_OPS, M_VECTOR, M_PULL, M_HELLO_OK, M_ACK, M_BUSY, M_PONG, M_PULLED, M_CLOSE };
struct msg {
    enum msg_kind kind;
    uint64_t node, live;         /* the sender */
    struct repl_entry entry;
    struct repl_entry *vector;   /* owned */
    size_t vector_count;
    bool whole, more;
    uint64_t first, before;
    struct op **ops;             /* owned */
    size_t count;
    struct msg *next;
};
struct way { struct msg *head, *tail; bool armed, dead, held; int64_t last_us; };   /* held: the receiver reads later */
struct conn {
    struct sim *s;
    unsigned a, b, a_life, b_life;    /* a dialled b */
    unsigned peer;
    uint32_t gen;
    bool pulls, up, a_open, b_open;
    bool discards;                    /* b takes the next batch for unreadable and tells its position instead */
    struct repl_entry pull;
    struct way way[2];                /* 0: a to b */
    uint64_t token;                   /* of the request b works on; 0: none */
    struct list link;
};
struct conn *net_dial(struct node *n, unsigned peer, uint32_t gen, bool pulls);
void net_send(struct conn *c, unsigned way, struct msg *m);
void net_close(struct conn *c, bool by_a, bool abrupt);   /* abrupt: what the other side has not read is gone */
void net_break(struct conn *c);                           /* a torn or flipped frame: both see the end */
void net_event(struct sim *s, struct event *e);
void net_node_down(struct sim *s, struct node *n);
void net_ready(struct conn *c);                           /* b is free for the next request */
int64_t net_delay(struct sim *s);
struct msg *msg_new(struct node *n, enum msg_kind kind);
void msg_free(struct msg *m);
void net_release(struct sim *s);

/* ---- clients ---------------------------------------------------------------------------------------------------------- */
enum client_state { CLIENT_FREE, CLIENT_QUEUED, CLIENT_TRACKED, CLIENT_ANSWERED, CLIENT_GONE };
struct client_op {
    uint64_t key;
    unsigned node, life, need;
    struct edit edit;
    enum client_state state;
    int64_t deadline_us;
    uint64_t stream, seq;
    bool met, unsure, not_applied;
    unsigned attempt;
    uint64_t closes;              /* connections lost so far when it began */
};
void client_event(struct sim *s, struct event *e);
void client_done(struct node *n, struct work *w);         /* the lane is done with its write */
void client_answer(struct node *n, const struct repl_effect *f);
void client_node_down(struct node *n);
uint64_t client_issue(struct sim *s, unsigned node, uint64_t key, const struct edit *e, unsigned need, unsigned attempt);

/* ---- faults ----------------------------------------------------------------------------------------------------------- */
enum fault {
    FAULT_CRASH, FAULT_SILENT, FAULT_PAUSE, FAULT_CUT, FAULT_ONE_WAY, FAULT_SWIZZLE, FAULT_SWALLOW, FAULT_BREAK,
    FAULT_DISCARD, FAULT_FULL, FAULT_SLOW, FAULT_GONE, FAULT_LOSE, FAULT_CLOCK, FAULT_KINDS,
};
void fault_event(struct sim *s, struct event *e);
void fault_heal(struct sim *s);

/* ---- goals: each must be reached in some seed ------------------------------------------------------------------------- */
#define GOALS(X) \
    X(MET) X(UNREACHABLE) X(TIMED_OUT) X(NOT_APPLIED) X(LATER_EVERYWHERE) X(MET_THROUGH_RECONNECT) X(RETRY_ELSEWHERE_MET) \
    X(REWIND) X(PULLED_TAIL) X(STALL) X(SUSPECT) X(CHECK_CHAIN) X(SURVIVED_UNTOLD) X(VANISHED) X(DISK_FULL) X(DISK_LOST) \
    X(OWN_URL) X(TWIN_URL) X(FOREIGN_PROCESS) X(OLD_BYTES) X(PAUSED) X(BUSY) X(SUBSET_SURVIVES) X(TITLE_SHARED) \
    X(ROWS_COMPARED)
enum goal {
#define X(name) GOAL_##name,
    GOALS(X)
#undef X
    GOAL_KINDS
};
const char *goal_name(enum goal g);

/* ---- the run ---------------------------------------------------------------------------------------------------------- */
struct sim {
    uint32_t *choice;
    size_t choices, used;
    bool verbose, failed;
    char why[300];
    int64_t now_us;
    uint64_t ties, trace, events;
    struct event *heap;
    size_t heap_count, heap_cap;
    unsigned n, w;
    bool real;
    struct node node[NODES_MAX];
    int64_t cut[NODES_MAX][NODES_MAX];          /* until when nothing passes from one to the other */
    struct list conns;
    uint64_t tokens, streams, closes;
    struct op *op[1024];
    struct arena arena;
    struct client_op client[CLIENT_OPS_MAX];
    size_t clients, planned;
    uint64_t keys;
    bool fault_on[FAULT_KINDS], quiet;          /* quiet: no new faults */
    unsigned losses;
    uint64_t transfers;                         /* ops sent or pulled, for the second exchange */
    bool goal[GOAL_KINDS];
};
/* Runs one buffer of choices from the start to the end; false: failed, why says how. */
bool sim_run(struct sim *s, uint32_t *choice, size_t choices, bool verbose);
void sim_fail(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_log(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));   /* also the trace */
uint64_t pick(struct sim *s, uint64_t bound);                      /* 0..bound-1 */
bool chance(struct sim *s, unsigned percent);
int64_t sim_ms(const struct sim *s);

/* ---- check.c ---------------------------------------------------------------------------------------------------------- */
void check_disk(struct disk *d);                                   /* after each transaction */
void check_met(struct sim *s, const struct op *op, unsigned disks);
void check_caps(struct sim *s);
void check_rows(struct sim *s, unsigned nodes);
bool check_equal(struct sim *s, unsigned nodes);                   /* all vectors of these nodes (bits) agree */
void check_promises(struct sim *s, unsigned nodes, bool everywhere);

#endif
