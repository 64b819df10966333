/* fork.h - a machine that is set back with its memory and its disk goes on in its stream where it was then (fork.c). */
#ifndef AIM_SIM_FORK_H
#define AIM_SIM_FORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FORKS_MAX 8
#define NO_PEER_SAID UINT32_MAX

struct node;
struct op;
struct work;
struct sim;
struct repl_entry;

struct node_fork {
    uint64_t split[FORKS_MAX];   /* streams with two histories, met in this life */
    int64_t again_us[FORKS_MAX]; /* the other history is not taken sooner */
    unsigned splits;
    uint64_t renews;             /* its next life repeats what is logged of this stream; 0: nothing */
    uint64_t began;              /* this life began so, for this stream */
    bool saved;                  /* memory and disk were, in the life of that number */
    unsigned saved_life;
    int64_t saved_us;
    unsigned apart;              /* who may not hear what it writes from then on */
};

void fork_machine(struct sim *s, struct node *n);                  /* it is saved, or set back */
/* A peer (NO_PEER_SAID: one that asked) has another history of a stream of that node id. */
void fork_met(struct node *n, unsigned peer, uint64_t stream, uint64_t node);
bool fork_split(const struct node *n, uint64_t stream);            /* it knows that this one forked */
bool fork_is(const struct sim *s, uint64_t stream);                /* it did */
/* Its op, or the same bytes said once more in another stream, are on this node's disk. */
bool fork_has(struct sim *s, const struct node *n, const struct op *op);
/* The last op of each history of a forked stream that was not lost; how many. */
size_t fork_histories(struct sim *s, uint64_t stream, const struct op **ret, size_t max);
size_t fork_history(struct sim *s, const struct op *end, const struct op **ret);   /* its ops in order; how many */

#endif
