/* change_side.c - what stands beside the memories and is replicated as whole rows by key: the archive, actions that
 * wait for a decision, members. The row of record lies among ours; the original's tables show it.
 *
 *   ARCHIVE   body: u8 1, row, text archived_at, text reason; or u8 2: taken out of the archive. The greater stamp
 *             wins. The text itself lies in the original's table alone: the record's key is its print, AGED when
 *             this node's archive let it go by its age, 0 in records of older programs.
 *   PENDING   body: JSON. The greater stamp says what was asked; votes are a set by lower-cased voter, the earliest
 *             of each; of two decisions the greater stands (approved, rejected, none; then the earlier). So no vote
 *             and no decision is lost, whatever the order. Key VOTED while it is open and several
 *             voted.
 *   MEMBER    that a node was removed stands for ever, whoever took it for a new one meanwhile; else the greater stamp
 *             wins. Nothing is shown. */
#include "store/change_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/digest.h"
#include "base/json.h"
#include "store/row.h"

#define VOTED 1
#define AGED 1

/* ---- the archive ------------------------------------------------------------------------------------------------- */

int archive_look(struct store_tx *tx, const struct side_row *side, struct arena *a, struct buf *b,
                 struct archive_look *ret)
{
    struct archived kept;
    int64_t us;
    *ret = (struct archive_look){ .text = ARCHIVE_LOST };
    int rc = tx->v->archive_get(tx, side->id, a, &kept);
    if (rc == E_NOT_FOUND && side->key == AGED) ret->text = ARCHIVE_AGED;
    if (rc != 0) return rc == E_NOT_FOUND ? 0 : rc;
    buf_clear(b);
    buf_u8(b, ARCHIVE_ROW);
    row_write(b, &kept.row);
    buf_text(b, kept.archived_at);
    buf_text(b, kept.reason);
    if (b->failed) return E_TOO_LARGE;
    ret->print = hash64(b->data, b->len, 0) & INT64_MAX;
    if (ret->print <= AGED) ret->print = AGED + 1;
    /* what was put there since is the original's */
    bool since = time_parse(kept.archived_at, strlen(kept.archived_at), &us) == 0 && us > stamp_us(side->stamp.ver);
    bool stands = side->key <= AGED || side->key == ret->print || since;
    ret->text = stands ? ARCHIVE_STANDS : ARCHIVE_ALTERED;
    return 0;
}

bool archive_shown(const struct side_row *side)
{
    return side->body_len == 1 && *(const uint8_t *)side->body == ARCHIVE_ROW;
}

int archive_print(struct store_tx *tx, struct side_row *side, struct arena *a)
{
    struct archive_look look;
    struct buf b;
    buf_init(&b, OP_BYTES_MAX);
    int rc = archive_look(tx, side, a, &b, &look);
    buf_release(&b);
    side->key = look.print;
    return rc == E_TOO_LARGE ? 0 : rc;
}

/* What came once more is needed: its text was lost or altered. */
static int archive_lacks(struct store_tx *tx, const struct side_row *side, struct arena *a, bool *ret)
{
    struct archive_look look;
    struct buf b;
    *ret = false;
    if (!archive_shown(side)) return 0;
    buf_init(&b, OP_BYTES_MAX);
    int rc = archive_look(tx, side, a, &b, &look);
    buf_release(&b);
    *ret = rc == 0 && (look.text == ARCHIVE_LOST || look.text == ARCHIVE_ALTERED);
    return rc;
}

int change_archive_aged(struct change *c, const char *id)
{
    struct side_row side;
    int rc = c->tx->v->side_get(c->tx, SIDE_ARCHIVE, id, c->scratch, &side);
    if (rc == 0 && archive_shown(&side)) {
        side.key = AGED;
        rc = c->tx->v->side_put(c->tx, &side);
    }
    return rc == 0 || rc == E_NOT_FOUND ? c->tx->v->archive_remove(c->tx, id, NULL) : rc;
}

/* What is shown has its text in the archive; other bytes (a later program's) are kept whole. */
static int archive_show(struct change *c, struct side_row *side, struct arena *a)
{
    struct reader r;
    struct row row;
    reader_init(&r, side->body, side->body_len);
    uint8_t form = read_u8(&r);
    if (form == ARCHIVE_GONE) {
        int rc = c->tx->v->archive_remove(c->tx, side->id, NULL);
        return rc == 0 ? shadow_shown(c, side->id, &side->stamp, a) : rc;
    }
    if (form != ARCHIVE_ROW || row_read(&r, a, &row) != 0) return 0;
    const char *at = read_text(&r, a), *reason = read_text(&r, a);
    if (r.failed || at == NULL || reason == NULL) return 0;
    side->body_len = 1;
    int rc = c->tx->v->archive_put(c->tx, &row, at, reason);
    return rc == 0 ? archive_print(c->tx, side, a) : rc;
}

