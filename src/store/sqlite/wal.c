/* wal.c - a layer over SQLite's own file system, for the log of writers only: the frames of a commit go to the
 * system in one piece instead of two calls a page.
 *
 * While sq_wal_gather is on, that is while COMMIT runs and no other process can write, frames gather
 * in memory. With synchronous=FULL SQLite syncs the log after the last frame and before it tells readers of it; that
 * call writes them out. It does not sync: sq_sync does, if the commit is to be durable, when the others may write
 * again. A sync with nothing gathered (of a header, at a checkpoint) is a sync. What is left when COMMIT failed is
 * dropped: it belongs to no transaction. */
#include "store/sqlite/sq.h"

#include <string.h>

#include "base/alloc.h"

#define GATHER_BYTES (120 << 10) /* SQLite's unix layer takes less than 128 KiB at once */

struct wal_file {
    sqlite3_file base;
    bool gathering;
    char *data; /* owned, GATHER_BYTES; NULL until first needed */
    int len;
    sqlite3_int64 at;   /* where data belongs in the file */
    sqlite3_file *real; /* SQLite's own, right behind this struct */
};

static struct wal_file *of(sqlite3_file *f)
{
    return (struct wal_file *)(void *)f;
}

static int write_out(struct wal_file *w)
{
    int len = w->len;
    w->len = 0;
    return len > 0 ? w->real->pMethods->xWrite(w->real, w->data, len, w->at) : SQLITE_OK;
}

static int wal_write(sqlite3_file *f, const void *data, int len, sqlite3_int64 at)
{
    struct wal_file *w = of(f);
    bool fits = w->gathering && at > 0 && len <= GATHER_BYTES; /* the header is written and synced by itself */
    if (w->len > 0 && (!fits || at != w->at + w->len || len > GATHER_BYTES - w->len)) {
        int rc = write_out(w);
        if (rc != SQLITE_OK) return rc;
    }
    if (!fits) return w->real->pMethods->xWrite(w->real, data, len, at);
    if (w->data == NULL) w->data = mem_alloc(GATHER_BYTES);
    if (w->len == 0) w->at = at;
    memcpy(w->data + w->len, data, (size_t)len);
    w->len += len;
    return SQLITE_OK;
}

static int wal_read(sqlite3_file *f, void *data, int len, sqlite3_int64 at)
{
    struct wal_file *w = of(f);
    int rc = write_out(w);
    return rc == SQLITE_OK ? w->real->pMethods->xRead(w->real, data, len, at) : rc;
}

static int wal_sync(sqlite3_file *f, int flags)
{
    struct wal_file *w = of(f);
    return w->len > 0 ? write_out(w) : w->real->pMethods->xSync(w->real, flags);
}

static int wal_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    struct wal_file *w = of(f);
    int rc = write_out(w);
    return rc == SQLITE_OK ? w->real->pMethods->xTruncate(w->real, size) : rc;
}

static int wal_size(sqlite3_file *f, sqlite3_int64 *ret)
{
    struct wal_file *w = of(f);
    int rc = write_out(w);
    return rc == SQLITE_OK ? w->real->pMethods->xFileSize(w->real, ret) : rc;
}

static int wal_close(sqlite3_file *f)
{
    struct wal_file *w = of(f);
    mem_free(w->data);
    w->data = NULL;
    return w->real->pMethods->xClose(w->real);
}

static int wal_lock(sqlite3_file *f, int level)
{
    struct wal_file *w = of(f);
    return w->real->pMethods->xLock(w->real, level);
}

static int wal_unlock(sqlite3_file *f, int level)
{
    struct wal_file *w = of(f);
    return w->real->pMethods->xUnlock(w->real, level);
}

static int wal_reserved(sqlite3_file *f, int *ret)
{
    struct wal_file *w = of(f);
    return w->real->pMethods->xCheckReservedLock(w->real, ret);
}

static int wal_control(sqlite3_file *f, int what, void *arg)
{
    struct wal_file *w = of(f);
    return w->real->pMethods->xFileControl(w->real, what, arg);
}

static int wal_sector(sqlite3_file *f)
{
    struct wal_file *w = of(f);
    return w->real->pMethods->xSectorSize(w->real);
}

static int wal_device(sqlite3_file *f)
{
    struct wal_file *w = of(f);
    return w->real->pMethods->xDeviceCharacteristics(w->real);
}

static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = wal_close,
    .xRead = wal_read,
    .xWrite = wal_write,
    .xTruncate = wal_truncate,
    .xSync = wal_sync,
    .xFileSize = wal_size,
    .xLock = wal_lock,
    .xUnlock = wal_unlock,
    .xCheckReservedLock = wal_reserved,
    .xFileControl = wal_control,
    .xSectorSize = wal_sector,
    .xDeviceCharacteristics = wal_device,
};

static sqlite3_vfs *own; /* SQLite's default, of which ours is a copy but for opening */

/* All but logs are SQLite's own files. */
static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
    (void)vfs;
    if (!(flags & SQLITE_OPEN_WAL)) return own->xOpen(own, name, f, flags, ret_flags);
    struct wal_file *w = of(f);
    *w = (struct wal_file){ .real = (sqlite3_file *)(void *)(w + 1) };
    int rc = own->xOpen(own, name, w->real, flags, ret_flags);
    if (rc == SQLITE_OK) w->base.pMethods = &methods;
    return rc;
}

int sq_wal_register(void)
{
    static sqlite3_vfs vfs;
    own = sqlite3_vfs_find(NULL);
    if (own == NULL) return SQLITE_ERROR;
    vfs = *own;
    vfs.pNext = NULL;
    vfs.zName = SQ_VFS;
    vfs.szOsFile = own->szOsFile + (int)sizeof(struct wal_file);
    vfs.xOpen = vfs_open;
    return sqlite3_vfs_register(&vfs, 0);
}

sqlite3_file *sq_wal(sqlite3 *db)
{
    sqlite3_file *f = NULL;
    int rc = sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &f);
    return rc == SQLITE_OK && f != NULL && f->pMethods != NULL ? f : NULL;
}

int sq_wal_sync(sqlite3_file *f)
{
    if (f->pMethods == &methods) f = of(f)->real;
    return f->pMethods->xSync(f, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
}

void sq_wal_gather(sqlite3 *db, bool on)
{
    sqlite3_file *f = sq_wal(db);
    if (f == NULL || f->pMethods != &methods) return;
    of(f)->gathering = on;
    of(f)->len = 0;
}
