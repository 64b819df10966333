/* check.h - what must always hold, and what must hold once all is calm. */
#ifndef AIM_SIM_CHECK_H
#define AIM_SIM_CHECK_H

#include <stdbool.h>

struct disk;
struct node;
struct op;
struct sim;

void check_disk(struct disk *d);                                   /* after each transaction */
void check_met(struct sim *s, const struct op *op, unsigned disks);
/* A client was told that W cannot be reached, or (timed_out) nothing: was that so? */
void check_refusal(struct sim *s, const struct node *self, const struct op *op, unsigned need, bool timed_out);
void check_caps(struct sim *s);
/* Nodes whose vectors agree: each has the rows that all those ops come to. */
void check_rows(struct sim *s, unsigned nodes);
/* The same for some two whose vectors agree just now. */
void check_pair(struct sim *s);
void check_archives(struct sim *s);                                /* all nodes': their texts agree */
void check_tell(struct sim *s, unsigned nodes);                    /* their vectors, into the log of the run */
bool check_equal(struct sim *s, unsigned nodes);                   /* all vectors of these nodes (bits) agree */
void check_promises(struct sim *s, unsigned nodes, bool everywhere);

#endif
