/* Keyed rows beside the memories: votes and decisions, the archive, sweeps with a copy, edits with a time of their own,
 * counts of rows the original wrote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "change_kit.h"

#define DAY_US INT64_C(86400000000)

static void put_pending(struct node *n, const char *status, const char *who, const char *vote)
{
    char at[TIME_TEXT], votes[120] = "[]";
    time_print(at, n->now_us);
    if (vote) snprintf(votes, sizeof(votes), "[{\"agent_id\":\"%s\",\"approved_at\":\"%s\"}]", vote, at);
    struct pending p = { "p", "store",         NULL, "ns", "{\"k\":1}", "bob", "2023-01-01T00:00:00Z", status,
                         who, who ? at : NULL, votes };
    node_begin(n);
    assert_int_equal(change_pending(&n->c, &p), 0);
    node_commit(n);
}

static struct pending get_pending(struct node *n)
{
    struct pending p;
    node_begin(n);
    assert_int_equal(n->tx->v->pending_get(n->tx, "p", &n->arena, &p), 0);
    node_abort(n);
    return p;
}

static void votes_of_two_nodes_join(void **state)
{
    (void)state;
    struct node a, b;
    node_open(&a, 1);
    node_open(&b, 2);
    put_pending(&a, "pending", NULL, NULL);
    node_sync(&b, &a);
    put_pending(&a, "pending", NULL, "Ann");
    b.now_us += 5;
    put_pending(&b, "pending", NULL, "ben");
    node_sync(&a, &b);
    node_sync(&b, &a);
    struct pending p = get_pending(&a), q = get_pending(&b);
    assert_string_equal(p.approvals, q.approvals);
    assert_non_null(strstr(p.approvals, "\"ann\"")); /* in lower case */
    assert_true(strstr(p.approvals, "ann") < strstr(p.approvals, "ben"));
    /* the same voter in other letters is no second vote */
    put_pending(&b, "pending", NULL, "ANN");
    assert_string_equal(get_pending(&b).approvals, p.approvals);
    node_sync(&a, &b);
    assert_string_equal(get_pending(&a).approvals, p.approvals);
    node_close(&a);
    node_close(&b);
}

static size_t voted(struct node *n)
{
    const char **ids;
    size_t count;
    node_begin(n);
    assert_int_equal(change_voted(&n->c, &ids, &count), 0);
    if (count > 0) assert_string_equal(ids[0], "p");
    node_abort(n);
    return count;
}

static void votes_that_joined_are_found(void **state)
{
    (void)state;
    struct node a, b;
    node_open(&a, 1);
    node_open(&b, 2);
    put_pending(&a, "pending", NULL, "ann");
    node_sync(&b, &a);
    assert_int_equal(voted(&b), 0); /* one alone was looked at where it was given */
    put_pending(&b, "pending", NULL, "ben");
    node_sync(&a, &b);
    assert_int_equal(voted(&a), 1);
    put_pending(&b, "approved", "ben", NULL);
    node_sync(&a, &b);
    assert_int_equal(voted(&a), 0);
    node_close(&a);
    node_close(&b);
}

/* What two nodes do because of one event is one, and undoes nothing done since. */
static void what_is_done_as_of_a_moment_loses_to_what_came_after(void **state)
{
    (void)state;
    struct node a, b;
    struct row row;
    char at[TIME_TEXT];
    node_open(&a, 1);
    node_open(&b, 2);
    int64_t moment = a.now_us + 1000;
    time_print(at, moment);
    a.now_us += 5000;
    b.now_us += 9000000;
    for (struct node *n = &a; n != NULL; n = n == &a ? &b : NULL) {
        const struct memory m = kit_memory("m", "t", "made");
        node_begin(n);
        change_as_of(&n->c, at);
        assert_int_equal(change_memory(&n->c, &m, NULL, &row), 0);
        change_as_of(&n->c, NULL);
        node_commit(n);
        assert_int_equal(stamp_us(row.stamp.ver), moment);
        if (n == &a) node_delete(&a, "m");
    }
    node_sync(&a, &b);
    node_sync(&b, &a);
    assert_false(node_find(&a, "m", &row));
    assert_false(node_find(&b, "m", &row));
    node_store(&a, "x", "x", "x");
    assert_true(node_get(&a, "x", &row));
    assert_true(stamp_us(row.stamp.ver) >= a.now_us); /* of now again */
    node_close(&a);
    node_close(&b);
}

