/* fuzz_version.c - arbitrary bytes as an op body, and as what is asked of memories.
 *
 * Checked: nothing crashes; what decodes encodes to the same bytes again; decoded memories and deletions merge; a query
 * of these bytes is taken apart within its bounds and matches a text.
 *
 * As a program: a fixed corpus and `argv[1]` (default 20000) seeded mutations of it. With clang and -DAIM_LIBFUZZER
 * -fsanitize=fuzzer,address it is a libFuzzer target instead. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/ascii_tokenizer.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "memory.h"
#include "memory/score.h"
#include "repl/hlc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct version *v, size_t count, const uint8_t *data, size_t size)
{
    struct buf b;

    buf_init(&b, OP_BYTES_MAX + 64);
    CHECK(op_encode(&b, v, count) == 0);
    CHECK(b.len == size && memcmp(b.data, data, size) == 0);
    buf_release(&b);
}

static void merge_all(const struct version *v, size_t count, struct arena *a)
{
    struct merged m = { 0 };

    for (size_t i = 0; i < count; i++) {
        struct stamp s = { .ver = v[i].ver, .stream = i % 3 };
        bool unseen;
        if (v[i].kind == KIND_MEMORY || v[i].kind == KIND_TOMBSTONE) merge_version(&m, &v[i], &s, &unseen);
        if (v[i].kind == KIND_TOUCH) merge_touch(&m, &v[i].touch);
    }
    merge_show(&m, a);
    if (m.known && !m.deleted) {
        CHECK(m.row.m.priority >= 1 && m.row.m.priority <= 10);
        CHECK(m.row.m.access_count >= 0 && m.row.m.access_count <= 1000000);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct version *v;
    struct query q;
    size_t count;

    arena_init(&a, 64u << 20);
    if (op_decode(data, size, &a, &v, &count) == 0) {
        check_again(v, count, data, size);
        merge_all(v, count, &a);
    }
    if (query_parse(&ascii_tokenizer, (const char *)data, size, true, &a, &q) == 0) {
        char *text = arena_strndup(&a, (const char *)data, size);
        struct memory m = { .title = text, .content = text, .tags = "[]" };
        struct text_match x;
        CHECK(q.groups <= QUERY_GROUPS_MAX);
        score_match(&ascii_tokenizer, &q, &m, &x);
    }
    arena_release(&a);
    return 0;
}

#ifndef AIM_LIBFUZZER
static uint64_t seed = 88172645463325252u;

static uint64_t rnd(uint64_t bound)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 11) % bound;
}

static void make_corpus(struct buf *b)
{
    const struct version v[] = {
        { .kind = KIND_MEMORY,
          .ver = hlc_of_us(1767225600000000),
          .m = { .id = "i",
                 .ns = "a/b",
                 .title = "salt-free planning \xe6\x97\xa5\xe6\x9c\xac",
                 .content = "plans planned salts",
                 .tags = "[]",
                 .source = "api",
                 .metadata = "{}",
                 .confidence = 1.0,
                 .created_at = "2026-01-01T00:00:00Z",
                 .updated_at = "2026-01-01T00:00:00Z",
                 .last_accessed_at = "2026-01-01T00:00:00Z" },
          .own = { .tier = TIER_MID, .priority = 5, .expires_at = "2026-01-08T00:00:00Z", .count_base = 3 } },
        { .kind = KIND_TOUCH, .ver = 9, .touch = { "i", 1, 12, 1767225700000000, 1777225700000000, false } },
        { .kind = KIND_TOMBSTONE, .ver = 4, .m = { .id = "i", .ns = "a/b", .title = "t" } },
        { .kind = KIND_LINK, .ver = 5, .link = { "a", "b", "supersedes", "2026-01-01T00:00:00Z" } },
        { .kind = KIND_IDEM, .ver = 6, .key = "k", .body = "0123", .body_len = 4 },
    };

    CHECK(op_encode(b, v, ARRAY_LEN(v)) == 0);
}

int main(int argc, char **argv)
{
    struct buf b;
    long runs = argc > 1 ? strtol(argv[1], NULL, 10) : 20000;
    uint8_t input[1024];

    buf_init(&b, sizeof(input));
    make_corpus(&b);
    LLVMFuzzerTestOneInput((const uint8_t *)b.data, b.len);
    for (long i = 0; i < runs; i++) {
        size_t len = rnd(8) ? b.len : rnd(b.len + 1);
        memcpy(input, b.data, b.len);
        for (uint64_t k = rnd(5); k > 0; k--) input[rnd(b.len)] = (uint8_t)(rnd(3) ? rnd(256) : rnd(2) * 255);
        uint8_t *copy = malloc(len + 1); /* as long as it says: reading beyond is seen */
        CHECK(copy != NULL);
        memcpy(copy, input, len);
        LLVMFuzzerTestOneInput(copy, len);
        free(copy);
    }
    buf_release(&b);
    printf("%ld inputs, no failure\n", runs);
    return 0;
}
#endif
