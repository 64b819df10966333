/* receive.c - what peers send to /api/v1/sync/ops. Hellos and vectors are answered at once from the core's vector;
 * a batch goes through the writer lane and its answer is the durable position afterwards; a GET is paged from the
 * log by a reader. While a batch waits for a slow disk its sender is told 102, so that slow is not taken for dead. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "cluster/internal.h"

/* One request that waits for the lane or a reader. */
struct serve {
    struct list link;
    struct cluster *c;
    struct cluster_request *request; /* NULL: the asker went away */
    int64_t told_ms;
};

void reply_error(struct cluster_request *r, int status, const char *text)
{
    struct buf b;
    size_t len = 0;
    buf_init(&b, 4096);
    buf_puts(&b, "{\"error\":");
    json_print_string(&b, text, strlen(text));
    buf_putc(&b, '}');
    char *body = buf_take(&b, &len);
    r->reply(r, status, body, len);
}

void reply_message(struct cluster_request *r, struct buf *b)
{
    size_t len = 0;
    if (b->failed) {
        buf_release(b);
        reply_error(r, 500, "answer is too large");
        return;
    }
    char *body = buf_take(b, &len);
    r->reply(r, 200, body, len);
}

struct serve *serve_new(struct cluster *c, struct cluster_request *r)
{
    struct serve *s = mem_alloc(sizeof *s);
    s->c = c;
    s->request = r;
    s->told_ms = clock_mono_ms();
    list_add_tail(&c->serving, &s->link);
    return s;
}

/* Ends the wait; returns the request if its asker is still there. */
struct cluster_request *serve_end(struct serve *s)
{
    struct cluster_request *r = s->request;
    list_remove(&s->link);
    mem_free(s);
    return r;
}

void cluster_serve_gone(struct cluster *c, struct cluster_request *r)
{
    list_each (it, &c->serving) {
        struct serve *s = container_of(it, struct serve, link);
        if (s->request == r) s->request = NULL;
    }
}

void serve_busy(struct cluster *c, int64_t now_ms)
{
    list_each (it, &c->serving) {
        struct serve *s = container_of(it, struct serve, link);
        if (s->request == NULL || now_ms - s->told_ms < c->o.slow_commit_ms) continue;
        s->told_ms = now_ms;
        s->request->progress(s->request);
    }
}

/* ---- batches
 * ------------------------------------------------------------------------------------------------------------ */

static int apply_run(struct lane_item *item, struct change *ch, struct err *err)
{
    struct apply_job *j = container_of(item, struct apply_job, item);
    arena_release(&j->arena);
    int rc = wire_read(j->body, j->body_len, &j->arena, &j->m, err);
    if (rc != 0) return rc;
    if (j->m.head.kind != WIRE_OPS) return err_set(err, E_PROTOCOL, "a batch of ops was expected");
    if (strcmp(j->m.head.name, j->c->o.name) != 0)
        return err_set(err, E_DENIED, "cluster name '%s' is not ours", j->m.head.name);
    bool removed;
    rc = change_member_removed(ch->tx, j->m.head.node, &j->arena, &removed);
    if (rc != 0 || removed) return rc != 0 ? rc : err_set(err, E_DENIED, REMOVED_TEXT);
    const struct wire_ops *o = &j->m.ops;
    struct foreign_batch f = { .stream = o->stream,
                               .node = o->node,
                               .first_seq = o->first_seq,
                               .chain_before = o->chain_before,
                               .op = o->op,
                               .count = o->count };
    rc = change_foreign(ch, &f, &j->result, &j->pos);
    j->lacks = ch->lacks;
    return rc;
}

static void apply_done(struct lane_item *item, int status)
{
    struct apply_job *j = container_of(item, struct apply_job, item);
    struct cluster *c = j->c;
    if (status == 0) {
        c->batches_in++;
        c->ops_in += j->m.ops.count;
        cluster_lacks(c, j->lacks);
        if (j->result == FOREIGN_APPLIED) cluster_applied(c, &j->pos, false);
        if (j->result == FOREIGN_FORK) { /* anybody may say so: acted on when a peer says it on our own connection */
            c->forks++;
            log_error("cluster", "two histories of stream %llu meet here", (unsigned long long)j->m.ops.stream);
        }
    }
    j->applied(j, status);
    arena_release(&j->arena);
    mem_free(j->body);
    mem_free(j);
    cluster_job_done(c);
}

int apply_submit(struct cluster *c, char *body, size_t len, void (*applied)(struct apply_job *, int), void *data)
{
    struct apply_job *j = mem_alloc(sizeof *j);
    j->c = c;
    j->body = body;
    j->body_len = len;
    j->applied = applied;
    j->data = data;
    j->item.run = apply_run;
    j->item.done = apply_done;
    j->item.class = LANE_REPLICATION;
    j->item.bytes = len;
    arena_init(&j->arena, 2 * WIRE_BODY_MAX);
    int rc = lane_submit(c->lane, &j->item);
    if (rc == 0) {
        c->busy++;
        return 0;
    }
    mem_free(body);
    mem_free(j);
    return rc;
}

