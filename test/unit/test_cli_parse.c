/* The command line: what is given where, what is refused and in which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "cli/help.h"
#include "cli/parse.h"

#define ARGS_MAX 24

static const char *const shells[] = { "bash", "zsh", NULL };
static const char *const not_daemon[] = { "daemon", "rollback", NULL };

static int never(const struct cli_call *c, void *data)
{
    (void)c;
    (void)data;
    return 70;
}

static const struct cli_option run_options[] = {
    { .name = "port", .kind = CLI_UINT, .dflt = "9077", .max = 65535, .env = "RUN_PORT", .doc = "Port" },
    { .name = "cert", .requires = "key", .doc = "Certificate" },
    { .name = "key", .requires = "cert", .doc = "Key" },
    { .name = "peers", .many = true, .doc = "Peers" },
    { .name = "once", .kind = CLI_FLAG, .conflicts = not_daemon, .doc = "Once" },
    { .name = "daemon", .kind = CLI_FLAG, .doc = "For ever" },
    { .name = "rollback", .doc = "Undo" },
    { 0 },
};
static const struct cli_option shell_options[] = {
    { .name = "shell", .positional = true, .required = true, .words = shells, .doc = "Shell" },
    { 0 },
};
static const struct cli_option show_options[] = {
    { .name = "limit", .kind = CLI_UINT, .dflt = "50", .letter = 'l', .doc = "Rows" },
    { 0 },
};
static const struct cli_command own[] = {
    { "run", "Run", run_options, never },          { "words", "Words", shell_options, never },
    { "shelf show", "Show", show_options, never }, { "shelf clear", "Clear", NULL, never },
    { "agents list", "List", NULL, never },        { 0 },
};
static const struct spec spec = { own };
static struct parsed parsed;

/* Words divided by one blank; "_" stands for an empty one. */
static enum parse_outcome parse(const char *line)
{
    static char text[512];
    char *argv[ARGS_MAX] = { "ai-memory" };
    int argc = 1;
    parse_release(&parsed);
    snprintf(text, sizeof(text), "%s", line);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        assert_true(argc < ARGS_MAX);
        argv[argc++] = strcmp(word, "_") == 0 ? "" : word;
    }
    parse_args(&parsed, &spec, argc, argv);
    return parsed.outcome;
}

static const char *given(const char *name)
{
    const char *text = NULL;
    for (unsigned i = 0; i < parsed.given.count; i++)
        if (strcmp(parsed.given.item[i].option->name, name) == 0) text = parsed.given.item[i].text;
    return text;
}

#define ASSERT_RUN(line)                                                                                  \
    do {                                                                                                  \
        if (parse(line) != PARSE_RUN) fail_msg("%s: outcome %d, %s", line, parsed.outcome, parsed.error); \
    } while (0)

static void assert_wrong(const char *line, const char *error)
{
    if (parse(line) != PARSE_WRONG) fail_msg("%s: taken", line);
    if (strncmp(parsed.error, error, strlen(error)) != 0) fail_msg("%s: %s", line, parsed.error);
}

static void values_in_every_form(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "store -T t -c x -n a/b -p 7",
        "store --title t --content x --namespace a/b --priority 7",
        "store --title=t --content=x -n=a/b -p7",
        "store -Tt -cx -na/b -p=7",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        ASSERT_RUN(lines[i]);
        assert_string_equal(given("title"), "t");
        assert_string_equal(given("content"), "x");
        assert_string_equal(given("namespace"), "a/b");
        assert_string_equal(given("priority"), "7");
        assert_string_equal(parsed.command.op->name, "create");
    }
}

static void dashes(void **state)
{
    (void)state;
    ASSERT_RUN("store -T -dash -c --two");
    assert_string_equal(given("title"), "-dash");
    assert_string_equal(given("content"), "--two");
    ASSERT_RUN("store -T --json -c -");
    assert_string_equal(given("title"), "--json");
    assert_null(parsed.global[GLOBAL_JSON]);
    ASSERT_RUN("recall -odd --json");
    assert_string_equal(given("context"), "-odd");
    assert_non_null(parsed.global[GLOBAL_JSON]);
    ASSERT_RUN("recall -");
    assert_string_equal(given("context"), "-");
    ASSERT_RUN("get -- --json");
    assert_string_equal(given("id"), "--json");
    ASSERT_RUN("--agent-id - stats");
    assert_string_equal(parsed.global[GLOBAL_AGENT], "-");
}

