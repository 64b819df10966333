/* snapshot.c - what the log does not hold any more: all the state of one peer, page by page, merged into ours while
 * both sides go on working; and the pages others ask us for.
 *
 *   wanted ─peer met─▶ CONNECTING ─▶ HEAD (its vector) ─▶ PAGES (one asked for, two in the lane at most) ─last
 *   one─▶ CLOSING (its vector again) ─▶ END: ours becomes the greater of its first and ours ─▶ done
 *   any failure ─▶ wanted, after a pause
 *
 * Rows of the pages may be newer than our vector, until all of its second one is here. If that does not come about for
 * AHEAD_MS, or the donor was lost in the middle, they are said anew by ops of ours (store/change_ahead.c).
 *
 * Pages are stateless at the donor: the asker says where the last one ended. If another life answers, its file may
 * be another one: we begin anew. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "cluster/internal.h"
#include "store/change_snapshot.h"

#define PAGE_ROWS 1024
#define PAGES_APPLYING 2
#define ANSWER_MS 30000
#define SILENT_MS 5000 /* who reads its rows says 102 meanwhile */
#define RETRY_MS 1000
#define AHEAD_MS 30000
#define HELD_PAGE 256
#define PATH "/api/v1/sync/snapshot"

struct fetch {
    struct cluster *c;
    struct peer *p;
    struct client *client;
    struct arena arena;                /* the donor's vector */
    uint64_t life;                     /* its stream */
    uint64_t node;                     /* who gives */
    struct wire_snapshot from;         /* in the arena */
    struct stream_pos *cover;          /* of the same, what it had: not of streams with two histories */
    bool begun, whole, closed;         /* the head came; the last page; the second vector, or word that it will not */
    struct wire_snapshot then;         /* the second vector, in the arena */
    bool lost;                         /* rows of ours were lost behind our back */
    bool clean;                        /* no rows were ahead of our vector before */
    bool ending, asked, failed, lacks; /* lacks: at the end still, see change_lacks */
    unsigned applying;                 /* jobs in the lane */
    struct page_at at;                 /* where the last page ended; after is owned */
    uint64_t pages, bytes;
    int64_t began_ms;
};

/* A page, or the end, on its way through the lane. */
struct merge_job {
    struct lane_item item;
    struct fetch *f;
    bool end;
    char *records; /* owned */
    size_t len;
    struct page_at from, to; /* after is owned */
    bool lacks;              /* result of the end */
};

/* The word that nothing more comes of a snapshot. */
struct stop_job {
    struct lane_item item;
    struct cluster *c;
};

/* What is newer than our vector: over, or said anew. */
struct ahead_job {
    struct lane_item item;
    struct cluster *c;
    bool over;
    size_t said;
};

static void ask(struct fetch *f);

static struct page_at at_copy(const struct page_at *at)
{
    return (struct page_at){ .section = at->section, .after = at->after == NULL ? NULL : mem_strdup(at->after) };
}

static void at_free(struct page_at *at)
{
    mem_free((char *)(uintptr_t)at->after);
    at->after = NULL;
}

/* ---- the end of a fetch ------------------------------------------------------------------------------------------ */

static void drop_client(struct fetch *f)
{
    struct client *client = f->client;
    f->client = NULL;
    if (client == NULL) return;
    client_close(client, true);
    client_free(client);
}

/* What it brings is not pulled meanwhile. */
static void coming(struct cluster *c, const struct stream_pos *v, size_t count)
{
    struct repl_event e = { .type = REPL_COMING, .vector_count = count };
    struct repl_entry *at = mem_alloc((count + 1) * sizeof *at);
    for (size_t i = 0; i < count; i++) at[i] = (struct repl_entry){ .stream = v[i].stream, .pos = v[i].pos };
    e.vector = at;
    cluster_feed(c, &e);
    mem_free(at);
}

