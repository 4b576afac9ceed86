/* a9_page_cache.c - the doors of the page-cache writes of 2026 (CVE-2026-31431, -43284, -43500), not the bugs
 * behind them: an AEAD socket, XFRM netlink, RXRPC, and spliced file pages in a UDP socket that decapsulates ESP.
 */
#include "probe.h"

#include <fcntl.h>
#include <linux/if_alg.h>
#include <linux/netlink.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static long attempt_alg(void *arg)
{
    int fd = socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    struct sockaddr_alg address = { .salg_family = AF_ALG };
    strcpy((char *)address.salg_type, "aead");
    strcpy((char *)address.salg_name, arg);
    long result = sys_result(bind(fd, (struct sockaddr *)&address, sizeof address));
    return result == -ENOENT ? 0 : result; /* the family is there, that cipher is not */
}

static long attempt_rxrpc(void *arg)
{
    (void)arg;
    return sys_result(socket(33 /* AF_RXRPC */, SOCK_DGRAM | SOCK_CLOEXEC, AF_INET));
}

static long attempt_xfrm(void *arg)
{
    return sys_result(socket(AF_NETLINK, (int)(intptr_t)arg | SOCK_CLOEXEC, NETLINK_XFRM));
}

static long attempt_encap(void *arg)
{
    (void)arg;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int kind = UDP_ENCAP_ESPINUDP;
    return sys_result(setsockopt(fd, IPPROTO_UDP, UDP_ENCAP, &kind, sizeof kind));
}

static long attempt_key(void *arg)
{
    (void)arg;
    return sys_result(socket(AF_KEY, SOCK_RAW | SOCK_CLOEXEC, 2 /* PF_KEY_V2 */));
}

static long attempt_ulp(void *arg)
{
    (void)arg;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    long result = sys_result(setsockopt(fd, IPPROTO_TCP, 31 /* TCP_ULP */, "tls", 4));
    return result == -ENOTCONN ? 0 : result;
}

static void run_doors(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    outcome(try_in_child(attempt_alg, (void *)"gcm(aes)", 30), "AF_ALG gcm(aes)");
    outcome(try_in_child(attempt_alg, (void *)"authencesn(hmac(sha256),cbc(aes))", 30), "AF_ALG authencesn");
    outcome(try_in_child(attempt_rxrpc, NULL, 30), "AF_RXRPC");
    outcome(try_in_child(attempt_xfrm, (void *)SOCK_RAW, 30), "NETLINK_XFRM");
    outcome(try_in_child(attempt_xfrm, (void *)SOCK_DGRAM, 30), "NETLINK_XFRM datagram");
    outcome(try_in_child(attempt_key, NULL, 30), "AF_KEY");
    outcome(try_in_child(attempt_encap, NULL, 30), "UDP_ENCAP");
    outcome(try_in_child(attempt_ulp, NULL, 30), "TCP_ULP tls");
}

const struct probe probes_a9[] = {
    { "A9-page-cache", "the doors to page-cache writes", run_doors },
    { 0 },
};
