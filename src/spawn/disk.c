#include "disk.h"

#include "base/fault.h"
#include "base/sys.h"
#include "mounts.h"
#include "step.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#ifndef BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA
#define BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA 4
#endif

#define POOL_MIN (UINT64_C(2) << 30)

extern char **environ;

/* --- the pool --- */

static uint64_t choose_size(int data_fd, uint64_t asked)
{
    struct statvfs fs;
    uint64_t size = asked;

    if (size == 0 && fstatvfs(data_fd, &fs) == 0)
        size = (uint64_t)fs.f_bavail * fs.f_frsize / 4 * 3;
    size = MAX(size, asked ? asked : POOL_MIN);
    return size & ~UINT64_C(0xfffff);
}

/* mkfs.btrfs on the file through our descriptor of it. */
static int run_mkfs(int fd, struct berm_error *err)
{
    char path[64];
    char *const argv[] = { (char[]){ "mkfs.btrfs" },
                           (char[]){ "-q" },
                           (char[]){ "-K" },
                           (char[]){ "-m" },
                           (char[]){ "single" },
                           path,
                           NULL };
    posix_spawn_file_actions_t quiet; /* -q still prints advice */
    pid_t pid;
    int status, rc;

    snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&quiet, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    rc = posix_spawnp(&pid, argv[0], &quiet, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&quiet);
    if (rc != 0)
        return berm_fail(err, BERM_E_SYSTEM, rc, "run mkfs.btrfs (package btrfs-progs)");
    if (RETRY_EINTR(waitpid(pid, &status, 0)) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "wait for mkfs.btrfs");
    if (status != 0)
        return berm_fail(err, BERM_E_SYSTEM, 0, "mkfs.btrfs failed with status %d", status);
    return 0;
}

/* A new image gets its name only when it is whole, so that a crash here never leaves half a file system behind. */
static int make_image(int data_fd, uint64_t size, struct berm_error *err)
{
    static const char temporary[] = DISK_FILE_NAME ".new";
    _cleanup_close_ int fd = -EBADF;

    if (unlinkat(data_fd, temporary, 0) < 0 && errno != ENOENT)
        return berm_fail(err, BERM_E_SYSTEM, errno, "remove %s", temporary);
    fd = openat(data_fd, temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "make %s", temporary);
    if (run_mkfs(fd, err) < 0)
        return -1;
    FAULT_POINT("spawn.disk.made");
    if (fsync(fd) < 0 || renameat(data_fd, temporary, data_fd, DISK_FILE_NAME) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "name %s", DISK_FILE_NAME);
    return 0;
}

static int open_image(int data_fd, uint64_t pool_bytes, struct berm_error *err)
{
    const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(data_fd, DISK_FILE_NAME, flags);

    if (fd < 0 && errno == ENOENT) {
        if (make_image(data_fd, choose_size(data_fd, pool_bytes), err) < 0)
            return -1;
        fd = openat(data_fd, DISK_FILE_NAME, flags);
    }
    if (fd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "open %s", DISK_FILE_NAME);
    return fd;
}

/* A pool that the operator has made larger since; it never shrinks. */
static int grow(int image_fd, const struct loopdev *loop, int disk_fd, uint64_t pool_bytes, struct berm_error *err)
{
    struct btrfs_ioctl_vol_args args = { .name = "max" };
    struct stat st;

    if (fstat(image_fd, &st) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "stat %s", DISK_FILE_NAME);
    if (pool_bytes <= (uint64_t)st.st_size)
        return 0;
    if (ftruncate(image_fd, (off_t)choose_size(-1, pool_bytes)) < 0 || loopdev_update_size(loop) < 0 ||
        ioctl(disk_fd, BTRFS_IOC_RESIZE, &args) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "grow the disk pool");
    return 0;
}

/* Simple quotas (Linux 6.7) cost nothing on deletion; older kernels count with full quota groups. */
static int enable_quota(int disk_fd, bool *ret_simple, struct berm_error *err)
{
    struct btrfs_ioctl_quota_ctl_args args = { .cmd = BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA };

    if (!host_pretends_to_lack(HOST_SIMPLE_QUOTA) && ioctl(disk_fd, BTRFS_IOC_QUOTA_CTL, &args) == 0) {
        *ret_simple = true;
        return 0;
    }
    args.cmd = BTRFS_QUOTA_CTL_ENABLE;
    if (ioctl(disk_fd, BTRFS_IOC_QUOTA_CTL, &args) < 0 && errno != EEXIST)
        return berm_fail(err, BERM_E_SYSTEM, errno, "enable btrfs quotas");
    *ret_simple = false;
    return 0;
}

int disk_pool_mount(const struct disk_pool *pool)
{
    const struct mount_option options[] = {
        { "source", pool->loop.path }, { "nodatasum", NULL }, { "ssd", NULL },
        { "discard", "async" },        { NULL, NULL },
    };

    return mount_new("btrfs", options, MOUNT_ATTR_NOATIME | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID);
}