/* From here on it is waited for what the donor had at the end, if it is known. */
static void ahead_begin(const struct fetch *f)
{
    struct cluster *c = f->c;
    size_t count = f->then.count;
    mem_free(c->ahead_until);
    c->ahead_until = NULL;
    c->ahead = true;
    c->ahead_ms = clock_mono_ms();
    if (f->failed || !f->clean || f->from.ahead || f->then.ahead || count == 0) return;
    c->ahead_until = mem_alloc(count * sizeof *c->ahead_until);
    memcpy(c->ahead_until, f->then.v, count * sizeof *c->ahead_until);
    c->ahead_count = count;
}

/* Frees the fetch once nothing of it is in the lane. */
static void fetch_rest(struct fetch *f)
{
    struct cluster *c = f->c;
    if (f->applying > 0) return;
    drop_client(f);
    c->snapshot_torn = c->snapshot_torn || (f->failed && f->pages > 0);
    if (f->pages > 0) ahead_begin(f);
    c->fetch = NULL;
    coming(c, NULL, 0);
    arena_release(&f->arena);
    at_free(&f->at);
    mem_free(f);
}

static void fetch_fail(struct fetch *f, const char *why)
{
    struct cluster *c = f->c;
    if (f->failed) return;
    f->failed = true;
    peer_error(f->p, "snapshot: %s", why);
    c->snapshot_retry_ms = clock_mono_ms() + RETRY_MS;
    c->snapshot_failures++;
    drop_client(f);
    fetch_rest(f);
}

static void fetch_done(struct fetch *f)
{
    struct cluster *c = f->c;
    int64_t took = clock_mono_ms() - f->began_ms;
    log_info("cluster", "merged the state of %s: %llu pages, %llu KiB in %lld ms", f->p->url,
             (unsigned long long)f->pages, (unsigned long long)(f->bytes >> 10), (long long)took);
    c->snapshots++;
    c->snapshot_wanted = c->lacks = c->snapshot_lost = false;
    c->snapshot_from = NULL;
    cluster_lacks(c, f->lacks);
    for (size_t i = 0; i < f->from.count; i++)
        if (f->from.v[i].stream != c->own.stream && !f->from.v[i].left) cluster_applied(c, &f->from.v[i], false);
    fetch_rest(f);
}

/* ---- merging (pool) ---------------------------------------------------------------------------------------------- */

static int merge_run(struct lane_item *item, struct change *ch, struct err *err)
{
    struct merge_job *j = container_of(item, struct merge_job, item);
    const struct fetch *f = j->f;
    struct page_span span = { .from = j->from, .to = j->to, .v = f->cover, .count = f->from.count };
    struct arena arena;
    bool removed = false;
    span.lost = f->lost;
    arena_init(&arena, 1u << 20);
    int rc = change_member_removed(ch->tx, f->node, &arena, &removed);
    arena_release(&arena);
    if (rc == 0 && removed) rc = err_set(err, E_DENIED, "its node was removed from the mesh");
    if (rc != 0) return rc;
    for (size_t i = 0; rc == 0 && j->end && i < f->from.count; i++) /* of a forked stream nothing is lost */
        if (f->cover[i].pos == 0) rc = change_repeat_replaced(ch, &f->from.v[i]);
    if (rc != 0) return rc;
    if (j->end) {
        rc = change_snapshot_end(ch, f->from.v, f->from.count);
        j->lacks = ch->lacks;
        return rc;
    }
    span.held = f->from.held;
    span.held_count = f->from.held_count;
    rc = change_snapshot_page(ch, j->records, j->len, &span);
    return rc == 0 ? 0 : err_set(err, rc, "a page cannot be merged: %s", err_text(rc));
}

static void merge_end(struct fetch *f);

static void merge_job_free(struct merge_job *j)
{
    mem_free(j->records);
    at_free(&j->from);
    at_free(&j->to);
    mem_free(j);
}

