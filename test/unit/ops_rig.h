/* ops_rig.h - a database in a scratch directory with an engine over it, asked the way a door asks. */
#ifndef AIM_TEST_OPS_RIG_H
#define AIM_TEST_OPS_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "call_rig.h"
#include "ops/local.h"

struct rig {
    char dir[64], path[96];
    struct local *l;
    struct call *last; /* what the answer borrows from */
};
static struct rig rig;

static inline int rig_open(void **state)
{
    struct local_options o;
    struct err err = { 0 };
    (void)state;
    strcpy(rig.dir, "/tmp/ops-test-XXXXXX");
    if (mkdtemp(rig.dir) == NULL) return -1;
    snprintf(rig.path, sizeof(rig.path), "%s/test.db", rig.dir);
    local_options_default(&o);
    o.path = rig.path;
    o.relaxed = true;
    if (local_open(&rig.l, &o, &err) == 0) return 0;
    fprintf(stderr, "%s\n", err.msg);
    return -1;
}

static inline int rig_close(void **state)
{
    char command[128];
    (void)state;
    call_free(rig.last);
    rig.last = NULL;
    local_close(rig.l);
    snprintf(command, sizeof(command), "rm -rf %s", rig.dir);
    return system(command);
}

/* Runs one operation; the call stays readable until the next one. */
static inline struct call *ask_as(enum door door, const char *agent, const char *name, const char *args)
{
    int rc;
    call_free(rig.last);
    rig.last = rig_call(name, door, agent, args, &rc);
    if (rc == 0)
        (void)local_run(rig.l, rig.last);
    else
        rig.last->status = rc;
    return rig.last;
}

static inline struct call *ask(const char *name, const char *args)
{
    return ask_as(DOOR_HTTP, "alice", name, args);
}

static inline json_t *answer(const char *name, const char *args)
{
    struct call *c = ask(name, args);
    if (c->status) fprintf(stderr, "%s %s: %s\n", name, args, c->err.msg);
    assert_int_equal(c->status, 0);
    return c->reply.doc;
}

static inline const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}
static inline long long int_of(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

/* The id of a new answer, kept by the caller. */
static inline const char *keep_id(char out[37], const json_t *doc)
{
    snprintf(out, 37, "%s", text_of(doc, "id"));
    return out;
}

static inline json_t *stored(const char *id)
{
    char args[200];
    snprintf(args, sizeof(args), "{\"id\":\"%s\"}", id);
    return json_object_get(answer("get", args), "memory");
}

#endif
