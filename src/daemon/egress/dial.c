/* dial.c - connections to where a policy allows them. */
#include "daemon/egress/internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

static bool same_host(const struct ip *ip, int fd)
{
    struct sockaddr_storage own;
    socklen_t size = sizeof(own);
    struct ip own_ip;
    uint16_t port;

    if (getsockname(fd, (struct sockaddr *)&own, &size) < 0 || ip_from_sockaddr(&own, &own_ip, &port) < 0)
        return true;
    return ip_equal(ip, &own_ip);
}

/*
 * A datagram socket's connect() only looks up the route and picks the source: for an address of this host, that
 * address itself. Nothing is sent.
 */
const char *dial_impossible(const struct egress_policy *policy, const struct ip *ip)
{
    struct sockaddr_storage to;
    socklen_t size = ip_to_sockaddr(ip, 9, &to);
    _cleanup_close_ int fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return errno == EAFNOSUPPORT ? "no route" : "out of resources";
    if (connect(fd, (const struct sockaddr *)&to, size) < 0)
        return "no route";
    if (same_host(ip, fd) && !egress_operator_allows(policy, ip))
        return "an address of the host";
    return NULL;
}

int dial_start(const struct ip *ip, uint16_t port)
{
    struct sockaddr_storage to;
    socklen_t size = ip_to_sockaddr(ip, port, &to);
    _cleanup_close_ int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int on = 1;

    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    if (connect(fd, (const struct sockaddr *)&to, size) < 0 && errno != EINPROGRESS)
        return -1;
    return TAKE_FD(fd);
}

int dial_result(int fd)
{
    socklen_t size = sizeof(int);
    int error = 0;

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error;
}
