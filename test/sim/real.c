/* real.c - a disk that is the program's own: change.c and the merge over the store in memory. Titles are few, so that
 * rows collide; an id is its key's, as where a client names one. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/digest.h"
#include "dump.h"
#include "memstore.h"
#include "store/change_snapshot.h"
#include "wrap.h"
#include "writer_memory.h"

#define START_US INT64_C(1700000000000000)
#define DUMP_MAX (16u << 20)
#define READ_MAX (64u << 20)
#define OPS_MAX 4096
#define LONG_US (INT64_C(100) * 365 * 86400 * 1000000) /* no deletion is forgotten */

struct real {
    struct disk d;
    struct store *store;
    struct store_conn *writer, *reader;
    struct change c;
    struct lifetimes lifetimes;
    struct arena arena; /* what one call reads */
    bool alive;
    struct memstore_image *copy;
    struct writer_memory *memory; /* as it was when the copy was made; owned */
};

static bool new_programs; /* there are older ones and newer ones in this run */

static struct real *real_of(struct disk *d)
{
    wrap_old_program = d->old;
    new_programs = d->s->versions;
    return container_of(d, struct real, d);
}

/* Never the same twice in one run, in the bits that streams and node ids are cut from. */
static uint64_t unique(void *data)
{
    struct real *r = data;
    uint64_t n = ++r->d.s->streams;
    return n << 44 | hash64(&n, sizeof(n), 7) >> 20;
}

static void change_start(struct real *r, struct change *c, struct store_conn *conn, int64_t wall_us)
{
    struct err err = { 0 };
    if (r->d.s->streams == 0) wrap_begin();
    *c = (struct change){ .lifetimes = &r->lifetimes, .random = unique, .random_data = r };
    c->new_node = r->d.renew;
    c->keep_us = r->d.s->trims_tombs && !MUTANT(QUIET_AND_OLD) ? TOMB_AGE_US : LONG_US;
    r->d.renew = false;
    if (change_open(c, r->store->b, conn, START_US + wall_us, &err) != 0) sim_fail(r->d.s, "open: %s", err.msg);
    wrap_made_by(c->origin.stream, c->origin.node);
}

/* Each life tries again what is held: its program may be a newer one. */
static void retry_held(struct real *r, int64_t wall_us)
{
    const struct store_backend *b = r->store->b;
    const char *last = NULL;
    struct err err = { 0 };
    struct store_tx *tx = NULL;
    struct side_row *side;
    size_t before = 0, after = 0;
    if (b->begin(r->writer, &tx, &err) != 0) sim_fail(r->d.s, "begin: %s", err.msg);
    change_begin(&r->c, tx, START_US + wall_us);
    int rc = tx->v->side_scan(tx, SIDE_HELD, NULL, NULL, 4096, &r->arena, &side, &before);
    if (rc == 0 && !MUTANT(HELD_STAYS)) rc = change_held_retry(&r->c, NULL, 4096, &last);
    if (rc == 0) rc = tx->v->side_scan(tx, SIDE_HELD, NULL, NULL, 4096, &r->arena, &side, &after);
    if (rc == 0) rc = change_finish(&r->c);
    if (rc != 0 || b->commit(r->writer, true, &err) != 0) sim_fail(r->d.s, "held ops: %s", err_text(rc));
    arena_release(&r->arena);
    if (after > 0 && !r->d.old && !MUTANT(HELD_STAYS)) sim_fail(r->d.s, "node %u still holds an op", r->d.index);
    if (after < before) r->d.s->goal[GOAL_HELD_APPLIED] = true;
}

static void real_life(struct disk *d, int64_t wall_us)
{
    struct real *r = real_of(d);
    change_start(r, &r->c, r->writer, wall_us);
    if (d->s->versions) retry_held(r, wall_us);
    r->alive = true;
    d->id = r->c.origin.node;
    d->stream = r->c.origin.stream;
    d->pos = d->chain = 0;
}

static void real_life_end(struct disk *d)
{
    struct real *r = real_of(d);
    if (r->alive) change_close(&r->c);
    r->alive = false;
}

