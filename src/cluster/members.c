/* members.c - who belongs to the mesh, what each told it has, and what may therefore be forgotten here.
 *
 *   heard of ─▶ a row (KIND_MEMBER, replicated) ─▶ active ─command─▶ removed: refused, and counted no more
 *
 * Every CARE_MS a reader looks at the members and the streams of the file, and the lane does what is due:
 *   a node without a row      gets one
 *   a stream of ours whose    is ended; an ended one that every member told whole leaves the vector
 *     writer is gone
 *   ops every member has      leave the log, but for the newest KEEP_OPS; beyond the caps also others: costs a snapshot
 *   deletions                 are forgotten when old enough, covered by what every member told at some moment, and
 *                             this node has all that they told then: no op that had not seen them can come any more.
 *                             A moment at which one of them did not know of a removal yet does not count
 * Only what was told in this life of ours counts. While a node of the original is a peer, deletions stay. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "cluster/internal.h"

#define CARE_MS 2000
#define INBOUND_MS 6000 /* a node that only calls us is a member after that long */
#define KEEP_OPS 1024
#define TRIM_STEP 1024 /* fewer are not worth a transaction */
#define GONE_MS 60000
#define GONE_PAGE 512
#define SILENT_MS 3600000    /* a member that long away is worth an alarm */
#define ENDED_AFTER_MS 10000 /* a life that young may not hold its lock yet */

/* ---- what they told ----------------------------------------------------------------------------------- */

struct known_node *members_find(struct cluster *c, uint64_t node)
{
    for (unsigned i = 0; i < c->known_count; i++)
        if (c->known[i].node == node) return &c->known[i];
    return NULL;
}

static struct known_node *find_or_add(struct cluster *c, uint64_t node)
{
    struct known_node *k = members_find(c, node);
    if (k != NULL || node == 0 || node == c->own.node || c->known_count == NODES_MAX) return k;
    k = &c->known[c->known_count++];
    *k = (struct known_node){ .node = node, .first_ms = clock_mono_ms() };
    return k;
}

