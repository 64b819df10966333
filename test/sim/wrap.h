/* wrap.h - what functions of the program that are led through the simulator have to know. */
#ifndef AIM_SIM_WRAP_H
#define AIM_SIM_WRAP_H

#include <stdbool.h>
#include <stdint.h>

extern bool wrap_old_program;                            /* the one that runs now is an older one */
void wrap_begin(void);                                   /* a run begins: the one before used the same numbers */
void wrap_made_by(uint64_t stream, uint64_t node);

#endif
