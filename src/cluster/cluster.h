/* cluster.h - the driver around the replication core: turns io into its events and its effects into io, nothing else.
 * Loop thread only. */
#ifndef AIM_CLUSTER_H
#define AIM_CLUSTER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "err.h"
#include "memory.h"
#include "repl.h"

struct cluster;
struct lane;
struct lane_commit;
struct readers;
struct metrics;
struct tls_context;

/* How the next life of this node differs from the present one. */
enum cluster_life {
    CLUSTER_LIFE_SAME,
    CLUSTER_LIFE_STREAM,   /* a new stream, in which what the log holds of the forked one is repeated */
    CLUSTER_LIFE_NODE,     /* a new node id, too: the file was copied, and the other life of this id is older */
    CLUSTER_LIFE_EMPTY,    /* the file set aside, an empty one in its place: removed from the mesh */
};
struct cluster_options {
    unsigned writes;                       /* W as asked for; 0: federation off */
    const char *const *peers; unsigned peers_count;   /* URLs as given; folded, checked by cluster_plan */
    uint32_t timeout_ms;
    bool relaxed;                          /* commits are not synced: our copy and our answers stand for no disk */
    const char *name;                      /* cluster name: peers of another name are refused; "" matches "" */
    const char *api_key;                   /* sent to peers; NULL: none */
    struct tls_context *tls;               /* borrowed: for peers by https; NULL: there are none */
    uint32_t catchup_ms;                   /* nodes of the original are asked for their rows so often; 0: never */
    /* does a process of this machine write this stream? Pool; NULL: yes */
    bool (*alive)(void *data, uint64_t stream);
    void *alive_data;
    /* This life must end. Loop; may come again while it is not done. NULL: it goes on, alarms tell. */
    void (*renew)(void *data, enum cluster_life how, uint64_t forked);
    void *renew_data;
    /* It cannot begin, for what it has is not known to be on the disk: it tells nobody anything. Loop, once, instead of
     * `ready`; E_BUSY: another process holds the file. Data: renew's. NULL: only logged. */
    void (*failed)(void *data, const struct err *err);
    uint32_t start_ms;                     /* the file is waited for so long: 60 s */
    enum cluster_life life;                /* how this one began */
    uint64_t forked;                       /* a stream of ours to repeat before anything else; 0: none */
    uint64_t log_ops_max;                  /* ops of one stream kept for members that lack them; 0: all */
    uint32_t scrub_secs;                   /* rows are compared with a peer so often; 0: only when asked for */
    uint32_t log_max_secs;                 /* ops older than that are not kept for them; 0: whatever their age */
    uint32_t gone_keep_secs;               /* deletions are remembered that long at least */
    uint32_t slow_commit_ms;               /* 102 every so many ms while a peer's batch is on disk: 200 */
};
/* Folds duplicate URLs, cuts W to N, says what it did: `warnings` gets a JSON array of texts. E_INVALID names the bad
 * URL. */
struct cluster_plan { unsigned writes, nodes; char **url; unsigned urls; json_t *warnings; };
int cluster_plan(const struct cluster_options *o, struct cluster_plan *ret, struct err *err);
void cluster_plan_release(struct cluster_plan *p);

/* lane and readers are borrowed; node and stream are those of the lane's change. Works without peers too (accepts ops
 * from others, tells vectors). */
struct cluster *cluster_new(uv_loop_t *loop, const struct cluster_options *o, const struct cluster_plan *p,
                            struct lane *lane, struct readers *readers, struct metrics *m);
/* Loads the vector, starts dialling; `ready` runs once this node caught up with reachable peers, 1 s at most. */
int cluster_start(struct cluster *c, void (*ready)(void *data), void *data, struct err *err);
void cluster_committed(struct cluster *c, const struct lane_commit *commit);   /* from the lane: once or twice */
/* Answers every waiting write (pending), and those to come; links go on. Before cluster_close when time is short. */
void cluster_stop(struct cluster *c);
/* Trackers are answered (pending), links flush what is on the way and close. */
void cluster_close(struct cluster *c, void (*closed)(void *data), void *data);

