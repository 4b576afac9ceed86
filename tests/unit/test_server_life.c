#include "server_fixture.h"

#include "base/sys.h"

#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include "fail_alloc.h"
#include "hand_clock.h"

static void note_idle(void *data)
{
    assert_ptr_equal(data, &seen);
    seen.idle = true;
}

static size_t allocated_bytes(void)
{
    return mallinfo2().uordblks;
}

/* --- bodies --- */

static void a_short_ignored_body_is_dropped_and_the_connection_kept(void **state)
{
    static char body[50000];

    (void)state;
    send_text(REQUEST("POST /hello", "Content-Length: 50000\r\n"));
    expect_response("HTTP/1.1 200", "", "hello");
    peer_send(&peer, (struct str){ body, sizeof(body) });
    send_text(REQUEST("POST /hello",
                      "Transfer-Encoding: chunked\r\n") "5\r\nabcde\r\n0\r\n\r\n" REQUEST("GET /hello", ""));
    expect_response("HTTP/1.1 200", "", "hello");
    expect_response("HTTP/1.1 200", "", "hello");
}

static void a_long_ignored_body_ends_the_connection_after_the_response(void **state)
{
    static char body[100000];

    (void)state;
    send_text(REQUEST("POST /hello", "Content-Length: 1000000\r\n"));
    expect_response("HTTP/1.1 200", "Connection: close", "hello");
    for (int i = 0; i < 10; i++)
        peer_send(&peer, (struct str){ body, sizeof(body) });
    WAIT_FOR(peer_sees_end(&peer));
    assert_int_equal(seen.completes, 1);
}

static void a_hundred_megabytes_arrive_whole(void **state)
{
    static char piece[1 << 20];
    uint64_t total = 100 << 20;

    (void)state;
    send_text("POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 104857600\r\n\r\n");
    for (uint64_t at = 0; at < total; at += sizeof(piece)) {
        fill_pattern(piece, sizeof(piece), at);
        peer_send(&peer, (struct str){ piece, sizeof(piece) });
    }
    expect_response("HTTP/1.1 200", "", "104857600");
    assert_false(seen.body_bad);
    assert_int_equal(seen.body_ends, 1);
}

static void a_promised_length_takes_no_memory_before_the_bytes_come(void **state)
{
    static char body[1 << 20];

    (void)state;
    size_t before = allocated_bytes();
    send_text(REQUEST("POST /echo", "Content-Length: 1048576\r\n") "a");
    let_things_happen();
    assert_int_equal(seen.requests, 1);
    assert_true(allocated_bytes() - before < 100000);
    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = (char)('a' + i % 23);
    for (size_t at = 1; at < sizeof(body); at += 4095)
        peer_send(&peer, (struct str){ body + at, MIN(sizeof(body) - at, (size_t)4095) });
    peer_take(&peer, "\r\n\r\n");
    WAIT_FOR(peer_has(&peer, "") && peer.in.len == sizeof(body));
    assert_memory_equal(buf_head(&peer.in), body, sizeof(body));
}

static void a_paused_body_holds_the_client_back(void **state)
{
    static char piece[65536];
    uint64_t sent = 0;
    int stalled = 0;

    (void)state;
    send_text(REQUEST("POST /paused", "Content-Length: 8388608\r\n"));
    WAIT_FOR(seen.held);
    while (stalled < 100) {
        fill_pattern(piece, sizeof(piece), sent);
        ssize_t n = send(peer.fd, piece, sizeof(piece), MSG_NOSIGNAL);
        stalled = n < 0 ? stalled + 1 : 0;
        sent += n > 0 ? (uint64_t)n : 0;
        turn();
    }
    assert_true(sent < 2 << 20);
    assert_int_equal(seen.body, 0);
    http_body_resume(seen.held);
    while (sent < 8388608) {
        size_t n = (size_t)MIN(sizeof(piece), 8388608 - sent);
        fill_pattern(piece, n, sent);
        peer_send(&peer, (struct str){ piece, n });
        sent += n;
    }
    expect_response("HTTP/1.1 200", "", "8388608");
    assert_false(seen.body_bad);
}