static void merge_done(struct lane_item *item, int status)
{
    struct merge_job *j = container_of(item, struct merge_job, item);
    struct fetch *f = j->f;
    struct cluster *c = f->c;
    bool end = j->end;
    f->lacks = j->lacks;
    f->applying--;
    if (f->failed)
        fetch_rest(f);
    else if (status != 0)
        fetch_fail(f, j->item.err.msg);
    else if (c->closing)
        fetch_fail(f, "this node ends");
    else if (end)
        fetch_done(f);
    else if (f->closed)
        merge_end(f);
    else if (!f->asked)
        ask(f);
    merge_job_free(j);
    cluster_job_done(c);
}

/* page NULL: the end. */
static int merge_submit(struct fetch *f, const struct wire_page *page)
{
    struct merge_job *j = mem_alloc(sizeof *j);
    j->f = f;
    j->end = page == NULL;
    j->from = at_copy(&f->at);
    if (page != NULL) {
        j->to = at_copy(&page->at);
        j->len = page->len;
        j->records = mem_alloc(j->len + 1);
        if (j->len > 0) memcpy(j->records, page->records, j->len);
    }
    j->item.run = merge_run;
    j->item.done = merge_done;
    j->item.class = LANE_REPLICATION;
    j->item.bytes = j->len;
    int rc = lane_submit(f->c->lane, &j->item);
    if (rc == 0) {
        f->applying++;
        f->c->busy++;
        return 0;
    }
    merge_job_free(j);
    return rc;
}

/* Another history of a stream covers none of our rows. */
static void cover_splits(struct fetch *f)
{
    for (size_t i = 0; i < f->from.count; i++)
        if (life_split(f->c, f->cover[i].stream)) f->cover[i].pos = 0;
}

static void merge_end(struct fetch *f)
{
    if (f->applying > 0 || f->ending) return;
    f->ending = true;
    cover_splits(f);
    int rc = merge_submit(f, NULL);
    if (rc != 0) fetch_fail(f, err_text(rc));
}

/* ---- asking
 * ------------------------------------------------------------------------------------------------------- */

static int take_head(struct fetch *f, const struct client_answer *a, struct err *err)
{
    struct wire_message m;
    int rc = wire_read(a->body, a->body_len, &f->arena, &m, err);
    if (rc == 0 && m.head.kind != WIRE_SNAPSHOT) rc = err_set(err, E_PROTOCOL, "answer of another kind");
    if (rc == 0 && strcmp(m.head.name, f->c->o.name) != 0) rc = err_set(err, E_DENIED, "another cluster's name");
    if (rc != 0) return rc;
    f->life = m.head.stream;
    f->node = m.head.node;
    f->from = m.snapshot;
    f->cover = arena_alloc(&f->arena, (f->from.count + 1) * sizeof *f->cover);
    if (f->cover == NULL) return err_set(err, E_TOO_LARGE, "its vector is too long");
    memcpy(f->cover, f->from.v, f->from.count * sizeof *f->cover);
    cover_splits(f);
    f->begun = true;
    coming(f->c, f->cover, f->from.count);
    return 0;
}

/* No matter if it is not to be had: the state is here. */
static void take_closing(struct fetch *f, const struct client_answer *a)
{
    struct wire_message m;
    struct err err = { 0 };
    bool fine = a != NULL && a->status == 200 && wire_read(a->body, a->body_len, &f->arena, &m, &err) == 0;
    if (fine && m.head.kind == WIRE_SNAPSHOT && m.head.stream == f->life) f->then = m.snapshot;
    f->closed = true;
    drop_client(f);
    merge_end(f);
}

static int take_page(struct fetch *f, const struct client_answer *a, struct err *err)
{
    struct wire_message m;
    struct arena arena;
    arena_init(&arena, 1u << 20);
    int rc = wire_read(a->body, a->body_len, &arena, &m, err);
    if (rc == 0 && m.head.kind != WIRE_PAGE) rc = err_set(err, E_PROTOCOL, "answer of another kind");
    if (rc == 0 && m.head.stream != f->life) rc = err_set(err, E_PROTOCOL, "it began anew meanwhile");
    if (rc == 0) {
        rc = merge_submit(f, &m.page);
        at_free(&f->at);
        f->at = at_copy(&m.page.at);
        f->whole = m.page.at.section == PAGE_END;
        f->pages++;
        f->bytes += a->body_len;
        if (rc != 0) err_set(err, rc, "%s", err_text(rc));
    }
    arena_release(&arena);
    return rc;
}

