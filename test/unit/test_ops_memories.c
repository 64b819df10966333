/* Operations on memories, asked as doors ask, over a database file. */
#include "ops_rig.h"

#define HOUR INT64_C(3600000000)

static int64_t when(const json_t *m, const char *key)
{
    const char *text = text_of(m, key);
    int64_t us;
    assert_non_null(text);
    assert_int_equal(time_parse(text, strlen(text), &us), 0);
    return us;
}

static void near(int64_t us, int64_t expected)
{
    if (llabs(us - expected) > 60 * 1000000LL) fail_msg("%lld is not near %lld", (long long)us, (long long)expected);
}

static struct call *refused(const char *name, const char *args, int code)
{
    struct call *c = ask(name, args);
    if (c->status != code) fail_msg("%s %s: %d %s", name, args, c->status, c->err.msg);
    return c;
}

static struct call *with_id(enum door door, const char *agent, const char *name, const char *id, const char *more)
{
    char args[1200];
    snprintf(args, sizeof(args), "{\"id\":\"%s\"%s%s}", id, more[0] ? "," : "", more);
    return ask_as(door, agent, name, args);
}

static json_t *update(const char *id, const char *more)
{
    struct call *c = with_id(DOOR_HTTP, "alice", "update", id, more);
    if (c->status) fail_msg("%s: %s", more, c->err.msg);
    return json_object_get(c->reply.doc, "memory");
}

/* ---- create ------------------------------------------------------------------------------------------------------ */
static void a_new_memory(void **state)
{
    char id[37];
    (void)state;
    struct call *c = ask(
        "create",
        "{\"title\":\"first\",\"content\":\"body\",\"scope\":\"team\",\"metadata\":{\"k\":1,\"agent_id\":\"forged\"}}");
    assert_int_equal(c->status, 0);
    assert_true(c->pos.seq > 0);
    assert_string_equal(text_of(c->reply.doc, "namespace"), "global");
    assert_string_equal(text_of(c->reply.doc, "tier"), "mid");
    assert_string_equal(text_of(c->reply.doc, "agent_id"), "alice");
    assert_null(json_object_get(c->reply.doc, "duplicate"));
    json_t *m = stored(keep_id(id, c->reply.doc));
    assert_int_equal(int_of(m, "priority"), 5);
    assert_string_equal(text_of(m, "source"), "api");
    assert_string_equal(text_of(json_object_get(m, "metadata"), "agent_id"), "alice");
    assert_string_equal(text_of(json_object_get(m, "metadata"), "scope"), "team");
    assert_int_equal(int_of(json_object_get(m, "metadata"), "k"), 1);
    near(when(m, "expires_at"), clock_wall_us(NULL) + 168 * HOUR);
    near(when(m, "created_at"), clock_wall_us(NULL));
}

static void lifetimes(void **state)
{
    char id[37];
    (void)state;
    json_t *m = stored(keep_id(id, answer("create", "{\"title\":\"s\",\"content\":\"c\",\"tier\":\"short\"}")));
    near(when(m, "expires_at"), clock_wall_us(NULL) + 6 * HOUR);
    m = stored(keep_id(id, answer("create", "{\"title\":\"l\",\"content\":\"c\",\"tier\":\"long\"}")));
    assert_null(json_object_get(m, "expires_at"));
    m = stored(keep_id(id, answer("create", "{\"title\":\"lt\",\"content\":\"c\",\"tier\":\"long\",\"ttl_secs\":60}")));
    near(when(m, "expires_at"), clock_wall_us(NULL));
    m = stored(keep_id(
        id, answer("create",
                   "{\"title\":\"e\",\"content\":\"c\",\"ttl_secs\":9,\"expires_at\":\"2099-12-31T23:59:59Z\"}")));
    assert_string_equal(text_of(m, "expires_at"), "2099-12-31T23:59:59Z");
}

