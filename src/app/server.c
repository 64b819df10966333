/* server.c - the only file that knows every part of a server. */
#include "app/server.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "cluster/cluster.h"
#include "http/http_door.h"
#include "net/http.h"
#include "net/tls.h"
#include "ops/engine.h"
#include "ops/node.h"
#include "store/sqlite/sqlite.h"

#define READERS_MIN 2
#define READERS_MAX 8
#define POOL_MORE 4 /* threads beside the readers': the lane's two, decoding, name look-ups */
#define READS_QUEUE 4096
#define CALLS_MAX 4096
#define CALLS_BYTES (64u << 20)
#define TICK_MS 100
#define PENDING_MS 1000 /* before the grace's end waiting writes are answered */
#define HANG_MS 5000    /* after it the process ends whatever is left */
#define BROKEN_MS 1000  /* so long clients and probes are told why nothing is written any more */
#define FILES_SPARE 64  /* descriptors beside the connections' */
#define TRIM_MS 5000    /* freed memory beyond TRIM_BYTES goes back to the system */
#define TRIM_BYTES (64u << 20)

#define RENEW_GRACE_MS 2000
#define RENEW_MIN_MS 60000 /* a life that began because the last one forked is not ended for a fork sooner */

/* How a life of this node differs from the one before. */
struct life {
    enum cluster_life how;
    uint64_t forked;
};

enum server_state { STARTING, SERVING, DRAINING, CLOSING };

/* Of the whole process: files that change meanwhile count from the next start. */
struct server_tls {
    struct tls_context *door;  /* NULL: plain */
    struct tls_context *peers; /* NULL: no peer is called by https */
};

struct server {
    const struct config *config;
    struct server_tls tls;
    uv_loop_t loop;
    enum server_state state;
    int exit_status;
    unsigned readers;
    struct node node;
    struct metrics *metrics;
    struct cluster_plan plan;
    struct cluster *cluster;
    struct engine *engine;
    struct http_door *door;
    struct http_server *http;
    bool http_closing, answered;
    uv_signal_t term, interrupt, hangup;
    uv_timer_t tick;
    int64_t broken_ms;             /* when the lane was found broken; 0: it is not */
    int64_t stopping_ms, grace_ms; /* when it was told to stop; how long that may take */
    int64_t began_ms;
    struct life life, next; /* the present one; of the next one, how it differs */
    uv_work_t trim;
    bool trimming;
    int64_t trimmed_ms;
};

/* ---- the end, part by part -------------------------------------------------------------------------------------- */
static void close_handles(void *data)
{
    struct server *s = data;
    uv_close((uv_handle_t *)&s->term, NULL);
    uv_close((uv_handle_t *)&s->interrupt, NULL);
    uv_close((uv_handle_t *)&s->hangup, NULL);
    uv_close((uv_handle_t *)&s->tick, NULL);
}

static void close_node(void *data)
{
    struct server *s = data;
    s->cluster = NULL;
    node_close(&s->node, close_handles, s);
}

static void close_cluster(void *data)
{
    struct server *s = data;
    engine_free(s->engine);
    s->engine = NULL;
    http_door_free(s->door);
    s->door = NULL;
    cluster_close(s->cluster, close_node, s);
}

static void close_engine(void *data)
{
    struct server *s = data;
    s->http = NULL;
    engine_drain(s->engine, close_cluster, s);
}

static void close_http(void *data)
{
    struct server *s = data;
    if (s->http_closing) return;
    s->http_closing = true;
    s->state = CLOSING;
    http_server_close(s->http, close_engine, s);
}

static void stop(struct server *s)
{
    CHECK(s->state < DRAINING);
    s->state = DRAINING;
    s->stopping_ms = clock_mono_ms();
    sqlite_server_note(s->node.store, "");
    http_server_drain(s->http, close_http, s);
}

static void fail_start(struct server *s, const struct err *err)
{
    log_error("serve", "%s", err->msg);
    fprintf(stderr, "Error: %s\n", err->msg);
    s->exit_status = 1;
    stop(s);
}

