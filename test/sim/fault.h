/* fault.h - what goes wrong, while it may (fault.c). */
#ifndef AIM_SIM_FAULT_H
#define AIM_SIM_FAULT_H

struct event;
struct node;
struct sim;

enum fault {
    FAULT_CRASH, FAULT_SILENT, FAULT_PAUSE,
    FAULT_CUT, FAULT_ONE_WAY, FAULT_SWIZZLE, FAULT_SWALLOW, FAULT_BREAK, FAULT_DISCARD,
    FAULT_FULL, FAULT_SLOW, FAULT_GONE, FAULT_LOSE, FAULT_SET_BACK, FAULT_CLOCK,
    FAULT_GIVER,                 /* who gives its state is lost in the middle */
    UPKEEP_LOG, UPKEEP_TOMBS,    /* no faults: the log is trimmed; tombstones are, all the time */
    FAULTS_PLAIN,                /* the rest: of stories */
    FAULT_POWER = FAULTS_PLAIN, FAULT_SYNC, FAULT_COPY,
    FAULTS_STORIES,              /* the rest: of tales */
    FAULT_REMOVE = FAULTS_STORIES,
    FAULTS_TALES,
    FAULT_REWIND = FAULTS_TALES, /* of those with forks */
    FAULT_KINDS,
};
void fault_event(struct sim *s, struct event *e);
void fault_giver(struct sim *s, struct node *n);                   /* it gives a page of its state */
void fault_sync(struct sim *s, struct node *n);                    /* it ends after a failed fsync */
void fault_cut(struct sim *s, unsigned a, unsigned b, int64_t us);   /* one way */
void fault_heal(struct sim *s);

#endif
