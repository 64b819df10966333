/* test_repl_link.c - golden stories of one link: hello, window, rewind, forks, silence, whom it may be. */
#include "repl_rig.h"

static void the_window_holds_two_batches(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 1);
    rig_up(&r, 1);
    rig_commit(&r, 10);
    rig_sent(&r, 0, 1, 10);
    rig_commit(&r, 20);
    rig_sent(&r, 0, 11, 20);
    rig_commit(&r, 900);
    assert_null(rig_find(&r, REPL_SEND_OPS, 0));
    rig_ack(&r, 0, 10);
    const struct repl_effect *f = rig_find(&r, REPL_SEND_OPS, 0);
    assert_non_null(f); /* what gathered meanwhile goes at once */
    assert_int_equal(f->count, REPL_BATCH_OPS);
    rig_sent(&r, 0, 21, 532);
    assert_null(rig_find(&r, REPL_SEND_OPS, 0));
    rig_ack(&r, 0, 20);
    rig_sent(&r, 0, 533, 900);
    rig_close(&r);
}

static void the_receivers_position_rewinds(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 2);
    rig_up(&r, 1);
    rig_commit(&r, 20);
    rig_sent(&r, 0, 1, 10);
    rig_sent(&r, 0, 11, 20);
    rig_track(&r, 1, OWN_STREAM, 20, 0);
    rig_ack(&r, 0, 0);      /* the first one did not arrive whole */
    rig_sent(&r, 0, 1, 20); /* again from the start, at once */
    rig_ack(&r, 0, 0);      /* the second one: a gap; nothing is sent a third time */
    assert_null(rig_find(&r, REPL_SEND_OPS, 0));
    rig_ack(&r, 0, 20);
    assert_answer(&r, 0, 1, REPL_MET, 2);
    rig_commit(&r, 21);
    rig_sent(&r, 0, 21, 21);
    rig_close(&r);
}

static void a_batch_asked_for_before_a_rewind_moves_nothing(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 1);
    rig_up(&r, 1);
    rig_commit(&r, 10);
    rig_sent(&r, 0, 1, 10);
    rig_commit(&r, 20);
    rig_ack(&r, 0, 0); /* while 11..20 is being composed */
    struct repl_event e = rig_event(&r, REPL_SENT, 0);
    e.first = 11;
    e.entry = (struct repl_entry){ .pos = 20, .chain = CHAIN(20) };
    rig_step(&r, e);
    rig_sent(&r, 0, 1, 20);
    rig_ack(&r, 0, 0); /* of 11..20 */
    assert_null(rig_find(&r, REPL_SEND_OPS, 0));
    rig_ack(&r, 0, 20);
    struct repl_peer_view v;
    repl_peer_view(r.core, 0, &v);
    assert_int_equal(v.next, 21);
    rig_close(&r);
}

/* A peer that merges a snapshot stays where it is: no hurry to try again. */
static void what_is_not_taken_comes_again_later(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 1);
    rig_up(&r, 1);
    rig_commit(&r, 10);
    rig_sent(&r, 0, 1, 10);
    rig_ack(&r, 0, 0);
    rig_sent(&r, 0, 1, 10);
    rig_ack(&r, 0, 0);
    assert_null(rig_find(&r, REPL_SEND_OPS, 0));
    rig_until(&r, r.now + 199);
    assert_null(rig_find(&r, REPL_SEND_OPS, 0));
    rig_until(&r, r.now + 1);
    rig_sent(&r, 0, 1, 10);
    rig_ack(&r, 0, 10);
    rig_commit(&r, 20);
    assert_non_null(rig_find(&r, REPL_SEND_OPS, 0)); /* at once again */
    rig_close(&r);
}

static void a_position_inside_a_batch_is_looked_up(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 2);
    rig_up(&r, 1);
    rig_commit(&r, 10);
    rig_sent(&r, 0, 1, 10);
    rig_track(&r, 1, OWN_STREAM, 5, 0);
    rig_ack(&r, 0, 6);
    const struct repl_effect *f = rig_find(&r, REPL_CHECK_CHAIN, 0);
    assert_non_null(f);
    assert_int_equal(f->entry.pos, 6);
    assert_int_equal(r.answers, 0);
    struct repl_event e = rig_event(&r, REPL_CHECKED, 0);
    e.ok = true;
    rig_step(&r, e);
    assert_answer(&r, 0, 1, REPL_MET, 2);
    rig_sent(&r, 0, 7, 10);
    rig_close(&r);
}

