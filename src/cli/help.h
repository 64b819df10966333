/* help.h - usage lines and help texts, from the same rows the parser reads. */
#ifndef AIM_CLI_HELP_H
#define AIM_CLI_HELP_H

#include "cli/spec.h"

struct buf;

/* "Usage: ai-memory get [OPTIONS] <ID>" and LF. */
void help_usage(struct buf *b, const struct spec_command *c);
void help_text(struct buf *b, const struct spec *s, const struct spec_command *c);

#endif
