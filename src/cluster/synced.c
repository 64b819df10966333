/* synced.c - readers see a transaction before it is on the disk; other nodes may not hear of it before. An empty batch
 * of the lane is told after all that was committed when it was asked for, other processes' commits too, is durable. */
#include "base/alloc.h"
#include "base/check.h"
#include "cluster/internal.h"

struct synced {
    struct lane_item item;
    struct cluster *c;
    void (*cb)(void *data, int status);
    void *data;
};

static int nothing(struct lane_item *item, struct change *ch, struct err *err)
{
    (void)item;
    (void)ch;
    (void)err;
    return 0;
}

static void synced_done(struct lane_item *item, int status)
{
    struct synced *s = container_of(item, struct synced, item);
    struct cluster *c = s->c;
    s->cb(s->data, status);
    mem_free(s);
    cluster_job_done(c);
}

int cluster_synced(struct cluster *c, void (*cb)(void *data, int status), void *data)
{
    struct synced *s = mem_alloc(sizeof *s);
    *s = (struct synced){ .c = c, .cb = cb, .data = data };
    s->item.run = nothing;
    s->item.done = synced_done;
    s->item.class = LANE_REPLICATION;
    int rc = lane_submit(c->lane, &s->item);
    if (rc == 0)
        c->busy++;
    else
        mem_free(s);
    return rc;
}
