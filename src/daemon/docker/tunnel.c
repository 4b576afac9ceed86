#include "daemon/docker/tunnel.h"

#include "base/sys.h"
#include "net/relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#define EARLY_MAX          (64 * 1024)
#define CONNECT_TIMEOUT_MS 10000

struct tunnel {
    struct docker *docker;
    struct list node; /* in docker->tunnels */
    int client;
    uint16_t port;
    bool connect;
    struct buf early;
    struct loop_io server; /* while it connects */
    struct loop_timer timer;
    struct relay *relay;
};

static void free_tunnel(struct tunnel *tunnel)
{
    struct daemon *daemon = tunnel->docker->daemon;
    int server = tunnel->server.fd;

    spawn_link_forget(daemon->spawn, tunnel);
    loop_io_remove(daemon->loop, &tunnel->server);
    loop_timer_stop(daemon->loop, &tunnel->timer);
    close_fd(&server);
    close_fd(&tunnel->client);
    relay_free(tunnel->relay);
    buf_free(&tunnel->early);
    list_remove(&tunnel->node);
    tunnel->docker->tunnel_count--;
    free(tunnel);
}

/* The head of an answer always fits into an empty socket buffer. */
static int answer(int client, int status, const char *text)
{
    char head[256];
    int n;

    if (status == 200)
        n = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\n\r\n");
    else
        n = snprintf(
            head, sizeof(head),
            "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
            status, status == 400 ? "Bad Request" : "Bad Gateway", strlen(text), text);
    return send(client, head, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) == n ? 0 : -1;
}

static void refuse(struct tunnel *tunnel, int status, const char *text)
{
    if (tunnel->connect)
        answer(tunnel->client, status, text);
    free_tunnel(tunnel);
}

static void refuse_connect(struct tunnel *tunnel, int errnum)
{
    char text[96];

    if (errnum != ECONNREFUSED) {
        refuse(tunnel, 502, strerror(errnum));
        return;
    }
    snprintf(text, sizeof(text), "Container is not listening to port %u", tunnel->port);
    refuse(tunnel, 400, text);
}

static void on_relay_end(void *data)
{
    struct tunnel *tunnel = data;

    tunnel->relay = NULL;
    free_tunnel(tunnel);
}

static void establish(struct tunnel *tunnel)
{
    struct loop *loop = tunnel->docker->daemon->loop;
    int server = TAKE_FD(tunnel->server.fd), client = tunnel->client, on = 1;

    if (tunnel->connect && answer(client, 200, "") < 0) {
        close_fd(&server);
        free_tunnel(tunnel);
        return;
    }
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    tunnel->client = -EBADF;
    tunnel->relay = relay_start(loop, client, server, buf_str(&tunnel->early), on_relay_end, tunnel);
    buf_free(&tunnel->early);
    if (!tunnel->relay)
        free_tunnel(tunnel);
}

static void on_connected(struct loop_io *io, uint32_t events)
{
    struct tunnel *tunnel = container_of(io, struct tunnel, server);
    socklen_t size = sizeof(int);
    int errnum = 0;

    (void)events;
    if (getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &errnum, &size) < 0)
        errnum = errno;
    loop_io_remove(tunnel->docker->daemon->loop, io);
    loop_timer_stop(tunnel->docker->daemon->loop, &tunnel->timer);
    if (errnum)
        refuse_connect(tunnel, errnum);
    else
        establish(tunnel);
}

static void on_timer(struct loop_timer *timer)
{
    refuse_connect(container_of(timer, struct tunnel, timer), ETIMEDOUT);
}

static void on_socket(const struct spawn_reply *reply, const struct berm_error *err, void *data)
{
    struct tunnel *tunnel = data;
    struct loop *loop = tunnel->docker->daemon->loop;
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(tunnel->port),
                                   .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = spawn_link_take_fd(tunnel->docker->daemon->spawn);

    (void)reply;
    tunnel->server.fd = fd;
    if (err->code != BERM_OK || fd < 0 || set_nonblocking(fd) < 0) {
        refuse(tunnel, 502, err->code != BERM_OK ? err->message : "no socket");
        return;
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
        establish(tunnel);
        return;
    }
    if (errno != EINPROGRESS || loop_io_add(loop, &tunnel->server, fd, EPOLLOUT, on_connected) < 0) {
        refuse_connect(tunnel, errno);
        return;
    }
    loop_timer_start(loop, &tunnel->timer, CONNECT_TIMEOUT_MS);
}

void tunnel_open(struct container *container, int client, uint16_t port, struct str early, bool connect)
{
    struct docker *docker = container->docker;
    struct tunnel *tunnel = calloc(1, sizeof(*tunnel));
    struct berm_error err;

    if (!tunnel) {
        close(client);
        return;
    }
    tunnel->docker = docker;
    tunnel->client = client;
    tunnel->port = port;
    tunnel->connect = connect;
    tunnel->server.fd = -EBADF;
    loop_timer_init(&tunnel->timer, on_timer);
    buf_init(&tunnel->early, EARLY_MAX);
    list_append(&docker->tunnels, &tunnel->node);
    if (docker->tunnel_count++ >= docker->daemon->config.max_connections) {
        refuse(tunnel, 502, "too many connections lead into containers");
        return;
    }
    if (!container->sandbox || !container->sandbox->row.key || buf_append_str(&tunnel->early, early) < 0) {
        refuse_connect(tunnel, ECONNREFUSED); /* nothing runs, so nothing listens */
        return;
    }
    if (instance_socket(docker->daemon, container->sandbox->row.key, AF_INET, SOCK_STREAM, on_socket, tunnel,
                        &err) < 0)
        refuse(tunnel, 502, err.message);
}

void tunnels_free(struct docker *docker)
{
    while (!list_empty(&docker->tunnels))
        free_tunnel(container_of(docker->tunnels.next, struct tunnel, node));
}
