#include "namespaces.h"

#include "base/sys.h"

#include <fcntl.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int raise_loopback(void)
{
    _cleanup_close_ int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

    return sock < 0 ? -1 : ioctl(sock, SIOCSIFFLAGS, &request);
}

/*
 * No capability over this namespace exists inside, so low ports are opened to all instead. And whatever the host
 * sends to the internet with, here is nothing but a loopback (see socket_unpace()).
 */
static int configure_and_open(struct egress_sockets *ret_egress)
{
    if (raise_loopback() < 0 ||
        write_small_file(AT_FDCWD, "/proc/sys/net/ipv4/ip_unprivileged_port_start", "0") < 0 ||
        write_small_file(AT_FDCWD, "/proc/sys/net/ipv4/tcp_congestion_control", TCP_LOOPBACK_CONTROL) < 0)
        return -1;
    if (ret_egress && egress_set_up(ret_egress) < 0)
        return -1;
    return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

int netns_new(int home_fd, struct egress_sockets *ret_egress)
{
    _cleanup_close_ int fd = -EBADF;
    int saved;

    if (ret_egress)
        *ret_egress = (struct egress_sockets){ -EBADF, -EBADF };

    if (unshare(CLONE_NEWNET) < 0)
        return -1;
    fd = configure_and_open(ret_egress);
    saved = errno;
    if (setns(home_fd, CLONE_NEWNET) == 0 && fd >= 0)
        return TAKE_FD(fd);
    if (ret_egress)
        egress_close(ret_egress);
    errno = fd < 0 ? saved : errno;
    return -1;
}

/* Going on in a sandbox's namespace would start the next sandbox with the wrong network: better a restart. */
static void go_home(int home_fd)
{
    int saved = errno;

    if (setns(home_fd, CLONE_NEWNET) < 0)
        abort();
    errno = saved;
}

int netns_renew_egress(int pidfd, int home_fd, bool any_port, struct egress_sockets *ret)
{
    int rc;

    if (setns(pidfd, CLONE_NEWNET) < 0)
        return -1;
    rc = egress_renew(ret, any_port);
    go_home(home_fd);
    return rc;
}

int netns_socket(int pidfd, int home_fd, int family, int type)
{
    int fd;

    if (setns(pidfd, CLONE_NEWNET) < 0)
        return -1;
    fd = socket(family, type | SOCK_CLOEXEC, 0);
    go_home(home_fd);
    return fd;
}
