/* soak.h - `ai-memory-chaos soak`: hours of it. */
#ifndef AIM_CHAOS_SOAK_H
#define AIM_CHAOS_SOAK_H

#include <jansson.h>

#include "campaign.h"
#include "err.h"

/* Rounds until the hours are over: one cycle of every class with a new seed, and a burst with a fault on a mesh that
 * lives through all rounds, whose memory, descriptors, log and disk are measured after each. Leaves out/round-<n>/
 * (campaigns), out/soak.jsonl (a line per round), out/soak.json (verdict, drift) and out/soak.html. Returns whether
 * all was well. */
bool soak_run(struct campaign *c, double hours);

#endif
