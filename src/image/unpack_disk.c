#include "image/unpack_disk.h"

#include "base/sys.h"
#include "image/inode_set.h"
#include "image/store.h"
#include "image/tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define CLEAR_DEPTH_MAX 400 /* whiteouts hold a descriptor a level */

static int fail_at(struct berm_error *err, const char *path)
{
    /* What the archive asks for and the file system cannot do is the archive's fault; a full disk is not. */
    bool ours = errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == ENOMEM || errno == EMFILE;
    return berm_fail(err, ours ? BERM_E_SYSTEM : BERM_E_IMAGE_INVALID, errno, "unpacking %.120s", path);
}

static struct unpack_disk *disk_of(struct unpack_sink *sink)
{
    return container_of(sink, struct unpack_disk, sink);
}

static const char *leaf_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int restore_time(int fd, struct timespec mtime)
{
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, mtime };
    return futimens(fd, times);
}

static int open_directory(int root, const char *path)
{
    return open_in_root(root, path[0] ? path : ".", O_RDONLY | O_DIRECTORY, 0);
}

/* A directory that the archive has not listed: root's, 0755, and of no particular time. */
static int make_unlisted(int parent, const char *name)
{
    struct stat st;
    if (fstat(parent, &st) < 0 || mkdirat(parent, name, 0755) < 0)
        return -1;
    _cleanup_close_ int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fchmod(fd, 0755) < 0 || restore_time(fd, (struct timespec){ 0 }) < 0)
        return -1;
    return restore_time(parent, st.st_mtim);
}

/* Opens a directory by its plain path, making what is missing on the way. */
static int make_directories(int root, const char *path)
{
    char prefix[UNPACK_PATH_MAX];
    _cleanup_close_ int above = open_directory(root, "");
    for (size_t n = 0; above >= 0; n++) {
        n += strcspn(path + n, "/");
        str_copy((struct str){ path, n }, prefix, sizeof(prefix));
        int fd = open_directory(root, prefix);
        if (fd < 0 && errno == ENOENT && make_unlisted(above, leaf_of(prefix)) == 0)
            fd = open_directory(root, prefix);
        close_fd(&above);
        above = fd;
        if (path[n] == '\0')
            break;
    }
    return TAKE_FD(above);
}

static int release_parent(struct unpack_disk *disk)
{
    int rc = disk->parent < 0 ? 0 : restore_time(disk->parent, disk->parent_mtime);
    close_fd(&disk->parent);
    return rc;
}

/* Makes disk->parent the directory that `path` lies in. With `make` unset it must exist. */
static int enter_parent(struct unpack_disk *disk, const char *path, bool make)
{
    struct stat st;
    size_t n = (size_t)(leaf_of(path) - path);
    struct str parent = { path, n > 0 ? n - 1 : 0 };
    if (disk->parent >= 0 && str_is(parent, disk->parent_path))
        return 0;
    if (release_parent(disk) < 0)
        return -1;
    str_copy(parent, disk->parent_path, sizeof(disk->parent_path));
    int fd = make && n > 0 ? make_directories(disk->root, disk->parent_path)
                           : open_directory(disk->root, disk->parent_path);
    if (fd < 0)
        return -1;
    disk->parent = fd;
    if (fstat(fd, &st) < 0)
        return -1;
    disk->parent_mtime = st.st_mtim;
    return 0;
}

