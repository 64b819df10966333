/* phase1.c - the program by itself, on three data directories: store, recall, stats, backup, curator, tools over
 * stdio. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/json.h"
#include "campaign.h"
#include "files.h"

#define OUT_BYTES ((size_t)1 << 20)
#define TOOLS_LEAST 30

struct node1 {
    struct campaign *c;
    char dir[WORLD_PATH], db[WORLD_PATH], backup[WORLD_PATH];
    json_t *reasons, *stats, *curator;
    int64_t recall, tools, snapshots, manifests;
    char *out;
};

bool phase1_exists(const struct campaign *c, char reason[256])
{
    static const char *const needed[] = { "store", "recall", "stats", "mcp", "backup", "curator" };
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        const char *const args[] = { needed[i], "--help", NULL };
        char out[4096];
        if (campaign_tool(c, args, out, sizeof out, NULL) == 0) continue;
        snprintf(reason, 256, "the program has no command `%s`", needed[i]);
        return false;
    }
    return true;
}

static void refuse(struct node1 *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void refuse(struct node1 *n, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_array_append_new(n->reasons, json_string(text));
}

/* Runs "<bin> --db FILE args"; its output is in n->out. */
static bool run(struct node1 *n, const char *const *args, const char *input)
{
    const char *argv[24] = { n->c->bin, "--db", n->db };
    unsigned a = 3;
    struct err err = { 0 };
    for (unsigned i = 0; args[i] && a < ARRAY_LEN(argv) - 1; i++) argv[a++] = args[i];
    argv[a] = NULL;
    int rc = tool_run(argv, input, n->out, OUT_BYTES, 30000, &err);
    if (rc == 0) return true;
    if (rc < 0)
        refuse(n, "%s: %s", args[0], err.msg);
    else
        refuse(n, "%s: exit %d: %.200s", args[0], rc, n->out);
    return false;
}

/* The document in an output; NULL when there is none. */
static json_t *document(const char *out)
{
    const char *start = strchr(out, '{');
    size_t len = start ? strlen(start) : 0;
    while (len > 0 && start[len - 1] == '\n') len--;
    return len ? json_parse(start, len, NULL, 0, NULL) : NULL;
}

static void store_and_recall(struct node1 *n)
{
    static const char *const store[] = {
        "store",       "--tier",           "mid",
        "--namespace", "ship-gate-phase1", "--title",
        "first words", "--content",        "the ship gate stores one memory and finds it again",
        NULL
    };
    static const char *const recall[] = { "--json",      "recall",           "ship gate memory",
                                          "--namespace", "ship-gate-phase1", NULL };
    static const char *const stats[] = { "stats", "--json", NULL };
    if (!run(n, store, NULL)) return;
    if (run(n, recall, NULL)) {
        json_t *doc = document(n->out);
        n->recall = (int64_t)json_array_size(json_object_get(doc, "memories"));
        json_decref(doc);
    }
    if (n->recall < 1) refuse(n, "recall: at least 1 hit expected, got %lld", (long long)n->recall);
    if (run(n, stats, NULL)) n->stats = document(n->out);
    if (json_integer_value(json_object_get(n->stats, "total")) < 1) refuse(n, "stats: a total of at least 1 expected");
}

static bool ends(const char *name, const char *with)
{
    size_t a = strlen(name), b = strlen(with);
    return a > b && strcmp(name + a - b, with) == 0;
}

static void count_file(void *data, const char *name)
{
    struct node1 *n = data;
    if (strncmp(name, "ai-memory-", 10) != 0) return;
    if (ends(name, ".manifest.json"))
        n->manifests++;
    else if (ends(name, ".db"))
        n->snapshots++;
}

