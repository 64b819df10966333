/* dump.c - rows as text, as nodes must agree on them. */
#include "dump.h"

#include <string.h>

#include "base/buf.h"
#include "sim.h"

#define DUMP_MAX (16u << 20)

bool dump_forgotten(const struct sim *s, const char *id, size_t len)
{
    for (size_t i = 0; i < s->forgottens; i++)
        if (strlen(s->forgotten[i]) == len && strncmp(s->forgotten[i], id, len) == 0) return true;
    return false;
}

static bool begins(const char *line, const char *with)
{
    return strncmp(line, with, strlen(with)) == 0;
}

/* The line up to its end without what lies between two of its words. */
static void cut(struct buf *line, const char *from, const char *to)
{
    const char *a = strstr(buf_str(line), from), *b = a == NULL ? NULL : strstr(a, to);
    if (a == NULL || b == NULL) return;
    memmove(line->data + (a - line->data), b, strlen(b) + 1);
    line->len -= (size_t)(b - a);
}

/* What a fork had said twice is the same on all nodes; of two stamps that differ in the stream alone each may have
 * another one, until a scrub finds it. */
static void drop_stream(struct buf *line)
{
    (void)buf_str(line);
    char *at = line->data, *end;
    unsigned words = 0;
    char *key = begins(at, "table ") ? strchr(strchr(at, ' ') + 1, ' ') : NULL,
         *body = key == NULL ? NULL : strchr(key + 1, ' ');
    if (body != NULL) cut(line, body, "\n");
    cut(line, " | own ", "\n");
    if (strstr(at, " | stamp ") != NULL) {
        at = strstr(at, " | stamp ") + strlen(" | stamp ");
    } else if (begins(at, "side ")) {
        while (words < 3 && (end = strchr(at, ' ')) != NULL) words++, at = end + 1;
    } else {
        return;
    }
    at = strchr(at, ' ');
    end = at == NULL ? NULL : at + 1 + strcspn(at + 1, " \n");
    if (end == NULL) return;
    size_t len = (size_t)(end - at);
    memmove(at, end, strlen(end) + 1);
    line->len -= len;
}

/* One line of a dump, as nodes that forget deletions at different times must agree on it. What was counted of a row
 * goes with its deletion: made anew under its id, one node counts on and another begins at nothing. */
static void put_line(const struct sim *s, struct buf *b, const char *text, size_t len)
{
    static const char *const apart[] = { "side 1 ", "side 6 " };
    const char *id = strstr(text, begins(text, "side 4 ") ? "side 4 " : "row ");
    struct buf line;
    for (size_t i = 0; i < ARRAY_LEN(apart); i++)
        if (begins(text, apart[i])) return;
    if (begins(text, "side 9 ") && len > 5 && strncmp(text + len - 5, " \\02\n", 5) == 0) return; /* purged */
    buf_init(&line, DUMP_MAX);
    buf_put(&line, text, len);
    (void)buf_str(&line);
    if (begins(text, "side 4 ") && dump_forgotten(s, text + 7, strcspn(text + 7, "\\"))) buf_clear(&line);
    if ((begins(text, "row ") || begins(text, "shadow row ")) && dump_forgotten(s, id + 4, strcspn(id + 4, " "))) {
        cut(&line, " | tier ", " | created ");
        cut(&line, " last ", " | stamp ");
        cut(&line, " | own ", "\n");
    }
    if (s->forked_count > 0) drop_stream(&line);
    buf_put(b, line.data, line.len);
    buf_release(&line);
}

void dump_comparable(const struct sim *s, struct buf *b)
{
    struct buf kept;
    buf_init(&kept, DUMP_MAX);
    for (const char *line = buf_str(b); *line != '\0';) {
        size_t n = strcspn(line, "\n") + 1;
        put_line(s, &kept, line, n);
        line += n;
    }
    buf_release(b);
    *b = kept;
}
