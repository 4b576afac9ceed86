#include "image.h"

#include "base/sys.h"
#include "loopdev.h"
#include "mounts.h"
#include "stage.h"
#include "step.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#define ATTRIBUTES (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID)

/*
 * The kernel parses the image with its own code, so whoever can change the file can attack the kernel: only root
 * may, in particular not the daemon's user.
 */
static int check_owner(int fd, bool directory, struct stat *st, struct berm_error *err)
{
    if (fstat(fd, st) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "stat image");
    if (directory ? !S_ISDIR(st->st_mode) : !S_ISREG(st->st_mode))
        return berm_fail(err, BERM_E_IMAGE_INVALID, EINVAL, "image is not a file in a directory");
    if (st->st_uid != 0 || st->st_mode & (S_IWGRP | S_IWOTH))
        return berm_fail(err, BERM_E_IMAGE_INVALID, EACCES, "image can be written by others than root");
    return 0;
}

static int open_file(const struct image *image, struct stat *st, struct berm_error *err)
{
    _cleanup_close_ int fd = openat(image->dir_fd, IMAGE_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return berm_fail(err, BERM_E_IMAGE_NOT_FOUND, errno, "open image file");
    if (check_owner(fd, false, st, err) < 0)
        return -1;
    return TAKE_FD(fd);
}

static int mount_from_file(int fd)
{
    char source[32];
    const struct mount_option options[] = { { "source", source }, { "ro", NULL }, { NULL, NULL } };

    if (host_pretends_to_lack(HOST_FILE_IMAGES)) {
        errno = ENOTBLK;
        return -1;
    }
    snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
    return mount_new("erofs", options, ATTRIBUTES);
}

static int mount_from_loop(int fd, struct berm_error *err)
{
    struct loopdev loop;
    struct mount_option options[] = { { "source", NULL }, { "ro", NULL }, { NULL, NULL } };
    int mnt;

    if (loopdev_attach_read_only(fd, STAGE_LOOP, &loop, err) < 0)
        return -1;
    options[0].value = loop.path;
    mnt = mount_new("erofs", options, ATTRIBUTES);
    if (mnt < 0)
        berm_fail(err, BERM_E_SYSTEM, errno, "mount image");
    close_fd(&loop.fd);
    return mnt;
}

bool image_file_mounts_supported(void)
{
    _cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int mnt = fd < 0 ? -EBADF : mount_from_file(fd);

    return fd >= 0 && (mnt >= 0 || errno != ENOTBLK);
}

static bool has_directory(int root, const char *name, mode_t bits)
{
    struct stat st;

    return fstatat(root, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & bits) == bits;
}

static int mount_image(struct image_set *set, struct image *image, struct berm_error *err)
{
    struct stat st;
    _cleanup_close_ int file = open_file(image, &st, err);
    _cleanup_close_ int mnt = -EBADF;

    if (file < 0)
        return -1;
    mnt = mount_from_file(file);
    set->from_file = mnt >= 0;
    if (mnt < 0 && errno != ENOTBLK)
        return berm_fail(err, BERM_E_IMAGE_INVALID, errno, "mount image");
    if (mnt < 0 && (mnt = mount_from_loop(file, err)) < 0)
        return -1;
    image->number = ++set->next_number;
    snprintf(image->path, sizeof(image->path), STAGE_IMG "/%u", image->number);
    if (mkdir(image->path, 0700) < 0 || mount_attach(mnt, AT_FDCWD, image->path) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "attach image");
    image->file_dev = st.st_dev;
    image->file_ino = st.st_ino;
    image->has_workspace = has_directory(mnt, "workspace", 0);
    image->has_tmp = has_directory(mnt, "tmp", 01777);
    return 0;
}

static int lock(const struct image *image, struct berm_error *err)
{
    if (flock(image->dir_fd, LOCK_SH | LOCK_NB) == 0)
        return 0;
    return berm_fail(err, BERM_E_IMAGE_NOT_FOUND, errno == EWOULDBLOCK ? ENOENT : errno, "image is being removed");
}

static void unmount(struct image *image)
{
    if (image->path[0] != '\0') {
        umount2(image->path, MNT_DETACH | UMOUNT_NOFOLLOW);
        rmdir(image->path);
    }
    close_fd(&image->dir_fd);
    free(image);
}

static int open_directory(const struct image_set *set, const uint8_t digest[32], struct berm_error *err)
{
    char name[65];
    struct stat st;
    _cleanup_close_ int fd = -EBADF;

    hex_encode(digest, 32, name);
    fd = open_beneath(set->images_fd, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return berm_fail(err, BERM_E_IMAGE_NOT_FOUND, errno, "image %s", name);
    if (check_owner(fd, true, &st, err) < 0)
        return -1;
    return TAKE_FD(fd);
}

static struct image *add(struct image_set *set, const uint8_t digest[32], struct berm_error *err)
{
    struct image *image = calloc(1, sizeof(*image));

    if (!image) {
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "image");
        return NULL;
    }
    memcpy(image->digest, digest, sizeof(image->digest));
    image->dir_fd = open_directory(set, digest, err);
    /* The file is looked at under the lock, so that its removal is either refused or seen. */
    if (image->dir_fd < 0 || lock(image, err) < 0 || mount_image(set, image, err) < 0) {
        unmount(image);
        return NULL;
    }
    image->users = 1;
    image->next = set->first;
    set->first = image;
    return image;
}

/* Unlocked, it may have been removed, and even installed again, since we mounted it. */
static bool revive(const struct image_set *set, struct image *image)
{
    _cleanup_close_ int dir = open_directory(set, image->digest, NULL);
    struct stat st;

    if (dir < 0 || lock(image, NULL) < 0)
        return false;
    if (fstatat(dir, IMAGE_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == image->file_dev &&
        st.st_ino == image->file_ino)
        return true;
    flock(image->dir_fd, LOCK_UN);
    return false;
}

static void remove_from(struct image_set *set, struct image *image)
{
    struct image **link = &set->first;

    while (*link != image)
        link = &(*link)->next;
    *link = image->next;
    if (set->on_unmount)
        set->on_unmount(set, image);
    unmount(image);
}

struct image *image_use(struct image_set *set, const uint8_t digest[32], struct berm_error *err)
{
    struct image *image = set->first;

    while (image && memcmp(image->digest, digest, sizeof(image->digest)) != 0)
        image = image->next;
    if (image && image->users == 0 && !revive(set, image)) {
        remove_from(set, image);
        image = NULL;
    }
    if (!image)
        return add(set, digest, err);
    image->users++;
    return image;
}

void image_release(struct image *image, uint64_t now_ms)
{
    if (!image || --image->users > 0)
        return;
    flock(image->dir_fd, LOCK_UN);
    image->idle_since_ms = now_ms;
}

bool image_set_trim(struct image_set *set, uint64_t now_ms, uint64_t idle_ms)
{
    struct image *next;
    bool idle_left = false;

    for (struct image *image = set->first; image; image = next) {
        next = image->next;
        if (image->users > 0)
            continue;
        if (now_ms - image->idle_since_ms >= idle_ms)
            remove_from(set, image);
        else
            idle_left = true;
    }
    return idle_left;
}
