/* test_repl_quorum.c - golden stories: when a write is answered, with what. */
#include "repl_rig.h"

static void a_burst_is_answered_by_one_ack(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 2);
    rig_up(&r, 2);
    rig_commit(&r, 1);
    rig_sent(&r, 0, 1, 1);
    rig_commit(&r, 40);
    for (uint64_t seq = 1; seq <= 40; seq++) rig_track(&r, 1000 + seq, OWN_STREAM, seq, 0);
    assert_int_equal(repl_trackers(r.core), 40);
    rig_ack(&r, 0, 1);
    assert_int_equal(r.answers, 1);
    assert_answer(&r, 0, 1001, REPL_MET, 2);
    assert_false(r.answer[0].all);
    rig_commit(&r, 41);
    assert_null(rig_find(&r, REPL_SEND_OPS, 0)); /* asked for already: the batch grows meanwhile */
    struct repl_event e = rig_event(&r, REPL_SENT, 0);
    e.first = 2;
    e.entry = (struct repl_entry){ .pos = 41, .chain = CHAIN(41) };
    rig_step(&r, e);
    rig_ack(&r, 0, 41);
    assert_int_equal(r.answers, 40);
    for (size_t i = 1; i < 40; i++) assert_answer(&r, i, 1001 + i, REPL_MET, 2);
    assert_int_equal(repl_trackers(r.core), 0);
    rig_close(&r);
}

static void ops_travel_while_our_disk_is_at_them(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 2);
    rig_up(&r, 2);
    rig_offer(&r, 3);
    rig_sent(&r, 0, 1, 3);
    rig_ack(&r, 0, 3);
    assert_int_equal(rig_state(&r, 0), REPL_UP); /* it is ahead of our disk, which is no fork */
    rig_track(&r, 1, OWN_STREAM, 3, 0);
    assert_int_equal(r.answers, 0); /* one disk */
    rig_step(&r, rig_event(&r, REPL_CLOSED, 0));
    rig_hello(&r, 0, 2, 3, NULL, 0);
    assert_int_equal(rig_state(&r, 0), REPL_UP);
    assert_int_equal(r.answers, 0);
    assert_int_equal(repl_position(r.core, OWN_STREAM), 0);
    rig_commit(&r, 2);
    assert_int_equal(r.answers, 0);
    rig_commit(&r, 3);
    assert_answer(&r, 0, 1, REPL_MET, 2);
    rig_step(&r, rig_event(&r, REPL_CLOSED, 1));
    rig_hello(&r, 1, 3, 4, NULL, 0);
    assert_int_equal(rig_state(&r, 1), REPL_FORKED); /* nobody was offered that */
    rig_close(&r);
}

static void sends_outlive_the_answer(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 2);
    rig_up(&r, 2);
    rig_commit(&r, 3);
    rig_sent(&r, 0, 1, 3);
    rig_track(&r, 1, OWN_STREAM, 3, 0);
    rig_ack(&r, 0, 3);
    assert_answer(&r, 0, 1, REPL_MET, 2);
    rig_step(&r, rig_event(&r, REPL_CLOSED, 1)); /* the other one comes back later and gets it all the same */
    rig_hello(&r, 1, 3, 0, NULL, 0);
    rig_sent(&r, 1, 1, 3);
    rig_ack(&r, 1, 3);
    struct repl_peer_view v;
    repl_peer_view(r.core, 1, &v);
    assert_int_equal(v.acked, 3);
    rig_close(&r);
}

static void one_peer_down_still_makes_two(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 2);
    rig_refuse(&r, 1);
    rig_hello(&r, 0, 2, 0, NULL, 0);
    rig_commit(&r, 1);
    rig_sent(&r, 0, 1, 1);
    rig_track(&r, 1, OWN_STREAM, 1, 0);
    assert_int_equal(r.answers, 0);
    rig_ack(&r, 0, 1);
    assert_answer(&r, 0, 1, REPL_MET, 2);
    rig_close(&r);
}

