/* open.c - the store itself and its two tables. */
#include "store/sqlite/sq.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"

#define LIFE_BYTE 16
#define BUSY_MS 5000
#define LOOK_MS 60000

static const struct store_verbs verbs = {
    .get = sq_get,
    .by_title = sq_by_title,
    .by_prefix = sq_by_prefix,
    .list = sq_list,
    .count = sq_count,
    .since = sq_since,
    .put = sq_put,
    .remove = sq_remove,
    .words_stat = sq_words_stat,
    .words_df = sq_words_df,
    .words_scan = sq_words_scan,
    .top_rowids = sq_top_rowids,
    .by_rowids = sq_by_rowids,
    .each_row = sq_each_row,
    .links_of = sq_links_of,
    .link_show = sq_link_show,
    .link_hide = sq_link_hide,
    .link_get = sq_link_get,
    .namespaces = sq_namespaces,
    .stats = sq_stats,
    .expired = sq_expired,
    .standard_of = sq_standard_of,
    .standard_set = sq_standard_set,
    .archive_put = sq_archive_put,
    .archive_get = sq_archive_get,
    .archive_list = sq_archive_list,
    .archive_remove = sq_archive_remove,
    .archive_older = sq_archive_older,
    .archive_stats = sq_archive_stats,
    .pending_put = sq_pending_put,
    .pending_get = sq_pending_get,
    .pending_list = sq_pending_list,
    .by_created = sq_by_created,
    .sync_seen = sq_sync_seen,
    .sync_clock = sq_sync_clock,
    .side_get = sq_side_get,
    .side_put = sq_side_put,
    .side_remove = sq_side_remove,
    .side_by_key = sq_side_by_key,
    .side_scan = sq_side_scan,
    .op_append = sq_op_append,
    .op_page = sq_op_page,
    .op_chain = sq_op_chain,
    .stream_get = sq_stream_get,
    .stream_put = sq_stream_put,
    .streams = sq_streams,
    .local_get = sq_local_get,
    .local_put = sq_local_put,
    .idem_get = sq_idem_get,
    .idem_put = sq_idem_put,
    .ids_after = sq_ids_after,
    .archive_after = sq_archive_after,
    .idem_after = sq_idem_after,
    .unstamped = sq_unstamped,
    .savepoint = sq_savepoint,
    .savepoint_end = sq_savepoint_end,
};

/* ---- connections */
static int data_version(struct store_conn *c, int64_t *ret)
{
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_DATA_VERSION, &rc);
    if (s == NULL) return rc;
    rc = sq_step(c, s);
    if (rc == 1) *ret = sqlite3_column_int64(s, 0);
    sq_done(s);
    return rc < 0 ? rc : 0;
}

static int open_conn(struct store *s, bool writer, struct store_conn **ret, struct err *err)
{
    struct sq_file *f = container_of(s, struct sq_file, base);
    struct store_conn *c;
    if (writer && f->o.read_only) return err_set(err, E_READ_ONLY, "%s: opened for reading only", f->path);
    int rc = sq_conn_new(f, writer, &c, err);
    if (rc != 0) return rc;
    c->tx.v = &verbs;
    c->tx.err = err;
    rc = data_version(c, &c->seen_foreign); /* opens the log, too */
    c->seen_words = c->seen_foreign;
    c->tx.err = &c->err;
    if (rc == 0 && writer) rc = sq_files_note(c, err);
    if (rc == 0 && writer && f->o.serving) rc = sq_checkpoint(c, SQLITE_CHECKPOINT_FULL, err);
    if (rc != 0) {
        sq_conn_free(c);
        return rc;
    }
    *ret = c;
    return 0;
}

static int any(struct store_conn *c, enum sq_stmt which, bool *ret)
{
    int rc;
    sqlite3_stmt *s = sq_stmt(c, which, &rc);
    if (s == NULL) return rc;
    if (which == SQ_UNSTAMPED) sq_int(s, 1, 1);
    rc = sq_step(c, s);
    *ret = rc == 1;
    sq_done(s);
    return rc < 0 ? rc : 0;
}

/* Did the original's program write? Opening the file it leaves its triggers and its index. Without them - it had the
 * file open when we cleared them, or somebody wrote by hand - a new row has no stamp, which an index tells; an edited
 * row has a time that does not fit, which only a look at all rows tells: that is taken now and then. */
static int strangers(struct store_conn *c, bool *found)
{
    struct arena a;
    struct local_value due;
    int rc = any(c, SQ_TRACES, found);
    if (rc != 0 || *found) return rc;
    arena_init(&a, 4096);
    rc = sq_local_get(&c->tx, "store.adopt", &a, &due);
    arena_release(&a);
    if (rc != E_NOT_FOUND) return rc; /* noticed: their rows are being adopted */
    rc = any(c, SQ_UNSTAMPED_NEW, found);
    int64_t now_ms = clock_mono_ms();
    if (rc != 0 || *found || !c->file->o.serving || (c->looked_ms != 0 && now_ms - c->looked_ms < LOOK_MS)) return rc;
    c->looked_ms = now_ms;
    return any(c, SQ_UNSTAMPED, found);
}

