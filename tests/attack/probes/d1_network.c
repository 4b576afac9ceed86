/* d1_network.c - `D1-connect ADDRESS:PORT...`: who can be talked to by TCP and UDP, and who can make a way there.
 */
#include "probe.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/route.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* On a busy machine a reset is late, and so is an answer; where there is neither, little is lost. */
enum { CONNECT_MS = 15000, RESET_MS = 30000, DATAGRAMS = 3 };

struct address {
    struct sockaddr_storage storage;
    socklen_t length;
};

/* "[2001:db8::1]:80", "192.0.2.1:80". */
static struct address parse(const char *text)
{
    struct address address = { 0 };
    char host[64];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof host)
        broken("not ADDRESS:PORT: %s", text);
    in_port_t port = htons((uint16_t)atoi(colon + 1));
    bool six = text[0] == '[';
    size_t length = (size_t)(colon - text) - (six ? 2 : 0);
    memcpy(host, text + (six ? 1 : 0), length);
    host[length] = '\0';
    struct sockaddr_in *in = (void *)&address.storage;
    struct sockaddr_in6 *in6 = (void *)&address.storage;
    int valid;
    if (six) {
        *in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = port, .sin6_scope_id = 1 };
        valid = inet_pton(AF_INET6, host, &in6->sin6_addr);
        if (!IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
            in6->sin6_scope_id = 0;
        address.length = sizeof *in6;
    } else {
        *in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = port };
        valid = inet_pton(AF_INET, host, &in->sin_addr);
        address.length = sizeof *in;
    }
    if (valid != 1)
        broken("not an address: %s", host);
    return address;
}

/*
 * Every connection of a sandbox is taken by the daemon's listener, and what the policy refuses is reset after that.
 * So one that stands is reached only if no reset comes. Who serves says something, and is not waited for.
 */
static long await_reset(int fd)
{
    struct pollfd poller = { .fd = fd, .events = POLLIN };
    char byte;
    if (poll(&poller, 1, RESET_MS) <= 0)
        return 0;
    return recv(fd, &byte, 1, 0) < 0 ? -errno : 0;
}

static long connect_tcp(const struct address *address)
{
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    long result = sys_result(connect(fd, (const struct sockaddr *)&address->storage, address->length));
    if (result == -EINPROGRESS) {
        struct pollfd poller = { .fd = fd, .events = POLLOUT };
        int error = ETIMEDOUT;
        socklen_t length = sizeof error;
        if (poll(&poller, 1, CONNECT_MS) > 0)
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
        result = -error;
    }
    if (result == 0)
        result = await_reset(fd);
    close(fd);
    return result;
}

/* Without an answer nothing is reached: the listener of the control run echoes. A route that does not exist says so
 * at once. A busy kernel may drop a datagram. */
static long talk_udp(const struct address *address)
{
    int fd = socket(address->storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    long result = sys_result(connect(fd, (const struct sockaddr *)&address->storage, address->length));
    for (int i = 0; (result == 0 && i == 0) || (result == -ETIMEDOUT && i < DATAGRAMS); i++) {
        struct pollfd poller = { .fd = fd, .events = POLLIN };
        char buf[16];
        result = sys_result(send(fd, "berm", 4, 0));
        if (result >= 0)
            result = poll(&poller, 1, CONNECT_MS / DATAGRAMS) > 0 ? sys_result(recv(fd, buf, sizeof buf, 0))
                                                                  : -ETIMEDOUT;
    }
    close(fd);
    return result;
}

static void run_connect(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        struct address address = parse(argv[i]);
        outcome(connect_tcp(&address), "tcp %s", argv[i]);
    }
}

static void run_udp(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        struct address address = parse(argv[i]);
        outcome(talk_udp(&address), "udp %s", argv[i]);
    }
}

static void run_unix(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        if (strlen(argv[i]) >= sizeof address.sun_path)
            broken("path too long");
        strcpy(address.sun_path, argv[i]);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        outcome(sys_result(connect(fd, (struct sockaddr *)&address, sizeof address)), "unix %s", argv[i]);
        close(fd);
    }
}

static int bound_socket(int type, in_port_t port)
{
    int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0), off = 0, on = 1;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = port };
    if (bind(fd, (struct sockaddr *)&any, sizeof any) < 0)
        broken("bind: %s", errno_name(errno));
    return fd;
}

static void serve_stream(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    (void)send(fd, "x", 1, MSG_NOSIGNAL);
    close(fd);
}

