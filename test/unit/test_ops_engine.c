/* The engine: one state machine for all calls. */
#include "engine_rig.h"

static struct call *run_op(const char *name, const char *json)
{
    return run(make(op_by_name(name), json));
}

static long long rows_of(const char *ns)
{
    char json[100];
    snprintf(json, sizeof(json), "{\"namespace\":\"%s\"}", ns);
    struct call *c = call_new(op_by_name("list"));
    c->caller.door = DOOR_HTTP;
    assert_int_equal(args_from_text(list_arg, 0, DOOR_HTTP, ns, strlen(ns), &c->arena, c->args, &c->err), 0);
    assert_int_equal(args_finish(list_arg, DOOR_HTTP, &c->arena, c->args, &c->err), 0);
    run(c);
    assert_int_equal(c->status, 0);
    long long n = json_integer_value(json_object_get(c->reply.doc, "total"));
    call_free(c);
    return n;
}

#define CREATE "{\"title\":\"t\",\"content\":\"c\",\"namespace\":\"n\"}"

/* ---- plain calls ------------------------------------------------------------------------------------------------- */
static void a_write_and_a_read(void **state)
{
    (void)state;
    struct call *c = run_op("create", CREATE);
    assert_int_equal(c->status, 0);
    assert_int_equal(c->got, 1);
    assert_int_equal(c->durability, DURABLE_LOCAL);
    assert_true(c->pos.seq == 1 && c->pos.stream != 0);
    char json[80];
    snprintf(json, sizeof(json), "{\"id\":\"%s\"}", json_string_value(json_object_get(c->reply.doc, "id")));
    call_free(c);
    c = run_op("get", json);
    assert_int_equal(c->status, 0);
    assert_int_equal(c->pos.seq, 0);
    call_free(c);
    c = run_op("get", "{\"id\":\"nope\"}");
    assert_int_equal(c->status, E_NOT_FOUND);
    assert_null(c->outcome);
    call_free(c);
}

static int decode_late(struct call *c)
{
    c->body = json_parse(c->text, c->text_len, NULL, 0, &c->err);
    if (c->body == NULL) return E_SYNTAX;
    int rc = args_from_json(c->op->args, DOOR_HTTP, c->body, &c->arena, c->args, &c->err);
    return rc ? rc : args_check(c->op->args, DOOR_HTTP, clock_wall_us(NULL), &c->arena, c->args, &c->err);
}

static int render(struct call *c)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    json_print(&b, c->reply.doc);
    c->out = buf_take(&b, &c->out_len);
    return 0;
}

static void bodies_decoded_on_the_pool(void **state)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        { CREATE, 0 }, { "{", E_SYNTAX }, { "{}", E_TYPE }, { "{\"title\":\"\",\"content\":\"c\"}", E_INVALID }
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct call *c = call_new(op_by_name("create"));
        c->caller = (struct caller){ .door = DOOR_HTTP, .agent_id = "alice", .default_ns = "global" };
        c->text = mem_strdup(cases[i].text);
        c->text_len = strlen(c->text);
        c->decode = decode_late;
        c->render = render;
        run(c);
        assert_int_equal(c->status, cases[i].status);
        if (c->status == 0)
            assert_memory_equal(c->out, "{\"agent_id\":\"alice\"", 19);
        else
            assert_null(c->out);
        call_free(c);
    }
}

static void deadlines_before_the_batch(void **state)
{
    (void)state;
    struct call *c = make(op_by_name("create"), CREATE);
    c->deadline_mono_ms = clock_mono_ms() - 1;
    assert_int_equal(run(c)->status, E_TIMEOUT);
    assert_string_equal(c->outcome, "not_applied");
    call_free(c);
    assert_int_equal(rows_of("n"), 0);
    cluster_of(2, 3);
    c = make(op_by_name("create"), CREATE);
    c->deadline_mono_ms = clock_mono_ms() - 1;
    assert_int_equal(run(c)->status, E_QUORUM);
    assert_string_equal(c->outcome, "not_applied");
    assert_string_equal(c->reason, "timeout");
    assert_int_equal(c->needed, 2);
    call_free(c);
    assert_int_equal(fake.asked, 0);
    assert_int_equal(rows_of("n"), 0);
}

