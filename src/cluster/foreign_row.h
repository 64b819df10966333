/* foreign_row.h - memories as nodes of the original write them in JSON. Pure; loop or pool. */
#ifndef AIM_CLUSTER_FOREIGN_ROW_H
#define AIM_CLUSTER_FOREIGN_ROW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "memory.h"

struct arena;

/* The 15 fields; updated_at is the version's time. A new object. */
json_t *foreign_row_json(const struct memory *m, uint64_t ver);
/* Checks a row as our own door checks a push. Strings borrow from v, or lie in the arena. E_TYPE, E_INVALID with the
 * reason, E_TOO_LARGE (the arena). */
int foreign_row_read(const json_t *v, struct arena *a, struct memory *ret, struct err *err);
/* The same for rows that an original cannot tell apart: id, namespace, title and time of the edit. */
uint64_t foreign_row_mark(const struct memory *m, int64_t updated_us);

/* Marks of rows lately seen at one original. Forgets all when it is full: then some row is sent that need not be. */
struct foreign_marks { uint64_t *slot; size_t used; };
void foreign_marks_add(struct foreign_marks *s, uint64_t mark);
bool foreign_marks_has(const struct foreign_marks *s, uint64_t mark);
void foreign_marks_copy(struct foreign_marks *to, const struct foreign_marks *from);   /* 256 KiB at most */
void foreign_marks_release(struct foreign_marks *s);

#endif
