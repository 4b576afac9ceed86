/*
 * loopdev.h - loop devices, for the disk image and for images on kernels that cannot mount erofs from a file.
 */
#pragma once

#include "base/error.h"

struct loopdev {
    int fd; /* of the block device; the device frees itself when this and every mount of it are gone */
    char path[32];
};

/*
 * Attaches `backing_fd` for reading and writing, or finds the device that it is already attached to: one file on
 * two devices would be two caches over the same blocks, which destroys a file system. Direct I/O, autoclear.
 */
int loopdev_attach(int backing_fd, struct loopdev *ret, struct berm_error *err);

/* A new device that only reads. `dev_dir` is where nodes are, or are made. */
int loopdev_attach_read_only(int backing_fd, const char *dev_dir, struct loopdev *ret, struct berm_error *err);

/* Tells the device that its file has grown. */
int loopdev_update_size(const struct loopdev *loop);
