/*
 * docker_context.h - what COPY and ADD take from the build's directory, as .dockerignore leaves it: a tar file for
 * PUT /containers/X/archive, and a digest of it for the cache.
 *
 * The context's files are opened beneath its directory only: no link in it, nor a "..", leads out. Archives that
 * ADD unpacks are found and hashed here and read by nobody but image_rewrite().
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"

struct docker_context;

/* `path` is a directory. */
int docker_context_open(const char *path, struct docker_context **ret, struct berm_error *err);
void docker_context_free(struct docker_context *context); /* NULL is allowed */

#define DOCKER_ARCHIVES_MAX 64

struct docker_archives {
    int fds[DOCKER_ARCHIVES_MAX];
    size_t count;
};

struct docker_copy {
    char *const *sources; /* patterns, relative to the context */
    size_t source_count;
    const char *target;               /* absolute; ends with '/' when files go into it, under their own names */
    long uid, gid;                    /* -1: 0 */
    long mode;                        /* -1: as it is */
    struct docker_archives *archives; /* ADD: local archives go here and not into the tar file; NULL: they do not */
};

/*
 * Writes a tar file of what is copied to `fd`, names relative to "/", and hashes it (names, modes, contents) with
 * the archives that it leaves out. Their descriptors are the caller's, also after an error.
 */
int docker_context_tar(struct docker_context *context, const struct docker_copy *copy, int fd, uint8_t digest[32],
                       struct berm_error *err);
