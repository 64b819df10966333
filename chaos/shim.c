/* shim.c - preloaded into a node under test: its disk as the page of CHAOS_DISK_PAGE says. Files below CHAOS_DISK_DIR
 * whose names end in .db or -wal are concerned, everything else passes. System calls are made directly, so nothing is
 * looked up. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim.h"

#define PATH_BYTES 1024
#define COPY_MAX ((size_t)4 << 20)

static struct shim_page *page;
static char below[PATH_BYTES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("CHAOS_DISK_PAGE"), *dir = getenv("CHAOS_DISK_DIR");
    if (path == NULL || dir == NULL) return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *at = mmap(NULL, SHIM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED) return;
    snprintf(below, sizeof below, "%s/", dir);
    page = at;
    atomic_store(&page->magic, SHIM_MAGIC);
}

static int ends(const char *text, const char *with)
{
    size_t a = strlen(text), b = strlen(with);
    return a > b && strcmp(text + a - b, with) == 0;
}

/* Whether the file is one of ours; its path. */
static int ours(int fd, char path[PATH_BYTES])
{
    char link[64];
    if (page == NULL) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_BYTES - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return strncmp(path, below, strlen(below)) == 0 && (ends(path, ".db") || ends(path, "-wal"));
}

static uint32_t mode(void)
{
    return atomic_load(&page->mode);
}

static uint64_t size_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* What bytes [offset, offset + len) hold now, and how long the file is, goes to the end of its undo file. */
static void note(int fd, const char *path, uint64_t offset, size_t len)
{
    static char copy[COPY_MAX];
    char name[PATH_BYTES + 8];
    struct shim_undo u = { .offset = offset, .size = size_of(fd) };
    if (len > COPY_MAX) len = COPY_MAX;
    ssize_t n = offset < u.size ? syscall(SYS_pread64, fd, copy, len, offset) : 0;
    u.len = n > 0 ? (uint64_t)n : 0;
    snprintf(name, sizeof name, "%s" SHIM_UNDO, path);
    int to = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (to < 0) return;
    syscall(SYS_write, to, &u, sizeof u);
    syscall(SYS_write, to, copy, u.len);
    close(to);
}

static void die_torn(int fd, const void *data, size_t len, uint64_t offset)
{
    syscall(SYS_pwrite64, fd, data, len / 2, offset);
    atomic_fetch_add(&page->torn, 1);
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

static ssize_t do_write(int fd, const void *data, size_t len, uint64_t offset, int at)
{
    char path[PATH_BYTES];
    ssize_t n;
    if (!ours(fd, path)) return at ? syscall(SYS_pwrite64, fd, data, len, offset) : syscall(SYS_write, fd, data, len);
    pthread_mutex_lock(&lock);
    if (!at) offset = (uint64_t)lseek(fd, 0, SEEK_CUR);
    atomic_fetch_add(&page->writes, 1);
    if ((mode() & SHIM_FULL) && offset + len > size_of(fd)) {
        atomic_fetch_add(&page->refused, 1);
        pthread_mutex_unlock(&lock);
        errno = ENOSPC;
        return -1;
    }
    if (mode() & SHIM_UNDOES) note(fd, path, offset, len);
    if ((mode() & SHIM_TORN) && ends(path, "-wal")) die_torn(fd, data, len, offset);
    n = at ? syscall(SYS_pwrite64, fd, data, len, offset) : syscall(SYS_write, fd, data, len);
    pthread_mutex_unlock(&lock);
    return n;
}

ssize_t write(int fd, const void *data, size_t len)
{
    return do_write(fd, data, len, 0, 0);
}
ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    return do_write(fd, data, len, (uint64_t)offset, 1);
}
ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    return do_write(fd, data, len, (uint64_t)offset, 1);
}

static int do_truncate(int fd, uint64_t size)
{
    char path[PATH_BYTES];
    if (ours(fd, path) && (mode() & SHIM_UNDOES)) {
        pthread_mutex_lock(&lock);
        uint64_t now = size_of(fd);
        note(fd, path, size, now > size ? (size_t)(now - size) : 0);
        pthread_mutex_unlock(&lock);
    }
    return (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate(int fd, off_t size)
{
    return do_truncate(fd, (uint64_t)size);
}
int ftruncate64(int fd, off64_t size)
{
    return do_truncate(fd, (uint64_t)size);
}

static int do_sync(int fd, long call)
{
    char path[PATH_BYTES], name[PATH_BYTES + 8];
    if (!ours(fd, path)) return (int)syscall(call, fd);
    atomic_fetch_add(&page->syncs, 1);
    if (mode() & SHIM_SYNC_FAILS) {
        atomic_fetch_add(&page->refused, 1);
        errno = EIO;
        return -1;
    }
    if (mode() & SHIM_LIES) return 0;
    pthread_mutex_lock(&lock);
    int rc = (int)syscall(call, fd);
    snprintf(name, sizeof name, "%s" SHIM_UNDO, path);
    if (rc == 0 && (mode() & SHIM_UNDOES)) syscall(SYS_truncate, name, 0);
    pthread_mutex_unlock(&lock);
    return rc;
}

int fsync(int fd)
{
    return do_sync(fd, SYS_fsync);
}
int fdatasync(int fd)
{
    return do_sync(fd, SYS_fdatasync);
}
