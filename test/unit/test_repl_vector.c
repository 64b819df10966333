/* test_repl_vector.c - golden stories: who has what, what is pulled from whom and when, retries that wait elsewhere. */
#include "repl_rig.h"

static struct repl_entry line(uint64_t stream, uint64_t node, uint64_t pos)
{
    return (struct repl_entry){ .stream = stream, .node = node, .pos = pos, .chain = stream * 1000 + pos };
}

static void told(struct rig *r, uint64_t node, const struct repl_entry *vector, size_t count)
{
    struct repl_event e = { .type = REPL_VECTOR, .peer = REPL_NO_PEER, .node = node };
    e.vector = vector;
    e.vector_count = count;
    rig_step(r, e);
}

static void applied(struct rig *r, struct repl_entry entry, bool foreign_process)
{
    rig_step(r, (struct repl_event){ .type = REPL_APPLIED, .entry = entry, .foreign_process = foreign_process });
}

static void pulled(struct rig *r, unsigned peer, uint32_t gen, bool ok, bool more)
{
    rig_step(r, (struct repl_event){ .type = REPL_PULLED, .peer = peer, .gen = gen, .ok = ok, .more = more });
}

static void heard(struct rig *r, uint64_t node, uint64_t stream)
{
    struct repl_event e = { .type = REPL_INBOUND, .node = node };
    e.entry.stream = stream;
    rig_step(r, e);
}

static void a_dead_writers_tail_comes_from_a_survivor(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 2);
    struct repl_entry tail = line(300, 3, 7);
    applied(&r, line(300, 3, 5), false);
    rig_refuse(&r, 1); /* node 3 is gone */
    rig_hello(&r, 0, 2, 0, &tail, 1);
    const struct repl_effect *f = rig_find(&r, REPL_PULL, 0);
    assert_non_null(f);
    assert_int_equal(f->entry.stream, 300);
    assert_int_equal(f->entry.pos, 5);
    assert_int_equal(f->entry.chain, 300005);
    uint32_t gen = f->gen;
    applied(&r, tail, false);
    pulled(&r, 0, gen, true, false);
    assert_null(rig_find(&r, REPL_PULL, REPL_NO_PEER));
    assert_int_equal(repl_behind(r.core), 0);
    size_t count;
    const struct repl_entry *v = repl_vector(r.core, &count);
    assert_int_equal(count, 2);
    assert_int_equal(v[1].pos, 7);
    rig_close(&r);
}

static void a_living_writer_is_waited_for(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 2);
    rig_up(&r, 2);
    heard(&r, 3, 300);
    struct repl_entry tail = line(300, 3, 7);
    told(&r, 2, &tail, 1);
    int64_t start = r.now;
    while (r.now < start + 900) { /* its origin pings us all the while */
        assert_null(rig_find(&r, REPL_PULL, REPL_NO_PEER));
        rig_until(&r, r.now + 100);
        for (unsigned p = 0; p < 2; p++) rig_step(&r, rig_event(&r, REPL_PONG, p));
        heard(&r, 3, 300);
    }
    bool asked = false;
    while (!asked && r.now < start + 1100) {
        rig_until(&r, r.now + 10);
        asked = rig_find(&r, REPL_PULL, 0) != NULL;
    }
    assert_true(asked);
    assert_in_range(r.now - start, 1000, 1010);
    rig_close(&r);
}

static void a_silent_writer_is_not(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 2);
    rig_up(&r, 2);
    heard(&r, 3, 300);
    struct repl_entry tail = line(300, 3, 7);
    told(&r, 2, &tail, 1);
    int64_t start = r.now;
    bool asked = false;
    while (!asked) {
        rig_until(&r, r.now + 10);
        asked = rig_find(&r, REPL_PULL, 0) != NULL;
        rig_step(&r, rig_event(&r, REPL_PONG, 0));
    }
    assert_in_range(r.now - start, 750, 760); /* three pings */
    rig_close(&r);
}

static void a_foreign_process_is_pulled_and_told_at_once(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 2);
    rig_up(&r, 2);
    heard(&r, 2, 200);
    struct repl_entry command = line(555, 2, 1); /* a stream of node 2, but not the one it pushes */
    told(&r, 2, &command, 1);
    assert_non_null(rig_find(&r, REPL_PULL, 0));

    applied(&r, line(777, OWN_NODE, 1), true); /* and one of ours */
    for (unsigned p = 0; p < 2; p++) {
        const struct repl_effect *f = rig_find(&r, REPL_SEND_VECTOR, p);
        assert_non_null(f);
        assert_int_equal(f->vector_count, 1);
        assert_int_equal(f->vector[0].stream, 777);
    }
    rig_close(&r);
}

