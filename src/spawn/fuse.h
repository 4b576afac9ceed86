/*
 * fuse.h - FUSE connections as the worker sees them, and the one call of a sandbox that the broker has done for it.
 * docs/decisions/0014-fuse.md explains it all.
 */
#pragma once

#include "base/base.h"

#include <sys/types.h>

/* A descriptor of fusectl's root, which the kernel may lack: -1 with errno. */
int fuse_control_open(void);

/* Aborts every connection whose owner is one of the `count` uids from `uid_base`. */
void fuse_abort_all(int control_fd, uint32_t uid_base, uint32_t count);

#define FUSE_MOUNTS_MAX 64 /* of one sandbox */

/* A call as it was made, its strings copied from the caller's memory. */
struct fuse_call {
    bool unmount;
    pid_t pid;
    int pidfd;   /* borrowed */
    int proc_fd; /* /proc/<pid>, borrowed */
    uint64_t flags;
    char source[256];
    char type[64];
    char target[4096];
    char options[4096];
};

/* 0, or a positive errno if it is plainly nothing that would ever be done. No system call. */
int fuse_call_check(const struct fuse_call *call);

/* Does it, in a process of its own that ends afterwards. Returns 0 or a positive errno. */
int fuse_call_perform(const struct fuse_call *call);
