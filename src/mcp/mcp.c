/* mcp.c - the server over pipes: reads standard input, answers on standard output, talks of itself on standard error.
 *
 *   WAITING ─readable─▶ reading ─whole lines─▶ answering each ─▶ WAITING
 *   WAITING ─end of input, signal─▶ the lines read so far ─▶ closed
 *   WAITING, answering ─nothing can be written any more─▶ closed, exit status 1
 *
 * Answers keep the order of the requests: a call runs to its end before the next line is looked at. The first SIGINT or
 * SIGTERM lets what was read be answered and the database be closed; a second one kills. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "mcp/lines.h"
#include "mcp/mcp.h"
#include "mcp/rpc.h"
#include "ops/local.h"

#define READ_BYTES 65536

static int signal_pipe[2] = { -1, -1 };

static void on_signal(int number)
{
    int kept = errno;
    char byte = (char)number;
    ssize_t n = write(signal_pipe[1], &byte, 1);
    (void)n; /* full: one is enough */
    errno = kept;
}

static int signals_start(void)
{
    struct sigaction act = { .sa_handler = on_signal, .sa_flags = (int)(SA_RESETHAND | SA_RESTART) };
    if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) != 0) return E_IO;
    sigemptyset(&act.sa_mask);
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

static bool signalled(void)
{
    struct pollfd p = { .fd = signal_pipe[0], .events = POLLIN };
    return poll(&p, 1, 0) > 0;
}

/* Everything, whatever the descriptor's mode. */
static int write_all(const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, data, len);
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };
            (void)poll(&p, 1, -1);
        } else if (n == 0 || errno != EINTR) {
            return E_IO;
        }
    }
    return 0;
}

/* Answers the lines that are whole. */
static int answer_lines(struct rpc *r, struct lines *in, struct buf *out)
{
    const char *line;
    size_t len;
    for (;;) {
        enum line_kind kind = lines_next(in, &line, &len);
        if (kind == LINE_NONE) return 0;
        if (kind == LINE_WHOLE)
            rpc_line(r, line, len, out);
        else
            rpc_line_too_long(out);
        if (out->len > 0 && write_all(buf_str(out), out->len)) return E_IO;
        buf_clear(out);
    }
}

/* 1: bytes came; 0: the end; E_IO. */
static int read_some(struct lines *in)
{
    char bytes[READ_BYTES];
    ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));
    if (n > 0) lines_feed(in, bytes, (size_t)n);
    if (n >= 0) return n > 0;
    return errno == EINTR || errno == EAGAIN ? 1 : E_IO;
}

static int run_call(void *data, struct call *c)
{
    return local_run(data, c);
}

static int serve(struct local *l, const struct mcp_env *env)
{
    struct rpc r;
    struct lines in;
    struct buf out;
    int rc = 1;
    rpc_init(&r, env->agent_id, env->anonymize, run_call, l);
    lines_init(&in, RPC_LINE_MAX);
    buf_init(&out, RPC_OUT_MAX);
    while (rc > 0 && !signalled() && !local_broken(l)) {
        local_wait(l, STDIN_FILENO, signal_pipe[0]);
        if (signalled() || local_broken(l)) break;
        rc = read_some(&in);
        if (rc == 0) lines_end(&in);
        int answered = rc >= 0 ? answer_lines(&r, &in, &out) : 0;
        if (answered) rc = answered;
    }
    if (rc < 0) fprintf(stderr, "ai-memory: standard input or output failed\n");
    if (local_broken(l)) fprintf(stderr, "Error: %s\n", local_broken(l)->msg);
    lines_release(&in);
    buf_release(&out);
    return rc < 0 || local_broken(l);
}

int mcp_run(const struct mcp_env *env)
{
    struct local *l = NULL;
    struct err err = { 0 };
    struct local_options o;
    local_options_default(&o);
    o.path = env->db;
    o.relaxed = env->relaxed;
    o.limits = env->limits;
    int rc = signals_start();
    if (rc == 0) rc = local_open(&l, &o, &err);
    if (rc) {
        fprintf(stderr, "Error: %s\n", err.msg[0] ? err.msg : err_text(rc));
        return 1;
    }
    fprintf(stderr, "ai-memory: requested tier = %s\n", env->tier ? env->tier : "keyword");
    fprintf(stderr, "ai-memory MCP server started (stdio, tier=keyword)\n");
    int status = serve(l, env);
    local_close(l);
    fprintf(stderr, "ai-memory MCP server stopped\n");
    return status;
}
