/* HTTP/2 of the server: the same handler as for HTTP/1.1, and clients that mean no good. */
#include "h2_peer.h"

#include "hand_clock.h"

static struct block b;

/* --- what works --- */

static void a_request_is_answered_like_one_of_http_1(void **state)
{
    (void)state;
    send_request("GET", "/hello", END_STREAM, 1);
    expect_status(1, 200);
    expect_body(1, "hello");
    send_request("GET", "/chunked", END_STREAM, 3);
    expect_status(3, 200);
    expect_body(3, "hello world");
    assert_int_equal(seen.completes, 2);
}

static void a_head_request_and_204_have_no_body(void **state)
{
    struct frame frame;

    (void)state;
    send_request("HEAD", "/hello", END_STREAM, 1);
    frame = expect_frame(F_HEADERS);
    assert_int_equal(frame.flags & END_STREAM, END_STREAM);
    send_request("GET", "/no-content", END_STREAM, 3);
    frame = expect_frame(F_HEADERS);
    assert_int_equal(frame.flags & END_STREAM, END_STREAM);
    assert_int_equal(status_of(&frame), 204);
    WAIT_FOR(seen.completes == 2);
}

static void a_body_without_a_length_is_collected(void **state)
{
    (void)state;
    send_request("POST", "/echo", 0, 1);
    send_frame(F_DATA, 0, 1, "abc", 3);
    send_frame(F_DATA, END_STREAM, 1, "def", 3);
    expect_status(1, 200);
    expect_body(1, "abcdef");
}

static void a_body_with_a_length_and_trailers(void **state)
{
    static struct block trailers;

    (void)state;
    start_block(&b, "POST", "/echo");
    add_field(&b, "content-length", "3");
    send_block(&b, 0, 1);
    send_frame(F_DATA, 0, 1, "abc", 3);
    trailers.n = 0;
    add_field(&trailers, "x-sum", "1");
    send_block(&trailers, END_STREAM, 1);
    expect_status(1, 200);
    expect_body(1, "abc");
}

static void streams_are_answered_in_any_order(void **state)
{
    struct http_exchange *first;

    (void)state;
    send_request("GET", "/later", END_STREAM, 1);
    WAIT_FOR(seen.held);
    first = seen.held;
    send_request("GET", "/hello", END_STREAM, 3);
    expect_status(3, 200);
    expect_body(3, "hello");
    http_respond(first, 404, NULL, STR("later"));
    expect_status(1, 404);
    expect_body(1, "later");
}

static void expect_continue_is_answered_when_the_body_is_wanted(void **state)
{
    (void)state;
    start_block(&b, "POST", "/echo");
    add_field(&b, "expect", "100-continue");
    send_block(&b, 0, 1);
    expect_status(1, 100);
    send_frame(F_DATA, END_STREAM, 1, "x", 1);
    expect_status(1, 200);
    expect_body(1, "x");
}

static void a_paused_stream_holds_its_client_back_and_no_other_stream(void **state)
{
    static char piece[16384];
    uint64_t sent = 0;

    (void)state;
    send_request("POST", "/paused", 0, 1);
    for (; sent < 256 << 10; sent += sizeof(piece)) {
        fill_pattern(piece, sizeof(piece), sent);
        send_frame(F_DATA, 0, 1, piece, sizeof(piece));
    }
    send_request("GET", "/hello", END_STREAM, 3);
    expect_status(3, 200);
    expect_body(3, "hello");
    assert_int_equal(seen.body, 0);
    http_body_resume(seen.held);
    for (;;) { /* only now may it send more */
        struct frame frame = next_frame();

        if (frame.type == F_WINDOW_UPDATE && frame.stream == 1)
            break;
        assert_true(frame.type == F_WINDOW_UPDATE || frame.type == F_SETTINGS);
    }
    send_frame(F_DATA, END_STREAM, 1, "", 0);
    expect_status(1, 200);
    expect_body(1, "262144");
    assert_false(seen.body_bad);
}

static void more_than_the_window_is_an_error_of_the_client(void **state)
{
    static char piece[16384];

    (void)state;
    send_request("POST", "/paused", 0, 1);
    for (int i = 0; i < 17; i++)
        send_frame(F_DATA, 0, 1, piece, sizeof(piece));
    expect_reset(1, H2_FLOW_CONTROL_ERROR);
    WAIT_FOR(seen.closes == 1);
    assert_int_equal(seen.completes, 0);
}