static void answer_cb(void *data, int error, const struct client_answer *a)
{
    struct fetch *f = data;
    struct err err = { 0 };
    if (f->failed || f->client == NULL) return;
    f->asked = false;
    if (f->whole) {
        take_closing(f, error == 0 ? a : NULL);
        return;
    }
    if (error != 0) {
        fetch_fail(f, client_why(f->client, error));
        return;
    }
    f->p->last_ok_ms = clock_mono_ms();
    int rc = a->status != 200 ? err_set(&err, E_PROTOCOL, "answered with %d", a->status)
             : f->begun       ? take_page(f, a, &err)
                              : take_head(f, a, &err);
    if (rc != 0)
        fetch_fail(f, err.msg);
    else if (f->applying < PAGES_APPLYING)
        ask(f);
}

static void put_path(const struct fetch *f, struct buf *path)
{
    buf_puts(path, PATH);
    if (!f->begun || f->whole) return;
    buf_printf(path, "?section=%u", f->at.section);
    if (f->at.after == NULL) return;
    buf_puts(path, "&after=");
    for (const char *p = f->at.after; *p != 0; p++) buf_printf(path, "%02x", (unsigned char)*p);
}

static void ask(struct fetch *f)
{
    struct http_header key = { "x-api-key", f->c->o.api_key };
    struct client_request q = { .method = "GET",
                                .headers = &key,
                                .headers_count = f->c->o.api_key != NULL,
                                .timeout_ms = ANSWER_MS,
                                .cb = answer_cb,
                                .data = f };
    struct buf path;
    buf_init(&path, 2 * PAGE_AFTER_MAX + 256);
    put_path(f, &path);
    q.path = buf_str(&path);
    int rc = path.failed ? E_TOO_LARGE : client_send(f->client, &q);
    buf_release(&path);
    f->asked = rc == 0;
    if (rc != 0) fetch_fail(f, err_text(rc));
}

static void connected(void *data, int error)
{
    struct fetch *f = data;
    if (f->failed || f->client == NULL) return;
    if (error != 0)
        fetch_fail(f, client_why(f->client, error));
    else
        ask(f);
}

static void closed(void *data, int error)
{
    struct fetch *f = data;
    if (f->failed || f->client == NULL) return;
    if (f->whole) /* all is here; the lane has the rest */
        take_closing(f, NULL);
    else
        fetch_fail(f, client_why(f->client, error));
}

static void fetch_start(struct peer *p)
{
    static const struct client_options options = { .body_bytes_max = 2 * WIRE_BODY_MAX,
                                                   .connect_timeout_ms = 1000,
                                                   .nodelay = true,
                                                   .keepalive = true,
                                                   .outstanding_max = 1 };
    struct fetch *f = mem_alloc(sizeof *f);
    f->c = p->c;
    f->p = p;
    f->began_ms = clock_mono_ms();
    f->clean = !p->c->ahead;
    f->lost = p->c->snapshot_lost;
    arena_init(&f->arena, 16u << 20);
    p->c->fetch = f;
    log_info("cluster", "asking %s for a snapshot: %s", p->url, p->c->snapshot_why);
    f->client = peer_client(p, &options);
    client_connect(f->client, &p->parsed, connected, closed, f);
}

/* ---- when
 * ---------------------------------------------------------------------------------------------------------- */

static bool can_give(const struct cluster *c, unsigned i)
{
    struct repl_peer_view v;
    repl_peer_view(c->core, i, &v);
    return !v.original && (v.state == REPL_UP || v.state == REPL_SUSPECT || v.state == REPL_CHECKING);
}

