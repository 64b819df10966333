/* program_kit.c - see program_kit.h. */
#include "program_kit.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"

#define WAIT_MS 30000

const char *program_path;

/* ---- processes -------------------------------------------------------------------------------------------------- */
void program_init(struct program *p)
{
    memset(p, 0, sizeof(*p));
    snprintf(p->dir, sizeof(p->dir), "/tmp/ai-memory-api.XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    p->out = -1;
}

static void child(const struct program *p, const char *env, const char *const *args, int out)
{
    char *argv[PROGRAM_ARGS_MAX + 2] = { (char *)(uintptr_t)program_path };
    for (int i = 0; args[i]; i++) argv[i + 1] = (char *)(uintptr_t)args[i];
    clearenv();
    setenv("HOME", p->dir, 1);
    setenv("PATH", "/usr/bin:/bin", 1);
    if (env) putenv((char *)(uintptr_t)env);
    if (chdir(p->dir) || dup2(out, 1) < 0 || dup2(out, 2) < 0) _exit(126);
    execv(program_path, argv);
    _exit(127);
}

void program_run(struct program *p, const char *env, const char *const *args)
{
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    p->said_len = 0;
    p->said[0] = '\0';
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0) child(p, env, args, pipes[1]);
    close(pipes[1]);
    if (p->out >= 0) close(p->out);
    p->out = pipes[0];
}

/* false: it says nothing more. */
static bool hear(struct program *p, int wait_ms)
{
    struct pollfd ready = { .fd = p->out, .events = POLLIN };
    if (poll(&ready, 1, wait_ms) <= 0) return true;
    size_t room = sizeof(p->said) - 1 - p->said_len;
    ssize_t n = read(p->out, p->said + p->said_len, room);
    if (n > 0) p->said_len += (size_t)n;
    p->said[p->said_len] = '\0';
    return n > 0;
}

void program_until(struct program *p, const char *text)
{
    int64_t until = clock_mono_ms() + WAIT_MS;
    bool more = true;
    while (more && strstr(p->said, text) == NULL && clock_mono_ms() < until) more = hear(p, 100);
    if (strstr(p->said, text) == NULL) fail_msg("never said '%s':\n%s", text, p->said);
}

void program_serve(struct program *p, const char *env, const char *const *more)
{
    char db[96];
    const char *args[PROGRAM_ARGS_MAX] = { "serve", "--db", db, "--port", "0" };
    for (int i = 0; more && more[i]; i++) args[5 + i] = more[i];
    snprintf(db, sizeof(db), "%s/a.db", p->dir);
    program_run(p, env, args);
    program_until(p, "listening on http://127.0.0.1:");
    program_until(p, "\n");
    p->port = (uint16_t)atoi(strstr(p->said, "//127.0.0.1:") + strlen("//127.0.0.1:"));
    assert_true(p->port > 0);
}

void program_signal(struct program *p, int number)
{
    assert_int_equal(kill(p->pid, number), 0);
}

int program_wait(struct program *p)
{
    int64_t until = clock_mono_ms() + WAIT_MS;
    int status;
    pid_t ended = 0;
    bool more = true;
    while (clock_mono_ms() < until && (more || ended == 0)) {
        if (more) more = hear(p, 20);
        if (!more) ended = waitpid(p->pid, &status, 0);
    }
    if (ended == 0) {
        kill(p->pid, SIGKILL);
        waitpid(p->pid, &status, 0);
        fail_msg("did not end:\n%s", p->said);
    }
    p->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void program_remove(struct program *p)
{
    char command[128];
    if (p->out >= 0) close(p->out);
    snprintf(command, sizeof(command), "rm -rf '%s'", p->dir);
    assert_int_equal(system(command), 0);
}

void program_stop(struct program *p)
{
    program_signal(p, SIGTERM);
    int status = program_wait(p);
    if (status) fail_msg("ended with %d:\n%s", status, p->said);
    program_remove(p);
}

/* ---- sockets ---------------------------------------------------------------------------------------------------- */
int raw_connect(const struct program *p)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(p->port) };
    struct timeval wait = { .tv_sec = WAIT_MS / 1000 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* A server that answers before it has read all may close: that is no failure of the sender. */
void raw_put(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n <= 0) return;
        text += n;
        len -= (size_t)n;
    }
}

