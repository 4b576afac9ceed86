#include "loopdev.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define LOOP_MAJOR      7
#define MISC_MAJOR      10
#define LOOP_CTRL_MINOR 237
#define ATTACH_RETRIES  64

/* A container-like /dev has few loop nodes or none, while the kernel makes devices on demand. */
static int open_loop_node(const char *dev_dir, int number, int flags, struct loopdev *ret)
{
    snprintf(ret->path, sizeof(ret->path), "%s/loop%d", dev_dir, number);
    ret->fd = open(ret->path, flags | O_CLOEXEC);
    if (ret->fd < 0 && errno == ENOENT) {
        if (mknod(ret->path, S_IFBLK | 0600, makedev(LOOP_MAJOR, (unsigned)number)) < 0 && errno != EEXIST)
            return -1;
        ret->fd = open(ret->path, flags | O_CLOEXEC);
    }
    return ret->fd < 0 ? -1 : 0;
}

static bool backed_by(int loop_fd, const struct stat *file)
{
    struct loop_info64 info;

    if (ioctl(loop_fd, LOOP_GET_STATUS64, &info) < 0)
        return false;
    return info.lo_device == file->st_dev && info.lo_inode == file->st_ino;
}

/* 1 when found, 0 when not. */
static int find_attached(const struct stat *file, struct loopdev *ret)
{
    DIR *dir = opendir("/sys/block");
    struct dirent *entry;
    int found = 0;

    if (!dir)
        return 0;
    while (!found && (entry = readdir(dir))) {
        uint64_t number;
        char attached[300];

        if (strncmp(entry->d_name, "loop", 4) != 0 || str_to_u64(str_from(entry->d_name + 4), &number) < 0)
            continue;
        snprintf(attached, sizeof(attached), "/sys/block/%s/loop", entry->d_name);
        if (access(attached, F_OK) < 0 || open_loop_node("/dev", (int)number, O_RDWR, ret) < 0)
            continue;
        /* Asked with the device open, so that it cannot detach itself between the answer and our mount. */
        if (backed_by(ret->fd, file))
            found = 1;
        else
            close_fd(&ret->fd);
    }
    closedir(dir);
    return found;
}

static int configure(int loop_fd, int backing_fd, bool read_only)
{
    struct loop_config config = {
        .fd = (uint32_t)backing_fd,
        .block_size = 0,
        .info.lo_flags = LO_FLAGS_AUTOCLEAR | (read_only ? LO_FLAGS_READ_ONLY : LO_FLAGS_DIRECT_IO),
    };

    return ioctl(loop_fd, LOOP_CONFIGURE, &config);
}

static int attach_free(int control, const char *dev_dir, int backing_fd, bool read_only, struct loopdev *ret)
{
    int number = ioctl(control, LOOP_CTL_GET_FREE);

    if (number < 0 || open_loop_node(dev_dir, number, read_only ? O_RDONLY : O_RDWR, ret) < 0)
        return -1;
    if (configure(ret->fd, backing_fd, read_only) < 0) {
        close_fd(&ret->fd);
        return -1;
    }
    return 0;
}

static int open_control(const char *dev_dir)
{
    char path[32];
    int fd;

    snprintf(path, sizeof(path), "%s/loop-control", dev_dir);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    if (mknod(path, S_IFCHR | 0600, makedev(MISC_MAJOR, LOOP_CTRL_MINOR)) < 0 && errno != EEXIST)
        return -1;
    return open(path, O_RDWR | O_CLOEXEC);
}

static int attach(const char *dev_dir, int backing_fd, bool read_only, struct loopdev *ret, struct berm_error *err)
{
    _cleanup_close_ int control = open_control(dev_dir);

    if (control < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "open loop-control");
    /* EBUSY: another process took the free device between our two calls. */
    for (int i = 0; i < ATTACH_RETRIES; i++) {
        if (attach_free(control, dev_dir, backing_fd, read_only, ret) == 0)
            return 0;
        if (errno != EBUSY && errno != ENXIO)
            break;
    }
    return berm_fail(err, BERM_E_SYSTEM, errno, "attach a loop device");
}

int loopdev_attach(int backing_fd, struct loopdev *ret, struct berm_error *err)
{
    struct stat file;

    ret->fd = -EBADF;
    if (fstat(backing_fd, &file) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "stat the backing file");
    if (find_attached(&file, ret))
        return 0;
    return attach("/dev", backing_fd, false, ret, err);
}

int loopdev_attach_read_only(int backing_fd, const char *dev_dir, struct loopdev *ret, struct berm_error *err)
{
    ret->fd = -EBADF;
    return attach(dev_dir, backing_fd, true, ret, err);
}

int loopdev_update_size(const struct loopdev *loop)
{
    return ioctl(loop->fd, LOOP_SET_CAPACITY, 0);
}
