#include "own_client.h"

#include "agent.h"
#include "net/server.h"

#include <sys/socket.h>

/* A pair of sockets: one end for our server, the other for the client's call. */
static int connect_to_self(void *data, struct berm_error *err)
{
    struct agent *agent = data;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "socketpair");
    if (http_server_adopt_own(agent->server, fds[1]) == 0)
        return fds[0];
    berm_fail(err, BERM_E_SYSTEM, errno, "take another connection");
    close_fd(&fds[0]);
    return -1;
}

struct http_client *own_client(struct agent *agent)
{
    const struct http_client_config config = {
        .connect = connect_to_self,
        .data = agent,
        .max_idle = 8,
        .idle_timeout_ms = 10000,
        .high_water = (size_t)256 << 10,
    };

    if (!agent->own_client)
        agent->own_client = http_client_new(agent->loop, &config);
    return agent->own_client;
}