_Noreturn static void end_now(int status)
{
    fflush(NULL);
    _exit(status);
}

/* ---- signals and the tick --------------------------------------------------------------------------------------- */
static void on_signal(uv_signal_t *handle, int number)
{
    struct server *s = handle->data;
    const char *name = number == SIGTERM ? "SIGTERM" : number == SIGINT ? "SIGINT" : "SIGHUP";
    if (s->state >= DRAINING && s->next.how != CLUSTER_LIFE_SAME) {
        s->next = (struct life){ 0 }; /* this life is ending: no other follows */
        return;
    }
    if (s->state >= DRAINING) {
        log_warn("serve", "%s again: ending at once", name);
        end_now(1);
    }
    log_info("serve", "%s: finishing what is under way, %lld s at most", name, (long long)s->config->grace_secs);
    stop(s);
}

/* The grace is running: nothing may outlast it. */
static void watch_grace(struct server *s)
{
    int64_t past = clock_mono_ms() - s->stopping_ms, grace = s->grace_ms;
    int64_t pending = grace > 2 * PENDING_MS ? grace - PENDING_MS : grace / 2;
    if (past >= pending && !s->answered && s->cluster) {
        s->answered = true;
        cluster_stop(s->cluster);
    }
    if (past >= grace && s->http) close_http(s);
    if (past < grace + HANG_MS) return;
    log_error("serve", "still not stopped %d ms after the grace: ending", HANG_MS);
    end_now(1);
}

/* Something is wrong with this life's identity: an orderly end, and another one. */
static void on_renew(void *data, enum cluster_life how, uint64_t forked)
{
    static const char *const what[] = {
        [CLUSTER_LIFE_STREAM] = "a new stream begins, what is logged of the forked one is repeated in it",
        [CLUSTER_LIFE_NODE] = "the file takes a node id of its own",
        [CLUSTER_LIFE_EMPTY] = "this node was removed: its file is set aside, it comes back empty under a new id",
    };
    struct server *s = data;
    bool again = how == CLUSTER_LIFE_STREAM && s->life.how == how && clock_mono_ms() - s->began_ms < RENEW_MIN_MS;
    if (s->state >= DRAINING || again) return;
    log_error("serve", "this life of the node ends: %s", what[how]);
    s->next = (struct life){ how, forked };
    s->grace_ms = RENEW_GRACE_MS;
    stop(s);
}

/* Nothing that this node has may be told to others. */
static void on_failed(void *data, const struct err *why)
{
    struct server *s = data;
    struct err err = *why;
    char who[100];
    if (s->state >= DRAINING) return;
    if (why->code == E_BUSY && sqlite_writer_find(s->node.store, who, sizeof who))
        err_set(&err, E_BUSY, "%s: process %s writes", why->msg, who);
    fail_start(s, &err);
}

static void trim_work(uv_work_t *work)
{
    (void)work;
    mem_trim(TRIM_BYTES);
}

static void trim_done(uv_work_t *work, int cancelled)
{
    struct server *s = container_of(work, struct server, trim);
    (void)cancelled;
    s->trimming = false;
    s->trimmed_ms = clock_mono_ms();
}

/* A commit that failed may be half on the disk: at once. A file that is gone: orderly, after a while of refusals that
 * say so. */
static void watch_lane(struct server *s, const struct err *why)
{
    if (why->code == E_IO) {
        log_error("serve", "%s: what is on the disk is not known, ending; a restart reads it afresh", why->msg);
        end_now(1);
    }
    if (s->broken_ms == 0) {
        s->broken_ms = clock_mono_ms();
        s->exit_status = 1;
        log_error("serve", "%s: ending", why->msg);
    }
    if (s->state < DRAINING && clock_mono_ms() - s->broken_ms >= BROKEN_MS) stop(s);
}

