/* What a peer may not do, how it is told, and what it cannot make us hold or do. */
#include "capnweb_fixture.h"

#include "fail_alloc.h"

static void expect_abort(const char *transcript, const char *name, const char *message)
{
    struct side side;
    struct str line;
    char want[512];

    side_open(&side, NULL, service_main());
    side_play(&side, "");
    for (const char *at = transcript; *at;) {
        size_t n = strcspn(at, "\n");
        side_receive(&side, (struct str){ at, n });
        at += n + (at[n] == '\n');
    }
    line = buf_str(&side.sent);
    snprintf(want, sizeof(want), "[\"abort\",[\"error\",\"%s\",\"%s", name, message);
    if (!str_has_prefix(line, str_from(want)))
        fail_msg("got %.*s, want %s", (int)line.n, line.p, want);
    assert_true(side.has_failed);
    buf_clear(&side.sent);
    /* Nothing is heard or said any more. */
    side_receive(&side, STR("[\"pull\",0]"));
    side_expect_nothing(&side);
    side_close(&side);
    assert_int_equal(service_alive(), 0);
}

#define PUSH "[\"push\",[\"pipeline\",0,[\"echo\"],[1]]]\n"

static void a_message_that_breaks_the_protocol_ends_the_session(void **state)
{
    static const struct {
        const char *messages, *name, *text;
    } cases[] = {
        { "[\"pull\",9]", "Error", "no such export ID: 9\"]]\n" },
        { "[\"release\",9,1]", "Error", "no such export ID: 9\"]]\n" },
        { "[\"release\",-1,1]", "Error", "no such export ID: -1\"]]\n" },
        { PUSH "[\"release\",1,2]", "Error", "refcount would go negative: 1 < 2\"]]\n" },
        { PUSH "[\"release\",1,1]\n[\"release\",1,1]", "Error", "no such export ID: 1\"]]\n" },
        { PUSH "[\"release\",1,0]", "Error", "bad RPC message: [\\\"release\\\",1,0]\"]]\n" },
        { PUSH "[\"release\",1,-5]", "Error", "bad RPC message: [\\\"release\\\",1,-5]\"]]\n" },
        { PUSH "[\"release\",1,9223372036854775807]", "Error", "refcount would go negative" },
        { "[\"release\",0,1]\n" PUSH, "Error", "no such entry on exports table: 0\"]]\n" },
        { "[\"push\",[\"bogus\",1]]", "TypeError", "unknown special value: [\\\"bogus\\\",1]\"]]\n" },
        { "[\"push\",[]]", "TypeError", "unknown special value: []\"]]\n" },
        { "[\"push\",[\"pipeline\",0,\"getSvc\",[]]]", "TypeError",
          "unknown special value: [\\\"pipeline\\\",0,\\\"getSvc\\\",[]]\"]]\n" },
        { "[\"push\",[\"pipeline\",\"0\"]]", "TypeError", "unknown special value: " },
        { "[\"push\",[\"pipeline\",0,[[]],[]]]", "TypeError", "unknown special value: " },
        { "[\"push\",[\"pipeline\",0,[],[],1]]", "TypeError", "unknown special value: " },
        { "[\"push\",[\"pipeline\",7,[\"a\"],[]]]", "Error", "no such entry on exports table: 7\"]]\n" },
        { "[\"push\",[\"pipeline\",1,[\"a\"],[]]]", "Error", "no such entry on exports table: 1\"]]\n" },
        { "[\"push\",[\"export\",1]]", "TypeError", "unknown special value: " },
        { "[\"push\",[\"export\",-1.5]]", "TypeError", "unknown special value: " },
        { "[\"push\",[[[\"export\",-1],[\"promise\",-1]]]]", "Error", "The peer sent a promise reusing" },
        { "[\"push\",[[[\"promise\",-1],[\"promise\",-1]]]]", "Error", "The peer sent a promise reusing" },
        { "[\"push\",[\"bytes\",\"a b\"]]", "TypeError", "bytes that are not base64\"]]\n" },
        { "[\"push\",[\"bigint\",\"1e3\"]]", "TypeError", "unknown special value: " },
        { "[\"push\",[\"bigint\",\"-\"]]", "TypeError", "unknown special value: " },
        { "[\"push\",[\"date\",\"x\"]]", "TypeError", "unknown special value: " },
        { "[\"push\",[\"undefined\",1]]", "TypeError", "unknown special value: " },
        { "[\"push\",[\"error\",\"E\"]]", "TypeError", "unknown special value: " },
        { "[\"push\",[\"error\",\"E\",\"m\",null,[]]]", "TypeError", "unknown special value: " },
        { "[\"push\",[\"blob\",\"a\",5]]", "TypeError", "unknown special value: " },
        { "[\"push\",[\"response\",{},{}]]", "TypeError", "unknown special value: " },
        { "[\"push\",[\"headers\",[[\"a\"]]]]", "TypeError", "unknown special value: " },
        { "[\"push\",[\"readable\",1]]", "Error",
          "Export 1 is not a pipe or its readable end was already consumed." },
        { PUSH "[\"push\",[\"readable\",1]]", "Error", "Export 1 is not a pipe" },
        { "[\"pipe\"]\n[\"push\",[[[\"readable\",1],[\"readable\",1]]]]", "Error", "Export 1 is not a pipe" },
        { "[\"bogus\",1]", "Error", "bad RPC message: [\\\"bogus\\\",1]\"]]\n" },
        { "[]", "Error", "bad RPC message: []\"]]\n" },
        { "{\"push\":1}", "Error", "bad RPC message: {\\\"push\\\":1}\"]]\n" },
        { "[\"push\"]", "Error", "bad RPC message: [\\\"push\\\"]\"]]\n" },
        { "[\"pull\",\"1\"]", "Error", "bad RPC message: " },
        { "[\"resolve\",1]", "Error", "bad RPC message: " },
        { "[\"resolve\",77,[\"bogus\"]]", "TypeError", "unknown special value: " },
        { "not json", "SyntaxError", "invalid JSON at byte 0" },
        { "[\"push\",1]]", "SyntaxError", "invalid JSON" },
        { "\xff", "SyntaxError", "invalid JSON" },
        { "", "Error", "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases) - 1; i++)
        expect_abort(cases[i].messages, cases[i].name, cases[i].text);
}

static void what_concerns_nothing_that_we_know_is_ignored(void **state)
{
    struct side side;

    (void)state;
    side_open(&side, NULL, service_main());
    side_play(
        &side,
        "> [\"resolve\",77,5]\n> [\"reject\",-3,\"x\"]\n> [\"resolve\",0,1]\n"
        "> [\"resolve\",78,[[[\"export\",-1],[\"export\",-2]]]]\n< [\"release\",-1,1]\n< [\"release\",-2,1]\n");
    side_expect_idle(&side);
    side_close(&side);
}

static void a_session_without_a_main_object_says_so(void **state)
{
    struct side side;

    (void)state;
    side_open(&side, NULL, NULL);
    side_play(&side,
              "> [\"push\",[\"pipeline\",0,[\"a\"],[]]]\n> [\"pull\",1]\n"
              "< [\"reject\",1,[\"error\",\"Error\",\"This connection has no main object.\"]]\n> [\"pull\",0]\n"
              "< [\"reject\",0,[\"error\",\"Error\",\"only results and promises can be pulled\"]]\n");
    side_close(&side);
}

static void an_object_given_twice_is_released_as_often(void **state)
{
    struct side side;

    (void)state;
    side_open(&side, NULL, service_main());
    side_play(&side,
              "> [\"push\",[\"pipeline\",0,[\"ping\"],[[\"export\",-1],[\"export\",-1]]]]\n< [\"release\",-1,2]\n"
              "> [\"release\",1,1]\n");
    side_expect_idle(&side);
    side_close(&side);
}

static void a_settlement_counts_once(void **state)
{
    struct side side;

    (void)state;
    side_open(&side, NULL, service_main());
    side_play(&side, "> [\"push\",[\"pipeline\",0,[\"callMe\"],[[\"export\",-1],1]]]\n"
                     "< [\"push\",[\"pipeline\",-1,[],[{\"text\":\"line0\",\"timestamp\":1}]]]\n< [\"pull\",1]\n"
                     "> [\"resolve\",1,1]\n< [\"release\",1,1]\n< [\"release\",-1,1]\n> [\"resolve\",1,2]\n"
                     "> [\"reject\",1,3]\n> [\"release\",1,1]\n");
    side_expect_idle(&side);
    side_close(&side);
}

static void nesting_has_the_limit_of_the_upstream_peer(void **state)
{
    char text[2048];

    (void)state;
    for (unsigned depth = 63; depth <= 66; depth++) {
        struct side side;
        size_t n = (size_t)snprintf(text, sizeof(text), "[\"push\",");
        for (unsigned i = 0; i < depth; i++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "[[");
        n += (size_t)snprintf(text + n, sizeof(text) - n, "1");
        for (unsigned i = 0; i < depth; i++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "]]");
        text[n++] = ']';
        side_open(&side, NULL, service_main());
        side_receive(&side, (struct str){ text, n });
        assert_int_equal(side.has_failed, depth > 64);
        side_close(&side);
    }
}

/* --- what grows --- */

static void chains_of_promises_are_limited_and_do_not_recurse(void **state)
{
    struct capnweb_limits limits;
    struct side side;
    struct capnweb_call *call;
    char text[128];

    (void)state;
    capnweb_limits_default(&limits);
    limits.max_pipelined = UINT32_MAX;
    side_open(&side, &limits, service_main());
    side_receive(&side, STR("[\"push\",[\"pipeline\",0,[\"never\"],[]]]"));
    for (int i = 1; i < 60000; i++) {
        snprintf(text, sizeof(text), "[\"push\",[\"pipeline\",0,[\"echo\"],[[\"pipeline\",%d]]]]", i);
        side_receive(&side, str_from(text));
    }
    side_receive(&side, STR("[\"pull\",60000]"));
    call = service_take_open_call();
    capnweb_resolve(call, CAPNWEB_TEXT(STR("end")));
    side_run(&side);
    side_expect(&side, STR("[\"resolve\",60000,\"end\"]"));
    side_close(&side);

    side_open(&side, NULL, service_main());
    side_receive(&side, STR("[\"push\",[\"pipeline\",0,[\"never\"],[]]]"));
    for (int i = 1; i < 2000; i++) {
        snprintf(text, sizeof(text), "[\"push\",[\"pipeline\",%d,[\"x\"]]]", i);
        side_receive(&side, str_from(text));
    }
    side_receive(&side, STR("[\"pull\",2000]"));
    side_expect(&side, STR("[\"reject\",2000,[\"error\",\"RangeError\",\"too many calls wait for each other\"]]"));
    side_close(&side);
    capnweb_resolve(service_take_open_call(), CAPNWEB_NOTHING);
}

static void results_put_into_results_cannot_explode(void **state)
{
    struct side side;
    char text[128];

    (void)state;
    side_open(&side, NULL, service_main());
    side_receive(&side, STR("[\"push\",[[1,2,3,4,5,6,7,8]]]"));
    for (int i = 1; i < 63; i++) {
        snprintf(text, sizeof(text), "[\"push\",[[[\"pipeline\",%d],[\"pipeline\",%d]]]]", i, i);
        side_receive(&side, str_from(text));
    }
    side_receive(&side, STR("[\"pull\",60]"));
    side_expect(&side, STR("[\"reject\",60,[\"error\",\"RangeError\","
                           "\"a value made of results is too large or nested too deeply\"]]"));
    side_close(&side);

    /* The same in depth only. */
    side_open(&side, NULL, service_main());
    side_receive(&side, STR("[\"push\",[[1]]]"));
    for (int i = 1; i < 100; i++) {
        snprintf(text, sizeof(text), "[\"push\",[[[\"pipeline\",%d]]]]", i);
        side_receive(&side, str_from(text));
    }
    side_receive(&side, STR("[\"pull\",100]"));
    side_expect(&side, STR("[\"reject\",100,[\"error\",\"RangeError\","
                           "\"a value made of results is too large or nested too deeply\"]]"));
    side_close(&side);
}

static void tables_are_limited(void **state)
{
    struct capnweb_limits limits;
    struct side side;

    (void)state;
    capnweb_limits_default(&limits);
    limits.max_entries = 100;
    side_open(&side, &limits, service_main());
    for (int i = 0; i < 99; i++)
        side_receive(&side, STR("[\"push\",1]"));
    assert_false(side.has_failed);
    side_receive(&side, STR("[\"push\",1]"));
    assert_string_equal(side.failed, "too many calls");
    side_close(&side);

    side_open(&side, &limits, service_main());
    for (int i = 1; i <= 100; i++) {
        char text[64];
        snprintf(text, sizeof(text), "[\"push\",[\"export\",%d]]", -i);
        side_receive(&side, str_from(text));
    }
    assert_true(side.has_failed);
    side_close(&side);

    side_open(&side, &limits, service_main());
    for (int i = 0; i < 100; i++)
        side_receive(&side, STR("[\"pipe\"]"));
    assert_string_equal(side.failed, "too many streams");
    side_close(&side);
}

static void what_waits_is_limited(void **state)
{
    struct capnweb_limits limits;
    struct side side;
    struct buf text;

    (void)state;
    capnweb_limits_default(&limits);
    limits.max_held = 1 << 20;
    limits.max_message = 1 << 18;
    side_open(&side, &limits, service_main());
    buf_init(&text, 1 << 20);
    assert_int_equal(buf_printf(&text, "[\"stream\",[\"pipeline\",1,[\"write\"],[[\"bytes\",\"%0100000d\"]]]]", 0),
                     0);
    side_receive(&side, STR("[\"pipe\"]"));
    for (int i = 0; i < 20; i++)
        side_receive(&side, buf_str(&text));
    assert_false(side.has_failed);
    side_expect(&side,
                STR("[\"reject\",12,[\"error\",\"RangeError\",\"too much waits for something in this session\"]]"));
    buf_clear(&text);
    assert_int_equal(buf_printf(&text, "[\"push\",\"%0*d\"]", 1 << 18, 0), 0);
    side_receive(&side, buf_str(&text));
    assert_true(side.has_failed);
    buf_free(&text);
    side_close(&side);
}

static void a_result_that_is_too_long_is_rejected(void **state)
{
    struct capnweb_limits limits;
    struct side side;

    (void)state;
    capnweb_limits_default(&limits);
    limits.max_sent = 200;
    side_open(&side, &limits, service_main());
    /* Control characters take six times their room. */
    side_receive(
        &side, STR("[\"push\",[\"pipeline\",0,[\"echo\"],[\"\x7f\\u0001\\u0001\\n0123456789012345678901234567890"
                   "123456789012345678901234567890123456789012345678901234567890123456789012345678901234567\"]]]"));
    side_receive(&side, STR("[\"push\",[\"pipeline\",0,[\"echoAll\"],[[\"pipeline\",1],[\"pipeline\",1]]]]"));
    side_receive(&side, STR("[\"pull\",2]"));
    side_expect(&side, STR("[\"reject\",2,[\"error\",\"RangeError\","
                           "\"a value made of results is too large or nested too deeply\"]]"));
    side_close(&side);
}

/* --- many calls, and none of it stays --- */

static void a_hundred_thousand_calls_leave_nothing(void **state)
{
    struct side side;
    char text[128];

    (void)state;
    side_open(&side, NULL, service_main());
    for (int i = 1; i <= 100000; i++) {
        snprintf(text, sizeof(text), "[\"push\",[\"pipeline\",0,[\"add\"],[%d,1]]]", i);
        side_receive(&side, str_from(text));
        snprintf(text, sizeof(text), "[\"pull\",%d]", i);
        side_receive(&side, str_from(text));
        snprintf(text, sizeof(text), "[\"resolve\",%d,%d]", i, i + 1);
        side_expect(&side, str_from(text));
        snprintf(text, sizeof(text), "[\"release\",%d,1]", i);
        side_receive(&side, str_from(text));
    }
    side_expect_idle(&side);
    side_close(&side);
}

/* --- memory runs out anywhere --- */

static void every_failed_allocation_leaves_a_session_that_can_be_freed(void **state)
{
    static const char *const messages[] = {
        "[\"push\",[\"pipeline\",0,[\"nested\"],[{\"a\":[[1,2,[\"bytes\",\"AAAA\"]]]}]]]",
        "[\"push\",[\"pipeline\",0,[\"echo\"],[[\"pipeline\",1,[\"deep\",0]]]]]",
        "[\"pull\",2]",
        "[\"push\",[\"pipeline\",0,[\"stream\"],[3]]]",
        "[\"pull\",3]",
        "[\"resolve\",2,[\"undefined\"]]",
        "[\"pipe\"]",
        "[\"push\",[\"pipeline\",0,[\"echo\"],[[\"export\",-1],[\"promise\",-2]]]]",
        "[\"pull\",5]",
        "[\"resolve\",-2,[\"error\",\"Error\",\"m\",null,{\"code\":\"X\"}]]",
        "[\"stream\",[\"pipeline\",4,[\"write\"],[[\"bytes\",\"AAAA\"]]]]",
        "[\"push\",[\"pipeline\",5,[\"x\"],[1]]]",
        "[\"release\",1,1]",
        "[\"release\",2,1]",
    };
    size_t failures = 0;

    (void)state;
    for (size_t n = 1; n < 400; n++) {
        struct side side;
        side_open(&side, NULL, service_main());
        assert_int_equal(buf_append(&side.sent, messages, 1), 0); /* the fixture needs memory as well */
        assert_non_null(buf_reserve(&side.sent, 65536));
        buf_clear(&side.sent);
        for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
            struct str message = str_from(messages[i]);
            allocations_left = i == n % ARRAY_SIZE(messages) ? n / ARRAY_SIZE(messages) + 1 : 0;
            capnweb_receive(side.session, message);
            if (i == n % ARRAY_SIZE(messages) && allocations_left == 0)
                failures++;
            allocations_left = 0;
        }
        side_close(&side);
    }
    assert_true(failures > 100);
    assert_int_equal(service_alive(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_that_breaks_the_protocol_ends_the_session),
        cmocka_unit_test(what_concerns_nothing_that_we_know_is_ignored),
        cmocka_unit_test(a_session_without_a_main_object_says_so),
        cmocka_unit_test(an_object_given_twice_is_released_as_often),
        cmocka_unit_test(a_settlement_counts_once),
        cmocka_unit_test(nesting_has_the_limit_of_the_upstream_peer),
        cmocka_unit_test(chains_of_promises_are_limited_and_do_not_recurse),
        cmocka_unit_test(results_put_into_results_cannot_explode),
        cmocka_unit_test(tables_are_limited),
        cmocka_unit_test(what_waits_is_limited),
        cmocka_unit_test(a_result_that_is_too_long_is_rejected),
        cmocka_unit_test(a_hundred_thousand_calls_leave_nothing),
        cmocka_unit_test(every_failed_allocation_leaves_a_session_that_can_be_freed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
