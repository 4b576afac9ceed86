/*
 * The captured traces of the upstream peer that test_capnweb.c does not have yet, as they were captured. A
 * transcript here has two more kinds of lines: "=" answers the call that is open with the value of an expression,
 * "!" rejects it with one.
 */
#include "capnweb_fixture.h"

static struct capnweb_call *open_call;

static void hold_call(struct capnweb_target *target, struct capnweb_call *call)
{
    (void)target;
    assert_null(open_call);
    open_call = call;
}

static struct capnweb_target *holder(void)
{
    static const struct capnweb_ops ops = { hold_call, NULL };
    static struct capnweb_target target = { &ops, 1 };

    return &target;
}

static struct capnweb_call *take_call(void)
{
    assert_non_null(open_call);
    return TAKE_PTR(open_call);
}

/* By a session of its own, which is asked to call something with it. */
static struct capnweb_value value_of(struct arena *arena, struct str expression)
{
    struct capnweb_call *call;
    struct capnweb_value value;
    char message[2048];
    struct side side;

    snprintf(message, sizeof(message), "[\"push\",[\"pipeline\",0,[\"x\"],[%.*s]]]", (int)expression.n,
             expression.p);
    side_open(&side, NULL, holder());
    side_receive(&side, str_from(message));
    call = take_call();
    assert_int_equal(call->arg_count, 1);
    value = capnweb_copy(arena, &call->args[0]);
    capnweb_resolve(call, CAPNWEB_NOTHING);
    side_close(&side);
    return value;
}

static void play_line(struct side *side, char kind, struct str text)
{
    struct capnweb_call *call;

    switch (kind) {
    case '>':
        side_receive(side, text);
        break;
    case '<':
        side_expect(side, text);
        break;
    default:
        call = take_call();
        if (kind == '=')
            capnweb_resolve(call, value_of(call->arena, text));
        else
            capnweb_reject(call, value_of(call->arena, text));
    }
}

static void play_on(struct side *side, const char *transcript)
{
    for (const char *line = transcript; *line;) {
        size_t n = strcspn(line, "\n");
        play_line(side, line[0], (struct str){ line + 2, n - 2 });
        line += n + (line[n] == '\n');
    }
    side_expect_nothing(side);
}

static void play(const char *transcript)
{
    struct side side;

    side_open(&side, NULL, holder());
    play_on(&side, transcript);
    side_expect_idle(&side);
    side_close(&side);
}

static void a_call_on_a_namespace(void **state)
{
    (void)state;
    play("> [\"push\",[\"pipeline\",0,[\"sub\",\"execute\"],[\"echo hi\",\"default\","
         "{\"timeoutMs\":[\"undefined\"],\"env\":{\"A\":\"1\"}}]]]\n"
         "> [\"pull\",1]\n"
         "= {\"success\":true,\"exitCode\":0,\"stdout\":\"hi\\n\",\"stderr\":\"\",\"command\":\"echo hi\","
         "\"nested\":[[1,[[2,3]],{\"a\":[[\"x\"]]}]],\"opts\":{\"timeoutMs\":[\"undefined\"],\"env\":{\"A\":\"1\"}}"
         "}\n"
         "< "
         "[\"resolve\",1,{\"success\":true,\"exitCode\":0,\"stdout\":\"hi\\n\",\"stderr\":\"\",\"command\":\"echo "
         "hi\",\"nested\":[[1,[[2,3]],{\"a\":[[\"x\"]]}]],\"opts\":{\"timeoutMs\":[\"undefined\"],\"env\":{\"A\":"
         "\"1\"}}}]\n"
         "> [\"release\",1,1]\n");
}

static void every_rejection(void **state)
{
    static const char *const reasons[] = {
        "[\"error\",\"Error\",\"plain failure\"]",
        "[\"error\",\"Error\",\"File not found: "
        "/x\",null,{\"code\":\"FILE_NOT_FOUND\",\"details\":{\"path\":\"/x\",\"operation\":\"file.read\"}}]",
        "[\"error\",\"TypeError\",\"bad\",null,{\"cause\":[\"error\",\"Error\",\"inner\"]}]",
        "\"just a string\"",
        "[\"error\",\"Error\",\"m\",null,{\"code\":\"X\",\"details\":[\"undefined\"]}]",
    };
    char transcript[1024];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
        snprintf(transcript, sizeof(transcript),
                 "> [\"push\",[\"pipeline\",0,[\"fail\"],[]]]\n> [\"pull\",1]\n! %s\n< [\"reject\",1,%s]\n"
                 "> [\"release\",1,1]\n",
                 reasons[i], reasons[i]);
        play(transcript);
    }
}

#define SCALARS                                                                                                    \
    "{\"u\":[\"undefined\"],\"n\":null,\"inf\":[\"inf\"],\"ninf\":[\"-inf\"],\"nan\":[\"nan\"],"                   \
    "\"big\":[\"bigint\",\"12345678901234567890\"],\"d\":[\"date\",1700000000123],\"arr\":[[]],"                   \
    "\"arr1\":[[\"bytes\"]],\"e\":[\"error\",\"TypeError\",\"te\"],\"b\":true,\"s\":\"é\\u0000\"}"

