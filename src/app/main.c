/* main.c - the program: settings, then one command line. What is no operation is a row of `commands` here. */
#include <stdio.h>
#include <string.h>

#include "app/config.h"
#include "app/server.h"
#include "app/sync.h"
#include "cli/cli.h"
#include "mcp/mcp.h"

/* ---- serve ------------------------------------------------------------------------------------------------------ */
static int serve(const struct cli_call *call, void *data)
{
    struct config *c = data;
    struct err err = { 0 };
    if (config_serve(c, call, &err)) {
        fprintf(stderr, "error: %s\n", err.msg);
        return 2;
    }
    return server_run(c);
}

/* ---- mcp -------------------------------------------------------------------------------------------------------- */
static const struct cli_option mcp_options[] = {
    { .name = "tier", .doc = "Features: keyword, semantic, smart, autonomous", .dflt = "semantic" },
    { 0 },
};

static int mcp(const struct cli_call *call, void *data)
{
    const struct config *c = data;
    struct mcp_env env = {
        .db = call->db,
        .agent_id = call->agent_id,
        .anonymize = c->anonymize,
        .tier = cli_set(call, "tier") || c->tier == NULL ? cli_value(call, "tier") : c->tier,
        .relaxed = strcmp(c->durability, "normal") == 0,
    };
    config_limits(c, &env.limits);
    return mcp_run(&env);
}

/* ---- the program ------------------------------------------------------------------------------------------------ */
/* Asking what the program is must work whatever the settings say. */
static int only_asks(int argc, char **argv)
{
    static const char *const words[] = { "-h", "--help", "-V", "--version", "help" };
    for (size_t i = 0; argc > 1 && i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(argv[1], words[i]) == 0) return 1;
    return 0;
}

int main(int argc, char **argv)
{
    struct config config;
    struct err err = { 0 };
    struct cli_command commands[] = {
        { "serve", "Serve HTTP, replicate with other nodes", config_serve_options(), serve },
        { "sync-status", "What the server of this database knows of its mesh", sync_options, sync_status },
        { "sync-repair", "Compare the server's rows with its peers' now, and mend them", sync_options, sync_repair },
        { "mcp", "Speak MCP on standard input and output", mcp_options, mcp },
        { 0 },
    };
    if (config_load(&config, &err) && !only_asks(argc, argv)) {
        fprintf(stderr, "Error: %s\n", err.msg);
        return 1;
    }
    if (config.file) fprintf(stderr, "ai-memory: loaded config from %s\n", config.file);
    struct cli_env env = {
        .db = config.db ? config.db : "ai-memory.db",
        .agent_id = config.agent_id,
        .anonymize = config.anonymize,
        .default_ns = config.default_ns,
        .tier = config.tier,
        .relaxed = config.durability && strcmp(config.durability, "normal") == 0,
        .commands = commands,
        .data = &config,
    };
    config_limits(&config, &env.limits);
    int status = cli_run(argc, argv, &env);
    config_release(&config);
    return status;
}
