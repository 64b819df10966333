/* spec.h - what can be written on the command line: commands and their options, made from the operations' rows, the
 * program's own commands and the global options. Parser, usage and help read nothing else. */
#ifndef AIM_CLI_SPEC_H
#define AIM_CLI_SPEC_H

#include "cli/cli.h"

#define SPEC_OPTIONS 48                  /* of one command */
#define SPEC_VALUE 64

/* One option or positional argument. */
struct spec_option {
    const char *name, *doc, *dflt, *env;
    const char *const *words;            /* told in help; only of own commands: nothing else is taken */
    enum cli_kind kind;
    char letter;
    bool required, positional, many;
    bool rest;                           /* its value may begin with '-' */
    bool reads_stdin;                    /* '-' stands for standard input */
    int64_t min, max;                    /* own commands: bounds when max != 0 */
    const char *requires;
    const char *const *conflicts;
    int arg;                             /* index in op->args; -1: not an operation's */
    char value[SPEC_VALUE];              /* "EXPIRES_AT" */
};

enum spec_builtin { SPEC_ROW, SPEC_HELP, SPEC_GROUP, SPEC_ROOT };

struct spec_command {
    enum spec_builtin builtin;
    char name[48];                       /* "archive list"; "" at the root */
    const char *about;
    const struct op *op;                 /* one of the two for SPEC_ROW */
    const struct cli_command *own;
    struct spec_option option[SPEC_OPTIONS];
    unsigned options;
};

enum { GLOBAL_DB, GLOBAL_JSON, GLOBAL_AGENT, GLOBAL_PASSPHRASE, GLOBALS };
extern const struct spec_option spec_globals[GLOBALS];

struct spec { const struct cli_command *own; };      /* ended by name == NULL; may be NULL */

/* The command of that whole name ("archive list"), a group ("archive") or the root (""). False: there is none. */
bool spec_find(const struct spec *s, const char *name, struct spec_command *ret);
/* Calls fn for each name one word below `group` ("" for the root), in order, groups once. */
void spec_each(const struct spec *s, const char *group,
               void (*fn)(void *data, const char *name, const char *about), void *data);
/* By name or letter among the command's options; NULL: none. */
const struct spec_option *spec_option(const struct spec_command *c, const char *name, size_t len);
const struct spec_option *spec_letter(const struct spec_command *c, char letter);
const struct spec_option *spec_global(const char *name, size_t len);
/* "--title <TITLE>" or "<ID>" into out. */
void spec_print(const struct spec_option *o, char *out, size_t size);

#endif
