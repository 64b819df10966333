/* scrub.c - the second line against bugs and lost rows: first what this node shows of its own records (scrub_shown.c),
 * then its rows compared with all peers' that are there, each side in one read transaction. What is wrong here is
 * fetched from a peer and merged, and is an alarm; what is wrong there is told, and mended by that peer's own scrub.
 * What counts as wrong: scrub_judge.c.
 *
 *   SHOWN ─▶ DIAL ─▶ SUMS (ours by a reader, theirs asked for) ─equal─▶ end
 *                        └differ─▶ ROWS of those buckets ─explained─▶ end
 *                                    └▶ PAUSE ─▶ ROWS again ─still─▶ FIX: records fetched, of many a snapshot ─▶ end
 *
 * A peer that fails leaves the round; the others go on. Each step waits for all its parts. */
#include "cluster/scrub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/log.h"
#include "cluster/internal.h"
#include "repl/hlc.h"
#include "store/change_snapshot.h"

#define PATH "/api/v1/sync/scrub"
#define ANSWER_MS 60000
#define SILENT_MS 5000    /* who looks through its rows says 102 meanwhile */
#define AGE_MS 60000      /* rows younger than that are left to the logs */
#define QUICK_AGE_MS 1000 /* asked for by hand */
#define AGAIN_MS 3000
#define BUCKETS_MAX 64 /* whose rows are looked at in a round */
#define FIX_MAX 32     /* buckets mended by their records; more: by a snapshot */
#define TELL_MAX 20    /* rows named in the log */
#define RECORDS_MAX (16u << 20)
#define ROWS_BYTES_MAX (64u << 20)
#define BUCKET_BYTES (SCRUB_BUCKETS / 8)

enum step { SHOWN, DIAL, SUMS, ROWS, PAUSE, FIX };

struct side {
    struct scrub *s;
    struct peer *p;
    struct client *client; /* NULL: left the round */
    bool asked;            /* a part of this step */
    bool wanted;           /* FIX: records of it */
    struct arena arena;    /* of its last answer */
    struct wire_message m;
    char why[120]; /* why it left */
};

struct scrub {
    struct cluster *c;
    enum step step;
    unsigned look;    /* ROWS: 1, 2 */
    unsigned waiting; /* parts of the step under way */
    bool ended;       /* waits for its parts only */
    char why[120];    /* it ended for */
    uint64_t before;
    int64_t start_ms, due_ms; /* due: PAUSE */
    struct side side[REPL_PEERS_MAX];
    unsigned sides;
    bool all;                   /* every peer is among them */
    struct arena mine, keys[2]; /* read here; keys of findings, by look */
    struct wire_sums *sums;
    struct wire_rows rows;
    uint8_t buckets[BUCKET_BYTES];
    struct findings found;
    size_t here, there; /* of these wrong here, at peers */
    size_t fixes;       /* pages merged */
    bool snapshot;
    struct serve *asker[SCRUB_ASKERS_MAX];
    unsigned askers;
};

static void next_step(struct scrub *s);
static void dial(struct scrub *s);

static bool in_buckets(const uint8_t *buckets, unsigned bucket)
{
    return buckets[bucket / 8] >> bucket % 8 & 1;
}

static void add_bucket(uint8_t *buckets, uint64_t bucket)
{
    buckets[bucket / 8] |= (uint8_t)(1u << bucket % 8);
}

/* ---- looking at our rows (pool) ------------------------------------------------------------------------------- */

struct scan_job {
    struct read_item item;
    struct cluster *c;
    struct scrub *s;     /* NULL: for a peer */
    struct serve *serve; /* for a peer */
    struct arena arena;  /* for a peer; else the scrub's */
    struct arena *a;
    enum { SCAN_SUMS, SCAN_ROWS, SCAN_RECORDS } what;
    uint64_t before;
    uint8_t buckets[BUCKET_BYTES];
    struct wire_sums *sums;
    struct wire_rows rows;
    size_t rows_cap;
    bool full;
    struct buf records;
};

