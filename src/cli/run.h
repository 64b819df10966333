/* run.h - one operation from the command line: values into arguments, one call on the database file, the answer
 * printed. */
#ifndef AIM_CLI_RUN_H
#define AIM_CLI_RUN_H

#include "cli/parse.h"

/* p has outcome PARSE_RUN and names an operation. Returns the exit status; 2 with p->error set when a value is of the
 * wrong type: the caller prints it as a usage error. */
int run_operation(struct parsed *p, const struct cli_env *env);
/* "Error: ..." on stderr; returns 1. */
int run_failed(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