static void the_next_peer_after_a_failure(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 2);
    struct repl_entry tail = line(900, 9, 4);
    rig_hello(&r, 0, 2, 0, &tail, 1);
    rig_hello(&r, 1, 3, 0, &tail, 1);
    pulled(&r, 0, 1, false, false);
    int64_t start = r.now;
    while (rig_find(&r, REPL_PULL, REPL_NO_PEER) == NULL) rig_until(&r, r.now + 1);
    assert_non_null(rig_find(&r, REPL_PULL, 1));
    assert_in_range(r.now - start, 50, 200);
    pulled(&r, 1, 99, true, false); /* not this pull's end */
    assert_int_equal(repl_behind(r.core), 1);
    applied(&r, line(900, 9, 2), false);
    pulled(&r, 1, 1, true, true);
    const struct repl_effect *f = rig_find(&r, REPL_PULL, 1); /* it had more: go on there */
    assert_non_null(f);
    assert_int_equal(f->entry.pos, 2);
    rig_close(&r);
}

static void what_a_snapshot_brings_is_not_pulled(void **state)
{
    (void)state;
    struct rig r;
    struct repl_entry coming = line(900, 9, 4), tail = line(900, 9, 6);
    struct repl_event e = { .type = REPL_COMING, .vector = &coming, .vector_count = 1 };
    rig_open(&r, 1, 1);
    rig_hello(&r, 0, 2, 0, &tail, 1);
    pulled(&r, 0, 1, false, false); /* trimmed there */
    rig_step(&r, e);
    for (int i = 0; i < 20; i++) {
        rig_until(&r, r.now + 100);
        assert_null(rig_find(&r, REPL_PULL, 0));
        rig_step(&r, rig_event(&r, REPL_PONG, 0));
    }
    applied(&r, coming, false); /* its end: the tail is asked for */
    const struct repl_effect *f = rig_find(&r, REPL_PULL, 0);
    assert_non_null(f);
    assert_int_equal(f->entry.pos, 4);
    rig_close(&r);

    rig_open(&r, 1, 1);
    rig_hello(&r, 0, 2, 0, &tail, 1);
    pulled(&r, 0, 1, false, false);
    rig_step(&r, e);
    rig_until(&r, r.now + 200);
    e.vector_count = 0;
    rig_step(&r, e); /* it was lost */
    assert_non_null(rig_find(&r, REPL_PULL, 0));
    rig_close(&r);
}

/* A peer told of it while it had not heard of that: it says no more of it, and has no ops of it to give. */
static void what_left_meanwhile_is_not_asked_for(void **state)
{
    (void)state;
    struct rig r;
    struct repl_entry gone = line(900, 9, 4), other = line(901, 9, 4);
    struct repl_event e = { .type = REPL_LEFT, .entry = gone };
    rig_open(&r, 1, 1);
    rig_hello(&r, 0, 2, 0, &gone, 1);
    const struct repl_effect *f = rig_find(&r, REPL_PULL, 0);
    assert_non_null(f);
    uint32_t gen = f->gen;
    rig_step(&r, e);
    pulled(&r, 0, gen, false, false);
    for (int i = 0; i < 20; i++) {
        rig_until(&r, r.now + 100);
        assert_null(rig_find(&r, REPL_PULL, 0));
        rig_step(&r, rig_event(&r, REPL_PONG, 0));
    }
    assert_int_equal(repl_behind(r.core), 0);
    e.entry = other; /* nobody told of this one */
    rig_step(&r, e);
    size_t count;
    repl_vector(r.core, &count);
    assert_int_equal(count, 2);
    struct repl_entry more = line(900, 9, 6); /* it went on elsewhere */
    told(&r, 2, &more, 1);
    assert_non_null(rig_find(&r, REPL_PULL, 0));
    rig_close(&r);
}