void snapshot_want(struct cluster *c, struct peer *from, const char *why)
{
    if (!c->snapshot_wanted) c->snapshot_retry_ms = 0;
    c->snapshot_wanted = true;
    c->snapshot_why = why;
    if (from != NULL) c->snapshot_from = from;
}

static int stop_run(struct lane_item *item, struct change *ch, struct err *err)
{
    (void)item;
    (void)err;
    change_snapshot_stop(ch);
    return 0;
}

static void stop_done(struct lane_item *item, int status)
{
    struct stop_job *j = container_of(item, struct stop_job, item);
    struct cluster *c = j->c;
    if (status != 0) c->snapshot_torn = true;
    mem_free(j);
    cluster_job_done(c);
}

/* The donor of a snapshot was lost: the lane takes again what it would have brought. False: not now. */
static bool stop_torn(struct cluster *c)
{
    if (!c->snapshot_torn) return true;
    struct stop_job *j = mem_alloc(sizeof *j);
    j->c = c;
    j->item.run = stop_run;
    j->item.done = stop_done;
    j->item.class = LANE_REPLICATION;
    j->item.no_fsync = true;
    if (lane_submit(c->lane, &j->item) != 0) {
        mem_free(j);
        return false;
    }
    c->busy++;
    c->snapshot_torn = false;
    return true;
}

/* ---- rows newer than our vector ---------------------------------------------------------------------------------- */

static int ahead_run(struct lane_item *item, struct change *ch, struct err *err)
{
    struct ahead_job *j = container_of(item, struct ahead_job, item);
    (void)err;
    if (j->over) return change_ahead_over(ch);
    bool more;
    size_t said;
    int rc = change_ahead_say(ch, &said, &more);
    if (rc != 0) return rc;
    j->said += said;
    return more ? E_AGAIN : 0;
}

static void ahead_done(struct lane_item *item, int status)
{
    struct ahead_job *j = container_of(item, struct ahead_job, item);
    struct cluster *c = j->c;
    c->ahead_busy = false;
    c->ahead = status != 0;
    c->ahead_ms = clock_mono_ms();
    if (status == 0 && j->said > 0)
        log_info("cluster", "%zu rows of a snapshot whose donor was lost are said anew", j->said);
    mem_free(j);
    cluster_job_done(c);
}

static bool ahead_reached(const struct cluster *c)
{
    if (c->ahead_until == NULL) return false;
    for (size_t i = 0; i < c->ahead_count; i++) {
        const struct stream_pos *v = &c->ahead_until[i];
        bool ours = v->stream == c->own.stream || v->left || members_left(c, v->stream, v->pos);
        if (!ours && v->pos > repl_position(c->core, v->stream)) return false;
    }
    return true;
}

static void ahead_poll(struct cluster *c)
{
    if (!c->ahead || c->ahead_busy) return;
    bool over = ahead_reached(c);
    if (!over && clock_mono_ms() < c->ahead_ms + AHEAD_MS) return;
    struct ahead_job *j = mem_alloc(sizeof *j);
    j->c = c;
    j->over = over;
    j->item.run = ahead_run;
    j->item.done = ahead_done;
    j->item.class = over ? LANE_REPLICATION : LANE_UPKEEP;
    if (lane_submit(c->lane, &j->item) != 0) {
        mem_free(j);
        return;
    }
    c->ahead_busy = true;
    c->busy++;
}

/* A process that is stopped takes what is sent and never answers; another peer may give. */
static void drop_silent(struct fetch *f)
{
    if (!f->asked || f->failed || f->client == NULL || client_silent_ms(f->client) <= SILENT_MS) return;
    f->asked = false;
    if (f->whole)
        take_closing(f, NULL);
    else
        fetch_fail(f, "it fell silent");
}

