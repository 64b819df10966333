/* hlc.h - hybrid logical clock (Kulkarni et al. 2014): 48 bits of milliseconds, 16 of counter whose upper ten bits are
 * the microseconds, so that a version maps to a time text and back. Below 2^62. Pure: physical time is an argument. */
#ifndef AIM_REPL_HLC_H
#define AIM_REPL_HLC_H

#include <stdbool.h>
#include <stdint.h>

#define HLC_MAX ((1ull << 62) - 1)
#define HLC_AHEAD_MAX_MS 60000u

/* last version issued or followed, but for those of rows from the far future */
struct hlc {
    uint64_t last;
};

/* version of a time, counter 0; clamped to 0..HLC_MAX */
uint64_t hlc_of_us(int64_t us);
int64_t hlc_us(uint64_t ver); /* its time in microseconds */
/* The next version: max(physical, last + 1, floor + 1). floor: the version of the row being edited, 0 for none; one
 * beyond HLC_AHEAD_MAX_MS gives a version behind which the clock stays back. */
uint64_t hlc_next(struct hlc *h, int64_t wall_us, uint64_t floor);
/* Follows a version seen elsewhere, at most 60 s ahead of physical time. Returns false when it lay further ahead (the
 * caller counts). */
bool hlc_follow(struct hlc *h, uint64_t seen, int64_t wall_us);

#endif
