/* Buffers, readers, arenas and the list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/list.h"

static void buf_grows_and_ends_in_nul(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100000);
    assert_string_equal(buf_str(&b), "");
    for (int i = 0; i < 5000; i++) {
        buf_putc(&b, (char)('a' + i % 26));
        assert_int_equal(b.data[b.len], '\0');
    }
    buf_puts(&b, "end");
    buf_printf(&b, "[%0500d]", 7);
    assert_int_equal(b.len, 5000 + 3 + 502);
    assert_false(b.failed);
    assert_string_equal(b.data + b.len - 3, "07]");
    buf_drop_front(&b, 5000);
    assert_memory_equal(b.data, "end[0", 5);
    buf_drop_front(&b, b.len);
    assert_string_equal(buf_str(&b), "");
    buf_release(&b);
    assert_null(b.data);
}

static void buf_stops_at_its_maximum(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_puts(&b, "0123456789");
    assert_false(b.failed);
    buf_putc(&b, 'x');
    assert_true(b.failed);
    assert_string_equal(buf_str(&b), "0123456789");
    buf_clear(&b);
    assert_false(b.failed);
    buf_puts(&b, "abc");
    buf_puts(&b, "does not fit");
    buf_puts(&b, "z"); /* would fit, but the text has a hole already */
    assert_true(b.failed);
    assert_string_equal(buf_str(&b), "abc");
    buf_clear(&b);
    buf_printf(&b, "%s", "eleven char");
    assert_true(b.failed);
    assert_string_equal(buf_str(&b), "");
    buf_clear(&b);
    assert_null(buf_reserve(&b, 11));
    buf_clear(&b);
    buf_put(&b, "x", SIZE_MAX);
    assert_true(b.failed);
    buf_release(&b);
}

static void buf_reserve_and_take(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    char *room = buf_reserve(&b, 200);
    assert_non_null(room);
    memset(room, 'r', 200);
    buf_grew(&b, 150);
    assert_int_equal(b.len, 150);
    assert_int_equal(b.data[150], '\0');
    size_t len;
    char *taken = buf_take(&b, &len);
    assert_int_equal(len, 150);
    assert_int_equal(strlen(taken), 150);
    mem_free(taken);
    assert_int_equal(b.len, 0);
    taken = buf_take(&b, NULL);
    assert_string_equal(taken, "");
    mem_free(taken);
    buf_puts(&b, "usable again");
    assert_string_equal(buf_str(&b), "usable again");
    buf_release(&b);
}

static void binary_forms_round_trip(void **state)
{
    (void)state;
    struct buf b;
    struct arena a;
    arena_init(&a, 4096);
    buf_init(&b, 4096);
    buf_u8(&b, 0xfe);
    buf_u16(&b, 0x1234);
    buf_u32(&b, 0xdeadbeef);
    buf_u64(&b, UINT64_C(0x0102030405060708));
    buf_f64(&b, -0.1);
    buf_blob(&b, "a\0b", 3);
    buf_text(&b, "text");
    buf_text(&b, NULL);
    buf_text(&b, "");
    assert_memory_equal(b.data, "\xfe\x34\x12\xef\xbe\xad\xde\x08\x07", 9);
    struct reader r;
    reader_init(&r, b.data, b.len);
    assert_int_equal(read_u8(&r), 0xfe);
    assert_int_equal(read_u16(&r), 0x1234);
    assert_int_equal(read_u32(&r), 0xdeadbeef);
    assert_true(read_u64(&r) == UINT64_C(0x0102030405060708));
    assert_true(read_f64(&r) == -0.1);
    size_t len;
    const char *blob = read_blob(&r, &len);
    assert_int_equal(len, 3);
    assert_memory_equal(blob, "a\0b", 3);
    assert_string_equal(read_text(&r, &a), "text");
    assert_null(read_text(&r, &a));
    assert_string_equal(read_text(&r, &a), "");
    assert_int_equal(r.left, 0);
    assert_false(r.failed);
    assert_int_equal(read_u8(&r), 0);
    assert_true(r.failed);
    buf_release(&b);
    arena_release(&a);
}

/* Each prefix of a valid form must fail cleanly and never read past its end (ASan watches the exact-size copy). */
static void short_input_fails(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 4096);
    buf_u32(&b, 1);
    buf_text(&b, "hello");
    buf_blob(&b, "12345678", 8);
    for (size_t cut = 0; cut < b.len; cut++) {
        struct arena a;
        struct reader r;
        arena_init(&a, 4096);
        char *copy = mem_strndup(b.data, cut);
        copy = mem_realloc(copy, cut);
        reader_init(&r, copy, cut);
        read_u32(&r);
        read_text(&r, &a);
        size_t len;
        read_blob(&r, &len);
        assert_true(r.failed);
        assert_int_equal(len, 0);
        assert_int_equal(read_u64(&r), 0);
        mem_free(copy);
        arena_release(&a);
    }
    struct arena a;
    struct reader r;
    arena_init(&a, 4096);
    buf_clear(&b);
    buf_blob(&b, "a\0b", 3);
    reader_init(&r, b.data, b.len);
    assert_null(read_text(&r, &a));
    assert_true(r.failed);
    reader_init(&r, NULL, 0);
    assert_non_null(read_bytes(&r, 0));
    assert_null(read_bytes(&r, 1));
    buf_release(&b);
}

