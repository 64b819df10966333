/* Retries without a key: who finds the work done stands on the op that did it, of this life or an earlier one. */
#include "call_rig.h"
#include "engine_rig.h"

/* Another life of the writer on the same store: a new stream. */
static void next_life(void)
{
    bool closed = false;
    struct err err;
    drop_engine();
    lane_close(rig.lane, raise_flag, &closed);
    run_until(&closed);
    memset(&rig.change, 0, sizeof(rig.change));
    rig.change.lifetimes = &rig.lifetimes;
    assert_int_equal(lane_open(&rig.lane, &rig.loop, rig.store, &rig.change, NULL, NULL, NULL, &err), 0);
    rig.engine = new_engine(true, NULL);
}

/* key NULL: none. */
static struct call *ask_keyed(const char *name, const char *args, const char *key)
{
    int rc;
    enum door door = op_by_name(name)->http[0].verb == HTTP_NONE ? DOOR_CLI : DOOR_HTTP;
    struct call *c = rig_call(name, door, "alice", args, &rc);
    assert_int_equal(rc, 0);
    c->idempotency_key = key ? arena_strdup(&c->arena, key) : NULL;
    fake.asked = 0;
    return run(c);
}

static struct call *ask(const char *name, const char *args)
{
    return ask_keyed(name, args, NULL);
}

static void nobody_answers(void)
{
    fake.result = REPL_TIMED_OUT;
    fake.got = fake.disks = 1;
    fake.holds = false;
}

static void two_answer(void)
{
    fake.result = REPL_MET;
    fake.got = fake.disks = 2;
}

static bool waited_for(const struct stamp *pos)
{
    for (unsigned i = 0; i < fake.asked; i++)
        if (fake.waits[i].stream == pos->stream && fake.waits[i].seq >= pos->seq) return true;
    return false;
}

/* The pending action's id in place of $P; the caller frees. */
static char *with_pending(const char *args)
{
    const char *at = strstr(args, "$P");
    if (at == NULL) return strdup(args);
    struct call *c = ask("pending_list", "{}");
    const char *id =
        json_string_value(json_object_get(json_array_get(json_object_get(c->reply.doc, "pending"), 0), "id"));
    char *text = malloc(strlen(args) + 64);
    assert_non_null(id);
    sprintf(text, "%.*s%s%s", (int)(at - args), args, id, at + 2);
    call_free(c);
    return text;
}

#define ROW(id, title)                                                                                     \
    "{\"id\":\"" id "\",\"title\":\"" title "\",\"tier\":\"mid\",\"namespace\":\"n\",\"content\":\"c\","   \
    "\"tags\":[],\"priority\":5,\"confidence\":1.0,\"source\":\"api\",\"access_count\":0,\"metadata\":{}," \
    "\"created_at\":\"2026-01-01T00:00:00Z\",\"updated_at\":\"2026-01-01T00:00:00Z\"}"
#define ROWS "{\"memories\":[" ROW("aaaa-1", "plover") "," ROW("aaaa-2", "dunlin") "]}"
#define LINK "{\"source_id\":\"aaaa-1\",\"target_id\":\"aaaa-2\"}"
#define GATE                                                                                            \
    "{\"namespace\":\"n\",\"id\":\"aaaa-1\",\"governance\":{\"write\":\"approve\",\"promote\":\"any\"," \
    "\"delete\":\"any\",\"approver\":\"human\"}}"
#define WANTED "{\"title\":\"wanted\",\"content\":\"c\",\"namespace\":\"n\"}"

struct step {
    const char *op, *args;
};

/* Every operation that writes: what it needs, and itself. `late`: the error that a second attempt gets once W have the
 * first one's. */
