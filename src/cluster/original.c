/* original.c - a peer that is a node of the original: it knows no ops, so each op of our stream becomes one JSON
 * push. Its ack is `applied` or `noop` for the row (never for a delete: 0.6.0 ignores `deletions`); it counts for
 * the quorum, never as a disk. How far it was offered our node's rows is kept under "original:<url>" in repl_local
 * as (stream, seq). */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "cluster/internal.h"

#define PUSH_TIMEOUT_MS 5000

static json_t *json_or(const char *text, json_t *otherwise)
{
    json_t *v = text == NULL ? NULL : json_parse(text, strlen(text), NULL, 0, NULL);
    if (v == NULL || json_typeof(v) != json_typeof(otherwise)) {
        json_decref(v);
        return otherwise;
    }
    json_decref(otherwise);
    return v;
}

static json_t *memory_row(const struct version *v)
{
    const struct memory *m = &v->m;
    char updated[TIME_TEXT];
    time_print(updated, stamp_us(v->ver));
    json_t *row =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:i, s:f, s:s, s:I, s:s, s:s, s:o}", "id", m->id, "tier",
                  tier_name(v->own.tier), "namespace", m->ns, "title", m->title, "content", m->content, "tags",
                  json_or(m->tags, json_array()), "priority", v->own.priority, "confidence", m->confidence, "source",
                  m->source, "access_count", (json_int_t)v->own.count_seen, "created_at", m->created_at, "updated_at",
                  updated, "metadata", json_or(m->metadata, json_object()));
    if (row != NULL && v->own.expires_at != NULL)
        json_object_set_new(row, "expires_at", json_string(v->own.expires_at));
    return row;
}