static void hello_in_the_middle_is_checked(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 2);
    rig_commit(&r, 10);
    rig_track(&r, 1, OWN_STREAM, 4, 0);
    rig_hello(&r, 0, 2, 4, NULL, 0);
    assert_int_equal(rig_state(&r, 0), REPL_CHECKING);
    assert_int_equal(r.answers, 0);
    struct repl_event e = rig_event(&r, REPL_CHECKED, 0);
    e.ok = true;
    rig_step(&r, e);
    assert_answer(&r, 0, 1, REPL_MET, 2);
    rig_sent(&r, 0, 5, 10);
    rig_close(&r);
}

/* Its log begins behind what the peer has: the peer gets rows from somebody, and says where it stands then. */
static void a_starving_link_asks_where_the_peer_stands(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 2);
    rig_up(&r, 1);
    rig_commit(&r, 10);
    rig_track(&r, 1, OWN_STREAM, 8, 0);
    rig_commit(&r, 10);
    struct repl_event e = rig_event(&r, REPL_SENT, 0);
    e.first = 1; /* entry.pos 0: nothing there */
    rig_step(&r, e);
    const struct repl_effect *f = NULL;
    while (f == NULL) {
        rig_until(&r, r.out.wake_ms);
        if (rig_find(&r, REPL_SEND_OPS, 0)) {
            const struct repl_effect *asked = rig_find(&r, REPL_SEND_VECTOR, 0);
            assert_null(asked);
            rig_step(&r, e);
        }
        f = rig_find(&r, REPL_SEND_VECTOR, 0);
    }
    bool named = false;
    for (size_t i = 0; i < f->vector_count; i++) named = named || f->vector[i].stream == OWN_STREAM;
    assert_true(named);
    struct repl_entry there = { .stream = OWN_STREAM, .node = OWN_NODE, .pos = 8, .chain = CHAIN(8) };
    struct repl_event pong = rig_event(&r, REPL_PONG, 0);
    pong.node = 2;
    pong.vector = &there;
    pong.vector_count = 1;
    rig_step(&r, pong);
    f = rig_find(&r, REPL_CHECK_CHAIN, 0);
    assert_non_null(f);
    assert_int_equal(f->entry.pos, 8);
    assert_int_equal(r.answers, 0);
    struct repl_event checked = rig_event(&r, REPL_CHECKED, 0);
    checked.ok = true;
    rig_step(&r, checked);
    assert_answer(&r, 0, 1, REPL_MET, 2);
    rig_sent(&r, 0, 9, 10);
    rig_close(&r);
}

static void forks_are_told_and_do_not_count(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 3, 2);
    rig_commit(&r, 10);
    rig_hello(&r, 0, 2, 11, NULL, 0); /* ahead of the writer */
    assert_int_equal(rig_state(&r, 0), REPL_FORKED);
    assert_non_null(rig_find(&r, REPL_ALARM_FORK, 0));
    assert_non_null(rig_find(&r, REPL_CLOSE, 0));

    rig_hello(&r, 1, 3, 4, NULL, 0); /* the log knows another chain there */
    rig_step(&r, rig_event(&r, REPL_CHECKED, 1));
    assert_int_equal(rig_state(&r, 1), REPL_FORKED);

    rig_hello(&r, 2, 4, 0, NULL, 0); /* another chain behind a batch of ours */
    rig_sent(&r, 2, 1, 8);
    rig_track(&r, 1, OWN_STREAM, 8, 0);
    struct repl_event e = rig_event(&r, REPL_ACK, 2);
    e.entry = (struct repl_entry){ .pos = 8, .chain = 666 };
    rig_step(&r, e);
    assert_int_equal(rig_state(&r, 2), REPL_FORKED);
    assert_answer(&r, 0, 1, REPL_UNREACHABLE, 1);
    rig_until(&r, r.now + 4900);
    assert_int_equal(r.dials, 3);
    rig_until(&r, r.now + 200);
    assert_int_equal(r.dials, 6); /* slowly */
    rig_close(&r);
}

