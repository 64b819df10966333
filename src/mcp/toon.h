/* toon.h - the line form of result lists that MCP clients of this program know as TOON. Pure; any thread. */
#ifndef AIM_MCP_TOON_H
#define AIM_MCP_TOON_H

#include <jansson.h>
#include <stdbool.h>

struct buf;

/* Appends the document of recall, search, list or session_start: a meta line, the standards, then one line a memory,
 * columns divided by '|'. compact: fewer columns. Members the form does not know are left out. */
void toon_print(struct buf *b, const json_t *doc, bool compact);

#endif