bool archive_gone(const struct side_row *side)
{
    return side->body_len == 1 && *(const uint8_t *)side->body == ARCHIVE_GONE;
}

int change_archive(struct change *c, const struct row *row, const char *archived_at, const char *reason)
{
    struct buf b;
    buf_init(&b, OP_BYTES_MAX);
    buf_u8(&b, ARCHIVE_ROW);
    row_write(&b, row);
    buf_text(&b, archived_at);
    buf_text(&b, reason);
    int rc = b.failed ? E_TOO_LARGE : change_side(c, KIND_ARCHIVE, row->m.id, b.data, b.len);
    buf_release(&b);
    return rc;
}

int change_unarchive(struct change *c, const char *id)
{
    const uint8_t gone = ARCHIVE_GONE;
    return change_side(c, KIND_ARCHIVE, id, &gone, 1);
}

int change_sweep_copy(struct change *c, const struct row *row)
{
    struct side_row side;
    char now[TIME_TEXT];
    if (!memory_expired(&row->m, c->now_us)) return 0;
    int rc = c->tx->v->side_get(c->tx, SIDE_ARCHIVE, row->m.id, c->scratch, &side);
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    /* somebody took it out of the archive already, where it was swept earlier */
    bool purged = rc == 0 && archive_gone(&side) && side.stamp.ver > row->stamp.ver;
    /* a copy that all nodes have is not replaced by one of this node alone */
    bool kept = rc == 0 && !archive_gone(&side);
    time_print(now, c->now_us);
    rc = purged || kept ? 0 : c->tx->v->archive_put(c->tx, row, now, "ttl_expired");
    return rc == 0 ? change_sweep(c, row) : rc;
}

/* ---- pending actions --------------------------------------------------------------------------------------------- */

static const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

/* NULL when it is not of the form we know. */
static json_t *pending_parse(const void *body, size_t len)
{
    static const char *const needed[] = { "action_type", "namespace", "requested_by", "requested_at", "status" };
    json_t *o = body != NULL ? json_parse(body, len, NULL, 0, NULL) : NULL;
    bool whole = json_is_object(o) && json_is_array(json_object_get(o, "approvals"));
    for (size_t i = 0; whole && i < ARRAY_LEN(needed); i++) whole = text_of(o, needed[i]) != NULL;
    if (whole) return o;
    json_decref(o);
    return NULL;
}

static int64_t time_of(const char *text)
{
    int64_t us;
    return text != NULL && time_parse(text, strlen(text), &us) == 0 ? us : INT64_MAX;
}

/* Earlier first, then by text: a total order. */
static int by_moment(const char *at_a, const char *at_b, const char *who_a, const char *who_b)
{
    int64_t a = time_of(at_a), b = time_of(at_b);
    if (a != b) return a < b ? -1 : 1;
    int order = strcmp(at_a != NULL ? at_a : "", at_b != NULL ? at_b : "");
    return order != 0 ? order : strcmp(who_a != NULL ? who_a : "", who_b != NULL ? who_b : "");
}

static int by_vote(const void *a, const void *b)
{
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    return by_moment(text_of(x, "approved_at"), text_of(y, "approved_at"), text_of(x, "agent_id"),
                     text_of(y, "agent_id"));
}

static char *lower(const char *s)
{
    char *copy = mem_strdup(s);
    for (char *p = copy; *p != '\0'; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p | 0x20);
    return copy;
}

/* Adds the votes of one row to the set. */
static void add_votes(json_t *set, const json_t *row)
{
    size_t i;
    json_t *vote;
    json_array_foreach (json_object_get(row, "approvals"), i, vote) {
        const char *who = text_of(vote, "agent_id"), *at = text_of(vote, "approved_at");
        if (who == NULL || at == NULL) continue;
        char *key = lower(who);
        json_t *one = json_pack("{s:s, s:s}", "agent_id", key, "approved_at", at), *there = json_object_get(set, key);
        if (there != NULL && by_vote(&there, &one) <= 0)
            json_decref(one);
        else
            json_object_set_new(set, key, one);
        mem_free(key);
    }
}

