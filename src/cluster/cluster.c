/* cluster.c - the loop around the replication core. io becomes events (cluster_feed), effects become io (carry_out).
 * Effects are valid until the next step, so an event made while they are carried out waits in a short queue. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "cluster/original.h"
#include "store/change_snapshot.h"

#define RING_BYTES (8u << 20)
#define POLL_MS 100
#define POLL_FIRST_MS 10
#define READY_MS 1000
#define START_MS 60000 /* for another process to let go of the file */

void peer_error(struct peer *p, const char *fmt, ...)
{
    char text[sizeof p->last_error];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    p->errors++;
    if (strcmp(text, p->last_error) == 0) return;
    memcpy(p->last_error, text, sizeof text);
    log_info("cluster", "peer %s: %s", p->url, text);
}

void cluster_head(const struct cluster *c, struct wire_head *h)
{
    memset(h, 0, sizeof *h);
    snprintf(h->name, sizeof h->name, "%s", c->o.name);
    h->node = c->own.node;
    h->stream = c->own.stream;
    h->relaxed = c->o.relaxed;
}

/* ---- answers
 * ------------------------------------------------------------------------------------------------------ */

static void deliver_answers(struct cluster *c)
{
    while (c->answered != NULL) {
        struct cluster_wait *w = c->answered;
        c->answered = w->next;
        if (c->answered == NULL) c->answered_tail = &c->answered;
        w->cb(w);
    }
}

static void deliver_cb(uv_idle_t *h)
{
    struct cluster *c = h->data;
    uv_idle_stop(h);
    deliver_answers(c);
}

static void answer(struct cluster *c, const struct repl_effect *f)
{
    struct cluster_wait *w = (struct cluster_wait *)(uintptr_t)f->tag;
    w->result = f->result;
    w->got = f->got;
    w->needed = f->need;
    w->disks = f->disks;
    w->all = f->all;
    w->next = NULL;
    *c->answered_tail = w;
    c->answered_tail = &w->next;
}

/* ---- effects
 * ------------------------------------------------------------------------------------------------------- */

/* One of the URLs leads here: there is one node less than they seemed to be. For good, so W stays what was asked for:
 * a promise is not lowered by what the network said. */
static void found_self(struct peer *p)
{
    struct cluster *c = p->c;
    if (p->self) return;
    p->self = true;
    c->nodes--;
    peer_error(p, "is this node itself: it never counts");
    json_t *text = json_sprintf("peer %s is this node itself: it never counts%s", p->url,
                                c->writes > c->nodes ? ", and --quorum-writes can not be met" : "");
    if (c->writes > c->nodes) log_warn("cluster", "%s", json_string_value(text));
    json_array_append_new(c->warnings, text);
}

/* The core gave a silent connection up: nobody else has said why it ended. */
static void tell_stall(struct peer *p)
{
    struct repl_peer_view v;
    repl_peer_view(p->c->core, p->index, &v);
    if (v.stalls != p->stalls) peer_error(p, "no answer came in time: the connection was given up");
    p->stalls = v.stalls;
}

static void peer_state(struct peer *p, enum repl_link state)
{
    if (state == REPL_UP) p->last_error[0] = 0;
    if (state == REPL_DOWN) tell_stall(p);
    if (state == REPL_SELF) found_self(p);
    if (state == REPL_TWIN)
        peer_error(p, p->node == p->c->own.node ? "is another life with this node's id"
                                                : "is a node another URL reached first: it counts once");
    log_debug("cluster", "peer %s is %s", p->url, repl_link_name(state));
}

