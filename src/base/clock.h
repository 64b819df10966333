/* clock.h - wall clock and monotonic clock behind one object that tests can move; RFC 3339 text. */
#ifndef AIM_BASE_CLOCK_H
#define AIM_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Zeroed: the real clock. frozen_us != 0: stands still there. */
struct clock { int64_t offset_us; int64_t frozen_us; };

int64_t clock_wall_us(const struct clock *c);   /* microseconds since 1970, UTC; c may be NULL (real). Any thread */
int64_t clock_mono_ms(void);                    /* for waits only. Any thread */
int64_t clock_mono_us(void);

#define TIME_TEXT 40   /* room for any text we write */
/* "YYYY-MM-DDTHH:MM:SS.uuuuuu+00:00"; what lies outside the years 0000 to 9999 is printed as their edge. */
void time_print(char out[TIME_TEXT], int64_t us);
/* RFC 3339 with any offset (|offset| < 24 h), 'T', 't' or blank, 'Z' or 'z', any number of fraction digits (cut to
 * microseconds), second 60 (read as 59.999999). Years 0000 to 9999 (in UTC too), days checked. `len` bytes, no NUL
 * needed. 0 or E_INVALID. */
int time_parse(const char *text, size_t len, int64_t *ret_us);

#endif