static void a_client_that_does_not_read_holds_the_handler_back(void **state)
{
    (void)state;
    seen.to_write = 20000000;
    send_text(REQUEST("GET /big", "") REQUEST("GET /hello", ""));
    let_things_happen();
    assert_true(seen.written < 2 << 20);
    assert_true(seen.queued_max <= limits.high_water + 50000);
    expect_response("HTTP/1.1 200", "Content-Length: 20000000\r\n", "");
    expect_pattern(20000000, 0, 30000);
    expect_response("HTTP/1.1 200", "", "hello");
    assert_true(seen.queued_max <= limits.high_water + 50000);
    assert_int_equal(seen.completes, 2);
}

static void both_directions_stream_at_once_with_bounded_memory(void **state)
{
    static char piece[32768];
    struct buf got;
    uint64_t sent = 0, total = 4 << 20;

    (void)state;
    buf_init(&got, 16 << 20);
    send_text("POST /duplex HTTP/1.1\r\nHost: a\r\nContent-Length: 4194304\r\n\r\n");
    peer_take(&peer, "\r\n\r\n");
    for (int idle = 0; sent < total && idle < 1000; turn()) {
        size_t n = (size_t)MIN(sizeof(piece), total - sent);
        fill_pattern(piece, n, sent);
        ssize_t rc = send(peer.fd, piece, n, MSG_NOSIGNAL);
        idle = rc > 0 ? 0 : idle + 1;
        sent += rc > 0 ? (uint64_t)rc : 0;
        if (idle > 100)
            peer_receive(&peer, 10000);
    }
    assert_true(seen.queued_max <= limits.high_water + (256 << 10) + 64);
    WAIT_FOR(peer_has(&peer, "\r\n0\r\n\r\n"));
    for (uint64_t at = 0; at < total;) {
        struct str size = peer_take(&peer, "\r\n");
        size_t n = strtoul(size.p, NULL, 16);
        assert_true(n > 0 && is_pattern((struct str){ buf_head(&peer.in), n }, at));
        buf_consume(&peer.in, n + 2);
        at += n;
    }
    assert_int_equal(seen.completes, 1);
    buf_free(&got);
}

/* --- a client that goes away --- */

static void a_client_may_go_at_any_byte_of_its_request(void **state)
{
    static const char bytes[] =
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

    (void)state;
    for (size_t n = 0; n < sizeof(bytes); n++) {
        peer_close(&peer);
        assert_int_equal(http_server_adopt_connection(server, peer_pair(&peer)), 0);
        peer_send(&peer, (struct str){ bytes, n });
        let_things_happen();
        peer_close(&peer);
        WAIT_FOR(stats().connections_open == 0);
        assert_int_equal(seen.closes, seen.requests);
    }
}

static void a_client_may_go_while_the_response_is_queued(void **state)
{
    (void)state;
    seen.to_write = 20000000;
    send_text(REQUEST("GET /big", ""));
    let_things_happen();
    peer_close(&peer);
    WAIT_FOR(seen.closes == 1);
    assert_int_equal(seen.completes, 0);
}

static void a_lost_client_is_noticed_while_nothing_is_sent(void **state)
{
    (void)state;
    send_text(REQUEST("GET /hold", "") REQUEST("GET /hello", ""));
    WAIT_FOR(seen.held);
    http_watch_disconnect(seen.held);
    let_things_happen();
    peer_close(&peer);
    WAIT_FOR(seen.closes == 1);
    assert_int_equal(seen.completes, 0);
    assert_int_equal(seen.requests, 1);
}