static const struct walk {
    struct step before[3], it;
    int late;
} walks[] = {
    { { { 0 } }, { "create", "{\"title\":\"t\",\"content\":\"c\",\"namespace\":\"n\"}" }, 0 },
    { { { 0 } }, { "bulk", "[{\"title\":\"t\",\"content\":\"c\",\"namespace\":\"n\"}]" }, 0 },
    { { { "import", ROWS } }, { "update", "{\"id\":\"aaaa-1\",\"content\":\"new\"}" }, 0 },
    { { { "import", ROWS } }, { "delete", "{\"id\":\"aaaa-1\"}" }, E_NOT_FOUND },
    { { { "import", ROWS } }, { "delete", "{\"id\":\"aaaa-2\"}" }, E_NOT_FOUND },
    { { { "import", ROWS } }, { "promote", "{\"id\":\"aaaa-1\"}" }, 0 },
    { { { "import", ROWS } }, { "forget", "{\"namespace\":\"n\"}" }, 0 },
    { { { "import", ROWS } }, { "link", LINK }, 0 },
    { { { "import", ROWS }, { "link", LINK } }, { "unlink", LINK }, 0 },
    { { { "import", ROWS } }, { "resolve", "{\"winner_id\":\"aaaa-1\",\"loser_id\":\"aaaa-2\"}" }, 0 },
    { { { "import", ROWS } },
      { "consolidate", "{\"ids\":[\"aaaa-1\",\"aaaa-2\"],\"title\":\"whole\",\"summary\":\"s\",\"namespace\":\"n\"}" },
      E_NOT_FOUND },
    { { { 0 } }, { "import", ROWS }, 0 },
    { { { "import", ROWS }, { "forget", "{\"namespace\":\"n\"}" } },
      { "archive_restore", "{\"id\":\"aaaa-1\"}" },
      E_NOT_FOUND },
    { { { "import", ROWS }, { "forget", "{\"namespace\":\"n\"}" } }, { "archive_purge", "{\"all\":\"true\"}" }, 0 },
    { { { "import", ROWS } }, { "standard_set", "{\"namespace\":\"n\",\"id\":\"aaaa-1\"}" }, 0 },
    { { { "import", ROWS }, { "standard_set", "{\"namespace\":\"n\",\"id\":\"aaaa-1\"}" } },
      { "standard_clear", "{\"namespace\":\"n\"}" },
      0 },
    { { { "import", ROWS }, { "standard_set", GATE }, { "create", WANTED } },
      { "approve", "{\"id\":\"$P\"}" },
      E_CONFLICT },
    { { { "import", ROWS }, { "standard_set", GATE }, { "create", WANTED } },
      { "reject", "{\"id\":\"$P\"}" },
      E_NOT_FOUND },
    { { { 0 } }, { "sync_push", "{\"sender_agent_id\":\"b\",\"memories\":[" ROW("aaaa-1", "plover") "]}" }, 0 },
    { { { 0 } }, { "agent_register", "{\"agent_id\":\"ann\",\"agent_type\":\"human\"}" }, 0 },
};

/* What it needs; the arguments, to be freed. */
static char *arrange(const struct walk *w)
{
    two_answer();
    for (const struct step *s = w->before; s < w->before + 3 && s->op; s++) {
        struct call *c = ask(s->op, s->args);
        assert_int_equal(c->status, 0);
        call_free(c);
    }
    return with_pending(w->it.args);
}

/* One walk: the first attempt gets no quorum; the second, of this life or the next, waits for the first one's op. */
static void retry(const struct walk *w, bool restart)
{
    char *args = arrange(w);
    nobody_answers();
    struct call *first = ask(w->it.op, args);
    assert_int_equal(first->status, E_QUORUM);
    assert_true(first->pos.seq > 0);
    if (restart) next_life();
    struct call *early = ask(w->it.op, args);
    if (early->status != E_QUORUM) fprintf(stderr, "%s: answered too early\n", w->it.op);
    assert_int_equal(early->status, E_QUORUM);
    assert_string_equal(early->outcome, "pending");
    two_answer();
    struct call *again = ask(w->it.op, args);
    /* what it waited for holds the first attempt's effect: that op, or one made over it since */
    bool over = again->pos.stream != first->pos.stream && again->pos.seq > 0 && w->late == 0;
    if (again->status != 0 || !(waited_for(&first->pos) || over))
        fprintf(stderr, "%s: %s, waited %u times\n", w->it.op, again->err.msg, fake.asked);
    assert_int_equal(again->status, 0);
    assert_true(waited_for(&first->pos) || over);
    if (w->late) assert_true(json_equal(again->reply.doc, first->reply.doc));
    fake.holds = true;
    struct call *late = ask(w->it.op, args);
    assert_int_equal(late->status, w->late);
    if (w->late) assert_true(fake.asked == 0 && late->outcome == NULL && late->pos.seq == 0);
    call_free(first);
    call_free(early);
    call_free(again);
    call_free(late);
    free(args);
}

