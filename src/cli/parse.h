/* parse.h - the command line taken apart. Nothing is run and nothing printed here. */
#ifndef AIM_CLI_PARSE_H
#define AIM_CLI_PARSE_H

#include "cli/spec.h"

#define GIVEN_MAX 256

struct cli_given {
    struct given { const struct spec_option *option; const char *text; } item[GIVEN_MAX];   /* text "" of a flag */
    unsigned count;
    const struct spec_command *command;
};

enum parse_outcome {
    PARSE_RUN,                           /* command is a row, given and global are complete and of the right types */
    PARSE_HELP,                          /* asked for: help of command on stdout */
    PARSE_LOST,                          /* no command given: the same on stderr, a usage error */
    PARSE_VERSION,
    PARSE_WRONG,                         /* usage error: `error` without "error: "; the usage line is command's */
};

struct parsed {
    enum parse_outcome outcome;
    struct spec spec;
    struct spec_command command;
    struct cli_given given;
    const char *global[GLOBALS];         /* NULL: not given; a flag: "" */
    struct arena arena;                  /* of texts made here */
    char error[1024];
};

/* argv[0] is the program. Fills p (large: not for the stack of a deep call); texts borrow from argv. parse_release
 * afterwards. */
void parse_args(struct parsed *p, const struct spec *s, int argc, char **argv);
void parse_release(struct parsed *p);

#endif
