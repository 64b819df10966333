/* spec.c - rows become commands. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "cli/spec.h"

const struct spec_option spec_globals[GLOBALS] = {
    [GLOBAL_DB] = { .name = "db",
                    .doc = "Database file, made when there is none",
                    .dflt = "ai-memory.db",
                    .env = "AI_MEMORY_DB",
                    .arg = -1,
                    .value = "DB" },
    [GLOBAL_JSON] = { .name = "json", .doc = "Answer with one JSON document", .kind = CLI_FLAG, .arg = -1 },
    [GLOBAL_AGENT] = { .name = "agent-id",
                       .doc = "Who is asking",
                       .env = "AI_MEMORY_AGENT_ID",
                       .arg = -1,
                       .value = "AGENT_ID" },
    [GLOBAL_PASSPHRASE] = { .name = "db-passphrase-file",
                            .doc = "File with the passphrase of an encrypted database",
                            .arg = -1,
                            .value = "PATH" },
};

static const struct {
    const char *name, *about;
} groups[] = {
    { "archive", "Look at, restore and purge what was archived" },
    { "agents", "List and register agents" },
    { "pending", "List, approve and reject what waits for a decision" },
    { "sync-member", "Take nodes out of the mesh" },
};

static const char help_about[] = "Show the help of a command";

/* ---- options -------------------------------------------------------------------------------------------------- */
static void set_value(struct spec_option *o)
{
    size_t i = 0;
    for (; o->name[i] && i < sizeof(o->value) - 1; i++)
        o->value[i] = o->name[i] == '-' ? '_' : (char)toupper((unsigned char)o->name[i]);
    o->value[i] = '\0';
}

static enum cli_kind kind_of(const struct arg *d)
{
    switch (d->type) {
    case ARG_INT: return CLI_INT;
    case ARG_UINT: return CLI_UINT;
    case ARG_REAL: return CLI_REAL;
    case ARG_BOOL: return CLI_FLAG;
    default: return CLI_TEXT;
    }
}

static void add_arg(struct spec_command *c, const struct arg *d, int index)
{
    if (!(d->doors & ON_CLI) || d->type == ARG_ITEMS) return; /* those come on standard input */
    CHECK(c->options < SPEC_OPTIONS);
    struct spec_option *o = &c->option[c->options++];
    *o = (struct spec_option){
        .name = d->at[DOOR_CLI].name ? d->at[DOOR_CLI].name : d->name,
        .doc = d->flags & ARG_HIDDEN ? NULL : d->doc,
        .dflt = d->at[DOOR_CLI].dflt,
        .words = d->words,
        .kind = kind_of(d),
        .letter = d->letter,
        .required = d->flags & ARG_REQUIRED,
        .positional = d->flags & ARG_POSITIONAL,
        .many = d->type == ARG_TEXTS,
        .rest = d->flags & ARG_REST,
        .reads_stdin = d->flags & ARG_STDIN,
        .arg = index,
    };
    set_value(o);
}

static void add_own(struct spec_command *c, const struct cli_option *d)
{
    CHECK(c->options < SPEC_OPTIONS);
    struct spec_option *o = &c->option[c->options++];
    *o = (struct spec_option){
        .name = d->name,
        .doc = d->doc,
        .dflt = d->dflt,
        .words = d->words,
        .kind = d->kind,
        .letter = d->letter,
        .required = d->required,
        .positional = d->positional,
        .many = d->many,
        .min = d->min,
        .max = d->max,
        .env = d->env,
        .requires = d->requires,
        .conflicts = d->conflicts,
        .arg = -1,
    };
    set_value(o);
}

/* ---- commands ------------------------------------------------------------------------------------------------- */
static void start(struct spec_command *c, enum spec_builtin builtin, const char *name, const char *about)
{
    *c = (struct spec_command){ .builtin = builtin, .about = about };
    snprintf(c->name, sizeof(c->name), "%s", name);
}

static bool find_op(const char *name, struct spec_command *ret)
{
    const struct op *op = op_by_verb(name);
    if (op == NULL) return false;
    start(ret, SPEC_ROW, name, op->cli.about);
    ret->op = op;
    for (int i = 0; op->args[i].name; i++) add_arg(ret, &op->args[i], i);
    return true;
}

