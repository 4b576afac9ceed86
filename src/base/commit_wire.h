/*
 * commit_wire.h - what berm-commit, which makes an image of a sandbox's files, says to berm-spawn when it is done:
 * one of these on its standard output, and nothing else. Same machine, same build.
 */
#pragma once

#include <stdint.h>

/* Its descriptors beside the three standard ones. */
#define COMMIT_ROOT_FD   3 /* the files as one tree, read-only */
#define COMMIT_USERNS_FD 4 /* the user namespace in which they have the ids that the image gets */

struct commit_verdict {
    int32_t error; /* 0, or a positive errno */
    uint32_t reserved;
    uint64_t size_bytes;
    uint8_t digest[32];
    char message[120]; /* NUL-terminated; printable ASCII */
};
