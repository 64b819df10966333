#include "cluster/mixed_work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "store/change.h"

#define AHEAD_US INT64_C(60000000)
#define ROWS_ARENA (64u << 20)
#define IDS_SLOTS 16384u
#define OPS_LOOKED 4096 /* ops without a row for an original are passed over, so many at a time */
#define OP_PAGE_BYTES (1u << 20)

/* ---- where we are ------------------------------------------------------------------------------------------------ */

static int by_stream(const void *a, const void *b)
{
    const struct stream_pos *x = a, *y = b;
    return (x->stream > y->stream) - (x->stream < y->stream);
}

int goal_run(struct read_item *item, struct store_tx *tx, struct err *err)
{
    struct goal_job *j = container_of(item, struct goal_job, job.item.read);
    int64_t rows, words;
    (void)err;
    arena_init(&j->arena, ROWS_ARENA);
    int rc = tx->v->streams(tx, &j->arena, &j->pos, &j->count);
    if (rc == 0) rc = tx->v->words_stat(tx, &rows, &words, &j->rows_end);
    if (rc == 0 && j->count > 0) qsort(j->pos, j->count, sizeof *j->pos, by_stream);
    return rc;
}

void goal_free(struct goal_job *j)
{
    arena_release(&j->arena);
    mem_free(j);
}

/* ---- a page of its rows ------------------------------------------------------------------------------------------ */

static void refuse(struct look_job *j, const json_t *row, const char *why)
{
    const char *id = json_string_value(json_object_get(row, "id"));
    const char *copy = arena_strdup(&j->arena, why);
    j->refused[j->refused_count].id = id == NULL ? "?" : id;
    j->refused[j->refused_count++].why = copy == NULL ? "too many rows" : copy;
}

static int look_at(struct look_job *j, struct store_tx *tx, const json_t *row, int64_t now_us)
{
    struct memory m;
    struct err err = { 0 };
    enum original_kind kind;
    struct arena a;
    int64_t us;
    if (foreign_row_read(row, &j->arena, &m, &err) != 0) {
        refuse(j, row, err.msg);
        return 0;
    }
    CHECK(time_parse(m.updated_at, strlen(m.updated_at), &us) == 0);
    j->mark[j->marks++] = foreign_row_mark(&m, us);
    if (us <= now_us + AHEAD_US && us > j->latest_us) j->latest_us = us;
    if (memory_expired(&m, now_us)) return 0; /* it would come back to life in our archive */
    arena_init(&a, ROWS_ARENA);
    int rc = change_original_look(tx, &m, now_us, &a, &kind);
    arena_release(&a);
    if (rc != 0) return rc;
    if (kind == ORIGINAL_NEWS) j->news[j->news_count++] = m;
    if (kind == ORIGINAL_GONE) j->gone[j->gone_count++] = m.id;
    return 0;
}

/* Its pages end behind a row, not behind a moment: the next page begins anew with the last row's moment. */
static const char *next_of(const json_t *rows)
{
    int64_t us;
    size_t n = json_array_size(rows);
    const char *last = n == 0 ? NULL : json_string_value(json_object_get(json_array_get(rows, n - 1), "updated_at"));
    while (last != NULL && n-- > 0) {
        const char *at = json_string_value(json_object_get(json_array_get(rows, n), "updated_at"));
        if (at != NULL && strcmp(at, last) != 0 && time_parse(at, strlen(at), &us) == 0) return at;
    }
    return NULL;
}

int look_run(struct read_item *item, struct store_tx *tx, struct err *err)
{
    struct look_job *j = container_of(item, struct look_job, job.item.read);
    int64_t now_us = clock_wall_us(NULL);
    arena_init(&j->arena, ROWS_ARENA * 2);
    j->doc = json_parse(j->body, j->body_len, NULL, 0, err);
    if (j->doc == NULL) return err_wrap(err, "its rows");
    const json_t *rows = json_object_get(j->doc, "memories");
    if (!json_is_array(rows)) return err_set(err, E_PROTOCOL, "its answer has no rows");
    j->total = json_array_size(rows);
    j->news = arena_alloc(&j->arena, (j->total + 1) * sizeof *j->news);
    j->mark = arena_alloc(&j->arena, (j->total + 1) * sizeof *j->mark);
    j->gone = arena_alloc(&j->arena, (j->total + 1) * sizeof *j->gone);
    j->refused = arena_alloc(&j->arena, (j->total + 1) * sizeof *j->refused);
    if (j->news == NULL || j->mark == NULL || j->gone == NULL || j->refused == NULL)
        return err_set(err, E_TOO_LARGE, "its page is too large");
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < j->total; i++) rc = look_at(j, tx, json_array_get(rows, i), now_us);
    j->next = next_of(rows);
    return rc;
}

