#include "unit.h"

#include "base/arena.h"
#include "base/buf.h"

#include "fail_alloc.h"

static void assert_holds(const struct buf *b, struct str want)
{
    assert_str(buf_str(b), want);
}

static void an_empty_buffer_holds_no_memory(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    assert_null(b.data);
    assert_holds(&b, STR(""));
    assert_int_equal(buf_append(&b, NULL, 0), 0);
    assert_null(b.data);
    buf_free(&b);
    buf_free(&b);
}

static void bytes_come_out_in_the_order_they_went_in(void **state)
{
    struct buf b;
    unsigned char in = 0, out = 0;

    (void)state;
    buf_init(&b, 10000);
    for (int round = 0; round < 2000; round++) {
        for (int i = 0; i < round % 13; i++, in++)
            assert_int_equal(buf_append(&b, &in, 1), 0);
        for (int i = 0; i < (round + 7) % 13 && b.len > 0; i++, out++) {
            assert_int_equal((unsigned char)*buf_head(&b), out);
            buf_consume(&b, 1);
        }
    }
    assert_int_equal((unsigned char)(in - out), b.len % 256);
    buf_free(&b);
}

static void the_limit_counts_what_is_held_and_not_what_went_through(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 8);
    assert_int_equal(buf_append_str(&b, STR("12345678")), 0);
    assert_int_equal(buf_append_str(&b, STR("9")), -1);
    assert_int_equal(errno, ENOBUFS);
    assert_holds(&b, STR("12345678"));
    for (int i = 0; i < 5000; i++) {
        buf_consume(&b, 3);
        assert_int_equal(buf_append_str(&b, STR("abc")), 0);
        assert_int_equal(b.len, 8);
    }
    assert_null(buf_reserve(&b, 1));
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_int_equal(errno, ENOBUFS);
    buf_free(&b);
}

static void a_buffer_without_a_limit_does_not_overflow(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, SIZE_MAX);
    assert_int_equal(buf_append_str(&b, STR("x")), 0);
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_null(buf_reserve(&b, SIZE_MAX - 1));
    assert_null(buf_reserve(&b, SIZE_MAX / 2 + 2));
    assert_holds(&b, STR("x"));
    buf_free(&b);
}

static void reserve_gives_room_that_commit_makes_part_of_it(void **state)
{
    struct buf b;
    char *room;

    (void)state;
    buf_init(&b, 5000);
    for (size_t n = 0; n < 60; n++) {
        room = buf_reserve(&b, n);
        assert_non_null(room);
        memset(room, 'x', n);
        buf_commit(&b, n / 2);
    }
    assert_int_equal(b.len, 870);
    buf_free(&b);
}

static void consuming_more_than_there_is_empties_it(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    buf_append_str(&b, STR("abc"));
    buf_consume(&b, 1);
    assert_holds(&b, STR("bc"));
    buf_consume(&b, 1000);
    assert_holds(&b, STR(""));
    buf_append_str(&b, STR("def"));
    assert_holds(&b, STR("def"));
    buf_clear(&b);
    assert_holds(&b, STR(""));
    buf_free(&b);
}

static void memory_is_given_back_only_when_empty(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    buf_append_str(&b, STR("abc"));
    buf_release_if_empty(&b);
    assert_holds(&b, STR("abc"));
    buf_consume(&b, 3);
    buf_release_if_empty(&b);
    assert_null(b.data);
    assert_int_equal(buf_append_str(&b, STR("def")), 0);
    assert_holds(&b, STR("def"));
    buf_free(&b);
}

static void printf_fills_the_buffer_to_the_last_byte(void **state)
{
    struct buf b;

    (void)state;
    for (size_t max = 0; max <= 1100; max += max < 20 || max > 500 ? 1 : 97) {
        buf_init(&b, max);
        for (size_t i = 0; i < max; i++)
            assert_int_equal(buf_printf(&b, "%c", 'x'), 0);
        assert_int_equal(b.len, max);
        assert_int_equal(buf_printf(&b, "y"), -1);
        assert_int_equal(errno, ENOBUFS);
        buf_free(&b);
    }
    buf_init(&b, 12);
    assert_int_equal(buf_printf(&b, "%d %s", -12345, "hello"), 0);
    assert_holds(&b, STR("-12345 hello"));
    assert_int_equal(buf_printf(&b, "%s", ""), 0);
    assert_int_equal(buf_printf(&b, "%d", 1), -1);
    assert_holds(&b, STR("-12345 hello"));
    buf_free(&b);
}