/* ---- transactions -------------------------------------------------------------------------------------------- */
static void key_text(char ret[32], uint64_t key)
{
    snprintf(ret, 32, "key-%llu", (unsigned long long)key);
}

static int write_item(struct real *r, struct change *c, uint64_t key, const struct edit *e, uint64_t *ret_seq)
{
    static const uint8_t print[32];
    char text[32];
    key_text(text, key);
    int rc = edit_run(c, &r->arena, key, e, new_programs);
    if (rc == 0 && change_position(c).seq != 0) rc = change_idem(c, text, print, sizeof(print));
    *ret_seq = change_position(c).seq;
    return rc;
}

static int foreign_item(struct change *c, struct work *w)
{
    struct log_op ops[REPL_BATCH_OPS];
    CHECK(w->count <= REPL_BATCH_OPS);
    for (size_t i = 0; i < w->count; i++)
        ops[i] = (struct log_op){ .seq = w->ops[i]->seq, .body = w->ops[i]->body, .body_len = w->ops[i]->len };
    struct foreign_batch f = { .stream = w->stream, .node = w->node, .first_seq = w->first, .op = ops };
    f.chain_before = w->before;
    f.count = w->count;
    enum foreign_result result;
    struct stream_pos pos;
    int rc = change_foreign(c, &f, &result, &pos);
    if (rc != 0) return rc;
    w->result = result == FOREIGN_APPLIED ? WORK_DONE : result == FOREIGN_REWIND ? WORK_REWIND : WORK_FORK;
    w->pos = pos.pos;
    w->chain = pos.chain;
    return 0;
}

/* A planted bug: nothing of what is here survives. */
static int drop_rows(struct change *c, struct arena *a)
{
    const char **id;
    struct row row;
    size_t count;
    int rc = c->tx->v->ids_after(c->tx, NULL, 4096, a, &id, &count);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = c->tx->v->get(c->tx, id[i], a, &row);
        if (rc == 0) rc = c->tx->v->remove(c->tx, &row);
        if (rc == E_NOT_FOUND) rc = c->tx->v->side_remove(c->tx, SIDE_SHADOW, id[i]);
        if (rc == 0) rc = c->tx->v->side_remove(c->tx, SIDE_TOMBSTONE, id[i]);
    }
    return rc;
}

static int say_anew(struct real *r, struct state_page *p)
{
    size_t said;
    if (MUTANT(AHEAD_STAYS)) return change_ahead_over(&r->c);
    int rc = change_ahead_say(&r->c, &said, &p->more);
    if (said > 0) r->d.s->goal[GOAL_SAID_ANEW] = true;
    return rc;
}

static int end_state(struct real *r, const struct state_page *p)
{
    const struct node *n = &r->d.s->node[r->d.index];
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < p->count; i++)
        if (fork_split(n, p->v[i].stream) && !MUTANT(FORK_SILENT)) rc = change_repeat_replaced(&r->c, &p->v[i]);
    return rc == 0 ? change_snapshot_end(&r->c, p->v, p->count) : rc;
}

static int state_item(struct real *r, struct work *w)
{
    const struct state_page *p = w->page;
    struct page_span span = { .v = p->v, .count = p->count };
    if (p->stop) change_snapshot_stop(&r->c);
    if (p->stop) return 0;
    if (p->over) return change_ahead_over(&r->c);
    if (p->say) return say_anew(r, w->page);
    span.from = (struct page_at){ .section = p->from, .after = p->from_after };
    span.to = (struct page_at){ .section = p->to, .after = p->to_after };
    if (p->end) return end_state(r, p);
    bool first = p->from == 0 && p->from_after == NULL;
    int rc = MUTANT(SNAPSHOT_REPLACES) && first ? drop_rows(&r->c, &r->arena) : 0;
    return rc == 0 ? change_snapshot_page(&r->c, p->bytes, p->len, &span) : rc;
}

static int member_item(struct real *r, const struct work *w)
{
    struct member m;
    int rc = change_member_get(r->c.tx, w->member, &r->arena, &m);
    if (rc == 0 && w->removes && m.state != MEMBER_REMOVED) {
        m.state = MEMBER_REMOVED;
        return change_member(&r->c, &m);
    }
    if (rc != E_NOT_FOUND || w->removes) return rc == E_NOT_FOUND ? 0 : rc;
    m = (struct member){ .node = w->member, .state = MEMBER_ACTIVE };
    return change_member(&r->c, &m);
}

