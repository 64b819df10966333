/* node.c - server processes and the mesh they form. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "files.h"
#include "net/client.h"
#include "node.h"
#include "proxy.h"

#define READY_MS 20000
#define BODY_MAX ((size_t)256 << 20)

int child_main(char **argv)
{
    struct rlimit core = { 0, 0 };
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == 1) return 127; /* the parent was faster */
    setrlimit(RLIMIT_CORE, &core);
    const char *preload = getenv("CHAOS_PRELOAD");
    if (preload) setenv("LD_PRELOAD", preload, 1);
    unsetenv("CHAOS_PRELOAD");
    execv(argv[0], argv);
    fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    return 127;
}

/* --- one node --- */

void node_env(struct node *n, const char *fmt, ...)
{
    va_list ap;
    CHECK(n->envs < NODE_ENV);
    va_start(ap, fmt);
    vsnprintf(n->env[n->envs++], WORLD_PATH, fmt, ap);
    va_end(ap);
}

static void exit_cb(uv_process_t *p, int64_t status, int signal)
{
    struct node *n = p->data;
    n->running = n->paused = false;
    n->exit_status = status;
    n->term_signal = signal;
    uv_close((uv_handle_t *)p, NULL);
}

/* Peers of node n as URLs, comma between. */
static void peer_list(const struct node *n, char *out, size_t size)
{
    const struct mesh *m = n->mesh;
    size_t len = 0;
    out[0] = 0;
    if (n->alone) return;
    for (int i = 0; i < MESH_NODES; i++) {
        if (i == n->index) continue;
        uint16_t port = m->link[n->index][i] ? proxy_port(m->link[n->index][i]) : m->node[i].port;
        len += (size_t)snprintf(out + len, size - len, "%shttp://127.0.0.1:%u", len ? "," : "", port);
    }
}

static unsigned build_env(struct node *n, char **env, unsigned max, char text[3][WORLD_PATH + 40])
{
    static const char *const kept[] = { "PATH=",          "LANG=",   "LC_",        "TZ=",      "ASAN_OPTIONS=",
                                        "UBSAN_OPTIONS=", "TMPDIR=", "CHAOS_STUB", "RUST_LOG=" };
    unsigned count = 0;
    for (char **e = environ; *e && count < max - NODE_ENV - 4; e++) {
        for (size_t k = 0; k < ARRAY_LEN(kept); k++)
            if (strncmp(*e, kept[k], strlen(kept[k])) == 0) env[count++] = *e;
    }
    snprintf(text[0], sizeof text[0], "HOME=%s", n->mesh->dir);
    snprintf(text[1], sizeof text[1], "AI_MEMORY_NO_CONFIG=1");
    env[count++] = text[0];
    env[count++] = text[1];
    if (n->preload[0]) {
        snprintf(text[2], sizeof text[2], "CHAOS_PRELOAD=%s", n->preload);
        env[count++] = text[2];
    }
    for (unsigned i = 0; i < n->envs; i++) env[count++] = n->env[i];
    env[count] = NULL;
    return count;
}

int node_start(struct node *n, struct err *err)
{
    struct mesh *m = n->mesh;
    char port[8], writes[12], timeout[12], peers[256], text[3][WORLD_PATH + 40], *env[64];
    const char *args[32 + NODE_ARGS];
    unsigned a = 0;
    CHECK(!n->running);
    snprintf(port, sizeof port, "%u", n->port);
    snprintf(writes, sizeof writes, "%u", m->o.writes);
    snprintf(timeout, sizeof timeout, "%u", m->o.timeout_ms);
    peer_list(n, peers, sizeof peers);
    const char *fixed[] = {
        m->w->self, "child", m->o.bin, "--db", n->db, "serve", "--host", "127.0.0.1", "--port", port
    };
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) args[a++] = fixed[i];
    if (peers[0]) {
        const char *quorum[] = { "--quorum-writes", writes, "--quorum-timeout-ms", timeout, "--quorum-peers", peers };
        for (size_t i = 0; i < ARRAY_LEN(quorum); i++) args[a++] = quorum[i];
    }
    for (unsigned i = 0; i < NODE_ARGS && m->o.extra[i]; i++) args[a++] = m->o.extra[i];
    args[a] = NULL;
    build_env(n, env, ARRAY_LEN(env), text);
    int log = open(n->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (log < 0) return err_set(err, E_IO, "cannot write %s: %s", n->log, strerror(errno));
    uv_stdio_container_t io[3] = { { .flags = UV_IGNORE },
                                   { .flags = UV_INHERIT_FD, .data.fd = log },
                                   { .flags = UV_INHERIT_FD, .data.fd = log } };
    uv_process_options_t o = { .exit_cb = exit_cb,
                               .file = m->w->self,
                               .args = (char **)(uintptr_t)args,
                               .env = env,
                               .stdio_count = 3,
                               .stdio = io };
    memset(&n->process, 0, sizeof n->process);
    n->process.data = n;
    int rc = uv_spawn(&m->w->loop, &n->process, &o);
    close(log);
    if (rc != 0) {
        uv_close((uv_handle_t *)&n->process, NULL);
        return err_set(err, E_IO, "cannot start node %d: %s", n->index, uv_strerror(rc));
    }
    n->running = true;
    n->lives++;
    return 0;
}