static void sum_cb(void *data, const struct scrub_row *r)
{
    struct scan_job *j = data;
    if (r->dead || r->stamp.ver >= j->before) return;
    uint64_t part[5] = { r->family, hash64(r->key, strlen(r->key), 0), r->stamp.ver, r->stamp.stream, r->sum };
    j->sums->sum[r->bucket] ^= hash64(part, sizeof part, 0);
}

static void row_cb(void *data, const struct scrub_row *r)
{
    struct scan_job *j = data;
    if (j->full || !in_buckets(j->buckets, r->bucket)) return;
    if (j->rows.rows == j->rows_cap) {
        size_t cap = j->rows_cap == 0 ? 256 : j->rows_cap * 2;
        struct scrub_row *grown = cap > WIRE_ROWS_MAX ? NULL : arena_alloc(j->a, cap * sizeof *grown);
        j->full = grown == NULL;
        if (j->full) return;
        if (j->rows.rows > 0) memcpy(grown, j->rows.row, j->rows.rows * sizeof *grown);
        j->rows.row = grown;
        j->rows_cap = cap;
    }
    struct scrub_row *row = &j->rows.row[j->rows.rows];
    *row = *r;
    row->key = arena_strdup(j->a, r->key);
    j->full = row->key == NULL;
    j->rows.rows += row->key != NULL;
}

static int scan_run(struct read_item *item, struct store_tx *tx, struct err *err)
{
    struct scan_job *j = container_of(item, struct scan_job, item);
    struct stream_pos *v;
    size_t count;
    int rc = tx->v->streams(tx, j->a, &v, &count);
    if (rc == 0 && j->what == SCAN_SUMS) {
        j->sums = arena_alloc(j->a, sizeof *j->sums);
        if (j->sums == NULL) return E_TOO_LARGE;
        j->sums->before = j->before;
        rc = change_scrub(tx, sum_cb, j);
    } else if (rc == 0 && j->what == SCAN_ROWS) {
        j->rows.v = v;
        j->rows.count = count;
        rc = change_scrub(tx, row_cb, j);
        if (rc == 0 && j->full) rc = err_set(err, E_TOO_LARGE, "too many rows in those buckets");
    } else if (rc == 0) {
        rc = change_scrub_records(tx, j->buckets, &j->records);
    }
    return rc;
}

static void scan_done(struct read_item *item, int status);

static int scan_submit(struct scan_job *j)
{
    j->item.run = scan_run;
    j->item.done = scan_done;
    buf_init(&j->records, RECORDS_MAX);
    int rc = readers_submit(j->c->readers, &j->item);
    if (rc == 0) j->c->busy++;
    return rc;
}

/* ---- one round ------------------------------------------------------------------------------------------------ */

static void tell_result(struct scrub *s)
{
    json_t *peers = json_array();
    size_t len = 0;
    for (unsigned i = 0; i < s->sides; i++) {
        const struct side *d = &s->side[i];
        json_array_append_new(peers, json_pack("{s:s, s:b, s:o}", "url", d->p->url, "compared", d->why[0] == 0, "error",
                                               d->why[0] == 0 ? json_null() : json_string(d->why)));
    }
    json_t *doc =
        json_pack("{s:b, s:o, s:o, s:I, s:I, s:I, s:b, s:I}", "compared", s->why[0] == 0, "error",
                  s->why[0] == 0 ? json_null() : json_string(s->why), "peers", peers, "divergent_here",
                  (json_int_t)s->here, "divergent_there", (json_int_t)s->there, "repairs", (json_int_t)s->fixes,
                  "snapshot", s->snapshot, "took_ms", (json_int_t)(clock_mono_ms() - s->start_ms));
    for (unsigned i = 0; i < s->askers; i++) {
        struct cluster_request *r = serve_end(s->asker[i]);
        struct buf b;
        if (r == NULL) continue;
        buf_init(&b, 1u << 20);
        json_print(&b, doc);
        char *body = buf_take(&b, &len);
        r->reply(r, 200, body, len);
    }
    json_decref(doc);
}

