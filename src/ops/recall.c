/* recall.c - the retrieval plan: postings of the rarest groups first, as many as POSTINGS allow; the rows with the best
 * sums of weights are read and scored from their text. If all postings and all rows fit, that is the whole answer;
 * else a memory that shares only frequent words with the query may be missed, on purpose.
 *
 *   query -> groups with their df -> pool of rowids (sum of idf) -> candidates in order -> texts, matched, filtered
 *         -> scored, best first, limit -> whole rows -> nearness of the namespace -> budget */
#include "ops/recall.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "memory/score.h"
#include "memory/text.h"
#include "ops/df_cache.h"
#include "ops/pool.h"

#define POSTINGS 24000 /* read for one query */
/* Postings of further words of phrases, walked over inside the index (a fraction of the price); of a search, where
 * what is left to the text costs reading rows. */
#define WALKED (2 * POSTINGS)
#define WALKED_SEARCH (8 * POSTINGS)
#define ROW_WALKED 1000 /* reading a row costs as much as walking over so many postings */
#define DF_CAP 3000     /* counted exactly, beyond that extrapolated */
#define ROWS_FIRST 300  /* read in any case */
#define ROWS_MAX 1200   /* read while the limit is not reached */
#define TOP_ROWS 2000   /* of the priority index, looked for in the pool */
#define TOP_MAX 300
#define READ_BYTES (512u << 10) /* of text in one reading, and of all that is read in any case */
#define READ_BYTES_MAX (8u << 20)
#define FUNCTION_WORDS_ROWS 32 /* up to so many memories function words are words like others */
#define ANCESTORS_MAX 64

/* A candidate that matched. Of the memory only what the score and the order need is kept: id, priority, confidence,
 * accesses, tier, time of the update; the whole row is read when it is to be shown. */
struct scored {
    int64_t rowid;
    uint64_t ver;
    struct memory m;
    struct text_match match;
    double text, score;
    const struct row *row; /* NULL until read */
};

struct word_stat {
    const char *word;
    int64_t df;
};

struct plan {
    struct store_tx *tx;
    const struct tokenizer *tokenizer;
    struct df_cache *cache;
    const struct find *f;
    struct filter filter;       /* f's, with the namespaces of the hierarchy */
    const char **ns;            /* for the index, ended by NULL; or NULL */
    bool ns_asked;              /* the index is asked for them: not when they hold nearly all rows */
    size_t ns_rows, other_rows; /* of those read: rows of them, of others */
    struct arena *arena;
    struct err *err;
    struct query query;
    struct corpus corpus;
    int64_t rowid_max;
    struct group_stat stat[QUERY_GROUPS_MAX];
    struct word_stat *word[QUERY_GROUPS_MAX]; /* a group's words, rarest first */
    int64_t walk;                             /* postings that may still be walked over */
    int64_t phrase_rows[QUERY_GROUPS_MAX];
    bool phrases; /* are among the groups */
    struct pool pool;
    bool whole;          /* every posting was read */
    struct scored **hit; /* ROWS_MAX + TOP_MAX */
    size_t hits;
    size_t text_bytes; /* read so far */
};

static int full(struct plan *p)
{
    return err_set(p->err, E_TOO_LARGE, "query is too large");
}

/* A verb's error with the transaction's text. */
static int failed(struct plan *p, int rc)
{
    if (p->err != NULL && p->tx->err != NULL && p->tx->err != p->err && p->tx->err->code == rc)
        *p->err = *p->tx->err;
    else if (p->err != NULL && p->tx->err != p->err)
        err_set(p->err, rc, "%s", err_text(rc));
    return rc;
}

/* ---- filters --------------------------------------------------------------------------------------------- */

static bool within_times(const struct filter *f, const char *created_at)
{
    int64_t us;

    if (f->since_us == NULL && f->until_us == NULL) return true;
    if (created_at == NULL || time_parse(created_at, strlen(created_at), &us) != 0) return false;
    return (f->since_us == NULL || us >= *f->since_us) && (f->until_us == NULL || us <= *f->until_us);
}