void look_free(struct look_job *j)
{
    json_decref(j->doc);
    arena_release(&j->arena);
    mem_free(j->body);
    mem_free(j);
}

/* ---- news into the store ----------------------------------------------------------------------------------------- */

/* A row the store will not have is left out and told; the store's own troubles end the slice. */
static bool its_fault(int rc)
{
    return rc == E_INVALID || rc == E_CONFLICT || rc == E_TOO_LARGE || rc == E_NOT_FOUND || rc == E_TYPE;
}

int merge_run(struct lane_item *item, struct change *c, struct err *err)
{
    struct merge_job *j = container_of(item, struct merge_job, job.item.lane);
    j->applied = j->failed = 0;
    for (size_t i = j->at; i < j->end; i++) {
        const struct memory *m = &j->page->news[i];
        int applied = 0, rc = change_savepoint(c, err);
        if (rc != 0) return rc;
        rc = change_original(c, m, &applied, NULL);
        int end = change_savepoint_end(c, rc == 0, NULL);
        if (rc != 0 && !its_fault(rc)) return rc;
        if (end != 0) return end;
        if (rc == 0) {
            j->applied += (size_t)applied;
            continue;
        }
        j->failed++;
        snprintf(j->failed_id, sizeof j->failed_id, "%s", m->id);
        const char *why = c->tx->err != NULL && c->tx->err->code == rc ? c->tx->err->msg : err_text(rc);
        snprintf(j->why, sizeof j->why, "%.*s", (int)sizeof j->why - 1, why);
    }
    return 0;
}

void merge_free(struct merge_job *j)
{
    look_free(j->page);
    mem_free(j);
}

/* ---- rows for it ------------------------------------------------------------------------------------------------- */

static bool first_time(struct collect_job *j, const char *id)
{
    uint64_t hash = hash64(id, strlen(id), 0) | 1;
    size_t i = hash % IDS_SLOTS;
    if (j->ids_used >= IDS_SLOTS / 2) return true; /* an op of thousands of rows: some go twice */
    while (j->ids[i] != 0 && j->ids[i] != hash) i = (i + 1) % IDS_SLOTS;
    if (j->ids[i] == hash) return false;
    j->ids[i] = hash;
    j->ids_used++;
    return true;
}

static void named(struct collect_job *j, const char *id)
{
    if (j->id[0] == 0) snprintf(j->id, sizeof j->id, "%s", id);
}

static void add_row(struct collect_job *j, const struct row *row)
{
    uint64_t mark = foreign_row_mark(&row->m, stamp_us(row->stamp.ver));
    if (memory_expired(&row->m, j->now_us) || foreign_marks_has(&j->marks, mark)) return;
    json_t *doc = foreign_row_json(&row->m, row->stamp.ver);
    if (doc == NULL) return;
    if (j->rows_count++ > 0) buf_putc(&j->rows, ',');
    json_print(&j->rows, doc);
    json_decref(doc);
    named(j, row->m.id);
    j->mark = mem_realloc(j->mark, (j->mark_count + 1) * sizeof *j->mark);
    j->mark[j->mark_count++] = mark;
}

static void add_gone(struct collect_job *j, const char *id)
{
    if (j->gone_count++ > 0) buf_putc(&j->gone, ',');
    json_print_string(&j->gone, id, strlen(id));
    named(j, id);
}

/* The row as it is now, whatever the op made of it. */
static int add_id(struct collect_job *j, struct store_tx *tx, const char *id, struct arena *a)
{
    struct row row;
    struct side_row side;
    if (!first_time(j, id)) return 0;
    int rc = tx->v->get(tx, id, a, &row);
    if (rc == 0) add_row(j, &row);
    if (rc != E_NOT_FOUND) return rc;
    rc = tx->v->side_get(tx, SIDE_TOMBSTONE, id, a, &side);
    if (rc == 0) add_gone(j, id);
    return rc == E_NOT_FOUND ? 0 : rc;
}