static void both_killed_is_known_within_half_a_second(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 2);
    rig_up(&r, 2);
    rig_commit(&r, 1);
    rig_track(&r, 1, OWN_STREAM, 1, 0);
    int64_t start = r.now;
    for (unsigned p = 0; p < 2; p++) {
        rig_step(&r, rig_event(&r, REPL_CLOSED, p));
        assert_int_equal(rig_state(&r, p), REPL_DIALING); /* at once */
        rig_refuse(&r, p);
    }
    assert_int_equal(r.answers, 0); /* one refusal may be a restart */
    while (r.answers == 0) {
        assert_true(r.now - start < 500);
        r.now = r.out.wake_ms;
        rig_step(&r, (struct repl_event){ .type = REPL_TICK });
        for (unsigned p = 0; p < 2; p++)
            if (rig_state(&r, p) == REPL_DIALING) rig_refuse(&r, p);
    }
    assert_true(r.now - start >= 100);
    assert_answer(&r, 0, 1, REPL_UNREACHABLE, 1);
    assert_int_equal(r.answer[0].need, 2);
    rig_commit(&r, 2);
    rig_track(&r, 2, OWN_STREAM, 2, 0);
    assert_answer(&r, 1, 2, REPL_UNREACHABLE, 1); /* later ones at once */
    rig_close(&r);
}

static void those_up_get_grace_so_that_got_is_true(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 3);
    rig_hello(&r, 0, 2, 0, NULL, 0);
    rig_refuse(&r, 1);
    rig_until(&r, r.now + 100);
    while (rig_state(&r, 1) != REPL_DIALING) rig_until(&r, r.out.wake_ms);
    if (rig_find(&r, REPL_SEND_VECTOR, 0) != NULL) rig_step(&r, rig_event(&r, REPL_PONG, 0));
    rig_refuse(&r, 1);
    rig_commit(&r, 1);
    rig_sent(&r, 0, 1, 1);
    rig_track(&r, 1, OWN_STREAM, 1, 0);
    assert_int_equal(r.answers, 0); /* W = 3 is lost, but node 2 may still say it has it */
    r.now += 30;
    rig_ack(&r, 0, 1);
    assert_answer(&r, 0, 1, REPL_UNREACHABLE, 2);
    rig_commit(&r, 2);
    rig_sent(&r, 0, 2, 2);
    rig_track(&r, 2, OWN_STREAM, 2, 0);
    r.now += 100; /* and if it does not say so, a little later */
    rig_step(&r, (struct repl_event){ .type = REPL_TICK });
    assert_answer(&r, 1, 2, REPL_UNREACHABLE, 1);
    rig_close(&r);
}

static void a_hanging_peer_is_left_to_the_deadline(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 2);
    rig_up(&r, 1);
    rig_commit(&r, 1);
    rig_sent(&r, 0, 1, 1);
    rig_track(&r, 1, OWN_STREAM, 1, 0);
    rig_until(&r, r.now + 1999);
    assert_int_equal(r.answers, 0);
    rig_until(&r, r.now + 1);
    assert_answer(&r, 0, 1, REPL_TIMED_OUT, 1);
    rig_close(&r);
}

static void a_reconnect_within_the_deadline_ends_in_met(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 2);
    rig_up(&r, 1);
    rig_commit(&r, 5);
    rig_sent(&r, 0, 1, 5);
    rig_track(&r, 1, OWN_STREAM, 5, 0);
    size_t closes = r.closes;
    rig_until(&r, r.now + 500); /* a cut: no answer, no reset */
    assert_int_equal(r.closes, closes + 1);
    assert_int_equal(rig_state(&r, 0), REPL_DIALING);
    rig_hello(&r, 0, 2, 5, NULL, 0); /* it had it; only the ack was lost */
    assert_answer(&r, 0, 1, REPL_MET, 2);
    assert_null(rig_find(&r, REPL_SEND_OPS, 0));
    rig_close(&r);
}

static void need_decides_per_write(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 2);
    rig_up(&r, 2);
    rig_commit(&r, 1);
    rig_track(&r, 1, OWN_STREAM, 1, 1);
    assert_answer(&r, 0, 1, REPL_MET, 1);
    rig_track(&r, 3, OWN_STREAM, 1, 3);
    rig_track(&r, 2, OWN_STREAM, 1, 2);
    rig_commit(&r, 1);
    struct repl_event e = rig_event(&r, REPL_SENT, 0);
    e.first = 1;
    e.entry = (struct repl_entry){ .pos = 1, .chain = CHAIN(1) };
    rig_step(&r, e);
    e.peer = 1;
    e.gen = r.gen[1];
    rig_step(&r, e);
    rig_ack(&r, 0, 1);
    assert_int_equal(r.answers, 2);
    assert_answer(&r, 1, 2, REPL_MET, 2);
    rig_ack(&r, 1, 1);
    assert_answer(&r, 2, 3, REPL_MET, 3);
    assert_true(r.answer[2].all);
    assert_int_equal(r.answer[2].disks, 3);
    rig_track(&r, 4, OWN_STREAM, 1, 4);
    rig_until(&r, r.now + 100);
    assert_answer(&r, 3, 4, REPL_UNREACHABLE, 3); /* more than there are */
    rig_close(&r);
}