static void too_many_writes(void **state)
{
    static const struct engine_limits limits = { .calls_max = 1, .bytes_max = 1 << 20, .quorum_timeout_ms = 2000 };
    struct asked a[3];
    (void)state;
    drop_engine();
    rig.engine = new_engine(false, &limits);
    for (int i = 0; i < 3; i++) submit(&a[i], make(op_by_name("create"), CREATE));
    for (int i = 0; i < 3; i++) run_until(&a[i].over);
    assert_int_equal(a[0].c->status, 0);
    for (int i = 1; i < 3; i++) {
        assert_int_equal(a[i].c->status, E_BUSY);
        assert_string_equal(a[i].c->outcome, "not_applied");
    }
    for (int i = 0; i < 3; i++) call_free(a[i].c);
}

static void no_writes_while_the_others_lag(void **state)
{
    struct asked a[2];
    (void)state;
    cluster_of(2, 3);
    fake.lags = true;
    struct call *alone = make(op_by_name("create"), CREATE);
    alone->write_quorum = 1; /* waits for nobody */
    submit(&a[0], alone);
    submit(&a[1], make(op_by_name("create"), CREATE));
    for (int i = 0; i < 2; i++) run_until(&a[i].over);
    assert_int_equal(a[0].c->status, 0);
    assert_int_equal(a[1].c->status, E_BUSY);
    assert_string_equal(a[1].c->outcome, "not_applied");
    assert_int_equal(a[1].c->got, 0);
    assert_int_equal(a[1].c->needed, 2);
    for (int i = 0; i < 2; i++) call_free(a[i].c);
    fake.lags = false;
}

static void draining_refuses_and_finishes(void **state)
{
    struct asked a, b;
    bool drained = false;
    (void)state;
    submit(&a, make(op_by_name("create"), CREATE));
    engine_drain(rig.engine, raise_flag, &drained);
    submit(&b, make(op_by_name("create"), CREATE));
    run_until(&drained);
    assert_true(a.over && b.over);
    assert_int_equal(a.c->status, 0);
    assert_int_equal(b.c->status, E_STOPPING);
    assert_string_equal(b.c->outcome, "not_applied");
    call_free(a.c);
    call_free(b.c);
    engine_free(rig.engine);
    rig.engine = new_engine(false, NULL);
}

/* ---- operations that block --------------------------------------------------------------------------------------- */
static uv_sem_t entered, leave;

static int block(struct op_ctx *c, const void *args, struct reply *r)
{
    (void)c, (void)args;
    uv_sem_post(&entered);
    uv_sem_wait(&leave);
    return reply_set(r, "{}");
}
static const struct op block_read = {
    .name = "block", .effect = OP_READ, .args = none_arg, .args_size = sizeof(struct none_args), .run = block
};
static const struct op block_write = {
    .name = "block", .effect = OP_WRITE, .args = none_arg, .args_size = sizeof(struct none_args), .run = block
};

static void a_client_that_goes_away(void **state)
{
    struct asked a, b;
    (void)state;
    uv_sem_init(&entered, 0);
    uv_sem_init(&leave, 0);
    submit(&a, make(&block_read, "{}"));
    uv_sem_wait(&entered);
    submit(&b, make(op_by_name("stats"), "{}"));
    engine_gone(rig.engine, b.c);
    uv_sem_post(&leave);
    run_until(&a.over);
    run_until(&b.over);
    assert_int_equal(a.c->status, 0);
    assert_int_equal(b.c->status, E_CANCELLED);
    call_free(a.c);
    call_free(b.c);
    uv_sem_destroy(&entered);
    uv_sem_destroy(&leave);
}

/* ---- touches ----------------------------------------------------------------------------------------------------- */
static int touch(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct id_args *a = args;
    strcpy(c->touches->id[c->touches->count++], a->id.s);
    return reply_set(r, "{}");
}
static const struct op touch_op = {
    .name = "touch", .effect = OP_TOUCH, .args = id_arg, .args_size = sizeof(struct id_args), .run = touch
};

/* A write that tells how often its memory was accessed. */
static int count(struct op_ctx *c, const void *args, struct reply *r)
{
    const struct id_args *a = args;
    struct row row;
    int rc = c->tx->v->get(c->tx, a->id.s, c->arena, &row);
    return rc ? rc : reply_set(r, "{s:I}", "access_count", (json_int_t)row.m.access_count);
}
static const struct op touched_write = {
    .name = "count", .effect = OP_WRITE, .args = id_arg, .args_size = sizeof(struct id_args), .run = count
};

static long long accesses(const char *id_json)
{
    struct call *c = run_op("get", id_json);
    long long n = json_integer_value(json_object_get(json_object_get(c->reply.doc, "memory"), "access_count"));
    call_free(c);
    return n;
}

static void new_row(char json[80])
{
    struct call *c = run_op("create", CREATE);
    snprintf(json, 80, "{\"id\":\"%s\"}", json_string_value(json_object_get(c->reply.doc, "id")));
    call_free(c);
}