static void steal_hands_over_the_bytes_with_a_nul_and_leaves_it_usable(void **state)
{
    (void)state;
    for (size_t n = 0; n < 1200; n += n < 500 || n > 515 ? 37 : 1) {
        for (size_t consumed = 0; consumed <= 2; consumed++) {
            struct buf b;
            size_t length = 99;
            char *bytes;
            buf_init(&b, 2000);
            for (size_t i = 0; i < n + consumed; i++)
                buf_append_str(&b, i == consumed ? STR("\0") : STR("x"));
            buf_consume(&b, consumed);
            bytes = buf_steal(&b, &length);
            assert_int_equal(length, n);
            assert_int_equal(bytes[n], '\0');
            if (n > 1)
                assert_true(bytes[0] == '\0' && bytes[1] == 'x' && bytes[n - 1] == 'x');
            free(bytes);
            assert_int_equal(b.len, 0);
            assert_int_equal(buf_append_str(&b, STR("again")), 0);
            assert_holds(&b, STR("again"));
            buf_free(&b);
        }
    }
}

static void the_failure_of_an_allocation_leaves_the_bytes_alone(void **state)
{
    struct buf b;
    char *big;

    (void)state;
    buf_init(&b, 100000);
    for (size_t consumed = 0; consumed < 2; consumed++) {
        buf_append_str(&b, STR("xkept"));
        buf_consume(&b, 1);
        if (consumed == 0) {
            buf_clear(&b);
            buf_append_str(&b, STR("kept"));
        }
        allocations_left = 1;
        big = buf_reserve(&b, 50000);
        assert_null(big);
        assert_int_equal(errno, ENOMEM);
        assert_holds(&b, STR("kept"));
        assert_non_null(buf_reserve(&b, 50000));
        assert_holds(&b, STR("kept"));
        buf_free(&b);
    }
    allocations_left = 1;
    assert_null(buf_steal(&b, NULL));
    allocations_left = 0;
}

static void an_arena_gives_aligned_memory_up_to_its_limit(void **state)
{
    struct arena a;
    size_t total = 0;
    char *p;

    (void)state;
    arena_init(&a, 100000);
    for (size_t n = 0; (p = arena_alloc(&a, n)); n++) {
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        memset(p, 'x', n);
        total += n;
    }
    assert_true(total <= 100000 && total > 90000);
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_calloc(&a, SIZE_MAX / 2, 3));
    arena_free(&a);
    arena_free(&a);
    assert_non_null(arena_alloc(&a, 100000 - 16));
    arena_free(&a);
}

static void an_arena_begins_in_the_room_it_is_given(void **state)
{
    _Alignas(max_align_t) char room[256];
    struct arena a;
    char *p;

    (void)state;
    arena_init_in(&a, 100000, room, sizeof(room));
    p = arena_alloc(&a, 100);
    assert_true(p > room && p + 100 <= room + sizeof(room));
    p = arena_alloc(&a, 200);
    assert_true(p + 200 <= room || p >= room + sizeof(room));
    memset(p, 'x', 200);
    arena_free(&a);
}

static void an_arena_copies_text_and_zeroes_on_demand(void **state)
{
    struct arena a;
    char *zeroes;

    (void)state;
    arena_init(&a, 100000);
    memset(arena_alloc(&a, 3000), 'x', 3000);
    arena_free(&a);
    zeroes = arena_calloc(&a, 30, 100);
    for (int i = 0; i < 3000; i++)
        assert_int_equal(zeroes[i], 0);
    assert_string_equal(arena_strdup(&a, STR("text")), "text");
    assert_string_equal(arena_strdup(&a, (struct str){ NULL, 0 }), "");
    assert_string_equal(arena_printf(&a, "%s-%d", "n", 5), "n-5");
    assert_string_equal(arena_join(&a, STR("a"), STR(""), STR("bc")), "abc");
    arena_free(&a);
}

static void an_arena_without_memory_says_so(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 100000);
    allocations_left = 1;
    assert_null(arena_alloc(&a, 10));
    assert_int_equal(a.used, 0);
    assert_non_null(arena_alloc(&a, 10));
    allocations_left = 1;
    assert_null(arena_alloc(&a, 50000));
    assert_non_null(arena_alloc(&a, 10));
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_holds_no_memory),
        cmocka_unit_test(bytes_come_out_in_the_order_they_went_in),
        cmocka_unit_test(the_limit_counts_what_is_held_and_not_what_went_through),
        cmocka_unit_test(a_buffer_without_a_limit_does_not_overflow),
        cmocka_unit_test(reserve_gives_room_that_commit_makes_part_of_it),
        cmocka_unit_test(consuming_more_than_there_is_empties_it),
        cmocka_unit_test(memory_is_given_back_only_when_empty),
        cmocka_unit_test(printf_fills_the_buffer_to_the_last_byte),
        cmocka_unit_test(steal_hands_over_the_bytes_with_a_nul_and_leaves_it_usable),
        cmocka_unit_test(the_failure_of_an_allocation_leaves_the_bytes_alone),
        cmocka_unit_test(an_arena_gives_aligned_memory_up_to_its_limit),
        cmocka_unit_test(an_arena_begins_in_the_room_it_is_given),
        cmocka_unit_test(an_arena_copies_text_and_zeroes_on_demand),
        cmocka_unit_test(an_arena_without_memory_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