static void the_same_title_again(void **state)
{
    char id[37];
    (void)state;
    keep_id(id, answer("create",
                       "{\"title\":\"plan\",\"content\":\"first\",\"tags\":[\"one\"],\"priority\":7,\"confidence\":0.4,"
                       "\"source\":\"user\",\"metadata\":{\"keep\":\"no\"}}"));
    struct call *c = ask_as(DOOR_HTTP, "bob", "create",
                            "{\"title\":\"plan\",\"content\":\"second\",\"tier\":\"short\",\"tags\":[\"two\"],"
                            "\"priority\":3,\"confidence\":0.9,\"metadata\":{\"fresh\":true}}");
    assert_string_equal(text_of(c->reply.doc, "id"), id);
    assert_string_equal(text_of(c->reply.doc, "tier"), "mid");
    assert_string_equal(text_of(c->reply.doc, "agent_id"), "alice");
    assert_true(json_is_true(json_object_get(c->reply.doc, "duplicate")));
    assert_false(json_is_array(json_object_get(c->reply.doc, "potential_contradictions")));
    json_t *m = stored(id);
    assert_string_equal(text_of(m, "content"), "second");
    assert_string_equal(text_of(m, "source"), "api");
    assert_string_equal(json_string_value(json_array_get(json_object_get(m, "tags"), 0)), "two");
    assert_int_equal(int_of(m, "priority"), 7);
    assert_true(json_real_value(json_object_get(m, "confidence")) == 0.9);
    assert_null(json_object_get(json_object_get(m, "metadata"), "keep"));
    assert_string_equal(text_of(json_object_get(m, "metadata"), "agent_id"), "alice");
    (void)answer("create", "{\"title\":\"plan\",\"content\":\"third\",\"tier\":\"long\"}");
    (void)answer("create", "{\"title\":\"plan\",\"content\":\"fourth\",\"tier\":\"short\",\"ttl_secs\":60}");
    m = stored(id);
    assert_string_equal(text_of(m, "tier"), "long");
    assert_null(json_object_get(m, "expires_at"));
    assert_string_equal(text_of(m, "content"), "fourth");
}

static void the_same_title_by_mcp_replaces(void **state)
{
    char id[37];
    (void)state;
    struct call *c =
        ask_as(DOOR_MCP, "alice", "create",
               "{\"title\":\"editor\",\"content\":\"vim\",\"priority\":7,\"confidence\":0.9,\"source\":\"user\"}");
    keep_id(id, c->reply.doc);
    c = ask_as(DOOR_MCP, "alice", "create",
               "{\"title\":\"editor\",\"content\":\"emacs\",\"priority\":1,\"confidence\":0.2,\"source\":\"hook\"}");
    assert_string_equal(text_of(c->reply.doc, "id"), id);
    json_t *m = stored(id);
    assert_int_equal(int_of(m, "priority"), 1);
    assert_true(json_real_value(json_object_get(m, "confidence")) == 0.2);
    assert_string_equal(text_of(m, "source"), "user");
}

static void who_stores(void **state)
{
    (void)state;
    struct call *c = ask("create", "{\"title\":\"a1\",\"content\":\"c\",\"agent_id\":\"carol\"}");
    assert_string_equal(text_of(c->reply.doc, "agent_id"), "carol");
    c = ask_as(DOOR_MCP, "alice", "create",
               "{\"title\":\"a2\",\"content\":\"c\",\"metadata\":{\"agent_id\":\"dave\"}}");
    assert_string_equal(text_of(c->reply.doc, "agent_id"), "dave");
    c = ask_as(DOOR_MCP, "alice", "create", "{\"title\":\"a3\",\"content\":\"c\",\"metadata\":{\"scope\":\"public\"}}");
    assert_int_equal(c->status, E_INVALID);
    c = refused("create", "{\"title\":\"a4\",\"content\":\"c\",\"agent_id\":\"al ice\"}", E_INVALID);
    assert_memory_equal(c->err.msg, "invalid agent_id: ", 18);
}

static void reserved_namespaces(void **state)
{
    char id[37];
    (void)state;
    (void)refused("create", "{\"title\":\"agent:eve\",\"content\":\"forged\",\"namespace\":\"_agents\"}", E_DENIED);
    (void)refused("create", "{\"title\":\"x\",\"content\":\"forged\",\"namespace\":\"_messages/bob\"}", E_DENIED);
    (void)answer("create", "{\"title\":\"x\",\"content\":\"fine\",\"namespace\":\"_private\"}");
    keep_id(id, answer("create", "{\"title\":\"agent:eve\",\"content\":\"x\"}"));
    assert_int_equal(with_id(DOOR_HTTP, "alice", "update", id, "\"namespace\":\"_agents\"")->status, E_DENIED);
    json_t *doc = answer("bulk", "[{\"title\":\"agent:eve\",\"content\":\"x\",\"namespace\":\"_agents\"}]");
    assert_int_equal(int_of(doc, "created"), 0);
    assert_int_equal(json_array_size(json_object_get(doc, "errors")), 1);
}

