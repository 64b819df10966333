/* memory.h - domain values: what a memory is, its version in the op log, and the pure rules over them.
 * Everything here is pure: no io, no clock; time is an argument. Strings are borrowed unless said otherwise. */
#ifndef AIM_MEMORY_H
#define AIM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct arena;
struct buf;

enum tier { TIER_SHORT, TIER_MID, TIER_LONG };
const char *tier_name(enum tier t);                   /* "short" "mid" "long" */
int tier_parse(const char *word, enum tier *ret);     /* exact lower case; E_INVALID */

/* Total order of versions: ver (hybrid logical clock, < 2^62), then stream. seq: where in the stream it was made. */
struct stamp { uint64_t ver, stream, seq; };
int stamp_cmp(const struct stamp *a, const struct stamp *b);   /* by (ver, stream); <0, 0, >0 */
int64_t stamp_us(uint64_t ver);                       /* a version's time in microseconds: the formula of repl/hlc */

/* A memory as readers see it: the winning version's fields with the lattice fields merged in. Times keep the text they
 * came with; comparisons parse them. tags and metadata are compact JSON text (an array of strings; an object). */
struct memory {
    const char *id, *ns, *title, *content, *tags, *source, *metadata;
    enum tier tier;
    int priority;
    double confidence;
    int64_t access_count;
    const char *created_at, *updated_at;
    const char *last_accessed_at, *expires_at;        /* NULL: never */
};

/* What the winning version itself said in the fields that memories shows merged, and what it was made from. */
struct own {
    enum tier tier;
    int priority;
    const char *expires_at;
    int64_t count_seen;                               /* access count its maker saw: priority counts from there */
    int64_t count_base;                               /* accesses known without a node: from files and the original's
                                                       * nodes; merged by max */
    uint64_t base_ver, base_stream;                   /* stamp it was made from; 0: from nothing */
};

/* One stored memory: what is shown, its stamp, its own fields. rowid is the store's, 0 when not stored. */
struct row {
    struct memory m;
    struct stamp stamp;
    struct own own;
    bool own_differs;                                 /* own is kept in repl_row because m shows other values */
    int64_t rowid;
};

/* Reads or writes of accesses one node counted (lattice, summed over nodes). */
struct touch {
    const char *id;
    uint64_t node;
    int64_t count;                                    /* total this node ever counted; merged by max */
    int64_t last_us;                                  /* last access; merged by max */
    int64_t expires_us;                               /* last access + extension as the counting node knows it; merged
                                                       * by max; 0: none */
    bool to_long;                                     /* promoted by access; merged by or */
};

struct link { const char *source_id, *target_id, *relation, *created_at; };

/* ---- times and lifetimes ---------------------------------------------------------------------------------------- */
struct lifetimes { int64_t ttl_secs[3]; int64_t extend_secs[3]; };   /* by tier; ttl 0: never expires */
void lifetimes_default(struct lifetimes *l);          /* 21600, 604800, 0; 3600, 86400, 0 */
/* Expired at now_us: expires_at present and not after now. An unreadable text never expires. */
bool memory_expired(const struct memory *m, int64_t now_us);

/* ---- op bodies: the wire and log form of versions (src/memory/version.c) --------------------------------------- */
enum change_kind {                                    /* numbers are on disk and on the wire: never reused */
    KIND_MEMORY = 1,                                  /* a version of one memory */
    KIND_TOMBSTONE = 2,                               /* a version that says: deleted */
    KIND_LINK = 3,
    KIND_LINK_GONE = 4,
    KIND_TOUCH = 5,
    KIND_STANDARD = 6,                                /* namespace standard: set or cleared */
    KIND_PENDING = 7,
    KIND_ARCHIVE = 8,
    KIND_MEMBER = 9,
    KIND_IDEM = 10,                                   /* idempotency key bound to this op */
    KIND_STREAM = 11,                                 /* a stream ended, or left the vector */
};

/* One row version inside an op. Which members count depends on kind. A memory's tier, priority, expiry and counts
 * travel from own (m's are ignored when encoding and set to the same when decoding); its last_accessed_at may be
 * NULL. */
struct version {
    enum change_kind kind;                            /* 0: held, see op_decode */
    /* as on the wire; != kind when unknown (then body holds the bytes) */
    uint16_t raw_kind;
    uint64_t ver;                                     /* stream and seq come from the op that carries it */
    struct memory m;                                  /* MEMORY; TOMBSTONE: id, ns, title only */
    struct own own;                                   /* MEMORY; TOMBSTONE: base_* only */
    struct touch touch;
    struct link link;
    const char *key;                                  /* STANDARD: namespace; others: id or key */
    /* STANDARD, PENDING, ARCHIVE, MEMBER, IDEM, STREAM, unknown: kind's own bytes */
    const void *body; size_t body_len;
};

