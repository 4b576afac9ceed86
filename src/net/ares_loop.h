/*
 * ares_loop.h - a c-ares channel on the loop: its sockets and its timer. For programs that link c-ares.
 *
 * Who embeds it makes the channel with ares_init_options(), with ares_loop_on_socket and the struct itself as
 * sock_state_cb and its data, calls ares_loop_arm() after each question, and ends it with ares_loop_end(), which
 * answers what is open with ARES_EDESTRUCTION.
 */
#pragma once

#include "base/loop.h"

#include <ares.h>

#define ARES_LOOP_SOCKETS 64

struct ares_loop;

struct ares_loop_socket {
    struct loop_io io;
    struct ares_loop *owner;
};

struct ares_loop {
    struct loop *loop; /* may be told later than ares_loop_init(), before the first question */
    ares_channel channel;
    bool has_channel; /* set by whoever has made it */
    struct loop_timer timer;
    struct ares_loop_socket sockets[ARES_LOOP_SOCKETS];
};

void ares_loop_init(struct ares_loop *ares, struct loop *loop);
/* A sock_state_cb. */
void ares_loop_on_socket(void *data, ares_socket_t fd, int readable, int writable);
void ares_loop_arm(struct ares_loop *ares);
void ares_loop_end(struct ares_loop *ares); /* idempotent */
