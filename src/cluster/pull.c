/* pull.c - asking one peer for another stream's ops (its writer is dead, was another process, or is slow), on a
 * connection of its own so that it never stands behind our own batches; and noticing what other processes wrote
 * into our file.
 *
 *   pull_start ─▶ (connect) ─▶ GET ─▶ 200: the lane applies it ─▶ PULLED ok, more
 *                                 └▶ anything else ─▶ PULLED failed: the core asks the next peer */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "cluster/internal.h"

#define PULL_TIMEOUT_MS 5000
#define MISFITS_MAX 3 /* in a row, of one peer */

struct pull_job {
    struct peer *p;
    uint32_t gen;
    struct repl_entry from;
};

static void pull_end(struct peer *p, bool ok, uint64_t pos, bool more)
{
    struct pull_job *j = p->pull_job;
    if (j == NULL) return;
    p->pull_job = NULL;
    struct repl_event e = { .type = REPL_PULLED, .peer = p->index, .gen = j->gen, .ok = ok, .more = more };
    e.entry = j->from;
    e.entry.pos = pos;
    mem_free(j);
    cluster_feed(p->c, &e);
}

static void pull_drop(struct peer *p)
{
    struct client *pull = p->pull;
    p->pull = NULL;
    if (pull == NULL) return;
    client_close(pull, true);
    client_free(pull);
}

static void pull_failed(struct peer *p, const char *why)
{
    peer_error(p, "asking it for ops: %s", why);
    pull_drop(p);
    pull_end(p, false, p->pull_job == NULL ? 0 : p->pull_job->from.pos, false);
}

/* What its log lost nobody can ask it for, but its rows stand. Others are asked first: they may have those ops. */
static void misfit(struct peer *p)
{
    if (++p->misfits == MISFITS_MAX)
        log_error("cluster", "peer %s: its log is damaged: its rows are merged instead", p->url);
    if (p->misfits >= MISFITS_MAX) snapshot_want(p->c, p, "its log is damaged");
}

static void applied(struct apply_job *a, int status)
{
    struct peer *p = a->data;
    if (status == 0 && a->result == FOREIGN_FORK) life_fork(p->c, p, a->m.ops.stream, a->m.ops.node);
    if (status == 0) p->misfits = 0;
    if (status != 0 && a->m.ops.misfit) misfit(p);
    if (status != 0)
        pull_failed(p, a->item.err.msg[0] ? a->item.err.msg : err_text(status));
    else if (a->result != FOREIGN_APPLIED)
        pull_failed(p, "its ops do not continue ours");
    else
        pull_end(p, true, a->pos.pos, a->m.ops.more);
}

static void answer_cb(void *data, int error, const struct client_answer *a)
{
    struct peer *p = data;
    char why[200];
    if (p->pull_job == NULL) return;
    if (error != 0) {
        pull_failed(p, err_text(error));
        return;
    }
    if (a->status != 200) {
        if (a->status == 404) /* one line, however many streams it is asked for */
            snprintf(why, sizeof why, "it no longer has some of what it told of");
        else
            snprintf(why, sizeof why, "status %d: %.*s", a->status, (int)(a->body_len > 120 ? 120 : a->body_len),
                     a->body);
        peer_error(p, "asking it for ops: %s", why);
        if (a->status == 409) life_fork(p->c, p, p->pull_job->from.stream, p->pull_job->from.node);
        if (a->status == 410) snapshot_want(p->c, p, "its log begins behind what this node has");
        pull_end(p, false, p->pull_job->from.pos, false);
        return;
    }
    p->last_ok_ms = clock_mono_ms();
    char *copy = mem_alloc(a->body_len + 1);
    memcpy(copy, a->body, a->body_len);
    int rc = apply_submit(p->c, copy, a->body_len, applied, p);
    if (rc != 0) pull_failed(p, err_text(rc));
}