static void a_window_that_stays_shut_holds_the_handler_back(void **state)
{
    uint64_t got = 0;

    (void)state;
    seen.to_write = 3000000;
    send_request("GET", "/big", END_STREAM, 1);
    let_things_happen();
    assert_true(seen.written < 1 << 20);
    expect_status(1, 200);
    while (got < seen.to_write) {
        struct frame frame = next_frame();

        if (frame.type != F_DATA) {
            assert_true(frame.type == F_SETTINGS || frame.type == F_WINDOW_UPDATE);
            continue;
        }
        assert_true(is_pattern((struct str){ (const char *)frame.p, frame.n }, got));
        got += frame.n;
        if (frame.n > 0) {
            send_word(F_WINDOW_UPDATE, 0, (uint32_t)frame.n);
            send_word(F_WINDOW_UPDATE, 1, (uint32_t)frame.n);
        }
    }
    WAIT_FOR(seen.completes == 1);
    assert_true(seen.queued_max <= limits.high_water + 50000);
}

static void a_file_is_read_into_frames(void **state)
{
    uint64_t got = 0;
    struct buf all;

    (void)state;
    buf_init(&all, 2 << 20);
    send_word(F_WINDOW_UPDATE, 0, 4 << 20);
    send_request("GET", "/file", END_STREAM, 1);
    send_word(F_WINDOW_UPDATE, 1, 4 << 20);
    expect_status(1, 200);
    for (bool more = true; more; got++) {
        struct frame frame = expect_frame(F_DATA);

        assert_int_equal(buf_append(&all, frame.p, frame.n), 0);
        more = !(frame.flags & END_STREAM);
    }
    assert_int_equal(all.len, 1000005);
    assert_true(is_pattern((struct str){ buf_head(&all) + 2, 1000000 }, 500000));
    buf_free(&all);
}

static void responses_that_break_off_reset_their_stream_alone(void **state)
{
    static const char *const paths[] = { "/abort", "/short-file", "/too-little", "/too-much" };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_SIZE(paths); i++) {
        struct frame frame;

        send_request("GET", paths[i], END_STREAM, 2 * i + 1);
        do {
            frame = next_frame();
            assert_true(frame.type != F_GOAWAY && frame.type != F_NONE);
            assert_false(frame.type == F_DATA && (frame.flags & END_STREAM));
        } while (frame.type != F_RST_STREAM);
        assert_int_equal(frame.stream, 2 * i + 1);
        assert_int_equal(word_at(&frame, 0), H2_INTERNAL_ERROR);
    }
    assert_int_equal(seen.completes, 0);
    send_request("GET", "/hello", END_STREAM, 99);
    expect_status(99, 200);
}

static void a_field_that_may_not_be_sent_makes_a_500(void **state)
{
    (void)state;
    send_request("GET", "/bad-field", END_STREAM, 1);
    expect_status(1, 500);
}

static void a_reset_is_the_end_of_the_exchange(void **state)
{
    (void)state;
    send_request("GET", "/later", END_STREAM, 1);
    WAIT_FOR(seen.held);
    send_word(F_RST_STREAM, 1, H2_CANCEL);
    WAIT_FOR(seen.closes == 1);
    assert_int_equal(seen.completes, 0);
}

static void an_answer_before_the_body_ends_the_stream(void **state)
{
    (void)state;
    send_request("POST", "/hello", 0, 1);
    expect_status(1, 200);
    expect_body(1, "hello");
    expect_reset(1, H2_NO_ERROR);
    WAIT_FOR(seen.completes == 1);
}

static void draining_says_goaway_and_waits_for_the_last_stream(void **state)
{
    struct http_exchange *held;

    (void)state;
    send_request("GET", "/later", END_STREAM, 1);
    WAIT_FOR(seen.held);
    held = seen.held;
    http_server_drain(server, NULL, NULL);
    expect_goaway(H2_NO_ERROR);
    send_request("GET", "/hello", END_STREAM, 3);
    let_things_happen();
    assert_int_equal(seen.requests, 1);
    http_respond(held, 200, NULL, STR("last"));
    expect_status(1, 200);
    expect_body(1, "last");
    assert_int_equal(next_frame().type, F_NONE);
}

