/*
 * tunnel.h - a tunnel of this sandbox, for the files that make it (tunnels.c) and that tell of it
 * (tunnel_answers.c).
 */
#pragma once

#include "methods.h"

struct cloudflared;
struct desk_tunnel;

struct waiter {
    struct waiter *next;
    struct capnweb_call *call;
    bool started; /* this call has */
};

struct tunnel {
    struct tunnel *prev, *next;
    struct agent *agent;
    char *id;
    char *run_id; /* NULL: of the legacy methods */
    char *token;  /* NULL: a quick one */
    int port;
    bool ready, stopping;
    char since[25];
    struct desk_tunnel *desk;         /* either the daemon makes it */
    struct cloudflared *process;      /* or this does */
    struct waiter *starting, *ending; /* calls */
};

struct wanted {
    struct str id, run_id, token;
    bool named;
    int port;
};

/* What a call that has opened it, or asked for it again, gets. */
struct capnweb_value tunnel_outcome(struct capnweb_call *call, const struct tunnel *t, bool started);
struct capnweb_value tunnel_info(struct capnweb_call *call, const struct tunnel *t);
/* Of stopTunnelRun, or of destroyTunnel. */
struct capnweb_value tunnel_ended(struct capnweb_call *call, const struct tunnel *t, bool of_run);
/* Answers: something else has its run id, tunnel id or port. */
void tunnel_reject_conflict(struct capnweb_call *call, const struct wanted *w, const struct tunnel *active);
void tunnel_reject_of(struct capnweb_call *call, struct str code, struct str message, struct str id);
/* Why a tunnel could not be had. */
struct tunnel_failure {
    int errnum; /* ENOENT: there is no cloudflared */
    bool conflict;
    const char *reason;
};
void tunnel_reject_start(struct capnweb_call *call, const struct tunnel *t, const struct tunnel_failure *why);