static void what_was_carried_out_stands(void **state)
{
    (void)state;
    struct node a, b;
    node_open(&a, 1);
    node_open(&b, 2);
    put_pending(&a, "pending", NULL, NULL);
    node_sync(&b, &a);
    put_pending(&a, "approved", "ann", NULL);
    b.now_us += 1000000; /* later, and all the same */
    put_pending(&b, "rejected", "eve", NULL);
    node_sync(&a, &b);
    node_sync(&b, &a);
    assert_string_equal(get_pending(&a).status, "approved");
    assert_string_equal(get_pending(&b).status, "approved");
    assert_string_equal(get_pending(&b).decided_by, "ann");
    assert_string_equal(get_pending(&b).payload, "{\"k\":1}");
    node_close(&a);
    node_close(&b);
}

static void bytes_of_another_form_are_held(void **state)
{
    (void)state;
    struct node a;
    node_open(&a, 1);
    node_begin(&a);
    assert_int_equal(change_side(&a.c, KIND_PENDING, "p", "{\"id\":\"p\"}", 10), E_INVALID);
    node_abort(&a);
    node_close(&a);
}

/* ---- the archive ------------------------------------------------------------------------------------------------- */
static bool archived(struct node *n, const char *id, struct archived *ret)
{
    node_begin(n);
    int rc = n->tx->v->archive_get(n->tx, id, &n->arena, ret);
    node_abort(n);
    assert_true(rc == 0 || rc == E_NOT_FOUND);
    return rc == 0;
}

static void a_copy_travels_and_leaves_everywhere(void **state)
{
    (void)state;
    struct node a, b;
    struct archived kept;
    node_open(&a, 1);
    node_open(&b, 2);
    struct row row = node_store(&a, "m", "t", "text");
    node_begin(&a);
    change_group_begin(&a.c);
    assert_int_equal(change_archive(&a.c, &row, "2023-11-14T00:00:00Z", "forget"), 0);
    assert_int_equal(change_delete(&a.c, &row), 0);
    assert_int_equal(change_group_end(&a.c), 0);
    node_commit(&a);
    node_sync(&b, &a);
    assert_true(archived(&b, "m", &kept));
    assert_string_equal(kept.reason, "forget");
    assert_string_equal(kept.row.m.content, "text");
    assert_false(node_find(&b, "m", &row));
    node_begin(&b);
    assert_int_equal(change_unarchive(&b.c, "m"), 0);
    node_commit(&b);
    node_sync(&a, &b);
    assert_false(archived(&a, "m", &kept));
    assert_false(archived(&b, "m", &kept));
    node_close(&a);
    node_close(&b);
}

static void sweep(struct node *n, const char *id)
{
    struct row row;
    node_begin(n);
    assert_int_equal(n->tx->v->get(n->tx, id, &n->arena, &row), 0);
    assert_int_equal(change_sweep_copy(&n->c, &row), 0);
    assert_int_equal(change_position(&n->c).seq, 0);
    node_commit(n);
}

static void a_swept_row_leaves_a_copy_until_it_is_back(void **state)
{
    (void)state;
    struct node a, b;
    struct archived kept;
    struct row row;
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "m", "t", "text");
    node_sync(&b, &a);
    a.now_us += 7 * DAY_US + 60000000;
    sweep(&a, "m");
    assert_true(archived(&a, "m", &kept));
    assert_string_equal(kept.reason, "ttl_expired");
    assert_false(node_find(&a, "m", &row));
    b.now_us += 7 * DAY_US - 60000000; /* an access elsewhere, just in time */
    node_touch(&b, "m", 1, true);
    node_sync(&a, &b);
    assert_true(node_find(&a, "m", &row));
    assert_false(memory_expired(&row.m, a.now_us));
    assert_false(archived(&a, "m", &kept));
    node_close(&a);
    node_close(&b);
}

static void a_copy_of_a_sweep_goes_with_what_became_of_the_row(void **state)
{
    (void)state;
    struct node a, b;
    struct archived kept;
    struct row row;
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "m", "t", "text");
    node_store(&a, "gone", "u", "text");
    node_sync(&b, &a);
    a.now_us += 8 * DAY_US;
    sweep(&a, "m");
    sweep(&a, "gone");
    assert_true(archived(&a, "m", &kept) && archived(&a, "gone", &kept));
    b.now_us += 7 * DAY_US - 60000000;
    struct memory m = kit_memory("m", "t", "edited elsewhere");
    m.expires_at = "2033-01-01T00:00:00Z";
    node_begin(&b);
    assert_int_equal(b.tx->v->get(b.tx, "m", &b.arena, &row), 0);
    assert_int_equal(change_memory(&b.c, &m, &row, NULL), 0);
    node_commit(&b);
    node_delete(&b, "gone");
    node_sync(&a, &b);
    assert_true(node_get(&a, "m", &row));
    assert_false(archived(&a, "m", &kept)); /* b has none, either */
    assert_false(archived(&a, "gone", &kept));
    node_close(&a);
    node_close(&b);
}

