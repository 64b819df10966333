/* load.c - the bench's load generator: so many connections, each with one request under way, for so many seconds;
 * prints one JSON object. Requests are made from a file of text lines, so that what is stored is prose and titles
 * differ.
 *
 *   load --url URL --conns N --seconds S --kind create|recall|get|etcd --text FILE [--bytes 400] [--ids FILE]
 *   [--count MAX] [--seed K]
 *
 * create: POST /api/v1/memories; recall: GET /api/v1/recall of a few words of a line; get: GET by an id of --ids
 * (one a line); etcd: POST /v3/kv/put with base64. --count ends after so many answers; created ids go to --ids-out. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "net/client.h"

#define BUCKETS 40000 /* of 10 us: up to 0.4 s, beyond in the last */

struct options {
    const char *url, *kind, *text, *ids, *ids_out, *ns;
    unsigned conns;
    double seconds;
    size_t bytes, count;
    uint64_t seed;
};

struct load {
    struct options o;
    struct client_url url;
    uv_loop_t loop;
    uv_timer_t end;
    char **line;
    size_t lines;
    char **id;
    size_t ids;
    FILE *ids_out;
    uint64_t random, made, answered, refused, failed;
    uint64_t histogram[BUCKETS + 1];
    int64_t begun_us, ended_us, worst_us;
    struct slot *slot;
    bool over;
    char last_error[200];
};

struct slot {
    struct load *l;
    struct client *client;
    int64_t sent_us;
};

static uint64_t pick(struct load *l, uint64_t bound)
{
    l->random ^= l->random << 13;
    l->random ^= l->random >> 7;
    l->random ^= l->random << 17;
    return l->random % bound;
}

static char **read_lines(const char *path, size_t *count)
{
    size_t cap = 1024;
    char *text = NULL;
    size_t size = 0;
    char **lines = mem_alloc(cap * sizeof *lines);
    FILE *f = fopen(path, "r");
    *count = 0;
    if (f == NULL) {
        fprintf(stderr, "load: cannot read %s\n", path);
        exit(1);
    }
    for (ssize_t n; (n = getline(&text, &size, f)) > 0;) {
        if (*count == cap) lines = mem_realloc(lines, (cap *= 2) * sizeof *lines);
        lines[(*count)++] = mem_strndup(text, (size_t)n - (text[n - 1] == '\n'));
    }
    free(text);
    fclose(f);
    if (*count == 0) {
        fprintf(stderr, "load: %s is empty\n", path);
        exit(1);
    }
    return lines;
}

/* About `bytes` of prose: lines joined, cut at a character boundary. */
static void prose(struct load *l, struct buf *b, size_t bytes)
{
    while (b->len < bytes) {
        if (b->len > 0) buf_putc(b, ' ');
        buf_puts(b, l->line[pick(l, l->lines)]);
    }
    size_t len = bytes;
    while (len > 0 && ((unsigned char)b->data[len] & 0xc0) == 0x80) len--;
    b->len = len;
}

static void words(struct load *l, struct buf *b, unsigned count)
{
    const char *line = l->line[pick(l, l->lines)];
    size_t len = strlen(line), at = len > 60 ? pick(l, len - 40) : 0;
    while (at > 0 && line[at] != ' ') at--;
    while (line[at] == ' ') at++;
    for (; line[at] != 0 && count > 0; at++) {
        if (line[at] == ' ' && --count == 0) break;
        buf_putc(b, line[at]);
    }
}

static void put_base64(struct buf *b, const char *data, size_t len)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        unsigned v = (unsigned)(unsigned char)data[i] << 16;
        if (i + 1 < len) v |= (unsigned)(unsigned char)data[i + 1] << 8;
        if (i + 2 < len) v |= (unsigned char)data[i + 2];
        buf_putc(b, digit[v >> 18]);
        buf_putc(b, digit[v >> 12 & 63]);
        buf_putc(b, i + 1 < len ? digit[v >> 6 & 63] : '=');
        buf_putc(b, i + 2 < len ? digit[v & 63] : '=');
    }
}

static void create_body(struct load *l, struct buf *b)
{
    struct buf text, title;
    buf_init(&text, 1 << 20);
    buf_init(&title, 1 << 20);
    prose(l, &text, l->o.bytes);
    words(l, &title, 6);
    buf_printf(&title, " %llx", (unsigned long long)(l->o.seed << 32 | l->made));
    buf_puts(b, "{\"title\":");
    json_print_string(b, title.data, title.len);
    buf_puts(b, ",\"content\":");
    json_print_string(b, text.data, text.len);
    buf_printf(b, ",\"namespace\":\"%s\",\"tags\":[\"bench\"]}", l->o.ns);
    buf_release(&text);
    buf_release(&title);
}

