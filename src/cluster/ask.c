/* ask.c - asking peers what they hold of one id, for a read that wants more than this node's word. Each peer is asked
 * on a connection of its own, kept for the next question: an answer here stands behind no batch.
 *
 *   cluster_ask ─▶ to every peer that is up ─▶ enough answered ─▶ cb(0)
 *                                            └▶ too few can, or the deadline ─▶ cb(E_QUORUM) */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "cluster/internal.h"

#define ASKS_MAX 1024
#define SENT_MAX 128
#define ANSWER_MS 5000 /* then its connection is made anew; the asks have deadlines of their own */
#define ROW_BYTES_MAX (8u << 20)
#define ID_MAX 128

enum { ASK_NOT, ASK_SENT, ASK_OVER };

struct ask {
    struct list link;
    struct cluster *c;
    uint64_t serial;
    char path[ID_MAX * 3 + 32];
    unsigned need;
    int64_t deadline_ms;
    uint8_t state[REPL_PEERS_MAX];
    json_t *rows;
    cluster_ask_cb cb;
    void *data;
};

/* One peer's connection for questions. */
struct asker {
    struct client *client;   /* NULL: none */
    uint64_t sent[SENT_MAX]; /* serials of the unanswered ones, oldest first */
    unsigned sent_count;
};

struct asker *asker_new(void)
{
    return mem_alloc(sizeof(struct asker));
}

void asker_free(struct asker *a)
{
    mem_free(a);
}

static bool may_answer(struct peer *p)
{
    struct repl_peer_view v;
    repl_peer_view(p->c->core, p->index, &v);
    return !v.original && (v.state == REPL_UP || v.state == REPL_SUSPECT);
}

static void ask_end(struct ask *a, int status, const char *reason)
{
    list_remove(&a->link);
    a->c->asks_count--;
    a->cb(a->data, status, a->rows, reason);
    json_decref(a->rows);
    mem_free(a);
}

/* Answered, or given up when not enough are left that could answer. */
static void judge(struct ask *a)
{
    unsigned open = 0;
    size_t got = json_array_size(a->rows);
    for (unsigned i = 0; i < a->c->peers; i++) open += a->state[i] == ASK_SENT;
    if (got >= a->need)
        ask_end(a, 0, NULL);
    else if (got + open < a->need)
        ask_end(a, E_QUORUM, "unreachable");
}

static struct ask *find(struct cluster *c, uint64_t serial)
{
    list_each (it, &c->asks) {
        struct ask *a = container_of(it, struct ask, link);
        if (a->serial == serial) return a;
    }
    return NULL;
}

/* What this peer owes will not come. */
static void give_up(struct peer *p)
{
    struct client *client = p->asker->client;
    p->asker->client = NULL;
    p->asker->sent_count = 0;
    if (client != NULL) {
        client_close(client, true);
        client_free(client);
    }
    list_each_safe (it, tmp, &p->c->asks) {
        struct ask *a = container_of(it, struct ask, link);
        if (a->state[p->index] != ASK_SENT) continue;
        a->state[p->index] = ASK_OVER;
        judge(a);
    }
}

static void answered(void *data, int error, const struct client_answer *answer)
{
    struct peer *p = data;
    struct asker *k = p->asker;
    if (k->sent_count == 0) return;
    struct ask *a = find(p->c, k->sent[0]);
    memmove(k->sent, k->sent + 1, --k->sent_count * sizeof k->sent[0]);
    if (error != 0) {
        give_up(p);
        return;
    }
    if (a == NULL) return;
    json_t *row = answer->status == 200 ? json_parse(answer->body, answer->body_len, NULL, 0, NULL) : NULL;
    a->state[p->index] = ASK_OVER;
    if (json_is_object(row))
        json_array_append_new(a->rows, row);
    else
        json_decref(row);
    judge(a);
}

static void send_ask(struct peer *p, struct ask *a)
{
    struct asker *k = p->asker;
    struct http_header key = { "x-api-key", p->c->o.api_key };
    struct client_request q = { .method = "GET",
                                .path = a->path,
                                .headers = &key,
                                .headers_count = p->c->o.api_key != NULL,
                                .timeout_ms = ANSWER_MS,
                                .cb = answered,
                                .data = p };
    if (k->sent_count < SENT_MAX && client_send(k->client, &q) == 0)
        k->sent[k->sent_count++] = a->serial;
    else
        a->state[p->index] = ASK_OVER;
}

static void connected(void *data, int error)
{
    struct peer *p = data;
    if (error != 0) {
        give_up(p);
        return;
    }
    list_each_safe (it, tmp, &p->c->asks) {
        struct ask *a = container_of(it, struct ask, link);
        if (a->state[p->index] != ASK_SENT) continue;
        send_ask(p, a);
        judge(a);
    }
}

static void closed(void *data, int error)
{
    (void)error;
    give_up(data);
}

static void put_to(struct peer *p, struct ask *a)
{
    static const struct client_options options = { .body_bytes_max = ROW_BYTES_MAX,
                                                   .connect_timeout_ms = 250,
                                                   .nodelay = true,
                                                   .keepalive = true,
                                                   .outstanding_max = SENT_MAX };
    struct asker *k = p->asker;
    a->state[p->index] = ASK_SENT;
    if (k->client == NULL) {
        k->client = peer_client(p, &options);
        client_connect(k->client, &p->parsed, connected, closed, p);
    } else if (client_open(k->client)) {
        send_ask(p, a);
    }
}

unsigned cluster_reads(const struct cluster *c)
{
    unsigned writes = c->writes == 0 ? 1 : c->writes, reads = c->nodes - writes + 1;
    if (reads < 2) reads = 2;
    return reads < c->nodes ? reads : c->nodes;
}

int cluster_ask(struct cluster *c, const char *id, unsigned need, int64_t deadline_mono_ms, cluster_ask_cb cb,
                void *data)
{
    unsigned there = 0;
    if (c->core == NULL || c->closing) return E_STOPPING;
    if (c->asks_count == ASKS_MAX) return E_BUSY;
    for (unsigned i = 0; i < c->peers; i++) there += may_answer(&c->peer[i]);
    if (there < need) return E_UNREACHABLE;
    struct ask *a = mem_alloc(sizeof *a);
    *a = (struct ask){
        .c = c, .serial = ++c->ask_serial, .need = need, .deadline_ms = deadline_mono_ms, .cb = cb, .data = data
    };
    a->rows = json_array();
    size_t n = (size_t)snprintf(a->path, sizeof a->path, "/api/v1/sync/row?id=");
    for (const char *s = id; *s != 0 && n + 4 < sizeof a->path; s++)
        n += (size_t)snprintf(a->path + n, sizeof a->path - n, "%%%02X", (unsigned char)*s);
    list_add_tail(&c->asks, &a->link);
    c->asks_count++;
    for (unsigned i = 0; i < c->peers; i++)
        if (may_answer(&c->peer[i])) put_to(&c->peer[i], a);
    return 0;
}

void ask_tick(struct cluster *c, int64_t now_ms)
{
    list_each_safe (it, tmp, &c->asks) {
        struct ask *a = container_of(it, struct ask, link);
        if (now_ms < a->deadline_ms) continue;
        ask_end(a, E_QUORUM, "timeout");
    }
}

void ask_stop(struct cluster *c)
{
    list_each_safe (it, tmp, &c->asks) ask_end(container_of(it, struct ask, link), E_STOPPING, NULL);
    for (unsigned i = 0; i < c->peers; i++) give_up(&c->peer[i]);
}
