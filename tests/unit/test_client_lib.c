/* The reading side of the client library: event streams that come in any pieces, from anybody. */
#include "unit.h"

#include "base/base64.h"
#include "client/exec_stream.h"
#include "net/sse_parser.h"

/* ---- the parser ---- */

struct seen {
    struct buf text; /* "name:data|" for each event */
    int fail_at;     /* the event on which the callback fails; 0: none */
    int count;
};

static int note(void *data, const struct sse_event *event, struct berm_error *err)
{
    struct seen *seen = data;

    buf_append_str(&seen->text, event->name);
    buf_append_str(&seen->text, STR(":"));
    buf_append_str(&seen->text, event->data);
    buf_append_str(&seen->text, STR("|"));
    if (++seen->count == seen->fail_at)
        return berm_fail(err, BERM_E_INTERNAL, 0, "enough");
    return 0;
}

static void seen_init(struct seen *seen)
{
    *seen = (struct seen){ 0 };
    buf_init(&seen->text, 1 << 20);
}

static const struct {
    const char *stream, *events;
} streams[] = {
    { "", "" },
    { "\n\n\n", "" },
    { "data: a\n\n", "message:a|" },
    { "data:a\n\n", "message:a|" },
    { "data:  a\n\n", "message: a|" },
    { "data\n\n", "message:|" },
    { "data:\n\n", "message:|" },
    { "data: a\ndata: b\n\n", "message:a\nb|" },
    { "data\ndata\n\n", "message:\n|" },
    { "event: stdout\ndata: eA==\n\n", "stdout:eA==|" },
    { "event: x\n\ndata: a\n\n", "message:a|" },
    { "event: x\nevent: y\ndata: a\n\n", "y:a|" },
    { "event: x\nevent:\ndata: a\n\n", "message:a|" },
    { "data: a\nevent: x\n\n", "x:a|" },
    { "data: a\r\n\r\n", "message:a|" },
    { "data: a\r\rdata: b\r\r", "message:a|message:b|" },
    { "data: a\r\n\rdata: b\n\r\n", "message:a|message:b|" },
    { ": comment\ndata: a\n: more\n\n", "message:a|" },
    { "id: 7\nretry: 10\ndata: a\nfoo: bar\nfoo\n\n", "message:a|" },
    { "data : a\n\n", "" },
    { "datas: a\n\n", "" },
    { "data: a: b\n\n", "message:a: b|" },
    { "data: a", "" },
    { "data: a\n", "" },
    { "\xef\xbb\xbf"
      "data: a\n\n",
      "message:a|" },
    { "\n\xef\xbb\xbf"
      "data: a\n\n",
      "" },
    { "data: \xff\xfe\n\n", "message:\xff\xfe|" },
};

static void streams_give_the_same_events_however_they_are_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
        size_t n = strlen(streams[i].stream);
        for (size_t first = 0; first <= n; first++) {
            for (size_t second = first; second <= n; second++) {
                struct sse_parser parser;
                struct seen seen;

                seen_init(&seen);
                sse_parser_init(&parser, 64, note, &seen);
                assert_int_equal(sse_parser_feed(&parser, streams[i].stream, first, NULL), 0);
                assert_int_equal(sse_parser_feed(&parser, streams[i].stream + first, second - first, NULL), 0);
                assert_int_equal(sse_parser_feed(&parser, streams[i].stream + second, n - second, NULL), 0);
                assert_str(buf_str(&seen.text), str_from(streams[i].events));
                sse_parser_free(&parser);
                buf_free(&seen.text);
            }
        }
    }
}

static void streams_give_the_same_events_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
        struct sse_parser parser;
        struct seen seen;

        seen_init(&seen);
        sse_parser_init(&parser, 64, note, &seen);
        for (const char *c = streams[i].stream; *c; c++)
            assert_int_equal(sse_parser_feed(&parser, c, 1, NULL), 0);
        assert_str(buf_str(&seen.text), str_from(streams[i].events));
        sse_parser_free(&parser);
        buf_free(&seen.text);
    }
}

