/* JSON text in and out. */
#include <float.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/json.h"

static json_t *parse(const char *text)
{
    struct err err = { 0 };
    json_t *v = json_parse(text, strlen(text), NULL, 0, &err);
    if (v == NULL) print_error("%s: %s\n", text, err.msg);
    assert_non_null(v);
    return v;
}

static const char *print(const json_t *v, void (*how)(struct buf *, const json_t *))
{
    static char text[65536];
    struct buf b;
    buf_init(&b, sizeof(text) - 1);
    how(&b, v);
    assert_false(b.failed);
    memcpy(text, buf_str(&b), b.len + 1);
    buf_release(&b);
    return text;
}

/* The text, parsed and printed, is `expected`. */
static void check_round(const char *text, const char *expected)
{
    json_t *v = parse(text);
    assert_string_equal(print(v, json_print), expected);
    json_decref(v);
}

static void values_round_trip(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } table[] = {
        { " null ", "null" },
        { "true", "true" },
        { "\t\r\nfalse\n", "false" },
        { "0", "0" },
        { "-0", "0" },
        { "-12", "-12" },
        { "9223372036854775807", "9223372036854775807" },
        { "-9223372036854775808", "-9223372036854775808" },
        { "9223372036854775808", "9.223372036854776e+18" },
        { "-9223372036854775809", "-9.223372036854776e+18" },
        { "123456789012345678901234567890", "1.2345678901234568e+29" },
        { "1.0", "1.0" },
        { "1e2", "100.0" },
        { "1E+2", "100.0" },
        { "-0.0", "-0.0" },
        { "1e-400", "0.0" },
        { "\"\"", "\"\"" },
        { "\"\\u0041\\n\\/\\\\\\\"\"", "\"A\\n/\\\\\\\"\"" },
        { "\"\\u00e9\\u4e2d\\ud83d\\ude00\"", "\"\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80\"" },
        { "\"\\u0000\\u001F\\b\\f\\r\\t\x7f\"", "\"\\u0000\\u001f\\b\\f\\r\\t\x7f\"" },
        { "[]", "[]" },
        { "{ }", "{}" },
        { "[ 1 , [ 2 ] , { } ]", "[1,[2],{}]" },
        { "{\"b\":1,\"a\":{\"d\":2,\"c\":3},\"\":0}", "{\"\":0,\"a\":{\"c\":3,\"d\":2},\"b\":1}" },
        { "{\"a\":1,\"\\u0061\":2}", "{\"a\":2}" },
        { "{\"ab\":1,\"a\":2,\"B\":3,\"\xc3\xa9\":4}", "{\"B\":3,\"a\":2,\"ab\":1,\"\xc3\xa9\":4}" },
        { "{\"k\\n1\":{\"k\\t2\":\"v\\u00e9\"},\"x\":[\"\\n\"]}",
          "{\"k\\n1\":{\"k\\t2\":\"v\xc3\xa9\"},\"x\":[\"\\n\"]}" },
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) check_round(table[i].in, table[i].out);
}

static void check_error(const char *text, size_t len, const char *msg, const char *path)
{
    struct err err = { 0 };
    char *exact = mem_realloc(mem_strndup(text, len), len); /* no NUL behind: ASan sees a read past the end */
    json_t *v = json_parse(exact, len, NULL, 0, &err);
    mem_free(exact);
    if (v != NULL) print_error("accepted: %s\n", text);
    assert_null(v);
    assert_int_equal(err.code, E_SYNTAX);
    assert_string_equal(err.msg, msg);
    assert_string_equal(err.arg, path);
    assert_null(json_parse(text, len, NULL, 0, NULL));
}

