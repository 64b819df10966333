/* link.c - one long-lived connection to a peer: hello, batches of our stream, vectors. Requests are pipelined and
 * answered in order, so a short list of what was asked tells what an answer means.
 *
 *   (core) DIAL ─▶ client_connect ─▶ CONNECTED / CONNECT_FAILED ─▶ hello ─▶ HELLO_OK | HELLO_ORIGINAL |
 *   HELLO_REFUSED
 *   ops ─▶ ACK, 102 ─▶ BUSY; vector ─▶ PONG; anything unexpected closes the link: the log and the peer's position
 *   carry on */
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "cluster/original.h"

#define ANSWER_BYTES_MAX (4u << 20)
#define GARBLED_MAX 6 /* in a row, within about a second */

static void link_lost(struct peer *p)
{
    link_close(p, true);
    cluster_feed_link(p, REPL_CLOSED);
}

static void closed_cb(void *data, int error)
{
    struct peer *p = data;
    peer_error(p, "connection ended: %s", client_why(p->link, error));
    link_lost(p);
}

static void connect_cb(void *data, int error)
{
    struct peer *p = data;
    if (error == 0) {
        cluster_feed_link(p, REPL_CONNECTED);
        return;
    }
    peer_error(p, "%s", error == E_TIMEOUT ? "connecting timed out" : client_why(p->link, error));
    link_close(p, true);
    struct repl_event e = {
        .type = REPL_CONNECT_FAILED, .peer = p->index, .gen = p->gen, .refused = error == E_UNREACHABLE
    };
    cluster_feed(p->c, &e);
}

void link_dial(struct peer *p, uint32_t gen)
{
    static const struct client_options options = { .body_bytes_max = ANSWER_BYTES_MAX,
                                                   .connect_timeout_ms = 250,
                                                   .nodelay = true,
                                                   .keepalive = true,
                                                   .outstanding_max = ASKED_MAX };
    link_close(p, true);
    p->gen = gen;
    p->original = false;
    p->link = peer_client(p, &options);
    client_connect(p->link, &p->parsed, connect_cb, closed_cb, p);
}

void link_close(struct peer *p, bool abort)
{
    if (p->link == NULL) return;
    struct client *link = p->link;
    p->link = NULL;
    p->asked_count = 0;
    p->unsent = 0;
    if (abort) client_close(link, true);
    client_free(link);
}

void link_poll(struct peer *p)
{
    size_t left = p->link == NULL ? 0 : client_unsent(p->link);
    if (left < p->unsent) cluster_feed_link(p, REPL_BUSY);
    p->unsent = left;
}

/* ---- answers
 * ---------------------------------------------------------------------------------------------------------- */

/* What it told, without the streams that left. Some positions that were asked for are no moment of its vector: what
 * came before them may be missing, and trimming relies on that. */
static void heard(struct peer *p, struct wire_message *m)
{
    static const struct wire_vector nothing;
    members_hear(p->c, &m->vector);
    members_told(p->c, &m->head, p->url, m->vector.whole ? &m->vector : &nothing);
}

static void hello_answer(struct peer *p, struct wire_message *m)
{
    p->node = m->head.node;
    p->live = m->head.stream;
    p->garbled = 0;
    p->says_removed = false;
    original_not(p);
    if (p->node == p->c->own.node) life_twin(p->c, m->head.stream, true);
    if (members_removed(p->c, p->node)) {
        peer_error(p, "its node %llu was removed from the mesh", (unsigned long long)p->node);
        link_close(p, false);
        cluster_feed_link(p, REPL_HELLO_REFUSED);
        return;
    }
    m->vector.whole = true;
    heard(p, m);
    struct repl_event e = { .type = REPL_HELLO_OK,
                            .peer = p->index,
                            .gen = p->gen,
                            .node = m->head.node,
                            .live = m->head.stream,
                            .relaxed = m->head.relaxed };
    e.entry = (struct repl_entry){
        .stream = p->c->own.stream, .node = p->c->own.node, .pos = m->pos.pos, .chain = m->pos.chain
    };
    e.vector = m->vector.entry;
    e.vector_count = m->vector.count;
    e.whole = true;
    cluster_feed(p->c, &e);
}

