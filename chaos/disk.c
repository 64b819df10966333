/* disk.c - a node's disk as the harness rules it. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "disk.h"
#include "files.h"
#include "node.h"
#include "shim.h"

int disk_attach(struct node *n, const char *library, struct shim_page **ret, struct err *err)
{
    char path[WORLD_PATH];
    snprintf(path, sizeof path, "%.900s/n%d.disk", n->mesh->dir, n->index);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0 || ftruncate(fd, SHIM_BYTES) != 0) {
        if (fd >= 0) close(fd);
        return err_set(err, E_IO, "cannot make %s: %s", path, strerror(errno));
    }
    void *at = mmap(NULL, SHIM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED) return err_set(err, E_IO, "cannot map %s: %s", path, strerror(errno));
    *ret = at;
    snprintf(n->preload, sizeof n->preload, "%s", library);
    node_env(n, "CHAOS_DISK_PAGE=%.1000s", path);
    node_env(n, "CHAOS_DISK_DIR=%.1000s", n->mesh->dir);
    return 0;
}

void disk_unmap(struct shim_page *page)
{
    if (page) munmap(page, SHIM_BYTES);
}

void disk_mode(struct shim_page *page, uint32_t mode)
{
    atomic_store(&page->mode, mode);
}

struct undo {
    struct shim_undo head;
    const char *bytes;
};

static size_t read_undo(const struct buf *b, struct undo **ret)
{
    size_t count = 0;
    *ret = NULL;
    for (size_t at = 0; at + sizeof(struct shim_undo) <= b->len;) {
        struct undo u;
        memcpy(&u.head, b->data + at, sizeof u.head);
        at += sizeof u.head;
        if (u.head.len > b->len - at) break;
        u.bytes = b->data + at;
        at += u.head.len;
        if ((count & (count - 1)) == 0) *ret = mem_realloc(*ret, (count ? count * 2 : 1) * sizeof **ret);
        (*ret)[count++] = u;
    }
    return count;
}

static uint64_t take_back(struct world *w, const char *file, double some)
{
    char name[WORLD_PATH + 32];
    struct buf b;
    struct undo *u;
    uint64_t taken = 0;
    buf_init(&b, FILE_BYTES_MAX);
    snprintf(name, sizeof name, "%s" SHIM_UNDO, file);
    int fd = open(file, O_RDWR | O_CLOEXEC);
    size_t count = file_read(name, &b, NULL) == 0 ? read_undo(&b, &u) : 0;
    for (size_t i = count; fd >= 0 && i-- > 0;) {
        if (some > 0 && !world_chance(w, some)) continue;
        if (pwrite(fd, u[i].bytes, u[i].head.len, (off_t)u[i].head.offset) != (ssize_t)u[i].head.len) continue;
        if (some <= 0 && ftruncate(fd, (off_t)u[i].head.size) != 0) continue;
        taken++;
    }
    if (fd >= 0) close(fd);
    if (count > 0) mem_free(u);
    buf_release(&b);
    unlink(name);
    return taken;
}

uint64_t disk_power_cut(struct world *w, const struct node *n, double some)
{
    char path[WORLD_PATH + 16];
    uint64_t taken = take_back(w, n->db, some);
    snprintf(path, sizeof path, "%s-wal", n->db);
    taken += take_back(w, path, some);
    snprintf(path, sizeof path, "%s-shm", n->db);
    unlink(path);
    return taken;
}

/* --- real file systems --- */

int disk_mounts_possible(struct err *err)
{
    static bool apart;
    char dir[] = "/tmp/ai-memory-chaos.XXXXXX";
    if (!apart && (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0))
        return err_set(err, E_DENIED, "no rights to mount: %s", strerror(errno));
    apart = true;
    if (mkdtemp(dir) == NULL) return err_set(err, E_IO, "cannot make a directory: %s", strerror(errno));
    int rc = disk_mount(dir, 1, err);
    if (rc == 0) disk_unmount(dir);
    rmdir(dir);
    return rc;
}

int disk_mount(const char *dir, unsigned mib, struct err *err)
{
    char options[32];
    snprintf(options, sizeof options, "size=%um", mib);
    int rc = dir_make(dir, err);
    if (rc == 0 && mount("tmpfs", dir, "tmpfs", 0, options) != 0)
        rc = err_set(err, E_DENIED, "cannot mount a file system on %s: %s", dir, strerror(errno));
    return rc;
}

void disk_unmount(const char *dir)
{
    umount2(dir, MNT_DETACH);
}

int disk_fill(const char *path, uint64_t *ret, struct err *err)
{
    static const char zeroes[65536];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return err_set(err, E_IO, "cannot write %s: %s", path, strerror(errno));
    *ret = 0;
    for (size_t piece = sizeof zeroes; piece >= 512;) {
        ssize_t n = write(fd, zeroes, piece);
        if (n > 0)
            *ret += (uint64_t)n;
        else
            piece /= 2;
    }
    close(fd);
    return 0;
}
