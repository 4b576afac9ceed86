/* server_fixture.h - a server with a handler that does what the path says, and one connected peer. */
#pragma once

#include "net_peer.h"

#include "net/server.h"

static struct http_server *server;
static struct http_limits limits;
static struct peer peer;

/* What the handler saw, and the exchange it has not answered yet. */
static struct {
    int requests;
    int closes, completes;
    int body_ends, drains;
    struct http_exchange *held;
    uint64_t body;
    bool body_bad;
    uint64_t to_write, written;
    size_t queued_max;
    bool idle;
    char peer_name[80];
    int listener;
    bool local;
} seen;

static inline void on_close(struct http_exchange *ex, bool complete, void *data)
{
    (void)data;
    seen.closes++;
    seen.completes += complete;
    if (seen.held == ex)
        seen.held = NULL;
    /* Must not do anything any more. */
    http_respond_write(ex, "x", 1);
    http_respond_end(ex);
    http_exchange_abort(ex);
    http_body_resume(ex);
}

static inline void echo_collected(struct http_exchange *ex, void *data)
{
    (void)data;
    seen.body_ends++;
    http_respond(ex, 200, "text/plain", http_body(ex));
}

static inline void count_body(struct http_exchange *ex, struct str piece, void *data)
{
    (void)ex;
    (void)data;
    if (!is_pattern(piece, seen.body))
        seen.body_bad = true;
    seen.body += piece.n;
}

static inline void answer_count(struct http_exchange *ex, void *data)
{
    char text[32];

    (void)data;
    seen.body_ends++;
    snprintf(text, sizeof(text), "%llu", (unsigned long long)seen.body);
    http_respond(ex, 200, NULL, str_from(text));
}

static inline void echo_piece(struct http_exchange *ex, struct str piece, void *data)
{
    (void)data;
    if (!http_respond_write(ex, piece.p, piece.n))
        http_body_pause(ex);
    seen.queued_max = MAX(seen.queued_max, http_respond_queued(ex));
}

static inline void resume_body(struct http_exchange *ex, void *data)
{
    (void)data;
    seen.drains++;
    http_body_resume(ex);
}

static inline void end_response(struct http_exchange *ex, void *data)
{
    (void)data;
    seen.body_ends++;
    http_respond_end(ex);
}

static inline void write_more(struct http_exchange *ex, void *data)
{
    static char bytes[50000];

    (void)data;
    while (seen.written < seen.to_write) {
        size_t n = (size_t)MIN(sizeof(bytes), seen.to_write - seen.written);
        bool more;
        fill_pattern(bytes, n, seen.written);
        seen.written += n;
        more = http_respond_write(ex, bytes, n);
        seen.queued_max = MAX(seen.queued_max, http_respond_queued(ex));
        if (!more)
            return;
    }
    http_respond_end(ex);
}

static inline void begin_big(struct http_exchange *ex, uint64_t length)
{
    http_respond_begin(ex, 200, NULL, 0, length);
    write_more(ex, NULL);
}

static inline int pattern_file(size_t n)
{
    char name[] = "/tmp/berm-test-XXXXXX";
    char *bytes = malloc(n);
    int fd = mkostemp(name, O_CLOEXEC);

    assert_non_null(bytes);
    assert_true(fd >= 0);
    unlink(name);
    fill_pattern(bytes, n, 0);
    assert_int_equal(write(fd, bytes, n), (ssize_t)n);
    free(bytes);
    return fd;
}

/* Writes what was beyond the request back and closes. */
static inline void upgrade_and_echo(struct http_exchange *ex)
{
    struct buf rest;
    int fd;

    buf_init(&rest, 1000);
    fd = http_upgrade(ex, &(struct http_field){ "Upgrade", "echo" }, 1, &rest);
    assert_true(fd >= 0);
    assert_int_equal(send(fd, buf_head(&rest), rest.len, MSG_NOSIGNAL), (ssize_t)rest.len);
    close(fd);
    buf_free(&rest);
}

static inline void answer_by_path(struct http_exchange *ex, struct str path)
{
    if (str_is(path, "/hello")) {
        http_respond(ex, 200, "text/plain", STR("hello"));
    } else if (str_is(path, "/chunked")) {
        http_respond_begin(ex, 200, NULL, 0, HTTP_CHUNKED);
        http_respond_write(ex, "hello ", 6);
        http_respond_write(ex, "world", 5);
        http_respond_end(ex);
    } else if (str_is(path, "/big")) {
        begin_big(ex, seen.to_write);
    } else if (str_is(path, "/big-chunked")) {
        begin_big(ex, HTTP_CHUNKED);
    } else if (str_is(path, "/file")) {
        http_respond_begin(ex, 200, NULL, 0, 2 + 1000000 + 3);
        http_respond_write(ex, "<<", 2);
        http_respond_file(ex, pattern_file(2000000), 500000, 1000000);
        http_respond_write(ex, ">>>", 3);
        http_respond_end(ex);
    } else if (str_is(path, "/short-file")) {
        http_respond_begin(ex, 200, NULL, 0, 3000);
        http_respond_file(ex, pattern_file(1000), 0, 3000);
        http_respond_end(ex);
    } else if (str_is(path, "/no-content")) {
        http_respond(ex, 204, NULL, STR(""));
    } else if (str_is(path, "/bad-field")) {
        http_respond_begin(ex, 200, &(struct http_field){ "X", "a\r\nSet-Cookie: b" }, 1, 0);
        http_respond_end(ex);
    } else if (str_is(path, "/second-length")) {
        http_respond_begin(ex, 200, &(struct http_field){ "content-length", "3" }, 1, 0);
        http_respond_end(ex);
    } else if (str_is(path, "/too-little")) {
        http_respond_begin(ex, 200, NULL, 0, 10);
        http_respond_write(ex, "123", 3);
        http_respond_end(ex);
    } else if (str_is(path, "/too-much")) {
        http_respond_begin(ex, 200, NULL, 0, 2);
        http_respond_write(ex, "123", 3);
        http_respond_end(ex);
    } else if (str_is(path, "/upgrade")) {
        upgrade_and_echo(ex);
    } else if (str_is(path, "/abort")) {
        http_respond_begin(ex, 200, NULL, 0, HTTP_CHUNKED);
        http_respond_write(ex, "123", 3);
        http_exchange_abort(ex);
    } else {
        seen.held = ex;
    }
}

