/* mixed.c - the exchange with a node of the original: every few seconds one round on a connection of its own.
 *
 *   REST ─due, its link is up─▶ CONNECT ─▶ GOAL (reader: where our streams end) ─▶ PULL (GET /sync/since)
 *     ▲                                                                              │          ▲
 *     │                                                             LOOK (reader) ◀──┘          │ page was full
 *     │                                                               │ news                    │
 *     │                                                               ▼                         │
 *     │                                                             MERGE (lane, slices) ───────┤
 *     │                                                                                         │ last page
 *     │   nothing more                PUSH ◀─ COLLECT (reader) ◀───── AGAIN (deletions) ◀───────┘
 *     └──────────────────────────────  └────────▶ (cursors move)
 *
 * Rows come first, so that what it has already is not sent. Whatever fails ends the round; the cursors stand for what
 * was done. It goes by timestamps: it is asked from a minute before the greatest seen; what comes again is known. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "cluster/mixed_work.h"

#define SINCE_ROWS 500
#define SINCE_ROWS_MAX 10000
#define OVERLAP_US INT64_C(61000000)
#define PAGE_BYTES (64u << 20)
#define PULL_TIMEOUT_MS 20000
#define MERGE_ROWS 64
#define GONE_MAX 1000
#define TARGET_MAX 256

enum mixed_state { REST, CONNECT, GOAL, PULL, LOOK, MERGE, AGAIN, COLLECT, PUSH };

struct mixed {
    struct peer *p;
    enum mixed_state state;
    uint32_t round;
    int64_t due_ms;
    struct client *client; /* NULL: none */
    struct goal_job *goal; /* owned: of this round */
    char since[64];        /* "": from the beginning */
    unsigned since_rows;
    json_t *again;     /* ids to delete there once more */
    unsigned rows_max; /* of a push: fewer while it refuses some */
    bool filling;
    int64_t fill_rowid, fill_end;
    struct offer *fill; /* owned: where the streams stood when filling began */
    size_t fills;
    struct collect_job *pushed; /* owned: on its way to it */
};

static struct original *of(const struct mixed *x)
{
    return x->p->original_state;
}

struct mixed *mixed_new(struct peer *p)
{
    struct mixed *x = mem_alloc(sizeof *x);
    x->p = p;
    x->rows_max = PUSH_ROWS;
    return x;
}

static void round_over(struct mixed *x)
{
    x->state = REST;
    x->round++; /* what is still on its way finds nobody waiting */
    if (x->goal != NULL) goal_free(x->goal);
    if (x->pushed != NULL) collect_free(x->pushed);
    json_decref(x->again);
    x->goal = NULL;
    x->pushed = NULL;
    x->again = NULL;
}

static void drop_client(struct mixed *x)
{
    struct client *client = x->client;
    x->client = NULL;
    if (client == NULL) return;
    client_close(client, true);
    client_free(client);
}

void mixed_free(struct mixed *x)
{
    mixed_stop(x->p);
    mem_free(x->fill);
    mem_free(x);
}

void mixed_stop(struct peer *p)
{
    round_over(p->original_state->mixed);
    drop_client(p->original_state->mixed);
}

void mixed_forget(struct peer *p)
{
    p->original_state->mixed->filling = false;
}

bool mixed_filling(const struct peer *p)
{
    return p->original && !p->original_state->filled;
}

void mixed_soon(struct peer *p)
{
    p->original_state->mixed->due_ms = 0;
}

/* Nodes that ask the same peer do not ask at the same moment: the first one to merge a row spares the others. */
static void rest(struct mixed *x)
{
    uint32_t ms = x->p->c->o.catchup_ms == 0 ? 5000 : x->p->c->o.catchup_ms;
    round_over(x);
    x->due_ms = clock_mono_ms() + ms * 3 / 4 + (int64_t)(random_u64() % (ms / 2 + 1));
}

static void fail(struct mixed *x, const char *what, const char *why)
{
    peer_error(x->p, "%s: %s", what, why);
    drop_client(x);
    rest(x);
}

static void fail_status(struct mixed *x, const char *what, const struct client_answer *a)
{
    char why[160];
    snprintf(why, sizeof why, "status %d: %.*s", a->status, (int)(a->body_len > 100 ? 100 : a->body_len), a->body);
    fail(x, what, why);
}

