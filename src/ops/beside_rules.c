/* beside_rules.c - rules of memory.h for the arguments of beside.h, by pointer to a field of the argument's type; and
 * the small helpers its families share. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ops/beside.h"

#define IDS_MIN 2
#define IDS_MAX 100
#define DAYS_MAX 1000000000

static const struct str *text_of(const void *value)
{
    return value;
}

int arg_rule_relation(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_relation(text_of(value)->s, text_of(value)->len, err);
}

int arg_rule_summary(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_content(text_of(value)->s, text_of(value)->len, "summary", err);
}

int arg_rule_agent_named(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_agent_id(text_of(value)->s, text_of(value)->len, err);
}

int arg_rule_agent_type(const void *value, int64_t now_us, struct err *err)
{
    (void)now_us;
    return rule_agent_type(text_of(value)->s, text_of(value)->len, err);
}

int arg_rule_ids(const void *value, int64_t now_us, struct err *err)
{
    const struct strs *ids = value;
    (void)now_us;
    if (ids->count < IDS_MIN) return err_arg(err, E_INVALID, "ids", "need at least 2 memory IDs to consolidate");
    if (ids->count > IDS_MAX)
        return err_arg(err, E_INVALID, "ids", "cannot consolidate more than 100 memories at once");
    for (size_t i = 0; i < ids->count; i++) {
        const struct str *id = &ids->item[i];
        int rc = rule_id(id->s, id->len, err);
        if (rc) return rc;
        for (size_t k = 0; k < i; k++)
            if (strcmp(ids->item[k].s, id->s) == 0)
                return err_arg(err, E_INVALID, "ids", "duplicate memory ID: %s", id->s);
    }
    return 0;
}

int arg_rule_days(const void *value, int64_t now_us, struct err *err)
{
    int64_t days = *(const int64_t *)value;
    (void)now_us;
    if (days < 0)
        return err_arg(err, E_INVALID, "older_than_days", "older_than_days must be non-negative (got %lld)",
                       (long long)days);
    if (days > DAYS_MAX) return err_arg(err, E_INVALID, "older_than_days", "older_than_days is out of range");
    return 0;
}

json_int_t carry_number(struct op_ctx *c, const char *key)
{
    if (*c->carry == NULL) *c->carry = json_object();
    return json_integer_value(json_object_get(*c->carry, key));
}

void carry_add(struct op_ctx *c, const char *key, json_int_t more)
{
    json_int_t before = carry_number(c, key);
    json_object_set_new(*c->carry, key, json_integer(before + more));
}

const char *time_after(struct op_ctx *c, int64_t secs)
{
    char text[TIME_TEXT];
    time_print(text, c->now_us + secs * 1000000);
    return arena_strdup(c->arena, text);
}