static void arena_serves_and_stops(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    unsigned char *all[1000];
    size_t sizes[1000], handed = 0;
    int count = 0;
    for (; count < 1000; count++) {
        sizes[count] = count % 97 == 0 ? 20000 : (size_t)(count * 7 % 300);
        all[count] = arena_alloc(&a, sizes[count]);
        if (all[count] == NULL) break;
        assert_int_equal((uintptr_t)all[count] % 16, 0);
        for (size_t i = 0; i < sizes[count]; i++) assert_int_equal(all[count][i], 0);
        memset(all[count], count & 0xff, sizes[count]);
        handed += sizes[count];
    }
    assert_int_equal(count, 1000);
    for (int i = 0; i < count; i++) {
        for (size_t j = 0; j < sizes[i]; j++) assert_int_equal(all[i][j], i & 0xff);
    }
    assert_true(a.used >= handed && a.used <= a.max);
    assert_null(arena_alloc(&a, (1 << 20) - handed));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 40));
    assert_non_null(arena_alloc(&a, 1));
    arena_release(&a);
    assert_int_equal(a.used, 0);
    assert_non_null(arena_alloc(&a, 1 << 20));
    assert_null(arena_alloc(&a, 1));
    arena_release(&a);
}

static void arena_texts(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 4096);
    assert_null(arena_strdup(&a, NULL));
    assert_string_equal(arena_strdup(&a, "copy"), "copy");
    assert_string_equal(arena_strndup(&a, "cut here", 3), "cut");
    assert_string_equal(arena_printf(&a, "%d-%s", 42, "x"), "42-x");
    char *wide = arena_printf(&a, "%0600d", 1);
    assert_int_equal(strlen(wide), 600);
    assert_null(arena_printf(&a, "%05000d", 1));
    arena_release(&a);
    arena_init(&a, 0);
    assert_null(arena_strdup(&a, ""));
    arena_release(&a);
}

static void plain_memory(void **state)
{
    (void)state;
    assert_null(mem_strdup(NULL));
    char *s = mem_strndup("abcdef", 3);
    assert_string_equal(s, "abc");
    s = mem_realloc(s, 100);
    assert_string_equal(s, "abc");
    mem_free(s);
    unsigned char *p = mem_alloc(64);
    for (int i = 0; i < 64; i++) assert_int_equal(p[i], 0);
    mem_free(p);
    p = mem_alloc(0);
    assert_non_null(p);
    mem_free(p);
    mem_free(NULL);
}

struct item {
    int number;
    struct list link;
};

static void list_keeps_order(void **state)
{
    (void)state;
    struct list a, b;
    struct item items[5] = { 0 };
    list_init(&a);
    list_init(&b);
    assert_true(list_empty(&a));
    assert_null(list_pop_head(&a));
    for (int i = 0; i < 5; i++) {
        items[i].number = i;
        assert_false(list_linked(&items[i].link));
        list_add_tail(i < 3 ? &a : &b, &items[i].link);
        assert_true(list_linked(&items[i].link));
    }
    list_splice_tail(&a, &b);
    assert_true(list_empty(&b));
    int expected = 0;
    list_each (it, &a) assert_int_equal(container_of(it, struct item, link)->number, expected++);
    assert_int_equal(expected, 5);
    list_each_safe (it, next, &a) {
        if (container_of(it, struct item, link)->number % 2 == 1) list_remove(it);
    }
    assert_false(list_linked(&items[1].link));
    list_remove(&items[1].link); /* twice is harmless */
    for (int i = 0; i < 5; i += 2) { assert_ptr_equal(list_pop_head(&a), &items[i].link); }
    assert_true(list_empty(&a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_grows_and_ends_in_nul),
        cmocka_unit_test(buf_stops_at_its_maximum),
        cmocka_unit_test(buf_reserve_and_take),
        cmocka_unit_test(binary_forms_round_trip),
        cmocka_unit_test(short_input_fails),
        cmocka_unit_test(arena_serves_and_stops),
        cmocka_unit_test(arena_texts),
        cmocka_unit_test(plain_memory),
        cmocka_unit_test(list_keeps_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