void node_signal(struct node *n, int signal)
{
    if (n->running) uv_process_kill(&n->process, signal);
}

static bool is_gone(void *data)
{
    return !((struct node *)data)->running;
}

int node_gone(struct node *n, int64_t ms, struct err *err)
{
    return world_wait(n->mesh->w, ms, is_gone, n, err, "the end of node %d", n->index);
}

static char process_state(int pid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    const char *end = n > 0 ? strrchr(text, ')') : NULL;
    return end && end[1] ? end[2] : 0;
}

static bool is_stopped(void *data)
{
    return process_state(((struct node *)data)->process.pid) == 'T';
}

int node_pause(struct node *n, struct err *err)
{
    node_signal(n, SIGSTOP);
    n->paused = true;
    return world_wait(n->mesh->w, 2000, is_stopped, n, err, "node %d in state T", n->index);
}

void node_resume(struct node *n)
{
    node_signal(n, SIGCONT);
    n->paused = false;
}

/* The last line a node wrote says best why it is not there. */
static void last_words(const struct node *n, char *out, size_t size)
{
    struct buf b;
    buf_init(&b, FILE_BYTES_MAX);
    out[0] = 0;
    if (file_read(n->log, &b, NULL) == 0 && b.len > 0) {
        size_t end = b.len;
        while (end > 0 && b.data[end - 1] == '\n') end--;
        size_t start = end;
        while (start > 0 && b.data[start - 1] != '\n') start--;
        snprintf(out, size, "%.*s", (int)(end - start < 300 ? end - start : 300), b.data + start);
    }
    buf_release(&b);
}

int node_ready(struct node *n, int64_t ms, struct err *err)
{
    int64_t until = clock_mono_ms() + ms;
    for (;;) {
        struct reply r = { 0 };
        struct err why = { 0 };
        int rc = node_ask(n, "GET", "/api/v1/health", NULL, 1000, &r, &why);
        int status = r.status;
        reply_release(&r);
        if (rc == 0 && status == 200) return 0;
        if (rc == E_CANCELLED) return err_set(err, rc, "%s", why.msg);
        char words[400];
        if (!n->running || clock_mono_ms() > until) {
            last_words(n, words, sizeof words);
            if (n->running)
                return err_set(err, E_TIMEOUT, "node %d is not ready after %lld ms: %s", n->index, (long long)ms,
                               words);
            return err_set(err, E_UNREACHABLE, "node %d ended at its start (exit %lld, signal %d): %s", n->index,
                           (long long)n->exit_status, n->term_signal, words);
        }
        rc = world_pass(n->mesh->w, 5, err);
        if (rc != 0) return rc;
    }
}

bool node_maps(const struct node *n, const char *library)
{
    char path[64];
    struct buf b;
    snprintf(path, sizeof path, "/proc/%d/maps", n->process.pid);
    buf_init(&b, (size_t)4 << 20);
    bool found = n->running && file_read(path, &b, NULL) == 0 && strstr(buf_str(&b), library) != NULL;
    buf_release(&b);
    return found;
}

static const char *const companions[] = { "", "-wal", "-shm", "-journal", ".lock", "-lock" };

