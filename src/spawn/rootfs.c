/*
 * rootfs.c - overlay, /dev, /sys and pivot_root.
 *
 * Nothing here walks a path of the image. An image may hold a link or a file where we want to mount; therefore
 * every mount target is made as a directory in the upper layer, which is empty and ours, before the layers are
 * joined: in the overlay it wins over whatever the image has at that name (cf. CVE-2021-30465, CVE-2026-41579).
 */
#include "rootfs.h"

#include "base/sys.h"
#include "mounts.h"
#include "stage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define UPPER_DIR "upper"
#define WORK_DIR  "work"

/* --- ahead of time --- */

struct upper_entry {
    const char *name;
    mode_t mode;
    const char *content; /* NULL: a directory */
};

/* /proc, /sys and /dev stay host root's: nobody inside may change what is below the mounts. */
static const struct upper_entry entries_host[] = { { "proc", 0555 }, { "sys", 0555 }, { "dev", 0755 } };
static const struct upper_entry entries_owned[] = {
    { "etc", 0755 },
    { "etc/hostname", 0644, "" },
    { "etc/hosts", 0644, "" },
    { "etc/resolv.conf", 0644, "nameserver 127.0.0.1\n" },
};

static int make_entry(int dirfd, const struct upper_entry *e, uid_t owner)
{
    if (!e->content) {
        if (mkdirat(dirfd, e->name, 0700) < 0)
            return -1;
    } else {
        _cleanup_close_ int fd = openat(dirfd, e->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 || write_all(fd, e->content, strlen(e->content)) < 0)
            return -1;
    }
    if (fchownat(dirfd, e->name, owner, owner, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    return fchmodat(dirfd, e->name, e->mode, 0);
}

static int make_entries(int dirfd, const struct upper_entry *e, size_t count, uid_t owner)
{
    for (size_t i = 0; i < count; i++)
        if (make_entry(dirfd, &e[i], owner) < 0)
            return -1;
    return 0;
}

int rootfs_prepare_upper(int subvolume_fd, uint32_t uid_base)
{
    static const struct upper_entry layers[] = { { UPPER_DIR, 0755 }, { WORK_DIR, 0700 } };
    _cleanup_close_ int upper = -EBADF;

    if (make_entry(subvolume_fd, &layers[0], uid_base) < 0 || make_entry(subvolume_fd, &layers[1], 0) < 0)
        return -1;
    upper = openat(subvolume_fd, UPPER_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (upper < 0 || make_entries(upper, entries_host, ARRAY_SIZE(entries_host), 0) < 0)
        return -1;
    return make_entries(upper, entries_owned, ARRAY_SIZE(entries_owned), uid_base);
}

int rootfs_complete_upper(int disk_fd, const char *upper, uint32_t uid_base, bool has_workspace, bool has_tmp)
{
    static const struct upper_entry workspace = { "workspace", 0755 }, tmp = { "tmp", 01777 };
    _cleanup_close_ int fd = -EBADF;

    if (has_workspace && has_tmp)
        return 0;
    fd = openat(disk_fd, upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (!has_workspace && make_entry(fd, &workspace, uid_base) < 0))
        return -1;
    return has_tmp ? 0 : make_entry(fd, &tmp, uid_base);
}

/* --- in the child --- */

static int overwrite(int dirfd, const char *name, const char *text)
{
    return write_small_file(dirfd, name, text);
}

/* Written into the upper layer by its own path, where nothing of the image is. */
int rootfs_write_identity(const struct rootfs_plan *plan)
{
    _cleanup_close_ int etc = openat(plan->disk_fd, plan->identity_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    char text[256];

    if (etc < 0)
        return -1;
    snprintf(text, sizeof(text), "%s\n", plan->hostname);
    if (overwrite(etc, "hostname", text) < 0)
        return -1;
    snprintf(text, sizeof(text), "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t%s\n",
             plan->hostname);
    if (overwrite(etc, "hosts", text) < 0)
        return -1;
    return sethostname(plan->hostname, strlen(plan->hostname));
}

/*
 * The image's files belong to ids 0 to 65535; the mapping shows them as the sandbox's. overlayfs cannot be mapped
 * itself, its layers can.
 */
int rootfs_mount_lower(const struct rootfs_plan *plan)
{
    _cleanup_close_ int lower = mount_clone(AT_FDCWD, plan->image, false);

    if (lower < 0 || mount_idmap(lower, plan->userns_fd) < 0)
        return -1;
    return mount_attach(lower, AT_FDCWD, STAGE_LOWER);
}

/*
 * Mounted as host root, so it keeps its own marks in trusted.* attributes, which nobody inside can set.
 * redirect_dir makes renaming a directory of the image possible; index and metacopy are off, for they trust what
 * the layers say.
 */
int rootfs_mount_overlay(const struct rootfs_plan *plan)
{
    const struct mount_option options[] = {
        { "source", "overlay" },     { "lowerdir", STAGE_LOWER },
        { "upperdir", plan->upper }, { "workdir", plan->work },
        { "index", "off" },          { "metacopy", "off" },
        { "redirect_dir", "on" },    { NULL, NULL },
    };
    _cleanup_close_ int overlay = mount_new("overlay", options, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID);

    if (overlay < 0 || mount_attach(overlay, AT_FDCWD, STAGE_ROOT) < 0)
        return -1;
    return TAKE_FD(overlay);
}

int rootfs_mount_dev(int root_fd)
{
    _cleanup_close_ int dev = mount_clone(AT_FDCWD, STAGE_DEV, false);

    return dev < 0 ? -1 : mount_attach(dev, root_fd, "dev");
}

/* gid 5 is "tty" everywhere. `max` keeps one sandbox from using up the host's terminals. */
int rootfs_mount_devpts(int root_fd, uint32_t uid_base)
{
    char gid[16];
    const struct mount_option options[] = {
        { "source", "devpts" }, { "newinstance", NULL }, { "ptmxmode", "0666" }, { "mode", "0620" },
        { "gid", gid },         { "max", "256" },        { NULL, NULL },
    };
    _cleanup_close_ int pts = -EBADF;

    snprintf(gid, sizeof(gid), "%u", uid_base + 5);
    pts = mount_new("devpts", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    return pts < 0 ? -1 : mount_attach(pts, root_fd, "dev/pts");
}

int rootfs_mount_shm(int root_fd, const struct rootfs_plan *plan)
{
    char size[24], id[16];
    const struct mount_option options[] = {
        { "source", "shm" }, { "mode", "1777" }, { "size", size }, { "nr_inodes", "65536" },
        { "uid", id },       { "gid", id },      { NULL, NULL },
    };
    _cleanup_close_ int shm = -EBADF;

    snprintf(size, sizeof(size), "%llu", (unsigned long long)plan->shm_bytes);
    snprintf(id, sizeof(id), "%u", plan->uid_base);
    shm = mount_new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    return shm < 0 ? -1 : mount_attach(shm, root_fd, "dev/shm");
}

int rootfs_mount_sys(int root_fd)
{
    _cleanup_close_ int sys = mount_clone(AT_FDCWD, STAGE_SYS, true);

    return sys < 0 ? -1 : mount_attach(sys, root_fd, "sys");
}

/* The old root ends up mounted over the new one at "/", and goes from there; no directory for it is needed. */
int rootfs_pivot(int root_fd)
{
    if (fchdir(root_fd) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
        return -1;
    if (umount2(".", MNT_DETACH) < 0)
        return -1;
    return chdir("/");
}
