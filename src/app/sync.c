/* sync.c - asks a running server, and prints what it says for people or, with --json, as it came. */
#include "app/sync.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "app/config.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/json.h"
#include "net/client.h"
#include "net/tls.h"
#include "store/sqlite/sqlite.h"

#define STATUS_MS 10000
#define REPAIR_MS 120000 /* a server gives up on a peer after a minute */
#define ANSWER_MAX (64u << 20)
#define OUT_MAX (16u << 20)
#define URL_MAX 512
#define COLUMNS 7
#define CELL 48

const struct cli_option sync_options[] = {
    { .name = "url", .doc = "Server to ask, http[s]://host:port; without it the one that has the database open" },
    { .name = "ca-cert", .doc = "Whom to trust by https, PEM", .env = "AI_MEMORY_QUORUM_CA_CERT" },
    { .name = "client-cert",
      .doc = "Certificate to show by https, PEM",
      .env = "AI_MEMORY_QUORUM_CLIENT_CERT",
      .requires = "client-key" },
    { .name = "client-key", .doc = "Its key, PEM", .env = "AI_MEMORY_QUORUM_CLIENT_KEY", .requires = "client-cert" },
    { 0 },
};

/* ---- one question ----------------------------------------------------------------------------------------------- */
struct question {
    struct client *client;
    struct client_request request;
    char url[URL_MAX];
    struct err err;
    json_t *answer; /* NULL: see err */
};

static void on_answer(void *data, int error, const struct client_answer *a)
{
    struct question *q = data;
    if (error != 0)
        err_set(&q->err, error, "%s does not answer: %s", q->url, client_why(q->client, error));
    else if (a->status != 200)
        err_set(&q->err, E_DENIED, "%s answered with %d: %.*s", q->url, a->status,
                (int)(a->body_len < 300 ? a->body_len : 300), a->body);
    else
        q->answer = json_parse(a->body, a->body_len, NULL, 0, &q->err);
    client_close(q->client, false);
}

static void on_connect(void *data, int error)
{
    struct question *q = data;
    int rc = error != 0 ? error : client_send(q->client, &q->request);
    if (rc == 0) return;
    err_set(&q->err, rc, "%s does not answer: %s", q->url, client_why(q->client, rc));
    client_close(q->client, true);
}

static int ask(struct question *q, const char *api_key, const struct tls_files *files)
{
    struct client_options options = { .body_bytes_max = ANSWER_MAX, .connect_timeout_ms = 2000, .outstanding_max = 1 };
    struct http_header key = { "x-api-key", api_key };
    struct client_url url;
    uv_loop_t loop;
    int rc = client_url_parse(q->url, &url, &q->err);
    if (rc == 0 && url.tls) rc = tls_context_client(files, &options.tls, &q->err);
    if (rc != 0) return rc;
    if (uv_loop_init(&loop) != 0) return err_set(&q->err, E_IO, "no event loop");
    q->request.headers = &key;
    q->request.headers_count = api_key != NULL;
    q->request.cb = on_answer;
    q->request.data = q;
    q->client = client_new(&loop, &options);
    client_connect(q->client, &url, on_connect, NULL, q);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    client_free(q->client);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
    tls_context_free(options.tls);
    return q->answer != NULL ? 0 : q->err.code;
}

/* ---- printing --------------------------------------------------------------------------------------------------- */
static int64_t number(const json_t *o, const char *name)
{
    return json_integer_value(json_object_get(o, name));
}

static const char *text(const json_t *o, const char *name, const char *otherwise)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s ? s : otherwise;
}

static bool is(const json_t *o, const char *name)
{
    return json_is_true(json_object_get(o, name));
}

/* "0.2 s", "5 min" ago; "never" when it is null. */
static void put_ago(const json_t *ms, char out[CELL])
{
    int64_t n = json_integer_value(ms);
    if (!json_is_integer(ms))
        snprintf(out, CELL, "never");
    else if (n < 120000)
        snprintf(out, CELL, "%" PRId64 ".%" PRId64 " s", n / 1000, n % 1000 / 100);
    else
        snprintf(out, CELL, "%" PRId64 " min", n / 60000);
}

/* "-": not known. */
static void put_count(const json_t *n, char out[CELL])
{
    if (json_is_integer(n))
        snprintf(out, CELL, "%" PRId64, (int64_t)json_integer_value(n));
    else
        snprintf(out, CELL, "-");
}

/* A table whose columns are as wide as what is in them; the last one is free. */
struct table {
    char cell[64][COLUMNS][CELL];
    const char *last[64];
    unsigned rows, columns;
};

static void put_table(struct buf *b, const struct table *t)
{
    for (unsigned r = 0; r < t->rows; r++) {
        buf_puts(b, "  ");
        for (unsigned c = 0; c < t->columns; c++) {
            size_t width = 0;
            for (unsigned i = 0; i < t->rows; i++)
                if (strlen(t->cell[i][c]) > width) width = strlen(t->cell[i][c]);
            buf_printf(b, "%-*s  ", (int)width, t->cell[r][c]);
        }
        buf_printf(b, "%s\n", t->last[r] ? t->last[r] : "");
    }
}

