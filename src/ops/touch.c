/* touch.c - accesses noted by reads. The answer that gave rise to them does not wait: their lane item is queued before
 * it goes out, so a write that comes later finds them counted, and a read that could show them and comes before their
 * commit begins after it, TOUCH_WAIT_MS later at most. Nothing waits for the disk; what a kill loses is counts of the
 * last moment. What is noted while an item is queued goes with it, merged by id:
 *
 *   note ─▶ OPEN batch, its item queued ─the lane begins─▶ RUNNING ─committed─▶ waiting reads begin ─done─▶ freed
 *                                                          (the next note opens another batch) */
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/digest.h"
#include "ops/engine_private.h"

/* ---- the map ----------------------------------------------------------------------------------------------------- */
static struct touch_entry *slot_of(struct touch_map *m, const char *id)
{
    size_t i = (size_t)hash64(id, strlen(id), 0) & (m->cap - 1);
    while (m->entry[i].times != 0 && strcmp(m->entry[i].id, id) != 0) i = (i + 1) & (m->cap - 1);
    return &m->entry[i];
}

static void grow(struct touch_map *m)
{
    struct touch_map old = *m;
    m->cap = old.cap ? old.cap * 2 : 64;
    m->entry = mem_alloc(m->cap * sizeof(*m->entry));
    for (size_t i = 0; i < old.cap; i++)
        if (old.entry[i].times != 0) *slot_of(m, old.entry[i].id) = old.entry[i];
    mem_free(old.entry);
}

static void map_add(struct touch_map *m, const char *id)
{
    if ((m->count + 1) * 2 > m->cap) grow(m);
    struct touch_entry *slot = slot_of(m, id);
    if (slot->times == 0) {
        if (m->count >= TOUCH_IDS_MAX) return;
        strcpy(slot->id, id);
        m->count++;
    }
    slot->times++;
}

static void map_seen(struct touch_map *m, const struct seen *s)
{
    if (s->agent == NULL || m->seen_count == SEEN_MAX) return;
    size_t i = m->seen_count++;
    m->seen[i].agent = mem_strdup(s->agent);
    m->seen[i].peer = mem_strdup(s->peer);
    m->seen[i].at = mem_strdup(s->at);
}

static void map_clear(struct touch_map *m)
{
    for (size_t i = 0; i < m->seen_count; i++) {
        mem_free(m->seen[i].agent);
        mem_free(m->seen[i].peer);
        mem_free(m->seen[i].at);
    }
    mem_free(m->entry);
    memset(m, 0, sizeof(*m));
}

static bool map_empty(const struct touch_map *m)
{
    return m->count == 0 && m->seen_count == 0;
}

/* ---- the lane items ---------------------------------------------------------------------------------------------- */
static int run(struct lane_item *item, struct change *c, struct err *err)
{
    const struct touch_map *m = &container_of(item, struct touch_batch, item)->map;
    char now[TIME_TEXT];
    time_print(now, c->now_us);
    (void)err;
    for (size_t i = 0; i < m->cap; i++) {
        if (m->entry[i].times == 0) continue;
        int rc = change_touch(c, m->entry[i].id, c->now_us, m->entry[i].times);
        if (rc && rc != E_NOT_FOUND) return rc;
    }
    for (size_t i = 0; i < m->seen_count; i++) {
        int rc = c->tx->v->sync_seen(c->tx, m->seen[i].agent, m->seen[i].peer, m->seen[i].at, now);
        if (rc) return rc;
    }
    return 0;
}

static struct touch_batch *open_batch(struct engine *e)
{
    struct toucher *t = &e->toucher;
    if (t->open != NULL) return t->open;
    t->open = mem_alloc(sizeof(*t->open));
    t->open->engine = e;
    list_init(&t->open->waiting);
    list_add_tail(&t->batches, &t->open->link);
    return t->open;
}

static void release_waiting(struct list *waiting)
{
    struct list *node;
    while ((node = list_pop_head(waiting)) != NULL) engine_read(container_of(node, struct call_private, wait));
}

static void begun(struct lane_item *item)
{
    struct touch_batch *b = container_of(item, struct touch_batch, item);
    CHECK(b->engine->toucher.open == b);
    b->engine->toucher.open = NULL;
}

/* Readers see it now, or never will. */
static void seen(struct lane_item *item)
{
    struct touch_batch *b = container_of(item, struct touch_batch, item);
    struct list waiting;
    map_clear(&b->map);
    list_init(&waiting);
    list_splice_tail(&waiting, &b->waiting);
    release_waiting(&waiting);
}

