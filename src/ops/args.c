/* args.c - descriptors at work: JSON or text into argument structs, defaults, checks. Every door decodes by it, so a
 * value means the same everywhere. Any thread; a struct belongs to one. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/json.h"
#include "ops/table.h"

#define TEXTS_MAX 65536 /* elements of one list; rules ask for far fewer */

struct decode {
    const struct arg *desc;
    enum door door;
    struct arena *arena;
    const char *path; /* of the object decoded: "" or "memories[3]" */
    struct err *err;
};

static void *field(const struct arg *d, void *args)
{
    return (char *)args + d->offset;
}
static bool at_door(const struct arg *d, enum door door)
{
    return (d->doors >> door) & 1;
}
static const char *name_at(const struct arg *d, enum door door)
{
    return d->at[door].name ? d->at[door].name : d->name;
}
static void mark(void *args, unsigned index)
{
    ((struct args_head *)args)->set |= UINT64_C(1) << index;
}
static void mark_null(void *args, unsigned index)
{
    ((struct args_head *)args)->null |= UINT64_C(1) << index;
}

int arg_index(const struct arg *desc, enum door door, const char *name)
{
    for (unsigned i = 0; desc[i].name; i++)
        if (at_door(&desc[i], door) && strcmp(name_at(&desc[i], door), name) == 0) return (int)i;
    return -1;
}

static int too_large(struct err *err)
{
    return err_set(err, E_TOO_LARGE, "arguments exceed the memory of a call");
}

/* ---- wrong types in words ---------------------------------------------------------------------------------------- */
static const char *expected(const struct arg *d)
{
    switch (d->type) {
    case ARG_INT: return d->flags & ARG_I32 ? "i32" : "i64";
    case ARG_UINT: return "usize";
    case ARG_REAL: return "f64";
    case ARG_BOOL: return "a boolean";
    case ARG_TEXTS:
    case ARG_ITEMS: return "a sequence";
    case ARG_OBJECT: return "a map";
    default: return "a string";
    }
}

static const char *expected_plainly(const struct arg *d)
{
    switch (d->type) {
    case ARG_INT: return "an integer";
    case ARG_UINT: return "an integer, not negative";
    case ARG_REAL: return "a number";
    case ARG_BOOL: return "a boolean";
    case ARG_TEXTS: return "an array of strings";
    case ARG_ITEMS: return "an array";
    case ARG_OBJECT: return "an object";
    default: return "a string";
    }
}

static void put_value(struct buf *b, const json_t *v)
{
    buf_puts(b, json_kind(v));
    if (json_is_string(v)) {
        buf_putc(b, ' ');
        json_print_string(b, json_string_value(v), json_string_length(v));
    } else if (json_is_integer(v) || json_is_real(v) || json_is_boolean(v)) {
        buf_puts(b, " `");
        json_print(b, v);
        buf_putc(b, '`');
    }
}

static int wrong(const struct decode *x, const struct arg *d, const char *path, const json_t *v, bool range)
{
    if (x->door == DOOR_MCP) {
        if (d->flags & ARG_REQUIRED) return err_arg(x->err, E_TYPE, path, "%s is required", path);
        return err_arg(x->err, E_TYPE, path, "%s must be %s", path, expected_plainly(d));
    }
    struct buf b;
    buf_init(&b, 200);
    put_value(&b, v);
    int rc = err_arg(x->err, E_TYPE, path, "invalid %s: %s, expected %s", range ? "value" : "type", buf_str(&b),
                     expected(d));
    buf_release(&b);
    return rc;
}

static int wrong_word(const struct decode *x, const struct arg *d, const char *path, const char *word)
{
    if (x->door == DOOR_MCP) return err_arg(x->err, E_INVALID, path, "invalid %s: %.64s", path, word);
    struct buf b;
    buf_init(&b, 400);
    for (size_t i = 0; d->words[i]; i++)
        buf_printf(&b, x->door == DOOR_HTTP ? "%s`%s`" : "%s%s", i ? ", " : "", d->words[i]);
    int rc = x->door == DOOR_HTTP
                 ? err_arg(x->err, E_TYPE, path, "unknown variant `%.64s`, expected one of %s", word, buf_str(&b))
                 : err_arg(x->err, E_INVALID, path, "invalid %s: %.64s (use %s)", path, word, buf_str(&b));
    buf_release(&b);
    return rc;
}

