/*
 * egress.h - the way out of a sandbox's network namespace, which ends at two sockets of the daemon's.
 *
 * Theory of operation. The namespace has `lo` and nothing else. A default route of type local makes every address
 * of the world one of its own, so that a packet for it comes back in on `lo`; there nft hands each TCP connection
 * to the listener by tproxy, whatever its destination was, and getsockname() of the accepted socket is what the
 * sandbox dialled. Datagrams for port 53 get another port on their way, on which the daemon's resolver listens, and
 * its answers get port 53 back: two stateless rewrites, no connection tracking. Everything else is refused, and the
 * policy of both chains is drop, so that without the daemon, or without its sockets, nothing goes anywhere.
 *
 * The namespace belongs to the initial user namespace: root inside can neither change rules, routes and addresses
 * nor make a transparent socket, and tproxy takes no other. Should code inside have taken the ports while no daemon
 * lived, the rules are replaced by ones for other ports.
 *
 * The sandbox's own loopback, 127.0.0.0/8 and ::1, is left alone, and so are its two addresses. Those are there
 * because libc looks up IPv4 or IPv6 names only for a host that has an address of the kind (AI_ADDRCONFIG).
 */
#pragma once

#include "base/base.h"

/* 192.0.0.0/29 is for hosts behind a translator (RFC 7335); the other one is a random unique local address. */
#define EGRESS_ADDRESS_4 "192.0.0.2"
#define EGRESS_ADDRESS_6 "fd5c:7be9:4d1f::2"
#define EGRESS_RESOLVER  "192.0.0.1" /* any address does; this one is nobody's */

struct egress_sockets {
    int tcp_fd; /* listening, transparent, dual stack where the host has IPv6 */
    int udp_fd; /* bound, transparent, likewise */
};

/*
 * In the namespace of the caller, which is new: rules first, then addresses and routes, so that it is never open.
 * -1 with errno.
 */
int egress_set_up(struct egress_sockets *ret);

/*
 * The sockets only, again, after those of before were closed. EADDRINUSE: somebody inside has a port; then call
 * with `any_port`, and ever after for this namespace: the rules are replaced by ones that lead to other ports
 * (which takes some ms, as the kernel waits until nobody uses the old ones).
 */
int egress_renew(struct egress_sockets *ret, bool any_port);
void egress_close(struct egress_sockets *sockets);