static void a_web_socket_goes_both_ways(void **state)
{
    struct http_exchange *ex;
    struct buf rest;
    struct frame frame;
    char bytes[16];
    int fd;

    (void)state;
    start_block(&b, "CONNECT", "/later");
    add_field(&b, ":protocol", "websocket");
    add_field(&b, "sec-websocket-version", "13");
    send_block(&b, 0, 1);
    WAIT_FOR(seen.held);
    ex = seen.held;
    assert_str(http_request(ex)->method, STR("GET"));
    assert_str(http_request(ex)->upgrade, STR("websocket"));
    assert_int_equal(h1_header(http_request(ex), "Sec-WebSocket-Key").n, 24);
    send_frame(F_DATA, 0, 1, "early", 5);
    buf_init(&rest, 1000);
    fd = http_upgrade(ex, &(struct http_field){ "Sec-WebSocket-Accept", "x" }, 1, &rest);
    assert_true(fd >= 0);
    expect_status(1, 200);
    WAIT_FOR(seen.completes == 1);
    WAIT_FOR(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_PEEK) == 5);
    assert_int_equal(recv(fd, bytes, sizeof(bytes), 0), 5);
    assert_memory_equal(bytes, "early", 5);
    assert_int_equal(send(fd, "answer", 6, 0), 6);
    frame = expect_frame(F_DATA);
    assert_memory_equal(frame.p, "answer", 6);
    send_frame(F_DATA, END_STREAM, 1, "", 0);
    WAIT_FOR(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) == 0);
    close(fd);
    frame = expect_frame(F_DATA);
    assert_int_equal(frame.flags & END_STREAM, END_STREAM);
    buf_free(&rest);
}

/* --- heads that are refused --- */

static void malformed_heads_reset_the_stream(void **state)
{
    static const struct {
        const char *name, *value;
        size_t n;
    } fields[] = {
        { "x", "a\r\nb: c", 7 },
        { "x", "a\nb", 3 },
        { "x", "a\0b", 3 },
        { "x\r\ny", "a", 1 },
        { "x y", "a", 1 },
        { "x:", "a", 1 },
        { "X", "a", 1 },
        { "", "a", 1 },
        { "connection", "close", 5 },
        { "transfer-encoding", "chunked", 7 },
        { "upgrade", "websocket", 9 },
        { "keep-alive", "1", 1 },
        { "proxy-connection", "close", 5 },
        { "te", "gzip", 4 },
        { ":path", "/twice", 6 },
        { ":status", "200", 3 },
        { ":unknown", "a", 1 },
        { "content-length", "x", 1 },
        { "content-length", "-1", 2 },
        { "content-length", "99999999999999999999", 20 },
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_SIZE(fields); i++) {
        start_block(&b, "GET", "/hello");
        add_field_n(&b, fields[i].name, fields[i].value, fields[i].n);
        send_block(&b, END_STREAM, 2 * i + 1);
        expect_reset(2 * i + 1, H2_PROTOCOL_ERROR);
    }
    assert_int_equal(seen.requests, 0);
}

struct pseudo_case {
    const char *method, *scheme, *authority, *path, *host;
    int status; /* 0: reset; 204 comes from the handler */
};

static void send_case(const struct pseudo_case *c, uint32_t id)
{
    const char *const names[] = { ":method", ":scheme", ":authority", ":path", "host" };
    const char *const values[] = { c->method, c->scheme, c->authority, c->path, c->host };

    b.n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (values[i])
            add_field(&b, names[i], values[i]);
    send_block(&b, END_STREAM, id);
    if (c->status == 204) {
        WAIT_FOR(seen.held);
        http_respond(seen.held, 204, NULL, STR(""));
    }
}

static void expect_case(const struct pseudo_case *c, uint32_t id)
{
    struct frame frame;

    do {
        frame = next_frame();
        assert_true(frame.type != F_GOAWAY && frame.type != F_NONE);
    } while (frame.stream != id);
    if (frame.type != (c->status ? F_HEADERS : F_RST_STREAM) || (c->status && status_of(&frame) != c->status))
        fail_msg("case %u: frame %d", (id - 1) / 2, (int)frame.type);
    while (c->status && !(frame.flags & END_STREAM))
        frame = expect_frame(F_DATA);
}

