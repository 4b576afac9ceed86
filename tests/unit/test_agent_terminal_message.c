/* What viewers of a terminal say as text. */
#include "unit.h"

#include "agent/terminal/terminal_message.h"

static void a_resize_gives_its_size(void **state)
{
    struct terminal_size size;

    (void)state;
    assert_int_equal(terminal_message_read(STR("{\"type\":\"resize\",\"cols\":120,\"rows\":40}"), &size),
                     TERMINAL_MESSAGE_RESIZE);
    assert_int_equal(size.cols, 120);
    assert_int_equal(size.rows, 40);
    assert_int_equal(
        terminal_message_read(STR(" {\"rows\":65535,\"x\":[{}],\"cols\":1.9,\"type\":\"resize\"}"), &size),
        TERMINAL_MESSAGE_RESIZE);
    assert_int_equal(size.cols, 1);
    assert_int_equal(size.rows, 65535);
}

static void sizes_that_no_terminal_has_are_told(void **state)
{
    static const char *const texts[] = {
        "{\"type\":\"resize\",\"cols\":0,\"rows\":1}",
        "{\"type\":\"resize\",\"cols\":1,\"rows\":-5}",
        "{\"type\":\"resize\",\"cols\":65536,\"rows\":1}",
        "{\"type\":\"resize\",\"cols\":0.5,\"rows\":1}",
        "{\"type\":\"resize\",\"cols\":1e300,\"rows\":1}",
        "{\"type\":\"resize\",\"cols\":1,\"rows\":9223372036854775807}",
    };
    struct terminal_size size;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (terminal_message_read(str_from(texts[i]), &size) != TERMINAL_MESSAGE_BAD_SIZE)
            fail_msg("%s", texts[i]);
}

static void what_is_no_message_is_invalid(void **state)
{
    static const char *const texts[] = {
        "",
        "x",
        "null",
        "{\"type\":\"resize\"}",
        "{\"type\":\"resize\",\"cols\":\"1\",\"rows\":1}",
        "{\"type\":\"resize\",\"cols\":1,\"rows\":null}",
        "{\"type\":\"resize\",\"cols\":1,\"rows\":1}}",
        "[[[[[[[[[[[[1]]]]]]]]]]]]",
    };
    static char big[8192];
    struct terminal_size size;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (terminal_message_read(str_from(texts[i]), &size) != TERMINAL_MESSAGE_INVALID)
            fail_msg("%s", texts[i]);
    memset(big, ' ', sizeof(big));
    assert_int_equal(terminal_message_read((struct str){ big, sizeof(big) }, &size), TERMINAL_MESSAGE_INVALID);
}

static void other_kinds_are_ignored(void **state)
{
    static const char *const texts[] = {
        "{}", "[]", "1", "\"resize\"", "true", "{\"type\":\"x\"}", "{\"type\":5}", "{\"cols\":1,\"rows\":1}"
    };
    struct terminal_size size;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (terminal_message_read(str_from(texts[i]), &size) != TERMINAL_MESSAGE_IGNORED)
            fail_msg("%s", texts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_resize_gives_its_size),
        cmocka_unit_test(sizes_that_no_terminal_has_are_told),
        cmocka_unit_test(what_is_no_message_is_invalid),
        cmocka_unit_test(other_kinds_are_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
