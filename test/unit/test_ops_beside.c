/* Links, standards and policies, what waits for a decision, registered agents, the archive. */
#include "ops_rig.h"

#include "ops/beside.h"

static const char *make(char id[37], const char *title, const char *ns)
{
    char args[200];
    snprintf(args, sizeof(args), "{\"title\":\"%s\",\"content\":\"text of %s\",\"namespace\":\"%s\"}", title, title,
             ns);
    return keep_id(id, answer("create", args));
}

static struct call *ask_on(const char *name, const char *agent, const char *id)
{
    char args[200];
    snprintf(args, sizeof(args), "{\"id\":\"%s\"}", id);
    return ask_as(DOOR_HTTP, agent, name, args);
}

static bool is_true(const json_t *doc, const char *key)
{
    const json_t *v = json_object_get(doc, key);
    assert_true(json_is_boolean(v));
    return json_is_true(v);
}

static long long links_count(const char *id)
{
    char args[100];
    snprintf(args, sizeof(args), "{\"id\":\"%s\"}", id);
    return int_of(answer("links", args), "count");
}

/* ---- links ------------------------------------------------------------------------------------------------------- */
static struct call *link_as(const char *op, const char *a, const char *b, const char *relation)
{
    char args[300], more[80] = "";
    if (relation) snprintf(more, sizeof(more), ",\"relation\":\"%s\"", relation);
    snprintf(args, sizeof(args), "{\"source_id\":\"%s\",\"target_id\":\"%s\"%s}", a, b, more);
    return ask(op, args);
}

static void links_are_made_once_and_removed(void **state)
{
    char a[37], b[37];
    (void)state;
    make(a, "a", "n");
    make(b, "b", "n");
    struct call *c = link_as("link", a, b, NULL);
    assert_int_equal(c->status, 0);
    assert_string_equal(text_of(c->reply.doc, "relation"), "related_to");
    assert_true(c->pos.seq > 0);
    uint64_t seq = c->pos.seq;
    c = link_as("link", a, b, "related_to");
    assert_int_equal(c->status, 0);
    assert_int_equal(c->pos.seq, seq); /* nothing changed; what it found done is waited for */
    assert_int_equal(link_as("link", a, b, "supersedes")->status, 0);
    assert_int_equal(links_count(b), 2);
    assert_true(is_true(link_as("unlink", a, b, "supersedes")->reply.doc, "deleted"));
    assert_int_equal(links_count(a), 1);
    assert_true(is_true(link_as("unlink", a, b, NULL)->reply.doc, "deleted"));
    assert_false(is_true(link_as("unlink", a, b, NULL)->reply.doc, "deleted"));
    assert_int_equal(links_count(a), 0);
}

static void links_need_two_memories(void **state)
{
    char a[37];
    (void)state;
    make(a, "a", "n");
    assert_int_equal(link_as("link", a, a, NULL)->status, E_INVALID);
    assert_int_equal(link_as("link", a, "nope", NULL)->status, E_NOT_FOUND);
    assert_string_equal(rig.last->err.msg, "target memory not found: nope");
    assert_int_equal(link_as("link", "nope", a, NULL)->status, E_NOT_FOUND);
    assert_int_equal(link_as("link", a, "b", "likes")->status, E_INVALID);
    assert_int_equal(links_count("nope"), 0);
}

static void what_is_resolved_is_demoted(void **state)
{
    char a[37], b[37], args[200];
    (void)state;
    make(a, "a", "n");
    make(b, "b", "n");
    snprintf(args, sizeof(args), "{\"winner_id\":\"%s\",\"loser_id\":\"%s\"}", a, b);
    assert_int_equal(ask_as(DOOR_CLI, "alice", "resolve", args)->status, 0);
    json_t *loser = stored(b);
    assert_int_equal(int_of(loser, "priority"), 1);
    assert_true(json_real_value(json_object_get(loser, "confidence")) < 0.11);
    assert_int_equal(int_of(stored(a), "access_count"), 1);
}

/* ---- standards --------------------------------------------------------------------------------------------------- */
#define POLICY(level, approver)                                                                                        \
    "{\"write\":\"" level "\",\"promote\":\"" level "\",\"delete\":\"" level "\",\"approver\":" approver ",\"extra\":" \
    "1}"