/* Others wrote since the last begin. */
static int after_foreign(struct store_conn *c)
{
    int64_t now = 0;
    bool found = false;
    int rc = data_version(c, &now);
    if (rc != 0 || now == c->seen_begin) return rc;
    c->words.tail_bytes_known = false;
    c->unsynced = true; /* theirs may wait for their own sync, and what we tell of them is to be durable, too */
    rc = strangers(c, &found);
    if (rc == 0 && found) {
        rc = sq_traces_clear(c);
        c->cleared = true;
        c->seen_words = now;
    }
    if (rc == 0) c->seen_begin = now;
    return rc;
}

static int begin(struct store_conn *c, struct store_tx **ret, struct err *err)
{
    CHECK(!c->in_tx);
    int rc = 0;
    *ret = &c->tx;
    if (c->writer) {
        rc = sq_begin_write(c, err);
        if (rc != 0) return rc;
        c->tx.err = err;
        rc = after_foreign(c);
        if (rc != 0) sq_rollback(c);
    } else {
        c->tx.err = err;
        c->lost = c->stopped = 0;
        sqlite3_stmt *s = sq_stmt(c, SQ_BEGIN_READ, &rc);
        if (s) rc = sq_run(c, s);
        c->in_tx = rc == 0;
    }
    c->tx.err = &c->err;
    c->err.code = 0;
    return rc;
}

static void stop_flag(struct store_conn *c, atomic_bool *stop, int64_t deadline_mono_ms)
{
    c->stop = stop;
    c->deadline_mono_ms = deadline_mono_ms;
    c->stopped = 0;
    sq_watch(c, stop != NULL || deadline_mono_ms != 0);
}

static int foreign(struct store_conn *c, bool *ret_changed)
{
    int64_t now = 0;
    int rc = data_version(c, &now);
    *ret_changed = rc == 0 && now != c->seen_foreign;
    if (rc == 0) c->seen_foreign = now;
    return rc;
}

static void close_store(struct store *s)
{
    struct sq_file *f = container_of(s, struct sq_file, base);
    if (f->lock_fd >= 0) sq_locks_close(f->lock_fd);
    mem_free(f->path);
    mem_free(f);
}

static const struct store_backend backend = {
    .conn_open = open_conn,
    .conn_close = sq_conn_free,
    .begin = begin,
    .commit = sq_commit,
    .sync = sq_sync,
    .upkeep_due = sq_upkeep_due,
    .rollback = sq_rollback,
    .stop_flag = stop_flag,
    .upkeep = sq_upkeep,
    .foreign = foreign,
    .close = close_store,
};

/* ---- opening */
static void set_up_library(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    sqlite3_config(SQLITE_CONFIG_STMTJRNL_SPILL, -1); /* savepoints need no files in /tmp */
    sqlite3_initialize();
    CHECK(sq_wal_register() == SQLITE_OK);
}

void sq_library(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_up_library);
}

/* Log, index and lock lie beside a name: by another name of the same file two processes would write without knowing of
 * each other, and tear it. */
static int check_file(const char *path, const struct stat *st, struct err *err)
{
    if (!S_ISREG(st->st_mode)) return err_set(err, E_IO, "%s: no regular file", path);
    if (st->st_nlink < 2) return 0;
    return err_set(err, E_LOCKED,
                   "%s: the file has %llu names (hard links); a database must have one. Remove the others", path,
                   (unsigned long long)st->st_nlink);
}

static int check_path(const char *path, bool read_only, struct err *err)
{
    struct stat st;
    if (stat(path, &st) == 0) return check_file(path, &st, err);
    if (errno == ENOENT && !read_only) {
        char *dir = mem_strdup(path);
        char *slash = strrchr(dir, '/');
        if (slash) slash[slash == dir] = 0;
        int rc = slash && (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode))
                     ? err_set(err, E_IO, "%s: there is no directory %s", path, dir)
                     : 0;
        mem_free(dir);
        return rc;
    }
    return err_set(err, errno == EACCES ? E_READ_ONLY : E_IO, "%s: cannot open the database: %s", path,
                   strerror(errno));
}

/* There is a server, but no file: it is just making it, or has it open although it was removed, and writes into the log
 * and the index of that name. It would end soon. */
static bool removed_under_server(const struct sq_file *f)
{
    int64_t until = clock_mono_ms() + f->o.busy_ms;
    while (access(f->path, F_OK) != 0 && sq_lock_held(f->lock_fd, 0)) {
        if (clock_mono_ms() >= until) return true;
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    }
    return false;
}

/* A file that is reached through a symbolic link has one lock file, not one by each name; the file a dangling link
 * points at is made first. Other paths stay as they are, for messages. */
static char *real_path(const char *path, bool create)
{
    struct stat st;
    if (lstat(path, &st) != 0 || !S_ISLNK(st.st_mode)) return mem_strdup(path);
    char *real = realpath(path, NULL);
    if (real == NULL && errno == ENOENT && create) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd >= 0) close(fd);
        real = realpath(path, NULL);
    }
    char *ret = mem_strdup(real ? real : path);
    free(real);
    return ret;
}