static void one_pull_per_peer(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 1);
    struct repl_entry tails[3] = { line(901, 9, 4), line(902, 9, 4), line(903, 9, 4) };
    rig_hello(&r, 0, 2, 0, tails, 3);
    for (uint32_t i = 0; i < 3; i++) {
        size_t pulls = 0;
        uint64_t stream = 0;
        for (size_t k = 0; k < r.out.count; k++) {
            if (r.out.item[k].type != REPL_PULL) continue;
            pulls++;
            stream = r.out.item[k].entry.stream;
        }
        assert_int_equal(pulls, 1);
        applied(&r, line(stream, 9, 4), false);
        pulled(&r, 0, i + 1, true, false);
    }
    assert_null(rig_find(&r, REPL_PULL, 0));
    rig_close(&r);
}

static void what_a_lost_peer_told_is_forgotten(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 1);
    rig_up(&r, 1);
    heard(&r, 3, 300);
    struct repl_entry tail = line(900, 9, 4);
    told(&r, 2, &tail, 1);
    assert_int_equal(repl_behind(r.core), 1);
    rig_step(&r, rig_event(&r, REPL_CLOSED, 0));
    assert_int_equal(repl_behind(r.core), 0);
    told(&r, 2, &tail, 1); /* no connection to ask on */
    assert_int_equal(repl_behind(r.core), 0);
    rig_close(&r);
}

static void changes_are_told_once_a_second(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 1);
    rig_up(&r, 1);
    applied(&r, line(300, 3, 1), false);
    applied(&r, line(400, 4, 1), false);
    applied(&r, line(300, 3, 2), false);
    size_t lines = 0, messages = 0;
    for (int64_t end = r.now + 2000; r.now < end;) {
        rig_until(&r, r.now + 1);
        const struct repl_effect *f = rig_find(&r, REPL_SEND_VECTOR, 0);
        if (f == NULL) continue;
        messages++;
        lines += f->vector_count;
        assert_false(f->whole && messages < 2);
        rig_step(&r, rig_event(&r, REPL_PONG, 0));
    }
    assert_int_equal(lines, 2); /* each changed stream once; the other messages are bare pings */
    assert_in_range(messages, 7, 8);
    rig_close(&r);
}

static void a_peer_that_never_speaks_is_asked_for_all(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 1);
    rig_up(&r, 1);
    bool whole = false;
    for (int64_t end = r.now + 6000; r.now < end && !whole;) {
        rig_until(&r, r.now + 10);
        const struct repl_effect *f = rig_find(&r, REPL_SEND_VECTOR, 0);
        if (f == NULL) continue;
        whole = f->whole;
        struct repl_entry tail = line(900, 9, 4);
        struct repl_event e = rig_event(&r, REPL_PONG, 0);
        e.vector = &tail;
        e.vector_count = whole;
        rig_step(&r, e);
    }
    assert_true(whole);
    assert_non_null(rig_find(&r, REPL_PULL, 0));
    rig_close(&r);
}

static void what_was_told_before_the_hello_came_is_asked_for(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 1);
    rig_step(&r, rig_event(&r, REPL_CONNECTED, 0)); /* our hello is on its way; the answer is older than what follows */
    struct repl_entry command = line(555, 2, 1);
    told(&r, 2, &command, 1);
    struct repl_event e = rig_event(&r, REPL_HELLO_OK, 0);
    e.node = 2;
    e.live = 200;
    rig_step(&r, e);
    const struct repl_effect *f = rig_find(&r, REPL_SEND_VECTOR, 0);
    assert_non_null(f);
    assert_true(f->whole);
    e = rig_event(&r, REPL_PONG, 0);
    e.vector = &command;
    e.vector_count = 1;
    e.whole = true;
    rig_step(&r, e);
    assert_non_null(rig_find(&r, REPL_PULL, 0));
    assert_int_equal(repl_position(r.core, 555), 0);
    applied(&r, command, false);
    assert_int_equal(repl_position(r.core, 555), 1);
    rig_close(&r);
}