static void on_tick(uv_timer_t *timer)
{
    struct server *s = timer->data;
    const struct err *broken = s->node.lane ? lane_broken(s->node.lane) : NULL;
    if (broken) watch_lane(s, broken);
    if (s->state >= DRAINING) watch_grace(s);
    if (s->state != SERVING || s->trimming || clock_mono_ms() - s->trimmed_ms < TRIM_MS) return;
    s->trimming = uv_queue_work(&s->loop, &s->trim, trim_work, trim_done) == 0;
}

/* ---- the start, part by part ------------------------------------------------------------------------------------ */
static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           strcmp(host, "[::1]") == 0;
}

static const char *scheme(const struct server *s)
{
    return s->tls.door != NULL ? "https" : "http";
}

/* For commands of this machine. */
static void note_address(struct server *s, uint16_t port)
{
    const char *host = s->config->host;
    char url[320];
    bool any4 = host[0] == 0 || strcmp(host, "0.0.0.0") == 0,
         any6 = strcmp(host, "::") == 0 || strcmp(host, "[::]") == 0;
    bool bare = strchr(host, ':') && host[0] != '[';
    snprintf(url, sizeof url, "%s://%s%.255s%s:%u", scheme(s), bare && !any6 ? "[" : "",
             any4   ? "127.0.0.1"
             : any6 ? "[::1]"
                    : host,
             bare && !any6 ? "]" : "", port);
    sqlite_server_note(s->node.store, url);
}

static void on_ready(void *data)
{
    struct server *s = data;
    const struct config *c = s->config;
    struct err err;
    uint16_t port;
    if (s->state != STARTING) return;
    if (http_server_listen(s->http, c->host, (uint16_t)c->port, &port, &err)) {
        fail_start(s, &err);
        return;
    }
    s->state = SERVING;
    node_upkeep(&s->node);
    if (c->api_key == NULL && c->mtls_allowlist == NULL && (s->tls.door != NULL || !is_loopback(c->host)))
        log_warn("serve", "no api_key and no mtls-allowlist is set: everybody who reaches %s may read, write and sync",
                 c->host);
    bool bare = strchr(c->host, ':') && c->host[0] != '[';
    log_info("serve", "ai-memory listening on %s://%s%s%s:%u", scheme(s), bare ? "[" : "", c->host, bare ? "]" : "",
             port);
    note_address(s, port);
}

static void on_commit(void *data, const struct lane_commit *commit)
{
    struct server *s = data;
    if (s->cluster) cluster_committed(s->cluster, commit);
}

/* Connections must leave descriptors for the database and the links to peers. */
static void door_limits(struct http_limits *ret)
{
    struct rlimit files;
    http_limits_default(ret);
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= ret->connections_max + FILES_SPARE) return;
    ret->connections_max = (uint32_t)(files.rlim_cur > 2 * FILES_SPARE ? files.rlim_cur - FILES_SPARE : FILES_SPARE);
    log_warn("serve", "%llu open files are allowed: %u connections at most", (unsigned long long)files.rlim_cur,
             ret->connections_max);
}

static void open_door(struct server *s)
{
    struct http_door_options o = {
        .engine = s->engine,
        .cluster = s->cluster,
        .lane = s->node.lane,
        .readers = s->node.readers,
        .metrics = s->metrics,
        .api_key = s->config->api_key,
        .version = AIM_VERSION,
    };
    struct http_handlers handlers;
    struct http_limits limits;
    s->door = http_door_new(&o);
    http_door_handlers(s->door, &handlers);
    door_limits(&limits);
    s->http = http_server_new(&s->loop, &limits, &handlers);
    if (s->tls.door != NULL) http_server_tls(s->http, s->tls.door);
    http_door_server(s->door, s->http);
}

static int open_node(struct server *s, struct err *err)
{
    const struct config *c = s->config;
    struct node_options o = {
        .path = c->db,
        .serving = true,
        .relaxed = strcasecmp(c->durability, "normal") == 0,
        .new_id = s->life.how == CLUSTER_LIFE_NODE,
        .readers = s->readers,
        .readers_queue = READS_QUEUE,
        .committed = on_commit,
        .data = s,
    };
    config_limits(c, &o.limits);
    return node_open(&s->node, &s->loop, &o, err);
}

