/*
 * gateway.h - bermd --edge: the public end of daemons behind NAT.
 *
 * Theory of operation. berm-link waits for daemons and tells of each one's link (wire.h). Nothing is known of a
 * daemon yet, so the first stream to it is ours: it is asked for its key, and told what it is called; the name is
 * the key's in edge.link_keys, so that no daemon can take another's, and there is nothing to keep: after a restart
 * of either side everything is found again. From then on a request for <label>-<name>.<domain> goes over a stream
 * of that link, with who asked in fields that we write. A link that says nothing, or something else, is closed; a
 * second link with the same key takes over. The first one drains if the daemon knows of it, else it is closed: so a
 * daemon that comes back before its death was noticed is served at once, and nobody waits for the dead one.
 *
 * The daemon is not trusted with anything but its own names: its answers are framed anew, and no cookie of its
 * pages reaches another's.
 */
#pragma once

#include "daemon/config.h"

/* Runs until SIGTERM: the exit status of the program. */
int gateway_run(const struct config *config);
