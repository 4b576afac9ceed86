/*
 * image.h - the images that sandboxes run: each mounted once, read-only, straight from its file where the kernel
 * can (Linux 6.12), else through a loop device. While a sandbox uses an image the lock on its directory is held
 * shared, so that removing it can be refused; afterwards it stays mounted for a while without the lock, for the
 * next sandbox.
 */
#pragma once

#include "base/error.h"

#include <sys/types.h>

#define IMAGE_FILE "rootfs.erofs"

struct image {
    struct image *next;
    uint8_t digest[32];
    uint32_t number; /* never used again for another one */
    char path[32];   /* of the mount in the stage */
    int dir_fd;
    dev_t file_dev;
    ino_t file_ino;
    uint32_t users;
    uint64_t idle_since_ms;
    bool has_workspace, has_tmp;
};

struct image_set {
    struct image *first;
    uint32_t next_number;
    int images_fd;
    bool from_file; /* seen to work */
    void (*on_unmount)(struct image_set *set, const struct image *image);
};

/* The image with one more user, or NULL. ENOENT is that of an image that is not installed. */
struct image *image_use(struct image_set *set, const uint8_t digest[32], struct berm_error *err);
void image_release(struct image *image, uint64_t now_ms);

/* Unmounts images without users since `idle_ms` before `now_ms`. True while idle images are left. */
bool image_set_trim(struct image_set *set, uint64_t now_ms, uint64_t idle_ms);

/* Whether this kernel mounts erofs from a file, told by trying it on our own program, which is no image. */
bool image_file_mounts_supported(void);
