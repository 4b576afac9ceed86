/* The traces of the upstream peer, byte for byte, with this side as the one that was connected to. */
#include "capnweb_fixture.h"

static void play(const char *transcript)
{
    struct side side;

    side_open(&side, NULL, service_main());
    side_play(&side, transcript);
    side_expect_idle(&side);
    side_close(&side);
    assert_int_equal(service_alive(), 0);
}

static void a_call_is_answered_when_it_is_pulled(void **state)
{
    (void)state;
    play("> [\"push\",[\"pipeline\",0,[\"sub\",\"echoAll\"],[\"echo hi\",\"default\","
         "{\"timeoutMs\":[\"undefined\"],\"env\":{\"A\":\"1\"}}]]]\n"
         "> [\"pull\",1]\n"
         "< [\"resolve\",1,[[\"echo hi\",\"default\",{\"timeoutMs\":[\"undefined\"],\"env\":{\"A\":\"1\"}}]]]\n"
         "> [\"release\",1,1]\n");
    play("> [\"push\",[\"pipeline\",0,[\"ping\"],[]]]\n> [\"pull\",1,\"x\"]\n> [\"pull\",1]\n"
         "< [\"resolve\",1,[\"undefined\"]]\n> [\"release\",1,1]\n");
}

static void a_call_that_nobody_pulls_is_not_answered(void **state)
{
    (void)state;
    play("> [\"push\",[\"pipeline\",0,[\"ping\"],[]]]\n> [\"release\",1,1]\n");
    play("> [\"push\",[\"pipeline\",0,[\"stream\"],[2]]]\n> [\"release\",1,1]\n");
}

static void a_property_read_gives_a_stub(void **state)
{
    (void)state;
    play(
        "> [\"push\",[\"pipeline\",0,[\"sub\"]]]\n> [\"pull\",1]\n< [\"resolve\",1,[\"export\",-1]]\n"
        "> [\"release\",1,1]\n> [\"push\",[\"pipeline\",-1,[\"add\"],[2,3]]]\n> [\"pull\",2]\n< [\"resolve\",2,5]\n"
        "> [\"release\",2,1]\n> [\"release\",-1,1]\n");
}

static void a_method_can_be_called_on_a_result_before_it_is_there(void **state)
{
    (void)state;
    play("> [\"push\",[\"pipeline\",0,[\"makeCounter\"],[\"p\"]]]\n> [\"push\",[\"pipeline\",1,[\"inc\"],[5]]]\n"
         "> [\"pull\",2]\n< [\"resolve\",2,5]\n> [\"release\",2,1]\n> [\"release\",1,1]\n");
    play("> [\"push\",[\"pipeline\",0,[\"makeCounter\"],[\"q\"]]]\n> [\"pull\",1]\n< "
         "[\"resolve\",1,[\"export\",-1]]\n"
         "> [\"release\",1,1]\n> [\"push\",[\"pipeline\",-1,[\"inc\"],[2]]]\n> [\"pull\",2]\n< [\"resolve\",2,2]\n"
         "> [\"release\",2,1]\n> [\"push\",[\"pipeline\",-1,[\"value\"]]]\n> [\"pull\",3]\n< [\"resolve\",3,2]\n"
         "> [\"release\",3,1]\n> [\"release\",-1,1]\n");
}

static void a_result_can_be_an_argument_before_it_is_there(void **state)
{
    (void)state;
    play("> [\"push\",[\"pipeline\",0,[\"add\"],[1,2]]]\n"
         "> [\"push\",[\"pipeline\",0,[\"add\"],[[\"pipeline\",1],[\"pipeline\",1,[]]]]]\n> [\"pull\",2]\n"
         "< [\"resolve\",2,6]\n> [\"release\",1,1]\n> [\"release\",2,1]\n");
    play("> [\"push\",[\"pipeline\",0,[\"nested\"],[7]]]\n"
         "> [\"push\",[\"pipeline\",0,[\"echo\"],[{\"v\":[\"pipeline\",1,[\"deep\",0,\"x\"]]}]]]\n> [\"pull\",2]\n"
         "< [\"resolve\",2,{\"v\":7}]\n> [\"release\",2,1]\n> [\"release\",1,1]\n");
    play("> [\"push\",[\"pipeline\",0,[\"fail\"],[\"no\"]]]\n> "
         "[\"push\",[\"pipeline\",0,[\"echo\"],[[\"pipeline\",1]]]]\n"
         "> [\"push\",[\"pipeline\",1,[\"a\"],[]]]\n> [\"pull\",2]\n< [\"reject\",2,[\"error\",\"Error\",\"no\"]]\n"
         "> [\"pull\",3]\n< [\"reject\",3,[\"error\",\"Error\",\"no\"]]\n"
         "> [\"release\",1,1]\n> [\"release\",2,1]\n> [\"release\",3,1]\n");
}

