/* change_member.c - the nodes of the mesh, as replicated rows: u8 1, u8 state, text url, u64 since; the id in hex. */
#include "store/change_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define KEY_HEX 17
#define PAGE 256

static bool member_read(const struct side_row *side, struct arena *a, struct member *ret)
{
    struct reader r;
    reader_init(&r, side->body, side->body_len);
    uint8_t form = read_u8(&r);
    *ret = (struct member){ .state = (enum member_state)read_u8(&r), .stamp = side->stamp };
    ret->url = read_text(&r, a);
    ret->since_ms = (int64_t)read_u64(&r);
    ret->node = strtoull(side->id, NULL, 16);
    return !r.failed && form == MEMBER_FORM && ret->url != NULL && ret->node != 0;
}

int change_member(struct change *c, const struct member *m)
{
    struct buf b;
    char key[KEY_HEX];
    CHECK(m->node != 0);
    snprintf(key, sizeof(key), "%016llx", (unsigned long long)m->node);
    buf_init(&b, 4096);
    buf_u8(&b, MEMBER_FORM);
    buf_u8(&b, (uint8_t)m->state);
    buf_text(&b, m->url != NULL ? m->url : "");
    buf_u64(&b, (uint64_t)m->since_ms);
    int rc = b.failed ? E_TOO_LARGE : change_side(c, KIND_MEMBER, key, b.data, b.len);
    buf_release(&b);
    return rc;
}

int change_member_removed(struct store_tx *tx, uint64_t node, struct arena *a, bool *ret)
{
    struct member m;
    int rc = change_member_get(tx, node, a, &m);
    *ret = rc == 0 && m.state == MEMBER_REMOVED;
    return rc == E_NOT_FOUND ? 0 : rc;
}

int change_members(struct store_tx *tx, struct arena *a, struct member **ret, size_t *ret_count)
{
    struct side_row *side;
    size_t n;
    *ret_count = 0;
    int rc = tx->v->side_scan(tx, SIDE_MEMBER, NULL, NULL, PAGE, a, &side, &n);
    if (rc != 0) return rc;
    *ret = arena_alloc(a, (n + 1) * sizeof(**ret));
    if (*ret == NULL) return E_TOO_LARGE;
    for (size_t i = 0; i < n; i++) *ret_count += member_read(&side[i], a, &(*ret)[*ret_count]);
    return 0;
}

int change_member_get(struct store_tx *tx, uint64_t node, struct arena *a, struct member *ret)
{
    struct side_row side;
    char key[KEY_HEX];
    snprintf(key, sizeof(key), "%016llx", (unsigned long long)node);
    int rc = tx->v->side_get(tx, SIDE_MEMBER, key, a, &side);
    return rc == 0 && !member_read(&side, a, ret) ? E_NOT_FOUND : rc;
}
