/* members.h - nodes that are taken out of the mesh (members.c). */
#ifndef AIM_SIM_MEMBERS_H
#define AIM_SIM_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>

struct event;
struct node;
struct sim;

void members_event(struct sim *s);
void members_heard(struct node *n, uint64_t node);
bool members_refuses(const struct node *n, uint64_t node);         /* it knows that this one was removed */
void members_called_removed(struct node *n, unsigned peer);        /* by this peer */
void members_leave(struct node *n);                                /* it begins anew */
void members_remove(struct sim *s);                                /* of some node, or of one that was lost */
void members_remove_event(struct sim *s, const struct event *e);
void members_tidy(struct sim *s);                                  /* all that were lost */

#endif
