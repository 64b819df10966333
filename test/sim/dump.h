/* dump.h - rows as text, as nodes must agree on them (dump.c). */
#ifndef AIM_SIM_DUMP_H
#define AIM_SIM_DUMP_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct sim;

bool dump_forgotten(const struct sim *s, const char *id, size_t len);   /* some node forgot its deletion */
void dump_comparable(const struct sim *s, struct buf *b);

#endif
