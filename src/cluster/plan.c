/* plan.c - what federation the options ask for, after folding and checking; every correction leaves a warning. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cluster/cluster.h"
#include "net/client.h"

static void warn(struct cluster_plan *p, const char *text)
{
    json_array_append_new(p->warnings, json_string(text));
}

/* The same peer written in two ways (trailing slash, upper-case host, default port) is one peer. */
static char *normal_url(const char *url, struct err *err)
{
    struct client_url u;
    size_t len = strlen(url);
    while (len > 0 && url[len - 1] == '/') len--;
    char *text = mem_strndup(url, len);
    int rc = client_url_parse(text, &u, err);
    if (rc != 0) err_wrap(err, "--quorum-peers '%s'", url);
    mem_free(text);
    if (rc != 0) return NULL;
    char out[600];
    bool literal = strchr(u.host, ':') != NULL;
    snprintf(out, sizeof out, "%s://%s%s%s:%u%s", u.tls ? "https" : "http", literal ? "[" : "", u.host,
             literal ? "]" : "", u.port, u.prefix);
    return mem_strdup(out);
}

static int add_url(struct cluster_plan *p, const char *url, struct err *err)
{
    char text[700];
    char *normal = normal_url(url, err);
    if (normal == NULL) return err == NULL || err->code == 0 ? E_INVALID : err->code;
    for (unsigned i = 0; i < p->urls; i++) {
        if (strcmp(p->url[i], normal) != 0) continue;
        snprintf(text, sizeof text, "peer %s is listed twice: counted once", normal);
        warn(p, text);
        mem_free(normal);
        return 0;
    }
    if (p->urls == REPL_PEERS_MAX) {
        mem_free(normal);
        return err_arg(err, E_INVALID, "quorum-peers", "more than %d peers", REPL_PEERS_MAX);
    }
    p->url[p->urls++] = normal;
    return 0;
}

int cluster_plan(const struct cluster_options *o, struct cluster_plan *ret, struct err *err)
{
    char text[160];
    memset(ret, 0, sizeof *ret);
    ret->warnings = json_array();
    ret->url = mem_alloc((REPL_PEERS_MAX + 1) * sizeof *ret->url);
    for (unsigned i = 0; i < o->peers_count; i++) {
        if (o->peers[i][0] == 0) continue;
        int rc = add_url(ret, o->peers[i], err);
        if (rc != 0) {
            cluster_plan_release(ret);
            return rc;
        }
    }
    ret->nodes = ret->urls + 1;
    ret->writes = o->writes;
    if (ret->writes > 0 && ret->urls == 0) {
        snprintf(text, sizeof text, "--quorum-writes %u without --quorum-peers: federation is off", o->writes);
        warn(ret, text);
        ret->writes = 0;
    } else if (ret->writes > ret->nodes) {
        snprintf(text, sizeof text, "--quorum-writes %u is more than the %u nodes there are: cut to %u", o->writes,
                 ret->nodes, ret->nodes);
        warn(ret, text);
        ret->writes = ret->nodes;
    }
    return 0;
}

void cluster_plan_release(struct cluster_plan *p)
{
    for (unsigned i = 0; i < p->urls; i++) mem_free(p->url[i]);
    mem_free(p->url);
    json_decref(p->warnings);
    memset(p, 0, sizeof *p);
}