static void leave(struct side *d, const char *why)
{
    struct client *client = d->client;
    if (client == NULL) return;
    d->client = NULL;
    if (d->asked) d->s->waiting--; /* its answer never comes */
    d->asked = false;
    if (why != NULL) {
        snprintf(d->why, sizeof d->why, "%s", why);
        if (!d->s->c->closing) peer_error(d->p, "scrub: %s", why);
    }
    client_close(client, true);
    client_free(client);
}

/* Ends the round, once its parts are back. */
static void scrub_end(struct scrub *s, const char *why)
{
    struct cluster *c = s->c;
    if (!s->ended && why != NULL) snprintf(s->why, sizeof s->why, "%s", why);
    s->ended = true;
    for (unsigned i = 0; i < s->sides; i++) leave(&s->side[i], NULL);
    if (s->waiting > 0) return;
    if (s->why[0] == 0) {
        c->scrubs++;
        c->scrubbed_ms = clock_mono_ms();
    }
    snprintf(c->scrub_error, sizeof c->scrub_error, "%s", s->why);
    c->scrub = NULL;
    tell_result(s);
    mem_free(s->found.item);
    for (unsigned i = 0; i < s->sides; i++) arena_release(&s->side[i].arena);
    for (unsigned i = 0; i < 2; i++) arena_release(&s->keys[i]);
    arena_release(&s->mine);
    mem_free(s);
}

static void part_begin(struct scrub *s)
{
    s->waiting++;
}

/* A part of a step came, or its side left. */
static void part_end(struct scrub *s)
{
    CHECK(s->waiting > 0);
    s->waiting--;
    if (s->ended)
        scrub_end(s, NULL);
    else if (s->waiting == 0)
        next_step(s);
}

/* ---- asking the peers ----------------------------------------------------------------------------------------- */

static int take_answer(struct side *d, const struct client_answer *a, struct err *err)
{
    static const enum wire_kind kind[] = { [SUMS] = WIRE_SUMS, [ROWS] = WIRE_ROWS, [FIX] = WIRE_PAGE };
    if (a->status != 200) return err_set(err, E_PROTOCOL, "answered with %d", a->status);
    arena_release(&d->arena);
    int rc = wire_read(a->body, a->body_len, &d->arena, &d->m, err);
    if (rc != 0) return rc;
    if (strcmp(d->m.head.name, d->s->c->o.name) != 0) return err_set(err, E_DENIED, "another cluster's name");
    return d->m.head.kind == kind[d->s->step] ? 0 : err_set(err, E_PROTOCOL, "answer of another kind");
}

static int fix_submit(struct side *d, const struct client_answer *a);

static void answer_cb(void *data, int error, const struct client_answer *a)
{
    struct side *d = data;
    struct scrub *s = d->s;
    struct err err = { 0 };
    d->asked = false;
    if (error == 0) error = take_answer(d, a, &err);
    if (error == 0 && s->step == FIX && (error = fix_submit(d, a)) == 0) return; /* the part ends with the merge */
    if (error != 0) leave(d, err.msg[0] != 0 ? err.msg : err_text(error));
    part_end(s);
}

static void ask(struct side *d, const char *path)
{
    struct http_header key = { "x-api-key", d->s->c->o.api_key };
    struct client_request q = { .method = "GET", .path = path, .timeout_ms = ANSWER_MS, .cb = answer_cb, .data = d };
    q.headers = &key;
    q.headers_count = key.value != NULL;
    int rc = client_send(d->client, &q);
    if (rc == 0) {
        d->asked = true;
        part_begin(d->s);
    } else {
        leave(d, err_text(rc));
    }
}

