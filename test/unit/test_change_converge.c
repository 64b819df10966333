/* test_change_converge.c - what is shown is a pure function of the ops: random histories of three nodes with skewed
 * clocks that hear of each other now and then, delivered to fresh nodes in three more orders; all six must be alike,
 * and each of them must find by itself which texts were replaced by edits that had not seen them.
 * SEEDS=n says how many histories, SEED=n runs a single one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/id.h"
#include "change_kit.h"

#define NODES 3
#define IDS 6
#define TITLES 3
#define STEPS 40

struct history {
    struct node node[NODES];
    uint64_t rng;
    bool sweeps;
};

static uint64_t pick(struct history *h, uint64_t bound)
{
    return kit_pick(&h->rng, bound);
}

static const char *pick_id(struct history *h)
{
    static const char *const id[IDS] = { "i0", "i1", "i2", "i3", "i4", "i5" };
    return id[pick(h, IDS)];
}

static const char *pick_title(struct history *h)
{
    static const char *const title[TITLES] = { "t0", "t1", "t2" };
    return title[pick(h, TITLES)];
}

/* Ends the item as its code says: what was refused is undone. */
static void end(struct node *n, int rc)
{
    if (rc == 0) {
        node_commit(n);
        return;
    }
    assert_true(rc == E_CONFLICT || rc == E_NOT_FOUND);
    node_abort(n);
}

static void write_one(struct history *h, struct node *n)
{
    struct row before;
    const char *id = pick_id(h), *title = pick_title(h);
    char content[32], expires[TIME_TEXT];
    snprintf(content, sizeof(content), "text %d", (int)pick(h, 1000));
    time_print(expires, n->now_us + (int64_t)pick(h, 10) * 86400000000);
    struct memory m = kit_memory(id, title, content);
    node_begin(n);
    int rc = change_find(n->tx, id, false, &n->arena, &before, NULL);
    if (rc == 0) {
        m = before.m;
        m.content = content;
        if (pick(h, 2) == 0) m.title = title;
    }
    m.priority = 1 + (int)pick(h, 10);
    m.tier = (enum tier)pick(h, 3);
    m.expires_at = pick(h, 3) == 0 ? NULL : expires;
    if (pick(h, 5) == 0) m.access_count += (int64_t)pick(h, 20);
    if (pick(h, 5) == 0) m.ns = "other";
    if (pick(h, 8) == 0)
        rc = change_memory_quietly(&n->c, &m, rc == 0 ? &before : NULL, NULL);
    else
        rc = change_memory(&n->c, &m, rc == 0 ? &before : NULL, NULL);
    end(n, rc);
}

static void remove_one(struct history *h, struct node *n)
{
    struct row row;
    node_begin(n);
    int rc = change_find(n->tx, pick_id(h), false, &n->arena, &row, NULL);
    end(n, rc == 0 ? change_delete(&n->c, &row) : rc);
}

static void link_one(struct history *h, struct node *n)
{
    static const char *const end_id[3] = { "i0", "i1", "i2" }; /* few: so that several nodes speak of one link */
    struct link l = { .source_id = end_id[pick(h, 3)], .target_id = pick_id(h), .relation = "related_to" };
    if (pick(h, 2) == 0) l.target_id = end_id[pick(h, 3)];
    node_begin(n);
    end(n, pick(h, 3) == 0 ? change_unlink(&n->c, &l) : change_link(&n->c, &l));
}

static void touch_one(struct history *h, struct node *n)
{
    bool more;
    node_begin(n);
    int rc = change_touch(&n->c, pick_id(h), n->now_us, 1 + (int64_t)pick(h, 4));
    if (rc == 0 && pick(h, 2) == 0) rc = change_touch_flush(&n->c, &more);
    end(n, rc);
}

