/* node.h - server processes and the mesh they form: start, ask, pause, kill, replace. Loop thread only.
 *
 *   new ─node_start─▶ running ─node_ready─▶ (answers) ─kill, exit─▶ dead ─node_start─▶ running …
 *
 * A node is started through this program's own `child` command, so that it dies with us. With links, every node
 * reaches every other through a proxy of its own (mesh_link), so one direction between two nodes can be cut; without,
 * directly. */
#ifndef AIM_CHAOS_NODE_H
#define AIM_CHAOS_NODE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "err.h"
#include "world.h"

#define MESH_NODES 3
#define NODE_ENV 12
#define NODE_ARGS 16

struct client;
struct mesh;
struct proxy;

struct node {
    struct mesh *mesh;
    int index;
    uint16_t port;
    char db[WORLD_PATH], log[WORLD_PATH];
    char env[NODE_ENV][WORLD_PATH];       /* "NAME=value": put there by faults, before a start */
    unsigned envs;
    char preload[WORLD_PATH];             /* LD_PRELOAD; "" none */
    bool alone;                           /* started without peers (a second process over a file) */
    uv_process_t process;                 /* of the present life */
    bool running, paused;
    int64_t exit_status;
    int term_signal;
    unsigned lives;
    struct client *client;                /* kept for node_ask */
};

struct mesh_options {
    const char *bin;
    unsigned writes;                      /* W */
    unsigned timeout_ms;
    unsigned ready_ms;                    /* how long nodes may take to answer first; 0: 20 s */
    bool links;                           /* through proxies */
    uint16_t port[MESH_NODES];            /* 0: any free one */
    const char *extra[NODE_ARGS];         /* further arguments of serve, ended by NULL */
};

struct mesh {
    struct world *w;
    struct mesh_options o;
    char dir[WORLD_PATH];
    struct node node[MESH_NODES];
    struct proxy *link[MESH_NODES][MESH_NODES];   /* from, to; NULL without links */
};

/* An answer, whole; status 0: none came (err says why). body to mem_free. */
struct reply { int status; char *body; size_t len; int64_t took_us; json_t *json; };
void reply_release(struct reply *r);

/* Takes ports, makes links; starts nothing. Needs mesh_close, also after an error. */
int mesh_init(struct mesh *m, struct world *w, const struct mesh_options *o, const char *dir, struct err *err);
/* Starts all nodes and waits until each answers and, where sync/status tells, all links are up. */
int mesh_start(struct mesh *m, struct err *err);
int mesh_linked(struct mesh *m, int64_t ms, struct err *err);
/* Kills what runs, closes links and connections, waits for all of it; the directory stays. */
void mesh_close(struct mesh *m);
unsigned mesh_alive(const struct mesh *m);          /* bit set of running nodes */

int node_start(struct node *n, struct err *err);
int node_ready(struct node *n, int64_t ms, struct err *err);
void node_signal(struct node *n, int signal);       /* at once; no wait */
int node_gone(struct node *n, int64_t ms, struct err *err);   /* waits for the end of the process */
int node_pause(struct node *n, struct err *err);    /* SIGSTOP, and sees that it is stopped */
void node_resume(struct node *n);
void node_env(struct node *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Whether the running process has a library of that name mapped. */
bool node_maps(const struct node *n, const char *library);
/* Removes the database with all its companions. */
void node_wipe(struct node *n);
/* Copies a database with its companions (the node must be down). */
int node_copy_db(const char *from, const char *to, struct err *err);

/* One request on the node's kept connection (a fresh one when that has ended). 0 when an answer came, whatever its
 * status. */
int node_ask(struct node *n, const char *method, const char *path, const json_t *body, int64_t ms, struct reply *ret,
             struct err *err);

/* The hidden command `child`: dies with its parent, then becomes the program. argv: program and its arguments. */
int child_main(char **argv);

#endif
