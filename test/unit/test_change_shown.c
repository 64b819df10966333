/* Rows of the tables that show records, deleted or altered behind our back: found, and shown anew; what may be the
 * original's stays. The archive's texts come from a peer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "change_kit.h"
#include "store/change_shown.h"
#include "store/change_snapshot.h"

struct list {
    struct {
        uint16_t kind;
        char id[80];
    } row[16];
    size_t count, max;
};

static bool note(void *data, uint16_t kind, const char *id)
{
    struct list *l = data;
    l->row[l->count].kind = kind;
    snprintf(l->row[l->count].id, sizeof l->row[0].id, "%s", id);
    return ++l->count < l->max;
}

static struct list look(struct node *n)
{
    struct list l = { .max = 16 };
    node_begin(n);
    assert_int_equal(change_shown_look(n->tx, note, &l), 0);
    node_abort(n);
    return l;
}

/* Mends what is found; how many rows. */
static size_t mend(struct node *n)
{
    struct list l = look(n);
    size_t mended = 0;
    node_begin(n);
    for (size_t i = 0; i < l.count; i++) {
        bool one;
        assert_int_equal(change_shown_mend(&n->c, l.row[i].kind, l.row[i].id, &one), 0);
        mended += one;
        assert_int_equal(change_shown_mend(&n->c, l.row[i].kind, l.row[i].id, &one), 0);
        assert_false(one);
    }
    node_commit(n);
    assert_int_equal(look(n).count, 0);
    return mended;
}

static void assert_dump(struct node *n, const char *want)
{
    char *now = node_dump(n, true);
    assert_string_equal(now, want);
    mem_free(now);
}

static void links_are_shown_again(void **state)
{
    (void)state;
    struct node n;
    node_open(&n, 1);
    for (int i = 0; i < 3; i++) node_store(&n, (char[]){ (char)('a' + i), 0 }, (char[]){ (char)('a' + i), 0 }, "x");
    node_link(&n, "a", "b");
    node_link(&n, "b", "c");
    char *want = node_dump(&n, true);
    assert_int_equal(look(&n).count, 0);
    struct link lost = { "a", "b", "related_to", NULL }, altered = { "b", "c", "related_to", "2001-01-01T00:00:00Z" };
    node_begin(&n);
    assert_int_equal(n.tx->v->link_hide(n.tx, &lost), 0);
    assert_int_equal(n.tx->v->link_show(n.tx, &altered), 0);
    node_commit(&n);
    assert_int_equal(look(&n).count, 2);
    assert_int_equal(mend(&n), 2);
    assert_dump(&n, want);
    mem_free(want);
    node_close(&n);
}

/* The shown link of several records is not the one that each of them says. */
static void a_link_of_shadows_is_in_order(void **state)
{
    (void)state;
    struct node a, b;
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "x", "same title", "x");
    node_store(&a, "t", "target", "x");
    node_link(&a, "x", "t");
    b.now_us += 5000000;
    node_store(&b, "y", "same title", "y");
    node_store(&b, "u", "another", "x");
    node_link(&b, "y", "u");
    node_sync(&a, &b);
    node_sync(&b, &a);
    char *want = node_dump(&a, true);
    assert_int_equal(look(&a).count, 0);
    assert_int_equal(look(&b).count, 0);
    struct link lost = { "y", "t", "related_to", NULL }; /* the shadow's, shown on the winner */
    node_begin(&a);
    assert_int_equal(a.tx->v->link_hide(a.tx, &lost), 0);
    node_commit(&a);
    assert_int_equal(mend(&a), 1);
    assert_dump(&a, want);
    mem_free(want);
    node_delete(&a, "y"); /* its links end in nothing that is shown */
    assert_int_equal(look(&a).count, 0);
    node_close(&a);
    node_close(&b);
}

