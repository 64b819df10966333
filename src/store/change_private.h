/* change_private.h - what the sources of change share. */
#ifndef AIM_STORE_CHANGE_PRIVATE_H
#define AIM_STORE_CHANGE_PRIVATE_H

#include "base/alloc.h"
#include "base/clock.h"
#include "store/change_snapshot.h"

#define CHANGE_SAVEPOINTS_MAX 8
#define CHANGE_ARENA_MAX (96u << 20)      /* one op's strings, and the rows it touches */
#define CHANGE_BODIES_MAX (256u << 20)    /* ops made by one batch */
#define CHANGE_IDEM_US (24ll * 3600 * 1000000)
#define SEP '\x1f'                        /* between the parts of a side row's id */

/* Everything that goes back when a savepoint does. */
struct change_mark {
    struct hlc hlc;
    struct origin origin;
    size_t made_count, bodies_len, left_count;
    uint64_t far_future, unseen, held, forgotten;
    bool lacks;
    bool merging, missed;                 /* between a snapshot's first page and its end; lacks what is not in it */
    bool open;                            /* an op is being made: its body begins at `offset` of bodies */
    bool group, joined;                   /* inside a group; the open op is the group's */
    size_t offset;
    uint16_t versions;
    uint64_t op_ver;
    struct stamp position;                /* the item's last op */
    uint64_t bound;                       /* the clock as persisted: nothing above it was committed */
    int64_t bound_us;                     /* when that was written; 0: not in this life */
};

struct change_private {
    struct change_mark begin, mark[CHANGE_SAVEPOINTS_MAX];
    unsigned depth;
    bool bare;                            /* the item has a mark and no savepoint */
    struct change_mark now;               /* from `open` on; the rest lives in struct change */
    struct arena scratch, work, decode;   /* work: one version's apply */
    struct buf bodies, version;
    size_t made_cap, left_cap;
    /* the version recorded next is of an unknown id under a free title: gets its row */
    struct row *fresh;
    struct cover merging;                 /* owned: positions of the store whose state is being merged */
    struct cover had;                     /* owned: what this store had when that began; of each stream one history */
};

/* ---- log (change.c) */
int change_op_begin(struct change *c);                            /* a new op, or the group's */
/* Adds a version to the open op and applies it. v->ver is set by the caller. */
int change_record(struct change *c, struct version *v);
int change_op_flush(struct change *c);
/* An op of ours with these bytes, which this program need not understand; no op is open then. E_PROTOCOL: they are no
 * op, nothing happened. */
int change_op_copy(struct change *c, const void *body, size_t len);
int change_mark_push(struct change *c, struct err *err);          /* savepoint without touching scratch */
int change_mark_pop(struct change *c, bool keep, struct err *err);
bool change_is_bare(const struct change *c);                      /* the innermost mark is that of a bare item */
const char *change_time(struct change *c, uint64_t ver);          /* its text, in scratch; NULL when scratch is full */

/* ---- what is known of an id (change_apply.c) */
enum place {
    PLACE_NONE,
    PLACE_AWAITED,                        /* links, touches or standards speak of it */
    PLACE_VISIBLE,                        /* in memories */
    PLACE_SHADOW,                         /* another id has its title */
    PLACE_SWEPT,                          /* expired and taken out of sight */
    PLACE_TOMB,
};
struct known {
    enum place place;
    struct row stored;                    /* as stored: VISIBLE, SHADOW, SWEPT */
    struct merged merged;                 /* with the touches in it */
};
/* touched: a touch was written that the row does not show yet. */
int known_load(struct change *c, const char *id, bool touched, struct arena *a, struct known *ret);
/* Brings the store in line with k->merged, whatever it was before: places the row, its rival and the heir of its old
 * title. */