static void errors_keep_their_properties(void **state)
{
    (void)state;
    play("> [\"push\",[\"pipeline\",0,[\"fail\"],[\"plain failure\"]]]\n> [\"pull\",1]\n"
         "< [\"reject\",1,[\"error\",\"Error\",\"plain failure\"]]\n> [\"release\",1,1]\n");
    play("> [\"push\",[\"pipeline\",0,[\"fail\"],[\"File not found: /x\",\"FILE_NOT_FOUND\","
         "{\"path\":\"/x\",\"operation\":\"file.read\"}]]]\n> [\"pull\",1]\n"
         "< [\"reject\",1,[\"error\",\"Error\",\"File not found: /x\",null,{\"code\":\"FILE_NOT_FOUND\","
         "\"details\":{\"path\":\"/x\",\"operation\":\"file.read\"}}]]\n> [\"release\",1,1]\n");
    play("> [\"push\",[\"pipeline\",0,[\"failWith\"],[[\"error\",\"TypeError\",\"bad\",null,"
         "{\"cause\":[\"error\",\"Error\",\"inner\"]}]]]]\n> [\"pull\",1]\n"
         "< [\"reject\",1,[\"error\",\"TypeError\",\"bad\",null,{\"cause\":[\"error\",\"Error\",\"inner\"]}]]\n"
         "> [\"release\",1,1]\n");
    play("> [\"push\",[\"pipeline\",0,[\"failWith\"],[\"just a string\"]]]\n> [\"pull\",1]\n"
         "< [\"reject\",1,\"just a string\"]\n> [\"release\",1,1]\n");
}

static void a_path_that_leads_nowhere_rejects_the_call_only(void **state)
{
    (void)state;
    play("> [\"push\",[\"pipeline\",0,[\"sub\",\"nope\"],[]]]\n> [\"pull\",1]\n"
         "< [\"reject\",1,[\"error\",\"TypeError\",\"'nope' is not a function.\"]]\n> [\"release\",1,1]\n"
         "> [\"push\",[\"pipeline\",0,[\"nested\"],[1]]]\n> [\"push\",[\"pipeline\",2,[\"a\",\"b\"],[]]]\n> "
         "[\"pull\",3]\n"
         "< [\"reject\",3,[\"error\",\"TypeError\",\"Cannot read properties of undefined (reading 'b')\"]]\n"
         "> [\"push\",[\"pipeline\",2,[\"deep\",0,\"x\"],[]]]\n> [\"pull\",4]\n"
         "< [\"reject\",4,[\"error\",\"TypeError\",\"'deep.0.x' is not a function.\"]]\n"
         "> [\"push\",[\"pipeline\",0]]\n> [\"pull\",5]\n"
         "< [\"reject\",5,[\"error\",\"Error\",\"Can't dup an RpcTarget stub as a promise.\"]]\n"
         "> [\"release\",2,1]\n> [\"release\",3,1]\n> [\"release\",4,1]\n> [\"release\",5,1]\n");
}

