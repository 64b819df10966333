#include "net/out.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "err.h"

/* What one write left over. The bytes that were not ours to keep are copied behind the struct. */
struct piece {
    uv_write_t req;
    struct out *out;
    char *owned; /* owned; may be NULL */
    char copy[];
};

void out_init(struct out *o, uv_stream_t *stream, out_done_cb done)
{
    *o = (struct out){ .stream = stream, .done = done };
}

static void piece_written(uv_write_t *req, int status)
{
    struct piece *p = container_of(req, struct piece, req);
    struct out *o = p->out;
    CHECK(o->queued > 0);
    o->queued--;
    mem_free(p->owned);
    mem_free(p);
    o->done(o, status);
}

static int queue_rest(struct out *o, const uv_buf_t rest[2], char *owned)
{
    size_t copied = rest[0].len + (owned == NULL ? rest[1].len : 0);
    struct piece *p = mem_realloc(NULL, sizeof *p + copied);
    memset(p, 0, sizeof *p);
    p->out = o;
    p->owned = owned;
    if (rest[0].len > 0) memcpy(p->copy, rest[0].base, rest[0].len);
    uv_buf_t v[2];
    unsigned n = 0;
    if (copied > rest[0].len) memcpy(p->copy + rest[0].len, rest[1].base, rest[1].len);
    if (copied > 0) v[n++] = uv_buf_init(p->copy, (unsigned)copied);
    if (owned != NULL && rest[1].len > 0) v[n++] = rest[1];
    o->queued++;
    if (uv_write(&p->req, o->stream, v, n, piece_written) == 0) return 0;
    o->queued--;
    mem_free(owned);
    mem_free(p);
    return E_UNREACHABLE;
}

int out_write(struct out *o, const char *head, size_t head_len, const char *body, size_t body_len, char *owned)
{
    uv_buf_t v[2] = { { .base = (char *)(uintptr_t)head, .len = head_len },
                      { .base = (char *)(uintptr_t)body, .len = body_len } };
    if (o->queued == 0 && head_len + body_len > 0) {
        unsigned first = head_len > 0 ? 0 : 1, end = body_len > 0 ? 2 : 1;
        int r = uv_try_write(o->stream, v + first, end - first);
        if (r < 0 && r != UV_EAGAIN) {
            mem_free(owned);
            return E_UNREACHABLE;
        }
        size_t written = r > 0 ? (size_t)r : 0;
        for (int i = 0; i < 2; i++) {
            size_t part = written < v[i].len ? written : v[i].len;
            if (part > 0) v[i].base += part;
            v[i].len -= part;
            written -= part;
        }
    }
    if (v[0].len + v[1].len > 0) return queue_rest(o, v, owned);
    mem_free(owned);
    return 0;
}

size_t out_unsent(const struct out *o)
{
    return uv_stream_get_write_queue_size(o->stream);
}
