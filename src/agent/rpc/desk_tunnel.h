/*
 * desk_tunnel.h - a quick tunnel that the daemon makes (base/desk.h): a name of the daemon's own edge.
 *
 * It is asked for by the id that it keeps, so that what was asked again after a lost answer is the same one. That
 * it has ended by somebody else's doing is heard by a request that waits for it; while no daemon is there to answer
 * it is taken to go on, and asked for again later.
 */
#pragma once

#include "base/error.h"

struct agent;
struct desk_tunnel;

enum desk_end {
    DESK_ENDED,     /* or never began: `reason` */
    DESK_CONFLICT,  /* another one has the port */
    DESK_ELSEWHERE, /* the daemon leaves it to cloudflared */
    DESK_MISSING,   /* the daemon would have cloudflared do it, and there is none */
};

struct desk_tunnel_events {
    void (*on_ready)(void *data); /* at most once */
    /* Once, last; it is gone after it. */
    void (*on_end)(enum desk_end end, const char *reason, void *data);
};

/* NULL with *err; no callback comes then, and none before it returns. */
struct desk_tunnel *desk_tunnel_start(struct agent *agent, const char *id, int port,
                                      const struct desk_tunnel_events *events, void *data, struct berm_error *err);
/* on_end comes once the daemon has said so. */
void desk_tunnel_stop(struct desk_tunnel *t);
const char *desk_tunnel_url(const struct desk_tunnel *t); /* "" until it is ready */