static void tell_warnings(const json_t *warnings)
{
    size_t i;
    json_t *text;
    json_array_foreach (warnings, i, text) log_warn("serve", "%s", json_string_value(text));
}

static void open_cluster(struct server *s, const struct cluster_options *o)
{
    struct engine_limits limits = { .calls_max = CALLS_MAX,
                                    .bytes_max = CALLS_BYTES,
                                    .quorum_timeout_ms = (uint32_t)s->config->quorum_timeout_ms,
                                    .relaxed = o->relaxed };
    s->metrics = metrics_new(http_figures, http_figures_count);
    s->cluster = cluster_new(&s->loop, o, &s->plan, s->node.lane, s->node.readers, s->metrics);
    s->engine = engine_new(&s->loop, &s->node.env, s->node.store, s->node.lane, s->node.readers, s->cluster, &limits);
}

static void open_signals(struct server *s)
{
    CHECK(uv_signal_init(&s->loop, &s->term) == 0 && uv_signal_init(&s->loop, &s->interrupt) == 0 &&
          uv_signal_init(&s->loop, &s->hangup) == 0);
    CHECK(uv_timer_init(&s->loop, &s->tick) == 0);
    s->term.data = s->interrupt.data = s->hangup.data = s->tick.data = s;
    CHECK(uv_signal_start(&s->term, on_signal, SIGTERM) == 0);
    CHECK(uv_signal_start(&s->interrupt, on_signal, SIGINT) == 0);
    struct sigaction hangup; /* a terminal that is gone ends the server like Ctrl-C, but not under nohup */
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        CHECK(uv_signal_start(&s->hangup, on_signal, SIGHUP) == 0);
    CHECK(uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS) == 0);
}

static bool life_held(void *data, uint64_t stream)
{
    const struct server *s = data;
    return sqlite_life_held(s->node.store, stream);
}

static int open_all(struct server *s, struct err *err)
{
    const struct config *c = s->config;
    struct cluster_options o = {
        .writes = (unsigned)c->quorum_writes,
        .peers = c->quorum_peers.item,
        .peers_count = c->quorum_peers.count,
        .timeout_ms = (uint32_t)c->quorum_timeout_ms,
        .relaxed = strcasecmp(c->durability, "normal") == 0,
        .alive = life_held,
        .alive_data = s,
        .renew = on_renew,
        .renew_data = s,
        .failed = on_failed,
        .life = s->life.how,
        .forked = s->life.forked,
        .log_ops_max = (uint64_t)c->log_ops_max,
        .scrub_secs = (uint32_t)c->scrub_secs,
        .log_max_secs = (uint32_t)c->log_max_secs,
        .gone_keep_secs = (uint32_t)c->tombstone_secs,
        .catchup_ms = (uint32_t)c->catchup_secs * 1000,
        .name = c->cluster_name,
        .api_key = c->api_key,
        .tls = s->tls.peers,
    };
    int rc = cluster_plan(&o, &s->plan, err);
    if (rc) return rc;
    tell_warnings(s->plan.warnings);
    rc = open_node(s, err);
    if (rc) {
        cluster_plan_release(&s->plan);
        return rc;
    }
    open_cluster(s, &o);
    open_door(s);
    open_signals(s);
    return 0;
}

/* What must be settled before the first thread and the first connection. Returns how many readers there are to be. */
static unsigned prepare_process(const struct config *config)
{
    char threads[16];
    struct rlimit files;
    struct http_limits limits;
    unsigned cores = uv_available_parallelism();
    unsigned readers = cores < READERS_MIN ? READERS_MIN : cores > READERS_MAX ? READERS_MAX : cores;
    enum log_level level = LOG_INFO;
    if (config->log) (void)log_level_of(config->log, &level);
    log_start(stdout, level);
    signal(SIGPIPE, SIG_IGN);
    snprintf(threads, sizeof(threads), "%u", readers + POOL_MORE);
    setenv("UV_THREADPOOL_SIZE", threads, 1);
    http_limits_default(&limits);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < limits.connections_max + FILES_SPARE) {
        rlim_t want = limits.connections_max + FILES_SPARE;
        files.rlim_cur = files.rlim_max < want ? files.rlim_max : want;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    return readers;
}

