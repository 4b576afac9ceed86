#include "client_fixture.h"

#include "fail_alloc.h"

/* --- streams --- */

/* Writes as the client lets us: the new number of bytes written. */
static uint64_t write_while_allowed(uint64_t sent, uint64_t total)
{
    static char piece[65536];
    bool more = true;

    for (; more && sent < total; sent += sizeof(piece)) {
        fill_pattern(piece, sizeof(piece), sent);
        more = http_call_write(results[0].call, piece, sizeof(piece));
    }
    return sent;
}

static void a_peer_that_does_not_read_holds_the_writer_back(void **state)
{
    uint64_t sent, got = 0, total = 8 << 20;
    int drains = 0;

    (void)state;
    start(0, "PUT", "/a", total);
    sent = write_while_allowed(0, total);
    for (let_things_happen(); results[0].drains > drains; let_things_happen()) {
        drains = results[0].drains;
        sent = write_while_allowed(sent, total);
    }
    assert_true(sent < 2 << 20);
    peer_take(&peers[0], "\r\n\r\n");
    while (got < total) {
        peer_receive(&peers[0], 50000);
        assert_true(is_pattern(buf_str(&peers[0].in), got));
        got += peers[0].in.len;
        buf_clear(&peers[0].in);
        turn();
        if (results[0].drains > drains)
            sent = write_while_allowed(sent, total);
        drains = results[0].drains;
    }
    reply(0, OK_5);
    expect_end(0, BERM_OK, "hello");
    assert_false(peer_sees_end(&peers[0]));
}

static void a_paused_call_holds_the_peer_back(void **state)
{
    static char piece[65536];
    uint64_t sent = 0, total = 8 << 20;
    int stalled = 0;

    (void)state;
    results[0].pause_at_head = true;
    start(0, "GET", "/a", 0);
    peer_take(&peers[0], "\r\n\r\n");
    reply(0, "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n");
    while (stalled < 100) {
        fill_pattern(piece, sizeof(piece), sent);
        ssize_t n = send(peers[0].fd, piece, sizeof(piece), MSG_NOSIGNAL);
        stalled = n < 0 ? stalled + 1 : 0;
        sent += n > 0 ? (uint64_t)n : 0;
        turn();
    }
    assert_true(sent < 2 << 20);
    assert_int_equal(results[0].body.len, 0);
    http_call_resume(results[0].call);
    while (sent < total) {
        size_t n = (size_t)MIN(sizeof(piece), total - sent);
        fill_pattern(piece, n, sent);
        peer_send(&peers[0], (struct str){ piece, n });
        sent += n;
    }
    WAIT_FOR(results[0].ends == 1);
    assert_int_equal(results[0].error.code, BERM_OK);
    assert_true(results[0].body.len == total && is_pattern(buf_str(&results[0].body), 0));
}

static void a_paused_response_survives_the_peers_end(void **state)
{
    (void)state;
    results[0].pause_at_head = true;
    start(0, "GET", "/a", 0);
    peer_take(&peers[0], "\r\n\r\n");
    reply(0, "HTTP/1.1 200 OK\r\n\r\nhel");
    assert_int_equal(results[0].heads, 1);
    peer_send(&peers[0], STR("lo"));
    peer_close(&peers[0]);
    let_things_happen();
    assert_int_equal(results[0].ends, 0);
    http_call_resume(results[0].call);
    expect_end(0, BERM_OK, "hello");
}

