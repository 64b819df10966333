/* rows.c - digests of lists of memories. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/digest.h"
#include "base/json.h"
#include "rows.h"

static const char *row_id(const json_t *row)
{
    const char *id = json_string_value(json_object_get(row, "id"));
    return id ? id : "";
}

static int by_id(const void *a, const void *b)
{
    return strcmp(row_id(*(const json_t *const *)a), row_id(*(const json_t *const *)b));
}

void rows_digest(const json_t *memories, char ret[ROWS_DIGEST])
{
    size_t count = json_array_size(memories);
    const json_t **row = mem_alloc((count + 1) * sizeof *row);
    struct buf b;
    uint8_t hash[32];
    buf_init(&b, (size_t)1 << 30);
    for (size_t i = 0; i < count; i++) row[i] = json_array_get(memories, i);
    qsort(row, count, sizeof *row, by_id);
    for (size_t i = 0; i < count; i++) {
        json_t *bare = json_copy((json_t *)(uintptr_t)row[i]);
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
