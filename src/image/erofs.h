/*
 * erofs.h - from a directory to a reproducible erofs file, and the digest of an image. Private to src/image.
 */
#pragma once

#include "image/image.h"

/*
 * Writes `file` (a path) from the tree `rootfs` with mkfs.erofs: not compressed, because programs are mapped and
 * run straight from the page cache; with owners, modes, times, hard links and extended attributes. The same tree
 * gives the same bytes.
 */
int erofs_make(const char *rootfs, const char *file, const struct image_progress *progress, struct berm_error *err);

/* SHA-256 of the two files' bytes, one after the other, both read from their beginning. */
int image_digest(int rootfs_fd, int config_fd, const struct image_progress *progress,
                 uint8_t digest[IMAGE_DIGEST_BYTES], struct berm_error *err);
