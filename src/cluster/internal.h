/* internal.h - what the driver's files share. Loop thread only.
 *
 *   cluster.c   the core's events and effects, timers, waits, start and close
 *   link.c      one peer's long-lived connection: hello, ops, vectors
 *   pull.c      asking a peer for another stream's ops, on a connection of its own; finding out what is new in our file
 *   receive.c   the other side: what peers send us
 *   original.c  a peer that is a node of the original: one JSON push per op; mixed.c: what it lacks, and what it has
 *   members.c   who belongs to the mesh, what each told, what may be forgotten therefore
 *   life.c      when a life of this node must end and another begin
 *   scrub.c     our rows compared with the peers'; repairs; scrub_shown.c: our records with what is shown of them
 *   snapshot.c  what the log does not hold: a peer's whole state merged into ours; giving ours
 *   ask.c       what peers hold of one id, for a read of several nodes
 *   source.c    our stream's ops for sending: from the ring, else paged from the log by a reader */
#ifndef AIM_CLUSTER_INTERNAL_H
#define AIM_CLUSTER_INTERNAL_H

#include "base/alloc.h"
#include "base/buf.h"
#include "base/list.h"
#include "cluster/cluster.h"
#include "cluster/ring.h"
#include "cluster/wire.h"
#include "net/client.h"
#include "store/lane.h"
#include "store/readers.h"

#define EVENTS_MAX 256
#define ASKED_MAX 8
#define POS_WAITS_MAX 4096
#define HELD_MAX 1000
#define HELD_POLLS 10
#define NODES_MAX 64
#define SCRUB_ASKERS_MAX 8
#define SPLITS_MAX 64
#define REMOVED_TEXT "this node was removed from the mesh"
#define COPIED_TEXT "another process lives as this node"

/* A node that was heard of, other than this one. */
struct known_node {
    uint64_t node;
    enum member_state state;         /* 0: no row yet */
    char *url;                       /* owned; NULL: it only calls us */
    struct stream_pos *told;         /* owned; what it told in this life of ours, by stream */
    size_t told_count, told_cap;
    bool whole;                      /* it told all */
    int64_t first_ms, heard_ms, since_ms;
    struct stamp stamp;              /* of its row */
};

struct peer {
    struct cluster *c;
    unsigned index;
    char *url;                       /* owned */
    struct client_url parsed;
    struct client *link;             /* NULL: none */
    uint32_t gen;                    /* of link */
    bool original, self;             /* self: its URL leads to this node */
    enum wire_kind asked[ASKED_MAX]; /* what the unanswered requests were, oldest first */
    unsigned asked_count;
    unsigned garbled, misfits;       /* in a row: hellos that one of us could not read, batches of a damaged log */
    bool says_removed;               /* it refuses this node as removed from the mesh */
    size_t unsent;                   /* of link, when last looked at */
    struct client *pull;             /* NULL: none */
    struct pull_job *pull_job;       /* the one on its way */
    struct original *original_state; /* owned */
    struct asker *asker;             /* owned */
    uint64_t node, live;             /* as its hello said */
    uint64_t twice; int64_t twice_ms, twice_heard_ms; /* another life that says it is this node, and calls us */
    int64_t last_ok_ms;
    uint64_t sent_ops;
    int64_t stalls;                  /* as last told in last_error */
    uint64_t errors;
    char last_error[200];
};

struct pos_wait {
    struct list link;
    uint64_t stream, seq;
    int64_t deadline_ms;
    void (*cb)(void *data, int status);
    void *data;
};

struct cluster {
    uv_loop_t *loop;
    struct cluster_options o;        /* strings owned */
    unsigned writes, nodes;
    json_t *warnings;
    struct lane *lane;               /* borrowed */
    struct readers *readers;         /* borrowed */
    struct metrics *metrics;         /* borrowed */
    struct origin own;               /* node, stream; seq and chain as committed */
    struct repl_core *core;
    struct ring *ring;
    struct peer peer[REPL_PEERS_MAX];
    unsigned peers;

