/* help.c - what --help prints. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "cli/help.h"

#define COLUMN_MAX 34 /* docs of longer options begin on a line of their own */

void help_usage(struct buf *b, const struct spec_command *c)
{
    char shown[160];
    buf_printf(b, "Usage: ai-memory%s%s [OPTIONS]", c->name[0] ? " " : "", c->name);
    for (unsigned i = 0; i < c->options; i++) {
        if (c->option[i].positional || !c->option[i].required) continue;
        spec_print(&c->option[i], shown, sizeof(shown));
        buf_printf(b, " %s", shown);
    }
    for (unsigned i = 0; i < c->options; i++) {
        const struct spec_option *o = &c->option[i];
        if (o->positional)
            buf_printf(b, o->required ? " <%s>%s" : " [%s]%s", o->value, o->many && o->arg < 0 ? "..." : "");
    }
    if (c->builtin != SPEC_ROW) buf_puts(b, c->builtin == SPEC_HELP ? " [COMMAND]..." : " <COMMAND>");
    buf_putc(b, '\n');
}

static void put_column(struct buf *b, const char *left, size_t width)
{
    size_t len = strlen(left);
    buf_printf(b, "  %s", left);
    if (len > width) {
        buf_putc(b, '\n');
        len = 0;
        buf_puts(b, "  ");
    }
    for (; len < width + 2; len++) buf_putc(b, ' ');
}

static void left_of(const struct spec_option *o, char *out, size_t size)
{
    char shown[160], letter[8] = "    ";
    spec_print(o, shown, sizeof(shown));
    if (o->letter) snprintf(letter, sizeof(letter), "-%c, ", o->letter);
    snprintf(out, size, "%s%s", o->positional ? "" : letter, shown);
}

static void put_option(struct buf *b, const struct spec_option *o, size_t width)
{
    char left[200];
    if (o->doc == NULL) return;
    left_of(o, left, sizeof(left));
    put_column(b, left, width);
    buf_puts(b, o->doc);
    if (o->reads_stdin) buf_puts(b, "; - reads standard input");
    if (o->words) {
        for (size_t i = 0; o->words[i]; i++) buf_printf(b, "%s%s", i ? ", " : " [possible values: ", o->words[i]);
        buf_putc(b, ']');
    }
    if (o->env) buf_printf(b, " [env: %s]", o->env);
    if (o->dflt && o->dflt[0] && o->kind != CLI_FLAG) buf_printf(b, " [default: %s]", o->dflt);
    buf_putc(b, '\n');
}

static size_t widest(const struct spec_command *c)
{
    size_t width = strlen("    --db-passphrase-file <PATH>");
    for (unsigned i = 0; i < c->options; i++) {
        char left[200];
        left_of(&c->option[i], left, sizeof(left));
        size_t len = strlen(left);
        if (c->option[i].doc && len > width && len <= COLUMN_MAX) width = len;
    }
    return width;
}

static void put_command(void *data, const char *name, const char *about)
{
    put_column(data, name, 16);
    buf_printf(data, "%s\n", about);
}

void help_text(struct buf *b, const struct spec *s, const struct spec_command *c)
{
    size_t width = widest(c);
    bool any = false;
    buf_printf(b, "%s\n\n", c->about ? c->about : "");
    help_usage(b, c);
    if (c->builtin == SPEC_ROOT || c->builtin == SPEC_GROUP) {
        buf_puts(b, "\nCommands:\n");
        spec_each(s, c->name, put_command, b);
    }
    for (unsigned i = 0; i < c->options; i++) {
        if (!c->option[i].positional) continue;
        buf_puts(b, any ? "" : "\nArguments:\n");
        put_option(b, &c->option[i], width);
        any = true;
    }
    buf_puts(b, "\nOptions:\n");
    for (unsigned i = 0; i < c->options; i++)
        if (!c->option[i].positional) put_option(b, &c->option[i], width);
    for (unsigned i = 0; i < GLOBALS; i++)
        if (spec_option(c, spec_globals[i].name, strlen(spec_globals[i].name)) == NULL)
            put_option(b, &spec_globals[i], width);
    put_column(b, "-h, --help", width);
    buf_puts(b, "Show help\n");
    if (c->builtin != SPEC_ROOT) return;
    put_column(b, "-V, --version", width);
    buf_puts(b, "Show the version\n");
}
