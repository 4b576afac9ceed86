/* own_client.c - a client whose peer is a server of this program: for what goes through its routes all the same. */
#include "client.h"
#include "server.h"

#include <sys/socket.h>

/* A pair of sockets: one end for the server, the other for the client's call. */
static int connect_own(void *data, struct berm_error *err)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "socketpair");
    if (http_server_adopt_own(data, fds[1]) == 0)
        return fds[0];
    berm_fail(err, BERM_E_SYSTEM, errno, "take another connection");
    close_fd(&fds[0]);
    return -1;
}

struct http_client *http_client_to_own(struct loop *loop, struct http_server *server)
{
    const struct http_client_config config = {
        .connect = connect_own,
        .data = server,
        .max_idle = 8,
        .idle_timeout_ms = 10000,
        .high_water = (size_t)256 << 10,
    };

    return http_client_new(loop, &config);
}
