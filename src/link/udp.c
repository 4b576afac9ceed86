#include "link/udp.h"

#include <netinet/ip.h>
#include <netinet/udp.h>

#define PACKET_MAX   ((size_t)65536)
#define SOCKET_BYTES (4 << 20) /* cut to what the system allows; some ms at full speed */

/* Missing in libc's headers where they are older than the kernel. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

union control {
    struct cmsghdr align;
    char bytes[128];
};

/* --- options --- */

static void set(int fd, int level, int option, int value)
{
    setsockopt(fd, level, option, &value, sizeof(value)); /* each makes things better, none is needed */
}

/*
 * PROBE: packets are not cut on their way, and what routers say about sizes is not believed, for anybody could send
 * it: QUIC finds out the size by packets that are acknowledged or not.
 */
static void set_options(const struct udp_socket *s)
{
    set(s->fd, SOL_SOCKET, SO_RCVBUF, SOCKET_BYTES);
    set(s->fd, SOL_SOCKET, SO_SNDBUF, SOCKET_BYTES);
    set(s->fd, SOL_UDP, UDP_GRO, 1);
    set(s->fd, SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    set(s->fd, SOL_IP, IP_RECVTOS, 1);
    if (s->local.any.sa_family == AF_INET6) {
        set(s->fd, SOL_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
        set(s->fd, SOL_IPV6, IPV6_RECVTCLASS, 1);
    }
    if (s->connected)
        return;
    if (s->local.any.sa_family == AF_INET6)
        set(s->fd, SOL_IPV6, IPV6_RECVPKTINFO, 1);
    else
        set(s->fd, SOL_IP, IP_PKTINFO, 1);
}

int udp_init(struct udp_socket *s, int fd)
{
    struct link_address remote = { .len = sizeof(remote.v6) };
    int saved;

    *s = (struct udp_socket){ .fd = fd, .local.len = sizeof(s->local.v6) };
    s->connected = getpeername(fd, &remote.any, &remote.len) == 0;
    if (getsockname(fd, &s->local.any, &s->local.len) == 0 &&
        (s->local.any.sa_family == AF_INET || s->local.any.sa_family == AF_INET6)) {
        set_options(s);
        return 0;
    }
    saved = errno;
    udp_close(s);
    errno = saved;
    return -1;
}

void udp_close(struct udp_socket *s)
{
    close_fd(&s->fd);
}

int udp_connect(const struct link_address *remote)
{
    _cleanup_close_ int fd = socket(remote->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || connect(fd, &remote->any, remote->len) < 0)
        return -1;
    return TAKE_FD(fd);
}

bool address_equal(const struct link_address *a, const struct link_address *b, bool with_port)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    if (a->any.sa_family == AF_INET)
        return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr && (!with_port || a->v4.sin_port == b->v4.sin_port);
    return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0 &&
           a->v6.sin6_scope_id == b->v6.sin6_scope_id && (!with_port || a->v6.sin6_port == b->v6.sin6_port);
}

/* --- reading --- */

/* Fills what the message says besides its bytes: the size of each packet of the train is returned. */
static size_t read_control(struct msghdr *message, struct udp_packet *packet, size_t n)
{
    size_t size = n;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        const unsigned char *data = CMSG_DATA(c);
        struct in_pktinfo info;
        struct in6_pktinfo info6;
        int number;

        if (c->cmsg_level == SOL_IP && c->cmsg_type == IP_TOS) {
            packet->ecn = data[0] & IPTOS_ECN_MASK;
        } else if (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_TCLASS) {
            memcpy(&number, data, sizeof(number));
            packet->ecn = (uint8_t)(number & IPTOS_ECN_MASK);
        } else if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
            memcpy(&number, data, sizeof(number));
            size = number > 0 ? (size_t)number : n;
        } else if (c->cmsg_level == SOL_IP && c->cmsg_type == IP_PKTINFO) {
            memcpy(&info, data, sizeof(info));
            /* What came before the option was set has its header's address only. Of a host they are the same. */
            packet->local.v4.sin_addr = info.ipi_spec_dst.s_addr ? info.ipi_spec_dst : info.ipi_addr;
        } else if (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            memcpy(&info6, data, sizeof(info6));
            packet->local.v6.sin6_addr = info6.ipi6_addr;
        }
    }
    return size;
}

