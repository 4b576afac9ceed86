/*
 * sysfs.c - the template of every sandbox's /sys: the sysfs of the worker's empty network namespace, read-only,
 * with what tells about or reaches into the host covered. A sandbox shows a clone of it.
 */
#include "stage.h"

#include "mounts.h"

#include <fcntl.h>

/*
 * Every cover is a mount in every sandbox, so only what has something to cover: file systems that hosts mount below
 * /sys (cgroup, debugfs, tracefs, securityfs) are not in a new sysfs.
 */
static const char *const covered[] = {
    "firmware",                 /* ACPI and EFI tables, DMI */
    "fs",                       /* the host's file systems by name */
    "module",                   /* parameters and addresses */
    "block",                    /* the host's disks */
    "devices/virtual/dmi",      /* serial numbers */
    "devices/virtual/powercap", /* energy counters: a side channel (CVE-2020-8694) */
};

int sysfs_make_template(struct berm_error *err)
{
    const unsigned attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    _cleanup_close_ int sys = mount_new("sysfs", NULL, attributes);

    if (sys < 0 || mount_attach(sys, AT_FDCWD, STAGE_SYS) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "make the template of /sys");
    for (size_t i = 0; i < ARRAY_SIZE(covered); i++) {
        _cleanup_close_ int target = openat(sys, covered[i], O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        _cleanup_close_ int cover = -EBADF;
        if (target < 0)
            continue; /* not on this kernel */
        cover = stage_void_clone(true);
        if (cover < 0 || mount_attach(cover, target, "") < 0)
            return berm_fail(err, BERM_E_SYSTEM, errno, "cover /sys/%s", covered[i]);
    }
    return 0;
}