static void a_wiped_peer_loses_its_vote(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 3);
    rig_up(&r, 2);
    rig_commit(&r, 4);
    struct repl_event e = rig_event(&r, REPL_SENT, 0);
    e.first = 1;
    e.entry = (struct repl_entry){ .pos = 4, .chain = CHAIN(4) };
    rig_step(&r, e);
    rig_track(&r, 1, OWN_STREAM, 4, 0);
    rig_ack(&r, 0, 4);
    rig_step(&r, rig_event(&r, REPL_CLOSED, 0));
    rig_hello(&r, 0, 2, 0, NULL, 0);
    e = rig_event(&r, REPL_SENT, 1);
    e.first = 1;
    e.entry = (struct repl_entry){ .pos = 4, .chain = CHAIN(4) };
    rig_step(&r, e);
    rig_ack(&r, 1, 4);
    assert_int_equal(r.answers, 0);
    rig_close(&r);
}

static void ties_and_caps(void **state)
{
    (void)state;
    struct rig r = { .now = 5 };
    struct repl_config c;
    repl_config_default(&c);
    c.node = OWN_NODE;
    c.own.stream = OWN_STREAM;
    c.peers = 1;
    c.writes = 2;
    c.trackers_max = 3;
    r.core = repl_new(&c);
    rig_step(&r, (struct repl_event){ .type = REPL_TICK });
    rig_up(&r, 1);
    rig_commit(&r, 9);
    for (uint64_t tag = 1; tag <= 3; tag++) rig_track(&r, tag, OWN_STREAM, 9, 0); /* retries of one write */
    rig_track(&r, 4, OWN_STREAM, 9, 0);
    assert_answer(&r, 0, 4, REPL_NO_ROOM, 1);
    rig_step(&r, (struct repl_event){ .type = REPL_FORGET, .tag = 2 });
    assert_int_equal(repl_trackers(r.core), 2);
    rig_track(&r, 5, OWN_STREAM, 4, 0); /* an older one, later */
    struct repl_event e = rig_event(&r, REPL_SENT, 0);
    e.first = 1;
    e.entry = (struct repl_entry){ .pos = 4, .chain = CHAIN(4) };
    rig_step(&r, e);
    rig_ack(&r, 0, 4);
    assert_int_equal(r.answers, 2);
    assert_answer(&r, 1, 5, REPL_MET, 2);
    rig_step(&r, (struct repl_event){ .type = REPL_STOP });
    assert_int_equal(r.answers, 4);
    assert_answer(&r, 2, 1, REPL_STOPPED, 1);
    assert_answer(&r, 3, 3, REPL_STOPPED, 1);
    rig_track(&r, 6, OWN_STREAM, 9, 0);
    assert_answer(&r, 4, 6, REPL_STOPPED, 1);
    rig_close(&r);
}

static void a_process_that_stood_still_is_not_certain(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 2);
    rig_refuse(&r, 0);
    rig_until(&r, r.now + 100);
    while (rig_state(&r, 0) != REPL_DIALING) rig_until(&r, r.out.wake_ms);
    rig_refuse(&r, 0);
    rig_commit(&r, 1);
    rig_track(&r, 1, OWN_STREAM, 1, 0);
    assert_answer(&r, 0, 1, REPL_UNREACHABLE, 1);
    r.now += 5000; /* stopped; who knows what happened meanwhile */
    rig_track(&r, 2, OWN_STREAM, 1, 0);
    assert_int_equal(r.answers, 1);
    rig_close(&r);
}