/* A vote, a decision, or the action itself: what each node knows of it may differ. */
static int decide_one(struct history *h, struct node *n)
{
    static const char *const status[] = { "pending", "pending", "approved", "rejected" };
    static const char *const voter[] = { "ann", "Ann", "ben", "eve" };
    char at[TIME_TEXT], votes[120];
    struct pending p;
    const char *id = pick_id(h);
    int rc = n->tx->v->pending_get(n->tx, id, &n->arena, &p);
    time_print(at, n->now_us);
    if (rc == E_NOT_FOUND)
        p = (struct pending){ id, "store", NULL, "n", "{\"k\":1}", "bob", at, "pending", NULL, NULL, "[]" };
    else if (rc != 0)
        return rc;
    snprintf(votes, sizeof(votes), "[{\"agent_id\":\"%s\",\"approved_at\":\"%s\"}]", voter[pick(h, 4)], at);
    if (pick(h, 2) == 0) p.approvals = votes;
    p.status = status[pick(h, 4)];
    p.decided_by = p.decided_at = NULL;
    if (strcmp(p.status, "pending") != 0) {
        p.decided_by = voter[pick(h, 4)];
        p.decided_at = at;
    }
    return change_pending(&n->c, &p);
}

static int archive_one(struct history *h, struct node *n)
{
    struct row row = { .m = kit_memory(pick_id(h), "kept", "text") };
    char at[TIME_TEXT];
    time_print(at, n->now_us);
    row.m.created_at = row.m.updated_at = at;
    row.m.tags = "[]";
    row.m.source = "api";
    row.m.metadata = "{}";
    return pick(h, 2) ? change_archive(&n->c, &row, at, "forget") : change_unarchive(&n->c, row.m.id);
}

static void keyed_one(struct history *h, struct node *n)
{
    uint8_t print[32] = { (uint8_t)pick(h, 3) };
    node_begin(n);
    int rc = 0;
    switch (pick(h, 5)) {
    case 0: rc = change_standard(&n->c, pick(h, 2) ? "n" : "m", pick(h, 4) ? pick_id(h) : NULL, NULL); break;
    case 1: rc = decide_one(h, n); break;
    case 3: rc = archive_one(h, n); break;
    case 2: rc = change_idem(&n->c, pick_id(h), print, sizeof(print)); break;
    default: {
        const char member[] = { (char)(1 + pick(h, 2)), (char)(1 + pick(h, 2)), 'm' }; /* form, state */
        rc = change_side(&n->c, KIND_MEMBER, pick_id(h), member, pick(h, 4));
    }
    }
    end(n, rc);
}

static void sweep_one(struct history *h, struct node *n)
{
    struct rows rows;
    (void)h;
    node_begin(n);
    assert_int_equal(n->tx->v->expired(n->tx, n->now_us, NULL, 9, &n->arena, &rows), 0);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < rows.count; i++) rc = change_sweep(&n->c, &rows.item[i]);
    end(n, rc);
}

static void hear_one(struct history *h, struct node *n)
{
    struct node *from = &h->node[pick(h, NODES)];
    if (from == n || from->c.origin.seq == 0) return;
    if (pick(h, 4) == 0) {
        node_sync(n, from);
        return;
    }
    assert_int_equal(node_pull(n, from, from->c.origin.stream, 0, 1 + pick(h, 3)), FOREIGN_APPLIED);
}

static void step(struct history *h)
{
    struct node *n = &h->node[pick(h, NODES)];
    n->now_us += (int64_t)pick(h, 4) == 0 ? (int64_t)pick(h, 2 * 86400) * 1000000 : (int64_t)pick(h, 2000);
    if (pick(h, 2) == 0) n->now_us = (n->now_us / 1000000 + 1) * 1000000; /* equal clocks: equal versions */
    if (pick(h, 12) == 0) node_restart(n);                                /* another stream of the same node */
    switch (pick(h, 10)) {
    case 0:
    case 1:
    case 2:
    case 3: write_one(h, n); break;
    case 4: remove_one(h, n); break;
    case 5: link_one(h, n); break;
    case 6: touch_one(h, n); break;
    case 7: keyed_one(h, n); break;
    case 8: h->sweeps ? sweep_one(h, n) : write_one(h, n); break;
    default: hear_one(h, n); break;
    }
}

/* Delivers all that `from` has to a fresh node. order 0: stream after stream, 1: the last stream first, 2: op by op,
 * mixed. */
