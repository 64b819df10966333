/* log.c - log lines and the ring of the last ones. */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/clock.h"
#include "err.h"

#define LINE_MAX_BYTES 1024
#define KEPT_LINES 64

static FILE *output; /* borrowed; NULL: stderr */
static enum log_level output_level = LOG_WARN;
static char kept[KEPT_LINES][LINE_MAX_BYTES];
static unsigned kept_count; /* lines ever kept; the next goes to kept_count % KEPT_LINES */

void log_start(FILE *to, enum log_level level)
{
    output = to;
    output_level = level;
}

static bool word_is(const char *s, size_t len, const char *word)
{
    return strlen(word) == len && strncasecmp(s, word, len) == 0;
}

static bool level_from_word(const char *s, size_t len, enum log_level *ret)
{
    static const struct {
        const char *word;
        enum log_level level;
    } words[] = {
        { "off", LOG_ERROR }, { "error", LOG_ERROR }, { "warn", LOG_WARN },   { "warning", LOG_WARN },
        { "info", LOG_INFO }, { "debug", LOG_DEBUG }, { "trace", LOG_DEBUG },
    };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!word_is(s, len, words[i].word)) continue;
        *ret = words[i].level;
        return true;
    }
    return false;
}

static bool names_us(const char *s, size_t len)
{
    static const char us[] = "ai_memory";
    size_t us_len = sizeof(us) - 1;
    return len >= us_len && memcmp(s, us, us_len) == 0 && (len == us_len || s[us_len] == ':');
}

int log_level_of(const char *word, enum log_level *ret)
{
    bool any = false, ours = false;
    for (const char *p = word; *p != '\0';) {
        size_t len = strcspn(p, ",");
        const char *item = p;
        p += len + (p[len] == ',');
        while (len > 0 && *item == ' ') item++, len--;
        while (len > 0 && item[len - 1] == ' ') len--;
        if (len == 0) continue;
        const char *equals = memchr(item, '=', len);
        const char *name = equals == NULL ? item : equals + 1;
        enum log_level level;
        if (!level_from_word(name, (size_t)(item + len - name), &level)) return E_INVALID;
        any = true;
        if (equals != NULL && !names_us(item, (size_t)(equals - item))) continue;
        if (equals == NULL && ours) continue; /* the directive with our name wins */
        if (equals != NULL) ours = true;
        *ret = level;
    }
    return any ? 0 : E_INVALID;
}

/* Control characters become blanks: one call, one line, whatever a client sent. */
static void flatten(char *s)
{
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c < 0x20 || c == 0x7f) *s = ' ';
    }
}

void log_line(enum log_level level, const char *area, const char *fmt, ...)
{
    static const char *const names[] = { "ERROR", "WARN", "INFO", "DEBUG" };
    if (level > output_level && level > LOG_INFO) return;
    char *line = kept[kept_count++ % KEPT_LINES];
    char time[TIME_TEXT];
    time_print(time, clock_wall_us(NULL));
    int len = snprintf(line, LINE_MAX_BYTES, "%s %s %s: ", time, names[level], area);
    if (len > 0 && len < LINE_MAX_BYTES) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(line + len, (size_t)(LINE_MAX_BYTES - len), fmt, ap);
        va_end(ap);
    }
    flatten(line);
    if (level > output_level) return;
    FILE *to = output == NULL ? stderr : output;
    fprintf(to, "%s\n", line);
    fflush(to);
}

void log_dump(FILE *to)
{
    unsigned first = kept_count > KEPT_LINES ? kept_count - KEPT_LINES : 0;
    for (unsigned i = first; i != kept_count; i++) fprintf(to, "%s\n", kept[i % KEPT_LINES]);
}
