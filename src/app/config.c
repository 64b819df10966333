/* config.c - the table of settings and its four sources. */
#include "app/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "app/toml.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/json.h"

#define FILE_MAX (1u << 20)
#define TTL_MAX 315360000
#define YEARS 3650000 /* days: far more than anybody keeps */
#define PAGE_BYTES_MAX (8u << 20)
#define OPTIONS_MAX 32

enum setting_type { TEXT, NUMBER, SWITCH, LIST };

struct setting {
    const char *flag; /* of serve; NULL: not on the command line */
    const char *env, *key;
    enum setting_type type;
    const char *dflt;
    int64_t min, max; /* NUMBER: beyond is refused when max != 0 */
    const char *const *words;
    const char *requires;
    size_t offset;
    const char *doc;
};

static const char *const durability_words[] = { "full", "normal", NULL };

#define AT(member) offsetof(struct config, member)
static const struct setting settings[] = {
    { NULL, "AI_MEMORY_DB", "db", TEXT, "ai-memory.db", .offset = AT(db) },
    { NULL, "AI_MEMORY_AGENT_ID", NULL, TEXT, .offset = AT(agent_id) },
    { NULL, "AI_MEMORY_ANONYMIZE", "identity.anonymize_default", SWITCH, "false", .offset = AT(anonymize) },
    { NULL, NULL, "tier", TEXT, .offset = AT(tier) },
    { NULL, NULL, "default_namespace", TEXT, .offset = AT(default_ns) },
    { NULL, NULL, "ttl.short_ttl_secs", NUMBER, "21600", .offset = AT(ttl_secs[TIER_SHORT]) },
    { NULL, NULL, "ttl.mid_ttl_secs", NUMBER, "604800", .offset = AT(ttl_secs[TIER_MID]) },
    { NULL, NULL, "ttl.long_ttl_secs", NUMBER, "0", .offset = AT(ttl_secs[TIER_LONG]) },
    { NULL, NULL, "ttl.short_extend_secs", NUMBER, "3600", .offset = AT(extend_secs[TIER_SHORT]) },
    { NULL, NULL, "ttl.mid_extend_secs", NUMBER, "86400", .offset = AT(extend_secs[TIER_MID]) },
    { NULL, NULL, "archive_on_gc", SWITCH, "true", .offset = AT(archive_on_gc) },
    { NULL, NULL, "archive_max_days", NUMBER, "0", INT64_MIN, YEARS, .offset = AT(archive_max_days) },
    { NULL, "RUST_LOG", NULL, TEXT, .offset = AT(log) },
    { NULL, "AI_MEMORY_API_KEY", "api_key", TEXT, .offset = AT(api_key) },
    { "host", "AI_MEMORY_HOST", "serve.host", TEXT, "127.0.0.1", .offset = AT(host), .doc = "Address to listen on" },
    { "port", "AI_MEMORY_PORT", "serve.port", NUMBER, "9077", 0, 65535, .offset = AT(port),
      .doc = "Port to listen on; 0 takes a free one" },
    { "tls-cert", "AI_MEMORY_TLS_CERT", "serve.tls_cert", TEXT, .requires = "tls-key", .offset = AT(tls_cert),
      .doc = "Certificate, PEM, its chain behind it: everybody is served by https" },
    { "tls-key", "AI_MEMORY_TLS_KEY", "serve.tls_key", TEXT, .requires = "tls-cert", .offset = AT(tls_key),
      .doc = "Its key, PEM" },
    { "mtls-allowlist", "AI_MEMORY_MTLS_ALLOWLIST", "serve.mtls_allowlist", TEXT, .requires = "tls-cert",
      .offset = AT(mtls_allowlist),
      .doc = "SHA-256 fingerprints of the client certificates to accept, one a line; nobody else is served" },
    { "shutdown-grace-secs", NULL, "serve.shutdown_grace_secs", NUMBER, "30", 0, 86400, .offset = AT(grace_secs),
      .doc = "Longest time to finish what is under way when told to stop" },
    { "quorum-writes", "AI_MEMORY_QUORUM_WRITES", "serve.quorum_writes", NUMBER, "0", 0, 1000000,
      .offset = AT(quorum_writes),
      .doc = "Disks a write is on before it is acknowledged; 0: replication waits for nobody" },
    { "quorum-peers", "AI_MEMORY_QUORUM_PEERS", "serve.quorum_peers", LIST, .offset = AT(quorum_peers),
      .doc = "URLs of the other nodes" },
    { "quorum-timeout-ms", "AI_MEMORY_QUORUM_TIMEOUT_MS", "serve.quorum_timeout_ms", NUMBER, "2000", 1, 3600000,
      .offset = AT(quorum_timeout_ms), .doc = "Longest wait for the other disks" },
    { "catchup-interval-secs", "AI_MEMORY_CATCHUP_INTERVAL_SECS", "serve.catchup_interval_secs", NUMBER, "5", 0, 86400,
      .offset = AT(catchup_secs),
      .doc = "Nodes of the original program among the peers are asked for their rows so often; 0: never" },
    { "scrub-interval-secs", "AI_MEMORY_SCRUB_INTERVAL_SECS", "serve.scrub_interval_secs", NUMBER, "600", 0, 86400,
      .offset = AT(scrub_secs), .doc = "All rows are compared with a peer's so often; 0: only when asked for" },
    { "log-ops-max", "AI_MEMORY_LOG_OPS_MAX", "serve.log_ops_max", NUMBER, "1000000", 0, 1000000000,
      .offset = AT(log_ops_max),
      .doc = "Changes of one writer kept for nodes that are away; beyond, they get a snapshot; 0: all" },
    { "log-max-secs", "AI_MEMORY_LOG_MAX_SECS", "serve.log_max_secs", NUMBER, "2592000", 0, 315360000,
      .offset = AT(log_max_secs),
      .doc = "Changes are kept that long for nodes that are away; beyond, they get a snapshot; 0: for ever" },
    { "tombstone-keep-secs", "AI_MEMORY_TOMBSTONE_KEEP_SECS", "serve.tombstone_keep_secs", NUMBER, "86400", 1,
      315360000, .offset = AT(tombstone_secs), .doc = "Deletions are remembered that long at least" },
    { "quorum-client-cert", "AI_MEMORY_QUORUM_CLIENT_CERT", "serve.quorum_client_cert", TEXT,
      .requires = "quorum-client-key", .offset = AT(client_cert), .doc = "Certificate to show to peers by https, PEM" },
    { "quorum-client-key", "AI_MEMORY_QUORUM_CLIENT_KEY", "serve.quorum_client_key", TEXT,
      .requires = "quorum-client-cert", .offset = AT(client_key), .doc = "Its key, PEM" },
    { "quorum-ca-cert", "AI_MEMORY_QUORUM_CA_CERT", "serve.quorum_ca_cert", TEXT, .offset = AT(ca_cert),
      .doc = "Whom to trust for peers by https, PEM: authorities, or their own certificates; default: the system's" },
    { "durability", "AI_MEMORY_DURABILITY", "serve.durability", TEXT, "full", .words = durability_words,
      .offset = AT(durability), .doc = "full: a write is on the disk when acknowledged; normal: soon after" },
    { "cluster-name", "AI_MEMORY_CLUSTER_NAME", "serve.cluster_name", TEXT, "", .offset = AT(cluster_name),
      .doc = "Nodes of another name are refused" },
};
#undef AT