/* A process that is stopped takes what is sent and never answers. May end the round. */
static void drop_silent(struct scrub *s)
{
    if (s->step == DIAL || s->waiting == 0) return;
    part_begin(s);
    for (unsigned i = 0; i < s->sides; i++)
        if (s->side[i].asked && client_silent_ms(s->side[i].client) > SILENT_MS) leave(&s->side[i], "it fell silent");
    part_end(s);
}

static void ask_all(struct scrub *s)
{
    char path[256 + 2 * BUCKET_BYTES];
    int n = snprintf(path, sizeof path, PATH "?before=%llu", (unsigned long long)s->before);
    if (s->step != SUMS) {
        n += snprintf(path + n, sizeof path - (size_t)n, "%s&buckets=", s->step == FIX ? "&records=1" : "");
        for (size_t i = 0; i < sizeof s->buckets; i++)
            n += snprintf(path + n, sizeof path - (size_t)n, "%02x", s->buckets[i]);
    }
    for (unsigned i = 0; i < s->sides; i++)
        if (s->side[i].client != NULL && (s->step != FIX || s->side[i].wanted)) ask(&s->side[i], path);
}

static int look_here(struct scrub *s)
{
    struct scan_job *j = mem_alloc(sizeof *j);
    arena_release(&s->mine);
    j->c = s->c;
    j->s = s;
    j->a = &s->mine;
    j->before = s->before;
    j->what = s->step == SUMS ? SCAN_SUMS : SCAN_ROWS;
    memcpy(j->buckets, s->buckets, sizeof j->buckets);
    int rc = scan_submit(j);
    if (rc == 0)
        part_begin(s);
    else
        mem_free(j);
    return rc;
}

/* Starts a step: ours and theirs. */
static void take_step(struct scrub *s, enum step step)
{
    s->step = step;
    s->look += step == ROWS;
    part_begin(s); /* no step ends while it begins */
    int rc = step == FIX ? 0 : look_here(s);
    if (rc == 0) ask_all(s);
    if (rc != 0) {
        s->waiting--;
        scrub_end(s, err_text(rc));
    } else {
        part_end(s);
    }
}

/* ---- comparing ------------------------------------------------------------------------------------------------ */

static bool sums_differ(struct scrub *s)
{
    unsigned differing = 0;
    memset(s->buckets, 0, sizeof s->buckets);
    for (unsigned b = 0; b < SCRUB_BUCKETS && differing < BUCKETS_MAX; b++) {
        bool same = true;
        for (unsigned i = 0; i < s->sides; i++)
            if (s->side[i].client != NULL) same = same && s->side[i].m.sums->sum[b] == s->sums->sum[b];
        if (same) continue;
        add_bucket(s->buckets, b);
        differing++;
    }
    return differing > 0;
}

static bool stream_left(const void *data, uint64_t stream, uint64_t seq)
{
    return members_left(data, stream, seq);
}

static void compare_rows(struct scrub *s)
{
    struct scrub_sides all = { .side = { &s->rows }, .count = s->sides + 1, .left = stream_left, .data = s->c };
    struct findings now;
    all.all = s->all;
    for (unsigned i = 0; i < s->sides; i++) {
        if (s->side[i].client != NULL) all.side[i + 1] = &s->side[i].m.rows;
        all.all = all.all && s->side[i].client != NULL;
    }
    scrub_judge(&all, &s->keys[s->look - 1], &now);
    if (s->look == 2) scrub_seen_twice(&now, &s->found);
    mem_free(s->found.item);
    s->found = now;
}

