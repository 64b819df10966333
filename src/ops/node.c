/* node.c - opens and closes the storage half of a node. Closing order: lane (it runs what is queued, then the whole
 * checkpoint), readers, file. */
#include "ops/node.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "memory/text.h"
#include "ops/df_cache.h"
#include "store/sqlite/sqlite.h"

/* The original's program was here, and no server has looked through its rows yet. */
static bool rows_wait(struct store *s)
{
    struct store_conn *conn;
    struct store_tx *tx;
    struct arena a;
    struct rows rows = { 0 };
    if (s->b->conn_open(s, false, &conn, NULL) != 0) return false;
    arena_init(&a, 32u << 20);
    if (s->b->begin(conn, &tx, NULL) == 0) {
        if (tx->v->unstamped(tx, 1, &a, &rows) != 0) rows.count = 0;
        s->b->rollback(conn);
    }
    s->b->conn_close(conn);
    arena_release(&a);
    return rows.count > 0;
}

static int open_writer(struct node *n, const struct node_options *o, struct err *err)
{
    int rc = lane_open(&n->lane, n->loop, n->store, &n->change, NULL, o->committed, o->data, err);
    /* says that this life goes on; without it, the server of the file would say that its stream has ended */
    return rc == 0 ? sqlite_life_hold(n->store, lane_origin(n->lane)->stream, err) : rc;
}

static int open_parts(struct node *n, const struct node_options *o, struct err *err)
{
    struct sqlite_options so = {
        .serving = o->serving,
        .durability = o->relaxed ? SQLITE_DURABLE_NORMAL : SQLITE_DURABLE_FULL,
        .busy_ms = o->busy_ms,
    };
    int rc = sqlite_store_open(o->path, &so, &n->store, err);
    so.read_only = rc == E_READ_ONLY && o->reads_only; /* of somebody else, or on media that cannot be written */
    if (so.read_only) rc = sqlite_store_open(o->path, &so, &n->store, err);
    if (rc) return rc;
    n->adopts = o->adopts && !so.read_only && rows_wait(n->store);
    if (!o->reads_only || n->adopts) rc = open_writer(n, o, err);
    if (rc && (!o->reads_only || n->lane)) return rc; /* a file that cannot be written can be read all the same */
    n->adopts = n->adopts && n->lane != NULL;
    return readers_open(&n->readers, n->loop, n->store, o->readers, o->readers_queue, err);
}

int node_open(struct node *n, uv_loop_t *loop, const struct node_options *o, struct err *err)
{
    CHECK(o->readers > 0);
    memset(n, 0, sizeof(*n));
    n->loop = loop;
    n->lifetimes = o->limits.lifetimes;
    n->change.lifetimes = &n->lifetimes;
    n->change.keep_us = o->limits.gone_keep_secs * 1000000;
    n->change.new_node = o->new_id;
    int rc = open_parts(n, o, err);
    if (rc) {
        node_close(n, NULL, NULL);
        (void)uv_run(loop, UV_RUN_DEFAULT);
        return rc;
    }
    n->env = (struct op_env){
        .tokenizer = sqlite_tokenizer(), .df = df_cache_new(), .limits = o->limits, .version = AIM_VERSION
    };
    return 0;
}

static void close_file(void *data)
{
    struct node *n = data;
    df_cache_free(n->env.df);
    n->env.df = NULL;
    if (n->store) n->store->b->close(n->store);
    n->store = NULL;
    if (n->closed) n->closed(n->data);
}

static void close_readers(void *data)
{
    struct node *n = data;
    struct readers *readers = n->readers;
    n->lane = NULL;
    n->readers = NULL;
    if (readers)
        readers_close(readers, close_file, n);
    else
        close_file(n);
}

void node_close(struct node *n, void (*closed)(void *data), void *data)
{
    n->closed = closed;
    n->data = data;
    if (n->timing) uv_close((uv_handle_t *)&n->timer, NULL);
    n->timing = false;
    if (n->lane)
        lane_close(n->lane, close_readers, n);
    else
        close_readers(n);
}
