/*
 * metered.h - what the agent itself holds of a command with limits, beside its keeper (keeper.h): the account of
 * its output, the clock, and the receipt. A part of its child (child.h), which alone uses most of this.
 */
#pragma once

#include "base/loop.h"
#include "limit.h"
#include "sink.h"

#include <sys/types.h>

struct child;

struct metered {
    struct child *child;
    struct limits limits;
    pid_t pid;        /* the command's own; the child's is that of the keeper */
    struct sink sink; /* between the pipes and `to` */
    struct sink *to;
    int64_t output_left;
    bool overflowed; /* it has written more than it may: that and what follows is dropped */
    int report_fd;
    uint64_t start; /* number of this one among all that the agent starts */
    struct loop_timer clock;
    struct usage usage; /* complete once the child has exited */
};

/* NULL without memory. */
struct metered *metered_new(struct child *child, const struct limits *limits, struct sink *to);
void metered_free(struct metered *metered); /* NULL is fine */

/* The keeper runs; takes `report_fd` over. -1: without memory for the clock. */
int metered_begin(struct metered *metered, pid_t pid, int report_fd);
/* The keeper has been reaped: completes the usage. The wait status of the command. */
int metered_settle(struct metered *metered);
/* Somebody has stopped the keeper, which cannot hold the limits now: it ends the command. */
void metered_stopped(struct metered *metered);
/* To the whole tree. SIGKILL for all, and then the end is not its own. */
void metered_signal(struct metered *metered, int signo);
