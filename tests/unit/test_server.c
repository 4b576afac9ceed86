#include "server_fixture.h"

/* --- requests and responses --- */

static void a_request_is_answered_and_the_connection_is_kept(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        send_text(REQUEST("GET /hello", ""));
        expect_response("HTTP/1.1 200 OK\r\nDate: ", "\r\nContent-Length: 5\r\n", "hello");
    }
    assert_int_equal(seen.requests, 3);
    assert_int_equal(seen.completes, 3);
    assert_int_equal(stats().connections_open, 1);
}

static void a_response_has_its_fields_and_the_extra_ones(void **state)
{
    struct str head;

    (void)state;
    send_text(REQUEST("GET /hello", ""));
    head = peer_take(&peer, "\r\n\r\n");
    assert_contains(head, "\r\nContent-Type: text/plain\r\n");
    assert_contains(head, "\r\nX-Extra: yes\r\n");
    assert_false(contains(head, "Connection"));
}

static void requests_in_one_piece_are_answered_in_order(void **state)
{
    static char many[64 * 200];
    size_t n = 0;

    (void)state;
    for (int i = 0; i < 64; i++)
        n += (size_t)snprintf(many + n, sizeof(many) - n, "%s",
                              i % 2 ? REQUEST("GET /hello", "")
                                    : "POST /echo HTTP/1.1\r\nHost: a\r\n"
                                      "Content-Length: 3\r\n\r\nabc");
    peer_send(&peer, (struct str){ many, n });
    for (int i = 0; i < 64; i++)
        expect_response("HTTP/1.1 200", "", i % 2 ? "hello" : "abc");
    assert_int_equal(seen.completes, 64);
}

static void a_pipelined_request_waits_for_the_answer_before_it(void **state)
{
    (void)state;
    send_text(REQUEST("GET /hold", "") "GET /hel");
    send_text("lo HTTP/1.1\r\nHost: a\r\n\r\n" REQUEST("GET /chunked", "Connection: close\r\n"));
    WAIT_FOR(seen.held);
    let_things_happen();
    assert_int_equal(seen.requests, 1);
    http_respond(seen.held, 200, NULL, STR("held"));
    expect_response("HTTP/1.1 200", "", "held");
    expect_response("HTTP/1.1 200", "", "hello");
    expect_response("HTTP/1.1 200", "Connection: close", "6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n");
    expect_closed();
}

static void a_request_may_come_byte_by_byte(void **state)
{
    static const char bytes[] = "\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                                "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n" REQUEST("GET /hello", "");

    (void)state;
    for (size_t i = 0; i + 1 < sizeof(bytes); i++)
        peer_send(&peer, (struct str){ bytes + i, 1 });
    expect_response("HTTP/1.1 200", "Content-Length: 5", "abcde");
    expect_response("HTTP/1.1 200", "", "hello");
}

static void a_response_can_come_much_later(void **state)
{
    (void)state;
    send_text(REQUEST("GET /hold", ""));
    WAIT_FOR(seen.held);
    let_things_happen();
    assert_false(http_response_started(seen.held));
    http_respond_begin(seen.held, 200, NULL, 0, HTTP_CHUNKED);
    assert_contains(peer_take(&peer, "\r\n\r\n"), "Transfer-Encoding: chunked");
    http_respond_write(seen.held, "a", 1);
    peer_take(&peer, "1\r\na\r\n");
    http_respond_write(seen.held, "b", 1);
    http_respond_end(seen.held);
    assert_str(peer_take(&peer, "0\r\n\r\n"), STR("1\r\nb\r\n0\r\n\r\n"));
    assert_null(seen.held);
    assert_int_equal(seen.completes, 1);
}

static void head_gets_the_length_and_no_body(void **state)
{
    (void)state;
    send_text(REQUEST("HEAD /hello", "") REQUEST("HEAD /chunked", "") REQUEST("HEAD /file", "")
                  REQUEST("GET /no-content", "") REQUEST("GET /hello", ""));
    expect_response("HTTP/1.1 200", "Content-Length: 5\r\n", "");
    expect_response("HTTP/1.1 200", "Transfer-Encoding: chunked\r\n", "");
    expect_response("HTTP/1.1 200", "Content-Length: 1000005\r\n", "");
    assert_false(contains(peer_take(&peer, "\r\n\r\n"), "Content-Length"));
    expect_response("HTTP/1.1 200", "", "hello");
}

static void http_1_0_is_answered_without_chunks_and_closed(void **state)
{
    (void)state;
    send_text("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /chunked HTTP/1.0\r\n"
              "Connection: keep-alive\r\n\r\n");
    expect_response("HTTP/1.1 200", "Connection: keep-alive\r\n", "hello");
    expect_response("HTTP/1.1 200", "Connection: close\r\n", "hello world");
    expect_closed();
}