static void etcd_body(struct load *l, struct buf *b)
{
    struct buf text;
    char key[40];
    int n = snprintf(key, sizeof key, "k%llx", (unsigned long long)(l->o.seed << 32 | l->made));
    buf_init(&text, 1 << 20);
    prose(l, &text, l->o.bytes);
    buf_puts(b, "{\"key\":\"");
    put_base64(b, key, (size_t)n);
    buf_puts(b, "\",\"value\":\"");
    put_base64(b, text.data, text.len);
    buf_puts(b, "\"}");
    buf_release(&text);
}

static void recall_path(struct load *l, struct buf *path)
{
    struct buf q;
    buf_init(&q, 4096);
    words(l, &q, 2 + (unsigned)pick(l, 4));
    buf_puts(path, "/api/v1/recall?limit=10&context=");
    for (size_t i = 0; i < q.len; i++) {
        unsigned char ch = (unsigned char)q.data[i];
        if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9'))
            buf_putc(path, (char)ch);
        else
            buf_printf(path, "%%%02X", ch);
    }
    buf_release(&q);
}

static void next_request(struct slot *s);

static void finish(struct load *l)
{
    if (l->over) return;
    l->over = true;
    l->ended_us = clock_mono_us();
    uv_timer_stop(&l->end);
    uv_close((uv_handle_t *)&l->end, NULL);
    for (unsigned i = 0; i < l->o.conns; i++)
        if (l->slot[i].client != NULL) client_free(l->slot[i].client);
}

static void keep_id(struct load *l, const struct client_answer *a)
{
    if (l->ids_out == NULL || a->status != 201) return;
    const char *id = memmem(a->body, a->body_len, "\"id\":\"", 6);
    if (id != NULL) fprintf(l->ids_out, "%.36s\n", id + 6);
}

static void answered(void *data, int error, const struct client_answer *a)
{
    struct slot *s = data;
    struct load *l = s->l;
    if (l->over) return;
    int64_t took = clock_mono_us() - s->sent_us;
    if (error != 0) {
        l->failed++;
        snprintf(l->last_error, sizeof l->last_error, "%s", err_text(error));
    } else if (a->status >= 300) {
        l->refused++;
        snprintf(l->last_error, sizeof l->last_error, "%d %.*s", a->status,
                 (int)(a->body_len > 150 ? 150 : a->body_len), a->body);
    } else {
        l->answered++;
        if (took > l->worst_us) l->worst_us = took;
        l->histogram[took / 10 < BUCKETS ? took / 10 : BUCKETS]++;
        keep_id(l, a);
    }
    if (error != 0 || (l->o.count > 0 && l->made >= l->o.count)) {
        if (l->o.count > 0 && l->answered + l->refused + l->failed >= l->o.count) finish(l);
        return;
    }
    next_request(s);
}

static void next_request(struct slot *s)
{
    struct load *l = s->l;
    struct buf body, path;
    struct client_request q = { .method = "POST", .content_type = "application/json", .cb = answered, .data = s };
    buf_init(&body, 1 << 20);
    buf_init(&path, 1 << 16);
    l->made++;
    if (strcmp(l->o.kind, "create") == 0) {
        create_body(l, &body);
        buf_puts(&path, "/api/v1/memories");
    } else if (strcmp(l->o.kind, "etcd") == 0) {
        etcd_body(l, &body);
        buf_puts(&path, "/v3/kv/put");
    } else if (strcmp(l->o.kind, "recall") == 0) {
        recall_path(l, &path);
        q.method = "GET";
        q.content_type = NULL;
    } else {
        buf_printf(&path, "/api/v1/memories/%s", l->id[pick(l, l->ids)]);
        q.method = "GET";
        q.content_type = NULL;
    }
    q.path = buf_str(&path);
    if (body.len > 0) q.body_owned = buf_take(&body, &q.body_len);
    s->sent_us = clock_mono_us();
    if (client_send(s->client, &q) != 0) l->failed++;
    buf_release(&path);
    buf_release(&body);
}

static void connected(void *data, int error)
{
    struct slot *s = data;
    if (error != 0) {
        fprintf(stderr, "load: %s: %s\n", s->l->o.url, err_text(error));
        exit(1);
    }
    next_request(s);
}

static void time_up(uv_timer_t *t)
{
    finish(t->data);
}

