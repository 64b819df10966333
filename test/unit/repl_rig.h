/* repl_rig.h - one core and hands on it: feeds events, keeps the effects of the last step, finds one in them. */
#ifndef AIM_TEST_REPL_RIG_H
#define AIM_TEST_REPL_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/check.h"
#include "repl.h"

#define OWN_NODE 1u
#define OWN_STREAM 100u
#define CHAIN(pos) ((pos) == 0 ? 0 : 7000 + (pos)) /* of the own stream */

struct rig {
    struct repl_core *core;
    struct repl_effects out;
    int64_t now;
    uint32_t gen[REPL_PEERS_MAX];
    struct repl_effect answer[64]; /* all answers since rig_answers_clear */
    size_t answers;
    size_t dials, closes;
};

static inline void rig_step(struct rig *r, struct repl_event e)
{
    e.now_ms = r->now;
    repl_step(r->core, &e, &r->out);
    for (size_t i = 0; i < r->out.count; i++) {
        const struct repl_effect *f = &r->out.item[i];
        if (f->type == REPL_DIAL) {
            r->gen[f->peer] = f->gen;
            r->dials++;
        }
        r->closes += f->type == REPL_CLOSE;
        if (f->type == REPL_ANSWER && r->answers < ARRAY_LEN(r->answer)) r->answer[r->answers++] = *f;
    }
}

static inline void rig_open_with(struct rig *r, unsigned peers, unsigned writes, unsigned second_ops)
{
    *r = (struct rig){ .now = 1000000 };
    struct repl_config c;
    repl_config_default(&c);
    c.node = OWN_NODE;
    c.own = (struct repl_entry){ .stream = OWN_STREAM, .node = OWN_NODE };
    c.peers = peers;
    c.writes = writes;
    c.second_ops = second_ops;
    c.seed = 42;
    r->core = repl_new(&c);
    rig_step(r, (struct repl_event){ .type = REPL_TICK });
}

static inline void rig_open(struct rig *r, unsigned peers, unsigned writes)
{
    rig_open_with(r, peers, writes, 1);
}

static inline void rig_close(struct rig *r)
{
    repl_free(r->core);
}

/* The nth effect of a type for a peer in the last step; NULL. */
static inline const struct repl_effect *rig_find(const struct rig *r, enum repl_effect_type type, unsigned peer)
{
    for (size_t i = 0; i < r->out.count; i++)
        if (r->out.item[i].type == type && (peer == REPL_NO_PEER || r->out.item[i].peer == peer))
            return &r->out.item[i];
    return NULL;
}

/* Lets time pass to `to`, waking the core whenever it asked for it. */
static inline void rig_until(struct rig *r, int64_t to)
{
    while (r->out.wake_ms < to) {
        assert_true(r->out.wake_ms > r->now);
        r->now = r->out.wake_ms;
        rig_step(r, (struct repl_event){ .type = REPL_TICK });
    }
    r->now = to;
    rig_step(r, (struct repl_event){ .type = REPL_TICK });
}

static inline struct repl_event rig_event(const struct rig *r, enum repl_event_type type, unsigned peer)
{
    return (struct repl_event){ .type = type, .peer = peer, .gen = r->gen[peer] };
}

static inline enum repl_link rig_state(const struct rig *r, unsigned peer)
{
    struct repl_peer_view v;
    repl_peer_view(r->core, peer, &v);
    return v.state;
}

static inline void rig_hello(struct rig *r, unsigned peer, uint64_t node, uint64_t pos, const struct repl_entry *vector,
                             size_t count)
{
    assert_int_equal(rig_state(r, peer), REPL_DIALING);
    rig_step(r, rig_event(r, REPL_CONNECTED, peer));
    assert_non_null(rig_find(r, REPL_SEND_HELLO, peer));
    struct repl_event e = rig_event(r, REPL_HELLO_OK, peer);
    e.node = node;
    e.live = node * 100;
    e.entry = (struct repl_entry){ .stream = OWN_STREAM, .pos = pos, .chain = CHAIN(pos) };
    e.vector = vector;
    e.vector_count = count;
    e.whole = true;
    rig_step(r, e);
}

/* Peers 0.. as nodes 2.., with nothing of ours yet. */
static inline void rig_up(struct rig *r, unsigned peers)
{
    for (unsigned p = 0; p < peers; p++) {
        rig_hello(r, p, p + 2, 0, NULL, 0);
        assert_int_equal(rig_state(r, p), REPL_UP);
    }
}

static inline void rig_own(struct rig *r, enum repl_event_type type, uint64_t pos)
{
    struct repl_event e = { .type = type };
    e.entry = (struct repl_entry){ .stream = OWN_STREAM, .node = OWN_NODE, .pos = pos, .chain = CHAIN(pos) };
    rig_step(r, e);
}

static inline void rig_offer(struct rig *r, uint64_t pos)
{
    rig_own(r, REPL_OFFERED, pos);
}

static inline void rig_commit(struct rig *r, uint64_t pos)
{
    rig_own(r, REPL_COMMITTED, pos);
}

static inline void rig_track(struct rig *r, uint64_t tag, uint64_t stream, uint64_t seq, unsigned need)
{
    struct repl_event e = { .type = REPL_TRACK, .tag = tag, .need = need, .deadline_ms = r->now + 2000 };
    e.entry = (struct repl_entry){ .stream = stream, .pos = seq };
    rig_step(r, e);
}

/* Answers the SEND_OPS the core asked for just now: everything from `first` to `last` was sent. */
static inline void rig_sent(struct rig *r, unsigned peer, uint64_t first, uint64_t last)
{
    const struct repl_effect *f = rig_find(r, REPL_SEND_OPS, peer);
    assert_non_null(f);
    assert_int_equal(f->first, first);
    struct repl_event e = rig_event(r, REPL_SENT, peer);
    e.first = first;
    e.entry = (struct repl_entry){ .stream = OWN_STREAM, .pos = last, .chain = CHAIN(last) };
    rig_step(r, e);
}

static inline void rig_ack(struct rig *r, unsigned peer, uint64_t pos)
{
    struct repl_event e = rig_event(r, REPL_ACK, peer);
    e.entry = (struct repl_entry){ .stream = OWN_STREAM, .pos = pos, .chain = CHAIN(pos) };
    rig_step(r, e);
}

static inline void rig_refuse(struct rig *r, unsigned peer)
{
    struct repl_event e = rig_event(r, REPL_CONNECT_FAILED, peer);
    e.refused = true;
    rig_step(r, e);
}

static inline void assert_answer(const struct rig *r, size_t i, uint64_t tag, enum repl_result result, unsigned got)
{
    assert_true(i < r->answers);
    assert_int_equal(r->answer[i].tag, tag);
    assert_int_equal(r->answer[i].result, result);
    assert_int_equal(r->answer[i].got, got);
}

#endif
