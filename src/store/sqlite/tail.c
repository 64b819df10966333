/* tail.c - the words of the rows that are not in the index yet, as a connection read them: a table of words, each with
 * the rows that hold it, newest first. It answers as FTS5 would: a row has the words that unicode61 makes of the lines
 * the index will be fed with, a word that is asked for is taken apart likewise, and one that makes none, or several, is
 * in no row. */
#include "store/sqlite/sq.h"

#include <string.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "memory/text.h"

/* Ours are less than SQ_TAIL_ROWS; the original's, that did not know of the index, are looked for up to here until the
 * writer finds them. */
#define ROWS_MAX (2 * SQ_TAIL_ROWS)
#define BYTES_MAX (4u * SQ_TAIL_BYTES)
#define KEPT_WORDS 16384u /* of a tail that is read anew the memory is kept up to here */
#define SLOTS_FIRST 4096u

struct posting {
    uint32_t row, older; /* index of the row; of the next posting and 1, 0: none */
};
struct word {
    uint64_t hash;
    uint32_t at, len; /* in `text` */
    uint32_t newest;  /* posting and 1 */
};
struct sq_tail {
    int64_t mark, edits; /* what it was read under */
    int64_t last;        /* the rowid up to which it was read */
    int64_t words;       /* in all its rows, each as often as it is there */
    uint32_t rows, words_known, words_cap, postings, postings_cap, slots;
    size_t bytes;
    int64_t rowid[ROWS_MAX];
    struct word *word;
    struct posting *posting;
    uint32_t *slot; /* index of the word and 1; a power of two of them, at most half of them used */
    struct buf text;
};
struct set { /* of rows */
    uint64_t bits[ROWS_MAX / 64];
};

/* ---- the table */
static struct sq_tail *new_tail(void)
{
    struct sq_tail *t = mem_alloc(sizeof *t);
    t->slots = SLOTS_FIRST;
    t->slot = mem_alloc(t->slots * sizeof *t->slot);
    t->mark = -1; /* no mark is */
    buf_init(&t->text, 64u << 20);
    return t;
}

void sq_tail_free(struct sq_tail *t)
{
    if (t == NULL) return;
    mem_free(t->word);
    mem_free(t->posting);
    mem_free(t->slot);
    buf_release(&t->text);
    mem_free(t);
}

void sq_tail_drop(struct sq_tail *t)
{
    if (t) t->mark = -1;
}

static void begin(struct sq_tail *t, const struct sq_totals *totals)
{
    if (t->words_known > KEPT_WORDS) {
        mem_free(t->word);
        mem_free(t->posting);
        t->word = NULL;
        t->posting = NULL;
        t->words_cap = t->postings_cap = 0;
        t->slots = SLOTS_FIRST;
        t->slot = mem_realloc(t->slot, t->slots * sizeof *t->slot);
        buf_release(&t->text);
    }
    if (t->words_known > 0) memset(t->slot, 0, t->slots * sizeof *t->slot);
    buf_clear(&t->text);
    t->mark = t->last = totals->mark;
    t->edits = totals->edits;
    t->words = 0;
    t->rows = t->words_known = t->postings = 0;
    t->bytes = 0;
}

/* Where the word is, or would be. */
static uint32_t *find(const struct sq_tail *t, uint64_t hash, const char *word, size_t len)
{
    for (uint32_t i = (uint32_t)hash;; i++) {
        uint32_t *slot = &t->slot[i & (t->slots - 1)];
        if (*slot == 0) return slot;
        const struct word *w = &t->word[*slot - 1];
        if (w->hash == hash && w->len == len && memcmp(t->text.data + w->at, word, len) == 0) return slot;
    }
}

static void more_slots(struct sq_tail *t)
{
    t->slots *= 2;
    t->slot = mem_realloc(t->slot, t->slots * sizeof *t->slot);
    memset(t->slot, 0, t->slots * sizeof *t->slot);
    for (uint32_t i = 0; i < t->words_known; i++) {
        uint32_t at = (uint32_t)t->word[i].hash;
        while (t->slot[at & (t->slots - 1)] != 0) at++;
        t->slot[at & (t->slots - 1)] = i + 1;
    }
}

static struct word *new_word(struct sq_tail *t, uint32_t *slot, uint64_t hash, const char *word, size_t len)
{
    if (t->words_known == t->words_cap) {
        t->words_cap = t->words_cap ? t->words_cap * 2 : SLOTS_FIRST / 2;
        t->word = mem_realloc(t->word, t->words_cap * sizeof *t->word);
    }
    struct word *w = &t->word[t->words_known++];
    *w = (struct word){ .hash = hash, .at = (uint32_t)t->text.len, .len = (uint32_t)len };
    buf_put(&t->text, word, len);
    *slot = t->words_known;
    if (t->words_known * 2 > t->slots) more_slots(t);
    return w;
}

/* A word_cb: the row that is being added holds this word. */
static int add_word(void *data, const char *word, size_t len, size_t start, size_t end)
{
    struct sq_tail *t = data;
    (void)start;
    (void)end;
    uint64_t hash = hash64(word, len, 0);
    uint32_t *slot = find(t, hash, word, len);
    struct word *w = *slot ? &t->word[*slot - 1] : new_word(t, slot, hash, word, len);
    if (w->newest && t->posting[w->newest - 1].row == t->rows) return 0;
    if (t->postings == t->postings_cap) {
        t->postings_cap = t->postings_cap ? t->postings_cap * 2 : 4 * SLOTS_FIRST;
        t->posting = mem_realloc(t->posting, t->postings_cap * sizeof *t->posting);
    }
    t->posting[t->postings++] = (struct posting){ .row = t->rows, .older = w->newest };
    w->newest = t->postings;
    return 0;
}

