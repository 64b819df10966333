/* score.c - how well a memory answers a query. The text part is bm25 as FTS5 computes it; what variants add and what a
 * phrase counts is ours. Every backend and every door ranks by these functions. */
#include "memory/score.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "memory/ascii.h"
#include "memory/query_index.h"

#define K1 1.2
#define B 0.75
#define VARIANT_WEIGHT 0.8
#define IDF_MIN 1e-6
#define DAY_US 86400e6

/* How far each phrase has come: bit i says that its words 0..i end at `position`. */
struct progress {
    uint32_t position, reached, before;
};

struct match {
    const struct query *q;
    struct text_match *ret;
    struct progress progress[QUERY_GROUPS_MAX];
    uint32_t exact; /* groups whose own words occur */
    uint32_t base;  /* position where the field begins */
};

static void match_phrase(struct match *m, const struct query_use *use, uint32_t position)
{
    struct progress *p = &m->progress[use->group];
    uint32_t bit = UINT32_C(1) << use->place;

    if (p->position != position) {
        p->before = p->position + 1 == position ? p->reached : 0;
        p->reached = 0;
        p->position = position;
    }
    if (use->place > 0 && (p->before & bit >> 1) == 0) return;
    p->reached |= bit;
    if (use->place + 1u == m->q->group[use->group].words) {
        m->ret->f[use->group] += 1.0;
        m->exact |= UINT32_C(1) << use->group;
    }
}

/* A word of the query at that position of the field. */
static void match_word(struct match *m, const struct query_slot *slot, uint32_t position)
{
    const struct query_index *x = m->q->index;

    for (int i = slot->use; i >= 0; i = x->use[i].next) {
        const struct query_use *use = &x->use[i];
        if (use->kind == USE_PHRASE) {
            match_phrase(m, use, m->base + position);
        } else if (use->kind == USE_VARIANT) {
            m->ret->f[use->group] += VARIANT_WEIGHT;
        } else {
            m->ret->f[use->group] += 1.0;
            m->exact |= UINT32_C(1) << use->group;
        }
    }
}

static int on_word(void *data, const char *word, size_t len, uint32_t position)
{
    struct match *m = data;
    const struct query_index *x = m->q->index;
    const struct query_slot *slot = query_may_hold(x, word[0], len) ? query_look(x, word, len) : NULL;

    m->ret->words++;
    if (slot != NULL && slot->word != NULL) match_word(m, slot, position);
    for (unsigned i = 0; i < x->prefixes; i++) {
        const char *prefix = m->q->group[x->prefix[i]].word[0];
        size_t n = strlen(prefix);
        if (len < n || memcmp(word, prefix, n) != 0) continue;
        m->ret->f[x->prefix[i]] += 1.0;
        m->exact |= UINT32_C(1) << x->prefix[i];
    }
    return 0;
}

/* The same for ASCII: most words are told from those of the query where they stand. No prefix is ASCII. */
static void match_ascii(struct match *m, const char *text, size_t len)
{
    const struct query_index *x = m->q->index;
    const unsigned char *p = (const unsigned char *)text, *end = p + len, *from;
    uint32_t position = 0;

    for (; (from = ascii_word(&p, end)) != NULL; position++) {
        size_t n = (size_t)(p - from) < WORD_BYTES_MAX ? (size_t)(p - from) : WORD_BYTES_MAX;
        char word[WORD_BYTES_MAX];
        /* A letter's low five bits are the same in either case. */
        if (!query_may_hold(x, (char)*from, n)) continue;
        for (size_t i = 0; i < n; i++) word[i] = (char)ascii_fold[from[i]];
        const struct query_slot *slot = query_look(x, word, n);
        if (slot->word != NULL) match_word(m, slot, position);
    }
    m->ret->words += position;
}

void score_match(const struct tokenizer *t, const struct query *q, const struct memory *m, struct text_match *ret)
{
    const char *field[] = { m->title, m->content, m->tags };
    struct match match = { .q = q, .ret = ret };

    CHECK(q->groups <= QUERY_GROUPS_MAX && q->index != NULL);
    memset(ret, 0, sizeof(*ret));
    for (size_t i = 0; i < ARRAY_LEN(field); i++) {
        size_t len = field[i] != NULL ? strlen(field[i]) : 0;
        match.base = ret->words + 2 * (uint32_t)i + 2; /* no phrase spans two fields */
        if (ascii_only(field[i], len))
            match_ascii(&match, field[i], len);
        else
            text_words(t, field[i], len, on_word, &match);
    }
    for (uint32_t left = match.exact; left != 0; left &= left - 1) ret->groups_matched++;
    ret->all = q->groups > 0 && ret->groups_matched == q->groups;
}

double score_idf(const struct corpus *c, int64_t df)
{
    double rows = (double)c->rows, n = (double)(df < 0 ? 0 : df > c->rows ? c->rows : df);
    double idf = log((rows - n + 0.5) / (n + 0.5));

    return idf > IDF_MIN ? idf : IDF_MIN;
}

double score_text(const struct corpus *c, const struct query *q, const struct group_stat *g, const struct text_match *x)
{
    double average = c->rows > 0 && c->words > 0 ? (double)c->words / (double)c->rows : 1.0;
    double length = K1 * (1.0 - B + B * (double)x->words / average), sum = 0.0;

    for (size_t i = 0; i < q->groups; i++) {
        if (x->f[i] > 0.0) sum += score_idf(c, g[i].df) * (K1 + 1.0) * x->f[i] / (x->f[i] + length);
    }
    return sum;
}

/* 1 / (1 + 0.1 days since the update), days at least 0; 0 when the time cannot be read. */
static double recency(const char *updated_at, int64_t now_us)
{
    int64_t us;

    if (updated_at == NULL || time_parse(updated_at, strlen(updated_at), &us) != 0) return 0.0;
    return now_us > us ? 1.0 / (1.0 + 0.1 * ((double)now_us - (double)us) / DAY_US) : 1.0;
}

double score_total(double text, const struct memory *m, int64_t now_us, bool with_tier)
{
    static const double bonus[] = { [TIER_SHORT] = 0.0, [TIER_MID] = 1.0, [TIER_LONG] = 3.0 };
    double accesses = m->access_count < 50 ? (double)m->access_count : 50.0;

    return text + 0.5 * m->priority + 0.1 * accesses + 2.0 * m->confidence + (with_tier ? bonus[m->tier] : 0.0) +
           recency(m->updated_at, now_us);
}

double score_share(const struct corpus *c, const struct query *q, const struct group_stat *g, double text)
{
    double content = 0.0, all = 0.0, most;

    for (size_t i = 0; i < q->groups; i++) {
        double idf = g[i].held ? score_idf(c, g[i].df) : log(((double)c->rows + 0.5) / 0.5);
        all += idf;
        if (!q->group[i].function_word) content += idf;
    }
    most = (K1 + 1.0) * (content > 0.0 ? content : all);
    if (!(most > 0.0)) return 0.0;
    return text < most ? text / most : 1.0;
}

double score_nearness(const char *query_ns, const char *memory_ns)
{
    int away;

    if (strchr(query_ns, '/') == NULL) return 1.0;
    away = namespace_depth(query_ns) - namespace_depth(memory_ns);
    return away > 0 ? 1.0 / (1.0 + 0.3 * away) : 1.0;
}