static void errors_name_place_and_path(void **state)
{
    (void)state;
    static const struct {
        const char *text, *msg, *path;
    } table[] = {
        { "", "EOF while parsing a value at line 1 column 0", "" },
        { "  \n ", "EOF while parsing a value at line 2 column 1", "" },
        { "{", "EOF while parsing an object at line 1 column 1", "" },
        { "{\"a\":1", "EOF while parsing an object at line 1 column 6", "" },
        { "{\"a\"", "EOF while parsing an object at line 1 column 4", "" },
        { "{\"a\":", "EOF while parsing a value at line 1 column 5", "a" },
        { "{\"a\":1,", "EOF while parsing a value at line 1 column 7", "" },
        { "[", "EOF while parsing a list at line 1 column 1", "" },
        { "[1", "EOF while parsing a list at line 1 column 2", "" },
        { "[1,", "EOF while parsing a value at line 1 column 3", "[1]" },
        { "[1,]", "trailing comma at line 1 column 4", "" },
        { "[1 2]", "expected `,` or `]` at line 1 column 4", "" },
        { "[,1]", "expected value at line 1 column 2", "[0]" },
        { "{\"title\":\"a\",\"content\":\"b\"} x", "trailing characters at line 1 column 29", "" },
        { "{'title':'a'}", "key must be a string at line 1 column 2", "" },
        { "{\"title\":\"a\",\"content\":\"b\",}", "trailing comma at line 1 column 28", "" },
        { "{\"a\" 1}", "expected `:` at line 1 column 6", "" },
        { "{\"a\":1 \"b\":2}", "expected `,` or `}` at line 1 column 8", "" },
        { "{\"a\\u0000b\":1}", "NUL in a key at line 1 column 11", "" },
        { "{\"title\":\"a\nb\"}", "control character (\\u0000-\\u001F) found while parsing a string at line 2 column 0",
          "title" },
        { "{\"title\":\"a\",\"content\":\"\\ud800\"}", "unexpected end of hex escape at line 1 column 31", "content" },
        { "\"\\ud800\\n\"", "unexpected end of hex escape at line 1 column 9", "" },
        { "\"\\ud800\\ud800\"", "lone leading surrogate in hex escape at line 1 column 13", "" },
        { "\"\\udc00\"", "lone leading surrogate in hex escape at line 1 column 7", "" },
        { "\"\\u12g4\"", "invalid escape at line 1 column 6", "" },
        { "\"\\u12", "EOF while parsing a string at line 1 column 5", "" },
        { "\"\\", "EOF while parsing a string at line 1 column 2", "" },
        { "\"\\x\"", "invalid escape at line 1 column 3", "" },
        { "\"abc", "EOF while parsing a string at line 1 column 4", "" },
        { "{\"title\":\"\xff\",\"content\":\"b\"}", "invalid unicode code point at line 1 column 12", "title" },
        { "\"\xc0\x80\"", "invalid unicode code point at line 1 column 4", "" },
        { "\"\xed\xa0\x80\"", "invalid unicode code point at line 1 column 5", "" },
        { "\"\xf4\x90\x80\x80\"", "invalid unicode code point at line 1 column 6", "" },
        { "\"\xe4\xb8\"", "invalid unicode code point at line 1 column 4", "" },
        { "\"\\n\xe4\"", "invalid unicode code point at line 1 column 5", "" },
        { "\xef\xbb\xbf{}", "expected value at line 1 column 1", "" },
        { "not json", "expected ident at line 1 column 2", "" },
        { "tru", "EOF while parsing a value at line 1 column 3", "" },
        { "truex", "trailing characters at line 1 column 5", "" },
        { "-", "EOF while parsing a value at line 1 column 1", "" },
        { "-x", "invalid number at line 1 column 2", "" },
        { "01", "invalid number at line 1 column 2", "" },
        { "1.", "EOF while parsing a value at line 1 column 2", "" },
        { "1.x", "invalid number at line 1 column 3", "" },
        { "1e+", "EOF while parsing a value at line 1 column 3", "" },
        { ".5", "expected value at line 1 column 1", "" },
        { "+1", "expected value at line 1 column 1", "" },
        { "NaN", "expected value at line 1 column 1", "" },
        { "1e400", "number out of range at line 1 column 5", "" },
        { "{\"memories\":[{},\n{\"tier\":-1e999}]}", "number out of range at line 2 column 14", "memories[1].tier" },
        { "[[0,[}", "expected value at line 1 column 6", "[0][1][0]" },
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        check_error(table[i].text, strlen(table[i].text), table[i].msg, table[i].path);
    }
    check_error("\"a\0\"", 4, "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 3",
                "");
    check_error("1\0", 2, "trailing characters at line 1 column 2", "");
}

