#include "namespaces.h"

#include "base/sys.h"

#include <fcntl.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Going on in a sandbox's namespace would start the next sandbox in the wrong one: better a restart. */
static void go_home(int home_fd, int kind)
{
    int saved = errno;

    if (setns(home_fd, kind) < 0)
        abort();
    errno = saved;
}

/* `set_up`, in the new one, may be NULL; 0, or -1 with errno. */
static int new_namespace(int kind, const char *path, int home_fd, int (*set_up)(void *data), void *data)
{
    int fd = -1;

    if (unshare(kind) < 0)
        return -1;
    if (!set_up || set_up(data) == 0)
        fd = open(path, O_RDONLY | O_CLOEXEC);
    go_home(home_fd, kind);
    return fd;
}

int ipcns_new(int home_fd)
{
    return new_namespace(CLONE_NEWIPC, "/proc/thread-self/ns/ipc", home_fd, NULL, NULL);
}

/* --- network --- */

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
static int set_up_network(void *ret_egress)
{
    if (raise_loopback() < 0 ||
        write_small_file(AT_FDCWD, "/proc/sys/net/ipv4/ip_unprivileged_port_start", "0") < 0 ||
        write_small_file(AT_FDCWD, "/proc/sys/net/ipv4/tcp_congestion_control", TCP_LOOPBACK_CONTROL) < 0)
        return -1;
    return ret_egress ? egress_set_up(ret_egress) : 0;
}

int netns_new(int home_fd, struct egress_sockets *ret_egress)
{
    int fd, saved;

    if (ret_egress)
        *ret_egress = (struct egress_sockets){ -EBADF, -EBADF };
    fd = new_namespace(CLONE_NEWNET, "/proc/thread-self/ns/net", home_fd, set_up_network, ret_egress);
    if (fd >= 0 || !ret_egress)
        return fd;
    saved = errno;
    egress_close(ret_egress);
    errno = saved;
    return -1;
}

int netns_renew_egress(int pidfd, int home_fd, bool any_port, struct egress_sockets *ret)
{
    int rc;

    if (setns(pidfd, CLONE_NEWNET) < 0)
        return -1;
    rc = egress_renew(ret, any_port);
    go_home(home_fd, CLONE_NEWNET);
    return rc;
}

int netns_socket(int pidfd, int home_fd, int family, int type)
{
    int fd;

    if (setns(pidfd, CLONE_NEWNET) < 0)
        return -1;
    fd = socket(family, type | SOCK_CLOEXEC, 0);
    go_home(home_fd, CLONE_NEWNET);
    return fd;
}
