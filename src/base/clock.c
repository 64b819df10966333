/* clock.c - the two clocks and RFC 3339 text. */
#include "base/clock.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "err.h"

#define US_PER_SEC INT64_C(1000000)
#define SEC_PER_DAY INT64_C(86400)
#define DAYS_PER_ERA INT64_C(146097)                    /* 400 years */
#define EPOCH_DAY INT64_C(719468)                       /* days from 0000-03-01 to 1970-01-01 */
#define US_MIN (INT64_C(-62167219200) * US_PER_SEC)     /* 0000-01-01T00:00:00 */
#define US_MAX (INT64_C(253402300800) * US_PER_SEC - 1) /* 9999-12-31T23:59:59.999999 */

static int64_t read_us(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * US_PER_SEC + ts.tv_nsec / 1000;
}

int64_t clock_wall_us(const struct clock *c)
{
    if (c != NULL && c->frozen_us != 0) return c->frozen_us;
    return read_us(CLOCK_REALTIME) + (c == NULL ? 0 : c->offset_us);
}

int64_t clock_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

/* A year that begins on 1 March puts the leap day at its end: months then have a fixed first day, (153 m + 2) / 5. */
static int64_t days_from_date(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t m = month <= 2 ? month + 9 : month - 3;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * m + 2) / 5 + day - 1;
    return era * DAYS_PER_ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - EPOCH_DAY;
}

static void date_from_days(int64_t days, unsigned *year, unsigned *month, unsigned *day)
{
    int64_t shifted = days + EPOCH_DAY;
    int64_t era = (shifted >= 0 ? shifted : shifted - (DAYS_PER_ERA - 1)) / DAYS_PER_ERA;
    int64_t d = shifted - era * DAYS_PER_ERA;
    int64_t y = (d - d / 1460 + d / 36524 - d / 146096) / 365;
    int64_t day_of_year = d - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * day_of_year + 2) / 153;
    *day = (unsigned)(day_of_year - (153 * m + 2) / 5 + 1);
    *month = (unsigned)(m < 10 ? m + 3 : m - 9);
    *year = (unsigned)(y + era * 400 + (*month <= 2 ? 1 : 0));
}

static char *put_digits(char *out, unsigned v, int width)
{
    for (int i = width - 1; i >= 0; i--) {
        out[i] = (char)('0' + v % 10);
        v /= 10;
    }
    return out + width;
}

void time_print(char out[TIME_TEXT], int64_t us)
{
    if (us < US_MIN) us = US_MIN;
    if (us > US_MAX) us = US_MAX;
    int64_t secs = us / US_PER_SEC, fraction = us % US_PER_SEC;
    if (fraction < 0) {
        fraction += US_PER_SEC;
        secs--;
    }
    int64_t days = secs / SEC_PER_DAY, rest = secs % SEC_PER_DAY;
    if (rest < 0) {
        rest += SEC_PER_DAY;
        days--;
    }
    unsigned year, month, day, second = (unsigned)rest;
    date_from_days(days, &year, &month, &day);
    char *p = put_digits(out, year, 4);
    *p++ = '-';
    p = put_digits(p, month, 2);
    *p++ = '-';
    p = put_digits(p, day, 2);
    *p++ = 'T';
    p = put_digits(p, second / 3600, 2);
    *p++ = ':';
    p = put_digits(p, second / 60 % 60, 2);
    *p++ = ':';
    p = put_digits(p, second % 60, 2);
    *p++ = '.';
    p = put_digits(p, (unsigned)fraction, 6);
    memcpy(p, "+00:00", 7);
}

/* Reads exactly `width` digits at *p; -1 when there are fewer. */
static int take_digits(const char **p, const char *end, int width)
{
    if (end - *p < width) return -1;
    int v = 0;
    for (int i = 0; i < width; i++) {
        unsigned digit = (unsigned)(unsigned char)(*p)[i] - '0';
        if (digit > 9) return -1;
        v = v * 10 + (int)digit;
    }
    *p += width;
    return v;
}

static bool take_char(const char **p, const char *end, char c)
{
    if (*p >= end || **p != c) return false;
    (*p)++;
    return true;
}

static int days_in_month(int year, int month)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

/* ".digits" if there; false on a point without a digit. */
static bool take_fraction(const char **p, const char *end, int64_t *ret_us)
{
    *ret_us = 0;
    if (!take_char(p, end, '.')) return true;
    const char *start = *p;
    int64_t scale = US_PER_SEC / 10;
    for (; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
        *ret_us += (**p - '0') * scale;
        scale /= 10;
    }
    return *p > start;
}

static bool take_offset(const char **p, const char *end, int64_t *ret_secs)
{
    *ret_secs = 0;
    if (take_char(p, end, 'Z') || take_char(p, end, 'z')) return true;
    bool west = take_char(p, end, '-');
    if (!west && !take_char(p, end, '+')) return false;
    int hour = take_digits(p, end, 2);
    if (hour < 0 || hour > 23 || !take_char(p, end, ':')) return false;
    int minute = take_digits(p, end, 2);
    if (minute < 0 || minute > 59) return false;
    *ret_secs = (hour * 60 + minute) * 60 * (west ? -1 : 1);
    return true;
}

int time_parse(const char *text, size_t len, int64_t *ret_us)
{
    const char *p = text, *end = text + len;
    int year = take_digits(&p, end, 4);
    if (year < 0 || !take_char(&p, end, '-')) return E_INVALID;
    int month = take_digits(&p, end, 2);
    if (month < 1 || month > 12 || !take_char(&p, end, '-')) return E_INVALID;
    int day = take_digits(&p, end, 2);
    if (day < 1 || day > days_in_month(year, month)) return E_INVALID;
    if (!take_char(&p, end, 'T') && !take_char(&p, end, 't') && !take_char(&p, end, ' ')) return E_INVALID;
    int hour = take_digits(&p, end, 2);
    if (hour < 0 || hour > 23 || !take_char(&p, end, ':')) return E_INVALID;
    int minute = take_digits(&p, end, 2);
    if (minute < 0 || minute > 59 || !take_char(&p, end, ':')) return E_INVALID;
    int second = take_digits(&p, end, 2);
    int64_t fraction, offset;
    if (second < 0 || second > 60 || !take_fraction(&p, end, &fraction)) return E_INVALID;
    if (!take_offset(&p, end, &offset) || p != end) return E_INVALID;
    if (second == 60) {
        second = 59;
        fraction = US_PER_SEC - 1;
    }
    int64_t secs = days_from_date(year, month, day) * SEC_PER_DAY + (hour * 60 + minute) * 60 + second - offset;
    int64_t us = secs * US_PER_SEC + fraction;
    if (us < US_MIN || us > US_MAX) return E_INVALID; /* the offset led out of the years we can write */
    *ret_us = us;
    return 0;
}
