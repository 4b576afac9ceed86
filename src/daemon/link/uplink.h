/*
 * uplink.h - the daemon's side of its link to an edge (edge.link), by which the world reaches it behind NAT.
 *
 * Theory of operation. berm-link dials the edge, makes sure that it is who its certificate says, and keeps the
 * link up; bermd only gets the streams that the edge opens, as sockets (wire.h). An HTTP server of its own serves
 * them, and that one knows two things: the edge's own questions, which come under a Host that no name of a
 * browser's can be ("berm-link"), and previews and tunnels under the names that the edge gave this daemon. There is
 * no way from it to the API, the console, MCP or the Docker socket, whatever a request says, so that an edge that
 * was taken over reaches nothing that it could not have asked a browser for.
 *
 *   POST /berm/link/v1/hello    -> {"key", "version", "links"}: whose daemon this is, how many links it knows of
 *   PUT  /berm/link/v1/host     {"name", "url"}: the daemon is called <label>-<name>.<domain of url> from now on
 *   POST /berm/link/v1/refused  {"reason"}: the edge will not serve us
 *
 * The name belongs to the key, so it is the same after every restart of either side; it is also kept in the store,
 * so that URLs are known while there is no link.
 */
#pragma once

#include "daemon/edge/name.h"
#include "daemon/link/helper.h"

struct config;
struct daemon;
struct json_writer;
struct uplink;

/* --- while root --- */

struct uplink_start {
    struct link_helper helper;
    char *key; /* of edge.link_key; NULL: no edge.link */
};

/* Reads the key, starts berm-link. Nothing without edge.link. */
int uplink_prepare(const struct config *config, struct uplink_start *ret, struct berm_error *err);

/* --- after that --- */

/* Takes over what is in `start`. After the edge and the store. 0 with *ret NULL without edge.link. */
int uplink_new(struct daemon *daemon, struct uplink_start *start, struct uplink **ret, struct berm_error *err);
/* Ends the requests that came over it. NULL is allowed in these. */
void uplink_free(struct uplink *uplink);
/* Takes no more streams; on_idle when those open have ended and the edge knows. Comes from the loop. */
void uplink_drain(struct uplink *uplink, void (*on_idle)(void *data), void *data);

/* For GET /v1/link and the metrics. */
struct uplink_status {
    const char *state;      /* connecting, authenticating, refused, up, broken */
    const char *transport;  /* quic, h2; NULL: no link */
    const char *peer;       /* the edge's address; NULL */
    const char *name, *url; /* what the edge calls us, below what; NULL: it has never said */
    const char *error;      /* why the last try or link ended; NULL */
    int64_t since_ms;       /* of the state; Unix time */
    uint64_t links_total, streams_total;
    uint32_t streams_open;
};
void uplink_get_status(const struct uplink *uplink, struct uplink_status *ret);
