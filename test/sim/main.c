/* main.c - ai-memory-sim: seeds in bulk, each twice with equal traces; a failing one is shrunk and told.
 *
 *   ai-memory-sim --seeds N [--from S]      N seeds from S; from 1000001 on they may have stories, too, those from
 *                                           3000001 and 4000001 on have others (sim.h has them all)
 *   ai-memory-sim --seed S                  one seed, with all that happens
 *   ai-memory-sim-mutants --mutant NAME|all   a planted bug must be caught within --seeds (3000) seeds
 *   ai-memory-sim --traces DIR [--record]      the main stories: each must be told as in DIR/NAME.txt
 *   --goals: fail unless every goal was reached; --all: go on behind a seed that failed */
#include "sim.h"
#include "trace.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SHRINK_SECONDS 20

#ifdef AIM_MUTANTS
enum mutant mutant = MUTANT_NONE;
#endif

static char present[80];
static enum range range; /* of the present seed */

/* A failed assertion ends the process: say with which seed. */
static void on_abort(int sig)
{
    (void)sig;
    if (write(STDERR_FILENO, present, strlen(present)) < 0) _exit(2);
}

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

/* xoshiro256** (Blackman, Vigna 2018), seeded by splitmix64. */
static void fill(uint32_t *choice, size_t count, uint64_t seed)
{
    uint64_t x[4];
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        x[i] = z ^ z >> 31;
    }
    for (size_t i = 0; i < count; i++) {
        choice[i] = (uint32_t)(rotl(x[1] * 5, 7) * 9 >> 32);
        uint64_t t = x[1] << 17;
        x[2] ^= x[0];
        x[3] ^= x[1];
        x[1] ^= x[2];
        x[0] ^= x[3];
        x[2] ^= t;
        x[3] = rotl(x[3], 45);
    }
}

struct totals {
    bool goal[GOAL_KINDS];
    uint64_t events, seeds, operations, faults, real;
    int64_t virtual_us;
};

static struct sim sim;

static bool run_seed(uint64_t seed, uint32_t *choice, struct totals *t, bool twice, bool verbose)
{
    snprintf(present, sizeof(present), "in seed %llu: ./dev sim --seed %llu\n", (unsigned long long)seed,
             (unsigned long long)seed);
    fill(choice, CHOICES_MAX, seed);
    range = seed >= FORKS_FROM     ? RANGE_FORKS
            : seed >= TALES_FROM   ? RANGE_TALES
            : seed >= STORIES_FROM ? RANGE_STORIES
                                   : RANGE_PLAIN;
    bool good = sim_run(&sim, choice, CHOICES_MAX, range, verbose);
    t->events += sim.events;
    t->operations += sim.clients + sim.commands;
    t->faults += sim.faults;
    t->real += sim.real;
    t->virtual_us += sim.now_us;
    t->seeds++;
    for (size_t g = 0; g < GOAL_KINDS; g++) t->goal[g] = t->goal[g] || sim.goal[g];
    if (!good || !twice) return good;
    uint64_t trace = sim.trace;
    if (!sim_run(&sim, choice, CHOICES_MAX, range, false) || sim.trace != trace) {
        sim_fail(&sim, "the same seed ran otherwise the second time");
        return false;
    }
    return true;
}

static bool fails(const char *how, const uint32_t *choice, size_t used, uint32_t *scratch)
{
    memcpy(scratch, choice, used * sizeof(*choice));
    return !sim_run(&sim, scratch, used, range, false) && sim.how == how;
}

/* Zeroes blocks, large ones first, while it still fails in the same way. Returns how many numbers matter. */
static size_t shrink(uint32_t *choice, size_t used)
{
    const char *how = sim.how;
    time_t end = time(NULL) + SHRINK_SECONDS;
    uint32_t *trial = malloc(used * sizeof(*trial)), *scratch = malloc(used * sizeof(*trial));
    if (trial == NULL || scratch == NULL) abort();
    for (size_t block = used / 2 + 1; time(NULL) < end;) {
        bool smaller = false;
        for (size_t at = 0; at < used && time(NULL) < end; at += block) {
            size_t len = at + block < used ? block : used - at;
            memcpy(trial, choice, used * sizeof(*trial));
            memset(trial + at, 0, len * sizeof(*trial));
            if (memcmp(trial, choice, used * sizeof(*trial)) == 0 || !fails(how, trial, used, scratch)) continue;
            memcpy(choice, trial, used * sizeof(*trial));
            smaller = true;
        }
        if (block == 1 && !smaller) break;
        if (block > 1) block = (block + 1) / 2;
    }
    free(trial);
    free(scratch);
    size_t left = 0;
    for (size_t i = 0; i < used; i++) left += choice[i] != 0;
    return left;
}

