/* proxy.c - the relay of one link. A connection has two pumps, each a queue of pieces with the moment they may go on.
 * */
#include <string.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/list.h"
#include "proxy.h"
#include "world.h"

#define QUEUE_BYTES_MAX ((size_t)4 << 20) /* beyond, the source is not read */

struct piece {
    struct list link;
    uint64_t due_ms;
    size_t len;
    char data[];
};

struct pump {
    struct relay *relay;
    enum proxy_way way;
    uv_stream_t *from, *to;
    struct list queue;
    size_t queued;
    uint64_t last_due_ms;
    bool eof, dead, ending, shut, reading;
};

struct relay {
    struct list link;
    struct proxy *proxy;
    uv_tcp_t near, far;
    uv_timer_t timer;
    uv_connect_t connect;
    struct pump pump[PROXY_WAYS];
    bool dialled, open, closing;
    unsigned handles;
};

struct proxy {
    struct world *w;
    uv_tcp_t listener;
    uint16_t port, target;
    struct proxy_fault fault[PROXY_WAYS];
    struct proxy_count count[PROXY_WAYS];
    uint64_t connections;
    struct list relays;
    bool freed, listening;
};

struct write {
    uv_write_t req;
    struct pump *pump;
    struct piece *piece;
};

static void pump_run(struct pump *p);

static void proxy_maybe_free(struct proxy *p)
{
    if (p->freed && !p->listening && list_empty(&p->relays)) mem_free(p);
}

static void relay_handle_closed(uv_handle_t *h)
{
    struct relay *r = h->data;
    struct proxy *p = r->proxy;
    if (--r->handles > 0) return;
    for (int i = 0; i < PROXY_WAYS; i++) {
        struct list *l;
        while ((l = list_pop_head(&r->pump[i].queue)) != NULL) mem_free(container_of(l, struct piece, link));
    }
    list_remove(&r->link);
    mem_free(r);
    proxy_maybe_free(p);
}

static void relay_close(struct relay *r, bool reset)
{
    if (r->closing) return;
    r->closing = true;
    uv_close((uv_handle_t *)&r->timer, relay_handle_closed);
    uv_tcp_t *ends[2] = { &r->near, &r->far };
    for (int i = 0; i < 2; i++) {
        if (!reset || uv_tcp_close_reset(ends[i], relay_handle_closed) != 0)
            uv_close((uv_handle_t *)ends[i], relay_handle_closed);
    }
}

static void shutdown_cb(uv_shutdown_t *s, int status)
{
    (void)status;
    mem_free(s);
}

static void write_cb(uv_write_t *req, int status)
{
    struct write *w = container_of(req, struct write, req);
    struct pump *p = w->pump;
    p->queued -= w->piece->len;
    mem_free(w->piece);
    mem_free(w);
    if (p->relay->closing) return;
    if (status != 0)
        relay_close(p->relay, true);
    else
        pump_run(p);
}

static void alloc_cb(uv_handle_t *h, size_t size, uv_buf_t *b)
{
    (void)h;
    b->base = mem_alloc(size);
    b->len = size;
}

static void queue_piece(struct pump *p, const char *data, size_t len, uint64_t due_ms)
{
    struct piece *piece = mem_alloc(sizeof *piece + len);
    if (due_ms < p->last_due_ms) due_ms = p->last_due_ms;
    p->last_due_ms = due_ms;
    piece->due_ms = due_ms;
    piece->len = len;
    memcpy(piece->data, data, len);
    p->queued += len;
    list_add_tail(&p->queue, &piece->link);
}

static void dribble(struct pump *p, const char *data, size_t len, uint64_t due_ms, size_t step)
{
    for (size_t at = 0; at < len; at += step) queue_piece(p, data + at, len - at < step ? len - at : step, ++due_ms);
}