/* What a removed node sent is not taken from the moment on that the vector tells of its removal. */
static bool is_refused(struct real *r, const struct work *w)
{
    bool removed = false;
    if (w->from == 0 || MUTANT(REMOVED_ACCEPTED)) return false;
    if (change_member_removed(r->c.tx, w->from, &r->arena, &removed) != 0) sim_fail(r->d.s, "a member");
    return removed;
}

static int repeat_all(struct change *c, uint64_t stream)
{
    uint64_t last = 0;
    int rc = 0;
    do rc = MUTANT(FORK_SILENT) ? 0 : change_repeat(c, stream, last, 4, &last);
    while (rc == 0 && last != 0);
    return rc;
}

static int end_item(struct change *c, const struct work *w)
{
    int rc = change_streams_end(c, w->end, w->ends, STREAM_ENDED);
    return rc == 0 ? change_streams_end(c, w->end + w->ends, w->leaves, STREAM_LEFT) : rc;
}

static void item(struct real *r, struct work *w)
{
    struct change *c = &r->c;
    struct err err = { 0 };
    if (change_savepoint(c, &err) != 0) sim_fail(r->d.s, "savepoint: %s", err.msg);
    w->result = WORK_DONE;
    if (is_refused(r, w)) w->result = WORK_FAILED;
    int rc = w->result == WORK_FAILED ? 0
             : w->end != NULL         ? end_item(c, w)
             : w->member != 0         ? member_item(r, w)
             : w->page != NULL        ? state_item(r, w)
             : w->foreign             ? foreign_item(c, w)
                                      : write_item(r, c, w->key, &w->edit, &w->pos);
    if (rc == 0) rc = change_savepoint_end(c, true, &err);
    if (rc == 0) return;
    if (w->foreign) sim_fail(r->d.s, "an op is refused: %s", err_text(rc));
    w->pos = 0; /* nothing to change: not found, or in conflict */
    if (change_savepoint_end(c, false, &err) != 0) sim_fail(r->d.s, "undo: %s", err.msg);
}

static void check_clock(struct real *r)
{
    if (r->c.hlc.last < r->d.clock) sim_fail(r->d.s, "node %u: its clock went back", r->d.index);
    r->d.clock = r->c.hlc.last;
}

static void real_run(struct disk *d, struct work **work, size_t count, int64_t wall_us)
{
    struct real *r = real_of(d);
    const struct store_backend *b = r->store->b;
    struct err err = { 0 };
    struct store_tx *tx = NULL;
    if (b->begin(r->writer, &tx, &err) != 0) sim_fail(d->s, "begin: %s", err.msg);
    change_begin(&r->c, tx, START_US + wall_us);
    for (size_t i = 0; i < count && !d->s->failed; i++) item(r, work[i]);
    if (change_finish(&r->c) != 0 || b->commit(r->writer, !d->lazy, &err) != 0) sim_fail(d->s, "commit: %s", err.msg);
    arena_release(&r->arena);
    d->pos = r->c.origin.seq;
    d->chain = r->c.origin.chain;
    if (r->c.held > 0 && !d->old) sim_fail(d->s, "node %u holds an op", d->index);
    if (r->c.held > 0) d->s->goal[GOAL_HELD] = true;
    if (r->c.far_future > 0) d->s->goal[GOAL_FAR_FUTURE] = true;
    if (r->c.forgotten > 0) d->s->goal[GOAL_FORGOTTEN] = true;
    if (r->c.unseen > 0) d->s->goal[GOAL_UNSEEN] = true;
    check_clock(r);
}

