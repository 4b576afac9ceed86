/*
 * port_link.h - the daemon's HTTP connections to one port of a running sandbox.
 *
 * A socket belongs to the network namespace it was made in, so each is made by berm-spawn inside the sandbox's and
 * reaches what listens on its loopback, by IPv4 or IPv6; nothing else of the sandbox or the host is touched. The
 * daemon asks for the socket before it starts a call and puts it by here; a call that finds a kept connection
 * leaves it for the next one. Owned by the agent_link of the same instance, and closed with it.
 */
#pragma once

#include "net/client.h"

struct port_link;

struct port_link *port_link_new(struct loop *loop, uint16_t port, struct port_link *next);
/* Fails the calls in flight. Not inside a callback of its client. */
void port_link_free(struct port_link *link);
struct port_link *port_link_next(const struct port_link *link);
uint16_t port_link_port(const struct port_link *link);
struct http_client *port_link_client(struct port_link *link);

/* Whether a socket is put by, so that a call can be started. */
bool port_link_ready(const struct port_link *link);
/* The address family of the socket to ask for. */
int port_link_family(const struct port_link *link);
/* Takes a fresh stream socket of the sandbox's namespace; one of the other family, which has been asked for before,
 * is closed. */
void port_link_give(struct port_link *link, int fd);
