/* figures.c - the metrics of the program: counted where answers leave, or read off the parts at each scrape. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "http/ask.h"
#include "store/lane.h"
#include "store/readers.h"

#define PRINT_MAX (4u << 20)
#define LABEL_BYTES 320

static const double latency_buckets[] = { 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, -1 };
static const double cycle_buckets[] = { 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, -1 };

#define FIGURES(X)                                                                                                     \
    X(MEMORIES, "memories", "Memories in the store, expired ones included", METRIC_GAUGE, NULL, NULL)                  \
    X(STORE, "store_total", "Memories stored, by tier and result", METRIC_COUNTER, "result,tier", NULL)                \
    X(RECALL, "recall_total", "Recalls, by mode", METRIC_COUNTER, "mode", NULL)                                        \
    X(RECALL_SECONDS, "recall_latency_seconds", "Time to answer a recall", METRIC_HISTOGRAM, "mode", latency_buckets)  \
    X(HOOK, "autonomy_hook_total", "Autonomous hooks run", METRIC_COUNTER, "kind,result", NULL)                        \
    X(CONTRADICTION, "contradiction_detected_total", "Stored memories that came with a hint of contradiction",         \
      METRIC_COUNTER, NULL, NULL)                                                                                      \
    X(WEBHOOK, "webhook_dispatched_total", "Webhooks delivered", METRIC_COUNTER, NULL, NULL)                           \
    X(WEBHOOK_FAILED, "webhook_failed_total", "Webhooks not delivered", METRIC_COUNTER, NULL, NULL)                    \
    X(HNSW, "hnsw_size", "Vectors in the index", METRIC_GAUGE, NULL, NULL)                                             \
    X(SUBSCRIPTIONS, "subscriptions_active", "Webhook subscriptions", METRIC_GAUGE, NULL, NULL)                        \
    X(CURATOR, "curator_cycles_total", "Cycles of the curator", METRIC_COUNTER, NULL, NULL)                            \
    X(CURATOR_OPS, "curator_operations_total", "What the curator did", METRIC_COUNTER, "kind,result", NULL)            \
    X(CURATOR_SECONDS, "curator_cycle_duration_seconds", "Time of a curator's cycle", METRIC_HISTOGRAM, "dry_run",     \
      cycle_buckets)                                                                                                   \
    X(HTTP_ANSWERS, "http_requests_total", "Requests answered, by status", METRIC_COUNTER, "status", NULL)             \
    X(HTTP_CONNECTIONS, "http_connections", "Connections open", METRIC_GAUGE, NULL, NULL)                              \
    X(CALLS, "calls_in_flight", "Operations under way", METRIC_GAUGE, NULL, NULL)                                      \
    X(READERS, "readers_in_flight", "Reads on the pool", METRIC_GAUGE, NULL, NULL)                                     \
    X(LANE_BATCHES, "lane_batches_total", "Batches committed by the writer lane", METRIC_COUNTER, NULL, NULL)          \
    X(LANE_ITEMS, "lane_items_total", "Writes in those batches", METRIC_COUNTER, NULL, NULL)                           \
    X(LANE_FSYNCS, "lane_fsyncs_total", "Batches committed with an fsync", METRIC_COUNTER, NULL, NULL)                 \
    X(LANE_BUSY, "lane_busy_total", "Writes refused because the lane was full", METRIC_COUNTER, NULL, NULL)            \
    X(LANE_QUEUED, "lane_queued", "Writes waiting for the lane", METRIC_GAUGE, NULL, NULL)                             \
    X(LANE_SECONDS, "lane_last_batch_seconds", "Time of the last batch", METRIC_GAUGE, NULL, NULL)                     \
    X(QUORUM_ACK, "replication_quorum_ack_total", "Writes answered under a quorum, by durability", METRIC_COUNTER,     \
      "durability", NULL)                                                                                              \
    X(QUORUM_FAILED, "replication_quorum_failures_total", "Writes not acknowledged by enough nodes, by reason",        \
      METRIC_COUNTER, "reason", NULL)                                                                                  \
    X(WRITES, "replication_writes_required", "Nodes a write waits for; 0: federation is off", METRIC_GAUGE, NULL,      \
      NULL)                                                                                                            \
    X(NODES, "replication_nodes", "Nodes, this one included", METRIC_GAUGE, NULL, NULL)                                \
    X(POSITION, "replication_position", "Last op of this node's own stream", METRIC_GAUGE, NULL, NULL)                 \
    X(WAITING, "replication_waiting", "Writes waiting for their quorum", METRIC_GAUGE, NULL, NULL)                     \
    X(BEHIND, "replication_behind", "Streams of which a peer has more than this node", METRIC_GAUGE, NULL, NULL)       \
    X(BATCHES_IN, "replication_batches_in_total", "Batches taken from peers", METRIC_COUNTER, NULL, NULL)              \
    X(OPS_IN, "replication_ops_in_total", "Ops taken from peers", METRIC_COUNTER, NULL, NULL)                          \
    X(FORKS, "replication_forks_total", "Peers found to hold another history of this stream", METRIC_COUNTER, NULL,    \
      NULL)                                                                                                            \
    X(CLOCK_AHEAD, "replication_clock_ahead_seconds", "How far this node's clock was pulled ahead of the time of day", \
      METRIC_GAUGE, NULL, NULL)                                                                                        \
    X(FAR_FUTURE, "replication_far_future_ops_total", "Ops stored whose time lies more than a minute ahead",           \
      METRIC_COUNTER, NULL, NULL)                                                                                      \
    X(UNSEEN, "replication_unseen_edits_total", "Edits replaced by one that had not seen them", METRIC_COUNTER, NULL,  \
      NULL)                                                                                                            \
    X(HELD, "replication_held_ops", "Ops stored and passed on that this program cannot apply", METRIC_GAUGE, NULL,     \
      NULL)                                                                                                            \
    X(PUSH_SKIPPED, "sync_push_skipped_total", "Rows of pushes that were not taken", METRIC_COUNTER, NULL, NULL)       \
    X(PEER_REFUSED, "replication_peer_refused_rows_total", "Rows an original did not take, or offered in vain",        \
      METRIC_COUNTER, "peer", NULL)                                                                                    \
    X(PEER_BACKLOG, "replication_peer_backlog", "Ops of any writer the peer lacks", METRIC_GAUGE, "peer", NULL)        \
    X(PEER_AGE, "replication_peer_last_success_seconds", "Time since the peer answered well", METRIC_GAUGE, "peer",    \
      NULL)                                                                                                            \
    X(ALARMS, "replication_alarms", "Things that need somebody's eye, see sync/status", METRIC_GAUGE, NULL, NULL)      \
    X(DIVERGENT, "replication_divergent_rows_total", "Rows unlike a peer's or unlike their record, without reason",    \
      METRIC_COUNTER, NULL, NULL)                                                                                      \
    X(REPAIRS, "replication_repairs_total", "Pages of rows merged or shown again to mend ours", METRIC_COUNTER, NULL,  \
      NULL)                                                                                                            \
    X(SNAPSHOTS, "replication_snapshots_total", "Whole states of peers merged", METRIC_COUNTER, NULL, NULL)            \
    X(PEER_UP, "replication_peer_up", "1: the link to the peer is up", METRIC_GAUGE, "peer", NULL)                     \
    X(PEER_LAG, "replication_peer_lag", "Ops of this node the peer has not acknowledged", METRIC_GAUGE, "peer", NULL)  \
    X(PEER_RTT, "replication_peer_rtt_seconds", "Smoothed round trip to the peer", METRIC_GAUGE, "peer", NULL)         \
    X(PEER_STALLS, "replication_peer_stalls_total", "Times the link to the peer made no progress", METRIC_COUNTER,     \
      "peer", NULL)                                                                                                    \
    X(PEER_ERRORS, "replication_peer_errors_total",                                                                    \
      "Times something went wrong with the peer; which is in sync/status", METRIC_COUNTER, "peer", NULL)

enum figure {
#define X(id, name, help, kind, labels, buckets) FIGURE_##id,
    FIGURES(X)
#undef X
};

const struct metric http_figures[] = {
#define X(id, name, help, kind, labels, buckets) { name, help, kind, labels, buckets },
    FIGURES(X)
#undef X
};
const int http_figures_count = (int)(sizeof(http_figures) / sizeof(http_figures[0]));

/* ---- counted as answers leave ----------------------------------------------------------------------------------- */
void figures_answered(struct http_door *d, int status)
{
    char label[LABEL_BYTES];
    snprintf(label, sizeof(label), "status=\"%d\"", status);
    metrics_add(d->o.metrics, FIGURE_HTTP_ANSWERS, label, 1);
}

