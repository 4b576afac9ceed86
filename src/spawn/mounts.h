/*
 * mounts.h - the mount calls of Linux 5.2 and later (fsopen, open_tree, move_mount, mount_setattr), in the few
 * forms that are needed. Everything is made detached and attached by descriptor, so no name in a tree that a
 * sandbox or an image controls is ever walked. All return a descriptor or 0, or -1 with errno.
 */
#pragma once

#include "base/base.h"

#include <sys/mount.h>

/* One fsconfig option; value NULL is a flag. The last row has a NULL key. */
struct mount_option {
    const char *key;
    const char *value;
};

/* fsopen, fsconfig, fsmount: a detached mount with these MOUNT_ATTR_* flags. */
int mount_new(const char *fstype, const struct mount_option *options, unsigned attributes);

/* The last steps of it, for a file system context that has been begun. */
int mount_finish(int fs_fd, const struct mount_option *options, unsigned attributes);

/* A detached copy of the mount at `path` below `dirfd`; with `recursive` of everything mounted below it too. */
int mount_clone(int dirfd, const char *path, bool recursive);

/* Adds MOUNT_ATTR_* flags to a detached mount (to all of its tree with `recursive`). */
int mount_add_flags(int mountfd, unsigned attributes, bool recursive);

/* Gives the detached mount the id mapping of a user namespace. */
int mount_idmap(int mountfd, int userns_fd);

/* Puts it at `path` below `dirfd`, "" for `dirfd` itself. A last component that is a link is not followed. */
int mount_attach(int mountfd, int dirfd, const char *path);
