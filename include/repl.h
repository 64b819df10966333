/* repl.h - the replication core: repl_step(core, event, effects). Pure: no io, no clock, no log, no threads; time comes
 * with each event, chance from the seed given at init. What to dial, send, pull, answer comes out as effects, valid
 * until the next step. The driver (src/cluster) turns io into events and effects into io; test/sim does so virtually.
 *
 * A node pushes only its own life's stream; all else is asked for (pulled). A position counts as an ack only from the
 * peer itself, on the present connection, when its chain agrees. Once per node id, never for one's own.
 *
 * One peer's link:
 *   DOWN ─timer─▶ DIALING ─CONNECTED─▶ HELLO ─HELLO_OK─▶ CHECKING (its position: is it on our chain?) ─CHECKED─▶ UP
 *   any ─CLOSED, stall, three missed pings─▶ DOWN;  HELLO_OK naming us ─▶ SELF (for good);  404 ─▶ UP as an original
 *   CHECKED(false) ─▶ FORKED (alarm; it does not count; redialled slowly)
 * One tracker (a client's write waiting for W):
 *   WAITING ─W positions at or past it─▶ MET;  ─certain that W cannot be reached─▶ UNREACHABLE;  ─deadline─▶ TIMEOUT
 *   The tracker ends with its answer; the sends do not: they belong to the log and the peer's position. */
#ifndef AIM_REPL_H
#define AIM_REPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPL_PEERS_MAX 15
#define REPL_WINDOW 2                     /* batches on the way to one peer */
#define REPL_BATCH_OPS 512
#define REPL_NO_PEER UINT32_MAX           /* VECTOR: came on the peer's own connection; found by its node id */

struct repl_entry { uint64_t stream, node, pos, chain; bool ended; };   /* one line of a vector */

struct repl_config {
    uint64_t node;                        /* own node id */
    struct repl_entry own;                /* this life's stream, its position at start */
    unsigned peers;                       /* configured peers (after folding): N = peers + 1 */
    unsigned writes;                      /* W, 1..N */
    bool relaxed;                         /* COMMITTED is not on our disk yet: W counts it, `disks` does not */
    size_t trackers_max;                  /* 8192 */
    unsigned second_ops;                  /* 16: a batch goes behind one on the way from so many ops on; fewer wait */
    uint32_t stall_ms, stall_max_ms;      /* 500 (or 8 x smoothed round trip); if repeated, doubling to 4000 */
    uint32_t ping_ms, ping_missed;        /* 250, 3 */
    uint32_t dial_timeout_ms, dial_backoff_ms;   /* 250; full jitter up to 1000 */
    uint32_t refused_gap_ms;              /* 100: two refusals that far apart are certain */
    uint32_t grace_ms;                    /* 100: then those that are up get this long, so that `got` is true */
    uint32_t vector_ms, relay_ms;         /* 1000: tell vectors; 1000: wait for the origin's push before asking */
    uint32_t patience_ms;                 /* 2000: how long a client's write waits */
    uint64_t seed;
};
void repl_config_default(struct repl_config *c);

enum repl_event_type {
    REPL_TICK,               /* time passed (the armed timer) */
    REPL_OFFERED,            /* own stream committed up to entry.pos with entry.chain, our disk is at it: it may be sent
                              * and peers may have it, but it does not count here yet */
    REPL_COMMITTED,          /* own stream durable up to entry.pos with entry.chain */
    REPL_APPLIED,            /* a foreign stream (pushed, pulled, of another process here: `foreign_process`) is durable
                              * at entry; at start once for each stream of the file */
    REPL_TRACK,              /* a client waits: tag (its own), entry.stream, entry.pos; need (0: W), deadline_ms; whole:
                              * nodes of the original will be asked about this very op, HAS and UNASKED come of it */
    REPL_FORGET,             /* the client is gone: drop tag without an answer */
    REPL_CONNECTED, REPL_CONNECT_FAILED /* refused: nobody listens */, REPL_CLOSED,
    REPL_HELLO_OK,           /* the peer's: node, live (the stream it writes), entry (its position in ours), vector */
    REPL_HELLO_ORIGINAL,     /* 404: a node of the original; entry.pos: how far in our stream we got with it */
    REPL_HELLO_REFUSED,      /* another cluster name, removed member, protocol error, 401: redial slowly */
    REPL_CHECKED,            /* answer to CHECK_CHAIN: ok */
    REPL_SENT,               /* the batch asked for was composed and sent: first..entry.pos, chain after it in
                              * entry.chain; entry.pos < first: nothing there */
    REPL_ACK,                /* one per batch, in order: the peer's durable position in our stream, rewind included;
                              * original: entry.pos = the seq it took, `counts`: it is stored there now */
    REPL_HAS,                /* a node of the original, peer, gen: what the op entry made is stored there now */
    REPL_UNASKED,            /* such nodes cannot be asked about the op entry: who waits for it waits for others */
    REPL_BUSY,               /* 102: it is alive and working */
    REPL_PONG,               /* answer to SEND_VECTOR: the peer's entries of the streams named there; all when whole */
    REPL_VECTOR,             /* told by a peer on its own connection (REPL_NO_PEER): node, vector, whole or changes */
    REPL_INBOUND,            /* a message of node arrived: it is alive; entry.stream: the one it writes (0: not said) */
    REPL_PULLED,             /* a pull ended: peer, gen of the PULL; ok; more: the source had more. After APPLIED */
    REPL_COMING,             /* a snapshot is on its way that brings what vector[] says: not pulled until it is here or
                              * another COMING says otherwise (an empty one: none is) */
    REPL_LEFT,               /* a stream left the vector here, at entry: what peers told of it up to there is not asked
                              * for any more */
    REPL_STOP,               /* draining: every tracker is answered with STOPPED */
};
struct repl_event {
    enum repl_event_type type;
    int64_t now_ms;                       /* monotonic */
    unsigned peer; uint32_t gen;          /* links: index, generation of its DIAL; stale ones are ignored */
    uint64_t node, live;
    struct repl_entry entry;
    const struct repl_entry *vector; size_t vector_count; bool whole;
    uint64_t first;                       /* SENT */
    uint64_t tag; unsigned need; int64_t deadline_ms;
    bool ok, refused, counts, more, foreign_process;
    bool relaxed;                         /* HELLO_OK: it acknowledges what its disk does not have yet */
};

