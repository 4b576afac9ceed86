/*
 * mux.h - a protocol that carries several exchanges over one connection (HTTP/2), as the server sees it. Private to
 * src/net. Programs without it (the agent) need not link it.
 */
#pragma once

#include "base/base.h"

struct http_conn;
struct http_exchange;

struct http_mux_ops {
    /* Takes the connection over, which is in phase CONN_MUX from then on: 0 or -1. */
    int (*start)(struct http_conn *conn);
    /* Uses conn->input up, calls handlers, and sends what there is. */
    void (*drive)(struct http_conn *conn);
    /* When something must have happened; 0: never. Then, at that time. */
    uint64_t (*deadline)(const struct http_conn *conn);
    void (*on_deadline)(struct http_conn *conn);
    /* Closes what is left of the exchanges. Idempotent. */
    void (*free)(struct http_conn *conn);

    /* A whole head of HTTP/1.1, of an interim response (100) or the final one. */
    void (*head)(struct http_exchange *ex, struct str head);
    /* Gives up this exchange alone. */
    void (*reset)(struct http_exchange *ex);
    /* Sends the head of a 101, which says `fields`: a socket, or -1. */
    int (*upgrade)(struct http_exchange *ex, struct str head);
};