static void inbound(struct cluster *c, const struct wire_head *h)
{
    struct repl_event e = { .type = REPL_INBOUND, .node = h->node };
    e.entry.stream = h->stream;
    cluster_feed(c, &e);
}

static void pushed(struct apply_job *j, int status)
{
    struct cluster *c = j->c;
    if (j->m.head.node != 0 && (status == 0 || status == E_BUSY)) inbound(c, &j->m.head);
    struct cluster_request *r = serve_end(j->data);
    if (r == NULL) return;
    if (status != 0) {
        reply_error(r, status == E_PROTOCOL ? 400 : err_status(status), j->item.err.msg);
        return;
    }
    struct wire_head head;
    struct buf b;
    struct wire_pos p = { .stream = j->pos.stream, .pos = j->pos.pos, .chain = j->pos.chain, .result = (int)j->result };
    cluster_head(c, &head);
    buf_init(&b, 4096);
    wire_put_answer_pos(&b, &head, &p);
    reply_message(r, &b);
}

static void serve_ops(struct cluster *c, struct cluster_request *r)
{
    char *copy = mem_alloc(r->body_len + 1);
    memcpy(copy, r->body, r->body_len);
    struct serve *s = serve_new(c, r);
    int rc = apply_submit(c, copy, r->body_len, pushed, s);
    if (rc != 0) reply_error(serve_end(s), err_status(rc), err_text(rc));
}

/* ---- hello and vector
 * --------------------------------------------------------------------------------------------------- */

static const struct repl_entry *find_entry(const struct repl_entry *v, size_t count, uint64_t stream)
{
    for (size_t i = 0; i < count; i++)
        if (v[i].stream == stream) return &v[i];
    return NULL;
}

static void told(struct cluster *c, struct wire_message *m)
{
    if (m->head.node == c->own.node) {
        life_twin(c, m->head.stream, false);
        return;
    }
    if (life_doubled(c, m->head.node, m->head.stream) != NULL) return; /* not what that peer has */
    members_hear(c, &m->vector);
    members_told(c, &m->head, NULL, &m->vector);
    inbound(c, &m->head);
    struct repl_event e = { .type = REPL_VECTOR, .peer = REPL_NO_PEER, .node = m->head.node };
    e.vector = m->vector.entry;
    e.vector_count = m->vector.count;
    e.whole = m->vector.whole;
    cluster_feed(c, &e);
}

static void serve_hello(struct cluster *c, struct cluster_request *r, struct wire_message *m)
{
    struct wire_head head;
    struct buf b;
    size_t count;
    struct repl_entry *v = cluster_vector(c, &count);
    const struct repl_entry *at = find_entry(v, count, m->head.stream);
    struct wire_pos p = { .stream = m->head.stream,
                          .pos = at == NULL ? 0 : at->pos,
                          .chain = at == NULL ? 0 : at->chain };
    cluster_head(c, &head);
    buf_init(&b, WIRE_BODY_MAX);
    wire_put_answer_hello(&b, &head, &p, v, count);
    mem_free(v);
    told(c, m);
    reply_message(r, &b);
}

static void serve_vector(struct cluster *c, struct cluster_request *r, struct wire_message *m)
{
    struct wire_head head;
    struct buf b;
    size_t count, named = 0;
    struct repl_entry *mine = m->vector.entry; /* answered in place: it is ours to change */
    told(c, m);
    struct repl_entry *v = cluster_vector(c, &count);
    cluster_head(c, &head);
    buf_init(&b, WIRE_BODY_MAX);
    if (!m->vector.whole) {
        for (size_t i = 0; i < m->vector.count; i++) {
            const struct repl_entry *e = find_entry(v, count, mine[i].stream);
            if (e != NULL) mine[named++] = *e;
        }
        wire_put_pong(&b, &head, mine, named, false);
    } else {
        wire_put_pong(&b, &head, v, count, true);
    }
    mem_free(v);
    reply_message(r, &b);
}

static void serve_message(struct cluster *c, struct cluster_request *r)
{
    struct wire_message m;
    struct arena arena;
    struct err err = { 0 };
    arena_init(&arena, 8u << 20);
    int rc = wire_read(r->body, r->body_len, &arena, &m, &err);
    struct peer *doubled = rc == 0 ? life_doubled(c, m.head.node, m.head.stream) : NULL;
    if (rc != 0)
        reply_error(r, 400, err.msg);
    else if (strcmp(m.head.name, c->o.name) != 0)
        reply_error(r, 403, "another cluster's name");
    else if (doubled != NULL && life_copied(doubled, m.head.stream))
        reply_error(r, 403, COPIED_TEXT);
    else if (m.head.kind == WIRE_HELLO)
        serve_hello(c, r, &m);
    else if (m.head.kind == WIRE_VECTOR)
        serve_vector(c, r, &m);
    else
        reply_error(r, 400, "an answer is no request");
    arena_release(&arena);
}

/* ---- GET: ops of any stream
 * ----------------------------------------------------------------------------------------------- */

