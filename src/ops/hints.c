/* hints.c - see hints.h. The score is that of recall's text part, so the order is the one search would give. */
#include "ops/hints.h"

#include <stdlib.h>
#include <string.h>

#include "memory/score.h"
#include "memory/text.h"

#define POSTINGS_MAX 2000
#define ROWS_MAX 64
#define BYTES_MAX (1u << 20)

struct candidate {
    int64_t rowid;
    double sum;
};
struct pool {
    struct candidate *item;
    size_t count;
    double idf;    /* of the word being scanned */
    size_t before; /* candidates of earlier words: sorted by rowid */
};

static int by_rowid(const void *a, const void *b)
{
    int64_t x = ((const struct candidate *)a)->rowid, y = ((const struct candidate *)b)->rowid;
    return x < y ? -1 : x > y;
}

static int by_sum(const void *a, const void *b)
{
    double x = ((const struct candidate *)a)->sum, y = ((const struct candidate *)b)->sum;
    if (x != y) return x > y ? -1 : 1;
    return -by_rowid(a, b);
}

static int take(void *data, int64_t rowid)
{
    struct pool *p = data;
    struct candidate key = { rowid, 0 };
    struct candidate *known = bsearch(&key, p->item, p->before, sizeof(key), by_rowid);
    if (known)
        known->sum += p->idf;
    else if (p->count < POSTINGS_MAX)
        p->item[p->count++] = (struct candidate){ rowid, p->idf };
    return 0;
}

struct probe {
    struct query query;
    struct corpus corpus;
    struct group_stat stat[QUERY_GROUPS_MAX];
    size_t order[QUERY_GROUPS_MAX]; /* groups held by the store, rarest first */
    size_t held;
};

/* A group's df: the least of its words'. */
static int group_df(struct op_ctx *c, const struct group *g, struct group_stat *ret)
{
    *ret = (struct group_stat){ .df = INT64_MAX, .held = true };
    for (size_t i = 0; i < g->words; i++) {
        int64_t df, last;
        int rc = c->tx->v->words_df(c->tx, g->word[i], g->prefix, POSTINGS_MAX + 1, &df, &last);
        if (rc) return rc;
        if (df < ret->df) ret->df = df;
    }
    ret->held = ret->df > 0;
    return 0;
}

static int prepare(struct op_ctx *c, const struct str *title, struct probe *p)
{
    int64_t last;
    int rc = query_parse(c->env->tokenizer, title->s, title->len, false, c->arena, &p->query);
    if (rc == 0) rc = c->tx->v->words_stat(c->tx, &p->corpus.rows, &p->corpus.words, &last);
    for (size_t i = 0; rc == 0 && i < p->query.groups; i++) {
        rc = group_df(c, &p->query.group[i], &p->stat[i]);
        if (rc || !p->stat[i].held) continue;
        size_t at = p->held++;
        for (; at > 0 && p->stat[p->order[at - 1]].df > p->stat[i].df; at--) p->order[at] = p->order[at - 1];
        p->order[at] = i;
    }
    return rc;
}

static int gather(struct op_ctx *c, const struct probe *p, const char *ns, struct pool *pool)
{
    const char *const where[] = { ns, NULL };
    size_t left = POSTINGS_MAX;
    for (size_t i = 0; i < p->held && left > 0; i++) {
        const struct group *g = &p->query.group[p->order[i]];
        const char **words = arena_alloc(c->arena, (g->words + 1) * sizeof(*words));
        if (words == NULL) return err_set(c->err, E_TOO_LARGE, "title is too large");
        memcpy(words, g->word, g->words * sizeof(*words));
        pool->idf = score_idf(&p->corpus, p->stat[p->order[i]].df);
        pool->before = pool->count;
        qsort(pool->item, pool->count, sizeof(*pool->item), by_rowid);
        size_t had = pool->count;
        int rc = c->tx->v->words_scan(c->tx, words, where, g->prefix, (int64_t)left, take, pool);
        if (rc) return rc;
        left -= pool->count - had < left ? pool->count - had : left;
    }
    return 0;
}

struct scored {
    const struct row *row;
    double score;
};

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->row->rowid < y->row->rowid ? -1 : 1;
}

static int rank(struct op_ctx *c, const struct probe *p, struct pool *pool, const char *ns, const char *but,
                json_t *ids)
{
    int64_t rowid[ROWS_MAX];
    struct scored best[ROWS_MAX];
    struct rows rows;
    size_t n = pool->count < ROWS_MAX ? pool->count : ROWS_MAX, kept = 0;
    qsort(pool->item, pool->count, sizeof(*pool->item), by_sum);
    for (size_t i = 0; i < n; i++) rowid[i] = pool->item[i].rowid;
    int rc = n ? c->tx->v->by_rowids(c->tx, rowid, n, BYTES_MAX, c->arena, &rows) : 0;
    if (rc || n == 0) return rc;
    for (size_t i = 0; i < rows.count && i < ROWS_MAX; i++) {
        const struct row *row = &rows.item[i];
        struct text_match match;
        if (strcmp(row->m.ns, ns) != 0 || strcmp(row->m.id, but) == 0 || memory_expired(&row->m, c->now_us)) continue;
        score_match(c->env->tokenizer, &p->query, &row->m, &match);
        if (match.groups_matched == 0) continue;
        best[kept++] = (struct scored){ row, score_text(&p->corpus, &p->query, p->stat, &match) };
    }
    qsort(best, kept, sizeof(best[0]), by_score);
    for (size_t i = 0; i < kept && i < HINTS_MAX; i++) json_array_append_new(ids, json_string(best[i].row->m.id));
    return 0;
}

int hints_similar(struct op_ctx *c, const struct str *title, const char *ns, const char *but, json_t **ret)
{
    struct probe *p = arena_alloc(c->arena, sizeof(*p));
    struct pool pool = { .item = arena_alloc(c->arena, POSTINGS_MAX * sizeof(*pool.item)) };
    *ret = json_array();
    if (p == NULL || pool.item == NULL) return err_set(c->err, E_TOO_LARGE, "title is too large");
    int rc = prepare(c, title, p);
    if (rc == 0 && p->held > 0) rc = gather(c, p, ns, &pool);
    return rc ? rc : rank(c, p, &pool, ns, but, *ret);
}