static void batch_free(struct touch_batch *b)
{
    struct toucher *t = &b->engine->toucher;
    if (t->open == b) t->open = NULL;
    list_remove(&b->link);
    map_clear(&b->map);
    mem_free(b);
}

static void done(struct lane_item *item, int status)
{
    struct touch_batch *b = container_of(item, struct touch_batch, item);
    struct engine *e = b->engine;
    (void)status; /* counts that could not be written are not worth failing a read */
    seen(item);
    batch_free(b);
    engine_settled(e);
}

/* Queues what is noted. */
static void touch_send(struct engine *e)
{
    struct touch_batch *b = e->toucher.open;
    if (b == NULL || b->in_lane) return;
    b->item = (struct lane_item){ .run = run,
                                  .begun = begun,
                                  .seen = seen,
                                  .done = done,
                                  .class = LANE_CLIENT,
                                  .no_fsync = true,
                                  .bytes = b->map.count * sizeof(struct touch_entry) };
    b->in_lane = true;
    int rc = lane_submit(e->lane, &b->item);
    if (rc == 0) return;
    b->in_lane = false;
    if (rc == E_BUSY)
        engine_arm(e); /* full: the tick tries again */
    else
        done(&b->item, rc); /* nothing will be written any more */
}

/* ---- for the engine ---------------------------------------------------------------------------------------------- */
void touch_init(struct engine *e)
{
    list_init(&e->toucher.batches);
}

void touch_release(struct engine *e)
{
    if (e->toucher.open != NULL) batch_free(e->toucher.open);
}

void touch_note(struct engine *e, const struct call_private *p)
{
    const struct seen *peer = &p->call->reply.seen;
    if (e->lane == NULL || (p->touches.count == 0 && peer->agent == NULL)) return;
    struct touch_map *m = &open_batch(e)->map;
    for (size_t i = 0; i < p->touches.count; i++) map_add(m, p->touches.id[i]);
    map_seen(m, peer);
    touch_send(e);
}

/* Whether a map holds an id that a read of `id` may find: it, or one that begins with it. NULL: any. */
static bool holds(const struct touch_map *m, const struct str *id)
{
    if (id == NULL || id->s == NULL) return !map_empty(m);
    for (size_t i = 0; m->count > 0 && i < m->cap; i++)
        if (m->entry[i].times != 0 && strncasecmp(m->entry[i].id, id->s, id->len) == 0) return true;
    return false;
}

/* What a read is about that is decoded and begins with an id. */
static const struct str *one_id(const struct call *c)
{
    const struct arg *first = c->op->args;
    bool has = c->decode == NULL && c->args != NULL && first != NULL && first->name != NULL;
    if (!has || strcmp(first->name, "id") != 0 || first->type != ARG_TEXT) return NULL;
    return (const struct str *)(const void *)((const char *)c->args + first->offset);
}

bool touch_await(struct engine *e, struct call_private *p)
{
    const struct str *id = one_id(p->call);
    struct list *batches = &e->toucher.batches;
    for (struct list *node = batches->prev; node != batches; node = node->prev) { /* the latest is committed last */
        struct touch_batch *b = container_of(node, struct touch_batch, link);
        if (!holds(&b->map, id)) continue;
        p->state = CALL_WAIT_TOUCHES;
        p->until_ms = clock_mono_ms() + TOUCH_WAIT_MS;
        list_add_tail(&b->waiting, &p->wait);
        engine_arm(e);
        return true;
    }
    return false;
}

void touch_tick(struct engine *e, int64_t now_ms)
{
    struct list late;
    list_init(&late);
    list_each_safe (at, after, &e->toucher.batches) {
        struct touch_batch *b = container_of(at, struct touch_batch, link);
        list_each_safe (node, next, &b->waiting) {
            struct call_private *p = container_of(node, struct call_private, wait);
            if (p->until_ms > now_ms) break;
            list_remove(node);
            list_add_tail(&late, node);
        }
    }
    touch_send(e);
    release_waiting(&late);
}

bool touch_timed(const struct engine *e)
{
    bool waits = e->toucher.open != NULL && !e->toucher.open->in_lane;
    list_each_safe (node, next, &e->toucher.batches)
        waits = waits || !list_empty(&container_of(node, struct touch_batch, link)->waiting);
    return waits;
}

bool touch_idle(const struct engine *e)
{
    return list_empty(&e->toucher.batches);
}
