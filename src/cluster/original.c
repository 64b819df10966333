/* original.c - a peer that is a node of the original: it knows no ops, so each op of our stream becomes one JSON push.
 * Its ack is `applied` or `noop` for each row (0.6.0 ignores `deletions`, so only an answer that tells of them
 * acknowledges one); it counts for the quorum, never as a disk. How far it was offered each stream, and how far it was
 * read, is kept under "original:<url>" in repl_local. */
#include "cluster/original.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "cluster/internal.h"

#define LIVE_TAIL 64 /* a longer absence is made up for by the exchange: what is written now does not queue behind it */
#define SAVE_MS 1000
#define SAVED_FORMAT 1
#define SAVED_MAX (2u << 20)

struct original *original_new(struct peer *p)
{
    struct original *o = mem_alloc(sizeof *o);
    o->mixed = mixed_new(p);
    return o;
}

void original_free(struct original *o)
{
    mixed_free(o->mixed);
    foreign_marks_release(&o->marks);
    foreign_marks_release(&o->told);
    mem_free(o->offered);
    mem_free(o);
}

void original_sender(char *out, size_t size)
{
    char host[128] = "";
    gethostname(host, sizeof host - 1);
    for (char *p = host; *p != 0; p++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.", *p) == NULL) *p = '-';
    snprintf(out, size, "host:%s", host[0] == 0 ? "unknown" : host);
}

/* What a peer said goes into our own answers: plain text only. */
static void plain(char *text)
{
    for (char *c = text; *c != 0; c++)
        if ((unsigned char)*c < ' ' || (unsigned char)*c > '~') *c = '?';
}

void original_refuse(struct peer *p, const char *id, const char *why)
{
    struct original *o = p->original_state;
    struct refusal *r = &o->refusal[o->refused++ % REFUSALS_MAX];
    snprintf(r->id, sizeof r->id, "%s", id);
    snprintf(r->why, sizeof r->why, "%s", why);
    plain(r->id);
    plain(r->why);
    r->at_us = clock_wall_us(NULL);
    peer_error(p, "row %s: %s", r->id, r->why);
}

void original_refuse_once(struct peer *p, const char *id, const char *why)
{
    struct original *o = p->original_state;
    uint64_t mark = hash64(why, strlen(why), hash64(id, strlen(id), 0)) | 1;
    if (foreign_marks_has(&o->told, mark)) return;
    foreign_marks_add(&o->told, mark);
    original_refuse(p, id, why);
}

/* ---- how far it was offered -------------------------------------------------------------------------------------- */

static size_t offer_at(const struct original *o, uint64_t stream, bool *found)
{
    size_t from = 0, to = o->offered_count;
    while (from < to) {
        size_t mid = (from + to) / 2;
        if (o->offered[mid].stream < stream)
            from = mid + 1;
        else
            to = mid;
    }
    *found = from < o->offered_count && o->offered[from].stream == stream;
    return from;
}

uint64_t original_offered(const struct original *o, uint64_t stream)
{
    bool found;
    size_t at = offer_at(o, stream, &found);
    return found ? o->offered[at].pos : 0;
}

void original_offer_set(struct original *o, uint64_t stream, uint64_t pos)
{
    bool found;
    size_t at = offer_at(o, stream, &found);
    if (found && o->offered[at].pos == pos) return;
    o->changed = true;
    if (!found) {
        o->offered = mem_realloc(o->offered, (o->offered_count + 1) * sizeof *o->offered);
        memmove(o->offered + at + 1, o->offered + at, (o->offered_count - at) * sizeof *o->offered);
        o->offered_count++;
    }
    o->offered[at] = (struct offer){ stream, pos };
}

void original_offer_all(struct original *o, const struct offer *offer, size_t count)
{
    mem_free(o->offered);
    o->offered = mem_alloc((count + 1) * sizeof *o->offered);
    if (count > 0) memcpy(o->offered, offer, count * sizeof *offer);
    o->offered_count = count;
    o->changed = true;
}

void original_join(struct peer *p)
{
    struct original *o = p->original_state;
    uint64_t own = p->c->own.stream, pos = original_offered(o, own);
    if (o->filled && pos >= o->live_from && o->live > pos) original_offer_set(o, own, o->live);
}

uint64_t original_met(struct peer *p)
{
    struct original *o = p->original_state;
    uint64_t own = p->c->own.seq, from = o->filled ? original_offered(o, p->c->own.stream) : 0;
    if (!o->remembered) o->changed = true;
    o->remembered = true;
    o->asked_count = 0;
    if (from > own) from = own;
    o->live_from = o->live = own - from > LIVE_TAIL ? own - LIVE_TAIL : from;
    mixed_soon(p);
    return o->live;
}

void original_not(struct peer *p)
{
    struct original *o = p->original_state;
    if (!o->remembered) return;
    o->remembered = o->filled = false;
    o->offered_count = 0;
    o->cursor_us = 0;
    o->changed = true;
    mixed_forget(p);
}

bool cluster_has_originals(const struct cluster *c)
{
    if (c->core == NULL) return c->peers > 0; /* what was known of them is not read yet */
    for (unsigned i = 0; i < c->peers; i++)
        if (c->peer[i].original || c->peer[i].original_state->remembered) return true;
    return false;
}

uint64_t original_backlog(const struct peer *p)
{
    const struct original *o = p->original_state;
    uint64_t backlog = 0;
    size_t count;
    const struct repl_entry *v = repl_vector(p->c->core, &count);
    for (size_t i = 0; i < count; i++) {
        uint64_t pos = original_offered(o, v[i].stream);
        if (v[i].pos > pos) backlog += v[i].pos - pos;
    }
    return backlog;
}

/* ---- live pushes ------------------------------------------------------------------------------------------------- */

static void moved(struct peer *p, uint64_t seq, bool counts)
{
    struct original *o = p->original_state;
    o->live = seq;
    original_join(p);
    struct repl_event e = { .type = REPL_ACK, .peer = p->index, .gen = p->gen, .counts = counts };
    e.entry = (struct repl_entry){ .stream = p->c->own.stream, .node = p->c->own.node, .pos = seq };
    cluster_feed(p->c, &e);
}

/* An answer that lists ids must list ours. */
static bool lists(const json_t *ids, const char *id)
{
    size_t i;
    json_t *one;
    if (json_array_size(ids) == 0 || id[0] == 0) return true;
    json_array_foreach (ids, i, one) {
        if (json_is_string(one) && strcmp(json_string_value(one), id) == 0) return true;
    }
    return false;
}

/* Does the answer say that all of the push is there now? A row it skipped is its loss, said and left behind. */
static bool taken(struct peer *p, const struct live_push *l, const struct client_answer *a)
{
    char why[160];
    json_t *doc = a->status == 200 ? json_parse(a->body, a->body_len, NULL, 0, NULL) : NULL;
    const json_t *deleted = json_object_get(doc, "deleted");
    json_int_t good =
        json_integer_value(json_object_get(doc, "applied")) + json_integer_value(json_object_get(doc, "noop"));
    bool rows = good >= (json_int_t)l->rows && lists(json_object_get(doc, "ids"), l->id);
    bool all = good + json_integer_value(deleted) >= (json_int_t)l->rows + (json_int_t)l->deletions;
    bool counts = rows && (l->deletions == 0 || (json_is_integer(deleted) && all));
    json_decref(doc);
    if (rows) return counts;
    snprintf(why, sizeof why, "not taken: status %d: %.*s", a->status, (int)(a->body_len > 100 ? 100 : a->body_len),
             a->body);
    original_refuse(p, l->id, why);
    return false;
}

static void lost(struct peer *p, const char *why)
{
    peer_error(p, "push failed: %s", why);
    p->original_state->asked_count = 0;
    link_close(p, true);
    cluster_feed_link(p, REPL_CLOSED);
}

static void told_again(struct peer *p, const struct stamp *op)
{
    struct repl_event e = { .type = REPL_HAS, .peer = p->index, .gen = p->gen };
    e.entry = (struct repl_entry){ .stream = op->stream, .pos = op->seq };
    cluster_feed(p->c, &e);
}

static void push_answer(void *data, int error, const struct client_answer *a)
{
    struct peer *p = data;
    struct original *o = p->original_state;
    if (o->asked_count == 0) return;
    struct live_push l = o->asked[0];
    memmove(o->asked, o->asked + 1, --o->asked_count * sizeof l);
    if (error != 0) {
        lost(p, client_why(p->link, error));
    } else if (a->status >= 500 || a->status == 401 || a->status == 403 || a->status == 429) {
        char why[40];
        snprintf(why, sizeof why, "status %d", a->status);
        lost(p, why);
    } else {
        p->last_ok_ms = clock_mono_ms();
        bool counts = taken(p, &l, a);
        if (counts && l.mark != 0) foreign_marks_add(&o->marks, l.mark);
        if (l.again.stream == 0)
            moved(p, l.seq, counts);
        else if (counts)
            told_again(p, &l.again);
    }
}

/* What of an op an original understands, but for a row that came from it, unless all is asked for. NULL: nothing. */
static json_t *push_body(const struct original *o, const void *body, size_t len, struct live_push *l)
{
    struct arena arena;
    struct version *v;
    size_t count = 0;
    char sender[160];
    json_t *memories = json_array(), *deletions = json_array();
    arena_init(&arena, 2 * OP_BYTES_MAX);
    if (op_decode(body, len, &arena, &v, &count) != 0) count = 0;
    for (size_t i = 0; i < count; i++) {
        struct memory m = v[i].m;
        if (v[i].kind == KIND_TOMBSTONE) json_array_append_new(deletions, json_string(m.id));
        if (v[i].kind != KIND_MEMORY) continue;
        l->mark = foreign_row_mark(&m, stamp_us(v[i].ver));
        if (l->again.stream == 0 && foreign_marks_has(&o->marks, l->mark)) continue;
        m.tier = v[i].own.tier;
        m.priority = v[i].own.priority;
        m.expires_at = v[i].own.expires_at;
        m.access_count = v[i].own.count_seen;
        json_array_append_new(memories, foreign_row_json(&m, v[i].ver));
        snprintf(l->id, sizeof l->id, "%s", m.id);
    }
    arena_release(&arena);
    l->rows = (unsigned)json_array_size(memories);
    l->deletions = (unsigned)json_array_size(deletions);
    if (l->rows != 1) l->mark = 0;
    if (l->rows + l->deletions == 0) {
        json_decref(memories);
        json_decref(deletions);
        return NULL;
    }
    original_sender(sender, sizeof sender);
    return json_pack("{s:b, s:o, s:o, s:s}", "dry_run", 0, "memories", memories, "deletions", deletions,
                     "sender_agent_id", sender);
}

static int push(struct peer *p, json_t *doc)
{
    struct buf b;
    size_t len = 0;
    struct http_header key = { "x-api-key", p->c->o.api_key };
    struct client_request q = { .method = "POST",
                                .path = "/api/v1/sync/push",
                                .content_type = "application/json",
                                .headers = &key,
                                .headers_count = p->c->o.api_key != NULL,
                                .timeout_ms = PUSH_TIMEOUT_MS,
                                .cb = push_answer,
                                .data = p };
    buf_init(&b, 2 * OP_BYTES_MAX);
    json_print(&b, doc);
    q.body_owned = buf_take(&b, &len);
    q.body_len = len;
    return client_send(p->link, &q);
}

void original_send(struct peer *p, const struct log_op *op, size_t count, uint64_t chain_before)
{
    struct original *o = p->original_state;
    struct live_push l = { 0 };
    (void)chain_before;
    struct repl_event e = { .type = REPL_SENT, .peer = p->index, .gen = p->gen };
    if (count == 0 || o->asked_count == ASKED_MAX) {
        lost(p, "our log does not hold what it lacks");
        return;
    }
    e.first = l.seq = op[0].seq;
    e.entry = (struct repl_entry){
        .stream = p->c->own.stream, .node = p->c->own.node, .pos = op[0].seq, .chain = op[0].chain
    };
    json_t *doc = push_body(o, op[0].body, op[0].body_len, &l);
    int rc = doc == NULL ? 0 : push(p, doc);
    json_decref(doc);
    if (rc != 0) {
        lost(p, err_text(rc));
        return;
    }
    if (doc != NULL) o->asked[o->asked_count++] = l;
    cluster_feed(p->c, &e);
    if (doc == NULL) moved(p, l.seq, false);
}

void original_again(struct peer *p, const struct stamp *op, const void *body, size_t len)
{
    struct original *o = p->original_state;
    struct live_push l = { .again = *op };
    if (o->asked_count == ASKED_MAX) return;
    json_t *doc = push_body(o, body, len, &l);
    int rc = doc == NULL ? 0 : push(p, doc);
    if (rc != 0)
        lost(p, err_text(rc));
    else if (doc != NULL)
        o->asked[o->asked_count++] = l;
    json_decref(doc);
}

/* ---- on disk ----------------------------------------------------------------------------------------------------- */

static void saved_key(char *out, size_t size, const struct peer *p)
{
    snprintf(out, size, "original:%s", p->url);
}

static void saved_put(struct buf *b, const struct original *o)
{
    if (!o->remembered) return; /* empty: forgotten */
    buf_u8(b, SAVED_FORMAT);
    buf_u8(b, o->filled);
    buf_u64(b, (uint64_t)o->cursor_us);
    buf_u32(b, (uint32_t)o->offered_count);
    for (size_t i = 0; i < o->offered_count; i++) {
        buf_u64(b, o->offered[i].stream);
        buf_u64(b, o->offered[i].pos);
    }
}

/* What does not read counts as not there: then it is offered all once more. */
static void saved_read(struct original *o, const void *data, size_t len)
{
    struct reader r;
    struct offer offer[1];
    reader_init(&r, data, len);
    if (len == 0 || read_u8(&r) != SAVED_FORMAT) return;
    bool filled = read_u8(&r) != 0;
    int64_t cursor_us = (int64_t)read_u64(&r);
    uint32_t count = read_u32(&r);
    if (r.failed || count != r.left / sizeof *offer || r.left % sizeof *offer != 0) return;
    for (uint32_t i = 0; i < count; i++) {
        offer->stream = read_u64(&r);
        offer->pos = read_u64(&r);
        original_offer_set(o, offer->stream, offer->pos);
    }
    o->remembered = true;
    o->filled = filled;
    o->cursor_us = cursor_us;
    o->changed = false;
}

struct save_job {
    struct lane_item item;
    struct cluster *c;
    bool due[REPL_PEERS_MAX];
    struct buf value[REPL_PEERS_MAX];
};

static int save_run(struct lane_item *item, struct change *ch, struct err *err)
{
    struct save_job *j = container_of(item, struct save_job, item);
    (void)err;
    for (unsigned i = 0; i < j->c->peers; i++) {
        char key[600];
        if (!j->due[i] || j->value[i].failed) continue;
        saved_key(key, sizeof key, &j->c->peer[i]);
        int rc = ch->tx->v->local_put(ch->tx, key, buf_str(&j->value[i]), j->value[i].len);
        if (rc != 0) return rc;
    }
    return 0;
}

static void save_done(struct lane_item *item, int status)
{
    struct save_job *j = container_of(item, struct save_job, item);
    struct cluster *c = j->c;
    for (unsigned i = 0; i < c->peers; i++) {
        if (status != 0 && j->due[i]) c->peer[i].original_state->changed = true;
        buf_release(&j->value[i]);
    }
    mem_free(j);
    c->saving = false;
    cluster_job_done(c);
}

void original_save(struct cluster *c, bool now)
{
    bool due = false;
    int64_t now_ms = clock_mono_ms();
    if (c->saving || c->closing || (!now && now_ms < c->save_due_ms)) return;
    for (unsigned i = 0; i < c->peers; i++) due |= c->peer[i].original_state->changed;
    if (!due) return;
    struct save_job *j = mem_alloc(sizeof *j);
    j->c = c;
    for (unsigned i = 0; i < c->peers; i++) {
        struct original *o = c->peer[i].original_state;
        buf_init(&j->value[i], SAVED_MAX);
        j->due[i] = o->changed;
        if (o->changed) saved_put(&j->value[i], o);
        o->changed = false;
    }
    j->item.run = save_run;
    j->item.done = save_done;
    j->item.class = LANE_UPKEEP;
    j->item.no_fsync = true;
    c->saving = true;
    c->busy++;
    c->save_due_ms = now_ms + SAVE_MS;
    int rc = lane_submit(c->lane, &j->item);
    if (rc != 0) save_done(&j->item, rc);
}

int original_load(struct cluster *c, struct store_tx *tx, struct arena *a)
{
    for (unsigned i = 0; i < c->peers; i++) {
        char key[600];
        struct local_value v;
        saved_key(key, sizeof key, &c->peer[i]);
        int rc = tx->v->local_get(tx, key, a, &v);
        if (rc == 0) saved_read(c->peer[i].original_state, v.data, v.len);
        if (rc != 0 && rc != E_NOT_FOUND) return rc;
    }
    return 0;
}

/* ---- looking in -------------------------------------------------------------------------------------------------- */

static json_t *refusals(const struct original *o)
{
    char at[TIME_TEXT];
    json_t *list = json_array();
    uint64_t first = o->refused > REFUSALS_MAX ? o->refused - REFUSALS_MAX : 0;
    for (uint64_t i = first; i < o->refused; i++) {
        const struct refusal *r = &o->refusal[i % REFUSALS_MAX];
        time_print(at, r->at_us);
        json_array_append_new(list,
                              json_pack("{s:s, s:s%, s:s}", "id", r->id, "reason", r->why, strlen(r->why), "at", at));
    }
    return list;
}

json_t *original_status(const struct peer *p)
{
    const struct original *o = p->original_state;
    char cursor[TIME_TEXT];
    time_print(cursor, o->cursor_us);
    json_t *s = json_pack("{s:I, s:b, s:I, s:I, s:I, s:o}", "backlog", (json_int_t)original_backlog(p), "filling",
                          mixed_filling(p), "pulled_rows", (json_int_t)o->pulled, "pushed_rows", (json_int_t)o->pushed,
                          "deleted_again", (json_int_t)o->deleted_again, "refused", refusals(o));
    json_object_set_new(s, "cursor", o->cursor_us == 0 ? json_null() : json_string(cursor));
    return s;
}
