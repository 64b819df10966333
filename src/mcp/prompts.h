/* prompts.h - the two prompts, and the rules a client is told at the handshake. Any thread. */
#ifndef AIM_MCP_PROMPTS_H
#define AIM_MCP_PROMPTS_H

#include <jansson.h>

extern const char *const prompt_rules;               /* how to work with the memory, for a model */
json_t *prompts_list(void);                          /* result of prompts/list; new reference */
/* Result of prompts/get, new reference; arguments may be NULL or of any type. NULL: no such prompt. */
json_t *prompts_get(const char *name, const json_t *arguments);

#endif
