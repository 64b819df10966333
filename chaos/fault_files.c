/* fault_files.c - nodes whose file is replaced under them, and other processes that write the same file. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "files.h"

enum { EMPTY, YESTERDAY, ANOTHER };

static void everywhere(struct cycle *c)
{
    c->plan.create_nodes = 7;
    c->plan.patience_ms = 20000;
    c->plan.pause_ms = 40;
    c->plan.strike_acks = c->plan.creates / 4 ? c->plan.creates / 4 : 1;
    c->plan.strike = cycle_strike_here;
}

static int end_node(struct cycle *c, int n, int signal, struct err *err)
{
    node_signal(&c->mesh.node[n], signal);
    return node_gone(&c->mesh.node[n], 20000, err);
}

/* A copy of the node's file while it is down, then on with it. */
static int copy_aside(struct cycle *c, int n, const char *to, struct err *err)
{
    int rc = end_node(c, n, SIGTERM, err);
    if (rc == 0) rc = node_copy_db(c->mesh.node[n].db, to, err);
    return rc == 0 ? cycle_restart(c, 1u << n, err) : rc;
}

static int replace_run(struct cycle *c, struct err *err)
{
    int n = (int)world_pick(c->w, MESH_NODES), other = (n + 1) % MESH_NODES;
    struct node *node = &c->mesh.node[n];
    char aside[WORLD_PATH];
    const char *what = c->class->variant[c->variant];
    snprintf(aside, sizeof aside, "%.900s/aside.db", c->mesh.dir);
    int rc = cycle_burst(c, err);
    if (rc != 0) return rc;
    cycle_fault(c, what, true, json_pack("{s:i}", "node", n));
    if (c->variant != EMPTY) rc = copy_aside(c, c->variant == YESTERDAY ? n : other, aside, err);
    if (rc == 0) rc = world_pass(c->w, 150, err);
    if (rc == 0) rc = end_node(c, n, SIGKILL, err);
    if (rc != 0) return rc;
    c->destroyed |= 1u << n;
    int64_t before = file_size(node->db);
    node_wipe(node);
    if (c->variant != EMPTY) rc = node_copy_db(aside, node->db, err);
    cycle_proof(c, "the file was there and is another now",
                before > 0 && (c->variant == EMPTY) == !file_exists(node->db));
    if (rc == 0) rc = cycle_restart(c, 1u << n, err);
    cycle_fault(c, what, false, NULL);
    cycle_healed(c);
    return rc;
}

const struct fault_class fault_replaced = {
    .name = "node_replaced",
    .text = "A node is killed and comes back with another file: an empty one, its own of some time ago, or a copy of "
            "another\n"
            "node's, identity and all. Nothing acknowledged may be lost, and no sequence used twice.",
    .expects = "about 0.95: what was under way at the killed node is not answered",
    .variant = { "by an empty one", "by its own of yesterday", "by a copy of another node's" },
    .flags = FAULT_KILLS,
    .prepare = everywhere,
    .run = replace_run,
};

/* --- two_processes --- */

#define COMMANDS 12

/* A memory stored by a command beside the server, recorded like a write at that node. */
static int store(struct cycle *c, int n, unsigned number, struct err *err)
{
    char title[64], content[128], out[4096], id[64] = "";
    unsigned op = history_op(&c->h);
    snprintf(title, sizeof title, "%s-x%u", c->prefix, number);
    snprintf(content, sizeof content, "%s stored by a command beside node %d", title, n);
    const char *const argv[] = {
        c->o->bin, "--db", c->mesh.node[n].db, "--json", "store", "-T", title, "-c", content, "-n", c->ns, NULL
    };
    history_put(&c->h, json_pack("{s:s, s:i, s:I, s:i, s:i, s:s, s:s, s:s, s:b}", "t", "invoke", "op", (int)op, "at_us",
                                 (json_int_t)history_now_us(&c->h), "client", -2, "node", n, "kind", "create", "title",
                                 title, "content", content, "probe", 1));
    int rc = tool_run(argv, NULL, out, sizeof out, 15000, err);
    const char *at = strstr(out, "\"id\":\"");
    if (rc == 0 && at) snprintf(id, sizeof id, "%.36s", at + 6);
    if (rc != 0 || id[0] == 0) {
        out[strcspn(out, "\n")] = 0;
        return err_set(err, E_INTERNAL, "a command beside node %d ended with %d: %.300s", n, rc, out);
    }
    history_put(&c->h, json_pack("{s:s, s:i, s:I, s:i, s:s}", "t", "answer", "op", (int)op, "at_us",
                                 (json_int_t)history_now_us(&c->h), "status", 201, "id", id));
    return 0;
}

/* A second server over a file that has one must say so and end. */
static int second_server(struct cycle *c, int n, struct err *err)
{
    char out[4096];
    const char *const argv[] = { c->o->bin, "--db", c->mesh.node[n].db, "serve", "--host", "127.0.0.1", "--port",
                                 "0",       NULL };
    int rc = tool_run(argv, NULL, out, sizeof out, 5000, err);
    if (rc <= 0)
        return err_set(err, E_INTERNAL, "a second server over the file of node %d was not refused: %.200s", n, out);
    return 0;
}

static int processes_run(struct cycle *c, struct err *err)
{
    unsigned done = 0;
    setenv("AI_MEMORY_NO_CONFIG", "1", 1);
    int rc = cycle_burst(c, err);
    if (rc != 0) return rc;
    cycle_fault(c, "commands write the servers' files", true, NULL);
    for (unsigned i = 0; i < COMMANDS && rc == 0; i++) {
        rc = store(c, (int)(i % MESH_NODES), i, err);
        if (rc == 0) done++;
        if (rc == 0) rc = world_pass(c->w, 10, err);
    }
    cycle_proof(c, "commands", done);
    if (rc == 0) rc = second_server(c, (int)world_pick(c->w, MESH_NODES), err);
    if (rc == 0) cycle_proof(c, "second servers refused", 1);
    cycle_fault(c, "commands write the servers' files", false, NULL);
    cycle_healed(c);
    return rc;
}

const struct fault_class fault_processes = {
    .name = "two_processes",
    .text = "Commands store into the files of running servers during the burst: what they store reaches every node; "
            "and a second\n"
            "server over the same file is refused.",
    .variant = { "commands beside servers" },
    .flags = 0,
    .prepare = everywhere,
    .run = processes_run,
};