static bool by_agent(const char *agent_id, const char *metadata)
{
    json_t *doc = json_parse(metadata, strlen(metadata), NULL, 0, NULL);
    const char *is = json_string_value(json_object_get(doc, "agent_id"));
    bool same = is != NULL && strcmp(is, agent_id) == 0;

    json_decref(doc);
    return same;
}

static bool in_namespaces(const struct filter *f, const char *ns)
{
    if (f->ns != NULL && strcmp(ns, f->ns) != 0) return false;
    for (size_t i = 0; i < f->ns_any_count; i++) {
        if (strcmp(ns, f->ns_any[i]) == 0) return true;
    }
    return f->ns_any_count == 0;
}

bool recall_passes(const struct filter *f, const struct row *row)
{
    const struct memory *m = &row->m;

    if (f->now_us != 0 && memory_expired(m, f->now_us)) return false;
    if (!in_namespaces(f, m->ns)) return false;
    if (f->tier != NULL && m->tier != *f->tier) return false;
    if (f->tier_word != NULL && strcmp(tier_name(m->tier), f->tier_word) != 0) return false;
    if (f->min_priority != NULL && m->priority < *f->min_priority) return false;
    if (!within_times(f, m->created_at)) return false;
    if (f->tags_count > 0 && !memory_has_tag(m->tags, f->tags, f->tags_count)) return false;
    if (f->agent_id != NULL && !by_agent(f->agent_id, m->metadata)) return false;
    return memory_visible(f->viewer, m->ns, m->metadata);
}

/* The namespaces the index is asked for: the hierarchy's, or those of the filter. */
static int plan_namespaces(struct plan *p)
{
    const char *at = p->f->ns_hierarchy;
    const char **ns = arena_alloc(p->arena, (ANCESTORS_MAX + p->f->filter.ns_any_count + 2) * sizeof(*ns));
    size_t n = 0;

    p->filter = p->f->filter;
    if (ns == NULL) return full(p);
    for (; at != NULL && n < ANCESTORS_MAX; at = namespace_parent(at, p->arena)) ns[n++] = at;
    if (n > 0) {
        p->filter.ns_any = ns;
        p->filter.ns_any_count = n;
    } else if (p->filter.ns != NULL) {
        ns[n++] = p->filter.ns;
    } else {
        for (; n < p->filter.ns_any_count; n++) ns[n] = p->filter.ns_any[n];
    }
    p->ns = n > 0 ? ns : NULL;
    return 0;
}

/* ---- how frequent the words are -------------------------------------------------------------------------- */

/* Counts the rows holding a word. A word nobody holds is asked for again each time (it may just have come); other forms
 * of a word are not, they only add to scores. */
static int word_df(struct plan *p, const char *word, bool prefix, bool variant, int64_t *ret)
{
    int64_t last = 0;
    int rc;

    if (p->cache != NULL && df_cache_get(p->cache, p->corpus.rows, word, prefix, ret)) return 0;
    rc = p->tx->v->words_df(p->tx, word, prefix, DF_CAP, ret, &last);
    if (rc != 0) return failed(p, rc);
    if (*ret >= DF_CAP && last > 0 && last <= p->rowid_max)
        *ret = (int64_t)((double)*ret * (double)p->rowid_max / (double)(p->rowid_max - last + 1));
    if (*ret > p->corpus.rows) *ret = p->corpus.rows;
    if (p->cache != NULL && (*ret > 0 || variant)) df_cache_put(p->cache, p->corpus.rows, word, prefix, *ret);
    return 0;
}

/* A group's words, rarest first. */
static int words_df(struct plan *p, const struct group *g, struct word_stat *list)
{
    size_t count = 0;

    for (size_t i = 0; i < g->words; i++) {
        struct word_stat one = { .word = g->word[i] };
        size_t at = count;
        int rc = word_df(p, one.word, g->prefix, false, &one.df);
        if (rc != 0) return rc;
        for (; at > 0 && list[at - 1].df > one.df; at--) list[at] = list[at - 1];
        list[at] = one;
        count++;
    }
    return 0;
}

