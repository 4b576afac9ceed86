/* tcp.c - listening sockets, by addresses as operators write them. */
#include "server.h"

#include "base/error.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

_Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port), "one port");

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t len;
};

static void address_v4(struct address *ret, uint16_t port, struct in_addr addr)
{
    ret->v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = addr };
    ret->len = sizeof(ret->v4);
}

static void address_v6(struct address *ret, uint16_t port, struct in6_addr addr)
{
    ret->v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = addr };
    ret->len = sizeof(ret->v6);
}

/* Addresses are numbers here, but for "localhost": a listener that waits for a name server is no use. */
static int parse_address(const char *host_port, struct address *ret)
{
    const char *colon = strrchr(host_port, ':');
    struct in_addr v4;
    struct in6_addr v6;
    char host[64];
    uint64_t port;
    size_t n;

    if (!colon || str_to_u64(str_from(colon + 1), &port) < 0 || port > 65535)
        return -1;
    n = (size_t)(colon - host_port);
    if (n > 2 && host_port[0] == '[' && host_port[n - 1] == ']') {
        if (str_copy((struct str){ host_port + 1, n - 2 }, host, sizeof(host)) < 0 ||
            inet_pton(AF_INET6, host, &v6) != 1)
            return -1;
        address_v6(ret, (uint16_t)port, v6);
        return 0;
    }
    if (str_copy((struct str){ host_port, n }, host, sizeof(host)) < 0)
        return -1;
    if (strcmp(host, "*") == 0)
        address_v6(ret, (uint16_t)port, (struct in6_addr)IN6ADDR_ANY_INIT);
    else if (strcmp(host, "localhost") == 0)
        address_v4(ret, (uint16_t)port, (struct in_addr){ htonl(INADDR_LOOPBACK) });
    else if (inet_pton(AF_INET, host, &v4) == 1)
        address_v4(ret, (uint16_t)port, v4);
    else
        return -1;
    return 0;
}

static int bind_to(const struct address *address, int type, bool any)
{
    _cleanup_close_ int fd = socket(address->any.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1, off = 0;

    if (fd < 0 || (type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0))
        return -1;
    if (address->any.sa_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, any ? &off : &on, sizeof(int)) < 0)
        return -1;
    if (bind(fd, &address->any, address->len) < 0 || (type == SOCK_STREAM && listen(fd, SOMAXCONN) < 0))
        return -1;
    return TAKE_FD(fd);
}

int tcp_check_address(const char *host_port, struct berm_error *err)
{
    struct address address;

    if (parse_address(host_port, &address) < 0)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "not a listening address (HOST:PORT): %.64s", host_port);
    return 0;
}

/* `port` -1: the one of the text. */
static int open_listener(const char *host_port, int type, int port, struct berm_error *err)
{
    bool any = host_port[0] == '*';
    struct address address;
    int fd;

    if (parse_address(host_port, &address) < 0)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "not a listening address (HOST:PORT): %.64s", host_port);
    if (port >= 0) /* at the same place in both */
        address.v4.sin_port = htons((uint16_t)port);
    fd = bind_to(&address, type, any);
    /* "*" is every address there is; a host or a namespace without IPv6 has those of IPv4 only. */
    if (fd < 0 && any && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
        address_v4(&address, ntohs(address.v6.sin6_port), (struct in_addr){ htonl(INADDR_ANY) });
        fd = bind_to(&address, type, any);
    }
    if (fd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "listen on %.64s", host_port);
    return fd;
}

int tcp_listen(const char *host_port, struct berm_error *err)
{
    return open_listener(host_port, SOCK_STREAM, -1, err);
}

int udp_listen(const char *host_port, int port, struct berm_error *err)
{
    return open_listener(host_port, SOCK_DGRAM, port, err);
}

int socket_port(int fd)
{
    struct address address = { .len = sizeof(struct sockaddr_in6) };

    if (getsockname(fd, &address.any, &address.len) < 0)
        return -1;
    if (address.any.sa_family == AF_INET)
        return ntohs(address.v4.sin_port);
    if (address.any.sa_family == AF_INET6)
        return ntohs(address.v6.sin6_port);
    errno = EAFNOSUPPORT;
    return -1;
}