/* What the fault of this way makes of a piece. */
static void take_piece(struct pump *p, char *data, size_t len)
{
    struct proxy *proxy = p->relay->proxy;
    const struct proxy_fault *f = &proxy->fault[p->way];
    struct proxy_count *n = &proxy->count[p->way];
    struct world *w = proxy->w;
    n->pieces++;
    n->bytes += len;
    if (f->cut) n->held++;
    if (p->dead || p->ending) return;
    if (f->swallow > 0 && world_chance(w, f->swallow)) {
        n->swallowed++;
        p->dead = true;
        return;
    }
    if (f->truncate > 0 && world_chance(w, f->truncate)) {
        n->truncated++;
        p->ending = true;
        len /= 2;
    }
    if (f->corrupt > 0 && len > 0 && world_chance(w, f->corrupt)) {
        n->corrupted++;
        data[world_pick(w, len)] ^= (char)(1 << world_pick(w, 8));
    }
    uint64_t due = uv_now(&w->loop);
    if (f->delay_ms || f->jitter_ms) {
        n->delayed++;
        due += f->delay_ms + (f->jitter_ms ? world_pick(w, f->jitter_ms) : 0);
    }
    if (f->dribble) {
        n->dribbled++;
        dribble(p, data, len, due > p->last_due_ms ? due : p->last_due_ms, f->dribble);
    } else if (len > 0) {
        queue_piece(p, data, len, due);
    }
    if (f->duplicate > 0 && len > 0 && world_chance(w, f->duplicate)) {
        n->duplicated++;
        queue_piece(p, data, len, due);
    }
}

static void read_cb(uv_stream_t *s, ssize_t len, const uv_buf_t *b)
{
    struct relay *r = s->data;
    struct pump *p = &r->pump[s == (uv_stream_t *)&r->near ? PROXY_THERE : PROXY_BACK];
    if (len > 0) take_piece(p, b->base, (size_t)len);
    mem_free(b->base);
    if (r->closing) return;
    if (len == UV_EOF) {
        p->eof = true;
        p->reading = false;
        uv_read_stop(s);
    } else if (len < 0) {
        relay_close(r, true);
        return;
    }
    pump_run(p);
}

static void timer_cb(uv_timer_t *t)
{
    struct relay *r = t->data;
    for (int i = 0; i < PROXY_WAYS && !r->closing; i++) pump_run(&r->pump[i]);
}

static void pump_write(struct pump *p, struct piece *piece)
{
    struct write *w = mem_alloc(sizeof *w);
    uv_buf_t b = uv_buf_init(piece->data, (unsigned)piece->len);
    w->pump = p;
    w->piece = piece;
    if (uv_write(&w->req, p->to, &b, 1, write_cb) == 0) return;
    p->queued -= piece->len;
    mem_free(piece);
    mem_free(w);
    relay_close(p->relay, true);
}

/* The end of a direction is passed on once its last piece was; a truncated answer ends the whole connection. */
static void pump_end(struct pump *p)
{
    struct relay *r = p->relay;
    if (p->queued > 0 || p->dead) return;
    if (p->ending) {
        relay_close(r, false);
    } else if (p->eof && !p->shut) {
        p->shut = true;
        uv_shutdown_t *s = mem_alloc(sizeof *s);
        if (uv_shutdown(s, p->to, shutdown_cb) != 0) mem_free(s);
    }
    if (!r->closing && r->pump[PROXY_THERE].shut && (r->pump[PROXY_BACK].shut || r->pump[PROXY_BACK].dead))
        relay_close(r, false);
}

static void pump_run(struct pump *p)
{
    struct relay *r = p->relay;
    if (r->closing || !r->open) return;
    bool cut = r->proxy->fault[p->way].cut;
    while (!cut && !r->closing && !list_empty(&p->queue)) {
        struct piece *head = container_of(p->queue.next, struct piece, link);
        uint64_t now = uv_now(r->timer.loop);
        if (head->due_ms > now) {
            uv_timer_start(&r->timer, timer_cb, head->due_ms - now, 0);
            break;
        }
        list_remove(&head->link);
        pump_write(p, head);
    }
    if (r->closing) return;
    if (!cut) pump_end(p);
    if (r->closing || p->eof) return;
    bool want = p->queued < QUEUE_BYTES_MAX;
    if (want && !p->reading) uv_read_start(p->from, alloc_cb, read_cb);
    if (!want && p->reading) uv_read_stop(p->from);
    p->reading = want;
}

