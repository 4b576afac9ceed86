/*
 * fuzz_http_client.c - any bytes sent to a client by the peer it called. 0xff cuts the bytes into sends, 0xfe
 * closes the peer's side, 0xfd starts a call, 0xfc resumes one. Each call ends exactly once, and nothing is left.
 */
#include "net/client.h"

#include <assert.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop *loop;
static unsigned started, ended;
static struct seen {
    bool head, end;
} calls[4096];
static struct http_call *paused;
static int peer_fd;

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
    while (peer_fd >= 0 && recv(peer_fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
        ;
}

static int make_connection(void *data, struct berm_error *err)
{
    int fds[2];

    (void)data;
    (void)err;
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    close_fd(&peer_fd);
    peer_fd = fds[0];
    return fds[1];
}

static void on_head(struct http_call *call, const struct h1_head *head, void *data)
{
    struct seen *seen = data;

    assert(head->status >= 200 && head->status <= 599);
    assert(!seen->head && !seen->end);
    seen->head = true;
    if (h1_header(head, "P").p) {
        paused = call;
        http_call_pause(call);
    }
}

static void on_body(struct http_call *call, struct str piece, void *data)
{
    const struct seen *seen = data;

    (void)call;
    assert(piece.n > 0 && seen->head && !seen->end);
}

static void on_end(struct http_call *call, const struct berm_error *err, void *data)
{
    struct seen *seen = data;

    assert(!seen->end && (err->code == BERM_OK ? seen->head : err->message[0] != '\0'));
    seen->end = true;
    if (call == paused)
        paused = NULL;
    ended++;
}

static void start(struct http_client *client)
{
    const struct http_call_callbacks callbacks = { .on_head = on_head, .on_body = on_body, .on_end = on_end };
    const char *method = started % 3 == 1 ? "HEAD" : started % 3 == 2 ? "POST" : "GET";
    struct berm_error err;
    struct http_call *call =
        http_call_start(client, method, "/", NULL, 0, started % 3 == 2 ? 3 : 0, &callbacks, &calls[started], &err);

    assert(call);
    if (started++ % 3 == 2 && started % 2)
        http_call_write(call, "abc", 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct http_client_config config = { .connect = make_connection, .max_idle = 2, .high_water = 64 };
    struct http_client *client;

    started = ended = 0;
    memset(calls, 0, sizeof(calls));
    peer_fd = -EBADF;
    loop = loop_new();
    client = http_client_new(loop, &config);
    start(client);
    turn();
    for (size_t at = 0, n; at < size; at += n + 1) {
        for (n = 0; at + n < size && data[at + n] < 0xfc; n++)
            ;
        if (n > 0 && peer_fd >= 0)
            (void)!send(peer_fd, data + at, n, MSG_NOSIGNAL);
        if (at + n < size && data[at + n] == 0xfc && paused)
            http_call_resume(paused);
        if (at + n < size && data[at + n] == 0xfd && started < ARRAY_SIZE(calls))
            start(client);
        if (at + n < size && data[at + n] == 0xfe)
            close_fd(&peer_fd);
        turn();
    }
    http_client_free(client);
    assert(started == ended && !paused);
    loop_free(loop);
    close_fd(&peer_fd);
    return 0;
}
