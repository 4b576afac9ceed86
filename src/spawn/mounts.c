#include "mounts.h"

#include <fcntl.h>

int mount_finish(int fs_fd, const struct mount_option *options, unsigned attributes)
{
    for (; options && options->key; options++) {
        enum fsconfig_command kind = options->value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
        if (fsconfig(fs_fd, kind, options->key, options->value, 0) < 0)
            return -1;
    }
    if (fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -1;
    return fsmount(fs_fd, FSMOUNT_CLOEXEC, attributes);
}

int mount_new(const char *fstype, const struct mount_option *options, unsigned attributes)
{
    _cleanup_close_ int fs = fsopen(fstype, FSOPEN_CLOEXEC);

    return fs < 0 ? -1 : mount_finish(fs, options, attributes);
}

int mount_clone(int dirfd, const char *path, bool recursive)
{
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW;

    if (recursive)
        flags |= AT_RECURSIVE;
    if (path[0] == '\0')
        flags |= AT_EMPTY_PATH;
    return open_tree(dirfd, path, flags);
}

int mount_add_flags(int mountfd, unsigned attributes, bool recursive)
{
    struct mount_attr attr = { .attr_set = attributes };

    return mount_setattr(mountfd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr, sizeof(attr));
}

int mount_idmap(int mountfd, int userns_fd)
{
    struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns_fd };

    return mount_setattr(mountfd, "", AT_EMPTY_PATH, &attr, sizeof(attr));
}

int mount_attach(int mountfd, int dirfd, const char *path)
{
    unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | (path[0] == '\0' ? MOVE_MOUNT_T_EMPTY_PATH : 0);

    return move_mount(mountfd, "", dirfd, path, flags);
}
