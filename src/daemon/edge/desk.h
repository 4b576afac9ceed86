/*
 * desk.h - what a sandbox's own code, its agent above all, may ask of the daemon (base/desk.h): quick tunnels to
 * its own ports, and nothing else. What comes is hostile: bounded in connections, size, rate and number of tunnels.
 */
#pragma once

#include "base/base.h"

struct desk;
struct sandbox;

/* A connection of the sandbox, which is `data`; takes over the socket. For egress_set_desk(). */
void desk_take(int fd, void *data);
/* With the instance, whose it is. NULL is allowed. */
void desk_free(struct desk *desk);
/* A tunnel of its sandbox is no longer there. NULL is allowed. */
void desk_tunnel_gone(struct desk *desk, const char *id);
