#include "unit.h"

#include "base/error.h"
#include "base/recycle.h"

static void slices_compare_by_their_bytes(void **state)
{
    (void)state;
    assert_true(str_eq(STR("a\0b"), STR("a\0b")));
    assert_false(str_eq(STR("a\0b"), STR("a\0c")));
    assert_false(str_eq(STR("a"), STR("ab")));
    assert_true(str_eq((struct str){ NULL, 0 }, STR("")));
    assert_true(str_is(STR("abc"), "abc"));
    assert_false(str_is(STR("abc\0"), "abc"));
    assert_int_equal(str_from(NULL).n, 0);
    assert_true(str_has_prefix(STR("abc"), STR("ab")));
    assert_true(str_has_prefix(STR("abc"), STR("")));
    assert_true(str_has_prefix(STR("abc"), STR("abc")));
    assert_false(str_has_prefix(STR("abc"), STR("abcd")));
    assert_false(str_has_prefix(STR("abc"), STR("b")));
}

static void case_is_folded_for_ascii_letters_only(void **state)
{
    (void)state;
    assert_true(str_eq_nocase(STR("Content-LENGTH"), STR("content-length")));
    assert_false(str_eq_nocase(STR("content-length"), STR("content-lengt")));
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            char x = (char)a, y = (char)b;
            bool letters = (a | 0x20) == (b | 0x20) && (a | 0x20) >= 'a' && (a | 0x20) <= 'z';
            assert_int_equal(str_eq_nocase((struct str){ &x, 1 }, (struct str){ &y, 1 }), a == b || letters);
        }
    }
}

static void trim_takes_spaces_and_tabs_at_both_ends(void **state)
{
    (void)state;
    assert_str(str_trim(STR(" \ta b\t ")), STR("a b"));
    assert_str(str_trim(STR("a")), STR("a"));
    assert_str(str_trim(STR(" \t ")), STR(""));
    assert_str(str_trim(STR("")), STR(""));
    assert_str(str_trim(STR("\na\r")), STR("\na\r"));
}

static void copies_are_terminated_and_refuse_what_would_be_cut(void **state)
{
    char out[4] = "xxx";
    char *copy;

    (void)state;
    assert_int_equal(str_copy(STR("abc"), out, sizeof(out)), 0);
    assert_string_equal(out, "abc");
    assert_int_equal(str_copy(STR("abcd"), out, sizeof(out)), -1);
    assert_int_equal(str_copy(STR("a\0b"), out, sizeof(out)), -1);
    assert_int_equal(str_copy(STR(""), out, 0), -1);
    assert_string_equal(out, "abc");
    assert_int_equal(str_copy((struct str){ NULL, 0 }, out, 1), 0);
    assert_string_equal(out, "");
    copy = str_dup(STR("hello"));
    assert_string_equal(copy, "hello");
    free(copy);
    assert_null(str_dup(STR("a\0b")));
}

static void numbers_are_digits_without_overflow(void **state)
{
    static const char *const refused[] = { "",
                                           "-1",
                                           "+1",
                                           " 1",
                                           "1 ",
                                           "0x1",
                                           "1a",
                                           "1.0",
                                           "１",
                                           "/",
                                           "1:",
                                           "18446744073709551616",
                                           "99999999999999999999999999" };
    uint64_t value = 7;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
        assert_int_equal(str_to_u64(str_from(refused[i]), &value), -1);
    assert_int_equal(str_to_u64(STR("1\0"), &value), -1);
    assert_int_equal(value, 7);
    assert_int_equal(str_to_u64(STR("18446744073709551615"), &value), 0);
    assert_true(value == UINT64_MAX);
    assert_int_equal(str_to_u64(STR("0"), &value), 0);
    assert_true(value == 0);
    assert_int_equal(str_to_u64(STR("007"), &value), 0);
    assert_true(value == 7);
}

static void bytes_are_equal_only_if_all_are(void **state)
{
    unsigned char a[32], b[32];

    (void)state;
    random_bytes(a, sizeof(a));
    memcpy(b, a, sizeof(b));
    assert_true(bytes_equal_constant_time(a, b, sizeof(a)));
    assert_true(bytes_equal_constant_time(a, b, 0));
    for (size_t i = 0; i < 8 * sizeof(b); i++) {
        b[i / 8] ^= (unsigned char)(1 << i % 8);
        assert_false(bytes_equal_constant_time(a, b, sizeof(a)));
        b[i / 8] ^= (unsigned char)(1 << i % 8);
    }
}

static void hex_makes_the_round_trip_in_lower_case_only(void **state)
{
    static const char *const refused[] = { "", "0", "000", "0g", "0A", "AB", " 0", "0x", "/0", ":0", "`0" };
    unsigned char bytes[256], back[256];
    char text[513];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)i;
    hex_encode(bytes, sizeof(bytes), text);
    assert_int_equal(strlen(text), 512);
    assert_memory_equal(text, "000102", 6);
    assert_memory_equal(text + 506, "fdfeff", 6);
    assert_int_equal(hex_decode(str_from(text), back, sizeof(back)), 0);
    assert_memory_equal(back, bytes, sizeof(bytes));
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
        assert_int_equal(hex_decode(str_from(refused[i]), back, 1), -1);
    assert_int_equal(hex_decode(STR("00"), back, 2), -1);
}