static void both_directions_stream_at_once(void **state)
{
    (void)state;
    start(0, "POST", "/a", HTTP_CHUNKED);
    http_call_write(results[0].call, "1", 1);
    peer_take(&peers[0], "1\r\n1\r\n");
    reply(0, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    WAIT_FOR(results[0].body.len == 1);
    http_call_write(results[0].call, "2", 1);
    peer_take(&peers[0], "1\r\n2\r\n");
    http_call_end_body(results[0].call);
    peer_take(&peers[0], "0\r\n\r\n");
    reply(0, "1\r\nb\r\n0\r\n\r\n");
    expect_end(0, BERM_OK, "ab");
    assert_false(peer_sees_end(&peers[0]));
}

static void an_answer_before_the_end_of_the_body_is_taken_and_the_connection_dropped(void **state)
{
    (void)state;
    start(0, "POST", "/a", 1000);
    http_call_write(results[0].call, "1", 1);
    peer_take(&peers[0], "1");
    reply(0, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    expect_end(0, BERM_OK, "no");
    assert_int_equal(results[0].status, 413);
    expect_peer_closed(0);
}

static void an_answer_is_read_although_the_peer_takes_no_more_of_the_body(void **state)
{
    static const char answer[] = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno";
    static char piece[100000];

    (void)state;
    start(0, "POST", "/a", 10000000);
    http_call_write(results[0].call, piece, sizeof(piece));
    peer_take(&peers[0], "\r\n\r\n");
    while (peer_receive(&peers[0], SIZE_MAX))
        ;
    assert_int_equal(send(peers[0].fd, answer, sizeof(answer) - 1, 0), sizeof(answer) - 1);
    shutdown(peers[0].fd, SHUT_RDWR);
    http_call_write(results[0].call, piece, sizeof(piece));
    expect_end(0, BERM_OK, "no");
    assert_int_equal(results[0].status, 413);
}

static void more_or_less_body_than_announced_fails_the_call(void **state)
{
    (void)state;
    start(0, "POST", "/a", 3);
    http_call_write(results[0].call, "1234", 4);
    expect_end(0, BERM_E_INTERNAL, "");
    start(0, "POST", "/a", 3);
    http_call_write(results[0].call, "12", 2);
    http_call_end_body(results[0].call);
    expect_end(0, BERM_E_INTERNAL, "");
    assert_false(peer_has(&peers[0], "1234"));
}

/* --- ends --- */

static void a_call_may_be_cancelled_in_every_callback(void **state)
{
    (void)state;
    results[0].cancel_at_head = true;
    start(0, "GET", "/a", 0);
    peer_take(&peers[0], "\r\n\r\n");
    reply(0, OK_5);
    expect_peer_closed(0);
    results[1].cancel_at_body = true;
    start(1, "GET", "/a", 0);
    peer_take(&peers[1], "\r\n\r\n");
    reply(1, OK_5);
    expect_peer_closed(1);
    assert_int_equal(results[0].ends + results[1].ends, 0);
}

static void freeing_the_client_ends_the_calls(void **state)
{
    (void)state;
    start(0, "GET", "/a", 0);
    start(1, "GET", "/a", 0);
    let_things_happen();
    http_client_free(client);
    client = NULL;
    expect_end(0, BERM_E_EXEC_TRANSPORT_ERROR, "");
    expect_end(1, BERM_E_EXEC_TRANSPORT_ERROR, "");
    expect_peer_closed(0);
}

static void the_client_may_be_freed_at_the_end_of_a_call(void **state)
{
    (void)state;
    results[0].free_at_end = true;
    start(0, "GET", "/a", 0);
    start(1, "GET", "/a", 0);
    peer_take(&peers[0], "\r\n\r\n");
    reply(0, OK_5);
    expect_end(0, BERM_OK, "hello");
    expect_end(1, BERM_E_EXEC_TRANSPORT_ERROR, "");
    let_things_happen();
}

/* --- against the server --- */

static void echo(struct http_exchange *ex, struct str piece, void *data)
{
    (void)data;
    if (!http_respond_write(ex, piece.p, piece.n))
        http_body_pause(ex);
}

static void echo_more(struct http_exchange *ex, void *data)
{
    (void)data;
    http_body_resume(ex);
}

static void echo_end(struct http_exchange *ex, void *data)
{
    (void)data;
    http_respond_end(ex);
}

static void on_request(struct http_exchange *ex, const struct h1_head *head, void *data)
{
    const struct http_exchange_callbacks echoing = { .on_body = echo,
                                                     .on_drain = echo_more,
                                                     .on_body_end = echo_end };

    (void)head;
    (void)data;
    http_exchange_set(ex, &echoing, NULL);
    http_respond_begin(ex, 200, NULL, 0, HTTP_CHUNKED);
}

static void the_server_echoes_megabytes_over_one_connection(void **state)
{
    static char piece[100000];
    const struct http_handler handler = { .on_request = on_request };
    struct http_limits limits;
    struct http_server *server;
    uint64_t total = 20 * sizeof(piece);

    (void)state;
    http_limits_default(&limits);
    server = http_server_new(loop, &limits, &handler);
    for (int round = 0; round < 3; round++) {
        start(0, "POST", "/a", round == 1 ? HTTP_CHUNKED : total);
        if (round == 0)
            assert_int_equal(http_server_adopt_connection(server, TAKE_FD(peers[0].fd)), 0);
        for (uint64_t at = 0; at < total; at += sizeof(piece)) {
            fill_pattern(piece, sizeof(piece), at);
            http_call_write(results[0].call, piece, sizeof(piece));
            turn();
        }
        if (round == 1)
            http_call_end_body(results[0].call);
        WAIT_FOR(results[0].ends == 1);
        assert_int_equal(results[0].error.code, BERM_OK);
        assert_true(results[0].body.len == total && is_pattern(buf_str(&results[0].body), 0));
        buf_clear(&results[0].body);
        results[0].ends = results[0].heads = 0;
    }
    assert_int_equal(made, 1);
    http_server_free(server);
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    for (size_t n = 1; n < 40; n++) {
        struct berm_error err;
        struct result *result = &results[0];
        for (int i = 0; i < made; i++)
            peer_close(&peers[i]);
        let_things_happen();
        made = 0;
        *result = (struct result){ .body = result->body };
        allocations_left = n;
        result->call = http_call_start(client, "POST", "/a", NULL, 0, 3, &callbacks, result, &err);
        if (result->call)
            http_call_write(result->call, "abc", 3);
        let_things_happen();
        if (made > 0 && result->ends == 0)
            send(peers[0].fd, "HTTP/1.1 200 OK\r\nContent-", 25, MSG_NOSIGNAL);
        let_things_happen();
        if (made > 0 && result->ends == 0)
            send(peers[0].fd, "Length: 0\r\n\r\n", 13, MSG_NOSIGNAL);
        let_things_happen();
        allocations_left = 0;
        assert_true(result->call ? result->ends == 1 : result->ends == 0 && err.code == BERM_E_SYSTEM);
    }
    assert_int_equal(results[0].error.code, BERM_OK);
}

/* --- other protocols --- */

#define SWITCHING "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: other\r\nX-Field: f\r\n\r\n"

static int taken = -1;
static struct buf taken_rest;

static void take_at_head(struct http_call *call, const struct h1_head *head, void *data)
{
    on_head(call, head, data);
    taken = http_call_take_socket(call, &taken_rest);
}

static void start_upgrade(bool take)
{
    static const struct http_field fields[] = { { "Upgrade", "other" } };
    struct http_call_callbacks upgrading = callbacks;
    struct berm_error err;

    if (take)
        upgrading.on_head = take_at_head;
    buf_init(&taken_rest, 100);
    results[0].call = http_call_start(client, "GET", "/a", fields, 1, 0, &upgrading, &results[0], &err);
    assert_non_null(results[0].call);
    assert_contains(peer_take(&peers[0], "\r\n\r\n"), "\r\nConnection: Upgrade\r\n");
}

static void an_upgraded_connection_is_handed_over_with_what_came_behind_the_head(void **state)
{
    char bytes[8];

    (void)state;
    start_upgrade(true);
    reply(0, "HTTP/1.1 100 Continue\r\n\r\n" SWITCHING "early");
    WAIT_FOR(taken >= 0);
    assert_int_equal(results[0].status, 101);
    assert_string_equal(results[0].field, "f");
    assert_str(buf_str(&taken_rest), STR("early"));
    let_things_happen();
    assert_int_equal(results[0].ends, 0);
    peer_send(&peers[0], STR("later"));
    assert_int_equal(recv(taken, bytes, sizeof(bytes), 0), 5);
    assert_int_equal(send(taken, "back", 4, MSG_NOSIGNAL), 4);
    WAIT_FOR(peer_has(&peers[0], "back"));
    close_fd(&taken);
    buf_free(&taken_rest);
}

static void an_upgrade_that_is_refused_is_an_ordinary_answer(void **state)
{
    (void)state;
    start_upgrade(false);
    reply(0, OK_5);
    expect_end(0, BERM_OK, "hello");
}

static void an_upgrade_that_nobody_takes_fails_the_call(void **state)
{
    (void)state;
    start_upgrade(false);
    reply(0, SWITCHING);
    WAIT_FOR(results[0].ends == 1);
    assert_int_equal(results[0].error.code, BERM_E_PROTOCOL);
}

static void an_upgrade_that_nobody_asked_for_fails_the_call(void **state)
{
    (void)state;
    start(0, "GET", "/a", 0);
    peer_take(&peers[0], "\r\n\r\n");
    reply(0, SWITCHING);
    WAIT_FOR(results[0].ends == 1);
    assert_int_equal(results[0].heads, 0);
    assert_int_equal(results[0].error.code, BERM_E_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_peer_that_does_not_read_holds_the_writer_back, setup_client, teardown),
        cmocka_unit_test_setup_teardown(a_paused_call_holds_the_peer_back, setup_client, teardown),
        cmocka_unit_test_setup_teardown(a_paused_response_survives_the_peers_end, setup_client, teardown),
        cmocka_unit_test_setup_teardown(both_directions_stream_at_once, setup_client, teardown),
        cmocka_unit_test_setup_teardown(an_answer_before_the_end_of_the_body_is_taken_and_the_connection_dropped,
                                        setup_client, teardown),
        cmocka_unit_test_setup_teardown(an_answer_is_read_although_the_peer_takes_no_more_of_the_body, setup_client,
                                        teardown),
        cmocka_unit_test_setup_teardown(more_or_less_body_than_announced_fails_the_call, setup_client, teardown),
        cmocka_unit_test_setup_teardown(a_call_may_be_cancelled_in_every_callback, setup_client, teardown),
        cmocka_unit_test_setup_teardown(freeing_the_client_ends_the_calls, setup_client, teardown),
        cmocka_unit_test_setup_teardown(the_client_may_be_freed_at_the_end_of_a_call, setup_client, teardown),
        cmocka_unit_test_setup_teardown(the_server_echoes_megabytes_over_one_connection, setup_client, teardown),
        cmocka_unit_test_setup_teardown(any_allocation_may_fail, setup_client, teardown),
        cmocka_unit_test_setup_teardown(an_upgraded_connection_is_handed_over_with_what_came_behind_the_head,
                                        setup_client, teardown),
        cmocka_unit_test_setup_teardown(an_upgrade_that_is_refused_is_an_ordinary_answer, setup_client, teardown),
        cmocka_unit_test_setup_teardown(an_upgrade_that_nobody_takes_fails_the_call, setup_client, teardown),
        cmocka_unit_test_setup_teardown(an_upgrade_that_nobody_asked_for_fails_the_call, setup_client, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