static void *field(const struct setting *s, struct config *c)
{
    return (char *)c + s->offset;
}

/* ---- texts to values -------------------------------------------------------------------------------------------- */
static bool word_in(const char *const *words, const char *text)
{
    for (size_t i = 0; words[i]; i++)
        if (strcasecmp(words[i], text) == 0) return true;
    return false;
}

static int switch_of(const char *text, bool *ret)
{
    static const char *const yes[] = { "1", "true", "yes", "on", NULL }, *const no[] = { "0", "false", "no", "off",
                                                                                         NULL };
    *ret = word_in(yes, text);
    return *ret || word_in(no, text) ? 0 : E_INVALID;
}

/* Parts of a comma list, trimmed, empty ones left out, put behind what is there. */
static void list_add(struct config *c, struct config_list *list, const char *text)
{
    for (const char *p = text; *p;) {
        const char *part;
        size_t len = strcspn(p, ","), part_len = text_trim(p, len, &part);
        if (part_len > 0) {
            const char **grown = arena_alloc(&c->arena, (list->count + 1) * sizeof(*grown));
            CHECK(grown);
            if (list->count) memcpy(grown, list->item, list->count * sizeof(*grown));
            grown[list->count++] = arena_strndup(&c->arena, part, part_len);
            list->item = grown;
        }
        p += len + (p[len] == ',');
    }
}

static int refuse(const struct setting *s, const char *name, const char *text, struct err *err)
{
    if (s->type == NUMBER && s->max)
        return err_set(err, E_INVALID, "%s: '%s' is no number from %lld to %lld", name, text, (long long)s->min,
                       (long long)s->max);
    return err_set(err, E_INVALID, "%s: '%s' is no %s", name, text,
                   s->type == NUMBER ? "whole number"
                   : s->words        ? "known word"
                                     : "true or false");
}

