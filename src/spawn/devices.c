/*
 * devices.c - the template of every sandbox's /dev. It is one read-only tmpfs that all of them show a clone of:
 * making nodes anew costs more than the whole clone, and each further superblock costs every memory cgroup of the
 * host.
 */
#include "stage.h"

#include "mounts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

struct device {
    const char *name;
    unsigned major, minor;
};

static const struct device device_table[] = {
    { "null", 1, 3 },    { "zero", 1, 5 }, { "full", 1, 7 },    { "random", 1, 8 },
    { "urandom", 1, 9 }, { "tty", 5, 0 },  { "fuse", 10, 229 }, /* of use only to who gets a mount, see broker.h */
};

static const char *const link_table[][2] = {
    { "fd", "/proc/self/fd" },       { "stdin", "/proc/self/fd/0" }, { "stdout", "/proc/self/fd/1" },
    { "stderr", "/proc/self/fd/2" }, { "ptmx", "pts/ptmx" },
};

static const char *const mountpoint_table[] = { "pts", "shm" };

static int fill(int dev)
{
    for (size_t i = 0; i < ARRAY_SIZE(device_table); i++) {
        const struct device *d = &device_table[i];
        if (mknodat(dev, d->name, S_IFCHR | 0666, makedev(d->major, d->minor)) < 0)
            return -1;
    }
    for (size_t i = 0; i < ARRAY_SIZE(link_table); i++)
        if (symlinkat(link_table[i][1], dev, link_table[i][0]) < 0)
            return -1;
    for (size_t i = 0; i < ARRAY_SIZE(mountpoint_table); i++)
        if (mkdirat(dev, mountpoint_table[i], 0755) < 0)
            return -1;
    return 0;
}

int devices_make_template(struct berm_error *err)
{
    static const struct mount_option options[] = { { "mode", "0755" }, { "nr_inodes", "32" }, { NULL, NULL } };
    _cleanup_close_ int dev = mount_new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    mode_t mask = umask(0);
    int rc = dev < 0 ? -1 : fill(dev);

    umask(mask);
    if (rc < 0 || mount_add_flags(dev, MOUNT_ATTR_RDONLY, false) < 0 || mount_attach(dev, AT_FDCWD, STAGE_DEV) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "make the template of /dev");
    return 0;
}
