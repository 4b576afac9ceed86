/*
 * registry.h - the sandboxes that exist, by id, by key and in order of creation.
 *
 * An *instance* is what berm-spawn knows: one running set of processes under one key. It belongs to a sandbox or,
 * while it is warm, to the pool. A sandbox has at most one; each start gives it a new one.
 */
#pragma once

#include "base/hash.h"
#include "base/list.h"
#include "base/loop.h"
#include "daemon/agent_link.h"
#include "daemon/store.h"

struct container;
struct daemon;
struct settings_change;

enum instance_kind { INSTANCE_SANDBOX, INSTANCE_POOLED };

struct desk;
struct egress;

struct instance {
    struct hash_node node;
    uint64_t key; /* 0: none */
    enum instance_kind kind;
    uint32_t seen;         /* the adoption round in which berm-spawn listed it */
    struct egress *egress; /* its way out; NULL: it has no network. Owned, see sandbox_egress.h */
    struct desk *desk;     /* edge/desk.h: NULL until it is asked. Owned */
    struct daemon *daemon; /* while that is renewed */
};

struct sandbox {
    struct daemon *daemon;
    unsigned refs;
    struct sandbox_row row;   /* as it is in the store; row.key is in `instance` too */
    enum sandbox_state state; /* as it is now: CREATING is never stored */
    struct instance instance;
    struct hash_node by_id;
    struct list order;
    struct list dirty;       /* row.last_used_ms is newer than in the store */
    struct list waits;       /* struct sandbox_wait, while CREATING */
    struct agent_link *link; /* of the running instance */
    struct http_call *configure_call;
    bool must_configure; /* the agent may not know the environment */
    char *environment;   /* what it is then told with the next request; NULL: by a call of its own */
    bool starting;       /* CREATING because of a new instance, not only to tell a running one its environment */
    bool warm;           /* the instance came from the pool */
    uint64_t start_ns;
    struct container *container;    /* the Docker API's, or NULL */
    struct settings_change *change; /* of limits, under way */
    unsigned in_use;                /* requests in flight */
    uint64_t used_ms;               /* monotonic */
    struct loop_timer idle_timer;
};

struct registry {
    struct hash_table by_id, by_key;
    struct list order;
    struct list dirty;
};

void registry_init(struct registry *registry);
void registry_free(struct registry *registry);

struct sandbox *registry_find(const struct registry *registry, struct str id); /* NULL: there is none */
/* A sandbox that is not stored yet and has one reference, the registry's. NULL without memory. */
struct sandbox *registry_add(struct daemon *daemon, struct str id);
void registry_remove(struct registry *registry, struct sandbox *sandbox); /* drops its reference */

struct sandbox *sandbox_ref(struct sandbox *sandbox);
void sandbox_unref(struct sandbox *sandbox); /* NULL is allowed */

/* Random, not 0, not in use. */
uint64_t instance_new_key(const struct registry *registry);
/* It is found by its key from here on. -1 without memory: it has none then. */
int instance_register(struct registry *registry, struct instance *instance, uint64_t key);
void instance_unregister(struct registry *registry, struct instance *instance); /* idempotent */
struct instance *instance_find(const struct registry *registry, uint64_t key);  /* NULL: there is none */

/* ^[a-z2-7]{1,128}$ */
bool sandbox_id_valid(struct str id);
