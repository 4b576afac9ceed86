/*
 * sysfs.c - the template of every sandbox's /sys: not the host's with holes covered, but empty directories and the
 * few parts of it that programs look for. A sandbox shows a clone of it, in which every mount has its price, so
 * there are not more of them than needed.
 */
#include "stage.h"

#include "mounts.h"

#include <fcntl.h>
#include <sys/stat.h>

#define READ_ONLY (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

/* Every directory before what is in it. */
static const char *const directories[] = {
    "block",
    "bus",
    "class",
    "class/net",
    "dev",
    "devices",
    "devices/system",
    "devices/system/cpu",
    "devices/system/node",
    "devices/virtual",
    "devices/virtual/net",
    "firmware",
    "fs",
    "fs/cgroup",
    "kernel",
    "kernel/mm",
    "kernel/mm/transparent_hugepage",
    "module",
    "power",
};

/* What libc, language runtimes and allocators size themselves by; and the sandbox's network, which is `lo`. */
static const char *const shown[] = {
    "devices/system/cpu", "devices/system/node", "kernel/mm/transparent_hugepage",
    "class/net",          "devices/virtual/net",
};

/* Takes copies of the parts while the file system is attached, for nothing can be cloned out of a detached one. */
static int take_parts(int parts[ARRAY_SIZE(shown)], struct berm_error *err)
{
    _cleanup_close_ int sys = mount_new("sysfs", NULL, READ_ONLY);

    if (sys < 0 || mount_attach(sys, AT_FDCWD, STAGE_SYS) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "mount sysfs");
    for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
        parts[i] = mount_clone(sys, shown[i], false);
        if (parts[i] < 0 && errno != ENOENT) /* not on this kernel */
            return berm_fail(err, BERM_E_SYSTEM, errno, "take /sys/%s", shown[i]);
    }
    if (umount2(STAGE_SYS, MNT_DETACH) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "unmount sysfs");
    return 0;
}

static int make_frame(struct berm_error *err)
{
    static const struct mount_option options[] = { { "mode", "0555" }, { "nr_inodes", "64" }, { NULL, NULL } };
    _cleanup_close_ int frame = mount_new("tmpfs", options, READ_ONLY & ~MOUNT_ATTR_RDONLY);

    if (frame < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "make the template of /sys");
    for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
        if (mkdirat(frame, directories[i], 0555) < 0)
            return berm_fail(err, BERM_E_SYSTEM, errno, "make the template of /sys");
    if (mount_add_flags(frame, MOUNT_ATTR_RDONLY, false) < 0 || mount_attach(frame, AT_FDCWD, STAGE_SYS) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "attach the template of /sys");
    return 0;
}

static int attach_parts(const int parts[ARRAY_SIZE(shown)], struct berm_error *err)
{
    _cleanup_close_ int frame = open(STAGE_SYS, O_PATH | O_DIRECTORY | O_CLOEXEC);

    for (size_t i = 0; i < ARRAY_SIZE(shown); i++)
        if (parts[i] >= 0 && mount_attach(parts[i], frame, shown[i]) < 0)
            return berm_fail(err, BERM_E_SYSTEM, errno, "attach /sys/%s", shown[i]);
    return 0;
}

int sysfs_make_template(struct berm_error *err)
{
    int parts[ARRAY_SIZE(shown)];
    int rc;

    for (size_t i = 0; i < ARRAY_SIZE(shown); i++)
        parts[i] = -EBADF;
    rc = take_parts(parts, err);
    if (rc == 0 && (rc = make_frame(err)) == 0)
        rc = attach_parts(parts, err);
    for (size_t i = 0; i < ARRAY_SIZE(shown); i++)
        close_fd(&parts[i]);
    return rc;
}