static size_t place_of(const struct known_node *k, uint64_t stream)
{
    size_t low = 0, high = k->told_count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (k->told[mid].stream < stream)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void tell(struct known_node *k, const struct repl_entry *e)
{
    size_t at = place_of(k, e->stream);
    if (at == k->told_count || k->told[at].stream != e->stream) {
        if (k->told_count == WIRE_VECTOR_MAX) return;
        if (k->told_count == k->told_cap) {
            k->told_cap = k->told_cap == 0 ? 64 : k->told_cap * 2;
            k->told = mem_realloc(k->told, k->told_cap * sizeof *k->told);
        }
        memmove(&k->told[at + 1], &k->told[at], (k->told_count - at) * sizeof *k->told);
        k->told_count++;
    }
    k->told[at] = (struct stream_pos){
        .stream = e->stream, .node = e->node, .pos = e->pos, .chain = e->chain, .ended = e->ended
    };
}

static const struct stream_pos *told_of(const struct known_node *k, uint64_t stream)
{
    size_t at = place_of(k, stream);
    return at < k->told_count && k->told[at].stream == stream ? &k->told[at] : NULL;
}

bool members_said(const struct cluster *c, uint64_t stream, uint64_t pos, uint64_t chain)
{
    for (unsigned i = 0; i < c->known_count; i++) {
        const struct stream_pos *t = told_of(&c->known[i], stream);
        if (t != NULL && t->pos == pos && t->chain == chain) return true;
    }
    return false;
}

void members_told(struct cluster *c, const struct wire_head *h, const char *url, const struct wire_vector *v)
{
    struct known_node *k = find_or_add(c, h->node);
    if (k == NULL) return;
    k->heard_ms = clock_mono_ms();
    if (url != NULL && k->url == NULL) k->url = mem_strdup(url);
    if (v->whole) {
        k->told_count = 0;
        k->whole = true;
    }
    for (size_t i = 0; i < v->count; i++) tell(k, &v->entry[i]);
}

bool members_removed(struct cluster *c, uint64_t node)
{
    const struct known_node *k = members_find(c, node);
    return k != NULL && k->state == MEMBER_REMOVED;
}

/* ---- streams that left ---------------------------------------------------------------------------------- */

static size_t left_place(const struct cluster *c, uint64_t stream)
{
    size_t low = 0, high = c->left_count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (c->left[mid].stream < stream)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool left_at(const struct cluster *c, uint64_t stream, size_t *ret)
{
    *ret = left_place(c, stream);
    return *ret < c->left_count && c->left[*ret].stream == stream;
}

bool members_left(const struct cluster *c, uint64_t stream, uint64_t seq)
{
    size_t at;
    return left_at(c, stream, &at) && c->left[at].pos >= seq;
}

void members_leave(struct cluster *c, const struct stream_pos *left, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t at;
        if (left_at(c, left[i].stream, &at)) {
            if (left[i].pos > c->left[at].pos) c->left[at] = left[i];
            continue;
        }
        if (c->left_count == c->left_cap) {
            c->left_cap = c->left_cap == 0 ? 64 : c->left_cap * 2;
            c->left = mem_realloc(c->left, c->left_cap * sizeof *c->left);
        }
        memmove(&c->left[at + 1], &c->left[at], (c->left_count - at) * sizeof *c->left);
        c->left[at] = left[i];
        c->left_count++;
    }
}

void members_rejoin(struct cluster *c, uint64_t stream, uint64_t pos)
{
    size_t at;
    if (!left_at(c, stream, &at) || c->left[at].pos >= pos) return;
    memmove(&c->left[at], &c->left[at + 1], (--c->left_count - at) * sizeof *c->left);
}

/* The core may never have known it: it learns where the stream left, and so what to ask for. */
void members_hear(struct cluster *c, struct wire_vector *v)
{
    for (size_t i = 0; i < v->count; i++) {
        size_t at;
        if (!left_at(c, v->entry[i].stream, &at) || c->left[at].pos >= v->entry[i].pos) continue;
        const struct stream_pos here = c->left[at];
        members_rejoin(c, here.stream, v->entry[i].pos);
        cluster_applied(c, &here, false);
    }
    v->count = members_filter(c, v->entry, v->count);
}

size_t members_filter(const struct cluster *c, struct repl_entry *v, size_t count)
{
    size_t kept = 0;
    if (c->left_count == 0) return count;
    for (size_t i = 0; i < count; i++)
        if (!members_left(c, v[i].stream, v[i].pos)) v[kept++] = v[i];
    return kept;
}

/* ---- what is due ---------------------------------------------------------------------------------------- */

struct trim {
    uint64_t stream, to;
};

struct care {
    struct read_item look;
    struct lane_item item;
    struct cluster *c;
    struct arena arena; /* what was read, and the plan */
    struct member *member;
    size_t members;
    struct stream_pos *pos;
    size_t count;
    bool *orphan;   /* pos[i]: of ours, its writer is gone */
    uint64_t *aged; /* pos[i]: its ops up to here are older than they are kept */
    struct member *add;
    size_t adds;
    uint64_t *ended, *left;
    size_t ended_count, left_count;
    struct trim *trim;
    size_t trims, trimmed; /* to do; done */
    struct trim_gone gone; /* count NODES_MAX + 1: none */
    struct cover cover[NODES_MAX];
    char *after; /* owned */
    size_t gone_rows;
};

/* How far the ops of a stream, from the first that is kept, are older than `before`; about TRIM_STEP of them at a time.
 * No op is older than its writer's life: those made of an old file's rows tell the rows' times. */
static int aged(struct store_tx *tx, const struct stream_pos *s, uint64_t before, uint64_t *ret)
{
    struct arena a;
    struct log_op *op;
    size_t count = 1;
    bool old = hlc_of_us((int64_t)(s->stream >> 20) * 1000) < before;
    int rc = 0;
    *ret = s->trimmed;
    arena_init(&a, 8u << 20);
    for (size_t want = 1; rc == 0 && old && count > 0 && *ret < s->trimmed + TRIM_STEP; want = TRIM_STEP) {
        arena_release(&a);
        rc = tx->v->op_page(tx, s->stream, *ret + 1, want, 1u << 20, &a, &op, &count);
        for (size_t i = 0; rc == 0 && old && i < count; i++) {
            old = op[i].ver < before;
            if (old) *ret = op[i].seq;
        }
    }
    arena_release(&a);
    return rc;
}

static int look_age(struct care *j, struct store_tx *tx)
{
    uint64_t before = hlc_of_us(clock_wall_us(NULL) - (int64_t)j->c->o.log_max_secs * 1000000);
    int rc = 0;
    j->aged = arena_alloc(&j->arena, (j->count + 1) * sizeof *j->aged);
    if (j->aged == NULL) return E_TOO_LARGE;
    for (size_t i = 0; rc == 0 && i < j->count; i++) {
        const struct stream_pos *s = &j->pos[i];
        j->aged[i] = 0;
        if (j->c->o.log_max_secs > 0 && s->pos > s->trimmed) rc = aged(tx, s, before, &j->aged[i]);
    }
    return rc;
}

static int look_run(struct read_item *item, struct store_tx *tx, struct err *err)
{
    struct care *j = container_of(item, struct care, look);
    const struct cluster_options *o = &j->c->o;
    int64_t now_ms = clock_wall_us(NULL) / 1000;
    (void)err;
    int rc = change_members(tx, &j->arena, &j->member, &j->members);
    if (rc == 0) rc = tx->v->streams(tx, &j->arena, &j->pos, &j->count);
    if (rc != 0) return rc;
    j->orphan = arena_alloc(&j->arena, j->count + 1);
    if (j->orphan == NULL) return E_TOO_LARGE;
    for (size_t i = 0; i < j->count; i++) {
        const struct stream_pos *s = &j->pos[i];
        bool ours = s->node == j->c->own.node && s->stream != j->c->own.stream && !s->ended;
        bool young = now_ms - (int64_t)(s->stream >> 20) < ENDED_AFTER_MS;
        j->orphan[i] = ours && !young && o->alive != NULL && !o->alive(o->alive_data, s->stream);
    }
    return look_age(j, tx);
}

void members_take(struct cluster *c, const struct member *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct member *m = &list[i];
        if (m->node == c->own.node) {
            c->removed = m->state == MEMBER_REMOVED;
            if (c->removed) life_end(c, CLUSTER_LIFE_EMPTY, 0);
            continue;
        }
        struct known_node *k = find_or_add(c, m->node);
        if (k == NULL) continue;
        if (k->state != MEMBER_REMOVED && m->state == MEMBER_REMOVED)
            log_info("cluster", "node %llu was removed from the mesh", (unsigned long long)m->node);
        k->state = m->state;
        k->since_ms = m->since_ms;
        k->stamp = m->stamp;
        if (k->url == NULL && m->url[0] != 0) k->url = mem_strdup(m->url);
    }
}