static bool find_own(const struct spec *s, const char *name, struct spec_command *ret)
{
    for (const struct cli_command *c = s->own; c && c->name; c++) {
        if (strcmp(c->name, name) != 0) continue;
        start(ret, SPEC_ROW, name, c->about);
        ret->own = c;
        for (const struct cli_option *o = c->options; o && o->name; o++) add_own(ret, o);
        return true;
    }
    return false;
}

static const char *group_about(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        if (strcmp(groups[i].name, name) == 0) return groups[i].about;
    return "";
}

static bool below(const char *name, const char *group)
{
    size_t len = strlen(group);
    return len == 0 || (strncmp(name, group, len) == 0 && name[len] == ' ');
}

struct group_look {
    const char *name;
    bool found;
};
static void look_group(void *data, const char *name, const char *about)
{
    struct group_look *g = data;
    (void)about;
    if (strcmp(name, "help") != 0) g->found = true;
}

bool spec_find(const struct spec *s, const char *name, struct spec_command *ret)
{
    if (name[0] == '\0') {
        start(ret, SPEC_ROOT, "", "Memory of AI agents between conversations");
        return true;
    }
    if (find_op(name, ret) || find_own(s, name, ret)) return true;
    size_t len = strlen(name);
    bool help = strcmp(name, "help") == 0 || (len > 5 && strcmp(name + len - 5, " help") == 0);
    if (help) {
        start(ret, SPEC_HELP, name, help_about);
        return true;
    }
    struct group_look g = { name, false };
    spec_each(s, name, look_group, &g);
    if (g.found) start(ret, SPEC_GROUP, name, group_about(name));
    return g.found;
}

struct each {
    const char *group;
    char told[16][48]; /* groups */
    unsigned tolds;
    void (*fn)(void *data, const char *name, const char *about);
    void *data;
};

static bool told_before(struct each *e, const char *word)
{
    for (unsigned i = 0; i < e->tolds; i++)
        if (strcmp(e->told[i], word) == 0) return true;
    if (e->tolds < ARRAY_LEN(e->told)) snprintf(e->told[e->tolds++], sizeof(e->told[0]), "%s", word);
    return false;
}

static void each_name(struct each *e, const char *name, const char *about)
{
    if (name == NULL || !below(name, e->group)) return;
    const char *rest = e->group[0] ? name + strlen(e->group) + 1 : name;
    const char *blank = strchr(rest, ' ');
    if (blank == NULL) {
        e->fn(e->data, rest, about);
        return;
    }
    char word[48];
    snprintf(word, sizeof(word), "%.*s", (int)(blank - rest), rest);
    if (!told_before(e, word)) e->fn(e->data, word, group_about(word));
}

void spec_each(const struct spec *s, const char *group, void (*fn)(void *data, const char *name, const char *about),
               void *data)
{
    struct each e = { .group = group, .fn = fn, .data = data };
    for (const struct op *op = op_table; op->name; op++) each_name(&e, op->cli.name, op->cli.about);
    for (const struct cli_command *c = s->own; c && c->name; c++) each_name(&e, c->name, c->about);
    fn(data, "help", help_about);
}

/* ---- look-ups ------------------------------------------------------------------------------------------------- */
static bool named(const struct spec_option *o, const char *name, size_t len)
{
    return strlen(o->name) == len && memcmp(o->name, name, len) == 0;
}

const struct spec_option *spec_option(const struct spec_command *c, const char *name, size_t len)
{
    for (unsigned i = 0; i < c->options; i++)
        if (!c->option[i].positional && named(&c->option[i], name, len)) return &c->option[i];
    return NULL;
}

const struct spec_option *spec_letter(const struct spec_command *c, char letter)
{
    for (unsigned i = 0; i < c->options; i++)
        if (!c->option[i].positional && c->option[i].letter == letter) return &c->option[i];
    return NULL;
}

const struct spec_option *spec_global(const char *name, size_t len)
{
    for (unsigned i = 0; i < GLOBALS; i++)
        if (named(&spec_globals[i], name, len)) return &spec_globals[i];
    return NULL;
}

void spec_print(const struct spec_option *o, char *out, size_t size)
{
    if (o->positional)
        snprintf(out, size, "<%s>", o->value);
    else if (o->kind == CLI_FLAG)
        snprintf(out, size, "--%s", o->name);
    else
        snprintf(out, size, "--%s <%s>", o->name, o->value);
}