static bool known_word(const struct arg *d, const struct str *s)
{
    for (size_t i = 0; d->words[i]; i++)
        if (strlen(d->words[i]) == s->len && memcmp(d->words[i], s->s, s->len) == 0) return true;
    return false;
}

/* ---- from JSON --------------------------------------------------------------------------------------------------- */
static bool any_string(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_is_string(json_array_get(list, i))) return true;
    return false;
}

static int json_texts(const struct decode *x, const struct arg *d, const char *path, json_t *v, struct strs *ret)
{
    size_t n = json_array_size(v), kept = 0;
    if (n > TEXTS_MAX) return err_arg(x->err, E_INVALID, path, "%s holds too many elements", path);
    struct str *item = arena_alloc(x->arena, (n + 1) * sizeof(*item));
    if (item == NULL) return too_large(x->err);
    for (size_t i = 0; i < n; i++) {
        json_t *e = json_array_get(v, i);
        if (json_is_string(e))
            item[kept++] = (struct str){ json_string_value(e), json_string_length(e) };
        else if (x->door != DOOR_MCP) {
            static const struct arg text = { .type = ARG_TEXT };
            char at[80];
            snprintf(at, sizeof(at), "%.48s[%zu]", path, i);
            int rc = wrong(x, &text, at, e, false);
            if (!(d->flags & ARG_EACH) || !any_string(v)) return rc;
            item[kept++] = (struct str){ NULL, 0 };
        }
    }
    *ret = (struct strs){ item, kept };
    return 0;
}

/* A comma list: parts trimmed, empty ones dropped. */
static int comma_list(const struct decode *x, const char *text, size_t len, bool keep_empty, struct strs *ret)
{
    size_t commas = 0;
    for (size_t i = 0; i < len; i++) commas += text[i] == ',';
    if (commas >= TEXTS_MAX) return err_set(x->err, E_INVALID, "too many elements in a list");
    struct str *item = arena_alloc(x->arena, (commas + 2) * sizeof(*item));
    if (item == NULL) return too_large(x->err);
    size_t count = 0, from = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && text[i] != ',') continue;
        const char *part;
        size_t part_len = text_trim(text + from, i - from, &part);
        from = i + 1;
        if (part_len == 0) continue;
        char *copy = arena_strndup(x->arena, part, part_len);
        if (copy == NULL) return too_large(x->err);
        item[count++] = (struct str){ copy, part_len };
    }
    if (count == 0 && keep_empty) item[count++] = (struct str){ "", 0 };
    *ret = (struct strs){ item, count };
    return 0;
}

static int json_int(const struct decode *x, const struct arg *d, const char *path, const json_t *v, int64_t *ret)
{
    if (d->type == ARG_UINT && (d->flags & ARG_CLAMP) && json_is_real(v) && json_real_value(v) >= 9.2e18) {
        *ret = INT64_MAX; /* an integer beyond 64 bits: cut like any other */
        return 0;
    }
    if (!json_is_integer(v)) return wrong(x, d, path, v, false);
    int64_t n = json_integer_value(v);
    if (d->type == ARG_UINT ? n < 0 : (d->flags & ARG_I32) && (n < INT32_MIN || n > INT32_MAX))
        return wrong(x, d, path, v, true);
    *ret = n;
    return 0;
}

static int json_items(const struct decode *x, const struct arg *d, const char *path, json_t *v, struct items *ret);

static int json_value(const struct decode *x, const struct arg *d, const char *path, json_t *v, void *at)
{
    switch (d->type) {
    case ARG_WORD:
        if (!json_is_string(v) && x->door == DOOR_HTTP) return err_arg(x->err, E_SYNTAX, path, "expected value");
        /* fall through */
    case ARG_TEXT: {
        if (!json_is_string(v)) return wrong(x, d, path, v, false);
        struct str s = { json_string_value(v), json_string_length(v) };
        if (d->type == ARG_WORD && !known_word(d, &s)) return wrong_word(x, d, path, s.s);
        *(struct str *)at = s;
        return 0;
    }
    case ARG_INT:
    case ARG_UINT: return json_int(x, d, path, v, at);
    case ARG_REAL:
        if (!json_is_number(v)) return wrong(x, d, path, v, false);
        *(double *)at = json_number_value(v);
        return 0;
    case ARG_BOOL:
        if (!json_is_boolean(v)) return wrong(x, d, path, v, false);
        *(bool *)at = json_is_true(v);
        return 0;
    case ARG_TEXTS:
        if (json_is_string(v) && (d->flags & ARG_COMMA))
            return comma_list(x, json_string_value(v), json_string_length(v), true, at);
        if (!json_is_array(v)) return wrong(x, d, path, v, false);
        return json_texts(x, d, path, v, at);
    case ARG_OBJECT: *(json_t **)at = v; return 0;
    case ARG_ITEMS: return json_items(x, d, path, v, at);
    }
    return err_set(x->err, E_INTERNAL, "argument of an unknown type");
}

