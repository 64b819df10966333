/* status.c - the facts of federation as one JSON object: for /health, /api/v1/sync/status and metrics. */
#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "cluster/original.h"

static unsigned long long count(uint64_t n)
{
    return n;
}

/* What it has of our stream, as far as it said: on this connection or an earlier one. */
static uint64_t acknowledged(struct cluster *c, const struct peer *p, const struct repl_peer_view *v)
{
    uint64_t told = members_position(c, p->node, c->own.stream);
    if (v->state == REPL_SELF || v->state == REPL_TWIN) return c->own.seq;
    if (told < v->acked) told = v->acked;
    return told < c->own.seq ? told : c->own.seq;
}

static json_t *peer_status(struct cluster *c, unsigned i, int64_t now)
{
    const struct peer *p = &c->peer[i];
    struct repl_peer_view v = { 0 };
    uint64_t it_lacks, we_lack, acked;
    if (c->core != NULL) repl_peer_view(c->core, i, &v);
    acked = acknowledged(c, p, &v);
    json_t *o = json_pack("{s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "url", p->url, "state",
                          c->core == NULL ? "down" : repl_link_name(v.state), "original", v.original, "counts",
                          v.counts, "acked", (json_int_t)acked, "lag", (json_int_t)(c->own.seq - acked), "rtt_us",
                          (json_int_t)v.rtt_us, "dials", (json_int_t)v.dials, "stalls", (json_int_t)v.stalls,
                          "sent_ops", (json_int_t)p->sent_ops, "refused_rows", (json_int_t)p->original_state->refused);
    bool known = members_backlog(c, p->node, &it_lacks, &we_lack);
    json_object_set_new(o, "backlog", known ? json_integer((json_int_t)it_lacks) : json_null());
    json_object_set_new(o, "behind", known ? json_integer((json_int_t)we_lack) : json_null());
    json_object_set_new(o, "node", p->node == 0 ? json_null() : json_id(p->node));
    json_object_set_new(o, "durability", json_string(v.original || v.relaxed ? "normal" : "full"));
    json_object_set_new(o, "last_success_ms_ago", p->last_ok_ms == 0 ? json_null() : json_integer(now - p->last_ok_ms));
    if (c->core != NULL && (v.original || p->original_state->remembered))
        json_object_set_new(o, "exchange", original_status(p));
    json_object_set_new(o, "errors", json_integer((json_int_t)p->errors));
    json_object_set_new(o, "last_error", p->last_error[0] == 0 ? json_null() : json_string(p->last_error));
    return o;
}

/* As peers are told it. */
static json_t *vector_status(struct cluster *c)
{
    size_t count = 0;
    json_t *list = json_array();
    struct repl_entry *v = c->core == NULL ? NULL : cluster_vector(c, &count);
    for (size_t i = 0; i < count; i++)
        if (v[i].stream != 0)
            json_array_append_new(list,
                                  json_pack("{s:o, s:o, s:I, s:b}", "stream", json_id(v[i].stream), "node",
                                            json_id(v[i].node), "pos", (json_int_t)v[i].pos, "ended", v[i].ended));
    mem_free(v);
    return list;
}

static uint64_t refused_rows(const struct cluster *c)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < c->peers; i++) n += c->peer[i].original_state->refused;
    return n;
}

/* How far our clock was pulled ahead of the time of day, by what others wrote. */
static int64_t clock_ahead_ms(const struct cluster *c)
{
    int64_t ahead_us = stamp_us(c->counted.clock) - clock_wall_us(NULL);
    return ahead_us > 0 ? ahead_us / 1000 : 0;
}

static json_t *scrub_status(const struct cluster *c, int64_t now)
{
    return json_pack(
        "{s:b, s:I, s:o, s:o, s:I, s:I, s:I}", "running", c->scrub != NULL || c->scrub_askers > 0, "rounds",
        (json_int_t)c->scrubs, "last_ms_ago", c->scrubbed_ms == 0 ? json_null() : json_integer(now - c->scrubbed_ms),
        "last_error", c->scrub_error[0] == 0 ? json_null() : json_string(c->scrub_error), "divergent_rows",
        (json_int_t)c->divergent, "divergent_here", (json_int_t)c->divergent_here, "repairs", (json_int_t)c->repairs);
}

static void count_status(const struct cluster *c, json_t *o)
{
    const struct {
        const char *name;
        uint64_t n;
    } counts[] = { { "snapshots", c->snapshots },
                   { "divergent_rows", c->divergent },
                   { "repairs", c->repairs },
                   { "deletions_forgotten", c->gone_rows } };
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        json_object_set_new(o, counts[i].name, json_integer((json_int_t)counts[i].n));
    json_object_set_new(o, "snapshot_wanted", json_boolean(c->snapshot_wanted));
    json_object_set_new(o, "removed", json_boolean(c->removed));
}

