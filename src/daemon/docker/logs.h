/* logs.h - what a container's command writes. */
#pragma once

#include "daemon/docker/engine.h"

struct container_log;

/* Follows the agent's log from now on; does nothing if that is under way. */
void container_log_follow(struct container *container, struct agent_link *link);
void container_log_end(struct container_log *log);  /* the container has ended; NULL is allowed */
void container_log_free(struct container_log *log); /* readers get their end; NULL is allowed */