/* Under a key: the first answer again, of the first op, and nothing is made; whatever came between. */
static void replay(const struct walk *w, bool restart)
{
    char *args = arrange(w);
    struct call *first = ask_keyed(w->it.op, args, "key");
    assert_int_equal(first->status, 0);
    assert_true(first->pos.seq > 0);
    call_free(ask(w->it.op, args)); /* whatever it comes to */
    if (restart) next_life();
    uint64_t seq = rig.change.origin.seq;
    nobody_answers();
    struct call *early = ask_keyed(w->it.op, args, "key");
    bool waits = strcmp(w->it.op, "sync_push") != 0;
    assert_int_equal(early->status, waits ? E_QUORUM : 0);
    two_answer();
    struct call *again = ask_keyed(w->it.op, args, "key");
    json_object_del(first->reply.doc, "potential_contradictions"); /* hints are of the moment */
    json_object_del(again->reply.doc, "potential_contradictions");
    if (!json_equal(again->reply.doc, first->reply.doc)) fprintf(stderr, "%s: another answer\n", w->it.op);
    assert_int_equal(again->status, 0);
    assert_true(json_equal(again->reply.doc, first->reply.doc));
    assert_int_equal(again->reply.status, first->reply.status);
    assert_true(again->pos.stream == first->pos.stream && again->pos.seq == first->pos.seq);
    assert_true(!waits || waited_for(&first->pos));
    assert_int_equal(rig.change.origin.seq, seq);
    call_free(first);
    call_free(early);
    call_free(again);
    free(args);
}

static void walk_all(void **state, void (*one)(const struct walk *w, bool restart), bool restart)
{
    for (size_t i = 0; i < ARRAY_LEN(walks); i++) {
        close_rig(state);
        open_rig(state);
        rig.env.limits.archive_on_gc = true;
        cluster_of(2, 3);
        if (one == replay || strcmp(walks[i].it.op, "sync_push") != 0) one(&walks[i], restart);
    }
}

static void a_retry_waits_for_the_first_attempt(void **state)
{
    walk_all(state, retry, false);
}

static void a_retry_in_the_next_life_waits_for_it_too(void **state)
{
    walk_all(state, retry, true);
}

static void a_key_gets_the_first_answer(void **state)
{
    walk_all(state, replay, false);
}

static void a_key_gets_it_in_the_next_life_too(void **state)
{
    walk_all(state, replay, true);
}

/* A key whose request found nothing to do does not do it later. */
static void what_a_key_did_not_do_it_does_not_do_later(void **state)
{
    (void)state;
    cluster_of(2, 3);
    two_answer();
    call_free(ask("import", ROWS));
    struct call *none = ask_keyed("unlink", LINK, "key");
    call_free(ask("link", LINK));
    struct call *again = ask_keyed("unlink", LINK, "key"), *links = ask("links", "{\"id\":\"aaaa-1\"}");
    assert_int_equal(json_integer_value(json_object_get(again->reply.doc, "removed")), 0);
    assert_int_equal(json_integer_value(json_object_get(links->reply.doc, "count")), 1);
    call_free(none);
    call_free(again);
    call_free(links);
    uint64_t seq = rig.change.origin.seq;
    call_free(ask_keyed("forget", "{\"namespace\":\"n\",\"dry_run\":true}", "dry"));
    assert_int_equal(rig.change.origin.seq, seq); /* a dry run makes no op, for its key neither */
}

/* member_remove and its member are test_generated.py's. */
static void every_write_is_walked(void **state)
{
    (void)state;
    for (const struct op *op = op_table; op->name; op++) {
        bool found = op->effect != OP_WRITE || strcmp(op->name, "member_remove") == 0;
        for (size_t i = 0; i < ARRAY_LEN(walks); i++) found = found || strcmp(walks[i].it.op, op->name) == 0;
        if (!found) fprintf(stderr, "%s is not walked\n", op->name);
        assert_true(found);
    }
}

/* A no-op that changes some rows and finds others done waits for both: what the earlier life removed is not on W disks
 * because what this one removed is. */