static void a_url_of_our_own_never_counts(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 2);
    rig_hello(&r, 0, OWN_NODE, 0, NULL, 0);
    assert_int_equal(rig_state(&r, 0), REPL_SELF);
    assert_non_null(rig_find(&r, REPL_CLOSE, 0));
    rig_hello(&r, 1, 3, 0, NULL, 0);
    rig_commit(&r, 1);
    rig_sent(&r, 1, 1, 1);
    rig_track(&r, 1, OWN_STREAM, 1, 0);
    assert_int_equal(r.answers, 0);
    rig_ack(&r, 1, 1);
    assert_answer(&r, 0, 1, REPL_MET, 2);
    assert_true(r.answer[0].all); /* our own URL is no peer that could lack it */
    rig_until(&r, r.now + 60000);
    assert_int_equal(rig_state(&r, 0), REPL_SELF);
    rig_close(&r);
}

static void another_life_of_our_id_never_counts_and_is_asked_again(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 2);
    rig_step(&r, rig_event(&r, REPL_CONNECTED, 0));
    struct repl_event e = rig_event(&r, REPL_HELLO_OK, 0);
    e.node = OWN_NODE;
    e.live = OWN_STREAM + 1; /* a copied file, started beside ours */
    e.whole = true;
    rig_step(&r, e);
    assert_int_equal(rig_state(&r, 0), REPL_TWIN);
    rig_hello(&r, 1, 3, 0, NULL, 0);
    rig_commit(&r, 1);
    rig_sent(&r, 1, 1, 1);
    rig_track(&r, 1, OWN_STREAM, 1, 3);
    rig_ack(&r, 1, 1);
    assert_int_equal(r.answers == 1 && r.answer[0].result == REPL_MET, 0); /* two of three, whatever it says */
    rig_until(&r, r.now + 6000);
    rig_hello(&r, 0, 4, 0, NULL, 0); /* it took an id of its own */
    assert_int_equal(rig_state(&r, 0), REPL_UP);
    rig_close(&r);
}

static void two_urls_of_one_node_count_once(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 3);
    rig_hello(&r, 0, 2, 0, NULL, 0);
    rig_hello(&r, 1, 2, 0, NULL, 0);
    assert_int_equal(rig_state(&r, 1), REPL_TWIN);
    rig_commit(&r, 1);
    rig_sent(&r, 0, 1, 1);
    rig_track(&r, 1, OWN_STREAM, 1, 0);
    rig_ack(&r, 0, 1);
    assert_answer(&r, 0, 1, REPL_UNREACHABLE, 2);

    rig_track(&r, 2, OWN_STREAM, 1, 3); /* the first URL dies, the second takes over: still one node */
    rig_step(&r, rig_event(&r, REPL_CLOSED, 0));
    rig_refuse(&r, 0);
    rig_hello(&r, 1, 2, 1, NULL, 0);
    assert_int_equal(rig_state(&r, 1), REPL_UP);
    for (size_t i = 0; i < r.answers; i++) assert_int_not_equal(r.answer[i].result, REPL_MET);
    rig_track(&r, 3, OWN_STREAM, 1, 2);
    assert_int_equal(r.answer[r.answers - 1].result, REPL_MET);
    rig_close(&r);
}

static void a_url_with_a_new_node_behind_it(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 3, 3); /* the third one hangs, so there is something to wait for */
    rig_hello(&r, 0, 2, 0, NULL, 0);
    rig_hello(&r, 1, 2, 0, NULL, 0);
    assert_int_equal(rig_state(&r, 1), REPL_TWIN);
    rig_commit(&r, 1);
    rig_sent(&r, 0, 1, 1);
    rig_track(&r, 1, OWN_STREAM, 1, 3);
    rig_ack(&r, 0, 1);
    rig_step(&r, rig_event(&r, REPL_CLOSED, 0));
    rig_hello(&r, 1, 9, 1, NULL, 0); /* its disk was lost; the empty one caught up from others */
    assert_int_equal(rig_state(&r, 1), REPL_UP);
    assert_int_equal(r.answers, 0);
    rig_close(&r);
}

