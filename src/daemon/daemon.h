/*
 * daemon.h - the one context of the daemon. Everything in it belongs to the loop's thread.
 *
 * Who knows whom: main.c builds it; api/ calls lifecycle.h and the small modules; lifecycle.c, pool.c and adopt.c
 * share registry.h. Nothing keeps a pointer to a sandbox across a callback without a reference.
 */
#pragma once

#include "base/loop.h"
#include "base/spawn_wire.h"
#include "daemon/auth.h"
#include "daemon/bindings.h"
#include "daemon/config.h"
#include "daemon/console/session.h"
#include "daemon/image_cache.h"
#include "daemon/metrics.h"
#include "daemon/registry.h"
#include "daemon/sender.h"
#include "daemon/spawn_link.h"
#include "daemon/store.h"
#include "net/passages.h"
#include "net/server.h"

struct docker;
struct edge;
struct mcp;
struct onces;
struct pool;
struct egress_service;
struct uplink;

struct daemon {
    struct loop *loop;
    struct config config;
    struct spawn_limits default_limits;
    uint32_t backend; /* enum spawn_backend */
    struct store *store;
    struct auth auth;
    struct bindings bindings; /* buckets by name */
    struct trusted_proxies proxies;
    struct web_sessions web_sessions; /* of the console */
    struct image_cache *images;
    struct spawn_link *spawn;
    struct http_server *server;
    struct docker *docker; /* NULL: no socket for it */
    struct registry registry;
    struct pool *pool;
    struct edge *edge;
    struct uplink *uplink;       /* NULL: the daemon is behind no edge */
    struct connector *connector; /* NULL: cloudflared is not used */
    struct mcp *mcp;
    struct onces *onces;           /* see api/once.h */
    struct egress_service *egress; /* NULL: the operator has turned it off */
    struct metrics metrics;
    int run_dirfd; /* of the agents' sockets */

    struct spawn_hello host;
    bool host_known;

    /* Adoption, see adopt.c. */
    bool adopted;
    uint32_t adoption_round;
    struct list adoption_waits; /* struct sandbox_wait */
    struct loop_timer adoption_timer;

    struct list event_listeners; /* see event_feed.h */
    unsigned event_listener_count;
    int64_t event_number; /* of the daemon's own ones */

    struct passages passages; /* upgraded connections, see api/passage.h */

    struct sandbox *unstored; /* a reference: in use, and its start not committed, see lifecycle.c */
    struct loop_deferred store_later;
    unsigned starts_pending;  /* sandboxes that a request waits for */
    unsigned requests_active; /* that use or wait for a sandbox */
    struct list streams;      /* struct request: answers that must end with a last word, see api.h */
    uint64_t last_request_ms; /* when the latest of them began */
    struct loop_timer touch_timer;
    bool draining;
    size_t high_water; /* of an answer, before the agent is paused */
    uint64_t next_request;
    uint64_t request_seed;
};