static void every_kind_of_value_comes_back_as_it_was(void **state)
{
    (void)state;
    play("> "
         "[\"push\",[\"pipeline\",0,[\"echo\"],[{\"u\":[\"undefined\"],\"n\":null,\"inf\":[\"inf\"],\"ninf\":[\"-"
         "inf\"],"
         "\"nan\":[\"nan\"],\"big\":[\"bigint\",\"12345678901234567890\"],\"d\":[\"date\",1700000000123],\"arr\":[["
         "]],"
         "\"arr1\":[[\"bytes\"]],\"e\":[\"error\",\"TypeError\",\"te\"],\"b\":true,\"s\":\"é\\u0000\"}]]]\n> "
         "[\"pull\",1]\n"
         "< [\"resolve\",1,{\"u\":[\"undefined\"],\"n\":null,\"inf\":[\"inf\"],\"ninf\":[\"-inf\"],"
         "\"nan\":[\"nan\"],\"big\":[\"bigint\",\"12345678901234567890\"],\"d\":[\"date\",1700000000123],\"arr\":[["
         "]],"
         "\"arr1\":[[\"bytes\"]],\"e\":[\"error\",\"TypeError\",\"te\"],\"b\":true,\"s\":\"é\\u0000\"}]\n"
         "> [\"release\",1,1]\n");
    play("> [\"push\",[\"pipeline\",0,[\"echoAll\"],[[[]],[[[[1]]]],{\"a\":[[1,[[\"x\"]]]]},[\"undefined\"],null,"
         "[\"date\",5],[\"bigint\",\"10\"],0]]]\n> [\"pull\",1]\n"
         "< [\"resolve\",1,[[[[]],[[[[1]]]],{\"a\":[[1,[[\"x\"]]]]},[\"undefined\"],null,[\"date\",5],"
         "[\"bigint\",\"10\"],0]]]\n> [\"release\",1,1]\n");
    play("> [\"push\",[\"pipeline\",0,[\"echoAll\"],[-0,-1.5,[\"date\",null],[\"bigint\",\"-3\"],"
         "[\"headers\",[[\"x-a\",\"1\"]]],[\"request\",\"http://h/"
         "p\",{\"method\":\"POST\",\"body\":[\"bytes\",\"AQ\"]}],"
         "[\"response\",\"b\",{\"status\":201}]]]]\n> [\"pull\",1]\n"
         "< [\"resolve\",1,[[0,-1.5,[\"date\",null],[\"bigint\",\"-3\"],[\"headers\",[[\"x-a\",\"1\"]]],"
         "[\"request\",\"http://h/p\",{\"method\":\"POST\",\"body\":[\"bytes\",\"AQ\"]}],"
         "[\"response\",\"b\",{\"status\":201}]]]]\n> [\"release\",1,1]\n");
}

static void bytes_are_sent_unpadded_and_read_either_way(void **state)
{
    (void)state;
    play("> [\"push\",[\"pipeline\",0,[\"echo\"],[[\"bytes\",\"AQIDBA\"]]]]\n> [\"pull\",1]\n"
         "< [\"resolve\",1,[\"bytes\",\"AQIDBA\"]]\n> [\"release\",1,1]\n"
         "> [\"push\",[\"pipeline\",0,[\"echo\"],[[\"bytes\",\"AAEC/v8=\"]]]]\n> [\"pull\",2]\n"
         "< [\"resolve\",2,[\"bytes\",\"AAEC/v8\"]]\n> [\"release\",2,1]\n"
         "> [\"push\",[\"pipeline\",0,[\"echo\"],[[\"bytes\",\"\"]]]]\n> [\"pull\",3]\n"
         "< [\"resolve\",3,[\"bytes\",\"\"]]\n> [\"release\",3,1]\n");
}

static void lone_surrogates_are_replaced(void **state)
{
    (void)state;
    play("> [\"push\",[\"pipeline\",0,[\"echo\"],[\"a\\ud800b\\udfff\\ud83d\\ude00\"]]]\n> [\"pull\",1]\n"
         "< [\"resolve\",1,\"a\xef\xbf\xbd"
         "b\xef\xbf\xbd\xf0\x9f\x98\x80\"]\n> [\"release\",1,1]\n");
}

static void a_stream_is_sent_until_it_is_closed(void **state)
{
    (void)state;
    play("> [\"push\",[\"pipeline\",0,[\"stream\"],[3]]]\n> [\"pull\",1]\n< [\"pipe\"]\n< "
         "[\"resolve\",1,[\"readable\",1]]\n"
         "< [\"stream\",[\"pipeline\",1,[\"write\"],[[\"bytes\",\"Y2h1bmswCg\"]]]]\n"
         "< [\"stream\",[\"pipeline\",1,[\"write\"],[[\"bytes\",\"Y2h1bmsxCg\"]]]]\n"
         "< [\"stream\",[\"pipeline\",1,[\"write\"],[[\"bytes\",\"Y2h1bmsyCg\"]]]]\n"
         "< [\"stream\",[\"pipeline\",1,[\"close\"],[]]]\n> [\"release\",1,1]\n> [\"resolve\",2,[\"undefined\"]]\n"
         "> [\"resolve\",3,[\"undefined\"]]\n> [\"resolve\",4,[\"undefined\"]]\n> [\"resolve\",5,[\"undefined\"]]\n"
         "< [\"release\",1,1]\n");
}

