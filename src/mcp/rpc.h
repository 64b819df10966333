/* rpc.h - one client's JSON-RPC conversation: lines in, lines out. Knows no descriptors and no loop; one thread at a
 * time.
 *
 * A request is answered by one line, in the order the requests came; a notification by nothing. The protocol version
 * agreed on at `initialize` decides two things: 2025-03-26 allows batches; after 2024-11-05 an unknown tool is a
 * protocol error. */
#ifndef AIM_MCP_RPC_H
#define AIM_MCP_RPC_H

#include "ops/engine.h"
#include "ops/identity.h"

#define RPC_LINE_MAX (16u << 20)         /* bytes of one message */
#define RPC_OUT_MAX (256u << 20)         /* of one answer */

enum rpc_version { RPC_2024_11, RPC_2025_03, RPC_2025_06, RPC_2025_11, RPC_VERSIONS };

struct rpc {
    enum rpc_version version;            /* agreed on; RPC_2024_11 before `initialize` */
    const char *agent_id;                /* borrowed: of the environment; NULL: none */
    bool anonymize;
    char client[256];                    /* clientInfo.name, cut to fit; "": none */
    struct identity identity;
    int (*run)(void *data, struct call *c);   /* runs a call to its end, returns its status */
    void *data;
};

void rpc_init(struct rpc *r, const char *agent_id, bool anonymize, int (*run)(void *data, struct call *c), void *data);
/* Answers one line (without its LF; blanks around it are fine): appends the answer with LF to out, or nothing. */
void rpc_line(struct rpc *r, const char *line, size_t len, struct buf *out);
/* Length of s without a character that was cut at its end. */
size_t rpc_whole(const char *s, size_t len);
/* The answer to a line that was longer than RPC_LINE_MAX and thrown away. */
void rpc_line_too_long(struct buf *out);

#endif
