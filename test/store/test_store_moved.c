/* Files taken away under an open store: nothing is acknowledged that a restart would not find, and nothing
 * acknowledged is lost that could be saved. */
#include "store_kit.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

static const char *const names[] = { "memory.db", "memory.db-wal", "memory.db-shm", "memory.db-lock" };

static int begin(struct kit *k)
{
    k->err = (struct err){ 0 };
    return k->store->b->begin(k->writer, &k->tx, &k->err);
}

static void put(struct kit *k, const char *id)
{
    struct row r = kit_row(&k->arena, id, "ns", id, "some words", kit_ver(1));
    kit_ok(k->tx->v->put(k->tx, &r, NULL), k->tx->err);
}

static int commit(struct kit *k)
{
    k->err = (struct err){ 0 };
    return k->store->b->commit(k->writer, true, &k->err);
}

/* What a process does before it ends. */
static void last_upkeep(struct kit *k)
{
    assert_int_equal(k->store->b->upkeep(k->writer, false, true, &k->err), E_MOVED);
}

/* Something acknowledged lies in the log. */
static void one_written(struct kit *k)
{
    kit_ok(begin(k), &k->err);
    put(k, "before");
    kit_ok(commit(k), &k->err);
}

static void names_it(const struct kit *k, const char *name)
{
    assert_int_equal(k->err.code, E_MOVED);
    assert_non_null(strstr(k->err.msg, name));
}

static void copy(struct kit *k, const char *from, const char *to)
{
    struct buf b;
    kit_read_file(kit_path(k, from), &b);
    kit_write_file(kit_path(k, to), b.data, b.len);
    buf_release(&b);
}

static int64_t rows_in(struct kit *k, const char *name)
{
    return kit_raw(kit_path(k, name), "SELECT count(*) FROM memories");
}

static void no_write_begins_without_its_database(void **state)
{
    struct kit *k = *state;
    one_written(k);
    assert_int_equal(unlink(kit_path(k, names[0])), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(begin(k), E_MOVED);
        names_it(k, names[0]);
    }
    kit_write_file(kit_path(k, names[0]), "", 0); /* too late: what was open is gone */
    assert_int_equal(begin(k), E_MOVED);
}

static void a_renamed_database_is_left_whole(void **state)
{
    struct kit *k = *state;
    one_written(k);
    assert_int_equal(rename(kit_path(k, names[0]), kit_path(k, "away.db")), 0);
    assert_int_equal(begin(k), E_MOVED);
    last_upkeep(k);
    assert_int_equal(rows_in(k, "away.db"), 1); /* though its log has another name */
}

static void another_in_its_place_is_not_mixed_with_the_log(void **state)
{
    struct kit *k = *state;
    struct stat st;
    kit_ok(k->store->b->upkeep(k->writer, false, true, &k->err), &k->err);
    copy(k, names[0], "old.db"); /* empty tables */
    one_written(k);
    assert_int_equal(rename(kit_path(k, "old.db"), kit_path(k, names[0])), 0);
    assert_int_equal(begin(k), E_MOVED);
    names_it(k, names[0]);
    last_upkeep(k);
    assert_int_equal(stat(kit_path(k, names[1]), &st), 0);
    assert_int_equal(st.st_size, 0);
    kit_reopen(k);
    assert_int_equal(rows_in(k, names[0]), 0);
    one_written(k);
    assert_int_equal(rows_in(k, names[0]), 1);
}

static void an_emptied_database_is_noticed(void **state)
{
    struct kit *k = *state;
    one_written(k);
    assert_int_equal(truncate(kit_path(k, names[0]), 0), 0);
    assert_int_equal(begin(k), E_MOVED);
    names_it(k, names[0]);
}

static void a_commit_into_a_removed_file_is_none(void **state)
{
    struct kit *k = *state;
    kit_ok(begin(k), &k->err);
    put(k, "a");
    assert_int_equal(unlink(kit_path(k, names[0])), 0);
    assert_int_equal(commit(k), E_MOVED);
    names_it(k, names[0]);
}

static void a_removed_log_is_saved(void **state)
{
    struct kit *k = *state;
    one_written(k);
    assert_int_equal(unlink(kit_path(k, names[1])), 0);
    kit_ok(begin(k), &k->err);
    put(k, "after");
    assert_int_equal(commit(k), E_MOVED);
    names_it(k, names[1]);
    kit_reopen(k);
    assert_int_equal(rows_in(k, names[0]), 2);
}

/* Somebody else's log: his frames and ours must not meet. */
static void a_replaced_log_is_left_alone(void **state)
{
    struct kit *k = *state;
    struct buf before, after;
    kit_ok(k->store->b->upkeep(k->writer, false, true, &k->err), &k->err);
    one_written(k);
    kit_read_file(kit_path(k, names[0]), &before);
    copy(k, names[1], "other-wal");
    assert_int_equal(rename(kit_path(k, "other-wal"), kit_path(k, names[1])), 0);
    kit_ok(begin(k), &k->err);
    put(k, "after");
    assert_int_equal(commit(k), E_MOVED);
    last_upkeep(k);
    kit_read_file(kit_path(k, names[0]), &after);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);
    buf_release(&before);
    buf_release(&after);
}

static void upkeep_looks_at_all_of_them(void **state)
{
    struct kit *k = *state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        one_written(k);
        kit_ok(k->store->b->upkeep(k->writer, true, false, &k->err), &k->err);
        assert_int_equal(unlink(kit_path(k, names[i])), 0);
        assert_int_equal(k->store->b->upkeep(k->writer, false, true, &k->err), E_MOVED);
        names_it(k, names[i]);
        assert_int_equal(begin(k), E_MOVED);
        kit_reopen(k);
        assert_int_equal(rows_in(k, names[0]), i == 0 ? 0 : 1);
        kit_raw(kit_path(k, names[0]), "DELETE FROM memories");
        kit_reopen(k);
    }
}

/* What another program does with a log and an index of its own looks like damage from here. */
static void damage_is_told_from_another_file(void **state)
{
    struct kit *k = *state;
    one_written(k);
    assert_int_equal(unlink(kit_path(k, names[1])), 0);
    kit_raw(kit_path(k, names[0]), "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (zeroblob(100000))");
    int rc = begin(k);
    if (rc == 0) rc = commit(k);
    assert_int_equal(rc, E_MOVED);
}

static void a_command_waits_for_the_server_of_a_removed_file(void **state)
{
    struct kit *k = *state;
    struct store *s;
    char *path = kit_path(k, names[0]);
    one_written(k);
    assert_int_equal(unlink(path), 0);
    const struct sqlite_options o = { .busy_ms = 50 };
    assert_int_equal(sqlite_store_open(path, &o, &s, &k->err), E_LOCKED);
    assert_int_not_equal(access(path, F_OK), 0); /* nothing was made beside the server's log */
    kit_reopen(k);
    assert_int_equal(rows_in(k, names[0]), 0);
}

static const struct CMUnitTest tests[] = {
    KIT_TEST(no_write_begins_without_its_database),
    KIT_TEST(a_renamed_database_is_left_whole),
    KIT_TEST(another_in_its_place_is_not_mixed_with_the_log),
    KIT_TEST(an_emptied_database_is_noticed),
    KIT_TEST(a_commit_into_a_removed_file_is_none),
    KIT_TEST(a_removed_log_is_saved),
    KIT_TEST(a_replaced_log_is_left_alone),
    KIT_TEST(upkeep_looks_at_all_of_them),
    KIT_TEST(damage_is_told_from_another_file),
    KIT_TEST(a_command_waits_for_the_server_of_a_removed_file),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
