/* Messages of /ws, taken apart. */
#include "unit.h"

#include "agent/http/ws_message.h"

static void a_request_gives_its_parts_as_they_stand(void **state)
{
    struct ws_message m;

    (void)state;
    assert_int_equal(ws_message_read(STR(" {\"type\" :\"request\", \"id\":\"a\\\"b\",\"method\":\"POST\",\n"
                                         "\"path\":\"/api/x\",\"body\": {\"k\":[1,{}, \"}\"]} ,\"headers\":{}} "),
                                     &m),
                     WS_MESSAGE_REQUEST);
    assert_str(m.id, STR("\"a\\\"b\""));
    assert_str(m.method, STR("\"POST\""));
    assert_str(m.path, STR("\"/api/x\""));
    assert_str(m.body, STR("{\"k\":[1,{}, \"}\"]}"));
    assert_str(m.headers, STR("{}"));
}

static void members_of_members_are_not_ours_and_the_last_of_a_name_counts(void **state)
{
    struct ws_message m;

    (void)state;
    assert_int_equal(
        ws_message_read(STR("{\"body\":{\"id\":1,\"type\":\"cancel\"},\"id\":1,\"id\":2,\"type\":\"request\"}"),
                        &m),
        WS_MESSAGE_REQUEST);
    assert_str(m.id, STR("2"));
    assert_int_equal(m.path.n, 0);
}

static void a_body_that_only_its_route_can_judge_is_let_through(void **state)
{
    struct ws_message m;

    (void)state;
    assert_int_equal(ws_message_read(STR("{\"type\":\"request\",\"body\":{\"a\":\"\\ud800\",\"a\":1}}"), &m),
                     WS_MESSAGE_REQUEST);
    assert_str(m.body, STR("{\"a\":\"\\ud800\",\"a\":1}"));
    assert_int_equal(m.id.n, 0);
}

static void what_is_json_and_nothing_of_ours_is_unknown(void **state)
{
    static const char *const texts[] = {
        "null",
        "[]",
        "\"x\"",
        "12",
        "-0.5e10",
        "{}",
        "{\"type\":\"cancel\"}",
        "{\"type\":\"cancel\",\"id\":5}",
        "{\"type\":\"hello\",\"id\":\"1\"}",
        "{\"type\":[\"request\"]}",
        "true",
    };
    struct ws_message m;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (ws_message_read(str_from(texts[i]), &m) != WS_MESSAGE_UNKNOWN)
            fail_msg("%s", texts[i]);
    assert_int_equal(ws_message_read(STR("{\"type\":\"cancel\",\"id\":\"5\"}"), &m), WS_MESSAGE_CANCEL);
}

static void what_is_not_json_is_broken(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "{",
        "}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "[1,]",
        "[1 2]",
        "[}",
        "{\"a\":[}",
        "nul",
        "tru e",
        "01",
        "1.",
        ".5",
        "1e",
        "+1",
        "-",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"a\nb\"",
        "{} {}",
        "{a:1}",
        "'a'",
        "[1}",
        "NaN",
        "{\"a\":1 \"b\":2}",
        "\xef\xbb\xbf{}",
    };
    struct ws_message m;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (ws_message_read(str_from(texts[i]), &m) != WS_MESSAGE_BROKEN)
            fail_msg("%s", texts[i]);
}

static void nesting_has_an_end(void **state)
{
    char text[4000];
    struct ws_message m;

    (void)state;
    memset(text, '[', 500);
    memset(text + 500, ']', 500);
    assert_int_equal(ws_message_read((struct str){ text, 1000 }, &m), WS_MESSAGE_UNKNOWN);
    memset(text, '[', 2000);
    memset(text + 2000, ']', 2000);
    assert_int_equal(ws_message_read((struct str){ text, 4000 }, &m), WS_MESSAGE_BROKEN);
}

static void an_id_has_a_limit(void **state)
{
    char text[WS_MESSAGE_ID_MAX + 100];
    struct ws_message m;

    (void)state;
    for (size_t n = WS_MESSAGE_ID_MAX - 1; n <= WS_MESSAGE_ID_MAX + 1; n++) {
        int length = snprintf(text, sizeof(text), "{\"type\":\"request\",\"id\":1}");
        size_t at = (size_t)length - 2;
        memset(text + at, '1', n);
        text[at + n] = '}';
        assert_int_equal(ws_message_read((struct str){ text, at + n + 1 }, &m),
                         n <= WS_MESSAGE_ID_MAX ? WS_MESSAGE_REQUEST : WS_MESSAGE_UNKNOWN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_gives_its_parts_as_they_stand),
        cmocka_unit_test(members_of_members_are_not_ours_and_the_last_of_a_name_counts),
        cmocka_unit_test(a_body_that_only_its_route_can_judge_is_let_through),
        cmocka_unit_test(what_is_json_and_nothing_of_ours_is_unknown),
        cmocka_unit_test(what_is_not_json_is_broken),
        cmocka_unit_test(nesting_has_an_end),
        cmocka_unit_test(an_id_has_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
