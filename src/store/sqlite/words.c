/* words.c - the word index recall_fts, its totals and its mark (recall_stat).
 *
 * A row that was just written is not in the index yet: FTS5 writes a segment for every transaction that adds words, and
 * merges them later. The index holds the rows up to the mark; those beyond it, the tail, are read by who asks (tail.c).
 *
 *   rowids:  1 ........... mark | mark + 1 ........ greatest
 *            in the index        the tail: SQ_TAIL_ROWS, SQ_TAIL_BYTES at most when a transaction has ended
 *
 * Which it is depends on the rowid only, so a rowid used again needs no care. The tail goes into the index, and the
 * mark behind it, in the transaction that makes it too long, or when the writer rests. Within one mark a tail only
 * grows, unless `edits` says otherwise: what a connection read of it stays good.
 *
 * The index is contentless: to take a row out, FTS5 must be told the very words that went in. So changes are lines
 * of words (old and new), kept back in `todo` until the transaction ends or the index is asked, because FTS5 writes
 * out a segment whenever a savepoint begins. An entry: u8 0 drop or 1 add, i64 rowid, three blobs (title, content,
 * tags and namespace word). */
#include "store/sqlite/sq.h"

#include <string.h>

#include "base/alloc.h"
#include "memory/text.h"

#define TODO_CLEAR_BYTES (8u << 20)
#define MERGE_PAGES 16

/* ---- changes */
static int load_totals(struct store_conn *c)
{
    int rc;
    if (c->words.loaded) return 0;
    sqlite3_stmt *s = sq_stmt(c, SQ_STAT_GET, &rc);
    if (s == NULL) return rc;
    rc = sq_step(c, s);
    if (rc < 0) return rc;
    if (rc == 1)
        c->words.totals = (struct sq_totals){ sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1),
                                              sqlite3_column_int64(s, 2), sqlite3_column_int64(s, 3) };
    sq_done(s);
    if (rc == 0) return err_set(c->tx.err, E_CORRUPT, "%s: recall_stat is empty", c->file->path);
    c->words.loaded = true;
    return 0;
}

/* Appends a blob of words and returns their number. */
static int64_t put_words(struct buf *b, const char *text, const char *extra)
{
    size_t at = b->len;
    buf_u32(b, 0);
    size_t count = text_words_line(sqlite_tokenizer(), text, strlen(text), b);
    if (extra) {
        if (count > 0) buf_putc(b, ' ');
        buf_puts(b, extra);
    }
    if (!b->failed) {
        size_t n = b->len - at - 4;
        for (int i = 0; i < 4; i++) b->data[at + (size_t)i] = (char)(unsigned char)(n >> (8 * i));
    }
    return (int64_t)count;
}

static int64_t put_entry(struct buf *b, bool add, int64_t rowid, const struct memory *m)
{
    char ns[NS_WORD_BYTES];
    text_ns_word(ns, m->ns);
    buf_u8(b, add);
    buf_u64(b, (uint64_t)rowid);
    int64_t count = put_words(b, m->title, NULL);
    count += put_words(b, m->content, NULL);
    return count + put_words(b, m->tags, ns);
}

static bool same_words(const struct memory *a, const struct memory *b)
{
    return strcmp(a->title, b->title) == 0 && strcmp(a->content, b->content) == 0 && strcmp(a->tags, b->tags) == 0 &&
           strcmp(a->ns, b->ns) == 0;
}

static void bind_words(sqlite3_stmt *s, int at, struct reader *r)
{
    size_t len;
    const void *words = read_blob(r, &len);
    sqlite3_bind_text(s, at, words ? words : "", (int)len, SQLITE_STATIC);
}

/* What is kept back goes into the index. */
static int flush(struct store_conn *c)
{
    struct sq_words *w = &c->words;
    while (w->applied < w->todo.len) {
        struct reader r;
        int rc;
        reader_init(&r, w->todo.data + w->applied, w->todo.len - w->applied);
        size_t left = r.left;
        sqlite3_stmt *s = sq_stmt(c, read_u8(&r) ? SQ_WORDS_ADD : SQ_WORDS_DROP, &rc);
        if (s == NULL) return rc;
        sq_int(s, 1, (int64_t)read_u64(&r));
        for (int i = 2; i <= 4; i++) bind_words(s, i, &r);
        rc = sq_run(c, s);
        if (rc != 0) return rc;
        w->applied += left - r.left;
        c->chores_due = true;
    }
    return 0;
}