static int missing(const struct decode *x, const struct arg *d)
{
    const char *name = name_at(d, x->door);
    if (x->door == DOOR_MCP) return err_arg(x->err, E_TYPE, name, "%s is required", name);
    return err_arg(x->err, E_TYPE, x->path, "missing field `%s`", name);
}

/* One descriptor against the object; absent and null are settled here. */
static int json_field(const struct decode *x, unsigned i, json_t *doc, void *args)
{
    const struct arg *d = &x->desc[i];
    const char *name = name_at(d, x->door);
    json_t *v = json_object_get(doc, name);
    bool left_out = x->door == DOOR_MCP && d->type == ARG_OBJECT && !json_is_object(v) && !(d->flags & ARG_STRICT);
    if (json_is_null(v)) {
        if (d->flags & ARG_NULL_CLEARS) {
            mark_null(args, i);
            return 0;
        }
        left_out = left_out || (d->flags & ARG_OPTION) || x->door == DOOR_MCP;
    }
    if (v == NULL || left_out) return d->flags & ARG_REQUIRED ? missing(x, d) : 0;
    char inner[128];
    const char *path = name;
    if (x->path[0]) {
        snprintf(inner, sizeof(inner), "%.60s.%.60s", x->path, name);
        path = inner;
    }
    int rc = json_value(x, d, path, v, field(d, args));
    if (rc == 0) mark(args, i);
    return rc;
}

static int fill_default(const struct decode *x, unsigned i, void *args);

static int object_fields(const struct decode *x, json_t *doc, void *args)
{
    for (unsigned i = 0; x->desc[i].name; i++) {
        const struct arg *d = &x->desc[i];
        bool elsewhere = x->door == DOOR_HTTP && (d->flags & (ARG_PATH | ARG_QUERY));
        if (!at_door(d, x->door) || elsewhere) continue;
        int rc = json_field(x, i, doc, args);
        if (rc == 0) rc = fill_default(x, i, args);
        if (rc) return rc;
    }
    return 0;
}

static int json_item(const struct decode *x, const struct arg *d, const char *path, size_t i, json_t *v, void *args)
{
    static const struct arg object = { .type = ARG_OBJECT };
    char at[80];
    snprintf(at, sizeof(at), "%.48s[%zu]", path, i);
    struct decode inner = { d->item, x->door, x->arena, at, x->err };
    return json_is_object(v) ? object_fields(&inner, v, args) : wrong(&inner, &object, at, v, false);
}

static int json_items(const struct decode *x, const struct arg *d, const char *path, json_t *v, struct items *ret)
{
    if (!json_is_array(v)) return wrong(x, d, path, v, false);
    size_t n = json_array_size(v);
    if (d->items_max && n > d->items_max) return err_arg(x->err, E_INVALID, path, "%s", d->items_over);
    *ret = (struct items){ .count = n, .item_size = d->item_size };
    ret->item = arena_alloc(x->arena, (n + 1) * d->item_size);
    ret->error = arena_alloc(x->arena, (n + 1) * sizeof(*ret->error));
    if (ret->item == NULL || ret->error == NULL) return too_large(x->err);
    struct err first = { 0 };
    size_t read = 0;
    for (size_t i = 0; i < n; i++) {
        int rc = json_item(x, d, path, i, json_array_get(v, i), (char *)ret->item + i * d->item_size);
        if (rc == 0) {
            read++;
            continue;
        }
        if (!(d->flags & ARG_EACH) || rc == E_TOO_LARGE) return rc;
        if (first.code == 0) first = *x->err;
        ret->error[i] = arena_printf(x->arena, "%s: %s", x->err->arg, x->err->msg);
        if (ret->error[i] == NULL) return too_large(x->err);
    }
    if (first.code == 0 || read > 0) return 0;
    *x->err = first;
    return first.code;
}

