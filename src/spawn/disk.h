/*
 * disk.h - the pool that the sandboxes' upper directories live in: one btrfs in a sparse file, one subvolume per
 * sandbox, and on each an exact limit of its bytes by (simple) quota groups. It needs nothing of the file system
 * below but sparse files, so it works where that has no project quotas, and a full subvolume gives EDQUOT to its
 * own sandbox only.
 */
#pragma once

#include "base/error.h"
#include "loopdev.h"

#define DISK_FILE_NAME "disk.btrfs"

struct disk_pool {
    struct loopdev loop;
    int mount_fd; /* mounted, but attached nowhere on the host */
    bool simple_quota;
};

/*
 * Attaches the pool's file, or finds it attached, making it first if there is none, and mounts it where nobody sees
 * it: as long as a sandbox lives its overlay holds the file system, so that no mount is needed to find it again,
 * and none can be held by a stranger's mount namespace. `pool_bytes` 0 chooses a size.
 */
int disk_pool_open(int data_fd, uint64_t pool_bytes, struct disk_pool *ret, struct berm_error *err);

/* Another detached mount of it. -1 with errno. */
int disk_pool_mount(const struct disk_pool *pool);

/* Lets go of it. With the last sandbox, or now, it is unmounted and its loop device detached. */
void disk_pool_close(struct disk_pool *pool);

/* Below `disk_fd`. EEXIST if there is one. */
int disk_subvolume_create(int disk_fd, const char *name);
/* A read-only one of the subvolume that `from_fd` is open on. */
int disk_snapshot(int disk_fd, const char *name, int from_fd);
int disk_subvolume_destroy(int disk_fd, const char *name);
int disk_set_limit(int subvolume_fd, uint64_t bytes);
/*
 * Quota groups count at commits, the last of which may be 30 s ago. sysfs tells what has been taken out of a limit
 * and is not counted yet: its directory of the pool, for disk_usage(). -1 where there is none; then only what is
 * counted is told.
 */
int disk_figures_open(int disk_fd);
int disk_usage(int figures_fd, int subvolume_fd, uint64_t *ret_bytes);