static struct call *set_standard(const char *ns, const char *more)
{
    char args[600];
    snprintf(args, sizeof(args), "{\"namespace\":\"%s\"%s}", ns, more);
    return ask_as(DOOR_HTTP, "owner", "standard_set", args);
}

static json_t *standard(const char *ns)
{
    char args[100];
    snprintf(args, sizeof(args), "{\"namespace\":\"%s\"}", ns);
    return answer("standard_get", args);
}

static void a_standard_holds_the_policy(void **state)
{
    char id[37], more[400];
    (void)state;
    make(id, "rules", "elsewhere");
    assert_true(json_is_null(json_object_get(standard("n"), "standard_id")));
    snprintf(more, sizeof(more), ",\"id\":\"%s\",\"governance\":" POLICY("registered", "\"human\""), id);
    struct call *c = set_standard("n", more);
    assert_int_equal(c->status, 0);
    assert_int_equal(int_of(json_object_get(c->reply.doc, "governance"), "extra"), 1); /* as sent */
    json_t *doc = standard("n");
    assert_string_equal(text_of(doc, "title"), "rules");
    assert_null(json_object_get(json_object_get(doc, "governance"), "extra")); /* not kept */
    assert_int_equal(ask("create", "{\"title\":\"x\",\"content\":\"c\",\"namespace\":\"n\"}")->status, E_DENIED);
    /* no other edit of its memory drops the policy */
    (void)answer("create", "{\"title\":\"rules\",\"content\":\"new\",\"namespace\":\"elsewhere\"}");
    assert_string_equal(text_of(json_object_get(standard("n"), "governance"), "write"), "registered");
    assert_true(is_true(answer("standard_clear", "{\"namespace\":\"n\"}"), "cleared"));
    assert_false(is_true(answer("standard_clear", "{\"namespace\":\"n\"}"), "cleared"));
    assert_int_equal(ask("create", "{\"title\":\"x\",\"content\":\"c\",\"namespace\":\"n\"}")->status, 0);
}

static void policies_are_checked_first(void **state)
{
    static const char *const wrong[] = {
        "5",
        "[]",
        "{}",
        "{\"write\":\"any\",\"promote\":\"any\",\"delete\":\"any\"}",
        "{\"write\":\"all\",\"promote\":\"any\",\"delete\":\"any\",\"approver\":\"human\"}",
        "{\"write\":\"any\",\"promote\":\"any\",\"delete\":\"any\",\"approver\":\"robot\"}",
        "{\"write\":\"any\",\"promote\":\"any\",\"delete\":\"any\",\"approver\":{\"consensus\":0}}",
        "{\"write\":\"any\",\"promote\":\"any\",\"delete\":\"any\",\"approver\":{\"consensus\":1.5}}",
        "{\"write\":\"any\",\"promote\":\"any\",\"delete\":\"any\",\"approver\":{\"agent\":\"a b\"}}"
    };
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char more[300];
        snprintf(more, sizeof(more), ",\"id\":\"nope\",\"governance\":%s", wrong[i]);
        assert_int_equal(set_standard("n", more)->status, E_INVALID);
    }
    assert_int_equal(set_standard("n", ",\"id\":\"nope\"")->status, E_NOT_FOUND);
    assert_int_equal(set_standard("n", ",\"parent\":\"n\"")->status, E_INVALID);
}

static void without_a_memory_one_is_made(void **state)
{
    (void)state;
    assert_int_equal(set_standard("team-a", "")->status, 0);
    assert_string_equal(text_of(standard("team-a"), "title"), "_standard:team-a");
    char id[37];
    snprintf(id, sizeof(id), "%s", text_of(standard("team-a"), "standard_id"));
    assert_int_equal(set_standard("team-a", ",\"governance\":" POLICY("any", "\"human\""))->status, 0);
    assert_string_equal(text_of(standard("team-a"), "standard_id"), id);
    assert_int_equal(set_standard("team-a-1", "")->status, 0); /* the longest name before a '-' is its parent */
    assert_string_equal(text_of(standard("team-a-1"), "parent"), "team-a");
}

