/* json.c - JSON text to jansson values and back.
 *
 * jansson supplies the values, the reader and the printer are here: error positions, the depth limit, integers beyond
 * int64, duplicate keys and byte-stable output are all part of what our doors promise, and each request passes both.
 * The reader is a recursive descent over borrowed bytes; text without escapes is never copied before jansson does. */
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
#include "base/bytes.h"
#include "base/check.h"
#include "base/json_utf8.h"

struct parser {
    const char *text, *end, *at; /* borrowed */
    struct buf scratch;          /* decoded strings, a stack: a key waits there while its value is read */
    int depth;
    size_t values, values_max;
    char *dup; /* borrowed; NULL: nobody asks, or found */
    size_t dup_size;
    struct err *err;
};

/* A string: borrowed from the text, or at an offset of the scratch when it had escapes. */
struct span {
    const char *p; /* NULL: in the scratch */
    size_t off, len;
};

static json_t *parse_value(struct parser *p);

/* Blames the byte at `where`. The position is that of the byte counted from 1; at the end, of the last byte. */
static void *fail(struct parser *p, const char *where, const char *detail)
{
    const char *upto = where < p->end ? where + 1 : p->end;
    const char *line = p->text;
    int lines = 1;
    for (const char *s = p->text; s < upto; s++) {
        if (*s != '\n') continue;
        lines++;
        line = s + 1;
    }
    err_set(p->err, E_SYNTAX, "%s at line %d column %zu", detail, lines, (size_t)(upto - line));
    return NULL;
}

/* While an error travels up, each level puts its step before the path that is there: "memories[0].tier". */
static void path_key(struct parser *p, const char *key)
{
    if (p->err == NULL) return;
    char old[sizeof(p->err->arg)];
    memcpy(old, p->err->arg, sizeof(old));
    const char *dot = old[0] == '\0' || old[0] == '[' ? "" : ".";
    size_t len = strnlen(key, sizeof(old) - 1);
    int n = snprintf(p->err->arg, sizeof(p->err->arg), "%.*s%s", (int)len, key, dot);
    if (n > 0 && (size_t)n < sizeof(old)) memcpy(p->err->arg + n, old, sizeof(old) - (size_t)n);
    p->err->arg[sizeof(old) - 1] = '\0';
}

static void path_index(struct parser *p, size_t index)
{
    char step[32];
    snprintf(step, sizeof(step), "[%zu]", index);
    path_key(p, step);
}

static const char *skip_blank(struct parser *p)
{
    const char *s = p->at;
    while (s < p->end && (*s == ' ' || *s == '\n' || *s == '\t' || *s == '\r')) s++;
    return p->at = s;
}

/* Length of the well-formed UTF-8 sequence at s (no overlong forms, no surrogates, up to U+10FFFF), or 0. */
size_t json_utf8_sequence(const unsigned char *s, const unsigned char *end)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t more;
    if (s[0] < 0x80) return 1;
    if (s[0] >= 0xc2 && s[0] <= 0xdf) {
        more = 1;
    } else if ((s[0] & 0xf0) == 0xe0) {
        more = 2;
        if (s[0] == 0xe0) low = 0xa0;
        if (s[0] == 0xed) high = 0x9f;
    } else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        more = 3;
        if (s[0] == 0xf0) low = 0x90;
        if (s[0] == 0xf4) high = 0x8f;
    } else {
        return 0;
    }
    if ((size_t)(end - s) <= more || s[1] < low || s[1] > high) return 0;
    for (size_t i = 2; i <= more; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
    }
    return more + 1;
}

bool json_utf8_valid(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text, *end = s + len;
    while (s < end) {
        if (*s < 0x80) {
            s++;
            continue;
        }
        size_t n = json_utf8_sequence(s, end);
        if (n == 0) return false;
        s += n;
    }
    return true;
}

/* Four hex digits at *s; moves on. -1 with the error set. */
static int take_hex4(struct parser *p, const char **s)
{
    int v = 0;
    for (int i = 0; i < 4; i++, (*s)++) {
        if (*s >= p->end) {
            fail(p, *s, "EOF while parsing a string");
            return -1;
        }
        char c = **s;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
        if (digit < 0) {
            fail(p, *s, "invalid escape");
            return -1;
        }
        v = v * 16 + digit;
    }
    return v;
}

static void put_utf8(struct buf *b, int c)
{
    char out[4];
    size_t n;
    if (c < 0x80) {
        out[0] = (char)c;
        n = 1;
    } else if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        n = 2;
    } else if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        n = 3;
    } else {
        out[0] = (char)(0xf0 | c >> 18);
        n = 4;
    }
    for (size_t i = 1; i < n; i++) out[i] = (char)(0x80 | (c >> (6 * (int)(n - 1 - i)) & 0x3f));
    buf_put(b, out, n);
}

