/*
 * fuzz_http_server.c - any bytes sent to a server with handlers of every kind. 0xff cuts the bytes into sends; what
 * follows a 0xfe closes our side. However it goes: each exchange is closed exactly once, and nothing is left.
 */
#include "net/server.h"

#include <assert.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop *loop;
static unsigned requests, closes;
static struct http_exchange *held;

static void stop(struct loop_deferred *deferred)
{
    (void)deferred;
    loop_stop(loop);
}

static void turn(int fd)
{
    static struct loop_deferred stopper = { .callback = stop };
    static char sink[65536];

    loop_defer(loop, &stopper);
    assert(loop_run(loop) == 0);
    while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
        ;
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

static void on_request(struct http_exchange *ex, const struct h1_head *head, void *data)
{
    const struct http_exchange_callbacks callbacks = { .on_body = on_body,
                                                       .on_body_end = on_body_end,
                                                       .on_close = on_close };
    const struct http_exchange_callbacks collecting = { .on_body_end = on_body_end, .on_close = on_close };

    (void)data;
    requests++;
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
    } else {
        http_collect_body(ex, 64);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct http_handler handler = { .on_request = on_request };
    struct http_limits limits;
    struct http_server *server;
    int fds[2];

    requests = closes = 0;
    http_limits_default(&limits);
    limits.max_head = 2048;
    limits.max_body = 200;
    limits.high_water = 64;
    loop = loop_new();
    server = http_server_new(loop, &limits, &handler);
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    assert(http_server_adopt_connection(server, fds[1]) == 0);
    for (size_t at = 0, n; at < size; at += n + 1) {
        for (n = 0; at + n < size && data[at + n] < 0xfe; n++)
            ;
        if (n > 0 && send(fds[0], data + at, n, MSG_NOSIGNAL) < 0)
            break;
        if (at + n < size && data[at + n] == 0xfe)
            shutdown(fds[0], SHUT_WR);
        turn(fds[0]);
        if (held)
            http_body_resume(held);
    }
    turn(fds[0]);
    http_server_free(server);
    assert(requests == closes && !held);
    loop_free(loop);
    close(fds[0]);
    return 0;
}