int args_from_json(const struct arg *desc, enum door door, json_t *doc, struct arena *a, void *args, struct err *err)
{
    struct decode x = { desc, door, a, "", err };
    for (unsigned i = 0; desc[i].name; i++) {
        if (!(desc[i].flags & ARG_BODY_ARRAY) || !at_door(&desc[i], door)) continue;
        int rc = json_items(&x, &desc[i], "", doc, field(&desc[i], args));
        if (rc == 0) mark(args, i);
        return rc;
    }
    if (json_is_object(doc)) return object_fields(&x, doc, args);
    static const struct arg object = { .type = ARG_OBJECT };
    return wrong(&x, &object, "", doc, false);
}

/* ---- from text --------------------------------------------------------------------------------------------------- */
static int text_int(const struct decode *x, const struct arg *d, const char *text, size_t len, int64_t *ret)
{
    const char *name = name_at(d, x->door);
    if (len == 0) return err_arg(x->err, E_TYPE, name, "cannot parse integer from empty string");
    bool minus = text[0] == '-' && d->type == ARG_INT;
    size_t i = minus || text[0] == '+' ? 1 : 0;
    uint64_t n = 0;
    bool beyond = false;
    if (i == len) return err_arg(x->err, E_TYPE, name, "invalid digit found in string");
    for (; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') return err_arg(x->err, E_TYPE, name, "invalid digit found in string");
        beyond =
            beyond || __builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (uint64_t)(text[i] - '0'), &n);
    }
    uint64_t max = d->flags & ARG_I32 ? INT32_MAX : INT64_MAX;
    if (d->type == ARG_UINT && (d->flags & ARG_CLAMP) && !beyond && n > max) n = max;
    if (beyond || n > max + (minus ? 1u : 0u))
        return err_arg(x->err, E_TYPE, name, "number too %s to fit in target type", minus ? "small" : "large");
    *ret = minus ? (int64_t)(0 - n) : (int64_t)n;
    return 0;
}

static int text_real(const struct decode *x, const struct arg *d, const char *text, size_t len, double *ret)
{
    const char *name = name_at(d, x->door);
    char *end;
    errno = 0;
    *ret = strtod(text, &end);
    bool odd = len == 0 || end != text + len || text[0] == ' ' || strpbrk(text, "xX") != NULL;
    return odd ? err_arg(x->err, E_TYPE, name, len ? "invalid float literal" : "cannot parse float from empty string")
               : 0;
}

static int text_bool(const struct decode *x, const struct arg *d, const char *text, size_t len, bool *ret)
{
    bool yes = (len == 4 && memcmp(text, "true", 4) == 0) || (len == 0 && x->door == DOOR_CLI);
    if (!yes && !(len == 5 && memcmp(text, "false", 5) == 0))
        return err_arg(x->err, E_TYPE, name_at(d, x->door), "provided string was not `true` or `false`");
    *ret = yes;
    return 0;
}

static int text_value(const struct decode *x, const struct arg *d, const char *text, size_t len, void *at)
{
    char *copy = arena_strndup(x->arena, text, len);
    if (copy == NULL) return too_large(x->err);
    switch (d->type) {
    case ARG_TEXT:
    case ARG_WORD: {
        struct str s = { copy, len };
        if (d->type == ARG_WORD && !known_word(d, &s)) return wrong_word(x, d, name_at(d, x->door), copy);
        *(struct str *)at = s;
        return 0;
    }
    case ARG_INT:
    case ARG_UINT: return text_int(x, d, copy, len, at);
    case ARG_REAL: return text_real(x, d, copy, len, at);
    case ARG_BOOL: return text_bool(x, d, copy, len, at);
    case ARG_TEXTS: return comma_list(x, copy, len, d->flags & ARG_COMMA, at);
    default: return err_arg(x->err, E_TYPE, name_at(d, x->door), "cannot be given as text");
    }
}

int args_from_text(const struct arg *desc, unsigned index, enum door door, const char *text, size_t len,
                   struct arena *a, void *args, struct err *err)
{
    const struct arg *d = &desc[index];
    struct decode x = { desc, door, a, "", err };
    CHECK(at_door(d, door));
    if ((d->flags & ARG_NULL_CLEARS) && len == 0) {
        mark_null(args, index);
        return 0;
    }
    int rc = text_value(&x, d, text, len, field(d, args));
    if (rc == 0) mark(args, index);
    return rc;
}

