/* check.c - the end of a process that found a bug of its own. */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

void check_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: check failed: %s\n", file, line, what);
    log_dump(stderr);
    fflush(stderr);
    abort();
}
