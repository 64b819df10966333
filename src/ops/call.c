/* call.c - the life of a call's memory. */
#include "ops/engine_private.h"

#include "base/check.h"

#define ARENA_MAX (64u << 20)

struct call *call_new(const struct op *op)
{
    struct call *c = mem_alloc(sizeof(*c));
    struct call_private *p = mem_alloc(sizeof(*p));
    p->magic = CALL_MAGIC;
    p->call = c;
    c->op = op;
    c->priv = p;
    arena_init(&c->arena, ARENA_MAX);
    c->args = arena_alloc(&c->arena, op->args_size);
    CHECK(c->args != NULL);
    return c;
}

void call_free(struct call *c)
{
    if (c == NULL) return;
    struct call_private *p = c->priv;
    CHECK(p->magic == CALL_MAGIC && (p->state == CALL_NEW || p->state == CALL_DONE));
    json_decref(c->body);
    json_decref(c->reply.doc);
    json_decref(p->carry);
    json_decref(p->carry_before);
    json_decref(p->given);
    mem_free(c->text);
    mem_free(c->out);
    arena_release(&c->arena);
    p->magic = 0;
    mem_free(p);
    mem_free(c);
}
