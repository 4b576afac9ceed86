#include "unit.h"

#include "net/sse.h"

#include "fail_alloc.h"

static void an_event_is_written_with_name_and_data(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    assert_int_equal(sse_append(&out, "exit", STR("{\"exit_code\":0}")), 0);
    assert_int_equal(sse_append(&out, NULL, STR("")), 0);
    assert_int_equal(sse_append_base64(&out, "stdout", "a\nb", 3), 0);
    assert_int_equal(sse_append_base64(&out, "stderr", "", 0), 0);
    assert_str(buf_str(&out), STR("event: exit\ndata: {\"exit_code\":0}\n\ndata: \n\nevent: stdout\ndata: YQpi\n\n"
                                  "event: stderr\ndata: \n\n"));
    buf_free(&out);
}

static void data_that_would_end_the_line_is_refused(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    assert_int_equal(sse_append(&out, "a", STR("b\nevent: c")), -1);
    assert_int_equal(sse_append(&out, "a", STR("b\rc")), -1);
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

static void an_event_is_written_whole_or_not_at_all(void **state)
{
    (void)state;
    for (size_t max = 0; max < 60; max++) {
        struct buf out;
        buf_init(&out, max);
        if (sse_append_base64(&out, "stdout", "0123456789", 10) < 0)
            assert_int_equal(out.len, 0);
        else
            assert_str(buf_str(&out), STR("event: stdout\ndata: MDEyMzQ1Njc4OQ==\n\n"));
        buf_free(&out);
    }
    for (size_t n = 1; n < 4; n++) {
        char data[2000] = { 0 };
        struct buf out;
        buf_init(&out, 10000);
        allocations_left = n;
        if (sse_append_base64(&out, "stdout", data, sizeof(data)) < 0)
            assert_int_equal(out.len, 0);
        allocations_left = 0;
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_written_with_name_and_data),
        cmocka_unit_test(data_that_would_end_the_line_is_refused),
        cmocka_unit_test(an_event_is_written_whole_or_not_at_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