static void what_may_be_the_originals_stays(void **state)
{
    (void)state;
    struct node n;
    struct links links;
    const char *id, *parent;
    node_open(&n, 1);
    node_store(&n, "a", "a", "x");
    node_store(&n, "b", "b", "x");
    node_link(&n, "a", "b");
    struct link of_record = { "a", "b", "related_to", "2001-01-01T00:00:00Z" };
    struct link unknown = { "b", "a", "supersedes", "2001-01-01T00:00:00Z" };
    node_begin(&n);
    assert_int_equal(change_unlink(&n.c, &of_record), 0);
    assert_int_equal(change_standard(&n.c, "gone", "a", NULL), 0);
    assert_int_equal(change_standard(&n.c, "gone", NULL, NULL), 0);
    assert_int_equal(n.tx->v->link_show(n.tx, &of_record), 0);
    assert_int_equal(n.tx->v->link_show(n.tx, &unknown), 0);
    assert_int_equal(n.tx->v->standard_set(n.tx, "gone", "b", NULL, "2001-01-01T00:00:00Z"), 0);
    assert_int_equal(n.tx->v->standard_set(n.tx, "its own", "b", NULL, "2001-01-01T00:00:00Z"), 0);
    node_commit(&n);
    assert_int_equal(mend(&n), 0);
    node_begin(&n);
    assert_int_equal(n.tx->v->links_of(n.tx, "a", &n.arena, &links), 0);
    assert_int_equal(links.count, 2);
    assert_int_equal(n.tx->v->standard_of(n.tx, "gone", &n.arena, &id, &parent), 0);
    assert_string_equal(id, "b");
    node_abort(&n);
    node_close(&n);
}

static void standards_are_shown_again(void **state)
{
    (void)state;
    struct node n;
    node_open(&n, 1);
    node_store(&n, "a", "a", "x");
    node_store(&n, "b", "b", "x");
    node_begin(&n);
    assert_int_equal(change_standard(&n.c, "lost", "a", NULL), 0);
    assert_int_equal(change_standard(&n.c, "altered", "a", "p"), 0);
    assert_int_equal(change_standard(&n.c, "parent", "a", "p"), 0);
    node_commit(&n);
    char *want = node_dump(&n, true);
    assert_int_equal(look(&n).count, 0);
    node_begin(&n);
    assert_int_equal(n.tx->v->standard_set(n.tx, "lost", NULL, NULL, "2001-01-01T00:00:00Z"), 0);
    assert_int_equal(n.tx->v->standard_set(n.tx, "altered", "b", "p", "2001-01-01T00:00:00Z"), 0);
    assert_int_equal(n.tx->v->standard_set(n.tx, "parent", "a", "q", "2001-01-01T00:00:00Z"), 0);
    node_commit(&n);
    assert_int_equal(mend(&n), 3);
    assert_dump(&n, want);
    mem_free(want);
    node_delete(&n, "a");
    assert_int_equal(look(&n).count, 0);
    node_close(&n);
}

static void actions_are_shown_again(void **state)
{
    (void)state;
    struct node n;
    struct pending p = { .id = "p", .action = "store", .ns = "ns", .payload = "{\"k\":1.5,\"a\":[null,\"b\"]}" }, got;
    p.requested_by = "bob";
    p.requested_at = "2023-01-01T00:00:00Z";
    p.status = "pending";
    p.approvals = "[{\"agent_id\":\"ann\",\"approved_at\":\"2023-01-01T00:00:00Z\"}]";
    node_open(&n, 1);
    node_begin(&n);
    assert_int_equal(change_pending(&n.c, &p), 0);
    p.id = "q";
    p.memory_id = "m";
    assert_int_equal(change_pending(&n.c, &p), 0);
    node_commit(&n);
    assert_int_equal(look(&n).count, 0);
    node_begin(&n);
    memstore_lose_pending(n.tx, "p");
    p.status = "approved";
    assert_int_equal(n.tx->v->pending_put(n.tx, &p), 0);
    p.id = "of the original";
    assert_int_equal(n.tx->v->pending_put(n.tx, &p), 0);
    node_commit(&n);
    assert_int_equal(mend(&n), 2);
    node_begin(&n);
    assert_int_equal(n.tx->v->pending_get(n.tx, "p", &n.arena, &got), 0);
    assert_string_equal(got.requested_by, "bob");
    assert_int_equal(n.tx->v->pending_get(n.tx, "q", &n.arena, &got), 0);
    assert_string_equal(got.status, "pending");
    assert_int_equal(n.tx->v->pending_get(n.tx, "of the original", &n.arena, &got), 0);
    assert_string_equal(got.status, "approved");
    node_abort(&n);
    node_close(&n);
}

