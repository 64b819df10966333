/* config.h - every setting of the program, resolved once: command line > environment > file > default. One table says
 * for each where it may come from; help and the checks of the command line are drawn from it. */
#ifndef AIM_APP_CONFIG_H
#define AIM_APP_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "cli/cli.h"
#include "err.h"
#include "memory.h"

struct config_list { const char **item; unsigned count; };

struct config {
    /* every door's */
    const char *db, *agent_id, *tier, *default_ns;
    bool anonymize;
    int64_t ttl_secs[3], extend_secs[3];
    bool archive_on_gc;
    int64_t archive_max_days;            /* 0: old archive rows are kept */
    const char *durability;              /* "full", "normal" */
    /* the server's */
    const char *host, *api_key, *cluster_name, *log;
    int64_t port, grace_secs, quorum_writes, quorum_timeout_ms, catchup_secs;
    int64_t log_ops_max, log_max_secs, tombstone_secs, scrub_secs;
    struct config_list quorum_peers;
    const char *tls_cert, *tls_key, *mtls_allowlist, *client_cert, *client_key, *ca_cert;
    /* where it came from */
    const char *file;                    /* the file that was read; NULL: none */
    struct arena arena;                  /* private: the texts */
};

/* Reads defaults, file ($HOME/.config/ai-memory/config.toml unless AI_MEMORY_NO_CONFIG is set) and environment. A file
 * that cannot be read or understood is an error, not a default: E_SYNTAX, E_TYPE, E_INVALID, E_IO. Then *c is zeroed;
 * else config_release is owed. */
int config_load(struct config *c, struct err *err);
void config_release(struct config *c);
/* The options of `serve`, ended by name == NULL. Constant. */
const struct cli_option *config_serve_options(void);
/* Puts what was given to `serve` over the settings. Borrows from the call. */
int config_serve(struct config *c, const struct cli_call *call, struct err *err);
/* Lifetimes and limits as operations take them. */
void config_limits(const struct config *c, struct limits *ret);

#endif