static bool is_ascii(const char *s, size_t len)
{
    unsigned char any = 0;
    for (size_t i = 0; i < len; i++) any |= (unsigned char)s[i];
    return any < 0x80;
}

/* A text_word_cb. The index takes our words apart once more; those in ASCII stay as they are. */
static int add_ours(void *data, const char *word, size_t len, uint32_t position)
{
    struct sq_tail *t = data;
    (void)position;
    t->words++;
    if (is_ascii(word, len)) return add_word(t, word, len, 0, 0);
    const struct tokenizer *tokenizer = sqlite_tokenizer();
    return tokenizer->each(tokenizer, word, len, add_word, t);
}

/* A lent_cb. */
static int add_row(void *data, const struct row *r)
{
    struct store_conn *c = data;
    struct sq_tail *t = c->words.tail;
    const char *const text[] = { r->m.title, r->m.content, r->m.tags };
    char ns[NS_WORD_BYTES];
    for (size_t i = 0; i < 3; i++) {
        size_t len = strlen(text[i]);
        t->bytes += len;
        (void)text_words(sqlite_tokenizer(), text[i], len, add_ours, t);
    }
    text_ns_word(ns, r->m.ns);
    (void)add_word(t, ns, strlen(ns), 0, 0);
    t->rowid[t->rows++] = t->last = r->rowid;
    return t->text.failed ? sq_too_large(c) : 0;
}

int sq_tail_read(struct store_conn *c)
{
    struct sq_words *w = &c->words;
    int rc = 0;
    if (w->tail == NULL) w->tail = new_tail();
    struct sq_tail *t = w->tail;
    if (t->mark != w->totals.mark || t->edits != w->totals.edits)
        begin(t, &w->totals);
    else if (w->tail_read && !c->writer)
        return 0;
    w->tail_read = true;
    if (t->rows < ROWS_MAX && t->bytes < BYTES_MAX)
        rc = sq_rows_beyond(c, t->last, ROWS_MAX - t->rows, BYTES_MAX - t->bytes, add_row, c);
    if (rc != 0) sq_tail_drop(t);
    return rc;
}

void sq_tail_count(const struct sq_tail *t, int64_t *ret_rows, int64_t *ret_words)
{
    *ret_rows = t->rows;
    *ret_words = t->words;
}

/* ---- asking */
static void unite(struct set *to, const struct sq_tail *t, const struct word *w)
{
    for (uint32_t i = w->newest; i != 0; i = t->posting[i - 1].older) {
        uint32_t row = t->posting[i - 1].row;
        to->bits[row / 64] |= UINT64_C(1) << row % 64;
    }
}

static void intersect(struct set *to, const struct set *with)
{
    for (size_t i = 0; i < ROWS_MAX / 64; i++) to->bits[i] &= with->bits[i];
}

struct asked {
    const struct sq_tail *t;
    struct set *rows;
    bool prefix;
    size_t words;
};

/* A word_cb: a word of what is asked for. */
static int look_up(void *data, const char *word, size_t len, size_t start, size_t end)
{
    struct asked *a = data;
    const struct sq_tail *t = a->t;
    (void)start;
    (void)end;
    if (a->words++ > 0) return 1;
    if (!a->prefix) {
        const uint32_t *slot = find(t, hash64(word, len, 0), word, len);
        if (*slot != 0) unite(a->rows, t, &t->word[*slot - 1]);
        return 0;
    }
    for (uint32_t i = 0; i < t->words_known; i++) {
        const struct word *w = &t->word[i];
        if (w->len >= len && memcmp(t->text.data + w->at, word, len) == 0) unite(a->rows, t, w);
    }
    return 0;
}

/* The rows that hold it. */
static void rows_of(const struct sq_tail *t, const char *word, bool prefix, struct set *ret)
{
    struct asked a = { .t = t, .rows = ret, .prefix = prefix };
    const struct tokenizer *tokenizer = sqlite_tokenizer();
    *ret = (struct set){ 0 };
    (void)tokenizer->each(tokenizer, word, strlen(word), look_up, &a);
    if (a.words != 1) *ret = (struct set){ 0 };
}

static void rows_of_ns(const struct sq_tail *t, const char *const *any_of_ns, struct set *ret)
{
    *ret = (struct set){ 0 };
    for (size_t i = 0; any_of_ns[i]; i++) {
        char word[NS_WORD_BYTES];
        text_ns_word(word, any_of_ns[i]);
        const uint32_t *slot = find(t, hash64(word, strlen(word), 0), word, strlen(word));
        if (*slot != 0) unite(ret, t, &t->word[*slot - 1]);
    }
}

bool sq_tail_scan(const struct sq_tail *t, const char *const *all_of, const char *const *any_of_ns, bool prefix_last,
                  int64_t *limit, rowid_cb cb, void *data)
{
    struct set rows, of;
    if (t->rows == 0) return false;
    if (any_of_ns && any_of_ns[0])
        rows_of_ns(t, any_of_ns, &rows);
    else
        memset(&rows, 0xff, sizeof rows);
    for (size_t i = 0; all_of && all_of[i]; i++) {
        rows_of(t, all_of[i], prefix_last && all_of[i + 1] == NULL, &of);
        intersect(&rows, &of);
    }
    for (uint32_t i = t->rows; i-- > 0;) {
        if (!(rows.bits[i / 64] >> i % 64 & 1)) continue;
        if (cb(data, t->rowid[i]) != 0) return true;
        if (*limit > 0 && --*limit == 0) return true;
    }
    return false;
}
