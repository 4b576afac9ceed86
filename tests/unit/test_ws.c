/* A WebSocket connection: handshake, messages, back-pressure, silence and the end, against a peer of plain bytes.
 */
#include "net_peer.h"

#include "fail_alloc.h"
#include "hand_clock.h"

#include "net/server.h"
#include "net/ws.h"
#include "net/ws_frame.h"

#define KEY    "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define HANDSHAKE                                                                                                  \
    "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"                                 \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n\r\n"

static struct http_server *server;
static struct ws_config config;
static struct peer peer;
static struct ws *ws;

static struct {
    int messages, drains, closes, code, exchange_closes;
    enum ws_type type;
    char reason[200];
    struct buf last;
    uint64_t bytes;
    bool echo, pause_at_message, close_at_message, abort_at_message, refill_at_drain;
} seen;

static void on_message(struct ws *from, enum ws_type type, struct str message, void *data)
{
    assert_ptr_equal(data, &seen);
    seen.messages++;
    seen.type = type;
    seen.bytes += message.n;
    buf_clear(&seen.last);
    assert_int_equal(buf_append_str(&seen.last, message), 0);
    if (seen.echo)
        ws_send(from, type, message);
    if (seen.pause_at_message)
        ws_pause(from);
    if (seen.close_at_message)
        ws_close(from, 4000, STR("enough"));
    if (seen.abort_at_message) {
        ws_abort(from);
        ws = NULL;
    }
}

static void on_drain(struct ws *from, void *data)
{
    (void)data;
    seen.drains++;
    if (seen.refill_at_drain)
        ws_send(from, WS_TEXT, STR("refilled"));
}

static void on_close(struct ws *from, int code, struct str reason, void *data)
{
    assert_ptr_equal(data, &seen);
    seen.closes++;
    seen.code = code;
    assert_int_equal(str_copy(reason, seen.reason, sizeof(seen.reason)), 0);
    ws_send(from, WS_TEXT, STR("nobody"));
    ws_close(from, WS_NORMAL, STR(""));
    ws = NULL;
}

static const struct ws_callbacks callbacks = { on_message, on_drain, on_close };

static void on_exchange_close(struct http_exchange *ex, bool complete, void *data)
{
    (void)ex;
    (void)data;
    seen.exchange_closes += complete;
}

static void on_request(struct http_exchange *ex, const struct h1_head *head, void *data)
{
    static const struct http_exchange_callbacks exchange_callbacks = { .on_close = on_exchange_close };

    (void)head;
    (void)data;
    http_exchange_set(ex, &exchange_callbacks, NULL);
    ws = ws_accept(loop, ex, &config, &callbacks, &seen);
    if (!ws)
        http_respond(ex, 503, "text/plain", STR("WebSocket upgrade failed"));
}

