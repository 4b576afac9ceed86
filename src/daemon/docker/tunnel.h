/*
 * tunnel.h - one connection of a client into the network namespace of a container's sandbox: a socket made there by
 * berm-spawn, connected to a port of the sandbox's loopback, and bytes both ways until both have ended.
 */
#pragma once

#include "daemon/docker/engine.h"

/*
 * Takes over `client`, a connected non-blocking socket; `early` are bytes that it has sent already, for the
 * sandbox. With `connect` the client waits for the answer to a CONNECT: 200, 400 when nobody listens, 502, 503.
 * Else it is closed when there is no way.
 */
void tunnel_open(struct container *container, int client, uint16_t port, struct str early, bool connect);
void tunnels_free(struct docker *docker);
