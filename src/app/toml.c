/* toml.c - reads settings line by line into objects. */
#include "app/toml.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define KEY_MAX 128
#define TEXT_MAX 65536
#define DEPTH_MAX 16

struct toml {
    const char *p, *end;
    unsigned line;
    struct err *err;
};

static int fail(struct toml *t, const char *what)
{
    return err_set(t->err, E_SYNTAX, "line %u: %s", t->line, what);
}

static char peek(const struct toml *t)
{
    return t->p < t->end ? *t->p : '\0';
}

static void skip_blanks(struct toml *t)
{
    while (t->p < t->end && (*t->p == ' ' || *t->p == '\t')) t->p++;
}

static void skip_comment(struct toml *t)
{
    skip_blanks(t);
    if (peek(t) == '#')
        while (t->p < t->end && *t->p != '\n') t->p++;
    if (t->p + 1 < t->end && t->p[0] == '\r' && t->p[1] == '\n') t->p++;
}

static bool take_newline(struct toml *t)
{
    if (peek(t) != '\n') return false;
    t->p++;
    t->line++;
    return true;
}

/* Blank lines and comments, as between the elements of an array. */
static void skip_lines(struct toml *t)
{
    do skip_comment(t);
    while (take_newline(t));
}

static int end_of_line(struct toml *t)
{
    skip_comment(t);
    return t->p == t->end || take_newline(t) ? 0 : fail(t, "something behind the value");
}

/* ---- strings ---------------------------------------------------------------------------------------------------- */
static int hex_digits(struct toml *t, int count, uint32_t *ret)
{
    char text[9] = { 0 };
    char *stop;
    if (t->end - t->p < count) return fail(t, "cut short in an escape");
    memcpy(text, t->p, (size_t)count);
    *ret = (uint32_t)strtoul(text, &stop, 16);
    if (stop != text + count || text[0] == '+' || text[0] == '-' || text[0] == ' ') return fail(t, "bad escape");
    t->p += count;
    return 0;
}