/* Many waiting with all kinds of deadlines, answered in the order of time; the ring wraps and compacts. */
static void deadlines_in_any_order(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 2);
    rig_up(&r, 1);
    rig_commit(&r, 100000);
    uint64_t x = 88172645463325252u;
    int64_t due[500];
    for (uint64_t i = 0; i < 500; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        due[i] = r.now + 1 + (int64_t)(x % 3000);
        struct repl_event e = { .type = REPL_TRACK, .tag = i, .deadline_ms = due[i] };
        e.entry = (struct repl_entry){ .stream = OWN_STREAM, .pos = 1 + x % 100000 };
        rig_step(&r, e);
    }
    size_t answered = 0;
    while (answered < 500) {
        assert_true(r.out.wake_ms < r.now + 4000);
        r.now = r.out.wake_ms > r.now ? r.out.wake_ms : r.now + 1;
        r.answers = 0;
        rig_step(&r, (struct repl_event){ .type = REPL_TICK });
        for (size_t i = 0; i < r.answers; i++) assert_int_equal(due[r.answer[i].tag], r.now);
        answered += r.answers;
    }
    assert_int_equal(repl_trackers(r.core), 0);
    rig_close(&r);
}

static void two_cores_do_not_know_each_other(void **state)
{
    (void)state;
    struct rig a, b;
    rig_open(&a, 1, 2);
    rig_open(&b, 1, 1);
    rig_up(&a, 1);
    rig_commit(&b, 1);
    rig_commit(&a, 1);
    rig_track(&b, 1, OWN_STREAM, 1, 0);
    rig_track(&a, 1, OWN_STREAM, 1, 0);
    assert_answer(&b, 0, 1, REPL_MET, 1);
    assert_int_equal(a.answers, 0);
    rig_close(&a);
    rig_close(&b);
}

/* What a restart left behind: an op of another life's stream, known by the vectors that peers tell. */
static void who_holds_an_op_of_an_earlier_life(void **state)
{
    (void)state;
    struct rig r;
    const struct repl_entry old = { .stream = 77, .node = OWN_NODE, .pos = 5, .chain = 9, .ended = true };
    rig_open(&r, 2, 2);
    struct repl_event e = { .type = REPL_APPLIED, .entry = old };
    rig_step(&r, e);
    assert_false(repl_holds(r.core, 77, 5, 0));
    assert_true(repl_holds(r.core, 77, 5, 1));
    rig_track(&r, 1, 77, 5, 0);
    rig_hello(&r, 0, 2, 0, NULL, 0);
    assert_false(repl_holds(r.core, 77, 5, 0));
    assert_int_equal(r.answers, 0);
    rig_hello(&r, 1, 3, 0, &old, 1);
    assert_true(repl_holds(r.core, 77, 5, 0));
    assert_false(repl_holds(r.core, 77, 6, 0));
    assert_false(repl_holds(r.core, 77, 5, 3));
    assert_answer(&r, 0, 1, REPL_MET, 2);
    rig_commit(&r, 1);
    assert_false(repl_holds(r.core, OWN_STREAM, 1, 0));
    rig_close(&r);
}

/* A node of the original tells nothing of other streams than this life's: nobody waits for it. */
static void originals_are_not_waited_for_in_vain(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 2);
    struct repl_event e = { .type = REPL_APPLIED, .entry = { .stream = 77, .node = OWN_NODE, .pos = 5, .chain = 9 } };
    rig_step(&r, e);
    assert_false(repl_holds(r.core, 77, 5, 0)); /* nobody knows yet what it is */
    rig_step(&r, rig_event(&r, REPL_CONNECTED, 0));
    e = rig_event(&r, REPL_HELLO_ORIGINAL, 0);
    e.node = 9;
    rig_step(&r, e);
    assert_true(repl_holds(r.core, 77, 5, 0));
    rig_track(&r, 1, 77, 5, 0);
    assert_answer(&r, 0, 1, REPL_MET, 1);
    rig_commit(&r, 1);
    rig_sent(&r, 0, 1, 1);
    assert_false(repl_holds(r.core, OWN_STREAM, 1, 0));
    e = rig_event(&r, REPL_ACK, 0);
    e.entry.pos = 1; /* a delete, say: it went by */
    rig_step(&r, e);
    assert_true(repl_holds(r.core, OWN_STREAM, 1, 0));
    rig_close(&r);
}

