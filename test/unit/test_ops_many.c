/* What moves many memories at once: forget, the sweep, consolidate, export and import. */
#include "ops_rig.h"

#include "ops/beside.h"

static void store_many(const char *ns, const char *content, int count)
{
    for (int i = 0; i < count; i++) {
        char args[200];
        snprintf(args, sizeof(args), "{\"title\":\"%s %d\",\"content\":\"%s\",\"namespace\":\"%s\"}", ns, i, content,
                 ns);
        (void)answer("create", args);
    }
}

static long long total(void)
{
    return int_of(answer("stats", "{}"), "total");
}

/* ---- forget ------------------------------------------------------------------------------------------------------ */
static void every_filter_and_every_word_must_fit(void **state)
{
    (void)state;
    store_many("a", "red apple", 2);
    store_many("b", "red pear", 1);
    assert_int_equal(ask("forget", "{}")->status, E_INVALID);
    assert_int_equal(ask("forget", "{\"pattern\":\"***\"}")->status, E_INVALID);
    assert_int_equal(ask("forget", "{\"namespace\":\"a\",\"tier\":\"shrot\"}")->status, E_TYPE);
    assert_int_equal(int_of(answer("forget", "{\"pattern\":\"red grape\"}"), "deleted"), 0);
    assert_int_equal(int_of(answer("forget", "{\"pattern\":\"red\",\"dry_run\":true}"), "would_delete"), 3);
    assert_int_equal(rig.last->pos.seq, 0);
    assert_int_equal(int_of(answer("forget", "{\"pattern\":\"red\",\"namespace\":\"b\"}"), "deleted"), 1);
    assert_int_equal(int_of(answer("forget", "{\"pattern\":\"red apple\",\"tier\":\"long\"}"), "deleted"), 0);
    assert_int_equal(int_of(answer("forget", "{\"namespace\":\"\"}"), "deleted"), 0);
    assert_int_equal(int_of(answer("forget", "{\"pattern\":\"apple\",\"tier\":\"mid\"}"), "deleted"), 2);
    assert_int_equal(total(), 0);
}

static void many_leave_in_slices(void **state)
{
    (void)state;
    store_many("a", "plain words", 150);
    store_many("b", "plain words", 5);
    assert_int_equal(int_of(answer("forget", "{\"namespace\":\"a\"}"), "deleted"), 150);
    assert_int_equal(total(), 5);
    store_many("c", "other words", 150);
    assert_int_equal(int_of(answer("forget", "{\"pattern\":\"other words\"}"), "deleted"), 150);
    assert_int_equal(total(), 5);
    assert_int_equal(int_of(answer("archive_stats", "{}"), "archived_total"), 300);
}

static void forgetting_is_governed(void **state)
{
    (void)state;
    (void)answer("standard_set", "{\"namespace\":\"mine\",\"governance\":{\"write\":\"any\",\"promote\":\"any\","
                                 "\"delete\":\"owner\",\"approver\":\"human\"}}");
    store_many("mine", "x", 2); /* alice's */
    assert_int_equal(
        ask_as(DOOR_HTTP, "bob", "create", "{\"title\":\"bob's\",\"content\":\"x\",\"namespace\":\"mine\"}")->status,
        0);
    struct call *c = ask_as(DOOR_HTTP, "eve", "forget", "{\"namespace\":\"mine\"}");
    assert_int_equal(c->status, E_DENIED);
    c = ask_as(DOOR_HTTP, "bob", "forget", "{\"namespace\":\"mine\"}");
    assert_int_equal(int_of(c->reply.doc, "deleted"), 1);
    assert_int_equal(int_of(c->reply.doc, "denied"), 3); /* alice's two, and the standard */
}

/* ---- the sweep --------------------------------------------------------------------------------------------------- */
static void store_expired(const char *id, const char *title)
{
    char args[600];
    snprintf(args, sizeof(args),
             "{\"memories\":[{\"id\":\"%s\",\"tier\":\"mid\",\"namespace\":\"n\",\"title\":\"%s\",\"content\":\"c\","
             "\"tags\":[],\"priority\":5,\"confidence\":1.0,\"source\":\"api\",\"access_count\":0,"
             "\"created_at\":\"2026-01-01T00:00:00Z\",\"updated_at\":\"2026-01-01T00:00:00Z\","
             "\"expires_at\":\"2026-01-02T00:00:00Z\"}]}",
             id, title);
    assert_int_equal(int_of(answer("import", args), "imported"), 1);
}

