/* words.h - the word index: what is in it (words.c), and the newest rows that are not yet (tail.c). Part of sq.h. */
#ifndef AIM_STORE_SQLITE_WORDS_H
#define AIM_STORE_SQLITE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "store.h"

#define SQ_WORDS_FORMAT 2         /* of the word index (recall_stat.format) */
#define SQ_TAIL_ROWS 256          /* no commit leaves a tail that has as many rows, */
#define SQ_TAIL_BYTES (256 << 10) /* or as much text */

struct store_conn;

/* recall_stat. The index holds the rows up to the mark, those beyond it are the tail: see words.c. */
struct sq_totals {
    int64_t rows, words; /* of the rows in the index */
    int64_t mark, edits; /* the mark's rowid; how often what is in a tail was edited or removed */
};

/* Of a connection. Changes of the transaction in the index are kept back until its end: FTS5 would write a segment at
 * every savepoint. */
struct sq_words {
    struct buf todo; /* entries one after the other; see words.c */
    size_t applied;  /* those before are in the index */
    struct sq_totals totals;
    bool loaded, changed; /* totals: read in this transaction; to be written */
    int64_t top;          /* greatest rowid this transaction put into the tail, 0: none */
    int64_t tail_bytes;   /* text in the tail, or more; unless someone else wrote since */
    bool tail_bytes_known;
    bool tail_read;       /* in this transaction */
    bool direct;          /* in this transaction the tail went into the index: it is empty, and stays so */
    struct sq_tail *tail; /* owned; NULL until first read */
};
struct sq_mark {
    size_t len, applied;
    struct sq_totals totals;
    bool loaded, changed;
};

/* ---- words.c */
int sq_words_change(struct store_conn *c, int64_t rowid, const struct memory *before, const struct memory *after);
int sq_words_finish(struct store_conn *c);     /* all that is to be in the index, the totals: before commit */
void sq_words_undone(struct store_conn *c);    /* the transaction was, or what followed a savepoint */
void sq_words_forget(struct store_conn *c);    /* end of the transaction */
/* Now, so many rows and bytes of it at most (0: all); inside a write transaction. *ret_more: some are left. */
int sq_words_index_tail(struct store_conn *c, size_t rows_max, size_t bytes_max, bool *ret_more);
int sq_words_rebuild(struct store_conn *c);    /* inside a write transaction */
int sq_words_merge(struct store_conn *c, bool *ret_more); /* one small step */

/* ---- tail.c */
/* Brings the words of the tail up to the transaction's state. The caller has read the totals. 0, E_*. */
int sq_tail_read(struct store_conn *c);
/* Rows in the tail and words in them, as read. */
void sq_tail_count(const struct sq_tail *t, int64_t *ret_rows, int64_t *ret_words);
/* As words_scan says, of the rows in the tail as read. True: the callback, or the limit, ended it. *limit (0: none) is
 * lowered by those told. */
bool sq_tail_scan(const struct sq_tail *t, const char *const *all_of, const char *const *any_of_ns, bool prefix_last,
                  int64_t *limit, rowid_cb cb, void *data);
void sq_tail_drop(struct sq_tail *t); /* what was read counts no more */
void sq_tail_free(struct sq_tail *t);

#endif
