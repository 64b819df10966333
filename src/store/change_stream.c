/* change_stream.c - the end of a stream. Every run of a command is a life of its own with a stream of its own; once
 * its process is gone, the server of its file says so by an op, and when every member holds it whole, that it
 * leaves the vector. Both are facts in the log, so whoever has them has what came before them, or knows that it
 * lacks something:
 *
 *   WRITTEN ─its writer is gone─▶ ENDED at a position ─all members hold it whole─▶ LEFT (out of every vector, log
 *   trimmed)
 *   LEFT here while not whole: only a snapshot has the rest. Ops beyond an end (it was not the end): the stream
 *   goes on.
 *
 * The row of record, kind SIDE_STREAM: id in hex; u8 1, u8 what, u64 node, u64 pos, u64 chain. */
#include "store/change_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define FORM 1
#define KEY_HEX 17
#define LEFT_PAGE 1024
static const char lacks_key[] = "lacks";

struct end {
    enum stream_end what;
    struct stream_pos at;
};

static void key_of(uint64_t stream, char key[KEY_HEX])
{
    snprintf(key, KEY_HEX, "%016llx", (unsigned long long)stream);
}

static bool end_read(const char *key, const void *body, size_t len, struct end *ret)
{
    struct reader r;
    char *stop;
    *ret = (struct end){ 0 };
    reader_init(&r, body, len);
    uint8_t form = read_u8(&r);
    ret->what = (enum stream_end)read_u8(&r);
    ret->at.node = read_u64(&r);
    ret->at.pos = read_u64(&r);
    ret->at.chain = read_u64(&r);
    ret->at.stream = strtoull(key, &stop, 16);
    bool known = ret->what == STREAM_ENDED || ret->what == STREAM_LEFT;
    return !r.failed && form == FORM && known && *stop == '\0' && strlen(key) == KEY_HEX - 1 && ret->at.stream != 0 &&
           ret->at.stream <= INT64_MAX;
}

int lacks_put(struct change *c, bool lacks)
{
    const uint8_t value = lacks;
    return c->tx->v->local_put(c->tx, lacks_key, &value, 1);
}

int change_lacks(struct store_tx *tx, struct arena *a, bool *ret)
{
    struct local_value v = { 0 };
    int rc = tx->v->local_get(tx, lacks_key, a, &v);
    *ret = rc == 0 && v.len == 1 && *(const uint8_t *)v.data != 0;
    return rc == E_NOT_FOUND ? 0 : rc;
}

/* ---- applying -------------------------------------------------------------------------------------------------- */

int stream_leave(struct change *c, const struct stream_pos *at)
{
    struct stream_pos left = *at;
    left.ended = left.left = true;
    left.trimmed = left.pos;
    if (c->left_count == c->priv->left_cap) {
        c->priv->left_cap = c->priv->left_cap == 0 ? 64 : c->priv->left_cap * 2;
        c->left = mem_realloc(c->left, c->priv->left_cap * sizeof(*c->left));
    }
    c->left[c->left_count++] = left;
    return c->tx->v->stream_put(c->tx, &left);
}

static int leave(struct change *c, const struct end *e, const struct stream_pos *here, bool known)
{
    if (known && here->pos > e->at.pos) return 0; /* that was not its end */
    int rc = stream_leave(c, &e->at);
    if (rc != 0 || (known && here->pos == e->at.pos) || e->at.pos == 0) return rc;
    c->lacks = true;
    if (c->priv->now.merging && !cover_has(&c->priv->merging, e->at.stream, e->at.pos)) c->priv->now.missed = true;
    return lacks_put(c, true);
}

/* Whether the word on a stream's end that is here stands: the one of the later end does, then the one that goes
 * further, then the younger one. A life on an older copy of the file may say again that it ended when it has left. */
static bool end_stands(const struct side_row *side, const struct end *e, const struct stamp *s)
{
    struct end there;
    if (end_read(side->id, side->body, side->body_len, &there)) {
        if (there.at.pos != e->at.pos) return there.at.pos > e->at.pos;
        if (there.what != e->what) return there.what > e->what;
    }
    return stamp_cmp(&side->stamp, s) >= 0;
}

