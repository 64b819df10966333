/* query.c - a question taken apart into groups, each looked up and scored as one: a word with its variants, a phrase,
 * a pair of CJK signs. No operators: whatever is typed is words. */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "err.h"
#include "memory/query_index.h"
#include "memory/text.h"
#include "memory/utf8.h"

#define GROUPS_READ_MAX 256
#define VARIED_MIN 3
#define VARIED_MAX 24

struct parse {
    struct arena *arena;
    struct group *group; /* GROUPS_READ_MAX */
    size_t groups;
    const char *phrase[QUERY_PHRASE_MAX]; /* the piece's words so far */
    size_t words;
    bool failed; /* the arena is full */
};

static bool is_function_word(const char *word)
{
    static const char list[] = " a an and are as at be been but by can could did do does for from had has have her him "
                               "his how i in is it its me my "
                               "of on or our she so that the their them they this to was we were what when where which "
                               "who whom whose why will "
                               "with would you your s t d m re ve ll ";
    size_t n = strlen(word);

    for (const char *at = list; (at = strstr(at, word)) != NULL; at++) {
        if (at > list && at[-1] == ' ' && at[n] == ' ') return true;
    }
    return false;
}

static bool same_group(const struct group *a, const struct group *b)
{
    if (a->words != b->words || a->prefix != b->prefix) return false;
    for (size_t i = 0; i < a->words; i++) {
        if (strcmp(a->word[i], b->word[i]) != 0) return false;
    }
    return true;
}

/* Takes `words` of p->phrase as a group, if there is none like it. */
static void add_group(struct parse *p, size_t words, bool prefix)
{
    struct group g = { .word = p->phrase, .words = words, .prefix = prefix, .function_word = true };

    if (words == 0 || p->groups == GROUPS_READ_MAX) return;
    for (size_t i = 0; i < p->groups; i++) {
        if (same_group(&p->group[i], &g)) return;
    }
    g.word = arena_alloc(p->arena, words * sizeof(*g.word));
    if (g.word == NULL) {
        p->failed = true;
        return;
    }
    memcpy(g.word, p->phrase, words * sizeof(*g.word));
    for (size_t i = 0; i < words; i++) g.function_word = g.function_word && is_function_word(g.word[i]);
    p->group[p->groups++] = g;
}

static void end_phrase(struct parse *p)
{
    add_group(p, p->words, false);
    p->words = 0;
}

static int on_word(void *data, const char *word, size_t len, uint32_t position)
{
    struct parse *p = data;
    const char *at = word;
    bool cjk = utf8_is_cjk(utf8_next(&at, word + len));
    char *copy = arena_strndup(p->arena, word, len);

    (void)position;
    if (copy == NULL) p->failed = true;
    if (p->failed || p->groups == GROUPS_READ_MAX) return 1;
    if (cjk || p->words == QUERY_PHRASE_MAX) end_phrase(p);
    p->phrase[p->words++] = copy;
    if (cjk) {
        add_group(p, 1, at == word + len);
        p->words = 0;
    }
    return 0;
}

static bool separates(uint32_t c)
{
    return utf8_is_space(c) || (c < 0x80 && c != 0 && strchr("\"*{}()+|", (int)c) != NULL);
}

/* ---- variants -------------------------------------------------------------------------------------------------- */

struct variants {
    char text[QUERY_VARIANTS_MAX][VARIED_MAX + 8];
    size_t count;
    const char *word; /* the word itself is no variant */
};

static bool is_vowel(char c)
{
    return strchr("aeiou", c) != NULL;
}

static bool has_vowel(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (is_vowel(s[i]) || s[i] == 'y') return true;
    }
    return false;
}

static bool ends(const char *s, size_t len, const char *tail)
{
    size_t n = strlen(tail);
    return len >= n && memcmp(s + len - n, tail, n) == 0;
}