/* The file of a removed node: under another name, with what belongs to it. Its log goes first: without its file it is
 * nothing. */
static int set_aside(const char *db, struct err *err)
{
    static const char *const parts[] = { "-wal", "-shm", "" };
    char from[PATH_MAX], to[PATH_MAX];
    long long now = (long long)(clock_wall_us(NULL) / 1000);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (snprintf(from, sizeof from, "%s%s", db, parts[i]) >= (int)sizeof from ||
            snprintf(to, sizeof to, "%s.removed-%lld%s", db, now, parts[i]) >= (int)sizeof to)
            return err_set(err, E_INVALID, "the name of the file is too long to set it aside");
        if (rename(from, to) == 0) {
            log_warn("serve", "%s is %s now", from, to);
        } else if (errno != ENOENT) {
            return err_set(err, E_IO, "%s cannot be set aside: %s", from, strerror(errno));
        }
    }
    return 0;
}

/* One life, from opening the file to its closing. */
static void run_life(struct server *s)
{
    struct err err = { 0 };
    CHECK(uv_loop_init(&s->loop) == 0);
    s->began_ms = clock_mono_ms();
    s->grace_ms = s->config->grace_secs * 1000;
    int rc = s->life.how == CLUSTER_LIFE_EMPTY ? set_aside(s->config->db, &err) : 0;
    if (rc == 0) rc = open_all(s, &err);
    if (rc != 0) {
        log_error("serve", "%s", err.msg);
        fprintf(stderr, "Error: %s\n", err.msg);
        CHECK(uv_loop_close(&s->loop) == 0);
        s->exit_status = 1;
        return;
    }
    if (cluster_start(s->cluster, on_ready, s, &err)) fail_start(s, &err);
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    metrics_free(s->metrics);
    cluster_plan_release(&s->plan);
    CHECK(uv_loop_close(&s->loop) == 0);
}

/* ---- TLS -------------------------------------------------------------------------------------------------------- */
static bool calls_by_tls(const struct config *c)
{
    for (unsigned i = 0; i < c->quorum_peers.count; i++)
        if (strncasecmp(c->quorum_peers.item[i], "https://", 8) == 0) return true;
    return c->client_cert != NULL || c->ca_cert != NULL; /* files that are named are looked at */
}

static int open_tls(const struct config *c, struct server_tls *ret, struct err *err)
{
    struct tls_files door = { .cert = c->tls_cert, .key = c->tls_key, .allowlist = c->mtls_allowlist },
                     peers = { .cert = c->client_cert, .key = c->client_key, .ca = c->ca_cert };
    int rc = door.cert != NULL ? tls_context_server(&door, &ret->door, err) : 0;
    if (rc == 0 && calls_by_tls(c)) rc = tls_context_client(&peers, &ret->peers, err);
    return rc;
}

static void close_tls(struct server_tls *tls)
{
    tls_context_free(tls->door);
    tls_context_free(tls->peers);
}

int server_run(const struct config *config)
{
    static struct server server;
    struct server *s = &server;
    struct server_tls tls = { 0 };
    struct err err = { 0 };
    unsigned readers = prepare_process(config);
    if (config->file) log_info("serve", "settings from %s", config->file);
    if (open_tls(config, &tls, &err) != 0) {
        fprintf(stderr, "Error: %s\n", err.msg);
        close_tls(&tls);
        return 1;
    }
    do {
        struct life next = s->next;
        memset(s, 0, sizeof(*s));
        s->config = config;
        s->tls = tls;
        s->readers = readers;
        s->life = next;
        run_life(s);
    } while (s->exit_status == 0 && s->next.how != CLUSTER_LIFE_SAME);
    close_tls(&tls);
    if (s->exit_status == 0) log_info("serve", "stopped");
    return s->exit_status;
}
