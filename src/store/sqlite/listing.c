/* listing.c - memories by page and their number. What a filter asks for beyond namespace, tier and priority is in no
 * index, so rows are looked at one by one until the page is full; but for two ways that spare most of them:
 *
 *   an offset is counted off in the index, when it knows all that is asked for and which rows have expired;
 *   rows with a label are among those that hold its words, when these are few (and it needs no escape in JSON). */
#include "store/sqlite/sq.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "memory/text.h"

#define OFFSET_MIN 200 /* smaller ones are not worth another query */
#define ROWIDS_MAX 4096
#define TAG_WORDS_MAX 16

struct rowids {
    int64_t item[ROWIDS_MAX];
    size_t count;
    bool more; /* than fit */
};

/* ?8 and ?9: what the indexes know of a filter besides the namespace. */
static void bind_known(sqlite3_stmt *s, const struct filter *f)
{
    sq_int(s, 8, f->min_priority ? *f->min_priority : INT32_MIN);
    sq_text(s, 9, f->tier ? tier_name(*f->tier) : NULL);
}

/* Nothing is asked for but what the indexes know. */
static bool indexes_know(const struct filter *f)
{
    return f->ns_any == NULL && f->tier_word == NULL && f->since_us == NULL && f->until_us == NULL &&
           f->tags_count == 0 && f->agent_id == NULL && f->viewer == NULL;
}

/* ---- rows skipped in the index */
/* Rows of one priority and version are one group, whose order by id the index does not know. */
struct sq_skip {
    int64_t before;        /* rows of the groups before this one */
    int64_t group;         /* rows of this one so far */
    int64_t priority, ver; /* of this one */
    uint64_t offset;
    const struct rowids *gone; /* sorted */
};

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

bool sq_skip_row(struct sq_skip *k, int64_t priority, int64_t ver, int64_t rowid)
{
    const struct rowids *gone = k->gone;
    if (gone->count > 0 && bsearch(&rowid, gone->item, gone->count, sizeof rowid, by_number)) return false;
    if (k->group == 0 || priority != k->priority || ver != k->ver) {
        k->before += k->group;
        k->group = 0;
        k->priority = priority;
        k->ver = ver;
    }
    return (uint64_t)k->before + (uint64_t)++k->group > k->offset;
}

/* A rowid_cb. */
static int take(void *data, int64_t rowid)
{
    struct rowids *r = data;
    r->more = r->count == ROWIDS_MAX;
    if (!r->more) r->item[r->count++] = rowid;
    return r->more;
}

static int find_gone(struct store_conn *c, int64_t now_us, struct rowids *gone)
{
    int rc = 0;
    if (now_us == 0) return 0;
    sqlite3_stmt *s = sq_stmt(c, SQ_EXPIRED_ROWIDS, &rc);
    if (s == NULL) return rc;
    sq_bind_moment(s, now_us);
    while ((rc = sq_step(c, s)) == 1 && take(gone, sqlite3_column_int64(s, 0)) == 0) continue;
    sq_done(s);
    qsort(gone->item, gone->count, sizeof gone->item[0], by_number);
    return rc < 0 ? rc : 0;
}

/* Where the page begins: *ret_from with *ret_offset rows to go from there. *ret_none: behind the last row. */
static int skip(struct store_conn *c, const struct list_query *q, struct rowids *gone, struct cursor *ret_from,
                uint64_t *ret_offset, bool *ret_none)
{
    struct sq_skip k = { .offset = q->offset, .gone = gone };
    int rc = find_gone(c, q->f.now_us, gone);
    *ret_none = false;
    if (rc != 0 || gone->more) return rc;
    sqlite3_stmt *s = sq_stmt(c, q->f.ns ? SQ_SKIP_NS : SQ_SKIP, &rc);
    if (s == NULL) return rc;
    sqlite3_bind_pointer(s, 1, &k, "aim_skip", NULL);
    if (q->f.ns) sq_text(s, 2, q->f.ns);
    bind_known(s, &q->f);
    rc = sq_step(c, s);
    sq_done(s);
    sqlite3_bind_null(s, 1);
    if (rc < 0) return rc;
    *ret_none = rc == 0;
    *ret_from = (struct cursor){ (int)k.priority, (uint64_t)k.ver, "" };
    *ret_offset = q->offset - (uint64_t)k.before;
    return 0;
}

/* ---- rows found by the words of a label */
struct tag_words {
    const char *word[TAG_WORDS_MAX + 1];
    size_t count;
    struct arena *arena;
    bool failed;
};

static int take_word(void *data, const char *word, size_t len, uint32_t position)
{
    struct tag_words *w = data;
    (void)position;
    if (w->count == TAG_WORDS_MAX) return 1; /* any of them will do */
    const char *copy = arena_strndup(w->arena, word, len);
    w->failed = w->failed || copy == NULL;
    w->word[w->count] = copy;
    w->count += copy != NULL;
    return copy == NULL;
}

/* As JSON has it: a label that is written otherwise than it reads has other words. */
static bool plain(const char *tag)
{
    for (const char *p = tag; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == '"' || *p == '\\' || *p == 0x7f) return false;
    }
    return true;
}

static int add_tagged(struct store_conn *c, const struct filter *f, const char *tag, struct rowids *ret,
                      bool *ret_known)
{
    const char *const ns[] = { f->ns, NULL };
    struct arena a;
    arena_init(&a, 1u << 16);
    struct tag_words w = { .arena = &a };
    if (plain(tag)) text_words(sqlite_tokenizer(), tag, strlen(tag), take_word, &w);
    *ret_known = w.count > 0 && !w.failed;
    int rc = *ret_known ? sq_words_scan(&c->tx, w.word, f->ns ? ns : NULL, false, 0, take, ret) : 0;
    *ret_known = *ret_known && !ret->more;
    arena_release(&a);
    return rc;
}

