/* load.c - concurrent writers and editors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "history.h"
#include "net/client.h"
#include "node.h"
#include "load.h"
#include "world.h"

#define REQUEST_MS 15000
#define RETRY_MS 10
#define CONTENT_MAX 20000

enum kind { KIND_CREATE, KIND_EDIT, KIND_DELETE };
static const char *const kind_name[] = { "create", "edit", "delete" };
enum target { TARGET_REST, TARGET_DONE, TARGET_OP };

static void writer_next(struct load_writer *w);

/* --- what is written --- */

static const char *const phrase[] = {
    "the cache was cold after the restart",
    "Größe und Maß stimmen überein",
    "user prefers short answers",
    "path: C:\\data\\\"quoted\"",
    "第二の記憶は最初とは異なる",
    "deploy on friday was rolled back",
    "tabs\tand\nline ends",
    "the index was rebuilt in 3.2 s",
    "emoji 🙂 outside the plane",
    "retry with the same key is safe",
    "meeting moved to 14:30 UTC+2",
    "a rather plain sentence about nothing",
};

static void put_content(struct load *l, struct buf *b, const char *mark)
{
    size_t want = world_pick(l->w, 20) == 0 ? 8000 : 40 + world_pick(l->w, 500);
    buf_printf(b, "%s #%016llx", mark, (unsigned long long)world_pick(l->w, UINT64_MAX));
    while (b->len < want) buf_printf(b, "; %s", phrase[world_pick(l->w, ARRAY_LEN(phrase))]);
}

static struct load_tally *tally_of(struct load *l, int kind)
{
    return kind == KIND_CREATE ? &l->create : kind == KIND_EDIT ? &l->edit : &l->del;
}

static bool creators_over(const struct load *l)
{
    for (unsigned i = 0; i < l->plan.creators; i++)
        if (!l->writer[i].done) return false;
    return true;
}

static enum target choose_edit(struct load_writer *w)
{
    struct load *l = w->l;
    bool edits = l->edit.issued < l->plan.edits, deletes = l->del.issued < l->plan.deletes;
    if (!edits && !deletes) return TARGET_DONE;
    size_t fresh = LOAD_SHARED;
    while (fresh < l->rows && l->row[fresh].deleted) fresh++;
    if (deletes && fresh < l->rows && (!edits || world_pick(l->w, 3) == 0)) {
        w->kind = KIND_DELETE;
        w->row = fresh;
        l->row[fresh].deleted = true;
        return TARGET_OP;
    }
    if (edits && l->rows > 0) {
        w->kind = KIND_EDIT;
        w->row = world_pick(l->w, l->rows < LOAD_SHARED ? l->rows : LOAD_SHARED);
        return TARGET_OP;
    }
    return creators_over(l) ? TARGET_DONE : TARGET_REST;
}

static enum target choose(struct load_writer *w)
{
    const struct load *l = w->l;
    if (l->halted) return TARGET_DONE;
    if (w->editor) return choose_edit(w);
    if (l->create.issued >= l->plan.creates || (l->plan.each && w->made >= l->plan.each)) return TARGET_DONE;
    w->kind = KIND_CREATE;
    return TARGET_OP;
}

/* --- answers --- */

static void strike_maybe(struct load *l)
{
    if (l->struck || l->plan.strike == NULL) return;
    if (l->create.ok < l->plan.strike_acks || l->flight < l->plan.strike_flight) return;
    l->struck = true;
    l->flight_at_strike = l->flight;
    l->acks_at_strike = l->create.ok;
    l->plan.strike(l->plan.strike_data);
}

static void note_row(struct load *l, const char *id)
{
    if ((l->rows & (l->rows - 1)) == 0) l->row = mem_realloc(l->row, (l->rows ? l->rows * 2 : 1) * sizeof *l->row);
    l->row[l->rows++] = (struct load_row){ .id = mem_strdup(id) };
}

static void note_took(struct load *l, int64_t us)
{
    if ((l->tooks & (l->tooks - 1)) == 0)
        l->took_us = mem_realloc(l->took_us, (l->tooks ? l->tooks * 2 : 1) * sizeof *l->took_us);
    l->took_us[l->tooks++] = (uint32_t)us;
}

static void copy_field(json_t *line, const json_t *doc, const char *name)
{
    json_t *v = json_object_get(doc, name);
    if (v) json_object_set(line, name, v);
}

static void count_answer(struct load_writer *w, int status, const json_t *doc)
{
    struct load *l = w->l;
    struct load_tally *t = tally_of(l, w->kind);
    const char *error = json_string_value(json_object_get(doc, "error"));
    const char *id = json_string_value(json_object_get(doc, "id"));
    bool ok = w->kind == KIND_CREATE ? status == 201 && id != NULL : status == 200;
    if (status == 0) {
        t->unknown++;
    } else if (ok) {
        t->ok++;
    } else if (status == 503) {
        if (error && strcmp(error, "quorum_not_met") == 0)
            t->quorum++;
        else
            t->refused++;
    } else if (status == 404 && w->kind != KIND_CREATE) {
        t->missed++;
    } else {
        t->other++;
        if (l->odd[0] == 0)
            snprintf(l->odd, sizeof l->odd, "%s at node %d answered %d %s", kind_name[w->kind], w->node, status,
                     error ? error : "");
    }
    if (ok && w->kind == KIND_CREATE) note_row(l, id);
    if (status != 0 && w->kind == KIND_CREATE) note_took(l, clock_mono_us() - w->sent_us);
}

