/* files.c - are the files a writer has open still those that the next start would find?
 *
 * A file that is removed, renamed or replaced lives on for those who have it open: commits succeed, and are gone when
 * the process ends. So a writer keeps what its files were when it opened them and looks at their names again: at the
 * database's before it begins (what is refused then left no trace), at the database's and the log's after each commit
 * and before anybody is told of it, at all of them every second. One look is one system call of about a microsecond.
 *
 * What was found once stays: nothing is written any more. At the next upkeep, the last one at the latest, the log is
 * copied into the database we have open, if nobody else can have begun to write there. That saves what was acknowledged
 * when only the log was removed, makes a renamed file whole, and leaves no log that would be taken for that of another
 * file put in its place. */
#include "store/sqlite/sq.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/clock.h"

#define LOOK_MS 1000

enum fate { AS_IT_WAS, REMOVED, REPLACED, EMPTIED, UNREACHABLE };

static const char *const suffixes[SQ_FILES] = {
    [SQ_DATABASE] = "", [SQ_LOG] = "-wal", [SQ_INDEX] = "-shm", [SQ_LOCK] = "-lock"
};

static enum fate fate_of(const struct sq_files *f, int which)
{
    const struct sq_known_file *k = &f->item[which];
    struct stat st;
    if (stat(k->name, &st) != 0) return errno == ENOENT || errno == ENOTDIR ? REMOVED : UNREACHABLE;
    if (st.st_dev != k->dev || st.st_ino != k->ino) return REPLACED;
    return which == SQ_DATABASE && st.st_size == 0 ? EMPTIED : AS_IT_WAS; /* the schema has been in it all the time */
}

int sq_files_note(struct store_conn *c, struct err *err)
{
    int moved = 0;
    for (int i = 0; i < SQ_FILES; i++) {
        struct sq_known_file *k = &c->files.item[i];
        struct stat st;
        char *name = sqlite3_mprintf("%s%s", c->file->path, suffixes[i]);
        k->name = mem_strdup(name);
        sqlite3_free(name);
        if (stat(k->name, &st) != 0) return err_set(err, E_IO, "%s: %s", k->name, strerror(errno));
        k->dev = st.st_dev;
        k->ino = st.st_ino;
    }
    sqlite3_file_control(c->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    if (moved) return err_set(err, E_IO, "%s: the file was replaced while it was being opened", c->file->path);
    c->files.known = true;
    c->files.looked_ms = clock_mono_ms();
    return 0;
}

void sq_files_forget(struct store_conn *c)
{
    for (int i = 0; i < SQ_FILES; i++) mem_free(c->files.item[i].name);
    c->files = (struct sq_files){ 0 };
}

int sq_files_look(const struct store_conn *c, int count, struct err *err)
{
    const struct sq_files *f = &c->files;
    for (int i = 0; i < count && f->known; i++) {
        enum fate fate = fate_of(f, i);
        if (fate == AS_IT_WAS) continue;
        const char *what = fate == REMOVED    ? "was removed or renamed"
                           : fate == REPLACED ? "was replaced by another"
                           : fate == EMPTIED  ? "was emptied"
                                              : strerror(errno);
        return err_set(err, E_MOVED, "%s: this file %s while it was in use: nothing is written any more",
                       f->item[i].name, what);
    }
    return 0;
}

int sq_files_check(struct store_conn *c, int count, struct err *err)
{
    struct sq_files *f = &c->files;
    int64_t now_ms = clock_mono_ms();
    if (now_ms - f->looked_ms >= LOOK_MS) count = SQ_FILES;
    if (count == SQ_FILES) f->looked_ms = now_ms;
    if (f->why.code == 0) (void)sq_files_look(c, count, &f->why);
    if (err && f->why.code != 0) *err = f->why;
    return f->why.code;
}

void sq_files_save(struct store_conn *c)
{
    if (c->files.saved || fate_of(&c->files, SQ_DATABASE) == EMPTIED) return; /* part of its pages is no database */
    c->files.saved = true;
    for (int i = SQ_LOG; i < SQ_FILES; i++) {
        enum fate fate = fate_of(&c->files, i);
        if (fate != AS_IT_WAS && fate != REMOVED) return;
    }
    (void)sq_checkpoint(c, SQLITE_CHECKPOINT_TRUNCATE, NULL);
}
