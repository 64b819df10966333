/* life.c - when a life of this node must end and another begin: its stream forked, its file was copied and runs
 * twice, or it was removed from the mesh. What was noticed here waits for the next poll; the server closes everything
 * in order and opens it again (cluster_options.renew).
 *
 *   another history of a stream of ours ─▶ a new stream; what the log held of the forked one is repeated in it
 *   another life with our node id, older ─▶ a new node id, too
 *   removed from the mesh                ─▶ the file is set aside, the node comes back empty
 *
 * A forked stream of another node, or of ours which this life repeated already: a snapshot of the peer that has another
 * history brings its rows here, forgetting none of ours; the longer history takes the place of the shorter, of which is
 * repeated then what the log holds, for others may have missed it; and a scrub looks after both. As often as it is met:
 * the peer that was asked first may have had less than another. */
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "cluster/internal.h"

#define REPEAT_OPS 64
#define TWICE_MS 2000 /* bytes of a life that ended may be late; nobody who ended speaks twice so far apart */
#define AGAIN_MS 10000
#define SCRUB_AFTER_MS 70000 /* once the rows are old enough for it */

void life_end(struct cluster *c, enum cluster_life how, uint64_t stream)
{
    if (c->o.renew == NULL || c->renew > how) return;
    c->renew = how;
    if (how == CLUSTER_LIFE_STREAM) c->renew_stream = stream;
}

void life_poll(struct cluster *c)
{
    if (c->renew == CLUSTER_LIFE_SAME || c->closing) return;
    enum cluster_life how = c->renew;
    c->renew = CLUSTER_LIFE_SAME; /* if it is not granted, it is noticed again */
    c->o.renew(c->o.renew_data, how, c->renew_stream);
}

void life_twin(struct cluster *c, uint64_t stream, bool answered)
{
    int64_t now = clock_mono_ms();
    if (stream == 0 || stream == c->own.stream) return;
    if (stream != c->twin) {
        log_error("cluster", "another process lives as this node (%llu), %s: was the file copied?",
                  (unsigned long long)c->own.node,
                  stream < c->own.stream ? "and for longer: this one takes an id of its own"
                                         : "for less long: it yields");
        c->twin = stream;
        c->twin_ms = now;
    }
    if (stream < c->own.stream && (answered || now - c->twin_ms >= TWICE_MS)) life_end(c, CLUSTER_LIFE_NODE, 0);
}

/* A copy of a peer's file that does not know where the first one is: nobody but those both know can tell it. */
struct peer *life_doubled(struct cluster *c, uint64_t node, uint64_t stream)
{
    for (unsigned i = 0; i < c->peers && node != 0 && stream != 0; i++) {
        struct repl_peer_view v;
        struct peer *p = &c->peer[i];
        if (p->node != node || p->live == stream || p->live == 0) continue;
        repl_peer_view(c->core, i, &v);
        if (v.state == REPL_UP && !v.original) return p;
    }
    return NULL;
}

bool life_copied(struct peer *p, uint64_t stream)
{
    int64_t now = clock_mono_ms();
    if (p->twice != stream && p->twice != 0 && now - p->twice_heard_ms < 2 * TWICE_MS) return false; /* one by one */
    if (p->twice != stream) {
        p->twice = stream;
        p->twice_ms = now;
    }
    p->twice_heard_ms = now;
    if (now - p->twice_ms < TWICE_MS || p->last_ok_ms - p->twice_ms < TWICE_MS / 2) return false;
    peer_error(p, "its node %llu lives twice, here and elsewhere: was the file copied?", (unsigned long long)p->node);
    return true;
}

/* One peer that lies, or has another mesh's list, must not make this node lay its data aside: a second one has to say
 * the same, and none may still take us in. Where there is but one, it decides. */
