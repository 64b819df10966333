/* alloc.h - memory. Small bounded allocations never fail (the process ends instead); what a client can make
 * large goes through an arena with a cap, which answers NULL. ASan builds back an arena by malloc, piece by piece. */
#ifndef AIM_BASE_ALLOC_H
#define AIM_BASE_ALLOC_H

#include <stddef.h>

void *mem_alloc(size_t size);                 /* zeroed; ends the process when memory is out */
void *mem_realloc(void *p, size_t size);
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t len);
void mem_free(void *p);
/* Gives freed memory back to the system when there is more than unused_min bytes of it (freed small pieces stay
 * with the process otherwise, until it ends). Takes some 10 ms a gigabyte: not for the loop. */
void mem_trim(size_t unused_min);

/* An arena: many allocations, one free. Not shared between threads. */
struct arena {
    struct arena_chunk *head;   /* private */
    size_t used, max;           /* bytes handed out; cap */
};

void arena_init(struct arena *a, size_t max);
void arena_release(struct arena *a);                               /* frees all; the arena may be used again */
void *arena_alloc(struct arena *a, size_t size);                   /* zeroed, 16-aligned; NULL past the cap */
char *arena_strdup(struct arena *a, const char *s);                /* NULL in, NULL out */
char *arena_strndup(struct arena *a, const char *s, size_t len);   /* adds the NUL */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
