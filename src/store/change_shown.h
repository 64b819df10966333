/* change_shown.h - what the original's tables show of the records, looked at and shown anew (change_shown.c). */
#ifndef AIM_STORE_CHANGE_SHOWN_H
#define AIM_STORE_CHANGE_SHOWN_H

#include "store/change.h"

/* Finds links, standards and actions whose record is here and which the original's table does not show, or not as the
 * record says: (kind, id) of the side row, borrowed in the call. false: enough. In one transaction; reads only. Also
 * archive records of older programs, which do not tell what their text was. */
typedef bool (*shown_cb)(void *data, uint16_t kind, const char *id);
int change_shown_look(struct store_tx *tx, shown_cb cb, void *data);
/* Shows one of these as its record says now. *ret_mended: it was still wrong, and is right. */
int change_shown_mend(struct change *c, uint16_t kind, const char *id, bool *ret_mended);

#endif
