/*
 * passage.h - a client's connection and a sandbox's that have both left HTTP: bytes both ways, with back-pressure
 * both ways, until either ends. It keeps the sandbox awake; it ends with the run of the sandbox that it was opened
 * to, whose sockets close then. There are at most server.max_connections of them, beside as many that speak HTTP.
 */
#pragma once

#include "daemon/api/api.h"

void passages_init(struct daemon *daemon);
/* Closes all. Before the registry goes. */
void passages_free(struct daemon *daemon);

/*
 * For proxy.c: the answer to request->proxy.call is a 101 with `head`. Answers the client with it and joins the
 * two, or fails the request; in either case the call is over.
 */
void passage_open(struct request *request, const struct h1_head *head);
