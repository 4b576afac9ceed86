/*
 * docker_context.h - what COPY and ADD take: files of the build's directory, as .dockerignore leaves them, or a tar
 * stream of another container, as a tar file for PUT /containers/X/archive, and a digest of it for the cache.
 *
 * The context's files are opened beneath its directory only: no link in it, nor a "..", leads out.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"

struct docker_context;

/* `path` is a directory. */
int docker_context_open(const char *path, struct docker_context **ret, struct berm_error *err);
void docker_context_free(struct docker_context *context); /* NULL is allowed */

struct docker_copy {
    char *const *sources; /* patterns, relative to the context */
    size_t source_count;
    const char *target; /* absolute; ends with '/' when it is a directory, see docker_copy_is_directory() */
    long uid, gid;      /* -1: 0 */
    long mode;          /* -1: as it is */
    bool unpack;        /* ADD: local archives are unpacked */
};

/* Writes a tar file of what is copied to `fd`, names relative to "/", and hashes it (names, modes, contents). */
int docker_context_tar(struct docker_context *context, const struct docker_copy *copy, int fd, uint8_t digest[32],
                       struct berm_error *err);
/* The same from the tar file that GET /containers/X/archive of one source gave: its first component is replaced. */
int docker_context_rewrite(int from_fd, const struct docker_copy *copy, int fd, struct berm_error *err);