static void nesting_is_limited(void **state)
{
    (void)state;
    char text[2 * 200 + 1];
    for (int depth = 126; depth <= 200; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        struct err err;
        json_t *v = json_parse(text, 2 * (size_t)depth, NULL, 0, &err);
        if (depth <= JSON_DEPTH_MAX) {
            assert_non_null(v);
            assert_int_equal(json_depth(v), depth);
            json_decref(v);
        } else {
            assert_null(v);
            assert_string_equal(err.msg, "recursion limit exceeded at line 1 column 128");
            assert_int_equal(strlen(err.arg), sizeof(err.arg) - 1);
        }
    }
    json_t *v = parse("{\"a\":[[],{\"b\":{}}],\"c\":1}");
    assert_int_equal(json_depth(v), 4);
    json_decref(v);
    assert_int_equal(json_depth(NULL), 0);
    char list[4000]; /* wide is not deep */
    memset(list, 0, sizeof(list));
    strcpy(list, "[[]");
    for (int i = 0; i < 1000; i++) memcpy(list + 3 + 3 * i, ",[]", 3);
    strcat(list, "]");
    v = parse(list);
    assert_int_equal(json_array_size(v), 1001);
    json_decref(v);
}

static void duplicates_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *text, *dup;
    } table[] = {
        { "{\"a\":1,\"b\":2}", "" },
        { "{\"a\":1,\"b\":2,\"a\":3}", "a" },
        { "{\"a\":1,\"\\u0061\":3}", "a" },
        { "{\"b\":{\"x\":1,\"x\":2},\"c\":1,\"c\":2}", "x" },
        { "[{\"x\":1,\"x\":2}]", "x" },
        { "{\"b\":{\"y\":{\"x\":1,\"x\":2}}}", "" },
        { "{\"long_long_key\":1,\"long_long_key\":2}", "long_lo" },
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char dup[8] = "unset";
        json_t *v = json_parse(table[i].text, strlen(table[i].text), dup, sizeof(dup), NULL);
        assert_non_null(v);
        assert_string_equal(dup, table[i].dup);
        json_decref(v);
    }
    json_t *v = parse("{\"a\":1,\"b\":2,\"a\":3}");
    assert_int_equal(json_integer_value(json_object_get(v, "a")), 3);
    json_decref(v);
}

static void strings_keep_nul(void **state)
{
    (void)state;
    json_t *v = parse("\"a\\u0000b\"");
    assert_int_equal(json_string_length(v), 3);
    assert_memory_equal(json_string_value(v), "a\0b", 3);
    assert_string_equal(print(v, json_print), "\"a\\u0000b\"");
    json_decref(v);
}

static const char *double_text(double v)
{
    static char text[64];
    struct buf b;
    buf_init(&b, sizeof(text) - 1);
    json_print_double(&b, v);
    memcpy(text, buf_str(&b), b.len + 1);
    buf_release(&b);
    return text;
}

/* Whatever ends a run of plain text is seen wherever it stands, in reading and in printing. */
static void strings_of_any_length(void **state)
{
    (void)state;
    static const char *const odd[] = { "\\\"", "\\\\", "\\n", "\xc3\xa9", "\x7f" };
    for (size_t len = 0; len < 36; len++)
        for (size_t at = 0; at <= len; at++)
            for (size_t k = 0; k < ARRAY_LEN(odd); k++) {
                char text[64];
                int n =
                    snprintf(text, sizeof(text), "\"%.*s%s%.*s\"", (int)at, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                             odd[k], (int)(len - at), "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy");
                struct err err = { 0 };
                check_round(text, text);
                text[1 + at] = '\x1f';
                assert_null(json_parse(text, (size_t)n, NULL, 0, &err));
                text[1 + at] = '\xff';
                assert_null(json_parse(text, (size_t)n, NULL, 0, &err));
            }
}

static void doubles_are_shortest(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *text;
    } table[] = {
        { 0.0, "0.0" },
        { -0.0, "-0.0" },
        { 1.0, "1.0" },
        { -1.0, "-1.0" },
        { 0.9, "0.9" },
        { 0.1, "0.1" },
        { 0.1 + 0.2, "0.30000000000000004" },
        { 1.0 / 3, "0.3333333333333333" },
        { 12.5, "12.5" },
        { 123456.789, "123456.789" },
        { 0.000001, "1e-6" },
        { 0.00001, "0.00001" },
        { 0.0000123, "0.0000123" },
        { 0.000123456, "0.000123456" },
        { 99999999.5, "99999999.5" },
        { 1e15, "1000000000000000.0" },
        { 1e16, "1e+16" },
        { 123456789012345678.0, "1.2345678901234568e+17" },
        { 9007199254740993.0, "9007199254740992.0" },
        { 1e300, "1e+300" },
        { -1.5e-300, "-1.5e-300" },
        { DBL_MAX, "1.7976931348623157e+308" },
        { DBL_MIN, "2.2250738585072014e-308" },
        { DBL_TRUE_MIN, "5e-324" },
        { INFINITY, "null" },
        { NAN, "null" },
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) assert_string_equal(double_text(table[i].v), table[i].text);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
    return *seed >> 17 | *seed << 47;
}

