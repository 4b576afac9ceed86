/*
 * connector.h - tunnels through Cloudflare's edge (edge.connector = cloudflared), by cloudflareds that a
 * berm-connector runs (base/connector_wire.h).
 *
 * Theory of operation. Without a token of Cloudflare's (edge.cloudflared_token) each quick tunnel is a cloudflared
 * of its own, with the name that Cloudflare gives it: it is opened when it is asked for, blocks until Cloudflare
 * reaches it, and is gone when its process is, whoever ended it; nobody starts it again but the next who asks,
 * since it would have another name. It is in no store, because its process ends with the daemon. With a token one
 * cloudflared serves all names below edge.url, which the operator has led to that tunnel at Cloudflare; it is
 * started again when it ends, after a pause that grows.
 *
 * All come by one listener on the loopback that has a server of its own, which knows previews and tunnels and no
 * way to the API: what Cloudflare, or whoever is on this machine, asks there is what a browser could have asked.
 * Without a token it knows only the names that Cloudflare has given.
 */
#pragma once

#include "base/list.h"
#include "daemon/edge/routes.h"
#include "daemon/link/helper.h"

struct connector;

/* --- while root --- */

struct connector_start {
    struct link_helper helper;
    int listener; /* -EBADF: there is no connector */
    char *token;  /* NULL: quick tunnels only */
};

int connector_prepare(const struct config *config, struct connector_start *ret, struct berm_error *err);

/* --- after that --- */

/* Takes over what is in `start`. After the edge. 0 with *ret NULL without edge.connector. */
int connector_new(struct daemon *daemon, struct connector_start *start, struct connector **ret,
                  struct berm_error *err);
void connector_free(struct connector *connector); /* NULL is allowed */
/* Takes no more requests; on_idle when those open have ended. */
void connector_drain(struct connector *connector, void (*on_idle)(void *data), void *data);

/* Who waits for a tunnel, part of what he is. list_remove() of `node` forgets him. */
struct tunnel_wait {
    struct list node;
    void (*done)(struct tunnel_wait *wait, const struct edge_route *route, const struct berm_error *err);
};

/*
 * A tunnel of whoever makes them here: the connector (NULL: there is none), or the edge itself. 0: *ret is it. 1:
 * `wait` hears of it. -1 with *err, whose errnum is ENOENT without a cloudflared.
 */
int connector_open_tunnel(struct connector *connector, struct edge *edge, const struct edge_wish *wish,
                          struct tunnel_wait *wait, struct edge_route **ret, struct berm_error *err);
/* In these three, `connector` may be NULL. Of one that is not there yet: who waits for it hears that. */
void connector_cancel_tunnel(struct connector *connector, struct str sandbox, uint16_t port);
/* The run of a sandbox is over. */
void connector_end_tunnels(struct connector *connector, struct str sandbox);
/* A route of a tunnel here is no more. */
void connector_route_gone(struct connector *connector, const struct edge_route *route);

struct connector_status {
    const char *state;  /* connecting, up, broken */
    const char *error;  /* why the last cloudflared ended, or was not there; NULL */
    unsigned processes; /* cloudflareds */
    unsigned streams_open;
    uint64_t streams_total; /* requests */
    uint64_t links_total;   /* how often Cloudflare has reached us anew */
    int64_t since_ms;       /* of the state */
};
void connector_get_status(const struct connector *connector, struct connector_status *ret);