/* Who makes a swept id anew, or gives its title to another row, does not mean its copy in the archive. */
static void the_copy_of_a_sweep_outlives_what_is_made_anew(void **state)
{
    (void)state;
    struct node a, b;
    struct archived kept;
    struct row row;
    char at[64];
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "m", "t", "expired");
    node_store(&a, "titled", "u", "expired, too");
    node_sync(&b, &a);
    a.now_us += 8 * DAY_US;
    b.now_us = a.now_us;
    sweep(&a, "m");
    sweep(&a, "titled");
    assert_true(archived(&a, "titled", &kept));
    snprintf(at, sizeof(at), "%s", kept.archived_at);
    struct memory anew = kit_memory("m", "t", "made anew"), other = kit_memory("other", "u", "takes the title");
    anew.expires_at = other.expires_at = "2033-01-01T00:00:00Z";
    node_begin(&a);
    assert_int_equal(change_memory(&a.c, &anew, NULL, NULL), 0);
    assert_int_equal(change_memory(&a.c, &other, NULL, NULL), 0);
    node_commit(&a);
    node_sync(&b, &a);
    for (struct node *n = &a; n != NULL; n = n == &a ? &b : NULL) {
        assert_true(node_get(n, "m", &row));
        assert_string_equal(row.m.content, "made anew");
        assert_true(archived(n, "m", &kept));
        assert_string_equal(kept.reason, "ttl_expired");
        assert_string_equal(kept.row.m.content, "expired");
    }
    assert_true(archived(&a, "titled", &kept));
    assert_string_equal(kept.reason, "ttl_expired");
    assert_string_equal(kept.archived_at, at);
    node_close(&a);
    node_close(&b);
}

static void a_sweep_leaves_the_copy_that_all_have(void **state)
{
    (void)state;
    struct node a, b;
    struct archived kept;
    struct row row;
    node_open(&a, 1);
    node_open(&b, 2);
    row = node_store(&a, "m", "t", "forgotten");
    node_begin(&a);
    assert_int_equal(change_archive(&a.c, &row, "2023-11-14T00:00:00+00:00", "forget"), 0);
    node_commit(&a);
    node_store(&a, "m", "t", "made anew");
    node_sync(&b, &a);
    a.now_us += 8 * DAY_US;
    sweep(&a, "m");
    node_touch(&b, "m", 1, true); /* in time there: the row is back */
    node_sync(&a, &b);
    for (struct node *n = &a; n != NULL; n = n == &a ? &b : NULL) {
        assert_true(archived(n, "m", &kept));
        assert_string_equal(kept.reason, "forget");
        assert_string_equal(kept.row.m.content, "forgotten");
    }
    node_close(&a);
    node_close(&b);
}

/* Two edits of one row, neither of which saw the other; the text of the lesser is found, and taken out, at one node
 * before another hears of it. */
static void a_replaced_text_taken_out_does_not_come_back(void **state)
{
    (void)state;
    struct node a, b, c;
    const char **ids;
    size_t count;
    struct archived kept;
    char id[64];
    node_open(&a, 1);
    node_open(&b, 2);
    node_open(&c, 3);
    node_store(&a, "m", "t", "first");
    node_sync(&b, &a);
    node_store(&a, "m", "t", "lesser");
    b.now_us += 1000000;
    node_store(&b, "m", "t", "greater");
    node_sync(&a, &b);
    node_begin(&a);
    assert_int_equal(a.tx->v->archive_older(a.tx, INT64_MAX, 9, &a.arena, &ids, &count), 0);
    assert_int_equal(count, 1);
    snprintf(id, sizeof(id), "%s", ids[0]);
    assert_int_equal(change_unarchive(&a.c, id), 0);
    node_commit(&a);
    node_pull(&c, &a, a.c.origin.stream, 0, 9);
    node_pull(&c, &b, b.c.origin.stream, 0, 9);
    assert_int_equal(c.c.unseen, 1);
    assert_false(archived(&c, id, &kept));
    node_close(&a);
    node_close(&b);
    node_close(&c);
}

static bool shadow_kept(struct node *n, const char *id, const char *content)
{
    struct archived kept;
    if (!archived(n, id, &kept)) return false;
    assert_string_equal(kept.reason, "merge_loser");
    assert_string_equal(kept.row.m.content, content);
    return true;
}