/* Any double reads back the same, and no shorter text would. */
static void doubles_read_back(void **state)
{
    (void)state;
    uint64_t seed = 11;
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = next_random(&seed);
        double v;
        memcpy(&v, &bits, sizeof(v));
        if (i % 2 == 0) v = (double)(int64_t)(bits % 2000000001) / (i % 3 == 0 ? 1000.0 : 1e7) - 100;
        if (!isfinite(v)) continue;
        const char *text = double_text(v);
        assert_true(strtod(text, NULL) == v);
        assert_non_null(strpbrk(text, ".e"));
        int digits = 0;
        bool counting = false;
        for (const char *p = text; *p != '\0' && *p != 'e'; p++) {
            counting = counting || (*p >= '1' && *p <= '9');
            digits += counting && *p != '.';
        }
        if (digits < 2 || strstr(text, ".0") != NULL) continue;
        char shorter[40];
        snprintf(shorter, sizeof(shorter), "%.*e", digits - 2, v);
        assert_true(strtod(shorter, NULL) != v);
    }
}

static void orders_and_layouts(void **state)
{
    (void)state;
    json_t *v = parse("{\"b\":[1,{\"z\":null,\"y\":[]}],\"a\":{},\"c\":\"t\"}");
    assert_string_equal(print(v, json_print_ordered), "{\"b\":[1,{\"z\":null,\"y\":[]}],\"a\":{},\"c\":\"t\"}");
    assert_string_equal(print(v, json_print), "{\"a\":{},\"b\":[1,{\"y\":[],\"z\":null}],\"c\":\"t\"}");
    assert_string_equal(print(v, json_print_pretty), "{\n"
                                                     "  \"a\": {},\n"
                                                     "  \"b\": [\n"
                                                     "    1,\n"
                                                     "    {\n"
                                                     "      \"y\": [],\n"
                                                     "      \"z\": null\n"
                                                     "    }\n"
                                                     "  ],\n"
                                                     "  \"c\": \"t\"\n"
                                                     "}");
    json_decref(v);
    assert_string_equal(print(NULL, json_print), "null");
    v = json_object(); /* beyond what is sorted without an allocation */
    for (int i = 0; i < 300; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%03d", (i * 7) % 300);
        json_object_set_new(v, key, json_integer(i));
    }
    const char *text = print(v, json_print), *before = NULL;
    for (int i = 0; i < 300; i++) {
        char key[16];
        snprintf(key, sizeof(key), "\"k%03d\"", i);
        const char *found = strstr(text, key);
        assert_non_null(found);
        assert_true(found > before);
        before = found;
    }
    json_decref(v);
}

static void printing_stops_at_the_maximum(void **state)
{
    (void)state;
    json_t *v = parse("{\"a\":[1,2,3,\"text\"],\"b\":{\"c\":1.25}}");
    size_t whole = strlen(print(v, json_print));
    for (size_t max = 0; max <= whole; max++) {
        struct buf b;
        buf_init(&b, max);
        json_print(&b, v);
        assert_int_equal(b.failed, max < whole);
        buf_release(&b);
    }
    json_decref(v);
}

static void values_are_counted(void **state)
{
    struct err err = { 0 };
    (void)state;
    static const char text[] = "{\"a\":[1,null,{}],\"b\":\"x\"}"; /* six values */
    json_t *v = json_parse_limited(text, strlen(text), 6, NULL, 0, &err);
    assert_non_null(v);
    json_decref(v);
    assert_null(json_parse_limited(text, strlen(text), 5, NULL, 0, &err));
    assert_int_equal(err.code, E_TOO_LARGE);
    assert_string_equal(err.arg, "b");
}

