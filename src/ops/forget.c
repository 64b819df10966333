/* forget.c - removing many: forget by filter (archive copy and tombstone, an op for each row), and the sweep of expired
 * rows, which is this node's own and makes no op. Both in slices that queue again behind the others. */
#include <stdlib.h>
#include <string.h>

#include "memory/score.h"
#include "memory/text.h"
#include "ops/beside.h"
#include "ops/guard.h"
#include "store/change.h"

#define SLICE 64
#define PAGE_BYTES (8u << 20)
#define SWEEP_EVERY_US (3600ll * 1000000)
#define SWEEP_ALWAYS_ROWS 5000 /* looking through so many costs nothing worth saving */

#define AT(member) offsetof(struct forget_args, member)
const struct arg forget_arg[] = {
    { "namespace", ARG_TEXT, AT(ns), ARG_OPTION, ON_ALL, .letter = 'n', .doc = "Only this namespace" },
    { "pattern", ARG_TEXT, AT(pattern), ARG_OPTION | ARG_REST, ON_ALL, .letter = 'p',
      .doc = "Only what holds every one of these words" },
    { "tier", ARG_WORD, AT(tier), ARG_OPTION, ON_ALL, tier_words, .letter = 't', .doc = "Only this tier" },
    { "dry_run", ARG_BOOL, AT(dry_run), 0, ON_ALL, .at = { [DOOR_CLI] = { .name = "dry-run" } }, .doc = "Count only" },
    { 0 },
};
#undef AT

const struct arg gc_arg[] = {
    { "dry_run", ARG_BOOL, offsetof(struct gc_args, dry_run), 0, ON_MCP | ON_CLI,
      .at = { [DOOR_CLI] = { .name = "dry-run" } }, .doc = "Count only" },
    { 0 },
};

/* ---- what is to be forgotten -------------------------------------------------------------------------------------
 * Candidates come by rowid from the word index (newest first) or by page (priority, version, id); the place reached is
 * in the call's carry. Rows edited since the call began are left alone. */
struct search {
    struct op_ctx *c;
    struct filter filter;
    struct filter_own own;
    struct query query; /* groups 0: no pattern */
    const char *ns[2];
    int64_t below; /* rowids from there on are done */
    int64_t *rowid;
    size_t count, max;
};

static int no_words(struct op_ctx *c)
{
    return err_arg(c->err, E_INVALID, "pattern", "pattern holds no word to look for");
}

static int search_begin(struct op_ctx *c, const struct forget_args *a, struct search *s, bool *ret_none)
{
    struct filter_args fa = { .ns = &a->ns, .tier = &a->tier };
    *s = (struct search){ .c = c, .ns = { a->ns.s } };
    if (a->ns.s == NULL && a->pattern.s == NULL && a->tier.s == NULL)
        return err_set(c->err, E_INVALID, "at least one of namespace, pattern, or tier is required");
    int rc = filter_fill(c, &fa, &s->own, &s->filter, ret_none);
    s->filter.now_us = 0; /* expired rows too */
    if (rc || a->pattern.s == NULL) return rc;
    rc = query_parse(c->env->tokenizer, a->pattern.s, a->pattern.len, false, c->arena, &s->query);
    if (rc == 0 && s->query.groups == 0) return no_words(c);
    return rc == 0 ? query_index(&s->query, c->arena) : rc;
}

static int note_rowid(void *data, int64_t rowid)
{
    struct search *s = data;
    if (rowid >= s->below) return 0;
    s->rowid[s->count++] = rowid;
    return s->count == s->max;
}

/* Every word, as the index knows them; phrases and further prefixes are left to the text. */
static int scan(struct search *s)
{
    const char *word[QUERY_GROUPS_MAX * QUERY_PHRASE_MAX + 2];
    const struct group *prefix = NULL;
    size_t n = 0;
    for (size_t i = 0; i < s->query.groups; i++) {
        const struct group *g = &s->query.group[i];
        if (g->prefix) prefix = g;
        for (size_t w = 0; !g->prefix && w < g->words; w++) word[n++] = g->word[w];
    }
    if (prefix) word[n++] = prefix->word[0];
    word[n] = NULL;
    struct store_tx *tx = s->c->tx;
    return tx->v->words_scan(tx, word, s->ns[0] ? s->ns : NULL, prefix != NULL, INT64_MAX, note_rowid, s);
}

