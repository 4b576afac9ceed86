/*
 * passage.h - a client's connection and a sandbox's that have both left HTTP (net/passages.h). It keeps the sandbox
 * awake; it ends with the run of the sandbox that it was opened to, whose sockets close then. There are at most
 * server.max_connections of them, beside as many that speak HTTP, and of one client server.max_connections_peer.
 */
#pragma once

#include "daemon/api/api.h"

/* Whether the request's client may have another one; else it is answered. */
bool passage_allowed(struct request *request);

/*
 * For proxy.c: the answer to request->proxy.call is a 101 with `head`. Answers the client with it and joins the
 * two, or fails the request; in either case the call is over.
 */
void passage_open(struct request *request, const struct h1_head *head);
