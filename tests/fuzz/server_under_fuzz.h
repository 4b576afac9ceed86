/*
 * server_under_fuzz.h - a server with handlers of every kind for fuzz targets, and the one connection to it.
 * However it goes: each exchange is closed exactly once, and nothing is left.
 */
#pragma once

#include "net/server.h"

#include <assert.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop *loop;
static struct http_server *server;
static int peer_fd;
static unsigned requests, closes;
static struct http_exchange *held;

static void stop(struct loop_deferred *deferred)
{
    (void)deferred;
    loop_stop(loop);
}

static void turn(void)
{
    static struct loop_deferred stopper = { .callback = stop };
    static char sink[65536];

    loop_defer(loop, &stopper);
    assert(loop_run(loop) == 0);
    while (recv(peer_fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
        ;
    if (held)
        http_body_resume(held);
}

static void on_close(struct http_exchange *ex, bool complete, void *data)
{
    (void)complete;
    (void)data;
    if (ex == held)
        held = NULL;
    closes++;
}

static void on_body(struct http_exchange *ex, struct str piece, void *data)
{
    (void)data;
    http_respond_write(ex, piece.p, piece.n);
    if (piece.n > 5)
        http_body_pause(ex);
}

static void on_body_end(struct http_exchange *ex, void *data)
{
    (void)data;
    if (!http_response_started(ex))
        http_respond(ex, 200, "text/plain", http_body(ex));
    http_respond_end(ex);
}

/* Sends back and closes. */
static void upgrade(struct http_exchange *ex)
{
    struct buf rest;
    int fd;

    buf_init(&rest, 1 << 20);
    fd = http_upgrade(ex, &(struct http_field){ "Upgrade", "echo" }, 1, &rest);
    if (fd >= 0)
        send(fd, "hello", 5, MSG_NOSIGNAL | MSG_DONTWAIT);
    close_fd(&fd);
    buf_free(&rest);
}

/* What reached a handler can be written down as lines without becoming something else. */
static void check_head(const struct h1_head *head)
{
    assert(head->host.n > 0 || head->minor_version == 0);
    assert(!memchr(head->target.p, '\r', head->target.n) && !memchr(head->target.p, ' ', head->target.n));
    for (size_t i = 0; i < head->header_count; i++)
        for (size_t at = 0; at < head->headers[i].value.n; at++)
            assert((unsigned char)head->headers[i].value.p[at] >= ' ' || head->headers[i].value.p[at] == '\t');
}

static void on_request(struct http_exchange *ex, const struct h1_head *head, void *data)
{
    const struct http_exchange_callbacks callbacks = { .on_body = on_body,
                                                       .on_body_end = on_body_end,
                                                       .on_close = on_close };
    const struct http_exchange_callbacks collecting = { .on_body_end = on_body_end, .on_close = on_close };

    (void)data;
    requests++;
    check_head(head);
    http_exchange_set(ex, &collecting, NULL);
    if (str_has_prefix(head->path, STR("/s"))) {
        http_exchange_set(ex, &callbacks, NULL);
        http_respond_begin(ex, 200, NULL, 0, HTTP_CHUNKED);
        held = ex;
    } else if (str_has_prefix(head->path, STR("/w"))) {
        http_watch_disconnect(ex);
        http_body_pause(ex);
        held = ex;
    } else if (str_has_prefix(head->path, STR("/n"))) {
        http_respond(ex, 404, NULL, STR("no"));
    } else if (str_has_prefix(head->path, STR("/u")) && head->upgrade.n) {
        upgrade(ex);
    } else {
        http_collect_body(ex, 64);
    }
}

static void begin(void)
{
    const struct http_handler handler = { .on_request = on_request };
    struct http_limits limits;
    int fds[2];

    requests = closes = 0;
    http_limits_default(&limits);
    limits.max_head = 2048;
    limits.max_body = 200;
    limits.high_water = 64;
    loop = loop_new();
    server = http_server_new(loop, &limits, &handler);
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    peer_fd = fds[0];
    assert(http_server_adopt_connection(server, fds[1]) == 0);
}

static void end(void)
{
    turn();
    http_server_free(server);
    assert(requests == closes && !held);
    loop_free(loop);
    close(peer_fd);
}
