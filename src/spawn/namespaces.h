/*
 * namespaces.h - the namespaces of a sandbox that are made ahead of it.
 */
#pragma once

#include "base/error.h"
#include "egress.h"

#include <sched.h>
#include <sys/types.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

/* A user namespace whose ids 0..65535 are uid_base.. outside, owned by the initial one: a descriptor, or -1. */
int userns_new(uint32_t uid_base);

/*
 * A network namespace with `lo` up and unprivileged ports from 0, owned by the initial user namespace, so that no
 * one inside has any right over it. With `ret_egress` it has the way out of egress.h, whose sockets go there.
 * Leaves the caller in `home_fd`'s. A descriptor, or -1 with the caller in a namespace that is empty too.
 */
int netns_new(int home_fd, struct egress_sockets *ret_egress);

/*
 * An IPC namespace, likewise owned by the initial user namespace. Made with the process it would be 0.1 ms of each
 * start. Leaves the caller in `home_fd`'s. A descriptor, or -1 with the caller in a namespace that is empty too.
 */
int ipcns_new(int home_fd);

/* A socket that lives in the network namespace of the process; the caller comes back to `home_fd`, or dies. */
int netns_socket(int pidfd, int home_fd, int family, int type);
/* egress_renew() in the network namespace of the process. Likewise. */
int netns_renew_egress(int pidfd, int home_fd, bool any_port, struct egress_sockets *ret);