static void pseudo_fields_that_lie_are_refused(void **state)
{
    static const struct pseudo_case cases[] = {
        { "GET", "http", "a", "/hello", "b", 400 },
        { "GET", "http", "a", "/hello", "a", 200 },
        { "GET", "http", NULL, "/hello", "a", 200 },
        { "GET", "http", NULL, "/hello", NULL, 0 },
        { "GET", "http", "a", NULL, NULL, 0 },
        { "GET", NULL, "a", "/hello", NULL, 0 },
        { NULL, "http", "a", "/hello", NULL, 0 },
        { "GET", "ftp", "a", "/hello", NULL, 400 },
        { "GET", "http", "a", "hello", NULL, 0 },
        { "GET", "http", "a", "http://b/hello", NULL, 0 },
        { "GET", "http", "a", "", NULL, 0 },
        { "GET", "http", "a", "/a b", NULL, 0 },
        { "GET", "http", "a", "/hello HTTP/1.1\r\nX: y\r\n\r\n", NULL, 0 },
        { "GET /evil HTTP/1.1\r\nHost: b\r\n\r\nGET", "http", "a", "/hello", NULL, 0 },
        { "GET", "http", "a\r\nX: y", "/hello", NULL, 0 },
        { "GET", "http", "a b", "/hello", NULL, 0 },
        { "GET", "http", "user@a", "/hello", NULL, 400 },
        { "GET", "http", "a/b", "/hello", NULL, 0 },
        { "CONNECT", "http", "a", "/hello", NULL, 0 },
        { "OPTIONS", "http", "a", "*", NULL, 204 },
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
        send_case(&cases[i], 2 * i + 1);
        expect_case(&cases[i], 2 * i + 1);
    }
}

static void a_body_of_another_length_than_promised_is_refused(void **state)
{
    (void)state;
    for (uint32_t id = 1; id < 7; id += 2) {
        start_block(&b, "POST", "/echo");
        add_field(&b, "content-length", "5");
        send_block(&b, id == 5 ? END_STREAM : 0, id);
        if (id == 1)
            send_frame(F_DATA, END_STREAM, id, "abc", 3);
        if (id == 3)
            send_frame(F_DATA, 0, id, "abcdefgh", 8);
        expect_reset(id, H2_PROTOCOL_ERROR);
    }
    start_block(&b, "POST", "/echo");
    add_field(&b, "content-length", "1");
    add_field(&b, "content-length", "2");
    send_block(&b, 0, 9);
    expect_reset(9, H2_PROTOCOL_ERROR);
    assert_int_equal(seen.completes, 0);
}

static void unknown_protocols_of_connect_are_not_implemented(void **state)
{
    (void)state;
    start_block(&b, "CONNECT", "/hello");
    add_field(&b, ":protocol", "connect-udp");
    send_block(&b, 0, 1);
    expect_status(1, 501);
    assert_int_equal(seen.requests, 0);
}

static void a_head_that_is_too_large_is_told_so(void **state)
{
    static char value[1000];

    (void)state;
    memset(value, 'v', sizeof(value) - 1);
    start_block(&b, "GET", "/hello");
    for (int i = 0; i < 40; i++)
        add_field(&b, "x", value);
    send_frame(F_HEADERS, END_STREAM, 1, b.bytes, 16384);
    send_frame(F_CONTINUATION, 0, 1, b.bytes + 16384, 16384);
    send_frame(F_CONTINUATION, END_HEADERS, 1, b.bytes + 32768, b.n - 32768);
    expect_status(1, 431);
    assert_int_equal(seen.requests, 0);
}

/* One entry of the dynamic table, named again and again: 4 KB for a byte. */
static void a_header_bomb_costs_its_stream(void **state)
{
    static char value[4000];

    (void)state;
    memset(value, 'v', sizeof(value) - 1);
    start_block(&b, "GET", "/hello");
    b.bytes[b.n++] = 0x40; /* with indexing */
    add_bytes(&b, "x", 1);
    add_bytes(&b, value, sizeof(value) - 1);
    memset(b.bytes + b.n, 0xbe, 8000); /* index 62 */
    b.n += 8000;
    send_block(&b, END_STREAM, 1);
    expect_reset(1, H2_INTERNAL_ERROR);
    assert_int_equal(seen.requests, 0);
    send_request("GET", "/hello", END_STREAM, 3);
    expect_status(3, 200);
}