void snapshot_poll(struct cluster *c)
{
    if (!c->closing && c->fetch != NULL) drop_silent(c->fetch);
    if (c->closing || c->fetch != NULL || !stop_torn(c)) return;
    ahead_poll(c);
    if (c->ahead_busy) return;
    if (!c->snapshot_wanted || clock_mono_ms() < c->snapshot_retry_ms) return;
    struct peer *p = c->snapshot_from;
    c->snapshot_from = NULL;
    for (unsigned k = 0; k < c->peers && (p == NULL || !can_give(c, p->index)); k++)
        p = &c->peer[(c->snapshot_failures + k) % c->peers];
    if (p != NULL && can_give(c, p->index)) fetch_start(p);
}

json_t *snapshot_status(const struct cluster *c, int64_t now_ms)
{
    const struct fetch *f = c->fetch;
    if (f == NULL) return json_null();
    return json_pack("{s:s, s:s, s:I, s:I, s:I}", "from", f->p->url, "why", c->snapshot_why, "pages",
                     (json_int_t)f->pages, "bytes", (json_int_t)f->bytes, "ms", (json_int_t)(now_ms - f->began_ms));
}

void snapshot_stop(struct cluster *c)
{
    mem_free(c->ahead_until);
    c->ahead_until = NULL;
    if (c->fetch != NULL) fetch_fail(c->fetch, "this node ends");
}

/* ---- giving
 * --------------------------------------------------------------------------------------------------------- */

struct give_job {
    struct read_item item;
    struct serve *serve;
    struct cluster *c;
    struct arena arena;
    bool head;
    struct wire_snapshot from;
    struct page_at at;
    struct buf records;
};

static int by_stream(const void *a, const void *b)
{
    const struct stream_pos *x = a, *y = b;
    return x->stream < y->stream ? -1 : x->stream > y->stream;
}

/* The streams of the vector, and those that left it: whoever has rows of them has nothing newer. */
static int read_streams(struct give_job *j, struct store_tx *tx)
{
    const char *after = NULL;
    struct stream_pos *now, *all;
    size_t count;
    int rc = tx->v->streams(tx, &j->arena, &now, &count);
    all = arena_alloc(&j->arena, WIRE_VECTOR_MAX * sizeof *all);
    if (rc != 0 || all == NULL || count > WIRE_VECTOR_MAX) return rc != 0 ? rc : E_TOO_LARGE;
    memcpy(all, now, count * sizeof *all);
    do {
        struct stream_pos *left;
        size_t n;
        rc = change_streams_left(tx, after, &j->arena, &left, &n, &after);
        for (size_t i = 0; rc == 0 && i < n && count < WIRE_VECTOR_MAX; i++) all[count++] = left[i];
    } while (rc == 0 && after != NULL);
    qsort(all, count, sizeof *all, by_stream);
    j->from.v = all;
    j->from.count = count;
    return rc;
}

/* With the held ops, the first many. */
static int read_vector(struct give_job *j, struct store_tx *tx)
{
    struct side_row *side;
    const char *after = NULL;
    size_t n = HELD_PAGE;
    int rc = read_streams(j, tx);
    j->from.held = arena_alloc(&j->arena, WIRE_OPS_MAX * sizeof *j->from.held);
    if (rc != 0 || j->from.held == NULL) return rc != 0 ? rc : E_TOO_LARGE;
    while (rc == 0 && n == HELD_PAGE && j->from.held_count + HELD_PAGE <= WIRE_OPS_MAX) {
        rc = tx->v->side_scan(tx, SIDE_HELD, NULL, after, HELD_PAGE, &j->arena, &side, &n);
        for (size_t i = 0; rc == 0 && i < n; i++) {
            j->from.held[j->from.held_count++] = side[i].stamp;
            after = side[i].id;
        }
    }
    return rc;
}

