/* lines.c - line by line. Holds one unfinished line and what was fed after it. */
#include <string.h>

#include "base/check.h"
#include "mcp/lines.h"

#define FEED_MAX (1u << 20)

void lines_init(struct lines *l, size_t max)
{
    *l = (struct lines){ .max = max };
    buf_init(&l->in, max + FEED_MAX);
}

void lines_release(struct lines *l)
{
    buf_release(&l->in);
}

void lines_feed(struct lines *l, const char *data, size_t len)
{
    CHECK(len <= FEED_MAX && !l->ended);
    buf_drop_front(&l->in, l->at);
    l->at = 0;
    buf_put(&l->in, data, len);
    CHECK(!l->in.failed);
}

void lines_end(struct lines *l)
{
    l->ended = true;
}

static enum line_kind too_long(struct lines *l, size_t taken, bool unfinished)
{
    l->at += taken;
    l->skipping = unfinished;
    return LINE_TOO_LONG;
}

enum line_kind lines_next(struct lines *l, const char **ret, size_t *ret_len)
{
    const char *data = buf_str(&l->in) + l->at;
    size_t left = l->in.len - l->at;
    const char *lf = left ? memchr(data, '\n', left) : NULL;
    size_t len = lf ? (size_t)(lf - data) : left, taken = len + (lf != NULL);
    if (left == 0 || (lf == NULL && !l->ended && len <= l->max && !l->skipping)) return LINE_NONE;
    if (l->skipping) {
        l->at += taken;
        l->skipping = lf == NULL;
        return lf ? lines_next(l, ret, ret_len) : LINE_NONE;
    }
    if (len > l->max) return too_long(l, taken, lf == NULL);
    *ret = data;
    *ret_len = len;
    l->at += taken;
    return LINE_WHOLE;
}
