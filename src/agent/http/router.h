/*
 * router.h - the table of routes, and the way from an HTTP exchange to a handler.
 */
#pragma once

#include "net/server.h"
#include "request.h"

#define BODY_MAX ((uint64_t)128 * 1024 * 1024)

enum {
    ROUTE_JSON = 1 << 0,          /* the body is JSON: collected, parsed, and an object, before the handler runs */
    ROUTE_JSON_OPTIONAL = 1 << 1, /* with ROUTE_JSON: a missing or bad body is no body */
    ROUTE_INTERNAL = 1 << 2,      /* only for connections of the inherited unix socket; a 404 for others */
    ROUTE_STREAM = 1 << 3,        /* the handler runs when the head is there and takes the body itself */
    ROUTE_UPGRADE = 1 << 4        /* only for requests that ask for a WebSocket; a 404 for others */
};

struct route {
    const char *method;
    const char *path; /* a segment "{id}" matches any one segment, also an empty one */
    unsigned flags;
    void (*handle)(struct request *rq);
};

/* What the HTTP server is given; its data is the agent. */
struct http_handler router_handler(struct agent *agent);
