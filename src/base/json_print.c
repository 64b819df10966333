/* json_print.c - documents as text: keys sorted or as inserted, doubles in their shortest form, bytes that are no UTF-8
 * readably. */
#include "base/json.h"

#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/json_utf8.h"

enum { PRINT_SORTED = 1, PRINT_PRETTY = 2 };

#define SORT_STACK 32 /* members sorted without an allocation */

struct member {
    const char *key; /* borrowed */
    size_t len;
    const json_t *value; /* borrowed */
};

/* Bytes that are no UTF-8 (old files and other nodes may hold them) read as U+FFFD: one bad row must not make a whole
 * answer unreadable. */
static void put_repaired(struct buf *b, const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text, *end = s + len;
    while (s < end) {
        size_t n = json_utf8_sequence(s, end);
        if (n > 0) {
            buf_put(b, s, n);
        } else {
            buf_put(b, "\xef\xbf\xbd", 3);
        }
        s += n > 0 ? n : 1;
    }
}

void json_print_string(struct buf *b, const char *s, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const char *end = s + len;
    buf_putc(b, '"');
    while (s < end) {
        const char *run = s;
        bool high = false;
        s = json_skip_plain(s, end, &high);
        if (high && !json_utf8_valid(run, (size_t)(s - run))) {
            put_repaired(b, run, (size_t)(s - run));
        } else if (s > run) {
            buf_put(b, run, (size_t)(s - run));
        }
        if (s >= end) break;
        unsigned char c = (unsigned char)*s++;
        char escape[6] = { '\\', (char)c, '0', '0', digits[c >> 4], digits[c & 15] };
        size_t n = 2;
        switch (c) {
        case '"':
        case '\\': break;
        case '\b': escape[1] = 'b'; break;
        case '\f': escape[1] = 'f'; break;
        case '\n': escape[1] = 'n'; break;
        case '\r': escape[1] = 'r'; break;
        case '\t': escape[1] = 't'; break;
        default:
            escape[1] = 'u';
            n = sizeof(escape);
            break;
        }
        buf_put(b, escape, n);
    }
    buf_putc(b, '"');
}