/* Says what was found; the buckets become those to be mended here. How many these are. */
static unsigned alarm_raise(struct scrub *s)
{
    unsigned buckets = 0;
    size_t here = 0;
    memset(s->buckets, 0, sizeof s->buckets);
    for (size_t i = 0; i < s->found.count; i++) {
        const struct finding *f = &s->found.item[i];
        uint64_t bucket = hash64(f->key, strlen(f->key), f->family) % SCRUB_BUCKETS;
        if (i < TELL_MAX)
            log_error("cluster", "scrub: row '%.128s' (%u) differs among nodes that all had it: %s%s", f->key,
                      (unsigned)f->family, f->from != 0 ? "wrong here, mended by " : "wrong at a peer",
                      f->from != 0 ? s->side[f->from - 1].p->url : "");
        if (f->from == 0) continue;
        here++;
        s->side[f->from - 1].wanted = true;
        buckets += !in_buckets(s->buckets, (unsigned)bucket);
        add_bucket(s->buckets, bucket);
    }
    s->here += here;
    s->there = s->found.count - here;
    s->c->divergent += s->found.count;
    s->c->divergent_here += here;
    if (s->found.count > TELL_MAX) log_error("cluster", "scrub: and %zu rows more", s->found.count - TELL_MAX);
    return buckets;
}

static void mend(struct scrub *s)
{
    unsigned buckets = alarm_raise(s);
    if (buckets > FIX_MAX) {
        for (unsigned i = 0; i < s->sides && !s->snapshot; i++) {
            if (!s->side[i].wanted) continue;
            s->snapshot = true;
            s->c->snapshot_lost = true;
            snapshot_want(s->c, s->side[i].p, "many rows are wrong here");
        }
        scrub_end(s, NULL);
    } else if (buckets > 0) {
        take_step(s, FIX);
    } else {
        scrub_end(s, NULL);
    }
}

static void next_step(struct scrub *s)
{
    unsigned there = 0;
    for (unsigned i = 0; i < s->sides; i++) there += s->side[i].client != NULL;
    if (there == 0 && s->step != FIX && s->step != SHOWN) {
        scrub_end(s, "no peer answers");
        return;
    }
    switch (s->step) {
    case SHOWN: dial(s); return;
    case DIAL: take_step(s, SUMS); return;
    case SUMS:
        if (sums_differ(s))
            take_step(s, ROWS);
        else
            scrub_end(s, NULL);
        return;
    case ROWS:
        compare_rows(s);
        if (s->found.count > 0 && s->look == 1) {
            s->step = PAUSE;
            s->due_ms = clock_mono_ms() + AGAIN_MS;
        } else {
            mend(s);
        }
        return;
    case PAUSE: WRONG("a pause has no parts");
    case FIX: scrub_end(s, NULL); return;
    }
}

/* ---- merging a peer's records --------------------------------------------------------------------------------- */

struct fix_job {
    struct lane_item item;
    struct cluster *c;
    struct scrub *s;
    char *body; /* owned */
    size_t len;
    const char **force; /* borrowed from the round */
    size_t force_count;
};

static int fix_run(struct lane_item *item, struct change *ch, struct err *err)
{
    struct fix_job *j = container_of(item, struct fix_job, item);
    struct page_span span = { .repair = true, .force = j->force, .force_count = j->force_count };
    struct wire_message m;
    struct arena arena;
    arena_init(&arena, 1u << 20);
    int rc = wire_read(j->body, j->len, &arena, &m, err);
    if (rc == 0) rc = change_snapshot_page(ch, m.page.records, m.page.len, &span);
    arena_release(&arena);
    return rc;
}

static void fix_done(struct lane_item *item, int status)
{
    struct fix_job *j = container_of(item, struct fix_job, item);
    struct cluster *c = j->c;
    j->s->fixes += status == 0;
    c->repairs += status == 0;
    if (status != 0) snprintf(j->s->why, sizeof j->s->why, "a repair: %.100s", err_text(status));
    part_end(j->s);
    mem_free(j->force);
    mem_free(j->body);
    mem_free(j);
    cluster_job_done(c);
}

