/*
 * landlock_files.h - takes from a process, by Landlock, the files outside the directories that it names first,
 * listening to TCP ports, and signals to others.
 */
#pragma once

#include "error.h"

#define LANDLOCK_READING (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define LANDLOCK_WRITING                                                                                           \
    (LANDLOCK_READING | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |                           \
     LANDLOCK_ACCESS_FS_MAKE_REG)

/* A ruleset's fd that allows nothing; -1 with *err; -2: this kernel has no Landlock. `binds`: may listen to ports.
 */
int landlock_files_new(bool binds, struct berm_error *err);
/* A directory with all below it, or a file. `access` of LANDLOCK_ACCESS_FS_..., with truncating where it writes and
 * the kernel knows that. */
int landlock_files_allow(int ruleset, const char *path, uint64_t access, struct berm_error *err);
/* Reads a file that may be replaced: so its directory. */
int landlock_files_allow_beside(int ruleset, const char *file, struct berm_error *err);
/* And the directory of what it is a symbolic link to, in which a renewed certificate appears too. */
int landlock_files_allow_certificate(int ruleset, const char *file, struct berm_error *err);
/* For this thread and those it starts; needs no_new_privs. Takes the fd. */
int landlock_files_enter(int ruleset, struct berm_error *err);
