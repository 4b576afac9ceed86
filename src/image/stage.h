/*
 * stage.h - the writing side of the store: a private place to make an image in, and its publication. Private to
 * src/image.
 *
 * Signals: between image_stage_begin and image_stage_end SIGINT, SIGTERM and SIGHUP are blocked, so that a Ctrl-C
 * does not leave a gigabyte behind. Long steps look at image_interrupted() and fail; the signal itself is delivered
 * when image_stage_end has cleaned up and unblocks it.
 */
#pragma once

#include "image/config.h"
#include "image/store_write.h"

#include <limits.h>
#include <signal.h>

struct image_stage {
    int images_fd;
    int fd; /* the staging directory, mode 0700, with flock(LOCK_EX) */
    char dir_name[STORE_TMP_NAME_SIZE];
    char rootfs[PATH_MAX]; /* <images>/<dir_name>/rootfs, which exists and is empty */
    sigset_t saved_signals;
    bool signals_blocked;
};

/* Makes the store when it is not there, and removes what a killed predecessor has left. */
int image_stage_begin(struct image_stage *stage, const char *images_dir, struct berm_error *err);

/* Turns the stage's rootfs into an image called `name`: erofs, digest, sync, rename, name, sweep. */
int image_stage_publish(struct image_stage *stage, const char *name, struct image_config *config,
                        const struct image_progress *progress, struct image *ret, struct berm_error *err);

/* Removes what is left of the stage. Idempotent; for _cleanup_. */
void image_stage_end(struct image_stage *stage);

bool image_interrupted(void);

void image_report(const struct image_progress *progress, const char *stage, int percent, const char *detail);
