#include "daemon/port_link.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define SOCKETS_MAX          8
#define CONNECTIONS_IDLE_MAX 128

struct port_link {
    struct port_link *next;
    struct http_client *client;
    uint16_t port;
    int family;   /* that something answered on the last time, or that is tried next */
    bool refused; /* the other family was, since something answered */
    int sockets[SOCKETS_MAX];
    size_t count;
};

static void drop_sockets(struct port_link *link)
{
    while (link->count)
        close(link->sockets[--link->count]);
}

static int connect_loopback(int fd, int family, uint16_t port)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr = { htonl(INADDR_LOOPBACK) } };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
                               .sin6_port = htons(port),
                               .sin6_addr = IN6ADDR_LOOPBACK_INIT };

    return family == AF_INET ? connect(fd, (struct sockaddr *)&v4, sizeof(v4))
                             : connect(fd, (struct sockaddr *)&v6, sizeof(v6));
}

/* On loopback the answer is there when connect(2) returns: 0, or the reason. A full backlog leaves it open. */
static int try_connect(int fd, int family, uint16_t port)
{
    socklen_t size = sizeof(int);
    int error = 0;

    if (connect_loopback(fd, family, port) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error;
}

/*
 * A socket that was refused cannot be used again, nor for the other family: EAGAIN has the caller come back with a
 * fresh one.
 */
static int on_refused(struct port_link *link, struct berm_error *err)
{
    drop_sockets(link);
    link->family = link->family == AF_INET ? AF_INET6 : AF_INET;
    link->refused = !link->refused;
    if (link->refused)
        return berm_fail(err, BERM_E_SYSTEM, EAGAIN, "the other address family is tried");
    return berm_fail(err, BERM_E_EXEC_TRANSPORT_ERROR, ECONNREFUSED, "nothing listens on port %u of the sandbox",
                     link->port);
}

static int connect_port(void *data, struct berm_error *err)
{
    struct port_link *link = data;
    _cleanup_close_ int fd = -EBADF;
    int on = 1, error;

    if (link->count == 0)
        return berm_fail(err, BERM_E_SYSTEM, EAGAIN, "no socket of the sandbox is at hand");
    fd = link->sockets[--link->count];
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "prepare a socket");
    error = try_connect(fd, link->family, link->port);
    if (error == ECONNREFUSED || error == EADDRNOTAVAIL)
        return on_refused(link, err);
    if (error)
        return berm_fail(err, BERM_E_EXEC_TRANSPORT_ERROR, error, "connect to port %u of the sandbox", link->port);
    link->refused = false;
    return TAKE_FD(fd);
}

struct port_link *port_link_new(struct loop *loop, uint16_t port, struct port_link *next)
{
    struct port_link *link = calloc(1, sizeof(*link));
    struct http_client_config config = { .connect = connect_port,
                                         .data = link,
                                         .max_idle = CONNECTIONS_IDLE_MAX,
                                         .idle_timeout_ms = 30000,
                                         .high_water = 256 * 1024 };

    if (!link)
        return NULL;
    link->next = next;
    link->port = port;
    link->family = AF_INET;
    link->client = http_client_new(loop, &config);
    if (link->client)
        return link;
    free(link);
    return NULL;
}

void port_link_free(struct port_link *link)
{
    http_client_free(link->client);
    drop_sockets(link);
    free(link);
}

struct port_link *port_link_next(const struct port_link *link)
{
    return link->next;
}

uint16_t port_link_port(const struct port_link *link)
{
    return link->port;
}

struct http_client *port_link_client(struct port_link *link)
{
    return link->client;
}

int port_link_family(const struct port_link *link)
{
    return link->family;
}

bool port_link_ready(const struct port_link *link)
{
    return link->count > 0;
}

void port_link_give(struct port_link *link, int fd)
{
    socklen_t size = sizeof(int);
    int family = 0;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) == 0 && family == link->family &&
        link->count < SOCKETS_MAX)
        link->sockets[link->count++] = fd;
    else
        close(fd);
}
