/* disk.h - what a node keeps: the log of each stream, and (real.c) the rows; transactions and reading. */
#ifndef AIM_SIM_DISK_H
#define AIM_SIM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "repl.h"
#include "store.h"

#define KEYS_MAX 260
#define STREAMS_MAX 256

struct sim;
struct node;
struct conn;
struct member;
struct change;
struct arena;

/* ---- ops: one record per (stream, seq), for ever ------------------------------------------------------------- */
struct op {
    uint64_t stream, seq, chain;
    const void *body;            /* in the run's arena */
    size_t len;
    uint64_t key;                /* whose write it is; 0: nobody's (several rows, touches) */
    bool gone;                   /* nobody has it any more */
    unsigned acked;              /* highest number of disks promised to a client */
    struct op *next;
};
/* Binds a chain and body to (stream, seq); a second, different one is a failure. */
struct op *sim_bind(struct sim *s, uint64_t stream, uint64_t seq, uint64_t chain, const void *body, size_t len);
/* NULL: never seen. chain 0: there is but one. */
struct op *sim_op(struct sim *s, uint64_t stream, uint64_t seq, uint64_t chain);
size_t sim_op_place(const struct sim *s, uint64_t stream, uint64_t seq);

/* ---- disks --------------------------------------------------------------------------------------------------- */
enum edit_kind {
    EDIT_CREATE,                 /* by title: of an id of its own, or an edit of the row that has the title */
    EDIT_PUT,                    /* by id, deleted ones too: made if it is not there */
    EDIT_UPDATE, EDIT_RENAME,
    EDIT_QUIET,                  /* an edit nobody asked for: the version after the row's, so that versions tie */
    EDIT_DELETE,
    EDIT_JOIN,                   /* two rows end and one begins, in one op */
    EDIT_TOUCH, EDIT_LINK, EDIT_UNLINK, EDIT_STANDARD,
    EDIT_ARCHIVE,                /* a copy into the archive, or out of it */
    EDIT_SETTLE,                 /* what was replaced unseen is found and told */
};
struct edit { enum edit_kind kind; unsigned id, title, text; };
/* In a transaction, behind a savepoint. new_programs: there are older programs and newer ones in this run. */
int edit_run(struct change *c, struct arena *a, uint64_t key, const struct edit *e, bool new_programs);

/* A vector, a page of rows, or the end of a state; on its way and in the lane. Strings and bytes are owned. */
struct state_page {
    bool begun, end, stop;       /* begun: the vector was sent already; stop: no more will come */
    bool ahead;                  /* whose vector it is has rows ahead of it itself */
    bool over, say, more;        /* rows ahead of our vector: there are none; say them anew; result: there are more */
    struct stream_pos *v;        /* of the one who gives */
    size_t count;
    uint16_t from, to;           /* sections, see struct page_at */
    char *from_after, *to_after;
    char *bytes;
    size_t len;
};

enum work_result { WORK_DONE, WORK_REWIND, WORK_FORK, WORK_FAILED };
struct work {                    /* one item of the lane */
    bool foreign;
    uint64_t *end;               /* streams that end, and behind them those that leave the vector; owned */
    size_t ends, leaves;
    uint64_t member;             /* a node's row is made (removes: or says that it was removed) */
    bool removes;
    uint64_t from;               /* the node that sent it */
    bool look;                   /* what a command wrote into this stream is told after it, when it is durable */
    struct state_page *head;     /* no transaction of its own: it goes with the vector, when that is durable; owned */
    uint64_t key;                /* a client's write */
    struct edit edit;
    uint64_t stream, node, first, before;   /* foreign: whose, first seq, chain before it */
    struct state_page *page;     /* foreign: rows in place of ops; owned */
    struct op **ops;             /* owned by the message */
    size_t count;
    enum work_result result;
    uint64_t pos, chain;         /* foreign: position afterwards; write: pos = seq in stream (0: no op) */
    unsigned client;             /* index of the client's op */
    struct conn *conn;           /* who waits for the answer */
    uint64_t token;
    bool cancelled;
};