static void the_chain_runs_from_the_general(void **state)
{
    static const char *const want[] = { "*", "far", "near", "near/x", "near/x/y" };
    (void)state;
    assert_int_equal(set_standard("far", ",\"parent\":\"near\"")->status, 0); /* a circle ends */
    assert_int_equal(set_standard("near", ",\"parent\":\"far\"")->status, 0);
    json_t *doc = answer("standard_get", "{\"namespace\":\"near/x/y\",\"inherit\":\"true\"}");
    json_t *chain = json_object_get(doc, "chain");
    assert_int_equal(json_array_size(chain), 5);
    for (size_t i = 0; i < 5; i++) assert_string_equal(json_string_value(json_array_get(chain, i)), want[i]);
    assert_int_equal(int_of(doc, "count"), 2);
}

/* ---- decisions --------------------------------------------------------------------------------------------------- */
static const char *queue(char id[37], const char *title)
{
    char args[200];
    snprintf(args, sizeof(args), "{\"title\":\"%s\",\"content\":\"x\",\"namespace\":\"gate\"}", title);
    snprintf(id, 37, "%s", text_of(answer("create", args), "pending_id"));
    return id;
}

static void govern(const char *approver)
{
    char more[400];
    snprintf(more, sizeof(more),
             ",\"governance\":{\"write\":\"approve\",\"promote\":\"approve\",\"delete\":\"approve\",\"approver\":%s}",
             approver);
    assert_int_equal(set_standard("gate", more)->status, 0);
}

static void an_approval_is_carried_out(void **state)
{
    char p[37], m[37];
    (void)state;
    govern("\"human\"");
    queue(p, "wanted");
    struct call *c = ask_on("approve", "boss", p);
    assert_int_equal(c->status, 0);
    snprintf(m, sizeof(m), "%s", text_of(c->reply.doc, "memory_id"));
    assert_string_equal(text_of(stored(m), "title"), "wanted");
    assert_string_equal(text_of(json_object_get(stored(m), "metadata"), "agent_id"), "alice");
    assert_int_equal(ask_on("approve", "boss", p)->status, E_CONFLICT);
    assert_int_equal(ask_on("reject", "boss", p)->status, E_NOT_FOUND);
    assert_int_equal(ask_on("approve", "boss", "nope")->status, E_NOT_FOUND);
    json_t *list = json_object_get(answer("pending_list", "{\"status\":\"approved\"}"), "pending");
    assert_int_equal(json_array_size(list), 1);
    assert_string_equal(text_of(json_array_get(list, 0), "decided_by"), "boss");
}

static void what_cannot_be_done_still_waits(void **state)
{
    char p[37], m[37];
    (void)state;
    govern("\"human\"");
    queue(p, "short lived");
    snprintf(m, sizeof(m), "%s", text_of(ask_on("approve", "boss", p)->reply.doc, "memory_id"));
    struct call *c = ask_on("promote", "alice", m);
    assert_int_equal(c->reply.status, 202);
    snprintf(p, sizeof(p), "%s", text_of(c->reply.doc, "pending_id"));
    (void)answer("standard_clear", "{\"namespace\":\"gate\"}");
    assert_int_equal(ask_on("delete", "alice", m)->status, 0);
    assert_int_equal(ask_on("approve", "boss", p)->status, E_NOT_FOUND);
    assert_int_equal(int_of(answer("pending_list", "{\"status\":\"pending\"}"), "count"), 1);
    assert_int_equal(ask_on("reject", "boss", p)->status, 0);
}

static void only_who_may_decides(void **state)
{
    char p[37];
    (void)state;
    govern("{\"agent\":\"boss\"}");
    queue(p, "one");
    assert_int_equal(ask_on("approve", "alice", p)->status, E_DENIED);
    assert_int_equal(ask_on("approve", "Boss", p)->status, E_DENIED);
    assert_int_equal(ask_on("approve", "boss", p)->status, 0);
    govern("{\"consensus\":2}");
    queue(p, "two");
    assert_int_equal(ask_on("approve", "ann", p)->status, E_DENIED);
    for (int i = 0; i < 3; i++) {
        static const char *const who[] = { "ann", "Ann", "ben" };
        char args[100];
        snprintf(args, sizeof(args), "{\"agent_id\":\"%s\",\"agent_type\":\"human\"}", who[i]);
        (void)answer("agent_register", args);
    }
    struct call *c = ask_on("approve", "ann", p);
    assert_int_equal(c->reply.status, 202);
    assert_int_equal(int_of(c->reply.doc, "votes"), 1);
    uint64_t seq = c->pos.seq;
    c = ask_on("approve", "Ann", p); /* the same voter */
    assert_int_equal(int_of(c->reply.doc, "votes"), 1);
    assert_int_equal(c->pos.seq, seq);
    c = ask_on("approve", "ben", p);
    assert_true(is_true(c->reply.doc, "executed"));
}