static void backup_and_curate(struct node1 *n)
{
    const char *backup[] = { "backup", "--to", n->backup, "--keep", "1", NULL };
    static const char *const curator[] = { "curator", "--once", "--dry-run", "--max-ops", "10", "--json", NULL };
    if (run(n, backup, NULL)) dir_each(n->backup, count_file, n, NULL);
    if (n->snapshots != 1 || n->manifests != 1)
        refuse(n, "backup: one snapshot and one manifest expected, got %lld and %lld", (long long)n->snapshots,
               (long long)n->manifests);
    if (run(n, curator, NULL)) n->curator = document(n->out);
    const json_t *errors = json_object_get(n->curator, "errors");
    const char *only = json_string_value(json_array_get(errors, 0));
    if (!json_is_array(errors)) refuse(n, "curator: no report");
    if (json_array_size(errors) > 1) refuse(n, "curator: %zu errors", json_array_size(errors));
    if (only && strstr(only, "no LLM client configured") == NULL) refuse(n, "curator: %s", only);
}

static void count_tools(struct node1 *n)
{
    static const char *const mcp[] = { "mcp", NULL };
    static const char input[] =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"protocolVersion\":\"2024-11-05\","
        "\"capabilities\":{},\"clientInfo\":{\"name\":\"ship-gate\",\"version\":\"1\"}}}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/list\"}\n";
    if (!run(n, mcp, input)) return;
    for (char *line = n->out; line && *line;) {
        char *end = strchr(line, '\n');
        if (end) *end = 0;
        json_t *doc = document(line);
        if (json_integer_value(json_object_get(doc, "id")) == 2)
            n->tools = (int64_t)json_array_size(json_object_get(json_object_get(doc, "result"), "tools"));
        json_decref(doc);
        line = end ? end + 1 : NULL;
    }
    if (n->tools < TOOLS_LEAST)
        refuse(n, "mcp: at least %d tools expected, got %lld", TOOLS_LEAST, (long long)n->tools);
}

static json_t *report_of(struct node1 *n)
{
    char host[128] = "";
    gethostname(host, sizeof host - 1);
    return json_pack("{s:i, s:s, s:s, s:b, s:O, s:O, s:O, s:I, s:I, s:I, s:I}", "phase", 1, "host", host, "version",
                     n->c->version, "pass", json_array_size(n->reasons) == 0, "reasons", n->reasons, "stats",
                     n->stats ? n->stats : json_null(), "curator", n->curator ? n->curator : json_null(),
                     "mcp_tool_count", (json_int_t)n->tools, "recall_count", (json_int_t)n->recall, "snapshot_count",
                     (json_int_t)n->snapshots, "manifest_count", (json_int_t)n->manifests);
}

static int run_node(struct campaign *c, char letter, struct err *err)
{
    char name[32];
    struct node1 n = { .c = c };
    snprintf(n.dir, sizeof n.dir, "%.900s/phase1-%c", c->w->scratch, letter);
    snprintf(n.db, sizeof n.db, "%.900s/memory.db", n.dir);
    snprintf(n.backup, sizeof n.backup, "%.900s/backup", n.dir);
    n.reasons = json_array();
    n.out = mem_alloc(OUT_BYTES);
    int rc = dir_make(n.dir, err);
    setenv("HOME", n.dir, 1);
    setenv("AI_MEMORY_NO_CONFIG", "1", 1);
    if (rc == 0) {
        store_and_recall(&n);
        backup_and_curate(&n);
        count_tools(&n);
    } else {
        refuse(&n, "%s", err->msg);
    }
    snprintf(name, sizeof name, "phase1-node-%c", letter);
    struct err why = { 0 };
    if (campaign_report(c, name, report_of(&n), &why) != 0 && rc == 0) rc = err_set(err, why.code, "%s", why.msg);
    dir_remove(n.dir);
    mem_free(n.out);
    json_decref(n.reasons);
    json_decref(n.stats);
    json_decref(n.curator);
    return rc;
}

int phase1_run(struct campaign *c, struct err *err)
{
    int rc = 0;
    printf("phase 1: the program by itself, on three data directories\n");
    for (char letter = 'a'; letter <= 'c' && rc == 0; letter++) rc = run_node(c, letter, err);
    return rc;
}

bool phase3_exists(const struct campaign *c, char reason[256])
{
    static const char *const args[] = { "migrate", "--help", NULL };
    char out[4096];
    if (campaign_tool(c, args, out, sizeof out, NULL) == 0)
        snprintf(reason, 256, "the program can migrate; this gate does not yet know how to judge it");
    else
        snprintf(reason, 256, "the program has no command `migrate`");
    return false;
}