static void a_stream_whose_source_breaks_is_aborted(void **state)
{
    (void)state;
    play("> [\"push\",[\"pipeline\",0,[\"brokenStream\"],[1]]]\n> [\"pull\",1]\n< [\"pipe\"]\n"
         "< [\"resolve\",1,[\"readable\",1]]\n< "
         "[\"stream\",[\"pipeline\",1,[\"write\"],[[\"bytes\",\"Y2h1bmswCg\"]]]]\n"
         "< [\"stream\",[\"pipeline\",1,[\"abort\"],[[\"error\",\"Error\",\"source broke\"]]]]\n"
         "> [\"reject\",2,[\"error\",\"Error\",\"source broke\"]]\n> [\"resolve\",3,[\"undefined\"]]\n< "
         "[\"release\",1,1]\n"
         "> [\"release\",1,1]\n");
}

static void a_stream_ends_when_a_write_is_rejected(void **state)
{
    (void)state;
    play("> [\"push\",[\"pipeline\",0,[\"stream\"],[1000000,65536]]]\n> [\"release\",1,1]\n");
    struct side side;
    side_open(&side, NULL, service_main());
    side_receive(&side, STR("[\"push\",[\"pipeline\",0,[\"stream\"],[1000000,30000]]]"));
    side_receive(&side, STR("[\"pull\",1]"));
    side_expect(&side, STR("[\"pipe\"]"));
    side_expect(&side, STR("[\"resolve\",1,[\"readable\",1]]"));
    /* The window is 256 KiB, and the frame that crosses it is still sent. */
    assert_in_range(side.sent.len, 262144, 262144 + 40100);
    buf_clear(&side.sent);
    side_receive(&side, STR("[\"resolve\",2,[\"undefined\"]]"));
    assert_in_range(side.sent.len, 40000, 40100);
    buf_clear(&side.sent);
    side_receive(&side, STR("[\"reject\",3,[\"error\",\"Error\",\"client done\"]]"));
    side_expect(&side, STR("[\"release\",1,1]"));
    for (int id = 4; id <= 9; id++) {
        char line[64];
        snprintf(line, sizeof(line), "[\"reject\",%d,[\"error\",\"Error\",\"client done\"]]", id);
        side_receive(&side, str_from(line));
    }
    side_receive(&side, STR("[\"release\",1,1]"));
    side_expect_nothing(&side);
    side_expect_idle(&side);
    side_close(&side);
    assert_int_equal(service_alive(), 0);
}

static void a_stream_argument_is_read_to_its_end(void **state)
{
    (void)state;
    play("> [\"pipe\"]\n> [\"push\",[\"pipeline\",0,[\"consume\"],[\"/f\",[\"readable\",1],\"s\"]]]\n"
         "> [\"stream\",[\"pipeline\",1,[\"write\"],[[\"bytes\",\"cGFydDA\"]]]]\n> [\"pull\",2]\n"
         "> [\"stream\",[\"pipeline\",1,[\"write\"],[[\"bytes\",\"cGFydDE\"]]]]\n"
         "> [\"stream\",[\"pipeline\",1,[\"write\"],[[\"bytes\",\"cGFydDI\"]]]]\n"
         "> [\"stream\",[\"pipeline\",1,[\"close\"],[]]]\n< [\"resolve\",3,[\"undefined\"]]\n"
         "< [\"resolve\",4,[\"undefined\"]]\n< [\"resolve\",5,[\"undefined\"]]\n"
         "< [\"resolve\",2,{\"path\":\"/f\",\"bytesWritten\":15}]\n< [\"resolve\",6,[\"undefined\"]]\n"
         "> [\"release\",2,1]\n> [\"release\",1,1]\n");
}

static void writes_before_the_call_wait_for_it(void **state)
{
    (void)state;
    play(
        "> [\"pipe\"]\n> [\"push\",[\"pipeline\",1,[\"write\"],[[\"bytes\",\"cGFydDA\"]]]]\n> [\"pull\",2]\n"
        "> [\"stream\",[\"pipeline\",1,[\"close\"],[]]]\n"
        "> [\"push\",[\"pipeline\",0,[\"consume\"],[\"/f\",[\"readable\",1]]]]\n< [\"resolve\",2,[\"undefined\"]]\n"
        "< [\"resolve\",3,[\"undefined\"]]\n> [\"pull\",4]\n< "
        "[\"resolve\",4,{\"path\":\"/f\",\"bytesWritten\":5}]\n"
        "> [\"release\",1,1]\n> [\"release\",2,1]\n> [\"release\",4,1]\n");
}

