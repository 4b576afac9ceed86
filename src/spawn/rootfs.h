/*
 * rootfs.h - the file system of a sandbox: an overlay of its image and its own upper directory with /dev and /sys
 * mounted on it, put together by the worker as one detached tree, ahead of time where it can. The sandbox's child
 * attaches the tree, adds what only it can make (/proc), and pivots into it. All fail with -1 and errno.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

struct rootfs_plan {
    const char *name;            /* of the subvolume, "s12" */
    const char *image;           /* where it is mounted, "/img/3" */
    bool has_workspace, has_tmp; /* of the image */
    int disk_fd;
    int userns_fd;
    uint32_t uid_base;
    uint64_t shm_bytes;
};

/* Whether this kernel (Linux 6.15) mounts on trees that are attached nowhere; looked up once, in the stage. */
void rootfs_probe(void);

/* Fills a new subvolume: the layers, and every mount target as a real directory of ours. */
int rootfs_prepare_upper(int subvolume_fd, uint32_t uid_base);

/* The detached tree: a descriptor. *err names the step that failed. */
int rootfs_build(const struct rootfs_plan *plan, struct berm_error *err);

/* The files that tell the sandbox its name, written below the overlay. */
int rootfs_write_identity(int disk_fd, const char *name, const char *hostname);

/* In the child: attaches the tree; makes it "/" and lets go of the stage. */
int rootfs_attach(int tree_fd);
int rootfs_pivot(int tree_fd);

/* procfs.c, in the child: returns the mount. */
int procfs_mount(int root_fd);
int procfs_mask(int proc_fd);
/* Looks once which of the paths to mask this kernel has. */
void procfs_probe(void);