static void looking_ends_when_it_is_enough(void **state)
{
    (void)state;
    struct node n;
    struct list l = { .max = 1 };
    node_open(&n, 1);
    node_store(&n, "a", "a", "x");
    node_begin(&n);
    assert_int_equal(change_standard(&n.c, "one", "a", NULL), 0);
    assert_int_equal(change_standard(&n.c, "two", "a", NULL), 0);
    assert_int_equal(n.tx->v->standard_set(n.tx, "one", NULL, NULL, "2001-01-01T00:00:00Z"), 0);
    assert_int_equal(n.tx->v->standard_set(n.tx, "two", NULL, NULL, "2001-01-01T00:00:00Z"), 0);
    assert_int_equal(change_shown_look(n.tx, note, &l), 0);
    assert_int_equal(l.count, 1);
    node_commit(&n);
    node_close(&n);
}

/* ---- the archive ------------------------------------------------------------------------------------------------- */

static void count_row(void *data, const struct scrub_row *r)
{
    (void)r;
    ++*(size_t *)data;
}

/* How many live rows a scrub finds. */
static size_t scrubbed(struct node *n)
{
    size_t rows = 0;
    node_begin(n);
    assert_int_equal(change_scrub(n->tx, count_row, &rows), 0);
    node_abort(n);
    return rows;
}

/* All records of one node are merged by the other, as a repair would. */
static void take(struct node *to, struct node *from)
{
    const struct page_span span = { .repair = true };
    uint8_t all[SCRUB_BUCKETS / 8];
    struct buf records;
    memset(all, 0xff, sizeof all);
    buf_init(&records, 1u << 20);
    node_begin(from);
    assert_int_equal(change_scrub_records(from->tx, all, &records), 0);
    node_abort(from);
    node_begin(to);
    assert_int_equal(change_snapshot_page(&to->c, records.data, records.len, &span), 0);
    node_commit(to);
    buf_release(&records);
}

static void archive_rows(struct node *a, struct node *b, int count)
{
    node_open(a, 1);
    node_open(b, 2);
    for (int i = 0; i < count; i++) {
        const char id[] = { (char)('a' + i), 0 };
        char at[TIME_TEXT];
        struct row row = node_store(a, id, id, "text");
        time_print(at, a->now_us);
        node_begin(a);
        change_group_begin(&a->c);
        assert_int_equal(change_archive(&a->c, &row, at, "forget"), 0);
        assert_int_equal(change_delete(&a->c, &row), 0);
        assert_int_equal(change_group_end(&a->c), 0);
        node_commit(a);
    }
    node_sync(b, a);
}

static void assert_archived(struct node *n, const char *id)
{
    struct archived kept;
    node_begin(n);
    assert_int_equal(n->tx->v->archive_get(n->tx, id, &n->arena, &kept), 0);
    assert_string_equal(kept.row.m.content, "text");
    assert_string_equal(kept.reason, "forget");
    node_abort(n);
}

static void texts_of_the_archive_come_from_a_peer(void **state)
{
    (void)state;
    struct node a, b;
    struct archived kept;
    archive_rows(&a, &b, 3);
    size_t whole = scrubbed(&a);
    assert_int_equal(scrubbed(&b), whole);
    node_begin(&b);
    assert_int_equal(b.tx->v->archive_remove(b.tx, "a", NULL), 0);
    assert_int_equal(b.tx->v->archive_get(b.tx, "b", &b.arena, &kept), 0);
    kept.row.m.content = "altered";
    assert_int_equal(b.tx->v->archive_put(b.tx, &kept.row, kept.archived_at, kept.reason), 0);
    node_commit(&b);
    assert_int_equal(scrubbed(&b), whole - 2);
    take(&a, &b); /* what is wrong there is not told */
    for (int i = 0; i < 3; i++) assert_archived(&a, (char[]){ (char)('a' + i), 0 });
    take(&b, &a);
    assert_int_equal(scrubbed(&b), whole);
    for (int i = 0; i < 3; i++) assert_archived(&b, (char[]){ (char)('a' + i), 0 });
    node_close(&a);
    node_close(&b);
}

