/* identity.h - who a process on this machine is when it asks by a door that has no headers: commands and MCP over
 * pipes. */
#ifndef AIM_OPS_IDENTITY_H
#define AIM_OPS_IDENTITY_H

#include "ops/ops.h"

#define IDENTITY_TEXT 129
struct identity {
    char digits[9];                      /* eight hex digits, one process's */
    char made[IDENTITY_TEXT];
    struct err err;
};

void identity_init(struct identity *i);
/* Fills c->agent_id, agent_error and anonymous: `given` (a flag or the environment; NULL or "": none), else
 * "ai:<client>@<host>:pid-<pid>" (client NULL or "": none), "host:<host>:pid-<pid>-<digits>",
 * "anonymous:pid-<pid>-<digits>". Anonymize keeps the host name out. The texts live as long as i and given, until the
 * next call. */
void identity_resolve(struct identity *i, const char *given, const char *client, bool anonymize, struct caller *c);

#endif
