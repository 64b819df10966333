/* mixed_work.h - what an exchange with a node of the original does on readers and in the lane. A job's input is its
 * own: nothing of the loop is looked at; its outcome is read on the loop once `done` ran. */
#ifndef AIM_CLUSTER_MIXED_WORK_H
#define AIM_CLUSTER_MIXED_WORK_H

#include "cluster/original.h"

#define PUSH_ROWS 500
#define PUSH_BYTES (3u << 19)            /* 1.5 MiB */

struct mixed_job {
    union { struct read_item read; struct lane_item lane; } item;
    struct mixed *x;
    uint32_t round;                      /* of x; another one now: nobody waits for this */
};

/* Where the streams and the rows of our file end. */
struct goal_job {
    struct mixed_job job;                /* first, as in all of them */
    struct arena arena;
    struct stream_pos *pos; size_t count;   /* ascending by stream */
    int64_t rows_end;                    /* greatest rowid */
};
/* A page of its rows: which are news here. */
struct look_job {
    struct mixed_job job;
    char *body; size_t body_len;         /* in */
    struct arena arena;
    json_t *doc;                         /* the rows borrow from it */
    size_t total;                        /* rows of the page */
    struct memory *news; size_t news_count;
    uint64_t *mark; size_t marks;        /* of all readable rows */
    const char **gone; size_t gone_count;   /* ids deleted here */
    struct { const char *id, *why; } *refused; size_t refused_count;
    int64_t latest_us;                   /* greatest updated_at not ahead of our clock by more than a minute */
    const char *next;                    /* the time to ask on from, no moment is cut in two; NULL: one moment */
};
/* News into the store, some rows at a time. */
struct merge_job {
    struct mixed_job job;
    struct look_job *page;               /* owned */
    size_t at, end;
    size_t applied, failed; char why[200];   /* of this slice */
    char failed_id[129];
};
/* The next rows it was not offered. */
struct collect_job {
    struct mixed_job job;
    size_t rows_max;                     /* in, down to `now_us` */
    bool fill;                           /* by rowid from rowid to rows_end, else by stream */
    int64_t rowid, rows_end;
    struct stream_pos *goal; size_t goals;
    struct offer *offered; size_t offered_count;
    struct foreign_marks marks;
    int64_t now_us;
    struct buf rows, gone;               /* JSON, comma between */
    size_t rows_count, gone_count;
    uint64_t *mark; size_t mark_count;
    char id[129];                        /* the first one */
    struct offer *moved; size_t moves;   /* where each stream stands when the push was taken */
    bool trimmed;                        /* the log does not begin where it should */
    bool more;
    uint64_t *ids; size_t ids_used;      /* private: hashes of ids looked at */
};

int goal_run(struct read_item *item, struct store_tx *tx, struct err *err);
void goal_free(struct goal_job *j);
int look_run(struct read_item *item, struct store_tx *tx, struct err *err);
void look_free(struct look_job *j);
int merge_run(struct lane_item *item, struct change *c, struct err *err);
void merge_free(struct merge_job *j);
int collect_run(struct read_item *item, struct store_tx *tx, struct err *err);
void collect_free(struct collect_job *j);

#endif
