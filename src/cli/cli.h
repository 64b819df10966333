/* cli.h - the command-line door: parses arguments by the operations' descriptors, runs one operation on the database
 * file (or one of the program's own commands) and prints the answer. One thread, no loop of its own to see from
 * outside.
 *
 * What the program does besides operations (serve, mcp, backup, ...) is handed in as rows of struct cli_command;
 * usage, help and the checks of their options come from those rows like everything else. */
#ifndef AIM_CLI_CLI_H
#define AIM_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "ops/ops.h"

enum cli_kind { CLI_TEXT, CLI_FLAG, CLI_INT, CLI_UINT, CLI_REAL };

/* One option (or positional argument) of a command that is no operation. */
struct cli_option {
    const char *name, *doc;              /* "tls-cert" */
    enum cli_kind kind;
    char letter;                         /* 0: none */
    bool required, positional, many;     /* many: may be given again, and a comma separates too */
    const char *dflt;                    /* as text; NULL: none */
    const char *const *words;            /* ended by NULL; NULL: any text */
    int64_t min, max;                    /* CLI_INT, CLI_UINT when max != 0: beyond is a usage error */
    const char *env;                     /* the variable that sets it too, for the help; NULL: none */
    const char *requires;                /* given alone it is a usage error, NULL: needs no other */
    const char *const *conflicts;        /* ended by NULL: not together with these */
};

/* What was given, after all checks. Values live as long as the call of `run`. */
struct cli_call {
    const char *db;                      /* --db, else env->db */
    bool db_given;                       /* --db was on the command line */
    const char *agent_id;                /* --agent-id, else env->agent_id; NULL: none, or empty */
    bool json;
    const struct cli_given *given;       /* private: see cli_value */
};

struct cli_command {
    const char *name, *about;            /* a blank in the name makes a nested command: "archive list" */
    const struct cli_option *options;    /* ended by name == NULL; NULL: none */
    int (*run)(const struct cli_call *c, void *data);   /* returns the exit status */
};

/* Text of an option as given (the last one), or its default; NULL when there is neither. */
const char *cli_value(const struct cli_call *c, const char *name);
/* The same as number; 0 when there is neither. */
int64_t cli_number(const struct cli_call *c, const char *name);
bool cli_flag(const struct cli_call *c, const char *name);
/* The i-th value of an option that may be given again; NULL past the last. */
const char *cli_item(const struct cli_call *c, const char *name, unsigned i);
/* Was it on the command line? */
bool cli_set(const struct cli_call *c, const char *name);

/* Settings resolved from environment > file > default; the command line is put over them here. All borrowed. */
struct cli_env {
    const char *db;                      /* ""  (AI_MEMORY_DB empty): a usage error unless --db is given */
    const char *agent_id;                /* AI_MEMORY_AGENT_ID; NULL or "": none */
    bool anonymize;                      /* no host name in identities the program makes up */
    const char *default_ns;              /* default_namespace of the file; NULL: git remote, folder */
    const char *tier;                    /* feature tier when recall has no --tier; NULL: none */
    bool relaxed;                        /* no fsync at commit */
    struct limits limits;
    const struct cli_command *commands;  /* ended by name == NULL; NULL: operations alone */
    void *data;                          /* handed to their run */
};

/* Runs one command line. Returns the exit status: 0, 1 (it failed: "Error: ..." on stderr), 2 (usage: "error: ..." on
 * stderr). Writes to stdout and stderr. Once per process. */
int cli_run(int argc, char **argv, const struct cli_env *env);

#endif
