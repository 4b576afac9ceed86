/*
 * server_pump.c - connections that were upgraded and go through a channel: whoever took one over gets one end of a
 * socket pair with the plain bytes, and a relay works between the other end and the channel.
 */
#include "server_internal.h"

#include "relay.h"

#include <sys/socket.h>

#define LINGER_MS 10000

struct http_pump {
    struct http_server *server;
    struct http_pump *prev, *next;
    struct relay *relay;
};

static void pump_free(struct http_pump *pump)
{
    if (pump->prev)
        pump->prev->next = pump->next;
    else
        pump->server->pumps = pump->next;
    if (pump->next)
        pump->next->prev = pump->prev;
    relay_free(pump->relay);
    free(pump);
}

static void on_end(void *data)
{
    struct http_pump *pump = data;

    pump->relay = NULL; /* frees itself */
    pump_free(pump);
}

int http_pump_start(struct http_server *server, int fd, struct channel *channel)
{
    struct http_pump *pump = calloc(1, sizeof(*pump));
    int pair[2] = { -EBADF, -EBADF };

    if (!pump || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
        free(pump);
        channel_free(channel);
        close_fd(&fd);
        return -1;
    }
    pump->relay = relay_start_channel(server->loop, fd, channel, pair[0], on_end, pump);
    if (!pump->relay) {
        free(pump);
        close_fd(&pair[1]);
        return -1;
    }
    relay_set_linger(pump->relay, LINGER_MS);
    pump->server = server;
    pump->next = server->pumps;
    if (pump->next)
        pump->next->prev = pump;
    server->pumps = pump;
    return pair[1];
}

void http_pumps_free(struct http_server *server)
{
    while (server->pumps)
        pump_free(server->pumps);
}
