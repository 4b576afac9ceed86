/*
 * port_probe.h - one look at a port of this machine's loopback: does something listen, and what does it answer to
 * GET? Either address family will do. Whoever listens is not trusted: the whole look takes 5 s at most, a head 64
 * KiB, and 20 redirects are followed, only to plain HTTP on loopback. A redirect that leads elsewhere is the answer
 * itself.
 */
#pragma once

#include "base/loop.h"
#include "port_head.h"

enum port_result {
    PORT_CLOSED,   /* nobody listens */
    PORT_OPEN,     /* tcp: accepted; http: answered, with a status */
    PORT_NO_ANSWER /* http: something listens, but no answer was to be had; tcp: no answer to the connect */
};

struct port_probe {
    struct loop *loop;
    bool http;
    unsigned port; /* of the current hop */
    unsigned hops;
    unsigned family; /* which of the two addresses */
    int fd;
    bool sending;
    struct loop_io io;
    struct loop_timer deadline;
    struct buf target; /* of the current hop */
    struct buf out, head;
    int status;
    enum port_result result;
    struct loop_deferred report;
    void (*on_result)(struct port_probe *probe, enum port_result result, int status);
};

void port_probe_init(struct port_probe *probe, struct loop *loop);
/* on_result follows once, never from inside. `target` is origin-form (http only). */
void port_probe_start(struct port_probe *probe, unsigned port, bool http, struct str target);
void port_probe_cancel(struct port_probe *probe); /* idempotent; frees what it holds */
