/* buf.h - a growing byte buffer with a mandatory maximum. Past it the buffer only remembers that it failed;
 * the caller asks once at the end. Also the little-endian readers and writers of every binary form we have. */
#ifndef AIM_BASE_BUF_H
#define AIM_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data;                 /* owned; NUL behind the end whenever not NULL */
    size_t len, cap, max;
    bool failed;                /* the maximum was hit; data holds what fitted before */
};

void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b);
void buf_clear(struct buf *b);                                     /* keeps the memory, forgets a failure */
void buf_put(struct buf *b, const void *data, size_t len);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_drop_front(struct buf *b, size_t len);
char *buf_reserve(struct buf *b, size_t len);                      /* room for len more bytes, or NULL; see buf_grew */
void buf_grew(struct buf *b, size_t len);                          /* that many of the reserved bytes were written */
char *buf_take(struct buf *b, size_t *ret_len);                    /* to mem_free, never NULL; b is empty again */
const char *buf_str(struct buf *b);                                /* NUL-terminated view, "" when empty */

void buf_u8(struct buf *b, uint8_t v);
void buf_u16(struct buf *b, uint16_t v);
void buf_u32(struct buf *b, uint32_t v);
void buf_u64(struct buf *b, uint64_t v);
void buf_f64(struct buf *b, double v);
void buf_blob(struct buf *b, const void *data, size_t len);        /* u32 length, then the bytes */
void buf_text(struct buf *b, const char *s);                       /* like blob; NULL is written as length 0xffffffff */

/* A reader over borrowed bytes. Reading past the end sets failed and yields zeros: check once at the end. */
struct reader {
    const uint8_t *p;
    size_t left;
    bool failed;
};

void reader_init(struct reader *r, const void *data, size_t len);
uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
double read_f64(struct reader *r);
const void *read_bytes(struct reader *r, size_t len);              /* borrowed; NULL and failed when short */
const void *read_blob(struct reader *r, size_t *ret_len);          /* borrowed */
struct arena;
/* A copy with NUL; NULL where NULL was written; an embedded NUL fails. */
const char *read_text(struct reader *r, struct arena *a);

#endif
