/* change_touch.c - accesses: what each node counted of each id, one side row each. Local counts wait for the next flush
 * with the key DIRTY on their row, so a crash or another process of this file loses none of them. */
#include "store/change_private.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"

#define DIRTY 1
#define PROMOTE_AT 5
#define NODE_HEX 16

static const char *touch_id(const char *id, uint64_t node, struct arena *a)
{
    return arena_printf(a, "%s%c%016llx", id, SEP, (unsigned long long)node);
}

int touch_read(const struct side_row *side, struct arena *a, struct touch *ret)
{
    struct reader r;
    reader_init(&r, side->body, side->body_len);
    ret->id = read_text(&r, a);
    ret->node = read_u64(&r);
    ret->count = (int64_t)read_u64(&r);
    ret->last_us = (int64_t)read_u64(&r);
    ret->expires_us = (int64_t)read_u64(&r);
    ret->to_long = read_u8(&r) != 0;
    return r.failed || ret->id == NULL ? E_CORRUPT : 0;
}

static int touch_write(struct change *c, const struct touch *t, uint64_t key, struct arena *a)
{
    struct buf b;
    const char *id = touch_id(t->id, t->node, a);
    if (id == NULL) return E_TOO_LARGE;
    buf_init(&b, 1u << 16);
    buf_text(&b, t->id);
    buf_u64(&b, t->node);
    buf_u64(&b, (uint64_t)t->count);
    buf_u64(&b, (uint64_t)t->last_us);
    buf_u64(&b, (uint64_t)t->expires_us);
    buf_u8(&b, t->to_long);
    struct side_row side = { .kind = SIDE_TOUCH, .id = id, .key = key, .body = b.data, .body_len = b.len };
    int rc = b.failed ? E_TOO_LARGE : c->tx->v->side_put(c->tx, &side);
    buf_release(&b);
    return rc;
}

int touches_load(struct store_tx *tx, const char *id, struct arena *a, struct merged *m)
{
    const char *prefix = arena_printf(a, "%s%c", id, SEP), *after = NULL;
    size_t n;
    if (prefix == NULL) return E_TOO_LARGE;
    do {
        struct side_row *side;
        int rc = tx->v->side_scan(tx, SIDE_TOUCH, prefix, after, 64, a, &side, &n);
        if (rc != 0) return rc;
        for (size_t i = 0; i < n; i++) {
            struct touch t;
            if (strlen(side[i].id) != strlen(prefix) + NODE_HEX) continue; /* of an id that begins like this one */
            rc = touch_read(&side[i], a, &t);
            if (rc != 0) return rc;
            merge_touch(m, &t);
        }
        if (n > 0) after = side[n - 1].id;
    } while (n == 64);
    return 0;
}

/* The row as it is with its touches now. */
static int reshow(struct change *c, const char *id, struct arena *a)
{
    struct known k;
    int rc = known_load(c, id, true, a, &k);
    if (rc == 0 && k.place == PLACE_NONE) rc = known_await(c, id);
    if (rc == 0 && k.place != PLACE_NONE && k.place != PLACE_AWAITED) rc = known_settle(c, &k, a);
    return rc;
}

/* A row the original wrote keeps its count as a base: once it is touched here the two cannot be told apart. */
static int keep_base(struct change *c, const char *id, struct arena *a)
{
    struct known k;
    int rc = known_load(c, id, false, a, &k);
    if (rc != 0 || k.place != PLACE_VISIBLE || k.stored.own_differs || k.merged.row.own.count_base == 0) return rc;
    struct row row = k.stored;
    row.own.count_base = k.merged.row.own.count_base;
    row.own_differs = true;
    return c->tx->v->put(c->tx, &row, &k.stored);
}

int touch_apply(struct change *c, const struct version *v)
{
    struct arena *a = &c->priv->work;
    struct side_row side;
    struct touch t, before = { 0 };
    const char *id = touch_id(v->touch.id, v->touch.node, a);
    if (id == NULL) return E_TOO_LARGE;
    int rc = c->tx->v->side_get(c->tx, SIDE_TOUCH, id, a, &side);
    if (rc == 0) rc = touch_read(&side, a, &before);
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    bool known = rc == 0;
    t = v->touch;
    touch_join(&t, &before);
    if (known && t.count == before.count && t.last_us == before.last_us && t.expires_us == before.expires_us &&
        t.to_long == before.to_long)
        return 0;
    rc = known ? 0 : keep_base(c, t.id, a);
    if (rc == 0) rc = touch_write(c, &t, known ? side.key : 0, a);
    return rc == 0 ? reshow(c, t.id, a) : rc;
}

/* ---- this node's own ------------------------------------------------------------------------------------------- */

int change_touch(struct change *c, const char *id, int64_t now_us, int64_t times)
{
    struct arena *a = &c->priv->work;
    struct known k;
    struct side_row side;
    struct touch t = { 0 };
    CHECK(times >= 0);
    arena_release(a);
    int rc = known_load(c, id, false, a, &k);
    if (rc != 0 || k.place != PLACE_VISIBLE || times == 0) return rc;
    const char *own_id = touch_id(id, c->origin.node, a);
    rc = own_id != NULL ? c->tx->v->side_get(c->tx, SIDE_TOUCH, own_id, a, &side) : E_TOO_LARGE;
    if (rc == 0) rc = touch_read(&side, a, &t);
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    const struct memory *m = &k.stored.m;
    struct touch more = { .count = count_plus(t.count, times), .last_us = now_us };
    int64_t extend = c->lifetimes->extend_secs[m->tier];
    if (m->expires_at != NULL && extend > 0) more.expires_us = now_us + extend * 1000000;
    more.to_long = m->tier == TIER_MID && count_plus(m->access_count, times) >= PROMOTE_AT;
    touch_join(&t, &more);
    t.id = id;
    t.node = c->origin.node;
    rc = k.merged.row.own.count_base != k.stored.own.count_base ? keep_base(c, id, a) : 0;
    if (rc == 0) rc = touch_write(c, &t, DIRTY, a);
    if (rc == 0) rc = reshow(c, id, a);
    arena_release(a);
    return rc;
}

int change_touch_flush(struct change *c, bool *ret_more)
{
    struct arena *a = &c->priv->work;
    struct side_row *side;
    struct touch t;
    size_t n;
    *ret_more = false;
    arena_release(a);
    int rc = c->tx->v->side_by_key(c->tx, SIDE_TOUCH, DIRTY, c->scratch, &side, &n);
    if (rc != 0 || n == 0) return rc;
    *ret_more = n > OP_VERSIONS_MAX;
    if (n > OP_VERSIONS_MAX) n = OP_VERSIONS_MAX;
    rc = change_op_begin(c);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = touch_read(&side[i], c->scratch, &t);
        /* first: recording applies it, which finds nothing new */
        if (rc == 0) rc = touch_write(c, &t, 0, c->scratch);
        struct version v = { .kind = KIND_TOUCH, .ver = hlc_next(&c->hlc, c->now_us, 0), .touch = t };
        if (rc == 0) rc = change_record(c, &v);
    }
    return rc;
}
