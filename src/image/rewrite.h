/*
 * rewrite.h - a tar stream that nobody trusts becomes another one with names below a directory of the caller's
 * choice, for a container's own tar to unpack. Nothing of it touches a file system: the work is done by a process
 * that can read the one descriptor, write the other, and open nothing.
 *
 * What is taken, left out and refused is said in unpack.h; device nodes, sockets and extended attributes do not get
 * through, nor does a name with "..". Decompresses what a tar file may be compressed with.
 */
#pragma once

#include "base/error.h"

#include <sys/types.h>

#define IMAGE_REWRITE_BYTES_MAX (8ull << 30) /* of what is written */

struct image_rewrite {
    int from_fd, to_fd; /* read from where it is; written from where it is */
    const char *prefix; /* "usr/lib"; "": the root */
    bool strip;         /* the first component of each name goes */
    bool keep_single;   /* with `strip`: a file that is the whole name keeps it, below `prefix` */
    long uid, gid;      /* of all entries */
    long mode;          /* of all but symbolic links; -1: as it is */
};

struct image_rewriting {
    pid_t pid;
    int verdict_fd;
};

/*
 * Begins; the caller may close its descriptors of the job, and must hold no other writing end of a pipe that it
 * gave as from_fd when it finishes. Needs no privilege. A successful start is to be finished.
 */
int image_rewrite_start(const struct image_rewrite *job, struct image_rewriting *ret, struct berm_error *err);
/* Blocks until all is written. IMAGE_INVALID for anything that is wrong with the stream. */
int image_rewrite_finish(struct image_rewriting *rewriting, struct berm_error *err);