static void position_answer(struct peer *p, const struct wire_message *m)
{
    struct repl_event e = { .type = REPL_ACK, .peer = p->index, .gen = p->gen, .counts = true };
    e.entry = (struct repl_entry){
        .stream = m->pos.stream, .node = p->c->own.node, .pos = m->pos.pos, .chain = m->pos.chain
    };
    cluster_feed(p->c, &e);
}

static void pong_answer(struct peer *p, struct wire_message *m)
{
    heard(p, m);
    struct repl_event e = { .type = REPL_PONG, .peer = p->index, .gen = p->gen, .node = m->head.node };
    e.vector = m->vector.entry;
    e.vector_count = m->vector.count;
    e.whole = m->vector.whole;
    cluster_feed(p->c, &e);
}

/* Its hello's answer cannot be read, or ours could not: bytes damaged on the way, which a new connection mends, or a
 * program of another make, if it goes on like that. */
static void garbled(struct peer *p)
{
    if (p->garbled < GARBLED_MAX) {
        p->garbled++;
        link_lost(p);
        return;
    }
    link_close(p, true);
    cluster_feed_link(p, REPL_HELLO_REFUSED);
}

static bool says(const struct client_answer *a, const char *text)
{
    return a->status == 403 && memmem(a->body, a->body_len, text, strlen(text)) != NULL;
}

static void refused(struct peer *p, int status, const struct client_answer *a)
{
    peer_error(p, "hello answered with %d: %.*s", status, (int)(a->body_len > 120 ? 120 : a->body_len), a->body);
    if (says(a, REMOVED_TEXT)) life_refused(p);
    if (says(a, COPIED_TEXT)) life_end(p->c, CLUSTER_LIFE_NODE, 0);
    if (status == 400) {
        garbled(p);
        return;
    }
    link_close(p, false);
    cluster_feed_link(p, REPL_HELLO_REFUSED);
}

static void hello_status(struct peer *p, const struct client_answer *a)
{
    if (a->status == 404 || a->status == 405) {
        p->original = true;
        struct repl_event e = { .type = REPL_HELLO_ORIGINAL, .peer = p->index, .gen = p->gen };
        e.entry = (struct repl_entry){ .stream = p->c->own.stream, .node = p->c->own.node, .pos = original_met(p) };
        cluster_feed(p->c, &e);
        return;
    }
    if (a->status == 503)
        link_lost(p); /* it starts or ends */
    else
        refused(p, a->status, a);
}

static void message_answer(struct peer *p, enum wire_kind asked, const struct client_answer *a)
{
    static const enum wire_kind wanted[] = {
        [WIRE_HELLO] = WIRE_ANSWER_HELLO, [WIRE_OPS] = WIRE_ANSWER_POS, [WIRE_VECTOR] = WIRE_ANSWER_PONG
    };
    struct wire_message m;
    struct arena arena;
    struct err err = { 0 };
    arena_init(&arena, ANSWER_BYTES_MAX * 2);
    int rc = wire_read(a->body, a->body_len, &arena, &m, &err);
    if (rc == 0 && m.head.kind != wanted[asked]) rc = err_set(&err, E_PROTOCOL, "answer of another kind");
    if (rc != 0) {
        peer_error(p, "%s", err.msg);
        if (asked == WIRE_HELLO)
            garbled(p);
        else
            link_lost(p);
    } else {
        p->last_ok_ms = clock_mono_ms();
        if (asked == WIRE_HELLO)
            hello_answer(p, &m);
        else if (asked == WIRE_OPS)
            position_answer(p, &m);
        else
            pong_answer(p, &m);
    }
    arena_release(&arena);
}

static void answer_cb(void *data, int error, const struct client_answer *a)
{
    struct peer *p = data;
    if (p->asked_count == 0) return;
    enum wire_kind asked = p->asked[0];
    memmove(p->asked, p->asked + 1, --p->asked_count * sizeof p->asked[0]);
    if (error != 0) {
        peer_error(p, "request failed: %s", client_why(p->link, error));
        link_lost(p);
    } else if (a->status == 200) {
        message_answer(p, asked, a);
    } else if (asked == WIRE_HELLO) {
        hello_status(p, a);
    } else {
        peer_error(p, "answered with %d: %.*s", a->status, (int)(a->body_len > 120 ? 120 : a->body_len), a->body);
        link_lost(p);
    }
}