static void expect_refused(const char *prefix, char filler, size_t count, const char *suffix)
{
    struct sse_parser parser;
    struct berm_error err = { 0 };
    struct seen seen;
    int rc;

    seen_init(&seen);
    sse_parser_init(&parser, 100, note, &seen);
    rc = sse_parser_feed(&parser, prefix, strlen(prefix), &err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = sse_parser_feed(&parser, &filler, 1, &err);
    if (rc == 0)
        rc = sse_parser_feed(&parser, suffix, strlen(suffix), &err);
    assert_int_equal(rc, -1);
    assert_int_equal(err.code, BERM_E_PROTOCOL);
    assert_int_equal(seen.count, 0);
    sse_parser_free(&parser);
    buf_free(&seen.text);
}

static void what_would_grow_without_end_is_refused(void **state)
{
    (void)state;
    expect_refused("data: ", 'x', 200, "\n\n");
    expect_refused("", 'x', 200, "\n\n");
    expect_refused(":", 'x', 200, "\n\n");
    expect_refused("event: ", 'x', SSE_EVENT_NAME_MAX + 1, "\ndata: a\n\n");
    expect_refused("data: 0123456789012345678901234567890123456789\n"
                   "data: 0123456789012345678901234567890123456789\n"
                   "data: 0123456789012345678901234567890123456789\n\n",
                   0, 0, "");
}

static void a_failing_callback_ends_the_feeding(void **state)
{
    static const char text[] = "data: a\n\ndata: b\n\ndata: c\n\n";
    struct sse_parser parser;
    struct berm_error err = { 0 };
    struct seen seen;

    (void)state;
    seen_init(&seen);
    seen.fail_at = 2;
    sse_parser_init(&parser, 64, note, &seen);
    assert_int_equal(sse_parser_feed(&parser, text, sizeof(text) - 1, &err), -1);
    assert_int_equal(err.code, BERM_E_INTERNAL);
    assert_int_equal(seen.count, 2);
    sse_parser_free(&parser);
    buf_free(&seen.text);
}

/* ---- a command's stream ---- */

static int append(void *data, const void *bytes, size_t n)
{
    return buf_append(data, bytes, n);
}

static int refuse(void *data, const void *bytes, size_t n)
{
    (void)data;
    (void)bytes;
    (void)n;
    errno = ENOSPC;
    return -1;
}

/* Feeds `text` in one piece: the result of the feeding and, if that is 0, of the stream. */
static int run_stream(const char *text, struct buf *out, int *ret_code, struct berm_problem *problem)
{
    struct berm_exec exec = { .on_stdout = append, .data = out };
    struct exec_stream stream;
    int rc;

    exec_stream_init(&stream, &exec);
    rc = exec_stream_feed(&stream, str_from(text), problem);
    if (rc == 0)
        rc = exec_stream_result(&stream, ret_code, problem);
    exec_stream_done(&stream);
    return rc;
}

static void output_is_decoded_and_the_exit_code_kept(void **state)
{
    struct berm_problem problem;
    struct buf out;
    int code = -1;

    (void)state;
    buf_init(&out, 1000);
    assert_int_equal(
        run_stream("event: stdout\ndata: AAH/\n\nevent: stderr\ndata: !not looked at\n\n", &out, &code, &problem),
        -1);
    assert_int_equal(problem.kind, BERM_PROBLEM_TRANSPORT);
    buf_clear(&out);
    assert_int_equal(run_stream("event: stdout\ndata: AAH/\n\nevent: new\ndata: ?\n\nevent: stdout\ndata:\n\n"
                                "event: exit\ndata: {\"exit_code\":137}\n\nevent: stdout\ndata: eA==\n\n",
                                &out, &code, &problem),
                     0);
    assert_int_equal(code, 137);
    assert_str(buf_str(&out), (struct str){ "\0\1\xff", 3 });
    buf_free(&out);
}

static void an_error_event_becomes_the_problem(void **state)
{
    struct berm_problem problem;
    int code = -1;

    (void)state;
    assert_int_equal(run_stream("event: error\ndata: {\"error\":\"it\\u001bdied\",\"code\":\"sandbox_died\"}\n\n",
                                NULL, &code, &problem),
                     -1);
    assert_int_equal(problem.kind, BERM_PROBLEM_API);
    assert_string_equal(problem.code, "sandbox_died");
    assert_string_equal(problem.message, "it?died");
    assert_int_equal(code, -1);
}

static void a_stream_that_lies_is_refused(void **state)
{
    static const char *const lies[] = {
        "event: stdout\ndata: @@@@\n\n",
        "event: exit\ndata: 0\n\n",
        "event: exit\ndata: {}\n\n",
        "event: exit\ndata: {\"exit_code\":null}\n\n",
        "event: exit\ndata: {\"exit_code\":1.5}\n\n",
        "event: exit\ndata: {\"exit_code\":99999999999}\n\n",
        "event: exit\ndata: {\"exit_code\":0}x\n\n",
        "event: error\ndata: text\n\n",
        "",
        "event: exit\ndata: {\"exit_code\":0}\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        struct berm_problem problem = { 0 };
        int code = -1;

        assert_int_equal(run_stream(lies[i], NULL, &code, &problem), -1);
        assert_int_equal(problem.kind, BERM_PROBLEM_TRANSPORT);
        assert_int_equal(code, -1);
    }
}

static void a_failing_sink_is_the_callers_problem(void **state)
{
    struct berm_exec exec = { .on_stdout = refuse };
    struct berm_problem problem;
    struct exec_stream stream;

    (void)state;
    exec_stream_init(&stream, &exec);
    assert_int_equal(exec_stream_feed(&stream, STR("event: stdout\ndata: eA==\n\n"), &problem), -1);
    assert_int_equal(problem.kind, BERM_PROBLEM_LOCAL);
    assert_int_equal(problem.errnum, ENOSPC);
    exec_stream_done(&stream);
}

/* ---- arguments that never leave ---- */

static void wrong_arguments_are_refused_without_a_connection(void **state)
{
    static const char *const urls[] = { "",   "ftp://x", "http://", "http://u:p@x", "http://x/?q", "http://x/#f",
                                        "x y" };
    static const char *const ids[] = { "", "..", "a/b", "A", "a1", "a.b", NULL };
    const char *const no_command[] = { NULL };
    struct berm_client *client;
    struct berm_problem problem;
    int code;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
        struct berm_client_options options = { .url = urls[i] };
        assert_int_equal(berm_client_new(&options, &client, &problem), -1);
        assert_int_equal(problem.kind, BERM_PROBLEM_ARGUMENT);
    }
    assert_int_equal(berm_client_new(&(struct berm_client_options){ .api_key = "a\r\nb" }, &client, &problem), -1);
    assert_int_equal(berm_client_new(NULL, &client, &problem), 0);
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        assert_int_equal(berm_sandbox_delete(client, ids[i], &problem), -1);
        assert_int_equal(problem.kind, BERM_PROBLEM_ARGUMENT);
    }
    assert_int_equal(berm_sandbox_exec(client, "a", &(struct berm_exec){ .argv = no_command }, &code, &problem),
                     -1);
    assert_int_equal(problem.kind, BERM_PROBLEM_ARGUMENT);
    assert_int_equal(berm_file_get(client, "a", "relative", append, NULL, &problem), -1);
    assert_int_equal(problem.kind, BERM_PROBLEM_ARGUMENT);
    berm_client_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_give_the_same_events_however_they_are_cut),
        cmocka_unit_test(streams_give_the_same_events_byte_by_byte),
        cmocka_unit_test(what_would_grow_without_end_is_refused),
        cmocka_unit_test(a_failing_callback_ends_the_feeding),
        cmocka_unit_test(output_is_decoded_and_the_exit_code_kept),
        cmocka_unit_test(an_error_event_becomes_the_problem),
        cmocka_unit_test(a_stream_that_lies_is_refused),
        cmocka_unit_test(a_failing_sink_is_the_callers_problem),
        cmocka_unit_test(wrong_arguments_are_refused_without_a_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