static void a_text_that_rests_is_in_the_archive(void **state)
{
    (void)state;
    struct node a, b;
    node_open(&a, 1);
    node_open(&b, 2);
    b.now_us += 1000000;
    node_store(&a, "a", "t", "from a");
    node_store(&b, "b", "t", "from b");
    node_sync(&a, &b); /* here the visible one steps back, there the new one rests at once */
    node_sync(&b, &a);
    for (struct node *n = &a; n != NULL; n = n == &a ? &b : NULL) {
        assert_true(shadow_kept(n, "a", "from a"));
        assert_false(shadow_kept(n, "b", "from b"));
    }
    node_delete(&b, "a"); /* the title goes, and all that was under it */
    node_sync(&a, &b);
    assert_false(shadow_kept(&a, "a", "from a"));
    assert_false(shadow_kept(&b, "a", "from a"));
    node_close(&a);
    node_close(&b);
}

static void a_text_that_surfaces_leaves_the_archive(void **state)
{
    (void)state;
    struct node a, b;
    struct row row;
    node_open(&a, 1);
    node_open(&b, 2);
    b.now_us += 1000000;
    node_store(&a, "a", "t", "from a");
    node_store(&b, "b", "t", "from b");
    node_pull(&a, &b, b.c.origin.stream, 0, 1);
    assert_true(shadow_kept(&a, "a", "from a"));
    node_store(&b, "b", "elsewhere", "from b"); /* b knows nothing of a */
    node_sync(&a, &b);
    assert_true(node_get(&a, "a", &row));
    assert_false(shadow_kept(&a, "a", "from a"));
    node_close(&a);
    node_close(&b);
}

static void a_resting_text_taken_out_of_the_archive_stays_out(void **state)
{
    (void)state;
    struct node a, b, c;
    struct row row;
    node_open(&a, 1);
    node_open(&b, 2);
    node_open(&c, 3);
    b.now_us += 1000000;
    row = node_store(&a, "a", "t", "from a");
    node_store(&b, "b", "t", "from b");
    node_sync(&b, &a);
    b.now_us += 1000000;
    node_begin(&b);
    assert_int_equal(change_unarchive(&b.c, "a"), 0);
    node_commit(&b);
    node_sync(&c, &b); /* the record before the row, and the other way round */
    node_sync(&c, &a);
    node_sync(&a, &b);
    node_touch(&c, "b", 1, true);
    for (struct node *n = &a; n != NULL; n = n == &a ? &b : n == &b ? &c : NULL) {
        assert_false(shadow_kept(n, "a", "from a"));
        assert_true(node_find(n, "a", &row));
        assert_string_equal(row.m.id, "b");
    }
    node_close(&a);
    node_close(&b);
    node_close(&c);
}

static void what_was_purged_elsewhere_is_not_archived_again(void **state)
{
    (void)state;
    struct node a, b;
    struct archived kept;
    node_open(&a, 1);
    node_open(&b, 2);
    node_store(&a, "m", "t", "text");
    node_sync(&b, &a);
    a.now_us += 8 * DAY_US;
    b.now_us += 8 * DAY_US;
    sweep(&a, "m");
    node_begin(&a);
    assert_int_equal(change_unarchive(&a.c, "m"), 0);
    node_commit(&a);
    node_sync(&b, &a);
    sweep(&b, "m");
    assert_false(archived(&b, "m", &kept));
    node_close(&a);
    node_close(&b);
}

/* ---- edits with a time of their own ------------------------------------------------------------------------------ */
static struct row import(struct node *n, const char *id, const char *content, const char *at)
{
    struct row before, after;
    struct memory m = kit_memory(id, "t", content);
    m.created_at = m.updated_at = at;
    bool known = node_find(n, id, &before);
    node_begin(n);
    assert_int_equal(change_memory_dated(&n->c, &m, known ? &before : NULL, &after), 0);
    node_commit(n);
    return after;
}

static void an_import_keeps_its_time_where_it_can(void **state)
{
    (void)state;
    struct node n;
    node_open(&n, 1);
    struct row row = import(&n, "m", "first", "2020-01-02T03:04:05Z");
    assert_string_equal(row.m.updated_at, "2020-01-02T03:04:05Z");
    uint64_t first = row.stamp.ver;
    row = import(&n, "m", "again", "2020-01-02T03:04:05Z"); /* comes in later: stands */
    assert_string_equal(row.m.content, "again");
    assert_string_equal(row.m.updated_at, "2020-01-02T03:04:05Z");
    assert_int_equal(row.stamp.ver, first + 1);
    row = import(&n, "m", "older", "2019-01-01T00:00:00Z");
    assert_string_equal(row.m.content, "older");
    assert_int_equal(row.stamp.ver, first + 2);
    assert_string_not_equal(row.m.updated_at, "2019-01-01T00:00:00Z");
    node_delete(&n, "m");
    row = import(&n, "m", "back", "2020-01-02T03:04:05Z"); /* beats the deletion, and says so */
    assert_true(stamp_us(row.stamp.ver) >= KIT_START);
    assert_string_not_equal(row.m.updated_at, "2020-01-02T03:04:05Z");
    row = import(&n, "m", "future", "2999-01-01T00:00:00Z");
    assert_true(stamp_us(row.stamp.ver) <= n.now_us + 61000000);
    node_close(&n);
}

