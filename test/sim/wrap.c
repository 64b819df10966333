/* wrap.c - functions of the program that the linker leads through here (--wrap): planted bugs, and what an older
 * program makes of an op. */
#include "wrap.h"

#include "base/buf.h"
#include "sim.h"
#include "store/change_snapshot.h"

#define OP_BEFORE_BYTES 9 /* of an op of one version: format, count; kind, length */

bool wrap_old_program;

#ifdef AIM_MUTANTS
static struct {
    uint64_t stream, node;
} maker[STREAMS_MAX];
static size_t makers;

static uint64_t node_of(uint64_t stream)
{
    for (size_t i = 0; i < makers; i++)
        if (maker[i].stream == stream) return maker[i].node;
    return stream;
}

/* A run begins: the one before used the same numbers. */
void wrap_begin(void)
{
    makers = 0;
}

void wrap_made_by(uint64_t stream, uint64_t node)
{
    if (makers == STREAMS_MAX) makers = 0;
    maker[makers].stream = stream;
    maker[makers++].node = node;
}

/* The linker puts this before the program's own (--wrap): among equals, it says, the one asked about is newer. */
int __real_stamp_cmp(const struct stamp *a, const struct stamp *b);
int __wrap_stamp_cmp(const struct stamp *a, const struct stamp *b);
int __wrap_stamp_cmp(const struct stamp *a, const struct stamp *b)
{
    if (MUTANT(TIES_BY_NODE) && a->ver == b->ver && node_of(a->stream) == node_of(b->stream)) return 0;
    if (MUTANT(TIES_BY_ARRIVAL) && a->ver == b->ver && a->stream != b->stream) return 1;
    return __real_stamp_cmp(a, b);
}

bool __real_snapshot_has_rest(const struct change *c, const struct stream_pos *here);
bool __wrap_snapshot_has_rest(const struct change *c, const struct stream_pos *here);
bool __wrap_snapshot_has_rest(const struct change *c, const struct stream_pos *here)
{
    return !MUTANT(MERGE_TAKES_OLD) && __real_snapshot_has_rest(c, here);
}
#else
void wrap_begin(void) {}

void wrap_made_by(uint64_t stream, uint64_t node)
{
    (void)stream;
    (void)node;
}
#endif

/* The linker puts this before the program's own (--wrap): an older program knows no standards. */
int __real_op_decode(const void *body, size_t len, struct arena *a, struct version **ret, size_t *ret_count);
int __wrap_op_decode(const void *body, size_t len, struct arena *a, struct version **ret, size_t *ret_count);
int __wrap_op_decode(const void *body, size_t len, struct arena *a, struct version **ret, size_t *ret_count)
{
    int rc = __real_op_decode(body, len, a, ret, ret_count);
    for (size_t i = 0; rc == 0 && wrap_old_program && i < *ret_count; i++) {
        struct version *v = &(*ret)[i];
        struct buf b;
        if (v->kind != KIND_STANDARD) continue;
        buf_init(&b, OP_BYTES_MAX);
        rc = op_encode(&b, v, 1);
        *v = (struct version){ .raw_kind = KIND_STANDARD, .ver = v->ver };
        v->body_len = b.len - OP_BEFORE_BYTES;
        v->body = arena_strndup(a, b.data + OP_BEFORE_BYTES, v->body_len);
        buf_release(&b);
    }
    return rc;
}