static void too_many_fields_are_told_so(void **state)
{
    (void)state;
    start_block(&b, "GET", "/hello");
    for (int i = 0; i < 200; i++)
        add_field(&b, "x", "y");
    send_block(&b, END_STREAM, 1);
    expect_status(1, 431);
}

static void a_body_over_the_limit_is_told_so(void **state)
{
    (void)state;
    start_block(&b, "POST", "/echo");
    add_field(&b, "content-length", "1048577");
    send_block(&b, 0, 1);
    expect_status(1, 413);
}

/* --- floods --- */

static void rapid_resets_are_cut_off(void **state)
{
    (void)state;
    start_block(&b, "GET", "/later");
    for (uint32_t id = 1; id < 2000 && !goaway_has_come(); id += 2) {
        send_block(&b, END_STREAM, id);
        send_word(F_RST_STREAM, id, H2_CANCEL);
    }
    expect_goaway(H2_ENHANCE_YOUR_CALM);
    assert_true(seen.requests < 200);
    assert_int_equal(seen.closes, seen.requests);
}

/* The same by proxy: the client breaks a rule behind each request, and we have to do the resetting. */
static void streams_that_a_client_makes_us_reset_count_as_well(void **state)
{
    (void)state;
    start_block(&b, "GET", "/later");
    for (uint32_t id = 1; id < 2000 && !goaway_has_come(); id += 2) {
        send_block(&b, END_STREAM, id);
        send_word(F_WINDOW_UPDATE, id, 0x7fffffff);
    }
    expect_goaway(H2_ENHANCE_YOUR_CALM);
    assert_true(seen.requests < 200);
}

static void flood(enum frame_type type, uint32_t stream, size_t n)
{
    static const char zero[8] = { 0, 3, 0, 0, 0, 100 }; /* also SETTINGS_MAX_CONCURRENT_STREAMS = 100 */

    for (int i = 0; i < 20000 && !goaway_has_come(); i++)
        send_frame(type, 0, stream, zero, n);
    expect_goaway(H2_ENHANCE_YOUR_CALM);
}

static void a_flood_of_pings_is_cut_off(void **state)
{
    (void)state;
    flood(F_PING, 0, 8);
}

static void a_flood_of_settings_is_cut_off(void **state)
{
    (void)state;
    flood(F_SETTINGS, 0, 6);
}

static void a_flood_of_empty_data_is_cut_off(void **state)
{
    (void)state;
    send_request("POST", "/paused", 0, 1);
    flood(F_DATA, 1, 0);
}

static void a_flood_of_continuations_is_cut_off(void **state)
{
    (void)state;
    start_block(&b, "GET", "/hello");
    send_frame(F_HEADERS, END_STREAM, 1, b.bytes, b.n);
    for (int i = 0; i < 1000; i++) {
        if (peer_sees_end(&peer))
            break;
        send_frame(F_CONTINUATION, 0, 1, "", 0);
    }
    WAIT_FOR(peer_sees_end(&peer));
    assert_int_equal(seen.requests, 0);
}

static void more_streams_than_allowed_are_refused(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 110 && !goaway_has_come(); i++)
        send_request("GET", "/later", END_STREAM, 2 * i + 1);
    expect_goaway(H2_PROTOCOL_ERROR); /* it was told the limit, and said that it knows */
    assert_int_equal(seen.requests, 100);
}

static void nonsense_is_an_error_of_the_protocol(void **state)
{
    (void)state;
    send_frame(F_DATA, 0, 1, "x", 1); /* of a stream that never began */
    expect_goaway(H2_PROTOCOL_ERROR);
    assert_int_equal(next_frame().type, F_NONE);
}

static void a_preface_is_one_at_the_beginning_only(void **state)
{
    (void)state;
    send_text(REQUEST("GET /hello", "") PREFACE);
    expect_response("HTTP/1.1 200", "", "hello");
    peer_take(&peer, "HTTP/1.1 505");
}

static int setup_both(void **state)
{
    if (setup(state) < 0)
        return -1;
    http_server_enable_h2(server);
    return 0;
}

static void without_the_switch_it_is_unknown(void **state)
{
    (void)state;
    send_text(PREFACE);
    peer_take(&peer, "HTTP/1.1 505");
}

