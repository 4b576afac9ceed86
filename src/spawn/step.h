/*
 * step.h - the named steps of making a sandbox. A failure is told to the caller as the step's name and an errno;
 * test builds (SPAWN_FAULTS) can make any of them fail, to prove that everything is undone.
 */
#pragma once

#include "base/error.h"

#define SPAWN_STEPS(X)                                                                                             \
    X(USERNS, "make user namespace")                                                                               \
    X(LISTEN, "make agent socket")                                                                                 \
    X(NETNS, "make network namespace")                                                                             \
    X(IPCNS, "make IPC namespace")                                                                                 \
    X(EGRESS_SOCKETS, "make sockets of the way out")                                                               \
    X(EGRESS_RULES, "load rules of the way out")                                                                   \
    X(EGRESS_ROUTES, "set routes of the way out")                                                                  \
    X(CGROUP, "make cgroups")                                                                                      \
    X(SUBVOLUME, "make upper directory")                                                                           \
    X(QUOTA, "set disk quota")                                                                                     \
    X(LIMITS, "set cgroup limits")                                                                                 \
    X(IMAGE, "mount image")                                                                                        \
    X(CLONE, "clone")                                                                                              \
    X(IDENTITY, "write host name files")                                                                           \
    X(META, "write meta file")                                                                                     \
    X(DESCRIPTORS, "arrange descriptors")                                                                          \
    X(PRIORITY, "reset priorities")                                                                                \
    X(JOIN_CGROUP, "join cgroups")                                                                                 \
    X(JOIN_NETNS, "join network namespace")                                                                        \
    X(JOIN_IPCNS, "join IPC namespace")                                                                            \
    X(CGROUPNS, "unshare cgroup namespace")                                                                        \
    X(HOSTNAME, "set host name")                                                                                   \
    X(ATTACH, "attach root")                                                                                       \
    X(LOWER, "idmap image")                                                                                        \
    X(OVERLAY, "mount overlay")                                                                                    \
    X(PROC, "mount /proc")                                                                                         \
    X(PROC_MASKS, "mask /proc")                                                                                    \
    X(DEV, "mount /dev")                                                                                           \
    X(DEVPTS, "mount /dev/pts")                                                                                    \
    X(SHM, "mount /dev/shm")                                                                                       \
    X(SYS, "mount /sys")                                                                                           \
    X(PIVOT, "pivot_root")                                                                                         \
    X(RLIMITS, "set resource limits")                                                                              \
    X(LANDLOCK, "make landlock ruleset")                                                                           \
    X(JOIN_USERNS, "join user namespace")                                                                          \
    X(IDS, "set user and group")                                                                                   \
    X(CAPS, "drop capabilities")                                                                                   \
    X(NO_NEW_PRIVS, "set no_new_privs")                                                                            \
    X(LANDLOCK_ENTER, "enter landlock domain")                                                                     \
    X(SECCOMP, "install seccomp filter")                                                                           \
    X(EXEC, "exec agent")                                                                                          \
    X(OCI_BUNDLE, "write OCI bundle")                                                                              \
    X(OCI_HOST, "enter the host's mount namespace")                                                                \
    X(OCI_EXEC, "exec OCI runtime")

enum step {
#define X(name, text) STEP_##name,
    SPAWN_STEPS(X)
#undef X
        STEP_COUNT
};

const char *step_name(enum step step);

/* Fails with `errno` and the step's name as the message. Returns -1. */
int step_fail(struct berm_error *err, enum step step);

/* What the host may lack; --without makes it look so in test builds, so that the other ways are tested too. */
enum host_feature { HOST_DETACHED_TREES, HOST_FILE_IMAGES, HOST_CGROUP_V2, HOST_LANDLOCK, HOST_SIMPLE_QUOTA };

#ifdef SPAWN_FAULTS
/* True, with errno EIO, when --fail-at named this step, once it has been taken --fail-after times. */
bool step_fault(enum step step);
bool step_fault_option(const char *name, const char *value);
bool host_pretends_to_lack(enum host_feature feature);
#else
static inline bool step_fault(enum step step)
{
    (void)step;
    return false;
}
static inline bool host_pretends_to_lack(enum host_feature feature)
{
    (void)feature;
    return false;
}
static inline bool step_fault_option(const char *name, const char *value)
{
    (void)name, (void)value;
    return false;
}
#endif
