/* ca.h - the daemon's certificate authority for intercepted TLS: made at the first use, for this run of the daemon.
 */
#pragma once

#include "daemon/docker/engine.h"

/* The certificate as PEM, borrowed until ca_free(). */
int ca_certificate(struct docker *docker, struct str *ret_pem, struct berm_error *err);
void ca_free(struct docker *docker);