/* *s stands behind "\u". */
static bool decode_unicode(struct parser *p, const char **s)
{
    int c = take_hex4(p, s);
    if (c < 0) return false;
    if (c >= 0xdc00 && c <= 0xdfff) return fail(p, *s - 1, "lone leading surrogate in hex escape");
    if (c >= 0xd800 && c <= 0xdbff) {
        for (int i = 0; i < 2; i++, (*s)++) {
            if (*s >= p->end) return fail(p, *s, "EOF while parsing a string");
            if (**s != "\\u"[i]) return fail(p, *s, "unexpected end of hex escape");
        }
        int low = take_hex4(p, s);
        if (low < 0) return false;
        if (low < 0xdc00 || low > 0xdfff) return fail(p, *s - 1, "lone leading surrogate in hex escape");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    put_utf8(&p->scratch, c);
    return true;
}

/* *s stands behind the backslash. */
static bool decode_escape(struct parser *p, const char **s)
{
    static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    if (*s >= p->end) return fail(p, *s, "EOF while parsing a string");
    char c = *(*s)++;
    if (c == 'u') return decode_unicode(p, s);
    const char *found = c == '\0' ? NULL : strchr(letters, c);
    if (found == NULL) return fail(p, *s - 1, "invalid escape");
    buf_putc(&p->scratch, bytes[found - letters]);
    return true;
}

/* Moves over plain bytes; says whether one of them was not ASCII. */
const char *json_skip_plain(const char *s, const char *end, bool *ret_high)
{
    unsigned char high = 0;
    for (; end - s >= 8; s += 8) {
        uint64_t x = bytes_load(s);
        if (bytes_below(x, 0x20) || bytes_have(x, '"') || bytes_have(x, '\\')) break;
        high |= bytes_high(x) ? 0x80 : 0;
    }
    for (; s < end; s++) {
        unsigned char c = (unsigned char)*s;
        if (c < 0x20 || c == '"' || c == '\\') break;
        high |= c;
    }
    if (high >= 0x80) *ret_high = true;
    return s;
}

/* Reads a string whose opening quote was taken. UTF-8 is checked once at its end. */
static bool parse_string(struct parser *p, struct span *ret)
{
    const char *s = p->at, *run = s;
    bool high = false;
    *ret = (struct span){ .p = s, .off = p->scratch.len };
    for (;;) {
        s = json_skip_plain(s, p->end, &high);
        if (s >= p->end) return fail(p, s, "EOF while parsing a string");
        if ((unsigned char)*s < 0x20) {
            return fail(p, s, "control character (\\u0000-\\u001F) found while parsing a string");
        }
        if (ret->p == NULL || *s == '\\') buf_put(&p->scratch, run, (size_t)(s - run));
        if (*s == '"') break;
        ret->p = NULL;
        s++;
        if (!decode_escape(p, &s)) return false;
        run = s;
    }
    ret->len = ret->p == NULL ? p->scratch.len - ret->off : (size_t)(s - ret->p);
    const char *text = ret->p == NULL ? p->scratch.data + ret->off : ret->p;
    if (high && !json_utf8_valid(text, ret->len)) return fail(p, s, "invalid unicode code point");
    p->at = s + 1;
    return true;
}

static const char *span_text(const struct parser *p, const struct span *s)
{
    return s->p != NULL ? s->p : p->scratch.data + s->off;
}

static void span_drop(struct parser *p, const struct span *s)
{
    if (s->p == NULL) p->scratch.len = s->off;
}

/* Never fails: jansson only does when memory is out. */
static json_t *made(json_t *v)
{
    CHECK(v != NULL && "out of memory");
    return v;
}

static json_t *parse_double(struct parser *p, const char *start, const char *end)
{
    char small[64];
    size_t len = (size_t)(end - start);
    char *copy = len < sizeof(small) ? small : mem_alloc(len + 1);
    memcpy(copy, start, len);
    copy[len] = '\0';
    double v = strtod(copy, NULL);
    if (copy != small) mem_free(copy);
    if (!isfinite(v)) return fail(p, end - 1, "number out of range");
    return made(json_real(v));
}

static const char *skip_digits(const struct parser *p, const char *s)
{
    while (s < p->end && *s >= '0' && *s <= '9') s++;
    return s;
}

static json_t *bad_number(struct parser *p, const char *s)
{
    return fail(p, s, s >= p->end ? "EOF while parsing a value" : "invalid number");
}

static json_t *parse_number(struct parser *p)
{
    const char *start = p->at, *s = start;
    bool negative = *s == '-';
    if (negative) s++;
    const char *digits = s;
    s = skip_digits(p, s);
    if (s == digits) return bad_number(p, s);
    if (*digits == '0' && s > digits + 1) return bad_number(p, digits + 1);
    const char *integer_end = s;
    if (s < p->end && *s == '.') {
        const char *fraction = ++s;
        s = skip_digits(p, s);
        if (s == fraction) return bad_number(p, s);
    }
    if (s < p->end && (*s == 'e' || *s == 'E')) {
        s++;
        if (s < p->end && (*s == '+' || *s == '-')) s++;
        const char *exponent = s;
        s = skip_digits(p, s);
        if (s == exponent) return bad_number(p, s);
    }
    p->at = s;
    if (s != integer_end) return parse_double(p, start, s);
    json_int_t v = 0; /* counts downwards: INT64_MIN has no positive twin */
    for (const char *d = digits; d < s; d++) {
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_sub_overflow(v, *d - '0', &v))
            return parse_double(p, start, s);
    }
    if (!negative && __builtin_sub_overflow(0, v, &v)) return parse_double(p, start, s);
    return made(json_integer(v));
}

