/* planted.c - the program with a bug planted in it, to see that the campaign finds it. CHAOS_STUB_PLANT names the bug:
 *
 *   cursor-on-send   what was sent to a peer counts as acknowledged by it
 *   no-pull          nobody asks for the ops of a writer that is dead
 *   cancel           what one peer has acknowledged is not sent to the others any more */
#include <stdlib.h>
#include <string.h>

#include "cluster/internal.h"
#include "mutant.h"

enum mutant mutant = MUTANT_NONE;
static bool cancel;
static uint64_t promised; /* the highest sequence a peer of ours has acknowledged */

void __real_link_ops(struct peer *p, uint64_t first, unsigned count);
void __wrap_link_ops(struct peer *p, uint64_t first, unsigned count);
void __real_core_tracker_reach(struct repl_core *core, unsigned peer, uint64_t from, uint64_t pos);
void __wrap_core_tracker_reach(struct repl_core *core, unsigned peer, uint64_t from, uint64_t pos);

__attribute__((constructor)) static void plant(void)
{
    const char *name = getenv("CHAOS_STUB_PLANT");
    if (name == NULL) return;
    if (strcmp(name, "cursor-on-send") == 0) mutant = MUTANT_CURSOR_ON_SEND;
    if (strcmp(name, "no-pull") == 0) mutant = MUTANT_NO_PULL;
    cancel = strcmp(name, "cancel") == 0;
}

void __wrap_core_tracker_reach(struct repl_core *core, unsigned peer, uint64_t from, uint64_t pos)
{
    if (pos > promised) promised = pos;
    __real_core_tracker_reach(core, peer, from, pos);
}

void __wrap_link_ops(struct peer *p, uint64_t first, unsigned count)
{
    if (cancel && first <= promised) return;
    __real_link_ops(p, first, count);
}