static void serve_datagram(int fd)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    char buf[16];
    ssize_t got = recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&peer, &length);
    if (got >= 0)
        sendto(fd, buf, (size_t)got, 0, (struct sockaddr *)&peer, length);
}

/* Greets by TCP and answers by UDP, on every address, in the background: it returns once that works. */
static void run_serve(int argc, char **argv)
{
    in_port_t port = htons((uint16_t)number_argument(argc, argv, 0, "a port"));
    int stream = bound_socket(SOCK_STREAM, port), datagram = bound_socket(SOCK_DGRAM, port);
    if (listen(stream, 64) < 0)
        broken("listen: %s", errno_name(errno));
    reached("listening", "port %s", argv[0]);
    pid_t pid = fork();
    if (pid != 0)
        return;
    setsid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    struct pollfd pollers[] = { { .fd = stream, .events = POLLIN }, { .fd = datagram, .events = POLLIN } };
    for (;;) {
        if (poll(pollers, 2, -1) < 0)
            continue;
        if (pollers[0].revents)
            serve_stream(stream);
        if (pollers[1].revents)
            serve_datagram(datagram);
    }
}

static long attempt_address(void *arg)
{
    (void)arg;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = { 0 };
    strcpy(request.ifr_name, "lo:9");
    struct sockaddr_in *in = (void *)&request.ifr_addr;
    in->sin_family = AF_INET;
    inet_pton(AF_INET, "10.99.99.99", &in->sin_addr);
    return sys_result(ioctl(fd, SIOCSIFADDR, &request));
}

static long attempt_route(void *arg)
{
    (void)arg;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char device[] = "lo";
    struct rtentry route = { .rt_flags = RTF_UP, .rt_dev = device };
    ((struct sockaddr_in *)&route.rt_dst)->sin_family = AF_INET;
    ((struct sockaddr_in *)&route.rt_genmask)->sin_family = AF_INET;
    return sys_result(ioctl(fd, SIOCADDRT, &route));
}

static long attempt_down(void *arg)
{
    (void)arg;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = { .ifr_flags = 0 };
    strcpy(request.ifr_name, "lo");
    return sys_result(ioctl(fd, SIOCSIFFLAGS, &request));
}

static long attempt_link(void *arg)
{
    (void)arg;
    struct {
        struct nlmsghdr header;
        struct ifinfomsg info;
        struct rtattr linkinfo, kind;
        char dummy[8];
    } request = {
        .header = { .nlmsg_len = sizeof request,
                    .nlmsg_type = RTM_NEWLINK,
                    .nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK },
        .info = { .ifi_family = AF_UNSPEC },
        .linkinfo = { .rta_len = 16, .rta_type = IFLA_LINKINFO },
        .kind = { .rta_len = 10, .rta_type = 1 /* IFLA_INFO_KIND */ },
        .dummy = "bridge",
    };
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0 || send(fd, &request, sizeof request, 0) < 0)
        return -errno;
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        char rest[256];
    } answer;
    if (recv(fd, &answer, sizeof answer, 0) < 0)
        return -errno;
    return answer.error.error;
}

static long attempt_tun(void *arg)
{
    (void)arg;
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
    strcpy(request.ifr_name, "probe%d");
    return sys_result(ioctl(fd, TUNSETIFF, &request));
}

static long attempt_port(void *arg)
{
    (void)arg; /* the agent's own port must not be stolen */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(3000) };
    return bind(fd, (struct sockaddr *)&in, sizeof in) < 0 ? -errno : sys_result(listen(fd, 8));
}

static void run_reconfigure(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    outcome(try_in_child(attempt_address, NULL, 30), "a further address");
    outcome(try_in_child(attempt_route, NULL, 30), "a default route");
    outcome(try_in_child(attempt_link, NULL, 30), "a further interface");
    outcome(try_in_child(attempt_tun, NULL, 30), "a tun interface");
    outcome(try_in_child(attempt_port, NULL, 30), "the agent's port");
    outcome(try_in_child(attempt_down, NULL, 30), "taking the loopback down");
}

const struct probe probes_d1[] = {
    { "D1-connect", "TCP to each ADDRESS:PORT", run_connect },
    { "D1-udp", "UDP to each ADDRESS:PORT, answered", run_udp },
    { "D1-serve", "listens on PORT in the background", run_serve },
    { "D1-unix", "unix sockets by PATH", run_unix },
    { "D1-reconfigure", "changing one's own network", run_reconfigure },
    { 0 },
};
