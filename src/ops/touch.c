/* touch.c - accesses noted by reads, merged by id into one lane item at a time. It commits without fsync; what is
 * lost with the power is a count. A call waits for the commit that holds its touches, TOUCH_WAIT_MS at most. */
#include <string.h>

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

/* ---- the lane item ----------------------------------------------------------------------------------------------- */
static int run(struct lane_item *item, struct change *c, struct err *err)
{
    struct toucher *t = container_of(item, struct toucher, item);
    const struct touch_map *m = &t->map[1 - t->gathering];
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

static void touch_send(struct engine *e);

static void release_waiting(struct list *waiting)
{
    struct list *node;
    while ((node = list_pop_head(waiting)) != NULL) engine_finish(container_of(node, struct call_private, wait), 0);
}

static void done(struct lane_item *item, int status)
{
    struct toucher *t = container_of(item, struct toucher, item);
    struct engine *e = container_of(t, struct engine, toucher);
    (void)status; /* counts that could not be written are not worth failing a read */
    unsigned sent = 1 - t->gathering;
    map_clear(&t->map[sent]);
    t->in_lane = false;
    struct list waiting;
    list_init(&waiting);
    list_splice_tail(&waiting, &t->waiting[sent]);
    touch_send(e);
    release_waiting(&waiting);
}

static void touch_send(struct engine *e)
{
    struct toucher *t = &e->toucher;
    struct touch_map *m = &t->map[t->gathering];
    if (t->in_lane || map_empty(m) || e->lane == NULL) return;
    t->item = (struct lane_item){
        .run = run, .done = done, .class = LANE_CLIENT, .no_fsync = true, .bytes = m->count * sizeof(struct touch_entry)
    };
    t->gathering = 1 - t->gathering;
    t->in_lane = true;
    int rc = lane_submit(e->lane, &t->item);
    if (rc == 0) return;
    t->in_lane = false;
    t->gathering = 1 - t->gathering;
    if (rc != E_BUSY) map_clear(m); /* nothing will be written any more; full: the tick tries again */
}

/* ---- for the engine ---------------------------------------------------------------------------------------------- */
void touch_init(struct engine *e)
{
    list_init(&e->toucher.waiting[0]);
    list_init(&e->toucher.waiting[1]);
}

void touch_release(struct engine *e)
{
    map_clear(&e->toucher.map[0]);
    map_clear(&e->toucher.map[1]);
}

void touch_add(struct engine *e, struct call_private *p)
{
    struct toucher *t = &e->toucher;
    struct touch_map *m = &t->map[t->gathering];
    for (size_t i = 0; i < p->touches.count; i++) map_add(m, p->touches.id[i]);
    map_seen(m, &p->call->reply.seen);
    bool nothing = p->touches.count == 0 && p->call->reply.seen.agent == NULL;
    if (nothing || e->lane == NULL) {
        engine_finish(p, 0);
        return;
    }
    p->state = CALL_TOUCHING;
    p->until_ms = clock_mono_ms() + TOUCH_WAIT_MS;
    list_add_tail(&t->waiting[t->gathering], &p->wait);
    touch_send(e);
    engine_arm(e);
}

void touch_tick(struct engine *e, int64_t now_ms)
{
    struct toucher *t = &e->toucher;
    struct list late;
    list_init(&late);
    for (int i = 0; i < 2; i++)
        list_each_safe (node, next, &t->waiting[i]) {
            struct call_private *p = container_of(node, struct call_private, wait);
            if (p->until_ms > now_ms) break;
            list_remove(node);
            list_add_tail(&late, node);
        }
    touch_send(e);
    release_waiting(&late);
}

bool touch_waiting(const struct engine *e)
{
    const struct toucher *t = &e->toucher;
    bool unsent = !t->in_lane && !map_empty(&t->map[t->gathering]) && e->lane != NULL;
    return unsent || !list_empty(&t->waiting[0]) || !list_empty(&t->waiting[1]);
}

bool touch_idle(const struct engine *e)
{
    return !e->toucher.in_lane;
}