/* A job came back: does somebody wait for it? Its round is over when its peer is no original any more, too. */
static bool awaited(const struct mixed_job *j)
{
    const struct mixed *x = j->x;
    return x->round == j->round && !x->p->c->closing;
}

static int read_job(struct mixed *x, struct mixed_job *j,
                    int (*run)(struct read_item *, struct store_tx *, struct err *),
                    void (*done)(struct read_item *, int))
{
    j->x = x;
    j->round = x->round;
    j->item.read.run = run;
    j->item.read.done = done;
    int rc = readers_submit(x->p->c->readers, &j->item.read);
    if (rc == 0) x->p->c->busy++;
    return rc;
}

static int ask(struct mixed *x, const char *method, const char *path, struct buf *body, uint32_t timeout_ms,
               client_answer_cb cb)
{
    char node[24];
    size_t len = 0;
    snprintf(node, sizeof node, "node:%016llx", (unsigned long long)x->p->c->own.node);
    struct http_header headers[2] = { { "x-agent-id", node }, { "x-api-key", x->p->c->o.api_key } };
    struct client_request q = { .method = method,
                                .path = path,
                                .headers = headers,
                                .headers_count = x->p->c->o.api_key != NULL ? 2 : 1,
                                .timeout_ms = timeout_ms,
                                .cb = cb,
                                .data = x };
    if (body != NULL) {
        q.content_type = "application/json";
        q.body_owned = buf_take(body, &len);
        q.body_len = len;
    }
    return client_send(x->client, &q);
}

/* ---- rows for it ------------------------------------------------------------------------------------------------- */

static void collect(struct mixed *x);

static void fill_begin(struct mixed *x)
{
    of(x)->filled = false;
    x->filling = true;
    x->fill_rowid = 1;
    x->fill_end = x->goal->rows_end;
    mem_free(x->fill);
    x->fill = mem_alloc((x->goal->count + 1) * sizeof *x->fill);
    x->fills = x->goal->count;
    for (size_t i = 0; i < x->fills; i++) x->fill[i] = (struct offer){ x->goal->pos[i].stream, x->goal->pos[i].pos };
}

static void fill_end(struct mixed *x)
{
    struct original *o = of(x);
    x->filling = false;
    o->filled = true;
    original_offer_all(o, x->fill, x->fills);
    original_join(x->p);
}

/* What was collected is there now, or cannot be. */
static void collected(struct mixed *x, struct collect_job *j)
{
    bool more = j->more;
    if (j->fill) {
        x->fill_rowid = j->rowid;
        if (!more) fill_end(x);
        more = true; /* the log behind it */
    }
    for (size_t i = 0; i < j->moves; i++) original_offer_set(of(x), j->moved[i].stream, j->moved[i].pos);
    original_join(x->p);
    collect_free(j);
    if (more)
        collect(x);
    else
        rest(x);
}

/* Some rows were refused, all together or by name: fewer at a time, until the one is found; then it is passed over. */
static void push_refused(struct mixed *x, struct collect_job *j, const struct client_answer *a)
{
    char why[160];
    if (j->rows_count + j->gone_count > 1 && x->rows_max > 1) {
        x->rows_max = x->rows_max / 8 > 0 ? x->rows_max / 8 : 1;
        collect_free(j);
        collect(x);
        return;
    }
    snprintf(why, sizeof why, "not taken: status %d: %.*s", a->status, (int)(a->body_len > 100 ? 100 : a->body_len),
             a->body);
    original_refuse(x->p, j->id, why);
    collected(x, j);
}

static void push_answer(void *data, int error, const struct client_answer *a)
{
    struct mixed *x = data;
    struct collect_job *j = x->pushed;
    if (x->state != PUSH) return;
    if (error != 0) {
        fail(x, "offering rows", err_text(error));
        return;
    }
    bool refused = a->status == 400 || a->status == 413 || a->status == 422;
    if (a->status != 200 && !refused) {
        fail_status(x, "offering rows", a);
        return;
    }
    x->pushed = NULL;
    x->p->last_ok_ms = clock_mono_ms();
    json_t *doc = refused ? NULL : json_parse(a->body, a->body_len, NULL, 0, NULL);
    json_int_t good =
        json_integer_value(json_object_get(doc, "applied")) + json_integer_value(json_object_get(doc, "noop"));
    json_decref(doc);
    if (refused || good < (json_int_t)j->rows_count) {
        push_refused(x, j, a);
        return;
    }
    of(x)->pushed += j->rows_count;
    for (size_t i = 0; i < j->mark_count; i++) foreign_marks_add(&of(x)->marks, j->mark[i]);
    if (x->rows_max < PUSH_ROWS) x->rows_max = x->rows_max * 2 < PUSH_ROWS ? x->rows_max * 2 : PUSH_ROWS;
    collected(x, j);
}

