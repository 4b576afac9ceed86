/*
 * stage.h - the worker's own mount namespace: a small tmpfs root that holds what a sandbox is assembled from and
 * nothing of the host. Every sandbox starts with a copy of it, so its size is paid for at each start, and a mistake
 * in a sandbox's set-up could expose no more than this.
 *
 *   /proc          procfs of the host's pid namespace, for the worker
 *   /disk          the pool of upper directories
 *   /img/<n>       the images that are in use
 *   /dev           template: device nodes, links, empty pts and shm
 *   /sys           template: sysfs of an empty network namespace, with its dangerous parts covered
 *   /void          an empty directory and an empty file to cover things with
 *   /loop          nodes of loop devices, where the kernel cannot mount an image from its file
 *   /lower, /root  where a sandbox's child puts its idmapped image and its overlay
 */
#pragma once

#include "base/error.h"
#include "disk.h"

#define STAGE_DISK  "/disk"
#define STAGE_LOWER "/lower"
#define STAGE_ROOT  "/root"
#define STAGE_DEV   "/dev"
#define STAGE_SYS   "/sys"
#define STAGE_VOID  "/void"
#define STAGE_IMG   "/img"
#define STAGE_LOOP  "/loop"

struct stage {
    int run_fd;    /* <data>/run */
    int images_fd; /* the images directory */
    int disk_fd;   /* /disk */
    int agent_fd;  /* a sealed copy of the agent that can be executed but not read */
    int home_netns_fd;
    int home_ipcns_fd;
};

/*
 * Moves the calling process there, into an empty network namespace too. `data` is the data directory by its
 * canonical path; `images` and `agent` are NULL for a worker that only cleans up. Afterwards nothing of the host's
 * file systems can be reached but through the descriptors of *ret.
 */
int stage_enter(const char *data, const struct disk_pool *pool, const char *images, const char *agent,
                struct stage *ret, struct berm_error *err);

/* The templates, each in its own file. They attach what they make at a path of the stage. */
int devices_make_template(struct berm_error *err);
int sysfs_make_template(struct berm_error *err);

/* A detached clone of the empty file or directory, for covering. */
int stage_void_clone(bool directory);