static void plan_members(struct cluster *c, struct care *j)
{
    int64_t now = clock_mono_ms();
    j->add = arena_alloc(&j->arena, (NODES_MAX + 1) * sizeof *j->add);
    for (unsigned i = 0; j->add != NULL && i < c->known_count; i++) {
        const struct known_node *k = &c->known[i];
        if (k->state != 0 || (k->url == NULL && now - k->first_ms < INBOUND_MS)) continue;
        j->add[j->adds++] = (struct member){ .node = k->node,
                                             .state = MEMBER_ACTIVE,
                                             .url = arena_strdup(&j->arena, k->url == NULL ? "" : k->url),
                                             .since_ms = clock_wall_us(NULL) / 1000 };
    }
}

/* Whether all that should have a say is known: every peer said who it is. */
static bool settled(const struct cluster *c)
{
    for (unsigned i = 0; i < c->peers; i++) {
        struct repl_peer_view v;
        repl_peer_view(c->core, i, &v);
        if (v.state != REPL_SELF && c->peer[i].node == 0) return false;
    }
    return !cluster_has_originals(c);
}

/* Up to where every member told it has a stream; ended: and that this is its end. */
static uint64_t bound_of(const struct cluster *c, const struct stream_pos *s, bool *ended)
{
    uint64_t bound = s->pos;
    *ended = s->ended;
    for (unsigned i = 0; i < c->known_count; i++) {
        const struct known_node *k = &c->known[i];
        if (k->state == MEMBER_REMOVED) continue;
        const struct stream_pos *t = told_of(k, s->stream);
        uint64_t pos = t == NULL ? 0 : t->pos;
        if (pos < bound) bound = pos;
        *ended = *ended && t != NULL && t->ended && t->pos == s->pos;
    }
    return bound;
}

