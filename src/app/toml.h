/* toml.h - the part of TOML that settings need: comments, [tables], dotted and quoted keys, strings of one line,
 * integers, floats, booleans, arrays of these. No dates, no strings of several lines, no inline tables, no arrays of
 * tables. Any thread. */
#ifndef AIM_APP_TOML_H
#define AIM_APP_TOML_H

#include <jansson.h>
#include <stddef.h>

#include "err.h"

/* A new object of tables and values; NULL and E_SYNTAX with "line N: ..." else. */
json_t *toml_read(const char *text, size_t len, struct err *err);

#endif