static void metadata_keeps_room_for_the_stamp(void **state)
{
    char id[37], *args = malloc(70000), *fill = malloc(65529);
    (void)state;
    memset(fill, 'x', 65528);
    fill[65528] = '\0';
    snprintf(args, 70000, "{\"title\":\"meta\",\"content\":\"c\",\"metadata\":{\"k\":\"%s\"}}", fill);
    json_t *m = stored(keep_id(id, answer("create", args)));
    assert_string_equal(text_of(json_object_get(m, "metadata"), "agent_id"), "alice");
    snprintf(args, 70000, "{\"title\":\"meta\",\"content\":\"c\",\"metadata\":{\"kk\":\"%s\"}}", fill);
    (void)refused("create", args, E_INVALID);
    free(args);
    free(fill);
}

static void hints_name_memories_alike(void **state)
{
    char a[37], b[37];
    (void)state;
    keep_id(a, answer("create",
                      "{\"title\":\"database choice\",\"content\":\"we use PostgreSQL\",\"namespace\":\"arch\"}"));
    json_t *doc = answer("create", "{\"title\":\"database backup\",\"content\":\"nightly\",\"namespace\":\"arch\"}");
    keep_id(b, doc);
    json_t *hints = json_object_get(doc, "potential_contradictions");
    assert_int_equal(json_array_size(hints), 1);
    assert_string_equal(json_string_value(json_array_get(hints, 0)), a);
    hints = json_object_get(answer("create", "{\"title\":\"PostgreSQL\",\"content\":\"x\",\"namespace\":\"arch\"}"),
                            "potential_contradictions");
    assert_string_equal(json_string_value(json_array_get(hints, 0)), a);
    hints = json_object_get(
        answer("create", "{\"title\":\"database backup\",\"content\":\"weekly\",\"namespace\":\"arch\"}"),
        "potential_contradictions");
    assert_int_equal(json_array_size(hints), 1);
    assert_null(json_object_get(answer("create", "{\"title\":\"database\",\"content\":\"x\",\"namespace\":\"else\"}"),
                                "potential_contradictions"));
    for (int i = 0; i < 8; i++) {
        char args[120];
        snprintf(args, sizeof(args), "{\"title\":\"common word number%d\",\"content\":\"x\",\"namespace\":\"crowd\"}",
                 i);
        hints = json_object_get(answer("create", args), "potential_contradictions");
        assert_int_equal(json_array_size(hints), i < 5 ? i : 5);
    }
}

/* ---- bulk -------------------------------------------------------------------------------------------------------- */
static void bulk_in_slices(void **state)
{
    size_t size = 200 * 60, used = 1;
    char *text = malloc(size);
    (void)state;
    strcpy(text, "[");
    for (int i = 0; i < 150; i++)
        used +=
            (size_t)snprintf(text + used, size - used, "%s{\"title\":\"%s%d\",\"content\":\"c\",\"namespace\":\"b\"}",
                             i ? "," : "", i == 70 ? "  " : "row ", i);
    strcpy(text + used,
           ",{\"title\":\"\",\"content\":\"c\"},{\"title\":\"row 0\",\"content\":\"again\",\"namespace\":\"b\"}]");
    json_t *doc = answer("bulk", text);
    assert_int_equal(int_of(doc, "created"), 151);
    assert_int_equal(json_array_size(json_object_get(doc, "errors")), 1);
    assert_string_equal(json_string_value(json_array_get(json_object_get(doc, "errors"), 0)),
                        ": title cannot be empty");
    assert_int_equal(json_array_size(json_object_get(doc, "ids")), 151);
    json_t *results = json_object_get(doc, "results");
    assert_int_equal(json_array_size(results), 152);
    assert_string_equal(text_of(json_array_get(results, 151), "status"), "updated");
    assert_string_equal(text_of(json_array_get(results, 151), "id"), text_of(json_array_get(results, 0), "id"));
    assert_int_equal(int_of(answer("list", "{\"namespace\":\"b\"}"), "total"), 150);
    json_t *first = json_array_get(json_object_get(answer("list", "{\"namespace\":\"b\",\"limit\":1}"), "memories"), 0);
    assert_string_equal(text_of(json_object_get(first, "metadata"), "agent_id"), "alice");
    free(text);
}

static void bulk_of_nothing(void **state)
{
    (void)state;
    json_t *doc = answer("bulk", "[]");
    assert_int_equal(int_of(doc, "created"), 0);
    assert_int_equal(json_array_size(json_object_get(doc, "errors")), 0);
}