/* ---- agents ------------------------------------------------------------------------------------------------------ */
static void agents_are_memories_of_their_own(void **state)
{
    char id[37];
    (void)state;
    keep_id(id, answer("agent_register", "{\"agent_id\":\"bot\",\"agent_type\":\"ai:x\",\"capabilities\":[\"a\"]}"));
    json_t *list = json_object_get(answer("agents", "{}"), "agents");
    char since[40];
    snprintf(since, sizeof(since), "%s", text_of(json_array_get(list, 0), "registered_at"));
    assert_string_equal(text_of(answer("agent_register", "{\"agent_id\":\"bot\",\"agent_type\":\"system\"}"), "id"),
                        id);
    list = json_object_get(answer("agents", "{}"), "agents");
    assert_int_equal(json_array_size(list), 1);
    assert_string_equal(text_of(json_array_get(list, 0), "agent_type"), "system");
    assert_string_equal(text_of(json_array_get(list, 0), "registered_at"), since);
    assert_int_equal(ask("create", "{\"title\":\"agent:eve\",\"content\":\"c\",\"namespace\":\"_agents\"}")->status,
                     E_DENIED);
    assert_int_equal(ask("agent_register", "{\"agent_id\":\"\",\"agent_type\":\"human\"}")->status, E_INVALID);
    assert_int_equal(ask("agent_register", "{\"agent_id\":\"x\",\"agent_type\":\"robot\"}")->status, E_INVALID);
}

/* ---- the archive ------------------------------------------------------------------------------------------------- */
static void what_was_forgotten_comes_back(void **state)
{
    char id[37];
    (void)state;
    keep_id(id, answer("create", "{\"title\":\"a\",\"content\":\"c\",\"namespace\":\"n\",\"tier\":\"short\","
                                 "\"metadata\":{\"k\":1}}"));
    (void)answer("forget", "{\"namespace\":\"n\"}");
    json_t *row = json_array_get(json_object_get(answer("archive_list", "{}"), "archived"), 0);
    assert_string_equal(text_of(row, "archive_reason"), "forget");
    assert_int_equal(int_of(json_object_get(row, "metadata"), "k"), 1);
    assert_int_equal(int_of(answer("archive_stats", "{}"), "archived_total"), 1);
    assert_int_equal(ask_on("archive_restore", "alice", id)->status, 0);
    assert_string_equal(text_of(stored(id), "tier"), "long");
    assert_null(json_object_get(stored(id), "expires_at"));
    assert_int_equal(ask_on("archive_restore", "alice", id)->status, E_NOT_FOUND);
    (void)answer("forget", "{\"namespace\":\"n\"}");
    char other[37];
    make(other, "a", "n");
    assert_int_equal(ask_on("archive_restore", "alice", id)->status, E_CONFLICT);
}

static void emptying_the_archive_wants_to_be_said(void **state)
{
    char id[37];
    (void)state;
    make(id, "a", "n");
    (void)answer("forget", "{\"namespace\":\"n\"}");
    assert_int_equal(ask("archive_purge", "{}")->status, E_INVALID);
    assert_int_equal(ask("archive_purge", "{\"older_than_days\":-1}")->status, E_INVALID);
    assert_int_equal(int_of(answer("archive_purge", "{\"older_than_days\":1}"), "purged"), 0);
    assert_int_equal(int_of(answer("archive_purge", "{\"all\":\"true\"}"), "purged"), 1);
    assert_int_equal(int_of(answer("archive_stats", "{}"), "archived_total"), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_open, rig_close)
    const struct CMUnitTest tests[] = {
        TEST(links_are_made_once_and_removed),
        TEST(links_need_two_memories),
        TEST(what_is_resolved_is_demoted),
        TEST(a_standard_holds_the_policy),
        TEST(policies_are_checked_first),
        TEST(without_a_memory_one_is_made),
        TEST(the_chain_runs_from_the_general),
        TEST(an_approval_is_carried_out),
        TEST(what_cannot_be_done_still_waits),
        TEST(only_who_may_decides),
        TEST(agents_are_memories_of_their_own),
        TEST(what_was_forgotten_comes_back),
        TEST(emptying_the_archive_wants_to_be_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