static void the_original_acks_one_by_one(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 2);
    rig_step(&r, rig_event(&r, REPL_CONNECTED, 0));
    struct repl_event e = rig_event(&r, REPL_HELLO_ORIGINAL, 0);
    e.node = 77;
    rig_step(&r, e);
    assert_int_equal(rig_state(&r, 0), REPL_UP);
    rig_offer(&r, 2); /* its answer would come before anybody waits for it */
    assert_null(rig_find(&r, REPL_SEND_OPS, 0));
    rig_commit(&r, 2);
    assert_int_equal(rig_find(&r, REPL_SEND_OPS, 0)->count, 1);
    rig_sent(&r, 0, 1, 1);
    rig_sent(&r, 0, 2, 2);
    rig_track(&r, 1, OWN_STREAM, 1, 0);
    rig_track(&r, 2, OWN_STREAM, 2, 0);
    e = rig_event(&r, REPL_ACK, 0);
    e.entry.pos = 1; /* a delete, say: it went by, and counts for nothing */
    rig_step(&r, e);
    e.entry.pos = 2;
    e.counts = true;
    rig_step(&r, e);
    assert_int_equal(r.answers, 1);
    assert_answer(&r, 0, 2, REPL_MET, 2);
    assert_int_equal(r.answer[0].disks, 1);
    rig_until(&r, r.now + 300);
    assert_null(rig_find(&r, REPL_SEND_VECTOR, 0));
    rig_close(&r);
}

static void stale_generations_are_ignored(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 2);
    rig_up(&r, 1);
    rig_commit(&r, 3);
    rig_sent(&r, 0, 1, 3);
    rig_track(&r, 1, OWN_STREAM, 3, 0);
    struct repl_event old = rig_event(&r, REPL_ACK, 0);
    old.entry = (struct repl_entry){ .pos = 3, .chain = CHAIN(3) };
    rig_step(&r, rig_event(&r, REPL_CLOSED, 0));
    rig_hello(&r, 0, 2, 0, NULL, 0);
    rig_step(&r, old); /* buffered bytes of the old connection */
    assert_int_equal(r.answers, 0);
    old.type = REPL_CLOSED;
    rig_step(&r, old);
    assert_int_equal(rig_state(&r, 0), REPL_UP);
    rig_close(&r);
}

static void slow_is_not_dead(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 2);
    rig_up(&r, 1);
    rig_commit(&r, 1);
    rig_sent(&r, 0, 1, 1);
    size_t dials = r.dials;
    for (int i = 0; i < 50; i++) { /* ten seconds in fsync, saying so */
        rig_until(&r, r.now + 200);
        rig_step(&r, rig_event(&r, REPL_BUSY, 0));
    }
    assert_int_equal(r.dials, dials);
    rig_ack(&r, 0, 1);
    rig_close(&r);
}

/* Gives the link's silence so long and not a moment longer. */
static void silent_for(struct rig *r, int64_t ms)
{
    size_t closes = r->closes;
    rig_until(r, r->now + ms - 1);
    assert_int_equal(r->closes, closes);
    rig_until(r, r->now + 1);
    assert_int_equal(r->closes, closes + 1);
    assert_int_equal(rig_state(r, 0), REPL_DIALING); /* at once */
}

static void silent_batches_are_waited_for_longer(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 2);
    rig_up(&r, 1);
    rig_commit(&r, 1);
    static const int64_t limits[] = { 500, 500, 500, 1000, 2000, 4000, 4000 };
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        rig_sent(&r, 0, 1, 1);
        silent_for(&r, limits[i]);
        rig_hello(&r, 0, 2, 0, NULL, 0);
    }
    rig_sent(&r, 0, 1, 1);
    rig_ack(&r, 0, 1);
    rig_commit(&r, 2);
    rig_sent(&r, 0, 2, 2);
    silent_for(&r, 500); /* an answer makes it quick again */
    rig_close(&r);
}

