/*
 * side.h - the interceptor side container that workerd puts beside each of its containers. Upstream it is a process
 * of its own that shares the container's network namespace; here it is these endpoints of the daemon:
 *
 *   CONNECT 127.0.0.1:PORT   a tunnel to that port of the container that runs in its network
 *   PUT /egress              where and how the container's outgoing connections go
 *   GET /ca                  the certificate that intercepted TLS is signed with, PEM
 *
 * on a loopback port of the host, which GET /containers/X/json tells as that of 39001/tcp.
 */
#pragma once

#include "daemon/docker/engine.h"

/* What workerd said about outgoing connections. */
struct side_egress {
    bool known;
    uint16_t port;         /* of workerd's listener on the host's loopback, 0: none */
    bool internet;         /* connections that it does not want may go out */
    char *allow_hostnames; /* JSON array of names that resolve although nobody knows them; owned; NULL: none */
};

/* Makes `container` one, of the create request's Cmd. */
int side_create(struct container *container, const struct json *body, struct berm_error *err);
void side_free(struct side *side); /* NULL is allowed */
void side_write_ports(struct json_writer *w, const struct side *side);
void side_list_ports(struct json_writer *w, const struct side *side);

/*
 * A side container lives in memory, but what it was told must survive the daemon: the container beside it carries
 * it in its labels, and brings it back.
 */
void side_write_labels(struct json_writer *w, const struct container *container);
int side_restore(struct container *container, const struct json *labels);

/* The side container in whose network `container` is, or NULL. */
struct container *side_beside(const struct container *container);
const struct side_egress *side_egress(const struct side *side);