static int note_change(struct store_conn *c, int64_t rowid, const struct memory *before, const struct memory *after)
{
    struct sq_words *w = &c->words;
    size_t start = w->todo.len;
    if (before) w->totals.words -= put_entry(&w->todo, false, rowid, before);
    if (after) w->totals.words += put_entry(&w->todo, true, rowid, after);
    w->totals.rows += (after != NULL) - (before != NULL);
    w->changed = true;
    if (w->todo.failed) {
        w->todo.len = start;
        w->todo.failed = false;
        return err_set(c->tx.err, E_TOO_LARGE, "%s: too much text in one transaction", c->file->path);
    }
    if (w->todo.len <= TODO_CLEAR_BYTES || c->depth > 0) return 0;
    int rc = flush(c);
    w->todo.len = w->applied = 0;
    return rc;
}

struct move {
    struct store_conn *c;
    size_t rows, bytes;
};

static int move_row(void *data, const struct row *r)
{
    struct move *m = data;
    m->c->words.totals.mark = r->rowid;
    m->rows++;
    m->bytes += sq_row_bytes(r);
    return note_change(m->c, r->rowid, NULL, &r->m);
}

/* The tail is to go into the index. Of all of it: so is what this transaction adds after it, at once. */
static int take_tail(struct store_conn *c, size_t rows_max, size_t bytes_max, bool *ret_more)
{
    struct sq_words *w = &c->words;
    struct move m = { .c = c };
    int rc = sq_rows_beyond(c, w->totals.mark, rows_max, bytes_max, move_row, &m);
    *ret_more = rc == 0 && ((rows_max && m.rows >= rows_max) || (bytes_max && m.bytes >= bytes_max));
    w->tail_bytes = 0;
    w->tail_bytes_known = w->direct = rc == 0 && !*ret_more;
    return rc;
}

static void note_tail(struct sq_words *w, int64_t rowid, const struct memory *before, const struct memory *after)
{
    if (before) {
        w->totals.edits++;
        w->changed = true;
    }
    if (after) {
        w->direct = false;
        w->tail_bytes += (int64_t)(strlen(after->title) + strlen(after->content) + strlen(after->tags));
        if (rowid > w->top) w->top = rowid;
    }
}

int sq_words_change(struct store_conn *c, int64_t rowid, const struct memory *before, const struct memory *after)
{
    if (before && after && same_words(before, after)) return 0;
    int rc = load_totals(c);
    if (rc != 0) return rc;
    struct sq_words *w = &c->words;
    if (rowid <= w->totals.mark) return note_change(c, rowid, before, after);
    bool adds = c->depth == 0 && before == NULL, more; /* and no savepoint undoes it */
    if (adds && w->direct) {
        w->totals.mark = rowid;
        return note_change(c, rowid, NULL, after);
    }
    note_tail(w, rowid, before, after);
    return adds && rowid - w->totals.mark >= SQ_TAIL_ROWS ? take_tail(c, 0, 0, &more) : 0;
}

/* ---- the tail goes into the index */
int sq_words_index_tail(struct store_conn *c, size_t rows_max, size_t bytes_max, bool *ret_more)
{
    int rc = load_totals(c);
    *ret_more = false;
    if (rc == 0) rc = take_tail(c, rows_max, bytes_max, ret_more);
    return rc == 0 ? flush(c) : rc;
}

static int count_tail_bytes(struct store_conn *c)
{
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_TAIL_TEXT, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, c->words.totals.mark);
    rc = sq_step(c, s);
    if (rc < 0) return rc;
    c->words.tail_bytes = sqlite3_column_int64(s, 0);
    c->words.tail_bytes_known = true;
    sq_done(s);
    return 0;
}