bool udp_read(struct udp_socket *s, void (*each)(void *owner, const struct udp_packet *packet), void *owner)
{
    static uint8_t bytes[UDP_READS][PACKET_MAX];
    union control control[UDP_READS];
    struct link_address remote[UDP_READS];
    struct iovec parts[UDP_READS];
    struct mmsghdr messages[UDP_READS];
    int count;

    for (int i = 0; i < UDP_READS; i++) {
        parts[i] = (struct iovec){ bytes[i], PACKET_MAX };
        messages[i].msg_hdr = (struct msghdr){ .msg_name = &remote[i].any,
                                               .msg_namelen = sizeof(remote[i].v6),
                                               .msg_iov = &parts[i],
                                               .msg_iovlen = 1,
                                               .msg_control = &control[i],
                                               .msg_controllen = sizeof(control[i]) };
    }
    count = (int)RETRY_EINTR(recvmmsg(s->fd, messages, UDP_READS, MSG_DONTWAIT, NULL));
    if (count < 0 && errno == ECONNREFUSED)
        s->refused = true;
    for (int i = 0; i < count; i++) {
        struct msghdr *message = &messages[i].msg_hdr;
        struct udp_packet packet = { .local = s->local, .remote = remote[i] };
        size_t n = messages[i].msg_len, size = read_control(message, &packet, n);

        packet.remote.len = message->msg_namelen;
        if (message->msg_flags & (MSG_TRUNC | MSG_CTRUNC))
            continue;
        for (size_t at = 0; at < n; at += size) {
            packet.p = bytes[i] + at;
            packet.n = MIN(size, n - at);
            each(owner, &packet);
        }
    }
    return count == UDP_READS;
}

/* --- writing --- */

static void add_control(struct msghdr *message, int level, int type, const void *data, size_t n)
{
    struct cmsghdr *c = (struct cmsghdr *)(void *)((char *)message->msg_control + message->msg_controllen);

    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(n);
    memcpy(CMSG_DATA(c), data, n);
    message->msg_controllen += CMSG_SPACE(n);
}

/* An answer leaves from the address that was asked: the host may have several. */
static void add_source(struct msghdr *message, const struct link_address *local)
{
    if (local->any.sa_family == AF_INET) {
        struct in_pktinfo info = { .ipi_spec_dst = local->v4.sin_addr };
        add_control(message, SOL_IP, IP_PKTINFO, &info, sizeof(info));
    } else {
        struct in6_pktinfo info = { .ipi6_addr = local->v6.sin6_addr };
        add_control(message, SOL_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    }
}

static void add_ecn(struct msghdr *message, const struct link_address *remote, int ecn)
{
    if (remote->any.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&remote->v6.sin6_addr))
        add_control(message, SOL_IP, IP_TOS, &ecn, sizeof(ecn));
    else
        add_control(message, SOL_IPV6, IPV6_TCLASS, &ecn, sizeof(ecn));
}

static bool is_refused_train(int error)
{
    return error == EIO || error == EINVAL || error == EOPNOTSUPP;
}

/* One call: `n` bytes as a train if they are more than one packet. */
static int send_train(const struct udp_socket *s, const struct link_address *local,
                      const struct link_address *remote, uint8_t ecn, const uint8_t *p, size_t n, size_t size)
{
    union control control = { .bytes = { 0 } };
    struct iovec part = { (void *)(uintptr_t)p, n };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control };
    uint16_t segment = (uint16_t)size;

    if (!s->connected) {
        message.msg_name = (void *)(uintptr_t)&remote->any;
        message.msg_namelen = remote->len;
        add_source(&message, local);
    }
    if (ecn)
        add_ecn(&message, remote, ecn);
    if (n > size)
        add_control(&message, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment));
    if (message.msg_controllen == 0)
        message.msg_control = NULL;
    return RETRY_EINTR(sendmsg(s->fd, &message, MSG_DONTWAIT)) < 0 ? -1 : 0;
}

int udp_send(struct udp_socket *s, const struct link_address *local, const struct link_address *remote, uint8_t ecn,
             const uint8_t *p, size_t n, size_t size)
{
    size_t now;

    for (size_t gone = 0; gone < n; gone += now) {
        now = s->no_trains ? MIN(size, n - gone) : n - gone;
        if (send_train(s, local, remote, ecn, p + gone, now, size) == 0)
            continue;
        if (now > size && is_refused_train(errno)) {
            s->no_trains = true;
            now = 0;
        } else if (errno == ECONNREFUSED) {
            s->refused = true; /* that is about an earlier packet */
        } else if (errno != EMSGSIZE && errno != EAGAIN && errno != ENOBUFS) {
            return -1;
        }
    }
    return 0;
}
