/*
 * store_write.h - changes to the store's names and digests. Private to src/image.
 */
#pragma once

#include "image/store.h"

#define STORE_TMP_PREFIX    ".tmp-"
#define STORE_TMP_NAME_SIZE 24

/* The descriptor that holds the store's lock until it is closed. */
int store_lock(int images_fd, struct berm_error *err);

/* A fresh name for something that is being made or removed. */
void store_choose_tmp_name(char out[STORE_TMP_NAME_SIZE]);

/* With the lock held: removes dead stages, and images that nothing names or holds. */
int store_sweep(int images_fd, struct berm_error *err);

/*
 * Takes the lock, moves the complete directory `from_fd`/`from` to the digest's place (when the same content is
 * there already, that one stays), points `name` at it and sweeps.
 */
int store_install(int images_fd, int from_fd, const char *from, const char *name, const char *digest,
                  struct berm_error *err);
