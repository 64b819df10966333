/* run.c - a command is one call: decode, check, open, run, close, print. Nothing is printed before the database is
 * closed, so a reader that goes away cannot cut the work short. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "cli/place.h"
#include "cli/run.h"
#include "cli/text.h"
#include "memory/utf8.h"
#include "ops/identity.h"
#include "ops/local.h"

#define STDIN_MAX (48u << 20)
#define LIST_MAX (1u << 20)
#define OUT_MAX (512u << 20)

int run_failed(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("Error: ", stderr);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    return 1;
}

/* What is refused by name or by policy stands alone; anything else is an error of the command. */
static int failed(int rc, const struct err *err)
{
    const char *msg = err->msg[0] ? err->msg : err_text(rc);
    bool of_id = (rc == E_NOT_FOUND || rc == E_CONFLICT) && strcmp(err->arg, "id") == 0;
    bool alone = rc == E_DENIED || of_id;
    if (!alone) return run_failed("%s", msg);
    fprintf(stderr, "%s\n", msg);
    return 1;
}

/* ---- arguments ------------------------------------------------------------------------------------------------ */
static bool utf8_fine(const char *s, size_t len)
{
    const char *end = s + len;
    while (s < end) {
        const char *from = s;
        if (utf8_next(&s, end) == 0xfffd && s - from != 3) return false;
    }
    return true;
}

static int read_stdin(struct buf *b, struct err *err)
{
    for (;;) {
        char *room = buf_reserve(b, 65536);
        if (room == NULL) return err_set(err, E_TOO_LARGE, "standard input exceeds %u bytes", STDIN_MAX);
        size_t n = fread(room, 1, 65536, stdin);
        buf_grew(b, n);
        if (n > 0) continue;
        if (ferror(stdin)) return err_set(err, E_IO, "standard input cannot be read");
        return utf8_fine(buf_str(b), b->len) ? 0 : err_set(err, E_INVALID, "stream did not contain valid UTF-8");
    }
}

static int wrong_value(struct parsed *p, const struct spec_option *o, const char *text, const char *why)
{
    char shown[160];
    spec_print(o, shown, sizeof(shown));
    snprintf(p->error, sizeof(p->error), "invalid value '%.200s' for '%s': %.400s", text, shown, why);
    return E_TYPE;
}

/* Lists may be given again: the parts stand in one comma list. */
static void join(const struct cli_given *g, unsigned from, struct buf *b)
{
    for (unsigned i = from; i < g->count; i++) {
        if (g->item[i].option != g->item[from].option) continue;
        if (b->len) buf_putc(b, ',');
        buf_puts(b, g->item[i].text);
    }
}

static bool first_of_option(const struct cli_given *g, unsigned index)
{
    for (unsigned i = 0; i < index; i++)
        if (g->item[i].option == g->item[index].option) return false;
    return true;
}

static int take_value(struct parsed *p, unsigned index, struct call *c)
{
    const struct cli_given *g = &p->given;
    const struct spec_option *o = g->item[index].option;
    const struct arg *d = &c->op->args[o->arg];
    const char *text = g->item[index].text;
    bool from_stdin = (d->flags & ARG_STDIN) && strcmp(text, "-") == 0;
    struct buf b;
    int rc = 0;
    buf_init(&b, from_stdin ? STDIN_MAX : LIST_MAX);
    if (from_stdin)
        rc = read_stdin(&b, &c->err);
    else if (o->many)
        join(g, index, &b);
    else
        buf_puts(&b, text);
    if (b.failed && rc == 0) rc = err_set(&c->err, E_TOO_LARGE, "too many values");
    if (rc == 0)
        rc = args_from_text(c->op->args, (unsigned)o->arg, DOOR_CLI, buf_str(&b), b.len, &c->arena, c->args, &c->err);
    if (rc == E_TYPE) rc = wrong_value(p, o, text, c->err.msg);
    buf_release(&b);
    return rc;
}

/* E_TYPE at the first value of a wrong type, before any other fault. */
static int take_values(struct parsed *p, struct call *c)
{
    struct err first = { 0 };
    for (unsigned i = 0; i < p->given.count; i++) {
        if (!first_of_option(&p->given, i)) continue;
        int rc = take_value(p, i, c);
        if (rc == E_TYPE) return rc;
        if (rc && first.code == 0) {
            first = c->err;
            first.code = rc;
        }
    }
    if (first.code) c->err = first;
    return first.code;
}

/* Lists of objects come as one JSON document on standard input; of its members only those lists are looked at. Links
 * that cannot be read count as none. */
static int take_document(struct call *c)
{
    struct buf b;
    json_t *doc, *lists = json_object();
    bool wanted = false;
    for (const struct arg *d = c->op->args; d->name; d++)
        wanted = wanted || (d->type == ARG_ITEMS && d->doors & ON_CLI);
    c->body = lists;
    if (!wanted) return 0;
    buf_init(&b, STDIN_MAX);
    int rc = read_stdin(&b, &c->err);
    doc = rc == 0 ? json_parse(buf_str(&b), b.len, NULL, 0, &c->err) : NULL;
    buf_release(&b);
    if (doc == NULL) return rc ? rc : E_SYNTAX;
    for (const struct arg *d = c->op->args; d->name; d++) {
        json_t *list = json_object_get(doc, d->name);
        if (d->type == ARG_ITEMS && list) json_object_set(lists, d->name, list);
    }
    json_decref(doc);
    rc = args_from_json(c->op->args, DOOR_CLI, lists, &c->arena, c->args, &c->err);
    if (rc == 0 || strncmp(c->err.arg, "links", 5) != 0) return rc;
    json_object_del(lists, "links");
    memset(c->args, 0, c->op->args_size);
    return args_from_json(c->op->args, DOOR_CLI, lists, &c->arena, c->args, &c->err);
}

