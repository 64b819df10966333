/* text.c - the words of a text as index, query and score see them: those of the raw tokenizer, with what is written
 * without blanks (Han, kana, Hangul) taken out of them as overlapping pairs of signs. Words are bytes: comparing is
 * memcmp. */
#include "memory/text.h"

#include <string.h>

#include "base/buf.h"
#include "base/digest.h"
#include "memory/ascii.h"
#include "memory/utf8.h"

struct walk {
    text_word_cb cb;
    void *data;
    uint32_t position;
};

static int give(struct walk *w, const char *word, size_t len)
{
    return w->cb(w->data, word, len, w->position++);
}

/* A word without CJK signs, cut at a character's boundary. */
static int give_plain(struct walk *w, const char *word, size_t len)
{
    if (len > WORD_BYTES_MAX) {
        len = WORD_BYTES_MAX;
        while (len > 0 && ((unsigned char)word[len] & 0xc0) == 0x80) len--;
        if (len == 0) len = WORD_BYTES_MAX;
    }
    return give(w, word, len);
}

/* A run of CJK signs: each with its follower; alone when it has none. */
static int give_pairs(struct walk *w, const char *run, const char *end)
{
    const char *first = run, *second = run, *next;
    int rc;

    utf8_next(&second, end);
    if (second == end) return give(w, run, (size_t)(end - run));
    for (; second < end; first = second, second = next) {
        next = second;
        utf8_next(&next, end);
        if ((rc = give(w, first, (size_t)(next - first))) != 0) return rc;
    }
    return 0;
}

static int on_word(void *data, const char *word, size_t len, size_t start, size_t end)
{
    struct walk *w = data;
    const char *p = word, *stop = word + len, *run = word;
    bool run_cjk = false;

    (void)start;
    (void)end;
    if (ascii_only(word, len)) return len > 0 ? give_plain(w, word, len) : 0;
    while (p <= stop) {
        const char *at = p;
        bool cjk = p < stop && utf8_is_cjk(utf8_next(&p, stop));
        if (at < stop && cjk == run_cjk) continue;
        if (at > run) {
            int rc = run_cjk ? give_pairs(w, run, at) : give_plain(w, run, (size_t)(at - run));
            if (rc != 0) return rc;
        }
        if (at == stop) break;
        run = at;
        run_cjk = cjk;
    }
    return 0;
}

/* ---- ASCII */
/* clang-format off */
const unsigned char ascii_fold[256] = {
    ['0'] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9',
    ['A'] = 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm',
            'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z',
    ['a'] = 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm',
            'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z',
};
/* clang-format on */

static int ascii_words(const char *text, size_t len, text_word_cb cb, void *data)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + len, *from;
    uint32_t position = 0;
    int rc = 0;

    while (rc == 0 && (from = ascii_word(&p, end)) != NULL) {
        char word[WORD_BYTES_MAX];
        size_t n = 0;
        for (; n < sizeof(word) && from + n < p; n++) word[n] = (char)ascii_fold[from[n]];
        rc = cb(data, word, n, position++);
    }
    return rc;
}

int text_words(const struct tokenizer *t, const char *text, size_t len, text_word_cb cb, void *data)
{
    struct walk w = { .cb = cb, .data = data };
    return ascii_only(text, len) ? ascii_words(text, len, cb, data) : t->each(t, text, len, on_word, &w);
}

struct line {
    struct buf *b;
    size_t words;
};

static int on_line(void *data, const char *word, size_t len, uint32_t position)
{
    struct line *l = data;

    (void)position;
    if (l->b->len > 0) buf_putc(l->b, ' ');
    buf_put(l->b, word, len);
    l->words++;
    return 0;
}

size_t text_words_line(const struct tokenizer *t, const char *text, size_t len, struct buf *b)
{
    struct line l = { .b = b };
    text_words(t, text, len, on_line, &l);
    return l.words;
}

void text_ns_word(char out[NS_WORD_BYTES], const char *ns)
{
    uint64_t h = hash64(ns, strlen(ns), 0);

    memcpy(out, "nsq", 3);
    for (int i = 0; i < 16; i++) out[3 + i] = "0123456789abcdef"[h >> (60 - 4 * i) & 15];
    out[19] = '\0';
}

void text_title_id(char out[TITLE_ID_BYTES], const char *title, const char *ns)
{
    uint64_t h = hash64(ns, strlen(ns), hash64(title, strlen(title) + 1, 0));

    for (int i = 0; i < 13; i++) {
        if (i == 8) continue;
        out[i] = "0123456789abcdef"[h >> 60];
        h <<= 4;
    }
    out[8] = '-';
    out[13] = '\0';
}