static void expired_rows_are_swept_without_an_op(void **state)
{
    (void)state;
    store_many("n", "x", 1);
    for (int i = 0; i < 70; i++) {
        char id[20], title[20];
        snprintf(id, sizeof(id), "e-%d", i);
        snprintf(title, sizeof(title), "gone %d", i);
        store_expired(id, title);
    }
    assert_int_equal(int_of(ask_as(DOOR_MCP, "alice", "gc", "{\"dry_run\":true}")->reply.doc, "collected"), 70);
    assert_int_equal(total(), 71);
    struct call *c = ask("gc", "{}");
    assert_int_equal(int_of(c->reply.doc, "expired_deleted"), 70);
    assert_int_equal(c->pos.seq, 0);
    assert_int_equal(total(), 1);
    assert_int_equal(int_of(answer("archive_stats", "{}"), "archived_total"), 70);
    assert_int_equal(int_of(answer("gc", "{}"), "expired_deleted"), 0);
}

/* ---- consolidate ------------------------------------------------------------------------------------------------- */
static struct call *merge(const char *a, const char *b, const char *title, const char *more)
{
    char args[400];
    snprintf(args, sizeof(args), "{\"ids\":[\"%s\",\"%s\"],\"title\":\"%s\",\"summary\":\"both\"%s}", a, b, title,
             more);
    return ask_as(DOOR_HTTP, "dave", "consolidate", args);
}

static void several_become_one(void **state)
{
    char a[37], b[37], m[37];
    (void)state;
    keep_id(a, answer("create", "{\"title\":\"a\",\"content\":\"x\",\"tags\":[\"z\",\"b\"],\"priority\":7,"
                                "\"metadata\":{\"k\":1,\"only\":1,\"governance\":5}}"));
    keep_id(b, ask_as(DOOR_HTTP, "bob", "create",
                      "{\"title\":\"b\",\"content\":\"y\",\"tags\":[\"b\"],\"metadata\":{\"k\":2}}")
                   ->reply.doc);
    struct call *c = merge(a, b, "a", ",\"tier\":\"short\""); /* the title of a source is free */
    assert_int_equal(c->status, 0);
    keep_id(m, c->reply.doc);
    json_t *row = stored(m), *metadata = json_object_get(row, "metadata");
    assert_int_equal(int_of(row, "priority"), 7);
    assert_int_equal(json_array_size(json_object_get(row, "tags")), 2);
    assert_string_equal(json_string_value(json_array_get(json_object_get(row, "tags"), 0)), "b");
    assert_int_equal(int_of(metadata, "k"), 2);
    assert_int_equal(int_of(metadata, "only"), 1);
    assert_null(json_object_get(metadata, "governance")); /* a policy is not inherited */
    assert_string_equal(text_of(metadata, "agent_id"), "dave");
    assert_int_equal(json_array_size(json_object_get(metadata, "derived_from")), 2);
    assert_int_equal(json_array_size(json_object_get(metadata, "consolidated_from_agents")), 2);
    assert_non_null(text_of(row, "expires_at")); /* the tier's lifetime */
    assert_int_equal(total(), 1);
    assert_int_equal(int_of(answer("archive_stats", "{}"), "archived_total"), 2);
}

static void nothing_changes_when_it_cannot_be(void **state)
{
    char a[37], b[37], taken[37];
    (void)state;
    keep_id(a, answer("create", "{\"title\":\"a\",\"content\":\"x\"}"));
    keep_id(b, answer("create", "{\"title\":\"b\",\"content\":\"y\"}"));
    keep_id(taken, answer("create", "{\"title\":\"taken\",\"content\":\"z\"}"));
    assert_int_equal(merge(a, "nope", "m", "")->status, E_NOT_FOUND);
    assert_int_equal(merge(a, a, "m", "")->status, E_INVALID);
    assert_int_equal(merge(a, b, "taken", "")->status, E_CONFLICT);
    assert_int_equal(merge(a, b, "m", ",\"namespace\":\"_agents\"")->status, E_DENIED);
    assert_int_equal(total(), 3);
    assert_int_equal(int_of(answer("archive_stats", "{}"), "archived_total"), 0);
}

/* ---- export, import ---------------------------------------------------------------------------------------------- */
static char *printed(const json_t *doc)
{
    struct buf b;
    buf_init(&b, 1u << 24);
    json_print(&b, doc);
    return buf_take(&b, NULL);
}

static void an_export_comes_in_again(void **state)
{
    char first[37], second[37], args[200];
    (void)state;
    keep_id(first, answer("create", "{\"title\":\"one\",\"content\":\"x\",\"metadata\":{\"k\":1}}"));
    keep_id(second, answer("create", "{\"title\":\"two\",\"content\":\"y\",\"tier\":\"long\"}"));
    snprintf(args, sizeof(args), "{\"source_id\":\"%s\",\"target_id\":\"%s\"}", second, first);
    (void)answer("link", args);
    (void)answer("agent_register", "{\"agent_id\":\"bot\",\"agent_type\":\"human\"}");
    char *dump = printed(answer("export", "{}")), *before = printed(stored(first));
    struct rig here = rig;
    void *none = NULL;
    assert_int_equal(rig_open(&none), 0); /* into another file */
    assert_int_equal(int_of(answer("import", dump), "imported"), 3);
    char *after = printed(stored(first));
    assert_string_equal(after, before);
    snprintf(args, sizeof(args), "{\"id\":\"%s\"}", first);
    assert_int_equal(int_of(answer("links", args), "count"), 1);
    assert_int_equal(int_of(answer("agents", "{}"), "count"), 1);
    char *again = printed(json_object_get(answer("export", "{}"), "memories"));
    assert_non_null(strstr(dump, again)); /* the same list */
    (void)rig_close(&none);
    rig = here;
    rig.last = NULL;
    mem_free(dump);
    mem_free(before);
    mem_free(after);
    mem_free(again);
}

