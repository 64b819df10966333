/* cut.c - cuts by iptables and by proxies. */
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "cut.h"
#include "node.h"
#include "proxy.h"

#define CHAIN "AIMCHAOS"
#define TOOL_MS 8000

static void chain_name(char out[32])
{
    snprintf(out, 32, CHAIN "%d", (int)getpid());
}

static int tables(const char *const *argv, char *out, size_t size, struct err *err)
{
    char text[1024];
    int rc = tool_run(argv, NULL, text, sizeof text, TOOL_MS, err);
    if (out) snprintf(out, size, "%s", text);
    if (rc > 0) {
        text[strcspn(text, "\n")] = 0;
        rc = err_set(err, E_DENIED, "%s: %s", argv[0], text);
    }
    return rc;
}

static void remove_chain(const char *chain)
{
    const char *const steps[3][9] = { { "iptables", "-w", "-D", "INPUT", "-i", "lo", "-j", chain, NULL },
                                      { "iptables", "-w", "-F", chain, NULL },
                                      { "iptables", "-w", "-X", chain, NULL } };
    for (int i = 0; i < 3; i++) tables(steps[i], NULL, 0, NULL);
}

/* Chains whose process is gone. */
static void remove_leftovers(void)
{
    static char rules[65536];
    const char *const list[] = { "iptables", "-w", "-S", NULL };
    if (tool_run(list, NULL, rules, sizeof rules, TOOL_MS, NULL) != 0) return;
    for (const char *p = rules; (p = strstr(p, "-N " CHAIN)) != NULL; p++) {
        char chain[32];
        int pid = atoi(p + strlen("-N " CHAIN));
        if (pid <= 0 || pid == (int)getpid() || kill(pid, 0) == 0) continue;
        snprintf(chain, sizeof chain, CHAIN "%d", pid);
        remove_chain(chain);
    }
}

int cut_possible(struct err *err)
{
    const char *const list[] = { "iptables", "-w", "-n", "-L", "INPUT", NULL };
    char place[WORLD_PATH];
    if (!tool_find("iptables", place))
        return err_set(err, E_NOT_FOUND,
                       "iptables is missing: install it, or cut by the link proxies alone: --cut proxy");
    if (tables(list, NULL, 0, err) != 0) {
        err_wrap(err, "no rights to cut links (run as root, or give --cut proxy)");
        return E_DENIED;
    }
    remove_leftovers();
    return 0;
}

/* A packet of the direction i to j is one to the port of the link i-j, or one from the port of the link j-i (an
 * answer). */
static int cut_tables(struct cut *c, struct err *err)
{
    char chain[32], text[512];
    struct buf b;
    chain_name(chain);
    buf_init(&b, 65536);
    buf_printf(&b, "*filter\n:%s - [0:0]\n-I INPUT -i lo -j %s\n", chain, chain);
    for (int i = 0; i < MESH_NODES; i++)
        for (int j = 0; j < MESH_NODES; j++) {
            if (i == j || (c->from_to[i] & 1u << j) == 0) continue;
            buf_printf(&b, "-A %s -p tcp --dport %u -j DROP\n", chain, proxy_port(c->mesh->link[i][j]));
            buf_printf(&b, "-A %s -p tcp --sport %u -j DROP\n", chain, proxy_port(c->mesh->link[j][i]));
        }
    buf_puts(&b, "COMMIT\n");
    const char *const argv[] = { "iptables-restore", "-w", "--noflush", NULL };
    int rc = tool_run(argv, buf_str(&b), text, sizeof text, TOOL_MS, err);
    buf_release(&b);
    if (rc > 0) {
        text[strcspn(text, "\n")] = 0;
        rc = err_set(err, E_DENIED, "iptables-restore: %s", text);
    }
    return rc;
}

static uint64_t dropped(const char *chain)
{
    static char text[65536];
    const char *const argv[] = { "iptables", "-w", "-n", "-v", "-x", "-L", chain, NULL };
    uint64_t sum = 0;
    if (tool_run(argv, NULL, text, sizeof text, TOOL_MS, NULL) != 0) return 0;
    for (char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        char *end = NULL;
        while (*line == ' ') line++;
        uint64_t packets = isdigit((unsigned char)*line) ? strtoull(line, &end, 10) : 0;
        const char *drop = strstr(line, "DROP"), *eol = strchr(line, '\n');
        if (drop && (eol == NULL || drop < eol)) sum += packets;
    }
    return sum;
}

static void set_proxies(struct cut *c, bool on)
{
    struct proxy_fault f = { .cut = on };
    for (int i = 0; i < MESH_NODES; i++)
        for (int j = 0; j < MESH_NODES; j++) {
            if (i == j || (c->from_to[i] & 1u << j) == 0) continue;
            proxy_fault_set(c->mesh->link[i][j], PROXY_THERE, &f);
            proxy_fault_set(c->mesh->link[j][i], PROXY_BACK, &f);
        }
}

static uint64_t held(const struct cut *c)
{
    uint64_t sum = 0;
    for (int i = 0; i < MESH_NODES; i++)
        for (int j = 0; j < MESH_NODES; j++) {
            if (i == j || (c->from_to[i] & 1u << j) == 0) continue;
            sum += proxy_counts(c->mesh->link[i][j], PROXY_THERE)->held;
            sum += proxy_counts(c->mesh->link[j][i], PROXY_BACK)->held;
        }
    return sum;
}

int cut_begin(struct cut *c, struct mesh *m, enum cut_tool tool, const unsigned from_to[3], struct err *err)
{
    *c = (struct cut){ .mesh = m, .tool = tool, .on = true };
    memcpy(c->from_to, from_to, sizeof c->from_to);
    if (tool == CUT_IPTABLES) return cut_tables(c, err);
    set_proxies(c, true);
    return 0;
}

int cut_end(struct cut *c, uint64_t *ret_held, struct err *err)
{
    char chain[32];
    struct err why = { 0 };
    if (ret_held) *ret_held = 0;
    if (!c->on) return 0;
    c->on = false;
    if (c->tool == CUT_PROXY) {
        if (ret_held) *ret_held = held(c);
        set_proxies(c, false);
        return 0;
    }
    chain_name(chain);
    if (ret_held) *ret_held = dropped(chain);
    const char *const unhook[] = { "iptables", "-w", "-D", "INPUT", "-i", "lo", "-j", chain, NULL };
    int rc = tables(unhook, NULL, 0, &why);
    remove_chain(chain);
    return rc ? err_set(err, rc, "a cut could not be healed: %s", why.msg) : 0;
}
