/* call_rig.h - a call out of an operation's name and one JSON document, decoded the way a door would. */
#ifndef AIM_TEST_CALL_RIG_H
#define AIM_TEST_CALL_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/json.h"
#include "ops/engine.h"

static inline bool in_body(const struct op *op, const struct arg *d, enum door door)
{
    bool body = false;
    for (int i = 0; i < 2; i++) body = body || op->http[i].body;
    return door == DOOR_MCP || (door == DOOR_HTTP && body && !(d->flags & (ARG_PATH | ARG_QUERY)));
}

/* Members that come as text: path, query, options. */
static inline int rig_texts(struct call *c, enum door door, json_t *doc)
{
    const char *key;
    json_t *v;
    json_object_foreach (doc, key, v) {
        char number[40];
        int i = arg_index(c->op->args, door, key);
        if (i < 0 || in_body(c->op, &c->op->args[i], door)) continue;
        const char *text = json_string_value(v);
        if (text == NULL) {
            snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
            text = number;
        }
        int rc = args_from_text(c->op->args, (unsigned)i, door, text, strlen(text), &c->arena, c->args, &c->err);
        if (rc) return rc;
    }
    return args_finish(c->op->args, door, &c->arena, c->args, &c->err);
}

static inline struct call *rig_call(const char *name, enum door door, const char *agent, const char *args, int *ret_rc)
{
    struct call *c = call_new(op_by_name(name));
    c->caller = (struct caller){ .door = door, .agent_id = agent, .default_ns = "global" };
    c->body = json_parse(args, strlen(args), NULL, 0, &c->err);
    assert_non_null(c->body);
    int rc = 0;
    bool any_body = false;
    for (const struct arg *d = c->op->args; d->name; d++) any_body = any_body || in_body(c->op, d, door);
    if (any_body) rc = args_from_json(c->op->args, door, c->body, &c->arena, c->args, &c->err);
    if (rc == 0 && json_is_object(c->body)) rc = rig_texts(c, door, c->body);
    if (rc == 0) rc = args_check(c->op->args, door, clock_wall_us(NULL), &c->arena, c->args, &c->err);
    *ret_rc = rc;
    return c;
}

#endif