static void globals_stand_anywhere(void **state)
{
    (void)state;
    ASSERT_RUN("--db one --json get x --db two --agent-id a");
    assert_string_equal(parsed.global[GLOBAL_DB], "two");
    assert_string_equal(parsed.global[GLOBAL_AGENT], "a");
    assert_string_equal(given("id"), "x");
    ASSERT_RUN("--agent-id me list --agent-id you");
    assert_string_equal(parsed.global[GLOBAL_AGENT], "me");
    assert_string_equal(given("agent-id"), "you");
    ASSERT_RUN("--agent-id _ stats");
    assert_string_equal(parsed.global[GLOBAL_AGENT], "");
    ASSERT_RUN("--json shelf --db d show --json -l3");
    assert_string_equal(given("limit"), "3");
}

static void wrong_usage(void **state)
{
    (void)state;
    assert_wrong("nosuch", "unrecognized subcommand 'nosuch'");
    assert_wrong("stor", "unrecognized subcommand 'stor'");
    assert_wrong("--nosuch stats", "unexpected argument '--nosuch' found");
    assert_wrong("store --titl x -c y", "unexpected argument '--titl' found");
    assert_wrong("store -n n -T t", "the following required arguments were not provided:\n  --content <CONTENT>");
    assert_wrong("get", "the following required arguments were not provided:\n  <ID>");
    assert_wrong("store -T a -T b -c x", "the argument '--title <TITLE>' cannot be used multiple times");
    assert_wrong("--json --json stats", "the argument '--json' cannot be used multiple times");
    assert_wrong("store -T a -c b -p -1", "unexpected argument '-1' found");
    assert_wrong("store -T a -c b --confidence -0.1", "unexpected argument '-0' found");
    assert_wrong("store -T", "a value is required for '--title <TITLE>' but none was supplied");
    assert_wrong("list -n --json", "a value is required for '--namespace <NAMESPACE>' but none was supplied");
    assert_wrong("stats --db", "a value is required for '--db <DB>' but none was supplied");
    assert_wrong("--db _ stats", "a value is required for '--db <DB>' but none was supplied");
    assert_wrong("stats extra", "unexpected argument 'extra' found");
    assert_wrong("get a b", "unexpected argument 'b' found");
    assert_wrong("stats --json=1", "unexpected value '1' for '--json' found");
    assert_wrong("store --version", "unexpected argument '--version' found");
    assert_wrong("store -V", "unexpected argument '-V' found");
    assert_wrong("get \xff", "invalid UTF-8");
}

static void own_commands(void **state)
{
    (void)state;
    assert_wrong("run --port 70000", "invalid value '70000' for '--port <PORT>': 70000 is not in 0..=65535");
    assert_wrong("run --port x", "invalid value 'x' for '--port <PORT>': invalid digit found in string");
    assert_wrong("run --port -1", "unexpected argument '-1' found");
    assert_wrong("run --cert c", "the following required arguments were not provided:\n  --key <KEY>");
    assert_wrong("run --once --daemon", "the argument '--once' cannot be used with '--daemon'");
    assert_wrong("run --once --rollback x", "the argument '--once' cannot be used with '--rollback <ROLLBACK>'");
    assert_wrong("words tcsh", "invalid value 'tcsh' for '<SHELL>'\n");
    ASSERT_RUN("words zsh");
    ASSERT_RUN("run --cert c --key k --peers a,b --peers c --port 1");
    struct cli_call c = { .given = &parsed.given };
    assert_int_equal(cli_number(&c, "port"), 1);
    assert_string_equal(cli_item(&c, "peers", 0), "a");
    assert_string_equal(cli_item(&c, "peers", 2), "c");
    assert_null(cli_item(&c, "peers", 3));
    assert_true(cli_set(&c, "cert"));
    assert_false(cli_flag(&c, "once"));
    ASSERT_RUN("run");
    assert_int_equal(cli_number(&c, "port"), 9077);
    assert_null(cli_value(&c, "cert"));
}

