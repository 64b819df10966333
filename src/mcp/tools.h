/* tools.h - the operations as MCP tools. */
#ifndef AIM_MCP_TOOLS_H
#define AIM_MCP_TOOLS_H

#include "mcp/rpc.h"

/* Result of tools/list; new reference. */
json_t *tools_list(void);
/* Runs the tool and gives the result of tools/call, failures of the tool included; new reference. arguments: borrowed,
 * of any type (what is no object counts as none). */
json_t *tools_call(struct rpc *r, const struct op *op, json_t *arguments);
/* A result that says why it failed. */
json_t *tools_failed(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