static int setup(void **state)
{
    struct http_limits limits;
    struct http_handler handler = { .on_request = on_request };

    (void)state;
    memset(&seen, 0, sizeof(seen));
    buf_init(&seen.last, (size_t)64 << 20);
    ws_config_default(&config);
    http_limits_default(&limits);
    loop = loop_new();
    server = http_server_new(loop, &limits, &handler);
    assert_non_null(server);
    assert_int_equal(http_server_adopt_connection(server, peer_pair(&peer)), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    allocations_left = 0;
    if (ws)
        ws_abort(ws);
    ws = NULL;
    let_things_happen();
    http_server_free(server);
    loop_free(loop);
    peer_close(&peer);
    buf_free(&seen.last);
    hand_ns = 0;
    return 0;
}

/* For what has a deadline. */
static int setup_by_hand(void **state)
{
    clock_by_hand();
    return setup(state);
}

static void say(const char *text)
{
    peer_send(&peer, str_from(text));
}

static void open_up(void)
{
    say(HANDSHAKE);
    assert_contains(peer_take(&peer, "\r\n\r\n"), "Sec-WebSocket-Accept: " ACCEPT "\r\n");
    WAIT_FOR(ws);
    assert_int_equal(seen.exchange_closes, 1);
}

/* A masked frame; `first` is its first byte. */
static void frame(uint8_t first, struct str payload)
{
    static const uint8_t key[4] = { 0xa1, 0x02, 0xf3, 0x44 };
    uint8_t head[WS_HEAD_MAX];
    size_t n = ws_frame_head(head, WS_OP_TEXT, payload.n, key);
    char *bytes = malloc(n + payload.n);

    assert_non_null(bytes);
    head[0] = first;
    memcpy(bytes, head, n);
    memcpy(bytes + n, payload.p, payload.n);
    ws_mask(bytes + n, payload.n, key, 0);
    peer_send(&peer, (struct str){ bytes, n + payload.n });
    free(bytes);
}

#define TEXT   0x81
#define BINARY 0x82
#define CLOSE  0x88
#define PING   0x89
#define PONG   0x8a

static void expect_bytes(const void *bytes, size_t n)
{
    WAIT_FOR((peer_receive(&peer, SIZE_MAX), peer.in.len >= n));
    assert_memory_equal(buf_head(&peer.in), bytes, n);
    buf_consume(&peer.in, n);
}

#define EXPECT_BYTES(literal) expect_bytes((literal), sizeof(literal) - 1)

/* --- handshake --- */

static void a_handshake_that_is_none_can_be_refused(void **state)
{
    static const char *const bad[] = {
        "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "
        "13\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 12\r\n"
        "Sec-WebSocket-Key: " KEY "\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: c2hvcnQ=\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: " KEY "\r\n\r\n",
        "POST /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: " KEY "\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: " KEY "\r\nContent-Length: 3\r\n\r\nabc",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        say(bad[i]);
        assert_contains(peer_take(&peer, "WebSocket upgrade failed"), "HTTP/1.1 503 ");
        assert_null(ws);
    }
}

static void frames_that_came_with_the_handshake_are_not_lost(void **state)
{
    (void)state;
    say(HANDSHAKE "\x81\x82");
    peer_take(&peer, "\r\n\r\n");
    peer_send(&peer, (struct str){ "\0\0\0\0hi", 6 });
    WAIT_FOR(seen.messages == 1);
    assert_str(buf_str(&seen.last), STR("hi"));
}

/* --- messages --- */

static void messages_come_and_go(void **state)
{
    (void)state;
    seen.echo = true;
    open_up();
    frame(TEXT, STR("gr\xc3\xbc\xc3\x9f"));
    EXPECT_BYTES("\x81\x06gr\xc3\xbc\xc3\x9f");
    assert_int_equal(seen.type, WS_TEXT);
    frame(BINARY, STR("\xff\x00\xfe"));
    EXPECT_BYTES("\x82\x03\xff\x00\xfe");
    assert_int_equal(seen.type, WS_BINARY);
    frame(TEXT, STR(""));
    EXPECT_BYTES("\x81\x00");
    frame(0x01, STR("a\xc3")); /* a character may be cut by fragments */
    frame(PING, STR("now"));
    frame(0x00, STR("\xbc"));
    frame(0x80, STR("z"));
    EXPECT_BYTES("\x8a\x03now\x81\x04"
                 "a\xc3\xbcz");
    assert_int_equal(seen.messages, 4);
}

static void a_large_message_arrives_unharmed_and_goes_back(void **state)
{
    size_t n = (5 << 20) + 3;
    char *bytes = malloc(n);

    (void)state;
    assert_non_null(bytes);
    fill_pattern(bytes, n, 0);
    open_up();
    frame(BINARY, (struct str){ bytes, n });
    WAIT_FOR(seen.messages == 1);
    assert_int_equal(seen.last.len, n);
    assert_true(is_pattern(buf_str(&seen.last), 0));
    assert_false(ws_send_parts(ws, WS_BINARY,
                               (struct str[]){ { bytes, 100 }, { bytes + 100, 7 }, { bytes + 107, n - 107 } }, 3));
    WAIT_FOR((peer_receive(&peer, SIZE_MAX), peer.in.len == n + 10));
    assert_memory_equal(buf_head(&peer.in), "\x82\x7f\0\0\0\0\0\x50\0\x03", 10);
    buf_consume(&peer.in, 10);
    assert_true(is_pattern(buf_str(&peer.in), 0));
    WAIT_FOR(seen.drains == 1);
    free(bytes);
}

static void text_that_is_not_utf8_ends_the_connection_with_1007(void **state)
{
    (void)state;
    open_up();
    frame(TEXT, STR("ok"));
    frame(TEXT, STR("\xc3("));
    EXPECT_BYTES("\x88\x13\x03\xeftext is not UTF-8");
    WAIT_FOR(peer_sees_end(&peer));
    frame(TEXT, STR("still talking")); /* is dropped */
    assert_int_equal(seen.messages, 1);
    peer_close(&peer);
    WAIT_FOR(seen.closes == 1);
    assert_int_equal(seen.code, WS_BAD_TEXT);
}

static void too_long_messages_end_the_connection_with_1009(void **state)
{
    (void)state;
    config.max_message = 1000;
    open_up();
    frame(0x01, (struct str){ HANDSHAKE, 100 });
    peer_send(&peer, (struct str){ "\x80\xfe\x03\x85\0\0\0\0", 8 }); /* 901 more are announced */
    EXPECT_BYTES("\x88\x11\x03\xf1message too big");
    assert_int_equal(seen.messages, 0);
    peer_close(&peer);
    WAIT_FOR(seen.closes == 1);
    assert_int_equal(seen.code, WS_TOO_BIG);
}

/* --- back-pressure --- */

static void a_peer_that_does_not_read_is_told_about_and_costs_no_more_than_was_queued(void **state)
{
    static char piece[10000];
    size_t sent = 0, n = 0;

    (void)state;
    open_up();
    fill_pattern(piece, sizeof(piece), 0);
    while (ws_send(ws, WS_BINARY, (struct str){ piece, sizeof(piece) })) {
        sent++;
        turn();
    }
    assert_true(ws_queued(ws) > config.high_water && ws_queued(ws) < config.high_water + 2 * sizeof(piece));
    assert_int_equal(seen.drains, 0);
    sent++;
    while (n < sent * (sizeof(piece) + 4)) {
        peer_receive(&peer, SIZE_MAX);
        n += peer.in.len;
        buf_clear(&peer.in);
        turn();
    }
    assert_int_equal(seen.drains, 1);
    assert_true(ws_send(ws, WS_TEXT, STR("more")));
    EXPECT_BYTES("\x81\x04more");
}

static void what_is_sent_at_a_drain_goes_out(void **state)
{
    static char piece[1 << 20];

    (void)state;
    seen.refill_at_drain = true;
    open_up();
    assert_false(ws_send(ws, WS_BINARY, (struct str){ piece, sizeof(piece) }));
    WAIT_FOR(peer_has(&peer, "\x81\x08refilled"));
}

static void a_sender_that_does_not_care_is_cut_off(void **state)
{
    static char piece[100000];
    size_t most = 0;

    (void)state;
    config.max_queue = 1 << 20;
    open_up();
    for (int i = 0; i < 100 && ws; i++) {
        ws_send(ws, WS_BINARY, (struct str){ piece, sizeof(piece) });
        most = MAX(most, ws_queued(ws));
    }
    assert_true(most <= config.max_queue);
    WAIT_FOR(seen.closes == 1);
    assert_int_equal(seen.code, WS_ABNORMAL);
    assert_string_equal(seen.reason, "the peer does not take what it is sent");
}

static void a_peer_that_pings_and_does_not_read_fills_no_queue(void **state)
{
    static char payload[125];
    int stalled = 0;

    (void)state;
    open_up();
    for (int i = 0; i < 100000 && stalled < 100; i++) {
        static const uint8_t zero_key[4];
        uint8_t head[WS_HEAD_MAX];
        char bytes[WS_HEAD_MAX + sizeof(payload)];
        size_t n = ws_frame_head(head, WS_OP_PING, sizeof(payload), zero_key);
        memcpy(bytes, head, n);
        memcpy(bytes + n, payload, sizeof(payload));
        stalled = send(peer.fd, bytes, n + sizeof(payload), MSG_NOSIGNAL) < 0 ? stalled + 1 : 0;
        turn();
        assert_true(ws_queued(ws) <= config.high_water + 200);
    }
}

static void a_paused_connection_takes_no_more_and_goes_on_where_it_was(void **state)
{
    static char piece[60000];
    int stalled = 0, sent = 0;

    (void)state;
    seen.pause_at_message = true;
    open_up();
    frame(TEXT, STR("one"));
    frame(TEXT, STR("two"));
    WAIT_FOR(seen.messages == 1);
    while (stalled < 20) {
        ssize_t n = send(peer.fd, piece, 1, MSG_NOSIGNAL);
        stalled = n < 0 ? stalled + 1 : 0;
        assert_true(++sent < 1 << 20);
        if (stalled == 0)
            n = send(peer.fd, piece, sizeof(piece), MSG_NOSIGNAL);
        turn();
    }
    let_things_happen();
    assert_int_equal(seen.messages, 1);
    ws_resume(ws);
    WAIT_FOR(seen.messages == 2);
    assert_str(buf_str(&seen.last), STR("two"));
    ws_resume(ws);
    WAIT_FOR(ws == NULL || (ws_resume(ws), peer_has(&peer, "protocol error"))); /* the zeroes that came next */
}

static void many_small_messages_in_one_read_all_arrive_in_order(void **state)
{
    static char bytes[3000 * 10];

    (void)state;
    open_up();
    for (unsigned i = 0; i < 3000; i++)
        memcpy(bytes + (size_t)10 * i, "\x82\x84\0\0\0\0abcd", 10);
    peer_send(&peer, (struct str){ bytes, sizeof(bytes) });
    WAIT_FOR(seen.messages == 3000);
    assert_int_equal(seen.bytes, 12000);
}

/* --- silence --- */

static void a_silent_peer_is_pinged_and_lives_if_it_answers(void **state)
{
    (void)state;
    config.ping_after_ms = 30;
    config.dead_after_ms = 10000;
    open_up();
    EXPECT_BYTES("\x89\x00");
    frame(PONG, STR(""));
    EXPECT_BYTES("\x89\x00");
    assert_int_equal(seen.closes, 0);
}

static void a_peer_that_does_not_answer_is_given_up(void **state)
{
    (void)state;
    config.ping_after_ms = 20;
    config.dead_after_ms = 60;
    open_up();
    EXPECT_BYTES("\x89\x00");
    WAIT_FOR(seen.closes == 1);
    assert_int_equal(seen.code, WS_ABNORMAL);
    assert_string_equal(seen.reason, "the peer does not answer");
    assert_true(peer_sees_end(&peer));
}

static void a_connection_that_we_do_not_read_is_not_judged(void **state)
{
    (void)state;
    config.ping_after_ms = 10;
    config.dead_after_ms = 30;
    open_up();
    ws_pause(ws);
    let_time_pass(100);
    assert_int_equal(seen.closes, 0);
}

/* --- the end --- */

static void the_peers_close_is_answered_with_its_code(void **state)
{
    (void)state;
    open_up();
    frame(CLOSE, STR("\x0b\xb8idle"));
    EXPECT_BYTES("\x88\x02\x0b\xb8");
    WAIT_FOR(seen.closes == 1);
    assert_int_equal(seen.code, 3000);
    assert_string_equal(seen.reason, "idle");
    WAIT_FOR(peer_sees_end(&peer));
}

static void a_close_without_a_code_is_1005(void **state)
{
    (void)state;
    open_up();
    frame(CLOSE, STR(""));
    EXPECT_BYTES("\x88\x00");
    WAIT_FOR(seen.closes == 1);
    assert_int_equal(seen.code, WS_NO_CODE);
}

static void our_close_waits_for_the_answer_and_drops_messages(void **state)
{
    (void)state;
    seen.close_at_message = true;
    open_up();
    frame(TEXT, STR("one"));
    EXPECT_BYTES("\x88\x08\x0f\xa0"
                 "enough");
    frame(TEXT, STR("two"));
    let_things_happen();
    assert_int_equal(seen.closes, 0);
    frame(CLOSE, STR("\x0f\xa0"));
    WAIT_FOR(seen.closes == 1);
    assert_int_equal(seen.code, 4000);
    assert_int_equal(seen.messages, 1);
}

static void a_close_that_is_not_answered_ends_at_the_deadline(void **state)
{
    (void)state;
    config.close_timeout_ms = 30;
    open_up();
    ws_close(ws, WS_NORMAL, STR("bye"));
    EXPECT_BYTES("\x88\x05\x03\xe8"
                 "bye");
    WAIT_FOR(seen.closes == 1);
    assert_int_equal(seen.code, WS_ABNORMAL);
}

static void a_long_reason_is_cut_between_characters(void **state)
{
    char reason[200];
    struct str got;

    (void)state;
    for (size_t i = 0; i + 1 < sizeof(reason); i += 2)
        memcpy(reason + i, "\xc3\xbc", 2);
    open_up();
    ws_close(ws, WS_INTERNAL, (struct str){ reason, sizeof(reason) });
    WAIT_FOR((peer_receive(&peer, SIZE_MAX), peer.in.len > 2));
    got = buf_str(&peer.in);
    assert_int_equal(got.n, 2 + 2 + 122);
    assert_int_equal(got.p[1], 124);
}

static void a_lost_connection_is_1006(void **state)
{
    (void)state;
    open_up();
    peer_close(&peer);
    WAIT_FOR(seen.closes == 1);
    assert_int_equal(seen.code, WS_ABNORMAL);
}

static void an_aborted_connection_calls_nobody(void **state)
{
    (void)state;
    seen.abort_at_message = true;
    open_up();
    peer_send(&peer, (struct str){ "\x81\x81\0\0\0\0"
                                   "1\x81\x81\0\0\0\0"
                                   "2",
                                   14 });
    WAIT_FOR(peer_sees_end(&peer));
    assert_int_equal(seen.messages, 1);
    assert_int_equal(seen.closes, 0);
}

/* --- memory --- */

static void running_out_of_memory_ends_the_connection_and_nothing_else(void **state)
{
    static const char head[] = "\x82\xfe\x9c\x40\0\0\0\0";
    static char bytes[40000];
    int survived = 0;

    for (size_t n = 1; n < 30; n++) {
        setup(state);
        seen.echo = true;
        assert_non_null(buf_reserve(&seen.last, sizeof(bytes)));
        say(HANDSHAKE);
        allocations_left = n;
        let_things_happen();
        /* In two parts, so that it has to be put together. */
        for (int i = 0; ws && i < 2; i++) {
            ssize_t sent = i == 0 ? send(peer.fd, head, sizeof(head) - 1, MSG_NOSIGNAL) : 0;
            sent = sent < 0 ? sent : send(peer.fd, bytes, sizeof(bytes) / 2, MSG_NOSIGNAL);
            let_things_happen();
            assert_true(sent > 0 || seen.closes == 1);
        }
        allocations_left = 0;
        if (seen.messages == 1 && seen.closes == 0) {
            WAIT_FOR(peer_has(&peer, "\x82\x7e\x9c\x40"));
            survived++;
        }
        teardown(state);
    }
    assert_in_range(survived, 1, 28);
}

#define TEST(name)    cmocka_unit_test_setup_teardown(name, setup, teardown)
#define BY_HAND(name) cmocka_unit_test_setup_teardown(name, setup_by_hand, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_handshake_that_is_none_can_be_refused),
        TEST(frames_that_came_with_the_handshake_are_not_lost),
        TEST(messages_come_and_go),
        TEST(a_large_message_arrives_unharmed_and_goes_back),
        TEST(text_that_is_not_utf8_ends_the_connection_with_1007),
        TEST(too_long_messages_end_the_connection_with_1009),
        TEST(a_peer_that_does_not_read_is_told_about_and_costs_no_more_than_was_queued),
        TEST(what_is_sent_at_a_drain_goes_out),
        TEST(a_sender_that_does_not_care_is_cut_off),
        TEST(a_peer_that_pings_and_does_not_read_fills_no_queue),
        TEST(a_paused_connection_takes_no_more_and_goes_on_where_it_was),
        TEST(many_small_messages_in_one_read_all_arrive_in_order),
        BY_HAND(a_silent_peer_is_pinged_and_lives_if_it_answers),
        BY_HAND(a_peer_that_does_not_answer_is_given_up),
        BY_HAND(a_connection_that_we_do_not_read_is_not_judged),
        TEST(the_peers_close_is_answered_with_its_code),
        TEST(a_close_without_a_code_is_1005),
        TEST(our_close_waits_for_the_answer_and_drops_messages),
        BY_HAND(a_close_that_is_not_answered_ends_at_the_deadline),
        TEST(a_long_reason_is_cut_between_characters),
        TEST(a_lost_connection_is_1006),
        TEST(an_aborted_connection_calls_nobody),
        cmocka_unit_test(running_out_of_memory_ends_the_connection_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
