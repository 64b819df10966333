/* How many writes are let in while the peers needed for W lag: fewer and fewer, and all again once they caught up. */
#include "repl_rig.h"

#define BATCH 10 /* ops of 100 KiB, say: what fits into one message */

/* Peer 0, which takes a batch when it is told to. */
struct slow {
    struct rig r;
    uint64_t pos;
    uint64_t last[REPL_WINDOW];
    unsigned batches;
};

static void go_on(struct slow *s)
{
    for (const struct repl_effect *f; (f = rig_find(&s->r, REPL_SEND_OPS, 0)) != NULL;) {
        uint64_t count = f->count < BATCH ? f->count : BATCH, last = f->first + count - 1;
        assert_true(s->batches < REPL_WINDOW);
        s->last[s->batches++] = last;
        rig_sent(&s->r, 0, f->first, last);
    }
}

static void commit(struct slow *s, uint64_t count)
{
    rig_commit(&s->r, s->pos += count);
    go_on(s);
}

static void take(struct slow *s)
{
    if (s->batches == 0) return;
    uint64_t last = s->last[0];
    s->last[0] = s->last[1];
    s->batches--;
    rig_ack(&s->r, 0, last);
    go_on(s);
}

static void begin(struct slow *s, unsigned peers, unsigned writes)
{
    *s = (struct slow){ .pos = 0 };
    rig_open(&s->r, peers, writes);
    rig_up(&s->r, peers);
}

static bool admits(struct slow *s)
{
    return repl_admits(s->r.core, 1, s->r.now);
}

static void nobody_lags(void **state)
{
    (void)state;
    struct slow s;
    begin(&s, 1, 2);
    for (int i = 0; i < 300; i++) {
        commit(&s, 1);
        s.r.now += 10;
        take(&s);
        assert_true(admits(&s));
    }
    rig_close(&s.r);
}

static void a_lagging_peer_leaves_little_room(void **state)
{
    (void)state;
    struct slow s;
    begin(&s, 1, 2);
    commit(&s, 1000); /* what it missed while it was away */
    for (int i = 0; i < 90; i++) {
        s.r.now += 100;
        take(&s); /* 10 ops: 100 a second */
        bool in = admits(&s);
        if (i > 12) assert_false(in);
    }
    assert_in_range(repl_room(s.r.core), 50, 150); /* a second of it, of the two that clients wait */
    while (s.batches > 0) take(&s);
    assert_true(admits(&s));
    assert_false(repl_admits(s.r.core, 400, s.r.now)); /* as many at once are not in time */
    for (int i = 0; i < 80; i++) {
        s.r.now += 100;
        commit(&s, 1);
        take(&s);
        assert_true(admits(&s));
    }
    assert_true(repl_room(s.r.core) == SIZE_MAX);
    assert_true(repl_admits(s.r.core, 4000, s.r.now));
    rig_close(&s.r);
}

static void only_who_is_needed_and_up_counts(void **state)
{
    (void)state;
    static const unsigned writes[] = { 2, 3 };
    for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
        struct slow s;
        begin(&s, 2, writes[i]);
        rig_commit(&s.r, 500); /* peer 1 takes nothing */
        go_on(&s);
        s.r.now += 1100;
        while (s.batches > 0) take(&s);
        struct repl_peer_view v;
        repl_peer_view(s.r.core, 0, &v);
        assert_int_equal(v.acked, 500);
        rig_step(&s.r, rig_event(&s.r, REPL_BUSY, 1));
        assert_true(admits(&s)); /* the other one has all, or is the one that hangs */
        rig_close(&s.r);
    }
}

static void a_silent_peer_is_not_a_slow_one(void **state)
{
    (void)state;
    struct slow s;
    begin(&s, 1, 2);
    commit(&s, 500);
    for (int i = 0; i < 30; i++) { /* alive, and no acknowledgement: a write is waited for as ever */
        s.r.now += 200;
        rig_step(&s.r, rig_event(&s.r, REPL_BUSY, 0));
        assert_true(admits(&s));
    }
    rig_step(&s.r, rig_event(&s.r, REPL_CLOSED, 0));
    s.r.now += 100;
    assert_true(admits(&s));
    rig_close(&s.r);
}

/* A peer that takes 100 ops a second, clients that give up after 2 s and try 2000 times a second: what it missed is
 * caught up on nevertheless, and then most of what is let in is there in time. */
static void catching_up_outruns_intake(void **state)
{
    (void)state;
    struct slow s;
    uint64_t seq[4096];
    int64_t until[4096];
    size_t head = 0, tail = 0, met = 0, late = 0, refused = 0;
    begin(&s, 1, 2);
    commit(&s, 3000);
    for (int64_t ms = 0; ms < 120000; ms += 10) {
        s.r.now += 10;
        rig_step(&s.r, rig_event(&s.r, REPL_BUSY, 0));
        go_on(&s);
        if (ms % 100 == 0) take(&s);
        struct repl_peer_view v;
        repl_peer_view(s.r.core, 0, &v);
        for (; tail < head && (seq[tail % 4096] <= v.acked || until[tail % 4096] <= s.r.now); tail++) {
            if (ms < 60000) continue;
            met += seq[tail % 4096] <= v.acked;
            late += seq[tail % 4096] > v.acked;
        }
        for (int i = 0; i < 20; i++) {
            if (head - tail == 4096 || !repl_admits(s.r.core, head - tail + 1, s.r.now)) {
                refused++;
                continue;
            }
            commit(&s, 1);
            seq[head % 4096] = s.pos;
            until[head++ % 4096] = s.r.now + 2000;
        }
    }
    print_message("%zu met, %zu late, %zu refused\n", met, late, refused);
    assert_true(refused > 0);
    assert_true(met > 4000); /* of the 6000 it can take in the second minute */
    assert_true(late < met / 10);
    rig_close(&s.r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_lags),
        cmocka_unit_test(a_lagging_peer_leaves_little_room),
        cmocka_unit_test(only_who_is_needed_and_up_counts),
        cmocka_unit_test(a_silent_peer_is_not_a_slow_one),
        cmocka_unit_test(catching_up_outruns_intake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