static void plan_streams(struct cluster *c, struct care *j)
{
    bool all = settled(c);
    j->ended = arena_alloc(&j->arena, (j->count + 1) * sizeof *j->ended);
    j->left = arena_alloc(&j->arena, (j->count + 1) * sizeof *j->left);
    j->trim = arena_alloc(&j->arena, (j->count + 1) * sizeof *j->trim);
    if (j->ended == NULL || j->left == NULL || j->trim == NULL) return;
    for (size_t i = 0; i < j->count; i++) {
        const struct stream_pos *s = &j->pos[i];
        bool ended;
        uint64_t bound = bound_of(c, s, &ended);
        if (j->orphan[i]) j->ended[j->ended_count++] = s->stream;
        if (!all) bound = 0;
        if (all && ended && s->node == c->own.node && s->stream != c->own.stream) j->left[j->left_count++] = s->stream;
        uint64_t keep = ended ? 0 : KEEP_OPS, to = bound > keep ? bound - keep : 0;
        if (c->o.log_ops_max > 0 && s->pos > c->o.log_ops_max && to < s->pos - c->o.log_ops_max)
            to = s->pos - c->o.log_ops_max;
        if (j->aged[i] > to) to = j->aged[i];
        uint64_t step = c->o.log_ops_max > 0 && c->o.log_ops_max < TRIM_STEP ? c->o.log_ops_max : TRIM_STEP;
        bool worth = to > s->trimmed && (to - s->trimmed >= step || (s->ended && to == s->pos));
        if (worth) j->trim[j->trims++] = (struct trim){ s->stream, to };
    }
}

/* ---- deletions ------------------------------------------------------------------------------------------- */

static void cover_drop(struct cluster *c)
{
    for (unsigned i = 0; i < c->covers; i++) mem_free((struct stream_pos *)(uintptr_t)c->cover[i].v);
    c->covers = 0;
    c->cover_taken = false;
}

/* What a member told before it knew of a removal says nothing of what the removed one may still give it. */
static bool knows_removals(const struct cluster *c, const struct known_node *k)
{
    for (unsigned i = 0; i < c->known_count; i++) {
        const struct stamp *s = &c->known[i].stamp;
        if (c->known[i].state != MEMBER_REMOVED || members_left(c, s->stream, s->seq)) continue;
        const struct stream_pos *t = told_of(k, s->stream);
        if (t == NULL || t->pos < s->seq) return false;
    }
    return true;
}

static void cover_take(struct cluster *c)
{
    for (unsigned i = 0; i < c->known_count; i++) {
        const struct known_node *k = &c->known[i];
        if (k->state != MEMBER_REMOVED && (!k->whole || !knows_removals(c, k))) return;
    }
    for (unsigned i = 0; i < c->known_count; i++) {
        const struct known_node *k = &c->known[i];
        if (k->state == MEMBER_REMOVED) continue;
        struct stream_pos *v = mem_alloc((k->told_count + 1) * sizeof *v);
        if (k->told_count > 0) memcpy(v, k->told, k->told_count * sizeof *v);
        c->cover[c->covers++] = (struct cover){ v, k->told_count };
    }
    c->cover_taken = true;
}

static bool cover_held(const struct cluster *c)
{
    for (unsigned i = 0; i < c->covers; i++)
        for (size_t k = 0; k < c->cover[i].count; k++) {
            const struct stream_pos *t = &c->cover[i].v[k];
            if (t->pos > repl_position(c->core, t->stream) && !members_left(c, t->stream, t->pos)) return false;
        }
    return true;
}

/* Hands the covers over to the job when the time has come. */
static void plan_gone(struct cluster *c, struct care *j)
{
    int64_t now = clock_mono_ms(), keep_us = (int64_t)c->o.gone_keep_secs * 1000000;
    int64_t every = c->o.gone_keep_secs < GONE_MS / 1000 ? CARE_MS : GONE_MS;
    j->gone.count = NODES_MAX + 1;
    if (!settled(c)) {
        cover_drop(c);
        return;
    }
    if (!c->cover_taken) cover_take(c);
    /* not while a snapshot comes in: its pages may hold what a deletion is for */
    if (!c->cover_taken || now < c->gone_due_ms || c->fetch != NULL || !cover_held(c)) return;
    memcpy(j->cover, c->cover, c->covers * sizeof *c->cover);
    j->gone = (struct trim_gone){ .kind = SIDE_TOMBSTONE,
                                  .before = hlc_of_us(clock_wall_us(NULL) - keep_us),
                                  .member = j->cover,
                                  .count = c->covers };
    c->covers = 0;
    c->cover_taken = false;
    c->gone_due_ms = now + every;
}

