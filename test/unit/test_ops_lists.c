/* Lists, search, recall with its touches, counters, push and since. */
#include "ops_rig.h"

static json_t *list_of(const char *name, const char *args)
{
    json_t *doc = answer(name, args);
    json_t *list = json_object_get(doc, strcmp(name, "search") == 0 ? "results" : "memories");
    assert_int_equal(json_array_size(list), int_of(doc, "count"));
    return list;
}

/* Titles of the answer, joined by blanks. */
static const char *titles(const char *name, const char *args)
{
    static char text[2000];
    json_t *list = list_of(name, args);
    text[0] = '\0';
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (i) strcat(text, " ");
        strcat(text, text_of(json_array_get(list, i), "title"));
    }
    return text;
}

static void push(const char *more)
{
    char args[4000];
    snprintf(args, sizeof(args), "{\"sender_agent_id\":\"node-b\",\"memories\":[%s]}", more);
    json_t *doc = answer("sync_push", args);
    assert_int_equal(int_of(doc, "skipped"), 0);
}

#define ROW(id, tier, ns, title, tags, priority, month)                                                            \
    "{\"id\":\"" id "\",\"tier\":\"" tier "\",\"namespace\":\"" ns "\",\"title\":\"" title                         \
    "\",\"content\":\"content " title "\",\"tags\":[" tags "],\"priority\":" #priority                             \
    ",\"confidence\":1.0,\"source\":\"api\",\"access_count\":0,\"created_at\":\"2026-" month                       \
    "-01T00:00:00+00:00\",\"updated_at\":\"2026-" month "-01T00:00:00+00:00\",\"metadata\":{\"agent_id\":\"" title \
    "-agent\"}}"

static int fill(void **state)
{
    if (rig_open(state)) return -1;
    push(ROW("row-0", "short", "alpha", "r0", "\"x\"", 5, "01") "," ROW(
        "row-1", "mid", "beta", "r1", "\"x\",\"y\"", 5,
        "02") "," ROW("row-2", "long", "alpha/child", "r2", "\"y\"", 9,
                      "03") "," ROW("row-3", "short", "alpha", "r3", "", 1, "04") "," ROW("row-4", "mid", "beta", "r4",
                                                                                          "\"two words\"", 10, "05"));
    return 0;
}

