/* world.c - the loop a scenario turns, its deadlines and its tools. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/id.h"
#include "files.h"
#include "world.h"

#define PULSE_MS 2

static void pulse_cb(uv_timer_t *t)
{
    (void)t;
}

/* The second signal does not wait for anybody: nodes die with us, only cuts by iptables would stay. */
static void signal_cb(uv_signal_t *s, int number)
{
    struct world *w = s->data;
    if (w->stopped == 0) fprintf(stderr, "\nchaos: signal %d: undoing everything, then ending\n", number);
    w->stopped = number;
}

int world_init(struct world *w, uint64_t seed, struct err *err)
{
    static const int numbers[3] = { SIGINT, SIGTERM, SIGHUP };
    memset(w, 0, sizeof *w);
    w->random = seed * 0x9e3779b97f4a7c15u | 1;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a full disk is an error to report, not a death */
    CHECK(uv_loop_init(&w->loop) == 0);
    CHECK(uv_timer_init(&w->loop, &w->pulse) == 0);
    CHECK(uv_timer_start(&w->pulse, pulse_cb, PULSE_MS, PULSE_MS) == 0);
    for (int i = 0; i < 3; i++) {
        CHECK(uv_signal_init(&w->loop, &w->signals[i]) == 0);
        w->signals[i].data = w;
        uv_signal_start(&w->signals[i], signal_cb, numbers[i]);
        uv_unref((uv_handle_t *)&w->signals[i]);
    }
    ssize_t n = readlink("/proc/self/exe", w->self, sizeof w->self - 1);
    w->self[n > 0 ? n : 0] = 0;
    const char *base = getenv("WORKDIR");
    if (base == NULL || base[0] == 0) base = getenv("TMPDIR");
    if (base == NULL || base[0] == 0) base = "/tmp";
    snprintf(w->scratch, sizeof w->scratch, "%s/ai-memory-chaos.XXXXXX", base);
    if (mkdtemp(w->scratch) == NULL) {
        w->scratch[0] = 0;
        return err_set(err, E_IO, "cannot make a scratch directory below %s: %s", base, strerror(errno));
    }
    return 0;
}

static void close_walk(uv_handle_t *h, void *data)
{
    (void)data;
    if (!uv_is_closing(h)) uv_close(h, NULL);
}

void world_release(struct world *w)
{
    uv_walk(&w->loop, close_walk, NULL);
    int64_t until = clock_mono_ms() + 2000;
    while (uv_run(&w->loop, UV_RUN_NOWAIT) != 0 && clock_mono_ms() < until) {}
    uv_loop_close(&w->loop);
    if (w->scratch[0]) dir_remove(w->scratch);
}

static int64_t nearest(const struct world *w, int64_t own, const char **ret_what)
{
    *ret_what = NULL;
    if (w->closing) return own;
    for (unsigned i = 0; i < w->deadlines; i++) {
        if (w->deadline[i].at_ms >= own) continue;
        own = w->deadline[i].at_ms;
        *ret_what = w->deadline[i].what;
    }
    return own;
}

int world_wait(struct world *w, int64_t ms, bool (*cond)(void *data), void *data, struct err *err, const char *fmt, ...)
{
    char text[256];
    const char *outer;
    int64_t until = nearest(w, clock_mono_ms() + ms, &outer);
    while (!cond(data)) {
        bool late = clock_mono_ms() >= until;
        if (late || (w->stopped && !w->closing)) {
            va_list ap;
            va_start(ap, fmt);
            vsnprintf(text, sizeof text, fmt, ap);
            va_end(ap);
            if (!late) return err_set(err, E_CANCELLED, "ended by signal %d while waiting: %s", w->stopped, text);
            if (outer) return err_set(err, E_TIMEOUT, "the deadline of the %s passed while waiting: %s", outer, text);
            return err_set(err, E_TIMEOUT, "not within %lld ms: %s", (long long)ms, text);
        }
        uv_run(&w->loop, UV_RUN_ONCE);
    }
    return 0;
}

static bool passed(void *data)
{
    const int64_t *until = data;
    return clock_mono_ms() >= *until;
}

int world_pass(struct world *w, int64_t ms, struct err *err)
{
    int64_t until = clock_mono_ms() + ms;
    return world_wait(w, ms + 1000, passed, &until, err, "%lld ms to pass", (long long)ms);
}

void world_deadline_push(struct world *w, int64_t ms, const char *what)
{
    CHECK(w->deadlines < WORLD_DEADLINES);
    w->deadline[w->deadlines++] = (struct world_deadline){ clock_mono_ms() + ms, what };
}