static void a_half_closed_client_still_gets_its_responses(void **state)
{
    (void)state;
    send_text(REQUEST("GET /hold", "") REQUEST("GET /hello", ""));
    shutdown(peer.fd, SHUT_WR);
    WAIT_FOR(seen.held);
    let_things_happen();
    http_respond(seen.held, 200, NULL, STR("held"));
    expect_response("HTTP/1.1 200", "", "held");
    expect_response("HTTP/1.1 200", "", "hello");
    expect_closed();
}

static void a_half_closed_client_is_lost_for_a_handler_that_watches(void **state)
{
    (void)state;
    send_text(REQUEST("GET /hold", ""));
    shutdown(peer.fd, SHUT_WR);
    WAIT_FOR(seen.held);
    let_things_happen();
    http_watch_disconnect(seen.held);
    WAIT_FOR(seen.closes == 1);
    expect_closed();
}

static void a_body_that_breaks_off_is_never_complete(void **state)
{
    (void)state;
    send_text(REQUEST("POST /count", "Content-Length: 5\r\n") "abc");
    shutdown(peer.fd, SHUT_WR);
    expect_closed();
    assert_int_equal(seen.body_ends, 0);
    assert_int_equal(seen.closes, 1);
}

/* --- deadlines --- */

static int setup_impatient(void **state)
{
    clock_by_hand();
    http_limits_default(&limits);
    limits.head_timeout_ms = 300;
    limits.body_timeout_ms = 300;
    limits.idle_timeout_ms = 500;
    limits.write_timeout_ms = 300;
    return setup(state);
}

static void a_slow_head_is_refused_however_often_a_byte_comes(void **state)
{
    uint64_t start = clock_monotonic_ns();

    (void)state;
    send_text("GET / HTTP/1.1\r\n");
    while (!peer_has(&peer, "}")) {
        send(peer.fd, "a:b\r\n", 5, MSG_NOSIGNAL);
        let_time_pass(20);
    }
    assert_in_range(clock_monotonic_ns() - start, 290000000, 400000000);
    assert_contains(peer_take(&peer, "}"), "HTTP/1.1 408");
    WAIT_FOR(peer_sees_end(&peer));
    assert_int_equal(stats().timeouts_total, 1);
    assert_int_equal(seen.requests, 0);
}

static void a_gap_in_the_body_is_refused_and_slow_progress_is_not(void **state)
{
    (void)state;
    send_text(REQUEST("POST /echo", "Content-Length: 8\r\n"));
    for (int i = 0; i < 7; i++) {
        let_time_pass(60);
        send_text("a");
    }
    assert_false(peer_has(&peer, "H"));
    assert_contains(peer_take(&peer, "}"), "HTTP/1.1 408");
    WAIT_FOR(seen.closes == 1);
    assert_int_equal(seen.completes, 0);
}

static void a_body_that_somebody_types_has_no_deadline_between_its_pieces(void **state)
{
    (void)state;
    send_text(REQUEST("POST /unhurried", "Content-Length: 2\r\n"));
    peer_send(&peer, (struct str){ (char[]){ pattern(0) }, 1 });
    let_time_pass(400);
    assert_int_equal(seen.closes, 0);
    peer_send(&peer, (struct str){ (char[]){ pattern(1) }, 1 });
    expect_response("HTTP/1.1 200", "", "2");
}

static void a_paused_body_and_an_open_answer_have_no_deadline(void **state)
{
    (void)state;
    send_text(REQUEST("POST /paused", "Content-Length: 1\r\n"));
    WAIT_FOR(seen.held);
    let_time_pass(400);
    assert_non_null(seen.held);
    http_body_resume(seen.held);
    peer_send(&peer, (struct str){ (char[]){ pattern(0) }, 1 });
    expect_response("HTTP/1.1 200", "", "1");
    send_text(REQUEST("GET /hold", ""));
    WAIT_FOR(seen.held);
    let_time_pass(400);
    http_respond(seen.held, 200, NULL, STR("held"));
    expect_response("HTTP/1.1 200", "", "held");
}