static int fix_submit(struct side *d, const struct client_answer *a)
{
    struct scrub *s = d->s;
    struct fix_job *j = mem_alloc(sizeof *j);
    j->c = s->c;
    j->s = s;
    j->body = mem_strndup(a->body, a->body_len);
    j->len = a->body_len;
    j->force = mem_alloc((s->found.count + 1) * sizeof *j->force);
    for (size_t i = 0; i < s->found.count; i++)
        if (s->found.item[i].tie && &s->side[s->found.item[i].from - 1] == d)
            j->force[j->force_count++] = s->found.item[i].key;
    j->item.run = fix_run;
    j->item.done = fix_done;
    j->item.class = LANE_REPLICATION;
    j->item.bytes = j->len;
    int rc = lane_submit(s->c->lane, &j->item);
    if (rc == 0) {
        s->c->busy++;
        return 0;
    }
    mem_free(j->force);
    mem_free(j->body);
    mem_free(j);
    return rc;
}

/* ---- when ----------------------------------------------------------------------------------------------------- */

static void connected(void *data, int error)
{
    struct side *d = data;
    d->asked = false;
    if (error != 0) leave(d, client_why(d->client, error));
    part_end(d->s);
}

static void closed(void *data, int error)
{
    leave(data, err_text(error)); /* an answer that was waited for came before, as an error */
}

static void dial(struct scrub *s)
{
    static const struct client_options options = { .body_bytes_max = 2 * WIRE_BODY_MAX,
                                                   .connect_timeout_ms = 1000,
                                                   .nodelay = true,
                                                   .keepalive = true,
                                                   .outstanding_max = 1 };
    struct cluster *c = s->c;
    s->step = DIAL;
    s->all = true;
    part_begin(s);
    for (unsigned i = 0; i < c->peers; i++) {
        struct repl_peer_view v;
        repl_peer_view(c->core, i, &v);
        if (v.original || v.state == REPL_SELF || v.state == REPL_TWIN) continue;
        if (v.state != REPL_UP && v.state != REPL_SUSPECT) {
            s->all = false;
            continue;
        }
        struct side *d = &s->side[s->sides++];
        *d = (struct side){ .s = s, .p = &c->peer[i], .asked = true };
        arena_init(&d->arena, ROWS_BYTES_MAX);
        d->client = peer_client(d->p, &options);
        part_begin(s);
        client_connect(d->client, &d->p->parsed, connected, closed, d);
    }
    part_end(s);
}

static void shown_looked(void *data, const char *why, size_t mended, size_t slices)
{
    struct scrub *s = data;
    s->here += mended;
    s->fixes += slices;
    if (why != NULL) snprintf(s->why, sizeof s->why, "what is shown: %.100s", why);
    part_end(s);
}

static void scrub_start(struct cluster *c, bool quick)
{
    struct scrub *s = mem_alloc(sizeof *s);
    s->c = c;
    s->start_ms = clock_mono_ms();
    s->before = hlc_of_us(clock_wall_us(NULL) - (quick ? QUICK_AGE_MS : AGE_MS) * INT64_C(1000));
    arena_init(&s->mine, ROWS_BYTES_MAX);
    for (unsigned i = 0; i < 2; i++) arena_init(&s->keys[i], ROWS_BYTES_MAX);
    memcpy(s->asker, c->scrub_asker, sizeof s->asker);
    s->askers = c->scrub_askers;
    c->scrub_askers = 0;
    c->scrub = s;
    part_begin(s);
    int rc = shown_start(c, shown_looked, s);
    if (rc != 0) shown_looked(s, err_text(rc), 0, 0);
}

/* People's clients do not expect an answer before the answer. */
static void say_nothing(struct cluster_request *r)
{
    (void)r;
}

void scrub_ask(struct cluster *c, struct cluster_request *r)
{
    r->progress = say_nothing;
    if (c->scrub_askers == SCRUB_ASKERS_MAX)
        reply_error(r, 503, "too many wait for a repair");
    else
        c->scrub_asker[c->scrub_askers++] = serve_new(c, r);
}

