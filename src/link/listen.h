/* listen.h - the edge's side: connections that are accepted, within limits, until TLS is through. */
#pragma once

#include "link/core.h"

#include "base/error.h"

struct listener;

/* Take the descriptors. `udp` -1: no QUIC. NULL with *err. */
struct listener *listener_new(struct core *core, int tcp, int udp, const char *certificate, const char *key,
                              struct berm_error *err);
void listener_free(struct listener *listener);
/* The certificate again, for sessions that begin; -1 with *err leaves the old one. */
int listener_reload(struct listener *listener, struct berm_error *err);

extern const struct core_role listen_role;
