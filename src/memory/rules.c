/* rules.c - what a value must be to be stored, with the texts clients know. Callers trim titles, namespaces and tags
 * with text_trim before they store them; the rules look at the trimmed text whatever they are given.
 *
 * Clean: no control characters but newline and tab; in content carriage returns too, for text written on Windows. */
#include "memory.h"

#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "memory/utf8.h"

#define NAME_CHARS_MAX 512
#define TEXT_BYTES_MAX 65536
#define SHORT_BYTES_MAX 64
#define ID_BYTES_MAX 128
#define TAGS_MAX 50
#define DEPTH_MAX 32
#define SEGMENTS_MAX 8
#define TTL_SECS_MAX 31536000

#define PRINT(s, len) (int)((len) > 1024 ? 1024 : (len)), (s)

static const char *const tier_names[] = { "short", "mid", "long" };

const char *tier_name(enum tier t)
{
    CHECK(t >= TIER_SHORT && t <= TIER_LONG);
    return tier_names[t];
}

int tier_parse(const char *word, enum tier *ret)
{
    for (size_t i = 0; word != NULL && i < ARRAY_LEN(tier_names); i++) {
        if (strcmp(word, tier_names[i]) == 0) {
            *ret = (enum tier)i;
            return 0;
        }
    }
    return E_INVALID;
}

size_t text_trim(const char *s, size_t len, const char **ret)
{
    const char *from = s, *end = s + len;

    for (const char *p = from; p < end && utf8_is_space(utf8_next(&p, end)); from = p) continue;
    for (const char *p = end; from < end && utf8_is_space(utf8_before(&p, from)); end = p) continue;
    *ret = from;
    return (size_t)(end - from);
}

static bool is_blank(const char *s, size_t len)
{
    const char *unused;
    return text_trim(s, len, &unused) == 0;
}

/* Eight characters, none of them a control character. */
static bool is_plain(uint64_t x)
{
    return !bytes_high(x) && !bytes_below(x, 0x20) && !bytes_have(x, 0x7f);
}

static bool is_clean(const char *s, size_t len, const char *allowed)
{
    for (const char *p = s, *end = s + len; p < end;) {
        if (end - p >= 8 && is_plain(bytes_load(p))) {
            p += 8;
            continue;
        }
        uint32_t c = utf8_next(&p, end);
        if (utf8_is_control(c) && (c == 0 || c > 0x7f || strchr(allowed, (int)c) == NULL)) return false;
    }
    return true;
}

/* Bytes of the first `max` characters, *ret_more says whether there are others. */
static size_t chars_cut(const char *s, size_t len, size_t max, bool *ret_more)
{
    const char *p = s, *end = s + len;

    while (p < end && max > 0) {
        utf8_next(&p, end);
        max--;
    }
    *ret_more = p < end;
    return (size_t)(p - s);
}

static bool is_word_of(const char *s, size_t len, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(words[i]) == len && memcmp(words[i], s, len) == 0) return true;
    }
    return false;
}

int rule_title(const char *s, size_t len, struct err *err)
{
    bool more;

    len = text_trim(s, len, &s);
    if (len == 0) return err_arg(err, E_INVALID, "title", "title cannot be empty");
    chars_cut(s, len, NAME_CHARS_MAX, &more);
    if (more) return err_arg(err, E_INVALID, "title", "title exceeds max length of %d characters", NAME_CHARS_MAX);
    if (!is_clean(s, len, "\n\t")) return err_arg(err, E_INVALID, "title", "title contains invalid characters");
    return 0;
}

int rule_content(const char *s, size_t len, const char *what, struct err *err)
{
    if (is_blank(s, len)) return err_arg(err, E_INVALID, what, "content cannot be empty");
    if (len > TEXT_BYTES_MAX)
        return err_arg(err, E_INVALID, what, "content exceeds max size of %d bytes", TEXT_BYTES_MAX);
    if (!is_clean(s, len, "\n\t\r")) return err_arg(err, E_INVALID, what, "content contains invalid characters");
    return 0;
}