static void a_consumer_may_refuse_and_a_producer_may_break(void **state)
{
    (void)state;
    play(
        "> [\"pipe\"]\n> [\"push\",[\"pipeline\",0,[\"consume\"],[\"/f\",[\"readable\",1],\"s\",5]]]\n> "
        "[\"pull\",2]\n"
        "> [\"stream\",[\"pipeline\",1,[\"write\"],[[\"bytes\",\"cGFydDA\"]]]]\n< [\"resolve\",3,[\"undefined\"]]\n"
        "> [\"stream\",[\"pipeline\",1,[\"write\"],[[\"bytes\",\"cGFydDA\"]]]]\n"
        "< [\"reject\",2,[\"error\",\"Error\",\"refused\"]]\n< [\"reject\",4,[\"error\",\"Error\",\"no thanks\"]]\n"
        "> [\"stream\",[\"pipeline\",1,[\"write\"],[[\"bytes\",\"cGFydDA\"]]]]\n"
        "< [\"reject\",5,[\"error\",\"Error\",\"no thanks\"]]\n> [\"release\",1,1]\n> [\"release\",2,1]\n");
    play("> [\"pipe\"]\n> [\"push\",[\"pipeline\",0,[\"consume\"],[\"/f\",[\"readable\",1]]]]\n> [\"pull\",2]\n"
         "> [\"stream\",[\"pipeline\",1,[\"abort\"],[[\"error\",\"Error\",\"broke\",null,{\"code\":\"X\"}]]]]\n"
         "< [\"resolve\",3,[\"undefined\"]]\n< "
         "[\"reject\",2,[\"error\",\"Error\",\"broke\",null,{\"code\":\"X\"}]]\n"
         "> [\"release\",1,1]\n> [\"release\",2,1]\n");
    play("> [\"pipe\"]\n> [\"push\",[\"pipeline\",0,[\"consume\"],[\"/f\",[\"readable\",1]]]]\n> [\"pull\",2]\n"
         "> [\"release\",1,1]\n"
         "< [\"reject\",2,[\"error\",\"Error\",\"WritableStream RPC stub was disposed without calling close()\"]]\n"
         "> [\"release\",2,1]\n");
    play("> [\"pipe\"]\n> [\"stream\",[\"pipeline\",1,[\"write\"],[[\"bytes\",\"cGFydDA\"]]]]\n"
         "> [\"push\",[\"pipeline\",0,[\"ping\"],[[\"readable\",1]]]]\n"
         "< [\"reject\",2,[\"error\",\"Error\",\"ReadableStream RPC stub was disposed without being consumed\"]]\n"
         "> [\"release\",1,1]\n> [\"release\",3,1]\n");
    play("> [\"pipe\"]\n> [\"stream\",[\"pipeline\",1,[\"close\"],[]]]\n> [\"release\",1,1]\n"
         "< [\"reject\",2,[\"error\",\"Error\",\"WritableStream RPC stub was disposed without calling "
         "close()\"]]\n");
}

static void callbacks_are_called_and_released_before_the_answer(void **state)
{
    (void)state;
    play(
        "> [\"push\",[\"pipeline\",0,[\"callMe\"],[[\"export\",-1],2]]]\n> [\"pull\",1]\n"
        "< [\"push\",[\"pipeline\",-1,[],[{\"text\":\"line0\",\"timestamp\":1}]]]\n< [\"pull\",1]\n"
        "> [\"resolve\",1,[\"undefined\"]]\n< [\"release\",1,1]\n"
        "< [\"push\",[\"pipeline\",-1,[],[{\"text\":\"line1\",\"timestamp\":1}]]]\n< [\"pull\",2]\n"
        "> [\"resolve\",2,[\"undefined\"]]\n< [\"release\",2,1]\n< [\"release\",-1,1]\n< [\"resolve\",1,\"done\"]\n"
        "> [\"release\",1,1]\n");
    play("> [\"push\",[\"pipeline\",0,[\"callMe\"],[[\"export\",-1],2]]]\n> [\"pull\",1]\n"
         "< [\"push\",[\"pipeline\",-1,[],[{\"text\":\"line0\",\"timestamp\":1}]]]\n< [\"pull\",1]\n"
         "> [\"reject\",1,[\"error\",\"Error\",\"enough\"]]\n< [\"release\",1,1]\n< [\"release\",-1,1]\n"
         "< [\"reject\",1,[\"error\",\"Error\",\"enough\"]]\n> [\"release\",1,1]\n");
}

