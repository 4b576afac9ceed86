/*
 * adopt.h - brings the store and berm-spawn's sandboxes together: at the start and when berm-spawn restarted.
 *
 * LIST names every instance that berm-spawn knows. One that a row claims is adopted; one that nobody claims is
 * destroyed; a row whose instance is not there is set to stopped. Until the list is complete, requests that need a
 * sandbox wait.
 */
#pragma once

#include "daemon/daemon.h"

void adopt_init(struct daemon *daemon);
/* The events of the link to berm-spawn; `data` is the daemon. */
extern const struct spawn_link_events adopt_events;