static void random_bytes_differ_and_fill_long_requests(void **state)
{
    static unsigned char a[4096], b[4096];

    (void)state;
    random_bytes(a, sizeof(a));
    random_bytes(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_not_equal(a + sizeof(a) - 32, a, 32);
}

static void owned_values_are_released_once_and_can_be_handed_over(void **state)
{
    int fds[2], kept;
    char *text = malloc(4), *taken;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    {
        _cleanup_close_ int a = fds[0];
        _cleanup_close_ int b = fds[1];
        _cleanup_free_ char *t = text;
        kept = TAKE_FD(b);
        taken = TAKE_PTR(t);
        assert_int_equal(b, -EBADF);
        assert_null(t);
        assert_int_equal(a, fds[0]);
    }
    assert_ptr_equal(taken, text);
    assert_int_equal(close(fds[0]), -1);
    assert_int_equal(close(kept), 0);
    free(taken);
}

static void an_error_says_what_happened_where_and_why(void **state)
{
    struct berm_error err = { .code = BERM_OK };

    (void)state;
    assert_int_equal(berm_fail(&err, BERM_E_IMAGE_NOT_FOUND, ENOENT, "open %s", "base"), -1);
    assert_int_equal(err.code, BERM_E_IMAGE_NOT_FOUND);
    assert_int_equal(err.errnum, ENOENT);
    assert_string_equal(err.message, "open base: No such file or directory");
    assert_int_equal(berm_error_wrap(&err, "image %d", 1), -1);
    assert_string_equal(err.message, "image 1: open base: No such file or directory");
    assert_int_equal(berm_fail_field(&err, "cwd", "must be absolute"), -1);
    assert_int_equal(err.code, BERM_E_INVALID_REQUEST);
    assert_int_equal(err.errnum, 0);
    assert_string_equal(err.field, "cwd");
    assert_string_equal(err.message, "must be absolute");
    assert_int_equal(berm_fail(&err, BERM_E_INTERNAL, 0, "x"), -1);
    assert_string_equal(err.field, "");
    assert_int_equal(berm_fail(NULL, BERM_E_INTERNAL, 0, "x"), -1);
    assert_int_equal(berm_error_wrap(NULL, "x"), -1);
}

static void a_long_error_is_cut_and_terminated(void **state)
{
    struct berm_error err;
    char text[1000];

    (void)state;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    berm_fail(&err, BERM_E_INTERNAL, ENOENT, "%s", text);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    berm_error_wrap(&err, "%s", text);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    berm_fail_field(&err, text, "%s", text);
    assert_int_equal(strlen(err.field), sizeof(err.field) - 1);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
}

static void numbers_are_written_in_decimal(void **state)
{
    static const uint64_t numbers[] = { 0, 7, 10, 65535, 1000000, UINT64_MAX };
    char room[U64_TEXT], expected[32];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        struct str text = u64_text(numbers[i], room);

        snprintf(expected, sizeof(expected), "%llu", (unsigned long long)numbers[i]);
        assert_string_equal(text.p, expected);
        assert_int_equal(text.n, strlen(expected));
    }
}

static void what_is_recycled_comes_back_and_is_bounded(void **state)
{
    struct recycled recycled = { 0 };
    void *objects[3];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
        assert_non_null(objects[i] = recycled_take(&recycled, 5000));
    for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
        recycled_give(&recycled, objects[i], 2);
    assert_true(recycled.count <= 2);
    recycled_give(&recycled, recycled_take(&recycled, 5000), 2);
    recycled_give(&recycled, NULL, 2);
    recycled_free(&recycled);
    assert_null(recycled.first);
    assert_int_equal(recycled.count, 0);
}

static void every_error_has_a_code_on_the_wire_and_a_status(void **state)
{
    (void)state;
    assert_string_equal(berm_err_wire(BERM_E_SANDBOX_NOT_FOUND), "sandbox_not_found");
    assert_int_equal(berm_err_status(BERM_E_SANDBOX_NOT_FOUND), 404);
    for (int code = BERM_OK + 1; code < BERM_E_COUNT; code++) {
        assert_true(berm_err_status((enum berm_err)code) >= 400);
        assert_true(berm_err_status((enum berm_err)code) <= 599);
        for (int other = BERM_OK; other < code; other++)
            assert_string_not_equal(berm_err_wire((enum berm_err)code), berm_err_wire((enum berm_err)other));
    }
    assert_string_equal(berm_err_wire(BERM_E_COUNT), "internal_error");
    assert_int_equal(berm_err_status((enum berm_err) - 1), 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_compare_by_their_bytes),
        cmocka_unit_test(case_is_folded_for_ascii_letters_only),
        cmocka_unit_test(trim_takes_spaces_and_tabs_at_both_ends),
        cmocka_unit_test(copies_are_terminated_and_refuse_what_would_be_cut),
        cmocka_unit_test(numbers_are_digits_without_overflow),
        cmocka_unit_test(bytes_are_equal_only_if_all_are),
        cmocka_unit_test(hex_makes_the_round_trip_in_lower_case_only),
        cmocka_unit_test(random_bytes_differ_and_fill_long_requests),
        cmocka_unit_test(owned_values_are_released_once_and_can_be_handed_over),
        cmocka_unit_test(an_error_says_what_happened_where_and_why),
        cmocka_unit_test(a_long_error_is_cut_and_terminated),
        cmocka_unit_test(numbers_are_written_in_decimal),
        cmocka_unit_test(what_is_recycled_comes_back_and_is_bounded),
        cmocka_unit_test(every_error_has_a_code_on_the_wire_and_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