static void count_store(struct metrics *m, const struct call *c)
{
    char label[LABEL_BYTES];
    const char *tier = json_string_value(json_object_get(c->reply.doc, "tier"));
    snprintf(label, sizeof(label), "result=\"%s\",tier=\"%s\"", c->status == 0 ? "ok" : "err", tier ? tier : "unknown");
    metrics_add(m, FIGURE_STORE, label, 1);
    if (json_object_get(c->reply.doc, "potential_contradictions")) metrics_add(m, FIGURE_CONTRADICTION, NULL, 1);
}

static void count_quorum(struct metrics *m, const struct call *c)
{
    static const char *const durability[] = {
        [DURABLE_NONE] = "durability=\"none\"",
        [DURABLE_LOCAL] = "durability=\"local\"",
        [DURABLE_QUORUM] = "durability=\"quorum\"",
        [DURABLE_ALL] = "durability=\"all\"",
    };
    char label[LABEL_BYTES];
    if (c->status == 0) metrics_add(m, FIGURE_QUORUM_ACK, durability[c->durability], 1);
    if (c->status != E_QUORUM) return;
    snprintf(label, sizeof(label), "reason=\"%s\"", c->reason ? c->reason : "timeout");
    metrics_add(m, FIGURE_QUORUM_FAILED, label, 1);
}

