/* scrub_shown.c - the part of a scrub that needs no peer: whether the original's tables show what our records say. A
 * reader looks at all of them, so that a file in order costs no write; what it finds is shown anew by the lane, in
 * slices, and is an alarm like any other row that was wrong here.
 *
 *   LOOK (reader) ─nothing─▶ end
 *     └▶ SLICE (lane) ─▶ ... ─▶ end */
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "cluster/internal.h"
#include "store/change_shown.h"

#define SLICE 64
#define ROWS_MAX 65536 /* mended in a round; the others in the next */
#define KEYS_BYTES_MAX (64u << 20)
#define TELL_MAX 20

struct shown_row {
    uint16_t kind;
    const char *id; /* in the arena */
};

struct shown_job {
    struct read_item look;
    struct lane_item slice;
    struct cluster *c;
    struct arena arena;
    struct shown_row *row; /* owned */
    size_t count, cap, from;
    bool mended[SLICE]; /* of this slice */
    size_t total, slices;
    shown_done done;
    void *data;
};

static const char *table_of(uint16_t kind)
{
    return kind == SIDE_LINK ? "memory_links" : kind == SIDE_STANDARD ? "namespace_meta" : "pending_actions";
}

static void job_end(struct shown_job *j, const char *why)
{
    struct cluster *c = j->c;
    if (j->total > TELL_MAX) log_error("cluster", "scrub: and %zu rows more in tables that show", j->total - TELL_MAX);
    j->done(j->data, why, j->total, j->slices);
    arena_release(&j->arena);
    mem_free(j->row);
    mem_free(j);
    cluster_job_done(c);
}

static bool found(void *data, uint16_t kind, const char *id)
{
    struct shown_job *j = data;
    const char *copy = j->count < ROWS_MAX ? arena_strdup(&j->arena, id) : NULL;
    if (copy == NULL) return false;
    if (j->count == j->cap) {
        j->cap = j->cap == 0 ? 64 : j->cap * 2;
        j->row = mem_realloc(j->row, j->cap * sizeof *j->row);
    }
    j->row[j->count++] = (struct shown_row){ kind, copy };
    return true;
}

static int look_run(struct read_item *item, struct store_tx *tx, struct err *err)
{
    (void)err;
    return change_shown_look(tx, found, container_of(item, struct shown_job, look));
}

static int slice_run(struct lane_item *item, struct change *ch, struct err *err)
{
    struct shown_job *j = container_of(item, struct shown_job, slice);
    int rc = 0;
    (void)err;
    for (size_t i = 0; rc == 0 && i < SLICE && j->from + i < j->count; i++)
        rc = change_shown_mend(ch, j->row[j->from + i].kind, j->row[j->from + i].id, &j->mended[i]);
    return rc;
}

static void slice_done(struct lane_item *item, int status);

static void next_slice(struct shown_job *j)
{
    if (j->from >= j->count || j->c->closing) {
        job_end(j, NULL);
        return;
    }
    memset(j->mended, 0, sizeof j->mended);
    j->slice = (struct lane_item){
        .run = slice_run, .done = slice_done, .class = LANE_UPKEEP, .no_fsync = true /* lost, it is found again */
    };
    int rc = lane_submit(j->c->lane, &j->slice);
    if (rc != 0) job_end(j, err_text(rc));
}

/* Keys hold control characters between their parts. */
static const char *plain(struct arena *a, const char *id)
{
    char *text = arena_strdup(a, id);
    for (char *p = text; p != NULL && *p != '\0'; p++)
        if ((unsigned char)*p < ' ') *p = ' ';
    return text != NULL ? text : "";
}

static void slice_done(struct lane_item *item, int status)
{
    struct shown_job *j = container_of(item, struct shown_job, slice);
    size_t before = j->total;
    if (status != 0) {
        job_end(j, err_text(status));
        return;
    }
    for (size_t i = 0; i < SLICE && j->from + i < j->count; i++) {
        const struct shown_row *row = &j->row[j->from + i];
        if (!j->mended[i]) continue;
        if (j->total++ < TELL_MAX)
            log_error("cluster", "scrub: row '%.128s' was missing or altered in %s: shown again, as its record says",
                      plain(&j->arena, row->id), table_of(row->kind));
    }
    j->slices += j->total > before;
    j->c->repairs += j->total > before;
    j->c->divergent += j->total - before;
    j->c->divergent_here += j->total - before;
    j->from += SLICE;
    next_slice(j);
}

static void look_done(struct read_item *item, int status)
{
    struct shown_job *j = container_of(item, struct shown_job, look);
    if (status != 0)
        job_end(j, j->look.err.msg[0] != 0 ? j->look.err.msg : err_text(status));
    else
        next_slice(j);
}

int shown_start(struct cluster *c, shown_done done, void *data)
{
    struct shown_job *j = mem_alloc(sizeof *j);
    j->c = c;
    j->done = done;
    j->data = data;
    j->look.run = look_run;
    j->look.done = look_done;
    arena_init(&j->arena, KEYS_BYTES_MAX);
    int rc = readers_submit(c->readers, &j->look);
    if (rc == 0)
        c->busy++;
    else
        mem_free(j);
    return rc;
}
