/* connector_internal.h - between connector.c (the wire, the token's cloudflared, the server) and
 * connector_tunnels.c (quick tunnels). */
#pragma once

#include "base/connector_wire.h"
#include "base/loop.h"
#include "daemon/daemon.h"
#include "daemon/link/connector.h"

struct quick {
    struct connector *connector;
    struct list node;
    uint32_t run;
    struct edge_row row;      /* what it is to be; its secret is not known yet */
    struct edge_route *route; /* once it is ready */
    struct list waits;        /* struct tunnel_wait */
    bool stopping;            /* nobody finds it any more; its process is ending */
};

struct connector {
    struct daemon *daemon;
    struct loop_io wire; /* not active once berm-connector is gone */
    struct link_helper helper;
    struct http_server *server;
    char *token;
    uint32_t last_run;
    char error[128];
    int64_t since_ms;
    uint64_t links_total;

    struct list quicks;
    unsigned quick_count;

    uint32_t main_run; /* of the token's cloudflared; 0: none runs */
    bool main_ready;

    /* After a failure: of the token's, or of any quick one. */
    struct loop_timer retry;
    uint32_t pause_ms;
    bool missing; /* it was that there is no program */
    uint64_t next_try_ms, steady_from_ms;

    bool draining;
};

/* 0: it is not there any more. `token` NULL: a quick tunnel. */
uint32_t connector_start_run(struct connector *connector, const char *token);
void connector_stop_run(struct connector *connector, uint32_t run);
bool connector_alive(const struct connector *connector);
/* What an end means in words; also kept for the status. */
void connector_failed(struct connector *connector, enum connector_reason reason, int code);

/* What berm-connector says of a quick tunnel. False: there is no such run. */
bool quick_ready(struct connector *connector, uint32_t run, const char *label);
bool quick_ended(struct connector *connector, uint32_t run, enum connector_reason reason, int code);
/* berm-connector is gone, or we are. */
void quick_end_all(struct connector *connector);
