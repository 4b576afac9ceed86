/* a4_mounts.c - the mount family, old and new, and the ways out of a root directory. Run only in a mount namespace
 * that may be thrown away. */
#include "probe.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

static char workdir[] = "/tmp/berm-probe-XXXXXX";

struct mount_row {
    const char *name, *source, *type;
    unsigned long flags;
    const char *data;
};

static long attempt_mount(void *arg)
{
    const struct mount_row *row = arg;
    return sys_result(mount(row->source, workdir, row->type, row->flags, row->data));
}

static const struct mount_row mounts[] = {
    { "mount tmpfs", "none", "tmpfs", 0, NULL },
    { "mount proc", "none", "proc", 0, NULL },
    { "mount sysfs", "none", "sysfs", 0, NULL },
    { "mount devpts", "none", "devpts", 0, NULL },
    { "mount mqueue", "none", "mqueue", 0, NULL },
    { "mount cgroup2", "none", "cgroup2", 0, NULL },
    { "mount cgroup v1", "none", "cgroup", 0, "none,name=berm-probe" },
    { "mount cgroup v1 memory", "none", "cgroup", 0, "memory" },
    { "mount bpf", "none", "bpf", 0, NULL },
    { "mount debugfs", "none", "debugfs", 0, NULL },
    { "mount tracefs", "none", "tracefs", 0, NULL },
    { "mount securityfs", "none", "securityfs", 0, NULL },
    { "mount binfmt_misc", "none", "binfmt_misc", 0, NULL },
    { "mount devtmpfs", "none", "devtmpfs", 0, NULL },
    { "mount ramfs", "none", "ramfs", 0, NULL },
    { "mount overlay", "none", "overlay", 0, "lowerdir=/usr:/etc" },
    { "bind", "/", NULL, MS_BIND, NULL },
    { "bind recursively", "/", NULL, MS_BIND | MS_REC, NULL },
};

static long attempt_remount(void *arg)
{
    return sys_result(mount(NULL, arg, NULL, MS_REMOUNT | MS_BIND, NULL));
}

static long attempt_propagation(void *arg)
{
    (void)arg;
    return sys_result(mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL));
}

static long attempt_move(void *arg)
{
    (void)arg;
    return sys_result(mount("/proc", workdir, NULL, MS_MOVE, NULL));
}

/* What a sandbox may mount at all, where it must not. */
static long attempt_fuse(void *arg)
{
    char options[80];
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
    if (mount("probe", arg, "fuse", 0, options) < 0)
        return -errno;
    umount2(arg, MNT_DETACH); /* nobody serves it */
    return 0;
}

static const char *const fuse_targets[] = { "/", "/proc", "/proc/sys", "/sys", "/dev", "/dev/shm" };

static void run_old(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    if (mkdtemp(workdir) == NULL)
        broken("mkdtemp: %s", errno_name(errno));
    for (size_t i = 0; i < sizeof mounts / sizeof mounts[0]; i++)
        outcome(try_in_child(attempt_mount, (void *)&mounts[i], 30), "%s", mounts[i].name);
    for (size_t i = 0; i < sizeof fuse_targets / sizeof fuse_targets[0]; i++)
        outcome(try_in_child(attempt_fuse, (void *)fuse_targets[i], 30), "mount fuse over %s", fuse_targets[i]);
    outcome(try_in_child(attempt_remount, (void *)"/", 30), "remount / writable");
    outcome(try_in_child(attempt_remount, (void *)"/sys", 30), "remount /sys writable");
    outcome(try_in_child(attempt_remount, (void *)"/proc", 30), "remount /proc writable");
    outcome(try_in_child(attempt_move, NULL, 30), "move /proc");
    outcome(try_in_child(attempt_propagation, NULL, 30), "make / shared");
    umount2(workdir, MNT_DETACH);
    rmdir(workdir);
}

static long attempt_fsopen(void *arg)
{
    (void)arg;
    int fs = (int)syscall(SYS_fsopen, "tmpfs", 0);
    if (fs < 0)
        return -errno;
    if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -errno;
    return sys_result(syscall(SYS_fsmount, fs, 0, 0));
}

static long attempt_fsmount(void *arg)
{
    (void)arg;
    long result = sys_result(syscall(SYS_fsmount, -1, 0, 0));
    return result == -EBADF ? 0 : result; /* the call itself was let through */
}