static bool take_head(int fd, struct reply_text *r)
{
    size_t n = 0;
    while (n < sizeof(r->head) - 1 && (n < 4 || memcmp(r->head + n - 4, "\r\n\r\n", 4) != 0)) {
        if (recv(fd, r->head + n, 1, 0) != 1) return false;
        n++;
    }
    r->head[n] = '\0';
    for (char *line = r->head; (line = strstr(line, "\r\n")) != NULL;)
        for (line += 2; *line && *line != ':' && *line != '\r'; line++) *line = (char)tolower((unsigned char)*line);
    r->status = atoi(r->head + strlen("HTTP/1.1 "));
    return true;
}

bool raw_take(int fd, bool head, struct reply_text *r)
{
    do {
        memset(r, 0, sizeof(*r));
        if (!take_head(fd, r)) return false;
    } while (r->status == 100 || r->status == 102);
    const char *length = reply_header_of(r, "content-length");
    size_t want = head || length == NULL ? 0 : (size_t)atol(length);
    r->body = calloc(1, want + 1);
    while (r->len < want) {
        ssize_t n = recv(fd, r->body + r->len, want - r->len, 0);
        if (n <= 0) return false;
        r->len += (size_t)n;
    }
    const char *type = reply_header_of(r, "content-type");
    if (type && strstr(type, "json") && r->len > 0) {
        r->json = json_parse(r->body, r->len, NULL, 0, NULL);
        assert_non_null(r->json);
    }
    return true;
}

void ask(const struct program *p, const char *method, const char *target, const char *headers, const char *body,
         struct reply_text *ret)
{
    size_t len = body ? strlen(body) : 0, room = strlen(target) + (headers ? strlen(headers) : 0) + 256;
    bool typed = headers && strstr(headers, "content-type");
    char *head = malloc(room), length[64] = "";
    if (body) snprintf(length, sizeof(length), "content-length: %zu\r\n", len);
    int n = snprintf(head, room, "%s %s HTTP/1.1\r\nhost: test\r\n%s%s%s\r\n", method, target, headers ? headers : "",
                     body && !typed ? "content-type: application/json\r\n" : "", length);
    int fd = raw_connect(p);
    raw_put(fd, head, (size_t)n);
    if (body) raw_put(fd, body, len);
    if (!raw_take(fd, strcmp(method, "HEAD") == 0, ret)) fail_msg("no answer to %s %.200s", method, target);
    close(fd);
    free(head);
}

void expect_status(const struct program *p, int status, const char *method, const char *target, const char *headers,
                   const char *body)
{
    struct reply_text r;
    ask(p, method, target, headers, body, &r);
    if (r.status != status) fail_msg("%s %.200s: %d %s", method, target, r.status, r.body);
    if (status >= 400 && strcmp(method, "HEAD") != 0) assert_true(json_is_string(json_object_get(r.json, "error")));
    reply_free(&r);
}

const char *reply_header_of(const struct reply_text *r, const char *name)
{
    static char value[512];
    char line[80];
    snprintf(line, sizeof(line), "\r\n%s: ", name);
    const char *at = strstr(r->head, line);
    if (at == NULL) return NULL;
    at += strlen(line);
    snprintf(value, sizeof(value), "%.*s", (int)strcspn(at, "\r"), at);
    return value;
}

const char *reply_string(const struct reply_text *r, const char *key)
{
    const char *text = json_string_value(json_object_get(r->json, key));
    return text ? text : "";
}

void reply_free(struct reply_text *r)
{
    json_decref(r->json);
    free(r->body);
    memset(r, 0, sizeof(*r));
}