static void carry_out(struct cluster *c, const struct repl_effect *f)
{
    CHECK(f->type == REPL_ANSWER || f->peer < c->peers);
    if (c->closing && f->type != REPL_ANSWER) return; /* the lane still commits; nobody is called any more */
    struct peer *p = &c->peer[f->type == REPL_ANSWER ? 0 : f->peer];
    switch (f->type) {
    case REPL_DIAL: link_dial(p, f->gen); break;
    case REPL_CLOSE: link_close(p, true); break;
    case REPL_SEND_HELLO: link_hello(p); break;
    case REPL_CHECK_CHAIN: link_check_chain(p, &f->entry); break;
    case REPL_SEND_OPS: link_ops(p, f->first, f->count); break;
    case REPL_SEND_VECTOR: link_vector(p, f->vector, f->vector_count, f->whole); break;
    case REPL_PULL: pull_start(p, f->gen, &f->entry); break;
    case REPL_ANSWER: answer(c, f); break;
    case REPL_ALARM_FORK: life_fork(c, p, f->entry.stream, f->entry.node); break;
    case REPL_PEER_STATE: peer_state(p, f->state); break;
    }
}

static void timer_cb(uv_timer_t *t)
{
    struct repl_event e = { .type = REPL_TICK };
    cluster_feed(t->data, &e);
}

static void arm(struct cluster *c, int64_t wake_ms)
{
    if (c->closing || wake_ms == INT64_MAX) {
        uv_timer_stop(&c->timer);
        return;
    }
    int64_t in = wake_ms - clock_mono_ms();
    uv_update_time(c->loop);
    uv_timer_start(&c->timer, timer_cb, in < 0 ? 0 : (uint64_t)in, 0);
}

static int64_t step(struct cluster *c, struct repl_event *e)
{
    struct repl_effects fx;
    e->now_ms = clock_mono_ms();
    repl_step(c->core, e, &fx);
    for (size_t i = 0; i < fx.count; i++) carry_out(c, &fx.item[i]);
    return fx.wake_ms;
}

void cluster_feed(struct cluster *c, struct repl_event *e)
{
    if (c->core == NULL) return;
    if (c->stepping) {
        CHECK(e->vector_count == 0 && c->queued < EVENTS_MAX);
        c->queue[c->queued++] = *e;
        return;
    }
    c->stepping = true;
    int64_t wake_ms = step(c, e);
    for (unsigned i = 0; i < c->queued; i++) {
        struct repl_event next = c->queue[i];
        wake_ms = step(c, &next);
    }
    c->queued = 0;
    c->stepping = false;
    arm(c, wake_ms);
    if (c->answered == NULL) return;
    if (c->calling)
        uv_idle_start(&c->deliver, deliver_cb);
    else
        deliver_answers(c);
}

void cluster_feed_link(struct peer *p, enum repl_event_type type)
{
    struct repl_event e = { .type = type, .peer = p->index, .gen = p->gen };
    cluster_feed(p->c, &e);
}

/* ---- positions
 * ------------------------------------------------------------------------------------------------------ */

static uint64_t position_of(const struct cluster *c, uint64_t stream)
{
    if (stream == c->own.stream) return c->own.seq;
    size_t count;
    const struct repl_entry *v = repl_vector(c->core, &count);
    for (size_t i = 0; i < count; i++)
        if (v[i].stream == stream) return v[i].pos;
    return 0;
}

static void end_pos_wait(struct cluster *c, struct pos_wait *w, int status)
{
    list_remove(&w->link);
    c->pos_waits_count--;
    w->cb(w->data, status);
    mem_free(w);
}

/* A stream that left did so because everybody has all of it. */
static bool has_arrived(const struct cluster *c, uint64_t stream, uint64_t seq)
{
    return position_of(c, stream) >= seq || (members_left(c, stream, seq) && !c->snapshot_wanted);
}

/* stream 0: all waits are looked at (deadlines, streams that left meanwhile). */
static void check_pos_waits(struct cluster *c, uint64_t stream, uint64_t pos)
{
    int64_t now = clock_mono_ms();
    list_each_safe (it, tmp, &c->pos_waits) {
        struct pos_wait *w = container_of(it, struct pos_wait, link);
        if ((w->stream == stream && pos >= w->seq) || (stream == 0 && has_arrived(c, w->stream, w->seq)))
            end_pos_wait(c, w, 0);
        else if (stream == 0 && now >= w->deadline_ms)
            end_pos_wait(c, w, E_TIMEOUT);
    }
}

