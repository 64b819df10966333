/* alloc.c - memory that never fails and arenas that do at their cap.
 *
 * An arena is a chain of chunks; the one at the head has the free space. In ASan builds each allocation is a chunk of
 * exactly its size, so that the sanitizer sees an overflow of one piece into the next. */
#include "base/alloc.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_PIECEWISE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_PIECEWISE 1
#endif
#endif

#define ARENA_ALIGN 16
#define ARENA_CHUNK_MIN 4096
#define ARENA_CHUNK_MAX 65536

struct arena_chunk {
    struct arena_chunk *next; /* owned */
    size_t size, used;        /* payload bytes */
    _Alignas(ARENA_ALIGN) char data[];
};

void *mem_alloc(size_t size)
{
    void *p = calloc(1, size == 0 ? 1 : size);
    CHECK(p != NULL && "out of memory");
    return p;
}

void *mem_realloc(void *p, size_t size)
{
    p = realloc(p, size == 0 ? 1 : size);
    CHECK(p != NULL && "out of memory");
    return p;
}

char *mem_strdup(const char *s)
{
    return s == NULL ? NULL : mem_strndup(s, strlen(s));
}

char *mem_strndup(const char *s, size_t len)
{
    char *copy = malloc(len + 1);
    CHECK(copy != NULL && "out of memory");
    if (len > 0) memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

void mem_free(void *p)
{
    free(p);
}

void mem_trim(size_t unused_min)
{
#ifdef __GLIBC__
    if (mallinfo2().fordblks > unused_min) (void)malloc_trim(0);
#else
    (void)unused_min;
#endif
}

void arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){ .max = max };
}

void arena_release(struct arena *a)
{
    struct arena_chunk *chunk = a->head;
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    a->head = NULL;
    a->used = 0;
}

static struct arena_chunk *chunk_new(size_t size)
{
    struct arena_chunk *chunk = malloc(sizeof(*chunk) + size);
    CHECK(chunk != NULL && "out of memory");
    chunk->next = NULL;
    chunk->size = size;
    chunk->used = 0;
    return chunk;
}

#ifdef ARENA_PIECEWISE
static struct arena_chunk *chunk_with_room(struct arena *a, size_t rounded, size_t size)
{
    (void)rounded;
    struct arena_chunk *chunk = chunk_new(size);
    chunk->next = a->head;
    a->head = chunk;
    return chunk;
}
#else
/* The chunk with more room left stays in front: one large piece does not waste a half-used chunk. */
static struct arena_chunk *chunk_with_room(struct arena *a, size_t rounded, size_t size)
{
    (void)size;
    struct arena_chunk *head = a->head;
    if (head != NULL && head->size - head->used >= rounded) return head;
    size_t capacity = head == NULL ? ARENA_CHUNK_MIN : head->size * 2;
    if (capacity > ARENA_CHUNK_MAX) capacity = ARENA_CHUNK_MAX;
    if (capacity < rounded) capacity = rounded;
    struct arena_chunk *chunk = chunk_new(capacity);
    if (head != NULL && head->size - head->used > capacity - rounded) {
        chunk->next = head->next;
        head->next = chunk;
    } else {
        chunk->next = head;
        a->head = chunk;
    }
    return chunk;
}
#endif

/* Not zeroed: for callers that overwrite all of it. */
static void *take_bytes(struct arena *a, size_t size)
{
    if (size == 0) size = 1;
    if (size > SIZE_MAX - sizeof(struct arena_chunk) - ARENA_ALIGN) return NULL;
    size_t rounded = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (a->used > a->max || rounded > a->max - a->used) return NULL;
    struct arena_chunk *chunk = chunk_with_room(a, rounded, size);
    void *p = chunk->data + chunk->used;
    chunk->used += rounded;
    a->used += rounded;
    return p;
}

void *arena_alloc(struct arena *a, size_t size)
{
    void *p = take_bytes(a, size);
    if (p != NULL) memset(p, 0, size);
    return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return s == NULL ? NULL : arena_strndup(a, s, strlen(s));
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
    if (s == NULL || len == SIZE_MAX) return NULL;
    char *copy = take_bytes(a, len + 1);
    if (copy == NULL) return NULL;
    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    char small[256];
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    CHECK(len >= 0);
    if ((size_t)len < sizeof(small)) return arena_strndup(a, small, (size_t)len);
    char *text = take_bytes(a, (size_t)len + 1);
    if (text == NULL) return NULL;
    va_start(ap, fmt);
    vsnprintf(text, (size_t)len + 1, fmt, ap);
    va_end(ap);
    return text;
}
