/* files.c - small file work of the harness. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/json.h"
#include "files.h"

int dir_make(const char *path, struct err *err)
{
    char part[4096];
    snprintf(part, sizeof part, "%s", path);
    for (char *p = part + 1;; p++) {
        if (*p != '/' && *p != 0) continue;
        char end = *p;
        *p = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return err_set(err, E_IO, "cannot make %s: %s", part, strerror(errno));
        *p = end;
        if (end == 0) return 0;
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int dir_each(const char *path, void (*each)(void *data, const char *name), void *data, struct err *err)
{
    DIR *d = opendir(path);
    if (d == NULL) return err_set(err, E_IO, "cannot read %s: %s", path, strerror(errno));
    char **name = NULL;
    size_t count = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        name = mem_realloc(name, (count + 1) * sizeof *name);
        name[count++] = mem_strdup(e->d_name);
    }
    closedir(d);
    if (count > 1) qsort(name, count, sizeof *name, by_name);
    for (size_t i = 0; i < count; i++) {
        each(data, name[i]);
        mem_free(name[i]);
    }
    mem_free(name);
    return 0;
}

static void remove_entry(void *data, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", (const char *)data, name);
    dir_remove(path);
}

/* Depth is bounded by what the harness itself lays out. */
void dir_remove(const char *path) // NOLINT(misc-no-recursion)
{
    struct stat st;
    if (lstat(path, &st) != 0) return;
    if (S_ISDIR(st.st_mode)) {
        dir_each(path, remove_entry, (void *)(uintptr_t)path, NULL);
        rmdir(path);
    } else {
        unlink(path);
    }
}

struct sum {
    const char *dir;
    int64_t bytes;
};

static void sum_entry(void *data, const char *name) // NOLINT(misc-no-recursion)
{
    struct sum *s = data;
    char path[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", s->dir, name);
    if (lstat(path, &st) != 0) return;
    s->bytes += S_ISDIR(st.st_mode) ? dir_bytes(path) : (int64_t)st.st_size;
}

int64_t dir_bytes(const char *path) // NOLINT(misc-no-recursion)
{
    struct sum s = { .dir = path };
    dir_each(path, sum_entry, &s, NULL);
    return s.bytes;
}

int file_read(const char *path, struct buf *ret, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_set(err, E_IO, "cannot open %s: %s", path, strerror(errno));
    ssize_t n = 0;
    for (;;) {
        char *room = buf_reserve(ret, 65536);
        if (room == NULL) break;
        n = read(fd, room, 65536);
        if (n <= 0) break;
        buf_grew(ret, (size_t)n);
    }
    close(fd);
    if (ret->failed) return err_set(err, E_TOO_LARGE, "%s is too large", path);
    if (n < 0) return err_set(err, E_IO, "cannot read %s: %s", path, strerror(errno));
    return 0;
}

static int write_all(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -1;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int file_write(const char *path, const void *data, size_t len, struct err *err)
{
    char part[4096];
    snprintf(part, sizeof part, "%s.part", path);
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return err_set(err, E_IO, "cannot write %s: %s", path, strerror(errno));
    int bad = write_all(fd, data, len) != 0;
    if (close(fd) != 0) bad = 1;
    if (!bad) bad = rename(part, path) != 0;
    if (bad) {
        int rc = err_set(err, E_IO, "cannot write %s: %s", path, strerror(errno));
        unlink(part);
        return rc;
    }
    return 0;
}

int file_copy(const char *from, const char *to, struct err *err)
{
    struct buf b;
    buf_init(&b, FILE_BYTES_MAX);
    int rc = file_read(from, &b, err);
    if (rc == 0) rc = file_write(to, buf_str(&b), b.len, err);
    buf_release(&b);
    return rc;
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

int64_t file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

json_t *file_read_json(const char *path, struct err *err)
{
    struct buf b;
    json_t *doc = NULL;
    buf_init(&b, FILE_BYTES_MAX);
    if (file_read(path, &b, err) == 0) {
        doc = json_parse(buf_str(&b), b.len, NULL, 0, err);
        if (doc == NULL) err_wrap(err, "%s", path);
    }
    buf_release(&b);
    return doc;
}

int file_write_json(const char *path, const json_t *doc, struct err *err)
{
    struct buf b;
    buf_init(&b, FILE_BYTES_MAX);
    json_print_pretty_ordered(&b, doc);
    buf_putc(&b, '\n');
    int rc = b.failed ? err_set(err, E_TOO_LARGE, "%s would be too large", path) : file_write(path, b.data, b.len, err);
    buf_release(&b);
    return rc;
}

int file_append_json(const char *path, const json_t *doc, struct err *err)
{
    struct buf b;
    int rc = 0, fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) return err_set(err, E_IO, "cannot write %s: %s", path, strerror(errno));
    buf_init(&b, FILE_BYTES_MAX);
    json_print_ordered(&b, doc);
    buf_putc(&b, '\n');
    if (b.failed || write_all(fd, b.data, b.len) != 0)
        rc = err_set(err, E_IO, "cannot write %s: %s", path, strerror(errno));
    close(fd);
    buf_release(&b);
    return rc;
}
