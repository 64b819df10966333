/* writer_memory.c - see writer_memory.h. */
#include "writer_memory.h"

#include "store/change_private.h"

struct writer_memory {
    struct change_mark mark;
};

struct writer_memory *writer_memory_save(const struct change *c)
{
    if (c->priv->now.merging) return NULL;
    struct writer_memory *m = mem_alloc(sizeof(*m));
    m->mark = c->priv->now;
    m->mark.hlc = c->hlc;
    m->mark.origin = c->origin;
    m->mark.lacks = c->lacks;
    return m;
}

void writer_memory_resume(struct change *c, const struct writer_memory *m)
{
    c->priv->now = m->mark;
    c->hlc = m->mark.hlc;
    c->origin = m->mark.origin;
    c->lacks = m->mark.lacks;
}
