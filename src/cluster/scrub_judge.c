/* scrub_judge.c - what a scrub makes of rows. What the logs explain is no difference: a row that one node has and
 * another has not, or has in an older version, counts only when the op that made it lies inside the other's positions:
 * it had it and should have it still. Of one stamp with two contents (bytes that changed behind a program's back) the
 * one that more nodes have is right. */
#include "cluster/scrub.h"

#include <stdlib.h>
#include <string.h>

static int by_key(const void *a, const void *b)
{
    const struct scrub_row *x = a, *y = b;
    if (x->family != y->family) return x->family < y->family ? -1 : 1;
    int order = strcmp(x->key, y->key);
    return order != 0 ? order : stamp_cmp(&x->stamp, &y->stamp);
}

static bool same_key(const struct scrub_row *a, const struct scrub_row *b)
{
    return a->family == b->family && strcmp(a->key, b->key) == 0;
}

static bool inside(const struct scrub_sides *s, unsigned side, const struct stamp *stamp)
{
    const struct cover all = { s->side[side]->v, s->side[side]->count };
    return stamp->seq != 0 &&
           (cover_has(&all, stamp->stream, stamp->seq) || s->left(s->data, stamp->stream, stamp->seq));
}

static unsigned votes(const struct scrub_sides *s, const struct scrub_row *const *row, const struct scrub_row *for_it)
{
    unsigned n = 0;
    for (unsigned i = 0; i < s->count; i++)
        n += row[i] != NULL && !row[i]->dead && stamp_cmp(&row[i]->stamp, &for_it->stamp) == 0 &&
             row[i]->sum == for_it->sum;
    return n;
}

/* One stamp, two contents, of ours and of side k. True: something is wrong; *ret_from whose content is right. */
static bool tie(const struct scrub_sides *s, const struct scrub_row *const *row, unsigned k, unsigned *ret_from)
{
    const struct scrub_row *m = row[0], *t = row[k];
    if (m->dead || t->dead || m->sum == t->sum) return false;
    if (!inside(s, k, &m->stamp) || !inside(s, 0, &t->stamp)) return false;
    unsigned ours = votes(s, row, m), theirs = votes(s, row, t);
    bool yield = theirs > ours || (theirs == ours && s->all && t->sum > m->sum);
    *ret_from = yield ? k : 0;
    return true;
}

/* One key: row[i] of each side, NULL where it is not. */
static bool judge_key(const struct scrub_sides *s, const struct scrub_row *const *row, struct finding *f)
{
    const struct scrub_row *best = row[0];
    bool found = false;
    *f = (struct finding){ 0 };
    for (unsigned k = 1; k < s->count; k++) {
        const struct scrub_row *m = row[0], *t = row[k];
        bool none = (m == NULL || m->dead) && (t == NULL || t->dead);
        if (none || s->side[k] == NULL) continue;
        int order = m == NULL ? -1 : t == NULL ? 1 : stamp_cmp(&m->stamp, &t->stamp);
        unsigned from = 0;
        bool it = order > 0 ? inside(s, k, &m->stamp) : order < 0 ? inside(s, 0, &t->stamp) : tie(s, row, k, &from);
        if (!it) continue;
        found = true;
        if (order < 0 && (best == NULL || stamp_cmp(&t->stamp, &best->stamp) > 0)) {
            best = t;
            f->from = k;
            f->tie = false;
        } else if (order == 0 && from != 0 && best == m && (f->from == 0 || t->sum > row[f->from]->sum)) {
            f->from = k;
            f->tie = true;
        }
        f->theirs = t != NULL && f->from == k ? t->stamp : f->theirs;
    }
    if (row[0] != NULL) f->mine = row[0]->stamp;
    return found;
}

/* Moves on to the newest row of the present key: of a link there and its end, the newer speaks. */
static const struct scrub_row *newest(const struct wire_rows *r, size_t *at)
{
    while (*at + 1 < r->rows && same_key(&r->row[*at], &r->row[*at + 1])) ++*at;
    return *at < r->rows ? &r->row[*at] : NULL;
}

void scrub_judge(const struct scrub_sides *s, struct arena *a, struct findings *ret)
{
    size_t at[SCRUB_SIDES_MAX + 1] = { 0 }, cap = 0;
    for (unsigned i = 0; i < s->count; i++)
        if (s->side[i] != NULL && s->side[i]->rows > 1)
            qsort(s->side[i]->row, s->side[i]->rows, sizeof *s->side[i]->row, by_key);
    *ret = (struct findings){ 0 };
    for (;;) {
        const struct scrub_row *row[SCRUB_SIDES_MAX + 1] = { 0 }, *least = NULL;
        struct finding f;
        for (unsigned i = 0; i < s->count; i++) {
            if (s->side[i] != NULL) row[i] = newest(s->side[i], &at[i]);
            if (row[i] != NULL && (least == NULL || (!same_key(row[i], least) && by_key(row[i], least) < 0)))
                least = row[i];
        }
        if (least == NULL) return;
        for (unsigned i = 0; i < s->count; i++) {
            if (row[i] != NULL && !same_key(row[i], least)) row[i] = NULL;
            at[i] += row[i] != NULL;
        }
        if (!judge_key(s, row, &f)) continue;
        f.family = least->family;
        f.key = arena_strdup(a, least->key);
        if (f.key == NULL) return;
        if (ret->count == cap) {
            cap = cap == 0 ? 64 : cap * 2;
            ret->item = mem_realloc(ret->item, cap * sizeof *ret->item);
        }
        ret->item[ret->count++] = f;
    }
}

static int key_order(const struct finding *a, const struct finding *b)
{
    return a->family != b->family ? (a->family < b->family ? -1 : 1) : strcmp(a->key, b->key);
}

static bool same_finding(const struct finding *a, const struct finding *b)
{
    return key_order(a, b) == 0 && a->from == b->from && a->tie == b->tie && stamp_cmp(&a->mine, &b->mine) == 0 &&
           stamp_cmp(&a->theirs, &b->theirs) == 0;
}

/* Both ascend by key, as they were found. */
void scrub_seen_twice(struct findings *now, const struct findings *before)
{
    size_t kept = 0, k = 0;
    for (size_t i = 0; i < now->count; i++) {
        while (k < before->count && key_order(&before->item[k], &now->item[i]) < 0) k++;
        if (k < before->count && same_finding(&now->item[i], &before->item[k])) now->item[kept++] = now->item[i];
    }
    now->count = kept;
}
