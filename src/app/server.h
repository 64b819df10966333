/* server.h - the composition root of `serve`: builds the parts in order, drives the loop, closes them in reverse.
 *
 *   STARTING ─caught up─▶ SERVING ─SIGTERM, SIGINT─▶ DRAINING ─last answer─▶ CLOSING ─▶ ended
 *                                                  (connections)           (calls, cluster, lane, readers)
 *
 *   A life whose identity is wrong (enum cluster_life) ends in this order, too, and the next one begins: STARTING.
 *   DRAINING: just before the grace is over waiting writes are answered (pending), at its end connections are cut.
 *   A second signal ends the process at once; so does a commit that failed for good. */
#ifndef AIM_APP_SERVER_H
#define AIM_APP_SERVER_H

#include "app/config.h"

/* Serves until told to stop. Logs to standard output. Returns the exit status. Once per process. */
int server_run(const struct config *config);

#endif