static int put_code_point(struct toml *t, struct buf *b, int digits)
{
    uint32_t c = 0;
    int rc = hex_digits(t, digits, &c);
    if (rc) return rc;
    if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return fail(t, "bad character in an escape");
    if (c < 0x80) {
        buf_putc(b, (char)c);
    } else if (c < 0x800) {
        buf_putc(b, (char)(0xc0 | c >> 6));
        buf_putc(b, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_putc(b, (char)(0xe0 | c >> 12));
        buf_putc(b, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_putc(b, (char)(0x80 | (c & 0x3f)));
    } else {
        buf_putc(b, (char)(0xf0 | c >> 18));
        buf_putc(b, (char)(0x80 | (c >> 12 & 0x3f)));
        buf_putc(b, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_putc(b, (char)(0x80 | (c & 0x3f)));
    }
    return 0;
}

static int put_escape(struct toml *t, struct buf *b)
{
    static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
    char c = peek(t);
    const char *found = c ? strchr(from, c) : NULL;
    t->p++;
    if (found) {
        buf_putc(b, to[found - from]);
        return 0;
    }
    if (c == 'u') return put_code_point(t, b, 4);
    if (c == 'U') return put_code_point(t, b, 8);
    return fail(t, "unknown escape");
}

/* "..." with escapes or '...' without. */
static int read_string(struct toml *t, struct buf *b)
{
    char quote = *t->p++;
    if (t->end - t->p >= 2 && t->p[0] == quote && t->p[1] == quote)
        return fail(t, "strings of several lines are not read");
    while (t->p < t->end && *t->p != quote) {
        unsigned char c = (unsigned char)*t->p++;
        if ((c < 0x20 && c != '\t') || c == 0x7f) return fail(t, "a string does not end on its line");
        if (c == '\\' && quote == '"') {
            int rc = put_escape(t, b);
            if (rc) return rc;
        } else {
            buf_putc(b, (char)c);
        }
    }
    if (t->p == t->end) return fail(t, "a string does not end");
    t->p++;
    return b->failed ? fail(t, "a string is too long") : 0;
}

/* ---- values ----------------------------------------------------------------------------------------------------- */
static int string_value(struct toml *t, json_t **ret)
{
    struct buf b;
    buf_init(&b, TEXT_MAX);
    int rc = read_string(t, &b);
    if (rc == 0 && (*ret = json_stringn(buf_str(&b), b.len)) == NULL) rc = fail(t, "a string is no UTF-8");
    buf_release(&b);
    return rc;
}

static int number_value(struct toml *t, const char *word, json_t **ret)
{
    char *stop;
    errno = 0;
    long long n = strtoll(word, &stop, 10);
    if (*stop == '\0' && errno == 0) {
        *ret = json_integer(n);
        return 0;
    }
    errno = 0;
    double x = strtod(word, &stop);
    bool plain = strspn(word, "+-0123456789.eE") == strlen(word);
    if (*stop != '\0' || !plain || errno || (*ret = json_real(x)) == NULL) return fail(t, "no value of a known kind");
    return 0;
}

static int bare_value(struct toml *t, json_t **ret)
{
    char word[64];
    size_t n = 0;
    while (t->p < t->end && strchr(" \t\r\n,]#", *t->p) == NULL) {
        if (*t->p != '_' && n < sizeof(word) - 1) word[n++] = *t->p;
        t->p++;
    }
    word[n] = '\0';
    if (n == 0) return fail(t, "a value is missing");
    if (strcmp(word, "true") == 0 || strcmp(word, "false") == 0) {
        *ret = json_boolean(word[0] == 't');
        return 0;
    }
    return number_value(t, word, ret);
}

static int read_value(struct toml *t, int depth, json_t **ret);

static int array_value(struct toml *t, int depth, json_t **ret)
{
    json_t *list = json_array(), *item;
    int rc = depth < DEPTH_MAX ? 0 : fail(t, "nested too deep");
    t->p++;
    while (rc == 0) {
        skip_lines(t);
        if (peek(t) == ']') break;
        rc = read_value(t, depth + 1, &item);
        if (rc) break;
        json_array_append_new(list, item);
        skip_lines(t);
        if (peek(t) == ',')
            t->p++;
        else if (peek(t) != ']')
            rc = fail(t, "an array does not end");
    }
    if (rc) {
        json_decref(list);
        return rc;
    }
    t->p++;
    *ret = list;
    return 0;
}

static int read_value(struct toml *t, int depth, json_t **ret)
{
    switch (peek(t)) {
    case '"':
    case '\'': return string_value(t, ret);
    case '[': return array_value(t, depth, ret);
    case '{': return fail(t, "inline tables are not read");
    default: return bare_value(t, ret);
    }
}

/* ---- keys and tables -------------------------------------------------------------------------------------------- */
static bool key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static int read_key(struct toml *t, struct buf *b)
{
    skip_blanks(t);
    buf_clear(b);
    if (peek(t) == '"' || peek(t) == '\'') {
        int rc = read_string(t, b);
        if (rc) return rc;
    } else {
        while (t->p < t->end && key_char(*t->p)) buf_putc(b, *t->p++);
        if (b->len == 0) return fail(t, "a key is missing");
    }
    skip_blanks(t);
    return b->failed ? fail(t, "a key is too long") : 0;
}

static int enter(struct toml *t, json_t **at, const char *key)
{
    json_t *next = json_object_get(*at, key);
    if (next == NULL) {
        next = json_object();
        if (json_object_set_new(*at, key, next)) return fail(t, "a key is no UTF-8");
    }
    if (!json_is_object(next)) return fail(t, "a key is a value and a table");
    *at = next;
    return 0;
}

/* a.b.c up to its last part, which stays in b; *at is the table it belongs to. */
static int read_path(struct toml *t, json_t **at, struct buf *b)
{
    int rc = read_key(t, b);
    while (rc == 0 && peek(t) == '.') {
        t->p++;
        rc = enter(t, at, buf_str(b));
        if (rc == 0) rc = read_key(t, b);
    }
    return rc;
}

static int read_table(struct toml *t, json_t *root, json_t **table, struct buf *b)
{
    t->p++;
    if (peek(t) == '[') return fail(t, "arrays of tables are not read");
    *table = root;
    int rc = read_path(t, table, b);
    if (rc == 0) rc = enter(t, table, buf_str(b));
    if (rc) return rc;
    if (peek(t) != ']') return fail(t, "a table's name does not end with ]");
    t->p++;
    return 0;
}

static int read_pair(struct toml *t, json_t *table, struct buf *b)
{
    json_t *value;
    int rc = read_path(t, &table, b);
    if (rc) return rc;
    if (peek(t) != '=') return fail(t, "a key without a value");
    t->p++;
    skip_blanks(t);
    rc = read_value(t, 0, &value);
    if (rc) return rc;
    if (json_object_get(table, buf_str(b))) {
        json_decref(value);
        return fail(t, "a key is given twice");
    }
    return json_object_set_new(table, buf_str(b), value) ? fail(t, "a key is no UTF-8") : 0;
}

json_t *toml_read(const char *text, size_t len, struct err *err)
{
    struct toml t = { text, text + len, 1, err };
    json_t *root = json_object(), *table = root;
    struct buf key;
    int rc = memchr(text, '\0', len) ? fail(&t, "a NUL byte") : 0;
    buf_init(&key, KEY_MAX);
    while (rc == 0) {
        skip_lines(&t);
        if (t.p == t.end) break;
        rc = peek(&t) == '[' ? read_table(&t, root, &table, &key) : read_pair(&t, table, &key);
        if (rc == 0) rc = end_of_line(&t);
    }
    buf_release(&key);
    if (rc == 0) return root;
    json_decref(root);
    return NULL;
}
