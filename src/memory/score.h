/* score.h - the ranking formula (recall.md 4; bm25 as FTS5 computes it, k1 1.2, b 0.75), one function for every
 * backend. Pure, any thread. */
#ifndef AIM_MEMORY_SCORE_H
#define AIM_MEMORY_SCORE_H

#include "memory.h"
#include "memory/text.h"

struct corpus { int64_t rows, words; };                       /* N; total words: A = words / N */
/* df: rows holding the group (least df of a phrase not read whole); held: the store knows its words */
struct group_stat { int64_t df; bool held; };

/* The terms a text holds of a query: f per group (tf of the word + 0.8 of its variants; a phrase: adjacent
 * occurrences), and L. */
struct text_match { double f[QUERY_GROUPS_MAX]; uint32_t words; size_t groups_matched; bool all; };
void score_match(const struct tokenizer *t, const struct query *q, const struct memory *m, struct text_match *ret);
double score_idf(const struct corpus *c, int64_t df);         /* max(1e-6, ln((N - n + 0.5)/(n + 0.5))) */
double score_text(const struct corpus *c, const struct query *q, const struct group_stat *g,
                  const struct text_match *x);
/* score = text + 0.5 priority + 0.1 min(access,50) + 2 confidence (+ tier bonus 3/1/0 when with_tier) + 1/(1 + 0.1
 * days since update, at least 0) */
double score_total(double text, const struct memory *m, int64_t now_us, bool with_tier);
/* match = text / (2.2 * sum of idf of all groups; an unknown word counts ln((N + 0.5)/0.5)) */
double score_share(const struct corpus *c, const struct query *q, const struct group_stat *g, double text);
/* 1/(1 + 0.3 (depth difference)), 1 for a flat query */
double score_nearness(const char *query_ns, const char *memory_ns);

#endif