static uint64_t real_command(struct disk *d, uint64_t key, const struct edit *e, int64_t wall_us)
{
    struct real *r = real_of(d);
    const struct store_backend *b = r->store->b;
    struct store_conn *conn = NULL;
    struct store_tx *tx = NULL;
    struct change c;
    struct err err = { 0 };
    uint64_t seq = 0;
    if (b->conn_open(r->store, true, &conn, &err) != 0) sim_fail(d->s, "command: %s", err.msg);
    change_start(r, &c, conn, wall_us);
    if (b->begin(conn, &tx, &err) != 0) sim_fail(d->s, "command: %s", err.msg);
    change_begin(&c, tx, START_US + wall_us);
    if (change_savepoint(&c, &err) != 0) sim_fail(d->s, "command: %s", err.msg);
    int rc = write_item(r, &c, key, e, &seq);
    if (rc == 0) rc = change_savepoint_end(&c, true, &err);
    if (rc != 0 && change_savepoint_end(&c, false, &err) != 0) sim_fail(d->s, "command: %s", err.msg);
    if (change_finish(&c) != 0 || b->commit(conn, !d->lazy, &err) != 0) sim_fail(d->s, "command: %s", err.msg);
    arena_release(&r->arena);
    uint64_t stream = c.origin.stream;
    change_close(&c);
    b->conn_close(conn);
    return stream;
}

/* ---- reading ------------------------------------------------------------------------------------------------- */
static struct store_tx *read_begin(struct real *r)
{
    struct err err = { 0 };
    struct store_tx *tx = NULL;
    if (r->store->b->begin(r->reader, &tx, &err) != 0) WRONG("a read transaction");
    return tx;
}

static void read_end(struct real *r)
{
    r->store->b->rollback(r->reader);
    arena_release(&r->arena);
}

static size_t real_vector(struct disk *d, struct repl_entry *ret)
{
    struct real *r = real_of(d);
    struct store_tx *tx = read_begin(r);
    struct stream_pos *p = NULL;
    size_t count = 0;
    if (tx->v->streams(tx, &r->arena, &p, &count) != 0) sim_fail(d->s, "streams");
    CHECK(count <= STREAMS_MAX);
    for (size_t i = 0; i < count; i++) {
        ret[i] = (struct repl_entry){ .stream = p[i].stream, .node = p[i].node, .pos = p[i].pos, .chain = p[i].chain };
        ret[i].ended = p[i].ended;
    }
    read_end(r);
    return count;
}

/* Each before the one that says of it that it left, so that their ops can be replayed. */
static void in_order(struct repl_entry *v, uint64_t *by, size_t count)
{
    for (size_t done = 0; done < count; done++) {
        size_t best = done;
        for (size_t i = done; i < count; i++) {
            bool says = false;
            for (size_t k = done; k < count; k++) says = says || (k != i && by[k] == v[i].stream);
            if (says) continue;
            best = i;
            break;
        }
        struct repl_entry e = v[best];
        uint64_t b = by[best];
        v[best] = v[done];
        by[best] = by[done];
        v[done] = e;
        by[done] = b;
    }
}

static size_t real_left(struct disk *d, struct repl_entry *ret)
{
    struct real *r = real_of(d);
    struct store_tx *tx = read_begin(r);
    const char *after = NULL;
    struct stream_pos *left = NULL;
    uint64_t by[STREAMS_MAX];
    size_t n = 0, count = 0;
    if (change_streams_left(tx, NULL, &r->arena, &left, &n, &after) != 0 || after != NULL) sim_fail(d->s, "left");
    for (size_t i = 0; i < n && count < STREAMS_MAX; i++) {
        const struct stream_pos p = left[i];
        struct side_row said;
        char key[17];
        snprintf(key, sizeof(key), "%016llx", (unsigned long long)p.stream);
        if (tx->v->side_get(tx, SIDE_STREAM, key, &r->arena, &said) != 0) sim_fail(d->s, "left");
        by[count] = said.stamp.stream;
        ret[count++] = (struct repl_entry){ .stream = p.stream, .node = p.node, .pos = p.pos, .chain = p.chain };
    }
    read_end(r);
    in_order(ret, by, count);
    return count;
}

static bool real_lacks(struct disk *d)
{
    struct real *r = real_of(d);
    struct store_tx *tx = read_begin(r);
    bool ret;
    if (change_lacks(tx, &r->arena, &ret) != 0) sim_fail(d->s, "what it lacks");
    read_end(r);
    return ret;
}

