/* upkeep.c - checkpoints, the word index's tail and its segments, old idempotency keys. Only the writer's connection
 * comes here, between its transactions and inside the turnstile, so that no other checkpoint and no commit of ours runs
 * beside it. */
#include "store/sqlite/sq.h"

#include "base/clock.h"

#define CHECKPOINT_BYTES (32 << 20)
#define TRUNCATE_BYTES (256 << 20)
#define PAGE_BYTES 4096
#define MERGE_STEPS 4
#define STEP_ROWS (4 * SQ_TAIL_ROWS) /* go from the tail into the index at once */
#define STEP_BYTES (4 * SQ_TAIL_BYTES)

int sq_checkpoint(struct store_conn *c, int mode, struct err *err)
{
    int in_log = 0, done = 0;
    int rc = sq_turn_take(c, err);
    if (rc != 0) return rc;
    rc = sqlite3_wal_checkpoint_v2(c->db, "main", mode, &in_log, &done);
    sq_turn_give(c);
    if (rc != SQLITE_OK) return sq_fail_db(c->db, c->file->path, "checkpoint failed", err);
    if (mode != SQLITE_CHECKPOINT_PASSIVE || done == in_log) c->unsynced = false; /* a checkpoint syncs the log first */
    if (in_log >= 0) c->wal_pages = in_log;
    if (done >= 0) c->wal_done = done;
    return 0;
}

static int expire_keys(struct store_conn *c)
{
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_IDEM_EXPIRE, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, clock_wall_us(NULL));
    return sq_run(c, s);
}

/* Longer tails are what another program wrote. */
static int index_tail(struct store_conn *c, bool all, bool *ret_more, struct err *err)
{
    *ret_more = false;
    int rc = sq_begin_write(c, err);
    if (rc != 0) return rc;
    c->tx.err = err;
    rc = sq_words_index_tail(c, all ? 0 : STEP_ROWS, all ? 0 : STEP_BYTES, ret_more);
    if (rc == 0) return sq_commit(c, false, err);
    sq_rollback(c);
    return rc;
}

/* Transactions of small chores; not durable by themselves, the next commit or checkpoint makes them so. */
static int chores(struct store_conn *c, struct err *err)
{
    bool more = true, left;
    int rc = index_tail(c, false, &left, err); /* FTS5 merges what was committed */
    if (rc == 0) rc = sq_begin_write(c, err);
    if (rc != 0) return rc;
    c->tx.err = err;
    for (int i = 0; i < MERGE_STEPS && more && rc == 0; i++) rc = sq_words_merge(c, &more);
    if (rc == 0) rc = expire_keys(c);
    if (rc != 0) {
        sq_rollback(c);
        return rc;
    }
    c->chores_due = more || left;
    return sq_commit(c, false, err);
}

/* Whether this process is the server of the file, or there is none. */
static bool may_close_log(const struct store_conn *c)
{
    return c->file->o.serving || !sq_lock_held(c->turn_fd, 0);
}

static bool log_is_long(const struct store_conn *c)
{
    return (int64_t)(c->wal_pages - c->wal_done) * PAGE_BYTES >= CHECKPOINT_BYTES;
}

bool sq_upkeep_due(const struct store_conn *c)
{
    return c->writer && !c->file->o.read_only && log_is_long(c) && may_close_log(c);
}

int sq_upkeep(struct store_conn *c, bool idle, bool closing, struct err *err)
{
    int rc = 0;
    bool more;
    if (c->in_tx || !c->writer || c->file->o.read_only) return 0;
    rc = sq_files_check(c, SQ_FILES, err);
    if (rc != 0) {
        sq_files_save(c);
        return rc;
    }
    if (closing) {
        if (!may_close_log(c)) return 0;
        if (c->file->o.serving && c->chores_due)
            (void)index_tail(c, true, &more, NULL); /* at rest, no file has a tail */
        rc = sq_checkpoint(c, SQLITE_CHECKPOINT_TRUNCATE, err);
        return rc == E_BUSY ? 0 : rc; /* a reader of another process: the log stays, nothing is lost */
    }
    if (!may_close_log(c)) return 0;
    if (idle) sq_cache_rest(c);
    if (idle && c->chores_due) rc = chores(c, err);
    if (rc == 0 && idle && (int64_t)c->wal_pages * PAGE_BYTES >= TRUNCATE_BYTES) {
        rc = sq_checkpoint(c, SQLITE_CHECKPOINT_TRUNCATE, err);
    } else if (rc == 0 && log_is_long(c)) {
        rc = sq_checkpoint(c, SQLITE_CHECKPOINT_PASSIVE, err);
    }
    return rc == E_BUSY ? 0 : rc;
}