static void push_body(const struct collect_job *j, struct buf *b)
{
    char sender[160];
    original_sender(sender, sizeof sender);
    buf_init(b, 4 * OP_BYTES_MAX);
    buf_puts(b, "{\"deletions\":[");
    buf_put(b, j->gone.data, j->gone.len);
    buf_puts(b, "],\"dry_run\":false,\"memories\":[");
    buf_put(b, j->rows.data, j->rows.len);
    buf_printf(b, "],\"sender_agent_id\":\"%s\"}", sender);
}

static void collect_done(struct read_item *item, int status)
{
    struct collect_job *j = container_of(item, struct collect_job, job.item.read);
    struct mixed *x = j->job.x;
    struct cluster *c = x->p->c;
    if (!awaited(&j->job)) {
        collect_free(j);
    } else if (status != 0) {
        collect_free(j);
        fail(x, "reading rows for it", item->err.msg);
    } else if (j->trimmed) { /* what it lacks has left the log: it gets all rows as they are */
        collect_free(j);
        fill_begin(x);
        collect(x);
    } else if (j->rows_count + j->gone_count == 0) {
        collected(x, j);
    } else {
        struct buf b;
        x->state = PUSH;
        x->pushed = j;
        push_body(j, &b);
        int rc = ask(x, "POST", "/api/v1/sync/push", &b, PUSH_TIMEOUT_MS, push_answer);
        if (rc != 0) fail(x, "offering rows", err_text(rc));
    }
    cluster_job_done(c);
}

/* Streams that go on in our log behind what it was offered. What goes live is not ours to send. */
static size_t goals_of(const struct mixed *x, struct stream_pos *goal)
{
    const struct original *o = of(x);
    size_t n = 0;
    for (size_t i = 0; i < x->goal->count; i++) {
        struct stream_pos s = x->goal->pos[i];
        if (s.stream == x->p->c->own.stream && s.pos > o->live_from) s.pos = o->live_from;
        if (original_offered(o, s.stream) < s.pos) goal[n++] = s;
    }
    return n;
}

static void collect(struct mixed *x)
{
    const struct original *o = of(x);
    x->state = COLLECT;
    if (!o->filled && !x->filling) fill_begin(x);
    struct collect_job *j = mem_alloc(sizeof *j);
    j->rows_max = x->rows_max;
    j->fill = x->filling;
    j->rowid = x->fill_rowid;
    j->rows_end = x->fill_end;
    j->now_us = clock_wall_us(NULL);
    j->goal = mem_alloc((x->goal->count + 1) * sizeof *j->goal);
    j->goals = j->fill ? 0 : goals_of(x, j->goal);
    j->offered = mem_alloc((o->offered_count + 1) * sizeof *j->offered);
    j->offered_count = o->offered_count;
    if (o->offered_count > 0) memcpy(j->offered, o->offered, o->offered_count * sizeof *j->offered);
    if (!j->fill && j->goals == 0) {
        collect_free(j);
        rest(x);
        return;
    }
    foreign_marks_copy(&j->marks, &o->marks);
    int rc = read_job(x, &j->job, collect_run, collect_done);
    if (rc == 0) return;
    collect_free(j);
    fail(x, "reading rows for it", err_text(rc));
}

/* ---- deletes it has not heard of, or undid ----------------------------------------------------------------------- */

static void again_answer(void *data, int error, const struct client_answer *a)
{
    struct mixed *x = data;
    if (x->state != AGAIN) return;
    if (error != 0) {
        fail(x, "deleting rows again", err_text(error));
    } else if (a->status != 200) {
        fail_status(x, "deleting rows again", a);
    } else {
        json_t *doc = json_parse(a->body, a->body_len, NULL, 0, NULL);
        json_int_t deleted = json_integer_value(json_object_get(doc, "deleted")); /* 0.6.0 does not */
        json_decref(doc);
        if (deleted > 0) of(x)->deleted_again += (uint64_t)deleted;
        collect(x);
    }
}

