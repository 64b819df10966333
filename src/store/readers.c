/* readers.c - the pool of read-only connections. An item holds a connection exactly while it is on the pool, so a
 * connection is used by one thread at a time; the free ones wait in a stack, the last used on top (a warm cache). */
#include "store/readers.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"

#define READERS_MAGIC 0x52454144u

struct readers {
    uint32_t magic;
    uv_loop_t *loop;
    struct store *store; /* borrowed */
    unsigned count, in_flight;
    struct store_conn **idle; /* owned: stack of open connections not in use */
    unsigned idle_count;
    struct list queue;
    size_t queued, queue_max;
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
    uv_work_t close_work;
};

int readers_open(struct readers **ret, uv_loop_t *loop, struct store *store, unsigned count, size_t queue_max,
                 struct err *err)
{
    *ret = NULL;
    if (count == 0) return err_set(err, E_INVALID, "a pool of readers needs at least one");
    struct readers *r = mem_alloc(sizeof(*r));
    r->magic = READERS_MAGIC;
    r->loop = loop;
    r->store = store;
    r->count = count;
    r->queue_max = queue_max;
    r->idle = mem_alloc(count * sizeof(struct store_conn *));
    list_init(&r->queue);
    *ret = r;
    return 0;
}

static int given_up(const struct read_item *item, struct err *err)
{
    if (atomic_load(&item->stop)) return err_set(err, E_CANCELLED, "cancelled");
    if (item->deadline_mono_ms != 0 && clock_mono_ms() >= item->deadline_mono_ms)
        return err_set(err, E_TIMEOUT, "deadline passed");
    return 0;
}

static int read_run(struct read_item *item)
{
    const struct store_backend *b = item->readers->store->b;
    struct err *err = &item->err;
    int rc = given_up(item, err);
    if (rc != 0) return rc;
    if (item->conn == NULL) {
        rc = b->conn_open(item->readers->store, false, &item->conn, err);
        if (rc != 0) {
            item->conn = NULL;
            return rc;
        }
    }
    b->stop_flag(item->conn, &item->stop, item->deadline_mono_ms);
    struct store_tx *tx = NULL;
    rc = b->begin(item->conn, &tx, err);
    if (rc == 0) {
        rc = item->run(item, tx, err);
        b->rollback(item->conn);
    }
    b->stop_flag(item->conn, NULL, 0);
    if (rc != 0 && err->code == 0) err_set(err, rc, "%s", err_text(rc));
    return rc;
}

static void read_work(uv_work_t *work)
{
    struct read_item *item = container_of(work, struct read_item, work);
    item->status = read_run(item);
}

static void close_work(uv_work_t *work)
{
    struct readers *r = container_of(work, struct readers, close_work);
    while (r->idle_count > 0) r->store->b->conn_close(r->idle[--r->idle_count]);
}

static void close_after(uv_work_t *work, int status)
{
    (void)status;
    struct readers *r = container_of(work, struct readers, close_work);
    void (*closed)(void *) = r->closed;
    void *data = r->closed_data;
    r->magic = 0;
    mem_free(r->idle);
    mem_free(r);
    if (closed != NULL) closed(data);
}

static void read_after(uv_work_t *work, int status);

static void pump(struct readers *r)
{
    while (r->in_flight < r->count && !list_empty(&r->queue)) {
        struct read_item *item = container_of(list_pop_head(&r->queue), struct read_item, link);
        r->queued--;
        r->in_flight++;
        item->conn = r->idle_count > 0 ? r->idle[--r->idle_count] : NULL;
        CHECK(uv_queue_work(r->loop, &item->work, read_work, read_after) == 0);
    }
    if (r->closing && r->in_flight == 0) CHECK(uv_queue_work(r->loop, &r->close_work, close_work, close_after) == 0);
}

static void read_after(uv_work_t *work, int status)
{
    (void)status; /* nothing here is ever cancelled by uv */
    struct read_item *item = container_of(work, struct read_item, work);
    struct readers *r = item->readers;
    CHECK(r->magic == READERS_MAGIC && r->in_flight > 0);
    if (item->conn != NULL) r->idle[r->idle_count++] = item->conn;
    item->conn = NULL;
    /* still counted while its callback runs, so that a close from there cannot free r under us */
    item->done(item, item->status);
    r->in_flight--;
    pump(r);
}

int readers_submit(struct readers *r, struct read_item *item)
{
    CHECK(r->magic == READERS_MAGIC);
    if (r->closing) return E_STOPPING;
    if (r->queued >= r->queue_max && r->in_flight >= r->count) return E_BUSY;
    item->readers = r;
    item->conn = NULL;
    item->status = 0;
    item->err = (struct err){ 0 };
    list_add_tail(&r->queue, &item->link);
    r->queued++;
    pump(r);
    return 0;
}

void readers_close(struct readers *r, void (*closed)(void *data), void *data)
{
    CHECK(r->magic == READERS_MAGIC && !r->closing);
    r->closing = true;
    r->closed = closed;
    r->closed_data = data;
    if (r->in_flight == 0) pump(r);
}

unsigned readers_in_flight(const struct readers *r)
{
    return r->in_flight;
}
