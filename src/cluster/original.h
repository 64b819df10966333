/* original.h - what is known of a peer that is, or was when last heard of, a node of the original. Loop thread only.
 *
 * It is told of our changes on two ways. Live: each op of our stream is one push, on the link, answered in order
 * (original.c). All else - what was written while it was away, by earlier lives, by commands, by other nodes - is
 * offered by an exchange that comes round every few seconds on a connection of its own; it also asks for its rows
 * (mixed.c).
 *
 *   our stream:   |---- offered by the exchange ----|.... not yet ....|---- offered live ----|
 *                 0                       offered[own]           live_from               live */
#ifndef AIM_CLUSTER_ORIGINAL_H
#define AIM_CLUSTER_ORIGINAL_H

#include "cluster/foreign_row.h"
#include "cluster/internal.h"

#define REFUSALS_MAX 16
#define PUSH_TIMEOUT_MS 5000

struct offer { uint64_t stream, pos; };
struct refusal { char id[129], why[160]; int64_t at_us; };
/* id: one it sent; mark 0: none; again: not one of our stream in its turn, but of this op, 0: no such */
struct live_push { uint64_t seq, mark; unsigned rows, deletions; char id[129]; struct stamp again; };

struct original {
    bool remembered;                 /* it was a node of the original when last heard of */
    uint64_t live_from, live;
    struct live_push asked[ASKED_MAX]; unsigned asked_count;   /* unanswered, oldest first */
    bool filled;                     /* it was offered every row there was at some moment; the rest is in the log */
    struct offer *offered; size_t offered_count;               /* owned; by stream, ascending */
    int64_t cursor_us;               /* greatest updated_at read from it; 0: nothing */
    bool changed;                    /* since it was saved */
    struct foreign_marks marks, told; /* rows seen there; refusals of its rows */
    struct refusal refusal[REFUSALS_MAX];                      /* the last ones, round and round */
    uint64_t refused, pulled, pushed, deleted_again;           /* rows */
    struct mixed *mixed;             /* owned: the exchange */
};

/* original.c */
struct original *original_new(struct peer *p);
void original_free(struct original *o);
/* The peer answered as a node of the original: from where in our stream it is served live. */
uint64_t original_met(struct peer *p);
void original_not(struct peer *p);                /* it is a node of our kind */
uint64_t original_offered(const struct original *o, uint64_t stream);
void original_offer_set(struct original *o, uint64_t stream, uint64_t pos);
void original_offer_all(struct original *o, const struct offer *offer, size_t count);   /* ascending; copied */
void original_join(struct peer *p);               /* the exchange came to where the live pushes began */
void original_refuse(struct peer *p, const char *id, const char *why);
void original_refuse_once(struct peer *p, const char *id, const char *why);   /* one that comes round again */
void original_sender(char *out, size_t size);     /* "host:<name>" */
/* Of one op, out of turn, for somebody who waits for just that; told to the core when it has it. */
void original_again(struct peer *p, const struct stamp *op, const void *body, size_t len);
uint64_t original_backlog(const struct peer *p);  /* ops it was not offered yet */
json_t *original_status(const struct peer *p);

/* again.c: nodes of the original are asked about an op that somebody waits for. id: of its row, may be NULL */
void again_ask(struct cluster *c, const struct stamp *op, const char *id);

/* mixed.c */
struct mixed *mixed_new(struct peer *p);
void mixed_free(struct mixed *x);                 /* after mixed_stop, with no job on its way */
void mixed_tick(struct peer *p, int64_t now_ms);
void mixed_soon(struct peer *p);                  /* the next round at once */
void mixed_stop(struct peer *p);
void mixed_forget(struct peer *p);                /* it starts anew when it is an original again */
bool mixed_filling(const struct peer *p);

#endif