static void what_left_the_archive_by_its_age_stays_away(void **state)
{
    (void)state;
    struct node a, b;
    struct archived kept;
    archive_rows(&a, &b, 2);
    size_t whole = scrubbed(&a);
    node_begin(&b);
    assert_int_equal(change_archive_aged(&b.c, "a"), 0);
    assert_int_equal(change_archive_aged(&b.c, "none"), 0);
    node_commit(&b);
    assert_int_equal(scrubbed(&b), whole); /* it is no difference */
    take(&b, &a);
    take(&a, &b);
    node_begin(&b);
    assert_int_equal(b.tx->v->archive_get(b.tx, "a", &b.arena, &kept), E_NOT_FOUND);
    node_abort(&b);
    node_begin(&a);
    assert_int_equal(a.tx->v->archive_get(a.tx, "a", &a.arena, &kept), 0);
    node_abort(&a);
    node_close(&a);
    node_close(&b);
}

static void what_the_original_archived_since_stays(void **state)
{
    (void)state;
    struct node a, b;
    struct archived kept;
    char at[TIME_TEXT];
    archive_rows(&a, &b, 1);
    size_t whole = scrubbed(&a);
    time_print(at, b.now_us + 1000000);
    node_begin(&b);
    assert_int_equal(b.tx->v->archive_get(b.tx, "a", &b.arena, &kept), 0);
    kept.row.m.content = "the original's";
    assert_int_equal(b.tx->v->archive_put(b.tx, &kept.row, at, "ttl_expired"), 0);
    node_commit(&b);
    assert_int_equal(scrubbed(&b), whole);
    take(&b, &a);
    node_begin(&b);
    assert_int_equal(b.tx->v->archive_get(b.tx, "a", &b.arena, &kept), 0);
    assert_string_equal(kept.row.m.content, "the original's");
    node_abort(&b);
    node_close(&a);
    node_close(&b);
}

/* Records of older programs do not tell what their text was: it is noted once, and is no alarm. */
static void a_record_without_a_print_gets_one(void **state)
{
    (void)state;
    struct node a, b;
    struct side_row side;
    archive_rows(&a, &b, 1);
    node_begin(&a);
    assert_int_equal(a.tx->v->side_get(a.tx, SIDE_ARCHIVE, "a", &a.arena, &side), 0);
    uint64_t print = side.key;
    assert_true(print > 1);
    side.key = 0;
    assert_int_equal(a.tx->v->side_put(a.tx, &side), 0);
    node_commit(&a);
    assert_int_equal(look(&a).count, 1);
    assert_int_equal(mend(&a), 0);
    node_begin(&a);
    assert_int_equal(a.tx->v->side_get(a.tx, SIDE_ARCHIVE, "a", &a.arena, &side), 0);
    assert_true(side.key == print);
    node_abort(&a);
    node_close(&a);
    node_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_are_shown_again),
        cmocka_unit_test(a_link_of_shadows_is_in_order),
        cmocka_unit_test(what_may_be_the_originals_stays),
        cmocka_unit_test(standards_are_shown_again),
        cmocka_unit_test(actions_are_shown_again),
        cmocka_unit_test(looking_ends_when_it_is_enough),
        cmocka_unit_test(texts_of_the_archive_come_from_a_peer),
        cmocka_unit_test(what_left_the_archive_by_its_age_stays_away),
        cmocka_unit_test(what_the_original_archived_since_stays),
        cmocka_unit_test(a_record_without_a_print_gets_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
