/* route.c - the trie of path segments. */
#include "http/route.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"

#define NODES_MAX 256
#define ROUTES_MAX 128
#define VERBS (HTTP_DELETE + 1)

struct node {
    const char *text; /* of the segment; of a parameter: NULL */
    size_t len;
    struct node *child, *param, *next;
    const struct route *route[VERBS];
    bool ends; /* some route ends here */
    char allow[ROUTE_ALLOW_BYTES];
};

struct route_table {
    struct node node[NODES_MAX];
    size_t nodes;
    struct route route[ROUTES_MAX];
    size_t routes;
};

static const struct route fixed[] = {
    { HTTP_GET, "/api/v1/health", ROUTE_HEALTH, .status = 200 },
    { HTTP_GET, "/metrics", ROUTE_METRICS, .status = 200 },
    { HTTP_GET, "/api/v1/metrics", ROUTE_METRICS, .status = 200 },
    { HTTP_GET, "/api/v1/openapi.json", ROUTE_OPENAPI, .status = 200 },
    { HTTP_POST, "/api/v1/sync/ops", ROUTE_SYNC_OPS, .status = 200 },
    { HTTP_GET, "/api/v1/sync/ops", ROUTE_SYNC_OPS, .status = 200 },
    { HTTP_GET, "/api/v1/sync/snapshot", ROUTE_SYNC_OPS, .status = 200 },
    { HTTP_GET, "/api/v1/sync/scrub", ROUTE_SYNC_OPS, .status = 200 },
    { HTTP_POST, "/api/v1/sync/repair", ROUTE_SYNC_REPAIR, .status = 200 },
    { HTTP_GET, "/api/v1/sync/status", ROUTE_SYNC_STATUS, .status = 200 },
};

static struct node *new_node(struct route_table *t)
{
    CHECK(t->nodes < NODES_MAX);
    return &t->node[t->nodes++];
}

static struct node *child_of(struct route_table *t, struct node *at, const char *text, size_t len)
{
    if (text[0] == '{') {
        if (at->param == NULL) at->param = new_node(t);
        return at->param;
    }
    for (struct node *n = at->child; n; n = n->next)
        if (n->len == len && memcmp(n->text, text, len) == 0) return n;
    struct node *n = new_node(t);
    n->text = text;
    n->len = len;
    n->next = at->child;
    at->child = n;
    return n;
}

static void note_param(struct route *r, const char *text, size_t len)
{
    char name[32];
    CHECK(r->op && len > 2 && len < sizeof(name) && r->params < ROUTE_PARAMS_MAX);
    memcpy(name, text + 1, len - 2);
    name[len - 2] = '\0';
    int index = arg_index(r->op->args, DOOR_HTTP, name);
    CHECK(index >= 0);
    r->param_arg[r->params++] = index;
}

static void add(struct route_table *t, const struct route *row)
{
    CHECK(t->routes < ROUTES_MAX && row->path[0] == '/');
    struct route *r = &t->route[t->routes++];
    struct node *at = &t->node[0];
    *r = *row;
    for (const char *p = r->path; *p == '/';) {
        const char *text = ++p;
        p += strcspn(p, "/");
        if (text[0] == '{') note_param(r, text, (size_t)(p - text));
        at = child_of(t, at, text, (size_t)(p - text));
    }
    CHECK(at->route[r->verb] == NULL);
    at->route[r->verb] = r;
    at->ends = true;
}

static void tell_allowed(struct node *n)
{
    static const char *const names[VERBS] = {
        [HTTP_GET] = "GET,HEAD", [HTTP_POST] = "POST", [HTTP_PUT] = "PUT", [HTTP_DELETE] = "DELETE"
    };
    for (int v = HTTP_GET; v < VERBS; v++) {
        if (n->route[v] == NULL) continue;
        if (n->allow[0]) strcat(n->allow, ",");
        strcat(n->allow, names[v]);
    }
}

struct route_table *route_table_new(void)
{
    struct route_table *t = mem_alloc(sizeof(*t));
    (void)new_node(t);
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) add(t, &fixed[i]);
    for (const struct op *op = op_table; op->name; op++) {
        for (size_t i = 0; i < ARRAY_LEN(op->http); i++) {
            const struct http_route *h = &op->http[i];
            if (h->verb == HTTP_NONE) continue;
            struct route row = { h->verb, h->path, ROUTE_OP, op, h->status, h->body, { 0 }, 0 };
            add(t, &row);
        }
    }
    for (size_t i = 0; i < t->nodes; i++) tell_allowed(&t->node[i]);
    return t;
}

void route_table_free(struct route_table *t)
{
    mem_free(t);
}

const struct route *route_at(const struct route_table *t, size_t i)
{
    return i < t->routes ? &t->route[i] : NULL;
}

/* `rest` begins with the '/' before the next segment, or is the end. */
static const struct node *walk(const struct node *at, const char *path, const char *rest, struct route_match *m)
{
    if (*rest == '\0') return at->ends ? at : NULL;
    const char *text = rest + 1;
    size_t len = strcspn(text, "/");
    for (const struct node *n = at->child; n; n = n->next) {
        if (n->len != len || memcmp(n->text, text, len) != 0) continue;
        const struct node *found = walk(n, path, text + len, m);
        if (found) return found;
    }
    if (at->param == NULL || len == 0 || m->params == ROUTE_PARAMS_MAX) return NULL;
    m->param[m->params++] = (struct route_part){ (size_t)(text - path), len };
    const struct node *found = walk(at->param, path, text + len, m);
    if (found == NULL) m->params--;
    return found;
}

static enum http_verb verb_of(const char *method)
{
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) return HTTP_GET;
    if (strcmp(method, "POST") == 0) return HTTP_POST;
    if (strcmp(method, "PUT") == 0) return HTTP_PUT;
    return strcmp(method, "DELETE") == 0 ? HTTP_DELETE : HTTP_NONE;
}

void route_find(const struct route_table *t, const char *method, const char *path, struct route_match *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (path[0] != '/') return;
    const struct node *n = walk(&t->node[0], path, path, ret);
    if (n == NULL) return;
    ret->known = true;
    ret->route = n->route[verb_of(method)];
    memcpy(ret->allow, n->allow, sizeof(ret->allow));
}
