/*
 * imager.h - the process that has images made of sandboxes' files (docs/decisions/0015-docker.md).
 *
 * Theory of operation. The worker has left the host's file systems behind and may not run programs, so a process
 * that it forks before that waits on a socket for its jobs, one at a time. A job names nothing: it brings a
 * descriptor of the sandbox's subvolume, and one of its image, mounted. The imager takes a read-only snapshot of
 * the subvolume, which is the moment that the image shows, joins both again in a mount namespace that nobody else
 * sees, and starts berm-commit on the result (image/commit.h); then the snapshot goes. The sandbox runs on
 * meanwhile, or ends.
 *
 * It ends with the worker, and what it has started ends with it. What it leaves then are a snapshot, removed by the
 * next one, and a staging directory of the image store, removed by whoever changes the store next.
 */
#pragma once

#include "base/commit_wire.h"
#include "base/loop.h"
#include "disk.h"

#include <sys/types.h>

#define IMAGER_QUEUE_MAX 16

enum imager_op { IMAGER_COMMIT = 1, IMAGER_REMOVE = 2 };

struct imager_job {
    uint32_t op;
    uint32_t uid_base; /* of the sandbox */
    uint64_t number;   /* of the image: its name is made of it */
    uint64_t disk_bytes;
};

struct imager_result {
    uint32_t op;
    uint32_t reserved;
    uint64_t number;
    struct commit_verdict verdict;
};

struct imager {
    pid_t pid;
    int socket_fd; /* -EBADF: there is none */
    uint32_t queued;
    struct loop_io io;
};

/*
 * Forks it; before stage_enter(). `images` is the store's directory, `id` tells its images from those of other data
 * directories in the same store. 0, or -1 with *err.
 */
int imager_start(const struct disk_pool *pool, const char *images, const char *id, struct imager *ret,
                 struct berm_error *err);

/* The descriptors stay the caller's. -1 with errno: EAGAIN when IMAGER_QUEUE_MAX jobs wait. */
int imager_send(struct imager *imager, const struct imager_job *job, const int *fds, size_t count);
/* 1: *ret is one. 0: none now. -1: it is gone. */
int imager_receive(struct imager *imager, struct imager_result *ret);

/* "commit-<id>-<16 hex digits>" */
#define IMAGER_ID_SIZE   40
#define IMAGER_NAME_SIZE 65
void imager_name(const char *id, uint64_t number, char name[IMAGER_NAME_SIZE]);
/* Whether it is such a name, and which number is in it. */
bool imager_number(const char *id, const char *name, uint64_t *ret);
