/* sim.h - a whole cluster in one thread: the real replication core on every node; network, disks, clients, faults are
 * events in virtual time. Every decision is pick(): the next number of a choice buffer filled from the seed, 0 past
 * its end; 0 always means no fault, shortest delay, first element. Every buffer is a valid run; shrinking is zeroing.
 *
 *   sim.c    the run: events, phases, choices       lane.c   one batch at a time onto the disk
 *   node.c   effects into events, the server side   disk.c   what a node keeps, as a model
 *   net.c    connections                            real.c   a disk that is change.c over the store in memory
 *   client.c clients, commands                      check.c  invariants, agreement
 *   state.c  snapshots, what members told           main.c   seeds, shrinking, planted bugs
 *   fault.c  what goes wrong                        ends.c   streams of dead writers leave the vector
 *   wrap.c   program functions led through here      trace.c  the main stories, told and compared
 *   members.c nodes taken out of the mesh              edit.c   what clients ask for
 *   fork.c   machines set back while they run          dump.c   rows as text
 * Seeds from STORIES_FROM on draw more than the first ones, which stay the runs they always were:
 *   ends         dead writers' streams leave the vector; what a node has not whole comes with a snapshot
 *   versions     an older program holds ops that it does not know, until its node comes back with a newer one
 *   copies       a node comes back with a copy of another's file: two with one id, until the younger takes a new one
 *   lazy disks   what readers see is durable later; power fails, an fsync fails, the transactions since are gone
 * Those from TALES_FROM on draw still more, and have one of these:
 *   removal      a node is taken out by a command on another: refused, it sets its file aside and comes back empty
 *   forks        (from FORKS_FROM) a machine is set back with its memory, and goes on in its stream */
#ifndef AIM_SIM_H
#define AIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/list.h"
#include "check.h"
#include "disk.h"
#include "fault.h"
#include "fork.h"
#include "goal.h"
#include "members.h"
#include "mutant.h"
#include "repl.h"
#include "state.h"

#define NODES_MAX 5
#define TARGETS_MAX 6            /* configured peers of one node: the others, and one of its own or twice */
#define CLIENT_OPS_MAX 260
#define CHOICES_MAX 60000
#define LANE_MAX 64
#define MEMBERS_MAX 16
#define FORGOTTEN_MAX 512
#define TOMB_AGE_US 50000         /* stands for a day */
#define NODE_BIT(i) (1u << (i))

struct sim;
struct node;
struct conn;
struct msg;

