/*
 * peer.h - the socket to the daemon: requests in, replies and events out, in order. Never blocks: what the socket
 * does not take waits in a queue, and while it does, no further request is read, so a daemon that does not listen
 * stalls only its own requests.
 */
#pragma once

#include "base/loop.h"
#include "base/spawn_wire.h"

#define PEER_FDS_MAX SPAWN_EGRESS_FDS

struct peer_message {
    struct peer_message *next;
    struct spawn_reply reply;
    int fds[PEER_FDS_MAX];
    size_t fd_count;
};

struct peer {
    struct loop *loop;
    struct loop_io io;
    int sock;
    struct peer_message *first;
    struct peer_message **last;
    /* One message, not yet checked. */
    void (*on_request)(struct peer *peer, const void *message, size_t n);
    void (*on_end)(struct peer *peer);
};

int peer_start(struct peer *peer, struct loop *loop, int sock);
/* Stops reading and drops what is queued. */
void peer_stop(struct peer *peer);
/* `fds` go with the message and are closed here. */
void peer_send(struct peer *peer, const struct spawn_reply *reply, const int *fds, size_t count);