static bool fits(const struct search *s, const struct row *row)
{
    const struct filter *f = &s->filter;
    struct text_match match;
    if (f->ns && strcmp(f->ns, row->m.ns) != 0) return false;
    if (f->tier && *f->tier != row->m.tier) return false;
    if (s->query.groups == 0) return true;
    score_match(s->c->env->tokenizer, &s->query, &row->m, &match);
    return match.all;
}

/* The next rows that fit, at most `max` looked at; *ret_more: there may be further ones. */
static int next_by_words(struct search *s, struct arena *a, struct rows *ret, bool *ret_more)
{
    int64_t rowid[SLICE];
    json_int_t below = carry_number(s->c, "below");
    s->below = below ? below : INT64_MAX;
    s->rowid = rowid;
    s->count = 0;
    s->max = SLICE;
    int rc = scan(s);
    if (rc == 0) rc = s->c->tx->v->by_rowids(s->c->tx, rowid, s->count, 0, a, ret);
    *ret_more = s->count == SLICE;
    if (rc == 0 && s->count > 0) carry_add(s->c, "below", rowid[s->count - 1] - below);
    return rc;
}

static int next_by_page(struct search *s, struct arena *a, struct rows *ret, bool *ret_more)
{
    struct list_query q = { .f = s->filter, .limit = SLICE, .bytes_max = PAGE_BYTES };
    const char *id = json_string_value(json_object_get(*s->c->carry, "id"));
    struct cursor after = { (int)carry_number(s->c, "priority"), (uint64_t)carry_number(s->c, "ver"), id };
    if (id) q.after = &after;
    int rc = s->c->tx->v->list(s->c->tx, &q, a, ret);
    *ret_more = ret->more;
    if (rc || ret->count == 0) return rc;
    const struct row *last = &ret->item[ret->count - 1];
    json_object_set_new(*s->c->carry, "priority", json_integer(last->m.priority));
    json_object_set_new(*s->c->carry, "ver", json_integer((json_int_t)last->stamp.ver));
    json_object_set_new(*s->c->carry, "id", json_string(last->m.id));
    return 0;
}

static int next(struct search *s, struct arena *a, struct rows *ret, bool *ret_more)
{
    *ret = (struct rows){ 0 };
    return s->query.groups > 0 ? next_by_words(s, a, ret, ret_more) : next_by_page(s, a, ret, ret_more);
}

/* ---- forget ------------------------------------------------------------------------------------------------------ */
static int forget_row(struct op_ctx *c, const struct row *row, struct reply *r)
{
    struct guard g = {
        .action = GUARD_DELETE, .ns = row->m.ns, .agent_id = c->caller->agent_id, .memory = &row->m, .at_once = true
    };
    int rc = guard_check(c, &g, r);
    if (rc == E_DENIED) carry_add(c, "denied", 1);
    if (rc) return rc == E_DENIED ? 0 : rc;
    change_group_begin(c->change);
    rc = delete_kept(c, row, "forget");
    int end = change_group_end(c->change);
    if (rc == 0) rc = end;
    if (rc == 0) carry_add(c, "deleted", 1);
    return rc;
}

/* Its version was issued after this call began. (One from the far future lies beyond the clock.) */
static bool edited_since(struct op_ctx *c, const struct row *row)
{
    uint64_t began = (uint64_t)carry_number(c, "began");
    return row->stamp.ver > began && row->stamp.ver <= c->change->hlc.last;
}