static int give_run(struct read_item *item, struct store_tx *tx, struct err *err)
{
    struct give_job *j = container_of(item, struct give_job, item);
    struct page_at at = j->at;
    if (j->head) {
        int ahead = change_ahead(tx, &j->arena, &j->from.ahead);
        return ahead == 0 ? read_vector(j, tx) : ahead;
    }
    int rc = E_TOO_LARGE;
    /* rows may be large: fewer of them then */
    for (size_t count = PAGE_ROWS; rc == E_TOO_LARGE && count > 0; count /= 8) {
        struct arena page;
        arena_init(&page, 4 * WIRE_BODY_MAX);
        buf_clear(&j->records);
        j->at = at;
        rc = change_page(tx, &j->at, count, WIRE_BATCH_BYTES, &page, &j->records);
        j->at.after = arena_strdup(&j->arena, j->at.after);
        arena_release(&page);
    }
    return rc == 0 ? 0 : err_set(err, rc, "a page of the state cannot be read: %s", err_text(rc));
}

static void give_end(struct give_job *j, int status)
{
    struct cluster *c = j->c;
    struct cluster_request *r = serve_end(j->serve);
    if (r != NULL && status != 0) {
        reply_error(r, err_status(status), j->item.err.msg[0] ? j->item.err.msg : err_text(status));
    } else if (r != NULL) {
        struct wire_head head;
        struct buf b;
        cluster_head(c, &head);
        buf_init(&b, 2 * WIRE_BODY_MAX);
        if (j->head)
            wire_put_snapshot(&b, &head, &j->from);
        else
            wire_put_page(&b, &head, &(struct wire_page){ j->at, j->records.data, j->records.len });
        reply_message(r, &b);
    }
    buf_release(&j->records);
    arena_release(&j->arena);
    mem_free(j);
}

static void give_synced(void *data, int status)
{
    give_end(data, status);
}

/* A vector goes when it is durable: positions beyond ours would come back to us, and would be a fork if we lost them.
 * Rows may go before; what the joiner then has beyond the vector of the end it says anew. */
static void give_done(struct read_item *item, int status)
{
    struct give_job *j = container_of(item, struct give_job, item);
    struct cluster *c = j->c;
    int rc = status == 0 && j->head ? cluster_synced(c, give_synced, j) : E_AGAIN;
    if (rc != 0) give_end(j, rc == E_AGAIN ? status : rc);
    cluster_job_done(c);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The text of hex digits up to '&' or the end, in the arena; NULL: no such text. */
static char *hex_text(const char *hex, struct arena *a)
{
    size_t len = strcspn(hex, "&") / 2;
    char *text = len > 0 && len <= PAGE_AFTER_MAX ? arena_alloc(a, len + 1) : NULL;
    for (size_t i = 0; text != NULL && i < len; i++) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0 || high + low == 0) return NULL;
        text[i] = (char)(high << 4 | low);
    }
    return text;
}

static bool read_query(struct give_job *j, const char *query)
{
    uint64_t section;
    const char *after;
    j->head = query == NULL || query[0] == 0;
    if (j->head) return true;
    if (!query_number(query, "section", &section) || section >= PAGE_END) return false;
    j->at.section = (uint16_t)section;
    after = strstr(query, "&after=");
    if (after == NULL) return true;
    j->at.after = hex_text(after + strlen("&after="), &j->arena);
    return j->at.after != NULL;
}

void snapshot_serve(struct cluster *c, struct cluster_request *r)
{
    if (c->lacks) { /* its positions say more than it has */
        reply_error(r, 503, "this node needs a snapshot itself");
        return;
    }
    struct give_job *j = mem_alloc(sizeof *j);
    arena_init(&j->arena, 32u << 20);
    buf_init(&j->records, WIRE_BODY_MAX + OP_BYTES_MAX);
    j->c = c;
    j->item.run = give_run;
    j->item.done = give_done;
    int rc = read_query(j, r->query) ? 0 : E_INVALID;
    if (rc == 0) {
        j->serve = serve_new(c, r);
        rc = readers_submit(c->readers, &j->item);
        if (rc == 0) {
            c->busy++;
            return;
        }
        r = serve_end(j->serve);
    }
    reply_error(r, err_status(rc), rc == E_INVALID ? "section (a number) and after (hex digits)" : err_text(rc));
    arena_release(&j->arena);
    mem_free(j);
}