int known_settle(struct change *c, struct known *k, struct arena *a);
/* The row, wherever it is live, leaves without a trace. */
int known_forget(struct change *c, struct known *k, struct arena *a);
int known_await(struct change *c, const char *id);                /* marks an unknown id; nothing for a known one */
int change_apply(struct change *c, const struct version *v, const struct stamp *s);
/* who shows under one title: (ver, stream), then id */
int row_rank(const struct row *a, const struct row *b);
bool row_unstamped(const struct row *r);                          /* the original wrote it last */
uint64_t row_floor(const struct row *r);                          /* the version an edit must beat */
bool text_same(const char *a, const char *b);
/* Counts come from files and other nodes: their sum stays one. */
static inline int64_t count_plus(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

int tomb_read(const struct side_row *side, struct arena *a, struct merged *ret);
/* What another store knows of an id, without its touches, comes in. theirs: what that store had seen, NULL: nobody asks
 * whether a text was replaced unseen. unknown: nothing is known of it here, no need to look. */
struct page_span;
int known_join(struct change *c, const struct merged *other, const struct page_span *theirs, bool unknown,
               struct arena *a);

/* ---- rows that share a title (change_title.c) */
uint64_t title_key(const char *title, const char *ns);
struct hidden { struct row row; enum place place; };
/* Hidden rows of the title: shadows and a swept winner. */
int title_hidden(struct store_tx *tx, const char *title, const char *ns, struct arena *a, struct hidden **ret,
                 size_t *count);
/* E_NOT_FOUND; place AWAITED: no row */
int hidden_get(struct store_tx *tx, const char *id, struct arena *a, struct hidden *ret);
int hidden_put(struct change *c, const struct row *row, enum place place);
int hidden_remove(struct change *c, const char *id);
/* Also what the archive of this node alone has of it: a shadow's text, the copy made by a sweep. */
int rested_remove(struct change *c, const char *id);
int swept_keep(struct change *c, const char *id);                 /* all nodes get that copy, if there is one */
/* Nothing lies under the id in the archive any more (gone: the record that says so, NULL: none); a shadow's text is
 * shown there. */
int shadow_shown(struct change *c, const char *id, const struct stamp *gone, struct arena *a);
/* The visible row an id stands for: itself or the winner of its title. E_NOT_FOUND. */
int title_resolve(struct store_tx *tx, const char *id, struct arena *a, struct row *ret);

/* ---- links and standards (change_links.c) */
int links_apply(struct change *c, const struct version *v, const struct stamp *s);
int links_refresh(struct change *c, const struct row *visible);   /* all links and standards of its title, shown anew */
int links_group(struct store_tx *tx, const struct row *visible, struct arena *a, const char ***ids, size_t *count);
int links_read(const struct side_row *side, struct arena *a, struct link *ret);   /* a row of record */
int link_of_record(struct change *c, const struct link *l);       /* shown anew, after the records there are */
int links_get(struct store_tx *tx, uint16_t kind, const struct link *l, struct arena *a, struct side_row *ret);
int links_await(struct change *c, const char *id);                /* nothing is known of the id any more, but of it */
int standard_apply(struct change *c, const struct version *v, const struct stamp *s);
int standards_refresh(struct change *c, const char *id);          /* those naming this id */

/* ---- keyed rows (change_side.c) */
int side_apply(struct change *c, const struct version *v, const struct stamp *s, uint16_t kind, struct arena *a);
enum { ARCHIVE_ROW = 1, ARCHIVE_GONE = 2 };                       /* the first byte of an archive body */
#define MEMBER_FORM 1                                             /* of a member's, its state behind it */
bool archive_gone(const struct side_row *side);                   /* SIDE_ARCHIVE: taken out of the archive */
bool archive_shown(const struct side_row *side);                  /* its text lies in the original's table */
enum archive_text { ARCHIVE_STANDS, ARCHIVE_LOST, ARCHIVE_ALTERED, ARCHIVE_AGED };   /* AGED: let go by its age */
struct archive_look { enum archive_text text; uint64_t print; };
/* How the text of a shown record fares; b: its bytes of record, unless it is lost or aged. */
int archive_look(struct store_tx *tx, const struct side_row *side, struct arena *a, struct buf *b,
                 struct archive_look *ret);
int archive_print(struct store_tx *tx, struct side_row *side, struct arena *a);   /* sets the key, 0: no text */

/* ---- texts replaced unseen (change_lost.c) */
/* A text that another store's archive has, and of which that store may not live to tell. */
int lost_copy(struct change *c, const struct row *kept, const char *at);
/* A version of `id` came that was made from another than what stands here. */
int lost_parent(struct change *c, const char *id, const struct stamp *from);
/* A live version lost. unseen: the winner was made from less. */
int lost_loser(struct change *c, const struct row *loser, const struct merged *winner, bool unseen);

/* ---- what is shown of a record (change_links.c, change_side.c): whether it is what it comes to; anew */
int link_right(struct store_tx *tx, const struct side_row *side, struct arena *a, bool *ret);
int link_again(struct change *c, const struct side_row *side, struct arena *a);
int standard_right(struct store_tx *tx, const struct side_row *side, struct arena *a, bool *ret);
int standard_show(struct change *c, const struct side_row *side, struct arena *a);
int pending_right(struct store_tx *tx, const struct side_row *side, struct arena *a, bool *ret);
int pending_again(struct change *c, const struct side_row *side, struct arena *a);

/* ---- times of others (change_foreign.c) */
uint64_t version_of_time(struct change *c, const char *text);     /* at most 60 s ahead; 0: unreadable */
void clock_follow(struct change *c, uint64_t ver);
/* The version a row the original wrote comes to, made from what is known; strings in scratch. */
int original_version(struct change *c, const struct known *k, const struct memory *m, uint64_t ver, struct version *v);

/* ---- ends of streams (change_stream.c) */
int stream_apply(struct change *c, const struct version *v, const struct stamp *s, struct arena *a);
int lacks_put(struct change *c, bool lacks);
/* The chain stays in a log without ops up to there: whoever asks for the rest asks by it. */
int stream_anchor(struct change *c, const struct stream_pos *at);
/* Of two histories of a stream every store takes the same: the longer one. */
bool stream_yields(const struct stream_pos *here, const struct stream_pos *next);
/* It is out of the vector, with this as its last op, and its log with it; the commit tells. */
int stream_leave(struct change *c, const struct stream_pos *at);
/* Marks it ended when that is known of the position it has come to, not ended when it went on. */
int stream_check_end(struct change *c, struct stream_pos *pos);

/* ---- snapshots (change_snapshot.c) */
/* What goes on in the stream from here comes with the snapshot that is being merged. */
bool span_covers(const struct page_span *s, const struct stamp *stamp);   /* the other had that version once */
bool snapshot_has_rest(const struct change *c, const struct stream_pos *here);

/* ---- rows newer than the vector (change_ahead.c) */
int ahead_begin(struct change *c);
int ahead_is_here(struct change *c, const struct stamp *s, bool *ret);   /* the op of that stamp was applied here */


/* ---- ops of others (change_foreign.c) */
/* Applies an op that is not logged here; what is not understood of it is held. */
int held_take(struct change *c, const struct stamp *s, const void *body, size_t len);
/* One version of an op that is not understood; they come one by one with the pages of a snapshot. */
int held_join(struct change *c, const struct stamp *s, const struct version *v);
int held_drop(struct change *c, const struct stamp *s);           /* of its stream and seq; none: nothing */

/* ---- touches (change_touch.c) */
int touches_load(struct store_tx *tx, const char *id, struct arena *a, struct merged *m);
int touch_read(const struct side_row *side, struct arena *a, struct touch *ret);
int touch_apply(struct change *c, const struct version *v);

#endif
