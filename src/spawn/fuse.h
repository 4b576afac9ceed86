/*
 * fuse.h - FUSE connections as the worker sees them, and the one call of a sandbox that the broker has done for it.
 * docs/decisions/0014-fuse.md explains it all.
 */
#pragma once

#include "base/base.h"

#include <sys/types.h>

/* What the connections of sandboxes are counted and ended by. The descriptors belong to whoever made it. */
struct fuse_host {
    int run_fd;     /* <data>/run, for the records */
    int control_fd; /* fusectl's root, or -EBADF */
};

/* A descriptor of fusectl's root, which the kernel may lack: -1 with errno. */
int fuse_control_open(void);

/* --- the record of a sandbox: fuse_record.c --- */

#define FUSE_CONNECTIONS_MAX 64 /* of one sandbox */

/* The connections that were made for one sandbox and live, as they were when it was read. */
struct fuse_record {
    uint32_t index;                         /* of its slot */
    uint32_t numbers[FUSE_CONNECTIONS_MAX]; /* minor numbers of their file systems' devices, 0 for none */
};

/* 0, or a positive errno: ENOSPC if there is no place for another connection. */
int fuse_record_read(const struct fuse_host *host, uint32_t index, struct fuse_record *ret);
/* With another connection, before anybody in the sandbox can use it. 0, or EIO if it could not be written. */
int fuse_record_add(const struct fuse_host *host, struct fuse_record *record, uint32_t number);
/* Aborts all that are on record; nobody waits for an answer of theirs any more. */
void fuse_record_abort(const struct fuse_host *host, uint32_t index);
/* 0 also if there is none; -1 with errno. */
int fuse_record_remove(int run_fd, uint32_t index);
/* Whether that is the name of a record, and of which slot. */
bool fuse_record_index(const char *name, uint32_t *ret);

/* --- one call --- */

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
int fuse_call_perform(const struct fuse_host *host, const struct fuse_call *call);
