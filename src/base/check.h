/* check.h - assertions that stay on in production. A failed check is a bug of ours, never a client's doing. */
#ifndef AIM_BASE_CHECK_H
#define AIM_BASE_CHECK_H

#include <stddef.h>

/* Prints where and what to stderr (with the last log lines, see log.h) and aborts. */
_Noreturn void check_failed(const char *file, int line, const char *what);

#define CHECK(cond) ((cond) ? (void)0 : check_failed(__FILE__, __LINE__, #cond))
#define WRONG(what) check_failed(__FILE__, __LINE__, what)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#endif