static size_t real_members(struct disk *d, struct member *ret)
{
    struct real *r = real_of(d);
    struct store_tx *tx = read_begin(r);
    struct member *m = NULL;
    size_t count = 0;
    if (change_members(tx, &r->arena, &m, &count) != 0 || count > MEMBERS_MAX) sim_fail(d->s, "members");
    for (size_t i = 0; i < count && !d->s->failed; i++) {
        ret[i] = m[i];
        ret[i].url = NULL;
    }
    read_end(r);
    return count;
}

static size_t real_page(struct disk *d, uint64_t stream, uint64_t from, uint64_t to, struct op **ret)
{
    struct real *r = real_of(d);
    struct store_tx *tx = read_begin(r);
    struct log_op *ops = NULL;
    size_t count = 0;
    if (tx->v->op_page(tx, stream, from, (size_t)(to - from + 1), READ_MAX / 2, &r->arena, &ops, &count) != 0)
        sim_fail(d->s, "page");
    for (size_t i = 0; i < count; i++)
        ret[i] = sim_bind(d->s, stream, ops[i].seq, ops[i].chain, ops[i].body, ops[i].body_len);
    read_end(r);
    return count;
}

static bool real_chain(struct disk *d, uint64_t stream, uint64_t seq, uint64_t *ret)
{
    struct real *r = real_of(d);
    struct store_tx *tx = read_begin(r);
    *ret = 0;
    int rc = seq == 0 ? 0 : tx->v->op_chain(tx, stream, seq, ret);
    read_end(r);
    return rc == 0;
}

static bool real_key(struct disk *d, uint64_t key, uint64_t *ret_stream, uint64_t *ret_seq)
{
    struct real *r = real_of(d);
    struct store_tx *tx = read_begin(r);
    struct idem_row row;
    struct arena a;
    char text[32];
    key_text(text, key);
    arena_init(&a, 1u << 20);
    int rc = tx->v->idem_get(tx, text, &a, &row);
    arena_release(&a);
    read_end(r);
    *ret_stream = rc == 0 ? row.stamp.stream : 0;
    *ret_seq = rc == 0 ? row.stamp.seq : 0;
    return rc == 0;
}

/* ---- state, trimming ----------------------------------------------------------------------------------------- */
static uint64_t real_trimmed(struct disk *d, uint64_t stream)
{
    struct real *r = real_of(d);
    struct store_tx *tx = read_begin(r);
    struct stream_pos pos = { 0 };
    int rc = tx->v->stream_get(tx, stream, &pos);
    read_end(r);
    return rc == 0 ? pos.trimmed : 0;
}

static void real_trim(struct disk *d, uint64_t keep, int64_t wall_us)
{
    struct real *r = real_of(d);
    struct repl_entry v[STREAMS_MAX];
    size_t count = real_vector(d, v);
    struct store_tx *tx = NULL;
    struct err err = { 0 };
    bool more;
    int rc = r->store->b->begin(r->writer, &tx, &err);
    change_begin(&r->c, tx, START_US + wall_us);
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (v[i].pos > keep) rc = change_trim_log(&r->c, v[i].stream, v[i].pos - keep, &more);
    if (rc == 0) rc = change_finish(&r->c);
    if (rc == 0) rc = r->store->b->commit(r->writer, true, &err);
    if (rc != 0) sim_fail(d->s, "trimming: %s", err_text(rc));
}

/* Forgets deletions of one kind; *gone: how many. */
static int trim_kind(struct real *r, struct store_tx *tx, const struct trim_gone *t, size_t *gone)
{
    struct sim *s = r->d.s;
    struct side_row *side = NULL;
    const char *last;
    size_t n = 0, some;
    struct side_row there;
    int rc = tx->v->side_scan(tx, t->kind, NULL, NULL, 4096, &r->arena, &side, &n);
    if (rc == 0) rc = change_trim_gone(&r->c, t, NULL, 4096, &last, &some);
    if (rc == 0) *gone += some;
    for (size_t i = 0; rc == 0 && t->kind == SIDE_TOMBSTONE && i < n; i++) {
        if (tx->v->side_get(tx, t->kind, side[i].id, &r->arena, &there) == 0) continue;
        if (side[i].stamp.ver > r->c.hlc.last) sim_fail(s, "node %u: its clock is behind what it forgot", r->d.index);
        if (dump_forgotten(s, side[i].id, strlen(side[i].id)) || s->forgottens == FORGOTTEN_MAX) continue;
        s->forgotten[s->forgottens++] = arena_strdup(&s->arena, side[i].id);
    }
    return rc;
}

