/* main.c - ai-memory-chaos: the command line of the harness. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "campaign.h"
#include "check.h"
#include "classic.h"
#include "fault.h"
#include "files.h"
#include "soak.h"

static const char help[] =
    "ai-memory-chaos gate [options]   the ship gate: phases, evidence, verdict\n"
    "ai-memory-chaos soak --hours H [options]   campaigns with changing seeds beside a mesh that lives on; fails on "
    "drift\n"
    "ai-memory-chaos check DIR        judges one cycle's evidence again (history.jsonl and dumps), nothing else\n"
    "ai-memory-chaos --list           every fault class, what it does\n"
    "\n"
    "  --bin FILE          the program to test [env AI_MEMORY_BIN, default build/release/ai-memory]\n"
    "  --out DIR           where the evidence goes [default runs/<date-time>]; must not hold a campaign\n"
    "  --phases 1,2,3,4    [default: 2 and 4, and 1 when the program has its commands]\n"
    "  --cycles N          of each class [50]\n"
    "  --writes M          of each cycle [100]\n"
    "  --faults A,B|gate|all   classes of phase 4 [gate: the four of the ship gate]\n"
    "  --cut iptables|proxy|auto   what cuts links: packet filter rules or the link proxies alone; auto: rules where\n"
    "                      permitted [iptables]\n"
    "  --seed K            of everything that is chosen by chance [random]\n"
    "  --timeout-ms T      quorum time-out of the nodes [3000]\n"
    "  --settle-ms T       how long the nodes may take to agree after a fault [30000]\n"
    "  --ready-ms T        how long a node may take until it answers first [20000]\n"
    "  --keep              keep the evidence of every cycle, passed ones too\n"
    "  --ref TEXT          what is tested, for the report [git describe]\n"
    "\n"
    "Exit: 0 passed, 1 failed, 2 a wrong command line. Environment: WORKDIR (scratch), N0_PORT, N1_PORT, N2_PORT (the\n"
    "nodes' ports), FAKETIME_LIB (libfaketimeMT.so.1, if it lies elsewhere than in Debian). What the report files hold "
    "and\n"
    "how to read them: chaos/README.md.\n";

static int list_classes(void)
{
    for (const struct fault_class *f = fault_classes(); f->name; f++) {
        printf("%s%s\n", f->name, f->flags & FAULT_GATE ? "  (ship gate)" : "");
        const char *second = strchr(f->text, '\n');
        printf("    %.*s\n    %s\n", (int)(second ? second - f->text : (long)strlen(f->text)), f->text,
               second ? second + 1 : "");
        printf("    Availability: %s.\n", f->expects ? f->expects : "at least 0.995, or it fails");
    }
    return 0;
}

static int check_again(const char *dir)
{
    struct err err = { 0 };
    json_t *verdict = NULL;
    struct buf b;
    if (check_run(dir, &verdict, &err) != 0) {
        fprintf(stderr, "chaos: %s\n", err.msg);
        return 1;
    }
    buf_init(&b, FILE_BYTES_MAX);
    json_print_pretty_ordered(&b, verdict);
    printf("%s\n", buf_str(&b));
    buf_release(&b);
    bool pass = json_is_true(json_object_get(verdict, "pass"));
    json_decref(verdict);
    return pass ? 0 : 1;
}

/* --- options of gate --- */

struct args {
    const char *bin, *out, *phases, *faults, *cut, *ref;
    unsigned cycles, writes, timeout_ms, settle_ms, ready_ms;
    uint64_t seed;
    double hours;
    bool keep;
};

static int number(const char *text, uint64_t max, uint64_t *ret)
{
    char *end = NULL;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != 0 || text[0] == '-' || v > max) return E_INVALID;
    *ret = v;
    return 0;
}

static int take_number(struct args *a, const char *name, const char *text, struct err *err)
{
    uint64_t v = 0;
    char *end = NULL;
    if (strcmp(name, "--hours") == 0) {
        a->hours = strtod(text, &end);
        if (*end != 0 || !(a->hours > 0)) return err_set(err, E_INVALID, "--hours takes a number, not '%s'", text);
        return 0;
    }
    if (number(text, strcmp(name, "--seed") == 0 ? INT64_MAX : 1000000, &v) != 0)
        return err_set(err, E_INVALID, "%s takes a number, not '%s'", name, text);
    if (strcmp(name, "--cycles") == 0) a->cycles = (unsigned)v;
    if (strcmp(name, "--writes") == 0) a->writes = (unsigned)v;
    if (strcmp(name, "--timeout-ms") == 0) a->timeout_ms = (unsigned)v;
    if (strcmp(name, "--settle-ms") == 0) a->settle_ms = (unsigned)v;
    if (strcmp(name, "--ready-ms") == 0) a->ready_ms = (unsigned)v;
    if (strcmp(name, "--seed") == 0) a->seed = v;
    return 0;
}

