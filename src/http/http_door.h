/* http_door.h - the HTTP door: requests to operations and back, and the few routes that are no operation (health,
 * metrics, OpenAPI, replication). It knows no SQL and no rule; what it serves comes from the operation table. Loop
 * thread. */
#ifndef AIM_HTTP_DOOR_H
#define AIM_HTTP_DOOR_H

#include "base/metrics.h"
#include "net/http.h"

struct cluster;
struct engine;
struct http_door;
struct lane;
struct readers;

struct http_door_options {
    struct engine *engine;               /* all borrowed for the door's life */
    struct cluster *cluster;
    struct lane *lane;
    struct readers *readers;
    struct metrics *metrics;             /* made from http_figures */
    const char *api_key;                 /* NULL: everybody may ask */
    const char *version;
};

/* The metrics the program keeps; the door feeds and prints them. */
extern const struct metric http_figures[];
extern const int http_figures_count;

struct http_door *http_door_new(const struct http_door_options *o);
/* What to give to http_server_new; valid until http_door_free. */
void http_door_handlers(struct http_door *d, struct http_handlers *ret);
/* The server that calls the door: its connections are shown in the metrics. Borrowed. */
void http_door_server(struct http_door *d, const struct http_server *s);
/* No request may be open, no call under way. */
void http_door_free(struct http_door *d);

#endif