static void filters(void **state)
{
    static const struct {
        const char *args, *titles;
    } cases[] = {
        { "{}", "r4 r2 r1 r0 r3" },
        { "{\"namespace\":\"alpha\"}", "r0 r3" },
        { "{\"namespace\":\"\"}", "" },
        { "{\"tier\":\"long\"}", "r2" },
        { "{\"min_priority\":\"9\"}", "r4 r2" },
        { "{\"min_priority\":\"-5\"}", "r4 r2 r1 r0 r3" },
        { "{\"tags\":\"x\"}", "r1 r0" },
        { "{\"tags\":\"x, y\"}", "r2 r1 r0" },
        { "{\"tags\":\"two words\"}", "r4" },
        { "{\"tags\":\"\"}", "" },
        { "{\"tags\":\"X\"}", "" },
        { "{\"agent_id\":\"r1-agent\"}", "r1" },
        { "{\"since\":\"2026-03-01T00:00:00Z\"}", "r4 r2 r3" },
        { "{\"until\":\"2026-03-01T00:00:00+00:00\"}", "r2 r1 r0" },
        { "{\"since\":\"2026-02-01\",\"until\":\"2026-05\"}", "r2 r1 r3" },
        { "{\"since\":\"nonsense\"}", "" },
        { "{\"until\":\"nonsense\"}", "r4 r2 r1 r0 r3" },
        { "{\"limit\":\"0\"}", "" },
        { "{\"limit\":\"2\",\"offset\":\"2\"}", "r1 r0" },
        { "{\"offset\":\"100\"}", "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *got = titles("list", cases[i].args);
        if (strcmp(got, cases[i].titles) != 0) fail_msg("%s: '%s'", cases[i].args, got);
    }
}

static void pages_by_cursor(void **state)
{
    char args[200], seen[100] = "";
    (void)state;
    strcpy(args, "{\"limit\":\"2\"}");
    for (int page = 0; page < 3; page++) {
        json_t *doc = answer("list", args);
        if (page == 0) assert_int_equal(int_of(doc, "total"), 5);
        for (size_t i = 0; i < (size_t)int_of(doc, "count"); i++)
            strcat(seen, text_of(json_array_get(json_object_get(doc, "memories"), i), "title"));
        const char *cursor = text_of(doc, "next_cursor");
        if (page == 2)
            assert_null(cursor);
        else
            snprintf(args, sizeof(args), "{\"limit\":\"2\",\"cursor\":\"%s\"}", cursor);
    }
    assert_string_equal(seen, "r4r2r1r0r3");
    assert_int_equal(ask("list", "{\"cursor\":\"what\"}")->status, E_INVALID);
}

static void searching(void **state)
{
    (void)state;
    assert_string_equal(titles("search", "{\"q\":\"content r2\"}"), "r2");
    assert_int_equal(json_array_size(list_of("search", "{\"q\":\"content\"}")), 5);
    assert_string_equal(titles("search", "{\"q\":\"content nothing\"}"), "");
    assert_string_equal(titles("search", "{\"q\":\"content\",\"namespace\":\"beta\",\"limit\":\"1\"}"), "r4");
    assert_int_equal(int_of(stored("row-2"), "access_count"), 0);
}

static void recalling_touches(void **state)
{
    (void)state;
    json_t *list = list_of("recall", "{\"context\":\"r2 unknown\"}");
    assert_int_equal(json_array_size(list), 1);
    assert_int_equal(int_of(json_array_get(list, 0), "access_count"), 0);
    assert_true(json_real_value(json_object_get(json_array_get(list, 0), "score")) > 0);
    json_t *m = stored("row-2");
    assert_int_equal(int_of(m, "access_count"), 1);
    assert_non_null(text_of(m, "last_accessed_at"));
    (void)list_of("recall", "{\"context\":\"r2\"}");
    assert_int_equal(int_of(stored("row-2"), "access_count"), 2);
    int rc;
    struct call *c = rig_call("recall", DOOR_HTTP, "alice", "{\"context\":\"r2\"}", &rc);
    c->no_touch = true;
    assert_int_equal(local_run(rig.l, c), 0);
    assert_int_equal(int_of(c->reply.doc, "count"), 1);
    call_free(c);
    assert_int_equal(int_of(stored("row-2"), "access_count"), 2);
}

static void recalling_within_a_budget(void **state)
{
    (void)state;
    json_t *doc = answer("recall", "{\"context\":\"content\",\"budget_tokens\":0}");
    assert_int_equal(int_of(doc, "count"), 0);
    assert_int_equal(int_of(doc, "budget_tokens"), 0);
    doc = answer("recall", "{\"context\":\"content\",\"budget_tokens\":6}");
    assert_int_equal(int_of(doc, "count"), 2);
    assert_int_equal(int_of(doc, "tokens_used"), 6);
    assert_string_equal(text_of(doc, "mode"), "keyword");
    assert_int_equal(int_of(answer("recall", "{\"context\":\"content\",\"limit\":0}"), "count"), 0);
    assert_string_equal(titles("recall", "{\"context\":\"content\",\"namespace\":\"alpha/child\"}"), "r2 r0 r3");
}

static void counters(void **state)
{
    (void)state;
    json_t *list = json_object_get(answer("namespaces", "{}"), "namespaces");
    assert_int_equal(json_array_size(list), 3);
    assert_string_equal(text_of(json_array_get(list, 0), "namespace"), "alpha");
    assert_int_equal(int_of(json_array_get(list, 0), "count"), 2);
    json_t *doc = answer("stats", "{}");
    assert_int_equal(int_of(doc, "total"), 5);
    assert_int_equal(json_array_size(json_object_get(doc, "by_tier")), 3);
    assert_true(int_of(doc, "db_size_bytes") > 0);
}

/* ---- push -------------------------------------------------------------------------------------------------------- */
static void tally(json_t *doc, long long applied, long long noop, long long skipped)
{
    assert_int_equal(int_of(doc, "applied"), applied);
    assert_int_equal(int_of(doc, "noop"), noop);
    assert_int_equal(int_of(doc, "skipped"), skipped);
}

static const char *seen_by(json_t *doc, const char *peer)
{
    return text_of(json_object_get(json_object_get(doc, "receiver_clock"), "entries"), peer);
}

#define PUSH(rows) "{\"sender_agent_id\":\"node-q\",\"memories\":[" rows "]}"

static void pushing(void **state)
{
    (void)state;
    json_t *doc = answer("sync_push", PUSH(ROW("p-1", "mid", "n", "one", "", 5, "02")));
    tally(doc, 1, 0, 0);
    assert_string_equal(text_of(doc, "receiver_agent_id"), "alice");
    assert_string_equal(seen_by(doc, "node-q"), "2026-02-01T00:00:00+00:00");
    assert_string_equal(text_of(stored("p-1"), "updated_at"), "2026-02-01T00:00:00+00:00");
    tally(answer("sync_push", PUSH(ROW("p-1", "mid", "n", "one", "", 5, "02"))), 0, 1, 0);
    doc = answer("sync_push",
                 PUSH(ROW("p-2", "mid", "n", "bad", "", 99, "09") "," ROW("p-3", "mid", "n", "good", "", 5, "01")));
    tally(doc, 1, 0, 1);
    assert_string_equal(seen_by(doc, "node-q"), "2026-02-01T00:00:00+00:00");
    assert_string_equal(text_of(json_array_get(json_object_get(doc, "results"), 0), "result"), "skipped");
    assert_string_equal(json_string_value(json_array_get(json_object_get(doc, "ids"), 0)), "p-3");
    tally(answer("sync_push", "{\"sender_agent_id\":\"node-b\",\"dry_run\":true,\"memories\":[" ROW(
                                  "p-4", "mid", "n", "dry", "", 5, "09") "]}"),
          0, 1, 0);
    assert_int_equal(ask("get", "{\"id\":\"p-4\"}")->status, E_NOT_FOUND);
    doc = answer("sync_push", "{\"sender_agent_id\":\"node-b\",\"memories\":[],\"deletions\":[\"p-1\",\"p-9\"]}");
    assert_int_equal(int_of(doc, "deleted"), 1);
    assert_int_equal(int_of(doc, "noop"), 1);
    assert_int_equal(ask("get", "{\"id\":\"p-1\"}")->status, E_NOT_FOUND);
}

static void receivers(void **state)
{
    int rc;
    (void)state;
    struct call *c = rig_call("sync_push", DOOR_HTTP, "anonymous:req-1", PUSH(""), &rc);
    c->caller.anonymous = true;
    assert_int_equal(local_run(rig.l, c), 0);
    assert_memory_equal(text_of(c->reply.doc, "receiver_agent_id"), "node:", 5);
    assert_true(c->reply.no_quorum);
    call_free(c);
    c = rig_call("sync_push", DOOR_HTTP, "b ad", PUSH(""), &rc);
    c->caller.agent_error = "agent_id contains invalid character ' '";
    assert_int_equal(local_run(rig.l, c), E_INVALID);
    assert_memory_equal(c->err.msg, "invalid x-agent-id: ", 20);
    call_free(c);
}

static void reading_since(void **state)
{
    (void)state;
    assert_string_equal(titles("sync_since", "{}"), "r0 r1 r2 r3 r4");
    assert_string_equal(titles("sync_since", "{\"since\":\"2026-02-01T00:00:00Z\",\"limit\":\"1\"}"), "r2");
    json_t *doc = answer("sync_since", "{\"limit\":\"2\",\"peer\":\"node-z\"}");
    assert_string_equal(text_of(doc, "next_id"), "row-1");
    doc = answer("sync_push", PUSH(""));
    assert_string_equal(seen_by(doc, "node-z"), "2026-02-01T00:00:00+00:00");
    assert_int_equal(int_of(answer("sync_since", "{\"limit\":\"0\"}"), "limit"), 0);
    assert_int_equal(int_of(answer("sync_since", "{\"limit\":\"1000000\"}"), "limit"), 10000);
}

static void a_page_never_ends_within_a_moment(void **state)
{
    (void)state;
    push(ROW("s-1", "mid", "s", "s1", "", 5, "06") "," ROW("s-2", "mid", "s", "s2", "", 5,
                                                           "06") "," ROW("s-3", "mid", "s", "s3", "", 5, "06"));
    assert_string_equal(titles("sync_since", "{\"since\":\"2026-05-01T00:00:00Z\",\"limit\":\"1\"}"), "s1 s2 s3");
    assert_string_equal(
        titles("sync_since", "{\"since\":\"2026-06-01T00:00:00Z\",\"after_id\":\"s-1\",\"limit\":\"1\"}"), "s2");
}

int main(void)
{
#undef TEST
#define TEST(f) cmocka_unit_test_setup_teardown(f, fill, rig_close)
    const struct CMUnitTest tests[] = {
        TEST(filters),
        TEST(pages_by_cursor),
        TEST(searching),
        TEST(recalling_touches),
        TEST(recalling_within_a_budget),
        TEST(counters),
        TEST(pushing),
        TEST(receivers),
        TEST(reading_since),
        TEST(a_page_never_ends_within_a_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