/* Old enough by this node's clock, every member told that it has it, and whatever they had then is here, too. */
static size_t real_trim_tombs(struct disk *d, struct node *n, int64_t wall_us)
{
    static const uint16_t kinds[] = { SIDE_TOMBSTONE, SIDE_LINK_GONE, SIDE_ARCHIVE };
    struct real *r = real_of(d);
    struct cover told[MEMBERS_MAX];
    struct trim_gone t = { .before = hlc_of_us(START_US + wall_us - TOMB_AGE_US) };
    struct store_tx *tx = NULL;
    struct err err = { 0 };
    size_t gone = 0;
    if (!told_all_here(n) && !MUTANT(TOMB_BY_TIME) && !MUTANT(TOMB_BY_VECTORS)) return 0;
    if (d->s->removes && !told_removals(n)) return 0;
    t.member = told;
    t.count = MUTANT(TOMB_BY_TIME) ? 0 : told_covers(n, told);
    int rc = r->store->b->begin(r->writer, &tx, &err);
    change_begin(&r->c, tx, START_US + wall_us);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(kinds); i++) {
        t.kind = kinds[i];
        rc = trim_kind(r, tx, &t, &gone);
    }
    if (rc == 0) rc = change_finish(&r->c);
    if (rc == 0) rc = r->store->b->commit(r->writer, !d->lazy, &err);
    if (rc != 0) sim_fail(d->s, "trimming: %s", err_text(rc));
    arena_release(&r->arena);
    check_clock(r);
    return gone;
}

static bool real_ahead(struct disk *d)
{
    struct real *r = real_of(d);
    struct store_tx *tx = read_begin(r);
    bool ret;
    if (change_ahead(tx, &r->arena, &ret) != 0) sim_fail(d->s, "what is ahead");
    read_end(r);
    return ret;
}

static int by_stream(const void *a, const void *b)
{
    const struct stream_pos *x = a, *y = b;
    return x->stream < y->stream ? -1 : x->stream > y->stream;
}

static struct stream_pos *real_head(struct disk *d, size_t *ret_count)
{
    struct real *r = real_of(d);
    struct store_tx *tx = read_begin(r);
    struct stream_pos *p = NULL;
    if (tx->v->streams(tx, &r->arena, &p, ret_count) != 0) sim_fail(d->s, "streams");
    struct repl_entry left[STREAMS_MAX];
    struct stream_pos *copy = mem_alloc((*ret_count + STREAMS_MAX) * sizeof(*copy));
    for (size_t i = 0; i < *ret_count; i++) copy[i] = p[i];
    read_end(r);
    size_t lefts = d->s->ends ? real_left(d, left) : 0;
    for (size_t i = 0; i < lefts; i++) {
        struct stream_pos at = { .stream = left[i].stream, .node = left[i].node, .pos = left[i].pos };
        at.chain = left[i].chain;
        at.trimmed = at.pos;
        at.ended = at.left = true;
        copy[(*ret_count)++] = at;
    }
    if (lefts > 0) qsort(copy, *ret_count, sizeof(*copy), by_stream);
    return copy;
}

static void real_give(struct disk *d, struct state_page *p, size_t rows)
{
    struct real *r = real_of(d);
    struct store_tx *tx = read_begin(r);
    struct page_at at = { .section = p->from, .after = p->from_after };
    struct buf b;
    buf_init(&b, DUMP_MAX);
    int rc = change_page(tx, &at, rows, DUMP_MAX, &r->arena, &b);
    if (rc != 0) sim_fail(d->s, "a page: %s", err_text(rc));
    p->to = at.section;
    p->to_after = at.after == NULL ? NULL : mem_strdup(at.after);
    p->bytes = buf_take(&b, &p->len);
    read_end(r);
}

