/* identity.c - default identities of local callers. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/id.h"
#include "ops/identity.h"

#define NAME_TEXT 256

void identity_init(struct identity *i)
{
    *i = (struct identity){ 0 };
    snprintf(i->digits, sizeof(i->digits), "%08x", (unsigned)(random_u64() & 0xffffffffu));
}

/* Letters, digits and "_.-" stay; every run of others becomes one '-'; none at the ends. */
static void sanitize(const char *name, char out[NAME_TEXT])
{
    size_t len = 0;
    bool gap = false;
    for (; *name && len < NAME_TEXT - 1; name++) {
        unsigned char c = (unsigned char)*name;
        bool fine = c < 0x80 && (isalnum(c) || c == '_' || c == '.' || c == '-');
        if (fine || !gap) out[len++] = fine ? (char)c : '-';
        gap = !fine;
    }
    while (len > 0 && out[len - 1] == '-') len--;
    out[len] = '\0';
    size_t skip = strspn(out, "-");
    memmove(out, out + skip, len - skip + 1);
}

static void host_name(bool anonymize, char out[NAME_TEXT])
{
    char name[NAME_TEXT] = "";
    if (anonymize || gethostname(name, sizeof(name) - 1) != 0) name[0] = '\0';
    sanitize(name, out);
}

static bool made_fits(const struct identity *i, int len)
{
    return len > 0 && (size_t)len < sizeof(i->made);
}

/* The first form that makes a valid id. */
static bool make(struct identity *i, const char *client, bool anonymize)
{
    char host[NAME_TEXT], name[NAME_TEXT];
    int pid = (int)getpid();
    host_name(anonymize, host);
    if (client && client[0]) {
        sanitize(client, name);
        const char *at = host[0] ? host : "unknown";
        if (made_fits(i, snprintf(i->made, sizeof(i->made), "ai:%s@%s:pid-%d", name, at, pid))) return false;
    }
    if (host[0] && made_fits(i, snprintf(i->made, sizeof(i->made), "host:%s:pid-%d-%s", host, pid, i->digits)))
        return false;
    snprintf(i->made, sizeof(i->made), "anonymous:pid-%d-%s", pid, i->digits);
    return true;
}

void identity_resolve(struct identity *i, const char *given, const char *client, bool anonymize, struct caller *c)
{
    c->agent_error = NULL;
    c->anonymous = false;
    if (given && given[0]) {
        c->agent_id = given;
        if (rule_agent_id(given, strlen(given), &i->err)) c->agent_error = i->err.msg;
        return;
    }
    c->anonymous = make(i, client, anonymize);
    c->agent_id = i->made;
}