/* ---- rows the original wrote ------------------------------------------------------------------------------------- */
static void the_counts_of_an_original_row_stay(void **state)
{
    (void)state;
    struct node n;
    struct row row;
    struct memory m = kit_memory("m", "t", "x");
    node_open(&n, 1);
    m.access_count = 7;
    m.created_at = m.updated_at = "2023-01-01T00:00:00Z";
    memstore_original(n.store, &m);
    node_touch(&n, "m", 2, true);
    assert_true(node_find(&n, "m", &row));
    assert_int_equal(row.m.access_count, 9);
    m.id = "e";
    m.title = "u";
    memstore_original(n.store, &m);
    node_store(&n, "e", "u", "edited");
    assert_true(node_find(&n, "e", &row));
    assert_int_equal(row.m.access_count, 7);
    node_touch(&n, "e", 1, true);
    assert_true(node_find(&n, "e", &row));
    assert_int_equal(row.m.access_count, 8);
    node_close(&n);
}

static bool removed(struct node *n, uint64_t node)
{
    bool ret;
    node_begin(n);
    assert_int_equal(change_member_removed(n->tx, node, &n->arena, &ret), 0);
    node_abort(n);
    return ret;
}

static void put_member(struct node *n, uint64_t node, enum member_state state)
{
    struct member m = { .node = node, .state = state, .url = "http://x" };
    node_begin(n);
    assert_int_equal(change_member(&n->c, &m), 0);
    node_commit(n);
}

/* Who has not heard of it takes the removed node for a new one, and says so later: it stays out. */
static void a_removal_stands_whoever_meets_the_node_later(void **state)
{
    (void)state;
    struct node a, b;
    struct member *m;
    size_t count;
    node_open(&a, 1);
    node_open(&b, 2);
    put_member(&a, 77, MEMBER_ACTIVE);
    node_sync(&b, &a);
    assert_false(removed(&b, 77));
    put_member(&a, 77, MEMBER_REMOVED);
    b.now_us += 5000000;
    put_member(&b, 77, MEMBER_ACTIVE);
    node_sync(&a, &b);
    node_sync(&b, &a);
    assert_true(removed(&a, 77));
    assert_true(removed(&b, 77));
    assert_false(removed(&a, 78)); /* never heard of */
    node_begin(&b);
    assert_int_equal(change_members(b.tx, &b.arena, &m, &count), 0);
    assert_int_equal(count, 1);
    assert_true(m->stamp.stream == a.c.origin.stream); /* the stamp of what removed it */
    node_abort(&b);
    node_close(&a);
    node_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(votes_of_two_nodes_join),
        cmocka_unit_test(votes_that_joined_are_found),
        cmocka_unit_test(what_is_done_as_of_a_moment_loses_to_what_came_after),
        cmocka_unit_test(what_was_carried_out_stands),
        cmocka_unit_test(bytes_of_another_form_are_held),
        cmocka_unit_test(a_copy_travels_and_leaves_everywhere),
        cmocka_unit_test(a_swept_row_leaves_a_copy_until_it_is_back),
        cmocka_unit_test(a_copy_of_a_sweep_goes_with_what_became_of_the_row),
        cmocka_unit_test(the_copy_of_a_sweep_outlives_what_is_made_anew),
        cmocka_unit_test(a_sweep_leaves_the_copy_that_all_have),
        cmocka_unit_test(a_replaced_text_taken_out_does_not_come_back),
        cmocka_unit_test(a_text_that_rests_is_in_the_archive),
        cmocka_unit_test(a_text_that_surfaces_leaves_the_archive),
        cmocka_unit_test(a_resting_text_taken_out_of_the_archive_stays_out),
        cmocka_unit_test(what_was_purged_elsewhere_is_not_archived_again),
        cmocka_unit_test(an_import_keeps_its_time_where_it_can),
        cmocka_unit_test(the_counts_of_an_original_row_stay),
        cmocka_unit_test(a_removal_stands_whoever_meets_the_node_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