/* A path that loses answers is not a slow one: within a client's 3 s every link gets five tries. */
static void lost_answers_do_not_lengthen_the_wait(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 2);
    rig_up(&r, 1);
    for (uint64_t n = 1; n <= 20; n++) {
        rig_commit(&r, n);
        rig_sent(&r, 0, n, n);
        rig_track(&r, n, OWN_STREAM, n, 0);
        silent_for(&r, 500);
        if (n % 2 == 0) { /* and the hello's answer is lost now and then */
            rig_step(&r, rig_event(&r, REPL_CONNECTED, 0));
            silent_for(&r, 500);
        }
        rig_hello(&r, 0, 2, n, NULL, 0); /* it had arrived */
        assert_int_equal(r.answers, n);
        assert_int_equal(r.answer[n - 1].result, REPL_MET);
    }
    rig_close(&r);
}

static void what_was_too_much_is_sent_in_pieces(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 2);
    rig_up(&r, 1);
    rig_commit(&r, 50000);
    static const unsigned counts[] = { 512, 128, 32, 8, 2, 1, 1 };
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        const struct repl_effect *f = rig_find(&r, REPL_SEND_OPS, 0);
        assert_non_null(f);
        assert_int_equal(f->count, counts[i]);
        rig_sent(&r, 0, 1, counts[i]);
        while (rig_state(&r, 0) == REPL_UP) rig_until(&r, r.out.wake_ms);
        rig_hello(&r, 0, 2, 0, NULL, 0);
    }
    rig_sent(&r, 0, 1, 1);
    rig_sent(&r, 0, 2, 2);
    rig_ack(&r, 0, 1);
    const struct repl_effect *f = rig_find(&r, REPL_SEND_OPS, 0);
    assert_non_null(f);
    assert_int_equal(f->count, 2); /* and grows with every answer */
    for (unsigned want = 4; want <= 512; want *= 2) {
        rig_sent(&r, 0, f->first, f->first + f->count - 1);
        struct repl_peer_view v;
        repl_peer_view(r.core, 0, &v);
        rig_ack(&r, 0, v.next - 1);
        f = rig_find(&r, REPL_SEND_OPS, 0);
        assert_non_null(f);
        assert_int_equal(f->count, want);
    }
    rig_close(&r);
}

static void ops_go_before_vectors(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 2);
    rig_up(&r, 1);
    struct repl_event e = rig_event(&r, REPL_APPLIED, 0); /* news that the next hello's vector is older than */
    rig_commit(&r, 1);
    rig_sent(&r, 0, 1, 1);
    rig_step(&r, rig_event(&r, REPL_CLOSED, 0));
    rig_step(&r, rig_event(&r, REPL_CONNECTED, 0));
    e.entry = (struct repl_entry){ .stream = 300, .node = 3, .pos = 4, .chain = 44 };
    rig_step(&r, e);
    rig_track(&r, 9, 300, 4, 3); /* somebody waits for it: it is asked about at once */
    e = rig_event(&r, REPL_HELLO_OK, 0);
    e.node = 2;
    e.entry = (struct repl_entry){ .stream = OWN_STREAM };
    e.whole = true;
    rig_step(&r, e);
    const struct repl_effect *ops = rig_find(&r, REPL_SEND_OPS, 0), *vector = rig_find(&r, REPL_SEND_VECTOR, 0);
    assert_non_null(ops);
    assert_non_null(vector);
    assert_true(ops < vector);
    rig_close(&r);
}

static void three_missed_pings(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2, 2);
    rig_up(&r, 2);
    int64_t start = r.now;
    while (rig_state(&r, 0) == REPL_UP) {
        rig_until(&r, r.out.wake_ms);
        if (rig_state(&r, 0) == REPL_UP && rig_find(&r, REPL_SEND_VECTOR, 1)) {
            rig_step(&r, rig_event(&r, REPL_PONG, 1));
        }
    }
    assert_int_equal(rig_state(&r, 0), REPL_SUSPECT);
    assert_int_equal(r.now - start, 1000);
    if (rig_find(&r, REPL_SEND_VECTOR, 1)) rig_step(&r, rig_event(&r, REPL_PONG, 1));
    rig_until(&r, start + 1249);
    assert_int_equal(rig_state(&r, 0), REPL_SUSPECT);
    rig_until(&r, start + 1250);
    assert_int_equal(rig_state(&r, 0), REPL_DIALING);
    rig_close(&r);
}

