/* load.h - concurrent writers and editors over HTTP, every operation recorded. Loop thread only.
 *
 * A writer has one connection and one operation under way:
 *   resting ─▶ connecting ─▶ asking ─answer─▶ resting … ─nothing left, node given up─▶ done
 *
 * Creators share a number of creates; editors share edits (of the first few acknowledged memories, so that they meet)
 * and deletes (of memories nobody edits). A lost answer is recorded as such and never repeated. */
#ifndef AIM_CHAOS_LOAD_H
#define AIM_CHAOS_LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "err.h"

struct client;
struct history;
struct mesh;

#define LOAD_WRITERS 32
#define LOAD_SHARED 6        /* memories that editors meet at */

struct load_plan {
    const char *ns, *prefix;              /* namespace; prefix of titles */
    unsigned creators, creates;
    unsigned editors, edits, deletes;
    unsigned create_nodes, edit_nodes;    /* bit sets; writer i takes the i-th of them in turn */
    const char *const *agents;            /* X-Agent-Id of creator i modulo agents_count; NULL: none */
    unsigned agents_count;
    unsigned each;                        /* creates per creator; 0: they share all */
    unsigned pause_ms;                    /* up to so long between two operations of a writer */
    int64_t patience_ms;                  /* an unreachable node is tried so long; 0: given up once it is dead */
    /* Once so many creates are acknowledged and so many requests are in flight, strike(data) is called, once, at that
     * very moment: from inside the loop, before anything else happens. NULL: none. */
    unsigned strike_acks, strike_flight;
    void (*strike)(void *data);
    void *strike_data;
};

struct load_tally { unsigned issued, ok, quorum, refused, missed, unknown, other; };

struct load_row { char *id, *title; bool deleted; };

struct load_writer {
    struct load *l;
    unsigned index;
    bool editor, done;
    int node;
    struct client *client;
    uv_timer_t timer;
    unsigned made;                        /* creates it issued */
    unsigned op;                          /* under way; 0: none */
    int kind;
    size_t row;
    int64_t sent_us, trying_since_ms;
};

struct load {
    struct world *w;
    struct mesh *mesh;
    struct history *h;
    struct load_plan plan;
    struct load_writer writer[LOAD_WRITERS];
    unsigned writers, handles;
    struct load_tally create, edit, del;
    struct load_row *row;                 /* acknowledged creates */
    size_t rows;
    uint32_t *took_us; size_t tooks;      /* of answered creates */
    unsigned flight, flight_at_strike, acks_at_strike;
    bool struck, halted;
    char odd[256];                        /* the first answer nobody expects */
};

void load_start(struct load *l, struct world *w, struct mesh *m, struct history *h, const struct load_plan *p);
bool load_done(void *load);               /* every writer has ended: a condition for world_wait */
bool load_struck(void *load);
void load_halt(struct load *l);           /* no further operations; those under way are still waited for */
/* Ends all connections, waits until nothing refers to the load any more, frees. */
void load_release(struct load *l);
/* A quantile of the latencies of answered creates, microseconds; 0 without any. */
uint32_t load_quantile(struct load *l, double q);
/* Creates that got no 201 and no 503, those never sent included. */
unsigned load_failed(const struct load *l);

#endif
