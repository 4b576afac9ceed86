/*
 * dial.h - the way to the edge: one link is wanted, over QUIC if that gets through, else over HTTP/2.
 *
 * Theory of operation: a round asks for the addresses and starts a race for each transport. A race dials the first
 * address, the next when that has failed or is slow, and is won by the first link that is up; its other tries are
 * closed then. QUIC starts at once and HTTP/2 when QUIC has failed, or is not up after QUIC_ALONE_MS: where UDP is
 * blocked, nothing else tells. A round that no race has won is repeated after a pause that grows. When HTTP/2 has
 * won, QUIC races again from time to time; once that is up, the link over HTTP/2 drains.
 */
#pragma once

#include "link/core.h"

enum dial_transport { DIAL_AUTO, DIAL_QUIC, DIAL_H2 };

struct dialler;

/* `host` and the core live longer. NULL with errno. */
struct dialler *dialler_new(struct core *core, const char *host, uint16_t port, enum dial_transport transport);
void dialler_free(struct dialler *dialler);

extern const struct core_role dial_role;