static void touches_are_merged(void **state)
{
    enum { READS = 30 };
    struct asked a[READS], blocker;
    struct lane_figures before, after;
    char json[80];
    (void)state;
    new_row(json);
    uv_sem_init(&entered, 0);
    uv_sem_init(&leave, 0);
    lane_figures(rig.lane, &before);
    uint64_t fsyncs = memstore_fsyncs(rig.store);
    submit(&blocker, make(&block_write, "{}"));
    uv_sem_wait(&entered);
    for (int i = 0; i < READS; i++) submit(&a[i], make(&touch_op, json));
    for (int i = 0; i < READS; i++) run_until(&a[i].over);
    uv_sem_post(&leave);
    run_until(&blocker.over);
    int64_t until = clock_mono_ms() + 10000;
    while (accesses(json) < READS) assert_true(clock_mono_ms() < until);
    assert_int_equal(accesses(json), READS);
    lane_figures(rig.lane, &after);
    assert_in_range(after.items - before.items, 2, 3);
    assert_in_range(memstore_fsyncs(rig.store) - fsyncs, 0, 1);
    for (int i = 0; i < READS; i++) {
        assert_int_equal(a[i].c->status, 0);
        call_free(a[i].c);
    }
    call_free(blocker.c);
    uv_sem_destroy(&entered);
    uv_sem_destroy(&leave);
}

/* The writer is busy: the answer comes all the same; who would see the access waits for its commit, for a while; who
 * cannot see it does not. */
static void an_answer_does_not_wait_for_its_touch(void **state)
{
    struct asked a, b, c;
    struct lane_figures f;
    char json[80], other[80];
    (void)state;
    new_row(json);
    struct call *made = run_op("create", "{\"title\":\"u\",\"content\":\"c\",\"namespace\":\"n\"}");
    snprintf(other, sizeof other, "{\"id\":\"%s\"}", json_string_value(json_object_get(made->reply.doc, "id")));
    call_free(made);
    uv_sem_init(&entered, 0);
    uv_sem_init(&leave, 0);
    submit(&a, make(&block_write, "{}"));
    uv_sem_wait(&entered);
    submit(&b, make(&touch_op, json));
    run_until(&b.over);
    lane_figures(rig.lane, &f);
    int queued = (int)f.queued;
    submit(&c, make(op_by_name("get"), json));
    int64_t start = clock_mono_ms();
    long long none = accesses(other);
    bool waits = !c.over;
    run_until(&c.over);
    int64_t waited = clock_mono_ms() - start;
    bool held_up = a.over;
    uv_sem_post(&leave);
    run_until(&a.over);
    assert_int_equal(b.c->status, 0);
    assert_int_equal(queued, 1);
    assert_int_equal(none, 0);
    assert_true(waits);
    assert_true(waited >= 90);
    assert_false(held_up);
    assert_int_equal(c.c->status, 0);
    assert_int_equal(accesses(json), 1);
    call_free(a.c);
    call_free(b.c);
    call_free(c.c);
    uv_sem_destroy(&entered);
    uv_sem_destroy(&leave);
}

/* Each answer's access is there for whatever is asked next, read or write. */
static void what_comes_next_sees_the_touch(void **state)
{
    char json[80];
    (void)state;
    new_row(json);
    for (int i = 1; i <= 20; i++) {
        struct call *c = run(make(&touch_op, json));
        assert_int_equal(c->status, 0);
        call_free(c);
        if (i % 2) {
            assert_int_equal(accesses(json), i);
            continue;
        }
        c = make(&touched_write, json);
        assert_int_equal(run(c)->status, 0);
        assert_int_equal(json_integer_value(json_object_get(c->reply.doc, "access_count")), i);
        call_free(c);
    }
}

/* ---- positions --------------------------------------------------------------------------------------------------- */
static void reads_wait_for_a_position(void **state)
{
    struct asked a;
    (void)state;
    struct call *w = run_op("create", CREATE);
    struct call *c = make(op_by_name("stats"), "{}");
    c->wait_stream = w->pos.stream;
    c->wait_seq = w->pos.seq;
    assert_int_equal(run(c)->status, 0);
    call_free(c);
    c = make(op_by_name("stats"), "{}");
    c->wait_stream = w->pos.stream + 1;
    c->wait_seq = 1;
    c->wait_ms = 40;
    assert_int_equal(run(c)->status, E_TIMEOUT);
    call_free(c);
    c = make(op_by_name("stats"), "{}");
    c->wait_stream = w->pos.stream;
    c->wait_seq = w->pos.seq + 1;
    submit(&a, c);
    for (int i = 0; i < 5; i++) (void)uv_run(&rig.loop, UV_RUN_NOWAIT);
    assert_false(a.over);
    call_free(w);
    w = run_op("create", "{\"title\":\"second\",\"content\":\"c\"}");
    run_until(&a.over);
    assert_int_equal(c->status, 0);
    assert_int_equal(json_integer_value(json_object_get(c->reply.doc, "total")), 2);
    call_free(c);
    call_free(w);
}