/* Whether the index is asked for the namespaces: each scan walks over all that they hold. */
static int plan_ns_asked(struct plan *p)
{
    int64_t rows = 0, df;

    for (size_t i = 0; p->ns != NULL && p->ns[i] != NULL; i++) {
        char word[NS_WORD_BYTES];
        text_ns_word(word, p->ns[i]);
        int rc = word_df(p, word, false, true, &df);
        if (rc != 0) return rc;
        rows += df;
    }
    p->ns_asked = p->ns != NULL && rows < p->corpus.rows - p->corpus.rows / 4;
    return 0;
}

/* Least df of the words of a group, and the sum with the variants the store holds; others are taken out. */
static int group_df(struct plan *p, size_t index)
{
    struct group *g = &p->query.group[index];
    struct group_stat *ret = &p->stat[index];
    struct word_stat *word = arena_alloc(p->arena, (g->words + 1) * sizeof(*word));
    int64_t df;
    size_t held = 0;

    if (word == NULL) return full(p);
    int rc = words_df(p, g, word);
    if (rc != 0) return rc;
    p->word[index] = word;
    ret->df = word[0].df;
    ret->held = ret->df > 0;
    for (size_t i = 0; i < g->variants; i++) {
        if ((rc = word_df(p, g->variant[i], false, true, &df)) != 0) return rc;
        if (df <= 0) continue;
        g->variant[held++] = g->variant[i];
        ret->df += df;
    }
    g->variants = held;
    if (ret->df > p->corpus.rows) ret->df = p->corpus.rows;
    return 0;
}

static void drop_function_words(struct query *q)
{
    size_t to = 0, content = 0;

    for (size_t i = 0; i < q->groups; i++) content += !q->group[i].function_word;
    for (size_t i = 0; content > 0 && i < q->groups; i++) {
        if (!q->group[i].function_word) q->group[to++] = q->group[i];
    }
    if (content > 0) q->groups = to;
}

static int plan_query(struct plan *p)
{
    int rc = query_parse(p->tokenizer, p->f->text, p->f->len, p->f->variants && !p->f->all_words, p->arena, &p->query);

    if (rc != 0) return full(p);
    if (p->query.groups == 0) return 0;
    rc = p->tx->v->words_stat(p->tx, &p->corpus.rows, &p->corpus.words, &p->rowid_max);
    if (rc != 0) return failed(p, rc);
    if (!p->f->all_words && p->corpus.rows > FUNCTION_WORDS_ROWS) drop_function_words(&p->query);
    for (size_t i = 0; i < p->query.groups; i++) {
        if ((rc = group_df(p, i)) != 0) return rc;
        if (p->query.group[i].words > 1) p->phrases = true;
    }
    return query_index(&p->query, p->arena) != 0 ? full(p) : 0;
}

/* ---- the pool of rowids ---------------------------------------------------------------------------------- */

static int scan(struct plan *p, const char *const *all_of, bool prefix_last, int64_t limit)
{
    int rc = p->tx->v->words_scan(p->tx, all_of, p->ns_asked ? p->ns : NULL, prefix_last, limit, pool_note, &p->pool);
    return rc != 0 ? failed(p, rc) : 0;
}

static bool holds(const char *const *words, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(words[i], word) == 0) return true;
    }
    return false;
}

/* What the index is asked for of `count` words, rarest first: as many as may be walked over, and pay. The others, and
 * whether they are neighbours, are left to the text: nearly every row has them, or hardly any row is left. */
static size_t ask_for(struct plan *p, const struct word_stat *list, size_t count, const char **words, size_t n)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && (list[i].df > p->walk || list[i].df > ROW_WALKED * list[0].df)) break;
        if (holds(words, n, list[i].word)) continue;
        if (i > 0) p->walk -= list[i].df;
        words[n++] = list[i].word;
    }
    return n;
}