/* ---- get, update, delete, promote -------------------------------------------------------------------------------- */
static void finding_by_prefix(void **state)
{
    char id[37], prefix[10];
    (void)state;
    keep_id(id, answer("create", "{\"title\":\"find me\",\"content\":\"c\"}"));
    snprintf(prefix, sizeof(prefix), "%.8s", id);
    assert_string_equal(text_of(stored(prefix), "id"), id);
    assert_int_equal(with_id(DOOR_HTTP, "alice", "get", "zzzz", "")->status, E_NOT_FOUND);
    assert_string_equal(with_id(DOOR_MCP, "alice", "get", "zzzz", "")->err.msg, "memory not found");
    assert_int_equal(json_array_size(json_object_get(with_id(DOOR_HTTP, "alice", "get", id, "")->reply.doc, "links")),
                     0);
}

static void partial_updates(void **state)
{
    char a[37], b[37];
    (void)state;
    keep_id(a, answer("create", "{\"title\":\"u1\",\"content\":\"text\",\"tags\":[\"a\"],\"metadata\":{\"k\":\"v\"},"
                                "\"expires_at\":\"2099-01-01T00:00:00Z\"}"));
    keep_id(b, answer("create", "{\"title\":\"u2\",\"content\":\"other\"}"));
    int64_t before = when(stored(a), "updated_at");
    json_t *m = update(a, "");
    assert_true(when(m, "updated_at") > before);
    assert_string_equal(text_of(m, "content"), "text");
    m = update(a, "\"title\":\"renamed\",\"namespace\":\"moved/"
                  "here\",\"tags\":[\"b\",\"c\"],\"priority\":8,\"metadata\":{\"x\":1,\"agent_id\":\"forged\"}");
    assert_string_equal(text_of(m, "namespace"), "moved/here");
    assert_int_equal(json_array_size(json_object_get(m, "tags")), 2);
    assert_string_equal(text_of(json_object_get(m, "metadata"), "agent_id"), "alice");
    assert_null(json_object_get(json_object_get(m, "metadata"), "k"));
    assert_string_equal(text_of(update(a, "\"tier\":\"short\""), "tier"), "mid");
    assert_int_equal(int_of(update(a, "\"priority\":3"), "priority"), 3);
    assert_int_equal(json_array_size(json_object_get(update(a, "\"tags\":[]"), "tags")), 0);
    struct call *c = with_id(DOOR_HTTP, "alice", "update", b, "\"title\":\"renamed\",\"namespace\":\"moved/here\"");
    assert_int_equal(c->status, E_CONFLICT);
    char text[200];
    snprintf(text, sizeof(text), "title 'renamed' already exists in namespace 'moved/here' (memory %s)", a);
    assert_string_equal(c->err.msg, text);
    (void)update(b, "\"title\":\"u2\"");
    assert_int_equal(with_id(DOOR_HTTP, "alice", "update", "nope", "")->status, E_NOT_FOUND);
}

static void expiry_of_updates(void **state)
{
    char id[37];
    (void)state;
    keep_id(id, answer("create", "{\"title\":\"x1\",\"content\":\"c\",\"expires_at\":\"2099-01-01T00:00:00Z\"}"));
    assert_null(json_object_get(update(id, "\"expires_at\":null"), "expires_at"));
    assert_string_equal(text_of(update(id, "\"expires_at\":\"2098-01-01T00:00:00Z\""), "expires_at"),
                        "2098-01-01T00:00:00Z");
    assert_int_equal(with_id(DOOR_HTTP, "alice", "update", id, "\"expires_at\":\"\"")->status, E_INVALID);
    char args[80];
    snprintf(args, sizeof(args), "{\"id\":\"%s\",\"expires-at\":\"\"}", id);
    assert_int_equal(ask_as(DOOR_CLI, "alice", "update", args)->status, 0);
    assert_null(json_object_get(stored(id), "expires_at"));
    assert_string_equal(text_of(update(id, "\"expires_at\":\"2001-01-01T00:00:00Z\""), "expires_at"),
                        "2001-01-01T00:00:00Z");
    assert_int_equal(with_id(DOOR_MCP, "alice", "update", id, "\"expires_at\":\"\"")->status, E_INVALID);
    json_t *m = update(id, "\"tier\":\"long\"");
    assert_string_equal(text_of(m, "tier"), "long");
    assert_null(json_object_get(m, "expires_at"));
}