static void an_idle_connection_is_closed_without_a_word(void **state)
{
    (void)state;
    send_text(REQUEST("GET /hello", ""));
    expect_response("HTTP/1.1 200", "", "hello");
    let_time_pass(300);
    send_text(REQUEST("GET /hello", ""));
    expect_response("HTTP/1.1 200", "", "hello");
    let_time_pass(300);
    assert_int_equal(stats().connections_open, 1);
    expect_closed();
}

static void a_client_that_takes_no_byte_is_dropped(void **state)
{
    (void)state;
    seen.to_write = 20000000;
    send_text(REQUEST("GET /big", ""));
    WAIT_FOR(seen.closes == 1);
    assert_int_equal(seen.completes, 0);
    assert_int_equal(stats().timeouts_total, 1);
}

static void a_client_that_reads_slowly_is_not_dropped(void **state)
{
    (void)state;
    seen.to_write = 3000000;
    send_text(REQUEST("GET /big", ""));
    for (int i = 0; i < 8; i++) {
        let_time_pass(60);
        peer_receive(&peer, 65536);
        peer_receive(&peer, 65536);
        peer_receive(&peer, 65536);
        peer_receive(&peer, 65536);
    }
    assert_int_equal(seen.closes, 0);
    WAIT_FOR(peer_has(&peer, "\r\n\r\n") && seen.completes == 1);
}

/* --- connections --- */

static void draining_ends_idle_connections_now_and_busy_ones_after_their_response(void **state)
{
    struct peer idle;

    (void)state;
    assert_int_equal(http_server_adopt_connection(server, peer_pair(&idle)), 0);
    send_text(REQUEST("GET /hold", ""));
    WAIT_FOR(seen.held);
    http_server_drain(server, note_idle, &seen);
    WAIT_FOR(peer_sees_end(&idle));
    assert_false(seen.idle);
    assert_int_equal(http_server_adopt_connection(server, dup(peer.fd)), -1);
    http_respond(seen.held, 200, NULL, STR("held"));
    expect_response("HTTP/1.1 200", "Connection: close\r\n", "held");
    WAIT_FOR(seen.idle);
    WAIT_FOR(peer_sees_end(&peer));
    peer_close(&idle);
}

static void draining_without_connections_is_told_at_once(void **state)
{
    (void)state;
    peer_close(&peer);
    WAIT_FOR(stats().connections_open == 0);
    http_server_drain(server, note_idle, &seen);
    assert_false(seen.idle);
    WAIT_FOR(seen.idle);
}

static void freeing_the_server_closes_open_exchanges(void **state)
{
    const struct http_handler handler = { .on_request = on_request, .data = &seen };

    (void)state;
    send_text(REQUEST("GET /hold", ""));
    WAIT_FOR(seen.held);
    http_respond_begin(seen.held, 200, NULL, 0, HTTP_CHUNKED);
    http_server_free(server);
    assert_int_equal(seen.closes, 1);
    server = http_server_new(loop, &limits, &handler);
    turn();
    assert_true(peer_sees_end(&peer));
}

static int connect_tcp(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    set_nonblocking(fd);
    return fd;
}

