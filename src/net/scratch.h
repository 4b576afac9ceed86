/* scratch.h - the one big read buffer of the program; private to src/net. */
#pragma once

#include <stddef.h>

/*
 * Reads from sockets go here first, for all connections: the program has one loop thread, reads are only made at
 * the top of an event's callback and never nest, and what cannot be used at once is copied out before the callback
 * ends.
 */
#define NET_SCRATCH ((size_t)256 << 10)
extern char net_scratch[NET_SCRATCH];