/* The first `len` bytes of stem with a tail, unless it is there already. */
static void add_variant(struct variants *v, const char *stem, size_t len, const char *tail)
{
    char text[VARIED_MAX + 8];
    size_t n = strlen(tail);

    if (v->count == QUERY_VARIANTS_MAX || len + n >= sizeof(text)) return;
    memcpy(text, stem, len);
    memcpy(text + len, tail, n + 1);
    if (strcmp(text, v->word) == 0) return;
    for (size_t i = 0; i < v->count; i++) {
        if (strcmp(v->text[i], text) == 0) return;
    }
    memcpy(v->text[v->count++], text, len + n + 1);
}

/* A stem and its forms. */
static void add_forms(struct variants *v, const char *s, size_t len)
{
    char doubled[2] = { 0 };

    if (len < VARIED_MIN || len > VARIED_MAX || !has_vowel(s, len)) return;
    add_variant(v, s, len, "");
    if (ends(s, len, "s") || ends(s, len, "x") || ends(s, len, "z") || ends(s, len, "ch") || ends(s, len, "sh") ||
        ends(s, len, "o"))
        add_variant(v, s, len, "es");
    if (!ends(s, len, "s") && !ends(s, len, "x") && !ends(s, len, "z")) add_variant(v, s, len, "s");
    if (s[len - 1] == 'y' && !is_vowel(s[len - 2])) {
        add_variant(v, s, len - 1, "ies");
        add_variant(v, s, len - 1, "ied");
        add_variant(v, s, len, "ing");
        return;
    }
    if (s[len - 1] == 'e') {
        add_variant(v, s, len, "d");
        add_variant(v, s, len - 1, "ing");
        return;
    }
    add_variant(v, s, len, "ed");
    add_variant(v, s, len, "ing");
    if (!is_vowel(s[len - 1]) && is_vowel(s[len - 2]) && !is_vowel(s[len - 3]) && strchr("wxy", s[len - 1]) == NULL) {
        doubled[0] = s[len - 1];
        char stem[VARIED_MAX + 2];
        memcpy(stem, s, len);
        stem[len] = doubled[0];
        add_variant(v, stem, len + 1, "ed");
        add_variant(v, stem, len + 1, "ing");
    }
}

/* What is left when a tail that made a form of a verb is taken away: as it is, with e, with the doubled letter once. */
static void add_stripped(struct variants *v, const char *s, size_t len)
{
    char with_e[VARIED_MAX + 2];

    if (len < 2) return;
    memcpy(with_e, s, len);
    with_e[len] = 'e';
    add_forms(v, s, len);
    add_forms(v, with_e, len + 1);
    if (s[len - 1] == s[len - 2] && !is_vowel(s[len - 1])) add_forms(v, s, len - 1);
}

static void vary(struct variants *v, const char *word, size_t len)
{
    char with_y[VARIED_MAX + 2];

    memcpy(with_y, word, len + 1);
    if (ends(word, len, "ies") || ends(word, len, "ied")) {
        with_y[len - 3] = 'y';
        add_forms(v, with_y, len - 2);
    } else if (ends(word, len, "ing")) {
        add_stripped(v, word, len - 3);
    } else if (ends(word, len, "ed")) {
        add_stripped(v, word, len - 2);
    } else if (ends(word, len, "s") && !ends(word, len, "ss")) {
        add_forms(v, word, len - 1);
        if (ends(word, len, "es")) add_forms(v, word, len - 2);
    }
    add_forms(v, word, len);
}

static int set_variants(struct group *g, struct arena *a)
{
    struct variants v = { .word = g->word[0] };
    size_t len = strlen(v.word);

    if (g->words != 1 || g->prefix || g->function_word || len < VARIED_MIN || len > VARIED_MAX) return 0;
    if (strspn(v.word, "abcdefghijklmnopqrstuvwxyz") != len) return 0;
    vary(&v, v.word, len);
    g->variant = arena_alloc(a, (v.count + 1) * sizeof(*g->variant));
    if (g->variant == NULL) return E_TOO_LARGE;
    for (size_t i = 0; i < v.count; i++) {
        g->variant[i] = arena_strdup(a, v.text[i]);
        if (g->variant[i] == NULL) return E_TOO_LARGE;
    }
    g->variants = v.count;
    return 0;
}

/* ---- the whole query ------------------------------------------------------------------------------------------- */