static int add_op(struct collect_job *j, struct store_tx *tx, const struct log_op *op)
{
    struct arena a;
    struct version *v;
    size_t count = 0;
    arena_init(&a, ROWS_ARENA);
    int rc = 0;
    if (op_decode(op->body, op->body_len, &a, &v, &count) != 0) count = 0; /* held: nothing to offer */
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (v[i].kind == KIND_MEMORY || v[i].kind == KIND_TOMBSTONE) rc = add_id(j, tx, v[i].m.id, &a);
    arena_release(&a);
    return rc;
}

static bool is_full(const struct collect_job *j)
{
    return j->rows_count + j->gone_count >= j->rows_max || j->rows.len + j->gone.len >= PUSH_BYTES;
}

static int by_offer(const void *a, const void *b)
{
    const struct offer *x = a, *y = b;
    return (x->stream > y->stream) - (x->stream < y->stream);
}

static uint64_t offered_pos(const struct collect_job *j, uint64_t stream)
{
    const struct offer key = { .stream = stream };
    const struct offer *found =
        j->offered_count == 0 ? NULL : bsearch(&key, j->offered, j->offered_count, sizeof key, by_offer);
    return found == NULL ? 0 : found->pos;
}

/* Ops of one stream behind what was offered, up to its goal, until the push is full. */
static int collect_stream(struct collect_job *j, struct store_tx *tx, const struct stream_pos *goal, size_t *looked)
{
    uint64_t pos = offered_pos(j, goal->stream), from = pos;
    int rc = 0;
    j->trimmed = j->trimmed || (pos < goal->pos && pos < goal->trimmed);
    while (rc == 0 && pos < goal->pos && !is_full(j) && !j->trimmed && *looked < OPS_LOOKED) {
        struct log_op *op;
        struct arena a;
        size_t n = 0;
        arena_init(&a, ROWS_ARENA);
        rc = tx->v->op_page(tx, goal->stream, pos + 1, PUSH_ROWS, OP_PAGE_BYTES, &a, &op, &n);
        if (rc == 0 && (n == 0 || op[0].seq != pos + 1)) j->trimmed = true;
        for (size_t i = 0; rc == 0 && !j->trimmed && i < n && pos < goal->pos && !is_full(j); i++, ++*looked) {
            rc = add_op(j, tx, &op[i]);
            pos = op[i].seq;
        }
        arena_release(&a);
    }
    if (pos != from) j->moved[j->moves++] = (struct offer){ goal->stream, pos };
    j->more = j->more || pos < goal->pos;
    return rc;
}

static int collect_rows(struct collect_job *j, struct store_tx *tx)
{
    struct arena a;
    struct rows rows;
    int64_t rowid[PUSH_ROWS];
    size_t n = 0;
    arena_init(&a, ROWS_ARENA);
    while (n < j->rows_max && j->rowid + (int64_t)n <= j->rows_end) {
        rowid[n] = j->rowid + (int64_t)n;
        n++;
    }
    int rc = tx->v->by_rowids(tx, rowid, n, PUSH_BYTES, &a, &rows);
    int64_t next = j->rowid + (int64_t)n;
    for (size_t i = 0; rc == 0 && i < rows.count; i++) {
        if (is_full(j)) { /* JSON takes more room than the rows */
            next = rows.item[i].rowid;
            break;
        }
        add_row(j, &rows.item[i]);
        if (rows.more && i + 1 == rows.count) next = rows.item[i].rowid + 1;
    }
    j->rowid = next;
    j->more = next <= j->rows_end;
    arena_release(&a);
    return rc;
}

int collect_run(struct read_item *item, struct store_tx *tx, struct err *err)
{
    struct collect_job *j = container_of(item, struct collect_job, job.item.read);
    size_t looked = 0;
    (void)err;
    buf_init(&j->rows, 2 * OP_BYTES_MAX);
    buf_init(&j->gone, 2 * OP_BYTES_MAX);
    if (j->fill) return collect_rows(j, tx);
    j->ids = mem_alloc(IDS_SLOTS * sizeof *j->ids);
    j->moved = mem_alloc((j->goals + 1) * sizeof *j->moved);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < j->goals && !j->trimmed; i++) rc = collect_stream(j, tx, &j->goal[i], &looked);
    return rc;
}

void collect_free(struct collect_job *j)
{
    buf_release(&j->rows);
    buf_release(&j->gone);
    foreign_marks_release(&j->marks);
    mem_free(j->goal);
    mem_free(j->offered);
    mem_free(j->mark);
    mem_free(j->moved);
    mem_free(j->ids);
    mem_free(j);
}