/* A switch in the environment: blanks around the word are fine, and a word that says neither leaves what is set. */
static void set_switch(bool *at, const char *text)
{
    char word[8];
    bool on;
    const char *from;
    size_t len = text_trim(text, strlen(text), &from);
    if (len >= sizeof(word)) return;
    memcpy(word, from, len);
    word[len] = '\0';
    if (len == 0)
        *at = false;
    else if (switch_of(word, &on) == 0)
        *at = on;
}

/* One setting from text; `name` says in errors where it came from. */
static int set_text(struct config *c, const struct setting *s, const char *name, const char *text, struct err *err)
{
    char *stop;
    long long n;
    switch (s->type) {
    case TEXT:
        if (s->words && !word_in(s->words, text)) return refuse(s, name, text, err);
        *(const char **)field(s, c) = arena_strdup(&c->arena, text);
        return 0;
    case SWITCH: return switch_of(text, field(s, c)) ? refuse(s, name, text, err) : 0;
    case LIST:
        *(struct config_list *)field(s, c) = (struct config_list){ 0 };
        list_add(c, field(s, c), text);
        return 0;
    case NUMBER: break;
    }
    errno = 0;
    n = strtoll(text, &stop, 10);
    if (stop == text || *stop || errno || (s->max && (n < s->min || n > s->max))) return refuse(s, name, text, err);
    *(int64_t *)field(s, c) = n;
    return 0;
}

/* ---- the file --------------------------------------------------------------------------------------------------- */
static int read_file(const char *path, struct buf *b, bool *ret_found, struct err *err)
{
    FILE *f = fopen(path, "rb");
    *ret_found = f != NULL;
    if (f == NULL) return errno == ENOENT || errno == ENOTDIR ? 0 : err_set(err, E_IO, "%s", strerror(errno));
    char chunk[4096];
    size_t n;
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0) buf_put(b, chunk, n);
    int rc = ferror(f) ? err_set(err, E_IO, "%s", strerror(errno)) : 0;
    if (rc == 0 && b->failed) rc = err_set(err, E_TOO_LARGE, "the file is larger than %u bytes", FILE_MAX);
    fclose(f);
    return rc;
}

static json_t *look_up(json_t *root, const char *key)
{
    const char *dot = strchr(key, '.');
    if (dot == NULL) return json_object_get(root, key);
    char table[32];
    snprintf(table, sizeof(table), "%.*s", (int)(dot - key), key);
    return json_object_get(json_object_get(root, table), dot + 1);
}

static int set_list(struct config *c, const struct setting *s, const json_t *list, struct err *err)
{
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        if (!json_is_string(item)) return err_set(err, E_TYPE, "%s: not a list of strings", s->key);
        list_add(c, field(s, c), json_string_value(item));
    }
    return 0;
}

static int set_value(struct config *c, const struct setting *s, const json_t *v, struct err *err)
{
    bool fits = s->type == NUMBER ? json_is_integer(v) : s->type == SWITCH ? json_is_boolean(v) : json_is_string(v);
    if (s->type == LIST && json_is_array(v)) return set_list(c, s, v, err);
    if (!fits)
        return err_set(err, E_TYPE, "%s: a %s is no %s", s->key, json_kind(v),
                       s->type == NUMBER   ? "whole number"
                       : s->type == SWITCH ? "true or false"
                                           : "string");
    struct buf b;
    buf_init(&b, FILE_MAX);
    if (json_is_string(v))
        buf_puts(&b, json_string_value(v));
    else
        json_print(&b, v);
    int rc = set_text(c, s, s->key, buf_str(&b), err);
    buf_release(&b);
    return rc;
}

static int apply_file(struct config *c, const char *home, const struct buf *text, struct err *err)
{
    json_t *root = toml_read(text->data ? text->data : "", text->len, err);
    int rc = root ? 0 : err->code;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(settings); i++) {
        const json_t *v = settings[i].key ? look_up(root, settings[i].key) : NULL;
        if (v) rc = set_value(c, &settings[i], v, err);
    }
    if (rc == 0 && json_object_get(root, "db") && strncmp(c->db, "~/", 2) == 0)
        c->db = arena_printf(&c->arena, "%s%s", home, c->db + 1);
    if (rc == 0 && json_object_get(root, "api_key") && c->api_key[0] == '\0')
        rc = err_set(err, E_INVALID, "api_key: an empty key would let everybody in; leave it out to need none");
    json_decref(root);
    return rc;
}

