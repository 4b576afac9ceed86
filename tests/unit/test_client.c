#include "client_fixture.h"

#include "hand_clock.h"

/* --- plain calls --- */

static void a_call_gets_its_response_and_the_connection_is_used_again(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        start(0, "GET", "/a", 0);
        expect_request(0, GET_A);
        reply(0, OK_5);
        expect_end(0, BERM_OK, "hello");
        assert_int_equal(results[0].status, 200);
        assert_string_equal(results[0].field, "value");
    }
    assert_int_equal(made, 1);
}

static void no_callback_comes_before_the_start_returns(void **state)
{
    (void)state;
    start(0, "GET", "/a", 0);
    assert_int_equal(results[0].heads + results[0].ends, 0);
    http_call_cancel(results[0].call);
    expect_peer_closed(0);
    assert_int_equal(results[0].ends, 0);
}

static void a_request_carries_fields_and_length(void **state)
{
    const struct http_field fields[] = { { "X-A", "b" }, { "Host", "other:80" } };
    struct berm_error err;

    (void)state;
    results[0].call = http_call_start(client, "POST", "/a?b", fields, 2, 5, &callbacks, &results[0], &err);
    assert_true(http_call_write(results[0].call, "he", 2));
    assert_true(http_call_write(results[0].call, "llo", 3));
    http_call_end_body(results[0].call);
    expect_request(0, "POST /a?b HTTP/1.1\r\nX-A: b\r\nHost: other:80\r\nContent-Length: 5\r\n\r\n");
    peer_take(&peers[0], "hello");
    reply(0, "HTTP/1.1 204 No Content\r\n\r\n");
    expect_end(0, BERM_OK, "");
    start(0, "POST", "/", 0);
    expect_request(0, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
}

static void a_body_of_unknown_length_is_chunked(void **state)
{
    (void)state;
    start(0, "PUT", "/a", HTTP_CHUNKED);
    expect_request(0, "PUT /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    http_call_write(results[0].call, "hello", 5);
    peer_take(&peers[0], "5\r\nhello\r\n");
    http_call_end_body(results[0].call);
    peer_take(&peers[0], "0\r\n\r\n");
    reply(0, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n"
             "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    expect_end(0, BERM_OK, "abc");
    assert_int_equal(made, 1);
}

static void requests_that_cannot_be_sent_are_refused(void **state)
{
    static const struct {
        const char *method, *target;
        struct http_field field;
    } rows[] = {
        { "GET", "/a b", { "X", "y" } },       { "GET", "a", { "X", "y" } },
        { "GET", "", { "X", "y" } },           { "GET", "/\r\nX: y", { "X", "y" } },
        { "G T", "/", { "X", "y" } },          { "", "/", { "X", "y" } },
        { "CONNECT", "/", { "X", "y" } },      { "GET", "/", { "X", "y\r\nZ: a" } },
        { "GET", "/", { "X y", "z" } },        { "GET", "/", { "", "z" } },
        { "GET", "/", { "Connection", "x" } }, { "GET", "/", { "content-length", "5" } },
        { "GET", "/", { "X", NULL } },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct berm_error err = { 0 };
        assert_null(http_call_start(client, rows[i].method, rows[i].target, &rows[i].field, 1, 0, &callbacks,
                                    &results[0], &err));
        assert_int_equal(err.code, BERM_E_INVALID_REQUEST);
    }
    assert_int_equal(made, 0);
}

static void a_failed_connect_fails_the_start(void **state)
{
    struct berm_error err = { 0 };

    (void)state;
    refuse_connect = true;
    assert_null(http_call_start(client, "GET", "/", NULL, 0, 0, &callbacks, &results[0], &err));
    assert_int_equal(err.code, BERM_E_SANDBOX_DIED);
    let_things_happen();
    assert_int_equal(results[0].ends, 0);
}

static void calls_at_once_have_connections_of_their_own_and_few_are_kept(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        start(i, "GET", "/a", 0);
    for (int i = 3; i >= 0; i--) {
        expect_request(i, GET_A);
        reply(i, OK_5);
        expect_end(i, BERM_OK, "hello");
    }
    assert_int_equal(made, 4);
    expect_peer_closed(0);
    expect_peer_closed(1);
    assert_false(peer_sees_end(&peers[2]));
    http_client_drop_idle(client);
    expect_peer_closed(2);
    expect_peer_closed(3);
}

static void a_response_may_come_byte_by_byte(void **state)
{
    static const char bytes[] =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nT: v\r\n\r\n";

    (void)state;
    start(0, "GET", "/a", 0);
    expect_request(0, GET_A);
    for (size_t i = 0; i + 1 < sizeof(bytes); i++)
        peer_send(&peers[0], (struct str){ bytes + i, 1 });
    expect_end(0, BERM_OK, "hello");
    start(0, "GET", "/a", 0);
    expect_request(0, GET_A);
    assert_int_equal(made, 1);
}

static void a_head_response_has_no_body_and_keeps_the_connection(void **state)
{
    (void)state;
    start(0, "HEAD", "/a", 0);
    peer_take(&peers[0], "\r\n\r\n");
    reply(0, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n");
    expect_end(0, BERM_OK, "");
    start(0, "GET", "/a", 0);
    peer_take(&peers[0], "\r\n\r\n");
    assert_int_equal(made, 1);
}

static void a_body_without_length_ends_with_the_connection(void **state)
{
    (void)state;
    start(0, "GET", "/a", 0);
    peer_take(&peers[0], "\r\n\r\n");
    reply(0, "HTTP/1.1 200 OK\r\n\r\nhello");
    let_things_happen();
    assert_int_equal(results[0].ends, 0);
    peer_close(&peers[0]);
    expect_end(0, BERM_OK, "hello");
}

static void connection_close_is_obeyed(void **state)
{
    (void)state;
    start(0, "GET", "/a", 0);
    peer_take(&peers[0], "\r\n\r\n");
    reply(0, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
    expect_end(0, BERM_OK, "hello");
    expect_peer_closed(0);
}

static void a_call_may_be_started_at_the_end_of_another(void **state)
{
    (void)state;
    results[0].again_at_end = true;
    start(0, "GET", "/a", 0);
    expect_request(0, GET_A);
    reply(0, OK_5);
    expect_end(0, BERM_OK, "hello");
    expect_request(0, "GET /again HTTP/1.1\r\nHost: localhost\r\n\r\n");
    reply(0, OK_5);
    expect_end(7, BERM_OK, "hello");
    assert_int_equal(made, 1);
}

/* --- retries --- */

/* One finished call, so that peer 0 is an idle connection. */
static void warm_up(void)
{
    start(0, "GET", "/a", 0);
    expect_request(0, GET_A);
    reply(0, OK_5);
    expect_end(0, BERM_OK, "hello");
}

static void a_connection_that_was_closed_while_idle_is_not_used(void **state)
{
    (void)state;
    warm_up();
    peer_close(&peers[0]);
    start(0, "POST", "/a", 0);
    WAIT_FOR(made == 2);
    peer_take(&peers[1], "\r\n\r\n");
    reply(1, OK_5);
    expect_end(0, BERM_OK, "hello");
}

static void an_idempotent_request_is_sent_again_once(void **state)
{
    (void)state;
    warm_up();
    start(0, "GET", "/a", 0);
    expect_request(0, GET_A);
    peer_close(&peers[0]);
    WAIT_FOR(made == 2);
    expect_request(1, GET_A);
    peer_close(&peers[1]);
    expect_end(0, BERM_E_EXEC_TRANSPORT_ERROR, "");
    assert_int_equal(made, 2);
}

static void a_request_whose_body_has_not_been_started_is_sent_again(void **state)
{
    (void)state;
    warm_up();
    start(0, "POST", "/a", 5);
    peer_take(&peers[0], "\r\n\r\n");
    peer_close(&peers[0]);
    WAIT_FOR(made == 2);
    http_call_write(results[0].call, "hello", 5);
    peer_take(&peers[1], "Content-Length: 5\r\n\r\nhello");
    reply(1, OK_5);
    expect_end(0, BERM_OK, "hello");
}

static void a_request_of_which_nothing_got_out_is_sent_again_whole(void **state)
{
    static char body[40000];

    (void)state;
    warm_up();
    start(0, "POST", "/a", sizeof(body));
    fill_pattern(body, sizeof(body), 0);
    peer_close(&peers[0]);
    http_call_write(results[0].call, body, sizeof(body));
    WAIT_FOR(made == 2);
    peer_take(&peers[1], "Content-Length: 40000\r\n\r\n");
    WAIT_FOR(!peer_receive(&peers[1], SIZE_MAX) && peers[1].in.len == sizeof(body));
    assert_true(is_pattern(buf_str(&peers[1].in), 0));
    reply(1, OK_5);
    expect_end(0, BERM_OK, "hello");
}

static void a_request_that_may_have_been_acted_on_is_not_sent_again(void **state)
{
    (void)state;
    warm_up();
    start(0, "POST", "/a", 5);
    http_call_write(results[0].call, "hello", 5);
    peer_take(&peers[0], "hello");
    peer_close(&peers[0]);
    expect_end(0, BERM_E_EXEC_TRANSPORT_ERROR, "");
    assert_int_equal(made, 1);
}

static void a_request_is_not_sent_again_after_a_byte_of_the_answer(void **state)
{
    (void)state;
    warm_up();
    start(0, "GET", "/a", 0);
    expect_request(0, GET_A);
    reply(0, "H");
    peer_close(&peers[0]);
    expect_end(0, BERM_E_EXEC_TRANSPORT_ERROR, "");
    assert_int_equal(made, 1);
}

static void a_new_connection_that_dies_is_not_replaced(void **state)
{
    (void)state;
    start(0, "GET", "/a", 0);
    expect_request(0, GET_A);
    peer_close(&peers[0]);
    expect_end(0, BERM_E_EXEC_TRANSPORT_ERROR, "");
    assert_int_equal(made, 1);
}

static void when_the_second_connect_fails_its_reason_is_told(void **state)
{
    (void)state;
    warm_up();
    start(0, "GET", "/a", 0);
    expect_request(0, GET_A);
    refuse_connect = true;
    peer_close(&peers[0]);
    expect_end(0, BERM_E_SANDBOX_DIED, "");
}

/* --- hostile peers --- */

static void a_response_that_is_not_http_ends_the_call(void **state)
{
    static char many_fields[2000] = "HTTP/1.1 200 OK\r\n";
    static char huge[40000] = "HTTP/1.1 200 OK\r\nA: ";
    const char *const rows[] = {
        "garbage\r\n\r\n",
        "\x16\x03\x01",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        many_fields,
        huge,
    };

    (void)state;
    for (int i = 0; i < 101; i++)
        memcpy(many_fields + 17 + i * 6, "A: b\r\n", 6);
    memcpy(many_fields + 17 + 606, "\r\n", 3);
    memset(huge + 20, 'a', 35000);
    for (int i = 0; i < (int)ARRAY_SIZE(rows); i++) {
        start(i % 8, "GET", "/a", 0);
        peer_take(&peers[i], "\r\n\r\n");
        reply(i, rows[i]);
        expect_end(i % 8, BERM_E_PROTOCOL, "");
        expect_peer_closed(i);
    }
}

static void broken_chunks_end_the_call_after_what_was_whole(void **state)
{
    (void)state;
    start(0, "GET", "/a", 0);
    peer_take(&peers[0], "\r\n\r\n");
    reply(0, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\n");
    expect_end(0, BERM_E_PROTOCOL, "abc");
}

static void interim_responses_without_end_end_the_call(void **state)
{
    (void)state;
    start(0, "GET", "/a", 0);
    peer_take(&peers[0], "\r\n\r\n");
    for (int i = 0; i < 16; i++)
        reply(0, "HTTP/1.1 102 Processing\r\n\r\n");
    assert_int_equal(results[0].ends, 0);
    reply(0, "HTTP/1.1 102 Processing\r\n\r\n");
    expect_end(0, BERM_E_PROTOCOL, "");
}

static void bytes_behind_a_response_are_not_the_next_response(void **state)
{
    (void)state;
    start(0, "GET", "/a", 0);
    expect_request(0, GET_A);
    reply(0, OK_5 OK_5);
    expect_end(0, BERM_OK, "hello");
    expect_peer_closed(0);
    start(0, "GET", "/a", 0);
    expect_request(1, GET_A);
}

static void a_response_nobody_asked_for_ends_the_connection(void **state)
{
    (void)state;
    warm_up();
    assert_int_equal(send(peers[0].fd, OK_5, sizeof(OK_5) - 1, 0), sizeof(OK_5) - 1);
    /* The loop has not seen it yet, so whoever cannot send again looks. */
    start(0, "POST", "/a", 0);
    expect_request(1, POST_A);
    expect_peer_closed(0);
    reply(1, OK_5);
    expect_end(0, BERM_OK, "hello");
    reply(1, "H");
    expect_peer_closed(1);
    start(0, "GET", "/a", 0);
    expect_request(2, GET_A);
}

static void a_response_that_breaks_off_is_an_error(void **state)
{
    (void)state;
    start(0, "GET", "/a", 0);
    peer_take(&peers[0], "\r\n\r\n");
    reply(0, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello");
    peer_close(&peers[0]);
    expect_end(0, BERM_E_EXEC_TRANSPORT_ERROR, "hello");
}

static int setup_by_hand(void **state)
{
    clock_by_hand();
    return setup(state);
}

static void a_silent_peer_runs_into_the_deadlines(void **state)
{
    uint64_t start_ns = clock_monotonic_ns();

    (void)state;
    config.head_timeout_ms = 300;
    config.idle_timeout_ms = 300;
    client = http_client_new(loop, &config);
    start(0, "POST", "/a", 5);
    let_time_pass(400);
    assert_int_equal(results[0].ends, 0); /* the request is not complete */
    http_call_write(results[0].call, "hello", 5);
    expect_end(0, BERM_E_TIMED_OUT, "");
    expect_peer_closed(0);

    start(1, "GET", "/a", 0);
    peer_take(&peers[1], "\r\n\r\n");
    reply(1, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
    http_call_set_idle_timeout(results[1].call, 300);
    for (int i = 0; i < 6; i++) {
        let_time_pass(60);
        reply(1, "x");
    }
    assert_int_equal(results[1].ends, 0);
    expect_end(1, BERM_E_TIMED_OUT, "xxxxxx");

    start(2, "GET", "/a", 0);
    peer_take(&peers[2], "\r\n\r\n");
    reply(2, OK_5);
    expect_end(2, BERM_OK, "hello");
    expect_peer_closed(2);
    assert_true(clock_monotonic_ns() - start_ns < 5000000000u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_call_gets_its_response_and_the_connection_is_used_again, setup_client,
                                        teardown),
        cmocka_unit_test_setup_teardown(no_callback_comes_before_the_start_returns, setup_client, teardown),
        cmocka_unit_test_setup_teardown(a_request_carries_fields_and_length, setup_client, teardown),
        cmocka_unit_test_setup_teardown(a_body_of_unknown_length_is_chunked, setup_client, teardown),
        cmocka_unit_test_setup_teardown(requests_that_cannot_be_sent_are_refused, setup_client, teardown),
        cmocka_unit_test_setup_teardown(a_failed_connect_fails_the_start, setup_client, teardown),
        cmocka_unit_test_setup_teardown(calls_at_once_have_connections_of_their_own_and_few_are_kept, setup_client,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_response_may_come_byte_by_byte, setup_client, teardown),
        cmocka_unit_test_setup_teardown(a_head_response_has_no_body_and_keeps_the_connection, setup_client,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_body_without_length_ends_with_the_connection, setup_client, teardown),
        cmocka_unit_test_setup_teardown(connection_close_is_obeyed, setup_client, teardown),
        cmocka_unit_test_setup_teardown(a_call_may_be_started_at_the_end_of_another, setup_client, teardown),
        cmocka_unit_test_setup_teardown(a_connection_that_was_closed_while_idle_is_not_used, setup_client,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_idempotent_request_is_sent_again_once, setup_client, teardown),
        cmocka_unit_test_setup_teardown(a_request_whose_body_has_not_been_started_is_sent_again, setup_client,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_request_of_which_nothing_got_out_is_sent_again_whole, setup_client,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_request_that_may_have_been_acted_on_is_not_sent_again, setup_client,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_request_is_not_sent_again_after_a_byte_of_the_answer, setup_client,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_new_connection_that_dies_is_not_replaced, setup_client, teardown),
        cmocka_unit_test_setup_teardown(when_the_second_connect_fails_its_reason_is_told, setup_client, teardown),
        cmocka_unit_test_setup_teardown(a_response_that_is_not_http_ends_the_call, setup_client, teardown),
        cmocka_unit_test_setup_teardown(broken_chunks_end_the_call_after_what_was_whole, setup_client, teardown),
        cmocka_unit_test_setup_teardown(interim_responses_without_end_end_the_call, setup_client, teardown),
        cmocka_unit_test_setup_teardown(bytes_behind_a_response_are_not_the_next_response, setup_client, teardown),
        cmocka_unit_test_setup_teardown(a_response_nobody_asked_for_ends_the_connection, setup_client, teardown),
        cmocka_unit_test_setup_teardown(a_response_that_breaks_off_is_an_error, setup_client, teardown),
        cmocka_unit_test_setup_teardown(a_silent_peer_runs_into_the_deadlines, setup_by_hand, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
