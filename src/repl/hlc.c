/* hlc.c - the hybrid logical clock. Never falls, whatever physical time does, and is never dragged further ahead of
 * it than HLC_AHEAD_MAX_MS: an edit of a row from the far future gets a version beyond that row's, and the clock
 * stays behind. */
#include "repl/hlc.h"

static uint64_t reach(int64_t wall_us)
{
    int64_t ahead_us;
    if (__builtin_add_overflow(wall_us, (int64_t)HLC_AHEAD_MAX_MS * 1000, &ahead_us)) ahead_us = INT64_MAX;
    return hlc_of_us(ahead_us);
}

uint64_t hlc_of_us(int64_t us)
{
    if (us <= 0) return 0;
    uint64_t ms = (uint64_t)us / 1000;
    if (ms >= UINT64_C(1) << 46) return HLC_MAX;
    return ms << 16 | (uint64_t)us % 1000 << 6;
}

int64_t hlc_us(uint64_t ver)
{
    uint64_t us = ver >> 6 & 1023; /* a counter that ran over 999 still belongs to this millisecond */

    return (int64_t)((ver >> 16) * 1000 + (us > 999 ? 999 : us));
}

uint64_t hlc_next(struct hlc *h, int64_t wall_us, uint64_t floor)
{
    uint64_t ver = hlc_of_us(wall_us);

    if (ver <= h->last) ver = h->last + 1;
    if (ver > HLC_MAX) ver = HLC_MAX;
    h->last = ver;
    if (ver > floor) return ver;
    hlc_follow(h, floor < HLC_MAX ? floor + 1 : HLC_MAX, wall_us);
    return floor < HLC_MAX ? floor + 1 : HLC_MAX;
}

bool hlc_follow(struct hlc *h, uint64_t seen, int64_t wall_us)
{
    uint64_t limit = reach(wall_us), to = seen < limit ? seen : limit;

    if (to > h->last) h->last = to;
    return seen <= limit;
}