static void answered(struct load_writer *w, int error, int status, const char *body, size_t len)
{
    struct load *l = w->l;
    json_t *doc = len ? json_parse(body, len, NULL, 0, NULL) : NULL;
    json_t *line = json_pack("{s:s, s:i, s:I, s:i}", "t", "answer", "op", (int)w->op, "at_us",
                             (json_int_t)history_now_us(l->h), "status", status);
    static const char *const fields[] = { "id", "error", "outcome", "reason", "got", "needed" };
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) copy_field(line, doc, fields[i]);
    if (status == 0) json_object_set_new(line, "error", json_string(err_text(error)));
    history_put(l->h, line);
    count_answer(w, status, doc);
    json_decref(doc);
    w->op = 0;
    l->flight--;
    if (status == 201) strike_maybe(l);
}

static void timer_cb(uv_timer_t *t)
{
    writer_next(t->data);
}

static void rest(struct load_writer *w, uint64_t ms)
{
    uv_timer_start(&w->timer, timer_cb, ms, 0);
}

static void drop_client(struct load_writer *w)
{
    if (w->client) client_free(w->client);
    w->client = NULL;
}

/* Once enough is acknowledged for the strike, everybody hurries, so that enough is in flight. */
static uint64_t pause_of(const struct load *l)
{
    bool due = l->plan.strike && !l->struck && l->create.ok >= l->plan.strike_acks;
    return due || l->plan.pause_ms == 0 ? 0 : world_pick(l->w, l->plan.pause_ms + 1);
}

static void answer_cb(void *data, int error, const struct client_answer *a)
{
    struct load_writer *w = data;
    if (w->op == 0) return;
    if (error)
        answered(w, error, 0, NULL, 0);
    else
        answered(w, 0, a->status, a->body, a->body_len);
    if (error) drop_client(w);
    rest(w, pause_of(w->l));
}

/* --- asking --- */

static void put_member(struct buf *b, const char *name, const char *text)
{
    buf_printf(b, "\"%s\":", name);
    json_print_string(b, text, strlen(text));
}

static void build(struct load_writer *w, struct buf *body, char path[256], json_t *line)
{
    struct load *l = w->l;
    struct buf content;
    char title[128];
    snprintf(path, 256, "/api/v1/memories");
    if (w->kind != KIND_CREATE) {
        snprintf(path, 256, "/api/v1/memories/%s", l->row[w->row].id);
        json_object_set_new(line, "id", json_string(l->row[w->row].id));
    }
    if (w->kind == KIND_DELETE) return;
    buf_init(&content, CONTENT_MAX);
    if (w->kind == KIND_CREATE) {
        snprintf(title, sizeof title, "%s-w%u", l->plan.prefix, l->create.issued);
        json_object_set_new(line, "title", json_string(title));
        put_content(l, &content, title);
        buf_puts(body, "{\"tier\":\"mid\",");
        put_member(body, "namespace", l->plan.ns);
        buf_putc(body, ',');
        put_member(body, "title", title);
        buf_puts(body, ",\"tags\":[],\"priority\":5,\"confidence\":1.0,\"source\":\"chaos\",\"metadata\":{},");
    } else {
        snprintf(title, sizeof title, "%s-e%u", l->plan.prefix, w->op);
        put_content(l, &content, title);
        buf_putc(body, '{');
    }
    put_member(body, "content", buf_str(&content));
    buf_putc(body, '}');
    json_object_set_new(line, "content", json_string(buf_str(&content)));
    buf_release(&content);
}

static void ask(struct load_writer *w)
{
    static const char *const method[] = { "POST", "PUT", "DELETE" };
    struct load *l = w->l;
    struct buf body;
    char path[256];
    struct http_header agent = { "x-agent-id", NULL };
    if (w->kind == KIND_CREATE && l->plan.agents) agent.value = l->plan.agents[w->index % l->plan.agents_count];
    w->op = history_op(l->h);
    tally_of(l, w->kind)->issued++;
    if (w->kind == KIND_CREATE) w->made++;
    json_t *line = json_pack("{s:s, s:i, s:I, s:i, s:i, s:s}", "t", "invoke", "op", (int)w->op, "at_us",
                             (json_int_t)history_now_us(l->h), "client", (int)w->index, "node", w->node, "kind",
                             kind_name[w->kind]);
    buf_init(&body, (size_t)1 << 20);
    build(w, &body, path, line);
    history_put(l->h, line);
    w->sent_us = clock_mono_us();
    l->flight++;
    struct client_request q = { .method = method[w->kind],
                                .path = path,
                                .headers = &agent,
                                .headers_count = agent.value != NULL,
                                .content_type = body.len ? "application/json" : NULL,
                                .body = body.data,
                                .body_len = body.len,
                                .timeout_ms = REQUEST_MS,
                                .cb = answer_cb,
                                .data = w };
    int rc = client_send(w->client, &q);
    buf_release(&body);
    if (rc == 0) {
        strike_maybe(l);
        return;
    }
    answered(w, rc, 0, NULL, 0);
    drop_client(w);
    rest(w, RETRY_MS);
}