static void a_retry_waits_for_the_first_attempt(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 2);
    rig_up(&r, 2);
    applied(&r, line(300, 3, 8), false);
    struct repl_entry behind = line(300, 3, 6), there = line(300, 3, 9);
    rig_track(&r, 1, 300, 8, 0);
    assert_int_equal(r.answers, 0);
    const struct repl_effect *f = rig_find(&r, REPL_SEND_VECTOR, 1); /* asked at once, by naming the stream */
    assert_non_null(f);
    assert_int_equal(f->vector[f->vector_count - 1].stream, 300);
    told(&r, 3, &there, 1); /* its own word, but not on our connection */
    assert_int_equal(r.answers, 0);
    struct repl_event e = rig_event(&r, REPL_PONG, 0);
    e.vector = &behind;
    e.vector_count = 1;
    rig_step(&r, e);
    assert_int_equal(r.answers, 0);
    e = rig_event(&r, REPL_PONG, 1);
    e.vector = &there;
    e.vector_count = 1;
    rig_step(&r, e);
    assert_answer(&r, 0, 1, REPL_MET, 2);
    rig_track(&r, 2, 300, 8, 0); /* known by now */
    assert_answer(&r, 1, 2, REPL_MET, 2);
    rig_close(&r);
}

static void nobody_has_more_of_our_own_life(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 2);
    rig_up(&r, 2);
    rig_commit(&r, 3);
    struct repl_entry ahead = line(OWN_STREAM, OWN_NODE, 4);
    told(&r, 3, &ahead, 1); /* by whoever says he is node 3: it is asked itself */
    assert_null(rig_find(&r, REPL_ALARM_FORK, REPL_NO_PEER));
    assert_int_equal(rig_state(&r, 1), REPL_UP);
    const struct repl_effect *f = rig_find(&r, REPL_SEND_VECTOR, 1);
    assert_non_null(f);
    assert_true(f->whole);
    struct repl_event e = rig_event(&r, REPL_PONG, 1);
    e.vector = &ahead;
    e.vector_count = 1;
    e.whole = true;
    rig_step(&r, e);
    assert_non_null(rig_find(&r, REPL_ALARM_FORK, 1));
    assert_int_equal(rig_state(&r, 1), REPL_FORKED);
    assert_int_equal(rig_state(&r, 0), REPL_UP);
    rig_close(&r);
}

/* A peer stands further in a foreign stream; what reaches the same position here is of another history. */
static void another_history_is_met_where_both_arrive(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 2);
    rig_up(&r, 2);
    struct repl_entry there = line(77, 5, 4), here = there;
    there.chain = 100;
    here.chain = 200;
    struct repl_entry ahead = line(OWN_STREAM, OWN_NODE, 4);
    told(&r, 3, &ahead, 1); /* so that it is asked for all it has */
    struct repl_event e = rig_event(&r, REPL_PONG, 1);
    e.vector = &there;
    e.vector_count = 1;
    e.whole = true;
    rig_step(&r, e);
    assert_null(rig_find(&r, REPL_ALARM_FORK, 1));
    e = (struct repl_event){ .type = REPL_APPLIED, .entry = here };
    rig_step(&r, e);
    assert_non_null(rig_find(&r, REPL_ALARM_FORK, 1));
    assert_true(rig_find(&r, REPL_ALARM_FORK, 1)->entry.stream == 77);
    assert_int_equal(rig_state(&r, 1), REPL_UP); /* it is not the peer's stream */
    rig_close(&r);
}

/* Anybody can tell of streams in a peer's name: they take little room, and none from those that are there. */
static void hearsay_fills_no_table(void **state)
{
    (void)state;
    struct rig r;
    size_t before, count;
    static struct repl_entry many[5000];
    rig_open(&r, 2, 2);
    rig_up(&r, 2);
    struct repl_event pong = rig_event(&r, REPL_PONG, 1);
    rig_step(&r, pong); /* of the vector the peers are told of each other */
    (void)repl_vector(r.core, &before);
    for (size_t i = 0; i < ARRAY_LEN(many); i++) many[i] = line(5000 + i, 3, 9);
    told(&r, 3, many, ARRAY_LEN(many));
    (void)repl_vector(r.core, &count);
    assert_in_range(count, before, before + 300);
    rig_until(&r, r.now + 1);
    rig_step(&r, pong);
    rig_until(&r, r.now + 300);
    pong.vector = many;
    pong.vector_count = ARRAY_LEN(many);
    pong.whole = true;
    rig_step(&r, pong); /* its own word on our connection */
    (void)repl_vector(r.core, &count);
    assert_in_range(count, 5000, 5000 + before);
    struct repl_entry more = line(90000, 3, 1);
    told(&r, 3, &more, 1); /* none of them is hearsay any more */
    (void)repl_vector(r.core, &before);
    assert_int_equal(before, count + 1);
    rig_close(&r);
}