/* Keeps the bound, when this transaction put rows into the tail. */
static int bound_tail(struct store_conn *c)
{
    struct sq_words *w = &c->words;
    int rc = 0;
    if (w->top <= w->totals.mark) return 0;
    c->chores_due = true;
    bool full = w->top - w->totals.mark >= SQ_TAIL_ROWS, more;
    if (!full && !w->tail_bytes_known) rc = count_tail_bytes(c);
    full = full || w->tail_bytes >= SQ_TAIL_BYTES;
    return rc == 0 && full ? sq_words_index_tail(c, 0, 0, &more) : rc;
}

int sq_words_finish(struct store_conn *c)
{
    int rc = bound_tail(c);
    if (rc == 0) rc = flush(c);
    if (rc != 0 || !c->words.changed) return rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_STAT_PUT, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, c->words.totals.rows);
    sq_int(s, 2, c->words.totals.words);
    sq_int(s, 3, c->words.totals.mark);
    sq_int(s, 4, c->words.totals.edits);
    return sq_run(c, s);
}

void sq_words_undone(struct store_conn *c)
{
    if (!c->writer) return;
    if (c->words.tail_read) sq_tail_drop(c->words.tail);
    c->words.tail_bytes_known = c->words.direct = false;
}

void sq_words_forget(struct store_conn *c)
{
    c->words.applied = 0;
    c->words.loaded = c->words.changed = c->words.tail_read = c->words.direct = false;
    c->words.top = 0;
    if (c->words.todo.cap > 1u << 20)
        buf_release(&c->words.todo);
    else
        buf_clear(&c->words.todo);
}

/* ---- maintenance */
int sq_words_rebuild(struct store_conn *c)
{
    char stat[400];
    bool more;
    struct sq_words *w = &c->words;
    sqlite3_snprintf(sizeof stat, stat,
                     "INSERT INTO recall_stat (rows, words, format, mark, edits)"
                     " SELECT 0, 0, %d, 0, coalesce(max(edits), 0) + 1 FROM recall_stat;"
                     "DELETE FROM recall_stat WHERE rowid < (SELECT max(rowid) FROM recall_stat);",
                     SQ_WORDS_FORMAT);
    int rc = sq_exec(c, "INSERT INTO recall_fts (recall_fts) VALUES ('delete-all');"
                        "INSERT INTO recall_fts (recall_fts, rank) VALUES ('automerge', 8);"
                        "INSERT INTO recall_fts (recall_fts, rank) VALUES ('usermerge', 2);"
                        "INSERT INTO recall_fts (recall_fts, rank) VALUES ('pgsz', 4000);");
    if (rc == 0) rc = sq_exec(c, stat);
    w->applied = w->todo.len; /* what was kept back is among all rows */
    w->loaded = false;
    if (rc == 0) rc = load_totals(c);
    if (rc != 0) return rc;
    w->totals.mark = INT64_MIN;
    w->changed = true;
    rc = sq_words_index_tail(c, 0, 0, &more);
    if (w->totals.mark < 0) w->totals.mark = 0;
    return rc ? rc : sq_words_finish(c);
}

int sq_words_merge(struct store_conn *c, bool *ret_more)
{
    int rc, before = sqlite3_total_changes(c->db);
    *ret_more = false;
    sqlite3_stmt *s = sq_stmt(c, SQ_WORDS_MERGE, &rc);
    if (s == NULL) return rc;
    sq_int(s, 1, MERGE_PAGES);
    rc = sq_run(c, s);
    *ret_more = rc == 0 && sqlite3_total_changes(c->db) - before >= 2;
    return rc;
}

/* ---- verbs */
/* The tail as the transaction sees it. */
static int read_tail(struct store_conn *c)
{
    int rc = load_totals(c);
    if (rc == 0 && c->writer) rc = bound_tail(c);
    return rc ? rc : sq_tail_read(c);
}

int sq_words_stat(struct store_tx *tx, int64_t *ret_rows, int64_t *ret_words, int64_t *ret_max_rowid)
{
    struct store_conn *c = sq_of(tx);
    int rc = read_tail(c);
    if (rc != 0) return rc;
    sq_tail_count(c->words.tail, ret_rows, ret_words);
    *ret_rows += c->words.totals.rows;
    *ret_words += c->words.totals.words;
    sqlite3_stmt *s = sq_stmt(c, SQ_MAX_ROWID, &rc);
    if (s == NULL) return rc;
    rc = sq_step(c, s);
    *ret_max_rowid = rc == 1 ? sqlite3_column_int64(s, 0) : 0;
    sq_done(s);
    return rc < 0 ? rc : 0;
}

