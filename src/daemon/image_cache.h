/*
 * image_cache.h - image names to digests and environments, without a system call in the usual case.
 *
 * A digest's configuration never changes and is read once. What a name means may change at any time (berm image
 * build moves it); the directory of the names is watched, and without a watch every look-up reads the store.
 */
#pragma once

#include "base/loop.h"
#include "image/image.h"

struct image_cache;

struct image_entry {
    uint8_t digest[IMAGE_DIGEST_BYTES];
    char digest_hex[2 * IMAGE_DIGEST_BYTES + 1];
    struct arena arena;
    struct image_config config;
};

struct image_cache *image_cache_new(struct loop *loop, int images_dirfd, struct berm_error *err);
void image_cache_free(struct image_cache *cache);

/* By name or digest. The entry is borrowed and stays valid as long as the cache. NULL with *err. */
const struct image_entry *image_cache_resolve(struct image_cache *cache, const char *name_or_digest,
                                              struct berm_error *err);
/* What a name meant when a sandbox was started with it. */
const struct image_entry *image_cache_by_digest(struct image_cache *cache, const uint8_t digest[IMAGE_DIGEST_BYTES],
                                                struct berm_error *err);
const char *image_cache_dir(const struct image_cache *cache);