static void all_scalars_and_bytes(void **state)
{
    (void)state;
    play("> [\"push\",[\"pipeline\",0,[\"scalars\"],[]]]\n> [\"pull\",1]\n= " SCALARS "\n< [\"resolve\",1," SCALARS
         "]\n> [\"release\",1,1]\n"
         "> [\"push\",[\"pipeline\",0,[\"echo2\"],[[[]],[[[[1]]]],{\"a\":[[1,[[\"x\"]]]]},[\"undefined\"],null,"
         "[\"date\",5],[\"bigint\",\"10\"],0]]]\n> [\"pull\",2]\n= [\"bytes\",\"AAEC/v8\"]\n"
         "< [\"resolve\",2,[\"bytes\",\"AAEC/v8\"]]\n> [\"release\",2,1]\n");
}

/* --- streams, written by hand --- */

struct stream {
    bool ready, ended;
    char reason[64]; /* of the end; empty: all was taken */
};

static void on_ready(struct capnweb_pipe *pipe, void *data)
{
    (void)pipe;
    ((struct stream *)data)->ready = true;
}

static void on_stream_end(struct capnweb_pipe *pipe, const struct capnweb_value *reason, void *data)
{
    struct stream *stream = data;

    (void)pipe;
    stream->ended = true;
    if (reason && reason->type == CAPNWEB_ERROR)
        snprintf(stream->reason, sizeof(stream->reason), "%.*s", (int)reason->error->message.n,
                 reason->error->message.p);
}

static struct capnweb_pipe *new_pipe(struct side *side, struct stream *stream)
{
    static const struct capnweb_pipe_ops ops = { on_ready, on_stream_end };
    struct capnweb_pipe *pipe = capnweb_pipe_new(side->session, &ops, stream);

    assert_non_null(pipe);
    return pipe;
}

static void a_stream_inside_an_object(void **state)
{
    struct stream stream = { .ready = false };
    struct capnweb_pipe *pipe;
    struct side side;

    (void)state;
    side_open(&side, NULL, holder());
    play_on(&side, "> [\"push\",[\"pipeline\",0,[\"read\"],[]]]\n> [\"pull\",1]\n");
    pipe = new_pipe(&side, &stream);
    capnweb_resolve(
        take_call(),
        (struct capnweb_value){ .type = CAPNWEB_OBJECT,
                                .object = { (struct capnweb_member[]){ { STR("success"), CAPNWEB_TRUTH(true) },
                                                                       { STR("content"), CAPNWEB_OF_PIPE(pipe) },
                                                                       { STR("size"), CAPNWEB_NUMBER(14) } },
                                            3 } });
    play_on(&side, "< [\"pipe\"]\n< [\"resolve\",1,{\"success\":true,\"content\":[\"readable\",1],\"size\":14}]\n");
    side_run(&side);
    assert_true(stream.ready);
    capnweb_pipe_write(pipe, "chunk0\n", 7);
    capnweb_pipe_write(pipe, "chunk1\n", 7);
    capnweb_pipe_close(pipe);
    play_on(&side, "< [\"stream\",[\"pipeline\",1,[\"write\"],[[\"bytes\",\"Y2h1bmswCg\"]]]]\n"
                   "< [\"stream\",[\"pipeline\",1,[\"write\"],[[\"bytes\",\"Y2h1bmsxCg\"]]]]\n"
                   "< [\"stream\",[\"pipeline\",1,[\"close\"],[]]]\n> [\"release\",1,1]\n"
                   "> [\"resolve\",2,[\"undefined\"]]\n> [\"resolve\",3,[\"undefined\"]]\n"
                   "> [\"resolve\",4,[\"undefined\"]]\n< [\"release\",1,1]\n");
    assert_true(stream.ended && !stream.reason[0]);
    side_expect_idle(&side);
    side_close(&side);
}

static void a_consumer_that_cancels_early(void **state)
{
    struct stream stream = { .ready = false };
    struct capnweb_pipe *pipe;
    struct side side;

    (void)state;
    side_open(&side, NULL, holder());
    play_on(&side, "> [\"push\",[\"pipeline\",0,[\"stream\"],[]]]\n> [\"pull\",1]\n");
    pipe = new_pipe(&side, &stream);
    capnweb_resolve(take_call(), CAPNWEB_OF_PIPE(pipe));
    play_on(&side, "< [\"pipe\"]\n< [\"resolve\",1,[\"readable\",1]]\n> [\"release\",1,1]\n");
    assert_true(stream.ready);
    capnweb_pipe_write(pipe, "t0", 2);
    play_on(&side, "< [\"stream\",[\"pipeline\",1,[\"write\"],[[\"bytes\",\"dDA\"]]]]\n"
                   "> [\"resolve\",2,[\"undefined\"]]\n");
    capnweb_pipe_write(pipe, "t1", 2);
    play_on(&side, "< [\"stream\",[\"pipeline\",1,[\"write\"],[[\"bytes\",\"dDE\"]]]]\n"
                   "> [\"reject\",3,[\"error\",\"Error\",\"client done\"]]\n< [\"release\",1,1]\n");
    assert_string_equal(stream.reason, "client done");
    side_expect_idle(&side);
    side_close(&side);
}