/* The rows that may have one of the labels, as a JSON array in *list; left empty: not known. */
static int find_tagged(struct store_conn *c, const struct filter *f, struct buf *list)
{
    bool known = f->tags_count > 0;
    int rc = 0;
    if (!known) return 0;
    struct rowids *r = mem_alloc(sizeof *r);
    for (size_t i = 0; rc == 0 && known && i < f->tags_count; i++) rc = add_tagged(c, f, f->tags[i], r, &known);
    qsort(r->item, r->count, sizeof r->item[0], by_number);
    for (size_t i = 0; rc == 0 && known && i < r->count; i++) {
        if (i > 0 && r->item[i] == r->item[i - 1]) continue;
        buf_printf(list, "%c%lld", i ? ',' : '[', (long long)r->item[i]);
    }
    if (rc == 0 && known) buf_puts(list, r->count ? "]" : "[]");
    mem_free(r);
    return list->failed ? sq_too_large(c) : rc;
}

/* ---- the verbs */
static int list_with(struct store_conn *c, const struct list_query *q, const struct buf *of, struct arena *a,
                     struct rows *ret)
{
    int rc;
    sqlite3_stmt *s = sq_stmt(c, of->len > 0 ? SQ_LIST_OF : q->f.ns ? SQ_LIST_NS : SQ_LIST, &rc);
    if (s == NULL) return rc;
    sqlite3_bind_pointer(s, 1, (void *)(uintptr_t)&q->f, "aim_filter", NULL);
    if (of->len > 0)
        sqlite3_bind_text(s, 2, of->data, (int)of->len, SQLITE_STATIC);
    else if (q->f.ns)
        sq_text(s, 2, q->f.ns);
    sq_int(s, 3, q->after ? q->after->priority : INT64_MAX);
    sq_int(s, 4, q->after ? (int64_t)q->after->ver : INT64_MAX);
    sq_text(s, 5, q->after ? q->after->id : "");
    sq_int(s, 6, q->limit < INT32_MAX ? (int64_t)q->limit + 1 : -1);
    sq_int(s, 7, q->offset < INT64_MAX ? (int64_t)q->offset : INT64_MAX);
    bind_known(s, &q->f);
    rc = sq_rows(c, s, q->limit, q->bytes_max, a, ret);
    sqlite3_bind_null(s, 2);
    return rc;
}

int sq_list(struct store_tx *tx, const struct list_query *q, struct arena *a, struct rows *ret)
{
    struct store_conn *c = sq_of(tx);
    struct list_query from = *q;
    struct cursor begin;
    struct buf of;
    bool none = false;
    int rc = 0;
    *ret = (struct rows){ 0 };
    buf_init(&of, 1u << 20);
    if (q->after == NULL && q->offset >= OFFSET_MIN && indexes_know(&q->f)) {
        struct rowids *gone = mem_alloc(sizeof *gone);
        rc = skip(c, q, gone, &begin, &from.offset, &none);
        if (!gone->more) from.after = &begin;
        mem_free(gone);
    } else {
        rc = find_tagged(c, &q->f, &of);
    }
    if (rc == 0 && !none) rc = list_with(c, &from, &of, a, ret);
    buf_release(&of);
    return rc;
}

static int count_known(struct store_conn *c, const struct filter *f, int64_t *ret)
{
    int64_t gone = 0;
    int rc;
    bool all = f->ns == NULL && f->tier == NULL && f->min_priority == NULL;
    sqlite3_stmt *s = sq_stmt(c, f->ns ? SQ_COUNT_KNOWN_NS : all ? SQ_COUNT_ALL : SQ_COUNT_KNOWN, &rc);
    if (s == NULL) return rc;
    if (f->ns) sq_text(s, 2, f->ns);
    if (!all) bind_known(s, f);
    rc = sq_one_number(c, s, ret);
    if (rc != 0 || f->now_us == 0) return rc;
    s = sq_stmt(c, SQ_COUNT_EXPIRED, &rc);
    if (s == NULL) return rc;
    sq_bind_moment(s, f->now_us);
    bind_known(s, f);
    sq_text(s, 2, f->ns);
    rc = sq_one_number(c, s, &gone);
    *ret -= gone;
    return rc;
}

int sq_count(struct store_tx *tx, const struct filter *f, int64_t *ret)
{
    struct store_conn *c = sq_of(tx);
    struct buf of;
    if (indexes_know(f)) return count_known(c, f, ret);
    buf_init(&of, 1u << 20);
    int rc = find_tagged(c, f, &of);
    sqlite3_stmt *s = rc ? NULL : sq_stmt(c, of.len > 0 ? SQ_COUNT_OF : f->ns ? SQ_COUNT_NS : SQ_COUNT, &rc);
    if (s != NULL) {
        sqlite3_bind_pointer(s, 1, (void *)(uintptr_t)f, "aim_filter", NULL);
        if (of.len > 0)
            sqlite3_bind_text(s, 2, of.data, (int)of.len, SQLITE_STATIC);
        else if (f->ns)
            sq_text(s, 2, f->ns);
        rc = sq_one_number(c, s, ret);
        sqlite3_bind_null(s, 2);
    }
    buf_release(&of);
    return rc;
}