struct disk;
struct disk_verbs {
    void (*close)(struct disk *d);
    void (*copy)(struct disk *d);                                      /* keeps what is there now, for set_back */
    void (*set_back)(struct disk *d);                                  /* that older copy is put in place */
    bool (*save)(struct disk *d);                                      /* memory and disk; false: not now */
    void (*resume)(struct disk *d);                                    /* both as they were saved */
    void (*repeat)(struct disk *d, uint64_t stream, int64_t wall_us);  /* of a former stream, in the present one */
    void (*clone)(struct disk *d, struct disk *of);                    /* a file that was copied while in use */
    void (*life)(struct disk *d, int64_t wall_us);                     /* a new stream, or a first one */
    void (*life_end)(struct disk *d);                                  /* the process is gone */
    void (*run)(struct disk *d, struct work **work, size_t count, int64_t wall_us);   /* one transaction */
    uint64_t (*command)(struct disk *d, uint64_t key, const struct edit *e, int64_t wall_us);   /* another process */
    size_t (*vector)(struct disk *d, struct repl_entry *ret);          /* at most STREAMS_MAX, any order */
    size_t (*page)(struct disk *d, uint64_t stream, uint64_t from, uint64_t to, struct op **ret);
    bool (*chain)(struct disk *d, uint64_t stream, uint64_t seq, uint64_t *ret);   /* false: not here */
    bool (*key)(struct disk *d, uint64_t key, uint64_t *ret_stream, uint64_t *ret_seq);
    /* NULL in these: all ops are kept for ever */
    uint64_t (*trimmed)(struct disk *d, uint64_t stream);
    void (*trim)(struct disk *d, uint64_t keep, int64_t wall_us);      /* all but the last ops of each stream go */
    size_t (*trim_tombs)(struct disk *d, struct node *n, int64_t wall_us);
    bool (*ahead)(struct disk *d);                                     /* rows may be ahead of the vector */
    struct stream_pos *(*head)(struct disk *d, size_t *ret_count);     /* the vector, by stream; mem_free */
    void (*give)(struct disk *d, struct state_page *p, size_t rows);   /* fills in bytes, len, to */
    size_t (*left)(struct disk *d, struct repl_entry *ret);            /* streams that left the vector */
    bool (*lacks)(struct disk *d);                                     /* one of them is not whole here */
    char *(*archive)(struct disk *d);                                  /* its texts, mem_free */
    size_t (*members)(struct disk *d, struct member *ret);             /* at most MEMBERS_MAX, without their URLs */
    char *(*dump)(struct disk *d);                                     /* the rows as text, mem_free; NULL: has none */
    /* of a lazy disk: the moment of the last transaction, or of the last durable one; power fails, and all since that
     * moment is gone */
    uint64_t (*mark)(struct disk *d, bool durable);
    void (*power)(struct disk *d, uint64_t mark);
};
struct kept { uint64_t stream, pos, mark; };   /* a position, and the transaction it came with */
struct disk {
    const struct disk_verbs *v;
    struct sim *s;
    unsigned index;
    uint64_t id, stream;         /* node id; the stream of the present life */
    uint64_t pos, chain;         /* of that stream */
    struct repl_entry seen[STREAMS_MAX];   /* as checked after the last transaction */
    size_t seen_count;
    bool full, copied;
    bool renew;                  /* its next life takes a new node id */
    bool old;                    /* its program is an older one, which does not know all kinds of ops */
    uint64_t clock;              /* highest version its clock gave */
    bool lazy;                   /* transactions are seen before they are durable */
    uint64_t safe;               /* those up to this moment were synced */
    uint64_t lost_stream, lost_pos;   /* the last one that was set back with its power */
    struct kept *kept;           /* owned; of a lazy disk: how its positions grew */
    size_t kept_count, kept_cap;
};
struct disk *disk_model(struct sim *s, unsigned index);
struct disk *disk_real(struct sim *s, unsigned index);
struct disk *disk_new(struct sim *s, unsigned index);              /* as the run wants it */
/* The rows that all ops of these streams come to, one stream after the other; mem_free. */
char *disk_replay(struct sim *s, const struct repl_entry *v, size_t count);
uint64_t disk_trimmed(struct disk *d, uint64_t stream);
bool disk_has(struct disk *d, const struct op *op);
uint64_t disk_pos(struct disk *d, uint64_t stream, uint64_t *ret_chain);
/* ---- what power cannot take: all of a disk that is not lazy */
uint64_t disk_safe_pos(struct disk *d, uint64_t stream);
bool disk_keeps(struct disk *d, const struct op *op);
void disk_grew(struct disk *d, const struct repl_entry *at);      /* a position that came with the last transaction */
void disk_synced(struct disk *d, uint64_t mark);
void disk_power(struct disk *d, uint64_t mark);                    /* all that came after that moment is gone */
void disk_free(struct disk *d);

#endif