#define OP_BYTES_MAX (16u << 20)
#define OP_VERSIONS_MAX 4096
/* An op body: format byte, u16 count, then per version: u16 kind, u32 length, bytes. Encode appends to b (E_TOO_LARGE
 * past OP_BYTES_MAX). Decode copies strings into the arena; E_PROTOCOL when torn or out of bounds (whole op). A
 * version of unknown kind, or of known kind with unreadable bytes, is given with raw_kind != kind (kind = 0): the
 * receiver holds it; encoding it again gives the same bytes. The arena needs room for twice the body (E_TOO_LARGE).
 * Any thread. */
int op_encode(struct buf *b, const struct version *v, size_t count);
int op_decode(const void *body, size_t len, struct arena *a, struct version **ret, size_t *ret_count);

/* ---- merge (src/memory/merge.c): commutative, associative, idempotent ------------------------------------------ */
/* Everything known about one id. */
struct merged {
    bool known;                                       /* a version or tombstone was seen */
    bool deleted;                                     /* the winner is a tombstone */
    struct row row;                                   /* the winner (shown fields filled by merge_show) */
    enum tier tier_max;                               /* over all live versions ever merged and promotions */
    int64_t touch_last_us, touch_expires_us, count_sum;   /* over nodes; count_sum excludes count_base */
};
/* Begins with what is stored: a live row (its own given by own_of when none is kept). Of a tombstone the store keeps
 * what the other members need: stamp, own.base_*, own.count_base, tier_max, row.m.id, ns, title, last_accessed_at. */
void merge_start(struct merged *m, const struct row *row);
/* Takes version v (MEMORY or TOMBSTONE, stamp s) into m. Returns 1 if v is the new winner, 0 if m stands, 2 if it is
 * equal to what stands (already seen). `unseen` (may be NULL) is set when the winner was made from less than the
 * loser: a concurrent edit was replaced. Strings are borrowed from whichever side won. */
int merge_version(struct merged *m, const struct version *v, const struct stamp *s, bool *unseen);
/* Takes in all that another store knows of this id, but for its touches: as merging each version it ever saw. Returns
 * merge_version. */
int merge_join(struct merged *m, const struct merged *other, bool *unseen);
/* Adds what one node counted; once for each node of this id. */
void merge_touch(struct merged *m, const struct touch *t);
/* What two reports of one node come to: the greater of each member. */
void touch_join(struct touch *into, const struct touch *t);
/* What own is of a row for which none is kept: shown values, no counts, made from nothing. */
void own_of(const struct memory *m, struct own *ret);
/* Recomputes row.m's shown lattice fields (tier, priority, access_count, last_accessed_at, expires_at) and
 * own_differs from the winner's own fields and the touches. Texts for computed times go into the arena. own_differs:
 * own is not own_of(row.m). */
void merge_show(struct merged *m, struct arena *a);

/* ---- rules (src/memory/rules.c): the contract's texts; E_INVALID with the field in err->arg -------------------- */
int rule_title(const char *s, size_t len, struct err *err);
int rule_content(const char *s, size_t len, const char *what /* "content" or "summary" */, struct err *err);
int rule_namespace(const char *s, size_t len, struct err *err);
/* own_sources: those the program itself writes are fine too */
int rule_source(const char *s, size_t len, bool own_sources, struct err *err);
int rule_tag(const char *s, size_t len, struct err *err);
int rule_tags_count(size_t count, struct err *err);
int rule_priority(int64_t n, struct err *err);
int rule_confidence(double x, struct err *err);
int rule_expires_create(const char *s, size_t len, int64_t now_us, struct err *err);
int rule_expires_update(const char *s, size_t len, struct err *err);
int rule_ttl(int64_t secs, struct err *err);
int rule_metadata(const char *compact, size_t len, int depth, bool is_object, struct err *err);
int rule_id(const char *s, size_t len, struct err *err);
int rule_agent_id(const char *s, size_t len, struct err *err);
int rule_agent_type(const char *s, size_t len, struct err *err);
int rule_scope(const char *s, size_t len, struct err *err);
int rule_relation(const char *s, size_t len, struct err *err);
int rule_time(const char *field, const char *s, size_t len, struct err *err);     /* "<field> is not valid RFC3339" */
/* Trims Unicode white space at both ends: *ret points into s. */
size_t text_trim(const char *s, size_t len, const char **ret);

/* ---- namespaces and visibility (src/memory/visible.c) ---------------------------------------------------------- */
int namespace_depth(const char *ns);
/* The part before the last '/', into the arena; NULL when there is none. */
const char *namespace_parent(const char *ns, struct arena *a);
bool namespace_within(const char *ns, const char *root);          /* equal, or below root (byte-wise) */
struct viewer { const char *p1, *p2, *p3, *p4; };                  /* NULL: no such ancestor */
void viewer_of(const char *as_agent, struct arena *a, struct viewer *ret);
/* tags: JSON text; what is no list of texts has none */
bool memory_has_tag(const char *tags, const char *const *wanted, size_t count);
bool memory_visible(const struct viewer *v, const char *ns, const char *metadata);   /* v NULL: everything */

#endif
