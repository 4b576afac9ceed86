/* sandbox_egress.h - the network of instances: where lifecycle.c, pool.c and the API meet src/daemon/egress. */
#pragma once

#include "daemon/daemon.h"
#include "daemon/egress/egress.h"

/* What an instance gets that is made now: enum spawn_network; none, too, when the host cannot give another. */
uint32_t instance_network(const struct daemon *daemon, uint32_t wanted);
/* What warm ones have, and sandboxes that say nothing. */
uint32_t default_network(const struct daemon *daemon);

/*
 * Inside the callback of CREATE: the sockets that came with the reply become the instance's egress, with the
 * default policy. Without any there is no network. -1 without memory.
 */
int instance_take_egress(struct daemon *daemon, struct instance *instance, const struct spawn_reply *reply);
/* An adopted instance gets new sockets; it has no network until they come. */
void instance_renew_egress(struct daemon *daemon, struct instance *instance, const struct spawn_sandbox *found);
void instance_drop_egress(struct daemon *daemon, struct instance *instance);

/*
 * Makes the row's policy hold for the instance, if it has a network. A policy that is void now denies everything.
 * One for which TLS is intercepted brings the sandbox's own certificate authority with it, which is made the first
 * time and kept in the store; then must_configure is set, since the agent has to know whom to trust.
 */
void sandbox_apply_policy(struct sandbox *sandbox);
/* Its certificate, PEM; n == 0: nothing is intercepted. Borrowed. */
struct str sandbox_authority(const struct sandbox *sandbox);
/* The authority under a kind and name of the store: that one, or a new one. *ret has one reference. */
int stored_authority(struct daemon *daemon, const char *kind, const char *name, struct authority **ret,
                     struct berm_error *err);