/* ---- doing it (pool) --------------------------------------------------------------------------------------- */

static int do_gone(struct care *j, struct change *ch)
{
    const char *last;
    size_t rows;
    if (j->gone.count > NODES_MAX) return 0;
    int rc = change_trim_gone(ch, &j->gone, j->after, GONE_PAGE, &last, &rows);
    if (rc != 0) return rc;
    j->gone_rows += rows;
    mem_free(j->after);
    j->after = last == NULL ? NULL : mem_strdup(last);
    if (last != NULL) return E_AGAIN;
    if (j->gone.kind == SIDE_ARCHIVE) return 0;
    j->gone.kind = j->gone.kind == SIDE_TOMBSTONE ? SIDE_LINK_GONE : SIDE_ARCHIVE;
    return E_AGAIN;
}

static int care_run(struct lane_item *item, struct change *ch, struct err *err)
{
    struct care *j = container_of(item, struct care, item);
    bool more = false;
    int rc = 0;
    (void)err;
    for (size_t i = 0; rc == 0 && i < j->adds; i++) {
        struct arena a;
        struct member there;
        arena_init(&a, 1u << 20);
        rc = change_member_get(ch->tx, j->add[i].node, &a, &there);
        arena_release(&a);
        rc = rc == E_NOT_FOUND ? change_member(ch, &j->add[i]) : rc;
    }
    if (rc == 0 && j->ended_count > 0) rc = change_streams_end(ch, j->ended, j->ended_count, STREAM_ENDED);
    if (rc == 0 && j->left_count > 0) rc = change_streams_end(ch, j->left, j->left_count, STREAM_LEFT);
    for (; rc == 0 && j->trimmed < j->trims; j->trimmed++) {
        rc = change_trim_log(ch, j->trim[j->trimmed].stream, j->trim[j->trimmed].to, &more);
        if (rc == 0 && more) return E_AGAIN;
    }
    return rc == 0 ? do_gone(j, ch) : rc;
}

static void care_free(struct care *j)
{
    struct cluster *c = j->c;
    if (j->gone.count <= NODES_MAX)
        for (size_t i = 0; i < j->gone.count; i++) mem_free((struct stream_pos *)(uintptr_t)j->cover[i].v);
    mem_free(j->after);
    arena_release(&j->arena);
    mem_free(j);
    c->caring = false;
    cluster_job_done(c);
}

static void care_done(struct lane_item *item, int status)
{
    struct care *j = container_of(item, struct care, item);
    if (status != 0) log_debug("cluster", "upkeep of the log: %s", err_text(status));
    j->c->gone_rows += j->gone_rows;
    care_free(j);
}

static void look_done(struct read_item *item, int status)
{
    struct care *j = container_of(item, struct care, look);
    struct cluster *c = j->c;
    j->gone.count = NODES_MAX + 1;
    if (status != 0 || c->closing) {
        care_free(j);
        return;
    }
    members_take(c, j->member, j->members);
    for (size_t i = 0; i < j->count; i++) /* ends come by ops: told on in the vector, once what they end is durable */
        if (j->pos[i].ended && j->pos[i].pos <= repl_position(c->core, j->pos[i].stream))
            cluster_applied(c, &j->pos[i], false);
    plan_members(c, j);
    plan_streams(c, j);
    plan_gone(c, j);
    j->item.run = care_run;
    j->item.done = care_done;
    j->item.class = LANE_UPKEEP;
    j->item.no_fsync = j->adds + j->ended_count + j->left_count == 0;
    bool due = !j->item.no_fsync || j->trims > 0 || j->gone.count <= NODES_MAX;
    if (!due || lane_submit(c->lane, &j->item) != 0) care_free(j);
}