enum repl_effect_type {
    REPL_DIAL,               /* peer, gen */
    REPL_CLOSE,              /* peer, gen: reset it; no event is owed */
    REPL_SEND_HELLO,         /* with our whole vector (repl_vector) */
    REPL_CHECK_CHAIN,        /* is (entry.stream, entry.pos, entry.chain) on our chain? answer CHECKED */
    REPL_SEND_OPS,           /* peer, gen: own stream from `first`, at most count ops (none beyond what OFFERED and
                              * COMMITTED said) and 1 MiB; answer SENT */
    REPL_SEND_VECTOR,        /* peer, gen: also the ping; answer PONG; vector[]: the changes (whole says whether all) */
    REPL_PULL,               /* gen: of this pull. Ask peer for entry.stream from entry.pos + 1 (chain before it:
                              * entry.chain); answer PULLED */
    REPL_ANSWER,             /* tag: result, got, disks, need, all (every peer has it) */
    REPL_ALARM_FORK,         /* peer: two chains at one position of our stream, or it is ahead of us in it */
    REPL_PEER_STATE,         /* peer: state changed, for status and log */
};
enum repl_result {
    REPL_MET, REPL_UNREACHABLE, REPL_TIMED_OUT, REPL_STOPPED,
    REPL_NO_ROOM,            /* trackers_max wait (admission must refuse before): pending, the write travels */
};
enum repl_link {
    REPL_DOWN, REPL_DIALING, REPL_HELLO, REPL_CHECKING, REPL_UP, REPL_SUSPECT, REPL_SELF,
    REPL_TWIN,               /* a node id that another URL reached first */
    REPL_FORKED, REPL_REFUSED,
};
const char *repl_link_name(enum repl_link s);

struct repl_effect {
    enum repl_effect_type type;
    unsigned peer; uint32_t gen;
    uint64_t first; unsigned count;
    struct repl_entry entry;
    const struct repl_entry *vector; size_t vector_count; bool whole;
    uint64_t tag; enum repl_result result; unsigned got, need; bool all;
    unsigned disks;                       /* of `got`, those on a disk: originals and relaxed nodes do not count */
    enum repl_link state;
};
struct repl_effects {
    const struct repl_effect *item; size_t count;
    int64_t wake_ms;                      /* feed TICK then; INT64_MAX: nothing armed */
};

struct repl_core;
/* Copies the config; the first step dials. Never fails. Any number of cores in one process, each on one thread. */
struct repl_core *repl_new(const struct repl_config *c);
void repl_free(struct repl_core *core);      /* NULL is fine; trackers get no answer (see REPL_STOP) */
/* Feeds one event. Effects come in the order to be carried out; the core owns them until the next step. */
void repl_step(struct repl_core *core, const struct repl_event *e, struct repl_effects *ret);

/* Looking in (status, metrics, tests). */
struct repl_peer_view {
    enum repl_link state;
    bool original, counts, relaxed;
    uint64_t node, acked, next;
    int64_t rtt_us, last_ok_ms, dials, stalls;
};
void repl_peer_view(const struct repl_core *core, unsigned peer, struct repl_peer_view *ret);
/* Own vector as the core knows it; borrowed until the next step. Lines of stream 0 are empty. */
const struct repl_entry *repl_vector(const struct repl_core *core, size_t *ret_count);
/* The position in a stream, 0 when unknown. Quick: a table. */
uint64_t repl_position(const struct repl_core *core, uint64_t stream);
/* Streams of which some connected peer told more than this node has. */
size_t repl_behind(const struct repl_core *core);
size_t repl_trackers(const struct repl_core *core);
/* Do `need` nodes (0: W) have this op, as far as is known now? What a tracker for it would say at once. */
bool repl_holds(const struct repl_core *core, uint64_t stream, uint64_t pos, unsigned need);
/* Whether one more write is let in, `waiting` being under way with it: false while the fastest W - 1 of the peers that
 * are up lag so far behind that it could not be acknowledged in time; catching up then outruns what comes in. */
bool repl_admits(struct repl_core *core, size_t waiting, int64_t now_ms);
size_t repl_room(const struct repl_core *core);   /* ops that may be missing there; SIZE_MAX: any number */

#endif
