/*
 * unpack_disk.h - the sink that puts entries on disk, below one directory and never outside. Private to src/image.
 *
 * Parents are resolved as the image itself will see them (symbolic links followed, ".." and absolute targets ending
 * at the root: RESOLVE_IN_ROOT), because layers rely on it: /lib is a link in one, and the next has lib/foo. The
 * last component is never followed. A directory's time survives what is later put into it.
 */
#pragma once

#include "image/unpack.h"

struct inode_set;

struct unpack_disk {
    struct unpack_sink sink;
    int root;
    int file; /* being written */
    /* The directory that the last entries went to, open: archives come in runs. */
    int parent;
    char parent_path[UNPACK_PATH_MAX];
    struct timespec parent_mtime;
    struct inode_set *placed; /* what this layer has put there, for whiteouts; NULL outside layers */
    struct image_import_report *report;
};

int unpack_disk_init(struct unpack_disk *disk, int root, bool layer, struct image_import_report *report,
                     struct berm_error *err);
/* Restores the last directory's time and frees. -1 when that time cannot be set. */
int unpack_disk_finish(struct unpack_disk *disk, struct berm_error *err);