static void progress_cb(void *data)
{
    struct peer *p = data;
    cluster_feed_link(p, REPL_BUSY);
}

/* ---- requests
 * ----------------------------------------------------------------------------------------------------------- */

static int post(struct peer *p, enum wire_kind kind, struct buf *b)
{
    size_t len = 0;
    if (p->link == NULL || p->asked_count == ASKED_MAX || b->failed) {
        buf_release(b);
        return E_UNREACHABLE;
    }
    struct http_header key = { "x-api-key", p->c->o.api_key };
    struct client_request q = { .method = "POST",
                                .path = "/api/v1/sync/ops",
                                .content_type = "application/octet-stream",
                                .headers = &key,
                                .headers_count = p->c->o.api_key != NULL,
                                .cb = answer_cb,
                                .progress = progress_cb,
                                .data = p };
    q.body_owned = buf_take(b, &len);
    q.body_len = len;
    int rc = client_send(p->link, &q);
    if (rc == 0)
        p->asked[p->asked_count++] = kind;
    else
        peer_error(p, "cannot send: %s", err_text(rc));
    return rc;
}

void link_hello(struct peer *p)
{
    struct wire_head head;
    struct buf b;
    size_t count;
    struct repl_entry *v = cluster_vector(p->c, &count);
    cluster_head(p->c, &head);
    buf_init(&b, WIRE_BODY_MAX);
    wire_put_hello(&b, &head, v, count);
    mem_free(v);
    if (post(p, WIRE_HELLO, &b) != 0) link_lost(p);
}

void link_vector(struct peer *p, const struct repl_entry *v, size_t count, bool whole)
{
    struct wire_head head;
    struct buf b;
    if (p->original) { /* has no vectors: its liveness shows in its pushes */
        struct repl_event e = { .type = REPL_PONG, .peer = p->index, .gen = p->gen };
        cluster_feed(p->c, &e);
        return;
    }
    struct repl_entry *told = mem_alloc((count + 1) * sizeof *told);
    if (count > 0) memcpy(told, v, count * sizeof *told);
    cluster_head(p->c, &head);
    buf_init(&b, WIRE_BODY_MAX);
    wire_put_vector(&b, &head, told, members_filter(p->c, told, count), whole);
    mem_free(told);
    if (post(p, WIRE_VECTOR, &b) != 0) link_lost(p);
}

static void sent(struct peer *p, uint64_t first, uint64_t last, uint64_t chain)
{
    struct repl_event e = { .type = REPL_SENT, .peer = p->index, .gen = p->gen, .first = first };
    e.entry = (struct repl_entry){ .stream = p->c->own.stream, .node = p->c->own.node, .pos = last, .chain = chain };
    cluster_feed(p->c, &e);
}

void link_send_batch(struct peer *p, const struct log_op *op, size_t count, uint64_t chain_before)
{
    struct wire_head head;
    struct buf b;
    if (count == 0) {
        link_lost(p); /* asked for what the log does not hold: a fresh hello tells where we stand */
        return;
    }
    uint64_t first = op[0].seq, last = op[count - 1].seq, chain = op[count - 1].chain;
    struct wire_ops o = { .stream = p->c->own.stream,
                          .node = p->c->own.node,
                          .first_seq = first,
                          .chain_before = chain_before,
                          .chain_after = chain,
                          .op = (struct log_op *)(uintptr_t)op,
                          .count = count };
    cluster_head(p->c, &head);
    buf_init(&b, WIRE_BODY_MAX);
    wire_put_ops(&b, &head, &o);
    if (post(p, WIRE_OPS, &b) != 0) {
        link_lost(p);
        return;
    }
    p->sent_ops += count;
    sent(p, first, last, chain);
}

void link_ops(struct peer *p, uint64_t first, unsigned count)
{
    source_load(p, first, p->original ? 1 : count, p->original ? original_send : link_send_batch);
}

void link_check_chain(struct peer *p, const struct repl_entry *at)
{
    source_chain(p, at);
}
