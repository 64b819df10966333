/* client_url.c - http[s]://host[:port][/prefix] taken apart. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "net/client.h"

static int bad(struct err *err, const char *url, const char *why)
{
    return err_set(err, E_INVALID, "invalid URL '%.200s': %s", url, why);
}

static bool is_host_char(char c, bool literal)
{
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '.') return true;
    return literal ? c == ':' : c == '-' || c == '_';
}

/* Copies a host in lower case. ret_end: behind it (and its bracket). Returns why it is wrong, or NULL. */
static const char *take_host(struct client_url *u, const char *at, const char **ret_end)
{
    bool literal = *at == '[';
    if (literal) at++;
    size_t len = strcspn(at, literal ? "]/?#" : ":/?#");
    if (len == 0) return "no host";
    if (len >= sizeof u->host) return "host name too long";
    for (size_t i = 0; i < len; i++) {
        char c = at[i] >= 'A' && at[i] <= 'Z' ? (char)(at[i] + 32) : at[i];
        if (!is_host_char(c, literal)) return "bad character in host";
        u->host[i] = c;
    }
    u->host[len] = '\0';
    if (literal && at[len] != ']') return "']' missing";
    *ret_end = at + len + (literal ? 1 : 0);
    return NULL;
}

static const char *take_port(struct client_url *u, const char *at, const char **ret_end)
{
    unsigned port = 0;
    u->port = u->tls ? 443 : 80;
    *ret_end = at;
    if (*at != ':') return NULL;
    at++;
    if (*at < '0' || *at > '9') return "bad port";
    while (*at >= '0' && *at <= '9') {
        port = port * 10 + (unsigned)(*at++ - '0');
        if (port > 65535) return "bad port";
    }
    if (port == 0) return "bad port";
    u->port = (uint16_t)port;
    *ret_end = at;
    return NULL;
}

static const char *take_prefix(struct client_url *u, const char *at)
{
    if (*at == '\0') return NULL;
    if (*at == '?') return "a query is not supported";
    if (*at == '#') return "a fragment is not supported";
    if (*at != '/') return "bad port";
    size_t len = strlen(at);
    while (len > 0 && at[len - 1] == '/') len--;
    if (len >= sizeof u->prefix) return "path too long";
    for (size_t i = 0; i < len; i++) {
        if (at[i] == '?') return "a query is not supported";
        if (at[i] == '#') return "a fragment is not supported";
        if ((unsigned char)at[i] <= ' ' || (unsigned char)at[i] >= 0x7f) return "bad character in path";
    }
    memcpy(u->prefix, at, len);
    u->prefix[len] = '\0';
    return NULL;
}

int client_url_parse(const char *url, struct client_url *ret, struct err *err)
{
    *ret = (struct client_url){ .port = 0 };
    ret->tls = strncasecmp(url, "https://", 8) == 0;
    if (!ret->tls && strncasecmp(url, "http://", 7) != 0)
        return bad(err, url, "it must begin with http:// or https://");
    const char *at = url + (ret->tls ? 8 : 7);
    size_t authority = strcspn(at, "/?#");
    if (memchr(at, '@', authority) != NULL) return bad(err, url, "user information is not supported");
    const char *why = take_host(ret, at, &at);
    if (why == NULL) why = take_port(ret, at, &at);
    if (why == NULL) why = take_prefix(ret, at);
    if (why != NULL) return bad(err, url, why);
    bool literal = strchr(ret->host, ':') != NULL;
    char port[8] = "";
    if (ret->port != (ret->tls ? 443 : 80)) snprintf(port, sizeof port, ":%u", ret->port);
    snprintf(ret->authority, sizeof ret->authority, literal ? "[%s]%s" : "%s%s", ret->host, port);
    return 0;
}