static void again(struct mixed *x)
{
    char sender[160];
    struct buf b;
    if (json_array_size(x->again) == 0) {
        collect(x);
        return;
    }
    x->state = AGAIN;
    original_sender(sender, sizeof sender);
    json_t *doc =
        json_pack("{s:b, s:[], s:O, s:s}", "dry_run", 0, "memories", "deletions", x->again, "sender_agent_id", sender);
    buf_init(&b, 4 * OP_BYTES_MAX);
    json_print(&b, doc);
    json_decref(doc);
    int rc = ask(x, "POST", "/api/v1/sync/push", &b, PUSH_TIMEOUT_MS, again_answer);
    if (rc != 0) fail(x, "deleting rows again", err_text(rc));
}

/* ---- its rows ---------------------------------------------------------------------------------------------------- */

static void pull(struct mixed *x);

/* The page is merged. Behind a full one comes the next; no moment may be cut by its end. */
static void page_done(struct mixed *x, const struct look_job *j)
{
    struct original *o = of(x);
    if (j->latest_us > o->cursor_us) {
        o->cursor_us = j->latest_us;
        o->changed = true;
    }
    if (j->total < x->since_rows) {
        again(x);
        return;
    }
    if (j->next != NULL && strcmp(j->next, x->since) > 0) {
        snprintf(x->since, sizeof x->since, "%s", j->next);
    } else if (x->since_rows < SINCE_ROWS_MAX) {
        x->since_rows = x->since_rows * 4 < SINCE_ROWS_MAX ? x->since_rows * 4 : SINCE_ROWS_MAX;
    } else {
        peer_error(x->p, "more than %d rows of one moment: those behind them cannot be read", SINCE_ROWS_MAX);
        again(x);
        return;
    }
    pull(x);
}

static void merge_next(struct merge_job *j);

static void merge_done(struct lane_item *item, int status)
{
    struct merge_job *j = container_of(item, struct merge_job, job.item.lane);
    struct mixed *x = j->job.x;
    struct cluster *c = x->p->c;
    bool wanted = awaited(&j->job);
    if (status == 0) {
        of(x)->pulled += j->applied;
        if (j->failed > 0) original_refuse_once(x->p, j->failed_id, j->why);
        j->at = j->end;
    }
    if (wanted && status == 0 && j->at < j->page->news_count) {
        merge_next(j);
    } else {
        if (wanted && status != 0)
            fail(x, "merging its rows", item->err.msg);
        else if (wanted)
            page_done(x, j->page);
        merge_free(j);
    }
    cluster_job_done(c);
}

static void merge_next(struct merge_job *j)
{
    struct mixed *x = j->job.x;
    j->end = j->page->news_count - j->at > MERGE_ROWS ? j->at + MERGE_ROWS : j->page->news_count;
    j->job.item.lane = (struct lane_item){ .run = merge_run, .done = merge_done, .class = LANE_UPKEEP };
    x->p->c->busy++;
    int rc = lane_submit(x->p->c->lane, &j->job.item.lane);
    if (rc == 0) return;
    x->p->c->busy--;
    fail(x, "merging its rows", err_text(rc));
    merge_free(j);
}

static void looked(struct mixed *x, struct look_job *j)
{
    struct original *o = of(x);
    for (size_t i = 0; i < j->marks; i++) foreign_marks_add(&o->marks, j->mark[i]);
    for (size_t i = 0; i < j->gone_count && json_array_size(x->again) < GONE_MAX; i++)
        json_array_append_new(x->again, json_string(j->gone[i]));
    for (size_t i = 0; i < j->refused_count; i++) original_refuse_once(x->p, j->refused[i].id, j->refused[i].why);
    if (j->news_count == 0) {
        page_done(x, j);
        look_free(j);
        return;
    }
    struct merge_job *m = mem_alloc(sizeof *m);
    x->state = MERGE;
    m->job.x = x;
    m->job.round = x->round;
    m->page = j;
    merge_next(m);
}

static void look_done(struct read_item *item, int status)
{
    struct look_job *j = container_of(item, struct look_job, job.item.read);
    struct mixed *x = j->job.x;
    struct cluster *c = x->p->c;
    bool wanted = awaited(&j->job);
    if (wanted && status == 0) {
        looked(x, j);
    } else {
        if (wanted) fail(x, "asking for its rows", item->err.msg);
        look_free(j);
    }
    cluster_job_done(c);
}