void life_refused(struct peer *p)
{
    struct cluster *c = p->c;
    unsigned say = 0;
    p->says_removed = true;
    for (unsigned i = 0; i < c->peers; i++) {
        struct repl_peer_view v;
        repl_peer_view(c->core, i, &v);
        if (v.state == REPL_UP || v.state == REPL_SUSPECT) return;
        say += c->peer[i].says_removed;
    }
    if (say >= 2 || c->nodes <= 2) life_end(c, CLUSTER_LIFE_EMPTY, 0);
}

static struct split *split_of(struct cluster *c, uint64_t stream)
{
    for (unsigned i = 0; i < c->splits; i++)
        if (c->split[i].stream == stream) return &c->split[i];
    return NULL;
}

bool life_split(struct cluster *c, uint64_t stream)
{
    return split_of(c, stream) != NULL;
}

/* ---- what the log holds of a forked stream of ours, before anybody is told anything ------------------------------ */

struct repeat_job {
    struct lane_item item;
    struct cluster *c;
    uint64_t stream, after, last;
    void (*done)(struct cluster *c, int status);
};

static int repeat_run(struct lane_item *item, struct change *ch, struct err *err)
{
    struct repeat_job *j = container_of(item, struct repeat_job, item);
    int rc = change_repeat(ch, j->stream, j->after, REPEAT_OPS, &j->last);
    if (rc == 0 && j->last == 0) rc = change_stream_forget(ch, j->stream);
    return rc == 0 ? 0 : err_set(err, rc, "repeating a forked stream: %s", err_text(rc));
}

static void repeat_done(struct lane_item *item, int status)
{
    struct repeat_job *j = container_of(item, struct repeat_job, item);
    struct cluster *c = j->c;
    if (status == 0 && j->last != 0 && !c->closing) {
        j->after = j->last;
        status = lane_submit(c->lane, item);
        if (status == 0) return;
    }
    if (status != 0)
        log_error("cluster", "%s", j->item.err.msg[0] ? j->item.err.msg : err_text(status));
    else
        log_info("cluster", "what this node had logged in stream %llu, up to %llu, was repeated in a new one",
                 (unsigned long long)j->stream, (unsigned long long)j->after);
    j->done(c, status);
    mem_free(j);
    cluster_job_done(c);
}

int life_repeat(struct cluster *c, uint64_t stream, void (*done)(struct cluster *c, int status))
{
    struct repeat_job *j = mem_alloc(sizeof *j);
    *j = (struct repeat_job){ .c = c, .stream = stream, .done = done };
    j->item.run = repeat_run;
    j->item.done = repeat_done;
    j->item.class = LANE_UPKEEP;
    int rc = lane_submit(c->lane, &j->item);
    if (rc == 0)
        c->busy++;
    else
        mem_free(j);
    return rc;
}

/* ---- forks ------------------------------------------------------------------------------------------------------- */

static struct split *split_new(struct cluster *c, struct peer *p, uint64_t stream, bool ours)
{
    if (c->splits == SPLITS_MAX) return NULL;
    struct split *s = &c->split[c->splits++];
    *s = (struct split){ .stream = stream };
    c->forks++;
    log_error("cluster", "%s has another history of stream %llu of %s%s", p == NULL ? "a peer" : p->url,
              (unsigned long long)stream, ours ? "this node" : "a node",
              ours ? ": was this file or machine set back?" : "");
    return s;
}

void life_fork(struct cluster *c, struct peer *p, uint64_t stream, uint64_t node)
{
    int64_t now = clock_mono_ms();
    bool ours = node == c->own.node, repeated = c->o.life == CLUSTER_LIFE_STREAM && c->o.forked == stream;
    struct split *s = split_of(c, stream);
    if (s == NULL) s = split_new(c, p, stream, ours);
    if (ours && !repeated) life_end(c, CLUSTER_LIFE_STREAM, stream); /* again, if it was not granted */
    if (s == NULL || (ours && !repeated) || p == NULL || now < s->again_ms) return;
    s->again_ms = now + AGAIN_MS;
    c->scrub_due_ms = now + SCRUB_AFTER_MS;
    snapshot_want(p->c, p, "it has another history of a stream");
}