static void dials_back_off_one_at_a_time(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 1);
    rig_until(&r, r.now + 30000); /* a black hole: every dial ends at its limit of 250 ms */
    assert_true(r.dials >= 30000 / (250 + 1000) && r.dials <= 30000 / 260 + 1);
    int64_t start = r.now;
    size_t dials = r.dials;
    while (r.now - start < 30000) {
        if (rig_state(&r, 0) == REPL_DIALING) rig_refuse(&r, 0);
        r.now = r.out.wake_ms;
        rig_step(&r, (struct repl_event){ .type = REPL_TICK });
    }
    assert_true(r.dials - dials >= 30 && r.dials - dials <= 120); /* about half a second apart */

    struct repl_event e = { .type = REPL_INBOUND, .node = 2 }; /* it speaks: dial now, not in a second */
    if (rig_state(&r, 0) == REPL_DIALING) rig_refuse(&r, 0);
    rig_step(&r, e);
    assert_true(r.out.wake_ms <= r.now + 100);
    rig_close(&r);
}

static void refused_hellos_are_slow(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1, 2);
    rig_step(&r, rig_event(&r, REPL_CONNECTED, 0));
    rig_step(&r, rig_event(&r, REPL_HELLO_REFUSED, 0));
    assert_int_equal(rig_state(&r, 0), REPL_REFUSED);
    assert_true(r.out.wake_ms >= r.now + 5000);
    rig_commit(&r, 1);
    rig_track(&r, 1, OWN_STREAM, 1, 0);
    assert_answer(&r, 0, 1, REPL_UNREACHABLE, 1);
    rig_close(&r);
}

static void few_ops_wait_for_the_batch_before_them(void **state)
{
    (void)state;
    struct rig r;
    rig_open_with(&r, 1, 2, 16);
    rig_up(&r, 1);
    rig_commit(&r, 1);
    rig_sent(&r, 0, 1, 1); /* alone: at once */
    rig_commit(&r, 6);
    assert_null(rig_find(&r, REPL_SEND_OPS, 0));
    rig_ack(&r, 0, 1);
    assert_int_equal(rig_find(&r, REPL_SEND_OPS, 0)->count, 5);
    rig_sent(&r, 0, 2, 6);
    rig_commit(&r, 21);
    assert_null(rig_find(&r, REPL_SEND_OPS, 0));
    rig_commit(&r, 22);
    assert_int_equal(rig_find(&r, REPL_SEND_OPS, 0)->count, 16); /* so many go behind it */
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_window_holds_two_batches),
        cmocka_unit_test(the_receivers_position_rewinds),
        cmocka_unit_test(a_batch_asked_for_before_a_rewind_moves_nothing),
        cmocka_unit_test(what_is_not_taken_comes_again_later),
        cmocka_unit_test(a_position_inside_a_batch_is_looked_up),
        cmocka_unit_test(hello_in_the_middle_is_checked),
        cmocka_unit_test(a_starving_link_asks_where_the_peer_stands),
        cmocka_unit_test(forks_are_told_and_do_not_count),
        cmocka_unit_test(a_url_of_our_own_never_counts),
        cmocka_unit_test(another_life_of_our_id_never_counts_and_is_asked_again),
        cmocka_unit_test(two_urls_of_one_node_count_once),
        cmocka_unit_test(a_url_with_a_new_node_behind_it),
        cmocka_unit_test(the_original_acks_one_by_one),
        cmocka_unit_test(stale_generations_are_ignored),
        cmocka_unit_test(slow_is_not_dead),
        cmocka_unit_test(silent_batches_are_waited_for_longer),
        cmocka_unit_test(lost_answers_do_not_lengthen_the_wait),
        cmocka_unit_test(what_was_too_much_is_sent_in_pieces),
        cmocka_unit_test(ops_go_before_vectors),
        cmocka_unit_test(three_missed_pings),
        cmocka_unit_test(dials_back_off_one_at_a_time),
        cmocka_unit_test(refused_hellos_are_slow),
        cmocka_unit_test(few_ops_wait_for_the_batch_before_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
