/* row.h - a whole row (shown fields, stamp, own fields) as bytes, for the places that keep one outside `memories`:
 * hidden rows, archive records on the wire. Pure. */
#ifndef AIM_STORE_ROW_H
#define AIM_STORE_ROW_H

#include "memory.h"

struct arena;
struct buf;
struct reader;

void row_write(struct buf *b, const struct row *r);                       /* appends; not the rowid */
int row_read(struct reader *in, struct arena *a, struct row *ret);        /* strings copied; E_CORRUPT, E_TOO_LARGE */
int row_copy(struct row *ret, const struct row *r, struct arena *a);      /* strings copied; E_TOO_LARGE */

#endif