int cluster_wait_pos(struct cluster *c, uint64_t stream, uint64_t seq, int64_t deadline_mono_ms,
                     void (*cb)(void *data, int status), void *data)
{
    if (c->closing) return E_STOPPING;
    if (has_arrived(c, stream, seq)) return 1;
    if (c->pos_waits_count == POS_WAITS_MAX) return E_BUSY;
    struct pos_wait *w = mem_alloc(sizeof *w);
    *w = (struct pos_wait){ .stream = stream, .seq = seq, .deadline_ms = deadline_mono_ms, .cb = cb, .data = data };
    list_add_tail(&c->pos_waits, &w->link);
    c->pos_waits_count++;
    return 0;
}

void cluster_applied(struct cluster *c, const struct stream_pos *pos, bool foreign_process)
{
    struct repl_event e = { .type = REPL_APPLIED, .foreign_process = foreign_process };
    e.entry = (struct repl_entry){
        .stream = pos->stream, .node = pos->node, .pos = pos->pos, .chain = pos->chain, .ended = pos->ended
    };
    members_rejoin(c, pos->stream, pos->pos);
    cluster_feed(c, &e);
    if (!list_empty(&c->pos_waits)) check_pos_waits(c, pos->stream, pos->pos);
}

/* Peers may have told of them before. */
static void streams_left(struct cluster *c, const struct stream_pos *left, size_t count)
{
    members_leave(c, left, count);
    for (size_t i = 0; i < count; i++) {
        struct repl_event e = { .type = REPL_LEFT };
        e.entry = (struct repl_entry){
            .stream = left[i].stream, .node = left[i].node, .pos = left[i].pos, .chain = left[i].chain, .ended = true
        };
        cluster_feed(c, &e);
    }
}

/* What is committed may travel while our own disk still syncs it; it counts here only once that is done. */
void cluster_committed(struct cluster *c, const struct lane_commit *commit)
{
    const struct made_op *last = commit->made_count > 0 ? &commit->made[commit->made_count - 1] : NULL;
    struct repl_event e = { .type = commit->durable ? REPL_COMMITTED : REPL_OFFERED };
    if (commit->durable) {
        streams_left(c, commit->left, commit->left_count);
        c->counted.far_future = commit->far_future;
        c->counted.unseen = commit->unseen;
        c->counted.clock = commit->clock;
    }
    if (last == NULL) return;
    ring_add(c->ring, commit->made, commit->made_count, commit->bodies);
    if (commit->durable) {
        c->own.seq = last->seq;
        c->own.chain = last->chain;
    }
    e.entry =
        (struct repl_entry){ .stream = c->own.stream, .node = c->own.node, .pos = last->seq, .chain = last->chain };
    cluster_feed(c, &e);
    if (commit->durable && !list_empty(&c->pos_waits)) check_pos_waits(c, c->own.stream, c->own.seq);
}

int cluster_wait_for(struct cluster *c, struct cluster_wait *w, const struct stamp *pos, unsigned need,
                     int64_t deadline_mono_ms)
{
    if (c->core == NULL) return E_STOPPING;
    struct repl_event e = {
        .type = REPL_TRACK, .tag = (uint64_t)(uintptr_t)w, .need = need, .deadline_ms = deadline_mono_ms
    };
    e.whole = w->again;
    e.entry = (struct repl_entry){ .stream = pos->stream, .pos = pos->seq };
    w->next = NULL;
    w->needed = 0;
    bool outer = !c->calling;
    c->calling = true;
    cluster_feed(c, &e);
    if (w->again && w->needed == 0) again_ask(c, pos, w->again_id); /* it waits */
    if (outer) c->calling = false;
    return 0;
}

bool cluster_holds(const struct cluster *c, const struct stamp *pos, unsigned need)
{
    return c->core != NULL && repl_holds(c->core, pos->stream, pos->seq, need);
}

bool cluster_admits(struct cluster *c, size_t waiting)
{
    return c->core == NULL || repl_admits(c->core, waiting, clock_mono_ms());
}

unsigned cluster_writes(const struct cluster *c)
{
    return c->writes;
}
unsigned cluster_nodes(const struct cluster *c)
{
    return c->nodes;
}