/* The file's tier stands where recall is told none. */
static void take_tier(struct call *c, const struct cli_env *env)
{
    int i = arg_index(c->op->args, DOOR_CLI, "tier");
    struct err ignored;
    if (env->tier == NULL || strcmp(c->op->name, "recall") != 0 || i < 0 || arg_set(c->args, (unsigned)i)) return;
    (void)args_from_text(c->op->args, (unsigned)i, DOOR_CLI, env->tier, strlen(env->tier), &c->arena, c->args,
                         &ignored);
}

/* A command that asks for a namespace which other doors fill by default takes that of the place it is run in. */
static bool wants_place(const struct call *c)
{
    int i = arg_index(c->op->args, DOOR_CLI, "namespace");
    if (i < 0 || arg_set(c->args, (unsigned)i)) return false;
    const struct arg *d = &c->op->args[i];
    return d->at[DOOR_CLI].dflt == NULL && (d->at[DOOR_MCP].dflt || d->at[DOOR_HTTP].dflt);
}

static int prepare(struct parsed *p, const struct cli_env *env, struct call *c, struct identity *who,
                   char place[PLACE_TEXT])
{
    const char *agent = p->global[GLOBAL_AGENT] ? p->global[GLOBAL_AGENT] : env->agent_id;
    int rc = take_document(c);
    if (rc == 0) rc = take_values(p, c);
    if (rc) return rc;
    take_tier(c, env);
    identity_init(who);
    identity_resolve(who, agent, NULL, env->anonymize, &c->caller);
    c->caller.door = DOOR_CLI;
    c->caller.default_ns = "global";
    rc = args_finish(c->op->args, DOOR_CLI, &c->arena, c->args, &c->err);
    if (rc == 0) rc = args_check(c->op->args, DOOR_CLI, clock_wall_us(NULL), &c->arena, c->args, &c->err);
    if (rc || !wants_place(c)) return rc;
    if (env->default_ns)
        c->caller.default_ns = env->default_ns;
    else {
        place_namespace(place);
        c->caller.default_ns = place;
    }
    return 0;
}

/* ---- the call ------------------------------------------------------------------------------------------------- */
static int run_on_file(const char *db, const struct cli_env *env, struct call *c)
{
    struct local *l = NULL;
    struct local_options o;
    local_options_default(&o);
    o.path = db;
    o.reads_only = c->op->effect == OP_READ;
    o.relaxed = env->relaxed;
    o.limits = env->limits;
    int rc = local_open(&l, &o, &c->err);
    if (rc == E_READ_ONLY && c->op->effect == OP_TOUCH) { /* answered all the same, only not counted */
        o.reads_only = c->no_touch = true;
        rc = local_open(&l, &o, &c->err);
    }
    if (rc == 0) rc = local_run(l, c);
    local_close(l);
    return rc;
}

static const char *first_positional(const struct parsed *p)
{
    for (unsigned i = 0; i < p->given.count; i++)
        if (p->given.item[i].option->positional) return p->given.item[i].text;
    return "";
}

static int put_all(struct buf *b, FILE *to)
{
    bool fine = fwrite(buf_str(b), 1, b->len, to) == b->len && fflush(to) == 0;
    return fine && !b->failed ? 0 : E_IO;
}

static int print_answer(const struct parsed *p, const struct call *c)
{
    struct buf out, notes;
    buf_init(&out, OUT_MAX);
    buf_init(&notes, LIST_MAX);
    if (p->global[GLOBAL_JSON]) {
        json_t *doc = text_json(c->op->name, c->reply.doc);
        json_print(&out, doc);
        buf_putc(&out, '\n');
        json_decref(doc);
    } else {
        struct text t = { c->reply.doc, first_positional(p), clock_wall_us(NULL), isatty(STDOUT_FILENO), &out, &notes };
        text_print(c->op->name, &t);
    }
    int rc = put_all(&notes, stderr);
    if (rc == 0) rc = put_all(&out, stdout);
    buf_release(&out);
    buf_release(&notes);
    return rc ? run_failed("the answer could not be written") : 0;
}

int run_operation(struct parsed *p, const struct cli_env *env)
{
    struct call *c = call_new(p->command.op);
    struct identity who;
    char place[PLACE_TEXT];
    int rc = prepare(p, env, c, &who, place), status;
    if (rc == 0) rc = run_on_file(p->global[GLOBAL_DB] ? p->global[GLOBAL_DB] : env->db, env, c);
    if (rc == E_TYPE && p->error[0])
        status = 2;
    else
        status = rc ? failed(rc, &c->err) : print_answer(p, c);
    call_free(c);
    return status;
}