static void pull_answer(void *data, int error, const struct client_answer *a)
{
    struct mixed *x = data;
    if (x->state != PULL) return;
    if (error == E_TOO_LARGE && x->since_rows > 1) { /* the connection ended with it: fewer rows in the next round */
        x->since_rows = x->since_rows / 4 > 0 ? x->since_rows / 4 : 1;
    }
    if (error != 0) {
        fail(x, "asking for its rows", err_text(error));
        return;
    }
    if (a->status != 200) {
        fail_status(x, "asking for its rows", a);
        return;
    }
    x->p->last_ok_ms = clock_mono_ms();
    struct look_job *j = mem_alloc(sizeof *j);
    j->body = mem_strndup(a->body, a->body_len);
    j->body_len = a->body_len;
    x->state = LOOK;
    int rc = read_job(x, &j->job, look_run, look_done);
    if (rc == 0) return;
    look_free(j);
    fail(x, "asking for its rows", err_text(rc));
}

static void pull(struct mixed *x)
{
    char path[TARGET_MAX], since[sizeof x->since * 3];
    size_t n = 0;
    x->state = PULL;
    for (const char *s = x->since; *s != 0; s++)
        n += (size_t)snprintf(since + n, sizeof since - n, *s == '+' || *s == ' ' ? "%%%02X" : "%c", (unsigned char)*s);
    since[n] = 0;
    snprintf(path, sizeof path, "/api/v1/sync/since?limit=%u%s%s", x->since_rows, n > 0 ? "&since=" : "", since);
    int rc = ask(x, "GET", path, NULL, PULL_TIMEOUT_MS, pull_answer);
    if (rc != 0) fail(x, "asking for its rows", err_text(rc));
}

static void pull_first(struct mixed *x)
{
    const struct original *o = of(x);
    char since[TIME_TEXT];
    x->since[0] = 0;
    if (o->cursor_us > OVERLAP_US) {
        time_print(since, o->cursor_us - OVERLAP_US);
        snprintf(x->since, sizeof x->since, "%s", since);
    }
    if (x->since_rows == 0 || x->since_rows > SINCE_ROWS) x->since_rows = SINCE_ROWS;
    x->again = json_array();
    if (x->p->c->o.catchup_ms == 0)
        collect(x);
    else
        pull(x);
}

/* ---- a round begins ---------------------------------------------------------------------------------------------- */

static void goal_done(struct read_item *item, int status)
{
    struct goal_job *j = container_of(item, struct goal_job, job.item.read);
    struct mixed *x = j->job.x;
    struct cluster *c = x->p->c;
    bool wanted = awaited(&j->job);
    if (wanted && status == 0) {
        x->goal = j;
        pull_first(x);
    } else {
        goal_free(j);
        if (wanted) fail(x, "reading where we are", item->err.msg);
    }
    cluster_job_done(c);
}

static void goal(struct mixed *x)
{
    x->state = GOAL;
    struct goal_job *j = mem_alloc(sizeof *j);
    int rc = read_job(x, &j->job, goal_run, goal_done);
    if (rc == 0) return;
    goal_free(j);
    fail(x, "reading where we are", err_text(rc));
}

static void connected(void *data, int error)
{
    struct mixed *x = data;
    if (error != 0)
        fail(x, "connecting", client_why(x->client, error));
    else
        goal(x);
}

static void closed(void *data, int error)
{
    struct mixed *x = data;
    drop_client(x);
    if (x->state != REST) fail(x, "its connection ended", err_text(error));
}

void mixed_tick(struct peer *p, int64_t now_ms)
{
    static const struct client_options options = { .body_bytes_max = PAGE_BYTES,
                                                   .connect_timeout_ms = 1000,
                                                   .nodelay = true,
                                                   .keepalive = true,
                                                   .outstanding_max = 2 };
    struct mixed *x = p->original_state->mixed;
    if (!p->original || p->link == NULL) {
        if (x->state != REST) mixed_stop(p);
        return;
    }
    if (x->state != REST || now_ms < x->due_ms) return;
    if (x->client != NULL && client_open(x->client)) {
        goal(x);
        return;
    }
    drop_client(x);
    x->state = CONNECT;
    x->client = peer_client(p, &options);
    client_connect(x->client, &p->parsed, connected, closed, x);
}