/* ---- life
 * ------------------------------------------------------------------------------------------------------------ */

struct cluster *cluster_new(uv_loop_t *loop, const struct cluster_options *o, const struct cluster_plan *p,
                            struct lane *lane, struct readers *readers, struct metrics *m)
{
    struct cluster *c = mem_alloc(sizeof *c);
    c->loop = loop;
    c->o = *o;
    c->o.name = mem_strdup(o->name == NULL ? "" : o->name);
    c->o.api_key = o->api_key == NULL ? NULL : mem_strdup(o->api_key);
    c->o.peers = NULL;
    if (c->o.slow_commit_ms == 0) c->o.slow_commit_ms = 200;
    c->writes = p->writes;
    c->nodes = p->nodes;
    c->warnings = json_deep_copy(p->warnings);
    if (o->relaxed && p->writes > 1)
        json_array_append_new(c->warnings,
                              json_string("durability normal: what this node acknowledges is not on its disk "
                                          "yet; it counts for W, and for no X-Durability"));
    c->lane = lane;
    c->readers = readers;
    c->metrics = m;
    c->own = *lane_origin(lane);
    c->ring = ring_new(RING_BYTES);
    c->answered_tail = &c->answered;
    list_init(&c->pos_waits);
    list_init(&c->asks);
    list_init(&c->serving);
    c->peers = p->urls;
    for (unsigned i = 0; i < p->urls; i++) {
        struct peer *peer = &c->peer[i];
        peer->c = c;
        peer->index = i;
        peer->url = mem_strdup(p->url[i]);
        CHECK(client_url_parse(peer->url, &peer->parsed, NULL) == 0);
        peer->original_state = original_new(peer);
        peer->asker = asker_new();
    }
    uv_timer_init(loop, &c->timer);
    uv_timer_init(loop, &c->poll);
    uv_idle_init(loop, &c->deliver);
    c->timer.data = c->poll.data = c->deliver.data = c;
    c->handles = 3;
    return c;
}

static void core_start(struct cluster *c)
{
    struct repl_config rc;
    repl_config_default(&rc);
    rc.node = c->own.node;
    rc.own =
        (struct repl_entry){ .stream = c->own.stream, .node = c->own.node, .pos = c->own.seq, .chain = c->own.chain };
    rc.peers = c->peers;
    rc.writes = c->writes == 0 ? 1 : c->writes;
    rc.relaxed = c->o.relaxed;
    /* A silent connection is given up while a client still waits; a slow disk says 102 and is not silent. */
    uint32_t patience = c->o.timeout_ms / 3;
    if (patience < rc.stall_max_ms) rc.stall_max_ms = patience > rc.stall_ms ? patience : rc.stall_ms;
    rc.patience_ms = c->o.timeout_ms;
    /* A connection is given up by the client itself, in its two parts; here is only the last resort. */
    for (unsigned i = 0; i < c->peers; i++)
        if (c->peer[i].parsed.tls && rc.dial_timeout_ms < CLIENT_HANDSHAKE_MS)
            rc.dial_timeout_ms += CLIENT_HANDSHAKE_MS;
    rc.seed = random_u64();
    c->core = repl_new(&rc);
    if (c->peers > 0) lane_tell_early(c->lane);
}

/* Ready once no peer that can be reached knows more than we do, and every peer was tried. */
static bool caught_up(struct cluster *c)
{
    for (unsigned i = 0; i < c->peers; i++) {
        struct repl_peer_view v;
        repl_peer_view(c->core, i, &v);
        if (v.state == REPL_HELLO || v.state == REPL_CHECKING) return false;
        if (v.state == REPL_DIALING && v.dials <= 1) return false;
        if (c->peer[i].pull_job != NULL) return false;
    }
    return repl_behind(c->core) == 0;
}

static void check_ready(struct cluster *c)
{
    if (c->ready == NULL || (clock_mono_ms() < c->ready_by_ms && !caught_up(c))) return;
    void (*cb)(void *) = c->ready;
    c->ready = NULL;
    cb(c->ready_data);
}

