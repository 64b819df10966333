/* log.c - the op log and the vector. The op at `trimmed` itself stays: its chain is where the rest begins. Streams have
 * small numbers in the file, see schema.c. */
#include "store/sqlite/sq.h"

#include "base/alloc.h"

#define SEQ_END (1ull << 40)
#define NUMBER_MAX ((1 << 22) - 1)

static int one_number(struct store_conn *c, enum sq_stmt which, uint64_t stream, int64_t *ret)
{
    int rc;
    *ret = 0;
    sqlite3_stmt *s = sq_stmt(c, which, &rc);
    if (s == NULL) return rc;
    if (which == SQ_NUMBER_GET) sq_int(s, 1, (int64_t)stream);
    rc = sq_step(c, s);
    if (rc == 1) *ret = sqlite3_column_int64(s, 0);
    sq_done(s);
    return rc < 0 ? rc : 0;
}

/* The stream's first op here: the number behind the last one, so that the newest streams grow at the end of the tree;
 * when these are used up, one that a stream gave free. */
static int give_number(struct store_conn *c, uint64_t stream, int64_t *ret)
{
    int rc = one_number(c, SQ_NUMBER_LAST, 0, ret);
    if (rc == 0 && ++*ret > NUMBER_MAX) rc = one_number(c, SQ_NUMBER_FREE, 0, ret);
    if (rc != 0) return rc;
    if (*ret > NUMBER_MAX) return err_set(c->tx.err, E_DISK_FULL, "%s: there are too many streams", c->file->path);
    sqlite3_stmt *s = sq_stmt(c, SQ_NUMBER_PUT, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, (int64_t)stream);
    sq_int(s, 2, *ret);
    return sq_run(c, s);
}

static int number_of(struct store_conn *c, uint64_t stream, int64_t *ret)
{
    *ret = (int64_t)c->numbered[1];
    if (stream != 0 && c->numbered[0] == stream) return 0;
    int rc = one_number(c, SQ_NUMBER_GET, stream, ret);
    if (rc == 0 && *ret == 0) rc = give_number(c, stream, ret);
    if (rc != 0) return rc;
    c->numbered[0] = stream;
    c->numbered[1] = (uint64_t)*ret;
    return 0;
}

int sq_op_append(struct store_tx *tx, uint64_t stream, const struct log_op *op)
{
    struct store_conn *c = sq_of(tx);
    int64_t number;
    if (op->seq == 0 || op->seq >= SEQ_END)
        return err_set(c->tx.err, E_INVALID, "%s: no place %llu in a stream", c->file->path,
                       (unsigned long long)op->seq);
    int rc = number_of(c, stream, &number);
    if (rc != 0) return rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_OP_APPEND, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, number << 40 | (int64_t)op->seq);
    sq_int(s, 2, (int64_t)op->ver);
    sq_int(s, 3, (int64_t)op->chain);
    sq_blob(s, 4, op->body, op->body_len);
    return sq_run(c, s);
}

int sq_op_page(struct store_tx *tx, uint64_t stream, uint64_t from_seq, size_t count_max, size_t bytes_max,
               struct arena *a, struct log_op **ret, size_t *ret_count)
{
    struct store_conn *c = sq_of(tx);
    size_t cap = 0, bytes = 0;
    int rc;
    *ret = NULL;
    *ret_count = 0;
    if (from_seq >= SEQ_END) return 0;
    sqlite3_stmt *s = sq_stmt(c, SQ_OP_PAGE, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, (int64_t)stream);
    sq_int(s, 2, (int64_t)from_seq);
    sq_int(s, 3, count_max < INT32_MAX ? (int64_t)count_max : -1);
    while ((rc = sq_step(c, s)) == 1) {
        bytes += (size_t)sqlite3_column_bytes(s, 3);
        if (bytes_max && bytes > bytes_max && *ret_count > 0) break;
        *ret = sq_grow(a, *ret, *ret_count, &cap, sizeof **ret);
        if (*ret == NULL) {
            rc = sq_too_large(c);
            break;
        }
        struct log_op *op = &(*ret)[*ret_count];
        op->seq = (uint64_t)sqlite3_column_int64(s, 0);
        op->ver = (uint64_t)sqlite3_column_int64(s, 1);
        op->chain = (uint64_t)sqlite3_column_int64(s, 2);
        rc = sq_copy_blob(c, s, 3, a, &op->body, &op->body_len);
        if (rc != 0) break;
        ++*ret_count;
    }
    sq_done(s);
    return rc < 0 ? rc : 0;
}

