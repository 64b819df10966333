/* life.c - how long memories live, and when they are over. */
#include "memory.h"

#include <string.h>

#include "base/clock.h"

#define HOUR 3600
#define DAY 86400

void lifetimes_default(struct lifetimes *l)
{
    *l = (struct lifetimes){ .ttl_secs = { [TIER_SHORT] = 6 * HOUR, [TIER_MID] = 7 * DAY },
                             .extend_secs = { [TIER_SHORT] = HOUR, [TIER_MID] = DAY } };
}

bool memory_expired(const struct memory *m, int64_t now_us)
{
    int64_t us;

    if (m->expires_at == NULL) return false;
    return time_parse(m->expires_at, strlen(m->expires_at), &us) == 0 && us <= now_us;
}