/* Asked about the very op, it counts; who cannot ask it does not wait for it. */
static void originals_are_asked_about_an_earlier_attempt(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 2);
    struct repl_event e = { .type = REPL_APPLIED, .entry = { .stream = 77, .node = OWN_NODE, .pos = 5, .chain = 9 } };
    rig_step(&r, e);
    rig_step(&r, rig_event(&r, REPL_CONNECTED, 0));
    e = rig_event(&r, REPL_HELLO_ORIGINAL, 0);
    e.node = 9;
    rig_step(&r, e);
    struct repl_event track = { .type = REPL_TRACK, .whole = true, .deadline_ms = r.now + 1000 };
    struct repl_event has = rig_event(&r, REPL_HAS, 0), unasked = { .type = REPL_UNASKED };
    track.entry = has.entry = unasked.entry = (struct repl_entry){ .stream = 77, .pos = 5 };
    track.tag = 1;
    rig_step(&r, track);
    assert_int_equal(repl_trackers(r.core), 1);
    has.entry.pos = 4; /* says nothing of another */
    rig_step(&r, has);
    has.entry.pos = 5;
    has.gen--; /* of a connection before */
    rig_step(&r, has);
    assert_int_equal(repl_trackers(r.core), 1);
    has.gen++;
    rig_step(&r, has);
    assert_answer(&r, 0, 1, REPL_MET, 2);
    track.tag = 2;
    rig_step(&r, track); /* what it said counted for those who waited */
    assert_int_equal(repl_trackers(r.core), 1);
    rig_step(&r, unasked);
    assert_answer(&r, 1, 2, REPL_MET, 1);
    rig_close(&r);
}

/* A node that does not sync counts for W, and for no disk; so it is with ourselves. */
static void who_does_not_sync_is_no_disk(void **state)
{
    (void)state;
    for (int own = 0; own < 2; own++) {
        struct rig r = { .now = 1000000 };
        struct repl_config c;
        repl_config_default(&c);
        c.node = OWN_NODE;
        c.own = (struct repl_entry){ .stream = OWN_STREAM, .node = OWN_NODE };
        c.peers = 2;
        c.writes = 2;
        c.relaxed = own;
        r.core = repl_new(&c);
        rig_step(&r, (struct repl_event){ .type = REPL_TICK });
        for (unsigned p = 0; p < 2; p++) {
            rig_step(&r, rig_event(&r, REPL_CONNECTED, p));
            struct repl_event e = rig_event(&r, REPL_HELLO_OK, p);
            e.node = p + 2;
            e.live = e.node * 100;
            e.whole = true;
            e.relaxed = p == 0;
            e.entry = (struct repl_entry){ .stream = OWN_STREAM };
            rig_step(&r, e);
        }
        rig_commit(&r, 1);
        rig_sent(&r, 0, 1, 1);
        rig_track(&r, 1, OWN_STREAM, 1, 2);
        rig_track(&r, 2, OWN_STREAM, 1, 3);
        rig_ack(&r, 0, 1);
        assert_answer(&r, 0, 1, REPL_MET, 2);
        assert_int_equal(r.answer[0].disks, 1 - own);
        struct repl_event e = rig_event(&r, REPL_SENT, 1);
        e.first = 1;
        e.entry = (struct repl_entry){ .stream = OWN_STREAM, .pos = 1, .chain = CHAIN(1) };
        rig_step(&r, e);
        rig_ack(&r, 1, 1);
        assert_answer(&r, 1, 2, REPL_MET, 3);
        assert_int_equal(r.answer[1].disks, 2 - own);
        assert_true(r.answer[1].all);
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_is_answered_by_one_ack),
        cmocka_unit_test(ops_travel_while_our_disk_is_at_them),
        cmocka_unit_test(sends_outlive_the_answer),
        cmocka_unit_test(one_peer_down_still_makes_two),
        cmocka_unit_test(both_killed_is_known_within_half_a_second),
        cmocka_unit_test(those_up_get_grace_so_that_got_is_true),
        cmocka_unit_test(a_hanging_peer_is_left_to_the_deadline),
        cmocka_unit_test(a_reconnect_within_the_deadline_ends_in_met),
        cmocka_unit_test(need_decides_per_write),
        cmocka_unit_test(a_wiped_peer_loses_its_vote),
        cmocka_unit_test(ties_and_caps),
        cmocka_unit_test(a_process_that_stood_still_is_not_certain),
        cmocka_unit_test(deadlines_in_any_order),
        cmocka_unit_test(two_cores_do_not_know_each_other),
        cmocka_unit_test(who_holds_an_op_of_an_earlier_life),
        cmocka_unit_test(originals_are_not_waited_for_in_vain),
        cmocka_unit_test(originals_are_asked_about_an_earlier_attempt),
        cmocka_unit_test(who_does_not_sync_is_no_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