void figures_call(const struct ask *a, const struct call *c)
{
    static const char mode[] = "mode=\"keyword\"";
    struct metrics *m = a->door->o.metrics;
    if (c->op->effect == OP_WRITE && c->caller.quorum_on) count_quorum(m, c);
    if (strcmp(c->op->name, "create") == 0) count_store(m, c);
    if (strcmp(c->op->name, "sync_push") == 0)
        metrics_add(m, FIGURE_PUSH_SKIPPED, NULL, (double)json_integer_value(json_object_get(c->reply.doc, "skipped")));
    if (strcmp(c->op->name, "recall") != 0) return;
    metrics_add(m, FIGURE_RECALL, mode, 1);
    metrics_observe(m, FIGURE_RECALL_SECONDS, mode, (double)(clock_mono_us() - a->began_us) / 1e6);
}

/* ---- read off at a scrape --------------------------------------------------------------------------------------- */
static double fact(const json_t *facts, const char *name)
{
    return json_number_value(json_object_get(facts, name));
}

static void read_peer(struct metrics *m, const json_t *peer)
{
    char label[LABEL_BYTES];
    const char *state = json_string_value(json_object_get(peer, "state"));
    const char *url = json_string_value(json_object_get(peer, "url"));
    snprintf(label, sizeof(label), "peer=\"%s\"", url ? url : "");
    metrics_set(m, FIGURE_PEER_UP, label, state && strcmp(state, "up") == 0);
    metrics_set(m, FIGURE_PEER_LAG, label, fact(peer, "lag"));
    metrics_set(m, FIGURE_PEER_RTT, label, fact(peer, "rtt_us") / 1e6);
    metrics_set(m, FIGURE_PEER_STALLS, label, fact(peer, "stalls"));
    metrics_set(m, FIGURE_PEER_ERRORS, label, fact(peer, "errors"));
    const json_t *exchange = json_object_get(peer, "exchange"), *age = json_object_get(peer, "last_success_ms_ago");
    if (json_is_integer(age)) metrics_set(m, FIGURE_PEER_AGE, label, json_number_value(age) / 1e3);
    if (exchange == NULL) {
        const json_t *backlog = json_object_get(peer, "backlog"); /* null: it told nothing yet */
        if (json_is_integer(backlog)) metrics_set(m, FIGURE_PEER_BACKLOG, label, json_number_value(backlog));
        return;
    }
    metrics_set(m, FIGURE_PEER_REFUSED, label, fact(peer, "refused_rows"));
    metrics_set(m, FIGURE_PEER_BACKLOG, label, fact(exchange, "backlog"));
}

