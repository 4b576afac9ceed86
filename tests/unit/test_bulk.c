/* test_bulk.c - a response's body that goes from one socket to another without being read: http_call's on_bulk and
 * http_respond_splice(), as bermd joins them. */
#include "net_peer.h"

#include "net/client.h"
#include "net/pipe.h"
#include "net/server.h"

#include <signal.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static struct http_client *client;
static struct http_server *server;
static struct peer origin, reader; /* who sends the body, and who gets it */
static int made;

static struct {
    struct http_exchange *ex;
    struct http_call *call;
    uint64_t length; /* that we promise */
    uint64_t moved, copied;
    size_t queued_max;
    int ends, closes, completes;
    enum berm_err code;
} seen;

/* --- the program between them --- */

static int make_connection(void *data, struct berm_error *err)
{
    (void)data, (void)err;
    made++;
    return peer_pair(&origin);
}

static void on_head(struct http_call *call, const struct h1_head *head, void *data)
{
    (void)call, (void)head, (void)data;
    http_respond_begin(seen.ex, 200, NULL, 0, seen.length);
}

static void note_queue(void)
{
    seen.queued_max = MAX(seen.queued_max, http_respond_queued(seen.ex));
}

static void on_body(struct http_call *call, struct str piece, void *data)
{
    (void)data;
    seen.copied += piece.n;
    if (!http_respond_write(seen.ex, piece.p, piece.n))
        http_call_pause(call);
    note_queue();
}

static ssize_t on_bulk(struct http_call *call, int socket, size_t most, void *data)
{
    ssize_t n = http_respond_splice(seen.ex, socket, most);

    (void)data;
    if (n > 0)
        seen.moved += (uint64_t)n;
    if (n > 0 && http_respond_queued(seen.ex) > 0)
        http_call_pause(call);
    note_queue();
    return n;
}

static void on_end(struct http_call *call, const struct berm_error *err, void *data)
{
    (void)call, (void)data;
    seen.ends++;
    seen.code = err->code;
    seen.call = NULL;
    if (!seen.ex)
        return;
    if (err->code == BERM_OK)
        http_respond_end(seen.ex);
    else
        http_exchange_abort(seen.ex);
}

static void on_drain(struct http_exchange *ex, void *data)
{
    (void)ex, (void)data;
    if (seen.call)
        http_call_resume(seen.call);
}

static void on_close(struct http_exchange *ex, bool complete, void *data)
{
    (void)ex, (void)data;
    seen.closes++;
    seen.completes += complete;
    seen.ex = NULL;
    if (seen.call)
        http_call_cancel(seen.call);
    seen.call = NULL;
}

static void on_request(struct http_exchange *ex, const struct h1_head *head, void *data)
{
    static const struct http_exchange_callbacks of_exchange = { .on_drain = on_drain, .on_close = on_close };
    static const struct http_call_callbacks of_call = {
        .on_head = on_head, .on_body = on_body, .on_bulk = on_bulk, .on_end = on_end
    };
    struct berm_error err;

    (void)head, (void)data;
    seen.ex = ex;
    http_exchange_set(ex, &of_exchange, NULL);
    seen.call = http_call_start(client, "GET", "/", NULL, 0, 0, &of_call, NULL, &err);
    assert_non_null(seen.call);
}

/* --- before and after --- */

static int setup(void **state)
{
    const struct http_client_config config = {
        .connect = make_connection, .max_idle = 2, .idle_timeout_ms = 60000, .high_water = 256 << 10
    };
    const struct http_handler handler = { .on_request = on_request };
    struct http_limits limits;

    (void)state;
    memset(&seen, 0, sizeof(seen));
    made = 0;
    loop = loop_new();
    http_limits_default(&limits);
    client = http_client_new(loop, &config);
    server = http_server_new(loop, &limits, &handler);
    return http_server_adopt_connection(server, peer_pair(&reader));
}

static int teardown(void **state)
{
    (void)state;
    http_server_free(server);
    http_client_free(client);
    loop_free(loop);
    peer_close(&origin);
    peer_close(&reader);
    return 0;
}

static void ask(uint64_t promised)
{
    seen.length = promised;
    peer_send(&reader, STR(GET));
    WAIT_FOR(made > 0);
    peer_take(&origin, "\r\n\r\n");
}

static void answer_head(uint64_t length)
{
    char head[80];

    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n", (unsigned long long)length);
    peer_send(&origin, str_from(head));
}

/* Sends [from, to) of the pattern; the reader takes what comes meanwhile if it `reads`. */
static void send_pattern(uint64_t from, uint64_t to, bool reads)
{
    static char piece[100000];

    while (from < to) {
        size_t n = (size_t)MIN(sizeof(piece), to - from);
        ssize_t sent;
        fill_pattern(piece, n, from);
        sent = send(origin.fd, piece, n, MSG_NOSIGNAL);
        from += sent > 0 ? (uint64_t)sent : 0;
        turn();
        while (reads && peer_receive(&reader, SIZE_MAX))
            ;
    }
}