void members_poll(struct cluster *c)
{
    int64_t now = clock_mono_ms();
    if (c->caring || c->closing || c->core == NULL || now < c->care_due_ms) return;
    struct care *j = mem_alloc(sizeof *j);
    j->c = c;
    j->look.run = look_run;
    j->look.done = look_done;
    arena_init(&j->arena, 32u << 20);
    c->care_due_ms = now + CARE_MS;
    if (readers_submit(c->readers, &j->look) != 0) {
        mem_free(j);
        return;
    }
    c->caring = true;
    c->busy++;
}

/* Before the first hello: what left, so that nobody's word of it is listened to. */
int members_load(struct cluster *c, struct store_tx *tx, struct arena *a)
{
    const char *after = NULL;
    int rc = 0;
    do {
        struct stream_pos *left;
        size_t count;
        rc = change_streams_left(tx, after, a, &left, &count, &after);
        if (rc == 0) members_leave(c, left, count); /* nobody else looks at it before the loading is done */
    } while (rc == 0 && after != NULL);
    return rc;
}

void members_free(struct cluster *c)
{
    cover_drop(c);
    for (unsigned i = 0; i < c->known_count; i++) {
        mem_free(c->known[i].url);
        mem_free(c->known[i].told);
    }
    mem_free(c->left);
}

bool members_backlog(struct cluster *c, uint64_t node, uint64_t *ret_it_lacks, uint64_t *ret_we_lack)
{
    size_t count;
    const struct known_node *k = members_find(c, node);
    *ret_it_lacks = *ret_we_lack = 0;
    if (k == NULL || !k->whole || c->core == NULL) return false;
    const struct repl_entry *v = repl_vector(c->core, &count);
    for (size_t i = 0; i < count; i++) {
        if (members_left(c, v[i].stream, v[i].pos)) continue;
        const struct stream_pos *t = told_of(k, v[i].stream);
        uint64_t pos = t == NULL ? 0 : t->pos;
        if (v[i].pos > pos) *ret_it_lacks += v[i].pos - pos;
        if (pos > v[i].pos) *ret_we_lack += pos - v[i].pos;
    }
    return true;
}

uint64_t members_position(struct cluster *c, uint64_t node, uint64_t stream)
{
    const struct known_node *k = members_find(c, node);
    const struct stream_pos *t = k == NULL ? NULL : told_of(k, stream);
    return t == NULL ? 0 : t->pos;
}

/* Another node answers under its URL: its disk is lost, or it moved. */
static bool replaced(const struct cluster *c, const struct known_node *k)
{
    for (unsigned i = 0; k->url != NULL && k->state == MEMBER_ACTIVE && i < c->peers; i++)
        if (strcmp(c->peer[i].url, k->url) == 0) return c->peer[i].node != 0 && c->peer[i].node != k->node;
    return false;
}

void members_alarms(struct cluster *c, json_t *list)
{
    int64_t now = clock_mono_ms();
    for (unsigned i = 0; i < c->known_count; i++) {
        const struct known_node *k = &c->known[i];
        int64_t silent = now - (k->heard_ms > 0 ? k->heard_ms : k->first_ms);
        unsigned long long node = k->node;
        if (k->state != MEMBER_ACTIVE || (silent < SILENT_MS && !replaced(c, k))) continue;
        status_alarm(list,
                     "member %llu (%s) %s: it holds back what could be forgotten; if it will not come back: "
                     "sync-member remove %llu",
                     node, k->url == NULL ? "no URL" : k->url,
                     replaced(c, k) ? "is another node by now" : "was not heard of for an hour or more", node);
    }
}

json_t *members_status(struct cluster *c)
{
    static const char *const states[] = { "new", "active", "removed" };
    int64_t now = clock_mono_ms();
    json_t *list = json_array();
    for (unsigned i = 0; i < c->known_count; i++) {
        const struct known_node *k = &c->known[i];
        json_t *o = json_pack("{s:o, s:s?, s:s}", "node", json_id(k->node), "url", k->url, "state",
                              states[k->state <= MEMBER_REMOVED ? k->state : 0]);
        json_object_set_new(o, "replaced", json_boolean(replaced(c, k)));
        json_object_set_new(o, "heard_ms_ago", k->heard_ms == 0 ? json_null() : json_integer(now - k->heard_ms));
        json_array_append_new(list, o);
    }
    return list;
}