static json_t *parse_word(struct parser *p, const char *word, json_t *v)
{
    for (const char *s = p->at; *word != '\0'; s++, word++) {
        if (s >= p->end) return fail(p, s, "EOF while parsing a value");
        if (*s != *word) return fail(p, s, "expected ident");
        p->at = s + 1;
    }
    return v;
}

static bool enter(struct parser *p)
{
    if (++p->depth > JSON_DEPTH_MAX) return fail(p, p->at, "recursion limit exceeded");
    p->at++;
    return true;
}

/* Between two elements. 1: one follows; 0: the closing bracket was taken; -1: error. */
static int next_element(struct parser *p, char close, const char *eof, const char *expected)
{
    const char *s = skip_blank(p);
    if (s >= p->end) {
        fail(p, s, eof);
        return -1;
    }
    if (*s == close) {
        p->at++;
        return 0;
    }
    if (*s != ',') {
        fail(p, s, expected);
        return -1;
    }
    p->at++;
    s = skip_blank(p);
    if (s >= p->end || *s != close) return 1;
    fail(p, s, "trailing comma");
    return -1;
}

static json_t *parse_array(struct parser *p)
{
    static const char eof[] = "EOF while parsing a list";
    if (!enter(p)) return NULL;
    json_t *array = made(json_array());
    int more = 1;
    const char *s = skip_blank(p);
    if (s < p->end && *s == ']') {
        p->at++;
        more = 0;
    } else if (s >= p->end) {
        fail(p, s, eof);
        more = -1;
    }
    while (more > 0) {
        json_t *v = parse_value(p);
        if (v == NULL) {
            path_index(p, json_array_size(array));
            more = -1;
            break;
        }
        CHECK(json_array_append_new(array, v) == 0);
        more = next_element(p, ']', eof, "expected `,` or `]`");
    }
    p->depth--;
    if (more == 0) return array;
    json_decref(array);
    return NULL;
}

static void insert(struct parser *p, json_t *object, const struct span *key, json_t *v)
{
    size_t before = json_object_size(object);
    CHECK(json_object_setn_new_nocheck(object, span_text(p, key), key->len, v) == 0);
    if (p->dup == NULL || p->depth > 2 || json_object_size(object) > before) return;
    snprintf(p->dup, p->dup_size, "%.*s", (int)(key->len < INT_MAX ? key->len : INT_MAX), span_text(p, key));
    p->dup = NULL;
}

/* A key with U+0000 is refused: the rest of the program reads keys as C strings. */
static bool parse_member(struct parser *p, json_t *object)
{
    const char *s = p->at;
    if (s >= p->end) return fail(p, s, "EOF while parsing a value");
    if (*s != '"') return fail(p, s, "key must be a string");
    struct span key;
    p->at++;
    if (!parse_string(p, &key)) return false;
    if (key.p == NULL && memchr(span_text(p, &key), '\0', key.len) != NULL) return fail(p, p->at - 1, "NUL in a key");
    s = skip_blank(p);
    if (s >= p->end) return fail(p, s, "EOF while parsing an object");
    if (*s != ':') return fail(p, s, "expected `:`");
    p->at++;
    json_t *v = parse_value(p);
    if (v == NULL) {
        char name[sizeof(p->err->arg)];
        snprintf(name, sizeof(name), "%.*s", key.len < sizeof(name) ? (int)key.len : (int)sizeof(name),
                 span_text(p, &key));
        path_key(p, name);
        return false;
    }
    insert(p, object, &key, v);
    span_drop(p, &key);
    return true;
}