static void expect_body(uint64_t length)
{
    WAIT_FOR(peer_receive(&reader, SIZE_MAX) || reader.in.len >= length);
    WAIT_FOR(!peer_receive(&reader, SIZE_MAX) && reader.in.len >= length);
    assert_int_equal(reader.in.len, length);
    assert_true(is_pattern(buf_str(&reader.in), 0));
    buf_clear(&reader.in);
}

/* --- tests --- */

static void a_large_body_is_moved_and_both_connections_are_kept(void **state)
{
    const uint64_t length = 5000000;

    (void)state;
    for (int i = 0; i < 3; i++) {
        ask(length);
        answer_head(length);
        send_pattern(0, length, true);
        assert_contains(peer_take(&reader, "\r\n\r\n"), "Content-Length: 5000000\r\n");
        expect_body(length);
        WAIT_FOR(seen.completes == i + 1);
        assert_int_equal(seen.code, BERM_OK);
    }
    assert_int_equal(seen.moved + seen.copied, 3 * length);
    assert_true(seen.moved > 2 * length);
    assert_int_equal(made, 1);
}

/* They are another answer's, or a smuggler's: the body ends where it was promised to. */
static void bytes_behind_the_body_are_not_moved(void **state)
{
    const uint64_t length = 300000;
    static char body[300000 + 5000];

    (void)state;
    ask(length);
    answer_head(length);
    fill_pattern(body, sizeof(body), 0);
    peer_send(&origin, (struct str){ body, sizeof(body) });
    peer_take(&reader, "\r\n\r\n");
    expect_body(length);
    WAIT_FOR(seen.completes == 1);
    WAIT_FOR(peer_sees_end(&origin)); /* whoever says more than was asked is not spoken to again */
}

static void a_reader_that_does_not_read_holds_the_sender_back(void **state)
{
    static char piece[65536];
    const uint64_t length = 16 << 20;
    uint64_t sent = 0;

    (void)state;
    ask(length);
    answer_head(length);
    for (int stalled = 0; stalled < 100; turn()) {
        ssize_t n;
        fill_pattern(piece, sizeof(piece), sent);
        n = send(origin.fd, piece, sizeof(piece), MSG_NOSIGNAL);
        stalled = n < 0 ? stalled + 1 : 0;
        sent += n > 0 ? (uint64_t)n : 0;
    }
    assert_true(sent < 2 << 20);
    assert_true(seen.queued_max <= 2 * NET_PIPE);
    send_pattern(sent, length, true);
    peer_take(&reader, "\r\n\r\n");
    expect_body(length);
    WAIT_FOR(seen.completes == 1);
}

static void a_body_that_breaks_off_is_not_made_complete(void **state)
{
    (void)state;
    ask(1000000);
    answer_head(1000000);
    send_pattern(0, 600000, true);
    close_fd(&origin.fd);
    WAIT_FOR(seen.closes == 1);
    assert_int_equal(seen.completes, 0);
    assert_int_equal(seen.code, BERM_E_EXEC_TRANSPORT_ERROR);
    assert_true(peer_sees_end(&reader));
    peer_take(&reader, "\r\n\r\n");
    assert_true(reader.in.len <= 600000 && is_pattern(buf_str(&reader.in), 0));
}

static void a_reader_that_goes_away_ends_it(void **state)
{
    (void)state;
    ask(1000000);
    answer_head(1000000);
    send_pattern(0, 400000, false);
    close_fd(&reader.fd);
    for (int i = 0; i < 20; i++) {
        send(origin.fd, GET, sizeof(GET) - 1, MSG_NOSIGNAL);
        turn();
    }
    WAIT_FOR(seen.closes == 1);
    assert_int_equal(seen.completes, 0);
    assert_null(seen.call);
}

/* Chunks have to be made around the bytes. */
static void what_cannot_be_moved_is_read(void **state)
{
    const uint64_t length = 1000000;

    (void)state;
    ask(HTTP_CHUNKED);
    answer_head(length);
    send_pattern(0, length, true);
    WAIT_FOR(peer_has(&reader, "\r\n0\r\n\r\n"));
    WAIT_FOR(seen.completes == 1);
    assert_int_equal(seen.moved, 0);
    assert_int_equal(seen.copied, length);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_large_body_is_moved_and_both_connections_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_behind_the_body_are_not_moved, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_that_does_not_read_holds_the_sender_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_body_that_breaks_off_is_not_made_complete, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_that_goes_away_ends_it, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_moved_is_read, setup, teardown),
    };

    signal(SIGPIPE, SIG_IGN); /* splice(2) has no flag against it */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