/* Two peers that are alive and have nothing: answers what the last step asked of them, and what that asks again. */
static size_t nothing_there(struct rig *r)
{
    size_t pulls = 0;
    bool vector[2] = { false, false }, pull = false;
    uint32_t gen = 0;
    for (;;) {
        for (unsigned p = 0; p < 2; p++) vector[p] = vector[p] || rig_find(r, REPL_SEND_VECTOR, p) != NULL;
        const struct repl_effect *f = rig_find(r, REPL_PULL, 1);
        if (f != NULL) {
            pull = true;
            gen = f->gen;
        }
        if (vector[0] || vector[1]) {
            unsigned p = vector[1];
            vector[p] = false;
            rig_step(r, rig_event(r, REPL_PONG, p));
        } else if (pull) {
            pull = false;
            pulls++;
            struct repl_event e = rig_event(r, REPL_PULLED, 1);
            e.gen = gen;
            rig_step(r, e);
        } else {
            return pulls;
        }
    }
}

/* What was said in a peer's name and is not there is asked for once, forgotten, and for a while not believed again. */
static void hearsay_that_is_untrue_is_forgotten(void **state)
{
    (void)state;
    struct rig r;
    size_t before, count, lines = 0;
    struct repl_entry many[300];
    rig_open(&r, 2, 2);
    rig_up(&r, 2);
    nothing_there(&r);
    (void)repl_vector(r.core, &before);
    for (uint64_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < ARRAY_LEN(many); i++) many[i] = line(5000 + round * 1000 + i, 77, 9);
        told(&r, 3, many, ARRAY_LEN(many));
        assert_int_equal(nothing_there(&r), round == 1 ? 0 : 256); /* the second time it is too soon */
        for (int64_t until = r.now + 4000; r.now < until;) {
            r.now = r.out.wake_ms < until ? r.out.wake_ms : until;
            rig_step(&r, (struct repl_event){ .type = REPL_TICK });
            assert_int_equal(nothing_there(&r), 0);
        }
        assert_int_equal(repl_behind(r.core), 0);
    }
    assert_int_equal(rig_state(&r, 1), REPL_UP);
    const struct repl_entry *v = repl_vector(r.core, &count);
    for (size_t i = 0; i < count; i++) lines += v[i].stream != 0;
    assert_int_equal(lines, before);
    assert_int_equal(count, before + 256); /* the room is used again */
    rig_until(&r, r.now + 300);
    struct repl_entry truth = line(90000, 3, 1);
    struct repl_event pong = rig_event(&r, REPL_PONG, 1);
    pong.vector = &truth;
    pong.vector_count = 1;
    rig_step(&r, pong); /* its own word is believed at once */
    assert_int_equal(repl_behind(r.core), 1);
    rig_close(&r);
}

static void streams_are_capped(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 1);
    for (uint64_t i = 0; i < 70000; i++) applied(&r, line(100000 + i, 9, 1), false);
    size_t count;
    repl_vector(r.core, &count);
    assert_int_equal(count, 65536);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dead_writers_tail_comes_from_a_survivor),
        cmocka_unit_test(a_living_writer_is_waited_for),
        cmocka_unit_test(a_silent_writer_is_not),
        cmocka_unit_test(a_foreign_process_is_pulled_and_told_at_once),
        cmocka_unit_test(the_next_peer_after_a_failure),
        cmocka_unit_test(what_a_snapshot_brings_is_not_pulled),
        cmocka_unit_test(what_left_meanwhile_is_not_asked_for),
        cmocka_unit_test(one_pull_per_peer),
        cmocka_unit_test(what_a_lost_peer_told_is_forgotten),
        cmocka_unit_test(changes_are_told_once_a_second),
        cmocka_unit_test(a_peer_that_never_speaks_is_asked_for_all),
        cmocka_unit_test(what_was_told_before_the_hello_came_is_asked_for),
        cmocka_unit_test(a_retry_waits_for_the_first_attempt),
        cmocka_unit_test(nobody_has_more_of_our_own_life),
        cmocka_unit_test(another_history_is_met_where_both_arrive),
        cmocka_unit_test(hearsay_fills_no_table),
        cmocka_unit_test(hearsay_that_is_untrue_is_forgotten),
        cmocka_unit_test(streams_are_capped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
