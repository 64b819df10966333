/* schema.h - JSON Schemas of arguments, made from the operations' descriptors. Any thread. */
#ifndef AIM_MCP_SCHEMA_H
#define AIM_MCP_SCHEMA_H

#include "ops/ops.h"

/* The object schema of the arguments that can be given at the MCP door. New reference. */
json_t *schema_of(const struct arg *desc);

#endif