static void expect_100_is_answered_when_the_body_is_wanted(void **state)
{
    (void)state;
    send_text(REQUEST("POST /echo", "Expect: 100-continue\r\nContent-Length: 3\r\n"));
    assert_str(peer_take(&peer, "\r\n\r\n"), STR("HTTP/1.1 100 Continue\r\n\r\n"));
    send_text("abc");
    expect_response("HTTP/1.1 200", "Content-Length: 3", "abc");
    /* Not when the body is there already. */
    send_text(REQUEST("POST /echo", "Expect: 100-continue\r\nContent-Length: 3\r\n") "abc");
    expect_response("HTTP/1.1 200", "", "abc");
    /* Not while the handler has not made up its mind, and then a refusal ends the connection. */
    send_text(REQUEST("POST /paused", "Expect: 100-continue\r\nContent-Length: 3\r\n"));
    WAIT_FOR(seen.held);
    let_things_happen();
    assert_false(peer_has(&peer, "H"));
    http_respond(seen.held, 403, NULL, STR("no"));
    expect_response("HTTP/1.1 403", "Connection: close", "no");
    WAIT_FOR(peer_sees_end(&peer));
}

static void a_long_body_that_is_refused_ends_the_connection_after_the_response(void **state)
{
    static char body[100000];

    (void)state;
    send_text(REQUEST("POST /paused", "Content-Length: 1000000\r\n") "x");
    WAIT_FOR(seen.held);
    http_respond(seen.held, 403, NULL, STR("no"));
    expect_response("HTTP/1.1 403", "Connection: close", "no");
    for (int i = 0; i < 9; i++)
        peer_send(&peer, (struct str){ body, sizeof(body) });
    WAIT_FOR(peer_sees_end(&peer));
}

static void an_invalid_field_makes_the_response_a_500(void **state)
{
    (void)state;
    send_text(REQUEST("GET /bad-field", ""));
    expect_response("HTTP/1.1 500", "Connection: close", "{\"status\":500,\"reason\":\"Internal Server Error\"}");
    expect_closed();
    assert_int_equal(seen.closes, 1);
    assert_int_equal(seen.completes, 0);
}

static void a_handler_cannot_frame_a_response_itself(void **state)
{
    (void)state;
    send_text(REQUEST("GET /second-length", ""));
    assert_contains(peer_take(&peer, "}"), "HTTP/1.1 500");
    expect_closed();
}

static void a_body_that_breaks_its_promise_breaks_the_connection(void **state)
{
    (void)state;
    send_text(REQUEST("GET /too-little", ""));
    expect_closed();
    assert_int_equal(seen.completes, 0);
    peer_close(&peer);
    http_server_adopt_connection(server, peer_pair(&peer));
    send_text(REQUEST("GET /too-much", ""));
    WAIT_FOR(peer_sees_end(&peer));
    assert_false(peer_has(&peer, "123"));
    assert_int_equal(seen.closes, 2);
    assert_int_equal(seen.completes, 0);
}

static void an_aborted_response_has_no_end(void **state)
{
    (void)state;
    send_text(REQUEST("GET /abort", ""));
    WAIT_FOR(peer_sees_end(&peer));
    assert_false(peer_has(&peer, "0\r\n\r\n"));
    assert_int_equal(seen.closes, 1);
    assert_int_equal(seen.completes, 0);
}

static void a_file_range_is_sent_between_bytes(void **state)
{
    (void)state;
    send_text(REQUEST("GET /file", "") REQUEST("GET /hello", ""));
    expect_response("HTTP/1.1 200", "Content-Length: 1000005\r\n", "<<");
    expect_pattern(1000000, 500000, SIZE_MAX);
    expect_response(">>>HTTP/1.1 200", "", "hello");
}

static void a_file_that_is_too_short_breaks_the_connection(void **state)
{
    (void)state;
    send_text(REQUEST("GET /short-file", ""));
    peer_take(&peer, "\r\n\r\n");
    expect_pattern(1000, 0, SIZE_MAX);
    expect_closed();
    assert_int_equal(seen.completes, 0);
}

/* --- refusals --- */

