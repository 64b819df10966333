/* mutant.h - planted bugs of the simulator's own build: each must be caught, or the simulator is no
 * proof. With the seed where looking for it begins: few seeds in ten thousand show the rare ones. */
#ifndef AIM_SIM_MUTANT_H
#define AIM_SIM_MUTANT_H

#define STORIES_FROM 1000001     /* seeds from here on may have stories */
#define TALES_FROM 3000001       /* and from here on one of those that came later */
#define FORKS_FROM 4000001       /* streams fork */

#define MUTANTS(X) \
    X(NONE, 1, "none") \
    X(EARLY_ACK, 1, "a receiver answers before its disk has it") \
    X(HEARSAY, 1, "one peer's position is believed of all") \
    X(CURSOR_ON_SEND, 1, "sent counts as acknowledged") \
    X(NO_PREFIX, 1, "a receiver takes batches with a gap before them") \
    X(CANCEL_AT_QUORUM, 1, "what W have is not sent to the others any more") \
    X(SEQ_REUSED, 1, "a new life goes on in the old stream from its start") \
    X(TIES_BY_ARRIVAL, 1, "of equal versions the one that came last wins") \
    X(TIES_BY_NODE, 90001, "of equal versions of one node's streams neither is greater") \
    X(SNAPSHOT_REPLACES, 1, "a snapshot takes the place of what a node has") \
    X(TOMB_BY_TIME, 1, "a tombstone goes when it is old enough") \
    X(TOMB_BY_VECTORS, 1, "a tombstone goes when all have it, whatever of theirs is still on its way") \
    X(QUIET_AND_OLD, 65001, "what nobody asked for may be older than deletions that were forgotten") \
    X(MERGE_TAKES_OLD, 10001, "while a snapshot is merged, ops that it covers are taken") \
    X(AHEAD_STAYS, 1, "rows of a donor that was lost are never said anew") \
    X(TWIN_COUNTS, 1, "a node counts once per URL") \
    X(SELF_COUNTS, 1, "our own URL counts") \
    X(NO_PULL, 1, "nobody asks for a dead writer's ops") \
    X(NEVER_CERTAIN, 1, "a dead peer is waited for until the deadline") \
    X(FORGETFUL_DEADLINE, 1, "a write that waits for a silent peer waits for ever") \
    X(TOLD_EARLY, STORIES_FROM, "a position is told as soon as it is seen, before its fsync") \
    X(OFFERED_COUNTS, STORIES_FROM, "what was offered to peers counts as on our disk") \
    X(GIVEN_EARLY, STORIES_FROM, "ops are given before their fsync") \
    X(NOTICED_EARLY, STORIES_FROM, "what a command wrote is told of before its fsync") \
    X(LEFT_TOO_SOON, STORIES_FROM, "a stream leaves the vector before every member has it") \
    X(TWIN_STAYS, STORIES_FROM, "of two nodes with one id neither takes another") \
    X(HELD_STAYS, STORIES_FROM, "held ops are not tried again by a newer program") \
    X(START_UNSYNCED, STORIES_FROM, "a starting node believes in its log before it has written it out") \
    X(SYNC_IGNORED, STORIES_FROM, "an fsync that failed is taken for done") \
    X(REMOVED_ACCEPTED, TALES_FROM, "what a removed node sends is taken") \
    X(REMOVED_KEEPS, TALES_FROM, "a removed node comes back with its file") \
    X(FORK_UNNOTICED, FORKS_FROM, "a node that was set back goes on in its stream") \
    X(FORK_SILENT, FORKS_FROM, "a forked stream is left without repeating what it held")
enum mutant {
#define X(name, from, text) MUTANT_##name,
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