static inline void on_request(struct http_exchange *ex, const struct h1_head *head, void *data)
{
    struct http_exchange_callbacks callbacks = { .on_close = on_close, .on_drain = write_more };

    assert_ptr_equal(data, &seen);
    assert_ptr_equal(head, http_request(ex));
    seen.requests++;
    seen.local = http_peer_is_local(ex);
    http_peer_name(ex, seen.peer_name, sizeof(seen.peer_name));
    seen.listener = http_exchange_listener(ex);
    if (str_is(head->path, "/echo")) {
        callbacks.on_body_end = echo_collected;
        http_collect_body(ex, 1 << 20);
    } else if (str_is(head->path, "/count")) {
        callbacks.on_body = count_body;
        callbacks.on_body_end = answer_count;
    } else if (str_is(head->path, "/duplex")) {
        callbacks.on_body = echo_piece;
        callbacks.on_drain = resume_body;
        callbacks.on_body_end = end_response;
        http_respond_begin(ex, 200, NULL, 0, HTTP_CHUNKED);
    } else if (str_is(head->path, "/unhurried")) {
        callbacks.on_body = count_body;
        callbacks.on_body_end = answer_count;
        http_body_unhurried(ex);
    } else if (str_is(head->path, "/paused")) {
        callbacks.on_body = count_body;
        callbacks.on_body_end = answer_count;
        http_body_pause(ex);
        seen.held = ex;
    } else {
        http_exchange_set(ex, &callbacks, NULL);
        answer_by_path(ex, head->path);
        return;
    }
    http_exchange_set(ex, &callbacks, NULL);
}

static inline void error_body(int status, const char *reason, struct buf *body, const char **content_type,
                              void *data)
{
    (void)data;
    *content_type = "application/json";
    buf_printf(body, "{\"status\":%d,\"reason\":\"%s\"}", status, reason);
}

static inline int setup(void **state)
{
    const struct http_handler handler = {
        .on_request = on_request, .error_body = error_body, .extra_headers = "X-Extra: yes\r\n", .data = &seen
    };

    (void)state;
    memset(&seen, 0, sizeof(seen));
    if (limits.max_head == 0)
        http_limits_default(&limits);
    loop = loop_new();
    server = http_server_new(loop, &limits, &handler);
    return http_server_adopt_connection(server, peer_pair(&peer));
}

static inline int teardown(void **state)
{
    (void)state;
    http_server_free(server);
    loop_free(loop);
    peer_close(&peer);
    http_limits_default(&limits);
    hand_ns = 0;
    return 0;
}

static inline struct http_server_stats stats(void)
{
    struct http_server_stats now;

    http_server_stats(server, &now);
    return now;
}

static inline void send_text(const char *text)
{
    peer_send(&peer, str_from(text));
}

#define REQUEST(line, fields) line " HTTP/1.1\r\nHost: a\r\n" fields "\r\n"

/* Reads one response with a Content-Length: its body, and whether the head has `field`. */
static inline void expect_response(const char *start, const char *field, const char *body)
{
    struct str head = peer_take(&peer, "\r\n\r\n");
    size_t n = strlen(body);

    if (!str_has_prefix(head, str_from(start)) || !contains(head, field))
        fail_msg("expected %s with %s, got %s", start, field, head.p);
    WAIT_FOR(peer_has(&peer, "") && peer.in.len >= n);
    assert_str((struct str){ buf_head(&peer.in), n }, str_from(body));
    buf_consume(&peer.in, n);
}

/* Takes exactly `n` bytes of the pattern, at most `step` at a time. */
static inline void expect_pattern(uint64_t n, uint64_t from, size_t step)
{
    uint64_t got = 0;

    while (got < n) {
        WAIT_FOR(peer.in.len > 0 || peer_receive(&peer, step) || peer.closed);
        if (peer.in.len == 0)
            fail_msg("the response ended after %llu bytes", (unsigned long long)got);
        size_t take = (size_t)MIN(peer.in.len, n - got);
        assert_true(is_pattern((struct str){ buf_head(&peer.in), take }, from + got));
        buf_consume(&peer.in, take);
        got += take;
    }
}

static inline void expect_closed(void)
{
    WAIT_FOR(peer_sees_end(&peer));
    assert_int_equal(peer.in.len, 0);
    WAIT_FOR(stats().connections_open == 0);
}
