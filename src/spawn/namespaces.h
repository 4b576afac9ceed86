/*
 * namespaces.h - the namespaces of a sandbox that are made ahead of it, each for one sandbox only. They belong to
 * the initial user namespace, so that no one inside has any right over them. Who makes one of the last two kinds,
 * or something in a sandbox's, is in there meanwhile, and comes back to `home_fd`'s or dies. Descriptors are
 * close-on-exec; -1 is with errno.
 */
#pragma once

#include "base/error.h"
#include "egress.h"

#include <sched.h>
#include <sys/types.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

/* A user namespace whose ids 0..65535 are uid_base.. outside: a descriptor, or -1. */
int userns_new(uint32_t uid_base);

/* An IPC namespace: a descriptor, or -1. Made with the process it would be 0.1 ms of each start. */
int ipcns_new(int home_fd);

/*
 * A network namespace with `lo` up and unprivileged ports from 0: a descriptor, or -1. With `ret_egress` it has the
 * way out of egress.h, whose sockets go there; on failure there are none.
 */
int netns_new(int home_fd, struct egress_sockets *ret_egress);

/* A socket that lives in the network namespace of the process, or -1. */
int netns_socket(int pidfd, int home_fd, int family, int type);
/* egress_renew() in the network namespace of the process. */
int netns_renew_egress(int pidfd, int home_fd, bool any_port, struct egress_sockets *ret);