static void deliver(struct history *h, struct node *to, struct node *from, int order)
{
    struct stream_pos *pos;
    size_t count;
    node_begin(from);
    assert_int_equal(from->tx->v->streams(from->tx, &from->arena, &pos, &count), 0);
    node_abort(from);
    if (order < 2) {
        for (size_t i = 0; i < count; i++) {
            struct stream_pos *p = &pos[order == 0 ? i : count - 1 - i];
            if (p->pos > 0) assert_int_equal(node_pull(to, from, p->stream, 0, 1000), FOREIGN_APPLIED);
        }
        return;
    }
    for (size_t left = count; left > 0;) {
        size_t i = pick(h, left);
        if (node_pos(to, pos[i].stream) < pos[i].pos) {
            assert_int_equal(node_pull(to, from, pos[i].stream, 0, 1), FOREIGN_APPLIED);
            continue;
        }
        pos[i] = pos[--left];
    }
}

static bool alike(uint64_t seed, const char *what, const char *one, const char *two)
{
    if (strcmp(one, two) == 0) return true;
    size_t at = 0, line = 0;
    for (; one[at] == two[at]; at++)
        if (one[at] == '\n') line = at + 1;
    print_error("seed %llu, %s\n  %.*s\n  %.*s\n", (unsigned long long)seed, what, (int)strcspn(one + line, "\n"),
                one + line, (int)strcspn(two + line, "\n"), two + line);
    return false;
}

/* ---- texts replaced unseen --------------------------------------------------------------------------------------- */

#define VERSIONS_MAX 512

/* All versions of memories there are. */
struct versions {
    struct version v[VERSIONS_MAX];
    struct stamp stamp[VERSIONS_MAX];
    size_t count;
    struct arena arena;
};

static void add_op(struct versions *all, uint64_t stream, const struct log_op *op)
{
    struct version *v;
    size_t count;
    assert_int_equal(op_decode(op->body, op->body_len, &all->arena, &v, &count), 0);
    for (size_t i = 0; i < count; i++) {
        if (v[i].kind != KIND_MEMORY && v[i].kind != KIND_TOMBSTONE) continue;
        assert_true(all->count < VERSIONS_MAX);
        all->v[all->count] = v[i];
        all->stamp[all->count++] = (struct stamp){ .ver = v[i].ver, .stream = stream, .seq = op->seq };
    }
}

static void versions_of(struct node *n, struct versions *ret)
{
    struct stream_pos *pos;
    struct log_op *op;
    size_t streams, count;
    ret->count = 0;
    arena_init(&ret->arena, 64u << 20);
    node_begin(n);
    assert_int_equal(n->tx->v->streams(n->tx, &n->arena, &pos, &streams), 0);
    for (size_t i = 0; i < streams; i++) {
        assert_int_equal(n->tx->v->op_page(n->tx, pos[i].stream, 1, 1000, 64u << 20, &n->arena, &op, &count), 0);
        for (size_t k = 0; k < count; k++) add_op(ret, pos[i].stream, &op[k]);
    }
    node_abort(n);
}

/* Live, not the winner, and no version was made from it, nor one with the same text. */
static bool is_lost(const struct versions *all, size_t i)
{
    const struct version *v = &all->v[i];
    bool greatest = true;
    if (v->kind != KIND_MEMORY) return false;
    for (size_t k = 0; k < all->count; k++) {
        const struct version *w = &all->v[k];
        const struct stamp from = { .ver = w->own.base_ver, .stream = w->own.base_stream };
        if (k == i || strcmp(w->m.id, v->m.id) != 0) continue;
        if (stamp_cmp(&from, &all->stamp[i]) == 0) return false;
        if (stamp_cmp(&all->stamp[k], &all->stamp[i]) > 0) greatest = false;
        if (w->kind == KIND_MEMORY && strcmp(w->m.title, v->m.title) == 0 && strcmp(w->m.content, v->m.content) == 0)
            return false;
    }
    return !greatest;
}

static bool was_seen(const struct versions *all, size_t i)
{
    for (size_t k = 0; k < all->count; k++) {
        const struct stamp from = { .ver = all->v[k].own.base_ver, .stream = all->v[k].own.base_stream };
        if (strcmp(all->v[k].m.id, all->v[i].m.id) == 0 && stamp_cmp(&from, &all->stamp[i]) == 0) return true;
    }
    return false;
}

