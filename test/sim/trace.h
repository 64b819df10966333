/* trace.h - the protocol's main stories, told step by step and compared with how they were told before. */
#ifndef AIM_SIM_TRACE_H
#define AIM_SIM_TRACE_H

#include <stdbool.h>

struct conn;
struct msg;
struct sim;

/* Tells every story and compares it with DIR/NAME.txt; record: writes these. 0: all the same. */
int trace_all(struct sim *s, const char *dir, bool record);
/* A message that arrives; nothing when no story is told. */
void trace_message(struct sim *s, const struct conn *c, unsigned way, const struct msg *m);

#endif