struct repl_entry *cluster_vector(const struct cluster *c, size_t *ret_count)
{
    size_t count;
    const struct repl_entry *v = repl_vector(c->core, &count);
    struct repl_entry *copy = mem_alloc((count + 1) * sizeof *copy);
    memcpy(copy, v, count * sizeof *copy);
    *ret_count = members_filter(c, copy, count);
    return copy;
}

void cluster_lacks(struct cluster *c, bool lacks)
{
    if (lacks == c->lacks) return;
    c->lacks = lacks;
    if (lacks) snapshot_want(c, NULL, "a stream left the vector that is not whole here");
}

static void poll_cb(uv_timer_t *t)
{
    struct cluster *c = t->data;
    check_pos_waits(c, 0, 0);
    ask_tick(c, clock_mono_ms());
    serve_busy(c, clock_mono_ms());
    check_ready(c);
    snapshot_poll(c);
    members_poll(c);
    scrub_poll(c);
    life_poll(c);
    pull_poll_file(c);
    original_save(c, false);
    for (unsigned i = 0; i < c->peers; i++) {
        link_poll(&c->peer[i]);
        mixed_tick(&c->peer[i], clock_mono_ms());
    }
}

/* The vector of the file and the cursors of originals, read before the first hello. */
struct start_job {
    struct read_item item;
    struct cluster *c;
    struct arena arena;
    struct stream_pos *pos;
    struct member *member;
    size_t count, members;
    bool lacks, ahead, said;
    int64_t since_ms; /* it waits for the disk */
};

static int start_run(struct read_item *item, struct store_tx *tx, struct err *err)
{
    struct start_job *j = container_of(item, struct start_job, item);
    int rc = tx->v->streams(tx, &j->arena, &j->pos, &j->count);
    if (rc == 0) rc = original_load(j->c, tx, &j->arena);
    if (rc == 0) rc = members_load(j->c, tx, &j->arena);
    if (rc == 0) rc = change_members(tx, &j->arena, &j->member, &j->members);
    if (rc == 0) rc = change_lacks(tx, &j->arena, &j->lacks);
    if (rc == 0) rc = change_ahead(tx, &j->arena, &j->ahead);
    return rc == 0 ? 0 : err_set(err, rc, "reading the replication state: %s", tx->err == NULL ? "" : tx->err->msg);
}

/* Nothing that this node has may be told: it might not be on the disk. */
static void start_fail(struct cluster *c, int code, const char *why)
{
    struct err err = { 0 };
    if (c->closing) return;
    err_set(&err, code, "replication cannot start: %s", why[0] != '\0' ? why : err_text(code));
    if (c->o.failed != NULL)
        c->o.failed(c->o.renew_data, &err);
    else
        log_error("cluster", "%s", err.msg);
}

static void begin(struct cluster *c, const struct start_job *j)
{
    members_take(c, j->member, j->members); /* who was removed is refused from the first word on */
    core_start(c);
    for (size_t i = 0; i < j->count; i++)
        if (j->pos[i].stream != c->own.stream) cluster_applied(c, &j->pos[i], false);
    cluster_lacks(c, j->lacks);
    c->ahead = j->ahead;
    c->ahead_ms = clock_mono_ms();
    c->ready_by_ms = clock_mono_ms() + READY_MS;
    uv_timer_start(&c->poll, poll_cb, POLL_FIRST_MS, POLL_MS);
    struct repl_event e = { .type = REPL_TICK };
    cluster_feed(c, &e);
}

/* What was read is durable; or it is not known to be. */
static void start_synced(void *data, int status)
{
    struct start_job *j = data;
    struct cluster *c = j->c;
    uint32_t limit_ms = c->o.start_ms != 0 ? c->o.start_ms : START_MS;
    bool busy = status == E_BUSY || status == E_LOCKED; /* another process writes and writes */
    if (busy && !c->closing && clock_mono_ms() - j->since_ms < limit_ms && cluster_synced(c, start_synced, j) == 0) {
        if (!j->said)
            log_warn("cluster", "another process holds the database: this node joins the mesh when it is free");
        j->said = true;
        return;
    }
    if (busy)
        start_fail(c, E_BUSY, "another process holds the database");
    else if (status != 0)
        start_fail(c, status, "");
    else if (!c->closing)
        begin(c, j);
    arena_release(&j->arena);
    mem_free(j);
}

