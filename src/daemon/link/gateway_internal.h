/* gateway_internal.h - what the files of the edge share; private to gateway*.c. */
#pragma once

#include "base/hash.h"
#include "base/list.h"
#include "daemon/auth.h"
#include "daemon/edge/routes.h"
#include "daemon/launch.h"
#include "daemon/link/gateway.h"
#include "daemon/link/helper.h"
#include "daemon/link/keys.h"
#include "daemon/link/strikes.h"
#include "daemon/listen.h"
#include "daemon/sender.h"
#include "net/client.h"
#include "net/passages.h"

#define GATEWAY_HIGH_WATER ((size_t)256 << 10) /* of an answer, before its stream is paused */

enum far_state {
    FAR_ASKED,    /* for its key */
    FAR_TOLD,     /* its name */
    FAR_SERVING,  /* requests go to it */
    FAR_REFUSED,  /* being told why */
    FAR_DRAINING, /* its open requests end */
    FAR_CLOSED,   /* until berm-link says so too */
};

/* A link, and the daemon at its other end. */
struct far {
    struct list node;
    struct hash_node by_name; /* while SERVING */
    struct gateway *gateway;
    uint32_t number;
    enum link_transport transport;
    char peer[LINK_TEXT];
    enum far_state state;
    struct link_key key; /* from TOLD on */
    bool alone;          /* the daemon knows of no other link */
    int64_t since_ms;
    struct http_client *client; /* whose connections are streams */
    struct http_call *call;     /* of ours, while it is asked something */
    struct buf answer;
    int answer_status;
    struct loop_timer deadline;
    uint64_t streams_total, requests_total;
    uint32_t requests_open;
};

struct gateway_metrics {
    uint64_t requests[6]; /* by hundreds of the status; 0: aborted */
    uint64_t bytes_in, bytes_out;
    uint64_t links, refused, lost, streams, unreachable;
};

struct gateway {
    const struct config *config;
    struct launch launch;
    struct loop *loop;
    struct http_server *server;
    struct listeners listeners;
    struct trusted_proxies proxies;
    struct auth auth; /* of /metrics and /v1/links */
    struct edge_base base;
    struct link_keys keys;
    struct link_helper helper;
    struct link_wire *wire;
    struct list fars;
    struct hash_table by_name;
    unsigned fars_open, fars_unknown; /* all; those not SERVING yet */
    struct strikes strikes;
    struct passages passages;
    struct gateway_metrics metrics;
    int64_t started_ms;
    uint64_t next_request;
    struct loop_timer drain_timer;
    int manager_fd; /* of services, who is told; -EBADF: none */
    bool draining, server_idle, failed;
};

/* --- gateway_links.c: the daemons --- */

extern const struct link_wire_events gateway_link_events; /* data: the gateway */
/* The link to ask; NULL: that daemon is not there. */
struct far *gateway_find(struct gateway *gateway, const char *name);
/* Closes the links of keys that are gone. */
void gateway_keys_changed(struct gateway *gateway);
/* A request over it has ended. */
void far_request_ended(struct far *far);
void gateway_drain_links(struct gateway *gateway);
/* Requests that are open break. */
void gateway_free_links(struct gateway *gateway);
const char *far_state_name(enum far_state state);

/* --- gateway_forward.c: requests --- */

extern const struct http_handler gateway_handler; /* data: the gateway */

/* --- gateway_routes.c: answers of the edge's own --- */

void gateway_answer(struct gateway *gateway, struct http_exchange *exchange, const struct h1_head *head,
                    const struct sender *sender);
/* An error in the layout of the API; for a browser's page, one that people can read. The status is the code's. */
void gateway_fail(struct http_exchange *exchange, const struct h1_head *head, const struct berm_error *err);

/* --- gateway.c --- */

/* What is left to end has changed. */
void gateway_maybe_stop(struct gateway *gateway);