/* A WritableStream of ours: the peer's writer calls it by streams, whose answers are its acknowledgements. */
static void an_object_of_ours_is_written_to(void **state)
{
    struct capnweb_call *call;
    struct side side;

    (void)state;
    side_open(&side, NULL, holder());
    play_on(&side, "> [\"push\",[\"pipeline\",0,[\"writable\"],[]]]\n> [\"pull\",1]\n");
    call = take_call();
    capnweb_resolve(call, CAPNWEB_OF_SINK(holder()));
    play_on(&side, "< [\"resolve\",1,[\"writable\",-1]]\n> [\"release\",1,1]\n"
                   "> [\"stream\",[\"pipeline\",-1,[\"write\"],[\"abc\"]]]\n");
    call = take_call();
    assert_true(str_is(call->path[0].name, "write"));
    assert_true(call->arg_count == 1 && str_is(call->args[0].string, "abc"));
    capnweb_resolve(call, CAPNWEB_NOTHING);
    play_on(&side, "< [\"resolve\",2,[\"undefined\"]]\n> [\"stream\",[\"pipeline\",-1,[\"close\"],[]]]\n");
    call = take_call();
    assert_true(str_is(call->path[0].name, "close"));
    capnweb_resolve(call, CAPNWEB_NOTHING);
    play_on(&side, "< [\"resolve\",3,[\"undefined\"]]\n> [\"release\",-1,1]\n");
    side_expect_idle(&side);
    side_close(&side);
}

/* --- what the Fetch API has --- */

static const struct json *parse(struct arena *arena, const char *text)
{
    const struct json *json = NULL;

    assert_int_equal(json_parse(arena, str_from(text), 16, &json, NULL), 0);
    return json;
}

/* The body is the pipe, if there is one; the peer never reads it. */
static void answer_fetch(enum capnweb_type type, const char *text, const char *init, const char *want)
{
    struct stream stream = { .ready = false };
    struct capnweb_fetch fetch = { .text = str_from(text) };
    struct capnweb_call *call;
    struct side side;

    side_open(&side, NULL, holder());
    play_on(&side, "> [\"push\",[\"pipeline\",0,[\"fetch\"],[]]]\n> [\"pull\",1]\n");
    call = take_call();
    fetch.init = init ? parse(call->arena, init) : NULL;
    fetch.body = CAPNWEB_OF_PIPE(new_pipe(&side, &stream));
    capnweb_resolve(call, (struct capnweb_value){ .type = type, .fetch = &fetch });
    side_expect(&side, STR("[\"pipe\"]"));
    side_expect(&side, str_from(want));
    side_close(&side);
    assert_true(stream.ended);
}

static void headers_responses_requests_and_blobs(void **state)
{
    struct capnweb_call *call;
    struct side side;

    (void)state;
    side_open(&side, NULL, holder());
    play_on(&side, "> [\"push\",[\"pipeline\",0,[\"headers\"],[]]]\n> [\"pull\",1]\n");
    call = take_call();
    capnweb_resolve(
        call, (struct capnweb_value){ .type = CAPNWEB_HEADERS, .json = parse(call->arena, "[[\"x-a\",\"1\"]]") });
    play_on(&side, "< [\"resolve\",1,[\"headers\",[[\"x-a\",\"1\"]]]]\n> [\"release\",1,1]\n");
    side_expect_idle(&side);
    side_close(&side);

    answer_fetch(CAPNWEB_RESPONSE, "",
                 "{\"status\":201,\"headers\":[[\"content-type\",\"text/plain;charset=UTF-8\"],[\"x-a\",\"1\"]]}",
                 "[\"resolve\",1,[\"response\",[\"readable\",1],{\"status\":201,\"headers\":[[\"content-type\","
                 "\"text/plain;charset=UTF-8\"],[\"x-a\",\"1\"]]}]]");
    answer_fetch(
        CAPNWEB_REQUEST, "http://h/p",
        "{\"method\":\"POST\",\"headers\":[[\"content-type\",\"text/plain;charset=UTF-8\"]],\"body\":0,"
        "\"duplex\":\"half\"}",
        "[\"resolve\",1,[\"request\",\"http://h/p\",{\"method\":\"POST\",\"headers\":[[\"content-type\",\"text/"
        "plain;charset=UTF-8\"]],\"body\":[\"readable\",1],\"duplex\":\"half\"}]]");
    answer_fetch(CAPNWEB_BLOB, "text/plain", NULL, "[\"resolve\",1,[\"blob\",\"text/plain\",[\"readable\",1]]]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_on_a_namespace),
        cmocka_unit_test(every_rejection),
        cmocka_unit_test(all_scalars_and_bytes),
        cmocka_unit_test(a_stream_inside_an_object),
        cmocka_unit_test(a_consumer_that_cancels_early),
        cmocka_unit_test(an_object_of_ours_is_written_to),
        cmocka_unit_test(headers_responses_requests_and_blobs),
    };

    return cmocka_run_group_tests_name("capnweb traces", tests, NULL, NULL);
}
