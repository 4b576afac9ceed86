/* sandbox_egress.h - the network of instances: where lifecycle.c, pool.c and the API meet src/daemon/egress. */
#pragma once

#include "daemon/daemon.h"
#include "daemon/egress/egress.h"

/* What an instance gets that is made now; NETWORK_NONE also when the host cannot give another. */
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

/* Makes the row's policy hold for the instance, if it has a network. A policy that is void now denies everything.
 */
void sandbox_apply_policy(struct sandbox *sandbox);
