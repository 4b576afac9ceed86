/*
 * store.h - what the reading and the writing side of the image store share. Private to src/image.
 */
#pragma once

#include "image/image.h"

#include <dirent.h>

#define IMAGE_HEX_SIZE (2 * IMAGE_DIGEST_BYTES + 1)

bool image_digest_valid(struct str s);

/* The store's directory, or -1; IMAGE_NOT_FOUND when there is none. */
int image_store_open(const char *images_dir, struct berm_error *err);

/* The digest that a name points at; the image itself need not be there. */
int image_name_read(int images_fd, const char *name, char digest[IMAGE_HEX_SIZE], struct berm_error *err);

/*
 * What a user calls an image, as its digest; *ret_name is the name within `reference`, or NULL when that is a
 * digest. The image itself need not be there.
 */
int image_reference_parse(int images_fd, const char *reference, char digest[IMAGE_HEX_SIZE], const char **ret_name,
                          struct berm_error *err);

/* image_resolve() in a store that is open. */
int image_resolve_at(int images_fd, const char *reference, struct image *ret, struct berm_error *err);

/* A directory's entries but for "." and "..". The name that next() returns lives until the following call. */
struct dir_reader {
    DIR *dir;
};

int dir_reader_open(struct dir_reader *r, int dirfd, const char *path); /* -1 with errno; never follows a link */
const char *dir_reader_next(struct dir_reader *r);
void dir_reader_rewind(struct dir_reader *r);
int dir_reader_fd(const struct dir_reader *r);
void dir_reader_close(struct dir_reader *r); /* idempotent */