static bool kept(struct node *n, const struct version *v, const struct stamp *s)
{
    char seed[256], id[UUID_TEXT];
    uint8_t hash[32];
    struct archived there;
    int len = snprintf(seed, sizeof(seed), "merge_loser %s %llx %llx", v->m.id, (unsigned long long)s->ver,
                       (unsigned long long)s->stream);
    sha256(seed, (size_t)len, hash);
    uuid_from_hash(id, hash);
    int rc = n->tx->v->archive_get(n->tx, id, &n->arena, &there);
    if (rc == E_NOT_FOUND) return false;
    assert_int_equal(rc, 0);
    assert_string_equal(there.row.m.content, v->m.content);
    return true;
}

/* Alone, in whatever order it heard of them, a node has all that was lost, and nothing that was seen. */
static bool keeps_what_was_lost(uint64_t seed, struct node *n, const struct versions *all)
{
    const char *last = NULL;
    bool same = true;
    n->now_us += 2 * LOST_SETTLE_US;
    node_begin(n);
    do {
        assert_int_equal(change_doubts(&n->c, last, 3, &last), 0);
    } while (last != NULL);
    for (size_t i = 0; i < all->count; i++) {
        bool there = all->v[i].kind == KIND_MEMORY && kept(n, &all->v[i], &all->stamp[i]);
        if (is_lost(all, i) ? there : !there || !was_seen(all, i)) continue;
        print_error("seed %llu: the text '%s' of %s is %s\n", (unsigned long long)seed, all->v[i].m.content,
                    all->v[i].m.id, there ? "kept though it was seen" : "lost");
        same = false;
    }
    node_commit(n);
    return same;
}

static bool run_history(uint64_t seed, bool sweeps)
{
    struct history h = { .rng = seed, .sweeps = sweeps };
    struct versions all;
    struct node fresh;
    bool more, same = true;
    for (int i = 0; i < NODES; i++) {
        node_open(&h.node[i], seed * 8 + (uint64_t)i);
        h.node[i].now_us += (int64_t)pick(&h, 3) * 30000000; /* skewed clocks */
    }
    for (int i = 0; i < STEPS; i++) step(&h);
    for (int i = 0; i < NODES; i++) {
        node_begin(&h.node[i]);
        assert_int_equal(change_touch_flush(&h.node[i].c, &more), 0);
        node_commit(&h.node[i]);
    }
    for (int i = 0; i < NODES; i++)
        for (int k = 0; k < NODES; k++)
            if (i != k) node_sync(&h.node[i], &h.node[k]);
    versions_of(&h.node[0], &all);
    char *first = node_dump(&h.node[0], !sweeps);
    for (int i = 1; i < NODES; i++) {
        char *other = node_dump(&h.node[i], !sweeps);
        same = same && alike(seed, "two nodes of the history", first, other);
        mem_free(other);
    }
    for (int order = 0; order < 3; order++) {
        node_open(&fresh, seed * 8 + 7);
        fresh.now_us += (int64_t)pick(&h, 20) * 86400000000;
        deliver(&h, &fresh, &h.node[order], order);
        char *other = node_dump(&fresh, !sweeps);
        same = same && alike(seed, "a fresh node", first, other) && keeps_what_was_lost(seed, &fresh, &all);
        mem_free(other);
        node_close(&fresh);
    }
    mem_free(first);
    for (int i = 0; i < NODES; i++) same = same && keeps_what_was_lost(seed, &h.node[i], &all);
    arena_release(&all.arena);
    for (int i = 0; i < NODES; i++) node_close(&h.node[i]);
    return same;
}

static void run_all(bool sweeps)
{
    const char *one = getenv("SEED"), *many = getenv("SEEDS");
    uint64_t count = many != NULL ? strtoull(many, NULL, 10) : 1500;
    if (one != NULL) {
        assert_true(run_history(strtoull(one, NULL, 10), sweeps));
        return;
    }
    for (uint64_t seed = 1; seed <= count; seed++) assert_true(run_history(seed, sweeps));
}

static void any_order_gives_the_same_rows(void **state)
{
    (void)state;
    run_all(false);
}

static void sweeping_changes_nothing_that_is_told(void **state)
{
    (void)state;
    run_all(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_gives_the_same_rows),
        cmocka_unit_test(sweeping_changes_nothing_that_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
