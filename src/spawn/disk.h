/*
 * disk.h - the pool that the sandboxes' upper directories live in: one btrfs in a sparse file, one subvolume per
 * sandbox, and on each an exact limit of its bytes by (simple) quota groups. It needs nothing of the file system
 * below but sparse files, so it works where that has no project quotas, and a full subvolume gives EDQUOT to its
 * own sandbox only.
 */
#pragma once

#include "base/error.h"

#define DISK_MOUNT_NAME "disk"
#define DISK_FILE_NAME  "disk.btrfs"

/*
 * Makes sure that <data>/disk is the mounted pool, in the mount namespace of the caller: finds it mounted, or
 * attaches and mounts the image, making it first if there is none. `pool_bytes` 0 chooses. Returns a descriptor of
 * its root.
 */
int disk_open(int data_fd, uint64_t pool_bytes, bool *ret_simple_quota, struct berm_error *err);

/* Unmounts <data>/disk if it is mounted; its loop device goes with it. */
int disk_close(int data_fd, struct berm_error *err);

/* Below `disk_fd`. EEXIST if there is one. */
int disk_subvolume_create(int disk_fd, const char *name);
int disk_subvolume_destroy(int disk_fd, const char *name);
int disk_set_limit(int subvolume_fd, uint64_t bytes);
int disk_usage(int subvolume_fd, uint64_t *ret_bytes);