static char *real_dump(struct disk *d)
{
    struct buf b;
    buf_init(&b, DUMP_MAX);
    memstore_dump(real_of(d)->store, true, &b);
    if (d->s->trims_tombs || d->s->forked_count > 0) dump_comparable(d->s, &b);
    if (strstr(buf_str(&b), "shadow ") != NULL) d->s->goal[GOAL_TITLE_SHARED] = true;
    return buf_take(&b, NULL);
}

static char *real_archive(struct disk *d)
{
    return memstore_archive_dump(real_of(d)->store, false);
}

/* Ops of one stream, as they were first made, into a store that has seen nothing else. */
static void replay_ops(struct real *r, const struct repl_entry *v, const struct op *const *op, size_t count)
{
    struct log_op *ops = mem_alloc((count + 1) * sizeof(*ops));
    struct foreign_batch f = { .stream = v->stream, .node = v->node, .first_seq = 1, .op = ops, .count = count };
    enum foreign_result result;
    struct stream_pos pos;
    struct err err = { 0 };
    for (size_t i = 0; i < count; i++)
        ops[i] = (struct log_op){ .seq = op[i]->seq, .body = op[i]->body, .body_len = op[i]->len };
    int rc = change_savepoint(&r->c, &err);
    /* that it left may have been said twice, by one that was replayed already; and there may be two histories */
    bool there = rc == 0 && r->c.tx->v->stream_get(r->c.tx, v->stream, &pos) == 0;
    if (there && (pos.left || fork_is(r->d.s, v->stream))) rc = change_stream_forget(&r->c, v->stream);
    if (rc == 0) rc = change_foreign(&r->c, &f, &result, &pos);
    if (rc == 0) rc = change_savepoint_end(&r->c, true, &err);
    if (rc != 0 || result != FOREIGN_APPLIED || pos.pos != count || pos.chain != op[count - 1]->chain)
        sim_fail(r->d.s, "stream %llx cannot be replayed", (unsigned long long)v->stream);
    mem_free(ops);
}

static void replay_stream(struct real *r, const struct repl_entry *v)
{
    struct sim *s = r->d.s;
    const struct op *end[FORKS_MAX], **op = mem_alloc(OPS_MAX * sizeof(*op));
    size_t ends = fork_is(s, v->stream) ? fork_histories(s, v->stream, end, FORKS_MAX) : 0, count = 0;
    for (size_t i = 0; i < ends; i++) {
        CHECK(end[i]->seq <= OPS_MAX);
        replay_ops(r, v, op, fork_history(s, end[i], op));
    }
    if (!fork_is(s, v->stream)) {
        CHECK(v->pos <= OPS_MAX);
        while (count < v->pos && (op[count] = sim_op(s, v->stream, count + 1, 0)) != NULL) count++;
        if (count < v->pos) sim_fail(s, "stream %llx has a hole", (unsigned long long)v->stream);
        if (!s->failed) replay_ops(r, v, op, count);
    }
    mem_free(op);
}

char *disk_replay(struct sim *s, const struct repl_entry *v, size_t count)
{
    struct disk *d = disk_real(s, NODES_MAX);
    struct real *r = real_of(d);
    struct store_tx *tx = NULL;
    struct err err = { 0 };
    uint64_t streams = s->streams;
    change_start(r, &r->c, r->writer, -START_US + 1000); /* a stream of a time when nobody lived */
    s->streams = streams;
    r->alive = true;
    if (r->store->b->begin(r->writer, &tx, &err) != 0) WRONG("a store in memory");
    change_begin(&r->c, tx, START_US);
    for (size_t i = 0; i < count && !s->failed; i++)
        if (v[i].pos > 0) replay_stream(r, &v[i]);
    if (change_finish(&r->c) != 0 || r->store->b->commit(r->writer, true, &err) != 0)
        sim_fail(s, "replay: %s", err.msg);
    char *text = real_dump(d);
    d->v->close(d);
    return text;
}

static void real_copy(struct disk *d)
{
    real_of(d)->copy = memstore_snapshot(real_of(d)->store);
}