static int set_up(struct disk_pool *pool, int image_fd, uint64_t pool_bytes, struct berm_error *err)
{
    _cleanup_close_ int root = -EBADF;

    pool->mount_fd = disk_pool_mount(pool);
    if (pool->mount_fd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "mount the disk pool");
    FAULT_POINT("spawn.disk.mounted");
    root = openat(pool->mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || fchmod(root, 0700) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "open the disk pool");
    if (grow(image_fd, &pool->loop, root, pool_bytes, err) < 0)
        return -1;
    return enable_quota(root, &pool->simple_quota, err);
}

int disk_pool_open(int data_fd, uint64_t pool_bytes, struct disk_pool *ret, struct berm_error *err)
{
    _cleanup_close_ int image = open_image(data_fd, pool_bytes, err);

    *ret = (struct disk_pool){ .loop.fd = -EBADF, .mount_fd = -EBADF };
    if (image < 0 || loopdev_attach(image, &ret->loop, err) < 0)
        return -1;
    FAULT_POINT("spawn.disk.attached");
    if (set_up(ret, image, pool_bytes, err) < 0) {
        disk_pool_close(ret);
        return -1;
    }
    return 0;
}

void disk_pool_close(struct disk_pool *pool)
{
    close_fd(&pool->mount_fd);
    close_fd(&pool->loop.fd);
}

/* --- subvolumes --- */

static void set_name(char *to, size_t size, const char *name)
{
    snprintf(to, size, "%s", name);
}

int disk_subvolume_create(int disk_fd, const char *name)
{
    struct btrfs_ioctl_vol_args args = { 0 };

    set_name(args.name, sizeof(args.name), name);
    return ioctl(disk_fd, BTRFS_IOC_SUBVOL_CREATE, &args);
}

int disk_snapshot(int disk_fd, const char *name, int from_fd)
{
    struct btrfs_ioctl_vol_args_v2 args = { .fd = from_fd, .flags = BTRFS_SUBVOL_RDONLY };

    set_name(args.name, sizeof(args.name), name);
    return ioctl(disk_fd, BTRFS_IOC_SNAP_CREATE_V2, &args);
}

int disk_subvolume_destroy(int disk_fd, const char *name)
{
    struct btrfs_ioctl_vol_args args = { 0 };

    set_name(args.name, sizeof(args.name), name);
    return ioctl(disk_fd, BTRFS_IOC_SNAP_DESTROY, &args);
}

int disk_set_limit(int subvolume_fd, uint64_t bytes)
{
    struct btrfs_ioctl_qgroup_limit_args args = {
        .lim = { .flags = BTRFS_QGROUP_LIMIT_MAX_RFER, .max_rfer = bytes },
    };

    return ioctl(subvolume_fd, BTRFS_IOC_QGROUP_LIMIT, &args);
}

static int subvolume_id(int fd, uint64_t *ret)
{
    struct btrfs_ioctl_ino_lookup_args args = { .objectid = BTRFS_FIRST_FREE_OBJECTID };

    if (ioctl(fd, BTRFS_IOC_INO_LOOKUP, &args) < 0)
        return -1;
    *ret = args.treeid;
    return 0;
}

int disk_figures_open(int disk_fd)
{
    _cleanup_close_ int sys = -EBADF;
    struct btrfs_ioctl_fs_info_args info = { 0 };
    const uint8_t *u = info.fsid;
    char path[80];

    if (ioctl(disk_fd, BTRFS_IOC_FS_INFO, &info) < 0)
        return -1;
    sys = mount_new("sysfs", NULL, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (sys < 0)
        return -1;
    snprintf(path, sizeof(path),
             "fs/btrfs/%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x/qgroups", u[0], u[1],
             u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
    return openat(sys, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* 0 as well when nobody tells. */
static uint64_t not_counted_yet(int figures_fd, uint64_t id)
{
    _cleanup_close_ int fd = -EBADF;
    char text[32];
    uint64_t bytes;
    ssize_t n;

    snprintf(text, sizeof(text), "0_%llu/rsv_data", (unsigned long long)id);
    fd = openat(figures_fd, text, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, sizeof(text));
    if (n < 2 || str_to_u64((struct str){ text, (size_t)n - 1 }, &bytes) < 0)
        return 0;
    return bytes;
}

int disk_usage(int figures_fd, int subvolume_fd, uint64_t *ret_bytes)
{
    struct btrfs_ioctl_search_args args = { 0 };
    struct btrfs_ioctl_search_header header;
    struct btrfs_qgroup_info_item item;
    uint64_t id;

    if (subvolume_id(subvolume_fd, &id) < 0)
        return -1;
    args.key = (struct btrfs_ioctl_search_key){
        .tree_id = BTRFS_QUOTA_TREE_OBJECTID,
        .min_type = BTRFS_QGROUP_INFO_KEY,
        .max_type = BTRFS_QGROUP_INFO_KEY,
        .min_offset = id,
        .max_offset = id,
        .max_transid = UINT64_MAX,
        .nr_items = 1,
    };
    if (ioctl(subvolume_fd, BTRFS_IOC_TREE_SEARCH, &args) < 0)
        return -1;
    memcpy(&header, args.buf, sizeof(header));
    if (args.key.nr_items == 0 || header.len < sizeof(item)) {
        errno = ENOENT;
        return -1;
    }
    memcpy(&item, args.buf + sizeof(header), sizeof(item));
    *ret_bytes = le64toh(item.rfer) + not_counted_yet(figures_fd, id);
    return 0;
}