/* ---- quorum ------------------------------------------------------------------------------------------------------ */
static void quorums(void **state)
{
    static const struct {
        enum repl_result result;
        unsigned got, disks;
        bool all;
        int status;
        enum durability durability;
        const char *reason, *outcome;
    } cases[] = {
        { REPL_MET, 2, 2, false, 0, DURABLE_QUORUM, NULL, NULL },
        { REPL_MET, 3, 3, true, 0, DURABLE_ALL, NULL, NULL },
        { REPL_MET, 2, 1, false, 0, DURABLE_LOCAL, NULL, NULL },
        { REPL_MET, 3, 2, true, 0, DURABLE_QUORUM, NULL, NULL },
        { REPL_MET, 2, 0, true, 0, DURABLE_NONE, NULL, NULL },
        { REPL_UNREACHABLE, 1, 1, false, E_QUORUM, DURABLE_LOCAL, "unreachable", "pending" },
        { REPL_TIMED_OUT, 1, 1, false, E_QUORUM, DURABLE_LOCAL, "timeout", "pending" },
        { REPL_STOPPED, 1, 1, false, E_STOPPING, DURABLE_LOCAL, "stopping", "pending" },
    };
    (void)state;
    cluster_of(2, 3);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fake.result = cases[i].result;
        fake.got = cases[i].got;
        fake.disks = cases[i].disks;
        fake.all = cases[i].all;
        struct call *c = run_op("create", CREATE);
        assert_int_equal(c->status, cases[i].status);
        assert_int_equal(c->got, cases[i].got);
        assert_int_equal(c->needed, 2);
        assert_int_equal(c->durability, cases[i].durability);
        assert_true(fake.pos.seq == c->pos.seq && fake.pos.stream == c->pos.stream);
        if (cases[i].reason)
            assert_string_equal(c->reason, cases[i].reason);
        else
            assert_null(c->reason);
        if (cases[i].outcome)
            assert_string_equal(c->outcome, cases[i].outcome);
        else
            assert_null(c->outcome);
        if (c->status == 0)
            assert_int_equal(json_integer_value(json_object_get(c->reply.doc, "quorum_acks")), cases[i].got);
        call_free(c);
    }
    assert_int_equal(rows_of("n"), 1);
}

static void quorums_of_one_ask_nobody(void **state)
{
    (void)state;
    cluster_of(1, 3);
    struct call *c = run_op("create", CREATE);
    assert_int_equal(c->status, 0);
    assert_int_equal(json_integer_value(json_object_get(c->reply.doc, "quorum_acks")), 1);
    call_free(c);
    c = make(op_by_name("create"), CREATE);
    c->write_quorum = 3;
    fake.result = REPL_MET;
    fake.got = fake.disks = 3;
    assert_int_equal(run(c)->needed, 3);
    assert_int_equal(fake.asked, 1);
    call_free(c);
    c = make(op_by_name("create"), CREATE);
    c->write_quorum = 4;
    assert_int_equal(run(c)->status, E_INVALID);
    call_free(c);
    fake.writes = 2;
    c = run_op("sync_push", "{\"sender_agent_id\":\"b\",\"memories\":[]}");
    assert_int_equal(c->status, 0);
    assert_int_equal(fake.asked, 1);
    call_free(c);
}

/* ---- retries ----------------------------------------------------------------------------------------------------- */
static struct call *keyed(const char *json, const char *key, uint8_t mark)
{
    struct call *c = make(op_by_name("create"), json);
    c->idempotency_key = arena_strdup(&c->arena, key);
    memset(c->fingerprint, mark, sizeof(c->fingerprint));
    return c;
}

