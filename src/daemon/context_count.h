/*
 * context_count.h - counts the code contexts that were asked for over a WebSocket or RPC connection, whose bytes
 * the daemon does not look at: when one ends, the agent is asked what it has started for such connections since it
 * was last asked.
 */
#pragma once

#include "daemon/registry.h"

/* Returns at once; what cannot be asked stays untold until the next connection ends, or is lost with the sandbox.
 */
void context_count_ask(struct sandbox *sandbox);