static unsigned add_row(struct table *t, const char *last)
{
    t->last[t->rows] = last;
    return t->rows++;
}

static void put_peers(struct buf *b, const json_t *peers)
{
    static const char *const head[COLUMNS] = { "PEER", "STATE", "LAG", "IT LACKS", "WE LACK", "LAST SUCCESS", "RTT" };
    struct table *t = mem_alloc(sizeof *t);
    json_t *p;
    size_t i;
    t->columns = COLUMNS;
    for (unsigned c = 0; c < COLUMNS; c++) snprintf(t->cell[0][c], CELL, "%s", head[c]);
    add_row(t, "LAST ERROR");
    json_array_foreach (peers, i, p) {
        if (t->rows == sizeof t->last / sizeof t->last[0]) break;
        unsigned r = add_row(t, text(p, "last_error", "-"));
        const json_t *exchange = json_object_get(p, "exchange");
        snprintf(t->cell[r][0], CELL, "%s", text(p, "url", ""));
        snprintf(t->cell[r][1], CELL, "%s%s", text(p, "state", ""), is(p, "original") ? " (original)" : "");
        snprintf(t->cell[r][2], CELL, "%" PRId64, number(p, "lag"));
        put_count(json_object_get(exchange ? exchange : p, "backlog"), t->cell[r][3]);
        put_count(json_object_get(p, "behind"), t->cell[r][4]);
        put_ago(json_object_get(p, "last_success_ms_ago"), t->cell[r][5]);
        snprintf(t->cell[r][6], CELL, "%.1f ms", (double)number(p, "rtt_us") / 1e3);
    }
    put_table(b, t);
    mem_free(t);
}

static void put_members(struct buf *b, const json_t *members)
{
    struct table *t = mem_alloc(sizeof *t);
    json_t *m;
    size_t i;
    static const char *const head[] = { "MEMBER", "STATE", "LAST HEARD" };
    t->columns = 3;
    for (unsigned c = 0; c < 3; c++) snprintf(t->cell[0][c], CELL, "%s", head[c]);
    add_row(t, "URL");
    json_array_foreach (members, i, m) {
        if (t->rows == sizeof t->last / sizeof t->last[0]) break;
        unsigned r = add_row(t, text(m, "url", "-"));
        snprintf(t->cell[r][0], CELL, "%s", text(m, "node", ""));
        snprintf(t->cell[r][1], CELL, "%s%s", text(m, "state", ""), is(m, "replaced") ? ", replaced" : "");
        put_ago(json_object_get(m, "heard_ms_ago"), t->cell[r][2]);
    }
    put_table(b, t);
    mem_free(t);
}

static void put_texts(struct buf *b, const char *what, const json_t *list)
{
    json_t *one;
    size_t i;
    if (json_array_size(list) == 0) {
        buf_printf(b, "%s: none\n", what);
        return;
    }
    buf_printf(b, "%s:\n", what);
    json_array_foreach (list, i, one) buf_printf(b, "  ! %s\n", json_string_value(one));
}

static void put_streams(struct buf *b, const json_t *o)
{
    json_t *v;
    size_t i;
    int64_t ended = 0, ops = 0;
    const json_t *vector = json_object_get(o, "vector");
    json_array_foreach (vector, i, v) {
        ended += is(v, "ended");
        ops += number(v, "pos");
    }
    buf_printf(b, "streams:   %zu, %" PRId64 " of them ended; %" PRId64 " ops in all; behind in %" PRId64 "\n",
               json_array_size(vector), ended, ops, number(o, "behind"));
    buf_printf(b,
               "ops:       %" PRId64 " held, %" PRId64 " from a far future, %" PRId64 " edits replaced unseen, %" PRId64
               " rows refused\n",
               number(o, "held_ops"), number(o, "far_future_ops"), number(o, "unseen_edits"),
               number(o, "refused_rows"));
}

static void put_healing(struct buf *b, const json_t *o)
{
    const json_t *scrub = json_object_get(o, "scrub"), *snapshot = json_object_get(o, "snapshot");
    char ago[CELL];
    put_ago(json_object_get(scrub, "last_ms_ago"), ago);
    buf_printf(b, "scrubs:    %" PRId64 ", the last one: %s%s; %" PRId64 " rows differed, %" PRId64 " of them here%s\n",
               number(scrub, "rounds"), ago, strcmp(ago, "never") == 0 ? "" : " ago", number(scrub, "divergent_rows"),
               number(scrub, "divergent_here"), is(scrub, "running") ? "; one is running" : "");
    if (json_is_object(snapshot))
        buf_printf(b, "snapshot:  merging from %s, %" PRId64 " pages, %" PRId64 " KiB in %" PRId64 " ms (%s)\n",
                   text(snapshot, "from", ""), number(snapshot, "pages"), number(snapshot, "bytes") / 1024,
                   number(snapshot, "ms"), text(snapshot, "why", ""));
    else
        buf_printf(b, "snapshots: %" PRId64 " merged%s\n", number(o, "snapshots"),
                   is(o, "snapshot_wanted") ? "; one is wanted" : "");
}