static void pages_hold_all_and_links_once(void **state)
{
    char id[7][37], cursor[200] = "";
    long long memories = 0, links = 0;
    int pages = 0;
    (void)state;
    for (int i = 0; i < 7; i++) {
        char args[1024];
        snprintf(args, sizeof(args), "{\"title\":\"t%d\",\"content\":\"x\"}", i);
        keep_id(id[i], answer("create", args));
        if (i == 0) continue;
        snprintf(args, sizeof(args), "{\"source_id\":\"%s\",\"target_id\":\"%s\"}", id[i % 2 ? i : 0],
                 id[i % 2 ? 0 : i]);
        (void)answer("link", args);
    }
    do {
        char args[1024];
        snprintf(args, sizeof(args), "{\"limit\":2,\"cursor\":\"%s\"}", cursor);
        json_t *doc = answer("export", args);
        memories += int_of(doc, "count");
        links += (long long)json_array_size(json_object_get(doc, "links"));
        snprintf(cursor, sizeof(cursor), "%s", text_of(doc, "next_cursor") ? text_of(doc, "next_cursor") : "");
        pages++;
    } while (cursor[0]);
    assert_int_equal(pages, 4);
    assert_int_equal(memories, 7);
    assert_int_equal(links, 6);
    assert_int_equal(ask("export", "{\"cursor\":\"nonsense\"}")->status, E_INVALID);
}

static void a_command_says_who_imported(void **state)
{
    static const char doc[] =
        "{\"memories\":[{\"id\":\"m\",\"tier\":\"long\",\"namespace\":\"n\",\"title\":\"t\",\"content\":\"c\","
        "\"tags\":[],\"priority\":5,\"confidence\":1.0,\"source\":\"api\",\"access_count\":3,"
        "\"created_at\":\"2026-01-01T00:00:00Z\",\"updated_at\":\"2026-01-01T00:00:00Z\","
        "\"metadata\":{\"agent_id\":\"carol\"}}]}";
    (void)state;
    struct call *c = call_new(op_by_name("import")); /* from standard input */
    c->caller = (struct caller){ .door = DOOR_CLI, .agent_id = "dave", .default_ns = "global" };
    c->body = json_parse(doc, strlen(doc), NULL, 0, NULL);
    assert_int_equal(args_from_json(c->op->args, DOOR_CLI, c->body, &c->arena, c->args, &c->err), 0);
    assert_int_equal(local_run(rig.l, c), 0);
    assert_int_equal(int_of(c->reply.doc, "restamped"), 1);
    call_free(c);
    json_t *metadata = json_object_get(stored("m"), "metadata");
    assert_string_equal(text_of(metadata, "agent_id"), "dave");
    assert_string_equal(text_of(metadata, "imported_from_agent_id"), "carol");
    assert_int_equal(int_of(stored("m"), "access_count"), 3);
}

static void registrations_keep_their_form(void **state)
{
    static const char doc[] =
        "{\"memories\":[{\"id\":\"m\",\"tier\":\"long\",\"namespace\":\"_agents\",\"title\":\"agent:eve\","
        "\"content\":\"c\",\"tags\":[],\"priority\":5,\"confidence\":1.0,\"source\":\"api\",\"access_count\":0,"
        "\"created_at\":\"2026-01-01T00:00:00Z\",\"updated_at\":\"2026-01-01T00:00:00Z\","
        "\"metadata\":{\"agent_id\":\"eve\"}}]}";
    (void)state;
    json_t *r = answer("import", doc);
    assert_int_equal(int_of(r, "imported"), 0);
    assert_int_equal(json_array_size(json_object_get(r, "errors")), 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_open, rig_close)
    const struct CMUnitTest tests[] = {
        TEST(every_filter_and_every_word_must_fit),
        TEST(many_leave_in_slices),
        TEST(forgetting_is_governed),
        TEST(expired_rows_are_swept_without_an_op),
        TEST(several_become_one),
        TEST(nothing_changes_when_it_cannot_be),
        TEST(an_export_comes_in_again),
        TEST(pages_hold_all_and_links_once),
        TEST(a_command_says_who_imported),
        TEST(registrations_keep_their_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