/* ---- defaults and checks ----------------------------------------------------------------------------------------- */
static int fill_default(const struct decode *x, unsigned i, void *args)
{
    const struct arg *d = &x->desc[i];
    const struct args_head *h = args;
    const char *text = d->at[x->door].dflt;
    if (text == NULL || arg_set(h, i) || arg_null(h, i)) return 0;
    return text_value(x, d, text, strlen(text), field(d, args));
}

int args_finish(const struct arg *desc, enum door door, struct arena *a, void *args, struct err *err)
{
    struct decode x = { desc, door, a, "", err };
    for (unsigned i = 0; desc[i].name; i++) {
        if (!at_door(&desc[i], door)) continue;
        if ((desc[i].flags & ARG_REQUIRED) && !arg_set(args, i)) {
            const char *name = name_at(&desc[i], door);
            if (door == DOOR_HTTP) return err_arg(err, E_MISSING, name, "missing field `%s`", name);
            return err_arg(err, E_MISSING, name, "%s is required", name);
        }
        int rc = fill_default(&x, i, args);
        if (rc) return rc;
    }
    return 0;
}

static bool has_value(const struct arg *d, unsigned i, const void *args, enum door door)
{
    return arg_set(args, i) || (d->at[door].dflt && !arg_null(args, i));
}

static int check_range(const struct arg *d, enum door door, void *at, struct err *err)
{
    if (d->type != ARG_INT && d->type != ARG_UINT) return 0;
    int64_t *n = at, max = d->at[door].max;
    const char *name = name_at(d, door);
    if (max && *n > max) {
        if (!(d->flags & ARG_CLAMP))
            return err_arg(err, E_INVALID, name, "%s must be at most %lld", name, (long long)max);
        *n = max;
    }
    if (d->min && *n < d->min)
        return err_arg(err, E_INVALID, name, "%s must be at least %lld", name, (long long)d->min);
    return 0;
}

static int check_filled(const struct arg *d, enum door door, const void *at, struct err *err)
{
    const struct str *s = at;
    const char *begin;
    if (!(d->flags & ARG_FILLED) || door != DOOR_HTTP || text_trim(s->s, s->len, &begin) > 0) return 0;
    return err_arg(err, E_INVALID, name_at(d, door), "%s is required", d->name);
}

static int check_items(const struct arg *d, enum door door, int64_t now_us, struct arena *a, struct items *list,
                       struct err *err)
{
    for (size_t i = 0; i < list->count; i++) {
        struct err why = { 0 };
        if (list->error[i]) continue;
        int rc = args_check(d->item, door, now_us, a, (char *)list->item + i * list->item_size, &why);
        if (rc == 0) continue;
        if (rc == E_TOO_LARGE || (list->error[i] = arena_strdup(a, why.msg)) == NULL) return too_large(err);
    }
    return 0;
}

/* HTTP names the argument before the rule's own text; at the other doors the text stands alone. */
static int name_it(arg_rule rule, enum door door, int rc, struct err *err)
{
    static const struct {
        arg_rule rule;
        const char *what;
    } named[] = {
        { arg_rule_agent, "agent_id" },
        { arg_rule_agent_filter, "agent_id filter" },
        { arg_rule_as_agent, "as_agent" },
        { arg_rule_sender, "sender_agent_id" },
    };
    for (size_t i = 0; door == DOOR_HTTP && i < ARRAY_LEN(named); i++)
        if (named[i].rule == rule) return err_wrap(err, "invalid %s", named[i].what);
    return rc;
}

int args_check(const struct arg *desc, enum door door, int64_t now_us, struct arena *a, void *args, struct err *err)
{
    for (unsigned i = 0; desc[i].name; i++) {
        const struct arg *d = &desc[i];
        if (!at_door(d, door) || !has_value(d, i, args, door)) continue;
        void *at = field(d, args);
        int rc = d->type == ARG_ITEMS ? check_items(d, door, now_us, a, at, err) : check_range(d, door, at, err);
        if (rc == 0) rc = check_filled(d, door, at, err);
        bool as_stored = door == DOOR_MCP && d->type == ARG_OBJECT; /* told of the object once it is stamped */
        if (rc == 0 && d->rule && !as_stored) {
            rc = d->rule(at, now_us, err);
            if (rc) rc = name_it(d->rule, door, rc, err);
            if (rc && err && err->arg[0] == '\0') snprintf(err->arg, sizeof(err->arg), "%s", name_at(d, door));
        }
        if (rc) return rc;
    }
    return 0;
}