struct page_job {
    struct read_item item;
    struct serve *serve;
    struct cluster *c;
    uint64_t stream, from, chain;
    struct stream_pos pos;
    struct log_op *op;
    size_t count;
    struct arena arena;
};

static int page_run(struct read_item *item, struct store_tx *tx, struct err *err)
{
    struct page_job *j = container_of(item, struct page_job, item);
    uint64_t chain = 0;
    int rc = tx->v->stream_get(tx, j->stream, &j->pos);
    if (rc == 0 && j->from <= j->pos.trimmed)
        return err_set(err, E_GONE, "the log begins behind %llu", (unsigned long long)j->pos.trimmed);
    if (rc == 0) rc = tx->v->op_chain(tx, j->stream, j->from - 1, &chain);
    if (rc == E_NOT_FOUND)
        return err_set(err, E_NOT_FOUND, "stream %llu is not here from %llu", (unsigned long long)j->stream,
                       (unsigned long long)j->from);
    if (rc != 0) return rc;
    if (chain != j->chain) return err_set(err, E_CONFLICT, "another history before %llu", (unsigned long long)j->from);
    return tx->v->op_page(tx, j->stream, j->from, WIRE_OPS_MAX, WIRE_BATCH_BYTES, &j->arena, &j->op, &j->count);
}

static void page_done(struct read_item *item, int status)
{
    struct page_job *j = container_of(item, struct page_job, item);
    struct cluster *c = j->c;
    struct cluster_request *r = serve_end(j->serve);
    if (status == E_CONFLICT && j->pos.node == c->own.node && members_said(c, j->stream, j->from - 1, j->chain))
        life_fork(c, NULL, j->stream, c->own.node);
    if (r != NULL && status != 0) {
        reply_error(r, err_status(status), item->err.msg[0] ? item->err.msg : err_text(status));
    } else if (r != NULL) {
        struct wire_head head;
        struct buf b;
        uint64_t told = repl_position(c->core, j->stream);
        while (j->count > 0 && j->op[j->count - 1].seq > told) j->count--; /* not before their fsync */
        struct wire_ops o = { .stream = j->stream,
                              .node = j->pos.node,
                              .first_seq = j->from,
                              .chain_before = j->chain,
                              .op = j->op,
                              .count = j->count };
        o.chain_after = j->count == 0 ? j->chain : j->op[j->count - 1].chain;
        o.more = j->from + j->count <= told;
        cluster_head(c, &head);
        buf_init(&b, WIRE_BODY_MAX);
        wire_put_ops(&b, &head, &o);
        reply_message(r, &b);
    }
    arena_release(&j->arena);
    mem_free(j);
    cluster_job_done(c);
}

bool query_number(const char *query, const char *name, uint64_t *ret)
{
    size_t n = strlen(name);
    for (const char *p = query; p != NULL && *p != 0; p = strchr(p, '&') ? strchr(p, '&') + 1 : NULL) {
        if (strncmp(p, name, n) != 0 || p[n] != '=') continue;
        char *end = NULL;
        *ret = strtoull(p + n + 1, &end, 10);
        return end != p + n + 1 && (*end == 0 || *end == '&') && p[n + 1] != '-';
    }
    return false;
}

static void serve_page(struct cluster *c, struct cluster_request *r)
{
    struct page_job *j = mem_alloc(sizeof *j);
    if (!query_number(r->query, "stream", &j->stream) || !query_number(r->query, "from", &j->from) ||
        !query_number(r->query, "chain", &j->chain) || j->from == 0) {
        mem_free(j);
        reply_error(r, 400, "stream, from (at least 1) and chain are required whole numbers");
        return;
    }
    j->c = c;
    j->item.run = page_run;
    j->item.done = page_done;
    arena_init(&j->arena, 2 * WIRE_BODY_MAX);
    j->serve = serve_new(c, r);
    int rc = readers_submit(c->readers, &j->item);
    if (rc == 0) {
        c->busy++;
        return;
    }
    reply_error(serve_end(j->serve), err_status(rc), err_text(rc));
    mem_free(j);
}

static void serve_post(struct cluster *c, struct cluster_request *r)
{
    const uint8_t *b = r->body;
    int kind = r->body_len > 8 ? b[6] | b[7] << 8 : 0;
    if (members_removed(c, wire_sender(b, r->body_len)))
        reply_error(r, 403, REMOVED_TEXT);
    else if (kind == WIRE_OPS)
        serve_ops(c, r);
    else
        serve_message(c, r);
}

void cluster_serve(struct cluster *c, struct cluster_request *r)
{
    if (c->core == NULL || c->closing)
        reply_error(r, 503, "this node is starting or ending");
    else if (r->what == CLUSTER_SNAPSHOT)
        snapshot_serve(c, r);
    else if (r->what == CLUSTER_SCRUB)
        scrub_serve(c, r);
    else if (r->what == CLUSTER_REPAIR)
        scrub_ask(c, r);
    else if (r->get)
        serve_page(c, r);
    else
        serve_post(c, r);
}