static int parse(struct args *a, int argc, char **argv, struct err *err)
{
    static const char *const numbers[] = { "--cycles",   "--writes", "--timeout-ms", "--settle-ms",
                                           "--ready-ms", "--seed",   "--hours" };
    struct {
        const char *name;
        const char **at;
    } const texts[] = { { "--bin", &a->bin },       { "--out", &a->out }, { "--phases", &a->phases },
                        { "--faults", &a->faults }, { "--cut", &a->cut }, { "--ref", &a->ref } };
    for (int i = 0; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool known = false;
        int rc = 0;
        if (strcmp(name, "--keep") == 0) {
            a->keep = true;
            continue;
        }
        for (size_t k = 0; k < ARRAY_LEN(texts); k++) {
            if (strcmp(name, texts[k].name) != 0) continue;
            known = true;
            *texts[k].at = value;
        }
        for (size_t k = 0; k < ARRAY_LEN(numbers); k++) {
            if (strcmp(name, numbers[k]) != 0) continue;
            known = true;
            if (value) rc = take_number(a, name, value, err);
        }
        if (!known) return err_set(err, E_INVALID, "unknown option %s", name);
        if (value == NULL) return err_set(err, E_INVALID, "%s wants a value", name);
        if (rc != 0) return rc;
        i++;
    }
    return 0;
}

static int choose_faults(struct campaign *c, const char *text, struct err *err)
{
    char copy[2048], *rest = copy;
    bool all = strcmp(text, "all") == 0, gate = strcmp(text, "gate") == 0;
    c->all = all;
    if (all || gate) {
        for (const struct fault_class *f = fault_classes(); f->name; f++)
            if (all || (f->flags & FAULT_GATE)) c->class[c->classes++] = f;
        return 0;
    }
    snprintf(copy, sizeof copy, "%s", text);
    for (char *name; (name = strsep(&rest, ",")) != NULL;) {
        if (name[0] == 0) continue;
        const struct fault_class *f = fault_find(name);
        if (f == NULL) return err_set(err, E_INVALID, "unknown fault class %s (see --list)", name);
        if (c->classes == CAMPAIGN_CLASSES) return err_set(err, E_INVALID, "too many fault classes");
        c->class[c->classes++] = f;
    }
    return 0;
}

static int choose_phases(struct campaign *c, const char *text, struct err *err)
{
    char why[256];
    if (text == NULL) {
        c->asked[1] = phase1_exists(c, why);
        c->asked[2] = c->asked[4] = true;
        return 0;
    }
    for (const char *p = text; *p; p++) {
        if (*p == ',') continue;
        if (*p < '1' || *p > '4') return err_set(err, E_INVALID, "--phases takes numbers of 1 to 4, not '%s'", text);
        c->asked[*p - '0'] = true;
    }
    return 0;
}

static int choose_cut(struct campaign *c, const char *text, struct err *err)
{
    if (strcmp(text, "iptables") == 0)
        c->cycle.cut = CUT_IPTABLES;
    else if (strcmp(text, "proxy") == 0)
        c->cycle.cut = CUT_PROXY;
    else if (strcmp(text, "auto") == 0)
        c->cycle.cut = cut_possible(NULL) == 0 ? CUT_IPTABLES : CUT_PROXY;
    else
        return err_set(err, E_INVALID, "--cut takes iptables, proxy or auto, not '%s'", text);
    return 0;
}

static void note_ref(struct campaign *c, const char *given)
{
    static const char *const git[] = { "git", "describe", "--always", "--dirty", "--tags", NULL };
    if (given)
        snprintf(c->ref, sizeof c->ref, "%s", given);
    else if (tool_run(git, NULL, c->ref, sizeof c->ref, 5000, NULL) != 0)
        snprintf(c->ref, sizeof c->ref, "unknown");
    c->ref[strcspn(c->ref, "\n")] = 0;
}

