/* parse.c - words and options, level by level: the program, then a group ("archive"), then a command.
 *
 *   ROOT ─word─▶ GROUP ─word─▶ COMMAND ─▶ done, checks
 *     └────────── word ─────────▲
 * Global options may stand at every level; the innermost wins. --help ends parsing wherever it stands. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "cli/parse.h"
#include "memory/utf8.h"

#define ARENA_MAX (8u << 20)

struct parser {
    struct parsed *p;
    int argc, at;
    char **argv;
    bool words_only;        /* after "--" */
    unsigned level_globals; /* bit i: global i was given at this level */
    unsigned positionals;   /* of the command, filled */
    bool done;
};

static void wrong(struct parser *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void wrong(struct parser *x, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(x->p->error, sizeof(x->p->error), fmt, args);
    va_end(args);
    x->p->outcome = PARSE_WRONG;
    x->done = true;
}

static void finish(struct parser *x, enum parse_outcome outcome)
{
    x->p->outcome = outcome;
    x->done = true;
}

static void unexpected(struct parser *x, const char *token)
{
    if (strncmp(token, "--", 2) == 0)
        wrong(x, "unexpected argument '%.*s' found", (int)strcspn(token, "="), token);
    else if (token[0] == '-')
        wrong(x, "unexpected argument '%.2s' found", token);
    else
        wrong(x, "unexpected argument '%.200s' found", token);
}

static void value_missing(struct parser *x, const struct spec_option *o)
{
    char shown[160];
    spec_print(o, shown, sizeof(shown));
    wrong(x, "a value is required for '%s' but none was supplied", shown);
}

/* ---- what was given ------------------------------------------------------------------------------------------- */
static int global_index(const struct spec_option *o)
{
    return o >= spec_globals && o < spec_globals + GLOBALS ? (int)(o - spec_globals) : -1;
}

static void repeated(struct parser *x, const struct spec_option *o)
{
    char shown[160];
    spec_print(o, shown, sizeof(shown));
    wrong(x, "the argument '%s' cannot be used multiple times", shown);
}

static void add_global(struct parser *x, int i, const char *text)
{
    if (x->level_globals & 1u << i) {
        repeated(x, &spec_globals[i]);
        return;
    }
    if (text[0] == '\0' && (i == GLOBAL_DB || i == GLOBAL_PASSPHRASE)) {
        value_missing(x, &spec_globals[i]);
        return;
    }
    x->level_globals |= 1u << i;
    x->p->global[i] = text;
}

static void add_one(struct parser *x, const struct spec_option *o, const char *text)
{
    struct cli_given *g = &x->p->given;
    if (text == NULL || g->count == GIVEN_MAX) {
        wrong(x, "too many arguments");
        return;
    }
    g->item[g->count++] = (struct given){ o, text };
}

static void add(struct parser *x, const struct spec_option *o, const char *text)
{
    struct cli_given *g = &x->p->given;
    int global = global_index(o);
    if (global >= 0) {
        add_global(x, global, text);
        return;
    }
    for (unsigned i = 0; i < g->count && !o->many; i++) {
        if (g->item[i].option != o) continue;
        repeated(x, o);
        return;
    }
    if (!o->many || o->arg >= 0) {
        add_one(x, o, text);
        return;
    }
    for (const char *part = text; part && !x->done;) { /* an own command's list: one item for each part */
        size_t len = strcspn(part, ",");
        if (len > 0) add_one(x, o, arena_strndup(&x->p->arena, part, len));
        part = part[len] ? part + len + 1 : NULL;
    }
}

/* ---- options -------------------------------------------------------------------------------------------------- */
static const struct spec_option *find_long(const struct parser *x, const char *name, size_t len)
{
    const struct spec_option *o = spec_option(&x->p->command, name, len);
    return o ? o : spec_global(name, len);
}

static bool known(const struct parser *x, const char *token)
{
    if (strncmp(token, "--", 2) == 0) {
        size_t len = strcspn(token + 2, "=");
        return len == 0 || find_long(x, token + 2, len) || (len == 4 && memcmp(token + 2, "help", 4) == 0);
    }
    return token[1] == 'h' || spec_letter(&x->p->command, token[1]);
}

/* The next word as the value of o. */
static void add_next(struct parser *x, const struct spec_option *o)
{
    const char *next = x->at + 1 < x->argc ? x->argv[x->at + 1] : NULL;
    bool dashed = next && next[0] == '-' && next[1] != '\0';
    if (next == NULL || (dashed && !o->rest && known(x, next))) {
        value_missing(x, o);
        return;
    }
    if (dashed && !o->rest) {
        unexpected(x, next);
        return;
    }
    x->at++;
    add(x, o, next);
}

static void word(struct parser *x, const char *text);

/* A word with a dash that is no option: text, where the command takes any. */
static void unknown_option(struct parser *x, const char *token, const char *shown)
{
    const struct spec_command *c = &x->p->command;
    unsigned seen = 0;
    for (unsigned i = 0; c->builtin == SPEC_ROW && i < c->options; i++) {
        if (!c->option[i].positional || seen++ != x->positionals) continue;
        if (!c->option[i].rest) break;
        word(x, token);
        return;
    }
    unexpected(x, shown);
}

static void long_option(struct parser *x, const char *token)
{
    const char *name = token + 2, *equals = strchr(name, '=');
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    const struct spec_option *o = find_long(x, name, len);
    if (o == NULL && strcmp(name, "help") == 0)
        finish(x, PARSE_HELP);
    else if (o == NULL && strcmp(name, "version") == 0 && x->p->command.builtin == SPEC_ROOT)
        finish(x, PARSE_VERSION);
    else if (o == NULL)
        unknown_option(x, token, token);
    else if (o->kind == CLI_FLAG && equals)
        wrong(x, "unexpected value '%.200s' for '--%s' found; no more were expected", equals + 1, o->name);
    else if (o->kind == CLI_FLAG)
        add(x, o, "");
    else if (equals)
        add(x, o, equals + 1);
    else
        add_next(x, o);
}

static void short_options(struct parser *x, const char *token)
{
    for (const char *c = token + 1; *c && !x->done; c++) {
        const struct spec_option *o = spec_letter(&x->p->command, *c);
        char shown[3] = { '-', *c, '\0' };
        if (o == NULL && *c == 'h') {
            finish(x, PARSE_HELP);
        } else if (o == NULL && *c == 'V' && x->p->command.builtin == SPEC_ROOT) {
            finish(x, PARSE_VERSION);
        } else if (o == NULL) {
            unknown_option(x, token, c == token + 1 ? token : shown);
            return;
        } else if (o->kind == CLI_FLAG) {
            add(x, o, "");
        } else {
            if (c[1] == '\0')
                add_next(x, o);
            else
                add(x, o, c[1] == '=' ? c + 2 : c + 1);
            return;
        }
    }
}

/* ---- words ---------------------------------------------------------------------------------------------------- */
static bool enter(struct parser *x, const char *text)
{
    char name[96];
    const char *group = x->p->command.name;
    int len = snprintf(name, sizeof(name), "%s%s%s", group, group[0] ? " " : "", text);
    if (len < 0 || (size_t)len >= sizeof(x->p->command.name) || text[0] == '\0' || strchr(text, ' ')) return false;
    struct spec_command found;
    if (!spec_find(&x->p->spec, name, &found)) return false;
    x->p->command = found;
    x->level_globals = 0;
    return true;
}

/* "help", "help archive purge", "archive help purge" */
static void help_words(struct parser *x)
{
    struct spec_command at;
    char *name = x->p->command.name;
    name[strlen(name) - (strlen(name) > 4 ? 5 : 4)] = '\0';
    CHECK(spec_find(&x->p->spec, arena_strdup(&x->p->arena, name), &at));
    x->p->command = at;
    while (!x->done && ++x->at < x->argc) {
        const char *text = x->argv[x->at];
        if (strcmp(text, "-h") == 0 || strcmp(text, "--help") == 0) continue;
        if (x->p->command.builtin == SPEC_ROW || !enter(x, text)) {
            CHECK(spec_find(&x->p->spec, "", &x->p->command));
            wrong(x, "unrecognized subcommand '%.200s'", text);
        }
        if (x->p->command.builtin == SPEC_HELP) break;
    }
    if (!x->done) finish(x, PARSE_HELP);
}

static void word(struct parser *x, const char *text)
{
    struct spec_command *c = &x->p->command;
    if (c->builtin != SPEC_ROW) {
        if (!enter(x, text))
            wrong(x, "unrecognized subcommand '%.200s'", text);
        else if (c->builtin == SPEC_HELP)
            help_words(x);
        return;
    }
    unsigned seen = 0;
    for (unsigned i = 0; i < c->options; i++) {
        if (!c->option[i].positional || seen++ != x->positionals) continue;
        if (!c->option[i].many || c->option[i].arg >= 0) x->positionals++;
        add(x, &c->option[i], text);
        return;
    }
    unexpected(x, text);
}

/* ---- checks --------------------------------------------------------------------------------------------------- */
static bool was_given(const struct cli_given *g, const char *name)
{
    for (unsigned i = 0; i < g->count; i++)
        if (strcmp(g->item[i].option->name, name) == 0) return true;
    return false;
}

static void check_required(struct parser *x)
{
    const struct spec_command *c = &x->p->command;
    struct buf b;
    buf_init(&b, sizeof(x->p->error) - 80);
    for (unsigned i = 0; i < c->options; i++) {
        const struct spec_option *o = &c->option[i];
        char shown[160];
        bool missing = o->required && !was_given(&x->p->given, o->name);
        if (!missing && o->requires && was_given(&x->p->given, o->name) && !was_given(&x->p->given, o->requires)) {
            o = spec_option(c, o->requires, strlen(o->requires));
            missing = o != NULL;
        }
        if (!missing) continue;
        spec_print(o, shown, sizeof(shown));
        buf_printf(&b, "\n  %s", shown);
    }
    if (b.len > 0) wrong(x, "the following required arguments were not provided:%s", buf_str(&b));
    buf_release(&b);
}

static void check_conflicts(struct parser *x)
{
    const struct cli_given *g = &x->p->given;
    for (unsigned i = 0; i < g->count && !x->done; i++) {
        const struct spec_option *o = g->item[i].option;
        for (size_t k = 0; o->conflicts && o->conflicts[k] && !x->done; k++) {
            const struct spec_option *other = spec_option(&x->p->command, o->conflicts[k], strlen(o->conflicts[k]));
            char a[160], b[160];
            if (other == NULL || !was_given(g, other->name)) continue;
            spec_print(o, a, sizeof(a));
            spec_print(other, b, sizeof(b));
            wrong(x, "the argument '%s' cannot be used with '%s'", a, b);
        }
    }
}

static const char *number_fault(const struct spec_option *o, const char *text, char *out, size_t size)
{
    const char *digits = text + (text[0] == '-' && o->kind == CLI_INT);
    if (text[0] == '\0') return "cannot parse integer from empty string";
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0') return "invalid digit found in string";
    errno = 0;
    long long n = strtoll(text, NULL, 10);
    if (errno == 0 && (o->max == 0 || (n >= o->min && n <= o->max))) return NULL;
    if (o->max == 0) return "number too large to fit in target type";
    snprintf(out, size, "%.40s is not in %lld..=%lld", text, (long long)o->min, (long long)o->max);
    return out;
}

static const char *real_fault(const char *text)
{
    char *end;
    (void)strtod(text, &end);
    return text[0] && *end == '\0' ? NULL : "invalid float literal";
}

static void check_words(struct parser *x, const struct spec_option *o, const char *text)
{
    struct buf b;
    char shown[160];
    buf_init(&b, 400);
    for (size_t i = 0; o->words[i]; i++) {
        if (strcmp(o->words[i], text) == 0) {
            buf_release(&b);
            return;
        }
        buf_printf(&b, "%s%s", i ? ", " : "", o->words[i]);
    }
    spec_print(o, shown, sizeof(shown));
    wrong(x, "invalid value '%.200s' for '%s'\n  [possible values: %s]", text, shown, buf_str(&b));
    buf_release(&b);
}

/* Of an operation's arguments the shared decoder checks the values. */
static void check_values(struct parser *x)
{
    const struct cli_given *g = &x->p->given;
    for (unsigned i = 0; i < g->count && !x->done; i++) {
        const struct spec_option *o = g->item[i].option;
        const char *text = g->item[i].text, *fault = NULL;
        char shown[160], range[120];
        if (o->arg >= 0) continue;
        if (o->kind == CLI_INT || o->kind == CLI_UINT) fault = number_fault(o, text, range, sizeof(range));
        if (o->kind == CLI_REAL) fault = real_fault(text);
        spec_print(o, shown, sizeof(shown));
        if (fault)
            wrong(x, "invalid value '%.200s' for '%s': %s", text, shown, fault);
        else if (o->words)
            check_words(x, o, text);
    }
}

static bool any_global(const struct parsed *p)
{
    for (unsigned i = 0; i < GLOBALS; i++)
        if (p->global[i]) return true;
    return false;
}

struct names {
    struct buf text;
};
static void put_name(void *data, const char *name, const char *about)
{
    struct names *n = data;
    (void)about;
    buf_printf(&n->text, "%s%s", n->text.len ? ", " : "", name);
}

/* The line ended above a command. */
static void no_command(struct parser *x)
{
    const char *group = x->p->command.name;
    struct names n;
    if (!any_global(x->p)) {
        finish(x, PARSE_LOST);
        return;
    }
    buf_init(&n.text, 700);
    spec_each(&x->p->spec, group, put_name, &n);
    wrong(x, "'ai-memory%s%s' requires a subcommand but one was not provided\n  [subcommands: %s]", group[0] ? " " : "",
          group, buf_str(&n.text));
    buf_release(&n.text);
}

static void check_all(struct parser *x)
{
    if (x->p->command.builtin == SPEC_GROUP && strcmp(x->p->command.name, "agents") == 0) (void)enter(x, "list");
    if (x->p->command.builtin != SPEC_ROW) {
        no_command(x);
        return;
    }
    check_required(x);
    if (!x->done) check_conflicts(x);
    if (!x->done) check_values(x);
}

static bool utf8_whole(const char *s)
{
    const char *end = s + strlen(s);
    while (s < end) {
        const char *from = s;
        if (utf8_next(&s, end) == 0xfffd && s - from != 3) return false;
    }
    return true;
}

void parse_args(struct parsed *p, const struct spec *s, int argc, char **argv)
{
    struct parser x = { .p = p, .argc = argc, .argv = argv };
    *p = (struct parsed){ .spec = *s };
    arena_init(&p->arena, ARENA_MAX);
    p->given.command = &p->command;
    CHECK(spec_find(s, "", &p->command));
    for (int i = 1; i < argc && !x.done; i++)
        if (!utf8_whole(argv[i])) wrong(&x, "invalid UTF-8 was detected in one or more arguments");
    for (x.at = 1; x.at < argc && !x.done; x.at++) {
        const char *token = argv[x.at];
        if (x.words_only || token[0] != '-' || token[1] == '\0')
            word(&x, token);
        else if (strcmp(token, "--") == 0)
            x.words_only = true;
        else if (token[1] == '-')
            long_option(&x, token);
        else
            short_options(&x, token);
    }
    if (!x.done) check_all(&x);
}

void parse_release(struct parsed *p)
{
    arena_release(&p->arena);
}