/* --- time --- */

static int setup_hasty(void **state)
{
    clock_by_hand();
    http_limits_default(&limits);
    limits.head_timeout_ms = limits.body_timeout_ms = limits.write_timeout_ms = 50;
    limits.idle_timeout_ms = 100;
    return setup_h2(state);
}

static void a_head_that_does_not_end_costs_the_connection(void **state)
{
    (void)state;
    start_block(&b, "GET", "/hello");
    send_frame(F_HEADERS, END_STREAM, 1, b.bytes, b.n);
    WAIT_FOR(peer_sees_end(&peer));
    assert_int_equal(stats().timeouts_total, 1);
}

static void a_body_that_does_not_come_is_told_so(void **state)
{
    (void)state;
    send_request("POST", "/echo", 0, 1);
    expect_status(1, 408);
}

static void a_window_that_stays_shut_costs_the_stream(void **state)
{
    (void)state;
    seen.to_write = 3000000;
    send_request("GET", "/big", END_STREAM, 1);
    WAIT_FOR(seen.closes == 1);
    assert_int_equal(seen.completes, 0);
    assert_int_equal(stats().timeouts_total, 1);
}

static void an_idle_connection_is_told_to_go(void **state)
{
    (void)state;
    expect_goaway(H2_NO_ERROR);
    assert_int_equal(next_frame().type, F_NONE);
}

#define H2_TEST(name)    cmocka_unit_test_setup_teardown(name, setup_h2, teardown)
#define HASTY_TEST(name) cmocka_unit_test_setup_teardown(name, setup_hasty, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        H2_TEST(a_request_is_answered_like_one_of_http_1),
        H2_TEST(a_head_request_and_204_have_no_body),
        H2_TEST(a_body_without_a_length_is_collected),
        H2_TEST(a_body_with_a_length_and_trailers),
        H2_TEST(streams_are_answered_in_any_order),
        H2_TEST(expect_continue_is_answered_when_the_body_is_wanted),
        H2_TEST(a_paused_stream_holds_its_client_back_and_no_other_stream),
        H2_TEST(more_than_the_window_is_an_error_of_the_client),
        H2_TEST(a_window_that_stays_shut_holds_the_handler_back),
        H2_TEST(a_file_is_read_into_frames),
        H2_TEST(responses_that_break_off_reset_their_stream_alone),
        H2_TEST(a_field_that_may_not_be_sent_makes_a_500),
        H2_TEST(a_reset_is_the_end_of_the_exchange),
        H2_TEST(an_answer_before_the_body_ends_the_stream),
        H2_TEST(draining_says_goaway_and_waits_for_the_last_stream),
        H2_TEST(a_web_socket_goes_both_ways),
        H2_TEST(malformed_heads_reset_the_stream),
        H2_TEST(pseudo_fields_that_lie_are_refused),
        H2_TEST(a_body_of_another_length_than_promised_is_refused),
        H2_TEST(unknown_protocols_of_connect_are_not_implemented),
        H2_TEST(a_head_that_is_too_large_is_told_so),
        H2_TEST(a_header_bomb_costs_its_stream),
        H2_TEST(too_many_fields_are_told_so),
        H2_TEST(a_body_over_the_limit_is_told_so),
        H2_TEST(rapid_resets_are_cut_off),
        H2_TEST(streams_that_a_client_makes_us_reset_count_as_well),
        H2_TEST(a_flood_of_pings_is_cut_off),
        H2_TEST(a_flood_of_settings_is_cut_off),
        H2_TEST(a_flood_of_empty_data_is_cut_off),
        H2_TEST(a_flood_of_continuations_is_cut_off),
        H2_TEST(more_streams_than_allowed_are_refused),
        H2_TEST(nonsense_is_an_error_of_the_protocol),
        cmocka_unit_test_setup_teardown(a_preface_is_one_at_the_beginning_only, setup_both, teardown),
        cmocka_unit_test_setup_teardown(without_the_switch_it_is_unknown, setup, teardown),
        HASTY_TEST(a_head_that_does_not_end_costs_the_connection),
        HASTY_TEST(a_body_that_does_not_come_is_told_so),
        HASTY_TEST(a_window_that_stays_shut_costs_the_stream),
        HASTY_TEST(an_idle_connection_is_told_to_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