void node_wipe(struct node *n)
{
    char path[WORLD_PATH + 16];
    for (size_t i = 0; i < ARRAY_LEN(companions); i++) {
        snprintf(path, sizeof path, "%s%s", n->db, companions[i]);
        unlink(path);
    }
}

int node_copy_db(const char *from, const char *to, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < 4 && rc == 0; i++) {
        char a[WORLD_PATH + 16], b[WORLD_PATH + 16];
        if (i == 2) continue; /* -shm is rebuilt */
        snprintf(a, sizeof a, "%s%s", from, companions[i]);
        snprintf(b, sizeof b, "%s%s", to, companions[i]);
        if (file_exists(a)) rc = file_copy(a, b, err);
    }
    return rc;
}

/* --- asking --- */

struct ask {
    struct reply *reply;
    bool connected, done;
    int error;
};

static void connect_cb(void *data, int error)
{
    struct ask *a = data;
    a->connected = true;
    a->error = error;
}

static void answer_cb(void *data, int error, const struct client_answer *answer)
{
    struct ask *a = data;
    a->done = true;
    a->error = error;
    if (error != 0) return;
    a->reply->status = answer->status;
    a->reply->len = answer->body_len;
    a->reply->body = mem_strndup(answer->body ? answer->body : "", answer->body_len);
}

static bool ask_connected(void *data)
{
    return ((struct ask *)data)->connected;
}
static bool ask_done(void *data)
{
    return ((struct ask *)data)->done;
}

static void forget_client(struct node *n)
{
    if (n->client == NULL) return;
    client_close(n->client, true);
    client_free(n->client);
    n->client = NULL;
}

static int connect_client(struct node *n, struct ask *a, int64_t ms, struct err *err)
{
    struct client_options o = {
        .body_bytes_max = BODY_MAX, .connect_timeout_ms = (uint32_t)ms, .nodelay = true, .outstanding_max = 1
    };
    struct client_url url;
    char text[64];
    forget_client(n);
    snprintf(text, sizeof text, "http://127.0.0.1:%u", n->port);
    int rc = client_url_parse(text, &url, err);
    if (rc != 0) return rc;
    n->client = client_new(&n->mesh->w->loop, &o);
    client_connect(n->client, &url, connect_cb, NULL, a);
    rc = world_wait(n->mesh->w, ms + 500, ask_connected, a, err, "a connection to node %d", n->index);
    if (rc == 0 && a->error != 0) rc = err_set(err, a->error, "node %d: %s", n->index, err_text(a->error));
    return rc;
}

int node_ask(struct node *n, const char *method, const char *path, const json_t *body, int64_t ms, struct reply *ret,
             struct err *err)
{
    struct ask a = { .reply = ret };
    struct buf b;
    int rc = 0;
    memset(ret, 0, sizeof *ret);
    if (n->client == NULL || !client_open(n->client)) rc = connect_client(n, &a, ms, err);
    if (rc != 0) {
        forget_client(n);
        return rc;
    }
    buf_init(&b, BODY_MAX);
    if (body) json_print_ordered(&b, body);
    int64_t begun = clock_mono_us();
    struct client_request q = { .method = method,
                                .path = path,
                                .content_type = body ? "application/json" : NULL,
                                .body = b.data,
                                .body_len = b.len,
                                .timeout_ms = (uint32_t)ms,
                                .cb = answer_cb,
                                .data = &a };
    rc = client_send(n->client, &q);
    if (rc != 0)
        err_set(err, rc, "node %d: %s %s: %s", n->index, method, path, err_text(rc));
    else
        rc = world_wait(n->mesh->w, ms + 500, ask_done, &a, err, "%s %s of node %d", method, path, n->index);
    buf_release(&b);
    if (rc == 0 && a.error != 0)
        rc = err_set(err, a.error, "node %d: %s %s: %s", n->index, method, path, err_text(a.error));
    if (rc != 0) {
        forget_client(n); /* its callbacks point at this frame */
        return rc;
    }
    ret->took_us = clock_mono_us() - begun;
    ret->json = ret->len ? json_parse(ret->body, ret->len, NULL, 0, NULL) : NULL;
    return 0;
}

void reply_release(struct reply *r)
{
    mem_free(r->body);
    json_decref(r->json);
    memset(r, 0, sizeof *r);
}

/* --- the mesh --- */

