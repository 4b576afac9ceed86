/* resolve.h - the addresses of a name, asked anew each time, as the network's resolvers change with it. */
#pragma once

#include "link/transport.h"

#define RESOLVE_MAX 8 /* addresses */

struct resolve;

/* `count` 0: none, for the reason `text`. The lookup is over when it comes; never from inside resolve_begin(). */
typedef void (*resolve_done)(const struct link_address *addresses, size_t count, const char *text, void *data);

/* Numbers need no asking. NULL with errno: no memory. */
struct resolve *resolve_begin(struct loop *loop, const char *host, uint16_t port, resolve_done done, void *data);
void resolve_cancel(struct resolve *resolve);
