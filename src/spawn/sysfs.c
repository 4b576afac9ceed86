/*
 * sysfs.c - the template of every sandbox's /sys: the sysfs of the worker's empty network namespace, read-only,
 * with what tells about or reaches into the host covered. A sandbox shows a clone of it.
 */
#include "stage.h"

#include "mounts.h"

#include <fcntl.h>

static const char *const covered[] = {
    "firmware", /* ACPI and EFI tables, DMI */
    "fs",       /* cgroup, bpf, pstore, and the host's file systems by name */
    "hypervisor",
    "kernel/debug",
    "kernel/tracing",
    "kernel/security",
    "kernel/config",
    "kernel/slab",
    "module", /* section addresses, parameters */
    "block",  /* the host's disks */
    "power",
    "class/dmi",
    "class/powercap",
    "devices/virtual/dmi",      /* serial numbers */
    "devices/virtual/powercap", /* energy counters: a side channel (CVE-2020-8694) */
    "devices/virtual/block",
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