void world_deadline_pop(struct world *w)
{
    CHECK(w->deadlines > 0);
    w->deadlines--;
}

uint64_t world_pick(struct world *w, uint64_t bound)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (w->random >> 11) % bound;
}

bool world_chance(struct world *w, double p)
{
    return (double)world_pick(w, 1u << 20) < p * (double)(1u << 20);
}

bool tool_find(const char *name, char ret[WORLD_PATH])
{
    const char *path = getenv("PATH");
    char all[8192];
    snprintf(all, sizeof all, "%s", path ? path : "/usr/bin:/bin:/usr/sbin:/sbin");
    if (strchr(name, '/')) {
        snprintf(ret, WORLD_PATH, "%s", name);
        return access(name, X_OK) == 0;
    }
    char *rest = all;
    for (char *dir = strsep(&rest, ":"); dir; dir = strsep(&rest, ":")) {
        snprintf(ret, WORLD_PATH, "%s/%s", dir, name);
        if (dir[0] && access(ret, X_OK) == 0) return true;
    }
    ret[0] = 0;
    return false;
}

static int reap(pid_t pid, int64_t until, struct err *err, const char *name)
{
    int status = 0;
    for (;;) {
        pid_t got = waitpid(pid, &status, WNOHANG);
        if (got == pid) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        if (got < 0 && errno != EINTR) return err_set(err, E_IO, "%s: waitpid: %s", name, strerror(errno));
        if (clock_mono_ms() >= until) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return err_set(err, E_TIMEOUT, "%s did not end in time", name);
        }
        poll(NULL, 0, 1);
    }
}

static void drain(int fd, char *out, size_t size, int64_t until)
{
    size_t len = 0;
    char waste[4096];
    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int64_t left = until - clock_mono_ms();
        if (left <= 0 || poll(&p, 1, (int)left) <= 0) break;
        bool fits = out != NULL && len + 1 < size;
        ssize_t n = fits ? read(fd, out + len, size - 1 - len) : read(fd, waste, sizeof waste);
        if (n <= 0) break;
        if (fits) len += (size_t)n;
    }
    if (out && size) out[len] = 0;
}

int tool_run(const char *const *argv, const char *input, char *out, size_t size, int64_t ms, struct err *err)
{
    char place[WORLD_PATH];
    int in[2], to[2];
    pid_t pid = 0;
    int64_t until = clock_mono_ms() + ms;
    if (!tool_find(argv[0], place)) return err_set(err, E_NOT_FOUND, "%s: no such program", argv[0]);
    if (pipe2(in, O_CLOEXEC) != 0) return err_set(err, E_IO, "pipe: %s", strerror(errno));
    if (pipe2(to, O_CLOEXEC) != 0) {
        close(in[0]);
        close(in[1]);
        return err_set(err, E_IO, "pipe: %s", strerror(errno));
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, to[1], 1);
    posix_spawn_file_actions_adddup2(&actions, to[1], 2);
    int rc = posix_spawn(&pid, place, &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(to[1]);
    if (rc == 0 && input && write(in[1], input, strlen(input)) < 0) rc = errno;
    close(in[1]);
    if (rc == 0) drain(to[0], out, size, until);
    close(to[0]);
    if (pid == 0) return err_set(err, E_IO, "%s: %s", argv[0], strerror(rc));
    return reap(pid, until, err, argv[0]);
}

/* Below the range that outgoing connections take theirs from: a dead node's port must be free when it comes back. */
#define PORT_FIRST 20000u
#define PORT_COUNT 12000u
#define PORT_TRIES 200

static int port_bind(uint16_t port, uint16_t *ret)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    int rc = bind(fd, (struct sockaddr *)&a, sizeof a);
    if (rc == 0) rc = listen(fd, 1); /* a listener of somebody else shows only now */
    close(fd);
    *ret = port;
    return rc;
}

int port_take(uint16_t wanted, uint16_t *ret, struct err *err)
{
    static unsigned next;
    if (wanted != 0) {
        if (port_bind(wanted, ret) == 0) return 0;
        return err_set(err, E_CONFLICT, "port %u is busy: %s", wanted, strerror(errno));
    }
    if (next == 0) next = (unsigned)random_u64();
    for (int i = 0; i < PORT_TRIES; i++)
        if (port_bind((uint16_t)(PORT_FIRST + next++ % PORT_COUNT), ret) == 0) return 0;
    return err_set(err, E_CONFLICT, "no free port: %s", strerror(errno));
}
