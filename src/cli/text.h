/* text.h - what commands print for people, by operation. Pure but for the clock passed in. */
#ifndef AIM_CLI_TEXT_H
#define AIM_CLI_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct buf;

struct text {
    const json_t *doc;                   /* the operation's answer */
    const char *asked;                   /* the first positional argument; "" when there is none */
    int64_t now_us;
    bool colour;                         /* stdout is a terminal */
    struct buf *out, *notes;             /* for stdout, for stderr */
};

/* Appends the text of operation `op` to out and notes; operations without a form of their own print their JSON,
 * indented. */
void text_print(const char *op, const struct text *t);
/* The document --json prints; new reference. */
json_t *text_json(const char *op, const json_t *doc);

#endif
