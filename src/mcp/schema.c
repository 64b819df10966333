/* schema.c - a descriptor as JSON Schema: type, bounds, words, default. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "mcp/schema.h"
#include "ops/table.h"

/* Bounds that a rule or the operation itself knows, not the shared range check: they are told all the same. */
static const struct {
    arg_rule rule;
    const char *name;
    double min, max; /* max 0: none */
} told[] = {
    { .rule = arg_rule_priority, .min = 1, .max = 10 },
    { .rule = arg_rule_confidence, .min = 0, .max = 1 },
    { .name = "budget_tokens", .min = 1 },
};

static json_t *number(const struct arg *d, double v)
{
    return d->type == ARG_REAL ? json_real(v) : json_integer((json_int_t)v);
}

static void put_bounds(json_t *o, const struct arg *d)
{
    for (size_t i = 0; i < ARRAY_LEN(told); i++) {
        bool fits = told[i].rule ? told[i].rule == d->rule : strcmp(told[i].name, d->name) == 0;
        if (!fits) continue;
        json_object_set_new(o, "minimum", number(d, told[i].min));
        if (told[i].max > 0) json_object_set_new(o, "maximum", number(d, told[i].max));
    }
    if (d->type != ARG_INT && d->type != ARG_UINT) return;
    int64_t max = d->at[DOOR_MCP].max;
    if (max) json_object_set_new(o, "maximum", json_integer(max));
    if (d->min) json_object_set_new(o, "minimum", json_integer(d->min));
}

static void put_words(json_t *o, const struct arg *d)
{
    if (d->words == NULL) return;
    json_t *list = json_array();
    for (size_t i = 0; d->words[i]; i++) json_array_append_new(list, json_string(d->words[i]));
    json_object_set_new(o, "enum", list);
}

/* Lists and objects that may not be null are empty when left out. */
static void put_default(json_t *o, const struct arg *d)
{
    const char *text = d->at[DOOR_MCP].dflt;
    bool empty = !(d->flags & (ARG_OPTION | ARG_REQUIRED | ARG_NULL_CLEARS | ARG_COMMA));
    json_t *v = NULL;
    switch (d->type) {
    case ARG_TEXTS: v = empty ? json_array() : NULL; break;
    case ARG_OBJECT: v = empty ? json_object() : NULL; break;
    case ARG_INT:
    case ARG_UINT: v = text ? json_integer(strtoll(text, NULL, 10)) : NULL; break;
    case ARG_REAL: v = text ? json_real(strtod(text, NULL)) : NULL; break;
    case ARG_BOOL: v = text ? json_boolean(strcmp(text, "true") == 0) : NULL; break;
    default: v = text ? json_string(text) : NULL; break;
    }
    if (v) json_object_set_new(o, "default", v);
}

static const char *type_of(const struct arg *d)
{
    switch (d->type) {
    case ARG_INT:
    case ARG_UINT: return "integer";
    case ARG_REAL: return "number";
    case ARG_BOOL: return "boolean";
    case ARG_TEXTS: return d->flags & ARG_COMMA ? "string" : "array";
    case ARG_ITEMS: return "array";
    case ARG_OBJECT: return "object";
    default: return "string";
    }
}

static json_t *property(const struct arg *d)
{
    json_t *o = json_object();
    const char *type = type_of(d);
    json_object_set_new(o, "type", json_string(type));
    if (d->doc) json_object_set_new(o, "description", json_string(d->doc));
    if (d->type == ARG_ITEMS)
        json_object_set_new(o, "items", schema_of(d->item));
    else if (strcmp(type, "array") == 0)
        json_object_set_new(o, "items", json_pack("{s:s}", "type", "string"));
    put_words(o, d);
    put_bounds(o, d);
    put_default(o, d);
    return o;
}

json_t *schema_of(const struct arg *desc)
{
    json_t *properties = json_object(), *required = json_array();
    for (const struct arg *d = desc; d->name; d++) {
        if (!(d->doors & ON_MCP) || (d->flags & ARG_HIDDEN)) continue;
        const char *name = d->at[DOOR_MCP].name ? d->at[DOOR_MCP].name : d->name;
        json_object_set_new(properties, name, property(d));
        if (d->flags & ARG_REQUIRED) json_array_append_new(required, json_string(name));
    }
    json_t *o = json_pack("{s:s, s:o}", "type", "object", "properties", properties);
    if (json_array_size(required) > 0)
        json_object_set_new(o, "required", required);
    else
        json_decref(required);
    return o;
}