/* Segment by segment: *ret_depth counts them; says what is wrong with one, or NULL. */
static const char *segments_check(const char *s, size_t len, int *ret_depth)
{
    const char *wrong = NULL;

    *ret_depth = 0;
    for (size_t at = 0; at <= len;) {
        const char *p = s + at, *slash = memchr(p, '/', len - at);
        size_t n = slash ? (size_t)(slash - p) : len - at;
        if (n == 0) return "cannot contain empty segments (e.g. '//')";
        if ((n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            wrong = "segments '.' and '..' are not allowed";
        *ret_depth += 1;
        at += n + 1;
    }
    return wrong;
}

int rule_namespace(const char *s, size_t len, struct err *err)
{
    const char *arg = "namespace", *wrong;
    bool more;
    int depth;

    len = text_trim(s, len, &s);
    if (len == 0) return err_arg(err, E_INVALID, arg, "namespace cannot be empty");
    chars_cut(s, len, NAME_CHARS_MAX, &more);
    if (more) return err_arg(err, E_INVALID, arg, "namespace exceeds max length of %d characters", NAME_CHARS_MAX);
    if (memchr(s, '\\', len) || memchr(s, 0, len))
        return err_arg(err, E_INVALID, arg, "namespace cannot contain backslashes or null bytes");
    if (memchr(s, ' ', len))
        return err_arg(err, E_INVALID, arg, "namespace cannot contain spaces (use hyphens or underscores)");
    /* Clients of the original are known to store below names with a tab; no other control character is a name's. */
    if (!is_clean(s, len, "\t")) return err_arg(err, E_INVALID, arg, "namespace contains invalid control characters");
    if (s[0] == '/') return err_arg(err, E_INVALID, arg, "namespace cannot start with '/' (normalize input first)");
    if (s[len - 1] == '/') return err_arg(err, E_INVALID, arg, "namespace cannot end with '/' (normalize input first)");
    if ((wrong = segments_check(s, len, &depth)) != NULL) return err_arg(err, E_INVALID, arg, "namespace %s", wrong);
    if (depth > SEGMENTS_MAX)
        return err_arg(err, E_INVALID, arg, "namespace depth %d exceeds max of %d", depth, SEGMENTS_MAX);
    return 0;
}

int rule_source(const char *s, size_t len, bool own_sources, struct err *err)
{
    static const char *const words[] = { "user",   "claude",        "hook",   "api",  "cli",
                                         "import", "consolidation", "system", "chaos" };
    static const char *const own[] = { "notify",     "mine-claude",      "mine-chatgpt",
                                       "mine-slack", "auto-consolidate", "ai-memory curator (autonomy)" };

    if (is_blank(s, len)) return err_arg(err, E_INVALID, "source", "source cannot be empty");
    if (len > SHORT_BYTES_MAX)
        return err_arg(err, E_INVALID, "source", "source exceeds max length of %d bytes", SHORT_BYTES_MAX);
    if (is_word_of(s, len, words, ARRAY_LEN(words))) return 0;
    if (own_sources && is_word_of(s, len, own, ARRAY_LEN(own))) return 0;
    return err_arg(err, E_INVALID, "source",
                   "invalid source '%.*s' \u2014 must be one of: user, claude, hook, api, cli, import, consolidation, "
                   "system, chaos",
                   PRINT(s, len));
}

int rule_tag(const char *s, size_t len, struct err *err)
{
    bool more;

    len = text_trim(s, len, &s);
    if (len == 0) return err_arg(err, E_INVALID, "tags", "tags cannot contain empty strings");
    if (len > ID_BYTES_MAX)
        return err_arg(err, E_INVALID, "tags", "tag '%.*s...' exceeds max length of %d bytes",
                       PRINT(s, chars_cut(s, len, 20, &more)), ID_BYTES_MAX);
    if (!is_clean(s, len, "\n\t")) return err_arg(err, E_INVALID, "tags", "tag contains invalid characters");
    return 0;
}

int rule_tags_count(size_t count, struct err *err)
{
    if (count > TAGS_MAX) return err_arg(err, E_INVALID, "tags", "too many tags (max %d)", TAGS_MAX);
    return 0;
}

int rule_priority(int64_t n, struct err *err)
{
    if (n < 1 || n > 10)
        return err_arg(err, E_INVALID, "priority", "priority must be between 1 and 10 (got %lld)", (long long)n);
    return 0;
}

int rule_confidence(double x, struct err *err)
{
    struct buf text;
    int rc;

    if (!isfinite(x)) return err_arg(err, E_INVALID, "confidence", "confidence must be a finite number");
    if (x >= 0.0 && x <= 1.0) return 0;
    buf_init(&text, 64);
    json_print_double(&text, x);
    size_t len = text.len;
    if (len > 2 && memcmp(text.data + len - 2, ".0", 2) == 0) len -= 2;
    rc = err_arg(err, E_INVALID, "confidence", "confidence must be between 0.0 and 1.0 (got %.*s)", (int)len,
                 buf_str(&text));
    buf_release(&text);
    return rc;
}

int rule_expires_update(const char *s, size_t len, struct err *err)
{
    int64_t us;

    if (time_parse(s, len, &us) != 0)
        return err_arg(err, E_INVALID, "expires_at", "expires_at is not valid RFC3339: '%.*s'", PRINT(s, len));
    return 0;
}

int rule_expires_create(const char *s, size_t len, int64_t now_us, struct err *err)
{
    int64_t us;
    int rc = rule_expires_update(s, len, err);

    if (rc != 0) return rc;
    if (time_parse(s, len, &us) == 0 && us < now_us)
        return err_arg(err, E_INVALID, "expires_at", "expires_at is in the past");
    return 0;
}

int rule_ttl(int64_t secs, struct err *err)
{
    if (secs <= 0) return err_arg(err, E_INVALID, "ttl_secs", "ttl_secs must be positive (got %lld)", (long long)secs);
    if (secs > TTL_SECS_MAX) return err_arg(err, E_INVALID, "ttl_secs", "ttl_secs exceeds maximum of 1 year");
    return 0;
}

/* Compact JSON text holds U+0000 only as the escape \u0000. */
static bool has_escaped_nul(const char *s, size_t len)
{
    for (size_t i = 0; i + 1 < len; i++) {
        if (s[i] != '\\') continue;
        if (len - i >= 6 && memcmp(s + i + 1, "u0000", 5) == 0) return true;
        i++;
    }
    return false;
}

int rule_metadata(const char *compact, size_t len, int depth, bool is_object, struct err *err)
{
    if (!is_object) return err_arg(err, E_INVALID, "metadata", "metadata must be a JSON object");
    if (len > TEXT_BYTES_MAX)
        return err_arg(err, E_INVALID, "metadata", "metadata exceeds max size of %d bytes (got %zu)", TEXT_BYTES_MAX,
                       len);
    if (depth > DEPTH_MAX)
        return err_arg(err, E_INVALID, "metadata", "metadata nesting depth exceeds limit of %d (got %d)", DEPTH_MAX,
                       depth);
    if (memchr(compact, 0, len) || has_escaped_nul(compact, len))
        return err_arg(err, E_INVALID, "metadata", "metadata contains invalid characters");
    return 0;
}

int rule_id(const char *s, size_t len, struct err *err)
{
    if (is_blank(s, len)) return err_arg(err, E_INVALID, "id", "id cannot be empty");
    if (len > ID_BYTES_MAX) return err_arg(err, E_INVALID, "id", "id exceeds max length of %d bytes", ID_BYTES_MAX);
    if (!is_clean(s, len, "\n\t")) return err_arg(err, E_INVALID, "id", "id contains invalid characters");
    return 0;
}

/* First byte that is no ASCII letter or digit and none of `signs`; len when there is none. */
static size_t ascii_span(const char *s, size_t len, const char *signs)
{
    size_t i = 0;

    while (i < len && ((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= 'a' && s[i] <= 'z') ||
                       (s[i] != '\0' && strchr(signs, s[i]) != NULL)))
        i++;
    return i;
}

int rule_agent_id(const char *s, size_t len, struct err *err)
{
    size_t good;

    if (len == 0) return err_arg(err, E_INVALID, "agent_id", "agent_id cannot be empty");
    if (len > ID_BYTES_MAX)
        return err_arg(err, E_INVALID, "agent_id", "agent_id exceeds max length of %d bytes", ID_BYTES_MAX);
    good = ascii_span(s, len, "_-:@./");
    if (good < len) {
        bool more;
        return err_arg(err, E_INVALID, "agent_id",
                       "agent_id contains invalid character '%.*s' (allowed: alphanumeric, _-:@./)",
                       PRINT(s + good, chars_cut(s + good, len - good, 1, &more)));
    }
    return 0;
}

int rule_agent_type(const char *s, size_t len, struct err *err)
{
    const char *arg = "agent_type";

    if (is_blank(s, len)) return err_arg(err, E_INVALID, arg, "agent_type cannot be empty");
    if (len > SHORT_BYTES_MAX)
        return err_arg(err, E_INVALID, arg, "agent_type exceeds max length of %d bytes", SHORT_BYTES_MAX);
    if (is_word_of(s, len, (const char *const[]){ "human", "system" }, 2)) return 0;
    if (len >= 3 && memcmp(s, "ai:", 3) == 0) {
        if (len == 3)
            return err_arg(err, E_INVALID, arg, "agent_type 'ai:' must include a name (e.g. 'ai:claude-opus-4.7')");
        if (ascii_span(s + 3, len - 3, "_-.") == len - 3) return 0;
        return err_arg(err, E_INVALID, arg,
                       "agent_type '%.*s' contains invalid characters in the ai: name part (allowed: alphanumeric, "
                       "_-.)",
                       PRINT(s, len));
    }
    return err_arg(err, E_INVALID, arg,
                   "invalid agent_type '%.*s' \u2014 must be one of: ai:claude-opus-4.6, ai:claude-opus-4.7, "
                   "ai:codex-5.4, ai:grok-4.2, human, system (or any ai:<name> form)",
                   PRINT(s, len));
}

int rule_scope(const char *s, size_t len, struct err *err)
{
    static const char *const words[] = { "private", "team", "unit", "org", "collective" };

    if (len == 0) return err_arg(err, E_INVALID, "scope", "scope cannot be empty");
    if (is_word_of(s, len, words, ARRAY_LEN(words))) return 0;
    return err_arg(err, E_INVALID, "scope",
                   "invalid scope '%.*s' \u2014 must be one of: private, team, unit, org, collective", PRINT(s, len));
}

int rule_relation(const char *s, size_t len, struct err *err)
{
    static const char *const words[] = { "related_to", "supersedes", "contradicts", "derived_from" };

    if (is_blank(s, len)) return err_arg(err, E_INVALID, "relation", "relation cannot be empty");
    if (len > SHORT_BYTES_MAX)
        return err_arg(err, E_INVALID, "relation", "relation exceeds max length of %d bytes", SHORT_BYTES_MAX);
    if (is_word_of(s, len, words, ARRAY_LEN(words))) return 0;
    return err_arg(err, E_INVALID, "relation",
                   "invalid relation '%.*s' \u2014 must be one of: related_to, supersedes, contradicts, derived_from",
                   PRINT(s, len));
}

int rule_time(const char *field, const char *s, size_t len, struct err *err)
{
    int64_t us;

    if (time_parse(s, len, &us) != 0) return err_arg(err, E_INVALID, field, "%s is not valid RFC3339", field);
    return 0;
}