static void retries_with_a_key(void **state)
{
    (void)state;
    cluster_of(2, 3);
    fake.result = REPL_TIMED_OUT;
    fake.got = 1;
    struct call *first = run(keyed(CREATE, "k-1", 1));
    assert_int_equal(first->status, E_QUORUM);
    fake.result = REPL_MET;
    fake.got = fake.disks = 2;
    struct call *other = run_op("create", "{\"title\":\"other\",\"content\":\"c\",\"namespace\":\"n\"}");
    struct call *again = run(keyed(CREATE, "k-1", 1));
    assert_int_equal(again->status, 0);
    assert_true(again->pos.seq == first->pos.seq && again->pos.stream == first->pos.stream);
    assert_true(fake.pos.seq == first->pos.seq && fake.pos.stream == first->pos.stream);
    assert_string_equal(json_string_value(json_object_get(again->reply.doc, "id")),
                        json_string_value(json_object_get(first->reply.doc, "id")));
    struct call *foreign = run(keyed(CREATE, "k-1", 2));
    assert_int_equal(foreign->status, E_MISMATCH);
    struct call *another = run(keyed("{\"title\":\"t2\",\"content\":\"c\",\"namespace\":\"n\"}", "k-2", 1));
    assert_int_equal(another->status, 0);
    assert_int_equal(rows_of("n"), 3);
    call_free(first);
    call_free(other);
    call_free(again);
    call_free(foreign);
    call_free(another);
}

static void an_id_comes_from_its_key(void **state)
{
    char id[2][37];
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct call *c = run(keyed(CREATE, "k-1", 1));
        snprintf(id[i], 37, "%s", json_string_value(json_object_get(c->reply.doc, "id")));
        call_free(c);
        if (i == 0) { /* another node, that has not heard of the first attempt */
            close_rig(state);
            open_rig(state);
        }
    }
    assert_string_equal(id[0], id[1]);
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */
static char *bulk_of(int rows)
{
    size_t size = (size_t)rows * 64 + 8, used = 1;
    char *text = malloc(size);
    strcpy(text, "[");
    for (int i = 0; i < rows; i++)
        used += (size_t)snprintf(text + used, size - used,
                                 "%s{\"title\":\"row %d\",\"content\":\"c\",\"namespace\":\"f\"}", i ? "," : "", i);
    strcpy(text + used, "]");
    return text;
}

/* The n-th call on the store fails, for many n: what was answered is what there is. */
static void long_writes_with_faults(void **state)
{
    enum { ROWS = 130 };
    static const int codes[] = { E_BUSY, E_DISK_FULL, E_CORRUPT };
    char *text = bulk_of(ROWS);
    unsigned failed = 0, fine = 0;
    for (uint64_t n = 1; n < 3000; n += 97) {
        close_rig(state);
        open_rig(state);
        memstore_fail(rig.store, n, codes[n % 3]);
        struct call *c = run_op("bulk", text);
        memstore_fail(rig.store, 0, 0);
        long long rows = rows_of("f");
        if (c->status == 0) {
            fine++;
            assert_int_equal(rows, ROWS);
            assert_int_equal(json_integer_value(json_object_get(c->reply.doc, "created")), ROWS);
            assert_int_equal(json_array_size(json_object_get(c->reply.doc, "ids")), ROWS);
        } else {
            failed++;
            assert_true(rows == 0 || rows == 64 || rows == 128);
            assert_string_equal(c->outcome, rows ? "pending" : "not_applied");
        }
        call_free(c);
    }
    assert_true(failed > 0 && fine > 0);
    free(text);
}

static void commits_that_fail(void **state)
{
    (void)state;
    memstore_fail_commits(rig.store, E_DISK_FULL);
    struct call *c = run_op("create", CREATE);
    assert_int_equal(c->status, E_DISK_FULL);
    assert_string_equal(c->outcome, "not_applied");
    call_free(c);
    memstore_fail_commits(rig.store, 0);
    assert_int_equal(rows_of("n"), 0);
    memstore_fail_commits(rig.store, E_IO);
    c = run_op("create", CREATE);
    assert_int_equal(c->status, E_IO);
    assert_string_equal(c->outcome, "pending");
    call_free(c);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)
    const struct CMUnitTest tests[] = {
        TEST(a_write_and_a_read),
        TEST(bodies_decoded_on_the_pool),
        TEST(deadlines_before_the_batch),
        TEST(too_many_writes),
        TEST(no_writes_while_the_others_lag),
        TEST(draining_refuses_and_finishes),
        TEST(a_client_that_goes_away),
        TEST(touches_are_merged),
        TEST(an_answer_does_not_wait_for_its_touch),
        TEST(what_comes_next_sees_the_touch),
        TEST(reads_wait_for_a_position),
        TEST(quorums),
        TEST(quorums_of_one_ask_nobody),
        TEST(retries_with_a_key),
        TEST(an_id_comes_from_its_key),
        TEST(long_writes_with_faults),
        TEST(commits_that_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