static void place(struct campaign *c, const char *out)
{
    char when[32];
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(when, sizeof when, "%Y%m%d-%H%M%S", &tm);
    if (out)
        snprintf(c->out, sizeof c->out, "%s", out);
    else
        snprintf(c->out, sizeof c->out, "runs/%s", when);
    size_t len = strlen(c->out);
    while (len > 1 && c->out[len - 1] == '/') c->out[--len] = 0;
    const char *slash = strrchr(c->out, '/');
    snprintf(c->id, sizeof c->id, "%.120s", slash ? slash + 1 : c->out);
}

/* The preload library lies beside this program. */
static void note_shim(struct campaign *c)
{
    ssize_t n = readlink("/proc/self/exe", c->shim, sizeof c->shim - 1);
    c->shim[n > 0 ? n : 0] = 0;
    char *slash = strrchr(c->shim, '/');
    size_t at = slash ? (size_t)(slash + 1 - c->shim) : 0;
    snprintf(c->shim + at, sizeof c->shim - at, "ai-memory-chaos-shim.so");
}

static int prepare(struct campaign *c, const struct args *a, struct err *err)
{
    static const char *const ports[] = { "N0_PORT", "N1_PORT", "N2_PORT" };
    char path[WORLD_PATH];
    char *bin = realpath(a->bin, NULL);
    if (bin) snprintf(c->bin, sizeof c->bin, "%s", bin);
    free(bin);
    if (access(c->bin, X_OK) != 0)
        return err_set(err, E_NOT_FOUND, "no program to test: %s: %s", a->bin, strerror(errno));
    c->cycle = (struct cycle_options){ .bin = c->bin,
                                       .writes = a->writes,
                                       .timeout_ms = a->timeout_ms,
                                       .settle_ms = a->settle_ms,
                                       .ready_ms = a->ready_ms,
                                       .shim = c->shim };
    note_shim(c);
    c->cycles = a->cycles;
    c->seed = a->seed;
    c->keep = a->keep;
    for (int i = 0; i < MESH_NODES; i++) {
        uint64_t v = 0;
        const char *text = getenv(ports[i]);
        if (text && number(text, 65535, &v) != 0) return err_set(err, E_INVALID, "%s is no port: %s", ports[i], text);
        c->cycle.port[i] = (uint16_t)v;
    }
    place(c, a->out);
    snprintf(path, sizeof path, "%.900s/campaign-summary.json", c->out);
    if (file_exists(path)) return err_set(err, E_CONFLICT, "%s holds a campaign already", c->out);
    note_ref(c, a->ref);
    int rc = choose_cut(c, a->cut, err);
    if (rc == 0) rc = choose_faults(c, a->faults, err);
    if (rc == 0) rc = choose_phases(c, a->phases, err);
    return rc;
}

static int gate(int argc, char **argv, bool soak)
{
    static struct campaign c;
    static struct world w;
    struct err err = { 0 };
    const char *bin = getenv("AI_MEMORY_BIN");
    struct args a = { .bin = bin ? bin : "build/release/ai-memory",
                      .faults = "gate",
                      .cut = "iptables",
                      .cycles = 50,
                      .hours = 1,
                      .writes = 100,
                      .timeout_ms = 3000,
                      .settle_ms = 30000,
                      .seed = random_u64() >> 16 };
    if (parse(&a, argc, argv, &err) != 0) {
        fprintf(stderr, "chaos: %s\n\n%s", err.msg, help);
        return 2;
    }
    int rc = prepare(&c, &a, &err);
    if (rc == 0) rc = world_init(&w, a.seed, &err);
    if (rc != 0) {
        fprintf(stderr, "chaos: %s\n", err.msg);
        return rc == E_INVALID ? 2 : 1;
    }
    c.w = &w;
    bool pass = soak ? soak_run(&c, a.hours) : campaign_run(&c);
    world_release(&w);
    return pass ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(command, "child") == 0 && argc > 2) return child_main(argv + 2);
    if (strcmp(command, "gate") == 0) return gate(argc - 2, argv + 2, false);
    if (strcmp(command, "soak") == 0) return gate(argc - 2, argv + 2, true);
    if (strcmp(command, "classic") == 0) return classic_main(argc - 2, argv + 2);
    if (strcmp(command, "check") == 0 && argc == 3) return check_again(argv[2]);
    if (strcmp(command, "--list") == 0) return list_classes();
    bool asked = strcmp(command, "--help") == 0 || strcmp(command, "help") == 0;
    fputs(help, asked ? stdout : stderr);
    return asked ? 0 : 2;
}
