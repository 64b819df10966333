/* wire.h - the messages nodes exchange at /api/v1/sync/ops: little-endian, versioned, checked before anything is
 * believed.
 *
 *   POST  hello   -> ANSWER_HELLO    who are you, where are you in my stream, what do you know
 *   POST  ops     -> ANSWER_POS      ops of the sender's stream; the receiver's durable position (applied, rewind
 *   or fork)
 *   POST  vector  -> ANSWER_PONG     what the sender knows (changes or all); also the ping
 *   GET   ?stream=&from=&chain=      ops of any stream: a body of kind ops
 *   GET   /sync/snapshot             -> SNAPSHOT, the vector the pages to come stand for; then ?section=&after= -> PAGE
 *   GET   /sync/scrub?before=        -> SUMS, of all rows by bucket; with &buckets= -> ROWS in them; &records=1 -> PAGE
 *
 * An ops body names the chain before its first and after its last op, so that it cannot be another history's; every
 * message ends with a sum of its bytes: one that was altered on its way is refused whole, before a stream, a position
 * or a node is taken from it that nobody has. */
#ifndef AIM_CLUSTER_WIRE_H
#define AIM_CLUSTER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "repl.h"
#include "store.h"
#include "store/change.h"

struct arena;
struct buf;

enum wire_kind { WIRE_HELLO = 1, WIRE_OPS = 2, WIRE_VECTOR = 3, WIRE_SNAPSHOT = 4, WIRE_PAGE = 5, WIRE_SUMS = 6,
                 WIRE_ROWS = 7, WIRE_ANSWER_HELLO = 16, WIRE_ANSWER_POS = 17, WIRE_ANSWER_PONG = 18 };
#define WIRE_NAME_MAX 64
#define WIRE_VECTOR_MAX 65536
#define WIRE_OPS_MAX 512
#define WIRE_BATCH_BYTES (1u << 20)
#define WIRE_ROWS_MAX 65536
#define WIRE_BODY_MAX (OP_BYTES_MAX + (1u << 20) + 4096)

/* Every message begins with who sends it. */
struct wire_head {
    enum wire_kind kind;
    char name[WIRE_NAME_MAX + 1];      /* cluster name */
    uint64_t node, stream;             /* sender's node id and its present life's stream */
    bool relaxed;                      /* the sender's disk has what it holds only some time later */
};
struct wire_ops {
    uint64_t stream, node;             /* whose ops: the stream and the node it belongs to */
    uint64_t first_seq, chain_before, chain_after;
    bool more;                         /* GET: the source has more */
    bool misfit;                       /* refused: sealed as its sender has it, and not what was once logged */
    struct log_op *op; size_t count;   /* bodies borrowed from the message; array in the arena */
};
struct wire_pos { uint64_t stream, pos, chain; int result; /* enum foreign_result */ };
struct wire_vector { struct repl_entry *entry; size_t count; bool whole; };
/* held: ops it could not apply; their rows may be missing in its pages. ahead: rows of its may be newer than v. */
struct wire_snapshot { struct stream_pos *v; size_t count; struct stamp *held; size_t held_count; bool ahead; };
struct wire_page { struct page_at at; const void *records; size_t len; };   /* at: where it ends; after in the arena */
/* What a scrub compares: sums of rows by bucket; rows with the positions they stand for (by stream). */
struct wire_sums { uint64_t before, sum[SCRUB_BUCKETS]; };
struct wire_rows { struct stream_pos *v; size_t count; struct scrub_row *row; size_t rows; };
struct wire_message {
    struct wire_head head;
    struct wire_ops ops;               /* OPS */
    struct wire_pos pos;               /* ANSWER_POS, ANSWER_HELLO: in the asker's stream */
    struct wire_snapshot snapshot;     /* SNAPSHOT */
    struct wire_page page;             /* PAGE */
    struct wire_sums *sums;            /* SUMS: in the arena */
    struct wire_rows rows;             /* ROWS */
    struct wire_vector vector;         /* HELLO, VECTOR, ANSWER_HELLO, ANSWER_PONG (the streams that were named) */
};

void wire_put_hello(struct buf *b, const struct wire_head *h, const struct repl_entry *v, size_t count);
void wire_put_vector(struct buf *b, const struct wire_head *h, const struct repl_entry *v, size_t count, bool whole);
void wire_put_ops(struct buf *b, const struct wire_head *h, const struct wire_ops *o);
void wire_put_answer_hello(struct buf *b, const struct wire_head *h, const struct wire_pos *p,
                           const struct repl_entry *v, size_t count);
void wire_put_answer_pos(struct buf *b, const struct wire_head *h, const struct wire_pos *p);
void wire_put_pong(struct buf *b, const struct wire_head *h, const struct repl_entry *v, size_t count, bool whole);
void wire_put_snapshot(struct buf *b, const struct wire_head *h, const struct wire_snapshot *s);
void wire_put_page(struct buf *b, const struct wire_head *h, const struct wire_page *p);
void wire_put_sums(struct buf *b, const struct wire_head *h, const struct wire_sums *s);
void wire_put_rows(struct buf *b, const struct wire_head *h, const struct wire_rows *r);
/* The node a message says it is from; 0 when it is too short to tell. Nothing else is checked. */
uint64_t wire_sender(const void *data, size_t len);
/* Decodes any message. E_PROTOCOL with the reason for anything torn, oversized, of another format, or out of range
 * (ids and sequences below 2^63, chains checked over the bodies). Nothing is believed half. Pure; loop or pool. */
int wire_read(const void *data, size_t len, struct arena *a, struct wire_message *ret, struct err *err);

#endif
