/* cli.c - from argv to an exit status. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "cli/help.h"
#include "cli/parse.h"
#include "cli/run.h"

#define HELP_MAX (1u << 20)
#define PASSPHRASE_MAX 4096

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* ---- values of own commands ----------------------------------------------------------------------------------- */
static const struct spec_option *own_option(const struct cli_call *c, const char *name)
{
    const struct spec_command *command = c->given->command;
    for (unsigned i = 0; i < command->options; i++)
        if (strcmp(command->option[i].name, name) == 0) return &command->option[i];
    return NULL;
}

const char *cli_item(const struct cli_call *c, const char *name, unsigned i)
{
    for (unsigned k = 0; k < c->given->count; k++)
        if (strcmp(c->given->item[k].option->name, name) == 0 && i-- == 0) return c->given->item[k].text;
    return NULL;
}

bool cli_set(const struct cli_call *c, const char *name)
{
    return cli_item(c, name, 0) != NULL;
}

const char *cli_value(const struct cli_call *c, const char *name)
{
    const char *text = NULL;
    for (unsigned k = 0; k < c->given->count; k++)
        if (strcmp(c->given->item[k].option->name, name) == 0) text = c->given->item[k].text;
    if (text) return text;
    const struct spec_option *o = own_option(c, name);
    return o ? o->dflt : NULL;
}

int64_t cli_number(const struct cli_call *c, const char *name)
{
    const char *text = cli_value(c, name);
    return text ? strtoll(text, NULL, 10) : 0;
}

bool cli_flag(const struct cli_call *c, const char *name)
{
    return cli_set(c, name);
}

/* ---- printing ------------------------------------------------------------------------------------------------- */
static int print_help(const struct parsed *p, FILE *to)
{
    struct buf b;
    struct spec_command root;
    const struct spec_command *c = &p->command;
    if (c->builtin == SPEC_HELP && spec_find(&p->spec, "", &root)) c = &root;
    buf_init(&b, HELP_MAX);
    help_text(&b, &p->spec, c);
    fputs(buf_str(&b), to);
    buf_release(&b);
    return to == stdout ? EXIT_FINE : EXIT_USAGE;
}

static int print_usage(const struct parsed *p)
{
    struct buf b;
    buf_init(&b, HELP_MAX);
    buf_printf(&b, "error: %s\n\n", p->error);
    help_usage(&b, &p->command);
    buf_puts(&b, "\nFor more information, try '--help'.\n");
    fputs(buf_str(&b), stderr);
    buf_release(&b);
    return EXIT_USAGE;
}

/* ---- running -------------------------------------------------------------------------------------------------- */
/* The passphrase goes where an encrypted store looks for it. */
static int take_passphrase(const char *path)
{
    char text[PASSPHRASE_MAX + 1];
    if (path == NULL) return 0;
    FILE *f = fopen(path, "rbe");
    if (f == NULL)
        return run_failed("reading passphrase file %s\n\nCaused by:\n    %s (os error %d)", path, strerror(errno),
                          errno);
    size_t len = fread(text, 1, PASSPHRASE_MAX, f);
    bool broken = ferror(f) != 0;
    fclose(f);
    if (broken) return run_failed("reading passphrase file %s", path);
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r')) len--;
    text[len] = '\0';
    if (len == 0) return run_failed("passphrase file %s is empty", path);
    setenv("AI_MEMORY_DB_PASSPHRASE", text, 1);
    return 0;
}

static int run_own(const struct parsed *p, const struct cli_env *env)
{
    const char *agent = p->global[GLOBAL_AGENT] ? p->global[GLOBAL_AGENT] : env->agent_id;
    struct cli_call c = {
        .db = p->global[GLOBAL_DB] ? p->global[GLOBAL_DB] : env->db,
        .db_given = p->global[GLOBAL_DB] != NULL,
        .agent_id = agent && agent[0] ? agent : NULL,
        .json = p->global[GLOBAL_JSON] != NULL,
        .given = &p->given,
    };
    return p->command.own->run(&c, env->data);
}

static int run_command(struct parsed *p, const struct cli_env *env)
{
    if (p->global[GLOBAL_DB] == NULL && (env->db == NULL || env->db[0] == '\0')) {
        snprintf(p->error, sizeof(p->error), "a value is required for '--db <DB>' but none was supplied");
        return print_usage(p);
    }
    if (take_passphrase(p->global[GLOBAL_PASSPHRASE])) return EXIT_FAILED;
    if (p->command.own) return run_own(p, env);
    int status = run_operation(p, env);
    return status == EXIT_USAGE ? print_usage(p) : status;
}

int cli_run(int argc, char **argv, const struct cli_env *env)
{
    struct parsed *p = mem_alloc(sizeof(*p));
    struct spec s = { env->commands };
    int status = EXIT_USAGE;
    parse_args(p, &s, argc, argv);
    switch (p->outcome) {
    case PARSE_RUN: status = run_command(p, env); break;
    case PARSE_HELP: status = print_help(p, stdout); break;
    case PARSE_LOST: status = print_help(p, stderr); break;
    case PARSE_WRONG: status = print_usage(p); break;
    case PARSE_VERSION:
        puts("ai-memory " AIM_VERSION);
        status = EXIT_FINE;
        break;
    }
    parse_release(p);
    mem_free(p);
    return status;
}
