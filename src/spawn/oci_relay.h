/*
 * oci_relay.h - between the agent's unix socket, which bermd connects to, and a TCP port of the sandbox's loopback,
 * for runtimes that cannot hand a listening descriptor on. It copies bytes and looks at none.
 */
#pragma once

#include "base/base.h"

#define RELAY_LINKS_MAX  128
#define RELAY_STDERR_MAX 512

struct relay {
    int listen_fd;
    int child_pidfd; /* when this process ends, so does the relay */
    int stderr_fd;   /* of that process: drained, and its end kept; or -EBADF */
    uint16_t port;
    char tail[RELAY_STDERR_MAX];
    size_t tail_length;
};

/* Waits until something listens on the port. 0; -1 if the process has ended before. */
int relay_wait(struct relay *relay);

/* Serves until the process has ended. */
void relay_run(struct relay *relay);