int sq_op_chain(struct store_tx *tx, uint64_t stream, uint64_t seq, uint64_t *ret_chain)
{
    struct store_conn *c = sq_of(tx);
    struct stream_pos pos;
    int rc;
    *ret_chain = 0;
    if (seq == 0) return 0;
    sqlite3_stmt *s = sq_stmt(c, SQ_OP_CHAIN, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, (int64_t)stream);
    sq_int(s, 2, (int64_t)seq);
    rc = seq < SEQ_END ? sq_step(c, s) : 0;
    if (rc == 1) *ret_chain = (uint64_t)sqlite3_column_int64(s, 0);
    sq_done(s);
    if (rc != 0) return rc < 0 ? rc : 0;
    /* A stream merged from a snapshot has a position without ops. */
    rc = sq_stream_get(tx, stream, &pos);
    if (rc != 0 || pos.pos != seq) return rc ? rc : E_NOT_FOUND;
    *ret_chain = pos.chain;
    return 0;
}

static void read_pos(sqlite3_stmt *s, struct stream_pos *ret)
{
    *ret = (struct stream_pos){ .stream = (uint64_t)sqlite3_column_int64(s, 0),
                                .node = (uint64_t)sqlite3_column_int64(s, 1),
                                .pos = (uint64_t)sqlite3_column_int64(s, 2),
                                .chain = (uint64_t)sqlite3_column_int64(s, 3),
                                .trimmed = (uint64_t)sqlite3_column_int64(s, 4),
                                .ended = sqlite3_column_int(s, 5) != 0,
                                .left = sqlite3_column_int(s, 5) == 2 };
}

int sq_stream_get(struct store_tx *tx, uint64_t stream, struct stream_pos *ret)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_STREAM_GET, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, (int64_t)stream);
    rc = sq_step(c, s);
    if (rc == 0) return E_NOT_FOUND;
    if (rc == 1) read_pos(s, ret);
    sq_done(s);
    return rc < 0 ? rc : 0;
}

int sq_stream_put(struct store_tx *tx, const struct stream_pos *pos)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s;
    if (pos->left) c->numbered[0] = 0;
    if (pos->trimmed > 0) {
        s = sq_stmt(c, SQ_OP_TRIM, &rc);
        if (s == NULL) return rc;
        sq_int(s, 1, (int64_t)pos->stream);
        sq_int(s, 2, (int64_t)(pos->left || pos->trimmed > SEQ_END ? SEQ_END : pos->trimmed));
        rc = sq_run(c, s);
        if (rc != 0) return rc;
    }
    s = sq_stmt(c, SQ_STREAM_PUT, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, (int64_t)pos->stream);
    sq_int(s, 2, (int64_t)pos->node);
    sq_int(s, 3, (int64_t)pos->pos);
    sq_int(s, 4, (int64_t)pos->chain);
    sq_int(s, 5, (int64_t)pos->trimmed);
    sq_int(s, 6, pos->left ? 2 : pos->ended);
    return sq_run(c, s);
}

int sq_streams(struct store_tx *tx, struct arena *a, struct stream_pos **ret, size_t *ret_count)
{
    struct store_conn *c = sq_of(tx);
    size_t cap = 0;
    int rc;
    *ret = NULL;
    *ret_count = 0;
    sqlite3_stmt *s = sq_stmt(c, SQ_STREAMS, &rc);
    if (s == NULL) return rc;
    while ((rc = sq_step(c, s)) == 1) {
        *ret = sq_grow(a, *ret, *ret_count, &cap, sizeof **ret);
        if (*ret == NULL) {
            rc = sq_too_large(c);
            break;
        }
        read_pos(s, &(*ret)[(*ret_count)++]);
    }
    sq_done(s);
    return rc;
}