static void a_refused_head_is_answered_and_the_connection_is_closed(void **state)
{
    static const struct {
        const char *bytes, *start, *body;
    } rows[] = {
        { "GET / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 400 Bad Request\r\n",
          "{\"status\":400,\"reason\":\"Bad Request\"}" },
        { REQUEST("GET /", "Expect: tea\r\n"), "HTTP/1.1 417 ", "{\"status\":417," },
        { REQUEST("POST /", "Transfer-Encoding: gzip, chunked\r\n"), "HTTP/1.1 501 ", "{\"status\":501," },
        { "GET / HTTP/3.0\r\n\r\n", "HTTP/1.1 505 ", "{\"status\":505," },
        { REQUEST("POST /echo", "Content-Length: 99999999999\r\n"), "HTTP/1.1 413 ", "{\"status\":413," },
        { REQUEST("POST /echo", "Content-Length: 1048577\r\n"), "HTTP/1.1 413 ", "{\"status\":413," },
        { REQUEST("POST /echo", "Transfer-Encoding: chunked\r\n") "x", "HTTP/1.1 400 ", "{\"status\":400," },
        { REQUEST("POST /hold", "Transfer-Encoding: chunked\r\n") "5\r\nhelloX", "HTTP/1.1 400 ",
          "{\"status\":400," },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        send_text(rows[i].bytes);
        expect_response(rows[i].start, "Connection: close\r\n", rows[i].body);
        WAIT_FOR(peer_sees_end(&peer));
        peer_close(&peer);
        WAIT_FOR(stats().connections_open == 0);
        assert_int_equal(stats().refused_total, i + 1);
        assert_int_equal(http_server_adopt_connection(server, peer_pair(&peer)), 0);
    }
    assert_int_equal(seen.completes, 0);
    assert_int_equal(seen.closes, seen.requests);
}

static void nothing_behind_a_refused_head_is_taken_for_a_request(void **state)
{
    (void)state;
    send_text("GET / HTTP/1.1\r\nHost: a\r\n\rX\r\n\r\n" REQUEST("GET /hello", ""));
    assert_contains(peer_take(&peer, "}"), "HTTP/1.1 400");
    send_text(REQUEST("GET /hello", ""));
    WAIT_FOR(peer_sees_end(&peer));
    assert_int_equal(seen.requests, 0);
    assert_int_equal(peer.in.len, 0);
}

static void a_head_without_end_is_refused_at_the_limit(void **state)
{
    static char many[40000];

    (void)state;
    memset(many, 'a', sizeof(many));
    memcpy(many, "GET / HTTP/1.1\r\nHost: a\r\nX: ", 28);
    peer_send(&peer, (struct str){ many, 32768 });
    let_things_happen();
    assert_false(peer_has(&peer, "H"));
    peer_send(&peer, (struct str){ many + 32768, 1 });
    assert_contains(peer_take(&peer, "}"), "HTTP/1.1 431");
}

static void a_chunked_body_over_the_limit_is_refused_on_the_way(void **state)
{
    static char chunk[100007] = "186a0\r\n";

    (void)state;
    send_text(REQUEST("POST /echo", "Transfer-Encoding: chunked\r\n"));
    for (int i = 0; i < 12; i++) {
        peer_send(&peer, (struct str){ chunk, sizeof(chunk) });
        send_text("\r\n");
    }
    assert_contains(peer_take(&peer, "}"), "HTTP/1.1 413");
    WAIT_FOR(peer_sees_end(&peer));
    assert_int_equal(seen.body_ends, 0);
}

static void a_client_that_uploads_blindly_still_gets_its_refusal(void **state)
{
    static char piece[100000];

    (void)state;
    send_text(REQUEST("POST /echo", "Content-Length: 20000000\r\n"));
    for (int i = 0; i < 200; i++)
        peer_send(&peer, (struct str){ piece, sizeof(piece) });
    assert_contains(peer_take(&peer, "}"), "HTTP/1.1 413");
    WAIT_FOR(peer_sees_end(&peer));
    assert_false(peer.reset);
    peer_close(&peer);
    WAIT_FOR(stats().connections_open == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_request_is_answered_and_the_connection_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(a_response_has_its_fields_and_the_extra_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(requests_in_one_piece_are_answered_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pipelined_request_waits_for_the_answer_before_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_request_may_come_byte_by_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(a_response_can_come_much_later, setup, teardown),
        cmocka_unit_test_setup_teardown(head_gets_the_length_and_no_body, setup, teardown),
        cmocka_unit_test_setup_teardown(http_1_0_is_answered_without_chunks_and_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(expect_100_is_answered_when_the_body_is_wanted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_body_that_is_refused_ends_the_connection_after_the_response, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_invalid_field_makes_the_response_a_500, setup, teardown),
        cmocka_unit_test_setup_teardown(a_handler_cannot_frame_a_response_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(a_body_that_breaks_its_promise_breaks_the_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(an_aborted_response_has_no_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_range_is_sent_between_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_is_too_short_breaks_the_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_head_is_answered_and_the_connection_is_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_behind_a_refused_head_is_taken_for_a_request, setup, teardown),
        cmocka_unit_test_setup_teardown(a_head_without_end_is_refused_at_the_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(a_chunked_body_over_the_limit_is_refused_on_the_way, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_uploads_blindly_still_gets_its_refusal, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
