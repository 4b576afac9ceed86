/*
 * own_client.h - HTTP with our own server, for the transports that map their requests to routes: over a pair of
 * sockets whose other end the server adopts as it would a client. Internal routes cannot be reached by it.
 */
#pragma once

#include "net/client.h"

struct agent;

/* Made when it is first asked for; NULL without memory. */
struct http_client *own_client(struct agent *agent);
