/* dump.c - complete contents, page by page, and agreement. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "dump.h"
#include "files.h"
#include "load.h"
#include "node.h"
#include "rows.h"

#define PAGE 1000
#define ASK_MS 10000
#define POLL_MS 10

/* Adds the rows of a page that were not seen before; returns how many. */
static size_t take_page(const json_t *page, json_t *seen, json_t *all)
{
    const json_t *row;
    size_t i, fresh = 0;
    json_array_foreach (page, i, row) {
        const char *id = json_string_value(json_object_get(row, "id"));
        if (id && json_object_get(seen, id)) continue;
        if (id) json_object_set_new(seen, id, json_true());
        json_array_append(all, (json_t *)(uintptr_t)row);
        fresh++;
    }
    return fresh;
}

/* Reads pages of a list until nothing new comes. Returns the server's total, -1 without one, or a negative error - 1.
 * */
static int read_list(struct node *n, const char *path, const char *member, json_t *all, int64_t *ret_total,
                     struct err *err)
{
    json_t *seen = json_object();
    size_t offset = 0, fresh = 1;
    int rc = 0;
    *ret_total = -1;
    while (rc == 0 && fresh > 0) {
        char url[512];
        struct reply r = { 0 };
        snprintf(url, sizeof url, "%s%climit=%d&offset=%zu", path, strchr(path, '?') ? '&' : '?', PAGE, offset);
        rc = node_ask(n, "GET", url, NULL, ASK_MS, &r, err);
        const json_t *page = json_object_get(r.json, member), *total = json_object_get(r.json, "total");
        if (rc == 0 && (r.status != 200 || !json_is_array(page)))
            rc = err_set(err, E_PROTOCOL, "node %d: GET %s answered %d", n->index, url, r.status);
        if (rc == 0) {
            fresh = take_page(page, seen, all);
            offset += json_array_size(page);
            if (json_is_integer(total)) *ret_total = json_integer_value(total);
        }
        reply_release(&r);
        if (*ret_total >= 0 && offset >= (size_t)*ret_total) break;
    }
    json_decref(seen);
    return rc;
}

static bool must_end(const struct node *n, int rc)
{
    const struct world *w = n->mesh->w;
    if (rc == E_CANCELLED) return true;
    for (unsigned i = 0; i < w->deadlines; i++)
        if (clock_mono_ms() >= w->deadline[i].at_ms) return true;
    return false;
}

int dump_node(struct node *n, const char *ns, json_t **ret, struct err *err)
{
    char path[256];
    struct err why = { 0 };
    int64_t total, waste;
    json_t *all = json_array(), *archive = json_array();
    snprintf(path, sizeof path, "/api/v1/memories%s%s", ns ? "?namespace=" : "", ns ? ns : "");
    int rc = read_list(n, path, "memories", all, &total, &why);
    size_t listed = json_array_size(all);
    bool complete = rc == 0 && (total < 0 || (size_t)total == listed);
    if (rc == 0 && read_list(n, "/api/v1/archive", "archived", archive, &waste, NULL) != 0) {
        json_decref(archive);
        archive = NULL;
    }
    *ret = json_pack("{s:i, s:I, s:I, s:b, s:o, s:o, s:o}", "node", n->index, "total", (json_int_t)total, "listed",
                     (json_int_t)listed, "complete", complete, "error", rc ? json_string(why.msg) : json_null(),
                     "memories", all, "archive", archive ? archive : json_null());
    if (rc != 0 && must_end(n, rc)) {
        json_decref(*ret);
        *ret = NULL;
        return err_set(err, rc, "%s", why.msg);
    }
    return 0;
}

int dump_stage(struct mesh *m, unsigned set, const char *stage, const char *dir, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < MESH_NODES && rc == 0; i++) {
        char path[WORLD_PATH];
        json_t *doc = NULL;
        if ((set & 1u << i) == 0) continue;
        rc = dump_node(&m->node[i], NULL, &doc, err);
        if (rc != 0) break;
        json_object_set_new(doc, "stage", json_string(stage));
        snprintf(path, sizeof path, "%.900s/dump-%s-n%d.json", dir, stage, i);
        json_t *line = json_object();
        json_object_update(line, doc);
        rc = file_write_json(path, line, err);
        json_decref(line);
        json_decref(doc);
    }
    return rc;
}

static bool holds_all(const json_t *memories, const struct load *l)
{
    json_t *seen = json_object();
    const json_t *row;
    size_t i;
    bool all = true;
    json_array_foreach (memories, i, row) {
        const char *id = json_string_value(json_object_get(row, "id"));
        if (id) json_object_set_new(seen, id, json_true());
    }
    for (size_t k = 0; k < l->rows && all; k++) all = l->row[k].deleted || json_object_get(seen, l->row[k].id) != NULL;
    json_decref(seen);
    return all;
}

/* Whether the nodes show the same now. */
static int agree(struct mesh *m, unsigned set, const struct load *l, bool *ret, struct err *err)
{
    char digest[ROWS_DIGEST], first[ROWS_DIGEST] = "";
    *ret = true;
    for (int i = 0; i < MESH_NODES && *ret; i++) {
        json_t *doc = NULL;
        if ((set & 1u << i) == 0) continue;
        int rc = dump_node(&m->node[i], NULL, &doc, err);
        if (rc != 0) return rc;
        const json_t *memories = json_object_get(doc, "memories");
        rows_digest(memories, digest);
        if (first[0] == 0) memcpy(first, digest, sizeof first);
        *ret = json_is_true(json_object_get(doc, "complete")) && strcmp(first, digest) == 0 &&
               (l == NULL || holds_all(memories, l));
        json_decref(doc);
    }
    return 0;
}

int dump_settle(struct mesh *m, unsigned set, const struct load *l, int64_t ms, int64_t *ret_ms, struct err *err)
{
    int64_t begun = clock_mono_ms();
    for (;;) {
        bool same = false;
        int rc = agree(m, set, l, &same, err);
        *ret_ms = clock_mono_ms() - begun;
        if (rc != 0 || same) return rc;
        if (*ret_ms > ms) {
            *ret_ms = -1;
            return 0;
        }
        rc = world_pass(m->w, POLL_MS + *ret_ms / 50, err);
        if (rc != 0) return rc;
    }
}
