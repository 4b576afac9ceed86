/*
 * rootfs.h - the file system of one sandbox, put together by its child while that is still host root inside the
 * sandbox's own mount, pid and network namespaces. Each function fails with -1 and errno.
 */
#pragma once

#include "base/base.h"

struct rootfs_plan {
    char upper[64]; /* "/disk/s12/upper" */
    char work[64];
    int disk_fd;
    char identity_dir[48]; /* "s12/upper/etc", below disk_fd */
    const char *image;     /* "/img/3" */
    int userns_fd;
    uint32_t uid_base;
    uint64_t shm_bytes;
    const char *hostname;
};

int rootfs_write_identity(const struct rootfs_plan *plan);
int rootfs_mount_lower(const struct rootfs_plan *plan);
/* Returns the overlay's mount, attached at STAGE_ROOT. */
int rootfs_mount_overlay(const struct rootfs_plan *plan);
int rootfs_mount_dev(int root_fd);
int rootfs_mount_devpts(int root_fd, uint32_t uid_base);
int rootfs_mount_shm(int root_fd, const struct rootfs_plan *plan);
int rootfs_mount_sys(int root_fd);
/* Makes it "/" and lets go of the stage. */
int rootfs_pivot(int root_fd);

/* procfs.c: returns the mount. */
int procfs_mount(int root_fd);
int procfs_mask(int proc_fd);
/* Looks once which of the paths to mask this kernel has. */
void procfs_probe(void);

/* What the upper directory holds before the image is seen: every mount target, as a real directory of ours. */
int rootfs_prepare_upper(int subvolume_fd, uint32_t uid_base);
/* After the image is known: the directories of ours that it does not have. */
int rootfs_complete_upper(int disk_fd, const char *upper, uint32_t uid_base, bool has_workspace, bool has_tmp);
