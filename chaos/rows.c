/* rows.c - digests of lists of memories. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/digest.h"
#include "base/json.h"
#include "rows.h"

struct row {
    const char *id;
    json_t *doc;
};

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct row *)a)->id, ((const struct row *)b)->id);
}

void rows_digest(const json_t *memories, char ret[ROWS_DIGEST])
{
    size_t count = json_array_size(memories);
    struct row *row = mem_alloc((count + 1) * sizeof *row);
    struct buf b;
    uint8_t hash[32];
    buf_init(&b, (size_t)1 << 30);
    for (size_t i = 0; i < count; i++) {
        row[i].doc = json_array_get(memories, i);
        const char *id = json_string_value(json_object_get(row[i].doc, "id"));
        row[i].id = id ? id : "";
    }
    qsort(row, count, sizeof *row, by_id);
    for (size_t i = 0; i < count; i++) {
        json_t *bare = json_copy(row[i].doc);
        json_object_del(bare, "access_count");
        json_object_del(bare, "last_accessed_at");
        json_print(&b, bare);
        buf_putc(&b, '\n');
        json_decref(bare);
    }
    sha256(buf_str(&b), b.len, hash);
    hex_print(ret, hash, sizeof hash);
    buf_release(&b);
    mem_free(row);
}
