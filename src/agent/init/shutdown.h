/*
 * shutdown.h - the orderly end of the agent: what is running is told, gets its time in parallel, and then the loop
 * stops with exit code 0.
 */
#pragma once

#include "base/loop.h"

struct agent;

struct shutdown {
    bool begun;
    struct loop_timer timer;
};

/* Begins with a signal from outside, which goes on to the command line's command. Further calls do nothing. */
void shutdown_begin(struct agent *agent, int signo);
/* Something that may have been waited for has ended. */
void shutdown_check(struct agent *agent);
