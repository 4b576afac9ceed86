/*
 * unpack_child.h - unpacking in a confined process. Private to src/image.
 *
 * The parent reads the archive, hashes it and passes the bytes on; the child decodes them and writes the tree. So
 * the archive is read once, what was unpacked is what was hashed, and the code that hostile bytes reach first has
 * no way to anything but the tree that it is filling.
 */
#pragma once

#include "image/image.h"

struct unpack_job {
    int root_fd;   /* of the tree, a directory */
    int source_fd; /* of the archive; read from its present position to its end */
    uint64_t source_size;
    const uint8_t *sha256; /* what the archive's bytes must hash to, with source_size of them; or NULL */
    bool layer;            /* whiteouts have a meaning */
    const char *stage;     /* for the progress */
    const struct image_progress *progress;
};

/*
 * Blocks until all is unpacked. `report` is added to. On an error the tree may hold any part of the archive.
 * Must run between image_stage_begin and image_stage_end.
 */
int unpack_stream(const struct unpack_job *job, struct image_import_report *report, struct berm_error *err);