static int forget_slice(struct op_ctx *c, struct search *s, bool dry, struct reply *r, bool *ret_more)
{
    struct arena a;
    struct rows rows;
    arena_init(&a, 64u << 20);
    int rc = next(s, &a, &rows, ret_more);
    for (size_t i = 0; rc == 0 && i < rows.count; i++) {
        if (!fits(s, &rows.item[i])) continue;
        if (dry)
            carry_add(c, "deleted", 1);
        else if (!edited_since(c, &rows.item[i]))
            rc = forget_row(c, &rows.item[i], r);
    }
    arena_release(&a);
    return rc;
}

static int forget_reply(struct op_ctx *c, bool dry, struct reply *r)
{
    json_int_t deleted = carry_number(c, "deleted"), denied = carry_number(c, "denied");
    r->no_quorum = dry;
    r->wait_all = true; /* an earlier attempt may have removed others */
    if (dry) return reply_set(r, "{s:b, s:I}", "dry_run", 1, "would_delete", deleted);
    if (deleted == 0 && denied > 0) return E_DENIED; /* with the last row's reason */
    int rc = reply_set(r, "{s:I, s:b}", "deleted", deleted, "archived", keeps_copies(c));
    if (rc == 0 && denied > 0) json_object_set_new(r->doc, "denied", json_integer(denied));
    return rc;
}

int op_forget(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct forget_args *a = args;
    struct search s;
    bool none, more = false;
    if (carry_number(c, "began") == 0) carry_add(c, "began", (json_int_t)c->change->hlc.last);
    int rc = search_begin(c, a, &s, &none);
    if (rc || none) return rc ? rc : forget_reply(c, a->dry_run, r);
    rc = forget_slice(c, &s, a->dry_run, r, &more);
    if (rc) return rc;
    ++*c->progress;
    return more ? E_AGAIN : forget_reply(c, a->dry_run, r);
}

/* ---- the sweep --------------------------------------------------------------------------------------------------- */
static int sweep_due(struct op_ctx *c, bool *ret)
{
    struct local_value v;
    int64_t rows, words, last_rowid, last = 0;
    int rc = c->tx->v->words_stat(c->tx, &rows, &words, &last_rowid);
    *ret = true;
    if (rc || rows <= SWEEP_ALWAYS_ROWS) return rc;
    rc = c->tx->v->local_get(c->tx, "swept", c->arena, &v);
    if (rc == 0 && v.len == sizeof(last)) memcpy(&last, v.data, sizeof(last));
    *ret = last > c->now_us || c->now_us - last >= SWEEP_EVERY_US;
    if (*ret) rc = c->tx->v->local_put(c->tx, "swept", &c->now_us, sizeof(c->now_us));
    return rc == E_NOT_FOUND ? 0 : rc;
}

static int sweep_slice(struct op_ctx *c, bool dry, bool *ret_more)
{
    struct arena a;
    struct rows rows;
    const char *after = json_string_value(json_object_get(*c->carry, "id"));
    arena_init(&a, 64u << 20);
    int rc = c->tx->v->expired(c->tx, c->now_us, after, SLICE, &a, &rows);
    bool copy = c->env->limits.archive_on_gc;
    for (size_t i = 0; rc == 0 && i < rows.count && !dry; i++)
        rc = copy ? change_sweep_copy(c->change, &rows.item[i]) : change_sweep(c->change, &rows.item[i]);
    *ret_more = rc == 0 && rows.more;
    if (rc == 0) carry_add(c, "swept", (json_int_t)rows.count);
    if (*ret_more) json_object_set_new(*c->carry, "id", json_string(rows.item[rows.count - 1].m.id));
    arena_release(&a);
    return rc;
}

int op_gc(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct gc_args *a = args;
    bool more = false, due = true;
    (void)carry_number(c, "swept");
    int rc = a->when_due && *c->progress == 0 ? sweep_due(c, &due) : 0;
    if (rc == 0 && due) rc = sweep_slice(c, a->dry_run, &more);
    if (rc) return rc;
    ++*c->progress;
    if (more) return E_AGAIN;
    json_int_t swept = carry_number(c, "swept");
    return reply_set(r, "{s:I, s:I, s:b}", "expired_deleted", swept, "collected", swept, "dry_run", a->dry_run);
}
