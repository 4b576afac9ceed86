/*
 * pool.h - warm sandboxes: whole, started instances without an owner, per image, claimed at the first use of an id.
 *
 * A warm one has the default limits and its image's environment. It is refilled off the request path: never while a
 * request waits for a start, after those that have just begun, one at a time, after a failure with growing pauses.
 * Warm instances are in the store like others and survive a restart of the daemon. Everything works without them
 * too.
 */
#pragma once

#include "daemon/daemon.h"

struct pool_claim {
    uint64_t key;
    struct agent_link *link; /* handed over; NULL: nothing was claimed */
    struct egress *egress;   /* likewise; NULL: it has no network */
};

struct pool_stats {
    size_t ready, starting, target;
    bool paused;
};

int pool_new(struct daemon *daemon, struct pool **ret, struct berm_error *err);
void pool_free(struct pool *pool); /* the instances live on */

/* Takes a ready one of that image away from the pool: its row is still there and must go in the claimer's
 * transaction. */
bool pool_claim(struct pool *pool, const uint8_t digest[32], struct pool_claim *ret);
/* The claimer could not use it. */
void pool_claim_failed(struct pool *pool, struct pool_claim *claim);

/* Ends one warm instance, so that another sandbox has room. False: there is none. */
bool pool_give_way(struct pool *pool);
/* Something has changed: look whether one should be started. */
void pool_room(struct pool *pool);

/* Warm ones end and stay away, until pool_prime(). */
void pool_shutdown(struct pool *pool);
void pool_prime(struct pool *pool);
void pool_get_stats(const struct pool *pool, struct pool_stats *ret);

/* --- for adopt.c and the events of berm-spawn --- */
int pool_load(struct pool *pool, uint64_t key, const uint8_t digest[32]);
void pool_adopt(struct pool *pool, struct instance *instance, const struct spawn_sandbox *found);
void pool_ended(struct pool *pool, struct instance *instance);
