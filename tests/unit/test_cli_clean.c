/* Text of others on its way to a terminal. */
#include "unit.h"

#include "cli/clean.h"

static void assert_clean(enum clean_way way, struct str in, const char *expected)
{
    struct buf out;

    buf_init(&out, 4096);
    assert_int_equal(clean_append(&out, in, way), 0);
    assert_str(buf_str(&out), str_from(expected));
    buf_free(&out);
}

static void what_is_harmless_stays(void **state)
{
    static const char text[] = "plain ~ \xc2\xa0 \xc3\xa9 \xe2\x82\xac \xe2\x81\xaa \xf0\x9f\xa6\x89";

    (void)state;
    assert_clean(CLEAN_LINE, str_from(text), text);
    assert_clean(CLEAN_TEXT, str_from(text), text);
    assert_clean(CLEAN_JSON, str_from(text), text);
    assert_clean(CLEAN_LINE, STR(""), "");
}

static void controls_go(void **state)
{
    static const struct str text = STR_INIT("a\x1b[2J\x07\x7f\xc2\x9b"
                                            "6n\xc2\x80\r\n\tb");

    (void)state;
    assert_clean(CLEAN_LINE, text, "a?[2J???6n?   b");
    assert_clean(CLEAN_TEXT, text, "a?[2J???6n? \n\tb");
    assert_clean(CLEAN_JSON, text, "a [2J \\u007f\\u009b6n\\u0080   b");
    assert_clean(CLEAN_LINE, (struct str){ "a\0b", 3 }, "a?b");
}

static void what_turns_text_around_goes(void **state)
{
    (void)state;
    assert_clean(CLEAN_LINE, STR("\xe2\x80\xaegnp.exe \xd8\x9c\xe2\x80\x8f \xe2\x81\xa6 \xe2\x80\xa8"),
                 "?gnp.exe ?? ? ?");
    assert_clean(CLEAN_JSON, STR("\xe2\x80\xaex\xe2\x81\xa9"), "\\u202ex\\u2069");
}

static void what_is_no_text_goes(void **state)
{
    (void)state;
    assert_clean(CLEAN_LINE,
                 STR("\x9b"
                     "6n\xff\xc0\x9b"),
                 "?6n???");
    assert_clean(CLEAN_LINE, STR("\xed\xa0\x80x\xf0\x9f"), "???x?");
    assert_clean(CLEAN_JSON, STR("\xff"), "\\ufffd");
}

static void a_full_buffer_is_told(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 3);
    assert_int_equal(clean_append(&out, STR("abcd"), CLEAN_LINE), -1);
    assert_int_equal(clean_append(&out, STR("\x7f"), CLEAN_JSON), -1);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_harmless_stays),      cmocka_unit_test(controls_go),
        cmocka_unit_test(what_turns_text_around_goes), cmocka_unit_test(what_is_no_text_goes),
        cmocka_unit_test(a_full_buffer_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
