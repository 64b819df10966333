/* locks.c - byte locks in "<file>-lock" (see sqlite.h). Open-file-description locks: they belong to the descriptor,
 * so two stores of one process exclude each other too, and they go when the process dies. */
#include "store/sqlite/sq.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

#define BYTE_TURN 1
#define BYTE_DOOR 2
#define POLL_NS_MIN 20000L
#define POLL_NS_MAX 1000000L

int sq_locks_open(const char *path, bool create, int *ret_fd, struct err *err)
{
    char *name = sqlite3_mprintf("%s-lock", path);
    int fd = open(name, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0644);
    int code = 0;
    if (fd < 0) {
        code = errno == EROFS || errno == EACCES || errno == EPERM ? E_READ_ONLY
               : errno == ENOSPC || errno == EDQUOT                ? E_DISK_FULL
                                                                   : E_IO;
        err_set(err, code, "%s: cannot open the lock file: %s", name, strerror(errno));
    }
    sqlite3_free(name);
    *ret_fd = fd;
    return code;
}

void sq_locks_close(int fd)
{
    close(fd);
}

static int lock_call(int fd, int command, struct flock *l, short type, int64_t byte)
{
    *l = (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1 };
    int rc;
    do rc = fcntl(fd, command, l);
    while (rc < 0 && errno == EINTR);
    return rc;
}

int sq_lock_try(int fd, int64_t byte)
{
    struct flock l;
    if (lock_call(fd, F_OFD_SETLK, &l, F_WRLCK, byte) == 0) return 0;
    return errno == EAGAIN || errno == EACCES ? E_BUSY : E_IO;
}

void sq_unlock(int fd, int64_t byte)
{
    struct flock l;
    lock_call(fd, F_OFD_SETLK, &l, F_UNLCK, byte);
}

bool sq_lock_held(int fd, int64_t byte)
{
    struct flock l;
    return lock_call(fd, F_OFD_GETLK, &l, F_WRLCK, byte) == 0 && l.l_type != F_UNLCK;
}

/* Polls: a blocking lock has no deadline of its own. The pause doubles from 20 us to 1 ms. */
static int lock_wait(int fd, int64_t byte, int64_t deadline_mono_ms)
{
    long pause = POLL_NS_MIN;
    for (;;) {
        int rc = sq_lock_try(fd, byte);
        if (rc != E_BUSY || clock_mono_ms() >= deadline_mono_ms) return rc;
        nanosleep(&(struct timespec){ .tv_nsec = pause }, NULL);
        if (pause < POLL_NS_MAX) pause *= 2;
    }
}

/* Whoever waits stands in the door, where the holder comes only after him: turns alternate. */
int sq_turn_take(struct store_conn *c, struct err *err)
{
    if (c->turn_held || c->turn_fd < 0) return 0;
    int64_t deadline = clock_mono_ms() + c->file->o.busy_ms;
    int rc = lock_wait(c->turn_fd, BYTE_DOOR, deadline);
    if (rc == 0) {
        rc = lock_wait(c->turn_fd, BYTE_TURN, deadline);
        sq_unlock(c->turn_fd, BYTE_DOOR);
    }
    if (rc == E_BUSY) return err_set(err, rc, "%s: another process is writing", c->file->path);
    if (rc != 0) return err_set(err, rc, "%s-lock: cannot lock: %s", c->file->path, strerror(errno));
    c->turn_held = true;
    return 0;
}

void sq_turn_give(struct store_conn *c)
{
    if (!c->turn_held) return;
    c->turn_held = false;
    sq_unlock(c->turn_fd, BYTE_TURN);
}

/* ---- who holds it ---- */

#define WAL_WRITE_BYTE 120 /* of the -shm file: SQLite's lock of the one that writes */

/* A file is never opened to ask for its locks: closing it would drop SQLite's own of this process. */
bool sqlite_writer_find(struct store *s, char *text, size_t size)
{
    struct sq_file *f = container_of(s, struct sq_file, base);
    char *name = sqlite3_mprintf("%s-shm", f->path), line[256], what[300];
    struct stat st;
    int pid = 0;
    FILE *locks = stat(name, &st) == 0 ? fopen("/proc/locks", "re") : NULL;
    while (locks != NULL && pid == 0 && fgets(line, sizeof(line), locks) != NULL) {
        unsigned long long inode, from, to;
        int holder;
        if (sscanf(line, "%*s POSIX %*s WRITE %d %*x:%*x:%llu %llu %llu", &holder, &inode, &from, &to) != 4) continue;
        bool its = inode == (unsigned long long)st.st_ino && from <= WAL_WRITE_BYTE && to >= WAL_WRITE_BYTE;
        if (its && holder > 0 && holder != getpid()) pid = holder;
    }
    if (locks != NULL) fclose(locks);
    sqlite3_free(name);
    if (pid == 0) return false;
    snprintf(what, sizeof(what), "/proc/%d/comm", pid);
    FILE *comm = fopen(what, "re");
    if (comm == NULL || fgets(line, sizeof(line), comm) == NULL) line[0] = '\0';
    if (comm != NULL) fclose(comm);
    line[strcspn(line, "\n")] = '\0';
    snprintf(text, size, "%d (%.64s)", pid, line[0] != '\0' ? line : "unknown");
    return true;
}