static void tcp_listeners_serve_and_know_their_peers(void **state)
{
    static const char *const addresses[] = { "127.0.0.1:0", "localhost:0", "*:0" };
    struct berm_error err;
    int mine[3];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
        int fd = tcp_listen(addresses[i], &err);
        char own[32];
        struct sockaddr_in name = { 0 };
        socklen_t len = sizeof(name);
        assert_true(fd >= 0);
        mine[i] = fd;
        assert_int_equal(http_server_listen_fd(server, fd), 0);
        peer_close(&peer);
        peer_init(&peer, connect_tcp(socket_port(fd)));
        send_text(REQUEST("GET /hello", ""));
        expect_response("HTTP/1.1 200", "", "hello");
        assert_int_equal(getsockname(peer.fd, (struct sockaddr *)&name, &len), 0);
        snprintf(own, sizeof(own), "127.0.0.1:%d", ntohs(name.sin_port));
        assert_string_equal(seen.peer_name, own);
        assert_true(seen.local);
        assert_int_equal(seen.listener, mine[i]);
    }
    assert_int_equal(tcp_listen("127.0.0.1", &err), -1);
    assert_int_equal(err.code, BERM_E_INVALID_REQUEST);
    assert_int_equal(tcp_listen("127.0.0.1:65536", &err), -1);
    assert_int_equal(tcp_listen("nowhere:80", &err), -1);
    assert_int_equal(tcp_listen("[::1:80", &err), -1);
    assert_int_equal(tcp_listen("1.2.3.4:1", &err), -1);
    assert_int_equal(err.code, BERM_E_SYSTEM);
}

/* The server's socket of our connection: the one whose peer we are. */
static int accepted_socket(void)
{
    struct sockaddr_in own = { 0 }, other = { 0 };
    socklen_t len = sizeof(own);
    int fd = 2;

    assert_int_equal(getsockname(peer.fd, (struct sockaddr *)&own, &len), 0);
    while (other.sin_family != AF_INET || other.sin_port != own.sin_port) {
        assert_true(++fd < 1024);
        len = sizeof(other);
        getpeername(fd, (struct sockaddr *)&other, &len);
    }
    return fd;
}

static void what_goes_over_the_loopback_is_not_paced(void **state)
{
    int fd = tcp_listen("127.0.0.1:0", NULL);
    char control[16] = "";
    socklen_t len = sizeof(control);

    (void)state;
    assert_true(fd >= 0);
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5); /* as a host may have it */
    assert_int_equal(http_server_listen_fd(server, fd), 0);
    peer_close(&peer);
    peer_init(&peer, connect_tcp(socket_port(fd)));
    send_text(REQUEST("GET /hello", ""));
    expect_response("HTTP/1.1 200", "", "hello");
    assert_int_equal(getsockopt(accepted_socket(), IPPROTO_TCP, TCP_CONGESTION, control, &len), 0);
    assert_string_equal(control, "reno");
}

static void unix_peers_are_local(void **state)
{
    (void)state;
    send_text(REQUEST("GET /hello", ""));
    expect_response("HTTP/1.1 200", "", "hello");
    assert_true(seen.local);
    assert_string_equal(seen.peer_name, "unix");
    assert_int_equal(seen.listener, -1);
}

static void a_client_with_many_requests_does_not_fill_a_turn(void **state)
{
    static const char one[] = REQUEST("GET /hello", "");
    static char many[1000 * sizeof(one)];
    struct peer other;
    size_t n = 0;

    (void)state;
    for (int i = 0; i < 1000; i++, n += sizeof(one) - 1)
        memcpy(many + n, one, sizeof(one) - 1);
    assert_int_equal(http_server_adopt_connection(server, peer_pair(&other)), 0);
    assert_int_equal(send(peer.fd, many, n, 0), (ssize_t)n);
    turn();
    assert_in_range(seen.requests, 1, 100);
    peer_send(&other, STR(REQUEST("GET /hello", "")));
    turn();
    assert_true(peer_has(&other, "hello"));
    assert_in_range(seen.requests, 1, 300);
    for (int i = 0; i < 1000; i++)
        expect_response("HTTP/1.1 200", "", "hello");
    peer_close(&other);
}

static int setup_few(void **state)
{
    http_limits_default(&limits);
    limits.max_connections = 3;
    return setup(state);
}