void scrub_poll(struct cluster *c)
{
    int64_t now = clock_mono_ms(), every = (int64_t)c->o.scrub_secs * 1000;
    struct scrub *s = c->scrub;
    if (c->closing || c->core == NULL) return;
    if (c->scrub_due_ms == 0) c->scrub_due_ms = every == 0 ? INT64_MAX : now + every; /* the first one is a turn away */
    if (s != NULL && s->step == PAUSE && !s->ended && now >= s->due_ms)
        take_step(s, ROWS);
    else if (s != NULL)
        drop_silent(s);
    if (c->scrub != NULL || c->fetch != NULL || (now < c->scrub_due_ms && c->scrub_askers == 0)) return;
    if (now >= c->scrub_due_ms) c->scrub_due_ms = now + every;
    scrub_start(c, c->scrub_askers > 0);
}

void scrub_stop(struct cluster *c)
{
    for (unsigned i = 0; i < c->scrub_askers; i++) {
        struct cluster_request *r = serve_end(c->scrub_asker[i]);
        if (r != NULL) reply_error(r, 503, "this node ends");
    }
    c->scrub_askers = 0;
    if (c->scrub != NULL) scrub_end(c->scrub, "this node ends");
}

/* ---- for peers ------------------------------------------------------------------------------------------------ */

static void answer_peer(struct scan_job *j, int status)
{
    struct cluster_request *r = serve_end(j->serve);
    struct wire_head head;
    struct buf b;
    if (r == NULL) return;
    if (status != 0) {
        reply_error(r, err_status(status), j->item.err.msg[0] ? j->item.err.msg : err_text(status));
        return;
    }
    cluster_head(j->c, &head);
    buf_init(&b, 2 * WIRE_BODY_MAX);
    if (j->what == SCAN_SUMS)
        wire_put_sums(&b, &head, j->sums);
    else if (j->what == SCAN_ROWS)
        wire_put_rows(&b, &head, &j->rows);
    else
        wire_put_page(&b, &head, &(struct wire_page){ { PAGE_END, NULL }, j->records.data, j->records.len });
    reply_message(r, &b);
}

static void scan_done(struct read_item *item, int status)
{
    struct scan_job *j = container_of(item, struct scan_job, item);
    struct cluster *c = j->c;
    struct scrub *s = j->s;
    if (s == NULL) {
        answer_peer(j, status);
        arena_release(&j->arena);
    } else {
        s->sums = j->sums;
        s->rows = j->rows;
        if (status != 0) scrub_end(s, j->item.err.msg[0] ? j->item.err.msg : err_text(status));
        part_end(s);
    }
    buf_release(&j->records);
    mem_free(j);
    cluster_job_done(c);
}

static int read_buckets(const char *query, uint8_t *buckets)
{
    const char *hex = query == NULL ? NULL : strstr(query, "&buckets=");
    if (hex == NULL) return E_NOT_FOUND;
    hex += strlen("&buckets=");
    for (size_t i = 0; i < BUCKET_BYTES; i++) {
        char two[3] = { hex[2 * i], hex[2 * i] == 0 ? '\0' : hex[2 * i + 1], 0 };
        char *end = NULL;
        buckets[i] = (uint8_t)strtoul(two, &end, 16);
        if (end != two + 2) return E_INVALID;
    }
    return 0;
}

void scrub_serve(struct cluster *c, struct cluster_request *r)
{
    struct scan_job *j = mem_alloc(sizeof *j);
    uint64_t records = 0;
    int found = read_buckets(r->query, j->buckets);
    int rc = r->query != NULL && query_number(r->query, "before", &j->before) && found != E_INVALID ? 0 : E_INVALID;
    j->c = c;
    arena_init(&j->arena, ROWS_BYTES_MAX);
    j->a = &j->arena;
    if (found == 0) j->what = query_number(r->query, "records", &records) && records == 1 ? SCAN_RECORDS : SCAN_ROWS;
    if (rc == 0) {
        j->serve = serve_new(c, r);
        rc = scan_submit(j);
        if (rc == 0) return;
        r = serve_end(j->serve);
    }
    reply_error(r, err_status(rc), rc == E_INVALID ? "before (a number) and buckets (hex digits)" : err_text(rc));
    mem_free(j);
}