static void real_set_back(struct disk *d)
{
    memstore_restore(real_of(d)->store, real_of(d)->copy);
}

static bool real_save(struct disk *d)
{
    struct real *r = real_of(d);
    struct writer_memory *memory = writer_memory_save(&r->c);
    if (memory == NULL) return false;
    if (r->copy != NULL) memstore_image_free(r->copy);
    mem_free(r->memory);
    r->copy = memstore_snapshot(r->store);
    r->memory = memory;
    return true;
}

static void real_resume(struct disk *d)
{
    struct real *r = real_of(d);
    memstore_restore(r->store, r->copy);
    writer_memory_resume(&r->c, r->memory);
    d->pos = r->c.origin.seq;
    d->chain = r->c.origin.chain;
    d->seen_count = 0;
    d->clock = 0;
}

static void real_repeat(struct disk *d, uint64_t stream, int64_t wall_us)
{
    struct real *r = real_of(d);
    struct store_tx *tx = NULL;
    struct err err = { 0 };
    if (r->store->b->begin(r->writer, &tx, &err) != 0) sim_fail(d->s, "begin: %s", err.msg);
    change_begin(&r->c, tx, START_US + wall_us);
    int rc = change_savepoint(&r->c, &err);
    if (rc == 0) rc = repeat_all(&r->c, stream);
    if (rc == 0) rc = change_stream_forget(&r->c, stream);
    if (rc == 0) rc = change_savepoint_end(&r->c, true, &err);
    if (rc == 0) rc = change_finish(&r->c);
    if (rc != 0 || r->store->b->commit(r->writer, true, &err) != 0) sim_fail(d->s, "repeating: %s", err_text(rc));
    d->pos = r->c.origin.seq;
    d->chain = r->c.origin.chain;
    d->s->goal[GOAL_FORK_REPEATED] = true;
}

static void real_clone(struct disk *d, struct disk *of)
{
    struct memstore_image *image = memstore_snapshot(real_of(of)->store);
    memstore_restore(real_of(d)->store, image);
    memstore_image_free(image);
}

static uint64_t real_mark(struct disk *d, bool durable)
{
    return memstore_mark(real_of(d)->store, durable);
}

static void real_power(struct disk *d, uint64_t mark)
{
    memstore_crash_to(real_of(d)->store, mark);
}

static void real_close(struct disk *d)
{
    struct real *r = real_of(d);
    disk_free(d);
    real_life_end(d);
    r->store->b->conn_close(r->writer);
    r->store->b->conn_close(r->reader);
    r->store->b->close(r->store);
    arena_release(&r->arena);
    if (r->copy != NULL) memstore_image_free(r->copy);
    mem_free(r->memory);
    mem_free(r);
}

struct disk *disk_real(struct sim *s, unsigned index)
{
    static const struct disk_verbs verbs = {
        .close = real_close,
        .copy = real_copy,
        .set_back = real_set_back,
        .clone = real_clone,
        .save = real_save,
        .resume = real_resume,
        .repeat = real_repeat,
        .life = real_life,
        .life_end = real_life_end,
        .run = real_run,
        .command = real_command,
        .vector = real_vector,
        .page = real_page,
        .chain = real_chain,
        .key = real_key,
        .trimmed = real_trimmed,
        .trim = real_trim,
        .trim_tombs = real_trim_tombs,
        .ahead = real_ahead,
        .head = real_head,
        .give = real_give,
        .left = real_left,
        .lacks = real_lacks,
        .archive = real_archive,
        .members = real_members,
        .dump = real_dump,
        .mark = real_mark,
        .power = real_power,
    };
    struct real *r = mem_alloc(sizeof(*r));
    struct err err = { 0 };
    r->d.v = &verbs;
    r->d.s = s;
    r->d.index = index;
    lifetimes_default(&r->lifetimes);
    arena_init(&r->arena, READ_MAX);
    r->store = memstore_open(false);
    if (r->store->b->conn_open(r->store, true, &r->writer, &err) != 0 ||
        r->store->b->conn_open(r->store, false, &r->reader, &err) != 0)
        WRONG("a store in memory");
    return &r->d;
}