static double quantile_ms(const struct load *l, double q)
{
    uint64_t seen = 0, want = (uint64_t)(q * (double)l->answered);
    for (size_t i = 0; i <= BUCKETS; i++) {
        seen += l->histogram[i];
        if (seen > want) return (double)(i * 10 + 5) / 1000.0;
    }
    return 0;
}

static void print_result(const struct load *l)
{
    double seconds = (double)(l->ended_us - l->begun_us) / 1e6;
    printf("{\"kind\":\"%s\",\"conns\":%u,\"seconds\":%.3f,\"ok\":%llu,\"refused\":%llu,\"failed\":%llu,\"per_second\":"
           "%.1f,"
           "\"p50_ms\":%.3f,\"p95_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,\"last_error\":\"",
           l->o.kind, l->o.conns, seconds, (unsigned long long)l->answered, (unsigned long long)l->refused,
           (unsigned long long)l->failed, (double)l->answered / seconds, quantile_ms(l, 0.5), quantile_ms(l, 0.95),
           quantile_ms(l, 0.99), (double)l->worst_us / 1000.0);
    for (const char *p = l->last_error; *p != 0; p++)
        if (*p != '"' && *p != '\\' && (unsigned char)*p >= 32) putchar(*p);
    puts("\"}");
}

static void parse(int argc, char **argv, struct options *o)
{
    *o = (struct options){ .kind = "create", .conns = 1, .seconds = 5, .bytes = 400, .seed = 1, .ns = "bench" };
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *v = argv[i + 1];
        if (strcmp(argv[i], "--url") == 0)
            o->url = v;
        else if (strcmp(argv[i], "--kind") == 0)
            o->kind = v;
        else if (strcmp(argv[i], "--text") == 0)
            o->text = v;
        else if (strcmp(argv[i], "--ids") == 0)
            o->ids = v;
        else if (strcmp(argv[i], "--ids-out") == 0)
            o->ids_out = v;
        else if (strcmp(argv[i], "--ns") == 0)
            o->ns = v;
        else if (strcmp(argv[i], "--conns") == 0)
            o->conns = (unsigned)strtoul(v, NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0)
            o->seconds = strtod(v, NULL);
        else if (strcmp(argv[i], "--bytes") == 0)
            o->bytes = strtoul(v, NULL, 10);
        else if (strcmp(argv[i], "--count") == 0)
            o->count = strtoul(v, NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            o->seed = strtoull(v, NULL, 10);
        else
            o->url = NULL, argc = 0;
    }
    if (o->url != NULL && o->text != NULL && o->conns > 0) return;
    fprintf(
        stderr,
        "usage: load --url URL --text FILE [--kind create|recall|get|etcd] [--conns N] [--seconds S] [--count MAX]\n"
        "            [--bytes B] [--ids FILE] [--ids-out FILE] [--ns NAME] [--seed K]\n");
    exit(2);
}

int main(int argc, char **argv)
{
    static struct load l;
    struct err err = { 0 };
    static const struct client_options options = {
        .body_bytes_max = 64u << 20, .connect_timeout_ms = 5000, .nodelay = true, .outstanding_max = 1
    };
    signal(SIGPIPE, SIG_IGN);
    parse(argc, argv, &l.o);
    if (client_url_parse(l.o.url, &l.url, &err) == 0 && l.url.tls)
        err_set(&err, E_INVALID, "%s: only http is measured", l.o.url);
    if (err.code != 0) {
        fprintf(stderr, "load: %s\n", err.msg);
        return 2;
    }
    l.line = read_lines(l.o.text, &l.lines);
    if (l.o.ids != NULL) l.id = read_lines(l.o.ids, &l.ids);
    if (strcmp(l.o.kind, "get") == 0 && l.ids == 0) return 2;
    if (l.o.ids_out != NULL) l.ids_out = fopen(l.o.ids_out, "w");
    l.random = l.o.seed * 0x9e3779b97f4a7c15u + 1;
    uv_loop_init(&l.loop);
    uv_timer_init(&l.loop, &l.end);
    l.end.data = &l;
    l.slot = mem_alloc(l.o.conns * sizeof *l.slot);
    l.begun_us = clock_mono_us();
    for (unsigned i = 0; i < l.o.conns; i++) {
        l.slot[i].l = &l;
        l.slot[i].client = client_new(&l.loop, &options);
        client_connect(l.slot[i].client, &l.url, connected, NULL, &l.slot[i]);
    }
    uv_timer_start(&l.end, time_up, (uint64_t)(l.o.seconds * 1000), 0);
    uv_run(&l.loop, UV_RUN_DEFAULT);
    if (l.ids_out != NULL) fclose(l.ids_out);
    print_result(&l);
    return l.failed > 0 || l.answered == 0;
}
