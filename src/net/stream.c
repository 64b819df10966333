#include "net/stream.h"

#include "base/alloc.h"
#include "base/check.h"

/* Alerts, tickets and answers to key updates, written though nobody reads them: more is an attempt to fill us up. */
#define UNASKED_MAX (64 * 1024)

static void written_cb(struct out *o, int status)
{
    struct stream *s = container_of(o, struct stream, out);
    s->on->written(s, status);
}

void stream_init(struct stream *s, uv_loop_t *loop, struct tls *tls, const struct stream_events *on)
{
    *s = (struct stream){ .on = on, .tls = tls };
    CHECK(uv_tcp_init(loop, &s->tcp) == 0); /* makes no socket: cannot fail */
    out_init(&s->out, (uv_stream_t *)&s->tcp, written_cb);
}

static bool closing(const struct stream *s)
{
    return uv_is_closing((const uv_handle_t *)&s->tcp) != 0;
}

/* ---- TLS -------------------------------------------------------------------------------------------------------- */
static int put_through(struct stream *s, bool asked)
{
    size_t len;
    char *data = tls_take(s->tls, &len);
    if (data == NULL) return 0;
    if (s->out.queued == 0) s->unasked = 0;
    if (!asked) s->unasked += len;
    if (s->unasked > UNASKED_MAX) {
        mem_free(data);
        return E_TOO_LARGE;
    }
    return out_write(&s->out, NULL, 0, data, len, data);
}

/* One step: some plain bytes, the end, or nothing more for now (false). */
static bool step(struct stream *s)
{
    uv_buf_t to;
    size_t len;
    s->on->alloc(s, &to);
    int rc = tls_read(s->tls, to.base, to.len, &len);
    bool just_opened = !s->opened && tls_open(s->tls);
    s->opened = s->opened || just_opened;
    if (put_through(s, false) != 0) {
        s->on->read(s, UV_ECONNRESET, NULL);
        return false;
    }
    if (just_opened && s->on->opened != NULL) s->on->opened(s);
    if (closing(s)) return false;
    if (rc == E_PROTOCOL) {
        s->failed = true;
        s->on->read(s, UV_EPROTO, NULL);
    } else if (rc == E_GONE) {
        s->ended = true;
        s->on->read(s, UV_EOF, NULL);
    } else if (len > 0) {
        s->on->read(s, (ssize_t)len, to.base);
        return true;
    }
    return false;
}

/* All that can be read of what was fed, until the reader has enough. */
static void deliver(struct stream *s)
{
    if (s->delivering) return;
    s->delivering = true;
    while (s->reading && !s->failed && !closing(s) && step(s)) {}
    s->delivering = false;
}

/* An end without close_notify may be anybody's on the way: what was under way is cut off, not ended. */
static void encrypted(struct stream *s, ssize_t nread, const char *data)
{
    if (nread < 0) {
        bool cut = nread == UV_EOF && !s->failed && !s->ended;
        s->on->read(s, cut ? UV_ECONNRESET : nread, NULL);
    } else if (s->failed) {
        return;
    } else if (tls_feed(s->tls, data, (size_t)nread) != 0) {
        s->on->read(s, UV_ENOBUFS, NULL);
    } else {
        deliver(s);
    }
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */
static void alloc_cb(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    struct stream *s = container_of(h, struct stream, tcp);
    (void)suggested;
    if (s->tls == NULL)
        s->on->alloc(s, ret);
    else
        ret->base = tls_scratch(s->tls, &ret->len);
}

static void read_cb(uv_stream_t *h, ssize_t nread, const uv_buf_t *buf)
{
    struct stream *s = container_of(h, struct stream, tcp);
    if (nread == 0) return;
    if (s->tls == NULL)
        s->on->read(s, nread, buf->base);
    else
        encrypted(s, nread, buf->base);
}

int stream_read_start(struct stream *s)
{
    if (!s->reading && uv_read_start((uv_stream_t *)&s->tcp, alloc_cb, read_cb) != 0) return E_UNREACHABLE;
    s->reading = true;
    if (s->tls != NULL) deliver(s);
    return 0;
}

void stream_read_stop(struct stream *s)
{
    s->reading = false;
    uv_read_stop((uv_stream_t *)&s->tcp);
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */
static int write_through(struct stream *s, const char *data, size_t len)
{
    while (len > 0) {
        size_t part = len < TLS_WRITE_MAX ? len : TLS_WRITE_MAX;
        if (tls_write(s->tls, data, part) != 0 || put_through(s, true) != 0) return E_UNREACHABLE;
        data += part;
        len -= part;
    }
    return 0;
}

int stream_write(struct stream *s, const char *head, size_t head_len, const char *body, size_t body_len, char *owned)
{
    if (s->tls == NULL) return out_write(&s->out, head, head_len, body, body_len, owned);
    int rc = write_through(s, head, head_len);
    if (rc == 0) rc = write_through(s, body, body_len);
    mem_free(owned);
    return rc;
}

bool stream_queued(const struct stream *s)
{
    return s->out.queued > 0;
}

size_t stream_unsent(const struct stream *s)
{
    return out_unsent(&s->out);
}

bool stream_ready(const struct stream *s)
{
    return s->tls == NULL || tls_open(s->tls);
}

const char *stream_why(const struct stream *s)
{
    return s->tls == NULL ? "" : tls_why(s->tls);
}

/* ---- the end ---------------------------------------------------------------------------------------------------- */
static void say_farewell(struct stream *s)
{
    if (s->tls == NULL) return;
    tls_close(s->tls);
    (void)put_through(s, true); /* a broken connection shows by itself */
}

static void shutdown_cb(uv_shutdown_t *req, int status)
{
    (void)req;
    (void)status; /* whoever shuts down waits for the other side's end, or for a time */
}

int stream_shutdown(struct stream *s)
{
    say_farewell(s);
    return uv_shutdown(&s->shutdown, (uv_stream_t *)&s->tcp, shutdown_cb) == 0 ? 0 : E_UNREACHABLE;
}

static void closed_cb(uv_handle_t *h)
{
    struct stream *s = container_of(h, struct stream, tcp);
    CHECK(s->out.queued == 0);
    tls_free(s->tls);
    s->tls = NULL;
    s->on->closed(s);
}

void stream_close(struct stream *s, bool reset)
{
    CHECK(!closing(s));
    s->reading = false;
    if (!reset && s->out.queued == 0) say_farewell(s);
    if (!reset || uv_tcp_close_reset(&s->tcp, closed_cb) != 0) uv_close((uv_handle_t *)&s->tcp, closed_cb);
}