static void print_integer(struct buf *b, int64_t v)
{
    char text[24];
    char *p = text + sizeof(text);
    uint64_t left = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do {
        *--p = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (v < 0) *--p = '-';
    buf_put(b, p, (size_t)(text + sizeof(text) - p));
}

/* 0.9, 12.5, 0.05: the value times a power of ten is a small integer, and that quotient reads back as the value. */
static bool print_short_decimal(struct buf *b, double v)
{
    static const double powers[] = { 1, 10, 100, 1000, 10000, 100000, 1000000 };
    double size = fabs(v);
    if (!(size < 1e8) || (size < 1e-5 && v != 0)) return false;
    for (int places = 0; places <= 6; places++) {
        double scaled = size * powers[places];
        uint64_t units = (uint64_t)(scaled + 0.5);
        if ((double)units / powers[places] != size) continue;
        char text[32];
        char *p = text + sizeof(text);
        int decimals = places == 0 ? 1 : places;
        if (places == 0) units *= 10;
        for (int i = 0; i < decimals; i++, units /= 10) *--p = (char)('0' + units % 10);
        *--p = '.';
        do {
            *--p = (char)('0' + units % 10);
            units /= 10;
        } while (units > 0);
        if (signbit(v)) *--p = '-';
        buf_put(b, p, (size_t)(text + sizeof(text) - p));
        return true;
    }
    return false;
}

/* Lays out `count` significant digits d of the value 0.d * 10^point: plain from 1e-5 to below 1e16, else with an
 * exponent. */
static void print_digits(struct buf *b, const char *d, int count, int point)
{
    if (point > 16 || point < -4) {
        buf_putc(b, d[0]);
        if (count > 1) buf_putc(b, '.');
        buf_put(b, d + 1, (size_t)(count - 1));
        buf_printf(b, "e%+d", point - 1);
        return;
    }
    if (point <= 0) {
        buf_puts(b, "0.");
        for (int i = point; i < 0; i++) buf_putc(b, '0');
        buf_put(b, d, (size_t)count);
        return;
    }
    for (int i = 0; i < point; i++) buf_putc(b, i < count ? d[i] : '0');
    buf_putc(b, '.');
    if (count > point) {
        buf_put(b, d + point, (size_t)(count - point));
    } else {
        buf_putc(b, '0');
    }
}

void json_print_double(struct buf *b, double v)
{
    if (!isfinite(v)) {
        buf_puts(b, "null");
        return;
    }
    if (print_short_decimal(b, v)) return;
    char text[40];
    /* Below DBL_MIN fewer digits are enough. */
    for (int precision = fabs(v) < DBL_MIN ? 0 : 14; precision <= 16; precision++) {
        snprintf(text, sizeof(text), "%.*e", precision, fabs(v));
        if (strtod(text, NULL) == fabs(v)) break;
    }
    char digits[20];
    int count = 0;
    const char *p = text;
    for (; *p != 'e'; p++) {
        if (*p != '.') digits[count++] = *p;
    }
    int point = (int)strtol(p + 1, NULL, 10) + 1;
    while (count > 1 && digits[count - 1] == '0') count--;
    if (v < 0) buf_putc(b, '-');
    print_digits(b, digits, count, point);
}

static int compare_members(const void *x, const void *y)
{
    const struct member *a = x, *b = y;
    size_t len = a->len < b->len ? a->len : b->len;
    int order = memcmp(a->key, b->key, len);
    if (order != 0) return order;
    return a->len < b->len ? -1 : a->len > b->len;
}

/* Cheap for few members and for those already in order. */
static void sort_members(struct member *m, size_t count)
{
    if (count > SORT_STACK) {
        qsort(m, count, sizeof(*m), compare_members);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        struct member moved = m[i];
        size_t j = i;
        for (; j > 0 && compare_members(&m[j - 1], &moved) > 0; j--) m[j] = m[j - 1];
        m[j] = moved;
    }
}

static void print_value(struct buf *b, const json_t *v, int mode, int level);

static void print_break(struct buf *b, int mode, int level)
{
    if (!(mode & PRINT_PRETTY)) return;
    buf_putc(b, '\n');
    for (int i = 0; i < level; i++) buf_put(b, "  ", 2);
}

static void print_array(struct buf *b, const json_t *v, int mode, int level)
{
    size_t count = json_array_size(v);
    buf_putc(b, '[');
    for (size_t i = 0; i < count && !b->failed; i++) {
        if (i > 0) buf_putc(b, ',');
        print_break(b, mode, level + 1);
        print_value(b, json_array_get(v, i), mode, level + 1);
    }
    if (count > 0) print_break(b, mode, level);
    buf_putc(b, ']');
}

static void print_members(struct buf *b, const struct member *m, size_t count, int mode, int level)
{
    buf_putc(b, '{');
    for (size_t i = 0; i < count && !b->failed; i++) {
        if (i > 0) buf_putc(b, ',');
        print_break(b, mode, level + 1);
        json_print_string(b, m[i].key, m[i].len);
        buf_putc(b, ':');
        if (mode & PRINT_PRETTY) buf_putc(b, ' ');
        print_value(b, m[i].value, mode, level + 1);
    }
    if (count > 0) print_break(b, mode, level);
    buf_putc(b, '}');
}

static void print_object(struct buf *b, const json_t *v, int mode, int level)
{
    struct member few[SORT_STACK];
    size_t count = json_object_size(v), i = 0;
    struct member *m = count <= SORT_STACK ? few : mem_alloc(count * sizeof(*m));
    json_t *object = (json_t *)(uintptr_t)v; /* the iterator wants it mutable and only reads */
    for (void *it = json_object_iter(object); it != NULL; it = json_object_iter_next(object, it)) {
        m[i++] = (struct member){ json_object_iter_key(it), json_object_iter_key_len(it), json_object_iter_value(it) };
    }
    CHECK(i == count);
    if (mode & PRINT_SORTED) sort_members(m, count);
    print_members(b, m, count, mode, level);
    if (m != few) mem_free(m);
}

static void print_value(struct buf *b, const json_t *v, int mode, int level)
{
    if (v == NULL) {
        buf_put(b, "null", 4);
        return;
    }
    switch (json_typeof(v)) {
    case JSON_OBJECT: print_object(b, v, mode, level); break;
    case JSON_ARRAY: print_array(b, v, mode, level); break;
    case JSON_STRING: json_print_string(b, json_string_value(v), json_string_length(v)); break;
    case JSON_INTEGER: print_integer(b, json_integer_value(v)); break;
    case JSON_REAL: json_print_double(b, json_real_value(v)); break;
    case JSON_TRUE: buf_put(b, "true", 4); break;
    case JSON_FALSE: buf_put(b, "false", 5); break;
    case JSON_NULL: buf_put(b, "null", 4); break;
    }
}

void json_print(struct buf *b, const json_t *v)
{
    print_value(b, v, PRINT_SORTED, 0);
}

void json_print_ordered(struct buf *b, const json_t *v)
{
    print_value(b, v, 0, 0);
}

void json_print_pretty(struct buf *b, const json_t *v)
{
    print_value(b, v, PRINT_SORTED | PRINT_PRETTY, 0);
}

void json_print_pretty_ordered(struct buf *b, const json_t *v)
{
    print_value(b, v, PRINT_PRETTY, 0);
}

json_t *json_id(uint64_t id)
{
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)id);
    return json_string(text);
}

uint64_t json_id_value(const json_t *v)
{
    const char *text = json_string_value(v);
    if (text == NULL) return json_integer_value(v) > 0 ? (uint64_t)json_integer_value(v) : 0;
    size_t len = strlen(text);
    if (len == 0 || len > 19 || strspn(text, "0123456789") != len) return 0;
    uint64_t id = strtoull(text, NULL, 10);
    return id <= INT64_MAX ? id : 0;
}