static void finish(struct load_writer *w)
{
    drop_client(w);
    uv_timer_stop(&w->timer);
    w->done = true;
}

static void connected_cb(void *data, int error)
{
    struct load_writer *w = data;
    if (error == 0) {
        w->trying_since_ms = 0;
        writer_next(w);
        return;
    }
    drop_client(w);
    if (w->trying_since_ms == 0) w->trying_since_ms = clock_mono_ms();
    bool dead = !w->l->mesh->node[w->node].running;
    int64_t tried = clock_mono_ms() - w->trying_since_ms;
    if ((dead && w->l->plan.patience_ms == 0) || tried > (w->l->plan.patience_ms ? w->l->plan.patience_ms : REQUEST_MS))
        finish(w);
    else
        rest(w, RETRY_MS);
}

static void dial(struct load_writer *w)
{
    struct client_options o = {
        .body_bytes_max = (size_t)4 << 20, .connect_timeout_ms = 2000, .nodelay = true, .outstanding_max = 1
    };
    struct client_url url;
    char text[64];
    snprintf(text, sizeof text, "http://127.0.0.1:%u", w->l->mesh->node[w->node].port);
    CHECK(client_url_parse(text, &url, NULL) == 0);
    w->client = client_new(&w->l->w->loop, &o);
    client_connect(w->client, &url, connected_cb, NULL, w);
}

static void writer_next(struct load_writer *w)
{
    if (w->done || w->op != 0) return;
    if (w->client == NULL || !client_open(w->client)) {
        if (w->l->halted) {
            finish(w);
            return;
        }
        drop_client(w);
        dial(w);
        return;
    }
    switch (choose(w)) {
    case TARGET_DONE: finish(w); break;
    case TARGET_REST: rest(w, 2); break;
    case TARGET_OP: ask(w); break;
    }
}

/* --- the whole --- */

static int nth_node(unsigned set, unsigned n)
{
    int found[MESH_NODES], count = 0;
    for (int i = 0; i < MESH_NODES; i++)
        if (set & 1u << i) found[count++] = i;
    CHECK(count > 0);
    return found[n % (unsigned)count];
}

void load_start(struct load *l, struct world *w, struct mesh *m, struct history *h, const struct load_plan *p)
{
    memset(l, 0, sizeof *l);
    l->w = w;
    l->mesh = m;
    l->h = h;
    l->plan = *p;
    l->writers = p->creators + p->editors;
    CHECK(l->writers <= LOAD_WRITERS);
    for (unsigned i = 0; i < l->writers; i++) {
        struct load_writer *x = &l->writer[i];
        x->l = l;
        x->index = i;
        x->editor = i >= p->creators;
        x->node = x->editor ? nth_node(p->edit_nodes, i - p->creators) : nth_node(p->create_nodes, i);
        CHECK(uv_timer_init(&w->loop, &x->timer) == 0);
        x->timer.data = x;
        l->handles++;
        rest(x, 0);
    }
}

bool load_done(void *load)
{
    const struct load *l = load;
    for (unsigned i = 0; i < l->writers; i++)
        if (!l->writer[i].done) return false;
    return true;
}

bool load_struck(void *load)
{
    const struct load *l = load;
    return l->struck || load_done(load);
}

void load_halt(struct load *l)
{
    l->halted = true;
}

static void timer_closed(uv_handle_t *h)
{
    ((struct load_writer *)h->data)->l->handles--;
}
static bool handles_gone(void *data)
{
    return ((struct load *)data)->handles == 0;
}

void load_release(struct load *l)
{
    if (l->w == NULL) return;
    for (unsigned i = 0; i < l->writers; i++) {
        struct load_writer *x = &l->writer[i];
        x->op = 0;
        x->done = true;
        drop_client(x);
        uv_close((uv_handle_t *)&x->timer, timer_closed);
    }
    l->w->closing++;
    CHECK(world_wait(l->w, 5000, handles_gone, l, NULL, "timers of writers") == 0);
    l->w->closing--;
    for (size_t i = 0; i < l->rows; i++) {
        mem_free(l->row[i].id);
        mem_free(l->row[i].title);
    }
    mem_free(l->row);
    mem_free(l->took_us);
    memset(l, 0, sizeof *l);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

uint32_t load_quantile(struct load *l, double q)
{
    if (l->tooks == 0) return 0;
    qsort(l->took_us, l->tooks, sizeof *l->took_us, by_size);
    size_t at = (size_t)(q * (double)(l->tooks - 1) + 0.5);
    return l->took_us[at];
}

unsigned load_failed(const struct load *l)
{
    return l->plan.creates - l->create.ok - l->create.quorum - l->create.refused;
}