static int load_file(struct config *c, struct err *err)
{
    const char *home = getenv("HOME");
    struct buf text;
    bool found;
    if (getenv("AI_MEMORY_NO_CONFIG") || home == NULL || home[0] == '\0') return 0;
    const char *path = arena_printf(&c->arena, "%s/.config/ai-memory/config.toml", home);
    buf_init(&text, FILE_MAX);
    int rc = read_file(path, &text, &found, err);
    if (rc == 0 && found) rc = apply_file(c, home, &text, err);
    if (rc)
        err_wrap(err, "config parse error (%s)", path);
    else if (found)
        c->file = path;
    buf_release(&text);
    return rc;
}

/* ---- all sources ------------------------------------------------------------------------------------------------ */
static int load_environment(struct config *c, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const struct setting *s = &settings[i];
        const char *text = s->env ? getenv(s->env) : NULL;
        /* an empty path is refused where a database is wanted; elsewhere empty is as good as not given */
        if (text == NULL || (text[0] == '\0' && s->offset != offsetof(struct config, db))) {
            if (text && s->type == SWITCH) *(bool *)field(s, c) = false;
            continue;
        }
        int rc = 0;
        if (s->type == SWITCH)
            set_switch(field(s, c), text);
        else
            rc = set_text(c, s, s->env, text, err);
        if (rc) return rc;
    }
    return 0;
}

int config_load(struct config *c, struct err *err)
{
    memset(c, 0, sizeof(*c));
    arena_init(&c->arena, 16u << 20);
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (settings[i].dflt) CHECK(set_text(c, &settings[i], "default", settings[i].dflt, err) == 0);
    int rc = load_file(c, err);
    if (rc == 0) rc = load_environment(c, err);
    if (rc) {
        config_release(c);
        memset(c, 0, sizeof(*c));
    }
    return rc;
}

void config_release(struct config *c)
{
    arena_release(&c->arena);
}

const struct cli_option *config_serve_options(void)
{
    static struct cli_option options[OPTIONS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const struct setting *s = &settings[i];
        if (s->flag == NULL) continue;
        CHECK(n < OPTIONS_MAX - 1);
        options[n++] = (struct cli_option){
            .name = s->flag,
            .doc = s->doc,
            .kind = s->type == NUMBER ? CLI_UINT : CLI_TEXT,
            .many = s->type == LIST,
            .dflt = s->dflt && s->dflt[0] ? s->dflt : NULL,
            .words = s->words,
            .min = s->min,
            .max = s->max,
            .env = s->env,
            .requires = s->requires,
        };
    }
    return options;
}

static const char *text_at(const struct setting *s, struct config *c)
{
    const char *text = *(const char **)field(s, c);
    return text && text[0] ? text : NULL;
}

/* What needs another one, wherever each comes from: the command line has looked at itself only. */
static int check_pairs(struct config *c, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const struct setting *s = &settings[i];
        if (s->requires == NULL || text_at(s, c) == NULL) continue;
        for (size_t k = 0; k < ARRAY_LEN(settings); k++)
            if (settings[k].flag && strcmp(settings[k].flag, s->requires) == 0 && text_at(&settings[k], c) == NULL)
                return err_set(err, E_INVALID, "%s is set (%s) and %s is not", s->flag, text_at(s, c), s->requires);
    }
    return 0;
}

int config_serve(struct config *c, const struct cli_call *call, struct err *err)
{
    c->db = call->db;
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const struct setting *s = &settings[i];
        if (s->flag == NULL || !cli_set(call, s->flag)) continue;
        if (s->type == LIST) {
            const char *item;
            *(struct config_list *)field(s, c) = (struct config_list){ 0 };
            for (unsigned k = 0; (item = cli_item(call, s->flag, k)) != NULL; k++) list_add(c, field(s, c), item);
            continue;
        }
        int rc = set_text(c, s, s->flag, cli_value(call, s->flag), err);
        if (rc) return rc;
    }
    return check_pairs(c, err);
}

void config_limits(const struct config *c, struct limits *ret)
{
    *ret = (struct limits){ .archive_on_gc = c->archive_on_gc,
                            .archive_days = c->archive_max_days,
                            .gone_keep_secs = c->tombstone_secs,
                            .page_bytes_max = PAGE_BYTES_MAX };
    for (int i = 0; i < 3; i++) {
        int64_t ttl = c->ttl_secs[i], extend = c->extend_secs[i];
        ret->lifetimes.ttl_secs[i] = ttl < 0 ? 0 : ttl > TTL_MAX ? TTL_MAX : ttl;
        ret->lifetimes.extend_secs[i] = extend < 0 ? 0 : extend > TTL_MAX ? TTL_MAX : extend;
    }
}