static void connections_over_the_limit_are_closed(void **state)
{
    struct peer more[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(http_server_adopt_connection(server, peer_pair(&more[i])), i < 2 ? 0 : -1);
    WAIT_FOR(peer_sees_end(&more[2]) && peer_sees_end(&more[3]));
    assert_int_equal(stats().connections_open, 3);
    send_text(REQUEST("GET /hello", ""));
    expect_response("HTTP/1.1 200", "", "hello");
    peer_close(&more[0]);
    WAIT_FOR(stats().connections_open == 2);
    peer_close(&more[3]);
    assert_int_equal(http_server_adopt_connection(server, peer_pair(&more[3])), 0);
    for (int i = 1; i < 4; i++)
        peer_close(&more[i]);
}

static void accepting_goes_on_after_descriptors_ran_out(void **state)
{
    struct berm_error err;
    struct rlimit old, none;
    int listener = tcp_listen("127.0.0.1:0", &err);
    int fd;

    (void)state;
    assert_int_equal(http_server_listen_fd(server, listener), 0);
    fd = connect_tcp(socket_port(listener));
    getrlimit(RLIMIT_NOFILE, &old);
    none = (struct rlimit){ (rlim_t)fd + 1, old.rlim_max };
    setrlimit(RLIMIT_NOFILE, &none);
    let_things_happen();
    assert_int_equal(stats().connections_open, 1);
    setrlimit(RLIMIT_NOFILE, &old);
    peer_close(&peer);
    peer_init(&peer, fd);
    send_text(REQUEST("GET /hello", ""));
    expect_response("HTTP/1.1 200", "", "hello");
}

static void an_upgrade_hands_the_socket_and_the_rest_over(void **state)
{
    const struct http_field field = { "Upgrade", "echo" };
    struct buf rest;
    char bytes[8];
    int fd;

    (void)state;
    buf_init(&rest, 100);
    send_text(REQUEST("GET /hold", ""));
    WAIT_FOR(seen.held);
    assert_int_equal(http_upgrade(seen.held, &field, 1, &rest), -1);
    http_respond(seen.held, 200, NULL, STR("held"));
    expect_response("HTTP/1.1 200", "", "held");

    send_text(REQUEST("GET /hold", "Connection: upgrade\r\nUpgrade: echo\r\n") "rest");
    WAIT_FOR(seen.held);
    fd = http_upgrade(seen.held, &field, 1, &rest);
    assert_true(fd >= 0);
    assert_str(buf_str(&rest), STR("rest"));
    WAIT_FOR(seen.completes == 2 && stats().connections_open == 0);
    assert_contains(peer_take(&peer, "\r\n\r\n"), "HTTP/1.1 101 Switching Protocols\r\n");
    send_text("more");
    assert_int_equal(recv(fd, bytes, sizeof(bytes), 0), 4);
    close(fd);
    WAIT_FOR(peer_sees_end(&peer));
    buf_free(&rest);
}

static void an_upgrade_inside_of_the_request_callback_gets_the_rest_too(void **state)
{
    (void)state;
    send_text(REQUEST("GET /upgrade", "Connection: upgrade\r\nUpgrade: echo\r\n") "at once");
    assert_contains(peer_take(&peer, "\r\n\r\n"), "Connection: Upgrade\r\n");
    assert_str(peer_take(&peer, "at once"), STR("at once"));
    WAIT_FOR(peer_sees_end(&peer));
}

static void a_hundred_idle_connections_hold_no_buffers(void **state)
{
    struct peer idle[100];
    size_t before;

    (void)state;
    send_text(REQUEST("GET /hello", ""));
    expect_response("HTTP/1.1 200", "", "hello");
    before = allocated_bytes();
    for (int i = 0; i < 100; i++) {
        assert_int_equal(http_server_adopt_connection(server, peer_pair(&idle[i])), 0);
        peer_send(&idle[i], STR("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab"));
        peer_send(&idle[i], STR("c"));
        WAIT_FOR(peer_has(&idle[i], "abc"));
        buf_free(&idle[i].in);
    }
    let_things_happen();
    assert_true(allocated_bytes() - before < 100 * 1024);
    for (int i = 0; i < 100; i++)
        peer_close(&idle[i]);
}

/* --- memory --- */

static void send_or_lose(struct str s)
{
    size_t left;

    send(peer.fd, s.p, s.n, MSG_NOSIGNAL);
    let_things_happen();
    left = allocations_left;
    allocations_left = 0;
    peer_receive(&peer, SIZE_MAX);
    allocations_left = left;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    for (size_t n = 1; n < 60; n++) {
        int fd;
        peer_close(&peer);
        WAIT_FOR(stats().connections_open == 0);
        assert_int_equal(seen.closes, seen.requests);
        fd = peer_pair(&peer);
        allocations_left = n;
        if (http_server_adopt_connection(server, fd) == 0) {
            send_or_lose(STR(REQUEST("POST /echo", "Content-Length: 3\r\n") "abc"));
            send_or_lose(STR(REQUEST("POST /echo", "Transfer-Encoding: chunked\r\n") "1\r\n"));
            send_or_lose(STR("a\r\n0\r\n\r\n" REQUEST("GET /chunked", "Connection: close\r\n")));
        }
        allocations_left = 0;
    }
    assert_true(seen.completes > 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_short_ignored_body_is_dropped_and_the_connection_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_ignored_body_ends_the_connection_after_the_response, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_hundred_megabytes_arrive_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_promised_length_takes_no_memory_before_the_bytes_come, setup, teardown),
        cmocka_unit_test_setup_teardown(a_paused_body_holds_the_client_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_does_not_read_holds_the_handler_back, setup, teardown),
        cmocka_unit_test_setup_teardown(both_directions_stream_at_once_with_bounded_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_may_go_at_any_byte_of_its_request, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_may_go_while_the_response_is_queued, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_client_is_noticed_while_nothing_is_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(a_half_closed_client_still_gets_its_responses, setup, teardown),
        cmocka_unit_test_setup_teardown(a_half_closed_client_is_lost_for_a_handler_that_watches, setup, teardown),
        cmocka_unit_test_setup_teardown(a_body_that_breaks_off_is_never_complete, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slow_head_is_refused_however_often_a_byte_comes, setup_impatient,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_gap_in_the_body_is_refused_and_slow_progress_is_not, setup_impatient,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_body_that_somebody_types_has_no_deadline_between_its_pieces,
                                        setup_impatient, teardown),
        cmocka_unit_test_setup_teardown(a_paused_body_and_an_open_answer_have_no_deadline, setup_impatient,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_idle_connection_is_closed_without_a_word, setup_impatient, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_takes_no_byte_is_dropped, setup_impatient, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_reads_slowly_is_not_dropped, setup_impatient, teardown),
        cmocka_unit_test_setup_teardown(draining_ends_idle_connections_now_and_busy_ones_after_their_response,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(draining_without_connections_is_told_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(freeing_the_server_closes_open_exchanges, setup, teardown),
        cmocka_unit_test_setup_teardown(tcp_listeners_serve_and_know_their_peers, setup, teardown),
        cmocka_unit_test_setup_teardown(what_goes_over_the_loopback_is_not_paced, setup, teardown),
        cmocka_unit_test_setup_teardown(unix_peers_are_local, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_with_many_requests_does_not_fill_a_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(connections_over_the_limit_are_closed, setup_few, teardown),
        cmocka_unit_test_setup_teardown(accepting_goes_on_after_descriptors_ran_out, setup, teardown),
        cmocka_unit_test_setup_teardown(an_upgrade_hands_the_socket_and_the_rest_over, setup, teardown),
        cmocka_unit_test_setup_teardown(an_upgrade_inside_of_the_request_callback_gets_the_rest_too, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_hundred_idle_connections_hold_no_buffers, setup, teardown),
        cmocka_unit_test_setup_teardown(any_allocation_may_fail, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