static int take_locks(struct sq_file *f, struct err *err)
{
    int rc = sq_locks_open(f->path, true, &f->lock_fd, err);
    if (rc == 0 && removed_under_server(f))
        return err_set(err, E_LOCKED, "%s: this file was removed, but a server has it open still", f->path);
    if (rc != 0 || !f->o.serving) return rc;
    rc = sq_lock_try(f->lock_fd, 0);
    if (rc == E_BUSY) return err_set(err, E_LOCKED, "%s: another server has this database open", f->path);
    return rc ? err_set(err, rc, "%s-lock: cannot lock: %s", f->path, strerror(errno)) : 0;
}

static int prepare(struct sq_file *f, struct err *err)
{
    struct store_conn *c;
    int rc = sq_conn_new(f, !f->o.read_only, &c, err);
    if (rc != 0) return rc;
    rc = sq_schema_prepare(c, err);
    sq_conn_free(c);
    return rc;
}

/* On read-only media SQLite cannot make its lock files; without a log there is nothing to coordinate. */
static bool try_immutable(struct sq_file *f)
{
    struct stat st;
    char *wal = sqlite3_mprintf("%s-wal", f->path);
    bool empty = stat(wal, &st) != 0 || st.st_size == 0;
    sqlite3_free(wal);
    f->immutable = f->o.read_only && empty;
    return f->immutable;
}

int sqlite_store_open(const char *path, const struct sqlite_options *o, struct store **ret, struct err *err)
{
    sq_library();
    int rc = check_path(path, o->read_only, err);
    if (rc != 0) return rc;
    struct sq_file *f = mem_alloc(sizeof *f);
    f->base.b = &backend;
    f->path = real_path(path, !o->read_only);
    f->o = *o;
    f->lock_fd = -1;
    if (f->o.busy_ms <= 0) f->o.busy_ms = BUSY_MS;
    atomic_init(&f->adopt_due, o->serving);
    if (!o->read_only) rc = take_locks(f, err);
    if (rc == 0) {
        rc = prepare(f, err);
        if ((rc == E_IO || rc == E_READ_ONLY) && try_immutable(f)) rc = prepare(f, err);
    }
    if (rc != 0) {
        close_store(&f->base);
        return rc;
    }
    *ret = &f->base;
    return 0;
}

int sqlite_rebuild_words(struct store_conn *writer, struct err *err)
{
    int rc = sq_begin_write(writer, err);
    if (rc != 0) return rc;
    writer->tx.err = err;
    rc = sq_words_rebuild(writer);
    if (rc == 0) return sq_commit(writer, true, err);
    sq_rollback(writer);
    return rc;
}

/* ---- lives of writers */
int sqlite_life_hold(struct store *s, uint64_t stream, struct err *err)
{
    struct sq_file *f = container_of(s, struct sq_file, base);
    if (f->lock_fd < 0) return err_set(err, E_READ_ONLY, "%s: opened for reading only", f->path);
    int rc = sq_lock_try(f->lock_fd, LIFE_BYTE + (int64_t)(stream & INT64_MAX >> 1));
    return rc ? err_set(err, rc == E_BUSY ? E_LOCKED : rc, "%s: stream %llu is another writer's", f->path,
                        (unsigned long long)stream)
              : 0;
}

bool sqlite_life_held(struct store *s, uint64_t stream)
{
    struct sq_file *f = container_of(s, struct sq_file, base);
    int fd;
    if (sq_locks_open(f->path, false, &fd, NULL) != 0)
        return false; /* a descriptor of its own sees this process's lock too */
    bool held = sq_lock_held(fd, LIFE_BYTE + (int64_t)(stream & INT64_MAX >> 1));
    sq_locks_close(fd);
    return held;
}

/* ---- where the server is */
void sqlite_server_note(struct store *s, const char *url)
{
    struct sq_file *f = container_of(s, struct sq_file, base);
    if (f->lock_fd < 0 || ftruncate(f->lock_fd, 0) != 0) return;
    (void)!pwrite(f->lock_fd, url, strlen(url), 0); /* who looks for it then is told that it starts or ends */
}

int sqlite_server_find(const char *path, char *url, size_t size, struct err *err)
{
    char *real = real_path(path, false);
    int fd, rc = sq_locks_open(real, false, &fd, NULL);
    mem_free(real);
    if (rc != 0) return err_set(err, E_NOT_FOUND, "no server has %s open", path);
    bool held = sq_lock_held(fd, 0);
    ssize_t n = pread(fd, url, size, 0);
    sq_locks_close(fd);
    if (!held) return err_set(err, E_NOT_FOUND, "no server has %s open", path);
    if (n <= 0) return err_set(err, E_BUSY, "the server of %s is starting or ending", path);
    if ((size_t)n >= size) return err_set(err, E_TOO_LARGE, "the server of %s noted an address too long", path);
    url[n] = 0;
    return 0;
}
