/*
 * rootfs.c - the overlay and what is mounted on it, but /proc.
 *
 * Nothing here walks a path of the image. An image may hold a link or a file where we want to mount; therefore
 * every mount target is made as a directory in the upper layer, which is empty and ours, before the layers are
 * joined: in the overlay it wins over whatever the image has at that name (cf. CVE-2021-30465, CVE-2026-41579).
 */
#include "rootfs.h"

#include "base/sys.h"
#include "egress.h"
#include "mounts.h"
#include "stage.h"
#include "step.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define UPPER_DIR "upper"
#define WORK_DIR  "work"

/* Set when trees can be built detached; else they are built at STAGE_ROOT and cloned from there. */
static bool builds_detached;

/* --- the upper directory --- */

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
    { "etc/resolv.conf", 0644, "nameserver " EGRESS_RESOLVER "\n" },
};

/* It has its mode at once, which nobody sees before its owner is right: the subvolume is host root's alone. */
static int make_entry(int dirfd, const struct upper_entry *e, uid_t owner)
{
    mode_t mask = umask(0);
    int fd = -EBADF, rc;

    if (!e->content)
        rc = mkdirat(dirfd, e->name, e->mode);
    else
        rc = fd = openat(dirfd, e->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, e->mode);
    umask(mask);
    if (rc >= 0 && fd >= 0)
        rc = write_all(fd, e->content, strlen(e->content));
    close_fd(&fd);
    if (rc < 0 || owner == 0)
        return MIN(rc, 0);
    return fchownat(dirfd, e->name, owner, owner, AT_SYMLINK_NOFOLLOW);
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

/* The directories of ours that the image lacks; they may be there from another image that the slot was built for.
 */
static int complete_upper(const struct rootfs_plan *plan)
{
    static const struct upper_entry workspace = { "workspace", 0755 }, tmp = { "tmp", 01777 };
    _cleanup_close_ int fd = -EBADF;
    char path[32];

    if (plan->has_workspace && plan->has_tmp)
        return 0;
    snprintf(path, sizeof(path), "%s/" UPPER_DIR, plan->name);
    fd = openat(plan->disk_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (!plan->has_workspace && make_entry(fd, &workspace, plan->uid_base) < 0 && errno != EEXIST)
        return -1;
    return plan->has_tmp || make_entry(fd, &tmp, plan->uid_base) == 0 || errno == EEXIST ? 0 : -1;
}

/*
 * Not through the overlay, which would look each name up in the image too. The files are in the upper layer only
 * and nobody has opened them yet, so the overlay cannot hold anything stale about them.
 */
int rootfs_write_identity(int disk_fd, const char *name, const char *hostname)
{
    _cleanup_close_ int etc = -EBADF;
    char text[256];

    snprintf(text, sizeof(text), "%s/" UPPER_DIR "/etc", name);
    etc = openat(disk_fd, text, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (etc < 0)
        return -1;
    snprintf(text, sizeof(text), "%s\n", hostname);
    if (write_small_file(etc, "hostname", text) < 0)
        return -1;
    snprintf(text, sizeof(text), "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t%s\n",
             hostname);
    return write_small_file(etc, "hosts", text);
}

/* --- the overlay --- */

/*
 * The image's files belong to ids 0 to 65535; the mapping shows them as the sandbox's. overlayfs cannot be mapped
 * itself, its layers can.
 */
static int mount_lower(const struct rootfs_plan *plan)
{
    _cleanup_close_ int lower = mount_clone(AT_FDCWD, plan->image, false);

    if (lower < 0 || mount_idmap(lower, plan->userns_fd) < 0)
        return -1;
    if (!builds_detached && mount_attach(lower, AT_FDCWD, STAGE_LOWER) < 0)
        return -1;
    return TAKE_FD(lower);
}

/*
 * Mounted as host root, so it keeps its own marks in trusted.* attributes, which nobody inside can set.
 * redirect_dir makes renaming a directory of the image possible; index and metacopy are off, for they trust what
 * the layers say. volatile: without it every end of a sandbox writes out the whole disk pool (the unmount syncs the
 * file system of the upper layer), and so does each fsync inside; but what a sandbox writes never outlives it.
 */
static int mount_overlay(const struct rootfs_plan *plan, int lower_fd)
{
    char upper[40], work[40];
    const struct mount_option options[] = {
        { "source", "overlay" }, { "upperdir", upper },    { "workdir", work },  { "index", "off" },
        { "metacopy", "off" },   { "redirect_dir", "on" }, { "volatile", NULL }, { NULL, NULL },
    };
    _cleanup_close_ int fs = fsopen("overlay", FSOPEN_CLOEXEC);
    int rc;

    snprintf(upper, sizeof(upper), STAGE_DISK "/%s/" UPPER_DIR, plan->name);
    snprintf(work, sizeof(work), STAGE_DISK "/%s/" WORK_DIR, plan->name);
    if (fs < 0)
        return -1;
    if (builds_detached)
        rc = fsconfig(fs, FSCONFIG_SET_FD, "lowerdir+", NULL, lower_fd);
    else
        rc = fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir", STAGE_LOWER, 0);
    return rc < 0 ? -1 : mount_finish(fs, options, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID);
}

/* overlayfs holds the layer by itself from here on. */
static int join_layers(const struct rootfs_plan *plan, struct berm_error *err)
{
    _cleanup_close_ int lower = -EBADF;
    int overlay;

    if (step_fault(STEP_LOWER) || (lower = mount_lower(plan)) < 0) {
        step_fail(err, STEP_LOWER);
        return -1;
    }
    overlay = step_fault(STEP_OVERLAY) ? -1 : mount_overlay(plan, lower);
    if (overlay < 0)
        step_fail(err, STEP_OVERLAY);
    if (!builds_detached)
        umount2(STAGE_LOWER, MNT_DETACH | UMOUNT_NOFOLLOW);
    return overlay;
}

/* --- what is mounted on it --- */

static int mount_dev(int root_fd)
{
    _cleanup_close_ int dev = mount_clone(AT_FDCWD, STAGE_DEV, false);

    return dev < 0 ? -1 : mount_attach(dev, root_fd, "dev");
}

/* gid 5 is "tty" everywhere. `max` keeps one sandbox from using up the host's terminals. */
static int mount_devpts(int root_fd, uint32_t uid_base)
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

static int mount_shm(int root_fd, const struct rootfs_plan *plan)
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

static int mount_sys(int root_fd)
{
    _cleanup_close_ int sys = mount_clone(AT_FDCWD, STAGE_SYS, true);

    return sys < 0 ? -1 : mount_attach(sys, root_fd, "sys");
}

static int furnish(int root_fd, const struct rootfs_plan *plan, struct berm_error *err)
{
    if (step_fault(STEP_DEV) || mount_dev(root_fd) < 0)
        return step_fail(err, STEP_DEV);
    if (step_fault(STEP_DEVPTS) || mount_devpts(root_fd, plan->uid_base) < 0)
        return step_fail(err, STEP_DEVPTS);
    if (step_fault(STEP_SHM) || mount_shm(root_fd, plan) < 0)
        return step_fail(err, STEP_SHM);
    if (step_fault(STEP_SYS) || mount_sys(root_fd) < 0)
        return step_fail(err, STEP_SYS);
    return 0;
}

/* Before Linux 6.15 mounts go on attached trees only: build there, take a detached copy, clear the place. */
static int furnish_attached(int overlay, const struct rootfs_plan *plan, struct berm_error *err)
{
    int tree = -1;

    if (mount_attach(overlay, AT_FDCWD, STAGE_ROOT) < 0)
        return step_fail(err, STEP_OVERLAY);
    if (furnish(overlay, plan, err) == 0 && (tree = mount_clone(AT_FDCWD, STAGE_ROOT, true)) < 0)
        step_fail(err, STEP_OVERLAY);
    umount2(STAGE_ROOT, MNT_DETACH | UMOUNT_NOFOLLOW);
    return tree;
}

/* The mark of a volatile mount, which says that nobody waited for its data: it would forbid a second one. */
static int forget_first_tree(const struct rootfs_plan *plan)
{
    char path[64];

    snprintf(path, sizeof(path), "%s/" WORK_DIR "/work/incompat/volatile/dirty", plan->name);
    if (unlinkat(plan->disk_fd, path, 0) < 0)
        return errno == ENOENT ? 0 : -1;
    *strrchr(path, '/') = '\0';
    return unlinkat(plan->disk_fd, path, AT_REMOVEDIR);
}

int rootfs_build(const struct rootfs_plan *plan, struct berm_error *err)
{
    _cleanup_close_ int overlay = -EBADF;

    if (complete_upper(plan) < 0 || forget_first_tree(plan) < 0)
        return step_fail(err, STEP_SUBVOLUME);
    overlay = join_layers(plan, err);
    if (overlay < 0)
        return -1;
    if (!builds_detached)
        return furnish_attached(overlay, plan, err);
    return furnish(overlay, plan, err) < 0 ? -1 : TAKE_FD(overlay);
}

void rootfs_probe(void)
{
    _cleanup_close_ int outer = mount_new("tmpfs", NULL, 0);
    _cleanup_close_ int inner = mount_new("tmpfs", NULL, 0);

    builds_detached = !host_pretends_to_lack(HOST_DETACHED_TREES) && outer >= 0 && inner >= 0 &&
                      mkdirat(outer, "d", 0700) == 0 && mount_attach(inner, outer, "d") == 0;
}

/* --- in the child --- */

int rootfs_attach(int tree_fd)
{
    return mount_attach(tree_fd, AT_FDCWD, STAGE_ROOT);
}

/* The old root ends up mounted over the new one at "/", and goes from there; no directory for it is needed. */
int rootfs_pivot(int tree_fd)
{
    if (fchdir(tree_fd) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
        return -1;
    if (umount2(".", MNT_DETACH) < 0)
        return -1;
    return chdir("/");
}
