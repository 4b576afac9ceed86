/*
 * oci.h - the second back end: sandboxes made by an OCI runtime that the operator has named (--oci-runtime).
 *
 * Theory of operation. The worker does what it does for its own sandboxes: ids, network namespace, cgroups, quota
 * and agent socket come from a slot, and a child puts the root together. That child then goes back to the host's
 * mount namespace (a copy of its own, private), hangs the finished root in, writes a bundle and executes
 * `<runtime> run --detach`. The runtime makes user, mount, pid, uts, ipc and cgroup namespaces, the filter and
 * the capabilities; the network namespace and the cgroups are those that it was started in. When it has exited, the
 * sandbox's first process is a child of the worker, a subreaper, and is watched like any other; its pid is in a
 * file of the bundle.
 *
 *   <data>/oci/agent         a copy of the agent that can be executed but not read
 *   <data>/oci/state/        the runtime's --root
 *   <data>/oci/s12/          bundle: config.json, pid, log
 *   /run/berm/rootfs         in that child's namespace only: the root, on a path that root of the sandbox may walk
 *
 * Nothing of a client reaches the bundle but numbers and a checked host name.
 */
#pragma once

#include "base/error.h"
#include "child.h"
#include "range.h"

#include <sys/types.h>

#define OCI_AGENT_NAME   ".berm-agent" /* in the root of the sandbox, a mount of our copy */
#define OCI_ROOT         RANGE_CLAIM_DIR "/rootfs"
#define OCI_NULL         RANGE_CLAIM_DIR "/null"
#define OCI_BUNDLE       RANGE_CLAIM_DIR "/bundle" /* for runsc */
#define OCI_CONTROL_PORT 62737                     /* of the agent, on the sandbox's loopback; for runsc */
#define OCI_INNER_GROUP  "oci"                     /* the runtime's own cgroup, where it insists on one */

enum oci_kind { OCI_CRUN, OCI_RUNC, OCI_RUNSC };

struct oci {
    const char *runtime; /* absolute path; NULL: there never was one here */
    char recorded[256];  /* of an earlier worker */
    const char *groups;  /* "berm/<id>": where our cgroups are in each hierarchy */
    enum oci_kind kind;
    char directory[4200]; /* <data>/oci, as the host has it */
    int dir_fd;           /* the same */
    int host_mounts_fd;   /* the mount namespace in which `runtime` and `directory` mean something */
};

/*
 * Before the worker enters its stage. Makes the directories; marks the worker a subreaper. Without a
 * `runtime`, the one of an earlier worker serves to take away what is left of it. The kind is told by the
 * program's name: crun, runc or runsc; others are refused, for each needs its own treatment.
 */
int oci_open(const char *runtime, const char *data, const char *groups, struct oci *ret, struct berm_error *err);

/* Once the stage is there: writes the agent's copy. */
int oci_install_agent(const struct oci *oci, int agent_fd, struct berm_error *err);

/*
 * Like child_start(), for a sandbox whose first process the runtime will make. What is returned is the pid of the
 * runtime; the status pipe tells of failures up to its exec only.
 */
pid_t oci_start(const struct oci *oci, const struct child_plan *plan, int cgroup_fd, int *ret_status_fd);

/* After the runtime has exited with `wait_status`: the pid of the sandbox's first process, or -1 with the reason.
 */
pid_t oci_started(const struct oci *oci, const char *name, int wait_status, struct berm_error *err);

/* Fills *err with what the runtime said last. -1. */
int oci_explain(const struct oci *oci, const char *name, struct berm_error *err);

/*
 * Whether the runtime exits once it has made the sandbox, whose first process the worker then watches. runsc does
 * not: the pid that oci_start() gave stays, and the status pipe ends when the agent answers (see oci_gvisor.c).
 */
static inline bool oci_detaches(const struct oci *oci)
{
    return oci->kind != OCI_RUNSC;
}

/*
 * Has the runtime forget the sandbox, whose processes are dead already: the pid of a child that runs `<runtime>
 * delete --force` and removes the cgroups that the runtime has made, or -1 with errno. When it has exited,
 * oci_remove_bundle() does the rest.
 */
pid_t oci_delete(const struct oci *oci, const char *name);
int oci_remove_bundle(const struct oci *oci, const char *name);

/* Both at once, waiting; for what an earlier worker has left. Nothing of that name is fine. */
void oci_sweep(const struct oci *oci, const char *name);

/* Calls back with the name of every bundle that there is. */
void oci_each(const struct oci *oci, void (*callback)(const char *name, void *data), void *data);

/* oci_groups.c */
void oci_remove_groups(const char *groups, const char *name);
/* What is above them, in hierarchies that are not ours, once there is no sandbox. */
void oci_remove_own_groups(const char *parent, const char *id);

/* oci_config.c: config.json of the bundle. */
int oci_config_write(int bundle_fd, const struct oci *oci, const struct child_plan *plan);
