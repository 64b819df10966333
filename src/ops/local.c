/* local.c - a node without cluster and without a server, driven call by call. */
#include "ops/local.h"

#include <poll.h>

#include "base/alloc.h"
#include "base/check.h"
#include "ops/beside.h"
#include "ops/node.h"

#define READERS 2
#define QUEUE_MAX 64
#define CALLS_MAX 16
#define BYTES_MAX (256u << 20)
#define PAGE_BYTES_MAX (8u << 20)

struct local {
    uv_loop_t loop;
    struct node node;
    struct engine *engine;
    bool drained, closed;
};

void local_options_default(struct local_options *o)
{
    *o = (struct local_options){ .limits = { .archive_on_gc = true, .page_bytes_max = PAGE_BYTES_MAX } };
    lifetimes_default(&o->limits.lifetimes);
}

static void set_flag(void *flag)
{
    *(bool *)flag = true;
}

int local_open(struct local **ret, const struct local_options *o, struct err *err)
{
    struct local *l = mem_alloc(sizeof(*l));
    struct node_options no = {
        .path = o->path,
        .reads_only = o->reads_only,
        .adopts = true,
        .relaxed = o->relaxed,
        .busy_ms = o->busy_ms,
        .readers = READERS,
        .readers_queue = QUEUE_MAX,
        .limits = o->limits,
    };
    *ret = NULL;
    CHECK(uv_loop_init(&l->loop) == 0);
    int rc = node_open(&l->node, &l->loop, &no, err);
    if (rc) {
        CHECK(uv_loop_close(&l->loop) == 0);
        mem_free(l);
        return rc;
    }
    if (l->node.adopts) node_adopt(&l->node);
    struct engine_limits limits = { .calls_max = CALLS_MAX, .bytes_max = BYTES_MAX };
    l->engine = engine_new(&l->loop, &l->node.env, l->node.store, l->node.lane, l->node.readers, NULL, &limits);
    *ret = l;
    return 0;
}

/* Nobody else sweeps a file without a server. What goes wrong shows in the call itself. */
static void sweep(struct local *l, const struct call *before)
{
    struct call *gc = call_new(op_by_name("gc"));
    gc->caller = before->caller;
    ((struct gc_args *)gc->args)->when_due = true;
    (void)engine_run(l->engine, &l->loop, gc);
    call_free(gc);
}

int local_run(struct local *l, struct call *c)
{
    if ((c->op->sweeps >> c->caller.door & 1) && l->node.lane) sweep(l, c);
    return engine_run(l->engine, &l->loop, c);
}

/* The loop's own descriptor is readable when something of it is due: so files can be waited for, which epoll
 * refuses. */
void local_wait(struct local *l, int fd, int other)
{
    struct pollfd p[3] = { { .fd = fd, .events = POLLIN }, { .fd = other, .events = POLLIN } };
    do {
        (void)uv_run(&l->loop, UV_RUN_NOWAIT);
        p[2] = (struct pollfd){ .fd = uv_backend_fd(&l->loop), .events = POLLIN };
        (void)poll(p, ARRAY_LEN(p), uv_loop_alive(&l->loop) ? uv_backend_timeout(&l->loop) : -1);
    } while (p[0].revents == 0 && p[1].revents == 0 && !local_broken(l));
}

const struct err *local_broken(const struct local *l)
{
    return l->node.lane ? lane_broken(l->node.lane) : NULL;
}

const struct op_env *local_env(const struct local *l)
{
    return &l->node.env;
}

struct store *local_store(const struct local *l)
{
    return l->node.store;
}

void local_close(struct local *l)
{
    if (l == NULL) return;
    engine_drain(l->engine, set_flag, &l->drained);
    while (!l->drained && uv_run(&l->loop, UV_RUN_ONCE) != 0) continue;
    CHECK(l->drained);
    engine_free(l->engine);
    node_close(&l->node, set_flag, &l->closed);
    (void)uv_run(&l->loop, UV_RUN_DEFAULT);
    CHECK(l->closed && uv_loop_close(&l->loop) == 0);
    mem_free(l);
}