static void report(uint64_t seed, uint32_t *choice, bool verbose)
{
    printf("seed %llu failed: %s\n", (unsigned long long)seed, sim.why);
    printf("  replay: ./dev sim --seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    size_t used = sim.used;
    size_t left = shrink(choice, used);
    printf("  shrunk to %zu numbers of %zu%s\n", left, used, verbose ? ":" : "");
    if (verbose) sim_run(&sim, choice, used, range, true);
    fflush(stdout);
}

static int run_seeds(uint64_t from, uint64_t count, uint32_t *choice, bool goals, bool all)
{
    struct totals t = { 0 };
    uint64_t failed = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (run_seed(from + i, choice, &t, true, false)) continue;
        failed++;
        if (all) {
            printf("seed %llu failed: %s\n", (unsigned long long)(from + i), sim.why);
            fflush(stdout);
            continue;
        }
        report(from + i, choice, false);
        return 1;
    }
    /* those of the later stories are theirs alone */
    static const int firsts[] = { 0, 0, GOALS_STORIES, GOALS_TALES };
    static const int ends[] = { GOALS_PLAIN, GOALS_STORIES, GOALS_TALES, GOAL_KINDS };
    int reached = 0, first = firsts[range], kinds = ends[range];
    for (int g = first; g < kinds; g++) {
        reached += t.goal[g];
        if (!t.goal[g]) printf("  never: %s\n", goal_name((enum goal)g));
    }
    printf("%llu seeds (%llu with rows), each twice: %llu client operations, %llu faults, %llu events, "
           "%lld virtual seconds, %d of %d goals reached, ",
           (unsigned long long)count, (unsigned long long)t.real, (unsigned long long)t.operations,
           (unsigned long long)t.faults, (unsigned long long)t.events, (long long)(t.virtual_us / 1000000), reached,
           kinds - first);
    printf(failed == 0 ? "no violation\n" : "%llu seeds failed\n", (unsigned long long)failed);
    return failed > 0 || (goals && reached < kinds - first);
}

static int run_mutant(enum mutant m, const char *name, uint64_t from, uint64_t count, uint32_t *choice)
{
    struct totals t = { 0 };
#ifdef AIM_MUTANTS
    mutant = m;
#else
    (void)m;
    count = 0;
#endif
    for (uint64_t i = 0; i < count; i++) {
        if (run_seed(from + i, choice, &t, false, false)) continue;
        printf("%-20s caught by seed %llu: %s\n", name, (unsigned long long)(from + i), sim.why);
        fflush(stdout);
        return 0;
    }
    printf("%-20s NOT caught in %llu seeds\n", name, (unsigned long long)count);
    return 1;
}

static int run_mutants(const char *word, uint64_t from, uint64_t count, uint32_t *choice)
{
    static const char *const names[] = {
#define X(name, from, text) #name,
        MUTANTS(X)
#undef X
    };
    static const uint64_t begins[] = {
#define X(name, from, text) from,
        MUTANTS(X)
#undef X
    };
    int bad = 0, found = 0;
    for (enum mutant m = MUTANT_NONE + 1; m < MUTANT_KINDS; m++) {
        if (strcmp(word, "all") != 0 && strcmp(word, names[m]) != 0) continue;
        found = 1;
        bad |= run_mutant(m, names[m], from == 0 ? begins[m] : from, count, choice);
    }
    if (!found) fprintf(stderr, "no mutant %s\n", word);
    return bad || !found;
}

static int usage(void)
{
    fprintf(stderr,
            "usage: ai-memory-sim [--seeds N] [--from S] [--seed S] [--mutant NAME|all] [--goals] [--all]\n"
            "       ai-memory-sim --traces DIR [--record]\n"
            "seeds from %d on may have stories, those from %d on nodes that are removed, those from %d on\n"
            "machines that are set back while they run\n",
            STORIES_FROM, TALES_FROM, FORKS_FROM);
    return 2;
}

int main(int argc, char **argv)
{
    uint64_t from = 0, count = 0, seed = 0;
    bool one = false, goals = false, all = false, record = false;
    const char *word = NULL, *traces = NULL;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--goals") == 0) {
            goals = true;
            continue;
        }
        if (strcmp(argv[i], "--all") == 0) {
            all = true;
            continue;
        }
        if (strcmp(argv[i], "--record") == 0) {
            record = true;
            continue;
        }
        if (value == NULL) return usage();
        if (strcmp(argv[i], "--seeds") == 0)
            count = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--from") == 0)
            from = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(value, NULL, 10), one = true;
        else if (strcmp(argv[i], "--mutant") == 0)
            word = value;
        else if (strcmp(argv[i], "--traces") == 0)
            traces = value;
        else
            return usage();
        i++;
    }
    signal(SIGABRT, on_abort);
    if (traces != NULL) return trace_all(&sim, traces, record);
    uint32_t *choice = calloc(CHOICES_MAX, sizeof(*choice));
    if (choice == NULL) return 2;
    int rc;
    if (word != NULL) {
        rc = run_mutants(word, from, count == 0 ? 3000 : count, choice);
    } else if (one) {
        struct totals t = { 0 };
        rc = run_seed(seed, choice, &t, true, true) ? 0 : 1;
        if (rc != 0) report(seed, choice, true);
    } else {
        rc = run_seeds(from == 0 ? 1 : from, count == 0 ? 2000 : count, choice, goals, all);
    }
    free(choice);
    return rc;
}
