/* a2_sockets.c - every socket family and type, and every netlink protocol. What the filter must leave is UNIX,
 * INET, INET6 and NETLINK with protocol ROUTE; those are not items. */
#include "probe.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

static long make_socket(int family, int type, int protocol)
{
    int fd = socket(family, type | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return -errno;
    close(fd);
    return fd;
}

/* A protocol with which the family's socket can be made at all, where 0 is none. */
static int protocol_of(int family)
{
    switch (family) {
    case AF_CAN:
        return 1; /* CAN_RAW */
    case AF_PACKET:
        return 0x0300; /* ETH_P_ALL in network order */
    default:
        return 0;
    }
}

static void run_families(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    static const int types[] = { SOCK_STREAM,    SOCK_DGRAM,   SOCK_RAW, SOCK_RDM,
                                 SOCK_SEQPACKET, 6 /* DCCP */, 10 /* PACKET */ };
    for (int family = 0; family < 64; family++) {
        if (family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK)
            continue;
        long best = -EAFNOSUPPORT;
        for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
            long result = make_socket(family, types[i], protocol_of(family));
            if (result >= 0 || best == -EAFNOSUPPORT)
                best = result;
        }
        outcome(best, "family %d", family);
    }
}

/* Raw and packet sockets of the allowed families. */
static void run_raw(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    static const struct {
        int family, type, protocol;
        const char *name;
    } rows[] = {
        { AF_INET, SOCK_RAW, 1, "inet raw icmp" },
        { AF_INET, SOCK_RAW, 6, "inet raw tcp" },
        { AF_INET, SOCK_RAW, 255, "inet raw raw" },
        { AF_INET6, SOCK_RAW, 58, "inet6 raw icmp" },
        { AF_INET, SOCK_SEQPACKET, 132, "inet sctp" },
        { AF_INET, SOCK_STREAM, 132, "inet sctp stream" },
        { AF_INET, 6, 33, "inet dccp" },
        { AF_INET, SOCK_STREAM, 262, "inet mptcp" },
        { AF_INET, 10, 3, "inet packet" },
        { AF_INET, SOCK_DGRAM, 136, "inet udplite" },
        { AF_INET, SOCK_STREAM, 256, "inet smc" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        outcome(make_socket(rows[i].family, rows[i].type, rows[i].protocol), "%s", rows[i].name);
}

static void run_netlink(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    for (int protocol = 0; protocol < 32; protocol++)
        if (protocol != NETLINK_ROUTE)
            outcome(make_socket(AF_NETLINK, SOCK_RAW, protocol), "netlink protocol %d", protocol);
    outcome(make_socket(AF_NETLINK, SOCK_DGRAM, NETLINK_XFRM), "netlink xfrm as datagram");
}

/* The kernel makes both sockets before it finds that their family has no pairs: EOPNOTSUPP means that it came that
 * far. */
static void run_pairs(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    static const struct {
        int family, type, protocol;
    } rows[] = { { 17 /* PACKET */, SOCK_RAW, 0 },
                 { 30 /* TIPC */, SOCK_STREAM, 0 },
                 { 40 /* VSOCK */, SOCK_STREAM, 0 },
                 { AF_NETLINK, SOCK_RAW, NETLINK_XFRM },
                 { AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int fds[2];
        long result = sys_result(socketpair(rows[i].family, rows[i].type, rows[i].protocol, fds));
        outcome(result == -EOPNOTSUPP ? 0 : result, "socketpair of family %d, protocol %d", rows[i].family,
                rows[i].protocol);
    }
}

const struct probe probes_a2[] = {
    { "A2-families", "sockets of families that a sandbox has no use for", run_families },
    { "A2-raw", "raw sockets and rare transports of the allowed families", run_raw },
    { "A2-netlink", "netlink protocols other than ROUTE", run_netlink },
    { "A2-pairs", "families by socketpair", run_pairs },
    { 0 },
};
