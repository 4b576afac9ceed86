/*
 * net_count.h - what one command sends and receives. The kernel counts for a network namespace, which is the whole
 * sandbox, and not for a process; so a figure is there exactly when nobody else in the sandbox has run meanwhile:
 * no process has come or gone, and none that was there has used any processor time. Who did not run sent nothing.
 *
 * What is counted are the bytes of all packets, their headers included, in both directions: each connection to the
 * outside begins on the loopback interface here, where a packet is seen once. So is what the processes of the
 * command say to each other over IP.
 */
#pragma once

#include "base/base.h"

#include <sys/types.h>

struct bystander {
    pid_t pid;
    uint64_t cpu_ns;
    bool ended; /* a zombie */
};

struct net_count {
    bool known;
    uint64_t bytes;
    struct bystander *others; /* all but us and the agent */
    size_t other_count, other_cap;
};

/* In a process of which all that is to be counted will be descended, before that begins. */
void net_count_begin(struct net_count *count);
/* Once all of it has ended. False: it cannot be told. Frees what `count` holds. */
bool net_count_end(struct net_count *count, uint64_t *ret_bytes);