static json_t *votes_list(const json_t *set)
{
    size_t n = 0, count = json_object_size(set);
    json_t **vote = mem_alloc((count + 1) * sizeof(*vote)), *v, *list = json_array();
    const char *key;
    json_object_foreach ((json_t *)(uintptr_t)set, key, v) vote[n++] = v;
    qsort(vote, n, sizeof(*vote), by_vote);
    for (size_t i = 0; i < n; i++) json_array_append(list, vote[i]);
    mem_free(vote);
    return list;
}

static int rank_of(const json_t *row)
{
    const char *status = text_of(row, "status");
    return strcmp(status, "approved") == 0 ? 2 : strcmp(status, "rejected") == 0 ? 1 : 0;
}

/* Whether b's decision stands before a's. */
static bool decides(const json_t *b, const json_t *a)
{
    if (rank_of(a) != rank_of(b)) return rank_of(b) > rank_of(a);
    if (rank_of(a) == 0) return false;
    return by_moment(text_of(b, "decided_at"), text_of(a, "decided_at"), text_of(b, "decided_by"),
                     text_of(a, "decided_by")) < 0;
}

/* `newer` (the one of the greater stamp) with the votes and the decision of both. */
static void pending_join(json_t *newer, const json_t *older)
{
    static const char *const decision[] = { "status", "decided_by", "decided_at" };
    json_t *set = json_object();
    bool overruled = older != NULL && decides(older, newer);
    add_votes(set, newer);
    if (older != NULL) add_votes(set, older);
    json_object_set_new(newer, "approvals", votes_list(set));
    json_decref(set);
    for (size_t i = 0; overruled && i < ARRAY_LEN(decision); i++) {
        json_t *v = json_object_get(older, decision[i]);
        json_object_set_new(newer, decision[i], v != NULL ? json_incref(v) : json_null());
    }
}

static const char *print(const json_t *v, struct arena *a, size_t *ret_len)
{
    struct buf b;
    buf_init(&b, OP_BYTES_MAX);
    json_print(&b, v);
    const char *text = b.failed ? NULL : arena_strndup(a, buf_str(&b), b.len);
    if (ret_len != NULL) *ret_len = b.len;
    buf_release(&b);
    return text;
}

static int pending_of(const char *id, const json_t *row, struct arena *a, struct pending *ret)
{
    const json_t *payload = json_object_get(row, "payload");
    *ret = (struct pending){
        .id = id,
        .action = text_of(row, "action_type"),
        .memory_id = text_of(row, "memory_id"),
        .ns = text_of(row, "namespace"),
        .payload = payload != NULL ? print(payload, a, NULL) : "{}",
        .requested_by = text_of(row, "requested_by"),
        .requested_at = text_of(row, "requested_at"),
        .status = text_of(row, "status"),
        .decided_by = text_of(row, "decided_by"),
        .decided_at = text_of(row, "decided_at"),
        .approvals = print(json_object_get(row, "approvals"), a, NULL),
    };
    return ret->payload != NULL && ret->approvals != NULL ? 0 : E_TOO_LARGE;
}

static int pending_show(struct change *c, const char *id, const json_t *row, struct arena *a)
{
    struct pending p;
    int rc = pending_of(id, row, a, &p);
    return rc == 0 ? c->tx->v->pending_put(c->tx, &p) : rc;
}

int pending_again(struct change *c, const struct side_row *side, struct arena *a)
{
    json_t *row = pending_parse(side->body, side->body_len);
    int rc = row != NULL ? pending_show(c, side->id, row, a) : 0;
    json_decref(row);
    return rc;
}

int pending_right(struct store_tx *tx, const struct side_row *side, struct arena *a, bool *ret)
{
    json_t *row = pending_parse(side->body, side->body_len);
    struct pending w = { 0 }, s = { 0 };
    *ret = true;
    int rc = row != NULL ? pending_of(side->id, row, a, &w) : 0;
    if (rc == 0 && row != NULL) {
        rc = tx->v->pending_get(tx, side->id, a, &s);
        *ret = rc == 0 && text_same(w.action, s.action) && text_same(w.memory_id, s.memory_id) &&
               text_same(w.ns, s.ns) && text_same(w.payload, s.payload) && text_same(w.requested_by, s.requested_by) &&
               text_same(w.requested_at, s.requested_at) && text_same(w.status, s.status) &&
               text_same(w.decided_by, s.decided_by) && text_same(w.decided_at, s.decided_at) &&
               text_same(w.approvals, s.approvals);
    }
    json_decref(row);
    return rc == E_NOT_FOUND ? 0 : rc;
}

