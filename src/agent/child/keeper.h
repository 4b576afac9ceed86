/*
 * keeper.h - the parent of a command that has limits: a forked copy of the agent that starts the command and stays
 * until everything that came of it is gone.
 *
 * Theory of operation. The keeper is a subreaper, so whatever the command starts stays below it, also what leaves
 * its group, its session and its parents: its tree is the command, exactly, and getrusage(2) of its children is
 * what the command has used. It measures the tree as often as the limits of processor time, memory and processes
 * ask for: what is left of a limit divided by how fast it can be used up says when the next look is due. The
 * command's end is the end of all: the keeper then kills what is left, reaps it and reports.
 *
 *   SIGTERM and its like   are passed on to the whole tree
 *   SIGQUIT                kills the tree, as do the ends of the agent and (if the kernel does it) of the keeper
 *
 * A command with the keeper's user id can stop the keeper, which ends it, or kill it, which ends it without
 * measures but may leave a child behind: hostile code is held by the limits of its sandbox and not by these.
 */
#pragma once

#include "child.h"
#include "limit.h"

/* What the keeper says once, at its end. */
struct keeper_report {
    int wait_status; /* of the command */
    struct usage usage;
};

/*
 * Forks a keeper that starts `spec` within `limits`, and waits until the command runs. The keeper's pid, with
 * *ret_pid the command's own and *ret_report_fd where the report will come (non-blocking); or -1 with *err.
 */
pid_t keeper_start(const struct child_spec *spec, const struct limits *limits, const int fds[3],
                   const struct rlimit *nofile, pid_t *ret_pid, int *ret_report_fd, struct child_error *err);