static void read_cluster(struct metrics *m, struct cluster *c)
{
    json_t *facts = cluster_status(c), *peer;
    size_t i;
    metrics_set(m, FIGURE_WRITES, NULL, fact(facts, "writes"));
    metrics_set(m, FIGURE_NODES, NULL, fact(facts, "nodes"));
    metrics_set(m, FIGURE_POSITION, NULL, fact(facts, "pos"));
    metrics_set(m, FIGURE_WAITING, NULL, fact(facts, "waiting"));
    metrics_set(m, FIGURE_BEHIND, NULL, fact(facts, "behind"));
    metrics_set(m, FIGURE_BATCHES_IN, NULL, fact(facts, "batches_in"));
    metrics_set(m, FIGURE_OPS_IN, NULL, fact(facts, "ops_in"));
    metrics_set(m, FIGURE_FORKS, NULL, fact(facts, "forks"));
    metrics_set(m, FIGURE_CLOCK_AHEAD, NULL, fact(facts, "clock_ahead_ms") / 1e3);
    metrics_set(m, FIGURE_FAR_FUTURE, NULL, fact(facts, "far_future_ops"));
    metrics_set(m, FIGURE_UNSEEN, NULL, fact(facts, "unseen_edits"));
    metrics_set(m, FIGURE_HELD, NULL, fact(facts, "held_ops"));
    metrics_set(m, FIGURE_DIVERGENT, NULL, fact(facts, "divergent_rows"));
    metrics_set(m, FIGURE_REPAIRS, NULL, fact(facts, "repairs"));
    metrics_set(m, FIGURE_ALARMS, NULL, (double)json_array_size(json_object_get(facts, "alarms")));
    metrics_set(m, FIGURE_SNAPSHOTS, NULL, fact(facts, "snapshots"));
    json_array_foreach (json_object_get(facts, "peers"), i, peer) read_peer(m, peer);
    json_decref(facts);
}

static void read_lane(struct metrics *m, const struct lane *l)
{
    struct lane_figures f;
    lane_figures(l, &f);
    metrics_set(m, FIGURE_LANE_BATCHES, NULL, (double)f.batches);
    metrics_set(m, FIGURE_LANE_ITEMS, NULL, (double)f.items);
    metrics_set(m, FIGURE_LANE_FSYNCS, NULL, (double)f.fsyncs);
    metrics_set(m, FIGURE_LANE_BUSY, NULL, (double)f.busy_refused);
    metrics_set(m, FIGURE_LANE_QUEUED, NULL, (double)f.queued);
    metrics_set(m, FIGURE_LANE_SECONDS, NULL, (double)f.last_took_us / 1e6);
}

char *figures_print(struct http_door *d, int64_t memories, size_t *ret_len)
{
    struct metrics *m = d->o.metrics;
    struct buf b;
    if (memories >= 0) metrics_set(m, FIGURE_MEMORIES, NULL, (double)memories);
    if (d->server) metrics_set(m, FIGURE_HTTP_CONNECTIONS, NULL, http_server_connections(d->server));
    metrics_set(m, FIGURE_CALLS, NULL, (double)engine_calls(d->o.engine));
    metrics_set(m, FIGURE_READERS, NULL, readers_in_flight(d->o.readers));
    read_lane(m, d->o.lane);
    read_cluster(m, d->o.cluster);
    buf_init(&b, PRINT_MAX);
    metrics_print(m, &b);
    return buf_take(&b, ret_len);
}