/* `there`: the row of record, body NULL when there is none. */
static int pending_apply(struct change *c, const struct version *v, const struct stamp *s, const struct side_row *there,
                         struct arena *a)
{
    json_t *row = pending_parse(v->body, v->body_len), *before = pending_parse(there->body, there->body_len);
    struct side_row side = { .kind = SIDE_PENDING, .id = v->key, .stamp = *s };
    if (row == NULL) {
        json_decref(before);
        return E_INVALID; /* a later program's form: held */
    }
    if (before != NULL && stamp_cmp(&there->stamp, s) > 0) {
        json_t *swap = row;
        row = before;
        before = swap;
        side.stamp = there->stamp;
    }
    pending_join(row, before);
    bool open = strcmp(text_of(row, "status"), "pending") == 0;
    if (open && json_array_size(json_object_get(row, "approvals")) > 1) side.key = VOTED;
    side.body = print(row, a, &side.body_len);
    int rc = side.body != NULL ? c->tx->v->side_put(c->tx, &side) : E_TOO_LARGE;
    if (rc == 0) rc = pending_show(c, v->key, row, a);
    json_decref(row);
    json_decref(before);
    return rc;
}

int change_pending(struct change *c, const struct pending *p)
{
    size_t len = 0;
    json_t *payload = json_parse(p->payload, strlen(p->payload), NULL, 0, NULL);
    json_t *votes = json_parse(p->approvals, strlen(p->approvals), NULL, 0, NULL);
    if (!json_is_array(votes)) {
        json_decref(votes);
        votes = json_array();
    }
    json_t *row = json_pack("{s:s, s:s, s:s?, s:s, s:o?, s:s, s:s, s:s, s:s?, s:s?, s:o}", "id", p->id, "action_type",
                            p->action, "memory_id", p->memory_id, "namespace", p->ns, "payload", payload,
                            "requested_by", p->requested_by, "requested_at", p->requested_at, "status", p->status,
                            "decided_by", p->decided_by, "decided_at", p->decided_at, "approvals", votes);
    const char *text = row != NULL ? print(row, c->scratch, &len) : NULL;
    json_decref(row);
    return text != NULL ? change_side(c, KIND_PENDING, p->id, text, len) : E_TOO_LARGE;
}

int change_voted(struct change *c, const char ***ret, size_t *ret_count)
{
    struct side_row *side;
    size_t n;
    *ret_count = 0;
    int rc = c->tx->v->side_by_key(c->tx, SIDE_PENDING, VOTED, c->scratch, &side, &n);
    *ret = rc == 0 ? arena_alloc(c->scratch, (n + 1) * sizeof(char *)) : NULL;
    if (*ret == NULL) return rc != 0 ? rc : E_TOO_LARGE;
    for (size_t i = 0; i < n; i++) (*ret)[(*ret_count)++] = side[i].id;
    return 0;
}

/* ---- members ----------------------------------------------------------------------------------------------------- */

static bool member_gone(const void *body, size_t len)
{
    const uint8_t *b = body;
    return len > 1 && b[0] == MEMBER_FORM && b[1] == MEMBER_REMOVED;
}

/* By (removed, stamp). */
static int member_cmp(const struct side_row *there, const struct version *v, const struct stamp *s)
{
    int order = member_gone(there->body, there->body_len) - member_gone(v->body, v->body_len);
    return order != 0 ? order : stamp_cmp(&there->stamp, s);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

int side_apply(struct change *c, const struct version *v, const struct stamp *s, uint16_t kind, struct arena *a)
{
    struct side_row side = { 0 };
    int rc = c->tx->v->side_get(c->tx, kind, v->key, a, &side);
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    if (kind == SIDE_PENDING) return pending_apply(c, v, s, &side, a);
    int order = rc != 0 ? -1 : kind == SIDE_MEMBER ? member_cmp(&side, v, s) : stamp_cmp(&side.stamp, s);
    bool lacks = false;
    if (order == 0 && kind == SIDE_ARCHIVE && (rc = archive_lacks(c->tx, &side, a, &lacks)) != 0) return rc;
    if (order >= 0 && !lacks) return 0;
    side = (struct side_row){ .kind = kind, .id = v->key, .stamp = *s, .body = v->body, .body_len = v->body_len };
    rc = kind == SIDE_ARCHIVE ? archive_show(c, &side, a) : 0;
    return rc == 0 ? c->tx->v->side_put(c->tx, &side) : rc;
}