void status_alarm(json_t *list, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    json_array_append_new(list, json_string(text));
}

/* What needs somebody's eye: it mends itself, or it does not, but it should not have come to it. */
static json_t *alarms(struct cluster *c)
{
    static const char *const began[] = {
        [CLUSTER_LIFE_STREAM] = "this life began because the stream of the one before had forked",
        [CLUSTER_LIFE_NODE] =
            "this life began because the file was a copy of another node's: it has a node id of its own",
        [CLUSTER_LIFE_EMPTY] = "this life began empty because the node was removed: its file was set aside",
    };
    json_t *list = json_array();
    if (c->o.life != CLUSTER_LIFE_SAME) status_alarm(list, "%s", began[c->o.life]);
    if (c->removed) status_alarm(list, "this node was removed from the mesh");
    for (unsigned i = 0; i < c->peers && !c->removed; i++)
        if (c->peer[i].says_removed)
            status_alarm(list, "%s says that this node was removed from the mesh", c->peer[i].url);
    for (unsigned i = 0; i < c->peers; i++)
        if (c->peer[i].misfits > 0)
            status_alarm(list, "the log of %s is damaged: its ops do not fit their chain", c->peer[i].url);
    if (c->forks > 0) status_alarm(list, "two histories of a stream met, %llu times", count(c->forks));
    if (c->divergent > 0)
        status_alarm(list,
                     "%llu rows differed among nodes that all had them, or from their records, %llu of these here",
                     count(c->divergent), count(c->divergent_here));
    if (c->held_ops > 0) status_alarm(list, "%llu ops are held that this program cannot apply", count(c->held_ops));
    if (c->counted.far_future > 0)
        status_alarm(list, "%llu ops came from more than a minute ahead: some clock is wrong",
                     count(c->counted.far_future));
    if (c->snapshot_wanted && c->snapshot_failures > 0)
        status_alarm(list, "a snapshot is needed (%s) and failed %u times", c->snapshot_why, c->snapshot_failures);
    if (c->scrub_error[0] != 0) status_alarm(list, "the last scrub came to nothing: %s", c->scrub_error);
    members_alarms(c, list);
    return list;
}

json_t *cluster_status(struct cluster *c)
{
    int64_t now = clock_mono_ms();
    json_t *peers = json_array();
    for (unsigned i = 0; i < c->peers; i++) json_array_append_new(peers, peer_status(c, i, now));
    json_t *o =
        json_pack("{s:o, s:o, s:I, s:i, s:i, s:O, s:o, s:o, s:I, s:I, s:I, s:I, s:I}", "node", json_id(c->own.node),
                  "stream", json_id(c->own.stream), "pos", (json_int_t)c->own.seq, "writes", (int)c->writes, "nodes",
                  (int)c->nodes, "warnings", c->warnings, "peers", peers, "vector", vector_status(c), "waiting",
                  (json_int_t)(c->core == NULL ? 0 : repl_trackers(c->core)), "behind",
                  (json_int_t)(c->core == NULL ? 0 : repl_behind(c->core)), "batches_in", (json_int_t)c->batches_in,
                  "ops_in", (json_int_t)c->ops_in, "forks", (json_int_t)c->forks);
    size_t room = c->core == NULL ? SIZE_MAX : repl_room(c->core);
    json_object_set_new(o, "room", room == SIZE_MAX ? json_null() : json_integer((json_int_t)room));
    json_object_set_new(o, "durability", json_string(c->o.relaxed ? "normal" : "full"));
    json_object_set_new(o, "clock_ahead_ms", json_integer(clock_ahead_ms(c)));
    json_object_set_new(o, "far_future_ops", json_integer((json_int_t)c->counted.far_future));
    json_object_set_new(o, "unseen_edits", json_integer((json_int_t)c->counted.unseen));
    json_object_set_new(o, "held_ops", json_integer((json_int_t)c->held_ops));
    json_object_set_new(o, "refused_rows", json_integer((json_int_t)refused_rows(c)));
    count_status(c, o);
    json_object_set_new(o, "alarms", alarms(c));
    json_object_set_new(o, "snapshot", snapshot_status(c, now));
    json_object_set_new(o, "scrub", scrub_status(c, now));
    json_object_set_new(o, "members", members_status(c));
    return o;
}