int mesh_init(struct mesh *m, struct world *w, const struct mesh_options *o, const char *dir, struct err *err)
{
    memset(m, 0, sizeof *m);
    m->w = w;
    m->o = *o;
    snprintf(m->dir, sizeof m->dir, "%s", dir);
    int rc = dir_make(dir, err);
    if (rc == 0 && access(o->bin, X_OK) != 0)
        rc = err_set(err, E_NOT_FOUND, "no program to test: %s: %s", o->bin, strerror(errno));
    for (int i = 0; i < MESH_NODES && rc == 0; i++) {
        struct node *n = &m->node[i];
        n->mesh = m;
        n->index = i;
        snprintf(n->db, sizeof n->db, "%.900s/n%d.db", dir, i);
        snprintf(n->log, sizeof n->log, "%.900s/n%d.log", dir, i);
        rc = port_take(o->port[i], &n->port, err);
    }
    for (int i = 0; i < MESH_NODES && o->links; i++)
        for (int j = 0; j < MESH_NODES && rc == 0; j++)
            if (i != j) rc = proxy_new(w, m->node[j].port, &m->link[i][j], err);
    return rc;
}

int mesh_start(struct mesh *m, struct err *err)
{
    int rc = 0;
    unsigned ms = m->o.ready_ms ? m->o.ready_ms : READY_MS;
    for (int i = 0; i < MESH_NODES && rc == 0; i++) rc = node_start(&m->node[i], err);
    for (int i = 0; i < MESH_NODES && rc == 0; i++) rc = node_ready(&m->node[i], ms, err);
    if (rc == 0) rc = mesh_linked(m, ms, err);
    return rc;
}

/* 1: all links to living nodes are up (or the program does not tell); 0: not yet; negative: no answer. */
static int node_linked(struct node *n, struct err *err)
{
    struct reply r = { 0 };
    const json_t *peer;
    size_t i;
    unsigned up = 0, alive = 0;
    int rc = node_ask(n, "GET", "/api/v1/sync/status", NULL, 2000, &r, err);
    const json_t *peers = json_object_get(r.json, "peers");
    bool silent = rc == 0 && (r.status != 200 || !json_is_array(peers));
    json_array_foreach (peers, i, peer) {
        const char *state = json_string_value(json_object_get(peer, "state"));
        if (state && strcmp(state, "up") == 0) up++;
    }
    reply_release(&r);
    for (int k = 0; k < MESH_NODES; k++) alive += k != n->index && n->mesh->node[k].running;
    if (rc != 0) return rc;
    return silent || up >= alive;
}

int mesh_linked(struct mesh *m, int64_t ms, struct err *err)
{
    int64_t until = clock_mono_ms() + ms;
    for (int i = 0; i < MESH_NODES;) {
        struct node *n = &m->node[i];
        int linked = n->running ? node_linked(n, err) : 1;
        if (linked < 0) return linked;
        if (linked == 1) {
            i++;
            continue;
        }
        if (clock_mono_ms() > until)
            return err_set(err, E_TIMEOUT, "links of node %d not up within %lld ms", i, (long long)ms);
        int rc = world_pass(m->w, 5, err);
        if (rc != 0) return rc;
    }
    return 0;
}

unsigned mesh_alive(const struct mesh *m)
{
    unsigned set = 0;
    for (int i = 0; i < MESH_NODES; i++)
        if (m->node[i].running) set |= 1u << i;
    return set;
}

static bool all_gone(void *data)
{
    return mesh_alive(data) == 0;
}

void mesh_close(struct mesh *m)
{
    m->w->closing++;
    for (int i = 0; i < MESH_NODES; i++) {
        struct node *n = &m->node[i];
        if (n->mesh == NULL) continue;
        forget_client(n);
        node_signal(n, SIGKILL);
    }
    if (world_wait(m->w, 5000, all_gone, m, NULL, "the end of all nodes") != 0)
        fprintf(stderr, "chaos: a node does not end\n");
    for (int i = 0; i < MESH_NODES; i++)
        for (int j = 0; j < MESH_NODES; j++) {
            proxy_free(m->link[i][j]);
            m->link[i][j] = NULL;
        }
    /* The process handles live in *m: their close callbacks must have run before it goes away. */
    for (int i = 0; i < 3; i++) uv_run(&m->w->loop, UV_RUN_NOWAIT);
    m->w->closing--;
}