/* A write's wait for W. Embed it. cb exactly once, later. */
struct cluster_wait {
    void (*cb)(struct cluster_wait *w);
    void *data;
    enum repl_result result; unsigned got, needed, disks; bool all;   /* results */
    /* Given: the op was made by an earlier attempt, so nodes of the original, which tell nothing by themselves, are
     * asked about it; again_id (may be NULL): the row that is asked about when the log has it no more. */
    bool again; const char *again_id;
    uint64_t tag; struct cluster_wait *next;   /* private */
};
unsigned cluster_writes(const struct cluster *c);          /* W in force; 0: off */
unsigned cluster_nodes(const struct cluster *c);
/* E_BUSY: too many waiting. need 0: W. */
int cluster_wait_for(struct cluster *c, struct cluster_wait *w, const struct stamp *pos, unsigned need,
                     int64_t deadline_mono_ms);
/* Do `need` nodes (0: W) have this op, as far as is known now? False while replication has not begun. */
bool cluster_holds(const struct cluster *c, const struct stamp *pos, unsigned need);
/* Whether one more write is let in, `waiting` being under way with it: not while the peers needed for W lag too far. */
bool cluster_admits(struct cluster *c, size_t waiting);
/* 1: this node has stream:seq already (no callback). 0: `cb` once it has (0), at the deadline (E_TIMEOUT) or at the end
 * (E_STOPPING). E_BUSY: too many wait. */
int cluster_wait_pos(struct cluster *c, uint64_t stream, uint64_t seq, int64_t deadline_mono_ms,
    void (*cb)(void *data, int status), void *data);

/* Reads of the newest of R nodes. R in force: N - W + 1, at least 2, at most N. */
unsigned cluster_reads(const struct cluster *c);
/* Asks the peers for their row of an id until `need` have answered. 0: cb later, once: status 0 and at least `need`
 * answers of /api/v1/sync/row (borrowed; objects, otherwise unchecked), or E_QUORUM with the reason ("timeout",
 * "unreachable") and those that came, or E_STOPPING. E_UNREACHABLE: too few are there; E_BUSY, E_STOPPING. */
typedef void (*cluster_ask_cb)(void *data, int status, const json_t *rows, const char *reason);
int cluster_ask(struct cluster *c, const char *id, unsigned need, int64_t deadline_mono_ms, cluster_ask_cb cb,
                void *data);

/* POST and GET /api/v1/sync/ops: the HTTP door hands the bytes over and gets bytes back. Borrowed until the reply.
 * `progress` (102) may be called before. reply: status, body (mem_alloc'ed, taken by the callee's caller). */
/* REPAIR: compares our rows with the peers' now and mends ours; its reply is JSON. */
enum cluster_what { CLUSTER_OPS, CLUSTER_SNAPSHOT, CLUSTER_SCRUB, CLUSTER_REPAIR };
struct cluster_request {
    enum cluster_what what;
    const void *body; size_t body_len; const char *query; bool get;
    void (*progress)(struct cluster_request *r);
    void (*reply)(struct cluster_request *r, int status, char *body, size_t len);
    void *data;
};
void cluster_serve(struct cluster *c, struct cluster_request *r);
/* The asker went away before the reply: r is not touched any more (what it sent is applied all the same). */
void cluster_serve_gone(struct cluster *c, struct cluster_request *r);
/* Is a node of the original among the configured peers, or was one when last heard of? Then tombstones stay: it knows
 * none and offers deleted rows again. True until what was known of them is read from the file. */
bool cluster_has_originals(const struct cluster *c);
/* Facts for /health, /api/v1/sync/status, metrics: a new object. */
json_t *cluster_status(struct cluster *c);

#endif
