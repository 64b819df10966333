/* lines.h - cuts a byte stream into lines with a longest one. One thread. */
#ifndef AIM_MCP_LINES_H
#define AIM_MCP_LINES_H

#include "base/buf.h"

struct lines {
    struct buf in;
    size_t at, max;                      /* of in: taken so far; longest line */
    bool skipping, ended;                /* the rest of a line too long is thrown away; no bytes follow */
};

enum line_kind { LINE_NONE, LINE_WHOLE, LINE_TOO_LONG };

void lines_init(struct lines *l, size_t max);
void lines_release(struct lines *l);
void lines_feed(struct lines *l, const char *data, size_t len);      /* after lines_next has said LINE_NONE */
void lines_end(struct lines *l);                                     /* what is left is the last line */
/* The next line without its LF, borrowed until the next feed. LINE_TOO_LONG once for each such line. */
enum line_kind lines_next(struct lines *l, const char **ret, size_t *ret_len);

#endif
