/* text.h - words: what the index stores, what a query asks, what the score counts. One tokenizer for all three. Pure;
 * the raw tokenizer (unicode61 of FTS5) is a seam that the store implements and the start hands on. Any thread. */
#ifndef AIM_MEMORY_TEXT_H
#define AIM_MEMORY_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct buf;

/* start, end: the word's byte range in the text. Non-zero stops and is returned. */
typedef int (*word_cb)(void *data, const char *word, size_t len, size_t start, size_t end);
struct tokenizer { int (*each)(const struct tokenizer *t, const char *text, size_t len, word_cb cb, void *data); };

#define WORD_BYTES_MAX 64
/* The words of a text: the tokenizer's, cut at 64 bytes (at a character boundary), runs of Han, kana, Hangul as
 * overlapping pairs (a lone sign stays). Each gets a running position: neighbours in the text differ by 1. Text of
 * ASCII signs only is not shown to the tokenizer: its runs of letters and digits are the words. */
typedef int (*text_word_cb)(void *data, const char *word, size_t len, uint32_t position);
int text_words(const struct tokenizer *t, const char *text, size_t len, text_word_cb cb, void *data);
/* The same, appended to b separated by blanks: what the full-text index is fed (and un-fed) with. Returns the number
 * of words. */
size_t text_words_line(const struct tokenizer *t, const char *text, size_t len, struct buf *b);
/* "nsq" + 16 hex digits of a hash of the namespace: the word by which an index scan is kept to a namespace. */
#define NS_WORD_BYTES 20
void text_ns_word(char out[NS_WORD_BYTES], const char *ns);
/* How the id of a new memory begins: 12 digits of a hash of its title and namespace, "01234567-89ab". So rows are found
 * by title in the index of ids; one whose id begins otherwise (an older file's, a renamed one) needs an entry of its
 * own. */
#define TITLE_ID_BYTES 14
void text_title_id(char out[TITLE_ID_BYTES], const char *title, const char *ns);

/* A query taken apart (recall.md 2). */
struct group {
    const char **word; size_t words;      /* more than one: a phrase, adjacent in the text */
    bool prefix;                          /* a lone CJK sign: word[0] is a prefix */
    bool function_word;                   /* every word is on the list of function words */
    /* candidate spellings by rule for a lone ASCII word of 3..24 letters; the caller drops those the store does not
     * hold */
    const char **variant; size_t variants;
};
struct query_index;
struct query { struct group *group; size_t groups; const struct query_index *index; };
#define QUERY_GROUPS_MAX 32
#define QUERY_PHRASE_MAX 16               /* words of a phrase; what is longer becomes several */
#define QUERY_VARIANTS_MAX 24
/* NUL and the contract's invisible characters are dropped; split at white space, quotes, operators; AND OR NOT NEAR
 * are ordinary words; equal groups fold into one; of more than 32 the function words go first. E_TOO_LARGE when the
 * arena is full. groups 0: nothing to look for. variants: whether to derive them (recall) or not (search, forget). */
int query_parse(const struct tokenizer *t, const char *text, size_t len, bool variants, struct arena *a,
                struct query *ret);
/* Makes the table score_match looks words up in; again after the caller took groups or variants out. E_TOO_LARGE. */
int query_index(struct query *q, struct arena *a);

#endif