static void deleting(void **state)
{
    char id[37];
    (void)state;
    keep_id(id, answer("create", "{\"title\":\"to go\",\"content\":\"c\"}"));
    struct call *c = rig_call("delete", DOOR_HTTP, "b ad", "{}", &(int){ 0 });
    call_free(c);
    c = with_id(DOOR_HTTP, "alice", "delete", id, "");
    assert_true(json_is_true(json_object_get(c->reply.doc, "deleted")));
    assert_true(c->pos.seq > 0);
    assert_int_equal(with_id(DOOR_HTTP, "alice", "get", id, "")->status, E_NOT_FOUND);
    assert_int_equal(with_id(DOOR_HTTP, "alice", "delete", id, "")->status, E_NOT_FOUND);
}

static void an_unknown_id_beats_a_bad_caller(void **state)
{
    char id[37], args[80];
    int rc;
    (void)state;
    keep_id(id, answer("create", "{\"title\":\"stays\",\"content\":\"c\"}"));
    const char *ids[] = { "nope", id };
    int codes[] = { E_NOT_FOUND, E_INVALID };
    for (int i = 0; i < 2; i++) {
        snprintf(args, sizeof(args), "{\"id\":\"%s\"}", ids[i]);
        struct call *c = rig_call("delete", DOOR_HTTP, "b ad", args, &rc);
        assert_int_equal(rc, 0);
        c->caller.agent_error = "agent_id contains invalid character ' '";
        assert_int_equal(local_run(rig.l, c), codes[i]);
        call_free(c);
    }
}

static void promoting(void **state)
{
    char id[37], clone[37];
    (void)state;
    keep_id(
        id,
        answer(
            "create",
            "{\"title\":\"up\",\"content\":\"c\",\"tier\":\"short\",\"namespace\":\"acme/eng/api\",\"priority\":7}"));
    struct call *c = with_id(DOOR_MCP, "alice", "promote", id, "\"to_namespace\":\"acme\"");
    assert_int_equal(c->status, 0);
    snprintf(clone, sizeof(clone), "%s", text_of(c->reply.doc, "clone_id"));
    assert_string_equal(text_of(c->reply.doc, "source_id"), id);
    assert_string_equal(text_of(stored(clone), "namespace"), "acme");
    json_t *links = json_object_get(with_id(DOOR_HTTP, "alice", "get", id, "")->reply.doc, "links");
    assert_int_equal(json_array_size(links), 1);
    assert_string_equal(text_of(json_array_get(links, 0), "relation"), "derived_from");
    assert_string_equal(text_of(json_array_get(links, 0), "source_id"), clone);
    c = with_id(DOOR_MCP, "alice", "promote", id, "\"to_namespace\":\"acme\"");
    assert_string_equal(text_of(c->reply.doc, "clone_id"), clone);
    c = with_id(DOOR_MCP, "alice", "promote", id, "\"to_namespace\":\"acm\"");
    assert_int_equal(c->status, E_INVALID);
    assert_string_equal(c->err.msg, "to_namespace 'acm' is not an ancestor of 'acme/eng/api' (ancestors: "
                                    "[\"acme/eng/api\", \"acme/eng\", \"acme\"])");
    c = with_id(DOOR_HTTP, "alice", "promote", id, "");
    assert_string_equal(text_of(c->reply.doc, "tier"), "long");
    json_t *m = stored(id);
    assert_string_equal(text_of(m, "tier"), "long");
    assert_null(json_object_get(m, "expires_at"));
    assert_int_equal(int_of(m, "access_count"), 0);
}

static void a_database_that_is_gone(void **state)
{
    (void)state;
    (void)answer("create", "{\"title\":\"before\",\"content\":\"x\"}");
    assert_null(local_broken(rig.l));
    assert_int_equal(unlink(rig.path), 0);
    for (int i = 0; i < 2; i++) {
        struct call *c = ask("create", "{\"title\":\"after\",\"content\":\"x\"}");
        assert_int_equal(c->status, E_MOVED);
        assert_string_equal(c->outcome, "not_applied");
        assert_non_null(strstr(c->err.msg, rig.path));
        assert_non_null(local_broken(rig.l));
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_open, rig_close)
    const struct CMUnitTest tests[] = {
        TEST(a_new_memory),
        TEST(lifetimes),
        TEST(the_same_title_again),
        TEST(the_same_title_by_mcp_replaces),
        TEST(who_stores),
        TEST(reserved_namespaces),
        TEST(metadata_keeps_room_for_the_stamp),
        TEST(hints_name_memories_alike),
        TEST(bulk_in_slices),
        TEST(bulk_of_nothing),
        TEST(finding_by_prefix),
        TEST(partial_updates),
        TEST(expiry_of_updates),
        TEST(deleting),
        TEST(a_database_that_is_gone),
        TEST(an_unknown_id_beats_a_bad_caller),
        TEST(promoting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