static void an_object_comes_home_and_a_promise_goes_out(void **state)
{
    (void)state;
    play("> [\"push\",[\"pipeline\",0,[\"sub\"]]]\n> [\"pull\",1]\n< [\"resolve\",1,[\"export\",-1]]\n> "
         "[\"release\",1,1]\n"
         "> [\"push\",[\"pipeline\",0,[\"take\"],[[\"import\",-1]]]]\n> [\"pull\",2]\n"
         "< [\"resolve\",2,{\"p\":[\"promise\",-2]}]\n< [\"resolve\",-2,\"svc\"]\n> [\"release\",2,1]\n"
         "> [\"release\",-2,1]\n> [\"release\",-1,1]\n");
}

static void the_peer_may_call_its_own_object_through_us(void **state)
{
    (void)state;
    play("> [\"push\",[\"pipeline\",0,[\"echo\"],[[\"export\",-1]]]]\n> [\"push\",[\"pipeline\",1,[\"m\"],[4]]]\n"
         "> [\"pull\",2]\n< [\"push\",[\"pipeline\",-1,[\"m\"],[4]]]\n< [\"pull\",1]\n> [\"resolve\",1,{\"r\":8}]\n"
         "< [\"release\",1,1]\n< [\"resolve\",2,{\"r\":8}]\n> [\"pull\",1]\n< [\"resolve\",1,[\"import\",-1]]\n"
         "> [\"release\",2,1]\n> [\"release\",1,1]\n< [\"release\",-1,1]\n");
}

static void an_abandoned_call_still_ends(void **state)
{
    struct side side;
    struct capnweb_call *call;

    (void)state;
    side_open(&side, NULL, service_main());
    side_play(&side,
              "> [\"push\",[\"pipeline\",0,[\"never\"],[[\"export\",-1]]]]\n> [\"pull\",1]\n> [\"release\",1,1]\n");
    call = service_take_open_call();
    assert_non_null(call);
    assert_false(capnweb_call_abandoned(call));
    capnweb_resolve(call, CAPNWEB_TEXT(STR("late")));
    side_expect(&side, STR("[\"release\",-1,1]"));
    side_expect_nothing(&side);
    side_expect_idle(&side);

    side_receive(&side, STR("[\"push\",[\"pipeline\",0,[\"never\"],[[\"export\",-2]]]]"));
    side_receive(&side, STR("[\"push\",[\"pipeline\",2,[\"x\"],[[\"pipeline\",2]]]]"));
    call = service_take_open_call();
    capnweb_end(side.session, "Peer closed WebSocket: 1006 ");
    assert_true(capnweb_call_abandoned(call));
    side_close(&side);
    capnweb_resolve(call, CAPNWEB_TEXT(STR("later"))); /* the session is gone */
}

/* Answers ["never"] with the text; by hand where there is no transport for texts, what is sent is the same. */
static void answer_with_text(struct side *side, const char *json)
{
    struct buf text;

    side_receive(side, STR("[\"push\",[\"pipeline\",0,[\"never\"],[]]]"));
    side_receive(side, STR("[\"pull\",1]"));
    buf_init(&text, 4096);
    assert_int_equal(buf_append_str(&text, str_from(json)), 0);
    assert_true(capnweb_resolve_text(service_take_open_call(), &text));
    assert_int_equal(text.len, 0);
    buf_free(&text);
}