int stream_apply(struct change *c, const struct version *v, const struct stamp *s, struct arena *a)
{
    struct side_row side;
    struct stream_pos here;
    struct end e;
    if (!end_read(v->key, v->body, v->body_len, &e)) return E_INVALID; /* a later program's form: held */
    int rc = c->tx->v->side_get(c->tx, SIDE_STREAM, v->key, a, &side);
    if (rc == 0 && end_stands(&side, &e, s)) return 0;
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    side =
        (struct side_row){ .kind = SIDE_STREAM, .id = v->key, .stamp = *s, .body = v->body, .body_len = v->body_len };
    rc = c->tx->v->side_put(c->tx, &side);
    if (rc != 0 || e.at.stream == c->origin.stream) return rc; /* we live */
    rc = c->tx->v->stream_get(c->tx, e.at.stream, &here);
    if (rc != 0 && rc != E_NOT_FOUND) return rc;
    bool known = rc == 0;
    if (e.what == STREAM_LEFT) return leave(c, &e, &here, known);
    if (!known || here.pos != e.at.pos || here.ended) return 0;
    here.ended = true;
    return c->tx->v->stream_put(c->tx, &here);
}

int stream_check_end(struct change *c, struct stream_pos *pos)
{
    struct side_row side;
    struct end e;
    char key[KEY_HEX];
    key_of(pos->stream, key);
    pos->ended = pos->left = false;
    int rc = c->tx->v->side_get(c->tx, SIDE_STREAM, key, &c->priv->work, &side);
    if (rc != 0) return rc == E_NOT_FOUND ? 0 : rc;
    pos->ended = end_read(key, side.body, side.body_len, &e) && e.at.pos == pos->pos;
    return 0;
}

int stream_anchor(struct change *c, const struct stream_pos *at)
{
    struct log_op end = { .seq = at->pos, .chain = at->chain, .body = "", .body_len = 0 };
    return c->tx->v->op_append(c->tx, at->stream, &end);
}

/* ---- saying ---------------------------------------------------------------------------------------------------- */

static int say(struct change *c, uint64_t stream, enum stream_end what)
{
    struct stream_pos pos;
    struct buf b;
    char key[KEY_HEX];
    int rc = c->tx->v->stream_get(c->tx, stream, &pos);
    if (rc == E_NOT_FOUND || stream == c->origin.stream) return 0;
    if (rc != 0 || (what == STREAM_ENDED ? pos.ended : pos.left || !pos.ended)) return rc;
    if (pos.pos == 0) return stream_leave(c, &pos); /* a life that wrote nothing: nobody else knows it */
    key_of(stream, key);
    buf_init(&b, 64);
    buf_u8(&b, FORM);
    buf_u8(&b, (uint8_t)what);
    buf_u64(&b, pos.node);
    buf_u64(&b, pos.pos);
    buf_u64(&b, pos.chain);
    rc = change_side(c, KIND_STREAM, key, b.data, b.len);
    buf_release(&b);
    return rc;
}

int change_streams_end(struct change *c, const uint64_t *stream, size_t count, enum stream_end what)
{
    int rc = 0;
    change_group_begin(c);
    for (size_t i = 0; rc == 0 && i < count && i < OP_VERSIONS_MAX; i++) rc = say(c, stream[i], what);
    int end = change_group_end(c);
    return rc != 0 ? rc : end;
}

int change_streams_left(struct store_tx *tx, const char *after, struct arena *a, struct stream_pos **ret,
                        size_t *ret_count, const char **ret_last)
{
    struct side_row *side;
    struct end e;
    size_t n;
    *ret_count = 0;
    *ret_last = NULL;
    int rc = tx->v->side_scan(tx, SIDE_STREAM, NULL, after, LEFT_PAGE, a, &side, &n);
    if (rc != 0) return rc;
    *ret = arena_alloc(a, (n + 1) * sizeof(**ret));
    if (*ret == NULL) return E_TOO_LARGE;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (!end_read(side[i].id, side[i].body, side[i].body_len, &e)) continue;
        struct stream_pos *at = &(*ret)[*ret_count];
        rc = tx->v->stream_get(tx, e.at.stream, at);
        if (rc == 0) *ret_count += at->left; /* else it is not that far here, or went on */
        if (rc == E_NOT_FOUND) rc = 0;
    }
    if (rc != 0) return rc;
    if (n == LEFT_PAGE) *ret_last = side[n - 1].id;
    return 0;
}