/* Removes what is in the way of an entry; what a directory entry finds as a directory stays. */
static int make_room(struct unpack_disk *disk, const char *leaf, bool directory, struct berm_error *err)
{
    struct stat st;
    if (fstatat(disk->parent, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : fail_at(err, leaf);
    if (directory && S_ISDIR(st.st_mode))
        return 0;
    return tree_remove(disk->parent, leaf, err);
}

static void set_xattrs(struct unpack_disk *disk, int fd, const struct unpack_entry *entry)
{
    for (size_t i = 0; i < entry->xattr_count; i++) {
        const struct unpack_xattr *xattr = &entry->xattrs[i];
        if (fsetxattr(fd, xattr->name, xattr->value, xattr->size, 0) < 0)
            disk->report->xattrs_dropped++;
    }
}

/* chown takes the set-id bits and capabilities away, so it comes first; the time comes last. */
static int set_metadata(struct unpack_disk *disk, int fd, const struct unpack_entry *entry)
{
    if (fchown(fd, entry->uid, entry->gid) < 0 || fchmod(fd, entry->mode) < 0)
        return -1;
    set_xattrs(disk, fd, entry);
    return restore_time(fd, entry->mtime);
}

static int remember_placed(struct unpack_disk *disk, const char *leaf)
{
    struct stat st;
    if (!disk->placed)
        return 0;
    if (fstatat(disk->parent, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    return inode_set_add(disk->placed, st.st_ino);
}

/* A link to a directory is refused by the kernel; one to a symbolic link links the link. */
static int make_hard_link(struct unpack_disk *disk, const struct unpack_entry *entry, const char *leaf,
                          struct berm_error *err)
{
    char directory[UNPACK_PATH_MAX];
    const char *target_leaf = leaf_of(entry->target);
    size_t n = (size_t)(target_leaf - entry->target);
    struct stat target, present;
    str_copy((struct str){ entry->target, n > 0 ? n - 1 : 0 }, directory, sizeof(directory));
    _cleanup_close_ int target_dir = open_directory(disk->root, directory);
    if (target_dir < 0 || fstatat(target_dir, target_leaf, &target, AT_SYMLINK_NOFOLLOW) < 0)
        return fail_at(err, entry->target);
    if (S_ISDIR(target.st_mode)) {
        errno = EISDIR;
        return fail_at(err, entry->target);
    }
    if (fstatat(disk->parent, leaf, &present, AT_SYMLINK_NOFOLLOW) == 0 && present.st_ino == target.st_ino &&
        present.st_dev == target.st_dev)
        return 0;
    if (make_room(disk, leaf, false, err) < 0)
        return -1;
    return linkat(target_dir, target_leaf, disk->parent, leaf, 0) < 0 ? fail_at(err, entry->path) : 0;
}

static int begin_directory(struct unpack_disk *disk, const struct unpack_entry *entry, const char *leaf)
{
    if (entry->path[0] == '\0') {
        disk->file = open_directory(disk->root, "");
        return disk->file < 0 ? -1 : 0;
    }
    if (mkdirat(disk->parent, leaf, 0700) < 0 && errno != EEXIST)
        return -1;
    disk->file = openat(disk->parent, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return disk->file < 0 ? -1 : 0;
}

static int begin(struct unpack_sink *sink, const struct unpack_entry *entry, struct berm_error *err)
{
    struct unpack_disk *disk = disk_of(sink);
    const char *leaf = leaf_of(entry->path);
    int rc;
    if (enter_parent(disk, entry->path, true) < 0)
        return fail_at(err, entry->path);
    if (entry->kind == UNPACK_HARDLINK)
        return make_hard_link(disk, entry, leaf, err);
    if (entry->path[0] && make_room(disk, leaf, entry->kind == UNPACK_DIRECTORY, err) < 0)
        return -1;
    switch (entry->kind) {
    case UNPACK_DIRECTORY:
        rc = begin_directory(disk, entry, leaf);
        break;
    case UNPACK_FILE:
        disk->file = openat(disk->parent, leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        rc = disk->file < 0 ? -1 : 0;
        break;
    case UNPACK_SYMLINK:
        rc = symlinkat(entry->target, disk->parent, leaf);
        break;
    default:
        rc = mknodat(disk->parent, leaf, S_IFIFO | 0600, 0);
        break;
    }
    return rc < 0 ? fail_at(err, entry->path) : 0;
}

static int write_file(struct unpack_sink *sink, uint64_t offset, const void *bytes, size_t n,
                      struct berm_error *err)
{
    struct unpack_disk *disk = disk_of(sink);
    const char *p = bytes;
    while (n > 0) {
        ssize_t written = RETRY_EINTR(pwrite(disk->file, p, n, (off_t)offset));
        if (written <= 0)
            return fail_at(err, disk->parent_path);
        p += written;
        offset += (uint64_t)written;
        n -= (size_t)written;
    }
    return 0;
}

/* Links and FIFOs have no descriptor: opening a FIFO would wait for a peer. */
static int end_without_file(struct unpack_disk *disk, const struct unpack_entry *entry, const char *leaf)
{
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, entry->mtime };
    if (fchownat(disk->parent, leaf, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    if (entry->kind == UNPACK_FIFO && fchmodat(disk->parent, leaf, entry->mode, 0) < 0)
        return -1;
    disk->report->xattrs_dropped += entry->xattr_count;
    return utimensat(disk->parent, leaf, times, AT_SYMLINK_NOFOLLOW);
}

static int end(struct unpack_sink *sink, const struct unpack_entry *entry, struct berm_error *err)
{
    struct unpack_disk *disk = disk_of(sink);
    const char *leaf = leaf_of(entry->path);
    int rc = 0;
    if (entry->kind == UNPACK_SYMLINK || entry->kind == UNPACK_FIFO)
        rc = end_without_file(disk, entry, leaf);
    else if (entry->kind != UNPACK_HARDLINK)
        rc = (entry->kind == UNPACK_FILE && ftruncate(disk->file, (off_t)entry->size) < 0)
                 ? -1
                 : set_metadata(disk, disk->file, entry);
    if (rc == 0 && entry->path[0])
        rc = remember_placed(disk, leaf);
    if (rc < 0)
        fail_at(err, entry->path);
    close_fd(&disk->file);
    /* The root is its own parent: the time that it has just been given must not be undone. */
    if (entry->path[0] == '\0')
        close_fd(&disk->parent);
    return rc;
}

static int remove_lower_at(struct unpack_disk *disk, int dirfd, const char *name, unsigned depth);

static int clear_lower_at(struct unpack_disk *disk, int dirfd, const char *path, unsigned depth)
{
    struct dir_reader dir;
    if (depth > CLEAR_DEPTH_MAX) {
        errno = ELOOP;
        return -1;
    }
    if (dir_reader_open(&dir, dirfd, path) < 0)
        return -1;
    int rc = 0;
    for (const char *name; rc == 0 && (name = dir_reader_next(&dir));)
        rc = remove_lower_at(disk, dir_reader_fd(&dir), name, depth + 1);
    int saved = errno;
    dir_reader_close(&dir);
    errno = saved;
    return rc;
}

/* Removes `name` but for what the present layer has placed, also below a directory that it has not listed. */
static int remove_lower_at(struct unpack_disk *disk, int dirfd, const char *name, unsigned depth)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -1;
    bool placed = inode_set_has(disk->placed, st.st_ino);
    if (!S_ISDIR(st.st_mode))
        return placed ? 0 : unlinkat(dirfd, name, 0);
    if (clear_lower_at(disk, dirfd, name, depth) < 0)
        return -1;
    if (!placed && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY)
        return -1;
    return 0;
}

static int remove_lower(struct unpack_sink *sink, const char *path, struct berm_error *err)
{
    struct unpack_disk *disk = disk_of(sink);
    if (enter_parent(disk, path, false) < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : fail_at(err, path);
    return remove_lower_at(disk, disk->parent, leaf_of(path), 0) < 0 ? fail_at(err, path) : 0;
}

static int clear_lower(struct unpack_sink *sink, const char *directory, struct berm_error *err)
{
    struct unpack_disk *disk = disk_of(sink);
    struct stat st;
    if (release_parent(disk) < 0)
        return fail_at(err, directory);
    _cleanup_close_ int fd = open_directory(disk->root, directory);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : fail_at(err, directory);
    if (fstat(fd, &st) < 0 || clear_lower_at(disk, fd, ".", 0) < 0 || restore_time(fd, st.st_mtim) < 0)
        return fail_at(err, directory);
    return 0;
}

int unpack_disk_init(struct unpack_disk *disk, int root, bool layer, struct image_import_report *report,
                     struct berm_error *err)
{
    *disk = (struct unpack_disk){ .sink = { begin, write_file, end, remove_lower, clear_lower },
                                  .root = root,
                                  .file = -EBADF,
                                  .parent = -EBADF,
                                  .report = report };
    if (layer && !(disk->placed = inode_set_new()))
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "unpacking");
    return 0;
}

int unpack_disk_finish(struct unpack_disk *disk, struct berm_error *err)
{
    int rc = release_parent(disk) < 0 ? fail_at(err, disk->parent_path) : 0;
    close_fd(&disk->file);
    inode_set_free(disk->placed);
    disk->placed = NULL;
    return rc;
}