static void start_done(struct read_item *item, int status)
{
    struct start_job *j = container_of(item, struct start_job, item);
    struct cluster *c = j->c;
    int rc = status == 0 && !c->closing ? cluster_synced(c, start_synced, j) : 0;
    if (status != 0 || rc != 0) start_fail(c, status != 0 ? status : rc, item->err.msg);
    if (status != 0 || rc != 0 || c->closing) {
        arena_release(&j->arena);
        mem_free(j);
    }
    cluster_job_done(c);
}

static int start(struct cluster *c)
{
    struct start_job *j = mem_alloc(sizeof *j);
    j->c = c;
    j->item.run = start_run;
    j->item.done = start_done;
    j->since_ms = clock_mono_ms();
    arena_init(&j->arena, 64u << 20);
    int rc = readers_submit(c->readers, &j->item);
    if (rc == 0)
        c->busy++;
    else
        mem_free(j);
    return rc;
}

static void start_after_repeat(struct cluster *c, int status)
{
    int rc = status != 0 || c->closing ? status : start(c);
    if (rc != 0) start_fail(c, rc, "");
}

int cluster_start(struct cluster *c, void (*ready)(void *data), void *data, struct err *err)
{
    c->ready = ready;
    c->ready_data = data;
    int rc = c->o.forked != 0 ? life_repeat(c, c->o.forked, start_after_repeat) : start(c);
    if (rc == 0) return 0;
    return err_set(err, rc, "replication cannot start: %s", err_text(rc));
}

static void free_all(struct cluster *c)
{
    members_free(c);
    repl_free(c->core);
    ring_free(c->ring);
    for (unsigned i = 0; i < c->peers; i++) {
        original_free(c->peer[i].original_state);
        asker_free(c->peer[i].asker);
        mem_free(c->peer[i].url);
    }
    json_decref(c->warnings);
    mem_free((char *)(uintptr_t)c->o.name);
    mem_free((char *)(uintptr_t)c->o.api_key);
    void (*closed)(void *) = c->closed;
    void *data = c->closed_data;
    mem_free(c);
    if (closed != NULL) closed(data);
}

static void handle_closed(uv_handle_t *h)
{
    struct cluster *c = h->data;
    if (--c->handles == 0) free_all(c);
}

static void maybe_closed(struct cluster *c)
{
    if (!c->closing || c->busy > 0 || uv_is_closing((uv_handle_t *)&c->timer)) return;
    CHECK(list_empty(&c->serving) && list_empty(&c->pos_waits));
    uv_close((uv_handle_t *)&c->timer, handle_closed);
    uv_close((uv_handle_t *)&c->poll, handle_closed);
    uv_close((uv_handle_t *)&c->deliver, handle_closed);
}

void cluster_job_done(struct cluster *c)
{
    CHECK(c->busy > 0);
    c->busy--;
    maybe_closed(c);
}

void cluster_stop(struct cluster *c)
{
    struct repl_event e = { .type = REPL_STOP };
    cluster_feed(c, &e);
}

void cluster_close(struct cluster *c, void (*closed)(void *data), void *data)
{
    CHECK(!c->closing);
    c->closed = closed;
    c->closed_data = data;
    cluster_stop(c);
    original_save(c, true);
    c->closing = true;
    c->ready = NULL;
    deliver_answers(c);
    list_each_safe (it, tmp, &c->pos_waits) end_pos_wait(c, container_of(it, struct pos_wait, link), E_STOPPING);
    ask_stop(c);
    for (unsigned i = 0; i < c->peers; i++) {
        link_close(&c->peer[i], false);
        pull_stop(&c->peer[i]);
        mixed_stop(&c->peer[i]);
    }
    snapshot_stop(c);
    scrub_stop(c);
    maybe_closed(c);
}
