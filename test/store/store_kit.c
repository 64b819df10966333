#include "store_kit.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "repl/hlc.h"

void kit_ok(int rc, const struct err *err)
{
    if (rc != 0) print_error("%s: %s\n", err_name(rc), err ? err->msg : "");
    assert_int_equal(rc, 0);
}

void kit_dir(char dir[64])
{
    snprintf(dir, 64, "/tmp/aim-store-XXXXXX");
    assert_non_null(mkdtemp(dir));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

void kit_remove(const char *dir)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void connect_all(struct kit *k)
{
    kit_ok(k->backend->open(k->dir, &k->store, &k->err), &k->err);
    kit_ok(k->store->b->conn_open(k->store, true, &k->writer, &k->err), &k->err);
    kit_ok(k->store->b->conn_open(k->store, false, &k->reader, &k->err), &k->err);
}

static void disconnect(struct kit *k)
{
    const struct store_backend *b = k->store->b;
    b->conn_close(k->reader);
    kit_ok(b->upkeep(k->writer, false, true, &k->err), &k->err);
    b->conn_close(k->writer);
    b->close(k->store);
}

void kit_open(struct kit *k, const struct kit_backend *b)
{
    *k = (struct kit){ .backend = b };
    kit_dir(k->dir);
    arena_init(&k->arena, 64u << 20);
    connect_all(k);
}

void kit_close(struct kit *k)
{
    disconnect(k);
    arena_release(&k->arena);
    kit_remove(k->dir);
}

void kit_reopen(struct kit *k)
{
    disconnect(k);
    connect_all(k);
}

struct store_tx *kit_begin(struct kit *k)
{
    kit_ok(k->store->b->begin(k->writer, &k->tx, &k->err), &k->err);
    return k->tx;
}

void kit_commit(struct kit *k)
{
    kit_ok(k->store->b->commit(k->writer, true, &k->err), &k->err);
    k->tx = NULL;
}

struct store_tx *kit_read(struct kit *k)
{
    struct store_tx *tx;
    kit_ok(k->store->b->begin(k->reader, &tx, &k->err), &k->err);
    return tx;
}

void kit_read_end(struct kit *k)
{
    k->store->b->rollback(k->reader);
}

uint64_t kit_ver(int64_t seconds)
{
    return hlc_of_us(KIT_T0 + seconds * 1000000);
}

struct row kit_row(struct arena *a, const char *id, const char *ns, const char *title, const char *content,
                   uint64_t ver)
{
    char *when = arena_alloc(a, TIME_TEXT);
    time_print(when, ver ? hlc_us(ver) : KIT_T0);
    struct row r = { .m = { .id = arena_strdup(a, id),
                            .ns = arena_strdup(a, ns),
                            .title = arena_strdup(a, title),
                            .content = arena_strdup(a, content),
                            .tags = "[]",
                            .source = "api",
                            .metadata = "{}",
                            .tier = TIER_MID,
                            .priority = 5,
                            .confidence = 1.0,
                            .created_at = when,
                            .updated_at = when },
                     .stamp = { ver, ver ? 7 : 0, ver ? 1 : 0 } };
    r.own = (struct own){ .tier = TIER_MID, .priority = 5 };
    return r;
}

void kit_put(struct kit *k, const struct row *next, const struct row *before)
{
    struct store_tx *tx = kit_begin(k);
    kit_ok(tx->v->put(tx, next, before), tx->err);
    kit_commit(k);
}
