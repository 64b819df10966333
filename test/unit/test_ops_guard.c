/* Governance: policies of a namespace's standard, who may do what, what waits for approval. */
#include "ops_rig.h"

#include "ops/table.h"
#include "store/change.h"

/* No door sets a standard here: an operation of the test's own does. */
static int set_standard(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct id_args *a = args;
    struct row row;
    int rc = memory_find(c, &a->id, false, &row);
    if (rc == 0) rc = change_standard(c->change, row.m.ns, row.m.id, NULL);
    return rc ? rc : reply_set(r, "{}");
}
static const struct op standard_op = {
    .name = "set_standard",
    .doc = "Set",
    .effect = OP_WRITE,
    .args = id_arg,
    .args_size = sizeof(struct id_args),
    .run = set_standard,
};

static const char *govern(const char *ns, const char *policy)
{
    static char id[37];
    char args[600];
    snprintf(args, sizeof(args),
             "{\"title\":\"rules of "
             "%s\",\"content\":\"rules\",\"namespace\":\"%s\",\"tier\":\"long\",\"agent_id\":\"owner\","
             "\"metadata\":{\"governance\":%s}}",
             ns, ns, policy);
    keep_id(id, answer("create", args));
    struct call *c = call_new(&standard_op);
    c->caller = (struct caller){ .door = DOOR_HTTP, .agent_id = "owner" };
    assert_int_equal(args_from_text(id_arg, 0, DOOR_HTTP, id, strlen(id), &c->arena, c->args, &c->err), 0);
    assert_int_equal(local_run(rig.l, c), 0);
    call_free(c);
    return id;
}

static struct call *store(const char *agent, const char *ns, const char *title)
{
    char args[200];
    snprintf(args, sizeof(args), "{\"title\":\"%s\",\"content\":\"x\",\"namespace\":\"%s\"}", title, ns);
    return ask_as(DOOR_HTTP, agent, "create", args);
}

static struct call *on(const char *name, const char *agent, const char *id)
{
    char args[100];
    snprintf(args, sizeof(args), "{\"id\":\"%s\"}", id);
    return ask_as(DOOR_HTTP, agent, name, args);
}

static void denied(struct call *c, const char *text)
{
    assert_int_equal(c->status, E_DENIED);
    assert_string_equal(c->err.msg, text);
}

#define POLICY(level) \
    "{\"write\":\"" level "\",\"promote\":\"" level "\",\"delete\":\"" level "\",\"approver\":\"human\"}"

static void owners(void **state)
{
    char id[37];
    (void)state;
    (void)govern("mine", POLICY("owner"));
    denied(store("alice", "mine", "a"),
           "store denied by governance: governance: caller 'alice' is not the owner ('owner')");
    keep_id(id, store("owner", "mine", "b")->reply.doc);
    denied(on("delete", "alice", id),
           "delete denied by governance: governance: caller 'alice' is not the owner ('owner')");
    denied(on("promote", "alice", id),
           "promote denied by governance: governance: caller 'alice' is not the owner ('owner')");
    denied(on("update", "alice", id),
           "update denied by governance: governance: caller 'alice' is not the owner ('owner')");
    assert_int_equal(on("promote", "owner", id)->status, 0);
    assert_int_equal(on("delete", "owner", id)->status, 0);
    assert_int_equal(store("alice", "mine/child", "free")->status, 0);
}

static void bulk_is_governed(void **state)
{
    (void)state;
    (void)govern("mine", POLICY("owner"));
    json_t *doc = answer(
        "bulk", "[{\"title\":\"x\",\"content\":\"c\",\"namespace\":\"mine\"},{\"title\":\"y\",\"content\":\"c\"}]");
    assert_int_equal(int_of(doc, "created"), 1);
    assert_string_equal(json_string_value(json_array_get(json_object_get(doc, "errors"), 0)),
                        "x: store denied by governance: governance: caller 'alice' is not the owner ('owner')");
}

static void registered_agents(void **state)
{
    (void)state;
    (void)govern("club", POLICY("any"));
    assert_int_equal(store("bob", "club", "fine")->status, 0);
    (void)govern("club2", POLICY("registered"));
    denied(store("bob", "club2", "a"),
           "store denied by governance: governance: caller 'bob' is not a registered agent");
    (void)answer("sync_push", "{\"sender_agent_id\":\"b\",\"memories\":[{\"id\":\"reg\",\"tier\":\"long\","
                              "\"namespace\":\"_agents\",\"title\":\"agent:bob\",\"content\":\"c\","
                              "\"tags\":[],\"priority\":5,\"confidence\":1.0,\"source\":\"system\",\"access_count\":0,"
                              "\"created_at\":\"2026-01-01T00:00:00Z\","
                              "\"updated_at\":\"2026-01-01T00:00:00Z\"}]}");
    assert_int_equal(store("bob", "club2", "a")->status, 0);
}

static void unreadable_policies_deny(void **state)
{
    static const char *const policies[] = {
        "5", "{}", "{\"write\":\"any\"}",
        "{\"write\":\"all\",\"promote\":\"any\",\"delete\":\"any\",\"approver\":\"human\"}",
        "{\"write\":\"any\",\"promote\":\"any\",\"delete\":\"any\",\"approver\":\"robot\"}"
    };
    (void)state;
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        char ns[10];
        snprintf(ns, sizeof(ns), "odd%zu", i);
        (void)govern(ns, policies[i]);
        assert_int_equal(store("owner", ns, "a")->status, E_DENIED);
    }
}

static void what_needs_approval_waits(void **state)
{
    char id[37], pending[37];
    (void)state;
    keep_id(id, store("alice", "gate", "there before")->reply.doc);
    (void)govern("gate", POLICY("approve"));
    struct call *c = store("alice", "gate", "later");
    assert_int_equal(c->status, 0);
    assert_int_equal(c->reply.status, 202);
    assert_true(c->pos.seq > 0);
    assert_string_equal(text_of(c->reply.doc, "status"), "pending");
    assert_string_equal(text_of(c->reply.doc, "action"), "store");
    assert_string_equal(text_of(c->reply.doc, "namespace"), "gate");
    snprintf(pending, sizeof(pending), "%s", text_of(c->reply.doc, "pending_id"));
    assert_int_equal(strlen(pending), 36);
    assert_int_equal(int_of(answer("list", "{\"namespace\":\"gate\"}"), "count"), 2);
    c = on("delete", "alice", id);
    assert_int_equal(c->reply.status, 202);
    assert_string_equal(text_of(c->reply.doc, "memory_id"), id);
    (void)stored(id);
    assert_int_equal(on("promote", "alice", id)->reply.status, 202);
    assert_int_equal(on("update", "alice", id)->status, E_DENIED);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_open, rig_close)
    const struct CMUnitTest tests[] = {
        TEST(owners),
        TEST(bulk_is_governed),
        TEST(registered_agents),
        TEST(unreadable_policies_deny),
        TEST(what_needs_approval_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
