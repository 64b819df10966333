/* forms.h - inside of the command-line door: how the answers of operations are shown, one row each. */
#ifndef AIM_CLI_FORMS_H
#define AIM_CLI_FORMS_H

#include "cli/text.h"

struct form {
    const char *op;
    void (*text)(const struct text *t);
    json_t *(*json)(const json_t *doc); /* NULL: the answer as it is */
};
extern const struct form forms_beside[]; /* ended by op == NULL: what stands beside the memories */

/* Members of an object: "" and 0 when absent or of another type. */
const char *form_str(const json_t *o, const char *key);
json_int_t form_num(const json_t *o, const char *key);
int form_id8(const char *id); /* length of the short form: 8 bytes, cut back to a whole character */
/* "  <key>: <count><unit>" for each row of a list of counts. */
void form_counts(const struct text *t, const char *list, const char *key, const char *unit);

#endif