static void put_quoted(struct buf *b, const char *word, bool prefix)
{
    buf_putc(b, '"');
    for (; *word; word++) {
        if (*word == '"') buf_putc(b, '"');
        buf_putc(b, *word);
    }
    buf_puts(b, prefix ? "\"*" : "\"");
}

/* (ns OR ns ...) AND word AND word ... */
static void put_match(struct buf *b, const char *const *all_of, const char *const *any_of_ns, bool prefix_last)
{
    if (any_of_ns && any_of_ns[0]) {
        for (size_t i = 0; any_of_ns[i]; i++) {
            char ns[NS_WORD_BYTES];
            text_ns_word(ns, any_of_ns[i]);
            buf_puts(b, i ? " OR " : "(");
            put_quoted(b, ns, false);
        }
        buf_putc(b, ')');
    }
    for (size_t i = 0; all_of && all_of[i]; i++) {
        if (b->len > 0) buf_puts(b, " AND ");
        put_quoted(b, all_of[i], prefix_last && all_of[i + 1] == NULL);
    }
}

/* Runs a statement that gives its rowids to aim_give (?2): a row comes out of it when that has enough. limit 0: all. */
static int scan(struct store_conn *c, sqlite3_stmt *s, int64_t limit, rowid_cb cb, void *data)
{
    struct sq_give give = { .cb = cb, .data = data, .left = limit > 0 ? limit : INT64_MAX };
    sqlite3_bind_pointer(s, 2, &give, "aim_give", NULL);
    int rc = sq_step(c, s);
    if (rc == E_INTERNAL && sqlite3_errcode(c->db) == SQLITE_ERROR) rc = 0; /* no word, but a phrase: in no row */
    sq_done(s);
    sqlite3_bind_null(s, 2);
    return rc < 0 ? rc : 0;
}

static int scan_match(struct store_conn *c, struct buf *match, int64_t limit, rowid_cb cb, void *data)
{
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_WORDS_SCAN, &rc);
    if (s == NULL) return rc;
    sqlite3_bind_text(s, 1, match->data, (int)match->len, SQLITE_STATIC);
    rc = scan(c, s, limit, cb, data);
    sqlite3_bind_null(s, 1);
    return rc;
}

int sq_words_scan(struct store_tx *tx, const char *const *all_of, const char *const *any_of_ns, bool prefix_last,
                  int64_t limit, rowid_cb cb, void *data)
{
    struct store_conn *c = sq_of(tx);
    struct buf match;
    buf_init(&match, 1u << 20);
    put_match(&match, all_of, any_of_ns, prefix_last);
    int rc = match.failed ? sq_too_large(c) : read_tail(c);
    if (rc == 0) rc = flush(c);
    if (rc == 0 && match.len > 0 && !sq_tail_scan(c->words.tail, all_of, any_of_ns, prefix_last, &limit, cb, data))
        rc = scan_match(c, &match, limit, cb, data);
    buf_release(&match);
    return rc;
}

struct df {
    int64_t count, last;
};

static int count_row(void *data, int64_t rowid)
{
    struct df *d = data;
    d->count++;
    d->last = rowid;
    return 0;
}

int sq_words_df(struct store_tx *tx, const char *word, bool prefix, int64_t cap, int64_t *ret_df,
                int64_t *ret_last_rowid)
{
    struct df d = { 0, 0 };
    const char *const all_of[] = { word, NULL };
    int rc = sq_words_scan(tx, all_of, NULL, prefix, cap, count_row, &d);
    *ret_df = d.count;
    *ret_last_rowid = d.last;
    return rc;
}

int sq_top_rowids(struct store_tx *tx, int64_t limit, rowid_cb cb, void *data)
{
    struct store_conn *c = sq_of(tx);
    int rc;
    sqlite3_stmt *s = sq_stmt(c, SQ_TOP, &rc);
    if (s == NULL) return rc;
    return scan(c, s, limit, cb, data);
}