static void half_done_by_an_earlier_life(void **state)
{
    (void)state;
    cluster_of(2, 3);
    two_answer();
    call_free(ask("import", ROWS));
    nobody_answers();
    struct call *first = ask("forget", "{\"namespace\":\"n\",\"pattern\":\"plover\"}");
    next_life();
    two_answer();
    struct call *rest = ask("forget", "{\"namespace\":\"n\"}");
    assert_int_equal(rest->status, 0);
    assert_true(rest->pos.stream == rig.change.origin.stream && rest->pos.seq > 0);
    assert_true(waited_for(&rest->pos) && waited_for(&first->pos));
    call_free(first);
    call_free(rest);
}

static void what_is_deleted_by_a_prefix(void **state)
{
    (void)state;
    cluster_of(2, 3);
    two_answer();
    call_free(ask("import", ROWS));
    call_free(ask("delete", "{\"id\":\"aaaa-2\"}"));
    nobody_answers();
    struct call *first = ask("delete", "{\"id\":\"aaaa\"}");
    assert_int_equal(first->status, E_QUORUM);
    two_answer();
    struct call *again = ask("delete", "{\"id\":\"aaaa\"}");
    assert_int_equal(again->status, 0);
    assert_string_equal(json_string_value(json_object_get(again->reply.doc, "id")), "aaaa-1");
    assert_true(waited_for(&first->pos));
    call_free(first);
    call_free(again);
}

/* A request for approval that was made again is the one that waits. */
static void what_waits_for_approval_waits_once(void **state)
{
    static const char other[] = "{\"title\":\"wanted\",\"content\":\"other\",\"namespace\":\"n\"}";
    (void)state;
    cluster_of(2, 3);
    two_answer();
    call_free(ask("import", ROWS));
    call_free(ask("standard_set", GATE));
    nobody_answers();
    struct call *first = ask("create", WANTED);
    assert_int_equal(first->status, E_QUORUM);
    next_life();
    two_answer();
    struct call *again = ask("create", WANTED), *list = ask("pending_list", "{}");
    assert_int_equal(again->status, 0);
    assert_int_equal(again->reply.status, 202);
    assert_true(again->pos.stream == first->pos.stream && again->pos.seq == first->pos.seq);
    assert_int_equal(json_integer_value(json_object_get(list->reply.doc, "count")), 1);
    call_free(list);
    call_free(ask("create", other));
    list = ask("pending_list", "{}");
    assert_int_equal(json_integer_value(json_object_get(list->reply.doc, "count")), 2);
    call_free(first);
    call_free(again);
    call_free(list);
}

static uint64_t leaving;

static int leave(struct lane_item *item, struct change *ch, struct err *err)
{
    uint64_t stream = leaving;
    (void)item, (void)err;
    int rc = change_streams_end(ch, &stream, 1, STREAM_ENDED);
    return rc ? rc : change_streams_end(ch, &stream, 1, STREAM_LEFT);
}

static void left(struct lane_item *item, int status)
{
    assert_int_equal(status, 0);
    rig.flag = true;
    (void)item;
}

/* A stream that left the vector is on every member's disk: nobody is asked about it. */
static void what_everybody_has_is_not_waited_for(void **state)
{
    (void)state;
    cluster_of(2, 3);
    two_answer();
    call_free(ask("import", ROWS));
    struct call *first = ask("delete", "{\"id\":\"aaaa-1\"}");
    struct lane_item item = { .run = leave, .done = left, .class = LANE_UPKEEP };
    leaving = first->pos.stream;
    next_life();
    assert_int_equal(lane_submit(rig.lane, &item), 0);
    run_until(&rig.flag);
    struct call *again = ask("delete", "{\"id\":\"aaaa-1\"}");
    assert_int_equal(again->status, E_NOT_FOUND);
    assert_int_equal(fake.asked, 0);
    call_free(first);
    call_free(again);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)
    const struct CMUnitTest tests[] = {
        TEST(a_retry_waits_for_the_first_attempt),
        TEST(a_retry_in_the_next_life_waits_for_it_too),
        TEST(a_key_gets_the_first_answer),
        TEST(a_key_gets_it_in_the_next_life_too),
        TEST(what_a_key_did_not_do_it_does_not_do_later),
        TEST(every_write_is_walked),
        TEST(half_done_by_an_earlier_life),
        TEST(what_is_deleted_by_a_prefix),
        TEST(what_waits_for_approval_waits_once),
        TEST(what_everybody_has_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