static void sender_name(char *out, size_t size)
{
    char host[128] = "";
    gethostname(host, sizeof host - 1);
    for (char *p = host; *p != 0; p++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.", *p) == NULL) *p = '-';
    snprintf(out, size, "host:%s", host[0] == 0 ? "unknown" : host);
}

static void moved(struct peer *p, uint64_t seq, bool counts)
{
    p->original_pos = seq;
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

/* applied + noop of the answer; a row it skipped is its loss, said and left behind. */
static bool counted(struct peer *p, const char *id, const struct client_answer *a)
{
    json_t *doc = json_parse(a->body, a->body_len, NULL, 0, NULL);
    json_int_t good =
        json_integer_value(json_object_get(doc, "applied")) + json_integer_value(json_object_get(doc, "noop"));
    bool ours = lists(json_object_get(doc, "ids"), id);
    json_decref(doc);
    if (good > 0 && ours) return true;
    p->refused_rows++;
    peer_error(p, "it took no row of a push: %.*s", (int)(a->body_len > 120 ? 120 : a->body_len), a->body);
    return false;
}

static void lost(struct peer *p, const char *why)
{
    peer_error(p, "push failed: %s", why);
    p->original_count = 0;
    link_close(p, true);
    cluster_feed_link(p, REPL_CLOSED);
}

static void push_answer(void *data, int error, const struct client_answer *a)
{
    struct peer *p = data;
    if (p->original_count == 0) return;
    uint64_t seq = p->original_seq[0];
    char id[sizeof p->original_id[0]];
    memcpy(id, p->original_id[0], sizeof id);
    memmove(p->original_seq, p->original_seq + 1, --p->original_count * sizeof p->original_seq[0]);
    memmove(p->original_id, p->original_id + 1, p->original_count * sizeof p->original_id[0]);
    if (error != 0) {
        lost(p, err_text(error));
    } else if (a->status >= 500 || a->status == 401 || a->status == 403 || a->status == 429) {
        char why[40];
        snprintf(why, sizeof why, "status %d", a->status);
        lost(p, why);
    } else {
        p->last_ok_ms = clock_mono_ms();
        moved(p, seq, a->status == 200 && counted(p, id, a));
    }
}

/* The push of one op; NULL when it holds nothing an original understands. */
static json_t *push_body(const struct log_op *op)
{
    struct arena arena;
    struct version *v;
    size_t count = 0;
    char sender[160];
    json_t *memories = json_array(), *deletions = json_array();
    arena_init(&arena, 2 * OP_BYTES_MAX);
    if (op_decode(op->body, op->body_len, &arena, &v, &count) != 0) count = 0;
    for (size_t i = 0; i < count; i++) {
        if (v[i].kind == KIND_MEMORY)
            json_array_append_new(memories, memory_row(&v[i]));
        else if (v[i].kind == KIND_TOMBSTONE)
            json_array_append_new(deletions, json_string(v[i].m.id));
    }
    arena_release(&arena);
    if (json_array_size(memories) + json_array_size(deletions) == 0) {
        json_decref(memories);
        json_decref(deletions);
        return NULL;
    }
    sender_name(sender, sizeof sender);
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
    (void)chain_before;
    struct repl_event e = { .type = REPL_SENT, .peer = p->index, .gen = p->gen };
    if (count == 0 || p->original_count == ASKED_MAX) {
        lost(p, "our log does not hold what it lacks");
        return;
    }
    e.first = op[0].seq;
    e.entry = (struct repl_entry){
        .stream = p->c->own.stream, .node = p->c->own.node, .pos = op[0].seq, .chain = op[0].chain
    };
    json_t *doc = push_body(&op[0]);
    int rc = doc == NULL ? 0 : push(p, doc);
    bool nothing = doc == NULL;
    char id[sizeof p->original_id[0]] = "";
    const char *sent = json_string_value(json_object_get(json_array_get(json_object_get(doc, "memories"), 0), "id"));
    if (sent != NULL) snprintf(id, sizeof id, "%s", sent);
    json_decref(doc);
    if (rc != 0) {
        lost(p, err_text(rc));
        return;
    }
    uint64_t seq = e.first;
    if (!nothing) {
        snprintf(p->original_id[p->original_count], sizeof p->original_id[0], "%s", id);
        p->original_seq[p->original_count++] = seq;
    }
    cluster_feed(p->c, &e);
    if (nothing) moved(p, seq, false);
}

/* ---- cursors on disk
 * -------------------------------------------------------------------------------------------------- */

static void cursor_key(char *out, size_t size, const struct peer *p)
{
    snprintf(out, size, "original:%s", p->url);
}

struct save_job {
    struct lane_item item;
    struct cluster *c;
    uint64_t pos[REPL_PEERS_MAX];
};

static int save_run(struct lane_item *item, struct change *ch, struct err *err)
{
    struct save_job *j = container_of(item, struct save_job, item);
    (void)err;
    for (unsigned i = 0; i < j->c->peers; i++) {
        char key[600];
        uint64_t value[2] = { j->c->own.stream, j->pos[i] };
        if (j->pos[i] == 0) continue;
        cursor_key(key, sizeof key, &j->c->peer[i]);
        int rc = ch->tx->v->local_put(ch->tx, key, value, sizeof value);
        if (rc != 0) return rc;
    }
    return 0;
}

static void save_done(struct lane_item *item, int status)
{
    struct save_job *j = container_of(item, struct save_job, item);
    struct cluster *c = j->c;
    for (unsigned i = 0; i < c->peers && status == 0; i++)
        if (j->pos[i] != 0) c->peer[i].original_saved = j->pos[i];
    mem_free(j);
    c->saving = false;
    cluster_job_done(c);
}

void original_save(struct cluster *c)
{
    bool due = false;
    if (c->saving || c->closing) return;
    for (unsigned i = 0; i < c->peers; i++)
        due |= c->peer[i].original && c->peer[i].original_pos != c->peer[i].original_saved;
    if (!due) return;
    struct save_job *j = mem_alloc(sizeof *j);
    j->c = c;
    for (unsigned i = 0; i < c->peers; i++) j->pos[i] = c->peer[i].original ? c->peer[i].original_pos : 0;
    j->item.run = save_run;
    j->item.done = save_done;
    j->item.class = LANE_UPKEEP;
    j->item.no_fsync = true;
    if (lane_submit(c->lane, &j->item) != 0) {
        mem_free(j);
        return;
    }
    c->saving = true;
    c->busy++;
}

/* A cursor belongs to the stream it was made in: what an earlier life left unsent is not offered by this one. */
int original_load(struct cluster *c, struct store_tx *tx, struct arena *a)
{
    for (unsigned i = 0; i < c->peers; i++) {
        char key[600];
        struct local_value v;
        uint64_t value[2];
        cursor_key(key, sizeof key, &c->peer[i]);
        int rc = tx->v->local_get(tx, key, a, &v);
        if (rc == E_NOT_FOUND) continue;
        if (rc != 0) return rc;
        if (v.len != sizeof value) continue;
        memcpy(value, v.data, sizeof value);
        if (value[0] == c->own.stream) c->peer[i].original_pos = value[1];
    }
    return 0;
}