/* ---- events -------------------------------------------------------------------------------------------------- */
enum event_kind {
    EV_WAKE, EV_DELIVER, EV_CONNECT, EV_DURABLE, EV_LANE_DONE, EV_CHECK_CHAIN, EV_COMPOSE, EV_PULL_LATE,
    EV_BUSY, EV_STATE, EV_STATE_LATE, EV_AHEAD, EV_NOTICED, EV_CLIENT, EV_LATE, EV_COMMAND, EV_FAULT, EV_RESTART,
    EV_UPKEEP, EV_OFFERED, EV_SYNCED, EV_COMMAND_SYNCED, EV_RENEW, EV_ENDS, EV_MEMBERS, EV_LEAVE, EV_REMOVE,
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

/* ---- nodes --------------------------------------------------------------------------------------------------- */
struct batch {
    struct work *item[LANE_MAX];
    size_t count;
    bool ran, told;              /* told: its ops were offered */
    uint64_t mark, pos, chain;   /* of the disk when it had run */
};
struct node {
    struct sim *s;
    unsigned i, life;
    bool up, silent, gone;       /* silent: down without a word, refusals neither; gone: stays so while faults last */
    bool lost;                   /* its disk was lost or set back once */
    int64_t since_us;            /* up, or down, since then */
    int64_t paused_until;
    int64_t clock_us, drift_ppm; /* wall clock: how far off, and what it gains or loses */
    struct disk *disk;
    struct repl_entry ghost[2 * STREAMS_MAX];   /* what it had before that */
    size_t ghosts;
    uint64_t ghost_id;
    struct repl_core *core;
    unsigned targets, target[TARGETS_MAX];
    uint32_t gen[TARGETS_MAX];
    struct conn *out[TARGETS_MAX], *pull[TARGETS_MAX];
    int64_t wake_ms;             /* armed */
    struct work *queue[LANE_MAX];
    size_t queued;
    struct batch run, sync;      /* a batch that runs or ran; the one before it, on its way to a lazy disk */
    bool slow;                   /* its fsync takes seconds now */
    unsigned copy_of;            /* whose file it gets in place of its own */
    bool fails, power;           /* its next fsync fails; it dies without power */
    struct fetch fetch;
    struct ahead ahead;
    struct told *told;           /* by member; what each told of its vector in this life */
    uint32_t heard, refused;     /* members (bits): spoke in this life of ours; were removed, as far as it knows */
    uint32_t says;               /* peers (bits) that call it removed */
    bool leaves;                 /* it was removed, and knows */
    uint64_t doomed;             /* its id that was removed */
    struct node_fork fork;
};
int64_t node_wall(const struct node *n);   /* what its wall clock says, in microseconds */
void node_start(struct node *n);
enum loss { LOSS_NONE, LOSS_ALL, LOSS_SET_BACK, LOSS_COPY, LOSS_REMOVED };
void node_crash(struct node *n, bool silent, enum loss loss);
void node_set_back(struct node *n);                                /* with its memory: it lives on */
void node_feed(struct node *n, struct repl_event e);
void node_event(struct node *n, struct event *e);
void node_request(struct node *n, struct conn *c, struct msg *m);   /* server side */
void node_answer(struct node *n, struct conn *c, struct msg *m);    /* client side */
void node_closed(struct node *n, struct conn *c);
bool lane_submit(struct node *n, struct work *w);    /* false: full */
void lane_event(struct node *n, struct event *e);
void lane_crash(struct node *n);
void lane_look(struct node *n, uint64_t stream);

/* ---- connections --------------------------------------------------------------------------------------------- */
enum msg_kind { M_HELLO, M_OPS, M_VECTOR, M_PULL, M_HELLO_OK, M_ACK, M_BUSY, M_PONG, M_PULLED, M_CLOSE,
                M_STATE, M_STATE_IS, M_REFUSED };
struct msg {
    enum msg_kind kind;
    uint64_t node, live;         /* the sender */
    struct repl_entry entry;
    struct repl_entry *vector;   /* owned */
    size_t vector_count;
    bool whole, more, gone, forked;   /* gone: trimmed, only the state has it; forked: another history */
    struct state_page *page;     /* owned */
    uint64_t first, before;
    struct op **ops;             /* owned */
    size_t count;
    struct msg *next;
};
struct way { struct msg *head, *tail; bool armed, dead, held; };   /* held: the receiver reads later */
struct conn {
    struct sim *s;
    unsigned a, b, a_life, b_life;    /* a dialled b */
    unsigned peer;
    uint32_t gen;
    bool pulls, state, up, a_open, b_open;
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

/* ---- clients ------------------------------------------------------------------------------------------------- */
enum client_state { CLIENT_FREE, CLIENT_QUEUED, CLIENT_TRACKED, CLIENT_ANSWERED, CLIENT_GONE };
struct client_op {
    uint64_t key;
    unsigned node, life, need;
    struct edit edit;
    enum client_state state;
    int64_t begun_us, deadline_us;
    uint64_t stream, seq, chain;  /* chain: of a forked stream */
    bool met, unsure, not_applied;
    bool command;                 /* a command wrote this key first */
    unsigned attempt;
    uint64_t closes;              /* connections lost so far when it began */
};
void client_event(struct sim *s, struct event *e);
void client_done(struct node *n, struct work *w);         /* the lane is done with its write */
void client_answer(struct node *n, const struct repl_effect *f);
void client_node_down(struct node *n);
uint64_t client_issue(struct sim *s, unsigned node, uint64_t key, const struct edit *e, unsigned need,
                      unsigned attempt);

/* ---- the run ------------------------------------------------------------------------------------------------- */
struct sim {
    uint32_t *choice;
    size_t choices, used;
    bool verbose, failed;
    struct buf *told;                           /* a story's lines; NULL: none is told. Borrowed */
    char why[1200];
    const char *how; /* the kind of failure: a shrunk run fails in the same way */
    int64_t now_us;
    uint64_t ties, trace, events;
    uint64_t faults, commands;                  /* how many there were */
    struct event *heap;
    size_t heap_count, heap_cap;
    unsigned n, w;
    bool real, coarse;                          /* coarse: wall clocks move once a second, so that versions tie */
    bool stories;                               /* more may happen than in the first seeds, which stay as they were */
    bool tales, removes, forks;                 /* and more than in those; nodes are taken out; set back alive */
    uint64_t forked[FORKS_MAX];                 /* streams that have two histories */
    size_t forked_count;
    bool lazy;                                  /* disks are: what readers see is not durable yet */
    bool ends, calm;                            /* dead writers' streams leave the vector, while it is not calm */
    bool versions;                              /* some nodes begin with an older program */
    uint64_t command_key;                       /* of the last command, and its edit: a client may repeat it */
    struct edit command_edit;
    struct node node[NODES_MAX];
    int64_t cut[NODES_MAX][NODES_MAX];          /* until when nothing passes from one to the other */
    struct list conns;
    uint64_t tokens, streams, closes;
    struct op *op[1024];
    struct arena arena;
    const char *forgotten[FORGOTTEN_MAX];       /* ids whose deletion some node forgot */
    size_t forgottens;
    struct client_op client[CLIENT_OPS_MAX];
    size_t clients, planned;
    uint64_t keys;
    bool fault_on[FAULT_KINDS], quiet;          /* quiet: no new faults */
    bool trims_tombs, loses;                    /* loses: some node may lose its disk */
    uint64_t member[MEMBERS_MAX];               /* every node id there ever was */
    unsigned members;
    unsigned losses;
    bool twins;                                 /* a node has two URLs: its disk is safe then */
    uint64_t transfers;                         /* ops sent or pulled, for the second exchange */
    bool goal[GOAL_KINDS];
};
/* Runs one buffer of choices from the start to the end; false: failed, why says how. */
enum range { RANGE_PLAIN, RANGE_STORIES, RANGE_TALES, RANGE_FORKS };
bool sim_run(struct sim *s, uint32_t *choice, size_t choices, enum range range, bool verbose);
/* The parts of a run: all is as at first; time goes on to that moment; all nodes end. */
void sim_begin(struct sim *s, uint32_t *choice, size_t choices);
void sim_until(struct sim *s, int64_t us);
void sim_end(struct sim *s);
void sim_fail(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_log(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));   /* also the trace */
uint64_t pick(struct sim *s, uint64_t bound);                      /* 0..bound-1 */
bool chance(struct sim *s, unsigned percent);
int64_t sim_ms(const struct sim *s);

#endif