static json_t *parse_object(struct parser *p)
{
    static const char eof[] = "EOF while parsing an object";
    if (!enter(p)) return NULL;
    json_t *object = made(json_object());
    int more = 1;
    const char *s = skip_blank(p);
    if (s < p->end && *s == '}') {
        p->at++;
        more = 0;
    } else if (s >= p->end) {
        fail(p, s, eof);
        more = -1;
    }
    while (more > 0) { more = parse_member(p, object) ? next_element(p, '}', eof, "expected `,` or `}`") : -1; }
    p->depth--;
    if (more == 0) return object;
    json_decref(object);
    return NULL;
}

static json_t *too_many(struct parser *p)
{
    fail(p, p->at, "too many values");
    if (p->err != NULL) p->err->code = E_TOO_LARGE;
    return NULL;
}

static json_t *parse_value(struct parser *p)
{
    const char *s = skip_blank(p);
    if (s >= p->end) return fail(p, s, "EOF while parsing a value");
    if (++p->values > p->values_max) return too_many(p);
    struct span text;
    json_t *v;
    switch (*s) {
    case '{': return parse_object(p);
    case '[': return parse_array(p);
    case '"':
        p->at++;
        if (!parse_string(p, &text)) return NULL;
        v = made(json_stringn_nocheck(span_text(p, &text), text.len));
        span_drop(p, &text);
        return v;
    case 't': return parse_word(p, "true", json_true());
    case 'f': return parse_word(p, "false", json_false());
    case 'n': return parse_word(p, "null", json_null());
    default:
        if (*s == '-' || (*s >= '0' && *s <= '9')) return parse_number(p);
        return fail(p, s, "expected value");
    }
}

json_t *json_parse(const char *text, size_t len, char *ret_dup, size_t dup_size, struct err *err)
{
    return json_parse_limited(text, len, SIZE_MAX, ret_dup, dup_size, err);
}

json_t *json_parse_limited(const char *text, size_t len, size_t values_max, char *ret_dup, size_t dup_size,
                           struct err *err)
{
    if (text == NULL) text = "";
    struct parser p = { .text = text,
                        .end = text + len,
                        .at = text,
                        .values_max = values_max,
                        .dup = ret_dup,
                        .dup_size = dup_size,
                        .err = err };
    if (ret_dup != NULL) ret_dup[0] = '\0';
    buf_init(&p.scratch, len + 1);
    json_t *v = parse_value(&p);
    if (v != NULL && skip_blank(&p) < p.end) {
        fail(&p, p.at, "trailing characters");
        json_decref(v);
        v = NULL;
    }
    CHECK(!p.scratch.failed); /* decoding never lengthens */
    buf_release(&p.scratch);
    return v;
}

int json_depth(const json_t *v)
{
    int deepest = 0;
    if (json_is_array(v)) {
        for (size_t i = 0; i < json_array_size(v); i++) {
            int depth = json_depth(json_array_get(v, i));
            if (depth > deepest) deepest = depth;
        }
        return deepest + 1;
    }
    if (!json_is_object(v)) return 0;
    json_t *object = (json_t *)(uintptr_t)v;
    for (void *it = json_object_iter(object); it != NULL; it = json_object_iter_next(object, it)) {
        int depth = json_depth(json_object_iter_value(it));
        if (depth > deepest) deepest = depth;
    }
    return deepest + 1;
}

/* What jansson and the allocator take for them. */
enum { WEIGHT_SCALAR = 32, WEIGHT_STRING = 64, WEIGHT_ARRAY = 144, WEIGHT_OBJECT = 304, WEIGHT_MEMBER = 80 };

size_t json_weight(const json_t *v)
{
    size_t sum = WEIGHT_SCALAR;
    json_t *object = (json_t *)(uintptr_t)v;
    if (json_is_string(v)) return WEIGHT_STRING + json_string_length(v);
    if (json_is_array(v)) {
        sum = WEIGHT_ARRAY + 8 * json_array_size(v);
        for (size_t i = 0; i < json_array_size(v); i++) sum += json_weight(json_array_get(v, i));
    } else if (json_is_object(v)) {
        sum = WEIGHT_OBJECT;
        for (void *it = json_object_iter(object); it != NULL; it = json_object_iter_next(object, it))
            sum += WEIGHT_MEMBER + json_object_iter_key_len(it) + json_weight(json_object_iter_value(it));
    }
    return sum;
}

const char *json_kind(const json_t *v)
{
    if (v == NULL) return "null";
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "map";
    case JSON_ARRAY: return "sequence";
    case JSON_STRING: return "string";
    case JSON_INTEGER: return "integer";
    case JSON_REAL: return "floating point";
    case JSON_TRUE:
    case JSON_FALSE: return "boolean";
    case JSON_NULL: break;
    }
    return "null";
}