/* The rows of up to two groups together (a prefix last). */
static int scan_words(struct plan *p, const size_t *group, size_t groups, int64_t limit)
{
    const char *words[2 * QUERY_PHRASE_MAX + 1];
    bool prefix = false;
    size_t n = 0;

    for (size_t i = 0; i < groups; i++) {
        const struct group *g = &p->query.group[group[i]];
        n = ask_for(p, p->word[group[i]], g->words, words, n);
        prefix = g->prefix;
    }
    words[n] = NULL;
    return scan(p, words, prefix, limit);
}

static int scan_group(struct plan *p, size_t index)
{
    const struct group *g = &p->query.group[index];
    int rc;

    pool_round(&p->pool, score_idf(&p->corpus, p->stat[index].df));
    rc = scan_words(p, &index, 1, POSTINGS);
    for (size_t i = 0; rc == 0 && i < g->variants; i++) {
        const char *const words[] = { g->variant[i], NULL };
        rc = scan(p, words, false, POSTINGS);
    }
    return rc;
}

/* Every group alone has too many rows: the newest of those that hold the two rarest, then the newest of the rarest. */
static int scan_frequent(struct plan *p, const size_t *order, size_t count)
{
    bool prefix = p->query.group[order[0]].prefix;
    double idf = score_idf(&p->corpus, p->stat[order[0]].df);
    int rc = 0;

    if (count > 1 && !(prefix && p->query.group[order[1]].prefix)) {
        const size_t both[] = { order[prefix], order[!prefix] };
        pool_round(&p->pool, idf + score_idf(&p->corpus, p->stat[order[1]].df));
        rc = scan_words(p, both, 2, POSTINGS / 4);
    }
    if (rc == 0) {
        pool_more(&p->pool, idf);
        rc = scan_words(p, order, 1, POSTINGS / 4);
    }
    return rc;
}

static int scan_any(struct plan *p)
{
    size_t order[QUERY_GROUPS_MAX], count = 0, done = 0;
    int64_t postings = 0;
    int rc = 0;

    for (size_t i = 0; i < p->query.groups; i++) {
        size_t at = count;
        if (p->stat[i].df <= 0) continue;
        for (; at > 0 && p->stat[order[at - 1]].df > p->stat[i].df; at--) order[at] = order[at - 1];
        order[at] = i;
        count++;
    }
    for (; rc == 0 && done < count; done++) {
        postings += p->stat[order[done]].df;
        if (postings > POSTINGS) break;
        rc = scan_group(p, order[done]);
    }
    p->whole = done == count;
    if (rc == 0 && done == 0 && count > 0) rc = scan_frequent(p, order, count);
    return rc;
}

static int by_df(const void *a, const void *b)
{
    const struct word_stat *x = a, *y = b;

    if (x->df != y->df) return x->df < y->df ? -1 : 1;
    return strcmp(x->word, y->word);
}

/* Rows that hold every word; prefixes but the last are left to the text. */
static int scan_all(struct plan *p)
{
    struct word_stat *list = arena_alloc(p->arena, QUERY_GROUPS_MAX * QUERY_PHRASE_MAX * sizeof(*list));
    const char **words = arena_alloc(p->arena, (QUERY_GROUPS_MAX * QUERY_PHRASE_MAX + 2) * sizeof(*words));
    const struct group *prefix = NULL;
    size_t count = 0, n;

    if (list == NULL || words == NULL) return full(p);
    for (size_t i = 0; i < p->query.groups; i++) {
        const struct group *g = &p->query.group[i];
        if (!p->stat[i].held) return 0;
        if (g->prefix) prefix = g;
        for (size_t w = 0; !g->prefix && w < g->words; w++) list[count++] = p->word[i][w];
    }
    qsort(list, count, sizeof(*list), by_df);
    n = ask_for(p, list, count, words, 0);
    if (prefix != NULL) words[n++] = prefix->word[0];
    words[n] = NULL;
    pool_round(&p->pool, 1.0);
    int rc = scan(p, words, prefix != NULL, POSTINGS);
    p->whole = p->pool.count < POSTINGS;
    return rc;
}