static void what_is_no_utf8_is_printed_readably(void **state)
{
    static const struct {
        const char *text, *printed;
    } rows[] = {
        { "a\xff", "\"a\xef\xbf\xbd\"" },
        { "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
        { "\xe2\x82\n\xe2\x82\xac", "\"\xef\xbf\xbd\xef\xbf\xbd\\n\xe2\x82\xac\"" },
        { "\xc3\xbc \xc0\x80", "\"\xc3\xbc \xef\xbf\xbd\xef\xbf\xbd\"" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf b;
        buf_init(&b, 1000);
        json_print_string(&b, rows[i].text, strlen(rows[i].text));
        assert_string_equal(buf_str(&b), rows[i].printed);
        buf_release(&b);
        json_t *o = json_object();
        json_object_set_new_nocheck(o, rows[i].text, json_string_nocheck(rows[i].text));
        json_print(&b, o);
        json_t *back = json_parse(b.data, b.len, NULL, 0, NULL);
        assert_non_null(back);
        json_decref(back);
        json_decref(o);
        buf_release(&b);
    }
}

static void kinds_in_words(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        { "{}", "map" },        { "[]", "sequence" },        { "\"\"", "string" },
        { "1", "integer" },     { "1.0", "floating point" }, { "true", "boolean" },
        { "false", "boolean" }, { "null", "null" },
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        json_t *v = parse(table[i][0]);
        assert_string_equal(json_kind(v), table[i][1]);
        json_decref(v);
    }
    assert_string_equal(json_kind(NULL), "null");
}

/* Mutilated documents: never a crash, and what is accepted prints to something that parses to the same. */
static void mutations_are_survived(void **state)
{
    (void)state;
    static const char base[] =
        "{\"title\":\"a\\u00e9\\n\xc3\xa9\",\"tags\":[\"x\",\"y\"],\"n\":-12.5e3,\"m\":{\"k\":[{}]},"
        "\"t\":true,\"z\":null,\"i\":9223372036854775807}";
    static const char alphabet[] = "{}[]\",:\\u0dD8eE+-.19tfn \n\x01\xc3\xe4\xff";
    uint64_t seed = 5;
    for (int i = 0; i < 30000; i++) {
        char text[sizeof(base)];
        memcpy(text, base, sizeof(base));
        size_t len = sizeof(base) - 1;
        for (uint64_t n = next_random(&seed) % 4 + 1; n > 0; n--) {
            text[next_random(&seed) % len] = alphabet[next_random(&seed) % (sizeof(alphabet) - 1)];
        }
        if (i % 5 == 0) len = next_random(&seed) % len;
        struct err err;
        char *exact = mem_realloc(mem_strndup(text, len), len);
        json_t *v = json_parse(exact, len, NULL, 0, &err);
        mem_free(exact);
        if (v == NULL) {
            assert_int_equal(err.code, E_SYNTAX);
            continue;
        }
        char once[1024];
        strcpy(once, print(v, json_print));
        check_round(once, once);
        json_decref(v);
    }
}

/* Ids are text, so that no reader rounds them. */
static void ids_are_text(void **state)
{
    static const char *const no[] = { "", "-1", "x", "1x", " 1", "9223372036854775808", "99999999999999999999" };
    (void)state;
    const uint64_t ids[] = { 1, UINT64_C(9007199254740993), INT64_MAX };
    for (size_t i = 0; i < 3; i++) {
        json_t *text = json_id(ids[i]), *number = json_integer((json_int_t)ids[i]);
        assert_true(json_is_string(text));
        assert_true(json_id_value(text) == ids[i] && json_id_value(number) == ids[i]);
        json_decref(text);
        json_decref(number);
    }
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        json_t *text = json_string(no[i]);
        assert_true(json_id_value(text) == 0);
        json_decref(text);
    }
    assert_true(json_id_value(NULL) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_round_trip),    cmocka_unit_test(errors_name_place_and_path),
        cmocka_unit_test(nesting_is_limited),   cmocka_unit_test(duplicates_are_told),
        cmocka_unit_test(strings_keep_nul),     cmocka_unit_test(strings_of_any_length),
        cmocka_unit_test(doubles_are_shortest), cmocka_unit_test(doubles_read_back),
        cmocka_unit_test(orders_and_layouts),   cmocka_unit_test(printing_stops_at_the_maximum),
        cmocka_unit_test(values_are_counted),   cmocka_unit_test(what_is_no_utf8_is_printed_readably),
        cmocka_unit_test(kinds_in_words),       cmocka_unit_test(mutations_are_survived),
        cmocka_unit_test(ids_are_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
