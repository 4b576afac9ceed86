/* unpack_tar.h - the sink that writes another tar stream instead of files. Private to src/image. */
#pragma once

#include "image/rewrite.h"
#include "image/unpack.h"

struct unpack_tar {
    struct unpack_sink sink;
    const struct image_rewrite *job;
    struct archive *out;
    uint64_t bytes;   /* of all files */
    uint64_t written; /* of the present one */
    bool skipping;    /* the present entry is not for the output */
};

int unpack_tar_init(struct unpack_tar *tar, const struct image_rewrite *job, struct berm_error *err);
/* Ends the archive. The writer lives on: the process ends. */
int unpack_tar_finish(struct unpack_tar *tar, struct berm_error *err);
