/* stub.c - stands in for a node of a mesh so that the gate can be seen to fail: started as the program would be, it
 * keeps all nodes' memories in one file beside the databases, so it converges at once and needs no peers.
 *
 *   CHAOS_STUB=honest    keeps everything
 *   CHAOS_STUB=lossy     acknowledges one create in fifty and forgets it
 *   CHAOS_STUB=paging    lists 20 rows, whatever is asked for, and says that this is all
 *   CHAOS_STUB=pages     lists 20 rows with the true total, whatever the offset
 *   CHAOS_STUB=reviving  answers deletes and keeps the row
 *   CHAOS_STUB=doubling  stores every tenth create twice
 *   CHAOS_STUB=mute      never answers */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "net/http.h"

#define PAGE 20

static char store[1100];
static const char *mode;
static unsigned creates;

static bool is(const char *name)
{
    return strcmp(mode, name) == 0;
}

static void append(const json_t *row)
{
    struct buf b;
    buf_init(&b, (size_t)16 << 20);
    json_print(&b, row);
    buf_putc(&b, '\n');
    int fd = open(store, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (fd < 0 || write(fd, b.data, b.len) != (ssize_t)b.len) abort();
    close(fd);
    buf_release(&b);
}

/* id -> row as the file has it now. */
static json_t *load(void)
{
    struct buf b;
    json_t *rows = json_object();
    buf_init(&b, (size_t)1 << 30);
    int fd = open(store, O_RDONLY);
    for (ssize_t n = 1; fd >= 0 && n > 0;) {
        char *room = buf_reserve(&b, 65536);
        n = read(fd, room, 65536);
        if (n > 0) buf_grew(&b, (size_t)n);
    }
    if (fd >= 0) close(fd);
    for (size_t at = 0; at < b.len;) {
        const char *end = memchr(b.data + at, '\n', b.len - at);
        if (end == NULL) break;
        json_t *row = json_parse(b.data + at, (size_t)(end - (b.data + at)), NULL, 0, NULL);
        const char *id = json_string_value(json_object_get(row, "id"));
        if (id && json_is_true(json_object_get(row, "gone")))
            json_object_del(rows, id);
        else if (id)
            json_object_set(rows, id, row);
        json_decref(row);
        at = (size_t)(end - b.data) + 1;
    }
    buf_release(&b);
    return rows;
}

static void reply(struct http_req *r, int status, json_t *doc)
{
    struct buf b;
    buf_init(&b, (size_t)1 << 30);
    json_print(&b, doc);
    struct http_reply answer = {
        .status = status, .content_type = "application/json", .body = b.data, .body_len = b.len
    };
    http_reply(r, &answer);
    buf_release(&b);
    json_decref(doc);
}

static size_t query_number(const char *query, const char *name, size_t otherwise)
{
    const char *at = query ? strstr(query, name) : NULL;
    return at ? (size_t)strtoul(at + strlen(name), NULL, 10) : otherwise;
}

static void list(struct http_req *r)
{
    json_t *rows = load(), *page = json_array(), *row;
    const char *id;
    size_t limit = query_number(http_query(r), "limit=", PAGE), offset = query_number(http_query(r), "offset=", 0),
           i = 0;
    size_t total = json_object_size(rows);
    if (is("paging") || is("pages")) {
        limit = PAGE;
        offset = 0;
    }
    json_object_foreach (rows, id, row) {
        if (i++ >= offset && json_array_size(page) < limit) json_array_append(page, row);
    }
    if (is("paging")) total = json_array_size(page);
    reply(r, 200,
          json_pack("{s:I, s:I, s:o}", "count", (json_int_t)json_array_size(page), "total", (json_int_t)total,
                    "memories", page));
    json_decref(rows);
}

static void create(struct http_req *r)
{
    size_t len;
    const char *body = http_body(r, &len);
    char id[UUID_TEXT], now[TIME_TEXT];
    json_t *row = json_parse(body, len, NULL, 0, NULL);
    uuid_v4(id);
    time_print(now, clock_wall_us(NULL));
    json_object_set_new(row, "id", json_string(id));
    json_object_set_new(row, "created_at", json_string(now));
    creates++;
    if (!is("lossy") || creates % 50 != 7) append(row);
    if (is("doubling") && creates % 10 == 0) {
        json_t *twin = json_copy(row);
        char other[UUID_TEXT];
        uuid_v4(other);
        json_object_set_new(twin, "id", json_string(other));
        append(twin);
        json_decref(twin);
    }
    json_decref(row);
    reply(r, 201, json_pack("{s:s}", "id", id));
}

static void one(struct http_req *r, const char *id)
{
    json_t *rows = load(), *row = json_incref(json_object_get(rows, id));
    size_t len;
    const char *body = http_body(r, &len);
    json_decref(rows);
    if (row == NULL) {
        reply(r, 404, json_pack("{s:s}", "error", "not found"));
        return;
    }
    if (strcmp(http_method(r), "PUT") == 0) {
        json_t *change = json_parse(body, len, NULL, 0, NULL);
        json_object_update(row, change);
        json_decref(change);
        append(row);
    } else if (strcmp(http_method(r), "DELETE") == 0 && !is("reviving")) {
        json_object_set_new(row, "gone", json_true());
        append(row);
    }
    reply(r, 200, json_pack("{s:o}", "memory", row));
}

static void request(void *data, struct http_req *r)
{
    static const char root[] = "/api/v1/memories";
    const char *path = http_path(r);
    (void)data;
    if (is("mute")) return;
    if (strcmp(path, "/api/v1/health") == 0)
        reply(r, 200, json_pack("{s:s}", "status", "ok"));
    else if (strncmp(path, root, strlen(root)) == 0 && path[strlen(root)] == '/')
        one(r, path + strlen(root) + 1);
    else if (strcmp(path, root) == 0 && strcmp(http_method(r), "POST") == 0)
        create(r);
    else if (strcmp(path, root) == 0)
        list(r);
    else
        reply(r, 404, json_pack("{s:s}", "error", "not found"));
}

int main(int argc, char **argv)
{
    uv_loop_t loop;
    uint16_t port = 0;
    struct err err = { 0 };
    struct http_limits limits;
    struct http_handlers handlers = { .request = request };
    mode = getenv("CHAOS_STUB") ? getenv("CHAOS_STUB") : "honest";
    snprintf(store, sizeof store, "stub.jsonl");
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--port") == 0) port = (uint16_t)atoi(argv[i + 1]);
        const char *slash = strcmp(argv[i], "--db") == 0 ? strrchr(argv[i + 1], '/') : NULL;
        if (slash) snprintf(store, sizeof store, "%.*s/stub.jsonl", (int)(slash - argv[i + 1]), argv[i + 1]);
    }
    if (port == 0) {
        printf("stub 0\n");
        return argc > 1 && strcmp(argv[1], "--version") == 0 ? 0 : 2;
    }
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&loop);
    http_limits_default(&limits);
    struct http_server *s = http_server_new(&loop, &limits, &handlers);
    if (http_server_listen(s, "127.0.0.1", port, NULL, &err) != 0) {
        fprintf(stderr, "stub: %s\n", err.msg);
        return 1;
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    return 0;
}