static void connect_cb(uv_connect_t *c, int status)
{
    struct relay *r = container_of(c, struct relay, connect);
    if (r->closing) return;
    if (status != 0) {
        relay_close(r, true);
        return;
    }
    r->open = true;
    uv_tcp_nodelay(&r->far, 1);
    for (int i = 0; i < PROXY_WAYS && !r->closing; i++) pump_run(&r->pump[i]);
}

static void relay_dial(struct relay *r)
{
    struct proxy *p = r->proxy;
    struct sockaddr_in a;
    if (r->dialled || r->closing || p->fault[PROXY_THERE].cut || p->fault[PROXY_BACK].cut) return;
    r->dialled = true;
    uv_ip4_addr("127.0.0.1", p->target, &a);
    if (uv_tcp_connect(&r->connect, &r->far, (const struct sockaddr *)&a, connect_cb) != 0) relay_close(r, true);
}

static void connection_cb(uv_stream_t *listener, int status)
{
    struct proxy *p = listener->data;
    if (status != 0) return;
    struct relay *r = mem_alloc(sizeof *r);
    r->proxy = p;
    list_add_tail(&p->relays, &r->link);
    CHECK(uv_tcp_init(listener->loop, &r->near) == 0 && uv_tcp_init(listener->loop, &r->far) == 0);
    CHECK(uv_timer_init(listener->loop, &r->timer) == 0);
    r->handles = 3;
    r->near.data = r->far.data = r->timer.data = r;
    for (int i = 0; i < PROXY_WAYS; i++) {
        r->pump[i].relay = r;
        r->pump[i].way = (enum proxy_way)i;
        r->pump[i].from = (uv_stream_t *)(i == PROXY_THERE ? &r->near : &r->far);
        r->pump[i].to = (uv_stream_t *)(i == PROXY_THERE ? &r->far : &r->near);
        list_init(&r->pump[i].queue);
    }
    p->connections++;
    if (uv_accept(listener, (uv_stream_t *)&r->near) != 0) {
        relay_close(r, true);
        return;
    }
    uv_tcp_nodelay(&r->near, 1);
    relay_dial(r);
}

int proxy_new(struct world *w, uint16_t target, struct proxy **ret, struct err *err)
{
    struct proxy *p = mem_alloc(sizeof *p);
    struct sockaddr_in a;
    int len = sizeof a;
    p->w = w;
    p->target = target;
    p->listening = true;
    list_init(&p->relays);
    uv_ip4_addr("127.0.0.1", 0, &a);
    CHECK(uv_tcp_init(&w->loop, &p->listener) == 0);
    p->listener.data = p;
    int rc = uv_tcp_bind(&p->listener, (const struct sockaddr *)&a, 0);
    if (rc == 0) rc = uv_listen((uv_stream_t *)&p->listener, 128, connection_cb);
    if (rc == 0) rc = uv_tcp_getsockname(&p->listener, (struct sockaddr *)&a, &len);
    if (rc != 0) {
        proxy_free(p);
        return err_set(err, E_IO, "a link cannot listen: %s", uv_strerror(rc));
    }
    p->port = ntohs(a.sin_port);
    *ret = p;
    return 0;
}

uint16_t proxy_port(const struct proxy *p)
{
    return p->port;
}
const struct proxy_count *proxy_counts(const struct proxy *p, enum proxy_way way)
{
    return &p->count[way];
}
uint64_t proxy_connections(const struct proxy *p)
{
    return p->connections;
}

void proxy_fault_set(struct proxy *p, enum proxy_way way, const struct proxy_fault *f)
{
    p->fault[way] = f ? *f : (struct proxy_fault){ 0 };
    list_each_safe (it, tmp, &p->relays) {
        struct relay *r = container_of(it, struct relay, link);
        relay_dial(r);
        if (!r->closing) pump_run(&r->pump[way]);
    }
}

void proxy_reset(struct proxy *p)
{
    list_each_safe (it, tmp, &p->relays) relay_close(container_of(it, struct relay, link), true);
}

static void listener_closed(uv_handle_t *h)
{
    struct proxy *p = h->data;
    p->listening = false;
    proxy_maybe_free(p);
}

void proxy_free(struct proxy *p)
{
    if (p == NULL || p->freed) return;
    p->freed = true;
    proxy_reset(p);
    uv_close((uv_handle_t *)&p->listener, listener_closed);
}