/* ---- reading and matching -------------------------------------------------------------------------------- */

static size_t text_bytes(const struct memory *m)
{
    return strlen(m->title) + strlen(m->content) + strlen(m->tags);
}

/* A lent_cb. */
static int match_row(void *data, const struct row *row)
{
    struct plan *p = data;
    const struct memory *m = &row->m;
    struct text_match match;

    p->text_bytes += text_bytes(m);
    *(in_namespaces(&p->filter, m->ns) ? &p->ns_rows : &p->other_rows) += 1;
    bool passes = recall_passes(&p->filter, row);
    if (!passes && !p->phrases) return 0;
    score_match(p->tokenizer, &p->query, m, &match);
    for (size_t i = 0; i < p->query.groups; i++) p->phrase_rows[i] += match.f[i] > 0.0;
    if (p->f->all_words ? !match.all : match.groups_matched == 0) return 0;
    if (!passes) return 0; /* but it told whether it holds the phrases */
    struct scored *s = arena_alloc(p->arena, sizeof(*s));
    if (s == NULL) return full(p);
    *s = (struct scored){ .rowid = row->rowid, .ver = row->stamp.ver, .match = match };
    s->m = (struct memory){ .id = arena_strdup(p->arena, m->id),
                            .updated_at = arena_strdup(p->arena, m->updated_at),
                            .tier = m->tier,
                            .priority = m->priority,
                            .confidence = m->confidence,
                            .access_count = m->access_count };
    if (s->m.id == NULL || s->m.updated_at == NULL) return full(p);
    p->hit[p->hits++] = s;
    return 0;
}

/* Reads candidates in order: the first ones in any case, then until the limit is reached; never without bound. */
static int read_rows(struct plan *p, const struct pool_order *o)
{
    size_t at = 0;

    while (at < o->count) {
        size_t many = (at < o->first ? o->first : o->count) - at, done;
        bool enough = p->hits >= p->f->limit;
        if (at < o->first ? enough && p->text_bytes > READ_BYTES : enough) break;
        if (p->text_bytes > READ_BYTES_MAX) break;
        if (many > ROWS_FIRST) many = ROWS_FIRST;
        int rc = p->tx->v->each_row(p->tx, o->rowid + at, many, READ_BYTES, match_row, p, &done);
        if (rc != 0) return failed(p, rc);
        at += done;
    }
    if (at < o->count) p->whole = false;
    return 0;
}

static int gather_once(struct plan *p)
{
    struct pool_order order;
    int rc;

    p->walk = p->f->all_words ? WALKED_SEARCH : WALKED;
    pool_init(&p->pool);
    rc = p->f->all_words ? scan_all(p) : scan_any(p);
    if (rc == 0) {
        pool_sort(&p->pool, ROWS_FIRST, ROWS_MAX, TOP_MAX, p->arena, &order);
        if (order.rowid == NULL) rc = full(p);
    }
    if (rc == 0 && order.wants_top) {
        rc = p->tx->v->top_rowids(p->tx, TOP_ROWS, pool_top, &order);
        rc = rc != 0 ? failed(p, rc) : 0;
        pool_top_end(&order);
    }
    if (rc == 0) {
        p->hit = arena_alloc(p->arena, (order.count + 1) * sizeof(*p->hit));
        rc = p->hit != NULL ? read_rows(p, &order) : full(p);
    }
    if (p->pool.dropped > 0 || p->pool.count > ROWS_MAX) p->whole = false;
    pool_release(&p->pool);
    return rc;
}

static int gather(struct plan *p)
{
    int rc = gather_once(p);

    if (rc != 0 || p->ns == NULL || p->ns_asked || p->whole || p->other_rows == 0) return rc;
    if (p->ns_rows >= ROWS_FIRST / 2) return 0;
    /* They hold nearly all rows, but few of those with these words. */
    p->ns_asked = true;
    p->hits = p->text_bytes = 0;
    return gather_once(p);
}

/* ---- ranking --------------------------------------------------------------------------------------------- */