static void put_status(struct buf *b, const json_t *o, const char *url)
{
    buf_printf(b, "node:      %s at %s\n", text(o, "node", ""), url);
    buf_printf(b, "stream:    %s, op %" PRId64 "\n", text(o, "stream", ""), number(o, "pos"));
    if (number(o, "writes") > 0)
        buf_printf(b, "quorum:    W = %" PRId64 " of N = %" PRId64 "; %" PRId64 " writes wait for theirs\n",
                   number(o, "writes"), number(o, "nodes"), number(o, "waiting"));
    else
        buf_puts(b, "quorum:    off\n");
    put_streams(b, o);
    put_healing(b, o);
    if (json_array_size(json_object_get(o, "peers")) > 0) put_peers(b, json_object_get(o, "peers"));
    if (json_array_size(json_object_get(o, "members")) > 0) put_members(b, json_object_get(o, "members"));
    if (json_array_size(json_object_get(o, "warnings")) > 0) put_texts(b, "warnings", json_object_get(o, "warnings"));
    put_texts(b, "alarms", json_object_get(o, "alarms"));
}

static void put_repair(struct buf *b, const json_t *o, const char *url)
{
    const json_t *peers = json_object_get(o, "peers");
    size_t i, compared = 0;
    json_t *p;
    json_array_foreach (peers, i, p) compared += is(p, "compared");
    if (!is(o, "compared"))
        buf_printf(b, "%s compared nothing: %s\n", url, text(o, "error", ""));
    else
        buf_printf(b, "%s compared its rows with %zu of %zu peers in %" PRId64 ".%" PRId64 " s\n", url, compared,
                   json_array_size(peers), number(o, "took_ms") / 1000, number(o, "took_ms") % 1000 / 100);
    json_array_foreach (peers, i, p)
        if (!is(p, "compared")) buf_printf(b, "  %s: %s\n", text(p, "url", ""), text(p, "error", ""));
    buf_printf(b, "%" PRId64 " rows were wrong here%s\n", number(o, "divergent_here"),
               is(o, "snapshot")                 ? ": a snapshot of a peer will be merged"
               : number(o, "divergent_here") > 0 ? " and were mended"
                                                 : "");
    if (number(o, "divergent_there") > 0)
        buf_printf(b, "%" PRId64 " rows are wrong at peers: repair there, too\n", number(o, "divergent_there"));
}

/* ---- the commands ----------------------------------------------------------------------------------------------- */
static int print_out(struct buf *b)
{
    bool fine = !b->failed && fwrite(buf_str(b), 1, b->len, stdout) == b->len && fflush(stdout) == 0;
    buf_release(b);
    return fine ? 0 : 1;
}

static int run(const struct cli_call *call, const struct config *c, struct question *q,
               void (*put)(struct buf *, const json_t *, const char *))
{
    const char *url = cli_value(call, "url");
    bool shows = cli_set(call, "client-cert");
    struct tls_files files = {
        .cert = shows ? cli_value(call, "client-cert") : c->client_cert,
        .key = shows ? cli_value(call, "client-key") : c->client_key,
        .ca = cli_set(call, "ca-cert") ? cli_value(call, "ca-cert") : c->ca_cert,
    };
    struct buf b;
    int rc = 0;
    if (url != NULL)
        snprintf(q->url, sizeof q->url, "%.500s", url);
    else
        rc = sqlite_server_find(call->db, q->url, sizeof q->url, &q->err);
    if (rc == 0) rc = ask(q, c->api_key, &files);
    if (rc != 0) {
        fprintf(stderr, "Error: %s\n", q->err.msg[0] ? q->err.msg : err_text(rc));
        if (rc == E_NOT_FOUND && url == NULL)
            fprintf(stderr, "Start it with `ai-memory serve`, or name one with --url\n");
        return 1;
    }
    buf_init(&b, OUT_MAX);
    if (call->json) {
        json_print(&b, q->answer);
        buf_putc(&b, '\n');
    } else {
        put(&b, q->answer, q->url);
    }
    return print_out(&b);
}

int sync_status(const struct cli_call *call, void *data)
{
    struct question q = { .request = { .method = "GET", .path = "/api/v1/sync/status", .timeout_ms = STATUS_MS } };
    int status = run(call, data, &q, put_status);
    json_decref(q.answer);
    return status;
}

int sync_repair(const struct cli_call *call, void *data)
{
    struct question q = { .request = { .method = "POST", .path = "/api/v1/sync/repair", .timeout_ms = REPAIR_MS } };
    int status = run(call, data, &q, put_repair);
    if (status == 0 && !is(q.answer, "compared")) status = 1;
    json_decref(q.answer);
    return status;
}
