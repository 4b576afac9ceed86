/*
 * launch.h - what the daemon does while it is still root: directories, the lock, berm-spawn; and giving root up.
 */
#pragma once

#include "daemon/config.h"

#include <sys/types.h>

struct launch {
    uid_t uid; /* whom the daemon runs as */
    gid_t gid;
    int lock_fd; /* <data>/lock, held as long as the process lives */
    /* Opened by root, so that no directory above them need be open to the daemon's user. */
    int run_dirfd;    /* <data>/run */
    int state_dirfd;  /* <data>/state */
    int images_dirfd; /* the image store */
    int spawn_fd;     /* the socket to berm-spawn */
    pid_t spawn_pid;  /* 0: not our child */
};

void launch_raise_fd_limit(void);
/*
 * A program in a session of its own, with `fds` besides the standard ones, all of whose numbers stay. `as`: with
 * that uid and gid, no other group and no way to get more; NULL: as we are. Its pid, or -1 with errno.
 */
pid_t launch_program(const char *const *argv, const int *fds, size_t fd_count, const struct launch *as);
/* Waits a moment for a program that leaves by itself. */
void launch_wait(pid_t pid);
/* Whom to run as: fills uid and gid. */
void launch_find_user(const struct config *config, struct launch *launch);
/* Makes the directories and takes the lock; CONFLICT with the owner's pid if another daemon has it. */
int launch_prepare(const struct config *config, struct launch *ret, struct berm_error *err);
/* Starts berm-spawn, or takes the socket of --spawn-fd. */
int launch_spawner(const struct config *config, struct launch *launch, struct berm_error *err);
/* For good: user, groups, every capability; not dumpable; no_new_privs. Does nothing for a daemon that is not root.
 */
int launch_drop_privileges(const struct launch *launch, struct berm_error *err);
/* --stop-all: the exit status of the process. */
int launch_stop_all(const struct config *config);