static void groups(void **state)
{
    (void)state;
    ASSERT_RUN("shelf clear");
    assert_string_equal(parsed.command.own->name, "shelf clear");
    assert_int_equal(parse("shelf"), PARSE_LOST);
    assert_wrong("--json shelf",
                 "'ai-memory shelf' requires a subcommand but one was not provided\n  [subcommands: show, clear");
    assert_wrong("shelf nosuch", "unrecognized subcommand 'nosuch'");
    ASSERT_RUN("agents");
    assert_string_equal(parsed.command.op->cli.name, "agents list");
    assert_int_equal(parse(""), PARSE_LOST);
    assert_wrong("--json", "'ai-memory' requires a subcommand");
}

static void every_group_says_what_it_is_for(void **state)
{
    (void)state;
    char group[64];
    for (const struct op *op = op_table; op->name; op++) {
        const char *space = op->cli.name ? strchr(op->cli.name, ' ') : NULL;
        if (space == NULL) continue;
        snprintf(group, sizeof(group), "%.*s", (int)(space - op->cli.name), op->cli.name);
        (void)parse(group);
        if (parsed.command.about[0] == '\0') fail_msg("%s: no description", group);
    }
}

static const char *help_of(const char *line)
{
    static struct buf b;
    if (b.max == 0) buf_init(&b, 1u << 20);
    if (parse(line) != PARSE_HELP) fail_msg("%s: no help: %s", line, parsed.error);
    buf_clear(&b);
    help_text(&b, &spec, &parsed.command);
    return buf_str(&b);
}

static void help_names_every_argument(void **state)
{
    (void)state;
    for (const struct op *op = op_table; op->name; op++) {
        char line[80], option[80];
        if (op->cli.name == NULL) continue;
        snprintf(line, sizeof(line), "%s --help", op->cli.name);
        const char *help = help_of(line);
        snprintf(option, sizeof(option), "Usage: ai-memory %s", op->cli.name);
        assert_non_null(strstr(help, option));
        for (const struct arg *d = op->args; d->name; d++) {
            if (!(d->doors & ON_CLI) || (d->flags & (ARG_POSITIONAL | ARG_HIDDEN)) || d->type == ARG_ITEMS) continue;
            snprintf(option, sizeof(option), "--%s", d->at[DOOR_CLI].name ? d->at[DOOR_CLI].name : d->name);
            if (strstr(help, option) == NULL) fail_msg("%s: %s is not told", op->name, option);
        }
        snprintf(option, sizeof(option), "%.*s", (int)strcspn(op->cli.name, " "), op->cli.name);
        assert_non_null(strstr(help_of("--help"), option)); /* of a group: its name */
    }
}

static void ways_to_ask_for_help(void **state)
{
    (void)state;
    assert_non_null(strstr(help_of("help"), "AI_MEMORY_DB"));
    assert_non_null(strstr(help_of("-h"), "--version"));
    assert_non_null(strstr(help_of("help store"), "--title <TITLE>"));
    assert_non_null(strstr(help_of("shelf help"), "clear"));
    assert_non_null(strstr(help_of("shelf help show"), "--limit"));
    assert_non_null(strstr(help_of("help shelf show"), "--limit"));
    assert_non_null(strstr(help_of("words --help"), "bash, zsh"));
    assert_non_null(strstr(help_of("run --help"), "[env: RUN_PORT]"));
    assert_wrong("help nosuch", "unrecognized subcommand 'nosuch'");
    assert_int_equal(parsed.command.builtin, SPEC_ROOT);
    assert_int_equal(parse("--version"), PARSE_VERSION);
    assert_int_equal(parse("-V"), PARSE_VERSION);
}

static int done(void **state)
{
    (void)state;
    parse_release(&parsed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_in_every_form),
        cmocka_unit_test(dashes),
        cmocka_unit_test(globals_stand_anywhere),
        cmocka_unit_test(wrong_usage),
        cmocka_unit_test(own_commands),
        cmocka_unit_test(groups),
        cmocka_unit_test(every_group_says_what_it_is_for),
        cmocka_unit_test(help_names_every_argument),
        cmocka_unit_test(ways_to_ask_for_help),
    };
    return cmocka_run_group_tests(tests, NULL, done);
}
