/* mutant.h - planted bugs of the simulator's own build: each must be caught, or the simulator is no proof. */
#ifndef AIM_SIM_MUTANT_H
#define AIM_SIM_MUTANT_H

#define MUTANTS(X) \
    X(NONE, "none") \
    X(EARLY_ACK, "a receiver answers before its disk has it") \
    X(HEARSAY, "one peer's position is believed of all") \
    X(CURSOR_ON_SEND, "sent counts as acknowledged") \
    X(NO_PREFIX, "a receiver takes batches with a gap before them") \
    X(CANCEL_AT_QUORUM, "what W have is not sent to the others any more") \
    X(SEQ_REUSED, "a new life goes on in the old stream from its start") \
    X(TIES_BY_ARRIVAL, "of equal versions the one that came last wins") \
    X(TIES_BY_NODE, "of equal versions of one node's streams neither is greater") \
    X(SNAPSHOT_REPLACES, "a snapshot takes the place of what a node has") \
    X(TOMB_BY_TIME, "a tombstone goes when it is old enough") \
    X(TOMB_BY_VECTORS, "a tombstone goes when all have it, whatever of theirs is still on its way") \
    X(TWIN_COUNTS, "a node counts once per URL") \
    X(SELF_COUNTS, "our own URL counts") \
    X(NO_PULL, "nobody asks for a dead writer's ops") \
    X(NEVER_CERTAIN, "a dead peer is waited for until the deadline") \
    X(FORGETFUL_DEADLINE, "a write that waits for a silent peer waits for ever")
enum mutant {
#define X(name, text) MUTANT_##name,
    MUTANTS(X)
#undef X
    MUTANT_KINDS
};

#ifdef AIM_MUTANTS
extern enum mutant mutant;
#define MUTANT(name) (mutant == MUTANT_##name)
#else
#define MUTANT(name) 0
#endif

#endif
