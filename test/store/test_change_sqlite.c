/* test_change_sqlite.c - the same histories end alike on SQLite and in memory: what change asks of the storage port
 * means the same to both. Half of a history's nodes live on files. SEEDS=n says how many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "change_kit.h"
#include "store/sqlite/sqlite.h"

#define NODES 4
#define STEPS 60

static char folder[] = "/tmp/aim-change-XXXXXX";

static void open_on_file(struct node *n, uint64_t seed, int i)
{
    char path[64], command[128];
    struct sqlite_options o = { .durability = SQLITE_DURABLE_NORMAL };
    struct err err = { 0 };
    struct store *s;
    snprintf(command, sizeof(command), "rm -f %s/%d.db*", folder, i);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof(path), "%s/%d.db", folder, i);
    assert_int_equal(sqlite_store_open(path, &o, &s, &err), 0);
    node_open_on(n, s, seed);
}

static int by_line(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The dump of memstore, through verbs alone. */
static void dump(struct node *n, struct buf *b)
{
    struct list_query q = { .limit = 10000, .bytes_max = 1u << 30 };
    struct rows rows, shadows;
    const uint16_t kinds[] = { SIDE_TOMBSTONE, SIDE_TOUCH, SIDE_LINK, SIDE_LINK_GONE, SIDE_STANDARD };
    char line[1024], *lines[4096];
    size_t count = 0;
    node_begin(n);
    const struct store_verbs *v = n->tx->v;
    assert_int_equal(v->list(n->tx, &q, &n->arena, &rows), 0);
    assert_int_equal(change_shadows(n->tx, NULL, 1000, &n->arena, &shadows), 0);
    for (size_t i = 0; i < rows.count + shadows.count; i++) {
        const struct row *r = i < rows.count ? &rows.item[i] : &shadows.item[i - rows.count];
        struct links links;
        snprintf(line, sizeof(line), "%s %s|%s|%s|%s|%d|%d|%lld|%s|%s|%s|%llx|%llx|%d|%d|%lld|%lld|%llx",
                 i < rows.count ? "row" : "shadow", r->m.id, r->m.ns, r->m.title, r->m.content, (int)r->m.tier,
                 r->m.priority, (long long)r->m.access_count, r->m.updated_at,
                 r->m.last_accessed_at ? r->m.last_accessed_at : "-", r->m.expires_at ? r->m.expires_at : "-",
                 (unsigned long long)r->stamp.ver, (unsigned long long)r->stamp.stream, (int)r->own.tier,
                 r->own.priority, (long long)r->own.count_seen, (long long)r->own.count_base,
                 (unsigned long long)r->own.base_ver);
        lines[count++] = arena_strdup(&n->arena, line);
        assert_int_equal(v->links_of(n->tx, r->m.id, &n->arena, &links), 0);
        for (size_t k = 0; k < links.count; k++)
            lines[count++] = arena_printf(&n->arena, "link %s %s %s %s", links.item[k].source_id,
                                          links.item[k].target_id, links.item[k].relation, links.item[k].created_at);
    }
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        struct side_row *side;
        size_t found;
        assert_int_equal(v->side_scan(n->tx, kinds[k], NULL, NULL, 10000, &n->arena, &side, &found), 0);
        for (size_t i = 0; i < found; i++)
            lines[count++] = arena_printf(&n->arena, "side %u %s %llx %zu", kinds[k], side[i].id,
                                          (unsigned long long)side[i].stamp.ver, side[i].body_len);
    }
    for (int i = 0; i < 2; i++) {
        const char *id, *parent;
        if (v->standard_of(n->tx, i ? "n" : "m", &n->arena, &id, &parent) == 0)
            lines[count++] = arena_printf(&n->arena, "standard %d %s", i, id);
    }
    node_abort(n);
    assert_true(count < 4096);
    qsort(lines, count, sizeof(char *), by_line);
    for (size_t i = 0; i < count; i++) buf_printf(b, "%s\n", lines[i]);
}

static void end(struct node *n, int rc)
{
    if (rc == 0) {
        node_commit(n);
        return;
    }
    assert_true(rc == E_CONFLICT || rc == E_NOT_FOUND);
    node_abort(n);
}

static void step(struct node *n, uint64_t *rng)
{
    static const char *const id[] = { "i0", "i1", "i2", "i3", "i4" }, *const title[] = { "t0", "t1", "t2" };
    struct row row;
    struct link l = { .source_id = id[kit_pick(rng, 5)], .target_id = id[kit_pick(rng, 5)], .relation = "related_to" };
    const char *one = id[kit_pick(rng, 5)];
    char content[32];
    bool more;
    snprintf(content, sizeof(content), "some text %d", (int)kit_pick(rng, 1000));
    struct memory m = kit_memory(one, title[kit_pick(rng, 3)], content);
    n->now_us += (int64_t)kit_pick(rng, 3000);
    node_begin(n);
    int rc = change_find(n->tx, one, false, &n->arena, &row, NULL);
    switch (kit_pick(rng, 8)) {
    case 0: end(n, rc == 0 ? change_delete(&n->c, &row) : rc); return;
    case 1: end(n, change_link(&n->c, &l)); return;
    case 2: end(n, change_unlink(&n->c, &l)); return;
    case 3:
        rc = change_touch(&n->c, one, n->now_us, 3);
        end(n, rc == 0 ? change_touch_flush(&n->c, &more) : rc);
        return;
    case 4: end(n, change_standard(&n->c, kit_pick(rng, 2) ? "n" : "m", kit_pick(rng, 3) ? one : NULL, NULL)); return;
    default: break;
    }
    if (rc == 0) {
        m = row.m;
        m.content = content;
        if (kit_pick(rng, 2)) m.title = title[kit_pick(rng, 3)];
    }
    end(n, change_memory(&n->c, &m, rc == 0 ? &row : NULL, NULL));
}

static bool run_history(uint64_t seed)
{
    struct node node[NODES];
    struct buf text[NODES];
    uint64_t rng = seed;
    bool same = true;
    for (int i = 0; i < NODES; i++) {
        if (i < NODES / 2)
            open_on_file(&node[i], seed * 8 + (uint64_t)i, i);
        else
            node_open(&node[i], seed * 8 + (uint64_t)i);
    }
    for (int i = 0; i < STEPS; i++) {
        struct node *n = &node[kit_pick(&rng, NODES)], *from = &node[kit_pick(&rng, NODES)];
        if (kit_pick(&rng, 5) > 0)
            step(n, &rng);
        else if (n != from)
            node_sync(n, from);
    }
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < NODES; i++)
            for (int k = 0; k < NODES; k++)
                if (i != k) node_sync(&node[i], &node[k]);
    for (int i = 0; i < NODES; i++) {
        buf_init(&text[i], 1u << 24);
        dump(&node[i], &text[i]);
        if (same && i > 0 && strcmp(buf_str(&text[0]), buf_str(&text[i])) != 0) {
            print_error("seed %llu: node 0\n%s\nnode %d\n%s\n", (unsigned long long)seed, buf_str(&text[0]), i,
                        buf_str(&text[i]));
            same = false;
        }
    }
    for (int i = 0; i < NODES; i++) {
        buf_release(&text[i]);
        node_close(&node[i]);
    }
    return same;
}

static void both_stores_end_alike(void **state)
{
    (void)state;
    const char *many = getenv("SEEDS");
    uint64_t count = many != NULL ? strtoull(many, NULL, 10) : 25;
    for (uint64_t seed = 1; seed <= count; seed++) assert_true(run_history(seed));
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(both_stores_end_alike) };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
