/* table.c - the operation table. Adding an operation is one row here and one function in its family's file. */
#include "ops/table.h"

#include <string.h>

#define ARGS(descriptors, type) descriptors, sizeof(struct type)

const struct op op_table[] = {
    { "create", "Store a memory; the same title in the same namespace is updated", OP_WRITE,
      ARGS(create_arg, create_args), op_create, op_create_aside, op_create_again,
      .http = { { HTTP_POST, "/api/v1/memories", 201, true } },
      .mcp = { "memory_store", "Save a memory. An existing memory of the same title and namespace is updated.",
               MCP_DESTRUCTIVE | MCP_IDEMPOTENT },
      .cli = { "store", "Store a memory" }, .tells_acks = true },
    { "bulk", "Store many memories, each for itself", OP_WRITE, ARGS(bulk_arg, bulk_args), op_bulk,
      .again = op_bulk_again, .http = { { HTTP_POST, "/api/v1/memories/bulk", 200, true } } },
    { "get", "Read one memory with its links", OP_READ, ARGS(id_arg, id_args), op_get,
      .http = { { HTTP_GET, "/api/v1/memories/{id}", 200, false } },
      .mcp = { "memory_get", "Read one memory with its links, by id or unique prefix.", MCP_READ_ONLY },
      .cli = { "get", "Show one memory" }, .anonymous = true },
    { "update", "Change fields of a memory", OP_WRITE, ARGS(update_arg, update_args), op_update,
      .again = op_update_again, .http = { { HTTP_PUT, "/api/v1/memories/{id}", 200, true } },
      .mcp = { "memory_update", "Change fields of a memory; what is not given stays.",
               MCP_DESTRUCTIVE | MCP_IDEMPOTENT },
      .cli = { "update", "Change fields of a memory" } },
    { "delete", "Remove one memory", OP_WRITE, ARGS(delete_arg, delete_args), op_delete, .again = op_delete_again,
      .http = { { HTTP_DELETE, "/api/v1/memories/{id}", 200, false } },
      .mcp = { "memory_delete", "Remove one memory for good, by id or unique prefix.",
               MCP_DESTRUCTIVE | MCP_IDEMPOTENT },
      .cli = { "delete", "Remove a memory" } },
    { "promote", "Keep a memory for good, or copy it to an ancestor namespace", OP_WRITE,
      ARGS(promote_arg, promote_args), op_promote, .again = op_promote_again,
      .http = { { HTTP_POST, "/api/v1/memories/{id}/promote", 200, false } },
      .mcp = { "memory_promote",
               "Keep a memory for good, or with to_namespace put a linked copy into an ancestor namespace.",
               MCP_DESTRUCTIVE | MCP_IDEMPOTENT },
      .cli = { "promote", "Keep a memory for good" } },
    { "list", "Browse live memories, most important first", OP_READ, ARGS(list_arg, list_args), op_list,
      .http = { { HTTP_GET, "/api/v1/memories", 200, false } },
      .mcp = { "memory_list", "Browse live memories, most important first.", MCP_READ_ONLY },
      .cli = { "list", "List memories" }, .anonymous = true },
    { "search", "Find memories that hold every word", OP_READ, ARGS(search_arg, search_args), op_search,
      .http = { { HTTP_GET, "/api/v1/search", 200, false } },
      .mcp = { "memory_search", "Find memories that hold every word of the query.", MCP_READ_ONLY },
      .cli = { "search", "Find memories that hold every word" }, .anonymous = true },
    { "recall", "Find what matters now, best first; counts as an access", OP_TOUCH, ARGS(recall_arg, recall_args),
      op_recall, .http = { { HTTP_GET, "/api/v1/recall", 200, false }, { HTTP_POST, "/api/v1/recall", 200, true } },
      .mcp = { "memory_recall", "Find the memories that matter for a context, best first.", 0 },
      .cli = { "recall", "Recall memories for a context" }, .anonymous = true },
    { "namespaces", "Count live memories by namespace", OP_READ, ARGS(none_arg, none_args), op_namespaces,
      .http = { { HTTP_GET, "/api/v1/namespaces", 200, false } }, .cli = { "namespaces", "List namespaces" },
      .anonymous = true },
    { "stats", "Counters of the store", OP_READ, ARGS(none_arg, none_args), op_stats,
      .http = { { HTTP_GET, "/api/v1/stats", 200, false } },
      .mcp = { "memory_stats", "Counters of the store: totals, tiers, namespaces, size.", MCP_READ_ONLY },
      .cli = { "stats", "Show counters" }, .anonymous = true },
    { "sync_push", "Take memories from a node or a poller", OP_WRITE, ARGS(push_arg, push_args), op_sync_push,
      .http = { { HTTP_POST, "/api/v1/sync/push", 200, true } } },
    { "sync_since", "Read what changed since a moment", OP_TOUCH, ARGS(since_arg, since_args), op_sync_since,
      .http = { { HTTP_GET, "/api/v1/sync/since", 200, false } } },
    { 0 },
};

const struct op *op_by_name(const char *name)
{
    for (const struct op *op = op_table; op->name; op++)
        if (strcmp(op->name, name) == 0) return op;
    return NULL;
}

const struct op *op_by_tool(const char *mcp_name)
{
    for (const struct op *op = op_table; op->name; op++)
        if (op->mcp.name && strcmp(op->mcp.name, mcp_name) == 0) return op;
    return NULL;
}

const struct op *op_by_verb(const char *cli_name)
{
    for (const struct op *op = op_table; op->name; op++)
        if (op->cli.name && strcmp(op->cli.name, cli_name) == 0) return op;
    return NULL;
}
