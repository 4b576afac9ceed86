/* outgoing.h - outgoing connections of a container as its side container was told (PUT /egress). */
#pragma once

#include "daemon/docker/engine.h"

/* The policy that a new sandbox of it gets, as JSON; NULL: the daemon's default. */
const char *container_egress_policy(const struct container *container);
/* Makes what the side container was told hold for the running sandbox. Does nothing without either. */
void container_apply_egress(struct container *container);
/* Who signs what is intercepted, for all containers; made the first time. NULL with *err. Borrowed. */
const struct authority *docker_authority(struct docker *docker, struct berm_error *err);
