/* edit.c - what a client asks for, as the operations do it. */
#include <stdio.h>

#include "sim.h"
#include "store/change.h"
#include "wrap.h"

#define LINK_KIND "related_to"

static int put(struct change *c, struct arena *a, const char *id, const struct edit *e)
{
    struct row before;
    char title[32], text[32];
    snprintf(title, sizeof(title), "title %u", e->title);
    snprintf(text, sizeof(text), "text %u", e->text);
    struct memory m = { .id = id, .ns = "n", .title = title, .content = text, .tags = "[]", .source = "api" };
    m.metadata = "{}";
    m.tier = TIER_MID;
    m.priority = 5;
    m.confidence = 1.0;
    bool creates = e->kind == EDIT_CREATE || e->kind == EDIT_JOIN;
    int rc = creates ? c->tx->v->by_title(c->tx, title, "n", a, &before)
                     : change_find(c->tx, id, false, a, &before, c->tx->err);
    if (rc == 0) {
        m = before.m;
        m.content = text;
        if (e->kind == EDIT_RENAME) m.title = title;
    } else if (rc != E_NOT_FOUND || (!creates && e->kind != EDIT_PUT)) {
        return rc;
    }
    if (e->kind == EDIT_QUIET) return change_memory_quietly(c, &m, &before, NULL);
    return change_memory(c, &m, rc == 0 ? &before : NULL, NULL);
}

static int end_row(struct change *c, struct arena *a, const char *id)
{
    struct row row;
    int rc = change_find(c->tx, id, false, a, &row, c->tx->err);
    return rc == 0 ? change_delete(c, &row) : rc;
}

static int join(struct change *c, struct arena *a, uint64_t key, const char *one, const char *two, const struct edit *e)
{
    char id[32];
    snprintf(id, sizeof(id), "id-%llu", (unsigned long long)key);
    change_group_begin(c);
    int rc = end_row(c, a, one);
    if (rc == 0) rc = end_row(c, a, two);
    if (rc == E_NOT_FOUND) rc = 0;
    if (rc == 0) rc = put(c, a, id, e);
    int end = change_group_end(c);
    return rc != 0 ? rc : end;
}

static int settle(struct change *c)
{
    const char *last;
    bool more;
    c->now_us += 2 * LOST_SETTLE_US;
    int rc = change_doubts(c, NULL, 4096, &last);
    c->now_us -= 2 * LOST_SETTLE_US;
    return rc == 0 ? change_losers(c, 4096, &more) : rc;
}

int edit_run(struct change *c, struct arena *a, uint64_t key, const struct edit *e, bool new_programs)
{
    char id[32], other[32];
    bool more;
    snprintf(id, sizeof(id), "id-%llu", (unsigned long long)(e->kind == EDIT_CREATE ? key : e->id + 1));
    snprintf(other, sizeof(other), "id-%u", e->title + 1);
    struct row row;
    struct link l = { .source_id = id, .target_id = other, .relation = LINK_KIND };
    int rc = 0;
    switch (e->kind) {
    case EDIT_CREATE:
    case EDIT_PUT:
    case EDIT_UPDATE:
    case EDIT_RENAME:
    case EDIT_QUIET: return put(c, a, id, e);
    case EDIT_DELETE: return end_row(c, a, id);
    case EDIT_JOIN: return join(c, a, key, id, other, e);
    case EDIT_TOUCH:
        rc = change_touch(c, id, c->now_us, 1 + e->text % 3);
        return rc == 0 ? change_touch_flush(c, &more) : rc;
    case EDIT_LINK: return change_link(c, &l);
    case EDIT_UNLINK: return change_unlink(c, &l);
    case EDIT_STANDARD:
        if (wrap_old_program) return E_INVALID;
        change_group_begin(c);
        rc = change_standard(c, "n", id, NULL);
        if (rc == 0 && new_programs) rc = change_standard(c, "m", other, NULL); /* in the same op */
        change_group_end(c);
        return rc;
    case EDIT_ARCHIVE:
        if (e->text % 2 != 0) return change_unarchive(c, id);
        rc = change_find(c->tx, id, false, a, &row, c->tx->err);
        return rc == 0 ? change_archive(c, &row, row.m.updated_at, "forget") : rc;
    case EDIT_SETTLE: return settle(c);
    }
    return E_INVALID;
}
