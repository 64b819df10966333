/* route.h - which path means what: a trie compiled once from the operation table and the routes that are no operation.
 * Static segments win over {parameters}; a parameter is one segment that is not empty. Read-only once made. */
#ifndef AIM_HTTP_ROUTE_H
#define AIM_HTTP_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "ops/ops.h"

#define ROUTE_PARAMS_MAX 3
#define ROUTE_ALLOW_BYTES 40

enum route_kind { ROUTE_OP, ROUTE_HEALTH, ROUTE_METRICS, ROUTE_OPENAPI, ROUTE_SYNC_OPS, ROUTE_SYNC_REPAIR,
                  ROUTE_SYNC_STATUS };

struct route {
    enum http_verb verb;
    const char *path;
    enum route_kind kind;
    const struct op *op;                 /* ROUTE_OP */
    int status;                          /* of success */
    bool body;                           /* takes a JSON body */
    int param_arg[ROUTE_PARAMS_MAX];     /* index of the argument each {parameter} fills */
    unsigned params;
};

struct route_part { size_t at, len; };   /* of the raw path */

/* What a path leads to. known false: nothing there. route NULL: not with this method. */
struct route_match {
    bool known;
    const struct route *route;
    struct route_part param[ROUTE_PARAMS_MAX];
    unsigned params;
    char allow[ROUTE_ALLOW_BYTES];       /* "GET,HEAD,POST" */
};

struct route_table;
struct route_table *route_table_new(void);
void route_table_free(struct route_table *t);
/* path is raw, without the query. HEAD finds what GET finds. */
void route_find(const struct route_table *t, const char *method, const char *path, struct route_match *ret);
/* All routes, for the description; NULL past the last. */
const struct route *route_at(const struct route_table *t, size_t i);

#endif
