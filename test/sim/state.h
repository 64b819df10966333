/* state.h - snapshots between nodes, and what members told of their vectors. */
#ifndef AIM_SIM_STATE_H
#define AIM_SIM_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk.h"

struct conn;
struct cover;
struct event;
struct msg;
struct node;

struct fetch {                   /* of a peer's state */
    bool wanted, begun;
    bool merging, torn;          /* pages went to the lane; and no more will come: it is to be told */
    unsigned peer;
    struct conn *conn;
    uint64_t token;              /* of the present wait */
    uint64_t giver;              /* the peer's node id */
    struct stream_pos *v;        /* the peer's vector; owned, as is `after` */
    size_t count;
    uint16_t section;
    char *after;
    bool closing, clean;         /* the vector is asked for again; nothing was ahead before */
    struct stream_pos *then;     /* that second one; owned */
    size_t then_count;
};
struct ahead {                   /* rows that came with pages may be newer than our vector */
    bool is, busy;
    int64_t since_us;
    struct stream_pos *until;    /* until then; owned; NULL: not known */
    size_t count;
};

struct state_page *state_page_new(void);
void state_page_free(struct state_page *p);
void state_want(struct node *n, unsigned peer);
void state_event(struct node *n, struct event *e);
void state_ask(struct node *n, struct conn *c);
void state_answer(struct node *n, struct conn *c, struct msg *m);
void state_merged(struct node *n, struct work *w);
void state_closed(struct node *n, struct conn *c);
void state_crash(struct node *n);
void state_start(struct node *n);
bool state_ahead(const struct node *n);   /* its file says so */
void state_head(struct node *n, struct work *w);   /* the vector it asked for is durable */
void state_give(struct node *n, struct conn *c, const struct msg *m);
void told_take(struct node *n, uint64_t node, const struct repl_entry *v, size_t count);
void told_forget(struct node *n);
/* What each member but this node told, at most MEMBERS_MAX; how many. */
size_t told_covers(struct node *n, struct cover *ret);
/* This node has all that those vectors held. */
bool told_all_here(struct node *n);
/* All that count told that they know of every removal this node knows of. */
bool told_removals(struct node *n);
bool told_said(const struct node *n, uint64_t stream, uint64_t pos, uint64_t chain);   /* some node, where it stands */
bool told_ended(struct node *n, const struct repl_entry *at);   /* every member told that it has it whole, to its end */

/* ---- streams that leave the vector (ends.c) */
size_t ends_filter(const struct node *n, struct repl_entry *v, size_t count);   /* without what left */
/* The same for what a peer told: a stream it has more of than left here goes on. */
size_t ends_hear(struct node *n, struct repl_entry *v, size_t count);
void ends_left(struct node *n);                            /* its core hears of what left */
bool ends_lacks(const struct node *n);
void ends_event(struct sim *s);

#endif
