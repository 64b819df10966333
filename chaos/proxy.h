/* proxy.h - one directed link of a mesh as a TCP relay that can be told to misbehave. Loop thread only.
 *
 *   accepted ─no cut─▶ connecting to the target ─▶ relaying both ways ─end, error, truncated─▶ closed
 *
 * What the connecting node sends goes THERE, what it is answered comes BACK; each way has its own fault. A cut holds
 * bytes (they flow on when it is healed, as after a retransmission) and lets no new connection through. A piece is
 * what one read brought: about one message. Swallowed: this piece and everything behind it vanishes while the
 * connection stays open, as TCP knows no hole. Truncated: half of a piece arrives, then the connection ends. What was
 * done is counted. */
#ifndef AIM_CHAOS_PROXY_H
#define AIM_CHAOS_PROXY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct proxy;
struct world;

enum proxy_way { PROXY_THERE, PROXY_BACK, PROXY_WAYS };

struct proxy_fault {
    bool cut;
    double swallow, truncate, corrupt, duplicate;   /* chance of a piece */
    uint32_t delay_ms, jitter_ms;                   /* every piece; order is kept */
    uint32_t dribble;                               /* bytes a millisecond; 0: all at once */
};

struct proxy_count {
    uint64_t pieces, bytes, held, swallowed, truncated, corrupted, duplicated, delayed, dribbled;
};

/* Listens on a free port of 127.0.0.1. Needs proxy_free. */
int proxy_new(struct world *w, uint16_t target, struct proxy **ret, struct err *err);
uint16_t proxy_port(const struct proxy *p);
/* NULL: none. Takes effect on open connections too. */
void proxy_fault_set(struct proxy *p, enum proxy_way way, const struct proxy_fault *f);
const struct proxy_count *proxy_counts(const struct proxy *p, enum proxy_way way);
uint64_t proxy_connections(const struct proxy *p);   /* accepted so far */
void proxy_reset(struct proxy *p);                   /* every connection ends by a reset */
/* Frees it as the loop closes its handles. */
void proxy_free(struct proxy *p);

#endif
