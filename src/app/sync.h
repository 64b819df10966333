/* sync.h - commands that ask a running server about replication: the one that has the database open, or that of --url.
 * They open no database. Exit status: 0; 1 no server, or it refused. */
#ifndef AIM_APP_SYNC_H
#define AIM_APP_SYNC_H

#include "cli/cli.h"

extern const struct cli_option sync_options[];
/* data: the config. */
int sync_status(const struct cli_call *call, void *data);
int sync_repair(const struct cli_call *call, void *data);

#endif
