/*
 * commit.h - an image made of the files of a sandbox. Private to src/image.
 *
 * The tree is as hostile as an archive, and becomes one: `tar` reads it as root of the sandbox's own ids and
 * nothing more (a member of its user namespace with the right to read everything in there), and what it says goes
 * the way of every imported archive, through the confined unpacker with its rules and limits (unpack.h). So there
 * is one place where it is decided what an image may hold. The image's configuration is empty: what Docker's
 * clients set is kept by the daemon.
 */
#pragma once

#include "image/image.h"

struct image_commit {
    int root_fd;        /* a directory */
    int userns_fd;      /* which maps the sandbox's ids to 0..65535 */
    uint64_t bytes_max; /* of all files together, holes counted as what they stand for */
};

/* As image_import(). What the sandbox's set-up puts into each one (/proc, /etc/hosts ...) is left out. */
int image_commit(const char *images_dir, const char *name, const struct image_commit *commit, struct image *ret,
                 struct image_import_report *report, struct berm_error *err);