    struct repl_event queue[EVENTS_MAX]; /* made while effects were being carried out */
    unsigned queued;
    bool stepping, calling;          /* inside feed; inside cluster_wait_for */
    struct cluster_wait *answered, **answered_tail;

    uv_timer_t timer;                /* the core's */
    uv_timer_t poll;                 /* foreign processes, position waits, busy lines, cursors of originals */
    uv_idle_t deliver;               /* answers that came inside the caller's own call */
    struct list pos_waits;
    size_t pos_waits_count;
    struct list asks;
    size_t asks_count;
    uint64_t ask_serial;
    struct list serving;             /* requests whose batch is in the lane: told 102 while they wait */
    unsigned busy;                   /* jobs that will call back */
    bool polling;                    /* a look at the file's streams is on its way */
    struct known_node known[NODES_MAX];
    unsigned known_count;
    bool removed;                    /* this node was removed from the mesh */
    struct stream_pos *left;         /* owned: streams that left the vector, and where; ascending */
    size_t left_count, left_cap;
    bool caring;                     /* upkeep of members, streams and log is on its way */
    int64_t care_due_ms, gone_due_ms;
    struct cover cover[NODES_MAX];   /* owned: what every member told at one moment */
    unsigned covers;
    bool cover_taken;
    uint64_t gone_rows;              /* deletions forgotten in this life */
    struct scrub *scrub;             /* a comparison under way; NULL: none */
    struct serve *scrub_asker[SCRUB_ASKERS_MAX]; /* who waits for the result of the next one */
    unsigned scrub_askers;
    int64_t scrub_due_ms, scrubbed_ms;
    char scrub_error[120];           /* why the last one came to nothing */
    /* rounds; rows that differed without a reason; of these wrong here; pages of a peer's rows merged */
    uint64_t scrubs, divergent, divergent_here, repairs;
    enum cluster_life renew;         /* this life must end; see life.c */
    uint64_t renew_stream;
    uint64_t twin;                   /* another life with our node id */
    int64_t twin_ms;                 /* first heard of */
    struct split { uint64_t stream; int64_t again_ms; } split[SPLITS_MAX];   /* two histories, met in this life */
    unsigned splits;
    struct fetch *fetch;             /* a snapshot on its way to us; NULL: none */
    bool lacks;                      /* a stream left the vector that is not whole here */
    bool snapshot_wanted;
    bool snapshot_torn;              /* one failed: the lane is to be told */
    bool ahead, ahead_busy;          /* rows may be newer than our vector */
    struct stream_pos *ahead_until;  /* owned: until then; NULL: unknown */
    size_t ahead_count;
    int64_t ahead_ms;                /* since then */
    const char *snapshot_why;
    bool snapshot_lost;              /* because rows were lost behind our back */
    struct peer *snapshot_from;      /* whom to ask first; NULL: anyone */
    int64_t snapshot_retry_ms;
    unsigned snapshot_failures;
    uint64_t snapshots;              /* merged in this life */
    bool saving;                     /* cursors of originals are on their way to disk */
    int64_t save_due_ms;             /* not again before */

    void (*ready)(void *data);
    void *ready_data;
    int64_t ready_by_ms;
    void (*closed)(void *data);
    void *closed_data;
    unsigned handles;
    bool closing;
    uint64_t batches_in, ops_in, forks;   /* forks: two histories met */
    struct { uint64_t far_future, unseen, clock; } counted;   /* of the lane's last commit: ops, edits, its clock */
    uint64_t held_ops;               /* in the file, HELD_MAX at most; looked for every HELD_POLLS polls */
    unsigned polls;
};