static int by_score(const void *a, const void *b)
{
    const struct scored *x = *(struct scored *const *)a, *y = *(struct scored *const *)b;

    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->ver != y->ver) return x->ver > y->ver ? -1 : 1;
    return strcmp(x->m.id, y->m.id);
}

/* The whole rows of what is left. */
static int read_hits(struct plan *p)
{
    int64_t *rowid = arena_alloc(p->arena, (p->hits + 1) * sizeof(*rowid));
    struct rows rows;

    if (rowid == NULL) return full(p);
    for (size_t i = 0; i < p->hits; i++) rowid[i] = p->hit[i]->rowid;
    int rc = p->tx->v->by_rowids(p->tx, rowid, p->hits, 0, p->arena, &rows);
    if (rc != 0) return failed(p, rc);
    CHECK(rows.count == p->hits); /* one snapshot */
    for (size_t i = 0; i < p->hits; i++) p->hit[i]->row = &rows.item[i];
    return 0;
}

static int rank(struct plan *p)
{
    /* How many rows hold a phrase is known once all that could were read; a namespace leaves some out. */
    for (size_t i = 0; p->whole && p->ns == NULL && !p->f->all_words && i < p->query.groups; i++) {
        if (p->query.group[i].words > 1) p->stat[i].df = p->phrase_rows[i];
    }
    for (size_t i = 0; i < p->hits; i++) {
        struct scored *s = p->hit[i];
        s->text = score_text(&p->corpus, &p->query, p->stat, &s->match);
        s->score = score_total(s->text, &s->m, p->f->now_us, p->f->tier_bonus);
    }
    qsort(p->hit, p->hits, sizeof(*p->hit), by_score);
    if (p->hits > p->f->limit) p->hits = p->f->limit;
    int rc = read_hits(p);
    if (rc != 0 || p->f->ns_hierarchy == NULL) return rc;
    /* Nearness orders what the limit let through: clients' recorded answers depend on it. */
    for (size_t i = 0; i < p->hits; i++) p->hit[i]->score *= score_nearness(p->f->ns_hierarchy, p->hit[i]->row->m.ns);
    qsort(p->hit, p->hits, sizeof(*p->hit), by_score);
    return 0;
}

int64_t recall_tokens(const struct memory *m)
{
    return (int64_t)((strlen(m->title) + strlen(m->content)) / 4);
}

static int give(struct plan *p, struct hits *ret)
{
    ret->item = arena_alloc(p->arena, (p->hits + 1) * sizeof(*ret->item));
    if (ret->item == NULL) return full(p);
    for (size_t i = 0; i < p->hits; i++) {
        const struct scored *s = p->hit[i];
        int64_t cost = recall_tokens(&s->row->m);
        if (p->f->budget_tokens >= 0 && cost > p->f->budget_tokens - ret->tokens_used) break;
        ret->tokens_used += cost;
        ret->item[ret->count++] = (struct hit){ .row = *s->row,
                                                .score = s->score,
                                                .share = score_share(&p->corpus, &p->query, p->stat, s->text) };
    }
    return 0;
}

int recall_find(struct store_tx *tx, const struct tokenizer *t, struct df_cache *cache, const struct find *f,
                struct arena *a, struct hits *ret, struct err *err)
{
    struct plan *p = arena_alloc(a, sizeof(*p));
    int rc;

    *ret = (struct hits){ 0 };
    if (p == NULL) return err_set(err, E_TOO_LARGE, "query is too large");
    *p = (struct plan){ .tx = tx, .tokenizer = t, .cache = cache, .f = f, .arena = a, .err = err };
    rc = plan_query(p);
    if (rc != 0 || p->query.groups == 0 || p->corpus.rows == 0 || f->limit == 0) return rc;
    rc = plan_namespaces(p);
    if (rc == 0) rc = plan_ns_asked(p);
    if (rc == 0) rc = gather(p);
    if (rc == 0) rc = rank(p);
    return rc == 0 ? give(p, ret) : rc;
}
