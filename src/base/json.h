/* json.h - the only place where JSON text is parsed and printed. Documents are jansson values (json_t); building and
 * reading them with jansson's own calls is fine anywhere. Any thread; a document belongs to one thread at a time. */
#ifndef AIM_BASE_JSON_H
#define AIM_BASE_JSON_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct buf;

#define JSON_DEPTH_MAX 127   /* containers in containers; the 128th is refused */

/* Parses exactly one document (any kind of value at the top). Nesting beyond JSON_DEPTH_MAX, trailing bytes, a byte
 * order mark, lone surrogates, invalid UTF-8, raw control characters, numbers beyond a double: E_SYNTAX,
 * "<detail> at line L column C". Integers beyond int64 become doubles. Duplicate keys: the last wins, and with
 * `ret_dup` not NULL the first duplicate key found at the top level or one level below is copied there (dup_size
 * bytes, "" when none). Strings may hold U+0000 (json_string_length tells): rules refuse it; in a key it is
 * E_SYNTAX. Returns a new reference, or NULL with err set: err->arg is then the path of the value at fault
 * ("memories[0].tier", cut to fit, "" at the top). */
json_t *json_parse(const char *text, size_t len, char *ret_dup, size_t dup_size, struct err *err);
/* The same for text of strangers: more than values_max values are E_TOO_LARGE. A value takes up to some 350 bytes of
 * memory, and two or three of text. */
json_t *json_parse_limited(const char *text, size_t len, size_t values_max, char *ret_dup, size_t dup_size,
                           struct err *err);

/* Appends compact text: keys sorted bytewise at every level, non-ASCII raw, '/' unescaped, doubles in their shortest
 * form that reads back the same and always with '.' or exponent (1.0, 0.9, 1e+300; plain from 1e-5 to below 1e16; null
 * when not finite), integers bare. A NULL value prints as null. */
void json_print(struct buf *b, const json_t *v);
/* The same, keys in insertion order (records whose declaration order clients know). */
void json_print_ordered(struct buf *b, const json_t *v);
/* Two-space indentation, sorted keys. */
void json_print_pretty(struct buf *b, const json_t *v);
void json_print_pretty_ordered(struct buf *b, const json_t *v);    /* the same, keys in insertion order */
/* Appends one double in the shortest form described above. */
void json_print_double(struct buf *b, double v);
/* Appends a JSON string literal with quotes. Here and above, bytes that are no UTF-8 become U+FFFD each. */
void json_print_string(struct buf *b, const char *s, size_t len);
/* Container depth: 0 for a scalar, 1 for {} */
int json_depth(const json_t *v);
/* About how much memory it takes. */
size_t json_weight(const json_t *v);
/* The kind as error messages say it: "string", "integer", "floating point", "boolean", "null", "sequence", "map". */
const char *json_kind(const json_t *v);

/* A 64-bit id (of a node, a stream, a version) as text, in decimal: as a number most readers would round it. */
json_t *json_id(uint64_t id);
/* Back, from text or number; 0: it is none below 2^63. */
uint64_t json_id_value(const json_t *v);

#endif