static long attempt_fsconfig(void *arg)
{
    (void)arg;
    long result = sys_result(syscall(SYS_fsconfig, -1, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    return result == -EBADF || result == -EINVAL ? 0 : result;
}

static long attempt_fspick(void *arg)
{
    (void)arg;
    return sys_result(syscall(SYS_fspick, AT_FDCWD, "/", 0));
}

static long attempt_open_tree(void *arg)
{
    (void)arg;
    return sys_result(syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
}

static long attempt_open_tree_plain(void *arg)
{
    (void)arg;
    return sys_result(syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLOEXEC));
}

static long attempt_move_mount(void *arg)
{
    (void)arg;
    return sys_result(syscall(SYS_move_mount, AT_FDCWD, "/proc", AT_FDCWD, "/mnt", 0));
}

static long attempt_mount_setattr(void *arg)
{
    (void)arg;
    struct mount_attr attr = { .attr_clr = MOUNT_ATTR_RDONLY };
    return sys_result(syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &attr, sizeof attr));
}

static long attempt_pivot_root(void *arg)
{
    (void)arg;
    long result = sys_result(syscall(SYS_pivot_root, "/", "/"));
    return result == -EBUSY || result == -EINVAL ? 0 : result; /* past the permission check */
}

static long attempt_umount(void *arg)
{
    return sys_result(umount2(arg, MNT_DETACH));
}

static long attempt_handle(void *arg)
{
    (void)arg;
    struct {
        struct file_handle handle;
        unsigned char bytes[128];
    } buf = { .handle.handle_bytes = 128 };
    int mount_id;
    if (name_to_handle_at(AT_FDCWD, "/", &buf.handle, &mount_id, 0) < 0)
        return -errno;
    int fd = open_by_handle_at(AT_FDCWD, &buf.handle, O_RDONLY);
    return fd < 0 && errno != ESTALE ? -errno : 0;
}

static void run_new(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    static const struct {
        const char *name;
        long (*attempt)(void *arg);
    } rows[] = {
        { "fsopen and fsmount", attempt_fsopen },  { "fsmount alone", attempt_fsmount },
        { "fsconfig alone", attempt_fsconfig },    { "fspick", attempt_fspick },
        { "open_tree cloned", attempt_open_tree }, { "open_tree", attempt_open_tree_plain },
        { "move_mount", attempt_move_mount },      { "mount_setattr", attempt_mount_setattr },
        { "pivot_root", attempt_pivot_root },      { "open_by_handle_at", attempt_handle },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        outcome(try_in_child(rows[i].attempt, NULL, 30), "%s", rows[i].name);
}

/* Every mount point of the table, the deepest first: taking one off may uncover what it masks. */
static void run_unmask(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    static char points[256][256];
    size_t count = 0;
    FILE *table = fopen("/proc/self/mountinfo", "re");
    if (table == NULL)
        broken("mountinfo: %s", errno_name(errno));
    while (count < 256 && fscanf(table, "%*s %*s %*s %*s %255s%*[^\n]", points[count]) == 1)
        count++;
    fclose(table);
    for (size_t i = count; i-- > 0;)
        outcome(try_in_child(attempt_umount, points[i], 30), "umount %s", points[i]);
}

/* The classic way out of a chroot: a directory open from before, a second chroot, and up. */
static long attempt_chroot_escape(void *arg)
{
    const char *canary = arg; /* an absolute path that exists on the host only */
    char inner[] = "/tmp/berm-probe-XXXXXX";
    if (mkdtemp(inner) == NULL)
        return -errno;
    int outside = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (chroot(inner) < 0) {
        rmdir(inner);
        return -errno;
    }
    if (fchdir(outside) < 0)
        return -errno;
    for (int i = 0; i < 64; i++)
        if (chdir("..") < 0)
            break;
    if (chroot(".") < 0)
        return -errno;
    rmdir(inner);
    struct stat stat;
    return sys_result(lstat(canary, &stat));
}

static void run_chroot(int argc, char **argv)
{
    if (argc < 1)
        broken("the path of a file that only the host has");
    outcome(try_in_child(attempt_chroot_escape, argv[0], 30), "chroot out of the root");
}

const struct probe probes_a4[] = {
    { "A4-mount", "mount() of each type, binds, remounts, propagation", run_old },
    { "A4-new-api", "fsopen and its relatives, pivot_root, file handles", run_new },
    { "A4-unmask", "taking off what masks /proc and /sys", run_unmask },
    { "A4-chroot", "out of the root directory, to FILE of the host", run_chroot },
    { 0 },
};