static void pull_send(struct peer *p)
{
    char path[200];
    const struct repl_entry *f = &p->pull_job->from;
    struct http_header key = { "x-api-key", p->c->o.api_key };
    snprintf(path, sizeof path, "/api/v1/sync/ops?stream=%llu&from=%llu&chain=%llu", (unsigned long long)f->stream,
             (unsigned long long)f->pos + 1, (unsigned long long)f->chain);
    struct client_request q = { .method = "GET",
                                .path = path,
                                .headers = &key,
                                .headers_count = p->c->o.api_key != NULL,
                                .timeout_ms = PULL_TIMEOUT_MS,
                                .cb = answer_cb,
                                .data = p };
    int rc = client_send(p->pull, &q);
    if (rc != 0) pull_failed(p, err_text(rc));
}

static void connected(void *data, int error)
{
    struct peer *p = data;
    if (error != 0)
        pull_failed(p, err_text(error));
    else if (p->pull_job != NULL)
        pull_send(p);
}

static void closed(void *data, int error)
{
    struct peer *p = data;
    pull_drop(p);
    if (p->pull_job != NULL) pull_failed(p, err_text(error));
}

void pull_start(struct peer *p, uint32_t gen, const struct repl_entry *from)
{
    static const struct client_options options = { .body_bytes_max = WIRE_BODY_MAX,
                                                   .connect_timeout_ms = 250,
                                                   .nodelay = true,
                                                   .keepalive = true,
                                                   .outstanding_max = 2 };
    CHECK(p->pull_job == NULL);
    struct pull_job *j = mem_alloc(sizeof *j);
    *j = (struct pull_job){ .p = p, .gen = gen, .from = *from };
    p->pull_job = j;
    if (p->pull != NULL && client_open(p->pull)) {
        pull_send(p);
        return;
    }
    pull_drop(p);
    p->pull = peer_client(p, &options);
    client_connect(p->pull, &p->parsed, connected, closed, p);
}

void pull_stop(struct peer *p)
{
    pull_drop(p);
    mem_free(p->pull_job);
    p->pull_job = NULL;
}

/* ---- streams that other processes of this machine wrote into our file
 * ----------------------------------------------------- */

struct look_job {
    struct read_item item;
    struct cluster *c;
    struct arena arena;
    struct stream_pos *pos;
    size_t count;
    bool held; /* the held ops are counted, too */
    size_t held_count;
};

static int look_run(struct read_item *item, struct store_tx *tx, struct err *err)
{
    struct look_job *j = container_of(item, struct look_job, item);
    struct side_row *side;
    (void)err;
    int rc = tx->v->streams(tx, &j->arena, &j->pos, &j->count);
    if (rc != 0 || !j->held) return rc;
    return tx->v->side_scan(tx, SIDE_HELD, NULL, NULL, HELD_MAX, &j->arena, &side, &j->held_count);
}

static bool is_news(const struct cluster *c, const struct stream_pos *s)
{
    return s->node == c->own.node && s->stream != c->own.stream && s->pos > repl_position(c->core, s->stream);
}

static void look_end(struct look_job *j)
{
    j->c->polling = false;
    arena_release(&j->arena);
    mem_free(j);
}

/* Not before it is durable: its process may still wait for its fsync. */
static void look_synced(void *data, int status)
{
    struct look_job *j = data;
    for (size_t i = 0; status == 0 && !j->c->closing && i < j->count; i++)
        if (is_news(j->c, &j->pos[i])) cluster_applied(j->c, &j->pos[i], true);
    look_end(j);
}

static void look_done(struct read_item *item, int status)
{
    struct look_job *j = container_of(item, struct look_job, item);
    struct cluster *c = j->c;
    bool news = false;
    if (status == 0 && j->held) c->held_ops = j->held_count;
    for (size_t i = 0; status == 0 && !c->closing && i < j->count; i++) news = news || is_news(c, &j->pos[i]);
    if (!news || cluster_synced(c, look_synced, j) != 0) look_end(j);
    cluster_job_done(c);
}

void pull_poll_file(struct cluster *c)
{
    if (c->polling || c->closing || c->core == NULL) return;
    struct look_job *j = mem_alloc(sizeof *j);
    j->c = c;
    j->held = c->polls++ % HELD_POLLS == 0;
    j->item.run = look_run;
    j->item.done = look_done;
    arena_init(&j->arena, 64u << 20);
    if (readers_submit(c->readers, &j->item) != 0) {
        mem_free(j);
        return;
    }
    c->polling = true;
    c->busy++;
}
