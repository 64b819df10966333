/* functions.c - SQL functions of ours, used by queries only (never in the schema: the original must be able to open
 * the file). Times are compared as microseconds, JSON that cannot be read counts as empty; no row makes a query
 * fail. */
#include "store/sqlite/sq.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "repl/hlc.h"

static bool time_of(const char *text, int64_t *ret_us)
{
    return text && time_parse(text, strlen(text), ret_us) == 0;
}

bool sq_stamp_fits(uint64_t ver, const char *updated_at)
{
    int64_t us;
    return ver != 0 && time_of(updated_at, &us) && us == hlc_us(ver);
}

/* ---- the filter */
static bool has_agent(const char *metadata, const char *agent)
{
    if (metadata == NULL || (strstr(metadata, agent) == NULL && strchr(metadata, '\\') == NULL)) return false;
    json_t *m = json_parse(metadata, strlen(metadata), NULL, 0, NULL);
    const char *value = json_string_value(json_object_get(m, "agent_id"));
    bool same = value && strcmp(value, agent) == 0;
    json_decref(m);
    return same;
}

static bool in_namespaces(const struct filter *f, const char *ns)
{
    if (f->ns && strcmp(f->ns, ns) != 0) return false;
    if (f->ns_any == NULL) return true;
    for (size_t i = 0; i < f->ns_any_count; i++) {
        if (strcmp(f->ns_any[i], ns) == 0) return true;
    }
    return false;
}

bool sq_keep(const struct filter *f, const struct memory *m)
{
    int64_t us;
    if (!in_namespaces(f, m->ns)) return false;
    if (f->tier && *f->tier != m->tier) return false;
    if (f->tier_word && strcmp(f->tier_word, tier_name(m->tier)) != 0) return false;
    if (f->min_priority && m->priority < *f->min_priority) return false;
    if (f->since_us || f->until_us) {
        if (!time_of(m->created_at, &us)) return false;
        if (f->since_us && us < *f->since_us) return false;
        if (f->until_us && us > *f->until_us) return false;
    }
    if (f->now_us && time_of(m->expires_at, &us) && us <= f->now_us) return false;
    if (f->tags_count && (m->tags == NULL || !memory_has_tag(m->tags, f->tags, f->tags_count))) return false;
    if (f->agent_id && !has_agent(m->metadata, f->agent_id)) return false;
    return f->viewer == NULL || memory_visible(f->viewer, m->ns, m->metadata ? m->metadata : "{}");
}

static const char *arg_text(sqlite3_value *v)
{
    return (const char *)sqlite3_value_text(v);
}

/* aim_keep(filter, namespace, tier, priority, created_at, expires_at, tags, metadata) */
static void fn_keep(sqlite3_context *x, int argc, sqlite3_value **argv)
{
    (void)argc;
    const struct filter *f = sqlite3_value_pointer(argv[0], "aim_filter");
    struct memory m = { .ns = arg_text(argv[1]),
                        .tier = TIER_MID,
                        .priority = sqlite3_value_int(argv[3]),
                        .created_at = arg_text(argv[4]),
                        .expires_at = arg_text(argv[5]),
                        .tags = arg_text(argv[6]),
                        .metadata = arg_text(argv[7]) };
    const char *tier = arg_text(argv[2]);
    if (m.ns == NULL) m.ns = "";
    if (tier) (void)tier_parse(tier, &m.tier);
    sqlite3_result_int(x, f == NULL || sq_keep(f, &m));
}

/* ---- times */
/* aim_us(text): microseconds; NULL when unreadable. */
static void fn_us(sqlite3_context *x, int argc, sqlite3_value **argv)
{
    (void)argc;
    int64_t us;
    if (time_of(arg_text(argv[0]), &us)) sqlite3_result_int64(x, us);
}

/* aim_live(expires_at, now_us) */
static void fn_live(sqlite3_context *x, int argc, sqlite3_value **argv)
{
    (void)argc;
    int64_t us;
    sqlite3_result_int(x, !(time_of(arg_text(argv[0]), &us) && us <= sqlite3_value_int64(argv[1])));
}

/* aim_row_us(ver, updated_at): when the row was last edited; -1 when neither says. */
static void fn_row_us(sqlite3_context *x, int argc, sqlite3_value **argv)
{
    (void)argc;
    int64_t us = -1, ver = sqlite3_value_int64(argv[0]);
    if (ver > 0)
        us = hlc_us((uint64_t)ver);
    else if (!time_of(arg_text(argv[1]), &us))
        us = -1;
    sqlite3_result_int64(x, us);
}

/* aim_stamped(ver, updated_at) */
static void fn_stamped(sqlite3_context *x, int argc, sqlite3_value **argv)
{
    (void)argc;
    sqlite3_result_int(x, sq_stamp_fits((uint64_t)sqlite3_value_int64(argv[0]), arg_text(argv[1])));
}

bool sq_titled(const char *id, const char *title, const char *ns)
{
    char begin[TITLE_ID_BYTES];
    text_title_id(begin, title, ns);
    return strncmp(id, begin, sizeof begin - 1) == 0;
}

/* aim_titled(id, title, namespace): whether the id tells the title. */
static void fn_titled(sqlite3_context *x, int argc, sqlite3_value **argv)
{
    (void)argc;
    const char *id = arg_text(argv[0]), *title = arg_text(argv[1]), *ns = arg_text(argv[2]);
    sqlite3_result_int(x, id && title && ns && sq_titled(id, title, ns));
}

/* aim_give(to, rowid): whether it was the last one that is wanted. */
static void fn_give(sqlite3_context *x, int argc, sqlite3_value **argv)
{
    (void)argc;
    struct sq_give *g = sqlite3_value_pointer(argv[0], "aim_give");
    bool last = g == NULL || g->left-- <= 1;
    if (g != NULL && g->cb(g->data, sqlite3_value_int64(argv[1])) != 0) last = true;
    sqlite3_result_int(x, last);
}

/* aim_skip(state, priority, ver, rowid): whether the page begins here. */
static void fn_skip(sqlite3_context *x, int argc, sqlite3_value **argv)
{
    (void)argc;
    struct sq_skip *k = sqlite3_value_pointer(argv[0], "aim_skip");
    sqlite3_result_int(x, k == NULL || sq_skip_row(k, sqlite3_value_int64(argv[1]), sqlite3_value_int64(argv[2]),
                                                   sqlite3_value_int64(argv[3])));
}

int sq_functions(sqlite3 *db)
{
    static const struct {
        const char *name;
        int args;
        void (*call)(sqlite3_context *, int, sqlite3_value **);
    } list[] = {
        { "aim_keep", 8, fn_keep },     { "aim_us", 1, fn_us },           { "aim_live", 2, fn_live },
        { "aim_row_us", 2, fn_row_us }, { "aim_stamped", 2, fn_stamped }, { "aim_titled", 3, fn_titled },
        { "aim_give", 2, fn_give },     { "aim_skip", 4, fn_skip },
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        int rc = sqlite3_create_function_v2(db, list[i].name, list[i].args,
                                            SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, NULL, list[i].call,
                                            NULL, NULL, NULL);
        if (rc != SQLITE_OK) return rc;
    }
    return 0;
}