static void a_text_is_the_expression_that_its_value_would_be(void **state)
{
    static const char *const cases[][2] = {
        { "{\"a\":1}", "{\"a\":1}" },
        { "[]", "[[]]" },
        { "[[],[[1]],{\"a\":[2,\"x\"]}]", "[[[[]],[[[[1]]]],{\"a\":[[2,\"x\"]]}]]" },
        { "[\"]\\\\\",\"\\\"[[\",\"][\"]", "[[\"]\\\\\",\"\\\"[[\",\"][\"]]" },
        { "{\"[\":[]}", "{\"[\":[[]]}" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct side side;
        char line[256];
        side_open(&side, NULL, service_main());
        answer_with_text(&side, cases[i][0]);
        snprintf(line, sizeof(line), "[\"resolve\",1,%s]", cases[i][1]);
        side_expect(&side, str_from(line));
        side_expect_nothing(&side);
        /* And as a value: a part of it is used in a call. */
        side_receive(&side, STR("[\"push\",[\"pipeline\",1,[]]]"));
        side_receive(&side, STR("[\"pull\",2]"));
        snprintf(line, sizeof(line), "[\"resolve\",2,%s]", cases[i][1]);
        side_expect(&side, str_from(line));
        side_close(&side);
    }
}

static void a_text_that_is_too_deep_or_has_no_room_is_left_alone(void **state)
{
    struct side side;
    struct capnweb_call *call;
    struct buf text;

    (void)state;
    side_open(&side, NULL, service_main());
    side_receive(&side, STR("[\"push\",[\"pipeline\",0,[\"never\"],[]]]"));
    call = service_take_open_call();
    buf_init(&text, 4096);
    for (unsigned i = 0; i < 65; i++)
        assert_int_equal(buf_append(&text, "[", 1), 0);
    for (unsigned i = 0; i < 65; i++)
        assert_int_equal(buf_append(&text, "]", 1), 0);
    assert_false(capnweb_resolve_text(call, &text));
    assert_int_equal(text.len, 130);
    buf_free(&text);
    buf_init(&text, 7);
    assert_int_equal(buf_append_str(&text, STR("[[],[]]")), 0);
    assert_false(capnweb_resolve_text(call, &text));
    assert_true(str_eq(buf_str(&text), STR("[[],[]]")));
    buf_free(&text);
    capnweb_resolve(call, CAPNWEB_TEXT(STR("else")));
    side_close(&side);
}

static void a_map_is_refused_and_its_captures_are_released(void **state)
{
    (void)state;
    play("> [\"push\",[\"pipeline\",0,[\"add\"],[1,2]]]\n"
         "> [\"push\",[\"remap\",1,[],[[\"import\",0],[\"export\",-1]],[[\"pipeline\",-1,[\"add\"],[1,1]]]]]\n"
         "< [\"release\",-1,1]\n> [\"pull\",2]\n< [\"reject\",2,[\"error\",\"Error\",\"map() is not supported\"]]\n"
         "> [\"release\",2,1]\n> [\"release\",1,1]\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_is_answered_when_it_is_pulled),
        cmocka_unit_test(a_call_that_nobody_pulls_is_not_answered),
        cmocka_unit_test(a_property_read_gives_a_stub),
        cmocka_unit_test(a_method_can_be_called_on_a_result_before_it_is_there),
        cmocka_unit_test(a_result_can_be_an_argument_before_it_is_there),
        cmocka_unit_test(errors_keep_their_properties),
        cmocka_unit_test(a_path_that_leads_nowhere_rejects_the_call_only),
        cmocka_unit_test(every_kind_of_value_comes_back_as_it_was),
        cmocka_unit_test(bytes_are_sent_unpadded_and_read_either_way),
        cmocka_unit_test(lone_surrogates_are_replaced),
        cmocka_unit_test(a_stream_is_sent_until_it_is_closed),
        cmocka_unit_test(a_stream_whose_source_breaks_is_aborted),
        cmocka_unit_test(a_stream_ends_when_a_write_is_rejected),
        cmocka_unit_test(a_stream_argument_is_read_to_its_end),
        cmocka_unit_test(writes_before_the_call_wait_for_it),
        cmocka_unit_test(a_consumer_may_refuse_and_a_producer_may_break),
        cmocka_unit_test(callbacks_are_called_and_released_before_the_answer),
        cmocka_unit_test(an_object_comes_home_and_a_promise_goes_out),
        cmocka_unit_test(the_peer_may_call_its_own_object_through_us),
        cmocka_unit_test(an_abandoned_call_still_ends),
        cmocka_unit_test(a_text_is_the_expression_that_its_value_would_be),
        cmocka_unit_test(a_text_that_is_too_deep_or_has_no_room_is_left_alone),
        cmocka_unit_test(a_map_is_refused_and_its_captures_are_released),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
