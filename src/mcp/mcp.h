/* mcp.h - the MCP door over pipes: JSON-RPC messages, one a line, on standard input and output. */
#ifndef AIM_MCP_MCP_H
#define AIM_MCP_MCP_H

#include <stdbool.h>

#include "ops/ops.h"

/* Resolved settings; all borrowed. */
struct mcp_env {
    const char *db;                      /* path of the database */
    const char *agent_id;                /* AI_MEMORY_AGENT_ID; NULL or "": none */
    bool anonymize;                      /* no host name in identities the program makes up */
    const char *tier;                    /* feature tier asked for: keyword, semantic, smart, autonomous */
    bool relaxed;                        /* no fsync at commit */
    struct limits limits;
};

/* Serves until the end of input or SIGINT/SIGTERM; what was read by then is answered first. Returns the exit status:
 * 0, or 1 when the database cannot be opened or standard input or output fails. Once per process. */
int mcp_run(const struct mcp_env *env);

#endif