/* Brings the groups down to QUERY_GROUPS_MAX: function words go first, then the last ones. */
static void limit_groups(struct parse *p)
{
    size_t over = p->groups > QUERY_GROUPS_MAX ? p->groups - QUERY_GROUPS_MAX : 0, to = 0;

    for (size_t i = 0; i < p->groups; i++) {
        if (over > 0 && p->group[i].function_word)
            over--;
        else
            p->group[to++] = p->group[i];
    }
    p->groups = to < QUERY_GROUPS_MAX ? to : QUERY_GROUPS_MAX;
}

static int read_pieces(struct parse *p, const struct tokenizer *t, const char *text, size_t len)
{
    char *piece = arena_alloc(p->arena, len + 1);
    size_t n = 0;

    if (piece == NULL) return E_TOO_LARGE;
    for (const char *at = text, *end = text + len; at <= end && p->groups < GROUPS_READ_MAX;) {
        const char *from = at;
        uint32_t c = at < end ? utf8_next(&at, end) : ' ';
        if (c == 0 || utf8_is_invisible(c)) continue;
        if (!separates(c)) {
            memcpy(piece + n, from, (size_t)(at - from));
            n += (size_t)(at - from);
            continue;
        }
        if (n > 0) text_words(t, piece, n, on_word, p);
        if (p->failed) return E_TOO_LARGE;
        end_phrase(p);
        n = 0;
        if (from == end) break;
    }
    return p->failed ? E_TOO_LARGE : 0;
}

int query_parse(const struct tokenizer *t, const char *text, size_t len, bool variants, struct arena *a,
                struct query *ret)
{
    struct parse p = { .arena = a, .group = arena_alloc(a, GROUPS_READ_MAX * sizeof(*p.group)) };
    int rc;

    *ret = (struct query){ 0 };
    if (p.group == NULL) return E_TOO_LARGE;
    if ((rc = read_pieces(&p, t, text, len)) != 0) return rc;
    limit_groups(&p);
    for (size_t i = 0; variants && i < p.groups; i++) {
        if ((rc = set_variants(&p.group[i], a)) != 0) return rc;
    }
    ret->group = p.group;
    ret->groups = p.groups;
    return query_index(ret, a);
}

static void index_word(struct query_index *x, size_t *uses, const char *word, struct query_use use)
{
    size_t len = strlen(word);
    struct query_slot *s = query_look(x, word, len);

    x->lens[(unsigned char)word[0] & 31] |= UINT32_C(1) << (len < 31 ? len : 31);
    use.next = s->word != NULL ? s->use : -1;
    x->use[*uses] = use;
    *s =
        (struct query_slot){ .word = word, .hash = query_hash(word, len), .len = (uint16_t)len, .use = (int16_t)*uses };
    *uses += 1;
}

int query_index(struct query *q, struct arena *a)
{
    struct query_index *x = arena_alloc(a, sizeof(*x));
    size_t words = 0, uses = 0, size = 16;

    CHECK(q->groups <= QUERY_GROUPS_MAX);
    for (size_t g = 0; g < q->groups; g++) words += q->group[g].words + q->group[g].variants;
    while (size < 2 * words) size *= 2;
    if (x == NULL) return E_TOO_LARGE;
    x->slot = arena_alloc(a, size * sizeof(*x->slot));
    x->use = arena_alloc(a, (words + 1) * sizeof(*x->use));
    if (x->slot == NULL || x->use == NULL) return E_TOO_LARGE;
    x->mask = (uint32_t)size - 1;
    for (size_t i = 0; i < q->groups; i++) {
        const struct group *g = &q->group[i];
        struct query_use use = { .group = (uint8_t)i, .kind = g->words > 1 ? USE_PHRASE : USE_WORD };
        if (g->prefix) {
            x->prefix[x->prefixes++] = (uint8_t)i;
            continue;
        }
        for (size_t w = 0; w < g->words; w++) {
            use.place = (uint8_t)w;
            index_word(x, &uses, g->word[w], use);
        }
        use = (struct query_use){ .group = (uint8_t)i, .kind = USE_VARIANT };
        for (size_t w = 0; w < g->variants; w++) index_word(x, &uses, g->variant[w], use);
    }
    q->index = x;
    return 0;
}
