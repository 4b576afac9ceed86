/*
 * child.h - from clone3 to exec: what the first process of a sandbox does before it is the agent.
 */
#pragma once

#include "base/base.h"
#include "base/spawn_wire.h"
#include "cgroup.h"
#include "filter.h"
#include "rootfs.h"
#include "stage.h"
#include "step.h"

struct child_plan {
    const struct stage *stage;
    const struct cgroup_host *cgroups;
    const struct filter_program *filter;
    bool filter_listens; /* what the filter leaves to the broker is told on broker_fd */
    int broker_fd;
    const char *name; /* of cgroups and subvolume */
    const char *hostname;
    int userns_fd;
    int netns_fd;
    int ipcns_fd;
    int listen_fd;
    int tree_fd;
    uint32_t uid_base;
    uint32_t nofile;
    bool reset_oom_score;
    unsigned landlock_abi; /* 0: the kernel has none */
};

/* What comes through the status pipe if the agent could not be started; nothing but its end if it could. */
struct child_failure {
    uint32_t step;
    int32_t errnum;
};

/*
 * Starts the child in `cgroup_fd` (v2; or -EBADF). Returns its pid, with *ret_status_fd the read end of its pipe;
 * -1 with errno.
 */
pid_t child_start(const struct child_plan *plan, int cgroup_fd, int *ret_status_fd);

/* --- for the children of both back ends --- */

/*
 * clone3 into `cgroup_fd` (v2; or -EBADF) and new namespaces, with the pipe that tells why the child failed: 0 in
 * the child, whose *ret_status_fd is the end to write to; its pid in the caller, which reads. -1 with errno.
 */
pid_t child_clone(uint64_t namespaces, int cgroup_fd, int *ret_status_fd);
/* A mask survives exec. (No signal is ignored in the worker, which would survive it too.) */
void child_unblock_signals(void);
/* Tells the worker the step and errno, and exits. */
_Noreturn void child_fail(int status_fd, enum step step);
#define CHILD_DO(step, expression)                                                                                 \
    do {                                                                                                           \
        if (step_fault(STEP_##step) || (expression) < 0)                                                           \
            child_fail(status_fd, STEP_##step);                                                                    \
    } while (0)
