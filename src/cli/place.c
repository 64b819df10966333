/* place.c - asks git for the remote, by a child process with a deadline. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/place.h"
#include "memory.h"
#include "memory/utf8.h"

#define DEADLINE_MS 2000

static pid_t spawn_git(int *ret_fd)
{
    char *argv[] = { "git", "remote", "get-url", "origin", NULL };
    posix_spawn_file_actions_t files;
    int ends[2];
    pid_t pid = -1;
    if (pipe2(ends, O_CLOEXEC) != 0) return -1;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (posix_spawnp(&pid, "git", &files, NULL, argv, environ) != 0) pid = -1;
    posix_spawn_file_actions_destroy(&files);
    close(ends[1]);
    if (pid < 0) close(ends[0]);
    *ret_fd = ends[0];
    return pid;
}

/* Reads to the end or the deadline. False: late. */
static bool read_all(int fd, char *out, size_t size)
{
    int64_t end = clock_mono_ms() + DEADLINE_MS;
    size_t len = 0;
    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int64_t left = end - clock_mono_ms();
        char rest[256];
        if (left <= 0 || poll(&p, 1, (int)left) == 0) return false;
        bool full = len + 1 >= size;
        ssize_t n = read(fd, full ? rest : out + len, full ? sizeof(rest) : size - 1 - len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        if (!full) len += (size_t)n;
    }
    out[len] = '\0';
    return true;
}

static bool git_remote(char *out, size_t size)
{
    int fd, status = -1;
    pid_t pid = spawn_git(&fd);
    if (pid < 0) return false;
    bool whole = read_all(fd, out, size);
    close(fd);
    if (!whole) kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    return whole && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void place_of_remote(const char *url, char out[PLACE_TEXT])
{
    size_t len = strcspn(url, "\r\n"), from = len;
    while (from > 0 && url[from - 1] != '/') from--;
    if (from == 0)
        for (from = len; from > 0 && url[from - 1] != ':';) from--;
    while (len - from >= 4 && memcmp(url + len - 4, ".git", 4) == 0) len -= 4;
    snprintf(out, PLACE_TEXT, "%.*s", (int)(len - from), url + from);
}

/* Blanks, backslashes and control characters become '-'. False: no namespace can be made of it. */
static bool make_valid(char *name)
{
    char clean[PLACE_TEXT];
    size_t len = 0;
    const char *s = name, *end = name + strlen(name);
    while (s < end && len < sizeof(clean) - 5) {
        const char *from = s;
        uint32_t c = utf8_next(&s, end);
        bool bad = c == '\\' || c == '/' || c == 0xfffd || utf8_is_space(c) || utf8_is_control(c);
        if (bad)
            clean[len++] = '-';
        else
            memcpy(clean + len, from, (size_t)(s - from)), len += (size_t)(s - from);
    }
    clean[len] = '\0';
    memcpy(name, clean, len + 1);
    return len > 0 && rule_namespace(name, len, NULL) == 0;
}

void place_namespace(char out[PLACE_TEXT])
{
    char text[4096];
    if (git_remote(text, sizeof(text))) {
        place_of_remote(text, out);
        if (make_valid(out)) return;
    }
    if (getcwd(text, sizeof(text)) != NULL) {
        const char *slash = strrchr(text, '/');
        snprintf(out, PLACE_TEXT, "%.*s", PLACE_TEXT - 1, slash ? slash + 1 : text);
        if (make_valid(out)) return;
    }
    snprintf(out, PLACE_TEXT, "global");
}