/* cluster.c */
void cluster_feed(struct cluster *c, struct repl_event *e);     /* sets now_ms; vectors only when not stepping */
void cluster_feed_link(struct peer *p, enum repl_event_type type);
void cluster_head(const struct cluster *c, struct wire_head *h);
void cluster_applied(struct cluster *c, const struct stream_pos *pos, bool foreign_process);
/* Calls back, on the loop, when all that a reader saw up to now is durable (synced.c), and told to the core where the
 * lane made it. status: the lane's; then it may not be. An error: no callback. */
int cluster_synced(struct cluster *c, void (*cb)(void *data, int status), void *data);
/* Our vector without the streams that left: a copy, to mem_free. */
struct repl_entry *cluster_vector(const struct cluster *c, size_t *ret_count);
void cluster_lacks(struct cluster *c, bool lacks);
void cluster_job_done(struct cluster *c);                       /* pairs with c->busy++ */
void peer_error(struct peer *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A connection to be made to this peer, by TLS if its URL says so. */
static inline struct client *peer_client(struct peer *p, const struct client_options *o)
{
    struct client_options own = *o;
    own.tls = p->c->o.tls;
    return client_new(p->c->loop, &own);
}

/* link.c: effects */
void link_dial(struct peer *p, uint32_t gen);
void link_close(struct peer *p, bool abort);
void link_hello(struct peer *p);
void link_vector(struct peer *p, const struct repl_entry *v, size_t count, bool whole);
void link_ops(struct peer *p, uint64_t first, unsigned count);
void link_check_chain(struct peer *p, const struct repl_entry *at);
/* A large batch on a thin line takes longer than any answer may: what the other machine took meanwhile is progress. */
void link_poll(struct peer *p);
/* Sends a batch: the body is taken. Reports SENT. */
void link_send_batch(struct peer *p, const struct log_op *op, size_t count, uint64_t chain_before);

/* source.c */
typedef void (*source_cb)(struct peer *p, const struct log_op *op, size_t count, uint64_t chain_before);
/* Ops of our stream from first: from the ring at once, else from the log later; the callback is dropped when the link
 * changed meanwhile. */
void source_load(struct peer *p, uint64_t first, unsigned count, source_cb cb);
void source_chain(struct peer *p, const struct repl_entry *at);

/* pull.c */
void pull_start(struct peer *p, uint32_t gen, const struct repl_entry *from);
void pull_stop(struct peer *p);
void pull_poll_file(struct cluster *c);

/* original.c */
void original_send(struct peer *p, const struct log_op *op, size_t count, uint64_t chain_before);
void original_save(struct cluster *c, bool now);
int original_load(struct cluster *c, struct store_tx *tx, struct arena *a);

/* ask.c */
struct asker *asker_new(void);
void asker_free(struct asker *a);               /* after ask_stop */
void ask_tick(struct cluster *c, int64_t now_ms);
void ask_stop(struct cluster *c);

/* receive.c: a batch of a stream on its way through the lane */
struct apply_job {
    struct lane_item item;
    struct cluster *c;
    char *body;                      /* owned: the message */
    size_t body_len;
    struct arena arena;
    struct wire_message m;           /* borrows from body */
    void (*applied)(struct apply_job *j, int status);   /* loop; the job is freed after it */
    void *data;
    enum foreign_result result;
    struct stream_pos pos;
    bool lacks;
};
/* Takes the message (body owned, freed with the job). 0, or the lane's refusal: the body is freed, no more. */
int apply_submit(struct cluster *c, char *body, size_t len, void (*applied)(struct apply_job *, int), void *data);
void serve_busy(struct cluster *c, int64_t now_ms);
/* A request that waits for the lane or a reader; its end gives the request back, NULL when the asker went away. */
struct serve *serve_new(struct cluster *c, struct cluster_request *r);
struct cluster_request *serve_end(struct serve *s);
void reply_error(struct cluster_request *r, int status, const char *text);
void reply_message(struct cluster_request *r, struct buf *b);   /* 200; b is taken */
bool query_number(const char *query, const char *name, uint64_t *ret);

#include "cluster/heal.h"

#endif
